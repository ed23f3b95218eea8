//! The mail that reports messages which could not be fetched.

use std::fmt::Write;

use mail_builder::{
    MessageBuilder,
    headers::{address::Address, raw::Raw},
};

use crate::{
    domain::{ids::RowId, size::ByteSize, time::Timestamp},
    text::{count, day, sanitize},
};

/// The most messages that a notice describes; of the others it gives the number.
pub const MAX_ITEMS: usize = 100;

/// The most bytes that a notice attaches.
const MAX_ATTACHED: usize = 1_000_000;

/// The content of a notice.
#[derive(Debug)]
pub struct Notice<'a> {
    /// The account's name.
    pub account: &'a str,
    /// The server's name.
    pub host: &'a str,
    /// This machine's name.
    pub machine: &'a str,
    /// The number of the run that writes it.
    pub run: i64,
    /// The messages, at least one.
    pub items: Vec<NoticeItem<'a>>,
}

/// A message that could not be fetched.
#[derive(Debug)]
pub struct NoticeItem<'a> {
    /// Its row.
    pub row: RowId,
    /// Its Date field, if it was received.
    pub date: Option<String>,
    /// Its size by LIST, in bytes.
    pub octets: u64,
    /// Its sender, if the header was received.
    pub sender: Option<&'a str>,
    /// Its subject, if the header was received.
    pub subject: Option<&'a str>,
    /// The failure.
    pub reason: &'a str,
    /// The number of attempts.
    pub attempts: u32,
    /// The time of the next attempt.
    pub next_try: Timestamp,
    /// The part of it that was received.
    pub received: &'a [u8],
}

/// Returns the notice as a mail with LF line endings.
pub fn write(notice: &Notice<'_>, now: Timestamp) -> Vec<u8> {
    let Notice {
        account,
        machine,
        items,
        ..
    } = notice;
    let subject = match &items[..] {
        [item] => format!(
            "pouch: a message could not be fetched: {}",
            known(item.subject)
        ),
        items => format!("pouch: {} messages could not be fetched", items.len()),
    };
    let mut mail = MessageBuilder::new()
        .from(Address::new_address(
            Some("pouch"),
            format!("pouch@{machine}"),
        ))
        .to(Address::new_address(
            None::<&str>,
            format!("{}@{machine}", header_word(account)),
        ))
        .subject(subject)
        .date(now.0)
        .message_id(format!("pouch.{}.{}@{machine}", now.0, notice.run))
        .header("Auto-Submitted", Raw::new("auto-generated"));
    let mut attached = 0;
    let mut described = String::new();
    for item in items.iter().take(MAX_ITEMS) {
        let fits = !item.received.is_empty() && attached + item.received.len() <= MAX_ATTACHED;
        if fits {
            attached += item.received.len();
            let name = format!("message-{}.eml", item.row);
            mail = mail.attachment("application/octet-stream", name, item.received);
        }
        described.push_str(&describe(item, fits));
    }
    let body = body(notice, &described);
    // writing to memory cannot fail
    let crlf = mail.text_body(body).write_to_vec().unwrap_or_default();
    with_lf(&crlf)
}

/// Returns the text of a notice about the messages that are `described`.
fn body(notice: &Notice<'_>, described: &str) -> String {
    let Notice {
        account,
        host,
        items,
        ..
    } = notice;
    let (number, remain, retry) = match items.len() {
        1 => ("A message".into(), "It remains", "pouch will retry it"),
        _ => (
            count(items.len() as u64, "message"),
            "They remain",
            "pouch will retry them",
        ),
    };
    let more = items.len().saturating_sub(MAX_ITEMS);
    let more = match more {
        0 => String::new(),
        more => format!("And {more} more: see `pouch ledger list {account}`.\n\n"),
    };
    let first = items[0].row;
    let next_tries = items.iter().map(|item| item.next_try);
    let on = day(next_tries.fold(items[0].next_try, Timestamp::min));
    format!(
        "{number} in the mailbox at {host} could not be fetched.\n\
         {remain} on the server. Other messages are not affected.\n\
         \n\
         {described}{more}\
         {retry} on {on}, and then at longer intervals.\n\
         These commands act at once:\n\
         \n\
         pouch ledger show {account} {first}     show what is known about a message\n\
         pouch ledger retry {account} {first}    try again in the next run\n\
         pouch ledger delete {account} {first}   delete it from the server, unread\n"
    )
}

