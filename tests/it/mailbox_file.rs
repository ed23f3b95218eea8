//! Delivery to a mailbox file (mbox): each message once, even if other programs write to the file
//! or pouch is killed.

use std::{fs, process};
#[cfg(feature = "system-tests")]
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::Stdio,
};

use insta::assert_snapshot;

use crate::{
    fixture::Desk,
    server::{Fault, Server, corpus},
    support::{mail::Mail, watch::wait_for_change},
};
#[cfg(feature = "system-tests")]
use crate::{
    fixture::NOW,
    real::{ALICE, ALICE_PASSWORD, BOB, BOB_PASSWORD, RealServer},
    server::on,
    support::Home,
};

const MBOX: &str = "mbox = \"~/Mail/work\"";

fn ordinary(numbers: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    numbers
        .into_iter()
        .map(|n| corpus::on_disk(&corpus::message(n)))
        .collect()
}

#[cfg(feature = "system-tests")]
#[test]
fn unusual_mail_is_readable_by_other_programs() {
    let desk = Desk::new(Server::plain().messages(corpus::nasty()), MBOX);
    desk.fetch(0);
    let expected: Vec<_> = corpus::nasty()
        .iter()
        .map(|(_, content)| corpus::on_disk(content))
        .collect();
    desk.mail().assert_exactly(&expected);
    desk.fetch(0).assert_silent();
    // An independent reader, which does not undo the quoting.
    let script = "import mailbox, sys\n\
        for message in mailbox.mbox('Mail/work'):\n\
        \x20   sys.stdout.write(message.get_from() + '\\n')";
    let seen = desk.home.system_command("python3", &["-c", script]).run();
    let line = "ben@example.org Mon Nov 23 00:00:00 2026";
    assert_eq!(seen.assert_code(0).stdout.lines().count(), expected.len());
    assert!(seen.stdout.lines().any(|seen| seen == line), "{seen}");
    assert!(
        seen.stdout
            .lines()
            .any(|seen| seen == line.replace("ben@example.org", "MAILER-DAEMON")),
        "{seen}"
    );
    assert!(!desk.home.join("Mail/work.lock").exists());
}

#[test]
fn existing_mail_is_kept_and_new_mail_begins_a_line() {
    for (before, separated) in [
        ("", ""),
        (
            "From a@b Mon Nov 23 00:00:00 2026\nSubject: x\n\nhi\n\n",
            "",
        ),
        (
            "From a@b Mon Nov 23 00:00:00 2026\nSubject: x\n\nhi\n",
            "\n",
        ),
        (
            "From a@b Mon Nov 23 00:00:00 2026\nSubject: x\n\nhi",
            "\n\n",
        ),
    ] {
        let desk = Desk::with(2, MBOX, |server| server);
        desk.home.make_dir("Mail", 0o700);
        desk.home.write("Mail/work", before, 0o640);
        desk.fetch(0);
        let mailbox = desk.home.read("Mail/work");
        let added = mailbox
            .strip_prefix(before.as_bytes())
            .unwrap()
            .strip_prefix(separated.as_bytes())
            .unwrap();
        Mail::in_mbox(added).assert_exactly(&ordinary(1..=2));
    }
}

each_fault!(message_that_cannot_be_fetched_leaves_no_trace, 2);

