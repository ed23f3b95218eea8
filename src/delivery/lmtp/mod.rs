//! An LMTP server, such as Dovecot's: it answers for each recipient (RFC 2033).
//!
//! The connection is kept for the messages of a run, and made again where the server has ended it
//! meanwhile. Who has a message already is not offered it again.

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
use reply::{Offers, Reply, ReplyClass};
use session::{Session, Transaction, Trouble};

/// A connection to an LMTP server.
pub trait Line: Read + Write + Send {}

impl<S: Read + Write + Send> Line for S {}

/// Makes a connection.
pub type Connect = Box<dyn Fn() -> Result<Box<dyn Line>> + Send>;

/// An LMTP server to hand messages to.
pub struct Lmtp {
    place: LmtpServer,
    /// It, for people.
    server: String,
    /// This machine's name.
    host: String,
    spool: PathBuf,
    connect: Connect,
    session: Option<Session<Box<dyn Line>>>,
    accepted_by: Vec<String>,
}

impl Lmtp {
    /// The server at `place`, that `connect` gets to. Messages are spooled in the folder `spool`,
    /// in files without a name. `host` is this machine's name.
    pub fn new(place: LmtpServer, host: &str, spool: PathBuf, connect: Connect) -> Self {
        Self {
            server: format!("the LMTP server at {place}"),
            place,
            host: host.to_owned(),
            spool,
            connect,
            session: None,
            accepted_by: Vec::new(),
        }
    }

    /// Connects, where there is no connection; gives what the server offers.
    ///
    /// # Errors
    /// [`Kind::Busy`]: it is not there, or takes no session now. [`Kind::Unavailable`]: it is no
    /// LMTP server.
    pub fn offers(&mut self) -> Result<Offers> {
        if let Some(session) = &self.session {
            return Ok(session.offers());
        }
        let session = self.greet()?;
        Ok(self.session.insert(session).offers())
    }

    fn greet(&self) -> Result<Session<Box<dyn Line>>> {
        let line = (self.connect)().map_err(|error| match error.kind() {
            Kind::Stopped(_) | Kind::NoHost => error,
            _ => {
                let facts = error.facts().iter();
                let error = Error::new(Kind::Busy, format!("cannot connect to {}", self.server));
                facts.fold(error, |error, fact| error.with_fact(fact.as_str()))
            }
        })?;
        Session::greet(line, &self.host).map_err(|trouble| match trouble {
            Trouble::Lost(error) => self.lost(Kind::Busy, &error),
            Trouble::Said(reply) => {
                let (kind, what) = match reply.answer() {
                    ReplyClass::No => (
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

    fn lost(&self, kind: Kind, error: &io::Error) -> Error {
        Error::new(kind, format!("the connection to {} was lost", self.server)).with_fact(
            match error.kind() {
                io::ErrorKind::UnexpectedEof => "the server closed it".into(),
                io::ErrorKind::TimedOut => "no response within `pipe-timeout`".into(),
                _ => error.to_string(),
            },
        )
    }

    /// Those who get the message here, and do not have it already.
    fn recipients<'s>(&self, envelope: &Envelope<'s>) -> Vec<&'s str> {
        let here = envelope
            .destinations
            .iter()
            .filter_map(|place| match place {
                Destination::Lmtp(server, recipients) if *server == self.place => Some(recipients),
                _ => None,
            });
        here.flatten()
            .map(String::as_str)
            .filter(|name| !envelope.accepted_by.contains(&self.place.taker(name)))
            .collect()
    }

    /// Hands a message over; `replies` has one for each of the recipients then, or as much of that
    /// as was heard before the line was lost.
    fn hand_over(
        &mut self,
        envelope: &Transaction<'_>,
        content: &mut impl Read,
        replies: &mut Vec<Reply>,
    ) -> Result<()> {
        let offered = match self.session.take() {
            // a server ends a session that had nothing to do for long
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
            .any(|reply| reply.answer() == ReplyClass::More)
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
    fn begin(&mut self, _slip: &Envelope<'_>) -> Result<Draft> {
        // where nobody takes it, nothing is fetched
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
        let (octets, eight_bit) = weigh(&mut draft.file).map_err(|error| failed(&error))?;
        draft.file.rewind().map_err(|error| failed(&error))?;
        if let Some(most) = self.offers()?.most.filter(|most| octets > *most) {
            return Err(Error::new(
                Kind::Rejected,
                format!("the message is larger than {} accepts", self.server),
            )
            .with_fact(format!("it has {octets} bytes, the limit is {most}")));
        }
        let recipients = self.recipients(envelope);
        if recipients.is_empty() {
            return Ok(());
        }
        let sender = return_path(&head)
            .filter(|sender| fits(sender))
            .unwrap_or_default();
        let envelope = Transaction {
            sender: &sender,
            recipients: &recipients,
            octets,
            eight_bit,
        };
        let mut replies = Vec::new();
        let handed = self.hand_over(&envelope, &mut draft.file, &mut replies);
        self.accepted_by = recipients
            .iter()
            .zip(&replies)
            .filter(|(_, reply)| reply.answer() == ReplyClass::Yes)
            .map(|(recipient, _)| self.place.taker(recipient))
            .collect();
        // a signal ends waits as a lost line: say what it was
        handed.or_else(|error| stop.check().and(Err(error)))?;
        judge(&self.server, &recipients, &replies)
    }

    fn accepted_by(&mut self) -> Vec<String> {
        std::mem::take(&mut self.accepted_by)
    }
}

/// Whether an address can stand between `<` and `>`.
fn fits(address: &str) -> bool {
    !address.is_empty()
        && address
            .bytes()
            .all(|octet| octet.is_ascii_graphic() && !b"<>".contains(&octet))
}

/// The size of a message with CRLF, and whether it has octets above 127.
fn weigh(content: &mut impl Read) -> io::Result<(u64, bool)> {
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

/// What the replies mean for the message: delivered, where all took it; to be tried again, where
/// one may take it later.
fn judge(server: &str, recipients: &[&str], replies: &[Reply]) -> Result<()> {
    let others = || {
        recipients
            .iter()
            .zip(replies)
            .filter(|(_, reply)| reply.answer() != ReplyClass::Yes)
    };
    let names = |answer: fn(ReplyClass) -> bool| {
        let names: Vec<_> = others()
            .filter(|(_, reply)| answer(reply.answer()))
            .map(|(name, _)| *name)
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let error = if let Some(names) = names(|answer| answer != ReplyClass::No) {
        Error::new(
            Kind::Deferred,
            format!("{server} temporarily rejected the message for {names}"),
        )
    } else if let Some(names) = names(|answer| answer == ReplyClass::No) {
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
    fn the_replies_decide() {
        let judge = |codes: &[u16]| {
            let replies: Vec<_> = codes
                .iter()
                .map(|code| Reply {
                    code: *code,
                    lines: vec![b"no".to_vec()],
                })
                .collect();
            judge("lmtp", &["ann", "ben", "cid"], &replies)
        };
        judge(&[250, 250, 250]).unwrap();
        let error = judge(&[250, 550, 452]).unwrap_err();
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
        let error = judge(&[250, 550, 554]).unwrap_err();
        assert_eq!(
            (error.kind(), error.what()),
            (Kind::Rejected, "lmtp rejected the message for ben, cid")
        );
    }

    #[test]
    fn a_message_is_weighed_as_it_is_sent() {
        assert_eq!(weigh(&mut &b"a\nb"[..]).unwrap(), (4, false));
        assert_eq!(weigh(&mut "\u{fc}\n".as_bytes()).unwrap(), (4, true));
    }
}
