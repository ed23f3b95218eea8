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

/// An address of a mailbox: where and as whom pouch logs in.
///
/// It does not identify the mailbox: one mailbox may have several addresses, and an address may
/// lead to another mailbox later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The login name, as configured: some servers distinguish upper and lower case.
    pub user: String,
    /// The host name, in lower case and without a final dot.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Returns the address of `user` at `host` and `port`.
    pub fn new(user: impl Into<String>, host: &str, port: u16) -> Self {
        let host = host.to_ascii_lowercase();
        Self {
            user: user.into(),
            host: host.strip_suffix('.').unwrap_or(&host).to_owned(),
            port,
        }
    }

    /// Returns whether `text` is the address, with or without its port.
    pub fn is_written(&self, text: &str) -> bool {
        text == self.to_string() || text == format!("{}@{}", self.user, self.host)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, host, port } = self;
        if host.contains(':') {
            write!(f, "{user}@[{host}]:{port}")
        } else {
            write!(f, "{user}@{host}:{port}")
        }
    }
}

/// The identity of an account's mailbox according to the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxId {
    /// Its name, if the user gave it one.
    pub name: Option<String>,
    /// Its present address.
    pub address: Address,
    /// The name of the account.
    pub account: String,
}

impl MailboxId {
    /// Returns the name of a new ledger of the mailbox, without an extension.
    pub fn file_stem(&self) -> String {
        match &self.name {
            Some(name) => file_stem(name),
            None => file_stem(&self.address.to_string()),
        }
    }
}

/// Returns a file name for `text`, without an extension: readable, and unique by a hash, since user
/// names may contain anything.
fn file_stem(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_final_dot_of_a_host_do_not_matter() {
        let address = Address::new("Ann", "POP.example.org.", 995);
        assert_eq!(address, Address::new("Ann", "pop.example.org", 995));
        assert_ne!(address, Address::new("ann", "pop.example.org", 995));
        assert_ne!(address, Address::new("Ann", "pop.example.org", 110));
        assert_eq!(address.to_string(), "Ann@pop.example.org:995");
        assert!(address.is_written("Ann@pop.example.org"));
        assert!(!address.is_written("Ann@pop.example.org:110"));
    }

    #[test]
    fn ledgers_of_different_mailboxes_have_different_names() {
        let mut mailbox = MailboxId {
            name: None,
            address: Address::new("../ann", "::1", 1110),
            account: "work".into(),
        };
        let stem = mailbox.file_stem();
        assert!(
            stem.starts_with(".._ann@[__1]_1110-".replace(['[', ']'], "_").as_str()),
            "{stem}"
        );
        mailbox.address.port = 1111;
        assert_ne!(mailbox.file_stem(), stem);
        mailbox.name = Some("private".into());
        assert!(mailbox.file_stem().starts_with("private-"));
    }
}
