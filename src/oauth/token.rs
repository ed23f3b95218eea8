//! The token endpoint (RFC 6749 §5).

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::{
    http::{Basic, Client, Response},
    refusal::Refusal,
    settings::Settings,
};
use crate::error::{Error, Kind, Result};

/// The lifetime of an access token whose response has none, in seconds.
const USUAL_LIFETIME: u64 = 3600;

/// A response of the token endpoint.
#[derive(Deserialize)]
pub struct Tokens {
    /// The access token.
    pub(super) access_token: Zeroizing<String>,
    /// Its lifetime in seconds.
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<u64>,
    /// The refresh token, if there is one, or if it changed.
    #[serde(default, deserialize_with = "not_empty")]
    pub(super) refresh_token: Option<Zeroizing<String>>,
    /// Who signed in (`OpenID` Connect).
    #[serde(default)]
    id_token: Option<Zeroizing<String>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(..)")
    }
}

impl Tokens {
    /// Returns the lifetime of the access token, in seconds.
    pub(super) fn lifetime(&self) -> u64 {
        self.expires_in.unwrap_or(USUAL_LIFETIME)
    }

    /// Returns whether there is a refresh token.
    pub fn can_renew(&self) -> bool {
        self.refresh_token.is_some()
    }

    /// Returns the address of the user who signed in, if the response has it. It is not verified:
    /// it only serves a message.
    pub fn signed_in_user(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Claims {
            preferred_username: Option<String>,
            email: Option<String>,
        }
        let payload = self.id_token.as_ref()?.split('.').nth(1)?;
        let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
        let claims: Claims = serde_json::from_slice(&payload).ok()?;
        claims.preferred_username.or(claims.email)
    }
}

/// Reads a token. Some issuers send an empty one instead of none.
fn not_empty<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Zeroizing<String>>, D::Error> {
    let token = Option::<Zeroizing<String>>::deserialize(deserializer)?;
    Ok(token.filter(|token| !token.is_empty()))
}

/// Reads a number of seconds. Some issuers send it as a string, or with a fraction. Returns `None`
/// for anything else.
pub(super) fn seconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<u64>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    Ok(text
        .split('.')
        .next()
        .and_then(|whole| whole.trim().parse().ok()))
}

/// The reason for which a request has no tokens as its response.
pub(super) enum Failure {
    /// The issuer refused it.
    Refused(Refusal),
    /// It may succeed later. The time is the one that the issuer gives.
    Transient(Error, Option<Duration>),
    /// It could not be sent.
    Unsent(Error),
}

impl Failure {
    /// Returns the error that reports this failure.
    pub(super) fn error(self, settings: &Settings) -> Error {
        match self {
            Self::Refused(refusal) => refusal.error(settings),
            Self::Transient(error, _) | Self::Unsent(error) => error,
        }
    }
}

/// Sends a form to the token endpoint. The client's ID and secret are added.
pub(super) fn request(
    client: &Client,
    settings: &Settings,
    form: &[(&str, &str)],
) -> std::result::Result<Tokens, Failure> {
    let Some(url) = &settings.endpoints.token else {
        let what = format!("the token endpoint of {} is not known", settings.label);
        let error =
            Error::new(Kind::Config, what).with_hint(format!("run `{}`", settings.login_command()));
        return Err(Failure::Unsent(error));
    };
    let response = post(client, settings, url, form);
    response
        .map_err(|error| match error.kind() {
            // the proxy requires another login
            Kind::Denied => Failure::Unsent(error),
            _ => Failure::Transient(error, None),
        })
        .and_then(|response| read(settings, &response))
}

/// Sends a form to an endpoint, with the client's ID and secret.
///
/// # Errors
/// There is no response.
pub(super) fn post(
    client: &Client,
    settings: &Settings,
    url: &url::Url,
    form: &[(&str, &str)],
) -> Result<Response> {
    let id = settings.client_id.as_str();
    let secret = settings
        .client_secret
        .as_ref()
        .map(|secret| secret.as_str());
    let mut form = form.to_vec();
    form.push(("client_id", id));
    match secret {
        Some(secret) if settings.endpoints.basic => {
            client.post(url, &form, Some(&Basic { id, secret }))
        }
        Some(secret) => {
            form.push(("client_secret", secret));
            client.post(url, &form, None)
        }
        None => client.post(url, &form, None),
    }
}

