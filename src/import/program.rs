//! The programs whose accounts can be imported.

use std::fmt;

/// A mail program whose accounts can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// fetchmail.
    Fetchmail,
    /// getmail.
    Getmail,
    /// mpop.
    Mpop,
    /// fdm.
    Fdm,
    /// Thunderbird.
    Thunderbird,
    /// Claws Mail.
    Claws,
    /// Sylpheed.
    Sylpheed,
    /// `KMail` and Akonadi.
    Kmail,
    /// Evolution.
    Evolution,
}

impl Program {
    /// All programs.
    pub const ALL: [Self; 9] = [
        Self::Fetchmail,
        Self::Getmail,
        Self::Mpop,
        Self::Fdm,
        Self::Thunderbird,
        Self::Claws,
        Self::Sylpheed,
        Self::Kmail,
        Self::Evolution,
    ];

    /// Returns the name on the command line and in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fetchmail => "fetchmail",
            Self::Getmail => "getmail",
            Self::Mpop => "mpop",
            Self::Fdm => "fdm",
            Self::Thunderbird => "thunderbird",
            Self::Claws => "claws",
            Self::Sylpheed => "sylpheed",
            Self::Kmail => "kmail",
            Self::Evolution => "evolution",
        }
    }

    /// Returns the name for messages.
    pub fn title(self) -> &'static str {
        match self {
            Self::Thunderbird => "Thunderbird",
            Self::Claws => "Claws Mail",
            Self::Sylpheed => "Sylpheed",
            Self::Kmail => "KMail",
            Self::Evolution => "Evolution",
            other => other.name(),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}
