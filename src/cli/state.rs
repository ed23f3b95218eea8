//! The state of an account according to its ledger, for `pouch status` and for metrics.

use crate::{
    config::Account,
    domain::time::Timestamp,
    error::Result,
    fetch::{env::RunEnv, tokens},
    ledger::{History, LedgerFile, PastRun, Problem, Reader, State},
    report::{activity::data::Health, health::Condition},
    sys::lock,
};

/// The number of runs that `-v` shows.
const RUNS: u32 = 10;

/// The number of runs among which the last complete one is searched.
const BRIEF_RUNS: u32 = 3;

/// The state of an account according to its ledger.
#[derive(Default)]
pub(super) struct Status {
    /// The last runs, newest first.
    pub(super) runs: Vec<PastRun>,
    pub(super) counts: Vec<(State, u64)>,
    pub(super) problem: Option<Problem>,
    /// The runs since the ledger was created.
    pub(super) history: History,
    /// Whether the last run has not ended, and a pouch process holds the account's lock.
    locked: bool,
    /// Whether the account has to sign in with OAuth 2.0 before the next run.
    pub(super) needs_sign_in: bool,
}

/// How much of the state is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// What `pouch status` shows.
    All,
    /// What metrics need.
    Brief,
}

impl Status {
    /// Reads the state of an account.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(super) fn read(account: &Account, env: &RunEnv) -> Result<Self> {
        let file = env.offline_file(account)?;
        let ledger = Reader::open(&file, &account.identity().address)?;
        let ledger = ledger.map(|ledger| (file, ledger));
        Self::full(account, env, ledger)
    }

    /// Reads the state of an account from its ledger.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(super) fn full(
        account: &Account,
        env: &RunEnv,
        ledger: Option<(LedgerFile, Reader)>,
    ) -> Result<Self> {
        Self::of(account, env, ledger, Extent::All)
    }

    /// Reads the state of an account without the numbers of its messages, except for those in
    /// quarantine: counting the others takes as long as the ledger is large.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(super) fn brief(
        account: &Account,
        env: &RunEnv,
        ledger: Option<(LedgerFile, Reader)>,
    ) -> Result<Self> {
        Self::of(account, env, ledger, Extent::Brief)
    }

    fn of(
        account: &Account,
        env: &RunEnv,
        ledger: Option<(LedgerFile, Reader)>,
        extent: Extent,
    ) -> Result<Self> {
        let sign_in = tokens::sign_in(account, env.token_env())?;
        let needs_sign_in = sign_in.is_some_and(|(_, sign_in)| sign_in.is_none_or(|it| it.is_lost));
        let Some((file, ledger)) = ledger else {
            return Ok(Self {
                needs_sign_in,
                ..Self::default()
            });
        };
        let (runs, counts) = match extent {
            Extent::All => (RUNS, ledger.counts()?),
            Extent::Brief => {
                let quarantined = ledger.in_quarantine()?;
                (BRIEF_RUNS, vec![(State::Quarantined, quarantined)])
            }
        };
        let runs = ledger.past_runs(runs)?;
        let is_open = runs.first().is_some_and(|run| run.ended.is_none());
        Ok(Self {
            needs_sign_in,
            locked: is_open && lock::is_locked(&env.state_dir, file.key()),
            runs,
            counts,
            problem: ledger.problem()?,
            history: ledger.history()?,
        })
    }

    /// Returns what decides on the health of the account.
    pub(super) fn condition(&self) -> Condition {
        // an interrupted first run is not part of the history
        let oldest = self.runs.last().map(|run| run.started);
        Condition {
            first_run: self.history.first_run.or(oldest),
            last_run: self.runs.first().map(|run| run.started),
            last_success: self.history.last_success,
            is_running: self.running_since().is_some(),
            was_interrupted: self.was_interrupted(),
            problem: self.problem.clone(),
            quarantined: self.number(State::Quarantined),
            needs_sign_in: self.needs_sign_in,
        }
    }

    /// Returns the start time of the current run. `None` if pouch is not running.
    pub(super) fn running_since(&self) -> Option<Timestamp> {
        let last = self.runs.first()?;
        (self.locked && last.ended.is_none()).then_some(last.started)
    }

    /// Returns whether the last run was interrupted.
    pub(super) fn was_interrupted(&self) -> bool {
        let last_is_open = self.runs.first().is_some_and(|run| run.ended.is_none());
        last_is_open && !self.locked
    }

    /// Returns the number of messages in a state.
    pub(super) fn number(&self, state: State) -> u64 {
        let found = self.counts.iter().find(|(known, _)| *known == state);
        found.map_or(0, |(_, number)| *number)
    }

    /// Returns the state as one word of the report.
    pub(super) fn health(&self) -> Health {
        let problem = self.problem.as_ref();
        if self.needs_sign_in || problem.is_some_and(|problem| problem.reported) {
            Health::Failing
        } else if problem.is_some() || self.needs_action() || self.number(State::Short) > 0 {
            Health::Attention
        } else {
            Health::Ok
        }
    }

    /// Returns whether the account needs attention.
    pub(super) fn needs_action(&self) -> bool {
        self.problem
            .as_ref()
            .is_some_and(|problem| problem.reported)
            || self.number(State::Quarantined) > 0
            || self.needs_sign_in
            || self.was_interrupted()
    }
}
