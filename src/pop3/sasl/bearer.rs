//! XOAUTH2 and OAUTHBEARER (RFC 7628): logging in with an access token of OAuth 2.0.
//!
//! The token is never sent with the command AUTH: Microsoft closes the connection then, and tokens
//! are longer than the 255 bytes that a command may have (RFC 5034 §4).
//!
//! A server that refuses the token sends the reason as a challenge, in JSON, and the refusal after
//! the next response. That response must be an empty one for XOAUTH2, since Gmail treats everything
//! else as a command, and a single ^A for OAUTHBEARER (RFC 7628 §3.2.3).

use zeroize::Zeroizing;

use super::{Exchange, Fault, Response, decoded};

/// The client's side of XOAUTH2 or OAUTHBEARER.
pub struct Bearer {
    message: Option<Zeroizing<Vec<u8>>>,
    /// The response to the server's reason.
    acknowledgement: &'static [u8],
    /// The reason why the server refused the token.
    reason: Option<Vec<u8>>,
}

impl Bearer {
    /// Returns an exchange of XOAUTH2.
    pub fn xoauth2(user: &str, token: &[u8]) -> Self {
        let fields: [&[u8]; 5] = [
            b"user=",
            user.as_bytes(),
            b"\x01auth=Bearer ",
            token,
            b"\x01\x01",
        ];
        Self::new(fields.concat(), b"")
    }

    /// Returns an exchange of OAUTHBEARER with the server of this name and port. In the user name,
    /// the equals sign and the comma are escaped (RFC 5801 §4).
    pub fn oauthbearer(user: &str, (host, port): (&str, u16), token: &[u8]) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let head = format!("n,a={user},\x01host={host}\x01port={port}\x01auth=Bearer ");
        Self::new([head.as_bytes(), token, b"\x01\x01"].concat(), b"\x01")
    }

    fn new(message: Vec<u8>, acknowledgement: &'static [u8]) -> Self {
        Self {
            message: Some(Zeroizing::new(message)),
            acknowledgement,
            reason: None,
        }
    }
}

impl Exchange for Bearer {
    fn initial(&mut self) -> Option<Response> {
        self.message.take().map(|message| Response {
            text: message,
            has_secret: true,
        })
    }

    fn may_send_early(&self) -> bool {
        false
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Response, Fault> {
        if self.reason.is_some() {
            return Err(Fault::Unexpected);
        }
        self.reason = Some(decoded(challenge).unwrap_or_else(|| challenge.to_vec()));
        Ok(Response::public(self.acknowledgement))
    }

    fn finish(&self) -> Result<(), Fault> {
        // a server cannot refuse the token and accept the login
        match self.reason {
            Some(_) => Err(Fault::Unexpected),
            None => Ok(()),
        }
    }

    fn server_error(&self) -> Option<&[u8]> {
        self.reason.as_deref().filter(|reason| !reason.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(mut exchange: Bearer) -> String {
        assert!(!exchange.may_send_early());
        let response = exchange.initial().unwrap();
        assert!(response.has_secret);
        String::from_utf8(response.text.to_vec()).unwrap()
    }

    #[test]
    fn token_is_sent_with_user_and_server() {
        assert_eq!(
            message(Bearer::xoauth2(
                "someuser@example.com",
                b"ya29.vF9dft4qmTc2"
            )),
            "user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2\x01\x01"
        );
        // the example of RFC 7628 §4.1
        let server = ("server.example.com", 143);
        assert_eq!(
            message(Bearer::oauthbearer(
                "user@example.com",
                server,
                b"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
            )),
            "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01\
             auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
        );
        assert!(
            message(Bearer::oauthbearer("a=b,c", server, b"t")).starts_with("n,a=a=3Db=2Cc,\x01")
        );
    }

    #[test]
    fn reason_is_acknowledged_once() {
        let challenge = b"eyJzdGF0dXMiOiI0MDEifQ==";
        for (mut exchange, expected) in [
            (Bearer::xoauth2("ann", b"t"), ""),
            (Bearer::oauthbearer("ann", ("host", 995), b"t"), "AQ=="),
        ] {
            exchange.initial();
            assert_eq!(exchange.finish(), Ok(()));
            let response = exchange.respond(challenge).unwrap();
            assert!(!response.has_secret);
            assert_eq!(*response.encoded(), expected);
            assert_eq!(exchange.server_error(), Some(&b"{\"status\":\"401\"}"[..]));
            assert!(exchange.respond(challenge).is_err());
            assert!(exchange.finish().is_err());
        }
    }
}
