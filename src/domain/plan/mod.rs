//! What to do to each message, and why: one pure function, [`plan`].
//!
//! `pouch plan`, `--dry-run` and `fetch` all ask it; they differ only in what they do with the
//! answer.

use std::collections::{HashMap, HashSet};

use crate::domain::{
    ids::{MsgNum, RowId},
    rule::{Ruling, Verb},
    size::ByteSize,
    time::{TimeSpan, Timestamp},
};

/// A message that failed too often is left alone for this long at most.
pub const LONGEST_WAIT: TimeSpan = TimeSpan::from_days(32);

/// How long a delivered message stays on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// For ever.
    Forever,
    /// Not at all: it is deleted as soon as it is safe on disk.
    None,
    /// For this long after it was fetched.
    For(TimeSpan),
}

/// What an account wants fetched and deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a delivered message stays on the server.
    pub keep: Keep,
    /// How many delivered messages stay on the server at most, the newest ones.
    pub keep_newest: Option<u64>,
    /// How much delivered mail stays on the server at most, the newest of it.
    pub keep_total: Option<ByteSize>,
    /// Whether a message deleted from the Maildir is deleted from the server.
    pub sync_deletions: bool,
    /// Whether anything may be deleted from the server at all (`--keep` says no).
    pub may_delete: bool,
    /// The largest message to fetch, by LIST.
    pub max_size: Option<ByteSize>,
    /// How many messages to fetch in a run at most.
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

/// What to do to each listed message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// A step a message: those to fetch in the order to fetch them in, all others in the order of
    /// the listing.
    pub steps: Vec<Step>,
}

/// What to do to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its place in the listing.
    pub place: usize,
    /// What to do to it, and why.
    pub action: Action,
}

impl Plan {
    /// The messages of `scan`, which the plan was made from, each with what to do to it.
    pub fn of<'s>(&'s self, scan: &'s Scan) -> impl Iterator<Item = (&'s Entry, Action)> {
        self.steps
            .iter()
            .map(|step| (&scan.entries[step.place], step.action))
    }
}

/// What to do to a message, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Fetch it.
    Fetch(Then),
    /// Delete it from the server.
    Delete(Why),
    /// It was delivered and stays on the server.
    Keep(Until),
    /// It was not delivered and stays on the server.
    Leave(Left),
}

/// What becomes of a message on the server once it was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    /// It stays.
    Keep(Until),
    /// It is deleted.
    Delete,
    /// It came shorter than listed before: if more of it comes now, it is delivered once more.
    Complete,
}

/// Why a message is deleted from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// It was fetched longer ago than this.
    Kept(TimeSpan),
    /// `keep = "none"`.
    NotKept,
    /// So many newer ones are kept.
    Newest(u64),
    /// So much newer mail is kept.
    Total(ByteSize),
    /// The user deleted it from the Maildir.
    DeletedLocally,
    /// The user ordered it.
    Ordered,
    /// This rule says so: it is not fetched at all.
    Ruled(Ruling),
}

/// How long a delivered message stays on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Until {
    /// For ever, as far as time goes.
    Forever,
    /// Until then.
    Due(Timestamp),
}

/// Why a message is not fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Left {
    /// It is larger than this.
    Oversize(ByteSize),
    /// It failed too often; it is tried again then.
    Quarantine(Timestamp),
    /// It came shorter than listed; it is asked for again then.
    Short(Timestamp),
    /// So many are fetched in this run already.
    Limit(u64),
    /// It was set aside before, by a rule or a filter, or on request.
    Skipped,
    /// Another message with its UID is not safe yet.
    Twin,
    /// This rule says so: it is set aside.
    Ruled(Ruling),
    /// This rule deletes it, but not in this run.
    Spared(Ruling),
}

