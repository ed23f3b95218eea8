//! Completions: the shell runs the program to get them, so they include the names of accounts and
//! the numbers of messages.

use std::{
    collections::VecDeque,
    env,
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
};

use clap::Command;
use clap_complete::{
    engine::CompletionCandidate,
    env::{Bash, EnvCompleter, Fish, Shells, Zsh},
};

use super::{dirs::Dirs, setup::Setup};
use crate::{
    error::Result,
    ledger::{Reader, Row, RowFilter, State, mailboxes},
    report::words,
    sys::interrupt::Interrupt,
    text::{day, sanitize},
};

/// The shells that have completions.
pub(super) const SHELLS: Shells<'static> = Shells(&[&Bash, &Fish, &TildeZsh]);

/// The largest number of messages that are offered, the newest first.
const MAX_MESSAGES: usize = 500;

/// Returns the names of the accounts that begin with `current`. Returns none if the
/// config cannot be read.
pub fn accounts(current: &OsStr) -> Vec<CompletionCandidate> {
    let (Some(current), Ok(dirs)) = (current.to_str(), Dirs::find()) else {
        return Vec::new();
    };
    let Ok(setup) = setup(CommandLine::read(&dirs)) else {
        return Vec::new();
    };
    let accounts = setup.all_accounts().unwrap_or_default().into_iter();
    accounts
        .filter(|account| account.name.starts_with(current))
        .map(|account| {
            // zsh lists candidates without a description after the options, and inserts an option
            let description = format!("{} at {}", account.user, account.host);
            let description = sanitize(description.as_bytes());
            CompletionCandidate::new(&account.name).help(Some(description.into()))
        })
        .collect()
}

/// Returns the config. The accounts of `accounts-command` are the stored ones: a shell must not run
/// a program at each key, nor wait for a database.
fn setup(line: CommandLine) -> Result<Setup> {
    let setup = Setup::read(line.config, line.state_dir, None, Interrupt::default())?;
    setup.use_stored_list()?;
    Ok(setup)
}

/// Returns the numbers of the account's messages that begin with `current`, each with its state,
/// sender and subject. Returns none if the ledger cannot be read.
pub fn messages(current: &OsStr) -> Vec<CompletionCandidate> {
    let (Some(current), Ok(dirs)) = (current.to_str(), Dirs::find()) else {
        return Vec::new();
    };
    let mut candidates: Vec<_> = rows(CommandLine::read(&dirs), current)
        .unwrap_or_default()
        .iter()
        .rev()
        .map(|row| CompletionCandidate::new(row.id.to_string()).help(Some(description(row).into())))
        .collect();
    if "all".starts_with(current) {
        candidates.push(CompletionCandidate::new("all").help(Some("all messages".into())));
    }
    candidates
}

/// Returns the newest messages whose numbers begin with `current`, ascending.
fn rows(line: CommandLine, current: &str) -> Result<VecDeque<Row>> {
    let mut newest = VecDeque::new();
    let account = line.account.clone().into_iter().collect::<Vec<_>>();
    let setup = setup(line)?;
    for account in setup.known_accounts(&account)?.iter().take(1) {
        let identity = account.identity();
        let Some(file) = mailboxes::find_offline(&setup.state_dir()?.path, &identity)? else {
            continue;
        };
        if let Some(ledger) = Reader::open(&file, &identity.address)? {
            ledger.each_row(RowFilter::All, |row| {
                if row.state != State::Gone && row.id.to_string().starts_with(current) {
                    newest.push_back(row);
                }
                if newest.len() > MAX_MESSAGES {
                    newest.pop_front();
                }
                Ok(())
            })?;
        }
    }
    Ok(newest)
}

fn description(row: &Row) -> String {
    let header = words::header(row.sender.as_deref(), row.subject.as_deref());
    let header = header.unwrap_or_else(|| format!("first seen {}", day(row.first_seen)));
    format!("{}, {header}", row.state)
}

/// The parts of the command line that completions depend on.
#[derive(Debug, Default, PartialEq, Eq)]
struct CommandLine {
    config: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    /// The first argument after `pouch ledger COMMAND`.
    account: Option<String>,
}

