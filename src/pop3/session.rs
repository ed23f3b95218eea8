//! A POP3 session, typed by its state (RFC 1939 §3): first [`Authorization`], then
//! [`Transaction`], whose [`quit`](Transaction::quit) is the UPDATE state.
//!
//! Dropping either closes the stream without QUIT: the server then deletes nothing (§6).

use std::io::{Read, Write};

pub use super::wire::Trace;
use super::{
    body::Decoder,
    command::{Command, MAX_COMMAND, fits},
    reply::{self, Capabilities, Code, Refusal, Reply},
    retrieval::{Ahead, Retrieval, Wanted},
    sasl::{self, Auth, Credentials},
    wire::{Wire, not_pop3},
};
use crate::{
    error::{Error, Kind, Result},
    text::{count, shown},
    types::{Listed, MsgNum},
};

/// More messages than this in one mailbox are taken for a broken server: a listing must fit into
/// memory.
const MAX_MESSAGES: u32 = 500_000;

/// The most octets that LIST or UIDL may send for one message: a UID has at most 70 octets by the
/// RFC, and at most 200 seen in the wild.
const MAX_LISTING_LINE: usize = 256;

/// The most octets of a CAPA answer.
const MAX_CAPA: usize = 64 * 1024;

/// The most octets of a header.
const MAX_TOP: usize = 256 * 1024;

/// Before the login (RFC 1939 §4).
pub struct Authorization<S> {
    wire: Wire<S>,
    capabilities: Option<Capabilities>,
}

impl<S: Read + Write> Authorization<S> {
    /// Takes the greeting and asks for the capabilities. `peer` names the server in messages;
    /// `trace` gets every line of the session.
    ///
    /// # Errors
    /// The line is lost, or what answers is no POP3 server, or it greets with `-ERR`.
    pub fn greet(stream: S, peer: &str, trace: Option<Trace>) -> Result<Self> {
        let mut wire = Wire::new(stream, peer.to_owned(), trace);
        match wire.reply()? {
            Reply::Ok(_) => {}
            Reply::Err(refusal) => {
                let kind = if refusal.code == Some(Code::SysPerm) { Kind::Unavailable } else { Kind::Busy };
                return Err(
                    Error::new(kind, format!("{peer} does not take the connection")).fact(quoted(peer, &refusal))
                );
            }
            Reply::Challenge(_) => return Err(not_pop3(peer)),
        }
        let capabilities = ask_capabilities(&mut wire)?;
        Ok(Self { wire, capabilities })
    }

    /// Begins TLS by STLS (RFC 2595 §4): `wrap` makes the new stream out of the old one. What the
    /// server said of itself in clear is forgotten and asked again.
    ///
    /// # Errors
    /// The server does not offer STLS or refuses it; somebody put octets behind its answer, which
    /// is an attack (CVE-2011-0411); or `wrap` fails.
    pub fn upgrade<T: Read + Write>(mut self, wrap: impl FnOnce(S) -> Result<T>) -> Result<Authorization<T>> {
        let peer = self.wire.peer.clone();
        let missing = |fact: String| {
            Error::new(Kind::Unavailable, format!("{peer} does not begin TLS on this port"))
                .fact(fact)
                .hint("most servers have TLS on port 995: tls = \"implicit\"; pouch never goes on without it")
        };
        if self.capabilities.as_ref().is_some_and(|known| !known.has("STLS")) {
            return Err(missing("it does not offer STLS".into()));
        }
        match self.wire.ask(Command::Stls)? {
            Reply::Ok(_) => {}
            Reply::Err(refusal) => return Err(missing(quoted(&peer, &refusal))),
            Reply::Challenge(_) => return Err(not_pop3(&peer)),
        }
        if self.wire.holds_unread() {
            return Err(Error::new(Kind::Denied, format!("somebody meddles with the line to {peer}"))
                .fact("there were octets behind the answer to STLS, before TLS began"));
        }
        let (stream, peer, trace) = self.wire.into_parts();
        let mut wire = Wire::new(wrap(stream)?, peer, trace);
        let capabilities = ask_capabilities(&mut wire)?;
        Ok(Authorization { wire, capabilities })
    }

