//! The protocol of one connection (RFC 1939, 2449, 2595, 5034), without I/O.

use openssl::hash::MessageDigest;

use super::{
    maildrop::{Maildrop, Message},
    reply::{Reply, Then, top},
    sasl::{Exchange, Outcome, hex},
    setup::{Setup, Tls},
};

/// The session of one client.
#[derive(Debug)]
pub(super) struct Session {
    id: usize,
    tls: bool,
    stage: Stage,
}

/// The states of RFC 1939; the UPDATE state is part of the handling of QUIT.
#[derive(Debug)]
enum Stage {
    Authorization {
        user: Vec<u8>,
        exchange: Option<Exchange>,
    },
    Transaction(View),
}

/// A maildrop as of the login, and the deletions of this session.
#[derive(Debug)]
struct View {
    maildrop: usize,
    seen: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    message: Message,
    deleted: bool,
    retrieved: bool,
}

/// The challenge of APOP. Tests that need it send it in the greeting.
const TIMESTAMP: &str = "<1896.697170952@pop.example.org>";

const STRANGER: Stage = Stage::Authorization {
    user: Vec::new(),
    exchange: None,
};

impl Session {
    /// Creates the session of a client that has just connected.
    pub(super) fn new(id: usize, tls: bool) -> Self {
        Self {
            id,
            tls,
            stage: STRANGER,
        }
    }

    /// Returns the greeting.
    pub(super) fn greeting() -> Reply {
        Reply::ok("POP3 ready")
    }

    /// Starts over after the TLS handshake, which discards the state before it.
    pub(super) fn secured(&mut self) {
        self.tls = true;
        self.stage = STRANGER;
    }

    /// Returns whether the next line is the response to a SASL challenge.
    pub(super) fn awaits_response(&self) -> bool {
        matches!(
            self.stage,
            Stage::Authorization {
                exchange: Some(_),
                ..
            }
        )
    }

    /// Ends the SASL exchange, if there is one, without a login.
    pub(super) fn drop_challenge(&mut self) {
        if self.awaits_response() {
            self.stage = STRANGER;
        }
    }

    /// Returns the UID of the message that a command refers to.
    pub(super) fn subject(&self, line: &[u8]) -> Option<&[u8]> {
        let Stage::Transaction(view) = &self.stage else {
            return None;
        };
        let (verb, argument) = words(line);
        matches!(verb.as_str(), "RETR" | "TOP" | "DELE" | "LIST" | "UIDL")
            .then(|| view.find(argument))?
            .map(|(_, seen)| seen.message.uid.as_slice())
    }

    /// Carries out a command, and returns the correct response.
    pub(super) fn obey(&mut self, line: &[u8], setup: &Setup, maildrops: &mut [Maildrop]) -> Reply {
        if self.awaits_response() {
            return self.authenticate(line, setup, maildrops);
        }
        let (verb, argument) = words(line);
        if setup.lacks(&verb) {
            return Reply::err("unknown command");
        }
        match (&mut self.stage, verb.as_str()) {
            (_, "CAPA") => self.capabilities(setup),
            (Stage::Authorization { .. }, "QUIT") => Reply::ok("bye").then(Then::Close),
            (Stage::Authorization { .. }, "STLS") if setup.tls == Tls::Stls && !self.tls => {
                Reply::ok("begin TLS").then(Then::StartTls)
            }
            (Stage::Authorization { .. }, "APOP") => {
                let digest = |own: &Maildrop| {
                    let text = [TIMESTAMP.as_bytes(), &own.password].concat();
                    let digest = openssl::hash::hash(MessageDigest::md5(), &text).unwrap();
                    let hex = hex(&digest);
                    format!("{} {hex}", own.user)
                };
                let found = maildrops
                    .iter()
                    .position(|own| digest(own).as_bytes() == argument);
                match found {
                    Some(user) => self.open(user, setup, maildrops),
                    None => Reply::err("[AUTH] invalid user or password"),
                }
            }
            (Stage::Authorization { user, .. }, "USER") => {
                *user = argument.to_vec();
                Reply::ok("send PASS")
            }
            (Stage::Authorization { user, .. }, "PASS") => {
                let user = std::mem::take(user);
                self.log_in(&user, argument, setup, maildrops)
            }
            (Stage::Authorization { exchange, .. }, "AUTH") => {
                let (mechanism, response) = words(argument);
                let is_known = mechanism == "PLAIN" || setup.announces(&mechanism);
                let begun = is_known
                    .then(|| Exchange::begin(&mechanism, setup.scram))
                    .flatten();
                let opening = begun.as_ref().map_or(&b""[..], Exchange::opening);
                match &begun {
                    None => return Reply::err("[AUTH] Unsupported authentication mechanism."),
                    Some(begun) if !response.is_empty() && !begun.takes_initial() => {
                        return Reply::err("Protocol error. Connection is closed. 10")
                            .then(Then::Close);
                    }
                    Some(_) => *exchange = begun,
                }
                if response.is_empty() || setup.lacks("INITIAL") {
                    return Reply::challenge(opening);
                }
                self.authenticate(response, setup, maildrops)
            }
            (Stage::Transaction(view), "QUIT") => view.commit(maildrops),
            (Stage::Transaction(view), _) => view.obey(&verb, argument),
            _ => Reply::err("unknown command, or not now"),
        }
    }

