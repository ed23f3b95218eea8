//! Decides whether a run may log in, and records its logins.
//!
//! The decision is in [`domain::login`](crate::domain::login).

use super::{
    connect::{dial, renewed, route, with_access_hint, with_login_hint},
    env::{Attendance, RunEnv},
    run::AccountRun,
};
use crate::{
    config::{Account, Tls},
    domain::{
        auth::Auth,
        login::{Fingerprint, LoginDelay, LoginHistory, RefusedLogin},
        refusal,
        time::{TimeSpan, Timestamp},
    },
    error::{Error, Kind, Result},
    event::Event,
    ledger::Ledger,
    net::{PendingConnection, Route, Stream},
    pop3::{
        login::{LoginFailure, SecretStatus},
        reply::Capabilities,
        transaction::{LoginMethod, Transaction},
    },
    sys::password::{Secret, new_salt, salted_hash},
    text::{moment, times},
};

/// How long a run that a person started waits for the server to accept another login. Courier
/// requires 10 s.
const PATIENCE: TimeSpan = TimeSpan::from_seconds(30);

/// The inputs of the logins of a run.
pub(super) struct Login {
    /// The account's secret.
    pub(super) secret: Secret,
    /// Whether it was asked for a second time in this run, after the server had refused the first
    /// one.
    renewed: bool,
    /// The earlier logins.
    pub(super) history: LoginHistory,
    /// How to reach the server.
    pub(super) route: Route,
    /// A connection that is being established already.
    pub(super) begun: Option<PendingConnection>,
}

impl Login {
    /// Starts to connect, unless the secret was refused and has to wait.
    ///
    /// # Errors
    /// That of the last login ([`Kind::Denied`] or [`Kind::ConnectionLost`]), if it is too early to
    /// try the same secret again; or the password for the proxy cannot be obtained.
    pub(super) fn begin(
        account: &Account,
        env: &RunEnv,
        secret: Secret,
        history: LoginHistory,
    ) -> Result<Self> {
        let now = env.clock.now();
        let refused = history
            .refused
            .as_ref()
            .filter(|_| env.attendance != Attendance::Person);
        if let Some((refused, until)) =
            refused.and_then(|refused| Some((refused, refused.until(now)?)))
            && is_same(account, &secret, refused)?
        {
            return Err(with_login_hint(not_yet(refused, until), account, env));
        }
        let route = route(account, env)?;
        // not before: the password command may have used the terminal
        env.report.event(
            &account.name,
            &Event::Connecting {
                server: &account.address(),
            },
        );
        let begun = Some(dial(account, &route, env));
        Ok(Self {
            secret,
            renewed: false,
            history,
            route,
            begun,
        })
    }
}

/// Waits until the server accepts another login, if a person waits and that is soon.
///
/// # Errors
/// [`Kind::Busy`] if the run is too early; or a signal ended it.
pub(super) fn keep_delay(account: &Account, env: &RunEnv, history: &LoginHistory) -> Result<()> {
    let now = env.clock.now();
    let Some((delay, until)) = history
        .delay
        .and_then(|delay| Some((delay, delay.until(now)?)))
    else {
        return Ok(());
    };
    let left = TimeSpan::from_seconds(until.since(now));
    if env.attendance == Attendance::Person && left <= PATIENCE {
        return env.stop.sleep(left.into());
    }
    let ago = TimeSpan::from_seconds(now.since(delay.last_login));
    let what = format!("{} requires {} between logins", account.host, delay.delay);
    Err(Error::new(Kind::Busy, what).with_fact(format!(
        "the last login was {ago} ago, the next one is possible in {left}"
    )))
}

