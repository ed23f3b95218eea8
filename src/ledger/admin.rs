//! Changes by `pouch ledger`, the only ones that a user makes to the ledger.
//!
//! None of them deletes a message from the server: [`Ledger::request_deletion`] only sets a flag,
//! which the next run acts on.

use std::collections::HashSet;

use rusqlite::params;

use super::Ledger;
use crate::{
    domain::{
        ids::{Listed, MsgNum, RowId},
        reconcile::Reconciled,
        time::Timestamp,
    },
    error::Result,
};

/// The result of [`Ledger::retry`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOutcome {
    /// The number of messages that the next run fetches.
    pub again: u64,
    /// The number of delivered messages whose requested deletion was cancelled.
    pub deletions_cancelled: u64,
}

/// A skipped message: its number in the session, its size in bytes and its row.
type SkippedMessage = (MsgNum, u64, RowId);

impl Ledger {
    /// Resets messages so that the next run fetches them, and cancels requests to delete them.
    ///
    /// Changes the messages `ids`, or all failed ones if `ids` is empty. Messages in `ids` are
    /// fetched even if a rule skips them, or if they are larger than `max-size`.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn retry(&mut self, ids: &[RowId]) -> Result<RetryOutcome> {
        const RETRY: &str = "UPDATE message SET attempts = 0, last_run = NULL, retry_after = NULL,
                 reported_at = NULL, delete_requested = 0, delete_by_rule = 0,
                 force_fetch = force_fetch OR delete_requested OR delete_by_rule
                     OR (?1 IS NOT NULL AND delivered_at IS NULL),
                 reason = CASE WHEN delete_requested OR delete_by_rule OR state = 'skipped'
                     THEN NULL ELSE reason END,
                 state = CASE WHEN state IN ('quarantined', 'skipped') THEN 'new' ELSE state END
             WHERE (?1 IS NULL OR id = ?1)
                 AND (attempts > 0 AND (state IN ('quarantined', 'new') OR truncated)
                     OR delete_requested OR delete_by_rule
                     OR (state IN ('new', 'skipped') AND ?1 IS NOT NULL))
             RETURNING state = 'delivered' AND NOT truncated";
        self.write(|ledger| {
            let mut update = ledger.prepare(RETRY)?;
            let mut outcome = RetryOutcome::default();
            for id in some_or_all(ids) {
                for delivered in update.query_map([id], |row| row.get::<_, bool>(0))? {
                    if delivered? {
                        outcome.deletions_cancelled += 1;
                    } else {
                        outcome.again += 1;
                    }
                }
            }
            Ok(outcome)
        })
    }

    /// Deletes messages from the ledger. Returns how many existed.
    ///
    /// Those that are still on the server are fetched as new messages.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn forget(&mut self, ids: &[RowId]) -> Result<u64> {
        self.change(ids, "DELETE FROM message WHERE id = ?")
    }

    /// Requests the deletion of messages from the server in the next run, delivered or not.
    ///
    /// Returns how many of them exist.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn request_deletion(&mut self, ids: &[RowId]) -> Result<u64> {
        self.change(
            ids,
            "UPDATE message SET delete_requested = 1 WHERE id = ? AND state <> 'gone'",
        )
    }

    fn change(&mut self, ids: &[RowId], statement: &str) -> Result<u64> {
        self.write(|ledger| {
            let mut update = ledger.prepare(statement)?;
            ids.iter().try_fold(
                0,
                |changed, id| Ok(changed + update.execute([id.0])? as u64),
            )
        })
    }

    /// Skips the messages at the indices `selected` that were not delivered, so that they are
    /// neither fetched nor deleted. With `as_fetched`, records them as delivered `now` instead, so
    /// that they are deleted when `keep` says so; messages that a rule or a filter skipped remain
    /// skipped.
    ///
    /// `reconciled` is the result of reconciling `listed`. Returns how many messages changed, and
    /// all skipped messages.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn catch_up(
        &mut self,
        mut reconciled: Reconciled,
        listed: &[Listed],
        selected: &HashSet<usize>,
        (as_fetched, now): (bool, Timestamp),
    ) -> Result<(u64, Vec<SkippedMessage>)> {
        // An unverified row may now belong to another message: it stays missing, so that the next
        // run compares the headers.
        let unverified: HashSet<_> = reconciled.unverified.iter().map(|one| one.row).collect();
        reconciled.relisted.retain(|row| !unverified.contains(row));
        self.admit(&mut reconciled, listed, None, now)?;
        let entries = reconciled.mailbox.entries.iter().enumerate();
        let skipped: Vec<_> = entries
            .filter(|(index, entry)| entry.known.is_undelivered() && selected.contains(index))
            .filter_map(|(_, entry)| Some((entry.num, entry.octets, entry.row?)))
            .collect();
        let rows: Vec<_> = skipped.iter().map(|(.., row)| *row).collect();
        let changed = if as_fetched {
            self.mark_fetched(&rows, now)
        } else {
            self.change(
                &rows,
                "UPDATE message SET state = 'skipped'
                 WHERE id = ? AND delivered_at IS NULL AND state <> 'skipped'",
            )
        };
        Ok((changed?, skipped))
    }

    /// Records messages as delivered, with zero bytes received. Returns how many changed.
    fn mark_fetched(&mut self, rows: &[RowId], now: Timestamp) -> Result<u64> {
        self.write(|ledger| {
            let mut update = ledger.prepare(
                "UPDATE message SET state = 'delivered', delivered_at = ?2, bytes_received = 0,
                     truncated = 0, attempts = 0, retry_after = NULL, reason = NULL
                 WHERE id = ?1 AND delivered_at IS NULL
                     AND (state <> 'skipped' OR reason IS NULL)",
            )?;
            rows.iter().try_fold(0, |changed, row| {
                Ok(changed + update.execute(params![row.0, now.0])? as u64)
            })
        })
    }
}

/// Returns the parameters for a statement that takes one row, or NULL for all rows.
fn some_or_all(ids: &[RowId]) -> Vec<Option<i64>> {
    if ids.is_empty() {
        vec![None]
    } else {
        ids.iter().map(|id| Some(id.0)).collect()
    }
}
