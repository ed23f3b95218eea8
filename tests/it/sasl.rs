//! Logging in by SASL mechanisms other than PLAIN, and by APOP.

use insta::assert_snapshot;

use crate::{
    fixture::Desk,
    server::{ScramFault, Server, Setup, corpus, on, on_connect, on_response},
    support::run::Output,
};

/// All mechanisms for passwords.
const ALL: &str = "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256";

/// One message on a server with these mechanisms.
fn desk(mechanisms: &str, lines: &str, more: impl FnOnce(Setup) -> Setup) -> Desk {
    Desk::with(1, lines, |server| more(server.mechanisms(mechanisms)))
}

/// The same for an account that does not allow sending the password unencrypted.
fn strict(mechanisms: &str, lines: &str, more: impl FnOnce(Setup) -> Setup) -> Desk {
    let desk = desk(mechanisms, lines, more);
    let text = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    desk.home
        .config(&text.replace("allow-plaintext-password = true\n", ""));
    desk
}

/// Returns the login commands that the server received, without their arguments.
fn attempts(desk: &Desk) -> String {
    let log = desk.server.log();
    let commands = log.commands().filter_map(|line| {
        let mut words = line.split(' ');
        match words.next()? {
            "AUTH" => words.next().map(str::to_owned),
            word @ ("USER" | "APOP") => Some(word.to_owned()),
            _ => None,
        }
    });
    commands.collect::<Vec<_>>().join(" ")
}

/// Asserts that neither the output nor the commands have the password.
fn assert_unsent(desk: &Desk, output: &Output) {
    // "secret", and its three forms in base64
    for text in [&output.stdout, &output.stderr] {
        assert!(!text.contains("c2VjcmV0"), "{output}");
    }
    for line in desk.server.log().commands() {
        for part in ["secret", "c2VjcmV0", "NlY3JldA", "ZWNyZX"] {
            assert!(!line.contains(part), "{line}");
        }
    }
}

cases! { mechanism_logs_in:
    auto("auto", ALL, "SCRAM-SHA-256"),
    auto_without_sha_256("auto", "PLAIN SCRAM-SHA-1", "SCRAM-SHA-1"),
    auto_with_login("auto", "LOGIN", "LOGIN"),
    scram_sha_256("scram-sha-256", ALL, "SCRAM-SHA-256"),
    scram_sha_1("scram-sha-1", ALL, "SCRAM-SHA-1"),
    plain("plain", ALL, "PLAIN"),
    login("login", ALL, "LOGIN"),
    user("user", ALL, "USER"),
    cram_md5("cram-md5", ALL, "CRAM-MD5"),
}

fn mechanism_logs_in(auth: &str, offered: &str, expected: &str) {
    let desk = desk(offered, &format!("auth = \"{auth}\""), |server| server);
    desk.fetch(0).assert_silent();
    desk.assert_arrived([1]);
    assert_eq!(attempts(&desk), expected);
    let check = desk.pouch(&["check"]).run();
    let shown = if offered == expected {
        format!("login    ok    {expected}\n")
    } else {
        format!("login    ok    {expected}; the server offers {offered}\n")
    };
    check.assert_code(0).assert_stdout(&shown);
}

cases! { password_is_not_sent_without_permission:
    scram("auto", ALL, 0),
    cram_md5("cram-md5", ALL, 0),
    apop("apop", ALL, 0),
    stripped("auto", "PLAIN LOGIN", 69),
    nothing("auto", "", 69),
}

fn password_is_not_sent_without_permission(auth: &str, offered: &str, code: i32) {
    let greeting = "+OK ready <1896.697170952@pop.example.org>\r\n";
    let desk = strict(offered, &format!("auth = \"{auth}\""), |server| {
        server.fault(on_connect().answer(greeting))
    });
    let output = desk.pouch(&["fetch", "-vv"]).run();
    output.assert_code(code);
    assert_unsent(&desk, &output);
}

