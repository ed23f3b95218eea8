//! Valid and invalid certificates, created for each server.

use std::fmt::Write as _;

use native_tls::{Identity, TlsAcceptor};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use sha2::{Digest, Sha256};

/// The kind of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Valid for `localhost` and 127.0.0.1, and signed by the CA of the server.
    Good,
    /// Valid for this host, and signed by the CA of the server.
    For(&'static str),
    /// Expired years ago.
    Expired,
    /// It begins to be valid in many years.
    NotYetValid,
    /// It is for another host.
    WrongHost,
    /// Signed by a CA that the client does not trust.
    OtherAuthority,
    /// Self-signed.
    SelfSigned,
    /// Issued for another host, with this host as the common name (RFC 9525 §2).
    NameInCommonName,
    /// It has no subjectAltName, and the host's name as its common name.
    WithoutNames,
    /// It names the host, and not the address.
    WithoutAddress,
    /// Signed by an intermediate CA that the server does not send.
    WithoutIntermediate,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    /// The CA for clients to trust.
    pub(super) ca_pem: String,
    /// The SHA-256 fingerprint of the certificate, in hexadecimal.
    pub(super) sha256: String,
    pem: String,
    key_pem: String,
}

impl Certificate {
    /// Creates a certificate of this kind, with its key and its CA.
    pub(super) fn issue(self) -> Credentials {
        self.try_issue().expect("rcgen makes certificates")
    }

    fn try_issue(self) -> Result<Credentials, rcgen::Error> {
        let (ca_pem, trusted) = authority()?;
        let (_, other) = authority()?;
        let key = KeyPair::generate()?;
        let certificate = match self {
            Self::Good
            | Self::For(_)
            | Self::Expired
            | Self::NotYetValid
            | Self::WithoutNames
            | Self::WrongHost
            | Self::NameInCommonName
            | Self::WithoutAddress => self.params()?.signed_by(&key, &trusted)?,
            Self::WithoutIntermediate => {
                self.params()?.signed_by(&key, &intermediate(&trusted)?)?
            }
            Self::OtherAuthority => self.params()?.signed_by(&key, &other)?,
            Self::SelfSigned => self.params()?.self_signed(&key)?,
        };
        let mut sha256 = String::new();
        for octet in Sha256::digest(certificate.der()) {
            write!(sha256, "{octet:02x}").expect("a String takes everything");
        }
        Ok(Credentials {
            ca_pem,
            sha256,
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    fn params(self) -> Result<CertificateParams, rcgen::Error> {
        let names = match self {
            Self::WrongHost | Self::NameInCommonName => vec!["elsewhere.example".to_owned()],
            Self::For(host) => vec![host.to_owned()],
            Self::WithoutAddress => vec!["localhost".to_owned()],
            Self::WithoutNames => Vec::new(),
            _ => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        };
        let mut params = CertificateParams::new(names)?;
        let name = if matches!(self, Self::NameInCommonName | Self::WithoutNames) {
            "localhost"
        } else {
            "scripted POP3 server"
        };
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = match self {
            Self::NotYetValid => date_time_ymd(2098, 1, 1),
            _ => date_time_ymd(2020, 1, 1),
        };
        params.not_after = match self {
            Self::Expired => date_time_ymd(2021, 1, 1),
            _ => date_time_ymd(2099, 1, 1),
        };
        Ok(params)
    }
}

impl Credentials {
    /// Returns the TLS acceptor for this certificate.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Identity::from_pkcs8(self.pem.as_bytes(), self.key_pem.as_bytes())
            .and_then(TlsAcceptor::new)
            .expect("native-tls takes what rcgen makes")
    }
}

fn intermediate(above: &Issuer<'_, KeyPair>) -> Result<Issuer<'static, KeyPair>, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "scripted intermediate authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    params.signed_by(&key, above)?;
    Ok(Issuer::new(params, key))
}

fn authority() -> Result<(String, Issuer<'static, KeyPair>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "scripted authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    let pem = params.self_signed(&key)?.pem();
    Ok((pem, Issuer::new(params, key)))
}
