//! The plan: what to do with each message, and why. It is one pure function, [`plan`].
//!
//! `pouch plan`, `--dry-run` and `fetch` call the same function; they differ only in what they do
//! with the result.
//!
//! The order of the decisions matters. First each message is considered alone: its state in the
//! ledger decides, and for a new one the rules. Then `keep-newest` and `keep-total` delete
//! delivered messages, and count those that will be fetched as well, since otherwise new mail would
//! exceed them until the next run. The limit of a run comes after that, and last the protection of
//! messages that share a UID, which may withdraw a deletion but never adds one.

mod action;
mod forecast;
mod mailbox;

use std::collections::HashSet;

use crate::domain::{
    rule::RuleAction,
    size::ByteSize,
    time::{TimeSpan, Timestamp},
};

pub use action::{Action, AfterFetch, DeleteReason, KeepUntil, SkipReason};
pub use forecast::{Deletions, Forecast, forecast};
pub use mailbox::{Known, ListedMessage, Local, Mailbox};

/// The longest time until a failed message is retried.
const LONGEST_WAIT: TimeSpan = TimeSpan::from_days(32);

/// Returns how long to wait before a message is retried that has failed this many times before:
/// 1, 2, 4 … 32 days.
pub fn retry_delay(failures_before: u32) -> TimeSpan {
    TimeSpan::from_days(1 << failures_before.min(30)).min(LONGEST_WAIT)
}

/// The time for which a delivered message stays on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// No limit.
    Forever,
    /// It is deleted as soon as it is safe on disk.
    None,
    /// This long after it was fetched.
    For(TimeSpan),
}

/// The rules of an account for fetching and deleting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The time for which a delivered message stays on the server.
    pub keep: Keep,
    /// The largest number of delivered messages on the server; the newest stay.
    pub keep_newest: Option<u64>,
    /// The largest total size of delivered messages on the server; the newest stay.
    pub keep_total: Option<ByteSize>,
    /// Whether a message deleted from the Maildir is deleted from the server.
    pub sync_deletions: bool,
    /// Whether anything may be deleted from the server (not with `--keep`).
    pub may_delete: bool,
    /// The largest message to fetch, by LIST.
    pub max_size: Option<ByteSize>,
    /// The largest number of messages to fetch in a run.
    pub limit: Option<u64>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            keep: Keep::Forever,
            keep_newest: None,
            keep_total: None,
            sync_deletions: false,
            may_delete: true,
            max_size: None,
            limit: None,
        }
    }
}

/// The steps for all listed messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One step for each message: first those to fetch, in the order of fetching; then the others,
    /// in the order of the listing.
    pub steps: Vec<Step>,
}

/// The step for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The message's index in the listing.
    pub index: usize,
    /// The action, with its reason.
    pub action: Action,
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
    let entries = mailbox.entries.iter().enumerate();
    let mut steps: Vec<_> = entries
        .map(|(index, entry)| Step {
            index,
            action: action(policy, entry, now),
        })
        .collect();
    if policy.may_delete {
        apply_keep_limits(policy, mailbox, &mut steps, now);
    }
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

/// Returns until when a message stays that was fetched `at`.
fn keep_until(policy: &Policy, at: Timestamp) -> KeepUntil {
    match policy.keep {
        Keep::Forever => KeepUntil::Forever,
        Keep::None => KeepUntil::Due(at),
        Keep::For(span) => KeepUntil::Due(at.after(span)),
    }
}

/// Returns what becomes of a message that is fetched now.
fn after_fetch(policy: &Policy, now: Timestamp) -> AfterFetch {
    match keep_until(policy, now) {
        KeepUntil::Due(due) if due <= now && policy.may_delete => AfterFetch::Delete,
        until => AfterFetch::Keep(until),
    }
}

