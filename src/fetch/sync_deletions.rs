//! What the user deleted from the Maildir.

use std::collections::{HashMap, HashSet};

use crate::{
    delivery::{Delivery, StoredMessage},
    domain::{
        ids::RowId,
        plan::{Known, Local, believable},
    },
    error::{Error, Kind, Result},
    ledger::{DeliveredLocations, Ledger, Reconciled},
    text::count,
};

/// Marks those delivered messages of `look` that the user deleted from the place they were
/// delivered to. Where too much is gone to be believed, or another Maildir lies in its place,
/// nothing is marked, and that is what comes back.
///
/// # Errors
/// The ledger, or a message, cannot be read.
pub fn mark(
    look: &mut Reconciled,
    ledger: &mut Ledger,
    delivery: &dyn Delivery,
) -> Result<Option<Error>> {
    let Some(mut found) = delivery.look()? else {
        return Ok(None);
    };
    let mut present = present_in(&found, ledger);
    // what may lie in a Maildir that the account no longer has cannot be missed here
    let DeliveredLocations { sure, elsewhere } = ledger.locate_delivered(&present)?;
    let delivered: Vec<_> = look.delivered().filter(|row| sure.contains(row)).collect();
    let mut gone: HashSet<_> = delivered
        .iter()
        .copied()
        .filter(|row| !present.contains(row))
        .collect();
    if gone.is_empty() {
        return Ok(None);
    }
    // one that a mail program was just moving is there the second time
    found = delivery.look()?.unwrap_or_default();
    present = present_in(&found, ledger);
    gone.retain(|row| !present.contains(row));
    // Moving a message to another folder gives it another name in some mail programs (mutt,
    // Dovecot): what cannot be found by its name is looked for by its header.
    let mut wanted: HashMap<_, Vec<_>> = HashMap::new();
    for (row, _, print) in ledger.fingerprints_delivered(gone.clone())? {
        match print {
            Some(print) => wanted.entry(print).or_default().push(row),
            // never deleted on suspicion
            None => {
                gone.remove(&row);
            }
        }
    }
    for stranger in found
        .iter()
        .filter(|found| ledger.row_of(&found.name).is_none())
    {
        if wanted.is_empty() {
            break;
        }
        if let Some(print) = stranger.fingerprint()?
            && let Some(rows) = wanted.remove(&print)
        {
            for row in rows {
                gone.remove(&row);
            }
        }
    }
    let told = if !believable(delivered.len(), gone.len(), found.len()) {
        Some("too much is gone from the Maildir to delete it from the server too")
    } else if !gone.is_disjoint(&elsewhere) {
        Some("another Maildir lies in the place of the one before")
    } else {
        None
    };
    if let Some(told) = told {
        // nor is any part of it, once there is so much new mail that it would be believed
        ledger.forget_location(&gone)?;
        return Ok(Some(
            Error::new(Kind::Unavailable, told)
                .with_fact(format!("{} of {} are not there any more", gone.len(), count(delivered.len() as u64, "message")))
                .with_fact("if its disk is not mounted, or it comes from a backup, that saved your mail; nothing was deleted from the server")
                .with_hint("if you did delete them, `pouch ledger delete` takes them off the server"),
        ));
    }
    for entry in &mut look.mailbox.entries {
        if let Known::Delivered { local, .. } = &mut entry.known
            && entry.row.is_some_and(|row| gone.contains(&row))
        {
            *local = Local::Deleted;
        }
    }
    Ok(None)
}

/// The rows of the messages that were found.
fn present_in(found: &[StoredMessage], ledger: &Ledger) -> HashSet<RowId> {
    found
        .iter()
        .filter_map(|found| ledger.row_of(&found.name))
        .map(|(row, _)| row)
        .collect()
}
