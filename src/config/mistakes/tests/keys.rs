//! Keys that do not exist, are missing or contradict each other, and keys with passwords.

use insta::assert_snapshot;

use super::{files, lines};
use crate::config::testing::config;

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
    hint: move it to the top of the config file, before the first table

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
        "password-command = [\"x\"]\ntoken-command = [\"x\"]",
        "password-command = [\"x\"]\nauth = \"xoauth2\"",
        "auth = \"oauthbearer\"",
        "auth = \"plain\"\ntoken-command = [\"x\"]",
        "use_xoauth2 = true",
        "tokencommand = [\"x\"]",
        "token-command = \"oama access s3cret\"",
        "pipe = [\"x\"]",
        "[defaults]\ntls-ca-file = \"x\"\n\
         tls-pin = \"sha256:5f6e04c1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d\"",
        "tls = \"off\"\nauth = \"plain\"",
        "tls = \"off\"\ntoken-command = [\"x\"]",
        "allow-plaintext-password = false\ntls = \"off\"\nauth = \"user\"",
        "auth = \"external\"",
        "auth = \"external\"\npassword-file = \"x\"",
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

    ~/.config/pouch/config.toml:6:1: `token-command` and `password-command` cannot be used together
      5 | password-command = …
        | ---------------- already set here
      6 | token-command = …
        | ^^^^^^^^^^^^^
    hint: remove one of them

    ~/.config/pouch/config.toml:6:1: `auth = "xoauth2"` needs a token
      5 | password-command = …
        | ---------------- a password
      6 | auth = "xoauth2"
        | ^^^^
    hint: use `oauth` or `token-command` instead of `password-command`

    ~/.config/pouch/config.toml:5:1: `auth = "oauthbearer"` needs a token
      5 | auth = "oauthbearer"
        | ^^^^
    hint: set `oauth`, such as oauth = "microsoft", or `token-command`

    ~/.config/pouch/config.toml:5:1: `auth = "plain"` needs a password
      5 | auth = "plain"
        | ^^^^
      6 | token-command = …
        | ------------- a token
    hint: remove `auth`, or use `password-command` instead

    ~/.config/pouch/config.toml:5:1: unknown key `use_xoauth2`
      5 | use_xoauth2 = true
        | ^^^^^^^^^^^
    hint: set `oauth`, such as oauth = "microsoft", and run `pouch login`; or `token-command`, a list: ["oama", "access", "ann@example.org"]

    ~/.config/pouch/config.toml:5:1: unknown key `tokencommand`
      5 | tokencommand = …
        | ^^^^^^^^^^^^
    hint: did you mean `token-command`?

    ~/.config/pouch/config.toml:5:17: `token-command` must be a list of strings, like ["notmuch", "new"], not a string
      5 | token-command = …
        |                 ^
    hint: write it as a list of the program and its arguments: ["oama", "access", "ann@example.org"]

    ~/.config/pouch/config.toml:5:1: `pipe` and `maildir` cannot be used together
      4 | maildir = "~/Mail"
        | ------- already set here
      5 | pipe = ["x"]
        | ^^^^
    hint: remove one of them; a rule with `also` delivers to several

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

    ~/.config/pouch/config.toml:5:1: `tls = "off"` sends the token and the mail unencrypted
      5 | tls = "off"
        | ^^^
    hint: use "implicit" or "starttls"; on a trusted network, add `allow-plaintext-password = true`

    ~/.config/pouch/config.toml:6:1: `tls = "off"` sends the password and the mail unencrypted
      5 | allow-plaintext-password = false
        | ------------------------ not allowed here
      6 | tls = "off"
        | ^^^
    hint: use "implicit" or "starttls"; on a trusted network, add `allow-plaintext-password = true`

    ~/.config/pouch/config.toml:5:1: `auth = "external"` needs `tls-client-cert`
      5 | auth = "external"
        | ^^^^
    hint: set `tls-client-cert` to the file with the certificate of the user

    ~/.config/pouch/config.toml:5:1: `auth = "external"` needs a certificate
      5 | auth = "external"
        | ^^^^
      6 | password-file = "x"
        | ------------- a password
    hint: remove `password-file`: the client certificate is the proof

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
