//! The result of reading the files of another program.

use std::path::{Path, PathBuf};

use super::{
    account::{Account, Line, LineKind, line},
    program::Program,
};

/// The longest file that is read, in bytes.
pub const LONGEST: u64 = 16 << 20;

/// The most accounts that are imported at once. Parsers inherit options from one account to the
/// next, which takes the square of the time.
pub(super) const MOST_ACCOUNTS: usize = 500;

/// Reads another file that a config names. Returns `None` if it cannot be read.
type ReadFile<'a> = &'a dyn Fn(&Path) -> Option<Vec<u8>>;

/// The context of a parser.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The path of the file.
    pub path: &'a Path,
    /// The home directory.
    pub home: &'a Path,
    /// The login name of the user on this machine.
    pub login: &'a str,
    /// Reads included files.
    pub read: ReadFile<'a>,
}

impl Context<'_> {
    /// Returns the path that `text` means: `~` is the home directory, and a relative path starts
    /// there.
    pub fn expand(&self, text: &str) -> PathBuf {
        match text
            .strip_prefix('~')
            .map(|rest| rest.trim_start_matches('/'))
        {
            Some(rest) => self.home.join(rest),
            None => self.home.join(text),
        }
    }

    /// Returns the path of a file next to this one.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }
}

/// A part of a file that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path of the file.
    pub path: PathBuf,
    /// The line and the column, both counted from 1. `None` if the whole file is meant.
    pub at: Option<(usize, usize)>,
    /// What is wrong.
    pub what: String,
}

/// The content of a config of another program.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// The accounts, including those that cannot be used.
    pub accounts: Vec<Account>,
    /// Lines about options that belong to no account.
    pub general: Vec<Line>,
    /// Parts that were not understood. The rest of the file was used.
    pub problems: Vec<Problem>,
}

impl Imported {
    /// Adds the content of another file.
    pub fn append(&mut self, other: Self) {
        self.accounts.extend(other.accounts);
        self.general.extend(other.general);
        self.problems.extend(other.problems);
    }

    /// Adds a line that other users can read the passwords in the file at `shown`.
    pub fn note_readable(&mut self, shown: &str) {
        let advice =
            format!("other users can read the passwords in {shown}: run `chmod go= {shown}`");
        let line = line(LineKind::LeftOut, 0, "permissions", advice);
        self.general.push(line);
    }

    /// Adds a line that the program may be running, because the file `mark` exists.
    pub fn note_running(&mut self, program: Program, mark: &str) {
        let advice = format!("{program} may be running ({mark}): close it and import again");
        let line = line(LineKind::LeftOut, 0, "running program", advice);
        self.general.push(line);
    }

    pub(super) fn problem(
        &mut self,
        context: &Context<'_>,
        at: (usize, usize),
        what: impl Into<String>,
    ) {
        let at = Some(at);
        let path = context.path.to_owned();
        let what = what.into();
        // a file of another kind would have one in each line
        if self.problems.len() < 100 {
            self.problems.push(Problem { path, at, what });
        }
    }

    /// Completes the accounts of the file at `path`.
    pub(super) fn finish(mut self, path: &Path) -> Self {
        if self.accounts.len() > MOST_ACCOUNTS {
            self.accounts.truncate(MOST_ACCOUNTS);
            self.problems.push(Problem {
                path: path.to_owned(),
                at: None,
                what: format!("more than {MOST_ACCOUNTS} accounts"),
            });
        }
        for account in &mut self.accounts {
            path.clone_into(&mut account.path);
            account.complete();
            if !self.problems.is_empty() {
                account.keep_in_doubt();
            }
        }
        self
    }

    /// Gives accounts whose name is taken another one.
    pub fn rename(&mut self, taken: &[String]) {
        let mut taken = taken.to_vec();
        for account in self
            .accounts
            .iter_mut()
            .filter(|account| !account.is_unusable)
        {
            account.rename(&taken);
            taken.push(account.name.clone());
        }
    }
}
