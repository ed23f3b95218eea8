//! The destination `lmtp`: an LMTP server, such as Dovecot's (RFC 2033).
//!
//! # Partial acceptance
//!
//! Unlike SMTP, LMTP has a reply for each recipient after the content: one may have the message,
//! another is over quota, a third does not exist. A message that only some accepted is recorded as
//! accepted for those ([`Delivery::accepted_by`]), and the next run offers it to the others alone.
//! It is deferred if one of the others may accept it later, and rejected if none will. Starting
//! over with all recipients was rejected, because those that have the message would get it again in
//! each run, for as long as one mailbox is full.
//!
//! If the connection is lost after the content was sent, the replies that arrived count, and for
//! the other recipients it is not known whether they have the message: they get it again.
//!
//! The session is kept for all messages of a run. A server may end an idle one, so if a kept
//! session fails before the content is sent, the message is offered again in a new session.

mod reply;
mod session;

use std::{
    io::{self, Read, Seek, Write},
    path::PathBuf,
};

use super::{Delivery, Draft, Envelope};
use crate::{
    domain::{
        destination::{Destination, LmtpServer},
        message::return_path,
    },
    error::{Error, Kind, Result},
    sys::interrupt::Interrupt,
};
use reply::{Extensions, Reply, ReplyClass};
use session::{GreetError, Session, Transaction};

/// A connection to an LMTP server.
pub trait LmtpStream: Read + Write + Send {}

impl<S: Read + Write + Send> LmtpStream for S {}

/// A function that connects to the server.
pub type Connect = Box<dyn Fn() -> Result<Box<dyn LmtpStream>> + Send>;

/// An LMTP server as a destination.
pub struct Lmtp {
    address: LmtpServer,
    /// The server's name, for messages.
    server: String,
    /// This machine's host name.
    host: String,
    spool: PathBuf,
    connect: Connect,
    session: Option<Session<Box<dyn LmtpStream>>>,
    accepted_by: Vec<String>,
}

impl Lmtp {
    /// Returns the server at `address` as a destination, to which `connect` connects. Messages are
    /// spooled in the directory `spool`, in files without a name. `host` is this machine's name.
    pub fn new(address: LmtpServer, host: &str, spool: PathBuf, connect: Connect) -> Self {
        Self {
            server: format!("the LMTP server at {address}"),
            address,
            host: host.to_owned(),
            spool,
            connect,
            session: None,
            accepted_by: Vec::new(),
        }
    }

    /// Returns the extensions that the server offers, after connecting to it if necessary.
    ///
    /// # Errors
    /// [`Kind::Busy`] if the server cannot be reached or temporarily rejects the session,
    /// [`Kind::Unavailable`] if it rejects it permanently.
    pub fn offers(&mut self) -> Result<Extensions> {
        if let Some(session) = &self.session {
            return Ok(session.extensions());
        }
        let session = self.greet()?;
        Ok(self.session.insert(session).extensions())
    }

    /// Connects and starts a session.
    fn greet(&self) -> Result<Session<Box<dyn LmtpStream>>> {
        let stream = (self.connect)().map_err(|error| match error.kind() {
            Kind::Stopped(_) | Kind::NoHost => error,
            _ => {
                let hint = match &self.address {
                    LmtpServer::Unix(_) => error.hint().unwrap_or_default(),
                    LmtpServer::Tcp { .. } => "check the address, and that the server is running",
                };
                let facts = error.facts().iter();
                let failed = Error::new(Kind::Busy, format!("cannot connect to {}", self.server));
                let failed = facts.fold(failed, |failed, fact| failed.with_fact(fact.as_str()));
                failed.with_hint(hint)
            }
        })?;
        Session::greet(stream, &self.host).map_err(|error| match error {
            GreetError::Lost(error) => self.lost(Kind::Busy, &error),
            GreetError::Rejected(reply) => {
                let (kind, what) = match reply.class() {
                    ReplyClass::Rejected => (
                        Kind::Unavailable,
                        format!("{} rejected the session", self.server),
                    ),
                    _ => (
                        Kind::Busy,
                        format!("{} temporarily rejected the session", self.server),
                    ),
                };
                Error::new(kind, what).with_fact(format!("the server said: {}", reply.shown()))
            }
        })
    }

