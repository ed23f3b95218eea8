//! What a client says.

use zeroize::Zeroizing;

use crate::domain::ids::MsgNum;

/// The longest command line, its CRLF included (RFC 2449 §4).
pub const MAX_COMMAND: usize = 255;

/// A command of RFC 1939, 2449, 2595 or 5034.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// What can the server do? (RFC 2449 §5)
    Capa,
    /// Begin TLS (RFC 2595 §4).
    Stls,
    /// The user's name (RFC 1939 §7).
    User(&'a str),
    /// The password (RFC 1939 §7).
    Pass(&'a str),
    /// Begin a SASL login, with the initial response in base64 if it fits (RFC 5034 §4).
    Auth {
        /// The mechanism's name.
        mechanism: &'static str,
        /// The initial response.
        initial: Option<&'a str>,
    },
    /// The next response of a SASL login, in base64.
    Response(&'a str),
    /// How many messages, how many octets?
    Stat,
    /// The size of each message.
    List,
    /// The size of one message.
    ListOne(MsgNum),
    /// The unique identifier of each message.
    Uidl,
    /// The header of a message and so many lines of its body.
    Top(MsgNum, u32),
    /// A message.
    Retr(MsgNum),
    /// Mark a message for deletion: it happens at QUIT.
    Dele(MsgNum),
    /// Take all marks back.
    Rset,
    /// Carry the deletions out and end.
    Quit,
}

impl Command<'_> {
    /// The line to send, CRLF included. It may hold a secret.
    ///
    /// The caller sees to it that no argument holds a line break or NUL: see [`fits`].
    pub fn line(&self) -> Zeroizing<Vec<u8>> {
        let text = match self {
            Self::Capa => "CAPA".into(),
            Self::Stls => "STLS".into(),
            Self::User(name) => format!("USER {name}"),
            Self::Pass(password) => format!("PASS {password}"),
            Self::Auth {
                mechanism,
                initial: None,
            } => format!("AUTH {mechanism}"),
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

    /// The command for people: without what is secret in it, and without the CRLF.
    pub fn shown(&self) -> String {
        match self {
            Self::Pass(_) => "PASS ***".into(),
            Self::Auth {
                mechanism,
                initial: Some(_),
            } => format!("AUTH {mechanism} ***"),
            Self::Response(_) => "***".into(),
            open => String::from_utf8_lossy(open.line().trim_ascii_end()).into_owned(),
        }
    }
}

/// Whether `argument` can stand in a command: no line break and no NUL, which would end it early.
pub fn fits(argument: &str) -> bool {
    !argument
        .bytes()
        .any(|octet| matches!(octet, b'\r' | b'\n' | 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_the_server_gets_them() {
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
    fn no_secret_is_shown() {
        for command in [
            Command::Pass("geheim"),
            Command::Auth {
                mechanism: "PLAIN",
                initial: Some("geheim"),
            },
            Command::Response("geheim"),
        ] {
            assert!(!command.shown().contains("geheim"));
        }
        assert_eq!(Command::Retr(MsgNum(9)).shown(), "RETR 9");
    }

    #[test]
    fn nothing_can_be_smuggled_into_a_command() {
        assert!(fits("pass word"));
        assert!(!fits("x\r\nDELE 1"));
        assert!(!fits("x\nDELE 1"));
        assert!(!fits("x\0"));
    }
}
