//! What a person sees, and what a program that reads it sees.

#[cfg(feature = "system-tests")]
use std::os::unix::fs::symlink;
use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt};

use serde_json::Value;

#[cfg(feature = "system-tests")]
use crate::tool::mount::Mounted;
use crate::{
    desk::Desk,
    server::{Server, corpus, on},
    tool::Home,
};

#[test]
fn without_a_config_the_way_out_is_told() {
    let home = Home::new();
    let output = home.pouch(&[]).run();
    output
        .assert_code(78)
        .assert_stderr("pouch: there is no config file ~/.config/pouch/config.toml");
    output
        .assert_stderr("pouch config sample > ")
        .assert_stderr("hint: ");
    home.pouch(&["config", "sample"])
        .run()
        .assert_code(0)
        .assert_stdout("[account.");
    home.pouch(&["config", "path"])
        .run()
        .assert_stdout(".config/pouch/config.toml");
    home.pouch(&["--help"])
        .run()
        .assert_code(0)
        .assert_stdout("ledger");
    home.pouch(&["--version"])
        .run()
        .assert_code(0)
        .assert_stdout("pouch 0.");
    for wrong in [
        &["fetch", "--no-such-flag"][..],
        &["nonsense"],
        &["fetch", "--limit", "many"],
        &["ledger"],
    ] {
        home.pouch(wrong).run().assert_code(64);
    }
}

#[test]
fn mistakes_in_the_config_are_pointed_at() {
    let home = Home::new();
    let base = "[account.work]\nhost = \"h\"\nuser = \"u\"\nmaildir = \"m\"\n";
    for (line, texts) in [
        (
            "pasword-command = [\"pass\"]",
            ["config.toml:5:1", "did you mean `password-command`?"],
        ),
        (
            "password = \"geheim\"",
            ["config.toml:5:1", "password-command"],
        ),
        ("port = \"995\"", ["config.toml:5:8", "`port` must be"]),
        ("keep = \"soon\"", ["config.toml:5:8", "30d"]),
        ("host = \"again\"", ["config.toml:5:1", "host"]),
        (
            "tls = \"off\"",
            ["config.toml:5:1", "allow-plaintext-password"],
        ),
        (
            "passwordeval = \"pass work\"",
            ["config.toml:5:1", "use `password-command`"],
        ),
    ] {
        home.config(&format!("{base}{line}\n"));
        let output = home.pouch(&["fetch"]).run();
        output
            .assert_code(78)
            .assert_stderr(texts[0])
            .assert_stderr(texts[1]);
        assert!(!output.stderr.contains("geheim"), "{output}");
    }
    home.config(base);
    home.pouch(&["fetch", "wrok"])
        .run()
        .assert_code(64)
        .assert_stderr("did you mean `work`?");
    home.write(".config/pouch/config.toml", base, 0o666);
    home.pouch(&["fetch"])
        .run()
        .assert_code(77)
        .assert_stderr("chmod go-w");
}

#[test]
fn secrets_that_cannot_be_had() {
    let desk = Desk::with(1, "", |server| server);
    for (lines, code, text) in [
        (
            "password-command = [\"false\"]",
            78,
            "failed: exit status: 1",
        ),
        ("password-command = [\"true\"]", 78, "gives no password"),
        (
            "password-command = [\"/no/such/program\"]",
            78,
            "cannot be run",
        ),
        (
            "password-command = [\"~/bin/secret\"]",
            78,
            "hint: no shell expands `~` in a command",
        ),
        (
            "password-file = \"~/missing\"",
            78,
            "cannot read the password file",
        ),
        ("password-file = \"~/open\"", 77, "chmod 600"),
        (
            "password-credential = \"work\"",
            78,
            "systemd did not start pouch",
        ),
        ("", 78, "there is no password for ann at 127.0.0.1"),
    ] {
        desk.home.write("open", "secret\n", 0o644);
        desk.home.config(&format!(
            "[account.work]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"ann\"\ntls = \"off\"\nallow-plaintext-password = true\n\
             maildir = \"~/Mail/work\"\n{lines}\n",
            desk.server.port()
        ));
        desk.pouch(&["fetch", "-v"])
            .run()
            .assert_code(code)
            .assert_stderr(text);
    }
    assert_eq!(desk.server.log().connections(), 0);
    desk.home.make_dir("credentials", 0o700);
    desk.home.write("credentials/work", "secret\n", 0o600);
    desk.configure("");
    let text = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    desk.home.config(&text.replace(
        "password-file = \"~/password\"",
        "password-credential = \"work\"",
    ));
    let run = desk
        .pouch(&["fetch"])
        .env("CREDENTIALS_DIRECTORY", desk.home.join("credentials"));
    run.run().assert_code(0);
    desk.assert_arrived([1]);
}

