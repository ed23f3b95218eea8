//! The whole way with other people's servers: Dovecot, Courier, Cyrus, mailfront, popa3d, Solid POP3.

use std::{
    io::{Read, Write},
    thread,
};

use crate::{
    desk::{DAY, NOW},
    real::{ALICE, ALICE_PASSWORD, BOB, BOB_PASSWORD, RealServer},
    server::corpus,
    tool::{Home, mail::Mail, run::Output},
};

/// How pouch reaches the server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Line {
    Tls,
    StartTls,
    Clear,
}

/// Someone's account on a real server.
struct Mailbox<'a> {
    home: Home,
    server: &'a RealServer,
    user: &'static str,
}

impl<'a> Mailbox<'a> {
    fn new(server: &'a RealServer, user: &'static str, line: Line, lines: &str) -> Self {
        let mailbox = Self { home: Home::new(), server, user };
        mailbox.configure(server, line, lines);
        mailbox
    }

    fn configure(&self, server: &RealServer, line: Line, lines: &str) {
        let password = if self.user == ALICE { ALICE_PASSWORD } else { BOB_PASSWORD };
        self.home.write("password", format!("{password}\n"), 0o600);
        let ca = || format!("tls-ca-file = \"{}\"", server.value("ca_file"));
        let (port, tls) = match line {
            Line::Tls => (server.port("pop3s"), ca()),
            Line::StartTls => (server.port("pop3"), format!("tls = \"starttls\"\n{}", ca())),
            Line::Clear => (server.port("pop3"), "tls = \"off\"\nallow-plaintext-password = true".into()),
        };
        self.home.config(&format!(
            "[account.work]\nhost = \"localhost\"\nport = {port}\nuser = \"{}\"\npassword-file = \"~/password\"\n\
             timeout = \"2s\"\nmaildir = \"~/Mail/work\"\n{tls}\n{lines}\n",
            self.user
        ));
    }

    fn fetch(&self, days: i64) -> Output {
        self.home.pouch(&["fetch", "-v"]).env("POUCH_NOW", (NOW + days * DAY).to_string()).run()
    }

    fn mail(&self) -> Mail {
        self.home.maildir("Mail/work")
    }

    /// The numbers of the messages that arrived, as often as they did.
    fn arrived(&self) -> Vec<usize> {
        let mail = self.mail();
        let number = |mail: &[u8]| {
            let text = String::from_utf8_lossy(mail);
            text.lines().find_map(|line| line.strip_prefix("Subject: Message ")?.parse().ok())
        };
        let mut numbers: Vec<_> = mail.delivered().iter().filter_map(|mail| number(&mail.bytes)).collect();
        numbers.sort_unstable();
        numbers
    }
}

/// Messages large enough that a bad disk block lies inside of them.
fn messages(count: usize) -> Vec<Vec<u8>> {
    (1..=count).map(|n| corpus::sized(n, 30_000)).collect()
}

fn all_but(bad: usize) -> Vec<usize> {
    (1..=10).filter(|n| *n != bad).collect()
}

#[test]
fn dovecot_cannot_read_the_ninth_message() {
    let server = RealServer::start("dovecot", &[]);
    for (user, line) in [(ALICE, Line::Tls), (BOB, Line::StartTls)] {
        server.inject(user, &messages(10));
        server.poison(user, 9, "unreadable");
        let mailbox = Mailbox::new(&server, user, line, "");
        mailbox.fetch(0).assert_code(75);
        let expected: Vec<_> =
            messages(10).into_iter().enumerate().filter(|(at, _)| *at != 8).map(|(_, mail)| mail).collect();
        mailbox.mail().assert_exactly(&expected).assert_tidy();
        mailbox.fetch(0).assert_code(75).assert_stderr("nothing new");
        mailbox.mail().assert_exactly(&expected);
        mailbox.fetch(0).assert_code(65);
        assert_eq!(mailbox.mail().len(), 10);
        mailbox.fetch(0).assert_code(0).assert_stderr("nothing new");
        // the administrator mends it
        server.exec(&[
            "sh",
            "-c",
            &format!("chmod 600 /mnt/mail/{user}/Maildir/new/* /mnt/mail/{user}/Maildir/cur/* 2>/dev/null; true"),
        ]);
        mailbox.home.pouch(&["ledger", "retry", "work"]).run().assert_code(0);
        mailbox.fetch(0).assert_code(0).assert_stderr("1 new");
        assert_eq!(mailbox.arrived(), (1..=10).collect::<Vec<_>>());
        assert_eq!(server.count(user), 10);
    }
}

