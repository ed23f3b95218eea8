//! The accounts of one user.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    io::{self, IsTerminal},
};

use super::{
    account_user,
    handover::{Handover, RoundNumber},
    secrets::{self, Secrets},
};
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

/// A round of `--every`, or a single run.
#[derive(Default)]
pub(super) struct Round {
    /// Whether the processes fetch once, and this process handles `--every`.
    pub is_repeated: bool,
    /// The secrets that were prompted for in earlier rounds. `None` in the first one.
    pub prompted: Option<Secrets>,
}

impl Round {
    fn number(&self) -> RoundNumber {
        match (self.is_repeated, &self.prompted) {
            (false, _) => RoundNumber::Only,
            (true, None) => RoundNumber::First,
            (true, Some(_)) => RoundNumber::Later,
        }
    }

    /// Keeps the secrets of the first round, so that later ones do not prompt again.
    pub fn remember(&mut self, handovers: &[Handover]) {
        if self.is_repeated && self.prompted.is_none() {
            let secrets = handovers.iter().flat_map(|handover| &handover.secrets);
            let secrets = secrets.map(|(name, secret)| (name.clone(), secret.clone()));
            self.prompted = Some(secrets.collect());
        }
    }
}

/// Accounts that one process runs.
pub(super) struct Group {
    /// Their user, or `None` for the user of this process.
    pub user: Option<User>,
    /// The accounts.
    pub accounts: Vec<Account>,
}

impl Group {
    /// Returns the handover for the process of the group. `is_alone` is whether there is no other
    /// group.
    ///
    /// # Errors
    /// The state directory of the user cannot be created.
    pub fn handover(
        &self,
        context: &CommandContext,
        command: &Command,
        is_alone: bool,
        round: &Round,
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
            paths: Vec::new(),
            secrets: secrets::of(
                context,
                command,
                &self.accounts,
                self.user.is_some(),
                round.prompted.as_ref(),
            )?,
            round: round.number(),
            is_alone,
            has_terminal: io::stdin().is_terminal(),
            parent: std::process::id(),
        })
    }

    /// Returns the user's subdirectory of the state directory that the command line or the config
    /// sets, and creates it if it is missing.
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
    /// there are no groups, and the command itself reports the error.
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

    /// Divides all accounts, including disabled ones. There are no groups if the config is not
    /// valid.
    pub fn all(context: &CommandContext) -> Self {
        Self::divide(context.setup.all_accounts().unwrap_or_default())
    }

    fn divide(accounts: Vec<Account>) -> Self {
        let mut groups: BTreeMap<Option<String>, Group> = BTreeMap::new();
        let mut failed = Vec::new();
        let mut users = HashMap::new();
        for account in accounts {
            // a user may have many accounts
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

    /// Returns the handover for the process of each group, and the accounts that cannot be run.
    pub fn handovers(
        self,
        context: &CommandContext,
        command: &Command,
        round: &Round,
    ) -> (Vec<Handover>, Vec<(String, Error)>) {
        let Self { groups, mut failed } = self;
        let is_alone = groups.len() == 1;
        let mut handovers = Vec::new();
        // the directories of users are created first, because another process could create their
        // parent
        for group in groups {
            match group.handover(context, command, is_alone, round) {
                Ok(handover) => handovers.push(handover),
                Err(error) => {
                    let names = group.accounts.into_iter().map(|account| account.name);
                    failed.extend(names.map(|name| (name, error.clone())));
                }
            }
        }
        (handovers, failed)
    }

    /// Returns whether this process can run all accounts.
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
