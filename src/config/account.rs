//! The resolved config, as the rest of the program uses it.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use zeroize::Zeroizing;

use super::{
    oauth::OAuth,
    provenance::Setting,
    route::{ConnectCommand, Proxy, ProxyServer, host_and_port},
    schema::{AccountTable, Table},
};
use crate::{
    domain::{
        auth::{Auth, SecretKind},
        ids::{Address, MailboxId},
        plan::Policy,
        provider::provider_of,
        routing::Routing,
        time::TimeSpan,
        trace_fields::TraceField,
    },
    error::Error,
};

/// The whole config, with a value for every key.
#[derive(Clone, Debug)]
pub struct Config {
    /// Maximum number of accounts that are fetched at the same time, at least 1.
    pub jobs: usize,
    /// The time over which the starts of the accounts are distributed, if it is set.
    pub spread: Option<TimeSpan>,
    /// The directory of the ledger and the locks.
    pub state_dir: PathBuf,
    /// Whether runs are sandboxed.
    pub sandbox: bool,
    /// The command that prints further accounts.
    pub accounts_command: Option<Vec<String>>,
    /// The file to which metrics are written.
    pub metrics: Option<PathBuf>,
    /// The accounts in the order of the file, including those with `enabled = false`.
    pub accounts: Vec<Account>,
}

/// A mailbox on a server, and the destinations of its mail.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name in the config, or the URL given on the command line.
    pub name: String,
    /// The server's name or address, as given. Certificates are checked against it, unless
    /// `tls_server_name` is set.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// The login name.
    pub user: String,
    /// The name of the mailbox, if the user gave it one.
    pub mailbox: Option<String>,
    /// The encryption of the connection.
    pub tls: Tls,
    /// The name that is sent to the server and that its certificate must have, if it is not `host`.
    pub tls_server_name: Option<String>,
    /// The certificates that are accepted.
    pub trust: Trust,
    /// The client's certificate and key, for servers that require one.
    pub client_certificate: Option<ClientCertificate>,
    /// Whether the password may be sent over an unencrypted connection.
    pub allow_plaintext_password: bool,
    /// The proxy, also for HTTP. If it is `None`, that of the environment may be used for HTTP.
    pub proxy: Option<Proxy>,
    /// The command that prints the password for the proxy.
    pub proxy_password_command: Option<Vec<String>>,
    /// The command whose standard input and output are the connection.
    pub connect_command: Option<ConnectCommand>,
    /// The longest time without a byte from the server.
    pub timeout: TimeSpan,
    /// Time limit for connecting, over all addresses of the host.
    pub connect_timeout: TimeSpan,
    /// Maximum number of reconnects after a transient error.
    pub retries: u32,
    /// Maximum number of accounts on its host that are fetched at the same time, at least 1.
    pub jobs_per_host: usize,
    /// The number of messages to request ahead of the one that is being read.
    pub request_ahead: RequestAhead,
    /// The login mechanism.
    pub auth: Auth,
    /// Time limit for a command that prints the password or the token, without a terminal.
    pub password_command_timeout: TimeSpan,
    /// The source of the password or token.
    pub secret: SecretSource,
    /// The user who fetches and delivers, if root runs pouch.
    pub deliver_as: Option<String>,
    /// The destinations of messages.
    pub routing: Routing,
    /// Time limit for a program (`pipe` or a filter) per message, and for an LMTP server per reply.
    pub pipe_timeout: TimeSpan,
    /// The recipients of messages that go to an LMTP server, unless a rule names others.
    pub lmtp_recipients: Vec<String>,
    /// The programs that each message is piped through before it is delivered.
    pub filter: Vec<Vec<String>>,
    /// The header fields that are added on top of each message.
    pub add_headers: Vec<TraceField>,
    /// The rules for fetching and deletion.
    pub policy: Policy,
    /// The number of failed attempts after which a message is quarantined, at least 1.
    pub attempts: u32,
    /// Whether a notice is delivered for a quarantined message.
    pub notice: bool,
    /// The command to run before connecting.
    pub before: Option<Vec<String>>,
    /// The command to run once after a run that delivered something.
    pub after: Option<Vec<String>>,
    /// The command to run when the account starts to need attention, and when it has recovered.
    pub alert: Option<Vec<String>>,
    /// Workarounds for the server.
    pub quirks: Vec<Quirk>,
    /// Whether `pouch fetch` without names includes the account.
    pub enabled: bool,
    /// Who wrote the settings.
    pub author: Author,
    /// The values that are not the defaults of their keys, with their sources. There may be many
    /// thousand accounts; see [`Account::all_settings`] for those of all keys.
    pub settings: Arc<Vec<Setting>>,
}

impl Account {
    /// Returns whether each session lists a part of the mailbox only: see
    /// [`Provider::lists_a_part`](crate::domain::provider::Provider::lists_a_part).
    pub fn lists_a_part(&self) -> bool {
        provider_of(self.server_name()).is_some_and(|provider| provider.lists_a_part)
    }

