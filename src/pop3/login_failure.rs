//! The reason for a failed login, and what the server has learned about the secret.

use super::{
    command::Command,
    refused::login_refused,
    reply::{Capabilities, Code, Refusal, quoted},
    sasl::Fault,
};
use crate::{
    domain::auth::{Mechanism, Offer, SecretKind, Unsuitable},
    error::{Error, Kind},
    text::sanitize,
};

/// The length in bytes of a line that some servers reject. Dovecot accepts 8192.
const LONG_LINE: usize = 8000;

/// A failed login: the error, and what happened to the secret.
///
/// A server, or fail2ban next to it, counts logins that fail, so the caller must know which ones
/// could be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginFailure {
    /// The error.
    pub error: Error,
    /// What the server has learned.
    pub secret: SecretStatus,
}

impl LoginFailure {
    /// Returns the failure of a step before the secret was sent.
    pub fn unsent(error: Error) -> Self {
        Self {
            error,
            secret: SecretStatus::Unsent,
        }
    }
}

/// The status of the secret after a login that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretStatus {
    /// It was not sent.
    Unsent,
    /// It was sent or proven, and the response did not show whether it is right.
    Sent,
    /// The server refused the login, which is not expected to succeed with the same secret. The
    /// refusal may have followed the user name, before the secret was sent.
    Refused,
    /// The secret is right, and something else failed.
    Accepted,
}

/// A login that the server refused.
pub(super) struct RefusedAttempt<'a> {
    /// The server's name.
    pub(super) peer: &'a str,
    /// The mechanism that was used last.
    pub(super) mechanism: Mechanism,
    /// The server's capabilities, or `None` if it does not support CAPA.
    pub(super) capabilities: Option<&'a Capabilities>,
    /// The response.
    pub(super) refusal: &'a Refusal,
    /// The reason that the server gave in a challenge.
    pub(super) reason: Option<String>,
    /// Whether the secret was sent.
    pub(super) secret: SecretStatus,
}

impl RefusedAttempt<'_> {
    /// Returns the failure.
    pub(super) fn failure(self) -> LoginFailure {
        if self.is_about_mechanism() {
            return LoginFailure {
                error: not_offered(self.peer, self.mechanism, self.capabilities)
                    .with_fact(quoted(self.peer, self.refusal)),
                secret: self.secret,
            };
        }
        let known = self.capabilities;
        let codes = known.is_some_and(|known| known.has("AUTH-RESP-CODE"));
        let mut error = login_refused(self.peer, self.refusal, codes, self.mechanism.secret());
        if let Some(reason) = self.reason {
            error = error.with_fact(format!("{} said: {reason}", self.peer));
        }
        if self.mechanism.is_scram() && self.secret == SecretStatus::Unsent {
            error = error.with_fact(format!(
                "the password may be right: it cannot be used with {} if the server has stored it \
                 as another hash",
                self.mechanism.name()
            ));
        }
        let secret = match error.kind() {
            Kind::Denied => SecretStatus::Refused,
            // the response code means that the credentials are right (RFC 2449 §8.1.1)
            _ if self.refusal.code == Some(Code::InUse) => SecretStatus::Accepted,
            _ => self.secret,
        };
        LoginFailure { error, secret }
    }

    /// Returns whether the server lacks the mechanism, which it does not announce either. Dovecot,
    /// Cyrus and Courier refuse it with the code or the text for a wrong password. Some servers
    /// have no mechanism at all, and refuse USER, until TLS is used.
    fn is_about_mechanism(&self) -> bool {
        let offer = offer(self.capabilities);
        if self.mechanism == Mechanism::User {
            return self.capabilities.is_some()
                && !offer.user
                && offer.sasl.is_empty()
                && self.secret == SecretStatus::Unsent
                && !self.refusal.login_sounds_transient();
        }
        let is_token = self.mechanism.secret() == SecretKind::Token;
        self.mechanism.is_sasl()
            && !offer.has(self.mechanism)
            && (is_token || !offer.sasl.is_empty())
            && matches!(self.refusal.code, None | Some(Code::Auth))
            && !self.refusal.login_sounds_transient()
            && (self.secret == SecretStatus::Unsent || self.refusal.names_mechanism())
    }
}

