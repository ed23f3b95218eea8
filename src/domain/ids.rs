//! Names for messages and mailboxes: the server's, and the ledger's.

use std::fmt;

use crate::text::hex;

/// The number of a message in one session (RFC 1939 §4). It means nothing in the next session:
/// mailfront and Solid POP3 number their messages anew each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MsgNum(pub u32);

impl fmt::Display for MsgNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What UIDL calls a message: octets, as the server gave them.
///
/// RFC 1939 §7 asks for 1 to 70 octets between 0x21 and 0x7E; real servers send spaces, 8-bit
/// octets and longer ones, all of which are taken as they are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(Box<[u8]>);

impl Uid {
    /// The UID made of these octets.
    pub fn new(octets: impl Into<Box<[u8]>>) -> Self {
        Self(octets.into())
    }

    /// The UID of a message that the server gives none: made of the fingerprint of its header and
    /// of its size by LIST. It begins with a line feed, which no UID of a server can have in it.
    pub fn of_header(print: [u8; 16], octets: u64) -> Self {
        Self::new(format!("\nTOP {} {octets}", hex(&print)).into_bytes())
    }

    /// Whether it is [made of the header](Self::of_header).
    pub fn is_of_header(&self) -> bool {
        Self::is_made_of_header(&self.0)
    }

    /// Whether these octets of a UID are [made of the header](Self::of_header).
    pub fn is_made_of_header(octets: &[u8]) -> bool {
        octets.starts_with(b"\n")
    }

    /// The octets as the server sent them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uid({})", self.0.escape_ascii())
    }
}

/// One message of a listing: what the server shows now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its number in this session.
    pub num: MsgNum,
    /// Its UID.
    pub uid: Uid,
    /// Its size by LIST, in octets. Servers count line ends differently: a promise, not a fact.
    pub octets: u64,
}

/// A message's row in the ledger. Never used again for another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub i64);

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who an account is to the ledger: the user and the host, not the name in the config, so that
/// renaming an account or changing its port fetches nothing twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId {
    /// The login name, as configured.
    pub user: String,
    /// The host name, in lower case.
    pub host: String,
}

impl AccountId {
    /// The identity of `user` at `host`.
    pub fn new(user: impl Into<String>, host: &str) -> Self {
        Self {
            user: user.into(),
            host: host.to_ascii_lowercase(),
        }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.host)
    }
}
