//! `pouch status`: shows the state of accounts from their ledgers, without connecting to a server.
//!
//! A transient failure that has not lasted for a day is shown, but `--problems` and the exit status
//! ignore it, as the reports of `pouch fetch` do. So a monitoring system alerts when cron would
//! send mail.

use serde_json::{Value, json};

use super::{
    CommandContext, CommandResult, args::Status as Args, fetch, plugin, print_json,
    sparklines::Sparklines, state::Status,
};
use crate::{
    config::Account,
    domain::{size::ByteSize, time::TimeSpan},
    error::Exit,
    fetch::env::RunEnv,
    ledger::{PastRun, Problem, State},
    report::{Colour, Level, complain, form, json, print_wrapped},
    text::{count, moment, sanitize},
};

pub(super) fn run(context: &CommandContext, args: &Args) -> CommandResult {
    let accounts = context.setup.known_accounts(&args.accounts.accounts);
    let mut accounts = accounts.map_err(|error| plugin::with_hint(error, args))?;
    args.shard.retain(&mut accounts);
    let env = fetch::env(context, &accounts)?;
    if let Some(limit) = args.check {
        let documents = checked(&accounts, &env, limit);
        return Ok(plugin::print(context, args, limit, documents)?);
    }
    let names = accounts.iter().map(|account| account.name.chars().count());
    let width = names.max().unwrap_or(0);
    let view = View {
        colour: context.stdout_colour(),
        width,
        runs: context.level >= Level::Verbose,
    };
    let sparklines = if context.global.json || context.level < Level::Normal {
        Sparklines::default()
    } else {
        Sparklines::read(context, &accounts, &env, width)
    };
    let mut exit = Exit::OK;
    let mut documents = Vec::new();
    for (index, account) in accounts.iter().enumerate() {
        let name = &account.name;
        match Status::read(account, &env) {
            Ok(status) => {
                if status.needs_action() {
                    exit = exit.worst(Exit::NONE);
                } else if args.problems {
                    continue;
                }
                if context.global.json {
                    documents.push(document(name, &status));
                } else if context.level >= Level::Normal {
                    print_wrapped(&view.lines(name, &sparklines.column(index), &status))?;
                }
            }
            Err(error) => {
                exit = exit.worst(error.kind().exit());
                if context.global.json {
                    documents.push(json!({ "account": name, "problem": json::error(&error) }));
                } else if context.level > Level::Silent {
                    complain(&form(Some(name), &error, context.colour));
                }
            }
        }
    }
    if context.global.json {
        print_json(&context.accounts_document(&documents))?;
    }
    Ok(exit)
}

/// Returns the documents of accounts with their health, for `--check`.
fn checked(accounts: &[Account], env: &RunEnv, limit: TimeSpan) -> Vec<Value> {
    let now = env.clock.now();
    let checked = |account: &Account| match Status::read(account, env) {
        Ok(status) => {
            let diagnosis = status.condition().assess(limit, now);
            plugin::with_diagnosis(document(&account.name, &status), &diagnosis)
        }
        Err(error) => json!({ "account": account.name, "problem": json::error(&error) }),
    };
    accounts.iter().map(checked).collect()
}

/// Returns the state of an account as a sentence.
pub(super) fn sentence(account: &str, status: &Status) -> String {
    let view = View {
        colour: Colour(false),
        width: 0,
        runs: false,
    };
    view.parts(account, status).join("; ")
}

/// The settings for displaying accounts.
struct View {
    colour: Colour,
    /// The width of the account names.
    width: usize,
    /// `true` to show the last runs as well.
    runs: bool,
}

impl View {
    /// Returns the lines of an account. `chart` is printed before its state.
    fn lines(&self, account: &str, chart: &str, status: &Status) -> String {
        let width = self.width;
        let parts = self.parts(account, status).join("; ");
        let mut text = format!("{account:width$}   {chart}{parts}\n");
        if self.runs {
            for run in &status.runs {
                let started = moment(run.started);
                let outcome = match (run.ended, status.running_since()) {
                    (None, Some(since)) if since == run.started => "running".into(),
                    (None, _) => "interrupted".into(),
                    _ => outcome(run, true),
                };
                text.push_str(&format!("{:width$}   {started}   {outcome}\n", ""));
            }
        }
        text
    }

