//! A session with an LMTP server (RFC 2033): one message after the other, a reply for each
//! recipient.

use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};

use super::reply::{self, MAX_LINE, MAX_LINES, Offers, Reply, ReplyClass};

/// So many commands go into one write: their answers fit into the smallest socket buffer, and so do
/// they, whatever an address has.
const ASKED_TOGETHER: usize = 64;

/// A session after LHLO.
#[derive(Debug)]
pub(super) struct Session<S: Read + Write> {
    stream: BufReader<S>,
    offers: Offers,
}

/// A message that is to be delivered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transaction<'a> {
    /// Where errors go back to; nobody, where it is empty.
    pub(super) sender: &'a str,
    /// Who gets it.
    pub(super) recipients: &'a [&'a str],
    /// Its octets with CRLF.
    pub(super) octets: u64,
    /// Whether it has octets above 127.
    pub(super) eight_bit: bool,
}

/// Why a session did not begin.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The line was lost.
    Lost(io::Error),
    /// The server said this to being greeted.
    Said(Reply),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl<S: Read + Write> Session<S> {
    /// Waits for the greeting and says who is there: `host`, this machine's name.
    ///
    /// # Errors
    /// The line was lost, or the server takes no session.
    pub(super) fn greet(stream: S, host: &str) -> Result<Self, Trouble> {
        let mut session = Self {
            stream: BufReader::new(stream),
            offers: Offers::default(),
        };
        let welcome = |reply: Reply| {
            if reply.answer() == ReplyClass::Yes {
                Ok(reply)
            } else {
                Err(Trouble::Said(reply))
            }
        };
        welcome(session.reply()?)?;
        session.send(&format!("LHLO {host}\r\n"))?;
        session.offers = Offers::of(&welcome(session.reply()?)?);
        Ok(session)
    }

    /// What the server offers.
    pub(super) fn offers(&self) -> Offers {
        self.offers
    }

    /// Tells of a message; gives a reply for each recipient. The server waits for the content where
    /// one of them is [`ReplyClass::More`], which then stands for all that do.
    ///
    /// # Errors
    /// The line was lost: nobody has the message.
    pub(super) fn offer(&mut self, envelope: &Transaction<'_>) -> io::Result<Vec<Reply>> {
        let mut mail = format!("MAIL FROM:<{}>", envelope.sender);
        if self.offers.size {
            mail.push_str(&format!(" SIZE={}", envelope.octets));
        }
        if self.offers.eight_bit && envelope.eight_bit {
            mail.push_str(" BODY=8BITMIME");
        }
        // whatever became of the message before this one, it is over
        let mut commands = vec!["RSET".to_owned(), mail];
        commands.extend(
            envelope
                .recipients
                .iter()
                .map(|recipient| format!("RCPT TO:<{recipient}>")),
        );
        let mut answers = self.ask(&commands)?;
        let mut replies = answers.split_off(2);
        let mail = answers.swap_remove(1);
        if mail.answer() != ReplyClass::Yes {
            return Ok(vec![mail; replies.len()]);
        }
        if replies
            .iter()
            .any(|reply| reply.answer() == ReplyClass::Yes)
        {
            let data = self.ask(&["DATA".to_owned()])?.swap_remove(0);
            // 2xx is no answer to DATA
            let data = if data.answer() == ReplyClass::Yes {
                Reply { code: 451, ..data }
            } else {
                data
            };
            replies
                .iter_mut()
                .filter(|reply| reply.answer() == ReplyClass::Yes)
                .for_each(|reply| reply.clone_from(&data));
        }
        Ok(replies)
    }

    /// Sends the content, which has LF line ends, to those that wait for it: their `replies` become
    /// the last ones.
    ///
    /// # Errors
    /// The line was lost: nobody knows who has the message.
    pub(super) fn deliver(
        &mut self,
        content: &mut impl Read,
        replies: &mut [Reply],
    ) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(64 * 1024, self.stream.get_mut());
        stuff(&mut BufReader::with_capacity(64 * 1024, content), &mut out)?;
        out.flush()?;
        drop(out);
        for reply in replies
            .iter_mut()
            .filter(|reply| reply.answer() == ReplyClass::More)
        {
            *reply = self.reply()?;
        }
        Ok(())
    }

    /// Sends commands, many at once where that is offered (RFC 2920), and reads a reply to each.
    fn ask(&mut self, commands: &[String]) -> io::Result<Vec<Reply>> {
        let lines: Vec<_> = commands
            .iter()
            .map(|command| format!("{command}\r\n"))
            .collect();
        let mut replies = Vec::with_capacity(lines.len());
        for some in lines.chunks(if self.offers.pipelining {
            ASKED_TOGETHER
        } else {
            1
        }) {
            self.send(&some.concat())?;
            for _ in some {
                replies.push(self.reply()?);
            }
        }
        Ok(replies)
    }

    fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes())
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let invalid = |text: &str| io::Error::new(ErrorKind::InvalidData, text.to_owned());
        let mut lines = Vec::new();
        loop {
            let mut octets = Vec::new();
            self.stream
                .by_ref()
                .take(MAX_LINE as u64)
                .read_until(b'\n', &mut octets)?;
            if octets.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let (code, more, text) =
                reply::line(octets.trim_ascii_end()).ok_or_else(|| invalid("not an LMTP reply"))?;
            lines.push(text.to_vec());
            if !more {
                return Ok(Reply { code, lines });
            }
            if lines.len() == MAX_LINES {
                return Err(invalid("a reply has too many lines"));
            }
        }
    }
}

impl<S: Read + Write> Drop for Session<S> {
    fn drop(&mut self) {
        // good manners: nothing hangs on it
        let _ = self.send("QUIT\r\n");
    }
}

