//! The accounts of a command.

use std::path::PathBuf;

use super::handover::Handover;
use crate::cli::args::{Command, Fetch, Ledger, ShardOption};

/// Replaces the accounts and paths of a command with those of a handover.
pub(in crate::cli) fn select(command: &mut Command, handover: &Handover) {
    let names = handover.accounts.as_slice();
    let mut paths = handover.paths.iter().map(PathBuf::from);
    let accounts = match command {
        Command::Fetch(args) => {
            args.every = None;
            &mut args.accounts
        }
        Command::Plan(args) => &mut args.accounts.accounts,
        Command::Check(args) => &mut args.accounts,
        Command::Status(args) => &mut args.accounts.accounts,
        Command::Report(args) => &mut args.accounts.accounts,
        Command::Ledger(Ledger::List { accounts, .. } | Ledger::Verify(accounts)) => {
            &mut accounts.accounts
        }
        Command::Ledger(Ledger::Backup(args)) => {
            args.path = paths.next().unwrap_or(std::mem::take(&mut args.path));
            &mut args.accounts
        }
        Command::Ledger(Ledger::Restore(args)) => {
            args.paths = paths.collect();
            return;
        }
        Command::Login(args) => {
            args.account = names.first().cloned();
            return;
        }
        Command::Init(_)
        | Command::Import(_)
        | Command::Ledger(_)
        | Command::Config(_)
        | Command::Completions { .. } => return,
    };
    *accounts = names.to_vec();
}

/// Returns the accounts on the command line of a command, or `None` if the command uses no account.
pub(in crate::cli) fn selected(command: &Command) -> Option<Vec<String>> {
    Some(match command {
        Command::Fetch(args) => args.accounts.clone(),
        Command::Plan(args) => args.accounts.accounts.clone(),
        Command::Check(args) => args.accounts.clone(),
        Command::Status(args) => args.accounts.accounts.clone(),
        Command::Report(args) => args.accounts.accounts.clone(),
        Command::Ledger(Ledger::List { accounts, .. } | Ledger::Verify(accounts)) => {
            accounts.accounts.clone()
        }
        Command::Ledger(Ledger::Show(args) | Ledger::Forget(args) | Ledger::Delete(args)) => {
            vec![args.account.clone()]
        }
        Command::Ledger(Ledger::Retry(args)) => vec![args.account.clone()],
        Command::Ledger(Ledger::Catchup(args)) => vec![args.account.clone()],
        Command::Ledger(Ledger::Adopt(args)) => vec![args.account.clone()],
        Command::Ledger(Ledger::Backup(args)) if args.accounts.is_empty() => return None,
        Command::Ledger(Ledger::Backup(args)) => args.accounts.clone(),
        Command::Ledger(Ledger::Export(args)) => vec![args.account.clone()],
        Command::Ledger(Ledger::Drop(args)) => vec![args.account.clone()],
        Command::Login(args) => args.account.iter().cloned().collect(),
        Command::Init(_)
        | Command::Import(_)
        | Command::Config(_)
        | Command::Ledger(Ledger::Restore(_))
        | Command::Completions { .. } => return None,
    })
}

/// Returns the shard on the command line of a command.
pub(super) fn shard(command: &Command) -> ShardOption {
    match command {
        Command::Fetch(args) => args.shard,
        Command::Plan(args) => args.shard,
        Command::Status(args) => args.shard,
        _ => ShardOption::default(),
    }
}

/// Returns the options of a command that fetches.
pub(super) fn fetch_of(command: &Command) -> Option<&Fetch> {
    match command {
        Command::Fetch(args) if !args.dry_run => Some(args),
        _ => None,
    }
}
