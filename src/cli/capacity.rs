//! How many accounts are fetched at the same time, and warnings if the system allows fewer.

use std::time::Duration;

use super::{CommandContext, args, setup};
use crate::{
    error::{Error, Kind},
    fetch::{env::RunEnv, scheduler::Limits},
    report::{complain, form},
};

/// The limits of all rounds. Each warning is printed once.
pub(super) struct Capacity<'a> {
    args: &'a args::Fetch,
    /// Whether a person reads the output.
    watched: bool,
    warned_of_files: bool,
    warned_of_threads: bool,
}

impl<'a> Capacity<'a> {
    pub(super) fn new(args: &'a args::Fetch, watched: bool) -> Self {
        Self {
            args,
            watched,
            warned_of_files: false,
            warned_of_threads: false,
        }
    }

    /// Returns the limits of a round of this many accounts. Raises the limit of open files, and
    /// warns if it is too low.
    pub(super) fn limits(
        &mut self,
        context: &CommandContext,
        accounts: usize,
        env: &mut RunEnv,
    ) -> Limits {
        if let Some(shard) = self.args.shard.value
            && accounts == 0
            && self.watched
        {
            complain(&format!("no account is in shard {shard}"));
        }
        let setup = &context.setup;
        let jobs = self.args.jobs.map_or(setup.jobs(), usize::from);
        let jobs = jobs.min(accounts);
        let open_files = setup::open_files(jobs);
        env.open_files = open_files.per_job;
        // without a terminal, a report in each run would not help
        if (self.watched || self.args.every.is_some())
            && !self.warned_of_files
            && let Some(warning) = open_files.warning(jobs)
        {
            warn(context, &warning);
            self.warned_of_files = true;
        }
        let spread = setup.spread();
        // the next round would begin late
        let longest = self.args.every.map_or(spread, Duration::from);
        Limits {
            jobs: open_files.jobs,
            spread: spread.min(longest),
        }
    }

    /// Warns if threads could not be started.
    pub(super) fn check_threads(
        &mut self,
        context: &CommandContext,
        limits: Limits,
        missing: usize,
    ) {
        if missing == 0 || self.warned_of_threads {
            return;
        }
        let (jobs, fewer) = (limits.jobs, limits.jobs.saturating_sub(missing));
        let what = format!("fetched {fewer} accounts at a time, not {jobs}");
        let warning = Error::new(Kind::Io, what)
            .with_fact("no more threads could be started")
            .with_hint("raise `ulimit -u`, or TasksMax= in a systemd unit");
        warn(context, &warning);
        self.warned_of_threads = true;
    }
}

fn warn(context: &CommandContext, warning: &Error) {
    complain(&form(None, warning, context.colour));
}
