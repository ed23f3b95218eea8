//! TLS: which certificates are good, and what to say of those that are not.

use std::{fs, path::Path};

use native_tls::{HandshakeError, Identity, Protocol, TlsConnector, TlsStream};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Records, Socket, Stream};
use crate::{
    config::{ClientCertificate, Trust},
    domain::time::Timestamp,
    error::{Error, Kind, Result},
};

/// What TLS needs to know of an account.
#[derive(Clone)]
pub struct TlsConfig {
    connector: TlsConnector,
    pin: Option<[u8; 32]>,
}

/// A server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The SHA-256 of the whole certificate (DER).
    pub sha256: [u8; 32],
    /// Until when it holds, where that can be read.
    pub until: Option<Timestamp>,
}

impl Certificate {
    fn new(der: &[u8]) -> Self {
        Self {
            sha256: Sha256::digest(der).into(),
            until: X509Certificate::from_der(der)
                .ok()
                .map(|(_, certificate)| Timestamp(certificate.validity().not_after.timestamp())),
        }
    }

    /// The fingerprint as `tls-pin` takes it.
    pub fn pin(&self) -> String {
        self.sha256
            .iter()
            .fold("sha256:".into(), |pin, octet| format!("{pin}{octet:02x}"))
    }
}

impl TlsConfig {
    /// Reads the files that `trust` and `client` name.
    ///
    /// # Errors
    /// [`Kind::Config`]: a file cannot be read, or holds no certificate.
    pub fn new(trust: &Trust, client: Option<&ClientCertificate>) -> Result<Self> {
        let mut builder = TlsConnector::builder();
        // RFC 8314 §4.1
        builder.min_protocol_version(Some(Protocol::Tlsv12));
        let pin = match trust {
            Trust::System => None,
            Trust::CaFile(path) => {
                let none = || {
                    Error::new(
                        Kind::Config,
                        format!("there is no certificate in {}", path.display()),
                    )
                    .with_hint(
                        "`tls-ca-file` is a PEM file: it has lines -----BEGIN CERTIFICATE-----",
                    )
                };
                let roots = native_tls::Certificate::stack_from_pem(&read(path, "tls-ca-file")?)
                    .map_err(|error| none().with_fact(error.to_string()))?;
                if roots.is_empty() {
                    return Err(none());
                }
                builder.disable_built_in_roots(true);
                for root in roots {
                    builder.add_root_certificate(root);
                }
                None
            }
            Trust::Pin(pin) => {
                // The certificate is compared as a whole after the handshake, before anything is
                // said: who issued it, for whom and until when means nothing then.
                builder
                    .danger_accept_invalid_certs(true)
                    .danger_accept_invalid_hostnames(true);
                Some(*pin)
            }
        };
        if let Some(ClientCertificate { certificate, key }) = client {
            let (certificate_file, key_file) = (
                read(certificate, "tls-client-cert")?,
                read(key, "tls-client-key")?,
            );
            let identity = Identity::from_pkcs8(&certificate_file, &key_file).map_err(|error| {
                Error::new(Kind::Config, "the client certificate cannot be used")
                    .with_fact(format!("{} and {}: {error}", certificate.display(), key.display()))
                    .with_hint("both are PEM files, the key in PKCS #8: `openssl pkcs8 -topk8 -nocrypt -in KEY` makes one")
            })?;
            builder.identity(identity);
        }
        let connector = builder.build().map_err(|error| {
            Error::new(Kind::Config, "TLS cannot be set up").with_fact(error.to_string())
        })?;
        Ok(Self { connector, pin })
    }

    /// Whatever certificate the server has: to look at it, never to log in.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn trusting_anybody() -> Result<Self> {
        let connector = TlsConnector::builder()
            .danger_accept_invalid_certs(true)
            .danger_accept_invalid_hostnames(true)
            .build()
            .map_err(|error| {
                Error::new(Kind::Config, "TLS cannot be set up").with_fact(error.to_string())
            })?;
        Ok(Self {
            connector,
            pin: None,
        })
    }

    /// Begins TLS with `host`, whose certificate has to be good.
    ///
    /// # Errors
    /// [`Kind::Denied`]: the certificate is not trusted. [`Kind::NotPop3`]: what answers speaks no
    /// TLS. Or the line is lost.
    pub fn wrap(&self, mut socket: Socket, host: &str) -> Result<Stream> {
        let captured = socket.captured();
        // a handshake is many small answers
        socket.hurry();
        // the dot that ends an absolute name stands in no certificate, nor is it told the server
        // (RFC 6066 §3)
        let name = host.strip_suffix('.').unwrap_or(host);
        let mut stream = match self.connector.connect(name, Records::new(socket)) {
            Ok(stream) => stream,
            Err(HandshakeError::Failure(error)) => {
                return Err(failed(host, &error.to_string(), captured.take()));
            }
            Err(HandshakeError::WouldBlock(_)) => {
                return Err(Error::new(Kind::Bug, "a blocking socket did not block"));
            }
        };
        stream.get_mut().socket_mut().take_time();
        if let Some(pin) = self.pin {
            let found = certificate(&stream);
            if found.as_ref().map(|certificate| certificate.sha256) != Some(pin) {
                let shown = found.map_or_else(|| "none".into(), |certificate| certificate.pin());
                return Err(Error::new(
                    Kind::Denied,
                    format!("{host} has another certificate than the one of `tls-pin`"),
                )
                .with_fact(format!("it has {shown}"))
                .with_hint(
                    "if the server's owner says that it was renewed, put that into `tls-pin`",
                ));
            }
        }
        Ok(Stream::Tls(Box::new(stream), captured))
    }
}

