//! `pouch login`: the flows.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::TcpStream,
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use insta::assert_snapshot;
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};
use url::Url;

use super::{
    Bench,
    browser::{Browser, Choice},
    endpoint::Endpoint,
};
use crate::{
    real::{ALICE, BOB},
    support::watch::wait_for_change,
};

#[test]
fn browser_brings_the_code_and_runs_use_the_token() {
    let bench = Bench::new(&[]);
    let output = bench.sign_in();
    output
        .assert_stdout("work: sign in to 127.0.0.1 as alice")
        .assert_stdout("work: signed in; later runs renew the token")
        .assert_stdout("pop3  ok   127.0.0.1: 3 messages");
    bench.pouch(&["fetch"]).run().assert_code(0);
    assert_eq!(bench.home.maildir("Mail/work").delivered().len(), 3);
    bench
        .pouch(&["check"])
        .run()
        .assert_code(0)
        .assert_stdout("secret   ok    127.0.0.1, signed in")
        .assert_stdout("login    ok    XOAUTH2")
        .assert_stdout("sandbox  ok");
    bench.pouch(&["fetch"]).run().assert_code(0);
    // one for the code: the token is valid for five minutes
    assert_eq!(bench.requests().len(), 1);
}

#[test]
fn wrong_state_and_idle_connection_do_not_end_the_wait() {
    let bench = Bench::new(&[]);
    let (login, url) = bench.begin_login(&[]);
    let redirect = Url::parse(&Browser::new().sign_in(&url, ALICE)).unwrap();
    let host = ("127.0.0.1", redirect.port().unwrap());
    let mut idle = TcpStream::connect(host).unwrap();
    let other = |query: &str| {
        let mut url = redirect.clone();
        url.set_query(Some(query));
        Browser::get(url.as_str()).0
    };
    assert_eq!(other("code=x&state=y"), 400);
    assert_eq!(other("code=x"), 400);
    assert_eq!(other("error=access_denied&state=y"), 400);
    assert_eq!(other(""), 404);
    let (status, page) = Browser::get(redirect.as_str());
    assert_eq!(status, 200);
    assert_snapshot!(
        page,
        @"The terminal shows whether pouch is signed in. You can close this window."
    );
    login.wait().assert_code(0);
    drop(idle.read(&mut [0]));
}

/// A terminal in canonical mode would cut the line after 4095 bytes.
#[test]
fn long_address_is_pasted_at_a_terminal() {
    let bench = Bench::new(&[]);
    let (mut keyboard, terminal) = terminal();
    let is_canonical = || {
        let mode = tcgetattr(&terminal).unwrap().local_modes;
        mode.contains(LocalModes::ICANON)
    };
    assert!(is_canonical());
    let mut login = bench
        .pouch(&["login", "--no-browser"])
        .terminal(terminal.try_clone().unwrap())
        .spawn();
    login.wait_for("that page here");
    let url = super::address(&login.stdout());
    let redirect = Browser::new().sign_in(&url, ALICE);
    keyboard
        .write_all(b"http://127.0.0.1/?code=x&state=y\n")
        .unwrap();
    login.wait_for("this address belongs to another sign-in; use the one printed above");
    keyboard.write_all(b"hello\n").unwrap();
    login.wait_for("this address has no code");
    let long = format!("{redirect}&session_state={}\n", "x".repeat(6000));
    keyboard.write_all(long.as_bytes()).unwrap();
    login.wait().assert_code(0).assert_stdout("3 messages");
    assert!(is_canonical());
}

/// Returns both ends of a terminal.
pub(super) fn terminal() -> (File, OwnedFd) {
    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&keyboard).unwrap();
    unlockpt(&keyboard).unwrap();
    let name = ptsname(&keyboard, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let terminal = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
    let keyboard = File::from(keyboard);
    // what the terminal echoes has to be read
    let mut echo = keyboard.try_clone().unwrap();
    thread::spawn(move || io::copy(&mut echo, &mut io::sink()));
    (keyboard, terminal)
}

