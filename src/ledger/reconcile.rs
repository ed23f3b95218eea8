//! Joining a listing with what is known.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    iter,
    ops::Range,
};

use rusqlite::{OptionalExtension, params};

use super::Ledger;
use crate::{
    domain::{
        ids::{Listed, RowId, Uid},
        plan::{Known, ListedMessage, Local, Mailbox},
        time::Timestamp,
    },
    error::Result,
};

/// A listing joined with what is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// What is listed, and known of it.
    pub mailbox: Mailbox,
    /// Rows that were delivered, set aside, or are to be deleted on request, and are not listed.
    pub absent: Vec<RowId>,
    /// Whether one of them has a UID that is made of its header.
    pub absent_of_header: bool,
    /// Places in `mailbox` of messages delivered or set aside that may be others now: their size is
    /// not what it was, or they were gone from the server meanwhile. UIDs are given again (RFC 1939
    /// §7 allows it once a message is gone), and what is taken for a known message may be deleted
    /// unread, or never be fetched.
    pub doubtful: Vec<Doubt>,
    /// Places in `mailbox` of messages that the user asked for, whatever a rule says of them.
    pub wanted: Vec<usize>,
    /// Places in `mailbox` of messages that a rule wanted deleted from the server when it was asked
    /// last.
    pub delete_by_rule: Vec<usize>,
    /// Rows that are not listed, but were in the last run.
    pub(super) vanished: Vec<RowId>,
    /// Rows that are listed again, but were not in the last run.
    pub(super) returned: Vec<RowId>,
}

/// A known message that may be another one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Its place in the scan.
    pub place: usize,
    /// Its row.
    pub row: RowId,
    /// What speaks against it.
    pub sign: Sign,
}

/// What makes a delivered message doubtful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It had been deleted from the server, and is listed again.
    Returned,
    /// Its listed size is not what it was.
    Resized,
    /// Another one may have come in its place.
    Unproven,
}

/// What is known of an account's messages, read at one moment, to be joined with a listing: the
/// rows of all that are not gone, in their order.
#[derive(Debug, Default)]
pub struct KnownMessages {
    rows: Vec<KnownRow>,
    /// The UIDs of the rows, one behind the other.
    uids: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    sizes_count: bool,
}

impl KnownMessages {
    /// The rows, each with its UID.
    fn rows(&self) -> impl Iterator<Item = (&[u8], &KnownRow)> {
        let begins = iter::once(0).chain(self.ends.iter().copied());
        begins
            .zip(&self.ends)
            .zip(&self.rows)
            .map(|((begin, end), seen)| (&self.uids[begin..*end], seen))
    }
}

/// A row of the table, as far as a listing needs it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of its own")]
struct KnownRow {
    row: RowId,
    octets: u64,
    known: Known,
    /// It was missing from the last listing.
    missing: bool,
    wanted: bool,
    delete_by_rule: bool,
    doubted: bool,
    of_header: bool,
}

impl Reconciled {
    /// Has those of `rows` that are delivered compared with what is listed now.
    pub fn doubt(&mut self, rows: &HashSet<RowId>) {
        self.doubtful
            .retain(|doubt| doubt.sign != Sign::Returned || !rows.contains(&doubt.row));
        let already: HashSet<_> = self.doubtful.iter().map(|doubt| doubt.row).collect();
        for (place, entry) in self.mailbox.entries.iter().enumerate() {
            if let Some(row) = entry
                .row
                .filter(|row| rows.contains(row) && !already.contains(row))
                && matches!(entry.known, Known::Delivered { .. })
            {
                self.doubtful.push(Doubt {
                    place,
                    row,
                    sign: Sign::Unproven,
                });
            }
        }
    }
}

