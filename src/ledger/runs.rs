//! Runs: what each did, and what stopped it.

use rusqlite::{OptionalExtension, config::DbConfig, params};

use super::{GRACE_DAYS, Ledger};
use crate::{
    domain::time::{TimeSpan, Timestamp},
    error::{Error, Exit, Result},
    event::Tally,
};

/// A run under way.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    id: i64,
    /// Whether it asks for messages ahead of answers.
    pub ahead: bool,
}

impl Run {
    /// Its number, another one for each run.
    pub fn number(&self) -> usize {
        usize::try_from(self.id).unwrap_or(0)
    }

    pub(super) fn id(&self) -> i64 {
        self.id
    }
}

/// A run as `status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastRun {
    /// When it began.
    pub started: Timestamp,
    /// When it ended; nothing where it died, or is under way.
    pub ended: Option<Timestamp>,
    /// Its exit code.
    pub exit: Option<u8>,
    /// What it did.
    pub tally: Tally,
    /// What stopped it.
    pub problem: Option<String>,
}

pub(super) fn mark_open(ledger: &rusqlite::Transaction<'_>, run: &Run) -> rusqlite::Result<()> {
    ledger
        .prepare_cached("UPDATE run SET open = 1, ahead = ?2 WHERE id = ?1")?
        .execute(params![run.id, run.ahead])
        .map(drop)
}

/// How long trouble that may pass by itself is not spoken of, and how long before a person is
/// reminded of other trouble.
const A_DAY: TimeSpan = TimeSpan::from_days(1);

