//! The meaning of an issuer's refusals: the exit code, and one hint.

use serde::Deserialize;

use super::settings::Settings;
use crate::{
    error::{Error, Kind},
    text::sanitize,
};

/// The longest `error_description` that is quoted, in characters. Microsoft appends traces and
/// times, after a line break.
const MAX_DESCRIPTION: usize = 200;

/// An error response (RFC 6749 §5.2, RFC 8628 §3.5).
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Refusal {
    /// The error code.
    pub(super) error: String,
    /// The description for developers.
    #[serde(default)]
    error_description: Option<String>,
    /// Microsoft's error codes, without `AADSTS`. Anything else is ignored.
    #[serde(default)]
    error_codes: serde_json::Value,
}

/// What can be done about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    /// Sign in again.
    SignIn,
    /// Sign in without the device flow, or ask the administrator.
    OtherFlow,
    /// Correct a key of the config: this hint.
    Hint(&'static str),
    /// Register the redirect URI.
    Redirect,
}

/// A row of the table: error codes, and their meaning.
struct Meaning {
    /// Microsoft's error codes. If the row has some, one of them must be in the response.
    numbers: &'static [u32],
    /// A text that the description must have as well.
    text: &'static str,
    /// The error codes of the standards. If the row has some, the response must have one of them.
    codes: &'static [&'static str],
    kind: Kind,
    what: &'static str,
    remedy: Remedy,
}

const CLIENT_HINT: &str = "check `client-id` and `client-secret` in the config";

/// The first row that matches is used.
const MEANINGS: [Meaning; 16] = [
    Meaning {
        numbers: &[700_082, 70_008],
        text: "",
        codes: &[],
        kind: Kind::Denied,
        what: "the sign-in expired, because it was not used for 90 days",
        remedy: Remedy::SignIn,
    },
    Meaning {
        numbers: &[50_173],
        text: "",
        codes: &[],
        kind: Kind::Denied,
        what: "the sign-in ended, because the password was changed or all sessions were revoked",
        remedy: Remedy::SignIn,
    },
    Meaning {
        numbers: &[50_076, 50_079, 50_158],
        text: "",
        codes: &[],
        kind: Kind::Denied,
        what: "a second factor is required again",
        remedy: Remedy::SignIn,
    },
    Meaning {
        numbers: &[53_003, 53_000, 530_036],
        text: "",
        codes: &[],
        kind: Kind::Denied,
        what: "the organisation does not allow this sign-in",
        remedy: Remedy::OtherFlow,
    },
    Meaning {
        numbers: &[7_000_218],
        text: "",
        codes: &[],
        kind: Kind::Config,
        what: "the client is not registered as a public one",
        remedy: Remedy::Hint("allow public client flows for the client, or set `client-secret`"),
    },
    Meaning {
        numbers: &[700_016, 7_000_112],
        text: "",
        codes: &[],
        kind: Kind::Config,
        what: "the client is unknown or disabled",
        remedy: Remedy::Hint(CLIENT_HINT),
    },
    Meaning {
        numbers: &[50_011],
        text: "",
        codes: &[],
        kind: Kind::Config,
        what: "the redirect URI is not registered for the client",
        remedy: Remedy::Redirect,
    },
    Meaning {
        numbers: &[65_001],
        text: "",
        codes: &[],
        kind: Kind::Denied,
        what: "access to mail was not granted to the client",
        remedy: Remedy::SignIn,
    },
    Meaning {
        numbers: &[50_059, 90_002, 9_002_346],
        text: "",
        codes: &[],
        kind: Kind::Config,
        what: "the tenant is wrong for this account",
        remedy: Remedy::Hint(
            "set `tenant` in the `oauth` table: \"consumers\", \"organizations\", or the \
             organisation's domain",
        ),
    },
    Meaning {
        numbers: &[70_000],
        text: "abuse",
        codes: &[],
        kind: Kind::Denied,
        what: "the account may be blocked",
        remedy: Remedy::Hint("sign in on the provider's web site, which shows the reason"),
    },
    Meaning {
        numbers: &[],
        text: "",
        codes: &["invalid_grant"],
        kind: Kind::Denied,
        what: "the sign-in is no longer valid: it expired or was revoked",
        remedy: Remedy::SignIn,
    },
    Meaning {
        numbers: &[],
        text: "",
        codes: &["invalid_client", "unauthorized_client"],
        kind: Kind::Config,
        what: "the client ID or secret is wrong, or the client is disabled",
        remedy: Remedy::Hint(CLIENT_HINT),
    },
    Meaning {
        numbers: &[],
        text: "",
        codes: &["redirect_uri_mismatch"],
        kind: Kind::Config,
        what: "the redirect URI is not registered for the client",
        remedy: Remedy::Redirect,
    },
    Meaning {
        numbers: &[],
        text: "",
        codes: &["consent_required", "interaction_required", "login_required"],
        kind: Kind::Denied,
        what: "a new sign-in is required",
        remedy: Remedy::SignIn,
    },
    Meaning {
        numbers: &[],
        text: "",
        codes: &["invalid_scope"],
        kind: Kind::Config,
        what: "the client is not allowed to request this scope, or not by this kind of sign-in",
        remedy: Remedy::Hint("sign in without `--device`, or check `scope` in the config"),
    },
    Meaning {
        numbers: &[],
        text: "",
        codes: &["access_denied"],
        kind: Kind::Denied,
        what: "the request was denied in the browser",
        remedy: Remedy::SignIn,
    },
];

