//! Messages that are recognised by their headers, though the server shows them otherwise.

use std::collections::{HashMap, HashSet};

use rusqlite::params;

use super::{Ledger, Reader, size};
use crate::{
    domain::{
        ids::{Listed, RowId, Uid},
        message::Fingerprint,
        reconcile::{KnownMessages, UidChange},
    },
    error::Result,
};

/// What comparing headers showed about known messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recognized {
    /// Rows of messages that have another UID now.
    pub moved: Vec<(RowId, Listed)>,
    /// Rows of messages whose UID is another message's now.
    pub replaced: Vec<RowId>,
    /// Rows of messages that are the same although their size changed, with their size by LIST.
    pub confirmed: Vec<(RowId, u64)>,
}

impl Recognized {
    /// Returns whether there is nothing to record.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Changes what is `known` accordingly.
    pub fn apply_to(&self, known: &mut KnownMessages) {
        let moved: HashMap<_, _> = self
            .moved
            .iter()
            .map(|(row, listed)| (*row, listed))
            .collect();
        let replaced: HashSet<_> = self.replaced.iter().collect();
        let confirmed: HashMap<_, _> = self.confirmed.iter().copied().collect();
        known.update(|row| {
            if replaced.contains(&row.row) {
                return UidChange::Remove;
            }
            if let Some(listed) = moved.get(&row.row) {
                row.octets = listed.octets;
                row.derived_uid = listed.uid.is_derived();
                row.missing = false;
                return UidChange::Replace(listed.uid.clone());
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

    /// Returns the same, with the fingerprint of what was delivered.
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
                        Ok((row, uid(columns, 0)?, fingerprint.map(Fingerprint)))
                    })
                })
                .collect()
        })
    }
}

impl Ledger {
    /// Records which messages were recognised.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn recognize(&mut self, recognized: &Recognized) -> Result<()> {
        if recognized.is_empty() {
            return Ok(());
        }
        self.write(|ledger| {
            let mut adopt = ledger.prepare_cached(
                "UPDATE message SET uid = ?2, uid_size = ?3, listed_size = ?4, missing_since = NULL
                 WHERE id = ?1",
            )?;
            for (row, message) in &recognized.moved {
                let (uid, uid_size) = message.uid.key();
                adopt.execute(params![
                    row.0,
                    uid,
                    uid_size.map(size),
                    size(message.octets)
                ])?;
            }
            let mut retire = ledger
                .prepare_cached("UPDATE message SET state = 'gone', uid_reused = 1 WHERE id = ?")?;
            for row in &recognized.replaced {
                retire.execute([row.0])?;
            }
            let mut confirm =
                ledger.prepare_cached("UPDATE message SET listed_size = ?2 WHERE id = ?1")?;
            for (row, octets) in &recognized.confirmed {
                confirm.execute(params![row.0, size(*octets)])?;
            }
            Ok(())
        })
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

/// Reads the UID in two columns, of which this is the first.
pub(super) fn uid(columns: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Uid> {
    let octets: Vec<u8> = columns.get(first)?;
    let key = (octets.as_slice(), columns.get(first + 1)?);
    // a fingerprint has 16 bytes; anything else is shown as it is
    Ok(Uid::from_key(key).unwrap_or_else(|| Uid::new(octets.as_slice())))
}
