//! SCRAM-SHA-256 (RFC 7677) and SCRAM-SHA-1 (RFC 5802), without channel binding.
//!
//! The client proves that it knows the password without sending it, and the server proves that it
//! knows it, too.
//!
//! Channel binding (`-PLUS`) was rejected. The only server in use that offers it for POP3 is Cyrus,
//! which accepts no binding but `tls-unique`, even with TLS 1.3, which does not define it; and
//! Cyrus refuses a client that reports that it could bind (`y,,`), hence `n,,`.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use openssl::{
    error::ErrorStack, hash::MessageDigest, memcmp, pkcs5::pbkdf2_hmac, pkey::PKey, rand,
    sign::Signer,
};
use stringprep::saslprep;
use zeroize::Zeroizing;

use super::{Exchange, Fault, Response, decoded};

/// The lowest iteration count without TLS (RFC 7677 §4). A lower one makes guessing the password
/// easy for an eavesdropper, and an attacker could ask for it.
const MIN_ITERATIONS: u32 = 4096;

/// The highest iteration count, which takes about a second. A server could keep this machine busy
/// with a higher one.
const MAX_ITERATIONS: u32 = 1_000_000;

/// The number of random bytes in a nonce.
const NONCE: usize = 18;

/// The header of the first message: no channel binding, and no authorization identity.
const HEADER: &str = "n,,";

/// The hash function of a SCRAM mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Hash {
    fn digest(self) -> MessageDigest {
        match self {
            Self::Sha1 => MessageDigest::sha1(),
            Self::Sha256 => MessageDigest::sha256(),
        }
    }

    fn hmac(self, key: &[u8], text: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        Signer::new(self.digest(), &*PKey::hmac(key)?)?.sign_oneshot_to_vec(text)
    }
}

/// The client's side of SCRAM.
pub struct Scram {
    hash: Hash,
    password: Zeroizing<Vec<u8>>,
    /// The first message, without the header.
    first: String,
    /// The client's nonce, or the error of making one.
    nonce: Result<String, Fault>,
    min_iterations: u32,
    state: State,
    /// The error that the server sent instead of its signature.
    error: Option<Vec<u8>>,
}

/// What the server sends next.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Its first message.
    First,
    /// Its last message, with this signature.
    Last(Vec<u8>),
    /// Nothing: it proved that it knows the password.
    Proven,
    /// The refusal, after its error.
    Failed,
}

impl Scram {
    /// Returns an exchange with a random nonce. `is_encrypted` is whether the connection is.
    pub fn new(hash: Hash, user: &str, password: &[u8], is_encrypted: bool) -> Self {
        let mut random = [0; NONCE];
        let nonce = rand::rand_bytes(&mut random)
            .map(|()| STANDARD.encode(random))
            .map_err(|error| broken(&error));
        let min_iterations = if is_encrypted { 1 } else { MIN_ITERATIONS };
        Self::with_nonce(hash, (user, password), nonce, min_iterations)
    }

    fn with_nonce(
        hash: Hash,
        (user, password): (&str, &[u8]),
        nonce: Result<String, Fault>,
        min_iterations: u32,
    ) -> Self {
        let user = saslprep(user).map_or_else(|_| user.to_owned(), Cow::into_owned);
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self {
            hash,
            password: prepared(password),
            first: format!("n={user},r={}", nonce.as_deref().unwrap_or_default()),
            nonce,
            min_iterations,
            state: State::First,
            error: None,
        }
    }

    /// Returns the first message.
    fn first_response(&self) -> Response {
        Response::public(format!("{HEADER}{}", self.first).as_bytes())
    }