    /// Returns every value with its source, as `pouch config show` prints it.
    pub fn all_settings(&self) -> Vec<Setting> {
        let (of_keys, others): (Vec<_>, Vec<_>) = self
            .settings
            .iter()
            .cloned()
            .partition(|setting| AccountTable::index_of(setting.key).is_some());
        let defaults = AccountTable::defaults().settings();
        let keys = defaults.into_iter().map(|default| {
            let set = of_keys.iter().find(|setting| setting.key == default.key);
            set.cloned().unwrap_or(default)
        });
        keys.chain(others).collect()
    }

    /// Returns what identifies the mailbox in the ledger.
    pub fn identity(&self) -> MailboxId {
        MailboxId {
            name: self.mailbox.clone(),
            address: Address::new(&self.user, &self.host, self.port),
            account: self.name.clone(),
        }
    }

    /// Returns whether the account was given as a URL. Names in a config do not contain `/`.
    pub fn is_url(&self) -> bool {
        self.name.contains("://")
    }

    /// Returns the error with the hint that applies to the account: there may be no config for a
    /// URL.
    pub fn with_hint_for(&self, error: Error) -> Error {
        if self.is_url() {
            error.for_url()
        } else {
            error
        }
    }

    /// Returns the time limit for a whole response of the server: ten times `timeout`.
    pub fn patience(&self) -> Duration {
        Duration::from(self.timeout).saturating_mul(10)
    }

    /// Returns `host:port`, for messages.
    pub fn address(&self) -> String {
        host_and_port(&self.host, self.port)
    }

    /// Returns the name that the server's certificate must have.
    pub fn server_name(&self) -> &str {
        self.tls_server_name.as_deref().unwrap_or(&self.host)
    }

    /// Returns the proxy server for POP3, or `None` if there is none.
    pub fn proxy_server(&self) -> Option<&ProxyServer> {
        self.proxy.as_ref()?.server()
    }
}

/// Who wrote the settings of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// Root, or the user who runs pouch.
    Trusted,
    /// The user in `deliver_as`. Root reads no password for the account.
    User,
}

/// A defect of a server that pouch cannot detect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// UIDL is missing or unreliable: messages are identified by their headers.
    NoUidl,
}

/// The encryption of the connection to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte (RFC 8314), port 995.
    Implicit,
    /// STLS before the login, never without it (RFC 2595), port 110.
    StartTls,
    /// No encryption.
    Off,
}

/// The certificates of the server that are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Those issued by the system's authorities for the host's name.
    System,
    /// Those issued by the authorities in this PEM file for the host's name.
    CaFile(PathBuf),
    /// Exactly the one with this SHA-256 (of the DER form). Nothing else is checked.
    Pin([u8; 32]),
}

/// A client certificate and its key, both PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// The certificate, and its chain if there is one.
    pub certificate: PathBuf,
    /// The private key (PKCS #8).
    pub key: PathBuf,
}

/// The number of messages to request ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestAhead {
    /// As many as useful, if the server announces PIPELINING (RFC 2449 §6.6).
    Auto,
    /// At most this many, at least 1. 1 disables pipelining.
    Count(u32),
}

/// A password that is kept in memory only, and never shown. `None` if it was not stored.
#[derive(Clone, PartialEq, Eq)]
pub struct GivenPassword(pub Option<Zeroizing<String>>);

impl fmt::Debug for GivenPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.0.as_ref().map(|_| "…");
        f.debug_tuple("GivenPassword").field(&known).finish()
    }
}

/// The source of the password or token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The first line that this command prints.
    Command(Vec<String>),
    /// The first line that this command prints: an access token of OAuth 2.0.
    TokenCommand(Vec<String>),
    /// The first line of this file.
    File(PathBuf),
    /// The systemd credential of this name.
    Credential(String),
    /// The access token of a sign-in with OAuth 2.0, from `pouch login`.
    OAuth(Box<OAuth>),
    /// The password that `accounts-command` printed with the account.
    Given(GivenPassword),
    /// A prompt on the terminal.
    Prompt,
    /// None: the client certificate of the connection takes its place.
    Certificate,
}

impl SecretSource {
    /// Returns the kind of the secret.
    pub fn kind(&self) -> SecretKind {
        match self {
            Self::Command(_)
            | Self::File(_)
            | Self::Credential(_)
            | Self::Given(_)
            | Self::Prompt => SecretKind::Password,
            Self::TokenCommand(_) | Self::OAuth(_) => SecretKind::Token,
            Self::Certificate => SecretKind::Certificate,
        }
    }

    /// Returns whether the password was printed by a command that fails now.
    pub fn is_lost(&self) -> bool {
        *self == Self::Given(GivenPassword(None))
    }

    /// Returns whether the secret is an access token of OAuth 2.0.
    pub fn is_token(&self) -> bool {
        self.kind() == SecretKind::Token
    }
}
