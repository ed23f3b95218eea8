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

/// A run that may have 64 MiB of data, and no more.
fn small(desk: &Desk, args: &[&str]) -> Run {
    desk.home.limited_pouch("-d 65536", args)
}

/// A server with these messages, numbered from 1.
fn serving(setup: Setup, messages: &[Vec<u8>]) -> Setup {
    (1..).zip(messages).fold(setup, |server, (n, message)| {
        server.message(corpus::uid(n), message)
    })
}

/// Asserts that each of these contents is in the Maildir, perhaps more than once.
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
fn answers_that_nobody_asked_for_are_answers_to_nothing() {
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
                // what looks like a message may be one, and what has come may come again
                assert_none_lost(&desk, &[1, 2, 3].map(corpus::message));
            } else {
                desk.assert_arrived(1..=3);
            }
        }
    }
}

/// The answer to RETR that has this message in it, none of whose lines begins with a dot.
fn answer(message: &[u8]) -> Vec<u8> {
    let lines = message
        .split_inclusive(|octet| *octet == b'\n')
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
fn an_answer_too_many_or_too_few_gives_no_message_to_another_for_good() {
    let alike = || (1..=10).map(|n| corpus::sized(n, 500)).collect::<Vec<_>>();
    let unlike = || (1..=10).map(corpus::message).collect::<Vec<_>>();
    let twice = answer(&corpus::sized(3, 500));
    for messages in [alike(), unlike()] {
        for fault in [
            on("RETR").nth(4).answer(""),
            on("RETR").nth(4).more(twice.clone()),
        ] {
            let desk = Desk::new(
                serving(Server::plain(), &messages).fault(fault),
                "keep = \"none\"",
            );
            // what came short at first is whole in the second run, and may go in the third
            for _ in 0..3 {
                desk.pouch(&["fetch"]).run();
            }
            assert_none_lost(&desk, &messages);
            assert_eq!(desk.server.remaining(), 0);
        }
    }
}

#[test]
fn an_answer_too_many_is_noticed_though_only_its_first_line_comes_at_once() {
    let messages: Vec<_> = (1..=10).map(|n| corpus::sized(n, 500)).collect();
    let twice = on("RETR").nth(4).more(answer(&messages[3]));
    // the last message was given to the one before it, and its own answer is one too many
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
fn a_server_that_cannot_do_nothing_gives_all_mail_and_is_emptied() {
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
fn connection_lost_at_the_last_sentinel_costs_a_session_and_no_message() {
    // LIST itself comes before the sentinels of ten messages
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
fn an_answer_too_few_gives_no_message_to_another_where_headers_cannot_be_compared() {
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
fn an_answer_too_few_is_noticed_where_the_message_after_it_has_the_same_size() {
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
fn an_answer_too_few_is_not_forgotten_where_the_run_is_killed_before_it_is_noticed() {
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
    // two batches are there: the ledger heard of the first one
    wait_for_change(&[&new], || std::fs::read_dir(&new).unwrap().count() >= 256);
    child.kill();
    desk.server.wait_for(|log| log.open() == 0);
    // nor by a run that never comes to the server
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
fn an_answer_too_few_is_not_forgotten_where_the_next_session_shows_nothing() {
    let messages: Vec<_> = (1..=10).map(|n| corpus::sized(n, 500)).collect();
    let setup = serving(Server::plain(), &messages)
        .fault(on("RETR").nth(4).answer(""))
        // the second one is sent after the messages
        .fault(on("STAT").nth(3).answer("+OK 0 0\r\n"));
    let desk = Desk::new(setup, "keep = \"none\"");
    for _ in 0..3 {
        desk.pouch(&["fetch"]).run();
    }
    assert_none_lost(&desk, &messages);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn an_answer_too_few_is_noticed_where_the_server_logs_out_in_its_place() {
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
fn an_answer_too_few_is_not_forgotten_where_the_disk_fails_right_after_it() {
    let messages: Vec<_> = (1..=10).map(|n| corpus::sized(n, 500)).collect();
    let setup = serving(Server::plain(), &messages);
    let desk = Desk::new(setup.fault(on("RETR").nth(4).answer("")), "keep = \"none\"");
    let new = desk.home.make_dir("Mail/work/new", 0o700);
    for part in ["tmp", "cur"] {
        desk.home.make_dir(format!("Mail/work/{part}"), 0o700);
    }
    // the messages can be seen by then, and the ledger does not hear of them
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
    // the three before the lost response
    assert_eq!((desk.mail().len(), desk.server.remaining()), (3, 10));
    for _ in 0..2 {
        desk.pouch(&["fetch"]).run();
    }
    assert_none_lost(&desk, &messages);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn a_signal_while_a_lost_answer_is_waited_for_gives_no_message_to_another_for_good() {
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
fn a_message_that_the_server_ends_early_does_not_stop_the_others() {
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
    // it may be all there is, and is not all that was listed
    assert_eq!(desk.server.uids(), ["uid-4"]);
}

#[test]
fn a_server_that_refuses_everything_loses_nothing() {
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
fn what_comes_drop_by_drop_is_given_up() {
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
fn memory_stays_small() {
    let long = [&b"Subject: long\n\n"[..], &vec![b'x'; 100_000_000], b"\n"].concat();
    let nul = [&b"Subject: nul\n\n"[..], &vec![0; 1_000_000], b"\n"].concat();
    let bare = [&b"Subject: bare\n\n"[..], &b"\r".repeat(1_000_000), b"\n"].concat();
    let header = [&b"Subject: "[..], &vec![b'y'; 5_000_000], b"\n\nhi\n"].concat();
    let messages = [long, nul, bare, header];
    let setup = serving(Server::plain(), &messages);
    let desk = Desk::new(setup, "timeout = \"20s\"");
    small(&desk, &["fetch"]).run().assert_code(0);
    assert_none_lost(&desk, &messages);
    // five megabytes of header, and all of the hundred where TOP gives too much
    let whole = desk.server.log().count("RETR");
    desk.configure("timeout = \"20s\"\nquirks = [\"no-uidl\"]");
    small(&desk, &["fetch"]).run().assert_code(0);
    assert_eq!(desk.server.log().count("RETR"), whole);
}

#[test]
fn the_largest_listing_fits_into_little_memory() {
    const MESSAGES: usize = 200_000;
    let lines = |line: &dyn Fn(usize) -> String| (1..=MESSAGES).map(line).collect::<String>();
    let desk = Desk::with(3, "limit = 1\ntimeout = \"20s\"", |server| {
        server
            .without("PIPELINING")
            .fault(on("STAT").answer(format!("+OK {MESSAGES} 1\r\n")))
            .fault(on("LIST").body(lines(&|n| format!("{n} 300\r\n"))))
            .fault(on("UIDL").body(lines(&|n| format!("{n} {n:032x}\r\n"))))
    });
    assert_snapshot!(small(&desk, &["plan"]).run().assert_code(0).stdout_text(), @"
    work: 200000 messages on the server, 0 known
      fetch      1     300 B   new; kept on the server
      leave  199999             over the limit of 1 per run
    ");
    for arrived in 1..=2 {
        small(&desk, &["fetch"]).run().assert_code(0);
        assert_eq!(desk.mail().len(), arrived);
    }
    assert_snapshot!(small(&desk, &["plan"]).run().assert_code(0).stdout_text(), @"
    work: 200000 messages on the server, 200000 known
      fetch      1     300 B   new; kept on the server
      keep       2             fetched before
      leave  199997             over the limit of 1 per run
    ");
    let desk = Desk::with(3, "", |server| {
        server.fault(on("STAT").answer("+OK 200001 1\r\n"))
    });
    let told = desk.fetch(69);
    assert_snapshot!(told.stderr_text(), @"
    pouch: work: the mailbox on 127.0.0.1 has 200001 messages
      pouch supports at most 200000 messages per mailbox
    hint: delete or archive some messages with another client first
    ");
}

#[test]
fn many_messages_that_share_uids_and_come_back_are_joined_in_no_time() {
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
    // listed, gone, and listed again: each pair is distinguished again
    for (arrived, code) in [(1, 0), (1, 69), (2, 0)] {
        desk.pouch(&["fetch"])
            .within(Duration::from_mins(1))
            .run()
            .assert_code(code);
        assert_eq!(desk.mail().len(), arrived);
    }
}

/// Nothing that a terminal acts on.
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
fn what_strangers_write_does_nothing_to_the_terminal() {
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
    // the notice tells of the message, and is a mail
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
fn dots_are_unstuffed_wherever_the_octets_are_cut() {
    // dots, line ends and the end of the message around 64 KiB, the size of the buffer
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
fn certificates_name_the_host_that_was_asked_for() {
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
            "[account.work]\nhost = \"{host}\"\nport = {}\nuser = \"ann\"\npassword-file = \"~/password\"\nretries = 0\n\
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
      IP address mismatch
    hint: set `host` to a name the certificate is issued for
    [exit code: 77]
    === WithoutIntermediate localhost
    $ pouch fetch
    ------- stderr -------
    pouch: work: the certificate of localhost is not trusted
      unable to get local issuer certificate
    hint: set `tls-ca-file` to its authority, or verify the certificate that `pouch check` shows and set `tls-pin` to it
    [exit code: 77]
    === NameInCommonName localhost
    $ pouch fetch
    ------- stderr -------
    pouch: work: the certificate is not for localhost
      hostname mismatch
    hint: set `host` to a name the certificate is issued for
    [exit code: 77]
    ");
}
