//! The configuration of a server.

use super::{
    certificate::Certificate,
    fault::Fault,
    handle::Server,
    maildrop::{Maildrop, Message},
    sasl::ScramFault,
};

/// A server that is not running yet, created by [`Server::plain`] and similar functions.
#[derive(Clone, Debug)]
pub struct Setup {
    pub(super) tls: Tls,
    pub(super) certificate: Certificate,
    pub(super) maildrops: Vec<Maildrop>,
    pub(super) before_login: Vec<String>,
    pub(super) after_login: Vec<String>,
    pub(super) unknown: Vec<String>,
    pub(super) exclusive: bool,
    pub(super) renumbers: bool,
    pub(super) window: Option<usize>,
    pub(super) piece: usize,
    pub(super) faults: Vec<Fault>,
    pub(super) scram: ScramFault,
}

/// The kind of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    Off,
    Stls,
    Implicit,
}

/// The capabilities of a modern server. STLS is added if it is available.
const CAPABILITIES: [&str; 8] = [
    "TOP",
    "UIDL",
    "USER",
    "SASL PLAIN",
    "RESP-CODES",
    "AUTH-RESP-CODE",
    "PIPELINING",
    "IMPLEMENTATION scripted",
];

impl Setup {
    pub(super) fn new(tls: Tls) -> Self {
        let capabilities = CAPABILITIES.map(str::to_owned).to_vec();
        Self {
            tls,
            certificate: Certificate::Good,
            maildrops: vec![Maildrop::new("ann", "secret")],
            before_login: capabilities.clone(),
            after_login: capabilities,
            unknown: Vec::new(),
            exclusive: false,
            renumbers: false,
            window: None,
            piece: usize::MAX,
            faults: Vec::new(),
            scram: ScramFault::None,
        }
    }

    /// Starts the server on a port of 127.0.0.1 that the kernel chooses.
    pub fn start(self) -> Server {
        Server::start(self)
    }

    /// The name and the password of the user: `ann` and `secret` unless told.
    pub fn user(mut self, user: &str, password: impl AsRef<[u8]>) -> Self {
        let last = self.last_maildrop();
        user.clone_into(&mut last.user);
        password.as_ref().clone_into(&mut last.password);
        self
    }

    /// Adds a user. Messages that are added later belong to this user.
    pub fn another_user(mut self, user: &str, password: &str) -> Self {
        self.maildrops.push(Maildrop::new(user, password));
        self
    }

    /// Adds a message with LF or CRLF line endings. Several messages can have the same UID.
    pub fn message(mut self, uid: impl Into<Vec<u8>>, content: impl AsRef<[u8]>) -> Self {
        let id = self.maildrops.iter().map(|drop| drop.messages.len()).sum();
        let message = Message::new(id, uid.into(), content.as_ref());
        self.last_maildrop().messages.push(message);
        self
    }

    /// Adds many messages, for instance from [`corpus`](super::corpus).
    pub fn messages<U: Into<Vec<u8>>, C: AsRef<[u8]>>(
        self,
        messages: impl IntoIterator<Item = (U, C)>,
    ) -> Self {
        messages
            .into_iter()
            .fold(self, |setup, (uid, content)| setup.message(uid, content))
    }

    /// Sets the certificate of the server.
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = certificate;
        self
    }

    /// Sets the response to CAPA before and after the login (Gmail announces PIPELINING only after
    /// the login). This changes only the announcement: see [`without`](Self::without).
    pub fn capabilities(mut self, before_login: &[&str], after_login: &[&str]) -> Self {
        let owned = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect();
        self.before_login = owned(before_login);
        self.after_login = owned(after_login);
        self
    }

    /// Removes a capability (`"PIPELINING"`), a command (`"UIDL"`, `"CAPA"`), or a part of one (the
    /// `"INITIAL"` response of AUTH).
    pub fn without(mut self, name: &str) -> Self {
        self.unknown.push(name.to_ascii_uppercase());
        self
    }

    /// Allows only one session for each maildrop; a second login gets `-ERR [IN-USE]`.
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// Renumbers the messages in each session, like servers that list files in directory order.
    pub fn renumbers(mut self) -> Self {
        self.renumbers = true;
        self
    }

    /// Lists only so many messages in each session (Gmail: about 250), and none that was retrieved
    /// in an earlier one.
    pub fn window(mut self, count: usize) -> Self {
        self.window = Some(count);
        self
    }

    /// Writes each byte separately, so that the client gets its input in all possible pieces.
    pub fn octet_by_octet(self) -> Self {
        self.pieces(1)
    }

    /// Writes pieces of this number of bytes.
    pub fn pieces(mut self, octets: usize) -> Self {
        self.piece = octets;
        self
    }

    /// Adds a fault.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// Returns whether a command or capability was removed by [`without`](Self::without).
    pub(super) fn lacks(&self, name: &str) -> bool {
        self.unknown
            .iter()
            .any(|lost| lost.eq_ignore_ascii_case(name))
    }

    /// Announces these SASL mechanisms instead of PLAIN, and these capabilities.
    pub fn mechanisms(self, names: &str) -> Self {
        let sasl = format!("SASL {names}");
        let known = ["TOP", "UIDL", "USER", &sasl, "RESP-CODES", "AUTH-RESP-CODE"];
        self.capabilities(&known, &known)
    }

    /// Does this wrong with SCRAM.
    pub fn scram(mut self, fault: ScramFault) -> Self {
        self.scram = fault;
        self
    }

    /// Returns whether this SASL mechanism is announced before the login.
    pub(super) fn announces(&self, mechanism: &str) -> bool {
        let sasl = self
            .before_login
            .iter()
            .filter(|line| line.starts_with("SASL "));
        sasl.flat_map(|line| line.split(' '))
            .any(|name| name == mechanism)
    }

    fn last_maildrop(&mut self) -> &mut Maildrop {
        self.maildrops
            .last_mut()
            .expect("there is one from the start")
    }
}