/// Keeps a message that was delivered `at`, unless it is due.
fn keep(policy: &Policy, at: Timestamp, now: Timestamp) -> Action {
    match keep_until(policy, at) {
        KeepUntil::Due(due) if due <= now && policy.may_delete => match policy.keep {
            Keep::For(span) => Action::Delete(DeleteReason::Kept(span)),
            _ => Action::Delete(DeleteReason::NotKept),
        },
        until => Action::Keep(until),
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

/// Applies `keep-newest` and `keep-total`: the newest delivered, or planned, messages stay.
fn apply_keep_limits(policy: &Policy, mailbox: &Mailbox, steps: &mut [Step], now: Timestamp) {
    if policy.keep_newest.is_none() && policy.keep_total.is_none() {
        return;
    }
    // of messages fetched at the same time the order of rows decides: numbers change
    let mut staying: Vec<_> = mailbox
        .entries
        .iter()
        .enumerate()
        .filter_map(|(at, entry)| {
            let fetched = match (entry.known, steps[at].action) {
                (Known::Delivered { at: fetched, .. }, Action::Keep(_)) => fetched,
                (_, Action::Fetch(AfterFetch::Keep(_))) => now,
                _ => return None,
            };
            Some((fetched, entry.row.is_none(), entry.row, entry.num, at))
        })
        .collect();
    staying.sort_unstable_by(|one, other| other.cmp(one));
    let mut total = 0_u64;
    for (index, (.., at)) in staying.into_iter().enumerate() {
        let step = &mut steps[at];
        total = total.saturating_add(mailbox.entries[at].octets);
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

/// Returns whether the Maildir is plausible, given that `gone` of the `delivered` messages are
/// missing from it and that it has `files` messages of any kind. A disk that is not mounted must
/// not empty a mailbox.
pub fn believable(delivered: usize, gone: usize, files: usize) -> bool {
    gone == 0 || (files > 0 && gone * 2 <= delivered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ids::{MsgNum, RowId},
        rule::RuleMatch,
    };
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp(1_800_000_000);

    fn entry(num: u32, octets: u64, known: Known) -> ListedMessage {
        ListedMessage {
            num: MsgNum(num),
            octets,
            row: Some(RowId(num.into())),
            known,
            rule_match: None,
            force_fetch: false,
            other_address: false,
        }
    }

    fn delivered(days_ago: i64) -> Known {
        Known::Delivered {
            at: Timestamp(NOW.0 - days_ago * 86_400),
            local: Local::Present,
        }
    }

    fn actions(policy: Policy, known: impl IntoIterator<Item = Known>) -> Vec<Action> {
        let entries = (1..)
            .zip(known)
            .map(|(num, known)| entry(num, 1_000, known))
            .collect();
        let mut steps = plan(
            &policy,
            &Mailbox {
                entries,
                ..Mailbox::default()
            },
            NOW,
        )
        .steps;
        steps.sort_by_key(|step| step.index);
        steps.into_iter().map(|step| step.action).collect()
    }

    #[test]
    fn message_known_from_another_address_is_not_deleted() {
        let policy = Policy {
            keep: Keep::None,
            ..Policy::default()
        };
        let mut other = entry(1, 10, delivered(1));
        other.other_address = true;
        let mailbox = Mailbox {
            entries: vec![other, entry(2, 10, delivered(1))],
            ..Mailbox::default()
        };
        let actions: Vec<_> = plan(&policy, &mailbox, NOW)
            .of(&mailbox)
            .map(|(_, action)| action)
            .collect();
        assert_eq!(
            actions,
            [
                Action::Leave(SkipReason::OtherAddress),
                Action::Delete(DeleteReason::NotKept)
            ]
        );
    }

    #[test]
    fn keep_counts_from_the_fetch() {
        let policy = Policy {
            keep: Keep::For(TimeSpan::from_days(30)),
            ..Policy::default()
        };
        assert_eq!(
            actions(
                policy,
                [
                    delivered(31),
                    delivered(30),
                    delivered(29),
                    Known::New {
                        attempts: 0,
                        deferred: false
                    }
                ]
            ),
            [
                Action::Delete(DeleteReason::Kept(TimeSpan::from_days(30))),
                Action::Delete(DeleteReason::Kept(TimeSpan::from_days(30))),
                Action::Keep(KeepUntil::Due(Timestamp(NOW.0 + 86_400))),
                Action::Fetch(AfterFetch::Keep(KeepUntil::Due(Timestamp(
                    NOW.0 + 30 * 86_400
                )))),
            ]
        );
    }

    #[test]
    fn incomplete_message_is_never_deleted() {
        let policy = Policy {
            keep: Keep::None,
            keep_newest: Some(1),
            keep_total: Some(ByteSize::from_octets(1)),
            sync_deletions: true,
            ..Policy::default()
        };
        let later = Timestamp(NOW.0 + 1);
        assert_eq!(
            actions(
                policy,
                [
                    Known::Quarantined { next_try: later },
                    Known::Short { next_try: later },
                    Known::Skipped,
                    delivered(0)
                ]
            ),
            [
                Action::Leave(SkipReason::Quarantine(later)),
                Action::Leave(SkipReason::Short(later)),
                Action::Leave(SkipReason::Skipped),
                Action::Delete(DeleteReason::NotKept),
            ]
        );
    }

    #[test]
    fn the_newest_stay() {
        let policy = Policy {
            keep_newest: Some(2),
            ..Policy::default()
        };
        assert_eq!(
            actions(
                policy,
                [
                    delivered(3),
                    delivered(1),
                    delivered(2),
                    Known::New {
                        attempts: 0,
                        deferred: false
                    }
                ]
            ),
            [
                Action::Delete(DeleteReason::Newest(2)),
                Action::Keep(KeepUntil::Forever),
                Action::Delete(DeleteReason::Newest(2)),
                Action::Fetch(AfterFetch::Keep(KeepUntil::Forever)),
            ]
        );
        let policy = Policy {
            keep_total: Some(ByteSize::from_octets(2_500)),
            ..Policy::default()
        };
        assert_eq!(
            actions(policy, [delivered(3), delivered(2), delivered(1)])[0],
            Action::Delete(DeleteReason::Total(ByteSize::from_octets(2_500)))
        );
    }

    #[test]
    fn message_numbers_do_not_determine_age() {
        let policy = Policy {
            keep_newest: Some(1),
            ..Policy::default()
        };
        let entries = [(1, 3), (2, 1), (3, 2)]
            .map(|(num, row)| ListedMessage {
                row: Some(RowId(row)),
                ..entry(num, 1, delivered(5))
            })
            .to_vec();
        let plan = plan(
            &policy,
            &Mailbox {
                entries,
                ..Mailbox::default()
            },
            NOW,
        );
        let kept: Vec<_> = plan
            .steps
            .iter()
            .filter(|step| matches!(step.action, Action::Keep(_)))
            .collect();
        assert_eq!((kept.len(), kept[0].index), (1, 0));
    }

    #[test]
    fn message_with_a_shared_uid_is_kept_until_all_are_delivered() {
        let quarantined = Known::Quarantined {
            next_try: NOW.after(TimeSpan::from_days(1)),
        };
        let fresh = Known::New {
            attempts: 0,
            deferred: false,
        };
        let policy = Policy {
            keep: Keep::None,
            ..Policy::default()
        };
        // the first `shared_uids` of them share a UID
        let decided = |shared_uids: usize, known: &[Known]| -> Vec<_> {
            let entries = (1..)
                .zip(known)
                .map(|(num, known)| entry(num, 1, *known))
                .collect();
            let mailbox = Mailbox {
                entries,
                shared_uids: (0..shared_uids).map(|index| (index, 0)).collect(),
                ..Mailbox::default()
            };
            plan(&policy, &mailbox, NOW)
                .of(&mailbox)
                .map(|(entry, action)| (entry.num.0, action))
                .collect()
        };
        assert_eq!(
            decided(3, &[delivered(0), quarantined, fresh, delivered(0)]),
            [
                (3, Action::Fetch(AfterFetch::Keep(KeepUntil::Forever))),
                (1, Action::Leave(SkipReason::SharedUid)),
                (
                    2,
                    Action::Leave(SkipReason::Quarantine(NOW.after(TimeSpan::from_days(1))))
                ),
                (4, Action::Delete(DeleteReason::NotKept)),
            ]
        );
        assert_eq!(
            decided(2, &[delivered(0), fresh]),
            [
                (2, Action::Fetch(AfterFetch::Delete)),
                (1, Action::Delete(DeleteReason::NotKept))
            ]
        );
    }

    #[test]
    fn what_failed_before_comes_last_and_the_limit_cuts_it_first() {
        let policy = Policy {
            limit: Some(2),
            ..Policy::default()
        };
        let entries = vec![
            entry(
                1,
                1,
                Known::New {
                    attempts: 2,
                    deferred: false,
                },
            ),
            entry(2, 1, delivered(0)),
            entry(
                3,
                1,
                Known::New {
                    attempts: 0,
                    deferred: false,
                },
            ),
            entry(
                4,
                1,
                Known::New {
                    attempts: 0,
                    deferred: false,
                },
            ),
        ];
        let plan = plan(
            &policy,
            &Mailbox {
                entries,
                ..Mailbox::default()
            },
            NOW,
        );
        let order: Vec<_> = plan.steps.iter().map(|step| step.index).collect();
        assert_eq!(order, [2, 3, 0, 1]);
        assert_eq!(plan.steps[2].action, Action::Leave(SkipReason::Limit(2)));
    }

    #[test]
    fn keep_on_the_command_line_deletes_nothing() {
        let policy = Policy {
            keep: Keep::None,
            keep_newest: Some(1),
            sync_deletions: true,
            may_delete: false,
            ..Policy::default()
        };
        let gone = Known::Delivered {
            at: NOW,
            local: Local::Deleted,
        };
        assert!(
            actions(
                policy,
                [
                    delivered(9),
                    gone,
                    Known::DeleteRequested,
                    Known::New {
                        attempts: 0,
                        deferred: false
                    }
                ]
            )
            .iter()
            .all(|action| !matches!(
                action,
                Action::Delete(_) | Action::Fetch(AfterFetch::Delete)
            ))
        );
    }

    #[test]
    fn rule_applies_to_new_messages() {
        let new = Known::New {
            attempts: 0,
            deferred: false,
        };
        let ruled = |action, known, may_delete| {
            let rule_match = RuleMatch { index: 0, action };
            let entries = vec![ListedMessage {
                rule_match: Some(rule_match),
                ..entry(1, 1_000, known)
            }];
            let policy = Policy {
                may_delete,
                max_size: Some(ByteSize::from_octets(999)),
                ..Policy::default()
            };
            (
                plan(
                    &policy,
                    &Mailbox {
                        entries,
                        ..Mailbox::default()
                    },
                    NOW,
                )
                .steps[0]
                    .action,
                rule_match,
            )
        };
        let (action, rule_match) = ruled(RuleAction::Skip, new, true);
        assert_eq!(action, Action::Leave(SkipReason::ByRule(rule_match)));
        let (action, rule_match) = ruled(RuleAction::Delete, new, true);
        assert_eq!(action, Action::Delete(DeleteReason::ByRule(rule_match)));
        let (action, rule_match) = ruled(RuleAction::Delete, new, false);
        assert_eq!(
            action,
            Action::Leave(SkipReason::DeletionDeferred(rule_match))
        );
        assert_eq!(
            ruled(RuleAction::Fetch, new, true).0,
            Action::Leave(SkipReason::Oversize(ByteSize::from_octets(999)))
        );
        assert_eq!(
            ruled(RuleAction::Delete, delivered(0), true).0,
            Action::Keep(KeepUntil::Forever)
        );
    }

    #[test]
    fn an_unmounted_disk_empties_no_mailbox() {
        assert!(believable(10, 0, 0));
        assert!(believable(10, 5, 5));
        assert!(!believable(10, 6, 4));
        assert!(!believable(10, 1, 0));
    }

    fn any_known() -> impl Strategy<Value = Known> {
        let day = |days: i64| Timestamp(NOW.0 + days * 86_400);
        let when = || (-100i64..100).prop_map(day);
        // none is set further away, unless the clock was ahead
        let next_try = || (-100i64..=32).prop_map(day);
        prop_oneof![
            (0u32..4).prop_map(|attempts| Known::New {
                attempts,
                deferred: false
            }),
            (when(), any::<bool>()).prop_map(|(at, there)| Known::Delivered {
                at,
                local: if there {
                    Local::Present
                } else {
                    Local::Deleted
                },
            }),
            next_try().prop_map(|next_try| Known::Short { next_try }),
            next_try().prop_map(|next_try| Known::Quarantined { next_try }),
            Just(Known::Skipped),
            Just(Known::DeleteRequested),
        ]
    }

    fn any_ruling() -> impl Strategy<Value = Option<RuleMatch>> {
        let action = prop_oneof![
            Just(RuleAction::Fetch),
            Just(RuleAction::Skip),
            Just(RuleAction::Delete)
        ];
        proptest::option::of(
            (0u32..3, action).prop_map(|(index, action)| RuleMatch { index, action }),
        )
    }

    fn any_keep() -> impl Strategy<Value = Keep> {
        prop_oneof![
            Just(Keep::Forever),
            Just(Keep::None),
            (0u64..60).prop_map(|days| Keep::For(TimeSpan::from_days(days)))
        ]
    }

    prop_compose! {
        fn any_policy()(
            keep in any_keep(),
            keep_newest in proptest::option::of(1u64..5),
            keep_total in proptest::option::of((1u64..5000).prop_map(ByteSize::from_octets)),
            sync_deletions in any::<bool>(),
            may_delete in any::<bool>(),
            max_size in proptest::option::of((0u64..2000).prop_map(ByteSize::from_octets)),
        ) -> Policy {
            Policy { keep, keep_newest, keep_total, sync_deletions, may_delete, max_size, limit: None }
        }
    }

    fn any_scan() -> impl Strategy<Value = Mailbox> {
        proptest::collection::vec((0u64..3000, any_known(), any_ruling()), 0..12).prop_map(|all| {
            Mailbox {
                entries: (1..)
                    .zip(all)
                    .map(|(num, (octets, known, rule_match))| ListedMessage {
                        rule_match,
                        ..entry(num, octets, known)
                    })
                    .collect(),
                ..Mailbox::default()
            }
        })
    }

    /// Returns the indices of the messages to delete.
    fn deleted(plan: &Plan) -> Vec<usize> {
        let deletes = |step: &&Step| matches!(step.action, Action::Delete(_));
        let mut indices: Vec<_> = plan
            .steps
            .iter()
            .filter(deletes)
            .map(|step| step.index)
            .collect();
        indices.sort_unstable();
        indices
    }

    proptest! {
        #[test]
        fn each_message_has_one_step(policy in any_policy(), mailbox in any_scan()) {
            let mut indices: Vec<_> = plan(&policy, &mailbox, NOW).steps.iter().map(|step| step.index).collect();
            indices.sort_unstable();
            prop_assert_eq!(indices, (0..mailbox.entries.len()).collect::<Vec<_>>());
        }

        #[test]
        fn only_delivered_or_requested_messages_are_deleted(policy in any_policy(), mailbox in any_scan()) {
            for index in deleted(&plan(&policy, &mailbox, NOW)) {
                let ListedMessage { known, rule_match, .. } = mailbox.entries[index];
                let ruled = matches!(known, Known::New { .. }) && rule_match.is_some_and(|rule_match| rule_match.action == RuleAction::Delete);
                prop_assert!(ruled || matches!(known, Known::Delivered { .. } | Known::DeleteRequested), "{:?}", known);
                prop_assert!(policy.may_delete);
            }
        }

        #[test]
        fn once_due_always_due(policy in any_policy(), mailbox in any_scan(), days in 0i64..100) {
            let later = plan(&policy, &mailbox, Timestamp(NOW.0 + days * 86_400));
            for index in deleted(&plan(&policy, &mailbox, NOW)) {
                prop_assert!(deleted(&later).contains(&index));
            }
        }

        #[test]
        fn keeping_longer_never_deletes_more(policy in any_policy(), mailbox in any_scan(), days in 0u64..60, more in 0u64..60) {
            let keeping = |days| Policy { keep: Keep::For(TimeSpan::from_days(days)), keep_newest: None, keep_total: None, ..policy };
            let long = deleted(&plan(&keeping(days + more), &mailbox, NOW));
            let short = deleted(&plan(&keeping(days), &mailbox, NOW));
            prop_assert!(long.iter().all(|index| short.contains(index)));
        }

        #[test]
        fn carried_out_it_leaves_nothing_to_do(policy in any_policy(), mailbox in any_scan()) {
            let mut after = mailbox.clone();
            for (ListedMessage { num, .. }, action) in plan(&policy, &mailbox, NOW).of(&mailbox) {
                match action {
                    Action::Delete(_) | Action::Fetch(AfterFetch::Delete) => after.entries.retain(|entry| entry.num != *num),
                    Action::Fetch(_) => {
                        let entry = after.entries.iter_mut().find(|entry| entry.num == *num).unwrap();
                        entry.known = Known::Delivered { at: NOW, local: Local::Present };
                    }
                    Action::Keep(_) | Action::Leave(_) => {}
                }
            }
            // a completed truncated message counts for keep-newest one round later
            prop_assume!(!mailbox.entries.iter().any(|entry| matches!(entry.known, Known::Short { .. })));
            let again = plan(&policy, &after, NOW);
            prop_assert!(again.steps.iter().all(|step| matches!(step.action, Action::Keep(_) | Action::Leave(_))), "{:?}", again);
        }
    }
}