#[test]
fn the_first_steps_of_a_newcomer() {
    let desk = Desk::with(2, "", |server| server);
    desk.home.write("file", "", 0o600);
    let below = desk.home.join("file/Mail");
    for (args, code, text) in [
        (&["help"][..], 0, "Usage: pouch"),
        (&["help", "ledger", "retry"], 0, "Usage: pouch ledger retry"),
        (&["ledger", "list", "-a"], 0, "work: no message is known\n"),
        (
            &["ledger", "list"],
            0,
            "work: no message is waiting or has failed\n",
        ),
        (
            &["ledger", "list", "-s", "short"],
            0,
            "work: no message is short\n",
        ),
        (&["ledger", "list", "-s", "bad"], 64, "quarantined"),
        (
            &["ledger", "show", "work", "<m1@example.org>"],
            64,
            "a number that `pouch ledger list --all` shows",
        ),
        (
            &["ledger", "show", "work", "1"],
            64,
            "`pouch ledger list --all` shows the numbers",
        ),
        (
            &["fetch", "ann@pop.example.org"],
            64,
            "hint: write a URL as `pops://ann@pop.example.org`",
        ),
        (
            &[
                "ledger",
                "retry",
                "work",
                "--state-dir",
                below.to_str().unwrap(),
            ],
            73,
            "use another directory with `--state-dir`",
        ),
        (&["fetch", "-l", "many"], 64, "0 is no limit"),
        (&["fetch", "-j", "0"], 64, "a number from 1 to 65535"),
        (
            &["fetch", "--to", below.to_str().unwrap()],
            73,
            "file is a file\n",
        ),
        (&["--json", "config", "path"], 0, "config.toml\"\n}\n"),
    ] {
        let told = desk.pouch(args).run();
        told.assert_code(code);
        assert!(
            format!("{}{}", told.stdout, told.stderr).contains(text),
            "{args:?}: {told}"
        );
    }
    // a message is called by the number that the ledger takes, once it has one
    desk.fetch(0);
    desk.pouch(&["ledger", "forget", "work", "1"])
        .run()
        .assert_code(0);
    desk.pouch(&["plan", "-v"])
        .run()
        .assert_stdout("number       1     363 B   fetch: new; kept on the server\n");
    desk.fetch(0);
    desk.pouch(&["plan", "-v"])
        .run()
        .assert_stdout("message      3     363 B   keep: fetched before\n");
}

#[test]
fn an_address_needs_no_config() {
    let home = Home::new();
    let server = Server::implicit_tls().messages(corpus::messages(2)).start();
    let address = format!("pops://ann@localhost:{}", server.port());
    let ca = server.ca_file(home.path());
    let run = |args: &[&str]| home.pouch(args).env("SSL_CERT_FILE", &ca).run();
    run(&[
        "fetch",
        &address,
        "--to",
        "Box",
        "--password-command",
        "echo secret",
    ])
    .assert_code(0);
    assert_eq!(home.maildir("Box").len(), 2);
    run(&["fetch", &address, "--to", "Box"])
        .assert_code(78)
        .assert_stderr("nobody can be asked for it");
    run(&["fetch", &address])
        .assert_code(64)
        .assert_stderr("--to");
    // what the hints of a run name works without the place too
    run(&["ledger", "list", "--all", &address])
        .assert_code(0)
        .assert_stdout("delivered");
    run(&["ledger", "show", &address, "1"])
        .assert_code(0)
        .assert_stdout("UID               uid-1");
    run(&["status", &address])
        .assert_code(1)
        .assert_stdout("last run");
    run(&["fetch", "pops://ann:geheim@localhost", "--to", "Box"]).assert_code(64);
}

