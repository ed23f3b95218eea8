//! The known messages of a mailbox, as far as they are compared with a listing.

use std::{collections::HashSet, iter};

use crate::domain::{
    ids::{Listed, MsgNum, RowId, Uid, UidKey},
    plan::{Known, Local},
    time::Timestamp,
};

/// The state of a message in the ledger, as far as a listing needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of its own")]
pub struct KnownRow {
    /// The message's row.
    pub row: RowId,
    /// Its size by LIST when it was last listed, in octets.
    pub octets: u64,
    /// Its state.
    pub known: Known,
    /// Whether it was missing from the last listing.
    pub missing: bool,
    /// Whether the user requested it, regardless of the rules and of `max-size`.
    pub force_fetch: bool,
    /// Whether a rule decided last time to delete it unread.
    pub delete_by_rule: bool,
    /// Whether its UID was derived from its header.
    pub derived_uid: bool,
    /// Whether it was last fetched, or its header compared, at another address of the mailbox.
    pub other_address: bool,
    /// Whether another program fetched it, and the server has not listed it since its import. Its
    /// size is not known.
    pub never_listed: bool,
}

/// The known messages of a mailbox.
#[derive(Clone, Debug, Default)]
pub struct KnownMessages {
    /// The messages that are not gone, in the order of their rows.
    pub(super) live: UidTable,
    /// Of the messages that are gone, the last one for each UID that is listed again.
    pub(super) gone: UidTable,
}

/// Rows with their UIDs, which are stored in one buffer: 200,000 of them have to fit into memory
/// next to a listing.
#[derive(Clone, Debug, Default)]
pub(super) struct UidTable {
    rows: Vec<KnownRow>,
    uids: Vec<u8>,
    /// Where the UID of each row ends, and the size that belongs to a derived UID.
    ends: Vec<(usize, Option<u64>)>,
}

impl UidTable {
    fn push(&mut self, (uid, size): UidKey<'_>, row: KnownRow) {
        self.uids.extend_from_slice(uid);
        self.ends.push((self.uids.len(), size));
        self.rows.push(row);
    }

    /// Returns the rows in their order, each with its UID.
    pub(super) fn iter(&self) -> impl Iterator<Item = (UidKey<'_>, &KnownRow)> {
        let begins = iter::once(0).chain(self.ends.iter().map(|(end, _)| *end));
        begins
            .zip(&self.ends)
            .zip(&self.rows)
            .map(|((begin, (end, size)), row)| ((&self.uids[begin..*end], *size), row))
    }
}

impl KnownMessages {
    /// Adds a message that is not gone. Rows are added in ascending order.
    pub fn push(&mut self, uid: UidKey<'_>, row: KnownRow) {
        self.live.push(uid, row);
    }

    /// Adds a message that is gone and whose UID is listed again.
    pub fn push_gone(&mut self, uid: UidKey<'_>, row: KnownRow) {
        self.gone.push(uid, row);
    }

    /// Returns the messages of the last listing, in the order of their rows and numbered from 1.
    pub fn last_listing(&self) -> Vec<Listed> {
        let rows = self.live.iter();
        let listed = rows.filter(|(_, row)| !row.missing && !row.never_listed);
        listed
            .filter_map(|(uid, row)| Some((Uid::from_key(uid)?, row.octets)))
            .zip(1..)
            .map(|((uid, octets), num)| Listed {
                num: MsgNum(num),
                uid,
                octets,
            })
            .collect()
    }

    /// Marks messages as delivered at the time `at`.
    pub fn mark_delivered(&mut self, rows: &HashSet<RowId>, at: Timestamp) {
        self.update(|row| {
            if rows.contains(&row.row) {
                row.known = Known::Delivered {
                    at,
                    local: Local::Present,
                };
            }
            UidChange::Keep
        });
    }

    /// Sets the time at which the delivered messages among `rows` were fetched.
    pub fn date_anew(&mut self, rows: &HashSet<RowId>, now: Timestamp) {
        if rows.is_empty() {
            return;
        }
        self.update(|row| {
            if let Known::Delivered { at, .. } = &mut row.known
                && rows.contains(&row.row)
            {
                *at = now;
            }
            UidChange::Keep
        });
    }

    /// Returns whether the server has given UIDs to any of the messages.
    pub fn has_server_uids(&self) -> bool {
        [&self.live, &self.gone]
            .into_iter()
            .any(|table| table.iter().any(|(uid, _)| uid.1.is_none()))
    }

    /// Changes the known messages. `change` gets each row, and decides about its UID.
    pub fn update(&mut self, mut change: impl FnMut(&mut KnownRow) -> UidChange) {
        for table in [&mut self.live, &mut self.gone] {
            let before = std::mem::take(table);
            for (uid, row) in before.iter() {
                let mut row = *row;
                match change(&mut row) {
                    UidChange::Keep => table.push(uid, row),
                    UidChange::Replace(uid) => table.push(uid.key(), row),
                    UidChange::Remove => {}
                }
            }
        }
    }
}

/// A change to the UID of a known message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UidChange {
    /// The message keeps it.
    Keep,
    /// The message has this UID from now on.
    Replace(Uid),
    /// The UID belongs to another message, of which nothing is known.
    Remove,
}
