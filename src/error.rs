//! What went wrong, said so that a person can act on it.
//!
//! An [`Error`] knows what it means for the run ([`Verdict`]), the exit code, and its hint; nobody
//! needs to look inside it to find out.

use std::{fmt, io, path::Path};

/// The result of what can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What failed in the user's words, the facts of it, and one thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Story>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Story {
    kind: Kind,
    what: String,
    facts: Vec<String>,
    hint: Option<String>,
}

/// The kinds of trouble that pouch tells apart. Each has one exit code of sysexits.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The command line asks for what does not exist.
    Usage,
    /// The ledger cannot be read.
    State,
    /// The host name has no address.
    NoHost,
    /// The host's address cannot be asked for now: there is no network.
    Offline,
    /// The server refused the connection. It may be restarting.
    Refused,
    /// The server lacks what is needed.
    Unavailable,
    /// A bug in pouch.
    Bug,
    /// A place to put mail or state cannot be made.
    CannotCreate,
    /// The disk is full or broken.
    Io,
    /// The connection ended where it should not.
    ConnectionLost,
    /// The server said nothing for too long.
    TimedOut,
    /// The server's answers are not those to what it was asked.
    Desynchronized,
    /// The mailbox is in use, the server asks to come back later, another pouch is running.
    Busy,
    /// A program that messages are handed to asks for this one again later.
    Deferred,
    /// A program that messages are handed to does not want this one.
    Rejected,
    /// What answers is no POP3 server, or breaks the protocol.
    NotPop3,
    /// Password, certificate or file permissions.
    Denied,
    /// The config, or the command that gives the secret.
    Config,
    /// Ended by this signal.
    Stopped(i32),
}

/// What trouble means for the rest of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The line is lost; a new connection may do better.
    Reconnect,
    /// This message has to wait; the next one may be delivered.
    SkipMessage,
    /// Nothing more can be done for this account in this run.
    StopAccount,
    /// Nothing more can be done at all.
    StopAll,
}

impl Kind {
    /// The exit code (sysexits.h; 128 + n for a signal).
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
            | Self::Deferred
            | Self::Rejected => 75,
            Self::NotPop3 => 76,
            Self::Denied => 77,
            Self::Config => 78,
            Self::Stopped(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        })
    }

    /// What it means for the run.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::ConnectionLost | Self::TimedOut | Self::Desynchronized | Self::Offline => {
                Verdict::Reconnect
            }
            Self::Deferred | Self::Rejected => Verdict::SkipMessage,
            Self::Stopped(_) => Verdict::StopAll,
            _ => Verdict::StopAccount,
        }
    }

    /// Returns whether the problem may pass without anybody's help, so that it is not reported until
    /// it has lasted.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Offline
                | Self::Refused
                | Self::ConnectionLost
                | Self::TimedOut
                | Self::Desynchronized
                | Self::Busy
                | Self::Deferred
        )
    }
}

impl Error {
    /// `what` failed: lower case, no full stop, in the words of the user.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self(Box::new(Story {
            kind,
            what: what.into(),
            facts: Vec::new(),
            hint: None,
        }))
    }

    /// A file or folder could not be used. Permissions, a full disk and the like get the kind,
    /// and the hint, that they deserve; all else is [`Kind::Io`].
    pub fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        use io::ErrorKind as E;
        let (kind, hint) = match error.kind() {
            E::ReadOnlyFilesystem => (
                Kind::CannotCreate,
                Some("it lies on a read-only file system"),
            ),
            E::PermissionDenied | E::NotADirectory | E::AlreadyExists | E::NotFound => {
                (Kind::CannotCreate, None)
            }
            E::StorageFull | E::QuotaExceeded => (
                Kind::Io,
                Some("make room on that disk; the next run goes on where this one stopped"),
            ),
            _ => (Kind::Io, None),
        };
        let story = Self::new(kind, format!("cannot {doing} {}", path.display()))
            .with_fact(error.to_string());
        match hint {
            Some(hint) => story.with_hint(hint),
            None => story,
        }
    }

    /// No thread could be started.
    pub fn thread(error: &io::Error) -> Self {
        Self::new(Kind::Io, "the system starts no more threads")
            .with_fact(error.to_string())
            .with_hint("`ulimit -u` shows how many it allows")
    }

    /// With one more fact, a line of its own. The number that Rust puts behind what the system says
    /// tells people nothing, and is left out.
    #[must_use]
    pub fn with_fact(mut self, fact: impl Into<String>) -> Self {
        let mut fact = fact.into();
        if let Some((text, number)) = fact.rsplit_once(" (os error ")
            && number.ends_with(')')
        {
            fact.truncate(text.len());
        }
        self.0.facts.push(fact);
        self
    }

    /// The same, taken for trouble of this kind.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// With the one thing to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The kind of trouble.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What failed, in one line.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// The facts, a line each.
    pub fn facts(&self) -> &[String] {
        &self.0.facts
    }

    /// The one thing to do.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    /// The whole message: what, the facts indented by two, the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        for fact in &self.0.facts {
            for line in fact.lines() {
                write!(f, "\n  {line}")?;
            }
        }
        if let Some(hint) = &self.0.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// An exit code of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// Done.
    pub const OK: Self = Self(0);
    /// `--fail-if-none`, and there was nothing new.
    pub const NONE: Self = Self(1);
    /// A message was put in quarantine.
    pub const QUARANTINE: Self = Self(65);
    /// A message failed and will be tried again.
    pub const LATER: Self = Self(75);

    /// The code that stands for both: a signal first, then the worse one in the order of the
    /// manual.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        const WORST_FIRST: [u8; 12] = [64, 70, 78, 77, 76, 74, 73, 71, 69, 68, 65, 75];
        let rank = |exit: Self| match exit.0 {
            0 => usize::MAX,
            code if code > 128 => 0,
            code => WORST_FIRST
                .iter()
                .position(|listed| *listed == code)
                .map_or(usize::MAX - 1, |place| place + 1),
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
    fn the_worst_exit_code_wins() {
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
    fn the_numbers_of_the_system_are_left_out() {
        let error = Error::file("read", Path::new("x"), &io::Error::from_raw_os_error(13));
        assert_eq!(error.to_string(), "cannot read x\n  Permission denied");
        assert_eq!(
            Error::new(Kind::Io, "no")
                .with_fact("it said: (os error ")
                .facts(),
            ["it said: (os error "]
        );
    }

    #[test]
    fn the_message_stands_alone() {
        let error = Error::new(Kind::Denied, "the server refused the password")
            .with_fact("pop.example.org said: -ERR [AUTH] Invalid credentials")
            .with_hint("run `pouch check work`");
        assert_eq!(
            error.to_string(),
            "the server refused the password\n  pop.example.org said: -ERR [AUTH] Invalid credentials\nhint: run `pouch check work`"
        );
    }
}
