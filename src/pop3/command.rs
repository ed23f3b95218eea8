//! Commands, as they are sent and as they are traced.

use zeroize::Zeroizing;

use crate::domain::ids::MsgNum;

/// The longest command line in bytes, with CRLF, that every server accepts (RFC 2449 §4).
pub const MAX_COMMAND: usize = 255;

/// A command of RFC 1939, 2449, 2595 or 5034.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// Lists the server's capabilities (RFC 2449 §5).
    Capa,
    /// Starts TLS (RFC 2595 §4).
    Stls,
    /// Sends the user name (RFC 1939 §7).
    User(&'a str),
    /// Sends the password (RFC 1939 §7), which may be in any encoding.
    Pass(&'a [u8]),
    /// Sends the user name, and a digest of the password and the greeting (RFC 1939 §7).
    Apop {
        /// The user name.
        user: &'a str,
        /// The digest in hexadecimal.
        digest: &'a str,
    },
    /// Starts a SASL login (RFC 5034 §4).
    Auth {
        /// The name of the mechanism.
        mechanism: &'static str,
        /// The initial response in base64, if it is sent with the command. An empty one is sent as
        /// an equals sign.
        initial: Option<&'a str>,
    },
    /// Sends the next response of a SASL login, in base64.
    Response(&'a str),
    /// Returns the number of messages and their total size in octets.
    Stat,
    /// Lists the size of each message.
    List,
    /// Returns the size of one message.
    ListOne(MsgNum),
    /// Lists the UID of each message.
    Uidl,
    /// Retrieves the header of a message and the given number of lines of its body.
    Top(MsgNum, u32),
    /// Retrieves a message.
    Retr(MsgNum),
    /// Marks a message for deletion, which happens at QUIT.
    Dele(MsgNum),
    /// Removes all deletion marks.
    Rset,
    /// Deletes the marked messages and ends the session.
    Quit,
}

impl Command<'_> {
    /// Returns the line to send, with CRLF. It may contain a secret.
    ///
    /// No argument may contain a line break or NUL: see [`is_valid_argument`].
    pub fn line(&self) -> Zeroizing<Vec<u8>> {
        let text = match self {
            Self::Capa => "CAPA".into(),
            Self::Stls => "STLS".into(),
            Self::User(name) => format!("USER {name}"),
            Self::Pass(password) => {
                return Zeroizing::new([b"PASS ", *password, b"\r\n"].concat());
            }
            Self::Apop { user, digest } => format!("APOP {user} {digest}"),
            Self::Auth {
                mechanism,
                initial: None,
            } => format!("AUTH {mechanism}"),
            Self::Auth {
                mechanism,
                initial: Some(""),
            } => format!("AUTH {mechanism} ="),
            Self::Auth {
                mechanism,
                initial: Some(initial),
            } => format!("AUTH {mechanism} {initial}"),
            Self::Response(response) => (*response).to_owned(),
            Self::Stat => "STAT".into(),
            Self::List => "LIST".into(),
            Self::ListOne(num) => format!("LIST {num}"),
            Self::Uidl => "UIDL".into(),
            Self::Top(num, lines) => format!("TOP {num} {lines}"),
            Self::Retr(num) => format!("RETR {num}"),
            Self::Dele(num) => format!("DELE {num}"),
            Self::Rset => "RSET".into(),
            Self::Quit => "QUIT".into(),
        };
        let mut line = Zeroizing::new(text.into_bytes());
        line.extend_from_slice(b"\r\n");
        line
    }

    /// Returns the command for the trace: with `***` in place of secrets, and without CRLF.
    pub fn redacted(&self) -> String {
        match self {
            Self::Pass(_) => "PASS ***".into(),
            Self::Apop { user, .. } => format!("APOP {user} ***"),
            Self::Auth {
                mechanism,
                initial: Some(initial),
            } if !initial.is_empty() => format!("AUTH {mechanism} ***"),
            Self::Response(response) if !response.is_empty() => "***".into(),
            public => String::from_utf8_lossy(public.line().trim_ascii_end()).into_owned(),
        }
    }
}

/// Returns whether `argument` can be sent in a command: without line breaks, which would begin
/// another command, and without NUL, at which some servers cut a line.
pub fn is_valid_argument(argument: &[u8]) -> bool {
    !argument
        .iter()
        .any(|octet| matches!(octet, b'\r' | b'\n' | 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_separated_by_spaces() {
        assert_eq!(*Command::Top(MsgNum(3), 0).line(), b"TOP 3 0\r\n");
        assert_eq!(
            *Command::User("ann@example.org").line(),
            b"USER ann@example.org\r\n"
        );
        assert_eq!(
            *Command::Auth {
                mechanism: "PLAIN",
                initial: Some("AGE=")
            }
            .line(),
            b"AUTH PLAIN AGE=\r\n"
        );
    }

    #[test]
    fn secrets_are_redacted() {
        for command in [
            Command::Pass(b"geheim"),
            Command::Auth {
                mechanism: "PLAIN",
                initial: Some("geheim"),
            },
            Command::Response("geheim"),
            Command::Apop {
                user: "ann",
                digest: "geheim",
            },
        ] {
            assert!(!command.redacted().contains("geheim"));
        }
        assert_eq!(Command::Retr(MsgNum(9)).redacted(), "RETR 9");
        let empty = Command::Auth {
            mechanism: "EXTERNAL",
            initial: Some(""),
        };
        assert_eq!(empty.redacted(), "AUTH EXTERNAL =");
        assert_eq!(Command::Response("").redacted(), "");
    }

    #[test]
    fn argument_with_line_break_or_nul_is_invalid() {
        assert!(is_valid_argument(b"pass word"));
        assert!(!is_valid_argument(b"x\r\nDELE 1"));
        assert!(!is_valid_argument(b"x\nDELE 1"));
        assert!(!is_valid_argument(b"x\0"));
    }
}
