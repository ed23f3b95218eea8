//! The AUTHORIZATION state of a session (RFC 1939 §4): greeting, STLS, capabilities and login.
//!
//! # Security
//!
//! - STLS is sent whether or not the server announces it. Capabilities that arrive in clear text
//!   can be forged, and an attacker who removes STLS from them must not get the password.
//! - Data that arrives in clear text after the response to STLS would be read as if TLS protected
//!   it (CVE-2011-0411). The connection is closed instead.
//! - Servers count failed logins and lock accounts. A second attempt in a session, by another
//!   mechanism, is made only if the server refused the first mechanism, and not the credentials. A
//!   [`LoginFailure`] reports whether the secret was sent, so that the caller does not send it
//!   again.

use std::io::{Read, Write};

use zeroize::Zeroizing;

use super::{
    command::{Command, MAX_COMMAND, is_valid_argument},
    connection::{Connection, not_pop3},
    login_failure::{RefusedAttempt, broken, lost_during_login, no_mechanism, offer},
    refused::greeting_refused,
    reply::{Capabilities, Code, Reply, quoted},
    sasl::{self, Credentials, Exchange, Fault, Response, md5, scram},
    transaction::{LoginMethod, Transaction},
};
pub use super::{
    connection::{ConnectionOptions, Trace},
    login_failure::{LoginFailure, SecretStatus},
};
use crate::{
    domain::auth::{self, Conditions, Mechanism, SecretKind},
    error::{Error, Kind, Result},
};

/// The maximum number of challenges in a login. No mechanism has more than three.
const MAX_CHALLENGES: usize = 4;

