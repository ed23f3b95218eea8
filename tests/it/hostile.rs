//! Malicious or broken servers: no mail is lost or deleted unread, each run ends, memory stays
//! small, and no escape sequence reaches the terminal.

use std::{thread, time::Duration};

use insta::assert_snapshot;

#[cfg(feature = "system-tests")]
use crate::fixture::NOW;
use crate::{
    fixture::Desk,
    server::{Certificate, Fault, Server, Setup, corpus, on, on_connect},
    support::{
        Home,
        run::{Output, Run},
        watch::wait_for_change,
    },
};

/// Returns a run of pouch that is limited to 64 MiB of memory.
fn memory_limited(desk: &Desk, args: &[&str]) -> Run {
    desk.home.limited_pouch("-d 65536", args)
}

/// Adds messages to the server, with numbers from 1.
fn serving(setup: Setup, messages: &[Vec<u8>]) -> Setup {
    (1..).zip(messages).fold(setup, |server, (n, message)| {
        server.message(corpus::uid(n), message)
    })
}

/// Asserts that each of these messages is in the Maildir at least once.
#[track_caller]
fn assert_none_lost(desk: &Desk, messages: &[Vec<u8>]) {
    let mail = desk.mail();
    for (n, message) in messages.iter().enumerate() {
        let content = corpus::on_disk(message);
        assert!(
            mail.delivered().iter().any(|mail| mail.bytes == content),
            "message {} is lost",
            n + 1
        );
    }
}

#[test]
fn unexpected_responses_lose_no_message() {
    for extra in [
        "+OK and more\r\n",
        "+OK\r\nno\r\n.\r\n",
        "-ERR no\r\n",
        "what?\r\n",
        "\r\n",
    ] {
        for command in ["STAT", "LIST", "UIDL", "RETR", "RETR 3", "DELE", "DELE 3"] {
            let desk = Desk::with(3, "keep = \"none\"", |server| {
                server.fault(on(command).times(1).more(extra))
            });
            let mut runs = 0;
            while desk.server.remaining() > 0 && runs < 4 {
                desk.pouch(&["fetch"]).run();
                runs += 1;
            }
            println!("{command} {extra:?}");
            assert_eq!(desk.server.remaining(), 0);
            if command.starts_with("RETR") {
                // A response that looks like a message may be delivered, and messages may be
                // delivered twice.
                assert_none_lost(&desk, &[1, 2, 3].map(corpus::message));
            } else {
                desk.assert_arrived(1..=3);
            }
        }
    }
}

/// Returns the RETR response with this message, whose lines must not begin with a dot.
fn retr_response(message: &[u8]) -> Vec<u8> {
    let lines = message
        .split_inclusive(|byte| *byte == b'\n')
        .flat_map(|line| [line.trim_ascii_end(), b"\r\n"]);
    [b"+OK\r\n"]
        .into_iter()
        .map(|status| &status[..])
        .chain(lines)
        .chain([&b".\r\n"[..]])
        .collect::<Vec<_>>()
        .concat()
}

#[test]
fn duplicate_or_missing_response_loses_no_message() {
    let alike = || (1..=10).map(|n| corpus::sized(n, 500)).collect::<Vec<_>>();
    let unlike = || (1..=10).map(corpus::message).collect::<Vec<_>>();
    let twice = retr_response(&corpus::sized(3, 500));
    for messages in [alike(), unlike()] {
        for fault in [
            on("RETR").nth(4).answer(""),
            on("RETR").nth(4).more(twice.clone()),
        ] {
            let desk = Desk::new(
                serving(Server::plain(), &messages).fault(fault),
                "keep = \"none\"",
            );
            // A message that was truncated in the first run is complete in the second one, and may
            // be deleted in the third.
            for _ in 0..3 {
                desk.pouch(&["fetch"]).run();
            }
            assert_none_lost(&desk, &messages);
            assert_eq!(desk.server.remaining(), 0);
        }
    }
}