    /// Returns the proof for the server's first message.
    fn prove(&mut self, server_first: &str) -> Result<Response, Fault> {
        let nonce = self.nonce.clone()?;
        let ServerFirst {
            nonce,
            salt,
            iterations,
        } = ServerFirst::parse(server_first, &nonce)?;
        if iterations > MAX_ITERATIONS || iterations < self.min_iterations {
            return Err(Fault::Invalid(format!(
                "its iteration count is {iterations}, pouch accepts {} to {MAX_ITERATIONS}",
                self.min_iterations
            )));
        }
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(HEADER));
        let signed = format!("{},{server_first},{without_proof}", self.first);
        let (proof, signature) = self
            .sign(&salt, iterations, signed.as_bytes())
            .map_err(|error| broken(&error))?;
        self.state = State::Last(signature);
        let message = format!("{without_proof},p={}", STANDARD.encode(proof));
        Ok(Response::secret(message.into_bytes()))
    }

    /// Returns the client's proof, and the signature that the server has to send (RFC 5802 §3).
    fn sign(
        &self,
        salt: &[u8],
        iterations: u32,
        signed: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>), ErrorStack> {
        let digest = self.hash.digest();
        let mut salted = Zeroizing::new(vec![0; digest.size()]);
        let rounds = usize::try_from(iterations).unwrap_or(usize::MAX);
        pbkdf2_hmac(&self.password, salt, rounds, digest, &mut salted)?;
        let client_key = Zeroizing::new(self.hash.hmac(&salted, b"Client Key")?);
        let stored_key = openssl::hash::hash(digest, &client_key)?;
        let client_signature = self.hash.hmac(&stored_key, signed)?;
        let proof = client_key
            .iter()
            .zip(&client_signature)
            .map(|(key, signature)| key ^ signature);
        let server_key = Zeroizing::new(self.hash.hmac(&salted, b"Server Key")?);
        Ok((proof.collect(), self.hash.hmac(&server_key, signed)?))
    }
}

