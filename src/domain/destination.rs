//! Destinations of messages.

use std::{fmt, path::PathBuf};

/// A destination of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A Maildir.
    Maildir(PathBuf),
    /// An mbox file.
    Mbox(PathBuf),
    /// A program that reads each message on standard input.
    Pipe(Vec<String>),
    /// An LMTP server with its recipients. If there are none, the caller determines them.
    Lmtp(LmtpServer, Vec<String>),
    /// Standard output, on the command line only.
    Stdout,
}

impl Destination {
    /// Returns whether `other` is the same destination, recipients aside.
    pub fn same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Lmtp(server, _), Self::Lmtp(other, _)) => server == other,
            _ => self == other,
        }
    }

    /// Returns the destination with these recipients, if it is an LMTP server without any.
    #[must_use]
    pub fn with_default_recipients(self, usual: &[String]) -> Self {
        match self {
            Self::Lmtp(server, recipients) if recipients.is_empty() => {
                Self::Lmtp(server, usual.to_vec())
            }
            destination => destination,
        }
    }

    /// Merges the destination into `others`. A message is delivered to each of them once; to an
    /// LMTP server once for all recipients.
    pub fn merge_into(self, destinations: &mut Vec<Self>) {
        match destinations
            .iter_mut()
            .find(|destination| destination.same_place(&self))
        {
            None => destinations.push(self),
            Some(destination) => {
                if let (Self::Lmtp(_, recipients), Self::Lmtp(_, more)) = (destination, self) {
                    for recipient in more {
                        // servers should not distinguish mailboxes by case (RFC 5321 §2.4)
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

    /// Returns the names of the recipients in the ledger, if a message has several destinations: an
    /// LMTP server responds for each recipient.
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

/// The address of an LMTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LmtpServer {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp {
        /// The host name or address.
        host: String,
        /// The port.
        port: u16,
    },
}

impl LmtpServer {
    /// Returns the name of this recipient in the ledger.
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
    /// Formats the address as in the config.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Display for Destination {
    /// Formats the destination as for `--to`. The ledger uses this as its name.
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

/// Returns a command in one line, quoted for a shell.
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
