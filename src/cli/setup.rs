//! The config and the environment of a command.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    dirs::{Dirs, StateDir},
    handover::Handover,
};
use crate::{
    config::{
        Account, Config,
        overrides::Overrides,
        resolve::{self, ConfigDefaults},
        toml::File,
        url,
    },
    error::{Error, Kind, Result},
    ledger::mailboxes,
    text::{closest, tilde},
};

/// The config, which may be missing, and the user's directories.
pub struct Setup {
    /// The user's directories, and the environment.
    pub dirs: Dirs,
    /// The path of the config file.
    pub path: PathBuf,
    state_dir: Option<PathBuf>,
    config: std::result::Result<Config, Error>,
    file_state_dir: Option<PathBuf>,
    /// The text of the config file, if it could be read.
    pub text: Option<String>,
}

impl Setup {
    /// Reads the config. An error in it is returned later, by the methods that need an account.
    ///
    /// `config` and `state_dir` are the paths from the command line, if it has them. Those of the
    /// handover replace them.
    ///
    /// # Errors
    /// There is no home directory.
    pub fn read(
        config: Option<PathBuf>,
        state_dir: Option<PathBuf>,
        handover: Option<&Handover>,
    ) -> Result<Self> {
        let dirs = Dirs::find()?;
        let path = handover
            .map(|handover| PathBuf::from(&handover.config_path))
            .or(config)
            .unwrap_or_else(|| dirs.config_path());
        let state_dir = handover
            .and_then(|handover| handover.state_dir.as_ref().map(PathBuf::from))
            .or(state_dir);
        let context = ConfigDefaults {
            home: dirs.home.clone(),
            // an error is reported by the commands that use it
            state_dir: dirs
                .state_dir()
                .map_or_else(|_| dirs.home.join(".local/state/pouch"), |dir| dir.path),
        };
        let file = match handover {
            Some(handover) => File::parse(&path, &dirs.home, &handover.config),
            None => File::read(&path, &dirs.home),
        };
        let text = file.as_ref().ok().map(|file| file.text().to_owned());
        let file_state_dir = file
            .as_ref()
            .ok()
            .filter(|file| file.top.state_dir.is_some())
            .map(|file| resolve::state_dir(file, &context));
        let config = file.and_then(|file| resolve::resolve(&file, &context));
        Ok(Self {
            dirs,
            path,
            state_dir,
            config,
            file_state_dir,
            text,
        })
    }

    /// Returns the directory of ledgers and locks.
    ///
    /// # Errors
    /// None is set, and there are ledgers in both default directories.
    pub fn state_dir(&self) -> Result<StateDir> {
        self.explicit_state_dir().map_or_else(
            || self.dirs.state_dir(),
            |dir| Ok(StateDir::explicit(dir.clone())),
        )
    }

    /// Returns the directory of ledgers and locks that the command line or the config sets.
    pub fn explicit_state_dir(&self) -> Option<&PathBuf> {
        self.state_dir.as_ref().or(self.file_state_dir.as_ref())
    }

    /// Returns the number of servers to connect to at the same time.
    pub fn jobs(&self) -> usize {
        self.config.as_ref().map_or(1, |config| config.jobs)
    }

    /// Returns whether runs are sandboxed. A URL needs no config, which may be missing.
    pub fn sandbox(&self) -> bool {
        self.config.as_ref().map_or(true, |config| config.sandbox)
    }

    /// Returns the accounts with these names, which may be URLs, or all enabled accounts if `names`
    /// is empty. `overrides` are applied to each.
    ///
    /// # Errors
    /// The config is not valid, or there is no such account.
    pub fn accounts(&self, names: &[String], overrides: &Overrides) -> Result<Vec<Account>> {
        let mut accounts = if names.is_empty() {
            let enabled: Vec<_> = self
                .config()?
                .accounts
                .iter()
                .filter(|account| account.enabled)
                .cloned()
                .collect();
            if enabled.is_empty() {
                return Err(Error::new(
                    Kind::Config,
                    format!("no account in {} is enabled", self.shown_path()),
                )
                .with_hint("name one: `pouch fetch NAME`"));
            }
            enabled
        } else {
            let first = |(at, name): &(usize, &String)| !names[..*at].contains(name);
            let named = names.iter().enumerate().filter(first);
            named
                .map(|(_, name)| self.account(name, overrides))
                .collect::<Result<Vec<_>>>()?
        };
        for account in &mut accounts {
            overrides.apply(account);
        }
        Ok(accounts)
    }

