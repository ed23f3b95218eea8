//! SASL mechanisms (RFC 4422, RFC 5034).

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::domain::auth::Auth;

/// The credentials for a login.
pub struct Credentials<'a> {
    /// The login name.
    pub user: &'a str,
    /// The password, in the encoding of its source.
    pub password: &'a [u8],
    /// The configured mechanism.
    pub auth: Auth,
}

/// The mechanism of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// SASL PLAIN.
    Plain,
    /// USER and PASS.
    User,
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "PLAIN",
            Self::User => "USER",
        })
    }
}

/// Returns the message of SASL PLAIN (RFC 4616 §2) in base64: an empty authorization identity, the
/// user name and the password.
pub fn plain(user: &str, password: &[u8]) -> Zeroizing<String> {
    let message = Zeroizing::new([b"\0", user.as_bytes(), b"\0", password].concat());
    Zeroizing::new(STANDARD.encode(&*message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_rfc_4616_is_encoded() {
        assert_eq!(
            *plain("tim", b"tanstaaftanstaaf"),
            "AHRpbQB0YW5zdGFhZnRhbnN0YWFm"
        );
    }
}
