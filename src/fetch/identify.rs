//! Knowing messages again when their UIDs cannot be believed, by the fingerprint of their headers:
//! on a server that gave every message a new UID (it moved), one that gave a known UID to another
//! message, and one that gives none.

use std::collections::{HashMap, HashSet};

use crate::{
    domain::{
        ids::{Listed, MsgNum, RowId, Uid},
        message::{Fingerprint, Head, fingerprint, identity},
    },
    error::{Error, Kind, Result},
    ledger::{Doubt, KnownMessages, Ledger, Recognized, Reconciled, Sign},
    net::Stream,
    pop3::transaction::{Listing, Transaction},
    text::count,
};

/// From so many vanished messages on it is no chance that many unknown ones came in their place.
const MANY: usize = 5;

/// Where so many headers have broken the line in a run, it is the line that is bad.
const BROKEN_HEADERS: usize = 20;

/// Messages whose header broke the line in this run: none is asked for it again.
#[derive(Debug, Default)]
pub(super) struct UnreadableHeaders {
    /// By number and size.
    messages: HashSet<(MsgNum, u64)>,
    /// How the line was lost.
    error: Option<Error>,
    /// Other headers had come before one broke the line.
    progress: bool,
    /// Headers are asked for from the other end: behind the first one that breaks the line others
    /// may do so, too.
    backwards: bool,
}

impl UnreadableHeaders {
    /// Whether it was a header that broke the line, and others had come before it: the next session
    /// gets further.
    pub(super) fn takes_progress(&mut self) -> bool {
        std::mem::take(&mut self.progress)
    }
}

/// What the server lists, and what the ledger remembers, which is read while the server looks. A
/// message that it gives no UID gets one made of its header, where it shows that: RFC 1939 leaves
/// UIDL to the server, and some refuse it for single messages.
///
/// # Errors
/// As for [`heads`], the server cannot tell messages apart, or the ledger cannot be read.
pub(super) fn listing(
    session: &mut Transaction<Stream>,
    ledger: &Ledger,
    unreadable: &mut UnreadableHeaders,
) -> Result<(Listing, KnownMessages)> {
    let (mut listing, memory) = session.list(|| ledger.memory())?;
    let memory = memory?;
    let nameless = std::mem::take(&mut listing.nameless);
    if nameless.is_empty() {
        return Ok((listing, memory));
    }
    let mut uids = vec![None; nameless.len()];
    heads(session, &nameless, unreadable, |place, head| {
        uids[place] = Some(Uid::of_header(
            identity(head.as_bytes()).0,
            nameless[place].1,
        ));
    })?;
    for ((num, octets), uid) in nameless.into_iter().zip(uids) {
        match uid {
            Some(uid) => listing.messages.push(Listed { num, uid, octets }),
            None => listing.nameless.push((num, octets)),
        }
    }
    listing.messages.sort_by_key(|message| message.num);
    if listing.messages.is_empty() {
        // where no header comes through, the line is bad, and not the headers
        if let Some(error) = unreadable.error.take() {
            return Err(error);
        }
        return Err(Error::new(
            Kind::Unavailable,
            "the server cannot tell new messages from old ones",
        )
        .with_fact("it gives no UIDs (UIDL), and shows no headers (TOP)"));
    }
    Ok((listing, memory))
}

/// What a person should know of messages that cannot be told from what was fetched before.
pub(super) fn unnamed(listing: &Listing) -> Option<Error> {
    let nameless = count(listing.nameless.len() as u64, "message");
    let error = Error::new(Kind::Unavailable, format!("the server gives no UID for {nameless}"))
        .with_fact("it does not show their headers either: what cannot be told from what was fetched before stays there");
    (!listing.nameless.is_empty()).then_some(error)
}

/// The listing joined with what is remembered, once messages are recognized that have a new UID,
/// and told apart that share one over time; and how many have a new UID. What was delivered for the
/// `doubted` may be other messages: they are compared.
///
/// # Errors
/// The server gave its messages new UIDs and shows no headers, the line is lost, or the ledger
/// cannot be read or written.
pub(super) fn look(
    session: &mut Transaction<Stream>,
    ledger: &mut Ledger,
    listing: &Listing,
    memory: KnownMessages,
    doubted: &HashSet<RowId>,
    unreadable: &mut UnreadableHeaders,
    accept_new_uids: bool,
) -> Result<(Reconciled, usize)> {
    let mut look = ledger.look(&listing.messages, &memory)?;
    drop(memory);
    look.doubt(doubted);
    let mut recognized = changed(session, ledger, &look, listing, unreadable)?;
    if !accept_new_uids {
        recognized.moved = moved(session, ledger, &look, listing, unreadable)?;
    }
    if recognized == Recognized::default() {
        return Ok((look, 0));
    }
    ledger.recognize(&recognized)?;
    Ok((
        ledger.look(&listing.messages, &ledger.memory()?)?,
        recognized.moved.len(),
    ))
}

/// What a person should know of messages that have a new UID.
pub(super) fn told(moved: usize) -> Error {
    Error::new(
        Kind::Unavailable,
        "the server has given its messages new UIDs",
    )
    .with_fact(format!(
        "{} known by their headers: not fetched again",
        count(moved as u64, "message")
    ))
}

