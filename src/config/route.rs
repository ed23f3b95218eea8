//! The ways to a server other than a direct connection: a proxy, and a command.

use std::fmt;

use url::Url;

use super::syntax::{Host, percent_decoded};

/// The value of `proxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// `"none"`: no proxy, not even that of the environment.
    None,
    /// This server.
    Server(ProxyServer),
}

/// A proxy server, which resolves host names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyServer {
    /// Its protocol.
    pub protocol: ProxyProtocol,
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user name, if it requires one.
    pub user: Option<String>,
}

/// The protocol of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// SOCKS 5 (RFC 1928).
    Socks5,
    /// The method CONNECT of HTTP (RFC 9110 §9.3.6).
    Http,
}

/// Why a text is not a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyMistake {
    /// It contains a password, which must not be shown.
    Password,
    /// It is something else, and this is the hint if the mistake is a common one.
    Other(Option<&'static str>),
}

impl Proxy {
    /// Parses `socks5://[user@]host[:port]`, `http://[user@]host[:port]` or `none`.
    ///
    /// # Errors
    /// The text is something else.
    pub fn new(text: &str) -> Result<Self, ProxyMistake> {
        if text == "none" {
            return Ok(Self::None);
        }
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        if rest
            .rsplit_once('@')
            .is_some_and(|(user, _)| user.contains(':'))
        {
            return Err(ProxyMistake::Password);
        }
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        let (protocol, port) = match scheme {
            "socks5" => (ProxyProtocol::Socks5, 1080),
            "http" => (ProxyProtocol::Http, 80),
            scheme => return Err(ProxyMistake::Other(scheme_hint(scheme))),
        };
        server(text, protocol, port)
            .map(Self::Server)
            .ok_or(ProxyMistake::Other(None))
    }

    /// Returns the server, or `None` if there is none.
    pub fn server(&self) -> Option<&ProxyServer> {
        match self {
            Self::None => None,
            Self::Server(server) => Some(server),
        }
    }
}

/// Returns the hint for a URL with another scheme.
fn scheme_hint(scheme: &str) -> Option<&'static str> {
    match scheme {
        "socks" | "socks5h" => Some("write socks5://, with which the proxy resolves host names"),
        "socks4" | "socks4a" => Some("pouch supports SOCKS 5 only: socks5://"),
        "https" => Some("pouch connects to the proxy without TLS: write http://"),
        "" => Some("write a URL: \"socks5://127.0.0.1:9050\""),
        _ => None,
    }
}

/// Parses the URL of a proxy server, whose port is `port` by default.
fn server(text: &str, protocol: ProxyProtocol, port: u16) -> Option<ProxyServer> {
    let url = Url::parse(text).ok()?;
    let has_rest = url.query().is_some() || url.fragment().is_some();
    if has_rest || !matches!(url.path(), "" | "/") {
        return None;
    }
    let Host(host) = Host::new(&percent_decoded(url.host_str()?)?)?;
    let user = Some(percent_decoded(url.username())?).filter(|user| !user.is_empty());
    let is_sendable = user.as_deref().is_none_or(|user| match protocol {
        // its length is sent as one byte (RFC 1929)
        ProxyProtocol::Socks5 => user.len() <= 255,
        // the password begins at the first colon (RFC 7617 §2)
        ProxyProtocol::Http => !user.contains(':'),
    });
    let port = url.port().unwrap_or(port);
    (is_sendable && port != 0).then_some(ProxyServer {
        protocol,
        host,
        port,
        user,
    })
}

impl ProxyServer {
    /// Returns `host:port`, for messages.
    pub fn address(&self) -> String {
        host_and_port(&self.host, self.port)
    }
}

impl fmt::Display for ProxyServer {
    /// Writes the URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            ProxyProtocol::Socks5 => "socks5",
            ProxyProtocol::Http => "http",
        };
        let address = self.address();
        let encoded = self.user.as_ref().and_then(|user| {
            let mut url = Url::parse(&format!("{scheme}://{address}")).ok()?;
            url.set_username(user).ok()?;
            Some(url.username().to_owned())
        });
        match encoded {
            Some(user) => write!(f, "{scheme}://{user}@{address}"),
            None => write!(f, "{scheme}://{address}"),
        }
    }
}

