//! The value of `oauth`: the name of a provider, or a table.

use std::path::PathBuf;

use toml::de::DeValue;

use super::read::{
    Unexpected, Value, Words, in_order, inline_table, list_of, parsed, quoted, some_elements,
    text_in,
};
use crate::{
    config::{
        oauth::{ClientSecret, Endpoint, OAuth, ProviderName, Redirect},
        syntax::FilePath,
    },
    text::{closest, sanitize},
};

/// The keys of the table.
const KEYS: [&str; 13] = [
    "provider",
    "tenant",
    "client-id",
    "client-secret",
    "client-file",
    "issuer",
    "authorization-endpoint",
    "device-endpoint",
    "token-endpoint",
    "revocation-endpoint",
    "scope",
    "redirect",
    "ca-file",
];

impl Words for ProviderName {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("microsoft", Self::Microsoft),
        ("google", Self::Google),
        ("yahoo", Self::Yahoo),
        ("aol", Self::Aol),
        ("fastmail", Self::Fastmail),
        ("comcast", Self::Comcast),
    ];
}

impl Value for OAuth {
    const EXPECTED: &'static str = "a provider, like \"microsoft\", or a table, \
        like { provider = \"google\", client-file = \"~/google.json\" }";

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        let Some(table) = value.as_table().filter(|table| !table.is_empty()) else {
            return Ok(Self {
                provider: Some(ProviderName::read_word(value).map_err(with_other)?),
                ..Self::default()
            });
        };
        let mut oauth = Self::default();
        for (key, value) in in_order(table) {
            let name = key.get_ref().as_ref();
            set(&mut oauth, name, value.get_ref()).map_err(|unexpected| match unexpected {
                None => unknown(name),
                Some(unexpected) => {
                    let found = format!("a table in which `{name}` is {}", unexpected.found);
                    Unexpected::new(found).with_hint(unexpected.hint)
                }
            })?;
        }
        check(&oauth)?;
        Ok(oauth)
    }

    fn to_toml(&self) -> String {
        let text = |name: &str, value: Option<String>| Some((name.to_owned(), value?));
        let string = |name, value: &Option<String>| text(name, value.as_deref().map(quoted));
        let path = |name, path: &Option<PathBuf>| {
            text(
                name,
                path.as_ref().map(|path| quoted(&path.to_string_lossy())),
            )
        };
        let url = |name, endpoint: &Option<Endpoint>| {
            text(name, endpoint.as_ref().map(|url| quoted(url.0.as_str())))
        };
        let provider = self.provider.map(|provider| quoted(provider.word()));
        let secret = self.client_secret.as_ref().map(|_| quoted("…"));
        let redirect = self.redirect.as_ref().map(|url| quoted(url.0.as_str()));
        let pairs = [
            text("provider", provider.clone()),
            string("tenant", &self.tenant),
            string("client-id", &self.client_id),
            text("client-secret", secret),
            path("client-file", &self.client_file),
            url("issuer", &self.issuer),
            url("authorization-endpoint", &self.authorization_endpoint),
            url("device-endpoint", &self.device_endpoint),
            url("token-endpoint", &self.token_endpoint),
            url("revocation-endpoint", &self.revocation_endpoint),
            text("scope", self.scope.as_ref().map(list_of)),
            text("redirect", redirect),
            path("ca-file", &self.ca_file),
        ];
        let pairs: Vec<_> = pairs.into_iter().flatten().collect();
        match (provider, pairs.len()) {
            (Some(provider), 1) => provider,
            _ => inline_table(pairs),
        }
    }
}

/// Adds the hint for a value that is not the name of a provider, unless it misspells one.
fn with_other(unexpected: Unexpected) -> Unexpected {
    let other = "the providers are microsoft, google, fastmail, yahoo, aol and comcast; for \
                 another one, write a table with `issuer`";
    let hint = unexpected.hint.unwrap_or_else(|| other.to_owned());
    Unexpected::new(unexpected.found).with_hint(Some(hint))
}

