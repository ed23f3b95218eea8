//! The header fields that a mail system adds to a message (RFC 5321 §4.4), if the account asks for
//! them.

use std::net::Ipv4Addr;

use mail_builder::headers::date::Date;

use crate::domain::{
    ids::Uid,
    message::{RECEIVED_BY_POUCH, has_return_path},
    time::Timestamp,
};

/// The longest line, without its line end (RFC 5322 §2.1.1).
const WIDTH: usize = 77;

/// The longest name or UID that is written, in characters.
const LONGEST: usize = 70;

/// The longest path of RFC 5321 §4.5.3.1.3, without its brackets.
const LONGEST_PATH: usize = 254;

/// A field that can be added to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceField {
    /// Received: how the message was received.
    Received,
    /// Return-Path: the address for bounces, which POP3 does not transmit.
    ReturnPath,
    /// Delivered-To: the owner of the mailbox.
    DeliveredTo,
}

/// The way in which a message was received.
#[derive(Clone, Copy, Debug)]
pub struct TraceInfo<'a> {
    /// The server's name or address, as in the config.
    pub host: &'a str,
    /// The address of the connection, if it is known.
    pub address: Option<&'a str>,
    /// This machine's name.
    pub machine: &'a str,
    /// Whether the connection was encrypted.
    pub protected: bool,
    /// The account's name.
    pub account: &'a str,
    /// The login name.
    pub user: &'a str,
    /// The message's UID.
    pub uid: &'a Uid,
}

/// Returns the fields of `wanted` for the message that begins with `head`, with LF line ends.
///
/// They are in the order in which mail systems write them, whatever the order of `wanted`.
/// Return-Path is only added to a message without one, and is empty: bounces go nowhere.
pub fn write(wanted: &[TraceField], hop: &TraceInfo<'_>, head: &[u8], now: Timestamp) -> Vec<u8> {
    let mut fields = String::new();
    if wanted.contains(&TraceField::ReturnPath) && !has_return_path(head) {
        fields.push_str("Return-Path: <>\n");
    }
    if wanted.contains(&TraceField::DeliveredTo) {
        let user: String = printable(hop.user.as_bytes()).take(LONGEST_PATH).collect();
        fields.push_str(&format!("Delivered-To: {user}\n"));
    }
    if wanted.contains(&TraceField::Received) {
        fields.push_str(&received(hop, now));
    }
    fields.into_bytes()
}

fn received(hop: &TraceInfo<'_>, now: Timestamp) -> String {
    let host = domain(hop.host);
    let reached = match hop.address {
        Some(address) if host.starts_with('[') => literal(address),
        Some(address) => format!("{host} {}", literal(address)),
        None => host.clone(),
    };
    let words = [
        format!("from {host}"),
        format!("({reached})"),
        format!("by {}", domain(hop.machine)),
        format!("with {}", if hop.protected { "POP3S" } else { "POP3" }),
        format!("{RECEIVED_BY_POUCH}{};", env!("CARGO_PKG_VERSION")),
        format!("account {};", comment(hop.account.as_bytes())),
        format!("UID {})", comment(&hop.uid.text())),
        format!("{};", path(hop.user)),
        Date::new(now.0).to_rfc822(),
    ];
    let mut field = String::from("Received:");
    let mut width = field.len();
    for word in &words {
        // punctuation belongs to the clause before it
        let gap = if word == ";" { "" } else { " " };
        if width + gap.len() + word.len() > WIDTH {
            field.push_str("\n\t");
            width = 1;
        } else {
            field.push_str(gap);
            width += gap.len();
        }
        field.push_str(word);
        width += word.len();
    }
    field.push('\n');
    field
}

/// Returns the clause that names the owner of the mailbox, if that can be written as a path.
fn path(user: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_graphic() && !b"<>()[]\\,;:\"".contains(&octet);
    let is_path = (1..=LONGEST_PATH).contains(&user.len()) && user.bytes().all(plain);
    if is_path {
        format!("for <{user}>")
    } else {
        String::new()
    }
}

/// Returns a name or an address in the form for a field that expects a domain.
fn domain(name: &str) -> String {
    if name.contains(':') || name.parse::<Ipv4Addr>().is_ok() {
        return literal(name);
    }
    name.chars()
        .take(LONGEST_PATH)
        .map(|c| {
            if c.is_ascii_alphanumeric() || ".-_".contains(c) {
                c
            } else {
                '?'
            }
        })
        .collect()
}

/// Returns an address in the form of RFC 5321 §4.1.3.
fn literal(address: &str) -> String {
    let address: String = printable(address.as_bytes())
        .filter(|c| !"[]\\() ".contains(*c))
        .take(LONGEST)
        .collect();
    if address.contains(':') {
        format!("[IPv6:{address}]")
    } else {
        format!("[{address}]")
    }
}