#[test]
fn courier_cuts_the_line_inside_its_ninth_message_every_time() {
    let server = RealServer::start("courier", &[]);
    server.inject(ALICE, &messages(10));
    server.poison(ALICE, 9, "io-error");
    let mailbox = Mailbox::new(&server, ALICE, Line::Tls, "keep = \"none\"");
    mailbox.fetch(0).assert_code(75).assert_stderr("in the middle of message 9 of 10");
    assert_eq!(mailbox.arrived(), all_but(9));
    assert_eq!(server.count(ALICE), 1);
    mailbox.fetch(0).assert_code(75);
    assert_eq!(mailbox.arrived(), all_but(9));
}

/// Whatever is wrong with one message: the others arrive once, and it is not deleted.
#[track_caller]
fn survives(server: &RealServer, user: &'static str, line: Line, kind: &str, codes: &[i32]) {
    server.inject(user, &messages(10));
    server.look(user);
    server.poison(user, 4, kind);
    let mailbox = Mailbox::new(server, user, line, "keep = \"none\"\nnotice = false\nretries = 0");
    let first = mailbox.fetch(0);
    println!("{kind}: {first}");
    assert!(codes.contains(&first.code), "{kind}: {first}");
    let mut arrived = mailbox.arrived();
    // a part of it may have come
    arrived.retain(|n| *n != 4);
    assert_eq!(arrived, all_but(4), "{kind}");
    mailbox.fetch(0);
    let mut again = mailbox.arrived();
    again.retain(|n| *n != 4);
    assert_eq!(again, all_but(4), "{kind}: twice");
    assert!(mailbox.arrived().len() <= 10, "{kind}");
    mailbox.mail().assert_tidy();
}

/// Each kind of damage with a server of its own, side by side: most of it is waiting.
fn survives_all(name: &str, options: &[&str], line: Line, kinds: &[&str]) {
    thread::scope(|scope| {
        for kind in kinds {
            scope.spawn(move || {
                let server = RealServer::start(name, options);
                survives(&server, ALICE, line, kind, &[75]);
                // a server that had measured the message before it was cut short tells by its listing
                if name == "dovecot" && matches!(*kind, "truncate" | "io-error") {
                    assert_eq!(server.count(ALICE), 1, "{kind}: half a message was deleted");
                }
            });
        }
    });
}

#[test]
fn dovecot_with_all_kinds_of_damage() {
    survives_all("dovecot", &[], Line::Tls, &["io-error", "truncate", "empty", "dangling", "fifo", "directory"]);
    survives_all("dovecot", &["format=sdbox"], Line::Clear, &["garbage"]);
}

#[test]
fn cyrus_and_mailfront_with_all_kinds_of_damage() {
    survives_all("cyrus", &[], Line::StartTls, &["unreadable", "truncate", "io-error", "fifo"]);
    survives_all("mailfront", &[], Line::Clear, &["unreadable", "io-error", "fifo"]);
}

#[test]
fn servers_that_refuse_the_login_because_of_a_message_are_no_wrong_password_for_ever() {
    let server = RealServer::start("dovecot", &[]);
    server.inject(ALICE, &messages(3));
    server.look(ALICE);
    server.poison(ALICE, 2, "nologin");
    let mailbox = Mailbox::new(&server, ALICE, Line::Tls, "retries = 0");
    let output = mailbox.fetch(0);
    assert!([0, 75].contains(&output.code), "{output}");
    assert_eq!(server.count(ALICE), 3);
}

#[test]
fn servers_without_capa_and_with_moving_numbers() {
    for name in ["popa3d", "solidpop", "mailfront"] {
        let server = RealServer::start(name, &[]);
        server.inject(ALICE, &messages(5));
        let mailbox = Mailbox::new(&server, ALICE, Line::Clear, "keep-newest = 3");
        mailbox.fetch(0).assert_code(0);
        assert_eq!(mailbox.arrived(), [1, 2, 3, 4, 5], "{name}");
        assert_eq!(server.count(ALICE), 3, "{name}");
        server.inject(ALICE, &[corpus::sized(6, 30_000)]);
        mailbox.fetch(1).assert_code(0).assert_stderr("1 new");
        assert_eq!(mailbox.arrived(), [1, 2, 3, 4, 5, 6], "{name}");
        assert_eq!(server.count(ALICE), 3, "{name}");
        mailbox.fetch(1).assert_code(0).assert_stderr("nothing new");
    }
}

