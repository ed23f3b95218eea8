//! What the user asked for: accounts with every value settled.
//!
//! [`mod@file`] reads the TOML and knows where each [`value`] stands, [`resolve`] lays the layers
//! over one another (built in, `[defaults]`, `[account.NAME]`, flags) and checks the result,
//! [`rules`] makes rules of their tables and [`destination`] places of what stands there,
//! [`explain`] tells where each value came from. [`names`] knows hosts, paths and servers when it
//! sees them. [`peers`] knows what other fetchers call things. [`address`] does without a file.

pub mod destination_spec;
mod diagnostic;
pub mod file;
mod migration_hints;
pub mod provenance;
pub mod resolve;
pub mod rules;
pub mod syntax;
pub mod url;
pub mod value;

use std::{path::PathBuf, time::Duration};

use crate::domain::{
    auth::Auth, ids::AccountId, plan::Policy, routing::Routing, time::TimeSpan,
    trace_fields::TraceField,
};

/// The sample config, with every key: `pouch config sample` prints it.
pub const SAMPLE: &str = include_str!("sample.toml");

/// The whole config, every value settled.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many servers to talk to at once, at least 1.
    pub jobs: usize,
    /// Where ledger and locks live.
    pub state_dir: PathBuf,
    /// The accounts in the order of the file, those with `enabled = false` too.
    pub accounts: Vec<Account>,
}

/// One mailbox on a server, and where its mail goes.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name in the config, or the address given on the command line.
    pub name: String,
    /// The server's name or address, as given: certificates are checked against it.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// The login name.
    pub user: String,
    /// How the line is protected.
    pub tls: Tls,
    /// What makes a certificate good.
    pub trust: Trust,
    /// The client's certificate and key (PEM files), for servers that ask for one.
    pub client_certificate: Option<ClientCertificate>,
    /// Whether a password may go over a line without TLS.
    pub allow_plaintext_password: bool,
    /// The longest silence of the server.
    pub timeout: TimeSpan,
    /// How long connecting may take, over all addresses of the host.
    pub connect_timeout: TimeSpan,
    /// How often to connect again after trouble that passes.
    pub retries: u32,
    /// How many messages to ask for ahead of the one being read.
    pub request_ahead: RequestAhead,
    /// How to prove who the user is.
    pub auth: Auth,
    /// Where the password comes from.
    pub secret: SecretSource,
    /// Where messages go.
    pub routing: Routing,
    /// How long a program may take over one message, be it that of `pipe` or a filter, and an LMTP
    /// server over one answer.
    pub pipe_timeout: TimeSpan,
    /// Who gets the messages that go to an LMTP server, where nobody else is named.
    pub lmtp_recipients: Vec<String>,
    /// Programs that each message goes through before it is delivered.
    pub filter: Vec<Vec<String>>,
    /// The fields that are put on top of each message.
    pub add_headers: Vec<TraceField>,
    /// What to fetch and what to delete.
    pub policy: Policy,
    /// After how many failed attempts a message goes into quarantine, at least 1.
    pub attempts: u32,
    /// Whether a message in quarantine is told of by a notice mail.
    pub notice: bool,
    /// A command to run once if anything was delivered.
    pub after: Option<Vec<String>>,
    /// What is odd about the server.
    pub quirks: Vec<Quirk>,
    /// Whether `fetch` without names includes it.
    pub enabled: bool,
    /// Every value as shown by `config show`, with its source.
    pub settings: Vec<provenance::Setting>,
}

impl Account {
    /// Who this account is to the ledger.
    pub fn identity(&self) -> AccountId {
        AccountId::new(&self.user, &self.host)
    }

    /// How long a whole answer of the server may keep pouch waiting, whatever its size: ten times
    /// the longest silence.
    pub fn patience(&self) -> Duration {
        Duration::from(self.timeout).saturating_mul(10)
    }

    /// `host:port`, for people.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// What is odd about a server, and pouch cannot find out by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// UIDL is not there, or not to be believed: messages are told apart by their headers.
    NoUidl,
}

/// How the line is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first octet (RFC 8314), port 995.
    Implicit,
    /// STLS before the login, never without it (RFC 2595), port 110.
    StartTls,
    /// No protection.
    Off,
}

/// What makes a server's certificate good.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// The system's roots, and the host's name in it.
    System,
    /// The roots in this PEM file instead of the system's, and the host's name in it.
    CaFile(PathBuf),
    /// The SHA-256 of exactly this certificate (DER); nothing else is checked.
    Pin([u8; 32]),
}

/// A client certificate and its key, both PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// The certificate (and its chain).
    pub certificate: PathBuf,
    /// The private key (PKCS #8).
    pub key: PathBuf,
}

/// How many messages to ask for ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestAhead {
    /// As many as pay, where the server announces PIPELINING (RFC 2449 §6.6).
    Auto,
    /// This many at most, at least 1. 1 turns pipelining off.
    Count(u32),
}

/// Where the password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The first line of what this command prints.
    Command(Vec<String>),
    /// The first line of this file.
    File(PathBuf),
    /// A systemd credential of this name.
    Credential(String),
    /// The person at the terminal.
    Prompt,
}
