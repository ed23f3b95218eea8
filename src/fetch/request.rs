//! A message to fetch, and the results of fetching it.

use crate::{
    domain::{
        blame::{Cause, Requested},
        ids::{MsgNum, RowId, Uid},
        message::HeaderSummary,
        plan::AfterFetch,
        rule::RuleOutcome,
        time::Timestamp,
    },
    error::Error,
    ledger::{NextCopy, Row},
};

/// A message to fetch in a session.
#[derive(Clone, Debug)]
pub(super) struct FetchRequest {
    pub(super) num: MsgNum,
    pub(super) row: RowId,
    /// The copy to deliver.
    pub(super) copy: NextCopy,
    pub(super) uid: Uid,
    /// Its size by LIST, in octets.
    pub(super) octets: u64,
    pub(super) after: AfterFetch,
    /// Whether it failed or was deferred before, so that it is requested alone.
    pub(super) careful: bool,
    /// Whether it was charged with an attempt in an earlier run.
    pub(super) known_bad: bool,
    /// The outcome of the rules.
    pub(super) rule: RuleOutcome,
    /// The number of messages in the listing.
    pub(super) listed: usize,
}

impl FetchRequest {
    /// Returns the part of the request that [`Blame`](crate::domain::blame::Blame) uses.
    pub(super) fn requested(&self) -> Requested {
        Requested {
            row: self.row,
            careful: self.careful,
            known_bad: self.known_bad,
        }
    }

    /// Returns the name of the message for the user.
    pub(super) fn name(&self) -> String {
        format!("message {} of {}", self.num, self.listed)
    }
}

/// The result of a request.
pub(super) enum Received {
    /// All destinations accepted the message.
    Accepted,
    /// The message is not truncated, as had been assumed, and was delivered before.
    Unchanged,
    /// A filter dropped it.
    Skipped,
    /// It failed, possibly because of the message itself.
    Failed(Box<Failure>, Cause),
    /// It is deferred, because the server or a destination has a transient problem.
    Deferred(Error),
    /// It is deferred, and all further messages as well.
    Stopped(Error),
}

/// A message that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) request: FetchRequest,
    pub(super) error: Error,
    /// The beginning of the message, as far as it was received.
    pub(super) partial: Vec<u8>,
}

/// A session that was ended by an error.
pub(super) struct SessionLost {
    pub(super) error: Error,
    /// The message that was awaited, if any.
    pub(super) during: Option<Box<Awaited>>,
}

/// A message that was awaited when the session ended.
pub(super) struct Awaited {
    pub(super) request: FetchRequest,
    /// The beginning of the message, as far as it was received.
    pub(super) partial: Vec<u8>,
    /// Whether it was the first request of the session.
    pub(super) first: bool,
}

impl SessionLost {
    /// Returns the loss of a session while the message of `request` was awaited.
    pub(super) fn during(
        request: &FetchRequest,
        error: Error,
        (partial, first): (Vec<u8>, bool),
    ) -> Self {
        let request = request.clone();
        Self {
            error,
            during: Some(Box::new(Awaited {
                request,
                partial,
                first,
            })),
        }
    }
}

impl From<Error> for SessionLost {
    fn from(error: Error) -> Self {
        Self {
            error,
            during: None,
        }
    }
}

/// Adds the fact that the next run will try the message again.
pub(super) fn will_retry(request: &FetchRequest, error: Error) -> Error {
    error.with_fact(format!(
        "{} left on the server; will retry in the next run",
        request.name()
    ))
}

/// A quarantined message whose notice has to be delivered.
#[derive(Debug)]
pub(super) struct Quarantined {
    pub(super) row: RowId,
    pub(super) uid: Uid,
    /// Its size by LIST, in octets.
    pub(super) octets: u64,
    /// Why it failed, in one line.
    pub(super) reason: String,
    pub(super) summary: HeaderSummary,
    pub(super) attempts: u32,
    pub(super) next_try: Timestamp,
    /// The beginning of the message, as far as it was received.
    pub(super) partial: Vec<u8>,
}

impl Quarantined {
    /// Returns the notice that is due for a message which an interrupted run quarantined.
    pub(super) fn from_row(row: Row, now: Timestamp) -> Self {
        Self {
            row: row.id,
            uid: row.uid,
            octets: row.octets,
            reason: row.reason.unwrap_or_default(),
            summary: HeaderSummary {
                sender: row.sender,
                subject: row.subject,
                ..HeaderSummary::default()
            },
            attempts: row.attempts,
            next_try: row.next_try.unwrap_or(now),
            partial: Vec::new(),
        }
    }

    /// Returns whether the whole header was received.
    pub(super) fn has_header(&self) -> bool {
        memchr::memmem::find(&self.partial, b"\n\n").is_some()
    }
}
