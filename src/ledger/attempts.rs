//! Messages that were not delivered: failed, deferred, skipped, or deleted by a rule.

use rusqlite::{OptionalExtension, params};

use super::{Ledger, Run};
use crate::{
    domain::{
        blame::is_same_reason, ids::RowId, message::HeaderSummary, plan::retry_delay,
        time::Timestamp,
    },
    error::Result,
};

/// The result of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The number of failed attempts.
    pub attempts: u32,
    /// Whether this attempt quarantined the message.
    pub quarantined: bool,
    /// The time of the next attempt. `None`: the next run.
    pub next_try: Option<Timestamp>,
}

impl Ledger {
    /// Charges a message with a failed attempt, at most once per run.
    ///
    /// After `limit` attempts the message is quarantined, and retried after 1, 2, 4 … 32 days.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn charge_attempt(
        &mut self,
        row: RowId,
        run: &Run,
        limit: u32,
        (reason, summary): (&str, &HeaderSummary),
        now: Timestamp,
    ) -> Result<Failed> {
        self.write(|ledger| {
            let (last_run, attempts, was, delivered): (Option<i64>, u32, bool, bool) = ledger
                .query_row(
                    "SELECT last_run, attempts, state = 'quarantined', delivered_at IS NOT NULL
                     FROM message WHERE id = ?",
                    [row.0],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
                )?;
            let attempts = if last_run == Some(run.id()) { attempts } else { attempts + 1 };
            let over = attempts.checked_sub(limit);
            let next_try = over.map(|over| now.after(retry_delay(over)));
            // A truncated message was delivered, so it is not quarantined.
            let quarantined = over.is_some() && !delivered;
            ledger.execute(
                "UPDATE message SET attempts = ?2, last_run = ?3, reason = ?4, retry_after = ?5,
                     sender = coalesce(?6, sender), subject = coalesce(?7, subject),
                     reported_at = CASE WHEN ?8 AND state <> 'quarantined' THEN NULL ELSE reported_at END,
                     state = CASE WHEN ?8 THEN 'quarantined'
                         WHEN delivered_at IS NULL THEN 'new' ELSE state END
                 WHERE id = ?1",
                params![
                    row.0,
                    attempts,
                    run.id(),
                    reason,
                    next_try.map(|at| at.0),
                    summary.sender,
                    summary.subject,
                    quarantined
                ],
            )?;
            Ok(Failed { attempts, quarantined: quarantined && !was, next_try })
        })
    }

    /// Makes quarantined messages due if one that failed for the same reason is among those that
    /// `arrived`, since the cause of the failures has ended. Returns their number.
    ///
    /// # Errors
    /// The ledger cannot be read or written.
    pub fn retry_like(
        &mut self,
        arrived: impl Iterator<Item = RowId>,
        now: Timestamp,
    ) -> Result<usize> {
        let (waiting, ended) = self.reader.read(|ledger| {
            let waiting: Vec<(i64, String)> = ledger
                .prepare_cached(
                    "SELECT id, coalesce(reason, '') FROM message
                     WHERE state = 'quarantined' AND retry_after > ?",
                )?
                .query_map([now.0], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let mut ended: Vec<String> = Vec::new();
            if !waiting.is_empty() {
                let mut failed = ledger.prepare_cached(
                    "SELECT reason FROM message
                     WHERE id = ? AND delivered_at IS NULL AND reason IS NOT NULL",
                )?;
                for row in arrived {
                    ended.extend(failed.query_row([row.0], |row| row.get(0)).optional()?);
                }
            }
            Ok((waiting, ended))
        })?;
        let due: Vec<_> = waiting
            .into_iter()
            .filter(|(_, reason)| ended.iter().any(|ended| is_same_reason(reason, ended)))
            .collect();
        if due.is_empty() {
            return Ok(0);
        }
        self.write(|ledger| {
            let mut update =
                ledger.prepare_cached("UPDATE message SET retry_after = ? WHERE id = ?")?;
            due.iter()
                .try_for_each(|(row, _)| update.execute([now.0, *row]).map(drop))
        })?;
        Ok(due.len())
    }

    /// Records that a message is deferred because of a transient problem.
    ///
    /// This is not counted as an attempt, but the next run fetches other messages first.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn defer(&mut self, row: RowId, now: Timestamp) -> Result<()> {
        self.write(|ledger| {
            ledger
                .execute(
                    "UPDATE message SET retry_after = ? WHERE id = ? AND state = 'new'
                     AND retry_after IS NULL",
                    params![now.0, row.0],
                )
                .map(drop)
        })
    }

    /// Skips messages, each for a reason, so that they are neither fetched nor deleted.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn skip(&mut self, messages: &[(RowId, String)]) -> Result<()> {
        self.set_reason(
            messages,
            "UPDATE message SET state = 'skipped', reason = ?2
             WHERE id = ?1 AND delivered_at IS NULL",
        )
    }

    /// Records that a rule deletes messages from the server unread, each for a reason.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn mark_rule_deletion(&mut self, messages: &[(RowId, String)]) -> Result<()> {
        self.set_reason(
            messages,
            "UPDATE message SET delete_by_rule = 1, reason = ?2
             WHERE id = ?1 AND delivered_at IS NULL",
        )
    }

    /// Records that the rules no longer delete these messages.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn clear_rule_deletion(&mut self, rows: &[RowId]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        self.write(|ledger| {
            let mut update = ledger.prepare_cached(
                "UPDATE message SET delete_by_rule = 0, reason = NULL WHERE id = ? AND delete_by_rule",
            )?;
            rows.iter().try_for_each(|row| update.execute([row.0]).map(drop))
        })
    }

    fn set_reason(&mut self, messages: &[(RowId, String)], statement: &str) -> Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        self.write(|ledger| {
            let mut update = ledger.prepare_cached(statement)?;
            messages
                .iter()
                .try_for_each(|(row, reason)| update.execute(params![row.0, reason]).map(drop))
        })
    }

    /// Records the senders and the subjects of messages. A power failure may undo this.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn describe_all(&mut self, messages: &[(RowId, HeaderSummary)]) -> Result<()> {
        self.write_relaxed(|ledger| {
            let mut update = ledger
                .prepare_cached("UPDATE message SET sender = ?2, subject = ?3 WHERE id = ?1")?;
            messages.iter().try_for_each(|(row, summary)| {
                update
                    .execute(params![row.0, summary.sender, summary.subject])
                    .map(drop)
            })
        })
    }

    /// Records the sender and the subject of a message.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn describe(&mut self, row: RowId, summary: &HeaderSummary) -> Result<()> {
        self.write(|ledger| {
            ledger
                .execute(
                    "UPDATE message SET sender = ?2, subject = ?3 WHERE id = ?1",
                    params![row.0, summary.sender, summary.subject],
                )
                .map(drop)
        })
    }
}
