//! `pouch status`: the output for an account, and the exit status.

use serde_json::Value;

#[cfg(feature = "system-tests")]
use crate::support::mount::Mounted;
use crate::{
    fixture::Desk,
    server::{Server, corpus, on},
    support::Home,
};

/// Asserts the lines that `pouch status` prints, and its exit status.
#[track_caller]
fn assert_status(desk: &Desk, code: i32, args: &[&str], lines: &str) {
    let output = desk.pouch(&[&["status"], args].concat()).run();
    output.assert_code(code);
    assert_eq!(output.stdout, lines);
    assert_eq!(output.stderr, "");
}

#[test]
fn problem_is_named_with_its_beginning() {
    let desk = Desk::with(2, "retries = 0", |server| {
        server.fault(on("AUTH").refuse("-ERR [AUTH] no"))
    });
    assert_status(&desk, 0, &[], "work   never run\n");
    desk.fetch(77);
    desk.fetch_at(1, 77);
    assert_status(
        &desk,
        1,
        &[],
        "work   failing since 2026-11-23 00:00: 127.0.0.1 rejected the password; \
         last run 2026-11-24 00:00\n",
    );
    desk.server.heal_all();
    desk.fetch_at(3, 0);
    assert_status(
        &desk,
        0,
        &[],
        "work   last run 2026-11-26 00:00, 2 new, 764 B\n",
    );
    desk.fetch_at(4, 0);
    assert_status(
        &desk,
        0,
        &[],
        "work   last run 2026-11-27 00:00, nothing new\n",
    );
}

#[test]
fn transient_problem_needs_action_once_it_has_lasted_a_day() {
    let desk = Desk::with(1, "retries = 0\nauth = \"user\"", |server| {
        server.fault(on("PASS").refuse("-ERR [IN-USE] locked"))
    });
    desk.fetch(75);
    desk.pouch(&["status"])
        .run()
        .assert_code(0)
        .assert_stdout("work   failing since 2026-11-23 00:00: ");
    assert_status(&desk, 0, &["--problems"], "");
    desk.fetch_at(1, 75);
    desk.pouch(&["status", "--problems"])
        .run()
        .assert_code(1)
        .assert_stdout("work   failing since 2026-11-23 00:00: ");
    assert_status(&desk, 1, &["-q"], "");
    let colour = desk.pouch(&["status", "--color", "always"]).run();
    colour.assert_stdout("\x1b[1;31mfailing since");
}

#[test]
fn quarantine_needs_action() {
    let desk = Desk::with(3, "attempts = 1", |server| {
        server.fault(on("RETR").uid("uid-2").refuse("-ERR no"))
    });
    desk.fetch(65);
    assert_status(
        &desk,
        1,
        &["--problems"],
        "work   last run 2026-11-23 00:00, 2 new, 802 B, 1 message failed; \
         1 quarantined (`pouch ledger list work`)\n",
    );
}

#[test]
fn running_run_is_not_a_problem() {
    let desk = Desk::with(2, "timeout = \"30s\"", |server| {
        server.fault(on("UIDL").silence())
    });
    let mut child = desk.pouch(&["fetch"]).spawn();
    desk.server.wait_for(|log| log.count("UIDL") == 1);
    assert_status(&desk, 0, &[], "work   running since 2026-11-23 00:00\n");
    let json = desk.pouch(&["status", "--json"]).run();
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["accounts"][0]["running"], true);
    assert_eq!(json["accounts"][0]["needs_action"], false);
    child.signal(9);
    child.wait();
    assert_status(
        &desk,
        1,
        &[],
        "work   last run 2026-11-23 00:00, interrupted\n",
    );
}

#[test]
fn mailboxes_of_urls_are_shown_without_a_config() {
    let home = Home::new();
    home.pouch(&["status"])
        .run()
        .assert_code(78)
        .assert_stderr("there is no config file");
    let server = Server::implicit_tls().messages(corpus::messages(2)).start();
    let url = format!("pops://ann@localhost:{}", server.port());
    let ca = server.ca_file(home.path());
    let fetch = [
        "fetch",
        &url,
        "--to",
        "Box",
        "--password-command",
        "echo secret",
    ];
    home.pouch(&fetch)
        .env("SSL_CERT_FILE", &ca)
        .run()
        .assert_code(0);
    home.pouch(&["status"])
        .run()
        .assert_code(0)
        .assert_stdout(&format!("{url}   last run "));
    home.pouch(&["ledger", "list", "--all"])
        .run()
        .assert_code(0)
        .assert_stdout(&format!("{url}\n"))
        .assert_stdout("delivered");
    home.pouch(&["ledger", "show", "pops://ann@localhost", "1"])
        .run()
        .assert_code(0)
        .assert_stdout("uid-1");
    home.pouch(&["ledger", "verify"])
        .run()
        .assert_code(0)
        .assert_stdout("2 messages delivered");
}

#[cfg(feature = "system-tests")]
#[test]
fn state_on_a_read_only_disk_is_shown() {
    let desk = Desk::with(2, "", |server| server);
    desk.fetch(0);
    desk.fetch_at(1, 0);
    let _disk = Mounted::read_only(&desk.home, desk.home.state());
    assert_status(
        &desk,
        0,
        &[],
        "work   last run 2026-11-24 00:00, nothing new\n",
    );
    desk.pouch(&["ledger", "list", "--all"])
        .run()
        .assert_code(0)
        .assert_stdout("delivered");
}
