//! The providers whose endpoints are known.
//!
//! No client is built in. Clients of other programs would work, until their owners switch them off.

use crate::config::oauth::ProviderName;

/// What pouch knows of a provider.
#[derive(Debug)]
pub(super) struct Provider {
    /// Its name in the config.
    pub(super) name: ProviderName,
    /// Its name in messages.
    pub(super) label: &'static str,
    /// The `iss` of its responses (RFC 9207), if it sends one.
    pub(super) issuer: Option<&'static str>,
    /// The authorization endpoint. `TENANT` is replaced by the tenant.
    pub(super) authorization: &'static str,
    /// The device authorization endpoint, if it grants access to mail.
    pub(super) device: Option<&'static str>,
    /// The token endpoint.
    pub(super) token: &'static str,
    /// The revocation endpoint (RFC 7009).
    pub(super) revocation: Option<&'static str>,
    /// The scopes, separated by spaces.
    pub(super) scope: &'static str,
    /// The redirect URI of clients for computers; any port is accepted.
    pub(super) redirect: &'static str,
    /// Further parameters of the authorization request.
    pub(super) parameters: &'static [(&'static str, &'static str)],
    /// How to get a client, step by step.
    pub(super) steps: &'static [&'static str],
    /// The hint for an account without a client.
    pub(super) hint: &'static str,
}

/// The steps at a provider that registers clients for mail by contract only.
const BY_CONTRACT: &[&str] =
    &["it registers clients for mail only by contract; most users need an app password"];

/// The hint for a provider with app passwords.
const USE_APP_PASSWORD: &str = "an app password is simpler: create one in the account's security \
                                settings, and set `password-command` instead of `oauth`";

/// All providers.
const PROVIDERS: [Provider; 6] = [
    Provider {
        name: ProviderName::Microsoft,
        label: "Microsoft",
        issuer: None,
        authorization: "https://login.microsoftonline.com/TENANT/oauth2/v2.0/authorize",
        device: Some("https://login.microsoftonline.com/TENANT/oauth2/v2.0/devicecode"),
        token: "https://login.microsoftonline.com/TENANT/oauth2/v2.0/token",
        revocation: None,
        // the resource differs from the POP3 host, outlook.office365.com
        scope: "https://outlook.office.com/POP.AccessAsUser.All offline_access openid email",
        // 127.0.0.1 is refused (AADSTS50011)
        redirect: "http://localhost",
        parameters: &[],
        steps: &[
            "1. sign in to https://entra.microsoft.com with an account that has a directory (a \
             work account, or an Azure account); a personal account alone cannot register clients",
            "2. App registrations, New registration: choose accounts in any directory and personal \
             accounts; add the redirect URI http://localhost of the type \"mobile and desktop\"",
            "3. Authentication: allow public client flows",
            "4. API permissions: Microsoft Graph, delegated, POP.AccessAsUser.All and \
             offline_access",
            "5. copy the \"Application (client) ID\"",
        ],
        hint: "set oauth = { provider = \"microsoft\", client-id = \"…\" }; Microsoft accepts no \
               passwords for POP3",
    },
    Provider {
        name: ProviderName::Google,
        label: "Google",
        issuer: Some("https://accounts.google.com"),
        authorization: "https://accounts.google.com/o/oauth2/v2/auth",
        // the device flow does not grant the scope for mail
        device: None,
        token: "https://oauth2.googleapis.com/token",
        revocation: Some("https://oauth2.googleapis.com/revoke"),
        scope: "https://mail.google.com/",
        redirect: "http://127.0.0.1",
        // without them, only the first sign-in returns a refresh token
        parameters: &[("access_type", "offline"), ("prompt", "consent")],
        steps: &[
            "1. create a project at https://console.cloud.google.com",
            "2. Google Auth Platform, Branding and Audience: external users; publish the app, or \
             each sign-in lasts 7 days",
            "3. Clients, Create client: Desktop app; download the JSON file",
            "4. set oauth = { provider = \"google\", client-file = \"~/.config/pouch/google.json\" }",
        ],
        hint: "an app password is simpler: create one at https://myaccount.google.com/apppasswords \
               (it requires 2-step verification), and set `password-command` instead of `oauth`",
    },
    Provider {
        name: ProviderName::Yahoo,
        label: "Yahoo",
        issuer: None,
        authorization: "https://api.login.yahoo.com/oauth2/request_auth",
        device: None,
        token: "https://api.login.yahoo.com/oauth2/get_token",
        revocation: None,
        scope: "mail-w",
        redirect: "http://localhost",
        parameters: &[],
        steps: BY_CONTRACT,
        hint: USE_APP_PASSWORD,
    },
    Provider {
        name: ProviderName::Aol,
        label: "AOL",
        issuer: None,
        authorization: "https://api.login.aol.com/oauth2/request_auth",
        device: None,
        token: "https://api.login.aol.com/oauth2/get_token",
        revocation: None,
        scope: "mail-w",
        redirect: "http://localhost",
        parameters: &[],
        steps: BY_CONTRACT,
        hint: USE_APP_PASSWORD,
    },
    Provider {
        name: ProviderName::Fastmail,
        label: "Fastmail",
        issuer: None,
        authorization: "https://api.fastmail.com/oauth/authorize",
        device: None,
        token: "https://api.fastmail.com/oauth/refresh",
        revocation: None,
        scope: "https://www.fastmail.com/dev/protocol-pop offline_access",
        redirect: "http://localhost",
        parameters: &[],
        steps: &["clients are registered on request: https://www.fastmail.com/dev/"],
        hint: USE_APP_PASSWORD,
    },
    Provider {
        name: ProviderName::Comcast,
        label: "Comcast",
        issuer: None,
        authorization: "https://oauth.xfinity.com/oauth/authorize",
        device: None,
        token: "https://oauth.xfinity.com/oauth/token",
        revocation: None,
        scope: "https://email.comcast.net/ profile openid",
        redirect: "http://localhost",
        parameters: &[],
        steps: &["it registers clients only by contract"],
        hint: "use `password-command` instead of `oauth`, and allow third-party access in the \
               mail settings on its web site",
    },
];

impl Provider {
    /// Returns the provider of this name.
    pub(super) fn named(name: ProviderName) -> &'static Self {
        let found = PROVIDERS.iter().find(|provider| provider.name == name);
        // a test compares the table with the names
        found.unwrap_or(&PROVIDERS[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::oauth::Endpoint;

    #[test]
    fn table_has_every_provider_with_valid_endpoints() {
        use ProviderName as P;
        for name in [
            P::Microsoft,
            P::Google,
            P::Yahoo,
            P::Aol,
            P::Fastmail,
            P::Comcast,
        ] {
            let provider = Provider::named(name);
            assert_eq!(provider.name, name);
            let fixed = [provider.authorization, provider.token];
            let optional = [provider.device, provider.revocation];
            for url in fixed.into_iter().chain(optional.into_iter().flatten()) {
                assert!(Endpoint::new(url).is_some(), "{url}");
            }
        }
    }
}
