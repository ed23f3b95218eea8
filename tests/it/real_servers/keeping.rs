//! Retention, checked in the server's store.

use std::fs;

use super::{Line, Mailbox, left, messages};
use crate::{
    real::{ALICE, BOB, RealServer},
    support::mail::Delivered,
};

fn keeps_its_word(name: &str) {
    let server = &RealServer::start(name, &[]);
    // Different messages each time, since Cyrus does not store duplicates.
    let start = |user, numbers, lines| {
        server.inject(user, &messages(numbers));
        Mailbox::new(server, user, Line::Tls, lines)
    };
    let none = start(ALICE, 1..=5, "keep = \"none\"");
    none.fetch(0).assert_stderr("5 new");
    none.assert_arrived(1..=5);
    assert_eq!(none.stored(), 0, "{name}");

    let days = start(ALICE, 11..=15, "keep = \"30d\"");
    days.fetch(0);
    days.fetch_at(29, 0).assert_stderr("nothing new");
    assert_eq!(days.stored(), 5, "{name}");
    days.at(30, &["plan"])
        .run()
        .assert_code(0)
        .assert_stdout("delete     5             fetched more than 30d ago");
    assert_eq!(days.stored(), 5, "{name}");
    days.fetch_at(30, 0);
    assert_eq!(days.stored(), 0, "{name}");
    days.assert_arrived(11..=15);

    let newest = start(ALICE, 21..=25, "keep-newest = 2");
    newest.fetch(0);
    assert_eq!(
        (newest.stored(), left(server, ALICE)),
        (2, vec![24, 25]),
        "{name}"
    );
    server.inject(ALICE, &messages([26]));
    newest.fetch(0).assert_stderr("1 new");
    assert_eq!(
        (newest.stored(), left(server, ALICE)),
        (2, vec![25, 26]),
        "{name}"
    );
    newest.assert_arrived(21..=26);

    let synced = start(BOB, 1..=5, "sync-deletions = true");
    synced.fetch(0);
    let mail = synced.mail();
    let is_third =
        |mail: &&Delivered| memchr::memmem::find(&mail.bytes, b"\nSubject: Message 3\n").is_some();
    let third = mail.delivered().iter().find(is_third).unwrap();
    fs::remove_file(synced.home.join("Mail/work/new").join(&third.name)).unwrap();
    synced.fetch(0);
    assert_eq!(
        (synced.stored(), left(server, BOB)),
        (4, vec![1, 2, 4, 5]),
        "{name}"
    );
    synced.assert_arrived([1, 2, 4, 5]);
}

#[test]
fn kept_messages_stay_on_dovecot() {
    keeps_its_word("dovecot");
}

#[test]
fn kept_messages_stay_on_courier() {
    keeps_its_word("courier");
}

#[test]
fn kept_messages_stay_on_cyrus() {
    keeps_its_word("cyrus");
}

/// Returns the number of the message in the 14th row of the ledger, by the name of its file.
fn fourteenth(mailbox: &Mailbox<'_>) -> usize {
    let mail = mailbox.mail();
    let file = mail
        .delivered()
        .iter()
        .find(|mail| mail.name.contains(".R14L"))
        .unwrap();
    (1..=16)
        .find(|n| file.bytes.starts_with(&messages([*n])[0]))
        .unwrap()
}

cases! { retention_deletes_only_due_messages:
    mailfront("mailfront"),
    solidpop("solidpop"),
    popa3d("popa3d"),
}

/// Two of these servers list messages in directory order, so that numbers change between sessions;
/// two do not support CAPA.
fn retention_deletes_only_due_messages(name: &str) {
    let server = &RealServer::start(name, &[]);
    let mailbox = Mailbox::new(server, ALICE, Line::Clear, "keep = \"2d\"");
    for day in 0..4 {
        let new = 4 * usize::try_from(day).unwrap() + 1;
        server.inject(ALICE, &messages(new..new + 4));
        mailbox.fetch_at(day, 0).assert_stderr("4 new");
        mailbox.assert_arrived(1..new + 4);
        let oldest = new.saturating_sub(4).max(1);
        assert_eq!(
            left(server, ALICE),
            (oldest..new + 4).collect::<Vec<_>>(),
            "day {day}"
        );
    }
    mailbox
        .at(3, &["ledger", "delete", "work", "14"])
        .run()
        .assert_code(0);
    mailbox.fetch_at(3, 0);
    let ordered = fourteenth(&mailbox);
    assert_eq!(
        left(server, ALICE),
        (9..=16).filter(|n| *n != ordered).collect::<Vec<_>>(),
    );
    mailbox.fetch_at(5, 0).assert_stderr("nothing new");
    assert_eq!(mailbox.stored(), 0);
    mailbox.assert_arrived(1..=16);
}

#[test]
fn retention_continues_after_a_move_to_another_server() {
    let cyrus = RealServer::start("cyrus", &[]);
    let dovecot = RealServer::start("dovecot", &[]);
    let courier = RealServer::start("courier", &[]);
    cyrus.inject(ALICE, &messages(1..=8));
    dovecot.inject(ALICE, &messages(1..=9));
    courier.inject(ALICE, &messages(1..=10));
    let mut mailbox = Mailbox::new(&cyrus, ALICE, Line::Tls, "keep = \"30d\"");
    mailbox.fetch(0).assert_stderr("8 new");
    mailbox.move_to(&dovecot, Line::StartTls, "keep = \"30d\"");
    mailbox.fetch_at(10, 0).assert_stderr("1 new");
    mailbox.fetch_at(10, 0).assert_stderr("nothing new");
    mailbox.move_to(&courier, Line::Tls, "keep = \"30d\"");
    mailbox.fetch_at(20, 0).assert_stderr("1 new");
    mailbox.assert_arrived(1..=10);
    assert_eq!(
        (
            cyrus.count(ALICE),
            dovecot.count(ALICE),
            courier.count(ALICE)
        ),
        (8, 9, 10)
    );
    mailbox.fetch_at(30, 0).assert_stderr("nothing new");
    assert_eq!(left(&courier, ALICE), [9, 10]);
    mailbox.fetch_at(50, 0);
    assert_eq!(courier.count(ALICE), 0);
    mailbox.assert_arrived(1..=10);
}

#[test]
fn newest_messages_stay_if_the_server_renumbers() {
    for name in ["mailfront", "solidpop", "popa3d"] {
        let server = RealServer::start(name, &[]);
        server.inject(ALICE, &messages(1..=5));
        let mailbox = Mailbox::new(&server, ALICE, Line::Clear, "keep-newest = 3");
        mailbox.fetch(0).assert_stderr("5 new");
        assert_eq!(mailbox.stored(), 3, "{name}");
        server.inject(ALICE, &messages([6]));
        mailbox.fetch_at(1, 0).assert_stderr("1 new");
        mailbox.assert_arrived(1..=6);
        assert!(left(&server, ALICE).contains(&6), "{name}");
        assert_eq!(mailbox.stored(), 3, "{name}");
        mailbox.fetch_at(1, 0).assert_stderr("nothing new");
    }
}