impl Ledger {
    /// Begins a run, and takes messages that have long been missing for gone. Tells whether a run
    /// before it died, or failed, after it had begun to deliver.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn begin_run(&mut self, now: Timestamp) -> Result<(Run, bool)> {
        let account = self.account;
        self.write_relaxed(|ledger| {
            let died = ledger.prepare_cached("SELECT 1 FROM run WHERE account = ? AND open")?.exists([account])?;
            ledger.execute(
                "UPDATE message SET state = 'gone'
                 WHERE account = ? AND missing < ? AND state IN ('new', 'delivered', 'quarantined')",
                params![account, now.0.saturating_sub_unsigned(TimeSpan::from_days(GRACE_DAYS).seconds())],
            )?;
            ledger.execute("INSERT INTO run (account, started) VALUES (?, ?)", params![account, now.0])?;
            Ok((Run { id: ledger.last_insert_rowid(), ahead: false }, died))
        })
    }

    /// Marks the run as open, durably: from now on messages may be safe that the ledger does not
    /// know of, and should the run die, the next one looks for them.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn open_run(&mut self, run: &Run) -> Result<()> {
        let opened = Some(run.ahead);
        if self.opened < opened {
            self.transact(|ledger| mark_open(ledger, run))?;
            self.opened = opened;
        }
        Ok(())
    }

    /// Whether the last run that died had asked for messages ahead.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn died_ahead(&self) -> Result<bool> {
        let last = "SELECT ahead FROM run WHERE account = ? AND open ORDER BY id DESC LIMIT 1";
        self.connection
            .query_row(last, [self.account], |row| row.get(0))
            .optional()
            .map(|ahead| ahead.unwrap_or(false))
            .map_err(|error| self.explained(&error))
    }

    /// Closes the runs that died, once what they left has been looked after.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn close_dead_runs(&mut self, run: &Run, now: Timestamp) -> Result<()> {
        let account = self.account;
        self.transact(|ledger| {
            ledger
                .execute(
                    "UPDATE run SET open = 0, ended = coalesce(ended, ?), problem = coalesce(problem, 'it was killed')
                     WHERE account = ? AND (open OR ended IS NULL) AND id <> ?",
                    params![now.0, account, run.id],
                )
                .map(drop)
        })
    }

    /// Ends a run. One that is `unsettled`, since messages may lie in the Maildir that the ledger
    /// does not know of, stays open: the next run looks for them.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn end_run(
        &mut self,
        run: &Run,
        tally: Tally,
        exit: Exit,
        problem: Option<&Error>,
        unsettled: bool,
        now: Timestamp,
    ) -> Result<()> {
        if self.opened.is_none() {
            // what little there is in the log may stay there: a poll writes nothing to the disk
            self.connection
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
                .map_err(|error| self.explained(&error))?;
        }
        let account = self.account;
        self.write_relaxed(|ledger| {
            ledger.execute(
                "UPDATE run SET ended = ?, open = ?, exit = ?, delivered = ?, octets = ?, deleted = ?, failed = ?,
                     skipped = ?, problem = ? WHERE id = ?",
                params![
                    now.0,
                    unsettled,
                    exit.0,
                    tally.delivered,
                    i64::try_from(tally.octets).unwrap_or(i64::MAX),
                    tally.deleted,
                    tally.failed,
                    tally.skipped,
                    problem.map(Error::what),
                    run.id
                ],
            )?;
            // a year of polls every five minutes is 100,000 runs: nobody reads them
            ledger.execute(
                "DELETE FROM run WHERE account = ?1 AND id < (SELECT max(id) FROM run WHERE account = ?1) - 1000",
                [account],
            )?;
            Ok(())
        })
    }

    /// Whether a person needs to be told of `problem` where nobody watches: trouble that may pass
    /// once it has lasted a day, any other at once, and again each day that it lasts.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn should_report(&mut self, problem: &Error, now: Timestamp) -> Result<bool> {
        let account = self.account;
        self.transact(|ledger| {
            let (same, since, told): (bool, Option<i64>, Option<i64>) = ledger.query_row(
                "SELECT coalesce(trouble = ?2, 0), since, told FROM account WHERE id = ?1",
                params![account, problem.what()],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )?;
            // a passing trouble goes on, whatever shape it takes from run to run
            let goes_on = same || problem.kind().is_transient();
            let since = Timestamp(since.filter(|_| goes_on).unwrap_or(now.0));
            let told = told
                .filter(|_| same || problem.kind().is_transient())
                .map(Timestamp);
            let ripe = !problem.kind().is_transient() || now.since(since) >= A_DAY.seconds();
            let tell = ripe && told.is_none_or(|told| now.since(told) >= A_DAY.seconds());
            ledger.execute(
                "UPDATE account SET trouble = ?2, since = ?3, told = ?4 WHERE id = ?1",
                params![
                    account,
                    problem.what(),
                    since.0,
                    if tell {
                        Some(now.0)
                    } else {
                        told.map(|told| told.0)
                    }
                ],
            )?;
            Ok(tell)
        })
    }

    /// Notes that all is well: trouble that comes after this is new.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn clear_problem(&mut self) -> Result<()> {
        let account = self.account;
        let troubled = self
            .connection
            .query_row(
                "SELECT since IS NOT NULL FROM account WHERE id = ?",
                [account],
                |row| row.get(0),
            )
            .map_err(|error| self.explained(&error))?;
        if troubled {
            self.transact(|ledger| {
                ledger
                    .execute(
                        "UPDATE account SET trouble = NULL, since = NULL, told = NULL WHERE id = ?",
                        [account],
                    )
                    .map(drop)
            })?;
        }
        Ok(())
    }

    /// The last `count` runs, newest first.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn past_runs(&self, count: u32) -> Result<Vec<PastRun>> {
        let read = || {
            self.connection
                .prepare(
                    "SELECT started, ended, exit, delivered, octets, deleted, failed, problem, skipped
                     FROM run WHERE account = ? ORDER BY id DESC LIMIT ?",
                )?
                .query_map(params![self.account, count], |row| {
                    Ok(PastRun {
                        started: Timestamp(row.get(0)?),
                        ended: row.get::<_, Option<i64>>(1)?.map(Timestamp),
                        exit: row.get(2)?,
                        tally: Tally {
                            delivered: row.get(3)?,
                            octets: row.get(4)?,
                            deleted: row.get(5)?,
                            failed: row.get(6)?,
                            skipped: row.get(8)?,
                        },
                        problem: row.get(7)?,
                    })
                })?
                .collect::<rusqlite::Result<_>>()
        };
        read().map_err(|error| self.explained(&error))
    }

    /// When trouble began that still lasts.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn problem_since(&self) -> Result<Option<Timestamp>> {
        self.connection
            .query_row(
                "SELECT since FROM account WHERE id = ?",
                [self.account],
                |row| row.get::<_, Option<i64>>(0),
            )
            .optional()
            .map(|since| since.flatten().map(Timestamp))
            .map_err(|error| self.explained(&error))
    }
}