#[test]
fn json_is_one_object_a_line_and_tells_everything() {
    let desk = Desk::with(4, "keep = \"none\"\nattempts = 2", |server| {
        server.fault(on("RETR").uid("uid-2").refuse("-ERR no"))
    });
    let mut events = BTreeSet::new();
    for code in [75, 65] {
        let output = desk.pouch(&["fetch", "--json"]).run();
        output.assert_code(code);
        assert!(output.stderr.is_empty());
        for line in output.stdout.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            assert!(event["time"].is_i64());
            events.insert(event["event"].as_str().unwrap().to_owned());
        }
        let last: Value = serde_json::from_str(output.stdout.lines().last().unwrap()).unwrap();
        assert_eq!(
            (last["event"].as_str(), last["exit"].as_i64()),
            (Some("end"), Some(code.into()))
        );
    }
    let trouble = Desk::with(1, "auth = \"user\"", |server| {
        server.fault(on("PASS").refuse("-ERR [AUTH] no"))
    });
    let output = trouble.pouch(&["fetch", "--json"]).run();
    output.assert_code(77).assert_stdout("\"problem\"");
    events.insert("problem".into());
    for event in [
        "start",
        "connected",
        "planned",
        "stored",
        "failed",
        "quarantined",
        "deleted",
        "problem",
        "done",
        "end",
    ] {
        assert!(events.contains(event), "no {event} in {events:?}");
    }
    for args in [
        &["plan", "--json"][..],
        &["status", "--json"],
        &["check", "--json"],
        &["ledger", "list", "--all", "--json"],
        &["config", "show", "--json"],
        &["ledger", "verify", "--json"],
    ] {
        let output = desk.pouch(args).run();
        // a message is quarantined
        output.assert_code(i32::from(args[0] == "status"));
        let document: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(document["accounts"][0]["account"], "work", "{args:?}");
    }
}

#[test]
fn the_ledger_does_what_it_is_told() {
    let desk = Desk::with(4, "attempts = 1", |server| {
        server.fault(on("RETR").uid("uid-2").refuse("-ERR no"))
    });
    desk.fetch(65);
    desk.pouch(&["ledger", "list"])
        .run()
        .assert_code(0)
        .assert_stdout("quarantined")
        .assert_stdout("Message 2");
    let shown = desk.pouch(&["ledger", "show", "work", "2"]).run();
    shown
        .assert_code(0)
        .assert_stdout("UID               uid-2")
        .assert_stdout("-ERR no")
        .assert_stdout("next try          2026-11-24");
    desk.pouch(&["ledger", "show", "work", "99"])
        .run()
        .assert_code(64)
        .assert_stderr("no message 99");
    desk.pouch(&["ledger", "verify"])
        .run()
        .assert_code(0)
        .assert_stdout("3 messages delivered, 3 of them in ~/Mail/work");
    desk.server.heal("uid-2");
    desk.pouch(&["ledger", "retry", "work", "2"])
        .run()
        .assert_code(0)
        .assert_stdout("1 message will be tried again");
    desk.fetch(0);
    desk.assert_arrived(1..=4);
    desk.pouch(&["ledger", "delete", "work", "1", "3"])
        .run()
        .assert_code(0);
    desk.pouch(&["plan"])
        .run()
        .assert_stdout("delete     2             requested by `pouch ledger delete` or a rule");
    desk.fetch(0);
    assert_eq!(desk.server.uids(), ["uid-2", "uid-4"]);
    desk.pouch(&["ledger", "forget", "work", "4"])
        .run()
        .assert_code(0);
    desk.fetch(0);
    assert_eq!(
        desk.mail()
            .delivered()
            .iter()
            .filter(|mail| mail.bytes == corpus::on_disk(&corpus::message(4)))
            .count(),
        2
    );
}

#[test]
fn an_order_to_delete_is_taken_back() {
    let desk = Desk::with(3, "", |server| server.fault(on("RETR 2").refuse("-ERR no")));
    desk.fetch(75);
    desk.pouch(&["ledger", "delete", "work", "1", "2"])
        .run()
        .assert_code(0);
    let told = desk.pouch(&["ledger", "retry", "work"]).run();
    told.assert_code(0).assert_stdout(
        "work: 1 message will be tried again, 1 will not be deleted from the server\n",
    );
    desk.pouch(&["ledger", "delete", "work", "1"])
        .run()
        .assert_code(0);
    let told = desk.pouch(&["ledger", "retry", "work", "1"]).run();
    told.assert_code(0)
        .assert_stdout("work: 1 message will not be deleted from the server\n");
    desk.server.heal_all();
    desk.fetch(0);
    desk.assert_arrived(1..=3);
    assert_eq!(desk.server.remaining(), 3);
}