impl Refusal {
    /// Reads an error response. Returns `None` if it is not one.
    pub(super) fn from_json(body: &[u8]) -> Option<Self> {
        // a description may be in another encoding
        serde_json::from_str(&String::from_utf8_lossy(body)).ok()
    }

    /// Creates the refusal of an authorization response (RFC 6749 §4.1.2.1).
    pub(super) fn new(error: &str, description: Option<&str>) -> Self {
        Self {
            error: error.to_owned(),
            error_description: description.map(str::to_owned),
            error_codes: serde_json::Value::Null,
        }
    }

    /// Returns whether the issuer may accept the same request later.
    pub(super) fn is_transient(&self) -> bool {
        ["temporarily_unavailable", "server_error"].contains(&self.error.as_str())
    }

    /// Returns whether the refresh token is invalid permanently, and not only at this time or from
    /// this network.
    pub(super) fn voids_grant(&self) -> bool {
        let row = self.meaning();
        let rules = [Remedy::SignIn];
        self.error == "invalid_grant"
            && row.is_none_or(|row| rules.contains(&row.remedy) && !row.numbers.contains(&50_076))
    }

    /// Returns Microsoft's codes, from the list or else from the description.
    fn numbers(&self) -> Vec<u32> {
        let codes = self.error_codes.as_array().into_iter().flatten();
        let codes: Vec<_> = codes
            .filter_map(|code| u32::try_from(code.as_u64()?).ok())
            .collect();
        if !codes.is_empty() {
            return codes;
        }
        let description = self.error_description.as_deref().unwrap_or_default();
        let after = description.split("AADSTS").skip(1);
        let digits = |text: &str| {
            let end = text.find(|c: char| !c.is_ascii_digit());
            text[..end.unwrap_or(text.len())].parse().ok()
        };
        after.filter_map(digits).collect()
    }

