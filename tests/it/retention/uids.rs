//! Retention with UIDs that change, reappear, are shared, or are malformed.

use insta::assert_snapshot;

use super::{Foreseen, fetch_as_foreseen, foresee};
use crate::{
    fixture::Desk,
    server::{Server, Setup, corpus, on},
};

#[test]
fn deleted_message_that_reappears_is_deleted_again() {
    let desk = Desk::with(3, "keep = \"none\"", |server| server);
    desk.fetch(0);
    corpus::messages(3).for_each(|(uid, content)| desk.server.add(uid, content));
    assert_eq!(
        fetch_as_foreseen(&desk, 0, &[]),
        Foreseen {
            fetched: 0,
            deleted: 3,
            left: 0
        }
    );
    desk.assert_arrived(1..=3);
}

/// RFC 1939 allows a server to reuse a UID once its message is gone.
#[test]
fn reused_uid_of_a_deleted_message_is_fetched() {
    for (case, other) in [
        ("another size", corpus::sized(9, 900)),
        ("the same size", corpus::sized(9, 500)),
    ] {
        let first = corpus::sized(1, 500);
        let desk = Desk::new(Server::plain().message("1", &first), "keep = \"none\"");
        desk.fetch(0);
        desk.server.add("1", &other);
        println!("{case}");
        fetch_as_foreseen(&desk, 0, &[]);
        desk.mail()
            .assert_exactly(&[corpus::on_disk(&first), corpus::on_disk(&other)]);
        assert_eq!(desk.server.remaining(), 0);
    }
}

#[test]
fn reused_uid_of_a_missing_message_is_fetched() {
    for aside in [false, true] {
        for size in [500, 900] {
            let (first, other) = (corpus::sized(1, 500), corpus::sized(9, size));
            let desk = Desk::new(
                Server::plain()
                    .message("1", &first)
                    .message("2", corpus::message(2)),
                "",
            );
            if aside {
                desk.pouch(&["ledger", "catchup", "work"])
                    .run()
                    .assert_code(0);
            }
            desk.fetch(0);
            desk.server.remove("1");
            desk.fetch(0);
            desk.server.add("1", &other);
            println!("set aside: {aside}, size {size}");
            desk.fetch(0);
            let brought = desk
                .mail()
                .delivered()
                .iter()
                .filter(|mail| mail.bytes == corpus::on_disk(&other))
                .count();
            assert_eq!((brought, desk.retrieved()), (1, if aside { 1 } else { 3 }));
            desk.fetch(0).assert_silent();
        }
    }
}

#[test]
fn reused_uid_after_a_catchup_is_not_deleted() {
    let desk = Desk::new(
        Server::plain().message("1", corpus::sized(1, 500)),
        "keep = \"none\"",
    );
    desk.fetch(0);
    let other = corpus::sized(9, 500);
    desk.server.add("1", &other);
    desk.pouch(&["ledger", "catchup", "work"])
        .run()
        .assert_code(0);
    desk.fetch(0);
    assert!(
        desk.mail()
            .delivered()
            .iter()
            .any(|mail| mail.bytes == corpus::on_disk(&other))
    );
}

#[test]
fn reused_uid_of_a_listed_message_is_planned_fetched_and_kept() {
    let other = corpus::sized(9, 2_000);
    let desk = Desk::with(3, "keep = \"30d\"", |server| server);
    desk.fetch(0);
    desk.server.remove("uid-2");
    desk.server.add("uid-2", &other);
    assert_eq!(
        fetch_as_foreseen(&desk, 30, &[]),
        Foreseen {
            fetched: 1,
            deleted: 2,
            left: 1
        }
    );
    let expected: Vec<_> = (1..=3)
        .map(corpus::message)
        .chain([other])
        .map(|mail| corpus::on_disk(&mail))
        .collect();
    desk.mail().assert_exactly(&expected);
    assert_eq!(
        fetch_as_foreseen(&desk, 60, &[]),
        Foreseen {
            fetched: 0,
            deleted: 1,
            left: 0
        }
    );
}

#[test]
fn reused_uid_without_top_is_not_deleted_unread() {
    let desk = Desk::with(3, "keep = \"30d\"", |server| server.without("TOP"));
    desk.fetch(0);
    desk.server.remove("uid-2");
    let other = corpus::sized(9, 2_000);
    desk.server.add("uid-2", &other);
    desk.fetch_at(30, 0);
    assert!(
        desk.mail()
            .delivered()
            .iter()
            .any(|mail| mail.bytes == corpus::on_disk(&other))
    );
    assert_eq!(desk.server.uids(), ["uid-2"]);
}

/// Fetches messages with one UID: each is delivered once, and none is deleted before all are
/// delivered.
#[track_caller]
fn shared(contents: &[Vec<u8>], more: impl Fn(Setup) -> Setup) -> Desk {
    let setup = contents.iter().fold(Server::plain(), |setup, content| {
        setup.message("same", content)
    });
    let desk = Desk::new(more(setup), "");
    assert_eq!(foresee(&desk, 0, &[]).fetched, contents.len());
    desk.fetch(0);
    desk.fetch(0).assert_silent();
    let expected: Vec<_> = contents
        .iter()
        .map(|content| corpus::on_disk(content))
        .collect();
    desk.mail().assert_exactly(&expected);
    desk
}

