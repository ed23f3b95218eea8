//! What the clients did, for tests to look at.

/// All that the server saw, a session a connection, in the order of connecting.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The connections, ended ones and those under way.
    pub sessions: Vec<SessionLog>,
}

/// What one connection brought.
#[derive(Clone, Debug, Default)]
pub struct SessionLog {
    /// Every line that was received, without its line end; octets that are not UTF-8 are
    /// replaced. Secrets are here in full, so that a test can see how often they were sent.
    pub commands: Vec<String>,
    /// How often the server had answered all that it had read and went to read more. Exact for
    /// a client that sends each burst of commands in one write and then waits for all answers;
    /// for one that sends on while it reads, an upper bound of the round trips.
    pub turns: usize,
    /// Whether a TLS handshake was completed.
    pub tls: bool,
    /// How many of the commands came before that, readable by anyone on the way.
    pub in_clear: usize,
    /// Whether the connection is still there, as far as the server knows.
    pub open: bool,
}

impl Log {
    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.sessions.len()
    }

    /// How many connections are there now. A test that ends the client by force waits for none
    /// before it looks at a maildrop that only one session may have.
    pub fn open(&self) -> usize {
        self.sessions.iter().filter(|session| session.open).count()
    }

    /// Every line that was received, over all sessions.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        self.sessions
            .iter()
            .flat_map(|session| session.commands.iter().map(String::as_str))
    }

    /// How many lines began with these words, as [`on`](super::on) understands them.
    pub fn count(&self, prefix: &str) -> usize {
        self.sessions
            .iter()
            .map(|session| session.count(prefix))
            .sum()
    }

    /// The turns of all sessions.
    pub fn turns(&self) -> usize {
        self.sessions.iter().map(|session| session.turns).sum()
    }
}

impl SessionLog {
    /// How many lines of this session began with these words.
    pub fn count(&self, prefix: &str) -> usize {
        self.commands
            .iter()
            .filter(|line| super::fault::begins_with_words(line.as_bytes(), prefix.as_bytes()))
            .count()
    }
}
