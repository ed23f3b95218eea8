//! The notations of the config and the command line: hosts, paths, LMTP servers, fingerprints.

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

/// The name or address of a server, in ASCII: an internationalized name is stored as DNS has it.
/// IPv6 addresses are stored without brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(pub String);

impl Host {
    /// Parses a host name or an address. Returns `None` if `text` is not one.
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
        is_host.then(|| to_ascii(bare)).flatten().map(Self)
    }
}

/// The longest label of a host name, in bytes (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// Returns a host name in the form that DNS and certificates have (RFC 5890), or `None` if it has
/// none. A name in ASCII is returned unchanged.
fn to_ascii(host: &str) -> Option<String> {
    if host.is_ascii() {
        return Some(host.to_owned());
    }
    let ascii = idna::domain_to_ascii(host).ok()?;
    let is_short = ascii.split('.').all(|label| label.len() <= MAX_LABEL);
    is_short.then_some(ascii)
}

/// A path as written, not yet expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath(pub String);

impl FilePath {
    /// Parses a path. Returns `None` if it has variables or other parts that only a shell would
    /// expand, since a directory named `$HOME` is always a mistake.
    pub fn new(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('~').unwrap_or("");
        let is_path = !text.is_empty()
            && !text.contains('\0')
            && !text.starts_with('$')
            && (rest.is_empty() || rest.starts_with('/'));
        is_path.then(|| Self(text.to_owned()))
    }

    /// Returns the absolute path: `~/` is `home`, and a relative path starts at `dir`. Redundant
    /// slashes are removed, since the ledger knows destinations by their names.
    pub fn expand(&self, home: &Path, dir: &Path) -> PathBuf {
        let path = match self.0.strip_prefix('~') {
            // `join` alone would treat the second slash of `~//x` as the root.
            Some(rest) => home.join(rest.trim_start_matches('/')),
            None => dir.join(&self.0),
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
    /// Parses the address of an LMTP server. Returns `None` if `text` is not one.
    pub fn new(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return FilePath::new(path).map(Self::Unix);
        }
        let (host, port) = text.rsplit_once(':')?;
        // Without brackets, the last part of an IPv6 address would be read as a port.
        let host = Host::new(host).filter(|_| !host.contains(':') || host.starts_with('['))?;
        Some(Self::Tcp(host, port.parse().ok()?))
    }

    /// Parses an LMTP server and its recipients, as words for a shell: `unix:/run/lmtp ann ben`.
    /// Returns `None` if `text` is not one.
    pub fn with_recipients(text: &str) -> Option<(Self, Vec<String>)> {
        let mut words = shlex::split(text)?.into_iter();
        let server = Self::new(&words.next()?)?;
        let recipients: Vec<_> = words.collect();
        recipients
            .iter()
            .all(|recipient| is_recipient(recipient))
            .then_some((server, recipients))
    }

    /// Returns the server, with its path expanded by `expand`.
    pub fn server(&self, expand: &dyn Fn(&FilePath) -> PathBuf) -> LmtpServer {
        match self {
            Self::Unix(socket) => LmtpServer::Unix(expand(socket)),
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

/// The SHA-256 fingerprint of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin(pub [u8; 32]);

impl Pin {
    /// Parses 64 hexadecimal digits, with or without `sha256:`. Colons between them, as openssl
    /// prints them, are allowed.
    pub fn new(text: &str) -> Option<Self> {
        let digits: String = text
            .strip_prefix("sha256:")
            .unwrap_or(text)
            .chars()
            .filter(|c| *c != ':')
            .collect();
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex(&self.0))
    }
}

/// Decodes `%40` and the like. Returns `None` if the result cannot be sent to a server.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        (bytes, rest) = if *first == b'%' {
            let digits = str::from_utf8(tail.get(..2)?).ok()?;
            let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
            (bytes, &tail[2..])
        } else {
            bytes.push(*first);
            (bytes, tail)
        };
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_with_colons_are_read() {
        let colons = "5F:6e:04:c1:a2:b3:c4:d5:e6:f7:08:19:2a:3b:4c:5d:\
                      6e:7f:80:91:a2:b3:c4:d5:e6:f7:08:19:2a:3b:4c:5d";
        let pin = Pin::new(&format!("sha256:{colons}")).unwrap();
        assert_eq!(pin.0[..2], [0x5f, 0x6e]);
        assert_eq!(Pin::new("sha256:5f"), None);
        assert_eq!(Pin::new(colons), Some(pin));
        assert_eq!(Pin::new("sha1:5f"), None);
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        assert_eq!(Host::new("[::1]"), Some(Host("::1".to_owned())));
        assert_eq!(
            Host::new("fe80::1%eth0"),
            Some(Host("fe80::1%eth0".to_owned()))
        );
        assert_eq!(
            Host::new("pop.münchen.example"),
            Some(Host("pop.xn--mnchen-3ya.example".to_owned()))
        );
        for bad in ["", "a b", "-x", "[a]", "a:1", "a/b", "a@b", "::1::"] {
            assert_eq!(Host::new(bad), None, "{bad}");
        }
    }

    #[test]
    fn internationalized_names_have_the_form_of_dns() {
        for (name, ascii) in [
            ("POP.Example.org", "POP.Example.org"),
            ("pop.MÜNCHEN.example", "pop.xn--mnchen-3ya.example"),
            ("bu\u{308}cher.example.", "xn--bcher-kva.example."),
            ("faß.example", "xn--fa-hia.example"),
            ("пример.испытание", "xn--e1afmkfd.xn--80akhbyknj4f"),
            ("δοκιμή.example", "xn--jxalpdlp.example"),
        ] {
            assert_eq!(to_ascii(name).as_deref(), Some(ascii), "{name}");
        }
        assert_eq!(to_ascii(&"ü".repeat(200)), None);
    }

    #[test]
    fn paths_expand_the_home_directory_only() {
        let expand = |text: &str| {
            FilePath::new(text).map(|path| path.expand(Path::new("/home/ann"), Path::new("/etc")))
        };
        for (text, path) in [
            ("~/Mail", "/home/ann/Mail"),
            ("~//Mail/", "/home/ann/Mail"),
            ("~", "/home/ann"),
            ("Mail", "/etc/Mail"),
            ("/Mail", "/Mail"),
        ] {
            assert_eq!(expand(text), Some(PathBuf::from(path)), "{text}");
        }
        for bad in ["", "$HOME/Mail", "~ann/Mail", "a\0b"] {
            assert_eq!(expand(bad), None, "{bad}");
        }
    }
}
