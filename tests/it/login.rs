//! Logging in: mechanisms, refusals, passwords, and the programs that print them.

use insta::assert_snapshot;

#[cfg(feature = "system-tests")]
use crate::support::mount::Mounted;
use crate::{
    fixture::{Desk, NOW},
    server::{Certificate, Fault, Server, Setup, corpus, on, on_connect, on_response},
    support::{Home, run::Output, watch::wait_for_change},
};

/// One message on a server with this fault.
fn desk(lines: &str, fault: Fault) -> Desk {
    Desk::with(1, lines, |server| server.fault(fault))
}

/// Returns how often the server received the password.
fn passwords(desk: &Desk) -> usize {
    let log = desk.server.log();
    let commands = log.commands();
    let secret = |command: &&str| command.starts_with("PASS") || command.starts_with("AUTH PLAIN ");
    commands.filter(secret).count()
}

// a server that announces PLAIN, but does not have it

cases! { refused_mechanism_is_followed_by_user:
    with_an_initial_response(on("AUTH").refuse("-ERR Unknown command")),
    in_other_words(on("AUTH").refuse("-ERR Authentication method not supported")),
    without_words(on("AUTH").refuse("-ERR")),
}

fn refused_mechanism_is_followed_by_user(fault: Fault) {
    let desk = desk("retries = 0", fault);
    desk.fetch(0).assert_silent();
    desk.assert_arrived([1]);
    assert_eq!(desk.server.log().connections(), 1);
}

#[test]
fn mechanism_refused_before_the_secret_is_followed_by_user() {
    let long = "x".repeat(240);
    let setup = Server::plain()
        .user("ann", &long)
        .messages(corpus::messages(1))
        .fault(on("AUTH").refuse("-ERR login is not possible this way"));
    let desk = Desk::new(setup, "retries = 0");
    desk.home.write("password", &long, 0o600);
    desk.fetch(0).assert_silent();
    desk.assert_arrived([1]);
}

#[test]
fn response_refused_as_unknown_is_followed_by_user() {
    let desk = Desk::with(1, "retries = 0", |server| {
        server
            .without("INITIAL")
            .fault(on_response().refuse("-ERR Unknown command"))
    });
    desk.fetch(0).assert_silent();
    desk.assert_arrived([1]);
}

cases! { refused_password_is_not_sent_again:
    with_its_code("-ERR [AUTH] Unknown command", 77),
    in_words("-ERR Login failed.", 77),
    with_another_code("-ERR [SYS/PERM] no", 69),
    transient("-ERR [IN-USE] no", 75),
    transient_in_words("-ERR too many logins", 75),
}

fn refused_password_is_not_sent_again(response: &str, code: i32) {
    let desk = Desk::with(1, "retries = 0", |server| {
        server
            .without("AUTH-RESP-CODE")
            .fault(on("AUTH").refuse(response))
    });
    desk.fetch(code);
    assert_eq!(desk.server.log().count("USER"), 0);
    assert_eq!(passwords(&desk), 1);
}

#[test]
fn configured_mechanism_has_no_fallback() {
    let desk = desk(
        "retries = 0\nauth = \"plain\"",
        on("AUTH").refuse("-ERR Unknown command"),
    );
    desk.fetch(75);
    assert_eq!(desk.server.log().count("USER"), 0);
}

#[test]
fn server_that_disconnects_after_the_refused_mechanism_is_quoted() {
    let desk = Desk::with(1, "retries = 2", |server| {
        server
            .without("AUTH-RESP-CODE")
            .fault(on("AUTH").refuse("-ERR Unknown command").close())
    });
    desk.fetch(77)
        .assert_stderr("127.0.0.1 said: -ERR Unknown command");
    assert_eq!(desk.server.log().connections(), 1);
}

// a server that offers neither

fn other_mechanisms(lines: &str) -> Desk {
    let known = ["TOP", "UIDL", "SASL GSSAPI DIGEST-MD5"];
    Desk::with(1, lines, |server| server.capabilities(&known, &known))
}

