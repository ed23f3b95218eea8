//! The sums of all runs of an account, for monitoring.
//!
//! The table of runs has the last ones only, and counters must never decrease. So the sums are kept
//! in a row of their own, which is written together with the end of a run.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Reader, Run, RunEnd, Success, size};
use crate::{domain::time::Timestamp, error::Result, event::Tally};

/// The runs of an account since its ledger was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The time when the first run began. `None` if no run has ended.
    pub first_run: Option<Timestamp>,
    /// The time when the last run ended that had no problem. `None` if there was none.
    pub last_success: Option<Timestamp>,
    /// The sums.
    pub totals: Totals,
}

/// The sums of all runs that have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The number of runs.
    pub runs: u64,
    /// The number of runs that had a problem.
    pub failed_runs: u64,
    /// Their duration in seconds.
    pub seconds: u64,
    /// The messages that they processed.
    pub tally: Tally,
}

/// Adds a run to the sums.
pub(super) fn add(
    ledger: &Transaction<'_>,
    run: &Run,
    ended: &RunEnd<'_>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let started = "SELECT started FROM run WHERE id = ?";
    let started: i64 = ledger.query_row(started, [run.id()], |row| row.get(0))?;
    ledger.execute(
        "INSERT INTO total (id, first_run) VALUES (1, ?) ON CONFLICT DO NOTHING",
        [started],
    )?;
    let tally = ended.tally;
    let succeeded = (ended.success == Success::Yes).then_some(now.0);
    ledger
        .execute(
            "UPDATE total SET last_success = coalesce(?, last_success), runs = runs + 1,
                 failed_runs = failed_runs + ?, seconds = seconds + ?, delivered = delivered + ?,
                 bytes = bytes + ?, deleted = deleted + ?, failed = failed + ?,
                 skipped = skipped + ?",
            params![
                succeeded,
                ended.success == Success::No,
                size(now.since(Timestamp(started))),
                tally.delivered,
                size(tally.octets),
                tally.deleted,
                tally.failed,
                tally.skipped
            ],
        )
        .map(drop)
}

impl Reader {
    /// Returns the history of the account.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn history(&self) -> Result<History> {
        let found = self.connection.query_row(
            "SELECT first_run, last_success, runs, failed_runs, seconds, delivered, bytes, deleted,
                 failed, skipped
             FROM total",
            [],
            |row| {
                Ok(History {
                    first_run: Some(Timestamp(row.get(0)?)),
                    last_success: row.get::<_, Option<i64>>(1)?.map(Timestamp),
                    totals: Totals {
                        runs: row.get(2)?,
                        failed_runs: row.get(3)?,
                        seconds: row.get(4)?,
                        tally: Tally {
                            delivered: row.get(5)?,
                            octets: row.get(6)?,
                            deleted: row.get(7)?,
                            failed: row.get(8)?,
                            skipped: row.get(9)?,
                        },
                    },
                })
            },
        );
        let found = found.optional().map_err(|error| self.explain(&error))?;
        Ok(found.unwrap_or_default())
    }
}
