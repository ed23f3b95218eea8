//! A stream with a buffer, bounded lines, bounded time, and a trace.

use std::{
    io::{self, Read, Write},
    ops::Range,
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

use super::{
    body::Decoder,
    command::{Command, MAX_COMMAND},
    reply::{self, Capabilities, Refusal, Reply, quoted},
    secrets::Secrets,
    transfer_rate::TransferRate,
};
use crate::{
    domain::ids::MsgNum,
    error::{Error, Kind, Result},
    event::TraceLine,
    text::sanitize,
};

/// How much is read at once.
const BUFFER: usize = 64 * 1024;

/// The longest line that a server may send outside of a message. RFC 2449 §4 says 512 octets;
/// SASL challenges and some UIDs are longer.
const MAX_LINE: usize = 16 * 1024;

/// The largest response to CAPA that is read, in octets.
const MAX_CAPA: usize = 64 * 1024;

/// Who gets to see the lines of the session.
pub type Trace = Box<dyn FnMut(TraceLine) + Send>;

/// What is settled before anything is said.
pub struct ConnectionOptions {
    /// The server's name, for messages.
    pub peer: String,
    /// An answer may keep pouch waiting so long, all its pauses together, and a second more for
    /// each 100 octets: what comes slower never ends.
    pub time_limit: Duration,
    /// Who gets every line of the session.
    pub trace: Option<Trace>,
}

/// A stream and what was read from it, but not yet used.
pub(super) struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
    /// `buffer[start..end]` is not used yet.
    start: usize,
    end: usize,
    /// Commands to be sent with the next flush.
    unsent: Zeroizing<Vec<u8>>,
    /// So many commands were not answered yet.
    unanswered: usize,
    rate: TransferRate,
    /// The server's name, for messages.
    pub(super) peer: String,
    time_limit: Duration,
    trace: Option<Trace>,
    /// What is not repeated, should the server repeat it.
    secrets: Secrets,
}

impl<S> Connection<S> {
    pub(super) fn new(stream: S, terms: ConnectionOptions) -> Self {
        let ConnectionOptions {
            peer,
            time_limit,
            trace,
        } = terms;
        Self {
            stream,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            unsent: Zeroizing::default(),
            unanswered: 0,
            rate: TransferRate::default(),
            peer,
            time_limit,
            trace,
            secrets: Secrets::default(),
        }
    }

    /// Leaves this out of whatever the server says from now on.
    pub(super) fn hide(&mut self, secret: &[u8]) {
        self.secrets.add(secret);
    }

    /// Whether the server said something that nobody has read yet.
    pub(super) fn holds_unread(&self) -> bool {
        self.start < self.end
    }

    /// The stream alone, to be wrapped in TLS, and what the next wire needs of this one.
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

    /// What the server said cannot be the answer to what it was asked.
    pub(super) fn desynchronized(&self, said: &[u8]) -> Error {
        let said = sanitize(&self.clean(said));
        Error::new(
            Kind::Desynchronized,
            format!(
                "unexpected response from {}: client and server are out of sync",
                self.peer
            ),
        )
        .with_fact(format!("{} said: {said}", self.peer))
    }

    /// `text` without the secrets.
    fn clean(&self, text: &[u8]) -> Vec<u8> {
        self.secrets.redact(text)
    }

    /// The status line that `line` is, its text without the secrets.
    fn understood(&self, line: &[u8]) -> Option<Reply> {
        let mut reply = Reply::parse(line)?;
        let (Reply::Ok(text) | Reply::Challenge(text) | Reply::Err(Refusal { text, .. })) =
            &mut reply;
        *text = self.clean(text);
        Some(reply)
    }

    /// The server said something before it was asked: to take it for the answer to the next
    /// command would take each answer for another's from then on.
    fn unasked(&self) -> Error {
        let unread = &self.buffer[self.start..self.end];
        let line = unread
            .split(|octet| *octet == b'\n')
            .next()
            .unwrap_or(unread)
            .trim_ascii_end();
        match self.understood(line) {
            // Dovecot does so right behind a good login, when it cannot open the mailbox
            Some(Reply::Err(refusal)) if refusal.is_transient() => {
                cannot_open(&self.peer, &refusal)
            }
            _ => self.desynchronized(line),
        }
    }

