//! TLS: which certificates are trusted, and the errors about those that are not.
//!
//! # Roots
//!
//! An account trusts exactly one of three things ([`Trust`]): the authorities of the system
//! ([`roots`](super::roots)), those of `tls-ca-file` and no others, or the one certificate of
//! `tls-pin`. A pinned certificate is compared as a whole, after the handshake and before the first
//! command; its issuer, host name and validity are not checked, since the user has vouched for the
//! certificate itself. An option that turns verification off was rejected: an attacker then gets
//! the password, and the pin serves the same servers. `pouch check` shows the certificate to pin.
//!
//! The host is looked up in the certificate's subjectAltName only, as browsers do (RFC 9525).
//! OpenSSL uses the common name as well if there is no host in subjectAltName; such a certificate
//! is refused after the handshake. It can be pinned.
//!
//! # Errors
//!
//! Whether a failure is a wrong port, a lost connection or an untrusted certificate decides the
//! exit code and whether to try again. That is read from OpenSSL's reason codes. Its texts only
//! select the words of a message, because they change between versions.

use std::{error::Error as _, io, net::IpAddr, path::Path};

use native_tls::{HandshakeError, Identity, Protocol, TlsConnector, TlsStream};
use openssl::{asn1::Asn1Time, error::ErrorStack, x509::X509};
use sha2::{Digest, Sha256};

use super::{Records, Socket, Stream, SystemRoots, tcp::URL_HINT};
use crate::{
    config::{ClientCertificate, Trust},
    domain::time::Timestamp,
    error::{Error, Kind, Result},
    sys::files,
    text::hex,
};

/// The TLS configuration of an account.
#[derive(Clone)]
pub struct TlsConfig {
    connector: TlsConnector,
    check: Check,
    /// Whether no certificate is trusted, because the system has no authorities.
    lacks_authorities: bool,
}

/// The check after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// That the certificate has its host in subjectAltName.
    Name,
    /// That the certificate is the one with this fingerprint.
    Pin([u8; 32]),
    /// Nothing: the certificate is only shown.
    Nothing,
}

/// A server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The SHA-256 of the whole certificate (DER).
    pub sha256: [u8; 32],
    /// The end of its validity, or `None` if it cannot be read.
    pub until: Option<Timestamp>,
}

impl Certificate {
    /// Returns the certificate with this encoding (DER).
    fn new(der: &[u8]) -> Self {
        Self {
            sha256: Sha256::digest(der).into(),
            until: not_after(der).ok(),
        }
    }

    /// Returns the fingerprint in the form of `tls-pin`.
    pub fn pin(&self) -> String {
        format!("sha256:{}", hex(&self.sha256))
    }
}

impl TlsConfig {
    /// Builds a configuration from the files that `trust` and `client` name. `roots` is used for
    /// [`Trust::System`].
    ///
    /// # Errors
    /// [`Kind::Config`] if a file cannot be read, or has no certificate.
    pub fn new(
        trust: &Trust,
        client: Option<&ClientCertificate>,
        roots: &SystemRoots,
    ) -> Result<Self> {
        let mut builder = TlsConnector::builder();
        // RFC 8314 §4.1
        builder.min_protocol_version(Some(Protocol::Tlsv12));
        let check = match trust {
            Trust::System => {
                roots.add_missing(&mut builder);
                Check::Name
            }
            Trust::CaFile(path) => {
                let none = || {
                    Error::new(
                        Kind::Config,
                        format!("no certificate in {}", path.display()),
                    )
                    .with_hint(
                        "set `tls-ca-file` to a PEM file, with lines -----BEGIN CERTIFICATE-----",
                    )
                };
                let roots = native_tls::Certificate::stack_from_pem(&read(path, "tls-ca-file")?)
                    .map_err(|error| none().with_fact(openssl_said(&error)))?;
                if roots.is_empty() {
                    return Err(none());
                }
                builder.disable_built_in_roots(true);
                for root in roots {
                    builder.add_root_certificate(root);
                }
                Check::Name
            }
            Trust::Pin(pin) => {
                // `wrap` compares the certificate after the handshake
                builder
                    .danger_accept_invalid_certs(true)
                    .danger_accept_invalid_hostnames(true);
                Check::Pin(*pin)
            }
        };
        if let Some(ClientCertificate { certificate, key }) = client {
            let (certificate_file, key_file) = (
                read(certificate, "tls-client-cert")?,
                read(key, "tls-client-key")?,
            );
            let identity = Identity::from_pkcs8(&certificate_file, &key_file).map_err(|error| {
                Error::new(Kind::Config, "cannot use the client certificate")
                    .with_fact(format!("{} and {}", certificate.display(), key.display()))
                    .with_fact(openssl_said(&error))
                    .with_fact("both have to be PEM files, the key in PKCS #8 form")
                    .with_hint("convert the key with `openssl pkcs8 -topk8 -nocrypt -in KEY`")
            })?;
            builder.identity(identity);
        }
        let connector = builder.build().map_err(|error| {
            Error::new(Kind::Config, "cannot set up TLS").with_fact(openssl_said(&error))
        })?;
        Ok(Self {
            connector,
            check,
            lacks_authorities: *trust == Trust::System && roots.is_missing(),
        })
    }