/// The certificate that the server showed.
pub(super) fn certificate(stream: &TlsStream<Records>) -> Option<Certificate> {
    let certificate = stream.peer_certificate().ok()??;
    Some(Certificate::new(&certificate.to_der().ok()?))
}

/// What is in the file that `key` of the config names.
fn read(path: &Path, key: &str) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        Error::new(Kind::Config, format!("cannot read {}", path.display()))
            .with_fact(error.to_string())
            .with_hint(format!("`{key}` in the config names it"))
    })
}

/// What a failed handshake means. OpenSSL tells the reason in its text only.
fn failed(host: &str, text: &str, socket: Option<std::io::Error>) -> Error {
    if let Some(error) = socket {
        let (kind, what) = if error.kind() == std::io::ErrorKind::TimedOut {
            (Kind::TimedOut, format!("{host} said nothing for too long"))
        } else {
            (
                Kind::ConnectionLost,
                format!("the connection to {host} was lost"),
            )
        };
        return Error::new(kind, what).with_fact(format!("beginning TLS: {error}"));
    }
    let lower = text.to_ascii_lowercase();
    let denied = |what: String| Error::new(Kind::Denied, what);
    if lower.contains("hostname mismatch") || lower.contains("ip address mismatch") {
        denied(format!("the certificate is not for {host}"))
            .with_fact(reason(text))
            .with_hint("`host` must be a name that stands in the certificate")
    } else if lower.contains("expired") {
        denied(format!("the certificate of {host} has expired"))
            .with_fact(reason(text))
            .with_hint("ask the server's owner to renew it; and is this machine's clock right?")
    } else if lower.contains("certificate verify failed") {
        denied(format!("the certificate of {host} is not trusted"))
            .with_fact(reason(text))
            .with_hint("`tls-ca-file` trusts another authority, `tls-pin` one certificate: the one that `pouch check` shows")
    } else if lower.contains("wrong version number")
        || lower.contains("packet length too long")
        || lower.contains("record layer failure")
    {
        Error::new(
            Kind::NotPop3,
            format!("{host} does not speak TLS on this port"),
        )
        .with_fact(reason(text))
        .with_hint("port 110 is for tls = \"starttls\", 995 for \"implicit\"")
    } else if lower.contains("unexpected eof") || lower.is_empty() {
        Error::new(
            Kind::ConnectionLost,
            format!("{host} closed the connection while TLS began"),
        )
        .with_fact(reason(text))
    } else {
        Error::new(Kind::Unavailable, format!("TLS with {host} failed")).with_fact(reason(text))
    }
}

/// What a person can use of `error:CODE:LIBRARY:FUNCTION:REASON:FILE:LINE: (DETAIL)`.
fn reason(text: &str) -> String {
    let detail = text
        .rfind('(')
        .and_then(|from| text[from + 1..].strip_suffix(')'));
    let named = || {
        text.strip_prefix("error:")
            .and_then(|rest| rest.split(':').nth(3))
    };
    detail.or_else(named).unwrap_or(text).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssl_is_put_into_words() {
        let wrong_port = "error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../ssl/record/ssl3_record.c:354:";
        let error = failed("pop.example.org", wrong_port, None);
        assert_eq!(
            (error.kind(), error.facts()),
            (Kind::NotPop3, &["wrong version number".to_owned()][..])
        );
        let untrusted = "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:../ssl/statem/statem_clnt.c:1889: (self-signed certificate)";
        let error = failed("pop.example.org", untrusted, None);
        assert_eq!(
            (error.kind(), error.facts()),
            (Kind::Denied, &["self-signed certificate".to_owned()][..])
        );
        let expired = untrusted.replace("self-signed certificate", "certificate has expired");
        assert!(
            failed("pop.example.org", &expired, None)
                .what()
                .contains("has expired")
        );
    }

    #[test]
    fn what_the_socket_said_counts() {
        let silent = std::io::Error::new(std::io::ErrorKind::TimedOut, "60 s of silence");
        assert_eq!(
            failed("pop.example.org", "unexpected EOF", Some(silent)).kind(),
            Kind::TimedOut
        );
    }

    #[test]
    fn the_dot_of_an_absolute_name_stands_in_no_certificate() {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (pem, key) = (own.cert.pem(), own.signing_key.serialize_pem());
        let roots = tempfile::NamedTempFile::new().unwrap();
        fs::write(roots.path(), &pem).unwrap();
        let identity = Identity::from_pkcs8(pem.as_bytes(), key.as_bytes()).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let acceptor = native_tls::TlsAcceptor::new(identity).unwrap();
            acceptor.accept(listener.accept().unwrap().0).is_ok()
        });
        let time = std::time::Duration::from_mins(1);
        let socket = super::super::dial(
            "127.0.0.1",
            port,
            time,
            time,
            &crate::sys::interrupt::Interrupt::default(),
        )
        .unwrap();
        let context = TlsConfig::new(&Trust::CaFile(roots.path().to_owned()), None).unwrap();
        assert!(context.wrap(socket, "localhost.").is_ok());
        assert!(server.join().unwrap());
    }
}
