//! Matching what the server lists with what the ledger knows.
//!
//! # Why a UID is not enough
//!
//! RFC 1939 §7 makes a UID unique only among the messages that are in the mailbox at one time: once
//! a message is gone, its UID may be given to another one, and real servers do so (mbox files that
//! are rewritten, message numbers used as UIDs). Two messages may even share a UID, since some
//! servers derive it from the content. A message that is confused with a known one may be deleted
//! unread, or never be fetched. So a known UID whose size changed, or that was missing for a while,
//! is reported as [`Unverified`], and messages that share a UID are matched by size first.
//!
//! A mailbox may have several [addresses](super::identity), and only a few headers prove that an
//! address leads to it. So a message that is known from another address is not deleted before its
//! own header was compared, either.

mod known;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    ops::Range,
};

use super::{
    ids::{Listed, RowId, UidKey},
    plan::{Action, Known, ListedMessage, Mailbox, Plan, SkipReason},
};

pub use known::{KnownMessages, KnownRow, UidChange};

/// A listing, matched with the known messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// The listed messages with their states.
    pub mailbox: Mailbox,
    /// Rows that were delivered or skipped, or are to be deleted on request, and are not listed.
    pub absent: Vec<RowId>,
    /// Whether one of them has a UID derived from its header.
    pub absent_derived: bool,
    /// Known messages that may be different messages now.
    pub unverified: Vec<Unverified>,
    /// Indices of messages that a rule decided last time to delete unread.
    pub delete_by_rule: Vec<usize>,
    /// Rows that are not listed, but were listed in the last run.
    pub vanished: Vec<RowId>,
    /// Rows that are listed again, but were missing in the last run.
    pub relisted: Vec<RowId>,
    /// Imported rows that are listed for the first time, each with its size.
    pub first_listed: Vec<(RowId, u64)>,
}

/// A message that was delivered or skipped, and may be a different one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unverified {
    /// Its index in the listing.
    pub index: usize,
    /// Its row.
    pub row: RowId,
    /// The reason why it has to be verified.
    pub reason: UnverifiedReason,
}

/// The reason why a known message has to be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnverifiedReason {
    /// It was gone from the server, or missing for a while, and is listed again.
    Relisted,
    /// Its listed size changed.
    Resized,
    /// It is known only from another address of the mailbox, and is due for deletion.
    OtherAddress,
}

impl Reconciled {
    /// Returns the rows of the messages that are listed and delivered.
    pub fn delivered(&self) -> impl Iterator<Item = RowId> + '_ {
        self.mailbox
            .entries
            .iter()
            .filter(|entry| matches!(entry.known, Known::Delivered { .. }))
            .filter_map(|entry| entry.row)
    }

    /// Returns the messages that may be deleted once their headers were compared: `plan` leaves
    /// them on the server, because they are known only from another address.
    pub fn other_address(&self, plan: &Plan) -> Vec<Unverified> {
        let mut messages: Vec<_> = plan
            .steps
            .iter()
            .filter(|step| step.action == Action::Leave(SkipReason::OtherAddress))
            .filter_map(|step| {
                Some(Unverified {
                    index: step.index,
                    row: self.mailbox.entries[step.index].row?,
                    reason: UnverifiedReason::OtherAddress,
                })
            })
            .collect();
        messages.sort_unstable_by_key(|message| message.index);
        messages
    }

    /// Records that the message at `index` is the known one, at the present address too.
    pub fn confirm(&mut self, index: usize) {
        self.mailbox.entries[index].other_address = false;
    }

    /// Records that the message at `index` is not the known one, so that it counts as new.
    pub fn replace(&mut self, index: usize) {
        let entry = &mut self.mailbox.entries[index];
        (entry.row, entry.known) = (None, Known::NEVER_SEEN);
        entry.other_address = false;
    }

    /// Returns the indices of the messages that have no row, except those that share their UID.
    pub fn unknown(&self) -> impl Iterator<Item = usize> + '_ {
        let entries = self.mailbox.entries.iter().enumerate();
        entries
            .filter(|(index, entry)| {
                entry.row.is_none() && !self.mailbox.shared_uids.contains_key(index)
            })
            .map(|(index, _)| index)
    }
}

