//! Replies of an LMTP server (RFC 5321 §4.2, RFC 2033).

use crate::text::sanitize;

/// The longest line of a reply that is accepted, in bytes. RFC 5321 §4.5.3.1.5 allows 512.
pub(super) const MAX_LINE: usize = 4096;

/// The largest number of lines of a reply that is accepted.
pub(super) const MAX_LINES: usize = 200;

/// A reply: a code and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// The code, from 200 to 599.
    pub(super) code: u16,
    /// The text of each line.
    pub(super) lines: Vec<Vec<u8>>,
}

/// The class of a reply, by the first digit of its code (RFC 5321 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyClass {
    /// 2xx: the command succeeded.
    Accepted,
    /// 3xx: the server waits for more.
    Intermediate,
    /// 4xx, or no valid code: a later attempt may succeed.
    Transient,
    /// 5xx: the command failed permanently.
    Rejected,
}

impl Reply {
    /// Returns the class.
    pub(super) fn class(&self) -> ReplyClass {
        match self.code {
            200..300 => ReplyClass::Accepted,
            300..400 => ReplyClass::Intermediate,
            500..600 => ReplyClass::Rejected,
            _ => ReplyClass::Transient,
        }
    }

    /// Returns the reply in one line that is safe for a terminal.
    pub(super) fn shown(&self) -> String {
        let text = self.lines.join(&b" "[..]);
        format!("{} {}", self.code, sanitize(&text))
            .trim_end()
            .to_owned()
    }
}

/// Parses a line of a reply. Returns its code, whether more lines follow, and its text, or `None`
/// if it is not a line of a reply.
pub(super) fn line(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (code, rest) = line.split_at_checked(3)?;
    let code = str::from_utf8(code)
        .ok()
        .filter(|code| code.bytes().all(|digit| digit.is_ascii_digit()))?;
    let code = code.parse().ok().filter(|code| (200..600).contains(code))?;
    match rest {
        [] => Some((code, false, rest)),
        [b' ', text @ ..] => Some((code, false, text)),
        [b'-', text @ ..] => Some((code, true, text)),
        _ => None,
    }
}

/// The extensions that a server offers in its reply to LHLO, as far as pouch uses them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// PIPELINING: several commands may be sent at once (RFC 2920).
    pub pipelining: bool,
    /// 8BITMIME: messages may have 8-bit bytes (RFC 6152).
    pub eight_bit: bool,
    /// SIZE: MAIL may have the size of the message (RFC 1870).
    pub size: bool,
    /// The largest size that is accepted in bytes, or `None` if the server states no limit.
    pub max_size: Option<u64>,
}

impl Extensions {
    /// Reads the extensions from the reply to LHLO, whose first line is a greeting.
    pub(super) fn parse(reply: &Reply) -> Self {
        let mut extensions = Self::default();
        for line in reply.lines.iter().skip(1) {
            let line = String::from_utf8_lossy(line);
            let mut words = line.split_ascii_whitespace();
            match words.next().map(str::to_ascii_uppercase).as_deref() {
                Some("PIPELINING") => extensions.pipelining = true,
                Some("8BITMIME") => extensions.eight_bit = true,
                Some("SIZE") => {
                    extensions.size = true;
                    // 0 means that there is no limit (RFC 1870 §4)
                    extensions.max_size = words
                        .next()
                        .and_then(|limit| limit.parse().ok())
                        .filter(|limit| *limit > 0);
                }
                _ => {}
            }
        }
        extensions
    }
}

impl std::fmt::Display for Extensions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = self
            .max_size
            .map_or_else(|| "SIZE".to_owned(), |limit| format!("SIZE {limit}"));
        let words: Vec<_> = [
            (self.pipelining, "PIPELINING"),
            (self.eight_bit, "8BITMIME"),
            (self.size, &size),
        ]
        .into_iter()
        .filter_map(|(offered, word)| offered.then_some(word))
        .collect();
        f.write_str(if words.is_empty() {
            "no extensions"
        } else {
            ""
        })?;
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn line_needs_a_code_and_a_separator() {
        assert_eq!(line(b"250 2.1.0 OK"), Some((250, false, &b"2.1.0 OK"[..])));
        assert_eq!(line(b"250-SIZE"), Some((250, true, &b"SIZE"[..])));
        assert_eq!(line(b"354"), Some((354, false, &b""[..])));
        for bad in ["", "25", "abc", "250x", "099 x", "600 x", "+OK"] {
            assert_eq!(line(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn first_digit_is_the_class() {
        let class = |code| {
            Reply {
                code,
                lines: Vec::new(),
            }
            .class()
        };
        assert_eq!(
            [250, 354, 421, 452, 550].map(class),
            [
                ReplyClass::Accepted,
                ReplyClass::Intermediate,
                ReplyClass::Transient,
                ReplyClass::Transient,
                ReplyClass::Rejected
            ]
        );
    }

    #[test]
    fn extensions_are_read_in_any_case_and_displayed() {
        let lines = |lines: &[&str]| Reply {
            code: 250,
            lines: lines.iter().map(|line| line.as_bytes().to_vec()).collect(),
        };
        let extensions = Extensions::parse(&lines(&[
            "desk",
            "pipelining",
            "ENHANCEDSTATUSCODES",
            "8BITMIME",
            "SIZE 1000",
        ]));
        assert_eq!(
            extensions,
            Extensions {
                pipelining: true,
                eight_bit: true,
                size: true,
                max_size: Some(1000)
            }
        );
        assert_eq!(extensions.to_string(), "PIPELINING 8BITMIME SIZE 1000");
        assert_eq!(
            Extensions::parse(&lines(&["PIPELINING", "SIZE 0"])).to_string(),
            "SIZE"
        );
        assert_eq!(Extensions::default().to_string(), "no extensions");
    }

    #[test]
    fn escape_sequence_in_a_reply_is_sanitized() {
        let reply = Reply {
            code: 550,
            lines: vec![b"no \x1b[2J".to_vec(), b"thanks".to_vec()],
        };
        assert_eq!(reply.shown(), "550 no \u{fffd}[2J thanks");
    }

    proptest! {
        #[test]
        fn any_line_is_parsed_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let _ = line(&bytes);
        }
    }
}
