//! Everything that pouch waits for has a time limit, and a signal ends the wait within a second.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::process::ExitStatusExt,
    path::Path,
    process,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use insta::assert_snapshot;
use openssl::{
    pkey::PKey,
    ssl::{SslAcceptor, SslMethod},
    x509::X509,
};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::{Pid, Signal, kill_process},
};

use crate::{
    fixture::{Desk, NOW},
    server::{Server, corpus, on},
    support::{
        Home,
        run::{Child, Output},
        watch::wait_for_change,
    },
};

/// The time within which a signal ends pouch, with some room for a busy machine.
const SOON: Duration = Duration::from_millis(1_500);

/// Sends a signal to pouch, and asserts that it ends soon, with that signal as its status.
#[track_caller]
fn assert_ends_soon(mut child: Child, signal: i32) -> Output {
    let sent = Instant::now();
    child.signal(signal);
    let output = child.wait();
    let elapsed = sent.elapsed();
    output.assert_code(128 + signal);
    assert!(elapsed < SOON, "it ended after {elapsed:?}\n{output}");
    output
}

// TLS

/// Serves one connection in a thread. Returns its port.
fn serve(serve: impl FnOnce(TcpStream) + Send + 'static) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || serve(listener.accept().unwrap().0));
    (port, thread)
}

/// Sends these bytes, one in each `interval`, until the client closes the connection.
fn drip(mut client: TcpStream, bytes: &[u8], interval: Duration) {
    client.set_read_timeout(Some(interval)).unwrap();
    for byte in bytes {
        if client.write_all(&[*byte]).is_err() || matches!(client.read(&mut [0; 4096]), Ok(0)) {
            return;
        }
    }
}

/// Returns a home with an account on `localhost` with TLS.
fn secure_account(port: u16, lines: &str) -> Home {
    let home = Home::new();
    home.write("password", "secret\n", 0o600);
    home.config(&format!(
        "[account.work]\nhost = \"localhost\"\nport = {port}\nuser = \"ann\"\nretries = 0\n\
         password-file = \"~/password\"\nmaildir = \"~/Mail\"\n{lines}\n"
    ));
    home
}

#[test]
fn slow_handshake_ends_at_the_timeout() {
    let (port, server) = serve(|client| {
        // a record of 16 KiB: more than its beginning never arrives
        let record = [&b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"[..], &[0; 100]].concat();
        drip(client, &record, Duration::from_millis(700));
    });
    let home = secure_account(port, "timeout = \"1s\"");
    let began = Instant::now();
    let output = home.pouch(&["fetch", "-v"]).run();
    output
        .assert_code(75)
        .assert_stderr("localhost did not respond in time");
    assert!(began.elapsed() < Duration::from_secs(4), "{output}");
    server.join().unwrap();
}

/// Completes a TLS handshake, and sends session tickets until the client closes the connection.
fn send_tickets(client: TcpStream, own: &rcgen::CertifiedKey<rcgen::KeyPair>) {
    let mut acceptor = SslAcceptor::mozilla_modern_v5(SslMethod::tls()).unwrap();
    let certificate = X509::from_pem(own.cert.pem().as_bytes()).unwrap();
    let key = PKey::private_key_from_pem(own.signing_key.serialize_pem().as_bytes()).unwrap();
    acceptor.set_certificate(&certificate).unwrap();
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_num_tickets(usize::MAX).unwrap();
    assert!(acceptor.build().accept(client).is_err());
}

/// Returns a home with an account on a server that sends session tickets instead of a greeting.
/// The channel receives a value when the client has begun the handshake.
fn account_with_tickets(lines: &str) -> (Home, JoinHandle<()>, mpsc::Receiver<()>) {
    let (begun, greeted) = mpsc::channel();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = own.cert.pem();
    let (port, server) = serve(move |client| {
        client.peek(&mut [0; 1]).unwrap();
        let _ = begun.send(());
        send_tickets(client, &own);
    });
    let home = secure_account(port, &format!("tls-ca-file = \"~/ca.pem\"\n{lines}"));
    home.write("ca.pem", pem, 0o600);
    (home, server, greeted)
}

/// Fetches from a server of this TLS version that sends nothing but the handshake messages of
/// `command`, a command of `openssl s_server`.
#[cfg(feature = "system-tests")]
#[track_caller]
fn flood(version: &str, command: &str) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let home = Home::new();
    home.write("ca.pem", own.cert.pem(), 0o600);
    home.write("key.pem", own.signing_key.serialize_pem(), 0o600);
    // free again once the listener is dropped
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let script = format!(
        "yes {command} | exec openssl s_server -accept 127.0.0.1:{port} -naccept 1 -{version} \
         -cert ca.pem -key key.pem"
    );
    let mut server = home.system_command("sh", &["-c", &script]).spawn();
    server.wait_for("ACCEPT");
    let account = secure_account(port, "timeout = \"1s\"\ntls-ca-file = \"~/ca.pem\"");
    account.write("ca.pem", own.cert.pem(), 0o600);
    let run = account.pouch(&["fetch", "-v"]);
    let output = run.within(Duration::from_secs(25)).run();
    output.assert_code(75);
    server.kill();
    server.wait();
}

