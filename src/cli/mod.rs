//! The commands.
//!
//! Each command returns its exit status or a failure. Failures are printed here.

mod accounts_command;
mod activity;
pub mod args;
mod capacity;
mod check;
mod complete;
mod config;
mod config_files;
pub mod dirs;
mod existing;
mod fetch;
mod import;
mod init;
mod ledger;
mod login;
mod metrics;
mod plan;
mod plugin;
mod probe;
mod problem_reports;
mod problem_store;
pub mod setup;
mod sources;
mod sparklines;
mod state;
mod status;
pub mod users;

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
};

use clap::{
    CommandFactory, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use serde_json::{Value, json};

use crate::{
    config::resolve::Problem,
    error::{Error, Exit, Kind},
    net::SystemRoots,
    report::{self, Colour, Level, log::Log},
    sys::{interrupt::Interrupt, process},
    text::{count, sanitize},
};
use args::{Cli, Command, Fetch, Global, When};
use dirs::Dirs;
use problem_store::ProblemStore;
use setup::Setup;
use users::handover::Handover;

/// An error that ended a command, with its exit status.
struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            exit: error.kind().exit(),
            error: anyhow::Error::new(error),
        }
    }
}

impl From<anyhow::Error> for Failure {
    /// Converts an error of writing output.
    fn from(error: anyhow::Error) -> Self {
        Self {
            exit: Kind::Io.exit(),
            error,
        }
    }
}

/// What the process was started with, besides the parsed command line.
struct Start {
    /// The command line, which begins with the name of the program.
    arguments: Vec<OsString>,
    roots: SystemRoots,
    stop: Interrupt,
    handover: Option<Handover>,
}

/// The number of accounts that cannot be used and are reported one by one.
const SHOWN_PROBLEMS: usize = 10;

type CommandResult = Result<Exit, Failure>;

/// The inputs of all commands.
struct CommandContext {
    global: Global,
    setup: Setup,
    roots: SystemRoots,
    stop: Interrupt,
    level: Level,
    /// The colour setting for standard error.
    colour: Colour,
    /// The log on standard error, if `--log` replaces the messages.
    log: Option<Log>,
    /// What another pouch process handed to this one.
    handover: Option<Handover>,
    /// The accounts and the sources of accounts that a command for all accounts cannot use.
    problems: Vec<Problem>,
}

/// Returns a problem as JSON.
fn document_of(problem: &Problem) -> Value {
    let error = report::json::error(&problem.error);
    json!({ "account": problem.account, "problem": error })
}

impl CommandContext {
    /// Returns whether other processes run accounts of the same command.
    fn is_one_of_several(&self) -> bool {
        let handover = self.handover.as_ref();
        handover.is_some_and(|handover| !handover.is_alone)
    }

    /// Writes events of `fetch` about accounts and sources of accounts that cannot be used: to the
    /// log, and if they are new, as JSON. The flags of each problem are whether it is new, and
    /// whether it has to be reported.
    fn report_events(&self, problems: &[(Problem, bool, bool)]) {
        let json = report::json::Json {
            clock: dirs::clock(),
        };
        for (problem, is_new, tell) in problems {
            let (account, error) = (problem.account.as_deref(), &problem.error);
            if self.global.json && *is_new {
                json.problem_of(account, error);
            }
            if let Some(log) = self.log.filter(|_| *is_new || *tell) {
                log.problem_of(account, error, *tell);
            }
        }
    }

    /// Prints accounts and sources of accounts that cannot be used.
    fn print_problems(&self, problems: &[Problem]) {
        if self.level == Level::Silent || self.log.is_some() {
            return;
        }
        for problem in problems.iter().take(SHOWN_PROBLEMS) {
            let name = problem.account.as_deref();
            report::complain(&report::form(name, &problem.error, self.colour));
        }
        let more = problems.len().saturating_sub(SHOWN_PROBLEMS) as u64;
        if more > 0 {
            let what = format!("{} cannot be used", count(more, "more account"));
            report::complain(&format!("{} {what}", self.colour.alarm("pouch:")));
        }
    }

