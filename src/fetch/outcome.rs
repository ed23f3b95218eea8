//! What a run did, as it is summed up at its end.

use std::collections::HashMap;

use crate::{
    domain::{destination::Destination, ids::RowId, plan::DeleteReason, time::Timestamp},
    error::{Error, Exit},
    event::{Event, Tally},
    text::count,
};

/// What a run did, over all its sessions.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) tally: Tally,
    pub(super) exit: Exit,
    /// What was deleted from the server, and why.
    pub(super) deletions: Vec<(DeleteReason, u64)>,
    /// What the user should know though the run succeeded.
    pub(super) warning: Option<Error>,
    /// A transient problem of single messages, reported if it lasts.
    pub(super) lasting: Option<Error>,
    /// Whether something stopped the account before the run was complete.
    pub(super) failed: bool,
    /// How many messages each destination got.
    destinations: Vec<(Destination, u64)>,
    /// The destinations of messages that are not known to be durable.
    pending: HashMap<RowId, Vec<Destination>>,
    /// Messages in quarantine at the end.
    pub(super) quarantined: u64,
    failures: Vec<MessageReport>,
}

/// What is reported about a message that failed.
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

    /// Remembers the destinations that accepted a message.
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

    /// Records that a message has to wait for a transient problem to pass.
    pub(super) fn defer(&mut self, row: RowId, error: Error, reported: Error) {
        self.raise_exit(Exit::LATER);
        self.lasting.get_or_insert(error);
        self.failures.push(MessageReport {
            row,
            error: reported,
            next_try: None,
        });
    }

    /// Records that a message failed. `next_try`: it was quarantined until then.
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

    /// Reports the messages that failed.
    pub(super) fn report_failures(&mut self, report: impl Fn(&Event<'_>)) {
        let arrived = self.tally.delivered;
        for MessageReport {
            row,
            error,
            next_try,
        } in std::mem::take(&mut self.failures)
        {
            let error = if arrived > 0 {
                &error.with_fact(format!("{} arrived", count(arrived, "other")))
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