#[test]
fn messages_that_share_a_uid_all_arrive() {
    let (one, two, long) = (
        corpus::sized(1, 500),
        corpus::sized(2, 500),
        corpus::sized(3, 900),
    );
    for contents in [
        vec![one.clone(), two.clone()],
        vec![one.clone(), one.clone()],
        vec![long, one, two],
    ] {
        for renumbers in [false, true] {
            let desk = shared(&contents, |server| {
                if renumbers {
                    server.renumbers()
                } else {
                    server
                }
            });
            desk.configure("keep = \"none\"");
            fetch_as_foreseen(&desk, 0, &[]);
            assert_eq!(
                (desk.server.remaining(), desk.mail().len()),
                (0, contents.len())
            );
        }
    }
}

#[test]
fn failed_message_keeps_all_messages_with_its_uid() {
    for bad in [1, 2] {
        let server = Server::plain()
            .message("same", corpus::message(1))
            .message("same", corpus::message(2));
        let fault = on(&format!("RETR {bad}")).times(2).refuse("-ERR damaged");
        let desk = Desk::new(
            server.message("uid-3", corpus::message(3)).fault(fault),
            "keep = \"none\"",
        );
        for _ in 0..2 {
            desk.fetch(75);
            desk.assert_arrived([3 - bad, 3]);
            assert_eq!(desk.server.uids(), ["same", "same"]);
        }
        desk.fetch(0);
        desk.assert_arrived(1..=3);
        assert_eq!(desk.server.remaining(), 0);
    }
}

#[test]
fn quarantined_message_keeps_the_other_with_its_uid() {
    let server = Server::plain()
        .message("same", corpus::message(1))
        .message("same", corpus::message(2));
    let desk = Desk::new(
        server.fault(on("RETR 1").refuse("-ERR damaged")),
        "keep = \"none\"",
    );
    for code in [75, 75, 65] {
        desk.fetch(code);
    }
    assert_eq!(
        fetch_as_foreseen(&desk, 0, &[]),
        Foreseen {
            fetched: 0,
            deleted: 0,
            left: 2
        }
    );
    desk.assert_arrived([2]);
}

#[test]
fn later_message_with_a_known_uid_is_fetched_alone() {
    for renumbers in [false, true] {
        let setup = Server::plain().message("same", corpus::message(1));
        let desk = Desk::new(if renumbers { setup.renumbers() } else { setup }, "");
        desk.fetch(0);
        desk.server.add("same", corpus::message(2));
        println!("renumbers: {renumbers}");
        desk.fetch(0);
        desk.fetch(0);
        desk.assert_arrived([1, 2]);
    }
}

#[test]
fn moved_server_delivers_only_new_mail() {
    let desk = Desk::with(12, "keep = \"30d\"", |server| server);
    desk.fetch(0);
    desk.server.renew_uids();
    desk.server.add("new", corpus::message(13));
    assert_eq!(
        fetch_as_foreseen(&desk, 10, &[]),
        Foreseen {
            fetched: 1,
            deleted: 0,
            left: 13
        }
    );
    desk.assert_arrived(1..=13);
    assert_eq!(
        fetch_as_foreseen(&desk, 30, &[]),
        Foreseen {
            fetched: 0,
            deleted: 12,
            left: 1
        }
    );
    assert_eq!(desk.server.uids(), ["new"]);
    assert_eq!(desk.retrieved(), 13);
}

#[test]
fn moved_server_deletes_due_messages() {
    let desk = Desk::with(12, "keep = \"30d\"", |server| server);
    desk.fetch(0);
    desk.server.renew_uids();
    assert_eq!(
        fetch_as_foreseen(&desk, 30, &[]),
        Foreseen {
            fetched: 0,
            deleted: 12,
            left: 0
        }
    );
    assert_eq!(desk.retrieved(), 12);
}