impl Exchange for Scram {
    fn initial(&mut self) -> Option<Response> {
        Some(self.first_response())
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Response, Fault> {
        if self.state == State::First && challenge.trim_ascii().is_empty() {
            // a server that ignored the response sent with AUTH
            return Ok(self.first_response());
        }
        let message = decoded(challenge).and_then(|message| String::from_utf8(message).ok());
        let message =
            message.ok_or_else(|| Fault::Invalid("it is not text in base64".to_owned()))?;
        match &self.state {
            State::First => self.prove(&message),
            State::Last(expected) => {
                self.state = match message.strip_prefix("v=") {
                    Some(signature) if is_signature(field(signature), expected) => State::Proven,
                    Some(_) => return Err(Fault::NotProven),
                    None => {
                        self.error = Some(message.into_bytes());
                        State::Failed
                    }
                };
                Ok(Response::public(b""))
            }
            State::Proven | State::Failed => Err(Fault::Unexpected),
        }
    }

    fn finish(&self) -> Result<(), Fault> {
        match self.state {
            State::Proven => Ok(()),
            State::First | State::Last(_) | State::Failed => Err(Fault::NotProven),
        }
    }

    fn server_error(&self) -> Option<&[u8]> {
        self.error.as_deref()
    }
}

/// The server's first message (RFC 5802 §7).
struct ServerFirst {
    nonce: String,
    salt: Vec<u8>,
    iterations: u32,
}

impl ServerFirst {
    /// Parses the message. The server's nonce begins with that of the client.
    fn parse(message: &str, own_nonce: &str) -> Result<Self, Fault> {
        let invalid = |what: &str| Fault::Invalid(what.to_owned());
        let mut fields = message.split(',');
        let nonce = fields.next().and_then(|field| field.strip_prefix("r="));
        let salt = fields.next().and_then(|field| field.strip_prefix("s="));
        let iterations = fields.next().and_then(|field| field.strip_prefix("i="));
        let (Some(nonce), Some(salt), Some(iterations)) = (nonce, salt, iterations) else {
            return Err(invalid("it lacks one of the fields r, s and i"));
        };
        match nonce.strip_prefix(own_nonce) {
            Some(added) if !added.is_empty() => {}
            _ => return Err(invalid("its nonce does not begin with that of pouch")),
        }
        let salt = decoded(salt.as_bytes()).filter(|salt| !salt.is_empty());
        // digits only: `parse` would accept a sign
        let digits = iterations.bytes().all(|octet| octet.is_ascii_digit());
        let iterations = iterations.parse::<u64>().ok().filter(|_| digits);
        let (Some(salt), Some(iterations)) = (salt, iterations) else {
            return Err(invalid("its salt or its iteration count is malformed"));
        };
        Ok(Self {
            nonce: nonce.to_owned(),
            salt,
            iterations: u32::try_from(iterations).unwrap_or(u32::MAX),
        })
    }
}

/// Returns the beginning of a message up to the first comma.
fn field(message: &str) -> &str {
    message.split(',').next().unwrap_or_default()
}

/// Returns whether a signature in base64 is the expected one. The comparison takes constant time.
fn is_signature(signature: &str, expected: &[u8]) -> bool {
    decoded(signature.as_bytes()).is_some_and(|signature| {
        signature.len() == expected.len() && memcmp::eq(&signature, expected)
    })
}

/// Returns the fault for an error of OpenSSL.
fn broken(error: &ErrorStack) -> Fault {
    Fault::Crypto(error.to_string())
}

/// Returns the password as SCRAM hashes it: by `SASLprep` (RFC 4013). One that is not UTF-8, or has
/// characters that `SASLprep` forbids, is hashed as it is.
fn prepared(password: &[u8]) -> Zeroizing<Vec<u8>> {
    let text = str::from_utf8(password).ok();
    let prepared = text.and_then(|text| saslprep(text).ok());
    Zeroizing::new(
        prepared.map_or_else(|| password.to_vec(), |text| text.into_owned().into_bytes()),
    )
}

/// Returns whether every server hashes the same password: it is UTF-8, and `SASLprep`, which some
/// servers omit, does not change it.
pub fn is_unambiguous(password: &[u8]) -> bool {
    str::from_utf8(password).is_ok_and(|text| saslprep(text).is_ok_and(|prepared| prepared == text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_message_of_the_server_is_handled(message in ".*", first: bool) {
            let mut scram = scram(NONCE);
            if !first {
                answer(&mut scram, FIRST).unwrap();
            }
            let _ = scram.respond(message.as_bytes());
            let _ = answer(&mut scram, &message);
            prop_assert!(scram.finish().is_err());
        }
    }

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn scram(nonce: &str) -> Scram {
        let user = ("user", b"pencil".as_slice());
        Scram::with_nonce(Hash::Sha256, user, Ok(nonce.to_owned()), MIN_ITERATIONS)
    }

    fn text(response: &Response) -> &str {
        str::from_utf8(&response.text).unwrap()
    }

    fn answer(scram: &mut Scram, message: &str) -> Result<Response, Fault> {
        scram.respond(STANDARD.encode(message).as_bytes())
    }

    /// Returns the fault for this first message of the server.
    fn fault(message: &str) -> String {
        match answer(&mut scram(NONCE), message).err() {
            Some(Fault::Invalid(what)) => what,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn example_of_rfc_7677() {
        let mut scram = scram(NONCE);
        let first = scram.initial().unwrap();
        assert!(!first.has_secret);
        assert_eq!(text(&first), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let last = answer(&mut scram, FIRST).unwrap();
        assert!(last.has_secret);
        assert_eq!(
            text(&last),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(scram.finish(), Err(Fault::NotProven));
        let signature = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(text(&answer(&mut scram, signature).unwrap()), "");
        assert_eq!(scram.finish(), Ok(()));
        assert!(answer(&mut scram, signature).is_err());
    }

    #[test]
    fn example_of_rfc_5802() {
        let nonce = Ok("fyko+d2lbbFgONRv9qkxdawL".to_owned());
        let user = ("user", b"pencil".as_slice());
        let mut scram = Scram::with_nonce(Hash::Sha1, user, nonce, MIN_ITERATIONS);
        let first = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
        assert_eq!(
            text(&answer(&mut scram, first).unwrap()),
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
        );
        answer(&mut scram, "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=").unwrap();
        assert_eq!(scram.finish(), Ok(()));
    }

    #[test]
    fn wrong_or_missing_signature_proves_nothing() {
        let mut scram = scram(NONCE);
        answer(&mut scram, FIRST).unwrap();
        for wrong in [
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G8=",
            "v=",
            "v=AAAA",
        ] {
            assert_eq!(answer(&mut scram, wrong).err(), Some(Fault::NotProven));
        }
        assert_eq!(scram.finish(), Err(Fault::NotProven));
    }

    #[test]
    fn error_of_the_server_is_acknowledged() {
        let mut scram = scram(NONCE);
        answer(&mut scram, FIRST).unwrap();
        assert_eq!(text(&answer(&mut scram, "e=invalid-proof").unwrap()), "");
        assert_eq!(scram.server_error(), Some(&b"e=invalid-proof"[..]));
        assert_eq!(scram.finish(), Err(Fault::NotProven));
    }

    #[test]
    fn invalid_first_messages_are_rejected() {
        let range = "pouch accepts 4096 to 1000000";
        for (count, shown) in [
            ("1", "1"),
            ("4095", "4095"),
            ("1000001", "1000001"),
            ("1000000000", "1000000000"),
            ("99999999999999999", "4294967295"),
        ] {
            assert_eq!(
                fault(&FIRST.replace("4096", count)),
                format!("its iteration count is {shown}, {range}")
            );
        }
        for message in [
            FIRST.replace(NONCE, "rOprNGfwEbeRWgbNEkqX"),
            FIRST.replace("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", ""),
            format!("m=x,{FIRST}"),
            FIRST.replace("4096", "+4096"),
            FIRST.replace("4096", "4096.5"),
            FIRST.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
            FIRST.replace(",s=", ",x="),
            "e=other-error".to_owned(),
            String::new() + " ",
        ] {
            let what = fault(&message);
            assert!(what.starts_with("it"), "{message}: {what}");
        }
    }

    #[test]
    fn low_iteration_count_is_accepted_with_tls() {
        let mut scram = Scram::new(Hash::Sha256, "user", b"pencil", true);
        let nonce = scram.nonce.clone().unwrap();
        let first = format!("r={nonce}x,s=AAAA,i=1");
        assert!(answer(&mut scram, &first).is_ok());
    }

    #[test]
    fn first_message_is_sent_again_to_a_server_that_ignored_it() {
        let mut scram = scram(NONCE);
        let first = text(&scram.initial().unwrap()).to_owned();
        assert_eq!(text(&scram.respond(b"").unwrap()), first);
        assert!(answer(&mut scram, FIRST).is_ok());
    }

    #[test]
    fn nonces_and_escapes_of_user_names() {
        let one = Scram::new(Hash::Sha1, "a=b,c", b"x", true);
        let other = Scram::new(Hash::Sha1, "a=b,c", b"x", true);
        assert!(one.first.starts_with("n=a=3Db=2Cc,r="));
        assert_ne!(one.first, other.first);
    }

    #[test]
    fn passwords_are_prepared() {
        // the examples of RFC 4013 §3
        for (password, hashed) in [
            ("I\u{ad}X", "IX"),
            ("user", "user"),
            ("\u{aa}", "a"),
            ("\u{2168}", "IX"),
            ("\u{7}", "\u{7}"),
        ] {
            assert_eq!(*prepared(password.as_bytes()), hashed.as_bytes());
        }
        assert_eq!(*prepared(b"gr\xfcn"), *b"gr\xfcn");
        assert!(is_unambiguous("grün".as_bytes()));
        for other in ["gru\u{308}n".as_bytes(), b"gr\xfcn", b"\x07"] {
            assert!(!is_unambiguous(other));
        }
    }
}
