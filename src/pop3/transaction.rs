//! A session after the login (RFC 1939 §5), whose [`quit`](Transaction::quit) is the UPDATE state.
//!
//! A session is typed by its state: [`Authorization`](super::login::Authorization), then
//! [`Transaction`]. Dropping either closes the stream without QUIT: the server then deletes nothing
//! (§6).

use std::io::{Read, Write};

use super::{
    body::Decoder,
    command::Command,
    connection::{Connection, not_pop3},
    reply::{self, Capabilities, Refusal, quoted},
    retrieval::{RetrRequest, Retrieval, Window},
    sasl::Mechanism,
};
use crate::{
    domain::{
        ids::{Listed, MsgNum},
        message::Head,
    },
    error::{Error, Kind, Result},
    text::sanitize,
};

/// The most messages of a mailbox: a listing, and what is known of each, has to fit into 64 MiB.
const MAX_MESSAGES: u32 = 200_000;

/// The most octets that LIST or UIDL may send for one message: a UID has at most 70 octets by the
/// RFC, and at most 200 seen in the wild.
const MAX_LISTING_LINE: usize = 256;

/// The most octets that each of them may send for all messages.
const MAX_LISTING: usize = 10_000_000;

/// The most octets of an answer to TOP.
const MAX_TOP: u64 = 64_000_000;

/// What the server listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The messages that have a UID, by number.
    pub messages: Vec<Listed>,
    /// Those that have none, with their sizes.
    pub nameless: Vec<(MsgNum, u64)>,
    /// Whether LIST and UIDL had the same messages.
    pub agrees: bool,
}

/// After the login (RFC 1939 §5).
pub struct Transaction<S> {
    connection: Connection<S>,
    capabilities: Option<Capabilities>,
    /// Whether the capabilities were not asked for again since the login.
    fresh: bool,
    mechanism: Mechanism,
    disable_pipelining: bool,
    disable_uidl: bool,
}

impl<S: Read + Write> Transaction<S> {
    pub(super) fn new(
        connection: Connection<S>,
        capabilities: Option<Capabilities>,
        mechanism: Mechanism,
    ) -> Self {
        Self {
            connection,
            capabilities,
            fresh: true,
            mechanism,
            disable_pipelining: false,
            disable_uidl: false,
        }
    }

    /// Returns the server's name.
    pub fn peer(&self) -> &str {
        &self.connection.peer
    }

    /// How the login was done.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// What the server can do; nothing where it does not know CAPA.
    pub fn capabilities(&self) -> Option<&Capabilities> {
        self.capabilities.as_ref()
    }

    /// Sends no command before the last one is answered, whatever the server announces: some
    /// announce PIPELINING and lose commands.
    pub fn disable_pipelining(&mut self) {
        self.disable_pipelining = true;
    }

    /// Does not ask for UIDs: no message has one.
    pub fn disable_uidl(&mut self) {
        self.disable_uidl = true;
    }

    /// Whether commands may be sent ahead of the answers to earlier ones (RFC 2449 §6.6).
    pub fn pipelining(&self) -> bool {
        !self.disable_pipelining
            && self
                .capabilities
                .as_ref()
                .is_some_and(|known| known.has("PIPELINING"))
    }

    /// What is in the mailbox: STAT, LIST and UIDL, in one write where the server takes that.
    /// `meanwhile` is done while the server looks.
    ///
    /// # Errors
    /// The server has no UIDL, answers beyond all measure, or the line is lost.
    pub fn list<T>(&mut self, meanwhile: impl FnOnce() -> T) -> Result<(Listing, T)> {
        // Capabilities may differ after the login: Gmail announces PIPELINING only then.
        let mut ask_again = std::mem::take(&mut self.fresh) && self.capabilities.is_some();
        if ask_again && !self.pipelining() {
            self.connection.queue(Command::Capa)?;
            self.connection.flush()?;
            self.renew_capabilities()?;
            ask_again = false;
        }
        let together = self.pipelining();
        if ask_again {
            self.connection.queue(Command::Capa)?;
        }
        self.connection.queue(Command::Stat)?;
        if together {
            self.connection.queue(Command::List)?;
            if !self.disable_uidl {
                self.connection.queue(Command::Uidl)?;
            }
        }
        self.connection.flush()?;
        let done = meanwhile();
        if ask_again {
            self.renew_capabilities()?;
        }
        Ok((self.listing(together)?, done))
    }

