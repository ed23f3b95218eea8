//! Which messages the user deleted from the Maildir.

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

/// What the Maildirs say about delivered messages.
#[derive(Debug, Default)]
pub(super) struct Synced {
    /// Messages that the user deleted.
    deleted: HashSet<RowId>,
    /// Messages that are there.
    pub(super) located: Vec<RowId>,
    /// Messages that are missing, but not known to be deleted.
    pub(super) misplaced: HashSet<RowId>,
    /// Why deletions are not believed.
    pub(super) warning: Option<Error>,
}

impl Synced {
    /// Marks the deleted messages.
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

/// Finds the delivered messages that the user deleted from their destination. If too many are
/// missing, or another Maildir is in the place of the one before, none counts as deleted, and the
/// result has a warning.
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
    // one that a mail program was just moving is there the second time
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
    let lost = count(missing.len() as u64, "message");
    synced.warning = Some(
        Error::new(
            Kind::Unavailable,
            format!("{doubt}; deletions were not synced"),
        )
        .with_fact(format!("{lost} of {} are missing", delivered.len()))
        .with_fact("nothing was deleted from the server")
        .with_hint("if you deleted them on purpose, run `pouch ledger delete`"),
    );
    // none of them counts later either, once there is so much new mail that it would be believed
    synced.misplaced = missing;
    Ok(synced)
}

/// Removes messages from `missing` that are there under another name: some mail programs (mutt,
/// Dovecot) rename a message when it is moved to another folder. They are recognised by their
/// headers. Those without a fingerprint are never deleted on suspicion.
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
    for stranger in found
        .iter()
        .filter(|found| reader.message_named(&found.name).is_none())
    {
        if wanted.is_empty() {
            break;
        }
        if let Some(fingerprint) = stranger.fingerprint()?
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
