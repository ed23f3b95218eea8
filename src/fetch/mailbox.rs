//! Which mailbox a new address leads to.
//!
//! The decision is in [`identity`](crate::domain::identity). This module gathers the evidence: it
//! compares the listing with the ledgers of the
//! [candidates](crate::ledger::candidates), and requests a few headers.
//!
//! One new address at a time is identified, until its first messages are recorded: otherwise two
//! accounts that are fetched for the first time at the same time could be one mailbox, and neither
//! run would detect that. If the mailbox with the same UIDs is being fetched for the first time
//! now, its headers are not known yet, and the decision waits for them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    basis::Basis,
    identify::{self, UnreadableHeaders},
    recover,
    turn::Turn,
};
use crate::{
    config::Account,
    domain::{
        identity::{Candidate, Decision, decide, sample},
        ids::RowId,
        message::Fingerprint,
        plan::Known,
        reconcile::{Reconciled, reconcile},
    },
    error::{Error, Kind, Result},
    ledger::{
        LedgerFile, Reader,
        candidates::candidates,
        mailboxes::{self, KnownMailbox},
    },
    net::Stream,
    pop3::{listing::Listing, transaction::Transaction},
    sys::lock::{self, Lock, Mark},
    text::{count, sanitize},
};

/// The name of the lock that is held while a new address is identified.
const LOCK: &str = "new-address";

/// How often to look for the headers of a mailbox that is being fetched.
const INTERVAL: Duration = Duration::from_millis(100);

/// The lock that is held while a new address is identified.
pub(super) struct NewAddressLock {
    // dropped first
    _lock: Lock,
    _turn: Option<Turn>,
    /// The ledgers of the mailboxes that the account used before, if none of their messages is
    /// listed. Each may be the same mailbox, whose messages were deleted in the meantime.
    pub(super) left: Vec<LedgerFile>,
}

/// The mailbox at a new address.
pub(super) enum Identified {
    /// A mailbox that is not known. The lock is held until its messages are recorded.
    New(Option<NewAddressLock>),
    /// This one.
    Known(Box<Recognised>),
}

/// A known mailbox that was recognised at a new address.
pub(super) struct Recognised {
    /// The mailbox.
    pub(super) mailbox: KnownMailbox,
    /// The number of listed messages that are known.
    known: usize,
    /// Held until the address is recorded.
    _lock: NewAddressLock,
}

impl Recognised {
    /// Returns the notice about it for `account`. Names the account that used the mailbox last, if
    /// that is another one.
    pub(super) fn notice(&self, account: &Account) -> Error {
        let title = self.mailbox.title();
        let last = self.mailbox.addresses.first().map(|(_, last)| last);
        let other = last.filter(|last| **last != account.name);
        let other = other.map(|other| format!(" (account `{other}`)"));
        let notice = Error::new(
            Kind::Unavailable,
            format!(
                "this is the mailbox of {}{}",
                sanitize(title.as_bytes()),
                other.unwrap_or_default()
            ),
        );
        if self.known == 0 {
            // new UIDs are reported separately
            return notice;
        }
        notice.with_fact(format!(
            "{} recognised by UIDs and headers; not fetching them again",
            count(self.known as u64, "message")
        ))
    }
}

/// A message whose header is compared.
#[derive(Clone, Copy)]
enum Sampled {
    /// Its UID is unknown.
    Unknown,
    /// Its UID is known. The fingerprint of its header is included if it is known.
    Known(Option<Fingerprint>),
}

/// A known mailbox, and what it has in common with the listing. Its ledger is not kept open, since
/// there may be hundreds of mailboxes with the same UIDs.
struct Comparison {
    mailbox: KnownMailbox,
    candidate: Candidate,
    /// The messages whose headers are compared: their indices in the listing, and whether their
    /// UIDs are known.
    sample: Vec<(usize, Sampled)>,
    /// If there are unknown UIDs in the sample: the fingerprints of the unlisted messages that the
    /// server should still have.
    absent: HashSet<Fingerprint>,
    /// Whether its messages are being fetched, so that more will be known about them.
    is_pending: bool,
}

