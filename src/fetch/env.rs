//! The environment of a run: paths, clock, signals, secrets and the reporter.
//!
//! Everything that a run takes from outside of its account's configuration is in one value, so that
//! tests can run an account with their own clock and directories, and no lower module reads the
//! process environment.

use std::{collections::BTreeMap, ffi::OsString, fs, path::PathBuf, sync::Arc, time::Duration};

use zeroize::Zeroizing;

use super::tokens::{self, TokenEnv};
use crate::{
    config::{Account, Proxy, ProxyProtocol, SecretSource, Trust},
    domain::{destination::Destination, report_times::Audience},
    error::{Error, Kind, Result},
    event::Reporter,
    ledger::{Ledger, LedgerFile, Machine, Reader, mailboxes},
    net::TlsCache,
    oauth::Via,
    sys::{
        clock::Clock,
        files,
        interrupt::Interrupt,
        lock, owner,
        password::{self, CredentialFolder, Secret, SecretEnv},
        process::program,
    },
    text::{day, sanitize, tilde},
};

/// The environment of a run.
#[derive(Clone)]
pub struct RunEnv {
    /// The directory of ledgers and locks.
    pub state_dir: PathBuf,
    /// The path of a link to `state_dir` that is made with the first ledger, if one is needed.
    pub state_link: Option<PathBuf>,
    /// The user's home directory, for messages.
    pub home: PathBuf,
    /// The clock.
    pub clock: Clock,
    /// Whether a signal asked the program to end.
    pub stop: Interrupt,
    /// This machine's host name.
    pub hostname: String,
    /// What distinguishes this machine from others. `None` if that is not known.
    pub machine_id: Option<String>,
    /// The directory of systemd's credentials.
    pub credentials: CredentialFolder,
    /// The secrets that are known before the run, by account: those that were prompted for, or that
    /// this process cannot read.
    pub secrets: BTreeMap<String, Result<Secret>>,
    /// Whether a person is at the terminal.
    pub attendance: Attendance,
    /// The directories in which programs are searched (`$PATH`).
    pub path: Option<OsString>,
    /// The reporter of events.
    pub report: Arc<dyn Reporter>,
    /// Whether the lines of sessions are reported.
    pub trace: bool,
    /// How long to wait for another pouch process that has the account's lock.
    pub patience: Duration,
    /// Whether a mailbox in which every UID changed is treated as new mail.
    pub accept_new_uids: bool,
    /// The TLS configurations of all accounts.
    pub tls: TlsCache,
    /// The number of files that an account may hold open at once.
    pub open_files: usize,
}

/// Whether a person is at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attendance {
    /// A person started this run: a refused password is tried again at once.
    Person,
    /// A person started `--every` at a terminal, and may have left since.
    LaterRound,
    /// Standard error is not a terminal: a timer started this run, and a prompt would not be seen.
    Unattended,
}

impl RunEnv {
    /// Opens the ledger in `file` for a run of the account, and creates it if it is missing.
    /// Records the address of the account.
    ///
    /// # Errors
    /// The ledger cannot be created or read, or was exported to another machine.
    pub fn open_ledger(&self, account: &Account, file: &LedgerFile) -> Result<Ledger> {
        let ledger = Ledger::open(file, Some(&account.identity()), &self.hostname)
            .map_err(with_state_hint)?;
        check_not_exported(account, ledger.reader())?;
        if let Some(link) = &self.state_link {
            files::link_once(&self.state_dir, link);
        }
        Ok(ledger)
    }

    /// Opens the account's ledger for a command that does not connect, and creates it if it is
    /// missing.
    ///
    /// # Errors
    /// The ledger cannot be created or read.
    pub fn ledger(&self, account: &Account) -> Result<Ledger> {
        match mailboxes::find_offline(&self.state_dir, &account.identity())? {
            Some(file) => Ledger::open(&file, None, &self.hostname).map_err(with_state_hint),
            None => self.open_ledger(account, &self.new_file(account)),
        }
    }

