//! Message headers: sender, subject, date, and a fingerprint that recognises the message.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::LazyLock,
};

use mail_parser::{HeaderForm, HeaderName, HeaderValue, Message, MessageParser};
use sha2::{Digest, Sha256};

use crate::domain::time::Timestamp;

/// The number of bytes of a message that are searched for the end of its header. Headers are
/// smaller.
pub const MAX_HEAD: usize = 64 * 1024;

/// The summary of a header, decoded (RFC 2047) and not sanitized.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderSummary {
    /// The sender's name or, without one, the address.
    pub sender: Option<String>,
    /// The sender's address.
    pub address: Option<String>,
    /// The subject.
    pub subject: Option<String>,
    /// The Date field as it was written.
    pub date: Option<String>,
}

/// A hash that stays the same when a message moves to another server.
///
/// It covers Message-ID, Date, From and Subject and, without a Message-ID, also the Received fields
/// except those of pouch. Other fields, and the size, differ between servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 16]);

/// The beginning of a message, collected while it is received.
#[derive(Debug, Default)]
pub struct Head {
    octets: Vec<u8>,
    whole: bool,
}

impl Head {
    /// Adds the next piece of the message. Everything after the header is dropped.
    pub fn push(&mut self, piece: &[u8]) {
        if self.whole {
            return;
        }
        let searched = self.octets.len().saturating_sub(1);
        let room = MAX_HEAD - self.octets.len();
        self.octets
            .extend_from_slice(&piece[..piece.len().min(room)]);
        if let Some(end) = memchr::memmem::find(&self.octets[searched..], b"\n\n") {
            self.octets.truncate(searched + end + 2);
            self.whole = true;
        } else if self.octets.len() == MAX_HEAD {
            self.whole = true;
        }
    }

    /// Returns whether the header is complete, so that more of the message would change nothing.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Returns the header with LF line ends.
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets
    }
}

/// Runs a header parser. Returns `None` if it panics: one bad message must not stop the others.
fn guarded<T>(parse: impl FnOnce() -> Option<T>) -> Option<T> {
    // a parser changes nothing except its own result
    catch_unwind(AssertUnwindSafe(parse)).ok().flatten()
}

/// Returns the summary of `head`, a header with LF line ends. Fields that cannot be parsed are
/// empty.
pub fn summarize(head: &[u8]) -> HeaderSummary {
    let Some(message) = guarded(|| MessageParser::default().parse_headers(head)) else {
        return HeaderSummary::default();
    };
    let from = message.from().and_then(|from| from.first());
    HeaderSummary {
        sender: from
            .and_then(|from| from.name().or(from.address()))
            .map(str::to_owned),
        address: from.and_then(|from| from.address()).map(str::to_owned),
        subject: message.subject().map(str::to_owned),
        date: message
            .header_raw(HeaderName::Date)
            .map(|date| date.trim().to_owned()),
    }
}

/// A parser that finds the fields of a header, but only interprets Return-Path, because every
/// message passes through it. (Without any field to interpret, it would interpret all of them.)
static FIELDS: LazyLock<MessageParser> = LazyLock::new(|| {
    MessageParser::new()
        .header_id(HeaderName::ReturnPath)
        .default_header_ignore()
});

/// A parser that interprets the dates of a header, and no other field.
static DATES: LazyLock<MessageParser> = LazyLock::new(|| {
    MessageParser::new()
        .header_received(HeaderName::Received)
        .header_date(HeaderName::Date)
        .default_header_ignore()
});

fn fields(head: &[u8]) -> Option<Message<'_>> {
    guarded(|| FIELDS.parse_headers(head))
}

/// Returns the time at which the server received a message with this header, or else that of its
/// Date field. `None` if neither can be parsed.
///
/// The first Received field is the server's own (RFC 5321 §4.4). The sender can forge those below,
/// which are not interpreted.
pub fn received_at(head: &[u8]) -> Option<Timestamp> {
    let message = fields(head)?;
    let first = |name: HeaderName<'_>| message.headers().iter().find(|field| field.name == name);
    let date = |name: HeaderName<'_>| {
        let field = first(name)?;
        let field = head.get(field.offset_field as usize..field.offset_end as usize)?;
        let parsed = guarded(|| DATES.parse_headers(field))?;
        let received = parsed.received().and_then(mail_parser::Received::date);
        received.or_else(|| parsed.date().copied())
    };
    date(HeaderName::Received)
        .or_else(|| date(HeaderName::Date))
        .map(|date| Timestamp(date.to_timestamp()))
}

/// Returns the address in the Return-Path of `head` (RFC 5321 §4.4), or `None` if there is no such
/// field or it is empty.
pub fn return_path(head: &[u8]) -> Option<String> {
    let message = fields(head)?;
    message
        .return_path()
        .as_text()
        .map(str::trim)
        .filter(|address| !address.is_empty())
        .map(str::to_owned)
}

