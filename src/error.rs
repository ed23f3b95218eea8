//! The error type of the program.
//!
//! An [`Error`] is a message that is ready to print, and a [`Kind`]. The kind alone determines what
//! happens next: how the run continues ([`Kind::verdict`]), the exit code ([`Kind::exit`]), and
//! whether the report is delayed ([`Kind::is_transient`]). Callers therefore never downcast an
//! error or search its text, and a module that creates an error decides nothing but its kind.
//!
//! Names of files can have escape sequences, so all text is made safe for a terminal when it is
//! stored, and no caller can forget that.
//!
//! The cause of an error is stored as text (a fact), not as a `source()`, because no code acts on
//! causes: whatever matters about a cause is in the kind.

use std::{fmt, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::text::printable;

/// A [`Result`](std::result::Result) with an [`Error`] of this program.
pub type Result<T> = std::result::Result<T, Error>;

/// An error: one sentence about what failed, further facts, and at most one hint.
///
/// It is boxed so that a `Result` stays small.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error(Box<Details>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Details {
    kind: Kind,
    what: String,
    facts: Vec<String>,
    hint: Option<String>,
    /// The hint for an account that is given as a URL, if it is another one.
    url_hint: Option<String>,
    /// Errors that were found together with this one.
    further: Vec<Error>,
}

/// The kind of an error. Each kind has one exit code, as defined in sysexits.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// The command line is invalid, or names an account or a message that does not exist.
    Usage,
    /// The ledger is damaged, or was written by another version of pouch.
    State,
    /// The host name has no address.
    NoHost,
    /// The host name cannot be resolved at the moment: there is no network.
    Offline,
    /// The server refused the connection. It may be restarting.
    Refused,
    /// The server lacks a required feature.
    Unavailable,
    /// A bug in pouch.
    Bug,
    /// A destination or a state file cannot be created or opened.
    CannotCreate,
    /// The disk is full, or an I/O error occurred.
    Io,
    /// The connection was closed unexpectedly.
    ConnectionLost,
    /// The server did not send anything within the timeout.
    TimedOut,
    /// The responses of the server do not match the commands that were sent.
    Desynchronized,
    /// The mailbox or the ledger is in use, or the server is temporarily unavailable.
    Busy,
    /// The server temporarily refuses connections or logins, which is not about one mailbox.
    ServerBusy,
    /// A program or an LMTP server deferred the message: it may accept it in a later run.
    Deferred,
    /// A program or an LMTP server rejected the message.
    Rejected,
    /// The message is larger than an LMTP server accepts.
    TooLarge,
    /// The server does not speak POP3, or it or a proxy violates its protocol.
    NotPop3,
    /// The server or a proxy refused the login, the certificate is not trusted, or file permissions
    /// are wrong.
    Denied,
    /// The server accepted the login, and then refused access to the mailbox with a text that is
    /// about the account.
    AccessRefused,
    /// The config is invalid, or the password command failed.
    Config,
    /// The process received this signal.
    Stopped(i32),
}

/// The consequence of an error for the rest of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Continue with a new connection.
    Reconnect,
    /// Continue with the next message.
    SkipMessage,
    /// Stop this account; continue with the others.
    StopAccount,
    /// Stop all accounts.
    StopAll,
}