    /// Logs in.
    ///
    /// # Errors
    /// The server refuses, now or for good, or the line is lost. The password is sent once.
    pub fn login(mut self, who: &Credentials<'_>) -> Result<Transaction<S>> {
        for (what, argument) in [("user name", who.user), ("password", who.password)] {
            if !fits(argument) {
                return Err(Error::new(
                    Kind::Config,
                    format!("the {what} holds a line break or NUL: POP3 cannot send it"),
                ));
            }
        }
        let offered = |mechanism| self.capabilities.as_ref().is_some_and(|known| known.offers(mechanism));
        let mechanism = match who.auth {
            Auth::Plain => Mechanism::Plain,
            Auth::Auto if offered("PLAIN") => Mechanism::Plain,
            Auth::Auto | Auth::User => Mechanism::User,
        };
        let answer = match mechanism {
            Mechanism::Plain => self.sasl_plain(who),
            Mechanism::User => self.user_pass(who),
        }
        .map_err(|error| match error.kind() {
            // Courier does so when it cannot read one message, Dovecot when it cannot read the mailbox
            Kind::Cut => Error::new(Kind::Cut, format!("{} closed the connection at the login", self.wire.peer))
                .fact("that need not be a wrong password: some servers do so when they cannot open the mailbox"),
            _ => error,
        })?;
        match answer {
            Reply::Ok(_) => Ok(Transaction {
                wire: self.wire,
                capabilities: self.capabilities,
                fresh: true,
                mechanism,
                one_at_a_time: false,
            }),
            Reply::Err(refusal) => {
                let codes = self.capabilities.as_ref().is_some_and(|known| known.has("AUTH-RESP-CODE"));
                Err(login_refused(&self.wire.peer, &refusal, codes))
            }
            Reply::Challenge(_) => Err(not_pop3(&self.wire.peer)),
        }
    }

    fn user_pass(&mut self, who: &Credentials<'_>) -> Result<Reply> {
        // not pipelined: Courier and mailfront announce PIPELINING and lose what is behind PASS,
        // and a server that refuses USER must not get the password
        match self.wire.ask(Command::User(who.user))? {
            Reply::Ok(_) => self.wire.ask(Command::Pass(who.password)),
            refused => Ok(refused),
        }
    }

    fn sasl_plain(&mut self, who: &Credentials<'_>) -> Result<Reply> {
        let message = sasl::plain(who.user, who.password);
        let mechanism = "PLAIN";
        let whole = Command::Auth { mechanism, initial: Some(&message) };
        // RFC 5034 §4: the initial response only where the whole command fits
        if whole.line().len() <= MAX_COMMAND {
            return self.wire.ask(whole);
        }
        match self.wire.ask(Command::Auth { mechanism, initial: None })? {
            Reply::Challenge(_) => self.wire.ask(Command::Response(&message)),
            other => Ok(other),
        }
    }
}

/// How the login was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// SASL PLAIN.
    Plain,
    /// USER and PASS.
    User,
}

impl std::fmt::Display for Mechanism {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "PLAIN",
            Self::User => "USER",
        })
    }
}

/// What the server listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The messages that have a UID, by number.
    pub messages: Vec<Listed>,
    /// So many have none: they cannot be told apart, and wait.
    pub nameless: usize,
}

/// After the login (RFC 1939 §5).
pub struct Transaction<S> {
    wire: Wire<S>,
    capabilities: Option<Capabilities>,
    /// Whether the capabilities were not asked for again since the login.
    fresh: bool,
    mechanism: Mechanism,
    one_at_a_time: bool,
}

impl<S: Read + Write> Transaction<S> {
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
    pub fn one_at_a_time(&mut self) {
        self.one_at_a_time = true;
    }

    fn pipelining(&self) -> bool {
        !self.one_at_a_time && self.capabilities.as_ref().is_some_and(|known| known.has("PIPELINING"))
    }

