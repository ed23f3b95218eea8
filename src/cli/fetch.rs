//! `pouch fetch`.

use std::{
    io::{self, IsTerminal},
    path::Path,
    sync::Arc,
    thread,
};

use super::{
    CommandContext, Failure,
    args::{self, LogFormat, When},
    capacity::Capacity,
    dirs, metrics,
    metrics::MetricsFile,
    problem_reports::ProblemReports,
    setup,
    users::handover::RoundNumber,
};
use crate::{
    config::{Account, SecretSource, Trust, oauth::OAuth, overrides::Overrides, url},
    delivery::Maildir,
    domain::{
        destination::Destination,
        time::{TimeSpan, Timestamp},
    },
    error::{Error, Exit, Kind, Result},
    event::Reporter,
    fetch::{
        env::{Attendance, RunEnv},
        scheduler::{Limits, Round, fetch_all},
        tokens,
    },
    net::TlsCache,
    report::{
        Level, Several, complain,
        json::Json,
        log::Log,
        metrics::RunMetrics,
        plain::{Plain, Rounds},
        terminal::Terminal,
        watched, words,
    },
    sys::{files, sandbox::Sandbox},
    text::time_of_day,
};

/// Fetches the accounts, repeatedly with `--every`. Returns `None` if `has_others` finds accounts
/// of other users in the config that was read again: other processes then have to run the next
/// round.
///
/// # Errors
/// The accounts or the command line are not valid, or a signal ended the command. Failures of
/// single accounts are reported, and are part of the exit status.
pub(super) fn run(
    context: &mut CommandContext,
    args: &args::Fetch,
    reports: &mut ProblemReports,
    has_others: &dyn Fn(&CommandContext) -> bool,
) -> std::result::Result<Option<Exit>, Failure> {
    let mut accounts = selected(context, args)?;
    let mut env = env(context, &accounts)?;
    let rounds = rounds(context, args, &env);
    apply(context, args, &accounts, rounds.clone(), &mut env);
    let mut metrics_file = metrics_file(context, args)?;
    ask_for_secrets(&accounts, &mut env);
    let mut capacity = Capacity::new(args, is_watched(context));
    let mut last_closing = None;
    loop {
        reports.report(context);
        let limits = capacity.limits(context, accounts.len(), &mut env);
        // the system's certificates may have changed since the last round
        env.tls = env.tls.renewed();
        let started = env.clock.now();
        let file = metrics_file.as_ref().map(|file| file.path.as_path());
        let fetch = || {
            sandbox(context, &accounts, file).apply();
            let (exit, closing, missing_threads) =
                round(&accounts, limits, &env, args.fail_if_none);
            (exit.worst(reports.exit()), closing, missing_threads)
        };
        let (mut exit, closing, missing_threads) = match args.every {
            None => fetch(),
            Some(_) => in_thread(fetch)?,
        };
        capacity.check_threads(context, limits, missing_threads);
        if let Some(file) = &mut metrics_file {
            let run = (started, exit);
            exit = exit.worst(write_metrics(context, (args, &accounts), run, file, &env));
        }
        if let Some(closing) = closing.filter(|_| args.log.is_none() && is_watched(context)) {
            print_closing(closing, args, &env, &mut last_closing);
        }
        let sleep = |every: TimeSpan| env.stop.sleep(every.into()).is_ok();
        if !args.every.is_some_and(sleep) {
            // the process that handed over the accounts writes the last line
            if context.global.json && context.handover.is_none() {
                Json { clock: env.clock }.end(exit);
            }
            return Ok(Some(exit));
        }
        let names = reports.read_again(context)?;
        if has_others(context) {
            return Ok(None);
        }
        let next = selected_again(context, args, names).and_then(|next| {
            prepare_again(context, &next, &mut env)?;
            Ok(next)
        });
        match next {
            Ok(next) => accounts = next,
            // the command line does not suit the config any more
            Err(error) => reports.add_whole(error),
        }
        metrics_file = metrics_file_again(context, args, metrics_file)?;
        if let Some(rounds) = &rounds {
            rounds.begin();
        }
    }
}

