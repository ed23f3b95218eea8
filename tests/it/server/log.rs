//! The log of the clients' actions.

/// The log of a server: one session for each connection, in order.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The open and the closed connections.
    pub sessions: Vec<SessionLog>,
}

/// The log of one connection.
#[derive(Clone, Debug, Default)]
pub struct SessionLog {
    /// The received lines without their line endings. Invalid UTF-8 is replaced. Secrets are
    /// included, so that tests can count how often they were sent.
    pub commands: Vec<String>,
    /// The number of times that the server had responded to all it had read and waited for more.
    /// This is the number of round trips if the client sends each group of commands in one write
    /// and then waits for all responses, otherwise an upper bound.
    pub turns: usize,
    /// True if a TLS handshake was completed.
    pub tls: bool,
    /// The number of commands before the TLS handshake.
    pub in_clear: usize,
    /// True while the connection is open, as far as the server knows.
    pub open: bool,
}

impl Log {
    /// Returns the number of connections.
    pub fn connections(&self) -> usize {
        self.sessions.len()
    }

    /// Returns the number of open connections. A test that kills a client waits until there is none
    /// before it uses a maildrop that only one session can lock.
    pub fn open(&self) -> usize {
        self.sessions.iter().filter(|session| session.open).count()
    }

    /// Returns every received line of all sessions.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        self.sessions
            .iter()
            .flat_map(|session| session.commands.iter().map(String::as_str))
    }

    /// Returns the number of lines that begin with these words, as in [`on`](super::on).
    pub fn count(&self, prefix: &str) -> usize {
        self.sessions
            .iter()
            .map(|session| session.count(prefix))
            .sum()
    }

    /// Returns the round trips of all sessions.
    pub fn turns(&self) -> usize {
        self.sessions.iter().map(|session| session.turns).sum()
    }
}

impl SessionLog {
    /// Returns the number of lines of this session that begin with these words.
    pub fn count(&self, prefix: &str) -> usize {
        self.commands
            .iter()
            .filter(|line| super::fault::begins_with_words(line.as_bytes(), prefix.as_bytes()))
            .count()
    }
}
