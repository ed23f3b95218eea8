//! A mailbox for a whole domain, delivered to LMTP servers, mailbox files and programs.

#[cfg(feature = "system-tests")]
use std::{fs, path::Path};

use insta::assert_snapshot;

use crate::{
    fixture::Desk,
    lmtp_server::Lmtp,
    server::{Server, Setup, corpus, on},
};
#[cfg(feature = "system-tests")]
use crate::{
    fixture::NOW,
    real::{ALICE, ALICE_PASSWORD, BOB, BOB_PASSWORD, RealServer},
    support::Home,
    third_party::in_neomutt,
};

/// Returns a message with these recipients, as the server records them.
fn mail(n: usize, recipients: &[&str]) -> Vec<u8> {
    let noted = recipients.join(", ");
    format!("Envelope-To: {noted}\nFrom: x@example.net\nMessage-ID: <{n}@domain>\n\nbody {n}\n")
        .into_bytes()
}

/// Creates an account with this table of recipients, and a server with these messages, numbered
/// from 1.
fn desk(
    keys: &str,
    recipients: &str,
    messages: &[&Vec<u8>],
    more: impl FnOnce(Setup) -> Setup,
) -> Desk {
    let setup = (1..)
        .zip(messages)
        .fold(Server::plain(), |setup, (n, mail)| {
            setup.message(n.to_string(), mail)
        });
    Desk::new(
        more(setup),
        &format!("{keys}\nkeep = \"none\"\n[account.work.multidrop.recipients]\n{recipients}"),
    )
}

const BEHIND_LMTP: &str = "\"sales@example.org\" = \"lmtp:unix:~/lmtp ann ben@example.org\"
\"*@example.org\" = \"lmtp:unix:~/lmtp\"";

#[test]
fn lmtp_server_gets_a_message_once_for_all_recipients() {
    let both = mail(
        1,
        &["Ann@example.org", "ben@example.org", "ann@Example.ORG"],
    );
    let sales = mail(
        2,
        &["ben@example.org", "sales@example.org", "who@example.net"],
    );
    let unknown = mail(3, &["who@example.net"]);
    let desk = desk("", BEHIND_LMTP, &[&both, &sales, &unknown], |server| server);
    let lmtp = Lmtp::at(&desk.home.join("lmtp"));
    desk.fetch(0).assert_silent();
    lmtp.assert_exactly(&[
        ("Ann@example.org", &both),
        ("ben@example.org", &both),
        ("ben@example.org", &sales),
        ("ann", &sales),
    ]);
    desk.mail()
        .assert_exactly(&[&sales, &unknown])
        .assert_tidy();
    assert_eq!(
        (
            lmtp.calls("CONNECT"),
            lmtp.calls("DATA"),
            desk.server.remaining()
        ),
        (1, 2, 0)
    );
}

