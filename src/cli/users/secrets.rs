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

/// The secrets by account. The run of the account reports an error.
pub(super) type Secrets = BTreeMap<String, Result<Secret>>;

/// Returns the secrets of `accounts` that their process cannot obtain. `is_other_user` is whether
/// the process runs as another user.
///
/// `prompted` are those that were prompted for in earlier rounds, or `None` in the first one. Later
/// rounds do not prompt, since all accounts would have to wait for the answer.
///
/// # Errors
/// The environment of a run cannot be determined.
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
        // it must not be read from a file that the user names
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
                // the process of the user reads them
                client_certificate: None,
                trust: Trust::System,
                ..account.clone()
            };
            (account.name.clone(), env.secret(&account))
        })
        .collect())
}

/// Returns whether a command connects to servers with the passwords of the config.
fn connects(command: &Command) -> bool {
    match command {
        Command::Fetch(args) => args.password_command.is_none(),
        Command::Plan(_)
        | Command::Check(_)
        | Command::Ledger(Ledger::Catchup(_) | Ledger::Adopt(_)) => true,
        _ => false,
    }
}

/// Returns whether this process obtains a secret, for a process of the same user or of another one.
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
