//! The passwords that this process obtains for the process of a user.

use std::collections::BTreeMap;

use crate::{
    cli::{
        CommandContext,
        args::{Command, Ledger},
        fetch,
    },
    config::{Account, Author, SecretSource, Trust},
    error::Result,
    sys::password::Secret,
};

/// Secrets by account. An error is reported by the run of the account.
pub(super) type Secrets = BTreeMap<String, Result<Secret>>;

/// Returns the secrets of `accounts` that their process cannot obtain. `is_other_user` says
/// whether the process has another user.
///
/// `prompted` are those that were prompted for in earlier rounds, or `None` in the first one. Later
/// rounds do not prompt, since all accounts would wait for the answer.
pub(super) fn of(
    context: &CommandContext,
    command: &Command,
    accounts: &[Account],
    is_other_user: bool,
    prompted: Option<&Secrets>,
) -> Result<Secrets> {
    if !connects(command) {
        return Ok(BTreeMap::new());
    }
    let env = fetch::env(context, &[])?;
    let needed = accounts.iter().filter(|account| {
        // it must not come from a file that the user names
        let is_trusted = account.author != Author::User;
        is_trusted && is_needed(&account.secret, is_other_user)
    });
    Ok(needed
        .map(|account| {
            if let (Some(prompted), SecretSource::Prompt) = (prompted, &account.secret) {
                let known = prompted.get(&account.name).cloned();
                let secret = known.unwrap_or_else(|| Err(fetch::not_prompted(account)));
                return (account.name.clone(), secret);
            }
            let account = Account {
                // the user reads them
                client_certificate: None,
                trust: Trust::System,
                ..account.clone()
            };
            (account.name.clone(), env.secret(&account))
        })
        .collect())
}

/// Returns whether a command connects to servers, and takes the passwords from the config.
fn connects(command: &Command) -> bool {
    match command {
        Command::Fetch(args) => args.password_command.is_none(),
        Command::Plan(_)
        | Command::Check(_)
        | Command::Ledger(Ledger::Catchup(_) | Ledger::Adopt(_)) => true,
        _ => false,
    }
}

/// Returns whether a secret is obtained by this process, for a process of another user or of the
/// same one.
fn is_needed(secret: &SecretSource, is_other_user: bool) -> bool {
    match secret {
        SecretSource::Command(_)
        | SecretSource::TokenCommand(_)
        | SecretSource::OAuth(_)
        | SecretSource::Certificate => false,
        SecretSource::Prompt | SecretSource::Given(_) => true,
        SecretSource::File(_) | SecretSource::Credential(_) => is_other_user,
    }
}
