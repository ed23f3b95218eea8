//! Removing secrets from what a server sends.
//!
//! Some servers repeat a rejected command in their response, password included. The response is
//! shown to the user, reported by mail and traced with `-vv`, so the secrets of a session are
//! replaced before any text leaves this layer. Not showing responses before the login was rejected:
//! they say why the login failed.

use zeroize::Zeroizing;

/// Shorter secrets are not replaced: they would occur by chance, and `***` in their place would
/// reveal them.
const MIN_LENGTH: usize = 4;

/// The secrets of a session, in each form in which they are sent.
#[derive(Default)]
pub(super) struct Secrets(Vec<Zeroizing<Vec<u8>>>);

impl Secrets {
    /// Adds a secret.
    pub(super) fn add(&mut self, secret: &[u8]) {
        if secret.len() >= MIN_LENGTH {
            self.0.push(Zeroizing::new(secret.to_vec()));
        }
    }

    /// Returns `text` with `***` in place of each secret.
    pub(super) fn redact(&self, text: &[u8]) -> Vec<u8> {
        self.0
            .iter()
            .fold(text.to_vec(), |text, secret| replace(&text, secret))
    }
}

/// Returns `text` with `***` in place of each `secret`.
fn replace(text: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut redacted = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest, secret) {
        redacted.extend_from_slice(&rest[..at]);
        redacted.extend_from_slice(b"***");
        rest = &rest[at + secret.len()..];
    }
    redacted.extend_from_slice(rest);
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redact(secrets: &[&str], text: &str) -> String {
        let mut all = Secrets::default();
        for secret in secrets {
            all.add(secret.as_bytes());
        }
        String::from_utf8(all.redact(text.as_bytes())).unwrap()
    }

    #[test]
    fn every_occurrence_of_every_secret_is_replaced() {
        assert_eq!(
            redact(
                &["geheim", "AGdlaGVpbQ=="],
                "bad geheim, geheim or AGdlaGVpbQ=="
            ),
            "bad ***, *** or ***"
        );
    }

    #[test]
    fn short_secret_is_not_replaced() {
        assert_eq!(redact(&["abc"], "abc is short"), "abc is short");
    }
}
