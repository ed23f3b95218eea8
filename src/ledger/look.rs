//! Joining a listing with what is known.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use rusqlite::{OptionalExtension, Transaction, params};

use super::Ledger;
use crate::{
    error::Result,
    policy::{Entry, Known, Local, Scan},
    types::{Epoch, Listed, RowId, Uid},
};

/// A listing joined with what is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// What is listed, and known of it.
    pub scan: Scan,
    /// Rows that were delivered, or set aside on request, and are not listed.
    pub absent: Vec<RowId>,
    /// Whether one of them has a UID that is made of its header.
    pub absent_of_header: bool,
    /// Places in `scan` of delivered messages that may be others now: their size is not what it was,
    /// or they had been deleted from the server. UIDs are given again (RFC 1939 §7 allows it once a
    /// message is gone), and what is taken for a known message may be deleted unread.
    pub doubtful: Vec<Doubt>,
    /// Places in `scan` of messages that the user asked for, whatever a rule says of them.
    pub wanted: Vec<usize>,
    /// Rows that are not listed, but were in the last run.
    pub(super) vanished: Vec<RowId>,
    /// Rows that are listed again, but were not in the last run.
    pub(super) returned: Vec<RowId>,
}

/// A delivered message that may be another one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Its place in the scan.
    pub place: usize,
    /// Its row.
    pub row: RowId,
    /// Whether its listed size is not what it was.
    pub resized: bool,
}

/// A row of the table, as far as a listing needs it.
struct Seen {
    row: RowId,
    uid: Uid,
    octets: u64,
    known: Known,
    /// It was missing from the last listing, or had been taken to be gone.
    missing: bool,
    wanted: bool,
    taken: bool,
}

const COLUMNS: &str = "id, uid, octets, state, delivered, short, attempts, next_try, doomed,
    missing IS NOT NULL OR state = 'gone', wanted";

impl Look {
    /// Has those of `rows` that are delivered compared with what is listed now.
    pub fn doubt(&mut self, rows: &HashSet<RowId>) {
        for (place, entry) in self.scan.entries.iter().enumerate() {
            if let Some(row) = entry.row.filter(|row| rows.contains(row))
                && matches!(entry.known, Known::Delivered { .. })
                && self.doubtful.iter().all(|doubt| doubt.row != row)
            {
                self.doubtful.push(Doubt { place, row, resized: false });
            }
        }
    }
}

impl Ledger {
    /// Joins `listed` with what is known. Changes nothing.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn look(&self, listed: &[Listed]) -> Result<Look> {
        self.read(|ledger| self.join(ledger, listed))
    }

    fn join(&self, ledger: &Transaction<'_>, listed: &[Listed]) -> rusqlite::Result<Look> {
        let sizes_count = self.sizes_count()?;
        let mut live = ledger.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM message WHERE account = ? AND state <> 'gone' ORDER BY id"
        ))?;
        let mut gone = ledger.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM message WHERE account = ? AND uid = ? AND state = 'gone' ORDER BY id DESC"
        ))?;
        // not in a map: half a million of them have to fit into memory
        let mut rows = Vec::with_capacity(listed.len());
        let mut found = live.query([self.account])?;
        while let Some(row) = found.next()? {
            rows.push(seen(row, sizes_count)?);
        }
        rows.sort_unstable_by(|one: &Seen, other| (&one.uid, one.row).cmp(&(&other.uid, other.row)));
        let mut scan = Scan { entries: Vec::with_capacity(listed.len()) };
        let mut returned = Vec::new();
        let mut doubtful = Vec::new();
        let mut wanted = Vec::new();
        let picked = pick_all(&mut rows, listed);
        for (place, (message, picked)) in listed.iter().zip(picked).enumerate() {
            let known = match picked.map(|at| &rows[at]) {
                Some(seen) => Some((seen.row, seen.known, seen.missing, seen.octets, seen.wanted, false)),
                // of two with one UID, the second is no return of the first
                None if !with_uid(&rows, &message.uid).is_empty() => None,
                None => gone
                    .query_row(params![self.account, message.uid.as_bytes()], |row| seen(row, sizes_count))
                    .optional()?
                    .map(|seen| (seen.row, seen.known, true, seen.octets, false, true)),
            };
            if let Some((row, known, missing, octets, ordered, gone)) = known {
                let resized = octets != message.octets;
                if missing {
                    returned.push(row);
                }
                if ordered {
                    wanted.push(place);
                }
                if (resized || gone) && matches!(known, Known::Delivered { .. }) {
                    doubtful.push(Doubt { place, row, resized });
                }
            }
            scan.entries.push(Entry {
                num: message.num,
                octets: message.octets,
                row: known.map(|(row, ..)| row),
                twin: None,
                known: known.map_or(Known::New { attempts: 0, put_off: false }, |(_, known, ..)| known),
                ruling: None,
            });
        }
        mark_twins(&mut scan, listed);
        let unlisted = || rows.iter().filter(|seen| !seen.taken);
        let settled =
            |seen: &&Seen| matches!(seen.known, Known::Delivered { .. } | Known::Short { .. } | Known::Skipped);
        let mut absent: Vec<_> = unlisted().filter(settled).map(|seen| seen.row).collect();
        absent.sort_unstable();
        let absent_of_header = unlisted().filter(settled).any(|seen| seen.uid.is_of_header());
        let vanished = unlisted().filter(|seen| !seen.missing).map(|seen| seen.row).collect();
        Ok(Look { scan, absent, absent_of_header, doubtful, wanted, vanished, returned })
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
        self.connection.query_row("SELECT whole, fewer FROM account WHERE id = ?", [self.account], |row| {
            let (whole, fewer): (u64, u64) = (row.get(0)?, row.get(1)?);
            Ok(whole + fewer < 20 || fewer <= whole)
        })
    }
}

