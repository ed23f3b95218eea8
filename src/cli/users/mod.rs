//! Accounts of several users, for a run of pouch by root (`deliver-as`).
//!
//! Root reads the config and the passwords that only root can read. The accounts of each user are
//! then run by a process of that user, as if the user had run pouch: with the user's own ledger,
//! files and programs. So whatever a user puts into a directory, pouch cannot be tricked into using
//! a file of root. This process only waits for the others, and combines their exit codes and JSON
//! documents.
//!
//! In a rejected design, root fetches the messages, and a process of the user delivers them. That
//! would require a protocol for every destination, for the search for interrupted deliveries and
//! for `sync-deletions`, and root would still read file names that the user chooses.

pub(super) mod account_user;
mod group;
pub(super) mod handover;
mod ledgers;
mod metrics;
mod outcome;
mod output;
mod process;
mod secrets;
mod selection;

use std::{ffi::OsString, time::Duration};

use group::{Groups, Round};
use handover::Handover;
use ledgers::Copies;
use metrics::Publisher;
use outcome::Outcome;
use output::Output;
use process::Order;
use selection::shard;
pub(super) use selection::{select, selected};

use super::{
    CommandContext, Failure, activity,
    args::{Command, Fetch, ShardOption},
    dirs, fetch, login,
    problem_reports::ProblemReports,
};
use crate::{
    error::{Exit, Result},
    report::json,
};

/// Runs a command other than `fetch` in processes of the users of its accounts. Returns `None` if
/// this process can run it itself.
///
/// # Errors
/// A process cannot be started, or the output cannot be written.
pub(super) fn run(
    context: &CommandContext,
    command: &Command,
    arguments: &[OsString],
) -> std::result::Result<Option<Exit>, Failure> {
    if let Some(copies) = ledgers::of(context, command)? {
        return run_with_paths(context, (command, arguments), &copies).map(Some);
    }
    let names = match command {
        // the account belongs to only one user
        Command::Login(args) if args.account.is_none() => vec![login::account(context, None)?.name],
        _ => match selected(command) {
            Some(names) => names,
            None => return Ok(None),
        },
    };
    let Some(groups) = divide(context, command, &names, false) else {
        return Ok(None);
    };
    check_command_line(context, command)?;
    let (handovers, failed) = groups.handovers(context, command, &Round::default());
    let mut outcome = Outcome::default();
    outcome.fail(context, &failed);
    let is_whole = handovers.len() == 1 && failed.is_empty();
    let output = Output::new(context, command, is_whole);
    let order = Order {
        arguments: output.arguments(arguments),
        merges: output.reads_documents(),
        one_by_one: true,
    };
    order.run(context, &handovers, &mut outcome)?;
    let exit = outcome.exit(false);
    let problems = if names.is_empty() {
        context.problems_exit()
    } else {
        Exit::OK
    };
    Ok(Some(output.write(
        context,
        outcome,
        problems.worst(exit),
    )?))
}

/// Runs `ledger backup` or `ledger restore` in processes, each with its own paths.
fn run_with_paths(
    context: &CommandContext,
    (command, arguments): (&Command, &[OsString]),
    copies: &Copies,
) -> std::result::Result<Exit, Failure> {
    let mut outcome = Outcome::default();
    context.print_problems(&copies.problems);
    let is_alone = copies.paths.len() == 1;
    let mut handovers = Vec::new();
    for (group, paths) in &copies.paths {
        let handover = group.handover(context, command, is_alone, &Round::default())?;
        handovers.push(Handover {
            paths: paths.clone(),
            ..handover
        });
    }
    let output = Output::new(context, command, is_alone);
    let order = Order {
        arguments: arguments.to_vec(),
        merges: output.reads_documents(),
        one_by_one: true,
    };
    order.run(context, &handovers, &mut outcome)?;
    let problems = copies.problems.iter();
    let problems = problems.map(|problem| problem.error.kind().exit());
    let exit = problems.fold(outcome.exit(false), Exit::worst);
    output.write(context, outcome, exit)
}

/// Fetches in processes of the users of the accounts, repeatedly with `--every`. Returns `None` if
/// this process can do that itself.
///
/// # Errors
/// As for [`run`].
pub(super) fn run_fetch(
    context: &mut CommandContext,
    (args, command): (&Fetch, &Command),
    arguments: &[OsString],
    reports: &mut ProblemReports,
) -> std::result::Result<Option<Exit>, Failure> {
    let mut publisher = Publisher::new(context, args, &args.accounts)?;
    let divided = divide(context, command, &args.accounts, publisher.is_active());
    let Some(mut groups) = divided else {
        return Ok(None);
    };
    check_command_line(context, command)?;
    let mut round = Round {
        is_repeated: args.every.is_some(),
        prompted: None,
    };
    loop {
        let (handovers, failed) = groups.handovers(context, command, &round);
        round.remember(&handovers);
        reports.add(failed);
        reports.report(context);
        let exit = run_round(context, (args, arguments), &handovers, &mut publisher)?;
        let exit = exit.worst(reports.exit());
        let exit = exit.worst(publisher.write(context, exit));
        let interval = args.every.map(Duration::from);
        if interval.is_none_or(|interval| context.stop.sleep(interval).is_err()) {
            if context.global.json {
                let clock = dirs::clock();
                json::Json { clock }.end(exit);
            }
            return Ok(Some(exit));
        }
        let usable = reports.read_again(context)?;
        publisher.refresh(context, args)?;
        groups = match usable {
            Some(usable) => groups_of(context, command, &usable),
            None => Groups::default(),
        };
    }
}

/// Returns whether processes of users have to fetch the accounts.
pub(super) fn are_needed(context: &CommandContext, args: &Fetch) -> bool {
    let has_metrics =
        context.handover.is_none() && (args.metrics.is_some() || context.setup.metrics().is_some());
    let command = Command::Fetch(args.clone());
    context.handover.is_none() && divide(context, &command, &args.accounts, has_metrics).is_some()
}

/// Returns the accounts of a command, divided by user, or `None` if this process can run all of
/// them. `has_metrics` is whether it writes metrics, which include all accounts.
fn divide(
    context: &CommandContext,
    command: &Command,
    names: &[String],
    has_metrics: bool,
) -> Option<Groups> {
    let scope = if has_metrics { &[] } else { names };
    if !context.setup.has_users(scope) {
        return None;
    }
    let groups = groups_of(context, command, names);
    let all = || Groups::new(context, &[], false, ShardOption::default());
    let are_own = groups.are_own() && (!has_metrics || all().are_own());
    (!are_own).then_some(groups)
}

/// Returns the accounts of a command, divided by user.
fn groups_of(context: &CommandContext, command: &Command, names: &[String]) -> Groups {
    let connects = matches!(command, Command::Fetch(_) | Command::Plan(_));
    Groups::new(context, names, connects, shard(command))
}

/// Runs a round in processes of the users. Returns its exit code.
fn run_round(
    context: &CommandContext,
    (args, arguments): (&Fetch, &[OsString]),
    handovers: &[Handover],
    publisher: &mut Publisher<'_>,
) -> Result<Exit> {
    publisher.started = dirs::clock().now();
    let mut outcome = Outcome::default();
    let order = Order {
        arguments: arguments.to_vec(),
        merges: false,
        one_by_one: args.to.as_deref() == Some("-"),
    };
    order.run(context, handovers, &mut outcome)?;
    Ok(outcome.exit(true))
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
