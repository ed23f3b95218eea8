//! EXTERNAL (RFC 4422 appendix A): the client certificate of the TLS connection is the proof.

use super::{Exchange, Fault, Response};

/// The client's side of EXTERNAL.
///
/// The authorization identity is the user name. With an empty one, the server would log in the
/// owner of the certificate, whatever `user` is.
pub struct External {
    user: String,
    challenged: bool,
}

impl External {
    /// Returns an exchange.
    pub fn new(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            challenged: false,
        }
    }
}

impl Exchange for External {
    fn initial(&mut self) -> Option<Response> {
        Some(Response::secret(self.user.clone().into_bytes()))
    }

    /// Sends the identity again after the first challenge: some servers ignore the initial
    /// response.
    fn respond(&mut self, _: &[u8]) -> Result<Response, Fault> {
        if std::mem::replace(&mut self.challenged, true) {
            return Err(Fault::Unexpected);
        }
        Ok(Response::secret(self.user.clone().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_the_user() {
        let mut external = External::new("ann");
        assert_eq!(**external.initial().unwrap().text, *b"ann");
        assert_eq!(**external.respond(b"").unwrap().text, *b"ann");
        assert!(external.respond(b"").is_err());
    }
}