/// Messages that were delivered under another UID, with what is listed now: those of a server that
/// moved, and those that have their UID of the server only at times.
fn moved(
    session: &mut Transaction<Stream>,
    ledger: &Ledger,
    look: &Reconciled,
    listing: &Listing,
    unreadable: &mut UnreadableHeaders,
) -> Result<Vec<(RowId, Listed)>> {
    let unknown: Vec<_> = look
        .mailbox
        .entries
        .iter()
        .zip(&listing.messages)
        .filter(|(entry, _)| entry.row.is_none())
        .map(|(_, message)| message)
        .collect();
    let known = listing.messages.len() - unknown.len();
    let all_new = look.absent.len() > known;
    let candidate =
        |message: &&&Listed| all_new || look.absent_of_header || message.uid.is_of_header();
    let unknown: Vec<_> = unknown.iter().filter(candidate).copied().collect();
    if unknown.is_empty() || look.absent.is_empty() {
        return Ok(Vec::new());
    }
    let mut absent: HashMap<(bool, Fingerprint), Vec<RowId>> = HashMap::new();
    for (row, uid, print) in ledger.fingerprints(look.absent.iter().copied())? {
        if let Some(print) = print {
            absent
                .entry((uid.is_of_header(), print))
                .or_default()
                .push(row);
        }
    }
    let listed: Vec<_> = unknown
        .iter()
        .map(|message| (message.num, message.octets))
        .collect();
    let prints = prints(session, &listed, unreadable)?;
    if all_new
        && prints.iter().all(Option::is_none)
        && look.absent.len() >= MANY
        && unknown.len() * 2 >= look.absent.len()
    {
        return Err(Error::new(Kind::Unavailable, "the server has given its messages new UIDs")
            .with_fact(format!(
                "{} of {} that were fetched before are not listed any more, and {} are unknown",
                look.absent.len(),
                count((known + look.absent.len()) as u64, "message"),
                unknown.len()
            ))
            .with_fact("whether they are the same cannot be found out, since it does not answer TOP")
            .with_hint("`pouch ledger catchup` takes them all for known, `pouch fetch --accept-new-uids` all for new"));
    }
    Ok(unknown
        .into_iter()
        .zip(prints)
        .filter_map(|(message, print)| {
            let print = print?;
            // two UIDs that are both made of the header differ in the size: two messages
            let kinds: &[bool] = match (message.uid.is_of_header(), all_new) {
                (true, _) => &[false],
                (false, true) => &[false, true],
                (false, false) => &[true],
            };
            let row = kinds
                .iter()
                .find_map(|kind| absent.get_mut(&(*kind, print))?.pop())?;
            Some((row, message.clone()))
        })
        .collect())
}

/// Of the doubtful messages, those that are still the same, and those whose UID is another
/// message's now. Where no header can be compared, one that is only listed again is the same, any
/// other is another message: rather fetched twice than deleted unread.
fn changed(
    session: &mut Transaction<Stream>,
    ledger: &Ledger,
    look: &Reconciled,
    listing: &Listing,
    unreadable: &mut UnreadableHeaders,
) -> Result<Recognized> {
    let listed = |doubt: &Doubt| {
        (
            listing.messages[doubt.place].num,
            listing.messages[doubt.place].octets,
        )
    };
    let now = prints(
        session,
        &look.doubtful.iter().map(listed).collect::<Vec<_>>(),
        unreadable,
    )?;
    let then = ledger.fingerprints(look.doubtful.iter().map(|doubt| doubt.row))?;
    let mut recognized = Recognized::default();
    for ((doubt, now), (.., then)) in look.doubtful.iter().zip(now).zip(then) {
        let same = match (now, then) {
            (Some(now), Some(then)) => now == then,
            _ => doubt.sign == Sign::Returned,
        };
        if !same {
            recognized.replaced.push(doubt.row);
        } else if doubt.sign != Sign::Returned {
            recognized
                .confirmed
                .push((doubt.row, listing.messages[doubt.place].octets));
        }
    }
    Ok(recognized)
}

/// The fingerprint of each message, where the server shows its header.
///
/// # Errors
/// As for [`heads`].
pub(super) fn prints(
    session: &mut Transaction<Stream>,
    messages: &[(MsgNum, u64)],
    unreadable: &mut UnreadableHeaders,
) -> Result<Vec<Option<Fingerprint>>> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let mut prints = vec![None; messages.len()];
    heads(session, messages, unreadable, |place, head| {
        prints[place] = fingerprint(head.as_bytes())
    })?;
    Ok(prints)
}

/// Asks for the headers of `messages`, but for those that are `unreadable`; `each` gets the place of a
/// message there and its header, where the server shows it.
///
/// # Errors
/// The line is lost: that message is unshown from now on during which it was.
fn heads(
    session: &mut Transaction<Stream>,
    messages: &[(MsgNum, u64)],
    unreadable: &mut UnreadableHeaders,
    mut each: impl FnMut(usize, Head),
) -> Result<()> {
    let mut asked: Vec<_> = (0..messages.len())
        .filter(|place| !unreadable.messages.contains(&messages[*place]))
        .collect();
    if unreadable.backwards {
        asked.reverse();
    }
    let nums: Vec<_> = asked.iter().map(|place| messages[*place].0).collect();
    let mut waiting = asked.into_iter();
    let mut answered = false;
    let shown = session.tops(&nums, |head| {
        answered = true;
        // one answer a number
        if let (Some(place), Ok(head)) = (waiting.next(), head) {
            each(place, head);
        }
    });
    shown.inspect_err(|error| {
        if matches!(error.kind(), Kind::ConnectionLost | Kind::TimedOut) {
            unreadable
                .messages
                .extend(waiting.next().map(|place| messages[place]));
            unreadable.error = Some(error.clone());
            unreadable.progress = answered && unreadable.messages.len() <= BROKEN_HEADERS;
            unreadable.backwards ^= !answered;
        }
    })
}
