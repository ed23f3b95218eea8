//! The plan: what to do with each message, and why. It is one pure function, [`plan`].
//!
//! `pouch plan`, `--dry-run` and `fetch` call the same function; they differ only in what they do
//! with the result.
//!
//! The order of the decisions matters. First each message is considered alone: its state in the
//! ledger decides, and for a new one the rules. Then the limit of a run applies, and then
//! `keep-newest` and `keep-total`, which also count the new messages of this run, since otherwise
//! new mail would exceed them until the next run ([`retention`]). Finally, messages that share a
//! UID are protected, which may withdraw a deletion but never adds one.

mod action;
mod forecast;
mod mailbox;
mod policy;
mod retention;

use std::collections::HashSet;

use crate::domain::{
    ids::RowId,
    rule::RuleAction,
    time::{TimeSpan, Timestamp},
};

pub use action::{Action, AfterFetch, DeleteReason, KeepUntil, SkipReason, Step};
pub use forecast::{Deletions, Forecast, forecast};
pub use mailbox::{Known, ListedMessage, Local, Mailbox};
pub use policy::{Keep, Policy};
use retention::{after_fetch, apply_keep_limits, keep};

/// The longest time until a failed message is retried.
const LONGEST_WAIT: TimeSpan = TimeSpan::from_days(32);

/// Returns how long to wait before a message is retried that has failed this many times before:
/// 1, 2, 4 … 32 days.
pub fn retry_delay(failures_before: u32) -> TimeSpan {
    TimeSpan::from_days(1 << failures_before.min(30)).min(LONGEST_WAIT)
}

/// The steps for all listed messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One step for each message: first those to fetch, in the order of fetching; then the others,
    /// in the order of the listing.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Returns the messages of `mailbox`, from which the plan was made, each with its action.
    pub fn of<'s>(
        &'s self,
        mailbox: &'s Mailbox,
    ) -> impl Iterator<Item = (&'s ListedMessage, Action)> {
        self.steps
            .iter()
            .map(|step| (&mailbox.entries[step.index], step.action))
    }
}

/// Decides what to do with each message of `mailbox` at the time `now`.
///
/// Only a message that was delivered complete, or whose deletion the user or a rule requested, is
/// ever deleted. One that is fetched and not kept is deleted after that (see
/// [`AfterFetch::Delete`]).
pub fn plan(policy: &Policy, mailbox: &Mailbox, now: Timestamp) -> Plan {
    plan_counting(policy, mailbox, now, |_| true)
}

/// Makes a plan again after its messages were fetched. `is_safe` returns whether the message of a
/// row is complete and durable.
///
/// New messages that did not arrive no longer count for `keep-newest` and `keep-total`, so that no
/// delivered message is deleted in their place. The other steps stay the same.
pub fn replan(
    policy: &Policy,
    mailbox: &Mailbox,
    now: Timestamp,
    is_safe: impl Fn(RowId) -> bool,
) -> Plan {
    plan_counting(policy, mailbox, now, |entry| {
        entry.row.is_some_and(&is_safe)
    })
}

/// Makes the plan. `counts` returns whether a new message counts for `keep-newest` and
/// `keep-total`.
fn plan_counting(
    policy: &Policy,
    mailbox: &Mailbox,
    now: Timestamp,
    counts: impl Fn(&ListedMessage) -> bool,
) -> Plan {
    let entries = mailbox.entries.iter().enumerate();
    let mut steps: Vec<_> = entries
        .map(|(index, entry)| Step {
            index,
            action: action(policy, entry, now),
        })
        .collect();
    // messages that failed before come last, so that they cannot delay the others
    let fetched = |step: &Step| matches!(step.action, Action::Fetch(_));
    // most polls of large mailboxes fetch nothing and need no second list
    if steps.iter().any(fetched) {
        let is_new = |step: &Step| mailbox.entries[step.index].known == Known::NEVER_SEEN;
        steps.sort_by_key(|step| (!fetched(step), !is_new(step)));
    }
    if let Some(limit) = policy.limit {
        let over = usize::try_from(limit).unwrap_or(usize::MAX);
        for step in steps.iter_mut().filter(|step| fetched(step)).skip(over) {
            step.action = Action::Leave(SkipReason::Limit(limit));
        }
    }
    if policy.may_delete {
        apply_keep_limits(policy, mailbox, &mut steps, now, counts);
    }
    protect_shared_uids(mailbox, &mut steps);
    postpone_deletions(mailbox, &mut steps, now);
    for step in &mut steps {
        if mailbox.entries[step.index].other_address && matches!(step.action, Action::Delete(_)) {
            step.action = Action::Leave(SkipReason::OtherAddress);
        }
    }
    Plan { steps }
}

