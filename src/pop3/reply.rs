//! Responses of a server: status lines, response codes, capabilities and lines of a listing.

use std::borrow::Cow;

pub use crate::domain::refusal::Code;
use crate::{
    domain::{
        ids::{MsgNum, Uid},
        refusal::{self, Meaning},
    },
    text::{decode, readable},
};

/// A status line (RFC 1939 §3) or a SASL challenge (RFC 5034 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+OK text`.
    Ok(Vec<u8>),
    /// `-ERR text`.
    Err(Refusal),
    /// `+ text`: the server waits for the next response of a SASL login.
    Challenge(Vec<u8>),
}

/// A response that refuses a command: `-ERR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The response code, or `None` if there is none or it is not known to pouch.
    pub code: Option<Code>,
    /// The text after `-ERR`, with the response code.
    pub text: Vec<u8>,
}

impl Refusal {
    /// Returns whether the response code says that a later attempt may succeed.
    pub fn is_transient(&self) -> bool {
        self.code.is_some_and(Code::is_transient)
    }

    /// Returns whether the refusal is transient, except that of a login: see
    /// [`refusal::sounds_transient`].
    pub fn sounds_transient(&self) -> bool {
        refusal::sounds_transient(self.code, &self.decoded())
    }

    /// Returns whether the refusal of a login is transient: see [`refusal::meaning`].
    pub fn login_sounds_transient(&self) -> bool {
        refusal::meaning(self.code, &self.decoded(), false) == Meaning::Busy
    }

    /// Returns whether the words of a refusal are about the command or the mechanism, and not about
    /// the credentials: see [`refusal::rejects_mechanism`].
    pub fn rejects_mechanism(&self) -> bool {
        refusal::rejects_mechanism(self.code, &self.decoded())
    }

    /// Returns whether the words of a refusal name the command or the mechanism, whatever its
    /// response code: see [`refusal::names_mechanism`].
    pub fn names_mechanism(&self) -> bool {
        refusal::names_mechanism(&self.decoded())
    }

    /// Returns the beginning of the text, decoded.
    pub(super) fn decoded(&self) -> Cow<'_, str> {
        decode(&self.text[..self.text.len().min(MAX_DECODED)])
    }

    /// Parses the text after `-ERR`.
    fn parse(text: &[u8]) -> Self {
        Self {
            code: refusal::code(text),
            text: text.to_vec(),
        }
    }
}

/// The part of a refusal that is decoded, in bytes.
const MAX_DECODED: usize = 4_096;

/// Returns a refusal as a fact for a message, with who sent it:
/// `pop.example.org said: -ERR [AUTH] Invalid credentials`.
pub fn quoted(peer: &str, refusal: &Refusal) -> String {
    format!(
        "{peer} said: {}",
        readable(&[b"-ERR ", refusal.text.as_slice()].concat()).trim_end()
    )
}

impl Reply {
    /// Parses a line without its line end. Returns `None` if it is not a status line or challenge.
    ///
    /// `+OK` and `-ERR` may be in any case, and without text (popa3d).
    pub fn parse(line: &[u8]) -> Option<Self> {
        fn text(rest: &[u8]) -> Option<&[u8]> {
            match rest {
                [] => Some(rest),
                [b' ' | b'\t', text @ ..] => Some(text),
                _ => None,
            }
        }
        if let Some(rest) = strip_word(line, b"+OK") {
            text(rest).map(|text| Self::Ok(text.to_vec()))
        } else if let Some(rest) = strip_word(line, b"-ERR") {
            text(rest).map(|text| Self::Err(Refusal::parse(text)))
        } else {
            // RFC 5034 §4 requires "+ ", but some servers send the plus alone
            line.strip_prefix(b"+")
                .and_then(text)
                .map(|text| Self::Challenge(text.to_vec()))
        }
    }
}

/// Returns what follows `word`, in any case, or `None` if `line` does not begin with it.
fn strip_word<'a>(line: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = line.split_at_checked(word.len())?;
    head.eq_ignore_ascii_case(word).then_some(rest)
}

/// Returns the number of messages and their total size in octets, from the text of a response to
/// STAT. The size is `None` if it is missing or not a 64-bit number.
pub fn stat(text: &[u8]) -> Option<(u32, Option<u64>)> {
    let (count, rest) = number(text)?;
    Some((u32::try_from(count).ok()?, size(rest)))
}

/// Returns the number and the size in octets of a message, from a line of LIST. Further text, which
/// RFC 1939 §5 allows, is ignored. The size is `None` if it is missing or not a 64-bit number.
pub fn list_line(line: &[u8]) -> Option<(MsgNum, Option<u64>)> {
    let (num, rest) = number(line)?;
    Some((message_number(num)?, size(rest)))
}

/// Returns the message that the text of a response to `LIST n` names, or `None` if it is not one:
/// unlike other responses that begin with a number, it has number and size.
pub fn sentinel(text: &[u8]) -> Option<MsgNum> {
    list_line(text).and_then(|(num, size)| size.map(|_| num))
}

fn size(text: &[u8]) -> Option<u64> {
    number(text).map(|(size, _)| size)
}

/// Returns the number and the UID of a message, from a line of UIDL. The UID is everything after
/// the first space: some servers have spaces in it.
pub fn uidl_line(line: &[u8]) -> Option<(MsgNum, Uid)> {
    let (num, rest) = number(line)?;
    let uid = rest.strip_prefix(b" ")?;
    if uid.is_empty() {
        return None;
    }
    Some((message_number(num)?, Uid::new(uid)))
}

/// Returns a message number, or `None` if `num` is 0 or too large.
fn message_number(num: u64) -> Option<MsgNum> {
    u32::try_from(num).ok().filter(|num| *num > 0).map(MsgNum)
}

