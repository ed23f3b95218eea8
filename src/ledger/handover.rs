//! Messages that are being handed over: to a program or an LMTP server, or to several destinations.

use rusqlite::params;

use super::{Ledger, size};
use crate::{
    domain::{ids::RowId, time::Timestamp},
    error::Result,
};

impl Ledger {
    /// Records how many octets of a copy were received if they are too few, before the copy can be
    /// seen: the delivered file does not tell, since filters and added fields change its size.
    /// `None`: they are not too few.
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

    /// Records that a program gets the message now: until its result is recorded, it may have been
    /// delivered or not. Returns whether that is so already, since an interrupted run.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn begin_handover(&mut self, row: RowId) -> Result<bool> {
        self.is_begun(
            "UPDATE message SET state = 'delivering' WHERE id = ? AND state <> 'delivering'",
            row,
        )
    }

    /// Records that the program did not accept the message.
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

    /// Records that a program gets the notice about the message now. Returns what
    /// [`begin_handover`](Self::begin_handover) does.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn begin_notice_handover(&mut self, row: RowId) -> Result<bool> {
        self.is_begun(
            "UPDATE message SET notice_in_flight = 1 WHERE id = ? AND NOT notice_in_flight",
            row,
        )
    }

    /// Records that the program did not accept the notice.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn abort_notice_handover(&mut self, row: RowId) -> Result<()> {
        self.write(|ledger| {
            ledger
                .execute(
                    "UPDATE message SET notice_in_flight = 0 WHERE id = ?",
                    [row.0],
                )
                .map(drop)
        })
    }

    /// Runs a statement that changes the row once. Returns whether it had been changed before.
    fn is_begun(&mut self, statement: &str, row: RowId) -> Result<bool> {
        self.write(|ledger| Ok(ledger.execute(statement, [row.0])? == 0))
    }

    /// Records that one of several destinations has a message that not all of them have.
    ///
    /// # Errors
    /// The ledger cannot be written: the destination gets the message again.
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
