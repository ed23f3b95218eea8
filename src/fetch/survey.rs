//! The survey: what is on the server, what the ledger knows of it, and what to do about it.
//!
//! # Why it is shared
//!
//! `pouch plan` has to show exactly what `pouch fetch` would do. When each had its own sequence of
//! steps, only tests kept the two in agreement. Now both call [`survey`] and [`decide`], which only
//! read the ledger. What they learn about known messages is a value, [`Findings`]: `fetch` records
//! it, and `plan` drops it.

use std::collections::HashSet;

use super::{
    basis::{Basis, Criteria},
    identify::{self, UnreadableHeaders},
    mailbox::{self, Identified, NewAddressLock, Recognised},
    rules::{self, RuleMemory},
    sync_deletions,
};
use crate::{
    domain::{
        ids::RowId,
        plan::{Plan, plan},
        reconcile::{KnownMessages, Reconciled, reconcile},
    },
    error::{Error, Result},
    ledger::{Reader, Recognized, SeenMaildir},
    net::Stream,
    pop3::{listing::Listing, transaction::Transaction},
};

/// What a run learnt in earlier sessions, so that each session gets further than the one before.
#[derive(Debug, Default)]
pub(super) struct SurveyMemory {
    pub(super) rules: RuleMemory,
    pub(super) unreadable: UnreadableHeaders,
}

impl SurveyMemory {
    /// Returns whether headers arrived before one broke the connection, so that the next session
    /// gets further. Resets the flag.
    pub(super) fn take_progress(&mut self) -> bool {
        self.rules.take_progress() | self.unreadable.take_progress()
    }
}

/// The findings of a survey that are not in the ledger.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Messages that were recognised by their headers.
    pub(super) recognized: Recognized,
    /// Messages found in the account's Maildirs.
    pub(super) located: Vec<RowId>,
    /// Messages missing from the Maildirs that may not have been deleted by the user.
    pub(super) misplaced: HashSet<RowId>,
    /// The account's Maildirs as they were searched.
    pub(super) maildirs: Vec<SeenMaildir>,
}

/// The result of a survey.
pub(super) enum Surveyed {
    /// The mailbox was compared with its ledger.
    Mailbox(Box<Survey>),
    /// It is this known one, so that its ledger has to be used.
    Elsewhere(Box<Recognised>),
}

/// A mailbox, compared with its ledger.
pub(super) struct Survey {
    pub(super) listing: Listing,
    pub(super) reconciled: Reconciled,
    pub(super) findings: Findings,
    /// A problem that is reported to the user and does not end the run.
    pub(super) warning: Option<Error>,
    /// Held until the first messages of a new mailbox are recorded.
    pub(super) lock: Option<NewAddressLock>,
}

