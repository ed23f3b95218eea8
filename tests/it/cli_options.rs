//! Options of the command line, and how help groups them.

use std::os::unix::fs::symlink;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{fixture::Desk, server::corpus, support::Home};

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
    // An invalid value is reported as one of `fetch`.
    desk.pouch(&["--limit", "many"])
        .run()
        .assert_code(64)
        .assert_stderr("0 is no limit");
    // Options of another command are not options of `fetch`.
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
        .assert_stderr("hint: run `chmod 600 ~/password`\n");
    desk.home.write("password", "secret\n", 0o600);
    desk.home.write("file", "", 0o600);
    desk.pouch(&["fetch", "--to", "file"])
        .run()
        .assert_code(73)
        .assert_stderr(" ~/file");
}

#[test]
fn mistakes_of_newcomers_get_a_hint() {
    let home = Home::new();
    let base = "[account.work]\nhost = \"h\"\nuser = \"u\"\nmaildir = \"~/m\"\n";
    let rule = |line: &str| format!("{base}[[account.work.rule]]\nsubject = \"x\"\n{line}");
    let colons = ["AB"; 32].join(":");
    for (text, hint) in [
        (
            "[account.ann@example.org]\n".to_owned(),
            "write `[account.ann]`, and the address below it: `user = \"ann@example.org\"`",
        ),
        (
            "[account.\"ann@example.org\"]\n".to_owned(),
            "write `[account.ann]`, and the address below it",
        ),
        (
            "[account.my work]\n".to_owned(),
            "put the name in quotes: `[account.\"my work\"]`",
        ),
        (
            "[account.example.org]\nhost = \"h\"\n".to_owned(),
            "write `[account.\"example.org\"]`",
        ),
        (
            format!("{base}oauth = true\n"),
            "write a table with `issuer`",
        ),
        (format!("{base}preconnect = \"x\"\n"), "use `before`"),
        (format!("{base}netrc = \"x\"\n"), "does not read .netrc"),
        (format!("{base}proxy_host = \"x\"\n"), "use `proxy`"),
        (format!("{base}source_ip = \"x\"\n"), "the system chooses"),
        (format!("{base}syslog = true\n"), "writes to standard error"),
        (
            format!("{base}logfile = \"x\"\n"),
            "writes to standard error",
        ),
        (
            format!("{base}idle = true\n"),
            "POP3 cannot announce new mail",
        ),
        (format!("{base}qvirtual = \"x\"\n"), "use `multidrop`"),
        (format!("{base}plugin = \"x\"\n"), "use `connect-command`"),
        (
            format!("{base}sslcommonname = \"x\"\n"),
            "use `tls-server-name`",
        ),
        (
            format!("{base}tls_host_override = \"x\"\n"),
            "use `tls-server-name`",
        ),
        (format!("{base}rewrite = true\n"), "delivered unchanged"),
        (
            rule("action = \"maildir:Spam\"\n"),
            "write \"maildir:.Spam\" for a folder of the account's Maildir",
        ),
        (rule("size = \"5M\"\n"), "write \">5MB\" for larger"),
        (
            format!("{base}tls-pin = \"{}\"\n", ["AB"; 20].join(":")),
            "this may be a SHA-1 fingerprint",
        ),
    ] {
        home.config(&text);
        home.pouch(&["config", "show"])
            .run()
            .assert_code(78)
            .assert_stderr("hint: ")
            .assert_stderr(hint);
    }
    home.config(&format!(
        "{base}max-size = \"5M\"\ntls-pin = \"{colons}\"\n"
    ));
    home.pouch(&["config", "show"])
        .run()
        .assert_code(0)
        .assert_stdout("\"5MB\"")
        .assert_stdout("\"sha256:abab");
}

#[test]
fn config_of_another_fetcher_is_recognised() {
    let home = Home::new();
    for (name, text, program) in [
        (
            ".fetchmailrc",
            "poll pop.example.org protocol pop3 user ann password secret\n",
            "fetchmail",
        ),
        (
            "mail.conf",
            "account work\nhost pop.example.org\npassword secret\n",
            "mpop",
        ),
        (
            "getmail/getmailrc",
            "[retriever]\ntype = SimplePOP3SSLRetriever\npassword = secret\n",
            "getmail",
        ),
    ] {
        home.make_dir("getmail", 0o700);
        home.write(name, text, 0o600);
        let output = home.pouch(&["-c", name, "fetch"]).run();
        output
            .assert_code(78)
            .assert_stderr(&format!("is a config file of {program}, not of pouch"));
        assert!(!output.stderr.contains("secret"), "{output}");
    }
}

