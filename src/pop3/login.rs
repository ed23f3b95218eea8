//! A session before the login (RFC 1939 §4): greeting, capabilities, TLS, and the login itself.

use std::io::{Read, Write};

pub use super::connection::{ConnectionOptions, Trace};
use super::{
    command::{Command, MAX_COMMAND, fits},
    connection::{Connection, not_pop3},
    reply::{Code, Refusal, Reply, quoted},
    sasl::{self, Credentials, Mechanism},
    transaction::Transaction,
};
use crate::{
    domain::auth::Auth,
    error::{Error, Kind, Result},
};

/// Before the login (RFC 1939 §4).
pub struct Authorization<S> {
    connection: Connection<S>,
}

impl<S: Read + Write> Authorization<S> {
    /// Takes the greeting.
    ///
    /// # Errors
    /// The line is lost, or what answers is no POP3 server, or it greets with `-ERR`.
    pub fn greet(stream: S, terms: ConnectionOptions) -> Result<Self> {
        let mut connection = Connection::new(stream, terms);
        let reply = connection.reply()?;
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

    /// Begins TLS by STLS (RFC 2595 §4): `wrap` makes the new stream out of the old one. Whether
    /// the server offers it is not asked in clear, where nothing it says of itself can be believed.
    ///
    /// # Errors
    /// The server refuses STLS, now or for good, or closes the connection; somebody put octets
    /// behind its answer, which is an attack (CVE-2011-0411); or `wrap` fails.
    pub fn upgrade<T: Read + Write>(
        mut self,
        wrap: impl FnOnce(S) -> Result<T>,
    ) -> Result<Authorization<T>> {
        let peer = self.connection.peer.clone();
        let hint = "set tls = \"implicit\" (port 995), which most servers support";
        let answer = self
            .connection
            .ask(Command::Stls)
            .map_err(|error| match error.kind() {
                // what some do where they do not know a command
                Kind::ConnectionLost => error.with_hint(hint),
                _ => error,
            })?;
        match answer {
            Reply::Ok(_) => {}
            Reply::Err(refusal) if refusal.is_transient() => {
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
            Reply::Challenge(_) => return Err(not_pop3(&peer)),
        }
        if self.connection.holds_unread() {
            return Err(Error::new(
                Kind::Denied,
                format!("possible STARTTLS injection on the connection to {peer}"),
            )
            .with_fact("unexpected data after the response to STLS"));
        }
        let (stream, terms) = self.connection.into_parts();
        Ok(Authorization {
            connection: Connection::new(wrap(stream)?, terms),
        })
    }

    /// Asks for the capabilities, and logs in.
    ///
    /// # Errors
    /// The server refuses, now or for good, or the line is lost. The password is sent once.
    pub fn login(mut self, who: &Credentials<'_>) -> Result<Transaction<S>> {
        for (what, argument) in [("user name", who.user), ("password", who.password)] {
            if !fits(argument) {
                return Err(Error::new(
                    Kind::Config,
                    format!("the {what} contains a line break or NUL, which POP3 cannot transmit"),
                ));
            }
        }
        self.connection.hide(who.password.as_bytes());
        self.connection
            .hide(sasl::plain(who.user, who.password).as_bytes());
        self.connection.queue(Command::Capa)?;
        self.connection.flush()?;
        let capabilities = self.connection.capabilities()?;
        let offered = |mechanism| {
            capabilities
                .as_ref()
                .is_some_and(|known| known.offers(mechanism))
        };
        let mechanism = match who.auth {
            Auth::Plain => Mechanism::Plain,
            Auth::Auto if offered("PLAIN") => Mechanism::Plain,
            Auth::Auto | Auth::User => Mechanism::User,
        };
        let answer = match mechanism {
            Mechanism::Plain => self.sasl_plain(who),
            Mechanism::User => self.user_pass(who),
        }
        .map_err(|error| match error.kind() {
            // Courier does so when it cannot read one message, Dovecot when it cannot read the
            // mailbox
            Kind::ConnectionLost => Error::new(Kind::ConnectionLost, format!("{} closed the connection during login", self.connection.peer))
                .with_fact("the password may be right: some servers disconnect when they cannot open the mailbox"),
            _ => error,
        })?;
        match answer {
            Reply::Ok(_) => Ok(Transaction::new(self.connection, capabilities, mechanism)),
            Reply::Err(refusal) => {
                let codes = capabilities
                    .as_ref()
                    .is_some_and(|known| known.has("AUTH-RESP-CODE"));
                Err(login_refused(&self.connection.peer, &refusal, codes))
            }
            Reply::Challenge(_) => Err(not_pop3(&self.connection.peer)),
        }
    }

    fn user_pass(&mut self, who: &Credentials<'_>) -> Result<Reply> {
        // not pipelined: Courier and mailfront announce PIPELINING and lose what is behind PASS,
        // and a server that refuses USER must not get the password
        match self.connection.ask(Command::User(who.user))? {
            Reply::Ok(_) => self.connection.ask(Command::Pass(who.password)),
            refused => Ok(refused),
        }
    }

    fn sasl_plain(&mut self, who: &Credentials<'_>) -> Result<Reply> {
        let message = sasl::plain(who.user, who.password);
        let mechanism = "PLAIN";
        let whole = Command::Auth {
            mechanism,
            initial: Some(&message),
        };
        // RFC 5034 §4: the initial response only where the whole command fits
        let fits = whole.line().len() <= MAX_COMMAND;
        match self.connection.ask(if fits {
            whole
        } else {
            Command::Auth {
                mechanism,
                initial: None,
            }
        })? {
            // servers that do not know the initial response ask for it
            Reply::Challenge(_) => self.connection.ask(Command::Response(&message)),
            other => Ok(other),
        }
    }
}

/// What a refused login means (RFC 2449 §8.1.1, RFC 3206 §4). `codes`: the server announces
/// AUTH-RESP-CODE, so that a failure without `[AUTH]` has nothing to do with the credentials.
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
