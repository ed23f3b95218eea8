//! What a survey and a decision are based on.

use crate::{
    config::Account,
    delivery::Router,
    domain::{plan::Policy, rule::Rule, time::Timestamp},
    ledger::{MaildirState, Reader, Recovered},
};

/// What a survey is based on, besides the session.
pub(super) struct Basis<'a> {
    pub(super) account: &'a Account,
    /// The ledger, if there is one.
    pub(super) reader: Option<&'a Reader>,
    /// The destinations, to look for messages that the user deleted.
    pub(super) router: &'a Router,
    /// The account's Maildirs.
    pub(super) maildirs: &'a [MaildirState],
    /// Messages that an interrupted run delivered and that the ledger does not know of.
    pub(super) recovered: &'a [Recovered],
    /// Whether a mailbox in which every UID changed is treated as new mail.
    pub(super) accept_new_uids: bool,
    pub(super) now: Timestamp,
}

/// What decides about each message.
pub(super) struct Criteria<'a> {
    pub(super) rules: &'a [Rule],
    pub(super) policy: Policy,
    pub(super) now: Timestamp,
}
