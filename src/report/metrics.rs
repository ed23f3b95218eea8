//! Metrics in the text format of Prometheus, for the textfile collector of its node exporter.
//!
//! A run writes the metrics of all accounts of the config, not only of those that it fetched, so
//! that `pouch fetch work` does not remove the others from a dashboard. They come from the ledgers.
//! Counters are sums since a ledger was created; a new ledger begins at 0, which Prometheus
//! recognises as a reset. There are no sums over accounts: they would decrease when an account is
//! removed, and `sum()` computes them.
//!
//! Nothing but the name of an account is a label: no user, host or text of a message.

use std::fmt::Write;

use serde_json::Value;

use crate::{domain::time::Timestamp, error::Exit, event::Tally, ledger::Totals};

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    /// The run that writes them.
    pub run: RunMetrics,
    /// The accounts, in the order of the config.
    pub accounts: Vec<AccountMetrics>,
}

/// The metrics of a run over several accounts, or of a round of `--every`.
#[derive(Clone, Copy, Debug)]
pub struct RunMetrics {
    /// The time when it began.
    pub started: Timestamp,
    /// The time when it ended.
    pub ended: Timestamp,
    /// Its exit status.
    pub exit: Exit,
}

/// The metrics of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountMetrics {
    /// Its name.
    pub account: String,
    /// Whether its ledger could not be read.
    pub is_unreadable: bool,
    /// Whether it needs attention, as in `pouch status --problems`.
    pub needs_attention: bool,
    /// Whether its last run had a problem.
    pub is_failing: bool,
    /// The number of quarantined messages.
    pub quarantined: u64,
    /// The time when the last run began. `None` if there was none.
    pub last_run: Option<Timestamp>,
    /// The time when the last run ended that had no problem. `None` if there was none.
    pub last_success: Option<Timestamp>,
    /// The exit code of the last run that has ended.
    pub exit: Option<u8>,
    /// Its duration in seconds.
    pub seconds: Option<u64>,
    /// The sums of all runs.
    pub totals: Totals,
}

impl AccountMetrics {
    /// Returns the metrics of an account whose ledger cannot be read.
    pub fn unreadable(account: &str) -> Self {
        Self {
            account: account.to_owned(),
            is_unreadable: true,
            needs_attention: true,
            ..Self::default()
        }
    }

    /// Returns the metrics from the object of an account in the document of `pouch status`.
    pub fn from_document(account: &Value) -> Self {
        let name = account["account"].as_str().unwrap_or_default();
        if !account["problem"].is_null() {
            return Self::unreadable(name);
        }
        let time = |value: &Value| value.as_i64().map(Timestamp);
        let totals = &account["totals"];
        let total = |name: &str| totals[name].as_u64().unwrap_or_default();
        let runs = account["runs"].as_array().into_iter().flatten();
        let mut ended = runs.filter(|run| !run["exit"].is_null());
        let last = ended.next().unwrap_or(&Value::Null);
        Self {
            account: name.to_owned(),
            is_unreadable: false,
            needs_attention: account["needs_action"] == true,
            is_failing: !account["failing"].is_null(),
            quarantined: account["messages"]["quarantined"].as_u64().unwrap_or(0),
            last_run: time(&account["last_run"]),
            last_success: time(&account["last_success"]),
            exit: last["exit"]
                .as_u64()
                .and_then(|exit| u8::try_from(exit).ok()),
            seconds: time(&last["ended"])
                .zip(time(&last["started"]))
                .map(|(ended, started)| ended.since(started)),
            totals: Totals {
                runs: total("runs"),
                failed_runs: total("failed_runs"),
                seconds: total("seconds"),
                tally: Tally {
                    delivered: total("delivered"),
                    octets: total("bytes"),
                    deleted: total("deleted"),
                    failed: total("failed"),
                    skipped: total("skipped"),
                },
            },
        }
    }
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Gauge,
    Counter,
}

/// A metric that each account has.
struct Metric {
    /// Its name after `pouch_account_`.
    name: &'static str,
    kind: Type,
    help: &'static str,
    /// Returns its value, or `None` if the account has none.
    value: fn(&AccountMetrics) -> Option<u64>,
}

/// Returns a time, or 0 if there is none, so that the age of a success that never was is large.
fn seconds(at: Option<Timestamp>) -> u64 {
    at.map_or(0, |at| u64::try_from(at.0).unwrap_or(0))
}

