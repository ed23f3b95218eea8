//! Options of the command line, and how help groups them.

use serde_json::{Value, json};

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

#[test]
fn config_is_shown_with_values_of_json() {
    let desk = Desk::with(
        1,
        "keep = \"30d\"\nafter = [\"true\", \"x\"]\n[[account.work.rule]]\nsize = \">2MB\"\n\
         action = \"skip\"",
        |server| server,
    );
    let shown = desk.pouch(&["config", "show", "--json"]).run();
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    let account = &shown["accounts"][0];
    let value = |key: &str| account["settings"][key]["value"].clone();
    assert_eq!(value("port"), json!(desk.server.port()));
    assert_eq!(value("allow-plaintext-password"), json!(true));
    assert_eq!(value("after"), json!(["true", "x"]));
    assert_eq!(value("keep"), json!("30d"));
    assert_eq!(value("max-size"), Value::Null);
    assert_eq!(account["rules"][0]["value"]["action"], json!("skip"));
}

#[test]
fn paths_in_the_home_directory_are_short() {
    let desk = Desk::with(1, "", |server| server);
    desk.home.write("password", "secret\n", 0o644);
    desk.pouch(&["fetch"])
        .run()
        .assert_code(77)
        .assert_stderr("password file ~/password")
        .assert_stderr("hint: chmod 600 ~/password\n");
    desk.home.write("password", "secret\n", 0o600);
    desk.home.write("file", "", 0o600);
    desk.pouch(&["fetch", "--to", "file"])
        .run()
        .assert_code(73)
        .assert_stderr(" ~/file");
}