#[test]
fn missing_response_and_a_duplicate_of_another_deliver_each_message_once() {
    let messages: Vec<_> = (1..=8).map(|n| corpus::sized(n, 500)).collect();
    let response = |command: &str| {
        let (verb, n) = command.split_once(' ').unwrap();
        let message = retr_response(&messages[n.parse::<usize>().unwrap() - 1]);
        match verb {
            "RETR" => message,
            _ => format!("+OK {n} {}\r\n", message.len() - "+OK\r\n.\r\n".len()).into_bytes(),
        }
    };
    let commands = ["RETR 3", "LIST 3", "RETR 4", "LIST 4", "RETR 5", "LIST 5"];
    for missing in commands {
        for duplicate in commands.into_iter().filter(|command| *command != missing) {
            let desk = Desk::new(
                serving(Server::plain(), &messages)
                    .fault(on(missing).times(1).answer(""))
                    .fault(on(duplicate).times(1).more(response(duplicate))),
                "keep = \"none\"",
            );
            for _ in 0..3 {
                desk.pouch(&["fetch"]).run();
            }
            println!("without {missing}, {duplicate} twice");
            let content: Vec<_> = messages
                .iter()
                .map(|message| corpus::on_disk(message))
                .collect();
            desk.mail().assert_exactly(&content);
            assert_eq!(desk.server.remaining(), 0);
        }
    }
}

