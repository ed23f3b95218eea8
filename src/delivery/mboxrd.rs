//! The mboxrd format, for mbox files and standard output (RFC 4155).
//!
//! A message begins with a line `From SENDER DATE` and ends with a blank line, so lines of a
//! message that begin with `From ` are quoted. mboxrd also quotes lines that are already quoted, so
//! that quoting can be undone. The older mboxo does not, and changes messages; mboxcl relies on a
//! Content-Length field, which mail programs do not keep up to date. Both were rejected.

use std::io::{self, Write};

use crate::domain::time::Timestamp;

/// The beginning of the line before each message.
const FROM: &[u8; 5] = b"From ";

/// Returns the line before a message: the sender, and the time of delivery in UTC and in the format
/// of asctime(3) (RFC 4155). A sender that is unknown, or not a word of ASCII, is replaced by
/// `MAILER-DAEMON`.
pub fn postmark(sender: Option<&str>, at: Timestamp) -> String {
    let is_word =
        |sender: &&str| !sender.is_empty() && sender.bytes().all(|octet| octet.is_ascii_graphic());
    let sender = sender.filter(is_word).unwrap_or("MAILER-DAEMON");
    let time = jiff::Timestamp::from_second(at.0).unwrap_or_default();
    format!("From {sender} {}\n", time.strftime("%a %b %e %H:%M:%S %Y"))
}

/// A writer that quotes a message: a line that begins with `From ` after any number of `>` gets one
/// more `>`.
#[derive(Debug)]
pub struct Quote<W> {
    out: W,
    /// The number of bytes of [`FROM`] that were read at the beginning of this line and not written
    /// yet, or `None` if the line does not begin with it.
    held: Option<usize>,
    /// True if any byte of this line was written.
    begun: bool,
}

impl<W: Write> Quote<W> {
    /// Returns a writer for one message.
    pub fn new(out: W) -> Self {
        Self {
            out,
            held: Some(0),
            begun: false,
        }
    }

    /// Ends the last line if necessary, and writes the blank line after the message.
    ///
    /// # Errors
    /// Writing failed.
    pub fn finish(mut self) -> io::Result<()> {
        let held = self.held.unwrap_or(0);
        self.out.write_all(&FROM[..held])?;
        if self.begun || held > 0 {
            self.out.write_all(b"\n")?;
        }
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}

impl<W: Write> Write for Quote<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut rest = octets;
        while let Some(&next) = rest.first() {
            match self.held {
                None => {
                    let line = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
                    self.out.write_all(&rest[..line])?;
                    self.begun = rest[line - 1] != b'\n';
                    self.held = (!self.begun).then_some(0);
                    rest = &rest[line..];
                }
                Some(0) if next == b'>' => {
                    self.out.write_all(b">")?;
                    self.begun = true;
                    rest = &rest[1..];
                }
                Some(held) if next == FROM[held] => {
                    self.held = Some(held + 1);
                    rest = &rest[1..];
                    if held + 1 == FROM.len() {
                        self.out.write_all(b">")?;
                        self.out.write_all(FROM)?;
                        self.begun = true;
                        self.held = None;
                    }
                }
                Some(held) => {
                    self.out.write_all(&FROM[..held])?;
                    self.held = None;
                }
            }
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quoted(pieces: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut quote = Quote::new(&mut out);
        for piece in pieces {
            quote.write_all(piece).unwrap();
        }
        quote.finish().unwrap();
        out
    }

    #[test]
    fn postmark_has_sender_and_date_or_mailer_daemon() {
        let at = Timestamp(1_795_392_000);
        assert_eq!(
            postmark(Some("ann@example.org"), at),
            "From ann@example.org Mon Nov 23 00:00:00 2026\n"
        );
        assert_eq!(
            postmark(None, Timestamp(1_796_256_000)),
            "From MAILER-DAEMON Thu Dec  3 00:00:00 2026\n"
        );
        for odd in [
            "",
            "ann smith@example.org",
            "a\n@example.org",
            "j\u{fc}@example.org",
        ] {
            assert!(
                postmark(Some(odd), at).starts_with("From MAILER-DAEMON Mon "),
                "{odd}"
            );
        }
    }

    #[test]
    fn from_lines_are_quoted_and_others_are_not() {
        for (message, mailbox) in [
            ("A: b\n\nFrom me\n", "A: b\n\n>From me\n\n"),
            (
                "From x\n>From y\n>>From z",
                ">From x\n>>From y\n>>>From z\n\n",
            ),
            (
                "x From y\nFrom\nFromage\n> From\n",
                "x From y\nFrom\nFromage\n> From\n\n",
            ),
            ("\n\nFrom ", "\n\n>From \n\n"),
            ("half\nFro", "half\nFro\n\n"),
            (">", ">\n\n"),
            ("", "\n"),
        ] {
            assert_eq!(
                quoted(&[message.as_bytes()]).escape_ascii().to_string(),
                mailbox.as_bytes().escape_ascii().to_string()
            );
        }
    }

    proptest! {
        #[test]
        fn quoting_can_be_undone_for_any_message(
            lines in proptest::collection::vec("(>{0,2}From )?[a>F \r]{0,3}", 0..6),
            cut in 0_usize..40,
        ) {
            let message = lines.join("\n");
            let (head, tail) = message.as_bytes().split_at(cut.min(message.len()));
            let mailbox = quoted(&[head, tail]);
            prop_assert_eq!(&mailbox, &quoted(&[message.as_bytes()]));
            let text = String::from_utf8(mailbox).unwrap();
            prop_assert!(text.lines().all(|line| !line.starts_with("From ")));
            let is_quoted = |line: &str| line.trim_start_matches('>').starts_with("From ");
            let unquoted: Vec<_> = text
                .split('\n')
                .map(|line| if is_quoted(line) { &line[1..] } else { line })
                .collect();
            let ended = message.is_empty() || message.ends_with('\n');
            let message = if ended { message } else { message + "\n" };
            prop_assert_eq!(unquoted.join("\n"), message + "\n");
        }
    }
}
