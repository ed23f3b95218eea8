//! Recognising messages by their headers when their UIDs cannot be relied on.
//!
//! # Why UIDs are not enough
//!
//! RFC 1939 §7 requires that a UID never changes and is never used again. Three cases break that:
//! - The server gave every message a new UID, because it was replaced, restored or moved. All mail
//!   would be fetched a second time. This is suspected if more messages are absent than known.
//! - The server gave a known UID to another message, because it numbers messages anew. The new
//!   message would be deleted unread. This is suspected if the size changed, or if a message is
//!   listed again after it was gone.
//! - The server has no UID for a message, or no UIDL at all.
//!
//! # How messages are recognised
//!
//! The header is requested with TOP, and its fingerprint is compared with the one recorded when the
//! message was fetched ([`fingerprint`]). Headers are requested only on suspicion, since they cost
//! as much time as a small message. If a suspicion cannot be resolved, the safe side depends on the
//! case: a message that may be another one is fetched again, since a copy is better than a loss; if
//! all UIDs changed and no header can be read, the run stops and the user decides, since fetching a
//! whole mailbox again is rarely wanted.
//!
//! Providers that list only messages that were not fetched yet (Gmail) make known messages absent
//! in every session. Their UIDs do not change, so nothing is suspected.
//!
//! Comparing sizes and message numbers instead was rejected: servers count sizes differently, and
//! number messages anew in each session.
//!
//! A header may break the connection, on servers that crash on a message. It is not requested again
//! in the run ([`UnreadableHeaders`]), so that each session gets further than the one before.

use std::collections::{HashMap, HashSet};

use crate::{
    domain::{
        ids::{Listed, MsgNum, RowId, Uid},
        message::{Fingerprint, Head, fingerprint, identity},
        reconcile::{KnownMessages, Reconciled, Unverified, UnverifiedReason},
    },
    error::{Error, Kind, Result},
    ledger::{Reader, Recognized},
    net::Stream,
    pop3::{
        listing::Listing,
        refused::access_refused,
        reply::{Refusal, quoted},
        transaction::Transaction,
    },
    text::{count, sanitize},
};

/// The number of absent messages from which a change of all UIDs stops the run. Fewer may have been
/// deleted by another client.
const MIN_ABSENT: usize = 5;

/// The number of headers in a run that may break the connection. After more, the connection itself
/// is at fault.
const MAX_UNREADABLE: usize = 20;

/// The messages whose header broke the connection in this run, and is not requested again.
#[derive(Debug, Default)]
pub(super) struct UnreadableHeaders {
    /// The messages by number and size in octets.
    messages: HashSet<(MsgNum, u64)>,
    /// The last error by which the connection was lost.
    error: Option<Error>,
    /// Whether other headers arrived before one broke the connection.
    progress: bool,
    /// Whether headers are requested in reverse order. A session in which the first header breaks
    /// the connection gains nothing, and those after it may break it, too.
    backwards: bool,
}

impl UnreadableHeaders {
    /// Returns whether the last session received headers before one broke the connection, so that
    /// the next session gets further. Resets the flag.
    pub(super) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progress)
    }
}

/// Lists the mailbox, and calls `meanwhile`, which returns the known messages, while the server
/// works. A message without a UID gets one that is derived from its header.
///
/// RFC 1939 makes UIDL optional, and some servers list no UID for some of the messages.
///
/// # Errors
/// The connection is lost, the server supports neither UIDL nor TOP, or `meanwhile` failed.
pub(super) fn list(
    session: &mut Transaction<Stream>,
    meanwhile: impl FnOnce() -> Result<KnownMessages>,
    unreadable: &mut UnreadableHeaders,
) -> Result<(Listing, KnownMessages)> {
    let (mut listing, known) = session.list(meanwhile)?;
    let known = known?;
    if let Some(refusal) = &listing.uidl_refused {
        let had_uidl = session
            .capabilities()
            .is_some_and(|capabilities| capabilities.has("UIDL"))
            || known.has_server_uids();
        return Err(access_refused(session.peer(), refusal)
            .unwrap_or_else(|| no_uidl(session.peer(), refusal, had_uidl)));
    }
    let without_uid = std::mem::take(&mut listing.nameless);
    if without_uid.is_empty() {
        return Ok((listing, known));
    }
    let mut uids = vec![None; without_uid.len()];
    heads(session, &without_uid, unreadable, |index, head| {
        let size = without_uid[index].1;
        uids[index] = Some(Uid::Derived {
            fingerprint: identity(head.as_bytes()).0,
            size,
        });
    })?;
    for ((num, octets), uid) in without_uid.into_iter().zip(uids) {
        match uid {
            Some(uid) => listing.messages.push(Listed { num, uid, octets }),
            None => listing.nameless.push((num, octets)),
        }
    }
    listing.messages.sort_by_key(|message| message.num);
    if listing.messages.is_empty() {
        // if no header arrives at all, the connection is at fault
        if let Some(error) = unreadable.error.take() {
            return Err(error);
        }
        return Err(Error::new(
            Kind::Unavailable,
            "the server does not support UIDL, so fetched messages cannot be recognised",
        )
        .with_fact("it does not support TOP either, so their headers cannot be compared"));
    }
    Ok((listing, known))
}

