//! What was reported to the user, so that nothing is reported twice.

use rusqlite::params;

use super::{Ledger, Reader, RecoveredNotice, Row, admin};
use crate::{
    domain::{
        ids::RowId,
        time::{TimeSpan, Timestamp},
    },
    error::{Error, Result},
};

/// How long a transient problem is not reported, and the interval at which others are reported
/// again.
const A_DAY: TimeSpan = TimeSpan::from_days(1);

/// A problem that stopped the last run, and those before it since it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What failed, in one line.
    pub what: String,
    /// When it began.
    pub since: Timestamp,
    /// Whether it was reported: a transient problem is not until it has lasted a day.
    pub reported: bool,
}

impl Reader {
    /// Returns the problem that stopped the last run. `None` if nothing stopped it.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn problem(&self) -> Result<Option<Problem>> {
        self.connection
            .query_row(
                "SELECT coalesce(problem, ''), problem_since, problem_reported_at IS NOT NULL
                 FROM mailbox",
                [],
                |row| {
                    let (what, since, reported) = (row.get(0)?, row.get(1)?, row.get(2)?);
                    Ok(Option::<i64>::map(since, |since| Problem {
                        what,
                        since: Timestamp(since),
                        reported,
                    }))
                },
            )
            .map_err(|error| self.explain(&error))
    }

    /// Returns the quarantined messages that were not reported yet.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn unreported_quarantines(&self) -> Result<Vec<Row>> {
        self.read(|ledger| {
            let columns = admin::COLUMNS;
            ledger
                .prepare_cached(&format!(
                    "SELECT {columns} FROM message WHERE state = 'quarantined'
                     AND reported_at IS NULL"
                ))?
                .query_map([], |columns| self.row(columns))?
                .collect()
        })
    }
}

impl Ledger {
    /// Records that these messages are reported. Returns those that were not reported before: each
    /// is reported once, unless something new happens to it.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn mark_reported(&mut self, rows: &[RowId], now: Timestamp) -> Result<Vec<RowId>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        self.write(|ledger| {
            let mut update = ledger.prepare_cached(
                "UPDATE message SET reported_at = ?, notice_in_flight = 0
                 WHERE id = ? AND reported_at IS NULL",
            )?;
            let mut unreported = Vec::new();
            for row in rows {
                if update.execute(params![now.0, row.0])? > 0 {
                    unreported.push(*row);
                }
            }
            Ok(unreported)
        })
    }

    /// Records notices that an interrupted run delivered. Those about an earlier quarantine are
    /// ignored.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn record_recovered_notices(
        &mut self,
        notices: &[RecoveredNotice],
        now: Timestamp,
    ) -> Result<()> {
        if notices.is_empty() {
            return Ok(());
        }
        self.write(|ledger| {
            let mut update = ledger.prepare_cached(
                "UPDATE message SET reported_at = ?4
                 WHERE id = ?1 AND state = 'quarantined' AND reported_at IS NULL AND attempts = ?2
                 AND (SELECT started FROM run WHERE id = last_run) <= ?3",
            )?;
            notices.iter().try_for_each(|notice| {
                update
                    .execute(params![
                        notice.row.0,
                        notice.attempts,
                        notice.written.0,
                        now.0
                    ])
                    .map(drop)
            })
        })
    }

    /// Records what stopped the run. Returns whether it has to be reported to a user who is not
    /// watching: a transient problem once it has lasted a day, any other at once, and both again
    /// each day that they last.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn should_report(&mut self, problem: &Error, now: Timestamp) -> Result<bool> {
        let transient = problem.kind().is_transient();
        self.write(|ledger| {
            let (same, since, reported): (bool, Option<i64>, Option<i64>) = ledger.query_row(
                "SELECT coalesce(problem = ?, 0), problem_since, problem_reported_at FROM mailbox",
                [problem.what()],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )?;
            // a transient problem goes on, whatever shape it takes from run to run
            let goes_on = same || transient;
            let since = Timestamp(since.filter(|_| goes_on).unwrap_or(now.0));
            let reported = reported.filter(|_| goes_on).map(Timestamp);
            let lasting = !transient || now.since(since) >= A_DAY.seconds();
            let again = reported.is_none_or(|reported| now.since(reported) >= A_DAY.seconds());
            let report = lasting && again;
            let reported = if report { Some(now) } else { reported };
            ledger.execute(
                "UPDATE mailbox SET problem = ?, problem_since = ?, problem_reported_at = ?",
                params![problem.what(), since.0, reported.map(|reported| reported.0)],
            )?;
            Ok(report)
        })
    }

    /// Records that nothing stopped the run: a problem after this one is new.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn clear_problem(&mut self) -> Result<()> {
        if self.reader.problem()?.is_none() {
            return Ok(());
        }
        self.write(|ledger| {
            ledger
                .execute(
                    "UPDATE mailbox SET problem = NULL, problem_since = NULL,
                         problem_reported_at = NULL",
                    [],
                )
                .map(drop)
        })
    }
}