/// Returns `host:port`, with brackets around an IPv6 address.
pub fn host_and_port(host: &str, port: u16) -> String {
    let is_address = host.contains(':');
    if is_address {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// A command that connects to a server: `%h` in it is the host, `%p` the port, `%%` a percent sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectCommand(Vec<String>);

impl ConnectCommand {
    /// Checks a command.
    ///
    /// # Errors
    /// The first sequence with `%` that has no meaning.
    pub fn new(argv: Vec<String>) -> Result<Self, String> {
        for word in &argv {
            expand(word, "", "")?;
        }
        Ok(Self(argv))
    }

    /// Returns the command as written.
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// Returns the command for this host and port.
    pub fn argv(&self, host: &str, port: u16) -> Vec<String> {
        let port = port.to_string();
        let expand = |word: &String| expand(word, host, &port).unwrap_or_else(|_| word.clone());
        self.0.iter().map(expand).collect()
    }
}

/// Replaces `%h`, `%p` and `%%` in a word of a command. Fails with another sequence in it.
fn expand(word: &str, host: &str, port: &str) -> Result<String, String> {
    let mut parts = word.split('%');
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    while let Some(part) = parts.next() {
        let mut rest = part.chars();
        match rest.next() {
            Some('h') => expanded.push_str(host),
            Some('p') => expanded.push_str(port),
            Some(other) => return Err(format!("%{other}")),
            // `%%`: the text up to the next percent sign follows
            None => {
                expanded.push('%');
                expanded.push_str(parts.next().ok_or("%")?);
                continue;
            }
        }
        expanded.push_str(rest.as_str());
    }
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_urls() {
        let shown = |text: &str| match Proxy::new(text) {
            Ok(Proxy::Server(server)) => server.to_string(),
            other => format!("{other:?}"),
        };
        for (text, url) in [
            ("none", "Ok(None)"),
            ("socks5://127.0.0.1:9050", "socks5://127.0.0.1:9050"),
            ("socks5://gate", "socks5://gate:1080"),
            ("socks5://[::1]:9050/", "socks5://[::1]:9050"),
            ("http://proxy", "http://proxy:80"),
            ("http://ann%40x@Proxy:3128/", "http://ann%40x@proxy:3128"),
            ("socks5://a%3Ab@gate:1", "socks5://a%3Ab@gate:1"),
            ("socks5://@gate:1", "socks5://gate:1"),
            (
                "socks5://münchen.example:1",
                "socks5://xn--mnchen-3ya.example:1",
            ),
            (
                "http://münchen.example:1",
                "http://xn--mnchen-3ya.example:1",
            ),
        ] {
            assert_eq!(shown(text), url, "{text}");
        }
    }

    #[test]
    fn other_texts_are_not_proxies() {
        for text in [
            "",
            "gate",
            "gate:1080",
            "socks5://",
            "socks5://:1080",
            "socks5://gate:0",
            "socks5://gate:65536",
            "socks5://gate:x",
            "socks5://a b:1",
            "socks5://-oX:1",
            "socks5://gate/path",
            "http://gate/?x",
            "http://gate/#x",
            "http://a%3Ab@gate",
            "http://a%0Ab@gate",
            "socks5h://gate",
            "https://gate",
            "ftp://gate",
        ] {
            assert!(
                matches!(Proxy::new(text), Err(ProxyMistake::Other(_))),
                "{text}"
            );
        }
        for text in [
            "socks5://a:b@gate",
            "http://:b@gate",
            "a:b@gate",
            "x://a:b@c:d",
        ] {
            assert_eq!(Proxy::new(text), Err(ProxyMistake::Password), "{text}");
        }
    }

    #[test]
    fn percent_sequences_are_replaced() {
        let argv = |words: &[&str]| {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            ConnectCommand::new(words).map(|command| command.argv("pop.example.org", 995))
        };
        assert_eq!(
            argv(&["ssh", "-W", "%h:%p", "100%%", "%%h%%%p%%"]).unwrap(),
            ["ssh", "-W", "pop.example.org:995", "100%", "%h%995%"]
        );
        for (word, unknown) in [("%u", "%u"), ("%", "%"), ("%%%", "%"), ("%h%ü", "%ü")] {
            assert_eq!(argv(&["x", word]), Err(unknown.to_owned()), "{word}");
        }
    }
}
