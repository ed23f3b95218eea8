//! Messages that another program has fetched.

use super::time::Timestamp;

/// The length at which fetchmail truncates a UID in its state file, in bytes.
const FETCHMAIL_UID: usize = 128;

/// A message that another program has fetched, according to its state file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its UID on the server.
    pub uid: Vec<u8>,
    /// When it was fetched. `None` if the program does not record it.
    pub at: Option<Timestamp>,
    /// Whether `uid` may be truncated to 128 bytes.
    pub is_prefix: bool,
}

impl Seen {
    /// Creates a message with a complete UID.
    pub fn new(uid: impl Into<Vec<u8>>, at: Option<Timestamp>) -> Self {
        Self {
            uid: uid.into(),
            at,
            is_prefix: false,
        }
    }

    /// Creates a message from fetchmail, which truncates UIDs.
    pub fn truncated(uid: impl Into<Vec<u8>>) -> Self {
        let uid = uid.into();
        Self {
            is_prefix: uid.len() == FETCHMAIL_UID,
            at: None,
            uid,
        }
    }

    /// Returns whether a message with this UID on the server is this one.
    pub fn matches(&self, uid: &[u8]) -> bool {
        self.uid == uid || (self.is_prefix && uid.starts_with(&self.uid))
    }
}
