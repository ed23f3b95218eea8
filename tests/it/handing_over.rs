//! Where messages go: Maildirs and programs, byte for byte.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use crate::{
    desk::Desk,
    server::{Server, corpus, on},
};

#[test]
fn nasty_mail_arrives_byte_for_byte() {
    for pipelining in [true, false] {
        let server = Server::plain().messages(corpus::nasty());
        let server = if pipelining { server } else { server.without("PIPELINING").octet_by_octet() };
        let server = if pipelining { server } else { server.fault(on("RETR").uid("long-line").times(0).honest()) };
        let desk = Desk::new(server, "timeout = \"20s\"");
        desk.fetch(0);
        let expected: Vec<_> = corpus::nasty().iter().map(|(_, content)| corpus::on_disk(content)).collect();
        desk.mail().assert_exactly(&expected).assert_tidy();
        desk.fetch(0).assert_silent();
    }
}

#[test]
fn large_mail_arrives_too() {
    let big = corpus::sized(1, 30_000_000);
    let desk =
        Desk::new(Server::plain().message("big", &big).message("small", corpus::message(2)), "timeout = \"20s\"");
    desk.fetch(0);
    desk.mail().assert_exactly(&[corpus::on_disk(&big), corpus::on_disk(&corpus::message(2))]);
}

#[test]
fn an_empty_message_is_what_the_server_has() {
    let desk = Desk::new(Server::plain().message("nothing", b"").message("uid-1", corpus::message(1)), "");
    desk.fetch(0);
    assert_eq!(desk.mail().len(), 2);
    desk.fetch(0).assert_silent();
}

#[test]
fn the_maildir_is_made_for_its_owner_alone() {
    let desk = Desk::with(1, "", |server| server);
    desk.fetch(0);
    for (path, mode) in [("Mail", 0o700), ("Mail/work", 0o700), ("Mail/work/new", 0o700), ("Mail/work/tmp", 0o700)] {
        assert_eq!(fs::metadata(desk.home.join(path)).unwrap().mode() & 0o777, mode, "{path}");
    }
    let name = desk.mail().delivered()[0].name.clone();
    assert_eq!(fs::metadata(desk.home.join("Mail/work/new").join(&name)).unwrap().mode() & 0o777, 0o600);
    assert!(!name.contains([':', '/']) && name.split('.').count() >= 3, "{name}");
}

#[test]
fn a_full_disk_loses_nothing() {
    let desk = Desk::with(40, "keep = \"none\"", |server| server.message("big", corpus::sized(99, 400_000)));
    let mail = desk.home.make_dir("Mail", 0o700);
    let mail = mail.to_str().unwrap();
    desk.home.command("mount", &["-t", "tmpfs", "-o", "size=256k,mode=700", "none", mail]).run().assert_code(0);
    let full = desk.at(0, &["fetch"]).run();
    let left = desk.server.remaining();
    let arrived = desk.mail().len();
    desk.home.command("mount", &["-o", "remount,size=4m", mail]).run().assert_code(0);
    desk.fetch(0);
    let after = desk.mail();
    let gone = desk.server.remaining();
    desk.home.command("umount", &[mail]).run().assert_code(0);
    full.assert_code(74).assert_stderr("No space left on device").assert_stderr("hint: make room");
    assert_eq!(left, 41);
    assert!(arrived < 41);
    assert_eq!((after.len(), gone), (41, 0));
    after.assert_tidy();
}

#[test]
fn a_read_only_disk_is_told() {
    let desk = Desk::with(2, "keep = \"none\"", |server| server);
    desk.fetch_at(0, 0);
    desk.server.add("uid-3", corpus::message(3));
    let mail = desk.home.join("Mail");
    let mail = mail.to_str().unwrap();
    desk.home.command("mount", &["--bind", "-o", "ro", mail, mail]).run().assert_code(0);
    let told = desk.at(0, &["fetch"]).run();
    desk.home.command("umount", &[mail]).run().assert_code(0);
    told.assert_code(73).assert_stderr("read-only file system");
    assert_eq!(desk.server.remaining(), 1);
    desk.fetch(0);
    desk.assert_arrived(1..=3);
}

#[test]
fn after_runs_once_and_only_if_there_was_mail() {
    let desk = Desk::with(2, "after = [\"sh\", \"-c\", \"echo $POUCH_ACCOUNT >> ~/ran\"]", |server| server);
    desk.fetch(0);
    desk.fetch(0);
    assert_eq!(desk.home.read("ran"), b"work\n");
    let desk = Desk::with(2, "after = [\"sh\", \"-c\", \"echo broken >&2; exit 3\"]", |server| server);
    let told = desk.pouch(&["fetch", "-v"]).run();
    told.assert_code(75).assert_stderr("failed: exit status: 3").assert_stderr("it said: broken");
    desk.assert_arrived([1, 2]);
}

/// A config whose program is this script for `sh`.
fn program(script: &str) -> String {
    format!("pipe = [\"sh\", \"-c\", '''{script}''']\npipe-timeout = \"1s\"")
}

