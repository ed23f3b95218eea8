//! `pouch fetch`.

use std::{
    io::{self, IsTerminal},
    sync::Arc,
};

use super::{
    CommandContext, CommandResult,
    args::{self, When},
    setup,
};
use crate::{
    config::{Account, SecretSource, overrides::Overrides, url},
    domain::destination::Destination,
    error::{Error, Exit, Kind, Result},
    event::{Event, Reporter},
    fetch::{env::RunEnv, scheduler::fetch_all},
    net::TlsCache,
    report::{Level, json::Json, plain::Plain, terminal::Terminal, watched},
};

pub(super) fn run(context: &CommandContext, args: &args::Fetch) -> CommandResult {
    let overrides = overrides(context, args)?;
    if overrides.destination == Some(Destination::Stdout) {
        check_stdout(context)?;
    }
    let accounts = context.setup.accounts(&args.accounts, &overrides)?;
    let mut env = env(context, &accounts);
    if let Some(wait) = args.wait {
        env.patience = wait.into();
    }
    env.accept_new_uids = args.accept_new_uids;
    ask_for_secrets(&accounts, &mut env);
    let jobs = args.jobs.map_or(context.setup.jobs(), usize::from);
    env.open_files = setup::open_files(jobs.min(accounts.len()));
    loop {
        // roots may have been renewed since the last round
        env.tls = env.tls.renewed();
        let exit = round(&accounts, jobs, &env, args.fail_if_none);
        let again = args
            .every
            .is_some_and(|every| env.stop.sleep(every.into()).is_ok());
        if !again {
            if context.global.json {
                Json { clock: env.clock }.end(exit);
            }
            return Ok(exit);
        }
    }
}

/// Whether standard output can take mail.
fn check_stdout(context: &CommandContext) -> Result<()> {
    let usage = |what: &str| Error::new(Kind::Usage, what);
    if context.global.json {
        return Err(usage("`--to -` and `--json` both want standard output")
            .with_hint("deliver somewhere else, or leave out `--json`"));
    }
    if io::stdout().is_terminal() {
        return Err(
            usage("standard output is a terminal, and mail may play tricks on it")
                .with_hint("give it a reader: `pouch fetch --to - | formail -s procmail`"),
        );
    }
    Ok(())
}

/// One run of all accounts.
fn round(accounts: &[Account], jobs: usize, env: &RunEnv, fail_if_none: bool) -> Exit {
    let summaries = fetch_all(accounts, jobs, env);
    let exit = summaries
        .iter()
        .fold(Exit::OK, |exit, summary| exit.worst(summary.exit));
    let none = summaries.iter().all(|summary| summary.tally.delivered == 0);
    if exit == Exit::OK && none && fail_if_none {
        Exit::NONE
    } else {
        exit
    }
}

/// Asks the person for the passwords of those accounts that have no other way, before anything
/// runs side by side. What cannot be had fails that account's run, and is told there.
fn ask_for_secrets(accounts: &[Account], env: &mut RunEnv) {
    for account in accounts
        .iter()
        .filter(|account| account.secret == SecretSource::Prompt)
    {
        let secret = env.secret(account);
        // a ^C is meant for all of them
        if env.stop.signal().is_some() {
            return;
        }
        env.secrets.insert(account.name.clone(), secret);
    }
}

/// What the flags lay over the config.
pub(super) fn overrides(context: &CommandContext, args: &args::Fetch) -> Result<Overrides> {
    let to = args
        .to
        .as_ref()
        .map(|to| setup::destination(to, &context.setup.dirs))
        .transpose()?;
    let command = args.password_command.as_ref();
    Ok(Overrides {
        keep: args.keep,
        limit: args.limit,
        max_size: args.max_size,
        destination: to,
        no_delivery: false,
        password_command: command
            .map(|command| url::words("--password-command", command))
            .transpose()?,
    })
}

/// The world of a fetch, with the reporter that suits whoever looks on.
pub(super) fn env(context: &CommandContext, accounts: &[Account]) -> RunEnv {
    let width = accounts
        .iter()
        .map(|account| account.name.chars().count())
        .max()
        .unwrap_or(0);
    let progress = match context.global.progress {
        When::Auto => watched() && context.setup.dirs.can_wipe(),
        When::Always => true,
        When::Never => false,
    };
    let plain = Plain {
        level: context.level,
        colour: context.colour,
        width,
        watched: watched() || progress,
    };
    let mut env = context.setup.dirs.env(
        context.setup.state_dir(),
        context.stop.clone(),
        Arc::new(Nobody),
        context.level,
    );
    env.report = if context.global.json {
        Arc::new(Json { clock: env.clock })
    } else if progress && context.level >= Level::Normal {
        Arc::new(Terminal::new(plain))
    } else {
        Arc::new(plain)
    };
    env.tls = TlsCache::new(context.roots.clone());
    env
}

/// Nobody is told.
struct Nobody;

impl Reporter for Nobody {
    fn event(&self, _account: &str, _event: &Event<'_>) {}
}