    fn meaning(&self) -> Option<&'static Meaning> {
        let numbers = self.numbers();
        let description = self.error_description.as_deref().unwrap_or_default();
        MEANINGS.iter().find(|row| {
            let is_numbered = row.numbers.iter().any(|number| numbers.contains(number));
            (is_numbered && description.contains(row.text))
                || row.codes.contains(&self.error.as_str())
        })
    }

    /// Returns the error that reports this refusal.
    pub(super) fn error(&self, settings: &Settings) -> Error {
        let label = &settings.label;
        let (kind, what, remedy) = match self.meaning() {
            Some(row) => (row.kind, row.what, Some(row.remedy)),
            None if self.is_transient() => (Kind::Busy, "it is temporarily unavailable", None),
            None => (Kind::Denied, "the error is not known to pouch", None),
        };
        let what = format!("{label} refused the sign-in of {}: {what}", settings.user);
        let error = Error::new(kind, what).with_fact(format!("{label}: {}", self.quoted()));
        let login = settings.login_command();
        match remedy {
            Some(Remedy::SignIn) => error.with_hint(format!("run `{login}`")),
            Some(Remedy::OtherFlow) => error.with_hint(format!(
                "run `{login}` without `--device`, or ask the administrator"
            )),
            Some(Remedy::Hint(hint)) => error.with_hint(hint),
            Some(Remedy::Redirect) => error.with_hint(format!(
                "register {} for the client, or set `redirect` to the registered URI",
                settings.redirect.as_str().trim_end_matches('/')
            )),
            None => error,
        }
    }

    /// Returns the error code and the first line of the description.
    fn quoted(&self) -> String {
        let description = self.error_description.as_deref().unwrap_or_default();
        let line = description.lines().next().unwrap_or_default().trim();
        let line: String = line.chars().take(MAX_DESCRIPTION).collect();
        let text = match line.as_str() {
            "" => self.error.clone(),
            line => format!("{}: {line}", self.error),
        };
        sanitize(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::settings::tests::settings, *};

    fn shown(json: &str) -> String {
        let refusal = Refusal::from_json(json.as_bytes()).unwrap();
        let error = refusal.error(&settings("https://id.example.org/token"));
        format!("{} {error}", error.kind().exit().0)
    }

    #[test]
    fn each_refusal_has_an_exit_code_and_a_hint() {
        let all: Vec<_> = MEANINGS
            .iter()
            .map(|row| {
                let code = row.codes.first().unwrap_or(&"invalid_grant");
                let number = row.numbers.first().map(u32::to_string).unwrap_or_default();
                let json = format!(
                    r#"{{"error": "{code}", "error_codes": [{number}],
                    "error_description": "{}"}}"#,
                    row.text
                );
                let text = shown(&json);
                let (first, rest) = text.split_once('\n').unwrap();
                let what = first.rsplit_once(": ").unwrap().1;
                let exit = first.split(' ').next().unwrap();
                let hint = rest.split_once("hint: ").unwrap().1;
                format!("{exit} {code} {number}: {what}; {hint}")
            })
            .collect();
        insta::assert_snapshot!(all.join("\n"), @r#"
        77 invalid_grant 700082: the sign-in expired, because it was not used for 90 days; run `pouch login work`
        77 invalid_grant 50173: the sign-in ended, because the password was changed or all sessions were revoked; run `pouch login work`
        77 invalid_grant 50076: a second factor is required again; run `pouch login work`
        77 invalid_grant 53003: the organisation does not allow this sign-in; run `pouch login work` without `--device`, or ask the administrator
        78 invalid_grant 7000218: the client is not registered as a public one; allow public client flows for the client, or set `client-secret`
        78 invalid_grant 700016: the client is unknown or disabled; check `client-id` and `client-secret` in the config
        78 invalid_grant 50011: the redirect URI is not registered for the client; register http://127.0.0.1 for the client, or set `redirect` to the registered URI
        77 invalid_grant 65001: access to mail was not granted to the client; run `pouch login work`
        78 invalid_grant 50059: the tenant is wrong for this account; set `tenant` in the `oauth` table: "consumers", "organizations", or the organisation's domain
        77 invalid_grant 70000: the account may be blocked; sign in on the provider's web site, which shows the reason
        77 invalid_grant : it expired or was revoked; run `pouch login work`
        78 invalid_client : the client ID or secret is wrong, or the client is disabled; check `client-id` and `client-secret` in the config
        78 redirect_uri_mismatch : the redirect URI is not registered for the client; register http://127.0.0.1 for the client, or set `redirect` to the registered URI
        77 consent_required : a new sign-in is required; run `pouch login work`
        78 invalid_scope : the client is not allowed to request this scope, or not by this kind of sign-in; sign in without `--device`, or check `scope` in the config
        77 access_denied : the request was denied in the browser; run `pouch login work`
        "#);
    }

    #[test]
    fn microsoft_codes_are_found_in_the_description() {
        let json = r#"{"error": "invalid_grant", "error_description":
            "AADSTS700082: The refresh token has expired due to inactivity.\r\nTrace ID: 1"}"#;
        insta::assert_snapshot!(shown(&json.replace('\n', " ")), @"
        77 id.example.org refused the sign-in of ann@example.org: the sign-in expired, because it was not used for 90 days
          id.example.org: invalid_grant: AADSTS700082: The refresh token has expired due to inactivity.
        hint: run `pouch login work`
        ");
    }

    #[test]
    fn only_a_lost_grant_voids_the_token() {
        let voids = |json: &str| Refusal::from_json(json.as_bytes()).unwrap().voids_grant();
        assert!(voids(r#"{"error": "invalid_grant"}"#));
        assert!(voids(
            r#"{"error": "invalid_grant", "error_codes": [50173]}"#
        ));
        assert!(!voids(
            r#"{"error": "invalid_grant", "error_codes": [53003]}"#
        ));
        assert!(!voids(
            r#"{"error": "invalid_grant", "error_codes": [50079]}"#
        ));
        assert!(!voids(r#"{"error": "invalid_client"}"#));
        assert!(Refusal::from_json(b"<html>").is_none());
        let latin = b"{\"error\": \"invalid_grant\", \"error_description\": \"pass\xe9\"}";
        assert!(Refusal::from_json(latin).unwrap().voids_grant());
    }
}
