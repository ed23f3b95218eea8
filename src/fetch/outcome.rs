//! The outcome of a run, collected over its sessions.

use std::collections::HashMap;

use crate::{
    domain::{destination::Destination, ids::RowId, plan::DeleteReason, time::Timestamp},
    error::{Error, Exit},
    event::{Event, Tally},
    text::count,
};

/// The outcome of a run.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) tally: Tally,
    pub(super) exit: Exit,
    /// The number of messages deleted from the server, by reason.
    pub(super) deletions: Vec<(DeleteReason, u64)>,
    /// A problem that is reported although the run succeeded.
    pub(super) warning: Option<Error>,
    /// A transient problem of single messages, reported if it lasts.
    pub(super) lasting: Option<Error>,
    /// Whether something stopped the account before the run was complete.
    pub(super) failed: bool,
    /// How many messages each destination got.
    destinations: Vec<(Destination, u64)>,
    /// The destinations of messages that are not known to be durable.
    pending: HashMap<RowId, Vec<Destination>>,
    /// The number of messages in quarantine at the end.
    pub(super) quarantined: u64,
    /// The number of quarantined messages that became due, since others that had failed for the
    /// same reason arrived.
    pub(super) made_due: usize,
    /// The deletions that were postponed.
    pub(super) postponed_deletions: Vec<PostponedDeletion>,
    failures: Vec<MessageReport>,
}

/// A message that the server failed to delete, alone or among others that it deleted.
#[derive(Debug)]
pub(super) struct PostponedDeletion {
    pub(super) row: RowId,
    /// Why, in one line.
    pub(super) reason: String,
    pub(super) next_try: Timestamp,
}

/// A failed message to report.
#[derive(Debug)]
struct MessageReport {
    row: RowId,
    error: Error,
    /// When it is tried again, if it was quarantined.
    next_try: Option<Timestamp>,
}

impl Outcome {
    /// Makes the exit code at least as severe as `exit`.
    pub(super) fn raise_exit(&mut self, exit: Exit) {
        self.exit = self.exit.worst(exit);
    }

    /// Records the destinations that accepted a message.
    pub(super) fn accept(&mut self, row: RowId, destinations: Vec<Destination>) {
        self.pending.insert(row, destinations);
    }

    /// Counts a message that is durable.
    pub(super) fn deliver(&mut self, row: RowId, octets: u64) {
        self.tally.delivered += 1;
        self.tally.octets += octets;
        for destination in self.pending.remove(&row).unwrap_or_default() {
            let known = self.destinations.iter_mut();
            match { known }.find(|(known, _)| *known == destination) {
                Some((_, count)) => *count += 1,
                None => self.destinations.push((destination, 1)),
            }
        }
    }

    /// Returns how many messages each destination got, the most first.
    pub(super) fn destinations(&mut self) -> &[(Destination, u64)] {
        self.destinations
            .sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        &self.destinations
    }

    /// Records that a message is deferred because of a transient problem. `error` is the problem
    /// itself, `reported` how it is reported for this message.
    pub(super) fn defer(&mut self, row: RowId, error: Error, reported: Error) {
        self.raise_exit(Exit::LATER);
        self.lasting.get_or_insert(error);
        self.failures.push(MessageReport {
            row,
            error: reported,
            next_try: None,
        });
    }

    /// Records that a message failed. If it was quarantined, `next_try` is when it is tried again.
    pub(super) fn fail(&mut self, row: RowId, error: Error, next_try: Option<Timestamp>) {
        self.tally.failed += 1;
        let quarantined = next_try.is_some();
        self.raise_exit(if quarantined {
            Exit::QUARANTINE
        } else {
            Exit::LATER
        });
        self.failures.push(MessageReport {
            row,
            error,
            next_try,
        });
    }

    /// Records that messages were deleted from the server.
    pub(super) fn delete(&mut self, reason: DeleteReason, messages: u64) {
        self.tally.deleted += messages;
        match self
            .deletions
            .iter_mut()
            .find(|(known, _)| *known == reason)
        {
            Some((_, count)) => *count += messages,
            None => self.deletions.push((reason, messages)),
        }
    }

    /// Reports the failed messages.
    pub(super) fn report_failures(&mut self, report: impl Fn(&Event<'_>)) {
        let arrived = self.tally.delivered;
        for MessageReport {
            row,
            error,
            next_try,
        } in std::mem::take(&mut self.failures)
        {
            let error = if arrived > 0 {
                &error.with_fact(format!("{} delivered", count(arrived, "other message")))
            } else {
                &error
            };
            report(&match next_try {
                Some(next_try) => Event::Quarantined {
                    row,
                    error,
                    next_try,
                },
                None => Event::Failed { row, error },
            });
        }
    }
}
