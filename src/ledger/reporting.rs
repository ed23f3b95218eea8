//! Records of what was reported to the user, so that nothing is reported twice.
//!
//! pouch usually runs from a timer, so the interval between reports cannot be kept in memory.

use rusqlite::params;

use super::{Ledger, Reader, RecoveredNotice, Row};
use crate::{
    domain::{
        ids::RowId,
        report_times::{Audience, ReportTimes},
        time::Timestamp,
    },
    error::{Error, Result},
};

/// A problem that stopped the last run, and those before it since it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The error, in one line.
    pub what: String,
    /// The time when it began.
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
                "SELECT coalesce(problem, ''), problem_since, problem_report_due IS NOT NULL
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

    /// Returns the listed messages that are quarantined and have not been reported.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn unreported_quarantines(&self) -> Result<Vec<Row>> {
        self.read(|ledger| {
            ledger
                .prepare_cached(&Self::rows_where(
                    "state = 'quarantined' AND reported_at IS NULL AND missing_since IS NULL
                     ORDER BY id",
                ))?
                .query_map([], |columns| self.row(columns))?
                .collect()
        })
    }
}

impl Ledger {
    /// Records that these messages are reported. Returns those that had not been reported before.
    ///
    /// A message is reported once, and again only if it is quarantined again.
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

    /// Records notices that an interrupted run delivered: each is about all messages that were
    /// quarantined in its run or earlier, and had not been reported.
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
                "UPDATE message SET reported_at = ?2
                 WHERE state = 'quarantined' AND reported_at IS NULL AND missing_since IS NULL
                 AND last_run <= ?1",
            )?;
            notices
                .iter()
                .try_for_each(|notice| update.execute(params![notice.run, now.0]).map(drop))
        })
    }

    /// Records the problem that ended the run. Returns whether a report is due.
    ///
    /// See [`ReportTimes`]. On a terminal, problems are displayed regardless of this.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn should_report(
        &mut self,
        problem: &Error,
        audience: Audience,
        now: Timestamp,
    ) -> Result<bool> {
        let transient = problem.kind().is_transient();
        self.write(|ledger| {
            let (same, since, due): (bool, Option<i64>, Option<i64>) = ledger.query_row(
                "SELECT coalesce(problem = ?, 0), problem_since, problem_report_due FROM mailbox",
                [problem.what()],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )?;
            // Successive transient problems count as one, even if their messages differ.
            let goes_on = same || transient;
            let earlier = since.filter(|_| goes_on).map(|since| ReportTimes {
                since: Timestamp(since),
                due: due.map(Timestamp),
            });
            let (times, report) = ReportTimes::next(earlier, transient, audience, now);
            ledger.execute(
                "UPDATE mailbox SET problem = ?, problem_since = ?, problem_report_due = ?",
                params![problem.what(), times.since.0, times.due.map(|due| due.0)],
            )?;
            Ok(report)
        })
    }

    /// Records that the run succeeded, so that the next problem counts as a new one.
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
                         problem_report_due = NULL",
                    [],
                )
                .map(drop)
        })
    }
}