    /// Returns the JSON document of accounts. If the command uses all accounts, the document also
    /// contains the accounts and sources of accounts that cannot be used.
    fn accounts_document(&self, accounts: &[Value]) -> Value {
        let problems: Vec<_> = self.problems.iter().map(document_of).collect();
        json!({ "accounts": accounts, "problems": problems })
    }

    /// Returns the exit status for accounts that cannot be used.
    fn problems_exit(&self) -> Exit {
        if self.handover.is_some() {
            // another process takes them into account
            return Exit::OK;
        }
        let problems = self.setup.problems().unwrap_or_default();
        let exits = problems.iter().map(|problem| problem.error.kind().exit());
        exits.fold(Exit::OK, Exit::worst)
    }

    /// Returns the context after the config was changed.
    fn renewed(&self) -> Result<Self, Error> {
        let (config, state_dir) = (self.global.config.clone(), self.global.state_dir.clone());
        Ok(Self {
            setup: Setup::read(config, state_dir, None, self.stop.clone())?,
            global: self.global.clone(),
            roots: self.roots.clone(),
            log: self.log,
            stop: self.stop.clone(),
            level: self.level,
            colour: self.colour,
            handover: None,
            problems: Vec::new(),
        })
    }

    /// Returns the colour setting for standard output.
    fn stdout_colour(&self) -> Colour {
        match self.global.color {
            When::Auto => Colour(self.colour.0 && io::stdout().is_terminal()),
            When::Always => Colour(true),
            When::Never => Colour(false),
        }
    }
}

/// Prints completions and exits if a shell started pouch for completion.
pub fn complete() {
    clap_complete::CompleteEnv::with_factory(Cli::command)
        .shells(complete::SHELLS)
        .complete();
}

/// Runs pouch with `arguments`, which begin with the program's name. Returns its exit status, and
/// the signal that terminated it, if any.
///
/// `roots` are the authorities of the system if [`SystemRoots::VARIABLE`] was replaced by
/// [`SystemRoots::EMPTY`], or `None` if native-tls finds them.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    roots: Option<SystemRoots>,
) -> (Exit, Option<i32>) {
    let mut arguments = join_negative_values(arguments);
    // before threads are started
    let handover = match Handover::receive(&mut arguments) {
        Ok(handover) => handover,
        Err(error) => return (fail(&error.into(), Colour(false)), None),
    };
    let cli = match parse(&arguments) {
        Ok(cli) => cli,
        Err(error) if plugin::is_requested(&arguments) && error.use_stderr() => {
            return (plugin::reject(&error, &arguments), None);
        }
        Err(error) => return (usage(&error, arguments.get(1)), None),
    };
    let stop = match Interrupt::on_signals() {
        Ok(stop) => stop,
        Err(error) => return (fail(&bug(&error), Colour(false)), None),
    };
    if let Some(roots) = &roots {
        process::restore_in_children(SystemRoots::VARIABLE, roots.original());
    }
    let start = Start {
        arguments,
        roots: roots.unwrap_or_default(),
        stop: stop.clone(),
        handover,
    };
    let exit = command(cli, start);
    (exit, stop.signal())
}

/// Joins a negative value with the option before it: `--wait -1s` becomes `--wait=-1s`, so that the
/// value is reported as wrong, and not as an unknown option.
fn join_negative_values(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let is_negative = |word: &[u8]| matches!(word, [b'-', b'0'..=b'9', ..]);
    let mut joined: Vec<OsString> = Vec::new();
    for argument in arguments {
        match joined.last_mut() {
            Some(option)
                if is_negative(argument.as_encoded_bytes())
                    && option.as_encoded_bytes().starts_with(b"--")
                    && option.len() > 2
                    && !option.as_encoded_bytes().contains(&b'=') =>
            {
                option.push("=");
                option.push(argument);
            }
            _ => joined.push(argument),
        }
    }
    joined
}

