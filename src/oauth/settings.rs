//! The settings of a sign-in: those of the config, completed by those of the provider.

use std::{fmt, path::Path};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::Url;
use zeroize::Zeroizing;

use super::provider::Provider;
use crate::{
    config::oauth::{Endpoint, OAuth},
    error::{Error, Kind, Result},
    sys::files,
    text::{hex, tilde},
};

/// The tenant of Microsoft for all accounts.
const ANY_TENANT: &str = "common";

/// The endpoints of an issuer. Those that are `None` are unknown, or do not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Endpoints {
    /// The authorization endpoint.
    pub(super) authorization: Option<Url>,
    /// The device authorization endpoint (RFC 8628).
    pub(super) device: Option<Url>,
    /// The token endpoint.
    pub(super) token: Option<Url>,
    /// The revocation endpoint (RFC 7009).
    pub(super) revocation: Option<Url>,
    /// The `iss` of authorization responses (RFC 9207).
    pub(super) issuer: Option<String>,
    /// Whether the client authenticates with HTTP Basic instead of in the form.
    pub(super) basic: bool,
}

/// The settings of a sign-in.
#[derive(Clone)]
pub struct Settings {
    /// The name of the account, for hints.
    pub(super) account: String,
    /// The login name.
    pub(super) user: String,
    /// The name of the provider or the issuer in messages.
    pub(super) label: String,
    /// The ID of the client.
    pub(super) client_id: String,
    /// The secret of the client, if it has one.
    pub(super) client_secret: Option<Zeroizing<String>>,
    /// The endpoints that are known.
    pub(super) endpoints: Endpoints,
    /// The issuer whose metadata name the other endpoints.
    pub(super) issuer: Option<Url>,
    /// The scopes, separated by spaces.
    pub(super) scope: String,
    /// The registered redirect URI.
    pub(super) redirect: Url,
    /// Further parameters of the authorization request.
    pub(super) parameters: &'static [(&'static str, &'static str)],
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("label", &self.label)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Completes the settings of `account`, whose login name is `user`. `home` is abbreviated in
    /// messages.
    ///
    /// # Errors
    /// [`Kind::Config`] if there is no client, or nothing that names a token endpoint.
    pub fn new(oauth: &OAuth, account: &str, user: &str, home: &Path) -> Result<Self> {
        let provider = oauth.provider.map(Provider::named);
        let issuer = oauth.issuer.as_ref().map(|issuer| issuer.0.clone());
        let endpoints = endpoints(oauth, provider);
        let token_host = endpoints.token.as_ref().or(issuer.as_ref());
        let Some(host) = token_host.and_then(Url::host_str) else {
            let what = format!("`oauth` of account `{account}` names no provider");
            return Err(Error::new(Kind::Config, what)
                .with_hint("add `provider`, `issuer`, or the endpoints and the scope"));
        };
        let label = provider.map_or_else(|| host.to_owned(), |provider| provider.label.to_owned());
        let (client_id, client_secret) = if let Some(file) = &oauth.client_file {
            client_from_file(file, home)?
        } else {
            let id = oauth.client_id.clone();
            let id = id.ok_or_else(|| no_client(account, &label, provider))?;
            let secret = oauth.client_secret.as_ref();
            (id, secret.map(|secret| Zeroizing::new(secret.0.clone())))
        };
        let scope = oauth.scope.as_ref().map(|scope| scope.join(" "));
        let redirect = oauth.redirect.as_ref().map(|redirect| redirect.0.clone());
        let usual = provider.map_or("http://127.0.0.1", |provider| provider.redirect);
        Ok(Self {
            account: account.to_owned(),
            user: user.to_owned(),
            client_id,
            client_secret,
            scope: scope
                .or_else(|| provider.map(|provider| provider.scope.to_owned()))
                .unwrap_or_else(|| "offline_access".to_owned()),
            redirect: redirect.or_else(|| Url::parse(usual).ok()).ok_or_else(|| {
                Error::new(Kind::Bug, "the redirect URI of the provider is not a URL")
            })?,
            parameters: provider.map_or(&[], |provider| provider.parameters),
            label,
            endpoints,
            issuer,
        })
    }

