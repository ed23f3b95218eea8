//! Messages that the server fails to delete: the others are deleted without them.

use crate::{
    fixture::Desk,
    server::{Fault, Setup, on},
};

/// Five messages that are not kept, on a server with these faults.
fn desk(faults: impl IntoIterator<Item = Fault>) -> Desk {
    Desk::with(5, "keep = \"none\"", |server| {
        faults.into_iter().fold(server, Setup::fault)
    })
}

#[test]
fn dele_that_ends_the_session_is_retried_last_alone_and_later() {
    for fault in [
        on("DELE").uid("uid-3").cut(),
        on("DELE").uid("uid-3").refuse(""),
        on("DELE").uid("uid-3").answer("+ERR Server error\r\n"),
        on("DELE").uid("uid-3").silence(),
    ] {
        let desk = desk([fault]);
        let output = desk.fetch(75);
        desk.assert_arrived(1..=5);
        assert_eq!(desk.server.uids(), ["uid-3"]);
        let text = output.stderr_text();
        assert!(
            text.starts_with("pouch: work: 127.0.0.1 failed to delete 1 message"),
            "{text}"
        );
        assert!(text.contains("message 3: "), "{text}");
        // not requested again before the next day
        let sessions = desk.server.log().connections();
        desk.fetch(0).assert_silent();
        assert_eq!(desk.server.log().connections(), sessions + 1);
        desk.server.heal("uid-3");
        desk.fetch_at(1, 0).assert_silent();
        assert_eq!(desk.server.remaining(), 0);
        assert_eq!(desk.retrieved(), 5);
    }
}

#[test]
fn dele_that_is_answered_before_the_session_ends_is_the_suspect() {
    for (answer, sessions) in [("-ERR go away\r\n", 3), ("+OK\r\n", 5)] {
        let desk = desk([on("DELE").uid("uid-2").answer(answer).cut()]);
        desk.fetch(75).assert_stderr("message 2: ");
        desk.assert_arrived(1..=5);
        assert_eq!(desk.server.uids(), ["uid-2"]);
        assert_eq!(desk.server.log().connections(), sessions, "{answer}");
        desk.fetch(0).assert_silent();
    }
}

#[test]
fn connection_lost_once_at_dele_delays_no_deletion() {
    let desk = desk([on("DELE").nth(2).cut()]);
    desk.fetch(0).assert_silent();
    desk.assert_arrived(1..=5);
    assert_eq!((desk.server.remaining(), desk.retrieved()), (0, 5));
}

#[test]
fn refused_deletion_is_postponed_while_the_others_are_deleted() {
    let desk = desk([
        on("DELE").uid("uid-2").refuse("-ERR message is pinned"),
        on("DELE").uid("uid-4").refuse("-ERR no"),
    ]);
    insta::assert_snapshot!(desk.fetch(75).transcript(), @"
    $ pouch fetch
    ------- stderr -------
    pouch: work: 127.0.0.1 failed to delete 2 messages
      message 2: 127.0.0.1 said: -ERR message is pinned; next try 2026-11-24
      message 4: 127.0.0.1 said: -ERR no; next try 2026-11-24
    hint: run `pouch plan -v work` to see what is left on the server
    [exit code: 75]
    ");
    assert_eq!(desk.server.uids(), ["uid-2", "uid-4"]);
    let requested = desk.server.log().count("DELE");
    desk.fetch(0).assert_silent();
    assert_eq!(desk.server.log().count("DELE"), requested);
    insta::assert_snapshot!(desk.pouch(&["plan"]).run().transcript(), @"
    $ pouch plan
    work: 2 messages on the server, 2 known
      leave      2             the server failed to delete it; next try 2026-11-24
    ");
    // each of them in a session of its own, one day and then two days later
    desk.fetch_at(1, 75);
    desk.server.heal_all();
    desk.fetch_at(2, 0).assert_silent();
    assert_eq!(desk.server.remaining(), 2);
    desk.fetch_at(3, 0).assert_silent();
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn server_that_refuses_every_deletion_is_reported_and_no_message_is_postponed() {
    let desk = desk([on("DELE").refuse("-ERR read-only mailbox")]);
    insta::assert_snapshot!(desk.pouch(&["fetch", "-v"]).run().transcript(), @"
    $ pouch fetch -v
    ------- stderr -------
    work: logged in at 127.0.0.1:PORT
    work: 5 listed, 5 to fetch
    pouch: work: 127.0.0.1 refused to delete 5 messages
      127.0.0.1 said: -ERR read-only mailbox
      the next run will try again
    work   5 new (2.1 KB) to ~/Mail/work
    [exit code: 75]
    ");
    desk.server.heal_all();
    desk.fetch(0).assert_silent();
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn server_that_drops_every_deletion_is_asked_a_few_times_per_run() {
    let desk = desk([on("DELE").cut()]);
    desk.fetch(75);
    desk.assert_arrived(1..=5);
    let asked = desk.server.log().count("DELE");
    assert!(asked <= 10, "{asked}");
    desk.server.heal_all();
    desk.fetch(0).assert_silent();
    assert_eq!(desk.server.remaining(), 1);
    desk.fetch_at(1, 0).assert_silent();
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn several_suspects_are_found_in_one_run() {
    let desk = desk([on("DELE").uid("uid-1").cut(), on("DELE").uid("uid-4").cut()]);
    insta::assert_snapshot!(desk.fetch(75).transcript(), @"
    $ pouch fetch
    ------- stderr -------
    pouch: work: 127.0.0.1 failed to delete 2 messages
      message 4: 127.0.0.1 closed the connection; next try 2026-11-24
      message 1: 127.0.0.1 closed the connection; next try 2026-11-24
    hint: run `pouch plan -v work` to see what is left on the server
    [exit code: 75]
    ");
    assert_eq!(desk.server.uids(), ["uid-1", "uid-4"]);
}
