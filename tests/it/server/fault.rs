//! Faults of the server: their condition, the response, and the action after it.

use super::reply::{Answer, Reply, Then, stuffed};

/// A fault, written like a sentence: `on("RETR").uid("uid-9").octets(100).cut()`.
///
/// If several faults match, the first one added that is not used up applies.
#[derive(Clone, Debug)]
pub struct Fault {
    when: When,
    uid: Option<Vec<u8>>,
    skip: usize,
    left: usize,
    done: bool,
    say: Option<Say>,
    then: Option<Then>,
}

#[derive(Clone, Debug)]
enum When {
    Connect,
    Command(Vec<u8>),
    Response,
}

/// A response other than the correct one.
#[derive(Clone, Debug)]
enum Say {
    Honest,
    Nothing,
    Exactly(Vec<u8>),
    Head,
    Octets(usize),
    Short(usize),
    Lines(usize),
    Body(Vec<u8>),
    More(Vec<u8>),
}

/// An event, with which the conditions of faults are compared.
#[derive(Clone, Copy, Debug)]
pub(super) enum Occasion<'a> {
    /// A client connected and waits for the greeting.
    Connect,
    /// A command was received, with the UID of the message that it refers to, if any.
    Command(&'a [u8], Option<&'a [u8]>),
    /// A response to a SASL challenge was received.
    Response,
}

/// Creates a fault for commands that begin with the words of `prefix`, ignoring case: `"RETR"`,
/// `"RETR 5"` (but not `RETR 50`), `""` for every command.
pub fn on(prefix: &str) -> Fault {
    Fault::new(When::Command(prefix.as_bytes().to_vec()))
}

/// Creates a fault for the greeting.
pub fn on_connect() -> Fault {
    Fault::new(When::Connect)
}

/// Creates a fault for the response to a SASL challenge.
pub fn on_response() -> Fault {
    Fault::new(When::Response)
}

/// Conditions. By default, a fault applies every time and to every message.
impl Fault {
    /// Applies only to the message with this UID, whatever its number is in the session.
    pub fn uid(mut self, uid: impl Into<Vec<u8>>) -> Self {
        self.uid = Some(uid.into());
        self
    }

    /// Applies only to the `k`-th match, counted from 1 over all sessions.
    pub fn nth(mut self, k: usize) -> Self {
        self.skip = k - 1;
        self.times(1)
    }

    /// Applies only this number of times.
    pub fn times(mut self, times: usize) -> Self {
        self.left = times;
        self
    }
}

/// Responses. The command is carried out if its correct response is needed. With
/// [`refuse`](Self::refuse), [`answer`](Self::answer) or no response at all it is carried out only
/// with [`done`](Self::done).
impl Fault {
    /// Responds with this line (without CRLF).
    pub fn refuse(self, line: &str) -> Self {
        self.answer(format!("{line}\r\n"))
    }

    /// Responds with exactly these bytes.
    pub fn answer(self, octets: impl Into<Vec<u8>>) -> Self {
        self.say(Say::Exactly(octets.into()))
    }

    /// Sends only the status line, without the body.
    pub fn head(self) -> Self {
        self.say(Say::Head)
    }

    /// Sends the status line and the first `n` bytes of the body as transmitted, without the final
    /// dot.
    pub fn octets(self, n: usize) -> Self {
        self.say(Say::Octets(n))
    }

    /// Sends the first `n` bytes of the body, followed by the final dot.
    pub fn short(self, n: usize) -> Self {
        self.say(Say::Short(n))
    }

    /// Sends an empty body: `+OK` and the final dot.
    pub fn empty(self) -> Self {
        self.short(0)
    }

    /// Sends the first `n` lines of the body, followed by the final dot.
    pub fn lines(self, n: usize) -> Self {
        self.say(Say::Lines(n))
    }

    /// Sends the correct status line, then this body (with CRLF line endings, without the final
    /// dot).
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        self.say(Say::Body(body.into()))
    }

    /// Sends the correct response, and these bytes after it in the same write.
    pub fn more(self, octets: impl Into<Vec<u8>>) -> Self {
        self.say(Say::More(octets.into()))
    }

    /// Sends the correct response, for faults that only have an [action](Self::cut).
    pub fn honest(self) -> Self {
        self.say(Say::Honest)
    }

    /// Carries out the command although its response is lost or replaced: `on("QUIT").done().cut()`
    /// removes the messages, `on("QUIT").cut()` does not.
    pub fn done(mut self) -> Self {
        self.done = true;
        self
    }

    fn say(mut self, say: Say) -> Self {
        self.say = Some(say);
        self
    }
}

/// Actions. `cut` and `silence` suppress the response unless the fault has one; `forever` follows
/// the status line, `forget` the correct response.
impl Fault {
    /// Breaks the connection.
    pub fn cut(self) -> Self {
        self.then(Then::Cut, Say::Nothing)
    }