/// Matches `listed` with what is `known`.
pub fn reconcile(listed: &[Listed], known: &KnownMessages) -> Reconciled {
    let mut join = Join::new(listed);
    // UIDs that several messages share, listed ones or known ones
    let mut shared: BTreeMap<UidKey<'_>, Vec<&KnownRow>> = BTreeMap::new();
    let mut next = 0;
    for (uid, row) in known.live.iter() {
        let found = join.index.find(uid, next);
        next = found.end;
        match join.index.by_uid[found] {
            [] => join.unlisted(row),
            [index] if join.is_unknown(index) => join.known(index, row, false),
            [..] => drop(shared.entry(uid).or_default()),
        }
    }
    if !shared.is_empty() {
        join.forget(shared.keys().copied());
        for (uid, row) in known.live.iter() {
            if let Some(rows) = shared.get_mut(&uid) {
                rows.push(row);
            }
        }
    }
    for (uid, rows) in &shared {
        join.match_shared(*uid, rows);
    }
    for (uid, row) in known.gone.iter() {
        let found = join.index.find(uid, 0);
        // the second of two messages with one UID does not mean that the first has returned
        if let [index] = join.index.by_uid[found]
            && join.is_unknown(index)
            && !shared.contains_key(&uid)
        {
            join.known(index, row, true);
        }
    }
    join.finish()
}

/// The indices of a listing's messages, by UID.
struct UidIndex<'l> {
    listed: &'l [Listed],
    by_uid: Vec<u32>,
}

impl<'l> UidIndex<'l> {
    fn new(listed: &'l [Listed]) -> Self {
        let mut by_uid: Vec<_> = (0..).zip(listed).map(|(index, _)| index).collect();
        by_uid.sort_unstable_by_key(|index: &u32| (listed[*index as usize].uid.key(), *index));
        Self { listed, by_uid }
    }

    fn uid(&self, index: u32) -> UidKey<'l> {
        self.listed[index as usize].uid.key()
    }

    /// Returns the range of `by_uid` with this UID. Rows mostly come in the order of their UIDs, so
    /// `next`, where the last range ended, is tried before the search.
    fn find(&self, uid: UidKey<'_>, next: usize) -> Range<usize> {
        let known = |at: usize| {
            self.by_uid
                .get(at)
                .is_some_and(|index| self.uid(*index) == uid)
        };
        let begins = known(next) && !next.checked_sub(1).is_some_and(known);
        let begin = if begins {
            next
        } else {
            self.by_uid.partition_point(|index| self.uid(*index) < uid)
        };
        let end = match (known(begin), known(begin + 1)) {
            (true, true) => self.by_uid.partition_point(|index| self.uid(*index) <= uid),
            (one, _) => begin + usize::from(one),
        };
        begin..end
    }
}

/// A [`Reconciled`] under construction.
struct Join<'l> {
    index: UidIndex<'l>,
    reconciled: Reconciled,
    /// The rows that are listed again, with their indices.
    relisted: Vec<(usize, RowId)>,
    /// The imported rows that are listed for the first time, with their indices and sizes.
    first_listed: Vec<(usize, RowId, u64)>,
}

impl<'l> Join<'l> {
    /// Starts with a state of unknown for all of `listed`.
    fn new(listed: &'l [Listed]) -> Self {
        let index = UidIndex::new(listed);
        let mut reconciled = Reconciled::default();
        reconciled.mailbox.entries = listed
            .iter()
            .map(|Listed { num, octets, .. }| ListedMessage {
                num: *num,
                octets: *octets,
                row: None,
                known: Known::NEVER_SEEN,
                rule_match: None,
                force_fetch: false,
                other_address: false,
            })
            .collect();
        for same in index
            .by_uid
            .chunk_by(|one, other| index.uid(*one) == index.uid(*other))
        {
            if let [first, _, ..] = same {
                let shared = same.iter().map(|one| (*one as usize, *first as usize));
                reconciled.mailbox.shared_uids.extend(shared);
            }
        }
        Self {
            index,
            reconciled,
            relisted: Vec::new(),
            first_listed: Vec::new(),
        }
    }

    fn is_unknown(&self, index: u32) -> bool {
        self.reconciled.mailbox.entries[index as usize]
            .row
            .is_none()
    }

