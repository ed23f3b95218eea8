//! Faults of the user's own machine: restored backups, foreign files in the Maildir, a wrong clock,
//! and messages that cannot be stored. Nothing is lost, and one message or file does not stop the
//! others.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

#[cfg(feature = "system-tests")]
use crate::support::{mount::Mounted, run::Output};
use crate::{
    fixture::{DAY, Desk, NOW},
    server::{Server, corpus},
    support::{mail::Mail, run::Run},
};

/// The number of messages in a backup, and the number of all messages.
const IN_BACKUP: usize = 20;
const ALL: usize = 23;

fn root(desk: &Desk) -> PathBuf {
    desk.home.join("Mail/work")
}

fn uids(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(corpus::uid).collect()
}

/// Returns the path of the `n`-th message, which has not been moved.
#[track_caller]
fn delivered(desk: &Desk, n: usize) -> PathBuf {
    let content = corpus::on_disk(&corpus::message(n));
    let mail = desk.mail();
    let found = mail.delivered().iter().find(|mail| mail.bytes == content);
    root(desk).join("new").join(&found.unwrap().name)
}

fn copy(desk: &Desk, from: &Path, to: &Path) {
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
    desk.home
        .command("cp", &["-a", from, to])
        .run()
        .assert_code(0);
}

/// Creates an account with `sync-deletions`, and a backup of its Maildir in `backup`. Three more
/// messages are delivered after that.
fn backed_up() -> (Desk, PathBuf) {
    let desk = Desk::with(IN_BACKUP, "sync-deletions = true", |server| server);
    desk.fetch(0);
    let backup = desk.home.join("backup");
    copy(&desk, &root(&desk), &backup);
    for n in IN_BACKUP + 1..=ALL {
        desk.server.add(corpus::uid(n), corpus::message(n));
    }
    desk.fetch(0).assert_silent();
    (desk, backup)
}

/// Restores the backup, and checks that nothing is deleted from the server.
#[track_caller]
fn restored(restore: impl Fn(&Desk, &Path)) {
    let (desk, backup) = backed_up();
    restore(&desk, &backup);
    let output = desk.fetch(0);
    output.assert_stderr("deletions were not synced");
    output.assert_stderr("missing: 3 of 23 messages");
    for day in 0..3 {
        desk.fetch_at(day, 0).assert_silent();
    }
    assert_eq!(desk.server.remaining(), ALL);
    // a message that the user deletes later is still a deletion
    fs::remove_file(delivered(&desk, 7)).unwrap();
    desk.fetch(0).assert_silent();
    assert_eq!(desk.server.uids(), uids((1..=ALL).filter(|n| *n != 7)));
}

