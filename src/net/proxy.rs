//! Connections through a proxy: SOCKS 5 (RFC 1928, RFC 1929) and CONNECT of HTTP (RFC 9110 §9.3.6).
//!
//! The host name is passed to the proxy and never resolved here: names of a remote network are not
//! known here, and a look-up would show every DNS server in between whose mail is fetched.
//!
//! All of this happens in the thread that connects, within the time limit for connecting. A proxy
//! that responds with something else, slowly or without end is reported as such.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, TcpStream},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use zeroize::Zeroizing;

use super::tcp;
use crate::{
    config::{ProxyProtocol, ProxyServer, host_and_port},
    error::{Error, Kind, Result},
    sys::password::Secret,
    text::sanitize,
};

/// The longest header of an HTTP response, in bytes.
const MAX_HEADER: usize = 16 * 1024;

/// A proxy, and the password for it.
#[derive(Clone)]
pub struct ProxyAccess {
    /// The proxy.
    pub server: ProxyServer,
    /// The password, empty if there is none.
    pub password: Secret,
}

/// Connects to a host and a port through a proxy.
///
/// # Errors
/// The proxy cannot be reached, does not respond in time, or refuses; or it cannot reach the host:
/// then the kind is that of the same failure without a proxy.
pub(super) fn connect(
    access: &ProxyAccess,
    target: (&str, u16),
    deadline: Instant,
) -> Result<TcpStream> {
    let server = &access.server;
    let tcp = tcp::connect(&server.host, server.port, deadline).map_err(|error| {
        let what = format!("cannot connect to the proxy {}", server.address());
        let error = error.facts().iter().fold(
            Error::new(error.kind(), what).with_fact(error.what()),
            |error, fact| error.with_fact(fact.as_str()),
        );
        error.with_hint("check `proxy` in the config, and whether the proxy is running")
    })?;
    let mut stream = TimedStream {
        tcp: &tcp,
        deadline,
    };
    Handshake {
        server,
        password: &access.password,
        host: target.0,
        port: target.1,
    }
    .carry_out(&mut stream)?;
    Ok(tcp)
}

/// A stream on which all reads and writes together end at a deadline.
struct TimedStream<'a> {
    tcp: &'a TcpStream,
    deadline: Instant,
}

impl TimedStream<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(Some(left))
    }
}

/// Returns the error for a socket's timeout, which is [`ErrorKind::WouldBlock`], by its name.
fn named(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for TimedStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(self.left()?)?;
        self.tcp.read(buffer).map_err(named)
    }
}

impl Write for TimedStream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(self.left()?)?;
        self.tcp.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The request to connect to a host.
struct Handshake<'a> {
    server: &'a ProxyServer,
    password: &'a [u8],
    host: &'a str,
    port: u16,
}