/// Writes the metrics after a round with this start and exit status. Returns the exit status, which
/// also reflects a failure to write them.
fn write_metrics(
    context: &CommandContext,
    (args, accounts): (&args::Fetch, &[Account]),
    (started, exit): (Timestamp, Exit),
    file: &mut MetricsFile,
    env: &RunEnv,
) -> Exit {
    let run = RunMetrics {
        started,
        ended: env.clock.now(),
        exit,
    };
    file.write(context, args.log, run, || {
        Ok(metrics::of_accounts(context, accounts, args.shard, env))
    })
}

/// Returns the metrics file if this process writes it.
fn metrics_file(context: &CommandContext, args: &args::Fetch) -> Result<Option<MetricsFile>> {
    match context.handover {
        None => MetricsFile::find(context, args),
        // the process that started this one writes them
        Some(_) => Ok(None),
    }
}

/// Returns the metrics file after the config was read again.
fn metrics_file_again(
    context: &CommandContext,
    args: &args::Fetch,
    before: Option<MetricsFile>,
) -> Result<Option<MetricsFile>> {
    let file = metrics_file(context, args)?;
    let is_same = before.as_ref().map(|file| &file.path) == file.as_ref().map(|file| &file.path);
    Ok(if is_same { before } else { file })
}

/// Returns the accounts of the next round, after the config was read again. `names` are the usable
/// ones of the command line, or `None` if no account can be used.
fn selected_again(
    context: &CommandContext,
    args: &args::Fetch,
    names: Option<Vec<String>>,
) -> Result<Vec<Account>> {
    match names {
        None => Ok(Vec::new()),
        Some(accounts) => selected(
            context,
            &args::Fetch {
                accounts,
                ..args.clone()
            },
        ),
    }
}

/// Updates the environment after the config was read again.
fn prepare_again(context: &CommandContext, accounts: &[Account], env: &mut RunEnv) -> Result<()> {
    let state_dir = context.setup.state_dir()?;
    env.state_dir = state_dir.path;
    env.state_link = state_dir.link;
    if env.attendance == Attendance::Person {
        env.attendance = Attendance::LaterRound;
    }
    let prompts = accounts
        .iter()
        .filter(|account| account.secret == SecretSource::Prompt);
    let mut known = std::mem::take(&mut env.secrets);
    env.secrets = prompts
        .map(|account| {
            let known = known.remove(&account.name);
            let secret = known.unwrap_or_else(|| Err(not_prompted(account)));
            (account.name.clone(), secret)
        })
        .collect();
    Ok(())
}

/// Creates the error for a new account whose password would have to be prompted for. A prompt in a
/// later round would make all other accounts wait.
pub(super) fn not_prompted(account: &Account) -> Error {
    let what = format!(
        "the password of {} at {} was not prompted for",
        account.user, account.host
    );
    Error::new(Kind::Config, what)
        .with_fact("the account was added after pouch was started")
        .with_hint("set `password-command` or `password-file`, or start pouch again")
}

/// Returns the reports for the rounds of `--every`, of which this process may run one.
fn rounds(context: &CommandContext, args: &args::Fetch, env: &RunEnv) -> Option<Arc<Rounds>> {
    let number = match &context.handover {
        Some(handover) => handover.round,
        None if args.every.is_some() => RoundNumber::First,
        None => RoundNumber::Only,
    };
    let is_later = number == RoundNumber::Later;
    (number != RoundNumber::Only).then(|| Arc::new(Rounds::new(env.clock, is_later)))
}

/// Applies the options of the command line to the environment of all rounds.
fn apply(
    context: &CommandContext,
    args: &args::Fetch,
    accounts: &[Account],
    rounds: Option<Arc<Rounds>>,
    env: &mut RunEnv,
) {
    env.report = reporter(context, accounts, args.log, rounds);
    if let Some(wait) = args.wait {
        env.patience = wait.into();
    }
    env.accept_new_uids = args.accept_new_uids;
}

/// Prints the closing line of a round. Later rounds print it only if it differs from the `last`
/// one.
fn print_closing(closing: String, args: &args::Fetch, env: &RunEnv, last: &mut Option<String>) {
    let time = match args.every {
        Some(_) => format!("{}  ", time_of_day(env.clock.now())),
        None => String::new(),
    };
    if last.as_ref() != Some(&closing) {
        complain(&format!("{time}{closing}"));
    }
    *last = Some(closing);
}

/// Returns the accounts to fetch with the settings that the command line overrides.
///
/// # Errors
/// As for [`overrides`] and [`accounts`], or mail must not be written to standard output.
pub(super) fn selected(context: &CommandContext, args: &args::Fetch) -> Result<Vec<Account>> {
    let overrides = overrides(context, args)?;
    if overrides.destination == Some(Destination::Stdout) {
        check_stdout(context)?;
    }
    accounts(context, args, &overrides)
}

