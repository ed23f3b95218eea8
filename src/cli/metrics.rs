//! The file of metrics that `pouch fetch` writes after each run, or each round of `--every`.
//!
//! The file includes all enabled accounts of the config and those that were fetched. With
//! `--shard`, it includes only accounts of the shard, since the ledgers of the others are
//! elsewhere. Their state is read from the ledgers after the run. Several pouch processes can write
//! the same file, since each one writes the complete state; a lock ensures that the most recent
//! state is written last.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    CommandContext, args,
    args::{LogFormat, ShardOption},
    dirs,
    state::Status,
};
use crate::{
    config::Account,
    error::{Error, Exit, Kind, Result},
    fetch::env::RunEnv,
    ledger::{State, mailboxes::Catalog},
    report::{
        Level, complain, form,
        json::Json,
        log::Log,
        metrics::{AccountMetrics, Metrics, RunMetrics, render},
    },
    sys::{files, lock, owner},
};

/// The operation that error messages name.
pub(super) const DOING: &str = "write the metrics to";

/// The longest time to wait for another pouch that writes metrics.
const PATIENCE: Duration = Duration::from_secs(10);

/// The file of metrics.
pub(super) struct MetricsFile {
    /// Its path.
    pub(super) path: PathBuf,
    /// The failure of the last round.
    failure: Option<Error>,
}

impl MetricsFile {
    /// Returns the file that the command line or the config names, if any.
    ///
    /// # Errors
    /// There is no current directory, or the file is `-`.
    pub(super) fn find(context: &CommandContext, args: &args::Fetch) -> Result<Option<Self>> {
        if args.metrics.as_deref() == Some(Path::new("-")) {
            let what = "`--metrics` writes a file, not standard output";
            return Err(Error::new(Kind::Usage, what).with_hint("name a file that ends in .prom"));
        }
        let path = match (&args.metrics, context.setup.metrics()) {
            (Some(path), _) if path.is_absolute() => path.clone(),
            (Some(path), _) => context.setup.dirs.here()?.join(path),
            (None, Some(path)) => path.to_owned(),
            (None, None) => return Ok(None),
        };
        Ok(Some(Self {
            path,
            failure: None,
        }))
    }

    /// Writes the metrics, and reports a failure, in a later round only if it is another one.
    /// Returns the exit code that follows from it.
    pub(super) fn write(
        &mut self,
        context: &CommandContext,
        log: Option<LogFormat>,
        run: RunMetrics,
        accounts: impl FnOnce() -> Result<Vec<AccountMetrics>>,
    ) -> Exit {
        // the program has to end within a second
        if context.stop.signal().is_some() {
            return Exit::OK;
        }
        let failure = self.try_write(context, run, accounts).err();
        let exit = failure.as_ref().map_or(Exit::OK, |it| it.kind().exit());
        if let Some(error) = failure.as_ref().filter(|_| failure != self.failure) {
            report(context, log, error);
        }
        self.failure = failure;
        exit
    }

    fn try_write(
        &self,
        context: &CommandContext,
        run: RunMetrics,
        accounts: impl FnOnce() -> Result<Vec<AccountMetrics>>,
    ) -> Result<()> {
        let state_dir = context.setup.state_dir()?.path;
        owner::check_link(&self.path)?;
        let _lock = lock::lock(&state_dir, "metrics", run.ended, PATIENCE, &context.stop)?;
        let accounts = accounts()?;
        let text = render(&Metrics { run, accounts });
        files::publish(&self.path, DOING, text.as_bytes())
    }
}

/// Reports an error of writing metrics, which stops nothing.
fn report(context: &CommandContext, log: Option<LogFormat>, error: &Error) {
    let clock = dirs::clock();
    let level = context.level;
    if context.global.json {
        Json { clock }.notice(error);
    }
    if let Some(format) = log {
        let format = format.into();
        Log {
            format,
            clock,
            level,
        }
        .notice(error);
    } else if level > Level::Silent && !context.global.json {
        complain(&form(None, error, context.colour));
    }
}

/// Returns the metrics of all enabled accounts of the shard and of those that were fetched.
pub(super) fn of_accounts(
    context: &CommandContext,
    fetched: &[Account],
    shard: ShardOption,
    env: &RunEnv,
) -> Vec<AccountMetrics> {
    // without an enabled account, those that were fetched are all
    let mut accounts = context.setup.known_accounts(&[]).unwrap_or_default();
    shard.retain(&mut accounts);
    let is_new = |account: &&Account| accounts.iter().all(|known| known.name != account.name);
    let others: Vec<_> = fetched.iter().filter(is_new).cloned().collect();
    accounts.extend(others);
    let catalog = Catalog::new(&env.state_dir);
    let metrics = |account: &Account| {
        let unreadable = |_| AccountMetrics::unreadable(&account.name);
        read(account, env, &catalog).unwrap_or_else(unreadable)
    };
    accounts.iter().map(metrics).collect()
}

fn read(account: &Account, env: &RunEnv, catalog: &Catalog<'_>) -> Result<AccountMetrics> {
    let ledger = catalog.open_offline(&account.identity())?;
    let status = Status::brief(account, env, ledger)?;
    let last = status.runs.iter().find(|run| run.exit.is_some());
    Ok(AccountMetrics {
        account: account.name.clone(),
        is_unreadable: false,
        needs_attention: status.needs_action(),
        is_failing: status.problem.is_some(),
        quarantined: status.number(State::Quarantined),
        last_run: status.runs.first().map(|run| run.started),
        last_success: status.history.last_success,
        exit: last.and_then(|run| run.exit),
        seconds: last.and_then(|run| Some(run.ended?.since(run.started))),
        totals: status.history.totals,
    })
}

/// Returns the directory of the file, which the sandbox of a run has to allow. `None` if it does
/// not exist.
pub(super) fn directory(path: &Path) -> Option<PathBuf> {
    let target = files::publication_path(path, DOING).ok()?;
    target.parent().map(Path::to_owned)
}