/// Returns the error of the last login again, with the time of the next attempt and the hint of the
/// server's text.
fn not_yet(refused: &RefusedLogin, until: Timestamp) -> Error {
    let (count, until) = (times(refused.count), moment(until));
    let not_before = format!("the same password is not tried again before {until}");
    match &refused.response {
        Some(response) => {
            let error = Error::new(Kind::Denied, refused.what.as_str())
                .with_fact(response.as_str())
                .with_fact(format!("refused {count}; {not_before}"));
            match refusal::hint(response) {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        }
        None => Error::new(Kind::ConnectionLost, refused.what.as_str()).with_fact(format!(
            "the password was sent {count} without a response; {not_before}"
        )),
    }
}

impl AccountRun<'_> {
    /// Records a failed login if the server refused the secret, or closed the connection when it
    /// had received it. Then obtains another secret, once in a run, if the refused one was a token.
    ///
    /// # Errors
    /// The error of the login, if there is no other secret, or that of obtaining one.
    pub(super) fn login_failed(&mut self, login: &mut Login, failure: LoginFailure) -> Result<()> {
        let LoginFailure { error, secret } = &failure;
        let may_count = *secret == SecretStatus::Refused
            || (*secret == SecretStatus::Sent && error.kind() == Kind::ConnectionLost);
        if may_count {
            let now = self.env.clock.now();
            let recorded = after_failure(self.account, login, error, now)
                .and_then(|history| self.ledger.record_logins(&history));
            // the refusal is more important to the user
            drop(recorded);
        }
        if !std::mem::replace(&mut login.renewed, true)
            && let Some(fresh) = renewed(self.account, self.env, &failure, &login.secret)?
        {
            login.secret = fresh;
            return Ok(());
        }
        Err(failure.error)
    }

    /// Records that access was refused after a login, as a refused login: both are counted by the
    /// server, and repeating either is useless. Returns the error of the session.
    pub(super) fn access_refused(&mut self, login: &Login, error: Error) -> Error {
        if error.kind() != Kind::AccessRefused {
            return error;
        }
        let now = self.env.clock.now();
        let recorded = after_failure(self.account, login, &error, now)
            .and_then(|history| self.ledger.record_logins(&history));
        // the refusal is more important to the user
        drop(recorded);
        with_access_hint(error, self.account, self.env)
    }

    /// Records a login that succeeded at `at`, also in `history`. Earlier refusals are kept until
    /// the server gives access to the mailbox: see [`record_success`].
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub(super) fn logged_in(
        &mut self,
        history: &mut LoginHistory,
        at: Timestamp,
        session: &Transaction<Stream>,
    ) -> Result<()> {
        let after = after_login(history, session, at);
        if after != *history {
            self.ledger.record_logins(&after)?;
            *history = after;
        }
        Ok(())
    }
}

/// Records a login after which the server listed the mailbox: earlier refusals do not delay the
/// next run, which uses the same mechanism.
///
/// # Errors
/// The ledger cannot be read or written.
pub fn record_success(ledger: &mut Ledger, method: LoginMethod, now: Timestamp) -> Result<()> {
    let history = ledger.reader().login_history()?;
    let after = LoginHistory {
        refused: None,
        fallback: history.fallback_after(method.mechanism, method.after_refusal, now),
        delay: history.delay,
    };
    if after == history {
        return Ok(());
    }
    ledger.record_logins(&after)
}

/// Returns the history after a login at `now`. Earlier refusals remain.
fn after_login(
    history: &LoginHistory,
    session: &Transaction<Stream>,
    now: Timestamp,
) -> LoginHistory {
    let LoginMethod {
        mechanism,
        after_refusal,
    } = session.method();
    let delay = session.capabilities().and_then(Capabilities::login_delay);
    LoginHistory {
        delay: delay.map(|seconds| LoginDelay {
            last_login: now,
            delay: TimeSpan::from_seconds(seconds),
        }),
        refused: history.refused.clone(),
        fallback: history.fallback_after(mechanism, after_refusal, now),
    }
}

/// Returns the history after a login that failed with `error`.
fn after_failure(
    account: &Account,
    login: &Login,
    error: &Error,
    now: Timestamp,
) -> Result<LoginHistory> {
    let (secret, history) = (&login.secret, &login.history);
    let earlier = match &history.refused {
        Some(refused) if is_same(account, secret, refused)? => Some(refused.clone()),
        _ => None,
    };
    let (count, fingerprint) = if let Some(refused) = earlier {
        (refused.count, refused.fingerprint)
    } else {
        let salt = new_salt()?;
        let hash = fingerprint(account, secret, &salt)?;
        (0, Fingerprint { salt, hash })
    };
    Ok(LoginHistory {
        refused: Some(RefusedLogin {
            count: count.saturating_add(1),
            last: now,
            what: error.what().to_owned(),
            response: matches!(error.kind(), Kind::Denied | Kind::AccessRefused)
                .then(|| error.facts().first().cloned().unwrap_or_default()),
            fingerprint,
        }),
        delay: history.delay,
        // after a refused login, another mechanism may succeed
        fallback: history
            .fallback
            .filter(|_| matches!(error.kind(), Kind::ConnectionLost | Kind::AccessRefused)),
    })
}

/// Returns whether `refused` is about this secret and these settings.
fn is_same(account: &Account, secret: &Secret, refused: &RefusedLogin) -> Result<bool> {
    let Fingerprint { salt, hash } = &refused.fingerprint;
    Ok(fingerprint(account, secret, salt)? == *hash)
}

/// Returns the salted hash of the secret and of the settings of the login. The user and the host
/// are the same for all logins in a ledger.
fn fingerprint(account: &Account, secret: &Secret, salt: &[u8]) -> Result<Vec<u8>> {
    let auth = match account.auth {
        Auth::Auto => "auto",
        Auth::Only(mechanism) => mechanism.name(),
    };
    let tls = match account.tls {
        Tls::Implicit => "implicit",
        Tls::StartTls => "starttls",
        Tls::Off => "off",
    };
    let client = account.client_certificate.as_ref();
    let files = client.map(|client| (&client.certificate, &client.key));
    // no secret contains NUL
    let settings = format!("\0{auth} {tls} {} {files:?}", account.port);
    salted_hash(&[secret, settings.as_bytes()], salt)
}
