//! What goes wrong: when, what is said, and what happens then.

use super::reply::{Answer, Reply, Then, stuffed};

/// One thing that goes wrong, told as a sentence: `on("RETR").uid("uid-9").octets(100).cut()`.
///
/// Where several faults fit, the one that was added first and still has times left wins.
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

/// What is said in place of the honest answer.
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

/// What just happened, to hold the faults against.
#[derive(Clone, Copy, Debug)]
pub(super) enum Occasion<'a> {
    /// A client has connected and waits for the greeting.
    Connect,
    /// A command line came, about the message with this UID, if about one.
    Command(&'a [u8], Option<&'a [u8]>),
    /// A line came that answers a SASL challenge.
    Response,
}

/// At a command that begins with the words of `prefix`, in any case: `"RETR"`, `"RETR 5"` (not
/// `RETR 50`), `""` for every command.
pub fn on(prefix: &str) -> Fault {
    Fault::new(When::Command(prefix.as_bytes().to_vec()))
}

/// At the greeting.
pub fn on_connect() -> Fault {
    Fault::new(When::Connect)
}

/// At the client's answer to a SASL challenge.
pub fn on_response() -> Fault {
    Fault::new(When::Response)
}

/// When. Without any of these: every time, for every message.
impl Fault {
    /// Only for the message with this UID, whatever its number is in the session.
    pub fn uid(mut self, uid: impl Into<Vec<u8>>) -> Self {
        self.uid = Some(uid.into());
        self
    }

    /// Only the `k`-th time that it fits, counted from 1 over all sessions.
    pub fn nth(mut self, k: usize) -> Self {
        self.skip = k - 1;
        self.times(1)
    }

    /// So many times; then it is healed.
    pub fn times(mut self, times: usize) -> Self {
        self.left = times;
        self
    }
}

/// What is said. The command is carried out, except where the words of the server are known
/// without it ([`refuse`](Self::refuse), [`answer`](Self::answer), or nothing at all); then it
/// is carried out only if [`done`](Self::done) asks for it.
impl Fault {
    /// This line (without its CRLF) in place of the answer.
    pub fn refuse(self, line: &str) -> Self {
        self.answer(format!("{line}\r\n"))
    }

    /// Exactly these octets in place of the answer.
    pub fn answer(self, octets: impl Into<Vec<u8>>) -> Self {
        self.say(Say::Exactly(octets.into()))
    }

    /// The status line only, without the body.
    pub fn head(self) -> Self {
        self.say(Say::Head)
    }

    /// The status line and the first `n` octets of the body as they go over the wire, without
    /// the end mark.
    pub fn octets(self, n: usize) -> Self {
        self.say(Say::Octets(n))
    }

    /// Only the first `n` octets of the body, ended as if they were all.
    pub fn short(self, n: usize) -> Self {
        self.say(Say::Short(n))
    }

    /// A body of nothing: `+OK` and the lone dot.
    pub fn empty(self) -> Self {
        self.short(0)
    }

    /// Only the first `n` lines of the body, ended as if they were all.
    pub fn lines(self, n: usize) -> Self {
        self.say(Say::Lines(n))
    }

    /// The honest status line, then this body (in CRLF lines, without the end mark).
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        self.say(Say::Body(body.into()))
    }

    /// The honest answer, and these octets behind it in the same write.
    pub fn more(self, octets: impl Into<Vec<u8>>) -> Self {
        self.say(Say::More(octets.into()))
    }

    /// The honest answer, for faults that only change what happens [then](Self::cut).
    pub fn honest(self) -> Self {
        self.say(Say::Honest)
    }

    /// The command is carried out although its answer is lost or replaced:
    /// `on("QUIT").done().cut()` removes the messages, `on("QUIT").cut()` does not.
    pub fn done(mut self) -> Self {
        self.done = true;
        self
    }

    fn say(mut self, say: Say) -> Self {
        self.say = Some(say);
        self
    }
}

/// What happens then. `cut` and `silence` come before any answer unless the fault says what is
/// said; `forever` comes after the status line, `forget` after the honest answer.
impl Fault {
    /// The connection breaks.
    pub fn cut(self) -> Self {
        self.then(Then::Cut, Say::Nothing)
    }

    /// The server ends the connection in good order: TLS says that it is over.
    pub fn close(self) -> Self {
        self.then(Then::Close, Say::Nothing)
    }

    /// Nothing more is ever said, and the socket stays open until the client closes it.
    pub fn silence(self) -> Self {
        self.then(Then::Silence, Say::Nothing)
    }

    /// These octets come over and over until the client closes.
    pub fn forever(self, octets: impl Into<Vec<u8>>) -> Self {
        self.then(Then::Repeat(octets.into()), Say::Head)
    }

    /// The same, ten octets a second.
    pub fn drip(self, octets: impl Into<Vec<u8>>) -> Self {
        self.then(Then::Drip(octets.into()), Say::Head)
    }

    /// What the client had sent behind this command is thrown away unread.
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

    /// Whether this fault is about the message with this UID.
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

    /// Whether the command takes effect.
    pub(super) fn carries_out(&self) -> bool {
        self.done || !matches!(self.say, Some(Say::Nothing | Say::Exactly(_)))
    }

    /// The answer that the client gets: `honest` is the one that it should have had, or `None`
    /// where the command was not carried out.
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

/// The first of the faults that fits and is due, counted as used.
pub(super) fn due(faults: &mut [Fault], occasion: Occasion<'_>) -> Option<Fault> {
    let mut found: Option<Fault> = None;
    for fault in faults.iter_mut().filter(|fault| fault.fits(occasion)) {
        // Each fault counts its own occasions, so that `nth` means the same whatever else fails.
        if fault.skip > 0 {
            fault.skip -= 1;
        } else if fault.left > 0 && found.is_none() {
            fault.left -= 1;
            found = Some(fault.clone());
        }
    }
    found
}

/// Whether a line is `prefix`, or `prefix` and a space and more; letters in any case.
pub(super) fn begins_with_words(line: &[u8], prefix: &[u8]) -> bool {
    match line.split_at_checked(prefix.len()) {
        Some((start, rest)) => {
            start.eq_ignore_ascii_case(prefix)
                && (prefix.is_empty() || rest.is_empty() || rest.starts_with(b" "))
        }
        None => false,
    }
}
