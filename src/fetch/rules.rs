//! Evaluating the account's rules for new messages.
//!
//! A header costs a TOP, which takes a server as long as a small message. So rules are first
//! evaluated with the size alone, headers are requested only for messages that this does not
//! decide, and no more headers than the limit of the run can use.

use std::collections::{HashMap, HashSet};

use super::basis::Criteria;
use crate::{
    domain::{
        ids::Uid,
        message::{Head, Header, HeaderSummary, summarize},
        plan::Known,
        reconcile::Reconciled,
        rule::{Candidate, RuleAction, RuleOutcome, evaluate},
    },
    error::{Kind, Result, Verdict},
    net::Stream,
    pop3::{listing::Listing, transaction::Transaction},
};

/// The smallest number of headers that are requested at once, so that a small `limit` does not cost
/// a round trip for each message.
const MIN_HEADERS: u64 = 50;

/// The number of messages whose sender and subject are kept, which bounds the memory.
const MAX_SUMMARIES: usize = 10_000;

/// The outcomes of the rules in this run.
#[derive(Debug, Default)]
pub(super) struct RuleMemory {
    outcomes: HashMap<Uid, RuleOutcome>,
    /// The messages whose header broke the connection.
    broke_connection: HashSet<Uid>,
    /// Whether headers arrived before one broke the connection.
    progress: bool,
    /// The senders and subjects of messages whose headers were requested.
    summaries: HashMap<Uid, HeaderSummary>,
}

impl RuleMemory {
    /// Returns the outcome for a message, [`RuleOutcome::NeedsHeader`] if there is none.
    pub(super) fn outcome(&self, uid: &Uid) -> RuleOutcome {
        self.outcomes
            .get(uid)
            .copied()
            .unwrap_or(RuleOutcome::NeedsHeader)
    }

    /// Returns the sender and the subject of a message whose header was requested.
    pub(super) fn summary(&self, uid: &Uid) -> Option<&HeaderSummary> {
        self.summaries.get(uid)
    }

    /// Returns the senders and subjects that were added since the last call, and forgets them.
    pub(super) fn take_summaries(&mut self) -> HashMap<Uid, HeaderSummary> {
        std::mem::take(&mut self.summaries)
    }

    /// Returns whether headers arrived before one broke the connection. Resets the flag.
    pub(super) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progress)
    }

    /// Returns whether the header of a message broke the connection in this run.
    pub(super) fn broke_connection(&self, uid: &Uid) -> bool {
        self.broke_connection.contains(uid)
    }
}

/// Evaluates the rules for the new messages of `reconciled`, and sets the rule that matches each.
///
/// A message that failed or was deferred before is not evaluated again: its rules were, and
/// requesting its header may break the connection. A message whose header the server does not
/// provide is not matched by any rule that needs it. Outcomes are remembered for the next session,
/// except for messages that share a UID.
///
/// # Errors
/// The connection is lost. The rules that could be evaluated are set, and the message whose header
/// was awaited is not evaluated again in this run.
pub(super) fn evaluate_all(
    session: &mut Transaction<Stream>,
    criteria: &Criteria<'_>,
    listing: &Listing,
    reconciled: &mut Reconciled,
    memory: &mut RuleMemory,
) -> Result<()> {
    if criteria.rules.is_empty() {
        return Ok(());
    }
    let shared = |index: &usize| reconciled.mailbox.shared_uids.contains_key(index);
    let uid = |index: usize| &listing.messages[index].uid;
    let entries = reconciled.mailbox.entries.iter().enumerate();
    let fresh: Vec<_> = entries
        .filter(|(_, entry)| entry.known == Known::NEVER_SEEN)
        .map(|(index, _)| index)
        .filter(|index| shared(index) || !memory.outcomes.contains_key(uid(*index)))
        .collect();
    let (mut outcomes, summaries) = (HashMap::new(), &mut memory.summaries);
    let each = |index: usize, outcome, summary| {
        outcomes.insert(index, outcome);
        if let Some(summary) = summary
            && summaries.len() < MAX_SUMMARIES
            && !shared(&index)
        {
            summaries.insert(uid(index).clone(), summary);
        }
    };
    let evaluated = evaluate_new(session, criteria, reconciled, &fresh, each);
    if let Err(error) = &evaluated {
        // without pipelining, headers are verified only at the end
        if error.kind() == Kind::Desynchronized && !session.pipelining() {
            outcomes.clear();
            memory.summaries.clear();
        } else if error.kind().verdict() == Verdict::Reconnect
            && let Some(culprit) = fresh.iter().find(|index| !outcomes.contains_key(index))
        {
            memory.progress = !outcomes.is_empty();
            memory.broke_connection.insert(uid(*culprit).clone());
            memory
                .outcomes
                .insert(uid(*culprit).clone(), RuleOutcome::NeedsHeader);
        }
    }
    let stable = outcomes.iter().filter(|(index, _)| !shared(index));
    memory
        .outcomes
        .extend(stable.map(|(index, outcome)| (uid(*index).clone(), *outcome)));
    for (index, entry) in reconciled.mailbox.entries.iter_mut().enumerate() {
        if entry.known == Known::NEVER_SEEN {
            let outcome = outcomes.get(&index).copied();
            entry.rule_match = outcome
                .unwrap_or_else(|| memory.outcome(uid(index)))
                .matched();
        }
    }
    evaluated
}