/// Sets one key.
///
/// # Errors
/// The value is not valid, or, with `None`, there is no such key.
fn set(oauth: &mut OAuth, name: &str, value: &DeValue<'_>) -> Result<(), Option<Unexpected>> {
    match name {
        "provider" => oauth.provider = Some(ProviderName::read_word(value)?),
        "tenant" => oauth.tenant = Some(parsed(value, tenant)?),
        "client-id" => oauth.client_id = Some(text_in(value)?.to_owned()),
        "client-secret" => {
            // the description of a wrong value must not show it
            let secret = text_in(value).map_err(|_| Unexpected::new("not a string"))?;
            oauth.client_secret = Some(ClientSecret(secret.to_owned()));
        }
        "client-file" => oauth.client_file = Some(path(value)?),
        "issuer" => oauth.issuer = Some(endpoint(value)?),
        "authorization-endpoint" => oauth.authorization_endpoint = Some(endpoint(value)?),
        "device-endpoint" => oauth.device_endpoint = Some(endpoint(value)?),
        "token-endpoint" => oauth.token_endpoint = Some(endpoint(value)?),
        "revocation-endpoint" => oauth.revocation_endpoint = Some(endpoint(value)?),
        "scope" => oauth.scope = Some(scopes(value)?),
        "redirect" => {
            let hint = "write the redirect URI that is registered, such as \"http://localhost\"";
            let redirect = parsed(value, Redirect::new);
            oauth.redirect = Some(redirect.map_err(|wrong| wrong.with_hint(Some(hint)))?);
        }
        "ca-file" => oauth.ca_file = Some(path(value)?),
        _ => return Err(None),
    }
    Ok(())
}

fn unknown(name: &str) -> Unexpected {
    let hint = closest(name, KEYS).map(|key| format!("did you mean `{key}`?"));
    let name = sanitize(name.as_bytes());
    Unexpected::new(format!("a table with the unknown key `{name}`"))
        .with_hint(hint.or_else(|| Some(format!("its keys are {}", KEYS.join(", ")))))
}

/// Checks that the table names a provider or endpoints, and its client once.
fn check(oauth: &OAuth) -> Result<(), Unexpected> {
    let named = oauth.provider.is_some() || oauth.issuer.is_some();
    if oauth.client_file.is_some() && (oauth.client_id.is_some() || oauth.client_secret.is_some()) {
        let found = "a table with both `client-file` and `client-id` or `client-secret`";
        return Err(Unexpected::new(found).with_hint(Some("remove one of them")));
    }
    if oauth.provider.is_some() && oauth.issuer.is_some() {
        let found = "a table with both `provider` and `issuer`";
        return Err(Unexpected::new(found).with_hint(Some("remove one of them")));
    }
    if oauth.tenant.is_some()
        && oauth
            .provider
            .is_some_and(|it| it != ProviderName::Microsoft)
    {
        let found = "a table with `tenant` for another provider than Microsoft";
        return Err(Unexpected::new(found).with_hint(Some("remove `tenant`")));
    }
    if !named && oauth.token_endpoint.is_some() && oauth.scope.is_none() {
        let found = "a table without `scope`";
        return Err(Unexpected::new(found)
            .with_hint(Some("add the scope that the provider documents for POP3")));
    }
    Ok(())
}

/// Parses a tenant: a word, a domain or an ID, which becomes a part of a path.
fn tenant(text: &str) -> Option<String> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let is_name = text.bytes().all(valid) && !text.starts_with('.');
    is_name.then(|| text.to_owned())
}

fn path(value: &DeValue<'_>) -> Result<PathBuf, Unexpected> {
    FilePath::read(value).map(|path| PathBuf::from(path.0))
}

fn endpoint(value: &DeValue<'_>) -> Result<Endpoint, Unexpected> {
    let is_http = value.as_str().is_some_and(|text| text.starts_with("http:"));
    let hint = is_http.then_some("tokens are only sent over https");
    parsed(value, Endpoint::new).map_err(|unexpected| unexpected.with_hint(hint))
}

fn scopes(value: &DeValue<'_>) -> Result<Vec<String>, Unexpected> {
    if let Ok(text) = text_in(value) {
        return Ok(text.split_whitespace().map(str::to_owned).collect());
    }
    some_elements(value)?
        .map(|element| {
            let word = |text: &str| (!text.contains(' ')).then(|| text.to_owned());
            parsed(element, word).map_err(Unexpected::in_list)
        })
        .collect()
}
