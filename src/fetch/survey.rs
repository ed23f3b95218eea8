//! What is on the server, what is known of it, and what to do about it.
//!
//! `pouch plan` and `pouch fetch` take these steps together: [`survey`] finds out what is there, and
//! [`decide`] what to do. Both only read the ledger. What they find out about known messages is a
//! value, [`Findings`], which `fetch` records.

use std::collections::HashSet;

use super::{
    basis::{Basis, Criteria},
    identify::{self, UnreadableHeaders},
    rules::{self, RuleMemory},
    sync_deletions,
};
use crate::{
    domain::{
        ids::RowId,
        plan::{Plan, plan},
        reconcile::{Reconciled, reconcile},
    },
    error::{Error, Result},
    ledger::{Reader, Recognized},
    net::Stream,
    pop3::transaction::{Listing, Transaction},
};

/// What the sessions of a run learn about messages.
#[derive(Debug, Default)]
pub(super) struct SurveyMemory {
    pub(super) rules: RuleMemory,
    pub(super) unreadable: UnreadableHeaders,
}

impl SurveyMemory {
    /// Returns whether headers arrived before one broke the connection, so that the next session
    /// gets further. Resets it.
    pub(super) fn take_progress(&mut self) -> bool {
        self.rules.take_progress() | self.unreadable.take_progress()
    }
}

/// What a survey found out that the ledger does not know.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Messages that were recognised by their headers.
    pub(super) recognized: Recognized,
    /// Messages that are in the account's Maildirs.
    pub(super) located: Vec<RowId>,
    /// Messages that are missing from the Maildirs, but not known to be deleted.
    pub(super) misplaced: HashSet<RowId>,
}

/// What is on the server, and what is known of it.
pub(super) struct Survey {
    pub(super) listing: Listing,
    pub(super) reconciled: Reconciled,
    pub(super) findings: Findings,
    /// What the user should know.
    pub(super) warning: Option<Error>,
}

/// Lists the mailbox and matches it with the ledger.
///
/// # Errors
/// The server cannot tell messages apart, the connection is lost, or the ledger or a destination
/// cannot be read. What `unreadable` has learnt by then helps the next session.
pub(super) fn survey(
    session: &mut Transaction<Stream>,
    basis: &Basis<'_>,
    unreadable: &mut UnreadableHeaders,
) -> Result<Survey> {
    let known = || basis.reader.map(Reader::known_messages).transpose();
    let (listing, known) = identify::list(session, known, unreadable)?;
    let mut known = known.unwrap_or_default();
    if !basis.recovered.is_empty() {
        let rows = basis.recovered.iter().map(|found| found.row).collect();
        known.mark_delivered(&rows, basis.now);
    }
    let warning = identify::unidentified(&listing);
    let reconciled = reconcile(&listing.messages, &known);
    let findings = Findings::default();
    let mut survey = Survey {
        listing,
        reconciled,
        findings,
        warning,
    };
    let Some(reader) = basis.reader else {
        return Ok(survey);
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
        basis.accept_new_uids,
    )?;
    if !recognized.is_empty() {
        recognized.apply_to(&mut known);
        survey.reconciled = reconcile(messages, &known);
        survey.findings.recognized = recognized;
    }
    drop(known);
    if basis.account.policy.sync_deletions {
        let synced = sync_deletions::find_deleted(&survey.reconciled, reader, basis)?;
        synced.mark(&mut survey.reconciled);
        survey.findings.located = synced.located;
        survey.findings.misplaced = synced.misplaced;
        survey.warning = synced.warning.or(survey.warning);
    }
    Ok(survey)
}

/// Evaluates the rules, and decides what to do to each message.
///
/// # Errors
/// The connection is lost. The rules are applied as far as they could be evaluated, and what
/// `memory` has learnt helps the next session.
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
