//! What may be deleted from the server, and that it was.

use rusqlite::params;

use super::Ledger;
use crate::{
    domain::ids::{MsgNum, RowId},
    error::Result,
};

/// That a message may be deleted from the server: only the ledger makes one, for a message that is
/// whole and on stable storage, or that the user ordered to be deleted, be it by a rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Proof {
    num: MsgNum,
    row: RowId,
}

impl Proof {
    /// The message's number in this session.
    pub fn num(&self) -> MsgNum {
        self.num
    }

    /// The message's row.
    pub fn row(&self) -> RowId {
        self.row
    }
}

impl Ledger {
    /// Proofs for those of `candidates` that may be deleted from the server: delivered whole, or
    /// ordered by the user or a rule of his. Where several messages share a UID, all of them have
    /// to be.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn prove(
        &self,
        candidates: impl IntoIterator<Item = (MsgNum, RowId)>,
    ) -> Result<Vec<Proof>> {
        let sizes_count = self.sizes_are_trusted()?;
        self.read(|ledger| {
            let mut select = ledger.prepare_cached(
                "SELECT 1 FROM message AS m WHERE id = ?1 AND (doomed OR condemned OR (state = 'delivered' AND (NOT short OR NOT ?2)))
                 AND NOT EXISTS (SELECT 1 FROM message AS twin WHERE twin.account = m.account AND twin.uid = m.uid
                     AND twin.id <> m.id AND twin.missing IS NULL AND NOT (twin.doomed OR twin.condemned)
                     AND twin.state NOT IN ('delivered', 'gone'))",
            )?;
            let mut proofs = Vec::new();
            for (num, row) in candidates {
                if select.exists(params![row.0, sizes_count])? {
                    proofs.push(Proof { num, row });
                }
            }
            Ok(proofs)
        })
    }

    /// Notes that the server confirmed these deletions.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn settle(&mut self, deleted: &[Proof]) -> Result<()> {
        if deleted.is_empty() {
            return Ok(());
        }
        self.transact(|ledger| {
            // one order is for one message: the UID may be given to another one
            let mut update = ledger.prepare_cached(
                "UPDATE message SET state = 'gone', doomed = 0, condemned = 0 WHERE id = ?",
            )?;
            for proof in deleted {
                update.execute([proof.row.0])?;
            }
            Ok(())
        })
    }
}