    /// Closes the connection properly, in TLS with `close_notify`.
    pub fn close(self) -> Self {
        self.then(Then::Close, Say::Nothing)
    }

    /// Sends nothing more, but keeps the connection open until the client closes it.
    pub fn silence(self) -> Self {
        self.then(Then::Silence, Say::Nothing)
    }

    /// Sends these bytes repeatedly until the client closes the connection.
    pub fn forever(self, octets: impl Into<Vec<u8>>) -> Self {
        self.then(Then::Repeat(octets.into()), Say::Head)
    }

    /// Sends these bytes repeatedly, ten bytes per second.
    pub fn drip(self, octets: impl Into<Vec<u8>>) -> Self {
        self.then(Then::Drip(octets.into()), Say::Head)
    }

    /// Discards the commands that the client sent after this one.
    pub fn forget(self) -> Self {
        self.then(Then::Forget, Say::Honest)
    }

    fn then(mut self, then: Then, say: Say) -> Self {
        self.then = Some(then);
        self.say.get_or_insert(say);
        self
    }
}

impl Fault {
    fn new(when: When) -> Self {
        Self {
            when,
            uid: None,
            skip: 0,
            left: usize::MAX,
            done: false,
            say: None,
            then: None,
        }
    }

    /// Returns whether this fault applies to the message with this UID.
    pub(super) fn concerns(&self, uid: &[u8]) -> bool {
        self.uid.as_deref() == Some(uid)
    }

    fn fits(&self, occasion: Occasion<'_>) -> bool {
        match (&self.when, occasion) {
            (When::Connect, Occasion::Connect) | (When::Response, Occasion::Response) => true,
            (When::Command(prefix), Occasion::Command(line, uid)) => {
                begins_with_words(line, prefix)
                    && (self.uid.is_none() || self.uid.as_deref() == uid)
            }
            _ => false,
        }
    }

    /// Returns whether the command is carried out.
    pub(super) fn carries_out(&self) -> bool {
        self.done || !matches!(self.say, Some(Say::Nothing | Say::Exactly(_)))
    }

    /// Returns the response to the client. `honest` is the correct one, or `None` if the command
    /// was not carried out.
    pub(super) fn spoil(self, honest: Option<Reply>) -> Answer {
        let meant = honest.as_ref().map(|reply| reply.then.clone());
        let octets = match (self.say.unwrap_or(Say::Honest), honest) {
            (Say::Exactly(octets), _) => octets,
            (Say::Nothing, _) | (_, None) => Vec::new(),
            (say, Some(honest)) => say.instead_of(honest),
        };
        Answer {
            octets,
            then: self.then.or(meant).unwrap_or(Then::GoOn),
        }
    }
}

impl Say {
    fn instead_of(self, mut honest: Reply) -> Vec<u8> {
        let body = honest.body.as_mut();
        match self {
            Self::Nothing => return Vec::new(),
            Self::Exactly(octets) => return octets,
            Self::Head => return honest.head,
            Self::Octets(n) => {
                let mut octets = honest.head;
                octets.extend(stuffed(&honest.body.unwrap_or_default()).iter().take(n));
                return octets;
            }
            Self::More(octets) => return [honest.octets(), octets].concat(),
            Self::Honest => {}
            Self::Short(n) => body.into_iter().for_each(|body| body.truncate(n)),
            Self::Lines(n) => body.into_iter().for_each(|body| {
                *body = body
                    .split_inclusive(|&octet| octet == b'\n')
                    .take(n)
                    .flatten()
                    .copied()
                    .collect();
            }),
            Self::Body(other) => honest.body = Some(other),
        }
        honest.octets()
    }
}

/// Returns the first fault that applies, and counts its use.
pub(super) fn due(faults: &mut [Fault], occasion: Occasion<'_>) -> Option<Fault> {
    let mut found: Option<Fault> = None;
    for fault in faults.iter_mut().filter(|fault| fault.fits(occasion)) {
        // Each fault counts its own matches, so that `nth` does not depend on other faults.
        if fault.skip > 0 {
            fault.skip -= 1;
        } else if fault.left > 0 && found.is_none() {
            fault.left -= 1;
            found = Some(fault.clone());
        }
    }
    found
}

/// Returns whether a line is `prefix`, or `prefix` followed by a space; ignoring case.
pub(super) fn begins_with_words(line: &[u8], prefix: &[u8]) -> bool {
    match line.split_at_checked(prefix.len()) {
        Some((start, rest)) => {
            start.eq_ignore_ascii_case(prefix)
                && (prefix.is_empty() || rest.is_empty() || rest.starts_with(b" "))
        }
        None => false,
    }
}
