//! The senders of delivered messages.
//!
//! The ledger records the senders of messages that failed only, so that it has no more about the
//! user's correspondence than it needs. Those of the others are read from the files in the
//! account's Maildirs: their headers, of the newest messages, up to a limit for all accounts
//! together. Mail that was delivered by a program, by LMTP or to an mbox file is not read.

use std::{cmp::Reverse, collections::HashMap, path::PathBuf};

use crate::{
    config::Account,
    delivery::{Delivery, Location, Maildir, StoredMessage},
    domain::{destination::Destination, ids::RowId, message::summarize, time::Timestamp},
    error::{Error, Kind, Result},
    fetch::env::RunEnv,
    ledger::Reader,
    report::{
        activity::data::{Sender, Senders, Volume},
        days::DayRange,
    },
    sys::interrupt::Interrupt,
    text::sanitize,
};

/// The number of messages whose headers are read for a report.
const MOST_HEADERS: usize = 20_000;

/// The number of them that each account has at least.
const LEAST_HEADERS: usize = 20;

/// Returns the number of messages that are read of each of several accounts.
pub(super) fn share(accounts: usize) -> usize {
    (MOST_HEADERS / accounts.max(1)).max(LEAST_HEADERS)
}

/// The file of a delivered message.
struct File {
    row: RowId,
    delivered: Timestamp,
    octets: u64,
    message: StoredMessage,
}

/// Reads the senders of the messages that were delivered in the period, of at most `most` messages.
///
/// # Errors
/// The ledger cannot be read, or a signal arrived. Files and Maildirs that cannot be read are
/// counted.
pub(super) fn senders(
    ledger: &Reader,
    account: &Account,
    env: &RunEnv,
    (period, most): (&DayRange, usize),
) -> Result<Senders> {
    let delivered = ledger.delivered_since(period.begin())?.len();
    let mut senders = Senders::default();
    if delivered == 0 {
        return Ok(senders);
    }
    let mut files = files(ledger, account, env, period)?;
    files.sort_unstable_by_key(|file| Reverse((file.delivered, file.row)));
    senders.elsewhere = (delivered - files.len()) as u64;
    senders.over_limit = files.len().saturating_sub(most) as u64;
    files.truncate(most);
    let mut volumes: HashMap<String, Volume> = HashMap::new();
    for file in files {
        check(&env.stop)?;
        match file.message.head() {
            Ok(Some(head)) => {
                senders.read += 1;
                let sender = volumes.entry(sender(head.as_bytes())).or_default();
                sender.add(Volume {
                    messages: 1,
                    bytes: file.octets,
                });
            }
            Ok(None) => senders.elsewhere += 1,
            Err(_) => senders.unreadable += 1,
        }
    }
    let list = volumes.into_iter();
    senders.list = list
        .map(|(sender, volume)| Sender { sender, volume })
        .collect();
    let order = |sender: &Sender| (Reverse(sender.volume.messages), sender.sender.clone());
    senders.list.sort_by_cached_key(order);
    Ok(senders)
}

/// Returns the address of the sender, or an empty text if the header has none. Domains are not
/// case-sensitive, and in practice neither are the names before them.
fn sender(head: &[u8]) -> String {
    let address = summarize(head).address.unwrap_or_default();
    sanitize(address.trim().as_bytes()).to_lowercase()
}

/// Returns the files of the messages that were delivered in the period, one for each.
fn files(ledger: &Reader, account: &Account, env: &RunEnv, period: &DayRange) -> Result<Vec<File>> {
    let mut delivered = ledger.delivered_since(period.begin())?;
    let mut files = Vec::new();
    for path in maildirs(account) {
        let found = Maildir::open_existing(&path).and_then(|maildir| {
            maildir.visit_stored(&mut |message| {
                check(&env.stop)?;
                let name = ledger.message_named(&message.name);
                // a ledger that was restored from a backup assigns numbers again
                let row = name.and_then(|name| {
                    let row = delivered.get(&name.row)?;
                    (row.first_seen == name.first_seen).then_some((name.row, *row))
                });
                if let (Some((row, known)), Location::File(_)) = (row, &message.content) {
                    delivered.remove(&row);
                    files.push(File {
                        row,
                        delivered: known.delivered,
                        octets: known.octets,
                        message,
                    });
                }
                Ok(())
            })
        });
        // the messages of a Maildir that cannot be read are counted as missing
        if let Err(error) = found
            && let Kind::Stopped(_) = error.kind()
        {
            return Err(error);
        }
    }
    Ok(files)
}

/// Returns the Maildirs of an account.
fn maildirs(account: &Account) -> Vec<PathBuf> {
    let destinations = account.routing.all().into_iter();
    destinations
        .filter_map(|destination| match destination {
            Destination::Maildir(path) => Some(path),
            _ => None,
        })
        .collect()
}

fn check(stop: &Interrupt) -> Result<()> {
    match stop.signal() {
        Some(signal) => Err(Error::new(Kind::Stopped(signal), "interrupted")),
        None => Ok(()),
    }
}