#[test]
fn each_recipient_has_its_own_response() {
    let one = mail(
        1,
        &["ann@example.org", "ben@example.org", "who@example.net"],
    );
    let other = mail(2, &["ben@example.net"]);
    let table =
        format!("{BEHIND_LMTP}\n\"ben@example.net\" = \"lmtp:unix:~/other ben@example.org\"");
    let desk = desk("notice = false", &table, &[&one, &other], |server| server);
    let (lmtp, elsewhere) = (
        Lmtp::at(&desk.home.join("lmtp")),
        Lmtp::at(&desk.home.join("other")),
    );
    lmtp.answer("RCPT TO:<ben", "452 full");
    elsewhere.answer(".ben", "452 full");
    for _ in 0..2 {
        desk.fetch(75).assert_silent();
        lmtp.assert_exactly(&[("ann@example.org", &one)]);
        desk.mail().assert_exactly(&[&one]).assert_tidy();
    }
    // Another user with the same local part.
    elsewhere.heal();
    desk.fetch(75).assert_silent();
    elsewhere.assert_exactly(&[("ben@example.org", &other)]);
    assert_eq!(desk.server.uids(), ["1"]);
    lmtp.heal();
    desk.fetch(0);
    lmtp.assert_exactly(&[("ann@example.org", &one), ("ben@example.org", &one)]);
    desk.mail().assert_exactly(&[&one]).assert_tidy();
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn missing_lmtp_server_does_not_delay_other_destinations() {
    let (ann, who) = (mail(1, &["ann@example.org"]), mail(2, &["who@example.net"]));
    let both = mail(3, &["ann@example.org", "who@example.net"]);
    let desk = desk("", BEHIND_LMTP, &[&ann, &who, &both], |server| server);
    for _ in 0..3 {
        desk.fetch(75).assert_silent();
        desk.mail().assert_exactly(&[&who, &both]).assert_tidy();
        assert_eq!(desk.server.uids(), ["1", "3"]);
    }
    assert_snapshot!(desk.fetch_at(2, 75).stderr_text(), @"
    pouch: work: cannot connect to the LMTP server at unix:~/lmtp
      No such file or directory
    hint: check that the server is running, and that its socket is ~/lmtp
    ");
    let lmtp = Lmtp::at(&desk.home.join("lmtp"));
    desk.fetch_at(2, 0);
    lmtp.assert_exactly(&[("ann@example.org", &ann), ("ann@example.org", &both)]);
    desk.mail().assert_exactly(&[&who, &both]).assert_tidy();
}

#[test]
fn rule_delivers_to_its_recipients_or_the_default_ones() {
    let rules = "lmtp-recipients = [\"ben\", \"cid\"]
[[account.work.rule]]
subject = \"Message 1\"
action = \"lmtp:unix:~/lmtp ann\"
[[account.work.rule]]
subject = \"Message 2\"
action = \"fetch\"
also = [\"lmtp:unix:~/lmtp\"]";
    let desk = Desk::with(3, rules, |server| server);
    let lmtp = Lmtp::at(&desk.home.join("lmtp"));
    desk.fetch(0);
    let [one, two, three] = [1, 2, 3].map(|n| corpus::on_disk(&corpus::message(n)));
    lmtp.assert_exactly(&[("ann", &one), ("ben", &two), ("cid", &two)]);
    desk.mail().assert_exactly(&[two, three]);
}

#[test]
fn recipients_follow_the_server_on_the_command_line() {
    let desk = Desk::with(1, "", |server| server);
    let lmtp = Lmtp::at(&desk.home.join("lmtp"));
    desk.pouch(&["fetch", "--to", "lmtp:unix:lmtp ann ben"])
        .run()
        .assert_code(0);
    let one = corpus::on_disk(&corpus::message(1));
    lmtp.assert_exactly(&[("ann", &one), ("ben", &one)]);
}

const IN_FILES: &str = "\"ann@example.org\" = \"mbox:~/boxes/ann\"
\"ben@example.org\" = \"mbox:~/boxes/ben\"
\"cid@example.org\" = \"maildir:~/cid\"";

/// Messages for ann, ben and cid, and one for an unknown user.
#[cfg(feature = "system-tests")]
fn for_files() -> [Vec<u8>; 4] {
    [
        mail(1, &["ann@example.org"]),
        mail(2, &["ann@example.org", "ben@example.org"]),
        mail(
            3,
            &["ben@example.org", "cid@example.org", "who@example.org"],
        ),
        mail(4, &[]),
    ]
}

#[cfg(feature = "system-tests")]
#[track_caller]
fn assert_in_files(desk: &Desk) {
    let [one, two, three, four] = for_files();
    desk.home.maildir("boxes/ann").assert_exactly(&[&one, &two]);
    desk.home
        .maildir("boxes/ben")
        .assert_exactly(&[&two, &three]);
    desk.home
        .maildir("cid")
        .assert_exactly(&[&three])
        .assert_tidy();
    desk.mail().assert_exactly(&[&three, &four]).assert_tidy();
    assert_eq!(desk.server.remaining(), 0);
}

#[cfg(feature = "system-tests")]
#[test]
fn mbox_files_get_the_mail_of_their_recipients() {
    let [one, two, three, four] = for_files();
    let desk = desk("", IN_FILES, &[&one, &two, &three, &four], |server| server);
    desk.fetch(0).assert_silent();
    assert_in_files(&desk);
    in_neomutt(&desk.home, "boxes/ben").assert_code(0);
    let seen = String::from_utf8(desk.home.read("seen")).unwrap();
    for message in [two, three] {
        assert_eq!(
            seen.matches(&String::from_utf8(message).unwrap()).count(),
            1,
            "{seen}"
        );
    }
}

#[cfg(feature = "system-tests")]
#[test]
fn killed_between_mailbox_files_delivers_once_to_each() {
    let [one, two, three, four] = for_files();
    for (call, count) in [
        ("fsync", 30),
        ("rename", 3),
        ("ftruncate", 6),
        ("renameat2", 3),
    ] {
        for nth in (1..=count).step_by(if count > 10 { 2 } else { 1 }) {
            let desk = desk("", IN_FILES, &[&one, &two, &three, &four], |server| server);
            let killed = desk.traced(&format!("{call}:signal=KILL:when={nth}"));
            println!("{call} {nth}: {}", killed.code);
            desk.server.wait_for(|log| log.open() == 0);
            desk.fetch(0);
            assert_in_files(&desk);
            desk.fetch(0).assert_silent();
        }
    }
}

#[cfg(feature = "system-tests")]
#[test]
fn interrupted_append_is_reported_with_its_path() {
    let [one, two, three, four] = for_files();
    let desk = desk("", IN_FILES, &[&one, &two, &three, &four], |server| server);
    let path = desk.home.write("boxes/ann", "", 0o600);
    let killed = [
        "-f",
        "-qq",
        "-o",
        "calls",
        "-e",
        "inject=fsync:signal=KILL:when=1",
        "-P",
        path.to_str().unwrap(),
    ];
    let run = desk.home.system_command(
        "strace",
        &[&killed[..], &[env!("CARGO_BIN_EXE_pouch"), "fetch"]].concat(),
    );
    run.env("POUCH_NOW", NOW.to_string())
        .run()
        .assert_code(128 + 9);
    desk.server.wait_for(|log| log.open() == 0);
    let torn = desk.home.read("boxes/ann");
    let theirs = b"\n\nFrom a@b Mon Nov 23 00:00:00 2026\nSubject: theirs\n\nmail\n\n";
    fs::write(&path, [&torn[..torn.len() - 9], theirs].concat()).unwrap();
    let output = desk.fetch(0);
    assert_snapshot!(output.stderr_text(), @"
    pouch: work: the last run was interrupted while writing to ~/boxes/ann
      the file has changed since and was left untouched
      it may contain 1 message, complete or in part, which will be fetched again
    ");
    // The first message was complete.
    assert_eq!(
        desk.home
            .read("boxes/ann")
            .windows(one.len())
            .filter(|octets| *octets == one)
            .count(),
        1
    );
    desk.home
        .maildir("boxes/ben")
        .assert_exactly(&[&two, &three]);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn killed_during_a_program_causes_no_second_copy() {
    let both = mail(1, &["ann@example.org", "dan@example.org"]);
    let table = format!("{IN_FILES}\n\"dan@example.org\" = \"pipe:sh script\"");
    let desk = desk(
        "",
        &table,
        &[&both, &mail(2, &["ann@example.org"])],
        |server| server,
    );
    desk.home.write(
        "script",
        "cat > got; test -e again || kill -KILL $PPID",
        0o600,
    );
    desk.pouch(&["fetch"]).run().assert_code(128 + 9);
    desk.home.write("again", "", 0o600);
    desk.server.wait_for(|log| log.open() == 0);
    assert_snapshot!(desk.fetch(0).stderr_text(), @"
    pouch: work: an earlier run was interrupted while delivering message 1
      delivering it again; it may be duplicated
    ");
    assert_eq!(desk.home.read("got"), both);
    desk.home
        .maildir("boxes/ann")
        .assert_exactly(&[both, mail(2, &["ann@example.org"])]);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn only_messages_for_a_program_are_recorded_one_by_one() {
    let rule = "[[account.work.rule]]\nsubject = \"Message 7\"\naction = \"pipe:sh script\"";
    let desk = Desk::with(100, rule, |server| server);
    desk.home.write(
        "script",
        "cat >> got; ls Mail/work/new | wc -l > there",
        0o600,
    );
    desk.fetch(0).assert_silent();
    assert_eq!(desk.home.read("got"), corpus::on_disk(&corpus::message(7)));
    // The other messages did not wait for this one.
    assert_eq!(desk.home.read("there"), b"99\n");
    desk.assert_arrived((1..=100).filter(|n| *n != 7));
    assert!(
        desk.server.log().turns() < 30,
        "{}",
        desk.server.log().turns()
    );
    // If the program fails, the other messages are delivered all the same.
    let desk = Desk::with(20, rule, |server| {
        server.fault(on("RETR").uid("uid-9").nth(1).octets(50).cut())
    });
    desk.home.write("script", "exit 75", 0o600);
    desk.fetch(75).assert_silent();
    desk.assert_arrived((1..=20).filter(|n| *n != 7));
}

#[cfg(feature = "system-tests")]
#[test]
fn dovecot_accepts_mail_for_all_its_users() {
    let conf = tempfile::NamedTempFile::new().unwrap();
    fs::write(conf.path(), "auth_username_format = %Ln\n").unwrap();
    let server = RealServer::start(
        "dovecot",
        &["lmtp=yes", &format!("conf={}", conf.path().display())],
    );
    let both = mail(1, &["alice@example.org", "Bob@example.org"]);
    let one = mail(2, &["bob@example.org", "who@example.net"]);
    let home = |user: &str, password: &str, lines: &str| {
        let home = Home::new();
        home.write("password", format!("{password}\n"), 0o600);
        home.config(&format!(
            "[account.{user}]\nhost = \"localhost\"\nport = {}\ntls-ca-file = \"{}\"\nuser = \"{user}\"\n\
             password-file = \"~/password\"\nmaildir = \"~/Mail\"\n{lines}\n",
            server.port("pop3s"),
            server.value("ca_file"),
        ));
        home
    };
    // The mailbox of the domain is on a scripted server, and Dovecot accepts mail for its users.
    let socket = Path::new(server.value("log")).with_file_name("run/dovecot/lmtp");
    let table = format!("\"*@example.org\" = \"lmtp:unix:{}\"", socket.display());
    let desk = desk("", &table, &[&both, &one], |server| server);
    desk.pouch(&["check"])
        .run()
        .assert_code(0)
        .assert_stdout("for the addresses that multidrop finds");
    desk.fetch(0).assert_silent();
    desk.mail().assert_exactly(&[&one]);
    assert_eq!(
        (
            desk.server.remaining(),
            server.count(ALICE),
            server.count(BOB)
        ),
        (0, 1, 2)
    );
    for (user, password, expected) in [
        (ALICE, ALICE_PASSWORD, vec![&both]),
        (BOB, BOB_PASSWORD, vec![&both, &one]),
    ] {
        let home = home(user, password, "");
        home.pouch(&["fetch"]).run().assert_code(0);
        let got = home.maildir("Mail");
        assert_eq!(got.len(), expected.len());
        // Dovecot adds Return-Path and Received.
        let has = |message: &Vec<u8>| {
            got.delivered()
                .iter()
                .any(|mail| mail.bytes.ends_with(message))
        };
        assert!(expected.into_iter().all(has), "{user}");
    }
    // An unknown recipient is reported, and the other one gets the message once.
    let stray = mail(3, &["bob@example.org", "nobody@example.org"]);
    desk.server.add("3", stray);
    for _ in 0..2 {
        let output = desk.pouch(&["fetch", "-v"]).run();
        output
            .assert_code(75)
            .assert_stderr("the server said for nobody@example.org:");
    }
    assert_eq!(
        (server.count(BOB), desk.server.uids()),
        (3, vec!["3".to_owned()])
    );
}
