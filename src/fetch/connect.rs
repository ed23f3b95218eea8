//! Connecting to a server: TCP, TLS, greeting and login.

use std::{sync::Arc, time::Duration};

use super::env::RunEnv;
use crate::{
    config::{Account, Quirk, SecretSource, Tls},
    domain::{
        auth::{Mechanism, SecretKind},
        provider::{Provider, provider_of},
        refusal::ACCOUNT,
        tunnel,
    },
    error::{Error, Kind, Result, Verdict},
    event::{Event, TraceLine},
    net::{Certificate, PendingConnection, ProxyAccess, Route, Socket, Stream, TlsConfig},
    pop3::{
        login::{Authorization, ConnectionOptions, LoginFailure, SecretStatus, Trace},
        reply::Capabilities,
        sasl::{self, Credentials},
        transaction::{LoginMethod, Transaction},
    },
    sys::{password::Secret, process::program},
    text::tilde,
};

/// The pause before the second attempt to connect. It doubles before each further one.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a server may be silent before its greeting until a second connection finds out whether
/// it expects TLS. Without that, the user waits for the whole `timeout`, and the failure looks like
/// a transient one.
const SILENCE: Duration = Duration::from_secs(3);

/// A step on the way to a session.
#[derive(Debug)]
pub enum Milestone {
    /// The connection is established, to this address if it is known.
    Connected(Option<String>),
    /// TLS is established with this certificate, which is trusted.
    Secured(Option<Certificate>),
    /// The server accepted the login.
    LoggedIn {
        /// How it was made.
        method: LoginMethod,
        /// The SASL mechanisms that the server announces.
        offered: Vec<String>,
    },
}

/// What a login presents to the server.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The account's secret.
    pub secret: &'a Secret,
    /// The mechanism that worked after another one was refused.
    pub remembered: Option<Mechanism>,
    /// Whether the server has accepted the secret in this run.
    pub proven: bool,
}

/// Connects and logs in, with one attempt, or with a second one if the server refused a token that
/// can be renewed. Calls `reached` after each step.
///
/// # Errors
/// See [`PendingConnection::wait`], [`TlsConfig::wrap`], [`Authorization::login`],
/// [`RunEnv::renewed_secret`].
pub fn connect(
    account: &Account,
    env: &RunEnv,
    (secret, remembered): (&Secret, Option<Mechanism>),
    reached: &mut dyn FnMut(Milestone),
) -> Result<Transaction<Stream>> {
    let route = route(account, env)?;
    let presented = Presented {
        secret,
        remembered,
        proven: false,
    };
    let failure = match log_in(dial(account, &route, env), account, env, presented, reached) {
        Ok(session) => return Ok(session),
        Err(failure) => failure,
    };
    let Some(fresh) = renewed(account, env, &failure, secret)? else {
        return Err(failure.error);
    };
    let presented = Presented {
        secret: &fresh,
        ..presented
    };
    log_in(dial(account, &route, env), account, env, presented, reached)
        .map_err(|failure| failure.error)
}

/// Connects, starts TLS and reads the greeting. The connection is closed before the login.
///
/// # Errors
/// As for [`connect`], up to the greeting.
pub fn reach(account: &Account, env: &RunEnv) -> Result<()> {
    let pending = dial(account, &route(account, env)?, env);
    open(pending, account, env, &mut |_| ()).map(drop)
}

/// Returns how to reach the account's server, with the password for its proxy.
///
/// # Errors
/// The password cannot be obtained.
pub fn route(account: &Account, env: &RunEnv) -> Result<Route> {
    if let Some(command) = &account.connect_command {
        let argv = command.argv(&account.host, account.port);
        let environment = vec![("POUCH_ACCOUNT", account.name.clone())];
        return Ok(Route::Program(argv, environment));
    }
    match account.proxy_server() {
        Some(server) => Ok(Route::Proxy(ProxyAccess {
            server: server.clone(),
            password: env.proxy_password(account)?,
        })),
        None => Ok(Route::Direct),
    }
}

/// Returns the description of the way to the account's server, or `None` if it is direct.
pub fn described_route(account: &Account) -> Option<String> {
    match &account.connect_command {
        Some(command) => Some(format!("`{}`", program(command.words()))),
        None => account
            .proxy_server()
            .map(|server| format!("the proxy {}", server.address())),
    }
}

