//! The forecast: when messages will be deleted from the server if nothing new arrives.
//!
//! It is no second set of rules for retention. [`forecast`] makes the [`plan`] of each later day,
//! for the mailbox as the plans before have left it, so it changes whenever the plan does.

use super::{
    Action, AfterFetch, DeleteReason, KeepUntil, Known, Local, Mailbox, Policy, SkipReason, plan,
};
use crate::domain::time::Timestamp;

/// Messages that will be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deletions {
    /// Their number.
    pub messages: u64,
    /// Their size by LIST, in bytes.
    pub octets: u64,
}

impl Deletions {
    /// Adds a message of this size.
    fn add(&mut self, octets: u64) {
        self.messages += 1;
        self.octets = self.octets.saturating_add(octets);
    }
}

/// The deletions to expect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Those of the next run, if it is now.
    pub next_run: Deletions,
    /// Those that become due later, until each of the given times.
    pub later: Vec<Deletions>,
    /// The messages that are left after the last of these times.
    pub left: Deletions,
    /// The reasons, with the number of messages, in the order of their first deletion.
    pub reasons: Vec<(DeleteReason, u64)>,
}

/// Returns the deletions from `mailbox` now, and until each of the times `until`, which ascend.
///
/// It assumes that new messages are fetched in the next run, that quarantined and truncated ones
/// stay as they are, and that nothing else arrives. A message that arrives after all counts for
/// `keep-newest` and `keep-total`, and then other ones are deleted earlier.
pub fn forecast(
    policy: &Policy,
    mailbox: Mailbox,
    now: Timestamp,
    until: &[Timestamp],
) -> Forecast {
    let mut future = Future {
        policy: Policy {
            limit: None,
            ..*policy
        },
        mailbox,
        reasons: Vec::new(),
    };
    let (next_run, mut next) = future.carry_out(now);
    future.freeze();
    let mut later = Vec::with_capacity(until.len());
    for end in until {
        let mut deletions = Deletions::default();
        // on most days, nothing becomes due
        if next.is_some_and(|next| next <= *end) {
            (deletions, next) = future.carry_out(*end);
        }
        later.push(deletions);
    }
    let mut left = Deletions::default();
    for entry in &future.mailbox.entries {
        left.add(entry.octets);
    }
    Forecast {
        next_run,
        later,
        left,
        reasons: future.reasons,
    }
}

/// A mailbox in the future.
struct Future {
    policy: Policy,
    mailbox: Mailbox,
    reasons: Vec<(DeleteReason, u64)>,
}