#[test]
fn duplicate_response_is_noticed_if_only_its_first_line_arrives() {
    let messages: Vec<_> = (1..=10).map(|n| corpus::sized(n, 500)).collect();
    let twice = on("RETR").nth(4).more(retr_response(&messages[3]));
    // With responses shifted by one, the response to the last request is in excess.
    let slow = on("RETR").nth(10).head().silence();
    let desk = Desk::new(
        serving(Server::plain(), &messages).fault(twice).fault(slow),
        "",
    );
    desk.pouch(&["fetch"]).run();
    desk.server.heal_all();
    desk.configure("keep = \"none\"");
    for _ in 0..2 {
        desk.fetch(0);
    }
    assert_none_lost(&desk, &messages);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn server_with_broken_noop_is_fetched_and_emptied() {
    let faults = [
        on("NOOP").refuse("-ERR what?"),
        on("NOOP").refuse("what?"),
        on("NOOP").refuse("+OK\r\n+OK"),
        on("NOOP").silence(),
        on("NOOP").close(),
    ];
    for fault in faults {
        let messages: Vec<_> = (1..=10).map(|n| corpus::sized(n, 500)).collect();
        let desk = Desk::new(serving(Server::plain(), &messages).fault(fault), "");
        desk.fetch(0).assert_silent();
        desk.server.renew_uids();
        desk.configure("keep = \"none\"");
        desk.fetch(0);
        assert_eq!(
            (desk.mail().len(), desk.retrieved(), desk.server.remaining()),
            (10, 10, 0)
        );
    }
}

#[test]
fn connection_lost_at_last_sentinel_loses_no_message() {
    // The listing is the first LIST, followed by the sentinels of ten messages.
    let last = || on("LIST").nth(11);
    let faults = [
        last().close(),
        last().silence(),
        last().refuse("-ERR idle").close(),
        last().refuse("+OK"),
        last().more("+OK\r\n"),
    ];
    for fault in faults {
        for lines in ["retries = 0", "retries = 0\nkeep = \"none\""] {
            let messages: Vec<_> = (1..=10).map(|n| corpus::sized(n, 500)).collect();
            let desk = Desk::new(
                serving(Server::plain(), &messages).fault(fault.clone()),
                lines,
            );
            desk.fetch(0).assert_silent();
            assert_none_lost(&desk, &messages);
            assert_eq!(desk.mail().len(), 10);
            assert!(desk.retrieved() <= 11, "{:?}", desk.server.log());
            assert_eq!(desk.server.remaining() == 0, lines.contains("none"));
        }
    }
}

#[test]
fn missing_response_without_top_loses_no_message() {
    let messages: Vec<_> = (1..=10).map(|n| corpus::sized(n, 500)).collect();
    for setup in [
        Server::plain().without("TOP"),
        Server::plain().fault(on("TOP").refuse("-ERR no")),
    ] {
        let desk = Desk::new(
            serving(setup, &messages).fault(on("RETR").nth(4).answer("")),
            "keep = \"none\"",
        );
        for _ in 0..3 {
            desk.pouch(&["fetch"]).run();
        }
        assert_none_lost(&desk, &messages);
        assert_eq!(desk.server.remaining(), 0);
    }
}

#[test]
fn missing_response_before_message_of_same_size_is_noticed() {
    let messages: Vec<_> = [500, 600, 700, 800, 900, 900]
        .iter()
        .zip(1..)
        .map(|(size, n)| corpus::sized(n, *size))
        .collect();
    let setup = serving(Server::plain(), &messages);
    let desk = Desk::new(setup.fault(on("RETR").nth(5).answer("")), "keep = \"none\"");
    for _ in 0..3 {
        desk.pouch(&["fetch"]).run();
    }
    assert_none_lost(&desk, &messages);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn missing_response_in_killed_run_loses_no_message() {
    let messages: Vec<_> = (1..=300).map(|n| corpus::sized(n, 500)).collect();
    let setup = serving(Server::plain(), &messages);
    let desk = Desk::new(
        setup.fault(on("RETR").nth(4).answer("")),
        "keep = \"none\"\ntimeout = \"60s\"",
    );
    let new = desk.home.make_dir("Mail/work/new", 0o700);
    for part in ["tmp", "cur"] {
        desk.home.make_dir(format!("Mail/work/{part}"), 0o700);
    }
    let mut child = desk.pouch(&["fetch"]).spawn();
    // Two batches are delivered, and the first one is recorded in the ledger.
    wait_for_change(&[&new], || std::fs::read_dir(&new).unwrap().count() >= 256);
    child.kill();
    desk.server.wait_for(|log| log.open() == 0);
    // The next run fails before it connects to the server.
    std::fs::remove_file(desk.home.join("password")).unwrap();
    desk.fetch(78);
    desk.home.write("password", "secret\n", 0o600);
    for _ in 0..2 {
        desk.fetch(0);
    }
    assert_none_lost(&desk, &messages);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn missing_response_before_empty_listing_loses_no_message() {
    let messages: Vec<_> = (1..=10).map(|n| corpus::sized(n, 500)).collect();
    let setup = serving(Server::plain(), &messages)
        .fault(on("RETR").nth(4).answer(""))
        // The second STAT is sent after the messages.
        .fault(on("STAT").nth(3).answer("+OK 0 0\r\n"));
    let desk = Desk::new(setup, "keep = \"none\"");
    for _ in 0..3 {
        desk.pouch(&["fetch"]).run();
    }
    assert_none_lost(&desk, &messages);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn missing_response_before_server_logout_loses_no_message() {
    let messages: Vec<_> = (1..=10).map(|n| corpus::sized(n, 500)).collect();
    for (lines, times) in [("", 1), ("keep = \"none\"", 1), ("keep = \"none\"", 2)] {
        let setup = serving(Server::plain(), &messages);
        let idle = on("RETR")
            .nth(10)
            .more("-ERR Disconnected for inactivity\r\n".repeat(times))
            .close();
        let desk = Desk::new(setup.fault(on("RETR").nth(4).answer("")).fault(idle), lines);
        for _ in 0..3 {
            desk.pouch(&["fetch"]).run();
        }
        assert_none_lost(&desk, &messages);
    }
}

#[cfg(feature = "system-tests")]
#[test]
fn missing_response_before_disk_failure_loses_no_message() {
    let messages: Vec<_> = (1..=10).map(|n| corpus::sized(n, 500)).collect();
    let setup = serving(Server::plain(), &messages);
    let desk = Desk::new(setup.fault(on("RETR").nth(4).answer("")), "keep = \"none\"");
    let new = desk.home.make_dir("Mail/work/new", 0o700);
    for part in ["tmp", "cur"] {
        desk.home.make_dir(format!("Mail/work/{part}"), 0o700);
    }
    // At this call the messages are visible, but not recorded in the ledger.
    let failing = [
        "-f",
        "-qq",
        "-o",
        "calls",
        "-P",
        new.to_str().unwrap(),
        "-e",
        "inject=fsync:error=EIO:when=1",
    ];
    let pouch = [env!("CARGO_BIN_EXE_pouch"), "fetch"];
    let failed = desk
        .home
        .system_command("strace", &[&failing[..], &pouch].concat())
        .env("POUCH_NOW", NOW.to_string())
        .run();
    failed.assert_code(74);
    // The three messages before the missing response were delivered.
    assert_eq!((desk.mail().len(), desk.server.remaining()), (3, 10));
    for _ in 0..2 {
        desk.pouch(&["fetch"]).run();
    }
    assert_none_lost(&desk, &messages);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn signal_while_waiting_for_missing_response_loses_no_message() {
    let messages: Vec<_> = (1..=10).map(|n| corpus::sized(n, 500)).collect();
    let setup = serving(Server::plain(), &messages).fault(on("RETR").nth(4).answer(""));
    let desk = Desk::new(setup, "keep = \"none\"\ntimeout = \"60s\"");
    let mut child = desk.pouch(&["fetch", "-vv"]).spawn();
    child.wait_for_times(" octets\n", 3);
    child.signal(15);
    child.wait().assert_code(128 + 15);
    for _ in 0..2 {
        desk.fetch(0);
    }
    assert_none_lost(&desk, &messages);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn unstuffed_dot_in_message_does_not_stop_the_others() {
    let desk = Desk::with(8, "keep = \"none\"", |server| {
        let unstuffed = "+OK\r\nSubject: a dot\r\n\r\nhello\r\n.\r\n-ERR, and more of it\r\n.\r\n";
        server.fault(on("RETR").uid("uid-4").answer(unstuffed))
    });
    desk.server.list_as("uid-4", 70);
    desk.pouch(&["fetch"]).run();
    let mail = desk.mail();
    for n in [1, 2, 3, 5, 6, 7, 8] {
        let content = corpus::on_disk(&corpus::message(n));
        assert_eq!(
            mail.delivered()
                .iter()
                .filter(|mail| mail.bytes == content)
                .count(),
            1,
            "message {n}"
        );
    }
    // The message is truncated, so it is not deleted.
    assert_eq!(desk.server.uids(), ["uid-4"]);
}

#[test]
fn refused_command_loses_no_message() {
    for (command, code) in [
        ("STAT", 69),
        ("LIST", 69),
        ("UIDL", 75),
        ("RETR", 75),
        ("DELE", 75),
        ("QUIT", 75),
    ] {
        let desk = Desk::with(3, "keep = \"none\"", |server| {
            server.fault(on(command).refuse("-ERR no"))
        });
        desk.fetch(code);
        desk.server.heal_all();
        desk.pouch(&["fetch"]).run().assert_code(0);
        desk.assert_arrived(1..=3);
        assert_eq!(desk.server.remaining(), 0);
    }
    let desk = Desk::with(3, "", |server| server.fault(on("").refuse("-ERR no")));
    assert_snapshot!(desk.fetch(77).stderr_text(), @"
    pouch: work: login refused by 127.0.0.1
      127.0.0.1 said: -ERR no
    hint: check the password in ~/password, then run `pouch check work`
    ");
}

#[test]
fn response_that_trickles_is_given_up() {
    let cases = [
        (on_connect().answer("+OK ").drip("x"), ""),
        (on("LIST").drip("1 500\r\n"), ""),
        (on("TOP").drip("Subject: x\r\n"), "quirks = [\"no-uidl\"]"),
        (on("RETR").uid("uid-2").drip("hello\r\n"), ""),
    ];
    thread::scope(|scope| {
        for (fault, lines) in cases {
            scope.spawn(move || {
                let desk = Desk::with(3, &format!("{lines}\nretries = 0"), |server| {
                    server.fault(fault.clone())
                });
                let output = desk
                    .pouch(&["fetch", "-v", "--limit", "3"])
                    .within(Duration::from_mins(3))
                    .run();
                output.assert_code(75).assert_stderr("is too slow");
                assert_eq!(desk.retrieved() == 0, desk.mail().len() == 0, "{output}");
                desk.server.heal_all();
                desk.fetch(0);
                desk.assert_arrived(1..=3);
            });
        }
    });
}

#[test]
fn huge_messages_need_little_memory() {
    let long = [&b"Subject: long\n\n"[..], &vec![b'x'; 100_000_000], b"\n"].concat();
    let nul = [&b"Subject: nul\n\n"[..], &vec![0; 1_000_000], b"\n"].concat();
    let bare = [&b"Subject: bare\n\n"[..], &b"\r".repeat(1_000_000), b"\n"].concat();
    let header = [&b"Subject: "[..], &vec![b'y'; 5_000_000], b"\n\nhi\n"].concat();
    let messages = [long, nul, bare, header];
    let setup = serving(Server::plain(), &messages);
    let desk = Desk::new(setup, "timeout = \"20s\"");
    memory_limited(&desk, &["fetch"]).run().assert_code(0);
    assert_none_lost(&desk, &messages);
    // TOP returns five megabytes of header for one of the messages.
    let whole = desk.server.log().count("RETR");
    desk.configure("timeout = \"20s\"\nquirks = [\"no-uidl\"]");
    memory_limited(&desk, &["fetch"]).run().assert_code(0);
    assert_eq!(desk.server.log().count("RETR"), whole);
}

#[test]
fn largest_listing_needs_little_memory() {
    const MESSAGES: usize = 200_000;
    let lines = |line: &dyn Fn(usize) -> String| (1..=MESSAGES).map(line).collect::<String>();
    let desk = Desk::with(3, "limit = 1\ntimeout = \"20s\"", |server| {
        server
            .without("PIPELINING")
            .fault(on("STAT").answer(format!("+OK {MESSAGES} 1\r\n")))
            .fault(on("LIST").body(lines(&|n| format!("{n} 300\r\n"))))
            .fault(on("UIDL").body(lines(&|n| format!("{n} {n:032x}\r\n"))))
    });
    assert_snapshot!(memory_limited(&desk, &["plan"]).run().assert_code(0).stdout_text(), @"
    work: 200000 messages on the server, 0 known
      fetch      1     300 B   new; kept on the server
      leave  199999             over the limit of 1 per run
    ");
    for arrived in 1..=2 {
        memory_limited(&desk, &["fetch"]).run().assert_code(0);
        assert_eq!(desk.mail().len(), arrived);
    }
    assert_snapshot!(memory_limited(&desk, &["plan"]).run().assert_code(0).stdout_text(), @"
    work: 200000 messages on the server, 200000 known
      fetch      1     300 B   new; kept on the server
      keep       2             fetched before
      leave  199997             over the limit of 1 per run
    ");
    let desk = Desk::with(3, "", |server| {
        server.fault(on("STAT").answer("+OK 200001 1\r\n"))
    });
    let output = desk.fetch(69);
    assert_snapshot!(output.stderr_text(), @"
    pouch: work: the mailbox on 127.0.0.1 has 200001 messages
      pouch supports at most 200000 messages per mailbox
    hint: delete or archive some messages with another client first
    ");
}

#[test]
fn many_shared_uids_are_reconciled_quickly() {
    const MESSAGES: usize = 60_000;
    let lines = |line: &dyn Fn(usize) -> String| (1..=MESSAGES).map(line).collect::<String>();
    let desk = Desk::with(3, "limit = 1\ntimeout = \"20s\"", |server| {
        server
            .without("PIPELINING")
            .fault(on("STAT").answer(format!("+OK {MESSAGES} 1\r\n")))
            .fault(on("LIST").nth(2).body(""))
            .fault(on("UIDL").nth(2).body(""))
            .fault(on("LIST").body(lines(&|n| format!("{n} 300\r\n"))))
            .fault(on("UIDL").body(lines(&|n| format!("{n} {:032x}\r\n", n / 2))))
    });
    // Listed, missing, and listed again: both messages of each UID are distinguished again.
    for (arrived, code) in [(1, 0), (1, 69), (2, 0)] {
        desk.pouch(&["fetch"])
            .within(Duration::from_mins(1))
            .run()
            .assert_code(code);
        assert_eq!(desk.mail().len(), arrived);
    }
}

/// Asserts that the output has no control sequence.
#[track_caller]
fn assert_harmless(output: &Output) {
    let bad = |text: &str| {
        text.chars()
            .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}')
    };
    assert!(
        !bad(&output.stdout) && !bad(&output.stderr),
        "{:?}\n{:?}",
        output.stdout,
        output.stderr
    );
}

#[test]
fn control_sequences_from_server_and_sender_are_replaced() {
    const EVIL: &str = "\x1b]0;owned\x07\x1b[2J\u{202e}\u{9b}31m";
    let evil = |status: &str| format!("{status} {EVIL}\r\n");
    let letter = format!(
        "From: \"{EVIL}\" <ben@example.org>\nSubject: {EVIL}\nMessage-ID: <{EVIL}>\n\nhi\n"
    );
    let uid = format!("../../{EVIL}$(reboot)`reboot`;'\"%s");
    let setup = |fault: Option<Fault>| {
        let setup = Server::plain()
            .capabilities(
                &["TOP", "UIDL", EVIL, "IMPLEMENTATION \x1b[31m"],
                &["TOP", "UIDL", EVIL, "EXPIRE \x1b[31m"],
            )
            .fault(on_connect().answer(evil("+OK")))
            .fault(on("STAT").answer(format!("+OK 2 900 {EVIL}\r\n")))
            .message(uid.clone(), &letter)
            .message("2", corpus::message(2));
        fault.into_iter().fold(setup, Setup::fault)
    };
    let refused = on("RETR").uid(uid.clone()).refuse(&format!("-ERR {EVIL}"));
    let desk = Desk::new(setup(Some(refused)), "attempts = 1");
    for args in [
        &["fetch", "-vv"][..],
        &["fetch", "--json"],
        &["check", "-vv"],
        &["plan"],
        &["status"],
        &["ledger", "list", "work", "--all"],
        &["ledger", "show", "work", "1"],
        &["ledger", "list", "work", "--all", "--json"],
    ] {
        let output = desk.pouch(args).run();
        assert_ne!(output.code, 70, "{output}");
        assert_harmless(&output);
    }
    // The notice has the subject of the message.
    let notices = desk.notices();
    assert_eq!(notices.len(), 1);
    assert!(!notices[0].contains(&0x1b), "{}", notices[0].escape_ascii());
    for command in [
        "CAPA", "AUTH", "USER", "PASS", "STAT", "LIST", "UIDL", "QUIT",
    ] {
        let desk = Desk::new(setup(Some(on(command).answer(evil("-ERR")))), "retries = 0");
        assert_harmless(&desk.pouch(&["fetch", "-vv"]).run());
        let desk = Desk::new(setup(Some(on(command).answer(evil("what")))), "retries = 0");
        assert_harmless(&desk.pouch(&["fetch", "-vv"]).run());
    }
}

#[test]
fn dots_are_unstuffed_across_all_read_boundaries() {
    // Dots, line endings and the end of the message are around 64 KiB, the size of the buffer.
    let around = |n: usize| {
        let mut message = [&b"Subject: dots\n\n"[..], &b"x".repeat(65_460 + 3 * n)].concat();
        message.extend_from_slice(b"\n.\n..\n\r.\n.\r.\n.\n");
        message
    };
    let messages: Vec<_> = (0..24).map(around).collect();
    for piece in [usize::MAX, 65_536, 65_535, 4_099, 13] {
        let setup = (1..)
            .zip(&messages)
            .fold(Server::plain().pieces(piece), |server, (n, message)| {
                server.message(corpus::uid(n), message)
            });
        let desk = Desk::new(setup, "keep = \"none\"\ntimeout = \"20s\"");
        desk.fetch(0);
        let expected: Vec<_> = messages
            .iter()
            .map(|message| corpus::on_disk(message))
            .collect();
        desk.mail().assert_exactly(&expected).assert_tidy();
        assert_eq!(desk.server.remaining(), 0);
    }
}

#[test]
fn certificate_must_name_the_configured_host() {
    let mut shown = String::new();
    for (certificate, host, code) in [
        (Certificate::Good, "127.0.0.1", 0),
        (Certificate::WithoutAddress, "localhost", 0),
        (Certificate::WithoutAddress, "127.0.0.1", 77),
        (Certificate::WithoutIntermediate, "localhost", 77),
        (Certificate::NameInCommonName, "localhost", 77),
    ] {
        let home = Home::new();
        let server = Server::implicit_tls()
            .certificate(certificate)
            .messages(corpus::messages(1))
            .start();
        home.write("password", "secret\n", 0o600);
        home.config(&format!(
            "[account.work]\nhost = \"{host}\"\nport = {}\nuser = \"ann\"\n\
             password-file = \"~/password\"\nretries = 0\n\
             maildir = \"~/Mail/work\"\ntls-ca-file = \"{}\"\n",
            server.port(),
            server.ca_file(home.path()).display()
        ));
        let output = home.pouch(&["fetch"]).run();
        let case = output
            .assert_code(code)
            .case(&format!("{certificate:?} {host}"));
        shown.push_str(&case);
        assert_eq!(server.log().commands().count() == 0, code != 0);
    }
    assert_snapshot!(shown, @"
    === Good 127.0.0.1
    $ pouch fetch
    === WithoutAddress localhost
    $ pouch fetch
    === WithoutAddress 127.0.0.1
    $ pouch fetch
    ------- stderr -------
    pouch: work: the certificate is not for 127.0.0.1
      OpenSSL: IP address mismatch
    hint: set `host` to a name the certificate is issued for; through a tunnel, set `tls-server-name` to it
    [exit code: 77]
    === WithoutIntermediate localhost
    $ pouch fetch
    ------- stderr -------
    pouch: work: the certificate of localhost is not trusted
      OpenSSL: unable to get local issuer certificate
    hint: set `tls-ca-file` to its authority, or verify the certificate that `pouch check` shows and set `tls-pin` to it
    [exit code: 77]
    === NameInCommonName localhost
    $ pouch fetch
    ------- stderr -------
    pouch: work: the certificate is not for localhost
      OpenSSL: hostname mismatch
    hint: set `host` to a name the certificate is issued for; through a tunnel, set `tls-server-name` to it
    [exit code: 77]
    ");
}