/// Parses the command line. Without a command, options of `fetch` are accepted: `pouch -n` means
/// `pouch fetch -n`.
fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let error = match Cli::try_parse_from(arguments) {
        Ok(cli) => return Ok(cli),
        Err(error) => error,
    };
    let options = arguments.get(1..).unwrap_or_default();
    let begins_with_option = options
        .first()
        .is_some_and(|first| first.as_encoded_bytes().starts_with(b"-"));
    // options of another command are not treated as options of `fetch`
    let names_command = options
        .iter()
        .any(|word| Cli::command().find_subcommand(word).is_some());
    if error.kind() != ErrorKind::UnknownArgument || !begins_with_option || names_command {
        return Err(error);
    }
    let program = arguments.first().cloned();
    let fetch = program.into_iter().chain(["fetch".into()]);
    Cli::try_parse_from(fetch.chain(options.iter().cloned())).map_err(|second| {
        match second.kind() {
            ErrorKind::UnknownArgument => error,
            _ => second,
        }
    })
}

fn bug(error: &io::Error) -> Failure {
    Error::new(Kind::Bug, "cannot install signal handlers")
        .with_fact(error.to_string())
        .into()
}

/// Prints an error about the command line, or the requested help. `first` is the first argument.
fn usage(error: &clap::Error, first: Option<&OsString>) -> Exit {
    if error.use_stderr() && report::watched() {
        let colour = Dirs::find().map_or(Colour(false), |dirs| dirs.colour(None));
        let text = error.render();
        let text = if colour.0 {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        report::complain(text.trim_end());
    } else {
        // if that fails, nothing can report it
        let _ = error.print();
    }
    // other fetchers accept the name of an account here
    if let (Some(ContextValue::String(name)), None) = (
        error.get(ContextKind::InvalidSubcommand),
        error.get(ContextKind::SuggestedSubcommand),
    ) && first.is_some_and(|first| first == name.as_str())
    {
        let name = sanitize(name.as_bytes());
        let hint = if name.contains("://") {
            format!("hint: use `pouch fetch {name}`")
        } else {
            format!("hint: if `{name}` is an account, `pouch fetch {name}` fetches it")
        };
        report::complain(&hint);
    }
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::OK,
        _ => Kind::Usage.exit(),
    }
}

fn command(cli: Cli, start: Start) -> Exit {
    let level = cli.global.level();
    let colour = Dirs::find().map_or(Colour(false), |dirs| dirs.colour(cli.global.color.forced()));
    let json = cli.global.json;
    let in_lines = matches!(
        &cli.command,
        None | Some(Command::Fetch(Fetch { dry_run: false, .. }))
    );
    let is_part = start.handover.is_some();
    let is_plugin = cli.command.as_ref().is_some_and(is_plugin);
    let log = log(&cli, level);
    match dispatch(cli, start, level, colour) {
        Ok(exit) => exit,
        Err(failure) => {
            if is_plugin && let Some(error) = failure.error.downcast_ref::<Error>() {
                return plugin::fail(level, json, error);
            }
            if json && let Some(error) = failure.error.downcast_ref::<Error>() {
                document(error, failure.exit, in_lines, is_part);
            }
            if let Some(log) = log
                && let Some(error) = failure.error.downcast_ref::<Error>()
            {
                log.problem(error);
                error.further().iter().for_each(|error| log.problem(error));
                return failure.exit;
            }
            if level == Level::Silent {
                failure.exit
            } else {
                fail(&failure, colour)
            }
        }
    }
}

/// Returns the log that `--log` asks for.
fn log(cli: &Cli, level: Level) -> Option<Log> {
    let Some(Command::Fetch(args)) = &cli.command else {
        return None;
    };
    Some(Log {
        format: args.log?.into(),
        clock: dirs::clock(),
        level,
    })
}

/// Writes a failure as JSON: as the last lines of `fetch`, or as the document of another command.
/// The process that handed over a part of the accounts writes the last line.
fn document(error: &Error, exit: Exit, in_lines: bool, is_part: bool) {
    if in_lines {
        let lines = report::json::Json {
            clock: dirs::clock(),
        };
        lines.problem(error);
        if !is_part {
            lines.end(exit);
        }
    } else {
        // if standard output cannot be written, the message on standard error is enough
        let _ = print_json(&json!({ "problem": report::json::error(error) }));
    }
}

fn fail(failure: &Failure, colour: Colour) -> Exit {
    let text = match failure.error.downcast_ref::<Error>() {
        Some(error) => report::form(None, error, colour),
        None => format!("{} {:#}", colour.alarm("pouch:"), failure.error),
    };
    report::complain(&text);
    failure.exit
}