/// Decides what to do with one message, regardless of the others.
fn action(policy: &Policy, entry: &ListedMessage, now: Timestamp) -> Action {
    match entry.known {
        Known::New { .. } => match entry.rule_match {
            Some(rule) if rule.action == RuleAction::Skip => {
                Action::Leave(SkipReason::ByRule(rule))
            }
            Some(rule) if rule.action == RuleAction::Delete && policy.may_delete => {
                Action::Delete(DeleteReason::ByRule(rule))
            }
            Some(rule) if rule.action == RuleAction::Delete => {
                Action::Leave(SkipReason::DeletionDeferred(rule))
            }
            _ => fetch(policy, entry, after_fetch(policy, now)),
        },
        Known::Quarantined { next_try } if is_deferred(next_try, now) => {
            Action::Leave(SkipReason::Quarantine(next_try))
        }
        Known::Quarantined { .. } => fetch(policy, entry, after_fetch(policy, now)),
        Known::Short { next_try } if is_deferred(next_try, now) => {
            Action::Leave(SkipReason::Short(next_try))
        }
        Known::Short { .. } => fetch(policy, entry, AfterFetch::Complete),
        Known::Delivered {
            local: Local::Deleted,
            ..
        } if policy.sync_deletions && policy.may_delete => {
            Action::Delete(DeleteReason::DeletedLocally)
        }
        Known::Delivered { at, .. } => keep(policy, at, now),
        Known::DeleteRequested if policy.may_delete => Action::Delete(DeleteReason::OnRequest),
        Known::DeleteRequested | Known::Skipped => Action::Leave(SkipReason::Skipped),
    }
}

/// Fetches a message, unless it is too large and the user did not request it.
fn fetch(policy: &Policy, entry: &ListedMessage, after: AfterFetch) -> Action {
    match policy.max_size {
        Some(max) if entry.octets > max.octets() && !entry.force_fetch => {
            Action::Leave(SkipReason::Oversize(max))
        }
        _ => Action::Fetch(after),
    }
}

/// Returns whether a message has to wait until `next_try`. A time too far in the future was set by
/// a clock that was ahead, and is ignored.
fn is_deferred(next_try: Timestamp, now: Timestamp) -> bool {
    next_try > now && next_try.since(now) <= LONGEST_WAIT.seconds()
}

/// Keeps all messages that share a UID until each of them is delivered: only their order in the
/// listing distinguishes them.
fn protect_shared_uids(mailbox: &Mailbox, steps: &mut [Step]) {
    if mailbox.shared_uids.is_empty() {
        return;
    }
    let twin = |step: &Step| mailbox.shared_uids.get(&step.index).copied();
    let is_deferred = |step: &&Step| {
        matches!(step.action, Action::Leave(_))
            && matches!(
                mailbox.entries[step.index].known,
                Known::New { .. } | Known::Quarantined { .. } | Known::Skipped
            )
    };
    let waiting: HashSet<_> = steps.iter().filter(is_deferred).filter_map(twin).collect();
    for step in steps {
        if twin(step).is_some_and(|twin| waiting.contains(&twin)) {
            step.action = match step.action {
                Action::Fetch(AfterFetch::Delete) => {
                    Action::Fetch(AfterFetch::Keep(KeepUntil::Forever))
                }
                Action::Delete(_) => Action::Leave(SkipReason::SharedUid),
                other => other,
            };
        }
    }
}

/// Keeps messages that the server failed to delete until the next attempt is due.
fn postpone_deletions(mailbox: &Mailbox, steps: &mut [Step], now: Timestamp) {
    if mailbox.deletion_suspects.is_empty() {
        return;
    }
    for step in steps {
        let row = mailbox.entries[step.index].row;
        let next_try = row.and_then(|row| mailbox.deletion_suspects.get(&row));
        if let (Action::Delete(_), Some(next_try)) = (step.action, next_try)
            && is_deferred(*next_try, now)
        {
            step.action = Action::Leave(SkipReason::DeletionFailed(*next_try));
        }
    }
}

/// Returns whether the Maildir is plausible, given that `gone` of the `delivered` messages are
/// missing from it and that it has `files` messages of any kind. A disk that is not mounted must
/// not empty a mailbox.
pub fn believable(delivered: usize, gone: usize, files: usize) -> bool {
    gone == 0 || (files > 0 && gone * 2 <= delivered)
}

#[cfg(test)]
mod tests;
