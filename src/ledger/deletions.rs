//! Deletions from the server.
//!
//! A message must never be deleted from the server before it is safe. This is enforced by the type
//! system instead of by checks at each caller: the function that sends DELE takes a [`Proof`], and
//! only [`Reader::prove_deletable`] creates one. It queries the database again for each message, so
//! that an error in the plan or in data read earlier cannot cause a deletion.

use rusqlite::params;

use super::{Ledger, Reader, known::sizes_trusted};
use crate::{
    domain::ids::{MsgNum, RowId},
    error::Result,
};

/// Proof that a message may be deleted from the server.
///
/// Only the ledger creates one, for a message that is complete and on stable storage, or whose
/// deletion the user or a rule requested.
#[derive(Debug, PartialEq, Eq)]
pub struct Proof {
    num: MsgNum,
    row: RowId,
}

impl Proof {
    /// Returns the number of the message in the session.
    pub fn num(&self) -> MsgNum {
        self.num
    }

    /// Returns the row of the message.
    pub fn row(&self) -> RowId {
        self.row
    }
}

impl Reader {
    /// Returns proofs for those of `candidates` that may be deleted from the server.
    ///
    /// If several messages share a UID, as identical copies may (RFC 1939 §7), all of them must be
    /// safe.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn prove_deletable(
        &self,
        candidates: impl IntoIterator<Item = (MsgNum, RowId)>,
    ) -> Result<Vec<Proof>> {
        self.read(|ledger| {
            let sizes_trusted = sizes_trusted(ledger)?;
            let mut select = ledger.prepare_cached(
                "SELECT 1 FROM message AS m
                 WHERE id = ?1 AND (delete_requested OR delete_by_rule
                     OR (state = 'delivered' AND (NOT truncated OR NOT ?2)))
                 AND NOT EXISTS (SELECT 1 FROM message AS other
                     WHERE other.uid = m.uid AND other.uid_size IS m.uid_size AND other.id <> m.id
                     AND other.missing_since IS NULL
                     AND NOT (other.delete_requested OR other.delete_by_rule)
                     AND other.state NOT IN ('delivered', 'gone'))",
            )?;
            let mut proofs = Vec::new();
            for (num, row) in candidates {
                if select.exists(params![row.0, sizes_trusted])? {
                    proofs.push(Proof { num, row });
                }
            }
            Ok(proofs)
        })
    }
}

impl Ledger {
    /// Records that the server confirmed these deletions.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn record_deleted(&mut self, deleted: &[Proof]) -> Result<()> {
        if deleted.is_empty() {
            return Ok(());
        }
        self.write(|ledger| {
            // Requests end with the message, since the server may reuse the UID for another one.
            let mut update = ledger.prepare_cached(
                "UPDATE message SET state = 'gone', delete_requested = 0, delete_by_rule = 0
                 WHERE id = ?",
            )?;
            deleted
                .iter()
                .try_for_each(|proof| update.execute([proof.row.0]).map(drop))
        })
    }
}
