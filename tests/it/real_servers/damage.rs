//! Every kind of damage on every server: it does not delay other messages, and no bad message is
//! lost.

use std::thread;

use super::{Line, Mailbox, message, messages};
use crate::real::{ALICE, BOB, RealServer};

/// The effect of damage to a message.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// The server sends nothing, or closes the connection in the message.
    Never,
    /// The server sends a part and the final dot. The part is delivered, since it may be all there
    /// is.
    Short,
}
use Fate::{Never, Short};

/// The config: no message is kept, and time limits are short.
const QUICK: &str = "keep = \"none\"\nretries = 0\ntimeout = \"1s\"";

/// Fills a mailbox, and damages every second message, each in a different way.
#[track_caller]
fn damaged(server: &RealServer, user: &str, damage: &[(&str, Fate)]) {
    server.inject(user, &messages(1..=2 * damage.len() + 1));
    // The server measures the messages before they are damaged.
    server.look(user);
    for (at, (kind, _)) in damage.iter().enumerate().rev() {
        server.poison(user, 2 * at + 2, kind);
    }
}

/// Fetches until only new messages would be fetched.
#[track_caller]
fn goes_through(server: &RealServer, user: &'static str, line: Line, damage: &[(&str, Fate)]) {
    let fates = || {
        damage
            .iter()
            .zip(1..)
            .map(|((_, fate), at)| (2 * at, *fate))
    };
    let mut expected: Vec<_> = (1..=2 * damage.len() + 1)
        .step_by(2)
        .map(|n| (n, true))
        .collect();
    expected.extend(
        fates()
            .filter(|(_, fate)| *fate == Short)
            .map(|(n, _)| (n, false)),
    );
    expected.sort_unstable();

    let mailbox = Mailbox::new(server, user, line, QUICK);
    let mut codes = Vec::new();
    while codes.last() != Some(&0) && codes.len() < 6 {
        let new = 100 + codes.len();
        server.inject(user, &messages([new]));
        expected.push((new, true));
        let output = mailbox.at(0, &["fetch", "-v"]).run();
        assert_eq!(mailbox.delivered(), expected, "{damage:?}\n{output}");
        assert_eq!(mailbox.stored(), damage.len(), "{damage:?}\n{output}");
        codes.push(output.code);
    }
    // Bad messages are quarantined after three runs, with a notice; partial ones need no notice.
    let lost = fates().filter(|(_, fate)| *fate == Never).count();
    assert_eq!(
        (&codes[..2], codes.last()),
        (&[75, 75][..], Some(&0)),
        "{damage:?}"
    );
    assert_eq!(codes.contains(&65), lost > 0, "{damage:?}: {codes:?}");
    assert_eq!(mailbox.noticed(), lost, "{damage:?}");
}

/// Fetches two damaged mailboxes at the same time, since a run mostly waits.
fn both(name: &str, line: Line, alice: &[(&str, Fate)], bob: &[(&str, Fate)]) {
    let server = &RealServer::start(name, &[]);
    damaged(server, ALICE, alice);
    damaged(server, BOB, bob);
    thread::scope(|scope| {
        scope.spawn(move || goes_through(server, ALICE, line, alice));
        scope.spawn(move || goes_through(server, BOB, line, bob));
    });
}

#[test]
fn dovecot_with_damaged_maildir_files() {
    both(
        "dovecot",
        Line::Tls,
        &[
            ("unreadable", Never),
            ("io-error", Short),
            ("truncate", Short),
            ("empty", Never),
            ("dangling", Never),
        ],
        // This message arrives as a single blank line.
        &[
            ("gzip-truncated", Short),
            ("gzip-garbage", Never),
            ("fifo", Never),
        ],
    );
}

/// Dovecot treats a directory as a message that no longer exists, and expunges it.
#[test]
fn dovecot_with_a_directory_instead_of_a_message() {
    let server = RealServer::start("dovecot", &[]);
    server.inject(ALICE, &messages(1..=5));
    server.look(ALICE);
    server.poison(ALICE, 4, "directory");
    let mailbox = Mailbox::new(&server, ALICE, Line::Tls, QUICK);
    for code in [75, 0] {
        mailbox.fetch(code);
        mailbox.assert_arrived([1, 2, 3, 5]);
    }
}

#[test]
fn dovecot_with_damaged_mailbox_formats() {
    let server = RealServer::start("dovecot", &["format=sdbox"]);
    let damage = [("garbage", Never), ("unreadable", Never)];
    damaged(&server, ALICE, &damage);
    goes_through(&server, ALICE, Line::Clear, &damage);
}

#[test]
fn damaged_courier() {
    both(
        "courier",
        Line::StartTls,
        &[
            ("unreadable", Never),
            ("io-error", Never),
            ("truncate", Short),
        ],
        &[("directory", Never)],
    );
}

