//! The choice of the login mechanism.
//!
//! A mechanism either sends the secret, or proves that the client knows it. With `auth = "auto"`, a
//! password is proven by SCRAM if the server offers that, and sent otherwise.
//!
//! # Fallback
//!
//! The list of mechanisms is the server's, not that of the account. Dovecot offers SCRAM for all
//! users, and refuses it before it has sent a challenge to a user whose password is stored as a
//! hash of another kind. Such a user can log in only by a mechanism that sends the password, so one
//! of those follows. SCRAM-SHA-1 is skipped then: each refusal is a failed login that the server
//! may count, and the server can verify a password that it gets whatever it has stored. The
//! mechanism that worked is remembered (see [`domain::login`](crate::domain::login)), so that later
//! runs cause no failed login.
//!
//! # Without TLS
//!
//! An attacker on the network can change the list and the responses. The password is therefore
//! never sent without TLS, unless the user allowed that. TLS protects the list. Remembering the
//! best mechanism ever offered was rejected: it would cause errors when a server is replaced, and
//! `auth = "scram-sha-256"` gives certainty.

/// A login mechanism: of SASL (RFC 4422, RFC 5034) or of POP3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// SASL SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// SASL SCRAM-SHA-1 (RFC 5802).
    ScramSha1,
    /// SASL PLAIN (RFC 4616).
    Plain,
    /// SASL LOGIN.
    Login,
    /// USER and PASS (RFC 1939 §7).
    User,
    /// SASL CRAM-MD5 (RFC 2195).
    CramMd5,
    /// APOP (RFC 1939 §7).
    Apop,
    /// SASL EXTERNAL (RFC 4422 appendix A).
    External,
    /// SASL XOAUTH2, the predecessor of OAUTHBEARER by Google and Microsoft.
    XOAuth2,
    /// SASL OAUTHBEARER (RFC 7628).
    OAuthBearer,
}

/// A kind of secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// A password.
    Password,
    /// An access token of OAuth 2.0.
    Token,
    /// A client certificate.
    Certificate,
}

impl SecretKind {
    /// Returns the name of the kind in messages.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Token => "token",
            Self::Certificate => "certificate",
        }
    }
}

impl Mechanism {
    /// All mechanisms.
    pub const ALL: [Self; 10] = [
        Self::ScramSha256,
        Self::ScramSha1,
        Self::Plain,
        Self::Login,
        Self::User,
        Self::CramMd5,
        Self::Apop,
        Self::External,
        Self::XOAuth2,
        Self::OAuthBearer,
    ];

    /// Returns the name of the mechanism, as servers announce it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::User => "USER",
            Self::CramMd5 => "CRAM-MD5",
            Self::Apop => "APOP",
            Self::External => "EXTERNAL",
            Self::XOAuth2 => "XOAUTH2",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }

    /// Returns the mechanism of this name, or `None` if pouch does not support it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Returns the kind of secret that the mechanism needs.
    pub fn secret(self) -> SecretKind {
        match self {
            Self::ScramSha256
            | Self::ScramSha1
            | Self::Plain
            | Self::Login
            | Self::User
            | Self::CramMd5
            | Self::Apop => SecretKind::Password,
            Self::XOAuth2 | Self::OAuthBearer => SecretKind::Token,
            Self::External => SecretKind::Certificate,
        }
    }

    /// Returns whether an eavesdropper learns the secret.
    pub fn sends_secret(self) -> bool {
        match self {
            Self::Plain | Self::Login | Self::User | Self::XOAuth2 | Self::OAuthBearer => true,
            Self::ScramSha256 | Self::ScramSha1 | Self::CramMd5 | Self::Apop | Self::External => {
                false
            }
        }
    }

    /// Returns whether the mechanism is one of SCRAM.
    pub fn is_scram(self) -> bool {
        matches!(self, Self::ScramSha256 | Self::ScramSha1)
    }

    /// Returns whether the mechanism is one of SASL, which CAPA announces under that name.
    pub fn is_sasl(self) -> bool {
        !matches!(self, Self::User | Self::Apop)
    }
}

/// The configured mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// The best one that the server offers for the secret.
    Auto,
    /// This one.
    Only(Mechanism),
}

/// The mechanisms that a server announces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer<'a> {
    /// The names of the SASL mechanisms.
    pub sasl: Vec<&'a str>,
    /// Whether USER is announced.
    pub user: bool,
}

