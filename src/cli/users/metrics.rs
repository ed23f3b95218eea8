//! The metrics of all accounts.
//!
//! The processes of users cannot write the file, so this process does. The ledgers of each user are
//! read by a separate process of that user.

use super::{
    group::{Groups, Round},
    outcome::Outcome,
    process::Order,
};
use crate::{
    cli::{
        CommandContext,
        args::{Accounts, Command, Fetch, LogFormat, ShardOption, Status},
        dirs,
        metrics::MetricsFile,
    },
    domain::time::Timestamp,
    error::{Exit, Result},
    report::metrics::{AccountMetrics, RunMetrics},
};

/// The writer of the metrics of all accounts, if the command line or the config sets a file.
pub(super) struct Publisher<'a> {
    /// The accounts that are fetched.
    names: &'a [String],
    /// The shard that is fetched.
    shard: ShardOption,
    file: Option<MetricsFile>,
    log: Option<LogFormat>,
    /// The start of the round.
    pub started: Timestamp,
}

impl<'a> Publisher<'a> {
    /// Returns the publisher for a command that fetches.
    ///
    /// # Errors
    /// The file is not valid.
    pub fn new(context: &CommandContext, args: &Fetch, names: &'a [String]) -> Result<Self> {
        let file = MetricsFile::find(context, args)?;
        Ok(Self {
            names,
            shard: args.shard,
            file,
            log: args.log,
            started: dirs::clock().now(),
        })
    }

    /// Switches to the metrics file of the config after it was read again.
    ///
    /// # Errors
    /// The file is not valid.
    pub fn refresh(&mut self, context: &CommandContext, fetch: &Fetch) -> Result<()> {
        let file = MetricsFile::find(context, fetch)?;
        let path = |file: &MetricsFile| file.path.clone();
        if self.file.as_ref().map(path) != file.as_ref().map(path) {
            self.file = file;
        }
        Ok(())
    }

    /// Returns whether metrics are written.
    pub fn is_active(&self) -> bool {
        self.file.is_some()
    }

    /// Writes the metrics after a round with this exit status. Returns the exit status, which also
    /// reflects a failure to write them.
    pub fn write(&mut self, context: &CommandContext, exit: Exit) -> Exit {
        let Some(file) = &mut self.file else {
            return Exit::OK;
        };
        let run = RunMetrics {
            started: self.started,
            ended: dirs::clock().now(),
            exit,
        };
        let (names, shard) = (self.names, self.shard);
        file.write(context, self.log, run, || {
            metrics_of_all(context, names, shard)
        })
    }
}

/// Returns the metrics of all enabled accounts of the shard and of those named, whose ledgers are
/// read by processes of their users.
fn metrics_of_all(
    context: &CommandContext,
    names: &[String],
    shard: ShardOption,
) -> Result<Vec<AccountMetrics>> {
    let groups = all_and(context, names, shard);
    let command = Command::Status(Status {
        accounts: Accounts {
            accounts: Vec::new(),
        },
        shard: ShardOption::default(),
        problems: false,
        check: None,
    });
    let mut outcome = Outcome::default();
    let (handovers, failed) = groups.handovers(context, &command, &Round::default());
    let program = std::env::args_os().next().unwrap_or_else(|| "pouch".into());
    let order = Order {
        arguments: vec![program, "--json".into(), "status".into()],
        merges: true,
        one_by_one: false,
    };
    order.run(context, &handovers, &mut outcome)?;
    let unreadable = failed
        .iter()
        .map(|(name, _)| AccountMetrics::unreadable(name));
    let found = outcome.accounts.iter().map(AccountMetrics::from_document);
    Ok(found.chain(unreadable).collect())
}

/// Returns all enabled accounts of the shard and those named.
fn all_and(context: &CommandContext, names: &[String], shard: ShardOption) -> Groups {
    let of = |names: &[String]| Groups::new(context, names, false, shard);
    let mut groups = of(&[]);
    let is_known = |name: &&String| groups.names().any(|known| known == name.as_str());
    let others: Vec<_> = names
        .iter()
        .filter(|name| !is_known(name))
        .cloned()
        .collect();
    if !others.is_empty() {
        groups.extend(of(&others));
    }
    groups
}
