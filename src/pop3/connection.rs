//! A buffered stream that sends commands and reads responses, with limits on size and time, and a
//! trace.
//!
//! # Synchronization
//!
//! A response carries no reference to its command: the n-th response belongs to the n-th command,
//! and one that is lost or sent twice shifts all that follow. The connection therefore counts the
//! commands that have no response yet. Data that arrives while none is outstanding is an error
//! ([`Kind::Desynchronized`]) and is never read as the response to the next command. Pipelined
//! commands are checked by sentinels in addition, commands whose response cannot be confused with
//! another: LIST with a number ([`retrieval`](super::retrieval)), and STAT for commands without
//! one.

use std::{
    io::{self, Read, Write},
    ops::Range,
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

use super::{
    body::Decoder,
    command::{Command, MAX_COMMAND},
    read_buffer::{LineEnds, ReadBuffer},
    reply::{self, Capabilities, Code, Refusal, Reply, quoted},
    secrets::Secrets,
    transfer_rate::TransferRate,
};
use crate::{
    domain::ids::MsgNum,
    error::{Error, Kind, Result},
    event::TraceLine,
    text::{readable, sanitize},
};

/// The longest line accepted outside of a message, in bytes. RFC 2449 §4 allows 512, but SASL
/// challenges and some UIDs are longer.
const MAX_LINE: usize = 16 * 1024;

/// The largest response to CAPA that is accepted, in bytes.
const MAX_CAPA: usize = 64 * 1024;

/// A function that receives each line of the session, for `-vv`.
pub type Trace = Box<dyn FnMut(TraceLine) + Send>;

/// The settings of a connection, which do not change during a session.
pub struct ConnectionOptions {
    /// The server's name, for messages.
    pub peer: String,
    /// How long one response may take in all, besides a second for each 100 bytes (see
    /// [`transfer_rate`](super::transfer_rate)).
    pub time_limit: Duration,
    /// Receives each line of the session, if `Some`.
    pub trace: Option<Trace>,
}

/// A stream, with the bytes that were read from it and not used yet.
pub(super) struct Connection<S> {
    stream: S,
    buffer: ReadBuffer,
    /// Commands to send with the next flush.
    unsent: Zeroizing<Vec<u8>>,
    /// The number of commands without a response, those in `unsent` included.
    unanswered: usize,
    rate: TransferRate,
    /// Whether the responses to STAT have a size.
    stat_has_size: bool,
    /// The server's name, for messages.
    pub(super) peer: String,
    time_limit: Duration,
    trace: Option<Trace>,
    /// What is removed from the server's responses.
    secrets: Secrets,
}

impl<S> Connection<S> {
    /// Returns a connection on `stream`. Nothing is sent or read yet.
    pub(super) fn new(stream: S, options: ConnectionOptions) -> Self {
        let ConnectionOptions {
            peer,
            time_limit,
            trace,
        } = options;
        Self {
            stream,
            buffer: ReadBuffer::default(),
            unsent: Zeroizing::default(),
            unanswered: 0,
            rate: TransferRate::default(),
            stat_has_size: true,
            peer,
            time_limit,
            trace,
            secrets: Secrets::default(),
        }
    }

    /// Removes `secret` from all responses from now on.
    pub(super) fn hide(&mut self, secret: &[u8]) {
        self.secrets.add(secret);
    }

    /// Returns whether the buffer has bytes that were not used yet.
    pub(super) fn has_unread(&self) -> bool {
        !self.buffer.unread().is_empty()
    }

    /// Returns the stream, to be wrapped in TLS, and the options for the new connection.
    pub(super) fn into_parts(self) -> (S, ConnectionOptions) {
        (
            self.stream,
            ConnectionOptions {
                peer: self.peer,
                time_limit: self.time_limit,
                trace: self.trace,
            },
        )
    }

    /// Returns text of the server for display, without the secrets.
    pub(super) fn displayed(&self, text: &[u8]) -> String {
        sanitize(&self.redact(text))
    }

    /// Traces what the server sent in base64.
    pub(super) fn trace_decoded(&mut self, text: &[u8]) {
        let text = format!("(decoded) {}", self.displayed(text));
        self.trace_line(|| TraceLine::Server(text));
    }

    /// Returns the error for a response that no command can have.
    pub(super) fn unexpected(&self, response: &[u8]) -> Error {
        let response = readable(&self.redact(response));
        Error::new(
            Kind::Desynchronized,
            format!("unexpected response from {}", self.peer),
        )
        .with_fact(format!("{} said: {response}", self.peer))
    }

    /// Returns the error for a response that cannot belong to its command.
    pub(super) fn desynchronized(&self, response: &[u8]) -> Error {
        let response = readable(&self.redact(response));
        Error::new(
            Kind::Desynchronized,
            format!(
                "unexpected response from {}: client and server are out of sync",
                self.peer
            ),
        )
        .with_fact(format!("{} said: {response}", self.peer))
    }

    /// Records that the server sends no size in response to STAT, so that
    /// [`check_in_sync`](Self::check_in_sync) does not expect one.
    pub(super) fn expect_stat_without_size(&mut self) {
        self.stat_has_size = false;
    }

    /// Returns `text` with `***` in place of the secrets.
    fn redact(&self, text: &[u8]) -> Vec<u8> {
        self.secrets.redact(text)
    }

    /// Parses a status line, and removes the secrets from its text. Returns `None` if it is not a
    /// status line.
    fn parse(&self, line: &[u8]) -> Option<Reply> {
        let mut reply = Reply::parse(line)?;
        let (Reply::Ok(text) | Reply::Challenge(text) | Reply::Err(Refusal { text, .. })) =
            &mut reply;
        *text = self.redact(text);
        Some(reply)
    }

    /// Returns the error for unsolicited data in the buffer.
    fn unsolicited(&self) -> Error {
        let unread = self.buffer.unread();
        let line = unread
            .split(|octet| *octet == b'\n')
            .next()
            .unwrap_or(unread)
            .trim_ascii_end();
        match self.parse(line) {
            // Dovecot accepts the login, and then sends this if it cannot open the mailbox
            Some(Reply::Err(refusal)) if refusal.is_transient() => {
                cannot_open(&self.peer, &refusal)
            }
            _ => self.desynchronized(line),
        }
    }

    /// Returns the error for a line that exceeds [`MAX_LINE`].
    fn line_too_long(&self) -> Error {
        let error = match self.buffer.line_ends() {
            LineEnds::Unknown => not_pop3(&self.peer),
            LineEnds::Crlf | LineEnds::Lf => Error::new(
                Kind::NotPop3,
                format!("unexpected response from {}", self.peer),
            ),
        };
        error.with_fact(format!("a line exceeds {} KiB", MAX_LINE / 1024))
    }

    /// Passes a line to the trace, if there is one.
    fn trace_line(&mut self, line: impl FnOnce() -> TraceLine) {
        if let Some(trace) = &mut self.trace {
            trace(line());
        }
    }

    /// Returns the error for a failed read or write, which `doing` names.
    fn io_error(&self, doing: &str, error: &io::Error) -> Error {
        use io::ErrorKind as E;
        let peer = &self.peer;
        match error.kind() {
            E::TimedOut => Error::new(Kind::TimedOut, format!("{peer} did not respond in time"))
                .with_fact(error.to_string()),
            E::UnexpectedEof => Error::new(
                Kind::ConnectionLost,
                format!("{peer} closed the connection"),
            ),
            _ => Error::new(
                Kind::ConnectionLost,
                format!("the connection to {peer} was lost"),
            )
            .with_fact(format!("{doing}: {error}")),
        }
    }
}

impl<S: Read + Write> Connection<S> {
    /// Adds a command to the next flush.
    ///
    /// # Errors
    /// The command is too long, or the server sent unsolicited data. Passwords are sent whatever
    /// their length: many servers accept longer lines than RFC 2449 requires.
    pub(super) fn queue(&mut self, command: Command<'_>) -> Result<()> {
        let line = command.line();
        let has_limit = !matches!(command, Command::Pass(_) | Command::Response(_));
        if line.len() > MAX_COMMAND && has_limit {
            // only a user name can be too long
            return Err(
                Error::new(Kind::Config, "the user name is too long for POP3").with_fact(format!(
                    "a command can have {MAX_COMMAND} bytes (RFC 2449), this one has {}",
                    line.len()
                )),
            );
        }
        self.reject_unsolicited()?;
        self.trace_line(|| TraceLine::Client(command.redacted()));
        self.unsent.extend_from_slice(&line);
        self.unanswered += 1;
        Ok(())
    }

    /// Returns an error if the server sent data while no command was outstanding.
    pub(super) fn reject_unsolicited(&self) -> Result<()> {
        if self.unanswered == 0 && self.has_unread() {
            Err(self.unsolicited())
        } else {
            Ok(())
        }
    }

    /// Sends the queued commands in one write.
    pub(super) fn flush(&mut self) -> Result<()> {
        let unsent = std::mem::take(&mut self.unsent);
        self.rate = TransferRate::default();
        let mut sent = 0;
        while sent < unsent.len() {
            let began = Instant::now();
            sent += match self.stream.write(&unsent[sent..]) {
                Ok(0) => return Err(self.io_error("sending", &io::ErrorKind::WriteZero.into())),
                Ok(octets) => {
                    self.count_transfer(began, octets)?;
                    octets
                }
                Err(error) => return Err(self.io_error("sending", &error)),
            };
        }
        self.stream
            .flush()
            .map_err(|error| self.io_error("sending", &error))
    }

    /// Counts bytes that were transferred since `began`.
    ///
    /// # Errors
    /// The transfer is too slow.
    fn count_transfer(&mut self, began: Instant, octets: usize) -> Result<()> {
        self.rate.add(began.elapsed(), octets);
        if self.rate.is_too_slow(self.time_limit) {
            return Err(Error::new(
                Kind::ConnectionLost,
                format!("the connection to {} is too slow", self.peer),
            )
            .with_fact(format!(
                "{} bytes in {} s",
                self.rate.bytes(),
                self.rate.seconds()
            )));
        }
        Ok(())
    }

    /// Sends a command before or during the login. Returns the response.
    pub(super) fn execute(&mut self, command: Command<'_>) -> Result<Reply> {
        self.queue(command)?;
        self.flush()?;
        self.reply()
    }

    /// Returns a decoder for the multi-line response that comes next.
    pub(super) fn decoder(&self) -> Decoder {
        Decoder::new(self.buffer.line_ends() == LineEnds::Lf)
    }

    /// Reads a status line or a SASL challenge, before or during the login.
    ///
    /// # Errors
    /// The connection is lost, or the line is neither: [`Kind::Desynchronized`].
    pub(super) fn reply(&mut self) -> Result<Reply> {
        let (line, reply) = self.read_reply()?;
        reply.ok_or_else(|| self.unexpected(&line))
    }

    /// Reads the greeting.
    ///
    /// # Errors
    /// The connection is lost, or the line is no status line: [`Kind::NotPop3`].
    pub(super) fn greeting(&mut self) -> Result<Reply> {
        let (line, reply) = self.read_reply()?;
        reply.ok_or_else(|| {
            not_pop3(&self.peer).with_fact(format!(
                "{} said: {}",
                self.peer,
                readable(&self.redact(&line))
            ))
        })
    }

    /// Reads a status line after the login. Returns the text after `+OK`, or the refusal.
    ///
    /// # Errors
    /// The connection is lost, or the line is not a status line. It may be the rest of a message
    /// whose end the server sent too early, so the server is not in sync: [`Kind::Desynchronized`].
    pub(super) fn status(&mut self) -> Result<std::result::Result<Vec<u8>, Refusal>> {
        match self.read_reply()? {
            (_, Some(Reply::Ok(text))) => Ok(Ok(text)),
            (_, Some(Reply::Err(refusal))) => Ok(Err(refusal)),
            (line, _) => Err(self.desynchronized(&line)),
        }
    }

    /// Sends STAT and verifies that its response comes next, so that each command before it had
    /// one response.
    ///
    /// NOOP was rejected as the sentinel, because any `+OK` would pass for its response. That to
    /// STAT begins with two numbers, unlike those to DELE, TOP and UIDL; with one on a server that
    /// [sends no size](Self::expect_stat_without_size).
    pub(super) fn check_in_sync(&mut self) -> Result<()> {
        self.queue(Command::Stat)?;
        self.flush()?;
        match self.status()? {
            Ok(text)
                if reply::stat(&text)
                    .is_some_and(|(_, size)| size.is_some() || !self.stat_has_size) =>
            {
                self.reject_unsolicited()
            }
            Ok(text) => Err(self.desynchronized(&[b"+OK ", &text[..]].concat())),
            Err(refusal) => Err(self.desynchronized(&[b"-ERR ", &refusal.text[..]].concat())),
        }
    }

    /// Reads a line, and parses it if it is a status line or a challenge.
    fn read_reply(&mut self) -> Result<(Vec<u8>, Option<Reply>)> {
        self.rate = TransferRate::default();
        let line = self.line()?.to_vec();
        self.unanswered = self.unanswered.saturating_sub(1);
        let reply = self.parse(&line);
        if self.trace.is_some() {
            let text = match &reply {
                // the challenges of SCRAM suffice to find the password by guessing
                Some(Reply::Challenge(text)) if !text.is_empty() => "+ ***".into(),
                _ => readable(&self.redact(&line)),
            };
            self.trace_line(|| TraceLine::Server(text));
        }
        Ok((line, reply))
    }

    /// Reads a line of a multi-line response to LIST, UIDL or CAPA, with its dot unstuffed. Returns
    /// `None` at the end of the response. `budget` is the number of bytes that the rest of the
    /// response may have, and is counted down.
    pub(super) fn list_line(&mut self, budget: &mut usize) -> Result<Option<&[u8]>> {
        let line = self.next_line()?;
        *budget = budget.checked_sub(line.len() + 2).ok_or_else(|| {
            Error::new(
                Kind::NotPop3,
                format!(
                    "a response from {} has more lines than any mailbox needs",
                    self.peer
                ),
            )
        })?;
        Ok(match self.buffer.bytes(line) {
            b"." => None,
            [b'.', rest @ ..] => Some(rest),
            line => Some(line),
        })
    }

    /// Reads the response to CAPA. Returns `None` if the server does not know the command (popa3d,
    /// Solid POP3).
    ///
    /// # Errors
    /// The connection is lost, or the server cannot open the mailbox.
    pub(super) fn capabilities(&mut self) -> Result<Option<Capabilities>> {
        match self.reply()? {
            Reply::Ok(_) => {}
            // Dovecot, unsolicited after the login: see `unsolicited`
            Reply::Err(refusal) if refusal.is_transient() => {
                return Err(cannot_open(&self.peer, &refusal));
            }
            Reply::Err(_) => return Ok(None),
            Reply::Challenge(_) => return Err(not_pop3(&self.peer)),
        }
        let mut capabilities = Capabilities::default();
        let mut budget = MAX_CAPA;
        while let Some(line) = self.list_line(&mut budget)? {
            capabilities.add(line);
        }
        for line in capabilities.lines() {
            let text = sanitize(&self.redact(line.as_bytes()));
            self.trace_line(|| TraceLine::Server(text));
        }
        Ok(Some(capabilities))
    }

    /// Reads a line. Returns it without its line end.
    fn line(&mut self) -> Result<&[u8]> {
        self.next_line().map(|line| self.buffer.bytes(line))
    }

    /// Reads a line. Returns its range in the buffer, without its line end.
    fn next_line(&mut self) -> Result<Range<usize>> {
        let mut searched = 0;
        loop {
            if let Some(line) = self.buffer.take_line(searched) {
                return Ok(line);
            }
            searched = self.buffer.unread().len();
            if searched > MAX_LINE {
                return Err(self.line_too_long());
            }
            self.fill()?;
        }
    }

    /// Reads more of a message. Returns the range of its decoded [`bytes`](Self::bytes) in the
    /// buffer, or `None` once the response has ended. `ended` is the state between two calls.
    pub(super) fn content(
        &mut self,
        decoder: &mut Decoder,
        ended: &mut bool,
    ) -> Result<Option<Range<usize>>> {
        while !*ended {
            let content;
            (content, *ended) = self.buffer.take_content(decoder);
            if !content.is_empty() {
                return Ok(Some(content));
            }
            if !*ended {
                self.fill()?;
            }
        }
        Ok(None)
    }

    /// Returns the bytes of a range from [`content`](Self::content), which is valid until more is
    /// read.
    pub(super) fn bytes(&self, content: Range<usize>) -> &[u8] {
        self.buffer.bytes(content)
    }

    /// Reads the response to the sentinel `LIST num`, which follows the response to a command for
    /// that message. If that command was `refused`, LIST may be refused as well.
    ///
    /// # Errors
    /// The connection is lost, or the response does not belong to the sentinel.
    pub(super) fn read_sentinel(&mut self, num: MsgNum, refused: bool) -> Result<()> {
        match self.status()? {
            Ok(text) => match reply::sentinel(&text) {
                Some(named) if named == num => Ok(()),
                _ => Err(self.desynchronized(&[b"+OK ", &text[..]].concat())),
            },
            Err(_) if refused => Ok(()),
            Err(refusal) => Err(self.desynchronized(&[b"-ERR ", &refusal.text[..]].concat())),
        }
    }

    /// Reads once from the stream, and appends to the bytes in the buffer.
    fn fill(&mut self) -> Result<()> {
        let began = Instant::now();
        match self.buffer.fill(&mut self.stream) {
            Ok(0) => Err(self.io_error("reading", &io::ErrorKind::UnexpectedEof.into())),
            Ok(octets) => self.count_transfer(began, octets),
            Err(error) => Err(self.io_error("reading", &error)),
        }
    }
}

/// Returns the error for a mailbox that the server cannot open at the moment.
pub(super) fn cannot_open(peer: &str, refusal: &Refusal) -> Error {
    let kind = match refusal.code {
        Some(Code::SysTemp) => Kind::ServerBusy,
        _ => Kind::Busy,
    };
    Error::new(kind, format!("{peer} cannot open the mailbox")).with_fact(quoted(peer, refusal))
}

/// Returns the error for a server that does not speak POP3.
pub(super) fn not_pop3(peer: &str) -> Error {
    Error::new(Kind::NotPop3, format!("{peer} does not speak POP3")).with_hint(
        "check `host`, `port` and `tls`: port 995 needs tls = \"implicit\", port 110 \"starttls\"",
    )
    .with_url_hint("check the host and the port in the URL")
}