fn message_that_cannot_be_fetched_leaves_no_trace(fault: Fault) {
    let desk = Desk::with(3, &format!("{MBOX}\nkeep = \"none\""), |server| {
        server.fault(fault)
    });
    desk.fetch(75).assert_silent();
    Mail::in_mbox(&desk.home.read("Mail/work")).assert_exactly(&ordinary([1, 3]));
    assert_eq!(desk.server.uids(), ["uid-2"]);
    desk.server.heal("uid-2");
    desk.fetch(0).assert_silent();
    Mail::in_mbox(&desk.home.read("Mail/work")).assert_exactly(&ordinary(1..=3));
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn invalid_mailbox_file_is_left_alone() {
    let desk = Desk::with(2, MBOX, |server| server);
    desk.home.write("Mail/work", "Dear diary", 0o600);
    assert_snapshot!(desk.fetch(73).stderr_text(), @"
    pouch: work: ~/Mail/work is not a mailbox file
      it does not start with `From `
    hint: use a file that does not exist yet; pouch creates it
    ");
    assert_eq!(desk.home.read("Mail/work"), b"Dear diary");
    fs::remove_file(desk.home.join("Mail/work")).unwrap();
    desk.home.make_dir("Mail/work", 0o700);
    assert_snapshot!(desk.pouch(&["fetch", "-v"]).run().assert_code(73).stderr_text(), @"
    pouch: work: ~/Mail/work is not a mailbox file
      it is a directory
    hint: use `maildir` for a directory; `mbox` is a file
    work   nothing fetched
    ");
    assert_eq!(desk.retrieved(), 0);
}

#[test]
fn message_larger_than_a_batch_arrives() {
    let big = corpus::sized(1, 30_000_000);
    let desk = Desk::new(
        Server::plain()
            .message("big", &big)
            .message("uid-2", corpus::message(2)),
        &format!("{MBOX}\ntimeout = \"20s\""),
    );
    desk.fetch(0);
    desk.mail()
        .assert_exactly(&[corpus::on_disk(&big), corpus::on_disk(&corpus::message(2))]);
    // Messages that are durable in the mbox file are nowhere else.
    let state: u64 = fs::read_dir(desk.home.state().join("mbox"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(state < 10_000, "{state}");
}

/// Fetches while another program has locked the mailbox. Calls `let_go` after pouch has failed to
/// lock it several times, as `sign` in a trace shows.
#[cfg(feature = "system-tests")]
fn fetch_while_locked(desk: &Desk, sign: &str, let_go: impl FnOnce()) {
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let before = desk.mail().len();
    let traced = [
        "-f",
        "-qq",
        "-y",
        "-o",
        "calls",
        "-e",
        "trace=fcntl,open,openat,linkat",
        pouch,
        "fetch",
    ];
    let run = desk
        .home
        .system_command("strace", &traced)
        .env("POUCH_NOW", NOW.to_string())
        .spawn();
    let tried = || {
        fs::read_to_string(desk.home.join("calls"))
            .unwrap_or_default()
            .matches(sign)
            .count()
    };
    wait_for_change(&[desk.home.path()], || tried() >= 3);
    assert!(run.is_running(), "it did not wait");
    assert_eq!(desk.mail().len(), before);
    let_go();
    run.wait().assert_code(0);
}

#[cfg(feature = "system-tests")]
#[test]
fn lock_of_another_program_is_waited_for() {
    let desk = Desk::with(2, MBOX, |server| server);
    let dot = desk
        .home
        .write("Mail/work.lock", format!("{}\n", process::id()), 0o600);
    fetch_while_locked(&desk, "EEXIST", || fs::remove_file(&dot).unwrap());
    desk.assert_arrived([1, 2]);

    // An fcntl lock, which python holds until it has read a line.
    desk.server.add("uid-3", corpus::message(3));
    let script = "import fcntl\nf = open('Mail/work', 'r+')\nfcntl.lockf(f, fcntl.LOCK_EX)\n\
                  print('locked', flush=True)\ninput()";
    let mut python = process::Command::new("python3")
        .args(["-c", script])
        .current_dir(desk.home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    BufReader::new(python.stdout.take().unwrap())
        .read_line(&mut String::new())
        .unwrap();
    fetch_while_locked(&desk, "EAGAIN", || {
        python.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(python.wait().unwrap().success());
    });
    desk.assert_arrived(1..=3);
}

#[cfg(feature = "system-tests")]
#[test]
fn procmail_can_deliver_at_the_same_time() {
    // One batch for each message, so that the locks are taken many times.
    let desk = Desk::with(40, &format!("{MBOX}\nlimit = 1"), |server| server);
    desk.home.make_dir("Mail", 0o700);
    desk.home.write(
        "rc",
        format!(
            "LOCKSLEEP=1\nDEFAULT={}\n",
            desk.home.join("Mail/work").display()
        ),
        0o600,
    );
    for n in 101..=140 {
        let message = [
            b"From ben@example.org Mon Nov 23 00:00:00 2026\n",
            &corpus::message(n)[..],
        ]
        .concat();
        desk.home.write(format!("in/{n}"), message, 0o600);
    }
    let procmail = desk
        .home
        .command(
            "sh",
            &["-c", "for n in in/*; do procmail -m rc < $n || exit; done"],
        )
        .spawn();
    for _ in 0..40 {
        desk.fetch(0);
    }
    procmail.wait().assert_code(0);
    desk.mail()
        .assert_exactly(&ordinary((1..=40).chain(101..=140)));
}

#[test]
fn two_accounts_share_a_mailbox() {
    let desk = Desk::with(60, MBOX, |server| server);
    let other = Server::plain()
        .messages((61..=120).map(|n| (corpus::uid(n), corpus::message(n))))
        .start();
    let config = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    let second = config
        .replace("account.work", "account.other")
        .replace("127.0.0.1", "localhost");
    let second = second.replace(
        &format!("port = {}", desk.server.port()),
        &format!("port = {}", other.port()),
    );
    desk.home.config(&format!("{config}{second}"));
    desk.fetch(0);
    desk.mail().assert_exactly(&ordinary(1..=120));
}

/// Returns the content of the mailbox if pouch is killed after the last byte of a batch was
/// written, and before the batch is synced.
#[cfg(feature = "system-tests")]
fn killed_behind_the_append(desk: &Desk) -> Vec<u8> {
    let path = desk.home.join("Mail/work");
    if !path.exists() {
        desk.home.write("Mail/work", "", 0o600);
    }
    let (path, pouch) = (path.to_str().unwrap(), env!("CARGO_BIN_EXE_pouch"));
    let inject = [
        "-e",
        "trace=fsync",
        "-e",
        "inject=fsync:signal=KILL:when=1",
        "-P",
        path,
    ];
    desk.home
        .system_command(
            "strace",
            &[
                &["-f", "-qq", "-o", "calls"][..],
                &inject,
                &[pouch, "fetch"],
            ]
            .concat(),
        )
        .env("POUCH_NOW", NOW.to_string())
        .run()
        .assert_code(128 + 9);
    desk.server.wait_for(|log| log.open() == 0);
    desk.home.read("Mail/work")
}

#[cfg(feature = "system-tests")]
#[test]
fn interrupted_append_is_rolled_back() {
    const OLD: &str = "From a@b Mon Nov 23 00:00:00 2026\nSubject: old\n\nmail\n";
    // This number of bytes is missing, or is NUL as after a power cut.
    for (cut, nul) in [
        (1, 0),
        (300, 0),
        (700, 0),
        (usize::MAX, 0),
        (700, 500),
        (usize::MAX, 900),
    ] {
        for old in [OLD, ""] {
            let desk = Desk::with(4, MBOX, |server| server);
            desk.home.make_dir("Mail", 0o700);
            desk.home.write("Mail/work", old, 0o600);
            let mailbox = killed_behind_the_append(&desk);
            assert!(mailbox.len() > old.len() + 1000);
            let torn = mailbox.len().saturating_sub(cut).max(old.len());
            fs::write(
                desk.home.join("Mail/work"),
                [&mailbox[..torn], &vec![0; nul]].concat(),
            )
            .unwrap();
            desk.fetch(0).assert_silent();
            let mut expected = ordinary(1..=4);
            expected.extend(
                old.split_once('\n')
                    .map(|(_, message)| message.as_bytes().to_vec()),
            );
            desk.mail().assert_exactly(&expected);
        }
    }
}

#[cfg(feature = "system-tests")]
#[test]
fn interrupted_append_followed_by_other_mail_is_kept_and_reported() {
    let desk = Desk::with(4, MBOX, |server| server);
    let mailbox = killed_behind_the_append(&desk);
    let theirs = b"\n\nFrom a@b Mon Nov 23 00:00:00 2026\nSubject: theirs\n\nmail\n\n";
    let whole = mailbox
        .windows(6)
        .rposition(|octets| octets == b"\nFrom ")
        .unwrap();
    let torn = [&mailbox[..whole + 100], theirs].concat();
    fs::write(desk.home.join("Mail/work"), &torn).unwrap();
    let output = desk.fetch(0);
    assert_snapshot!(output.stderr_text(), @"
    pouch: work: the last run was interrupted while writing to ~/Mail/work
      the file has changed since and was left untouched
      it may contain 1 message, complete or in part, which will be fetched again
    ");
    let after = desk.home.read("Mail/work");
    let added = after.strip_prefix(torn.as_slice()).unwrap();
    // The first three are known to be complete; the fourth was delivered again.
    Mail::in_mbox(added).assert_exactly(&ordinary([4]));
    desk.fetch(0).assert_silent();
}

#[cfg(feature = "system-tests")]
#[test]
fn mail_deleted_by_the_user_is_not_fetched_again() {
    let desk = Desk::with(4, MBOX, |server| server);
    desk.home.write(
        "Mail/work",
        "From a@b Mon Nov 23 00:00:00 2026\nSubject: old\n\nmail\n\n",
        0o600,
    );
    killed_behind_the_append(&desk);
    fs::write(desk.home.join("Mail/work"), b"").unwrap();
    // It is unknown whether the messages were ever in the file.
    assert_snapshot!(desk.fetch(0).stderr_text(), @"
    pouch: work: the last run was interrupted while writing to ~/Mail/work
      the file has changed since and was left untouched
      it may contain 4 messages, complete or in part, which will be fetched again
    ");
    desk.mail().assert_exactly(&ordinary(1..=4));
    // A run that knows that they were.
    fs::write(desk.home.join("Mail/work"), b"").unwrap();
    desk.server.add("uid-5", corpus::message(5));
    desk.server.fault(on("RETR").uid("uid-5").silence());
    let mut child = desk.pouch(&["fetch"]).spawn();
    desk.server.wait_for(|log| log.count("RETR 5") == 1);
    child.kill();
    child.wait();
    desk.server.heal_all();
    desk.fetch(0);
    desk.mail().assert_exactly(&ordinary([5]));
}

#[cfg(feature = "system-tests")]
#[test]
fn dry_run_after_a_kill_creates_no_mailbox() {
    let desk = Desk::with(4, MBOX, |server| server);
    killed_behind_the_append(&desk);
    fs::remove_file(desk.home.join("Mail/work")).unwrap();
    assert_snapshot!(desk.pouch(&["plan"]).run().assert_code(0).stdout_text(), @"
    work: 4 messages on the server, 4 known
      fetch      4    1.6 KB   new; kept on the server
    ");
    assert!(!desk.home.join("Mail/work").exists());
    desk.fetch(0);
    desk.mail().assert_exactly(&ordinary(1..=4));
}

#[cfg(feature = "system-tests")]
#[test]
fn message_without_room_does_not_stop_others() {
    let desk = Desk::with(3, MBOX, |server| {
        server.message("big", corpus::sized(99, 400_000))
    });
    let mail = desk.home.make_dir("Mail", 0o700);
    let mail = mail.to_str().unwrap();
    desk.home
        .system_command(
            "mount",
            &["-t", "tmpfs", "-o", "size=256k,mode=700", "none", mail],
        )
        .run()
        .assert_code(0);
    let full = desk.fetch_at(0, 74);
    let left = desk.home.read("Mail/work");
    desk.home
        .system_command("mount", &["-o", "remount,size=4m", mail])
        .run()
        .assert_code(0);
    desk.fetch(0);
    let after = desk.mail();
    desk.home
        .system_command("umount", &[mail])
        .run()
        .assert_code(0);
    assert_snapshot!(full.stderr_text(), @"
    pouch: work: cannot write to ~/Mail/work
      No space left on device
      message 4 left on the server; other messages are not affected
    hint: free space on that disk; the next run continues where this one stopped
    ");
    Mail::in_mbox(&left).assert_exactly(&ordinary(1..=3));
    after.assert_exactly(
        &[
            ordinary(1..=3),
            vec![corpus::on_disk(&corpus::sized(99, 400_000))],
        ]
        .concat(),
    );
}

#[cfg(feature = "system-tests")]
#[test]
fn check_reports_how_the_mailbox_is_locked() {
    let desk = Desk::with(1, MBOX, |server| server);
    assert_snapshot!(desk.pouch(&["check"]).run().assert_code(0).stdout_text(), @"
    ledger   ok    ~/.local/state/pouch
    secret   ok    ~/password, N s
    connect  ok    127.0.0.1:PORT (127.0.0.1), N ms
    login    ok    PLAIN
    server   ok    UIDL TOP PIPELINING; 1 message
    deliver  ok    ~/Mail/work, will be created
    sandbox  (as the kernel allows)
    ");
    desk.fetch(0);
    assert_snapshot!(desk.pouch(&["check"]).run().assert_code(0).stdout_text(), @"
    ledger   ok    ~/.local/state/pouch
    secret   ok    ~/password, N s
    connect  ok    127.0.0.1:PORT (127.0.0.1), N ms
    login    ok    PLAIN
    server   ok    UIDL TOP PIPELINING; 1 message
    deliver  ok    ~/Mail/work, writable, locked by fcntl and dot lock, N free
    sandbox  (as the kernel allows)
    ");
    // A directory in which the user cannot create a lock, as /var/mail often is.
    let (mail, file) = (
        desk.home.join("Mail"),
        desk.home.write("elsewhere", "", 0o600),
    );
    let (mail, file) = (mail.to_str().unwrap(), file.to_str().unwrap());
    desk.home
        .system_command("mount", &["--bind", "-o", "ro", mail, mail])
        .run()
        .assert_code(0);
    desk.home
        .system_command("mount", &["--bind", file, &format!("{mail}/work")])
        .run()
        .assert_code(0);
    let checked = desk.pouch(&["check"]).run();
    desk.server.add("uid-2", corpus::message(2));
    let fetched = desk.pouch(&["fetch"]).run();
    desk.home
        .system_command("umount", &[&format!("{mail}/work")])
        .run()
        .assert_code(0);
    desk.home
        .system_command("umount", &[mail])
        .run()
        .assert_code(0);
    assert_snapshot!(checked.assert_code(0).stdout_text(), @"
    ledger   ok    ~/.local/state/pouch
    secret   ok    ~/password, N s
    connect  ok    127.0.0.1:PORT (127.0.0.1), N ms
    login    ok    PLAIN
    server   ok    UIDL TOP PIPELINING; 1 message
    deliver  ok    ~/Mail/work, writable, locked by fcntl alone: no dot lock can be created in ~/Mail, N free
    sandbox  (as the kernel allows)
    ");
    fetched.assert_code(0).assert_silent();
    Mail::in_mbox(&fs::read(file).unwrap()).assert_exactly(&ordinary([2]));
}

/// Creates a home directory with an account for `user` of `server` that delivers to `place`.
#[cfg(feature = "system-tests")]
fn home(server: &RealServer, user: &str, password: &str, place: &str) -> Home {
    let home = Home::new();
    home.write("password", format!("{password}\n"), 0o600);
    home.config(&format!(
        "[account.{user}]\nhost = \"localhost\"\nport = {}\ntls-ca-file = \"{}\"\nuser = \"{user}\"\n\
         password-file = \"~/password\"\n{place}\n",
        server.port("pop3s"),
        server.value("ca_file"),
    ));
    home
}

#[cfg(feature = "system-tests")]
#[test]
fn dovecot_reads_the_mailbox() {
    let server = RealServer::start("dovecot", &["format=mbox"]);
    let messages: Vec<_> = (1..=20).map(|n| corpus::sized(n, 2_000 * n)).collect();
    server.inject(ALICE, &messages);
    // The mailbox belongs to bob, who is logged in meanwhile.
    let bobs = Path::new(server.value("log")).with_file_name("var/mail/bob");
    let place = format!("mbox = \"{}\"\nkeep = \"none\"\nlimit = 5", bobs.display());
    let alice = home(&server, ALICE, ALICE_PASSWORD, &place);
    let bob = home(&server, BOB, BOB_PASSWORD, "maildir = \"~/Mail\"");
    for _ in 0..4 {
        alice.pouch(&["fetch"]).run().assert_code(0).assert_silent();
        server.exec(&["chown", "bob", "/var/mail/bob"]);
        bob.pouch(&["fetch"]).run().assert_code(0).assert_silent();
    }
    let expected: Vec<_> = messages
        .iter()
        .map(|message| corpus::on_disk(message))
        .collect();
    bob.maildir("Mail").assert_exactly(&expected);
    assert_eq!(server.look(ALICE).len(), 0);
}

#[test]
fn ledger_verify_cannot_check_a_mailbox_file() {
    let desk = Desk::with(2, "mbox = \"~/box\"", |server| server);
    desk.fetch(0);
    desk.server.add(corpus::uid(3), corpus::message(3));
    desk.fetch(0);
    let output = desk.pouch(&["ledger", "verify"]).run();
    assert_snapshot!(output.assert_code(0).stdout_text(), @"work: 3 messages delivered, their location cannot be verified");
}

#[test]
fn killed_before_the_previous_batch_is_recorded() {
    let desk = Desk::with(300, MBOX, |server| server);
    let lock = desk.home.write(
        "Mail/work.lock",
        format!("{}:elsewhere", process::id()),
        0o600,
    );
    let mut child = desk.pouch(&["fetch"]).spawn();
    desk.server.wait_for(|log| log.count("RETR") > 0);
    // The ledger is still locked, but the mailbox is not.
    let mut ledger = rusqlite::Connection::open(desk.ledger()).unwrap();
    let held = ledger
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .unwrap();
    fs::remove_file(lock).unwrap();
    wait_for_change(&[&desk.home.join("Mail")], || {
        desk.home.join("Mail/work").exists() && desk.mail().len() >= 256
    });
    child.kill();
    child.wait();
    held.rollback().unwrap();
    desk.server.wait_for(|log| log.open() == 0);
    desk.fetch(0).assert_silent();
    desk.mail().assert_exactly(&ordinary(1..=300));
}
