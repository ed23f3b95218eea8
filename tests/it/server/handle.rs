//! The running server, as a test holds it.

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

/// How long [`Server::wait_for`] waits before it calls the test a failure.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server that runs until it is dropped.
pub struct Server {
    // Before `shared` in order to be dropped first: its threads look at the rest.
    listener: Listener,
    shared: Arc<Shared>,
    credentials: Option<Credentials>,
}

/// Starting one.
impl Server {
    /// No TLS at all.
    pub fn plain() -> Setup {
        Setup::new(Tls::Off)
    }

    /// TLS after STLS (RFC 2595).
    pub fn starttls() -> Setup {
        Setup::new(Tls::Stls)
    }

    /// TLS from the first octet (RFC 8314).
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

/// Where it is and whom to trust.
impl Server {
    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.listener.port()
    }

    /// The certificate of the authority to trust, as PEM. Empty without TLS.
    pub fn ca_pem(&self) -> &str {
        self.credentials.as_ref().map_or("", |own| &own.ca_pem)
    }

    /// The same in a file of this directory.
    pub fn ca_file(&self, directory: &Path) -> PathBuf {
        let path = directory.join(format!("ca-{}.pem", self.port()));
        fs::write(&path, self.ca_pem()).expect("a directory to write to");
        path
    }

    /// The SHA-256 of the server's certificate in hexadecimal digits. Empty without TLS.
    pub fn sha256(&self) -> &str {
        self.credentials.as_ref().map_or("", |own| &own.sha256)
    }
}

/// The mail. What changes here is seen by the next session, as with real servers.
impl Server {
    /// The UIDs of what the server still has, of all users, in order.
    pub fn uids(&self) -> Vec<String> {
        self.each_message(|message| String::from_utf8_lossy(&message.uid).into_owned())
    }

    /// How many messages the server still has.
    pub fn remaining(&self) -> usize {
        self.each_message(|_| ()).len()
    }

    /// A new message for the first user.
    pub fn add(&self, uid: impl Into<Vec<u8>>, content: impl AsRef<[u8]>) {
        self.shared.change(|state| {
            let message = Message::new(state.next_id, uid.into(), content.as_ref());
            state.next_id += 1;
            state.maildrops[0].messages.push(message);
        });
    }

    /// Another client has removed the message.
    pub fn remove(&self, uid: impl AsRef<[u8]>) {
        self.shared.change(|state| {
            for maildrop in &mut state.maildrops {
                maildrop
                    .messages
                    .retain(|message| message.uid != uid.as_ref());
            }
        });
    }

    /// The mail has moved to another server: the same messages, every UID new.
    pub fn renew_uids(&self) {
        self.change_messages(|message| {
            message.uid = [b"renewed-", message.uid.as_slice()].concat();
        });
    }

    /// LIST and STAT claim this size for the message.
    pub fn list_as(&self, uid: impl AsRef<[u8]>, octets: usize) {
        self.change_message(uid.as_ref(), |message| message.listed = octets);
    }

    /// DELE of the message is accepted, but QUIT removes only the others and says so.
    pub fn stick(&self, uid: impl AsRef<[u8]>) {
        self.change_message(uid.as_ref(), |message| message.stuck = true);
    }
}

/// What goes wrong, and what went on.
impl Server {
    /// Something more that goes wrong.
    pub fn fault(&self, fault: Fault) {
        self.shared.change(|state| state.faults.push(fault));
    }

    /// Ends the faults of one message, the false size and the stickiness too.
    pub fn heal(&self, uid: impl AsRef<[u8]>) {
        let uid = uid.as_ref();
        self.shared
            .change(|state| state.faults.retain(|fault| !fault.concerns(uid)));
        self.change_message(uid, |message| {
            message.listed = message.content.len();
            message.stuck = false;
        });
    }

    /// Ends every fault, whatever it is about.
    pub fn heal_all(&self) {
        self.shared.change(|state| state.faults.clear());
    }

    /// What the clients have done so far.
    pub fn log(&self) -> Log {
        self.shared.state().log.clone()
    }

    /// Waits until the log is as the test wants it, and gives it; panics after a minute.
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
