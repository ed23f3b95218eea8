//! Ending a sign-in: the tokens are removed here and revoked at the issuer (RFC 7009).

use super::{http::Client, settings::Settings, store::Store, token::post};
use crate::{
    error::{Error, Kind, Result},
    sys::interrupt::Interrupt,
};

/// Removes the tokens of an account, and revokes the refresh token if the issuer has an endpoint
/// for that. Returns `None` if the account was not signed in, and otherwise the problem that the
/// revocation had, if it had one.
///
/// # Errors
/// The file cannot be removed.
pub fn forget(
    store: &Store<'_>,
    client: &Client,
    settings: &Settings,
    stop: &Interrupt,
) -> Result<Option<Option<Error>>> {
    let Some(stored) = store.remove(stop)? else {
        return Ok(None);
    };
    let endpoint = stored
        .revocation
        .or_else(|| settings.endpoints.revocation.clone());
    let Some(endpoint) = endpoint.filter(|_| !stored.refresh_token.is_empty()) else {
        return Ok(Some(None));
    };
    let form = [
        ("token", stored.refresh_token.as_str()),
        ("token_type_hint", "refresh_token"),
    ];
    let problem = match post(client, settings, &endpoint, &form) {
        Ok(response) if response.status == 200 => None,
        Ok(response) => {
            let fact = format!("it sent HTTP status {}", response.status);
            let what = format!("{} did not revoke the token", settings.label());
            Some(Error::new(Kind::Busy, what).with_fact(fact))
        }
        Err(error) => Some(error),
    };
    Ok(Some(problem))
}
