//! What a run that died had delivered without telling the ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::{
    config::Account,
    delivery::{Delivery, Location, StoredMessage},
    domain::{destination::Destination, time::Timestamp},
    error::Result,
    ledger::{Ledger, Recovered},
    sys::files,
};

/// Looks for the ledger's messages in the places of the account, and tells the ledger which of them
/// lie there. One that lies in some of its places only counts as delivered to those. Gives how many
/// may lie in a mailbox file or not, and were not delivered before, for each such file.
///
/// # Errors
/// A place cannot be read, or the ledger cannot be written.
pub(super) fn recover(
    ledger: &mut Ledger,
    delivery: &dyn Delivery,
    account: &Account,
    now: Timestamp,
) -> Result<BTreeMap<PathBuf, u64>> {
    let places = account.routing.all();
    // nothing is asked for ahead while filters have a message
    let filtered = !account.filter.is_empty() && !ledger.died_ahead()?;
    let mut unknown = BTreeMap::new();
    // twice, since a mail program may move a message while it is looked for
    for _ in 0..2 {
        unknown.clear();
        // the run that died may have given a message its name, and not made it safe
        let mut folders = BTreeSet::new();
        let mut copies: BTreeMap<_, Vec<StoredMessage>> = BTreeMap::new();
        let mut others = Vec::new();
        for found in delivery.look()?.unwrap_or_default() {
            let Some(named) = ledger.row_of(&found.name) else {
                if !matches!(found.content, Location::Unknown(_)) {
                    others.push(found.name);
                }
                continue;
            };
            if !ledger.expects_file(&found.name)? {
                continue;
            }
            if let Location::Unknown(mailbox) = found.content {
                *unknown.entry(mailbox).or_default() += 1;
                continue;
            }
            if let Location::File(path) = &found.content {
                folders.extend(path.ancestors().skip(1).take(2).map(Path::to_owned));
            }
            copies.entry(named).or_default().push(found);
        }
        let mut ours = Vec::new();
        let mut parts = Vec::new();
        for ((row, copy), found) in copies {
            let Some(first) = found.first() else { continue };
            // one that a mail program was just moving is seen twice in one place
            let recipients: BTreeSet<_> = found
                .iter()
                .filter_map(|found| place(found, &places))
                .map(Destination::to_string)
                .collect();
            if recipients.len() < Ledger::places_of(&first.name) {
                parts.extend(recipients.into_iter().map(|taker| (row, taker)));
                continue;
            }
            let fingerprint = first.fingerprint()?;
            // one that was moved before it was read is found the second time
            if fingerprint.is_some() || first.is_there() {
                ours.push(Recovered {
                    row,
                    copy,
                    fingerprint,
                    filtered,
                });
            }
        }
        folders
            .iter()
            .try_for_each(|folder| files::sync_dir_and_parent(folder))?;
        ledger.recover(&ours, now)?;
        ledger.recover_told(&others, now)?;
        parts
            .iter()
            .try_for_each(|(row, taker)| ledger.record_partial_delivery(*row, taker, now))?;
    }
    Ok(unknown)
}

/// The one of `places` that a message lies in, be it in a folder of it: a mail program may have
/// moved it there meanwhile.
fn place<'p>(found: &StoredMessage, places: &'p [Destination]) -> Option<&'p Destination> {
    let depth = |place: &Destination| match (place, &found.content) {
        (Destination::Maildir(root), Location::File(path)) => {
            path.starts_with(root).then(|| root.components().count())
        }
        (Destination::Mbox(own), Location::Noted { mailbox, .. }) => (own == mailbox).then_some(0),
        _ => None,
    };
    places
        .iter()
        .filter_map(|place| Some((depth(place)?, place)))
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, place)| place)
}