    /// What is in the mailbox: STAT, LIST and UIDL, in one write where the server takes that.
    ///
    /// # Errors
    /// The server has no UIDL, answers beyond all measure, or the line is lost.
    pub fn list(&mut self) -> Result<Listing> {
        // Capabilities may differ after the login: Gmail announces PIPELINING only then.
        let ask_again = std::mem::take(&mut self.fresh) && self.capabilities.is_some();
        if ask_again && !self.pipelining() {
            self.wire.queue(Command::Capa)?;
            self.wire.flush()?;
            self.renew_capabilities()?;
        }
        let together = self.pipelining();
        if together {
            if ask_again {
                self.wire.queue(Command::Capa)?;
            }
            for command in [Command::Stat, Command::List, Command::Uidl] {
                self.wire.queue(command)?;
            }
            self.wire.flush()?;
            if ask_again {
                self.renew_capabilities()?;
            }
        }
        let expected = self.stat(together)?;
        if expected > MAX_MESSAGES {
            return Err(not_pop3(&self.wire.peer).fact(format!("it has {expected} messages, more than {MAX_MESSAGES}")));
        }
        let sizes = self.numbered(Command::List, together, expected, reply::list_line)?;
        let uids = self.numbered(Command::Uidl, together, expected, reply::uidl_line)?;
        if expected == 0 {
            return Ok(Listing::default());
        }
        let Ok(uids) = uids else {
            return Err(Error::new(
                Kind::Unavailable,
                format!("{} cannot tell new messages from old ones (it has no UIDL)", self.wire.peer),
            )
            .fact("without UIDs nothing can be kept on the server and fetched once"));
        };
        let sizes = sizes.map_err(|refusal| {
            Error::new(Kind::Unavailable, format!("{} does not list its messages", self.wire.peer))
                .fact(quoted(&self.wire.peer, &refusal))
        })?;
        Ok(join(sizes, uids))
    }

    fn renew_capabilities(&mut self) -> Result<()> {
        self.capabilities = read_capabilities(&mut self.wire)?;
        Ok(())
    }

    fn stat(&mut self, sent: bool) -> Result<u32> {
        if !sent {
            self.wire.queue(Command::Stat)?;
            self.wire.flush()?;
        }
        let peer = self.wire.peer.clone();
        match self.wire.reply()? {
            Reply::Ok(text) => reply::stat(&text)
                .map(|(count, _)| count)
                .ok_or_else(|| not_pop3(&peer).fact(format!("it answers STAT by: {}", shown(&text)))),
            Reply::Err(refusal) => {
                let kind = if refusal.passes() { Kind::Busy } else { Kind::Unavailable };
                Err(Error::new(kind, format!("{peer} cannot open the mailbox")).fact(quoted(&peer, &refusal)))
            }
            Reply::Challenge(_) => Err(not_pop3(&peer)),
        }
    }