/// Returns the sandbox for a run of these accounts. The directories that it writes are created
/// first if they are missing, so that no directory above them has to be written. The run reports
/// errors.
fn sandbox(context: &CommandContext, accounts: &[Account], metrics: Option<&Path>) -> Sandbox {
    if !context.setup.sandbox() {
        return Sandbox::off("sandbox = false");
    }
    if let Ok(dir) = context.setup.state_dir() {
        let created = files::create_dir_durable(&dir.path);
        if let (Ok(()), Some(link)) = (created, &dir.link) {
            files::link_once(&dir.path, link);
        }
    }
    for destination in accounts.iter().flat_map(|account| account.routing.all()) {
        if let Destination::Maildir(path) = destination {
            let _ = Maildir::open(&path);
        }
    }
    described_sandbox(context, accounts, metrics)
}

/// Returns the sandbox for a run of these accounts, without creating anything.
pub(super) fn described_sandbox(
    context: &CommandContext,
    accounts: &[Account],
    metrics: Option<&Path>,
) -> Sandbox {
    if !context.setup.sandbox() {
        return Sandbox::off("sandbox = false");
    }
    let mut read = context.setup.dirs.library_paths();
    if accounts
        .iter()
        .any(|account| account.trust == Trust::System || tokens::keys(account).is_some())
    {
        let names = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
        let values = names.map(|name| context.setup.dirs.variable(name));
        for value in values.into_iter().flatten() {
            read.extend(std::env::split_paths(&value));
        }
        read.extend(context.roots.paths());
    }
    let sign_ins = accounts.iter().filter_map(tokens::keys);
    read.extend(sign_ins.flat_map(OAuth::files).cloned());
    match context.setup.state_dir() {
        Ok(state_dir) => {
            let mut sandbox = Sandbox::new(accounts, &state_dir.path, read);
            let home = &context.setup.dirs.home;
            let ports = accounts
                .iter()
                .map(|it| tokens::ports(it, &state_dir.path, home));
            ports.flatten().for_each(|port| sandbox.allow_port(port));
            if let Some(dir) = metrics.and_then(metrics::directory) {
                sandbox.allow_directory(&dir);
            }
            sandbox
        }
        // the run reports it
        Err(_) => Sandbox::off("there are two state directories"),
    }
}

/// Runs `work` in a thread of its own, to which its sandbox is limited.
pub(super) fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work);
        let thread = thread.map_err(|error| Error::thread(&error))?;
        thread
            .join()
            .map_err(|_| Error::new(Kind::Bug, "the thread of a round panicked"))
    })
}

/// Fails if mail must not be written to standard output.
fn check_stdout(context: &CommandContext) -> Result<()> {
    let usage = |what: &str| Error::new(Kind::Usage, what);
    if context.global.json {
        return Err(usage("`--to -` and `--json` both use standard output")
            .with_hint("use another destination, or remove `--json`"));
    }
    if io::stdout().is_terminal() {
        return Err(usage(
            "standard output is a terminal, which control characters in mail could misuse",
        )
        .with_hint("pipe it to a program: `pouch fetch --to - | formail -s procmail`"));
    }
    Ok(())
}

/// Fetches all accounts once. Returns the exit status, the closing line if there is one, and the
/// number of threads that could not be started.
fn round(
    accounts: &[Account],
    limits: Limits,
    env: &RunEnv,
    fail_if_none: bool,
) -> (Exit, Option<String>, usize) {
    let Round {
        summaries,
        not_tried,
        missing_threads,
    } = fetch_all(accounts, limits, env);
    let later = if not_tried > 0 { Exit::LATER } else { Exit::OK };
    let exit = summaries
        .iter()
        .fold(later, |exit, (_, summary)| exit.worst(summary.exit));
    let none = { summaries.iter() }.all(|(_, summary)| summary.tally.delivered == 0);
    let exit = if exit == Exit::OK && none && fail_if_none {
        Exit::NONE
    } else {
        exit
    };
    // after a signal, the summaries of some accounts are missing
    let complete = summaries.len() + not_tried == accounts.len();
    let named: Vec<_> = summaries
        .iter()
        .map(|(index, summary)| (accounts[*index].name.as_str(), summary))
        .collect();
    let closing = words::closing(&named, not_tried).filter(|_| complete);
    (exit, closing, missing_threads)
}

