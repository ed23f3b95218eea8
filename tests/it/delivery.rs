//! Delivery to a Maildir: what is created, what is left alone, and that mail arrives unchanged.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
};

use insta::assert_snapshot;

#[cfg(feature = "system-tests")]
use crate::support::mount::Mounted;
use crate::{
    fixture::Desk,
    server::{Server, corpus, on},
};

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn missing_maildir_is_created_private() {
    let desk = Desk::with(2, "", |server| server);
    let config = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    desk.home
        .config(&config.replace("~/Mail/work", "~/a/b c/d"));
    desk.home
        .command(
            "sh",
            &[
                "-c",
                "umask 000; exec \"$0\" fetch",
                env!("CARGO_BIN_EXE_pouch"),
            ],
        )
        .run()
        .assert_code(0);
    for folder in [
        "a",
        "a/b c",
        "a/b c/d",
        "a/b c/d/tmp",
        "a/b c/d/new",
        "a/b c/d/cur",
    ] {
        assert_eq!(mode(desk.home.join(folder)), 0o700, "{folder}");
    }
    let mail = desk.home.maildir("a/b c/d");
    let names: BTreeSet<_> = mail.delivered().iter().map(|mail| &mail.name).collect();
    assert_eq!(names.len(), 2);
    for name in names {
        assert_eq!(mode(desk.home.join("a/b c/d/new").join(name)), 0o600);
        assert!(
            !name.contains([':', '/', ',']) && !name.starts_with('.'),
            "{name}"
        );
        assert!(name.split('.').count() >= 3, "{name}");
    }
}

#[test]
fn existing_maildir_is_not_changed() {
    let desk = Desk::with(2, "", |server| server);
    let theirs = [
        ("Mail/work/new/1.other", 0o644),
        ("Mail/work/cur/2.other:2,S", 0o640),
        ("Mail/work/tmp/3.half", 0o600),
        ("Mail/work/.Sent/cur/4.other:2,S", 0o600),
        ("Mail/work/dovecot-uidlist", 0o600),
    ];
    for (path, mode) in theirs {
        desk.home.write(path, path, mode);
    }
    for folder in ["", "new", "cur", "tmp"] {
        desk.home
            .make_dir(Path::new("Mail/work").join(folder), 0o755);
    }
    desk.fetch(0);
    for (path, bits) in theirs {
        assert_eq!(
            (desk.home.read(path), mode(desk.home.join(path))),
            (path.as_bytes().to_vec(), bits)
        );
    }
    assert_eq!(
        (
            mode(desk.home.join("Mail/work")),
            mode(desk.home.join("Mail/work/new"))
        ),
        (0o755, 0o755)
    );
    assert_eq!((desk.mail().len(), desk.mail().tmp().len()), (4, 1));
}

#[test]
fn symlink_to_a_maildir_is_followed() {
    let desk = Desk::with(2, "", |server| server);
    fs::create_dir_all(desk.home.join("Mail")).unwrap();
    desk.home.make_dir("disk/work", 0o700);
    symlink(desk.home.join("disk/work"), desk.home.join("Mail/work")).unwrap();
    desk.fetch(0);
    assert_eq!(desk.home.maildir("disk/work").len(), 2);
}

