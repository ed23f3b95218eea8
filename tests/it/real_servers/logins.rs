//! Servers that refuse a login because of a message or of the password.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    thread,
};

use super::{Line, Mailbox, account, commands, messages, password};
use crate::{
    real::{ALICE, BOB, RealServer},
    support::{Home, run::Output},
};

/// Returns the number of times that the password was sent or proven.
fn asked(traced: &Output) -> usize {
    let mechanisms = ["PASS", "AUTH PLAIN", "AUTH SCRAM-SHA-256"];
    mechanisms.iter().map(|name| commands(traced, name)).sum()
}

/// Asserts that the login fails because of one bad message.
#[track_caller]
fn locked_out(name: &str, kind: &str, line: Line, code: i32) {
    let server = RealServer::start(name, &[]);
    server.inject(ALICE, &messages(1..=3));
    if name != "courier" {
        server.look(ALICE);
    }
    server.poison(ALICE, 2, kind);
    let mailbox = Mailbox::new(&server, ALICE, line, "keep = \"none\"\nretries = 1");
    let output = mailbox.trace();
    output.assert_code(code);
    // The password is sent at most once more, and only if the failure may be transient.
    let most = if code == 75 { 2 } else { 1 };
    assert!((1..=most).contains(&asked(&output)), "{output}");
    assert!(!output.stderr.contains(password(ALICE)), "{output}");
    mailbox.assert_arrived([]);
    assert_eq!(mailbox.stored(), 3);
}

#[test]
fn dovecot_closes_the_session_after_the_login() {
    locked_out("dovecot", "nologin", Line::Tls, 75);
}

#[test]
fn courier_closes_the_connection_at_login() {
    locked_out("courier", "unreadable", Line::Tls, 75);
}

#[test]
fn solidpop_refuses_the_login_because_of_a_message() {
    locked_out("solidpop", "directory", Line::Clear, 77);
}

#[test]
fn popa3d_refuses_the_login_because_of_the_mailbox() {
    locked_out("popa3d", "unreadable", Line::Clear, 77);
}

#[test]
fn wrong_password_is_sent_once() {
    let refused = |name, line| {
        let server = RealServer::start(name, &[]);
        server.inject(BOB, &messages([1]));
        let mailbox = Mailbox::new(&server, BOB, line, "timeout = \"20s\"");
        mailbox.home.write("password", "nothing-like-it\n", 0o600);
        let output = mailbox.trace();
        output
            .assert_code(77)
            .assert_stderr("pouch: work: ")
            .assert_stderr("said: -ERR");
        assert_eq!(asked(&output), 1, "{output}");
        assert!(!output.stderr.contains("nothing-like-it"), "{output}");
        mailbox.home.write("password", password(BOB), 0o600);
        mailbox.fetch(0);
        mailbox.assert_arrived([1]);
    };
    thread::scope(|scope| {
        scope.spawn(|| refused("dovecot", Line::Tls));
        scope.spawn(|| refused("courier", Line::StartTls));
        scope.spawn(|| refused("cyrus", Line::Tls));
    });
}

#[test]
fn two_accounts_on_one_server_do_not_mix() {
    let server = RealServer::start("dovecot", &[]);
    server.inject(ALICE, &messages(1..=4));
    server.inject(BOB, &messages(5..=7));
    server.poison(ALICE, 2, "unreadable");
    let home = Home::new();
    home.write("alice", password(ALICE), 0o600);
    home.write("bob", password(BOB), 0o600);
    let both = |keep: &str| {
        home.config(
            &[
                account(
                    "one",
                    &server,
                    ALICE,
                    Line::Tls,
                    &format!("password-file = \"~/alice\"\nkeep = \"{keep}\""),
                ),
                account(
                    "two",
                    &server,
                    BOB,
                    Line::StartTls,
                    &format!("password-file = \"~/bob\"\nkeep = \"{keep}\""),
                ),
            ]
            .concat(),
        );
    };
    both("forever");
    let output = home.pouch(&["fetch", "-v"]).run();
    output
        .assert_code(75)
        .assert_stderr("3 new")
        .assert_stderr("attempt 1 of 3");
    home.maildir("Mail/one")
        .assert_exactly(&messages([1, 3, 4]))
        .assert_tidy();
    home.maildir("Mail/two")
        .assert_exactly(&messages(5..=7))
        .assert_tidy();
    both("none");
    home.pouch(&["fetch", "two"])
        .run()
        .assert_code(0)
        .assert_silent();
    assert_eq!((server.count(ALICE), server.count(BOB)), (4, 0));
    home.pouch(&["fetch"]).run().assert_code(75).assert_silent();
    assert_eq!((server.count(ALICE), server.count(BOB)), (1, 0));
    home.maildir("Mail/one")
        .assert_exactly(&messages([1, 3, 4]));
    home.maildir("Mail/two").assert_exactly(&messages(5..=7));
}

