//! The config and the environment of a command.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    accounts_command::{self, StoredList},
    config_files::Files,
    dirs::{Dirs, StateDir},
    import::places,
    sources::{HandedSource, Listed, by_name},
    users::handover::Handover,
};
use crate::{
    config::{
        Account,
        overrides::Overrides,
        resolve::{self, ConfigDefaults, Problem},
        toml::File,
        url,
    },
    error::{Error, Kind, Result},
    import::Program,
    ledger::mailboxes,
    sys::interrupt::Interrupt,
    text::{closest, tilde},
};

/// The most accounts that the hint about an unknown one lists.
const MOST_NAMES: usize = 20;

/// The config, which may be missing, and the user's directories.
pub struct Setup {
    /// The user's directories, and the environment.
    pub dirs: Dirs,
    /// The path of the config file.
    pub path: PathBuf,
    state_dir: Option<PathBuf>,
    context: ConfigDefaults,
    files: Result<Files>,
    /// Whether the accounts are those of another process, which ran `accounts-command`.
    is_handed: bool,
    /// The accounts of `accounts-command`, once they were needed.
    listed: Mutex<Option<Arc<Listed>>>,
    stop: Interrupt,
}

impl Setup {
    /// Reads the config. An error in it is returned later, by the methods that need an account.
    ///
    /// `config` and `state_dir` are the paths from the command line, if it has them. Those of the
    /// handover replace them. `stop` ends the wait for `accounts-command`.
    ///
    /// # Errors
    /// There is no home directory.
    pub fn read(
        config: Option<PathBuf>,
        state_dir: Option<PathBuf>,
        handover: Option<&Handover>,
        stop: Interrupt,
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
        let files = match handover {
            Some(handover) => Files::handed(&path, &handover.config, &handover.sources, &context),
            None => Files::read(&path, &context),
        };
        Ok(Self {
            dirs,
            path,
            state_dir,
            context,
            files,
            is_handed: handover.is_some(),
            listed: Mutex::new(None),
            stop,
        })
    }

    /// Returns the text of the config file, if it is valid.
    pub fn text(&self) -> Option<&str> {
        self.files.as_ref().ok().map(Files::text)
    }