/// Declares a metric of accounts.
const fn metric(
    name: &'static str,
    kind: Type,
    help: &'static str,
    value: fn(&AccountMetrics) -> Option<u64>,
) -> Metric {
    Metric {
        name,
        kind,
        help,
        value,
    }
}

use Type::{Counter, Gauge};

const METRICS: [Metric; 16] = [
    metric(
        "last_run_timestamp_seconds",
        Gauge,
        "When the last run of the account began; 0 if it was never run.",
        |it| Some(seconds(it.last_run)),
    ),
    metric(
        "last_success_timestamp_seconds",
        Gauge,
        "When the last run of the account without a problem ended; 0 if there was none.",
        |it| Some(seconds(it.last_success)),
    ),
    metric(
        "last_run_duration_seconds",
        Gauge,
        "How long the last complete run of the account took.",
        |it| it.seconds,
    ),
    metric(
        "last_run_exit_code",
        Gauge,
        "The exit status of the last complete run of the account, as in sysexits.h; 0 is success.",
        |it| it.exit.map(u64::from),
    ),
    metric(
        "failing",
        Gauge,
        "1 if the last run of the account had a problem, otherwise 0.",
        |it| Some(it.is_failing.into()),
    ),
    metric(
        "needs_attention",
        Gauge,
        "1 if pouch status --problems lists the account, otherwise 0.",
        |it| Some(it.needs_attention.into()),
    ),
    metric(
        "ledger_unreadable",
        Gauge,
        "1 if the ledger of the account cannot be read, otherwise 0.",
        |it| Some(it.is_unreadable.into()),
    ),
    metric(
        "quarantined_messages",
        Gauge,
        "Messages in quarantine.",
        |it| Some(it.quarantined),
    ),
    metric(
        "runs_total",
        Counter,
        "Runs of the account that have ended.",
        |it| Some(it.totals.runs),
    ),
    metric(
        "failed_runs_total",
        Counter,
        "Runs of the account that had a problem.",
        |it| Some(it.totals.failed_runs),
    ),
    metric(
        "run_duration_seconds_total",
        Counter,
        "How long all runs of the account took.",
        |it| Some(it.totals.seconds),
    ),
    metric(
        "delivered_messages_total",
        Counter,
        "Messages that were delivered.",
        |it| Some(it.totals.tally.delivered),
    ),
    metric(
        "delivered_bytes_total",
        Counter,
        "The size of the messages that were delivered.",
        |it| Some(it.totals.tally.octets),
    ),
    metric(
        "deleted_messages_total",
        Counter,
        "Messages that were deleted from the server.",
        |it| Some(it.totals.tally.deleted),
    ),
    metric(
        "skipped_messages_total",
        Counter,
        "Messages that a rule or a filter skipped.",
        |it| Some(it.totals.tally.skipped),
    ),
    metric(
        "failed_attempts_total",
        Counter,
        "Failed attempts to fetch or deliver a message.",
        |it| Some(it.totals.tally.failed),
    ),
];

/// Returns the content of the file.
pub fn render(metrics: &Metrics) -> String {
    let accounts = &metrics.accounts;
    let labels: Vec<_> = accounts.iter().map(|it| escaped(&it.account)).collect();
    let mut text = String::new();
    for (name, help, value) in run_metrics(metrics) {
        head(&mut text, &format!("pouch_{name}"), Gauge, help);
        let version = match name {
            "build_info" => concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"),
            _ => "",
        };
        let _ = writeln!(text, "pouch_{name}{version} {value}");
    }
    for metric in &METRICS {
        let name = format!("pouch_account_{}", metric.name);
        // a counter that is 0 for a while would count twice afterwards
        let is_known = matches!(metric.name, "ledger_unreadable" | "needs_attention");
        let values = accounts.iter().map(|it| {
            let has_value = is_known || !it.is_unreadable;
            (metric.value)(it).filter(|_| has_value)
        });
        let mut samples = labels.iter().zip(values).peekable();
        if samples.peek().is_none() {
            continue;
        }
        head(&mut text, &name, metric.kind, metric.help);
        for (label, value) in samples {
            if let Some(value) = value {
                let _ = writeln!(text, "{name}{{account=\"{label}\"}} {value}");
            }
        }
    }
    text
}