impl Kind {
    /// Returns the exit code: that of sysexits.h, or 128 + n for signal n.
    pub fn exit(self) -> Exit {
        Exit(match self {
            Self::Usage => 64,
            Self::State => 65,
            Self::NoHost | Self::Offline => 68,
            Self::Refused | Self::Unavailable => 69,
            Self::Bug => 70,
            Self::CannotCreate => 73,
            Self::Io => 74,
            Self::ConnectionLost
            | Self::TimedOut
            | Self::Desynchronized
            | Self::Busy
            | Self::ServerBusy
            | Self::Deferred
            | Self::Rejected
            | Self::TooLarge => 75,
            Self::NotPop3 => 76,
            Self::Denied | Self::AccessRefused => 77,
            Self::Config => 78,
            Self::Stopped(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        })
    }

    /// Returns how the run continues after an error of this kind.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::ConnectionLost | Self::TimedOut | Self::Desynchronized | Self::Offline => {
                Verdict::Reconnect
            }
            Self::Deferred | Self::Rejected | Self::TooLarge => Verdict::SkipMessage,
            Self::Stopped(_) => Verdict::StopAll,
            _ => Verdict::StopAccount,
        }
    }

    /// Returns whether the error is transient: it may disappear without any action by the user, and
    /// is not reported until it has lasted for a day.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Offline
                | Self::Refused
                | Self::ConnectionLost
                | Self::TimedOut
                | Self::Desynchronized
                | Self::Busy
                | Self::ServerBusy
                | Self::Deferred
        )
    }

    /// Returns whether an error of this kind, before the mailbox was listed, shows that the server
    /// may fail for other accounts, too.
    pub fn is_pushback(self) -> bool {
        matches!(
            self,
            Self::NoHost
                | Self::Offline
                | Self::Refused
                | Self::ConnectionLost
                | Self::TimedOut
                | Self::ServerBusy
        )
    }
}

