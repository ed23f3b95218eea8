//! The metadata of an issuer (RFC 8414, `OpenID` Connect Discovery).

use serde::Deserialize;
use url::Url;

use super::{
    http::Client,
    settings::{Endpoints, Settings},
};
use crate::{
    config::oauth::Endpoint,
    error::{Error, Kind, Result},
};

/// The metadata that pouch uses.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: Option<String>,
    device_authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// Completes `settings` with the endpoints in the metadata of their issuer, if they have one.
///
/// # Errors
/// The issuer is unavailable, or has no valid metadata.
pub fn discover(client: &Client, settings: &mut Settings) -> Result<()> {
    let Some(issuer) = settings.issuer.clone() else {
        return Ok(());
    };
    let text = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
    let mut last = None;
    for url in addresses(&issuer) {
        let response = client.get(&url)?;
        let metadata = serde_json::from_slice::<Metadata>(&response.body);
        match metadata {
            Ok(metadata) if metadata.issuer.trim_end_matches('/') == text(&issuer) => {
                let found = metadata.endpoints();
                complete(&mut settings.endpoints, found);
                return Ok(());
            }
            Ok(_) => last = Some(format!("{url} describes another issuer")),
            Err(_) => last = Some(format!("{url}: HTTP status {}", response.status)),
        }
    }
    let what = format!("cannot find the OAuth 2.0 metadata of {}", text(&issuer));
    Err(Error::new(Kind::Config, what)
        .with_fact(last.unwrap_or_default())
        .with_hint("set the endpoints in the `oauth` table"))
}

/// Returns the addresses at which the metadata may be.
fn addresses(issuer: &Url) -> impl Iterator<Item = Url> {
    let path = issuer.path().trim_end_matches('/').to_owned();
    let known = "/.well-known";
    let paths = [
        format!("{path}{known}/openid-configuration"),
        format!("{known}/oauth-authorization-server{path}"),
    ];
    let issuer = issuer.clone();
    paths.into_iter().map(move |path| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url.set_query(None);
        url
    })
}

impl Metadata {
    fn endpoints(self) -> Endpoints {
        let url = |text: Option<String>| Some(Endpoint::new(&text?)?.0);
        let methods = self.token_endpoint_auth_methods_supported;
        let basic = methods.is_some_and(|methods| {
            let has = |method: &str| methods.iter().any(|name| name == method);
            has("client_secret_basic") && !has("client_secret_post")
        });
        Endpoints {
            authorization: url(self.authorization_endpoint),
            device: url(self.device_authorization_endpoint),
            token: url(self.token_endpoint),
            revocation: url(self.revocation_endpoint),
            issuer: Some(self.issuer),
            basic,
        }
    }
}

/// Adds the endpoints that the config does not set.
fn complete(endpoints: &mut Endpoints, found: Endpoints) {
    let Endpoints {
        authorization,
        device,
        token,
        revocation,
        issuer,
        basic,
    } = std::mem::take(endpoints);
    *endpoints = Endpoints {
        authorization: authorization.or(found.authorization),
        device: device.or(found.device),
        token: token.or(found.token),
        revocation: revocation.or(found.revocation),
        issuer: issuer.or(found.issuer),
        basic: basic || found.basic,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_are_below_the_path_of_the_issuer() {
        let issuer = Url::parse("https://id.example.org/realms/mail/").unwrap();
        let all: Vec<_> = addresses(&issuer).map(String::from).collect();
        assert_eq!(
            all,
            [
                "https://id.example.org/realms/mail/.well-known/openid-configuration",
                "https://id.example.org/.well-known/oauth-authorization-server/realms/mail",
            ]
        );
    }
}