/// Decides what to do to each message of `scan` at the time `now`.
///
/// Only what was delivered whole, or is to be deleted on the user's order or by a rule, is ever
/// deleted; a message that is fetched and not kept is deleted after that (see [`Then::Delete`]).
pub fn plan(policy: &Policy, scan: &Scan, now: Timestamp) -> Plan {
    let due = |at: Timestamp| match policy.keep {
        Keep::Forever => Until::Forever,
        Keep::None => Until::Due(at),
        Keep::For(span) => Until::Due(at.after(span)),
    };
    let fetched = || match due(now) {
        Until::Due(at) if at <= now && policy.may_delete => Then::Delete,
        until => Then::Keep(until),
    };
    let kept = |at: Timestamp| match due(at) {
        Until::Due(due) if due <= now && policy.may_delete => Action::Delete(match policy.keep {
            Keep::For(span) => Why::Kept(span),
            _ => Why::NotKept,
        }),
        until => Action::Keep(until),
    };
    let step = |(place, entry): (usize, &Entry)| {
        let oversize = policy
            .max_size
            .filter(|max| entry.octets > max.octets())
            .map(|max| Action::Leave(Left::Oversize(max)));
        let action = match entry.known {
            Known::New { .. } => match entry.ruling {
                Some(ruling) if ruling.verb == Verb::Skip => Action::Leave(Left::Ruled(ruling)),
                Some(ruling) if ruling.verb == Verb::Delete && policy.may_delete => {
                    Action::Delete(Why::Ruled(ruling))
                }
                Some(ruling) if ruling.verb == Verb::Delete => Action::Leave(Left::Spared(ruling)),
                _ => oversize.unwrap_or_else(|| Action::Fetch(fetched())),
            },
            Known::Quarantined { next_try } if waits(next_try, now) => {
                Action::Leave(Left::Quarantine(next_try))
            }
            Known::Quarantined { .. } => oversize.unwrap_or_else(|| Action::Fetch(fetched())),
            Known::Short { next_try } if waits(next_try, now) => {
                Action::Leave(Left::Short(next_try))
            }
            Known::Short { .. } => oversize.unwrap_or(Action::Fetch(Then::Complete)),
            Known::Delivered {
                local: Local::Deleted,
                ..
            } if policy.sync_deletions && policy.may_delete => Action::Delete(Why::DeletedLocally),
            Known::Delivered { at, .. } => kept(at),
            Known::Doomed if policy.may_delete => Action::Delete(Why::Ordered),
            Known::Doomed | Known::Skipped => Action::Leave(Left::Skipped),
        };
        Step { place, action }
    };
    let mut steps: Vec<_> = scan.entries.iter().enumerate().map(step).collect();
    if policy.may_delete {
        trim(policy, scan, &mut steps, now);
    }
    // What failed before comes last: it must not stand in the way of what never did.
    let fetched = |step: &Step| matches!(step.action, Action::Fetch(_));
    // most polls of large mailboxes fetch nothing: no need for a second list
    if steps.iter().any(fetched) {
        let fresh = Known::New {
            attempts: 0,
            put_off: false,
        };
        steps.sort_by_key(|step| (!fetched(step), scan.entries[step.place].known != fresh));
    }
    if let Some(limit) = policy.limit {
        let over = usize::try_from(limit).unwrap_or(usize::MAX);
        for step in steps.iter_mut().filter(|step| fetched(step)).skip(over) {
            step.action = Action::Leave(Left::Limit(limit));
        }
    }
    hold_twins(scan, &mut steps);
    Plan { steps }
}

/// Whether a message is left alone until `next_try`; one that is further away than any was set is
/// from a clock that was ahead then.
fn waits(next_try: Timestamp, now: Timestamp) -> bool {
    next_try > now && next_try.since(now) <= LONGEST_WAIT.seconds()
}

/// Of messages that share a UID none is deleted while another one is not safe: which is which, only
/// their places in the listing tell.
fn hold_twins(scan: &Scan, steps: &mut [Step]) {
    if scan.twins.is_empty() {
        return;
    }
    let twin = |step: &Step| scan.twins.get(&step.place).copied();
    let waits = |step: &&Step| {
        matches!(step.action, Action::Leave(_))
            && matches!(
                scan.entries[step.place].known,
                Known::New { .. } | Known::Quarantined { .. } | Known::Skipped
            )
    };
    let waiting: HashSet<_> = steps.iter().filter(waits).filter_map(twin).collect();
    for step in steps {
        if twin(step).is_some_and(|twin| waiting.contains(&twin)) {
            step.action = match step.action {
                Action::Fetch(Then::Delete) => Action::Fetch(Then::Keep(Until::Forever)),
                Action::Delete(_) => Action::Leave(Left::Twin),
                other => other,
            };
        }
    }
}

