//! Further config files: `conf.d/*.toml`.

use std::{
    fs,
    ops::Deref,
    os::unix::fs::{PermissionsExt, symlink},
    time::Duration,
};

use insta::assert_snapshot;

use crate::{
    mailboxes::{self, Mailboxes, USERS},
    server::corpus,
};

/// A config with the defaults for all accounts, and the account of `ann`.
struct Office(Mailboxes);

impl Deref for Office {
    type Target = Mailboxes;

    fn deref(&self) -> &Mailboxes {
        &self.0
    }
}

impl Office {
    fn new() -> Self {
        let office = Self(Mailboxes::new(|_| "secret".to_owned()));
        office.home.write("password", "secret\n", 0o600);
        office.configure("");
        office
    }

    /// Writes the config, with the account of `ann`, and these lines in `[defaults]`.
    fn configure(&self, lines: &str) {
        let lines = format!("password-file = \"~/password\"\n{lines}");
        self.home
            .config(&format!("{}{}", self.defaults(&lines), account("ann")));
    }

    fn part(&self, name: &str, text: &str) {
        let path = format!(".config/pouch/conf.d/{name}");
        self.home.write(path, text, 0o600);
    }
}

fn account(user: &str) -> String {
    mailboxes::account(user, "")
}

#[test]
fn accounts_of_all_files_are_fetched() {
    let office = Office::new();
    office.part("20-cleo.toml", &account("cleo"));
    office.part("10-ben.toml", &account("ben"));
    office.run(&["fetch"], 0).assert_silent();
    office.assert_arrived(&USERS);
    let status = office.run(&["status"], 0).stdout_text();
    let names: Vec<_> = status.lines().map(|line| &line[..3]).collect();
    assert_eq!(names, ["ann", "ben", "cle"], "{status}");
    office.run(&["fetch", "ben"], 0).assert_silent();
    let show = office.run(&["config", "show", "ben"], 0);
    show.assert_stdout("# ~/.config/pouch/conf.d/10-ben.toml:2")
        .assert_stdout("# ~/.config/pouch/config.toml:2");
    office
        .run(&["config", "path"], 0)
        .assert_stdout("/.config/pouch/config.toml\n");
}

#[test]
fn main_file_needs_no_account() {
    let office = Office::new();
    let path = ".config/pouch/config.toml";
    let text = String::from_utf8(office.home.read(path)).unwrap();
    let defaults = text.split("[account").next().unwrap();
    office.home.config(defaults);
    office.part("ben.toml", &account("ben"));
    office.run(&["fetch"], 0).assert_silent();
    office.assert_arrived(&["ben"]);
    fs::remove_dir_all(office.home.join(".config/pouch/conf.d")).unwrap();
    office
        .run(&["fetch"], 78)
        .assert_stderr("no accounts are defined in ~/.config/pouch/config.toml");
}

#[test]
fn other_files_in_the_directory_are_ignored() {
    let office = Office::new();
    for name in [
        "ben.toml~",
        ".ben.toml",
        ".ben.toml.swp",
        "ben.toml.dpkg-old",
        "README",
    ] {
        office.part(name, "nonsense");
    }
    office.run(&["fetch"], 0).assert_silent();
    office.assert_arrived(&["ann"]);
    office
        .home
        .make_dir(".config/pouch/conf.d/cleo.toml", 0o700);
    let output = office.run(&["fetch"], 78);
    output.assert_stderr("~/.config/pouch/conf.d/cleo.toml is a directory, not a config file");
}

#[test]
fn defaults_of_a_file_are_those_of_its_accounts_only() {
    let office = Office::new();
    office.configure("keep = \"30d\"\nretries = 5");
    let defaults = "[defaults]\nkeep = \"7d\"\n";
    office.part("ben.toml", &format!("{defaults}{}", account("ben")));
    office.part("cleo.toml", &account("cleo"));
    let value = |name: &str, key: &str| {
        let show = office.run(&["config", "show", name, "--json"], 0);
        let show: serde_json::Value = serde_json::from_str(&show.stdout).unwrap();
        show["accounts"][0]["settings"][key]["value"].clone()
    };
    assert_eq!(value("ann", "keep"), "30d");
    assert_eq!(value("ben", "keep"), "7d");
    assert_eq!(value("cleo", "keep"), "30d");
    assert_eq!(value("ben", "retries"), 5);
}

