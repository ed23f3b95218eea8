//! Where messages go.

use std::{fmt, path::PathBuf};

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A Maildir.
    Maildir(PathBuf),
    /// A mailbox file.
    Mbox(PathBuf),
    /// A program that gets each message on its standard input.
    Pipe(Vec<String>),
    /// An LMTP server, and who gets the messages there. Where nobody is named, that is told by what
    /// leads there.
    Lmtp(LmtpServer, Vec<String>),
    /// Standard output. Only the command line names it.
    Stdout,
}

impl Destination {
    /// Whether the other one is the same place, whoever gets messages there.
    pub fn same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Lmtp(server, _), Self::Lmtp(other, _)) => server == other,
            _ => self == other,
        }
    }

    /// Where it is an LMTP server and names nobody, it is for these.
    #[must_use]
    pub fn with_default_recipients(self, usual: &[String]) -> Self {
        match self {
            Self::Lmtp(server, recipients) if recipients.is_empty() => {
                Self::Lmtp(server, usual.to_vec())
            }
            destination => destination,
        }
    }

    /// Adds a place for a message to others. It goes to each of them once; to an LMTP server it
    /// goes once for all recipients, and for each of them once.
    pub fn merge_into(self, destinations: &mut Vec<Self>) {
        match destinations
            .iter_mut()
            .find(|destination| destination.same_place(&self))
        {
            None => destinations.push(self),
            Some(destination) => {
                if let (Self::Lmtp(_, recipients), Self::Lmtp(_, more)) = (destination, self) {
                    for recipient in more {
                        // no server should tell mailboxes apart by case (RFC 5321 §2.4)
                        if !recipients
                            .iter()
                            .any(|known| known.eq_ignore_ascii_case(&recipient))
                        {
                            recipients.push(recipient);
                        }
                    }
                }
            }
        }
    }

    /// What the ledger calls those who take a message here, where it goes to several: an LMTP
    /// server answers for each recipient.
    pub fn recipients(&self) -> Vec<String> {
        match self {
            Self::Lmtp(server, recipients) => recipients
                .iter()
                .map(|recipient| server.taker(recipient))
                .collect(),
            _ => vec![self.to_string()],
        }
    }
}

/// Where an LMTP server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LmtpServer {
    /// On a Unix socket.
    Unix(PathBuf),
    /// On a TCP port.
    Tcp {
        /// Its name or address.
        host: String,
        /// The port.
        port: u16,
    },
}

impl LmtpServer {
    /// What the ledger calls this recipient of it.
    pub fn taker(&self, recipient: &str) -> String {
        Destination::Lmtp(self.clone(), vec![recipient.to_owned()]).to_string()
    }
}

/// Returns whether `text` can be sent as a recipient in an LMTP command.
pub fn is_recipient(text: &str) -> bool {
    !text.is_empty()
        && !text.contains(|c: char| c.is_control() || c.is_whitespace() || "<>".contains(c))
}

impl fmt::Display for LmtpServer {
    /// As the config has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Display for Destination {
    /// As `--to` takes it: what the ledger calls the place where a message goes to several.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maildir(path) => write!(f, "maildir:{}", path.display()),
            Self::Pipe(argv) => write!(f, "pipe:{}", as_for_a_shell(argv)),
            Self::Mbox(path) => write!(f, "mbox:{}", path.display()),
            Self::Lmtp(server, recipients) => {
                write!(
                    f,
                    "lmtp:{}",
                    as_for_a_shell([&server.to_string()].into_iter().chain(recipients))
                )
            }
            Self::Stdout => f.write_str("-"),
        }
    }
}

/// The words in one line, quoted where a shell would need it.
fn as_for_a_shell<'w>(words: impl IntoIterator<Item = &'w String>) -> String {
    shlex::try_join(words.into_iter().map(String::as_str)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lmtp(host: &str, recipients: &[&str]) -> Destination {
        let server = LmtpServer::Tcp {
            host: host.into(),
            port: 24,
        };
        Destination::Lmtp(
            server,
            recipients
                .iter()
                .map(|&recipient| recipient.to_owned())
                .collect(),
        )
    }

    #[test]
    fn a_server_gets_a_message_once_for_all_recipients() {
        let mut destinations = Vec::new();
        for destination in [
            lmtp("here", &["ann", "ben"]),
            Destination::Mbox("box".into()),
            lmtp("there", &["ann"]),
            Destination::Mbox("box".into()),
            lmtp("here", &["cid", "Ann"]),
        ] {
            destination.merge_into(&mut destinations);
        }
        let names: Vec<_> = destinations.iter().map(Destination::to_string).collect();
        assert_eq!(
            names,
            ["lmtp:here:24 ann ben cid", "mbox:box", "lmtp:there:24 ann"]
        );
        assert_eq!(
            destinations[0].recipients(),
            ["lmtp:here:24 ann", "lmtp:here:24 ben", "lmtp:here:24 cid"]
        );
        assert_eq!(destinations[1].recipients(), ["mbox:box"]);
    }
}