#[test]
fn client_certificate_is_sent_on_request() {
    // The server checks the certificate, and refuses clients without one.
    let conf = tempfile::NamedTempFile::new().unwrap();
    fs::write(conf.path(), "auth_ssl_require_client_cert = yes\n").unwrap();
    let conf = format!("conf={}", conf.path().display());
    let server = RealServer::start("dovecot", &["clientcert=yes", &conf]);
    server.inject(ALICE, &messages([1]));
    let mut mailbox = Mailbox::new(&server, ALICE, Line::Tls, "retries = 0");
    assert_ne!(mailbox.at(0, &["fetch"]).run().code, 0);
    let key = mailbox.home.join("key.pem");
    let (own, pkcs8) = (server.value("client_key"), key.to_str().unwrap());
    let convert = ["pkcs8", "-topk8", "-nocrypt", "-in", own, "-out", pkcs8];
    mailbox
        .home
        .system_command("openssl", &convert)
        .run()
        .assert_code(0);
    let lines = format!(
        "tls-client-cert = \"{}\"\ntls-client-key = \"{pkcs8}\"",
        server.value("client_cert")
    );
    mailbox.move_to(&server, Line::Tls, &lines);
    mailbox.fetch(0);
    mailbox.assert_arrived([1]);
    let other = mailbox.home.write("no-key.pem", "text", 0o600);
    let lines = lines.replace(pkcs8, other.to_str().unwrap());
    mailbox.move_to(&server, Line::Tls, &lines);
    mailbox
        .fetch(78)
        .assert_stderr("cannot use the client certificate");
}

#[test]
fn mailbox_in_use_is_not_reported_at_once() {
    let server = RealServer::start("dovecot", &["lock=yes"]);
    server.inject(ALICE, &messages([1]));
    let mailbox = Mailbox::new(
        &server,
        ALICE,
        Line::Clear,
        "retries = 0\ntimeout = \"30s\"",
    );
    // Another session locks the mailbox and stays open.
    let mut other = TcpStream::connect(("127.0.0.1", server.port("pop3"))).unwrap();
    write!(
        other,
        "USER {ALICE}\r\nPASS {}\r\nSTAT\r\n",
        password(ALICE)
    )
    .unwrap();
    let mut lines = BufReader::new(&other).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("+OK 1 ")));
    mailbox
        .at(0, &["fetch"])
        .run()
        .assert_code(75)
        .assert_silent();
    drop(other);
    mailbox.fetch(0);
    mailbox.assert_arrived([1]);
}

#[test]
fn login_within_the_minimum_delay_of_cyrus_is_quiet() {
    let server = RealServer::start("cyrus", &["minpoll=1"]);
    server.inject(BOB, &messages([1]));
    let mailbox = Mailbox::new(&server, BOB, Line::Tls, "retries = 0");
    mailbox
        .at(0, &["fetch"])
        .run()
        .assert_code(0)
        .assert_silent();
    mailbox
        .at(0, &["fetch"])
        .run()
        .assert_code(75)
        .assert_silent();
    // a day later by the clock of pouch, so that the server refuses the login
    let early = mailbox.at(1, &["fetch", "-v"]).run();
    early
        .assert_code(75)
        .assert_stderr("localhost said: -ERR [LOGIN-DELAY]");
    assert_eq!(mailbox.stored(), 1);
    mailbox.assert_arrived([1]);
}
