//! The Maildirs that may contain a delivered message.
//!
//! With `sync-deletions`, a message that is missing from its Maildir is deleted from the server. A
//! missing file alone is weak evidence: the user may have changed `maildir`, the disk may not be
//! mounted, or the Maildir may have been restored from a backup. Therefore each message refers to
//! the set of Maildirs that the account had when the message was last seen, with their creation
//! times. The message counts as deleted by the user only if all Maildirs of that set still belong
//! to the account, none was replaced, and none contains the message.
//!
//! A backup can also be restored into the existing directories. So the ledger records how each
//! delivery and each search left them ([`SeenMaildir`]).

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

/// The state in which a delivery or a search left a Maildir. Times are in nanoseconds since 1970,
/// by the clock of its file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenMaildir {
    /// The destination as text, `maildir:PATH`.
    pub name: String,
    /// When an entry of `new` was added or removed last.
    pub new_modified: Option<i64>,
    /// The same for `cur`.
    pub cur_modified: Option<i64>,
    /// A time at which all files that pouch had delivered existed.
    pub changed: Option<i64>,
}

impl SeenMaildir {
    /// Returns whether the directories were set back since `earlier`. Deliveries, mail programs and
    /// users only make them newer.
    pub fn was_set_back(&self, earlier: &Self) -> bool {
        let is_older = |now: Option<i64>, then| now.is_some() && now < then;
        is_older(self.new_modified, earlier.new_modified)
            || is_older(self.cur_modified, earlier.cur_modified)
    }
}

impl Reader {
    /// Returns the recorded states of the Maildirs, each with the last run that had delivered to
    /// it.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn seen_maildirs(&self) -> Result<Vec<(SeenMaildir, i64)>> {
        self.read(|ledger| {
            ledger
                .prepare_cached(
                    "SELECT name, new_modified, cur_modified, changed, run FROM maildir_seen",
                )?
                .query_map([], |columns| {
                    let seen = SeenMaildir {
                        name: columns.get(0)?,
                        new_modified: columns.get(1)?,
                        cur_modified: columns.get(2)?,
                        changed: columns.get(3)?,
                    };
                    Ok((seen, columns.get(4)?))
                })?
                .collect()
        })
    }

    /// Returns the delivered messages whose last attempt was not after the run with this number.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn delivered_until(&self, run: i64) -> Result<HashSet<RowId>> {
        self.read(|ledger| {
            ledger
                .prepare_cached(
                    "SELECT id FROM message WHERE state = 'delivered' AND last_run <= ?",
                )?
                .query_map([run], |columns| columns.get(0).map(RowId))?
                .collect()
        })
    }

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

    /// Records the states of Maildirs, if they differ from the recorded ones. A power failure may
    /// undo this.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn record_search(&mut self, maildirs: &[SeenMaildir]) -> Result<()> {
        let known = self.reader.seen_maildirs()?;
        let is_known = |seen| known.iter().any(|(known, _)| known == seen);
        if maildirs.iter().all(is_known) {
            return Ok(());
        }
        self.write_relaxed(|ledger| {
            maildirs
                .iter()
                .try_for_each(|seen| write_seen(ledger, seen, None))
        })
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

/// Records the state of a Maildir. `run` is the last run that delivered to it, or `None` if no run
/// has delivered since the state was recorded.
///
/// The time up to which files are known is not lowered: a file may be newer than its directory. A
/// time in the future, from a wrong clock, does not count.
pub(super) fn write_seen(
    ledger: &Connection,
    seen: &SeenMaildir,
    run: Option<i64>,
) -> rusqlite::Result<()> {
    ledger
        .prepare_cached(
            "INSERT INTO maildir_seen (name, new_modified, cur_modified, changed, run)
             VALUES (?1, ?2, ?3, ?4, coalesce(?5, 0))
             ON CONFLICT (name) DO UPDATE SET new_modified = ?2, cur_modified = ?3,
                 changed = CASE WHEN changed > ?4 AND changed < (unixepoch() + 60) * 1000000000
                     THEN changed ELSE ?4 END,
                 run = coalesce(?5, run)",
        )?
        .execute(params![
            seen.name,
            seen.new_modified,
            seen.cur_modified,
            seen.changed,
            run
        ])
        .map(drop)
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