    fn capabilities(&self, setup: &Setup) -> Reply {
        let (lines, stls) = match self.stage {
            Stage::Authorization { .. } => (
                &setup.before_login,
                setup.tls == Tls::Stls && !self.tls && !setup.lacks("STLS"),
            ),
            Stage::Transaction(_) => (&setup.after_login, false),
        };
        let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        let body = lines
            .iter()
            .filter(|line| !setup.lacks(&name(line)))
            .map(String::as_str)
            .chain(stls.then_some("STLS"))
            .flat_map(|line| [line, "\r\n"])
            .collect::<String>();
        Reply::ok("capabilities follow").with_body(body.into_bytes())
    }

    /// Handles a response of the client (RFC 5034).
    fn authenticate(
        &mut self,
        response: &[u8],
        setup: &Setup,
        maildrops: &mut [Maildrop],
    ) -> Reply {
        let Stage::Authorization { exchange, .. } = std::mem::replace(&mut self.stage, STRANGER)
        else {
            return Reply::err("not now");
        };
        let response = if response == b"=" { b"" } else { response };
        let (Some(mut exchange), Some(response)) = (exchange, base64(response)) else {
            return Reply::err("not base64, or cancelled");
        };
        match exchange.respond(&response, maildrops) {
            Outcome::Accept(user) => self.open(user, setup, maildrops),
            Outcome::Refuse => Reply::err("[AUTH] invalid user or password"),
            Outcome::Malformed => Reply::err("malformed response"),
            Outcome::Challenge(challenge) => {
                self.stage = Stage::Authorization {
                    user: Vec::new(),
                    exchange: Some(exchange),
                };
                Reply::challenge(&challenge)
            }
        }
    }

    fn log_in(
        &mut self,
        user: &[u8],
        password: &[u8],
        setup: &Setup,
        maildrops: &mut [Maildrop],
    ) -> Reply {
        let found = maildrops
            .iter()
            .position(|maildrop| maildrop.user.as_bytes() == user && maildrop.password == password);
        match found {
            Some(maildrop) => self.open(maildrop, setup, maildrops),
            None => Reply::err("[AUTH] invalid user or password"),
        }
    }

    /// Opens the maildrop of a user who has logged in.
    fn open(&mut self, maildrop: usize, setup: &Setup, maildrops: &mut [Maildrop]) -> Reply {
        let opened = &mut maildrops[maildrop];
        if setup.exclusive && opened.holder.is_some() {
            return Reply::err("[IN-USE] another session has the maildrop");
        }
        opened.holder = Some(self.id);
        let turn = if setup.renumbers { self.id } else { 0 };
        let seen = opened.snapshot(turn, setup.window);
        self.stage = Stage::Transaction(View {
            maildrop,
            seen: seen
                .into_iter()
                .map(|message| Seen {
                    message,
                    deleted: false,
                    retrieved: false,
                })
                .collect(),
        });
        Reply::ok("maildrop open")
    }
}

