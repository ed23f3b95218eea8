//! The complete output of each command, as snapshots: a change of wording is reviewed here.

mod help;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use insta::assert_snapshot;

use crate::{
    fixture::Desk,
    server::{corpus, on},
    support::{Home, redact::redact},
};

/// Four messages that fare differently: two are ordinary, the second cannot be fetched, and the
/// last is too large.
fn mixed(lines: &str) -> Desk {
    let lines = format!("attempts = 1\nmax-size = \"2KB\"\n{lines}");
    Desk::with(3, &lines, |server| {
        server
            .message("big", corpus::sized(4, 3_000))
            .fault(on("RETR").uid("uid-2").refuse("-ERR no"))
    })
}

/// Returns the transcripts of these commands, one after the other.
fn transcripts(desk: &Desk, days: i64, commands: &[&[&str]]) -> String {
    let run = |args: &&[&str]| desk.at(days, args).run().transcript();
    commands.iter().map(run).collect()
}

#[test]
fn fetch_by_verbosity() {
    let mut shown = String::new();
    for flags in [&["fetch"][..], &["fetch", "-q"], &["fetch", "-qq"]] {
        shown.push_str(&mixed("").pouch(flags).run().assert_code(65).transcript());
    }
    assert_snapshot!(shown, @"
    $ pouch fetch
    ------- stderr -------
    pouch: work: message 4 (3.0 KB) is larger than max-size (2KB); left on the server
    hint: run `pouch ledger retry work 4` to fetch it, or raise `max-size`
    pouch: work: 127.0.0.1 refused to send message 2
      from Ben, subject: Message 2
      127.0.0.1 said: -ERR no
      quarantined after it failed once; other messages are not affected
      2 other messages delivered
    hint: run `pouch ledger show work 2` for details
    [exit code: 65]
    $ pouch fetch -q
    ------- stderr -------
    pouch: work: message 4 (3.0 KB) is larger than max-size (2KB); left on the server
    hint: run `pouch ledger retry work 4` to fetch it, or raise `max-size`
    pouch: work: 127.0.0.1 refused to send message 2
      from Ben, subject: Message 2
      127.0.0.1 said: -ERR no
      quarantined after it failed once; other messages are not affected
      2 other messages delivered
    hint: run `pouch ledger show work 2` for details
    [exit code: 65]
    $ pouch fetch -qq
    [exit code: 65]
    ");
    assert_snapshot!(transcripts(&mixed(""), 0, &[&["fetch", "-v"], &["fetch", "-v"]]), @"
    $ pouch fetch -v
    ------- stderr -------
    work: logged in at 127.0.0.1:PORT
    pouch: work: message 4 (3.0 KB) is larger than max-size (2KB); left on the server
    hint: run `pouch ledger retry work 4` to fetch it, or raise `max-size`
    work: 4 listed, 3 to fetch
    pouch: work: 127.0.0.1 refused to send message 2
      from Ben, subject: Message 2
      127.0.0.1 said: -ERR no
      quarantined after it failed once; other messages are not affected
      2 other messages delivered
    hint: run `pouch ledger show work 2` for details
    work   2 new (802 B) to ~/Mail/work; 1 message failed; 1 quarantined (`pouch ledger list work`)
    [exit code: 65]
    $ pouch fetch -v
    ------- stderr -------
    work: logged in at 127.0.0.1:PORT
    work: 4 listed, 0 to fetch
    work   nothing new; 1 quarantined (`pouch ledger list work`)
    ");
    let one_by_one = Desk::with(1, "", |server| server.without("PIPELINING"));
    assert_snapshot!(one_by_one.pouch(&["fetch", "-vv"]).run().assert_code(0).transcript(), @"
    $ pouch fetch -vv
    ------- stderr -------
    work: S: +OK POP3 ready
    work: C: CAPA
    work: S: +OK capabilities follow
    work: S: TOP
    work: S: UIDL
    work: S: USER
    work: S: SASL PLAIN
    work: S: RESP-CODES
    work: S: AUTH-RESP-CODE
    work: S: IMPLEMENTATION scripted
    work: C: AUTH PLAIN ***
    work: S: +OK maildrop open
    work: C: CAPA
    work: S: +OK capabilities follow
    work: S: TOP
    work: S: UIDL
    work: S: USER
    work: S: SASL PLAIN
    work: S: RESP-CODES
    work: S: AUTH-RESP-CODE
    work: S: IMPLEMENTATION scripted
    work: C: STAT
    work: S: +OK 1 363
    work: C: LIST
    work: S: +OK 1 messages (363 octets)
    work: C: UIDL
    work: S: +OK unique-ids follow
    work: logged in at 127.0.0.1:PORT
    work: 1 listed, 1 to fetch
    work: C: RETR 1
    work: S: +OK 363 octets
    work: C: QUIT
    work   1 new (363 B) to ~/Mail/work
    ");
}

#[test]
fn fetch_json_lines() {
    let desk = mixed("keep = \"none\"");
    let runs: &[&[&str]] = &[&["fetch", "--json"], &["fetch", "--json"]];
    assert_snapshot!(transcripts(&desk, 0, runs), @r#"
    $ pouch fetch --json
    {"account":"work","event":"start","time":1795392000}
    {"account":"work","event":"connected","server":"127.0.0.1:PORT","time":1795392000}
    {"account":"work","event":"notice","problem":{"exit":69,"facts":[],"hint":"run `pouch ledger retry work 4` to fetch it, or raise `max-size`","what":"message 4 (3.0 KB) is larger than max-size (2KB); left on the server"},"time":1795392000}
    {"account":"work","bytes":1203,"event":"planned","fetch":3,"listed":4,"time":1795392000}
    {"account":"work","also":[],"bytes":363,"destination":"~/Mail/work","event":"stored","file":"1795392000.R1L-LEDGER.HOST","message":1,"time":1795392000,"uid":"uid-1"}
    {"account":"work","also":[],"bytes":439,"destination":"~/Mail/work","event":"stored","file":"1795392000.R3L-LEDGER.HOST","message":3,"time":1795392000,"uid":"uid-3"}
    {"account":"work","count":2,"event":"deleted","reason":"not-kept","time":1795392000}
    {"account":"work","event":"quarantined","from":"Ben","message":2,"problem":{"exit":69,"facts":["127.0.0.1 said: -ERR no","quarantined after it failed once; other messages are not affected","2 other messages delivered"],"hint":"run `pouch ledger show work 2` for details","what":"127.0.0.1 refused to send message 2"},"retry_after":1795478400,"subject":"Message 2","time":1795392000,"uid":"uid-2"}
    {"account":"work","bytes":802,"deleted":2,"delivered":2,"destinations":[{"destination":"~/Mail/work","messages":2}],"event":"done","exit":65,"failed":1,"quarantined":1,"skipped":0,"time":1795392000}
    {"event":"end","exit":65,"time":1795392000}
    [exit code: 65]
    $ pouch fetch --json
    {"account":"work","event":"start","time":1795392000}
    {"account":"work","event":"connected","server":"127.0.0.1:PORT","time":1795392000}
    {"account":"work","bytes":0,"event":"planned","fetch":0,"listed":2,"time":1795392000}
    {"account":"work","bytes":0,"deleted":0,"delivered":0,"destinations":[],"event":"done","exit":0,"failed":0,"quarantined":1,"skipped":0,"time":1795392000}
    {"event":"end","exit":0,"time":1795392000}
    "#);
}

#[test]
fn fetch_json_lines_with_a_problem() {
    let desk = Desk::with(1, "auth = \"user\"", |server| {
        server.fault(on("PASS").refuse("-ERR [AUTH] no"))
    });
    let output = desk.pouch(&["fetch", "--json"]).run();
    assert_snapshot!(output.assert_code(77).transcript(), @r#"
    $ pouch fetch --json
    {"account":"work","event":"start","time":1795392000}
    {"account":"work","event":"problem","problem":{"exit":77,"facts":["127.0.0.1 said: -ERR [AUTH] no"],"hint":"check the password in ~/password, then run `pouch check work`","what":"127.0.0.1 rejected the password"},"time":1795392000}
    {"account":"work","bytes":0,"deleted":0,"delivered":0,"destinations":[],"event":"done","exit":77,"failed":0,"quarantined":0,"skipped":0,"time":1795392000}
    {"event":"end","exit":77,"time":1795392000}
    [exit code: 77]
    "#);
}

#[test]
fn plan_before_and_after_a_fetch() {
    let rule = "[[account.work.rule]]\nsubject = \"*3\"\naction = \"skip\"";
    let desk = mixed(&format!("keep = \"30d\"\n{rule}"));
    let plans: &[&[&str]] = &[&["plan"], &["plan", "-v"], &["plan", "--json"]];
    assert_snapshot!(transcripts(&desk, 0, plans), @r#"
    $ pouch plan
    work: 4 messages on the server, 0 known
      fetch      2     764 B   new; kept until 2026-12-23
      leave      1             rule 1; skipped from now on
      leave      1    3.0 KB   larger than max-size (2KB)
    $ pouch plan -v
    work: 4 messages on the server, 0 known
      fetch      2     764 B   new; kept until 2026-12-23
      leave      1             rule 1; skipped from now on
      leave      1    3.0 KB   larger than max-size (2KB)
      message    new     363 B   fetch to ~/Mail/work: new; kept until 2026-12-23
          UID uid-1, from Ben, subject: Message 1
      message    new     401 B   fetch to ~/Mail/work: new; kept until 2026-12-23
          UID uid-2, from Ben, subject: Message 2
      message    new     439 B   leave: rule 1; skipped from now on
          UID uid-3, from Ben, subject: Message 3
      message    new    3.0 KB   leave: larger than max-size (2KB)
          UID big, from Ben, subject: Message 4
    $ pouch plan --json
    {
      "accounts": [
        {
          "account": "work",
          "known": 0,
          "listed": 4,
          "messages": [
            {
              "action": "fetch",
              "also": [],
              "destination": "~/Mail/work",
              "from": "Ben",
              "message": null,
              "reason": "new; kept until 2026-12-23",
              "rule": null,
              "size": 363,
              "subject": "Message 1",
              "uid": "uid-1"
            },
            {
              "action": "fetch",
              "also": [],
              "destination": "~/Mail/work",
              "from": "Ben",
              "message": null,
              "reason": "new; kept until 2026-12-23",
              "rule": null,
              "size": 401,
              "subject": "Message 2",
              "uid": "uid-2"
            },
            {
              "action": "leave",
              "also": [],
              "destination": null,
              "from": "Ben",
              "message": null,
              "reason": "rule 1; skipped from now on",
              "rule": 1,
              "size": 439,
              "subject": "Message 3",
              "uid": "uid-3"
            },
            {
              "action": "leave",
              "also": [],
              "destination": null,
              "from": "Ben",
              "message": null,
              "reason": "larger than max-size (2KB)",
              "rule": null,
              "size": 3000,
              "subject": "Message 4",
              "uid": "big"
            }
          ],
          "warning": null
        }
      ],
      "problems": []
    }
    "#);
    desk.fetch(65);
    assert_snapshot!(transcripts(&desk, 0, plans), @r#"
    $ pouch plan
    work: 4 messages on the server, 4 known
      keep       1             the next is due on 2026-12-23
      leave      1             quarantined; next try 2026-11-24
      leave      1             skipped (`pouch ledger list --state skipped`)
      leave      1    3.0 KB   larger than max-size (2KB)
    $ pouch plan -v
    work: 4 messages on the server, 4 known
      keep       1             the next is due on 2026-12-23
      leave      1             quarantined; next try 2026-11-24
      leave      1             skipped (`pouch ledger list --state skipped`)
      leave      1    3.0 KB   larger than max-size (2KB)
      message      1     363 B   keep: the next is due on 2026-12-23
          from Ben, subject: Message 1
      message      2     401 B   leave: quarantined; next try 2026-11-24
          from Ben, subject: Message 2
      message      3     439 B   leave: skipped (`pouch ledger list --state skipped`)
          from Ben, subject: Message 3
      message      4    3.0 KB   leave: larger than max-size (2KB)
          from Ben, subject: Message 4
    $ pouch plan --json
    {
      "accounts": [
        {
          "account": "work",
          "known": 4,
          "listed": 4,
          "messages": [
            {
              "action": "keep",
              "also": [],
              "destination": null,
              "from": "Ben",
              "message": 1,
              "reason": "the next is due on 2026-12-23",
              "rule": null,
              "size": 363,
              "subject": "Message 1",
              "uid": "uid-1"
            },
            {
              "action": "leave",
              "also": [],
              "destination": null,
              "from": "Ben",
              "message": 2,
              "reason": "quarantined; next try 2026-11-24",
              "rule": null,
              "size": 401,
              "subject": "Message 2",
              "uid": "uid-2"
            },
            {
              "action": "leave",
              "also": [],
              "destination": null,
              "from": "Ben",
              "message": 3,
              "reason": "skipped (`pouch ledger list --state skipped`)",
              "rule": null,
              "size": 439,
              "subject": "Message 3",
              "uid": "uid-3"
            },
            {
              "action": "leave",
              "also": [],
              "destination": null,
              "from": "Ben",
              "message": 4,
              "reason": "larger than max-size (2KB)",
              "rule": null,
              "size": 3000,
              "subject": "Message 4",
              "uid": "big"
            }
          ],
          "warning": null
        }
      ],
      "problems": []
    }
    "#);
    assert_snapshot!(transcripts(&desk, 31, plans), @r#"
    $ pouch plan
    work: 4 messages on the server, 4 known
      fetch      1     401 B   new; kept until 2027-01-23
      delete     1             fetched more than 30d ago
      leave      1    3.0 KB   larger than max-size (2KB)
      leave      1             skipped (`pouch ledger list --state skipped`)
    $ pouch plan -v
    work: 4 messages on the server, 4 known
      fetch      1     401 B   new; kept until 2027-01-23
      delete     1             fetched more than 30d ago
      leave      1    3.0 KB   larger than max-size (2KB)
      leave      1             skipped (`pouch ledger list --state skipped`)
      message      2     401 B   fetch to ~/Mail/work: new; kept until 2027-01-23
          from Ben, subject: Message 2
      message      4    3.0 KB   leave: larger than max-size (2KB)
          from Ben, subject: Message 4
      message      1     363 B   delete: fetched more than 30d ago
          from Ben, subject: Message 1
      message      3     439 B   leave: skipped (`pouch ledger list --state skipped`)
          from Ben, subject: Message 3
    $ pouch plan --json
    {
      "accounts": [
        {
          "account": "work",
          "known": 4,
          "listed": 4,
          "messages": [
            {
              "action": "fetch",
              "also": [],
              "destination": "~/Mail/work",
              "from": "Ben",
              "message": 2,
              "reason": "new; kept until 2027-01-23",
              "rule": null,
              "size": 401,
              "subject": "Message 2",
              "uid": "uid-2"
            },
            {
              "action": "leave",
              "also": [],
              "destination": null,
              "from": "Ben",
              "message": 4,
              "reason": "larger than max-size (2KB)",
              "rule": null,
              "size": 3000,
              "subject": "Message 4",
              "uid": "big"
            },
            {
              "action": "delete",
              "also": [],
              "destination": null,
              "from": "Ben",
              "message": 1,
              "reason": "fetched more than 30d ago",
              "rule": null,
              "size": 363,
              "subject": "Message 1",
              "uid": "uid-1"
            },
            {
              "action": "leave",
              "also": [],
              "destination": null,
              "from": "Ben",
              "message": 3,
              "reason": "skipped (`pouch ledger list --state skipped`)",
              "rule": null,
              "size": 439,
              "subject": "Message 3",
              "uid": "uid-3"
            }
          ],
          "warning": null
        }
      ],
      "problems": []
    }
    "#);
}

#[test]
fn plan_with_a_warning() {
    let desk = Desk::with(12, "", |server| server);
    desk.fetch(0);
    desk.server.renew_uids();
    assert_snapshot!(desk.pouch(&["plan"]).run().assert_code(0).transcript(), @"
    $ pouch plan
    work: 12 messages on the server, 12 known
      keep      12             fetched before
    ------- stderr -------
    pouch: work: the server has given its messages new UIDs
      12 messages recognised by their headers; not fetching them again
    ");
}

#[test]
fn status_over_time() {
    let status: &[&[&str]] = &[&["status"], &["status", "-v"], &["status", "--json"]];
    let desk = mixed("");
    assert_snapshot!(transcripts(&desk, 0, status), @r#"
    $ pouch status
    work   never run
    $ pouch status -v
    work   never run
    $ pouch status --json
    {
      "accounts": [
        {
          "account": "work",
          "failing": null,
          "last_run": null,
          "last_success": null,
          "messages": {},
          "needs_action": false,
          "needs_sign_in": false,
          "problem_since": null,
          "running": false,
          "runs": [],
          "totals": {
            "bytes": 0,
            "deleted": 0,
            "delivered": 0,
            "failed": 0,
            "failed_runs": 0,
            "runs": 0,
            "seconds": 0,
            "skipped": 0
          }
        }
      ],
      "problems": []
    }
    "#);
    desk.fetch(65);
    assert_snapshot!(transcripts(&desk, 0, status), @r#"
    $ pouch status
    work   last run 2026-11-23 00:00, 2 new, 802 B, 1 message failed; 1 waiting; 1 quarantined (`pouch ledger list work`)
    [exit code: 1]
    $ pouch status -v
    work   last run 2026-11-23 00:00, 2 new, 802 B, 1 message failed; 1 waiting; 1 quarantined (`pouch ledger list work`)
           2026-11-23 00:00   2 new, 802 B, 1 message failed
    [exit code: 1]
    $ pouch status --json
    {
      "accounts": [
        {
          "account": "work",
          "failing": null,
          "last_run": 1795392000,
          "last_success": 1795392000,
          "messages": {
            "delivered": 2,
            "new": 1,
            "quarantined": 1
          },
          "needs_action": true,
          "needs_sign_in": false,
          "problem_since": null,
          "running": false,
          "runs": [
            {
              "bytes": 802,
              "deleted": 0,
              "delivered": 2,
              "ended": 1795392000,
              "exit": 65,
              "failed": 1,
              "problem": null,
              "skipped": 0,
              "started": 1795392000
            }
          ],
          "totals": {
            "bytes": 802,
            "deleted": 0,
            "delivered": 2,
            "failed": 1,
            "failed_runs": 0,
            "runs": 1,
            "seconds": 0,
            "skipped": 0
          }
        }
      ],
      "problems": []
    }
    [exit code: 1]
    "#);
    desk.server.heal_all();
    desk.server.fault(on("AUTH").refuse("-ERR [IN-USE] locked"));
    desk.fetch_at(1, 75);
    assert_snapshot!(transcripts(&desk, 2, status), @r#"
    $ pouch status
    work   failing since 2026-11-24 00:00: the mailbox is in use by another session; last run 2026-11-24 00:00; 1 waiting; 1 quarantined (`pouch ledger list work`)
    [exit code: 1]
    $ pouch status -v
    work   failing since 2026-11-24 00:00: the mailbox is in use by another session; last run 2026-11-24 00:00; 1 waiting; 1 quarantined (`pouch ledger list work`)
           2026-11-24 00:00   the mailbox is in use by another session
           2026-11-23 00:00   2 new, 802 B, 1 message failed
    [exit code: 1]
    $ pouch status --json
    {
      "accounts": [
        {
          "account": "work",
          "failing": "the mailbox is in use by another session",
          "last_run": 1795478400,
          "last_success": 1795392000,
          "messages": {
            "delivered": 2,
            "new": 1,
            "quarantined": 1
          },
          "needs_action": true,
          "needs_sign_in": false,
          "problem_since": 1795478400,
          "running": false,
          "runs": [
            {
              "bytes": 0,
              "deleted": 0,
              "delivered": 0,
              "ended": 1795478400,
              "exit": 75,
              "failed": 0,
              "problem": "the mailbox is in use by another session",
              "skipped": 0,
              "started": 1795478400
            },
            {
              "bytes": 802,
              "deleted": 0,
              "delivered": 2,
              "ended": 1795392000,
              "exit": 65,
              "failed": 1,
              "problem": null,
              "skipped": 0,
              "started": 1795392000
            }
          ],
          "totals": {
            "bytes": 802,
            "deleted": 0,
            "delivered": 2,
            "failed": 1,
            "failed_runs": 1,
            "runs": 2,
            "seconds": 0,
            "skipped": 0
          }
        }
      ],
      "problems": []
    }
    [exit code: 1]
    "#);
}

#[test]
fn check_of_a_good_account() {
    let desk = Desk::with(3, "", |server| server);
    assert_snapshot!(transcripts(&desk, 0, &[&["check"], &["check", "--json"]]), @r#"
    $ pouch check
      ledger   ok    ~/.local/state/pouch
      secret   ok    ~/password, N s
      connect  ok    127.0.0.1:PORT (127.0.0.1), N ms
      login    ok    PLAIN
      server   ok    UIDL TOP PIPELINING; 3 messages
      deliver  ok    ~/Mail/work, will be created
      sandbox  (as the kernel allows)
    $ pouch check --json
    {
      "accounts": [
        {
          "account": "work",
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
              "what": "UIDL TOP PIPELINING; 3 messages"
            },
            {
              "step": "deliver",
              "what": "~/Mail/work, will be created"
            }
          ],
          "warnings": []
        }
      ],
      "problems": [],
      "sandbox": {
        "in_force": (as the kernel allows)
      }
    }
    "#);
    desk.fetch(0);
    assert_snapshot!(desk.pouch(&["check"]).run().assert_code(0).transcript(), @"
    $ pouch check
      ledger   ok    ~/.local/state/pouch
      secret   ok    ~/password, N s
      connect  ok    127.0.0.1:PORT (127.0.0.1), N ms
      login    ok    PLAIN
      server   ok    UIDL TOP PIPELINING; 3 messages
      deliver  ok    ~/Mail/work, writable, N free
      sandbox  (as the kernel allows)
    ");
}

#[test]
fn check_of_a_wrong_password() {
    let desk = Desk::with(3, "", |server| server);
    desk.home.write("password", "wrong\n", 0o600);
    assert_snapshot!(transcripts(&desk, 0, &[&["check"], &["check", "--json"]]), @r#"
    $ pouch check
      ledger   ok    ~/.local/state/pouch
      secret   ok    ~/password, N s
      connect  ok    127.0.0.1:PORT (127.0.0.1), N ms
      login    failed
      sandbox  (as the kernel allows)
    ------- stderr -------
    pouch: work: 127.0.0.1 rejected the password
      127.0.0.1 said: -ERR [AUTH] invalid user or password
    hint: check the password in ~/password, then run `pouch check work`
    [exit code: 77]
    $ pouch check --json
    {
      "accounts": [
        {
          "account": "work",
          "failed": "login",
          "problem": {
            "exit": 77,
            "facts": [
              "127.0.0.1 said: -ERR [AUTH] invalid user or password"
            ],
            "hint": "check the password in ~/password, then run `pouch check work`",
            "what": "127.0.0.1 rejected the password"
          },
          "problems": [
            {
              "problem": {
                "exit": 77,
                "facts": [
                  "127.0.0.1 said: -ERR [AUTH] invalid user or password"
                ],
                "hint": "check the password in ~/password, then run `pouch check work`",
                "what": "127.0.0.1 rejected the password"
              },
              "step": "login"
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
            }
          ],
          "warnings": []
        }
      ],
      "problems": [],
      "sandbox": {
        "in_force": (as the kernel allows)
      }
    }
    [exit code: 77]
    "#);
}

#[test]
fn check_of_a_server_without_extensions() {
    let desk = Desk::with(3, "", |server| server.without("CAPA"));
    assert_snapshot!(desk.pouch(&["check"]).run().assert_code(0).transcript(), @"
    $ pouch check
      ledger   ok    ~/.local/state/pouch
      secret   ok    ~/password, N s
      connect  ok    127.0.0.1:PORT (127.0.0.1), N ms
      login    ok    USER
      server   ok    no capabilities announced (no CAPA); 3 messages
      deliver  ok    ~/Mail/work, will be created
      sandbox  (as the kernel allows)
    ");
}

#[test]
fn ledger_list() {
    let desk = mixed("");
    desk.fetch(65);
    let lists: &[&[&str]] = &[
        &["ledger", "list"],
        &["ledger", "list", "--all"],
        &["ledger", "list", "--state", "delivered"],
        &["ledger", "list", "--all", "--json"],
    ];
    assert_snapshot!(transcripts(&desk, 0, lists), @r#"
    $ pouch ledger list
    work
     message state            size   first seen         what
           2 quarantined     401 B   2026-11-23 00:00   Message 2: 127.0.0.1 refused to send message 2; 127.0.0.1 said: -ERR no
           4 new            3.0 KB   2026-11-23 00:00   UID big
    $ pouch ledger list --all
    work
     message state            size   first seen         what
           1 delivered       363 B   2026-11-23 00:00   UID uid-1
           2 quarantined     401 B   2026-11-23 00:00   Message 2: 127.0.0.1 refused to send message 2; 127.0.0.1 said: -ERR no
           3 delivered       439 B   2026-11-23 00:00   UID uid-3
           4 new            3.0 KB   2026-11-23 00:00   UID big
    $ pouch ledger list --state delivered
    work
     message state            size   first seen         what
           1 delivered       363 B   2026-11-23 00:00   UID uid-1
           3 delivered       439 B   2026-11-23 00:00   UID uid-3
    $ pouch ledger list --all --json
    {
      "accounts": [
        {
          "account": "work",
          "messages": [
            {
              "adopted": false,
              "attempts": 0,
              "bytes_received": 363,
              "delete_requested": false,
              "delivered_at": 1795392000,
              "file": "1795392000.R1L-LEDGER.HOST",
              "first_seen": 1795392000,
              "from": null,
              "imported_from": null,
              "message": 1,
              "missing_since": null,
              "reason": null,
              "retry_after": null,
              "size": 363,
              "state": "delivered",
              "subject": null,
              "uid": "uid-1"
            },
            {
              "adopted": false,
              "attempts": 1,
              "bytes_received": null,
              "delete_requested": false,
              "delivered_at": null,
              "file": null,
              "first_seen": 1795392000,
              "from": "Ben",
              "imported_from": null,
              "message": 2,
              "missing_since": null,
              "reason": "127.0.0.1 refused to send message 2; 127.0.0.1 said: -ERR no",
              "retry_after": 1795478400,
              "size": 401,
              "state": "quarantined",
              "subject": "Message 2",
              "uid": "uid-2"
            },
            {
              "adopted": false,
              "attempts": 0,
              "bytes_received": 439,
              "delete_requested": false,
              "delivered_at": 1795392000,
              "file": "1795392000.R3L-LEDGER.HOST",
              "first_seen": 1795392000,
              "from": null,
              "imported_from": null,
              "message": 3,
              "missing_since": null,
              "reason": null,
              "retry_after": null,
              "size": 439,
              "state": "delivered",
              "subject": null,
              "uid": "uid-3"
            },
            {
              "adopted": false,
              "attempts": 0,
              "bytes_received": null,
              "delete_requested": false,
              "delivered_at": null,
              "file": null,
              "first_seen": 1795392000,
              "from": null,
              "imported_from": null,
              "message": 4,
              "missing_since": null,
              "reason": null,
              "retry_after": null,
              "size": 3000,
              "state": "new",
              "subject": null,
              "uid": "big"
            }
          ]
        }
      ],
      "problems": []
    }
    "#);
}

#[test]
fn ledger_list_with_pending_deletions_and_missing_messages() {
    let desk = mixed("");
    desk.fetch(65);
    desk.pouch(&["ledger", "delete", "work", "1", "2"]).run();
    desk.server.remove("uid-2");
    desk.server.remove("big");
    desk.server.fault(on("DELE").refuse("-ERR locked"));
    desk.fetch_at(1, 75);
    let lists: &[&[&str]] = &[&["ledger", "list"], &["ledger", "list", "--all"]];
    assert_snapshot!(transcripts(&desk, 1, lists), @"
    $ pouch ledger list
    work
     message state            size   first seen         what
           1 delivered       363 B   2026-11-23 00:00   will be deleted from the server
           2 quarantined     401 B   2026-11-23 00:00   Message 2: 127.0.0.1 refused to send message 2; 127.0.0.1 said: -ERR no; not on the server since 2026-11-24 00:00
           4 new            3.0 KB   2026-11-23 00:00   not on the server since 2026-11-24 00:00
    $ pouch ledger list --all
    work
     message state            size   first seen         what
           1 delivered       363 B   2026-11-23 00:00   will be deleted from the server
           2 quarantined     401 B   2026-11-23 00:00   Message 2: 127.0.0.1 refused to send message 2; 127.0.0.1 said: -ERR no; not on the server since 2026-11-24 00:00
           3 delivered       439 B   2026-11-23 00:00   UID uid-3
           4 new            3.0 KB   2026-11-23 00:00   not on the server since 2026-11-24 00:00
    ");
}

/// Returns the paths of all files and directories in `dir`.
fn files(dir: &Path) -> BTreeSet<PathBuf> {
    let paths = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let with_content = |path: PathBuf| {
        let content = if path.is_dir() {
            files(&path)
        } else {
            BTreeSet::new()
        };
        content.into_iter().chain([path])
    };
    paths.flat_map(with_content).collect()
}

#[test]
fn reading_commands_create_no_files() {
    let desk = Desk::with(1, "", |server| server);
    let reading: &[&[&str]] = &[
        &["status"],
        &["plan", "-n"],
        &["ledger", "list"],
        &["ledger", "show", "work", "all"],
        &["ledger", "verify"],
        &["config", "show"],
    ];
    let before = files(desk.home.path());
    for command in reading {
        desk.pouch(command).run().assert_code(0);
        assert_eq!(files(desk.home.path()), before, "{command:?}");
    }
}

#[test]
fn ledger_show() {
    let desk = mixed("");
    desk.fetch(65);
    let shows: &[&[&str]] = &[
        &["ledger", "show", "work", "1"],
        &["ledger", "show", "work", "2"],
        &["ledger", "show", "work", "2", "--json"],
        &["ledger", "show", "work", "9"],
        &["ledger", "show", "home", "1"],
    ];
    assert_snapshot!(transcripts(&desk, 0, shows), @r#"
    $ pouch ledger show work 1
    message           1
    UID               uid-1
    state             delivered
    listed size       363 bytes
    received          363 bytes
    first seen        2026-11-23 00:00
    delivered         2026-11-23 00:00
    file              1795392000.R1L-LEDGER.HOST
    $ pouch ledger show work 2
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
    $ pouch ledger show work 2 --json
    {
      "adopted": false,
      "attempts": 1,
      "bytes_received": null,
      "delete_requested": false,
      "delivered_at": null,
      "file": null,
      "first_seen": 1795392000,
      "from": "Ben",
      "imported_from": null,
      "message": 2,
      "missing_since": null,
      "reason": "127.0.0.1 refused to send message 2; 127.0.0.1 said: -ERR no",
      "retry_after": 1795478400,
      "size": 401,
      "state": "quarantined",
      "subject": "Message 2",
      "uid": "uid-2"
    }
    $ pouch ledger show work 9
    ------- stderr -------
    pouch: there is no message 9 in the ledger
    hint: run `pouch ledger list --all` to see the numbers
    [exit code: 64]
    $ pouch ledger show home 1
    ------- stderr -------
    pouch: there is no account `home` in ~/.config/pouch/config.toml
    hint: the only account is work
    [exit code: 64]
    "#);
}

#[test]
fn ledger_changes() {
    let desk = mixed("");
    desk.fetch(65);
    let changes: &[&[&str]] = &[
        &["ledger", "retry", "work"],
        &["ledger", "retry", "work", "9"],
        &["ledger", "delete", "work", "1"],
        &["ledger", "delete", "work", "1", "--json"],
        &["ledger", "forget", "work", "3"],
        &["ledger", "forget", "work"],
        &["ledger", "catchup", "work"],
        &["ledger", "catchup", "work", "--json"],
    ];
    assert_snapshot!(transcripts(&desk, 0, changes), @r#"
    $ pouch ledger retry work
    work: 1 message will be fetched in the next run
    $ pouch ledger retry work 9
    ------- stderr -------
    pouch: there is no message 9 in the ledger
    hint: run `pouch ledger list --all` to see the numbers
    [exit code: 64]
    $ pouch ledger delete work 1
    work: 1 message will be deleted from the server in the next run
    $ pouch ledger delete work 1 --json
    {
      "account": "work",
      "changed": 1
    }
    $ pouch ledger forget work 3
    work: 1 message forgotten
    $ pouch ledger forget work
    ------- stderr -------
    error: the following required arguments were not provided:
      <MESSAGE>...

    Usage: pouch ledger forget <ACCOUNT> <MESSAGE>...

    For more information, try '--help'.
    [exit code: 64]
    $ pouch ledger catchup work
    work: 3 messages skipped
    $ pouch ledger catchup work --json
    {
      "account": "work",
      "changed": 0,
      "left": 0,
      "undated": 0
    }
    "#);
}

#[test]
fn ledger_verify() {
    let desk = Desk::with(3, "", |server| server);
    desk.fetch(0);
    let verify: &[&[&str]] = &[&["ledger", "verify"], &["ledger", "verify", "--json"]];
    assert_snapshot!(transcripts(&desk, 0, verify), @r#"
    $ pouch ledger verify
    work: 3 messages delivered, 3 of them in ~/Mail/work
    $ pouch ledger verify --json
    {
      "accounts": [
        {
          "account": "work",
          "delivered": 3,
          "in_maildir": 3
        }
      ],
      "problems": []
    }
    "#);
    let first = desk.mail().delivered()[0].name.clone();
    fs::remove_file(desk.home.join("Mail/work/new").join(first)).unwrap();
    assert_snapshot!(transcripts(&desk, 0, verify), @r#"
    $ pouch ledger verify
    work: 3 messages delivered, 2 of them in ~/Mail/work
    $ pouch ledger verify --json
    {
      "accounts": [
        {
          "account": "work",
          "delivered": 3,
          "in_maildir": 2
        }
      ],
      "problems": []
    }
    "#);
}

#[test]
fn notice_about_a_quarantined_message() {
    let desk = mixed("");
    desk.fetch(65);
    let notices = desk.notices();
    assert_eq!(notices.len(), 1);
    let notice = String::from_utf8_lossy(&notices[0]);
    let boundary = notice.split('"').find(|word| word.contains('_')).unwrap();
    assert_snapshot!(redact(&notice.replace(boundary, "BOUNDARY")), @r#"
    From: "pouch" <pouch@HOST>
    To: <work@HOST>
    Subject: pouch: a message could not be fetched: Message 2
    Date: Mon, 23 Nov 2026 00:00:00 +0000
    Message-ID: <pouch.1795392000.1@HOST>
    Auto-Submitted: auto-generated
    MIME-Version: 1.0
    Content-Type: multipart/mixed; 
    	boundary="BOUNDARY"


    --BOUNDARY
    Content-Type: text/plain; charset="utf-8"
    Content-Transfer-Encoding: 7bit

    A message in the mailbox at 127.0.0.1 could not be fetched.
    It remains on the server. Other messages are not affected.

    Message:  2
    From:     Ben
    Subject:  Message 2
    Date:     Mon, 23 Nov 2026 00:00:02 +0000
    Size:     401 B
    Received: 253 B, attached as message-2.eml
    Attempts: 1
    Reason:   127.0.0.1 refused to send message 2; 127.0.0.1 said: -ERR no

    pouch will retry it on 2026-11-24, and then at longer intervals.
    These commands act at once:

    pouch ledger show work 2     show what is known about a message
    pouch ledger retry work 2    try again in the next run
    pouch ledger delete work 2   delete it from the server, unread

    --BOUNDARY
    Content-Type: application/octet-stream
    Content-Disposition: attachment; filename="message-2.eml"
    Content-Transfer-Encoding: base64

    UmV0dXJuLVBhdGg6IDxiZW5AZXhhbXBsZS5vcmc+ClJlY2VpdmVkOiBmcm9tIG14LmV4YW1wbGUu
    b3JnIGJ5IHBvcC5leGFtcGxlLm9yZzsgTW9uLCAyMyBOb3YgMjAyNiAwMDowMDowMiArMDAwMApG
    cm9tOiBCZW4gPGJlbkBleGFtcGxlLm9yZz4KVG86IEFubiA8YW5uQGV4YW1wbGUub3JnPgpTdWJq
    ZWN0OiBNZXNzYWdlIDIKTWVzc2FnZS1JRDogPDJAZXhhbXBsZS5vcmc+CkRhdGU6IE1vbiwgMjMg
    Tm92IDIwMjYgMDA6MDA6MDIgKzAwMDAKCg==

    --BOUNDARY--
    "#);
}

#[test]
fn config_show_and_path() {
    let desk = Desk::with(0, "keep = \"30d\"", |server| server);
    let commands: &[&[&str]] = &[
        &["config", "path"],
        &["config", "path", "--json"],
        &["config", "show"],
        &["config", "show", "--json"],
        &["config", "show", "home"],
    ];
    assert_snapshot!(transcripts(&desk, 0, commands), @r#"
    $ pouch config path
    HOME/.config/pouch/config.toml
    $ pouch config path --json
    {
      "conf_d": "HOME/.config/pouch/conf.d",
      "path": "HOME/.config/pouch/config.toml"
    }
    $ pouch config show
    [account.work]
    host                     = "127.0.0.1"     # ~/.config/pouch/config.toml:2
    port                     = PORT            # ~/.config/pouch/config.toml:3
    tls                      = "off"           # ~/.config/pouch/config.toml:6
    tls-server-name          = unset           # default
    tls-ca-file              = unset           # default
    tls-pin                  = unset           # default
    tls-client-cert          = unset           # default
    tls-client-key           = unset           # default
    allow-plaintext-password = true            # ~/.config/pouch/config.toml:7
    proxy                    = unset           # default
    proxy-password-command   = unset           # default
    connect-command          = unset           # default
    before                   = unset           # default
    timeout                  = "1s"            # ~/.config/pouch/config.toml:8
    connect-timeout          = "20s"           # default
    retries                  = 2               # default
    jobs-per-host            = 1               # default
    request-ahead            = "auto"          # default
    user                     = "ann"           # ~/.config/pouch/config.toml:4
    mailbox                  = unset           # default
    auth                     = "auto"          # default
    password-command         = unset           # default
    token-command            = unset           # default
    password-command-timeout = "1m"            # default
    password-file            = "~/password"    # ~/.config/pouch/config.toml:5
    password-credential      = unset           # default
    oauth                    = unset           # default
    maildir                  = "~/Mail/work"   # ~/.config/pouch/config.toml:9
    mbox                     = unset           # default
    pipe                     = unset           # default
    lmtp                     = unset           # default
    lmtp-recipients          = unset           # default
    deliver-as               = unset           # default
    pipe-timeout             = "10m"           # default
    filter                   = []              # default
    add-headers              = []              # default
    after                    = unset           # default
    alert                    = unset           # default
    keep                     = "30d"           # ~/.config/pouch/config.toml:10
    keep-newest              = unset           # default
    keep-total               = unset           # default
    sync-deletions           = false           # default
    max-size                 = unset           # default
    limit                    = 0               # default
    attempts                 = 3               # default
    notice                   = true            # default
    quirks                   = []              # default
    enabled                  = true            # default
    allow-delete-unread      = false           # default
    $ pouch config show --json
    {
      "accounts": [
        {
          "account": "work",
          "rules": [],
          "settings": {
            "add-headers": {
              "source": "default",
              "value": []
            },
            "after": {
              "source": "default",
              "value": null
            },
            "alert": {
              "source": "default",
              "value": null
            },
            "allow-delete-unread": {
              "source": "default",
              "value": false
            },
            "allow-plaintext-password": {
              "source": "~/.config/pouch/config.toml:7",
              "value": true
            },
            "attempts": {
              "source": "default",
              "value": 3
            },
            "auth": {
              "source": "default",
              "value": "auto"
            },
            "before": {
              "source": "default",
              "value": null
            },
            "connect-command": {
              "source": "default",
              "value": null
            },
            "connect-timeout": {
              "source": "default",
              "value": "20s"
            },
            "deliver-as": {
              "source": "default",
              "value": null
            },
            "enabled": {
              "source": "default",
              "value": true
            },
            "filter": {
              "source": "default",
              "value": []
            },
            "host": {
              "source": "~/.config/pouch/config.toml:2",
              "value": "127.0.0.1"
            },
            "jobs-per-host": {
              "source": "default",
              "value": 1
            },
            "keep": {
              "source": "~/.config/pouch/config.toml:10",
              "value": "30d"
            },
            "keep-newest": {
              "source": "default",
              "value": null
            },
            "keep-total": {
              "source": "default",
              "value": null
            },
            "limit": {
              "source": "default",
              "value": 0
            },
            "lmtp": {
              "source": "default",
              "value": null
            },
            "lmtp-recipients": {
              "source": "default",
              "value": null
            },
            "mailbox": {
              "source": "default",
              "value": null
            },
            "maildir": {
              "source": "~/.config/pouch/config.toml:9",
              "value": "~/Mail/work"
            },
            "max-size": {
              "source": "default",
              "value": null
            },
            "mbox": {
              "source": "default",
              "value": null
            },
            "notice": {
              "source": "default",
              "value": true
            },
            "oauth": {
              "source": "default",
              "value": null
            },
            "password-command": {
              "source": "default",
              "value": null
            },
            "password-command-timeout": {
              "source": "default",
              "value": "1m"
            },
            "password-credential": {
              "source": "default",
              "value": null
            },
            "password-file": {
              "source": "~/.config/pouch/config.toml:5",
              "value": "~/password"
            },
            "pipe": {
              "source": "default",
              "value": null
            },
            "pipe-timeout": {
              "source": "default",
              "value": "10m"
            },
            "port": {
              "source": "~/.config/pouch/config.toml:3",
              "value": PORT
            },
            "proxy": {
              "source": "default",
              "value": null
            },
            "proxy-password-command": {
              "source": "default",
              "value": null
            },
            "quirks": {
              "source": "default",
              "value": []
            },
            "request-ahead": {
              "source": "default",
              "value": "auto"
            },
            "retries": {
              "source": "default",
              "value": 2
            },
            "sync-deletions": {
              "source": "default",
              "value": false
            },
            "timeout": {
              "source": "~/.config/pouch/config.toml:8",
              "value": "1s"
            },
            "tls": {
              "source": "~/.config/pouch/config.toml:6",
              "value": "off"
            },
            "tls-ca-file": {
              "source": "default",
              "value": null
            },
            "tls-client-cert": {
              "source": "default",
              "value": null
            },
            "tls-client-key": {
              "source": "default",
              "value": null
            },
            "tls-pin": {
              "source": "default",
              "value": null
            },
            "tls-server-name": {
              "source": "default",
              "value": null
            },
            "token-command": {
              "source": "default",
              "value": null
            },
            "user": {
              "source": "~/.config/pouch/config.toml:4",
              "value": "ann"
            }
          }
        }
      ],
      "problems": []
    }
    $ pouch config show home
    ------- stderr -------
    pouch: there is no account `home` in ~/.config/pouch/config.toml
    hint: the only account is work
    [exit code: 64]
    "#);
}

#[test]
fn completions() {
    let home = Home::new();
    let mut shown = String::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = home.pouch(&["completions", shell]).run();
        shown.push_str(&output.assert_code(0).transcript());
    }
    assert_snapshot!(shown, @"
    $ pouch completions bash
    source <(COMPLETE=bash pouch)
    $ pouch completions zsh
    source <(COMPLETE=zsh pouch)
    $ pouch completions fish
    COMPLETE=fish pouch | source
    ");
}

#[test]
fn command_line_errors() {
    let desk = Desk::with(0, "", |server| server);
    let errors: &[&[&str]] = &[
        &["nonsense"],
        &["fetch", "--no-such-flag"],
        &["fetch", "--every"],
        &["fetch", "--every", "0s"],
        &["fetch", "--every", "soon"],
        &["fetch", "--dry-run", "--every", "1m"],
        &["fetch", "--max-size", "large"],
        &["fetch", "--wait", "-1s"],
        &["fetch", "--color", "blue"],
        &["fetch", "home"],
        &["fetch", "pop3://ann@localhost"],
        &["fetch", "pops://ann@localhost"],
        &["fetch", "pops://ann:secret@localhost", "--to", "Box"],
        &["plan", "home"],
        &["config"],
        &["ledger"],
        &["ledger", "list", "--all", "--state", "new"],
        &["ledger", "catchup"],
        &["completions", "csh"],
        &["status", "--config", "none.toml"],
    ];
    let mut shown = String::new();
    for args in errors {
        let output = desk.pouch(args).env("COLUMNS", "80").run();
        assert_ne!(output.code, 0, "{output}");
        shown.push_str(&output.transcript());
    }
    assert_snapshot!(shown, @"
    $ pouch nonsense
    ------- stderr -------
    error: unrecognized subcommand 'nonsense'

    Usage: pouch [OPTIONS] [COMMAND]

    For more information, try '--help'.
    hint: if `nonsense` is an account, `pouch fetch nonsense` fetches it
    [exit code: 64]
    $ pouch fetch --no-such-flag
    ------- stderr -------
    error: unexpected argument '--no-such-flag' found

      tip: to pass '--no-such-flag' as a value, use '-- --no-such-flag'

    Usage: pouch fetch [OPTIONS] [ACCOUNT]...

    For more information, try '--help'.
    [exit code: 64]
    $ pouch fetch --every
    ------- stderr -------
    error: a value is required for '--every <TIME>' but none was supplied

    For more information, try '--help'.
    [exit code: 64]
    $ pouch fetch --every 0s
    ------- stderr -------
    error: invalid value '0s' for '--every <TIME>': it must be greater than zero

    For more information, try '--help'.
    [exit code: 64]
    $ pouch fetch --every soon
    ------- stderr -------
    error: invalid value 'soon' for '--every <TIME>': `soon` is not a valid duration; write it like 30s, 5m, 12h, 30d or 8w

    For more information, try '--help'.
    [exit code: 64]
    $ pouch fetch --dry-run --every 1m
    ------- stderr -------
    error: the argument '--dry-run' cannot be used with '--every <TIME>'

    Usage: pouch fetch --dry-run [ACCOUNT]...

    For more information, try '--help'.
    [exit code: 64]
    $ pouch fetch --max-size large
    ------- stderr -------
    error: invalid value 'large' for '--max-size <SIZE>': `large` is not a valid size; write it like 512KB, 25MB or 2GB

    For more information, try '--help'.
    [exit code: 64]
    $ pouch fetch --wait -1s
    ------- stderr -------
    error: invalid value '-1s' for '--wait <TIME>': `-1s` is not a valid duration; write it like 30s, 5m, 12h, 30d or 8w

    For more information, try '--help'.
    [exit code: 64]
    $ pouch fetch --color blue
    ------- stderr -------
    error: invalid value 'blue' for '--color <WHEN>'
      [possible values: auto, always, never]

    For more information, try '--help'.
    [exit code: 64]
    $ pouch fetch home
    ------- stderr -------
    pouch: there is no account `home` in ~/.config/pouch/config.toml
    hint: the only account is work
    [exit code: 64]
    $ pouch fetch pop3://ann@localhost
    ------- stderr -------
    pouch: unsupported URL scheme pop3://
    hint: did you mean pop://?
    [exit code: 64]
    $ pouch fetch pops://ann@localhost
    ------- stderr -------
    pouch: no destination given
    hint: add `--to ~/Mail`, a Maildir that is created if it does not exist
    [exit code: 64]
    $ pouch fetch pops://ann:secret@localhost --to Box
    ------- stderr -------
    pouch: the URL contains a password, which other users of this machine can see
    hint: remove it, and pouch prompts for it; write a `:` in the user name as %3A
    [exit code: 64]
    $ pouch plan home
    ------- stderr -------
    pouch: there is no account `home` in ~/.config/pouch/config.toml
    hint: the only account is work
    [exit code: 64]
    $ pouch config
    ------- stderr -------
    Print the path of the config, its values, or a sample

    Usage: pouch config [OPTIONS] <COMMAND>

    Commands:
      path    Print the path of the config file
      show    Print every value with the file and line that set it
      sample  Print a config with all keys, each explained
      help    Print this message or the help of the given subcommand(s)

    Options:
      -h, --help  Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    [exit code: 64]
    $ pouch ledger
    ------- stderr -------
    Show and change what pouch remembers of each message

    Usage: pouch ledger [OPTIONS] <COMMAND>

    Commands:
      list     List messages; by default, waiting and failed ones, and requested
               deletions
      show     Show everything known about messages
      retry    Fetch failed, skipped or oversized messages in the next run; cancel
               pending deletions
      forget   Forget messages: those still on the server are fetched again
      catchup  Skip all messages that were not delivered yet: neither fetch nor
               delete them
      adopt    Record messages that are already in a Maildir, so that they are not
               fetched
      delete   Delete messages from the server in the next run, delivered or not
      verify   Check the integrity of the ledger, and compare it with the Maildir
      backup   Copy ledgers, also while pouch is fetching
      restore  Restore ledgers from a backup, or from another machine
      export   Write the ledger to a file for another machine, and stop fetching the
               account here
      drop     Delete the ledger of an account: all mail still on the server is
               fetched again
      help     Print this message or the help of the given subcommand(s)

    Options:
      -h, --help  Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    [exit code: 64]
    $ pouch ledger list --all --state new
    ------- stderr -------
    error: the argument '--all' cannot be used with '--state <STATE>'

    Usage: pouch ledger list --all [ACCOUNT]...

    For more information, try '--help'.
    [exit code: 64]
    $ pouch ledger catchup
    ------- stderr -------
    error: the following required arguments were not provided:
      <ACCOUNT>

    Usage: pouch ledger catchup <ACCOUNT>

    For more information, try '--help'.
    [exit code: 64]
    $ pouch completions csh
    ------- stderr -------
    error: invalid value 'csh' for '<SHELL>'
      [possible values: bash, zsh, fish]

      tip: a similar value exists: 'zsh'

    For more information, try '--help'.
    [exit code: 64]
    $ pouch status --config none.toml
    ------- stderr -------
    pouch: there is no config file none.toml
      an account can also be given as a URL, such as pops://ann@pop.example.org
    hint: run `pouch --config none.toml init ADDRESS`, with your mail address
    [exit code: 78]
    ");
}