    /// Reads the answer to STAT, and those to LIST and UIDL, once they are `asked`.
    fn listing(&mut self, asked: bool) -> Result<Listing> {
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
        let sizes = self.numbered(Command::List, asked, expected, reply::list_line)?;
        let uids = if self.disable_uidl {
            Ok(Vec::new())
        } else {
            self.numbered(Command::Uidl, asked, expected, reply::uidl_line)?
        };
        if expected == 0 {
            return Ok(Listing::default());
        }
        let Ok(uids) = uids else {
            return Err(Error::new(
                Kind::Unavailable,
                format!(
                    "{} does not support UIDL, so fetched messages cannot be recognised",
                    self.connection.peer
                ),
            )
            .with_hint(
                "set quirks = [\"no-uidl\"] to recognise messages by their headers, \
                 see pouch-config(5)",
            ));
        };
        let sizes = sizes.map_err(|refusal| {
            Error::new(
                Kind::Unavailable,
                format!("{} refused to list the messages", self.connection.peer),
            )
            .with_fact(quoted(&self.connection.peer, &refusal))
        })?;
        let listing = join(sizes, uids);
        if !self.disable_uidl && !listing.agrees {
            // or one of the two is the answer to something else, and its own still to come
            self.check_in_sync()?;
        }
        Ok(listing)
    }

    /// Makes sure that no answer was one too many, nor is missing.
    fn check_in_sync(&mut self) -> Result<()> {
        self.connection.queue_check()?;
        self.connection.flush()?;
        self.connection.check()
    }

    fn renew_capabilities(&mut self) -> Result<()> {
        self.capabilities = self.connection.capabilities()?;
        Ok(())
    }

    fn stat(&mut self) -> Result<u32> {
        let answer = self.connection.answer()?;
        let peer = &self.connection.peer;
        match answer {
            Ok(text) => reply::stat(&text).map(|(count, _)| count).ok_or_else(|| {
                not_pop3(peer).with_fact(format!("{peer} said to STAT: +OK {}", sanitize(&text)))
            }),
            Err(refusal) => {
                let kind = if refusal.is_transient() {
                    Kind::Busy
                } else {
                    Kind::Unavailable
                };
                Err(Error::new(kind, format!("{peer} cannot open the mailbox"))
                    .with_fact(quoted(peer, &refusal)))
            }
        }
    }

