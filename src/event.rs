//! The events of a run, which the engine reports while it works.
//!
//! The engine prints nothing. It calls a [`Reporter`], which decides what is shown on a terminal,
//! in a log or as JSON, so that neither layer depends on the other.

use crate::{
    domain::{
        ids::{RowId, Uid},
        plan::DeleteReason,
        time::Timestamp,
    },
    error::{Error, Exit},
};

/// An event in the run of one account.
#[derive(Debug)]
pub enum Event<'a> {
    /// The run has begun.
    Start,
    /// The secret is known, and a connection is being established.
    Connecting {
        /// The server, as `host:port`.
        server: &'a str,
    },
    /// The login succeeded.
    Connected {
        /// The server, as `host:port`.
        server: &'a str,
    },
    /// The plan is made. After a reconnection, there is another one.
    Planned {
        /// The number of messages that the server lists.
        listed: u64,
        /// The number of messages to fetch.
        fetch: u64,
        /// Their total size as listed, in bytes.
        octets: u64,
    },
    /// Headers or files are being read, before anything is recorded.
    Reading {
        /// The kind of items that are read, in the plural.
        what: &'a str,
        /// The number read so far.
        read: u64,
        /// The number of all. `None` if it is not known.
        of: Option<u64>,
    },
    /// A part of a message was received.
    Received {
        /// The number of bytes since the last such event.
        octets: u64,
    },
    /// A message is on stable storage and recorded in the ledger.
    Stored(StoredMessage<'a>),
    /// A message failed, and is retried in the next run.
    Failed {
        /// The message.
        message: MessageName<'a>,
        /// The reason.
        error: &'a Error,
    },
    /// A message was quarantined after its last attempt failed.
    Quarantined {
        /// The message.
        message: MessageName<'a>,
        /// The reason.
        error: &'a Error,
        /// The time of the next attempt.
        next_try: Timestamp,
    },
    /// Messages were deleted from the server.
    Deleted {
        /// Their number.
        count: u64,
        /// The reason, the same for all of them.
        why: DeleteReason,
    },
    /// A warning: the run continues, and its exit code does not change.
    Notice(&'a Error),
    /// An error that ended the run of the account.
    Problem {
        /// The error.
        error: &'a Error,
        /// `true` if the error has to be reported even without a terminal.
        tell: bool,
    },
    /// The server pushed back, so that further accounts on it were not tried in this round.
    NotTried {
        /// The host.
        host: &'a str,
        /// The reason.
        error: &'a Error,
        /// Their names.
        accounts: &'a [&'a str],
    },
    /// A line of the session with the server (`-vv`).
    TraceLine(&'a TraceLine),
    /// The run has ended.
    Done(&'a Summary),
}

impl Event<'_> {
    /// Returns the names of the accounts that the event is about. For most events, it is the
    /// `account` with which the event was reported.
    pub fn accounts<'b>(&'b self, account: &'b &'b str) -> &'b [&'b str] {
        match self {
            Self::NotTried { accounts, .. } => accounts,
            _ => std::slice::from_ref(account),
        }
    }
}

/// A message that was delivered.
#[derive(Clone, Copy, Debug)]
pub struct StoredMessage<'a> {
    /// The message.
    pub row: RowId,
    /// Its UID.
    pub uid: &'a Uid,
    /// Its size in bytes.
    pub octets: u64,
    /// The destinations that have it, the main one first.
    pub destinations: &'a [String],
    /// The name of its file, without flags. `None` if no destination is a Maildir.
    pub file: Option<&'a str>,
}

/// The description of a message.
#[derive(Clone, Copy, Debug)]
pub struct MessageName<'a> {
    /// The number in the ledger.
    pub row: RowId,
    /// The UID.
    pub uid: &'a Uid,
    /// The sender, if the header was read.
    pub sender: Option<&'a str>,
    /// The subject, if the header was read.
    pub subject: Option<&'a str>,
}

/// The number of messages that a run processed, by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages delivered.
    pub delivered: u64,
    /// Their total size in bytes.
    pub octets: u64,
    /// Messages deleted from the server.
    pub deleted: u64,
    /// Messages that failed.
    pub failed: u64,
    /// Messages that a rule or a filter skipped.
    pub skipped: u64,
}

/// The result of the run of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The exit code.
    pub exit: Exit,
    /// The number of messages processed.
    pub tally: Tally,
    /// The number of deleted messages for each reason.
    pub deleted: Vec<(DeleteReason, u64)>,
    /// The number of messages in quarantine after the run.
    pub quarantined: u64,
    /// The destinations with their numbers of messages, in descending order. A message with several
    /// destinations counts for each.
    pub destinations: Vec<(String, u64)>,
    /// `true` if an error stopped the account before the run was complete.
    pub failed: bool,
}

/// A receiver of events.
///
/// Accounts run in parallel: each call names the account, and several threads make calls.
pub trait Reporter: Send + Sync {
    /// Reports an event of `account`.
    fn event(&self, account: &str, event: &Event<'_>);
}

/// A line of the session for display, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceLine {
    /// A command that pouch sent.
    Client(String),
    /// A line that the server sent. The content of messages and listings is omitted.
    Server(String),
}
