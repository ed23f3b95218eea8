//! Options of the command line, and how help groups them.

use crate::{desk::Desk, server::corpus, tool::Home};

#[test]
fn options_of_fetch_need_no_command() {
    let desk = Desk::with(3, "", |server| server);
    desk.pouch(&["-n"])
        .run()
        .assert_code(0)
        .assert_stdout("fetch      3");
    desk.pouch(&["--limit", "1", "-v"])
        .run()
        .assert_code(0)
        .assert_stderr("1 new");
    let mut child = desk.pouch(&["--every", "1s"]).spawn();
    desk.server.wait_for(|log| log.count("QUIT") >= 3);
    desk.server.add("uid-4", corpus::message(4));
    child.signal(15);
    child.wait().assert_code(128 + 15);
    // a wrong value is reported as one of `fetch`
    desk.pouch(&["--limit", "many"])
        .run()
        .assert_code(64)
        .assert_stderr("0 is no limit");
    // options of another command are not those of `fetch`
    desk.pouch(&["-q", "status", "--keep"])
        .run()
        .assert_code(64)
        .assert_stderr("--keep");
    desk.pouch(&["--no-such-option"])
        .run()
        .assert_code(64)
        .assert_stderr("--no-such-option");
}

#[test]
fn help_separates_global_options() {
    let home = Home::new();
    let help = home.pouch(&["help", "fetch"]).run();
    let (own, global) = help.stdout.split_once("Global options:").unwrap();
    assert!(own.contains("--dry-run") && !own.contains("--state-dir"));
    assert!(global.contains("--state-dir") && !global.contains("--dry-run"));
    home.pouch(&["status", "--help"])
        .run()
        .assert_code(0)
        .assert_stdout("Exit status: 0 if no account needs attention");
}