/// Returns the number at the beginning of `text`, after white space, and what follows it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let text = text.trim_ascii_start();
    let digits = text
        .iter()
        .take_while(|octet| octet.is_ascii_digit())
        .count();
    let (number, rest) = text.split_at(digits);
    Some((str::from_utf8(number).ok()?.parse().ok()?, rest))
}

/// The capabilities that a server announces (RFC 2449 §6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    lines: Vec<String>,
}

impl Capabilities {
    /// Adds a line of the response to CAPA.
    pub fn add(&mut self, line: &[u8]) {
        self.lines
            .push(String::from_utf8_lossy(line).trim().to_owned());
    }

    /// Returns the lines, as the server sent them.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Returns whether `tag` is announced, in any case. Misspelled tags do not count: mailutils
    /// sends `EXPIRENEVER`, and Twisted `PIPELINE`.
    pub fn has(&self, tag: &str) -> bool {
        self.arguments(tag).is_some()
    }

    /// Returns the arguments of `tag`, or `None` if it is not announced.
    pub fn arguments(&self, tag: &str) -> Option<impl Iterator<Item = &str>> {
        self.lines.iter().find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            words.next()?.eq_ignore_ascii_case(tag).then_some(words)
        })
    }

    /// Returns the time between logins that the server requires (RFC 2449 §6.5), in seconds. `None`
    /// if it requires none.
    pub fn login_delay(&self) -> Option<u64> {
        let seconds = self.arguments("LOGIN-DELAY")?.next()?.parse().ok()?;
        (seconds > 0).then_some(seconds)
    }

    /// Returns the names of the SASL mechanisms that are announced.
    pub fn mechanisms(&self) -> Vec<&str> {
        self.arguments("SASL")
            .map(Iterator::collect)
            .unwrap_or_default()
    }

    /// Returns whether the SASL mechanism of this name is announced.
    pub fn offers(&self, mechanism: &str) -> bool {
        self.arguments("SASL")
            .is_some_and(|mut offered| offered.any(|name| name.eq_ignore_ascii_case(mechanism)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn status_lines_and_challenges_are_parsed_and_others_are_not() {
        assert_eq!(Reply::parse(b"+OK"), Some(Reply::Ok(vec![])));
        assert_eq!(
            Reply::parse(b"+ok hello"),
            Some(Reply::Ok(b"hello".to_vec()))
        );
        assert_eq!(Reply::parse(b"+ "), Some(Reply::Challenge(vec![])));
        assert_eq!(Reply::parse(b"+"), Some(Reply::Challenge(vec![])));
        assert_eq!(
            Reply::parse(b"+ e30="),
            Some(Reply::Challenge(b"e30=".to_vec()))
        );
        for none in [
            &b""[..],
            b"220 smtp",
            b"* OK imap",
            b"+OKAY",
            b"-ERROR",
            b" +OK",
        ] {
            assert_eq!(Reply::parse(none), None);
        }
    }

    #[test]
    fn response_code_is_known_by_its_beginning_in_any_case() {
        let code = |text: &[u8]| match Reply::parse(text) {
            Some(Reply::Err(refusal)) => refusal.code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(b"-ERR [IN-USE] locked"), Some(Code::InUse));
        assert_eq!(code(b"-ERR [in-use/shared] locked"), Some(Code::InUse));
        assert_eq!(code(b"-ERR [SYS/TEMP] later"), Some(Code::SysTemp));
        assert_eq!(code(b"-ERR [SYS/PERM/DISK] never"), Some(Code::SysPerm));
        assert_eq!(code(b"-ERR [AUTH] wrong"), Some(Code::Auth));
        assert_eq!(code(b"-ERR [SYS] what"), None);
        assert_eq!(code(b"-ERR [X-NEW] what"), None);
        assert_eq!(code(b"-ERR [AUTH wrong"), None);
        assert_eq!(code(b"-ERR"), None);
    }

    #[test]
    fn listing_lines_need_numbers_and_a_uid() {
        assert_eq!(stat(b"2 320"), Some((2, Some(320))));
        assert_eq!(stat(b"2 320 and more"), Some((2, Some(320))));
        assert_eq!(stat(b"5 messages (670 octets)"), Some((5, None)));
        assert_eq!(stat(b"5 -2147480000"), Some((5, None)));
        assert_eq!(stat(b"two"), None);
        assert_eq!(list_line(b"1 120"), Some((MsgNum(1), Some(120))));
        assert_eq!(list_line(b"0 120"), None);
        assert_eq!(sentinel(b"1 120"), Some(MsgNum(1)));
        assert_eq!(sentinel(b"1 octets"), None);
        assert_eq!(
            list_line(b"1 99999999999999999999"),
            Some((MsgNum(1), None))
        );
        assert_eq!(
            uidl_line(b"7 a b/../%20\xff"),
            Some((MsgNum(7), Uid::new(*b"a b/../%20\xff")))
        );
        assert_eq!(uidl_line(b"7 "), None);
        assert_eq!(uidl_line(b"7"), None);
    }

    #[test]
    fn capabilities_are_found_in_any_case_and_only_by_their_name() {
        let mut capabilities = Capabilities::default();
        for line in [&b"SASL PLAIN LOGIN"[..], b"pipelining", b"EXPIRENEVER"] {
            capabilities.add(line);
        }
        assert!(capabilities.offers("plain"));
        assert!(!capabilities.offers("CRAM-MD5"));
        assert!(capabilities.has("PIPELINING"));
        assert!(!capabilities.has("EXPIRE"));
    }

    proptest! {
        #[test]
        fn any_line_is_parsed_without_panic(
            line in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = (Reply::parse(&line), stat(&line), list_line(&line), uidl_line(&line));
            Capabilities::default().add(&line);
        }
    }
}