/// Reads the response of the token endpoint.
fn read(settings: &Settings, response: &Response) -> std::result::Result<Tokens, Failure> {
    let transient = |fact: String| {
        let what = format!("{} did not issue a token", settings.label);
        let error = Error::new(Kind::Busy, what).with_fact(fact);
        Failure::Transient(error, response.retry_after)
    };
    if response.status == 429 || response.status >= 500 {
        return Err(transient(format!(
            "it sent HTTP status {}",
            response.status
        )));
    }
    if response.status == 200
        && let Ok(tokens) = serde_json::from_slice::<Tokens>(&response.body)
        && is_sendable(&tokens.access_token)
    {
        return Ok(tokens);
    }
    // some issuers refuse with status 200
    match Refusal::from_json(&response.body) {
        Some(refusal) if refusal.is_transient() => Err(Failure::Transient(
            refusal.error(settings),
            response.retry_after,
        )),
        Some(refusal) => Err(Failure::Refused(refusal)),
        None if response.status == 200 => Err(transient("its response has no access token".into())),
        // a captive portal
        None => Err(transient(format!(
            "it sent HTTP status {} without an error code",
            response.status
        ))),
    }
}

/// Returns whether a token can be sent to a server: it is printable ASCII (RFC 6750 §2.1).
fn is_sendable(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::{super::settings::tests::settings, *};

    fn response(status: u16, body: &str) -> std::result::Result<Tokens, Failure> {
        let response = Response {
            status,
            retry_after: None,
            body: Zeroizing::new(body.as_bytes().to_vec()),
        };
        read(&settings("https://id.example.org/token"), &response)
    }

    #[test]
    fn tokens_are_read() {
        let body = r#"{"access_token": "at", "expires_in": "3599", "token_type": "Bearer"}"#;
        let tokens = response(200, body).ok().unwrap();
        assert_eq!(tokens.lifetime(), 3599);
        assert!(!tokens.can_renew());
        let body = r#"{"access_token": "at", "expires_in": 5, "refresh_token": "rt",
            "id_token": "x.eyJlbWFpbCI6ImFubkBleGFtcGxlLm9yZyJ9.y"}"#;
        let tokens = response(200, body).ok().unwrap();
        assert_eq!(tokens.lifetime(), 5);
        assert_eq!(tokens.signed_in_user().unwrap(), "ann@example.org");
        assert_eq!(format!("{tokens:?}"), "Tokens(..)");
        let body = r#"{"access_token": "at", "expires_in": 59.9, "refresh_token": ""}"#;
        let tokens = response(200, body).ok().unwrap();
        assert_eq!(tokens.lifetime(), 59);
        assert!(!tokens.can_renew());
        let body = r#"{"access_token": "at", "expires_in": null, "refresh_token": null}"#;
        assert_eq!(response(200, body).ok().unwrap().lifetime(), 3600);
    }

    #[test]
    fn responses_without_tokens_are_transient_unless_they_are_refusals() {
        let transient =
            |status, body| matches!(response(status, body), Err(Failure::Transient(..)));
        assert!(transient(200, "<html>log in to the Wi-Fi</html>"));
        assert!(transient(200, r#"{"access_token": "a b"}"#));
        assert!(transient(302, ""));
        assert!(transient(503, r#"{"error": "invalid_grant"}"#));
        assert!(transient(400, r#"{"error": "temporarily_unavailable"}"#));
        assert!(!transient(400, r#"{"error": "invalid_grant"}"#));
        assert!(!transient(200, r#"{"error": "invalid_grant"}"#));
        let codes = r#"{"error": "invalid_grant", "error_codes": ["x", 70043], "error_uri": 1}"#;
        assert!(!transient(400, codes));
    }
}