#[test]
fn catching_up_takes_what_is_there_for_known() {
    let desk = Desk::with(5, "keep = \"none\"", |server| server);
    desk.pouch(&["ledger", "catchup", "work"])
        .run()
        .assert_code(0)
        .assert_stdout("5 messages skipped");
    desk.server.add("uid-6", corpus::message(6));
    desk.fetch(0);
    desk.assert_arrived([6]);
    assert_eq!(desk.server.remaining(), 5);
}

#[test]
fn several_accounts_are_all_tried_and_the_worst_counts() {
    let good = Server::plain().messages(corpus::messages(2)).start();
    let bad = Server::plain()
        .fault(on("PASS").refuse("-ERR [AUTH] no"))
        .start();
    let home = Home::new();
    home.write("password", "secret\n", 0o600);
    let account = |name: &str, host: &str, port: u16, user: &str| {
        format!(
            "[account.{name}]\nhost = \"{host}\"\nport = {port}\nuser = \"{user}\"\nauth = \"user\"\npassword-file = \"~/password\"\n\
             tls = \"off\"\nallow-plaintext-password = true\nmaildir = \"~/Mail/{name}\"\n"
        )
    };
    home.config(
        &[
            account("one", "127.0.0.1", bad.port(), "ann"),
            account("two", "localhost", good.port(), "ann"),
        ]
        .concat(),
    );
    let output = home.pouch(&["fetch", "-v"]).run();
    output
        .assert_code(77)
        .assert_stderr("two   2 new")
        .assert_stderr("pouch: one: the server refused the password");
    assert_eq!(home.maildir("Mail/two").len(), 2);
    home.pouch(&["fetch", "two", "--fail-if-none"])
        .run()
        .assert_code(1);
}

#[test]
fn check_goes_through_a_run() {
    let desk = Desk::with(3, "", |server| server);
    let output = desk.pouch(&["check"]).run();
    output.assert_code(0);
    for step in [
        "secret   ok",
        "connect  ok    127.0.0.1:",
        "login    ok    PLAIN",
        "server   ok",
        "3 messages",
        "deliver  ok    ~/Mail/work, will be created",
    ] {
        output.assert_stdout(step);
    }
    assert_eq!(desk.retrieved(), 0);
    assert!(!desk.home.join("Mail").exists());
    desk.pouch(&["status"]).run().assert_stdout("never run");
    desk.fetch(0);
    desk.pouch(&["status"])
        .run()
        .assert_stdout("work   last run 2026-11-23 00:00, 3 new");
}

#[test]
fn check_tries_every_place_and_program() {
    let lines = |filter: &str, other: &str| {
        format!(
            "filter = [[\"{filter}\", \"-x\"]]\nafter = [\"true\", \"now\"]\n[[account.work.rule]]\naction = \"fetch\"\n\
             also = [\"maildir:.A\", \"{other}\", \"pipe:cat -\"]\n\
             [account.work.multidrop.recipients]\n\"a@b\" = \"maildir:~/Mail/work\"\n\"b@b\" = \"mbox:~/box\""
        )
    };
    let desk = Desk::with(1, &lines("cat", "maildir:~/other"), |server| server);
    let told = desk.pouch(&["check"]).run();
    told.assert_code(0).assert_stdout(
        "  filter   ok    `cat -x`
  deliver  ok    ~/Mail/work, will be created
  deliver  ok    ~/Mail/work/.A, will be created
  deliver  ok    ~/other, will be created
  deliver  ok    `cat -`, gets each message on standard input
  deliver  ok    ~/box, will be created
  after    ok    `true now`
",
    );
    assert!(!desk.home.join("Mail").exists() && !desk.home.join("box").exists());
    // each that fails is told of, whatever the others do
    desk.configure(&lines("no-such-program", "maildir:/proc/nowhere/mail"));
    desk.home.write("Mail", "", 0o600);
    let told = desk.pouch(&["check"]).run();
    told.assert_code(78)
        .assert_stdout("  deliver  ok    ~/box, will be created")
        .assert_stdout("  after    ok    `true now`");
    told.assert_stderr("pouch: work: there is no program `no-such-program -x`");
    told.assert_stderr("pouch: work: cannot create /proc/nowhere/mail")
        .assert_stderr("nothing can be created in /proc\n");
    assert_eq!(
        told.stdout.matches("  deliver  failed").count(),
        3,
        "{told}"
    );
    let told = desk.pouch(&["check", "--json"]).run();
    told.assert_code(78)
        .assert_stdout("\"failed\": \"filter\"")
        .assert_stdout("/proc/nowhere");
}

