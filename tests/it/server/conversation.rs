//! Runs one connection from greeting to end: reads, writes, and closes it.

use std::{
    io,
    net::TcpStream,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use native_tls::TlsAcceptor;

use super::{
    reply::{Answer, Then},
    session::Session,
    setup::{Setup, Tls},
    state::State,
    wire::Wire,
};

/// The state that all threads of a server share.
pub(super) struct Shared {
    pub(super) setup: Setup,
    pub(super) acceptor: Option<TlsAcceptor>,
    /// Notified of each change of the state.
    pub(super) changed: Condvar,
    state: Mutex<State>,
}

impl Shared {
    /// Creates the state before the first client.
    pub(super) fn new(setup: Setup, acceptor: Option<TlsAcceptor>) -> Self {
        Self {
            state: Mutex::new(State::new(&setup)),
            setup,
            acceptor,
            changed: Condvar::new(),
        }
    }

    /// Returns the state for reading. A panic of a thread is reported when the server stops; until
    /// then the other threads continue.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes the threads that wait for a change.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let outcome = change(&mut self.state());
        self.changed.notify_all();
        outcome
    }
}

/// Serves a client that has [entered](State::enter), until the connection ends.
pub(super) fn converse(shared: &Shared, socket: TcpStream, id: usize, greeting: Answer) {
    let Ok(mut wire) = Wire::new(socket, shared.setup.piece) else {
        return shared.change(|state| state.leave(id));
    };
    // An error means that the client closed the connection, which is allowed at any time.
    let end = answer_all(shared, &mut wire, id, greeting).unwrap_or(Then::Cut);
    match &end {
        Then::Silence => wire.swallow(),
        Then::Repeat(octets) => wire.repeat(octets),
        Then::Drip(octets) => wire.drip(octets),
        _ => {}
    }
    // The maildrop is unlocked before the client can notice the end of the connection.
    shared.change(|state| state.leave(id));
    match end {
        Then::Close => wire.close(),
        _ => wire.cut(),
    }
}

/// Responds to all commands, and returns the reason for the end of the connection.
fn answer_all(shared: &Shared, wire: &mut Wire, id: usize, greeting: Answer) -> io::Result<Then> {
    let mut session = Session::new(id, shared.setup.tls == Tls::Implicit);
    if shared.setup.tls == Tls::Implicit {
        secure(shared, wire, id)?;
    }
    let mut answer = greeting;
    loop {
        let Answer { octets, then } = answer;
        wire.write(&octets)?;
        match then {
            Then::GoOn => {}
            Then::Forget => wire.forget(),
            Then::StartTls => {
                secure(shared, wire, id)?;
                session.secured();
            }
            Then::Close | Then::Cut | Then::Silence | Then::Repeat(_) | Then::Drip(_) => {
                return Ok(then);
            }
        }
        let Some(line) = wire.read_line()? else {
            return Ok(Then::Cut);
        };
        answer = shared
            .change(|state| state.answer(id, &mut session, &line.text, line.waited, &shared.setup));
    }
}

fn secure(shared: &Shared, wire: &mut Wire, id: usize) -> io::Result<()> {
    let Some(acceptor) = &shared.acceptor else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    wire.secure(acceptor)?;
    shared.change(|state| state.secured(id));
    Ok(())
}
