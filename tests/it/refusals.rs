//! Refused logins in the words of large providers: exit code, hint, and how often they are
//! repeated.

use insta::assert_snapshot;

use crate::{
    fixture::{Desk, NOW},
    server::{on, on_connect},
    support::run::Output,
};

/// A mailbox with one message on a server that refuses `command` with `-ERR` and this text.
fn refusing(command: &str, text: &[u8]) -> Desk {
    let lines = match command {
        "PASS" => "retries = 0\nauth = \"user\"",
        _ => "retries = 0",
    };
    let response = [b"-ERR ", text, b"\r\n"].concat();
    Desk::with(1, lines, |server| {
        server.fault(on(command).answer(response))
    })
}

/// Returns the report of a refused command, with the exit code, and whether an unattended run is
/// quiet.
fn report(command: &str, text: &[u8]) -> String {
    let output = refusing(command, text).pouch(&["fetch", "-v"]).run();
    let unattended = refusing(command, text).pouch(&["fetch"]).run();
    assert_eq!(unattended.code, output.code, "{output}");
    let volume = match unattended.stderr_text().as_str() {
        "" => "quiet",
        shown => {
            assert!(output.stderr_text().starts_with(shown), "{output}");
            "loud"
        }
    };
    let shown = output.stderr_text();
    let shown = shown.trim_end().trim_end_matches("work   nothing fetched");
    assert!(shown.matches("hint: ").count() <= 1, "{output}");
    format!("{} {volume}\n{shown}", output.code)
}

/// Returns the reports of a text at each place where it may come.
fn reports(texts: &[&[u8]]) -> String {
    let mut all = String::new();
    for text in texts {
        let [login, pass, stat] = ["AUTH", "PASS", "STAT"].map(|command| report(command, text));
        assert_eq!(login, pass);
        all.push_str(&format!("=== login: {login}"));
        if login == stat {
            all.push_str("=== STAT: the same\n");
        } else {
            all.push_str(&format!("=== STAT: {stat}"));
        }
    }
    all
}

