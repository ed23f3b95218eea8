//! Servers with wrong UIDs, message numbers or counts, and servers without UIDs.

use insta::assert_snapshot;

use crate::{
    fixture::Desk,
    server::{Server, Setup, corpus, on},
};

/// Returns the correct size for LIST.
fn size(n: usize) -> usize {
    let message = corpus::message(n);
    message.len() + message.split(|octet| *octet == b'\n').count() - 1
}

#[test]
fn two_messages_with_one_uid_both_arrive_once() {
    let copy = corpus::message(1);
    let desk = Desk::new(
        Server::plain()
            .message("same", &copy)
            .message("same", &copy),
        "",
    );
    desk.fetch(0);
    desk.fetch(0).assert_silent();
    desk.server.remove("same");
    desk.server.add("same", &copy);
    desk.fetch(0).assert_silent();
    desk.assert_arrived([1, 1]);
    desk.configure("keep = \"none\"");
    desk.fetch(0);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn numbers_with_gaps_and_in_any_order_are_accepted() {
    let desk = Desk::with(6, "keep = \"none\"", |server| {
        let list = format!(
            "5 {}\r\n1 {} and more\r\n3 {}\r\n1 7\r\nx y\r\n\r\n",
            size(5),
            size(1),
            size(3)
        );
        server.fault(on("LIST").times(1).body(list)).fault(
            on("UIDL")
                .times(1)
                .body("3 uid-3\r\n5 uid-5\r\n1 uid-1\r\n"),
        )
    });
    desk.fetch(69)
        .assert_stderr("127.0.0.1 has 6 messages, but lists 3")
        .assert_stderr("127.0.0.1 said: x y");
    desk.assert_arrived([1, 3, 5]);
    assert_eq!(desk.server.uids(), ["uid-2", "uid-4", "uid-6"]);
    desk.fetch(0);
    desk.assert_arrived(1..=6);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn wrong_message_count_loses_nothing() {
    for count in [1, 9] {
        let desk = Desk::with(5, "keep = \"none\"", |server| {
            server.fault(on("STAT").times(1).answer(format!("+OK {count} 100\r\n")))
        });
        desk.fetch(0);
        desk.assert_arrived(1..=5);
        assert_eq!(desk.server.remaining(), 0);
    }
    // The server reports an empty mailbox, which is accepted for this run.
    let desk = Desk::with(5, "", |server| {
        server.fault(on("STAT").times(1).answer("+OK 0 0\r\n"))
    });
    desk.fetch(0).assert_silent();
    assert_eq!(desk.retrieved(), 0);
    desk.fetch(0);
    desk.assert_arrived(1..=5);
}

#[test]
fn message_without_uid_is_recognised_by_its_header() {
    let no_uid = || on("UIDL").body("1 uid-1\r\n3 uid-3\r\n");
    // The message had no UID, and gets one later.
    let desk = Desk::with(3, "", |server| server.fault(no_uid().times(2)));
    desk.fetch(0).assert_silent();
    desk.assert_arrived(1..=3);
    desk.fetch(0).assert_silent();
    desk.fetch(0);
    desk.fetch(0).assert_silent();
    // The message had a UID, and lost it for a while.
    desk.server.fault(no_uid().times(2));
    desk.fetch(0);
    desk.fetch(0).assert_silent();
    assert_eq!(desk.retrieved(), 3);
    desk.assert_arrived(1..=3);
    desk.configure("keep = \"none\"");
    desk.fetch(0);
    assert_eq!(desk.server.remaining(), 0);
    desk.assert_arrived(1..=3);
}

#[test]
fn message_without_uid_and_header_waits_and_the_others_arrive() {
    let desk = Desk::with(3, "", |server| {
        server
            .fault(on("UIDL").body("1 uid-1\r\n3 uid-3\r\n"))
            .fault(on("TOP").refuse("-ERR no"))
    });
    assert_snapshot!(desk.pouch(&["plan"]).run().assert_code(0).stderr_text(), @"
    pouch: work: the server returned no UID for 1 message
      left on the server, because without a header it cannot be compared with fetched mail
    ");
    assert_snapshot!(desk.fetch(0).stderr_text(), @"
    pouch: work: the server returned no UID for 1 message
      left on the server, because without a header it cannot be compared with fetched mail
    ");
    desk.fetch(0).assert_silent();
    desk.assert_arrived([1, 3]);
    desk.server.heal_all();
    desk.fetch(0).assert_silent();
    desk.assert_arrived(1..=3);
}

const NO_UIDL: &str = "quirks = [\"no-uidl\"]";

fn without_uidl(server: Setup) -> Setup {
    server.without("UIDL")
}

#[test]
fn server_without_uidl_needs_a_quirk() {
    let desk = Desk::with(5, "", without_uidl);
    assert_snapshot!(desk.fetch(69).stderr_text(), @r#"
    pouch: work: 127.0.0.1 does not support UIDL, so fetched messages cannot be recognised
      127.0.0.1 said: -ERR unknown command
    hint: `quirks = ["no-uidl"]` recognises them by their headers; see pouch-config(5)
    "#);
    desk.configure(NO_UIDL);
    desk.fetch(0).assert_silent();
    desk.assert_arrived(1..=5);
    let turns = || desk.server.wait_for(|log| log.open() == 0).turns();
    let before = turns();
    desk.fetch(0).assert_silent();
    // The round trips of any poll, and one for all headers.
    assert_eq!(turns() - before, 5);
    desk.server.remove("uid-2");
    desk.server.add("uid-6", corpus::message(6));
    desk.fetch(0).assert_silent();
    assert_eq!(desk.retrieved(), 6);
    desk.assert_arrived(1..=6);
    desk.configure(&format!("{NO_UIDL}\nkeep = \"none\""));
    desk.fetch(0).assert_silent();
    assert_eq!(desk.server.remaining(), 0);
    desk.assert_arrived(1..=6);
    assert_eq!(
        desk.server.log().count("UIDL"),
        1,
        "it is not asked for in vain"
    );
}

#[test]
fn without_uidl_unconfirmed_deletion_is_repeated() {
    let lines = format!("{NO_UIDL}\nkeep = \"none\"");
    let desk = Desk::with(3, &lines, |server| {
        without_uidl(server).fault(on("QUIT").times(1).cut())
    });
    desk.fetch(75).assert_silent();
    desk.assert_arrived(1..=3);
    assert_eq!(desk.server.remaining(), 3);
    desk.fetch(0).assert_silent();
    desk.assert_arrived(1..=3);
    assert_eq!((desk.retrieved(), desk.server.remaining()), (3, 0));
}

#[test]
fn server_without_uidl_and_top_is_refused() {
    let desk = Desk::with(2, NO_UIDL, |server| server.without("UIDL").without("TOP"));
    assert_snapshot!(desk.fetch(69).stderr_text(), @"
    pouch: work: the server does not support UIDL, so fetched messages cannot be recognised
      it does not support TOP either, so their headers cannot be compared
    ");
    assert_eq!(desk.retrieved(), 0);
}

#[test]
fn header_that_breaks_the_connection_stops_no_other_message() {
    let breaks = |uid: &str| {
        [
            on("TOP").uid(uid).octets(50).cut(),
            on("RETR").uid(uid).octets(50).cut(),
        ]
    };
    let lines = format!("{NO_UIDL}\nkeep = \"none\"\nnotice = false");
    let desk = Desk::with(5, &lines, |server| {
        breaks("uid-3")
            .into_iter()
            .fold(without_uidl(server), Setup::fault)
    });
    assert_snapshot!(desk.fetch(0).stderr_text(), @"
    pouch: work: the server returned no UID for 1 message
      left on the server, because without a header it cannot be compared with fetched mail
    ");
    desk.assert_arrived([1, 2, 4, 5]);
    assert_eq!(desk.server.uids(), ["uid-3"]);
    desk.server.heal_all();
    desk.fetch(0);
    desk.assert_arrived(1..=5);
    assert_eq!(desk.server.remaining(), 0);

    let desk = Desk::with(12, "notice = false", |server| server);
    desk.fetch(0);
    desk.server.renew_uids();
    desk.server.add("new", corpus::message(13));
    for fault in breaks("renewed-uid-3") {
        desk.server.fault(fault);
    }
    for code in [75, 75, 65, 0] {
        desk.fetch(code);
        desk.assert_arrived(1..=13);
        assert_eq!(desk.server.remaining(), 13);
    }
}

#[test]
fn many_headers_that_break_the_connection_stop_no_other_message() {
    let bad = [1, 2, 3, 4, 5, 6, 12, 20];
    let breaks = |uid: String| on("TOP").uid(uid).octets(50).cut();
    let faults = || bad.map(|n| breaks(corpus::uid(n))).into_iter();
    let desk = Desk::with(20, NO_UIDL, |server| {
        faults().fold(without_uidl(server), Setup::fault)
    });
    assert_snapshot!(desk.fetch(0).stderr_text(), @"
    pouch: work: the server returned no UID for 8 messages
      left on the server, because without a header it cannot be compared with fetched mail
    ");
    desk.assert_arrived((1..=20).filter(|n| !bad.contains(n)));

    let desk = Desk::with(20, "", |server| server);
    desk.fetch(0);
    desk.server.renew_uids();
    desk.server.add("new", corpus::message(21));
    for n in bad {
        desk.server
            .fault(breaks(format!("renewed-{}", corpus::uid(n))));
    }
    desk.fetch(0);
    // Messages that cannot be compared are fetched again rather than missed.
    assert_eq!(desk.retrieved(), 20 + 1 + bad.len());

    // If every header or every other one closes the connection, or if the data after the headers
    // does, the connection is considered faulty.
    let all = vec![on("TOP").octets(50).cut()];
    let half = (1..=100)
        .step_by(2)
        .map(|n| breaks(corpus::uid(n)))
        .collect();
    let behind = vec![on("RETR").octets(50).cut()];
    for (faults, most) in [(all, 5), (half, 30), (behind, 10)] {
        let desk = Desk::with(100, NO_UIDL, |server| {
            faults.into_iter().fold(without_uidl(server), Setup::fault)
        });
        desk.fetch(75);
        assert!(
            desk.server.log().connections() <= most,
            "{}",
            desk.server.log().connections()
        );
    }
}

#[test]
fn without_uidl_similar_messages_are_not_lost() {
    // A message without a header, an identical copy, and the same header with another size.
    let (none, other) = (b"\nhello\n".to_vec(), b"\nhello there\n".to_vec());
    let grown = [corpus::message(1), b"and more\n".to_vec()].concat();
    let messages = [
        corpus::message(1),
        corpus::message(1),
        grown.clone(),
        none.clone(),
        other.clone(),
    ];
    let setup = (1..)
        .zip(&messages)
        .fold(Server::plain(), |server, (n, message)| {
            server.message(corpus::uid(n), message)
        });
    let desk = Desk::new(without_uidl(setup), NO_UIDL);
    desk.fetch(0).assert_silent();
    desk.fetch(0).assert_silent();
    let expected: Vec<_> = messages
        .iter()
        .map(|message| corpus::on_disk(message))
        .collect();
    desk.mail().assert_exactly(&expected);
    // One message is removed, and another one with its header arrives.
    desk.server.remove("uid-3");
    desk.server
        .add("uid-6", [&grown[..], b"and yet more\n"].concat());
    desk.fetch(0).assert_silent();
    assert_eq!(desk.mail().len(), 6);
}

#[test]
fn toggling_no_uidl_changes_nothing() {
    let desk = Desk::with(10, "", |server| server);
    desk.fetch(0);
    desk.configure(NO_UIDL);
    desk.fetch(0);
    desk.fetch(0).assert_silent();
    desk.configure("");
    desk.fetch(0);
    desk.fetch(0).assert_silent();
    assert_eq!(desk.retrieved(), 10);
    desk.assert_arrived(1..=10);
}

#[test]
fn three_thousand_messages_with_new_uids_are_recognised() {
    let desk = Desk::with(3_000, "", |server| server);
    desk.fetch(0);
    assert_eq!(desk.mail().len(), 3_000);
    desk.server.renew_uids();
    desk.server.add("new", corpus::message(3_001));
    let before = desk.server.log();
    let said = desk.pouch(&["plan"]).run();
    assert_snapshot!(said.assert_code(0).stderr_text(), @"
    pouch: work: the server has given its messages new UIDs
      3000 messages recognised by their headers; not fetching them again
    ");
    assert_snapshot!(desk.fetch(0).stderr_text(), @"
    pouch: work: the server has given its messages new UIDs
      3000 messages recognised by their headers; not fetching them again
    ");
    let log = desk.server.log();
    assert_eq!(log.count("TOP"), 2 * 3_001);
    assert_eq!(log.count("RETR") - before.count("RETR"), 1);
    // About 300 headers per round trip.
    assert!(
        log.turns() - before.turns() < 100,
        "{}",
        log.turns() - before.turns()
    );
    desk.fetch(0).assert_silent();
    assert_eq!(desk.mail().len(), 3_001);
}

#[test]
fn extra_header_does_not_hide_a_new_message() {
    let third = String::from_utf8(corpus::message(3)).unwrap();
    let header = format!(
        "+OK\r\n{}\r\n\r\n.\r\n",
        third.split_once("\n\n").unwrap().0.replace('\n', "\r\n")
    );
    let moved = Desk::with(10, "", |server| server);
    moved.fetch(0);
    moved.server.renew_uids();
    let nameless = Desk::with(10, NO_UIDL, without_uidl);
    nameless.fetch(0);
    for (desk, lines) in [(moved, ""), (nameless, NO_UIDL)] {
        desk.server.add("new", corpus::message(11));
        desk.server.fault(on("TOP").nth(3).more(header.as_str()));
        desk.configure(&format!("{lines}\nkeep = \"none\""));
        for _ in 0..2 {
            desk.pouch(&["fetch"]).run();
        }
        desk.assert_arrived(1..=11);
        assert_eq!(desk.server.remaining(), 0);
    }
}

#[test]
fn requested_deletion_is_recognised_after_a_move() {
    let desk = Desk::with(12, "", |server| server);
    desk.fetch(0);
    desk.pouch(&["ledger", "delete", "work", "3"])
        .run()
        .assert_code(0);
    desk.server.renew_uids();
    assert_snapshot!(desk.fetch(0).stderr_text(), @"
    pouch: work: the server has given its messages new UIDs
      12 messages recognised by their headers; not fetching them again
    ");
    desk.assert_arrived(1..=12);
    assert_eq!((desk.retrieved(), desk.server.remaining()), (12, 11));
}

#[test]
fn skipped_messages_are_recognised_after_a_move() {
    let desk = Desk::with(20, "", |server| server);
    let output = desk.pouch(&["ledger", "catchup", "work"]).run();
    output.assert_code(0);
    assert_snapshot!(output.stdout_text(), @"work: 20 messages skipped");
    desk.server.renew_uids();
    desk.server.add("new", corpus::message(21));
    assert_snapshot!(desk.fetch(0).stderr_text(), @"
    pouch: work: the server has given its messages new UIDs
      20 messages recognised by their headers; not fetching them again
    ");
    desk.assert_arrived([21]);
    desk.fetch(0).assert_silent();
    // Without headers, messages that may be known are not treated as new.
    let desk = Desk::with(20, "", |server| server.without("TOP"));
    desk.pouch(&["ledger", "catchup", "work"])
        .run()
        .assert_code(0);
    desk.server.renew_uids();
    assert_snapshot!(desk.fetch(69).stderr_text(), @"
    pouch: work: the server has given its messages new UIDs
      20 of 20 messages that were fetched before are no longer listed, and 20 are unknown
      they cannot be compared, because the server does not support TOP
    hint: `pouch ledger catchup` marks them all as seen; `pouch fetch --accept-new-uids` fetches them all
    ");
    assert_eq!(desk.retrieved(), 0);
}