impl Comparison {
    /// Returns the ledger of a mailbox that the account used before and of which no message is
    /// listed.
    fn left(&self) -> Option<LedgerFile> {
        let candidate = &self.candidate;
        let is_left = candidate.is_previous && candidate.shared == 0 && candidate.moved == 0;
        is_left.then(|| self.mailbox.file.clone())
    }
}

/// Returns whether the server lists a message that was delivered or skipped, and was listed in the
/// last run as well.
fn has_known(reader: &Reader, listing: &Listing) -> Result<bool> {
    let reconciled = reconcile(&listing.messages, &reader.known_messages()?);
    let settled = Uids::of(&reconciled).settled;
    let is_relisted = |row| reconciled.relisted.contains(&row);
    let mut rows = settled.into_iter().filter_map(|(_, row)| row);
    Ok(rows.any(|row| !is_relisted(row)))
}

/// Identifies the mailbox of an account from whose address no message was recorded yet.
///
/// # Errors
/// There is not enough evidence, another pouch is fetching the mailbox, the connection is lost, or
/// a ledger cannot be read.
pub(super) fn identify(
    session: &mut Transaction<Stream>,
    basis: &Basis<'_>,
    listing: &Listing,
    unreadable: &mut UnreadableHeaders,
) -> Result<Identified> {
    let (account, env) = (basis.account, basis.env);
    // An empty mailbox is no evidence, and with the flag the user has decided. A plan has no ledger
    // of its own, so that there may be none at all; a lock would be the first file.
    let is_first = basis.reader.is_none() && !mailboxes::exist(&env.state_dir);
    if listing.messages.is_empty() || env.accept_new_uids || is_first {
        return Ok(Identified::New(None));
    }
    // the account used another mailbox in the meantime, but this one is still there
    if let Some(reader) = basis.reader
        && has_known(reader, listing)?
    {
        return Ok(Identified::New(None));
    }
    let patience = env.patience.max(account.timeout.into());
    let latest = Instant::now() + patience;
    let turn = Turn::wait(latest, &env.stop);
    let left = latest.saturating_duration_since(Instant::now());
    let lock = env.lock_key(LOCK, left)?;
    let undisturbed = undisturbed_since(&lock);
    let mut lock = NewAddressLock {
        _lock: lock,
        _turn: turn,
        left: Vec::new(),
    };
    let deadline = Instant::now() + patience;
    let mut comparisons = loop {
        let comparisons = compare_uids(basis, listing, undisturbed)?;
        match comparisons.iter().find(|comparison| comparison.is_pending) {
            None => break comparisons,
            Some(pending) if Instant::now() >= deadline => return Err(being_fetched(pending)),
            Some(_) => env.stop.sleep(INTERVAL)?,
        }
    };
    compare_headers(session, &mut comparisons, listing, unreadable)?;
    let candidates: Vec<_> = comparisons.iter().map(|one| one.candidate).collect();
    match decide(listing.messages.len(), &candidates) {
        Decision::New => {
            lock.left = comparisons.iter().filter_map(Comparison::left).collect();
            Ok(Identified::New(Some(lock)))
        }
        Decision::Known(index) => {
            let Comparison {
                mailbox, candidate, ..
            } = comparisons.swap_remove(index);
            Ok(Identified::Known(Box::new(Recognised {
                mailbox,
                known: candidate.shared,
                _lock: lock,
            })))
        }
        // a name decides
        Decision::Unclear(_) if account.mailbox.is_some() => Ok(Identified::New(Some(lock))),
        Decision::Unclear(index) => Err(unclear(&comparisons[index], listing, account)),
    }
}

/// The state of the lock when this process released it, and the time since which no other process
/// has held it.
static LAST_LOCK: Mutex<Option<(Mark, Instant)>> = Mutex::new(None);