/// Returns foreign text as a part of a comment (RFC 5322 §3.2.2).
fn comment(octets: &[u8]) -> String {
    let mut text = String::new();
    for c in printable(octets).take(LONGEST) {
        if "()\\".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Returns each byte as a character without special meaning in a header.
fn printable(octets: &[u8]) -> impl Iterator<Item = char> {
    octets.iter().map(|octet| {
        if matches!(octet, b' '..=b'~') {
            char::from(*octet)
        } else {
            '?'
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::{MessageParser, Protocol};
    use proptest::prelude::*;

    const ALL: [TraceField; 3] = [
        TraceField::Received,
        TraceField::ReturnPath,
        TraceField::DeliveredTo,
    ];

    fn text(wanted: &[TraceField], hop: &TraceInfo<'_>, head: &str) -> String {
        String::from_utf8(write(
            wanted,
            hop,
            head.as_bytes(),
            Timestamp(1_795_392_000),
        ))
        .unwrap()
    }

    fn hop(uid: &Uid) -> TraceInfo<'_> {
        TraceInfo {
            host: "pop.example.org",
            address: Some("203.0.113.7"),
            machine: "desk",
            protected: true,
            account: "work",
            user: "ann@example.org",
            uid,
        }
    }

    #[test]
    fn they_stand_as_mail_systems_write_them() {
        let uid = Uid::new(*b"1");
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            text(&ALL, &hop(&Uid::new(*b"uid-1")), "Subject: x\n\n"),
            format!(
                "Return-Path: <>\nDelivered-To: ann@example.org\n\
                 Received: from pop.example.org (pop.example.org [203.0.113.7]) by desk\n\
                 \twith POP3S (pouch {version}; account work; UID uid-1) for <ann@example.org>;\n\
                 \tMon, 23 Nov 2026 00:00:00 +0000\n"
            )
        );
        let clear = TraceInfo {
            host: "127.0.0.1",
            address: None,
            protected: false,
            ..hop(&uid)
        };
        let received = text(&[TraceField::Received], &clear, "");
        assert!(
            received.starts_with("Received: from [127.0.0.1] ([127.0.0.1]) by desk with POP3 "),
            "{received}"
        );
        let six = TraceInfo {
            host: "::1",
            address: Some("::1"),
            ..hop(&uid)
        };
        assert!(text(&ALL, &six, "").contains("from [IPv6:::1] ([IPv6:::1]) by"));
        assert_eq!(text(&[], &hop(&uid), ""), "");
    }

    #[test]
    fn existing_return_path_is_kept() {
        let uid = Uid::new(*b"1");
        let hop = hop(&uid);
        let path = |head: &str| text(&[TraceField::ReturnPath], &hop, head);
        assert_eq!(path("Subject: x\nreturn-PATH: <a@example.org>\n\n"), "");
        assert_eq!(path("Return-Path: <>\n\n"), "");
        assert_eq!(
            path("Subject: Return-Path: <a@example.org>\n\nReturn-Path: <>\n"),
            "Return-Path: <>\n"
        );
        assert_eq!(path(""), "Return-Path: <>\n");
    }

    #[test]
    fn foreign_text_stays_in_its_comment() {
        let uid = Uid::new(*b"a)\r\nBcc: (\\\xe9\0");
        let evil = TraceInfo {
            account: "w(o",
            user: "ann b>\nX: y",
            ..hop(&uid)
        };
        let all = text(&ALL, &evil, "");
        assert!(
            all.contains("account w\\(o; UID a\\)??Bcc: \\(\\\\??)"),
            "{all}"
        );
        assert!(
            all.contains("Delivered-To: ann b>?X: y\n") && !all.contains("for <"),
            "{all}"
        );
        let long = Uid::new([b'x'; 1000]);
        assert!(
            text(&ALL, &hop(&long), "")
                .lines()
                .all(|line| line.len() <= WIDTH)
        );
    }

    #[test]
    fn mail_programs_understand_it() {
        let uid = Uid::new(*b"(1)");
        let mail = text(
            &ALL,
            &TraceInfo {
                protected: false,
                ..hop(&uid)
            },
            "",
        ) + "Subject: x\n\ny\n";
        let mail = MessageParser::default().parse(mail.as_bytes()).unwrap();
        let received = mail.received().unwrap();
        assert_eq!(received.for_.as_deref(), Some("ann@example.org"));
        assert_eq!(received.with, Some(Protocol::POP3));
        assert_eq!(received.from_ip.unwrap().to_string(), "203.0.113.7");
        assert_eq!(received.date.unwrap().to_timestamp(), 1_795_392_000);
        assert_eq!(mail.subject(), Some("x"));
    }

    proptest! {
        #[test]
        fn any_input_gives_three_fields(uid: Vec<u8>, host: String, user: String, account: String) {
            let uid = Uid::new(uid);
            let all = text(&ALL, &TraceInfo { host: &host, user: &user, account: &account, ..hop(&uid) }, "");
            prop_assert!(all.lines().all(|line| line.len() < 998));
            prop_assert!(all.bytes().all(|octet| matches!(octet, b' '..=b'~' | b'\n' | b'\t')));
            let fields = all.lines().filter(|line| !line.starts_with('\t')).count();
            prop_assert_eq!(fields, 3);
        }
    }
}
