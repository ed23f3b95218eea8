//! SASL mechanisms (RFC 4422, RFC 5034).
//!
//! Each mechanism is an [`Exchange`]: it gets the challenges of the server, and returns the
//! responses. It neither reads nor writes, so that the examples of the RFCs are its tests.
//!
//! The crate `rsasl` was rejected. It has no CRAM-MD5, computes whatever number of iterations the
//! server asks for, takes passwords only in UTF-8, and brings a second implementation of each hash
//! that OpenSSL, which is linked for TLS anyway, has.

pub mod bearer;
pub mod external;
pub mod login;
pub mod md5;
pub mod plain;
pub mod scram;

use base64::{
    Engine,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD},
};
use base64::{alphabet, engine::DecodePaddingMode};
use zeroize::Zeroizing;

use crate::domain::auth::{Auth, Mechanism, SecretKind};

/// Base64 as servers send it: some omit the padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The credentials for a login.
pub struct Credentials<'a> {
    /// The login name.
    pub user: &'a str,
    /// The secret.
    pub secret: Secret<'a>,
    /// The configured mechanism.
    pub auth: Auth,
    /// The name or address of the server, as configured.
    pub host: &'a str,
    /// The port of the server.
    pub port: u16,
    /// Whether the connection is encrypted.
    pub is_encrypted: bool,
    /// Whether the user allowed sending the secret without encryption.
    pub allow_unencrypted: bool,
    /// The mechanism that worked after another one was refused.
    pub remembered: Option<Mechanism>,
}

/// The secret of a login, in the encoding of its source.
#[derive(Clone, Copy)]
pub enum Secret<'a> {
    /// A password.
    Password(&'a [u8]),
    /// An access token of OAuth 2.0.
    Token(&'a [u8]),
    /// The client certificate of the connection.
    Certificate,
}

impl<'a> Secret<'a> {
    /// Returns the secret.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Password(secret) | Self::Token(secret) => secret,
            Self::Certificate => b"",
        }
    }

    /// Returns the kind of the secret.
    pub fn kind(self) -> SecretKind {
        match self {
            Self::Password(_) => SecretKind::Password,
            Self::Token(_) => SecretKind::Token,
            Self::Certificate => SecretKind::Certificate,
        }
    }
}

/// A response of the client, before it is encoded.
pub struct Response {
    /// What is sent.
    pub text: Zeroizing<Vec<u8>>,
    /// Whether the server can tell from it that the secret is wrong, and count a failed login.
    pub has_secret: bool,
}

impl Response {
    /// Returns a response that contains the secret, or a proof that the client knows it.
    pub(super) fn secret(text: Vec<u8>) -> Self {
        Self {
            text: Zeroizing::new(text),
            has_secret: true,
        }
    }

    /// Returns a response that does not contain the secret.
    pub(super) fn public(text: &[u8]) -> Self {
        Self {
            text: Zeroizing::new(text.to_vec()),
            has_secret: false,
        }
    }

    /// Returns the response in base64.
    pub fn encoded(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(&*self.text))
    }
}

/// The reason why an exchange cannot continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server sent a challenge although the exchange is complete.
    Unexpected,
    /// The challenge is invalid, for this reason.
    Invalid(String),
    /// The server did not prove that it knows the password.
    NotProven,
    /// OpenSSL failed.
    Crypto(String),
}

/// The client's side of a mechanism.
pub trait Exchange {
    /// Returns the first response, or `None` if the server sends a challenge first.
    fn initial(&mut self) -> Option<Response>;

    /// Returns whether the first response may be sent with the command AUTH (RFC 5034 §4).
    fn may_send_early(&self) -> bool {
        true
    }

    /// Returns the response to a challenge: what the server sent after the plus.
    ///
    /// # Errors
    /// The exchange cannot continue.
    fn respond(&mut self, challenge: &[u8]) -> Result<Response, Fault>;

    /// Verifies that the server may report success now.
    ///
    /// # Errors
    /// The server has not done its part.
    fn finish(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// Returns the error that the server sent as a challenge, or `None` if it sent none.
    fn server_error(&self) -> Option<&[u8]> {
        None
    }
}

/// Returns the exchange of a mechanism, or `None` if it is not one of SASL or needs another secret.
pub fn exchange(mechanism: Mechanism, credentials: &Credentials<'_>) -> Option<Box<dyn Exchange>> {
    let user = credentials.user;
    let scram = |hash, password| scram::Scram::new(hash, user, password, credentials.is_encrypted);
    match (mechanism, credentials.secret) {
        (Mechanism::ScramSha256, Secret::Password(password)) => {
            Some(Box::new(scram(scram::Hash::Sha256, password)))
        }
        (Mechanism::ScramSha1, Secret::Password(password)) => {
            Some(Box::new(scram(scram::Hash::Sha1, password)))
        }
        (Mechanism::Login, Secret::Password(password)) => {
            Some(Box::new(login::Login::new(user, password)))
        }
        (Mechanism::CramMd5, Secret::Password(password)) => {
            Some(Box::new(md5::CramMd5::new(user, password)))
        }
        (Mechanism::External, Secret::Certificate) => Some(Box::new(external::External::new(user))),
        (Mechanism::Plain, Secret::Password(password)) => {
            Some(Box::new(plain::Plain::new(user, password)))
        }
        (Mechanism::XOAuth2, Secret::Token(token)) => {
            Some(Box::new(bearer::Bearer::xoauth2(user, token)))
        }
        (Mechanism::OAuthBearer, Secret::Token(token)) => {
            let server = (credentials.host, credentials.port);
            Some(Box::new(bearer::Bearer::oauthbearer(user, server, token)))
        }
        _ => None,
    }
}

/// Returns a decoded challenge, or `None` if it is not base64.
fn decoded(challenge: &[u8]) -> Option<Vec<u8>> {
    LENIENT.decode(challenge.trim_ascii()).ok()
}
