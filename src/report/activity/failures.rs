//! The runs of several accounts that did not succeed, for the report.

use super::data::AccountReport;
use crate::{
    domain::time::Timestamp,
    report::days::DayRange,
    text::{count, day},
};

/// The runs of all accounts.
pub(super) struct Failures {
    /// The number of all runs.
    pub(super) total: u64,
    /// The exit codes of those that failed, the most frequent first.
    pub(super) exits: Vec<Exits>,
    /// The accounts whose earlier runs are forgotten: their number, and since when the runs of all
    /// of them are recorded.
    forgotten: Option<(u64, i64)>,
}

/// The runs with an exit code.
pub(super) struct Exits {
    /// The exit code, or `None` if they were interrupted.
    pub(super) exit: Option<u8>,
    /// The number of accounts.
    pub(super) accounts: u64,
    /// The number of runs.
    pub(super) runs: u64,
    /// The time of the last one.
    pub(super) last: i64,
}

impl Failures {
    /// Combines the runs of the accounts.
    pub(super) fn of(accounts: &[AccountReport]) -> Self {
        let mut failures = Self {
            total: 0,
            exits: Vec::new(),
            forgotten: None,
        };
        for activity in accounts
            .iter()
            .filter_map(|account| account.activity.as_ref())
        {
            failures.total += activity.runs.total;
            if let Some(since) = activity.runs.since {
                let (accounts, latest) = failures.forgotten.unwrap_or((0, since));
                failures.forgotten = Some((accounts + 1, latest.max(since)));
            }
            for exit in &activity.runs.exits {
                let mut known = failures.exits.iter_mut();
                match known.find(|known| known.exit == exit.exit) {
                    Some(known) => {
                        known.accounts += 1;
                        known.runs += exit.runs;
                        known.last = known.last.max(exit.last);
                    }
                    None => failures.exits.push(Exits {
                        exit: exit.exit,
                        accounts: 1,
                        runs: exit.runs,
                        last: exit.last,
                    }),
                }
            }
        }
        failures
            .exits
            .sort_by_key(|exit| std::cmp::Reverse(exit.runs));
        failures
    }

    /// Returns the sentence on runs that are forgotten, or `None` if all runs of the period are
    /// known.
    pub(super) fn gap(&self, period: &DayRange) -> Option<String> {
        let (accounts, since) = self.forgotten?;
        (Timestamp(since) > period.begin()).then(|| {
            format!(
                "A ledger keeps the last runs only. Those of {} are known since {}.",
                count(accounts, "account"),
                day(Timestamp(since))
            )
        })
    }
}

/// Returns the meaning of an exit code, or of none.
pub(super) fn meaning(exit: Option<u8>) -> String {
    let meaning = match exit {
        None => "interrupted",
        Some(65) => "a message was quarantined, or the state could not be read",
        Some(68) => "host not found",
        Some(69) => "server unavailable, or a feature is missing",
        Some(70) => "bug in pouch",
        Some(73) => "destination or ledger could not be created",
        Some(74) => "disk full, or I/O error",
        Some(75) => "transient failure",
        Some(76) => "server does not speak POP3",
        Some(77) => "login or certificate refused",
        Some(78) => "error in the config, or no password",
        Some(code) => return format!("exit code {code}"),
    };
    meaning.to_owned()
}
