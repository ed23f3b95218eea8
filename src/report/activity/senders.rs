//! The senders of several accounts, for the report.

use std::{cmp::Reverse, collections::HashMap};

use super::data::{AccountReport, Senders, Volume};

/// The number of senders in a list.
pub(super) const MOST_SENDERS: usize = 10;

/// The senders of all accounts.
pub(super) struct AllSenders<'a> {
    /// What is known of all accounts, without the list.
    pub(super) sums: Senders,
    all: Vec<(&'a str, Volume)>,
}

impl<'a> AllSenders<'a> {
    /// Combines the senders of the accounts.
    pub(super) fn of(accounts: &'a [AccountReport]) -> Self {
        let mut sums = Senders::default();
        let mut all: HashMap<&str, Volume> = HashMap::new();
        for activity in accounts
            .iter()
            .filter_map(|account| account.activity.as_ref())
        {
            let senders = &activity.senders;
            sums.read += senders.read;
            sums.over_limit += senders.over_limit;
            sums.unreadable += senders.unreadable;
            sums.elsewhere += senders.elsewhere;
            for sender in &senders.list {
                all.entry(&sender.sender).or_default().add(sender.volume);
            }
        }
        Self {
            sums,
            all: all.into_iter().collect(),
        }
    }

    /// Returns the senders with the most messages.
    pub(super) fn by_messages(&self) -> Vec<(&'a str, Volume)> {
        self.largest(|volume| (volume.messages, volume.bytes))
    }

    /// Returns the senders with the most bytes.
    pub(super) fn by_bytes(&self) -> Vec<(&'a str, Volume)> {
        self.largest(|volume| (volume.bytes, volume.messages))
    }

    fn largest(&self, size: impl Fn(&Volume) -> (u64, u64)) -> Vec<(&'a str, Volume)> {
        let mut largest = self.all.clone();
        largest.sort_unstable_by_key(|(sender, volume)| (Reverse(size(volume)), *sender));
        largest.truncate(MOST_SENDERS);
        largest
    }

    /// Returns the sentence on the messages whose senders are not known, or `None` if there are
    /// none.
    pub(super) fn gaps(&self) -> Option<String> {
        let Senders {
            read,
            over_limit,
            unreadable,
            elsewhere,
            ..
        } = self.sums;
        let all = read + over_limit + unreadable + elsewhere;
        let gaps = [
            (
                elsewhere,
                "not in a Maildir of the account any more, or delivered elsewhere",
            ),
            (over_limit, "older than the newest ones, which are read"),
            (unreadable, "unreadable"),
        ];
        let gaps: Vec<_> = gaps
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, why)| format!("{number} {why}"))
            .collect();
        (!gaps.is_empty())
            .then(|| format!("senders of {read} of {all} messages; {}", gaps.join("; ")))
    }
}

/// Returns how a sender is displayed.
pub(super) fn shown(sender: &str) -> &str {
    if sender.is_empty() { "(none)" } else { sender }
}
