//! What an LMTP server answers (RFC 5321 §4.2, RFC 2033).

use crate::text::sanitize;

/// The longest line that a reply may have, and the most lines. RFC 5321 §4.5.3.1.5 has 512 octets.
pub(super) const MAX_LINE: usize = 4096;
pub(super) const MAX_LINES: usize = 200;

/// A reply: one code, and what is said with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// Three digits.
    pub(super) code: u16,
    /// The text of each line.
    pub(super) lines: Vec<Vec<u8>>,
}

/// What a reply means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyClass {
    /// 2xx.
    Yes,
    /// 3xx: more is expected.
    More,
    /// 4xx, and what is no answer at all: perhaps another time.
    Later,
    /// 5xx.
    No,
}

impl Reply {
    /// What it means.
    pub(super) fn answer(&self) -> ReplyClass {
        match self.code {
            200..300 => ReplyClass::Yes,
            300..400 => ReplyClass::More,
            500..600 => ReplyClass::No,
            _ => ReplyClass::Later,
        }
    }

    /// In one line, safe to show.
    pub(super) fn shown(&self) -> String {
        let text = self.lines.join(&b" "[..]);
        format!("{} {}", self.code, sanitize(&text))
            .trim_end()
            .to_owned()
    }
}

/// Reads a line of a reply: its code, whether others follow, and its text. Nothing where it is
/// none.
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

/// What a server offers in its answer to LHLO, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// Commands may be sent ahead (RFC 2920).
    pub pipelining: bool,
    /// Octets above 127 are welcome (RFC 6152).
    pub eight_bit: bool,
    /// The size of a message may be told beforehand (RFC 1870).
    pub size: bool,
    /// No message may be larger, in octets.
    pub most: Option<u64>,
}

impl Offers {
    /// Reads the lines behind the first one.
    pub(super) fn of(reply: &Reply) -> Self {
        let mut offers = Self::default();
        for line in reply.lines.iter().skip(1) {
            let line = String::from_utf8_lossy(line);
            let mut words = line.split_ascii_whitespace();
            match words.next().map(str::to_ascii_uppercase).as_deref() {
                Some("PIPELINING") => offers.pipelining = true,
                Some("8BITMIME") => offers.eight_bit = true,
                Some("SIZE") => {
                    offers.size = true;
                    // 0 is no limit (RFC 1870 §4)
                    offers.most = words
                        .next()
                        .and_then(|most| most.parse().ok())
                        .filter(|most| *most > 0);
                }
                _ => {}
            }
        }
        offers
    }
}

impl std::fmt::Display for Offers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = self
            .most
            .map_or_else(|| "SIZE".to_owned(), |most| format!("SIZE {most}"));
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
    fn lines_are_read() {
        assert_eq!(line(b"250 2.1.0 OK"), Some((250, false, &b"2.1.0 OK"[..])));
        assert_eq!(line(b"250-SIZE"), Some((250, true, &b"SIZE"[..])));
        assert_eq!(line(b"354"), Some((354, false, &b""[..])));
        for bad in ["", "25", "abc", "250x", "099 x", "600 x", "+OK"] {
            assert_eq!(line(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn codes_mean_what_their_first_digit_says() {
        let answer = |code| {
            Reply {
                code,
                lines: Vec::new(),
            }
            .answer()
        };
        assert_eq!(
            [250, 354, 421, 452, 550].map(answer),
            [
                ReplyClass::Yes,
                ReplyClass::More,
                ReplyClass::Later,
                ReplyClass::Later,
                ReplyClass::No
            ]
        );
    }

    #[test]
    fn offers_are_read_and_shown() {
        let lines = |lines: &[&str]| Reply {
            code: 250,
            lines: lines.iter().map(|line| line.as_bytes().to_vec()).collect(),
        };
        let offers = Offers::of(&lines(&[
            "desk",
            "pipelining",
            "ENHANCEDSTATUSCODES",
            "8BITMIME",
            "SIZE 1000",
        ]));
        assert_eq!(
            offers,
            Offers {
                pipelining: true,
                eight_bit: true,
                size: true,
                most: Some(1000)
            }
        );
        assert_eq!(offers.to_string(), "PIPELINING 8BITMIME SIZE 1000");
        assert_eq!(
            Offers::of(&lines(&["PIPELINING", "SIZE 0"])).to_string(),
            "SIZE"
        );
        assert_eq!(Offers::default().to_string(), "no extensions");
    }

    #[test]
    fn what_is_shown_does_nothing_to_a_terminal() {
        let reply = Reply {
            code: 550,
            lines: vec![b"no \x1b[2J".to_vec(), b"thanks".to_vec()],
        };
        assert_eq!(reply.shown(), "550 no \u{fffd}[2J thanks");
    }

    proptest! {
        #[test]
        fn octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = line(&octets);
        }
    }
}