    /// Returns the error for a lost connection.
    fn lost(&self, kind: Kind, error: &io::Error) -> Error {
        Error::new(kind, format!("the connection to {} was lost", self.server)).with_fact(
            match error.kind() {
                io::ErrorKind::UnexpectedEof => "the server closed it".into(),
                io::ErrorKind::TimedOut => "no response within `pipe-timeout`".into(),
                _ => error.to_string(),
            },
        )
    }

    /// Returns the recipients at this server that have not accepted the message yet.
    fn recipients<'s>(&self, envelope: &Envelope<'s>) -> Vec<&'s str> {
        let recipients = envelope
            .destinations
            .iter()
            .filter_map(|destination| match destination {
                Destination::Lmtp(server, recipients) if *server == self.address => {
                    Some(recipients)
                }
                _ => None,
            });
        recipients
            .flatten()
            .map(String::as_str)
            .filter(|name| !envelope.accepted_by.contains(&self.address.taker(name)))
            .collect()
    }

    /// Sends a message. `replies` then has the reply for each recipient, or if the connection was
    /// lost, those that arrived before; the others are not final.
    ///
    /// # Errors
    /// [`Kind::Deferred`] if the connection was lost; or no new session could be started.
    fn send(
        &mut self,
        envelope: &Transaction<'_>,
        content: &mut impl Read,
        replies: &mut Vec<Reply>,
    ) -> Result<()> {
        let offered = match self.session.take() {
            // The server may have ended an idle session.
            Some(mut kept) => kept.offer(envelope).ok().map(|replies| (kept, replies)),
            None => None,
        };
        let lost = |error: &io::Error| self.lost(Kind::Deferred, error);
        let mut session;
        (session, *replies) = if let Some(offered) = offered {
            offered
        } else {
            let mut session = self.greet()?;
            let replies = session.offer(envelope).map_err(|error| lost(&error))?;
            (session, replies)
        };
        if replies
            .iter()
            .any(|reply| reply.class() == ReplyClass::Intermediate)
        {
            session
                .deliver(content, replies)
                .map_err(|error| lost(&error))?;
        }
        self.session = Some(session);
        Ok(())
    }
}

impl Delivery for Lmtp {
    fn begin(&mut self, _envelope: &Envelope<'_>) -> Result<Draft> {
        // No message is fetched while the server is unavailable.
        self.offers()?;
        Draft::create_unnamed(&self.spool)
    }

    fn accept(
        &mut self,
        envelope: &Envelope<'_>,
        mut draft: Draft,
        stop: &Interrupt,
    ) -> Result<()> {
        self.accepted_by.clear();
        let failed = |error: &io::Error| Error::file("spool a message in", &self.spool, error);
        let head = draft.reread().map_err(|error| failed(&error))?;
        let (octets, eight_bit) = measure(&mut draft.file).map_err(|error| failed(&error))?;
        draft.file.rewind().map_err(|error| failed(&error))?;
        if let Some(limit) = self.offers()?.max_size.filter(|limit| octets > *limit) {
            return Err(Error::new(
                Kind::TooLarge,
                format!("the message is larger than {} accepts", self.server),
            )
            .with_fact(format!("it has {octets} bytes, the limit is {limit}")));
        }
        let recipients = self.recipients(envelope);
        if recipients.is_empty() {
            return Ok(());
        }
        let sender = return_path(&head)
            .filter(|sender| is_plain_address(sender))
            .unwrap_or_default();
        let envelope = Transaction {
            sender: &sender,
            recipients: &recipients,
            octets,
            eight_bit,
        };
        let mut replies = Vec::new();
        let sent = self.send(&envelope, &mut draft.file, &mut replies);
        self.accepted_by = recipients
            .iter()
            .zip(&replies)
            .filter(|(_, reply)| reply.class() == ReplyClass::Accepted)
            .map(|(recipient, _)| self.address.taker(recipient))
            .collect();
        // A read or write that a signal interrupts fails like a lost connection.
        sent.or_else(|error| stop.check().and(Err(error)))?;
        classify_replies(&self.server, &recipients, &replies)
    }

