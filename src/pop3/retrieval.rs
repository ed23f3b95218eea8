//! Retrieving messages: RETR is sent ahead of the response being read, and each response is
//! verified.
//!
//! # Why each message is verified
//!
//! With PIPELINING (RFC 2449 §6.6) several commands are outstanding, and nothing in the response to
//! RETR says which message it is. A server that loses one command, or answers one twice, shifts all
//! responses after it: each message would be stored in the place of another, and a message that was
//! never received could be deleted. So each `RETR n` is followed by a *sentinel*, `LIST n`, whose
//! response `+OK n SIZE` names the message. LIST is mandatory (RFC 1939 §5), its response is some
//! 20 bytes, and it is in the same write and in the same round trip as the RETR.
//!
//! A message counts only once its own sentinel has been answered:
//! - If `RETR n` is lost, the response to `LIST n` is read as its status, the next message as its
//!   body, and the sentinel after that names another message.
//! - If `LIST n` is lost, the status of the next message is read in its place.
//! - If `RETR n` is answered twice, the second status is read in place of the sentinel.
//! - If `LIST n` is answered twice, the second response is read as the status of the next message:
//!   it is recognised because it names the message before.
//!
//! Dovecot, Cyrus, Courier, mailfront, popa3d, Solid POP3, GNU Mailutils, Twisted and perdition
//! answer every pair in order, and `-ERR` twice for a message that does not exist. A session on
//! which the sentinel fails is closed, and after two of them pouch sends one command at a time.
//! Without pipelining a sentinel would cost a round trip per message, and is not sent: one command
//! has one response, and data that arrives before the next command is detected.
//!
//! Two alternatives were rejected. One STAT at the end of the session detects the same faults, but
//! only after messages have been delivered under wrong UIDs, which then need a state of their own.
//! Comparing sizes or headers with the listing proves nothing: servers count sizes differently, and
//! two messages can have the same header.

use std::io::{Read, Write};

use super::{
    body::Decoder,
    command::Command,
    connection::Connection,
    reply::{self, Refusal},
};
use crate::{domain::ids::MsgNum, error::Result};

/// A message to retrieve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrRequest {
    /// Its number.
    pub num: MsgNum,
    /// Its size by LIST, in octets.
    pub octets: u64,
}

/// The most that is requested and not received yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The number of messages, at least 1.
    pub count: usize,
    /// The number of messages until one has arrived, and after a refusal. A server that refuses
    /// everything would otherwise get hundreds of requests.
    pub cautious: usize,
    /// Their total size by LIST, in octets. A single message may be larger.
    pub octets: u64,
}

/// The number of bytes by which a status line is recognised.
const STATUS: usize = 4;

impl Window {
    /// One message at a time.
    pub const ONE: Self = Self {
        count: 1,
        cautious: 1,
        octets: u64::MAX,
    };
}

/// Requested messages, in the order of the requests.
///
/// The value lends one message at a time, and borrows the session, so that no other command can be
/// sent while responses to RETR are outstanding.
pub struct Retrieval<'s, S> {
    connection: &'s mut Connection<S>,
    requests: &'s [RetrRequest],
    window: Window,
    /// Whether each RETR is followed by a sentinel.
    verify: bool,
    /// How many of `requests` were sent.
    sent: usize,
    /// How many of those have a response of which at least the status line was read.
    answered: usize,
    /// The total size by LIST of those sent and not answered, in octets.
    in_flight: u64,
    body: Option<BodyState>,
    /// Whether the last response was a message.
    provides: bool,
    /// The size of what was received of the current or last message, in octets.
    received: u64,
    /// The message whose sentinel was answered last.
    last_verified: Option<MsgNum>,
}

/// A body that is being read.
struct BodyState {
    request: RetrRequest,
    decoder: Decoder,
    ended: bool,
    /// The first [`STATUS`] bytes of the content.
    beginning: Vec<u8>,
}

/// The response to a RETR.
pub enum RetrResponse<'r, 's, S> {
    /// The message follows.
    Message(Body<'r, 's, S>),
    /// The server refused to send it.
    Refused(Refusal),
}

impl<'s, S: Read + Write> Retrieval<'s, S> {
    /// Returns a retrieval of `requests`. `verify` is whether to send a sentinel after each RETR.
    pub(super) fn new(
        connection: &'s mut Connection<S>,
        requests: &'s [RetrRequest],
        window: Window,
        verify: bool,
    ) -> Self {
        Self {
            connection,
            requests,
            window,
            verify,
            sent: 0,
            answered: 0,
            in_flight: 0,
            body: None,
            provides: false,
            received: 0,
            last_verified: None,
        }
    }