    /// Returns the accounts that `accounts-command` prints: none if it is not set.
    ///
    /// # Errors
    /// The config is not valid, or a signal.
    fn listed(&self) -> Result<Arc<Listed>> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listed) = &*listed {
            return Ok(Arc::clone(listed));
        }
        let new = Arc::new(self.list(None)?);
        Ok(Arc::clone(listed.insert(new)))
    }

    /// Reads the config again, and runs `accounts-command` again if its accounts are in use. If a
    /// source is no longer valid, its last valid version stays in use.
    ///
    /// # Errors
    /// A signal ended the command.
    pub fn read_again(&mut self) -> Result<()> {
        if self.is_handed {
            return Ok(());
        }
        let argv = self.command().map(<[String]>::to_vec);
        if let Ok(files) = &self.files
            && let Some(files) = files.read_again(&self.path, &self.context)
        {
            self.files = Ok(files);
        }
        let listed = self.listed.get_mut();
        let listed = listed.unwrap_or_else(PoisonError::into_inner).take();
        // a changed command is run when its accounts are needed
        if let Some(previous) = listed
            && argv.is_some()
            && self.command() == argv.as_deref()
        {
            let new = Arc::new(self.list(Some(&previous))?);
            self.listed = Mutex::new(Some(new));
        }
        Ok(())
    }

    fn list(&self, previous: Option<&Listed>) -> Result<Listed> {
        let files = self.files()?;
        let Some(argv) = self.command() else {
            return Ok(Listed::default());
        };
        let stored = self.stored_list(argv)?;
        files.list(argv, previous, &stored, (&self.context, &self.stop))
    }

    /// Uses the stored accounts of `accounts-command`, without running it.
    ///
    /// # Errors
    /// The config is not valid.
    pub fn use_stored_list(&self) -> Result<()> {
        if let Some(argv) = self.command() {
            let stored = self.stored_list(argv)?;
            let shown = accounts_command::shown(argv);
            let list = self.files()?.stored_list(&shown, &stored, &self.context);
            let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
            *listed = Some(Arc::new(list));
        }
        Ok(())
    }

    /// Stores the accounts that `accounts-command` printed now, for runs in which it fails.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn store_list(&self) -> Result<()> {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.command(), &*listed) {
            (Some(argv), Some(listed)) if listed.is_current => {
                self.stored_list(argv)?.store(&listed.text)
            }
            _ => Ok(()),
        }
    }

    fn stored_list(&self, argv: &[String]) -> Result<StoredList> {
        Ok(StoredList::new(&self.state_dir()?.path, argv))
    }

    /// Returns the command that prints accounts, if it is set and must be run by this process.
    pub fn command(&self) -> Option<&[String]> {
        let files = self.files.as_ref().ok().filter(|_| !self.is_handed)?;
        files.config.accounts_command.as_deref()
    }

    /// Returns what is wrong with accounts that are not in the config file itself, for a command
    /// that uses all accounts.
    ///
    /// # Errors
    /// A signal ended the command.
    pub fn problems(&self) -> Result<Vec<Problem>> {
        let Ok(files) = &self.files else {
            // reported by the command
            return Ok(Vec::new());
        };
        let mut problems = files.problems.clone();
        problems.extend(self.listed()?.problems.iter().cloned());
        Ok(problems)
    }

    /// As [`problems`](Self::problems), without running `accounts-command`.
    pub fn problems_so_far(&self) -> Vec<Problem> {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let files = self.files.iter().flat_map(|files| &files.problems);
        let listed = listed.iter().flat_map(|listed| &listed.problems);
        files.chain(listed).cloned().collect()
    }

    /// Returns the sources of accounts for a process of another user.
    ///
    /// # Errors
    /// The config is not valid, or a signal.
    pub fn handed_sources(&self, names: &HashSet<&str>) -> Result<Vec<HandedSource>> {
        let files = self.files()?;
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(files.handed_sources(names, listed.as_deref().zip(self.command())))
    }

    /// Returns whether accounts with these names, or other ones that had to be read for them, are
    /// delivered as a user. An error is reported by the command.
    pub fn has_users(&self, names: &[String]) -> bool {
        let files = self.accounts_of_files();
        let in_files = by_name(files.iter());
        let is_known = |name: &String| name.contains("://") || in_files.contains_key(name.as_str());
        let listed = if names.is_empty() || !names.iter().all(is_known) {
            self.listed().unwrap_or_default()
        } else {
            Arc::default()
        };
        let mut accounts = files.iter().chain(&listed.accounts);
        accounts.any(|account| account.deliver_as.is_some())
    }

    /// Returns the accounts of the files in `conf.d` and of the config file.
    pub fn accounts_of_files(&self) -> &[Account] {
        let files = self.files.as_ref();
        files.map_or(&[], |files| &files.config.accounts)
    }

    /// Returns the directory of ledgers and locks.
    ///
    /// # Errors
    /// None is set, and there are ledgers in both default directories; or the config cannot be read,
    /// so that it is not known whether it sets the directory.
    pub fn state_dir(&self) -> Result<StateDir> {
        if let Some(dir) = self.explicit_state_dir() {
            return Ok(StateDir::explicit(dir));
        }
        if self.check_config().is_err() {
            // it may have mistakes in its accounts only
            let main = File::read(&self.path, &self.context.home)?;
            if main.top.state_dir.is_some() {
                let dir = resolve::state_dir(&main, &self.context);
                return Ok(StateDir::explicit(dir));
            }
        }
        self.dirs.state_dir()
    }

    /// Checks that the config is valid, or does not exist.
    ///
    /// # Errors
    /// It is not valid.
    pub fn check_config(&self) -> Result<()> {
        match &self.files {
            Err(error) if self.path.symlink_metadata().is_ok() => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Returns the directory of ledgers and locks that the command line or the config sets.
    pub fn explicit_state_dir(&self) -> Option<PathBuf> {
        let files = self.files.as_ref().ok();
        let of_config = || files?.state_dir(&self.context);
        self.state_dir.clone().or_else(of_config)
    }

    /// Returns the number of accounts to fetch at the same time.
    pub fn jobs(&self) -> usize {
        self.files.as_ref().map_or(1, |files| files.config.jobs)
    }

    /// Returns the time over which the starts of the accounts are distributed.
    pub fn spread(&self) -> Duration {
        let files = self.files.as_ref().ok();
        let spread = files.and_then(|files| files.config.spread);
        spread.map(Duration::from).unwrap_or_default()
    }

    /// Returns whether runs are sandboxed. A URL needs no config, which may be missing.
    pub fn sandbox(&self) -> bool {
        self.files
            .as_ref()
            .map_or(true, |files| files.config.sandbox)
    }

    /// Returns the file to which metrics are written, if the config sets one.
    pub fn metrics(&self) -> Option<&Path> {
        self.files.as_ref().ok()?.config.metrics.as_deref()
    }

    /// Returns the accounts with these names, which may be URLs, or all enabled accounts if `names`
    /// is empty. `overrides` are applied to each.
    ///
    /// # Errors
    /// The config is not valid, or there is no such account.
    pub fn accounts(&self, names: &[String], overrides: &Overrides) -> Result<Vec<Account>> {
        let mut accounts = if names.is_empty() {
            self.enabled()?
        } else {
            self.named(names, overrides)?
        };
        for account in &mut accounts {
            overrides.apply(account);
        }
        Ok(accounts)
    }

    /// Returns the names that are accounts, and the problems of the others. If `names` is empty,
    /// the only possible problem is that no account is enabled.
    pub fn usable(&self, names: &[String], overrides: &Overrides) -> (Vec<String>, Vec<Problem>) {
        let mut usable = Vec::new();
        let mut problems = Vec::new();
        let mut check =
            |names: &[String], account: Option<&String>| match self.accounts(names, overrides) {
                Ok(_) => usable.extend(account.cloned()),
                Err(error) => problems.push(Problem {
                    account: account.cloned(),
                    error,
                }),
            };
        if names.is_empty() {
            check(names, None);
        }
        for name in names {
            check(std::slice::from_ref(name), Some(name));
        }
        (usable, problems)
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

    /// Returns all accounts, also those that are not enabled.
    ///
    /// # Errors
    /// The config is not valid, or a signal.
    pub fn all_accounts(&self) -> Result<Vec<Account>> {
        let (files, listed) = (self.files()?, self.listed()?);
        let accounts = files.config.accounts.iter().chain(&listed.accounts);
        Ok(accounts.cloned().collect())
    }

    /// Returns all enabled accounts.
    fn enabled(&self) -> Result<Vec<Account>> {
        let mut enabled = self.all_accounts()?;
        enabled.retain(|account| account.enabled);
        // problems are reported in any case
        if !enabled.is_empty() || !self.problems()?.is_empty() {
            return Ok(enabled);
        }
        Err(Error::new(
            Kind::Config,
            format!("no account in {} is enabled", self.shown_path()),
        )
        .with_hint("name one: `pouch fetch NAME`"))
    }

    /// Returns the accounts with these names, each once.
    fn named(&self, names: &[String], overrides: &Overrides) -> Result<Vec<Account>> {
        let in_files = by_name(self.accounts_of_files().iter());
        let listed = if names
            .iter()
            .all(|name| name.contains("://") || in_files.contains_key(name.as_str()))
        {
            // the command need not be run
            Arc::default()
        } else {
            self.files()?;
            self.listed()?
        };
        let in_list = by_name(listed.accounts.iter());
        let mut seen = HashSet::new();
        let first = names.iter().filter(|name| seen.insert(name.as_str()));
        first
            .map(|name| {
                if name.contains("://") {
                    return url::account(name, overrides);
                }
                let known = in_files.get(name.as_str()).or(in_list.get(name.as_str()));
                match known {
                    Some(account) => Ok((*account).clone()),
                    None => Err(self.unknown(name, &listed)),
                }
            })
            .collect()
    }

    /// Creates the error that there is no valid account of this name.
    fn unknown(&self, name: &str, listed: &Listed) -> Error {
        let files = match self.files() {
            Ok(files) => files,
            Err(error) => return error,
        };
        let problems = || files.problems.iter().chain(&listed.problems);
        let mut own = problems().filter(|problem| problem.account.as_deref() == Some(name));
        if let Some(problem) = own.next() {
            return problem.error.clone();
        }
        let error = Error::new(
            Kind::Usage,
            format!("there is no account `{name}` in {}", self.shown_path()),
        );
        let whole: Vec<_> = problems()
            .filter(|problem| problem.account.is_none())
            .map(|problem| problem.error.clone())
            .collect();
        if !whole.is_empty() {
            // it may be the reason
            return error.with_further(whole);
        }
        if name.contains('@') {
            return error.with_hint(format!("write a URL as `pops://{name}`"));
        }
        let accounts = files.config.accounts.iter().chain(&listed.accounts);
        let names: Vec<_> = accounts.map(|account| account.name.as_str()).collect();
        if let Some(meant) = closest(name, names.iter().copied()) {
            return error.with_hint(format!("did you mean `{meant}`?"));
        }
        match names.len() {
            1 => error.with_hint(format!("the only account is {}", names.join(", "))),
            2..=MOST_NAMES => error.with_hint(format!("the accounts are {}", names.join(", "))),
            _ => error.with_hint("`pouch status` lists the accounts"),
        }
    }

    fn files(&self) -> Result<&Files> {
        self.files.as_ref().map_err(|error| {
            if self.path.symlink_metadata().is_ok() {
                return error.clone();
            }
            error.clone().with_hint(self.first_step())
        })
    }

    /// Returns how to create the config.
    fn first_step(&self) -> String {
        let option = if self.path == self.dirs.config_path() {
            String::new()
        } else {
            format!("--config {} ", self.shown_path())
        };
        let found = Program::ALL
            .into_iter()
            .find(|program| !places::configs(*program, &self.dirs).is_empty());
        match found {
            None => format!("run `pouch {option}init ADDRESS`, with your mail address"),
            Some(program) => format!(
                "run `pouch {option}import {}` to see which accounts of {program} can be taken \
                 over, or `pouch {option}init ADDRESS`, with your mail address",
                program.name()
            ),
        }
    }

    /// Returns the path of the config for messages.
    pub fn shown_path(&self) -> String {
        tilde(&self.path, &self.dirs.home)
    }
}

/// The open files of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// The number of accounts that can be fetched at the same time.
    pub jobs: usize,
    /// The number of files that each of them may hold open for messages.
    pub per_job: usize,
    /// The limit of the process.
    limit: u64,
}

impl OpenFiles {
    /// Returns a warning if the limit allows fewer accounts at the same time than `jobs`.
    pub fn warning(&self, jobs: usize) -> Option<Error> {
        let needed = needed_files(jobs as u64);
        (self.jobs < jobs).then(|| {
            let what = format!("fetching {} accounts at a time, not {jobs}", self.jobs);
            Error::new(Kind::CannotCreate, what)
                .with_fact(format!("the limit of open files is {}", self.limit))
                .with_hint(format!(
                    "raise it to {needed}: LimitNOFILE= in a systemd unit, or limits.conf(5)"
                ))
        })
    }
}

/// Files of an account that are not messages: the ledger, the connection and others.
const RESERVED: u64 = 24;

/// Files that are not of an account: standard streams, pipes, certificates.
const SHARED: u64 = 40;

/// Returns the number of files that `jobs` accounts need, with one message each.
fn needed_files(jobs: u64) -> u64 {
    SHARED.saturating_add(jobs.saturating_mul(RESERVED + 1))
}

/// Raises the limit of open files as far as `jobs` accounts at the same time need and the system
/// allows.
///
/// Each message of a batch is an open file until it is durable.
pub fn open_files(jobs: usize) -> OpenFiles {
    /// Other programs inherit the limit, and some of them are slow with a higher one.
    const ENOUGH: u64 = 4096;
    let jobs = jobs.max(1) as u64;
    let limit = getrlimit(Resource::Nofile);
    let enough = ENOUGH.max(needed_files(jobs));
    let wanted = limit.maximum.map_or(enough, |most| most.min(enough));
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
    divide(if raised { wanted } else { current }, jobs)
}

/// Divides `limit` open files among `jobs` accounts, or fewer if it is too low.
fn divide(limit: u64, jobs: u64) -> OpenFiles {
    let usable = limit.saturating_sub(SHARED);
    let jobs = jobs.min(usable / (RESERVED + 1)).max(1);
    let each = (usable / jobs).saturating_sub(RESERVED).max(1);
    OpenFiles {
        jobs: usize::try_from(jobs).unwrap_or(usize::MAX),
        per_job: usize::try_from(each).unwrap_or(usize::MAX),
        limit,
    }
}

/// Parses the value of `--to`.
///
/// # Errors
/// The text is not a valid destination.
pub fn destination(text: &str, dirs: &Dirs) -> Result<crate::domain::destination::Destination> {
    let here: &Path = &dirs.here()?;
    url::destination(text, &dirs.home, here)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn open_files_are_divided_among_accounts() {
        let divided = |limit, jobs| {
            let files = divide(limit, jobs);
            (files.jobs, files.per_job)
        };
        assert_eq!(divided(4096, 4), (4, 990));
        assert_eq!(divided(4096, 1), (1, 4032));
        assert_eq!(divided(4096, 1000), (162, 1));
        assert_eq!(divided(20, 4), (1, 1));
        assert_eq!(divide(4096, 4).warning(4), None);
        assert_snapshot!(divide(4096, 1000).warning(1000).unwrap(), @"
        fetching 162 accounts at a time, not 1000
          the limit of open files is 4096
        hint: raise it to 25040: LimitNOFILE= in a systemd unit, or limits.conf(5)
        ");
    }
}
