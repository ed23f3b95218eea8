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
    reply::{self, Capabilities, Refusal, quoted},
    retrieval::{RetrRequest, Retrieval, Window},
    sasl::Mechanism,
};
use crate::{
    domain::{
        ids::{Listed, MsgNum, Uid},
        message::Head,
    },
    error::{Error, Kind, Result},
};

/// The largest mailbox that is supported: its listing, and what the ledger knows of each message,
/// have to fit into 64 MiB of memory.
const MAX_MESSAGES: u32 = 200_000;

/// The bytes that LIST or UIDL may use for one message. RFC 1939 §7 allows 70 bytes for a UID; the
/// longest known ones have 200.
const MAX_LISTING_LINE: usize = 256;

/// The largest response to LIST or UIDL that is accepted, in bytes.
const MAX_LISTING: usize = 10_000_000;

/// The largest response to TOP that is accepted, in bytes. Some servers send the whole message.
const MAX_TOP: u64 = 64_000_000;

/// The number of DELE or TOP commands that are sent in one write. They fit into the smallest socket
/// buffer, so that a server that does not read commands while its responses are not read cannot
/// cause a deadlock.
const COMMANDS_AT_ONCE: usize = 256;

/// The messages in a mailbox, as the server lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The messages that have a UID, by number.
    pub messages: Vec<Listed>,
    /// The messages that have none: number and size in octets.
    pub nameless: Vec<(MsgNum, u64)>,
    /// Whether LIST and UIDL listed the same messages.
    pub agrees: bool,
    /// The number of messages by STAT.
    pub expected: u32,
    /// The first line of LIST or UIDL that could not be parsed.
    pub unparsed: Option<Vec<u8>>,
    /// The response to UIDL, if the server refused it.
    pub uidl_refused: Option<Refusal>,
}

impl Listing {
    /// Returns the number of messages that the server listed.
    pub fn listed(&self) -> usize {
        self.messages.len() + self.nameless.len()
    }

    /// Returns whether messages are missing: the server listed none of those that it has, or sent
    /// lines that could not be parsed instead. Where it just lists fewer, STAT may count others.
    pub fn is_incomplete(&self) -> bool {
        let listed = self.listed();
        listed < self.expected as usize && (listed == 0 || self.unparsed.is_some())
    }
}

/// The response to LIST or UIDL.
struct ListedLines<T> {
    lines: Vec<(MsgNum, T)>,
    /// The first line that could not be parsed.
    unparsed: Option<Vec<u8>>,
}

impl<T> Default for ListedLines<T> {
    fn default() -> Self {
        Self {
            lines: Vec::new(),
            unparsed: None,
        }
    }
}

/// The responses to DELE.
#[derive(Debug)]
pub struct DeleteResponses {
    /// The responses that arrived, in the order of the commands.
    pub responses: Vec<std::result::Result<(), Refusal>>,
    /// Why the session cannot be continued: the connection is lost, or the server is out of sync,
    /// so that the responses may belong to other messages.
    pub lost: Option<Error>,
}

/// A session after the login.
pub struct Transaction<S> {
    connection: Connection<S>,
    capabilities: Option<Capabilities>,
    /// Whether the capabilities are those from before the login.
    capabilities_may_differ: bool,
    mechanism: Mechanism,
    disable_pipelining: bool,
    disable_uidl: bool,
}

impl<S: Read + Write> Transaction<S> {
    /// Returns a session that has just logged in. `capabilities` are those from before the login.
    pub(super) fn new(
        connection: Connection<S>,
        capabilities: Option<Capabilities>,
        mechanism: Mechanism,
    ) -> Self {
        Self {
            connection,
            capabilities,
            capabilities_may_differ: true,
            mechanism,
            disable_pipelining: false,
            disable_uidl: false,
        }
    }

    /// Returns the server's name.
    pub fn peer(&self) -> &str {
        &self.connection.peer
    }

    /// Returns the mechanism of the login.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
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

    /// Lists the mailbox with STAT, LIST and UIDL, in one round trip if the server supports
    /// pipelining. Calls `meanwhile` while the server works, and returns its result, too.
    ///
    /// # Errors
    /// The server does not support UIDL, the mailbox or a response is too large, or the connection
    /// is lost.
    pub fn list<T>(&mut self, meanwhile: impl FnOnce() -> T) -> Result<(Listing, T)> {
        // Gmail announces PIPELINING only after the login
        let mut renew =
            std::mem::take(&mut self.capabilities_may_differ) && self.capabilities.is_some();
        if renew && !self.pipelining() {
            self.connection.queue(Command::Capa)?;
            self.connection.flush()?;
            self.read_capabilities()?;
            renew = false;
        }
        let pipelined = self.pipelining();
        if renew {
            self.connection.queue(Command::Capa)?;
        }
        self.connection.queue(Command::Stat)?;
        if pipelined {
            self.connection.queue(Command::List)?;
            if !self.disable_uidl {
                self.connection.queue(Command::Uidl)?;
            }
        }
        self.connection.flush()?;
        let done = meanwhile();
        if renew {
            self.read_capabilities()?;
        }
        Ok((self.listing(pipelined)?, done))
    }

