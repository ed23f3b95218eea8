//! Rules and multidrop.

use insta::assert_snapshot;

use super::{files, lines};

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