    /// Returns a configuration that accepts any certificate, to show it. It must not be used to log
    /// in.
    ///
    /// # Errors
    /// [`Kind::Config`] if TLS cannot be set up.
    pub fn accept_any() -> Result<Self> {
        let connector = TlsConnector::builder()
            .danger_accept_invalid_certs(true)
            .danger_accept_invalid_hostnames(true)
            .build()
            .map_err(|error| {
                Error::new(Kind::Config, "cannot set up TLS").with_fact(openssl_said(&error))
            })?;
        Ok(Self {
            connector,
            check: Check::Nothing,
            lacks_authorities: false,
        })
    }

    /// Carries out the TLS handshake with `host`, and verifies that its certificate is issued for
    /// `name`.
    ///
    /// # Errors
    /// [`Kind::Denied`] if the certificate is not trusted, [`Kind::NotPop3`] if the server does not
    /// speak TLS; or the connection is lost.
    pub fn wrap(&self, mut socket: Socket, host: &str, name: &str) -> Result<Stream> {
        let captured = socket.last_error();
        // one deadline for all small reads of the handshake
        socket.set_deadline(1);
        // Certificates and SNI have no dot at the end of an absolute name (RFC 6066 §3)
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut stream = match self.connector.connect(name, Records::new(socket)) {
            Ok(stream) => stream,
            Err(HandshakeError::Failure(error)) => {
                let failure = captured
                    .take()
                    .map_or_else(|| Failure::of(&error), Failure::Socket);
                let is_untrusted = matches!(failure, Failure::Untrusted(_));
                let error = failure.describe(host, name);
                return Err(if is_untrusted && self.lacks_authorities {
                    error
                        .with_fact("this machine has no certificate authorities")
                        .with_hint(AUTHORITIES_HINT)
                        .with_url_hint(AUTHORITIES_HINT)
                } else {
                    error
                });
            }
            Err(HandshakeError::WouldBlock(_)) => {
                return Err(Error::new(Kind::Bug, "a blocking socket did not block"));
            }
        };
        stream.get_mut().socket_mut().clear_deadline();
        self.check.verify(&stream, name, host)?;
        Ok(Stream::Tls(Box::new(stream), captured))
    }
}

impl Check {
    /// Verifies the certificate of a stream to `name`, which messages call `host`.
    fn verify(self, stream: &TlsStream<Records>, name: &str, host: &str) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Name if name.parse::<IpAddr>().is_ok() || names_a_host(stream) => Ok(()),
            Self::Name => Err(Error::new(
                Kind::Denied,
                format!("the certificate of {host} has no host name in subjectAltName"),
            )
            .with_fact("its common name is not compared with the host (RFC 9525)")
            .with_hint(PIN_HINT)
            .with_url_hint(PIN_URL_HINT)),
            Self::Pin(pin) => {
                let found = certificate(stream);
                if found.as_ref().map(|certificate| certificate.sha256) == Some(pin) {
                    return Ok(());
                }
                let found = found.map_or_else(|| "none".into(), |certificate| certificate.pin());
                Err(Error::new(
                    Kind::Denied,
                    format!("the certificate of {host} does not match `tls-pin`"),
                )
                .with_fact(format!("the server's certificate: {found}"))
                .with_hint("if the certificate was renewed on purpose, update `tls-pin`"))
            }
        }
    }
}

