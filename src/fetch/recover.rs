//! What an interrupted run delivered without recording it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::{
    config::Account,
    delivery::{Delivery, Location, StoredMessage},
    domain::{destination::Destination, file_name::MessageFileName, ids::RowId, time::Timestamp},
    error::Result,
    ledger::{Ledger, Reader, Recovered, RecoveredNotice},
    sys::files,
};

/// What an interrupted run delivered.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// Messages that are in all their destinations.
    pub(super) delivered: Vec<Recovered>,
    /// Messages that are in some of their destinations, and the names of those.
    partial: BTreeSet<(RowId, String)>,
    notices: Vec<RecoveredNotice>,
    /// How many messages may be in a mailbox file or not, for each such file.
    pub(super) uncertain: BTreeMap<PathBuf, u64>,
    /// Directories whose entries may not be durable yet.
    dirs: BTreeSet<PathBuf>,
}

impl Recovery {
    /// Makes what was found durable, and records it.
    ///
    /// # Errors
    /// The disk fails, or the ledger cannot be written.
    pub(super) fn record(&self, ledger: &mut Ledger, now: Timestamp) -> Result<()> {
        self.dirs
            .iter()
            .try_for_each(|dir| files::sync_dir_and_parent(dir))?;
        ledger.record_recovered(&self.delivered, now)?;
        ledger.record_recovered_notices(&self.notices, now)?;
        self.partial
            .iter()
            .try_for_each(|(row, recipient)| ledger.record_partial_delivery(*row, recipient, now))
    }

    fn merge(&mut self, later: Self) {
        let known: BTreeSet<_> = self
            .delivered
            .iter()
            .map(|found| (found.row, found.copy))
            .collect();
        let new = later.delivered.into_iter();
        self.delivered
            .extend(new.filter(|found| !known.contains(&(found.row, found.copy))));
        self.partial.extend(later.partial);
        self.notices.extend(later.notices);
        self.uncertain = later.uncertain;
        self.dirs.extend(later.dirs);
    }
}

/// Looks for the ledger's messages in the destinations of the account.
///
/// # Errors
/// A destination or the ledger cannot be read.
pub(super) fn find_delivered(
    reader: &Reader,
    router: &dyn Delivery,
    account: &Account,
) -> Result<Recovery> {
    let mut recovery = search(reader, router, account)?;
    // a second time, since a mail program may move a message during the first
    recovery.merge(search(reader, router, account)?);
    Ok(recovery)
}

fn search(reader: &Reader, router: &dyn Delivery, account: &Account) -> Result<Recovery> {
    let mut recovery = Recovery::default();
    let mut copies: BTreeMap<(RowId, u32), Vec<(MessageFileName, StoredMessage)>> = BTreeMap::new();
    for found in router.stored_messages()?.unwrap_or_default() {
        let Some(name) = reader.message_named(&found.name) else {
            if !matches!(found.content, Location::Unknown(_)) {
                recovery.notices.extend(reader.notice_named(&found.name));
            }
            continue;
        };
        if !reader.expects_file(&name)? {
            continue;
        }
        match &found.content {
            Location::Unknown(mailbox) => {
                *recovery.uncertain.entry(mailbox.clone()).or_default() += 1;
                continue;
            }
            // the interrupted run may have named the file, and not made the name durable
            Location::File(path) => {
                recovery
                    .dirs
                    .extend(path.ancestors().skip(1).take(2).map(Path::to_owned));
            }
            Location::Recorded { .. } => {}
        }
        copies
            .entry((name.row, name.copy))
            .or_default()
            .push((name, found));
    }
    let destinations = account.routing.all();
    for ((row, copy), found) in copies {
        let Some((name, first)) = found.first() else {
            continue;
        };
        // one that a mail program is moving is seen twice in one destination
        let recipients: BTreeSet<_> = found
            .iter()
            .filter_map(|(_, found)| destination_of(found, &destinations))
            .map(Destination::to_string)
            .collect();
        if recipients.len() < name.destinations {
            recovery
                .partial
                .extend(recipients.into_iter().map(|recipient| (row, recipient)));
            continue;
        }
        let fingerprint = first.fingerprint()?;
        // one that was moved before it was read is found the second time
        if fingerprint.is_some() || first.is_there() {
            let filtered = !account.filter.is_empty();
            recovery.delivered.push(Recovered {
                row,
                copy,
                fingerprint,
                filtered,
            });
        }
    }
    Ok(recovery)
}

/// Returns the destination that a message is in, or in a folder of which: a mail program may have
/// moved it there.
fn destination_of<'d>(
    found: &StoredMessage,
    destinations: &'d [Destination],
) -> Option<&'d Destination> {
    let depth = |destination: &Destination| match (destination, &found.content) {
        (Destination::Maildir(root), Location::File(path)) => {
            path.starts_with(root).then(|| root.components().count())
        }
        (Destination::Mbox(own), Location::Recorded { mailbox, .. }) => {
            (own == mailbox).then_some(0)
        }
        _ => None,
    };
    destinations
        .iter()
        .filter_map(|destination| Some((depth(destination)?, destination)))
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, destination)| destination)
}
