//! Nothing is deleted before it is durably delivered, and a failed deletion is repeated.

use insta::assert_snapshot;

use super::{Foreseen, fetch_as_foreseen, foresee};
#[cfg(feature = "system-tests")]
use crate::fixture::NOW;
use crate::{
    fixture::Desk,
    server::{Server, SessionLog, corpus, on},
};

/// Returns the index of the first such command in a session.
fn place(session: &SessionLog, command: &str) -> Option<usize> {
    session.commands.iter().position(|line| line == command)
}

#[test]
fn each_message_is_requested_before_its_deletion() {
    for pipelining in [true, false] {
        let desk = Desk::with(140, "keep = \"none\"", |server| {
            if pipelining {
                server
            } else {
                server.without("PIPELINING")
            }
        });
        desk.fetch(0);
        let log = desk.server.log();
        let session = log.sessions.last().unwrap();
        let last = (1..=140)
            .map(|n| place(session, &format!("RETR {n}")).unwrap())
            .max();
        for n in 1..=140 {
            assert!(place(session, &format!("DELE {n}")) > last, "{n}");
        }
        assert_eq!(desk.server.remaining(), 0);
    }
}

#[test]
fn all_messages_are_delivered_before_the_first_deletion() {
    let desk = Desk::with(140, "keep = \"none\"\ntimeout = \"60s\"", |server| {
        server.fault(on("DELE").nth(1).silence())
    });
    let mut child = desk.pouch(&["fetch"]).spawn();
    desk.server.wait_for(|log| log.count("DELE") > 0);
    desk.assert_arrived(1..=140);
    child.kill();
    child.wait();
    assert_eq!(desk.server.remaining(), 140);
    desk.fetch(0);
    desk.assert_arrived(1..=140);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn deletions_that_quit_did_not_confirm_are_repeated() {
    for (fault, left) in [
        (
            on("QUIT")
                .nth(1)
                .refuse("-ERR some deleted messages not removed"),
            3,
        ),
        (on("QUIT").nth(1).cut(), 3),
        (on("QUIT").nth(1).silence(), 3),
        (on("QUIT").nth(1).done().cut(), 0),
    ] {
        let shown = format!("{fault:?}");
        let desk = Desk::with(3, "keep = \"none\"", |server| server.fault(fault));
        desk.fetch(75).assert_silent();
        assert_eq!(desk.server.remaining(), left, "{shown}");
        assert_eq!(
            foresee(&desk, 0, &[]),
            Foreseen {
                fetched: 0,
                deleted: left,
                left: 0
            }
        );
        desk.fetch(0).assert_silent();
        desk.assert_arrived(1..=3);
        assert_eq!(
            (desk.server.remaining(), desk.retrieved()),
            (0, 3),
            "{shown}"
        );
    }
}

#[test]
fn refused_deletion_is_reported_with_v_and_stops_no_other() {
    let desk = Desk::with(3, "keep = \"none\"", |server| {
        server.fault(on("DELE").uid("uid-2").refuse("-ERR it is \x1b[31mpinned"))
    });
    let output = desk.pouch(&["fetch", "-v"]).run();
    assert_snapshot!(output.assert_code(75).stderr_text(), @"
    work: logged in at 127.0.0.1:PORT
    work: 3 listed, 3 to fetch
    pouch: work: 127.0.0.1 failed to delete 1 message
      message 2: 127.0.0.1 said: -ERR it is �[31mpinned; next try 2026-11-24
    hint: run `pouch plan -v work` to see what is left on the server
    work   3 new (1.2 KB) to ~/Mail/work; 2 deleted
    ");
    assert_eq!(desk.server.uids(), ["uid-2"]);
    desk.server.heal_all();
    desk.fetch_at(1, 0);
    assert_eq!((desk.server.remaining(), desk.retrieved()), (0, 3));
}

#[test]
fn message_that_the_server_did_not_delete_is_deleted_later() {
    let desk = Desk::with(3, "keep = \"none\"", |server| server);
    desk.server.stick("uid-2");
    desk.fetch(75);
    assert_eq!(desk.server.uids(), ["uid-2"]);
    desk.server.heal("uid-2");
    desk.fetch(0);
    assert_eq!((desk.server.remaining(), desk.retrieved()), (0, 3));
}

#[cfg(feature = "system-tests")]
#[test]
fn plan_does_not_list_deliveries_of_a_killed_run_as_new() {
    let desk = Desk::with(3, "keep = \"none\"", |server| server);
    let inject = "inject=linkat:signal=KILL:when=2";
    let strace = [
        "-f",
        "-qq",
        "-o",
        "calls",
        "-e",
        "trace=linkat",
        "-e",
        inject,
        env!("CARGO_BIN_EXE_pouch"),
        "fetch",
    ];
    desk.home
        .system_command("strace", &strace)
        .env("POUCH_NOW", NOW.to_string())
        .run()
        .assert_code(128 + 9);
    assert_eq!(desk.mail().len(), 2);
    desk.server.wait_for(|log| log.open() == 0);
    assert_eq!(
        fetch_as_foreseen(&desk, 0, &[]),
        Foreseen {
            fetched: 1,
            deleted: 3,
            left: 0
        }
    );
    desk.assert_arrived(1..=3);
}

#[test]
fn failed_message_is_not_deleted_with_the_others() {
    let desk = Desk::with(4, "keep = \"none\"", |server| {
        server
            .fault(on("RETR").uid("uid-2").refuse("-ERR damaged"))
            .fault(on("RETR").uid("uid-3").short(200))
    });
    desk.fetch(75);
    for day in 0..9 {
        desk.at(day, &["fetch"]).run();
        assert_eq!(desk.server.uids(), ["uid-2", "uid-3"], "day {day}");
    }
    assert_eq!(desk.server.log().count("DELE"), 2);
}

#[test]
fn empty_listing_changes_nothing() {
    for (commands, code) in [(&["STAT", "LIST", "UIDL"][..], 0), (&["STAT"], 0)] {
        let desk = Desk::with(6, "keep = \"30d\"", |server| server);
        desk.fetch(0);
        for command in commands {
            let fault = on(command).nth(1);
            desk.server.fault(if *command == "STAT" {
                fault.answer("+OK 0 0\r\n")
            } else {
                fault.lines(0)
            });
        }
        desk.fetch_at(1, code).assert_silent();
        assert_eq!(
            fetch_as_foreseen(&desk, 29, &[]),
            Foreseen {
                fetched: 0,
                deleted: 0,
                left: 6
            }
        );
        assert_eq!(
            fetch_as_foreseen(&desk, 30, &[]),
            Foreseen {
                fetched: 0,
                deleted: 6,
                left: 0
            }
        );
        assert_eq!(desk.retrieved(), 6);
    }
}

#[test]
fn stat_with_more_messages_than_the_listing_is_tolerated() {
    let desk = Desk::with(3, "keep = \"none\"", |server| {
        server.fault(on("STAT").answer("+OK 5 9999\r\n"))
    });
    assert_eq!(
        fetch_as_foreseen(&desk, 0, &[]),
        Foreseen {
            fetched: 3,
            deleted: 3,
            left: 0
        }
    );
    desk.assert_arrived(1..=3);
}

#[test]
fn invalid_listed_size_is_tolerated() {
    let desk = Desk::new(Server::plain().messages(corpus::messages(3)), "");
    desk.server.list_as("uid-2", 0);
    desk.fetch(0);
    desk.assert_arrived(1..=3);
    desk.server.heal("uid-2");
    desk.fetch(0).assert_silent();
    assert_eq!(desk.retrieved(), 3);
}

#[test]
fn refused_deletion_is_reported_after_a_day() {
    let desk = Desk::with(3, "keep = \"none\"", |server| {
        server.fault(on("DELE").uid("uid-2").refuse("-ERR [SYS/TEMP] no"))
    });
    desk.fetch(75).assert_silent();
    assert_snapshot!(desk.fetch_at(1, 75).stderr_text(), @"
    pouch: work: 127.0.0.1 refused to delete 1 message
      127.0.0.1 said: -ERR [SYS/TEMP] no
      the next run will try again
    ");
    desk.fetch_at(1, 75).assert_silent();
}