impl Error {
    /// Creates an error.
    ///
    /// `what` is one sentence in lower case, without a full stop.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            what: printable(&what.into()),
            facts: Vec::new(),
            hint: None,
            url_hint: None,
            further: Vec::new(),
        }))
    }

    /// Creates the error that a file or directory cannot be used: "cannot `doing` `path`".
    ///
    /// The kind is [`Kind::CannotCreate`] if `path` is missing, not permitted or of the wrong type,
    /// and [`Kind::Io`] otherwise.
    pub fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        use io::ErrorKind as E;
        let (kind, hint) = match error.kind() {
            E::ReadOnlyFilesystem => (
                Kind::CannotCreate,
                Some("remount the file system read-write, or choose another directory"),
            ),
            E::PermissionDenied | E::NotADirectory | E::AlreadyExists | E::NotFound => {
                (Kind::CannotCreate, None)
            }
            E::StorageFull | E::QuotaExceeded => (
                Kind::Io,
                Some("free space on that disk; the next run continues where this one stopped"),
            ),
            _ => (Kind::Io, None),
        };
        let located = Self::new(kind, format!("cannot {doing} {}", path.display()))
            .with_fact(error.to_string());
        match hint {
            Some(hint) => located.with_hint(hint),
            None => located,
        }
    }

    /// Creates the error that a thread cannot be started.
    pub fn thread(error: &io::Error) -> Self {
        Self::new(Kind::Io, "cannot start a thread")
            .with_fact(error.to_string())
            .with_hint("check the limit of processes and threads with `ulimit -u`")
    }

    /// Adds a fact, which is printed on a line of its own.
    ///
    /// The suffix ` (os error N)` that [`io::Error`] appends to the system's message is removed.
    #[must_use]
    pub fn with_fact(mut self, fact: impl Into<String>) -> Self {
        let mut fact = printable(&fact.into());
        if let Some((text, number)) = fact.rsplit_once(" (os error ")
            && number.ends_with(')')
        {
            fact.truncate(text.len());
        }
        self.0.facts.push(fact);
        self
    }

    /// Adds a fact before all others.
    #[must_use]
    pub fn with_first_fact(mut self, fact: impl Into<String>) -> Self {
        self = self.with_fact(fact);
        self.0.facts.rotate_right(1);
        self
    }

    /// Changes the kind.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Sets the hint: what the user can do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(printable(&hint.into()));
        self
    }

    /// Sets the hint for an account that is given as a URL, which has no keys in a config.
    #[must_use]
    pub fn with_url_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.url_hint = Some(printable(&hint.into()));
        self
    }

    /// Replaces the hint by that for an account that is given as a URL, if there is one.
    #[must_use]
    pub fn for_url(mut self) -> Self {
        self.0.hint = self.0.url_hint.take().or(self.0.hint);
        self
    }

    /// Adds errors that were found together with this one, and do not follow from it.
    #[must_use]
    pub fn with_further(mut self, further: impl IntoIterator<Item = Self>) -> Self {
        self.0.further.extend(further);
        self
    }

    /// Returns the errors that were found together with this one.
    pub fn further(&self) -> &[Self] {
        &self.0.further
    }

    /// Returns the message without further errors: the sentence, the facts indented by two spaces,
    /// and the hint.
    pub fn own_text(&self) -> String {
        let mut text = self.0.what.clone();
        for line in self.0.facts.iter().flat_map(|fact| fact.lines()) {
            text.push_str("\n  ");
            text.push_str(line);
        }
        if let Some(hint) = &self.0.hint {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        text
    }

    /// Returns the kind.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns the sentence that says what failed.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// Returns the facts, one line each.
    pub fn facts(&self) -> &[String] {
        &self.0.facts
    }

    /// Returns the hint, or `None` if there is none.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    /// Writes the whole message, and further errors in the same way.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.own_text())?;
        for further in &self.0.further {
            write!(f, "\n{further}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// An exit status of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// Success, with or without new mail.
    pub const OK: Self = Self(0);
    /// No new mail, with `--fail-if-none`.
    pub const NONE: Self = Self(1);
    /// A message was quarantined in this run.
    pub const QUARANTINE: Self = Self(65);
    /// A message failed and will be retried.
    pub const LATER: Self = Self(75);

    /// Returns the more severe of two exit codes.
    ///
    /// A signal is the most severe, then the order of pouch(1) applies.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        const WORST_FIRST: [u8; 12] = [64, 70, 78, 77, 76, 74, 73, 71, 69, 68, 65, 75];
        let rank = |exit: Self| match exit.0 {
            0 => usize::MAX,
            code if code > 128 => 0,
            code => WORST_FIRST
                .iter()
                .position(|listed| *listed == code)
                .map_or(usize::MAX - 1, |index| index + 1),
        };
        if rank(other) < rank(self) {
            other
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_exit_codes_give_the_most_severe() {
        let worst = |codes: &[u8]| {
            codes
                .iter()
                .fold(Exit::OK, |exit, code| exit.worst(Exit(*code)))
                .0
        };
        assert_eq!(worst(&[]), 0);
        assert_eq!(worst(&[0, 1, 0]), 1);
        assert_eq!(worst(&[75, 65]), 65);
        assert_eq!(worst(&[77, 75, 78, 0]), 78);
        assert_eq!(worst(&[74, 130, 78]), 130);
    }

    #[test]
    fn os_error_numbers_are_removed_from_facts() {
        let error = Error::file("read", Path::new("x"), &io::Error::from_raw_os_error(13));
        assert_eq!(error.to_string(), "cannot read x\n  Permission denied");
        assert_eq!(
            Error::new(Kind::Io, "no")
                .with_fact("output: (os error ")
                .facts(),
            ["output: (os error "]
        );
    }

    #[test]
    fn escape_sequences_in_file_names_are_replaced() {
        let path = Path::new("\x1b[7m\u{202e}x");
        let error = Error::file("read", path, &io::Error::from_raw_os_error(13))
            .with_fact(path.display().to_string())
            .with_hint(path.display().to_string());
        let safe = "\u{fffd}[7m\u{fffd}x";
        assert_eq!(
            error.to_string(),
            format!("cannot read {safe}\n  Permission denied\n  {safe}\nhint: {safe}")
        );
    }

    #[test]
    fn display_has_facts_and_hint() {
        let error = Error::new(Kind::Denied, "the server refused the password")
            .with_fact("pop.example.org said: -ERR [AUTH] Invalid credentials")
            .with_hint("run `pouch check work`");
        assert_eq!(
            error.to_string(),
            "the server refused the password\n  pop.example.org said: -ERR [AUTH] Invalid credentials\nhint: run `pouch check work`"
        );
    }
}
