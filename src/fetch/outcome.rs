//! The outcome of a run, collected over its sessions.

use std::collections::HashMap;

use crate::{
    domain::{
        destination::Destination,
        file_name::MessageFileName,
        ids::{RowId, Uid},
        plan::DeleteReason,
        schedule::Contact,
        time::Timestamp,
    },
    error::{Error, Exit},
    event::Tally,
    text::count,
};

use super::request::FetchRequest;

/// The outcome of a run.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) tally: Tally,
    pub(super) exit: Exit,
    /// What the run showed about the server.
    pub(super) contact: Contact,
    /// The number of messages deleted from the server, by reason.
    pub(super) deletions: Vec<(DeleteReason, u64)>,
    /// A problem that is reported although the run succeeded.
    pub(super) warning: Option<Error>,
    /// A transient problem of single messages, reported if it lasts.
    pub(super) lasting: Option<Error>,
    /// Whether something stopped the account before the run was complete.
    pub(super) failed: bool,
    /// The number of messages that each destination got.
    destinations: Vec<(Destination, u64)>,
    /// Messages that were accepted and are not known to be durable.
    pending: HashMap<RowId, AcceptedMessage>,
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
    /// The reason, in one line.
    pub(super) reason: String,
    pub(super) next_try: Timestamp,
}

/// A message that its destinations accepted.
#[derive(Debug)]
pub(super) struct AcceptedMessage {
    pub(super) uid: Uid,
    /// The name of its file in a Maildir.
    pub(super) file: String,
    pub(super) destinations: Vec<Destination>,
}

/// A failed message to report.
#[derive(Debug)]
pub(super) struct MessageReport {
    pub(super) row: RowId,
    pub(super) uid: Uid,
    pub(super) error: Error,
    /// The time of the next attempt, if it was quarantined.
    pub(super) next_try: Option<Timestamp>,
}

impl Outcome {
    /// Makes the exit code at least as severe as `exit`.
    pub(super) fn raise_exit(&mut self, exit: Exit) {
        self.exit = self.exit.worst(exit);
    }

    /// Records that the destinations accepted a message.
    pub(super) fn accept(
        &mut self,
        request: &FetchRequest,
        name: &MessageFileName,
        destinations: Vec<Destination>,
    ) {
        let message = AcceptedMessage {
            uid: request.uid.clone(),
            file: name.to_string(),
            destinations,
        };
        self.pending.insert(request.row, message);
    }

    /// Records the name of the file of an accepted message, since its own name was taken.
    pub(super) fn rename(&mut self, row: RowId, file: String) {
        if let Some(message) = self.pending.get_mut(&row) {
            message.file = file;
        }
    }

    /// Forgets that the destinations accepted a message, since they could not store it.
    pub(super) fn withdraw(&mut self, row: RowId) {
        self.pending.remove(&row);
    }

    /// Counts a message that is durable. Returns it as it was accepted.
    pub(super) fn deliver(&mut self, row: RowId, octets: u64) -> Option<AcceptedMessage> {
        self.tally.delivered += 1;
        self.tally.octets += octets;
        let message = self.pending.remove(&row)?;
        for destination in &message.destinations {
            let known = self.destinations.iter_mut();
            match { known }.find(|(known, _)| known == destination) {
                Some((_, count)) => *count += 1,
                None => self.destinations.push((destination.clone(), 1)),
            }
        }
        Some(message)
    }

    /// Returns how many messages each destination got, the most first.
    pub(super) fn destinations(&mut self) -> &[(Destination, u64)] {
        self.destinations
            .sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        &self.destinations
    }

    /// Records that a message is deferred because of a transient problem. `error` is the problem
    /// itself, `reported` how it is reported for this message.
    pub(super) fn defer(&mut self, request: &FetchRequest, error: Error, reported: Error) {
        self.raise_exit(Exit::LATER);
        self.lasting.get_or_insert(error);
        self.failures.push(MessageReport {
            row: request.row,
            uid: request.uid.clone(),
            error: reported,
            next_try: None,
        });
    }

    /// Records that a message failed. If it was quarantined, `next_try` is when it is tried again.
    pub(super) fn fail(
        &mut self,
        request: &FetchRequest,
        error: Error,
        next_try: Option<Timestamp>,
    ) {
        self.tally.failed += 1;
        let quarantined = next_try.is_some();
        self.raise_exit(if quarantined {
            Exit::QUARANTINE
        } else {
            Exit::LATER
        });
        self.failures.push(MessageReport {
            row: request.row,
            uid: request.uid.clone(),
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

    /// Returns the failed messages to report, and forgets them.
    pub(super) fn take_failures(&mut self) -> Vec<MessageReport> {
        let mut failures = std::mem::take(&mut self.failures);
        let arrived = self.tally.delivered;
        if arrived > 0 {
            for failure in &mut failures {
                let fact = format!("{} delivered", count(arrived, "other message"));
                failure.error = failure.error.clone().with_fact(fact);
            }
        }
        failures
    }
}