#[test]
fn server_without_a_known_mechanism_is_reported_with_those_it_offers() {
    let desk = other_mechanisms("");
    assert_snapshot!(desk.fetch(69).stderr_text(), @r#"
    pouch: work: 127.0.0.1 offers no mechanism that pouch uses by default: GSSAPI, DIGEST-MD5
    hint: ask the server's operator to enable SCRAM-SHA-256 or PLAIN, or set auth = "user" to try USER although it is not announced
    "#);
    assert_eq!(passwords(&desk), 0);
    assert_eq!(desk.server.log().connections(), 1);
    let output = desk.pouch(&["fetch", "-vv"]).run();
    output
        .assert_code(69)
        .assert_stderr("work: S: SASL GSSAPI DIGEST-MD5\n")
        .assert_stderr("work: S: UIDL\n");
}

#[test]
fn user_refused_by_a_server_that_offers_nothing_is_not_about_the_password() {
    let known = ["TOP", "UIDL"];
    let desk = Desk::with(1, "", |server| {
        let server = server.capabilities(&known, &known);
        server.fault(on("USER").refuse("-ERR not here"))
    });
    assert_snapshot!(desk.fetch(69).stderr_text(), @"
    pouch: work: 127.0.0.1 does not offer USER
      127.0.0.1 said: -ERR not here
    ");
    assert_eq!(passwords(&desk), 0);
}

#[test]
fn configured_mechanism_is_tried_although_it_is_not_offered() {
    for auth in ["user", "plain"] {
        let desk = other_mechanisms(&format!("auth = \"{auth}\""));
        desk.fetch(0).assert_silent();
        desk.assert_arrived([1]);
    }
}

// refusals that will pass

cases! { transient_refusal_is_reported_with_its_words_after_a_day:
    mailbox_locked("-ERR Mailbox Locked"),
    maildrop_locked("-ERR maildrop already locked"),
    logins("-ERR too many logins"),
    connections("-ERR too many connections"),
    rate("-ERR rate limit exceeded"),
    later("-ERR try again later"),
    in_use("-ERR [IN-USE] no"),
    login_delay("-ERR [LOGIN-DELAY] no"),
    sys_temp("-ERR [SYS/TEMP] no"),
}

fn transient_refusal_is_reported_with_its_words_after_a_day(response: &str) {
    for command in ["AUTH", "USER", "PASS", "STAT", "LIST"] {
        let lines = match command {
            "USER" | "PASS" => "retries = 0\nauth = \"user\"",
            _ => "retries = 0",
        };
        let desk = Desk::with(1, lines, |server| {
            server
                .without("AUTH-RESP-CODE")
                .fault(on(command).refuse(response))
        });
        desk.fetch(75).assert_silent();
        let output = desk.fetch_at(1, 75);
        output.assert_stderr(&format!("127.0.0.1 said: {response}\n"));
        assert!(!output.stderr.contains("password"), "{output}");
        assert!(!output.stderr.contains("hint:"), "{output}");
        desk.server.heal_all();
        desk.fetch_at(1, 0).assert_silent();
        desk.assert_arrived([1]);
    }
}

// one attempt in a run

cases! { secret_is_sent_once_in_a_run:
    closed(on("PASS").close()),
    lost(on("PASS").cut()),
    login_delay(on("PASS").refuse("-ERR [LOGIN-DELAY] wait")),
    temporary(on("PASS").refuse("-ERR [SYS/TEMP] no")),
    nonsense(on("PASS").refuse("hello")),
}

fn secret_is_sent_once_in_a_run(fault: Fault) {
    let desk = desk("retries = 3\nauth = \"user\"", fault);
    desk.fetch(75).assert_silent();
    assert_eq!(desk.server.log().count("PASS"), 1);
}

#[test]
fn mailbox_in_use_is_tried_again_in_the_run() {
    let fault = on("AUTH").refuse("-ERR [IN-USE] no").times(1);
    let desk = desk("retries = 1", fault);
    desk.fetch(0).assert_silent();
    desk.assert_arrived([1]);
}

#[test]
fn connection_lost_before_the_secret_is_tried_again_in_the_run() {
    let desk = desk("retries = 1", on("CAPA").cut().times(1));
    desk.fetch(0).assert_silent();
    desk.assert_arrived([1]);
}

#[test]
fn login_after_a_lost_session_is_tried_again_in_the_run() {
    let desk = Desk::with(2, "retries = 2", |server| {
        server
            .fault(on("RETR").uid("uid-2").octets(10).cut().times(1))
            .fault(on("AUTH").nth(2).cut())
    });
    desk.fetch(0).assert_silent();
    desk.assert_arrived(1..=2);
    assert_eq!(passwords(&desk), 3);
}

// passwords

fn password(in_file: &[u8], on_server: &[u8], lines: &str) -> Desk {
    let setup: Setup = Server::plain()
        .user("ann", on_server)
        .messages(corpus::messages(1));
    let desk = Desk::new(setup, lines);
    desk.home.write("password", in_file, 0o600);
    desk
}

cases! { password_is_sent_as_it_is_in_the_file:
    in_latin_1(b"gr\xfcn\n", b"gr\xfcn"),
    in_utf_8("grün\n".as_bytes(), "grün".as_bytes()),
    after_a_byte_order_mark(b"\xef\xbb\xbfgr\xc3\xbcn\r\n", "grün".as_bytes()),
    longer_than_a_command(&[b'x'; 400], &[b'x'; 400]),
}

fn password_is_sent_as_it_is_in_the_file(in_file: &[u8], on_server: &[u8]) {
    for auth in ["auto", "plain", "user"] {
        let desk = password(in_file, on_server, &format!("auth = \"{auth}\""));
        desk.fetch(0).assert_silent();
        desk.assert_arrived([1]);
    }
}

#[test]
fn latin_1_password_is_not_repeated() {
    let desk = password(b"gr\xfcnes Gras\n", b"other", "auth = \"user\"");
    let fault = on("PASS").answer(b"-ERR gr\xfcnes Gras is wrong\r\n".to_vec());
    desk.server.fault(fault);
    let output = desk.pouch(&["fetch", "-vv"]).run();
    assert!(!output.stderr.contains("nes Gras"), "{output}");
}

// programs that print passwords

fn password_command(command: &str, lines: &str) -> Desk {
    let desk = Desk::with(1, lines, |server| server);
    let text = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    desk.home.config(&text.replace(
        "password-file = \"~/password\"",
        &format!("password-command = {command}"),
    ));
    desk
}

#[test]
fn password_command_ends_at_its_time_limit_with_its_programs() {
    // the program that it starts reports SIGTERM to the test in a file
    let inner = "trap 'echo >ended; exit' TERM; sleep 60 & wait";
    let command = format!(r#"["sh", "-c", "echo no agent >&2; sh -c \"{inner}\" & wait"]"#);
    let desk = password_command(&command, "password-command-timeout = \"1s\"");
    let output = desk.fetch(78);
    assert_snapshot!(output.stderr_text(), @"
    pouch: work: the password command `sh` timed out after 1s
      `sh` said: no agent
    hint: run it by hand to see whether it prompts, or raise `password-command-timeout`
    ");
    wait_for_change(&[desk.home.path()], || desk.home.join("ended").exists());
    assert_eq!(desk.server.log().connections(), 0);
}

#[test]
fn messages_name_the_password_program_without_its_arguments() {
    let mut shown = String::new();
    for (command, code) in [
        (r#"["sh", "-c", "echo s3cret"]"#, 77),
        (r#"["sh", "-c", ": s3cret; exit 1"]"#, 78),
        (r#"["sh", "-c", ": s3cret"]"#, 78),
        (r#"["no-such-program", "s3cret"]"#, 78),
    ] {
        let desk = password_command(command, "");
        let output = desk.fetch(code);
        for run in [
            &output,
            &desk.pouch(&["fetch", "-vv"]).run(),
            &desk.pouch(&["check"]).run(),
            &desk.pouch(&["check", "--json"]).run(),
            &desk.pouch(&["status", "-v"]).run(),
        ] {
            assert!(!run.stderr.contains("s3cret"), "{run}");
            assert!(!run.stdout.contains("s3cret"), "{run}");
        }
        shown.push_str(&output.stderr_text());
    }
    assert_snapshot!(shown, @"
    pouch: work: 127.0.0.1 rejected the password
      127.0.0.1 said: -ERR [AUTH] invalid user or password
    hint: check the password that `sh` prints, then run `pouch check work`
    pouch: work: the password command `sh` failed: exit status: 1
    hint: run it by hand to see what it prints
    pouch: work: the password command `sh` returned an empty password
      its first line is empty
    pouch: work: cannot run the password command `no-such-program`
      No such file or directory
    hint: `no-such-program` is not installed, or not in PATH, which is short in cron and systemd: install it, or write its whole path
    ");
}

#[test]
fn messages_name_other_programs_without_their_arguments() {
    for (line, code) in [
        (
            r#"pipe = ["sh", "-c", "cat >/dev/null; exit 1 # s3cret"]"#,
            75,
        ),
        (r#"pipe = ["no-such-program", "s3cret"]"#, 78),
        (r#"filter = [["sh", "-c", "exit 1 # s3cret"]]"#, 75),
        (r#"filter = [["sh", "-c", "exit 99 # s3cret"]]"#, 0),
        (r#"after = ["sh", "-c", "exit 1 # s3cret"]"#, 75),
    ] {
        let desk = Desk::with(1, line, |server| server);
        let first = desk.pouch(&["fetch", "-v"]).run();
        first.assert_code(code);
        for run in [
            &first,
            &desk.at(1, &["fetch"]).run(),
            &desk.pouch(&["check"]).run(),
            &desk.pouch(&["ledger", "list", "work"]).run(),
        ] {
            assert!(!run.stderr.contains("s3cret"), "{run}");
            assert!(!run.stdout.contains("s3cret"), "{run}");
        }
    }
}

#[cfg(feature = "system-tests")]
#[test]
fn password_file_on_a_read_only_mount_gets_a_hint() {
    let desk = Desk::with(1, "", |server| server);
    let dir = desk.home.make_dir("secrets", 0o700);
    desk.home.write("secrets/pop", "secret\n", 0o444);
    let text = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    desk.home
        .config(&text.replace("~/password", "~/secrets/pop"));
    let _mounted = Mounted::read_only(&desk.home, dir);
    assert_snapshot!(desk.fetch(77).stderr_text(), @r#"
    pouch: work: the password file ~/secrets/pop is accessible to other users
      its mode is 0444
    hint: its mode cannot be changed: set `password-command = ["sh", "-c", "cat ~/secrets/pop"]`, or copy it to a file with mode 600
    "#);
    // as the hint says
    desk.home.config(&text.replace(
        "password-file = \"~/password\"",
        "password-command = [\"sh\", \"-c\", \"cat ~/secrets/pop\"]",
    ));
    desk.fetch(0).assert_silent();
}

#[test]
fn unreadable_credential_is_reported_by_name() {
    let desk = Desk::with(1, "", |server| server);
    let text = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    desk.home.config(&text.replace(
        "password-file = \"~/password\"",
        "password-credential = \"work\"",
    ));
    let dir = desk.home.make_dir("credentials", 0o700);
    let output = desk
        .pouch(&["fetch"])
        .env("CREDENTIALS_DIRECTORY", dir)
        .run();
    assert_snapshot!(output.assert_code(78).stderr_text(), @"
    pouch: work: cannot read the credential `work`
      No such file or directory
    hint: set LoadCredential=work:FILE in the unit
    ");
}

// when the next login is made

/// Runs pouch so many seconds after [`NOW`].
fn run_at(desk: &Desk, seconds: i64, args: &[&str]) -> Output {
    let run = desk.home.pouch(args);
    run.env("POUCH_NOW", (NOW + seconds).to_string()).run()
}

/// Fetches so many seconds after [`NOW`], which has to end with this code. Returns whether pouch
/// logged in.
#[track_caller]
fn logs_in_at(desk: &Desk, seconds: i64, code: i32) -> bool {
    let before = passwords(desk);
    run_at(desk, seconds, &["fetch"]).assert_code(code);
    passwords(desk) > before
}

fn with_login_delay(before_login: &str, after_login: &str) -> Desk {
    let known = |delay| ["TOP", "UIDL", "USER", delay];
    Desk::with(1, "auth = \"user\"", |server| {
        server.capabilities(&known(before_login), &known(after_login))
    })
}

#[test]
fn login_delay_of_the_server_is_respected() {
    let desk = with_login_delay("LOGIN-DELAY 600", "LOGIN-DELAY 600");
    desk.fetch(0).assert_silent();
    run_at(&desk, 599, &["fetch"])
        .assert_code(75)
        .assert_silent();
    assert_snapshot!(run_at(&desk, 599, &["fetch", "-v"]).stderr_text(), @"
    pouch: work: 127.0.0.1 requires 10m between logins
      the last login was 599s ago, the next one is possible in 1s
    work   nothing fetched
    ");
    assert_eq!(desk.server.log().connections(), 1);
    let status = desk.pouch(&["status"]).run();
    status.assert_code(0);
    assert!(!status.stdout.contains("failing"), "{status}");
    run_at(&desk, 600, &["fetch"])
        .assert_code(0)
        .assert_silent();
    assert_eq!(desk.server.log().connections(), 2);
    // the clock was set back
    run_at(&desk, -1, &["fetch"]).assert_code(0).assert_silent();
}

#[test]
fn login_delay_is_read_after_the_login() {
    let desk = with_login_delay("LOGIN-DELAY 600 USER", "LOGIN-DELAY 60");
    desk.fetch(0).assert_silent();
    assert!(!logs_in_at(&desk, 59, 75));
    assert!(logs_in_at(&desk, 60, 0));
}

fn refusing() -> Desk {
    Desk::with(1, "", |server| {
        server.fault(on("AUTH").refuse("-ERR [AUTH] no"))
    })
}

#[test]
fn refused_password_is_tried_again_at_increasing_intervals() {
    let desk = refusing();
    let mut now = 0;
    for minutes in [5, 10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440] {
        assert!(logs_in_at(&desk, now, 77));
        now += minutes * 60;
        assert!(!logs_in_at(&desk, now - 1, 77), "{minutes}");
    }
}

#[test]
fn skipped_login_is_reported_like_the_refused_one() {
    let desk = refusing();
    let mut shown = desk.fetch(77).case("refused");
    let connections = desk.server.log().connections();
    run_at(&desk, 60, &["fetch"])
        .assert_code(77)
        .assert_silent();
    shown.push_str(&run_at(&desk, 60, &["fetch", "-v"]).case("skipped"));
    assert_eq!(desk.server.log().connections(), connections);
    let status = desk.pouch(&["status"]).run();
    status.assert_stdout("127.0.0.1 rejected the password");
    assert_snapshot!(shown, @"
    === refused
    $ pouch fetch
    ------- stderr -------
    pouch: work: 127.0.0.1 rejected the password
      127.0.0.1 said: -ERR [AUTH] no
    hint: check the password in ~/password, then run `pouch check work`
    [exit code: 77]
    === skipped
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: 127.0.0.1 rejected the password
      127.0.0.1 said: -ERR [AUTH] no
      refused once; the same password is not tried again before 2026-11-23 00:05
    hint: check the password in ~/password, then run `pouch check work`
    work   nothing fetched
    [exit code: 77]
    ");
}

#[test]
fn changed_password_or_setting_is_tried_at_once() {
    let desk = refusing();
    assert!(logs_in_at(&desk, 0, 77));
    assert!(!logs_in_at(&desk, 1, 77));
    desk.home.write("password", "other\n", 0o600);
    assert!(logs_in_at(&desk, 1, 77));
    assert!(!logs_in_at(&desk, 2, 77));
    desk.configure("auth = \"plain\"");
    assert!(logs_in_at(&desk, 2, 77));
}

#[test]
fn success_ends_the_wait() {
    let desk = refusing();
    for (seconds, logs_in) in [
        (0, true),
        (299, false),
        (300, true),
        (899, false),
        (900, true),
    ] {
        assert_eq!(logs_in_at(&desk, seconds, 77), logs_in, "{seconds}");
    }
    desk.server.heal_all();
    assert!(!logs_in_at(&desk, 2_099, 77));
    assert!(logs_in_at(&desk, 2_100, 0));
    desk.server.fault(on("AUTH").refuse("-ERR [AUTH] no"));
    assert!(logs_in_at(&desk, 2_101, 77));
    assert!(logs_in_at(&desk, 2_401, 77));
}

#[test]
fn successful_check_ends_the_wait() {
    let desk = refusing();
    desk.fetch(77);
    desk.pouch(&["check"]).run().assert_code(77);
    assert!(!logs_in_at(&desk, 1, 77));
    desk.server.heal_all();
    assert!(!logs_in_at(&desk, 2, 77));
    desk.pouch(&["check"]).run().assert_code(0);
    assert!(logs_in_at(&desk, 3, 0));
}

#[test]
fn later_rounds_wait_after_a_refusal() {
    let desk = refusing();
    let run = desk.home.pouch(&["fetch", "-v", "--every", "1s"]);
    let mut running = run.env("POUCH_NOW", NOW.to_string()).spawn();
    running.wait_for_times("not tried again", 2);
    running.kill();
    drop(running);
    assert_eq!(passwords(&desk), 1);
}

#[test]
fn ledger_does_not_contain_the_refused_password() {
    let setup = Server::plain().user("ann", "something else");
    let desk = Desk::new(setup, "auth = \"user\"");
    desk.home.write("password", "long-enough-to-find\n", 0o600);
    desk.fetch(77);
    for file in std::fs::read_dir(desk.home.state().join("mailboxes")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(memchr::memmem::find(&bytes, b"long-enough-to-find").is_none());
    }
}

#[test]
fn internationalized_host_is_converted() {
    let home = Home::new();
    home.config(
        "[account.work]\nhost = \"pop.münchen.example\"\nuser = 'CORP\\bob'\nmaildir = \"~/Mail\"\n",
    );
    home.pouch(&["config", "show"])
        .run()
        .assert_code(0)
        .assert_stdout("= \"pop.xn--mnchen-3ya.example\"")
        .assert_stdout("= 'CORP\\bob'");
}

// certificates

/// Returns an account on `localhost` with TLS, on a server with this certificate.
fn with_certificate(certificate: Certificate) -> (Home, Server) {
    let home = Home::new();
    let setup = Server::implicit_tls().messages(corpus::messages(1));
    let server = setup.certificate(certificate).start();
    home.write("password", "secret\n", 0o600);
    trust(
        &home,
        &server,
        &format!(
            "tls-ca-file = \"{}\"",
            server.ca_file(home.path()).display()
        ),
    );
    (home, server)
}

fn trust(home: &Home, server: &Server, line: &str) {
    home.config(&format!(
        "[account.work]\nhost = \"localhost\"\nport = {}\nuser = \"ann\"\nretries = 0\n\
         password-file = \"~/password\"\nmaildir = \"~/Mail\"\n{line}\n",
        server.port()
    ));
}

#[test]
fn refused_certificates_get_a_hint() {
    let mut shown = String::new();
    for certificate in [
        Certificate::NotYetValid,
        Certificate::Expired,
        Certificate::OtherAuthority,
        Certificate::SelfSigned,
        Certificate::WithoutNames,
    ] {
        let (home, server) = with_certificate(certificate);
        let output = home.pouch(&["fetch"]).run();
        shown.push_str(&output.assert_code(77).case(&format!("{certificate:?}")));
        assert_eq!(server.log().commands().count(), 0);
    }
    assert_snapshot!(shown, @"
    === NotYetValid
    $ pouch fetch
    ------- stderr -------
    pouch: work: the certificate of localhost is not valid yet
      OpenSSL: certificate is not yet valid
    hint: check this machine's clock, which may be slow
    [exit code: 77]
    === Expired
    $ pouch fetch
    ------- stderr -------
    pouch: work: the certificate of localhost has expired
      OpenSSL: certificate has expired
    hint: check this machine's clock, or ask the server's operator to renew the certificate
    [exit code: 77]
    === OtherAuthority
    $ pouch fetch
    ------- stderr -------
    pouch: work: the certificate of localhost is not trusted
      OpenSSL: certificate signature failure
    hint: set `tls-ca-file` to its authority, or verify the certificate that `pouch check` shows and set `tls-pin` to it
    [exit code: 77]
    === SelfSigned
    $ pouch fetch
    ------- stderr -------
    pouch: work: the certificate of localhost is not trusted
      OpenSSL: self-signed certificate
    hint: set `tls-ca-file` to its authority, or verify the certificate that `pouch check` shows and set `tls-pin` to it
    [exit code: 77]
    === WithoutNames
    $ pouch fetch
    ------- stderr -------
    pouch: work: the certificate of localhost has no host name in subjectAltName
      its common name is not compared with the host (RFC 9525)
    hint: ask the server's operator for another certificate, or verify the one that `pouch check` shows and set `tls-pin` to it
    [exit code: 77]
    ");
}

#[test]
fn certificate_without_subject_alt_name_can_be_pinned() {
    let (home, server) = with_certificate(Certificate::WithoutNames);
    let pin = format!("sha256:{}", server.sha256());
    home.pouch(&["check"])
        .run()
        .assert_code(77)
        .assert_stderr(&pin);
    trust(&home, &server, &format!("tls-pin = \"{pin}\""));
    home.pouch(&["fetch"]).run().assert_code(0).assert_silent();
}

#[test]
fn server_with_an_old_tls_version_is_reported() {
    let desk = Desk::with(1, "", |server| {
        // an alert: protocol_version
        server.fault(on_connect().answer(*b"\x15\x03\x01\x00\x02\x02\x46"))
    });
    let text = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    let text = text.replace("tls = \"off\"", "tls = \"implicit\"");
    desk.home
        .config(&text.replace("allow-plaintext-password = true\n", ""));
    assert_snapshot!(desk.fetch(69).stderr_text(), @"
    pouch: work: 127.0.0.1 has no TLS version that pouch accepts
      OpenSSL: tlsv1 alert protocol version
    hint: ask the server's operator to enable TLS 1.2 or 1.3; older versions are not secure
    ");
}
