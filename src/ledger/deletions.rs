//! Deletions from the server.
//!
//! A message must never be deleted from the server before it is safe. This is enforced by the type
//! system instead of by checks at each caller: the function that sends DELE takes a [`Proof`], and
//! only [`Reader::prove_deletable`] creates one. It queries the database again for each message, so
//! that an error in the plan or in data read earlier cannot cause a deletion.

use std::collections::HashMap;

use rusqlite::params;

use super::{Ledger, Reader, known::sizes_trusted};
use crate::{
    domain::{
        ids::{MsgNum, RowId},
        plan::retry_delay,
        time::Timestamp,
    },
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
    /// safe. A message that is known only from another address of the mailbox gets no proof, unless
    /// a rule deletes it, which has read its header in this session.
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
                 AND (address = ?3 OR delete_by_rule)
                 AND NOT EXISTS (SELECT 1 FROM message AS other
                     WHERE other.uid = m.uid AND other.uid_size IS m.uid_size AND other.id <> m.id
                     AND other.missing_since IS NULL
                     AND NOT (other.delete_requested OR other.delete_by_rule)
                     AND other.state NOT IN ('delivered', 'gone'))",
            )?;
            let mut proofs = Vec::new();
            for (num, row) in candidates {
                if select.exists(params![row.0, sizes_trusted, self.address])? {
                    proofs.push(Proof { num, row });
                }
            }
            Ok(proofs)
        })
    }
}

impl Reader {
    /// Returns the messages that the server failed to delete, each with the time of the next
    /// attempt.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn deletion_suspects(&self) -> Result<HashMap<RowId, Timestamp>> {
        self.read(|ledger| {
            ledger
                .prepare_cached("SELECT message, retry_after FROM deletion_suspect")?
                .query_map([], |row| Ok((RowId(row.get(0)?), Timestamp(row.get(1)?))))?
                .collect()
        })
    }
}

impl Ledger {
    /// Records that a session was lost at the DELE of this message, so that it is deleted last and
    /// alone.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn suspect_deletion(&mut self, row: RowId, now: Timestamp) -> Result<()> {
        self.write(|ledger| {
            ledger
                .execute(
                    "INSERT OR IGNORE INTO deletion_suspect (message, retry_after) VALUES (?, ?)",
                    params![row.0, now.0],
                )
                .map(drop)
        })
    }

    /// Records that the server failed to delete this message alone, or refused it while it deleted
    /// others. Returns when to try again: after 1, 2, 4 … 32 days.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn postpone_deletion(&mut self, row: RowId, now: Timestamp) -> Result<Timestamp> {
        self.write(|ledger| {
            let failures = ledger.query_row(
                "INSERT INTO deletion_suspect (message, failures, retry_after) VALUES (?1, 1, ?2)
                 ON CONFLICT DO UPDATE SET failures = failures + 1 RETURNING failures",
                params![row.0, now.0],
                |row| row.get::<_, u32>(0),
            )?;
            let next_try = now.after(retry_delay(failures - 1));
            ledger.execute(
                "UPDATE deletion_suspect SET retry_after = ? WHERE message = ?",
                params![next_try.0, row.0],
            )?;
            Ok(next_try)
        })
    }

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
            let mut clear =
                ledger.prepare_cached("DELETE FROM deletion_suspect WHERE message = ?")?;
            deleted.iter().try_for_each(|proof| {
                update.execute([proof.row.0])?;
                clear.execute([proof.row.0]).map(drop)
            })
        })
    }
}
