//! Servers, lines and logins that fail: a clear word, the right exit code, and nothing lost.

use std::{fs, time::Duration};

use crate::{
    desk::Desk,
    server::{Certificate, Fault, Server, Setup, corpus, on, on_connect},
    tool::Home,
};

/// Fetches with everything shown.
#[track_caller]
fn told(desk: &Desk, code: i32, text: &str) -> String {
    let output = desk.pouch(&["fetch", "-v"]).run();
    output.assert_code(code).assert_stderr(text);
    assert!(
        !output.stderr.contains("secret\n") && !output.stderr.contains('\x1b'),
        "{output}"
    );
    output.stderr
}

#[test]
fn hosts_that_are_not_there() {
    let home = Home::new();
    home.write("password", "secret\n", 0o600);
    for (host, port, code, text) in [
        ("no-such-host.invalid", 995, 68, "no-such-host.invalid"),
        (
            "127.0.0.1",
            1,
            69,
            "127.0.0.1 refused the connection on port 1",
        ),
    ] {
        home.config(&format!(
            "[account.work]\nhost = \"{host}\"\nport = {port}\nuser = \"ann\"\npassword-file = \"~/password\"\nmaildir = \"~/Mail\"\nretries = 0\n"
        ));
        home.pouch(&["fetch", "-v"])
            .run()
            .assert_code(code)
            .assert_stderr(text);
    }
}

#[test]
fn refused_connection_is_reported_after_a_day() {
    let desk = Desk::with(1, "", |server| server);
    let config = |port: u16| {
        desk.home.config(&format!(
            "[account.work]\nhost = \"127.0.0.1\"\nport = {port}\nuser = \"ann\"\ntls = \"off\"\n\
             allow-plaintext-password = true\npassword-file = \"~/password\"\n\
             maildir = \"~/Mail/work\"\nretries = 0\n"
        ));
    };
    config(1);
    desk.fetch(69).assert_silent();
    // a server that restarts fails in several ways
    config(desk.server.port());
    desk.server
        .fault(on_connect().answer("-ERR starting\r\n").cut());
    desk.fetch(75).assert_silent();
    config(1);
    desk.fetch_at(1, 69)
        .assert_stderr("127.0.0.1 refused the connection on port 1");
    desk.fetch_at(1, 69).assert_silent();
    config(desk.server.port());
    desk.server.heal_all();
    desk.fetch_at(2, 0).assert_silent();
    desk.assert_arrived([1]);
}

#[cfg(feature = "system-tests")]
#[test]
fn resolver_without_network_is_a_temporary_failure() {
    let home = Home::new();
    home.write("password", "secret\n", 0o600);
    home.config(
        "[account.work]\nhost = \"pop.example.org\"\nuser = \"ann\"\npassword-file = \"~/password\"\nmaildir = \"~/Mail\"\nretries = 0\n",
    );
    let pouch = env!("CARGO_BIN_EXE_pouch");
    // a network namespace of its own: nothing in it can be reached
    home.system_command("unshare", &["-n", pouch, "fetch", "-v"])
        .run()
        .assert_code(68)
        .assert_stderr("temporary failure resolving pop.example.org");
}

