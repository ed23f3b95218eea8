//! The retention settings, one by one and several together.

use insta::assert_snapshot;

use super::{Foreseen, fetch_as_foreseen, foresee};
use crate::{
    fixture::Desk,
    server::{Server, corpus, on},
};

/// Returns the actions of a fetch on each of these days, with a new message before each day but the
/// first.
#[track_caller]
fn story(lines: &str, flags: &[&str], days: &[(i64, [usize; 3])]) {
    let desk = Desk::with(4, lines, |server| server);
    for (place, &(day, [fetched, deleted, left])) in days.iter().enumerate() {
        if place > 0 {
            desk.server
                .add(corpus::uid(4 + place), corpus::message(4 + place));
        }
        assert_eq!(
            fetch_as_foreseen(&desk, day, flags),
            Foreseen {
                fetched,
                deleted,
                left
            },
            "{lines} on day {day}"
        );
    }
    desk.assert_arrived(1..=3 + days.len());
}

#[test]
fn plan_agrees_with_fetch() {
    for (lines, days) in [
        ("", &[(0, [4, 0, 4]), (9_999, [1, 0, 5])][..]),
        ("keep = \"forever\"", &[(0, [4, 0, 4]), (9_999, [1, 0, 5])]),
        ("keep = \"none\"", &[(0, [4, 4, 0]), (1, [1, 1, 0])]),
        (
            "keep = \"30d\"",
            &[
                (0, [4, 0, 4]),
                (29, [1, 0, 5]),
                (30, [1, 4, 2]),
                (58, [1, 0, 3]),
                (60, [1, 2, 2]),
            ],
        ),
        ("keep-newest = 3", &[(0, [4, 1, 3]), (1, [1, 1, 3])]),
        ("keep-newest = 1", &[(0, [4, 3, 1]), (1, [1, 1, 1])]),
        ("keep-total = \"1KB\"", &[(0, [4, 2, 2]), (1, [1, 1, 2])]),
        (
            "keep-newest = 1\nkeep-total = \"1GB\"",
            &[(0, [4, 3, 1]), (1, [1, 1, 1])],
        ),
        (
            "keep-newest = 99\nkeep-total = \"1KB\"",
            &[(0, [4, 2, 2]), (1, [1, 1, 2])],
        ),
        (
            "keep = \"10d\"\nkeep-newest = 3",
            &[
                (0, [4, 1, 3]),
                (1, [1, 1, 3]),
                (10, [1, 2, 2]),
                (11, [1, 1, 2]),
            ],
        ),
        ("keep = \"none\"\nkeep-newest = 3", &[(0, [4, 4, 0])]),
    ] {
        story(lines, &[], days);
    }
}

#[test]
fn keep_option_prevents_every_deletion() {
    for lines in [
        "keep = \"none\"",
        "keep-newest = 1",
        "keep-total = \"1B\"",
        "keep = \"1d\"\nkeep-newest = 1",
    ] {
        story(lines, &["--keep"], &[(0, [4, 0, 4]), (99, [1, 0, 5])]);
    }
}

#[test]
fn limit_fetches_the_oldest_first_as_planned() {
    story(
        "limit = 2",
        &[],
        &[(0, [2, 0, 4]), (0, [2, 0, 5]), (0, [2, 0, 6])],
    );
    let desk = Desk::with(4, "keep = \"none\"", |server| server);
    assert_eq!(
        fetch_as_foreseen(&desk, 0, &["--limit", "1"]),
        Foreseen {
            fetched: 1,
            deleted: 1,
            left: 3
        }
    );
    assert_eq!(desk.server.uids(), ["uid-2", "uid-3", "uid-4"]);
    assert_eq!(
        fetch_as_foreseen(&desk, 0, &["--limit", "9"]),
        Foreseen {
            fetched: 3,
            deleted: 3,
            left: 0
        }
    );
}

#[test]
fn message_above_max_size_is_neither_fetched_nor_deleted() {
    let desk = Desk::new(
        Server::plain()
            .message("big", corpus::sized(9, 2_001))
            .message("fits", corpus::sized(8, 2_000)),
        "keep = \"none\"\nmax-size = \"2KB\"",
    );
    assert_eq!(
        fetch_as_foreseen(&desk, 0, &[]),
        Foreseen {
            fetched: 1,
            deleted: 1,
            left: 1
        }
    );
    assert_eq!(desk.server.uids(), ["big"]);
    assert_eq!(
        fetch_as_foreseen(&desk, 0, &["--max-size", "1KB"]),
        Foreseen {
            fetched: 0,
            deleted: 0,
            left: 1
        }
    );
}