/// Lists the mailbox and matches it with the ledger. If no message is known from this address, the
/// mailbox is compared with all known ones first.
///
/// # Errors
/// The mailbox or its messages cannot be recognised, the connection is lost, or the ledger or a
/// destination cannot be read. `unreadable` then has the headers that the next session should not
/// request.
pub(super) fn survey(
    session: &mut Transaction<Stream>,
    basis: &Basis<'_>,
    unreadable: &mut UnreadableHeaders,
) -> Result<Surveyed> {
    let known = || {
        basis
            .reader
            .map_or_else(|| Ok(KnownMessages::default()), Reader::known_messages)
    };
    let (listing, mut known) = identify::list(session, known, unreadable)?;
    let mut lock = None;
    if !basis.is_recognised && basis.reader.map_or(Ok(true), Reader::is_unidentified)? {
        match mailbox::identify(session, basis, &listing, unreadable)? {
            Identified::New(held) => lock = held,
            Identified::Known(recognised) => return Ok(Surveyed::Elsewhere(recognised)),
        }
    }
    if !basis.recovered.is_empty() {
        let rows = basis.recovered.iter().map(|found| found.row).collect();
        known.mark_delivered(&rows, basis.now);
    }
    if let Some(reader) = basis.reader {
        // a run dates them anew when it begins, a preview cannot
        known.date_anew(&reader.misdated(basis.now)?, basis.now);
    }
    let warning = identify::unidentified(&listing, session.peer());
    let reconciled = reconcile(&listing.messages, &known);
    let findings = Findings::default();
    let mut survey = Survey {
        listing,
        reconciled,
        findings,
        warning,
        lock,
    };
    let Some(reader) = basis.reader else {
        return Ok(Surveyed::Mailbox(Box::new(survey)));
    };
    let messages = &survey.listing.messages;
    let unknown = survey.reconciled.unknown().map(|index| &messages[index]);
    if reader.recall_gone(&mut known, unknown)? {
        survey.reconciled = reconcile(messages, &known);
    }
    let recognized = identify::recognize(
        session,
        reader,
        &survey.reconciled,
        &survey.listing,
        unreadable,
        basis.env.accept_new_uids || basis.account.lists_a_part(),
    )?;
    if !recognized.is_empty() {
        recognized.apply_to(&mut known);
        survey.reconciled = reconcile(messages, &known);
        survey.findings.recognized = recognized;
    }
    drop(known);
    survey.reconciled.mailbox.deletion_suspects = reader.deletion_suspects()?;
    if basis.account.policy.sync_deletions {
        mark_deleted(&mut survey, reader, basis)?;
    }
    compare_before_deletion(session, basis, reader, &mut survey, unreadable)?;
    Ok(Surveyed::Mailbox(Box::new(survey)))
}

/// Marks the messages that the user deleted from the Maildirs.
fn mark_deleted(survey: &mut Survey, reader: &Reader, basis: &Basis<'_>) -> Result<()> {
    let synced = sync_deletions::find_deleted(&survey.reconciled, reader, basis)?;
    synced.mark(&mut survey.reconciled);
    survey.findings.located = synced.located;
    survey.findings.misplaced = synced.misplaced;
    survey.findings.maildirs = synced.maildirs;
    survey.warning = synced.warning.or(survey.warning.take());
    Ok(())
}

/// Compares the headers of messages that are due for deletion and known only from another address
/// of the mailbox.
///
/// The others are not compared: if nothing is deleted, or not yet, that would cost the time of
/// fetching all headers for nothing. Rules are not evaluated here: they can only delete new
/// messages, and otherwise make fewer deletions due.
fn compare_before_deletion(
    session: &mut Transaction<Stream>,
    basis: &Basis<'_>,
    reader: &Reader,
    survey: &mut Survey,
    unreadable: &mut UnreadableHeaders,
) -> Result<()> {
    let reconciled = &mut survey.reconciled;
    if !reconciled
        .mailbox
        .entries
        .iter()
        .any(|entry| entry.other_address)
    {
        return Ok(());
    }
    let due =
        reconciled.other_address(&plan(&basis.account.policy, &reconciled.mailbox, basis.now));
    let recognized = identify::verify(session, reader, &due, &survey.listing, unreadable)?;
    for message in due {
        if recognized.replaced.contains(&message.row) {
            reconciled.replace(message.index);
        } else if recognized.compared.contains(&message.row) {
            reconciled.confirm(message.index);
        }
    }
    let findings = &mut survey.findings.recognized;
    findings.replaced.extend(recognized.replaced);
    findings.compared.extend(recognized.compared);
    Ok(())
}

/// Evaluates the rules, and makes the plan.
///
/// # Errors
/// The connection is lost. The rules that could be evaluated are set in `reconciled` and kept in
/// `memory`.
pub(super) fn decide(
    session: &mut Transaction<Stream>,
    criteria: &Criteria<'_>,
    listing: &Listing,
    reconciled: &mut Reconciled,
    memory: &mut RuleMemory,
) -> Result<Plan> {
    rules::evaluate_all(session, criteria, listing, reconciled, memory)?;
    Ok(plan(&criteria.policy, &reconciled.mailbox, criteria.now))
}
