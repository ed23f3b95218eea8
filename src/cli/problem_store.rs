//! The times at which unusable accounts and sources of accounts were reported.
//!
//! An account that cannot be used has no ledger in which to record them. So the problems of the
//! last run are stored in a file in the state directory. Without problems, the file does not exist.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    config::resolve::Problem,
    domain::{
        report_times::{Audience, ReportTimes},
        time::Timestamp,
    },
    error::{Error, Kind, Result},
    sys::files,
    text::moment,
};

/// The name of the file in the state directory.
const FILE: &str = "problems.json";

/// The maximum size of the file, in bytes.
const LARGEST: u64 = 64 << 20;

/// The identity of a problem. Its facts are not included, since they may differ in each run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Key {
    account: Option<String>,
    what: String,
}

impl Key {
    pub fn of(problem: &Problem) -> Self {
        Self {
            account: problem.account.clone(),
            what: problem.error.what().to_owned(),
        }
    }
}

/// A problem of the last run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    key: Key,
    since: i64,
    due: Option<i64>,
}

impl Record {
    fn times(&self) -> ReportTimes {
        ReportTimes {
            since: Timestamp(self.since),
            due: self.due.map(Timestamp),
        }
    }
}

/// The problems of the last run.
pub(super) struct ProblemStore {
    path: PathBuf,
    records: Vec<Record>,
}

impl ProblemStore {
    /// Reads the problems in a state directory. If the file cannot be read, there are none.
    pub fn read(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let bytes = files::read(&path, LARGEST).unwrap_or_default();
        let records = serde_json::from_slice(&bytes).unwrap_or_default();
        Self { path, records }
    }

    /// Returns the problem, with the time at which it began if that was in an earlier run.
    pub fn dated(&self, problem: &Problem, now: Timestamp) -> Problem {
        let key = Key::of(problem);
        let known = self.records.iter().find(|record| record.key == key);
        let since = known.map(|known| known.times().since);
        let Some(since) = since.filter(|since| *since < now) else {
            return problem.clone();
        };
        let fact = format!("since {}", moment(since));
        Problem {
            error: problem.error.clone().with_fact(fact),
            ..problem.clone()
        }
    }

    /// Replaces the problems with those of this run. Returns for each whether a report is due.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn update(
        &mut self,
        problems: &[Problem],
        audience: Audience,
        now: Timestamp,
    ) -> Result<Vec<bool>> {
        let earlier = self.records.iter();
        let earlier: HashMap<_, _> = earlier.map(|it| (&it.key, it.times())).collect();
        let next = problems.iter().map(|problem| {
            let key = Key::of(problem);
            let is_transient = problem.error.kind().is_transient();
            let earlier = earlier.get(&key).copied();
            let (times, is_due) = ReportTimes::next(earlier, is_transient, audience, now);
            let record = Record {
                key,
                since: times.since.0,
                due: times.due.map(|due| due.0),
            };
            (record, is_due)
        });
        let (records, due): (Vec<_>, Vec<_>) = next.unzip();
        if records != self.records {
            self.records = records;
            self.write()?;
        }
        Ok(due)
    }

    fn write(&self) -> Result<()> {
        if self.records.is_empty() {
            return files::remove(&self.path)
                .map_err(|error| Error::file("remove", &self.path, &error));
        }
        let document = serde_json::to_vec_pretty(&self.records)
            .map_err(|error| Error::new(Kind::Bug, error.to_string()))?;
        files::replace(&self.path, &document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(account: Option<&str>, what: &str) -> Problem {
        Problem {
            account: account.map(str::to_owned),
            error: Error::new(Kind::Config, what),
        }
    }

    #[test]
    fn problem_is_due_once_until_it_changes_or_recovers() {
        let dir = tempfile::tempdir().unwrap();
        let due = |problems: &[Problem], now: i64| {
            let mut store = ProblemStore::read(dir.path());
            store
                .update(problems, Audience::Unattended, Timestamp(now))
                .unwrap()
        };
        let (one, two) = (problem(None, "one"), problem(Some("ann"), "two"));
        assert_eq!(due(std::slice::from_ref(&one), 1000), [true]);
        let differs_in_facts = Problem {
            error: one.error.clone().with_fact("x"),
            ..one.clone()
        };
        assert_eq!(due(&[differs_in_facts, two.clone()], 1060), [false, true]);
        let store = ProblemStore::read(dir.path());
        let dated = store.dated(&one, Timestamp(1060)).error;
        assert_eq!(dated.facts(), ["since 1970-01-01 00:16"]);
        assert_eq!(due(std::slice::from_ref(&two), 1120), [false]);
        assert_eq!(due(&[one, two], 1180), [true, false]);
        assert!(due(&[], 1240).is_empty());
        assert!(!dir.path().join(FILE).exists());
    }
}
