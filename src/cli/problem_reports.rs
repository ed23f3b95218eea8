//! Reports of `pouch fetch` about accounts, and sources of accounts, that cannot be used.
//!
//! The cause may last, for example if the database of `accounts-command` is down, or if a file of
//! another user has a mistake. Without a limit, each run from cron would send mail about it. So
//! these problems are reported like those of fetched accounts
//! ([`ReportTimes`](crate::domain::report_times::ReportTimes)): at once, and then daily. A later
//! round of `--every` reports only what has changed.

use std::collections::HashSet;

use rustix::process::geteuid;

use super::{
    CommandContext,
    config_files::whole,
    dirs,
    problem_store::{Key, ProblemStore},
};
use crate::{
    config::{overrides::Overrides, resolve::Problem},
    domain::report_times::Audience,
    error::{Error, Exit, Result},
    report::{Level, complain, json::Json, watched},
    sys::user,
};

/// The reports of a `fetch` command.
pub(super) struct ProblemReports {
    /// The accounts on the command line; empty for all accounts.
    names: Vec<String>,
    /// The problems of this round, until they are reported.
    pending: Vec<Problem>,
    /// The problems of the last round.
    known: HashSet<Key>,
    /// Whether the next round is the first one.
    is_first: bool,
    exit: Exit,
}

impl ProblemReports {
    /// Collects the problems before the first round if the command uses all accounts. Stores the
    /// list of `accounts-command` for runs in which that command fails.
    ///
    /// # Errors
    /// A signal ended the command.
    pub fn start(context: &CommandContext, names: &[String]) -> Result<Self> {
        let mut reports = Self {
            names: names.to_vec(),
            pending: Vec::new(),
            known: HashSet::new(),
            is_first: true,
            exit: Exit::OK,
        };
        if context.handover.is_some() {
            // the process that started this one reports them
        } else if names.is_empty() {
            reports.pending = all(context)?;
        } else {
            let problems = context.setup.problems_so_far();
            reports.known = problems.iter().map(Key::of).collect();
        }
        Ok(reports)
    }

    /// Adds accounts that cannot be run in this round.
    pub fn add(&mut self, failed: Vec<(String, Error)>) {
        self.pending
            .extend(failed.into_iter().map(|(account, error)| Problem {
                account: Some(account),
                error,
            }));
    }

    /// Adds a problem of all accounts in this round, which uses those of the last one.
    pub fn add_whole(&mut self, error: Error) {
        let error = error.with_fact("the accounts of the last round are fetched");
        self.pending.push(whole(error));
    }

    /// Returns the exit status for the accounts that cannot be used.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Reads all sources of accounts again, and collects the problems. Returns the names of the
    /// accounts to fetch (an empty list for all accounts), or `None` if there is no account to
    /// fetch.
    ///
    /// # Errors
    /// A signal ended the command.
    pub fn read_again(&mut self, context: &mut CommandContext) -> Result<Option<Vec<String>>> {
        context.setup.read_again()?;
        let mut problems = if self.names.is_empty() {
            all(context)?
        } else {
            context.setup.problems_so_far()
        };
        let overrides = Overrides {
            no_delivery: true,
            ..Overrides::default()
        };
        let (usable, of_names) = context.setup.usable(&self.names, &overrides);
        let is_usable = !usable.is_empty() || self.names.is_empty() && of_names.is_empty();
        let is_reported =
            |problem: &Problem| problems.iter().any(|it| Key::of(it) == Key::of(problem));
        let of_names: Vec<_> = of_names.into_iter().filter(|it| !is_reported(it)).collect();
        problems.extend(of_names);
        self.pending = problems;
        Ok(is_usable.then_some(usable))
    }

    /// Reports the problems of the round that begins if a report is due.
    pub fn report(&mut self, context: &CommandContext) {
        let problems = std::mem::take(&mut self.pending);
        let problems = problems.as_slice();
        let is_first = std::mem::replace(&mut self.is_first, false);
        let exits = problems.iter().map(|problem| problem.error.kind().exit());
        self.exit = exits.fold(Exit::OK, Exit::worst);
        let known: HashSet<_> = problems.iter().map(Key::of).collect();
        let before = std::mem::replace(&mut self.known, known);
        let is_new = |problem: &Problem| is_first || !before.contains(&Key::of(problem));
        let (due, problems) = if self.names.is_empty() {
            due(context, problems)
        } else {
            // only a run of all accounts records the reports
            (problems.iter().map(is_new).collect(), problems.to_vec())
        };
        let is_watched = watched() || context.level >= Level::Verbose;
        let reported: Vec<_> = problems
            .into_iter()
            .zip(due)
            .map(|(problem, is_due)| {
                let is_new = is_new(&problem);
                let tell = is_due || is_watched && is_new;
                (problem, is_new, tell)
            })
            .collect();
        context.report_events(&reported);
        let told = reported.into_iter().filter(|(.., tell)| *tell);
        let told: Vec<_> = told.map(|(problem, ..)| problem).collect();
        context.print_problems(&told);
        if !is_first && self.known.is_empty() && !before.is_empty() {
            report_recovery(context);
        }
    }
}

/// Reports that the problems of all accounts have ended.
fn report_recovery(context: &CommandContext) {
    if context.global.json {
        let clock = dirs::clock();
        Json { clock }.recovered();
    }
    if let Some(log) = &context.log {
        log.recovered();
    } else if context.level > Level::Silent {
        complain("pouch: all accounts can be used again");
    }
}

/// Returns all problems. Stores the list of `accounts-command`.
fn all(context: &CommandContext) -> Result<Vec<Problem>> {
    let mut problems = context.setup.problems()?;
    let created = match context.setup.explicit_state_dir() {
        // it will contain directories of other users
        Some(dir) if geteuid().is_root() && context.setup.has_users(&[]) => {
            user::create_shared_dir(&dir)
        }
        _ => Ok(()),
    };
    let stored = created.and_then(|()| context.setup.store_list());
    let error = stored.err();
    problems.extend(error.map(|error| Problem {
        account: None,
        error,
    }));
    Ok(problems)
}

/// Returns for each problem whether a report is due, and the problems with the times at which they
/// began.
fn due(context: &CommandContext, problems: &[Problem]) -> (Vec<bool>, Vec<Problem>) {
    let all = vec![true; problems.len()];
    let Ok(state_dir) = context.setup.state_dir() else {
        return (all, problems.to_vec());
    };
    let audience = if watched() {
        Audience::Terminal
    } else {
        Audience::Unattended
    };
    let now = dirs::clock().now();
    let mut store = ProblemStore::read(&state_dir.path);
    // if the times cannot be recorded, all problems are reported
    let due = store.update(problems, audience, now).unwrap_or(all);
    let dated = problems.iter().map(|problem| store.dated(problem, now));
    (due, dated.collect())
}
