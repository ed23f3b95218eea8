//! The TRANSACTION state of a session (RFC 1939 §5), and the UPDATE state, which
//! [`quit`](Transaction::quit) enters (§6).
//!
//! Each state is a type, [`Authorization`](super::login::Authorization) and then [`Transaction`],
//! so that a command cannot be sent in the wrong one. Dropping a value closes the stream without
//! QUIT, and the server deletes nothing: every error and every panic is safe.

use std::io::{Read, Write};

use super::{
    command::Command,
    connection::Connection,
    listing::{ListCommands, Listing},
    reply::{Capabilities, Refusal, quoted},
    retrieval::{RetrRequest, Retrieval, Window},
};
use crate::{
    domain::{auth::Mechanism, ids::MsgNum, message::Head},
    error::{Error, Kind, Result},
};

/// The largest response to TOP that is accepted, in bytes. Some servers send the whole message.
const MAX_TOP: u64 = 64_000_000;

/// The number of DELE or TOP commands that are sent in one write. They fit into the smallest socket
/// buffer, so that a server that does not read commands while its responses are not read cannot
/// cause a deadlock.
const COMMANDS_AT_ONCE: usize = 256;

/// The responses to DELE.
#[derive(Debug)]
pub struct DeleteResponses {
    /// The responses that arrived, in the order of the commands.
    pub responses: Vec<std::result::Result<(), Refusal>>,
    /// Why the session cannot be continued: the connection is lost, or the server is out of sync,
    /// so that the responses may belong to other messages.
    pub lost: Option<Error>,
}

/// How a session was logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginMethod {
    /// The mechanism that succeeded.
    pub mechanism: Mechanism,
    /// Whether the server refused another mechanism before.
    pub after_refusal: bool,
}

/// A session after the login.
pub struct Transaction<S> {
    connection: Connection<S>,
    capabilities: Option<Capabilities>,
    stage: Stage,
    method: LoginMethod,
    disable_pipelining: bool,
    disable_uidl: bool,
}

/// How far a session got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The server accepted the login. The capabilities are those from before the login.
    LoggedIn,
    /// The listing of the mailbox was requested.
    Listing,
    /// The mailbox was listed.
    Listed,
}

impl<S: Read + Write> Transaction<S> {
    /// Returns a session that has just logged in. `capabilities` are those from before the login.
    pub(super) fn new(
        connection: Connection<S>,
        capabilities: Option<Capabilities>,
        method: LoginMethod,
    ) -> Self {
        Self {
            connection,
            capabilities,
            stage: Stage::LoggedIn,
            method,
            disable_pipelining: false,
            disable_uidl: false,
        }
    }

    /// Returns the server's name.
    pub fn peer(&self) -> &str {
        &self.connection.peer
    }

    /// Returns how the session was logged in.
    pub fn method(&self) -> LoginMethod {
        self.method
    }

    /// Returns the server's capabilities, or `None` if it does not support CAPA.
    pub fn capabilities(&self) -> Option<&Capabilities> {
        self.capabilities.as_ref()
    }

    /// Waits for each response before the next command is sent, even if the server announces
    /// PIPELINING: some servers announce it and lose commands.
    pub fn disable_pipelining(&mut self) {
        self.disable_pipelining = true;
    }

    /// Does not request UIDs. All messages are listed as having none.
    pub fn disable_uidl(&mut self) {
        self.disable_uidl = true;
    }

    /// Returns whether commands are sent before earlier ones have been answered (RFC 2449 §6.6).
    pub fn pipelining(&self) -> bool {
        !self.disable_pipelining
            && self
                .capabilities
                .as_ref()
                .is_some_and(|known| known.has("PIPELINING"))
    }

    /// Returns whether the mailbox was listed in this session.
    pub fn is_listed(&self) -> bool {
        self.stage == Stage::Listed
    }

    /// Lists the mailbox with STAT, LIST and UIDL, in one round trip if the server supports
    /// pipelining. Calls `meanwhile` while the server works, and returns its result, too.
    ///
    /// # Errors
    /// The server does not support UIDL, the mailbox or a response is too large, or the connection
    /// is lost.
    pub fn list<T>(&mut self, meanwhile: impl FnOnce() -> T) -> Result<(Listing, T)> {
        // Gmail announces PIPELINING only after the login
        let mut renew = self.stage == Stage::LoggedIn && self.capabilities.is_some();
        self.stage = Stage::Listing;
        if renew && !self.pipelining() {
            self.connection.queue(Command::Capa)?;
            self.connection.flush()?;
            self.read_capabilities()?;
            renew = false;
        }
        let commands = ListCommands {
            pipelined: self.pipelining(),
            uidl: !self.disable_uidl,
        };
        if renew {
            self.connection.queue(Command::Capa)?;
        }
        commands.queue(&mut self.connection)?;
        self.connection.flush()?;
        let done = meanwhile();
        if renew {
            self.read_capabilities()?;
        }
        let listing = commands.read(&mut self.connection)?;
        if listing.lacks_sizes {
            self.disable_pipelining();
        }
        self.stage = Stage::Listed;
        Ok((listing, done))
    }

    /// Reads the response to CAPA.
    fn read_capabilities(&mut self) -> Result<()> {
        self.capabilities = self.connection.capabilities()?;
        Ok(())
    }

