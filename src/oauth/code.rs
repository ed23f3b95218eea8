//! The authorization code flow with PKCE (RFC 6749 §4.1, RFC 7636, RFC 8252).
//!
//! The user signs in at the provider, which redirects the browser to an address of this machine. If
//! the browser is on another machine, it shows an error, and the user pastes the address.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use url::Url;

use super::{
    http::Client,
    listener::Listener,
    paste::Paste,
    pkce::{Verifier, random},
    response::{CodeResponse, Expected, has_response},
    settings::Settings,
    token::{Tokens, request},
};
use crate::{
    error::{Error, Kind, Result},
    sys::interrupt::{Interrupt, Wake},
};

/// The time limit for the user to sign in.
const TIME_LIMIT: Duration = Duration::from_mins(10);

/// A sign-in that waits for the browser.
pub struct CodeFlow {
    settings: Settings,
    verifier: Verifier,
    listener: Listener,
    url: Url,
}

impl CodeFlow {
    /// Starts to listen for the browser, on `port` if that is given.
    ///
    /// # Errors
    /// The authorization endpoint is not known, or the port is in use.
    pub fn new(settings: &Settings, port: Option<u16>) -> Result<Self> {
        let endpoint = settings.endpoints.authorization.clone().ok_or_else(|| {
            let what = format!(
                "the authorization endpoint of {} is not known",
                settings.label
            );
            Error::new(Kind::Config, what).with_hint("sign in with `--device`")
        })?;
        let verifier = Verifier::new()?;
        let state = random(16)?;
        let expected = Expected {
            state: state.clone(),
            issuer: settings.endpoints.issuer.clone(),
            settings: settings.clone(),
        };
        let listener = Listener::new(&settings.redirect, port, expected)?;
        let mut url = endpoint;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &settings.client_id)
            .append_pair("redirect_uri", listener.redirect().as_str())
            .append_pair("scope", &settings.scope)
            .append_pair("state", &state)
            .append_pair("code_challenge", &verifier.challenge())
            .append_pair("code_challenge_method", "S256")
            .append_pair("login_hint", &settings.user)
            .extend_pairs(settings.parameters);
        Ok(Self {
            settings: settings.clone(),
            verifier,
            listener,
            url,
        })
    }

    /// Returns the address to open in a browser.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Returns the redirect URI, at which the browser is expected.
    pub fn redirect(&self) -> &str {
        self.listener.redirect().as_str()
    }

    /// Waits until the browser, or an address that is pasted at the `terminal`, brings the
    /// response. `wrong` is called for a pasted address without it.
    ///
    /// # Errors
    /// [`Kind::TimedOut`] after ten minutes; [`Kind::Stopped`] after a signal.
    pub fn wait(
        &self,
        terminal: Option<OwnedFd>,
        stop: &Interrupt,
        wrong: &mut dyn FnMut(&str),
    ) -> Result<CodeResponse> {
        let end = Instant::now() + TIME_LIMIT;
        let mut paste = terminal.and_then(Paste::new);
        loop {
            let files: Vec<_> = self
                .listener
                .files()
                .chain(paste.as_ref().and_then(Paste::file))
                .collect();
            let woken = stop
                .wait(files, Some(end))
                .map_err(|error| cannot_wait(&error))?;
            match woken {
                Wake::Signal => stop.check()?,
                Wake::Deadline => {
                    let minutes = TIME_LIMIT.as_secs() / 60;
                    let what = format!("the browser did not return within {minutes} minutes");
                    return Err(Error::new(Kind::TimedOut, what)
                        .with_hint(format!("run `{}` again", self.settings.login_command())));
                }
                Wake::Ready => {}
            }
            if let Some(response) = self.listener.serve()? {
                return Ok(response);
            }
            let is_ready = paste.as_ref().is_some_and(is_readable);
            if let Some(line) = paste.as_mut().filter(|_| is_ready).and_then(Paste::read) {
                match self.pasted(&line) {
                    Ok(response) => return Ok(response),
                    Err(reason) => wrong(reason),
                }
            }
        }
    }

    /// Reads a pasted address, or its query. The error is the reason why it is not accepted.
    fn pasted(&self, line: &str) -> std::result::Result<CodeResponse, &'static str> {
        let redirect = self.listener.redirect();
        let url = Url::parse(line).ok().or_else(|| {
            let mut url = redirect.clone();
            url.set_query(Some(line.trim_start_matches('?')));
            Some(url)
        });
        let url = url.filter(has_response).ok_or(
            "this address has no code; copy the complete address of the last page in the browser",
        )?;
        self.listener
            .expected()
            .read(&url)
            .ok_or("this address belongs to another sign-in; use the one printed above")
    }

    /// Exchanges the code for tokens.
    ///
    /// # Errors
    /// The issuer refused the code, or is unavailable.
    pub fn exchange(&self, client: &Client, code: &str) -> Result<Tokens> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.redirect()),
            ("code_verifier", self.verifier.as_str()),
        ];
        request(client, &self.settings, &form).map_err(|failure| failure.error(&self.settings))
    }
}

/// Returns whether something was typed.
fn is_readable(paste: &Paste) -> bool {
    let mut files: Vec<_> = paste.file().into_iter().collect();
    let now = rustix::event::Timespec::default();
    rustix::event::poll(&mut files, Some(&now)).is_ok_and(|ready| ready > 0)
}

fn cannot_wait(error: &io::Error) -> Error {
    Error::new(Kind::Io, "cannot wait for the browser").with_fact(error.to_string())
}