/// `keep-newest` and `keep-total`: of the messages that are delivered, or will be, the newest stay.
fn trim(policy: &Policy, scan: &Scan, steps: &mut [Step], now: Timestamp) {
    if policy.keep_newest.is_none() && policy.keep_total.is_none() {
        return;
    }
    // of those fetched at the same time the order of the ledger counts: numbers change
    let mut staying: Vec<_> = scan
        .entries
        .iter()
        .enumerate()
        .filter_map(|(at, entry)| {
            let fetched = match (entry.known, steps[at].action) {
                (Known::Delivered { at: fetched, .. }, Action::Keep(_)) => fetched,
                (_, Action::Fetch(Then::Keep(_))) => now,
                _ => return None,
            };
            Some((fetched, entry.row.is_none(), entry.row, entry.num, at))
        })
        .collect();
    staying.sort_unstable_by(|one, other| other.cmp(one));
    let mut total = 0_u64;
    for (place, (.., at)) in staying.into_iter().enumerate() {
        let step = &mut steps[at];
        total = total.saturating_add(scan.entries[at].octets);
        let why = match (policy.keep_newest, policy.keep_total) {
            (Some(newest), _) if place as u64 >= newest => Why::Newest(newest),
            (_, Some(most)) if total > most.octets() => Why::Total(most),
            _ => continue,
        };
        step.action = match step.action {
            Action::Fetch(_) => Action::Fetch(Then::Delete),
            _ => Action::Delete(why),
        };
    }
}

/// Whether the Maildir can be believed when `gone` of the `delivered` messages that should lie in
/// it do not, and `files` messages of any kind do: a disk that is not mounted must not empty a
/// mailbox.
pub fn believable(delivered: usize, gone: usize, files: usize) -> bool {
    gone == 0 || (files > 0 && gone * 2 <= delivered)
}

/// What the server shows now, joined with what the ledger knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The messages, in the order of the listing.
    pub entries: Vec<Entry>,
    /// For the place of each message that shares its UID with others, the place of the first of
    /// them.
    pub twins: HashMap<usize, usize>,
}

/// One listed message and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in this session.
    pub num: MsgNum,
    /// Its size by LIST.
    pub octets: u64,
    /// Its row in the ledger, if it has one.
    pub row: Option<RowId>,
    /// What the ledger knows.
    pub known: Known,
    /// The rule that takes it, if it is new and one does.
    pub ruling: Option<Ruling>,
}

/// What the ledger knows of a listed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Not delivered yet.
    New {
        /// How often it failed.
        attempts: u32,
        /// Whether it was put off in an earlier run, for trouble that passes.
        put_off: bool,
    },
    /// Whole and safe on disk.
    Delivered {
        /// When it was fetched.
        at: Timestamp,
        /// What the Maildir says of it now.
        local: Local,
    },
    /// Delivered, but fewer octets came than LIST promised.
    Short {
        /// When to ask for it again.
        next_try: Timestamp,
    },
    /// Failed too often.
    Quarantined {
        /// When to ask for it again.
        next_try: Timestamp,
    },
    /// Set aside by a rule or a filter, or on request (`ledger catchup`): neither fetched nor
    /// deleted.
    Skipped,
    /// To be deleted on request (`ledger delete`), fetched or not.
    Doomed,
}

