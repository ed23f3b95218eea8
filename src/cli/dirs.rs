//! The user's directories, and the environment of the process.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use directories::{BaseDirs, ProjectDirs};

use crate::{
    domain::time::Timestamp,
    error::{Error, Kind, Result},
    event::Reporter,
    fetch::env::{Attendance, RunEnv},
    ledger::mailboxes,
    net::TlsCache,
    report::{Colour, Level, watched},
    sys::{clock::Clock, interrupt::Interrupt, machine, password::CredentialFolder, user::User},
    text::tilde,
};

/// The directory of ledgers and locks.
#[derive(Clone, Debug)]
pub struct StateDir {
    /// Its path.
    pub path: PathBuf,
    /// The path of a link to it, which runs with another environment follow.
    pub link: Option<PathBuf>,
}

impl StateDir {
    /// Returns a directory that does not depend on the environment.
    pub fn explicit(path: PathBuf) -> Self {
        Self { path, link: None }
    }
}

/// Returns whether two paths lead to the same directory.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(one).is_some() && real(one) == real(other)
}

/// The user's directories, and the environment.
#[derive(Clone, Debug)]
pub struct Dirs {
    /// The user's home directory.
    pub home: PathBuf,
    folders: ProjectDirs,
}

impl Dirs {
    /// Finds the user's directories.
    ///
    /// # Errors
    /// There is no home directory.
    pub fn find() -> Result<Self> {
        let base = BaseDirs::new();
        let folders = ProjectDirs::from("", "", "pouch");
        match (base, folders) {
            (Some(base), Some(folders)) => Ok(Self {
                home: base.home_dir().to_owned(),
                folders,
            }),
            _ => Err(Error::new(Kind::Config, "there is no home directory").with_hint("set HOME")),
        }
    }

    /// Returns the default path of the config.
    pub fn config_path(&self) -> PathBuf {
        self.folders.config_dir().join("config.toml")
    }

    /// Returns the default directory of ledgers and locks: `$XDG_STATE_HOME/pouch` or
    /// `~/.local/state/pouch`, whichever has ledgers.
    ///
    /// A user has one such directory. The variable is often set in the shell and not in cron, and a
    /// second directory would mean that all mail is fetched twice.
    ///
    /// # Errors
    /// Both have ledgers.
    pub fn state_dir(&self) -> Result<StateDir> {
        let home = self.home.join(".local/state/pouch");
        let own = match self.folders.state_dir() {
            Some(own) if own != home => own.to_owned(),
            Some(_) => return Ok(StateDir::explicit(home)),
            None => return Ok(StateDir::explicit(self.folders.data_dir().to_owned())),
        };
        match (mailboxes::exist(&own), mailboxes::exist(&home)) {
            (true, true) if is_same(&own, &home) => Ok(StateDir::explicit(own)),
            (true, true) => Err(self.two_state_dirs(&own, &home)),
            (false, true) => Ok(StateDir::explicit(home)),
            (_, false) => Ok(StateDir {
                path: own,
                link: Some(home),
            }),
        }
    }

    fn two_state_dirs(&self, own: &Path, home: &Path) -> Error {
        let (own, home) = (tilde(own, &self.home), tilde(home, &self.home));
        Error::new(
            Kind::Config,
            format!("there are ledgers in {own} and in {home}"),
        )
        .with_fact("with two sets of ledgers, mail would be fetched twice")
        .with_hint(format!(
            "set the one to use in the config, above all tables: state-dir = \"{own}\""
        ))
    }

    /// Returns a variable of the environment, if it is set and not empty.
    pub fn variable(&self, name: &str) -> Option<String> {
        variable(name)
    }

    /// Returns the paths in the environment that libraries read: those of the time zones, of
    /// OpenSSL and of the dynamic linker, and the directory of systemd's credentials.
    pub fn library_paths(&self) -> Vec<PathBuf> {
        const VARIABLES: [&str; 6] = [
            "TZ",
            "TZDIR",
            "OPENSSL_CONF",
            "OPENSSL_MODULES",
            "LD_LIBRARY_PATH",
            "CREDENTIALS_DIRECTORY",
        ];
        let values = VARIABLES.iter().filter_map(|name| self.variable(name));
        let paths = values.flat_map(|value| env::split_paths(&value).collect::<Vec<_>>());
        paths.filter(|path| path.is_absolute()).collect()
    }

