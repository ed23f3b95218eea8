//! The runs of an account: their results, and whether they were interrupted.
//!
//! A run that only polls is the most frequent one by far. It is written without waiting for the
//! disk, and its WAL is not checkpointed, so a poll causes no disk write of its own.

use std::collections::HashSet;

use rusqlite::{config::DbConfig, params};

use super::{GRACE_DAYS, Ledger, Reader, size, totals};
use crate::{
    domain::{
        ids::RowId,
        time::{TimeSpan, Timestamp},
    },
    error::{Error, Exit, Kind, Result},
    event::Tally,
    sys::process,
};

/// The current run.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    id: i64,
}

impl Run {
    /// Returns the number of the run, which no other run has.
    pub fn id(&self) -> i64 {
        self.id
    }
}

/// A past run, as `pouch status` displays it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastRun {
    /// The time when it began.
    pub started: Timestamp,
    /// The time when it ended. `None` if it is running, or was interrupted.
    pub ended: Option<Timestamp>,
    /// Its exit code.
    pub exit: Option<u8>,
    /// The messages that it processed.
    pub tally: Tally,
    /// The error that ended it, if any.
    pub problem: Option<String>,
}

pub(super) fn mark_unsettled(
    ledger: &rusqlite::Transaction<'_>,
    run: &Run,
) -> rusqlite::Result<()> {
    ledger
        .prepare_cached("UPDATE run SET unsettled = 1 WHERE id = ?")?
        .execute([run.id])
        .map(drop)
}

/// The time before which no clock can be right: the month of the first release.
const EARLIEST: Timestamp = Timestamp(1_793_491_200);

/// The time by which the clock may be behind other clocks, in seconds. Time zones are sometimes
/// wrong, too.
const TOLERANCE: i64 = 86_400;

/// Records that the clock is behind in this run, if there is evidence: the server `received` a
/// message later, an earlier run was later, or it is before [`EARLIEST`].
///
/// The earliest evidence counts, since senders can write any time into a header.
pub(super) fn mark_clock_behind(
    ledger: &rusqlite::Transaction<'_>,
    run: &Run,
    received: impl Iterator<Item = Timestamp>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let last: i64 = ledger
        .prepare_cached("SELECT coalesce(max(started), 0) FROM run")?
        .query_row([], |columns| columns.get(0))?;
    let later = received
        .map(|at| at.0)
        .chain([last, EARLIEST.0])
        .filter(|at| at.saturating_sub(TOLERANCE) > now.0)
        .min();
    let Some(later) = later else { return Ok(()) };
    ledger
        .prepare_cached(
            "INSERT INTO clock_behind VALUES (?1, ?2)
             ON CONFLICT (run) DO UPDATE SET at_least = min(at_least, ?2)",
        )?
        .execute([run.id, later])
        .map(drop)
}

/// The messages delivered in runs whose clock was behind, if it is right at the time `?1`.
const MISDATED: &str = "SELECT id FROM message WHERE delivered_at IS NOT NULL AND last_run IN
    (SELECT run FROM clock_behind WHERE at_least <= ?1)";

/// Number of runs that are kept. A poll every five minutes makes 100,000 runs a year.
pub const MAX_RUNS: u32 = 1_000;

impl Reader {
    /// Returns whether an earlier run was interrupted or failed after it had begun to deliver.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn was_interrupted(&self) -> Result<bool> {
        self.connection
            .prepare_cached("SELECT 1 FROM run WHERE unsettled")
            .and_then(|mut select| select.exists([]))
            .map_err(|error| self.explain(&error))
    }

    /// Returns the messages that were delivered while the clock was behind, if it is not behind
    /// now. Their age counts from now on: when they were really delivered is unknown, and they must
    /// not be deleted as soon as the clock is right.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn misdated(&self, now: Timestamp) -> Result<HashSet<RowId>> {
        self.read(|ledger| {
            ledger
                .prepare_cached(MISDATED)?
                .query_map([now.0], |columns| columns.get(0).map(RowId))?
                .collect()
        })
    }

    /// Returns the last `count` runs, newest first.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn past_runs(&self, count: u32) -> Result<Vec<PastRun>> {
        self.read(|ledger| {
            ledger
                .prepare(
                    "SELECT started, ended, exit, delivered, bytes, deleted, failed, skipped, problem
                     FROM run ORDER BY id DESC LIMIT ?",
                )?
                .query_map([count], |row| {
                    Ok(PastRun {
                        started: Timestamp(row.get(0)?),
                        ended: row.get::<_, Option<i64>>(1)?.map(Timestamp),
                        exit: row.get(2)?,
                        tally: Tally {
                            delivered: row.get(3)?,
                            octets: row.get(4)?,
                            deleted: row.get(5)?,
                            failed: row.get(6)?,
                            skipped: row.get(7)?,
                        },
                        problem: row.get(8)?,
                    })
                })?
                .collect()
        })
    }
}

