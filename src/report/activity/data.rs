//! What the report is about. The names of the fields are those in JSON, which are never changed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{domain::time::Timestamp, report::days::DayRange};

/// The activity of several accounts.
#[derive(Clone, Debug)]
pub struct Report {
    /// When it was made.
    pub made: Timestamp,
    /// The days that it covers.
    pub period: DayRange,
    /// The accounts, in the order of the config.
    pub accounts: Vec<AccountReport>,
}

/// The activity of an account, or the reason why it is not known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountReport {
    /// Its name.
    pub account: String,
    /// The error, if the ledger cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Value>,
    /// The activity, if it can be read.
    #[serde(flatten)]
    pub activity: Option<Activity>,
}

impl AccountReport {
    /// Returns the message of the error, if the ledger cannot be read.
    pub fn error(&self) -> Option<&str> {
        self.problem.as_ref()?["what"].as_str()
    }
}

/// The activity of an account.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Activity {
    /// Whether it needs attention.
    pub health: Health,
    /// Its state in words, as `pouch status` displays it.
    pub condition: String,
    /// The mail that was delivered on each day with any.
    pub days: Vec<DayVolume>,
    /// The runs.
    pub runs: Runs,
    /// The number of quarantined messages.
    pub quarantined: u64,
    /// Some of them: those that are tried next.
    pub quarantine: Vec<QuarantinedMessage>,
    /// What will be deleted from the server, or `None` if nothing was listed yet.
    pub retention: Option<Retention>,
    /// The senders of the delivered messages.
    pub senders: Senders,
}

impl Activity {
    /// Returns the mail that was delivered in the whole period.
    pub fn volume(&self) -> Volume {
        let mut volume = Volume::default();
        self.days.iter().for_each(|day| volume.add(day.volume));
        volume
    }
}

/// Whether an account needs attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It does not.
    #[default]
    Ok,
    /// Some messages were not delivered completely, or the last run did not end well.
    Attention,
    /// Its mail cannot be fetched.
    Failing,
}

/// A number of messages with their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The number of messages.
    pub messages: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

impl Volume {
    /// Adds messages.
    pub fn add(&mut self, other: Self) {
        self.messages = self.messages.saturating_add(other.messages);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// The messages of a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayVolume {
    /// The day, like `2026-11-24`.
    pub day: String,
    /// The messages.
    #[serde(flatten)]
    pub volume: Volume,
}

impl DayVolume {
    /// Returns the days of a range that have messages.
    pub fn list(days: &[Volume], range: &DayRange) -> Vec<Self> {
        let days = days.iter().zip(range.dates());
        days.filter(|(volume, _)| volume.messages > 0)
            .map(|(volume, date)| Self {
                day: date.to_string(),
                volume: *volume,
            })
            .collect()
    }
}

/// The runs in the period.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Runs {
    /// Their number.
    pub total: u64,
    /// The time since when runs are recorded, in seconds since 1970, if earlier ones are forgotten.
    pub since: Option<i64>,
    /// The days with runs that did not succeed.
    pub days: Vec<DayFailures>,
    /// The exit codes of those runs.
    pub exits: Vec<ExitCount>,
}

/// The runs of a day that did not succeed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DayFailures {
    /// The day.
    pub day: String,
    /// Runs that ended with exit code 75.
    pub transient: u64,
    /// Runs that ended with another exit code.
    pub failed: u64,
    /// Runs that did not end, or were ended by a signal.
    pub interrupted: u64,
}

/// The runs with an exit code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExitCount {
    /// The exit code, or `None` if the run was interrupted.
    pub exit: Option<u8>,
    /// The number of runs.
    pub runs: u64,
    /// The time of the last one, in seconds since 1970.
    pub last: i64,
}

/// A quarantined message. Texts are not sanitized.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QuarantinedMessage {
    /// Its number in the ledger.
    pub message: i64,
    /// Its size, in bytes.
    pub size: u64,
    /// The sender, if the header was read.
    pub from: Option<String>,
    /// The subject, if the header was read.
    pub subject: Option<String>,
    /// The reason.
    pub reason: Option<String>,
    /// The number of failed attempts.
    pub attempts: u32,
    /// The time of the next attempt, in seconds since 1970; `None`: the next run.
    pub retry_after: Option<i64>,
}

/// What will be deleted from the server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Retention {
    /// The keys of the config that decide it, like `keep = 30d`.
    pub policy: String,
    /// The time of the last run that listed the mailbox, in seconds since 1970, if it is recorded.
    pub listed: Option<i64>,
    /// The messages in that listing.
    pub on_server: Volume,
    /// Those that the next run deletes.
    pub next_run: Volume,
    /// Those that become due later, by day.
    pub days: Vec<DayVolume>,
    /// Those that are left after these days.
    pub left: Volume,
    /// The reasons, with the number of messages.
    pub reasons: Vec<ReasonCount>,
    /// Whether the forecast may be too low, since deletions in the Maildir are synced.
    pub sync_deletions: bool,
}

/// A reason for deletion.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReasonCount {
    /// The reason, in words.
    pub reason: String,
    /// The number of messages.
    pub messages: u64,
}

/// The senders of delivered messages.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Senders {
    /// The number of messages whose headers were read.
    pub read: u64,
    /// The number of messages that are too many to be read.
    pub over_limit: u64,
    /// The number of messages that cannot be read.
    pub unreadable: u64,
    /// The number of messages that are not in a Maildir of the account.
    pub elsewhere: u64,
    /// The senders, those with the most messages first.
    pub list: Vec<Sender>,
}

/// A sender. The text is not sanitized.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sender {
    /// The address, or an empty text if the header has none.
    pub sender: String,
    /// The messages.
    #[serde(flatten)]
    pub volume: Volume,
}