/// Returns whether summaries are printed: on a terminal, or with `-v`.
fn is_watched(context: &CommandContext) -> bool {
    !context.global.json
        && context.level >= Level::Normal
        && (watched() || shows_progress(context) || context.level >= Level::Verbose)
}

/// Returns whether to show progress.
fn shows_progress(context: &CommandContext) -> bool {
    match context.global.progress {
        // they would write to the same lines of the terminal
        When::Auto | When::Always if context.is_one_of_several() => false,
        When::Auto => watched() && context.setup.dirs.can_wipe(),
        When::Always => true,
        When::Never => false,
    }
}

/// Prompts for the passwords that the config does not provide, before accounts are fetched in
/// parallel. The run of an account reports that its password could not be read.
fn ask_for_secrets(accounts: &[Account], env: &mut RunEnv) {
    for account in accounts
        .iter()
        .filter(|account| account.secret == SecretSource::Prompt)
    {
        if env.secrets.contains_key(&account.name) {
            continue;
        }
        let secret = env.secret(account);
        // ^C cancels all prompts
        if env.stop.signal().is_some() {
            return;
        }
        env.secrets.insert(account.name.clone(), secret);
    }
}

/// Returns the settings that the command line overrides.
///
/// # Errors
/// `--to` or `--password-command` is not valid.
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
        mailbox: args.mailbox.clone(),
        password_command: command
            .map(|command| url::words("--password-command", command))
            .transpose()?,
    })
}

/// Returns the accounts to fetch.
///
/// # Errors
/// The config is wrong, there is no such account, or `--mailbox` is used for several accounts.
pub(super) fn accounts(
    context: &CommandContext,
    args: &args::Fetch,
    overrides: &Overrides,
) -> Result<Vec<Account>> {
    let mut accounts = context.setup.accounts(&args.accounts, overrides)?;
    if args.accounts.is_empty() && context.handover.is_none() {
        // they were reported together
        accounts.retain(|account| !account.secret.is_lost());
    }
    args.shard.retain(&mut accounts);
    if args.mailbox.is_some() && accounts.len() > 1 {
        return Err(Error::new(
            Kind::Usage,
            "`--mailbox` is for one account, not for several",
        )
        .with_hint("name it: `pouch fetch ACCOUNT --mailbox NAME`"));
    }
    Ok(accounts)
}

/// Returns what a run needs from its environment, with a reporter that suits the output.
///
/// # Errors
/// There are two state directories.
pub(super) fn env(context: &CommandContext, accounts: &[Account]) -> Result<RunEnv> {
    let mut env = context.setup.dirs.env(
        context.setup.state_dir()?,
        context.stop.clone(),
        reporter(context, accounts, None, None),
        context.level,
    );
    env.tls = TlsCache::new(context.roots.clone());
    if let Some(handover) = &context.handover {
        env.secrets.clone_from(&handover.secrets);
        // another user has no terminal
        if handover.user.is_some() {
            env.attendance = Attendance::Unattended;
        }
    }
    Ok(env)
}

/// Returns the reporter for the selected kind of output. `rounds` is set with `--every`.
fn reporter(
    context: &CommandContext,
    accounts: &[Account],
    log: Option<LogFormat>,
    rounds: Option<Arc<Rounds>>,
) -> Arc<dyn Reporter> {
    let (clock, level) = (dirs::clock(), context.level);
    let log = log.map(|format| {
        let format = format.into();
        Log {
            format,
            clock,
            level,
        }
    });
    match (context.global.json, log) {
        (true, None) => return Arc::new(Json { clock }),
        (false, Some(log)) => return Arc::new(log),
        (true, Some(log)) => {
            return Arc::new(Several(vec![Arc::new(Json { clock }), Arc::new(log)]));
        }
        (false, None) => {}
    }
    let names = accounts.iter().map(|account| account.name.chars().count());
    let progress = shows_progress(context);
    let plain = Plain {
        level: context.level,
        colour: context.colour,
        width: names.max().unwrap_or(0),
        watched: watched() || progress,
        rounds,
    };
    if progress && context.level >= Level::Normal {
        Arc::new(Terminal::new(plain))
    } else {
        Arc::new(plain)
    }
}
