//! Where messages go.

use std::{fmt, path::PathBuf};

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A Maildir.
    Maildir(PathBuf),
    /// A mailbox file.
    Mbox(PathBuf),
    /// A program that gets each message on its standard input.
    Pipe(Vec<String>),
    /// An LMTP server.
    Lmtp(LmtpServer),
    /// Standard output. Only the command line names it.
    Stdout,
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

impl fmt::Display for Place {
    /// As `--to` takes it: what the ledger calls the place where a message goes to several.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maildir(path) => write!(f, "maildir:{}", path.display()),
            Self::Pipe(argv) => {
                write!(f, "pipe:{}", shlex::try_join(argv.iter().map(String::as_str)).unwrap_or_default())
            }
            Self::Mbox(path) => write!(f, "mbox:{}", path.display()),
            Self::Lmtp(server) => write!(f, "lmtp:{server}"),
            Self::Stdout => f.write_str("-"),
        }
    }
}
