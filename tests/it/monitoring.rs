//! What monitoring systems get: `status --json` and `--check`, metrics, log lines and the `alert`
//! command.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use insta::assert_snapshot;
use serde_json::Value;

#[cfg(feature = "system-tests")]
use crate::support::mount::Mounted;
use crate::{
    fixture::Desk,
    server::{corpus, on},
};

/// Returns an account whose server has two messages and refuses the password at first.
fn refused() -> Desk {
    Desk::with(2, "retries = 0", |server| {
        server.fault(on("AUTH").refuse("-ERR [AUTH] no"))
    })
}

/// Sets keys above all tables.
fn set_top(desk: &Desk, lines: &str) {
    let config = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    desk.home.config(&format!("{lines}\n{config}"));
}

/// Adds an account that was never run.
fn add_account(desk: &Desk, name: &str) {
    let config = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    let table = config.split_once("[account.work]").unwrap().1;
    let table = table.replace("user = \"ann\"", &format!("user = \"{name}\""));
    desk.home
        .config(&format!("{config}\n[account.{name}]{table}"));
}

/// Returns the line of a metric of an account.
#[track_caller]
fn sample(text: &str, metric: &str, account: &str) -> String {
    let begin = format!("pouch_account_{metric}{{account=\"{account}\"}} ");
    let line = text.lines().find(|line| line.starts_with(&begin));
    line.expect(metric)[begin.len()..].to_owned()
}

/// Returns the names of all fields in a document, with their types.
fn fields(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                fields(value, &format!("{path}.{key}"), found);
            }
        }
        Value::Array(list) => {
            for value in list {
                fields(value, &format!("{path}[]"), found);
            }
        }
        Value::Null => found.push(format!("{path}: null")),
        Value::Bool(_) => found.push(format!("{path}: boolean")),
        Value::Number(_) => found.push(format!("{path}: number")),
        Value::String(_) => found.push(format!("{path}: string")),
    }
}

