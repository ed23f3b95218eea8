//! Messages that are recognized by their headers after their UID or size changed.
//!
//! RFC 1939 §7 requires UIDs to persist across sessions and never to be reused, but servers break
//! this: a migration or a rebuilt index changes all UIDs, and some servers reuse the UID of a
//! deleted message. The first
//! would fetch the whole mailbox again, the second would lose mail. Therefore the ledger stores a
//! fingerprint of each header, the engine compares headers if a listing looks suspicious, and the
//! result is recorded here.

use std::collections::{HashMap, HashSet};

use rusqlite::params;

use super::{Ledger, Reader, candidates, size};
use crate::{
    domain::{
        ids::{Listed, RowId, Uid},
        message::Fingerprint,
        reconcile::{KnownMessages, UidChange},
    },
    error::Result,
};

/// The result of comparing the headers of listed messages with known ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recognized {
    /// Messages whose UID changed, with their current listing entry.
    pub moved: Vec<(RowId, Listed)>,
    /// Messages whose UID now belongs to another message.
    pub replaced: Vec<RowId>,
    /// Messages that are unchanged although their listed size differs, with the new size in bytes.
    pub confirmed: Vec<(RowId, u64)>,
    /// Messages whose header is the known one at the present address of the mailbox.
    pub compared: Vec<RowId>,
}

impl Recognized {
    /// Returns whether there is nothing to record.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Applies the result to the `known` messages of this run.
    pub fn apply_to(&self, known: &mut KnownMessages) {
        let moved: HashMap<_, _> = self
            .moved
            .iter()
            .map(|(row, listed)| (*row, listed))
            .collect();
        let replaced: HashSet<_> = self.replaced.iter().collect();
        let confirmed: HashMap<_, _> = self.confirmed.iter().copied().collect();
        let compared: HashSet<_> = self.compared.iter().collect();
        known.update(|row| {
            if replaced.contains(&row.row) {
                return UidChange::Remove;
            }
            if let Some(listed) = moved.get(&row.row) {
                row.octets = listed.octets;
                row.derived_uid = listed.uid.is_derived();
                row.missing = false;
                row.other_address = false;
                return UidChange::Replace(listed.uid.clone());
            }
            if compared.contains(&row.row) {
                row.other_address = false;
            }
            if let Some(octets) = confirmed.get(&row.row) {
                row.octets = *octets;
            }
            UidChange::Keep
        });
    }
}

impl Reader {
    /// Returns the UID of each of `rows`, and the fingerprint of its header if it is known.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn fingerprints(
        &self,
        rows: impl IntoIterator<Item = RowId>,
    ) -> Result<Vec<(RowId, Uid, Option<Fingerprint>)>> {
        self.read_fingerprints(
            "SELECT uid, uid_size, fingerprint FROM message WHERE id = ?",
            rows,
        )
    }

    /// Returns the UID of each of `rows`, and the fingerprint of the delivered message if it is
    /// known.
    ///
    /// It differs from that of the header on the server if filters changed the message.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn delivered_fingerprints(
        &self,
        rows: impl IntoIterator<Item = RowId>,
    ) -> Result<Vec<(RowId, Uid, Option<Fingerprint>)>> {
        self.read_fingerprints(
            "SELECT uid, uid_size, coalesce(delivered_fingerprint, fingerprint) FROM message
             WHERE id = ?",
            rows,
        )
    }

    fn read_fingerprints(
        &self,
        select: &str,
        rows: impl IntoIterator<Item = RowId>,
    ) -> Result<Vec<(RowId, Uid, Option<Fingerprint>)>> {
        self.read(|ledger| {
            let mut select = ledger.prepare_cached(select)?;
            rows.into_iter()
                .map(|row| {
                    select.query_row([row.0], |columns| {
                        let fingerprint = columns.get::<_, Option<[u8; 16]>>(2)?;
                        Ok((row, uid(columns)?, fingerprint.map(Fingerprint)))
                    })
                })
                .collect()
        })
    }
}

impl Ledger {
    /// Records the result of a comparison.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn recognize(&mut self, recognized: &Recognized) -> Result<()> {
        if recognized.is_empty() {
            return Ok(());
        }
        let address = self.reader.address;
        self.write(|ledger| {
            let mut adopt = ledger.prepare_cached(
                "UPDATE message SET uid = ?2, uid_size = ?3, listed_size = ?4, missing_since = NULL,
                     address = ?5
                 WHERE id = ?1",
            )?;
            for (row, message) in &recognized.moved {
                let (uid, uid_size) = message.uid.key();
                adopt.execute(params![
                    row.0,
                    uid,
                    uid_size.map(size),
                    size(message.octets),
                    address
                ])?;
            }
            let mut retire = ledger
                .prepare_cached("UPDATE message SET state = 'gone', uid_reused = 1 WHERE id = ?")?;
            for row in &recognized.replaced {
                retire.execute([row.0])?;
            }
            let mut compare =
                ledger.prepare_cached("UPDATE message SET address = ?2 WHERE id = ?1")?;
            for row in &recognized.compared {
                compare.execute(params![row.0, address])?;
            }
            let mut confirm =
                ledger.prepare_cached("UPDATE message SET listed_size = ?2 WHERE id = ?1")?;
            for (row, octets) in &recognized.confirmed {
                confirm.execute(params![row.0, size(*octets)])?;
            }
            Ok(())
        })?;
        let moved = recognized.moved.iter().map(|(_, message)| &message.uid);
        candidates::note(&self.reader.path, moved);
        Ok(())
    }

    /// Records the fingerprints of messages that were not delivered.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn record_fingerprints(&mut self, fingerprints: &[(RowId, Fingerprint)]) -> Result<()> {
        self.write(|ledger| {
            let mut update =
                ledger.prepare_cached("UPDATE message SET fingerprint = ?2 WHERE id = ?1")?;
            for (row, fingerprint) in fingerprints {
                update.execute(params![row.0, fingerprint.0.as_slice()])?;
            }
            Ok(())
        })
    }
}

/// Reads a UID from the columns `uid` and `uid_size`.
pub(super) fn uid(columns: &rusqlite::Row<'_>) -> rusqlite::Result<Uid> {
    let octets: Vec<u8> = columns.get("uid")?;
    let key = (octets.as_slice(), columns.get("uid_size")?);
    // A derived UID has a fingerprint of 16 bytes. Other bytes are returned as a server UID.
    Ok(Uid::from_key(key).unwrap_or_else(|| Uid::new(octets.as_slice())))
}
