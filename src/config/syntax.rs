//! What texts in the config, or on the command line, name: hosts, paths, LMTP servers,
//! certificates.

use std::{
    fmt,
    net::Ipv6Addr,
    num::NonZero,
    path::{Path, PathBuf},
};

use crate::{
    domain::destination::{LmtpServer, is_recipient},
    text::hex,
};

/// The name or the address of a server; IPv6 addresses without brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(pub String);

impl Host {
    /// The host that `text` names, if it names one and nothing else.
    pub fn new(text: &str) -> Option<Self> {
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .unwrap_or(text);
        let is_host = if bare.contains(':') {
            let address = bare
                .split_once('%')
                .map_or(bare, |(address, _zone)| address);
            address.parse::<Ipv6Addr>().is_ok()
        } else {
            bare == text
                && !text.is_empty()
                && !text.starts_with('-')
                && text
                    .chars()
                    .all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
        };
        is_host.then(|| Self(bare.to_owned()))
    }
}

/// A path as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath(pub String);

impl FilePath {
    /// The path that `text` writes. What only a shell would expand is none: nobody wants a folder
    /// of the name `$HOME`.
    pub fn new(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('~').unwrap_or("");
        let is_path = !text.is_empty()
            && !text.contains('\0')
            && !text.starts_with('$')
            && (rest.is_empty() || rest.starts_with('/'));
        is_path.then(|| Self(text.to_owned()))
    }

    /// The whole path: `~/` is the home, a relative path starts at `folder`. Slashes that mean
    /// nothing are left out: the ledger knows places by their names.
    pub fn expand(&self, home: &Path, folder: &Path) -> PathBuf {
        let path = match self.0.strip_prefix('~') {
            // Not `join`, for which the slash of `~//x` would be the root.
            Some(rest) => home.join(rest.trim_start_matches('/')),
            None => folder.join(&self.0),
        };
        path.components().collect()
    }
}

/// The address of an LMTP server as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lmtp {
    /// `unix:PATH`.
    Unix(FilePath),
    /// `HOST:PORT`.
    Tcp(Host, NonZero<u16>),
}

impl Lmtp {
    /// The server that `text` names, if it names one and nothing else.
    pub fn new(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return FilePath::new(path).map(Self::Unix);
        }
        let (host, port) = text.rsplit_once(':')?;
        // without brackets, the last part of an IPv6 address would be taken for a port
        let host = Host::new(host).filter(|_| !host.contains(':') || host.starts_with('['))?;
        Some(Self::Tcp(host, port.parse().ok()?))
    }

    /// The server, and those who get messages there: words as for a shell, `unix:/run/lmtp ann
    /// ben`.
    pub fn with_recipients(text: &str) -> Option<(Self, Vec<String>)> {
        let mut words = shlex::split(text)?.into_iter();
        let server = Self::new(&words.next()?)?;
        let recipients: Vec<_> = words.collect();
        recipients
            .iter()
            .all(|recipient| is_recipient(recipient))
            .then_some((server, recipients))
    }

    /// The server itself; a path is made whole by `path`.
    pub fn server(&self, path: &dyn Fn(&FilePath) -> PathBuf) -> LmtpServer {
        match self {
            Self::Unix(socket) => LmtpServer::Unix(path(socket)),
            Self::Tcp(Host(host), port) => LmtpServer::Tcp {
                host: host.clone(),
                port: port.get(),
            },
        }
    }
}

impl fmt::Display for Lmtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server(&|path| path.0.clone().into()).fmt(f)
    }
}

/// The SHA-256 of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin(pub [u8; 32]);

impl Pin {
    /// Reads `sha256:` and 64 hexadecimal digits; colons between them are what openssl prints.
    pub fn new(text: &str) -> Option<Self> {
        let digits: String = text
            .strip_prefix("sha256:")?
            .chars()
            .filter(|c| *c != ':')
            .collect();
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut octets = [0; 32];
        for (octet, at) in octets.iter_mut().zip((0..).step_by(2)) {
            *octet = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
        }
        Some(Self(octets))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex(&self.0))
    }
}
