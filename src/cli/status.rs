//! `pouch status`: shows the state of accounts from their ledgers, without connecting to a server.
//!
//! A transient failure that has not lasted for a day is shown, but `--problems` and the exit status
//! ignore it, as the reports of `pouch fetch` do. So a monitoring system alerts when cron would
//! send mail.

use serde_json::{Value, json};

use super::{CommandContext, CommandResult, args::Status as Args, fetch, print_json};
use crate::{
    config::Account,
    domain::{size::ByteSize, time::Timestamp},
    error::{Exit, Result},
    fetch::{env::RunEnv, tokens},
    ledger::{PastRun, Problem, Reader, State},
    report::{Colour, Level, complain, form, json, print_wrapped},
    sys::lock,
    text::{count, moment, sanitize},
};

/// The number of runs that `-v` shows.
const RUNS: u32 = 10;

/// The state of an account according to its ledger.
#[derive(Default)]
struct Status {
    runs: Vec<PastRun>,
    counts: Vec<(State, u64)>,
    problem: Option<Problem>,
    /// Whether a pouch process holds the account's lock.
    locked: bool,
    /// Whether the account has to sign in with OAuth 2.0 before the next run.
    needs_sign_in: bool,
}

impl Status {
    fn read(account: &Account, env: &RunEnv) -> Result<Self> {
        let file = env.offline_file(account)?;
        let sign_in = tokens::sign_in(account, env.token_env())?;
        let needs_sign_in = sign_in.is_some_and(|(_, sign_in)| sign_in.is_none_or(|it| it.is_lost));
        let Some(ledger) = Reader::open(&file, &account.identity().address)? else {
            return Ok(Self {
                needs_sign_in,
                ..Self::default()
            });
        };
        Ok(Self {
            needs_sign_in,
            locked: lock::is_locked(&env.state_dir, file.key()),
            runs: ledger.past_runs(RUNS)?,
            counts: ledger.counts()?,
            problem: ledger.problem()?,
        })
    }

    /// Returns the start time of the current run. `None` if pouch is not running.
    fn running_since(&self) -> Option<Timestamp> {
        let last = self.runs.first()?;
        (self.locked && last.ended.is_none()).then_some(last.started)
    }

    /// Returns whether the last run was interrupted.
    fn was_interrupted(&self) -> bool {
        let last_is_open = self.runs.first().is_some_and(|run| run.ended.is_none());
        last_is_open && !self.locked
    }

    /// Returns the number of messages in a state.
    fn number(&self, state: State) -> u64 {
        let found = self.counts.iter().find(|(known, _)| *known == state);
        found.map_or(0, |(_, number)| *number)
    }

    /// Returns whether the account needs attention.
    fn needs_action(&self) -> bool {
        self.problem
            .as_ref()
            .is_some_and(|problem| problem.reported)
            || self.number(State::Quarantined) > 0
            || self.needs_sign_in
            || self.was_interrupted()
    }
}

pub(super) fn run(context: &CommandContext, args: &Args) -> CommandResult {
    let accounts = context.setup.known_accounts(&args.accounts.accounts)?;
    let env = fetch::env(context, &accounts)?;
    let names = accounts.iter().map(|account| account.name.chars().count());
    let view = View {
        colour: context.stdout_colour(),
        width: names.max().unwrap_or(0),
        runs: context.level >= Level::Verbose,
    };
    let mut exit = Exit::OK;
    let mut documents = Vec::new();
    for account in &accounts {
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
                    print_wrapped(&view.lines(name, &status))?;
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
        print_json(&json!({ "accounts": documents }))?;
    }
    Ok(exit)
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
    /// Returns the lines of an account.
    fn lines(&self, account: &str, status: &Status) -> String {
        let width = self.width;
        let mut parts = self.condition(status);
        parts.extend(self.messages(account, status));
        if status.needs_sign_in {
            let text = format!("not signed in (`pouch login {account}`)");
            parts.push(self.colour.alarm(&text));
        }
        let mut text = format!("{account:width$}   {}\n", parts.join("; "));
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
            parts.push(self.colour.alarm(&text));
        } else if let Some(run) = last {
            let text = outcome(run, status.problem.is_none());
            let text = match run.exit {
                Some(0) if run.tally.delivered > 0 => self.colour.good(&text),
                _ => text,
            };
            let comma = if text.is_empty() { "" } else { ", " };
            parts.push(format!("last run {}{comma}{text}", moment(run.started)));
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
            parts.push(format!("{truncated} truncated"));
        }
        if quarantined > 0 {
            let text = format!("{quarantined} quarantined");
            parts.push(format!(
                "{} (`pouch ledger list {account}`)",
                self.colour.alarm(&text)
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
    json!({
        "account": account,
        "running": status.running_since().is_some(),
        "needs_action": status.needs_action(),
        "needs_sign_in": status.needs_sign_in,
        "failing": problem.map(|problem| &problem.what),
        "problem_since": problem.map(|problem| problem.since.0),
        "runs": runs,
        "messages": messages,
    })
}
