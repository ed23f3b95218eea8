//! The accounts of one user.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    io::{self, IsTerminal},
};

use super::{account_user, handover::Handover, secrets};
use crate::{
    cli::{
        CommandContext,
        args::{Command, ShardOption},
    },
    config::{Account, overrides::Overrides},
    error::{Error, Result},
    sys::{owner, user::User},
    text::tilde,
};

/// Accounts that one process runs.
pub(super) struct Group {
    /// Their user, or `None` for the user of this process.
    pub user: Option<User>,
    /// The accounts.
    pub accounts: Vec<Account>,
}

impl Group {
    /// Returns what the process of the group gets. `is_alone` says whether there is no other group,
    /// and `is_round` whether the process fetches once and this one takes care of `--every`.
    ///
    /// # Errors
    /// The state directory of the user cannot be created.
    pub fn handover(
        &self,
        context: &CommandContext,
        command: &Command,
        is_alone: bool,
        is_round: bool,
    ) -> Result<Handover> {
        let setup = &context.setup;
        let path = std::path::absolute(&setup.path);
        let state_dir = self.state_dir(context)?;
        let names = self.accounts.iter().map(|account| account.name.as_str());
        Ok(Handover {
            user: self.user.clone(),
            config_path: path.unwrap_or_else(|_| setup.path.clone()).into(),
            config: setup.text().unwrap_or_default().to_owned(),
            sources: setup.handed_sources(&names.clone().collect())?,
            state_dir,
            accounts: names.map(str::to_owned).collect(),
            secrets: secrets::of(context, command, &self.accounts, self.user.is_some())?,
            is_round,
            is_alone,
            has_terminal: io::stdin().is_terminal(),
            parent: std::process::id(),
        })
    }

    /// Returns the user's directory in the state directory that the command line or the config sets.
    /// It is created if it is missing.
    fn state_dir(&self, context: &CommandContext) -> Result<Option<OsString>> {
        let (Some(user), Some(dir)) = (&self.user, context.setup.explicit_state_dir()) else {
            return Ok(None);
        };
        let shown = tilde(&dir, &context.setup.dirs.home);
        owner::check_directory(&dir, &shown)?;
        Ok(Some(user.create_dir(&dir, &shown)?.into()))
    }
}

/// The accounts of a command, divided by user.
#[derive(Default)]
pub(super) struct Groups {
    /// The groups, that of this process first.
    pub groups: Vec<Group>,
    /// The accounts that cannot be run.
    pub failed: Vec<(String, Error)>,
}

impl Groups {
    /// Divides the accounts with these names, or all enabled ones. If the accounts are not valid,
    /// there are none: the command itself reports that.
    ///
    /// With `connects`, accounts without a known password are left out, unless they are named.
    pub fn new(
        context: &CommandContext,
        names: &[String],
        connects: bool,
        shard: ShardOption,
    ) -> Self {
        let overrides = Overrides {
            no_delivery: true,
            ..Overrides::default()
        };
        let Ok(mut accounts) = context.setup.accounts(names, &overrides) else {
            return Self::default();
        };
        shard.retain(&mut accounts);
        if connects && names.is_empty() {
            accounts.retain(|account| !account.secret.is_lost());
        }
        Self::divide(accounts)
    }

    fn divide(accounts: Vec<Account>) -> Self {
        let mut groups: BTreeMap<Option<String>, Group> = BTreeMap::new();
        let mut failed = Vec::new();
        let mut users = HashMap::new();
        for account in accounts {
            // there may be many accounts of one user
            let found = users
                .entry(account.deliver_as.clone())
                .or_insert_with(|| account_user::of(&account));
            match found.clone() {
                Ok(user) => groups
                    .entry(user.as_ref().map(|user| user.name.clone()))
                    .or_insert_with(|| Group {
                        user,
                        accounts: Vec::new(),
                    })
                    .accounts
                    .push(account),
                Err(error) => failed.push((account.name, error)),
            }
        }
        Self {
            groups: groups.into_values().collect(),
            failed,
        }
    }

    /// Returns whether this process can run all of them.
    pub fn are_own(&self) -> bool {
        self.failed.is_empty() && self.groups.iter().all(|group| group.user.is_none())
    }

    /// Returns the names of all accounts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let accounts = self.groups.iter().flat_map(|group| &group.accounts);
        let failed = self.failed.iter().map(|(name, _)| name.as_str());
        accounts.map(|account| account.name.as_str()).chain(failed)
    }

    /// Adds other accounts.
    pub fn extend(&mut self, more: Self) {
        self.groups.extend(more.groups);
        self.failed.extend(more.failed);
    }
}
