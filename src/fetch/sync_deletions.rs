//! Finding messages that the user deleted from a Maildir, for `sync-deletions`.
//!
//! # Why this is safe
//!
//! A message that is missing from the Maildir is deleted from the server, where it may be the last
//! copy. A missing file has other causes than deletion, and each has a safeguard:
//! - The Maildir is on a disk that is not mounted, or was replaced by another one. If more than
//!   half of the delivered messages are missing ([`believable`]), or the Maildir's creation time
//!   changed, nothing is deleted, and the user is warned. The missing messages are marked as
//!   misplaced for good. Otherwise they would count as deleted later, when there is enough new mail
//!   that a majority is present again.
//! - A backup was restored into the same directories, without the messages that were delivered
//!   after it was made. A restored directory is older than pouch left it, and restored files are
//!   newer than their messages; no mail program causes either ([`Evidence`]). Then nothing is
//!   deleted as well.
//! - A directory or file of the user cannot be read: a missing message may be there. Nothing is
//!   deleted as well.
//! - A mail program is moving the message between two folders while the Maildir is read. It is
//!   searched twice.
//! - A mail program renamed the file. The headers of unknown files are compared, and a message
//!   without a fingerprint is never deleted.
//!
//! Only messages that were seen in the Maildir once count as deleted when they are missing.
//! Watching the Maildir with inotify was rejected: pouch is not a daemon, and misses what happens
//! between two runs.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use super::{basis::Basis, destinations};
use crate::{
    config::Account,
    delivery::{Delivery, Location, StoredMessage},
    domain::{
        destination::Destination,
        ids::RowId,
        message::Fingerprint,
        plan::{Known, Local, believable},
        reconcile::Reconciled,
    },
    error::{Error, Kind, Result},
    ledger::{AdoptedFiles, Reader, SeenMaildir},
    text::count,
};

/// The state of delivered messages in the Maildirs.
#[derive(Debug, Default)]
pub(super) struct Synced {
    /// Messages that the user deleted.
    deleted: HashSet<RowId>,
    /// Messages that are present.
    pub(super) located: Vec<RowId>,
    /// Messages that are missing, and may not have been deleted by the user.
    pub(super) misplaced: HashSet<RowId>,
    /// The reason why missing messages do not count as deleted.
    pub(super) warning: Option<Error>,
    /// The account's Maildirs as they were searched.
    pub(super) maildirs: Vec<SeenMaildir>,
}

impl Synced {
    /// Marks the deleted messages in `reconciled`.
    pub(super) fn mark(&self, reconciled: &mut Reconciled) {
        for entry in &mut reconciled.mailbox.entries {
            if let Known::Delivered { local, .. } = &mut entry.known
                && entry.row.is_some_and(|row| self.deleted.contains(&row))
            {
                *local = Local::Deleted;
            }
        }
    }
}

/// Finds delivered messages that the user deleted from the Maildirs. If too many are missing, or a
/// Maildir was replaced or restored, none counts as deleted, and the result has a warning.
///
/// # Errors
/// The ledger or a Maildir cannot be read.
pub(super) fn find_deleted(
    reconciled: &Reconciled,
    reader: &Reader,
    basis: &Basis<'_>,
) -> Result<Synced> {
    let maildirs = destinations::seen_maildirs(basis.account);
    let adopted = reader.adopted_files()?;
    let mut present = HashSet::new();
    let search = basis.router.visit_stored(&mut |found| {
        let own = || reader.message_named(&found.name).map(|name| name.row);
        present.extend(adopted.find(&found.name).or_else(own));
        Ok(())
    })?;
    if search.is_none() {
        return Ok(Synced::default());
    }
    let locations = reader.locate_delivered(&present, basis.maildirs)?;
    let delivered: Vec<_> = reconciled
        .delivered()
        .filter(|row| locations.known.contains(row))
        .collect();
    let missing: HashSet<_> = delivered
        .iter()
        .copied()
        .filter(|row| !present.contains(row))
        .collect();
    let mut synced = Synced {
        located: locations.found,
        maildirs,
        ..Synced::default()
    };
    if missing.is_empty() {
        return Ok(synced);
    }
    // a message that a mail program was moving is found the second time
    let mut evidence = Evidence::new(missing, basis.account, reader)?;
    let search = basis.router.visit_stored(&mut |found| {
        evidence.add(&found, reader, &adopted);
        Ok(())
    })?;
    evidence
        .unreadable
        .extend(search.unwrap_or_default().unreadable);
    evidence.raise(&mut synced.maildirs);
    if evidence.missing.is_empty() {
        return Ok(synced);
    }
    let missing = evidence.missing.len();
    let is_replaced = !evidence.missing.is_disjoint(&locations.replaced);
    let Some(doubt) = doubt(&evidence, delivered.len(), is_replaced, &synced.maildirs) else {
        synced.deleted = evidence.missing;
        return Ok(synced);
    };
    synced.warning = Some(not_synced(
        &basis.account.name,
        &doubt,
        missing,
        delivered.len(),
    ));
    // they must not count as deleted later either, when enough new mail has been delivered
    synced.misplaced = evidence.missing;
    Ok(synced)
}

/// Returns why the missing ones of `delivered` messages may not have been deleted by the user.
/// `None` if they were.
fn doubt(
    evidence: &Evidence,
    delivered: usize,
    is_replaced: bool,
    maildirs: &[SeenMaildir],
) -> Option<String> {
    if !believable(delivered, evidence.missing.len(), evidence.files) {
        Some("more than half of the delivered mail is missing from the Maildir".to_owned())
    } else if is_replaced {
        Some("the Maildir was replaced since the last run".to_owned())
    } else if evidence.was_restored(maildirs) {
        Some("the Maildir was restored from a backup since the last run".to_owned())
    } else {
        let path = evidence.unreadable.first()?;
        Some(format!("cannot read {}", path.display()))
    }
}