    /// Returns the response to the next request, or `None` once all have been answered. The unread
    /// rest of the message before is skipped.
    ///
    /// # Errors
    /// The connection is lost, or the server is out of sync.
    #[expect(clippy::should_implement_trait, reason = "an iterator that lends")]
    pub fn next(&mut self) -> Result<Option<RetrResponse<'_, 's, S>>> {
        while self.chunk()?.is_some() {}
        let Some(request) = self.requests.get(self.answered).copied() else {
            return Ok(None);
        };
        self.refill()?;
        let response = self.connection.status()?;
        self.answered += 1;
        self.in_flight -= request.octets;
        self.provides = response.is_ok();
        match response {
            Ok(status) => {
                self.reject_repeated_sentinel(&status)?;
                self.body = Some(BodyState {
                    request,
                    decoder: self.connection.decoder(),
                    ended: false,
                    beginning: Vec::with_capacity(STATUS),
                });
                self.received = 0;
                Ok(Some(RetrResponse::Message(Body { retrieval: self })))
            }
            Err(refusal) => {
                if self.verify {
                    self.connection.read_sentinel(request.num, true)?;
                    self.last_verified = Some(request.num);
                }
                Ok(Some(RetrResponse::Refused(refusal)))
            }
        }
    }

    /// Sends no more requests: [`next`](Self::next) returns the responses to those that were sent.
    pub fn stop(&mut self) {
        self.requests = &self.requests[..self.sent];
    }

    /// Returns an error if a status line repeats the response to the sentinel before it.
    fn reject_repeated_sentinel(&self, status: &[u8]) -> Result<()> {
        let named = reply::sentinel(status);
        if self.last_verified.is_some() && named == self.last_verified {
            return Err(self.connection.desynchronized(&[b"+OK ", status].concat()));
        }
        Ok(())
    }

    /// Reads more of the current message. Returns `None` once it has ended and is verified.
    fn chunk(&mut self) -> Result<Option<&[u8]>> {
        let Some(body) = &mut self.body else {
            return Ok(None);
        };
        let content = self
            .connection
            .content(&mut body.decoder, &mut body.ended)?;
        self.received = body.decoder.octets();
        let Some(content) = content else {
            let verified = self.verify_body();
            self.body = None;
            return verified.map(|()| None);
        };
        let content = self.connection.bytes(content);
        let missing = STATUS - body.beginning.len();
        body.beginning.extend(content.iter().take(missing));
        Ok(Some(content))
    }

    /// Verifies that the body that has ended is the one that was requested.
    fn verify_body(&mut self) -> Result<()> {
        let Some(body) = &self.body else {
            return Ok(());
        };
        let num = body.request.num;
        if self.verify {
            self.connection.read_sentinel(num, false)?;
            self.last_verified = Some(num);
        }
        let is_status = body.beginning.starts_with(b"+OK") || body.beginning == b"-ERR";
        if is_status && self.received > body.request.octets {
            // the status line was sent twice, and the second one was read as content
            return Err(self.connection.desynchronized(&body.beginning));
        }
        Ok(())
    }

    /// Sends more requests once half of the window has been answered.
    fn refill(&mut self) -> Result<()> {
        let waiting = self.sent - self.answered;
        let count = if self.provides {
            self.window.count
        } else {
            self.window.count.min(self.window.cautious)
        };
        if waiting > count / 2 || self.in_flight > self.window.octets / 2 {
            return Ok(());
        }
        let before = self.sent;
        while let Some(next) = self.requests.get(self.sent) {
            let waiting = self.sent - self.answered;
            let full =
                waiting >= count || self.in_flight.saturating_add(next.octets) > self.window.octets;
            if waiting > 0 && full {
                break;
            }
            self.connection.queue(Command::Retr(next.num))?;
            if self.verify {
                self.connection.queue(Command::ListOne(next.num))?;
            }
            self.sent += 1;
            self.in_flight += next.octets;
        }
        if self.sent > before {
            self.connection.flush()
        } else {
            Ok(())
        }
    }
}

/// The content of one message as it arrives.
pub struct Body<'r, 's, S> {
    retrieval: &'r mut Retrieval<'s, S>,
}

