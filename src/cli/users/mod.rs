//! Accounts of several users, for a run of pouch by root (`deliver-as`).
//!
//! Root reads the config and the passwords that only root can read. The accounts of each user are
//! then run by a process of that user, as if the user had run pouch: with the user's own ledger,
//! files and programs. So nothing that pouch does in a directory of the user can reach a file of
//! root, whatever the user puts there. This process only waits for the others, and combines their
//! exit codes and JSON documents.
//!
//! A process of the user that delivers messages which root has fetched was rejected. It would need
//! a protocol for every destination, for the search for interrupted deliveries and for
//! `sync-deletions`, and root would still read names of files that the user chooses.

pub(super) mod account_user;
mod group;
pub(super) mod handover;
mod metrics;
mod outcome;
mod output;
mod process;
mod secrets;
mod selection;

use std::{ffi::OsString, time::Duration};

use rustix::process::geteuid;

use group::Groups;
use metrics::Publisher;
use outcome::Outcome;
use output::Output;
use process::{Order, Periodic};
use selection::{fetch_of, shard};
pub(super) use selection::{select, selected};

use super::{
    CommandContext, Failure, activity,
    args::{Command, Fetch, ShardOption},
    dirs, fetch,
    list_reports::ListReports,
    login,
};
use crate::{
    error::{Exit, Result},
    report::json,
};

/// A command for accounts of several users.
struct Request<'a> {
    command: &'a Command,
    /// The accounts that it names.
    names: &'a [String],
    /// Its command line.
    arguments: &'a [OsString],
}

/// Runs a command in processes of the users of its accounts. Returns `None` if this process can run
/// it itself.
///
/// # Errors
/// A process cannot be started, or the output cannot be written.
pub(super) fn run(
    context: &CommandContext,
    command: &Command,
    arguments: &[OsString],
) -> std::result::Result<Option<Exit>, Failure> {
    let names = match command {
        // only one user has that account
        Command::Login(args) if args.account.is_none() => vec![login::account(context, None)?.name],
        _ => match selected(command) {
            Some(names) => names,
            None => return Ok(None),
        },
    };
    let request = Request {
        command,
        names: &names,
        arguments,
    };
    let fetch = fetch_of(command);
    let mut publisher = Publisher::new(context, fetch, &names)?;
    // metrics have all accounts, also those of other users
    let scope = if publisher.is_active() {
        &[]
    } else {
        names.as_slice()
    };
    if !context.setup.has_users(scope) {
        return Ok(None);
    }
    // the accounts of the next round may be those of other users
    let interval = interval(context, fetch).filter(|_| geteuid().is_root());
    let mut lists = None;
    loop {
        let ended = once(context, &request, interval.is_some(), &mut publisher)?;
        let (Some(exit), Some(_)) = (ended, fetch) else {
            return Ok(ended);
        };
        let lists = lists.get_or_insert_with(|| ListReports::new(context, &names));
        if interval.is_none_or(|interval| context.stop.sleep(interval).is_err()) {
            if context.global.json {
                let clock = dirs::clock();
                json::Json { clock }.end(exit);
            }
            return Ok(Some(exit));
        }
        lists.refresh(context)?;
    }
}

/// Returns the time between two rounds, if this process has to read the accounts again before each.
fn interval(context: &CommandContext, fetch: Option<&Fetch>) -> Option<Duration> {
    let every = fetch?.every?;
    context.setup.has_list().then(|| every.into())
}

/// Runs a command once in processes of the users. Returns `None` if this process can run it itself,
/// unless it must not, because it `has_rounds`.
fn once(
    context: &CommandContext,
    request: &Request<'_>,
    has_rounds: bool,
    publisher: &mut Publisher<'_>,
) -> std::result::Result<Option<Exit>, Failure> {
    publisher.started = dirs::clock().now();
    let &Request { command, names, .. } = request;
    let connects = matches!(command, Command::Fetch(_) | Command::Plan(_));
    let Groups { groups, failed } = {
        let groups = Groups::new(context, names, connects, shard(command));
        let all = || Groups::new(context, &[], false, ShardOption::default());
        if !has_rounds && groups.are_own() && (!publisher.is_active() || all().are_own()) {
            return Ok(None);
        }
        groups
    };
    check_command_line(context, command)?;
    let fetch = fetch_of(command);
    let mut outcome = Outcome::default();
    for (name, error) in failed {
        outcome.fail(context, fetch, &name, &error);
    }
    let handovers = outcome.handovers(context, command, &groups, has_rounds);
    let is_whole = handovers.len() == 1 && outcome.accounts.is_empty();
    let output = Output::new(context, command, is_whole);
    let order = Order {
        arguments: output.arguments(request.arguments),
        merges: output.reads_documents(),
        one_by_one: fetch.is_none_or(|args| args.to.as_deref() == Some("-")),
    };
    let mut periodic = Periodic {
        every: publisher.every,
        act: &mut || {
            publisher.write(None);
        },
    };
    order.run(context, &handovers, &mut outcome, &mut periodic)?;
    let mut exit = outcome.exit(fetch.is_some());
    if names.is_empty() {
        exit = context.problems_exit().worst(exit);
    }
    let exit = exit.worst(publisher.write(Some(exit)));
    Ok(Some(output.write(context, outcome, exit)?))
}

/// Checks the command line, so that mistakes are not reported by each process.
///
/// # Errors
/// As for the command.
fn check_command_line(context: &CommandContext, command: &Command) -> Result<()> {
    match command {
        Command::Fetch(args) if !args.dry_run => fetch::selected(context, args).map(drop),
        Command::Report(args) if !context.global.json => activity::check(context, args),
        _ => Ok(()),
    }
}
