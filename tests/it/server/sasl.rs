//! The server's side of SASL mechanisms, without I/O.

use base64::{Engine, engine::general_purpose::STANDARD};
use openssl::{hash::MessageDigest, pkcs5::pbkdf2_hmac, pkey::PKey, sign::Signer};

use super::maildrop::Maildrop;

/// What the server does wrong with SCRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramFault {
    /// Nothing.
    None,
    /// It refuses the mechanism before the challenge, as Dovecot does to users whose hash is
    /// another.
    Refused,
    /// It has this iteration count.
    Iterations(u32),
    /// Its nonce does not continue that of the client.
    ForeignNonce,
    /// It signs with another password, and accepts each proof.
    WrongSignature,
    /// It accepts each proof, without a signature.
    NoSignature,
}

/// An exchange that has begun.
#[derive(Debug)]
pub(super) enum Exchange {
    /// PLAIN (RFC 4616).
    Plain,
    /// XOAUTH2 or OAUTHBEARER (RFC 7628): the password is the token. `refused` is set once the
    /// reason was sent.
    Bearer { refused: bool },
    /// LOGIN, with the user name once it is known.
    Login { user: Option<Vec<u8>> },
    /// CRAM-MD5 (RFC 2195).
    CramMd5,
    /// SCRAM (RFC 5802), with the messages so far, or `None` once the client is accepted as this
    /// user.
    Scram {
        hash: Hash,
        fault: ScramFault,
        state: Scram,
    },
}

/// The hash function of SCRAM.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hash {
    Sha1,
    Sha256,
}

impl Hash {
    fn digest(self) -> MessageDigest {
        match self {
            Self::Sha1 => MessageDigest::sha1(),
            Self::Sha256 => MessageDigest::sha256(),
        }
    }
}

/// The progress of SCRAM.
#[derive(Debug)]
pub(super) enum Scram {
    /// The client's first message is next.
    Start,
    /// The proof is next. The first messages of both, the user, and the nonce.
    Challenged {
        messages: String,
        user: usize,
        nonce: String,
    },
    /// The signature was sent. The client acknowledges it.
    Signed(usize),
}

/// The result of a response.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The server sends this challenge, which is not encoded yet.
    Challenge(Vec<u8>),
    /// The user of this index is logged in.
    Accept(usize),
    /// The secret is wrong.
    Refuse,
    /// The response makes no sense.
    Malformed,
}

impl Exchange {
    /// Begins an exchange, or returns `None` if the server does not have the mechanism.
    pub(super) fn begin(mechanism: &str, fault: ScramFault) -> Option<Self> {
        let scram = |hash| Self::Scram {
            hash,
            fault,
            state: Scram::Start,
        };
        match mechanism {
            "PLAIN" => Some(Self::Plain),
            "XOAUTH2" | "OAUTHBEARER" => Some(Self::Bearer { refused: false }),
            "LOGIN" => Some(Self::Login { user: None }),
            "CRAM-MD5" => Some(Self::CramMd5),
            "SCRAM-SHA-1" => Some(scram(Hash::Sha1)),
            "SCRAM-SHA-256" => Some(scram(Hash::Sha256)),
            _ => None,
        }
    }

    /// Returns the challenge with which the server begins.
    pub(super) fn opening(&self) -> &'static [u8] {
        match self {
            Self::Login { .. } => b"Username:",
            Self::CramMd5 => CRAM_CHALLENGE,
            Self::Plain | Self::Bearer { .. } | Self::Scram { .. } => b"",
        }
    }

    /// Returns whether the client may send its first response with AUTH. Microsoft disconnects.
    pub(super) fn takes_initial(&self) -> bool {
        !matches!(
            self,
            Self::Bearer { .. } | Self::Login { .. } | Self::CramMd5
        )
    }

    /// Handles a response, which is decoded already.
    pub(super) fn respond(&mut self, response: &[u8], users: &[Maildrop]) -> Outcome {
        match self {
            Self::Plain => plain(response, users),
            Self::Login { user: None } => {
                *self = Self::Login {
                    user: Some(response.to_vec()),
                };
                Outcome::Challenge(b"Password:".to_vec())
            }
            Self::Login { user: Some(user) } => accepted(users, |own| {
                own.user.as_bytes() == user && own.password == response
            }),
            Self::CramMd5 => accepted(users, |own| {
                let digest = hmac(MessageDigest::md5(), &own.password, CRAM_CHALLENGE);
                let hex = hex(&digest);
                response == format!("{} {hex}", own.user).as_bytes()
            }),
            Self::Scram { hash, fault, state } => {
                scram(hash.digest(), *fault, state, response, users)
            }
            Self::Bearer { refused: true } => match response {
                b"" | b"\x01" => Outcome::Refuse,
                _ => Outcome::Malformed,
            },
            Self::Bearer { refused } => {
                let found = users.iter().position(|user| is_token_of(user, response));
                *refused = found.is_none();
                let reason = || Outcome::Challenge(br#"{"status":"401","scope":"mail"}"#.to_vec());
                found.map_or_else(reason, Outcome::Accept)
            }
        }
    }
}