/// Returns whether the certificate of a stream has a host name in subjectAltName.
fn names_a_host(stream: &TlsStream<Records>) -> bool {
    let certificate = stream.peer_certificate().ok().flatten();
    let names = certificate
        .and_then(|certificate| X509::from_der(&certificate.to_der().ok()?).ok())
        .and_then(|certificate| certificate.subject_alt_names());
    names.is_some_and(|names| names.iter().any(|name| name.dnsname().is_some()))
}

/// The hint about a certificate that its operator should replace.
const PIN_HINT: &str = "ask the server's operator for another certificate, or verify the one that \
                        `pouch check` shows and set `tls-pin` to it";

/// The same for an account that is given as a URL.
const PIN_URL_HINT: &str = "ask the server's operator for another certificate, or create a config \
                            with `tls-pin` for it: `pouch config sample`";

/// The hint on a machine without certificate authorities.
const AUTHORITIES_HINT: &str = "install the certificate authorities of your distribution, usually the package `ca-certificates`";

/// Returns the server's certificate, or `None` if there is none or it cannot be read.
pub(super) fn certificate(stream: &TlsStream<Records>) -> Option<Certificate> {
    let certificate = stream.peer_certificate().ok()??;
    Some(Certificate::new(&certificate.to_der().ok()?))
}

/// The largest file with certificates or a key that is read, in bytes.
const MAX_PEM: u64 = 64 << 20;

/// Reads the file at `path`, which the config key `key` names.
fn read(path: &Path, key: &str) -> Result<Vec<u8>> {
    files::read(path, MAX_PEM).map_err(|error| {
        Error::new(Kind::Config, format!("cannot read {}", path.display()))
            .with_fact(error.to_string())
            .with_hint(format!("check the path in `{key}`"))
    })
}

/// The number of OpenSSL's TLS library (`openssl/err.h`).
const ERR_LIB_SSL: i32 = 20;

/// Reason codes of that library (`openssl/sslerr.h`).
mod reasons {
    pub(super) const CERTIFICATE_VERIFY_FAILED: i32 = 134;
    pub(super) const NO_PROTOCOLS_AVAILABLE: i32 = 191;
    pub(super) const PACKET_LENGTH_TOO_LONG: i32 = 198;
    pub(super) const UNSUPPORTED_PROTOCOL: i32 = 258;
    pub(super) const WRONG_VERSION_NUMBER: i32 = 267;
    pub(super) const UNEXPECTED_EOF_WHILE_READING: i32 = 294;
    pub(super) const RECORD_LAYER_FAILURE: i32 = 313;
    pub(super) const DH_KEY_TOO_SMALL: i32 = 394;
    pub(super) const VERSION_TOO_LOW: i32 = 396;
    pub(super) const CA_KEY_TOO_SMALL: i32 = 397;
    pub(super) const CA_MD_TOO_WEAK: i32 = 398;
    pub(super) const EE_KEY_TOO_SMALL: i32 = 399;
    pub(super) const ALERT_HANDSHAKE_FAILURE: i32 = 1040;
    pub(super) const ALERT_PROTOCOL_VERSION: i32 = 1070;
}

/// The reason why a handshake failed.
#[derive(Debug)]
enum Failure {
    /// The socket failed.
    Socket(io::Error),
    /// OpenSSL did not trust the certificate. native-tls passes on the reason as text only.
    Untrusted(String),
    /// The server sent something other than TLS.
    NotTls(String),
    /// The server has only versions of TLS that are not secure.
    OldVersion(String),
    /// The server has only keys or algorithms that are not secure.
    Weak(String),
    /// The server closed the connection.
    Closed(String),
    /// Anything else.
    Other(String),
}

impl Failure {
    /// Returns the failure that an error of native-tls describes.
    fn of(error: &native_tls::Error) -> Self {
        let detail = openssl_said(error);
        let Some(stack) = error
            .source()
            .and_then(|source| source.downcast_ref::<ErrorStack>())
        else {
            // OpenSSL before version 3 has no error for a closed connection
            return Self::Closed(detail);
        };
        let found = stack
            .errors()
            .iter()
            .filter(|error| error.library_code() == ERR_LIB_SSL)
            .find_map(|error| Self::from_reason(error.reason_code()));
        found.unwrap_or(Self::Other)(detail)
    }