impl Ledger {
    /// What is known of the account's messages now.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn memory(&self) -> Result<KnownMessages> {
        self.read(|ledger| {
            let mut memory = KnownMessages {
                sizes_count: self.sizes_count()?,
                ..KnownMessages::default()
            };
            let mut live = ledger.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM message WHERE account = ? AND state <> 'gone' ORDER BY id"
            ))?;
            let mut rows = live.query([self.account])?;
            while let Some(row) = rows.next()? {
                memory.uids.extend_from_slice(row.get_ref(1)?.as_blob()?);
                memory.ends.push(memory.uids.len());
                memory.rows.push(seen(row, memory.sizes_count)?);
            }
            Ok(memory)
        })
    }

    /// Joins `listed` with what is known, of which `memory` is still true. Changes nothing.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn look(&self, listed: &[Listed], memory: &KnownMessages) -> Result<Reconciled> {
        let mut join = Join::new(listed);
        // UIDs that several messages share, listed ones or known ones
        let mut shared: BTreeMap<&[u8], Vec<&KnownRow>> = BTreeMap::new();
        let mut next = 0;
        for (uid, seen) in memory.rows() {
            let found = join.places.of(uid, next);
            next = found.end;
            match join.places.by_uid[found] {
                [] => join.unlisted(seen),
                [place] if join.is_unknown(place) => join.known(place, seen, false),
                [..] => drop(shared.entry(uid).or_default()),
            }
        }
        if !shared.is_empty() {
            join.forget(shared.keys());
            for (uid, seen) in memory.rows() {
                if let Some(rows) = shared.get_mut(uid) {
                    rows.push(seen);
                }
            }
        }
        for (uid, rows) in &shared {
            join.pick(uid, rows);
        }
        self.read(|ledger| {
            let mut gone = ledger.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM message WHERE account = ? AND uid = ? AND state = 'gone' ORDER BY id DESC"
            ))?;
            for (place, message) in (0..).zip(listed) {
                // of two with one UID, the second is no return of the first
                if join.is_unknown(place) && !shared.contains_key(message.uid.as_bytes()) {
                    let uid = message.uid.as_bytes();
                    let found = gone.query_row(params![self.account, uid], |row| seen(row, memory.sizes_count));
                    if let Some(seen) = found.optional()? {
                        join.known(place, &seen, true);
                    }
                }
            }
            Ok(())
        })?;
        Ok(join.done())
    }

    /// Whether the sizes that this server lists mean anything: where most messages came shorter
    /// than listed, it is the listing that is wrong (Exchange).
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn sizes_are_trusted(&self) -> Result<bool> {
        self.sizes_count().map_err(|error| self.explained(&error))
    }

    fn sizes_count(&self) -> rusqlite::Result<bool> {
        self.connection.query_row(
            "SELECT whole, fewer FROM account WHERE id = ?",
            [self.account],
            |row| {
                let (whole, fewer): (u64, u64) = (row.get(0)?, row.get(1)?);
                Ok(whole + fewer < 20 || fewer <= whole)
            },
        )
    }
}

/// The places of a listing's messages, to be found by UID. Half a million of them have to fit into
/// memory.
struct Places<'l> {
    listed: &'l [Listed],
    by_uid: Vec<u32>,
}

impl<'l> Places<'l> {
    fn new(listed: &'l [Listed]) -> Self {
        let mut by_uid: Vec<_> = (0..).zip(listed).map(|(place, _)| place).collect();
        by_uid.sort_unstable_by_key(|place: &u32| (&listed[*place as usize].uid, *place));
        Self { listed, by_uid }
    }

    fn uid(&self, place: u32) -> &'l [u8] {
        self.listed[place as usize].uid.as_bytes()
    }

    /// Which of `by_uid` have this UID. Rows mostly come in the order of their UIDs: `next`, where
    /// the last one was found to end, is tried before the search.
    fn of(&self, uid: &[u8], next: usize) -> Range<usize> {
        let known = |at: usize| {
            self.by_uid
                .get(at)
                .is_some_and(|place| self.uid(*place) == uid)
        };
        let begins = known(next) && !next.checked_sub(1).is_some_and(known);
        let begin = if begins {
            next
        } else {
            self.by_uid.partition_point(|place| self.uid(*place) < uid)
        };
        let end = match (known(begin), known(begin + 1)) {
            (true, true) => self.by_uid.partition_point(|place| self.uid(*place) <= uid),
            (one, _) => begin + usize::from(one),
        };
        begin..end
    }
}

/// A [`Reconciled`] as it grows, row by row.
struct Join<'l> {
    places: Places<'l>,
    look: Reconciled,
    /// The rows that are listed again, with their places.
    returned: Vec<(usize, RowId)>,
}

impl<'l> Join<'l> {
    /// Nothing is known of what is `listed`.
    fn new(listed: &'l [Listed]) -> Self {
        let places = Places::new(listed);
        let mut look = Reconciled::default();
        look.mailbox.entries = listed
            .iter()
            .map(|Listed { num, octets, .. }| ListedMessage {
                num: *num,
                octets: *octets,
                row: None,
                known: NEW,
                rule_match: None,
            })
            .collect();
        for shared_uids in places
            .by_uid
            .chunk_by(|one, other| places.uid(*one) == places.uid(*other))
        {
            if let [first, _, ..] = shared_uids {
                look.mailbox.shared_uids.extend(
                    shared_uids
                        .iter()
                        .map(|twin| (*twin as usize, *first as usize)),
                );
            }
        }
        Self {
            places,
            look,
            returned: Vec::new(),
        }
    }

    fn is_unknown(&self, place: u32) -> bool {
        self.look.mailbox.entries[place as usize].row.is_none()
    }

    /// This row is what is listed at `place`; as far as was known, it was `gone`.
    fn known(&mut self, place: u32, seen: &KnownRow, gone: bool) {
        let place = place as usize;
        let entry = &mut self.look.mailbox.entries[place];
        (entry.row, entry.known) = (Some(seen.row), seen.known);
        let resized = seen.octets != entry.octets;
        if seen.missing || gone {
            self.returned.push((place, seen.row));
        }
        if seen.wanted && !gone {
            self.look.wanted.push(place);
        }
        if seen.delete_by_rule {
            self.look.delete_by_rule.push(place);
        }
        let sign = match (seen.doubted, resized) {
            (true, _) => Some(Sign::Unproven),
            (_, true) => Some(Sign::Resized),
            _ => (gone || seen.missing).then_some(Sign::Returned),
        };
        if let Some(sign) =
            sign.filter(|_| matches!(seen.known, Known::Delivered { .. } | Known::Skipped))
        {
            self.look.doubtful.push(Doubt {
                place,
                row: seen.row,
                sign,
            });
        }
    }