impl<S: Read + Write> Body<'_, '_, S> {
    /// Returns the next piece of the content, with LF line ends, or `None` once the message has
    /// ended and is known to be the one that was requested.
    ///
    /// # Errors
    /// The connection is lost inside the message, or this is another message.
    pub fn chunk(&mut self) -> Result<Option<&[u8]>> {
        self.retrieval.chunk()
    }

    /// Returns the size of what has been received, in octets as LIST counts them.
    pub fn octets(&self) -> u64 {
        self.retrieval.received
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use super::{super::connection::ConnectionOptions, *};
    use crate::error::Kind;

    /// A server that sends fixed bytes, whatever is requested.
    struct Scripted<'s>(&'s [u8]);

    impl Read for Scripted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Scripted<'_> {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Retrieves messages 1 to 3 from a server that sends `wire`. Returns those that were verified,
    /// and how the retrieval ended.
    fn retrieve(wire: &str) -> (Vec<String>, Result<()>) {
        let options = ConnectionOptions {
            peer: "pop.example.org".into(),
            time_limit: Duration::from_mins(1),
            trace: None,
        };
        let mut connection = Connection::new(Scripted(wire.as_bytes()), options);
        let requests = [1, 2, 3].map(|num| RetrRequest {
            num: MsgNum(num),
            octets: 5,
        });
        let window = Window {
            count: 16,
            cautious: 16,
            octets: 1_000,
        };
        let mut retrieval = Retrieval::new(&mut connection, &requests, window, true);
        let mut verified = Vec::new();
        let mut all = || {
            while let Some(response) = retrieval.next()? {
                match response {
                    RetrResponse::Refused(_) => verified.push("refused".to_owned()),
                    RetrResponse::Message(mut body) => {
                        let mut content = Vec::new();
                        while let Some(piece) = body.chunk()? {
                            content.extend_from_slice(piece);
                        }
                        verified.push(String::from_utf8(content).unwrap().trim().to_owned());
                    }
                }
            }
            Ok(())
        };
        let ended = all();
        (verified, ended)
    }

    /// Returns the responses to `RETR num` and to the sentinel after it.
    fn message(num: u32) -> (String, String) {
        (
            format!("+OK 5 octets\r\nm-{num}\r\n.\r\n"),
            format!("+OK {num} 5\r\n"),
        )
    }

    #[test]
    fn messages_with_their_sentinels_are_accepted() {
        let ((m1, l1), (m3, l3)) = (message(1), message(3));
        let (verified, ended) = retrieve(&format!("{m1}{l1}-ERR no\r\n-ERR no\r\n{m3}{l3}"));
        assert_eq!(verified, ["m-1", "refused", "m-3"]);
        ended.unwrap();
        // further text in a scan listing is allowed (RFC 1939 §5)
        let more = format!("{m1}+OK 1 5 of some kind\r\n-ERR no\r\n+OK 2 5\r\n{m3}{l3}");
        assert_eq!(retrieve(&more).0, ["m-1", "refused", "m-3"]);
    }

    #[test]
    fn lost_or_repeated_response_ends_the_session_before_the_message_is_accepted() {
        let ((m1, l1), (m2, l2), (m3, l3)) = (message(1), message(2), message(3));
        for (what, wire) in [
            ("RETR 2 is lost", format!("{m1}{l1}{l2}{m3}{l3}")),
            ("LIST 2 is lost", format!("{m1}{l1}{m2}{m3}{l3}")),
            ("RETR 2 and LIST 2 are lost", format!("{m1}{l1}{m3}{l3}")),
            (
                "RETR 2 is answered twice",
                format!("{m1}{l1}{m2}{m2}{l2}{m3}{l3}"),
            ),
            (
                "LIST 1 is answered twice",
                format!("{m1}{l1}{l1}{m2}{l2}{m3}{l3}"),
            ),
            (
                "RETR 2 has two status lines",
                format!("{m1}{l1}+OK\r\n{m2}{l2}{m3}{l3}"),
            ),
            (
                "LIST 2 is refused",
                format!("{m1}{l1}{m2}-ERR what?\r\n{m3}{l3}"),
            ),
        ] {
            let (verified, ended) = retrieve(&wire);
            assert_eq!(verified, ["m-1"], "{what}");
            assert_eq!(ended.unwrap_err().kind(), Kind::Desynchronized, "{what}");
        }
    }
}