/// Returns the time since which no other process has held the lock, which this process has just
/// taken.
fn undisturbed_since(lock: &Lock) -> Instant {
    // a poisoned lock is safe to use: the value is always complete
    let mut last = LAST_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let since = match &*last {
        Some((mark, since)) if mark == lock.previous_mark() => *since,
        _ => Instant::now(),
    };
    *last = Some((lock.mark().clone(), since));
    since
}

/// Compares the UIDs of the listing with those of the known mailboxes. Returns the mailboxes that
/// the listed one may be.
fn compare_uids(
    basis: &Basis<'_>,
    listing: &Listing,
    undisturbed: Instant,
) -> Result<Vec<Comparison>> {
    let (account, state_dir) = (&basis.account.name, &basis.env.state_dir);
    let known = candidates(state_dir, &listing.messages, account, undisturbed)?;
    let identity = basis.account.identity();
    let mut comparisons = Vec::new();
    for mailbox in known {
        if mailbox.file == *basis.file || mailbox.is_blank || mailbox.is_not(&identity) {
            continue;
        }
        if let Some(reader) = Reader::open(&mailbox.file, &identity.address)? {
            let mailbox = Arc::unwrap_or_clone(mailbox);
            let comparison = compare(mailbox, &reader, basis, listing)?;
            if !comparison.sample.is_empty() || comparison.is_pending {
                comparisons.push(comparison);
            }
        }
    }
    Ok(comparisons)
}

/// Compares the UIDs of the listing with those of `mailbox`.
fn compare(
    mailbox: KnownMailbox,
    reader: &Reader,
    basis: &Basis<'_>,
    listing: &Listing,
) -> Result<Comparison> {
    let is_running = lock::is_locked(&basis.env.state_dir, mailbox.file.key());
    let mut known = reader.known_messages()?;
    let mut recovered = HashMap::new();
    if !is_running && reader.was_interrupted()? {
        let recovery = recover::find_delivered(reader, basis.router, basis.account)?;
        let rows = recovery.delivered.iter().map(|found| found.row).collect();
        known.mark_delivered(&rows, basis.now);
        let unchanged = recovery.delivered.iter().filter(|found| !found.filtered);
        recovered.extend(unchanged.filter_map(|found| Some((found.row, found.fingerprint?))));
    }
    let reconciled = reconcile(&listing.messages, &known);
    let uids = Uids::of(&reconciled);
    let listed = listing.messages.len();
    let account = &basis.account.name;
    let candidate = Candidate {
        known: uids.settled.len() + reconciled.absent.len(),
        shared: uids.settled.len(),
        is_previous: mailbox.was_used_by(account),
        ..Candidate::default()
    };
    // the header of a message that was skipped is often not known
    let sample = match (candidate.is_likely(listed), uids.delivered.is_empty()) {
        (true, false) => sample(&uids.delivered),
        (true, true) => sample(&uids.settled),
        (false, _) if candidate.is_previous && candidate.known > 0 => sample(&uids.unknown),
        (false, _) => Vec::new(),
    };
    let sample = sampled(reader, &sample, &recovered)?;
    let is_unknown = |(_, sampled): &(usize, Sampled)| matches!(sampled, Sampled::Unknown);
    let mut absent = HashSet::new();
    if sample.iter().any(is_unknown) {
        let fingerprints = reader.fingerprints(reconciled.absent)?;
        absent.extend(fingerprints.into_iter().filter_map(|(.., known)| known));
    }
    Ok(Comparison {
        sample,
        absent,
        is_pending: is_running && uids.waiting && uids.settled.is_empty(),
        candidate,
        mailbox,
    })
}

/// Reads the fingerprints of the messages whose headers are compared. `recovered` contains those of
/// messages that an interrupted run delivered without recording them.
fn sampled(
    reader: &Reader,
    sample: &[(usize, Option<RowId>)],
    recovered: &HashMap<RowId, Fingerprint>,
) -> Result<Vec<(usize, Sampled)>> {
    let rows = sample.iter().filter_map(|(_, row)| *row);
    let mut recorded = reader.fingerprints(rows)?.into_iter();
    let mut known = |row: RowId| {
        let recorded = recorded.next().and_then(|(.., recorded)| recorded);
        Sampled::Known(recorded.or_else(|| recovered.get(&row).copied()))
    };
    Ok(sample
        .iter()
        .map(|(index, row)| (*index, row.map_or(Sampled::Unknown, &mut known)))
        .collect())
}