#[cfg(feature = "system-tests")]
#[test]
fn key_updates_are_not_progress() {
    flood("tls1_3", "k");
    flood("tls1_3", "K");
}

#[cfg(feature = "system-tests")]
#[test]
fn hello_requests_are_not_progress() {
    flood("tls1_2", "r");
    flood("tls1_2", "R");
}

#[test]
fn port_that_expects_tls_is_recognised_before_the_timeout() {
    let server = Server::implicit_tls().start();
    let home = Home::new();
    home.write("password", "secret\n", 0o600);
    home.config(&format!(
        "[account.work]\nhost = \"localhost\"\nport = {}\nuser = \"ann\"\ntls = \"starttls\"\n\
         password-file = \"~/password\"\nmaildir = \"~/Mail\"\ntimeout = \"10m\"\n",
        server.port()
    ));
    let output = home.pouch(&["fetch"]).run();
    assert_snapshot!(output.assert_code(76).stderr_text(), @r#"
    pouch: work: localhost expects TLS on port PORT
    hint: set tls = "implicit"
    "#);
}

#[test]
fn session_tickets_are_not_progress() {
    let (home, server, _) = account_with_tickets("timeout = \"1s\"");
    let run = home.pouch(&["fetch", "-v"]).within(Duration::from_secs(25));
    run.run()
        .assert_code(75)
        .assert_stderr("localhost did not respond in time");
    server.join().unwrap();
}

#[test]
fn signal_ends_a_wait_during_session_tickets() {
    let (home, server, greeted) = account_with_tickets("timeout = \"60s\"");
    let child = home.pouch(&["fetch"]).spawn();
    greeted.recv().unwrap();
    assert_ends_soon(child, 15);
    server.join().unwrap();
}

// signals

/// Returns servers that send an endless message, and a home with an account on each of them.
fn endless_messages(count: usize) -> (Home, Vec<Server>) {
    let servers: Vec<_> = (0..count)
        .map(|n| {
            // the first runs of addresses with the same UIDs would wait for each other
            let uid = format!("big-{n}");
            let server = Server::plain()
                .message(uid.as_str(), corpus::message(1))
                .fault(on("RETR").forever("The quick brown fox jumps over the lazy dog.\r\n"))
                .start();
            server.list_as(uid, 900_000_000_000);
            server
        })
        .collect();
    let home = Home::new();
    home.write("password", "secret\n", 0o600);
    let hosts = ["127.0.0.1", "localhost", "127.1"];
    let accounts = servers.iter().zip(hosts).map(|(server, host)| {
        format!(
            "[account.a{0}]\nhost = \"{host}\"\nport = {0}\nuser = \"ann\"\nmaildir = \"~/Mail\"\n",
            server.port()
        )
    });
    let accounts: String = accounts.collect();
    home.config(&format!(
        "jobs = {count}\n[defaults]\npassword-file = \"~/password\"\ntls = \"off\"\n\
         allow-plaintext-password = true\nmax-size = \"999999GB\"\n{accounts}"
    ));
    (home, servers)
}

cases! { signal_ends_transfers_of_all_accounts:
    sigterm_and_one_account(1, 15),
    sigterm_and_two_accounts(2, 15),
    sigint_and_three_accounts(3, 2),
}

fn signal_ends_transfers_of_all_accounts(count: usize, signal: i32) {
    let (home, servers) = endless_messages(count);
    let limit = Duration::from_secs(4);
    let child = home.pouch(&["fetch"]).within(limit).spawn();
    for server in &servers {
        server.wait_for(|log| log.count("RETR") == 1);
    }
    assert_ends_soon(child, signal);
}

/// A password command that ignores SIGTERM, and starts a program that does so, too.
const STUBBORN: &str =
    r#"trap "" TERM; sh -c 'trap "" TERM; echo $$ > ~/child; exec sleep 1000' & wait"#;

/// A password command that ends, and whose program ignores SIGTERM.
const STUBBORN_CHILD: &str =
    r#"sh -c 'trap "" TERM; echo $$ > ~/child; exec sleep 1000' & exec sleep 1000"#;

/// Returns an account with this shell script as its password command.
fn with_password_command(script: &str) -> Desk {
    let desk = Desk::with(1, "", |server| server);
    let text = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    let command = format!("password-command = [\"sh\", \"-c\", '''{script}''']");
    let text = text.replace("password-file = \"~/password\"", &command);
    desk.home
        .config(&format!("{text}\npassword-command-timeout = \"2s\"\n"));
    desk
}

/// Waits until the program has written its process number to `~/child`.
fn child_of_command(desk: &Desk) -> Pid {
    let mut pid = None;
    wait_for_change(&[desk.home.path()], || {
        pid = fs::read_to_string(desk.home.join("child"))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .and_then(Pid::from_raw);
        pid.is_some()
    });
    pid.unwrap()
}

/// Asserts that a process has ended. It may be a zombie.
#[track_caller]
fn assert_ended(pid: Pid) {
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
        .ok()
        .and_then(|stat| Some(stat.rsplit_once(") ")?.1.chars().next().unwrap()));
    if !matches!(state, None | Some('Z' | 'X')) {
        kill_process(pid, Signal::KILL).unwrap();
        panic!("the program is in state {state:?}");
    }
}

#[test]
fn program_that_ignores_sigterm_is_killed_with_the_password_command() {
    for script in [STUBBORN, STUBBORN_CHILD] {
        let desk = with_password_command(script);
        let run = desk.pouch(&["fetch"]).spawn();
        let child = child_of_command(&desk);
        run.wait()
            .assert_code(78)
            .assert_stderr("timed out after 2s");
        assert_ended(child);
    }
}

#[test]
fn signal_ends_password_command_that_ignores_sigterm() {
    for script in [STUBBORN, STUBBORN_CHILD] {
        let desk = with_password_command(script);
        let run = desk.pouch(&["fetch"]).spawn();
        let child = child_of_command(&desk);
        assert_ends_soon(run, 15);
        assert_ended(child);
    }
}

// locks and FIFOs

fn make_fifo(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, path, FileType::Fifo, mode, 0).unwrap();
}

