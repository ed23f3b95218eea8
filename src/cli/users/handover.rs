//! The input of a pouch process that another one starts to run some of the accounts.
//!
//! It is a JSON document on standard input, since it may have passwords, which must not be in
//! arguments or in the environment.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, Read},
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    cli::sources::HandedSource,
    error::{Error, Kind, Result},
    sys::{
        password::Secret,
        user::{self, User},
    },
};

/// The first argument of a process that gets a handover. It is not documented: only pouch uses it.
pub(super) const MARK: &str = "--handover";

/// A round of `--every`, whose timing is up to the process that starts the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoundNumber {
    /// The command is not repeated.
    Only,
    /// The first one.
    First,
    /// A later one.
    Later,
}

/// The input of the process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Handover {
    /// The user to switch to, or `None` to remain the same user.
    pub user: Option<User>,
    /// The path of the config file.
    pub config_path: OsString,
    /// The text of the config file.
    pub config: String,
    /// The other sources of the accounts.
    pub sources: Vec<HandedSource>,
    /// The directory of ledgers and locks, if it is not the user's own.
    pub state_dir: Option<OsString>,
    /// The names of the accounts to run, as on the command line.
    pub accounts: Vec<String>,
    /// The paths that replace those on the command line of `ledger backup` and `ledger restore`.
    pub paths: Vec<OsString>,
    /// The passwords that the user cannot read, by account.
    pub secrets: BTreeMap<String, Result<Secret>>,
    /// Which round of `--every` this is.
    pub round: RoundNumber,
    /// Whether no other process runs accounts at the same time.
    pub is_alone: bool,
    /// Whether standard input of the process that started this one is a terminal.
    pub has_terminal: bool,
    /// The ID of the process that started this one.
    pub parent: u32,
}

impl Handover {
    /// Returns the document.
    ///
    /// # Errors
    /// [`Kind::Bug`].
    pub fn document(&self) -> Result<Zeroizing<Vec<u8>>> {
        let document = serde_json::to_vec(self).map_err(|error| bug(&error.to_string()))?;
        Ok(Zeroizing::new(document))
    }

    /// Receives the handover, if the first of the arguments announces one, which is removed. From
    /// then on, the process has the rights of the handover's user.
    ///
    /// This must be called before threads are started.
    ///
    /// # Errors
    /// The handover cannot be read, or the process cannot switch to the user.
    pub fn receive(arguments: &mut Vec<OsString>) -> Result<Option<Self>> {
        if arguments.get(1).is_none_or(|first| first != MARK) {
            return Ok(None);
        }
        arguments.remove(1);
        let mut document = Zeroizing::new(Vec::new());
        io::stdin()
            .read_to_end(&mut document)
            .map_err(|error| bug(&error.to_string()))?;
        let handover: Self =
            serde_json::from_slice(&document).map_err(|error| bug(&error.to_string()))?;
        if let Some(user) = &handover.user {
            user.switch()?;
        }
        if user::end_with_parent(handover.parent) {
            Ok(Some(handover))
        } else {
            Err(bug("the process that started it has ended"))
        }
    }
}

fn bug(fact: &str) -> Error {
    Error::new(Kind::Bug, "cannot receive the accounts to run").with_fact(fact)
}