#[test]
fn response_of_another_issuer_does_not_count() {
    let bench = Bench::new(&[]);
    let (login, url) = bench.begin_login(&[]);
    let right = Browser::new().sign_in(&url, ALICE);
    let issuer = bench
        .issuer
        .value("issuer")
        .replace(':', "%3A")
        .replace('/', "%2F");
    assert!(right.contains(&issuer), "{right}");
    let wrong = right.replace(&issuer, "https%3A%2F%2Fevil.example");
    assert_eq!(Browser::get(&wrong).0, 400);
    assert_eq!(Browser::get(&right).0, 200);
    login.wait().assert_code(0);
}

/// The address is also the one that pouch prints, and the browser gets the user's environment.
#[test]
fn browser_is_opened_on_a_desktop() {
    let bench = Bench::new(&[]);
    let script = "#!/bin/sh\necho \"$1 $SSL_CERT_FILE\" > \"$HOME/opened.new\"\n\
                  mv \"$HOME/opened.new\" \"$HOME/opened\"\n";
    bench.home.write("bin/xdg-open", script, 0o755);
    let path = std::env::var_os("PATH").unwrap();
    let path = format!(
        "{}:{}",
        bench.home.join("bin").display(),
        path.to_str().unwrap()
    );
    let login = || {
        let run = bench.pouch(&["login"]).env("PATH", &path);
        run.env("SSL_CERT_FILE", bench.issuer.value("ca_file"))
    };
    let mut remote = login()
        .env("DISPLAY", ":0")
        .env("SSH_CONNECTION", "x")
        .spawn();
    remote.wait_for("waiting for the browser");
    drop(remote);
    let mut local = login().env("DISPLAY", ":0").spawn();
    local.wait_for("opened http");
    let url = super::address(&local.stdout());
    wait_for_change(&[bench.home.path()], || bench.home.join("opened").exists());
    let opened = String::from_utf8(bench.home.read("opened")).unwrap();
    assert_eq!(
        opened.trim(),
        format!("{url} {}", bench.issuer.value("ca_file"))
    );
}

#[test]
fn issuer_is_trusted_by_authorities_of_the_system_or_the_config() {
    let bench = Bench::new(&["https=yes"]);
    let ca = bench.issuer.value("ca_file");
    bench
        .pouch(&["login"])
        .run()
        .assert_code(75)
        .assert_stderr("certificate verify failed");
    let client = "client-id = \"pop-client\"";
    bench.configure(&format!("{client}, ca-file = \"{ca}\""));
    bench.sign_in();
    bench.expire();
    bench.pouch(&["fetch"]).run().assert_code(0);
    bench.configure(client);
    bench.expire();
    bench
        .pouch(&["fetch"])
        .env("SSL_CERT_FILE", ca)
        .run()
        .assert_code(0);
    assert_eq!(bench.requests().len(), 3);
}

#[test]
fn client_with_a_secret_sends_it() {
    for client in ["pop-client-post", "pop-client-basic"] {
        let bench = Bench::new(&[]);
        bench.configure(&format!(
            "client-id = \"{client}\", client-secret = \"client-secret\""
        ));
        let output = bench.pouch(&["config", "show"]).run();
        assert!(!output.stdout.contains("client-secret\""), "{output}");
        bench.sign_in();
        bench.expire();
        bench.pouch(&["fetch"]).run().assert_code(0);
    }
}

#[test]
fn other_user_is_refused_by_the_server_and_explained() {
    let bench = Bench::new(&[]);
    let (login, url) = bench.begin_login(&[]);
    let redirect = Browser::new().sign_in(&url, BOB);
    Browser::get(&redirect);
    login
        .wait()
        .assert_code(77)
        .assert_stderr("127.0.0.1 rejected the token")
        .assert_stderr("hint: sign in as alice with `pouch login work`, and check that");
}

