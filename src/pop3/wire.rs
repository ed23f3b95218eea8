//! A stream with a buffer, bounded lines and a trace.

use std::io::{self, Read, Write};

use zeroize::Zeroizing;

use super::{
    Said,
    body::Decoder,
    command::{Command, MAX_COMMAND},
    reply::{Refusal, Reply},
};
use crate::{
    error::{Error, Kind, Result},
    text::shown,
};

/// How much is read at once.
const BUFFER: usize = 64 * 1024;

/// The longest line that a server may send outside of a message. RFC 2449 §4 says 512 octets;
/// SASL challenges and some UIDs are longer.
const MAX_LINE: usize = 16 * 1024;

/// Who gets to see the lines of the session.
pub type Trace = Box<dyn FnMut(Said) + Send>;

/// A stream and what was read from it, but not yet used.
pub(super) struct Wire<S> {
    stream: S,
    buffer: Vec<u8>,
    /// `buffer[start..end]` is not used yet.
    start: usize,
    end: usize,
    /// Commands to be sent with the next flush.
    unsent: Zeroizing<Vec<u8>>,
    /// The server's name, for messages.
    pub(super) peer: String,
    trace: Option<Trace>,
    /// What is not repeated, should the server repeat it.
    secrets: Vec<Zeroizing<Vec<u8>>>,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, peer: String, trace: Option<Trace>) -> Self {
        Self {
            stream,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            unsent: Zeroizing::default(),
            peer,
            trace,
            secrets: Vec::new(),
        }
    }

    /// Leaves this out of whatever the server says from now on.
    pub(super) fn hide(&mut self, secret: &[u8]) {
        // what is shorter would blot out more than it hides
        if secret.len() > 3 {
            self.secrets.push(Zeroizing::new(secret.to_vec()));
        }
    }

    /// Whether the server said something that nobody has read yet.
    pub(super) fn holds_unread(&self) -> bool {
        self.start < self.end
    }

    /// The stream alone, to be wrapped in TLS, and what the next wire needs of this one.
    pub(super) fn into_parts(self) -> (S, String, Option<Trace>) {
        (self.stream, self.peer, self.trace)
    }

    fn traced(&mut self, said: impl FnOnce() -> Said) {
        if let Some(trace) = &mut self.trace {
            trace(said());
        }
    }

    fn trouble(&self, doing: &str, error: &io::Error) -> Error {
        use io::ErrorKind as E;
        let peer = &self.peer;
        match error.kind() {
            E::TimedOut => {
                Error::new(Kind::Silent, format!("{peer} said nothing for too long")).fact(error.to_string())
            }
            E::UnexpectedEof => Error::new(Kind::Cut, format!("{peer} closed the connection")),
            _ => Error::new(Kind::Cut, format!("the connection to {peer} was lost")).fact(format!("{doing}: {error}")),
        }
    }
}

impl<S: Read + Write> Wire<S> {
    /// Puts a command into the next flush.
    pub(super) fn queue(&mut self, command: Command<'_>) -> Result<()> {
        let line = command.line();
        // only what the user wrote can be too long: numbers and words are not
        if line.len() > MAX_COMMAND && !matches!(command, Command::Response(_)) {
            return Err(Error::new(Kind::Config, "user name or password is too long for POP3")
                .fact(format!("a command may have {MAX_COMMAND} octets (RFC 2449), this one has {}", line.len())));
        }
        self.traced(|| Said::Client(command.shown()));
        self.unsent.extend_from_slice(&line);
        Ok(())
    }

    /// Sends what is queued, in one write.
    pub(super) fn flush(&mut self) -> Result<()> {
        let unsent = std::mem::take(&mut self.unsent);
        self.stream
            .write_all(&unsent)
            .and_then(|()| self.stream.flush())
            .map_err(|error| self.trouble("sending", &error))
    }

    /// Sends a command and gives the answer to it.
    pub(super) fn ask(&mut self, command: Command<'_>) -> Result<Reply> {
        self.queue(command)?;
        self.flush()?;
        self.reply()
    }

    /// The next status line.
    pub(super) fn reply(&mut self) -> Result<Reply> {
        let line = self.line()?.to_vec();
        let clean = |text: &[u8]| self.secrets.iter().fold(text.to_vec(), |text, secret| without(&text, secret));
        let said = || shown(&clean(&line));
        let reply = match Reply::parse(&line) {
            Some(Reply::Err(refusal)) => Ok(Reply::Err(Refusal { text: clean(&refusal.text), ..refusal })),
            Some(reply) => Ok(reply),
            None => Err(not_pop3(&self.peer).fact(format!("{} said: {}", self.peer, said()))),
        };
        if self.trace.is_some() {
            let said = said();
            self.traced(|| Said::Server(said));
        }
        reply
    }

    /// The next line of a multi-line answer, dot unstuffed; nothing at its end. `budget` bounds
    /// the octets of the whole answer and is counted down.
    pub(super) fn list_line(&mut self, budget: &mut usize) -> Result<Option<&[u8]>> {
        let peer = self.peer.clone();
        let line = self.line()?;
        *budget = budget.checked_sub(line.len() + 2).ok_or_else(|| {
            Error::new(Kind::NotPop3, format!("{peer} sends a listing without an end"))
                .hint("if that mailbox is really this large, empty a part of it by another way first")
        })?;
        Ok(match line {
            b"." => None,
            [b'.', rest @ ..] => Some(rest),
            line => Some(line),
        })
    }

    /// The next line, without its line end.
    fn line(&mut self) -> Result<&[u8]> {
        let mut searched = 0;
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(lf) = memchr::memchr(b'\n', &unread[searched..]) {
                let from = self.start;
                let to = from + searched + lf;
                self.start = to + 1;
                let line = &self.buffer[from..to];
                return Ok(line.strip_suffix(b"\r").unwrap_or(line));
            }
            searched = unread.len();
            if searched > MAX_LINE {
                return Err(not_pop3(&self.peer).fact("it sends a line without an end"));
            }
            self.fill()?;
        }
    }

    /// Decoded content of a message; nothing once it has ended.
    pub(super) fn content(&mut self, decoder: &mut Decoder, ended: &mut bool) -> Result<Option<&[u8]>> {
        while !*ended {
            let start = self.start;
            let decoded = decoder.decode(&mut self.buffer[start..self.end]);
            self.start += decoded.used;
            *ended = decoded.end;
            if decoded.content > 0 {
                return Ok(Some(&self.buffer[start..start + decoded.content]));
            }
            if !*ended {
                self.fill()?;
            }
        }
        Ok(None)
    }

    /// Reads more behind what is unread.
    fn fill(&mut self) -> Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        match self.stream.read(&mut self.buffer[self.end..]) {
            Ok(0) => Err(self.trouble("reading", &io::ErrorKind::UnexpectedEof.into())),
            Ok(octets) => {
                self.end += octets;
                Ok(())
            }
            Err(error) => Err(self.trouble("reading", &error)),
        }
    }
}

/// `line` with `***` for each `secret` in it.
fn without(line: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = memchr::memmem::find(rest, secret) {
        clean.extend_from_slice(&rest[..at]);
        clean.extend_from_slice(b"***");
        rest = &rest[at + secret.len()..];
    }
    clean.extend_from_slice(rest);
    clean
}

/// What answers there is no POP3 server.
pub(super) fn not_pop3(peer: &str) -> Error {
    Error::new(Kind::NotPop3, format!("what {peer} says is not POP3"))
        .hint("check `host`, `port` and `tls`: 995 is for tls = \"implicit\", 110 for \"starttls\"")
}
