//! LOGIN, the predecessor of PLAIN. There is no RFC; servers differ in the texts of the challenges.

use zeroize::Zeroizing;

use super::{Exchange, Fault, Response};

/// The client's side of LOGIN.
pub struct Login {
    user: String,
    password: Zeroizing<Vec<u8>>,
    /// The number of challenges so far.
    challenges: u8,
}

impl Login {
    /// Returns an exchange.
    pub fn new(user: &str, password: &[u8]) -> Self {
        Self {
            user: user.to_owned(),
            password: Zeroizing::new(password.to_vec()),
            challenges: 0,
        }
    }
}

impl Exchange for Login {
    fn initial(&mut self) -> Option<Response> {
        None
    }

    fn respond(&mut self, _: &[u8]) -> Result<Response, Fault> {
        self.challenges = self.challenges.saturating_add(1);
        match self.challenges {
            1 => Ok(Response::public(self.user.as_bytes())),
            2 => Ok(Response::secret(self.password.to_vec())),
            _ => Err(Fault::Unexpected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_name_is_followed_by_the_password() {
        let mut login = Login::new("ann", b"secret");
        assert!(login.initial().is_none());
        let user = login.respond(b"VXNlcm5hbWU6").unwrap();
        assert_eq!((&**user.text, user.has_secret), (&b"ann"[..], false));
        let password = login.respond(b"anything").unwrap();
        assert_eq!(
            (&**password.text, password.has_secret),
            (&b"secret"[..], true)
        );
        assert!(login.respond(b"").is_err());
    }
}
