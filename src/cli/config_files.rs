//! The config file and the files in `conf.d`.
//!
//! They are read again before each round of `--every`. A file that is no longer valid must not stop
//! accounts that were fetched before, so its last valid version stays in use: the whole file, even
//! if only one of its accounts has a mistake. Keeping only that account was rejected, since
//! accounts of one file would then have settings from different versions.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use crate::{
    config::{
        Config, Taken,
        conf_d::{self, Content},
        resolve::{self, ConfigDefaults, Problem, Resolved},
        toml::{File, SharedText},
    },
    error::{Error, Result},
    sys::user::User,
};

/// The fact about a source whose last valid version is used.
const KEPT: &str = "its last valid version is still in use";

/// A file in `conf.d` with its resolved accounts.
#[derive(Clone)]
pub struct Part {
    /// Its path.
    pub path: PathBuf,
    /// Its text.
    pub text: SharedText,
    owner: Option<String>,
    /// The accounts of other users, to whose processes the file is passed.
    pub accounts: HashSet<String>,
    /// Whether the file has no mistakes.
    is_valid: bool,
}

impl Part {
    fn content(&self) -> Content {
        Content {
            text: self.text.as_str().to_owned(),
            owner: self.owner.clone(),
        }
    }

    /// Returns whether a file has the same path and content.
    fn is_same(&self, other: &conf_d::Part) -> bool {
        let content = other.content.as_ref();
        content
            .is_ok_and(|content| content.text == self.text.as_str() && content.owner == self.owner)
    }
}

fn by_path(parts: &[Part]) -> HashMap<&Path, &Part> {
    parts
        .iter()
        .map(|part| (part.path.as_path(), part))
        .collect()
}

/// The accounts of the config files.
#[derive(Clone)]
pub struct Files {
    /// The config file, without its accounts.
    pub main: File,
    /// The number of its accounts.
    main_accounts: usize,
    /// The files in `conf.d`.
    pub parts: Vec<Part>,
    /// The settings of the config file, with the accounts of all files.
    pub config: Config,
    /// The mistakes in `conf.d`, and in a config file whose last valid version is used.
    pub problems: Vec<Problem>,
    /// The accounts that are defined, so that other sources cannot define them again.
    pub taken: Taken,
}

impl Files {
    /// Reads the config file at `path` and the files in `conf.d`.
    ///
    /// # Errors
    /// The config file is not valid.
    pub fn read(path: &Path, context: &ConfigDefaults) -> Result<Self> {
        let main = File::read(path, &context.home)?;
        let mut files = Self::new(main, context)?;
        let parts = conf_d::read(path, &context.home, &User::name_of);
        files.add_parts(parts, &[], context);
        if files.is_empty() {
            return Err(resolve::no_accounts(&files.main));
        }
        Ok(files)
    }

    /// Reads the files again. Returns `None` if none has changed.
    ///
    /// The last valid version of a file is used in place of one with a mistake. A config without
    /// accounts is treated as a mistake.
    pub fn read_again(&self, path: &Path, context: &ConfigDefaults) -> Option<Self> {
        let home = &context.home;
        let is_current = self.main.is_current(path, home);
        let parts = conf_d::read(path, home, &User::name_of);
        if is_current && self.problems.is_empty() && self.has_parts(&parts) {
            return None;
        }
        let main = if is_current {
            Ok(self.without_parts())
        } else {
            File::read(path, home).and_then(|main| Self::new(main, context))
        };
        let (mut files, error) = match main {
            Ok(files) => (files, None),
            Err(error) => (self.without_parts(), Some(error)),
        };
        files.add_parts(parts, &self.parts, context);
        if files.is_empty() {
            let error = resolve::no_accounts(&files.main);
            files = self.clone();
            files.problems = vec![whole(error.with_fact(KEPT))];
        }
        let main_problem = error.map(|error| whole(error.with_fact(KEPT)));
        files.problems.splice(0..0, main_problem);
        Some(files)
    }

    /// Returns the config file without the files in `conf.d`.
    fn without_parts(&self) -> Self {
        let mut files = self.clone();
        files.config.accounts.truncate(self.main_accounts);
        files.taken.truncate(self.main_accounts);
        files.parts.clear();
        files.problems.clear();
        files
    }

    /// Returns whether these are the files in `conf.d`.
    fn has_parts(&self, parts: &Result<Vec<conf_d::Part>>) -> bool {
        let Ok(parts) = parts else {
            return false;
        };
        let known = by_path(&self.parts);
        let is_known = |part: &conf_d::Part| {
            let known = known.get(part.path.as_path());
            known.is_some_and(|known| known.is_same(part))
        };
        parts.len() == self.parts.len() && parts.iter().all(is_known)
    }

    /// Returns whether no account is defined, not even an invalid one.
    fn is_empty(&self) -> bool {
        self.config.accounts.is_empty()
            && self.problems.is_empty()
            && self.config.accounts_command.is_none()
    }