    /// The lines of LIST or UIDL that `parse` understands. A line that it does not is passed over:
    /// the message it stands for waits.
    fn numbered<T>(
        &mut self,
        command: Command<'_>,
        sent: bool,
        expected: u32,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<std::result::Result<Vec<T>, Refusal>> {
        if !sent {
            self.wire.queue(command)?;
            self.wire.flush()?;
        }
        match self.wire.reply()? {
            Reply::Ok(_) => {}
            Reply::Err(refusal) => return Ok(Err(refusal)),
            Reply::Challenge(_) => return Err(not_pop3(&self.wire.peer)),
        }
        let mut budget = (expected as usize + 64) * MAX_LISTING_LINE;
        let mut lines = Vec::new();
        while let Some(line) = self.wire.list_line(&mut budget)? {
            lines.extend(parse(line));
        }
        Ok(Ok(lines))
    }

    /// Fetches `wanted` in that order, asking for as many ahead as `ahead` allows and the server
    /// takes.
    pub fn retrieve<'s>(&'s mut self, wanted: &'s [Wanted], ahead: Ahead) -> Retrieval<'s, S> {
        let ahead = if self.pipelining() { ahead } else { Ahead::NONE };
        Retrieval::new(&mut self.wire, wanted, ahead)
    }

    /// The header of a message, with LF line ends.
    ///
    /// # Errors
    /// The line is lost, or more than a header comes. A refusal is no error.
    pub fn top(&mut self, num: MsgNum) -> Result<std::result::Result<Vec<u8>, Refusal>> {
        self.wire.queue(Command::Top(num, 0))?;
        self.wire.flush()?;
        self.head()
    }

    /// The headers of messages, as [`top`](Self::top) gives one; in few writes where the server
    /// takes that.
    ///
    /// # Errors
    /// As for [`top`](Self::top).
    pub fn tops(&mut self, nums: &[MsgNum]) -> Result<Vec<std::result::Result<Vec<u8>, Refusal>>> {
        let together = if self.pipelining() { ASKED_TOGETHER } else { 1 };
        let mut heads = Vec::with_capacity(nums.len());
        for some in nums.chunks(together) {
            for num in some {
                self.wire.queue(Command::Top(*num, 0))?;
            }
            self.wire.flush()?;
            for _ in some {
                heads.push(self.head()?);
            }
        }
        Ok(heads)
    }

    fn head(&mut self) -> Result<std::result::Result<Vec<u8>, Refusal>> {
        match self.wire.reply()? {
            Reply::Ok(_) => {}
            Reply::Err(refusal) => return Ok(Err(refusal)),
            Reply::Challenge(_) => return Err(not_pop3(&self.wire.peer)),
        }
        let (mut decoder, mut ended, mut head) = (Decoder::default(), false, Vec::new());
        while let Some(content) = self.wire.content(&mut decoder, &mut ended)? {
            if head.len() + content.len() > MAX_TOP {
                return Err(not_pop3(&self.wire.peer).fact("it answers TOP with more than a header"));
            }
            head.extend_from_slice(content);
        }
        Ok(Ok(head))
    }

    /// Marks messages for deletion, in one write where the server takes that; gives the answer to
    /// each. Nothing is deleted before [`quit`](Self::quit).
    ///
    /// # Errors
    /// The line is lost.
    pub fn delete(&mut self, nums: &[MsgNum]) -> Result<Vec<std::result::Result<(), Refusal>>> {
        let together = if self.pipelining() { ASKED_TOGETHER } else { 1 };
        let mut answers = Vec::with_capacity(nums.len());
        for some in nums.chunks(together) {
            for num in some {
                self.wire.queue(Command::Dele(*num))?;
            }
            self.wire.flush()?;
            for _ in some {
                answers.push(match self.wire.reply()? {
                    Reply::Ok(_) => Ok(()),
                    Reply::Err(refusal) => Err(refusal),
                    Reply::Challenge(_) => return Err(not_pop3(&self.wire.peer)),
                });
            }
        }
        Ok(answers)
    }

    /// Takes all deletion marks of this session back.
    ///
    /// # Errors
    /// The line is lost.
    pub fn reset(&mut self) -> Result<()> {
        self.wire.ask(Command::Rset).map(drop)
    }

    /// Keeps the session from timing out.
    ///
    /// # Errors
    /// The line is lost.
    pub fn noop(&mut self) -> Result<()> {
        self.wire.ask(Command::Noop).map(drop)
    }

    /// Ends the session; only now the server deletes what was marked (RFC 1939 §6).
    ///
    /// # Errors
    /// The server did not confirm: whether it deleted anything is not known.
    pub fn quit(mut self) -> Result<()> {
        match self.wire.ask(Command::Quit)? {
            Reply::Ok(_) => Ok(()),
            Reply::Err(refusal) => {
                let peer = &self.wire.peer;
                Err(Error::new(Kind::Busy, format!("{peer} did not carry the deletions out"))
                    .fact(quoted(peer, &refusal)))
            }
            Reply::Challenge(_) => Err(not_pop3(&self.wire.peer)),
        }
    }
}

/// So many DELE or TOP go into one write: they fit into the smallest socket buffer, so that a
/// server that waits for its answers to be read never keeps pouch from reading them.
const ASKED_TOGETHER: usize = 256;

fn ask_capabilities<S: Read + Write>(wire: &mut Wire<S>) -> Result<Option<Capabilities>> {
    wire.queue(Command::Capa)?;
    wire.flush()?;
    read_capabilities(wire)
}

/// The answer to CAPA. A server that does not know it (popa3d, Solid POP3) says `-ERR`.
fn read_capabilities<S: Read + Write>(wire: &mut Wire<S>) -> Result<Option<Capabilities>> {
    match wire.reply()? {
        Reply::Ok(_) => {}
        // Dovecot says so unasked, right behind a good login, when it cannot open the mailbox
        Reply::Err(refusal) if refusal.passes() => {
            let peer = &wire.peer;
            return Err(
                Error::new(Kind::Busy, format!("{peer} cannot open the mailbox now")).fact(quoted(peer, &refusal))
            );
        }
        Reply::Err(_) => return Ok(None),
        Reply::Challenge(_) => return Err(not_pop3(&wire.peer)),
    }
    let mut capabilities = Capabilities::default();
    let mut budget = MAX_CAPA;
    while let Some(line) = wire.list_line(&mut budget)? {
        capabilities.add(line);
    }
    Ok(Some(capabilities))
}

/// What a refused login means (RFC 2449 §8.1.1, RFC 3206 §4). `codes`: the server announces
/// AUTH-RESP-CODE, so that a failure without `[AUTH]` has nothing to do with the credentials.
fn login_refused(peer: &str, refusal: &Refusal, codes: bool) -> Error {
    let fact = quoted(peer, refusal);
    match refusal.code {
        Some(Code::InUse) => Error::new(Kind::Busy, "the mailbox is in use by another session").fact(fact),
        Some(Code::LoginDelay) => {
            Error::new(Kind::Busy, format!("{peer} wants more time between two logins")).fact(fact)
        }
        Some(Code::SysTemp) => Error::new(Kind::Busy, format!("{peer} cannot log anybody in now")).fact(fact),
        Some(Code::SysPerm) => Error::new(Kind::Unavailable, format!("{peer} cannot log you in")).fact(fact),
        Some(Code::Auth) => Error::new(Kind::Denied, "the server refused the password").fact(fact),
        None if codes => Error::new(Kind::Busy, format!("{peer} cannot log you in now")).fact(fact),
        None => Error::new(Kind::Denied, "the server refused the login").fact(fact),
    }
}

/// `pop.example.org said: -ERR [AUTH] Invalid credentials`.
pub fn quoted(peer: &str, refusal: &Refusal) -> String {
    format!("{peer} said: {}", shown(&[b"-ERR ", refusal.text.as_slice()].concat()).trim_end())
}

/// Sizes and UIDs of the same messages, by number. Where a number comes twice, its first line
/// counts; what has a UID and no size is taken to have no octets.
fn join(sizes: Vec<(MsgNum, u64)>, uids: Vec<(MsgNum, crate::types::Uid)>) -> Listing {
    let mut sizes = sizes;
    sizes.sort_by_key(|(num, _)| *num);
    sizes.dedup_by_key(|(num, _)| *num);
    let mut uids = uids;
    uids.sort_by_key(|(num, _)| *num);
    uids.dedup_by_key(|(num, _)| *num);
    let nameless = sizes.iter().filter(|(num, _)| uids.binary_search_by_key(num, |(num, _)| *num).is_err()).count();
    let messages = uids
        .into_iter()
        .map(|(num, uid)| Listed {
            octets: sizes.binary_search_by_key(&num, |(num, _)| *num).map_or(0, |at| sizes[at].1),
            num,
            uid,
        })
        .collect();
    Listing { messages, nameless }
}

/// What `list` found, in a line for `check`.
impl std::fmt::Display for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&count(self.messages.len() as u64, "message"))
    }
}
