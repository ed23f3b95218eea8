//! What a run that died had delivered without telling the ledger.

use std::{collections::BTreeSet, path::Path};

use crate::{
    delivery::{Content, Delivery, Measured},
    error::Result,
    folder,
    ledger::{Ledger, Recovered},
    types::Epoch,
};

/// Looks for the ledger's messages in the place where they go, and tells the ledger which of them
/// lie there. Gives how many may lie there or not, and were not delivered before.
///
/// # Errors
/// The place cannot be read, or the ledger cannot be written.
pub(super) fn recover(ledger: &mut Ledger, delivery: &dyn Delivery, now: Epoch) -> Result<u64> {
    let mut unknown = 0;
    // twice, since a mail program may move a message while it is looked for
    for _ in 0..2 {
        let mut ours = Vec::new();
        unknown = 0;
        // the run that died may have given a message its name, and not made it safe
        let mut folders = BTreeSet::new();
        for found in delivery.look()?.unwrap_or_default() {
            let Some((row, copy)) = ledger.row_of(&found.name) else { continue };
            if let Some(Measured { octets, fingerprint }) = found.measured()? {
                if let Content::File(path) = &found.content {
                    folders.extend(path.ancestors().skip(1).take(2).map(Path::to_owned));
                }
                ours.push(Recovered { row, copy, octets, fingerprint });
            } else if found.content == Content::Unknown && ledger.octets_delivered(row)?.is_none() {
                unknown += 1;
            }
        }
        folders.iter().try_for_each(|folder| folder::anchor(folder))?;
        ledger.recover(&ours, now)?;
    }
    Ok(unknown)
}
