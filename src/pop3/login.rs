//! The AUTHORIZATION state of a session (RFC 1939 §4): greeting, STLS, capabilities and login.
//!
//! # Security
//!
//! - STLS is sent whether or not the server announces it. Capabilities that arrive in clear text
//!   can be forged, and an attacker who removes STLS from them must not get the password.
//! - Data that arrives in clear text after the response to STLS would be read as if TLS protected
//!   it (CVE-2011-0411). The connection is closed instead.
//! - There is one login attempt per session. A second one, by USER and PASS after a failed SASL
//!   login, was rejected: servers count failures and lock accounts.

use std::io::{Read, Write};

pub use super::connection::{ConnectionOptions, Trace};
use super::{
    command::{Command, MAX_COMMAND, is_valid_argument},
    connection::{Connection, not_pop3},
    reply::{Code, Refusal, Reply, quoted},
    sasl::{self, Credentials, Mechanism},
    transaction::Transaction,
};
use crate::{
    domain::auth::Auth,
    error::{Error, Kind, Result},
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
        let hint = "set tls = \"implicit\" (port 995), which most servers support";
        let reply = self
            .connection
            .execute(Command::Stls)
            .map_err(|error| match error.kind() {
                // some servers disconnect after an unknown command
                Kind::ConnectionLost => error.with_hint(hint),
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
                return Err(Error::new(
                    Kind::Unavailable,
                    format!("{peer} does not support STARTTLS on this port"),
                )
                .with_fact(quoted(&peer, &refusal))
                .with_hint(hint));
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
    /// The credentials cannot be sent ([`Kind::Config`]), the server refuses the login, or the
    /// connection is lost.
    pub fn login(mut self, credentials: &Credentials<'_>) -> Result<Transaction<S>> {
        for (what, argument) in [
            ("user name", credentials.user),
            ("password", credentials.password),
        ] {
            if !is_valid_argument(argument) {
                return Err(Error::new(
                    Kind::Config,
                    format!("the {what} contains a line break or NUL, which POP3 cannot transmit"),
                ));
            }
        }
        self.connection.hide(credentials.password.as_bytes());
        self.connection
            .hide(sasl::plain(credentials.user, credentials.password).as_bytes());
        self.connection.queue(Command::Capa)?;
        self.connection.flush()?;
        let capabilities = self.connection.capabilities()?;
        let offered = |mechanism| {
            capabilities
                .as_ref()
                .is_some_and(|known| known.offers(mechanism))
        };
        let mechanism = match credentials.auth {
            Auth::Plain => Mechanism::Plain,
            Auth::Auto if offered("PLAIN") => Mechanism::Plain,
            Auth::Auto | Auth::User => Mechanism::User,
        };
        let reply = match mechanism {
            Mechanism::Plain => self.sasl_plain(credentials),
            Mechanism::User => self.user_pass(credentials),
        }
        .map_err(|error| match error.kind() {
            Kind::ConnectionLost => lost_during_login(&self.connection.peer),
            _ => error,
        })?;
        match reply {
            Reply::Ok(_) => Ok(Transaction::new(self.connection, capabilities, mechanism)),
            Reply::Err(refusal) => {
                let codes = capabilities
                    .as_ref()
                    .is_some_and(|known| known.has("AUTH-RESP-CODE"));
                Err(login_refused(&self.connection.peer, &refusal, codes))
            }
            Reply::Challenge(text) => Err(self.connection.unexpected(&[b"+ ", &text[..]].concat())),
        }
    }

    /// Logs in with USER and PASS (RFC 1939 §7). Returns the last response.
    fn user_pass(&mut self, credentials: &Credentials<'_>) -> Result<Reply> {
        // Not pipelined: Courier and mailfront announce PIPELINING and lose the commands after
        // PASS, and a server that refuses USER must not get the password.
        match self.connection.execute(Command::User(credentials.user))? {
            Reply::Ok(_) => self.connection.execute(Command::Pass(credentials.password)),
            refused => Ok(refused),
        }
    }

    /// Logs in with SASL PLAIN (RFC 5034 §4). Returns the last response.
    fn sasl_plain(&mut self, credentials: &Credentials<'_>) -> Result<Reply> {
        let message = sasl::plain(credentials.user, credentials.password);
        let mechanism = "PLAIN";
        let with_response = Command::Auth {
            mechanism,
            initial: Some(&message),
        };
        // RFC 5034 §4: the initial response must not make the command too long
        let fits = with_response.line().len() <= MAX_COMMAND;
        match self.connection.execute(if fits {
            with_response
        } else {
            Command::Auth {
                mechanism,
                initial: None,
            }
        })? {
            // also sent by servers that ignore the initial response
            Reply::Challenge(_) => self.connection.execute(Command::Response(&message)),
            other => Ok(other),
        }
    }
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

/// Returns the error for a refused login (RFC 2449 §8.1.1, RFC 3206 §4). `codes` is whether the
/// server announces AUTH-RESP-CODE: then a refusal without `[AUTH]` is not about the credentials.
fn login_refused(peer: &str, refusal: &Refusal, codes: bool) -> Error {
    let fact = quoted(peer, refusal);
    let temporary = || {
        Error::new(Kind::Busy, format!("{peer} temporarily refused the login"))
            .with_fact(fact.clone())
    };
    match refusal.code {
        Some(Code::InUse) => {
            Error::new(Kind::Busy, "the mailbox is in use by another session").with_fact(fact)
        }
        Some(Code::LoginDelay) => Error::new(
            Kind::Busy,
            format!("{peer} requires more time between logins"),
        )
        .with_fact(fact),
        Some(Code::SysTemp) => temporary(),
        Some(Code::SysPerm) => Error::new(
            Kind::Unavailable,
            format!("{peer} cannot complete the login"),
        )
        .with_fact(fact),
        Some(Code::Auth) => {
            Error::new(Kind::Denied, format!("{peer} rejected the password")).with_fact(fact)
        }
        None if codes => temporary(),
        None => Error::new(Kind::Denied, format!("login refused by {peer}")).with_fact(fact),
    }
}