impl View {
    fn obey(&mut self, verb: &str, argument: &[u8]) -> Reply {
        let (number, rest) = words(argument);
        match (verb, argument.is_empty()) {
            ("STAT", _) => {
                let (count, octets) = self.totals();
                Reply::ok(format!("{count} {octets}"))
            }
            ("LIST", true) => {
                let (count, octets) = self.totals();
                Reply::ok(format!("{count} messages ({octets} octets)"))
                    .with_body(self.listing(Seen::size_line))
            }
            ("UIDL", true) => {
                Reply::ok("unique-ids follow").with_body(self.listing(Seen::uid_line))
            }
            ("LIST", false) => {
                self.about(argument, |number, seen| Reply::ok(seen.size_line(number)))
            }
            ("UIDL", false) => {
                self.about(argument, |number, seen| Reply::ok(seen.uid_line(number)))
            }
            ("RETR", false) => {
                if let Some(seen) = self.find_mut(argument) {
                    seen.retrieved = true;
                }
                self.about(argument, |_, seen| {
                    Reply::ok(format!("{} octets", seen.message.listed))
                        .with_body(seen.message.content.to_vec())
                })
            }
            ("TOP", false) => match str::from_utf8(rest).unwrap_or_default().parse() {
                Ok(lines) => self.about(number.as_bytes(), |_, seen| {
                    Reply::ok("top of message follows").with_body(top(&seen.message.content, lines))
                }),
                Err(_) => Reply::err("how many lines?"),
            },
            ("DELE", false) => match self.find_mut(argument) {
                Some(seen) => {
                    seen.deleted = true;
                    Reply::ok("marked")
                }
                None => no_such_message(),
            },
            ("RSET", _) => {
                self.seen.iter_mut().for_each(|seen| seen.deleted = false);
                Reply::ok("all marks gone")
            }
            ("NOOP", _) => Reply::ok(""),
            _ => Reply::err("unknown command, or not now"),
        }
    }

    /// Enters the UPDATE state, the only one in which messages are removed.
    fn commit(&self, maildrops: &mut [Maildrop]) -> Reply {
        let ids = |is: fn(&&Seen) -> bool| -> Vec<_> {
            let seen = self.seen.iter().filter(is);
            seen.map(|seen| seen.message.id).collect()
        };
        let maildrop = &mut maildrops[self.maildrop];
        maildrop.mark_retrieved(&ids(|seen| seen.retrieved));
        // Unlocked before the client gets the response, so that it can reconnect at once.
        maildrop.holder = None;
        match maildrop.remove(&ids(|seen| seen.deleted)) {
            0 => Reply::ok("bye"),
            left => Reply::err(format!("{left} deleted messages not removed")),
        }
        .then(Then::Close)
    }

    /// Returns the messages that are not marked as deleted, with their numbers.
    fn present(&self) -> impl Iterator<Item = (usize, &Seen)> {
        (1..).zip(&self.seen).filter(|(_, seen)| !seen.deleted)
    }

    fn totals(&self) -> (usize, usize) {
        self.present().fold((0, 0), |(count, octets), (_, seen)| {
            (count + 1, octets + seen.message.listed)
        })
    }

    fn listing(&self, line: fn(&Seen, usize) -> Vec<u8>) -> Vec<u8> {
        self.present()
            .flat_map(|(number, seen)| [line(seen, number), b"\r\n".to_vec()])
            .flatten()
            .collect()
    }

    fn find(&self, number: &[u8]) -> Option<(usize, &Seen)> {
        let number: usize = words(number).0.parse().ok()?;
        self.present().find(|&(present, _)| present == number)
    }

    fn find_mut(&mut self, number: &[u8]) -> Option<&mut Seen> {
        let (number, _) = self.find(number)?;
        self.seen.get_mut(number - 1)
    }

    fn about(&self, number: &[u8], reply: impl FnOnce(usize, &Seen) -> Reply) -> Reply {
        self.find(number)
            .map_or_else(no_such_message, |(number, seen)| reply(number, seen))
    }
}

impl Seen {
    fn size_line(&self, number: usize) -> Vec<u8> {
        format!("{number} {}", self.message.listed).into_bytes()
    }

    fn uid_line(&self, number: usize) -> Vec<u8> {
        [number.to_string().as_bytes(), b" ", &self.message.uid].concat()
    }
}

fn no_such_message() -> Reply {
    Reply::err("no such message")
}

/// Splits a line into the first word, in capitals, and the rest after the space.
fn words(line: &[u8]) -> (String, &[u8]) {
    let end = line
        .iter()
        .position(|&octet| octet == b' ')
        .unwrap_or(line.len());
    let word = String::from_utf8_lossy(&line[..end]).to_ascii_uppercase();
    (word, line.get(end + 1..).unwrap_or_default())
}

/// Decodes base64 (RFC 4648), strictly enough to notice invalid input.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_ascii_end();
    let digits = digits.strip_suffix(b"=").unwrap_or(digits);
    let digits = digits.strip_suffix(b"=").unwrap_or(digits);
    let mut out = Vec::new();
    for group in digits.chunks(4) {
        let mut bits = 0;
        for place in 0..4 {
            let value = match group.get(place) {
                Some(digit) => ALPHABET.iter().position(|letter| letter == digit)?,
                None => 0,
            };
            bits = bits << 6 | u32::try_from(value).ok()?;
        }
        out.extend(bits.to_be_bytes()[1..].iter().take(group.len() * 6 / 8));
    }
    Some(out)
}