    /// Returns the name of the provider or the issuer.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Returns whether the provider has a device flow.
    pub fn has_device_flow(&self) -> bool {
        self.endpoints.device.is_some() || (self.issuer.is_some() && !self.is_complete())
    }

    /// Returns whether the endpoints are known, so that no metadata have to be requested.
    pub(super) fn is_complete(&self) -> bool {
        self.endpoints.token.is_some() && self.endpoints.authorization.is_some()
    }

    /// Returns the port of the token endpoint, or that of the issuer if it is not known.
    pub fn port(&self) -> u16 {
        let url = self.endpoints.token.as_ref().or(self.issuer.as_ref());
        url.and_then(Url::port_or_known_default).unwrap_or(443)
    }

    /// Returns the name of the file with the tokens: a hash of everything that a refresh token is
    /// valid for. After a change of the client or the scope, the account is not signed in.
    pub(super) fn key(&self) -> String {
        let issuer = self.issuer.as_ref().or(self.endpoints.token.as_ref());
        let parts = [
            issuer.map_or("", Url::as_str),
            &self.client_id,
            &self.scope,
            &self.user,
        ];
        hex(&Sha256::digest(parts.join("\0"))[..16])
    }

    /// Returns the command that signs in, for hints.
    pub(super) fn login_command(&self) -> String {
        format!("pouch login {}", self.account)
    }
}

/// Returns the endpoints of the config, and those of the provider for the others.
fn endpoints(oauth: &OAuth, provider: Option<&Provider>) -> Endpoints {
    let tenant = oauth.tenant.as_deref().unwrap_or(ANY_TENANT);
    let choose = |own: &Option<Endpoint>, usual: Option<&str>| {
        let own = own.as_ref().map(|endpoint| endpoint.0.clone());
        own.or_else(|| Url::parse(&usual?.replace("TENANT", tenant)).ok())
    };
    Endpoints {
        authorization: choose(
            &oauth.authorization_endpoint,
            provider.map(|provider| provider.authorization),
        ),
        device: choose(
            &oauth.device_endpoint,
            provider.and_then(|provider| provider.device),
        ),
        token: choose(
            &oauth.token_endpoint,
            provider.map(|provider| provider.token),
        ),
        revocation: choose(
            &oauth.revocation_endpoint,
            provider.and_then(|provider| provider.revocation),
        ),
        issuer: provider.and_then(|provider| provider.issuer.map(str::to_owned)),
        basic: false,
    }
}

/// Returns the error for an account without a client, with the steps to get one.
fn no_client(account: &str, label: &str, provider: Option<&Provider>) -> Error {
    let what = format!("`oauth` of account `{account}` has no `client-id`");
    let error = Error::new(Kind::Config, what);
    let Some(provider) = provider else {
        return error
            .with_fact(format!("{label} identifies programs by a client ID"))
            .with_hint("register a public client there, and set `client-id`");
    };
    let intro = format!("{label} identifies programs by a client ID; pouch has no built-in one");
    let error = provider
        .steps
        .iter()
        .fold(error.with_fact(intro), |error, step| error.with_fact(*step));
    error.with_hint(provider.hint)
}

/// The file that Google's console offers for download.
#[derive(Deserialize)]
struct ClientFile {
    installed: Option<Client>,
    web: Option<Client>,
}

#[derive(Deserialize)]
struct Client {
    client_id: String,
    client_secret: Option<String>,
}

/// The largest client file that is read, in bytes.
const MAX_CLIENT_FILE: u64 = 64 * 1024;