/// Returns the error about a server that refuses UIDL. If it `had_uidl`, that is transient.
fn no_uidl(peer: &str, refusal: &Refusal, had_uidl: bool) -> Error {
    let error = if had_uidl || refusal.sounds_transient() {
        Error::new(Kind::Busy, format!("{peer} refused to list the UIDs"))
    } else {
        Error::new(
            Kind::Unavailable,
            format!("{peer} does not support UIDL, so fetched messages cannot be recognised"),
        )
        .with_hint("`quirks = [\"no-uidl\"]` recognises them by their headers; see pouch-config(5)")
    };
    error.with_fact(quoted(peer, refusal))
}

/// Returns a warning about messages that cannot be fetched: the server does not list them, or they
/// cannot be matched to fetched ones.
pub(super) fn unidentified(listing: &Listing, peer: &str) -> Option<Error> {
    let listed = listing.listed();
    if listing.is_incomplete() {
        let number = match listed {
            0 => "none".into(),
            listed => listed.to_string(),
        };
        let error = Error::new(
            Kind::Unavailable,
            format!(
                "{peer} has {}, but lists {number}",
                count(listing.expected.into(), "message")
            ),
        );
        return Some(match &listing.unparsed {
            Some(line) => error.with_fact(format!("{peer} said: {}", sanitize(line))),
            None => error,
        });
    }
    if listing.nameless.is_empty() {
        return None;
    }
    let messages = count(listing.nameless.len() as u64, "message");
    let error = Error::new(
        Kind::Unavailable,
        format!("the server returned no UID for {messages}"),
    );
    Some(error.with_fact(
        "left on the server, because without a header it cannot be compared with fetched mail",
    ))
}

/// Returns the notice about messages that were recognised under a new UID.
pub(super) fn moved_notice(moved: usize) -> Error {
    Error::new(
        Kind::Unavailable,
        "the server has given its messages new UIDs",
    )
    .with_fact(format!(
        "{} recognised by their headers; not fetching them again",
        count(moved as u64, "message")
    ))
}

/// Compares the headers of messages that may not be the ones known by their UID, and of unknown
/// messages that may be known under another UID. With `accept_new_uids`, the latter count as new.
///
/// # Errors
/// All UIDs changed and the server does not support TOP, the connection is lost, or the ledger
/// cannot be read.
pub(super) fn recognize(
    session: &mut Transaction<Stream>,
    reader: &Reader,
    reconciled: &Reconciled,
    listing: &Listing,
    unreadable: &mut UnreadableHeaders,
    accept_new_uids: bool,
) -> Result<Recognized> {
    let mut recognized = verify(session, reader, &reconciled.unverified, listing, unreadable)?;
    if !accept_new_uids {
        recognized.moved = moved(session, reader, reconciled, listing, unreadable)?;
    }
    Ok(recognized)
}

/// Finds delivered messages that are listed under another UID, because the server gave all messages
/// new ones, or because it gives a UID only at times. Returns their rows and their new entries.
fn moved(
    session: &mut Transaction<Stream>,
    reader: &Reader,
    reconciled: &Reconciled,
    listing: &Listing,
    unreadable: &mut UnreadableHeaders,
) -> Result<Vec<(RowId, Listed)>> {
    let entries = reconciled.mailbox.entries.iter().zip(&listing.messages);
    let unknown: Vec<_> = entries
        .filter(|(entry, _)| entry.row.is_none())
        .map(|(_, message)| message)
        .collect();
    let known = listing.messages.len() - unknown.len();
    let all_new = reconciled.absent.len() > known;
    let may_be_known =
        |message: &&&Listed| all_new || reconciled.absent_derived || message.uid.is_derived();
    let unknown: Vec<_> = unknown.iter().filter(may_be_known).copied().collect();
    if unknown.is_empty() || reconciled.absent.is_empty() {
        return Ok(Vec::new());
    }
    let mut absent: HashMap<(bool, Fingerprint), Vec<RowId>> = HashMap::new();
    for (row, uid, fingerprint) in reader.fingerprints(reconciled.absent.iter().copied())? {
        if let Some(fingerprint) = fingerprint {
            absent
                .entry((uid.is_derived(), fingerprint))
                .or_default()
                .push(row);
        }
    }
    let listed: Vec<_> = unknown
        .iter()
        .map(|message| (message.num, message.octets))
        .collect();
    let found = fingerprints(session, &listed, unreadable)?;
    if all_new
        && found.iter().all(Option::is_none)
        && reconciled.absent.len() >= MIN_ABSENT
        && unknown.len() * 2 >= reconciled.absent.len()
    {
        return Err(all_uids_changed(
            reconciled.absent.len(),
            known,
            unknown.len(),
        ));
    }
    Ok(unknown
        .into_iter()
        .zip(found)
        .filter_map(|(message, fingerprint)| {
            let fingerprint = fingerprint?;
            // two derived UIDs that differ in size are two messages
            let derived: &[bool] = match (message.uid.is_derived(), all_new) {
                (true, _) => &[false],
                (false, true) => &[false, true],
                (false, false) => &[true],
            };
            let row = derived
                .iter()
                .find_map(|derived| absent.get_mut(&(*derived, fingerprint))?.pop())?;
            Some((row, message.clone()))
        })
        .collect())
}

