//! Finding messages that the user deleted from a Maildir, for `sync-deletions`.
//!
//! # Why this is safe
//!
//! A message that is missing from the Maildir is deleted from the server, where it may be the last
//! copy. A missing file has other causes than deletion, and each has a safeguard:
//! - The Maildir is on a disk that is not mounted, or was restored from a backup, or replaced by
//!   another one. If more than half of the delivered messages are missing ([`believable`]), or the
//!   Maildir's creation time changed, nothing is deleted, and the user is warned. The missing
//!   messages are marked as misplaced for good. Otherwise they would count as deleted later, when
//!   there is enough new mail that a majority is present again.
//! - A mail program is moving the message between two folders while the Maildir is read. It is
//!   searched twice.
//! - A mail program renamed the file. The headers of unknown files are compared, and a message
//!   without a fingerprint is never deleted.
//!
//! Only messages that were seen in the Maildir once count as deleted when they are missing.
//! Watching the Maildir with inotify was rejected: pouch is not a daemon, and misses what happens
//! between two runs.

use std::collections::{HashMap, HashSet};

use super::basis::Basis;
use crate::{
    delivery::{Delivery, StoredMessage},
    domain::{
        ids::RowId,
        plan::{Known, Local, believable},
        reconcile::Reconciled,
    },
    error::{Error, Kind, Result},
    ledger::Reader,
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
    /// Why missing messages do not count as deleted.
    pub(super) warning: Option<Error>,
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
/// Maildir was replaced, none counts as deleted, and the result has a warning.
///
/// # Errors
/// The ledger or a message cannot be read.
pub(super) fn find_deleted(
    reconciled: &Reconciled,
    reader: &Reader,
    basis: &Basis<'_>,
) -> Result<Synced> {
    let Some(mut found) = basis.router.stored_messages()? else {
        return Ok(Synced::default());
    };
    let mut present = present_in(&found, reader);
    let locations = reader.locate_delivered(&present, basis.maildirs)?;
    let delivered: Vec<_> = reconciled
        .delivered()
        .filter(|row| locations.known.contains(row))
        .collect();
    let mut missing: HashSet<_> = delivered
        .iter()
        .copied()
        .filter(|row| !present.contains(row))
        .collect();
    let mut synced = Synced {
        located: locations.found,
        ..Synced::default()
    };
    if missing.is_empty() {
        return Ok(synced);
    }
    // a message that a mail program was moving is found the second time
    found = basis.router.stored_messages()?.unwrap_or_default();
    present = present_in(&found, reader);
    missing.retain(|row| !present.contains(row));
    remove_renamed(&mut missing, &found, reader)?;
    let doubt = if !believable(delivered.len(), missing.len(), found.len()) {
        Some("more than half of the delivered mail is missing from the Maildir")
    } else if !missing.is_disjoint(&locations.replaced) {
        Some("the Maildir was replaced since the last run")
    } else {
        None
    };
    let Some(doubt) = doubt else {
        synced.deleted = missing;
        return Ok(synced);
    };
    synced.warning = Some(
        Error::new(
            Kind::Unavailable,
            format!("{doubt}; deletions were not synced"),
        )
        .with_fact(format!(
            "missing: {} of {}",
            missing.len(),
            count(delivered.len() as u64, "message")
        ))
        .with_fact("nothing was deleted from the server")
        .with_hint(format!(
            "if you deleted them on purpose, run `pouch ledger delete {} NUMBER...`",
            basis.account.name
        )),
    );
    // they must not count as deleted later either, when enough new mail has been delivered
    synced.misplaced = missing;
    Ok(synced)
}

/// Removes messages from `missing` that are present under another name, recognised by their
/// headers: mutt and Dovecot rename a message that is moved to another folder. Messages without a
/// fingerprint are removed, too, since they cannot be recognised.
fn remove_renamed(
    missing: &mut HashSet<RowId>,
    found: &[StoredMessage],
    reader: &Reader,
) -> Result<()> {
    let mut wanted: HashMap<_, Vec<_>> = HashMap::new();
    for (row, _, fingerprint) in reader.delivered_fingerprints(missing.clone())? {
        match fingerprint {
            Some(fingerprint) => wanted.entry(fingerprint).or_default().push(row),
            None => {
                missing.remove(&row);
            }
        }
    }
    for unknown in found
        .iter()
        .filter(|found| reader.message_named(&found.name).is_none())
    {
        if wanted.is_empty() {
            break;
        }
        if let Some(fingerprint) = unknown.fingerprint()?
            && let Some(rows) = wanted.remove(&fingerprint)
        {
            missing.retain(|row| !rows.contains(row));
        }
    }
    Ok(())
}

/// Returns the rows of the messages that were found.
fn present_in(found: &[StoredMessage], reader: &Reader) -> HashSet<RowId> {
    found
        .iter()
        .filter_map(|found| Some(reader.message_named(&found.name)?.row))
        .collect()
}