    fn trace_line(&mut self, said: impl FnOnce() -> TraceLine) {
        if let Some(trace) = &mut self.trace {
            trace(said());
        }
    }

    fn trouble(&self, doing: &str, error: &io::Error) -> Error {
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
    /// Puts a command into the next flush.
    pub(super) fn queue(&mut self, command: Command<'_>) -> Result<()> {
        let line = command.line();
        // only what the user wrote can be too long: numbers and words are not
        if line.len() > MAX_COMMAND && !matches!(command, Command::Response(_)) {
            return Err(
                Error::new(Kind::Config, "user name or password is too long for POP3").with_fact(
                    format!(
                        "a command can have {MAX_COMMAND} bytes (RFC 2449), this one has {}",
                        line.len()
                    ),
                ),
            );
        }
        self.in_step()?;
        self.trace_line(|| TraceLine::Client(command.shown()));
        self.unsent.extend_from_slice(&line);
        self.unanswered += 1;
        Ok(())
    }

    /// An error where the server said something without being asked.
    pub(super) fn in_step(&self) -> Result<()> {
        if self.unanswered == 0 && self.holds_unread() {
            Err(self.unasked())
        } else {
            Ok(())
        }
    }

    /// Sends what is queued, in one write.
    pub(super) fn flush(&mut self) -> Result<()> {
        let unsent = std::mem::take(&mut self.unsent);
        self.rate = TransferRate::default();
        let mut sent = 0;
        while sent < unsent.len() {
            let began = Instant::now();
            sent += match self.stream.write(&unsent[sent..]) {
                Ok(0) => return Err(self.trouble("sending", &io::ErrorKind::WriteZero.into())),
                Ok(octets) => {
                    self.keep_pace(began, octets)?;
                    octets
                }
                Err(error) => return Err(self.trouble("sending", &error)),
            };
        }
        self.stream
            .flush()
            .map_err(|error| self.trouble("sending", &error))
    }

    /// Notes that `octets` went over the line since `began`.
    fn keep_pace(&mut self, began: Instant, octets: usize) -> Result<()> {
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

    /// Sends a command and gives the answer to it.
    pub(super) fn ask(&mut self, command: Command<'_>) -> Result<Reply> {
        self.queue(command)?;
        self.flush()?;
        self.reply()
    }

    /// The next status line, or challenge, before the login.
    pub(super) fn reply(&mut self) -> Result<Reply> {
        let (line, reply) = self.status()?;
        reply.ok_or_else(|| {
            not_pop3(&self.peer).with_fact(format!(
                "{} said: {}",
                self.peer,
                sanitize(&self.clean(&line))
            ))
        })
    }

    /// The next status line after the login, where there are no challenges. What is none can be a
    /// part of a message that the server ended early, and says nothing about the next one.
    pub(super) fn answer(&mut self) -> Result<std::result::Result<Vec<u8>, Refusal>> {
        match self.status()? {
            (_, Some(Reply::Ok(text))) => Ok(Ok(text)),
            (_, Some(Reply::Err(refusal))) => Ok(Err(refusal)),
            (line, _) => Err(self.desynchronized(&line)),
        }
    }

    /// Puts a STAT behind the commands before it. No other answer looks like the one to that, as
    /// any does like the one to NOOP: where one before it is lost, or is one too many, it comes
    /// early or late.
    pub(super) fn queue_check(&mut self) -> Result<()> {
        self.queue(Command::Stat)
    }

    /// Makes sure that the [STAT](Self::queue_check) is what is answered now: all before it was
    /// answered once.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.answer()? {
            Ok(text) if reply::stat(&text).is_some() => self.in_step(),
            Ok(text) => Err(self.desynchronized(&[b"+OK ", &text[..]].concat())),
            Err(refusal) => Err(self.desynchronized(&[b"-ERR ", &refusal.text[..]].concat())),
        }
    }

    fn status(&mut self) -> Result<(Vec<u8>, Option<Reply>)> {
        self.rate = TransferRate::default();
        let line = self.line()?.to_vec();
        self.unanswered = self.unanswered.saturating_sub(1);
        let reply = self.understood(&line);
        if self.trace.is_some() {
            let said = sanitize(&self.clean(&line));
            self.trace_line(|| TraceLine::Server(said));
        }
        Ok((line, reply))
    }

