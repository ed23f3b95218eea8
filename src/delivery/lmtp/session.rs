//! A session with an LMTP server (RFC 2033).

use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};

use super::reply::{self, Extensions, MAX_LINE, MAX_LINES, Reply, ReplyClass};

/// The number of commands that are sent in one write. Commands and replies fit into the smallest
/// socket buffers, so that neither side waits for the other to read.
const COMMANDS_AT_ONCE: usize = 64;

/// A session after LHLO.
#[derive(Debug)]
pub(super) struct Session<S: Read + Write> {
    stream: BufReader<S>,
    extensions: Extensions,
}

/// The envelope of a message (RFC 5321 §2.3.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Transaction<'a> {
    /// The return path, empty for a message that must not be answered.
    pub(super) sender: &'a str,
    /// The addresses of the recipients.
    pub(super) recipients: &'a [&'a str],
    /// The size in bytes, counted with CRLF.
    pub(super) octets: u64,
    /// Whether the message has 8-bit bytes.
    pub(super) eight_bit: bool,
}

/// The reason why a session could not be started.
#[derive(Debug)]
pub(super) enum GreetError {
    /// The connection was lost, or the server does not speak LMTP.
    Lost(io::Error),
    /// The server's greeting or its reply to LHLO was negative.
    Rejected(Reply),
}

impl From<io::Error> for GreetError {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl<S: Read + Write> Session<S> {
    /// Reads the greeting, and sends LHLO with `host`, this machine's name.
    ///
    /// # Errors
    /// The connection was lost, or the server rejected the session.
    pub(super) fn greet(stream: S, host: &str) -> Result<Self, GreetError> {
        let mut session = Self {
            stream: BufReader::new(stream),
            extensions: Extensions::default(),
        };
        let accepted = |reply: Reply| {
            if reply.class() == ReplyClass::Accepted {
                Ok(reply)
            } else {
                Err(GreetError::Rejected(reply))
            }
        };
        accepted(session.reply()?)?;
        session.send(&format!("LHLO {host}\r\n"))?;
        session.extensions = Extensions::parse(&accepted(session.reply()?)?);
        Ok(session)
    }

    /// Returns the extensions that the server offers.
    pub(super) fn extensions(&self) -> Extensions {
        self.extensions
    }

    /// Sends the envelope of a message. Returns a reply for each recipient. If one is
    /// [`ReplyClass::Intermediate`], the server waits for the content, and
    /// [`deliver`](Self::deliver) has to follow.
    ///
    /// # Errors
    /// The connection was lost. No recipient has the message.
    pub(super) fn offer(&mut self, envelope: &Transaction<'_>) -> io::Result<Vec<Reply>> {
        let mut mail = format!("MAIL FROM:<{}>", envelope.sender);
        if self.extensions.size {
            mail.push_str(&format!(" SIZE={}", envelope.octets));
        }
        if self.extensions.eight_bit && envelope.eight_bit {
            mail.push_str(" BODY=8BITMIME");
        }
        // RSET ends the transaction of the message before, if the server still has one
        let mut commands = vec!["RSET".to_owned(), mail];
        commands.extend(
            envelope
                .recipients
                .iter()
                .map(|recipient| format!("RCPT TO:<{recipient}>")),
        );
        let mut all = self.execute(&commands)?;
        let mut replies = all.split_off(2);
        let mail = all.swap_remove(1);
        if mail.class() != ReplyClass::Accepted {
            return Ok(vec![mail; replies.len()]);
        }
        if replies
            .iter()
            .any(|reply| reply.class() == ReplyClass::Accepted)
        {
            let data = self.execute(&["DATA".to_owned()])?.swap_remove(0);
            // 2xx is not a valid reply to DATA
            let data = if data.class() == ReplyClass::Accepted {
                Reply { code: 451, ..data }
            } else {
                data
            };
            replies
                .iter_mut()
                .filter(|reply| reply.class() == ReplyClass::Accepted)
                .for_each(|reply| reply.clone_from(&data));
        }
        Ok(replies)
    }

    /// Sends the content, which has LF line ends. Replaces each intermediate reply in `replies`
    /// with the final one for that recipient.
    ///
    /// # Errors
    /// The connection was lost. Recipients whose reply is still intermediate may have the message.
    pub(super) fn deliver(
        &mut self,
        content: &mut impl Read,
        replies: &mut [Reply],
    ) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(64 * 1024, self.stream.get_mut());
        dot_stuff(&mut BufReader::with_capacity(64 * 1024, content), &mut out)?;
        out.flush()?;
        drop(out);
        for reply in replies
            .iter_mut()
            .filter(|reply| reply.class() == ReplyClass::Intermediate)
        {
            *reply = self.reply()?;
        }
        Ok(())
    }

    /// Sends commands, pipelined if the server offers that (RFC 2920). Returns the reply to each.
    fn execute(&mut self, commands: &[String]) -> io::Result<Vec<Reply>> {
        let lines: Vec<_> = commands
            .iter()
            .map(|command| format!("{command}\r\n"))
            .collect();
        let mut replies = Vec::with_capacity(lines.len());
        for batch in lines.chunks(if self.extensions.pipelining {
            COMMANDS_AT_ONCE
        } else {
            1
        }) {
            self.send(&batch.concat())?;
            for _ in batch {
                replies.push(self.reply()?);
            }
        }
        Ok(replies)
    }

