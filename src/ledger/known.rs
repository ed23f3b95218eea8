//! The known messages of a mailbox, as input for reconciliation with a listing.

use rusqlite::{OptionalExtension, params};

use super::{Reader, size};
use crate::{
    domain::{
        ids::{Listed, RowId, UidKey},
        plan::{Known, Local},
        reconcile::{KnownMessages, KnownRow},
        time::Timestamp,
    },
    error::Result,
};

/// Returns the columns that [`known_row`] reads.
///
/// The flags are packed into the last column, since reading a column is the main cost per row.
/// `address` is the present address of the mailbox.
fn columns(address: Option<i64>) -> String {
    // no address has the number 0
    let address = address.unwrap_or(0);
    format!(
        "id, uid, uid_size, listed_size, delivered_at, state, attempts, retry_after,
         (missing_since IS NOT NULL) | (truncated << 1) | (delete_requested << 2)
         | (force_fetch << 3) | (delete_by_rule << 4) | ((address IS NOT {address}) << 5)
         | (never_listed << 6)"
    )
}

impl Reader {
    /// Returns all messages that are not gone.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn known_messages(&self) -> Result<KnownMessages> {
        self.read(|ledger| {
            let sizes_trusted = sizes_trusted(ledger)?;
            let mut known = KnownMessages::default();
            let mut live = ledger.prepare_cached(&format!(
                "SELECT {} FROM message WHERE state <> 'gone' ORDER BY id",
                columns(self.address)
            ))?;
            let mut rows = live.query([])?;
            while let Some(row) = rows.next()? {
                known.push(uid_key(row)?, known_row(row, sizes_trusted)?);
            }
            Ok(known)
        })
    }

    /// Adds to `known` those gone messages whose UID is in `listed`: the server lists them again.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn recall_gone<'l>(
        &self,
        known: &mut KnownMessages,
        listed: impl Iterator<Item = &'l Listed>,
    ) -> Result<bool> {
        self.read(|ledger| {
            let sizes_trusted = sizes_trusted(ledger)?;
            let mut found = false;
            let mut gone = ledger.prepare_cached(&format!(
                "SELECT {} FROM message WHERE uid = ? AND uid_size IS ? AND state = 'gone'
                 AND NOT uid_reused ORDER BY id DESC",
                columns(self.address)
            ))?;
            for message in listed {
                let (uid, uid_size) = message.uid.key();
                let row = gone
                    .query_row(params![uid, uid_size.map(size)], |row| {
                        known_row(row, sizes_trusted)
                    })
                    .optional()?;
                if let Some(row) = row {
                    known.push_gone((uid, uid_size), row);
                    found = true;
                }
            }
            Ok(found)
        })
    }

    /// Returns whether the sizes that this server lists are reliable.
    ///
    /// Exchange lists estimated sizes. If most of at least 20 messages had fewer bytes than listed,
    /// the sizes are considered wrong, and messages are not treated as truncated.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn sizes_are_trusted(&self) -> Result<bool> {
        sizes_trusted(&self.connection).map_err(|error| self.explain(&error))
    }
}

pub(super) fn sizes_trusted(ledger: &rusqlite::Connection) -> rusqlite::Result<bool> {
    ledger
        .prepare_cached("SELECT sizes_matched, sizes_short FROM mailbox")?
        .query_row([], |row| {
            let (matched, short): (u64, u64) = (row.get(0)?, row.get(1)?);
            Ok(matched + short < 20 || short <= matched)
        })
}

/// Reads the UID of a row with [`columns`].
fn uid_key<'r>(row: &'r rusqlite::Row<'_>) -> rusqlite::Result<UidKey<'r>> {
    Ok((row.get_ref(1)?.as_blob()?, row.get(2)?))
}

/// Reads a row with [`columns`].
fn known_row(row: &rusqlite::Row<'_>, sizes_trusted: bool) -> rusqlite::Result<KnownRow> {
    let bits: u8 = row.get(8)?;
    let flag = |bit: u8| bits >> bit & 1 == 1;
    let (missing, truncated, delete_requested) = (flag(0), flag(1), flag(2));
    let retry_after = || row.get::<_, Option<i64>>(7);
    let next_try = || retry_after().map(|at| Timestamp(at.unwrap_or(0)));
    let known = if delete_requested {
        Known::DeleteRequested
    } else if let Some(at) = row.get(4)? {
        if truncated && sizes_trusted {
            Known::Short {
                next_try: next_try()?,
            }
        } else {
            Known::Delivered {
                at: Timestamp(at),
                local: Local::Present,
            }
        }
    } else {
        match row.get_ref(5)?.as_str()? {
            "quarantined" => Known::Quarantined {
                next_try: next_try()?,
            },
            "skipped" => Known::Skipped,
            _ => Known::New {
                attempts: row.get(6)?,
                deferred: retry_after()?.is_some(),
            },
        }
    };
    Ok(KnownRow {
        row: RowId(row.get(0)?),
        octets: row.get(3)?,
        known,
        missing,
        force_fetch: flag(3),
        delete_by_rule: flag(4),
        other_address: flag(5),
        never_listed: flag(6),
        derived_uid: row.get_ref(2)?.data_type() != rusqlite::types::Type::Null,
    })
}
