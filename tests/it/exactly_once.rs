//! Each message arrives once, even if pouch is interrupted or runs twice at the same time.

use std::time::Duration;

use insta::assert_snapshot;

#[cfg(feature = "system-tests")]
use crate::server::corpus;
use crate::{
    fixture::Desk,
    server::{Log, on, on_connect},
    support::watch::wait_for_change,
};

#[test]
fn killed_before_and_after_the_response_to_quit() {
    for done in [false, true] {
        let desk = Desk::with(5, "keep = \"none\"", |server| {
            let quit = on("QUIT").nth(1);
            server.fault(if done {
                quit.done().silence()
            } else {
                quit.silence()
            })
        });
        let mut child = desk.pouch(&["fetch"]).spawn();
        desk.server.wait_for(|log| log.count("QUIT") == 1);
        child.kill();
        child.wait().assert_code(128 + 9);
        assert_eq!(desk.server.remaining(), if done { 0 } else { 5 });
        desk.assert_arrived(1..=5);
        desk.fetch(0);
        desk.assert_arrived(1..=5);
        assert_eq!(desk.server.remaining(), 0);
    }
}

#[test]
fn interrupted_pipe_delivery_is_repeated_and_reported() {
    let mut shown = String::new();
    for signal in [2, 9] {
        let desk = Desk::with(
            3,
            "pipe = [\"sh\", \"-c\", \"cat >> ~/got; echo >> ~/count; echo started; test -e ~/go || sleep 1000\"]",
            |server| server,
        );
        let mut child = desk.pouch(&["fetch"]).spawn();
        wait_for_change(&[desk.home.path()], || {
            std::fs::read(desk.home.join("count")).is_ok_and(|count| !count.is_empty())
        });
        child.signal(signal);
        child.wait().assert_code(128 + signal);
        desk.home.write("go", "", 0o600);
        let output = desk.fetch(0);
        shown.push_str(&output.case(&format!("signal {signal}")));
        let got = String::from_utf8(desk.home.read("got")).unwrap();
        assert_eq!(got.matches("Message-ID: <1@").count(), 2);
        assert_eq!(got.matches("Message-ID: <2@").count(), 1);
        assert_eq!(desk.home.read("count").len(), 4);
        desk.fetch(0).assert_silent();
    }
    assert_snapshot!(shown, @"
    === signal 2
    $ pouch fetch
    ------- stderr -------
    pouch: work: an earlier run was interrupted while delivering message 1
      delivering it again; it may be duplicated
    === signal 9
    $ pouch fetch
    ------- stderr -------
    pouch: work: an earlier run was interrupted while delivering message 1
      delivering it again; it may be duplicated
    ");
}

#[test]
fn interrupted_notice_delivery_is_repeated_and_reported() {
    let mut shown = String::new();
    for (end, code) in [
        ("kill -KILL $PPID", 137),
        ("kill -INT $PPID; sleep 1000", 130),
    ] {
        let desk = Desk::with(2, "pipe = [\"sh\", \"script\"]\nattempts = 1", |server| {
            server.fault(on("RETR").uid("uid-2").refuse("-ERR damaged"))
        });
        let script = format!(
            "cat > in; if grep -q '^From: \"pouch\"' in; then cat in >> got; test -e go || {{ {end}; }}; fi"
        );
        desk.home.write("script", script, 0o600);
        desk.pouch(&["fetch"]).run().assert_code(code);
        desk.home.write("go", "", 0o600);
        desk.server.wait_for(|log| log.open() == 0);
        shown.push_str(&desk.fetch(0).case(end));
        let got = String::from_utf8(desk.home.read("got")).unwrap();
        assert_eq!(got.matches("From: \"pouch\"").count(), 2);
        desk.fetch(0).assert_silent();
    }
    assert_snapshot!(shown, @"
    === kill -KILL $PPID
    $ pouch fetch
    ------- stderr -------
    pouch: work: an earlier run was interrupted while delivering the notice about quarantined messages
      delivering it again; it may be duplicated
    === kill -INT $PPID; sleep 1000
    $ pouch fetch
    ------- stderr -------
    pouch: work: an earlier run was interrupted while delivering the notice about quarantined messages
      delivering it again; it may be duplicated
    ");
}

#[test]
fn second_pouch_reports_the_lock_and_exits() {
    let desk = Desk::with(3, "", |server| server.fault(on("RETR 2").nth(1).silence()));
    let first = desk.pouch(&["fetch"]).spawn();
    desk.server.wait_for(|log| log.count("RETR 2") == 1);
    let second = desk.pouch(&["fetch", "-v"]).run();
    assert_snapshot!(second.assert_code(75).stderr_text(), @"
    pouch: work: another pouch (pid PID, since 00:00) is fetching this account
    hint: `--wait 5m` waits for it
    work   nothing fetched
    ");
    let mut shown = String::new();
    for command in [
        &["plan"][..],
        &["ledger", "delete", "work", "1"],
        &["ledger", "catchup", "work"],
    ] {
        shown.push_str(&desk.pouch(command).run().assert_code(75).transcript());
    }
    assert_snapshot!(shown, @"
    $ pouch plan
    ------- stderr -------
    pouch: work: another pouch (pid PID, since 00:00) is fetching this account
    hint: try again when it has finished
    [exit code: 75]
    $ pouch ledger delete work 1
    ------- stderr -------
    pouch: another pouch (pid PID, since 00:00) is fetching this account
    hint: try again when it has finished
    [exit code: 75]
    $ pouch ledger catchup work
    ------- stderr -------
    pouch: another pouch (pid PID, since 00:00) is fetching this account
    hint: try again when it has finished
    [exit code: 75]
    ");
    desk.pouch(&["fetch"]).run().assert_code(75).assert_silent();
    desk.pouch(&["fetch", "--wait", "1m"]).run().assert_code(0);
    first.wait().assert_code(0);
    desk.assert_arrived(1..=3);
}

#[cfg(feature = "system-tests")]
#[test]
fn delivery_of_a_killed_run_is_found_once_the_maildir_is_back() {
    let desk = Desk::with(3, "", |server| server);
    // The run is killed after a message was published and before that is recorded.
    desk.traced("linkat:signal=KILL:when=2").assert_code(137);
    assert!(desk.mail().len() > 0);
    desk.server.wait_for(|log| log.open() == 0);
    // A mail program renames the messages, and their disk is not mounted during one run.
    let (away, here) = (desk.home.join("away"), desk.home.join("Mail/work"));
    std::fs::rename(&here, &away).unwrap();
    desk.home.write("Mail/work", "", 0o600);
    assert_snapshot!(desk.fetch(73).stderr_text(), @"
    pouch: work: ~/Mail/work is not a Maildir
      it is a file
    hint: use a directory that does not exist yet; pouch creates it
    ");
    std::fs::remove_file(&here).unwrap();
    std::fs::rename(&away, &here).unwrap();
    for mail in desk.mail().delivered() {
        std::fs::rename(
            here.join("new").join(&mail.name),
            here.join("cur").join(format!("{}:2,S", mail.name)),
        )
        .unwrap();
    }
    desk.fetch(0);
    desk.assert_arrived(1..=3);
}

#[cfg(feature = "system-tests")]
#[test]
fn restored_ledger_does_not_confuse_messages() {
    let desk = Desk::with(2, "", |server| server.without("TOP"));
    desk.fetch_at(-2, 0);
    let (state, backup) = (desk.home.state(), desk.home.join("backup"));
    let copy = ["-a", state.to_str().unwrap(), backup.to_str().unwrap()];
    desk.home.command("cp", &copy).run().assert_code(0);
    desk.configure("keep = \"none\"");
    desk.server.add("uid-3", corpus::message(3));
    desk.fetch_at(-1, 0);
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::rename(&backup, &state).unwrap();
    // The new message gets the row of another one, whose file is still in the Maildir.
    desk.server.add("uid-4", corpus::message(4));
    desk.traced("linkat:signal=KILL:when=1").assert_code(137);
    desk.server.wait_for(|log| log.open() == 0);
    desk.fetch(0);
    desk.assert_arrived(1..=4);
    assert_eq!(desk.server.remaining(), 0);
}

#[cfg(feature = "system-tests")]
#[test]
fn killed_without_proc_loses_nothing() {
    let desk = Desk::with(3, "keep = \"none\"", |server| server);
    // As on a system without /proc.
    assert_goes_on(
        &desk,
        &["linkat:error=ENOENT"],
        "renameat2:signal=KILL:when=2",
    );
}

/// Kills a run on such a disk when one of three messages is delivered, and runs pouch again: each
/// message is delivered once.
#[cfg(feature = "system-tests")]
#[track_caller]
fn assert_goes_on(desk: &Desk, disk: &[&str], kill: &str) {
    let run = |inject: &[&str]| {
        let inject = inject.iter().map(|inject| format!("--inject={inject}"));
        let strace = [
            "-f",
            "-qq",
            "-o",
            "calls",
            "--trace=linkat,renameat2,rename",
        ]
        .map(str::to_owned);
        let command: Vec<_> = strace.into_iter().chain(inject).collect();
        let command: Vec<_> = command
            .iter()
            .map(String::as_str)
            .chain([env!("CARGO_BIN_EXE_pouch"), "fetch"])
            .collect();
        desk.home
            .system_command("strace", &command)
            .env("POUCH_NOW", crate::fixture::NOW.to_string())
            .run()
    };
    run(&[disk, &[kill]].concat()).assert_code(137);
    assert_eq!((desk.mail().len(), desk.mail().tmp().len()), (1, 2));
    desk.server.wait_for(|log| log.open() == 0);
    run(disk).assert_code(0).assert_silent();
    desk.assert_arrived(1..=3);
    assert_eq!(desk.server.remaining(), 0);
}

#[cfg(feature = "system-tests")]
#[test]
fn killed_without_hard_links_loses_nothing() {
    for error in ["EPERM", "ENOSYS", "EOPNOTSUPP"] {
        let desk = Desk::with(3, "keep = \"none\"", |server| server);
        let disk = ["renameat2:error=EINVAL", &format!("linkat:error={error}")];
        assert_goes_on(&desk, &disk, "rename:signal=KILL:when=2");
    }
}

#[test]
fn twenty_processes_fetch_each_message_once() {
    let desk = Desk::with(60, "keep = \"none\"", |server| server);
    let runs: Vec<_> = (0..20)
        .map(|_| desk.pouch(&["fetch", "--wait", "1m"]).spawn())
        .collect();
    for run in runs {
        run.wait().assert_code(0);
    }
    desk.assert_arrived(1..=60);
    assert_eq!(desk.server.remaining(), 0);
    assert_eq!(desk.retrieved(), 60);
}

#[test]
fn signal_is_the_exit_status_and_complete_messages_are_kept() {
    for signal in [1, 2, 15] {
        let desk = Desk::with(5, "timeout = \"60s\"", |server| {
            server.fault(on("RETR 4").nth(1).octets(50).silence())
        });
        let mut child = desk.pouch(&["fetch", "-vv"]).spawn();
        // Three messages are complete, the fourth is partial.
        child.wait_for_times(" octets\n", 4);
        child.signal(signal);
        child.wait().assert_code(128 + signal);
        desk.assert_arrived(1..=3);
        desk.fetch(0);
        desk.assert_arrived(1..=5);
    }
}

#[test]
fn signal_interrupts_every_wait() {
    type Reached = fn(&Log) -> bool;
    let waits: [(&str, Reached); 3] = [
        ("greeting", |log| log.connections() == 1),
        ("login", |log| log.count("PASS") + log.count("AUTH") > 0),
        ("list", |log| log.count("STAT") > 0),
    ];
    for (name, reached) in waits {
        let desk = Desk::with(1, "timeout = \"60s\"", |server| match name {
            "greeting" => server.fault(on_connect().silence()),
            "login" => server
                .fault(on("PASS").silence())
                .fault(on("AUTH").silence()),
            _ => server.fault(on("STAT").silence()),
        });
        let mut child = desk.pouch(&["fetch"]).spawn();
        desk.server.wait_for(reached);
        child.signal(15);
        child.wait().assert_code(128 + 15);
    }
    let desk = Desk::with(1, "", |server| server);
    let mut child = desk.pouch(&["fetch", "--every", "1h"]).spawn();
    desk.server.wait_for(|log| log.count("QUIT") == 1);
    child.signal(15);
    child.wait().assert_code(128 + 15);
    desk.assert_arrived([1]);
}

#[test]
fn ignored_sighup_does_not_stop_the_run() {
    let desk = Desk::with(3, "timeout = \"60s\"", |server| {
        server.fault(on("RETR 2").nth(1).octets(10).silence())
    });
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let mut child = desk
        .home
        .command("nohup", &[pouch, "fetch"])
        .within(Duration::from_secs(30))
        .spawn();
    desk.server.wait_for(|log| log.count("RETR 2") == 1);
    child.signal(1);
    assert!(child.is_running());
    child.signal(15);
    child.wait().assert_code(128 + 15);
}

#[test]
fn second_pouch_waits_for_the_first_even_if_its_lock_was_removed() {
    let desk = Desk::with(2, "timeout = \"30s\"", |server| {
        server.fault(on("RETR").times(1).silence())
    });
    let mut first = desk.pouch(&["fetch"]).spawn();
    desk.server.wait_for(|log| log.count("RETR") > 0);
    std::fs::remove_dir_all(desk.home.state().join("locks")).unwrap();
    let second = desk.pouch(&["fetch", "-v"]).run();
    second
        .assert_code(75)
        .assert_stderr(&format!("another pouch (pid {}) is fetching", first.pid()));
    first.kill();
    first.wait();
    desk.fetch(0);
    desk.assert_arrived(1..=2);
}
