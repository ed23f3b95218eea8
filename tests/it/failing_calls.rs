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

/// The system calls that access files.
const CALLS: &str = "open,openat,mkdir,read,pread64,write,pwrite64,ftruncate,fsync,fdatasync,\
                     renameat2,linkat,unlink,getdents64,flock";

/// The maximum number of failing calls for each error.
const FAILURES: usize = 8;

const COUNT: usize = 12;

/// Returns an account with four delivered messages. The next run fetches the others, and deletes
/// all messages from the server.
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

/// Returns the system calls on the Maildir and the ledger that can fail with `error`.
fn all_points(error: &str) -> Vec<Point> {
    let desk = desk();
    run(&desk, None).assert_code(0);
    let writes = ["ENOSPC", "EDQUOT", "EROFS"].contains(&error);
    points(&trace::calls(&desk.home), |call| {
        let may = match call.name.as_str() {
            "read" | "pread64" | "getdents64" => !writes,
            "open" | "openat" => {
                !writes || call.says("O_CREAT") || error == "EROFS" && !call.says("O_RDONLY")
            }
            // SQLite only shrinks files, which needs no space.
            "ftruncate" if writes && error != "EROFS" => false,
            "flock" | "unlink" | "mkdir" | "fsync" | "fdatasync" => !writes || error == "EROFS",
            _ => true,
        };
        may && (error != "EMFILE" || call.name.starts_with("open"))
            && call.concerns(&["/Mail/work", "/.local/state/pouch"])
    })
}

/// Makes each call fail with `error`, and checks that the report has one of `words`.
fn fail(error: &str, words: &[&str]) {
    let points = sample(&all_points(error), FAILURES);
    assert!(!points.is_empty());
    let one = |point: &Point| {
        let desk = desk();
        let output = run(
            &desk,
            Some(&format!("{}:error={error}:when={}", point.call, point.nth)),
        );
        println!(
            "{error} {point:?}: {} {}",
            output.code,
            output.stderr.replace('\n', " | ")
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
        match output.code {
            // The call is not essential, or SQLite recovers from its failure.
            0 => assert!(output.stderr.is_empty(), "{error} {point:?}: {output}"),
            73 | 74 => {
                // SQLite does not report why it cannot open a file.
                let opened = point.call.starts_with("open")
                    && output.stderr.contains("cannot open the ledger");
                assert!(
                    opened || words.iter().any(|word| output.stderr.contains(word)),
                    "{error} {point:?}: {output}"
                );
                assert!(
                    output.stderr.starts_with("pouch: work: "),
                    "{error} {point:?}: {output}"
                );
            }
            // SQLite reports unreadable data as malformed. The hint names the disk first.
            65 if point.call == "pread64" => {
                assert!(output.stderr.contains("cannot read the ledger"), "{output}");
                assert!(
                    output
                        .stderr
                        .contains("hint: check the disk and try again; if "),
                    "{output}"
                );
            }
            // The number of reads by the dynamic linker varies, so this may be the config.
            78 if point.call == "read" => assert!(
                output.stderr.contains("cannot read ~/.config/pouch"),
                "{output}"
            ),
            _ => panic!("{error} {point:?}: {output}"),
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
fn full_disk_at_any_call_is_reported() {
    fail(
        "ENOSPC",
        &["No space left on device", "no space left for the ledger"],
    );
    fail(
        "EDQUOT",
        &[
            "Disk quota exceeded",
            "Quota exceeded", // musl
            "no space left for the ledger",
            "disk I/O error",
        ],
    );
}

#[test]
fn io_error_at_any_call_is_reported() {
    // glibc, musl or SQLite
    fail("EIO", &["Input/output error", "I/O error"]);
}

#[test]
fn read_only_disk_at_any_call_is_reported() {
    fail(
        "EROFS",
        &[
            "Read-only file system",
            "readonly database",
            "disk I/O error",
        ],
    );
}

/// The texts of glibc and musl for EMFILE.
const TOO_MANY_FILES: [&str; 2] = ["Too many open files", "No file descriptors available"];

#[test]
fn too_many_open_files_at_any_call_is_reported() {
    fail(
        "EMFILE",
        &[&TOO_MANY_FILES[..], &["disk I/O error"]].concat(),
    );
}

#[test]
fn low_open_file_limit_is_reported() {
    let desk = desk();
    let codes: Vec<_> = (5..=12)
        .map(|files| {
            let script = format!("ulimit -n {files}; exec \"$0\" fetch -v");
            let output = desk
                .home
                .command("sh", &["-c", &script, env!("CARGO_BIN_EXE_pouch")])
                .run();
            let is_reported = TOO_MANY_FILES
                .iter()
                .any(|text| output.stderr.contains(text));
            assert!(output.code == 0 || is_reported, "{files}: {output}");
            output.code
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
fn interrupted_call_is_repeated() {
    for point in sample(&all_points("EINTR"), FAILURES) {
        let desk = desk();
        let output = run(
            &desk,
            Some(&format!("{}:error=EINTR:when={}", point.call, point.nth)),
        );
        println!("{point:?}: {}", output.code);
        if point.call == "fsync" && output.stderr.contains("I/O error on the ledger") {
            // SQLite does not repeat an interrupted fsync.
            output.assert_code(74);
            desk.server.wait_for(|log| log.open() == 0);
            desk.fetch(0);
        } else {
            output.assert_code(0).assert_silent();
        }
        desk.assert_arrived(1..=COUNT);
    }
}