#[test]
fn fields_of_status_do_not_change() {
    let desk = Desk::with(3, "attempts = 1", |server| {
        server.fault(on("RETR").uid("uid-2").refuse("-ERR no"))
    });
    desk.fetch(65);
    desk.server.fault(on("AUTH").refuse("-ERR [AUTH] no"));
    desk.fetch_at(1, 77);
    let output = desk.at(1, &["status", "--json", "--check"]).run();
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let mut found = Vec::new();
    fields(&document, "", &mut found);
    found.sort();
    found.dedup();
    assert_snapshot!(found.join("\n"), @"
    .accounts[].account: string
    .accounts[].check: string
    .accounts[].check_age: number
    .accounts[].check_reason: string
    .accounts[].failing: string
    .accounts[].last_run: number
    .accounts[].last_success: number
    .accounts[].messages.delivered: number
    .accounts[].messages.quarantined: number
    .accounts[].needs_action: boolean
    .accounts[].needs_sign_in: boolean
    .accounts[].problem_since: number
    .accounts[].running: boolean
    .accounts[].runs[].bytes: number
    .accounts[].runs[].deleted: number
    .accounts[].runs[].delivered: number
    .accounts[].runs[].ended: number
    .accounts[].runs[].exit: number
    .accounts[].runs[].failed: number
    .accounts[].runs[].problem: null
    .accounts[].runs[].problem: string
    .accounts[].runs[].skipped: number
    .accounts[].runs[].started: number
    .accounts[].totals.bytes: number
    .accounts[].totals.deleted: number
    .accounts[].totals.delivered: number
    .accounts[].totals.failed: number
    .accounts[].totals.failed_runs: number
    .accounts[].totals.runs: number
    .accounts[].totals.seconds: number
    .accounts[].totals.skipped: number
    .check: string
    .limit: number
    ");
}

#[test]
fn totals_are_the_sums_of_all_runs() {
    let desk = Desk::with(2, "", |server| server);
    desk.fetch(0);
    desk.server.add("uid-3", corpus::message(3));
    desk.fetch_at(1, 0);
    desk.server.fault(on("AUTH").refuse("-ERR [AUTH] no"));
    desk.fetch_at(2, 77);
    let output = desk.at(2, &["status", "--json"]).run();
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let account = &document["accounts"][0];
    assert_eq!(account["totals"]["runs"], 3);
    assert_eq!(account["totals"]["failed_runs"], 1);
    assert_eq!(account["totals"]["delivered"], 3);
    assert_eq!(account["last_run"], crate::fixture::NOW + 2 * 86_400);
    assert_eq!(account["last_success"], crate::fixture::NOW + 86_400);
}

#[test]
fn account_without_success_for_a_day_is_critical() {
    let desk = refused();
    let check = |days, code| {
        let output = desk.at(days, &["status", "--check"]).run();
        output.assert_code(code);
        assert_eq!(output.stderr, "");
        output.stdout_text()
    };
    assert_snapshot!(check(0, 1), @"POUCH WARNING - work: never run | oldest_success=U;;86400;0 accounts=1;;;0 critical=0;;;0 warning=1;;;0 unknown=0;;;0");
    desk.fetch_at(0, 77);
    assert_snapshot!(check(0, 1), @"POUCH WARNING - work: failing for 0 s: 127.0.0.1 rejected the password | oldest_success=U;;86400;0 accounts=1;;;0 critical=0;;;0 warning=1;;;0 unknown=0;;;0");
    desk.fetch_at(2, 77);
    assert_snapshot!(check(2, 2), @"POUCH CRITICAL - work: failing for 2 d: 127.0.0.1 rejected the password | oldest_success=U;;86400;0 accounts=1;;;0 critical=1;;;0 warning=0;;;0 unknown=0;;;0");
    desk.server.heal_all();
    desk.fetch_at(3, 0);
    assert_snapshot!(check(3, 0), @"POUCH OK - work: last success 0 s ago | oldest_success=0s;;86400;0 accounts=1;;;0 critical=0;;;0 warning=0;;;0 unknown=0;;;0");
    // cron has stopped
    assert_snapshot!(check(6, 2), @"POUCH CRITICAL - work: no run for 3 d | oldest_success=259200s;;86400;0 accounts=1;;;0 critical=1;;;0 warning=0;;;0 unknown=0;;;0");
}

#[test]
fn limit_of_the_check_is_chosen() {
    let desk = Desk::with(1, "", |server| server);
    desk.fetch(0);
    let check = |args: &[&str], code| {
        let output = desk.at(1, &[&["status"], args].concat()).run();
        output.assert_code(code);
        output.transcript()
    };
    assert_snapshot!(check(&["--check=2d"], 0), @"
    $ pouch status --check=2d
    POUCH OK - work: last success 24 h ago | oldest_success=86400s;;172800;0 accounts=1;;;0 critical=0;;;0 warning=0;;;0 unknown=0;;;0
    ");
    assert_snapshot!(check(&["--check=3h", "-v"], 2), @"
    $ pouch status --check=3h -v
    POUCH CRITICAL - work: no run for 24 h | oldest_success=86400s;;10800;0 accounts=1;;;0 critical=1;;;0 warning=0;;;0 unknown=0;;;0
    work: critical: no run for 24 h
    [exit code: 2]
    ");
    assert_snapshot!(check(&["--check", "-q"], 0), @"$ pouch status --check -q");
    assert_snapshot!(check(&["--check", "3h"], 3), @"
    $ pouch status --check 3h
    POUCH UNKNOWN - there is no account `3h` in ~/.config/pouch/config.toml; use `--check=3h`
    [exit code: 3]
    ");
}

#[test]
fn wrong_command_line_of_a_check_is_unknown() {
    let desk = Desk::with(1, "", |server| server);
    let check = |args: &[&str]| {
        let output = desk.pouch(&[&["status"], args].concat()).run();
        output.assert_code(3);
        output.transcript()
    };
    assert_snapshot!(check(&["--check=0s"]), @"
    $ pouch status --check=0s
    POUCH UNKNOWN - invalid value '0s' for '--check[=<TIME>]': it must be greater than zero
    [exit code: 3]
    ");
    assert_snapshot!(check(&["--check=abc"]), @"
    $ pouch status --check=abc
    POUCH UNKNOWN - invalid value 'abc' for '--check[=<TIME>]': `abc` is not a valid duration; write it like 30s, 5m, 12h, 30d or 8w
    [exit code: 3]
    ");
    assert_snapshot!(check(&["--check="]), @"
    $ pouch status --check=
    POUCH UNKNOWN - invalid value '' for '--check[=<TIME>]': `` is not a valid duration; write it like 30s, 5m, 12h, 30d or 8w
    [exit code: 3]
    ");
    assert_snapshot!(check(&["--check", "--json", "--nosuch"]), @r#"
    $ pouch status --check --json --nosuch
    {
      "check": "unknown",
      "problem": {
        "exit": 64,
        "facts": [],
        "hint": null,
        "what": "unexpected argument '--nosuch' found"
      }
    }
    [exit code: 3]
    "#);
    assert_snapshot!(check(&["--check", "--problems"]), @"
    $ pouch status --check --problems
    POUCH UNKNOWN - the argument '--check[=<TIME>]' cannot be used with '--problems'
    [exit code: 3]
    ");
    assert_snapshot!(check(&["--check=1d", "--check=2d", "-q"]), @"
    $ pouch status --check=1d --check=2d -q
    POUCH UNKNOWN - the argument '--check[=<TIME>]' cannot be used multiple times
    [exit code: 3]
    ");
    // A person asks for help, and other commands have the usual exit status.
    desk.pouch(&["status", "--check", "--help"])
        .run()
        .assert_code(0);
    desk.pouch(&["status", "--chek"]).run().assert_code(64);
    desk.pouch(&["fetch", "--check"]).run().assert_code(64);
}

#[test]
fn check_of_a_broken_config_is_unknown() {
    let desk = Desk::with(1, "kep = \"30d\"", |server| server);
    let output = desk.pouch(&["status", "--check"]).run();
    output.assert_code(3);
    assert_snapshot!(output.transcript(), @"
    $ pouch status --check
    POUCH UNKNOWN - ~/.config/pouch/config.toml:10:1: unknown key `kep`; did you mean `keep`?
    [exit code: 3]
    ");
    let output = desk.pouch(&["status", "--check", "--json"]).run();
    output.assert_code(3);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(document["check"], "unknown");
}

#[test]
fn damaged_ledger_is_unknown() {
    let desk = Desk::with(1, "", |server| server);
    desk.fetch(0);
    fs::write(desk.ledger(), "no database").unwrap();
    let output = desk.pouch(&["status", "--check"]).run();
    output.assert_code(3);
    output.assert_stdout("POUCH UNKNOWN - work: ");
    desk.pouch(&["fetch", "--metrics", "m.prom"]).run();
    let text = String::from_utf8(desk.home.read("m.prom")).unwrap();
    assert_eq!(sample(&text, "ledger_unreadable", "work"), "1");
    assert!(!text.contains("pouch_account_runs_total{"));
}

#[test]
fn metrics_have_all_accounts_after_a_run_of_one() {
    let desk = Desk::with(2, "", |server| server);
    add_account(&desk, "other");
    desk.pouch(&["fetch", "work", "--metrics", "m.prom"])
        .run()
        .assert_code(0)
        .assert_silent();
    let text = String::from_utf8(desk.home.read("m.prom")).unwrap();
    let now = crate::fixture::NOW.to_string();
    assert_eq!(sample(&text, "last_success_timestamp_seconds", "work"), now);
    assert_eq!(sample(&text, "delivered_messages_total", "work"), "2");
    assert_eq!(
        sample(&text, "last_success_timestamp_seconds", "other"),
        "0"
    );
    assert_eq!(sample(&text, "runs_total", "other"), "0");
    assert!(text.contains("\npouch_last_run_exit_code 0\n"));
    let mode = fs::metadata(desk.home.join("m.prom"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o644);
}

#[test]
fn metrics_are_written_when_the_account_fails() {
    let desk = refused();
    set_top(&desk, "metrics = \"~/m.prom\"");
    desk.fetch(77);
    let text = String::from_utf8(desk.home.read("m.prom")).unwrap();
    assert_eq!(sample(&text, "last_run_exit_code", "work"), "77");
    assert_eq!(sample(&text, "failing", "work"), "1");
    assert_eq!(sample(&text, "needs_attention", "work"), "1");
    assert_eq!(sample(&text, "failed_runs_total", "work"), "1");
    assert!(text.contains("\npouch_last_run_exit_code 77\n"));
    desk.server.heal_all();
    desk.fetch_at(1, 0);
    let text = String::from_utf8(desk.home.read("m.prom")).unwrap();
    assert_eq!(sample(&text, "failing", "work"), "0");
    assert_eq!(sample(&text, "runs_total", "work"), "2");
}

#[test]
fn shard_without_accounts_passes_the_check() {
    let desk = Desk::with(0, "", |server| server);
    let code = |shard: &str| {
        let output = desk.pouch(&["status", "--check", "--shard", shard]).run();
        output.code
    };
    // the account was never run
    let mut codes = ["1/3", "2/3", "3/3"].map(code);
    codes.sort_unstable();
    assert_eq!(codes, [0, 0, 1]);
}

#[test]
fn metrics_that_cannot_be_written_are_reported_and_stop_nothing() {
    let desk = Desk::with(2, "", |server| server);
    let fetch = |path: &str| {
        let output = desk.pouch(&["fetch", "--metrics", path]).run();
        format!("{}: {}", output.code, output.stderr_text())
    };
    assert_snapshot!(fetch("missing/m.prom"), @"
    73: pouch: cannot write the metrics to ~/missing/m.prom
      No such file or directory
    hint: create the directory, or name a file in another one
    ");
    desk.assert_arrived([1, 2]);
    assert_snapshot!(fetch("Mail"), @"
    73: pouch: cannot write the metrics to ~/Mail
      it is not a regular file
    ");
    assert_snapshot!(fetch("/dev/full"), @"
    73: pouch: cannot write the metrics to /dev/full
      it is not a regular file
    ");
    assert_snapshot!(fetch("/proc/m.prom"), @"
    73: pouch: cannot write the metrics to /proc/m.prom
      No such file or directory
    ");
    assert_snapshot!(fetch(""), @"
    64: error: a value is required for '--metrics <FILE>' but none was supplied

    For more information, try '--help'.
    ");
    assert_snapshot!(fetch("-"), @"
    64: pouch: `--metrics` writes a file, not standard output
    hint: name a file that ends in .prom
    ");
    desk.home.write("file", "", 0o600);
    assert_snapshot!(fetch("file/m.prom"), @"
    73: pouch: cannot write the metrics to ~/file/m.prom
      Not a directory
    ");
    symlink("nowhere/m.prom", desk.home.join("link")).unwrap();
    assert_snapshot!(fetch("link"), @"
    73: pouch: cannot write the metrics to ~/link
      it is a symbolic link to ~/nowhere/m.prom
      the directory ~/nowhere does not exist
    hint: create that directory, or remove the link
    ");
    let json = desk
        .pouch(&["fetch", "--json", "--metrics", "missing/m.prom"])
        .run();
    json.assert_code(73);
    json.assert_stdout("\"event\":\"notice\"");
    assert_eq!(json.stderr, "");
    desk.pouch(&["fetch", "-qq", "--metrics", "missing/m.prom"])
        .run()
        .assert_code(73)
        .assert_silent();
}

#[cfg(feature = "system-tests")]
#[test]
fn metrics_on_a_full_or_read_only_disk_are_reported() {
    let desk = Desk::with(1, "", |server| server);
    let place = |name: &str| desk.home.make_dir(name, 0o755);
    let fetch = |path: &str, code| {
        let output = desk.pouch(&["fetch", "--metrics", path]).run();
        output.assert_code(code);
        output.stderr_text()
    };
    let _full = Mounted::tmpfs(&desk.home, place("full"), "4k");
    desk.home.write("full/other", "x".repeat(4096), 0o644);
    assert_snapshot!(fetch("full/m.prom", 74), @"
    pouch: cannot write the metrics to ~/full/m.prom
      No space left on device
    hint: free space on that disk; the next run continues where this one stopped
    ");
    let names = fs::read_dir(desk.home.join("full")).unwrap().count();
    assert_eq!(names, 1);
    let _read_only = Mounted::read_only(&desk.home, place("read-only"));
    assert_snapshot!(fetch("read-only/m.prom", 73), @"
    pouch: cannot write the metrics to ~/read-only/m.prom
      Read-only file system
    hint: remount the file system read-write, or choose another directory
    ");
    desk.assert_arrived([1]);
}

#[test]
fn link_to_the_metrics_remains_a_link() {
    let desk = Desk::with(1, "", |server| server);
    desk.home.make_dir("m", 0o755);
    symlink("m/m.prom", desk.home.join("link")).unwrap();
    for _ in 0..2 {
        let fetch = ["fetch", "--metrics", "link"];
        desk.pouch(&fetch).run().assert_code(0).assert_silent();
        assert!(desk.home.join("link").is_symlink());
    }
    let entries = fs::read_dir(desk.home.join("m")).unwrap();
    assert_eq!(entries.count(), 1);
}

#[test]
fn every_round_writes_metrics() {
    let desk = Desk::with(2, "", |server| server);
    let every = ["fetch", "--every", "1s", "--metrics", "m.prom"];
    let mut child = desk.home.pouch(&every).spawn();
    let path = desk.home.join("m.prom");
    let runs = || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        text.contains("pouch_account_runs_total{account=\"work\"} 2\n")
    };
    crate::support::watch::wait_for_change(&[desk.home.path()], runs);
    child.signal(15);
    child.wait().assert_code(143);
}

#[test]
fn log_has_one_line_for_each_delivery() {
    let desk = Desk::with(2, "", |server| {
        server.message(b"x bytes=1 \"\x1b[1m".to_vec(), corpus::message(3))
    });
    let output = desk.pouch(&["fetch", "--log", "journal"]).run();
    output.assert_code(0);
    assert_eq!(output.stdout, "");
    assert_snapshot!(output.stderr_text(), @r#"
    <6>work: stored message=1 uid=uid-1 bytes=363 destination=~/Mail/work file=1795392000.R1L-LEDGER.HOST
    <6>work: stored message=2 uid=uid-2 bytes=401 destination=~/Mail/work file=1795392000.R2L-LEDGER.HOST
    <6>work: stored message=3 uid="x bytes=1 \"�[1m" bytes=439 destination=~/Mail/work file=1795392000.R3L-LEDGER.HOST
    <6>work: done exit=0 delivered=3 bytes=1203 destinations="~/Mail/work 3"
    "#);
    // a run without news
    for format in ["plain", "journal", "json"] {
        desk.pouch(&["fetch", "--log", format])
            .run()
            .assert_silent();
    }
}

#[test]
fn log_of_a_failure_has_its_priority() {
    let desk = refused();
    desk.server.fault(on("RETR").uid("uid-1").refuse("-ERR no"));
    let fetch = |args: &[&str]| {
        let output = desk.pouch(&[&["fetch", "--log"], args].concat()).run();
        output.stderr_text()
    };
    assert_snapshot!(fetch(&["journal"]), @r#"
    <3>work: problem problem="127.0.0.1 rejected the password; 127.0.0.1 said: -ERR [AUTH] no" hint="check the password in ~/password, then run `pouch check work`"
    <6>work: done exit=77
    "#);
    assert_snapshot!(fetch(&["plain", "-q"]), @r#"2026-11-23T00:00:00Z work: problem problem="127.0.0.1 rejected the password; 127.0.0.1 said: -ERR [AUTH] no; refused once; the same password is not tried again before 2026-11-23 00:05" hint="check the password in ~/password, then run `pouch check work`""#);
    assert_snapshot!(fetch(&["plain", "-qq"]), @"");
    assert_snapshot!(fetch(&["plain", "no-such-account"]), @r#"2026-11-23T00:00:00Z problem problem="there is no account `no-such-account` in ~/.config/pouch/config.toml" hint="the only account is work""#);
}

#[test]
fn log_and_json_are_both_written() {
    let desk = Desk::with(1, "", |server| server);
    let output = desk.pouch(&["fetch", "--log", "json", "--json"]).run();
    output.assert_code(0);
    let lines: Vec<_> = output.stderr.lines().collect();
    assert!(lines.iter().all(|line| output.stdout.contains(line)));
    assert!(lines[0].contains("\"event\":\"stored\""));
    assert!(output.stdout.lines().count() > lines.len());
}

/// The command of an account that logs each alert.
const ALERT: &str = "alert = [\"sh\", \"-c\", '''echo \"$POUCH_ACCOUNT $POUCH_STATE \
                     $POUCH_MESSAGE\" >> ~/alerts; test ! -e ~/broken || { echo no >&2; exit 3; }''']";

/// Returns the alerts so far.
fn alerts(desk: &Desk) -> String {
    fs::read_to_string(desk.home.join("alerts")).unwrap_or_default()
}

#[test]
fn alert_runs_once_for_a_problem_and_once_for_its_end() {
    let desk = Desk::with(2, &format!("retries = 0\n{ALERT}"), |server| {
        server.fault(on("AUTH").refuse("-ERR [AUTH] no"))
    });
    for days in 0..3 {
        desk.fetch_at(days, 77);
    }
    assert_eq!(
        alerts(&desk),
        "work problem 127.0.0.1 rejected the password\n"
    );
    desk.server.heal_all();
    for days in 3..5 {
        desk.fetch_at(days, 0);
    }
    assert_snapshot!(alerts(&desk), @"
    work problem 127.0.0.1 rejected the password
    work recovered mail is fetched again
    ");
}

#[test]
fn alert_of_a_transient_problem_runs_after_a_day() {
    let lines = format!("retries = 0\nauth = \"user\"\n{ALERT}");
    let desk = Desk::with(1, &lines, |server| {
        server.fault(on("PASS").refuse("-ERR [IN-USE] locked"))
    });
    desk.fetch(75);
    desk.fetch(75);
    assert_eq!(alerts(&desk), "");
    desk.fetch_at(1, 75);
    desk.fetch_at(2, 75);
    assert_eq!(alerts(&desk).lines().count(), 1);
    // a transient problem that ends within a day is no reason for an alert
    desk.server.heal_all();
    desk.fetch_at(3, 0);
    assert_eq!(alerts(&desk).lines().count(), 2);
    desk.server.fault(on("PASS").refuse("-ERR [IN-USE] locked"));
    desk.fetch_at(4, 75);
    desk.server.heal_all();
    desk.fetch_at(4, 0);
    assert_eq!(alerts(&desk).lines().count(), 2);
}

#[test]
fn alert_reports_a_quarantine() {
    let desk = Desk::with(3, &format!("attempts = 1\n{ALERT}"), |server| {
        server.fault(on("RETR").uid("uid-2").refuse("-ERR no"))
    });
    desk.fetch(65);
    desk.fetch(0);
    desk.server.heal_all();
    desk.pouch(&["ledger", "retry", "work"])
        .run()
        .assert_code(0);
    desk.fetch(0);
    assert_snapshot!(alerts(&desk), @"
    work problem 1 message in quarantine
    work recovered mail is fetched again
    ");
}

#[test]
fn alert_that_fails_is_reported_daily_and_tried_again() {
    let desk = Desk::with(1, &format!("retries = 0\n{ALERT}"), |server| {
        server.fault(on("AUTH").refuse("-ERR [AUTH] no"))
    });
    desk.home.write("broken", "", 0o600);
    assert_snapshot!(desk.fetch(77).stderr_text(), @"
    pouch: work: 127.0.0.1 rejected the password
      127.0.0.1 said: -ERR [AUTH] no
    hint: check the password in ~/password, then run `pouch check work`
    pouch: work: the `alert` command `sh` failed: exit status: 3
      `sh` said: no
      the next run tries again
    ");
    desk.fetch(77).assert_silent();
    desk.fetch_at(1, 77)
        .assert_stderr("the `alert` command `sh` failed");
    assert_eq!(alerts(&desk).lines().count(), 3);
    fs::remove_file(desk.home.join("broken")).unwrap();
    desk.fetch_at(2, 77);
    desk.fetch_at(3, 77);
    assert_eq!(alerts(&desk).lines().count(), 4);
    desk.server.heal_all();
    desk.pouch(&["check"])
        .run()
        .assert_stdout("alert    ok    `sh`");
}

#[test]
fn alert_that_cannot_be_run_does_not_stop_the_run() {
    let lines = "attempts = 1\nalert = [\"no-such-program\"]";
    let desk = Desk::with(2, lines, |server| {
        server.fault(on("RETR").uid("uid-1").refuse("-ERR no"))
    });
    let output = desk.fetch(65);
    let text = output.stderr_text();
    assert_snapshot!(text.split_once("pouch: work: cannot").unwrap().1, @"
     run the `alert` command `no-such-program`
      No such file or directory
    hint: `no-such-program` is not installed, or not in PATH, which is short in cron and systemd: install it, or write its whole path
    ");
}

/// Runs `promtool` with this input.
#[cfg(feature = "system-tests")]
#[track_caller]
fn promtool(desk: &Desk, args: &[&str], input: Vec<u8>) {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/prometheus");
    let args = [&["promtool"], args].concat();
    let promtool = desk.home.system_command(program, &args);
    promtool.stdin(input).run().assert_code(0);
}

#[cfg(feature = "system-tests")]
#[test]
fn promtool_accepts_the_metrics() {
    let desk = Desk::with(3, "attempts = 1", |server| {
        server.fault(on("RETR").uid("uid-2").refuse("-ERR no"))
    });
    add_account(&desk, "other-1_x");
    let fetch = ["fetch", "work", "--metrics", "m.prom"];
    desk.pouch(&fetch).run().assert_code(65);
    promtool(&desk, &["check", "metrics"], desk.home.read("m.prom"));
}

#[cfg(feature = "system-tests")]
#[test]
fn promtool_accepts_the_alert_rules() {
    let desk = Desk::with(1, "", |server| server);
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/prometheus");
    let rules = format!("{dir}/alerts.yml");
    promtool(&desk, &["check", "rules", &rules], Vec::new());
    let tests = format!("{dir}/alerts-test.yml");
    promtool(&desk, &["test", "rules", &tests], Vec::new());
}

/// Returns the names of the metrics that a text mentions.
fn metric_names(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut names: Vec<_> = words.filter(|word| word.starts_with("pouch_")).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn alerts_and_dashboard_use_metrics_that_exist() {
    let desk = Desk::with(1, "", |server| server);
    let fetch = ["fetch", "--metrics", "m.prom"];
    desk.pouch(&fetch).run().assert_code(0);
    let metrics = String::from_utf8(desk.home.read("m.prom")).unwrap();
    let known = metric_names(&metrics);
    for path in ["prometheus/alerts.yml", "grafana/pouch.json"] {
        let path = format!("{}/contrib/{path}", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(path).unwrap();
        for name in metric_names(&text) {
            assert!(known.contains(&name), "{name}");
        }
    }
    let dashboard = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/grafana/pouch.json");
    let dashboard: Value = serde_json::from_slice(&fs::read(dashboard).unwrap()).unwrap();
    assert_eq!(dashboard["uid"], "pouch");
    // docs/monitoring.md describes every metric
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring.md"));
    let docs = docs.unwrap();
    for name in known {
        assert!(docs.contains(&format!("`{name}`")), "{name}");
    }
}