/// The listed messages, by what a known mailbox has under their UIDs.
#[derive(Default)]
struct Uids {
    /// Messages that were delivered, skipped, or are to be deleted.
    settled: Vec<(usize, Option<RowId>)>,
    /// Those of them that were delivered.
    delivered: Vec<(usize, Option<RowId>)>,
    /// Messages with an unknown UID.
    unknown: Vec<(usize, Option<RowId>)>,
    /// Whether a message has only been listed so far: nothing is known about it except its UID.
    waiting: bool,
}

impl Uids {
    fn of(reconciled: &Reconciled) -> Self {
        let mut uids = Self::default();
        for (index, entry) in reconciled.mailbox.entries.iter().enumerate() {
            let message = (index, entry.row);
            match entry.known {
                _ if entry.row.is_none() => uids.unknown.push(message),
                Known::New { .. } | Known::Quarantined { .. } => uids.waiting = true,
                Known::Delivered { .. } | Known::Short { .. } => {
                    uids.delivered.push(message);
                    uids.settled.push(message);
                }
                Known::Skipped | Known::DeleteRequested => uids.settled.push(message),
            }
        }
        uids
    }
}

/// Compares the headers of a few messages of each mailbox with those that the server has now.
fn compare_headers(
    session: &mut Transaction<Stream>,
    comparisons: &mut [Comparison],
    listing: &Listing,
    unreadable: &mut UnreadableHeaders,
) -> Result<()> {
    let mut indices: Vec<_> = comparisons
        .iter()
        .flat_map(|comparison| comparison.sample.iter().map(|(index, _)| *index))
        .collect();
    indices.sort_unstable();
    indices.dedup();
    let listed: Vec<_> = indices
        .iter()
        .map(|index| &listing.messages[*index])
        .map(|message| (message.num, message.octets))
        .collect();
    let found = identify::fingerprints(session, &listed, unreadable)?;
    let header = |index: usize| indices.binary_search(&index).ok().and_then(|at| found[at]);
    for comparison in comparisons {
        let candidate = &mut comparison.candidate;
        for (index, sampled) in &comparison.sample {
            let Some(now) = header(*index) else {
                continue;
            };
            match sampled {
                Sampled::Known(Some(recorded)) if now == *recorded => candidate.same += 1,
                Sampled::Known(Some(_)) => candidate.different += 1,
                Sampled::Known(None) => {}
                Sampled::Unknown => {
                    candidate.read += 1;
                    candidate.moved += usize::from(comparison.absent.contains(&now));
                }
            }
        }
    }
    Ok(())
}

/// Returns the error for a mailbox whose headers are not known yet.
fn being_fetched(pending: &Comparison) -> Error {
    let title = pending.mailbox.title();
    Error::new(
        Kind::Busy,
        format!(
            "another pouch is fetching {}, which may be the same mailbox",
            sanitize(title.as_bytes())
        ),
    )
    .with_fact("the next run will compare them")
}

/// Returns the error for a mailbox that may be a known one.
fn unclear(comparison: &Comparison, listing: &Listing, account: &Account) -> Error {
    let title = comparison.mailbox.title();
    let (title, name) = (sanitize(title.as_bytes()), &account.name);
    let listed = listing.messages.len() as u64;
    Error::new(
        Kind::Unavailable,
        format!("this may be the mailbox of {title}"),
    )
    .with_fact(format!(
        "the UIDs of {} of {} are known",
        comparison.candidate.shared,
        count(listed, "listed message")
    ))
    .with_fact(
        "no header can be compared: the server does not support TOP, or none is in the ledger",
    )
    .with_hint(format!(
        "if it is, run `pouch fetch {name} --mailbox {title}`; \
         if not, run `pouch fetch {name} --accept-new-uids`"
    ))
}
