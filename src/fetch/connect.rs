//! From a host name to a session.

use std::{sync::Arc, time::Duration};

use super::env::RunEnv;
use crate::{
    config::{Account, Quirk, SecretSource, Tls},
    error::{Error, Kind, Result, Verdict},
    event::{Event, TraceLine},
    net::{Certificate, PendingConnection, Stream, TlsConfig},
    pop3::{
        login::{Authorization, ConnectionOptions, Trace},
        sasl::{Credentials, Mechanism},
        transaction::Transaction,
    },
};

/// The pause before the second try to connect; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(500);

/// How far a connection has come.
#[derive(Debug)]
pub enum Milestone {
    /// TCP is connected, to this address.
    Connected(String),
    /// TLS is on, and the certificate good.
    Secured(Option<Certificate>),
    /// The login is done.
    LoggedIn(Mechanism),
}

/// Connects and logs in, once. `reached` hears of each step.
///
/// # Errors
/// See [`PendingConnection::wait`], [`TlsConfig::wrap`], [`Authorization::login`].
pub fn connect(
    account: &Account,
    env: &RunEnv,
    password: &str,
    reached: &mut dyn FnMut(Milestone),
) -> Result<Transaction<Stream>> {
    log_in(dial(account), account, env, password, reached)
}

/// Begins to connect, beside whatever comes next.
pub fn dial(account: &Account) -> PendingConnection {
    PendingConnection::begin(&account.host, account.port, account.connect_timeout.into())
}

fn log_in(
    dialing: PendingConnection,
    account: &Account,
    env: &RunEnv,
    password: &str,
    reached: &mut dyn FnMut(Milestone),
) -> Result<Transaction<Stream>> {
    let host = account.host.as_str();
    let session = || {
        let socket = dialing.wait(account.timeout.into(), &env.stop)?;
        if let Ok(address) = socket.peer() {
            reached(Milestone::Connected(address.ip().to_string()));
        }
        let mut secure = |socket| {
            let context = env
                .tls
                .get(&account.trust, account.client_certificate.as_ref())?;
            let stream = context.wrap(socket, host)?;
            reached(Milestone::Secured(stream.certificate()));
            Ok(stream)
        };
        let terms = terms(account, trace(account, env));
        let authorization = match account.tls {
            Tls::Implicit => Authorization::greet(secure(socket)?, terms)?,
            Tls::StartTls => Authorization::greet(socket, terms)
                .map_err(waits_for_tls)?
                .upgrade(secure)?,
            Tls::Off => {
                Authorization::greet(Stream::Plain(socket), terms).map_err(waits_for_tls)?
            }
        };
        let credentials = Credentials {
            user: &account.user,
            password,
            auth: account.auth,
        };
        let mut session =
            authorization
                .login(&credentials)
                .map_err(|error| match error.kind() {
                    Kind::Denied => error.with_hint(secret_hint(account)),
                    _ => error,
                })?;
        if account.quirks.contains(&Quirk::NoUidl) {
            session.disable_uidl();
        }
        reached(Milestone::LoggedIn(session.mechanism()));
        Ok(session)
    };
    let session = session();
    // a signal ends waits as a lost line: say what it was
    if session.is_err() {
        env.stop.check()?;
    }
    session
}

/// A server that says nothing in clear may wait for TLS to begin.
fn waits_for_tls(error: Error) -> Error {
    match error.kind() {
        Kind::TimedOut => {
            error.with_hint("set tls = \"implicit\" if the server expects TLS on this port (995)")
        }
        _ => error,
    }
}

/// What to do about a password that was refused.
fn secret_hint(account: &Account) -> String {
    let check = format!("run `pouch check {}`", account.name);
    match &account.secret {
        SecretSource::Command(argv) => {
            format!(
                "check the password that `{}` prints, then {check}",
                argv.join(" ")
            )
        }
        SecretSource::File(path) => {
            format!("check the password in {}, then {check}", path.display())
        }
        SecretSource::Credential(name) => {
            format!("check the password in the credential `{name}`, then {check}")
        }
        SecretSource::Prompt => {
            "check the password and `user`, which is often a full address: ann@example.org".into()
        }
    }
}

/// The certificate that the server shows, whether it is good or not. Nobody logs in there.
pub fn show_certificate(account: &Account, env: &RunEnv) -> Option<Certificate> {
    let socket = dial(account).wait(account.timeout.into(), &env.stop).ok()?;
    let anybody = TlsConfig::trusting_anybody().ok()?;
    match account.tls {
        Tls::Off => None,
        Tls::Implicit => anybody.wrap(socket, &account.host).ok()?.certificate(),
        Tls::StartTls => {
            let mut shown = None;
            let authorization = Authorization::greet(socket, terms(account, None)).ok()?;
            let wrapped = authorization.upgrade(|socket| {
                let stream = anybody.wrap(socket, &account.host)?;
                shown = stream.certificate();
                Ok(stream)
            });
            drop(wrapped);
            shown
        }
    }
}

/// Connects, where that was not begun already, and logs in; after trouble that passes, tries again
/// as often as the account says. `reached` hears of each step of each try.
///
/// # Errors
/// The last try's.
pub fn connect_patiently(
    mut begun: Option<PendingConnection>,
    account: &Account,
    env: &RunEnv,
    password: &str,
    reached: &mut dyn FnMut(Milestone),
) -> Result<Transaction<Stream>> {
    let mut tries = 0;
    loop {
        let dialing = begun.take().unwrap_or_else(|| dial(account));
        match log_in(dialing, account, env, password, reached) {
            Err(error) if tries < account.retries && may_pass_soon(&error) => {
                env.stop.sleep(PAUSE * 2_u32.saturating_pow(tries.min(6)))?;
                tries += 1;
            }
            done => return done,
        }
    }
}

fn may_pass_soon(error: &Error) -> bool {
    error.kind().verdict() == Verdict::Reconnect || error.kind() == Kind::Busy
}

fn terms(account: &Account, trace: Option<Trace>) -> ConnectionOptions {
    ConnectionOptions {
        peer: account.host.clone(),
        time_limit: account.patience(),
        trace,
    }
}

fn trace(account: &Account, env: &RunEnv) -> Option<Trace> {
    if !env.trace {
        return None;
    }
    let (name, report) = (account.name.clone(), Arc::clone(&env.report));
    Some(Box::new(move |said: TraceLine| {
        report.event(&name, &Event::TraceLine(&said));
    }))
}