#[test]
fn stripped_capabilities_are_reported() {
    let desk = strict("PLAIN LOGIN", "", |server| server);
    assert_snapshot!(desk.fetch(69).stderr_text(), @r#"
    pouch: work: 127.0.0.1 offers no login that protects the password without TLS
    hint: set `tls` to "implicit" or "starttls"; on a trusted network, add `allow-plaintext-password = true`
    "#);
    assert_eq!(attempts(&desk), "");
}

#[test]
fn no_downgrade_follows_a_refusal_without_permission() {
    let desk = strict(ALL, "", |server| server.scram(ScramFault::Refused));
    let output = desk.fetch(77);
    assert_unsent(&desk, &output);
    assert_eq!(attempts(&desk), "SCRAM-SHA-256 SCRAM-SHA-1");
    assert_snapshot!(output.stderr_text(), @"
    pouch: work: 127.0.0.1 rejected the password
      127.0.0.1 said: -ERR [AUTH] invalid user or password
      the password may be right: it cannot be used with SCRAM-SHA-1 if the server has stored it as another hash
    hint: check the password in ~/password, then run `pouch check work`
    ");
}

// a user whose hash SCRAM cannot use

#[test]
fn fallback_is_remembered() {
    let desk = desk(ALL, "", |server| server.scram(ScramFault::Refused));
    desk.fetch(0).assert_silent();
    desk.assert_arrived([1]);
    assert_eq!(attempts(&desk), "SCRAM-SHA-256 PLAIN");
    assert_eq!(desk.server.log().connections(), 1);
    let next = |days: i64, expected: &str| {
        let before = attempts(&desk);
        desk.fetch_at(days, 0).assert_silent();
        assert_eq!(attempts(&desk)[before.len()..].trim(), expected, "{days}");
    };
    next(1, "PLAIN");
    next(29, "PLAIN");
    next(30, "SCRAM-SHA-256 PLAIN");
    next(59, "PLAIN");
    // the clock was set back
    next(0, "SCRAM-SHA-256 PLAIN");
}

#[test]
fn every_command_uses_the_remembered_mechanism() {
    let desk = desk(ALL, "", |server| server.scram(ScramFault::Refused));
    desk.pouch(&["check"]).run().assert_code(0);
    assert_eq!(attempts(&desk), "SCRAM-SHA-256 PLAIN");
    for args in [
        &["check"][..],
        &["plan"],
        &["ledger", "catchup", "work"],
        &["fetch"],
    ] {
        let before = attempts(&desk);
        desk.pouch(args).run().assert_code(0);
        assert_eq!(attempts(&desk)[before.len()..].trim(), "PLAIN", "{args:?}");
    }
}

#[test]
fn fallback_is_forgotten_when_it_is_refused() {
    let desk = desk(ALL, "", |server| server.scram(ScramFault::Refused));
    desk.fetch(0);
    desk.server
        .fault(on("AUTH PLAIN").refuse("-ERR [AUTH] no").times(1));
    desk.fetch(77);
    assert_eq!(attempts(&desk), "SCRAM-SHA-256 PLAIN PLAIN");
    desk.fetch_at(1, 0);
    assert_eq!(
        attempts(&desk),
        "SCRAM-SHA-256 PLAIN PLAIN SCRAM-SHA-256 PLAIN"
    );
}

#[test]
fn transient_refusal_of_scram_has_no_fallback() {
    let fault = on("AUTH SCRAM-SHA-256").refuse("-ERR [SYS/TEMP] no");
    let desk = desk(ALL, "retries = 0", |server| server.fault(fault));
    desk.fetch(75).assert_silent();
    assert_eq!(attempts(&desk), "SCRAM-SHA-256");
}

#[test]
fn configured_scram_has_no_fallback() {
    let desk = desk(ALL, "auth = \"scram-sha-256\"", |server| {
        server.scram(ScramFault::Refused)
    });
    let output = desk.fetch(77);
    assert_unsent(&desk, &output);
    assert_snapshot!(output.stderr_text(), @"
    pouch: work: 127.0.0.1 rejected the password
      127.0.0.1 said: -ERR [AUTH] invalid user or password
      the password may be right: it cannot be used with SCRAM-SHA-256 if the server has stored it as another hash
    hint: check the password in ~/password, then run `pouch check work`
    ");
}

// a wrong password

#[test]
fn wrong_password_is_tried_once() {
    for auth in ["auto", "scram-sha-1", "login", "cram-md5"] {
        let desk = desk(ALL, &format!("auth = \"{auth}\"\nretries = 3"), |server| {
            server
        });
        desk.home.write("password", "other\n", 0o600);
        let output = desk.fetch(77);
        output.assert_stderr("rejected the password");
        assert_eq!(attempts(&desk).split(' ').count(), 1, "{auth}");
        desk.fetch(77).assert_silent();
        assert_eq!(desk.server.log().connections(), 1);
    }
}

// a server that does not know the password, or attacks the client

cases! { server_that_breaks_scram_gets_nothing_more:
    wrong_signature(ScramFault::WrongSignature, 77),
    no_signature(ScramFault::NoSignature, 77),
    foreign_nonce(ScramFault::ForeignNonce, 76),
    one_iteration(ScramFault::Iterations(1), 76),
    too_few_iterations(ScramFault::Iterations(4095), 76),
    too_many_iterations(ScramFault::Iterations(1_000_000_000), 76),
}

fn server_that_breaks_scram_gets_nothing_more(fault: ScramFault, code: i32) {
    let desk = desk(ALL, "retries = 3", |server| server.scram(fault));
    let output = desk.fetch(code);
    assert_unsent(&desk, &output);
    assert_eq!(attempts(&desk), "SCRAM-SHA-256");
    desk.assert_arrived([]);
}

#[test]
fn broken_scram_exchange_is_reported() {
    let mut shown = String::new();
    for fault in [
        ScramFault::WrongSignature,
        ScramFault::ForeignNonce,
        ScramFault::Iterations(1),
        ScramFault::Iterations(1_000_000_000),
    ] {
        let desk = desk(ALL, "", |server| server.scram(fault));
        shown.push_str(
            &desk
                .fetch(if fault == ScramFault::WrongSignature {
                    77
                } else {
                    76
                })
                .stderr_text(),
        );
    }
    assert_snapshot!(shown, @"
    pouch: work: 127.0.0.1 did not prove that it knows the password
      its SCRAM-SHA-256 signature is wrong or missing
    hint: check `host` and `port`: this may be another server
    pouch: work: 127.0.0.1 sent an invalid challenge for SCRAM-SHA-256
      its nonce does not begin with that of pouch
    pouch: work: 127.0.0.1 sent an invalid challenge for SCRAM-SHA-256
      its iteration count is 1, pouch accepts 4096 to 1000000
    pouch: work: 127.0.0.1 sent an invalid challenge for SCRAM-SHA-256
      its iteration count is 1000000000, pouch accepts 4096 to 1000000
    ");
}

#[test]
fn low_iteration_count_is_accepted_with_tls() {
    let setup = Server::implicit_tls()
        .messages(corpus::messages(1))
        .mechanisms(ALL)
        .scram(ScramFault::Iterations(1));
    let desk = Desk::new(setup, "");
    let text = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    let ca = desk.server.ca_file(desk.home.path());
    let tls = format!("tls-ca-file = \"{}\"\n", ca.display());
    desk.home
        .config(&text.replace("tls = \"off\"\nallow-plaintext-password = true\n", &tls));
    desk.fetch(0).assert_silent();
    assert_eq!(attempts(&desk), "SCRAM-SHA-256");
}

// passwords that servers may hash differently

#[test]
fn ambiguous_password_is_sent_if_it_may_be() {
    for password in ["gru\u{308}n".as_bytes(), b"gr\xfcn"] {
        let desk = desk(ALL, "", |server| server.user("ann", password));
        desk.home.write("password", password, 0o600);
        desk.fetch(0).assert_silent();
        assert_eq!(attempts(&desk), "PLAIN");
    }
    let desk = strict(ALL, "", |server| server.user("ann", "grün"));
    desk.home.write("password", "gru\u{308}n", 0o600);
    desk.fetch(0).assert_silent();
    assert_eq!(attempts(&desk), "SCRAM-SHA-256");
}

// mechanisms that the server does not have

#[test]
fn configured_mechanism_that_is_missing_is_reported() {
    let mut shown = String::new();
    for auth in ["scram-sha-256", "cram-md5", "apop", "plain"] {
        let desk = desk("LOGIN", &format!("auth = \"{auth}\""), |server| {
            server
                .fault(on("AUTH PLAIN").refuse("-ERR [AUTH] Unsupported authentication mechanism."))
        });
        shown.push_str(&desk.fetch(69).stderr_text());
    }
    assert_snapshot!(shown, @"
    pouch: work: 127.0.0.1 does not offer SCRAM-SHA-256
      it offers LOGIN
      127.0.0.1 said: -ERR [AUTH] Unsupported authentication mechanism.
    pouch: work: 127.0.0.1 does not offer CRAM-MD5
      it offers LOGIN
      127.0.0.1 said: -ERR [AUTH] Unsupported authentication mechanism.
    pouch: work: 127.0.0.1 does not offer APOP
      its greeting has no time stamp such as <1896.697170952@example.org>
    pouch: work: 127.0.0.1 does not offer PLAIN
      it offers LOGIN
      127.0.0.1 said: -ERR [AUTH] Unsupported authentication mechanism.
    ");
}

#[test]
fn server_with_only_unused_mechanisms_is_reported() {
    let mut shown = String::new();
    for offered in ["CRAM-MD5 DIGEST-MD5", "XOAUTH2", "GSSAPI NTLM"] {
        let known = ["UIDL", &format!("SASL {offered}")];
        let desk = Desk::with(1, "", |server| server.capabilities(&known, &known));
        shown.push_str(&desk.fetch(69).stderr_text());
        assert_eq!(attempts(&desk), "");
    }
    assert_snapshot!(shown, @r#"
    pouch: work: 127.0.0.1 offers no mechanism that pouch uses by default: CRAM-MD5, DIGEST-MD5
    hint: set auth = "cram-md5", or ask the server's operator to enable SCRAM-SHA-256
    pouch: work: 127.0.0.1 offers no mechanism that pouch uses by default: XOAUTH2
    hint: the server accepts access tokens: set `token-command`
    pouch: work: 127.0.0.1 offers no mechanism that pouch uses by default: GSSAPI, NTLM
    hint: for Exchange, run DavMail on this machine, and set `host` and `port` to it
    "#);
}

// APOP

#[test]
fn apop_needs_a_time_stamp_in_the_greeting() {
    for (greeting, code) in [
        ("+OK <1896.697170952@pop.example.org> ready\r\n", 0),
        ("+OK <\x01@pop.example.org>\r\n", 69),
        ("+OK ready\r\n", 69),
    ] {
        let desk = strict(ALL, "auth = \"apop\"", |server| {
            server.fault(on_connect().answer(greeting))
        });
        desk.fetch(code);
        assert_eq!(attempts(&desk), if code == 0 { "APOP" } else { "" });
    }
}

// the trace

#[test]
fn trace_shows_the_mechanism_without_secrets() {
    let desk = desk(ALL, "", |server| server);
    let output = desk.pouch(&["fetch", "-vv"]).run();
    output
        .assert_stderr("work: C: AUTH SCRAM-SHA-256 ***\n")
        .assert_stderr("work: S: + ***\nwork: C: ***\nwork: S: + ***\nwork: C: \n");
    assert_unsent(&desk, &output);
}

#[test]
fn repeated_responses_are_hidden() {
    for (auth, number) in [("login", 2), ("cram-md5", 1)] {
        let lines = format!("auth = \"{auth}\"");
        let first = desk(ALL, &lines, |server| server);
        first.fetch(0);
        let log = first.server.log();
        let mut responses = log.commands().skip_while(|line| !line.starts_with("AUTH"));
        let sent = responses.nth(number).unwrap().to_owned();
        let refusal = format!("-ERR [AUTH] {sent} is wrong");
        let other = desk(ALL, &lines, |server| {
            server.fault(on_response().nth(number).refuse(&refusal))
        });
        let output = other.pouch(&["fetch", "-vv"]).run();
        output
            .assert_code(77)
            .assert_stderr("work: S: -ERR [AUTH] *** is wrong\n");
        assert!(!output.stderr.contains(&sent), "{output}");
    }
}
