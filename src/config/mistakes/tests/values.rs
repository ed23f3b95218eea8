//! Values of keys.

use insta::assert_snapshot;

use super::{files, lines};

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

    ~/.config/pouch/config.toml:5:8: `auth` must be "auto", "scram-sha-256", "scram-sha-1", "plain", "login", "user", "cram-md5", "apop", "external", "xoauth2" or "oauthbearer", not a date
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

    ~/.config/pouch/config.toml:5:8: `auth` must be "auto", "scram-sha-256", "scram-sha-1", "plain", "login", "user", "cram-md5", "apop", "external", "xoauth2" or "oauthbearer", not "plian"
      5 | auth = "plian"
        |        ^^^^^^^
    hint: did you mean "plain"?

    ~/.config/pouch/config.toml:5:8: `auth` must be "auto", "scram-sha-256", "scram-sha-1", "plain", "login", "user", "cram-md5", "apop", "external", "xoauth2" or "oauthbearer", not "ntlm"
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
        "[defaults]\nmaildir = [\"~/Mail\", \"~/Copy\"]",
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

    ~/.config/pouch/config.toml:2:11: `maildir` must be a path in quotes, like "~/Mail/work", not a list
      2 | maildir = ["~/Mail", "~/Copy"]
        |           ^^^^^^^^^^^^^^^^^^^^
    hint: a rule with `also` delivers to several destinations

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
