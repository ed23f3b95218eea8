//! The file as a whole: its syntax, its tables and the names of accounts.

use insta::assert_snapshot;

use super::files;
use crate::config::testing::{config, with};

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

    ~/.config/pouch/config.toml:4:1: account `a` has no `user`
      4 | [account.a]
        | ^^^^^^^^^^^
    hint: add its login name: user = "ann@example.org"
    ~/.config/pouch/config.toml:12:1: `mbox` and `maildir` cannot be used together
      11 | maildir = "m"
         | ------- already set here
      12 | mbox = "x"
         | ^^^^
    hint: remove one of them; a rule with `also` delivers to several
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
