//! The messages of one user on the server.

use std::sync::Arc;

use super::reply::to_wire;

/// A message on the server.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// An identifier that distinguishes messages with the same UID.
    pub(super) id: usize,
    /// The UID in UIDL.
    pub(super) uid: Vec<u8>,
    /// The content with CRLF line endings.
    pub(super) content: Arc<[u8]>,
    /// The size in LIST and STAT.
    pub(super) listed: usize,
    /// True if DELE is accepted but QUIT does not remove the message.
    pub(super) stuck: bool,
    /// Whether it was retrieved in a session that ended with QUIT.
    pub(super) retrieved: bool,
}

impl Message {
    /// Creates the `id`-th message of this server.
    pub(super) fn new(id: usize, uid: Vec<u8>, content: &[u8]) -> Self {
        let content: Arc<[u8]> = to_wire(content).into();
        Self {
            id,
            uid,
            listed: content.len(),
            content,
            stuck: false,
            retrieved: false,
        }
    }
}

/// A user with password and messages.
#[derive(Clone, Debug)]
pub(super) struct Maildrop {
    pub(super) user: String,
    pub(super) password: Vec<u8>,
    pub(super) messages: Vec<Message>,
    /// The session that has locked the maildrop.
    pub(super) holder: Option<usize>,
}

impl Maildrop {
    /// Creates an empty maildrop.
    pub(super) fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.as_bytes().to_owned(),
            messages: Vec::new(),
            holder: None,
        }
    }

    /// Returns the messages as a session sees them, rotated by `turn` for a server that renumbers
    /// its messages in each session. With a `window`, these are the first ones that were not
    /// retrieved.
    pub(super) fn snapshot(&self, turn: usize, window: Option<usize>) -> Vec<Message> {
        let is_seen = |message: &&Message| window.is_none() || !message.retrieved;
        let seen = self.messages.iter().filter(is_seen);
        let mut seen: Vec<_> = seen.take(window.unwrap_or(usize::MAX)).cloned().collect();
        let places = turn % seen.len().max(1);
        seen.rotate_left(places);
        seen
    }

    /// Marks the messages with these ids as retrieved.
    pub(super) fn mark_retrieved(&mut self, ids: &[usize]) {
        for message in &mut self.messages {
            message.retrieved |= ids.contains(&message.id);
        }
    }

    /// Removes the messages with these ids, and returns the number of those that were not removed.
    pub(super) fn remove(&mut self, ids: &[usize]) -> usize {
        self.messages
            .retain(|message| message.stuck || !ids.contains(&message.id));
        self.messages
            .iter()
            .filter(|message| ids.contains(&message.id))
            .count()
    }
}