#[test]
fn mistake_in_an_account_does_not_stop_others() {
    let office = Office::new();
    let ben = account("ben");
    office.part(
        "a.toml",
        &format!("{ben}kep = \"30d\"\n{}", account("cleo")),
    );
    let output = office.run(&["fetch"], 78);
    assert_snapshot!(output.transcript(), @r#"
    $ pouch fetch
    ------- stderr -------
    pouch: ben: ~/.config/pouch/conf.d/a.toml:4:1: unknown key `kep`
      4 | kep = "30d"
        | ^^^
    hint: did you mean `keep`?
    [exit code: 78]
    "#);
    office.assert_arrived(&["ann", "cleo"]);
    // the account itself
    let output = office.run(&["fetch", "ben"], 78);
    output.assert_stderr("conf.d/a.toml:4:1: unknown key `kep`");
    // another account
    office.run(&["fetch", "ann"], 0).assert_silent();
    office
        .run(&["status"], 78)
        .assert_stdout("cleo")
        .assert_stderr("pouch: ben: ");
    let json = office.run(&["fetch", "--json"], 78).stdout_text();
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["event"], &first["account"]),
        (&"problem".into(), &"ben".into())
    );
    let last: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!(last["exit"], 78);
}

#[test]
fn mistake_outside_of_accounts_concerns_the_whole_file() {
    let office = Office::new();
    for (text, message) in [
        (
            "jobs = 3\n",
            "conf.d/b.toml:1:1: `jobs` is allowed only in the main config file",
        ),
        (
            "[defaults]\nkep = 3\n",
            "conf.d/b.toml:2:1: unknown key `kep`",
        ),
        ("[account.ben\n", "conf.d/b.toml:1:13: "),
        (
            "[defaults]\nmbox = \"x\"\nmaildir = \"y\"\n",
            "cannot be used together",
        ),
        (
            "accounts-command = [\"x\"]\n",
            "`accounts-command` is allowed only in the main",
        ),
    ] {
        office.part("b.toml", &format!("{text}{}", account("ben")));
        let output = office.run(&["fetch"], 78);
        output.assert_stderr(message);
        let output = office.run(&["fetch", "ben"], 64);
        output
            .assert_stderr("there is no account `ben`")
            .assert_stderr(message);
    }
    office.assert_arrived(&["ann"]);
}

