//! One bad message never stops the others: it is quarantined, reported once, and retried.

use insta::assert_snapshot;
use mail_parser::{MessageParser, MimeHeaders};

use crate::{
    fixture::Desk,
    server::{Fault, corpus, on},
};
#[cfg(feature = "system-tests")]
use crate::{fixture::NOW, support::trace};

/// Matches the retrieval of the `n`-th message.
pub fn retr(n: usize) -> Fault {
    on("RETR").uid(corpus::uid(n))
}

fn others(count: usize, bad: &[usize]) -> Vec<usize> {
    (1..=count).filter(|n| !bad.contains(n)).collect()
}

each_fault!(other_messages_arrive_in_the_first_run, 9);

fn other_messages_arrive_in_the_first_run(fault: Fault) {
    assert_all_but_the_ninth_arrive(&Desk::with(10, "", |server| server.fault(fault)));
}

each_fault!(other_messages_arrive_without_pipelining, 9);

fn other_messages_arrive_without_pipelining(fault: Fault) {
    let desk = Desk::with(10, "", |server| server.fault(fault).without("PIPELINING"));
    assert_all_but_the_ninth_arrive(&desk);
}

#[track_caller]
fn assert_all_but_the_ninth_arrive(desk: &Desk) {
    desk.fetch(75).assert_silent();
    desk.assert_arrived(others(10, &[9]));
    let before = desk.retrieved();
    desk.fetch(75).assert_silent();
    desk.assert_arrived(others(10, &[9]));
    // A known message may be requested to test the connection, and then only the bad one.
    assert!(desk.retrieved() - before <= 2, "{:?}", desk.server.log());
    assert_eq!(desk.server.remaining(), 10);
}

each_fault!(refused_message_is_quarantined_after_three_runs, 9);

fn refused_message_is_quarantined_after_three_runs(fault: Fault) {
    let desk = Desk::with(10, "", |server| server.fault(fault));
    desk.fetch(75).assert_silent();
    desk.fetch(75).assert_silent();
    assert!(desk.notices().is_empty());
    let output = desk.fetch(65);
    output
        .assert_stderr("pouch: work: ")
        .assert_stderr("quarantine");
    assert_eq!(desk.notices().len(), 1);
    let before = desk.retrieved();
    for _ in 0..3 {
        desk.fetch(0).assert_silent();
    }
    assert_eq!(desk.retrieved(), before, "tried before its time");
    assert_eq!(desk.notices().len(), 1);
    desk.assert_arrived(others(10, &[9]));
}

cases! { bad_message_at_any_position_stops_no_other:
    refused(|n| retr(n).refuse("-ERR cannot open it")),
    cut_before_the_response(|n| retr(n).cut()),
    cut_inside(|n| retr(n).octets(100).cut()),
    empty(|n| retr(n).empty()),
}

fn bad_message_at_any_position_stops_no_other(fault: fn(usize) -> Fault) {
    for bad in [
        &[1][..],
        &[10],
        &[1, 10],
        &[3, 4, 5],
        &[1, 2, 3, 4, 5],
        &[1, 2, 3, 8, 10],
    ] {
        let desk = Desk::with(10, "", |server| {
            bad.iter().fold(server, |server, n| server.fault(fault(*n)))
        });
        println!("{bad:?}");
        desk.fetch(75);
        desk.assert_arrived(others(10, bad));
        desk.fetch(75);
        desk.fetch(65);
        desk.assert_one_notice(bad);
        desk.fetch(0).assert_silent();
        desk.assert_arrived(others(10, bad));
    }
}

