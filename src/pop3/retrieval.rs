//! Messages on their way: asked for ahead of what is being read, answered in that order.

use std::io::{Read, Write};

use super::{body::Decoder, command::Command, connection::Connection, reply::Refusal};
use crate::{domain::ids::MsgNum, error::Result};

/// A message to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrRequest {
    /// Its number.
    pub num: MsgNum,
    /// Its size by LIST.
    pub octets: u64,
}

/// How much to ask for ahead of what is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// So many messages, at least 1.
    pub count: usize,
    /// So many octets by LIST; one message may be larger.
    pub octets: u64,
}

impl Window {
    /// One at a time.
    pub const NONE: Self = Self {
        count: 1,
        octets: u64::MAX,
    };
}

/// Messages on their way, in the order they were asked for.
///
/// It lends out one message at a time and borrows the session: no DELE can fall between
/// outstanding RETRs.
pub struct Retrieval<'s, S> {
    connection: &'s mut Connection<S>,
    wanted: &'s [RetrRequest],
    ahead: Window,
    /// So many of `wanted` were asked for …
    asked: usize,
    /// … and so many of those were answered.
    answered: usize,
    /// Octets by LIST of those that were asked for and not answered.
    in_flight: u64,
    /// A STAT went out behind the last of them.
    check_queued: bool,
    decoder: Decoder,
    ended: bool,
}

/// The server's answer to a RETR.
pub enum RetrResponse<'r, 's, S> {
    /// The message follows.
    Message(Body<'r, 's, S>),
    /// The server does not give it.
    Refused(Refusal),
}

impl<'s, S: Read + Write> Retrieval<'s, S> {
    pub(super) fn new(
        connection: &'s mut Connection<S>,
        wanted: &'s [RetrRequest],
        ahead: Window,
    ) -> Self {
        let decoder = Decoder::default();
        Self {
            connection,
            wanted,
            ahead,
            asked: 0,
            answered: 0,
            in_flight: 0,
            check_queued: false,
            decoder,
            ended: true,
        }
    }

    /// The next message that will be answered.
    pub fn upcoming(&self) -> Option<RetrRequest> {
        self.wanted.get(self.answered).copied()
    }

    /// The answer for the next of the wanted messages; nothing once all have been answered.
    ///
    /// # Errors
    /// The line is lost: [`upcoming`](Self::upcoming) is the message that was expected.
    #[expect(clippy::should_implement_trait, reason = "an iterator that lends")]
    pub fn next(&mut self) -> Result<Option<RetrResponse<'_, 's, S>>> {
        while self
            .connection
            .content(&mut self.decoder, &mut self.ended)?
            .is_some()
        {}
        let Some(wanted) = self.upcoming() else {
            return Ok(None);
        };
        self.refill()?;
        let answer = self.connection.answer()?;
        self.answered += 1;
        self.in_flight -= wanted.octets;
        match answer {
            Ok(_) => {
                self.decoder = Decoder::default();
                self.ended = false;
                Ok(Some(RetrResponse::Message(Body { retrieval: self })))
            }
            Err(refusal) => Ok(Some(RetrResponse::Refused(refusal))),
        }
    }

    /// Passes over what is left of the last message, and tells whether the server is known to be in
    /// step then: behind what is asked for ahead goes a [check](Connection::queue_check), whose answer
    /// comes with the last message, and takes no turn.
    ///
    /// # Errors
    /// The line is lost, or the server is out of step.
    pub fn finish(mut self) -> Result<bool> {
        while self
            .connection
            .content(&mut self.decoder, &mut self.ended)?
            .is_some()
        {}
        if self.check_queued {
            self.connection.check()?;
        }
        Ok(self.check_queued)
    }

    /// Asks for more once half of what may be in flight has arrived.
    fn refill(&mut self) -> Result<()> {
        let waiting = self.asked - self.answered;
        if waiting > self.ahead.count / 2 || self.in_flight > self.ahead.octets / 2 {
            return Ok(());
        }
        let before = self.asked;
        while let Some(next) = self.wanted.get(self.asked) {
            let waiting = self.asked - self.answered;
            let full = waiting >= self.ahead.count
                || self.in_flight.saturating_add(next.octets) > self.ahead.octets;
            if waiting > 0 && full {
                break;
            }
            self.connection.queue(Command::Retr(next.num))?;
            self.asked += 1;
            self.in_flight += next.octets;
        }
        if self.asked == before {
            return Ok(());
        }
        if self.asked == self.wanted.len() && self.ahead.count > 1 {
            self.connection.queue_check()?;
            self.check_queued = true;
        }
        self.connection.flush()
    }
}

/// The content of one message as it arrives.
pub struct Body<'r, 's, S> {
    retrieval: &'r mut Retrieval<'s, S>,
}

impl<S: Read + Write> Body<'_, '_, S> {
    /// The next piece of the content, with LF line ends; nothing once the message has ended.
    ///
    /// # Errors
    /// The line is lost inside the message: it is not whole.
    pub fn chunk(&mut self) -> Result<Option<&[u8]>> {
        let retrieval = &mut *self.retrieval;
        retrieval
            .connection
            .content(&mut retrieval.decoder, &mut retrieval.ended)
    }

    /// How many octets came so far, counted as LIST does.
    pub fn octets(&self) -> u64 {
        self.retrieval.decoder.octets()
    }
}
