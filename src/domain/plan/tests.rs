//! Tests of the plan.

use super::*;
use crate::domain::{ids::MsgNum, rule::RuleMatch, size::ByteSize};
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
fn message_that_may_not_arrive_does_not_replace_a_delivered_one() {
    let policy = Policy {
        keep_newest: Some(2),
        ..Policy::default()
    };
    let failed = Known::New {
        attempts: 1,
        deferred: false,
    };
    let deferred = Known::New {
        attempts: 0,
        deferred: true,
    };
    // both are requested again
    let due = Known::Quarantined { next_try: NOW };
    for known in [failed, deferred, due] {
        assert_eq!(
            actions(policy, [delivered(2), delivered(1), known]),
            [
                Action::Keep(KeepUntil::Forever),
                Action::Keep(KeepUntil::Forever),
                Action::Fetch(AfterFetch::Keep(KeepUntil::Forever)),
            ],
            "{known:?}"
        );
    }
}

#[test]
fn message_beyond_the_limit_does_not_replace_a_delivered_one() {
    let policy = Policy {
        keep_newest: Some(2),
        limit: Some(1),
        ..Policy::default()
    };
    let new = Known::NEVER_SEEN;
    assert_eq!(
        actions(policy, [delivered(2), delivered(1), new, new, new]),
        [
            Action::Delete(DeleteReason::Newest(2)),
            Action::Keep(KeepUntil::Forever),
            Action::Fetch(AfterFetch::Keep(KeepUntil::Forever)),
            Action::Leave(SkipReason::Limit(1)),
            Action::Leave(SkipReason::Limit(1)),
        ]
    );
}

#[test]
fn message_that_did_not_arrive_replaces_no_delivered_one() {
    let policy = Policy {
        keep_newest: Some(2),
        limit: Some(2),
        ..Policy::default()
    };
    let new = Known::NEVER_SEEN;
    let known = [delivered(2), delivered(1), new, new, new];
    let mailbox = Mailbox {
        entries: (1..)
            .zip(known)
            .map(|(num, known)| entry(num, 1, known))
            .collect(),
        ..Mailbox::default()
    };
    let deleted_if_safe = |safe: &[i64]| -> Vec<_> {
        let plan = replan(&policy, &mailbox, NOW, |row| safe.contains(&row.0));
        deleted(&plan)
    };
    assert_eq!(deleted_if_safe(&[3, 4]), [0, 1]);
    assert_eq!(
        deleted_if_safe(&[3, 4]),
        deleted(&plan(&policy, &mailbox, NOW))
    );
    assert_eq!(deleted_if_safe(&[4]), [0]);
    assert!(deleted_if_safe(&[]).is_empty());
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
    // no time is postponed, unless the clock was ahead
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
    proptest::option::of((0u32..3, action).prop_map(|(index, action)| RuleMatch { index, action }))
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
    fn fewer_arrivals_never_delete_more(policy in any_policy(), mailbox in any_scan(), limit in proptest::option::of(0u64..4), safe in any::<u16>()) {
        let policy = Policy { limit, ..policy };
        let is_safe = |row: RowId| safe & (1 << (row.0 % 16)) != 0;
        let (planned, after) = (plan(&policy, &mailbox, NOW), replan(&policy, &mailbox, NOW, is_safe));
        for index in deleted(&after) {
            prop_assert!(deleted(&planned).contains(&index));
        }
        prop_assert_eq!(plan(&policy, &mailbox, NOW), replan(&policy, &mailbox, NOW, |_| true));
    }

    #[test]
    fn keep_newest_leaves_as_many_safe_messages(policy in any_policy(), mailbox in any_scan(), safe in any::<u16>()) {
        let newest = 3;
        let policy = Policy { keep: Keep::Forever, keep_newest: Some(newest), keep_total: None, sync_deletions: false, may_delete: true, ..policy };
        let is_safe = |row: RowId| safe & (1 << (row.0 % 16)) != 0;
        let plan = replan(&policy, &mailbox, NOW, is_safe);
        let (mut had, mut left) = (0, 0);
        for (entry, action) in plan.of(&mailbox) {
            let arrives = matches!(action, Action::Fetch(_)) && entry.row.is_some_and(is_safe);
            if matches!(entry.known, Known::Delivered { .. }) || arrives {
                had += 1;
                left += u64::from(!matches!(action, Action::Delete(_) | Action::Fetch(AfterFetch::Delete)));
            }
        }
        prop_assert!(left >= newest.min(had), "{} of {}", left, had);
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
        // a message that failed before counts for keep-newest one round later
        let is_retried = |entry: &ListedMessage| !matches!(
            entry.known,
            Known::NEVER_SEEN | Known::Delivered { .. } | Known::Skipped | Known::DeleteRequested
        );
        let rounds = 1 + usize::from(mailbox.entries.iter().any(is_retried));
        let after = (0..rounds).fold(mailbox, |mailbox, _| carried_out(&policy, &mailbox));
        let again = plan(&policy, &after, NOW);
        prop_assert!(again.steps.iter().all(|step| matches!(step.action, Action::Keep(_) | Action::Leave(_))), "{:?}", again);
    }
}

/// Returns the mailbox after the plan was carried out.
fn carried_out(policy: &Policy, mailbox: &Mailbox) -> Mailbox {
    let mut after = mailbox.clone();
    for (ListedMessage { num, .. }, action) in plan(policy, mailbox, NOW).of(mailbox) {
        match action {
            Action::Delete(_) | Action::Fetch(AfterFetch::Delete) => {
                after.entries.retain(|entry| entry.num != *num);
            }
            Action::Fetch(_) => {
                let mut entries = after.entries.iter_mut();
                entries.find(|entry| entry.num == *num).unwrap().known = delivered(0);
            }
            Action::Keep(_) | Action::Leave(_) => {}
        }
    }
    after
}
