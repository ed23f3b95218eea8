//! Access tokens of accounts that sign in with OAuth 2.0.

use std::path::Path;

use crate::{
    config::{Account, SecretSource, oauth::OAuth},
    error::Result,
    net::TlsCache,
    oauth::{self, Client, Roots, Settings, SignIn, Store, Via},
    sys::{clock::Clock, interrupt::Interrupt, password::Secret},
};

/// The environment in which an account's tokens are stored and renewed.
#[derive(Clone, Copy)]
pub struct TokenEnv<'a> {
    /// The directory of ledgers, locks and tokens.
    pub state_dir: &'a Path,
    /// The home directory, which is abbreviated in messages.
    pub home: &'a Path,
    /// The certificate authorities of the system.
    pub tls: &'a TlsCache,
    /// The clock.
    pub clock: Clock,
    /// Ends the wait for another pouch, and for an issuer that is busy.
    pub stop: &'a Interrupt,
}

/// Returns the keys `oauth` of an account, or `None` if it logs in in another way.
pub fn keys(account: &Account) -> Option<&OAuth> {
    match &account.secret {
        SecretSource::OAuth(keys) => Some(keys),
        _ => None,
    }
}

/// Returns the settings of an account's sign-in.
///
/// # Errors
/// See [`Settings::new`].
pub fn settings(account: &Account, keys: &OAuth, home: &Path) -> Result<Settings> {
    Settings::new(keys, &account.name, &account.user, home)
}

/// Returns a client for requests to the issuer, by the route `via`.
///
/// # Errors
/// The file with its authorities cannot be read, or the proxy cannot be used.
pub fn client(keys: &OAuth, env: TokenEnv<'_>, via: &Via) -> Result<Client> {
    let roots = match &keys.ca_file {
        Some(path) => Roots::from_file(path, env.home)?,
        None => match env.tls.bundled_roots() {
            Some(all) => Roots::Only(all),
            None => Roots::System,
        },
    };
    Client::new(roots, via)
}

/// Returns the ports that the renewal of an account's token connects to, besides that of the
/// account's proxy.
pub fn ports(account: &Account, state_dir: &Path, home: &Path) -> Vec<u16> {
    let Some(keys) = keys(account) else {
        return Vec::new();
    };
    // the run reports an error
    let Ok(settings) = Settings::new(keys, &account.name, &account.user, home) else {
        return Vec::new();
    };
    if account.proxy_server().is_some() {
        return Vec::new();
    }
    let stored = Store::new(&settings, state_dir, home).port();
    let proxy = match account.proxy {
        Some(_) => None,
        None => oauth::proxy_port(),
    };
    [Some(settings.port()), stored, proxy]
        .into_iter()
        .flatten()
        .collect()
}

/// Returns an access token that the server has not `refused`, and renews it if necessary, by the
/// route that `via` returns.
///
/// # Errors
/// See [`oauth::access_token`].
pub fn access_token(
    account: &Account,
    keys: &OAuth,
    env: TokenEnv<'_>,
    via: &dyn Fn() -> Result<Via>,
    refused: Option<&[u8]>,
) -> Result<Secret> {
    let settings = settings(account, keys, env.home)?;
    let store = Store::new(&settings, env.state_dir, env.home);
    let client = || client(keys, env, &via()?);
    oauth::access_token(&store, &client, refused, env.clock, env.stop)
}

/// Returns the provider and the sign-in of an account, or `None` if it logs in in another way. The
/// sign-in is `None` before the first one.
///
/// # Errors
/// There is no client, or the tokens cannot be read.
pub fn sign_in(account: &Account, env: TokenEnv<'_>) -> Result<Option<(String, Option<SignIn>)>> {
    let Some(keys) = keys(account) else {
        return Ok(None);
    };
    let settings = settings(account, keys, env.home)?;
    let sign_in = Store::new(&settings, env.state_dir, env.home).sign_in()?;
    Ok(Some((settings.label().to_owned(), sign_in)))
}