#[test]
fn several_bad_messages_at_the_end_are_quarantined_once_another_arrives_after_them() {
    for fault in [
        |fault: Fault| fault.refuse("-ERR cannot open it"),
        |fault: Fault| fault.empty(),
    ] {
        let bad = [8, 9, 10];
        let desk = Desk::with(10, "", |server| {
            let bad = bad.iter();
            bad.fold(server, |server, n| server.fault(fault(retr(*n))))
        });
        // this may be a quota, although headers can be read
        for _ in 0..5 {
            desk.fetch(75).assert_silent();
        }
        for n in [11, 12] {
            desk.server.add(corpus::uid(n), corpus::message(n));
            desk.fetch(75);
        }
        desk.fetch(65);
        desk.assert_one_notice(&bad);
        desk.assert_arrived(others(12, &bad));
    }
}

#[test]
fn quota_quarantines_nothing_although_headers_can_be_read() {
    for (left, words) in [
        (1, "-ERR no more today"),
        (3, "-ERR no more today"),
        (7, "-ERR no more today"),
        (20, "-ERR no more today"),
        (3, "-ERR Download exceed. msg=10"),
        (20, "-ERR Download exceed. msg=10"),
    ] {
        println!("{left}, {words}");
        let desk = Desk::with(5 + left, "", |server| server);
        for n in 6..=5 + left {
            desk.server.fault(retr(n).refuse(words));
        }
        for _ in 0..if left == 1 { 1 } else { 4 } {
            desk.fetch(75).assert_silent();
        }
        desk.server.heal_all();
        desk.fetch(0).assert_silent();
        assert!(desk.notices().is_empty());
        desk.assert_arrived(1..=5 + left);
    }
}

#[test]
fn transient_refusals_in_a_row_end_the_run() {
    for words in [
        "-ERR Download exceed. msg=10",
        "-ERR Can't get the letter, try again later",
        "-ERR [SYS/TEMP] storage is down",
    ] {
        let desk = Desk::with(400, "", |server| server.fault(on("RETR").refuse(words)));
        // two sessions; requests are sent ahead
        for most in [80, 24, 24] {
            let before = desk.retrieved();
            desk.fetch(75).assert_silent();
            let requested = desk.retrieved() - before;
            assert!(requested <= most, "{words}: {requested}");
        }
        desk.server.heal_all();
        desk.fetch(0);
        desk.assert_arrived(1..=400);
    }
}

#[test]
fn without_any_message_the_connection_is_blamed() {
    let desk = Desk::with(10, "", |server| server.fault(on("RETR").octets(100).cut()));
    for _ in 0..4 {
        desk.fetch(75).assert_silent();
    }
    assert_eq!(desk.mail().len(), 0);
    desk.server.heal_all();
    desk.fetch(0);
    desk.assert_arrived(1..=10);
}

#[test]
fn one_good_message_among_many_bad_ones_arrives() {
    for good in [2, 5, 8] {
        let desk = Desk::with(9, "", |server| {
            let bad = (1..=9).filter(|n| *n != good);
            bad.fold(server, |server, n| {
                server.fault(on("RETR").uid(corpus::uid(n)).cut())
            })
        });
        for _ in 0..9 {
            desk.pouch(&["fetch"]).run();
        }
        desk.assert_arrived([good]);
    }
}

