//! The AUTHORIZATION state of a session (RFC 1939 §4): greeting, STLS, capabilities and login.
//!
//! # Security
//!
//! - STLS is sent whether or not the server announces it. Capabilities that arrive in clear text
//!   can be forged, and an attacker who removes STLS from them must not get the password.
//! - Data that arrives in clear text after the response to STLS would be read as if TLS protected
//!   it (CVE-2011-0411). The connection is closed instead.
//! - Servers count failed logins and lock accounts. A second attempt in a session, by USER and PASS,
//!   is made only if the server refused the mechanism PLAIN, and not the credentials. A
//!   [`LoginFailure`] reports whether the secret was sent, so that the caller does not send it
//!   again.

use std::io::{Read, Write};

pub use super::connection::{ConnectionOptions, Trace};
use super::{
    command::{Command, MAX_COMMAND, is_valid_argument},
    connection::{Connection, not_pop3},
    refused::login_refused,
    reply::{Capabilities, Code, Reply, quoted},
    sasl::{self, Credentials, Mechanism},
    transaction::Transaction,
};
use crate::{
    domain::auth::Auth,
    error::{Error, Kind, Result},
    text::sanitize,
};

/// A session before the login.
pub struct Authorization<S> {
    connection: Connection<S>,
}

impl<S: Read + Write> Authorization<S> {
    /// Reads the greeting.
    ///
    /// # Errors
    /// The connection is lost, the server does not speak POP3, or its greeting is `-ERR`.
    pub fn greet(stream: S, options: ConnectionOptions) -> Result<Self> {
        let mut connection = Connection::new(stream, options);
        let reply = connection.greeting()?;
        let peer = connection.peer.as_str();
        match reply {
            Reply::Ok(_) => {}
            Reply::Err(refusal) => {
                let kind = if refusal.code == Some(Code::SysPerm) {
                    Kind::Unavailable
                } else {
                    Kind::Busy
                };
                return Err(Error::new(kind, format!("{peer} rejected the connection"))
                    .with_fact(quoted(peer, &refusal)));
            }
            Reply::Challenge(_) => return Err(not_pop3(peer)),
        }
        Ok(Self { connection })
    }

    /// Starts TLS with STLS (RFC 2595 §4). `wrap` carries out the handshake on the stream.
    ///
    /// # Errors
    /// The server refuses STLS, temporarily ([`Kind::Busy`]) or permanently
    /// ([`Kind::Unavailable`]), or closes the connection; it sent data after the response
    /// ([`Kind::Denied`]); or `wrap` fails.
    pub fn upgrade<T: Read + Write>(
        mut self,
        wrap: impl FnOnce(S) -> Result<T>,
    ) -> Result<Authorization<T>> {
        let peer = self.connection.peer.clone();
        let with_hint = |error: Error| {
            error
                .with_hint("set tls = \"implicit\" (port 995), which most servers support")
                .with_url_hint("use pops:// (port 995), which most servers support")
        };
        let reply = self
            .connection
            .execute(Command::Stls)
            .map_err(|error| match error.kind() {
                // some servers disconnect after an unknown command
                Kind::ConnectionLost => with_hint(error),
                _ => error,
            })?;
        match reply {
            Reply::Ok(_) => {}
            Reply::Err(refusal) if refusal.sounds_transient() => {
                return Err(Error::new(
                    Kind::Busy,
                    format!("TLS is temporarily unavailable on {peer}"),
                )
                .with_fact(quoted(&peer, &refusal)));
            }
            Reply::Err(refusal) => {
                let what = format!("{peer} does not support STARTTLS on this port");
                let error = Error::new(Kind::Unavailable, what);
                return Err(with_hint(error.with_fact(quoted(&peer, &refusal))));
            }
            Reply::Challenge(text) => {
                return Err(self.connection.unexpected(&[b"+ ", &text[..]].concat()));
            }
        }
        if self.connection.has_unread() {
            return Err(Error::new(
                Kind::Denied,
                format!("possible STARTTLS injection on the connection to {peer}"),
            )
            .with_fact("unexpected data after the response to STLS"));
        }
        let (stream, options) = self.connection.into_parts();
        Ok(Authorization {
            connection: Connection::new(wrap(stream)?, options),
        })
    }

