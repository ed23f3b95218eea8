//! The key `oauth`: the provider and the client of an account that signs in with OAuth 2.0.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use url::{Host, Url};

use super::syntax::FilePath;

/// A provider whose endpoints are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderName {
    /// Microsoft: Outlook.com and Microsoft 365.
    Microsoft,
    /// Google: Gmail and Google Workspace.
    Google,
    /// Yahoo.
    Yahoo,
    /// AOL.
    Aol,
    /// Fastmail.
    Fastmail,
    /// Comcast.
    Comcast,
}

/// The URL of an endpoint: `https`, or `http` on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(pub Url);

impl Endpoint {
    /// Parses a URL. Returns `None` if it is not one, or would be requested unencrypted over the
    /// network.
    pub fn new(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let plain = url.username().is_empty() && url.password().is_none() && url.has_host();
        let secure = match url.scheme() {
            "https" => true,
            "http" => is_loopback(&url),
            _ => false,
        };
        (plain && secure && url.fragment().is_none()).then_some(Self(url))
    }
}

/// The redirect URI that is registered for the client: `http` on this machine, with or without a
/// port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect(pub Url);

impl Redirect {
    /// Parses a redirect URI. Returns `None` if pouch cannot receive a request there.
    pub fn new(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let can_listen = url.scheme() == "http" && is_loopback(&url);
        (can_listen && url.query().is_none() && url.fragment().is_none()).then_some(Self(url))
    }
}

/// Returns whether the host of `url` is this machine: `localhost`, 127.0.0.0/8 or `::1`.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Returns the address on which to listen for `url`, whose host is this machine.
pub fn loopback_address(url: &Url) -> IpAddr {
    match url.host() {
        Some(Host::Ipv4(address)) => address.into(),
        Some(Host::Ipv6(address)) => address.into(),
        _ => Ipv4Addr::LOCALHOST.into(),
    }
}

/// The secret of a client. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret(pub String);

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(..)")
    }
}

/// The value of `oauth`. What is missing comes from the provider or the issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OAuth {
    /// The provider, if it is a known one.
    pub provider: Option<ProviderName>,
    /// The tenant at Microsoft.
    pub tenant: Option<String>,
    /// The ID of the client.
    pub client_id: Option<String>,
    /// The secret of the client.
    pub client_secret: Option<ClientSecret>,
    /// The file with both that Google's console offers for download.
    pub client_file: Option<PathBuf>,
    /// The issuer whose metadata name the endpoints.
    pub issuer: Option<Endpoint>,
    /// The authorization endpoint.
    pub authorization_endpoint: Option<Endpoint>,
    /// The device authorization endpoint.
    pub device_endpoint: Option<Endpoint>,
    /// The token endpoint.
    pub token_endpoint: Option<Endpoint>,
    /// The revocation endpoint.
    pub revocation_endpoint: Option<Endpoint>,
    /// The requested scopes.
    pub scope: Option<Vec<String>>,
    /// The registered redirect URI.
    pub redirect: Option<Redirect>,
    /// The certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl OAuth {
    /// Takes the keys that are not set from `below`, unless that is about another provider.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        let is_named = |oauth: &Self| oauth.provider.is_some() || oauth.issuer.is_some();
        if is_named(&self) && (self.provider != below.provider || self.issuer != below.issuer) {
            return self;
        }
        Self {
            provider: self.provider.or(below.provider),
            tenant: self.tenant.or(below.tenant),
            client_id: self.client_id.or(below.client_id),
            client_secret: self.client_secret.or(below.client_secret),
            client_file: self.client_file.or(below.client_file),
            issuer: self.issuer.or(below.issuer),
            authorization_endpoint: self.authorization_endpoint.or(below.authorization_endpoint),
            device_endpoint: self.device_endpoint.or(below.device_endpoint),
            token_endpoint: self.token_endpoint.or(below.token_endpoint),
            revocation_endpoint: self.revocation_endpoint.or(below.revocation_endpoint),
            scope: self.scope.or(below.scope),
            redirect: self.redirect.or(below.redirect),
            ca_file: self.ca_file.or(below.ca_file),
        }
    }

    /// Returns the same value with its paths expanded by `expand`.
    #[must_use]
    pub fn with_expanded(mut self, expand: &dyn Fn(&FilePath) -> PathBuf) -> Self {
        for path in [&mut self.client_file, &mut self.ca_file]
            .into_iter()
            .flatten()
        {
            // the path comes from TOML, which is UTF-8
            *path = expand(&FilePath(path.to_string_lossy().into_owned()));
        }
        self
    }

    /// Returns the files that it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.client_file, &self.ca_file].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_is_encrypted_or_on_this_machine() {
        let valid = |text| Endpoint::new(text).is_some();
        assert!(valid("https://id.example.org/token"));
        assert!(valid("http://127.0.0.1:8080/token"));
        assert!(valid("http://[::1]:8080/"));
        assert!(!valid("http://id.example.org/token"));
        assert!(!valid("https://ann:secret@id.example.org/"));
        assert!(!valid("id.example.org/token"));
        assert!(!valid("http://localhost.example.org/"));
    }

    #[test]
    fn redirect_is_on_this_machine() {
        let valid = |text| Redirect::new(text).is_some();
        assert!(valid("http://localhost"));
        assert!(valid("http://127.0.0.1:8080/pouch"));
        assert!(!valid("https://localhost/"));
        assert!(!valid("http://example.org/"));
        assert!(!valid("http://localhost/?x=1"));
    }

    #[test]
    fn defaults_apply_to_the_same_provider_only() {
        let client = |provider| OAuth {
            provider,
            client_id: Some("x".into()),
            ..OAuth::default()
        };
        let own = OAuth {
            provider: Some(ProviderName::Microsoft),
            ..OAuth::default()
        };
        let merged = own.clone().over(client(Some(ProviderName::Microsoft)));
        assert_eq!(merged.client_id.as_deref(), Some("x"));
        assert_eq!(own.clone().over(client(Some(ProviderName::Google))), own);
    }
}