/// Returns another token after a login that failed because the server refused `secret`. Returns
/// `None` if it is not a token, it was not refused, or there is no other one.
///
/// # Errors
/// See [`RunEnv::renewed_secret`].
pub(super) fn renewed(
    account: &Account,
    env: &RunEnv,
    failure: &LoginFailure,
    secret: &Secret,
) -> Result<Option<Secret>> {
    if failure.secret != SecretStatus::Refused || !account.secret.is_token() {
        return Ok(None);
    }
    env.renewed_secret(account, secret)
}

/// Starts to connect in the background.
pub fn dial(account: &Account, route: &Route, env: &RunEnv) -> PendingConnection {
    let budget = account.connect_timeout.into();
    PendingConnection::begin((&account.host, account.port), route, budget, &env.stop)
}

/// Waits for the connection, then starts TLS and logs in.
fn log_in(
    pending: PendingConnection,
    account: &Account,
    env: &RunEnv,
    presented: Presented<'_>,
    reached: &mut dyn FnMut(Milestone),
) -> std::result::Result<Transaction<Stream>, LoginFailure> {
    let secret = presented.secret.as_slice();
    let credentials = Credentials {
        user: &account.user,
        secret: match account.secret.kind() {
            SecretKind::Password => sasl::Secret::Password(secret),
            SecretKind::Token => sasl::Secret::Token(secret),
            SecretKind::Certificate => sasl::Secret::Certificate,
        },
        auth: account.auth,
        host: &account.host,
        port: account.port,
        is_encrypted: account.tls != Tls::Off,
        allow_unencrypted: account.allow_plaintext_password,
        remembered: presented.remembered,
    };
    let session = open(pending, account, env, reached)
        .map_err(LoginFailure::unsent)
        .and_then(|authorization| authorization.login(&credentials));
    match session {
        Ok(mut session) => {
            if account.quirks.contains(&Quirk::NoUidl) {
                session.disable_uidl();
            }
            let offered = session.capabilities().map(Capabilities::mechanisms);
            let offered = offered.unwrap_or_default();
            reached(Milestone::LoggedIn {
                method: session.method(),
                offered: offered.into_iter().map(str::to_owned).collect(),
            });
            Ok(session)
        }
        Err(LoginFailure { error, secret }) => {
            // a signal interrupts a read or write, which then looks like a lost connection
            let error = env.stop.check().err().unwrap_or(error);
            let error = account.with_hint_for(error);
            let error = match secret {
                SecretStatus::Refused => with_login_hint(error, account, env),
                _ => with_account_name(error, account),
            };
            Err(LoginFailure { error, secret })
        }
    }
}

/// Waits for the connection, starts TLS, and reads the greeting.
fn open(
    pending: PendingConnection,
    account: &Account,
    env: &RunEnv,
    reached: &mut dyn FnMut(Milestone),
) -> Result<Authorization<Stream>> {
    let socket = pending.wait(account.timeout.into(), &env.stop)?;
    let address = socket.peer().map(|address| address.ip().to_string());
    reached(Milestone::Connected(address));
    greet(socket, account, env, reached).map_err(|error| {
        let error = with_refusal_of_command(error, account);
        match described_route(account) {
            Some(route) if error.kind() != Kind::Config && !mentions(&error, &route) => {
                error.with_fact(format!("connected through {route}"))
            }
            _ => error,
        }
    })
}

/// Returns the error for a `connect-command` that failed because of a problem that only a person
/// can resolve. Returns other errors unchanged.
fn with_refusal_of_command(error: Error, account: &Account) -> Error {
    let facts = error.facts().iter().map(String::as_str);
    match (&account.connect_command, tunnel::hint(facts)) {
        (Some(command), Some(hint)) if error.kind() == Kind::ConnectionLost => {
            let name = program(command.words());
            let what = format!("the `connect-command` `{name}` failed");
            let facts = error.facts().iter();
            facts
                .fold(Error::new(Kind::Denied, what), |error, fact| {
                    error.with_fact(fact.as_str())
                })
                .with_hint(hint)
        }
        _ => error,
    }
}

/// Returns whether a fact of an error contains `text`.
fn mentions(error: &Error, text: &str) -> bool {
    error.facts().iter().any(|fact| fact.contains(text))
}