    /// Requests the capabilities, and logs in by the best mechanism that the credentials allow.
    ///
    /// # Errors
    /// The credentials cannot be sent ([`Kind::Config`]), the server offers no mechanism that pouch
    /// has ([`Kind::Unavailable`]), it refuses the login, or the connection is lost.
    pub fn login(
        mut self,
        credentials: &Credentials<'_>,
    ) -> std::result::Result<Transaction<S>, LoginFailure> {
        let (capabilities, offer) = self.prepare(credentials).map_err(LoginFailure::unsent)?;
        let (mechanism, attempt) = self.authenticate(credentials, offer)?;
        let connection = self.connection;
        match attempt.reply {
            Reply::Ok(_) => Ok(Transaction::new(connection, capabilities, mechanism)),
            Reply::Err(refusal) => {
                let codes = capabilities
                    .as_ref()
                    .is_some_and(|known| known.has("AUTH-RESP-CODE"));
                let error = login_refused(&connection.peer, &refusal, codes);
                let secret = match error.kind() {
                    Kind::Denied => SecretStatus::Refused,
                    // the response code means that the credentials are right (RFC 2449 §8.1.1)
                    _ if refusal.code == Some(Code::InUse) => SecretStatus::Accepted,
                    _ => attempt.secret,
                };
                Err(LoginFailure { error, secret })
            }
            Reply::Challenge(text) => Err(LoginFailure {
                error: connection.unexpected(&[b"+ ", &text[..]].concat()),
                secret: attempt.secret,
            }),
        }
    }

    /// Verifies that the credentials can be sent, and requests the capabilities.
    fn prepare(
        &mut self,
        credentials: &Credentials<'_>,
    ) -> Result<(Option<Capabilities>, MechanismOffer)> {
        for (what, argument) in [
            ("user name", credentials.user.as_bytes()),
            ("password", credentials.password),
        ] {
            if !is_valid_argument(argument) {
                return Err(Error::new(
                    Kind::Config,
                    format!("the {what} contains a line break or NUL, which POP3 cannot transmit"),
                ));
            }
        }
        self.connection.hide(credentials.password);
        self.connection
            .hide(sasl::plain(credentials.user, credentials.password).as_bytes());
        self.connection.queue(Command::Capa)?;
        self.connection.flush()?;
        let capabilities = self.connection.capabilities()?;
        let offer = choose(credentials.auth, capabilities.as_ref())
            .ok_or_else(|| no_mechanism(&self.connection.peer, capabilities.as_ref()))?;
        Ok((capabilities, offer))
    }

    /// Logs in by the first mechanism of the offer. If the server refuses that mechanism, as those
    /// do that announce it and have it disabled, it continues with the second.
    fn authenticate(
        &mut self,
        credentials: &Credentials<'_>,
        offer: MechanismOffer,
    ) -> std::result::Result<(Mechanism, Attempt), LoginFailure> {
        let plain = match offer {
            MechanismOffer::User => {
                return self
                    .user_pass(credentials)
                    .map(|attempt| (Mechanism::User, attempt));
            }
            MechanismOffer::Plain | MechanismOffer::PlainOrUser => self.sasl_plain(credentials)?,
        };
        if offer != MechanismOffer::PlainOrUser || !plain.calls_for_user() {
            return Ok((Mechanism::Plain, plain));
        }
        let sent = plain.secret;
        match self.user_pass(credentials) {
            Ok(user) => Ok((Mechanism::User, user.after(sent))),
            // some servers disconnect after a command that they do not know
            Err(failure) if failure.secret == SecretStatus::Unsent => Ok((Mechanism::Plain, plain)),
            Err(failure) => Err(failure),
        }
    }

    /// Logs in with USER and PASS (RFC 1939 §7).
    fn user_pass(
        &mut self,
        credentials: &Credentials<'_>,
    ) -> std::result::Result<Attempt, LoginFailure> {
        // Not pipelined: Courier and mailfront announce PIPELINING and lose the commands after
        // PASS, and a server that refuses USER must not get the password.
        let user = self.before_secret(Command::User(credentials.user))?;
        match user.reply {
            Reply::Ok(_) => self.with_secret(Command::Pass(credentials.password)),
            _ => Ok(user),
        }
    }

    /// Logs in with SASL PLAIN (RFC 5034 §4).
    fn sasl_plain(
        &mut self,
        credentials: &Credentials<'_>,
    ) -> std::result::Result<Attempt, LoginFailure> {
        let message = sasl::plain(credentials.user, credentials.password);
        let mechanism = "PLAIN";
        let with_response = Command::Auth {
            mechanism,
            initial: Some(&message),
        };
        // RFC 5034 §4: the initial response must not make the command too long
        let auth = if with_response.line().len() <= MAX_COMMAND {
            self.with_secret(with_response)
        } else {
            self.before_secret(Command::Auth {
                mechanism,
                initial: None,
            })
        }?;
        match auth.reply {
            // also sent by servers that ignore the initial response
            Reply::Challenge(_) => self.with_secret(Command::Response(&message)),
            _ => Ok(auth),
        }
    }

    /// Sends a command of the login that does not contain the secret.
    fn before_secret(
        &mut self,
        command: Command<'_>,
    ) -> std::result::Result<Attempt, LoginFailure> {
        match self.connection.execute(command) {
            Ok(reply) => Ok(Attempt {
                reply,
                secret: SecretStatus::Unsent,
            }),
            Err(error) => Err(LoginFailure::unsent(error)),
        }
    }

