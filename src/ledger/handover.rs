//! Deliveries whose result is unknown after an interruption: to programs, to LMTP servers, and to
//! several destinations.
//!
//! A file in a Maildir shows that it was delivered. A program or an LMTP server does not, so the
//! ledger records the handover before it begins. If the run is interrupted, the next one delivers
//! the message again, since a duplicate is better than a loss, and reports it.

use rusqlite::params;

use super::{Ledger, size};
use crate::{
    domain::{ids::RowId, time::Timestamp},
    error::Result,
};

impl Ledger {
    /// Records that a copy is truncated, before its file gets its name.
    ///
    /// `octets` is the number of bytes received, or `None` if the copy is complete. The delivered
    /// file does not show it, since filters and added fields change its size.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn record_partial_bytes(&mut self, row: RowId, octets: Option<u64>) -> Result<()> {
        self.write(|ledger| {
            ledger
                .execute(
                    "UPDATE message SET partial_bytes = ?2 WHERE id = ?1",
                    params![row.0, octets.map(size)],
                )
                .map(drop)
        })
    }

    /// Records that the message is about to be handed over.
    ///
    /// Until the result is recorded, it is unknown whether the message was delivered. Returns
    /// whether an interrupted run had begun a handover, so that the message may be delivered twice.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn begin_handover(&mut self, row: RowId) -> Result<bool> {
        self.is_begun(
            "UPDATE message SET state = 'delivering' WHERE id = ? AND state <> 'delivering'",
            row,
        )
    }

    /// Records that the message was not accepted.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn abort_handover(&mut self, row: RowId) -> Result<()> {
        self.write(|ledger| {
            ledger
                .execute(
                    "UPDATE message
                     SET state = CASE WHEN delivered_at IS NULL THEN 'new' ELSE 'delivered' END
                     WHERE id = ? AND state = 'delivering'",
                    [row.0],
                )
                .map(drop)
        })
    }

    /// Records that the notice about these messages is about to be handed over.
    ///
    /// Returns whether an interrupted run had begun to, for any of them, like
    /// [`begin_handover`](Self::begin_handover).
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn begin_notice_handover(&mut self, rows: &[RowId]) -> Result<bool> {
        let mut begun = false;
        for row in rows {
            begun |= self.is_begun(
                "UPDATE message SET notice_in_flight = 1 WHERE id = ? AND NOT notice_in_flight",
                *row,
            )?;
        }
        Ok(begun)
    }

    /// Records that the notice about these messages was not accepted.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn abort_notice_handover(&mut self, rows: &[RowId]) -> Result<()> {
        self.write(|ledger| {
            let mut update =
                ledger.prepare_cached("UPDATE message SET notice_in_flight = 0 WHERE id = ?")?;
            rows.iter()
                .try_for_each(|row| update.execute([row.0]).map(drop))
        })
    }

    /// Runs a statement that sets a flag of the row. Returns whether the flag was already set.
    fn is_begun(&mut self, statement: &str, row: RowId) -> Result<bool> {
        self.write(|ledger| Ok(ledger.execute(statement, [row.0])? == 0))
    }

    /// Records that one of several destinations has accepted a message.
    ///
    /// # Errors
    /// The ledger cannot be written. Then a later run delivers the message there again.
    pub fn record_partial_delivery(
        &mut self,
        row: RowId,
        recipient: &str,
        now: Timestamp,
    ) -> Result<()> {
        self.write(|ledger| {
            ledger
                .execute(
                    "INSERT INTO partial_delivery VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    params![row.0, recipient, now.0],
                )
                .map(drop)
        })
    }
}