impl CommandLine {
    /// Reads the words that the shell passes after `--`, and the environment.
    fn read(dirs: &Dirs) -> Self {
        let words = env::args_os().skip_while(|word| word != "--").skip(1);
        let mut line = Self::parse(words, &dirs.home);
        let variable = |name| dirs.variable(name).map(PathBuf::from);
        line.config = line.config.or_else(|| variable("POUCH_CONFIG"));
        line.state_dir = line.state_dir.or_else(|| variable("POUCH_STATE_DIR"));
        line
    }

    /// Parses words, of which the first is the name of the program. The shell has not expanded `~`.
    fn parse(words: impl IntoIterator<Item = OsString>, home: &Path) -> Self {
        let mut line = Self::default();
        let mut arguments = Vec::new();
        let words = words.into_iter().map(|word| word.to_string_lossy().into());
        let mut words = words.skip(1);
        while let Some::<String>(word) = words.next() {
            let (name, joined) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            let mut path = || {
                let text = joined.clone().or_else(|| words.next())?;
                Some(match text.strip_prefix("~/") {
                    Some(rest) => home.join(rest),
                    None => text.into(),
                })
            };
            match name {
                "-c" | "--config" => line.config = path(),
                "--state-dir" => line.state_dir = path(),
                "-s" | "--state" | "--color" | "--progress" => drop(path()),
                _ if name.starts_with('-') => {}
                _ => arguments.push(word),
            }
        }
        line.account = arguments.into_iter().nth(2);
        line
    }
}

/// The completion code for zsh, changed so that `~/` at the beginning of a path stays as it is.
///
/// The code of clap passes `~/Mail` to zsh as a word, in which zsh quotes the tilde. So the part up
/// to `~/` is declared as a prefix, which zsh leaves as it is.
struct TildeZsh;

/// The line of clap's code before which the prefix is declared.
const BEFORE: &str = "        for completion in $completions; do\n";

/// Declares the prefix of a path below the home directory, and removes it from each completion.
const WITH_PREFIX: &str = r#"        local head=
        if [[ "$PREFIX" == (|-*=)\~/* ]]; then
            head="${PREFIX%%\~/*}~/"
            compset -p ${#head}
        fi
        for completion in $completions; do
            completion="${completion#"$head"}"
"#;

impl EnvCompleter for TildeZsh {
    fn name(&self) -> &'static str {
        Zsh.name()
    }

    fn is(&self, name: &str) -> bool {
        Zsh.is(name)
    }

    fn write_registration(
        &self,
        var: &str,
        name: &str,
        bin: &str,
        completer: &str,
        buf: &mut dyn io::Write,
    ) -> io::Result<()> {
        let mut code = Vec::new();
        Zsh.write_registration(var, name, bin, completer, &mut code)?;
        let code = String::from_utf8_lossy(&code).replace(BEFORE, WITH_PREFIX);
        buf.write_all(code.as_bytes())
    }

    fn write_complete(
        &self,
        cmd: &mut Command,
        args: Vec<OsString>,
        current_dir: Option<&Path>,
        buf: &mut dyn io::Write,
    ) -> io::Result<()> {
        Zsh.write_complete(cmd, args, current_dir, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_and_paths_are_found_among_options() {
        let parse = |line: &str| {
            let words = line.split(' ').map(OsString::from);
            CommandLine::parse(words, Path::new("/home/ann"))
        };
        let found = parse("pouch -c ~/x.toml ledger retry -s skipped work 3");
        assert_eq!(found.account.as_deref(), Some("work"));
        assert_eq!(found.config, Some("/home/ann/x.toml".into()));
        let found = parse("pouch ledger --state-dir=/tmp/s show");
        assert_eq!(found.account, None);
        assert_eq!(found.state_dir, Some("/tmp/s".into()));
    }

    #[test]
    fn code_for_zsh_declares_the_prefix() {
        let mut code = Vec::new();
        TildeZsh
            .write_registration("COMPLETE", "pouch", "pouch", "pouch", &mut code)
            .unwrap();
        let code = String::from_utf8(code).unwrap();
        assert_eq!(code.matches("compset -p").count(), 1, "{code}");
    }
}
