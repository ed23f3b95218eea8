//! Retention: how long delivered messages stay on the server.
//!
//! `keep` considers each message alone. `keep-newest` and `keep-total` compare it with newer
//! messages, of which only safe ones count: those that were delivered before, and the new ones that
//! this run fetches. If a message counted that may not arrive, a delivered one would be deleted in
//! its place, and fewer than `keep-newest` copies would be left. So these do not count:
//!
//! - a message that failed or was deferred before, even if it is requested again. If it arrives, it
//!   counts from the next run on;
//! - a new message that the limit of the run excludes;
//! - a new message that fails in this run: after fetching, [`replan`](super::replan) makes the plan
//!   again.

use super::{
    action::{Action, AfterFetch, DeleteReason, KeepUntil, Step},
    mailbox::{Known, ListedMessage, Mailbox},
    policy::{Keep, Policy},
};
use crate::domain::time::Timestamp;

/// Returns the time until which a message that was fetched `at` stays on the server.
pub(super) fn keep_until(policy: &Policy, at: Timestamp) -> KeepUntil {
    match policy.keep {
        Keep::Forever => KeepUntil::Forever,
        Keep::None => KeepUntil::Due(at),
        Keep::For(span) => KeepUntil::Due(at.after(span)),
    }
}

/// Returns the action for a message that is fetched now.
pub(super) fn after_fetch(policy: &Policy, now: Timestamp) -> AfterFetch {
    match keep_until(policy, now) {
        KeepUntil::Due(due) if due <= now && policy.may_delete => AfterFetch::Delete,
        until => AfterFetch::Keep(until),
    }
}

/// Keeps a message that was delivered `at`, unless it is due.
pub(super) fn keep(policy: &Policy, at: Timestamp, now: Timestamp) -> Action {
    match keep_until(policy, at) {
        KeepUntil::Due(due) if due <= now && policy.may_delete => match policy.keep {
            Keep::For(span) => Action::Delete(DeleteReason::Kept(span)),
            _ => Action::Delete(DeleteReason::NotKept),
        },
        until => Action::Keep(until),
    }
}

/// Applies `keep-newest` and `keep-total`: the newest messages stay. `counts` returns whether a new
/// message is one of them.
pub(super) fn apply_keep_limits(
    policy: &Policy,
    mailbox: &Mailbox,
    steps: &mut [Step],
    now: Timestamp,
    counts: impl Fn(&ListedMessage) -> bool,
) {
    if policy.keep_newest.is_none() && policy.keep_total.is_none() {
        return;
    }
    // among messages that were fetched at the same time, the order of rows decides, since message
    // numbers change
    let mut staying: Vec<_> = steps
        .iter()
        .enumerate()
        .filter_map(|(at, step)| {
            let entry = &mailbox.entries[step.index];
            let fetched = match (entry.known, step.action) {
                (Known::Delivered { at: fetched, .. }, Action::Keep(_)) => fetched,
                (Known::NEVER_SEEN, Action::Fetch(AfterFetch::Keep(_))) if counts(entry) => now,
                _ => return None,
            };
            Some((fetched, entry.row.is_none(), entry.row, entry.num, at))
        })
        .collect();
    staying.sort_unstable_by(|one, other| other.cmp(one));
    let mut total = 0_u64;
    for (index, (.., at)) in staying.into_iter().enumerate() {
        let step = &mut steps[at];
        total = total.saturating_add(mailbox.entries[step.index].octets);
        let why = match (policy.keep_newest, policy.keep_total) {
            (Some(newest), _) if index as u64 >= newest => DeleteReason::Newest(newest),
            (_, Some(most)) if total > most.octets() => DeleteReason::Total(most),
            _ => continue,
        };
        step.action = match step.action {
            Action::Fetch(_) => Action::Fetch(AfterFetch::Delete),
            _ => Action::Delete(why),
        };
    }
}