/// Returns the metrics that are not about one account.
fn run_metrics(metrics: &Metrics) -> [(&'static str, &'static str, u64); 6] {
    let Metrics { run, accounts } = metrics;
    let attention = accounts.iter().filter(|it| it.needs_attention).count();
    [
        ("build_info", "The version of pouch, as a label.", 1),
        (
            "last_run_end_timestamp_seconds",
            "When the last run over all accounts ended, and this file was written.",
            seconds(Some(run.ended)),
        ),
        ("accounts", "Accounts in this file.", accounts.len() as u64),
        (
            "accounts_needing_attention",
            "Accounts that pouch status --problems lists.",
            attention as u64,
        ),
        (
            "last_run_duration_seconds",
            "How long the last run over all accounts took.",
            run.ended.since(run.started),
        ),
        (
            "last_run_exit_code",
            "The exit status of the last run, as in sysexits.h; 0 is success.",
            run.exit.0.into(),
        ),
    ]
}

fn head(text: &mut String, name: &str, kind: Type, help: &str) {
    let kind = match kind {
        Gauge => "gauge",
        Counter => "counter",
    };
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Returns the value of a label with the characters escaped that have a meaning there.
fn escaped(label: &str) -> String {
    let label = label.replace('\\', "\\\\").replace('"', "\\\"");
    label.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_account_has_every_metric() {
        let work = json!({
            "account": "work \"a\\b\n", "needs_action": true, "failing": "no", "last_run": 100,
            "last_success": 90,
            "messages": { "new": 7, "quarantined": 2 },
            "runs": [
                { "started": 100, "ended": null, "exit": null },
                { "started": 80, "ended": 83, "exit": 77 },
            ],
            "totals": {
                "runs": 5, "failed_runs": 1, "seconds": 9, "delivered": 4, "bytes": 3000,
                "deleted": 3, "failed": 2, "skipped": 1,
            },
        });
        let broken = json!({ "account": "broken", "problem": { "what": "no" } });
        let metrics = Metrics {
            run: RunMetrics {
                started: Timestamp(100),
                ended: Timestamp(107),
                exit: Exit(77),
            },
            accounts: [work, broken]
                .iter()
                .map(AccountMetrics::from_document)
                .collect(),
        };
        let text = render(&metrics).replace(env!("CARGO_PKG_VERSION"), "VERSION");
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples: Vec<_> = samples.collect();
        assert_snapshot!(samples.join("\n"), @r#"
        pouch_build_info{version="VERSION"} 1
        pouch_last_run_end_timestamp_seconds 107
        pouch_accounts 2
        pouch_accounts_needing_attention 2
        pouch_last_run_duration_seconds 7
        pouch_last_run_exit_code 77
        pouch_account_last_run_timestamp_seconds{account="work \"a\\b\n"} 100
        pouch_account_last_success_timestamp_seconds{account="work \"a\\b\n"} 90
        pouch_account_last_run_duration_seconds{account="work \"a\\b\n"} 3
        pouch_account_last_run_exit_code{account="work \"a\\b\n"} 77
        pouch_account_failing{account="work \"a\\b\n"} 1
        pouch_account_needs_attention{account="work \"a\\b\n"} 1
        pouch_account_needs_attention{account="broken"} 1
        pouch_account_ledger_unreadable{account="work \"a\\b\n"} 0
        pouch_account_ledger_unreadable{account="broken"} 1
        pouch_account_quarantined_messages{account="work \"a\\b\n"} 2
        pouch_account_runs_total{account="work \"a\\b\n"} 5
        pouch_account_failed_runs_total{account="work \"a\\b\n"} 1
        pouch_account_run_duration_seconds_total{account="work \"a\\b\n"} 9
        pouch_account_delivered_messages_total{account="work \"a\\b\n"} 4
        pouch_account_delivered_bytes_total{account="work \"a\\b\n"} 3000
        pouch_account_deleted_messages_total{account="work \"a\\b\n"} 3
        pouch_account_skipped_messages_total{account="work \"a\\b\n"} 1
        pouch_account_failed_attempts_total{account="work \"a\\b\n"} 2
        "#);
    }

    #[test]
    fn run_without_accounts_has_no_metrics_of_accounts() {
        let run = RunMetrics {
            started: Timestamp(1),
            ended: Timestamp(1),
            exit: Exit::OK,
        };
        let metrics = Metrics {
            run,
            accounts: Vec::new(),
        };
        assert!(!render(&metrics).contains("pouch_account_"));
    }
}
