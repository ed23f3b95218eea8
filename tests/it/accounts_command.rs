//! Accounts that a program prints (`accounts-command`).

use std::{
    fs,
    ops::Deref,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use insta::assert_snapshot;

use crate::{
    mailboxes::{Mailboxes, USERS, account},
    server::corpus,
};

/// A config with a command that prints `~/list`, unless `~/broken` exists.
struct Provider(Mailboxes);

impl Deref for Provider {
    type Target = Mailboxes;

    fn deref(&self) -> &Mailboxes {
        &self.0
    }
}

impl Provider {
    fn new(list: &str) -> Self {
        let provider = Self(Mailboxes::new(|n| format!("hunter{n}")));
        provider.home.write(
            "list.sh",
            "#!/bin/sh\necho run >>~/runs\n[ ! -e ~/broken ] || { echo 'no database' >&2; exit 3; }\n\
             exec cat ~/list\n",
            0o700,
        );
        provider.list(list);
        provider.configure("");
        provider
    }

    fn configure(&self, lines: &str) {
        self.home.config(&format!(
            "accounts-command = [\"{}\", \"secret-argument\"]\n{}",
            self.home.join("list.sh").display(),
            self.defaults(lines)
        ));
    }

    fn list(&self, list: &str) {
        self.home.write("list", list, 0o600);
    }

    fn is_broken(&self, is_broken: bool) {
        let path = self.home.join("broken");
        if is_broken {
            fs::write(path, "").unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    fn runs(&self) -> usize {
        fs::read(self.home.join("runs")).map_or(0, |runs| runs.len() / 4)
    }
}

fn toml(users: &[&str]) -> String {
    let number = |user: &&str| USERS.iter().position(|known| known == user).unwrap() + 1;
    let account = |user: &&str| account(user, &format!("password = \"hunter{}\"\n", number(user)));
    users.iter().map(account).collect()
}

fn json(users: &[&str]) -> String {
    let tables: toml::Table = toml(users).parse().unwrap();
    serde_json::to_string(&tables).unwrap()
}

#[test]
fn accounts_are_fetched_with_the_passwords_of_the_list() {
    for list in [toml(&USERS), json(&USERS)] {
        let provider = Provider::new(&list);
        provider.run(&["fetch"], 0).assert_silent();
        provider.assert_arrived(&USERS);
        assert_eq!(provider.runs(), 1);
        let plan = provider.run(&["plan", "ben"], 0);
        plan.assert_stdout("ben: 1 message on the server, 1 known");
        provider.run(&["status"], 0).assert_stdout("cleo");
        provider
            .run(&["check", "ann"], 0)
            .assert_stdout("secret   ok    accounts-command")
            .assert_stdout("sandbox");
    }
}

#[test]
fn passwords_are_neither_stored_nor_shown() {
    for list in [toml(&USERS), json(&USERS)] {
        let provider = Provider::new(&list);
        let mut printed = String::new();
        for args in [
            &["fetch"][..],
            &["fetch", "-vv"],
            &["plan", "-v"],
            &["check"],
            &["status", "-v"],
            &["config", "show"],
            &["config", "show", "--json"],
        ] {
            let output = provider.run(args, 0);
            printed += &(output.stdout_text() + &output.stderr_text());
        }
        assert!(!printed.contains("hunter"), "{printed}");
        assert!(printed.contains("= \"…\"  "), "{printed}");
        fs::remove_file(provider.home.join("list")).unwrap();
        let grep = ["-c", "! grep -r hunter ~/.local ~/.config"];
        provider.home.command("sh", &grep).run().assert_code(0);
        let stored = provider.home.state().join("accounts.toml");
        let mode = fs::metadata(&stored).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(
            fs::read_to_string(stored)
                .unwrap()
                .contains("[account.\"ben\"]")
        );
    }
}

#[test]
fn commands_that_fetch_nothing_do_not_store_the_list() {
    let provider = Provider::new(&toml(&USERS));
    provider.run(&["plan"], 0);
    provider.run(&["config", "show"], 0);
    assert!(!provider.home.state().join("accounts.toml").exists());
}

#[test]
fn command_is_run_only_for_accounts_that_no_file_has() {
    let provider = Provider::new(&toml(&["ben"]));
    provider.home.write("password", "hunter1\n", 0o600);
    let account =
        "[account.ann]\nuser = \"ann\"\npassword-file = \"~/password\"\nmaildir = \"~/Mail/ann\"\n";
    provider
        .home
        .write(".config/pouch/conf.d/ann.toml", account, 0o600);
    provider.run(&["fetch", "ann"], 0).assert_silent();
    provider.run(&["config", "path"], 0);
    provider.run(&["config", "sample"], 0);
    let list = ["--", "pouch", "fetch", ""];
    let completions = || provider.home.pouch(&list).env("COMPLETE", "fish").run();
    completions().assert_stdout("ann\t");
    assert_eq!(provider.runs(), 0);
    provider.run(&["fetch", "ben"], 0).assert_silent();
    assert_eq!(provider.runs(), 1);
    provider.run(&["fetch"], 0).assert_silent();
    provider.assert_arrived(&["ann", "ben"]);
    // from the stored list
    completions().assert_stdout("ben\tben at 127.0.0.1");
    assert_eq!(provider.runs(), 2);
}

#[test]
fn failing_command_keeps_the_last_list() {
    let provider = Provider::new(&toml(&["ann", "ben"]));
    provider.home.write("password", "hunter2\n", 0o600);
    let list = toml(&["ann", "ben"]);
    provider.list(&list.replace("password = \"hunter2\"", "password-file = \"~/password\""));
    provider.is_broken(true);
    let output = provider.run(&["fetch"], 78);
    assert_snapshot!(output.transcript(), @"
    $ pouch fetch
    ------- stderr -------
    pouch: the accounts command `~/list.sh` failed: exit status: 3
      `~/list.sh` said: no database
      there is no earlier list of its accounts
    hint: run it by hand to see what it prints
    [exit code: 78]
    ");
    provider.is_broken(false);
    provider.run(&["fetch"], 0).assert_silent();
    provider.server.add("uid-9", corpus::message(9));
    provider.is_broken(true);
    let output = provider.run(&["fetch"], 78);
    assert_snapshot!(output.transcript(), @"
    $ pouch fetch
    ------- stderr -------
    pouch: the accounts command `~/list.sh` failed: exit status: 3
      `~/list.sh` said: no database
      using 2 accounts from the last run in which it worked
      accounts not fetched, since passwords are not stored: 1
    hint: run it by hand to see what it prints
    [exit code: 78]
    ");
    provider
        .run(&["status"], 78)
        .assert_stdout("ann")
        .assert_stdout("ben");
    // its password is not known
    let output = provider.run(&["fetch", "ann"], 78);
    output.assert_stderr(
        "the password of ann at 127.0.0.1 is known only to `accounts-command`, which failed",
    );
    provider.run(&["fetch", "ben"], 0);
    assert_eq!(provider.home.maildir("Mail/ann").len(), 1);
    provider.is_broken(false);
    provider.run(&["fetch"], 0);
    assert_eq!(provider.home.maildir("Mail/ann").len(), 2);
}

#[test]
fn failing_command_is_reported_once_a_day() {
    let provider = Provider::new(&toml(&["ann"]));
    provider.run(&["fetch"], 0);
    provider.is_broken(true);
    let fetch = |hour: i64| {
        let now = (1_800_000_000 + hour * 3600).to_string();
        provider.home.pouch(&["fetch"]).env("POUCH_NOW", now).run()
    };
    fetch(0).assert_code(78).assert_stderr("no database");
    fetch(1).assert_code(78).assert_silent();
    let events = provider.home.pouch(&["fetch", "--json"]);
    let events = events.env("POUCH_NOW", "1800007200").run();
    events.assert_stdout("no database");
    assert!(events.stderr_text().is_empty(), "{events}");
    let status = provider.home.pouch(&["status", "--json"]);
    let status = status.env("POUCH_NOW", "1800010800").run();
    status
        .assert_code(78)
        .assert_stdout("\"since 2027-01-15 08:00\"")
        .assert_stderr("no database");
    fetch(24).assert_code(78).assert_stderr("no database");
    provider.is_broken(false);
    fetch(25).assert_code(0).assert_silent();
    provider.is_broken(true);
    fetch(26).assert_code(78).assert_stderr("no database");
}

#[test]
fn list_of_another_command_is_not_used() {
    let provider = Provider::new(&toml(&["ann"]));
    provider.run(&["fetch"], 0);
    provider.is_broken(true);
    let path = ".config/pouch/config.toml";
    let text = String::from_utf8(provider.home.read(path)).unwrap();
    provider
        .home
        .config(&text.replace("secret-argument", "another"));
    let output = provider.run(&["fetch"], 78);
    output.assert_stderr("there is no earlier list of its accounts");
}

#[test]
fn empty_list_is_a_failure() {
    let provider = Provider::new(&toml(&["ann"]));
    provider.run(&["fetch"], 0);
    for empty in [
        "",
        "\n# none\n",
        "{}",
        "{\"account\": null}",
        "{\"account\": {}}",
        "[account]\n",
    ] {
        provider.list(empty);
        let output = provider.run(&["status"], 78);
        output
            .assert_stderr("pouch: the output of `")
            .assert_stderr("` has no accounts")
            .assert_stdout("ann");
    }
}

#[test]
fn failing_command_keeps_the_list_of_the_last_round() {
    // the output of a failing command is not used
    let provider = Provider::new(&toml(&["ann"]));
    provider.home.write(
        "list.sh",
        "#!/bin/sh\ncat ~/list\n[ ! -e ~/broken ] || exit 1\n",
        0o700,
    );
    let run = provider.home.pouch(&["fetch", "--every", "1s", "-v"]);
    let mut pouch = run.within(Duration::from_mins(1)).spawn();
    pouch.wait_for("ann ");
    provider.is_broken(true);
    provider.list(&toml(&["ben"]));
    pouch.wait_for("using 1 account from the last round in which it worked");
    // a changed command has no list yet
    let path = ".config/pouch/config.toml";
    let text = String::from_utf8(provider.home.read(path)).unwrap();
    provider
        .home
        .config(&text.replace("secret-argument", "another"));
    provider.is_broken(false);
    pouch.wait_for("ben ");
    pouch.signal(15);
    pouch.wait();
    provider.assert_arrived(&["ann", "ben"]);
}

#[test]
fn output_that_is_no_list_is_a_failure() {
    let provider = Provider::new("");
    for (list, message) in [
        ("[account.ann\n", "`:1:13: "),
        ("{\"account\": ", "`: not valid JSON: EOF while parsing"),
        ("[{\"name\": \"ann\"}]", "the JSON must be an object"),
        (
            "jobs = 3\n",
            "`:1:1: `jobs` is allowed only in the main config file",
        ),
        (
            "{\"jobs\": 3}",
            "`: `jobs` is allowed only in the main config file",
        ),
        (
            "{\"account\": [1]}",
            "`: `account` must be a table of accounts",
        ),
        (
            "[defaults]\npassword = \"x\"\n",
            "passwords are not allowed",
        ),
    ] {
        provider.list(list);
        let output = provider.run(&["fetch"], 78);
        output.assert_stderr(message);
        let printed = output.stderr_text();
        assert!(!printed.contains("secret-argument"), "{printed}");
    }
    provider.list("\u{0}");
    provider.run(&["fetch"], 78).assert_stderr("NUL byte");
    provider.home.write("list", b"\xff", 0o600);
    provider.run(&["fetch"], 78).assert_stderr("not UTF-8");
    // printed without end
    provider
        .home
        .write("list.sh", "#!/bin/sh\nexec cat /dev/zero\n", 0o700);
    provider
        .run(&["fetch"], 78)
        .assert_stderr("printed more than 64 MiB");
    fs::remove_file(provider.home.join("list.sh")).unwrap();
    let output = provider.run(&["fetch"], 78);
    output
        .assert_stderr("cannot be run")
        .assert_stderr("hint: there is no program");
}

#[test]
fn invalid_account_does_not_stop_others() {
    let broken = toml(&["ben"]).replace("maildir", "maildirr");
    let provider = Provider::new(&(toml(&["ann", "cleo"]) + &broken));
    let output = provider.run(&["fetch"], 78);
    assert_snapshot!(output.transcript(), @r#"
    $ pouch fetch
    ------- stderr -------
    pouch: ben: output of `~/list.sh`:12:1: unknown key `maildirr`
      12 | maildirr = "~/Mail/ben"
         | ^^^^^^^^
    hint: did you mean `maildir`?
    [exit code: 78]
    "#);
    provider.assert_arrived(&["ann", "cleo"]);
    provider.list(&json(&USERS).replace("~/Mail/ben", "$HOME/Mail/ben"));
    let output = provider.run(&["fetch"], 78);
    assert_snapshot!(output.transcript(), @r#"
    $ pouch fetch
    ------- stderr -------
    pouch: ben: output of `~/list.sh`: `maildir` must be a path in quotes, like "~/Mail/work", not "$HOME/Mail/ben"
    hint: write a literal path; only a leading `~/` is expanded
    [exit code: 78]
    "#);
    provider
        .run(&["fetch", "ben"], 78)
        .assert_stderr("`maildir` must be a path");
    provider.run(&["fetch", "ann"], 0).assert_silent();
    let twice = json(&["ann", "ben"]).replace("\"ben\":{", "\"ann\":{");
    provider.list(&twice);
    let output = provider.run(&["fetch"], 78);
    output.assert_stderr("`: account `ann` is defined twice");
}

#[test]
fn invalid_name_concerns_only_its_account() {
    let named = json(&["ann", "ben"]).replace("\"ben\":{", "\"ben@example.org\":{");
    let provider = Provider::new(&named);
    let output = provider.run(&["fetch"], 78);
    assert_snapshot!(output.transcript(), @r#"
    $ pouch fetch
    ------- stderr -------
    pouch: ben@example.org: output of `~/list.sh`: an account name must not contain `/` or `@`, which mark URLs
    hint: write `[account.ben]`, and the address below it: `user = "ben@example.org"`
    [exit code: 78]
    "#);
    provider.assert_arrived(&["ann"]);
    let named = toml(&["ben", "cleo"]).replace("account.ben", "account.\"\"");
    provider.list(&named);
    let output = provider.run(&["fetch"], 78);
    assert_snapshot!(output.transcript(), @r#"
    $ pouch fetch
    ------- stderr -------
    pouch: output of `~/list.sh`:1:10: an account name must not be empty
      1 | [account.""]
        |          ^^
    [exit code: 78]
    "#);
    provider.assert_arrived(&["ann", "cleo"]);
}

#[test]
fn mistakes_are_reported_once_and_fail_the_check() {
    let provider = Provider::new(&json(&["ann"]));
    provider.run(&["fetch"], 0);
    let account = r#"{"user": "ben", "port": 1e30, "limit": "no"}"#;
    let list = json(&["ann"]);
    let list = list.replace("{\"ann\"", &format!("{{\"ben\":{account},\"ann\""));
    provider.list(&list);
    let output = provider.run(&["status", "--check"], 3);
    assert_snapshot!(output.transcript(), @"
    $ pouch status --check
    POUCH UNKNOWN - ben: output of `~/list.sh`: `port` must be an integer from 1 to 65535, without quotes, not 1e30 | oldest_success=0s;;86400;0 accounts=2;;;0 critical=0;;;0 warning=0;;;0 unknown=1;;;0
    ------- stderr -------
    pouch: ben: output of `~/list.sh`: `port` must be an integer from 1 to 65535, without quotes, not 1e30
    pouch: ben: output of `~/list.sh`: `limit` must be an integer of at least 0, without quotes, not a string
    [exit code: 3]
    ");
    provider.run(&["status", "--check", "ann"], 0);
    let log = provider.run(&["fetch", "--log", "json"], 78).stderr_text();
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert!(log.contains("\"account\":\"ben\""), "{log}");
    provider.list("[{\"account\": \"ann\"}]");
    let output = provider.run(&["fetch"], 78);
    assert_snapshot!(output.transcript(), @r#"
    $ pouch fetch
    ------- stderr -------
    pouch: output of `~/list.sh`: the JSON must be an object
      using 1 account from the last run in which it worked
      accounts not fetched, since passwords are not stored: 1
    hint: write it as `{"account": {"NAME": {...}}}`
    [exit code: 78]
    "#);
}

#[test]
fn many_invalid_accounts_are_counted() {
    let accounts: Vec<_> = (0..300)
        .map(|n| format!("\"a{n}\": {{\"user\": \"a{n}\", \"password\": \"x\", \"maildir\": 3}}"))
        .collect();
    let provider = Provider::new(&format!("{{\"account\": {{{}}}}}", accounts.join(", ")));
    let output = provider.run(&["fetch"], 78);
    let printed = output.stderr_text();
    assert_eq!(
        printed.matches("`maildir` must be").count(),
        10,
        "{printed}"
    );
    assert!(
        printed.ends_with("pouch: 290 more accounts cannot be used\n"),
        "{printed}"
    );
    let output = provider.run(&["fetch", "--json"], 78);
    assert_eq!(output.stdout_text().matches("\"problem\"").count(), 600);
}

#[test]
fn account_of_a_file_is_not_replaced() {
    let provider = Provider::new(&toml(&["ann", "ben"]));
    provider.home.write("password", "hunter1\n", 0o600);
    let account =
        "[account.ann]\nuser = \"ann\"\npassword-file = \"~/password\"\nmaildir = \"~/Mail/ann\"\n";
    provider.configure(account);
    let output = provider.run(&["fetch"], 78);
    output
        .assert_stderr("account `ann` is defined twice")
        .assert_stderr("  ~/.config/pouch/config.toml:8:1: already defined here");
    provider.assert_arrived(&["ann", "ben"]);
}

#[test]
fn password_replaces_the_source_in_the_defaults() {
    let provider = Provider::new(&toml(&["ann"]));
    provider.configure("password-command = [\"false\"]");
    provider.run(&["fetch"], 0).assert_silent();
    provider.assert_arrived(&["ann"]);
    // also if it is not stored
    provider.is_broken(true);
    let output = provider.run(&["fetch"], 78);
    output.assert_stderr("accounts not fetched, since passwords are not stored: 1");
    provider.is_broken(false);
    provider.list(&(toml(&["ben"]) + "password-file = \"x\"\n"));
    let output = provider.run(&["fetch"], 78);
    output.assert_stderr("`password-file` and `password` cannot be used together");
}

#[test]
fn passwords_of_the_config_itself_are_still_refused() {
    let provider = Provider::new(&toml(&["ann"]));
    provider
        .home
        .write(".config/pouch/conf.d/b.toml", toml(&["ben"]), 0o600);
    let output = provider.run(&["fetch"], 78);
    output.assert_stderr("passwords are not allowed in the config file");
    assert!(!output.stderr_text().contains("hunter"), "{output}");
    provider.assert_arrived(&["ann"]);
}

#[test]
fn rounds_use_the_accounts_of_now() {
    let provider = Provider::new(&toml(&["ann"]));
    let run = provider.home.pouch(&["fetch", "--every", "1s", "-v"]);
    let mut pouch = run.within(Duration::from_mins(1)).spawn();
    pouch.wait_for("ann ");
    provider.list(&toml(&["ann", "ben"]));
    pouch.wait_for("ben ");
    provider.is_broken(true);
    pouch.wait_for("no database");
    pouch.wait_for("using 2 accounts from the last round in which it worked");
    // with the passwords in memory
    provider.server.add("uid-9", corpus::message(9));
    let log = provider.server.log().count("AUTH");
    provider.server.wait_for(|now| now.count("AUTH") > log + 2);
    provider.is_broken(false);
    pouch.wait_for("all accounts can be used again");
    provider.list(&toml(&["ann", "cleo"]));
    pouch.wait_for("cleo ");
    pouch.signal(15);
    let output = pouch.wait();
    let printed = output.stderr_text();
    assert_eq!(printed.matches("no database").count(), 1, "{printed}");
    provider.assert_arrived_at_least();
}

#[test]
fn failure_and_recovery_of_the_command_are_logged_once_each() {
    let provider = Provider::new(&toml(&["ann"]));
    let args = ["fetch", "--every", "1s", "-v", "--log", "plain", "--json"];
    let run = provider.home.pouch(&args);
    let mut pouch = run.within(Duration::from_mins(1)).spawn();
    pouch.wait_for(" ann: done ");
    provider.is_broken(true);
    pouch.wait_for("no database");
    provider.is_broken(false);
    pouch.wait_for("Z recovered\n");
    let log = provider.server.log().count("AUTH");
    provider.server.wait_for(|now| now.count("AUTH") > log + 2);
    pouch.signal(15);
    let output = pouch.wait();
    let printed = output.stderr_text();
    assert_eq!(printed.matches(" recovered\n").count(), 1, "{printed}");
    assert!(!printed.contains("pouch:"), "{printed}");
    let events = output.stdout.matches(r#""event":"recovered""#).count();
    assert_eq!(events, 1, "{output}");
}

impl Provider {
    /// Asserts that all users have mail, and the first one the message that was added.
    fn assert_arrived_at_least(&self) {
        assert_eq!(self.home.maildir("Mail/ann").len(), 2);
        assert_eq!(self.home.maildir("Mail/ben").len(), 1);
        assert_eq!(self.home.maildir("Mail/cleo").len(), 1);
    }
}

#[test]
fn ten_thousand_accounts_take_linear_time() {
    let list = |count: usize| {
        let accounts: Vec<_> = (0..count)
            .map(|n| {
                format!(
                    "[account.user{n}]\nuser = \"user{n}\"\npassword = \"x\"\nenabled = false\n\
                     maildir = \"~/Mail/{n}\"\n"
                )
            })
            .collect();
        accounts.concat() + &toml(&["ann"])
    };
    let provider = Provider::new(&list(100));
    let time = |count| {
        provider.list(&list(count));
        let began = Instant::now();
        provider.run(&["fetch"], 0).assert_silent();
        began.elapsed()
    };
    time(100);
    let (small, large) = (time(2_000), time(20_000));
    // quadratic time would be a hundred times as long
    assert!(
        large < small * 40 + Duration::from_secs(2),
        "{small:?} {large:?}"
    );
    provider.assert_arrived(&["ann"]);
}