#[test]
fn names_and_mailboxes_are_defined_once() {
    let office = Office::new();
    office.part("a.toml", &account("ann").replace("\"ann\"", "\"ben\""));
    office.part("b.toml", &account("ann").replace("t.ann", "t.other"));
    office.part("c.toml", &account("cleo"));
    office.part("d.toml", &account("cleo"));
    let output = office.run(&["fetch"], 78);
    assert_snapshot!(output.transcript(), @"
    $ pouch fetch
    ------- stderr -------
    pouch: ~/.config/pouch/conf.d/a.toml:1:1: account `ann` is defined twice
      1 | [account.ann]
        | ^^^^^^^^^^^^^
      ~/.config/pouch/config.toml:9:1: already defined here
      9 | [account.ann]
        | -------------
    hint: rename one of them, or remove it
    pouch: other: ~/.config/pouch/conf.d/b.toml:1:1: accounts `ann` and `other` are the same mailbox, ann@127.0.0.1:PORT
      1 | [account.other]
        | ^^^^^^^^^^^^^^^
      ~/.config/pouch/config.toml:9:1: already defined here
      9 | [account.ann]
        | -------------
    hint: remove one of them, or set `mailbox` to a different name in each
    pouch: ~/.config/pouch/conf.d/d.toml:1:1: account `cleo` is defined twice
      1 | [account.cleo]
        | ^^^^^^^^^^^^^^
      ~/.config/pouch/conf.d/c.toml:1:1: already defined here
      1 | [account.cleo]
        | --------------
    hint: rename one of them, or remove it
    [exit code: 78]
    ");
    office.assert_arrived(&["ann", "cleo"]);
}

#[test]
fn contradiction_between_files_shows_both() {
    let office = Office::new();
    office.configure("allow-delete-unread = false");
    let rule = "[[account.ben.rule]]\nsubject = \"x\"\naction = \"delete\"\n";
    office.part("b.toml", &format!("{}{rule}", account("ben")));
    let output = office.run(&["fetch"], 78);
    assert_snapshot!(output.transcript(), @r#"
    $ pouch fetch
    ------- stderr -------
    pouch: ben: ~/.config/pouch/conf.d/b.toml:6:1: this rule deletes unread mail
      6 | action = "delete"
        | ^^^^^^
      ~/.config/pouch/config.toml:8:1: not allowed here
      8 | allow-delete-unread = false
        | -------------------
    hint: to allow it, add `allow-delete-unread = true` to the account
    [exit code: 78]
    "#);
    office.assert_arrived(&["ann"]);
}

#[test]
fn file_that_others_can_write_is_refused() {
    let office = Office::new();
    office.part("ben.toml", &account("ben"));
    office.part("cleo.toml", &account("cleo"));
    let dir = office.home.join(".config/pouch/conf.d");
    fs::set_permissions(dir.join("ben.toml"), fs::Permissions::from_mode(0o622)).unwrap();
    let output = office.run(&["fetch"], 77);
    output.assert_stderr("~/.config/pouch/conf.d/ben.toml is writable by other users");
    office.assert_arrived(&["ann", "cleo"]);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let output = office.run(&["fetch"], 77);
    output.assert_stderr("the directory of the config, ~/.config/pouch/conf.d, is writable");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn links_are_followed() {
    let office = Office::new();
    office.home.write("dotfiles/mail", account("ben"), 0o600);
    office.part("cleo.toml", &account("cleo"));
    let dir = office.home.join(".config/pouch/conf.d");
    symlink("../../../dotfiles/mail", dir.join("ben.toml")).unwrap();
    office.run(&["fetch"], 0).assert_silent();
    office.assert_arrived(&USERS);
    symlink("missing", dir.join("x.toml")).unwrap();
    let output = office.run(&["fetch"], 78);
    output.assert_stderr("cannot read ~/.config/pouch/conf.d/x.toml");
    // one that others can replace
    fs::remove_file(dir.join("x.toml")).unwrap();
    office.home.make_dir("dotfiles", 0o777);
    let output = office.run(&["fetch"], 77);
    output.assert_stderr("conf.d/ben.toml leads to a directory that other users can change");
}

#[test]
fn completions_have_the_accounts_of_all_files() {
    let office = Office::new();
    office.part("ben.toml", &account("ben"));
    let output = office.home.pouch(&["--", "pouch", "fetch", ""]);
    let output = output.env("COMPLETE", "fish").run();
    output.assert_code(0);
    output
        .assert_stdout("ann\tann at 127.0.0.1")
        .assert_stdout("ben\tben at 127.0.0.1");
}

#[test]
fn import_knows_the_accounts_of_all_files() {
    let office = Office::new();
    office.part("ben.toml", &account("ben"));
    let line = |user: &str| {
        let port = office.server.port();
        format!("poll 127.0.0.1 port {port} proto pop3 user \"{user}\" pass \"secret\" keep\n")
    };
    let path = office.home.write(".fetchmailrc", line("ben"), 0o600);
    let path = path.display().to_string();
    let output = office.run(&["import", "fetchmail", &path], 0);
    assert!(!output.stdout_text().contains("[account."), "{output}");
}

#[test]
fn many_files_are_read_in_linear_time() {
    let office = Office::new();
    for n in 0..2000 {
        let text =
            format!("[account.n{n}]\nuser = \"u{n}\"\nmaildir = \"~/Mail/n\"\nenabled = false\n");
        office.part(&format!("{n}.toml"), &text);
    }
    office.run(&["fetch"], 0).assert_silent();
    office.assert_arrived(&["ann"]);
}

#[test]
fn option_for_one_account_does_not_end_rounds_if_another_is_added() {
    let office = Office::new();
    let args = ["fetch", "--every", "1s", "-v", "--mailbox", "box"];
    let run = office.home.pouch(&args);
    let mut pouch = run.within(Duration::from_mins(1)).spawn();
    pouch.wait_for("ann ");
    office.part("ben.toml", &account("ben"));
    pouch.wait_for("`--mailbox` is for one account, not for several\n");
    pouch.wait_for("  the accounts of the last round are fetched\n");
    pouch.wait_for("ann ");
    pouch.signal(15);
    pouch.wait().assert_code(143);
}

#[test]
fn each_round_reads_the_current_files() {
    let office = Office::new();
    let path = ".config/pouch/config.toml";
    let main = String::from_utf8(office.home.read(path)).unwrap();
    let run = office.home.pouch(&["fetch", "--every", "1s", "-v"]);
    let mut pouch = run.within(Duration::from_mins(1)).spawn();
    pouch.wait_for("ann ");
    office.part("ben.toml", &account("ben"));
    pouch.wait_for("ben ");
    office.home.config(&main.replace("timeout", "timeuot"));
    pouch.wait_for("config.toml:6:1: unknown key `timeuot`");
    pouch.wait_for("  its last valid version is still in use\n");
    // the other files are still read
    office.part("cleo.toml", &account("cleo"));
    pouch.wait_for("cleo ");
    office.part("ben.toml", "nonsense");
    pouch.wait_for("conf.d/ben.toml:1:9: ");
    office.server.add("uid-9", corpus::message(9));
    pouch.wait_for_times("1 new", 4);
    let before = office.server.log().count("AUTH");
    office
        .server
        .wait_for(|log| log.count("AUTH") >= before + 6);
    office.home.config(&main);
    office.part("ben.toml", &account("ben"));
    pouch.wait_for("all accounts can be used again");
    pouch.signal(15);
    let printed = pouch.wait().stderr_text();
    for report in ["unknown key", "ben.toml:1:9"] {
        assert_eq!(printed.matches(report).count(), 1, "{printed}");
    }
    assert!(!printed.contains("there is no account"), "{printed}");
    for user in ["ben", "cleo"] {
        assert_eq!(office.home.maildir(format!("Mail/{user}")).len(), 1);
    }
    assert_eq!(office.home.maildir("Mail/ann").len(), 2);
}

#[test]
fn file_with_a_mistake_in_an_account_is_kept_as_it_was() {
    let office = Office::new();
    let both = account("ben") + &account("cleo");
    office.part("b.toml", &both);
    let run = office.home.pouch(&["fetch", "--every", "1s", "-v"]);
    let mut pouch = run.within(Duration::from_mins(1)).spawn();
    pouch.wait_for("cleo ");
    // the same mailbox under another name, with a mistake
    let changed = format!("{}kep = 3\n", both.replace("account.ben", "account.bob"));
    office.part("b.toml", &changed);
    pouch.wait_for("pouch: cleo: ~/.config/pouch/conf.d/b.toml:7:1: unknown key `kep`");
    let before = office.server.log().count("AUTH");
    office
        .server
        .wait_for(|log| log.count("AUTH") >= before + 6);
    office.part("b.toml", &changed.replace("kep = 3", "keep = \"30d\""));
    pouch.wait_for("bob ");
    pouch.signal(15);
    pouch.wait();
    office.assert_arrived(&["ann", "ben", "cleo"]);
}

#[test]
fn removed_accounts_are_no_longer_fetched() {
    for names in [&[][..], &["ann", "ben"]] {
        let office = Office::new();
        office.part("ben.toml", &account("ben"));
        let args = [&["fetch", "--every", "1s", "-v"], names].concat();
        let run = office.home.pouch(&args).within(Duration::from_mins(1));
        let mut pouch = run.spawn();
        pouch.wait_for("ben ");
        let dir = office.home.join(".config/pouch/conf.d");
        fs::remove_file(dir.join("ben.toml")).unwrap();
        if names.is_empty() {
            office.part("cleo.toml", &account("cleo"));
            pouch.wait_for("cleo ");
        } else {
            pouch.wait_for("pouch: ben: there is no account `ben`");
        }
        let before = office.server.log().count("AUTH");
        office
            .server
            .wait_for(|log| log.count("AUTH") >= before + 2);
        pouch.signal(15);
        let printed = pouch.wait().stderr_text();
        let reports = printed.matches("there is no account").count();
        assert_eq!(reports, names.len().min(1), "{printed}");
    }
}

#[test]
fn mistake_is_reported_again_after_a_day() {
    let office = Office::new();
    office.part("b.toml", "nonsense");
    let fetch = |day: &str| {
        let output = office.home.pouch(&["fetch"]).env("POUCH_NOW", day).run();
        output.assert_code(78);
        output
    };
    let report = "conf.d/b.toml:1:9: ";
    fetch("1800000000").assert_stderr(report);
    fetch("1800003600").assert_silent();
    let status = office
        .home
        .pouch(&["status"])
        .env("POUCH_NOW", "1800007200");
    let status = status.run();
    status
        .assert_stderr(report)
        .assert_stderr("  since 2027-01-15 08:00\n");
    let again = fetch("1800086400");
    again
        .assert_stderr(report)
        .assert_stderr("  since 2027-01-15");
    // a different mistake counts as new, as does one that returns
    office.part("b.toml", "x = 3");
    fetch("1800086460").assert_stderr("unknown key `x`");
    office.part("b.toml", &account("ben"));
    office.run(&["fetch"], 0).assert_silent();
    assert!(!office.home.state().join("problems.json").exists());
    office.part("b.toml", "x = 3");
    fetch("1800086520").assert_stderr("unknown key `x`");
}

#[test]
fn json_documents_list_mistakes_of_files() {
    let office = Office::new();
    office.run(&["fetch"], 0);
    office.part("b.toml", &format!("{}kep = 3\n", account("ben")));
    office.part("c.toml", "nonsense");
    for args in [
        &["status"][..],
        &["plan"],
        &["check"],
        &["ledger", "list"],
        &["ledger", "verify"],
        &["config", "show"],
    ] {
        let output = office.run(&[args, &["--json"]].concat(), 78);
        let document: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
        let problems = document["problems"].as_array().unwrap();
        let of: Vec<_> = problems.iter().map(|problem| &problem["account"]).collect();
        assert_eq!(of, [&"ben".into(), &serde_json::Value::Null], "{args:?}");
        assert_eq!(problems[0]["problem"]["exit"], 78);
    }
    // they are not reported for a named account
    let output = office.run(&["status", "ann", "--json"], 0);
    output.assert_stdout("\"problems\": []");
}
