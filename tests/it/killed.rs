//! Runs that are killed at any system call: each message is delivered once, and no files are left.

use std::{collections::BTreeSet, fs, thread};

use crate::{
    fixture::{Desk, NOW},
    server::{corpus, on},
    support::{
        run::Output,
        trace::{self, Point, points, sample},
    },
};

/// The system calls that change the environment of pouch, or wait for it.
const CALLS: &str = "write,pwrite64,copy_file_range,ftruncate,fsync,fdatasync,rename,renameat2,\
                     linkat,unlink,unlinkat,open,openat,mkdir,getdents64,socket,connect,\
                     sendto,recvfrom,clone,clone3,vfork";

/// The maximum number of kills in each mode.
const KILLS: usize = 16;

/// A configuration and state. The server has the messages 1 to `count`, of which one is bad.
#[derive(Clone, Copy)]
struct Mode {
    count: usize,
    bad: usize,
    lines: &'static str,
    /// Prepares the state, as an earlier run left it.
    before: fn(&Desk),
    /// Returns whether the server keeps the message.
    kept: fn(usize) -> bool,
    /// True if another pouch process waits for the run.
    followed: bool,
}

/// Messages are kept on the server. The bad message is the 77th of two batches, of which the second
/// is full.
const KEEPING: Mode = Mode {
    count: 220,
    bad: 77,
    lines: "",
    before: |_| {},
    kept: |_| true,
    followed: false,
};

/// Messages are deleted from the server. The bad message is quarantined in the first run, with a
/// notice.
const DELETING: Mode = Mode {
    count: 24,
    bad: 9,
    lines: "keep = \"none\"\nattempts = 1",
    before: |_| {},
    kept: |_| false,
    followed: false,
};

/// Deletions are synced. An earlier run delivered twelve messages, of which the user deleted two.
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

/// Runs pouch, optionally with manipulated system calls.
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

    /// Returns whether the user deleted the message from the Maildir.
    fn was_deleted(&self, n: usize) -> bool {
        self.lines.contains("sync") && !(self.kept)(n)
    }

    /// Returns the system calls of an uninterrupted run.
    fn points(&self) -> Vec<Point> {
        let desk = self.desk();
        let output = run(&desk, None);
        assert!([65, 75].contains(&output.code), "{output}");
        points(&trace::calls(&desk.home), |_| true)
    }

    /// Kills pouch at `point`, and checks the state after that and after further runs.
    fn kill(&self, point: &Point) {
        let desk = self.desk();
        let other = self
            .followed
            .then(|| desk.pouch(&["fetch", "--wait", "50s"]).spawn());
        let killed = run(
            &desk,
            Some(&format!("{}:signal=KILL:when={}", point.call, point.nth)),
        );
        // The number of reads from the network varies, so this run may not have reached the call.
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
        // A kill may leave an empty dot lock, which prevents deliveries for some minutes.
        let delivers = !self.lines.contains("mbox") || next.code != 75;
        if delivers {
            self.assert_notices(&desk, point);
        }
        desk.server.heal(corpus::uid(self.bad));
        desk.fetch_at(2, 0);
        desk.assert_arrived((1..=self.count).filter(|n| !self.was_deleted(*n)));
        if delivers {
            self.assert_notices(&desk, point);
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

    /// Asserts that there is one notice about the bad message if it was quarantined.
    #[track_caller]
    fn assert_notices(&self, desk: &Desk, point: &Point) {
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

    /// Asserts that each message that is not on the server is in the Maildir unchanged, unless the
    /// user deleted it.
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

    /// Runs all kills, in two threads.
    fn kill_at_all_points(self) {
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
fn kill_while_keeping_delivers_each_message_once() {
    KEEPING.kill_at_all_points();
}

#[test]
fn kill_while_deleting_delivers_each_message_once() {
    DELETING.kill_at_all_points();
}

/// Kills the run between the commit of the quarantine and the commit of the notice.
#[test]
fn kill_around_notice_delivers_one_notice() {
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
fn kill_while_syncing_deletions_loses_no_message() {
    SYNCING.kill_at_all_points();
}

#[test]
fn kill_while_appending_to_mbox_delivers_each_message_once() {
    Mode {
        lines: "mbox = \"~/Mail/work\"\nkeep = \"none\"\nattempts = 1",
        ..DELETING
    }
    .kill_at_all_points();
    Mode {
        lines: "mbox = \"~/Mail/work\"",
        ..KEEPING
    }
    .kill_at_all_points();
}

#[test]
fn kill_while_another_run_waits_delivers_each_message_once() {
    Mode {
        followed: true,
        ..DELETING
    }
    .kill_at_all_points();
}

/// A program that stores each message atomically in its own file.
const PROGRAM: &str =
    "pipe = [\"sh\", \"-c\", \"f=$(mktemp ~/got/XXXXXX) && cat > $f && mv $f $f.whole\"]";

#[test]
fn kill_while_piping_duplicates_at_most_one_message() {
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
        // The program may still be running.
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
