//! The handle of a running server.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::{
    certificate::Credentials,
    conversation::Shared,
    fault::Fault,
    listener::Listener,
    log::Log,
    maildrop::Message,
    setup::{Setup, Tls},
    state::State,
};

/// The time after which [`Server::wait_for`] panics.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server that runs until it is dropped.
pub struct Server {
    // Declared before `shared` so that it is dropped first: its threads use the other fields.
    listener: Listener,
    shared: Arc<Shared>,
    credentials: Option<Credentials>,
}

/// Starting a server.
impl Server {
    /// Sets up a server without TLS.
    pub fn plain() -> Setup {
        Setup::new(Tls::Off)
    }

    /// Sets up a server with STLS (RFC 2595).
    pub fn starttls() -> Setup {
        Setup::new(Tls::Stls)
    }

    /// Sets up a server with implicit TLS (RFC 8314).
    pub fn implicit_tls() -> Setup {
        Setup::new(Tls::Implicit)
    }

    pub(super) fn start(setup: Setup) -> Self {
        let credentials = (setup.tls != Tls::Off).then(|| setup.certificate.issue());
        let acceptor = credentials.as_ref().map(Credentials::acceptor);
        let shared = Arc::new(Shared::new(setup, acceptor));
        Self {
            listener: Listener::start(Arc::clone(&shared)),
            shared,
            credentials,
        }
    }
}

/// Address and certificates.
impl Server {
    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.listener.port()
    }

    /// Returns the certificate of the CA in PEM; empty without TLS.
    pub fn ca_pem(&self) -> &str {
        self.credentials.as_ref().map_or("", |own| &own.ca_pem)
    }

    /// Writes the certificate of the CA to a file in this directory, and returns its path.
    pub fn ca_file(&self, directory: &Path) -> PathBuf {
        let path = directory.join(format!("ca-{}.pem", self.port()));
        fs::write(&path, self.ca_pem()).expect("a directory to write to");
        path
    }

    /// Returns the SHA-256 fingerprint of the certificate in hexadecimal; empty without TLS.
    pub fn sha256(&self) -> &str {
        self.credentials.as_ref().map_or("", |own| &own.sha256)
    }
}

/// The messages. As on real servers, changes take effect in the next session.
impl Server {
    /// Returns the UIDs of the remaining messages of all users, in order.
    pub fn uids(&self) -> Vec<String> {
        self.each_message(|message| String::from_utf8_lossy(&message.uid).into_owned())
    }

    /// Returns the number of remaining messages.
    pub fn remaining(&self) -> usize {
        self.each_message(|_| ()).len()
    }

    /// Adds a message for the first user.
    pub fn add(&self, uid: impl Into<Vec<u8>>, content: impl AsRef<[u8]>) {
        self.shared.change(|state| {
            let message = Message::new(state.next_id, uid.into(), content.as_ref());
            state.next_id += 1;
            state.maildrops[0].messages.push(message);
        });
    }

    /// Removes the message, as another client would.
    pub fn remove(&self, uid: impl AsRef<[u8]>) {
        self.shared.change(|state| {
            for maildrop in &mut state.maildrops {
                maildrop
                    .messages
                    .retain(|message| message.uid != uid.as_ref());
            }
        });
    }

    /// Gives every message a new UID, as after a move to another server.
    pub fn renew_uids(&self) {
        self.change_messages(|message| {
            message.uid = [b"renewed-", message.uid.as_slice()].concat();
        });
    }

    /// Makes LIST and STAT report this size for the message.
    pub fn list_as(&self, uid: impl AsRef<[u8]>, octets: usize) {
        self.change_message(uid.as_ref(), |message| message.listed = octets);
    }

    /// Makes the server accept DELE of the message, but not remove it at QUIT, which then fails.
    pub fn stick(&self, uid: impl AsRef<[u8]>) {
        self.change_message(uid.as_ref(), |message| message.stuck = true);
    }
}

/// Faults and the log.
impl Server {
    /// Adds a fault.
    pub fn fault(&self, fault: Fault) {
        self.shared.change(|state| state.faults.push(fault));
    }

    /// Removes the faults of one message, its wrong size, and its failure to be deleted.
    pub fn heal(&self, uid: impl AsRef<[u8]>) {
        let uid = uid.as_ref();
        self.shared
            .change(|state| state.faults.retain(|fault| !fault.concerns(uid)));
        self.change_message(uid, |message| {
            message.listed = message.content.len();
            message.stuck = false;
        });
    }

    /// Removes all faults.
    pub fn heal_all(&self) {
        self.shared.change(|state| state.faults.clear());
    }

    /// Returns a copy of the log.
    pub fn log(&self) -> Log {
        self.shared.state().log.clone()
    }

    /// Waits until `done` returns true for the log, and returns the log. Panics after a minute.
    pub fn wait_for(&self, wanted: impl Fn(&Log) -> bool) -> Log {
        let waiting = |state: &mut State| !wanted(&state.log);
        let (state, outcome) = self
            .shared
            .changed
            .wait_timeout_while(self.shared.state(), PATIENCE, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        let log = state.log.clone();
        drop(state);
        assert!(!outcome.timed_out(), "waited in vain; the log: {log:#?}");
        log
    }
}

impl Server {
    fn each_message<T>(&self, look: impl Fn(&Message) -> T) -> Vec<T> {
        let state = self.shared.state();
        let messages = state.maildrops.iter().flat_map(|drop| &drop.messages);
        messages.map(look).collect()
    }

    fn change_messages(&self, change: impl Fn(&mut Message)) {
        self.shared.change(|state| {
            let maildrops = state.maildrops.iter_mut();
            maildrops
                .flat_map(|drop| &mut drop.messages)
                .for_each(change);
        });
    }

    fn change_message(&self, uid: &[u8], change: impl Fn(&mut Message)) {
        self.change_messages(|message| {
            if message.uid == uid {
                change(message);
            }
        });
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Server")
            .field("port", &self.port())
            .finish_non_exhaustive()
    }
}
