//! One user's mail on the server.

use std::sync::Arc;

use super::reply::to_wire;

/// A message as the server keeps it.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Tells messages apart that share a UID.
    pub(super) id: usize,
    /// What UIDL says.
    pub(super) uid: Vec<u8>,
    /// The content in CRLF lines.
    pub(super) content: Arc<[u8]>,
    /// The size that the server claims.
    pub(super) listed: usize,
    /// DELE is accepted, but the message does not go.
    pub(super) stuck: bool,
}

impl Message {
    /// The `id`-th message that this server ever had.
    pub(super) fn new(id: usize, uid: Vec<u8>, content: &[u8]) -> Self {
        let content: Arc<[u8]> = to_wire(content).into();
        Self {
            id,
            uid,
            listed: content.len(),
            content,
            stuck: false,
        }
    }
}

/// A user, the password, and the mail that waits.
#[derive(Clone, Debug)]
pub(super) struct Maildrop {
    pub(super) user: String,
    pub(super) password: Vec<u8>,
    pub(super) messages: Vec<Message>,
    /// The session that has it locked.
    pub(super) holder: Option<usize>,
}

impl Maildrop {
    /// An empty one.
    pub(super) fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.as_bytes().to_owned(),
            messages: Vec::new(),
            holder: None,
        }
    }

    /// The messages as a session sees them, turned round by `turn` places: where the server
    /// numbers anew in each session, the same message has another number each time.
    pub(super) fn snapshot(&self, turn: usize, window: usize) -> Vec<Message> {
        let mut seen: Vec<_> = self.messages.iter().take(window).cloned().collect();
        let places = turn % seen.len().max(1);
        seen.rotate_left(places);
        seen
    }

    /// Removes the messages with these ids for good, and says how many would not go.
    pub(super) fn remove(&mut self, ids: &[usize]) -> usize {
        self.messages
            .retain(|message| message.stuck || !ids.contains(&message.id));
        self.messages
            .iter()
            .filter(|message| ids.contains(&message.id))
            .count()
    }
}