/// Returns the error for a login by `mechanism` that could not be continued.
pub(super) fn broken(peer: &str, mechanism: Mechanism, fault: Fault) -> Error {
    let name = mechanism.name();
    match fault {
        Fault::Unexpected => Error::new(
            Kind::Desynchronized,
            format!("unexpected response from {peer} to {name}"),
        ),
        Fault::Invalid(why) => Error::new(
            Kind::NotPop3,
            format!("{peer} sent an invalid challenge for {name}"),
        )
        .with_fact(why),
        Fault::NotProven => Error::new(
            Kind::Denied,
            format!("{peer} did not prove that it knows the password"),
        )
        .with_fact(format!("its {name} signature is wrong or missing"))
        .with_hint("check `host` and `port`: this may be another server"),
        Fault::Crypto(why) => {
            Error::new(Kind::Bug, format!("cannot compute the response of {name}")).with_fact(why)
        }
    }
}

/// Returns the mechanisms that the capabilities announce.
pub(super) fn offer(capabilities: Option<&Capabilities>) -> Offer<'_> {
    Offer {
        sasl: capabilities
            .map(Capabilities::mechanisms)
            .unwrap_or_default(),
        user: capabilities.is_some_and(|known| known.has("USER")),
    }
}

/// Returns the error for a server that does not offer the configured mechanism.
fn not_offered(peer: &str, mechanism: Mechanism, capabilities: Option<&Capabilities>) -> Error {
    let error = Error::new(
        Kind::Unavailable,
        format!("{peer} does not offer {}", mechanism.name()),
    );
    match offered(capabilities).as_str() {
        "" => error,
        offered => error.with_fact(format!("it offers {offered}")),
    }
}

/// Returns the names of the SASL mechanisms that the server announces.
fn offered(capabilities: Option<&Capabilities>) -> String {
    let names = capabilities.map(Capabilities::mechanisms);
    sanitize(names.unwrap_or_default().join(", ").as_bytes())
}

/// Returns the hint for a server that offers no mechanism for a password.
fn other_login(announced: &Offer<'_>) -> &'static str {
    if announced.has(Mechanism::CramMd5) {
        "set auth = \"cram-md5\", or ask the server's operator to enable SCRAM-SHA-256"
    } else if announced.has(Mechanism::XOAuth2) || announced.has(Mechanism::OAuthBearer) {
        "the server accepts access tokens: set `token-command`"
    } else if announced
        .sasl
        .iter()
        .any(|name| name.eq_ignore_ascii_case("NTLM"))
    {
        "for Exchange, run DavMail on this machine, and set `host` and `port` to it"
    } else {
        "ask the server's operator to enable SCRAM-SHA-256 or PLAIN, or set auth = \"user\" to try \
         USER although it is not announced"
    }
}

/// Returns the error for a server with which no mechanism can be used.
pub(super) fn no_mechanism(
    peer: &str,
    capabilities: Option<&Capabilities>,
    why: Unsuitable,
) -> Error {
    let announced = offer(capabilities);
    let offered = offered(capabilities);
    match why {
        Unsuitable::NotOffered(SecretKind::Password) => Error::new(
            Kind::Unavailable,
            format!("{peer} offers no mechanism that pouch uses by default: {offered}"),
        )
        .with_hint(other_login(&announced)),
        Unsuitable::NotOffered(SecretKind::Certificate) => {
            not_offered(peer, Mechanism::External, capabilities)
        }
        Unsuitable::NotOffered(SecretKind::Token) => Error::new(
            Kind::Unavailable,
            format!("{peer} does not accept tokens: it offers only {offered}"),
        )
        .with_hint(
            "use `password-command` or `password-file` instead, or set auth = \"xoauth2\" to try \
             XOAUTH2 although it is not announced",
        ),
        Unsuitable::Unencrypted(secret) => Error::new(
            Kind::Unavailable,
            format!(
                "{peer} offers no login that protects the {} without TLS",
                secret.noun()
            ),
        )
        .with_hint(
            "set `tls` to \"implicit\" or \"starttls\"; on a trusted network, add \
             `allow-plaintext-password = true`",
        ),
        Unsuitable::OtherSecret(mechanism) => Error::new(
            Kind::Config,
            format!("{} needs a {}", mechanism.name(), mechanism.secret().noun()),
        ),
    }
}

/// Returns the error for a connection that ended during the login, after `command`. Courier
/// disconnects if it cannot read one of the messages, Dovecot if it cannot read the mailbox, or if
/// the line is longer than 8192 bytes.
pub(super) fn lost_during_login(peer: &str, command: Command<'_>) -> Error {
    let error = Error::new(
        Kind::ConnectionLost,
        format!("{peer} closed the connection during login"),
    );
    let length = command.line().len();
    if length > LONG_LINE {
        return error.with_fact(format!(
            "the line with the secret has {length} bytes, which is more than some servers accept"
        ));
    }
    error.with_fact(
        "the password may be right: some servers disconnect when they cannot open the mailbox",
    )
}