#[test]
fn damaged_cyrus() {
    both(
        "cyrus",
        Line::Tls,
        &[
            ("unreadable", Never),
            ("dangling", Never),
            ("truncate", Short),
        ],
        &[("directory", Never), ("io-error", Short), ("empty", Never)],
    );
}

#[test]
fn damaged_mailfront() {
    both(
        "mailfront",
        Line::Clear,
        &[("unreadable", Never)],
        &[("io-error", Short)],
    );
}

#[test]
fn silent_servers_time_out() {
    let fifo = [("fifo", Never)];
    thread::scope(|scope| {
        for (name, line) in [("courier", Line::Tls), ("mailfront", Line::Clear)] {
            scope.spawn(move || {
                let server = RealServer::start(name, &[]);
                damaged(&server, BOB, &fifo);
                goes_through(&server, BOB, line, &fifo);
            });
        }
        scope.spawn(|| {
            // While the server hangs, it locks the mailbox, so that the messages cannot be counted.
            let server = RealServer::start("cyrus", &[]);
            damaged(&server, BOB, &fifo);
            let mailbox = Mailbox::new(&server, BOB, Line::Tls, QUICK);
            for _ in 0..2 {
                mailbox.fetch(75);
                mailbox.assert_arrived([1, 3]);
            }
        });
    });
}

/// popa3d merges two messages, and both are in the merged one.
#[test]
fn mailbox_without_message_boundaries() {
    let server = RealServer::start("popa3d", &[]);
    server.inject(ALICE, &messages(1..=5));
    server.poison(ALICE, 3, "nofrom");
    let mailbox = Mailbox::new(&server, ALICE, Line::Clear, "keep = \"none\"");
    mailbox.fetch(0).assert_stderr("4 new");
    let all: Vec<_> = mailbox
        .mail()
        .delivered()
        .iter()
        .flat_map(|mail| mail.bytes.clone())
        .collect();
    for message in messages(1..=5) {
        assert_eq!(memchr::memmem::find_iter(&all, &message).count(), 1);
    }
    assert_eq!(mailbox.stored(), 0);
}

cases! { single_bad_message_is_reported:
    courier("courier", &[], Line::Tls, "io-error"),
    dovecot("dovecot", &["format=sdbox"], Line::Tls, "garbage"),
    mailfront("mailfront", &[], Line::Clear, "fifo"),
}

/// No other message could show that the connection works: a message that closes it repeatedly is
/// quarantined all the same.
fn single_bad_message_is_reported(name: &str, options: &[&str], line: Line, kind: &str) {
    let server = RealServer::start(name, options);
    damaged(&server, ALICE, &[(kind, Never)]);
    let mailbox = Mailbox::new(&server, ALICE, line, QUICK);
    mailbox.fetch(75).assert_stderr("attempt 1 of 3");
    mailbox.fetch(75).assert_stderr("attempt 2 of 3");
    mailbox.fetch(65).assert_stderr("quarantine");
    mailbox.fetch(0);
    mailbox.assert_arrived([1, 3]);
    assert_eq!((mailbox.noticed(), mailbox.stored()), (1, 1));
}

/// Dovecot does not stuff a dot at the very beginning of a message. A message whose first line is a
/// dot ends there, and the rest of it looks like the response to the next command.
#[test]
fn dovecot_with_messages_that_begin_with_a_dot() {
    let server = RealServer::start("dovecot", &[]);
    let odd: [&[u8]; 3] = [b".\nand what comes then\n", b".hidden\n\nhello\n", b".\n"];
    for (n, odd) in (1..).zip(odd) {
        server.inject(ALICE, &[message(n)]);
        server.inject(ALICE, &[odd]);
    }
    server.inject(ALICE, &[message(4)]);
    let mailbox = Mailbox::new(&server, ALICE, Line::Clear, QUICK);
    let mut codes = Vec::new();
    while codes.last() != Some(&0) && codes.len() < 9 {
        codes.push(mailbox.at(0, &["fetch", "-v"]).run().code);
        // Dovecot should have stuffed this dot. A byte is missing, so the message counts as
        // truncated and stays on the server.
        assert!(
            mailbox
                .mail()
                .delivered()
                .iter()
                .any(|mail| mail.bytes == b"hidden\n\nhello\n")
        );
        assert_eq!(
            mailbox.delivered(),
            [(0, false), (1, true), (2, true), (3, true), (4, true)]
        );
        assert_eq!(mailbox.stored(), odd.len());
    }
    assert_eq!(
        (mailbox.noticed(), codes.last()),
        (2, Some(&0)),
        "{codes:?}"
    );
}
