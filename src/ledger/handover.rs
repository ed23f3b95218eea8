//! Messages on their way: too short, handed over, put off, taken by some and not by others.

use rusqlite::params;

use super::{Ledger, deliveries::size};
use crate::{
    domain::{ids::RowId, time::Timestamp},
    error::Result,
};

impl Ledger {
    /// Notes how many octets came for a copy that is to be delivered, where they are too few,
    /// before anybody can see it: what lies in a place does not tell, since filters and added
    /// fields change the size. Nothing stands for enough of them.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn note_short(&mut self, row: RowId, came: Option<u64>) -> Result<()> {
        self.transact(|ledger| {
            ledger
                .execute(
                    "UPDATE message SET came = ?2 WHERE id = ?1",
                    params![row.0, came.map(size)],
                )
                .map(drop)
        })
    }

    /// Notes that a program gets the message now: if nothing more is heard of it, it may have been
    /// delivered or not. Gives whether that is so already, since a run that ended meanwhile.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn begin_handover(&mut self, row: RowId) -> Result<bool> {
        self.begin_handing(
            "UPDATE message SET state = 'delivering' WHERE id = ? AND state <> 'delivering'",
            row,
        )
    }

    /// Takes that back: the program did not take the message.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn abort_handover(&mut self, row: RowId) -> Result<()> {
        self.transact(|ledger| {
            ledger
                .execute(
                    "UPDATE message SET state = CASE WHEN delivered IS NULL THEN 'new' ELSE 'delivered' END
                     WHERE id = ? AND state = 'delivering'",
                    [row.0],
                )
                .map(drop)
        })
    }

    /// Notes that a program gets the notice of the message now; gives what
    /// [`begin_handover`](Self::begin_handover) does.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn begin_notice_handover(&mut self, row: RowId) -> Result<bool> {
        self.begin_handing(
            "UPDATE message SET telling = 1 WHERE id = ? AND NOT telling",
            row,
        )
    }

    /// Takes that back: the program did not take the notice.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn abort_notice_handover(&mut self, row: RowId) -> Result<()> {
        self.transact(|ledger| {
            ledger
                .execute("UPDATE message SET telling = 0 WHERE id = ?", [row.0])
                .map(drop)
        })
    }

    /// Runs a statement that changes the row, unless it had been run before.
    fn begin_handing(&mut self, statement: &str, row: RowId) -> Result<bool> {
        self.transact(|ledger| Ok(ledger.execute(statement, [row.0])? == 0))
    }

    /// Notes that a message has to wait for trouble to pass: it is no attempt, but in the next run
    /// the others come first.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn deferred(&mut self, row: RowId, now: Timestamp) -> Result<()> {
        self.transact(|ledger| {
            ledger
                .execute(
                    "UPDATE message SET next_try = ? WHERE id = ? AND state = 'new' AND next_try IS NULL",
                    params![now.0, row.0],
                )
                .map(drop)
        })
    }

    /// Notes that `taker`, one of several, has a message which was not delivered to all of them.
    ///
    /// # Errors
    /// The ledger cannot be written: the taker gets it again.
    pub fn record_partial_delivery(
        &mut self,
        row: RowId,
        taker: &str,
        now: Timestamp,
    ) -> Result<()> {
        self.transact(|ledger| {
            ledger
                .execute(
                    "INSERT INTO part VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    params![row.0, taker, now.0],
                )
                .map(drop)
        })
    }
}
