//! The inputs of a survey and of the decision after it.

use crate::{
    config::Account,
    delivery::Router,
    domain::{plan::Policy, rule::Rule, time::Timestamp},
    fetch::env::RunEnv,
    ledger::{LedgerFile, MaildirState, Reader, Recovered},
};

/// The inputs of a survey, besides the session.
pub(super) struct Basis<'a> {
    pub(super) account: &'a Account,
    pub(super) env: &'a RunEnv,
    /// The file of the ledger.
    pub(super) file: &'a LedgerFile,
    /// The ledger, or `None` if the account has none yet.
    pub(super) reader: Option<&'a Reader>,
    /// The destinations, searched for messages that the user deleted.
    pub(super) router: &'a Router,
    /// The account's Maildirs.
    pub(super) maildirs: &'a [MaildirState],
    /// Messages that an interrupted run delivered and did not record.
    pub(super) recovered: &'a [Recovered],
    /// Whether the mailbox was recognised and need not be compared with others again.
    pub(super) is_recognised: bool,
    pub(super) now: Timestamp,
}

/// The settings that decide about each message.
pub(super) struct Criteria<'a> {
    pub(super) rules: &'a [Rule],
    pub(super) policy: Policy,
    pub(super) now: Timestamp,
}