/// Handles PLAIN: authorization identity, user and password, separated by NUL.
fn plain(response: &[u8], users: &[Maildrop]) -> Outcome {
    let fields: Vec<_> = response.split(|&octet| octet == 0).collect();
    let [_, user, password] = fields[..] else {
        return Outcome::Malformed;
    };
    accepted(users, |own| {
        own.user.as_bytes() == user && own.password == password
    })
}

/// Returns whether a response of XOAUTH2 or OAUTHBEARER has the user and the token.
fn is_token_of(user: &Maildrop, response: &[u8]) -> bool {
    let fields: Vec<_> = response.split(|&octet| octet == 1).collect();
    let auth = [b"auth=Bearer ", &user.password[..]].concat();
    let name = user.user.as_str();
    let names = [format!("user={name}"), format!("n,a={name},")];
    names.iter().any(|name| fields[0] == name.as_bytes()) && fields.contains(&&auth[..])
}

/// Returns the outcome for the user with the credentials.
fn accepted(users: &[Maildrop], is_right: impl Fn(&Maildrop) -> bool) -> Outcome {
    users
        .iter()
        .position(is_right)
        .map_or(Outcome::Refuse, Outcome::Accept)
}

/// The challenge of CRAM-MD5.
const CRAM_CHALLENGE: &[u8] = b"<1896.697170952@postoffice.example>";

/// The salt of SCRAM.
const SALT: &[u8] = b"0123456789abcdef";

/// Returns bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn hmac(hash: MessageDigest, key: &[u8], text: &[u8]) -> Vec<u8> {
    let key = PKey::hmac(key).unwrap();
    Signer::new(hash, &key)
        .unwrap()
        .sign_oneshot_to_vec(text)
        .unwrap()
}

/// Handles a response of SCRAM.
fn scram(
    hash: MessageDigest,
    fault: ScramFault,
    state: &mut Scram,
    response: &[u8],
    users: &[Maildrop],
) -> Outcome {
    let Ok(message) = str::from_utf8(response) else {
        return Outcome::Malformed;
    };
    match state {
        Scram::Start => {
            let Some((challenge, challenged)) = scram_first(fault, message, users) else {
                return Outcome::Refuse;
            };
            *state = challenged;
            Outcome::Challenge(challenge.into_bytes())
        }
        Scram::Challenged {
            messages,
            user,
            nonce,
        } => {
            let (bare, proof) = message.split_once(",p=").unwrap();
            assert_eq!(bare, format!("c=biws,r={nonce}"));
            let signed = format!("{messages},{bare}");
            let user = *user;
            let password = &users[user].password;
            let (expected, signature) = scram_keys(hash, fault, password, signed.as_bytes());
            match fault {
                ScramFault::NoSignature => return Outcome::Accept(user),
                ScramFault::WrongSignature => {}
                _ if expected != proof => return Outcome::Refuse,
                _ => {}
            }
            *state = Scram::Signed(user);
            Outcome::Challenge(format!("v={signature}").into_bytes())
        }
        Scram::Signed(user) => Outcome::Accept(*user),
    }
}

/// Returns the iteration count of SCRAM.
fn rounds(fault: ScramFault) -> u32 {
    match fault {
        ScramFault::Iterations(rounds) => rounds,
        _ => 4096,
    }
}

/// Returns the server's first message, and the state after it; `None` if it refuses the user.
fn scram_first(fault: ScramFault, message: &str, users: &[Maildrop]) -> Option<(String, Scram)> {
    let first = message.strip_prefix("n,,").unwrap();
    let (name, client) = first.split_once(",r=").unwrap();
    let name = name.strip_prefix("n=").unwrap();
    let user = users.iter().position(|own| own.user == name);
    let user = user.filter(|_| fault != ScramFault::Refused)?;
    let nonce = match fault {
        ScramFault::ForeignNonce => "another-nonce".to_owned(),
        _ => format!("{client}-of=the-server"),
    };
    let salt = STANDARD.encode(SALT);
    let own = format!("r={nonce},s={salt},i={}", rounds(fault));
    let challenged = Scram::Challenged {
        messages: format!("{first},{own}"),
        user,
        nonce,
    };
    Some((own, challenged))
}

/// Returns the expected proof of the client, and the signature of the server.
fn scram_keys(
    hash: MessageDigest,
    fault: ScramFault,
    password: &[u8],
    signed: &[u8],
) -> (String, String) {
    let mut salted = vec![0; hash.size()];
    pbkdf2_hmac(password, SALT, rounds(fault) as usize, hash, &mut salted).unwrap();
    let key = hmac(hash, &salted, b"Client Key");
    let stored = openssl::hash::hash(hash, &key).unwrap();
    let signature = hmac(hash, &stored, signed);
    let proof: Vec<_> = key
        .iter()
        .zip(signature)
        .map(|(one, two)| one ^ two)
        .collect();
    if fault == ScramFault::WrongSignature {
        salted[0] ^= 1;
    }
    let signature = hmac(hash, &hmac(hash, &salted, b"Server Key"), signed);
    (STANDARD.encode(proof), STANDARD.encode(signature))
}
