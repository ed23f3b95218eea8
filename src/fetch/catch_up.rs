//! `pouch ledger catchup`: marking messages on the server as seen.
//!
//! # The age of a message
//!
//! A day as a limit is compared with the time at which the server received the message: that of
//! its first Received field, or else of its Date field ([`received_at`]). The Date field alone,
//! which a rule with `older-than` compares, was rejected: a new message with a date in 1970 would
//! never be fetched. A message without a date is not marked.

use std::collections::{HashMap, HashSet};

use super::{
    connect::{connect, with_access_hint},
    env::{RunEnv, without_wait},
    hooks,
    identify::{self, UnreadableHeaders},
    mailbox::{self, Identified, Recognised},
    preview::View,
};
use crate::{
    config::Account,
    domain::{
        ids::{Listed, MsgNum},
        message::{Fingerprint, fingerprint, received_at},
        plan::{Known, Mailbox},
        reconcile::reconcile,
        time::Timestamp,
    },
    error::{Error, Kind, Result},
    event::Event,
    ledger::LedgerFile,
    net::Stream,
    pop3::{listing::Listing, transaction::Transaction},
};

/// The messages to mark as seen, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CatchUp {
    /// Whether they count as delivered now, instead of being skipped.
    pub as_fetched: bool,
    /// Only messages that the server received before this time.
    pub before: Option<Timestamp>,
    /// The number of messages at the end of the listing, the newest ones, that are not marked.
    pub except_newest: u64,
}

/// The result of [`catch_up`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaughtUp {
    /// The number of messages that were marked.
    pub changed: u64,
    /// The number of messages that were not selected, and that the next run fetches.
    pub left: u64,
    /// How many of these were left because their date is not known.
    pub undated: u64,
}

/// Marks messages on the server that were not delivered as skipped, or `as_fetched` as delivered
/// now.
///
/// The fingerprints of their headers are recorded if the server supports TOP, so that the messages
/// are recognised if their UIDs change.
///
/// # Errors
/// The mailbox cannot be listed, the connection is lost, or the ledger cannot be written. Or dates
/// are compared, and the server does not support TOP.
pub fn catch_up(account: &Account, env: &RunEnv, choice: CatchUp) -> Result<CaughtUp> {
    let (_lock, file) = env.lock(account).map_err(without_wait)?;
    let mut ledger = env.open_ledger(account, &file)?;
    hooks::before(account, env)?;
    let secret = env.secret(account)?;
    let remembered = ledger.reader().login_history()?.remembered(env.clock.now());
    let mut session = connect(account, env, (&secret, remembered), &mut |_| {})?;
    let mut unreadable = UnreadableHeaders::default();
    let known = || ledger.reader().known_messages();
    let (listing, mut known) = identify::list(&mut session, known, &mut unreadable)
        .map_err(|error| with_access_hint(error, account, env))?;
    let messages = &listing.messages;
    let mut _mailbox_lock = None;
    if ledger.reader().is_unidentified()?
        && let Some(recognised) = known_mailbox(
            &mut session,
            (account, env, file),
            &listing,
            &mut unreadable,
        )?
    {
        let file = &recognised.mailbox.file;
        _mailbox_lock = Some(
            env.lock_key(file.key(), env.patience)
                .map_err(without_wait)?,
        );
        ledger = env.open_ledger(account, file)?;
        known = ledger.reader().known_messages()?;
        env.report
            .event(&account.name, &Event::Notice(&recognised.notice(account)));
    }
    let mut reconciled = reconcile(messages, &known);
    let unknown = reconciled.unknown().map(|index| &messages[index]);
    if ledger.reader().recall_gone(&mut known, unknown)? {
        reconciled = reconcile(messages, &known);
    }
    let mut selection = Selection::of(&reconciled.mailbox, choice.except_newest);
    if let Some(before) = choice.before {
        let progress = Progress::new(account, env, "headers");
        selection.restrict(&mut session, (messages, before), &progress, &mut unreadable)?;
    }
    let mut outcome = selection.outcome(&reconciled.mailbox);
    let how = (choice.as_fetched, env.clock.now());
    let (changed, skipped) = ledger.catch_up(reconciled, messages, &selection.indices, how)?;
    outcome.changed = changed;
    let listed: Vec<_> = skipped
        .iter()
        .map(|(num, octets, _)| (*num, *octets))
        .filter(|message| !selection.fingerprints.contains_key(message))
        .collect();
    let found = identify::fingerprints(&mut session, &listed, &mut unreadable)?;
    let mut fingerprints = selection.fingerprints;
    fingerprints.extend(listed.into_iter().zip(found));
    let fingerprints: Vec<_> = skipped
        .iter()
        .filter_map(|(num, octets, row)| Some((*row, (*fingerprints.get(&(*num, *octets))?)?)))
        .collect();
    ledger.record_fingerprints(&fingerprints)?;
    session.leave();
    Ok(outcome)
}

