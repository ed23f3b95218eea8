//! Requests to an issuer: forms and JSON over HTTPS.
//!
//! Redirects are not followed, so that no token is sent to another host; a redirect is treated as
//! an unexpected response, like that of a captive portal. Signals do not interrupt a request: the
//! response to one that spends a token has to be read to its end.

use std::{
    io::{self, Read},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ureq::{
    Agent, Body,
    http::{Response as Reply, header},
};
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::{
    error::{Error, Kind, Result},
    sys::https::{self, Roots, Via},
};

/// The time limit for a request, from the look-up of the host to the last byte of the response.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The longest response that is read, in bytes.
const MAX_RESPONSE: u64 = 256 * 1024;

/// A response of an issuer.
pub(super) struct Response {
    /// The HTTP status.
    pub(super) status: u16,
    /// The time after which to try again, if the issuer gives one.
    pub(super) retry_after: Option<Duration>,
    /// The content, which may have tokens.
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// The credentials of a client for HTTP Basic (RFC 6749 §2.3.1).
pub(super) struct Basic<'a> {
    /// The client's ID.
    pub(super) id: &'a str,
    /// The client's secret.
    pub(super) secret: &'a str,
}

impl Basic<'_> {
    /// Returns the header field.
    fn header(&self) -> Zeroizing<String> {
        let encoded =
            |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
        let pair = Zeroizing::new(format!("{}:{}", encoded(self.id), encoded(self.secret)));
        Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
    }
}

/// Sends requests.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    /// The address of the proxy of the config, for messages.
    proxy: Option<String>,
}

impl Client {
    /// Creates a client that trusts `roots`, and connects `via` a proxy.
    ///
    /// # Errors
    /// [`Kind::Config`] if the proxy cannot be used.
    pub fn new(roots: Roots, via: &Via) -> Result<Self> {
        let proxy = match via {
            Via::Proxy { host, port, .. } => Some(format!("{host}:{port}")),
            Via::Environment | Via::Direct => None,
        };
        let agent = https::agent(roots, via, TIME_LIMIT, "application/json")?;
        Ok(Self { agent, proxy })
    }

    /// Sends a form.
    ///
    /// # Errors
    /// [`Kind::ConnectionLost`] or [`Kind::TimedOut`] if there is no response.
    pub(super) fn post(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        basic: Option<&Basic<'_>>,
    ) -> Result<Response> {
        let mut body = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form {
            body.append_pair(name, value);
        }
        let body = Zeroizing::new(body.finish());
        let mut request = self
            .agent
            .post(url.as_str())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(basic) = basic {
            request = request.header(header::AUTHORIZATION, basic.header().as_str());
        }
        self.read(url, request.send(body.as_str()))
    }

    /// Requests a document.
    ///
    /// # Errors
    /// As for [`post`](Self::post).
    pub(super) fn get(&self, url: &Url) -> Result<Response> {
        self.read(url, self.agent.get(url.as_str()).call())
    }

    /// Reads a response to its end.
    fn read(
        &self,
        url: &Url,
        reply: std::result::Result<Reply<Body>, ureq::Error>,
    ) -> Result<Response> {
        let failed = |error: &ureq::Error| failure(url, self.proxy.as_deref(), error);
        let mut reply = reply.map_err(|error| failed(&error))?;
        let retry_after = reply.headers().get(header::RETRY_AFTER);
        let seconds = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let mut body = Zeroizing::new(Vec::new());
        reply
            .body_mut()
            .as_reader()
            .take(MAX_RESPONSE)
            .read_to_end(&mut body)
            .map_err(|error| failed(&error.into()))?;
        Ok(Response {
            status: reply.status().as_u16(),
            retry_after: seconds.map(Duration::from_secs),
            body,
        })
    }
}

/// Returns the error for a request without a response. `proxy` is the address of the proxy of the
/// config. The URL is reduced to the host, since a query can have a code.
fn failure(url: &Url, proxy: Option<&str>, error: &ureq::Error) -> Error {
    let host = url.host_str().unwrap_or_default();
    let kind = match error {
        ureq::Error::Timeout(_) => Kind::TimedOut,
        _ => Kind::ConnectionLost,
    };
    let fact = match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => "the host was not found".to_owned(),
        ureq::Error::Timeout(_) => format!("no response within {} s", TIME_LIMIT.as_secs()),
        error => error.to_string(),
    };
    match proxy {
        Some(proxy) if is_refused_login(error) => {
            Error::new(Kind::Denied, format!("the proxy {proxy} refused the login"))
                .with_fact(fact)
                .with_hint("check the user in `proxy`, and set `proxy-password-command`")
        }
        Some(proxy) => {
            let what = format!("cannot reach {host} through the proxy {proxy}");
            Error::new(kind, what).with_fact(fact)
        }
        None => Error::new(kind, format!("cannot reach {host}")).with_fact(fact),
    }
}

/// Returns whether a proxy requires another login. `ureq` reports that by words only.
fn is_refused_login(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::ConnectProxyFailed(reason) => reason.contains("407"),
        // not one of the system
        ureq::Error::Io(error) if error.raw_os_error().is_none() => {
            error.kind() == io::ErrorKind::PermissionDenied
                || error.to_string().contains("no acceptable auth methods")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::TcpListener, thread};

    use super::*;

    /// Requests a document of a host that does not exist via a proxy, and returns what the proxy
    /// received. `turns` are the ends of the parts of the request, and the responses to them.
    fn received(socks: bool, turns: &'static [(&'static [u8], &'static [u8])]) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let via = Via::Proxy {
            socks,
            host: "127.0.0.1".into(),
            port: listener.local_addr().unwrap().port(),
            login: None,
        };
        let proxy = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = Vec::new();
            let mut buffer = [0; 4096];
            for (end, response) in turns {
                while !all.ends_with(end) {
                    let bytes = stream.read(&mut buffer).unwrap();
                    assert_ne!(bytes, 0, "{}", all.escape_ascii());
                    all.extend_from_slice(&buffer[..bytes]);
                }
                stream.write_all(response).unwrap();
            }
            all
        });
        let client = Client::new(Roots::System, &via).unwrap();
        let url = Url::parse("https://id.example.invalid/token").unwrap();
        let error = client.get(&url).err().unwrap();
        assert_eq!(error.kind(), Kind::ConnectionLost);
        let what = "cannot reach id.example.invalid through the proxy 127.0.0.1:";
        assert!(error.what().starts_with(what), "{error}");
        proxy.join().unwrap()
    }

    #[test]
    fn proxy_resolves_the_host() {
        const REFUSED: &[u8] = b"\x05\x02\0\x01\0\0\0\0\0\0";
        let connect = received(false, &[(b"\r\n\r\n", b"HTTP/1.1 403 no\r\n\r\n")]);
        assert!(connect.starts_with(b"CONNECT id.example.invalid:443 "));
        let socks = received(true, &[(b"\0", b"\x05\0"), (b"\x01\xbb", REFUSED)]);
        assert!(socks.ends_with(b"\x03\x12id.example.invalid\x01\xbb"));
    }
}