#[test]
fn restored_content_of_the_maildir_is_not_a_deletion() {
    restored(|desk, backup| {
        for part in ["new", "cur", "tmp"] {
            for entry in fs::read_dir(root(desk).join(part)).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
        copy(desk, &backup.join("."), &root(desk));
    });
}

#[test]
fn replaced_directory_new_is_not_a_deletion() {
    restored(|desk, backup| {
        fs::remove_dir_all(root(desk).join("new")).unwrap();
        copy(desk, &backup.join("new"), &root(desk));
    });
}

#[test]
fn restored_files_are_not_a_deletion() {
    restored(|desk, backup| {
        let new = root(desk).join("new");
        for entry in fs::read_dir(&new).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for entry in fs::read_dir(backup.join("new")).unwrap() {
            copy(desk, &entry.unwrap().path(), &new);
        }
    });
}

/// Restores the backup with programs that give files and directories the present time.
#[test]
fn backup_restored_without_its_times_is_not_a_deletion() {
    let run = |desk: &Desk, script: &str| {
        desk.home
            .command("sh", &["-c", &format!("cd Mail/work && {script}")])
            .run()
            .assert_code(0);
    };
    let scripts = [
        "rm -r new cur tmp && cp -r ../../backup/. .",
        "rm new/* && cp -r ../../backup/. .",
        "mkdir ../o && mv new/* ../o && cp -r ../../backup/new .",
        "rm -r ../work && cp -r ../../backup ../work",
        "cp -r ../../backup ../b && rm -r ../work && mv ../b ../work",
        "for f in new/*; do test -e ../../backup/$f || rm $f; done; cp -r ../../backup/. .",
        "for f in new/*; do test -e ../../backup/$f || rm $f; cp --remove-destination ../../backup/$f new; done; true",
    ];
    for script in scripts {
        println!("{script}");
        restored(|desk, _| run(desk, script));
    }
}

/// Returns the account's mail that is not one of `planted`.
fn ours(desk: &Desk, planted: &[u8]) -> Vec<Vec<u8>> {
    let mail = desk.mail();
    let ours = mail.delivered().iter().filter(|mail| mail.bytes != planted);
    ours.map(|mail| mail.bytes.clone()).collect()
}

/// Fetches three messages of which the second one has a name that is taken by what `plant` creates.
/// If `killed`, the run before was interrupted.
fn taken_name(plant: impl Fn(&Path), killed: bool) -> Desk {
    let desk = Desk::with(1, "keep = \"none\"", |server| server);
    desk.fetch(0);
    // the ledger assigns the next row to the next message
    let name = desk.mail().delivered()[0].name.clone();
    let name = name.replace(".R1L", ".R2L");
    plant(&root(&desk).join("new").join(name));
    for n in [2, 3] {
        desk.server.add(corpus::uid(n), corpus::message(n));
    }
    if killed {
        let ledger = rusqlite::Connection::open(desk.ledger()).unwrap();
        let row = "INSERT INTO message (uid, listed_size, state, first_seen)
             VALUES (CAST('uid-2' AS BLOB), ?, 'new', ?)";
        let size = corpus::message(2).len() + corpus::message(2).split(|b| *b == b'\n').count() - 1;
        ledger.execute(row, rusqlite::params![size, NOW]).unwrap();
        ledger.execute("UPDATE run SET unsettled = 1", []).unwrap();
    }
    desk.fetch(0);
    assert_eq!(desk.server.remaining(), 0);
    desk
}

const PLANTED: &[u8] = b"Subject: another message\n\nIt has the name of the second one.\n";

#[test]
fn file_with_the_name_of_a_message_is_not_the_message() {
    for killed in [false, true] {
        let desk = taken_name(|path| fs::write(path, PLANTED).unwrap(), killed);
        let mut ours = ours(&desk, PLANTED);
        ours.sort();
        let mut expected: Vec<_> = (1..=3)
            .map(|n| corpus::on_disk(&corpus::message(n)))
            .collect();
        expected.sort();
        assert_eq!(ours, expected, "killed: {killed}");
        assert_eq!(desk.mail().len(), 4);
    }
}

#[test]
fn event_names_the_file_of_a_message_whose_name_was_taken() {
    let desk = Desk::with(1, "", |server| server);
    desk.fetch(0);
    let name = desk.mail().delivered()[0].name.replace(".R1L", ".R2L");
    fs::write(root(&desk).join("new").join(&name), PLANTED).unwrap();
    desk.server.add(corpus::uid(2), corpus::message(2));
    let output = desk.pouch(&["fetch", "--json"]).run();
    let content = corpus::on_disk(&corpus::message(2));
    let mail = desk.mail();
    let ours = mail.delivered().iter().find(|mail| mail.bytes == content);
    let file = &ours.unwrap().name;
    assert_ne!(file, &name);
    output.assert_stdout(&format!("\"file\":\"{file}\""));
}

#[test]
fn dangling_link_with_the_name_of_a_message_is_not_the_message() {
    for killed in [false, true] {
        let link = |path: &Path| symlink("nowhere", path).unwrap();
        let desk = taken_name(link, killed);
        let new = root(&desk).join("new");
        let read = |n: usize| {
            fs::read_dir(&new)
                .unwrap()
                .filter_map(|entry| fs::read(entry.unwrap().path()).ok())
                .any(|bytes| bytes == corpus::on_disk(&corpus::message(n)))
        };
        assert!((1..=3).all(read), "killed: {killed}");
    }
}

#[test]
fn same_content_under_its_name_is_the_message() {
    let desk = taken_name(
        |path| fs::write(path, corpus::on_disk(&corpus::message(2))).unwrap(),
        false,
    );
    desk.assert_arrived(1..=3);
}

/// Returns a run at this time, in seconds since 1970.
fn at(desk: &Desk, time: i64) -> Run {
    let run = desk.home.pouch(&["fetch"]);
    run.env("POUCH_NOW", time.to_string())
}

#[test]
fn age_counts_from_the_first_run_with_a_correct_clock() {
    for wrong in [1_000, NOW - 365 * DAY, NOW - 60 * DAY] {
        let desk = Desk::with(2, "keep = \"30d\"", |server| server);
        at(&desk, wrong).run().assert_code(0);
        assert!(
            desk.pouch(&["plan"])
                .run()
                .stdout_text()
                .contains("keep       2")
        );
        for day in [0, 29] {
            desk.fetch_at(day, 0);
            assert_eq!(desk.server.remaining(), 2, "{wrong}, day {day}");
        }
        desk.fetch_at(30, 0);
        assert_eq!(desk.server.remaining(), 0, "{wrong}");
    }
}

#[test]
fn age_counts_from_the_first_run_after_the_clock_was_set_back() {
    let old = b"Subject: no date\n\nhello\n";
    let desk = Desk::new(Server::plain().message("one", old), "keep = \"30d\"");
    desk.fetch(0);
    desk.server.add("two", [&old[..], b"again\n"].concat());
    at(&desk, NOW - 90 * DAY).run().assert_code(0);
    desk.fetch_at(1, 0);
    assert_eq!(desk.server.remaining(), 2);
    desk.fetch_at(30, 0);
    assert_eq!(desk.server.uids(), ["two"]);
    desk.fetch_at(31, 0);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn problem_reported_while_the_clock_was_ahead_is_reported_again() {
    let desk = Desk::with(1, "", |server| server);
    desk.home.write("password", "wrong\n", 0o600);
    let ahead = at(&desk, NOW + 3_650 * DAY).run();
    ahead.assert_code(77);
    assert!(!ahead.stderr.is_empty());
    let now = desk.pouch(&["fetch"]).run();
    assert!(!now.stderr.is_empty(), "{now}");
}

/// The numbers of the messages that fit, and of the one that does not.
const FIT: [usize; 4] = [1, 2, 4, 5];
const TOO_LARGE: usize = 3;

/// Returns an account with five messages, of which the third has this size in bytes.
fn one_large(size: usize, lines: &str) -> Desk {
    let mut server = Server::plain();
    for n in 1..=5 {
        let content = if n == TOO_LARGE {
            corpus::sized(n, size)
        } else {
            corpus::message(n)
        };
        server = server.message(corpus::uid(n), content);
    }
    Desk::new(server, lines)
}

/// Asserts that the messages that fit are in `mail`, each once.
#[track_caller]
fn assert_others_arrived(mail: &Mail) {
    for n in FIT {
        let content = corpus::on_disk(&corpus::message(n));
        let copies = mail.delivered().iter().filter(|mail| mail.bytes == content);
        assert_eq!(copies.count(), 1, "message {n}");
    }
}

#[test]
fn message_over_the_file_size_limit_does_not_stop_others() {
    for (lines, mbox) in [("", false), ("mbox = \"~/mail\"", true)] {
        let desk = one_large(1_500_000, &format!("keep = \"none\"\n{lines}"));
        let limited = || {
            let run = desk.home.limited_pouch("-f 2048", &["fetch"]);
            run.env("POUCH_NOW", NOW.to_string()).run()
        };
        let output = limited();
        output.assert_code(74).assert_stderr("File too large");
        let mail = || {
            if mbox {
                Mail::in_mbox(&desk.home.read("mail"))
            } else {
                desk.mail()
            }
        };
        assert_others_arrived(&mail());
        assert_eq!(desk.server.uids(), uids([TOO_LARGE]));
        // it is quarantined as any other bad message
        desk.server.add("uid-6", corpus::message(6));
        limited();
        desk.server.add("uid-7", corpus::message(7));
        limited();
        limited().assert_code(0).assert_silent();
        assert_others_arrived(&mail());
        assert_eq!(desk.server.uids(), uids([TOO_LARGE]));
        let retry = ["ledger", "retry", "work", "all"];
        desk.pouch(&retry).run().assert_code(0);
        desk.fetch(0);
        assert_eq!(desk.server.remaining(), 0);
    }
}

#[cfg(feature = "system-tests")]
#[test]
fn message_without_room_does_not_stop_others() {
    for lines in ["", "mbox = \"~/Mail/mbox\""] {
        let desk = one_large(900_000, &format!("keep = \"none\"\n{lines}"));
        let at = desk.home.make_dir("Mail", 0o700);
        {
            let _disk = Mounted::tmpfs(&desk.home, at.clone(), "600k");
            let output = desk.fetch(74);
            output.assert_stderr("No space left on device");
            let mail = if lines.is_empty() {
                desk.mail()
            } else {
                Mail::in_mbox(&desk.home.read("Mail/mbox"))
            };
            assert_others_arrived(&mail);
            assert_eq!(desk.server.uids(), uids([TOO_LARGE]));
        }
        desk.fetch(0);
        assert_eq!(desk.server.remaining(), 0);
    }
}

#[cfg(feature = "system-tests")]
#[test]
fn full_disk_of_an_mbox_file_is_not_the_fault_of_messages() {
    let desk = Desk::with(1, "keep = \"none\"\nmbox = \"~/Mail/mbox\"", |server| {
        server
    });
    let at = desk.home.make_dir("Mail", 0o700);
    {
        let _disk = Mounted::tmpfs(&desk.home, at.clone(), "64k");
        desk.fetch(0);
        let ballast = at.join("ballast");
        fs::write(&ballast, vec![b'x'; 65_536]).unwrap_err();
        for n in 2..=6 {
            desk.server.add(corpus::uid(n), corpus::sized(n, 3_000));
        }
        for n in 7..=11 {
            // there is room for one message, and then for none
            let size = fs::metadata(&ballast).unwrap().len();
            let file = fs::OpenOptions::new().write(true).open(&ballast).unwrap();
            file.set_len(size - 4096).unwrap();
            desk.server.add(corpus::uid(n), corpus::sized(n, 3_000));
            desk.fetch(74);
            let listed = desk.pouch(&["ledger", "list", "--json"]).run();
            let listed = listed.stdout_text();
            assert!(!listed.contains("\"attempts\": 1"), "{listed}");
        }
        fs::remove_file(at.join("ballast")).unwrap();
    }
    desk.fetch(0);
    assert_eq!(desk.server.remaining(), 0);
}

/// Fetches with system calls that fail if they concern `path`.
#[cfg(feature = "system-tests")]
fn failing_at(desk: &Desk, path: &Path, inject: &str) -> Output {
    let call = inject.split(':').next().unwrap();
    let (trace, inject) = (format!("trace={call}"), format!("inject={inject}"));
    let path = path.to_str().unwrap();
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let run = [
        "-f", "-qq", "-o", "calls", "-P", path, "-e", &trace, "-e", &inject, pouch, "fetch",
    ];
    let run = desk.home.system_command("strace", &run);
    run.env("POUCH_NOW", NOW.to_string()).run()
}

#[cfg(feature = "system-tests")]
#[test]
fn refused_file_does_not_stop_others() {
    for inject in [
        "linkat:error=EPERM:when=4",
        "linkat:error=EIO:when=4",
        "fsync:error=EIO:when=4",
        "write:error=EIO:when=60",
    ] {
        let desk = Desk::with(5, "keep = \"none\"", |server| server);
        // the first run creates the Maildir and the ledger
        desk.server.add("uid-6", corpus::message(6));
        let output = desk.traced(inject);
        if output.code == 0 {
            // SQLite or the test ended before that call
            desk.assert_arrived(1..=6);
            continue;
        }
        assert!([73, 74].contains(&output.code), "{inject}: {output}");
        desk.fetch(0);
        desk.assert_arrived(1..=6);
        assert_eq!(desk.server.remaining(), 0, "{inject}");
    }
    let desk = Desk::with(5, "keep = \"none\"", |server| server);
    let output = desk.traced("linkat:error=EPERM:when=4");
    output
        .assert_code(73)
        .assert_stderr("Operation not permitted");
    assert_eq!(desk.mail().len(), 4, "{output}");
    assert_eq!(desk.server.remaining(), 1);
}

#[cfg(feature = "system-tests")]
#[test]
fn unreadable_directory_in_the_maildir_does_not_stop_the_account() {
    for lines in ["", "sync-deletions = true"] {
        let desk = Desk::with(4, lines, |server| server);
        desk.fetch(0);
        desk.server.add("uid-5", corpus::message(5));
        let ledger = rusqlite::Connection::open(desk.ledger()).unwrap();
        ledger.execute("UPDATE run SET unsettled = 1", []).unwrap();
        drop(ledger);
        let lost = desk.home.make_dir("Mail/work/lost+found", 0o700);
        failing_at(&desk, &lost, "open,openat:error=EACCES").assert_code(0);
        desk.assert_arrived(1..=5);
        failing_at(&desk, &lost, "open,openat:error=EACCES")
            .assert_code(0)
            .assert_silent();
        if !lines.is_empty() {
            fs::remove_file(delivered(&desk, 2)).unwrap();
            // the message may have been moved there
            let output = failing_at(&desk, &lost, "open,openat:error=EACCES");
            output.assert_code(0).assert_stderr("lost+found");
            failing_at(&desk, &lost, "open,openat:error=EACCES").assert_silent();
            assert_eq!(desk.server.remaining(), 5);
        }
    }
}

#[cfg(feature = "system-tests")]
#[test]
fn foreign_entry_in_the_maildir_does_not_stop_the_account() {
    for entry in ["directory", "fifo", "link to itself", "unreadable"] {
        let desk = Desk::with(5, "sync-deletions = true", |server| server);
        desk.fetch(0);
        let path = root(&desk).join("cur/179.M1.elsewhere:2,S");
        let second = delivered(&desk, 2);
        match entry {
            "directory" => fs::create_dir(&path).unwrap(),
            "fifo" => {
                let fifo = desk
                    .home
                    .system_command("mkfifo", &[path.to_str().unwrap()]);
                fifo.run().assert_code(0);
            }
            "link to itself" => symlink(&path, &path).unwrap(),
            _ => fs::write(&path, "Subject: mine\n\n").unwrap(),
        }
        fs::remove_file(second).unwrap();
        desk.server.add("uid-6", corpus::message(6));
        let output = if entry == "unreadable" {
            failing_at(&desk, &path, "open,openat:error=EACCES")
        } else {
            let run = desk.pouch(&["fetch"]).within(Duration::from_secs(20));
            run.run()
        };
        output.assert_code(0);
        let kept = entry == "unreadable";
        assert_eq!(
            desk.server.remaining(),
            if kept { 6 } else { 5 },
            "{entry}: {output}"
        );
        desk.fetch(0).assert_silent();
    }
}

#[test]
fn many_foreign_files_need_little_memory() {
    let desk = Desk::with(5, "sync-deletions = true", |server| server);
    desk.fetch(0);
    let cur = root(&desk).join("cur");
    let content = desk
        .home
        .write("Mail/work/cur/179.M0.other:2,S", "Subject: x\n\n", 0o600);
    for n in 1..60_000 {
        let name = format!("1795392000.M{n}P{n}_with_a_long_name.elsewhere.example.org:2,S");
        if fs::hard_link(&content, cur.join(&name)).is_err() {
            fs::write(cur.join(name), "Subject: x\n\n").unwrap();
        }
    }
    fs::remove_file(delivered(&desk, 2)).unwrap();
    desk.home
        .limited_pouch("-d 24576", &["fetch"])
        .env("POUCH_NOW", NOW.to_string())
        .within(Duration::from_mins(1))
        .run()
        .assert_code(0);
    assert_eq!(desk.server.uids(), uids([1, 3, 4, 5]));
}

#[cfg(feature = "system-tests")]
#[test]
fn file_system_without_locks_is_reported_in_seconds() {
    for call in ["flock", "fcntl"] {
        let desk = Desk::with(2, "", |server| server);
        desk.fetch(0);
        let locks = fs::read_dir(desk.home.state().join("locks")).unwrap();
        let lock = locks
            .map(|entry| entry.unwrap().path())
            .find(|lock| !lock.ends_with("new-address.lock"))
            .unwrap();
        failing_at(&desk, &lock, &format!("{call}:error=ENOLCK"))
            .assert_code(74)
            .assert_stderr("does not support locks");
    }
}

#[cfg(feature = "system-tests")]
#[test]
fn file_system_without_links_gets_each_message_once() {
    let desk = Desk::with(5, "", |server| server);
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let run = [
        "-f",
        "-qq",
        "-o",
        "calls",
        "-e",
        "trace=linkat,renameat2",
        "-e",
        "inject=linkat:error=EPERM",
        "-e",
        "inject=renameat2:error=EINVAL",
        pouch,
        "fetch",
    ];
    let output = desk.home.system_command("strace", &run).run();
    output.assert_code(0).assert_silent();
    desk.assert_arrived(1..=5);
}

#[cfg(feature = "system-tests")]
#[test]
fn tmp_on_another_file_system_is_reported() {
    let desk = Desk::with(5, "", |server| server);
    desk.fetch(0);
    desk.server.add("uid-6", corpus::message(6));
    let _disk = Mounted::tmpfs(&desk.home, root(&desk).join("tmp"), "1M");
    desk.fetch(73).assert_stderr("on different file systems");
    assert_eq!(desk.server.remaining(), 6);
}

#[test]
fn conflicting_copy_of_a_ledger_is_shown_by_check() {
    let desk = Desk::with(1, "", |server| server);
    desk.fetch(0);
    let copy = desk
        .ledger()
        .with_extension("sync-conflict-20261128-120000-ABCDEFG.db");
    fs::copy(desk.ledger(), copy).unwrap();
    let check = desk.pouch(&["check"]).run();
    check.assert_code(0).assert_stdout("ledger   warning");
    check.assert_stdout("exclude it from synchronisation");
}