/// Returns whether `head` has a Return-Path, even an empty one.
pub fn has_return_path(head: &[u8]) -> bool {
    fields(head).is_some_and(|message| message.header(HeaderName::ReturnPath).is_some())
}

/// Returns a header without the line of an mbox file before it (`From ann@… Mon Nov 23 …`), which
/// some delivery agents write into the files of a Maildir.
pub fn without_mbox_line(head: &[u8]) -> &[u8] {
    let is_line = head.starts_with(b"From ") || head.starts_with(b">From ");
    match memchr::memchr(b'\n', head) {
        Some(end) if is_line => &head[end + 1..],
        _ => head,
    }
}

/// The beginning of the comment that pouch writes into a Received field.
pub const RECEIVED_BY_POUCH: &str = "(pouch ";

/// Returns the fingerprint of `head`, a header with LF line ends, or `None` if it has none of the
/// fields.
pub fn fingerprint(head: &[u8]) -> Option<Fingerprint> {
    let head = without_mbox_line(head);
    let message = fields(head)?;
    let mut hash = Sha256::new();
    let mut any = false;
    let named = message.header(HeaderName::MessageId).is_some();
    for header in message.headers() {
        let Some(value) = head.get(header.offset_start as usize..header.offset_end as usize) else {
            continue;
        };
        let counts = match header.name {
            HeaderName::MessageId | HeaderName::Date | HeaderName::From | HeaderName::Subject => {
                true
            }
            HeaderName::Received => {
                !named && memchr::memmem::find(value, RECEIVED_BY_POUCH.as_bytes()).is_none()
            }
            _ => false,
        };
        if !counts {
            continue;
        }
        any = true;
        hash.update(header.name.as_str().to_ascii_lowercase());
        // servers fold lines differently, so that all white space counts as one space
        for word in value
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
        {
            hash.update(b" ");
            hash.update(word);
        }
        hash.update(b"\n");
    }
    let digest = hash.finalize();
    let mut short = [0; 16];
    short.copy_from_slice(&digest[..16]);
    any.then_some(Fingerprint(short))
}

/// Returns what identifies a message of which only the header is known: the fingerprint or, if it
/// has none of its fields, a hash over all of `head`.
pub fn identity(head: &[u8]) -> Fingerprint {
    fingerprint(head).unwrap_or_else(|| {
        let mut short = [0; 16];
        short.copy_from_slice(&Sha256::digest(head)[..16]);
        Fingerprint(short)
    })
}

/// A parsed header.
pub struct Header<'h>(Option<Message<'h>>);

impl<'h> Header<'h> {
    /// Parses `head`, a header with LF line ends. If it cannot be parsed, it has no fields.
    pub fn read(head: &'h [u8]) -> Self {
        Self(guarded(|| MessageParser::default().parse_headers(head)))
    }

