//! `pouch fetch`.

use std::{
    io::{self, IsTerminal},
    sync::Arc,
};

use super::{
    Context, Outcome,
    args::{self, When},
    setup,
};
use crate::{
    config::{Account, SecretSource, resolve::Overrides, url},
    domain::destination::Destination,
    error::{Error, Exit, Kind, Result},
    event::{Event, Reporter},
    fetch::{World, scheduler::fetch_all},
    net::Contexts,
    report::{Level, json::Json, plain::Plain, terminal::Terminal, watched},
};

pub(super) fn run(context: &Context, args: &args::Fetch) -> Outcome {
    let overrides = overrides(context, args)?;
    if overrides.place == Some(Destination::Stdout) {
        check_stdout(context)?;
    }
    let accounts = context.setup.accounts(&args.accounts, &overrides)?;
    let mut world = world(context, &accounts);
    if let Some(wait) = args.wait {
        world.patience = wait.into();
    }
    world.accept_new_uids = args.accept_new_uids;
    ask_for_secrets(&accounts, &mut world);
    let jobs = args.jobs.map_or(context.setup.jobs(), usize::from);
    world.open_files = setup::open_files(jobs.min(accounts.len()));
    loop {
        // roots may have been renewed since the last round
        world.tls = Contexts::default();
        let exit = round(&accounts, jobs, &world, args.fail_if_none);
        let again = args
            .every
            .is_some_and(|every| world.stop.pause(every.into()).is_ok());
        if !again {
            if context.global.json {
                Json { clock: world.clock }.end(exit);
            }
            return Ok(exit);
        }
    }
}

/// Whether standard output can take mail.
fn check_stdout(context: &Context) -> Result<()> {
    let usage = |what: &str| Error::new(Kind::Usage, what);
    if context.global.json {
        return Err(usage("`--to -` and `--json` both want standard output")
            .hint("deliver somewhere else, or leave out `--json`"));
    }
    if io::stdout().is_terminal() {
        return Err(
            usage("standard output is a terminal, and mail may play tricks on it")
                .hint("give it a reader: `pouch fetch --to - | formail -s procmail`"),
        );
    }
    Ok(())
}

/// One run of all accounts.
fn round(accounts: &[Account], jobs: usize, world: &World, fail_if_none: bool) -> Exit {
    let summaries = fetch_all(accounts, jobs, world);
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
fn ask_for_secrets(accounts: &[Account], world: &mut World) {
    for account in accounts
        .iter()
        .filter(|account| account.secret == SecretSource::Prompt)
    {
        let secret = world.secret(account);
        // a ^C is meant for all of them
        if world.stop.signal().is_some() {
            return;
        }
        world.secrets.insert(account.name.clone(), secret);
    }
}

/// What the flags lay over the config.
pub(super) fn overrides(context: &Context, args: &args::Fetch) -> Result<Overrides> {
    let to = args
        .to
        .as_ref()
        .map(|to| setup::place(to, &context.setup.surroundings))
        .transpose()?;
    let command = args.password_command.as_ref();
    Ok(Overrides {
        keep: args.keep,
        limit: args.limit,
        max_size: args.max_size,
        place: to,
        nowhere: false,
        password_command: command
            .map(|command| url::words("--password-command", command))
            .transpose()?,
    })
}

/// The world of a fetch, with the reporter that suits whoever looks on.
pub(super) fn world(context: &Context, accounts: &[Account]) -> World {
    let width = accounts
        .iter()
        .map(|account| account.name.chars().count())
        .max()
        .unwrap_or(0);
    let progress = match context.global.progress {
        When::Auto => watched() && context.setup.surroundings.can_wipe(),
        When::Always => true,
        When::Never => false,
    };
    let plain = Plain {
        level: context.level,
        colour: context.colour,
        width,
        watched: watched() || progress,
    };
    let mut world = context.setup.surroundings.world(
        context.setup.state_dir(),
        context.stop.clone(),
        Arc::new(Nobody),
        context.level,
    );
    world.report = if context.global.json {
        Arc::new(Json { clock: world.clock })
    } else if progress && context.level >= Level::Normal {
        Arc::new(Terminal::new(plain))
    } else {
        Arc::new(plain)
    };
    world
}

/// Nobody is told.
struct Nobody;

impl Reporter for Nobody {
    fn event(&self, _account: &str, _event: &Event<'_>) {}
}
