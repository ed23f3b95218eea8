//! Every mistake that the config can contain, with its complete message.
//!
//! A case is the text of a config; its message shows the line that it is about. To add one, add it
//! to a list; `cargo insta review` then shows the message. A change of wording changes snapshots
//! here, and nowhere else.

#![allow(
    clippy::too_many_lines,
    reason = "tables of invalid configs and their messages"
)]

use insta::assert_snapshot;

use super::super::testing::{config, with};

/// Renders the messages about these configs.
fn files(texts: &[&str]) -> String {
    let message = |text: &&str| match config(text) {
        Ok(_) => panic!("this is a valid config: {text}"),
        Err(error) => error.to_string(),
    };
    texts.iter().map(message).collect::<Vec<_>>().join("\n\n")
}

/// Renders the messages about an account to which these lines are added.
fn lines(lines: &[&str]) -> String {
    let message = |lines: &&str| match with(lines) {
        Ok(_) => panic!("this is a valid config: {lines}"),
        Err(error) => error.to_string(),
    };
    lines.iter().map(message).collect::<Vec<_>>().join("\n\n")
}

/// A rule of the account `work`.
macro_rules! rule {
    ($lines:literal) => {
        concat!("[[account.work.rule]]\n", $lines)
    };
}

#[test]
fn no_accounts() {
    assert_snapshot!(files(&["", "[defaults]\nkeep = \"1d\""]), @"
    no accounts are defined in ~/.config/pouch/config.toml
    hint: add a table `[account.NAME]`; `pouch config sample` prints an example

    no accounts are defined in ~/.config/pouch/config.toml
    hint: add a table `[account.NAME]`; `pouch config sample` prints an example
    ");
}

#[test]
fn several_mistakes() {
    let account = "host = \"h\"\nuser = \"ann\"\nmaildir = \"m\"\n";
    let values = format!(
        "jobs = 0\n[defaults]\nkep = \"1d\"\n[account.a]\n{account}port = \"995\"\nkeep = 3\n\
         [[account.a.rule]]\nactoin = \"skip\"\n[acount.b]\n"
    );
    let accounts = format!(
        "[defaults]\nsync-deletions = true\ntls-client-key = \"~/key\"\n\
         [account.a]\nhost = \"h\"\ntls = \"off\"\nmaildir = \"m\"\n\
         [account.b]\n{account}mbox = \"x\"\n[account.c]\nuser = \"ann\"\nmaildir = \"m\"\n"
    );
    assert_snapshot!(files(&[&values, &accounts]), @r#"
    ~/.config/pouch/config.toml:1:8: `jobs` must be an integer of at least 1, without quotes, not 0
      1 | jobs = 0
        |        ^
    ~/.config/pouch/config.toml:3:1: unknown key `kep`
      3 | kep = "1d"
        | ^^^
    hint: did you mean `keep`?
    ~/.config/pouch/config.toml:8:8: `port` must be an integer from 1 to 65535, without quotes, not a string
      8 | port = "995"
        |        ^^^^^
    ~/.config/pouch/config.toml:9:8: `keep` must be "forever", "none" or a number of days in quotes, like "30d", "8w", "6mo" or "1y", not a number
      9 | keep = 3
        |        ^
    ~/.config/pouch/config.toml:11:1: unknown key `actoin`
      11 | actoin = "skip"
         | ^^^^^^
    hint: did you mean `action`?
    ~/.config/pouch/config.toml:12:2: unknown table `[acount]`
      12 | [acount.b]
         |  ^^^^^^
    hint: did you mean `[account.NAME]`?

    ~/.config/pouch/config.toml:6:1: `tls = "off"` sends the password and the mail unencrypted
      6 | tls = "off"
        | ^^^
    hint: use "implicit" or "starttls"; on a trusted network, add `allow-plaintext-password = true`
    ~/.config/pouch/config.toml:4:1: account `a` has no `user`
      4 | [account.a]
        | ^^^^^^^^^^^
    hint: add its login name: user = "ann@example.org"
    ~/.config/pouch/config.toml:12:1: `mbox` and `maildir` cannot be used together
      11 | maildir = "m"
         | ------- already set here
      12 | mbox = "x"
         | ^^^^
    hint: remove one of them
    ~/.config/pouch/config.toml:3:1: `tls-client-key` needs `tls-client-cert`
      3 | tls-client-key = "~/key"
        | ^^^^^^^^^^^^^^
    hint: set `tls-client-cert` to the file with the certificate
    ~/.config/pouch/config.toml:13:1: account `c` has no `host`
      13 | [account.c]
         | ^^^^^^^^^^^
    hint: add its server: host = "pop.example.org"
    "#);
    let last = |count| {
        let keys: Vec<_> = (0..count).map(|n| format!("x{n} = 1\n")).collect();
        let error = with(&keys.concat()).unwrap_err();
        let last = error.further().last().unwrap().to_string();
        (error.further().len(), last)
    };
    assert_eq!(last(10).0, 9);
    assert_eq!(
        last(11),
        (10, "~/.config/pouch/config.toml has 1 more mistake".into())
    );
    let most = (
        10,
        "~/.config/pouch/config.toml has at least 90 more mistakes".into(),
    );
    assert_eq!(last(1000), most);
}

#[test]
fn not_toml() {
    assert_snapshot!(files(&[
        "[account.a]\nhost = pop.example.org",
        "[account.a]\nhost = foo",
        "jobs = \u{201c}4\u{201d}",
        "jobs = ",
        "jobs",
        "state-dir = \"x\njobs = 3",
        "[account.a]\nenabled = True",
        "[account.ann@example.org]",
        "[account.a",
    ]), @r#"
    ~/.config/pouch/config.toml:2:8: strings must be quoted with straight quotes: "…"
      2 | host = pop.example.org
        |        ^^^^^^^^^^^^^^^

    ~/.config/pouch/config.toml:2:8: strings must be quoted with straight quotes: "…"
      2 | host = foo
        |        ^^^

    ~/.config/pouch/config.toml:1:8: strings must be quoted with straight quotes: "…"
      1 | jobs = “4”
        |        ^^^

    ~/.config/pouch/config.toml:1:8: missing value
      1 | jobs = 
        |        ^

    ~/.config/pouch/config.toml:1:5: a key must be followed by `=` and its value
      1 | jobs
        |     ^

    ~/.config/pouch/config.toml:1:15: missing closing quote
      1 | state-dir = "x
        |               ^

    ~/.config/pouch/config.toml:2:11: write `true` in lower case
      2 | enabled = True
        |           ^^^^

    ~/.config/pouch/config.toml:1:13: unquoted names may contain only letters, digits, `-` and `_`
      1 | [account.ann@example.org]
        |             ^
    hint: write `[account.ann]`, and the address below it: `user = "ann@example.org"`

    ~/.config/pouch/config.toml:1:11: not valid TOML: unclosed table, expected `]`
      1 | [account.a
        |           ^
    "#);
    let deep = format!("jobs = {}", "[".repeat(100_000));
    let error = config(&deep).unwrap_err();
    assert_eq!(
        error.what(),
        "~/.config/pouch/config.toml:1:88: nesting is too deep"
    );
}

#[test]
fn duplicate_keys() {
    assert_snapshot!(files(&[
        "jobs = 1\njobs = 2",
        "[account.a]\nhost = \"x\"\n\n[account.b]\nhost = \"y\"\nuser = \"z\"\nhost = \"z\"",
        "[account.a]\n[account.b]\n[account.a]",
        "[defaults]\n[defaults]",
        "[[account.a.rule]]\nfrom = \"x\"\n[[account.a.rule]]\nfrom = \"y\"\nfrom = \"z\"",
        "[account.a]\n\"host\" = \"x\"\nhost = \"y\"",
        "[account.a]\npassword = \"hunter2\"\npassword = \"hunter2\"",
    ]), @r#"
    ~/.config/pouch/config.toml:2:1: duplicate key `jobs`
      1 | jobs = 1
        | ---- first used here
      2 | jobs = 2
        | ^^^^
    hint: remove one of them

    ~/.config/pouch/config.toml:7:1: duplicate key `host`
      5 | host = "y"
        | ---- first used here
      7 | host = "z"
        | ^^^^
    hint: remove one of them

    ~/.config/pouch/config.toml:3:10: duplicate table `[account.a]`
      1 | [account.a]
        |          - first used here
      3 | [account.a]
        |          ^
    hint: merge the two tables, or rename one of them

    ~/.config/pouch/config.toml:2:2: duplicate table `[defaults]`
      1 | [defaults]
        |  -------- first used here
      2 | [defaults]
        |  ^^^^^^^^
    hint: merge the two tables, or rename one of them

    ~/.config/pouch/config.toml:5:1: duplicate key `from`
      4 | from = "y"
        | ---- first used here
      5 | from = "z"
        | ^^^^
    hint: remove one of them

    ~/.config/pouch/config.toml:3:1: duplicate key `host`
      2 | "host" = "x"
        | ------ first used here
      3 | host = "y"
        | ^^^^
    hint: remove one of them

    ~/.config/pouch/config.toml:3:1: duplicate key `password`
      2 | password = …
        | -------- first used here
      3 | password = …
        | ^^^^^^^^
    hint: remove one of them
    "#);
}

#[test]
fn unknown_keys() {
    assert_snapshot!(files(&[
        "colour = 1",
        "job = 2",
        "[account.a]\npasword-command = [\"pass\"]",
        "[account.a]\nrules = 1",
        "[[account.a.rules]]\nfrom = \"x\"",
        "[account.a]\ncolour = 1",
        "[account.a]\nusername = \"ann\"",
        "[account.a]\nnokeep = true",
        "[[account.a.rule]]\nsubjct = \"x\"",
        "[[account.a.rule]]\ncolour = 1",
        "[account.a.multidrop]\nrecipient = {}",
    ]), @r#"
    ~/.config/pouch/config.toml:1:1: unknown key `colour`
      1 | colour = 1
        | ^^^^^^
    hint: see `pouch config sample` or pouch-config(5) for all keys

    ~/.config/pouch/config.toml:1:1: unknown key `job`
      1 | job = 2
        | ^^^
    hint: did you mean `jobs`?

    ~/.config/pouch/config.toml:2:1: unknown key `pasword-command`
      2 | pasword-command = …
        | ^^^^^^^^^^^^^^^
    hint: did you mean `password-command`?

    ~/.config/pouch/config.toml:2:1: unknown key `rules`
      2 | rules = 1
        | ^^^^^
    hint: did you mean `rule`?

    ~/.config/pouch/config.toml:1:13: unknown key `rules`
      1 | [[account.a.rules]]
        |             ^^^^^
    hint: did you mean `rule`?

    ~/.config/pouch/config.toml:2:1: unknown key `colour`
      2 | colour = 1
        | ^^^^^^
    hint: see `pouch config sample` or pouch-config(5) for all keys

    ~/.config/pouch/config.toml:2:1: unknown key `username`
      2 | username = "ann"
        | ^^^^^^^^
    hint: use `user`

    ~/.config/pouch/config.toml:2:1: unknown key `nokeep`
      2 | nokeep = true
        | ^^^^^^
    hint: use `keep = "none"`, which deletes mail from the server once it is safe on disk

    ~/.config/pouch/config.toml:2:1: unknown key `subjct`
      2 | subjct = "x"
        | ^^^^^^
    hint: did you mean `subject`?

    ~/.config/pouch/config.toml:2:1: unknown key `colour`
      2 | colour = 1
        | ^^^^^^
    hint: use one of from, to, subject, list-id, header, size, older-than, action, also

    ~/.config/pouch/config.toml:2:1: unknown key `recipient`
      2 | recipient = {}
        | ^^^^^^^^^
    hint: did you mean `recipients`?
    "#);
}

#[test]
fn keys_in_the_wrong_table() {
    assert_snapshot!(files(&[
        "host = \"x\"",
        "subject = \"x\"",
        "[account.a]\njobs = 2",
        "[defaults]\noccurrence = 1",
        "[account.a]\nsubject = \"x\"",
        "[[account.a.rule]]\nkeep = \"30d\"",
        "[account.a.multidrop]\nuser = \"x\"",
    ]), @r#"
    ~/.config/pouch/config.toml:1:1: `host` is not a top-level key
      1 | host = "x"
        | ^^^^
    hint: move it to `[account.NAME]`, or to `[defaults]` to set it for all accounts

    ~/.config/pouch/config.toml:1:1: `subject` is not a top-level key
      1 | subject = "x"
        | ^^^^^^^
    hint: move it to a table `[[account.NAME.rule]]`

    ~/.config/pouch/config.toml:2:1: `jobs` is not an account key
      2 | jobs = 2
        | ^^^^
    hint: move it to the top of the file, before the first table

    ~/.config/pouch/config.toml:2:1: `occurrence` is not an account key
      2 | occurrence = 1
        | ^^^^^^^^^^
    hint: move it to the table `[defaults.multidrop]`

    ~/.config/pouch/config.toml:2:1: `subject` is not an account key
      2 | subject = "x"
        | ^^^^^^^
    hint: move it to a table `[[account.a.rule]]`

    ~/.config/pouch/config.toml:2:1: `keep` is not a rule key
      2 | keep = "30d"
        | ^^^^
    hint: move it to `[account.a]`, before its rules and multidrop

    ~/.config/pouch/config.toml:2:1: `user` is not a multidrop key
      2 | user = "x"
        | ^^^^
    hint: move it to `[account.a]`, before its rules and multidrop
    "#);
}

#[test]
fn passwords() {
    assert_snapshot!(files(&[
        "[account.a]\n  password = \"hunter2\"",
        "[account.a]\nSecret = [\"hunter2\"]",
        "[account.a]\nhost = \"x\", password = \"hunter2\"",
    ]), @r#"
    ~/.config/pouch/config.toml:2:3: passwords are not allowed in the config file
      2 |   password = …
        |   ^^^^^^^^
    hint: use `password-command = ["pass", "show", "mail/work"]` or `password-file = "~/.secrets/work"` instead

    ~/.config/pouch/config.toml:2:1: passwords are not allowed in the config file
      2 | Secret = …
        | ^^^^^^
    hint: use `password-command = ["pass", "show", "mail/work"]` or `password-file = "~/.secrets/work"` instead

    ~/.config/pouch/config.toml:2:11: not valid TOML: unexpected key or value, expected newline, `#`
      2 | host = "x", password = …
        |           ^
    "#);
}

#[test]
fn no_message_shows_a_password() {
    for line in [
        "password = hunter2",
        "pass = \"hunter2",
        "Secret = [\"hunter2\"]",
        "passwrd = \"hunter2\"",
        "password hunter2",
        "password = \"\"\"\nhunter2\\q\"\"\"",
        "password = [\n  \"hunter2\",",
        "secret = [\n  hunter2\n]",
        "password =\n\"hunter2\"",
        "password = \"hunter2\"\npassword = \"hunter2\"",
        "token = \"hunter2\"\nuser = \"ann\"",
    ] {
        let error = config(&format!("[account.work]\n{line}\n")).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let after = "[account.work]\ntoken = \"\"\"\nhunter2\"\"\"\nuser = ann\n";
    let error = config(after).unwrap_err().to_string();
    assert!(error.contains("user = ann"), "{error}");
}

#[test]
fn tables() {
    assert_snapshot!(files(&[
        "[accounts.work]",
        "[default]",
        "[work]",
        "[account]\nhost = \"x\"",
        "[[account]]",
        "defaults = 3",
        "[account.a]\nrule = 3",
        "[account.a]\nrule = [3]",
        "[account.a.rule]\nfrom = \"x\"",
        "[account.a]\nmultidrop = 3",
    ]), @r#"
    ~/.config/pouch/config.toml:1:2: unknown table `[accounts]`
      1 | [accounts.work]
        |  ^^^^^^^^
    hint: did you mean `[account.NAME]`?

    ~/.config/pouch/config.toml:1:2: unknown table `[default]`
      1 | [default]
        |  ^^^^^^^
    hint: did you mean `[defaults]`?

    ~/.config/pouch/config.toml:1:2: unknown table `[work]`
      1 | [work]
        |  ^^^^
    hint: to define an account, write `[account.work]`

    ~/.config/pouch/config.toml:2:1: `host` is set in `[account]`, which has no account name
      2 | host = "x"
        | ^^^^
    hint: write `[account.NAME]` with a name of your choice

    ~/.config/pouch/config.toml:1:3: `account` must be a table of accounts
      1 | [[account]]
        |   ^^^^^^^
    hint: write each account as a table `[account.NAME]`

    ~/.config/pouch/config.toml:1:1: `defaults` must be a table
      1 | defaults = 3
        | ^^^^^^^^
    hint: write its keys in a table `[defaults]`

    ~/.config/pouch/config.toml:2:1: `rule` must be a list of tables
      2 | rule = 3
        | ^^^^
    hint: write each rule as a table `[[account.a.rule]]`

    ~/.config/pouch/config.toml:2:9: `rule` must be a list of tables
      2 | rule = [3]
        |         ^
    hint: write each rule as a table `[[account.a.rule]]`

    ~/.config/pouch/config.toml:1:12: `rule` must be a list of tables
      1 | [account.a.rule]
        |            ^^^^
    hint: write each rule as a table `[[account.a.rule]]`

    ~/.config/pouch/config.toml:2:1: `multidrop` must be a table
      2 | multidrop = 3
        | ^^^^^^^^^
    hint: write its keys in a table `[account.a.multidrop]`
    "#);
}

#[test]
fn account_names() {
    assert_snapshot!(files(&[
        "[account.\"\"]",
        "[account.\"a/b\"]",
        "[account.\"ann@host\"]",
        "[account.-v]",
        "[account.\" a\"]",
        "[account.\"a\\u001bb\"]",
    ]), @r#"
    ~/.config/pouch/config.toml:1:10: an account name must not be empty
      1 | [account.""]
        |          ^^

    ~/.config/pouch/config.toml:1:10: an account name must not contain `/` or `@`, which mark URLs
      1 | [account."a/b"]
        |          ^^^^^

    ~/.config/pouch/config.toml:1:10: an account name must not contain `/` or `@`, which mark URLs
      1 | [account."ann@host"]
        |          ^^^^^^^^^^
    hint: write `[account.ann]`, and the address below it: `user = "ann@host"`

    ~/.config/pouch/config.toml:1:10: an account name must not begin with `-` or `.`
      1 | [account.-v]
        |          ^^

    ~/.config/pouch/config.toml:1:10: an account name must be printable, without leading or trailing spaces
      1 | [account." a"]
        |          ^^^^

    ~/.config/pouch/config.toml:1:10: an account name must be printable, without leading or trailing spaces
      1 | [account."a\u001bb"]
        |          ^^^^^^^^^^
    "#);
}

#[test]
fn numbers() {
    assert_snapshot!(files(&["jobs = 0", "jobs = {}"]), @"
    ~/.config/pouch/config.toml:1:8: `jobs` must be an integer of at least 1, without quotes, not 0
      1 | jobs = 0
        |        ^

    ~/.config/pouch/config.toml:1:8: `jobs` must be an integer of at least 1, without quotes, not an empty table
      1 | jobs = {}
        |        ^^
    ");
    assert_snapshot!(lines(&[
        "port = \"995\"",
        "port = 0",
        "port = 65536",
        "port = 0x10",
        "retries = -1",
        "retries = 1.5",
        "attempts = 0",
        "keep-newest = 0",
        "request-ahead = 0",
        "request-ahead = \"many\"",
        "notice = \"yes\"",
        "auth = 1979-05-27",
    ]), @r#"
    ~/.config/pouch/config.toml:5:8: `port` must be an integer from 1 to 65535, without quotes, not a string
      5 | port = "995"
        |        ^^^^^

    ~/.config/pouch/config.toml:5:8: `port` must be an integer from 1 to 65535, without quotes, not 0
      5 | port = 0
        |        ^

    ~/.config/pouch/config.toml:5:8: `port` must be an integer from 1 to 65535, without quotes, not 65536
      5 | port = 65536
        |        ^^^^^

    ~/.config/pouch/config.toml:5:8: `port` must be an integer from 1 to 65535, without quotes, not a hexadecimal, octal or binary number
      5 | port = 0x10
        |        ^^^^

    ~/.config/pouch/config.toml:5:11: `retries` must be an integer of at least 0, without quotes, not -1
      5 | retries = -1
        |           ^^

    ~/.config/pouch/config.toml:5:11: `retries` must be an integer of at least 0, without quotes, not 1.5
      5 | retries = 1.5
        |           ^^^

    ~/.config/pouch/config.toml:5:12: `attempts` must be an integer of at least 1, without quotes, not 0
      5 | attempts = 0
        |            ^

    ~/.config/pouch/config.toml:5:15: `keep-newest` must be an integer of at least 1, without quotes, not 0
      5 | keep-newest = 0
        |               ^
    hint: `keep = "none"` deletes every message from the server once it is safe on disk

    ~/.config/pouch/config.toml:5:17: `request-ahead` must be "auto" or an integer of at least 1, not 0
      5 | request-ahead = 0
        |                 ^
    hint: 1 disables pipelining: each message is requested after the last

    ~/.config/pouch/config.toml:5:17: `request-ahead` must be "auto" or an integer of at least 1, not "many"
      5 | request-ahead = "many"
        |                 ^^^^^^

    ~/.config/pouch/config.toml:5:10: `notice` must be true or false, without quotes, not a string
      5 | notice = "yes"
        |          ^^^^^

    ~/.config/pouch/config.toml:5:8: `auth` must be "auto", "plain" or "user", not a date
      5 | auth = 1979-05-27
        |        ^^^^^^^^^^
    "#);
}

#[test]
fn words() {
    assert_snapshot!(lines(&[
        "tls = \"startls\"",
        "tls = false",
        "auth = \"plian\"",
        "auth = \"ntlm\"",
        "quirks = [\"no-udil\"]",
        "quirks = \"no-uidl\"",
        "add-headers = [\"recieved\"]",
        "add-headers = [3]",
        "add-headers = true",
    ]), @r#"
    ~/.config/pouch/config.toml:5:7: `tls` must be "implicit", "starttls" or "off", not "startls"
      5 | tls = "startls"
        |       ^^^^^^^^^
    hint: did you mean "starttls"?

    ~/.config/pouch/config.toml:5:7: `tls` must be "implicit", "starttls" or "off", not false
      5 | tls = false
        |       ^^^^^

    ~/.config/pouch/config.toml:5:8: `auth` must be "auto", "plain" or "user", not "plian"
      5 | auth = "plian"
        |        ^^^^^^^
    hint: did you mean "plain"?

    ~/.config/pouch/config.toml:5:8: `auth` must be "auto", "plain" or "user", not "ntlm"
      5 | auth = "ntlm"
        |        ^^^^^^

    ~/.config/pouch/config.toml:5:10: `quirks` must be an empty list or ["no-uidl"], not a list that contains "no-udil"
      5 | quirks = ["no-udil"]
        |          ^^^^^^^^^^^
    hint: did you mean "no-uidl"?

    ~/.config/pouch/config.toml:5:10: `quirks` must be an empty list or ["no-uidl"], not a string
      5 | quirks = "no-uidl"
        |          ^^^^^^^^^

    ~/.config/pouch/config.toml:5:15: `add-headers` must be a list of any of "received", "return-path" and "delivered-to", not a list that contains "recieved"
      5 | add-headers = ["recieved"]
        |               ^^^^^^^^^^^^
    hint: did you mean "received"?

    ~/.config/pouch/config.toml:5:15: `add-headers` must be a list of any of "received", "return-path" and "delivered-to", not a list that contains a number
      5 | add-headers = [3]
        |               ^^^

    ~/.config/pouch/config.toml:5:15: `add-headers` must be a list of any of "received", "return-path" and "delivered-to", not true
      5 | add-headers = true
        |               ^^^^
    "#);
}

#[test]
fn strings() {
    assert_snapshot!(files(&[
        "[defaults]\nhost = 3",
        "[defaults]\nhost = \"pops://h:995\"",
        "[defaults]\nuser = \"\"",
        "[defaults]\nuser = true",
        "[defaults]\nuser = \"a\\r\\nQUIT\"",
        "[defaults]\nmaildir = \"$HOME/Mail\"",
        "[defaults]\nmaildir = \"~ann/Mail\"",
        "[defaults]\nmaildir = []",
        "[defaults]\ntls-pin = \"sha256:5f\"",
        "[defaults]\nlmtp = \"/run/lmtp\"",
        "[defaults]\nlmtp = \"::1:24\"",
    ]), @r#"
    ~/.config/pouch/config.toml:2:8: `host` must be a host name or an address in quotes, like "pop.example.org", not a number
      2 | host = 3
        |        ^

    ~/.config/pouch/config.toml:2:8: `host` must be a host name or an address in quotes, like "pop.example.org", not "pops://h:995"
      2 | host = "pops://h:995"
        |        ^^^^^^^^^^^^^^
    hint: set the port, TLS and the user with the keys `port`, `tls` and `user`

    ~/.config/pouch/config.toml:2:8: `user` must be a string in quotes, not an empty string
      2 | user = ""
        |        ^^

    ~/.config/pouch/config.toml:2:8: `user` must be a string in quotes, not true
      2 | user = true
        |        ^^^^

    ~/.config/pouch/config.toml:2:8: `user` must be a string in quotes, not a string with control characters
      2 | user = "a\r\nQUIT"
        |        ^^^^^^^^^^^

    ~/.config/pouch/config.toml:2:11: `maildir` must be a path in quotes, like "~/Mail/work", not "$HOME/Mail"
      2 | maildir = "$HOME/Mail"
        |           ^^^^^^^^^^^^
    hint: write a literal path; only a leading `~/` is expanded

    ~/.config/pouch/config.toml:2:11: `maildir` must be a path in quotes, like "~/Mail/work", not "~ann/Mail"
      2 | maildir = "~ann/Mail"
        |           ^^^^^^^^^^^
    hint: write a literal path; only a leading `~/` is expanded

    ~/.config/pouch/config.toml:2:11: `maildir` must be a path in quotes, like "~/Mail/work", not an empty list
      2 | maildir = []
        |           ^^

    ~/.config/pouch/config.toml:2:11: `tls-pin` must be "sha256:…" with 64 hexadecimal digits, not "sha256:5f"
      2 | tls-pin = "sha256:5f"
        |           ^^^^^^^^^^^

    ~/.config/pouch/config.toml:2:8: `lmtp` must be "unix:/run/dovecot/lmtp" or "host:port", not "/run/lmtp"
      2 | lmtp = "/run/lmtp"
        |        ^^^^^^^^^^^

    ~/.config/pouch/config.toml:2:8: `lmtp` must be "unix:/run/dovecot/lmtp" or "host:port", not "::1:24"
      2 | lmtp = "::1:24"
        |        ^^^^^^^^
    "#);
}

#[test]
fn durations() {
    assert_snapshot!(lines(&[
        "timeout = 60",
        "timeout = \"60\"",
        "timeout = \"0s\"",
        "timeout = \"5M\"",
        "timeout = \"5 minutes\"",
        "timeout = \"1y\"",
    ]), @r#"
    ~/.config/pouch/config.toml:5:11: `timeout` must be a duration in quotes, like "30s", "5m" or "12h", not a number
      5 | timeout = 60
        |           ^^

    ~/.config/pouch/config.toml:5:11: `timeout` must be a duration in quotes, like "30s", "5m" or "12h", not "60"
      5 | timeout = "60"
        |           ^^^^
    hint: add a unit: 60s, 60m or 60h

    ~/.config/pouch/config.toml:5:11: `timeout` must be a duration in quotes, like "30s", "5m" or "12h", not "0s"
      5 | timeout = "0s"
        |           ^^^^

    ~/.config/pouch/config.toml:5:11: `timeout` must be a duration in quotes, like "30s", "5m" or "12h", not "5M"
      5 | timeout = "5M"
        |           ^^^^
    hint: write 5m

    ~/.config/pouch/config.toml:5:11: `timeout` must be a duration in quotes, like "30s", "5m" or "12h", not "5 minutes"
      5 | timeout = "5 minutes"
        |           ^^^^^^^^^^^
    hint: write 5m

    ~/.config/pouch/config.toml:5:11: `timeout` must be a duration in quotes, like "30s", "5m" or "12h", not "1y"
      5 | timeout = "1y"
        |           ^^^^
    "#);
}

#[test]
fn retention() {
    assert_snapshot!(lines(&[
        "keep = \"6m\"",
        "keep = \"1M\"",
        "keep = \"12h\"",
        "keep = \"90s\"",
        "keep = \"30D\"",
        "keep = \"30 days\"",
        "keep = \"30\"",
        "keep = 30",
        "keep = \"0d\"",
        "keep = \"soon\"",
        rule!("older-than = \"6m\""),
        rule!("older-than = \"12h\""),
    ]), @r#"
    ~/.config/pouch/config.toml:5:8: `keep` must be "forever", "none" or a number of days in quotes, like "30d", "8w", "6mo" or "1y", not "6m"
      5 | keep = "6m"
        |        ^^^^
    hint: for months, write 6mo

    ~/.config/pouch/config.toml:5:8: `keep` must be "forever", "none" or a number of days in quotes, like "30d", "8w", "6mo" or "1y", not "1M"
      5 | keep = "1M"
        |        ^^^^
    hint: for months, write 1mo

    ~/.config/pouch/config.toml:5:8: `keep` must be "forever", "none" or a number of days in quotes, like "30d", "8w", "6mo" or "1y", not "12h"
      5 | keep = "12h"
        |        ^^^^^
    hint: the shortest time is 1d

    ~/.config/pouch/config.toml:5:8: `keep` must be "forever", "none" or a number of days in quotes, like "30d", "8w", "6mo" or "1y", not "90s"
      5 | keep = "90s"
        |        ^^^^^
    hint: the shortest time is 1d

    ~/.config/pouch/config.toml:5:8: `keep` must be "forever", "none" or a number of days in quotes, like "30d", "8w", "6mo" or "1y", not "30D"
      5 | keep = "30D"
        |        ^^^^^
    hint: write 30d

    ~/.config/pouch/config.toml:5:8: `keep` must be "forever", "none" or a number of days in quotes, like "30d", "8w", "6mo" or "1y", not "30 days"
      5 | keep = "30 days"
        |        ^^^^^^^^^
    hint: write 30d

    ~/.config/pouch/config.toml:5:8: `keep` must be "forever", "none" or a number of days in quotes, like "30d", "8w", "6mo" or "1y", not "30"
      5 | keep = "30"
        |        ^^^^
    hint: add a unit: 30d, 30w or 30mo

    ~/.config/pouch/config.toml:5:8: `keep` must be "forever", "none" or a number of days in quotes, like "30d", "8w", "6mo" or "1y", not a number
      5 | keep = 30
        |        ^^

    ~/.config/pouch/config.toml:5:8: `keep` must be "forever", "none" or a number of days in quotes, like "30d", "8w", "6mo" or "1y", not "0d"
      5 | keep = "0d"
        |        ^^^^
    hint: `keep = "none"` deletes every message from the server once it is safe on disk

    ~/.config/pouch/config.toml:5:8: `keep` must be "forever", "none" or a number of days in quotes, like "30d", "8w", "6mo" or "1y", not "soon"
      5 | keep = "soon"
        |        ^^^^^^

    ~/.config/pouch/config.toml:6:14: `older-than` must be a number of days in quotes, like "30d", "8w", "6mo" or "1y", not "6m"
      6 | older-than = "6m"
        |              ^^^^
    hint: for months, write 6mo

    ~/.config/pouch/config.toml:6:14: `older-than` must be a number of days in quotes, like "30d", "8w", "6mo" or "1y", not "12h"
      6 | older-than = "12h"
        |              ^^^^^
    hint: the shortest time is 1d
    "#);
}

#[test]
fn sizes() {
    assert_snapshot!(lines(&[
        "max-size = 1000",
        "max-size = \"0MB\"",
        "max-size = \"100\"",
        "max-size = \"5MiB\"",
        "keep-total = \"0\"",
        rule!("size = \"5M\""),
        rule!("size = \">5MiB\""),
        rule!("size = \"big\""),
    ]), @r#"
    ~/.config/pouch/config.toml:5:12: `max-size` must be a size in quotes, like "512KB", "25MB" or "2GB", not a number
      5 | max-size = 1000
        |            ^^^^

    ~/.config/pouch/config.toml:5:12: `max-size` must be a size in quotes, like "512KB", "25MB" or "2GB", not "0MB"
      5 | max-size = "0MB"
        |            ^^^^^
    hint: remove `max-size` to fetch messages of any size

    ~/.config/pouch/config.toml:5:12: `max-size` must be a size in quotes, like "512KB", "25MB" or "2GB", not "100"
      5 | max-size = "100"
        |            ^^^^^
    hint: add a unit: 100KB, 100MB or 100GB

    ~/.config/pouch/config.toml:5:12: `max-size` must be a size in quotes, like "512KB", "25MB" or "2GB", not "5MiB"
      5 | max-size = "5MiB"
        |            ^^^^^^
    hint: sizes are in powers of 1000: write 5MB

    ~/.config/pouch/config.toml:5:14: `keep-total` must be a size in quotes, like "512KB", "25MB" or "2GB", not "0"
      5 | keep-total = "0"
        |              ^^^
    hint: `keep = "none"` deletes every message from the server once it is safe on disk

    ~/.config/pouch/config.toml:6:8: `size` must be a limit in quotes, like ">2MB" or "<10KB", not "5M"
      6 | size = "5M"
        |        ^^^^
    hint: write ">5MB" for larger messages or "<5MB" for smaller ones

    ~/.config/pouch/config.toml:6:8: `size` must be a limit in quotes, like ">2MB" or "<10KB", not ">5MiB"
      6 | size = ">5MiB"
        |        ^^^^^^^
    hint: sizes are in powers of 1000: write 5MB

    ~/.config/pouch/config.toml:6:8: `size` must be a limit in quotes, like ">2MB" or "<10KB", not "big"
      6 | size = "big"
        |        ^^^^^
    "#);
}

#[test]
fn backslashes() {
    assert_snapshot!(files(&[
        "[account.a]\nuser = \"CORP\\bob\"",
        "[account.a]\nuser = \"CORP\\tom\" # no",
        "[account.a]\nuser = \"CORP\\james\"",
        "[account.a]\nuser = \"CORP\\uncle\"",
        "[account.a]\nuser = \"CORP\\O'Neil\"",
        "[account.a]\npassword-command = [\"CORP\\james\"]",
    ]), @r#"
    ~/.config/pouch/config.toml:2:8: `user` must be a string in quotes, not a string with control characters
      2 | user = "CORP\bob"
        |        ^^^^^^^^^^
    hint: in double quotes, `\` begins an escape sequence: write 'CORP\bob'

    ~/.config/pouch/config.toml:2:8: `user` must be a string in quotes, not a string with control characters
      2 | user = "CORP\tom" # no
        |        ^^^^^^^^^^
    hint: in double quotes, `\` begins an escape sequence: write 'CORP\tom'

    ~/.config/pouch/config.toml:2:14: not valid TOML: missing escaped value, expected `b`, `e`, `f`, `n`, `r`, `\`, `"`, `x`, `u`, `U`
      2 | user = "CORP\james"
        |              ^
    hint: in double quotes, `\` begins an escape sequence: write 'CORP\james'

    ~/.config/pouch/config.toml:2:15: not valid TOML: too few unicode value digits, expected unicode hexadecimal value
      2 | user = "CORP\uncle"
        |               ^
    hint: in double quotes, `\` begins an escape sequence: write 'CORP\uncle'

    ~/.config/pouch/config.toml:2:14: not valid TOML: missing escaped value, expected `b`, `e`, `f`, `n`, `r`, `\`, `"`, `x`, `u`, `U`
      2 | user = "CORP\O'Neil"
        |              ^

    ~/.config/pouch/config.toml:2:27: not valid TOML: missing escaped value, expected `b`, `e`, `f`, `n`, `r`, `\`, `"`, `x`, `u`, `U`
      2 | password-command = …
        |                     ^
    "#);
}

#[test]
fn password_commands_are_not_shown() {
    assert_snapshot!(lines(&[
        r#"password-command = "echo s3cret""#,
        r#"password-command = ["echo", "s3cret", 5]"#,
        r#"password-comand = ["echo", "s3cret"]"#,
        r#"password-command = ["echo", "s3cret]"#,
    ]), @r#"
    ~/.config/pouch/config.toml:5:20: `password-command` must be a list of strings, like ["notmuch", "new"], not a string
      5 | password-command = …
        |                    ^
    hint: write it as a list of the program and its arguments: ["pass", "show", "mail/work"]

    ~/.config/pouch/config.toml:5:20: `password-command` must be a list of strings, like ["notmuch", "new"], not a list that contains a number
      5 | password-command = …
        |                    ^
    hint: write it as a list of the program and its arguments: ["pass", "show", "mail/work"]

    ~/.config/pouch/config.toml:5:1: unknown key `password-comand`
      5 | password-comand = …
        | ^^^^^^^^^^^^^^^
    hint: did you mean `password-command`?

    ~/.config/pouch/config.toml:5:37: not valid TOML: unclosed array, expected `]`
      5 | password-command = …
        |                     ^
    "#);
}

#[test]
fn commands() {
    assert_snapshot!(lines(&[
        "password-command = \"pass show 'mail/a b'\"",
        "after = \"a && b\"",
        "after = []",
        "after = [\"\"]",
        "after = [\"a\", 3]",
        "after = [\"a\\u0000\"]",
        "filter = [\"bogofilter\"]",
        "filter = [[\"\"]]",
        "lmtp-recipients = [\"ann\", \"<ben>\"]",
        "lmtp-recipients = [3]",
        "lmtp-recipients = []",
    ]), @r#"
    ~/.config/pouch/config.toml:5:20: `password-command` must be a list of strings, like ["notmuch", "new"], not a string
      5 | password-command = …
        |                    ^
    hint: write it as a list of the program and its arguments: ["pass", "show", "mail/work"]

    ~/.config/pouch/config.toml:5:9: `after` must be a list of strings, like ["notmuch", "new"], not a string
      5 | after = "a && b"
        |         ^^^^^^^^
    hint: write ["sh", "-c", "a && b"]

    ~/.config/pouch/config.toml:5:9: `after` must be a list of strings, like ["notmuch", "new"], not an empty list
      5 | after = []
        |         ^^

    ~/.config/pouch/config.toml:5:9: `after` must be a list of strings, like ["notmuch", "new"], not a list whose first element, the program, is empty
      5 | after = [""]
        |         ^^^^

    ~/.config/pouch/config.toml:5:9: `after` must be a list of strings, like ["notmuch", "new"], not a list that contains a number
      5 | after = ["a", 3]
        |         ^^^^^^^^

    ~/.config/pouch/config.toml:5:9: `after` must be a list of strings, like ["notmuch", "new"], not a list that contains a NUL byte
      5 | after = ["a\u0000"]
        |         ^^^^^^^^^^^

    ~/.config/pouch/config.toml:5:10: `filter` must be a list of commands, like [["bogofilter", "-p", "-e"]], not a list that contains a string
      5 | filter = ["bogofilter"]
        |          ^^^^^^^^^^^^^^
    hint: write each filter as a list: [["bogofilter", "-p", "-e"], …]

    ~/.config/pouch/config.toml:5:10: `filter` must be a list of commands, like [["bogofilter", "-p", "-e"]], not a list that contains a list whose first element, the program, is empty
      5 | filter = [[""]]
        |          ^^^^^^
    hint: write each filter as a list: [["bogofilter", "-p", "-e"], …]

    ~/.config/pouch/config.toml:5:19: `lmtp-recipients` must be a list of addresses, like ["ann@example.org"], not a list that contains "<ben>"
      5 | lmtp-recipients = ["ann", "<ben>"]
        |                   ^^^^^^^^^^^^^^^^

    ~/.config/pouch/config.toml:5:19: `lmtp-recipients` must be a list of addresses, like ["ann@example.org"], not a list that contains a number
      5 | lmtp-recipients = [3]
        |                   ^^^

    ~/.config/pouch/config.toml:5:19: `lmtp-recipients` must be a list of addresses, like ["ann@example.org"], not an empty list
      5 | lmtp-recipients = []
        |                   ^^
    "#);
}

#[test]
fn proxies_and_connect_commands() {
    assert_snapshot!(lines(&[
        "proxy = \"gate:1080\"",
        "proxy = \"socks5h://gate:1080\"",
        "proxy = \"https://gate:3128\"",
        "proxy = \"http://gate:3128/path\"",
        "proxy = \"socks5://ann:hunter2@gate\"",
        "proxy = socks5://ann:hunter2@gate",
        "proxy = true",
        "proxy = \"socks5://gate\"\nproxy-password-command = [\"echo\", \"hunter2\"]",
        "proxy-password-command = [\"echo\", \"hunter2\"]\nproxy = \"none\"",
        "proxy-password-command = [\"echo\", \"hunter2\"]",
        "proxy = \"socks5://gate\"\nconnect-command = [\"nc\", \"%h\", \"%p\"]",
        "connect-command = \"ssh -W %h:%p gate\"",
        "connect-command = [\"nc\", \"%H\", \"%p\"]",
        "connect-command = [\"nc\", \"50%\"]",
        "before = \"nmcli con up vpn\"",
        "tls-server-name = \"pop.example.org:995\"",
        "tls-server-name = \"x\"\ntls = \"off\"\nallow-plaintext-password = true",
    ]), @r#"
    ~/.config/pouch/config.toml:5:9: `proxy` must be "socks5://host:port", "http://host:port" (a user before the host: "user@"), or "none", not "gate:1080"
      5 | proxy = "gate:1080"
        |         ^^^^^^^^^^^
    hint: write a URL: "socks5://127.0.0.1:9050"

    ~/.config/pouch/config.toml:5:9: `proxy` must be "socks5://host:port", "http://host:port" (a user before the host: "user@"), or "none", not "socks5h://gate:1080"
      5 | proxy = "socks5h://gate:1080"
        |         ^^^^^^^^^^^^^^^^^^^^^
    hint: write socks5://, with which the proxy resolves host names

    ~/.config/pouch/config.toml:5:9: `proxy` must be "socks5://host:port", "http://host:port" (a user before the host: "user@"), or "none", not "https://gate:3128"
      5 | proxy = "https://gate:3128"
        |         ^^^^^^^^^^^^^^^^^^^
    hint: pouch connects to the proxy without TLS: write http://

    ~/.config/pouch/config.toml:5:9: `proxy` must be "socks5://host:port", "http://host:port" (a user before the host: "user@"), or "none", not "http://gate:3128/path"
      5 | proxy = "http://gate:3128/path"
        |         ^^^^^^^^^^^^^^^^^^^^^^^

    ~/.config/pouch/config.toml:5:9: `proxy` must be "socks5://host:port", "http://host:port" (a user before the host: "user@"), or "none", not a URL with a password
      5 | proxy = "socks5://…
        |         ^^^^^^^^^^^
    hint: remove the password, and let `proxy-password-command` print it

    ~/.config/pouch/config.toml:5:9: strings must be quoted with straight quotes: "…"
      5 | proxy = socks5://…
        |         ^^^^^^^^^^

    ~/.config/pouch/config.toml:5:9: `proxy` must be "socks5://host:port", "http://host:port" (a user before the host: "user@"), or "none", not true
      5 | proxy = true
        |         ^^^^

    ~/.config/pouch/config.toml:6:1: `proxy-password-command` needs a user in `proxy`
      5 | proxy = "socks5://gate"
        | ----- the proxy
      6 | proxy-password-command = …
        | ^^^^^^^^^^^^^^^^^^^^^^
    hint: add it before the host: "socks5://user@host:port"

    ~/.config/pouch/config.toml:5:1: `proxy-password-command` has no effect without a proxy
      5 | proxy-password-command = …
        | ^^^^^^^^^^^^^^^^^^^^^^
      6 | proxy = "none"
        | ----- the proxy
    hint: set `proxy`, or remove `proxy-password-command`

    ~/.config/pouch/config.toml:5:1: `proxy-password-command` has no effect without a proxy
      5 | proxy-password-command = …
        | ^^^^^^^^^^^^^^^^^^^^^^
    hint: set `proxy`, or remove `proxy-password-command`

    ~/.config/pouch/config.toml:6:1: `connect-command` and `proxy` cannot be used together
      5 | proxy = "socks5://gate"
        | ----- already set here
      6 | connect-command = ["nc", "%h", "%p"]
        | ^^^^^^^^^^^^^^^
    hint: remove one of them

    ~/.config/pouch/config.toml:5:19: `connect-command` must be a list of strings, like ["ssh", "-W", "%h:%p", "gate"], not a string
      5 | connect-command = "ssh -W %h:%p gate"
        |                   ^^^^^^^^^^^^^^^^^^^
    hint: write ["ssh", "-W", "%h:%p", "gate"]

    ~/.config/pouch/config.toml:5:19: `connect-command` must be a list of strings, like ["ssh", "-W", "%h:%p", "gate"], not a list that contains `%H`
      5 | connect-command = ["nc", "%H", "%p"]
        |                   ^^^^^^^^^^^^^^^^^^
    hint: `%h` is the host, `%p` the port; write `%%` for a percent sign

    ~/.config/pouch/config.toml:5:19: `connect-command` must be a list of strings, like ["ssh", "-W", "%h:%p", "gate"], not a list that contains `%`
      5 | connect-command = ["nc", "50%"]
        |                   ^^^^^^^^^^^^^
    hint: `%h` is the host, `%p` the port; write `%%` for a percent sign

    ~/.config/pouch/config.toml:5:10: `before` must be a list of strings, like ["notmuch", "new"], not a string
      5 | before = "nmcli con up vpn"
        |          ^^^^^^^^^^^^^^^^^^
    hint: write ["nmcli", "con", "up", "vpn"]

    ~/.config/pouch/config.toml:5:19: `tls-server-name` must be a host name or an address in quotes, like "pop.example.org", not "pop.example.org:995"
      5 | tls-server-name = "pop.example.org:995"
        |                   ^^^^^^^^^^^^^^^^^^^^^
    hint: set the port, TLS and the user with the keys `port`, `tls` and `user`

    ~/.config/pouch/config.toml:5:1: `tls-server-name` has no effect with `tls = "off"`
      5 | tls-server-name = "x"
        | ^^^^^^^^^^^^^^^
      6 | tls = "off"
        | --- TLS is off
    hint: remove one of them
    "#);
}

#[test]
fn rule_values() {
    assert_snapshot!(lines(&[
        rule!("from = \"/(/\""),
        rule!("from = 3"),
        rule!("header = \"X-Spam-Flag\""),
        rule!("header = \"X Spam: yes\""),
        rule!("header = {}"),
        rule!("action = \"skp\""),
        rule!("action = \"maildir:\""),
        rule!("action = \"maildir:$HOME\""),
        rule!("action = \"drop\""),
        rule!("also = \"maildir:x\""),
        rule!("also = [\"skip\"]"),
        "[account.work.multidrop]\nheader = []",
        "[account.work.multidrop]\nheader = [\"a b\"]",
        "[account.work.multidrop]\noccurrence = 0",
        "[account.work.multidrop]\nrecipients = {}",
        "[account.work.multidrop]\nrecipients = { \"ann\" = \"ben\" }",
        "[account.work.multidrop]\nrecipients = { \"ann\" = \"mbox:\" }",
        "[account.work.multidrop]\nrecipients = { \"ann\" = \"lmtp:unix:\" }",
        "[account.work.multidrop]\nrecipients = { \"ann\" = \"lmtp:host:24 <ann>\" }",
        "[account.work.multidrop]\nrecipients = { \"/(/\" = \"maildir:x\" }",
    ]), @r#"
    ~/.config/pouch/config.toml:6:8: `from` must be a pattern in quotes, like "*@example.org" or "/sale|offer/", not "/(/" (unclosed group)
      6 | from = "/(/"
        |        ^^^^^

    ~/.config/pouch/config.toml:6:8: `from` must be a pattern in quotes, like "*@example.org" or "/sale|offer/", not a number
      6 | from = 3
        |        ^

    ~/.config/pouch/config.toml:6:10: `header` must be a name and a pattern, like "X-Spam-Flag: yes", not "X-Spam-Flag"
      6 | header = "X-Spam-Flag"
        |          ^^^^^^^^^^^^^

    ~/.config/pouch/config.toml:6:10: `header` must be a name and a pattern, like "X-Spam-Flag: yes", not "X Spam", which is not a valid field name
      6 | header = "X Spam: yes"
        |          ^^^^^^^^^^^^^

    ~/.config/pouch/config.toml:6:10: `header` must be a name and a pattern, like "X-Spam-Flag: yes", not an empty table
      6 | header = {}
        |          ^^

    ~/.config/pouch/config.toml:6:10: `action` must be "fetch", "skip", "delete" or a destination like "maildir:.Lists.rust", not "skp"
      6 | action = "skp"
        |          ^^^^^
    hint: did you mean "skip"?

    ~/.config/pouch/config.toml:6:10: `action` must be "fetch", "skip", "delete" or a destination like "maildir:.Lists.rust", not "maildir:"
      6 | action = "maildir:"
        |          ^^^^^^^^^^

    ~/.config/pouch/config.toml:6:10: `action` must be "fetch", "skip", "delete" or a destination like "maildir:.Lists.rust", not "maildir:$HOME"
      6 | action = "maildir:$HOME"
        |          ^^^^^^^^^^^^^^^

    ~/.config/pouch/config.toml:6:10: `action` must be "fetch", "skip", "delete" or a destination like "maildir:.Lists.rust", not "drop"
      6 | action = "drop"
        |          ^^^^^^

    ~/.config/pouch/config.toml:6:8: `also` must be a list of destinations, like ["maildir:~/Mail/all"], not a string
      6 | also = "maildir:x"
        |        ^^^^^^^^^^^

    ~/.config/pouch/config.toml:6:8: `also` must be a list of destinations, like ["maildir:~/Mail/all"], not a list that contains "skip"
      6 | also = ["skip"]
        |        ^^^^^^^^

    ~/.config/pouch/config.toml:6:10: `header` must be a list of header fields, like ["Delivered-To", "X-Original-To"], not an empty list
      6 | header = []
        |          ^^

    ~/.config/pouch/config.toml:6:10: `header` must be a list of header fields, like ["Delivered-To", "X-Original-To"], not a list that contains "a b"
      6 | header = ["a b"]
        |          ^^^^^^^

    ~/.config/pouch/config.toml:6:14: `occurrence` must be a nonzero integer without quotes, such as 1 for the first or -1 for the last field, not 0
      6 | occurrence = 0
        |              ^

    ~/.config/pouch/config.toml:6:14: `recipients` must be a table of addresses and destinations, like { "ann@example.org" = "maildir:~/ann" }, not an empty table
      6 | recipients = {}
        |              ^^

    ~/.config/pouch/config.toml:6:14: `recipients` must be a table of addresses and destinations, like { "ann@example.org" = "maildir:~/ann" }, not "ben" for "ann"
      6 | recipients = { "ann" = "ben" }
        |              ^^^^^^^^^^^^^^^^^

    ~/.config/pouch/config.toml:6:14: `recipients` must be a table of addresses and destinations, like { "ann@example.org" = "maildir:~/ann" }, not "mbox:" for "ann"
      6 | recipients = { "ann" = "mbox:" }
        |              ^^^^^^^^^^^^^^^^^^^

    ~/.config/pouch/config.toml:6:14: `recipients` must be a table of addresses and destinations, like { "ann@example.org" = "maildir:~/ann" }, not "lmtp:unix:" for "ann"
      6 | recipients = { "ann" = "lmtp:unix:" }
        |              ^^^^^^^^^^^^^^^^^^^^^^^^

    ~/.config/pouch/config.toml:6:14: `recipients` must be a table of addresses and destinations, like { "ann@example.org" = "maildir:~/ann" }, not "lmtp:host:24 <ann>" for "ann"
      6 | recipients = { "ann" = "lmtp:host:24 <ann>" }
        |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

    ~/.config/pouch/config.toml:6:14: `recipients` must be a table of addresses and destinations, like { "ann@example.org" = "maildir:~/ann" }, not "/(/" (unclosed group)
      6 | recipients = { "/(/" = "maildir:x" }
        |              ^^^^^^^^^^^^^^^^^^^^^^^
    "#);
}

#[test]
fn rules() {
    assert_snapshot!(lines(&[
        rule!("from = \"x\""),
        rule!("from = \"x\"\naction = \"delete\""),
        concat!(
            "allow-delete-unread = false\n",
            rule!("from = \"x\"\naction = \"delete\"")
        ),
        concat!("allow-delete-unread = true\n", rule!("action = \"delete\"")),
        rule!("action = \"skip\"\nalso = [\"maildir:~/x\"]"),
        concat!("sync-deletions = true\n", rule!("action = \"mbox:x\"")),
        "sync-deletions = true\n[account.work.multidrop.recipients]\n\"a@b\" = \"mbox:x\"",
        "[account.work.multidrop]\noccurrence = 1",
    ]), @r#"
    ~/.config/pouch/config.toml:5:1: the rule has no `action`
      5 | [[account.work.rule]]
        | ^^^^^^^^^^^^^^^^^^^^^
    hint: add an action: action = "skip", "delete", "fetch" or a destination

    ~/.config/pouch/config.toml:7:1: this rule deletes unread mail
      7 | action = "delete"
        | ^^^^^^
    hint: to allow it, add `allow-delete-unread = true` to the account

    ~/.config/pouch/config.toml:8:1: this rule deletes unread mail
      5 | allow-delete-unread = false
        | ------------------- not allowed here
      8 | action = "delete"
        | ^^^^^^
    hint: to allow it, add `allow-delete-unread = true` to the account

    ~/.config/pouch/config.toml:7:1: this rule deletes every message
      7 | action = "delete"
        | ^^^^^^
    hint: add a condition, such as `subject` or `size`

    ~/.config/pouch/config.toml:7:1: `also` has no effect: the rule does not fetch the message
      6 | action = "skip"
        | ------ the action
      7 | also = ["maildir:~/x"]
        | ^^^^
    hint: remove `also`

    ~/.config/pouch/config.toml:7:1: `sync-deletions` requires Maildir destinations: deletions from other destinations cannot be detected
      5 | sync-deletions = true
        | -------------- enabled here
      7 | action = "mbox:x"
        | ^^^^^^
    hint: remove `sync-deletions`, or deliver to a Maildir

    ~/.config/pouch/config.toml:6:25: `sync-deletions` requires Maildir destinations: deletions from other destinations cannot be detected
      5 | sync-deletions = true
        | -------------- enabled here
      6 | [account.work.multidrop.recipients]
        |                         ^^^^^^^^^^
    hint: remove `sync-deletions`, or deliver to a Maildir

    ~/.config/pouch/config.toml:5:15: multidrop has no `recipients`
      5 | [account.work.multidrop]
        |               ^^^^^^^^^
    hint: add the recipients: recipients = { "ann@example.org" = "maildir:~/Mail/ann" }
    "#);
    assert_snapshot!(files(&[concat!(
        "[account.work]\nhost = \"h\"\nuser = \"u\"\nmbox = \"m\"\n",
        rule!("action = \"maildir:.Lists\"")
    )]), @r#"
    ~/.config/pouch/config.toml:6:1: `.Lists` is a Maildir++ folder, but the account does not deliver to a Maildir
      4 | mbox = "m"
        | ---- the destination
      6 | action = "maildir:.Lists"
        | ^^^^^^
    hint: write a path, such as "maildir:~/Mail/lists"
    "#);
}

#[test]
fn missing_keys() {
    assert_snapshot!(lines(&[
        "[account.b]\nuser = \"b\"",
        "[account.b]\nhost = \"b\"",
        "[account.b]\nhost = \"b\"\nuser = \"b\"",
        "tls-client-cert = \"x\"",
        "tls-client-key = \"x\"",
    ]), @r#"
    ~/.config/pouch/config.toml:5:1: account `b` has no `host`
      5 | [account.b]
        | ^^^^^^^^^^^
    hint: add its server: host = "pop.example.org"

    ~/.config/pouch/config.toml:5:1: account `b` has no `user`
      5 | [account.b]
        | ^^^^^^^^^^^
    hint: add its login name: user = "ann@example.org"

    ~/.config/pouch/config.toml:5:1: account `b` has no destination
      5 | [account.b]
        | ^^^^^^^^^^^
    hint: add a Maildir, which is created if it does not exist: maildir = "~/Mail/work"

    ~/.config/pouch/config.toml:5:1: `tls-client-cert` needs `tls-client-key`
      5 | tls-client-cert = "x"
        | ^^^^^^^^^^^^^^^
    hint: set `tls-client-key` to the file with the private key

    ~/.config/pouch/config.toml:5:1: `tls-client-key` needs `tls-client-cert`
      5 | tls-client-key = "x"
        | ^^^^^^^^^^^^^^
    hint: set `tls-client-cert` to the file with the certificate
    "#);
}

#[test]
fn contradictions() {
    assert_snapshot!(lines(&[
        "password-file = \"x\"\npassword-command = [\"x\"]",
        "pipe = [\"x\"]",
        "[defaults]\ntls-ca-file = \"x\"\n\
         tls-pin = \"sha256:5f6e04c1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d\"",
        "tls = \"off\"",
        "allow-plaintext-password = false\ntls = \"off\"",
        "tls = \"off\"\nallow-plaintext-password = true\ntls-ca-file = \"x\"",
        "[account.b]\nhost = \"b\"\nuser = \"b\"\npipe = [\"x\"]\nsync-deletions = true",
        "[account.b]\nhost = \"POP.example.org.\"\nuser = \"Ann\"\nmaildir = \"b\"\nenabled = false",
    ]), @r#"
    ~/.config/pouch/config.toml:6:1: `password-command` and `password-file` cannot be used together
      5 | password-file = "x"
        | ------------- already set here
      6 | password-command = …
        | ^^^^^^^^^^^^^^^^
    hint: remove one of them

    ~/.config/pouch/config.toml:5:1: `pipe` and `maildir` cannot be used together
      4 | maildir = "~/Mail"
        | ------- already set here
      5 | pipe = ["x"]
        | ^^^^
    hint: remove one of them

    ~/.config/pouch/config.toml:7:1: `tls-pin` and `tls-ca-file` cannot be used together
      6 | tls-ca-file = "x"
        | ----------- already set here
      7 | tls-pin = "sha256:5f6e04c1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d"
        | ^^^^^^^
    hint: remove one of them

    ~/.config/pouch/config.toml:5:1: `tls = "off"` sends the password and the mail unencrypted
      5 | tls = "off"
        | ^^^
    hint: use "implicit" or "starttls"; on a trusted network, add `allow-plaintext-password = true`

    ~/.config/pouch/config.toml:6:1: `tls = "off"` sends the password and the mail unencrypted
      5 | allow-plaintext-password = false
        | ------------------------ not allowed here
      6 | tls = "off"
        | ^^^
    hint: use "implicit" or "starttls"; on a trusted network, add `allow-plaintext-password = true`

    ~/.config/pouch/config.toml:7:1: `tls-ca-file` has no effect with `tls = "off"`
      5 | tls = "off"
        | --- TLS is off
      7 | tls-ca-file = "x"
        | ^^^^^^^^^^^
    hint: remove one of them

    ~/.config/pouch/config.toml:9:1: `sync-deletions` needs a `maildir`: deletions from other destinations cannot be detected
      8 | pipe = ["x"]
        | ---- the destination
      9 | sync-deletions = true
        | ^^^^^^^^^^^^^^
    hint: remove `sync-deletions`, or set `maildir`

    ~/.config/pouch/config.toml:5:1: accounts `work` and `b` are the same mailbox, Ann@pop.example.org:995
      1 | [account.work]
        | -------------- already defined here
      5 | [account.b]
        | ^^^^^^^^^^^
    hint: remove one of them, or set `mailbox` to a different name in each
    "#);
}