    /// Resolves the config file.
    ///
    /// # Errors
    /// It is not valid.
    pub fn new(mut main: File, context: &ConfigDefaults) -> Result<Self> {
        let (config, taken) = resolve::resolve_main(&mut main, context)?;
        Ok(Self {
            main,
            main_accounts: config.accounts.len(),
            parts: Vec::new(),
            config,
            problems: Vec::new(),
            taken,
        })
    }

    /// Adds the files in `conf.d`. For a file that cannot be used, the `earlier` version is added.
    fn add_parts(
        &mut self,
        parts: Result<Vec<conf_d::Part>>,
        earlier: &[Part],
        context: &ConfigDefaults,
    ) {
        let earlier = by_path(earlier);
        let parts = parts.unwrap_or_else(|error| {
            let is_kept = !earlier.is_empty();
            self.add_problem(error, is_kept);
            let mut kept: Vec<_> = earlier.values().collect();
            kept.sort_by(|one, other| one.path.cmp(&other.path));
            let content = |part: &&&Part| conf_d::Part {
                path: part.path.clone(),
                content: Ok(part.content()),
            };
            kept.iter().map(content).collect()
        });
        let mut readable = Vec::new();
        for part in parts {
            let earlier = earlier.get(part.path.as_path()).copied();
            match part.content {
                Ok(content) => readable.push((part.path, content, earlier)),
                Err(error) => {
                    self.add_problem(error, earlier.is_some());
                    let kept = earlier.map(|earlier| (part.path, earlier.content(), Some(earlier)));
                    readable.extend(kept);
                }
            }
        }
        // accounts of other users come last, so they cannot take the name of one of root's accounts
        readable.sort_by_key(|(_, content, _)| content.owner.is_some());
        for (path, content, earlier) in readable {
            self.add_part(
                &path,
                content,
                earlier.filter(|part| part.is_valid),
                context,
            );
        }
    }

    /// Adds the accounts of a file in `conf.d`, or of its last `valid` version if it has a mistake.
    fn add_part(
        &mut self,
        path: &Path,
        content: Content,
        valid: Option<&Part>,
        context: &ConfigDefaults,
    ) {
        let before = self.taken.len();
        let (mut resolved, mut part) = self.resolve(path, content, context);
        if let Some(valid) = valid
            && !resolved.problems.is_empty()
        {
            let problems = resolved.problems.into_iter().map(|problem| Problem {
                error: problem.error.with_fact(KEPT),
                ..problem
            });
            self.problems.extend(problems);
            self.taken.truncate(before);
            (resolved, part) = self.resolve(path, valid.content(), context);
            // conflicts of the last valid version with other files are not reported
            resolved.problems.clear();
            part = part.map(|part| Part {
                is_valid: true,
                ..part
            });
        }
        self.config.accounts.extend(resolved.accounts);
        self.problems.extend(resolved.problems);
        self.parts.extend(part);
    }

    /// Resolves the accounts of a file in `conf.d`. Returns no part if the file as a whole is not
    /// valid.
    fn resolve(
        &mut self,
        path: &Path,
        Content { text, owner }: Content,
        context: &ConfigDefaults,
    ) -> (Resolved, Option<Part>) {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let file = match self.main.parse_part(&absolute, &context.home, &text) {
            Ok(file) => file,
            Err(error) => {
                let resolved = Resolved {
                    accounts: Vec::new(),
                    problems: vec![whole(error)],
                };
                return (resolved, None);
            }
        };
        let text = file.shared_text();
        let resolved =
            resolve::resolve_part(&self.main, file, owner.as_deref(), &mut self.taken, context);
        let of_users = resolved.accounts.iter();
        let of_users = of_users.filter(|account| account.deliver_as.is_some());
        let part = Part {
            path: path.to_owned(),
            text,
            owner,
            accounts: of_users.map(|account| account.name.clone()).collect(),
            is_valid: resolved.problems.is_empty(),
        };
        (resolved, Some(part))
    }

    /// Adds a mistake that concerns a whole file. With `is_kept`, its last valid version is used.
    fn add_problem(&mut self, error: Error, is_kept: bool) {
        let error = if is_kept {
            error.with_fact(KEPT)
        } else {
            error
        };
        self.problems.push(whole(error));
    }

    /// Returns the text of the config file.
    pub fn text(&self) -> &str {
        self.main.text()
    }

    /// Returns the directory of the ledger and the locks, if the config sets it.
    pub fn state_dir(&self, context: &ConfigDefaults) -> Option<PathBuf> {
        let is_set = self.main.top.state_dir.is_some();
        is_set.then(|| resolve::state_dir(&self.main, context))
    }
}

/// Returns a problem that concerns a whole source of accounts.
pub fn whole(error: Error) -> Problem {
    Problem {
        account: None,
        error,
    }
}