    /// Returns the environment for a process of another user: the variables that are neither about
    /// the user nor possibly secret, and those that name the user.
    pub fn environment_of(&self, user: &User) -> Vec<(OsString, OsString)> {
        const KEPT: [&str; 14] = [
            "PATH",
            "LANG",
            "LANGUAGE",
            "TERM",
            "COLUMNS",
            "NO_COLOR",
            "CLICOLOR_FORCE",
            "TZ",
            "TZDIR",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "OPENSSL_CONF",
            "OPENSSL_MODULES",
            "LD_LIBRARY_PATH",
        ];
        let is_kept = |name: &OsString| {
            name.to_str()
                .is_some_and(|name| KEPT.contains(&name) || name.starts_with("LC_"))
        };
        let kept = env::vars_os().filter(|(name, _)| is_kept(name) || name == "POUCH_NOW");
        let own = [
            ("HOME", user.home.clone().into_os_string()),
            ("USER", OsString::from(&user.name)),
            ("LOGNAME", OsString::from(&user.name)),
        ];
        kept.chain(own.map(|(name, value)| (name.into(), value)))
            .collect()
    }

    /// Returns whether to write in colour (<https://no-color.org>).
    ///
    /// `forced` is what the user asked for on the command line.
    pub fn colour(&self, forced: Option<bool>) -> Colour {
        let auto = || watched() && self.variable("NO_COLOR").is_none() && self.can_wipe();
        Colour(forced.unwrap_or_else(auto))
    }

    /// Returns whether the terminal understands colours, and can clear a line.
    pub fn can_wipe(&self) -> bool {
        self.variable("TERM").is_none_or(|term| term != "dumb")
    }

    /// Returns whether the terminal displays characters such as block elements: the locale uses
    /// UTF-8, and the terminal is not the console of Linux, whose fonts have few of them.
    pub fn shows_unicode(&self) -> bool {
        let mut locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter();
        let locale = locale
            .find_map(|name| self.variable(name))
            .unwrap_or_default();
        let charset = locale.split(['.', '@']).nth(1).unwrap_or_default();
        let is_utf8 = ["utf-8", "utf8"].contains(&charset.to_ascii_lowercase().as_str());
        is_utf8 && self.can_wipe() && self.variable("TERM").is_none_or(|term| term != "linux")
    }

    /// Returns the directory where relative paths on the command line start.
    ///
    /// # Errors
    /// The current directory was removed.
    pub fn here(&self) -> Result<PathBuf> {
        env::current_dir().map_err(|error| {
            Error::new(Kind::Io, "there is no current directory").with_fact(error.to_string())
        })
    }

    /// Returns what a run needs from its environment.
    pub fn env(
        &self,
        state_dir: StateDir,
        stop: Interrupt,
        report: Arc<dyn Reporter>,
        level: Level,
    ) -> RunEnv {
        RunEnv {
            state_dir: state_dir.path,
            state_link: state_dir.link,
            home: self.home.clone(),
            clock: clock(),
            stop,
            hostname: machine(),
            machine_id: machine::id(),
            credentials: CredentialFolder(
                self.variable("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            ),
            secrets: BTreeMap::new(),
            attendance: if watched() {
                Attendance::Person
            } else {
                Attendance::Unattended
            },
            path: self.variable("PATH").map(Into::into),
            report,
            trace: level >= Level::Trace,
            patience: Duration::ZERO,
            accept_new_uids: false,
            tls: TlsCache::default(),
            open_files: usize::MAX,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns the name server to ask instead of those of the system.
pub fn resolver() -> Option<SocketAddr> {
    // tests have one of their own
    variable("POUCH_RESOLVER").and_then(|server| server.parse().ok())
}

/// Returns the clock.
pub fn clock() -> Clock {
    // tests choose the time of a run
    match variable("POUCH_NOW").and_then(|now| now.parse().ok()) {
        Some(now) => Clock::fixed(Timestamp(now)),
        None => Clock::SYSTEM,
    }
}

/// Returns this machine's name, with the characters that a file name may contain.
fn machine() -> String {
    let name = rustix::system::uname();
    let name: String = name
        .nodename()
        .to_string_lossy()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || ".-_".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    if name.is_empty() {
        "localhost".into()
    } else {
        name
    }
}
