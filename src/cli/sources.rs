//! The sources of accounts: the config file, `conf.d`, and `accounts-command`.
//!
//! The command is run only if a command needs accounts that no file has.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    accounts_command::{self, StoredList},
    config_files::{self, Files, whole},
};
use crate::{
    config::{
        Account,
        list::{self, List, ListText},
        resolve::{self, ConfigDefaults, Problem, Resolved},
        toml::File,
    },
    error::{Error, Kind, Result},
    sys::interrupt::Interrupt,
    text::count,
};

/// A source of accounts besides the config file, for a process of another user.
#[derive(Debug, Serialize, Deserialize)]
pub enum HandedSource {
    /// A file in `conf.d`.
    Part {
        /// Its path.
        path: PathBuf,
        /// Its content.
        text: String,
    },
    /// Accounts that a command printed.
    List {
        /// The name of the output for messages.
        shown: String,
        /// The accounts as TOML, without passwords.
        text: String,
    },
}

impl Files {
    /// Reads the files that another process read. What is wrong in `conf.d` was reported by that
    /// process.
    ///
    /// # Errors
    /// The config file is not valid.
    pub fn handed(
        path: &Path,
        text: &str,
        sources: &[HandedSource],
        context: &ConfigDefaults,
    ) -> Result<Self> {
        let mut files = Self::new(File::parse(path, &context.home, text)?, context)?;
        for source in sources {
            let resolved = match source {
                HandedSource::Part { path, text } => {
                    let part = files.main.parse_part(path, &context.home, text)?;
                    resolve::resolve_part(&files.main, part, None, &mut files.taken, context)
                }
                HandedSource::List { shown, text } => {
                    let list = list::parse_stored(&files.main, shown, text)?;
                    resolve::resolve_part(&files.main, list.file, None, &mut files.taken, context)
                }
            };
            files.config.accounts.extend(resolved.accounts);
        }
        Ok(files)
    }

    /// Returns the accounts that the command prints. If it fails, these are the ones that it
    /// printed before: in this process, or else the stored ones.
    ///
    /// # Errors
    /// A signal ended the command.
    pub fn list(
        &self,
        argv: &[String],
        previous: Option<&Listed>,
        stored: &StoredList,
        (context, stop): (&ConfigDefaults, &Interrupt),
    ) -> Result<Listed> {
        let shown = accounts_command::shown(argv);
        let output = accounts_command::run(argv, stop);
        let listed = output
            .and_then(|output| list::parse(&self.main, &shown, &output))
            .and_then(|list| some_accounts(list, argv));
        let error = match listed {
            Ok(list) => return Ok(self.listed(list, context)),
            Err(error) if matches!(error.kind(), Kind::Stopped(_)) => return Err(error),
            Err(error) => error,
        };
        let (mut listed, when) = match previous.filter(|previous| !previous.accounts.is_empty()) {
            Some(previous) => (previous.clone(), "the last round in which it worked"),
            None => (
                self.stored_list(&shown, stored, context),
                "the last run in which it worked",
            ),
        };
        listed.is_current = false;
        let known = listed.accounts.len() as u64;
        let error = if known > 0 {
            error.with_fact(format!("using {} from {when}", count(known, "account")))
        } else {
            error.with_fact("there is no earlier list of its accounts")
        };
        let lost = listed.accounts.iter();
        let lost = lost.filter(|account| account.secret.is_lost()).count() as u64;
        let error = if lost > 0 {
            error.with_fact(format!(
                "accounts not fetched, since passwords are not stored: {lost}"
            ))
        } else {
            error
        };
        // the mistakes of the old list were reported with it
        listed.problems = vec![whole(error)];
        Ok(listed)
    }

    /// Returns the stored accounts, or none if they cannot be used.
    pub fn stored_list(
        &self,
        shown: &str,
        stored: &StoredList,
        context: &ConfigDefaults,
    ) -> Listed {
        let text = stored.read();
        let list = text.and_then(|text| list::parse_stored(&self.main, shown, &text).ok());
        list.map(|list| self.listed(list, context))
            .unwrap_or_default()
    }

    fn listed(&self, list: List, context: &ConfigDefaults) -> Listed {
        let mut taken = self.taken.clone();
        let Resolved { accounts, problems } =
            resolve::resolve_part(&self.main, list.file, None, &mut taken, context);
        Listed {
            accounts,
            problems: list.problems.into_iter().chain(problems).collect(),
            text: list.text,
            is_current: true,
        }
    }

    /// Returns the sources of the accounts with these names, for a process of another user.
    pub fn handed_sources(
        &self,
        names: &HashSet<&str>,
        list: Option<(&Listed, &[String])>,
    ) -> Vec<HandedSource> {
        let is_needed = |part: &&config_files::Part| {
            let mut accounts = part.accounts.iter();
            accounts.any(|account| names.contains(account.as_str()))
        };
        let parts = self.parts.iter().filter(is_needed);
        let parts = parts.map(|part| HandedSource::Part {
            path: part.path.clone(),
            text: part.text.as_str().to_owned(),
        });
        let list = list.map(|(listed, argv)| HandedSource::List {
            shown: accounts_command::shown(argv),
            text: listed.text.of(|name| names.contains(name)),
        });
        parts.chain(list).collect()
    }
}

/// Returns the list, or an error if it is empty, which is probably a mistake.
fn some_accounts(list: List, argv: &[String]) -> Result<List> {
    if list.text.is_empty() && list.problems.is_empty() {
        let what = format!("the {} has no accounts", accounts_command::shown(argv));
        return Err(Error::new(Kind::Config, what)
            .with_hint("if there are none any more, remove `accounts-command` from the config"));
    }
    Ok(list)
}

/// The accounts that a command printed.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// The valid ones.
    pub accounts: Vec<Account>,
    /// The other ones, or the failure of the command.
    pub problems: Vec<Problem>,
    /// All of them, as they are stored.
    pub text: ListText,
    /// Whether the command printed them now.
    pub is_current: bool,
}

/// Returns accounts by their names.
pub fn by_name<'a>(accounts: impl Iterator<Item = &'a Account>) -> HashMap<&'a str, &'a Account> {
    accounts
        .map(|account| (account.name.as_str(), account))
        .collect()
}