    /// Reads the responses to STAT, LIST and UIDL. The last two commands are sent first unless they
    /// were `pipelined`.
    fn listing(&mut self, pipelined: bool) -> Result<Listing> {
        let expected = self.stat()?;
        if expected > MAX_MESSAGES {
            let peer = &self.connection.peer;
            return Err(Error::new(
                Kind::Unavailable,
                format!("the mailbox on {peer} has {expected} messages"),
            )
            .with_fact(format!(
                "pouch supports at most {MAX_MESSAGES} messages per mailbox"
            ))
            .with_hint("delete or archive some messages with another client first"));
        }
        if expected == 0 {
            // Some servers send no dot after an empty list, so that its end is not waited for.
            return Ok(Listing::default());
        }
        let sizes = self.read_list(Command::List, pipelined, expected, reply::list_line)?;
        let uids = if self.disable_uidl {
            Ok(ListedLines::default())
        } else {
            self.read_list(Command::Uidl, pipelined, expected, reply::uidl_line)?
        };
        let sizes = sizes.map_err(|refusal| {
            let kind = if refusal.sounds_transient() {
                Kind::Busy
            } else {
                Kind::Unavailable
            };
            Error::new(
                kind,
                format!("{} refused to list the messages", self.connection.peer),
            )
            .with_fact(quoted(&self.connection.peer, &refusal))
        })?;
        if sizes.lines.iter().any(|(_, size)| size.is_none()) {
            // the sentinel of pipelined commands needs the size
            self.disable_pipelining();
        }
        let (uids, uidl_refused) = match uids {
            Ok(uids) => (uids, None),
            Err(refusal) => (ListedLines::default(), Some(refusal)),
        };
        let listing = Listing {
            expected,
            unparsed: sizes.unparsed.or(uids.unparsed),
            uidl_refused,
            ..join(sizes.lines, uids.lines)
        };
        if !self.disable_uidl && listing.uidl_refused.is_none() && !listing.agrees {
            // the difference may also be that of a lost or repeated response
            self.connection.check_in_sync()?;
        }
        Ok(listing)
    }

    /// Reads the response to CAPA.
    fn read_capabilities(&mut self) -> Result<()> {
        self.capabilities = self.connection.capabilities()?;
        Ok(())
    }

    /// Reads the response to STAT. Returns the number of messages.
    fn stat(&mut self) -> Result<u32> {
        let status = self.connection.status()?;
        let peer = &self.connection.peer;
        match status {
            Ok(text) => match reply::stat(&text) {
                Some((count, size)) => {
                    if size.is_none() {
                        self.connection.expect_stat_without_size();
                    }
                    Ok(count)
                }
                None => Err(self.connection.unexpected(&[b"+OK ", &text[..]].concat())),
            },
            Err(refusal) => {
                let kind = if refusal.sounds_transient() {
                    Kind::Busy
                } else {
                    Kind::Unavailable
                };
                Err(Error::new(kind, format!("{peer} cannot open the mailbox"))
                    .with_fact(quoted(peer, &refusal)))
            }
        }
    }

    /// Reads the response to LIST or UIDL, after sending the command unless it was `pipelined`.
    /// Returns the lines that `parse` accepts, and the first that it does not.
    fn read_list<T>(
        &mut self,
        command: Command<'_>,
        pipelined: bool,
        expected: u32,
        parse: impl Fn(&[u8]) -> Option<(MsgNum, T)>,
    ) -> Result<std::result::Result<ListedLines<T>, Refusal>> {
        if !pipelined {
            self.connection.queue(command)?;
            self.connection.flush()?;
        }
        if let Err(refusal) = self.connection.status()? {
            return Ok(Err(refusal));
        }
        let mut budget = MAX_LISTING.min((expected as usize + 64) * MAX_LISTING_LINE);
        let (mut lines, mut unparsed) = (Vec::new(), None);
        while let Some(line) = self.connection.list_line(&mut budget)? {
            match parse(line) {
                Some(parsed) => lines.push(parsed),
                None if unparsed.is_none() => unparsed = Some(line.to_vec()),
                None => {}
            }
        }
        Ok(Ok(ListedLines { lines, unparsed }))
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

/// Joins sizes and UIDs by message number. If a number is listed twice, the first line counts. A
/// message that has a UID but no size is listed with size 0.
fn join(sizes: Vec<(MsgNum, Option<u64>)>, uids: Vec<(MsgNum, Uid)>) -> Listing {
    let mut sizes: Vec<_> = sizes
        .into_iter()
        .map(|(num, size)| (num, size.unwrap_or(0)))
        .collect();
    sizes.sort_by_key(|(num, _)| *num);
    sizes.dedup_by_key(|(num, _)| *num);
    let mut uids = uids;
    uids.sort_by_key(|(num, _)| *num);
    uids.dedup_by_key(|(num, _)| *num);
    let has_uid = |num: &MsgNum| uids.binary_search_by_key(num, |(num, _)| *num).is_ok();
    let nameless: Vec<_> = sizes
        .iter()
        .filter(|(num, _)| !has_uid(num))
        .copied()
        .collect();
    let agrees = nameless.is_empty() && sizes.len() == uids.len();
    let messages = uids
        .into_iter()
        .map(|(num, uid)| Listed {
            octets: sizes
                .binary_search_by_key(&num, |(num, _)| *num)
                .map_or(0, |at| sizes[at].1),
            num,
            uid,
        })
        .collect();
    Listing {
        messages,
        nameless,
        agrees,
        ..Listing::default()
    }
}