/// What some editors write at the beginning of a file.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Reads the client's ID and secret from a file.
fn client_from_file(path: &Path, home: &Path) -> Result<(String, Option<Zeroizing<String>>)> {
    let shown = tilde(path, home);
    let unusable = |fact: String| {
        Error::new(Kind::Config, format!("cannot use the client file {shown}")).with_fact(fact)
    };
    let text = files::read(path, MAX_CLIENT_FILE).map_err(|error| unusable(error.to_string()))?;
    let text = Zeroizing::new(text);
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
    let file: ClientFile = serde_json::from_slice(text)
        .map_err(|error| unusable(format!("not a client file: line {}", error.line())))?;
    let client = file.installed.or(file.web).ok_or_else(|| {
        unusable("it contains no client".into())
            .with_hint("download the JSON file of a client for desktop apps")
    })?;
    Ok((client.client_id, client.client_secret.map(Zeroizing::new)))
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use super::*;
    use crate::config::oauth::ProviderName;

    /// Returns the settings of `ann` at an issuer with this token endpoint.
    pub(in crate::oauth) fn settings(token: &str) -> Settings {
        let oauth = OAuth {
            client_id: Some("pop-client".into()),
            token_endpoint: Endpoint::new(token),
            scope: Some(vec!["mail".into(), "offline_access".into()]),
            ..OAuth::default()
        };
        Settings::new(&oauth, "work", "ann@example.org", Path::new("/home/ann")).unwrap()
    }

    fn error(oauth: &OAuth) -> String {
        let settings = Settings::new(oauth, "work", "ann", Path::new("/home/ann"));
        settings.unwrap_err().to_string()
    }

    #[test]
    fn missing_client_is_explained_step_by_step() {
        let of = |name| OAuth {
            provider: Some(name),
            ..OAuth::default()
        };
        insta::assert_snapshot!(error(&of(ProviderName::Google)), @r#"
        `oauth` of account `work` has no `client-id`
          Google identifies programs by a client ID; pouch has no built-in one
          1. create a project at https://console.cloud.google.com
          2. Google Auth Platform, Branding and Audience: external users; publish the app, or each sign-in lasts 7 days
          3. Clients, Create client: Desktop app; download the JSON file
          4. set oauth = { provider = "google", client-file = "~/.config/pouch/google.json" }
        hint: an app password is simpler: create one at https://myaccount.google.com/apppasswords (it requires 2-step verification), and set `password-command` instead of `oauth`
        "#);
        insta::assert_snapshot!(error(&of(ProviderName::Microsoft)), @r#"
        `oauth` of account `work` has no `client-id`
          Microsoft identifies programs by a client ID; pouch has no built-in one
          1. sign in to https://entra.microsoft.com with an account that has a directory (a work account, or an Azure account); a personal account alone cannot register clients
          2. App registrations, New registration: choose accounts in any directory and personal accounts; add the redirect URI http://localhost of the type "mobile and desktop"
          3. Authentication: allow public client flows
          4. API permissions: Microsoft Graph, delegated, POP.AccessAsUser.All and offline_access
          5. copy the "Application (client) ID"
        hint: set oauth = { provider = "microsoft", client-id = "…" }; Microsoft accepts no passwords for POP3
        "#);
    }

    #[test]
    fn client_is_read_from_the_file_of_googles_console() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("google.json");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            let client = client_from_file(&path, dir.path());
            client.map(|(id, secret)| (id, secret.unwrap().to_string()))
        };
        let (id, secret) =
            read(r#"{"installed": {"client_id": "a", "client_secret": "b", "auth_uri": "c"}}"#)
                .unwrap();
        assert_eq!((id.as_str(), secret.as_str()), ("a", "b"));
        let web = "\u{feff}{\"web\": {\"client_id\": \"a\", \"client_secret\": \"b\"}}";
        assert_eq!(read(web).unwrap().0, "a");
        for text in ["{}", "[secret]"] {
            let error = read(text).unwrap_err();
            assert_eq!(error.kind(), Kind::Config);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn tenant_and_client_are_used() {
        let oauth = OAuth {
            provider: Some(ProviderName::Microsoft),
            tenant: Some("contoso.example".into()),
            client_id: Some("x".into()),
            ..OAuth::default()
        };
        let settings = |oauth: &OAuth, user| {
            Settings::new(oauth, "work", user, Path::new("/home/ann")).unwrap()
        };
        let ann = settings(&oauth, "ann");
        let token = ann.endpoints.token.clone().unwrap();
        assert_eq!(token.path(), "/contoso.example/oauth2/v2.0/token");
        let other = OAuth {
            client_id: Some("y".into()),
            ..oauth.clone()
        };
        assert_ne!(ann.key(), settings(&other, "ann").key());
        assert_ne!(ann.key(), settings(&oauth, "ben").key());
        assert_eq!(ann.key(), settings(&oauth, "ann").key());
    }
}
