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

pub use super::connection::{ConnectionOptions, Trace};
use super::{
    command::{Command, MAX_COMMAND, is_valid_argument},
    connection::{Connection, not_pop3},
    refused::{greeting_refused, login_refused},
    reply::{Capabilities, Code, Refusal, Reply, quoted},
    sasl::{self, Credentials, Exchange, Fault, Response, md5, scram},
    transaction::{LoginMethod, Transaction},
};
use crate::{
    domain::auth::{self, Conditions, Mechanism, Offer, SecretKind, Unsuitable},
    error::{Error, Kind, Result},
    text::sanitize,
};

/// The maximum number of challenges in a login. No mechanism has more than three.
const MAX_CHALLENGES: usize = 4;

/// The length in bytes of a line that some servers reject. Dovecot accepts 8192.
const LONG_LINE: usize = 8000;

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
    /// It was sent or proven, and the response did not say whether it is right.
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

/// A login that the server refused.
struct RefusedAttempt<'a> {
    peer: &'a str,
    mechanism: Mechanism,
    capabilities: Option<&'a Capabilities>,
    refusal: &'a Refusal,
    /// The reason that the server gave in a challenge.
    reason: Option<String>,
    secret: SecretStatus,
}

impl RefusedAttempt<'_> {
    /// Returns the failure.
    fn failure(self) -> LoginFailure {
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

    /// Returns whether the server does not have the mechanism, which it does not announce either.
    /// Dovecot, Cyrus and Courier refuse it by the code or the words of a wrong password. Some servers
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
fn broken(peer: &str, mechanism: Mechanism, fault: Fault) -> Error {
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
fn offer(capabilities: Option<&Capabilities>) -> Offer<'_> {
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
fn no_mechanism(peer: &str, capabilities: Option<&Capabilities>, why: Unsuitable) -> Error {
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
fn lost_during_login(peer: &str, command: Command<'_>) -> Error {
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
