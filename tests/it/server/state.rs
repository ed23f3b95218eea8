//! All that the connections share: the mail, the faults, and the log.

use super::{
    fault::{self, Fault, Occasion},
    log::{Log, SessionLog},
    maildrop::Maildrop,
    reply::{Answer, Reply},
    session::Session,
    setup::Setup,
};

/// What changes while the server runs. Whoever holds it sees a command recorded, carried out
/// and answered, or none of these: a test that waits for a line in the log finds its effect too.
#[derive(Debug)]
pub(super) struct State {
    pub(super) maildrops: Vec<Maildrop>,
    pub(super) faults: Vec<Fault>,
    pub(super) log: Log,
    /// The id of the next message.
    pub(super) next_id: usize,
}

impl State {
    /// The state that a server begins with.
    pub(super) fn new(setup: &Setup) -> Self {
        let maildrops = setup.maildrops.clone();
        Self {
            next_id: maildrops.iter().map(|drop| drop.messages.len()).sum(),
            maildrops,
            faults: setup.faults.clone(),
            log: Log::default(),
        }
    }

    /// A client has connected: gives the number of its session, and what greets it.
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

    /// The handshake of session `id` is done.
    pub(super) fn secured(&mut self, id: usize) {
        self.log.sessions[id].tls = true;
    }

    /// A line came from the client of session `id`; `waited` tells that it began a turn.
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

    /// Session `id` is over. Its maildrop is free; what it had marked stays.
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