    /// The next line of a multi-line answer, dot unstuffed; nothing at its end. `budget` bounds
    /// the octets of the whole answer and is counted down.
    pub(super) fn list_line(&mut self, budget: &mut usize) -> Result<Option<&[u8]>> {
        let line = self.next_line()?;
        *budget = budget.checked_sub(line.len() + 2).ok_or_else(|| {
            Error::new(
                Kind::NotPop3,
                format!("the listing from {} exceeds the size limit", self.peer),
            )
            .with_hint("delete or archive some messages with another client first")
        })?;
        Ok(match &self.buffer[line] {
            b"." => None,
            [b'.', rest @ ..] => Some(rest),
            line => Some(line),
        })
    }

    /// Reads the response to CAPA. Returns `None` if the server does not know the command (popa3d,
    /// Solid POP3).
    pub(super) fn capabilities(&mut self) -> Result<Option<Capabilities>> {
        match self.reply()? {
            Reply::Ok(_) => {}
            // unsolicited, right after the login
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
        Ok(Some(capabilities))
    }

    /// The next line, without its line end.
    fn line(&mut self) -> Result<&[u8]> {
        self.next_line().map(|line| &self.buffer[line])
    }

    /// Where in the buffer the next line stands, without its line end.
    fn next_line(&mut self) -> Result<Range<usize>> {
        let mut searched = 0;
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(lf) = memchr::memchr(b'\n', &unread[searched..]) {
                let from = self.start;
                let to = from + searched + lf;
                self.start = to + 1;
                return Ok(from..to - usize::from(self.buffer[from..to].ends_with(b"\r")));
            }
            searched = unread.len();
            if searched > MAX_LINE {
                return Err(not_pop3(&self.peer)
                    .with_fact(format!("a line exceeds {} KiB", MAX_LINE / 1024)));
            }
            self.fill()?;
        }
    }

    /// Reads more of a multi-line response. Returns where its [`bytes`](Self::bytes) are, or `None`
    /// once it has ended.
    pub(super) fn content(
        &mut self,
        decoder: &mut Decoder,
        ended: &mut bool,
    ) -> Result<Option<Range<usize>>> {
        while !*ended {
            let start = self.start;
            let decoded = decoder.decode(&mut self.buffer[start..self.end]);
            self.start += decoded.used;
            *ended = decoded.end;
            if decoded.content > 0 {
                return Ok(Some(start..start + decoded.content));
            }
            if !*ended {
                self.fill()?;
            }
        }
        Ok(None)
    }

    /// Returns decoded content, before more is read.
    pub(super) fn bytes(&self, content: Range<usize>) -> &[u8] {
        &self.buffer[content]
    }

    /// Reads the response to the sentinel `LIST num`, which follows the response to a command for
    /// that message. If that command was `refused`, LIST may be refused as well.
    pub(super) fn read_sentinel(&mut self, num: MsgNum, refused: bool) -> Result<()> {
        match self.answer()? {
            Ok(text) => match reply::list_line(&text) {
                Some((named, _)) if named == num => Ok(()),
                _ => Err(self.desynchronized(&[b"+OK ", &text[..]].concat())),
            },
            Err(_) if refused => Ok(()),
            Err(refusal) => Err(self.desynchronized(&[b"-ERR ", &refusal.text[..]].concat())),
        }
    }

    /// Reads more behind what is unread.
    fn fill(&mut self) -> Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let began = Instant::now();
        match self.stream.read(&mut self.buffer[self.end..]) {
            Ok(0) => Err(self.trouble("reading", &io::ErrorKind::UnexpectedEof.into())),
            Ok(octets) => {
                self.end += octets;
                self.keep_pace(began, octets)
            }
            Err(error) => Err(self.trouble("reading", &error)),
        }
    }
}

/// The server cannot open the mailbox at the moment.
pub(super) fn cannot_open(peer: &str, refusal: &Refusal) -> Error {
    Error::new(Kind::Busy, format!("{peer} cannot open the mailbox"))
        .with_fact(quoted(peer, refusal))
}

/// What answers there is no POP3 server.
pub(super) fn not_pop3(peer: &str) -> Error {
    Error::new(Kind::NotPop3, format!("{peer} does not speak POP3")).with_hint(
        "check `host`, `port` and `tls`: port 995 needs tls = \"implicit\", port 110 \"starttls\"",
    )
}