impl Handshake<'_> {
    fn carry_out(&self, stream: &mut (impl Read + Write)) -> Result<()> {
        match self.server.protocol {
            ProxyProtocol::Socks5 => self.socks5(stream),
            ProxyProtocol::Http => self.http(stream),
        }
    }

    /// Returns the proxy for messages: "the proxy HOST:PORT".
    fn proxy(&self) -> String {
        format!("the proxy {}", self.server.address())
    }

    fn error(&self, kind: Kind, what: &str) -> Error {
        Error::new(kind, format!("{} {what}", self.proxy()))
    }

    /// Returns the error for a host that the proxy cannot reach.
    fn unreachable(&self, kind: Kind, why: &str) -> Error {
        let what = format!("cannot reach {} through {}", self.host, self.proxy());
        Error::new(kind, format!("{what}: {why}"))
    }

    /// Returns the error for a response that is not one of the protocol.
    fn violation(&self, response: &[u8]) -> Error {
        let (name, hint) = match self.server.protocol {
            ProxyProtocol::Socks5 => ("SOCKS 5", "write http:// in `proxy` if it is an HTTP proxy"),
            ProxyProtocol::Http => (
                "HTTP",
                "write socks5:// in `proxy` if it is a SOCKS 5 proxy",
            ),
        };
        self.error(Kind::NotPop3, &format!("does not speak {name}"))
            .with_fact(format!("it sent: {}", response.escape_ascii()))
            .with_hint(hint)
    }

    /// Returns the error for a failed read or write.
    fn lost(&self, error: &io::Error) -> Error {
        match error.kind() {
            ErrorKind::TimedOut => self
                .error(Kind::TimedOut, "did not respond in time")
                .with_fact("`connect-timeout` sets how long to wait"),
            ErrorKind::UnexpectedEof => self.error(Kind::ConnectionLost, "closed the connection"),
            _ => Error::new(
                Kind::ConnectionLost,
                format!("the connection to {} was lost", self.proxy()),
            )
            .with_fact(error.to_string()),
        }
    }

    fn send(&self, stream: &mut impl Write, request: &[u8]) -> Result<()> {
        stream.write_all(request).map_err(|error| self.lost(&error))
    }

    fn receive<const N: usize>(&self, stream: &mut impl Read) -> Result<[u8; N]> {
        let mut response = [0; N];
        stream
            .read_exact(&mut response)
            .map_err(|error| self.lost(&error))?;
        Ok(response)
    }

    fn socks5(&self, stream: &mut (impl Read + Write)) -> Result<()> {
        const VERSION: u8 = 5;
        const NO_LOGIN: u8 = 0;
        const PASSWORD: u8 = 2;
        const NO_METHOD: u8 = 0xff;
        let methods: &[u8] = match self.server.user {
            Some(_) => &[VERSION, 2, NO_LOGIN, PASSWORD],
            None => &[VERSION, 1, NO_LOGIN],
        };
        self.send(stream, methods)?;
        match (self.receive(stream)?, &self.server.user) {
            ([VERSION, NO_LOGIN], _) => {}
            ([VERSION, PASSWORD], Some(user)) => self.socks5_login(stream, user)?,
            ([VERSION, NO_METHOD], None) => {
                return Err(self.login_required());
            }
            ([VERSION, NO_METHOD], Some(_)) => {
                return Err(self.error(
                    Kind::Unavailable,
                    "accepts neither a password nor connections without a login",
                ));
            }
            (response, _) => return Err(self.violation(&response)),
        }
        self.send(stream, &self.socks5_request()?)?;
        match self.receive(stream)? {
            [VERSION, 0] => self.skip_address(stream),
            [VERSION, code] => Err(self.socks5_failure(code)),
            response => Err(self.violation(&response)),
        }
    }

    /// Logs in (RFC 1929).
    fn socks5_login(&self, stream: &mut (impl Read + Write), user: &str) -> Result<()> {
        const VERSION: u8 = 1;
        let (Ok(user_length), Ok(length)) =
            (u8::try_from(user.len()), u8::try_from(self.password.len()))
        else {
            return Err(Error::new(
                Kind::Config,
                "the password for the proxy is longer than 255 bytes, the limit of SOCKS 5",
            ));
        };
        let request = Zeroizing::new(
            [
                &[VERSION, user_length],
                user.as_bytes(),
                &[length],
                self.password,
            ]
            .concat(),
        );
        self.send(stream, &request)?;
        match self.receive(stream)? {
            [VERSION, 0] => Ok(()),
            [VERSION, _] => Err(self.login_refused()),
            response => Err(self.violation(&response)),
        }
    }

    fn login_required(&self) -> Error {
        let server = ProxyServer {
            user: Some("user".into()),
            ..self.server.clone()
        };
        self.error(Kind::Denied, "requires a user name and a password")
            .with_hint(format!(
                "add the user to `proxy`, \"{server}\", and set `proxy-password-command`"
            ))
    }

    fn login_refused(&self) -> Error {
        self.error(Kind::Denied, "refused the user name and password")
            .with_hint(
                "check the user name in `proxy` and the password that `proxy-password-command` \
                 prints",
            )
    }

    /// Returns the request to connect.
    fn socks5_request(&self) -> Result<Vec<u8>> {
        let mut request = vec![5, 1, 0];
        match self.host.parse() {
            Ok(IpAddr::V4(address)) => {
                request.push(1);
                request.extend(address.octets());
            }
            Ok(IpAddr::V6(address)) => {
                request.push(4);
                request.extend(address.octets());
            }
            Err(_) => {
                let length = u8::try_from(self.host.len()).map_err(|_| {
                    Error::new(Kind::NoHost, format!("host name {} is too long", self.host))
                })?;
                request.extend([3, length]);
                request.extend(self.host.as_bytes());
            }
        }
        request.extend(self.port.to_be_bytes());
        Ok(request)
    }

    /// Reads the rest of the response: the address from which the proxy is connected.
    fn skip_address(&self, stream: &mut impl Read) -> Result<()> {
        let [reserved, kind] = self.receive(stream)?;
        let length = match kind {
            1 => 4,
            3 => self.receive::<1>(stream)?[0].into(),
            4 => 16,
            _ => return Err(self.violation(&[5, 0, reserved, kind])),
        };
        // and the port
        let mut rest = vec![0; length + 2];
        stream
            .read_exact(&mut rest)
            .map_err(|error| self.lost(&error))
    }

    /// Returns the error for a reply code (RFC 1928 §6).
    fn socks5_failure(&self, code: u8) -> Error {
        match code {
            2 => self.not_allowed(),
            3 => self.unreachable(Kind::TimedOut, "the network is unreachable"),
            4 => self
                .unreachable(Kind::TimedOut, "the host is unreachable")
                .with_hint("check `host`: the proxy resolves its name"),
            5 => self
                .unreachable(Kind::Refused, "connection refused")
                .with_hint("check `host`, `port` and `tls`"),
            6 => self.unreachable(Kind::TimedOut, "time to live exceeded"),
            7 => self.error(Kind::Unavailable, "does not support connections (CONNECT)"),
            8 => self.error(Kind::Unavailable, "does not support this kind of address"),
            // Tor has more codes
            code => self.unreachable(Kind::Busy, &format!("SOCKS error {code}")),
        }
    }

    fn not_allowed(&self) -> Error {
        let target = host_and_port(self.host, self.port);
        self.error(
            Kind::Denied,
            &format!("does not allow connections to {target}"),
        )
    }

    fn http(&self, stream: &mut (impl Read + Write)) -> Result<()> {
        let target = host_and_port(self.host, self.port);
        let mut request =
            Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
        if let Some(user) = &self.server.user {
            let login = Zeroizing::new([user.as_bytes(), b":", self.password].concat());
            let login = Zeroizing::new(BASE64.encode(&*login));
            request.push_str("Proxy-Authorization: Basic ");
            request.push_str(&login);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        self.send(stream, request.as_bytes())?;
        let header = self.http_header(stream)?;
        let line = header
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let line = line.trim_ascii_end();
        let status = line.split(|byte| *byte == b' ').nth(1);
        let status = status.and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
        let error = match status {
            Some(200..=299) => return Ok(()),
            Some(407) if self.server.user.is_some() => self.login_refused(),
            Some(407) => self.login_required(),
            Some(403) => self.not_allowed(),
            Some(408 | 504) => self.unreachable(Kind::TimedOut, "no response in time"),
            Some(429 | 500..=599) => self.unreachable(Kind::Busy, "the proxy reports an error"),
            Some(300..=499) => self.unreachable(Kind::Unavailable, "the proxy refuses"),
            _ => return Err(self.violation(line)),
        };
        Err(error.with_first_fact(format!("the proxy said: {}", sanitize(line))))
    }

    /// Reads the header of a response. What follows it belongs to the connection, so nothing beyond
    /// is read.
    fn http_header(&self, stream: &mut impl Read) -> Result<Vec<u8>> {
        const BEGIN: &[u8] = b"HTTP/1.";
        let mut header = Vec::new();
        while !header.ends_with(b"\r\n\r\n") && !header.ends_with(b"\n\n") {
            header.extend(self.receive::<1>(stream)?);
            let begin = header.len().min(BEGIN.len());
            if header[..begin] != BEGIN[..begin] {
                return Err(self.violation(&header));
            }
            if header.len() > MAX_HEADER {
                return Err(self
                    .error(Kind::NotPop3, "sent an endless header")
                    .with_fact(format!("it is longer than {MAX_HEADER} bytes")));
            }
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::config::Proxy;

    /// A proxy that sends `response` whatever it receives.
    struct Peer<'a> {
        response: &'a [u8],
        received: Vec<u8>,
    }

    impl Read for Peer<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.response.read(buffer)
        }
    }

    impl Write for Peer<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.received.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Connects to `host` through the proxy at `url`. Returns what the proxy received, and the rest
    /// of its response.
    fn connect_to(host: &str, url: &str, response: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
        let Ok(Proxy::Server(server)) = Proxy::new(url) else {
            panic!("{url}");
        };
        let mut peer = Peer {
            response,
            received: Vec::new(),
        };
        let handshake = Handshake {
            server: &server,
            password: b"hunter2",
            host,
            port: 995,
        };
        handshake.carry_out(&mut peer)?;
        Ok((peer.received, peer.response.to_vec()))
    }

    fn connect(url: &str, response: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
        connect_to("pop.example.org", url, response)
    }

    /// Renders the errors for these responses, with their exit codes.
    fn errors(url: &str, responses: &[&[u8]]) -> String {
        let errors = responses.iter().map(|response| {
            let error = connect(url, response).unwrap_err();
            assert!(!error.to_string().contains("hunter2"));
            format!("{} {error}", error.kind().exit().0)
        });
        errors.collect::<Vec<_>>().join("\n")
    }

    const SOCKS: &str = "socks5://gate:1080";
    const SOCKS_USER: &str = "socks5://ann@gate:1080";
    const HTTP: &str = "http://gate:3128";
    const HTTP_USER: &str = "http://ann@gate:3128";

    #[test]
    fn socks_proxy_gets_the_name() {
        let response = b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x01+OK";
        let (request, rest) = connect(SOCKS, response).unwrap();
        assert_eq!(
            request.escape_ascii().to_string(),
            r"\x05\x01\x00\x05\x01\x00\x03\x0fpop.example.org\x03\xe3"
        );
        assert_eq!(rest, b"+OK");
    }

    #[test]
    fn socks_proxy_gets_addresses_as_such() {
        let response = b"\x05\x00\x05\x00\x00\x03\x04name\x00\x01";
        for (host, address) in [
            ("192.0.2.7", r"\x01\xc0\x00\x02\x07"),
            (
                "2001:db8::1",
                r"\x04 \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01",
            ),
        ] {
            let (request, rest) = connect_to(host, SOCKS, response).unwrap();
            let request = request.escape_ascii().to_string();
            assert_eq!(
                request,
                format!(r"\x05\x01\x00\x05\x01\x00{address}\x03\xe3")
            );
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn socks_login_is_sent_if_the_proxy_selects_it() {
        let accepted = b"\x05\x00\x00\x04................\x00\x01";
        let response = [b"\x05\x02\x01\x00", &accepted[..]].concat();
        let (request, _) = connect(SOCKS_USER, &response).unwrap();
        let request = request.escape_ascii().to_string();
        assert!(
            request.starts_with(r"\x05\x02\x00\x02\x01\x03ann\x07hunter2\x05\x01\x00\x03"),
            "{request}"
        );
        let response = [b"\x05\x00", &accepted[..]].concat();
        let (request, _) = connect(SOCKS_USER, &response).unwrap();
        assert!(!request.escape_ascii().to_string().contains("hunter2"));
    }

    #[test]
    fn socks_failures_have_the_exit_codes_of_direct_ones() {
        let codes: Vec<_> = (1..=9).map(|code| [5, 0, 5, code, 0, 1]).collect();
        let responses: Vec<_> = codes.iter().map(|response| &response[..]).collect();
        assert_snapshot!(errors(SOCKS, &responses), @"
        75 cannot reach pop.example.org through the proxy gate:1080: SOCKS error 1
        77 the proxy gate:1080 does not allow connections to pop.example.org:995
        75 cannot reach pop.example.org through the proxy gate:1080: the network is unreachable
        75 cannot reach pop.example.org through the proxy gate:1080: the host is unreachable
        hint: check `host`: the proxy resolves its name
        69 cannot reach pop.example.org through the proxy gate:1080: connection refused
        hint: check `host`, `port` and `tls`
        75 cannot reach pop.example.org through the proxy gate:1080: time to live exceeded
        69 the proxy gate:1080 does not support connections (CONNECT)
        69 the proxy gate:1080 does not support this kind of address
        75 cannot reach pop.example.org through the proxy gate:1080: SOCKS error 9
        ");
    }

    #[test]
    fn socks_logins_that_fail() {
        assert_snapshot!(errors(SOCKS, &[b"\x05\xff"]), @r#"
        77 the proxy gate:1080 requires a user name and a password
        hint: add the user to `proxy`, "socks5://user@gate:1080", and set `proxy-password-command`
        "#);
        assert_snapshot!(errors(SOCKS_USER, &[b"\x05\xff", b"\x05\x02\x01\x01"]), @"
        69 the proxy gate:1080 accepts neither a password nor connections without a login
        77 the proxy gate:1080 refused the user name and password
        hint: check the user name in `proxy` and the password that `proxy-password-command` prints
        ");
    }

    #[test]
    fn hostile_socks_proxies() {
        assert_snapshot!(errors(SOCKS, &[
            b"",
            b"\x05",
            b"\x04\x00",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\x05\x02",
            b"\x05\x00\x05",
            b"\x05\x00\x04\x00",
            b"\x05\x00\x05\x00\x00\x02",
            b"\x05\x00\x05\x00\x00\x03\xffshort",
        ]), @r"
        75 the proxy gate:1080 closed the connection
        75 the proxy gate:1080 closed the connection
        76 the proxy gate:1080 does not speak SOCKS 5
          it sent: \x04\x00
        hint: write http:// in `proxy` if it is an HTTP proxy
        76 the proxy gate:1080 does not speak SOCKS 5
          it sent: HT
        hint: write http:// in `proxy` if it is an HTTP proxy
        76 the proxy gate:1080 does not speak SOCKS 5
          it sent: \x05\x02
        hint: write http:// in `proxy` if it is an HTTP proxy
        75 the proxy gate:1080 closed the connection
        76 the proxy gate:1080 does not speak SOCKS 5
          it sent: \x04\x00
        hint: write http:// in `proxy` if it is an HTTP proxy
        76 the proxy gate:1080 does not speak SOCKS 5
          it sent: \x05\x00\x00\x02
        hint: write http:// in `proxy` if it is an HTTP proxy
        75 the proxy gate:1080 closed the connection
        ");
    }

    proptest! {
        #[test]
        fn any_response_is_read_without_a_panic(
            tail in vec(any::<u8>(), 0..300),
            begin in select(vec![&b""[..], b"\x05\x02\x01\x00\x05\x00", b"HTTP/1.1 200 OK\r\n"]),
        ) {
            let response = [begin, &tail[..]].concat();
            for url in [SOCKS, SOCKS_USER, HTTP, HTTP_USER] {
                if let Err(error) = connect(url, &response) {
                    prop_assert!(!error.to_string().contains("hunter2"));
                }
            }
        }
    }

    #[test]
    fn http_proxy_gets_the_name_and_keeps_the_rest() {
        let response = b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n+OK";
        let (request, rest) = connect(HTTP, response).unwrap();
        assert_snapshot!(String::from_utf8(request).unwrap().replace('\r', ""), @"
        CONNECT pop.example.org:995 HTTP/1.1
        Host: pop.example.org:995
        ");
        assert_eq!(rest, b"+OK");
        let (request, _) = connect_to("::1", HTTP_USER, b"HTTP/1.0 200\n\n").unwrap();
        assert_snapshot!(String::from_utf8(request).unwrap().replace('\r', ""), @"
        CONNECT [::1]:995 HTTP/1.1
        Host: [::1]:995
        Proxy-Authorization: Basic YW5uOmh1bnRlcjI=
        ");
    }

    #[test]
    fn http_failures() {
        assert_snapshot!(errors(HTTP, &[
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
            b"HTTP/1.1 403 Forbidden\r\n\r\n",
            b"HTTP/1.1 405 Method Not Allowed\r\n\r\n",
            b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
            b"HTTP/1.1 504 Gateway\x1b[7m Timeout\r\n\r\n",
        ]), @r#"
        77 the proxy gate:3128 requires a user name and a password
          the proxy said: HTTP/1.1 407 Proxy Authentication Required
        hint: add the user to `proxy`, "http://user@gate:3128", and set `proxy-password-command`
        77 the proxy gate:3128 does not allow connections to pop.example.org:995
          the proxy said: HTTP/1.1 403 Forbidden
        69 cannot reach pop.example.org through the proxy gate:3128: the proxy refuses
          the proxy said: HTTP/1.1 405 Method Not Allowed
        75 cannot reach pop.example.org through the proxy gate:3128: the proxy reports an error
          the proxy said: HTTP/1.1 503 Service Unavailable
        75 cannot reach pop.example.org through the proxy gate:3128: no response in time
          the proxy said: HTTP/1.1 504 Gateway�[7m Timeout
        "#);
        assert_snapshot!(errors(HTTP_USER, &[b"HTTP/1.1 407 No\r\n\r\n"]), @"
        77 the proxy gate:3128 refused the user name and password
          the proxy said: HTTP/1.1 407 No
        hint: check the user name in `proxy` and the password that `proxy-password-command` prints
        ");
    }

    #[test]
    fn hostile_http_proxies() {
        let endless = [b"HTTP/1.1 200 OK\r\n", &b"X: y\r\n".repeat(MAX_HEADER)[..]].concat();
        assert_snapshot!(errors(HTTP, &[
            b"",
            b"HTTP/1.1 200 OK\r\n",
            b"\x05\xff",
            b"+OK POP3 server ready\r\n",
            b"HTTP/1.1 ok\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            &endless,
        ]), @r"
        75 the proxy gate:3128 closed the connection
        75 the proxy gate:3128 closed the connection
        76 the proxy gate:3128 does not speak HTTP
          it sent: \x05
        hint: write socks5:// in `proxy` if it is a SOCKS 5 proxy
        76 the proxy gate:3128 does not speak HTTP
          it sent: +
        hint: write socks5:// in `proxy` if it is a SOCKS 5 proxy
        76 the proxy gate:3128 does not speak HTTP
          it sent: HTTP/1.1 ok
        hint: write socks5:// in `proxy` if it is a SOCKS 5 proxy
        76 the proxy gate:3128 does not speak HTTP
          it sent: HTTP/1.1 100 Continue
        hint: write socks5:// in `proxy` if it is a SOCKS 5 proxy
        76 the proxy gate:3128 sent an endless header
          it is longer than 16384 bytes
        ");
    }
}