    fn unlisted(&mut self, seen: &KnownRow) {
        if matches!(
            seen.known,
            Known::Delivered { .. } | Known::Short { .. } | Known::Skipped | Known::DeleteRequested
        ) {
            self.look.absent.push(seen.row);
            self.look.absent_of_header |= seen.of_header;
        }
        if !seen.missing {
            self.look.vanished.push(seen.row);
        }
    }

    /// For each message listed with this UID, picks its own of the `rows`. Two different messages
    /// may share a UID: those of the right size are found first, whatever their order.
    fn pick(&mut self, uid: &[u8], rows: &[&KnownRow]) {
        let places = self.places.by_uid[self.places.of(uid, 0)].to_vec();
        let mut by_size: HashMap<u64, VecDeque<&KnownRow>> = HashMap::new();
        for &seen in rows {
            by_size.entry(seen.octets).or_default().push_back(seen);
        }
        for place in &places {
            let octets = self.look.mailbox.entries[*place as usize].octets;
            if let Some(seen) = by_size.get_mut(&octets).and_then(VecDeque::pop_front) {
                self.known(*place, seen, false);
            }
        }
        let mut left: Vec<_> = by_size.into_values().flatten().collect();
        left.sort_unstable_by_key(|seen| seen.row);
        let mut left = left.into_iter();
        for place in places {
            if self.is_unknown(place)
                && let Some(seen) = left.next()
            {
                self.known(place, seen, false);
            }
        }
        left.for_each(|seen| self.unlisted(seen));
    }

    /// Forgets what was thought of the messages with these UIDs.
    fn forget<'u>(&mut self, uids: impl Iterator<Item = &'u &'u [u8]>) {
        let ranges = uids.map(|uid| self.places.of(uid, 0));
        let places: HashSet<_> = ranges
            .flat_map(|range| &self.places.by_uid[range])
            .map(|place| *place as usize)
            .collect();
        for place in &places {
            let entry = &mut self.look.mailbox.entries[*place];
            (entry.row, entry.known) = (None, NEW);
        }
        self.returned.retain(|(place, _)| !places.contains(place));
        self.look.wanted.retain(|place| !places.contains(place));
        self.look
            .delete_by_rule
            .retain(|place| !places.contains(place));
        self.look
            .doubtful
            .retain(|doubt| !places.contains(&doubt.place));
    }

    fn done(mut self) -> Reconciled {
        self.look.absent.sort_unstable();
        self.look.wanted.sort_unstable();
        self.look.doubtful.sort_unstable_by_key(|doubt| doubt.place);
        self.look.returned = self.returned.into_iter().map(|(_, row)| row).collect();
        self.look
    }
}

/// What is known of a message that was never seen.
const NEW: Known = Known::New {
    attempts: 0,
    deferred: false,
};

/// What [`seen`] reads of a row; the last column has a bit for each that says yes or no. A column
/// costs as much as all that is done with it.
const COLUMNS: &str = "id, uid, octets, delivered, state, attempts, next_try, (missing IS NOT NULL)
    | (short << 1) | (doomed << 2) | (wanted << 3) | (condemned << 4) | (doubted << 5)";

/// The row that [`COLUMNS`] were read of.
fn seen(row: &rusqlite::Row<'_>, sizes_count: bool) -> rusqlite::Result<KnownRow> {
    let bits: u8 = row.get(7)?;
    let [
        missing,
        short,
        delete_requested,
        wanted,
        delete_by_rule,
        doubted,
    ] = [0, 1, 2, 3, 4, 5].map(|bit| bits >> bit & 1 == 1);
    let next_try = || row.get::<_, Option<i64>>(6);
    let known = if delete_requested {
        Known::DeleteRequested
    } else if let Some(at) = row.get(3)? {
        if short && sizes_count {
            Known::Short {
                next_try: Timestamp(next_try()?.unwrap_or(0)),
            }
        } else {
            Known::Delivered {
                at: Timestamp(at),
                local: Local::Present,
            }
        }
    } else {
        match row.get_ref(4)?.as_str()? {
            "quarantined" => Known::Quarantined {
                next_try: Timestamp(next_try()?.unwrap_or(0)),
            },
            "skipped" => Known::Skipped,
            _ => Known::New {
                attempts: row.get(5)?,
                deferred: next_try()?.is_some(),
            },
        }
    };
    Ok(KnownRow {
        row: RowId(row.get(0)?),
        octets: row.get(2)?,
        known,
        missing,
        wanted,
        delete_by_rule,
        doubted,
        of_header: Uid::is_made_of_header(row.get_ref(1)?.as_blob()?),
    })
}