/// Starts TLS on an established connection, and reads the greeting.
fn greet(
    socket: Socket,
    account: &Account,
    env: &RunEnv,
    reached: &mut dyn FnMut(Milestone),
) -> Result<Authorization<Stream>> {
    let mut secure = |socket| {
        let config = env
            .tls
            .get(&account.trust, account.client_certificate.as_ref())?;
        let stream = config.wrap(socket, &account.host, account.server_name())?;
        reached(Milestone::Secured(stream.certificate()));
        Ok(stream)
    };
    if account.tls != Tls::Implicit {
        check_for_tls(&socket, account, env)?;
    }
    let options = options(account, trace(account, env));
    match account.tls {
        Tls::Implicit => Authorization::greet(secure(socket)?, options),
        Tls::StartTls => Authorization::greet(socket, options)
            .map_err(with_tls_hint)?
            .upgrade(secure),
        Tls::Off => Authorization::greet(Stream::Plain(socket), options).map_err(with_tls_hint),
    }
}

/// Fails if the server waits for a TLS handshake instead of sending a greeting. Returns `Ok` for a
/// server that is only slow.
///
/// # Errors
/// [`Kind::NotPop3`].
fn check_for_tls(socket: &Socket, account: &Account, env: &RunEnv) -> Result<()> {
    let timeout = Duration::from(account.timeout);
    if timeout <= SILENCE || !socket.is_silent_for(SILENCE).is_ok_and(|silent| silent) {
        return Ok(());
    }
    let handshake = || {
        let pending = dial(account, &route(account, env)?, env);
        let socket = pending.wait(SILENCE, &env.stop)?;
        TlsConfig::accept_any()?.wrap(socket, &account.host, account.server_name())
    };
    if handshake().is_err() {
        return Ok(());
    }
    let what = format!("{} expects TLS on port {}", account.host, account.port);
    Err(Error::new(Kind::NotPop3, what)
        .with_hint("set tls = \"implicit\"")
        .with_url_hint(format!("use pops:// with port {}", account.port)))
}

/// Adds a hint to a timeout before the greeting: a server that expects a TLS handshake sends
/// nothing.
fn with_tls_hint(error: Error) -> Error {
    match error.kind() {
        Kind::TimedOut => {
            let hint = "set tls = \"implicit\" if the server expects TLS on this port (995)";
            error
                .with_hint(hint)
                .with_url_hint("use pops:// if the server expects TLS on this port")
        }
        _ => error,
    }
}

/// Completes the hint of a refused login. If the server's text has no hint, it depends on where the
/// password comes from, and on the provider.
pub(super) fn with_login_hint(error: Error, account: &Account, env: &RunEnv) -> Error {
    let hint = match error.hint() {
        Some(hint) => format!("{hint}, then run `pouch check {}`", account.name),
        None => secret_hint(account, env),
    };
    with_account_name(error.with_hint(hint), account)
}

/// Inserts the name of the account into the hint of a refusal.
fn with_account_name(error: Error, account: &Account) -> Error {
    match error.hint().filter(|hint| hint.contains(ACCOUNT)) {
        Some(hint) => {
            let hint = hint.replace(ACCOUNT, &account.name);
            error.with_hint(hint)
        }
        None => error,
    }
}

/// Completes the hint of an error by which access was refused after the login. Returns other errors
/// unchanged.
pub fn with_access_hint(error: Error, account: &Account, env: &RunEnv) -> Error {
    match error.kind() {
        Kind::AccessRefused => with_login_hint(error, account, env),
        _ => error,
    }
}

