//! Finding what an interrupted run delivered without recording it.
//!
//! The file name of a message is a function of its row, so a row is delivered if a file of that
//! name is in its destinations, or its journal entry in an mbox file. The whole Maildir is
//! searched, subfolders included, because a mail program may have moved the message. Programs, LMTP
//! servers and standard output cannot be searched: the ledger records a message for them as being
//! delivered before they get it.
//!
//! A name is no proof if the file cannot be the message: it is not a regular file, cannot be read,
//! or is smaller than the message. Then the message is fetched again, and the destination compares
//! the contents.
//!
//! Recording each message in the ledger before its file becomes visible was rejected: a crash in
//! between would lose the message, while a search can only find what is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    config::Account,
    delivery::{Delivery, Location, StoredMessage},
    domain::{destination::Destination, file_name::MessageFileName, ids::RowId, time::Timestamp},
    error::Result,
    ledger::{ExpectedSize, Ledger, Reader, Recovered, RecoveredNotice},
    sys::files,
};

/// The messages and notices that an interrupted run delivered.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// Messages that are in all their destinations.
    pub(super) delivered: Vec<Recovered>,
    /// Messages that are in some of their destinations: row and recipient.
    partial: BTreeSet<(RowId, String)>,
    notices: Vec<RecoveredNotice>,
    /// The number of messages in each mbox file whose presence cannot be determined, because the
    /// file was changed since.
    pub(super) uncertain: BTreeMap<PathBuf, u64>,
    /// Directories that could not be searched.
    pub(super) unreadable: BTreeSet<PathBuf>,
    /// Directories whose entries may not be durable yet.
    dirs: BTreeSet<PathBuf>,
}

impl Recovery {
    /// Syncs the directories of the files, and records what was found.
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

    /// Adds the result of a later search.
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
        self.unreadable = later.unreadable;
        self.dirs.extend(later.dirs);
    }
}

/// Searches the account's destinations for messages of the ledger.
///
/// # Errors
/// A destination or the ledger cannot be read.
pub(super) fn find_delivered(
    reader: &Reader,
    router: &dyn Delivery,
    account: &Account,
) -> Result<Recovery> {
    let mut recovery = search(reader, router, account)?;
    // a mail program may have moved a message during the first search
    recovery.merge(search(reader, router, account)?);
    Ok(recovery)
}

/// The files found, by row and number of the copy.
type Copies = BTreeMap<(RowId, u32), Vec<(MessageFileName, StoredMessage)>>;

/// Searches the destinations once.
fn search(reader: &Reader, router: &dyn Delivery, account: &Account) -> Result<Recovery> {
    let mut recovery = Recovery::default();
    let mut copies = Copies::new();
    let found = router.visit_stored(&mut |found| {
        let Some(name) = reader.message_named(&found.name) else {
            if !matches!(found.content, Location::Uncertain(_)) {
                recovery.notices.extend(reader.notice_named(&found.name));
            }
            return Ok(());
        };
        let Some(expected) = reader.expected_size(&name)? else {
            return Ok(());
        };
        match &found.content {
            Location::Uncertain(mailbox) => {
                *recovery.uncertain.entry(mailbox.clone()).or_default() += 1;
                return Ok(());
            }
            Location::File(path) if !may_have_size(path, expected, account) => return Ok(()),
            // the run may have been interrupted between naming the file and syncing the directory
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
        Ok(())
    })?;
    recovery
        .unreadable
        .extend(found.unwrap_or_default().unreadable);
    evaluate(copies, account, &mut recovery);
    Ok(recovery)
}

/// Adds the messages that were found to the result.
fn evaluate(copies: Copies, account: &Account, recovery: &mut Recovery) {
    let destinations = account.routing.all();
    for ((row, copy), found) in copies {
        let Some((name, first)) = found.first() else {
            continue;
        };
        // a message that a mail program is moving can be found twice in one destination
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
        // a message that was moved before it was read is found by the second search, and one that
        // cannot be read is fetched again
        let Ok(fingerprint) = first.fingerprint() else {
            continue;
        };
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
}

/// Returns whether the file at `path` can be the message, judging by its size. Filters and added
/// fields change the size, so that it says nothing.
fn may_have_size(path: &Path, expected: ExpectedSize, account: &Account) -> bool {
    let ExpectedSize(Some(expected)) = expected else {
        return true;
    };
    if !account.filter.is_empty() || !account.add_headers.is_empty() {
        return true;
    }
    // one that was moved meanwhile is found by the second search
    crlf_size(path).is_ok_and(|size| size >= expected)
}

/// Returns the size of the file at `path` with CRLF line endings, in bytes. 0 if it is not a
/// regular file.
fn crlf_size(path: &Path) -> io::Result<u64> {
    let Some(mut file) = files::open_if_regular(path)? else {
        return Ok(0);
    };
    let mut buffer = [0; 16 * 1024];
    let mut size = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(size),
            read => {
                let lines = memchr::memchr_iter(b'\n', &buffer[..read]).count();
                size += (read + lines) as u64;
            }
        }
    }
}

/// Returns the destination that contains a message, the innermost one if a Maildir contains
/// another, or `None` if there is none.
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
