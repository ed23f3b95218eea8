//! Names for messages and mailboxes: the server's, and the ledger's.

use std::{borrow::Cow, fmt};

use sha2::{Digest, Sha256};

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

/// The unique identifier of a message in its mailbox.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Uid {
    /// The bytes that UIDL gave. RFC 1939 §7 allows 1 to 70 bytes from 0x21 to 0x7E; real servers
    /// send spaces, 8-bit bytes and longer ones, all of which are used as they are.
    Server(Box<[u8]>),
    /// Derived by pouch, because the server gives the message no UID.
    Derived {
        /// The identity of its header (see [`identity`](super::message::identity)).
        fingerprint: [u8; 16],
        /// Its size by LIST, in octets.
        size: u64,
    },
}

/// A UID in its comparable form: its bytes, and the size that belongs to a derived one.
pub type UidKey<'a> = (&'a [u8], Option<u64>);

impl Uid {
    /// Makes a UID from the bytes that UIDL gave.
    pub fn new(octets: impl Into<Box<[u8]>>) -> Self {
        Self::Server(octets.into())
    }

    /// Makes a UID from its comparable form. Returns `None` if that has a size but no fingerprint.
    pub fn from_key((octets, size): UidKey<'_>) -> Option<Self> {
        Some(match size {
            None => Self::new(octets),
            Some(size) => Self::Derived {
                fingerprint: octets.try_into().ok()?,
                size,
            },
        })
    }

    /// Returns the comparable form.
    pub fn key(&self) -> UidKey<'_> {
        match self {
            Self::Server(octets) => (octets, None),
            Self::Derived { fingerprint, size } => (fingerprint, Some(*size)),
        }
    }

    /// Returns whether pouch derived it from the header.
    pub fn is_derived(&self) -> bool {
        matches!(self, Self::Derived { .. })
    }

    /// Returns the UID as text: the server's bytes, or `header-` with the fingerprint and the size.
    pub fn text(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Server(octets) => Cow::Borrowed(octets),
            Self::Derived { fingerprint, size } => {
                Cow::Owned(format!("header-{}-{size}", hex(fingerprint)).into_bytes())
            }
        }
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uid({})", self.text().escape_ascii())
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

impl AccountId {
    /// Returns a file name for what is kept of the mailbox, without an extension: readable, and
    /// unique by a hash, since user names may contain anything.
    pub fn file_stem(&self) -> String {
        let text = self.to_string();
        let plain: String = text
            .chars()
            .take(80)
            .map(|c| {
                if c.is_ascii_alphanumeric() || "@.-_".contains(c) {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        let hash = Sha256::digest(text.as_bytes());
        format!("{plain}-{}", hex(&hash[..4]))
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.host)
    }
}