cases! { fifo_instead_of_a_file_is_an_error:
    password("password", "", 78),
    authorities("ca.pem", "tls-ca-file = \"~/ca.pem\"", 78),
    client_certificate("own.pem", "tls-client-cert = \"~/own.pem\"\ntls-client-key = \"~/own.pem\"", 78),
    mailbox("box", "mbox = \"~/box\"", 73),
    config(".config/pouch/config.toml", "", 78),
}

fn fifo_instead_of_a_file_is_an_error(path: &str, lines: &str, code: i32) {
    let desk = Desk::with(1, lines, |server| server);
    if lines.contains("tls-") {
        let text = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
        let text = text.replace("tls = \"off\"\nallow-plaintext-password = true\n", "");
        desk.home.config(&text);
    }
    let _ = fs::remove_file(desk.home.join(path));
    make_fifo(&desk.home.join(path));
    let run = desk.pouch(&["fetch"]).within(Duration::from_secs(10));
    run.run()
        .assert_code(code)
        .assert_stderr("not a regular file");
}

cases! { fifo_in_the_state_directory_is_an_error:
    ledger("mailboxes", "db", &["fetch"]),
    ledger_for_reading("mailboxes", "db", &["status"]),
    lock("locks", "lock", &["fetch"]),
    lock_for_reading("locks", "lock", &["status"]),
}

fn fifo_in_the_state_directory_is_an_error(dir: &str, extension: &str, args: &[&str]) {
    let desk = Desk::with(1, "", |server| server);
    desk.fetch(0);
    let entries = fs::read_dir(desk.home.state().join(dir)).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let path = paths
        .find(|path| {
            let is_of_mailbox = path.to_string_lossy().contains("ann@");
            is_of_mailbox && path.extension().is_some_and(|found| found == extension)
        })
        .unwrap();
    fs::remove_file(&path).unwrap();
    make_fifo(&path);
    let output = desk.pouch(args).within(Duration::from_secs(10)).run();
    // the lock only adds to what `status` shows
    if args == ["status"] && extension == "lock" {
        output.assert_code(0);
    } else {
        output.assert_code(73).assert_stderr("not a regular file");
    }
}

#[test]
fn fifo_as_dot_lock_makes_the_mailbox_busy() {
    let desk = Desk::with(1, "mbox = \"~/box\"\nretries = 0", |server| server);
    desk.home.write("box", "", 0o600);
    make_fifo(&desk.home.join("box.lock"));
    let check = desk.pouch(&["check"]).within(Duration::from_secs(10));
    check.run().assert_code(75);
    let child = desk.pouch(&["fetch"]).spawn();
    desk.server.wait_for(|log| log.count("RETR") == 1);
    assert_ends_soon(child, 15);
}