/// Returns the error for a mailbox whose UIDs all changed, if headers cannot be compared.
fn all_uids_changed(absent: usize, known: usize, unknown: usize) -> Error {
    Error::new(
        Kind::Unavailable,
        "the server has given its messages new UIDs",
    )
    .with_fact(format!(
        "{absent} of {} that were fetched before are no longer listed, and {unknown} are \
             unknown",
        count((known + absent) as u64, "message"),
    ))
    .with_fact("they cannot be compared, because the server does not support TOP")
    .with_hint(
        "`pouch ledger catchup` marks them all as seen; `pouch fetch --accept-new-uids` fetches \
             them all",
    )
}

/// Compares the headers of unverified messages. If a header cannot be compared, a message that is
/// only listed again is the same, one that is known from another address stays undecided, and any
/// other is another one: fetching it twice is better than deleting it unread.
///
/// # Errors
/// The connection is lost, or the ledger cannot be read.
pub(super) fn verify(
    session: &mut Transaction<Stream>,
    reader: &Reader,
    unverified: &[Unverified],
    listing: &Listing,
    unreadable: &mut UnreadableHeaders,
) -> Result<Recognized> {
    let size = |message: &Unverified| listing.messages[message.index].octets;
    let listed: Vec<_> = unverified
        .iter()
        .map(|message| (listing.messages[message.index].num, size(message)))
        .collect();
    let now = fingerprints(session, &listed, unreadable)?;
    let recorded = reader.fingerprints(unverified.iter().map(|message| message.row))?;
    let mut recognized = Recognized::default();
    for ((message, now), (.., recorded)) in unverified.iter().zip(now).zip(recorded) {
        let compared = now.zip(recorded).map(|(now, recorded)| now == recorded);
        let same = compared.unwrap_or(message.reason != UnverifiedReason::Resized);
        if !same {
            recognized.replaced.push(message.row);
            continue;
        }
        if compared.is_some() {
            recognized.compared.push(message.row);
        }
        if message.reason == UnverifiedReason::Resized {
            recognized.confirmed.push((message.row, size(message)));
        }
    }
    Ok(recognized)
}

/// Returns the fingerprint of each message, or `None` if the server does not provide its header.
///
/// # Errors
/// The connection is lost.
pub(super) fn fingerprints(
    session: &mut Transaction<Stream>,
    messages: &[(MsgNum, u64)],
    unreadable: &mut UnreadableHeaders,
) -> Result<Vec<Option<Fingerprint>>> {
    let mut found = vec![None; messages.len()];
    heads(session, messages, unreadable, |index, head| {
        found[index] = fingerprint(head.as_bytes());
    })?;
    Ok(found)
}

/// Requests the headers of `messages`, except those that are `unreadable`. Calls `each` with the
/// index of a message and its header, for each header that the server provides.
///
/// # Errors
/// The connection is lost. The message whose header was awaited is then unreadable.
pub(super) fn heads(
    session: &mut Transaction<Stream>,
    messages: &[(MsgNum, u64)],
    unreadable: &mut UnreadableHeaders,
    mut each: impl FnMut(usize, Head),
) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let mut requested: Vec<_> = (0..messages.len())
        .filter(|index| !unreadable.messages.contains(&messages[*index]))
        .collect();
    if unreadable.backwards {
        requested.reverse();
    }
    let nums: Vec<_> = requested.iter().map(|index| messages[*index].0).collect();
    let mut awaited = requested.into_iter();
    let mut answered = false;
    let read = session.tops(&nums, |head| {
        answered = true;
        // one response per command
        if let (Some(index), Ok(head)) = (awaited.next(), head) {
            each(index, head);
        }
    });
    read.inspect_err(|error| {
        if matches!(error.kind(), Kind::ConnectionLost | Kind::TimedOut) {
            unreadable
                .messages
                .extend(awaited.next().map(|index| messages[index]));
            unreadable.error = Some(error.clone());
            unreadable.progress = answered && unreadable.messages.len() <= MAX_UNREADABLE;
            unreadable.backwards ^= !answered;
        }
    })
}