#[test]
fn a_move_from_dovecot_to_courier_to_cyrus_fetches_nothing_twice() {
    let dovecot = RealServer::start("dovecot", &[]);
    dovecot.inject(ALICE, &messages(10));
    let mailbox = Mailbox::new(&dovecot, ALICE, Line::Tls, "");
    mailbox.fetch(0).assert_code(0);
    for (name, at) in [("courier", 11), ("cyrus", 12)] {
        let next = RealServer::start(name, &[]);
        next.inject(ALICE, &messages(at));
        mailbox.configure(&next, Line::Tls, "");
        mailbox.fetch(0).assert_code(0).assert_stderr("1 new");
        assert_eq!(mailbox.arrived(), (1..=at).collect::<Vec<_>>(), "{name}");
        mailbox.fetch(0).assert_code(0).assert_stderr("nothing new");
    }
    assert_eq!(mailbox.server.count(ALICE), 10);
}

#[test]
fn a_wrong_password_at_a_server_that_takes_its_time() {
    let server = RealServer::start("cyrus", &[]);
    let mailbox = Mailbox::new(&server, BOB, Line::Tls, "");
    mailbox.home.write("password", "wrong\n", 0o600);
    let text = String::from_utf8(mailbox.home.read(".config/pouch/config.toml")).unwrap();
    mailbox.home.config(&text.replace("timeout = \"2s\"", "timeout = \"20s\""));
    mailbox.fetch(0).assert_code(77).assert_stderr("localhost said: -ERR");
}

#[test]
fn a_server_that_asks_for_a_certificate_gets_it() {
    // the certificate is looked at by a server that takes nobody without one
    let conf = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(conf.path(), "auth_ssl_require_client_cert = yes\n").unwrap();
    let conf = format!("conf={}", conf.path().display());
    let server = RealServer::start("dovecot", &["clientcert=yes", &conf]);
    server.inject(ALICE, &messages(1));
    let none = Mailbox::new(&server, ALICE, Line::Tls, "retries = 0");
    assert_ne!(none.fetch(0).code, 0);
    let key = none.home.join("key.pem");
    let paths = (server.value("client_key"), key.to_str().unwrap());
    none.home
        .command("openssl", &["pkcs8", "-topk8", "-nocrypt", "-in", paths.0, "-out", paths.1])
        .run()
        .assert_code(0);
    let lines = format!("tls-client-cert = \"{}\"\ntls-client-key = \"{}\"", server.value("client_cert"), paths.1);
    none.configure(&server, Line::Tls, &lines);
    none.fetch(0).assert_code(0);
    assert_eq!(none.arrived(), [1]);
    none.configure(&server, Line::Tls, &lines.replace(paths.1, "/etc/hostname"));
    none.fetch(0).assert_code(78).assert_stderr("the client certificate cannot be used");
}

#[test]
fn a_mailbox_in_use_says_nothing() {
    let server = RealServer::start("dovecot", &["lock=yes"]);
    server.inject(ALICE, &messages(1));
    let mailbox = Mailbox::new(&server, ALICE, Line::Clear, "retries = 0");
    let text = String::from_utf8(mailbox.home.read(".config/pouch/config.toml")).unwrap();
    mailbox.home.config(&text.replace("timeout = \"2s\"", "timeout = \"30s\""));
    // somebody else holds the mailbox: a session that stays open
    let mut other = std::net::TcpStream::connect(("127.0.0.1", server.port("pop3"))).unwrap();
    other.write_all(b"USER alice\r\nPASS secret\r\nSTAT\r\n").unwrap();
    let mut seen = Vec::new();
    while !seen.windows(5).any(|window| window == b"+OK 1") {
        let mut some = [0; 512];
        let got = other.read(&mut some).unwrap();
        assert!(got > 0);
        seen.extend_from_slice(&some[..got]);
    }
    let busy = mailbox.home.pouch(&["fetch"]).run();
    busy.assert_code(75).assert_silent();
    drop(other);
    mailbox.fetch(0).assert_code(0);
    assert_eq!(mailbox.arrived(), [1]);
}

#[test]
fn hundreds_of_messages_over_tls() {
    let server = RealServer::start("dovecot", &[]);
    let all: Vec<_> = (1..=400).map(corpus::message).collect();
    server.inject(ALICE, &all);
    let mailbox = Mailbox::new(&server, ALICE, Line::Tls, "keep = \"30d\"");
    mailbox.fetch(0).assert_code(0).assert_stderr("400 new");
    mailbox.mail().assert_exactly(&all).assert_tidy();
    mailbox.fetch(29).assert_code(0).assert_stderr("nothing new");
    assert_eq!(server.count(ALICE), 400);
    mailbox.fetch(30).assert_code(0).assert_stderr("400 older than 30d deleted");
    assert_eq!(server.count(ALICE), 0);
}