    /// The lines of LIST or UIDL that `parse` understands. A line that it does not is passed over:
    /// the message it stands for waits.
    fn numbered<T>(
        &mut self,
        command: Command<'_>,
        asked: bool,
        expected: u32,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<std::result::Result<Vec<T>, Refusal>> {
        if !asked {
            self.connection.queue(command)?;
            self.connection.flush()?;
        }
        if let Err(refusal) = self.connection.answer()? {
            return Ok(Err(refusal));
        }
        let mut budget = MAX_LISTING.min((expected as usize + 64) * MAX_LISTING_LINE);
        let mut lines = Vec::new();
        while let Some(line) = self.connection.list_line(&mut budget)? {
            lines.extend(parse(line));
        }
        Ok(Ok(lines))
    }

    /// Retrieves messages in the order of `requests`, with as many requests ahead as `window`
    /// allows and the server supports.
    pub fn retrieve<'s>(
        &'s mut self,
        requests: &'s [RetrRequest],
        window: Window,
    ) -> Retrieval<'s, S> {
        let pipelining = self.pipelining();
        let window = if pipelining { window } else { Window::ONE };
        Retrieval::new(&mut self.connection, requests, window, pipelining)
    }

    /// Returns the header of a message, with LF line ends, or what the server said instead.
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
    /// As for [`top`](Self::top). Headers that `each` got before the connection was lost are those
    /// of the messages that were asked for; if the server is out of sync without pipelining, they
    /// may not be.
    pub fn tops(
        &mut self,
        nums: &[MsgNum],
        mut each: impl FnMut(std::result::Result<Head, Refusal>),
    ) -> Result<()> {
        let pipelining = self.pipelining();
        for some in nums.chunks(if pipelining { COMMANDS_AT_ONCE } else { 1 }) {
            for num in some {
                self.connection.queue(Command::Top(*num, 0))?;
                if pipelining {
                    self.connection.queue(Command::ListOne(*num))?;
                }
            }
            self.connection.flush()?;
            for num in some {
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
            self.check_in_sync()
        }
    }

    /// Reads the answer to TOP. Some servers send all of the message: what is behind the header is
    /// passed over.
    fn head(&mut self) -> Result<std::result::Result<Head, Refusal>> {
        if let Err(refusal) = self.connection.answer()? {
            return Ok(Err(refusal));
        }
        let (mut decoder, mut ended, mut head) = (Decoder::default(), false, Head::default());
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

    /// Marks messages for deletion, in one write where the server takes that; gives the answer to
    /// each. Nothing is deleted before [`quit`](Self::quit), which is only safe where the server is
    /// in step.
    ///
    /// # Errors
    /// The line is lost, or the server is out of step.
    pub fn delete(&mut self, nums: &[MsgNum]) -> Result<Vec<std::result::Result<(), Refusal>>> {
        let together = if self.pipelining() {
            COMMANDS_AT_ONCE
        } else {
            1
        };
        let mut answers = Vec::with_capacity(nums.len());
        for some in nums.chunks(together) {
            for num in some {
                self.connection.queue(Command::Dele(*num))?;
            }
            self.connection.flush()?;
            for _ in some {
                answers.push(self.connection.answer()?.map(drop));
            }
        }
        self.check_in_sync()?;
        Ok(answers)
    }

    /// Takes all deletion marks of this session back.
    ///
    /// # Errors
    /// The line is lost.
    pub fn reset(&mut self) -> Result<()> {
        self.ask(Command::Rset).map(drop)
    }

    /// Ends a session in which nothing was marked, without waiting for the answer: nothing hangs on
    /// it.
    pub fn leave(mut self) {
        // a line that is lost ends the session too
        let _ = self
            .connection
            .queue(Command::Quit)
            .and_then(|()| self.connection.flush());
    }

    /// Ends the session; only now the server deletes what was marked (RFC 1939 §6).
    ///
    /// # Errors
    /// The server did not confirm: whether it deleted anything is not known.
    pub fn quit(mut self) -> Result<()> {
        match self.ask(Command::Quit)? {
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

    fn ask(&mut self, command: Command<'_>) -> Result<std::result::Result<Vec<u8>, Refusal>> {
        self.connection.queue(command)?;
        self.connection.flush()?;
        self.connection.answer()
    }
}

/// So many DELE or TOP go into one write: they fit into the smallest socket buffer, so that a
/// server that waits for its answers to be read never keeps pouch from reading them.
const COMMANDS_AT_ONCE: usize = 256;

/// Sizes and UIDs of the same messages, by number. Where a number comes twice, its first line
/// counts; what has a UID and no size is taken to have no octets.
fn join(sizes: Vec<(MsgNum, u64)>, uids: Vec<(MsgNum, crate::domain::ids::Uid)>) -> Listing {
    let mut sizes = sizes;
    sizes.sort_by_key(|(num, _)| *num);
    sizes.dedup_by_key(|(num, _)| *num);
    let mut uids = uids;
    uids.sort_by_key(|(num, _)| *num);
    uids.dedup_by_key(|(num, _)| *num);
    let named = |num: &MsgNum| uids.binary_search_by_key(num, |(num, _)| *num).is_ok();
    let nameless: Vec<_> = sizes
        .iter()
        .filter(|(num, _)| !named(num))
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
    }
}