    fn accepted_by(&mut self) -> Vec<String> {
        std::mem::take(&mut self.accepted_by)
    }
}

/// Returns whether an address can be sent between `<` and `>` as it is.
fn is_plain_address(address: &str) -> bool {
    !address.is_empty()
        && address
            .bytes()
            .all(|octet| octet.is_ascii_graphic() && !b"<>".contains(&octet))
}

/// Returns the size of a message in bytes, counted with CRLF, and whether it has 8-bit bytes.
fn measure(content: &mut impl Read) -> io::Result<(u64, bool)> {
    let (mut octets, mut eight_bit) = (0, false);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok((octets, eight_bit)),
            got => {
                octets += (got + memchr::memchr_iter(b'\n', &buffer[..got]).count()) as u64;
                eight_bit |= !buffer[..got].is_ascii();
            }
        }
    }
}

/// Returns the outcome of a delivery by the replies: `Ok` if all recipients accepted the message.
///
/// # Errors
/// [`Kind::Deferred`] if a recipient may accept it later, [`Kind::Rejected`] if none will.
fn classify_replies(server: &str, recipients: &[&str], replies: &[Reply]) -> Result<()> {
    let others = || {
        recipients
            .iter()
            .zip(replies)
            .filter(|(_, reply)| reply.class() != ReplyClass::Accepted)
    };
    let names = |is_wanted: fn(ReplyClass) -> bool| {
        let names: Vec<_> = others()
            .filter(|(_, reply)| is_wanted(reply.class()))
            .map(|(name, _)| *name)
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let error = if let Some(names) = names(|class| class != ReplyClass::Rejected) {
        Error::new(
            Kind::Deferred,
            format!("{server} temporarily rejected the message for {names}"),
        )
    } else if let Some(names) = names(|class| class == ReplyClass::Rejected) {
        Error::new(
            Kind::Rejected,
            format!("{server} rejected the message for {names}"),
        )
    } else {
        return Ok(());
    };
    Err(others().fold(error, |error, (name, reply)| {
        error.with_fact(format!("the server said for {name}: {}", reply.shown()))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_rejection_defers_and_only_permanent_ones_reject() {
        let classify = |codes: &[u16]| {
            let replies: Vec<_> = codes
                .iter()
                .map(|code| Reply {
                    code: *code,
                    lines: vec![b"no".to_vec()],
                })
                .collect();
            classify_replies("lmtp", &["ann", "ben", "cid"], &replies)
        };
        classify(&[250, 250, 250]).unwrap();
        let error = classify(&[250, 550, 452]).unwrap_err();
        assert_eq!(
            (error.kind(), error.what()),
            (
                Kind::Deferred,
                "lmtp temporarily rejected the message for cid"
            )
        );
        assert_eq!(
            error.facts(),
            [
                "the server said for ben: 550 no",
                "the server said for cid: 452 no"
            ]
        );
        let error = classify(&[250, 550, 554]).unwrap_err();
        assert_eq!(
            (error.kind(), error.what()),
            (Kind::Rejected, "lmtp rejected the message for ben, cid")
        );
    }

    #[test]
    fn size_has_crlf() {
        assert_eq!(measure(&mut &b"a\nb"[..]).unwrap(), (4, false));
        assert_eq!(measure(&mut "\u{fc}\n".as_bytes()).unwrap(), (4, true));
    }
}
