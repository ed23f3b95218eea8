//! Connections whose two directions are the standard input and output of a command.

use std::{
    fs,
    time::{Duration, Instant},
};

use insta::assert_snapshot;
#[cfg(feature = "system-tests")]
use rustix::process::kill_process_group;
use rustix::process::{Pid, Signal, kill_process};

use crate::{fixture::Desk, support::watch::wait_for_change};
#[cfg(feature = "system-tests")]
use crate::{
    real::{ALICE, ALICE_PASSWORD, RealServer},
    server::{corpus, on},
    support::Home,
};

/// A command that connects to the server, as `nc` does. It records the number of its process.
#[cfg(feature = "system-tests")]
const RELAY: &str = r#"["bash", "-c", '''echo $$ >> ~/pids
exec 3<>"/dev/tcp/$0/$1" 4<&0; cat <&4 >&3 & exec cat <&3''', "%h", "%p"]"#;

/// Returns an account whose connection is this shell script.
fn desk(script: &str, lines: &str) -> Desk {
    Desk::with(
        3,
        &format!("connect-command = [\"sh\", \"-c\", '''{script}''', \"%h\", \"%p\"]\n{lines}"),
        |server| server,
    )
}

/// Fetches, and returns the message even if the failure is transient.
#[track_caller]
fn explained(desk: &Desk, code: i32) -> String {
    let output = desk.pouch(&["fetch", "-v"]).run();
    output.assert_code(code).stderr_text()
}

/// Returns the message of a fetch over such a connection.
#[track_caller]
fn failure(script: &str, code: i32) -> String {
    let desk = desk(script, "retries = 0");
    let message = explained(&desk, code);
    assert_eq!(desk.server.log().connections(), 0);
    message
}

#[test]
fn command_that_fails_is_quoted() {
    assert_snapshot!(
        failure("echo \"connecting to $0\" >&2; echo refused >&2; exit 7", 75),
        @"
    pouch: work: the connection to 127.0.0.1 was lost
      reading: `sh` ended: exit status: 7
      `sh` said: connecting to 127.0.0.1
      `sh` said: refused
    work   nothing fetched
    "
    );
    assert_snapshot!(failure("exit 0", 75), @"
    pouch: work: the connection to 127.0.0.1 was lost
      reading: `sh` ended: exit status: 0
    work   nothing fetched
    ");
    assert_snapshot!(failure("kill -9 $$", 75), @"
    pouch: work: the connection to 127.0.0.1 was lost
      reading: `sh` ended: signal: 9 (SIGKILL)
    work   nothing fetched
    ");
    assert_snapshot!(failure("exec >&- <&-; exec sleep 100", 75), @"
    pouch: work: the connection to 127.0.0.1 was lost
      reading: `sh` closed its standard output
    work   nothing fetched
    ");
}

#[test]
fn refusal_by_ssh_is_reported_at_once() {
    // as OpenSSH 9.2 prints it
    let changed = r#"
        printf "%%s\r\n" "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @" \
            "Offending ED25519 key in /home/ann/.ssh/known_hosts:1" \
            "Host key for gate has changed and you have requested strict checking." \
            "Host key verification failed." >&2
        exit 255"#;
    let quiet = |script| desk(script, "").fetch(77).stderr_text();
    assert_snapshot!(quiet(changed), @"
    pouch: work: the `connect-command` `sh` failed
      reading: `sh` ended: exit status: 255
      `sh` said: @    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
      `sh` said: Offending ED25519 key in /home/ann/.ssh/known_hosts:1
      `sh` said: Host key for gate has changed and you have requested strict checking.
      `sh` said: Host key verification failed.
    hint: verify the host key of the SSH server, then add it to ~/.ssh/known_hosts of the user who runs pouch
    ");
    let denied = "echo \"ann@gate: Permission denied (publickey).\" >&2; exit 255";
    assert_snapshot!(quiet(denied), @"
    pouch: work: the `connect-command` `sh` failed
      reading: `sh` ended: exit status: 255
      `sh` said: ann@gate: Permission denied (publickey).
    hint: check that the SSH server accepts the key of the user who runs pouch, and that the key needs no passphrase
    ");
    let offline = "echo \"ssh: connect to host gate port 22: No route to host\" >&2; exit 255";
    desk(offline, "retries = 0").fetch(75).assert_silent();
}

#[test]
fn command_that_prints_garbage_is_not_a_server() {
    assert_snapshot!(failure("echo garbage; exec sleep 100", 76), @r#"
    pouch: work: 127.0.0.1 does not speak POP3
      127.0.0.1 said: garbage
      connected through `sh`
    hint: check `host`, `port` and `tls`: port 995 needs tls = "implicit", port 110 "starttls"
    work   nothing fetched
    "#);
}

#[test]
fn command_that_hangs_ends_with_the_timeout() {
    let began = Instant::now();
    assert_snapshot!(failure("while echo waiting >&2; do sleep 0.1; done", 75), @r#"
    pouch: work: 127.0.0.1 did not respond in time
      no data for 1 s; `timeout` sets how long to wait
      `sh` said: waiting
      `sh` said: waiting
      `sh` said: waiting
      `sh` said: waiting
      `sh` said: waiting
    hint: set tls = "implicit" if the server expects TLS on this port (995)
    work   nothing fetched
    "#);
    assert!(began.elapsed() < Duration::from_secs(10));
    // more than a pipe can hold
    assert_snapshot!(failure("yes >&2; exec sleep 100", 75), @r#"
    pouch: work: 127.0.0.1 did not respond in time
      no data for 1 s; `timeout` sets how long to wait
      `sh` said: y
      `sh` said: y
      `sh` said: y
      `sh` said: y
      `sh` said: y
    hint: set tls = "implicit" if the server expects TLS on this port (995)
    work   nothing fetched
    "#);
}

#[test]
fn command_that_does_not_exist_is_a_mistake_in_the_config() {
    let desk = Desk::with(1, "connect-command = [\"no-such-program\"]", |server| {
        server
    });
    assert_snapshot!(desk.fetch(78).stderr_text(), @"
    pouch: work: cannot run the `connect-command` `no-such-program`
      No such file or directory
    hint: `no-such-program` is not installed, or not in PATH, which is short in cron and systemd: install it, or write its whole path
    ");
    desk.configure("connect-command = [\"ssh -W %h:%p gate\"]");
    assert_snapshot!(desk.fetch(78).stderr_text(), @r#"
    pouch: work: cannot run the `connect-command` `ssh …`
      No such file or directory
    hint: write `connect-command` as a list: ["ssh", "-W", "%h:%p", "gate"]
    "#);
}

#[test]
fn output_over_tls_that_is_no_tls_is_reported() {
    let desk = desk("echo garbage; exec sleep 100", "retries = 0");
    let config = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    let config = config.replace("tls = \"off\"\nallow-plaintext-password = true\n", "");
    desk.home.config(&config);
    assert_snapshot!(desk.fetch(76).stderr_text(), @r#"
    pouch: work: 127.0.0.1 does not speak TLS on this port
      OpenSSL: wrong version number
      connected through `sh`
    hint: check `port` and `tls`: port 995 needs tls = "implicit", port 110 "starttls"
    "#);
    let failing = config.replace("echo garbage; exec sleep 100", "echo no >&2; exit 1");
    desk.home.config(&failing);
    assert_snapshot!(explained(&desk, 75), @"
    pouch: work: the connection to 127.0.0.1 was lost
      TLS handshake: `sh` ended: exit status: 1
      `sh` said: no
    work   nothing fetched
    ");
}

/// Returns the numbers that the commands have written to `~/pids`, once there are `count`.
fn pids(desk: &Desk, count: usize) -> Vec<Pid> {
    let mut pids = Vec::new();
    wait_for_change(&[desk.home.path()], || {
        let text = fs::read_to_string(desk.home.join("pids")).unwrap_or_default();
        pids = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .filter_map(|line| line.trim().parse().ok().and_then(Pid::from_raw))
            .collect();
        pids.len() >= count
    });
    pids
}

/// Asserts that a process has ended. It may be a zombie.
#[track_caller]
fn assert_ended(pid: Pid) {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let state = stat
        .ok()
        .and_then(|stat| Some(stat.rsplit_once(") ")?.1.chars().next().unwrap()));
    if !matches!(state, None | Some('Z' | 'X')) {
        kill_process(pid, Signal::KILL).unwrap();
        panic!("the program is in state {state:?}");
    }
}

/// A command that ignores SIGTERM, and whose child does so, too.
const STUBBORN: &str = "trap \"\" TERM; echo $$ >> ~/pids; \
     sh -c \"trap \\\"\\\" TERM; echo \\$\\$ >> ~/pids; exec sleep 1000\" & wait";

#[test]
fn signal_ends_the_command_and_its_children() {
    let desk = desk(STUBBORN, "timeout = \"1m\"");
    let mut run = desk.pouch(&["fetch"]).spawn();
    let pids = pids(&desk, 2);
    let sent = Instant::now();
    run.signal(15);
    run.wait().assert_code(143);
    assert!(sent.elapsed() < Duration::from_millis(1500));
    pids.into_iter().for_each(assert_ended);
}

#[test]
fn timeout_ends_the_command_and_its_children() {
    let desk = desk(STUBBORN, "retries = 0");
    let run = desk.pouch(&["fetch"]).spawn();
    let pids = pids(&desk, 2);
    run.wait().assert_code(75);
    pids.into_iter().for_each(assert_ended);
}

#[test]
fn accounts_with_a_connect_command_are_not_confined() {
    let desk = desk("exit 1", "retries = 0");
    desk.pouch(&["check"])
        .run()
        .assert_code(75)
        .assert_stdout("connect  ok    started `sh` for 127.0.0.1:")
        .assert_stdout("sandbox  off   account `work` runs programs");
}

#[cfg(feature = "system-tests")]
#[test]
fn mail_arrives_through_a_command() {
    let desk = Desk::with(3, &format!("connect-command = {RELAY}"), |server| server);
    desk.fetch(0).assert_silent();
    desk.assert_arrived(1..=3);
    desk.pouch(&["plan"]).run().assert_code(0);
    desk.pouch(&["check"]).run().assert_code(0);
    let pids = pids(&desk, 3);
    assert_eq!(pids.len(), 3);
    pids.into_iter().for_each(assert_ended);
}

#[cfg(feature = "system-tests")]
#[test]
fn command_that_is_killed_in_a_session_is_started_again() {
    let desk = Desk::with(
        9,
        &format!("connect-command = {RELAY}\ntimeout = \"30s\"\nretries = 2"),
        |server| server.fault(on("RETR").uid("uid-5").octets(100).silence().times(1)),
    );
    let run = desk.pouch(&["fetch", "-v"]).spawn();
    desk.server.wait_for(|log| log.count("RETR") >= 5);
    let relay = pids(&desk, 1)[0];
    // its two processes are a group
    let killed = Instant::now();
    kill_process_group(relay, Signal::KILL).unwrap();
    run.wait().assert_code(0);
    assert!(killed.elapsed() < Duration::from_secs(20));
    desk.assert_arrived(1..=9);
    let pids = pids(&desk, 2);
    pids.into_iter().for_each(assert_ended);
}

#[cfg(feature = "system-tests")]
#[test]
fn dovecot_with_tls_through_a_command() {
    let server = RealServer::start("dovecot", &[]);
    let messages: Vec<_> = (1..=20).map(corpus::message).collect();
    server.inject(ALICE, &messages);
    for (service, tls) in [("pop3s", "implicit"), ("pop3", "starttls")] {
        let home = Home::new();
        home.write("password", ALICE_PASSWORD, 0o600);
        let relay = RELAY.replace("\"%h\"", "\"127.0.0.1\"");
        home.config(&format!(
            "[account.work]\nhost = \"pop.invalid\"\nport = {}\ntls = \"{tls}\"\nuser = \"{ALICE}\"\n\
             password-file = \"~/password\"\nmaildir = \"~/Mail/work\"\n\
             tls-ca-file = \"{}\"\ntls-server-name = \"{}\"\nconnect-command = {relay}\n",
            server.port(service),
            server.value("ca_file"),
            server.value("host"),
        ));
        home.pouch(&["fetch"]).run().assert_code(0).assert_silent();
        assert_eq!(home.maildir("Mail/work").len(), 20);
        home.pouch(&["check"])
            .run()
            .assert_code(0)
            .assert_stdout("connect  ok    started `bash` for pop.invalid:");
    }
}