impl Ledger {
    /// Begins a run, marks messages as gone that have been missing for 30 days, and dates
    /// [misdated](Reader::misdated) messages anew.
    ///
    /// Returns the run, and whether an earlier one [was interrupted](Reader::was_interrupted).
    ///
    /// # Errors
    /// The ledger cannot be written, or a run is still going on in another process, whose lock file
    /// was removed ([`Kind::Busy`]).
    pub fn begin_run(&mut self, now: Timestamp) -> Result<(Run, bool)> {
        let interrupted = self.reader.was_interrupted()?;
        let pid = std::process::id();
        let process = process::identity(pid);
        let begun = self.write_relaxed(|ledger| {
            if let Some(other) = other_process(ledger, pid)? {
                return Ok(Err(other));
            }
            let grace = TimeSpan::from_days(GRACE_DAYS).seconds();
            ledger.execute(
                "UPDATE message SET state = 'gone'
                 WHERE missing_since < ? AND state IN ('new', 'delivered', 'quarantined')",
                [now.0.saturating_sub_unsigned(grace)],
            )?;
            ledger.execute(
                &format!("UPDATE message SET delivered_at = ?1 WHERE id IN ({MISDATED})"),
                [now.0],
            )?;
            ledger.execute("DELETE FROM clock_behind WHERE at_least <= ?", [now.0])?;
            ledger.execute(
                "INSERT INTO run (started, pid, process) VALUES (?, ?, ?)",
                params![now.0, pid, process],
            )?;
            Ok(Ok(Run {
                id: ledger.last_insert_rowid(),
            }))
        })?;
        let run = begun.map_err(|pid| {
            let what = format!("another pouch (pid {pid}) is fetching this account");
            Error::new(Kind::Busy, what)
                .with_fact("its lock file was removed")
                .with_hint("try again when it has finished, and do not remove lock files")
        })?;
        Ok((run, interrupted))
    }

    /// Marks the run as unsettled, durably, before its first delivery.
    ///
    /// If the run is interrupted, the mark makes the next run search for messages that were
    /// delivered without being recorded.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn mark_unsettled(&mut self, run: &Run) -> Result<()> {
        if !self.unsettled {
            self.write(|ledger| mark_unsettled(ledger, run))?;
            self.unsettled = true;
        }
        Ok(())
    }

    /// Closes interrupted runs, after their deliveries have been recorded.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn close_interrupted_runs(&mut self, run: &Run, now: Timestamp) -> Result<()> {
        self.write(|ledger| {
            ledger
                .execute(
                    "UPDATE run SET unsettled = 0, ended = coalesce(ended, ?),
                         problem = coalesce(problem, 'interrupted')
                     WHERE (unsettled OR ended IS NULL) AND id <> ?",
                    params![now.0, run.id],
                )
                .map(drop)
        })
    }

    /// Ends a run and records its result.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn end_run(&mut self, run: &Run, ended: &RunEnd<'_>, now: Timestamp) -> Result<()> {
        if !self.unsettled {
            // Leave the WAL as it is: a poll must not wait for a checkpoint.
            self.reader
                .connection
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
                .map_err(|error| self.explain(&error))?;
        }
        let RunEnd {
            tally,
            exit,
            problem,
            unsettled,
            ..
        } = ended;
        self.write_relaxed(|ledger| {
            totals::add(ledger, run, ended, now)?;
            ledger.execute(
                "UPDATE run SET ended = ?, unsettled = ?, exit = ?, delivered = ?, bytes = ?,
                     deleted = ?, failed = ?, skipped = ?, problem = ?
                 WHERE id = ?",
                params![
                    now.0,
                    unsettled,
                    exit.0,
                    tally.delivered,
                    size(tally.octets),
                    tally.deleted,
                    tally.failed,
                    tally.skipped,
                    problem.map(Error::what),
                    run.id
                ],
            )?;
            ledger.execute(
                "DELETE FROM run WHERE id <= (SELECT max(id) FROM run) - ?",
                [MAX_RUNS],
            )?;
            Ok(())
        })
    }
}

/// Returns the ID of another process that is carrying out a run, if there is one.
fn other_process(ledger: &rusqlite::Connection, pid: u32) -> rusqlite::Result<Option<u32>> {
    let mut select = ledger.prepare_cached(
        "SELECT pid, process FROM run WHERE ended IS NULL AND process IS NOT NULL AND pid <> ?",
    )?;
    let open: Vec<(u32, String)> = select
        .query_map([pid], |columns| Ok((columns.get(0)?, columns.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let runs = |(pid, process): &(u32, String)| process::identity(*pid).as_ref() == Some(process);
    Ok(open.into_iter().find(runs).map(|(pid, _)| pid))
}

/// The result of a run.
#[derive(Clone, Copy, Debug)]
pub struct RunEnd<'a> {
    /// The messages that it processed.
    pub tally: Tally,
    /// Its exit code.
    pub exit: Exit,
    /// The error that ended it, if any.
    pub problem: Option<&'a Error>,
    /// Whether delivered messages may be missing from the ledger, so that the next run must search.
    pub unsettled: bool,
    /// Whether a problem ended it, or messages were deferred.
    pub success: Success,
}

/// Whether the mail of an account was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Success {
    /// It was, except for single messages that failed.
    Yes,
    /// It was not, because of a problem.
    No,
    /// A signal ended the run.
    Unknown,
}
