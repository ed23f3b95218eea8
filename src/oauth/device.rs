//! The device flow (RFC 8628): the user enters a code on another machine.

use std::{fmt, time::Duration};

use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    http::Client,
    refusal::Refusal,
    settings::Settings,
    token::{Failure, Tokens, post, request, seconds},
};
use crate::{
    error::{Error, Kind, Result},
    sys::interrupt::Interrupt,
    text::{count, sanitize},
};

/// The grant type of the flow.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The interval between two requests, if the issuer sets none, in seconds.
const USUAL_INTERVAL: u64 = 5;

/// The longest interval, and the time that `slow_down` adds, in seconds.
const LONGEST_INTERVAL: u64 = 60;
const SLOW_DOWN: u64 = 5;

/// The longest time for the user to sign in, in seconds.
const TIME_LIMIT: u64 = 900;

/// The response of the device authorization endpoint.
#[derive(Deserialize)]
struct Authorization {
    device_code: Zeroizing<String>,
    user_code: String,
    verification_uri: Option<String>,
    /// The name in an early draft, which some issuers still use.
    verification_url: Option<String>,
    verification_uri_complete: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<u64>,
    #[serde(default, deserialize_with = "seconds")]
    interval: Option<u64>,
}

impl Authorization {
    /// Returns the address at which to enter the code.
    fn address(&self) -> Option<&str> {
        let address = self.verification_uri.as_ref();
        address
            .or(self.verification_url.as_ref())
            .map(String::as_str)
    }
}

/// A sign-in that waits for the user to enter a code.
pub struct DeviceFlow {
    settings: Settings,
    authorization: Authorization,
}

impl fmt::Debug for DeviceFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceFlow(..)")
    }
}

impl DeviceFlow {
    /// Requests a code.
    ///
    /// # Errors
    /// The issuer has no such flow, refused it, or is unavailable.
    pub fn new(client: &Client, settings: &Settings) -> Result<Self> {
        let Some(endpoint) = &settings.endpoints.device else {
            let what = format!(
                "{} does not support `--device` for mail programs",
                settings.label
            );
            return Err(Error::new(Kind::Config, what).with_hint(format!(
                "run `{}` without `--device`",
                settings.login_command()
            )));
        };
        let response = post(client, settings, endpoint, &[("scope", &settings.scope)])?;
        if let Ok(authorization) = serde_json::from_slice::<Authorization>(&response.body)
            && authorization.address().is_some()
        {
            return Ok(Self {
                settings: settings.clone(),
                authorization,
            });
        }
        if let Some(refusal) = Refusal::from_json(&response.body) {
            return Err(refusal.error(settings));
        }
        let what = format!("{} did not send a code", settings.label);
        let fact = format!("it sent HTTP status {}", response.status);
        Err(Error::new(Kind::Busy, what).with_fact(fact))
    }

    /// Returns the code for the user to enter.
    pub fn user_code(&self) -> String {
        sanitize(self.authorization.user_code.as_bytes())
    }

    /// Returns the address where the user enters the code.
    pub fn address(&self) -> String {
        let address = self.authorization.address().unwrap_or_default();
        sanitize(address.as_bytes())
    }

    /// Returns an address that contains the code, or `None` if the issuer sent none.
    pub fn complete_address(&self) -> Option<String> {
        let complete = self.authorization.verification_uri_complete.as_ref();
        complete.map(|address| sanitize(address.as_bytes()))
    }

    /// Waits until the user has entered the code.
    ///
    /// # Errors
    /// [`Kind::Denied`] if the user refused; [`Kind::TimedOut`] if the code expired;
    /// [`Kind::Stopped`] after a signal.
    pub fn wait(&self, client: &Client, stop: &Interrupt) -> Result<Tokens> {
        let Authorization {
            device_code,
            interval,
            expires_in,
            ..
        } = &self.authorization;
        let limit = expires_in.unwrap_or(TIME_LIMIT).min(TIME_LIMIT);
        let mut interval = interval
            .unwrap_or(USUAL_INTERVAL)
            .clamp(1, LONGEST_INTERVAL);
        let form = [("grant_type", GRANT), ("device_code", device_code.as_str())];
        let mut waited = 0;
        loop {
            stop.sleep(Duration::from_secs(interval))?;
            waited += interval;
            let failure = match request(client, &self.settings, &form) {
                Ok(tokens) => return Ok(tokens),
                Err(failure) => failure,
            };
            let expired = match failure {
                Failure::Refused(refusal) => match refusal.error.as_str() {
                    "authorization_pending" => false,
                    "slow_down" => {
                        interval = (interval + SLOW_DOWN).min(LONGEST_INTERVAL);
                        false
                    }
                    "expired_token" => true,
                    _ => return Err(refusal.error(&self.settings)),
                },
                // RFC 8628 §3.5 requires a longer interval after a connection failed
                Failure::Unsent(error) => return Err(error),
                Failure::Transient(..) => {
                    interval = (interval * 2).min(LONGEST_INTERVAL);
                    false
                }
            };
            if expired || waited > limit {
                let minutes = count(limit.div_ceil(60), "minute");
                let what = format!("the code expired after {minutes}");
                let command = self.settings.login_command();
                return Err(Error::new(Kind::TimedOut, what)
                    .with_hint(format!("run `{command} --device` again")));
            }
        }
    }
}