#[test]
fn invalid_maildir_is_left_alone_and_nothing_is_fetched() {
    type Make = fn(&Desk);
    let places: [(&str, Make); 4] = [
        ("a folder with other files", |desk| {
            drop(desk.home.write("Mail/work/thesis.tex", "", 0o600));
        }),
        ("a file", |desk| {
            drop(desk.home.write("Mail/work", "an mbox", 0o600));
        }),
        ("a folder in a file", |desk| {
            drop(desk.home.write("Mail", "a file above it", 0o600));
        }),
        ("a broken link", |desk| {
            fs::create_dir(desk.home.join("Mail")).unwrap();
            symlink("/nonexistent/place", desk.home.join("Mail/work")).unwrap();
        }),
    ];
    let mut shown = String::new();
    for (what, make) in places {
        let desk = Desk::with(2, "keep = \"none\"", |server| server);
        make(&desk);
        shown.push_str(&desk.fetch(73).case(what));
        let log = desk.server.log();
        assert_eq!(
            (
                log.count("RETR"),
                log.count("DELE"),
                desk.server.remaining()
            ),
            (0, 0, 2),
            "{what}"
        );
    }
    assert_snapshot!(shown, @"
    === a folder with other files
    $ pouch fetch
    ------- stderr -------
    pouch: work: ~/Mail/work is not a Maildir
      it lacks tmp, new and cur, and contains ~/Mail/work/thesis.tex
    hint: use a directory that does not exist yet; pouch creates it
    [exit code: 73]
    === a file
    $ pouch fetch
    ------- stderr -------
    pouch: work: ~/Mail/work is not a Maildir
      it is a file
    hint: use a directory that does not exist yet; pouch creates it
    [exit code: 73]
    === a folder in a file
    $ pouch fetch
    ------- stderr -------
    pouch: work: ~/Mail/work is not a Maildir
      ~/Mail is a file
    hint: use a directory that does not exist yet; pouch creates it
    [exit code: 73]
    === a broken link
    $ pouch fetch
    ------- stderr -------
    pouch: work: cannot create the directory ~/Mail/work
      it is a symbolic link to /nonexistent/place, which does not exist
    [exit code: 73]
    ");
}

#[cfg(feature = "system-tests")]
#[test]
fn unwritable_maildir_prevents_deletion() {
    let mut shown = String::new();
    for part in ["tmp", "new", ""] {
        let desk = Desk::with(3, "keep = \"none\"", |server| server);
        for part in ["tmp", "new", "cur"] {
            desk.home.make_dir(Path::new("Mail/work").join(part), 0o700);
        }
        let disk = Mounted::read_only(&desk.home, desk.home.join("Mail/work").join(part));
        let output = desk.pouch(&["fetch"]).run();
        shown.push_str(&output.case(&format!("{part:?} cannot be written")));
        // `new` is on another disk, so that nothing can be renamed into it.
        match part {
            "new" => output.assert_code(73),
            _ => output
                .assert_code(73)
                .assert_stderr("hint: remount the file system read-write"),
        };
        assert_eq!(
            (desk.server.log().count("DELE"), desk.server.remaining()),
            (0, 3),
            "{part}"
        );
        drop(disk);
        desk.fetch(0);
        desk.assert_arrived(1..=3);
        assert_eq!(desk.server.remaining(), 0);
    }
    assert_snapshot!(shown, @r#"
    === "tmp" cannot be written
    $ pouch fetch
    ------- stderr -------
    pouch: work: cannot write ~/Mail/work/tmp/1795392000.R1L-LEDGER.HOST
      Read-only file system
    hint: remount the file system read-write, or choose another directory
    [exit code: 73]
    === "new" cannot be written
    $ pouch fetch
    ------- stderr -------
    pouch: work: the directories tmp and new of ~/Mail/work are on different file systems
    hint: replace one of them with a directory next to the other
    [exit code: 73]
    === "" cannot be written
    $ pouch fetch
    ------- stderr -------
    pouch: work: cannot write ~/Mail/work/tmp/1795392000.R1L-LEDGER.HOST
      Read-only file system
    hint: remount the file system read-write, or choose another directory
    [exit code: 73]
    "#);
}

#[test]
fn unusual_mail_is_delivered_unchanged_except_for_line_endings() {
    let expected: Vec<_> = corpus::nasty()
        .iter()
        .map(|(_, content)| corpus::on_disk(content))
        .collect();
    for ahead in ["request-ahead = 1", "request-ahead = 3", ""] {
        let desk = Desk::new(
            Server::plain().messages(corpus::nasty()),
            &format!("keep = \"none\"\n{ahead}"),
        );
        desk.fetch(0);
        desk.mail().assert_exactly(&expected).assert_tidy();
        assert_eq!(desk.server.remaining(), 0);
    }
    // The input is split in many ways.
    let short = || {
        corpus::nasty()
            .into_iter()
            .filter(|(name, _)| !name.starts_with("long-"))
    };
    let desk = Desk::new(
        Server::plain().messages(short()).octet_by_octet(),
        "timeout = \"20s\"",
    );
    desk.fetch(0);
    let expected: Vec<_> = short()
        .map(|(_, content)| corpus::on_disk(&content))
        .collect();
    desk.mail().assert_exactly(&expected).assert_tidy();
}

#[test]
fn message_of_30_mb_arrives_complete() {
    let big = corpus::sized(1, 30_000_000);
    let desk = Desk::new(
        Server::plain()
            .message("big", &big)
            .message("uid-2", corpus::message(2)),
        "keep = \"none\"\ntimeout = \"20s\"",
    );
    desk.fetch(0);
    desk.mail()
        .assert_exactly(&[corpus::on_disk(&big), corpus::on_disk(&corpus::message(2))])
        .assert_tidy();
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn three_thousand_messages_arrive_once_each() {
    let desk = Desk::with(3_000, "keep = \"none\"\ntimeout = \"20s\"", |server| server);
    desk.fetch(0);
    desk.assert_arrived(1..=3_000);
    assert_eq!(
        (desk.server.remaining(), desk.server.log().connections()),
        (0, 1)
    );
}

#[test]
fn empty_message_is_delivered_only_if_listed_as_empty() {
    let desk = Desk::new(
        Server::plain()
            .message("none", "")
            .message("uid-2", corpus::message(2)),
        "keep = \"none\"",
    );
    desk.fetch(0);
    desk.mail()
        .assert_exactly(&[Vec::new(), corpus::on_disk(&corpus::message(2))]);
    assert_eq!(desk.server.remaining(), 0);

    let desk = Desk::new(Server::plain().message("none", ""), "");
    desk.fetch(0);
    desk.fetch(0).assert_silent();
    assert_eq!((desk.mail().len(), desk.retrieved()), (1, 1));

    let desk = Desk::with(2, "keep = \"none\"", |server| {
        server.fault(on("RETR").uid("uid-1").empty())
    });
    desk.fetch(75);
    desk.assert_arrived([2]);
    assert_eq!(desk.server.uids(), ["uid-1"]);
}

/// An `after` command that records each run with its environment.
const AFTER: &str =
    "after = [\"sh\", \"-c\", \"env | grep ^POUCH_ | sort >> ~/env; pwd >> ~/ran\"]";

#[test]
fn after_runs_once_with_the_name_of_the_account() {
    let desk = Desk::with(5, AFTER, |server| server);
    desk.fetch(0);
    desk.fetch(0);
    let output = String::from_utf8(desk.home.read("env")).unwrap();
    assert!(
        output.lines().any(|line| line == "POUCH_ACCOUNT=work"),
        "{output}"
    );
    assert!(!output.contains("secret"));
    assert_eq!(
        desk.home.read("ran").split(|octet| *octet == b'\n').count(),
        2
    );
    desk.server.add("uid-6", corpus::message(6));
    desk.pouch(&["plan"]).run().assert_code(0);
    assert_eq!(
        desk.home.read("ran").split(|octet| *octet == b'\n').count(),
        2
    );
    desk.fetch(0);
    assert_eq!(
        desk.home.read("ran").split(|octet| *octet == b'\n').count(),
        3
    );
}

#[test]
fn after_runs_even_if_the_session_fails_later() {
    for (what, fault) in [
        ("one was refused", on("RETR 3").refuse("-ERR damaged")),
        ("one cut the line", on("RETR").uid("uid-3").octets(9).cut()),
        (
            "the end failed",
            on("QUIT").refuse("-ERR some deleted messages not removed"),
        ),
        ("a deletion cut the line", on("DELE").cut()),
    ] {
        let desk = Desk::with(3, &format!("keep = \"none\"\n{AFTER}"), |server| {
            server.fault(fault)
        });
        desk.fetch(75);
        assert!(desk.mail().len() >= 2);
        println!("{what}");
        assert!(
            desk.home.join("ran").exists(),
            "after did not run though {what}"
        );
    }
}

#[test]
fn after_does_not_run_without_new_mail() {
    let desk = Desk::with(2, AFTER, |server| {
        server.fault(on("RETR").refuse("-ERR damaged"))
    });
    desk.fetch(75);
    assert!(!desk.home.join("ran").exists());
}

#[test]
fn failing_after_command_is_reported_and_mail_is_kept() {
    let mut shown = String::new();
    for after in [
        "[\"sh\", \"-c\", \"printf 'no \\\\033[2Jindex' >&2; exit 3\"]",
        "[\"/nonexistent/notmuch\", \"new\"]",
        "[\"sh\", \"-c\", \"kill -9 $$\"]",
    ] {
        let desk = Desk::with(2, &format!("keep = \"none\"\nafter = {after}"), |server| {
            server
        });
        let output = desk.pouch(&["fetch", "-v"]).run();
        shown.push_str(&output.assert_code(75).case(after));
        desk.assert_arrived([1, 2]);
        assert_eq!(desk.server.remaining(), 0);
    }
    assert_snapshot!(shown, @r#"
    === ["sh", "-c", "printf 'no \\033[2Jindex' >&2; exit 3"]
    $ pouch fetch -v
    ------- stderr -------
    work: logged in at 127.0.0.1:PORT
    work: 2 listed, 2 to fetch
    pouch: work: the `after` command `sh` failed: exit status: 3
      `sh` said: no �[2Jindex
      the messages were delivered
    work   2 new (764 B) to ~/Mail/work; 2 deleted
    [exit code: 75]
    === ["/nonexistent/notmuch", "new"]
    $ pouch fetch -v
    ------- stderr -------
    work: logged in at 127.0.0.1:PORT
    work: 2 listed, 2 to fetch
    pouch: work: cannot run the `after` command `/nonexistent/notmuch`
      No such file or directory
    work   2 new (764 B) to ~/Mail/work; 2 deleted
    [exit code: 75]
    === ["sh", "-c", "kill -9 $$"]
    $ pouch fetch -v
    ------- stderr -------
    work: logged in at 127.0.0.1:PORT
    work: 2 listed, 2 to fetch
    pouch: work: the `after` command `sh` failed: signal: 9 (SIGKILL)
      the messages were delivered
    work   2 new (764 B) to ~/Mail/work; 2 deleted
    [exit code: 75]
    "#);
}
