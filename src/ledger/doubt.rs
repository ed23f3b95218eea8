//! What was delivered for a message, and may be another one.

use std::collections::HashSet;

use rusqlite::params;

use super::Ledger;
use crate::{error::Result, types::RowId};

impl Ledger {
    /// What runs that died had delivered and had asked for ahead: whether answers had got lost in
    /// their sessions, nobody knows. Those are left out whose size proves them: as many octets came as
    /// were listed, and no other message has as many.
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
    /// the next run that finds them listed. Where this one is `unsettled`, that goes for those too that
    /// are found to be delivered only later.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn distrust(&mut self, rows: &HashSet<RowId>, unsettled: bool) -> Result<()> {
        self.transact(|ledger| {
            let mut update = ledger
                .prepare_cached("UPDATE message SET doubted = 1 WHERE id = ?1 AND (state = 'delivered' OR ?2)")?;
            for row in rows {
                update.execute(params![row.0, unsettled])?;
            }
            Ok(())
        })
    }
}