#[test]
fn server_that_refuses_everything_quarantines_nothing() {
    let desk = Desk::with(30, "", |server| server.fault(on("RETR").refuse("-ERR no")));
    desk.fetch(75).assert_silent();
    for _ in 0..3 {
        let before = desk.retrieved();
        desk.fetch(75).assert_silent();
        // Two sessions, with a few messages in each.
        assert_eq!(desk.retrieved() - before, 16);
    }
    // The failure is reported once it has lasted a day.
    assert_snapshot!(desk.fetch_at(2, 75).stderr_text(), @"
    pouch: work: 127.0.0.1 refused to send message 5
      127.0.0.1 said: -ERR no
    ");
    assert_eq!(desk.mail().len(), 0);
    desk.server.heal_all();
    desk.fetch(0);
    desk.assert_arrived(1..=30);
}

#[test]
fn single_bad_message_is_distinguished_from_a_bad_connection() {
    let desk = Desk::with(3, "", |server| server);
    desk.fetch(0);
    desk.server.add("uid-4", corpus::message(4));
    desk.server.fault(on("RETR").uid("uid-4").octets(50).cut());
    desk.fetch(75);
    desk.fetch(75);
    desk.fetch(65);
    desk.server.heal("uid-4");
    desk.fetch_at(2, 0);
    desk.assert_arrived(1..=4);
}

each_fault!(repaired_message_arrives_once, 2);

fn repaired_message_arrives_once(fault: Fault) {
    let desk = Desk::with(3, "", |server| server.fault(fault));
    desk.fetch(75);
    desk.server.heal("uid-2");
    desk.fetch(0);
    desk.assert_arrived(1..=3);
    desk.fetch(0).assert_silent();
    desk.assert_arrived(1..=3);
}

#[test]
fn transient_failure_is_not_an_attempt() {
    for text in [
        "-ERR [SYS/TEMP] disk asleep",
        "-ERR [IN-USE] somebody reads it",
    ] {
        let desk = Desk::with(3, "", |server| {
            server.fault(on("RETR").uid("uid-2").refuse(text))
        });
        for _ in 0..5 {
            desk.fetch(75).assert_silent();
        }
        desk.server.heal("uid-2");
        desk.fetch(0);
        desk.assert_arrived(1..=3);
    }
}

#[test]
fn quarantined_message_is_retried_after_1_2_4_to_32_days() {
    let desk = Desk::with(3, "attempts = 1", |server| {
        server.fault(on("RETR").uid("uid-2").refuse("-ERR no"))
    });
    desk.fetch(65);
    let mut day = 0;
    for wait in [1, 2, 4, 8, 16, 32, 32] {
        let before = desk.retrieved();
        desk.fetch_at(day + wait - 1, 0);
        assert_eq!(
            desk.retrieved(),
            before,
            "tried before {wait} days were over"
        );
        day += wait;
        desk.fetch_at(day, 75);
        assert_eq!(desk.retrieved(), before + 1, "not tried after {wait} days");
    }
    assert_eq!(desk.notices().len(), 1);
    desk.server.heal("uid-2");
    desk.fetch_at(day + 32, 0);
    desk.assert_arrived(1..=3);
}

#[test]
fn quarantined_messages_are_retried_at_once_when_the_same_failure_ends() {
    let refuse = |n: usize, words: String| on("RETR").uid(corpus::uid(n)).refuse(&words);
    let desk = Desk::with(8, "attempts = 1", |server| {
        let server = server.fault(refuse(6, "-ERR bad header".to_owned()));
        (1..=4).fold(server, |server, n| {
            server.fault(refuse(n, format!("-ERR Message {n} expunged.")))
        })
    });
    desk.fetch(65);
    desk.assert_one_notice(&[1, 2, 3, 4, 6]);
    desk.assert_arrived([5, 7, 8]);
    desk.server.heal_all();
    desk.server.fault(refuse(6, "-ERR bad header".to_owned()));
    desk.pouch(&["ledger", "retry", "work", "3"])
        .run()
        .assert_code(0);
    desk.fetch(0).assert_silent();
    desk.assert_arrived([1, 2, 3, 4, 5, 7, 8]);
    assert_eq!(desk.server.log().count("RETR 6"), 1);
}

#[test]
fn notice_contains_the_received_part() {
    let desk = Desk::with(3, "attempts = 1", |server| {
        server.fault(on("RETR").uid("uid-2").octets(300).cut())
    });
    desk.fetch(65);
    let notice = desk.notices().pop().unwrap();
    let mail = MessageParser::default().parse(&notice).unwrap();
    let text = mail.body_text(0).unwrap();
    for line in [
        "From:     Ben",
        "Subject:  Message 2",
        "pouch ledger retry work 2",
        "2026-11-24",
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
    let partial = mail.attachment(0).unwrap();
    assert_eq!(partial.attachment_name(), Some("message-2.eml"));
    assert!(corpus::message(2).starts_with(partial.contents()) && partial.contents().len() > 200);
}

#[test]
fn notice_of_a_refused_message_has_the_subject_from_top() {
    let desk = Desk::with(3, "attempts = 1", |server| {
        server.fault(on("RETR").uid("uid-2").refuse("-ERR no"))
    });
    desk.fetch(65);
    let notice = String::from_utf8(desk.notices().pop().unwrap()).unwrap();
    assert!(
        notice.contains("Subject: pouch: a message could not be fetched: Message 2"),
        "{notice}"
    );
    assert!(notice.contains("-ERR no"), "{notice}");
}

#[test]
fn notice_has_the_right_subject_if_numbers_change() {
    let desk = Desk::with(5, "attempts = 1", |server| {
        let server = server
            .renumbers()
            .fault(on("RETR").uid("uid-2").refuse("-ERR no"));
        server.fault(on("RETR").uid("uid-4").cut())
    });
    desk.fetch(65);
    desk.assert_one_notice(&[2, 4]);
}

#[test]
fn header_that_breaks_the_connection_stops_no_other() {
    let desk = Desk::with(4, "attempts = 1", |server| {
        server
            .fault(on("RETR").uid("uid-2").cut())
            .fault(on("TOP").uid("uid-2").cut())
    });
    desk.fetch(65);
    assert_eq!(desk.notices().len(), 1);
    desk.assert_arrived([1, 3, 4]);
    desk.fetch(0).assert_silent();
}

#[test]
fn disabled_notice_is_not_delivered() {
    let desk = Desk::with(3, "attempts = 1\nnotice = false", |server| {
        server.fault(on("RETR").uid("uid-2").refuse("-ERR no"))
    });
    assert_snapshot!(desk.fetch(65).stderr_text(), @"
    pouch: work: 127.0.0.1 refused to send message 2
      127.0.0.1 said: -ERR no
      quarantined after it failed once; other messages are not affected
      2 other messages delivered
    hint: run `pouch ledger show work 2` for details
    ");
    assert!(desk.notices().is_empty());
}

each_fault!(
    the_bad_one_stays_on_the_server_when_the_others_are_deleted,
    2
);

fn the_bad_one_stays_on_the_server_when_the_others_are_deleted(fault: Fault) {
    let desk = Desk::with(4, "keep = \"none\"", |server| server.fault(fault));
    desk.fetch(75);
    desk.assert_arrived([1, 3, 4]);
    assert_eq!(desk.server.uids(), ["uid-2"]);
    desk.server.heal("uid-2");
    desk.fetch(0);
    desk.assert_arrived(1..=4);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn clock_set_back_does_not_prolong_quarantine() {
    let desk = Desk::with(3, "attempts = 1", |server| {
        server.fault(on("RETR").uid("uid-2").refuse("-ERR damaged"))
    });
    desk.fetch_at(3_650, 65);
    desk.server.heal_all();
    desk.fetch(0);
    desk.assert_arrived(1..=3);
}

#[test]
fn truncated_message_is_delivered_and_never_deleted() {
    let desk = Desk::with(3, "keep = \"none\"", |server| {
        server.fault(on("RETR").uid("uid-2").short(330))
    });
    let half = corpus::on_disk(&corpus::message(2))[..320].to_vec();
    let told = desk.fetch(75);
    assert_snapshot!(told.stderr_text(), @"
    pouch: work: message 2 is truncated: received fewer bytes than the server listed
      received 332 of 401 bytes
      delivered truncated and left on the server; the next run requests it again
    hint: run `pouch ledger show work 2` for details
    ");
    let mail = desk.mail();
    assert_eq!(mail.len(), 3);
    assert!(
        mail.delivered()
            .iter()
            .any(|mail| half.starts_with(&mail.bytes[..300]))
    );
    assert_eq!(desk.server.uids(), ["uid-2"]);
    // Still truncated: not delivered again, not reported again, not deleted.
    for _ in 0..2 {
        assert!(
            !desk
                .fetch(75)
                .stderr
                .contains("fewer bytes than the server listed")
        );
    }
    assert_eq!(desk.mail().len(), 3);
    assert_eq!(desk.server.uids(), ["uid-2"]);
    // Complete now: delivered as another copy, and deleted.
    desk.server.heal("uid-2");
    desk.fetch_at(3, 0);
    desk.fetch_at(3, 0);
    let mail = desk.mail();
    assert_eq!(mail.len(), 4);
    assert!(
        mail.delivered()
            .iter()
            .any(|mail| mail.bytes == corpus::on_disk(&corpus::message(2)))
    );
    assert_eq!(desk.server.remaining(), 0);
}

/// The call at which messages are published but not recorded.
#[cfg(feature = "system-tests")]
const SHOWN: &str = "linkat:signal=KILL:when=2";

/// Fetches, and is killed at that call.
#[cfg(feature = "system-tests")]
#[track_caller]
fn killed_at(desk: &Desk, point: &str) {
    let killed = trace::traced(&desk.home, "linkat,renameat2", Some(point), &["fetch"]);
    killed
        .env("POUCH_NOW", NOW.to_string())
        .run()
        .assert_code(137);
    desk.server.wait_for(|log| log.open() == 0);
}

#[cfg(feature = "system-tests")]
#[test]
fn truncated_message_is_recognised_after_a_crash() {
    // The next run records the delivery.
    let filter = "filter = [[\"sed\", \"1iX-Checked: yes, by a program that wrote it on more than one long line\"]]";
    for (lines, later) in [
        ("", ""),
        (filter, filter),
        ("add-headers = [\"received\"]", ""),
        ("", filter),
        (filter, ""),
    ] {
        println!("{lines}, {later}");
        let config = |lines: &str| format!("keep = \"none\"\n{lines}");
        let desk = Desk::with(3, &config(lines), |server| {
            server.fault(on("RETR").uid("uid-1").short(330))
        });
        killed_at(&desk, SHOWN);
        desk.configure(&config(later));
        desk.fetch(75);
        assert_eq!(
            (desk.mail().len(), desk.server.uids()),
            (3, vec!["uid-1".to_owned()])
        );
        desk.server.heal("uid-1");
        desk.fetch(0);
        desk.fetch(0);
        let whole = corpus::on_disk(&corpus::message(1));
        let mail = desk.mail();
        assert_eq!((mail.len(), desk.server.remaining()), (4, 0));
        assert_eq!(
            mail.delivered()
                .iter()
                .filter(|mail| mail.bytes.ends_with(&whole))
                .count(),
            1
        );
    }
}

#[cfg(feature = "system-tests")]
#[test]
fn unrecorded_truncation_does_not_affect_other_messages() {
    let desk = Desk::with(3, "keep = \"none\"", |server| {
        server.fault(on("RETR").uid("uid-1").short(330))
    });
    killed_at(&desk, "renameat2:signal=KILL:when=1");
    assert_eq!(desk.mail().len(), 0);
    desk.server.heal("uid-1");
    killed_at(&desk, SHOWN);
    assert!(desk.mail().len() > 1);
    desk.fetch(0);
    desk.assert_arrived(1..=3);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn wrong_listed_sizes_are_tolerated() {
    let desk = Desk::with(30, "keep = \"none\"", |server| server);
    for n in 1..=30 {
        desk.server.list_as(corpus::uid(n), 100_000);
    }
    desk.fetch(0).assert_silent();
    desk.assert_arrived(1..=30);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn bad_message_does_not_count_towards_the_limit() {
    let desk = Desk::with(6, "limit = 2", |server| {
        server
            .fault(on("RETR").uid("uid-1").cut())
            .fault(on("RETR").uid("uid-2").octets(50).cut())
    });
    desk.fetch(75);
    desk.assert_arrived([3, 4]);
    desk.fetch(0);
    desk.assert_arrived(3..=6);
}