impl Offer<'_> {
    /// Returns whether the mechanism is announced.
    pub fn has(&self, mechanism: Mechanism) -> bool {
        if mechanism == Mechanism::User {
            return self.user;
        }
        let name = mechanism.name();
        let announced = |other: &&str| other.eq_ignore_ascii_case(name);
        mechanism.is_sasl() && self.sasl.iter().any(announced)
    }

    /// Returns those of the mechanisms that are announced.
    fn of(&self, mechanisms: &[Mechanism]) -> impl Iterator<Item = Mechanism> {
        let announced = mechanisms.iter().filter(|mechanism| self.has(**mechanism));
        announced.copied()
    }
}

/// The constraints on the choice, besides the mechanisms that the server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// The configured mechanism.
    pub auth: Auth,
    /// The kind of the account's secret.
    pub secret: SecretKind,
    /// Whether the secret may be sent: the connection is encrypted, or the user allowed it.
    pub may_send_secret: bool,
    /// Whether each server hashes the password in the same way for SCRAM.
    pub is_unambiguous: bool,
    /// The mechanism that worked after another one was refused.
    pub remembered: Option<Mechanism>,
}

/// The reason why no mechanism can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsuitable {
    /// The server offers none that pouch has for a secret of this kind.
    NotOffered(SecretKind),
    /// A secret of this kind would be sent without encryption.
    Unencrypted(SecretKind),
    /// The configured mechanism needs a secret of another kind.
    OtherSecret(Mechanism),
}

/// Returns the mechanisms to try, in this order. Each one after the first is tried only if the one
/// before it was refused, and not the secret.
///
/// # Errors
/// No mechanism can be used.
pub fn mechanisms(offer: &Offer<'_>, conditions: Conditions) -> Result<Vec<Mechanism>, Unsuitable> {
    let mut found = match (conditions.auth, conditions.secret) {
        (Auth::Only(mechanism), secret) if mechanism.secret() != secret => {
            return Err(Unsuitable::OtherSecret(mechanism));
        }
        (Auth::Only(mechanism), _) => vec![mechanism],
        (Auth::Auto, SecretKind::Password) => for_password(offer, conditions),
        (Auth::Auto, SecretKind::Token) => for_token(offer),
        (Auth::Auto, SecretKind::Certificate) => vec![Mechanism::External],
    };
    if found.is_empty() {
        return Err(Unsuitable::NotOffered(conditions.secret));
    }
    if !conditions.may_send_secret {
        found.retain(|mechanism| !mechanism.sends_secret());
    }
    if found.is_empty() {
        return Err(Unsuitable::Unencrypted(conditions.secret));
    }
    let remembered = found
        .iter()
        .position(|mechanism| Some(*mechanism) == conditions.remembered);
    found.drain(..remembered.unwrap_or(0));
    Ok(found)
}

/// Returns the mechanisms for a password: one that proves it, and two that send it, because some
/// servers announce PLAIN and have it disabled.
///
/// USER is tried if nothing is announced: popa3d has no CAPA, and some servers with CAPA omit the
/// capability USER.
fn for_password(offer: &Offer<'_>, conditions: Conditions) -> Vec<Mechanism> {
    let scram = offer.of(&[Mechanism::ScramSha256, Mechanism::ScramSha1]);
    let plain = offer.of(&[Mechanism::Plain, Mechanism::Login]).next();
    let user = (offer.user || offer.sasl.is_empty()).then_some(Mechanism::User);
    let sending: Vec<_> = plain.into_iter().chain(user).collect();
    let proofs = match (conditions.may_send_secret, sending.is_empty()) {
        (false, _) | (true, true) => 2,
        (true, false) => usize::from(conditions.is_unambiguous),
    };
    scram.take(proofs).chain(sending).collect()
}

