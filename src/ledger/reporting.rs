//! What people were told of single messages, so that each is told once.

use rusqlite::params;

use super::{Ledger, Row, admin};
use crate::{
    domain::{ids::RowId, time::Timestamp},
    error::Result,
};

impl Ledger {
    /// Those of `rows` that a person is to be told of now: of each once, unless something new
    /// happens.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn mark_reported(&mut self, rows: &[RowId], now: Timestamp) -> Result<Vec<RowId>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        self.transact(|ledger| {
            let mut update = ledger.prepare_cached(
                "UPDATE message SET told = ?, telling = 0 WHERE id = ? AND told IS NULL",
            )?;
            let mut unreported_quarantines = Vec::new();
            for row in rows {
                if update.execute(params![now.0, row.0])? > 0 {
                    unreported_quarantines.push(*row);
                }
            }
            Ok(unreported_quarantines)
        })
    }

    /// Messages in quarantine that nobody was told of.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn unreported_quarantines(&self) -> Result<Vec<Row>> {
        self.read(|ledger| {
            let columns = admin::COLUMNS;
            ledger
                .prepare_cached(&format!(
                    "SELECT {columns} FROM message WHERE account = ? AND state = 'quarantined' AND told IS NULL"
                ))?
                .query_map([self.account], |columns| self.row(columns))?
                .collect()
        })
    }

    /// Takes note of notices that a run which died had delivered. `names` are files that lie there:
    /// those that are no notices, or tell of an earlier quarantine, say nothing.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn recover_told(&mut self, names: &[String], now: Timestamp) -> Result<()> {
        let notices: Vec<_> = names
            .iter()
            .filter_map(|name| self.notice_of(name))
            .collect();
        if notices.is_empty() {
            return Ok(());
        }
        self.transact(|ledger| {
            let mut update = ledger.prepare_cached(
                "UPDATE message SET told = ?4 WHERE id = ?1 AND state = 'quarantined' AND told IS NULL
                 AND attempts = ?2 AND (SELECT started FROM run WHERE id = tried) <= ?3",
            )?;
            for (row, attempts, at) in &notices {
                update.execute(params![row.0, attempts, at.0, now.0])?;
            }
            Ok(())
        })
    }
}