/// Returns the description of a message, whose received part may be attached.
fn describe(item: &NoticeItem<'_>, attached: bool) -> String {
    let received = match item.received.len() as u64 {
        0 => "nothing".to_owned(),
        octets => ByteSize::from_octets(octets).rounded(),
    };
    let attached = if attached {
        format!(", attached as message-{}.eml", item.row)
    } else {
        String::new()
    };
    let mut text = format!("Message:  {}\n", item.row);
    let fields = [
        ("From", known(item.sender)),
        ("Subject", known(item.subject)),
        ("Date", known(item.date.as_deref())),
        ("Size", ByteSize::from_octets(item.octets).rounded()),
        ("Received", format!("{received}{attached}")),
        ("Attempts", item.attempts.to_string()),
        ("Reason", item.reason.to_owned()),
    ];
    for (name, value) in fields {
        // writing to a string cannot fail
        let _ = writeln!(text, "{:<10}{value}", format!("{name}:"));
    }
    text.push('\n');
    text
}

/// Returns a header field for display.
fn known(field: Option<&str>) -> String {
    field.map_or_else(|| "(unknown)".into(), |text| sanitize(text.as_bytes()))
}

/// Returns a mail with LF line ends.
fn with_lf(crlf: &[u8]) -> Vec<u8> {
    let mut lf = Vec::with_capacity(crlf.len());
    for line in crlf.split_inclusive(|octet| *octet == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(line) => lf.extend_from_slice(&[line, b"\n"].concat()),
            None => lf.extend_from_slice(line),
        }
    }
    lf
}

/// Returns an account's name as the local part of an address.
fn header_word(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || ".-_+".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::{MessageParser, MimeHeaders};

    fn notice(items: usize) -> Vec<u8> {
        let items = (7..).take(items).map(|row| NoticeItem {
            row: RowId(row),
            date: None,
            octets: 30_588,
            sender: Some("Jürgen"),
            subject: Some("Grüße\r\nBcc: evil@example.org"),
            reason: "the connection was cut",
            attempts: 3,
            next_try: Timestamp(1_800_000_000),
            received: b"From: x\n\nhalf",
        });
        let notice = Notice {
            account: "work",
            host: "pop.example.org",
            machine: "desk",
            run: 1,
            items: items.collect(),
        };
        write(&notice, Timestamp(1_790_000_000))
    }

    #[test]
    fn notice_can_be_parsed_as_mail() {
        let mail = notice(1);
        assert!(!mail.contains(&b'\r'));
        let mail = MessageParser::default().parse(&mail).unwrap();
        assert!(
            mail.subject()
                .unwrap()
                .starts_with("pouch: a message could not be fetched: Grüße")
        );
        assert!(mail.header("Bcc").is_none());
        let text = mail.body_text(0).unwrap();
        assert!(text.contains("pouch ledger retry work 7"), "{text}");
        assert!(text.contains("30.5 KB"), "{text}");
        let attachment = mail.attachment(0).unwrap();
        assert_eq!(attachment.attachment_name(), Some("message-7.eml"));
        assert_eq!(attachment.contents(), b"From: x\n\nhalf");
    }

    #[test]
    fn ten_thousand_messages_fit_into_one_notice() {
        let mail = notice(10_000);
        let mail = MessageParser::default().parse(&mail).unwrap();
        assert_eq!(mail.attachment_count(), MAX_ITEMS);
        assert_eq!(
            mail.subject(),
            Some("pouch: 10000 messages could not be fetched")
        );
        let text = mail.body_text(0).unwrap();
        assert!(text.contains("And 9900 more"), "{text}");
    }
}