    /// Returns the parts of the sentence about an account.
    fn parts(&self, account: &str, status: &Status) -> Vec<String> {
        let mut parts = self.condition(status);
        parts.extend(self.messages(account, status));
        if status.needs_sign_in {
            let text = format!("not signed in (`pouch login {account}`)");
            parts.push(self.colour.alarm(&text));
        }
        parts
    }

    /// Returns the current run, the problem and the last run of the account, as far as it has them.
    fn condition(&self, status: &Status) -> Vec<String> {
        let mut parts = Vec::new();
        let running = status.running_since();
        if let Some(since) = running {
            let text = format!("running since {}", moment(since));
            parts.push(self.colour.aside(&text));
        }
        // the last run that has ended
        let last = status.runs.iter().find(|run| run.ended.is_some());
        if let Some(Problem {
            what,
            since,
            reported,
        }) = status
            .problem
            .as_ref()
            .filter(|problem| running.is_none() || problem.reported)
        {
            let what = sanitize(what.as_bytes());
            let text = format!("failing since {}: {what}", moment(*since));
            parts.push(if *reported {
                self.colour.alarm(&text)
            } else {
                self.colour.caution(&text)
            });
        }
        if running.is_none() && status.was_interrupted() {
            let started = status.runs.first().map(|run| moment(run.started));
            let text = format!("last run {}, interrupted", started.unwrap_or_default());
            parts.push(self.colour.caution(&text));
        } else if let Some(run) = last {
            let text = outcome(run, status.problem.is_none());
            let comma = if text.is_empty() { "" } else { ", " };
            let text = format!("last run {}{comma}{text}", moment(run.started));
            parts.push(match run.exit {
                Some(0) => self.colour.good(&text),
                _ => text,
            });
        } else if parts.is_empty() {
            parts.push("never run".into());
        }
        parts
    }

    /// Returns the numbers of messages that were not delivered completely.
    fn messages(&self, account: &str, status: &Status) -> Vec<String> {
        let waiting = status.number(State::New) + status.number(State::Delivering);
        let truncated = status.number(State::Short);
        let quarantined = status.number(State::Quarantined);
        let mut parts = Vec::new();
        if waiting > 0 {
            parts.push(format!("{waiting} waiting"));
        }
        if truncated > 0 {
            parts.push(self.colour.caution(&format!("{truncated} truncated")));
        }
        if quarantined > 0 {
            let text = format!("{quarantined} quarantined");
            parts.push(format!(
                "{} (`pouch ledger list {account}`)",
                self.colour.caution(&text)
            ));
        }
        parts
    }
}

/// Returns the result of a run, including its problem if `with_problem` is true.
fn outcome(run: &PastRun, with_problem: bool) -> String {
    let tally = run.tally;
    let problem = run.problem.as_ref();
    let mut parts = Vec::new();
    if tally.delivered > 0 {
        let size = ByteSize::from_octets(tally.octets).rounded();
        parts.push(format!("{} new, {size}", tally.delivered));
    } else if run.exit == Some(0) || tally.failed > 0 {
        parts.push("nothing new".to_owned());
    } else if problem.is_none() {
        parts.push("nothing fetched".to_owned());
    }
    if tally.deleted > 0 {
        parts.push(format!("{} deleted", tally.deleted));
    }
    if tally.failed > 0 {
        parts.push(format!("{} failed", count(tally.failed, "message")));
    }
    if let Some(problem) = problem.filter(|_| with_problem) {
        parts.push(sanitize(problem.as_bytes()));
    }
    parts.join(", ")
}

/// Returns the state of an account as JSON.
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
    let problem = status.problem.as_ref();
    let totals = &status.history.totals;
    json!({
        "account": account,
        "running": status.running_since().is_some(),
        "needs_action": status.needs_action(),
        "needs_sign_in": status.needs_sign_in,
        "failing": problem.map(|problem| &problem.what),
        "problem_since": problem.map(|problem| problem.since.0),
        "last_run": status.runs.first().map(|run| run.started.0),
        "last_success": status.history.last_success.map(|at| at.0),
        "runs": runs,
        "messages": messages,
        "totals": {
            "runs": totals.runs,
            "failed_runs": totals.failed_runs,
            "seconds": totals.seconds,
            "delivered": totals.tally.delivered,
            "bytes": totals.tally.octets,
            "deleted": totals.tally.deleted,
            "failed": totals.tally.failed,
            "skipped": totals.tally.skipped,
        },
    })
}
