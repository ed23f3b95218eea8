//! Messages that somebody else takes: handed over, put off, taken by some and not by others.

use rusqlite::params;

use super::Ledger;
use crate::{
    error::Result,
    types::{Epoch, RowId},
};

impl Ledger {
    /// Notes that a program gets the message now: if nothing more is heard of it, it may have been
    /// delivered or not.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn hand_over(&mut self, row: RowId) -> Result<()> {
        self.transact(|ledger| {
            ledger.execute("UPDATE message SET state = 'delivering' WHERE id = ?", [row.0]).map(drop)
        })
    }

    /// Takes that back: the program did not take the message.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn take_back(&mut self, row: RowId) -> Result<()> {
        self.transact(|ledger| {
            ledger.execute("UPDATE message SET state = 'new' WHERE id = ? AND state = 'delivering'", [row.0]).map(drop)
        })
    }

    /// Messages that a program got when pouch died: whether it took them is not known.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn handed_over(&self) -> Result<u64> {
        self.connection
            .query_row(
                "SELECT count(*) FROM message WHERE account = ? AND state = 'delivering'",
                [self.account],
                |row| row.get(0),
            )
            .map_err(|error| self.explained(&error))
    }

    /// Notes that a message has to wait for trouble to pass: it is no attempt, but in the next run
    /// the others come first.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn put_off(&mut self, row: RowId, now: Epoch) -> Result<()> {
        self.transact(|ledger| {
            ledger
                .execute(
                    "UPDATE message SET next_try = ? WHERE id = ? AND state = 'new' AND next_try IS NULL",
                    params![now.0, row.0],
                )
                .map(drop)
        })
    }

    /// Those of several takers that have a message already, though it does not count as delivered.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn parts(&self, row: RowId) -> Result<Vec<String>> {
        self.connection
            .prepare_cached("SELECT taker FROM part WHERE message = ? ORDER BY at, taker")
            .and_then(|mut select| select.query_map([row.0], |columns| columns.get(0))?.collect())
            .map_err(|error| self.explained(&error))
    }

    /// Notes that `taker`, one of several, has a message which was not delivered to all of them.
    ///
    /// # Errors
    /// The ledger cannot be written: the taker gets it again.
    pub fn note_part(&mut self, row: RowId, taker: &str, now: Epoch) -> Result<()> {
        self.transact(|ledger| {
            ledger
                .execute("INSERT INTO part VALUES (?, ?, ?) ON CONFLICT DO NOTHING", params![row.0, taker, now.0])
                .map(drop)
        })
    }
}