#[test]
fn a_reader_that_goes_away_is_no_trouble() {
    let desk = Desk::with(300, "", |server| server);
    desk.fetch(0);
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let script =
        format!("{{ {pouch} ledger list --all; echo $? > code; }} | head -n 1; exit $(cat code)");
    let output = desk.home.command("sh", &["-c", &script]).run();
    output.assert_code(0);
    assert!(output.stderr.is_empty(), "{output}");
}

#[test]
fn a_ledger_that_cannot_be_used_is_told_of_and_left_alone() {
    let desk = Desk::with(2, "", |server| server);
    desk.fetch(0);
    let ledger = desk.ledger();
    assert_eq!(fs::metadata(&ledger).unwrap().mode() & 0o777, 0o600);
    assert_eq!(
        fs::metadata(desk.home.state()).unwrap().mode() & 0o777,
        0o700
    );
    let whole = fs::read(&ledger).unwrap();
    fs::write(
        &ledger,
        "this is no database, and never was one, whatever its name may say ".repeat(50),
    )
    .unwrap();
    desk.fetch(65)
        .assert_stderr("the ledger ")
        .assert_stderr("move it away");
    assert!(
        fs::read(&ledger)
            .unwrap()
            .starts_with(b"this is no database")
    );
    fs::write(&ledger, &whole).unwrap();
    // the version stands at octet 60 of the file
    let mut newer = whole.clone();
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&ledger, &newer).unwrap();
    desk.fetch(65)
        .assert_stderr("another version of pouch wrote the ledger");
    fs::write(&ledger, &whole).unwrap();
    desk.fetch(0).assert_silent();
    desk.assert_arrived([1, 2]);
    desk.assert_arrived([1, 2]);
}

#[cfg(feature = "system-tests")]
#[test]
fn a_place_where_nothing_can_be_kept_is_told_with_a_way_out() {
    let desk = Desk::with(2, "", |server| server);
    desk.home.write("file", "", 0o600);
    symlink("/nonexistent/place", desk.home.join("link")).unwrap();
    let disk = Mounted::read_only(&desk.home, desk.home.make_dir("disk", 0o700));
    for (place, text) in [
        ("file", "file\n  a file of that name already exists\n"),
        ("file/below", "file\n  a file of that name already exists\n"),
        (
            "link",
            "link\n  it is a link to /nonexistent/place, which is not there\n",
        ),
        ("disk", "Read-only file system\n"),
        ("disk/below", "Read-only file system\n"),
    ] {
        for command in ["fetch", "check", "plan"] {
            let told = desk.pouch(&[command, "--state-dir", place]).run();
            told.assert_code(73)
                .assert_stderr("pouch: work: ")
                .assert_stderr(text);
            told.assert_stderr("hint: fix this, or use another directory with `--state-dir`");
        }
    }
    assert_eq!(desk.server.log().commands().count(), 0);
    drop(disk);
    // a home that is not there yet is made
    let config = desk.home.join(".config/pouch/config.toml");
    let args = [
        "fetch",
        "--password-command",
        "echo secret",
        "--config",
        config.to_str().unwrap(),
    ];
    let run = desk.pouch(&args).env("HOME", desk.home.join("not/yet"));
    run.env("XDG_STATE_HOME", desk.home.join("not/yet/state"))
        .run()
        .assert_code(0)
        .assert_silent();
    assert_eq!(desk.home.maildir("not/yet/Mail/work").len(), 2);
    assert!(Home::ledger(&desk.home.join("not/yet/state/pouch")).exists());
}

#[test]
fn every_fetches_again_and_again() {
    let desk = Desk::with(1, "", |server| server);
    let mut child = desk.pouch(&["fetch", "--every", "1s"]).spawn();
    desk.server.wait_for(|log| log.count("QUIT") == 1);
    desk.server.add("uid-2", corpus::message(2));
    desk.server.wait_for(|log| log.count("QUIT") >= 2);
    child.signal(15);
    child.wait().assert_code(128 + 15);
    desk.assert_arrived([1, 2]);
}