/// What the Maildir says of a delivered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// It lies there, or nobody looked: treated alike.
    Present,
    /// The user deleted it.
    Deleted,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp(1_800_000_000);

    fn entry(num: u32, octets: u64, known: Known) -> Entry {
        Entry {
            num: MsgNum(num),
            octets,
            row: Some(RowId(num.into())),
            known,
            ruling: None,
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
            &Scan {
                entries,
                ..Scan::default()
            },
            NOW,
        )
        .steps;
        steps.sort_by_key(|step| step.place);
        steps.into_iter().map(|step| step.action).collect()
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
                        put_off: false
                    }
                ]
            ),
            [
                Action::Delete(Why::Kept(TimeSpan::from_days(30))),
                Action::Delete(Why::Kept(TimeSpan::from_days(30))),
                Action::Keep(Until::Due(Timestamp(NOW.0 + 86_400))),
                Action::Fetch(Then::Keep(Until::Due(Timestamp(NOW.0 + 30 * 86_400)))),
            ]
        );
    }

    #[test]
    fn what_is_not_whole_on_disk_is_never_deleted() {
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
                Action::Leave(Left::Quarantine(later)),
                Action::Leave(Left::Short(later)),
                Action::Leave(Left::Skipped),
                Action::Delete(Why::NotKept),
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
                        put_off: false
                    }
                ]
            ),
            [
                Action::Delete(Why::Newest(2)),
                Action::Keep(Until::Forever),
                Action::Delete(Why::Newest(2)),
                Action::Fetch(Then::Keep(Until::Forever)),
            ]
        );
        let policy = Policy {
            keep_total: Some(ByteSize::from_octets(2_500)),
            ..Policy::default()
        };
        assert_eq!(
            actions(policy, [delivered(3), delivered(2), delivered(1)])[0],
            Action::Delete(Why::Total(ByteSize::from_octets(2_500)))
        );
    }

    #[test]
    fn numbers_do_not_tell_which_is_newer() {
        let policy = Policy {
            keep_newest: Some(1),
            ..Policy::default()
        };
        let entries = [(1, 3), (2, 1), (3, 2)]
            .map(|(num, row)| Entry {
                row: Some(RowId(row)),
                ..entry(num, 1, delivered(5))
            })
            .to_vec();
        let plan = plan(
            &policy,
            &Scan {
                entries,
                ..Scan::default()
            },
            NOW,
        );
        let kept: Vec<_> = plan
            .steps
            .iter()
            .filter(|step| matches!(step.action, Action::Keep(_)))
            .collect();
        assert_eq!((kept.len(), kept[0].place), (1, 0));
    }

    #[test]
    fn no_twin_is_deleted_while_another_waits() {
        let quarantined = Known::Quarantined {
            next_try: NOW.after(TimeSpan::from_days(1)),
        };
        let fresh = Known::New {
            attempts: 0,
            put_off: false,
        };
        let policy = Policy {
            keep: Keep::None,
            ..Policy::default()
        };
        // the first `twins` of them share a UID
        let decided = |twins: usize, known: &[Known]| -> Vec<_> {
            let entries = (1..)
                .zip(known)
                .map(|(num, known)| entry(num, 1, *known))
                .collect();
            let scan = Scan {
                entries,
                twins: (0..twins).map(|place| (place, 0)).collect(),
            };
            plan(&policy, &scan, NOW)
                .of(&scan)
                .map(|(entry, action)| (entry.num.0, action))
                .collect()
        };
        assert_eq!(
            decided(3, &[delivered(0), quarantined, fresh, delivered(0)]),
            [
                (3, Action::Fetch(Then::Keep(Until::Forever))),
                (1, Action::Leave(Left::Twin)),
                (
                    2,
                    Action::Leave(Left::Quarantine(NOW.after(TimeSpan::from_days(1))))
                ),
                (4, Action::Delete(Why::NotKept)),
            ]
        );
        assert_eq!(
            decided(2, &[delivered(0), fresh]),
            [
                (2, Action::Fetch(Then::Delete)),
                (1, Action::Delete(Why::NotKept))
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
                    put_off: false,
                },
            ),
            entry(2, 1, delivered(0)),
            entry(
                3,
                1,
                Known::New {
                    attempts: 0,
                    put_off: false,
                },
            ),
            entry(
                4,
                1,
                Known::New {
                    attempts: 0,
                    put_off: false,
                },
            ),
        ];
        let plan = plan(
            &policy,
            &Scan {
                entries,
                ..Scan::default()
            },
            NOW,
        );
        let order: Vec<_> = plan.steps.iter().map(|step| step.place).collect();
        assert_eq!(order, [2, 3, 0, 1]);
        assert_eq!(plan.steps[2].action, Action::Leave(Left::Limit(2)));
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
                    Known::Doomed,
                    Known::New {
                        attempts: 0,
                        put_off: false
                    }
                ]
            )
            .iter()
            .all(|action| !matches!(action, Action::Delete(_) | Action::Fetch(Then::Delete)))
        );
    }

    #[test]
    fn a_rule_takes_what_is_new() {
        let new = Known::New {
            attempts: 0,
            put_off: false,
        };
        let ruled = |verb, known, may_delete| {
            let ruling = Ruling { place: 0, verb };
            let entries = vec![Entry {
                ruling: Some(ruling),
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
                    &Scan {
                        entries,
                        ..Scan::default()
                    },
                    NOW,
                )
                .steps[0]
                    .action,
                ruling,
            )
        };
        let (action, ruling) = ruled(Verb::Skip, new, true);
        assert_eq!(action, Action::Leave(Left::Ruled(ruling)));
        let (action, ruling) = ruled(Verb::Delete, new, true);
        assert_eq!(action, Action::Delete(Why::Ruled(ruling)));
        let (action, ruling) = ruled(Verb::Delete, new, false);
        assert_eq!(action, Action::Leave(Left::Spared(ruling)));
        assert_eq!(
            ruled(Verb::Fetch, new, true).0,
            Action::Leave(Left::Oversize(ByteSize::from_octets(999)))
        );
        assert_eq!(
            ruled(Verb::Delete, delivered(0), true).0,
            Action::Keep(Until::Forever)
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
                put_off: false
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
            Just(Known::Doomed),
        ]
    }

    fn any_ruling() -> impl Strategy<Value = Option<Ruling>> {
        let verb = prop_oneof![Just(Verb::Fetch), Just(Verb::Skip), Just(Verb::Delete)];
        proptest::option::of((0u32..3, verb).prop_map(|(place, verb)| Ruling { place, verb }))
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

    fn any_scan() -> impl Strategy<Value = Scan> {
        proptest::collection::vec((0u64..3000, any_known(), any_ruling()), 0..12).prop_map(|all| {
            Scan {
                entries: (1..)
                    .zip(all)
                    .map(|(num, (octets, known, ruling))| Entry {
                        ruling,
                        ..entry(num, octets, known)
                    })
                    .collect(),
                ..Scan::default()
            }
        })
    }

    /// The places of what is deleted.
    fn deleted(plan: &Plan) -> Vec<usize> {
        let deletes = |step: &&Step| matches!(step.action, Action::Delete(_));
        let mut places: Vec<_> = plan
            .steps
            .iter()
            .filter(deletes)
            .map(|step| step.place)
            .collect();
        places.sort_unstable();
        places
    }

    proptest! {
        #[test]
        fn each_message_has_one_step(policy in any_policy(), scan in any_scan()) {
            let mut places: Vec<_> = plan(&policy, &scan, NOW).steps.iter().map(|step| step.place).collect();
            places.sort_unstable();
            prop_assert_eq!(places, (0..scan.entries.len()).collect::<Vec<_>>());
        }

        #[test]
        fn only_the_delivered_and_the_doomed_are_deleted(policy in any_policy(), scan in any_scan()) {
            for place in deleted(&plan(&policy, &scan, NOW)) {
                let Entry { known, ruling, .. } = scan.entries[place];
                let ruled = matches!(known, Known::New { .. }) && ruling.is_some_and(|ruling| ruling.verb == Verb::Delete);
                prop_assert!(ruled || matches!(known, Known::Delivered { .. } | Known::Doomed), "{:?}", known);
                prop_assert!(policy.may_delete);
            }
        }

        #[test]
        fn once_due_always_due(policy in any_policy(), scan in any_scan(), days in 0i64..100) {
            let later = plan(&policy, &scan, Timestamp(NOW.0 + days * 86_400));
            for place in deleted(&plan(&policy, &scan, NOW)) {
                prop_assert!(deleted(&later).contains(&place));
            }
        }

        #[test]
        fn keeping_longer_never_deletes_more(policy in any_policy(), scan in any_scan(), days in 0u64..60, more in 0u64..60) {
            let keeping = |days| Policy { keep: Keep::For(TimeSpan::from_days(days)), keep_newest: None, keep_total: None, ..policy };
            let long = deleted(&plan(&keeping(days + more), &scan, NOW));
            let short = deleted(&plan(&keeping(days), &scan, NOW));
            prop_assert!(long.iter().all(|place| short.contains(place)));
        }

        #[test]
        fn carried_out_it_leaves_nothing_to_do(policy in any_policy(), scan in any_scan()) {
            let mut after = scan.clone();
            for (Entry { num, .. }, action) in plan(&policy, &scan, NOW).of(&scan) {
                match action {
                    Action::Delete(_) | Action::Fetch(Then::Delete) => after.entries.retain(|entry| entry.num != *num),
                    Action::Fetch(_) => {
                        let entry = after.entries.iter_mut().find(|entry| entry.num == *num).unwrap();
                        entry.known = Known::Delivered { at: NOW, local: Local::Present };
                    }
                    Action::Keep(_) | Action::Leave(_) => {}
                }
            }
            // a completed short message joins those that keep-newest counts, one turn later
            prop_assume!(!scan.entries.iter().any(|entry| matches!(entry.known, Known::Short { .. })));
            let again = plan(&policy, &after, NOW);
            prop_assert!(again.steps.iter().all(|step| matches!(step.action, Action::Keep(_) | Action::Leave(_))), "{:?}", again);
        }
    }
}