/// A session before the login.
pub struct Authorization<S> {
    connection: Connection<S>,
    /// The challenge of APOP, if the greeting has one.
    timestamp: Option<Vec<u8>>,
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
        let timestamp = match reply {
            Reply::Ok(greeting) => md5::timestamp(&greeting).map(<[u8]>::to_vec),
            Reply::Err(refusal) => return Err(greeting_refused(peer, &refusal)),
            Reply::Challenge(_) => return Err(not_pop3(peer)),
        };
        Ok(Self {
            connection,
            timestamp,
        })
    }

    /// Starts TLS with STLS (RFC 2595 §4). `wrap` carries out the handshake on the stream.
    ///
    /// # Errors
    /// The server refuses STLS, temporarily ([`Kind::ServerBusy`]) or permanently
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
                    Kind::ServerBusy,
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
            timestamp: self.timestamp,
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
        let (capabilities, mechanisms) = self.prepare(credentials).map_err(LoginFailure::unsent)?;
        let (mechanism, attempt) = self.authenticate(credentials, &mechanisms)?;
        let method = LoginMethod {
            mechanism,
            after_refusal: mechanisms.first() != Some(&mechanism),
        };
        let connection = self.connection;
        let Attempt {
            reply,
            secret,
            reason,
        } = attempt;
        match reply {
            Reply::Ok(_) => Ok(Transaction::new(connection, capabilities, method)),
            Reply::Err(refusal) => Err(RefusedAttempt {
                peer: &connection.peer,
                mechanism,
                capabilities: capabilities.as_ref(),
                refusal: &refusal,
                reason,
                secret,
            }
            .failure()),
            Reply::Challenge(text) => Err(LoginFailure {
                error: connection.unexpected(&[b"+ ", &text[..]].concat()),
                secret,
            }),
        }
    }

    /// Verifies that the credentials can be sent, and requests the capabilities. Returns them with
    /// the mechanisms to try.
    fn prepare(
        &mut self,
        credentials: &Credentials<'_>,
    ) -> Result<(Option<Capabilities>, Vec<Mechanism>)> {
        let secret = credentials.secret;
        for (what, argument) in [
            ("user name", credentials.user.as_bytes()),
            (secret.kind().noun(), secret.bytes()),
        ] {
            if !is_valid_argument(argument) {
                return Err(Error::new(
                    Kind::Config,
                    format!("the {what} contains a line break or NUL, which POP3 cannot transmit"),
                ));
            }
        }
        self.connection.hide(secret.bytes());
        self.connection.queue(Command::Capa)?;
        self.connection.flush()?;
        let capabilities = self.connection.capabilities()?;
        let conditions = Conditions {
            auth: credentials.auth,
            secret: secret.kind(),
            may_send_secret: credentials.is_encrypted || credentials.allow_unencrypted,
            is_unambiguous: scram::is_unambiguous(secret.bytes()),
            remembered: credentials.remembered,
        };
        let mechanisms = auth::mechanisms(&offer(capabilities.as_ref()), conditions)
            .map_err(|why| no_mechanism(&self.connection.peer, capabilities.as_ref(), why))?;
        Ok((capabilities, mechanisms))
    }

    /// Logs in by the first of the mechanisms. If the server refuses that mechanism, and not the
    /// secret, it continues with the next one.
    fn authenticate(
        &mut self,
        credentials: &Credentials<'_>,
        mechanisms: &[Mechanism],
    ) -> std::result::Result<(Mechanism, Attempt), LoginFailure> {
        let mut refused: Option<(Mechanism, Attempt)> = None;
        for (index, mechanism) in mechanisms.iter().copied().enumerate() {
            let is_last = index + 1 == mechanisms.len();
            let attempt = match (self.attempt(mechanism, credentials), refused.take()) {
                (Ok(attempt), None) => attempt,
                (Ok(attempt), Some((_, earlier))) => attempt.after(earlier.secret),
                // some servers disconnect after a command that they do not know
                (Err(failure), Some(earlier)) if failure.secret == SecretStatus::Unsent => {
                    return Ok(earlier);
                }
                (Err(failure), _) => return Err(failure),
            };
            if is_last || !attempt.calls_for_another(mechanism) {
                return Ok((mechanism, attempt));
            }
            refused = Some((mechanism, attempt));
        }
        let error = Error::new(Kind::Bug, "there is no mechanism to log in by");
        Err(LoginFailure::unsent(error))
    }

    /// Logs in by a mechanism.
    fn attempt(
        &mut self,
        mechanism: Mechanism,
        credentials: &Credentials<'_>,
    ) -> std::result::Result<Attempt, LoginFailure> {
        match sasl::exchange(mechanism, credentials) {
            Some(mut exchange) => self.sasl(mechanism, &mut *exchange),
            None if mechanism == Mechanism::Apop => self.apop(credentials),
            None => self.user_pass(credentials),
        }
    }

    /// Logs in with APOP (RFC 1939 §7).
    fn apop(
        &mut self,
        credentials: &Credentials<'_>,
    ) -> std::result::Result<Attempt, LoginFailure> {
        let peer = &self.connection.peer;
        let Some(timestamp) = &self.timestamp else {
            let error = Error::new(Kind::Unavailable, format!("{peer} does not offer APOP"))
                .with_fact("its greeting has no time stamp such as <1896.697170952@example.org>");
            return Err(LoginFailure::unsent(error));
        };
        let digest = md5::apop(timestamp, credentials.secret.bytes())
            .map_err(|fault| LoginFailure::unsent(broken(peer, Mechanism::Apop, fault)))?;
        self.connection.hide(digest.as_bytes());
        let secret = SecretStatus::Sent;
        let command = Command::Apop {
            user: credentials.user,
            digest: &digest,
        };
        Ok(Attempt {
            reply: self.send(command, secret)?,
            secret,
            reason: None,
        })
    }

    /// Logs in with USER and PASS (RFC 1939 §7).
    fn user_pass(
        &mut self,
        credentials: &Credentials<'_>,
    ) -> std::result::Result<Attempt, LoginFailure> {
        let mut secret = SecretStatus::Unsent;
        // Not pipelined: Courier and mailfront announce PIPELINING and lose the commands after
        // PASS, and a server that refuses USER must not get the password.
        let mut reply = self.send(Command::User(credentials.user), secret)?;
        if let Reply::Ok(_) = reply {
            secret = SecretStatus::Sent;
            reply = self.send(Command::Pass(credentials.secret.bytes()), secret)?;
        }
        Ok(Attempt {
            reply,
            secret,
            reason: None,
        })
    }

    /// Logs in with a mechanism of SASL (RFC 5034 §4).
    fn sasl(
        &mut self,
        mechanism: Mechanism,
        exchange: &mut dyn Exchange,
    ) -> std::result::Result<Attempt, LoginFailure> {
        let mut waiting = exchange.initial();
        let early = waiting.take_if(|response| {
            // RFC 5034 §4: the initial response must not make the command too long
            let with_response = Command::Auth {
                mechanism: mechanism.name(),
                initial: Some(&response.encoded()),
            };
            exchange.may_send_early() && with_response.line().len() <= MAX_COMMAND
        });
        let mut secret = SecretStatus::Unsent;
        let initial = early.map(|response| self.encode(&response, &mut secret));
        let mut reply = self.send(
            Command::Auth {
                mechanism: mechanism.name(),
                initial: initial.as_ref().map(|text| text.as_str()),
            },
            secret,
        )?;
        for _ in 0..MAX_CHALLENGES {
            let Reply::Challenge(challenge) = &reply else {
                break;
            };
            let response = match waiting.take() {
                Some(response) => response,
                None => match exchange.respond(challenge) {
                    Ok(response) => response,
                    Err(Fault::Unexpected) => break,
                    Err(fault) => return Err(self.fault(mechanism, fault, secret)),
                },
            };
            self.trace_reason(exchange);
            let text = self.encode(&response, &mut secret);
            reply = self.send(Command::Response(&text), secret)?;
        }
        if let Reply::Ok(_) = reply {
            exchange
                .finish()
                .map_err(|fault| self.fault(mechanism, fault, secret))?;
        }
        Ok(Attempt {
            reply,
            secret,
            reason: exchange
                .server_error()
                .map(|reason| self.connection.displayed(reason)),
        })
    }

    /// Returns the failure of a login that could not be continued.
    fn fault(&self, mechanism: Mechanism, fault: Fault, secret: SecretStatus) -> LoginFailure {
        LoginFailure {
            error: broken(&self.connection.peer, mechanism, fault),
            secret,
        }
    }

    /// Returns a response in base64. If it has the secret, it is removed from what the server sends
    /// from now on, and `secret` is set to [`SecretStatus::Sent`].
    fn encode(&mut self, response: &Response, secret: &mut SecretStatus) -> Zeroizing<String> {
        let text = response.encoded();
        if response.has_secret {
            *secret = SecretStatus::Sent;
            self.connection.hide(text.as_bytes());
        }
        text
    }

    /// Traces the error that the server sent as a challenge, decoded.
    fn trace_reason(&mut self, exchange: &dyn Exchange) {
        if let Some(reason) = exchange.server_error() {
            self.connection.trace_decoded(reason);
        }
    }

    /// Sends a command of the login. `secret` is [`SecretStatus::Sent`] if that or an earlier
    /// command has the secret.
    fn send(
        &mut self,
        command: Command<'_>,
        secret: SecretStatus,
    ) -> std::result::Result<Reply, LoginFailure> {
        self.connection.execute(command).map_err(|error| {
            let is_lost = error.kind() == Kind::ConnectionLost && secret == SecretStatus::Sent;
            LoginFailure {
                error: if is_lost {
                    lost_during_login(&self.connection.peer, command)
                } else {
                    error
                },
                secret,
            }
        })
    }
}

/// The response to the last command of a mechanism.
struct Attempt {
    reply: Reply,
    /// Whether the secret was sent.
    secret: SecretStatus,
    /// The reason that the server gave in a challenge, for display.
    reason: Option<String>,
}

impl Attempt {
    /// Returns whether to continue with another mechanism: the server refused this one, and not the
    /// secret.
    fn calls_for_another(&self, mechanism: Mechanism) -> bool {
        // Their refusal before the secret is not about the secret. Dovecot has the code of a wrong
        // password for it.
        let has_steps = mechanism.is_scram() || mechanism.secret() == SecretKind::Token;
        match &self.reply {
            Reply::Err(refusal) if refusal.login_sounds_transient() => false,
            Reply::Err(refusal) if self.secret == SecretStatus::Unsent => {
                refusal.code.is_none() || (has_steps && refusal.code == Some(Code::Auth))
            }
            Reply::Err(refusal) => !has_steps && refusal.rejects_mechanism(),
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