#[test]
fn new_uids_without_top_stop_the_account() {
    let desk = Desk::with(12, "keep = \"none\"", |server| server.without("TOP"));
    desk.pouch(&["fetch", "--keep"]).run().assert_code(0);
    desk.server.renew_uids();
    let mut shown = String::new();
    for command in ["plan", "fetch"] {
        let output = desk.pouch(&[command]).run();
        shown.push_str(&output.assert_code(69).transcript());
    }
    assert_snapshot!(shown, @"
    $ pouch plan
    ------- stderr -------
    pouch: work: the server has given its messages new UIDs
      12 of 12 messages that were fetched before are no longer listed, and 12 are unknown
      they cannot be compared, because the server does not support TOP
    hint: `pouch ledger catchup` marks them all as seen; `pouch fetch --accept-new-uids` fetches them all
    [exit code: 69]
    $ pouch fetch
    ------- stderr -------
    pouch: work: the server has given its messages new UIDs
      12 of 12 messages that were fetched before are no longer listed, and 12 are unknown
      they cannot be compared, because the server does not support TOP
    hint: `pouch ledger catchup` marks them all as seen; `pouch fetch --accept-new-uids` fetches them all
    [exit code: 69]
    ");
    desk.fetch(69).assert_silent();
    assert_eq!((desk.server.remaining(), desk.retrieved()), (12, 12));
    desk.pouch(&["fetch", "--accept-new-uids", "--keep"])
        .run()
        .assert_code(0);
    assert_eq!((desk.mail().len(), desk.server.remaining()), (24, 12));
    desk.fetch(0);
    assert_eq!((desk.mail().len(), desk.server.remaining()), (24, 0));
}

#[test]
fn plan_supports_accept_new_uids() {
    let mut shown = String::new();
    for more in [
        |server: Setup| server,
        |server: Setup| server.without("TOP"),
    ] {
        let desk = Desk::with(12, "", more);
        desk.fetch(0);
        desk.server.renew_uids();
        let output = desk
            .pouch(&["fetch", "--dry-run", "--accept-new-uids"])
            .run();
        shown.push_str(&output.assert_code(0).transcript());
        assert!(!output.stderr.contains("not fetch"), "{output}");
        let foreseen = Foreseen {
            fetched: 12,
            deleted: 0,
            left: 12,
        };
        assert_eq!(
            fetch_as_foreseen(&desk, 0, &["--accept-new-uids"]),
            foreseen
        );
    }
    assert_snapshot!(shown, @"
    $ pouch fetch --dry-run --accept-new-uids
    work: 12 messages on the server, 0 known
      fetch     12    5.2 KB   new; kept on the server
    $ pouch fetch --dry-run --accept-new-uids
    work: 12 messages on the server, 0 known
      fetch     12    5.2 KB   new; kept on the server
    ");
}

#[test]
fn replaced_mail_is_not_a_move() {
    let desk = Desk::with(12, "", |server| server);
    desk.fetch(0);
    for n in 1..=12 {
        desk.server.remove(corpus::uid(n));
        desk.server
            .add(corpus::uid(n + 12), corpus::message(n + 12));
    }
    assert_eq!(
        fetch_as_foreseen(&desk, 0, &[]),
        Foreseen {
            fetched: 12,
            deleted: 0,
            left: 12
        }
    );
    desk.assert_arrived(1..=24);
}

#[test]
fn unusual_uids_are_accepted_in_any_order() {
    let mut uids: Vec<Vec<u8>> = [
        &b"x"[..],
        b"X",
        b"x ",
        b"a b",
        b"../../etc/passwd",
        b"..",
        b"%s%n%00",
        b"\xff\xfe\x80",
        b"' --",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    uids.extend([70, 71, 200].map(|length| b"z".repeat(length)));
    let numbered = (1..).zip(&uids);
    let setup = numbered.fold(Server::plain(), |setup, (n, uid)| {
        setup.message(uid.clone(), corpus::message(n))
    });
    let desk = Desk::new(setup.renumbers(), "keep = \"30d\"");
    desk.fetch(0);
    desk.fetch_at(1, 0).assert_silent();
    desk.assert_arrived(1..=uids.len());
    assert_eq!(desk.retrieved(), uids.len());
    desk.fetch_at(30, 0);
    assert_eq!(desk.server.remaining(), 0);
    desk.assert_arrived(1..=uids.len());
}

#[test]
fn identical_message_listed_first_is_delivered_once() {
    let (old, new) = (corpus::sized(1, 500), corpus::sized(2, 900));
    let desk = Desk::new(Server::plain().message("same", &old), "");
    desk.fetch(0);
    desk.server.remove("same");
    desk.server.add("same", &new);
    desk.server.add("same", &old);
    desk.fetch(0);
    desk.fetch(0).assert_silent();
    desk.mail()
        .assert_exactly(&[corpus::on_disk(&old), corpus::on_disk(&new)]);
}

#[test]
fn new_uids_are_reported_once() {
    let desk = Desk::with(20, "", |server| server);
    desk.fetch(0);
    desk.server.renew_uids();
    let mut shown = String::new();
    for command in ["plan", "fetch"] {
        let output = desk.pouch(&[command]).run();
        shown.push_str(&output.assert_code(0).transcript());
    }
    assert_snapshot!(shown, @"
    $ pouch plan
    work: 20 messages on the server, 20 known
      keep      20             fetched before
    ------- stderr -------
    pouch: work: the server has given its messages new UIDs
      20 messages recognised by their headers; not fetching them again
    $ pouch fetch
    ------- stderr -------
    pouch: work: the server has given its messages new UIDs
      20 messages recognised by their headers; not fetching them again
    ");
    desk.fetch(0).assert_silent();
    assert_eq!(desk.retrieved(), 20);
}