    /// Opens the account's ledger for reading, for a command that does not connect. Returns `None`
    /// if there is none yet.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn reader(&self, account: &Account) -> Result<Option<Reader>> {
        Reader::open(&self.offline_file(account)?, &account.identity().address)
    }

    /// Returns the file of the account's ledger, for a command that does not connect.
    ///
    /// # Errors
    /// A ledger cannot be read.
    pub fn offline_file(&self, account: &Account) -> Result<LedgerFile> {
        let found = mailboxes::find_offline(&self.state_dir, &account.identity())?;
        Ok(found.unwrap_or_else(|| self.new_file(account)))
    }

    /// Returns the file of the account's ledger: a new one if the address is not known.
    ///
    /// # Errors
    /// A ledger cannot be read.
    fn file(&self, account: &Account) -> Result<LedgerFile> {
        let found = mailboxes::find(&self.state_dir, &account.identity())?;
        Ok(found.unwrap_or_else(|| self.new_file(account)))
    }

    fn new_file(&self, account: &Account) -> LedgerFile {
        LedgerFile::new(&self.state_dir, &account.identity())
    }

    /// Takes the lock of the account's mailbox. Returns it with the file of the ledger.
    ///
    /// # Errors
    /// [`Kind::Busy`] if another pouch process holds it; or the lock file cannot be created.
    pub fn lock(&self, account: &Account) -> Result<(lock::Lock, LedgerFile)> {
        owner::check_directory(&self.state_dir, &tilde(&self.state_dir, &self.home))?;
        loop {
            let file = self.file(account)?;
            let lock = self.lock_key(file.key(), self.patience)?;
            // another pouch may have found out in the meantime which mailbox the address leads to
            if lock.is_first() || self.file(account)? == file {
                return Ok((lock, file));
            }
        }
    }

    /// Takes the lock of the account's mailbox for a command that changes nothing. Returns no lock
    /// if the mailbox was never locked, because a lock is a file.
    ///
    /// # Errors
    /// As for [`lock`](Self::lock).
    pub fn lock_to_read(&self, account: &Account) -> Result<(Option<lock::Lock>, LedgerFile)> {
        let file = self.file(account)?;
        if lock::is_new(&self.state_dir, file.key()) {
            return Ok((None, file));
        }
        self.lock(account).map(|(lock, file)| (Some(lock), file))
    }

    /// Takes the lock named `key`, and waits for it as long as `patience`.
    ///
    /// # Errors
    /// As for [`lock`](Self::lock).
    pub fn lock_key(&self, key: &str, patience: Duration) -> Result<lock::Lock> {
        lock::lock(&self.state_dir, key, self.clock.now(), patience, &self.stop)
            .map_err(with_state_hint)
    }

    /// Takes the lock of the account's mailbox for a command that does not connect, and has no
    /// option `--wait`, which the hint must not mention.
    ///
    /// # Errors
    /// As for [`lock`](Self::lock).
    pub fn lock_at_once(&self, account: &Account) -> Result<lock::Lock> {
        let file = self.offline_file(account)?;
        self.lock_key(file.key(), self.patience)
            .map_err(without_wait)
    }

    /// Returns the account's secret.
    ///
    /// # Errors
    /// See [`password::obtain`] and [`tokens::access_token`]; or another user owns the password
    /// file, can read the client key, or can change the client certificate or the file of
    /// authorities.
    pub fn secret(&self, account: &Account) -> Result<Secret> {
        if let Some(client) = &account.client_certificate {
            let what = format!("the client key {}", tilde(&client.key, &self.home));
            owner::check_secret_file(&client.key, &what)?;
            let certificate = tilde(&client.certificate, &self.home);
            let what = format!("the client certificate {certificate}");
            owner::check_trusted_file(&client.certificate, &what)?;
        }
        if let Trust::CaFile(path) = &account.trust {
            let what = format!("the file of authorities {}", tilde(path, &self.home));
            owner::check_trusted_file(path, &what)?;
        }
        if let Some(known) = self.secrets.get(&account.name) {
            return known.clone();
        }
        if let SecretSource::File(path) = &account.secret
            && let Ok(metadata) = fs::metadata(path)
        {
            let what = format!("the password file {}", tilde(path, &self.home));
            owner::check_owner(&what, &metadata)?;
        }
        if let Some(prompted) = self.secrets.get(&account.name) {
            return prompted.clone();
        }
        if let SecretSource::OAuth(keys) = &account.secret {
            let via = || self.issuer_route(account);
            return tokens::access_token(account, keys, self.token_env(), &via, None);
        }
        let whose = format!("{} at {}", account.user, account.host);
        password::obtain(&account.secret, &whose, self.secret_env(account))
            .map_err(|error| account.with_hint_for(error))
    }

    /// Returns a new access token after the server refused the one named `refused`. Returns `None`
    /// if the secret is not a token, or the source has no other one.
    ///
    /// # Errors
    /// See [`password::renew`] and [`tokens::access_token`].
    pub fn renewed_secret(&self, account: &Account, refused: &[u8]) -> Result<Option<Secret>> {
        if let SecretSource::OAuth(keys) = &account.secret {
            let via = || self.issuer_route(account);
            return tokens::access_token(account, keys, self.token_env(), &via, Some(refused))
                .map(Some);
        }
        password::renew(&account.secret, refused, self.secret_env(account))
    }

    /// Returns this machine.
    pub fn machine(&self) -> Machine {
        Machine {
            id: self.machine_id.clone(),
            name: self.hostname.clone(),
        }
    }

    /// Returns who reads the reports of this run.
    pub fn audience(&self) -> Audience {
        match self.attendance {
            Attendance::Person | Attendance::LaterRound => Audience::Terminal,
            Attendance::Unattended => Audience::Unattended,
        }
    }

    /// Returns the password for the account's proxy, which is empty if none is configured.
    ///
    /// # Errors
    /// See [`password::obtain`].
    pub fn proxy_password(&self, account: &Account) -> Result<Secret> {
        let Some(argv) = &account.proxy_password_command else {
            return Ok(Secret::default());
        };
        let source = SecretSource::Command(argv.clone());
        password::obtain(&source, "the proxy", self.secret_env(account))
            .map_err(|error| error.with_fact("set by `proxy-password-command`"))
    }

    /// Returns how to reach the issuer of an account that signs in with OAuth 2.0.
    ///
    /// # Errors
    /// The password for the proxy cannot be obtained, or is not valid UTF-8.
    pub fn issuer_route(&self, account: &Account) -> Result<Via> {
        let server = match &account.proxy {
            None => return Ok(Via::Environment),
            Some(Proxy::None) => return Ok(Via::Direct),
            Some(Proxy::Server(server)) => server,
        };
        let password = self.proxy_password(account)?;
        let password = std::str::from_utf8(&password).map_err(|_| {
            let what = "the password for the proxy is not valid UTF-8";
            Error::new(Kind::Config, what).with_fact("set by `proxy-password-command`")
        })?;
        let login = |user: &String| (user.clone(), Zeroizing::new(password.to_owned()));
        Ok(Via::Proxy {
            socks: server.protocol == ProxyProtocol::Socks5,
            host: server.host.clone(),
            port: server.port,
            login: server.user.as_ref().map(login),
        })
    }

    /// Returns what the tokens of accounts depend on.
    pub fn token_env(&self) -> TokenEnv<'_> {
        TokenEnv {
            state_dir: &self.state_dir,
            home: &self.home,
            tls: &self.tls,
            clock: self.clock,
            stop: &self.stop,
        }
    }

    /// Returns what obtaining the account's secret needs.
    fn secret_env<'a>(&'a self, account: &Account) -> SecretEnv<'a> {
        SecretEnv {
            credentials: &self.credentials,
            home: &self.home,
            time_limit: (self.attendance == Attendance::Unattended)
                .then_some(account.password_command_timeout),
            stop: &self.stop,
        }
    }

    /// Returns the description of a destination for messages.
    pub fn describe(&self, destination: &Destination) -> String {
        match destination {
            Destination::Maildir(path) | Destination::Mbox(path) => tilde(path, &self.home),
            Destination::Pipe(argv) => format!("`{}`", program(argv)),
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

/// Fails if the ledger of an account was exported, so that another machine fetches the mailbox now.
///
/// # Errors
/// [`Kind::State`].
pub fn check_not_exported(account: &Account, reader: &Reader) -> Result<()> {
    let Some(at) = reader.exported_at()? else {
        return Ok(());
    };
    let what = format!("the ledger was exported to another machine on {}", day(at));
    Err(Error::new(Kind::State, what)
        .with_fact("the mailbox is fetched there now, and the account is not needed here any more")
        .with_hint(format!(
            "to fetch it here again instead, run `pouch ledger export --undo {}`",
            account.name
        )))
}

/// Replaces the hint at `--wait`, for commands that do not have it.
pub(super) fn without_wait(error: Error) -> Error {
    match error.kind() {
        Kind::Busy => error.with_hint("try again when it has finished"),
        _ => error,
    }
}

/// Adds a hint about the state directory to an error about it.
fn with_state_hint(error: Error) -> Error {
    if error.kind() != Kind::CannotCreate {
        return error;
    }
    error.with_hint(
        "fix this, or set another directory with `--state-dir` (a new ledger is empty: all mail is \
         fetched again)",
    )
}