#[test]
fn a_slip_on_the_command_line_leads_on() {
    let home = Home::new();
    let slip = home.pouch(&["fecth"]).run();
    slip.assert_code(64)
        .assert_stderr("a similar subcommand exists: 'fetch'");
    assert!(!slip.stderr.contains("hint:"), "{slip}");
    home.pouch(&["work"])
        .run()
        .assert_code(64)
        .assert_stderr("hint: if `work` is an account, `pouch fetch work` fetches it");
    assert!(
        !home
            .pouch(&["ledger", "work"])
            .run()
            .assert_code(64)
            .stderr
            .contains("is an account")
    );
    let place = home
        .pouch(&["fetch", "pops://ann@localhost", "--to", "ftp:x"])
        .run();
    place
        .assert_code(64)
        .assert_stderr("unsupported kind of destination `ftp:`")
        .assert_stderr("mbox:FILE, pipe:COMMAND");
    assert!(!home.join("ftp:x").exists());
}

#[test]
fn a_program_that_reads_json_hears_of_what_kept_all_from_being_done() {
    let home = Home::new();
    home.config("[account.work]\nhots = \"h\"\n");
    for args in [
        &["--json"][..],
        &["fetch", "--json"],
        &["fetch", "--json", "-qq"],
    ] {
        let output = home.pouch(args).run();
        output.assert_code(78);
        assert_eq!(
            output.stderr.contains("did you mean `host`?"),
            !args.contains(&"-qq"),
            "{output}"
        );
        let lines: Vec<Value> = output
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            (lines.len(), &lines[0]["event"], &lines[1]["event"]),
            (2, &"problem".into(), &"end".into())
        );
        assert!(
            lines[0]["problem"]["what"]
                .as_str()
                .unwrap()
                .contains("config.toml:2:1"),
            "{output}"
        );
        assert_eq!(
            (&lines[0]["problem"]["exit"], &lines[1]["exit"]),
            (&78.into(), &78.into())
        );
    }
    for args in [
        &["plan"][..],
        &["fetch", "-n"],
        &["status"],
        &["check"],
        &["ledger", "list"],
        &["config", "show"],
    ] {
        let output = home.pouch(&[args, &["--json"]].concat()).run();
        output.assert_code(78).assert_stderr("did you mean `host`?");
        let document: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(document["problem"]["exit"], 78, "{args:?}");
    }
}

#[test]
fn errors_of_the_system_are_told_without_their_numbers() {
    let desk = Desk::with(1, "", |server| server);
    desk.home.config(
        "[account.work]\nhost = \"127.0.0.1\"\nport = 1\nuser = \"ann\"\npassword-file = \"~/none\"\nmaildir = \"~/Mail\"\n",
    );
    let missing = desk.pouch(&["fetch"]).run();
    missing
        .assert_code(78)
        .assert_stderr("  No such file or directory\nhint: make it: ");
    desk.home.write("none", "secret\n", 0o600);
    let refused = desk.pouch(&["fetch", "-v"]).run();
    refused
        .assert_code(69)
        .assert_stderr("  127.0.0.1:1: Connection refused\n");
    let full = desk
        .home
        .command(
            "sh",
            &[
                "-c",
                "exec \"$0\" config sample > /dev/full",
                env!("CARGO_BIN_EXE_pouch"),
            ],
        )
        .run();
    full.assert_code(74)
        .assert_stderr("pouch: cannot write to standard output\n  No space left on device\n");
}

#[test]
fn times_that_make_no_sense_are_refused() {
    let desk = Desk::with(1, "", |server| server);
    for args in [
        ["--every", "0s"],
        ["--every", "10000000000000000000s"],
        ["--wait", "10000000000000000000s"],
    ] {
        desk.pouch(&[&["fetch"], &args[..]].concat())
            .run()
            .assert_code(64);
    }
    // what shows a plan and ends is not done again and again
    desk.pouch(&["fetch", "--dry-run", "--every", "1m"])
        .run()
        .assert_code(64);
    desk.configure("connect-timeout = \"10000000000000000000s\"");
    desk.fetch(78);
}