fn dispatch(cli: Cli, start: Start, level: Level, colour: Colour) -> CommandResult {
    if let Some(Command::Completions { shell }) = cli.command {
        report::print(shell.startup_line())?;
        return Ok(Exit::OK);
    }
    let log = log(&cli, level);
    let mut context = CommandContext {
        log,
        setup: Setup::read(
            cli.global.config.clone(),
            cli.global.state_dir.clone(),
            start.handover.as_ref(),
            start.stop.clone(),
        )?,
        global: cli.global,
        roots: start.roots,
        stop: start.stop,
        level,
        colour,
        handover: start.handover,
        problems: Vec::new(),
    };
    let mut command = cli
        .command
        .unwrap_or_else(|| Command::Fetch(Fetch::default()));
    if let Some(handover) = &context.handover {
        users::select(&mut command, handover);
    }
    if let Command::Fetch(args) = &command
        && !args.dry_run
    {
        return fetch(&mut context, args, &command, &start.arguments);
    }
    if context.handover.is_none() && uses_all_accounts(&command) {
        context.problems = problems(&context, &command)?;
        context.print_problems(&context.problems);
    }
    if context.handover.is_none()
        && let Some(exit) = users::run(&context, &command, &start.arguments)?
    {
        return Ok(exit);
    }
    // the exit status of a check has them
    let exit = if uses_all_accounts(&command) && !is_plugin(&command) {
        context.problems_exit()
    } else {
        Exit::OK
    };
    Ok(exit.worst(run_command(&context, command)?))
}

/// Runs `pouch fetch`, if necessary in processes of the users to whom the accounts belong.
fn fetch(
    context: &mut CommandContext,
    args: &Fetch,
    command: &Command,
    arguments: &[OsString],
) -> CommandResult {
    let mut reports = problem_reports::ProblemReports::start(context, &args.accounts)?;
    loop {
        if context.handover.is_none()
            && let Some(exit) = users::run_fetch(context, (args, command), arguments, &mut reports)?
        {
            return Ok(exit);
        }
        let has_others = |context: &_| users::are_needed(context, args);
        if let Some(exit) = fetch::run(context, args, &mut reports, &has_others)? {
            return Ok(exit);
        }
    }
}

/// Returns the accounts and sources of accounts that cannot be used.
fn problems(context: &CommandContext, command: &Command) -> Result<Vec<Problem>, Error> {
    let mut problems = context.setup.problems()?;
    if matches!(command, Command::Status(_))
        && !problems.is_empty()
        && let Ok(state_dir) = context.setup.state_dir()
    {
        let store = ProblemStore::read(&state_dir.path);
        let now = dirs::clock().now();
        for problem in &mut problems {
            *problem = store.dated(problem, now);
        }
    }
    Ok(problems)
}

/// Runs a command other than `fetch` in this process.
fn run_command(context: &CommandContext, command: Command) -> CommandResult {
    match command {
        Command::Fetch(args) => plan::run(context, &args),
        Command::Plan(args) => plan::run(
            context,
            &Fetch {
                accounts: args.accounts.accounts,
                shard: args.shard,
                ..Fetch::default()
            },
        ),
        Command::Status(args) => status::run(context, &args),
        Command::Report(args) => activity::run(context, &args),
        Command::Check(accounts) => check::run(context, &accounts),
        Command::Init(args) => init::run(context, &args),
        Command::Login(args) => login::run(context, &args),
        Command::Import(args) => import::run(context, &args),
        Command::Config(command) => config::run(context, &command),
        Command::Ledger(command) => ledger::run(context, command),
        Command::Completions { .. } => Ok(Exit::OK),
    }
}

/// Returns whether a command uses all accounts, since none is named.
fn uses_all_accounts(command: &Command) -> bool {
    match command {
        Command::Config(args::Config::Show(accounts)) => accounts.accounts.is_empty(),
        _ => users::selected(command).is_some_and(|names| names.is_empty()),
    }
}

/// Returns whether a command is a plugin of a monitoring system.
fn is_plugin(command: &Command) -> bool {
    matches!(command, Command::Status(args) if args.check.is_some())
}

/// Prints a JSON document.
fn print_json(document: &Value) -> anyhow::Result<()> {
    report::print(&format!("{document:#}\n"))
}