#[test]
fn user_who_enters_the_code_of_a_device_signs_in() {
    let bench = Bench::new(&["interval=1"]);
    let mut login = bench.pouch(&["login", "--device"]).spawn();
    login.wait_for("and enter the code");
    let (address, code) = device(&login.stdout());
    Browser::new().enter_code(&address, &code, ALICE, Choice::Approve);
    login
        .wait()
        .assert_code(0)
        .assert_stdout("pop3  ok   127.0.0.1: 3 messages");
}

#[test]
fn denied_device_is_an_error() {
    let bench = Bench::new(&["interval=1"]);
    let mut login = bench.pouch(&["login", "--device"]).spawn();
    login.wait_for("and enter the code");
    let (address, code) = device(&login.stdout());
    Browser::new().enter_code(&address, &code, ALICE, Choice::Deny);
    login
        .wait()
        .assert_code(77)
        .assert_stderr("the request was denied in the browser");
}

#[test]
fn expired_code_of_a_device_is_transient() {
    let bench = Bench::new(&["interval=1", "device_ttl=2"]);
    bench
        .pouch(&["login", "--device"])
        .run()
        .assert_code(75)
        .assert_stderr("the code expired");
}

#[test]
fn device_waits_longer_after_slow_down() {
    let bench = Bench::new(&[]);
    let issuer = Endpoint::start(|n| {
        let (status, body) = match n {
            1 => (
                200,
                r#"{"device_code": "d", "user_code": "AB-CD", "verification_uri": "https://x/",
                "verification_uri_complete": "https://x/?c=AB-CD", "interval": 1}"#,
            ),
            2 => (400, r#"{"error": "slow_down"}"#),
            3 => (400, r#"{"error": "access_denied"}"#),
            _ => (500, ""),
        };
        (status, String::new(), body.to_owned())
    });
    let keys = format!(
        "token-endpoint = \"{0}\", device-endpoint = \"{0}\", scope = [\"mail\"], \
         client-id = \"x\"",
        issuer.url
    );
    bench.home.config(&bench.account("work", &keys));
    let began = Instant::now();
    bench
        .pouch(&["login", "--device"])
        .run()
        .assert_code(77)
        .assert_stdout("enter the code AB-CD")
        .assert_stdout("or open https://x/?c=AB-CD");
    // 1 s, then 5 s more
    assert!(began.elapsed() >= Duration::from_secs(7));
    assert_eq!(issuer.requests.try_iter().count(), 3);
}

/// Returns the address and the code that `pouch login --device` printed.
fn device(output: &str) -> (String, String) {
    let line = output.lines().find(|line| line.contains("enter the code"));
    let code = line.unwrap().rsplit(' ').next().unwrap().to_owned();
    (super::address(output), code)
}

#[test]
fn sign_in_is_forgotten_and_revoked() {
    let bench = Bench::new(&[]);
    bench.sign_in();
    let forget = || bench.pouch(&["login", "--forget"]).run();
    forget().assert_code(0).assert_stdout("signed out");
    let log = format!("{}/oauth.log", bench.issuer.value("log"));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("POST revocation 200"), "{log}");
    forget().assert_code(0).assert_stdout("not signed in");
    bench
        .pouch(&["fetch"])
        .run()
        .assert_code(77)
        .assert_stderr("hint: run `pouch login work`");
}

#[test]
fn account_is_chosen_or_has_to_be_named() {
    let bench = Bench::new(&[]);
    let keys = "provider = \"microsoft\", client-id = \"x\"";
    let both =
        format!("{}{}", bench.account("a", keys), bench.account("b", keys)).replacen(ALICE, BOB, 1);
    bench.home.config(&both);
    bench
        .pouch(&["login"])
        .run()
        .assert_code(64)
        .assert_stderr("`pouch login ACCOUNT` with one of: a, b");
    bench.home.config(&both.replace("oauth = ", "# oauth = "));
    bench
        .pouch(&["login", "a"])
        .run()
        .assert_code(64)
        .assert_stderr("account `a` does not use OAuth 2.0");
}
