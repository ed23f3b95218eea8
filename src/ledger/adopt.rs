//! Recording messages that another program has delivered to a Maildir, together with their files.
//!
//! The file of such a message has a name that pouch did not choose, and keeps it: mail programs
//! refer to files by their names. So the ledger has a column for it, without the flags that follow
//! the colon, which mail programs change all the time. That is the one exception from the rule that
//! the name of a file is a function of the row.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use rusqlite::params;

use super::{Ledger, Reader, candidates, size};
use crate::{
    domain::{
        file_name::MessageFileName,
        ids::{Listed, RowId},
        message::Fingerprint,
        reconcile::Reconciled,
        time::Timestamp,
    },
    error::Result,
};

/// A message on the server of which there is a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// Its index in the listing.
    pub index: usize,
    /// The name of the file, without flags.
    pub name: String,
    /// The fingerprint of its header on the server.
    pub fingerprint: Fingerprint,
    /// The fingerprint of the file.
    pub file_fingerprint: Fingerprint,
}

/// The number of messages that [`Ledger::adopt`] has recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdoptCounts {
    /// Messages that were not delivered before.
    pub recorded: u64,
    /// Messages that were recorded as delivered without a file before.
    pub linked: u64,
}

/// The files of adopted messages, by name.
///
/// Hashes of the names save memory. If two names had the same hash, a message that was deleted
/// would count as present.
#[derive(Debug, Default)]
pub struct AdoptedFiles(HashMap<u64, RowId>);

impl AdoptedFiles {
    /// Returns the message whose file has this name.
    pub fn find(&self, name: &str) -> Option<RowId> {
        self.0.get(&hash_name(name)).copied()
    }
}

/// Returns a hash of the name of a file.
pub fn hash_name(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// The condition for messages that get a file: those that were not delivered, unless a rule, a
/// filter or the user decided otherwise, and those that were recorded without a file (`ledger
/// import`, `ledger catchup --as-fetched`), if the file is in a Maildir of the account (`?1`).
const ADOPTABLE: &str = "delivered_at IS NULL AND NOT force_fetch AND NOT delete_requested
         AND NOT delete_by_rule AND (state IN ('new', 'quarantined')
             OR (state = 'skipped' AND reason IS NULL))
     OR ?1 AND state = 'delivered' AND bytes_received = 0 AND adopted_name IS NULL";

impl Reader {
    /// Returns the files of adopted messages.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn adopted_files(&self) -> Result<AdoptedFiles> {
        self.read(|ledger| {
            ledger
                .prepare_cached(
                    "SELECT adopted_name, id FROM message
                     WHERE adopted_name IS NOT NULL AND state = 'delivered'",
                )?
                .query_map([], |columns| {
                    let name = columns.get_ref(0)?.as_str()?;
                    Ok((hash_name(name), RowId(columns.get(1)?)))
                })?
                .collect::<rusqlite::Result<_>>()
                .map(AdoptedFiles)
        })
    }

    /// Returns the messages that [`Ledger::adopt`] would change.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn adoptable(&self, in_maildir: bool) -> Result<HashSet<RowId>> {
        self.read(|ledger| {
            ledger
                .prepare_cached(&format!("SELECT id FROM message WHERE {ADOPTABLE}"))?
                .query_map([in_maildir], |columns| columns.get(0).map(RowId))?
                .collect()
        })
    }

    /// Returns whether a file of this name was delivered for a message that the ledger has. If not,
    /// the ledger is older than the file, because it was restored from a backup.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn has_message(&self, name: &MessageFileName) -> Result<bool> {
        self.read(|ledger| {
            ledger
                .prepare_cached("SELECT 1 FROM message WHERE id = ? AND first_seen = ?")?
                .exists(params![name.row.0, name.first_seen.0])
        })
    }
}

impl Ledger {
    /// Records messages as delivered `now`, in one transaction, and their files if these are
    /// `in_maildir`, a Maildir of the account. The age of the messages counts from now on, so that
    /// none is deleted at once because its file is old.
    ///
    /// `reconciled` is the result of reconciling `listed`. Messages that are not
    /// [adoptable](Reader::adoptable) do not change.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn adopt(
        &mut self,
        adopted: &[Adopted],
        (reconciled, listed): (&Reconciled, &[Listed]),
        in_maildir: bool,
        now: Timestamp,
    ) -> Result<AdoptCounts> {
        let address = self.reader.address;
        let set = self.maildir_set.filter(|_| in_maildir);
        let counts = self.write(|ledger| {
            let mut counts = AdoptCounts::default();
            let mut insert = ledger.prepare(
                "INSERT INTO message (uid, uid_size, listed_size, state, first_seen)
                 VALUES (?1, ?2, ?3, 'new', ?4)",
            )?;
            let mut update = ledger.prepare(&format!(
                "UPDATE message SET state = 'delivered',
                     bytes_received = iif(?1, NULL, 0), delivered_at = coalesce(delivered_at, ?3),
                     fingerprint = ?4, delivered_fingerprint = ?5, maildir_set = ?6,
                     adopted_name = iif(?1, ?7, NULL), address = ?8, listed_size = ?9,
                     attempts = 0, retry_after = NULL, reason = NULL, reported_at = NULL,
                     missing_since = NULL, never_listed = 0
                 WHERE id = ?2 AND ({ADOPTABLE})"
            ))?;
            for one in adopted {
                let (entry, message) = (&reconciled.mailbox.entries[one.index], &listed[one.index]);
                let is_fetched = !entry.known.is_undelivered();
                let row = if let Some(row) = entry.row {
                    row
                } else {
                    let (uid, uid_size) = message.uid.key();
                    let octets = size(message.octets);
                    insert.execute(params![uid, uid_size.map(size), octets, now.0])?;
                    RowId(ledger.last_insert_rowid())
                };
                let file = (one.file_fingerprint != one.fingerprint)
                    .then_some(one.file_fingerprint.0.as_slice());
                let changed = update.execute(params![
                    in_maildir,
                    row.0,
                    now.0,
                    one.fingerprint.0.as_slice(),
                    file,
                    set,
                    one.name,
                    address,
                    size(message.octets),
                ])?;
                match (changed, is_fetched) {
                    (0, _) => {}
                    (_, true) => counts.linked += 1,
                    (_, false) => counts.recorded += 1,
                }
            }
            Ok(counts)
        })?;
        candidates::note(&self.reader.path, listed.iter().map(|message| &message.uid));
        Ok(counts)
    }
}
