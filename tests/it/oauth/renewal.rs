//! The renewal of tokens: what is requested, and what is stored.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use insta::assert_snapshot;
use pouch::sys::interrupt::Interrupt;

use super::{Bench, endpoint::Endpoint};
use crate::support::{
    mount::Mounted,
    run::Output,
    trace::{self, points, sample},
};

/// The maximum number of kills.
const KILLS: usize = 14;

/// The number of processes that renew the same token.
const POUCHES: usize = 20;

/// Starts the servers, and signs in.
fn signed_in(options: &[&str]) -> Bench {
    let bench = Bench::new(options);
    bench.sign_in();
    bench
}

#[track_caller]
fn fetch(bench: &Bench, code: i32) -> Output {
    let output = bench.pouch(&["fetch"]).run();
    output.assert_code(code);
    output
}

#[test]
fn expired_token_is_renewed() {
    let bench = signed_in(&["rotate=yes"]);
    let first = bench.stored("refresh_token");
    bench.expire();
    fetch(&bench, 0).assert_silent();
    assert_ne!(bench.stored("refresh_token"), first);
    assert_eq!(bench.requests().len(), 2);
    let mode = fs::metadata(bench.tokens()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn refresh_token_stays_if_the_issuer_sends_no_other_one() {
    let bench = signed_in(&["rotate=no"]);
    let first = bench.stored("refresh_token");
    bench.expire();
    fetch(&bench, 0);
    assert_eq!(bench.stored("refresh_token"), first);
}

#[test]
fn token_that_the_server_refuses_is_renewed_once() {
    let bench = signed_in(&["rotate=yes"]);
    bench.store("access_token", "revoked".into());
    fetch(&bench, 0).assert_silent();
    assert_eq!(bench.requests().len(), 2);
}

#[test]
fn token_is_renewed_after_the_clock_was_set_back() {
    let bench = signed_in(&[]);
    for key in ["obtained", "expires"] {
        let later = bench.stored(key).as_i64().unwrap() + 86_400;
        bench.store(key, later.into());
    }
    fetch(&bench, 0);
    assert_eq!(bench.requests().len(), 2);
}

#[test]
fn lost_grant_is_reported_once() {
    let bench = signed_in(&[]);
    bench.store("refresh_token", "unknown".into());
    bench.expire();
    let output = fetch(&bench, 77);
    let date = output.stderr.split("signed in on ").nth(1);
    let date = date.unwrap().lines().next().unwrap().to_owned();
    assert_snapshot!(output.stderr.replace(&date, "DATE"), @"
    pouch: work: 127.0.0.1 refused the sign-in of alice: the sign-in is no longer valid: it expired or was revoked
      127.0.0.1: invalid_grant: grant request is invalid
      signed in on DATE
    hint: run `pouch login work`
    ");
    assert_eq!(bench.requests().len(), 2);
    // the issuer is not asked again
    fetch(&bench, 77).assert_silent();
    assert_eq!(bench.requests().len(), 2);
    bench
        .pouch(&["status"])
        .run()
        .assert_code(1)
        .assert_stdout("`pouch login work`");
    bench.sign_in();
    fetch(&bench, 0);
    bench.pouch(&["status"]).run().assert_code(0);
}

/// A restored backup may replace the file while a run renews the token. The token that the issuer
/// accepts is kept.
#[test]
fn file_that_is_replaced_during_a_renewal_does_not_end_the_sign_in() {
    for (refused, expected) in [
        (0, ["old", "next"].as_slice()),
        (1, &["old", "new", "next"]),
    ] {
        let bench = signed_in(&[]);
        let path = bench.tokens();
        let issuer = Endpoint::start(move |n| {
            if n == 1 {
                let text = fs::read_to_string(&path).unwrap();
                let other = path.with_extension("other");
                fs::write(&other, text.replace("\"old\"", "\"new\"")).unwrap();
                fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
                fs::rename(&other, &path).unwrap();
            }
            let (status, body) = if n <= refused {
                (400, r#"{"error": "invalid_grant"}"#)
            } else {
                (200, r#"{"access_token": "at", "refresh_token": "next"}"#)
            };
            (status, String::new(), body.to_owned())
        });
        bench.store("refresh_token", "old".into());
        bench.store("token_endpoint", issuer.url.as_str().into());
        bench.expire();
        // Dovecot does not know this access token, so it is renewed again
        fetch(&bench, 77);
        let requests: Vec<_> = issuer.requests.try_iter().collect();
        assert_eq!(requests.len(), expected.len(), "{requests:?}");
        for (request, token) in requests.iter().zip(expected) {
            let token = format!("refresh_token={token}&");
            assert!(request.contains(&token), "{request}");
        }
        assert_eq!(bench.stored("refresh_token"), "next");
        assert_eq!(bench.stored("lost"), serde_json::Value::Null);
    }
}

#[test]
fn account_without_a_sign_in_leads_to_login() {
    let bench = Bench::new(&[]);
    let output = fetch(&bench, 77);
    assert_snapshot!(output.stderr, @"
    pouch: work: alice is not signed in to 127.0.0.1
    hint: run `pouch login work`
    ");
    bench
        .pouch(&["status"])
        .run()
        .assert_code(1)
        .assert_stdout("`pouch login work`");
}

#[test]
fn unavailable_issuer_is_transient() {
    let bench = signed_in(&[]);
    bench.expire();
    bench.store("token_endpoint", "http://127.0.0.1:1/".into());
    fetch(&bench, 75).assert_silent();
    let portal = Endpoint::always(200, "<html>log in to the Wi-Fi</html>");
    bench.store("token_endpoint", portal.url.as_str().into());
    fetch(&bench, 75).assert_silent();
    let busy = Endpoint::start(|_| (503, "Retry-After: 600\r\n".into(), String::new()));
    bench.store("token_endpoint", busy.url.as_str().into());
    fetch(&bench, 75).assert_silent();
    // it asked for more time than a run waits
    assert_eq!(busy.requests.try_iter().count(), 1);
}

#[test]
fn brief_failure_of_the_issuer_is_retried() {
    let bench = signed_in(&[]);
    bench.expire();
    let token = bench.stored("access_token");
    let endpoint = Endpoint::start(move |n| match n {
        1 => (500, "Retry-After: 1\r\n".into(), String::new()),
        _ => (
            200,
            String::new(),
            format!("{{\"access_token\": {token}, \"expires_in\": 300}}"),
        ),
    });
    bench.store("token_endpoint", endpoint.url.as_str().into());
    fetch(&bench, 0).assert_silent();
    assert_eq!(endpoint.requests.try_iter().count(), 2);
}

#[test]
fn redirect_of_the_token_endpoint_is_not_followed() {
    let bench = signed_in(&[]);
    bench.expire();
    let target = Endpoint::always(200, "");
    let location = format!("Location: {}\r\n", target.url);
    let endpoint = Endpoint::start(move |_| (307, location.clone(), String::new()));
    bench.store("token_endpoint", endpoint.url.as_str().into());
    fetch(&bench, 75);
    assert_eq!(target.requests.try_iter().count(), 0);
}

#[test]
fn signal_does_not_lose_a_token_that_is_being_renewed() {
    let bench = signed_in(&[]);
    bench.expire();
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let endpoint = Endpoint::start(move |_| {
        wait.lock().unwrap().recv().unwrap();
        let body = "{\"access_token\": \"at\", \"expires_in\": 300, \"refresh_token\": \"next\"}";
        (200, String::new(), body.into())
    });
    bench.store("token_endpoint", endpoint.url.as_str().into());
    let mut run = bench.pouch(&["fetch"]).spawn();
    endpoint.requests.recv().unwrap();
    run.signal(15);
    // longer than pouch otherwise takes to end after a signal
    Interrupt::default()
        .sleep(Duration::from_millis(1500))
        .unwrap();
    assert!(run.is_running());
    go.send(()).unwrap();
    run.wait().assert_code(128 + 15);
    assert_eq!(bench.stored("refresh_token"), "next");
}

#[test]
fn read_only_directory_does_not_spend_a_token() {
    let bench = signed_in(&["rotate=yes"]);
    bench.expire();
    let dir = bench.home.state().join("oauth");
    {
        let _mount = Mounted::read_only(&bench.home, dir.clone());
        fetch(&bench, 73).assert_stderr("Read-only file system");
    }
    let tokens = fs::read(bench.tokens()).unwrap();
    let name = bench.tokens();
    {
        let _mount = Mounted::tmpfs(&bench.home, dir.clone(), "64k");
        fs::write(&name, tokens).unwrap();
        fs::set_permissions(&name, fs::Permissions::from_mode(0o600)).unwrap();
        fill(&dir);
        fetch(&bench, 74).assert_stderr("No space left on device");
    }
    assert_eq!(bench.requests().len(), 1);
    fetch(&bench, 0);
    assert_eq!(bench.refused(), 0);
}

/// Fills the disk.
fn fill(dir: &Path) {
    let mut size = 64 * 1024;
    while size >= 1024 {
        let file = dir.join(format!("ballast{size}"));
        if fs::write(&file, vec![b'x'; size]).is_err() {
            size /= 2;
        } else {
            fs::rename(&file, dir.join(format!("full{size}"))).unwrap();
        }
    }
}

#[test]
fn login_does_not_start_if_tokens_cannot_be_written() {
    let bench = Bench::new(&[]);
    let dir = bench.home.make_dir(".local/state/pouch/oauth", 0o700);
    let _mount = Mounted::read_only(&bench.home, dir);
    bench
        .pouch(&["login"])
        .run()
        .assert_code(73)
        .assert_stderr("Read-only file system");
}

#[test]
fn file_that_others_can_read_is_refused() {
    let bench = signed_in(&[]);
    fs::set_permissions(bench.tokens(), fs::Permissions::from_mode(0o640)).unwrap();
    fetch(&bench, 77).assert_stderr("is accessible to other users");
}

/// Twenty processes use one sign-in at an issuer that revokes it if a refresh token is used twice.
#[test]
fn concurrent_runs_renew_a_rotating_token_once() {
    let seconds = if std::env::var_os("POUCH_EVERY").is_some() {
        60
    } else {
        9
    };
    let bench = signed_in(&["rotate=yes", "token_ttl=5"]);
    let end = Instant::now() + Duration::from_secs(seconds);
    thread::scope(|scope| {
        for n in 0..POUCHES {
            let bench = &bench;
            scope.spawn(move || {
                while Instant::now() < end {
                    let args: &[&str] = match n % 2 {
                        0 => &["check", "work"],
                        _ => &["fetch", "--wait", "50s"],
                    };
                    bench.pouch(args).run().assert_code(0);
                }
            });
        }
    });
    assert_eq!(bench.refused(), 0, "{:?}", bench.requests());
    let requests = bench.requests().len() as u64;
    assert!((2..=seconds).contains(&requests), "{requests} requests");
}

#[test]
fn killed_renewal_keeps_a_token_unless_the_response_had_arrived() {
    const CALLS: &str = "open,openat,flock,fallocate,write,fsync,rename,connect,sendto,recvfrom,\
                         unlink";
    let bench = signed_in(&["rotate=yes"]);
    let expire = |bench: &Bench| {
        bench.expire();
        bench.stored("refresh_token")
    };
    expire(&bench);
    trace::traced(&bench.home, CALLS, None, &["fetch"])
        .run()
        .assert_code(0);
    let calls = trace::calls(&bench.home);
    let of_store = |call: &trace::Call| call.concerns(&["/oauth"]);
    let end = calls
        .iter()
        .filter(|call| of_store(call))
        .map(|call| call.ended)
        .max();
    let is_renewal = |call: &trace::Call| {
        let is_network = ["connect", "sendto", "recvfrom"].contains(&call.name.as_str());
        Some(call.began) < end && (is_network || of_store(call))
    };
    let points = points(&calls, is_renewal);
    assert!(points.len() > 8, "{points:?}");
    for point in sample(&points, KILLS) {
        let before = expire(&bench);
        let requests = bench.requests().len();
        let inject = format!("{}:signal=KILL:when={}", point.call, point.nth);
        let killed = trace::traced(&bench.home, CALLS, Some(&inject), &["fetch"]).run();
        let is_stored = bench.stored("refresh_token") != before;
        let next = bench.pouch(&["check"]).run();
        println!("{point:?}: {}, then {}", killed.code, next.code);
        if next.code != 0 {
            // the issuer had got the request, and accepted it
            next.assert_code(77).assert_stderr("run `pouch login work`");
            assert!(!is_stored, "{point:?}: {next}");
            assert_eq!(bench.requests().len(), requests + 2, "{point:?}: {next}");
            bench.sign_in();
        }
        let left = fs::read_dir(bench.home.state().join("oauth")).unwrap();
        let left: Vec<_> = left.map(|file| file.unwrap().path()).collect();
        assert_eq!(left.len(), 2, "{point:?}: {left:?}");
    }
}

#[test]
fn tokens_are_in_no_output_and_no_other_file() {
    let bench = Bench::new(&["rotate=yes"]);
    let mut outputs = vec![bench.sign_in()];
    let mut secrets = Vec::new();
    let mut remember = |bench: &Bench| {
        for key in ["access_token", "refresh_token"] {
            let token = bench.stored(key).as_str().unwrap().to_owned();
            assert!(token.len() > 20, "{key}: {token}");
            secrets.push(token);
        }
    };
    remember(&bench);
    bench.expire();
    for args in [
        &["fetch", "-vv"][..],
        &["fetch", "-vv", "--json"],
        &["check"],
        &["check", "--json", "-vv"],
        &["status", "--json"],
        &["config", "show"],
        &["ledger", "list", "--all", "--json"],
    ] {
        outputs.push(bench.pouch(args).run());
    }
    remember(&bench);
    bench.store("access_token", "refused-by-the-server-for-sure".into());
    bench.store("refresh_token", "unknown-to-the-issuer-for-sure".into());
    outputs.push(bench.pouch(&["fetch", "-vv"]).run());
    outputs.push(bench.pouch(&["login", "--forget"]).run());
    secrets.extend(
        [
            "refused-by-the-server-for-sure",
            "unknown-to-the-issuer-for-sure",
        ]
        .map(str::to_owned),
    );
    for output in &outputs {
        for secret in &secrets {
            let text = format!("{output}");
            assert!(!text.contains(secret.as_str()), "{secret} in {text}");
        }
    }
    for path in files(bench.home.path()) {
        let bytes = fs::read(&path).unwrap();
        for secret in &secrets {
            let found = memchr::memmem::find(&bytes, secret.as_bytes());
            assert!(found.is_none(), "a token is in {}", path.display());
        }
    }
}

/// Returns all files below a directory.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}