    fn values(&self, name: &str, form: HeaderForm) -> Vec<HeaderValue<'_>> {
        guarded(|| Some(self.0.as_ref()?.header_as(name.to_owned(), form))).unwrap_or_default()
    }

    /// Returns the values of all fields of this name, unfolded and decoded (RFC 2047).
    pub fn texts(&self, name: &str) -> Vec<String> {
        let values = self.values(name, HeaderForm::Text);
        values
            .iter()
            .map(|value| value.as_text().unwrap_or_default().trim().to_owned())
            .collect()
    }

    /// Returns the mailboxes in the fields of these names, each as `name <address>`, address and
    /// name.
    pub fn mailboxes(&self, names: &[&str]) -> Vec<String> {
        let values = names
            .iter()
            .flat_map(|name| self.values(name, HeaderForm::Addresses));
        let mut mailboxes = Vec::new();
        for value in values {
            for mailbox in value.as_address().into_iter().flat_map(|list| list.iter()) {
                let (name, address) = (mailbox.name(), mailbox.address());
                mailboxes.extend(
                    name.zip(address)
                        .map(|(name, address)| format!("{name} <{address}>")),
                );
                mailboxes.extend([address, name].into_iter().flatten().map(str::to_owned));
            }
        }
        mailboxes
    }

    /// Returns the addresses in each field of this name.
    pub fn addresses(&self, name: &str) -> Vec<Vec<String>> {
        let addresses = |value: &HeaderValue<'_>| {
            let mailboxes = value.as_address().into_iter().flat_map(|list| list.iter());
            mailboxes
                .filter_map(|mailbox| mailbox.address().or(mailbox.name()))
                .map(str::to_owned)
                .collect()
        };
        self.values(name, HeaderForm::Addresses)
            .iter()
            .map(addresses)
            .collect()
    }

    /// Returns the time in the Date field.
    pub fn date(&self) -> Option<Timestamp> {
        self.0
            .as_ref()?
            .date()
            .filter(|date| date.is_valid())
            .map(|date| Timestamp(date.to_timestamp()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAIL: &[u8] = b"Received: from a by b;\n\tMon, 1 Jan 2026 00:00:00 +0000\nFrom: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\nSubject: Hello\n world\nMessage-ID: <1@example.org>\nDate: Mon, 1 Jan 2026 00:00:00 +0000\n\n";

    #[test]
    fn time_of_the_last_server_counts() {
        let by = |date: &str| format!("Received: from a.example by b.example; {date}\n");
        let (server, forged) = (
            by("Sat, 28 Nov 2026 09:00:00 +0000"),
            by("Sat, 28 Nov 2099 09:00:00 +0000"),
        );
        let date = "Date: Fri, 27 Nov 2026 09:00:00 +0000\n";
        let at = |head: &str| received_at(format!("{head}Subject: x\n\n").as_bytes());
        let received = at(&server);
        assert!(received.is_some());
        assert_eq!(at(&format!("{server}{forged}{date}")), received);
        assert_eq!(at(&format!("{date}{server}")), received);
        assert!(at(date) < received && at(date).is_some());
        assert_eq!(at(&format!("Received: by b.example\n{date}")), at(date));
        assert_eq!(at("From: a\n"), None);
    }

    #[test]
    fn words_are_decoded() {
        assert_eq!(
            summarize(MAIL),
            HeaderSummary {
                sender: Some("Jürgen".into()),
                address: Some("j@example.org".into()),
                subject: Some("Hello world".into()),
                date: Some("Mon, 1 Jan 2026 00:00:00 +0000".into()),
            }
        );
        assert_eq!(summarize(b"no header at all"), HeaderSummary::default());
    }

    #[test]
    fn a_parser_that_stumbles_ends_nothing() {
        assert_eq!(guarded(|| MAIL.get(MAIL.len()..).map(|rest| rest[0])), None);
        assert_eq!(guarded(|| Some(1)), Some(1));
    }

    #[test]
    fn errors_go_back_to_the_return_path() {
        let path = |head: &str| return_path(format!("{head}\nFrom: a@example.org\n\n").as_bytes());
        assert_eq!(
            path("Return-Path: <bounce+1@example.org>").as_deref(),
            Some("bounce+1@example.org")
        );
        assert_eq!(
            path("Return-path: bare@example.org").as_deref(),
            Some("bare@example.org")
        );
        assert_eq!(path("Return-Path: <>"), None);
        assert_eq!(path("X: y"), None);
    }

    #[test]
    fn a_move_to_another_server_changes_nothing() {
        let moved = String::from_utf8_lossy(MAIL).replace(";\n\tMon", "; Mon");
        let moved = format!("X-UIDL: 4711\nDelivered-To: ann\n{moved}");
        assert_eq!(fingerprint(MAIL), fingerprint(moved.as_bytes()));
        let other = String::from_utf8_lossy(MAIL).replace("<1@", "<2@");
        assert_ne!(fingerprint(MAIL), fingerprint(other.as_bytes()));
        let mbox = [
            &b"From ann@example.org Mon Jan  1 00:00:00 2026\n"[..],
            MAIL,
        ]
        .concat();
        assert_eq!(fingerprint(&mbox), fingerprint(MAIL));
        let wire = String::from_utf8_lossy(MAIL).replace('\n', "\r\n");
        assert_eq!(fingerprint(wire.as_bytes()), fingerprint(MAIL));
        assert_eq!(fingerprint(b"X-Other: 1\n\n"), None);
        // nor do the fields that pouch adds
        let nameless =
            b"Received: from a by b; Mon, 1 Jan 2026 00:00:00 +0000\nFrom: a@example.org\n\n";
        let ours = [
            b"Received: from b\n\t(pouch 1.0; account work; UID 1); Mon, 1 Jan 2026\n",
            &nameless[..],
        ]
        .concat();
        assert_eq!(fingerprint(&ours), fingerprint(nameless));
    }

    #[test]
    fn the_head_ends_with_the_header() {
        let mut head = Head::default();
        for piece in [&b"A: 1\nB:"[..], b" 2\n", b"\nbody\n", b"\nmore"] {
            head.push(piece);
        }
        assert_eq!(head.as_bytes(), b"A: 1\nB: 2\n\n");
        let mut endless = Head::default();
        for _ in 0..100 {
            endless.push(&[b'x'; 1000]);
        }
        assert_eq!(endless.as_bytes().len(), MAX_HEAD);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = (summarize(&octets), fingerprint(&octets));
        }
    }
}