/// Evaluates the rules for the messages at `indices`.
///
/// Calls `each` with an index, the outcome, and the sender and the subject if the header was
/// requested; messages that need their header come last and in order. Once the limit of the policy
/// is reached, no more headers are requested, because this run does not fetch the messages after
/// it.
///
/// # Errors
/// The connection is lost. The header that was awaited is that of the first message for which
/// `each` was not called.
fn evaluate_new(
    session: &mut Transaction<Stream>,
    criteria: &Criteria<'_>,
    reconciled: &Reconciled,
    indices: &[usize],
    mut each: impl FnMut(usize, RuleOutcome, Option<HeaderSummary>),
) -> Result<()> {
    let policy = &criteria.policy;
    let entries = &reconciled.mailbox.entries;
    let octets = |index: usize| entries[index].octets;
    let outcome = |index: usize, header: Option<&Header<'_>>| {
        let wanted = reconciled.mailbox.entries[index].force_fetch;
        let candidate = Candidate {
            octets: octets(index),
            header,
            wanted,
        };
        evaluate(criteria.rules, candidate, criteria.now)
    };
    let mut undecided = Vec::new();
    for index in indices {
        match outcome(*index, None) {
            RuleOutcome::NeedsHeader => undecided.push(*index),
            outcome => each(*index, outcome, None),
        }
    }
    let mut room = policy.limit.unwrap_or(u64::MAX);
    let mut undecided = undecided.as_slice();
    while room > 0 && !undecided.is_empty() {
        let count = usize::try_from(room.max(MIN_HEADERS)).unwrap_or(usize::MAX);
        let (batch, rest) = undecided.split_at(count.min(undecided.len()));
        let nums: Vec<_> = batch
            .iter()
            .map(|index| reconciled.mailbox.entries[*index].num)
            .collect();
        let mut awaited = batch.iter();
        session.tops(&nums, |head| {
            let Some(index) = awaited.next() else { return };
            let head = head.ok();
            let head = head.as_ref().map(Head::as_bytes);
            let outcome = head.map_or(RuleOutcome::NeedsHeader, |head| {
                outcome(*index, Some(&Header::read(head)))
            });
            let is_left = outcome
                .matched()
                .is_some_and(|rule| rule.action != RuleAction::Fetch)
                || !entries[*index].force_fetch
                    && policy
                        .max_size
                        .is_some_and(|max| octets(*index) > max.octets());
            room -= u64::from(!is_left && room > 0);
            each(*index, outcome, head.map(summarize));
        })?;
        undecided = rest;
    }
    Ok(())
}
