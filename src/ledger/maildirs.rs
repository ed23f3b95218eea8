//! The Maildirs that may contain a delivered message.
//!
//! With `sync-deletions`, a message that is missing from its Maildir is deleted from the server. A
//! missing file alone is weak evidence: the user may have changed `maildir`, the disk may not be
//! mounted, or the Maildir may have been restored from a backup. Therefore each message refers to
//! the set of Maildirs that the account had when the message was last seen, with their creation
//! times. The message counts as deleted by the user only if all Maildirs of that set still belong
//! to the account, none was replaced, and none contains the message.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, params};

use super::{Ledger, Reader};
use crate::{domain::ids::RowId, error::Result};

/// A Maildir of the account, as it was at one point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaildirState {
    /// The destination as text, `maildir:PATH`.
    pub name: String,
    /// The creation time in nanoseconds since 1970. `None` if the file system does not record it,
    /// 0 if the directory does not exist.
    pub created_at: Option<i64>,
}

impl MaildirState {
    /// Returns whether `other` is the same Maildir. Unknown creation times match any other.
    fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
            && (self.created_at == other.created_at
                || self.created_at.is_none()
                || other.created_at.is_none())
    }
}

/// The result of comparing the ledger with the Maildirs of the account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveredLocations {
    /// Delivered messages that cannot be in any other than the current Maildirs.
    pub known: HashSet<RowId>,
    /// Those of `known` that are missing, and one of whose Maildirs was replaced since: its disk
    /// was unmounted or mounted, or it was restored from a backup.
    pub replaced: HashSet<RowId>,
    /// Messages that are in the current Maildirs, but not recorded there yet.
    pub found: Vec<RowId>,
}

impl Reader {
    /// Compares the delivered messages of the ledger with those that are `present` in the `current`
    /// Maildirs of the account.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn locate_delivered(
        &self,
        present: &HashSet<RowId>,
        current: &[MaildirState],
    ) -> Result<DeliveredLocations> {
        self.read(|ledger| {
            let sets = maildir_sets(ledger)?;
            let current_set = find_set(&sets, current);
            let mut located = DeliveredLocations::default();
            let mut select = ledger
                .prepare_cached("SELECT id, maildir_set FROM message WHERE state = 'delivered'")?;
            let mut rows = select.query([])?;
            while let Some(columns) = rows.next()? {
                let row = RowId(columns.get(0)?);
                let set: Option<i64> = columns.get(1)?;
                if present.contains(&row) && (set.is_none() || set != current_set) {
                    located.found.push(row);
                    located.known.insert(row);
                } else if let Some(then) = set.and_then(|set| sets.get(&set)) {
                    let all = |same: &dyn Fn(&MaildirState, &MaildirState) -> bool| {
                        then.iter()
                            .all(|then| current.iter().any(|now| same(then, now)))
                    };
                    if all(&|then, now| then.name == now.name) {
                        located.known.insert(row);
                        if !all(&MaildirState::is_same) {
                            located.replaced.insert(row);
                        }
                    }
                }
            }
            Ok(located)
        })
    }
}

impl Ledger {
    /// Records the Maildirs that the account has now.
    ///
    /// Every message that is delivered or found later in this run refers to this set.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn set_maildirs(&mut self, maildirs: &[MaildirState]) -> Result<()> {
        self.maildir_set = None;
        if maildirs.is_empty() {
            return Ok(());
        }
        let sets = self.reader.read(|ledger| maildir_sets(ledger))?;
        self.maildir_set = Some(match find_set(&sets, maildirs) {
            Some(set) => set,
            None => self.write(|ledger| {
                ledger.execute("INSERT INTO maildir_set DEFAULT VALUES", [])?;
                let set = ledger.last_insert_rowid();
                let mut insert = ledger.prepare_cached("INSERT INTO maildir VALUES (?, ?, ?)")?;
                for maildir in maildirs {
                    insert.execute(params![set, maildir.name, maildir.created_at])?;
                }
                Ok(set)
            })?,
        });
        Ok(())
    }

    /// Records that these messages are in the current Maildirs.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn record_location(&mut self, rows: &[RowId]) -> Result<()> {
        let set = self.maildir_set;
        self.set_location(rows.iter(), set)
    }

    /// Records that these messages are missing without having been deleted.
    ///
    /// They do not count as deleted until they have been found in a Maildir again.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn forget_location(&mut self, rows: &HashSet<RowId>) -> Result<()> {
        self.set_location(rows.iter(), None)
    }

    fn set_location<'r>(
        &mut self,
        rows: impl Iterator<Item = &'r RowId>,
        set: Option<i64>,
    ) -> Result<()> {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        self.write(|ledger| {
            let mut update =
                ledger.prepare_cached("UPDATE message SET maildir_set = ?2 WHERE id = ?1")?;
            rows.try_for_each(|row| update.execute(params![row.0, set]).map(drop))
        })
    }
}

/// Reads all sets of Maildirs, each sorted by name.
fn maildir_sets(ledger: &Connection) -> rusqlite::Result<HashMap<i64, Vec<MaildirState>>> {
    let mut sets: HashMap<i64, Vec<MaildirState>> = HashMap::new();
    let mut select =
        ledger.prepare_cached("SELECT maildir_set, name, created_at FROM maildir ORDER BY name")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let maildir = MaildirState {
            name: row.get(1)?,
            created_at: row.get(2)?,
        };
        sets.entry(row.get(0)?).or_default().push(maildir);
    }
    Ok(sets)
}

/// Returns the set with exactly these Maildirs, or `None` if it is not recorded.
fn find_set(sets: &HashMap<i64, Vec<MaildirState>>, maildirs: &[MaildirState]) -> Option<i64> {
    let mut sorted = maildirs.to_vec();
    sorted.sort_by(|one, other| one.name.cmp(&other.name));
    sets.iter()
        .find(|(_, set)| **set == sorted)
        .map(|(id, _)| *id)
}
