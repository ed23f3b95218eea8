//! The mail that reports a message which could not be fetched.

use mail_builder::{MessageBuilder, headers::address::Address};

use crate::{
    domain::{ids::RowId, message::HeaderSummary, size::ByteSize, time::Timestamp},
    text::{day, sanitize, times},
};

/// The content of a notice.
#[derive(Debug)]
pub struct Notice<'a> {
    /// The account's name.
    pub account: &'a str,
    /// The server's name.
    pub host: &'a str,
    /// This machine's name.
    pub machine: &'a str,
    /// The message's row.
    pub row: RowId,
    /// Its size by LIST.
    pub octets: u64,
    /// The summary of its header.
    pub summarize: &'a HeaderSummary,
    /// The failure.
    pub reason: &'a str,
    /// The number of attempts.
    pub attempts: u32,
    /// The time of the next attempt.
    pub next_try: Timestamp,
    /// The part of it that was received.
    pub partial: &'a [u8],
}

/// Returns the notice as a mail with LF line ends.
pub fn write(notice: &Notice<'_>, now: Timestamp) -> Vec<u8> {
    let Notice {
        account,
        host,
        machine,
        row,
        attempts,
        reason,
        ..
    } = notice;
    let known = |text: &Option<String>| {
        text.as_ref()
            .map_or_else(|| "(not known)".into(), |text| sanitize(text.as_bytes()))
    };
    let (sender, subject) = (
        known(&notice.summarize.sender),
        known(&notice.summarize.subject),
    );
    let size = ByteSize::from_octets(notice.octets).rounded();
    let (day, tried) = (day(notice.next_try), times(*attempts));
    let mut body = format!(
        "A message in your mailbox at {host} could not be fetched; it was tried {tried}.\n\
         It is still on the server, and the others were fetched without it.\n\
         \n\
         From:     {sender}\n\
         Subject:  {subject}\n\
         Date:     {date}\n\
         Size:     {size}\n\
         Reason:   {reason}\n\
         \n\
         pouch tries again on {day}, and then less and less often. Until then:\n\
         \n\
         pouch ledger show {account} {row}     what is known of it\n\
         pouch ledger retry {account} {row}    try again in the next run\n\
         pouch ledger delete {account} {row}   delete it from the server\n",
        date = known(&notice.summarize.date),
    );
    let mut mail = MessageBuilder::new()
        .from(Address::new_address(
            Some("pouch"),
            format!("pouch@{machine}"),
        ))
        .to(Address::new_address(
            None::<&str>,
            format!("{}@{machine}", header_word(account)),
        ))
        .subject(format!("pouch: a message could not be fetched: {subject}"))
        .date(now.0)
        .message_id(format!("pouch.{}.{row}.{attempts}@{machine}", now.0))
        .header(
            "Auto-Submitted",
            mail_builder::headers::raw::Raw::new("auto-generated"),
        );
    if !notice.partial.is_empty() {
        body.push_str("\nWhat did arrive of it is attached.\n");
        mail = mail.attachment("application/octet-stream", "partial.eml", notice.partial);
    }
    // writing to memory cannot fail
    let crlf = mail.text_body(body).write_to_vec().unwrap_or_default();
    with_lf(&crlf)
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

    #[test]
    fn any_mail_program_can_read_it() {
        let summarize = HeaderSummary {
            sender: Some("Jürgen".into()),
            subject: Some("Grüße\r\nBcc: evil@example.org".into()),
            ..HeaderSummary::default()
        };
        let mail = write(
            &Notice {
                account: "work",
                host: "pop.example.org",
                machine: "desk",
                row: RowId(7),
                octets: 30_588,
                summarize: &summarize,
                reason: "the connection was cut",
                attempts: 3,
                next_try: Timestamp(1_800_000_000),
                partial: b"From: x\n\nhalf",
            },
            Timestamp(1_790_000_000),
        );
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
        assert_eq!(attachment.attachment_name(), Some("partial.eml"));
        assert_eq!(attachment.contents(), b"From: x\n\nhalf");
    }
}
