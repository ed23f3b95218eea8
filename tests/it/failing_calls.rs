//! Each file system call fails in turn: the error is reported, nothing is lost, and the next run
//! delivers each message once.

use std::thread;

use crate::{
    fixture::{Desk, NOW},
    server::corpus,
    support::{
        run::Output,
        trace::{self, Point, points, sample},
    },
};

/// The calls that touch files.
const CALLS: &str = "openat,mkdir,read,pread64,write,pwrite64,ftruncate,fsync,fdatasync,renameat2,linkat,unlink,\
                     getdents64,flock";

/// At most so many failing calls for an error.
const FAILURES: usize = 8;

const COUNT: usize = 12;

/// Some came before; the rest is fetched now, and all is deleted from the server.
fn desk() -> Desk {
    let desk = Desk::with(4, "", |server| server);
    desk.fetch(0);
    for n in 5..=COUNT {
        desk.server.add(corpus::uid(n), corpus::message(n));
    }
    desk.configure("keep = \"none\"");
    desk
}

fn run(desk: &Desk, inject: Option<&str>) -> Output {
    trace::traced(&desk.home, CALLS, inject, &["fetch"])
        .env("POUCH_NOW", NOW.to_string())
        .run()
}

/// The calls about the Maildir or the ledger of an undisturbed run that an error may come of.
fn all_points(error: &str) -> Vec<Point> {
    let desk = desk();
    run(&desk, None).assert_code(0);
    let writes = ["ENOSPC", "EDQUOT", "EROFS"].contains(&error);
    points(&trace::calls(&desk.home), |call| {
        let may = match call.name.as_str() {
            "read" | "pread64" | "getdents64" => !writes,
            "openat" => {
                !writes || call.says("O_CREAT") || error == "EROFS" && !call.says("O_RDONLY")
            }
            // SQLite only shrinks files: that needs no room
            "ftruncate" if writes && error != "EROFS" => false,
            "flock" | "unlink" | "mkdir" | "fsync" | "fdatasync" => !writes || error == "EROFS",
            _ => true,
        };
        may && (error != "EMFILE" || call.name == "openat")
            && call.concerns(&["/Mail/work", "/.local/state/pouch"])
    })
}

fn fail(error: &str, words: &[&str]) {
    let points = sample(&all_points(error), FAILURES);
    assert!(!points.is_empty());
    let one = |point: &Point| {
        let desk = desk();
        let told = run(
            &desk,
            Some(&format!("{}:error={error}:when={}", point.call, point.nth)),
        );
        println!(
            "{error} {point:?}: {} {}",
            told.code,
            told.stderr.replace('\n', " | ")
        );
        let left = desk.server.uids();
        let mail = desk.mail();
        let is_there = |n: usize| {
            mail.delivered()
                .iter()
                .any(|mail| mail.bytes == corpus::on_disk(&corpus::message(n)))
        };
        for n in 1..=COUNT {
            assert!(
                is_there(n) || n > 4 && left.contains(&corpus::uid(n)),
                "{error} {point:?}: message {n} is lost"
            );
        }
        match told.code {
            // a call that only helps, or whose failure SQLite gets over
            0 => assert!(told.stderr.is_empty(), "{error} {point:?}: {told}"),
            73 | 74 => {
                // why it opens no file, SQLite does not tell
                let opened =
                    point.call == "openat" && told.stderr.contains("cannot open the ledger");
                assert!(
                    opened || words.iter().any(|word| told.stderr.contains(word)),
                    "{error} {point:?}: {told}"
                );
                assert!(
                    told.stderr.starts_with("pouch: work: "),
                    "{error} {point:?}: {told}"
                );
            }
            // what the disk does not read is what SQLite calls malformed: the disk comes first
            65 if point.call == "pread64" => {
                assert!(told.stderr.contains("cannot read the ledger"), "{told}");
                assert!(
                    told.stderr
                        .contains("hint: check the disk and try again; if "),
                    "{told}"
                );
            }
            // how often the system reads before pouch does is not always the same
            78 if point.call == "read" => assert!(
                told.stderr.contains("cannot read ~/.config/pouch"),
                "{told}"
            ),
            _ => panic!("{error} {point:?}: {told}"),
        }
        desk.server.wait_for(|log| log.open() == 0);
        desk.fetch(0);
        desk.assert_arrived(1..=COUNT);
        assert_eq!(desk.server.remaining(), 0, "{error} {point:?}");
    };
    thread::scope(|scope| {
        let half = scope.spawn(|| points.iter().step_by(2).for_each(one));
        points.iter().skip(1).step_by(2).for_each(one);
        half.join().unwrap();
    });
}

#[test]
fn no_room() {
    fail(
        "ENOSPC",
        &["No space left on device", "no space left for the ledger"],
    );
    fail(
        "EDQUOT",
        &[
            "Disk quota exceeded",
            "no space left for the ledger",
            "disk I/O error",
        ],
    );
}

#[test]
fn a_broken_disk() {
    fail("EIO", &["Input/output error", "disk I/O error"]);
}

#[test]
fn a_disk_that_turned_read_only() {
    fail(
        "EROFS",
        &[
            "Read-only file system",
            "readonly database",
            "disk I/O error",
        ],
    );
}

#[test]
fn too_many_open_files() {
    fail("EMFILE", &["Too many open files", "disk I/O error"]);
}

#[test]
fn a_system_that_opens_no_more_files_is_told_of_wherever_that_is_found_out() {
    let desk = desk();
    let codes: Vec<_> = (5..=12)
        .map(|files| {
            let script = format!("ulimit -n {files}; exec \"$0\" fetch -v");
            let told = desk
                .home
                .command("sh", &["-c", &script, env!("CARGO_BIN_EXE_pouch")])
                .run();
            assert!(
                told.code == 0 || told.stderr.contains("Too many open files"),
                "{files}: {told}"
            );
            told.code
        })
        .collect();
    assert!(
        codes.iter().filter(|code| **code == 74).count() > 3,
        "{codes:?}"
    );
    desk.fetch(0);
    desk.assert_arrived(1..=COUNT);
}

#[test]
fn an_interrupted_call_is_made_again() {
    for point in sample(&all_points("EINTR"), FAILURES) {
        let desk = desk();
        let output = run(
            &desk,
            Some(&format!("{}:error=EINTR:when={}", point.call, point.nth)),
        );
        println!("{point:?}: {}", output.code);
        if point.call == "fsync" && output.stderr.contains("I/O error on the ledger") {
            // SQLite takes that for an error
            output.assert_code(74);
            desk.server.wait_for(|log| log.open() == 0);
            desk.fetch(0);
        } else {
            output.assert_code(0).assert_silent();
        }
        desk.assert_arrived(1..=COUNT);
    }
}