    /// Returns the variant for a reason code of [`ERR_LIB_SSL`], or `None` if there is none.
    fn from_reason(code: i32) -> Option<fn(String) -> Self> {
        match code {
            reasons::CERTIFICATE_VERIFY_FAILED => Some(Self::Untrusted),
            reasons::WRONG_VERSION_NUMBER
            | reasons::PACKET_LENGTH_TOO_LONG
            | reasons::RECORD_LAYER_FAILURE => Some(Self::NotTls),
            reasons::UNEXPECTED_EOF_WHILE_READING => Some(Self::Closed),
            reasons::NO_PROTOCOLS_AVAILABLE
            | reasons::UNSUPPORTED_PROTOCOL
            | reasons::VERSION_TOO_LOW
            | reasons::ALERT_PROTOCOL_VERSION => Some(Self::OldVersion),
            reasons::DH_KEY_TOO_SMALL
            | reasons::CA_KEY_TOO_SMALL
            | reasons::CA_MD_TOO_WEAK
            | reasons::EE_KEY_TOO_SMALL
            | reasons::ALERT_HANDSHAKE_FAILURE => Some(Self::Weak),
            _ => None,
        }
    }

    /// Returns the error for the user.
    fn describe(self, host: &str, name: &str) -> Error {
        match self {
            Self::Socket(error) => {
                let (kind, what) = if error.kind() == io::ErrorKind::TimedOut {
                    (Kind::TimedOut, format!("{host} did not respond in time"))
                } else {
                    (
                        Kind::ConnectionLost,
                        format!("the connection to {host} was lost"),
                    )
                };
                Error::new(kind, what).with_fact(format!("TLS handshake: {error}"))
            }
            Self::Untrusted(detail) => untrusted(host, name, &detail),
            Self::NotTls(detail) => Error::new(
                Kind::NotPop3,
                format!("{host} does not speak TLS on this port"),
            )
            .with_fact(detail)
            .with_hint(
                "check `port` and `tls`: port 995 needs tls = \"implicit\", port 110 \"starttls\"",
            )
            .with_url_hint(URL_HINT),
            Self::OldVersion(detail) => Error::new(
                Kind::Unavailable,
                format!("{host} has no TLS version that pouch accepts"),
            )
            .with_fact(detail)
            .with_hint("ask the server's operator to enable TLS 1.2 or 1.3; older versions are not secure"),
            Self::Weak(detail) => Error::new(
                Kind::Unavailable,
                format!("{host} has no TLS cipher or key that this machine accepts"),
            )
            .with_fact(detail)
            .with_hint(
                "ask the server's operator to enable current ciphers and longer keys; this machine's \
                 limits are in openssl.cnf (MinProtocol, CipherString)",
            ),
            Self::Closed(detail) => Error::new(
                Kind::ConnectionLost,
                format!("{host} closed the connection during the TLS handshake"),
            )
            .with_fact(detail),
            Self::Other(detail) => {
                Error::new(Kind::Unavailable, format!("TLS with {host} failed")).with_fact(detail)
            }
        }
    }
}

/// Returns the error about an untrusted certificate. OpenSSL's text selects the words only, not the
/// kind.
fn untrusted(host: &str, name: &str, detail: &str) -> Error {
    let lower = detail.to_ascii_lowercase();
    let denied = |what: String| Error::new(Kind::Denied, what).with_fact(detail);
    if lower.contains("hostname mismatch") || lower.contains("ip address mismatch") {
        denied(format!("the certificate is not for {name}"))
            .with_hint(if name == host.strip_suffix('.').unwrap_or(host) {
                "set `host` to a name the certificate is issued for; through a tunnel, set \
                 `tls-server-name` to it"
            } else {
                "set `tls-server-name` to a name the certificate is issued for"
            })
            .with_url_hint("use a name in the URL that the certificate is issued for")
    } else if lower.contains("not yet valid") {
        denied(format!("the certificate of {host} is not valid yet"))
            .with_hint("check this machine's clock, which may be slow")
    } else if lower.contains("too weak") {
        denied(format!(
            "the certificate of {host} has a key or signature that is too weak"
        ))
        .with_hint(PIN_HINT)
        .with_url_hint(PIN_URL_HINT)
    } else if lower.contains("expired") {
        denied(format!("the certificate of {host} has expired")).with_hint(
            "check this machine's clock, or ask the server's operator to renew the certificate",
        )
    } else {
        denied(format!("the certificate of {host} is not trusted"))
            .with_hint(
                "set `tls-ca-file` to its authority, or verify the certificate that `pouch check` \
                 shows and set `tls-pin` to it",
            )
            .with_url_hint(
                "to trust its authority or this certificate, create a config with `tls-ca-file` or \
                 `tls-pin`: `pouch config sample`",
            )
    }
}

