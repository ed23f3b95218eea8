//! Identifiers of messages and mailboxes, on the server and in the ledger.

use std::{borrow::Cow, fmt};

use sha2::{Digest, Sha256};

use crate::text::hex;

/// The number of a message in one session (RFC 1939 §4).
///
/// It is not valid in the next session: mailfront and Solid POP3 renumber their messages each time.
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
    /// The bytes from UIDL. RFC 1939 §7 allows 1 to 70 bytes from 0x21 to 0x7E; real servers
    /// send spaces, 8-bit bytes and longer ones, all of which are used as they are.
    Server(Box<[u8]>),
    /// Derived by pouch, because the server has no UID for the message.
    Derived {
        /// The identity of its header (see [`identity`](super::message::identity)).
        fingerprint: [u8; 16],
        /// Its size by LIST, in bytes.
        size: u64,
    },
}

/// The comparable form of a UID: its bytes, and the size if it is a derived one.
pub type UidKey<'a> = (&'a [u8], Option<u64>);

impl Uid {
    /// Creates a UID from the bytes that UIDL returned.
    pub fn new(octets: impl Into<Box<[u8]>>) -> Self {
        Self::Server(octets.into())
    }

    /// Creates a UID from its comparable form. Returns `None` for a size without a fingerprint.
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

    /// Returns whether pouch derived the UID from the header.
    pub fn is_derived(&self) -> bool {
        matches!(self, Self::Derived { .. })
    }

    /// Returns the UID as text: the bytes from the server, or `header-`, fingerprint and size.
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

/// A message in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its number in this session.
    pub num: MsgNum,
    /// Its UID.
    pub uid: Uid,
    /// Its size by LIST, in bytes. It may be inexact, since servers count line endings differently.
    pub octets: u64,
}

/// The row of a message in the ledger, which is never reused for another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub i64);

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of an account in the ledger: user and host.
///
/// The name in the config is no part of it, nor is the port, so that changing them does not fetch
/// messages again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId {
    /// The login name, as configured.
    pub user: String,
    /// The host name, in lower case.
    pub host: String,
}

impl AccountId {
    /// Creates the identity of `user` at `host`.
    pub fn new(user: impl Into<String>, host: &str) -> Self {
        Self {
            user: user.into(),
            host: host.to_ascii_lowercase(),
        }
    }
}

impl AccountId {
    /// Returns a file name, without an extension, for files about the mailbox.
    ///
    /// It is readable, and made unique by a hash, since user names may contain any character.
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