/// Returns the mechanisms for a token. XOAUTH2 is tried if nothing is announced.
fn for_token(offer: &Offer<'_>) -> Vec<Mechanism> {
    if offer.sasl.is_empty() {
        return vec![Mechanism::XOAuth2];
    }
    let mechanisms = [Mechanism::XOAuth2, Mechanism::OAuthBearer];
    offer.of(&mechanisms).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the mechanisms for these SASL mechanisms of a server, and `USER` if it is among
    /// them.
    fn choose(announced: &str, conditions: Conditions) -> String {
        let mut sasl: Vec<_> = announced.split_whitespace().collect();
        let user = sasl.contains(&"USER");
        sasl.retain(|name| *name != "USER");
        match mechanisms(&Offer { sasl, user }, conditions) {
            Ok(found) => {
                let names: Vec<_> = found.iter().map(|mechanism| mechanism.name()).collect();
                names.join(" ")
            }
            Err(error) => format!("{error:?}"),
        }
    }

    const PASSWORD: Conditions = Conditions {
        auth: Auth::Auto,
        secret: SecretKind::Password,
        may_send_secret: true,
        is_unambiguous: true,
        remembered: None,
    };

    const ALL: &str = "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 XOAUTH2 USER";

    #[test]
    fn password_is_proven_if_possible_and_then_sent() {
        let auto = |announced| choose(announced, PASSWORD);
        assert_eq!(auto(ALL), "SCRAM-SHA-256 PLAIN USER");
        assert_eq!(auto("LOGIN scram-sha-1"), "SCRAM-SHA-1 LOGIN");
        assert_eq!(
            auto("SCRAM-SHA-1 SCRAM-SHA-256"),
            "SCRAM-SHA-256 SCRAM-SHA-1"
        );
        assert_eq!(auto("PLAIN"), "PLAIN");
        assert_eq!(auto("LOGIN plain USER"), "PLAIN USER");
        assert_eq!(auto("LOGIN"), "LOGIN");
        assert_eq!(auto("XOAUTH2 USER"), "USER");
        assert_eq!(auto(""), "USER");
        assert_eq!(auto("XOAUTH2 CRAM-MD5"), "NotOffered(Password)");
    }

    #[test]
    fn password_that_servers_may_hash_differently_is_sent() {
        let conditions = Conditions {
            is_unambiguous: false,
            ..PASSWORD
        };
        assert_eq!(choose(ALL, conditions), "PLAIN USER");
        assert_eq!(choose("SCRAM-SHA-256", conditions), "SCRAM-SHA-256");
    }

    #[test]
    fn password_is_not_sent_without_encryption() {
        for is_unambiguous in [false, true] {
            let conditions = Conditions {
                may_send_secret: false,
                is_unambiguous,
                remembered: Some(Mechanism::Plain),
                ..PASSWORD
            };
            let unencrypted = |announced| choose(announced, conditions);
            assert_eq!(unencrypted(ALL), "SCRAM-SHA-256 SCRAM-SHA-1");
            assert_eq!(unencrypted("PLAIN LOGIN USER"), "Unencrypted(Password)");
            assert_eq!(unencrypted(""), "Unencrypted(Password)");
        }
    }

    #[test]
    fn remembered_mechanism_is_the_first() {
        let remembering = |announced, mechanism| {
            choose(
                announced,
                Conditions {
                    remembered: Some(mechanism),
                    ..PASSWORD
                },
            )
        };
        assert_eq!(remembering(ALL, Mechanism::Plain), "PLAIN USER");
        assert_eq!(remembering(ALL, Mechanism::User), "USER");
        assert_eq!(
            remembering(ALL, Mechanism::Login),
            "SCRAM-SHA-256 PLAIN USER"
        );
        assert_eq!(remembering("SCRAM-SHA-1", Mechanism::Plain), "SCRAM-SHA-1");
    }

    #[test]
    fn token_is_sent_by_what_the_server_announces() {
        let conditions = Conditions {
            secret: SecretKind::Token,
            ..PASSWORD
        };
        let auto = |announced| choose(announced, conditions);
        assert_eq!(auto("PLAIN XOAUTH2"), "XOAUTH2");
        assert_eq!(auto("OAUTHBEARER XOAUTH2 USER"), "XOAUTH2 OAUTHBEARER");
        assert_eq!(auto("OAUTHBEARER"), "OAUTHBEARER");
        assert_eq!(auto("USER"), "XOAUTH2");
        assert_eq!(auto("PLAIN SCRAM-SHA-256"), "NotOffered(Token)");
    }

    #[test]
    fn configured_mechanism_is_used_whatever_is_announced() {
        for mechanism in Mechanism::ALL {
            let mut conditions = Conditions {
                auth: Auth::Only(mechanism),
                secret: mechanism.secret(),
                ..PASSWORD
            };
            assert_eq!(choose("", conditions), mechanism.name());
            assert_eq!(Mechanism::named(mechanism.name()), Some(mechanism));
            conditions.may_send_secret = false;
            let expected = if mechanism.sends_secret() {
                format!("Unencrypted({:?})", mechanism.secret())
            } else {
                mechanism.name().to_owned()
            };
            assert_eq!(choose(ALL, conditions), expected);
            conditions.secret = match mechanism.secret() {
                SecretKind::Password => SecretKind::Token,
                SecretKind::Token | SecretKind::Certificate => SecretKind::Password,
            };
            let expected = format!("OtherSecret({mechanism:?})");
            assert_eq!(choose(ALL, conditions), expected);
        }
    }
}