    /// Matches the message at `index` with a row. `gone`: it was gone according to the ledger.
    fn known(&mut self, index: u32, row: &KnownRow, gone: bool) {
        let index = index as usize;
        let reconciled = &mut self.reconciled;
        let entry = &mut reconciled.mailbox.entries[index];
        (entry.row, entry.known) = (Some(row.row), row.known);
        entry.force_fetch = row.force_fetch && !gone;
        entry.other_address = row.other_address
            && matches!(row.known, Known::Delivered { .. } | Known::DeleteRequested);
        if row.never_listed {
            self.first_listed.push((index, row.row, entry.octets));
            return;
        }
        let resized = row.octets != entry.octets;
        let relisted = row.missing || gone;
        if relisted {
            self.relisted.push((index, row.row));
        }
        if row.delete_by_rule {
            reconciled.delete_by_rule.push(index);
        }
        let reason = match (resized, relisted) {
            (true, _) => UnverifiedReason::Resized,
            (false, true) => UnverifiedReason::Relisted,
            (false, false) => return,
        };
        if matches!(row.known, Known::Delivered { .. } | Known::Skipped) {
            reconciled.unverified.push(Unverified {
                index,
                row: row.row,
                reason,
            });
        }
    }

    fn unlisted(&mut self, row: &KnownRow) {
        // its absence says nothing about the server: it may have been deleted before the import
        if row.never_listed {
            return;
        }
        if matches!(
            row.known,
            Known::Delivered { .. } | Known::Short { .. } | Known::Skipped | Known::DeleteRequested
        ) {
            self.reconciled.absent.push(row.row);
            self.reconciled.absent_derived |= row.derived_uid;
        }
        if !row.missing {
            self.reconciled.vanished.push(row.row);
        }
    }

    /// Picks a row for each message listed with this UID: first those of the right size, whatever
    /// their order.
    fn match_shared(&mut self, uid: UidKey<'_>, rows: &[&KnownRow]) {
        let indices = self.index.by_uid[self.index.find(uid, 0)].to_vec();
        let mut by_size: HashMap<u64, VecDeque<&KnownRow>> = HashMap::new();
        for &row in rows {
            by_size.entry(row.octets).or_default().push_back(row);
        }
        for index in &indices {
            let octets = self.reconciled.mailbox.entries[*index as usize].octets;
            if let Some(row) = by_size.get_mut(&octets).and_then(VecDeque::pop_front) {
                self.known(*index, row, false);
            }
        }
        let mut left: Vec<_> = by_size.into_values().flatten().collect();
        left.sort_unstable_by_key(|row| row.row);
        let mut left = left.into_iter();
        for index in indices {
            if self.is_unknown(index)
                && let Some(row) = left.next()
            {
                self.known(index, row, false);
            }
        }
        left.for_each(|row| self.unlisted(row));
    }