#[test]
fn servers_that_do_not_greet() {
    type Case = (fn(Setup) -> Setup, i32, &'static str);
    let cases: [Case; 6] = [
        (
            |server| server.fault(on_connect().silence()),
            75,
            "hint: a port that waits for TLS is silent too: 995 is",
        ),
        (
            |server| server.fault(on_connect().cut()),
            75,
            "closed the connection",
        ),
        (
            |server| server.fault(on_connect().answer("220 smtp.example.org ESMTP\r\n")),
            76,
            "what 127.0.0.1 says is not POP3",
        ),
        (
            |server| server.fault(on_connect().answer("-ERR [SYS/TEMP] later\r\n").cut()),
            75,
            "does not take the connection",
        ),
        (
            |server| server.fault(on_connect().answer("+OK \x1b[31mhello\r\n").cut()),
            75,
            "closed the connection",
        ),
        (
            |server| server.fault(on_connect().answer("+OK ").forever("x")),
            76,
            "a line without an end",
        ),
    ];
    for (fault, code, text) in cases {
        let desk = Desk::with(1, "retries = 0", fault);
        told(&desk, code, text);
        // a person is needed for what does not pass by itself
        let quiet = desk.pouch(&["fetch"]).run();
        quiet.assert_code(code);
        assert!(quiet.stderr.is_empty(), "{quiet}");
    }
}

#[test]
fn a_refused_password_is_sent_once_and_told_at_once() {
    for text in [
        "-ERR [AUTH] Invalid credentials",
        "-ERR Authentication failed.",
    ] {
        // a server that announces its codes means a wrong password only where it says so (RFC 3206)
        let desk = Desk::with(1, "auth = \"user\"", |server| {
            server
                .without("AUTH-RESP-CODE")
                .fault(on("PASS").refuse(text))
        });
        let output = desk.pouch(&["fetch"]).run();
        output
            .assert_code(77)
            .assert_stderr(&format!("127.0.0.1 said: {text}"));
        output
            .assert_stderr("hint: see what ")
            .assert_stderr("then run `pouch check work`");
        assert_eq!(desk.server.log().count("PASS"), 1);
        // the same trouble is not told every five minutes
        desk.pouch(&["fetch"]).run().assert_code(77).assert_silent();
        desk.at(1, &["fetch"])
            .run()
            .assert_code(77)
            .assert_stderr("said");
    }
}

#[test]
fn a_busy_mailbox_says_nothing_until_it_has_lasted_a_day() {
    for text in [
        "-ERR [IN-USE] locked",
        "-ERR [LOGIN-DELAY] wait",
        "-ERR [SYS/TEMP] later",
    ] {
        let desk = Desk::with(1, "auth = \"user\"\nretries = 0", |server| {
            server.fault(on("PASS").refuse(text))
        });
        desk.fetch(75).assert_silent();
        desk.fetch_at(1, 75).assert_stderr(text);
        desk.fetch_at(1, 75).assert_silent();
        desk.server.heal_all();
        desk.fetch_at(2, 0).assert_silent();
        desk.assert_arrived([1]);
    }
}

#[test]
fn logins_that_end_strangely() {
    let desk = Desk::with(1, "auth = \"user\"\nretries = 1", |server| {
        server.fault(on("PASS").cut())
    });
    told(&desk, 75, "closed the connection at the login");
    assert_eq!(desk.server.log().count("PASS"), 2);
    let desk = Desk::with(1, "auth = \"user\"\nretries = 0", |server| {
        server.fault(on("PASS").more("-ERR [SYS/TEMP] Internal error\r\n").cut())
    });
    told(&desk, 75, "[SYS/TEMP] Internal error");
}

#[test]
fn every_way_to_log_in_works() {
    for (lines, setup) in [
        ("", "SASL"),
        ("auth = \"user\"", "SASL"),
        ("auth = \"plain\"", "SASL"),
        ("", "CAPA"),
        ("", "PIPELINING"),
        ("", "TOP"),
        ("", "INITIAL"),
    ] {
        let desk = Desk::with(3, lines, |server| {
            if setup == "SASL" {
                server
            } else {
                server.without(setup)
            }
        });
        desk.fetch(0);
        desk.assert_arrived(1..=3);
    }
    // an initial response of more than 255 octets goes in a line of its own (RFC 5034)
    let long = "x".repeat(300);
    let desk = Desk::new(
        Server::plain()
            .user("ann", &long)
            .messages(corpus::messages(1)),
        "auth = \"plain\"",
    );
    desk.home.write("password", &long, 0o600);
    desk.fetch(0);
    assert!(
        desk.server
            .log()
            .commands()
            .any(|command| command == "AUTH PLAIN")
    );
}

#[test]
fn a_server_that_loses_commands_sent_ahead_is_fetched_one_by_one() {
    let desk = Desk::with(10, "", |server| {
        server
            .fault(on("STAT").honest().forget())
            .fault(on("RETR").honest().forget())
    });
    desk.fetch(0);
    desk.assert_arrived(1..=10);
}

#[test]
fn octets_that_come_one_by_one_are_the_same_octets() {
    let desk = Desk::with(5, "", Setup::octet_by_octet);
    desk.fetch(0);
    desk.assert_arrived(1..=5);
}

#[test]
fn nobody_waits_for_a_good_bye_that_proves_nothing() {
    // the harness waits for a minute
    let desk = Desk::with(3, "timeout = \"10m\"", |server| {
        server.fault(on("QUIT").silence())
    });
    desk.fetch(0);
    desk.fetch(0);
    desk.assert_arrived(1..=3);
}

#[test]
fn new_mail_takes_five_turns_and_nobody_waits_for_the_last() {
    // sizes tell nothing where all are alike: that nothing was lost is known by the STAT behind
    // them
    let alike = |server: Setup| {
        (1..=50).fold(server, |server, n| {
            server.message(format!("uid-{n}"), corpus::sized(n, 2_000))
        })
    };
    let desk = Desk::new(
        alike(Server::plain()).fault(on("QUIT").silence()),
        "timeout = \"10m\"",
    );
    desk.fetch(0);
    assert_eq!(desk.mail().len(), 50);
    // CAPA, AUTH with its response, CAPA STAT LIST UIDL together, RETR … STAT, QUIT
    assert_eq!(desk.server.log().turns(), 5);
}

#[test]
fn a_poll_with_nothing_new_takes_four_turns() {
    let desk = Desk::with(50, "", |server| server);
    desk.fetch(0);
    // pouch does not wait for the end of a session, in which the last turn is counted
    let turns = || desk.server.wait_for(|log| log.open() == 0).turns();
    let before = turns();
    desk.fetch(0);
    // CAPA, AUTH with its response, CAPA STAT LIST UIDL together, QUIT
    assert_eq!(turns() - before, 4);
}

cases! { nothing_endless_fills_the_memory:
    list(on("LIST").forever("1 1\r\n")),
    uidl(on("UIDL").forever("1 x\r\n")),
    line(on("UIDL").answer("+OK\r\n1 ").forever("x")),
    capabilities(on("CAPA").answer("+OK\r\n").forever("XX\r\n")),
}

fn nothing_endless_fills_the_memory(fault: Fault) {
    let desk = Desk::with(3, "retries = 0", |server| server.fault(fault));
    // 64 MiB of data, at most
    desk.home
        .limited_pouch("-d 65536", &["fetch"])
        .within(Duration::from_secs(30))
        .run()
        .assert_code(76);
}

#[test]
fn a_message_without_an_end_is_given_up_and_the_others_arrive() {
    let desk = Desk::with(3, "timeout = \"20s\"", |server| {
        server.fault(
            on("RETR")
                .uid("uid-2")
                .head()
                .forever("the same line again and again\r\n".repeat(2_000)),
        )
    });
    desk.pouch(&["fetch", "-v"])
        .run()
        .assert_code(75)
        .assert_stderr("endless message from");
    desk.assert_arrived([1, 3]);
}

/// An account on a server that speaks TLS, with these lines.
fn secure(setup: Setup, lines: &str) -> Desk {
    let desk = Desk {
        home: Home::new(),
        server: setup.messages(corpus::messages(2)).start(),
    };
    desk.home.write("password", "secret\n", 0o600);
    let ca = desk.server.ca_file(desk.home.path());
    let lines = lines
        .replace("CA", &format!("tls-ca-file = \"{}\"", ca.display()))
        .replace("SHA", desk.server.sha256());
    let timeout = if lines.contains("timeout = ") {
        ""
    } else {
        "timeout = \"2s\"\n"
    };
    desk.home.config(&format!(
        "[account.work]\nhost = \"localhost\"\nport = {}\nuser = \"ann\"\npassword-file = \"~/password\"\n{timeout}retries = 0\n\
         maildir = \"~/Mail/work\"\n{lines}\n",
        desk.server.port()
    ));
    desk
}

#[test]
fn good_certificates_are_good() {
    for (setup, lines) in [
        (Server::implicit_tls(), "CA"),
        (Server::starttls(), "CA\ntls = \"starttls\""),
        (Server::implicit_tls(), "tls-pin = \"sha256:SHA\""),
        (
            Server::implicit_tls().certificate(Certificate::SelfSigned),
            "tls-pin = \"sha256:SHA\"",
        ),
    ] {
        let desk = secure(setup, lines);
        desk.fetch(0);
        desk.assert_arrived(1..=2);
        assert!(desk.server.log().sessions.iter().all(|session| {
            session.commands[..session.in_clear]
                .iter()
                .all(|line| !line.contains("PASS") && !line.contains("AUTH"))
        }));
    }
}

#[test]
fn a_message_cut_under_tls_is_cut_though_tls_may_say_that_all_is_well() {
    for fault in [
        on("RETR").uid("uid-1").octets(150).cut(),
        on("RETR").uid("uid-1").octets(150).close(),
    ] {
        for (setup, tls) in [
            (Server::implicit_tls(), "implicit"),
            (Server::starttls(), "starttls"),
        ] {
            let desk = secure(
                setup.fault(fault.clone()),
                &format!("CA\ntls = \"{tls}\"\nkeep = \"none\""),
            );
            desk.fetch(75).assert_silent();
            desk.assert_arrived([2]);
            assert_eq!(desk.server.uids(), ["uid-1"], "{fault:?}");
            desk.server.heal("uid-1");
            desk.fetch(0).assert_silent();
            desk.assert_arrived([1, 2]);
            assert_eq!(desk.server.remaining(), 0);
        }
    }
}

#[test]
fn bad_certificates_are_not_and_no_password_is_sent() {
    for (certificate, lines, text) in [
        (
            Certificate::Good,
            "",
            "the certificate of localhost is not trusted",
        ),
        (
            Certificate::Expired,
            "CA",
            "the certificate of localhost has expired",
        ),
        (
            Certificate::WrongHost,
            "CA",
            "the certificate is not for localhost",
        ),
        (
            Certificate::OtherAuthority,
            "CA",
            "the certificate of localhost is not trusted",
        ),
        (
            Certificate::SelfSigned,
            "",
            "the certificate of localhost is not trusted",
        ),
        (
            Certificate::Good,
            "tls-pin = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"",
            "the certificate of localhost does not match `tls-pin`",
        ),
    ] {
        let desk = secure(Server::implicit_tls().certificate(certificate), lines);
        let output = desk.pouch(&["fetch"]).run();
        output
            .assert_code(77)
            .assert_stderr(text)
            .assert_stderr("hint: ");
        assert_eq!(desk.server.log().commands().count(), 0);
        let check = desk.pouch(&["check"]).run();
        check
            .assert_code(77)
            .assert_stdout("  tls      failed")
            .assert_stderr(desk.server.sha256());
    }
}

#[test]
fn files_that_tls_needs_are_told_of_by_their_keys() {
    let client = "tls-client-cert = \"~/cert.pem\"\ntls-client-key = \"~/key.pem\"";
    for (lines, text) in [
        (
            "tls-ca-file = \"~/missing.pem\"",
            "hint: check the path in `tls-ca-file`",
        ),
        (
            "tls-ca-file = \"~/cert.pem\"",
            "hint: `tls-ca-file` is a PEM file",
        ),
        (client, "hint: check the path in `tls-client-key`"),
    ] {
        let desk = secure(Server::implicit_tls(), lines);
        desk.home.write("cert.pem", "no certificate\n", 0o600);
        desk.pouch(&["fetch"])
            .run()
            .assert_code(78)
            .assert_stderr(text);
    }
}

#[test]
fn stls_is_never_gone_without() {
    for (setup, code, text) in [
        (
            Server::starttls().without("STLS"),
            69,
            "said: -ERR unknown command",
        ),
        (
            Server::starttls().fault(on("STLS").refuse("-ERR no")),
            69,
            "said: -ERR no",
        ),
        (
            Server::starttls().fault(on("STLS").refuse("-ERR [SYS/TEMP] later")),
            75,
            "does not begin TLS now",
        ),
        (
            Server::starttls().fault(on("STLS").close()),
            75,
            "hint: most servers have TLS on port 995",
        ),
        (
            Server::starttls().fault(on("STLS").more("+OK injected\r\n")),
            77,
            "somebody meddles with the line",
        ),
    ] {
        let desk = secure(setup, "CA\ntls = \"starttls\"");
        let output = desk.pouch(&["fetch", "-v"]).run();
        output.assert_code(code).assert_stderr(text);
        let log = desk.server.log();
        assert_eq!(log.count("USER") + log.count("AUTH") + log.count("PASS"), 0);
    }
    // the port of implicit TLS waits for the client to begin it
    let desk = secure(
        Server::implicit_tls(),
        "CA\ntls = \"starttls\"\ntimeout = \"1s\"",
    );
    let output = desk.pouch(&["fetch", "-v"]).run();
    output
        .assert_code(75)
        .assert_stderr("said nothing for too long")
        .assert_stderr("is for tls = \"implicit\"");
    let desk = secure(Server::plain(), "");
    desk.pouch(&["fetch"])
        .run()
        .assert_code(76)
        .assert_stderr("does not speak TLS on this port");
}

#[test]
fn no_secret_is_ever_shown() {
    let desk = Desk::with(2, "", |server| server.user("ann", "open sesame"));
    desk.home.write("password", "open sesame\n", 0o600);
    for args in [
        &["fetch", "-vv"][..],
        &["check", "-vv"],
        &["fetch", "--json"],
        &["config", "show"],
        &["status", "--json"],
    ] {
        let output = desk.pouch(args).run();
        output.assert_code(0);
        for secret in ["open sesame", "b3BlbiBzZXNhbWU", "AGFubgBvcGVuIHNlc2FtZQ"] {
            assert!(!output.to_string().contains(secret), "{output}");
        }
    }
    let wrong = Desk::with(2, "", |server| server);
    wrong.home.write("password", "open sesame\n", 0o600);
    let output = wrong.pouch(&["fetch", "-vv"]).run();
    output.assert_code(77);
    assert!(!output.to_string().contains("open sesame"));
    for extension in ["db", "db-wal"] {
        let file = wrong.ledger().with_extension(extension);
        let octets = fs::read(&file).unwrap_or_default();
        assert!(
            !octets.windows(11).any(|window| window == b"open sesame"),
            "{}",
            file.display()
        );
    }
}

#[test]
fn a_password_that_the_server_repeats_is_not_shown() {
    for fault in [
        on("AUTH").more("-ERR [SYS/TEMP] no secret\r\n"),
        on("STAT").refuse("+OK secret"),
        on("STAT").refuse("-ERR secret"),
    ] {
        let desk = Desk::with(1, "retries = 0", |server| server.fault(fault));
        let output = desk.pouch(&["fetch", "-vv"]).run();
        assert!(
            output.code != 0 && output.stderr.contains("***"),
            "{output}"
        );
        assert!(!output.stderr.contains("secret"), "{output}");
    }
}
