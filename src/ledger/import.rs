//! Recording messages that another program has fetched.
//!
//! They are recorded as delivered, not as skipped: a skipped message is never deleted, and `keep`
//! has to apply to the imported ones. A message that the server does not list gets a row as well,
//! since some servers omit messages at times. Its size is unknown, and its absence says nothing
//! about the server, so [`reconcile`](crate::domain::reconcile) ignores it until it is listed.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Ledger, candidates, size};
use crate::{
    domain::{
        ids::{Listed, MsgNum, RowId, Uid, UidKey},
        reconcile::Reconciled,
        seen::Seen,
        time::Timestamp,
    },
    error::Result,
};

/// The messages that another program has fetched.
#[derive(Clone, Copy, Debug)]
pub struct Import<'a> {
    /// The name of the program.
    pub origin: &'a str,
    /// The messages.
    pub seen: &'a [Seen],
    /// The time of the import, for messages without a time of their own.
    pub now: Timestamp,
}

/// The result of [`Ledger::import`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The listed messages that were recorded: number in the session, size in bytes and row.
    pub listed: Vec<(MsgNum, u64, RowId)>,
    /// The number of recorded messages that the server does not list.
    pub unlisted: u64,
}

impl Recorded {
    /// Returns the number of recorded messages.
    pub fn len(&self) -> u64 {
        self.listed.len() as u64 + self.unlisted
    }

    /// Returns whether no message was recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Finds seen messages by the UIDs on the server.
pub struct SeenIndex<'a> {
    complete: HashMap<&'a [u8], &'a Seen>,
    truncated: Vec<&'a Seen>,
}

impl<'a> SeenIndex<'a> {
    /// Creates the index of `seen`.
    pub fn new(seen: &'a [Seen]) -> Self {
        Self {
            complete: seen.iter().map(|one| (&*one.uid, one)).collect(),
            truncated: seen.iter().filter(|one| one.is_prefix).collect(),
        }
    }

    /// Returns the seen message with this UID.
    pub fn find(&self, (uid, size): UidKey<'_>) -> Option<&'a Seen> {
        if size.is_some() {
            return None;
        }
        let truncated = || self.truncated.iter().find(|one| one.matches(uid));
        let complete = self.complete.get(uid);
        complete.or_else(truncated).copied()
    }
}

impl Ledger {
    /// Records messages that another program has fetched as delivered, in one transaction.
    ///
    /// `reconciled` is the result of reconciling `listed`. A message that the ledger knows as
    /// delivered, quarantined, skipped, failed or gone does not change, so a second import has no
    /// effect.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn import(
        &mut self,
        import: Import<'_>,
        reconciled: &Reconciled,
        listed: &[Listed],
    ) -> Result<Recorded> {
        let address = self.reader.address;
        let index = SeenIndex::new(import.seen);
        let recorded = self.write(|ledger| {
            let mut recorded = Recorded::default();
            let mut insert = ledger.prepare(
                "INSERT INTO message (uid, listed_size, state, first_seen, address, delivered_at,
                     bytes_received, imported_from, never_listed, missing_since)
                 VALUES (?1, ?2, 'delivered', ?3, ?4, ?5, 0, ?6, ?7, iif(?7, ?3, NULL))",
            )?;
            let mut update = ledger.prepare(
                "UPDATE message SET state = 'delivered', delivered_at = ?2, bytes_received = 0,
                     imported_from = ?3
                 WHERE id = ?1 AND state = 'new' AND delivered_at IS NULL AND attempts = 0
                     AND NOT force_fetch",
            )?;
            let mut matched = std::collections::HashSet::new();
            for (entry, message) in reconciled.mailbox.entries.iter().zip(listed) {
                let Some(seen) = index.find(message.uid.key()) else {
                    continue;
                };
                matched.insert(&*seen.uid);
                let at = seen.at.unwrap_or(import.now).0;
                let row = if let Some(row) = entry.row {
                    if update.execute(params![row.0, at, import.origin])? == 0 {
                        continue;
                    }
                    row
                } else {
                    let (uid, _) = message.uid.key();
                    let octets = size(message.octets);
                    let now = import.now.0;
                    insert.execute(params![uid, octets, now, address, at, import.origin, false])?;
                    RowId(ledger.last_insert_rowid())
                };
                recorded.listed.push((entry.num, entry.octets, row));
            }
            let mut known = ledger
                .prepare("SELECT 1 FROM message WHERE uid = ? AND uid_size IS NULL LIMIT 1")?;
            // the rest of a truncated UID is not known
            for seen in import.seen.iter().filter(|seen| !seen.is_prefix) {
                if !matched.insert(&seen.uid)
                    || known
                        .query_row([&seen.uid], |_| Ok(()))
                        .optional()?
                        .is_some()
                {
                    continue;
                }
                let (now, at) = (import.now.0, seen.at.unwrap_or(import.now).0);
                insert.execute(params![seen.uid, 0, now, address, at, import.origin, true])?;
                recorded.unlisted += 1;
            }
            Ok(recorded)
        })?;
        let listed = listed.iter().map(|message| message.uid.clone());
        let seen = import.seen.iter().map(|seen| Uid::new(seen.uid.as_slice()));
        let uids: Vec<_> = listed.chain(seen).collect();
        candidates::note(&self.reader.path, uids.iter());
        Ok(recorded)
    }
}

/// Records that the server lists imported messages for the first time.
pub(super) fn record_first_listing(
    ledger: &Connection,
    rows: &[(RowId, u64)],
) -> rusqlite::Result<()> {
    let mut update = ledger.prepare_cached(
        "UPDATE message SET never_listed = 0, missing_since = NULL, listed_size = ?2,
             state = CASE WHEN state = 'gone' THEN 'delivered' ELSE state END
         WHERE id = ?1",
    )?;
    rows.iter()
        .try_for_each(|(row, octets)| update.execute(params![row.0, size(*octets)]).map(drop))
}