/// The messages that are marked.
struct Selection {
    /// Their indices in the listing.
    indices: HashSet<usize>,
    /// The fingerprints of the headers that were requested, by number and size.
    fingerprints: HashMap<(MsgNum, u64), Option<Fingerprint>>,
    undated: u64,
}

impl Selection {
    /// Selects all undelivered messages except the newest.
    fn of(mailbox: &Mailbox, except_newest: u64) -> Self {
        let except = usize::try_from(except_newest).unwrap_or(usize::MAX);
        let end = mailbox.entries.len().saturating_sub(except);
        let older = mailbox.entries[..end].iter().enumerate();
        let undelivered = older.filter(|(_, entry)| entry.known.is_undelivered());
        Self {
            indices: undelivered.map(|(index, _)| index).collect(),
            fingerprints: HashMap::new(),
            undated: 0,
        }
    }

    /// Keeps only messages that the server received before a time.
    fn restrict(
        &mut self,
        session: &mut Transaction<Stream>,
        (messages, before): (&[Listed], Timestamp),
        progress: &Progress<'_>,
        unreadable: &mut UnreadableHeaders,
    ) -> Result<()> {
        let mut indices: Vec<_> = self.indices.iter().copied().collect();
        indices.sort_unstable();
        let listed: Vec<_> = indices
            .iter()
            .map(|index| (messages[*index].num, messages[*index].octets))
            .collect();
        let mut received = vec![None; listed.len()];
        let of = listed.len() as u64;
        identify::heads(session, &listed, unreadable, |at, head| {
            received[at] = received_at(head.as_bytes());
            self.fingerprints
                .insert(listed[at], fingerprint(head.as_bytes()));
            progress.report(self.fingerprints.len() as u64, Some(of));
        })?;
        if self.fingerprints.is_empty() && !listed.is_empty() {
            return Err(no_headers(session.peer()));
        }
        self.undated = received.iter().filter(|at| at.is_none()).count() as u64;
        let is_older = |at: &Option<Timestamp>| at.is_some_and(|at| at < before);
        let dated = indices.into_iter().zip(received);
        self.indices = dated
            .filter(|(_, at)| is_older(at))
            .map(|(index, _)| index)
            .collect();
        Ok(())
    }

    /// Counts the messages that are left for the next run.
    fn outcome(&self, mailbox: &Mailbox) -> CaughtUp {
        let entries = mailbox.entries.iter().enumerate();
        let left = entries.filter(|(index, entry)| {
            let waits = matches!(entry.known, Known::New { .. } | Known::Quarantined { .. });
            waits && !self.indices.contains(index)
        });
        CaughtUp {
            changed: 0,
            left: left.count() as u64,
            undated: self.undated,
        }
    }
}

/// Returns the error for a server that sends no header.
fn no_headers(peer: &str) -> Error {
    Error::new(
        Kind::Unavailable,
        format!("{peer} does not support TOP, so the dates of its messages are not known"),
    )
    .with_fact("nothing was changed")
    .with_hint("use `--except-newest COUNT`, which needs no dates")
}

/// Shows how many headers or files were read, until it is dropped.
pub(super) struct Progress<'a> {
    account: &'a Account,
    env: &'a RunEnv,
    what: &'static str,
}

impl<'a> Progress<'a> {
    /// Creates the progress of reading `what`, in the plural.
    pub(super) fn new(account: &'a Account, env: &'a RunEnv, what: &'static str) -> Self {
        Self { account, env, what }
    }

    /// Reports that `read` were read, of `of` if that is known.
    pub(super) fn report(&self, read: u64, of: Option<u64>) {
        let what = self.what;
        let event = Event::Reading { what, read, of };
        self.env.report.event(&self.account.name, &event);
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        // hides the line
        self.report(0, Some(0));
    }
}

/// Returns the known mailbox to which a new address leads, or `None` if there is none or this is
/// not certain. In the latter case, `catchup` is one of the ways to decide.
pub(super) fn known_mailbox(
    session: &mut Transaction<Stream>,
    (account, env, file): (&Account, &RunEnv, LedgerFile),
    listing: &Listing,
    unreadable: &mut UnreadableHeaders,
) -> Result<Option<Box<Recognised>>> {
    let view = View::open(account, env, file)?;
    match mailbox::identify(session, &view.basis(account, env), listing, unreadable) {
        Ok(Identified::Known(recognised)) => Ok(Some(recognised)),
        Ok(Identified::New(_)) => Ok(None),
        Err(error) if error.kind() == Kind::Unavailable => Ok(None),
        Err(error) => Err(error),
    }
}