    /// Sends a command of the login that contains the secret.
    fn with_secret(&mut self, command: Command<'_>) -> std::result::Result<Attempt, LoginFailure> {
        let secret = SecretStatus::Sent;
        match self.connection.execute(command) {
            Ok(reply) => Ok(Attempt { reply, secret }),
            Err(error) => Err(LoginFailure {
                error: match error.kind() {
                    Kind::ConnectionLost => lost_during_login(&self.connection.peer),
                    _ => error,
                },
                secret,
            }),
        }
    }
}

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
    /// It was sent, and the response did not say whether it is right.
    Sent,
    /// The server refused the login, which is not expected to succeed with the same secret. The
    /// refusal may have come after the user name already.
    Refused,
    /// The secret is right, and something else failed.
    Accepted,
}

/// The response to the last command of a mechanism.
struct Attempt {
    reply: Reply,
    /// Whether the secret was sent.
    secret: SecretStatus,
}

impl Attempt {
    /// Returns whether to continue with USER and PASS: the server refused the mechanism, and not
    /// the credentials.
    fn calls_for_user(&self) -> bool {
        match &self.reply {
            Reply::Err(refusal) if refusal.login_sounds_transient() => false,
            Reply::Err(refusal) if self.secret == SecretStatus::Unsent => refusal.code.is_none(),
            Reply::Err(refusal) => refusal.rejects_mechanism(),
            Reply::Ok(_) | Reply::Challenge(_) => false,
        }
    }

    /// Returns the attempt after another one that left the secret as `earlier`.
    fn after(self, earlier: SecretStatus) -> Self {
        Self {
            secret: match self.secret {
                SecretStatus::Unsent => earlier,
                later => later,
            },
            ..self
        }
    }
}

/// The mechanisms to log in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MechanismOffer {
    /// PLAIN only.
    Plain,
    /// PLAIN, or USER if the server refuses PLAIN.
    PlainOrUser,
    /// USER only.
    User,
}

/// Returns the mechanisms to log in by. Returns `None` if the server announces others only.
///
/// USER is tried if nothing is announced: popa3d has no CAPA, and some servers with CAPA omit the
/// capability USER.
fn choose(auth: Auth, capabilities: Option<&Capabilities>) -> Option<MechanismOffer> {
    let user = capabilities.is_some_and(|known| known.has("USER"));
    match (auth, capabilities) {
        (Auth::Plain, _) => Some(MechanismOffer::Plain),
        (Auth::User, _) | (Auth::Auto, None) => Some(MechanismOffer::User),
        (Auth::Auto, Some(known)) if known.offers("PLAIN") => Some(if user {
            MechanismOffer::PlainOrUser
        } else {
            MechanismOffer::Plain
        }),
        (Auth::Auto, Some(known)) => {
            (user || known.mechanisms().is_empty()).then_some(MechanismOffer::User)
        }
    }
}

/// Returns the error for a server that offers no mechanism that pouch has.
fn no_mechanism(peer: &str, capabilities: Option<&Capabilities>) -> Error {
    let offered = capabilities.map(Capabilities::mechanisms);
    let offered = sanitize(offered.unwrap_or_default().join(", ").as_bytes());
    Error::new(
        Kind::Unavailable,
        format!("{peer} offers only {offered} to log in, pouch has PLAIN and USER"),
    )
    .with_hint(
        "ask the server's operator to enable one of these, or set auth = \"user\" to try USER \
         although it is not announced",
    )
    .with_url_hint("ask the server's operator to enable one of these")
}

/// Returns the error for a connection that ended during the login. Courier disconnects if it cannot
/// read one of the messages, Dovecot if it cannot read the mailbox.
fn lost_during_login(peer: &str) -> Error {
    Error::new(
        Kind::ConnectionLost,
        format!("{peer} closed the connection during login"),
    )
    .with_fact(
        "the password may be right: some servers disconnect when they cannot open the mailbox",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mechanism_is_chosen_by_what_the_server_announces() {
        let choose = |auth, lines: &[&str]| {
            let mut known = Capabilities::default();
            for line in lines {
                known.add(line.as_bytes());
            }
            choose(auth, Some(&known))
        };
        let (plain, user) = (MechanismOffer::Plain, MechanismOffer::User);
        assert_eq!(choose(Auth::Auto, &["SASL PLAIN"]), Some(plain));
        assert_eq!(
            choose(Auth::Auto, &["USER", "SASL LOGIN PLAIN"]),
            Some(MechanismOffer::PlainOrUser)
        );
        assert_eq!(choose(Auth::Auto, &["USER", "SASL XOAUTH2"]), Some(user));
        assert_eq!(choose(Auth::Auto, &["TOP"]), Some(user));
        assert_eq!(choose(Auth::Auto, &["SASL XOAUTH2"]), None);
        assert_eq!(choose(Auth::User, &["SASL XOAUTH2"]), Some(user));
        assert_eq!(choose(Auth::Plain, &["USER"]), Some(plain));
        assert_eq!(super::choose(Auth::Auto, None), Some(user));
    }
}