/// Returns the warning that `missing` of the `delivered` messages do not count as deleted.
fn not_synced(account: &str, doubt: &str, missing: usize, delivered: usize) -> Error {
    let delivered = count(delivered as u64, "message");
    let what = format!("{doubt}; deletions were not synced");
    Error::new(Kind::Unavailable, what)
        .with_fact(format!("missing: {missing} of {delivered}"))
        .with_fact("nothing was deleted from the server")
        .with_hint(format!(
            "if you deleted them on purpose, run `pouch ledger delete {account} NUMBER...`"
        ))
}

/// The conclusion of a search about the missing messages.
struct Evidence {
    missing: HashSet<RowId>,
    /// The fingerprints of missing messages.
    wanted: HashMap<Fingerprint, Vec<RowId>>,
    /// The number of messages of any kind.
    files: usize,
    /// Directories and files that could not be read.
    unreadable: Vec<PathBuf>,
    /// The root of each Maildir with its recorded state.
    before: Vec<(PathBuf, SeenMaildir)>,
    /// The messages delivered before that state was recorded.
    old: HashSet<RowId>,
    /// For each directory, the number of old messages in it, and how many of their files were
    /// written after the state was recorded.
    written: HashMap<PathBuf, (usize, usize)>,
    /// For each Maildir, the time at which its newest file was written.
    newest: HashMap<String, i64>,
}

impl Evidence {
    /// Starts to collect evidence about these messages.
    fn new(missing: HashSet<RowId>, account: &Account, reader: &Reader) -> Result<Self> {
        let destinations = account.routing.all();
        let root = |seen: &SeenMaildir| {
            let mut same = destinations.iter();
            match same.find(|destination| destination.to_string() == seen.name) {
                Some(Destination::Maildir(root)) => Some(root.clone()),
                _ => None,
            }
        };
        let recorded: Vec<_> = reader
            .seen_maildirs()?
            .into_iter()
            .filter_map(|(seen, run)| Some((root(&seen)?, seen, run)))
            .collect();
        let last_run = recorded.iter().map(|(.., run)| *run).min().unwrap_or(0);
        let before = recorded.into_iter().map(|(root, seen, _)| (root, seen));
        let mut evidence = Self {
            wanted: HashMap::new(),
            files: 0,
            unreadable: Vec::new(),
            before: before.collect(),
            old: reader.delivered_until(last_run)?,
            written: HashMap::new(),
            newest: HashMap::new(),
            missing,
        };
        for (row, _, fingerprint) in reader.delivered_fingerprints(evidence.missing.clone())? {
            match fingerprint {
                Some(fingerprint) => evidence.wanted.entry(fingerprint).or_default().push(row),
                // it could not be recognised under another name
                None => drop(evidence.missing.remove(&row)),
            }
        }
        Ok(evidence)
    }

    /// Adds a message that was found. A missing message may have been renamed, and is recognised by
    /// its header: mutt and Dovecot rename a message that is moved to another folder.
    fn add(&mut self, found: &StoredMessage, reader: &Reader, adopted: &AdoptedFiles) {
        self.files += 1;
        // the time of such a file says nothing: it may have been copied here
        if let Some(row) = adopted.find(&found.name) {
            self.missing.remove(&row);
            return;
        }
        if let Some(name) = reader.message_named(&found.name) {
            self.missing.remove(&name.row);
            if self.old.contains(&name.row) {
                self.compare_time(found);
            }
            return;
        }
        if self.wanted.is_empty() {
            return;
        }
        match found.fingerprint() {
            Ok(Some(fingerprint)) => {
                for row in self.wanted.remove(&fingerprint).into_iter().flatten() {
                    self.missing.remove(&row);
                }
            }
            Ok(None) => {}
            Err(_) => {
                if let Location::File(path) = &found.content {
                    self.unreadable.push(path.clone());
                }
            }
        }
    }

    /// Counts an old message, and whether its file was written later.
    fn compare_time(&mut self, found: &StoredMessage) {
        let (Location::File(path), Some(written)) = (&found.content, found.written_at()) else {
            return;
        };
        let innermost = self
            .before
            .iter()
            .filter(|(root, _)| path.starts_with(root))
            .max_by_key(|(root, _)| root.components().count());
        let (Some((_, seen)), Some(dir)) = (innermost, path.parent()) else {
            return;
        };
        let newest = self.newest.entry(seen.name.clone()).or_default();
        *newest = written.max(*newest);
        let (all, later) = self.written.entry(dir.to_owned()).or_default();
        *all += 1;
        *later += usize::from(seen.changed.is_some_and(|changed| written > changed));
    }

    /// Returns whether a Maildir was restored from a backup: one of its directories is older than
    /// before, or most of the old files in a directory are new.
    fn was_restored(&self, maildirs: &[SeenMaildir]) -> bool {
        let was_set_back = |now: &SeenMaildir| {
            let mut before = self.before.iter().map(|(_, seen)| seen);
            before.any(|before| before.name == now.name && now.was_set_back(before))
        };
        maildirs.iter().any(was_set_back)
            || self.written.values().any(|(all, later)| later * 2 > *all)
    }

    /// Raises the times up to which files are known to exist to those of the files that were found,
    /// so that restored files are not new again in the next run.
    fn raise(&self, maildirs: &mut [SeenMaildir]) {
        for maildir in maildirs {
            maildir.changed = maildir.changed.max(self.newest.get(&maildir.name).copied());
        }
    }
}
