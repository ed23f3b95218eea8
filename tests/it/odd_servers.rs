//! Responses that no RFC describes, but that real servers send.

use crate::{
    fixture::Desk,
    server::{Fault, Setup, on, on_connect},
};

/// Creates an account with three messages on a server with these faults.
fn desk(faults: impl IntoIterator<Item = Fault>) -> Desk {
    Desk::with(3, "retries = 0", |server| {
        faults.into_iter().fold(server, Setup::fault)
    })
}

#[test]
fn stat_without_a_usable_size_counts_the_messages() {
    for stat in [
        "+OK 3 -2147480000",
        "+OK 3",
        "+OK 3 messages (670 octets)",
        "+OK 3 99999999999999999999999",
    ] {
        let desk = desk([on("STAT").refuse(stat)]);
        desk.fetch(0).assert_silent();
        desk.assert_arrived(1..=3);
        desk.fetch(0).assert_silent();
        assert_eq!(desk.retrieved(), 3, "{stat}");
    }
}

#[test]
fn stat_without_a_size_still_checks_deletions() {
    let desk = Desk::with(3, "retries = 0\nkeep = \"none\"", |server| {
        server
            .without("PIPELINING")
            .fault(on("STAT").nth(1).refuse("+OK 3"))
            .fault(on("STAT").nth(2).refuse("+OK 0"))
    });
    desk.fetch(0).assert_silent();
    desk.assert_arrived(1..=3);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn sizes_that_cannot_be_parsed_are_unknown() {
    for list in [
        "+OK\r\n1\r\n2 x\r\n3 99999999999999999999\r\n.\r\n",
        "+OK\r\n.\r\n",
        "+OK 3 messages\r\n1 -5\r\n2 -5\r\n3 -5\r\n.\r\n",
    ] {
        let desk = desk([on("LIST").nth(1).answer(list)]);
        desk.fetch(0).assert_silent();
        desk.assert_arrived(1..=3);
    }
}

#[test]
fn message_without_a_parsable_uid_is_known_by_its_header() {
    let uidl = "+OK\r\n1 uid-1\r\nabc def\r\n3 uid-3\r\n.\r\n";
    let desk = desk([on("UIDL").times(2).answer(uidl)]);
    desk.fetch(0).assert_silent();
    desk.assert_arrived(1..=3);
    desk.fetch(0);
    desk.fetch(0);
    assert_eq!(desk.retrieved(), 3);
}

#[test]
fn listing_without_the_messages_is_reported_with_the_servers_line() {
    let desk = desk([
        on("LIST").times(1).answer("+OK\r\n1 100\r\nfoo\r\n.\r\n"),
        on("UIDL")
            .times(1)
            .answer("+OK\r\n1 uid-1\r\nabc def\r\n.\r\n"),
    ]);
    let output = desk.fetch(69);
    output.assert_stderr("127.0.0.1 has 3 messages, but lists 1");
    output.assert_stderr("127.0.0.1 said: foo");
    desk.assert_arrived([1]);
    desk.fetch(0).assert_silent();
    desk.assert_arrived(1..=3);
}

#[test]
fn empty_listing_of_a_full_mailbox_is_reported() {
    let desk = desk([
        on("LIST").times(1).answer("+OK\r\n.\r\n"),
        on("UIDL").times(1).answer("+OK\r\n.\r\n"),
    ]);
    desk.fetch(69)
        .assert_stderr("127.0.0.1 has 3 messages, but lists none");
    desk.assert_arrived([]);
    desk.fetch(0).assert_silent();
    desk.assert_arrived(1..=3);
}

#[test]
fn temporarily_refused_listing_is_transient() {
    for command in ["STAT", "LIST", "UIDL"] {
        for text in [
            "-ERR [SYS/TEMP] disk",
            "-ERR [IN-USE] maildrop",
            "-ERR please try again",
            "-ERR mailbox locked",
            "-ERR server busy",
        ] {
            let desk = desk([on(command).times(2).refuse(text)]);
            desk.fetch(75).assert_silent();
            desk.fetch_at(1, 75).assert_stderr(text);
            desk.fetch_at(1, 0).assert_silent();
            desk.assert_arrived(1..=3);
        }
    }
}

#[test]
fn refused_uidl_is_transient_on_a_server_that_has_had_it() {
    // UIDL is announced.
    let announced = desk([on("UIDL").times(1).refuse("-ERR internal error")]);
    announced.fetch(75).assert_silent();
    announced.fetch(0).assert_silent();
    announced.assert_arrived(1..=3);
    // UIDL worked in an earlier run.
    let used = Desk::with(3, "retries = 0", |server| {
        server
            .without("CAPA")
            .fault(on("UIDL").nth(2).refuse("-ERR internal error"))
    });
    used.fetch(0).assert_silent();
    used.fetch(75).assert_silent();
    used.fetch(0).assert_silent();
    used.assert_arrived(1..=3);
    // UIDL never worked.
    let never = Desk::with(3, "retries = 0", |server| {
        server.without("CAPA").without("UIDL")
    });
    never.fetch(69).assert_stderr("no-uidl");
}

#[test]
fn nonsense_after_a_greeting_is_not_blamed_on_the_port() {
    for (command, text) in [
        ("USER", "+ERR Server error: cannot open mailbox"),
        ("PASS", "+ERR Server error: cannot open mailbox"),
        ("USER", ""),
        ("PASS", ""),
        ("CAPA", "hello"),
    ] {
        let desk = Desk::with(3, "retries = 0\nauth = \"user\"", |server| {
            server.fault(on(command).times(2).refuse(text))
        });
        let output = desk.pouch(&["fetch", "-v"]).run();
        output.assert_code(75);
        output.assert_stderr("unexpected response from 127.0.0.1");
        assert!(!output.stderr.contains("995"), "{output}");
        desk.fetch(75).assert_silent();
        desk.fetch(0).assert_silent();
        desk.assert_arrived(1..=3);
    }
}

#[test]
fn nonsense_in_response_to_stat_is_transient() {
    for text in ["+ERR Server error", "", "+OK mailbox ready"] {
        let desk = desk([on("STAT").refuse(text)]);
        desk.fetch(75).assert_silent();
        let output = desk.fetch_at(1, 75);
        output.assert_stderr("unexpected response from 127.0.0.1");
        assert!(!output.stderr.contains("995"), "{output}");
    }
}

/// Returns the number of connections of a run that fails with status `code`, because the server
/// responds to STAT like this.
fn connections(stat: &str, lines: &str, pipelining: bool, code: i32) -> usize {
    let desk = Desk::with(3, lines, |server| {
        let server = if pipelining {
            server
        } else {
            server.without("PIPELINING")
        };
        server.fault(on("STAT").refuse(stat))
    });
    desk.fetch(code);
    desk.server.log().connections()
}

#[test]
fn failing_stat_is_retried_as_often_as_configured() {
    for text in ["+ERR Server error", "", "+OK mailbox ready"] {
        assert_eq!(connections(text, "retries = 0", false, 75), 1, "{text}");
        // once more without pipelining, which may be the reason
        assert_eq!(connections(text, "retries = 0", true, 75), 2, "{text}");
        assert_eq!(connections(text, "retries = 1", false, 75), 2, "{text}");
    }
    for (text, code) in [
        ("-ERR no", 69),
        ("-ERR [SYS/TEMP] later", 75),
        ("-ERR [IN-USE] locked", 75),
    ] {
        assert_eq!(connections(text, "retries = 2", true, code), 1, "{text}");
    }
}

#[test]
fn server_that_ends_lines_with_a_bare_lf_is_understood() {
    let message = "From: a@example.org\nSubject: bare\n\n..dot\n.\u{2e}\n";
    let desk = Desk::with(0, "retries = 0", |server| {
        server
            .without("CAPA")
            .fault(on_connect().answer("+OK ready\n"))
            .fault(on("CAPA").answer("-ERR unknown\n"))
            .fault(on("USER").answer("+OK\n").done())
            .fault(on("PASS").answer("+OK\n").done())
            .fault(on("STAT").answer("+OK 2 100\n"))
            .fault(on("LIST").answer("+OK\n1 47\n2 22\n.\n"))
            .fault(on("UIDL").answer("+OK\n1 one\n2 two\n.\n"))
            .fault(on("RETR 1").answer(format!("+OK\n{message}.\n")))
            .fault(on("RETR 2").answer("+OK\nSubject: crlf\r\n\r\ntwo\r\n.\n"))
            .fault(on("QUIT").answer("+OK\n").done())
    });
    desk.fetch(0).assert_silent();
    desk.mail()
        .assert_exactly(&[
            "From: a@example.org\nSubject: bare\n\n.dot\n.\n",
            "Subject: crlf\n\ntwo\n",
        ])
        .assert_tidy();
}

#[test]
fn bare_lf_ends_no_message_of_a_server_that_uses_crlf() {
    let desk = Desk::with(1, "retries = 0\ntimeout = \"1s\"", |server| {
        server
            .fault(on("LIST").nth(1).answer("+OK\r\n1 20\r\n.\r\n"))
            .fault(
                on("RETR")
                    .answer("+OK\r\nSubject: x\r\n\r\na\n.\nb\r\n.\r\n")
                    .times(1),
            )
    });
    desk.fetch(0).assert_silent();
    desk.mail().assert_exactly(&["Subject: x\n\na\n.\nb\n"]);
}

#[test]
fn empty_mailbox_needs_no_complete_listing() {
    let desk = Desk::with(0, "retries = 0", |server| {
        server
            .fault(on("LIST").answer("+OK\r\n"))
            .fault(on("UIDL").answer("+OK\r\n"))
    });
    desk.fetch(0).assert_silent();
}
