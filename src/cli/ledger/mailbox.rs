//! The mailboxes that a command about whole ledgers is given.

use super::{CommandContext, account};
use crate::{
    error::{Error, Kind, Result},
    fetch::env::RunEnv,
    ledger::mailboxes::{self, KnownMailbox},
    text::sanitize,
};

/// A mailbox with a ledger.
pub(super) struct Chosen {
    /// The name that the user gave: that of an account, or of the mailbox.
    pub(super) name: String,
    pub(super) mailbox: KnownMailbox,
    pub(super) env: RunEnv,
}

/// Returns the environment for a command without accounts.
pub(super) fn env(context: &CommandContext) -> Result<RunEnv> {
    crate::cli::fetch::env(context, &[])
}

/// Returns the mailbox of the account `name` or, if the config has no such account, the one with
/// this name or address, or which an account of this name used last.
///
/// # Errors
/// There is no such account or mailbox, or it has no ledger.
pub(super) fn find(context: &CommandContext, name: &str) -> Result<Chosen> {
    match account(context, name) {
        Ok((account, env)) => {
            let file = env.offline_file(&account)?;
            let (known, failed) = mailboxes::all(&env.state_dir)?;
            let found = known.into_iter().find(|known| known.file == file);
            let Some(mailbox) = found else {
                return Err(failed.unwrap_or_else(|| no_ledger(&account.name)));
            };
            Ok(Chosen {
                name: name.to_owned(),
                mailbox,
                env,
            })
        }
        Err(error) => forgotten(context, name, error),
    }
}

/// Returns the error for an account without a ledger.
fn no_ledger(account: &str) -> Error {
    Error::new(
        Kind::Usage,
        format!("account `{account}` has no ledger yet"),
    )
    .with_hint(format!("`pouch fetch {account}` creates it"))
}

/// Returns the mailbox with this name or address, or which an account of this name used last.
/// `error` says that the config has no such account.
fn forgotten(context: &CommandContext, name: &str, error: Error) -> Result<Chosen> {
    let env = env(context)?;
    let (known, failed) = mailboxes::all(&env.state_dir)?;
    let by_name = |known: &&KnownMailbox| known.is_called(name);
    let by_account = |known: &&KnownMailbox| {
        let last = known.addresses.first();
        last.is_some_and(|(_, account)| account == name)
    };
    let mut found: Vec<_> = known.iter().filter(by_name).collect();
    if found.is_empty() {
        found = known.iter().filter(by_account).collect();
    }
    match found[..] {
        [mailbox] => Ok(Chosen {
            name: name.to_owned(),
            mailbox: mailbox.clone(),
            env,
        }),
        [] => {
            if let Some(failed) = failed {
                return Err(failed);
            }
            let titles = known.iter().map(|known| sanitize(known.title().as_bytes()));
            let titles = titles.collect::<Vec<_>>().join(", ");
            let error = with_user_hint(context, name, error);
            Err(match (error.kind(), titles.as_str()) {
                (Kind::Usage, "") => error.with_fact("there is no ledger of that name either"),
                (Kind::Usage, titles) => error.with_fact(format!("there are ledgers of {titles}")),
                _ => error,
            })
        }
        [..] => {
            let error = Error::new(
                Kind::Usage,
                format!("several mailboxes are called `{name}`"),
            );
            let titles = found.iter().map(|known| sanitize(known.title().as_bytes()));
            Err(titles
                .fold(error, Error::with_fact)
                .with_hint("name one of them by its address"))
        }
    }
}

/// Adds a hint to the error about an account that is not in the config: the ledger may belong to
/// another user, whose directories root does not search.
fn with_user_hint(context: &CommandContext, name: &str, error: Error) -> Error {
    let is_unknown = error.kind() == Kind::Usage;
    if !is_unknown || context.handover.is_some() || !context.setup.has_users(&[]) {
        return error;
    }
    let state_dir = context.setup.explicit_state_dir();
    let option = state_dir.map(|dir| format!("--state-dir {}/USER ", dir.display()));
    error.with_hint(format!(
        "for a ledger of another user, run `runuser -u USER -- pouch {}ledger COMMAND {name}`",
        option.unwrap_or_default()
    ))
}