#[test]
fn a_program_gets_whole_messages_only() {
    let desk = Desk::with(
        3,
        &program("cat > ~/$POUCH_UID; echo $POUCH_ACCOUNT $POUCH_SENDER $POUCH_SIZE > ~/env"),
        |server| server.fault(on("RETR").uid("uid-2").octets(200).cut()),
    );
    desk.fetch(75);
    assert_eq!(desk.home.read("uid-1"), corpus::on_disk(&corpus::message(1)));
    assert_eq!(desk.home.read("uid-3"), corpus::on_disk(&corpus::message(3)));
    assert!(!desk.home.join("uid-2").exists());
    let size = corpus::on_disk(&corpus::message(3)).len();
    assert_eq!(desk.home.read("env"), format!("work ben@example.org {size}\n").into_bytes());
}

#[test]
fn what_a_program_answers_decides() {
    // (its end, exit of the first run, of the third, is it tried for ever?)
    for (end, first, third) in [
        ("exit 75", 75, 75),
        ("exit 70", 75, 75),
        ("kill -9 $$", 75, 75),
        ("sleep 100", 75, 75),
        ("exit 1", 75, 65),
        ("exit 67", 75, 65),
    ] {
        let script = format!("cat > in; if grep -q '<2@' in; then echo 'no \x1b[2J thanks'; {end}; fi; cat in >> got");
        let lines = "pipe = [\"sh\", \"script\"]\npipe-timeout = \"1s\"\nkeep = \"none\"\nnotice = false";
        let desk = Desk::with(3, lines, |server| server);
        desk.home.write("script", script, 0o600);
        println!("{end}");
        let told = desk.pouch(&["fetch", "-v"]).run();
        told.assert_code(first);
        if !end.starts_with("sleep") && !end.starts_with("kill") {
            told.assert_stderr("it said: no \u{fffd}[2J thanks");
        }
        assert_eq!(desk.server.uids(), ["uid-2"]);
        desk.fetch(first);
        desk.fetch(third);
        assert_eq!(desk.server.uids(), ["uid-2"]);
        let got = String::from_utf8(desk.home.read("got")).unwrap();
        assert_eq!((got.matches("<1@").count(), got.matches("<3@").count()), (1, 1));
    }
}

#[test]
fn a_broken_program_is_not_run_a_thousand_times() {
    let desk = Desk::with(20, &program("echo >> ~/runs; exit 75"), |server| server);
    desk.pouch(&["fetch", "-v"]).run().assert_code(75).assert_stderr("3 times in a row");
    assert_eq!(desk.home.read("runs").len(), 3);
    assert_eq!(desk.server.remaining(), 20);
    let desk = Desk::with(2, "pipe = [\"/nonexistent/procmail\"]", |server| server);
    desk.fetch(78).assert_stderr("cannot be run");
}

#[test]
fn messages_that_a_program_puts_off_stop_nobody_for_ever() {
    let script = "cat > in; if grep -q '<[123]@' in; then exit 75; fi; cat in >> got";
    let desk = Desk::with(6, "pipe = [\"sh\", \"script\"]", |server| server);
    desk.home.write("script", script, 0o600);
    desk.fetch(75);
    desk.fetch(75);
    let got = String::from_utf8(desk.home.read("got")).unwrap();
    for n in 4..=6 {
        assert_eq!(got.matches(&format!("<{n}@")).count(), 1, "message {n}");
    }
}

#[test]
fn after_runs_although_the_session_did_not_end_well() {
    let desk = Desk::with(2, "keep = \"none\"\nafter = [\"sh\", \"-c\", \"echo >> ~/ran\"]", |server| {
        server.fault(on("QUIT").nth(1).refuse("-ERR no"))
    });
    desk.fetch(75);
    assert_eq!(desk.home.read("ran").len(), 1);
}

#[test]
fn procmail_and_maildrop_deliver_it_as_it_is() {
    let desk = Desk::with(5, "pipe = [\"procmail\", \"-m\", \"rc\"]", |server| server);
    // procmail takes the home of the user database for HOME
    desk.home.write("rc", format!("DEFAULT={}/\n", desk.home.join("Sorted").display()), 0o600);
    desk.home.make_dir("Sorted", 0o700);
    desk.fetch(0);
    let expected: Vec<_> = (1..=5).map(|n| corpus::on_disk(&corpus::message(n))).collect();
    desk.home.maildir("Sorted").assert_exactly(&expected);

    let desk = Desk::with(5, "pipe = [\"maildrop\", \"rc\"]\nkeep = \"none\"", |server| server);
    desk.home.write("rc", format!("to \"{}\"\n", desk.home.join("Sorted").display()), 0o600);
    for part in ["cur", "new", "tmp"] {
        fs::set_permissions(desk.home.make_dir(format!("Sorted/{part}"), 0o700), fs::Permissions::from_mode(0o700))
            .unwrap();
    }
    desk.fetch(0);
    desk.home.maildir("Sorted").assert_exactly(&expected);
    assert_eq!(desk.server.remaining(), 0);
}
