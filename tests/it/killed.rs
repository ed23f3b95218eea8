//! Killed at any system call, in every mode: each message arrives once, and no files are left.

use std::{collections::BTreeSet, fs, thread};

use crate::{
    fixture::{Desk, NOW},
    server::{corpus, on},
    support::{
        run::Output,
        trace::{self, Point, points, sample},
    },
};

/// The system calls that change anything outside of pouch, or wait for it.
const CALLS: &str = "write,pwrite64,copy_file_range,ftruncate,fsync,fdatasync,rename,renameat2,linkat,unlink,unlinkat,\
                     openat,mkdir,getdents64,socket,connect,sendto,recvfrom,clone3,vfork";

/// At most so many kills in a mode.
const KILLS: usize = 16;

/// A way to use pouch. There are messages 1 to `count` on the server, of which one is bad.
#[derive(Clone, Copy)]
struct Mode {
    count: usize,
    bad: usize,
    lines: &'static str,
    /// What earlier runs left.
    before: fn(&Desk),
    /// The messages that the server has in the end.
    kept: fn(usize) -> bool,
    /// Whether another pouch waits for this one.
    followed: bool,
}

/// The bad message is the 77th: so there are two batches, the second one full.
const KEEPING: Mode = Mode {
    count: 220,
    bad: 77,
    lines: "",
    before: |_| {},
    kept: |_| true,
    followed: false,
};

/// The bad message goes into quarantine at once, with a notice.
const DELETING: Mode = Mode {
    count: 24,
    bad: 9,
    lines: "keep = \"none\"\nattempts = 1",
    before: |_| {},
    kept: |_| false,
    followed: false,
};

/// Twelve came before, of which the user deleted two.
const SYNCING: Mode = Mode {
    count: 24,
    bad: 18,
    lines: "sync-deletions = true",
    before: |desk| {
        desk.pouch(&["fetch", "--limit", "12"]).run().assert_code(0);
        for n in [3, 7] {
            fs::remove_file(path_of(desk, n)).unwrap();
        }
    },
    kept: |n| n != 3 && n != 7,
    followed: false,
};

fn path_of(desk: &Desk, n: usize) -> std::path::PathBuf {
    let content = corpus::on_disk(&corpus::message(n));
    let name = desk
        .mail()
        .delivered()
        .iter()
        .find(|mail| mail.bytes == content)
        .unwrap()
        .name
        .clone();
    desk.home.join("Mail/work/new").join(name)
}

/// Runs pouch with this manipulation of its calls.
fn run(desk: &Desk, inject: Option<&str>) -> Output {
    trace::traced(&desk.home, CALLS, inject, &["fetch"])
        .env("POUCH_NOW", NOW.to_string())
        .run()
}

impl Mode {
    fn desk(&self) -> Desk {
        let bad = corpus::uid(self.bad);
        let desk = Desk::with(self.count, self.lines, |server| {
            server.fault(on("RETR").uid(bad).octets(90).cut())
        });
        (self.before)(&desk);
        desk
    }

    /// The messages that were deleted from the Maildir by the user.
    fn was_deleted(&self, n: usize) -> bool {
        self.lines.contains("sync") && !(self.kept)(n)
    }

    /// The points of an undisturbed run.
    fn points(&self) -> Vec<Point> {
        let desk = self.desk();
        let output = run(&desk, None);
        assert!([65, 75].contains(&output.code), "{output}");
        points(&trace::calls(&desk.home), |_| true)
    }

    /// Kills pouch there, and looks at what comes of it.
    fn kill(&self, point: &Point) {
        let desk = self.desk();
        let other = self
            .followed
            .then(|| desk.pouch(&["fetch", "--wait", "50s"]).spawn());
        let killed = run(
            &desk,
            Some(&format!("{}:signal=KILL:when={}", point.call, point.nth)),
        );
        // how the octets come off the line differs from run to run: this one may have needed fewer
        // calls
        assert!(
            [128 + 9, 65, 75, 0].contains(&killed.code),
            "{point:?}: {killed}"
        );
        self.assert_nothing_lost(&desk);
        if let Some(other) = other {
            let output = other.wait();
            assert!([0, 65, 75].contains(&output.code), "{point:?}: {output}");
        }
        desk.server.wait_for(|log| log.open() == 0);
        let next = desk.pouch(&["fetch"]).run();
        assert!([0, 65, 75].contains(&next.code), "{point:?}: {next}");
        println!("{point:?}: {}", killed.code);
        desk.assert_arrived((1..=self.count).filter(|n| *n != self.bad && !self.was_deleted(*n)));
        // an empty dot lock, as a kill may leave it, is believed for a while: nothing is delivered
        // then
        let delivers = !self.lines.contains("mbox") || next.code != 75;
        if delivers {
            self.assert_told(&desk, point);
        }
        desk.server.heal(corpus::uid(self.bad));
        desk.fetch_at(2, 0);
        desk.assert_arrived((1..=self.count).filter(|n| !self.was_deleted(*n)));
        if delivers {
            self.assert_told(&desk, point);
        }
        let kept: BTreeSet<_> = (1..=self.count)
            .filter(|n| (self.kept)(*n))
            .map(corpus::uid)
            .collect();
        assert_eq!(
            desk.server.uids().into_iter().collect::<BTreeSet<_>>(),
            kept,
            "{point:?}"
        );
    }

