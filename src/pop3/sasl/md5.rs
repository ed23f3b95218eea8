//! CRAM-MD5 (RFC 2195) and APOP (RFC 1939 §7), which prove the password by a hash with MD5.
//!
//! They are used only if they are configured: an eavesdropper can try millions of passwords per
//! second. APOP is not a mechanism of SASL; its challenge is in the greeting.

use openssl::{error::ErrorStack, hash::MessageDigest, pkey::PKey, sign::Signer};
use zeroize::Zeroizing;

use super::{Exchange, Fault, Response, decoded};

/// The client's side of CRAM-MD5.
pub struct CramMd5 {
    user: String,
    password: Zeroizing<Vec<u8>>,
    answered: bool,
}

impl CramMd5 {
    /// Returns an exchange.
    pub fn new(user: &str, password: &[u8]) -> Self {
        Self {
            user: user.to_owned(),
            password: Zeroizing::new(password.to_vec()),
            answered: false,
        }
    }
}

impl Exchange for CramMd5 {
    fn initial(&mut self) -> Option<Response> {
        None
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Response, Fault> {
        if std::mem::replace(&mut self.answered, true) {
            return Err(Fault::Unexpected);
        }
        let challenge = decoded(challenge).filter(|challenge| !challenge.is_empty());
        let challenge =
            challenge.ok_or_else(|| Fault::Invalid("it is not text in base64".to_owned()))?;
        let digest = hmac(&self.password, &challenge).map_err(|error| broken(&error))?;
        let text = format!("{} {}", self.user, hex(&digest));
        Ok(Response::secret(text.into_bytes()))
    }
}

/// Returns the challenge of APOP in a greeting, or `None` if it has none: a message identifier of
/// printable ASCII characters. Others are rejected, because an attacker can find the password by
/// chosen ones that collide (CVE-2007-1558).
pub fn timestamp(greeting: &[u8]) -> Option<&[u8]> {
    let start = memchr::memchr(b'<', greeting)?;
    let end = start + memchr::memchr(b'>', &greeting[start..])?;
    let (left, right) = {
        let inner = &greeting[start + 1..end];
        let at = memchr::memchr(b'@', inner)?;
        (&inner[..at], &inner[at + 1..])
    };
    let is_part = |part: &[u8]| {
        !part.is_empty()
            && part
                .iter()
                .all(|octet| octet.is_ascii_graphic() && !b"<>@".contains(octet))
    };
    (is_part(left) && is_part(right)).then_some(&greeting[start..=end])
}

/// Returns the digest of APOP, in hexadecimal.
///
/// # Errors
/// OpenSSL does not have MD5.
pub fn apop(timestamp: &[u8], password: &[u8]) -> Result<String, Fault> {
    let text = Zeroizing::new([timestamp, password].concat());
    let digest = openssl::hash::hash(MessageDigest::md5(), &text);
    digest
        .map(|digest| hex(&digest))
        .map_err(|error| broken(&error))
}

fn hmac(key: &[u8], text: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    Signer::new(MessageDigest::md5(), &*PKey::hmac(key)?)?.sign_oneshot_to_vec(text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}

/// Returns the fault for an error of OpenSSL.
fn broken(error: &ErrorStack) -> Fault {
    Fault::Crypto(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_rfc_2195() {
        let mut cram = CramMd5::new("tim", b"tanstaaftanstaaf");
        assert!(cram.initial().is_none());
        let challenge = b"PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+";
        let response = cram.respond(challenge).unwrap();
        assert!(response.has_secret);
        assert_eq!(**response.text, *b"tim b913a602c7eda7a495b4e6e7334d3890");
        assert!(cram.respond(challenge).is_err());
        for invalid in [&b""[..], b"*"] {
            let fault = CramMd5::new("tim", b"x").respond(invalid).err();
            assert!(matches!(fault, Some(Fault::Invalid(_))));
        }
    }

    #[test]
    fn example_of_rfc_1939() {
        let greeting = b"POP3 server ready <1896.697170952@dbc.mtview.ca.us>";
        let timestamp = timestamp(greeting).unwrap();
        assert_eq!(
            apop(timestamp, b"tanstaaf").unwrap(),
            "c4c9334bac560ecc979e58001b3e22fb"
        );
    }

    #[test]
    fn challenge_that_is_no_message_identifier_is_rejected() {
        for greeting in [
            &b"ready"[..],
            b"<>",
            b"<@host>",
            b"<1@>",
            b"<1>",
            b"<1@a@b>",
            b"<1 2@host>",
            b"<1\x802@host>",
            b"<<1@host>",
            b"<1@host",
        ] {
            assert_eq!(timestamp(greeting), None, "{}", greeting.escape_ascii());
        }
    }
}
