//! Multidrop: one mailbox for several people, distinguished by the header field in which the server
//! records the recipient.

use super::{
    destination::{Destination, is_recipient},
    message::Header,
    pattern::Pattern,
};

/// The header fields that name recipients, and the destinations of the recipients.
#[derive(Clone, Debug)]
pub struct Multidrop {
    /// The fields that may name recipients. The first that a message has is used.
    pub fields: Vec<String>,
    /// The field to use if there are several: 1 is the first, -1 the last. Each server that relays
    /// a message may add one at the top.
    pub occurrence: i32,
    /// The recipients' addresses with their destinations. The first match is used. An LMTP server
    /// without recipients gets the message for the address itself.
    pub recipients: Vec<(Pattern, Destination)>,
}

impl Multidrop {
    /// Returns the destinations of a message with this header, each once. `default` is for unknown
    /// recipients, and for a message without any.
    pub fn destinations(&self, header: &Header<'_>, default: &Destination) -> Vec<Destination> {
        let mut destinations = Vec::new();
        for address in self.addresses(header) {
            let known = self
                .recipients
                .iter()
                .find(|(pattern, _)| pattern.matches(&address));
            let destination = match known {
                Some((_, Destination::Lmtp(server, recipients))) if recipients.is_empty() => {
                    if is_address(&address) {
                        Destination::Lmtp(server.clone(), vec![address])
                    } else {
                        default.clone()
                    }
                }
                Some((_, destination)) => destination.clone(),
                None => default.clone(),
            };
            destination.merge_into(&mut destinations);
        }
        if destinations.is_empty() {
            vec![default.clone()]
        } else {
            destinations
        }
    }

    fn addresses(&self, header: &Header<'_>) -> Vec<String> {
        let fields = self
            .fields
            .iter()
            .map(|name| header.addresses(name))
            .find(|fields| !fields.is_empty());
        let mut fields = fields.unwrap_or_default();
        if self.occurrence < 0 {
            fields.reverse();
        }
        let destination = self.occurrence.unsigned_abs().saturating_sub(1) as usize;
        fields.into_iter().nth(destination).unwrap_or_default()
    }
}

/// The longest address, in bytes (RFC 5321 §4.5.3.1.3, without the brackets). A longer one may end
/// the LMTP session.
const LONGEST: usize = 254;

/// Returns whether an LMTP server accepts the address: without SMTPUTF8 (RFC 6531) it has to be
/// ASCII.
fn is_address(text: &str) -> bool {
    text.is_ascii() && text.len() <= LONGEST && !text.starts_with('@') && is_recipient(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::destination::LmtpServer;

    fn destinations(fields: &[&str], occurrence: i32, head: &str) -> Vec<String> {
        let destination = |name: &str| Destination::Maildir(name.into());
        let multidrop = Multidrop {
            fields: fields.iter().map(|&name| name.to_owned()).collect(),
            occurrence,
            recipients: [
                ("ann@example.org", "ann"),
                ("*@lists.example.org", "lists"),
                ("?e?@*", "ben"),
            ]
            .map(|(pattern, name)| (Pattern::new(pattern).unwrap(), destination(name)))
            .to_vec(),
        };
        let head = format!("{head}\n\n");
        multidrop
            .destinations(&Header::read(head.as_bytes()), &destination("own"))
            .iter()
            .map(Destination::to_string)
            .collect()
    }

    #[test]
    fn lmtp_server_without_recipients_gets_the_address() {
        let lmtp = |recipients: &[&str]| {
            let server = LmtpServer::Tcp {
                host: "lmtp".into(),
                port: 24,
            };
            Destination::Lmtp(
                server,
                recipients
                    .iter()
                    .map(|&recipient| recipient.to_owned())
                    .collect(),
            )
        };
        let multidrop = Multidrop {
            fields: vec!["To".into()],
            occurrence: 1,
            recipients: [
                ("sales@*", lmtp(&["ann", "ben"])),
                ("*@example.org", lmtp(&[])),
            ]
            .map(|(pattern, destination)| (Pattern::new(pattern).unwrap(), destination))
            .to_vec(),
        };
        let destinations = |to: &str, default: Destination| {
            let head = format!("To: {to}\n\n");
            let destinations = multidrop.destinations(&Header::read(head.as_bytes()), &default);
            destinations
                .iter()
                .map(Destination::to_string)
                .collect::<Vec<_>>()
        };
        let default = || Destination::Maildir("own".into());
        assert_eq!(
            destinations(
                "Cid@example.org, sales@example.org, cid@Example.org, Dan <dan@example.org>",
                default()
            ),
            ["lmtp:lmtp:24 Cid@example.org ann ben dan@example.org"]
        );
        assert_eq!(
            destinations("x@example.net", lmtp(&["root"])),
            ["lmtp:lmtp:24 root"]
        );
        // Too long for a command, or with characters that would end it.
        assert_eq!(
            destinations(&format!("{}@example.org", "x".repeat(243)), default()),
            ["maildir:own"]
        );
        assert_eq!(
            destinations(
                "\"a> <b\"@example.org, \"a b\"@example.org, \u{fc}@example.org",
                default()
            ),
            ["maildir:own"]
        );
    }

    #[test]
    fn the_field_of_the_server_names_them() {
        const HEAD: &str = "Delivered-To: outer@isp.example\nReceived: x\nDelivered-To: Ann@Example.org\n\
            X-Original-To: <x@lists.example.org>\nTo: ben@example.org, \
            ann@example.org (Ann), Who <who@example.net>, ben@x.y";
        let usual = ["Delivered-To", "X-Original-To", "Envelope-To"];
        assert_eq!(destinations(&usual, 1, HEAD), ["maildir:own"]);
        assert_eq!(destinations(&usual, 2, HEAD), ["maildir:ann"]);
        assert_eq!(destinations(&usual, -1, HEAD), ["maildir:ann"]);
        assert_eq!(destinations(&usual, -3, HEAD), ["maildir:own"]);
        assert_eq!(destinations(&usual[1..], 1, HEAD), ["maildir:lists"]);
        assert_eq!(
            destinations(&["Envelope-To", "to"], 1, HEAD),
            ["maildir:ben", "maildir:ann", "maildir:own"]
        );
        assert_eq!(destinations(&usual, 1, "Subject: nobody"), ["maildir:own"]);
    }
}
