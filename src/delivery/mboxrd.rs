//! Messages one behind the other, as a mailbox file and a pipe have them (RFC 4155; quoted as
//! mboxrd, which loses nothing).

use std::io::{self, Write};

use crate::domain::time::Timestamp;

/// What begins a message where it begins a line.
const MARK: &[u8; 5] = b"From ";

/// The line that begins a message: who it is from, and when it was delivered, in UTC and as
/// asctime(3) writes it (RFC 4155). A sender that does not fit there is `MAILER-DAEMON`, as one
/// that is not known.
pub fn postmark(sender: Option<&str>, at: Timestamp) -> String {
    let fits =
        |sender: &&str| !sender.is_empty() && sender.bytes().all(|octet| octet.is_ascii_graphic());
    let sender = sender.filter(fits).unwrap_or("MAILER-DAEMON");
    let moment = jiff::Timestamp::from_second(at.0).unwrap_or_default();
    format!(
        "From {sender} {}\n",
        moment.strftime("%a %b %e %H:%M:%S %Y")
    )
}

/// Quotes a message on its way to `out`: a line that begins with `From ` behind any number of `>`
/// gets one `>` more.
#[derive(Debug)]
pub struct Quote<W> {
    out: W,
    /// How much of [`MARK`] came at the beginning of this line and is held back; nothing inside of
    /// a line.
    held: Option<usize>,
    /// Whether this line has octets already.
    begun: bool,
}

impl<W: Write> Quote<W> {
    /// A message to `out`, from its first octet.
    pub fn new(out: W) -> Self {
        Self {
            out,
            held: Some(0),
            begun: false,
        }
    }

    /// Ends the message: its last line, and the blank line behind it.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        let held = self.held.unwrap_or(0);
        self.out.write_all(&MARK[..held])?;
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
                Some(held) if next == MARK[held] => {
                    self.held = Some(held + 1);
                    rest = &rest[1..];
                    if held + 1 == MARK.len() {
                        self.out.write_all(b">")?;
                        self.out.write_all(MARK)?;
                        self.begun = true;
                        self.held = None;
                    }
                }
                Some(held) => {
                    self.out.write_all(&MARK[..held])?;
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
    fn the_postmark_is_what_mail_programs_know() {
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
    fn lines_that_look_like_a_beginning_are_quoted() {
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
        fn what_was_quoted_can_be_had_back(lines in proptest::collection::vec("(>{0,2}From )?[a>F \r]{0,3}", 0..6), cut in 0_usize..40) {
            let message = lines.join("\n");
            let (head, tail) = message.as_bytes().split_at(cut.min(message.len()));
            let mailbox = quoted(&[head, tail]);
            prop_assert_eq!(&mailbox, &quoted(&[message.as_bytes()]));
            let text = String::from_utf8(mailbox).unwrap();
            prop_assert!(text.lines().all(|line| !line.starts_with("From ")));
            let unquoted: Vec<_> = text
                .split('\n')
                .map(|line| if line.trim_start_matches('>').starts_with("From ") { &line[1..] } else { line })
                .collect();
            let unquoted = unquoted.join("\n");
            let whole = if message.is_empty() || message.ends_with('\n') { message } else { message + "\n" };
            prop_assert_eq!(unquoted, whole + "\n");
        }
    }
}