    /// Sends text, which may be several lines.
    fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes())
    }

    /// Reads a reply.
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
        // nothing depends on the reply
        let _ = self.send("QUIT\r\n");
    }
}

/// Copies a message with CRLF in place of LF, another dot before each dot that begins a line, and
/// the line with one dot that ends the message (RFC 5321 §4.5.2).
fn dot_stuff(content: &mut impl BufRead, out: &mut impl Write) -> io::Result<()> {
    let mut at_line_start = true;
    loop {
        let octets = content.fill_buf()?;
        if octets.is_empty() {
            break;
        }
        let end = memchr::memchr(b'\n', octets);
        let line = &octets[..end.unwrap_or(octets.len())];
        if at_line_start && line.first() == Some(&b'.') {
            out.write_all(b".")?;
        }
        out.write_all(line)?;
        at_line_start = end.is_some();
        if at_line_start {
            out.write_all(b"\r\n")?;
        }
        let read = line.len() + usize::from(at_line_start);
        content.consume(read);
    }
    out.write_all(if at_line_start {
        b".\r\n"
    } else {
        b"\r\n.\r\n"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A server that sends fixed replies, whatever it receives.
    #[derive(Debug)]
    struct Script {
        replies: io::Cursor<Vec<u8>>,
        received: Vec<u8>,
    }

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.replies.read(buffer)
        }
    }

    impl Write for Script {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.received.extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn session(replies: &[&str]) -> Session<Script> {
        let replies = (replies.join("\r\n") + "\r\n").into_bytes();
        Session::greet(
            Script {
                replies: io::Cursor::new(replies),
                received: Vec::new(),
            },
            "desk",
        )
        .unwrap()
    }

    fn received(session: &Session<Script>) -> String {
        String::from_utf8(session.stream.get_ref().received.clone()).unwrap()
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
    fn each_recipient_has_its_own_final_reply() {
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
            received(&session),
            "LHLO desk\r\nRSET\r\nMAIL FROM:<b@example.org> SIZE=9 BODY=8BITMIME\r\n\
             RCPT TO:<ann>\r\nRCPT TO:<ben>\r\nDATA\r\nA: b\r\n\r\n..x\r\n.\r\n"
        );
    }

    #[test]
    fn rejected_sender_or_data_is_the_reply_for_all_recipients() {
        let mut sender = session(&[
            "220 hello",
            "250 desk",
            "250 reset",
            "452 full",
            "503 no",
            "503 no",
        ]);
        assert_eq!(codes(&sender.offer(&ENVELOPE).unwrap()), [452, 452]);
        assert!(!received(&sender).contains("DATA"));
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
        let mut recipients = session(&[
            "220 hello",
            "250 desk",
            "250 reset",
            "250 ok",
            "550 ann",
            "550 ben",
        ]);
        assert_eq!(codes(&recipients.offer(&ENVELOPE).unwrap()), [550, 550]);
        assert!(!received(&recipients).contains("DATA"));
    }

    #[test]
    fn invalid_or_endless_greeting_is_an_error() {
        let greet = |replies: &str| {
            let script = Script {
                replies: io::Cursor::new(replies.as_bytes().to_vec()),
                received: Vec::new(),
            };
            Session::greet(script, "desk").unwrap_err()
        };
        assert!(matches!(
            greet("220 hello\r\n500 what?\r\n"),
            GreetError::Rejected(reply) if reply.code == 500
        ));
        assert!(matches!(greet("+OK hello\r\n"), GreetError::Lost(_)));
        assert!(matches!(greet(""), GreetError::Lost(_)));
        assert!(matches!(
            greet(&"220-x\r\n".repeat(1000)),
            GreetError::Lost(_)
        ));
        assert!(matches!(greet(&"2".repeat(100_000)), GreetError::Lost(_)));
    }

    proptest! {
        #[test]
        fn lone_dot_occurs_only_at_the_end(
            lines in proptest::collection::vec("[.a\r]{0,3}", 0..6),
            cut in 1_usize..9,
        ) {
            let message = lines.join("\n");
            let mut wire = Vec::new();
            dot_stuff(&mut BufReader::with_capacity(cut, message.as_bytes()), &mut wire).unwrap();
            let wire = String::from_utf8(wire).unwrap();
            let body = wire.strip_suffix(".\r\n").unwrap();
            prop_assert!(body.is_empty() || body.ends_with("\r\n"));
            let decoded: String = body
                .split_inclusive("\r\n")
                .map(|line| line.strip_prefix('.').unwrap_or(line))
                .map(|line| line.strip_suffix("\r\n").unwrap().to_owned() + "\n")
                .collect();
            let ended = message.is_empty() || message.ends_with('\n');
            prop_assert_eq!(decoded, if ended { message } else { message + "\n" });
            prop_assert!(!body.starts_with(".\r\n") && !body.contains("\r\n.\r\n"));
        }
    }
}
