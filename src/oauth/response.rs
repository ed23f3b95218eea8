//! The response of the authorization endpoint, which arrives as the query of a redirect.

use url::Url;
use zeroize::Zeroizing;

use super::{refusal::Refusal, settings::Settings};
use crate::error::Error;

/// The response of the authorization endpoint.
pub enum CodeResponse {
    /// A code, for the token endpoint.
    Code(Zeroizing<String>),
    /// An error.
    Refused(Box<Error>),
}

/// The requirements of a response.
pub(super) struct Expected {
    /// The state that the request had.
    pub(super) state: Zeroizing<String>,
    /// The issuer, if it is known.
    pub(super) issuer: Option<String>,
    /// The settings of the sign-in, for messages.
    pub(super) settings: Settings,
}

impl Expected {
    /// Reads the response in a URL. Returns `None` if it has none with the right state, or if it
    /// comes from another issuer (RFC 9207).
    pub(super) fn read(&self, url: &Url) -> Option<CodeResponse> {
        let value = |name: &str| {
            let mut pairs = url.query_pairs();
            pairs.find(|(key, _)| key == name).map(|(_, value)| value)
        };
        let state = value("state")?;
        if !is_equal(state.as_bytes(), self.state.as_bytes()) {
            return None;
        }
        if let (Some(issuer), Some(expected)) = (value("iss"), &self.issuer)
            && issuer != expected.as_str()
        {
            return None;
        }
        if let Some(error) = value("error") {
            let description = value("error_description");
            let refusal = Refusal::new(&error, description.as_deref());
            return Some(CodeResponse::Refused(Box::new(
                refusal.error(&self.settings),
            )));
        }
        let code = value("code")?;
        Some(CodeResponse::Code(Zeroizing::new(code.into_owned())))
    }
}

/// Compares two strings in constant time.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && openssl::memcmp::eq(one, other)
}

/// Returns whether a URL contains a response of an issuer, with any state.
pub(super) fn has_response(url: &Url) -> bool {
    url.query_pairs()
        .any(|(name, _)| name == "code" || name == "error")
}

#[cfg(test)]
mod tests {
    use super::{super::settings::tests::settings, *};

    fn expected() -> Expected {
        Expected {
            state: Zeroizing::new("right".into()),
            issuer: Some("https://id.example.org".into()),
            settings: settings("https://id.example.org/token"),
        }
    }

    fn read(query: &str) -> Option<String> {
        let url = Url::parse(&format!("http://localhost:1/?{query}")).unwrap();
        expected().read(&url).map(|response| match response {
            CodeResponse::Code(code) => code.to_string(),
            CodeResponse::Refused(error) => error.what().to_owned(),
        })
    }

    #[test]
    fn only_a_response_with_the_right_state_and_issuer_counts() {
        assert_eq!(read("code=a&state=right").as_deref(), Some("a"));
        assert_eq!(read("code=a&state=wrong"), None);
        assert_eq!(read("code=a"), None);
        assert_eq!(read("state=right"), None);
        assert_eq!(
            read("code=a&state=right&iss=https%3A%2F%2Fid.example.org").as_deref(),
            Some("a")
        );
        assert_eq!(
            read("code=a&state=right&iss=https%3A%2F%2Fevil.example"),
            None
        );
        insta::assert_snapshot!(read("error=access_denied&state=right").unwrap(), @"id.example.org refused the sign-in of ann@example.org: the request was denied in the browser");
    }
}
