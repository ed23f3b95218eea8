//! A message to fetch, and what became of it.

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
    /// The copy that is delivered.
    pub(super) copy: NextCopy,
    pub(super) uid: Uid,
    /// Its size by LIST.
    pub(super) octets: u64,
    pub(super) after: AfterFetch,
    /// Whether it failed or was deferred before, so that it is requested alone.
    pub(super) careful: bool,
    /// Whether it was charged with an attempt in an earlier run.
    pub(super) known_bad: bool,
    /// What the rules say.
    pub(super) rule: RuleOutcome,
    /// How many messages were listed with it.
    pub(super) listed: usize,
}

impl FetchRequest {
    /// Returns what the search for the culprit needs to know.
    pub(super) fn requested(&self) -> Requested {
        Requested {
            row: self.row,
            careful: self.careful,
            known_bad: self.known_bad,
        }
    }

    /// Returns its name in messages.
    pub(super) fn name(&self) -> String {
        format!("message {} of {}", self.num, self.listed)
    }
}

/// What became of a requested message.
pub(super) enum Received {
    /// Its destinations have it.
    Accepted,
    /// It is complete now, and was delivered before.
    Unchanged,
    /// A filter dropped it.
    Skipped,
    /// It failed, for a reason that may be the message.
    Failed(Box<Failure>, Cause),
    /// It has to wait: the server or a destination has a transient problem.
    Deferred(Error),
    /// It has to wait, and so has everything after it.
    Stopped(Error),
}

/// A message that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) request: FetchRequest,
    pub(super) error: Error,
    /// What was received of it.
    pub(super) partial: Vec<u8>,
}

/// The end of a session by an error.
pub(super) struct SessionLost {
    pub(super) error: Error,
    /// The message that was awaited, if any.
    pub(super) during: Option<Box<Awaited>>,
}

/// A message that was awaited when the session ended.
pub(super) struct Awaited {
    pub(super) request: FetchRequest,
    /// What was received of it.
    pub(super) partial: Vec<u8>,
    /// Whether it was the first one of the session.
    pub(super) first: bool,
}

impl SessionLost {
    /// Makes the end of a session while a message was awaited.
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

/// Adds that a message is tried again in the next run.
pub(super) fn will_retry(request: &FetchRequest, error: Error) -> Error {
    error.with_fact(format!(
        "{} left on the server; will retry in the next run",
        request.name()
    ))
}

/// A message that was quarantined, and that the user has to be told about.
#[derive(Debug)]
pub(super) struct Quarantined {
    pub(super) row: RowId,
    pub(super) uid: Uid,
    /// Its size by LIST.
    pub(super) octets: u64,
    pub(super) reason: String,
    pub(super) summary: HeaderSummary,
    pub(super) attempts: u32,
    pub(super) next_try: Timestamp,
    /// What was received of it.
    pub(super) partial: Vec<u8>,
}

impl Quarantined {
    /// Makes one of a message that an interrupted run quarantined.
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
