//! Failing servers, connections and logins: a clear message, the right exit code, no mail lost.

use std::{fs, time::Duration};

use insta::assert_snapshot;

use crate::{
    fixture::Desk,
    server::{Certificate, Fault, Server, Setup, corpus, on, on_connect},
    support::{Home, run::Output},
};

/// Fetches with everything shown, which has to end with this code.
#[track_caller]
fn verbose(desk: &Desk, code: i32) -> Output {
    let output = desk.pouch(&["fetch", "-v"]).run();
    output.assert_code(code);
    assert!(
        !output.stderr.contains("secret\n") && !output.stderr.contains('\x1b'),
        "{output}"
    );
    output
}

#[test]
fn unreachable_hosts_are_reported() {
    let home = Home::new();
    home.write("password", "secret\n", 0o600);
    let mut shown = String::new();
    for (host, port, code) in [("no-such-host.invalid", 995, 68), ("127.0.0.1", 1, 69)] {
        home.config(&format!(
            "[account.work]\nhost = \"{host}\"\nport = {port}\nuser = \"ann\"\npassword-file = \"~/password\"\nmaildir = \"~/Mail\"\nretries = 0\n"
        ));
        let output = home.pouch(&["fetch", "-v"]).run();
        shown.push_str(&output.assert_code(code).case(host));
    }
    assert_snapshot!(shown, @r#"
    === no-such-host.invalid
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: host no-such-host.invalid not found
      resolver: Name or service not known
    hint: check `host` in the config
    work   nothing fetched
    [exit code: 68]
    === 127.0.0.1
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: 127.0.0.1 refused the connection on port 1
      127.0.0.1:1: Connection refused
    hint: check `host`, `port` and `tls`; 995 is for tls = "implicit", 110 for "starttls"
    work   nothing fetched
    [exit code: 69]
    "#);
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
    // A restarting server fails in several ways.
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
    // A separate network namespace, in which nothing can be reached.
    let output = home
        .system_command("unshare", &["-n", pouch, "fetch", "-v"])
        .run();
    output.assert_code(68);
    assert_snapshot!(output.stderr_text(), @"
    pouch: work: temporary failure resolving pop.example.org
      resolver: Temporary failure in name resolution
    work   nothing fetched
    ");
}

#[test]
fn missing_or_wrong_greetings_are_reported() {
    let cases = [
        ("silence", on_connect().silence(), 75),
        ("end of connection", on_connect().cut(), 75),
        (
            "SMTP",
            on_connect().answer("220 smtp.example.org ESMTP\r\n"),
            76,
        ),
        (
            "temporary failure",
            on_connect().answer("-ERR [SYS/TEMP] later\r\n").cut(),
            75,
        ),
        (
            "end after the greeting",
            on_connect().answer("+OK \x1b[31mhello\r\n").cut(),
            75,
        ),
        (
            "a line without an end",
            on_connect().answer("+OK ").forever("x"),
            76,
        ),
    ];
    let mut shown = String::new();
    for (what, fault, code) in cases {
        let desk = Desk::with(1, "retries = 0", |server| server.fault(fault));
        shown.push_str(&verbose(&desk, code).case(what));
        // without -v, a transient or already reported problem is not shown
        let quiet = desk.pouch(&["fetch"]).run();
        quiet.assert_code(code);
        assert!(quiet.stderr.is_empty(), "{quiet}");
    }
    assert_snapshot!(shown, @r#"
    === silence
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: 127.0.0.1 did not respond in time
      no data for 1 s; `timeout` sets how long to wait
    hint: set tls = "implicit" if the server expects TLS on this port (995)
    work   nothing fetched
    [exit code: 75]
    === end of connection
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: 127.0.0.1 closed the connection
    work   nothing fetched
    [exit code: 75]
    === SMTP
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: 127.0.0.1 does not speak POP3
      127.0.0.1 said: 220 smtp.example.org ESMTP
    hint: check `host`, `port` and `tls`: port 995 needs tls = "implicit", port 110 "starttls"
    work   nothing fetched
    [exit code: 76]
    === temporary failure
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: 127.0.0.1 rejected the connection
      127.0.0.1 said: -ERR [SYS/TEMP] later
    work   nothing fetched
    [exit code: 75]
    === end after the greeting
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: 127.0.0.1 closed the connection
    work   nothing fetched
    [exit code: 75]
    === a line without an end
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: 127.0.0.1 does not speak POP3
      a line exceeds 16 KiB
    hint: check `host`, `port` and `tls`: port 995 needs tls = "implicit", port 110 "starttls"
    work   nothing fetched
    [exit code: 76]
    "#);
}

#[test]
fn refused_password_is_sent_once_and_reported_once_a_day() {
    let mut shown = String::new();
    for text in [
        "-ERR [AUTH] Invalid credentials",
        "-ERR Authentication failed.",
    ] {
        // A server that announces AUTH-RESP-CODE reports a wrong password only with [AUTH] (RFC
        // 3206).
        let desk = Desk::with(1, "auth = \"user\"", |server| {
            server
                .without("AUTH-RESP-CODE")
                .fault(on("PASS").refuse(text))
        });
        let output = desk.pouch(&["fetch"]).run();
        shown.push_str(&output.assert_code(77).case(text));
        assert_eq!(desk.server.log().count("PASS"), 1);
        // the same problem is not reported again on the same day
        desk.pouch(&["fetch"]).run().assert_code(77).assert_silent();
        let later = desk.at(1, &["fetch"]).run();
        shown.push_str(&later.assert_code(77).case("a day later"));
    }
    assert_snapshot!(shown, @"
    === -ERR [AUTH] Invalid credentials
    $ pouch fetch
    ------- stderr -------
    pouch: work: 127.0.0.1 rejected the password
      127.0.0.1 said: -ERR [AUTH] Invalid credentials
    hint: check the password in ~/password, then run `pouch check work`
    [exit code: 77]
    === a day later
    $ pouch fetch
    ------- stderr -------
    pouch: work: 127.0.0.1 rejected the password
      127.0.0.1 said: -ERR [AUTH] Invalid credentials
    hint: check the password in ~/password, then run `pouch check work`
    [exit code: 77]
    === -ERR Authentication failed.
    $ pouch fetch
    ------- stderr -------
    pouch: work: login refused by 127.0.0.1
      127.0.0.1 said: -ERR Authentication failed.
    hint: check the password in ~/password, then run `pouch check work`
    [exit code: 77]
    === a day later
    $ pouch fetch
    ------- stderr -------
    pouch: work: login refused by 127.0.0.1
      127.0.0.1 said: -ERR Authentication failed.
    hint: check the password in ~/password, then run `pouch check work`
    [exit code: 77]
    ");
}

#[test]
fn busy_mailbox_is_reported_after_a_day() {
    let mut shown = String::new();
    for text in [
        "-ERR [IN-USE] locked",
        "-ERR [LOGIN-DELAY] wait",
        "-ERR [SYS/TEMP] later",
    ] {
        let desk = Desk::with(1, "auth = \"user\"\nretries = 0", |server| {
            server.fault(on("PASS").refuse(text))
        });
        desk.fetch(75).assert_silent();
        shown.push_str(&desk.fetch_at(1, 75).case(text));
        desk.fetch_at(1, 75).assert_silent();
        desk.server.heal_all();
        desk.fetch_at(2, 0).assert_silent();
        desk.assert_arrived([1]);
    }
    assert_snapshot!(shown, @"
    === -ERR [IN-USE] locked
    $ pouch fetch
    ------- stderr -------
    pouch: work: the mailbox is in use by another session
      127.0.0.1 said: -ERR [IN-USE] locked
    [exit code: 75]
    === -ERR [LOGIN-DELAY] wait
    $ pouch fetch
    ------- stderr -------
    pouch: work: 127.0.0.1 requires more time between logins
      127.0.0.1 said: -ERR [LOGIN-DELAY] wait
    [exit code: 75]
    === -ERR [SYS/TEMP] later
    $ pouch fetch
    ------- stderr -------
    pouch: work: 127.0.0.1 temporarily refused the login
      127.0.0.1 said: -ERR [SYS/TEMP] later
    [exit code: 75]
    ");
}

#[test]
fn connection_lost_at_login_is_transient() {
    let desk = Desk::with(1, "auth = \"user\"\nretries = 2", |server| {
        server.fault(on("PASS").cut())
    });
    assert_snapshot!(verbose(&desk, 75).stderr_text(), @"
    pouch: work: 127.0.0.1 closed the connection during login
      the password may be right: some servers disconnect when they cannot open the mailbox
    work   nothing fetched
    ");
    assert_eq!(desk.server.log().count("PASS"), 1);
    let desk = Desk::with(1, "auth = \"user\"\nretries = 0", |server| {
        server.fault(on("PASS").more("-ERR [SYS/TEMP] Internal error\r\n").cut())
    });
    assert_snapshot!(verbose(&desk, 75).stderr_text(), @"
    pouch: work: 127.0.0.1 cannot open the mailbox
      127.0.0.1 said: -ERR [SYS/TEMP] Internal error
    work   nothing fetched
    ");
}

#[test]
fn every_login_mechanism_works() {
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
    // An initial response of more than 255 bytes is sent in a separate line (RFC 5034).
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
fn lost_pipelined_commands_disable_pipelining() {
    let desk = Desk::with(10, "", |server| {
        server
            .fault(on("STAT").honest().forget())
            .fault(on("RETR").honest().forget())
    });
    desk.fetch(0);
    desk.assert_arrived(1..=10);
}

#[test]
fn single_byte_packets_are_reassembled() {
    let desk = Desk::with(5, "", Setup::octet_by_octet);
    desk.fetch(0);
    desk.assert_arrived(1..=5);
}

#[test]
fn silent_quit_without_deletions_is_not_waited_for() {
    // The test fixture waits for a minute.
    let desk = Desk::with(3, "timeout = \"10m\"", |server| {
        server.fault(on("QUIT").silence())
    });
    desk.fetch(0);
    desk.fetch(0);
    desk.assert_arrived(1..=3);
}

#[test]
fn new_mail_takes_five_round_trips() {
    // All messages have the same size, so only the sentinels show that no response was lost.
    let same_size = |server: Setup| {
        (1..=50).fold(server, |server, n| {
            server.message(format!("uid-{n}"), corpus::sized(n, 2_000))
        })
    };
    let desk = Desk::new(
        same_size(Server::plain()).fault(on("QUIT").silence()),
        "timeout = \"10m\"",
    );
    desk.fetch(0);
    assert_eq!(desk.mail().len(), 50);
    // CAPA, AUTH with its response, CAPA STAT LIST UIDL together, all RETR and LIST together, QUIT
    assert_eq!(desk.server.log().turns(), 5);
}

#[test]
fn poll_without_new_mail_takes_four_round_trips() {
    let desk = Desk::with(50, "", |server| server);
    desk.fetch(0);
    // pouch does not wait for the response to QUIT, so that round trip is not counted.
    let turns = || desk.server.wait_for(|log| log.open() == 0).turns();
    let before = turns();
    desk.fetch(0);
    // CAPA, AUTH with its response, CAPA STAT LIST UIDL together, QUIT
    assert_eq!(turns() - before, 4);
}

cases! { endless_response_is_refused_in_little_memory:
    list(on("LIST").forever("1 1\r\n")),
    uidl(on("UIDL").forever("1 x\r\n")),
    line(on("UIDL").answer("+OK\r\n1 ").forever("x")),
    capabilities(on("CAPA").answer("+OK\r\n").forever("XX\r\n")),
}

fn endless_response_is_refused_in_little_memory(fault: Fault) {
    let desk = Desk::with(3, "retries = 0", |server| server.fault(fault));
    // At most 64 MiB of data.
    desk.home
        .limited_pouch("-d 65536", &["fetch"])
        .within(Duration::from_secs(30))
        .run()
        .assert_code(76);
}

#[test]
fn endless_message_is_given_up_and_the_others_arrive() {
    let desk = Desk::with(3, "timeout = \"20s\"", |server| {
        server.fault(
            on("RETR")
                .uid("uid-2")
                .head()
                .forever("the same line again and again\r\n".repeat(2_000)),
        )
    });
    assert_snapshot!(desk.pouch(&["fetch", "-v"]).run().assert_code(75).stderr_text(), @"
    work: logged in at 127.0.0.1:PORT
    work: 3 listed, 3 to fetch
    work: logged in at 127.0.0.1:PORT
    work: 3 listed, 2 to fetch
    work: logged in at 127.0.0.1:PORT
    work: 3 listed, 1 to fetch
    work: logged in at 127.0.0.1:PORT
    work: 3 listed, 0 to fetch
    pouch: work: 127.0.0.1 far exceeded the listed size while sending message 2
      received more than 64001604 bytes, the server listed 401
      message 2 left on the server, attempt 1 of 3
      2 other messages delivered
    work   2 new (802 B) to ~/Mail/work; 1 message failed
    ");
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
fn check_shows_the_fingerprint_on_a_line_of_its_own() {
    let desk = secure(Server::implicit_tls(), "CA");
    assert_snapshot!(desk.pouch(&["check"]).run().assert_code(0).stdout_text(), @"
    ledger   ok    ~/.local/state/pouch
    secret   ok    ~/password, N s
    connect  ok    localhost:PORT (127.0.0.1), N ms
    tls      ok    trusted certificate, valid until 2099-01-01
          sha256:SHA256
    login    ok    PLAIN
    server   ok    UIDL TOP PIPELINING; 2 messages
    deliver  ok    ~/Mail/work, will be created
    sandbox  (as the kernel allows)
    ");
}

#[test]
fn valid_and_pinned_certificates_are_accepted() {
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
fn message_cut_under_tls_is_not_delivered() {
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
fn invalid_certificate_is_refused_before_the_login() {
    let mut shown = String::new();
    let zeros = format!("tls-pin = \"sha256:{}\"", "0".repeat(64));
    for (certificate, lines) in [
        (Certificate::Good, ""),
        (Certificate::Expired, "CA"),
        (Certificate::WrongHost, "CA"),
        (Certificate::OtherAuthority, "CA"),
        (Certificate::SelfSigned, ""),
        (Certificate::Good, zeros.as_str()),
    ] {
        let desk = secure(Server::implicit_tls().certificate(certificate), lines);
        let output = desk.pouch(&["fetch"]).run();
        let case = format!("{certificate:?} {lines}");
        shown.push_str(&output.assert_code(77).case(&case));
        assert_eq!(desk.server.log().commands().count(), 0);
        let check = desk.pouch(&["check"]).run();
        check.assert_stderr(desk.server.sha256());
        shown.push_str(&check.assert_code(77).transcript());
    }
    assert_snapshot!(shown, @r#"
    === Good
    $ pouch fetch
    ------- stderr -------
    pouch: work: the certificate of localhost is not trusted
      OpenSSL: unable to get local issuer certificate
    hint: set `tls-ca-file` to its authority, or verify the certificate that `pouch check` shows and set `tls-pin` to it
    [exit code: 77]
    $ pouch check
      ledger   ok    ~/.local/state/pouch
      secret   ok    ~/password, N s
      connect  ok    localhost:PORT (127.0.0.1), N ms
      tls      failed
      sandbox  (as the kernel allows)
    ------- stderr -------
    pouch: work: the certificate of localhost is not trusted
      OpenSSL: unable to get local issuer certificate
      its certificate is sha256:SHA256
    hint: set `tls-ca-file` to its authority, or verify the certificate that `pouch check` shows and set `tls-pin` to it
    [exit code: 77]
    === Expired CA
    $ pouch fetch
    ------- stderr -------
    pouch: work: the certificate of localhost has expired
      OpenSSL: certificate has expired
    hint: check this machine's clock, or ask the server's operator to renew the certificate
    [exit code: 77]
    $ pouch check
      ledger   ok    ~/.local/state/pouch
      secret   ok    ~/password, N s
      connect  ok    localhost:PORT (127.0.0.1), N ms
      tls      failed
      sandbox  (as the kernel allows)
    ------- stderr -------
    pouch: work: the certificate of localhost has expired
      OpenSSL: certificate has expired
      its certificate is sha256:SHA256
    hint: check this machine's clock, or ask the server's operator to renew the certificate
    [exit code: 77]
    === WrongHost CA
    $ pouch fetch
    ------- stderr -------
    pouch: work: the certificate is not for localhost
      OpenSSL: hostname mismatch
    hint: set `host` to a name the certificate is issued for; through a tunnel, set `tls-server-name` to it
    [exit code: 77]
    $ pouch check
      ledger   ok    ~/.local/state/pouch
      secret   ok    ~/password, N s
      connect  ok    localhost:PORT (127.0.0.1), N ms
      tls      failed
      sandbox  (as the kernel allows)
    ------- stderr -------
    pouch: work: the certificate is not for localhost
      OpenSSL: hostname mismatch
      its certificate is sha256:SHA256
    hint: set `host` to a name the certificate is issued for; through a tunnel, set `tls-server-name` to it
    [exit code: 77]
    === OtherAuthority CA
    $ pouch fetch
    ------- stderr -------
    pouch: work: the certificate of localhost is not trusted
      OpenSSL: certificate signature failure
    hint: set `tls-ca-file` to its authority, or verify the certificate that `pouch check` shows and set `tls-pin` to it
    [exit code: 77]
    $ pouch check
      ledger   ok    ~/.local/state/pouch
      secret   ok    ~/password, N s
      connect  ok    localhost:PORT (127.0.0.1), N ms
      tls      failed
      sandbox  (as the kernel allows)
    ------- stderr -------
    pouch: work: the certificate of localhost is not trusted
      OpenSSL: certificate signature failure
      its certificate is sha256:SHA256
    hint: set `tls-ca-file` to its authority, or verify the certificate that `pouch check` shows and set `tls-pin` to it
    [exit code: 77]
    === SelfSigned
    $ pouch fetch
    ------- stderr -------
    pouch: work: the certificate of localhost is not trusted
      OpenSSL: self-signed certificate
    hint: set `tls-ca-file` to its authority, or verify the certificate that `pouch check` shows and set `tls-pin` to it
    [exit code: 77]
    $ pouch check
      ledger   ok    ~/.local/state/pouch
      secret   ok    ~/password, N s
      connect  ok    localhost:PORT (127.0.0.1), N ms
      tls      failed
      sandbox  (as the kernel allows)
    ------- stderr -------
    pouch: work: the certificate of localhost is not trusted
      OpenSSL: self-signed certificate
      its certificate is sha256:SHA256
    hint: set `tls-ca-file` to its authority, or verify the certificate that `pouch check` shows and set `tls-pin` to it
    [exit code: 77]
    === Good tls-pin = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
    $ pouch fetch
    ------- stderr -------
    pouch: work: the certificate of localhost does not match `tls-pin`
      the server's certificate: sha256:SHA256
    hint: if the certificate was renewed on purpose, update `tls-pin`
    [exit code: 77]
    $ pouch check
      ledger   ok    ~/.local/state/pouch
      secret   ok    ~/password, N s
      connect  ok    localhost:PORT (127.0.0.1), N ms
      tls      failed
      sandbox  (as the kernel allows)
    ------- stderr -------
    pouch: work: the certificate of localhost does not match `tls-pin`
      the server's certificate: sha256:SHA256
    hint: if the certificate was renewed on purpose, update `tls-pin`
    [exit code: 77]
    "#);
}

#[test]
fn missing_tls_files_are_reported_by_config_key() {
    let client = "tls-client-cert = \"~/cert.pem\"\ntls-client-key = \"~/key.pem\"";
    let mut shown = String::new();
    for lines in [
        "tls-ca-file = \"~/missing.pem\"",
        "tls-ca-file = \"~/cert.pem\"",
        client,
    ] {
        let desk = secure(Server::implicit_tls(), lines);
        desk.home.write("cert.pem", "no certificate\n", 0o600);
        let output = desk.pouch(&["fetch"]).run();
        shown.push_str(&output.assert_code(78).case(lines));
    }
    assert_snapshot!(shown, @r#"
    === tls-ca-file = "~/missing.pem"
    $ pouch fetch
    ------- stderr -------
    pouch: work: cannot read ~/missing.pem
      No such file or directory
    hint: check the path in `tls-ca-file`
    [exit code: 78]
    === tls-ca-file = "~/cert.pem"
    $ pouch fetch
    ------- stderr -------
    pouch: work: no certificate in ~/cert.pem
    hint: set `tls-ca-file` to a PEM file, with lines -----BEGIN CERTIFICATE-----
    [exit code: 78]
    === tls-client-cert = "~/cert.pem"
    tls-client-key = "~/key.pem"
    $ pouch fetch
    ------- stderr -------
    pouch: work: cannot read ~/key.pem
      No such file or directory
    hint: check the path in `tls-client-key`
    [exit code: 78]
    "#);
}

#[test]
fn failed_stls_ends_the_session_before_the_login() {
    let mut shown = String::new();
    for (what, setup, code) in [
        ("no STLS", Server::starttls().without("STLS"), 69),
        (
            "refused",
            Server::starttls().fault(on("STLS").refuse("-ERR no")),
            69,
        ),
        (
            "refused for now",
            Server::starttls().fault(on("STLS").refuse("-ERR [SYS/TEMP] later")),
            75,
        ),
        ("closed", Server::starttls().fault(on("STLS").close()), 75),
        (
            "injection",
            Server::starttls().fault(on("STLS").more("+OK injected\r\n")),
            77,
        ),
    ] {
        let desk = secure(setup, "CA\ntls = \"starttls\"");
        let output = desk.pouch(&["fetch", "-v"]).run();
        shown.push_str(&output.assert_code(code).case(what));
        let log = desk.server.log();
        assert_eq!(log.count("USER") + log.count("AUTH") + log.count("PASS"), 0);
    }
    assert_snapshot!(shown, @r#"
    === no STLS
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: localhost does not support STARTTLS on this port
      localhost said: -ERR unknown command
    hint: set tls = "implicit" (port 995), which most servers support
    work   nothing fetched
    [exit code: 69]
    === refused
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: localhost does not support STARTTLS on this port
      localhost said: -ERR no
    hint: set tls = "implicit" (port 995), which most servers support
    work   nothing fetched
    [exit code: 69]
    === refused for now
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: TLS is temporarily unavailable on localhost
      localhost said: -ERR [SYS/TEMP] later
    work   nothing fetched
    [exit code: 75]
    === closed
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: localhost closed the connection
    hint: set tls = "implicit" (port 995), which most servers support
    work   nothing fetched
    [exit code: 75]
    === injection
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: possible STARTTLS injection on the connection to localhost
      unexpected data after the response to STLS
    work   nothing fetched
    [exit code: 77]
    "#);
    // The port of implicit TLS waits for the TLS handshake of the client.
    let desk = secure(
        Server::implicit_tls(),
        "CA\ntls = \"starttls\"\ntimeout = \"1s\"",
    );
    let output = desk.pouch(&["fetch", "-v"]).run();
    assert_snapshot!(output.assert_code(75).stderr_text(), @r#"
    pouch: work: localhost did not respond in time
      no data for 1 s; `timeout` sets how long to wait
    hint: set tls = "implicit" if the server expects TLS on this port (995)
    work   nothing fetched
    "#);
    let desk = secure(Server::plain(), "");
    assert_snapshot!(desk.pouch(&["fetch"]).run().assert_code(76).stderr_text(), @r#"
    pouch: work: localhost does not speak TLS on this port
      OpenSSL: wrong version number
    hint: check `port` and `tls`: port 995 needs tls = "implicit", port 110 "starttls"
    "#);
}

#[test]
fn passwords_are_never_printed_or_stored() {
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
fn password_echoed_by_the_server_is_masked() {
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