    /// Returns accounts whose ledgers are read or changed, which need no destination. Without names
    /// and without a config file, these are all mailboxes with a ledger, each named by its URL.
    ///
    /// # Errors
    /// The config is not valid, there is no such account, or there is no config and no ledger.
    pub fn known_accounts(&self, names: &[String]) -> Result<Vec<Account>> {
        let overrides = Overrides {
            no_delivery: true,
            ..Overrides::default()
        };
        if names.is_empty() && !self.path.exists() {
            let (mailboxes, unreadable) = mailboxes::all(&self.state_dir()?.path)?;
            if let Some(error) = unreadable {
                return Err(error);
            }
            let addresses = mailboxes
                .iter()
                .filter_map(|mailbox| mailbox.addresses.first());
            let accounts = addresses
                .map(|(address, _)| url::account(&url::of(address), &overrides))
                .collect::<Result<Vec<_>>>()?;
            if !accounts.is_empty() {
                return Ok(accounts);
            }
        }
        self.accounts(names, &overrides)
    }

    fn account(&self, name: &str, overrides: &Overrides) -> Result<Account> {
        if name.contains("://") {
            return url::account(name, overrides);
        }
        let accounts = &self.config()?.accounts;
        accounts
            .iter()
            .find(|account| account.name == name)
            .cloned()
            .ok_or_else(|| {
                if name.contains('@') {
                    return Error::new(
                        Kind::Usage,
                        format!("there is no account `{name}` in {}", self.shown_path()),
                    )
                    .with_hint(format!("write a URL as `pops://{name}`"));
                }
                let names = || accounts.iter().map(|account| account.name.as_str());
                let error = Error::new(
                    Kind::Usage,
                    format!("there is no account `{name}` in {}", self.shown_path()),
                );
                if let Some(meant) = closest(name, names()) {
                    error.with_hint(format!("did you mean `{meant}`?"))
                } else {
                    let names: Vec<_> = names().collect();
                    let are = if names.len() == 1 {
                        "only account is"
                    } else {
                        "accounts are"
                    };
                    error.with_hint(format!("the {are} {}", names.join(", ")))
                }
            })
    }

    fn config(&self) -> Result<&Config> {
        self.config.as_ref().map_err(Clone::clone)
    }

    /// Returns the path of the config for messages.
    pub fn shown_path(&self) -> String {
        tilde(&self.path, &self.dirs.home)
    }
}

/// Raises the limit of open files as far as the system allows, and returns the number of files that
/// each of `jobs` accounts may open.
///
/// Each message of a batch is an open file until it is durable.
pub fn open_files(jobs: usize) -> usize {
    /// Other programs inherit the limit, and some of them are slow with a higher one.
    const ENOUGH: u64 = 4096;
    /// Files that are not messages: the ledger, the connection and others.
    const RESERVED: u64 = 24;
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(ENOUGH, |most| most.min(ENOUGH));
    let current = limit.current.unwrap_or(u64::MAX);
    let raised = current < wanted
        && setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(wanted),
                ..limit
            },
        )
        .is_ok();
    let all = if raised { wanted } else { current };
    let each = (all / jobs.max(1) as u64).saturating_sub(RESERVED).max(1);
    usize::try_from(each).unwrap_or(usize::MAX)
}

/// Parses the value of `--to`.
///
/// # Errors
/// The text is not a valid destination.
pub fn destination(text: &str, dirs: &Dirs) -> Result<crate::domain::destination::Destination> {
    let here: &Path = &dirs.here()?;
    url::destination(text, &dirs.home, here)
}