#[test]
fn due_deletion_is_done_after_an_outage() {
    let desk = Desk::with(3, "keep = \"30d\"", |server| server);
    desk.fetch(0);
    for (day, deleted) in [(29, 0), (30, 3), (500, 3)] {
        assert_eq!(
            foresee(&desk, day, &[]),
            Foreseen {
                fetched: 0,
                deleted,
                left: 3 - deleted
            }
        );
    }
    desk.fetch_at(500, 0);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn shorter_keep_is_planned() {
    let desk = Desk::with(3, "", |server| server);
    desk.fetch(0);
    desk.configure("keep = \"5d\"");
    assert_snapshot!(desk.at(4, &["plan"]).run().stdout_text(), @"
    work: 3 messages on the server, 3 known
      keep       3             the next is due on 2026-11-28
    ");
    assert_snapshot!(desk.at(5, &["plan"]).run().stdout_text(), @"
    work: 3 messages on the server, 3 known
      delete     3             fetched more than 5d ago
    ");
    assert_eq!(
        fetch_as_foreseen(&desk, 5, &[]),
        Foreseen {
            fetched: 0,
            deleted: 3,
            left: 0
        }
    );
}

#[test]
fn newest_messages_are_found_under_any_numbering() {
    let desk = Desk::with(5, "", crate::server::Setup::renumbers);
    desk.fetch(0);
    desk.fetch(0);
    desk.configure("keep-newest = 2");
    assert_eq!(
        fetch_as_foreseen(&desk, 0, &[]),
        Foreseen {
            fetched: 0,
            deleted: 3,
            left: 2
        }
    );
    assert_eq!(desk.server.uids(), ["uid-4", "uid-5"]);
}

#[test]
fn plan_creates_no_files() {
    let desk = Desk::with(3, "keep = \"none\"", |server| server);
    assert_eq!(
        foresee(&desk, 0, &[]),
        Foreseen {
            fetched: 3,
            deleted: 3,
            left: 0
        }
    );
    assert!(!desk.home.join("Mail").exists());
    let log = desk.server.log();
    assert_eq!(
        (
            log.count("RETR"),
            log.count("DELE"),
            desk.server.remaining()
        ),
        (0, 0, 3)
    );
}

#[test]
fn plan_prints_actions_and_reasons() {
    let desk = Desk::with(3, "keep = \"30d\"", |server| server);
    desk.fetch(0);
    desk.server.add("uid-4", corpus::message(4));
    let table = desk.at(30, &["plan"]).run();
    assert_snapshot!(table.assert_code(0).stdout_text(), @"
    work: 4 messages on the server, 3 known
      fetch      1     477 B   new; kept until 2027-01-22
      delete     3             fetched more than 30d ago
    ");
    assert_eq!(desk.at(30, &["fetch", "-n"]).run().stdout, table.stdout);
}

#[test]
fn newest_messages_stay_by_count_and_by_size() {
    let desk = Desk::with(5, "keep-newest = 2", |server| server);
    desk.fetch(0);
    assert_eq!(desk.server.uids(), ["uid-4", "uid-5"]);
    desk.server.add("uid-6", corpus::message(6));
    desk.fetch(0);
    assert_eq!(desk.server.uids(), ["uid-5", "uid-6"]);
    desk.assert_arrived(1..=6);
    let desk = Desk::with(5, "keep-total = \"1KB\"", |server| server);
    desk.fetch(0);
    assert_eq!(desk.server.uids(), ["uid-4", "uid-5"]);
    desk.assert_arrived(1..=5);
}

#[test]
fn message_above_max_size_is_reported_once() {
    let desk = Desk::new(
        Server::plain()
            .messages(corpus::messages(2))
            .message("big", corpus::sized(9, 3_000)),
        "max-size = \"2KB\"\nkeep = \"none\"",
    );
    let output = desk.fetch(0);
    assert_snapshot!(output.stderr_text(), @"
    pouch: work: message 3 (3.0 KB) is larger than max-size (2KB); left on the server
    hint: run `pouch ledger retry work 3` to fetch it, or raise `max-size`
    ");
    desk.fetch(0).assert_silent();
    desk.configure("max-size = \"4KB\"\nkeep = \"none\"");
    desk.fetch(0);
    assert_eq!((desk.server.remaining(), desk.mail().len()), (0, 3));
}

#[test]
fn many_messages_above_max_size_are_reported_together() {
    let messages = (1..=40).map(|n| (corpus::uid(n), corpus::sized(n, 3_000 + n)));
    let desk = Desk::new(Server::plain().messages(messages), "max-size = \"2KB\"");
    let output = desk.fetch(0);
    assert_snapshot!(output.stderr_text(), @"
    pouch: work: 40 messages are larger than max-size (2KB); left on the server
      the largest is message 40 (3.0 KB)
    hint: raise `max-size`, or fetch single messages with `pouch ledger retry work NUMBER`
    ");
    assert_eq!(output.stderr.lines().count(), 3, "{output}");
    desk.fetch(0).assert_silent();
    desk.server.add("one-more", corpus::sized(41, 3_000));
    assert_snapshot!(desk.fetch(0).stderr_text(), @"
    pouch: work: message 41 (3.0 KB) is larger than max-size (2KB); left on the server
    hint: run `pouch ledger retry work 41` to fetch it, or raise `max-size`
    ");
}

#[test]
fn clock_set_back_deletes_nothing_early() {
    let desk = Desk::with(2, "keep = \"30d\"", |server| server);
    desk.fetch_at(100, 0);
    desk.fetch_at(0, 0);
    desk.fetch_at(129, 0);
    assert_eq!(desk.server.remaining(), 2);
    desk.fetch_at(130, 0);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn clock_that_was_ahead_deletes_nothing_early() {
    let desk = Desk::with(1, "keep = \"30d\"", |server| server);
    desk.fetch_at(365, 0);
    desk.server.add("uid-2", corpus::message(2));
    for day in [0, 1, 29] {
        desk.fetch_at(day, 0);
        assert_eq!(desk.server.uids(), ["uid-1", "uid-2"], "on day {day}");
    }
    for day in [30, 394] {
        desk.fetch_at(day, 0);
        assert_eq!(desk.server.uids(), ["uid-1"], "on day {day}");
    }
    desk.fetch_at(395, 0);
    assert_eq!(desk.server.remaining(), 0);
    desk.assert_arrived(1..=2);
}

#[test]
fn failed_message_replaces_no_delivered_one() {
    let left = |desk: &Desk| desk.server.uids().join(" ");
    let desk = Desk::with(3, "keep-newest = 3\nattempts = 2", |server| server);
    desk.fetch(0);
    // The fourth message fails, so the first one stays.
    desk.server.add("uid-4", corpus::message(4));
    desk.server.fault(on("RETR").uid("uid-4").refuse("-ERR no"));
    desk.fetch_at(1, 75);
    assert_eq!(left(&desk), "uid-1 uid-2 uid-3 uid-4");
    // It is quarantined, and then due: the plan and the run agree.
    desk.fetch_at(2, 65);
    desk.server.heal("uid-4");
    assert_eq!(
        fetch_as_foreseen(&desk, 4, &[]),
        Foreseen {
            fetched: 1,
            deleted: 0,
            left: 4
        }
    );
    // Once it has arrived, it counts.
    assert_eq!(
        fetch_as_foreseen(&desk, 5, &[]),
        Foreseen {
            fetched: 0,
            deleted: 1,
            left: 3
        }
    );
    assert_eq!(left(&desk), "uid-2 uid-3 uid-4");
}

#[test]
fn messages_beyond_the_limit_replace_no_delivered_one() {
    let desk = Desk::with(3, "keep-newest = 3\nlimit = 3", |server| server);
    desk.fetch(0);
    for n in 4..=10 {
        desk.server.add(corpus::uid(n), corpus::message(n));
    }
    assert_eq!(
        fetch_as_foreseen(&desk, 1, &["--limit", "1"]),
        Foreseen {
            fetched: 1,
            deleted: 1,
            left: 9
        }
    );
    desk.assert_arrived(1..=4);
}
