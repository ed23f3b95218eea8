//! Random values, and PKCE (RFC 7636), which binds a code to the client that asked for it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::rand::rand_bytes;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};

/// The verifier of a code.
pub(super) struct Verifier(Zeroizing<String>);

impl Verifier {
    /// Creates a random verifier of 43 characters.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn new() -> Result<Self> {
        random(32).map(Self)
    }

    /// Returns the verifier, for the token endpoint.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the challenge (S256), for the authorization endpoint.
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.0.as_bytes()))
    }
}

/// Returns `bytes` random bytes in base64url.
///
/// # Errors
/// The system has no random numbers.
pub(super) fn random(bytes: usize) -> Result<Zeroizing<String>> {
    let mut buffer = Zeroizing::new(vec![0; bytes]);
    rand_bytes(&mut buffer).map_err(|error| {
        Error::new(Kind::Bug, "cannot generate random numbers").with_fact(error.to_string())
    })?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(&*buffer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenge_is_that_of_the_rfc() {
        // RFC 7636, appendix B
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let verifier = Verifier(Zeroizing::new(verifier.to_owned()));
        assert_eq!(
            verifier.challenge(),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
        assert_eq!(random(32).unwrap().len(), 43);
    }
}