    /// Retrieves messages in the order of `requests`. If the server supports pipelining, as many
    /// requests are sent ahead as `window` allows.
    pub fn retrieve<'s>(
        &'s mut self,
        requests: &'s [RetrRequest],
        window: Window,
    ) -> Retrieval<'s, S> {
        let pipelining = self.pipelining();
        let window = if pipelining { window } else { Window::ONE };
        Retrieval::new(&mut self.connection, requests, window, pipelining)
    }

    /// Returns the header of a message, with LF line ends, or the server's refusal.
    ///
    /// # Errors
    /// The connection is lost, or the server is out of sync.
    pub fn top(&mut self, num: MsgNum) -> Result<std::result::Result<Head, Refusal>> {
        let mut found = None;
        self.tops(&[num], |head| found = Some(head))?;
        // one response per command
        found.ok_or_else(|| Error::new(Kind::Bug, "no response to TOP"))
    }

    /// Calls `each` with the header of each message, as [`top`](Self::top) returns it, in that
    /// order. The commands are pipelined if the server supports it, each with a sentinel (see
    /// [`retrieval`](super::retrieval)).
    ///
    /// # Errors
    /// As for [`top`](Self::top). Headers that `each` received before the connection was lost are
    /// those of the right messages; if the server is out of sync without pipelining, they may not
    /// be.
    pub fn tops(
        &mut self,
        nums: &[MsgNum],
        mut each: impl FnMut(std::result::Result<Head, Refusal>),
    ) -> Result<()> {
        let pipelining = self.pipelining();
        for batch in nums.chunks(if pipelining { COMMANDS_AT_ONCE } else { 1 }) {
            for num in batch {
                self.connection.queue(Command::Top(*num, 0))?;
                if pipelining {
                    self.connection.queue(Command::ListOne(*num))?;
                }
            }
            self.connection.flush()?;
            for num in batch {
                let head = self.head()?;
                if pipelining {
                    self.connection.read_sentinel(*num, head.is_err())?;
                }
                each(head);
            }
        }
        if pipelining || nums.is_empty() {
            Ok(())
        } else {
            self.connection.check_in_sync()
        }
    }

    /// Reads the response to TOP. Lines after the header are ignored: some servers send the whole
    /// message.
    fn head(&mut self) -> Result<std::result::Result<Head, Refusal>> {
        if let Err(refusal) = self.connection.status()? {
            return Ok(Err(refusal));
        }
        let (mut decoder, mut ended, mut head) =
            (self.connection.decoder(), false, Head::default());
        while let Some(content) = self.connection.content(&mut decoder, &mut ended)? {
            head.push(self.connection.bytes(content));
            if decoder.octets() > MAX_TOP {
                let peer = &self.connection.peer;
                return Err(Error::new(
                    Kind::ConnectionLost,
                    format!("a header from {peer} exceeds {} MB", MAX_TOP / 1_000_000),
                ));
            }
        }
        Ok(Ok(head))
    }

    /// Marks messages for deletion, pipelined if the server supports it. Nothing is deleted before
    /// [`quit`](Self::quit).
    pub fn delete(&mut self, nums: &[MsgNum]) -> DeleteResponses {
        let mut responses = Vec::with_capacity(nums.len());
        let lost = self.send_deletions(nums, &mut responses).err();
        DeleteResponses { responses, lost }
    }

    fn send_deletions(
        &mut self,
        nums: &[MsgNum],
        responses: &mut Vec<std::result::Result<(), Refusal>>,
    ) -> Result<()> {
        let pipelining = self.pipelining();
        for batch in nums.chunks(if pipelining { COMMANDS_AT_ONCE } else { 1 }) {
            for num in batch {
                self.connection.queue(Command::Dele(*num))?;
            }
            self.connection.flush()?;
            for _ in batch {
                responses.push(self.connection.status()?.map(drop));
            }
        }
        self.connection.check_in_sync()
    }

    /// Removes all deletion marks of this session.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn reset(&mut self) -> Result<()> {
        self.execute(Command::Rset).map(drop)
    }

    /// Ends a session in which no message was marked, without waiting for the response to QUIT:
    /// nothing depends on it.
    pub fn leave(mut self) {
        // a lost connection ends the session as well
        let _ = self
            .connection
            .queue(Command::Quit)
            .and_then(|()| self.connection.flush());
    }

    /// Ends the session with QUIT, at which the server deletes the marked messages (RFC 1939 §6).
    ///
    /// # Errors
    /// The server did not confirm. It may have deleted all of the messages, some or none.
    pub fn quit(mut self) -> Result<()> {
        match self.execute(Command::Quit)? {
            Ok(_) => Ok(()),
            Err(refusal) => {
                let peer = &self.connection.peer;
                Err(
                    Error::new(Kind::Busy, format!("{peer} did not confirm the deletions"))
                        .with_fact(quoted(peer, &refusal)),
                )
            }
        }
    }

    /// Sends a command, and returns its status line.
    fn execute(&mut self, command: Command<'_>) -> Result<std::result::Result<Vec<u8>, Refusal>> {
        self.connection.queue(command)?;
        self.connection.flush()?;
        self.connection.status()
    }
}
