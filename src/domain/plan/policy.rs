//! The settings of an account that decide what is fetched and deleted.

use crate::domain::{size::ByteSize, time::TimeSpan};

/// The time for which a delivered message stays on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// No limit.
    Forever,
    /// The message is deleted as soon as it is safe on disk.
    None,
    /// This long after it was fetched.
    For(TimeSpan),
}

/// The rules of an account for fetching and deleting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The time for which a delivered message stays on the server.
    pub keep: Keep,
    /// The maximum number of delivered messages on the server; the newest stay.
    pub keep_newest: Option<u64>,
    /// The maximum total size of delivered messages on the server; the newest stay.
    pub keep_total: Option<ByteSize>,
    /// Whether a message deleted from the Maildir is deleted from the server.
    pub sync_deletions: bool,
    /// Whether anything may be deleted from the server (not with `--keep`).
    pub may_delete: bool,
    /// The maximum size of a message to fetch, as LIST reports it.
    pub max_size: Option<ByteSize>,
    /// The maximum number of messages to fetch in a run.
    pub limit: Option<u64>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            keep: Keep::Forever,
            keep_newest: None,
            keep_total: None,
            sync_deletions: false,
            may_delete: true,
            max_size: None,
            limit: None,
        }
    }
}