#[test]
fn missing_password_program_is_named() {
    let desk = Desk::with(1, "", |server| server);
    let config = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    let command = "password-command = [\"no-such-pass\", \"show\"]";
    desk.home
        .config(&config.replace("password-file = \"~/password\"", command));
    desk.pouch(&["fetch"])
        .run()
        .assert_code(78)
        .assert_stderr("hint: `no-such-pass` is not installed, or not in PATH");
}

#[test]
fn check_warns_about_procmail_without_from_lines() {
    let desk = Desk::with(1, "pipe = [\"procmail\", \"-t\"]", |server| server);
    let bin = desk.home.make_dir("bin", 0o755);
    desk.home.write("bin/procmail", "#!/bin/sh\n", 0o755);
    let check = |args: &[&str]| {
        let check = desk.pouch(args).env("PATH", bin.to_str().unwrap());
        check.run().assert_code(0).clone()
    };
    assert_snapshot!(check(&["check"]).transcript(), @"
    $ pouch check
      ledger   ok    ~/.local/state/pouch
      secret   ok    ~/password, N s
      connect  ok    127.0.0.1:PORT (127.0.0.1), N ms
      login    ok    PLAIN
      server   ok    UIDL TOP PIPELINING; 1 message
      deliver  ok    `procmail`, gets each message on standard input
      sandbox  off   account `work` runs programs
    ------- stderr -------
    pouch: work: messages that `procmail -t` writes to an mbox file will lack their `From ` line
    hint: use `procmail -f - -t`, or `-d USER`
    ");
    let document: Value = serde_json::from_str(&check(&["check", "--json"]).stdout).unwrap();
    assert_eq!(
        document["accounts"][0]["warnings"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    for options in ["\"-d\", \"ann\"", "\"-t\", \"-f\", \"-\"", "\"-tf-\""] {
        desk.configure(&format!("pipe = [\"procmail\", {options}]"));
        let output = check(&["check"]);
        assert!(output.stderr.is_empty(), "{output}");
    }
}

#[test]
fn check_and_fetch_agree_on_a_dangling_link_to_an_mbox_file() {
    let desk = Desk::with(1, "mbox = \"~/inbox\"", |server| server);
    symlink("missing/inbox", desk.home.join("inbox")).unwrap();
    let check = desk.pouch(&["check"]).run();
    assert_snapshot!(check.assert_code(73).stderr_text(), @"
    pouch: work: cannot write to ~/inbox
      it is a symbolic link to ~/missing/inbox
      the directory ~/missing does not exist
    hint: create that directory, or remove the link
    ");
    assert_snapshot!(desk.pouch(&["fetch"]).run().assert_code(73).stderr_text(), @"
    pouch: work: cannot write to ~/inbox
      it is a symbolic link to ~/missing/inbox
      the directory ~/missing does not exist
    hint: create that directory, or remove the link
    ");
    // a link to a missing file in a directory that exists
    desk.home.make_dir("missing", 0o700);
    desk.pouch(&["check"])
        .run()
        .assert_code(0)
        .assert_stdout("~/inbox, will be created");
    desk.fetch(0);
    assert!(desk.home.join("missing/inbox").is_file());
}

#[test]
fn negative_value_is_an_understandable_error() {
    let home = Home::new();
    let run = |args: &[&str]| home.pouch(args).run().assert_code(64).transcript();
    let commands: [&[&str]; 5] = [
        &["fetch", "--wait", "-1s"],
        &["--every", "-5m"],
        &["fetch", "--max-size", "-1MB"],
        &["fetch", "--limit", "-3"],
        &["ledger", "show", "work", "-3"],
    ];
    assert_snapshot!(commands.map(run).concat(), @"
    $ pouch fetch --wait -1s
    ------- stderr -------
    error: invalid value '-1s' for '--wait <TIME>': `-1s` is not a valid duration; write it like 30s, 5m, 12h, 30d or 8w

    For more information, try '--help'.
    [exit code: 64]
    $ pouch --every -5m
    ------- stderr -------
    error: invalid value '-5m' for '--every <TIME>': `-5m` is not a valid duration; write it like 30s, 5m, 12h, 30d or 8w

    For more information, try '--help'.
    [exit code: 64]
    $ pouch fetch --max-size -1MB
    ------- stderr -------
    error: invalid value '-1MB' for '--max-size <SIZE>': `-1MB` is not a valid size; write it like 512KB, 25MB or 2GB

    For more information, try '--help'.
    [exit code: 64]
    $ pouch fetch --limit -3
    ------- stderr -------
    error: invalid value '-3' for '--limit <COUNT>': it must be a number from 0 up; 0 is no limit

    For more information, try '--help'.
    [exit code: 64]
    $ pouch ledger show work -3
    ------- stderr -------
    error: invalid value '-3' for '[MESSAGE]...': it must be a number, a range such as 3-7, or `all`; `pouch ledger list --all` shows the numbers

    For more information, try '--help'.
    [exit code: 64]
    ");
}
