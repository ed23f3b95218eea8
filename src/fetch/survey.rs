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
    ledger::{Reader, Recognized},
    net::Stream,
    pop3::transaction::{Listing, Transaction},
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

/// What a survey found that is not in the ledger.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Messages that were recognised by their headers.
    pub(super) recognized: Recognized,
    /// Messages found in the account's Maildirs.
    pub(super) located: Vec<RowId>,
    /// Messages missing from the Maildirs that may not have been deleted by the user.
    pub(super) misplaced: HashSet<RowId>,
}

/// The result of a survey.
pub(super) struct Survey {
    pub(super) listing: Listing,
    pub(super) reconciled: Reconciled,
    pub(super) findings: Findings,
    /// A problem that is reported to the user and does not end the run.
    pub(super) warning: Option<Error>,
}

/// Lists the mailbox and matches it with the ledger.
///
/// # Errors
/// Messages cannot be recognised, the connection is lost, or the ledger or a destination cannot be
/// read. `unreadable` then has the headers that the next session should not request.
pub(super) fn survey(
    session: &mut Transaction<Stream>,
    basis: &Basis<'_>,
    unreadable: &mut UnreadableHeaders,
) -> Result<Survey> {
    let known = || {
        basis
            .reader
            .map_or_else(|| Ok(KnownMessages::default()), Reader::known_messages)
    };
    let (listing, mut known) = identify::list(session, known, unreadable)?;
    if !basis.recovered.is_empty() {
        let rows = basis.recovered.iter().map(|found| found.row).collect();
        known.mark_delivered(&rows, basis.now);
    }
    let warning = identify::unidentified(&listing, session.peer());
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
    survey.reconciled.mailbox.deletion_suspects = reader.deletion_suspects()?;
    if basis.account.policy.sync_deletions {
        let synced = sync_deletions::find_deleted(&survey.reconciled, reader, basis)?;
        synced.mark(&mut survey.reconciled);
        survey.findings.located = synced.located;
        survey.findings.misplaced = synced.misplaced;
        survey.warning = synced.warning.or(survey.warning);
    }
    Ok(survey)
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
