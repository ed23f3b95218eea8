//! A message to fetch, and the results of fetching it.

use std::collections::{BTreeMap, HashSet};

use crate::{
    domain::{
        blame::{Cause, Requested},
        ids::{MsgNum, RowId, Uid},
        plan::AfterFetch,
        rule::RuleOutcome,
    },
    error::Error,
    ledger::NextCopy,
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

    /// Returns the name of the message for the user: its number in the ledger.
    pub(super) fn name(&self) -> String {
        format!("message {}", self.row)
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
    /// The server refused it because of a transient problem, as it did too many before it.
    Refused(Error),
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
    /// The recipients that did not accept it, by their names in the ledger. Empty if it failed
    /// before they were known.
    pub(super) recipients: Vec<String>,
}

impl Failure {
    /// Returns the failure of a message of which nothing was received, or nothing is needed.
    pub(super) fn new(request: &FetchRequest, error: Error) -> Self {
        Self {
            request: request.clone(),
            error,
            partial: Vec::new(),
            recipients: Vec::new(),
        }
    }
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

/// The parts of quarantined messages that a run received.
#[derive(Debug, Default)]
pub(super) struct ReceivedParts {
    parts: BTreeMap<RowId, Vec<u8>>,
    /// Messages whose header was requested: once, since it may break the connection as well.
    requested: HashSet<RowId>,
}

impl ReceivedParts {
    /// Adds the beginning of a message, as far as it was received.
    pub(super) fn add(&mut self, row: RowId, part: Vec<u8>) {
        self.parts.insert(row, part);
    }

    /// Returns whether the header of a message is to be requested now. Returns `true` once.
    pub(super) fn should_request(&mut self, row: RowId) -> bool {
        let has_header = |part: &Vec<u8>| memchr::memmem::find(part, b"\n\n").is_some();
        !self.parts.get(&row).is_some_and(has_header) && self.requested.insert(row)
    }

    /// Returns what was received of a message.
    pub(super) fn get(&self, row: RowId) -> &[u8] {
        self.parts.get(&row).map_or(&[], Vec::as_slice)
    }
}
