//! What was delivered for a message, and may be another one; and what became of such doubts.

use std::collections::HashSet;

use rusqlite::params;

use super::{Ledger, deliveries::size};
use crate::{
    domain::ids::{Listed, RowId},
    error::Result,
};

/// Messages that were known again by their headers, though the server shows them otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recognized {
    /// Rows of messages that have another UID now.
    pub moved: Vec<(RowId, Listed)>,
    /// Rows of messages whose UID is another message's now.
    pub replaced: Vec<RowId>,
    /// Rows of messages that are the same in spite of a doubt, with their size by LIST now.
    pub confirmed: Vec<(RowId, u64)>,
}

impl Ledger {
    /// Takes note of messages that were recognized.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn recognize(&mut self, recognized: &Recognized) -> Result<()> {
        self.transact(|ledger| {
            let mut adopt = ledger.prepare_cached(
                "UPDATE message SET uid = ?2, octets = ?3, missing = NULL WHERE id = ?1",
            )?;
            for (row, message) in &recognized.moved {
                adopt.execute(params![row.0, message.uid.as_bytes(), size(message.octets)])?;
            }
            // with a UID that no server gives: its own is another message's
            let mut retire = ledger
                .prepare_cached("UPDATE message SET state = 'gone', uid = x'' WHERE id = ?")?;
            for row in &recognized.replaced {
                retire.execute([row.0])?;
            }
            let mut confirm = ledger
                .prepare_cached("UPDATE message SET octets = ?2, doubted = 0 WHERE id = ?1")?;
            for (row, octets) in &recognized.confirmed {
                confirm.execute(params![row.0, size(*octets)])?;
            }
            Ok(())
        })
    }

    /// What runs that died had delivered and had asked for ahead: whether answers had got lost in
    /// their sessions, nobody knows. Those are left out whose size proves them: as many octets came
    /// as were listed, and no other message has as many.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn left_unproven(&self) -> Result<HashSet<RowId>> {
        self.read(|ledger| {
            ledger
                .prepare(
                    "SELECT id FROM message AS m
                     WHERE account = ?1 AND state = 'delivered'
                     AND tried IN (SELECT id FROM run WHERE account = ?1 AND open AND ahead)
                     AND (got IS NOT octets OR octets IN (
                         SELECT octets FROM message WHERE account = ?1 GROUP BY octets HAVING count(*) > 1))",
                )?
                .query_map([self.account], |row| row.get(0).map(RowId))?
                .collect()
        })
    }

    /// Notes that what was delivered for these may be other messages: their headers are compared by
    /// the next run that finds them listed. Where this one is `unsettled`, that goes for those too
    /// that are found to be delivered only later.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn distrust(&mut self, rows: &HashSet<RowId>, unsettled: bool) -> Result<()> {
        self.transact(|ledger| {
            let mut update = ledger.prepare_cached(
                "UPDATE message SET doubted = 1 WHERE id = ?1 AND (state = 'delivered' OR ?2)",
            )?;
            for row in rows {
                update.execute(params![row.0, unsettled])?;
            }
            Ok(())
        })
    }
}