/// Returns the end of the validity of a certificate (DER).
fn not_after(der: &[u8]) -> std::result::Result<Timestamp, ErrorStack> {
    let certificate = X509::from_der(der)?;
    let since_1970 = Asn1Time::from_unix(0)?.diff(certificate.not_after())?;
    Ok(Timestamp(
        i64::from(since_1970.days) * 86_400 + i64::from(since_1970.secs),
    ))
}

/// Returns a fact with the words of OpenSSL.
fn openssl_said(error: &native_tls::Error) -> String {
    format!("OpenSSL: {}", reason(&error.to_string()))
}

/// Returns the part of an OpenSSL error for the user: the detail, or else the reason, of
/// `error:CODE:LIBRARY:FUNCTION:REASON:FILE:LINE: (DETAIL)`.
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
    use std::{
        fs,
        io::{Read, Write},
        net::{Shutdown, TcpListener},
        thread,
        time::Duration,
    };

    use openssl::{
        hash::MessageDigest,
        pkey::{PKey, Private},
        rsa::Rsa,
        ssl::{SslAcceptor, SslMethod},
        x509::{X509Builder, X509NameBuilder, extension::SubjectAlternativeName},
    };

    use super::*;
    use crate::sys::interrupt::Interrupt;

    /// Returns the error of a handshake with a server that sends `response` and closes.
    fn handshake_with(response: &'static [u8]) -> Error {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let mut client = listener.accept().unwrap().0;
            client.read_exact(&mut [0; 64]).unwrap();
            client.write_all(response).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            io::copy(&mut client, &mut io::sink())
        });
        let config = TlsConfig::accept_any().unwrap();
        let error = config
            .wrap(connect(port), "localhost", "localhost")
            .err()
            .unwrap();
        let _ = server.join().unwrap();
        error
    }

    fn connect(port: u16) -> Socket {
        let time = Duration::from_mins(1);
        super::super::dial("127.0.0.1", port, time, time, &Interrupt::default()).unwrap()
    }

    #[test]
    fn failed_handshake_has_the_kind_of_its_reason_code() {
        for (response, kind) in [
            (&b"+OK POP3 server ready\r\n"[..], Kind::NotPop3),
            (b"", Kind::ConnectionLost),
            // the alerts `handshake_failure` and `internal_error`
            (b"\x15\x03\x03\x00\x02\x02\x28", Kind::Unavailable),
            (b"\x15\x03\x03\x00\x02\x02\x50", Kind::Unavailable),
        ] {
            assert_eq!(handshake_with(response).kind(), kind, "{response:?}");
        }
    }

    #[test]
    fn old_tls_version_has_its_own_words() {
        // the alert `protocol_version`, and a ServerHello of TLS 1.1
        let hello = b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02\
                      01234567890123456789012345678901\x00\x00\x2f\x00";
        for response in [&b"\x15\x03\x01\x00\x02\x02\x46"[..], hello] {
            let error = handshake_with(response);
            assert_eq!(error.kind(), Kind::Unavailable, "{error}");
            assert!(error.what().contains("no TLS version"), "{error}");
            assert!(error.hint().is_some(), "{error}");
        }
    }

    /// Returns a self-signed certificate for `localhost` with a key of so many bits.
    fn rsa_certificate(bits: u32) -> (X509, PKey<Private>) {
        let key = PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "localhost").unwrap();
        let name = name.build();
        let mut builder = X509Builder::new().unwrap();
        builder.set_version(2).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(&name).unwrap();
        builder.set_pubkey(&key).unwrap();
        let from = Asn1Time::days_from_now(0).unwrap();
        builder.set_not_before(&from).unwrap();
        let until = Asn1Time::days_from_now(1).unwrap();
        builder.set_not_after(&until).unwrap();
        let names = SubjectAlternativeName::new()
            .dns("localhost")
            .build(&builder.x509v3_context(None, None))
            .unwrap();
        builder.append_extension(names).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        (builder.build(), key)
    }

    #[test]
    fn weak_key_can_only_be_pinned() {
        let (certificate, key) = rsa_certificate(1024);
        let roots = tempfile::NamedTempFile::new().unwrap();
        fs::write(roots.path(), certificate.to_pem().unwrap()).unwrap();
        let sha256 = Sha256::digest(certificate.to_der().unwrap()).into();
        let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls()).unwrap();
        acceptor.set_security_level(0);
        acceptor.set_certificate(&certificate).unwrap();
        acceptor.set_private_key(&key).unwrap();
        let acceptor = acceptor.build();
        let handshake = |trust: Trust| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let acceptor = acceptor.clone();
            let server = thread::spawn(move || {
                let client = listener.accept().unwrap().0;
                acceptor.accept(client).is_ok()
            });
            let config = TlsConfig::new(&trust, None, &SystemRoots::default()).unwrap();
            let result = config
                .wrap(connect(port), "localhost", "localhost")
                .map(drop);
            let _ = server.join().unwrap();
            result
        };
        let error = handshake(Trust::CaFile(roots.path().to_owned())).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        assert!(error.what().contains("too weak"), "{error}");
        assert!(error.hint().unwrap().contains("tls-pin"), "{error}");
        handshake(Trust::Pin(sha256)).unwrap();
    }

    #[test]
    fn detail_or_reason_is_found_in_text() {
        let wrong_port = "error:0A00010B:SSL routines:ssl3_get_record:wrong version number:\
                          ../ssl/record/ssl3_record.c:354:";
        assert_eq!(reason(wrong_port), "wrong version number");
        let untrusted = "error:0A000086:SSL routines:tls_post_process_server_certificate:\
                         certificate verify failed:../ssl/statem/statem_clnt.c:1889: \
                         (self-signed certificate)";
        assert_eq!(reason(untrusted), "self-signed certificate");
    }

    #[test]
    fn socket_timeout_is_a_timeout() {
        let silent = io::Error::new(io::ErrorKind::TimedOut, "60 s of silence");
        assert_eq!(
            Failure::Socket(silent)
                .describe("pop.example.org", "")
                .kind(),
            Kind::TimedOut
        );
    }

    #[test]
    fn end_of_validity_is_read() {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        for (year, until) in [
            (1969, -86_400),
            (2029, 1_893_369_600),
            (2199, 7_258_032_000),
        ] {
            params.not_before = rcgen::date_time_ymd(1960, 1, 1);
            params.not_after = rcgen::date_time_ymd(year, 12, 31);
            let own = params.self_signed(&key).unwrap();
            assert_eq!(not_after(own.der()).unwrap(), Timestamp(until), "{year}");
        }
        assert!(not_after(b"no certificate").is_err());
    }

    #[test]
    fn absolute_host_name_matches_certificate_without_dot() {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (pem, key) = (own.cert.pem(), own.signing_key.serialize_pem());
        let roots = tempfile::NamedTempFile::new().unwrap();
        fs::write(roots.path(), &pem).unwrap();
        let identity = Identity::from_pkcs8(pem.as_bytes(), key.as_bytes()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let acceptor = native_tls::TlsAcceptor::new(identity).unwrap();
            acceptor.accept(listener.accept().unwrap().0).is_ok()
        });
        let config = TlsConfig::new(
            &Trust::CaFile(roots.path().to_owned()),
            None,
            &SystemRoots::default(),
        )
        .unwrap();
        assert!(
            config
                .wrap(connect(port), "127.0.0.1", "localhost.")
                .is_ok()
        );
        assert!(server.join().unwrap());
    }
}
