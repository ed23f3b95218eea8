//! The input of a plan: the listed messages, and what is known about each.

use std::collections::HashMap;

use crate::domain::{
    ids::{MsgNum, RowId},
    rule::RuleMatch,
    time::Timestamp,
};

/// The listed messages, with what the ledger knows about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// The messages, in the order of the listing.
    pub entries: Vec<ListedMessage>,
    /// The index of each message that shares its UID with others, with the index of the first of
    /// those.
    pub shared_uids: HashMap<usize, usize>,
    /// The messages that the server failed to delete, each with the time of the next attempt.
    pub deletion_suspects: HashMap<RowId, Timestamp>,
}

/// A listed message, with what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedMessage {
    /// Its number in this session.
    pub num: MsgNum,
    /// Its size by LIST.
    pub octets: u64,
    /// Its row in the ledger, if it has one.
    pub row: Option<RowId>,
    /// Its state in the ledger.
    pub known: Known,
    /// The rule that matches it, if it is new.
    pub rule_match: Option<RuleMatch>,
    /// Whether the user requested it (`ledger retry`), regardless of the rules and of `max-size`.
    pub force_fetch: bool,
    /// Whether it is known only from another address of the mailbox, so that its header has to be
    /// compared before it may be deleted.
    pub other_address: bool,
}

/// The state of a listed message in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Not delivered yet.
    New {
        /// The number of failed attempts.
        attempts: u32,
        /// Whether it was deferred in an earlier run because of a transient problem.
        deferred: bool,
    },
    /// Delivered completely.
    Delivered {
        /// The time when it was fetched.
        at: Timestamp,
        /// Its state in the Maildir.
        local: Local,
    },
    /// Delivered, but truncated: fewer bytes arrived than were listed.
    Short {
        /// The time to request it again.
        next_try: Timestamp,
    },
    /// Quarantined after too many attempts.
    Quarantined {
        /// The time to request it again.
        next_try: Timestamp,
    },
    /// Skipped by a rule, a filter or `ledger catchup`: neither fetched nor deleted.
    Skipped,
    /// To be deleted on request (`ledger delete`), even if it was not fetched.
    DeleteRequested,
}

impl Known {
    /// Returns the state of a message that is new.
    pub const NEVER_SEEN: Self = Self::New {
        attempts: 0,
        deferred: false,
    };

    /// Returns whether no part of it was delivered.
    pub fn is_undelivered(self) -> bool {
        !matches!(self, Self::Delivered { .. } | Self::Short { .. })
    }
}

/// The state of a delivered message in the Maildir.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// It is there, or the Maildir was not read: both are treated alike.
    Present,
    /// The user deleted it.
    Deleted,
}
