//! `pouch status`: what the ledger knows, without asking any server.

use serde_json::{Value, json};

use super::{CommandContext, CommandResult, args::Accounts, fetch, print_json};
use crate::{
    config::{Account, overrides::Overrides},
    domain::{size::ByteSize, time::Timestamp},
    error::{Exit, Result},
    fetch::env::RunEnv,
    ledger::{PastRun, State},
    report::{Level, complain, form, json, print},
    text::{count, moment, sanitize},
};

/// How many runs `-v` shows.
const RUNS: u32 = 10;

/// What is known of an account.
#[derive(Default)]
struct Status {
    runs: Vec<PastRun>,
    counts: Vec<(State, u64)>,
    problem_since: Option<Timestamp>,
}

pub(super) fn run(context: &CommandContext, accounts: &Accounts) -> CommandResult {
    let accounts = context.setup.accounts(
        &accounts.accounts,
        &Overrides {
            no_delivery: true,
            ..Overrides::default()
        },
    )?;
    let env = fetch::env(context, &accounts);
    let width = accounts
        .iter()
        .map(|account| account.name.chars().count())
        .max()
        .unwrap_or(0);
    let mut exit = Exit::OK;
    let mut documents = Vec::new();
    for account in &accounts {
        match status(account, &env) {
            Ok(status) if context.global.json => documents.push(document(&account.name, &status)),
            Ok(status) => print(&lines(
                &account.name,
                width,
                &status,
                context.level >= Level::Verbose,
            ))?,
            Err(error) => {
                exit = exit.worst(error.kind().exit());
                if context.global.json {
                    documents
                        .push(json!({ "account": account.name, "problem": json::error(&error) }));
                } else {
                    complain(&form(Some(&account.name), &error, context.colour));
                }
            }
        }
    }
    if context.global.json {
        print_json(&json!({ "accounts": documents }))?;
    }
    Ok(exit)
}

fn status(account: &Account, env: &RunEnv) -> Result<Status> {
    let Some(ledger) = env.reader(account)? else {
        return Ok(Status::default());
    };
    Ok(Status {
        runs: ledger.past_runs(RUNS)?,
        counts: ledger.counts()?,
        problem_since: ledger.problem_since()?,
    })
}

fn lines(account: &str, width: usize, status: &Status, runs: bool) -> String {
    let mut parts = vec![match status.runs.first() {
        Some(run) => format!("last run {}, {}", moment(run.started), outcome(run)),
        None => "never run".into(),
    }];
    let number = |state| {
        status
            .counts
            .iter()
            .find(|(known, _)| *known == state)
            .map_or(0, |(_, number)| *number)
    };
    let waiting = number(State::New) + number(State::Delivering);
    if waiting > 0 {
        parts.push(format!("{waiting} waiting"));
    }
    if number(State::Short) > 0 {
        parts.push(format!("{} came shorter than listed", number(State::Short)));
    }
    if number(State::Quarantined) > 0 {
        parts.push(format!(
            "{} in quarantine (`pouch ledger list {account}`)",
            number(State::Quarantined)
        ));
    }
    if let Some(since) = status.problem_since {
        parts.push(format!("in trouble since {}", moment(since)));
    }
    let mut text = format!("{account:width$}   {}\n", parts.join("; "));
    if runs {
        for run in &status.runs {
            text.push_str(&format!(
                "{:width$}   {}   {}\n",
                "",
                moment(run.started),
                outcome(run)
            ));
        }
    }
    text
}

fn outcome(run: &PastRun) -> String {
    let tally = run.tally;
    let mut parts = Vec::new();
    match (run.ended, run.exit) {
        (None, None) => parts.push("under way, or killed".to_owned()),
        _ if tally.delivered > 0 => {
            parts.push(format!(
                "{} new, {}",
                tally.delivered,
                ByteSize::from_octets(tally.octets).rounded()
            ));
        }
        (_, Some(0)) => parts.push("nothing new".to_owned()),
        _ if tally.failed > 0 => parts.push("nothing new".to_owned()),
        // what stopped it is said below
        _ if run.problem.is_some() => {}
        _ => parts.push("nothing fetched".to_owned()),
    }
    if tally.deleted > 0 {
        parts.push(format!("{} deleted", tally.deleted));
    }
    if tally.failed > 0 {
        parts.push(format!("{} failed", count(tally.failed, "message")));
    }
    if let Some(problem) = &run.problem {
        parts.push(sanitize(problem.as_bytes()));
    }
    parts.join(", ")
}

fn document(account: &str, status: &Status) -> Value {
    let runs: Vec<_> = status
        .runs
        .iter()
        .map(|run| {
            json!({
                "started": run.started.0,
                "ended": run.ended.map(|at| at.0),
                "exit": run.exit,
                "delivered": run.tally.delivered,
                "bytes": run.tally.octets,
                "deleted": run.tally.deleted,
                "failed": run.tally.failed,
                "skipped": run.tally.skipped,
                "problem": run.problem,
            })
        })
        .collect();
    let messages: serde_json::Map<_, _> = status
        .counts
        .iter()
        .map(|(state, number)| (state.name().to_owned(), json!(number)))
        .collect();
    json!({ "account": account, "runs": runs, "messages": messages, "problem_since": status.problem_since.map(|at| at.0) })
}