    /// Removes the matches of the messages with these UIDs.
    fn forget<'u>(&mut self, uids: impl Iterator<Item = UidKey<'u>>) {
        let ranges = uids.map(|uid| self.index.find(uid, 0));
        let indices: HashSet<_> = ranges
            .flat_map(|range| &self.index.by_uid[range])
            .map(|index| *index as usize)
            .collect();
        let reconciled = &mut self.reconciled;
        for index in &indices {
            let entry = &mut reconciled.mailbox.entries[*index];
            (entry.row, entry.known) = (None, Known::NEVER_SEEN);
            entry.force_fetch = false;
            entry.other_address = false;
        }
        self.relisted.retain(|(index, _)| !indices.contains(index));
        self.first_listed
            .retain(|(index, ..)| !indices.contains(index));
        reconciled
            .delete_by_rule
            .retain(|index| !indices.contains(index));
        reconciled
            .unverified
            .retain(|unverified| !indices.contains(&unverified.index));
    }

    fn finish(mut self) -> Reconciled {
        self.reconciled.absent.sort_unstable();
        self.reconciled
            .unverified
            .sort_unstable_by_key(|unverified| unverified.index);
        self.reconciled.relisted = self.relisted.into_iter().map(|(_, row)| row).collect();
        let first_listed = self.first_listed.into_iter();
        self.reconciled.first_listed = first_listed.map(|(_, row, octets)| (row, octets)).collect();
        self.reconciled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ids::{MsgNum, Uid},
        plan::Local,
        time::Timestamp,
    };

    const DELIVERED: Known = Known::Delivered {
        at: Timestamp(1),
        local: Local::Present,
    };

    fn listed(messages: &[(&str, u64)]) -> Vec<Listed> {
        let numbered = (1..).zip(messages);
        numbered
            .map(|(num, (uid, octets))| Listed {
                num: MsgNum(num),
                uid: Uid::new(uid.as_bytes()),
                octets: *octets,
            })
            .collect()
    }

    fn row(row: i64, octets: u64, known: Known) -> KnownRow {
        KnownRow {
            row: RowId(row),
            octets,
            known,
            missing: false,
            force_fetch: false,
            delete_by_rule: false,
            derived_uid: false,
            other_address: false,
            never_listed: false,
        }
    }

    fn known(rows: &[(&str, KnownRow)]) -> KnownMessages {
        let mut known = KnownMessages::default();
        for (uid, row) in rows {
            known.push((uid.as_bytes(), None), *row);
        }
        known
    }

    /// The rows of the listed messages.
    fn rows(reconciled: &Reconciled) -> Vec<Option<i64>> {
        reconciled
            .mailbox
            .entries
            .iter()
            .map(|entry| entry.row.map(|row| row.0))
            .collect()
    }

    #[test]
    fn messages_are_matched_by_uid() {
        let known = known(&[
            ("a", row(1, 10, DELIVERED)),
            ("c", row(2, 30, Known::NEVER_SEEN)),
        ]);
        let reconciled = reconcile(&listed(&[("b", 20), ("a", 10)]), &known);
        assert_eq!(rows(&reconciled), [None, Some(1)]);
        assert_eq!(reconciled.unknown().collect::<Vec<_>>(), [0]);
        assert_eq!(reconciled.vanished, [RowId(2)]);
        // only what was delivered or skipped may be elsewhere under another UID
        assert!(reconciled.absent.is_empty() && reconciled.unverified.is_empty());
    }

    #[test]
    fn messages_that_share_a_uid_are_matched_by_size() {
        let known = known(&[("a", row(1, 10, DELIVERED)), ("a", row(2, 20, DELIVERED))]);
        let reconciled = reconcile(&listed(&[("a", 20), ("a", 30), ("a", 10)]), &known);
        assert_eq!(rows(&reconciled), [Some(2), None, Some(1)]);
        assert_eq!(reconciled.mailbox.shared_uids.len(), 3);
        // no message with a shared UID is looked up among those that are gone
        assert_eq!(reconciled.unknown().count(), 0);
    }

    #[test]
    fn imported_messages_are_neither_absent_nor_unverified_before_they_are_listed() {
        let imported = |number| KnownRow {
            missing: true,
            never_listed: true,
            ..row(number, 0, DELIVERED)
        };
        let known = known(&[("a", imported(1)), ("b", imported(2))]);
        let reconciled = reconcile(&listed(&[("a", 10)]), &known);
        assert_eq!(rows(&reconciled), [Some(1)]);
        assert_eq!(reconciled.first_listed, [(RowId(1), 10)]);
        assert!(reconciled.absent.is_empty() && reconciled.vanished.is_empty());
        assert!(reconciled.unverified.is_empty() && reconciled.relisted.is_empty());
    }

    #[test]
    fn known_messages_that_may_be_others_are_unverified() {
        let missing = KnownRow {
            missing: true,
            ..row(2, 20, DELIVERED)
        };
        let mut known = known(&[("a", row(1, 10, DELIVERED)), ("b", missing)]);
        known.push_gone((b"c", None), row(3, 30, DELIVERED));
        let reconciled = reconcile(&listed(&[("a", 11), ("b", 20), ("c", 30)]), &known);
        let reasons: Vec<_> = reconciled
            .unverified
            .iter()
            .map(|one| (one.row.0, one.reason))
            .collect();
        assert_eq!(
            reasons,
            [
                (1, UnverifiedReason::Resized),
                (2, UnverifiedReason::Relisted),
                (3, UnverifiedReason::Relisted)
            ]
        );
        assert_eq!(reconciled.relisted, [RowId(2), RowId(3)]);
    }

    #[test]
    fn derived_uid_is_no_uid_of_the_server() {
        let mut known = KnownMessages::default();
        known.push((&[b'x'; 16], Some(10)), row(1, 10, DELIVERED));
        let reconciled = reconcile(&listed(&[("xxxxxxxxxxxxxxxx", 10)]), &known);
        assert_eq!(rows(&reconciled), [None]);
        assert_eq!(reconciled.absent, [RowId(1)]);
    }

    #[test]
    fn replaced_message_is_unknown_from_then_on() {
        let mut known = known(&[("a", row(1, 10, DELIVERED)), ("b", row(2, 20, DELIVERED))]);
        known.update(|row| match row.row.0 {
            1 => UidChange::Remove,
            _ => UidChange::Replace(Uid::new(*b"new")),
        });
        let reconciled = reconcile(&listed(&[("a", 10), ("new", 20)]), &known);
        assert_eq!(rows(&reconciled), [None, Some(2)]);
    }
}