#[test]
fn texts_of_gmail_have_a_hint() {
    assert_snapshot!(reports(&[
        b"[AUTH] Application-specific password required: support.google.com",
        b"[AUTH] Web login required.",
        b"[AUTH] Username and password not accepted.",
        b"[SYS/PERM] Your account is not enabled for POP access. Please visit your Gmail settings",
        b"[AUTH] Account exceeded pop command or bandwidth limits. lc8",
    ]), @"
    === login: 77 loud
    pouch: work: 127.0.0.1 rejected the password
      127.0.0.1 said: -ERR [AUTH] Application-specific password required: support.google.com
    hint: use an app password, which needs 2-step verification, then run `pouch check work`
    === STAT: 77 loud
    pouch: work: 127.0.0.1 accepted the login, but refused access to the mailbox
      127.0.0.1 said: -ERR [AUTH] Application-specific password required: support.google.com
    hint: use an app password, which needs 2-step verification, then run `pouch check work`
    === login: 77 loud
    pouch: work: 127.0.0.1 rejected the password
      127.0.0.1 said: -ERR [AUTH] Web login required.
    hint: sign in on the provider's web site once, or use an app password or OAuth, then run `pouch check work`
    === STAT: 77 loud
    pouch: work: 127.0.0.1 accepted the login, but refused access to the mailbox
      127.0.0.1 said: -ERR [AUTH] Web login required.
    hint: sign in on the provider's web site once, or use an app password or OAuth, then run `pouch check work`
    === login: 77 loud
    pouch: work: 127.0.0.1 rejected the password
      127.0.0.1 said: -ERR [AUTH] Username and password not accepted.
    hint: use an app password or OAuth instead of the account's password, then run `pouch check work`
    === STAT: 77 loud
    pouch: work: 127.0.0.1 accepted the login, but refused access to the mailbox
      127.0.0.1 said: -ERR [AUTH] Username and password not accepted.
    hint: use an app password or OAuth instead of the account's password, then run `pouch check work`
    === login: 77 loud
    pouch: work: POP3 is disabled for this account on 127.0.0.1
      127.0.0.1 said: -ERR [SYS/PERM] Your account is not enabled for POP access. Please visit your Gmail settings
    hint: enable POP in Gmail's web settings, then run `pouch check work`
    === STAT: the same
    === login: 75 quiet
    pouch: work: 127.0.0.1 temporarily refused the login
      127.0.0.1 said: -ERR [AUTH] Account exceeded pop command or bandwidth limits. lc8
    hint: fetch less often, at most every 10 minutes
    === STAT: 75 quiet
    pouch: work: 127.0.0.1 temporarily refused access to the mailbox
      127.0.0.1 said: -ERR [AUTH] Account exceeded pop command or bandwidth limits. lc8
    hint: fetch less often, at most every 10 minutes
    ");
}

#[test]
fn texts_of_microsoft_have_a_hint() {
    assert_snapshot!(reports(&[
        b"Basic authentication is disabled.",
        b"Authentication failure: unknown user name or bad password.",
        b"Logon failure: unknown user name or bad password.",
        b"Exceeded the login limit for a 15 minute period. Reduce the frequency of requests.",
        b"Protocol error. Connection is closed. 10",
    ]), @r#"
    === login: 77 loud
    pouch: work: login refused by 127.0.0.1
      127.0.0.1 said: -ERR Basic authentication is disabled.
    hint: set oauth = "microsoft", run `pouch login work`, then run `pouch check work`
    === STAT: 77 loud
    pouch: work: 127.0.0.1 accepted the login, but refused access to the mailbox
      127.0.0.1 said: -ERR Basic authentication is disabled.
    hint: set oauth = "microsoft", run `pouch login work`, then run `pouch check work`
    === login: 77 loud
    pouch: work: login refused by 127.0.0.1
      127.0.0.1 said: -ERR Authentication failure: unknown user name or bad password.
    hint: check the password in ~/password, then run `pouch check work`
    === STAT: 77 loud
    pouch: work: 127.0.0.1 accepted the login, but refused access to the mailbox
      127.0.0.1 said: -ERR Authentication failure: unknown user name or bad password.
    hint: check the password in ~/password, then run `pouch check work`
    === login: 77 loud
    pouch: work: login refused by 127.0.0.1
      127.0.0.1 said: -ERR Logon failure: unknown user name or bad password.
    hint: check the password in ~/password, then run `pouch check work`
    === STAT: 77 loud
    pouch: work: 127.0.0.1 accepted the login, but refused access to the mailbox
      127.0.0.1 said: -ERR Logon failure: unknown user name or bad password.
    hint: check the password in ~/password, then run `pouch check work`
    === login: 75 quiet
    pouch: work: 127.0.0.1 temporarily refused the login
      127.0.0.1 said: -ERR Exceeded the login limit for a 15 minute period. Reduce the frequency of requests.
    hint: fetch less often; the server limits the logins in 15 minutes
    === STAT: 75 quiet
    pouch: work: 127.0.0.1 temporarily refused access to the mailbox
      127.0.0.1 said: -ERR Exceeded the login limit for a 15 minute period. Reduce the frequency of requests.
    hint: fetch less often; the server limits the logins in 15 minutes
    === login: 76 loud
    pouch: work: 127.0.0.1 reported a violation of the protocol
      127.0.0.1 said: -ERR Protocol error. Connection is closed. 10
    === STAT: the same
    "#);
}

#[test]
fn texts_of_other_providers_have_a_hint() {
    assert_snapshot!(reports(&[
        b"[SYS/PERM] pop not allowed for user.",
        b"[AUTH] (#MBR1212) Incorrect username or password.",
        b"(#AUTH012) Incorrect username or password.",
        b"[AUTHORIZATIONFAILED] Incorrect username or password. (#YAP001)",
        b"[AUTH] login failure or POP3 disabled, try later. sc=x",
        b"NEOBHODIM parol prilozheniya",
        b"Authentication failed. Application password is REQUIRED",
        b"Please enter your authorization code to login. More information at the site",
        b"Login fail. Account is abnormal, service is not open, password is incorrect, login \
          frequency limited, or system is busy.",
        b"\xc4\xfa\xc3\xbb\xd3\xd0\xc8\xa8\xcf\xde\xca\xb9\xd3\xc3pop3\xb9\xa6\xc4\xdc",
    ]), @"
    === login: 77 loud
    pouch: work: POP3 is disabled for this account on 127.0.0.1
      127.0.0.1 said: -ERR [SYS/PERM] pop not allowed for user.
    hint: allow POP in the account settings, and use an app password, then run `pouch check work`
    === STAT: the same
    === login: 77 loud
    pouch: work: 127.0.0.1 rejected the password
      127.0.0.1 said: -ERR [AUTH] (#MBR1212) Incorrect username or password.
    hint: use an app password, created in the account settings, then run `pouch check work`
    === STAT: 77 loud
    pouch: work: 127.0.0.1 accepted the login, but refused access to the mailbox
      127.0.0.1 said: -ERR [AUTH] (#MBR1212) Incorrect username or password.
    hint: use an app password, created in the account settings, then run `pouch check work`
    === login: 77 loud
    pouch: work: login refused by 127.0.0.1
      127.0.0.1 said: -ERR (#AUTH012) Incorrect username or password.
    hint: use an app password, created in the account settings, then run `pouch check work`
    === STAT: 77 loud
    pouch: work: 127.0.0.1 accepted the login, but refused access to the mailbox
      127.0.0.1 said: -ERR (#AUTH012) Incorrect username or password.
    hint: use an app password, created in the account settings, then run `pouch check work`
    === login: 77 loud
    pouch: work: login refused by 127.0.0.1
      127.0.0.1 said: -ERR [AUTHORIZATIONFAILED] Incorrect username or password. (#YAP001)
    hint: use an app password, created in the account settings, then run `pouch check work`
    === STAT: 77 loud
    pouch: work: 127.0.0.1 accepted the login, but refused access to the mailbox
      127.0.0.1 said: -ERR [AUTHORIZATIONFAILED] Incorrect username or password. (#YAP001)
    hint: use an app password, created in the account settings, then run `pouch check work`
    === login: 77 loud
    pouch: work: 127.0.0.1 rejected the password
      127.0.0.1 said: -ERR [AUTH] login failure or POP3 disabled, try later. sc=x
    hint: enable POP3 in the web settings, and use an app password, then run `pouch check work`
    === STAT: 77 loud
    pouch: work: 127.0.0.1 accepted the login, but refused access to the mailbox
      127.0.0.1 said: -ERR [AUTH] login failure or POP3 disabled, try later. sc=x
    hint: enable POP3 in the web settings, and use an app password, then run `pouch check work`
    === login: 77 loud
    pouch: work: login refused by 127.0.0.1
      127.0.0.1 said: -ERR NEOBHODIM parol prilozheniya
    hint: use a password for external applications, created in the account settings, then run `pouch check work`
    === STAT: 77 loud
    pouch: work: 127.0.0.1 accepted the login, but refused access to the mailbox
      127.0.0.1 said: -ERR NEOBHODIM parol prilozheniya
    hint: use a password for external applications, created in the account settings, then run `pouch check work`
    === login: 77 loud
    pouch: work: login refused by 127.0.0.1
      127.0.0.1 said: -ERR Authentication failed. Application password is REQUIRED
    hint: use a password for external applications, created in the account settings, then run `pouch check work`
    === STAT: 77 loud
    pouch: work: 127.0.0.1 accepted the login, but refused access to the mailbox
      127.0.0.1 said: -ERR Authentication failed. Application password is REQUIRED
    hint: use a password for external applications, created in the account settings, then run `pouch check work`
    === login: 77 loud
    pouch: work: login refused by 127.0.0.1
      127.0.0.1 said: -ERR Please enter your authorization code to login. More information at the site
    hint: use an authorization code, created in the web settings, as the password, then run `pouch check work`
    === STAT: 77 loud
    pouch: work: 127.0.0.1 accepted the login, but refused access to the mailbox
      127.0.0.1 said: -ERR Please enter your authorization code to login. More information at the site
    hint: use an authorization code, created in the web settings, as the password, then run `pouch check work`
    === login: 77 loud
    pouch: work: login refused by 127.0.0.1
      127.0.0.1 said: -ERR Login fail. Account is abnormal, service is not open, password is incorrect, login frequency limited, or system is busy.
    hint: enable POP3 and create an authorization code in the web settings, or wait an hour, then run `pouch check work`
    === STAT: 77 loud
    pouch: work: 127.0.0.1 accepted the login, but refused access to the mailbox
      127.0.0.1 said: -ERR Login fail. Account is abnormal, service is not open, password is incorrect, login frequency limited, or system is busy.
    hint: enable POP3 and create an authorization code in the web settings, or wait an hour, then run `pouch check work`
    === login: 77 loud
    pouch: work: POP3 is disabled for this account on 127.0.0.1
      127.0.0.1 said: -ERR 您没有权限使用pop3功能
    hint: enable POP3 in the web settings (IMAP is a separate setting), and use an authorization code, then run `pouch check work`
    === STAT: the same
    ");
}

#[test]
fn texts_of_servers_have_a_meaning() {
    assert_snapshot!(reports(&[
        b"Attempt to log in within the minimum login delay interval",
        b"[AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.",
        b"[AUTH] Your account has been blocked",
        b"[AUTH] Benutzer oder Passwort ung\xfcltig",
    ]), @r#"
    === login: 75 quiet
    pouch: work: 127.0.0.1 temporarily refused the login
      127.0.0.1 said: -ERR Attempt to log in within the minimum login delay interval
    === STAT: 75 quiet
    pouch: work: 127.0.0.1 temporarily refused access to the mailbox
      127.0.0.1 said: -ERR Attempt to log in within the minimum login delay interval
    === login: 77 loud
    pouch: work: 127.0.0.1 rejected the password
      127.0.0.1 said: -ERR [AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.
    hint: set tls = "implicit" or "starttls", then run `pouch check work`
    === STAT: 77 loud
    pouch: work: 127.0.0.1 accepted the login, but refused access to the mailbox
      127.0.0.1 said: -ERR [AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.
    hint: set tls = "implicit" or "starttls", then run `pouch check work`
    === login: 77 loud
    pouch: work: 127.0.0.1 blocks this account or this machine
      127.0.0.1 said: -ERR [AUTH] Your account has been blocked
    hint: wait an hour or sign in on the provider's web site, then run `pouch check work`
    === STAT: the same
    === login: 77 loud
    pouch: work: 127.0.0.1 rejected the password
      127.0.0.1 said: -ERR [AUTH] Benutzer oder Passwort ungültig
    hint: check the password in ~/password, then run `pouch check work`
    === STAT: 77 loud
    pouch: work: 127.0.0.1 accepted the login, but refused access to the mailbox
      127.0.0.1 said: -ERR [AUTH] Benutzer oder Passwort ungültig
    hint: check the password in ~/password, then run `pouch check work`
    "#);
}

#[test]
fn texts_in_a_greeting_have_the_hint_of_a_refused_login() {
    let mut shown = String::new();
    for text in [
        "Your IP address is blocked.",
        "Account exceeded pop command or bandwidth limits. lc8",
        "Too many connections, try again later",
        "[SYS/PERM] Your account is not enabled for POP access",
        "Basic authentication is disabled.",
        "[SYS/PERM] closed for ever",
        "[AUTH] who are you",
        "no",
    ] {
        let desk = Desk::with(1, "retries = 0", |server| {
            server.fault(on_connect().answer(format!("-ERR {text}\r\n")).cut())
        });
        let output = desk.pouch(&["fetch", "-v"]).run();
        let report = output.stderr_text();
        let report = report.trim_end().trim_end_matches("work   nothing fetched");
        shown.push_str(&format!("=== {}\n{report}", output.code));
    }
    assert_snapshot!(shown, @r#"
    === 77
    pouch: work: 127.0.0.1 blocks this account or this machine
      127.0.0.1 said: -ERR Your IP address is blocked.
    hint: wait an hour or sign in on the provider's web site
    === 75
    pouch: work: 127.0.0.1 rejected the connection
      127.0.0.1 said: -ERR Account exceeded pop command or bandwidth limits. lc8
    hint: fetch less often, at most every 10 minutes
    === 75
    pouch: work: 127.0.0.1 rejected the connection
      127.0.0.1 said: -ERR Too many connections, try again later
    === 77
    pouch: work: POP3 is disabled for this account on 127.0.0.1
      127.0.0.1 said: -ERR [SYS/PERM] Your account is not enabled for POP access
    hint: enable POP in Gmail's web settings
    === 77
    pouch: work: 127.0.0.1 rejected the connection
      127.0.0.1 said: -ERR Basic authentication is disabled.
    hint: set oauth = "microsoft", run `pouch login work`
    === 69
    pouch: work: 127.0.0.1 rejected the connection
      127.0.0.1 said: -ERR [SYS/PERM] closed for ever
    === 75
    pouch: work: 127.0.0.1 rejected the connection
      127.0.0.1 said: -ERR [AUTH] who are you
    === 75
    pouch: work: 127.0.0.1 rejected the connection
      127.0.0.1 said: -ERR no
    "#);
}

#[test]
fn mechanism_that_the_server_lacks_is_not_a_wrong_password() {
    let mut shown = String::new();
    for text in [
        "[AUTH] Unsupported authentication mechanism.",
        "[AUTH] authenticating: no mechanism available",
    ] {
        let desk = Desk::with(1, "retries = 0\nauth = \"plain\"", |server| {
            server.fault(on("AUTH").refuse(&format!("-ERR {text}")))
        });
        shown.push_str(&desk.fetch(69).case(text));
    }
    assert_snapshot!(shown, @r#"
    === [AUTH] Unsupported authentication mechanism.
    $ pouch fetch
    ------- stderr -------
    pouch: work: 127.0.0.1 does not support this authentication mechanism
      127.0.0.1 said: -ERR [AUTH] Unsupported authentication mechanism.
    hint: set auth = "auto"
    [exit code: 69]
    === [AUTH] authenticating: no mechanism available
    $ pouch fetch
    ------- stderr -------
    pouch: work: 127.0.0.1 does not support this authentication mechanism
      127.0.0.1 said: -ERR [AUTH] authenticating: no mechanism available
    hint: set auth = "auto"
    [exit code: 69]
    "#);
}

#[test]
fn known_text_in_response_to_uidl_is_about_the_account() {
    let desk = refusing("UIDL", b"[SYS/PERM] pop not allowed for user.");
    let output = desk.fetch(77);
    output.assert_stderr("POP3 is disabled for this account on 127.0.0.1\n");
}

#[test]
fn check_and_plan_have_the_hint_of_a_refusal_after_the_login() {
    let desk = refusing("STAT", b"[SYS/PERM] pop not allowed for user.");
    let mut shown = desk.pouch(&["plan"]).run().stderr_text();
    shown.push_str(&desk.pouch(&["check"]).run().stderr_text());
    assert_snapshot!(shown, @"
    pouch: work: POP3 is disabled for this account on 127.0.0.1
      127.0.0.1 said: -ERR [SYS/PERM] pop not allowed for user.
    hint: allow POP in the account settings, and use an app password, then run `pouch check work`
    pouch: work: POP3 is disabled for this account on 127.0.0.1
      127.0.0.1 said: -ERR [SYS/PERM] pop not allowed for user.
    hint: allow POP in the account settings, and use an app password, then run `pouch check work`
    ");
}

// repeated logins

/// Runs pouch so many seconds after [`NOW`].
fn fetch_at(desk: &Desk, seconds: i64) -> Output {
    let run = desk.home.pouch(&["fetch"]);
    run.env("POUCH_NOW", (NOW + seconds).to_string()).run()
}

/// Returns the minutes of the first hours in which one of the runs, one each minute, logged in.
fn logins(desk: &Desk, minutes: i64) -> Vec<i64> {
    let mut found = Vec::new();
    for minute in 0..minutes {
        let before = desk.server.log().connections();
        fetch_at(desk, 60 * minute).assert_code(77);
        if desk.server.log().connections() > before {
            found.push(minute);
        }
    }
    found
}

#[test]
fn wrong_password_is_sent_four_times_in_the_first_hour() {
    let desk = refusing("PASS", b"[AUTH] Invalid credentials");
    assert_eq!(logins(&desk, 60), [0, 5, 15, 35]);
}

#[test]
fn disabled_access_is_tried_four_times_in_the_first_hour() {
    let desk = refusing("STAT", b"[SYS/PERM] pop not allowed for user.");
    assert_eq!(logins(&desk, 60), [0, 5, 15, 35]);
    desk.server.heal_all();
    fetch_at(&desk, 74 * 60).assert_code(77);
    fetch_at(&desk, 75 * 60).assert_code(0);
    // the refusals are forgotten
    desk.server
        .fault(on("STAT").refuse("-ERR pop not allowed for user"));
    fetch_at(&desk, 76 * 60).assert_code(77);
    let before = desk.server.log().connections();
    fetch_at(&desk, 81 * 60).assert_code(77);
    assert_eq!(desk.server.log().connections(), before + 1);
}

#[test]
fn refusal_that_may_be_a_limit_is_not_repeated_for_an_hour() {
    let desk = refusing("PASS", b"Account is abnormal, service is not open");
    assert_eq!(logins(&desk, 61), [0, 60]);
}

// by host

/// Runs pouch with the scripted server under the name of another host.
#[cfg(feature = "system-tests")]
fn named(desk: &Desk, host: &str, args: &[&str]) -> Output {
    named_at(desk, host, 0, args)
}

/// Runs pouch so many seconds after [`NOW`], with the server under the name of another host.
#[cfg(feature = "system-tests")]
fn named_at(desk: &Desk, host: &str, seconds: i64, args: &[&str]) -> Output {
    let text = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    let renamed = format!("host = \"{host}\"");
    desk.home
        .config(&text.replace("host = \"127.0.0.1\"", &renamed));
    let hosts = desk
        .home
        .write("hosts", format!("127.0.0.1 {host}\n"), 0o644);
    // in a mount namespace of its own
    let script = format!(
        "mount --bind '{}' /etc/hosts && exec \"$0\" \"$@\"",
        hosts.display()
    );
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let arguments = ["-m", "sh", "-c", &script, pouch];
    desk.home
        .system_command("unshare", &[&arguments, args].concat())
        .env("POUCH_NOW", (NOW + seconds).to_string())
        .run()
}

#[cfg(feature = "system-tests")]
#[test]
fn hint_depends_on_the_host_if_the_text_is_not_known() {
    let mut shown = String::new();
    for host in [
        "pop.gmx.net",
        "pop3.web.de",
        "outlook.office365.com",
        "pop.163.com",
        "pop.gmail.com",
    ] {
        let desk = refusing("AUTH", b"[AUTH] Unable to log on");
        let output = named(&desk, host, &["fetch"]);
        shown.push_str(&output.assert_code(77).stderr_text());
    }
    assert_snapshot!(shown, @r#"
    pouch: work: pop.gmx.net rejected the password
      pop.gmx.net said: -ERR [AUTH] Unable to log on
    hint: check the password in ~/password, and that GMX has not disabled POP3 after a long time without use, then run `pouch check work`
    pouch: work: pop3.web.de rejected the password
      pop3.web.de said: -ERR [AUTH] Unable to log on
    hint: check the password in ~/password, which must be an app password if 2-step verification is on, and that web.de has not disabled POP3 after a long time without use, then run `pouch check work`
    pouch: work: outlook.office365.com rejected the password
      outlook.office365.com said: -ERR [AUTH] Unable to log on
    hint: set oauth = "microsoft", run `pouch login work`, then run `pouch check work`
    pouch: work: pop.163.com rejected the password
      pop.163.com said: -ERR [AUTH] Unable to log on
    hint: check the password in ~/password, which must be an authorization code, and that POP3 is enabled in NetEase's web settings, then run `pouch check work`
    pouch: work: pop.gmail.com rejected the password
      pop.gmail.com said: -ERR [AUTH] Unable to log on
    hint: check the password in ~/password, which must be an app password, and that POP3 is enabled in Gmail's web settings, then run `pouch check work`
    "#);
}

#[cfg(feature = "system-tests")]
#[test]
fn check_reports_the_provider_and_what_the_server_announces() {
    let known = ["TOP", "UIDL", "USER", "EXPIRE 0", "LOGIN-DELAY 300"];
    let desk = Desk::with(1, "keep = \"none\"", |server| {
        server.capabilities(&known, &known)
    });
    let output = named(&desk, "pop.gmail.com", &["check"]);
    let lines: Vec<_> = output
        .assert_code(0)
        .stdout
        .lines()
        .filter(|line| line.contains("server") || line.contains("provider"))
        .collect();
    assert_snapshot!(lines.join("\n"), @"
    server   ok    UIDL TOP; may delete fetched messages (EXPIRE 0); 5m between logins; 1 message
    provider ok    Gmail: each session lists a part of the mailbox; its web settings decide what happens to fetched messages
    ");
}

#[test]
fn recent_mode_without_keep_is_a_warning() {
    let user = "recent:ann@gmail.com";
    let desk = Desk::with(1, "keep = \"none\"", |server| server.user(user, "secret"));
    let text = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    let text = text.replace("user = \"ann\"", &format!("user = \"{user}\""));
    desk.home.config(&text);
    let check = desk.pouch(&["check"]).run();
    check
        .assert_code(0)
        .assert_stdout("  provider warning user `recent:…` with keep = \"none\" may delete");
    let plan = desk.pouch(&["plan"]).run();
    assert_snapshot!(plan.assert_code(0).stderr_text(), @r#"pouch: work: user `recent:…` with keep = "none" may delete messages before other clients fetch them; set keep = "forever""#);
    desk.home.config(&text.replace("keep = \"none\"", ""));
    let plan = desk.pouch(&["plan"]).run();
    assert_snapshot!(plan.assert_code(0).stderr_text(), @"");
}

#[cfg(feature = "system-tests")]
#[test]
fn runs_that_follow_each_other_too_quickly_are_a_warning() {
    let desk = Desk::with(1, "", |server| server);
    let host = "pop3.web.de";
    for minute in 0..5 {
        named_at(&desk, host, 60 * minute, &["fetch"]).assert_code(0);
    }
    let output = named(&desk, host, &["check"]);
    output.assert_code(0).assert_stdout(
        "provider warning fetched every 1m; web.de may block logins more often than every 15m",
    );
}

#[cfg(feature = "system-tests")]
#[test]
fn sessions_of_gmail_continue_until_nothing_is_listed() {
    // a message that was fetched is not listed again, and was not deleted
    let desk = Desk::with(7, "keep = \"30d\"", |server| server.window(3));
    let host = "pop.gmail.com";
    named(&desk, host, &["fetch"])
        .assert_code(0)
        .assert_silent();
    desk.assert_arrived(1..=7);
    assert_eq!(desk.server.log().connections(), 4);
    assert_eq!(desk.server.remaining(), 7);
    // known messages that are absent are not suspected to have new UIDs
    desk.server.add("uid-8", crate::server::corpus::message(8));
    named(&desk, host, &["fetch"])
        .assert_code(0)
        .assert_silent();
    desk.assert_arrived(1..=8);
    assert_eq!(desk.server.log().count("TOP"), 0);
    let output = named(&desk, host, &["status"]);
    assert_snapshot!(output.assert_code(0).stdout, @"work   last run 2026-11-23 00:00, 1 new, 363 B");
}

#[cfg(feature = "system-tests")]
#[test]
fn refused_token_has_no_hint_about_passwords() {
    let mut shown = String::new();
    for (host, text) in [
        (
            "outlook.office365.com",
            "Authentication failure: unknown user name or bad password.",
        ),
        ("outlook.office365.com", "[AUTH] no"),
        ("pop.gmail.com", "[AUTH] Invalid credentials"),
    ] {
        let known = ["UIDL", "TOP", "SASL XOAUTH2"];
        let desk = Desk::with(1, "retries = 0", |server| {
            let server = server.capabilities(&known, &known);
            server.fault(crate::server::on_response().refuse(&format!("-ERR {text}")))
        });
        let config = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
        desk.home.config(&config.replace(
            "password-file = \"~/password\"",
            "token-command = [\"cat\", \"password\"]",
        ));
        let output = named(&desk, host, &["fetch"]);
        shown.push_str(&output.assert_code(77).stderr_text());
    }
    assert_snapshot!(shown, @"
    pouch: work: login refused by outlook.office365.com
      outlook.office365.com said: -ERR Authentication failure: unknown user name or bad password.
    hint: check that `cat` signs in as ann, that this is the primary address, and that POP3 is enabled for this mailbox, then run `pouch check work`
    pouch: work: outlook.office365.com rejected the token
      outlook.office365.com said: -ERR [AUTH] no
    hint: check that `cat` signs in as ann, that this is the primary address, and that POP3 is enabled for this mailbox, then run `pouch check work`
    pouch: work: pop.gmail.com rejected the token
      pop.gmail.com said: -ERR [AUTH] Invalid credentials
    hint: check that `cat` signs in as ann, that this is the primary address, and that POP3 is enabled for this mailbox, then run `pouch check work`
    ");
}
