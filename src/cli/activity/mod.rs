//! `pouch report`: what happened to the mail of accounts, from their ledgers, without connecting to
//! a server.

mod account;
mod retention;
mod runs;
mod senders;

use std::{ffi::OsStr, path::Path};

use serde_json::{Value, json};

use super::{CommandContext, CommandResult, Failure, args::Report as Args, fetch, print_json};
use crate::{
    domain::time::TimeSpan,
    error::{Error, Exit, Kind, Result},
    ledger::mailboxes::Catalog,
    report::{
        Level,
        activity::{
            data::{AccountReport, Report},
            page::page,
            text::text,
        },
        complain,
        days::DayRange,
        form, json, print, print_wrapped, watched,
    },
    sys::{files, owner},
    text::{day, tilde},
};

/// What fails in messages about the file.
const WRITE: &str = "write the report to";

/// The hint for a path that no file can be written to.
const OTHER_FILE: &str = "name another file, or `-` for standard output";

pub(super) fn run(context: &CommandContext, args: &Args) -> CommandResult {
    check(context, args)?;
    let accounts = context.setup.known_accounts(&args.accounts.accounts)?;
    let env = fetch::env(context, &accounts)?;
    let made = env.clock.now();
    let mut report = Report {
        made,
        period: DayRange::until(made, days(args)),
        accounts: Vec::new(),
    };
    let mut exit = Exit::OK;
    let headers = senders::share(accounts.len());
    let catalog = Catalog::new(&env.state_dir);
    for account in &accounts {
        let activity = account::activity(account, &env, &catalog, (&report.period, headers));
        if let Err(error) = &activity {
            if env.stop.signal().is_some() {
                return Err(error.clone().into());
            }
            exit = exit.worst(error.kind().exit());
            // the process that combines the reports displays it
            if context.level > Level::Silent && !context.global.json {
                complain(&form(Some(&account.name), error, context.colour));
            }
        }
        report.accounts.push(AccountReport {
            account: account.name.clone(),
            problem: activity.as_ref().err().map(json::error),
            activity: activity.ok(),
        });
    }
    write(context, args, &report)?;
    Ok(exit)
}

/// Writes the report of accounts that other processes have read, from their JSON documents.
///
/// # Errors
/// A document is not valid, or the report cannot be written.
pub(super) fn write_combined(
    context: &CommandContext,
    args: &Args,
    accounts: Vec<Value>,
) -> std::result::Result<(), Failure> {
    let made = super::dirs::clock().now();
    let accounts = accounts
        .into_iter()
        .map(serde_json::from_value)
        .collect::<serde_json::Result<Vec<AccountReport>>>()
        .map_err(|error| {
            Error::new(Kind::Bug, "cannot read the report of another process")
                .with_fact(error.to_string())
        })?;
    for account in &accounts {
        if let Some(error) = account.error().filter(|_| context.level > Level::Silent) {
            let error = Error::new(Kind::State, error);
            complain(&form(Some(&account.account), &error, context.colour));
        }
    }
    let report = Report {
        made,
        period: DayRange::until(made, days(args)),
        accounts,
    };
    write(context, args, &report)
}

/// Checks the options, and that the file can be written, before ledgers are read.
///
/// # Errors
/// [`Kind::Usage`] if two formats are requested; or the file is a directory, or something else that
/// cannot be replaced.
pub(super) fn check(context: &CommandContext, args: &Args) -> Result<()> {
    // a process that reads the accounts of a user writes JSON to the one that combines them
    if context.handover.is_some() {
        return Ok(());
    }
    if context.global.json && args.html.is_some() {
        return Err(
            Error::new(Kind::Usage, "--html and --json exclude each other")
                .with_hint("run `pouch report` once for each"),
        );
    }
    let Some(path) = args.html.as_deref().filter(|path| !is_stdout(path)) else {
        return Ok(());
    };
    owner::check_link(path)?;
    files::replaceable(path, WRITE)
        .map(drop)
        .map_err(|error| error.with_hint(OTHER_FILE))
}

fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == OsStr::new("-")
}

/// Returns the number of days that the report covers.
fn days(args: &Args) -> usize {
    let days = TimeSpan::from(args.last).seconds() / TimeSpan::from_days(1).seconds();
    usize::try_from(days).unwrap_or(usize::MAX)
}

fn write(
    context: &CommandContext,
    args: &Args,
    report: &Report,
) -> std::result::Result<(), Failure> {
    if context.global.json {
        print_json(&document(report))?;
        return Ok(());
    }
    let Some(path) = &args.html else {
        print_wrapped(&text(report))?;
        return Ok(());
    };
    let page = page(report);
    if is_stdout(path) {
        print(&page)?;
        return Ok(());
    }
    files::replace_private(path, WRITE, page.as_bytes())
        .map_err(|error| error.with_hint(OTHER_FILE))?;
    if watched() && context.level >= Level::Normal {
        let shown = tilde(path, &context.setup.dirs.home);
        complain(&format!("wrote the report to {shown}"));
    }
    Ok(())
}

/// Returns the report as JSON.
fn document(report: &Report) -> Value {
    let dates = report.period.dates();
    json!({
        "made": report.made.0,
        "from": dates.first().map(ToString::to_string),
        "to": dates.last().map_or_else(|| day(report.made), ToString::to_string),
        "accounts": report.accounts,
    })
}