#[test]
fn signal_ends_the_wait_for_a_locked_ledger() {
    let desk = Desk::with(1, "", |server| server);
    desk.fetch(0);
    let ledger = rusqlite::Connection::open(desk.ledger()).unwrap();
    ledger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let child = desk.pouch(&["fetch"]).spawn();
    let locks = desk.home.state().join("locks");
    wait_for_change(&[&locks], || {
        fs::read_dir(&locks).unwrap().any(|lock| {
            fs::read_to_string(lock.unwrap().path())
                .unwrap()
                .starts_with(&format!("{} ", child.pid()))
        })
    });
    assert_ends_soon(child, 15);
}

#[test]
fn signal_ends_the_wait_for_another_pouch() {
    let desk = Desk::with(1, "", |server| server);
    desk.fetch(0);
    let mut locks = fs::read_dir(desk.home.state().join("locks")).unwrap();
    let lock = File::open(locks.next().unwrap().unwrap().path()).unwrap();
    lock.lock().unwrap();
    let child = desk.pouch(&["fetch", "--wait", "1h"]).spawn();
    assert_ends_soon(child, 15);
}

#[test]
fn dot_lock_older_than_its_process_is_stale() {
    let desk = Desk::with(1, "mbox = \"~/box\"", |server| server);
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    // this process runs, but did not exist in 2001
    let owner = format!("{}:{host}", process::id());
    let year_2001 = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for (file, content) in [("box", ""), ("box.lock", &owner)] {
        let path = desk.home.write(file, content, 0o600);
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(year_2001)
            .unwrap();
    }
    let run = desk.pouch(&["fetch"]).within(Duration::from_secs(10));
    run.run().assert_code(0);
    assert!(!desk.home.join("box.lock").exists());
}

// programs

#[test]
fn endless_output_of_a_filter_is_rejected() {
    let filter =
        "filter = [[\"sh\", \"-c\", \"while :; do echo y; done & exec yes\"]]\nattempts = 3";
    let desk = Desk::with(1, filter, |server| server);
    let output = desk
        .pouch(&["fetch", "-v"])
        .within(Duration::from_secs(20))
        .run();
    output
        .assert_code(75)
        .assert_stderr("the filter `sh` wrote more than");
    desk.assert_arrived([]);
    assert_eq!(desk.server.remaining(), 1);
}

// secrets and terminals

#[test]
fn crash_leaves_no_core_file() {
    let desk = Desk::with(1, "timeout = \"60s\"", |server| {
        server.fault(on("RETR").silence())
    });
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let mut child = process::Command::new("sh")
        .args(["-c", "ulimit -c unlimited; exec \"$0\" fetch", pouch])
        .current_dir(desk.home.path())
        .env("HOME", desk.home.path())
        .env("XDG_CONFIG_HOME", desk.home.join(".config"))
        .env("XDG_STATE_HOME", desk.home.join(".local/state"))
        .spawn()
        .unwrap();
    desk.server.wait_for(|log| log.count("RETR") == 1);
    kill_process(Pid::from_child(&child), Signal::ABORT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!status.core_dumped());
}

#[test]
fn escape_sequences_in_file_names_are_not_printed() {
    let desk = Desk::with(1, "", |server| server);
    let file = desk.home.write("\u{1b}[7m\u{202e}file", "", 0o600);
    let config = file.to_str().unwrap();
    for output in [
        desk.pouch(&["fetch", "-c", config]).run(),
        desk.pouch(&["fetch", "--to", &format!("{config}/x")]).run(),
        desk.pouch(&["fetch", "--state-dir", &format!("{config}/x")])
            .run(),
    ] {
        let shown = format!("{}{}", output.stdout, output.stderr);
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
    }
}

// logins

#[test]
fn connection_lost_after_the_password_is_not_repeated_often() {
    let desk = Desk::with(1, "", |server| server.fault(on("AUTH").cut()));
    let logs_in_at = |seconds: i64| {
        let before = desk.server.log().count("AUTH");
        let run = desk.home.pouch(&["fetch"]);
        let output = run.env("POUCH_NOW", (NOW + seconds).to_string()).run();
        output.assert_code(75).assert_silent();
        desk.server.log().count("AUTH") > before
    };
    for (seconds, expected) in [
        (0, true),
        (60, true),
        (120, true),
        // the third time: 5 minutes
        (419, false),
        (420, true),
        // the fourth: 10
        (1_019, false),
        (1_020, true),
    ] {
        assert_eq!(logs_in_at(seconds), expected, "{seconds}");
    }
    // another password is tried at once
    desk.home.write("password", "other\n", 0o600);
    assert!(logs_in_at(1_021));
    desk.home.write("password", "secret\n", 0o600);
    desk.server.heal_all();
    desk.fetch(0);
    desk.assert_arrived([1]);
}
