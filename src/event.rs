//! What happens in a run, told as it happens.

use crate::{
    domain::{ids::RowId, plan::DeleteReason, time::Timestamp},
    error::{Error, Exit},
};

/// Something that happened to an account.
#[derive(Debug)]
pub enum Event<'a> {
    /// The run begins.
    Start,
    /// The login is done.
    Connected {
        /// The server's name and port.
        server: &'a str,
    },
    /// What will be done. It comes again after a lost line.
    Planned {
        /// Messages that are listed.
        listed: u64,
        /// Messages to fetch.
        fetch: u64,
        /// Their octets by LIST.
        octets: u64,
    },
    /// More of a message came.
    Received {
        /// So many octets more.
        octets: u64,
    },
    /// Messages are safe.
    Stored {
        /// Its row.
        row: RowId,
        /// Its octets.
        octets: u64,
    },
    /// A message failed; it is tried again in the next run.
    Failed {
        /// Its row.
        row: RowId,
        /// What happened.
        error: &'a Error,
    },
    /// A message failed too often.
    Quarantined {
        /// Its row.
        row: RowId,
        /// What happened.
        error: &'a Error,
        /// When it is tried again.
        next_try: Timestamp,
    },
    /// Messages were deleted from the server.
    Deleted {
        /// So many …
        count: u64,
        /// … for this reason.
        why: DeleteReason,
    },
    /// Something a person should know, though nothing failed.
    Notice(&'a Error),
    /// What stopped the account.
    Problem {
        /// What it was.
        error: &'a Error,
        /// Whether a person has to hear of it where nobody watches.
        tell: bool,
    },
    /// A line of the session with the server.
    TraceLine(&'a TraceLine),
    /// The run is over.
    Done(&'a Summary),
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages delivered.
    pub delivered: u64,
    /// Their octets.
    pub octets: u64,
    /// Messages deleted from the server.
    pub deleted: u64,
    /// Messages that failed.
    pub failed: u64,
    /// Messages that a rule or a filter set aside.
    pub skipped: u64,
}

/// What came of a run of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The exit code.
    pub exit: Exit,
    /// What was done.
    pub tally: Tally,
    /// What was deleted, and why.
    pub deleted: Vec<(DeleteReason, u64)>,
    /// Messages in quarantine now.
    pub quarantined: u64,
    /// Where messages were delivered, and how many, the most first. A message with several
    /// destinations counts for each.
    pub destinations: Vec<(String, u64)>,
    /// Whether something stopped the account before the run was complete.
    pub failed: bool,
}

/// Who is told. Accounts run side by side: each call names its own.
pub trait Reporter: Send + Sync {
    /// Takes an event of `account`.
    fn event(&self, account: &str, event: &Event<'_>);
}

/// A line of the session, for people: secrets are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceLine {
    /// By pouch.
    Client(String),
    /// By the server; content of messages and listings is left out.
    Server(String),
}