/// Returns the hint about a refused password or token.
fn secret_hint(account: &Account, env: &RunEnv) -> String {
    let check = format!("run `pouch check {}`", account.name);
    let provider = provider_of(account.server_name());
    let also = provider.map(Provider::requirements).unwrap_or_default();
    if account.secret.kind() == SecretKind::Password
        && let Some(hint) = provider.and_then(Provider::without_password)
    {
        return format!("{hint}, then {check}");
    }
    match &account.secret {
        SecretSource::Command(argv) => {
            let name = program(argv);
            format!("check the password that `{name}` prints{also}, then {check}")
        }
        SecretSource::TokenCommand(argv) => {
            let name = program(argv);
            format!(
                "check that `{name}` signs in as {}, that this is the primary address, and that \
                 POP3 is enabled for this mailbox, then {check}",
                account.user
            )
        }
        SecretSource::File(path) => {
            let path = tilde(path, &env.home);
            format!("check the password in {path}{also}, then {check}")
        }
        SecretSource::Credential(name) => {
            format!("check the password in the credential `{name}`{also}, then {check}")
        }
        SecretSource::Given(_) => {
            format!("check the password that `accounts-command` prints{also}, then {check}")
        }
        // the token is fresh: a refused one has been renewed
        SecretSource::OAuth(_) => format!(
            "sign in as {} with `pouch login {}`, and check that this is the primary address, and \
             that POP3 is enabled for this mailbox",
            account.user, account.name
        ),
        SecretSource::Certificate => format!(
            "check that the certificate of `tls-client-cert` is one of {}, then {check}",
            account.user
        ),
        SecretSource::Prompt if !also.is_empty() => format!("check the password{also}"),
        SecretSource::Prompt => {
            "check the password and `user`, which is often a full address: ann@example.org".into()
        }
    }
}

/// Returns the server's certificate, trusted or not, or `None` if there is none. The connection is
/// closed before the login.
pub fn show_certificate(account: &Account, env: &RunEnv) -> Option<Certificate> {
    let pending = dial(account, &route(account, env).ok()?, env);
    let socket = pending.wait(account.timeout.into(), &env.stop).ok()?;
    let (host, name) = (account.host.as_str(), account.server_name());
    let config = TlsConfig::accept_any().ok()?;
    match account.tls {
        Tls::Off => None,
        Tls::Implicit => config.wrap(socket, host, name).ok()?.certificate(),
        Tls::StartTls => {
            let mut shown = None;
            let authorization = Authorization::greet(socket, options(account, None)).ok()?;
            let wrapped = authorization.upgrade(|socket| {
                let stream = config.wrap(socket, host, name)?;
                shown = stream.certificate();
                Ok(stream)
            });
            drop(wrapped);
            shown
        }
    }
}

/// Connects and logs in. After a transient error it tries again, up to `retries` times. The first
/// attempt uses the connection that was `begun`, if any, and the others take the same `route`.
/// Calls `reached` after each step of each attempt.
///
/// Until the server has accepted the secret, it is sent once only: a server that disconnects on a
/// wrong password looks like a lost connection, and would count each attempt.
///
/// # Errors
/// That of the last attempt.
pub fn connect_patiently(
    (mut begun, route): (Option<PendingConnection>, &Route),
    account: &Account,
    env: &RunEnv,
    presented: Presented<'_>,
    reached: &mut dyn FnMut(Milestone),
) -> std::result::Result<Transaction<Stream>, LoginFailure> {
    let mut retries = 0;
    loop {
        let pending = begun.take().unwrap_or_else(|| dial(account, route, env));
        match log_in(pending, account, env, presented, reached) {
            Err(failure)
                if retries < account.retries && is_worth_a_retry(&failure, presented.proven) =>
            {
                env.stop
                    .sleep(PAUSE * 2_u32.saturating_pow(retries.min(6)))
                    .map_err(LoginFailure::unsent)?;
                retries += 1;
            }
            result => return result,
        }
    }
}

/// Returns whether the problem may be gone within seconds, and another attempt cannot lock the
/// account. `proven` is whether the password is known to be right.
fn is_worth_a_retry(failure: &LoginFailure, proven: bool) -> bool {
    let kind = failure.error.kind();
    let is_brief =
        kind.verdict() == Verdict::Reconnect || matches!(kind, Kind::Busy | Kind::ServerBusy);
    is_brief
        && match failure.secret {
            SecretStatus::Unsent | SecretStatus::Accepted => true,
            SecretStatus::Sent => proven,
            SecretStatus::Refused => false,
        }
}

/// Returns the options of the account's connections.
fn options(account: &Account, trace: Option<Trace>) -> ConnectionOptions {
    ConnectionOptions {
        peer: account.host.clone(),
        time_limit: account.patience(),
        trace,
    }
}

/// Returns a function that reports the lines of the session, or `None` if they are not traced.
fn trace(account: &Account, env: &RunEnv) -> Option<Trace> {
    if !env.trace {
        return None;
    }
    let (name, report) = (account.name.clone(), Arc::clone(&env.report));
    Some(Box::new(move |line: TraceLine| {
        report.event(&name, &Event::TraceLine(&line));
    }))
}
