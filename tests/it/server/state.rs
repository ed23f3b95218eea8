//! The state that all connections share: messages, faults and log.

use super::{
    fault::{self, Fault, Occasion},
    log::{Log, SessionLog},
    maildrop::Maildrop,
    reply::{Answer, Reply},
    session::Session,
    setup::Setup,
};

/// The mutable state of a running server. Under its lock a command is recorded, carried out and
/// answered at once, so that a test that waits for a line in the log also finds its effect.
#[derive(Debug)]
pub(super) struct State {
    pub(super) maildrops: Vec<Maildrop>,
    pub(super) faults: Vec<Fault>,
    pub(super) log: Log,
    /// The id of the next message.
    pub(super) next_id: usize,
}

impl State {
    /// Creates the initial state.
    pub(super) fn new(setup: &Setup) -> Self {
        let maildrops = setup.maildrops.clone();
        Self {
            next_id: maildrops.iter().map(|drop| drop.messages.len()).sum(),
            maildrops,
            faults: setup.faults.clone(),
            log: Log::default(),
        }
    }

    /// Adds a session for a new client. Returns its number and the greeting.
    pub(super) fn enter(&mut self) -> (usize, Answer) {
        self.log.sessions.push(SessionLog {
            open: true,
            ..SessionLog::default()
        });
        let greeting = Session::greeting();
        let answer = match fault::due(&mut self.faults, Occasion::Connect) {
            Some(fault) => fault.spoil(Some(greeting)),
            None => honestly(greeting),
        };
        (self.log.sessions.len() - 1, answer)
    }

    /// Records that the handshake of session `id` is complete.
    pub(super) fn secured(&mut self, id: usize) {
        self.log.sessions[id].tls = true;
    }

    /// Handles a line from the client of session `id`. `waited` is true if it began a round trip.
    pub(super) fn answer(
        &mut self,
        id: usize,
        session: &mut Session,
        line: &[u8],
        waited: bool,
        setup: &Setup,
    ) -> Answer {
        let record = &mut self.log.sessions[id];
        record
            .commands
            .push(String::from_utf8_lossy(line).into_owned());
        record.turns += usize::from(waited);
        record.in_clear += usize::from(!record.tls);

        let occasion = if session.awaits_response() {
            Occasion::Response
        } else {
            Occasion::Command(line, session.subject(line))
        };
        match fault::due(&mut self.faults, occasion) {
            None => honestly(session.obey(line, setup, &mut self.maildrops)),
            Some(fault) if fault.carries_out() => {
                let honest = session.obey(line, setup, &mut self.maildrops);
                fault.spoil(Some(honest))
            }
            Some(fault) => {
                session.drop_challenge();
                fault.spoil(None)
            }
        }
    }

    /// Ends session `id`. Its maildrop is unlocked, and the messages that it marked stay.
    pub(super) fn leave(&mut self, id: usize) {
        self.log.sessions[id].open = false;
        for maildrop in &mut self.maildrops {
            maildrop.holder.take_if(|holder| *holder == id);
        }
    }
}

fn honestly(reply: Reply) -> Answer {
    Answer {
        octets: reply.octets(),
        then: reply.then,
    }
}
