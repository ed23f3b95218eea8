//! The command line: output for people and for programs, and the commands that change the ledger.

#[cfg(feature = "system-tests")]
use std::os::unix::fs::symlink;
use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt};

use insta::assert_snapshot;
use serde_json::Value;

#[cfg(feature = "system-tests")]
use crate::support::mount::Mounted;
use crate::{
    fixture::{Desk, NOW},
    server::{Server, corpus, on},
    support::Home,
};

#[test]
fn missing_config_hints_how_to_create_one() {
    let home = Home::new();
    let output = home.pouch(&[]).run();
    assert_snapshot!(output.assert_code(78).stderr_text(), @"
    pouch: there is no config file ~/.config/pouch/config.toml
      an account can also be given as a URL, such as pops://ann@pop.example.org
    hint: run `pouch init ADDRESS`, with your mail address
    ");
    home.pouch(&["config", "sample"])
        .run()
        .assert_code(0)
        .assert_stdout("[account.");
    assert_snapshot!(home.pouch(&["config", "path"]).run().stdout_text(), @"HOME/.config/pouch/config.toml");
    assert_snapshot!(home.pouch(&["--version"]).run().assert_code(0).stdout_text(), @"pouch VERSION");
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
fn config_mistakes_are_shown_with_line_and_hint() {
    let home = Home::new();
    let base = "[account.work]\nhost = \"h\"\nuser = \"u\"\nmaildir = \"m\"\n";
    let mut shown = String::new();
    for line in [
        "pasword-command = [\"pass\"]",
        "password = \"geheim\"",
        "port = \"995\"",
        "keep = \"soon\"",
        "host = \"again\"",
        "tls = \"off\"\nauth = \"plain\"",
        "passwordeval = \"pass work\"",
    ] {
        home.config(&format!("{base}{line}\n"));
        let output = home.pouch(&["fetch"]).run();
        shown.push_str(&output.assert_code(78).case(line));
        assert!(!output.stderr.contains("geheim"), "{output}");
    }
    assert_snapshot!(shown, @r#"
    === pasword-command = ["pass"]
    $ pouch fetch
    ------- stderr -------
    pouch: ~/.config/pouch/config.toml:5:1: unknown key `pasword-command`
      5 | pasword-command = …
        | ^^^^^^^^^^^^^^^
    hint: did you mean `password-command`?
    [exit code: 78]
    === password = "geheim"
    $ pouch fetch
    ------- stderr -------
    pouch: ~/.config/pouch/config.toml:5:1: passwords are not allowed in the config file
      5 | password = …
        | ^^^^^^^^
    hint: use `password-command = ["pass", "show", "mail/work"]` or `password-file = "~/.secrets/work"` instead
    [exit code: 78]
    === port = "995"
    $ pouch fetch
    ------- stderr -------
    pouch: ~/.config/pouch/config.toml:5:8: `port` must be an integer from 1 to 65535, without quotes, not a string
      5 | port = "995"
        |        ^^^^^
    [exit code: 78]
    === keep = "soon"
    $ pouch fetch
    ------- stderr -------
    pouch: ~/.config/pouch/config.toml:5:8: `keep` must be "forever", "none" or a number of days in quotes, like "30d", "8w", "6mo" or "1y", not "soon"
      5 | keep = "soon"
        |        ^^^^^^
    [exit code: 78]
    === host = "again"
    $ pouch fetch
    ------- stderr -------
    pouch: ~/.config/pouch/config.toml:5:1: duplicate key `host`
      2 | host = "h"
        | ---- first used here
      5 | host = "again"
        | ^^^^
    hint: remove one of them
    [exit code: 78]
    === tls = "off"
    auth = "plain"
    $ pouch fetch
    ------- stderr -------
    pouch: ~/.config/pouch/config.toml:5:1: `tls = "off"` sends the password and the mail unencrypted
      5 | tls = "off"
        | ^^^
    hint: use "implicit" or "starttls"; on a trusted network, add `allow-plaintext-password = true`
    [exit code: 78]
    === passwordeval = "pass work"
    $ pouch fetch
    ------- stderr -------
    pouch: ~/.config/pouch/config.toml:5:1: unknown key `passwordeval`
      5 | passwordeval = …
        | ^^^^^^^^^^^^
    hint: use `password-command`, a list: ["pass", "show", "mail/work"]; or `token-command`, if it prints an OAuth 2.0 token
    [exit code: 78]
    "#);
    home.config(base);
    assert_snapshot!(home.pouch(&["fetch", "wrok"]).run().assert_code(64).stderr_text(), @"
    pouch: there is no account `wrok` in ~/.config/pouch/config.toml
    hint: did you mean `work`?
    ");
    home.write(".config/pouch/config.toml", base, 0o666);
    assert_snapshot!(home.pouch(&["fetch"]).run().assert_code(77).stderr_text(), @"
    pouch: ~/.config/pouch/config.toml is writable by other users
      its permissions are 0666; its commands would run as you
    hint: run `chmod go-w ~/.config/pouch/config.toml`
    ");
}

#[test]
fn unavailable_passwords_are_reported_before_connecting() {
    let desk = Desk::with(1, "", |server| server);
    let mut shown = String::new();
    for (lines, code) in [
        ("password-command = [\"false\"]", 78),
        ("password-command = [\"true\"]", 78),
        ("password-command = [\"/no/such/program\"]", 78),
        ("password-command = [\"~/bin/secret\"]", 78),
        ("password-file = \"~/missing\"", 78),
        ("password-file = \"~/open\"", 77),
        ("password-credential = \"work\"", 78),
        ("", 78),
    ] {
        desk.home.write("open", "secret\n", 0o644);
        desk.home.config(&format!(
            "[account.work]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"ann\"\ntls = \"off\"\nallow-plaintext-password = true\n\
             maildir = \"~/Mail/work\"\n{lines}\n",
            desk.server.port()
        ));
        let output = desk.pouch(&["fetch", "-v"]).run();
        shown.push_str(&output.assert_code(code).case(lines));
    }
    assert_snapshot!(shown, @r#"
    === password-command = ["false"]
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: the password command `false` failed: exit status: 1
    hint: run it by hand to see what it prints
    work   nothing fetched
    [exit code: 78]
    === password-command = ["true"]
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: the password command `true` returned an empty password
      its first line is empty
    work   nothing fetched
    [exit code: 78]
    === password-command = ["/no/such/program"]
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: cannot run the password command `/no/such/program`
      No such file or directory
    hint: there is no program `/no/such/program`: check its path
    work   nothing fetched
    [exit code: 78]
    === password-command = ["~/bin/secret"]
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: cannot run the password command `~/bin/secret`
      No such file or directory
    hint: no shell expands `~` in a command: write the whole path
    work   nothing fetched
    [exit code: 78]
    === password-file = "~/missing"
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: cannot read the password file ~/missing
      No such file or directory
    hint: create it with mode 600 and the password as its first line
    work   nothing fetched
    [exit code: 78]
    === password-file = "~/open"
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: the password file ~/open is accessible to other users
      its mode is 0644
    hint: run `chmod 600 ~/open`
    work   nothing fetched
    [exit code: 77]
    === password-credential = "work"
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: no credential `work`
      $CREDENTIALS_DIRECTORY is not set: systemd did not start pouch
    hint: set LoadCredential=work:FILE in the unit, or use `password-command`
    work   nothing fetched
    [exit code: 78]
    ===
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: no password for ann at 127.0.0.1
      cannot prompt for it: there is no terminal
    hint: set `password-command` or `password-file` in the config, or use `--password-command`
    work   nothing fetched
    [exit code: 78]
    "#);
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
fn common_first_mistakes_get_a_hint() {
    let desk = Desk::with(2, "", |server| server);
    desk.home.write("file", "", 0o600);
    let below = desk.home.join("file/Mail");
    let below = below.to_str().unwrap();
    let mut shown = String::new();
    for (args, code) in [
        (&["ledger", "list", "-a"][..], 0),
        (&["ledger", "list"], 0),
        (&["ledger", "list", "-s", "short"], 0),
        (&["ledger", "list", "-s", "bad"], 64),
        (&["ledger", "show", "work", "<m1@example.org>"], 64),
        (&["ledger", "show", "work", "1"], 64),
        (&["fetch", "ann@pop.example.org"], 64),
        (&["ledger", "retry", "work", "--state-dir", below], 73),
        (&["fetch", "-l", "many"], 64),
        (&["fetch", "-j", "0"], 64),
        (&["fetch", "--to", below], 73),
        (&["--json", "config", "path"], 0),
    ] {
        shown.push_str(&desk.pouch(args).run().assert_code(code).transcript());
    }
    assert_snapshot!(shown, @r#"
    $ pouch ledger list -a
    work: no message is known
    $ pouch ledger list
    work: no message is waiting or has failed
    $ pouch ledger list -s short
    work: no message is short
    $ pouch ledger list -s bad
    ------- stderr -------
    error: invalid value 'bad' for '--state <STATE>'
      [possible values: new, delivering, delivered, short, quarantined, skipped, gone]

    For more information, try '--help'.
    [exit code: 64]
    $ pouch ledger show work <m1@example.org>
    ------- stderr -------
    error: invalid value '<m1@example.org>' for '[MESSAGE]...': it must be a number, a range such as 3-7, or `all`; `pouch ledger list --all` shows the numbers

    For more information, try '--help'.
    [exit code: 64]
    $ pouch ledger show work 1
    ------- stderr -------
    pouch: there is no message 1 in the ledger
    hint: run `pouch ledger list --all` to see the numbers
    [exit code: 64]
    $ pouch fetch ann@pop.example.org
    ------- stderr -------
    pouch: there is no account `ann@pop.example.org` in ~/.config/pouch/config.toml
    hint: write a URL as `pops://ann@pop.example.org`
    [exit code: 64]
    $ pouch ledger retry work --state-dir HOME/file/Mail
    ------- stderr -------
    pouch: cannot create the directory ~/file
      a file of that name already exists
    hint: fix this, or set another directory with `--state-dir` (a new ledger is empty: all mail is fetched again)
    [exit code: 73]
    $ pouch fetch -l many
    ------- stderr -------
    error: invalid value 'many' for '--limit <COUNT>': it must be a number from 0 up; 0 is no limit

    For more information, try '--help'.
    [exit code: 64]
    $ pouch fetch -j 0
    ------- stderr -------
    error: invalid value '0' for '--jobs <COUNT>': it must be a number from 1 to 65535

    For more information, try '--help'.
    [exit code: 64]
    $ pouch fetch --to HOME/file/Mail
    ------- stderr -------
    pouch: work: ~/file/Mail is not a Maildir
      ~/file is a file
    hint: use a directory that does not exist yet; pouch creates it
    [exit code: 73]
    $ pouch --json config path
    {
      "conf_d": "HOME/.config/pouch/conf.d",
      "path": "HOME/.config/pouch/config.toml"
    }
    "#);
    // once a message has a ledger number, it is shown with that number
    desk.fetch(0);
    desk.pouch(&["ledger", "forget", "work", "1"])
        .run()
        .assert_code(0);
    assert_snapshot!(desk.pouch(&["plan", "-v"]).run().stdout_text(), @"
    work: 2 messages on the server, 1 known
      fetch      1     363 B   new; kept on the server
      keep       1             fetched before
      message    new     363 B   fetch to ~/Mail/work: new; kept on the server
          UID uid-1, from Ben, subject: Message 1
      message      2     401 B   keep: fetched before
    ");
    desk.fetch(0);
    assert_snapshot!(desk.pouch(&["plan", "-v"]).run().stdout_text(), @"
    work: 2 messages on the server, 2 known
      keep       2             fetched before
      message      3     363 B   keep: fetched before
      message      2     401 B   keep: fetched before
    ");
}

#[test]
fn url_is_fetched_without_a_config() {
    let home = Home::new();
    let server = Server::implicit_tls().messages(corpus::messages(2)).start();
    let address = format!("pops://ann@localhost:{}", server.port());
    let ca = server.ca_file(home.path());
    let run = |args: &[&str]| {
        let run = home.pouch(args).env("SSL_CERT_FILE", &ca);
        run.env("POUCH_NOW", NOW.to_string()).run()
    };
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
    assert_snapshot!(run(&["fetch", &address, "--to", "Box"]).assert_code(78).stderr_text(), @"
    pouch: pops://ann@localhost:PORT: no password for ann at localhost
      cannot prompt for it: there is no terminal
    hint: use `--password-command`
    ");
    assert_snapshot!(run(&["fetch", &address]).assert_code(64).stderr_text(), @"
    pouch: no destination given
    hint: add `--to ~/Mail`, a Maildir that is created if it does not exist
    ");
    // the commands that hints mention work without `--to`
    let output = run(&["ledger", "list", "--all", &address]);
    assert_snapshot!(output.assert_code(0).stdout_text(), @"
    pops://ann@localhost:PORT
     message state            size   first seen         what
           1 delivered       363 B   2026-11-23 00:00   UID uid-1
           2 delivered       401 B   2026-11-23 00:00   UID uid-2
    ");
    assert_snapshot!(run(&["ledger", "show", &address, "1"]).assert_code(0).stdout_text(), @"
    message           1
    UID               uid-1
    state             delivered
    listed size       363 bytes
    received          363 bytes
    first seen        2026-11-23 00:00
    delivered         2026-11-23 00:00
    file              1795392000.R1L-LEDGER.HOST
    ");
    assert_snapshot!(run(&["status", &address]).assert_code(1).stdout_text(), @"pops://ann@localhost:PORT   failing since 2026-11-23 00:00: no password for ann at localhost; last run 2026-11-23 00:00");
    run(&["fetch", "pops://ann:geheim@localhost", "--to", "Box"]).assert_code(64);
}

#[test]
fn hints_for_a_url_name_what_a_url_has() {
    let home = Home::new();
    let plain = Server::plain().start();
    let secure = Server::implicit_tls().start();
    let mut shown = String::new();
    for (url, code) in [
        ("pops://ann@localhost:1".to_owned(), 69),
        ("pops://ann@nowhere.invalid".to_owned(), 68),
        (format!("pops://ann@localhost:{}", plain.port()), 76),
        (format!("pop://ann@localhost:{}", plain.port()), 69),
        (format!("pops://ann@localhost:{}", secure.port()), 77),
    ] {
        let command = ["fetch", &url, "--to", "Box", "--password-command", "echo x"];
        let output = home.pouch(&[&command[..], &["-v"]].concat()).run();
        shown.push_str(&output.assert_code(code).stderr_text());
        shown.push('\n');
    }
    assert_snapshot!(shown, @"
    pouch: pops://ann@localhost:1: localhost refused the connection on port 1
      127.0.0.1:1: Connection refused
    hint: check the host and the port in the URL: pops:// is for TLS (port 995), pop:// for STARTTLS (port 110)
    pops://ann@localhost:1   nothing fetched

    pouch: pops://ann@nowhere.invalid: host nowhere.invalid not found
      resolver: Name or service not known
    hint: check the host name in the URL
    pops://ann@nowhere.invalid   nothing fetched

    pouch: pops://ann@localhost:PORT: localhost does not speak TLS on this port
      OpenSSL: wrong version number
    hint: check the host and the port in the URL: pops:// is for TLS (port 995), pop:// for STARTTLS (port 110)
    pops://ann@localhost:PORT   nothing fetched

    pouch: pop://ann@localhost:PORT: localhost does not support STARTTLS on this port
      localhost said: -ERR unknown command, or not now
    hint: use pops:// (port 995), which most servers support
    pop://ann@localhost:PORT   nothing fetched

    pouch: pops://ann@localhost:PORT: the certificate of localhost is not trusted
      OpenSSL: unable to get local issuer certificate
    hint: to trust its authority or this certificate, create a config with `tls-ca-file` or `tls-pin`: `pouch config sample`
    pops://ann@localhost:PORT   nothing fetched
    ");
}

#[test]
fn json_output_has_every_event() {
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
    assert_snapshot!(output.assert_code(77).stdout_text(), @r#"
    {"account":"work","event":"start","time":1795392000}
    {"account":"work","event":"problem","problem":{"exit":77,"facts":["127.0.0.1 said: -ERR [AUTH] no"],"hint":"check the password in ~/password, then run `pouch check work`","what":"127.0.0.1 rejected the password"},"time":1795392000}
    {"account":"work","bytes":0,"deleted":0,"delivered":0,"destinations":[],"event":"done","exit":77,"failed":0,"quarantined":0,"skipped":0,"time":1795392000}
    {"event":"end","exit":77,"time":1795392000}
    "#);
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
fn ledger_commands_change_the_next_run() {
    let desk = Desk::with(4, "attempts = 1", |server| {
        server.fault(on("RETR").uid("uid-2").refuse("-ERR no"))
    });
    desk.fetch(65);
    assert_snapshot!(desk.pouch(&["ledger", "list"]).run().assert_code(0).stdout_text(), @"
    work
     message state            size   first seen         what
           2 quarantined     401 B   2026-11-23 00:00   Message 2: 127.0.0.1 refused to send message 2; 127.0.0.1 said: -ERR no
    ");
    let shown = desk.pouch(&["ledger", "show", "work", "2"]).run();
    assert_snapshot!(shown.assert_code(0).stdout_text(), @"
    message           2
    UID               uid-2
    state             quarantined
    from              Ben
    subject           Message 2
    listed size       401 bytes
    first seen        2026-11-23 00:00
    failed            1 time
    reason            127.0.0.1 refused to send message 2; 127.0.0.1 said: -ERR no
    next try          2026-11-24 00:00
    ");
    let output = desk.pouch(&["ledger", "show", "work", "99"]).run();
    output.assert_code(64);
    assert_snapshot!(output.stderr_text(), @"
    pouch: there is no message 99 in the ledger
    hint: run `pouch ledger list --all` to see the numbers
    ");
    assert_snapshot!(desk.pouch(&["ledger", "verify"]).run().assert_code(0).stdout_text(), @"work: 3 messages delivered, 3 of them in ~/Mail/work");
    desk.server.heal("uid-2");
    let output = desk.pouch(&["ledger", "retry", "work", "2"]).run();
    output.assert_code(0);
    assert_snapshot!(output.stdout_text(), @"work: 1 message will be fetched in the next run");
    desk.fetch(0);
    desk.assert_arrived(1..=4);
    desk.pouch(&["ledger", "delete", "work", "1", "3"])
        .run()
        .assert_code(0);
    assert_snapshot!(desk.pouch(&["plan"]).run().stdout_text(), @"
    work: 4 messages on the server, 4 known
      delete     2             requested by `pouch ledger delete`
      keep       2             fetched before
    ");
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
fn ledger_retry_cancels_requested_deletions() {
    let desk = Desk::with(3, "", |server| server.fault(on("RETR 2").refuse("-ERR no")));
    desk.fetch(75);
    desk.pouch(&["ledger", "delete", "work", "1", "2"])
        .run()
        .assert_code(0);
    let told = desk.pouch(&["ledger", "retry", "work"]).run();
    assert_snapshot!(told.assert_code(0).stdout_text(), @"work: 1 message will be fetched in the next run, 1 will not be deleted from the server");
    desk.pouch(&["ledger", "delete", "work", "1"])
        .run()
        .assert_code(0);
    let output = desk.pouch(&["ledger", "retry", "work", "1"]).run();
    assert_snapshot!(output.assert_code(0).stdout_text(), @"work: 1 message will not be deleted from the server");
    desk.server.heal_all();
    desk.fetch(0);
    desk.assert_arrived(1..=3);
    assert_eq!(desk.server.remaining(), 3);
}

#[test]
fn catchup_marks_listed_messages_as_seen() {
    let desk = Desk::with(5, "keep = \"none\"", |server| server);
    let output = desk.pouch(&["ledger", "catchup", "work"]).run();
    output.assert_code(0);
    assert_snapshot!(output.stdout_text(), @"work: 5 messages skipped");
    desk.server.add("uid-6", corpus::message(6));
    desk.fetch(0);
    desk.assert_arrived([6]);
    assert_eq!(desk.server.remaining(), 5);
}

#[test]
fn worst_exit_code_of_several_accounts_is_returned() {
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
    // the accounts are fetched at the same time, so their lines come in any order
    let text = output.assert_code(77).stderr_text();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_snapshot!(lines.join("\n"), @"
      127.0.0.1 said: -ERR [AUTH] no
    2 fetched; 1 account failed: one
    hint: check the password in ~/password, then run `pouch check one`
    one   nothing fetched
    pouch: one: 127.0.0.1 rejected the password
    two   2 new (764 B) to ~/Mail/two
    two: 2 listed, 2 to fetch
    two: logged in at localhost:PORT
    ");
    assert_eq!(home.maildir("Mail/two").len(), 2);
    home.pouch(&["fetch", "two", "--fail-if-none"])
        .run()
        .assert_code(1);
}

#[test]
fn check_reports_each_step_and_fetches_nothing() {
    let desk = Desk::with(3, "", |server| server);
    let output = desk.pouch(&["check"]).run();
    assert_snapshot!(output.assert_code(0).stdout_text(), @"
    ledger   ok    ~/.local/state/pouch
    secret   ok    ~/password, N s
    connect  ok    127.0.0.1:PORT (127.0.0.1), N ms
    login    ok    PLAIN
    server   ok    UIDL TOP PIPELINING; 3 messages
    deliver  ok    ~/Mail/work, will be created
    sandbox  (as the kernel allows)
    ");
    assert_eq!(desk.retrieved(), 0);
    assert!(!desk.home.join("Mail").exists());
    assert_snapshot!(desk.pouch(&["status"]).run().stdout_text(), @"work   never run");
    desk.fetch(0);
    assert_snapshot!(desk.pouch(&["status"]).run().stdout_text(), @"work   last run 2026-11-23 00:00, 3 new, 1.2 KB");
}

#[test]
fn check_tests_every_destination_and_command() {
    let lines = |filter: &str, other: &str| {
        format!(
            "filter = [[\"{filter}\", \"-x\"]]\nafter = [\"true\", \"now\"]\n[[account.work.rule]]\naction = \"fetch\"\n\
             also = [\"maildir:.A\", \"{other}\", \"pipe:cat -\"]\n\
             [account.work.multidrop.recipients]\n\"a@b\" = \"maildir:~/Mail/work\"\n\"b@b\" = \"mbox:~/box\""
        )
    };
    let desk = Desk::with(1, &lines("cat", "maildir:~/other"), |server| server);
    let output = desk.pouch(&["check"]).run();
    assert_snapshot!(output.assert_code(0).stdout_text(), @"
    ledger   ok    ~/.local/state/pouch
    secret   ok    ~/password, N s
    connect  ok    127.0.0.1:PORT (127.0.0.1), N ms
    login    ok    PLAIN
    server   ok    UIDL TOP PIPELINING; 1 message
    filter   ok    `cat`
    deliver  ok    ~/Mail/work, will be created
    deliver  ok    ~/Mail/work/.A, will be created
    deliver  ok    ~/other, will be created
    deliver  ok    `cat`, gets each message on standard input
    deliver  ok    ~/box, will be created
    after    ok    `true`
    sandbox  off   account `work` runs programs
    ");
    assert!(!desk.home.join("Mail").exists() && !desk.home.join("box").exists());
    // Each failure is reported, independently of the other steps.
    desk.configure(&lines("no-such-program", "maildir:/proc/nowhere/mail"));
    desk.home.write("Mail", "", 0o600);
    let output = desk.pouch(&["check"]).run();
    assert_snapshot!(output.assert_code(78).transcript(), @"
    $ pouch check
      ledger   ok    ~/.local/state/pouch
      secret   ok    ~/password, N s
      connect  ok    127.0.0.1:PORT (127.0.0.1), N ms
      login    ok    PLAIN
      server   ok    UIDL TOP PIPELINING; 1 message
      filter   failed
      deliver  failed
      deliver  failed
      deliver  failed
      deliver  ok    `cat`, gets each message on standard input
      deliver  ok    ~/box, will be created
      after    ok    `true`
      sandbox  off   account `work` runs programs
    ------- stderr -------
    pouch: work: program `no-such-program` not found
    hint: `no-such-program` is not installed, or not in PATH, which is short in cron and systemd: install it, or write its whole path
    pouch: work: ~/Mail/work is not a Maildir
      ~/Mail is a file
    hint: use a directory that does not exist yet; pouch creates it
    pouch: work: ~/Mail/work/.A is not a Maildir
      ~/Mail is a file
    hint: use a directory that does not exist yet; pouch creates it
    pouch: work: cannot create /proc/nowhere/mail
      No such file or directory
      nothing can be created in /proc
    [exit code: 78]
    ");
    assert_eq!(
        output.stdout.matches("  deliver  failed").count(),
        3,
        "{output}"
    );
    let output = desk.pouch(&["check", "--json"]).run();
    assert_snapshot!(output.assert_code(78).stdout_text(), @r#"
    {
      "accounts": [
        {
          "account": "work",
          "failed": "filter",
          "problem": {
            "exit": 78,
            "facts": [],
            "hint": "`no-such-program` is not installed, or not in PATH, which is short in cron and systemd: install it, or write its whole path",
            "what": "program `no-such-program` not found"
          },
          "problems": [
            {
              "problem": {
                "exit": 78,
                "facts": [],
                "hint": "`no-such-program` is not installed, or not in PATH, which is short in cron and systemd: install it, or write its whole path",
                "what": "program `no-such-program` not found"
              },
              "step": "filter"
            },
            {
              "problem": {
                "exit": 73,
                "facts": [
                  "HOME/Mail is a file"
                ],
                "hint": "use a directory that does not exist yet; pouch creates it",
                "what": "HOME/Mail/work is not a Maildir"
              },
              "step": "deliver"
            },
            {
              "problem": {
                "exit": 73,
                "facts": [
                  "HOME/Mail is a file"
                ],
                "hint": "use a directory that does not exist yet; pouch creates it",
                "what": "HOME/Mail/work/.A is not a Maildir"
              },
              "step": "deliver"
            },
            {
              "problem": {
                "exit": 73,
                "facts": [
                  "No such file or directory",
                  "nothing can be created in /proc"
                ],
                "hint": null,
                "what": "cannot create /proc/nowhere/mail"
              },
              "step": "deliver"
            }
          ],
          "steps": [
            {
              "step": "ledger",
              "what": "~/.local/state/pouch"
            },
            {
              "step": "secret",
              "what": "~/password, N s"
            },
            {
              "step": "connect",
              "what": "127.0.0.1:PORT (127.0.0.1), N ms"
            },
            {
              "step": "login",
              "what": "PLAIN"
            },
            {
              "step": "server",
              "what": "UIDL TOP PIPELINING; 1 message"
            },
            {
              "step": "deliver",
              "what": "`cat`, gets each message on standard input"
            },
            {
              "step": "deliver",
              "what": "~/box, will be created"
            },
            {
              "step": "after",
              "what": "`true`"
            }
          ],
          "warnings": []
        }
      ],
      "problems": [],
      "sandbox": {
        "in_force": false,
        "what": "account `work` runs programs"
      }
    }
    "#);
}

#[test]
fn closed_standard_output_is_not_an_error() {
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
fn unusable_ledger_is_reported_and_not_changed() {
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
    assert_snapshot!(desk.fetch(65).stderr_text(), @"
    pouch: work: cannot read the ledger ~/.local/state/pouch/mailboxes/LEDGER.db
      SQLite: file is not a database
    hint: check the disk and try again; if the error persists, move the ledger away: pouch creates a new one and fetches all mail still on the server again
    ");
    assert!(
        fs::read(&ledger)
            .unwrap()
            .starts_with(b"this is no database")
    );
    fs::write(&ledger, &whole).unwrap();
    // the version is at byte 60 of the file
    let mut newer = whole.clone();
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&ledger, &newer).unwrap();
    assert_snapshot!(desk.fetch(65).stderr_text(), @"
    pouch: work: the ledger ~/.local/state/pouch/mailboxes/LEDGER.db was written by another version of pouch
      it has schema version 99; this pouch supports version 5
    hint: use that version of pouch, or choose another directory with `--state-dir`
    ");
    fs::write(&ledger, &whole).unwrap();
    desk.fetch(0).assert_silent();
    desk.assert_arrived([1, 2]);
    desk.assert_arrived([1, 2]);
}

#[cfg(feature = "system-tests")]
#[test]
fn unwritable_state_directory_is_reported_with_a_hint() {
    let desk = Desk::with(2, "", |server| server);
    desk.home.write("file", "", 0o600);
    symlink("/nonexistent/place", desk.home.join("link")).unwrap();
    let disk = Mounted::read_only(&desk.home, desk.home.make_dir("disk", 0o700));
    let mut shown = String::new();
    for place in ["file", "file/below", "link", "disk", "disk/below"] {
        for command in ["fetch", "check", "plan"] {
            let output = desk.pouch(&[command, "--state-dir", place]).run();
            // a plan needs no state directory, as long as it could be one
            let code = match (command, place) {
                ("plan", "disk" | "disk/below") => 0,
                _ => 73,
            };
            shown.push_str(&output.assert_code(code).transcript());
        }
    }
    assert_snapshot!(shown, @"
    $ pouch fetch --state-dir file
    ------- stderr -------
    pouch: work: cannot create the directory file
      a file of that name already exists
    hint: fix this, or set another directory with `--state-dir` (a new ledger is empty: all mail is fetched again)
    [exit code: 73]
    $ pouch check --state-dir file
      ledger   failed
      sandbox  (as the kernel allows)
    ------- stderr -------
    pouch: work: cannot create the directory file
      a file of that name already exists
    hint: fix this, or set another directory with `--state-dir` (a new ledger is empty: all mail is fetched again)
    [exit code: 73]
    $ pouch plan --state-dir file
    ------- stderr -------
    pouch: work: cannot create the directory file
      a file of that name already exists
    hint: fix this, or set another directory with `--state-dir` (a new ledger is empty: all mail is fetched again)
    [exit code: 73]
    $ pouch fetch --state-dir file/below
    ------- stderr -------
    pouch: work: cannot create the directory file
      a file of that name already exists
    hint: fix this, or set another directory with `--state-dir` (a new ledger is empty: all mail is fetched again)
    [exit code: 73]
    $ pouch check --state-dir file/below
      ledger   failed
      sandbox  (as the kernel allows)
    ------- stderr -------
    pouch: work: cannot create the directory file
      a file of that name already exists
    hint: fix this, or set another directory with `--state-dir` (a new ledger is empty: all mail is fetched again)
    [exit code: 73]
    $ pouch plan --state-dir file/below
    ------- stderr -------
    pouch: work: cannot create the directory file
      a file of that name already exists
    hint: fix this, or set another directory with `--state-dir` (a new ledger is empty: all mail is fetched again)
    [exit code: 73]
    $ pouch fetch --state-dir link
    ------- stderr -------
    pouch: work: cannot create the directory link
      it is a symbolic link to /nonexistent/place, which does not exist
    hint: fix this, or set another directory with `--state-dir` (a new ledger is empty: all mail is fetched again)
    [exit code: 73]
    $ pouch check --state-dir link
      ledger   failed
      sandbox  (as the kernel allows)
    ------- stderr -------
    pouch: work: cannot create the directory link
      it is a symbolic link to /nonexistent/place, which does not exist
    hint: fix this, or set another directory with `--state-dir` (a new ledger is empty: all mail is fetched again)
    [exit code: 73]
    $ pouch plan --state-dir link
    ------- stderr -------
    pouch: work: cannot create the directory link
      it is a symbolic link to /nonexistent/place, which does not exist
    hint: fix this, or set another directory with `--state-dir` (a new ledger is empty: all mail is fetched again)
    [exit code: 73]
    $ pouch fetch --state-dir disk
    ------- stderr -------
    pouch: work: cannot create the directory disk/locks
      Read-only file system
    hint: fix this, or set another directory with `--state-dir` (a new ledger is empty: all mail is fetched again)
    [exit code: 73]
    $ pouch check --state-dir disk
      ledger   failed
      sandbox  (as the kernel allows)
    ------- stderr -------
    pouch: work: cannot create the directory disk/mailboxes
      Read-only file system
    hint: fix this, or set another directory with `--state-dir` (a new ledger is empty: all mail is fetched again)
    [exit code: 73]
    $ pouch plan --state-dir disk
    work: 2 messages on the server, 0 known
      fetch      2     764 B   new; kept on the server
    $ pouch fetch --state-dir disk/below
    ------- stderr -------
    pouch: work: cannot create the directory disk/below
      Read-only file system
    hint: fix this, or set another directory with `--state-dir` (a new ledger is empty: all mail is fetched again)
    [exit code: 73]
    $ pouch check --state-dir disk/below
      ledger   failed
      sandbox  (as the kernel allows)
    ------- stderr -------
    pouch: work: cannot create the directory disk/below
      Read-only file system
    hint: fix this, or set another directory with `--state-dir` (a new ledger is empty: all mail is fetched again)
    [exit code: 73]
    $ pouch plan --state-dir disk/below
    work: 2 messages on the server, 0 known
      fetch      2     764 B   new; kept on the server
    ");
    assert_eq!(desk.server.log().count("RETR"), 0);
    drop(disk);
    // a missing home is created
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
fn every_repeats_the_fetch() {
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
fn mistyped_command_gets_a_suggestion() {
    let home = Home::new();
    let slip = home.pouch(&["fecth"]).run();
    assert_snapshot!(slip.assert_code(64).stderr_text(), @"
    error: unrecognized subcommand 'fecth'

      tip: a similar subcommand exists: 'fetch'

    Usage: pouch [OPTIONS] [COMMAND]

    For more information, try '--help'.
    ");
    assert!(!slip.stderr.contains("hint:"), "{slip}");
    assert_snapshot!(home.pouch(&["work"]).run().assert_code(64).stderr_text(), @"
    error: unrecognized subcommand 'work'

    Usage: pouch [OPTIONS] [COMMAND]

    For more information, try '--help'.
    hint: if `work` is an account, `pouch fetch work` fetches it
    ");
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
    assert_snapshot!(place.assert_code(64).stderr_text(), @"
    pouch: --to: unknown destination type `ftp:`
    hint: use a path, maildir:DIR, mbox:FILE, pipe:COMMAND, lmtp:ADDRESS or - (for a directory of that name: `./ftp:x`)
    ");
    assert!(!home.join("ftp:x").exists());
}

#[test]
fn json_output_includes_config_errors() {
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
    let mut shown = String::new();
    for args in [
        &["plan"][..],
        &["fetch", "-n"],
        &["status"],
        &["check"],
        &["ledger", "list"],
        &["config", "show"],
    ] {
        let output = home.pouch(&[args, &["--json"]].concat()).run();
        shown.push_str(&output.assert_code(78).transcript());
        let document: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(document["problem"]["exit"], 78, "{args:?}");
    }
    assert_snapshot!(shown, @r#"
    $ pouch plan --json
    {
      "problem": {
        "exit": 78,
        "facts": [
          "2 | hots = \"h\"",
          "  | ^^^^"
        ],
        "hint": "did you mean `host`?",
        "what": "~/.config/pouch/config.toml:2:1: unknown key `hots`"
      }
    }
    ------- stderr -------
    pouch: ~/.config/pouch/config.toml:2:1: unknown key `hots`
      2 | hots = "h"
        | ^^^^
    hint: did you mean `host`?
    [exit code: 78]
    $ pouch fetch -n --json
    {
      "problem": {
        "exit": 78,
        "facts": [
          "2 | hots = \"h\"",
          "  | ^^^^"
        ],
        "hint": "did you mean `host`?",
        "what": "~/.config/pouch/config.toml:2:1: unknown key `hots`"
      }
    }
    ------- stderr -------
    pouch: ~/.config/pouch/config.toml:2:1: unknown key `hots`
      2 | hots = "h"
        | ^^^^
    hint: did you mean `host`?
    [exit code: 78]
    $ pouch status --json
    {
      "problem": {
        "exit": 78,
        "facts": [
          "2 | hots = \"h\"",
          "  | ^^^^"
        ],
        "hint": "did you mean `host`?",
        "what": "~/.config/pouch/config.toml:2:1: unknown key `hots`"
      }
    }
    ------- stderr -------
    pouch: ~/.config/pouch/config.toml:2:1: unknown key `hots`
      2 | hots = "h"
        | ^^^^
    hint: did you mean `host`?
    [exit code: 78]
    $ pouch check --json
    {
      "problem": {
        "exit": 78,
        "facts": [
          "2 | hots = \"h\"",
          "  | ^^^^"
        ],
        "hint": "did you mean `host`?",
        "what": "~/.config/pouch/config.toml:2:1: unknown key `hots`"
      }
    }
    ------- stderr -------
    pouch: ~/.config/pouch/config.toml:2:1: unknown key `hots`
      2 | hots = "h"
        | ^^^^
    hint: did you mean `host`?
    [exit code: 78]
    $ pouch ledger list --json
    {
      "problem": {
        "exit": 78,
        "facts": [
          "2 | hots = \"h\"",
          "  | ^^^^"
        ],
        "hint": "did you mean `host`?",
        "what": "~/.config/pouch/config.toml:2:1: unknown key `hots`"
      }
    }
    ------- stderr -------
    pouch: ~/.config/pouch/config.toml:2:1: unknown key `hots`
      2 | hots = "h"
        | ^^^^
    hint: did you mean `host`?
    [exit code: 78]
    $ pouch config show --json
    {
      "problem": {
        "exit": 78,
        "facts": [
          "2 | hots = \"h\"",
          "  | ^^^^"
        ],
        "hint": "did you mean `host`?",
        "what": "~/.config/pouch/config.toml:2:1: unknown key `hots`"
      }
    }
    ------- stderr -------
    pouch: ~/.config/pouch/config.toml:2:1: unknown key `hots`
      2 | hots = "h"
        | ^^^^
    hint: did you mean `host`?
    [exit code: 78]
    "#);
}

#[test]
fn status_shows_the_result_of_the_last_run() {
    let desk = Desk::with(2, "retries = 0", |server| {
        server.fault(on("AUTH").refuse("-ERR [AUTH] no"))
    });
    desk.fetch(77);
    let status = desk.pouch(&["status"]).run();
    assert_snapshot!(status.assert_code(1).stdout_text(), @"work   failing since 2026-11-23 00:00: 127.0.0.1 rejected the password; last run 2026-11-23 00:00");
    assert!(!status.stdout.contains("nothing new"), "{status}");
    desk.server.heal_all();
    // the next run need not wait any more
    desk.pouch(&["check"]).run().assert_code(0);
    desk.server
        .fault(on("RETR").refuse("-ERR [SYS/TEMP] later"));
    desk.fetch(75);
    assert_snapshot!(desk.pouch(&["status"]).run().stdout_text(), @"work   failing since 2026-11-23 00:00: 127.0.0.1 refused to send message 1; last run 2026-11-23 00:00, nothing fetched; 2 waiting");
    desk.server.heal_all();
    desk.fetch(0);
    desk.fetch(0);
    assert_snapshot!(desk.pouch(&["status"]).run().stdout_text(), @"work   last run 2026-11-23 00:00, nothing new");
}

#[test]
fn system_errors_are_shown_without_errno() {
    let desk = Desk::with(1, "", |server| server);
    desk.home.config(
        "[account.work]\nhost = \"127.0.0.1\"\nport = 1\nuser = \"ann\"\npassword-file = \"~/none\"\nmaildir = \"~/Mail\"\n",
    );
    let missing = desk.pouch(&["fetch"]).run();
    assert_snapshot!(missing.assert_code(78).stderr_text(), @"
    pouch: work: cannot read the password file ~/none
      No such file or directory
    hint: create it with mode 600 and the password as its first line
    ");
    desk.home.write("none", "secret\n", 0o600);
    let refused = desk.pouch(&["fetch", "-v"]).run();
    assert_snapshot!(refused.assert_code(69).stderr_text(), @r#"
    pouch: work: 127.0.0.1 refused the connection on port 1
      127.0.0.1:1: Connection refused
    hint: check `host`, `port` and `tls`; 995 is for tls = "implicit", 110 for "starttls"
    work   nothing fetched
    "#);
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
    assert_snapshot!(full.assert_code(74).stderr_text(), @"
    pouch: cannot write to standard output
      No space left on device
    ");
}

#[test]
fn invalid_durations_are_refused() {
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
    // a dry run cannot be repeated
    desk.pouch(&["fetch", "--dry-run", "--every", "1m"])
        .run()
        .assert_code(64);
    desk.configure("connect-timeout = \"10000000000000000000s\"");
    desk.fetch(78);
}