/// Copies a message with CRLF for each LF, a dot before each one that begins a line, and the line
/// of one dot that ends it (RFC 5321 §4.5.2).
fn stuff(content: &mut impl BufRead, out: &mut impl Write) -> io::Result<()> {
    let mut begins = true;
    loop {
        let octets = content.fill_buf()?;
        if octets.is_empty() {
            break;
        }
        let end = memchr::memchr(b'\n', octets);
        let line = &octets[..end.unwrap_or(octets.len())];
        if begins && line.first() == Some(&b'.') {
            out.write_all(b".")?;
        }
        out.write_all(line)?;
        begins = end.is_some();
        if begins {
            out.write_all(b"\r\n")?;
        }
        let read = line.len() + usize::from(begins);
        content.consume(read);
    }
    out.write_all(if begins { b".\r\n" } else { b"\r\n.\r\n" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A server that says its part whatever it hears.
    #[derive(Debug)]
    struct Script {
        says: io::Cursor<Vec<u8>>,
        heard: Vec<u8>,
    }

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.says.read(buffer)
        }
    }

    impl Write for Script {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.heard.extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn session(says: &[&str]) -> Session<Script> {
        let says = (says.join("\r\n") + "\r\n").into_bytes();
        Session::greet(
            Script {
                says: io::Cursor::new(says),
                heard: Vec::new(),
            },
            "desk",
        )
        .unwrap()
    }

    fn heard(session: &Session<Script>) -> String {
        String::from_utf8(session.stream.get_ref().heard.clone()).unwrap()
    }

    const ENVELOPE: Transaction<'_> = Transaction {
        sender: "b@example.org",
        recipients: &["ann", "ben"],
        octets: 9,
        eight_bit: true,
    };

    fn codes(replies: &[Reply]) -> Vec<u16> {
        replies.iter().map(|reply| reply.code).collect()
    }

    #[test]
    fn each_recipient_has_a_reply_of_its_own() {
        let mut session = session(&[
            "220 hello",
            "250-desk",
            "250-SIZE",
            "250-8BITMIME",
            "250 PIPELINING",
            "250 reset",
            "250 sender",
            "250 ann",
            "550 no ben",
            "354 go",
            "250 ann has it",
        ]);
        let mut replies = session.offer(&ENVELOPE).unwrap();
        assert_eq!(codes(&replies), [354, 550]);
        session
            .deliver(&mut &b"A: b\n\n.x"[..], &mut replies)
            .unwrap();
        assert_eq!(codes(&replies), [250, 550]);
        assert_eq!(
            heard(&session),
            "LHLO desk\r\nRSET\r\nMAIL FROM:<b@example.org> SIZE=9 BODY=8BITMIME\r\nRCPT TO:<ann>\r\nRCPT TO:<ben>\r\nDATA\r\nA: b\r\n\r\n..x\r\n.\r\n"
        );
    }

    #[test]
    fn what_is_said_to_the_sender_or_to_data_is_said_to_all() {
        let mut sender = session(&[
            "220 hello",
            "250 desk",
            "250 reset",
            "452 full",
            "503 no",
            "503 no",
        ]);
        assert_eq!(codes(&sender.offer(&ENVELOPE).unwrap()), [452, 452]);
        assert!(!heard(&sender).contains("DATA"));
        let mut data = session(&[
            "220 hello",
            "250 desk",
            "250 reset",
            "250 ok",
            "250 ann",
            "550 ben",
            "451 later",
        ]);
        assert_eq!(codes(&data.offer(&ENVELOPE).unwrap()), [451, 550]);
        let mut nobody = session(&[
            "220 hello",
            "250 desk",
            "250 reset",
            "250 ok",
            "550 ann",
            "550 ben",
        ]);
        assert_eq!(codes(&nobody.offer(&ENVELOPE).unwrap()), [550, 550]);
        assert!(!heard(&nobody).contains("DATA"));
    }

    #[test]
    fn what_is_no_lmtp_ends_the_session() {
        let greet = |says: &str| {
            let script = Script {
                says: io::Cursor::new(says.as_bytes().to_vec()),
                heard: Vec::new(),
            };
            Session::greet(script, "desk").unwrap_err()
        };
        assert!(
            matches!(greet("220 hello\r\n500 what?\r\n"), Trouble::Said(reply) if reply.code == 500)
        );
        assert!(matches!(greet("+OK hello\r\n"), Trouble::Lost(_)));
        assert!(matches!(greet(""), Trouble::Lost(_)));
        assert!(matches!(greet(&"220-x\r\n".repeat(1000)), Trouble::Lost(_)));
        assert!(matches!(greet(&"2".repeat(100_000)), Trouble::Lost(_)));
    }

    proptest! {
        #[test]
        fn the_end_is_the_only_dot_alone(lines in proptest::collection::vec("[.a\r]{0,3}", 0..6), cut in 1_usize..9) {
            let message = lines.join("\n");
            let mut wire = Vec::new();
            stuff(&mut BufReader::with_capacity(cut, message.as_bytes()), &mut wire).unwrap();
            let wire = String::from_utf8(wire).unwrap();
            let body = wire.strip_suffix(".\r\n").unwrap();
            prop_assert!(body.is_empty() || body.ends_with("\r\n"));
            let read = body.split_inclusive("\r\n").map(|line| line.strip_prefix('.').unwrap_or(line).strip_suffix("\r\n").unwrap());
            let read = read.fold(String::new(), |read, line| read + line + "\n");
            let whole = if message.is_empty() || message.ends_with('\n') { message } else { message + "\n" };
            prop_assert_eq!(read, whole);
            prop_assert!(!body.starts_with(".\r\n") && !body.contains("\r\n.\r\n"));
        }
    }
}