impl Future {
    /// Carries out the plan of the time `at`. Returns the deletions, and when more may become due.
    fn carry_out(&mut self, at: Timestamp) -> (Deletions, Option<Timestamp>) {
        let plan = plan(&self.policy, &self.mailbox, at);
        let mut deletions = Deletions::default();
        let mut next: Option<Timestamp> = None;
        let mut may_be_due =
            |due: Timestamp| next = Some(next.map_or(due, |next: Timestamp| next.min(due)));
        let mut is_deleted = vec![false; self.mailbox.entries.len()];
        for step in plan.steps {
            let entry = &mut self.mailbox.entries[step.index];
            let reason = match step.action {
                Action::Delete(reason) => reason,
                // it is not known whether a message that failed will arrive
                Action::Fetch(_) if !matches!(entry.known, Known::New { .. }) => continue,
                Action::Fetch(AfterFetch::Delete) => DeleteReason::NotKept,
                Action::Fetch(AfterFetch::Keep(until)) => {
                    let local = Local::Present;
                    entry.known = Known::Delivered { at, local };
                    if let KeepUntil::Due(due) = until {
                        may_be_due(due);
                    }
                    continue;
                }
                Action::Keep(KeepUntil::Due(due))
                | Action::Leave(SkipReason::DeletionFailed(due)) => {
                    may_be_due(due);
                    continue;
                }
                // the other one may have been fetched by this plan
                Action::Leave(SkipReason::SharedUid) => {
                    may_be_due(at);
                    continue;
                }
                Action::Fetch(AfterFetch::Complete)
                | Action::Keep(KeepUntil::Forever)
                | Action::Leave(_) => continue,
            };
            deletions.add(entry.octets);
            is_deleted[step.index] = true;
            match self.reasons.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, messages)) => *messages += 1,
                None => self.reasons.push((reason, 1)),
            }
        }
        if deletions.messages > 0 {
            self.remove(&is_deleted);
        }
        (deletions, next)
    }

    /// Makes later plans leave the messages that failed, as if they were not tried again.
    fn freeze(&mut self) {
        for entry in &mut self.mailbox.entries {
            if let Known::Quarantined { .. } | Known::Short { .. } = entry.known {
                entry.known = Known::Skipped;
            }
        }
    }

    /// Removes messages from the mailbox, by index.
    fn remove(&mut self, is_deleted: &[bool]) {
        let mut deleted = is_deleted.iter();
        let stays = |_: &_| !deleted.next().copied().unwrap_or_default();
        self.mailbox.entries.retain(stays);
        if self.mailbox.shared_uids.is_empty() {
            return;
        }
        let mut index = 0;
        let mut shared_uids = std::collections::HashMap::new();
        for (before, is_deleted) in is_deleted.iter().enumerate() {
            if *is_deleted {
                continue;
            }
            // the value only has to be the same for all that share the UID
            if let Some(first) = self.mailbox.shared_uids.get(&before) {
                shared_uids.insert(index, *first);
            }
            index += 1;
        }
        self.mailbox.shared_uids = shared_uids;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ids::{MsgNum, RowId},
        plan::{Keep, ListedMessage},
        size::ByteSize,
        time::TimeSpan,
    };
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp(1_800_000_000);
    const DAY: i64 = 86_400;

    fn mailbox(known: impl IntoIterator<Item = Known>) -> Mailbox {
        let entry = |(num, known)| ListedMessage {
            num: MsgNum(num),
            octets: 1_000,
            row: Some(RowId(num.into())),
            known,
            rule_match: None,
            force_fetch: false,
            other_address: false,
        };
        Mailbox {
            entries: (1..).zip(known).map(entry).collect(),
            ..Mailbox::default()
        }
    }

    fn delivered(days_ago: i64) -> Known {
        Known::Delivered {
            at: Timestamp(NOW.0 - days_ago * DAY),
            local: Local::Present,
        }
    }

    const NEW: Known = Known::NEVER_SEEN;

    fn days(count: i64) -> Vec<Timestamp> {
        (1..=count)
            .map(|day| Timestamp(NOW.0 + day * DAY))
            .collect()
    }

    fn numbers(policy: &Policy, mailbox: Mailbox) -> Vec<u64> {
        let forecast = forecast(policy, mailbox, NOW, &days(4));
        let later = forecast.later.iter().map(|deletions| deletions.messages);
        std::iter::once(forecast.next_run.messages)
            .chain(later)
            .chain([forecast.left.messages])
            .collect()
    }

    fn keep(days: u64) -> Policy {
        Policy {
            keep: Keep::For(TimeSpan::from_days(days)),
            ..Policy::default()
        }
    }

    #[test]
    fn messages_are_deleted_when_they_have_been_kept_long_enough() {
        let known = [delivered(9), delivered(3), delivered(3), delivered(0), NEW];
        assert_eq!(numbers(&keep(3), mailbox(known)), [3, 0, 0, 2, 0, 0]);
        assert_eq!(numbers(&keep(5), mailbox(known)), [1, 0, 2, 0, 0, 2]);
        assert_eq!(
            numbers(&Policy::default(), mailbox(known)),
            [0, 0, 0, 0, 0, 5]
        );
    }

    #[test]
    fn limits_apply_to_the_next_run() {
        let policy = Policy {
            keep_newest: Some(2),
            ..keep(3)
        };
        let known = [delivered(1), delivered(1), delivered(0), NEW];
        assert_eq!(numbers(&policy, mailbox(known)), [2, 0, 0, 2, 0, 0]);
        let forecast = forecast(&policy, mailbox(known), NOW, &days(4));
        assert_eq!(forecast.next_run.octets, 2_000);
        let reasons: Vec<_> = forecast.reasons.iter().map(|(_, number)| *number).collect();
        assert_eq!(reasons, [2, 2]);
    }

    #[test]
    fn messages_that_failed_are_not_expected_to_arrive() {
        let policy = Policy {
            keep: Keep::None,
            ..Policy::default()
        };
        let next_try = Timestamp(NOW.0 + DAY);
        let known = [
            NEW,
            Known::Quarantined { next_try },
            Known::Short { next_try },
            Known::Skipped,
            Known::DeleteRequested,
        ];
        assert_eq!(numbers(&policy, mailbox(known)), [2, 0, 0, 0, 0, 3]);
    }

    #[test]
    fn message_is_deleted_once_the_one_with_the_same_uid_is_delivered() {
        let mut twins = mailbox([delivered(9), NEW, delivered(9)]);
        twins.shared_uids = [(0, 0), (1, 0)].into();
        // the new one is fetched by the same plan, so nothing protects the other one
        assert_eq!(numbers(&keep(3), twins), [2, 0, 0, 1, 0, 0]);
        let next_try = Timestamp(NOW.0 + 30 * DAY);
        let mut twins = mailbox([delivered(9), delivered(9), Known::Quarantined { next_try }]);
        twins.shared_uids = [(1, 1), (2, 1)].into();
        assert_eq!(numbers(&keep(3), twins), [1, 0, 0, 0, 0, 2]);
    }

    fn any_known() -> impl Strategy<Value = Known> {
        let when = || (-60i64..5).prop_map(|days| Timestamp(NOW.0 + days * DAY / 2));
        prop_oneof![
            4 => when().prop_map(|at| Known::Delivered { at, local: Local::Present }),
            1 => when().prop_map(|next_try| Known::Quarantined { next_try }),
            1 => when().prop_map(|next_try| Known::Short { next_try }),
            1 => Just(NEW),
            1 => Just(Known::Skipped),
            1 => Just(Known::DeleteRequested),
        ]
    }

    prop_compose! {
        fn any_policy()(
            days in proptest::option::of(0u64..20),
            keep_newest in proptest::option::of(1u64..8),
            keep_total in proptest::option::of((1u64..8_000).prop_map(ByteSize::from_octets)),
            may_delete in any::<bool>(),
        ) -> Policy {
            let keep = days.map_or(Keep::Forever, |days| Keep::For(TimeSpan::from_days(days)));
            Policy { keep, keep_newest, keep_total, may_delete, ..Policy::default() }
        }
    }

    proptest! {
        /// A plan is made only when something may be due; planning every day gives the same.
        #[test]
        fn skipped_days_have_no_deletions(
            policy in any_policy(),
            known in proptest::collection::vec(any_known(), 0..12),
        ) {
            let forecast = forecast(&policy, mailbox(known.clone()), NOW, &days(30));
            let mut future = Future { policy, mailbox: mailbox(known), reasons: Vec::new() };
            let first = future.carry_out(NOW).0;
            future.freeze();
            let daily: Vec<_> = days(30).into_iter().map(|day| future.carry_out(day).0).collect();
            prop_assert_eq!(first, forecast.next_run);
            prop_assert_eq!(daily, forecast.later);
        }

        #[test]
        fn next_run_is_that_of_the_plan(
            policy in any_policy(),
            known in proptest::collection::vec(any_known(), 0..12),
        ) {
            let mailbox = mailbox(known);
            let plan = plan(&policy, &mailbox, NOW);
            let deleted = plan.of(&mailbox).filter(|(entry, action)| {
                let is_new = matches!(entry.known, Known::New { .. });
                match action {
                    Action::Delete(_) => true,
                    Action::Fetch(AfterFetch::Delete) => is_new,
                    _ => false,
                }
            });
            let deleted = deleted.count() as u64;
            prop_assert_eq!(forecast(&policy, mailbox, NOW, &[]).next_run.messages, deleted);
        }
    }
}
