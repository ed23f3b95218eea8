//! What a run needs from its environment.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    config::Account,
    domain::destination::Destination,
    error::{Error, Kind, Result},
    event::Reporter,
    ledger::{Ledger, Reader},
    net::TlsCache,
    sys::{
        clock::Clock,
        interrupt::Interrupt,
        lock,
        password::{self, CredentialFolder, Secret},
    },
    text::{sanitize, tilde},
};

/// Paths, clock, signals, secrets and the reporter of a run.
#[derive(Clone)]
pub struct RunEnv {
    /// The directory of ledgers and locks.
    pub state_dir: PathBuf,
    /// The user's home directory, for messages.
    pub home: PathBuf,
    /// The clock.
    pub clock: Clock,
    /// The signal that asks to stop, if any.
    pub stop: Interrupt,
    /// This machine's name.
    pub hostname: String,
    /// Where systemd puts credentials.
    pub credentials: CredentialFolder,
    /// The secrets that the user was asked for before the run, by account.
    pub secrets: BTreeMap<String, Result<Secret>>,
    /// Where programs are searched (`$PATH`).
    pub path: Option<OsString>,
    /// What gets the events.
    pub report: Arc<dyn Reporter>,
    /// Whether the lines of the session are reported, too.
    pub trace: bool,
    /// How long to wait for another pouch.
    pub patience: Duration,
    /// Whether a mailbox in which every UID changed is treated as new mail.
    pub accept_new_uids: bool,
    /// The TLS configurations of all accounts.
    pub tls: TlsCache,
    /// How many files an account may hold open at once.
    pub open_files: usize,
}

impl RunEnv {
    /// Opens the account's ledger, and creates it if it is missing.
    ///
    /// # Errors
    /// It cannot be created or read.
    pub fn ledger(&self, account: &Account) -> Result<Ledger> {
        Ledger::open(&self.state_dir, &account.identity(), &self.hostname).map_err(with_state_hint)
    }

    /// Opens the account's ledger to read. Returns `None` if there is none yet.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn reader(&self, account: &Account) -> Result<Option<Reader>> {
        Reader::open(&self.state_dir, &account.identity())
    }

    /// Takes the account's lock.
    ///
    /// # Errors
    /// Another pouch has it.
    pub fn lock(&self, account: &Account) -> Result<lock::Lock> {
        lock::lock(
            &self.state_dir,
            &account.identity(),
            self.clock.now(),
            self.patience,
            &self.stop,
        )
        .map_err(with_state_hint)
    }

    /// Takes the account's lock for a command that has no `--wait`.
    ///
    /// # Errors
    /// Another pouch has it.
    pub fn lock_at_once(&self, account: &Account) -> Result<lock::Lock> {
        self.lock(account).map_err(|error| match error.kind() {
            Kind::Busy => error.with_hint("try again when it has finished"),
            _ => error,
        })
    }

    /// Gets the account's secret.
    ///
    /// # Errors
    /// It cannot be obtained.
    pub fn secret(&self, account: &Account) -> Result<Secret> {
        if let Some(asked) = self.secrets.get(&account.name) {
            return asked.clone();
        }
        password::obtain(
            &account.secret,
            &format!("{} at {}", account.user, account.host),
            &self.credentials,
            &self.stop,
        )
    }

    /// Describes a destination.
    pub fn describe(&self, destination: &Destination) -> String {
        match destination {
            Destination::Maildir(path) | Destination::Mbox(path) => tilde(path, &self.home),
            Destination::Pipe(argv) => format!("`{}`", argv.join(" ")),
            Destination::Lmtp(server, _) => {
                format!(
                    "the LMTP server at {}",
                    sanitize(server.to_string().as_bytes())
                )
            }
            Destination::Stdout => "standard output".into(),
        }
    }
}

/// Adds what to do if the state directory cannot be used.
fn with_state_hint(error: Error) -> Error {
    if error.kind() != Kind::CannotCreate {
        return error;
    }
    error.with_hint(
        "fix this, or set another directory with `--state-dir` (a new ledger is empty: all mail is \
         fetched again)",
    )
}
