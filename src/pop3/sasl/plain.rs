//! PLAIN (RFC 4616).

use super::{Exchange, Fault, Response};

/// The client's side of PLAIN.
pub struct Plain {
    message: Vec<u8>,
    /// How often the message may still be sent.
    left: u8,
}

impl Plain {
    /// Returns an exchange. The message is an empty authorization identity, the user name and the
    /// password (RFC 4616 §2).
    pub fn new(user: &str, password: &[u8]) -> Self {
        Self {
            message: [b"\0", user.as_bytes(), b"\0", password].concat(),
            left: 2,
        }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.message);
    }
}

impl Exchange for Plain {
    fn initial(&mut self) -> Option<Response> {
        self.respond(&[]).ok()
    }

    /// Sends the message again after the first challenge: some servers ignore the initial response.
    fn respond(&mut self, _: &[u8]) -> Result<Response, Fault> {
        self.left = self.left.checked_sub(1).ok_or(Fault::Unexpected)?;
        Ok(Response::secret(self.message.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_rfc_4616_is_encoded() {
        let mut plain = Plain::new("tim", b"tanstaaftanstaaf");
        assert_eq!(
            *plain.initial().unwrap().encoded(),
            "AHRpbQB0YW5zdGFhZnRhbnN0YWFm"
        );
        assert!(plain.respond(b"").is_ok());
        assert!(plain.respond(b"").is_err());
    }
}