    /// There is one notice of the bad message, where it went into quarantine.
    #[track_caller]
    fn assert_told(&self, desk: &Desk, point: &Point) {
        let notices = desk.notices();
        assert_eq!(
            notices.len(),
            usize::from(self.lines.contains("attempts = 1")),
            "{point:?}"
        );
        for notice in notices {
            let subject = format!(
                "Subject: pouch: a message could not be fetched: Message {}\n",
                self.bad
            );
            assert!(
                String::from_utf8_lossy(&notice).contains(&subject),
                "{point:?}"
            );
        }
    }

    /// Nothing is gone from the server that does not lie in the Maildir, byte for byte, but what
    /// the user deleted.
    #[track_caller]
    fn assert_nothing_lost(&self, desk: &Desk) {
        let mail = desk.mail();
        let left = desk.server.uids();
        for n in
            (1..=self.count).filter(|n| !left.contains(&corpus::uid(*n)) && !self.was_deleted(*n))
        {
            let content = corpus::on_disk(&corpus::message(n));
            assert!(
                mail.delivered().iter().any(|mail| mail.bytes == content),
                "message {n} is lost"
            );
        }
    }

    /// All kills, on two threads.
    fn matrix(self) {
        let points = sample(&self.points(), KILLS);
        thread::scope(|scope| {
            let half = scope.spawn(|| points.iter().step_by(2).for_each(|point| self.kill(point)));
            points
                .iter()
                .skip(1)
                .step_by(2)
                .for_each(|point| self.kill(point));
            half.join().unwrap();
        });
    }
}

#[test]
fn while_keeping() {
    KEEPING.matrix();
}

#[test]
fn while_deleting() {
    DELETING.matrix();
}

/// From the commit that puts the message in quarantine to the one that says that it was told of.
#[test]
fn around_the_notice() {
    for lines in ["", "mbox = \"~/Mail/work\"\n"] {
        let lines = format!("{lines}{}", DELETING.lines);
        let mode = Mode {
            count: 4,
            bad: 2,
            lines: lines.leak(),
            ..DELETING
        };
        let desk = mode.desk();
        run(&desk, None).assert_code(65);
        let calls = trace::calls(&desk.home);
        let top = calls
            .iter()
            .position(|call| call.strings().iter().any(|sent| sent.starts_with(b"TOP ")))
            .unwrap();
        let begin = calls[top].began;
        let aside = ["/usr/"];
        let around = points(&calls, |call| call.began >= begin && !call.concerns(&aside));
        assert!(around.len() > 8, "{around:?}");
        for point in sample(&around, KILLS) {
            mode.kill(&point);
        }
    }
}

#[test]
fn while_deleting_what_the_user_deleted() {
    SYNCING.matrix();
}

#[test]
fn while_writing_to_a_mailbox_file() {
    Mode {
        lines: "mbox = \"~/Mail/work\"\nkeep = \"none\"\nattempts = 1",
        ..DELETING
    }
    .matrix();
    Mode {
        lines: "mbox = \"~/Mail/work\"",
        ..KEEPING
    }
    .matrix();
}

#[test]
fn while_another_pouch_waits() {
    Mode {
        followed: true,
        ..DELETING
    }
    .matrix();
}

/// Stores each message that it gets in a file of its own, whole or not at all.
const PROGRAM: &str =
    "pipe = [\"sh\", \"-c\", \"f=$(mktemp ~/got/XXXXXX) && cat > $f && mv $f $f.whole\"]";

#[test]
fn while_a_program_gets_the_messages() {
    let mode = Mode {
        count: 8,
        bad: 5,
        lines: PROGRAM,
        before: |_| {},
        kept: |_| true,
        followed: false,
    };
    let desk = || {
        let desk = mode.desk();
        desk.home.make_dir("got", 0o700);
        desk
    };
    let whole = desk();
    run(&whole, None).assert_code(75);
    let points = points(&trace::calls(&whole.home), |_| true);
    for point in sample(&points, KILLS) {
        let desk = desk();
        let killed = run(
            &desk,
            Some(&format!("{}:signal=KILL:when={}", point.call, point.nth)),
        );
        assert!([128 + 9, 75].contains(&killed.code), "{point:?}: {killed}");
        desk.server.wait_for(|log| log.open() == 0);
        // the program may still be at it
        desk.server.heal("uid-5");
        let next = desk.fetch(0);
        let got = |n| {
            let content = corpus::on_disk(&corpus::message(n));
            let files = fs::read_dir(desk.home.join("got"))
                .unwrap()
                .map(|entry| entry.unwrap().path());
            files
                .filter(|path| path.extension().is_some() && fs::read(path).unwrap() == content)
                .count()
        };
        let counts: Vec<_> = (1..=8).map(got).collect();
        assert!(
            counts.iter().all(|count| *count == 1 || *count == 2),
            "{point:?}: {counts:?}"
        );
        let twice = counts.iter().filter(|count| **count == 2).count();
        assert!(twice <= 1, "{point:?}: {counts:?}");
        if twice == 1 {
            next.assert_stderr("an earlier run was interrupted while delivering message ")
                .assert_stderr("it may be duplicated");
        }
    }
}
