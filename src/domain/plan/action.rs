//! The actions of a plan, with their reasons.

use crate::domain::{
    rule::RuleMatch,
    size::ByteSize,
    time::{TimeSpan, Timestamp},
};

/// The step of the plan for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The message's index in the listing.
    pub index: usize,
    /// The action, with its reason.
    pub action: Action,
}

/// An action, with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Fetch it.
    Fetch(AfterFetch),
    /// Delete it from the server.
    Delete(DeleteReason),
    /// It was delivered and stays on the server.
    Keep(KeepUntil),
    /// It was not delivered and stays on the server.
    Leave(SkipReason),
}

/// The treatment of a message on the server after it was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AfterFetch {
    /// It stays.
    Keep(KeepUntil),
    /// It is deleted.
    Delete,
    /// It was truncated before: if more of it arrives now, it is delivered once more.
    Complete,
}

/// The reason why a message is deleted from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeleteReason {
    /// It was fetched longer ago than this.
    Kept(TimeSpan),
    /// `keep = "none"`.
    NotKept,
    /// This many newer messages are kept.
    Newest(u64),
    /// This much newer mail is kept.
    Total(ByteSize),
    /// The user deleted it from the Maildir.
    DeletedLocally,
    /// The user requested it.
    OnRequest,
    /// This rule deletes it without fetching it.
    ByRule(RuleMatch),
}

/// The time for which a delivered message stays on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeepUntil {
    /// There is no time limit.
    Forever,
    /// Until this time.
    Due(Timestamp),
}

/// The reason why a message is not fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// It is larger than this.
    Oversize(ByteSize),
    /// It is quarantined until this time.
    Quarantine(Timestamp),
    /// It is truncated; it is requested again at this time.
    Short(Timestamp),
    /// The run already fetches this many messages.
    Limit(u64),
    /// It was skipped before, by a rule, a filter, or on request.
    Skipped,
    /// Another message with the same UID is not delivered yet.
    SharedUid,
    /// The server failed to delete it; the next attempt is at this time.
    DeletionFailed(Timestamp),
    /// This rule skips it.
    ByRule(RuleMatch),
    /// This rule deletes it, but deletions are disabled in this run.
    DeletionDeferred(RuleMatch),
    /// It would be deleted, but is known only from another address of the mailbox, and its header
    /// was not compared.
    OtherAddress,
}