/// Notes which of the listed messages share a UID.
fn mark_twins(scan: &mut Scan, listed: &[Listed]) {
    let mut first: HashMap<&[u8], usize> = HashMap::with_capacity(listed.len());
    for (place, message) in listed.iter().enumerate() {
        let twin = *first.entry(message.uid.as_bytes()).or_insert(place);
        if twin != place {
            scan.entries[twin].twin = Some(twin);
            scan.entries[place].twin = Some(twin);
        }
    }
}

/// Where among `rows`, which are sorted by UID, those with this one stand.
fn with_uid(rows: &[Seen], uid: &Uid) -> Range<usize> {
    let first = rows.partition_point(|seen| seen.uid < *uid);
    first..first + rows[first..].iter().take_while(|seen| seen.uid == *uid).count()
}

/// For each listed message, the place of the row that is its own. Two different messages may share
/// a UID: those of the right size are found first, whatever their order.
fn pick_all(rows: &mut [Seen], listed: &[Listed]) -> Vec<Option<usize>> {
    let mut picked = vec![None; listed.len()];
    for exactly in [true, false] {
        for (message, picked) in listed.iter().zip(&mut picked).filter(|(_, picked)| picked.is_none()) {
            *picked = with_uid(rows, &message.uid)
                .find(|at| !rows[*at].taken && (!exactly || rows[*at].octets == message.octets));
            if let Some(at) = *picked {
                rows[at].taken = true;
            }
        }
    }
    picked
}

fn seen(row: &rusqlite::Row<'_>, sizes_count: bool) -> rusqlite::Result<Seen> {
    let state = row.get_ref(3)?.as_str()?.to_owned();
    let delivered: Option<i64> = row.get(4)?;
    let next_try = Epoch(row.get::<_, Option<i64>>(7)?.unwrap_or(0));
    let known = if row.get(8)? {
        Known::Doomed
    } else if let Some(at) = delivered {
        if row.get(5)? && sizes_count {
            Known::Short { next_try }
        } else {
            Known::Delivered { at: Epoch(at), local: Local::Present }
        }
    } else {
        match state.as_str() {
            "quarantined" => Known::Quarantined { next_try },
            "skipped" => Known::Skipped,
            _ => Known::New { attempts: row.get(6)?, put_off: row.get::<_, Option<i64>>(7)?.is_some() },
        }
    };
    Ok(Seen {
        row: RowId(row.get(0)?),
        uid: Uid::new(row.get_ref(1)?.as_blob()?),
        octets: row.get(2)?,
        known,
        missing: row.get(9)?,
        wanted: row.get(10)?,
        taken: false,
    })
}
