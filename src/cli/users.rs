//! Accounts of several users, for a run of pouch by root (`deliver-as`).
//!
//! Root reads the config and the passwords that only root can read. The accounts of each user are
//! then run by a process of that user, as if the user had run pouch: with the user's own ledger,
//! files and programs. So nothing that pouch does in a directory of the user can reach a file of
//! root, whatever the user puts there. This process only waits for the others, and combines their
//! exit codes and JSON documents.
//!
//! A process of the user that delivers messages which root has fetched was rejected. It would need
//! a protocol for every destination, for the search for interrupted deliveries and for
//! `sync-deletions`, and root would still read names of files that the user chooses.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    io::{self, IsTerminal, Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::geteuid;
use serde_json::{Value, json};

use super::{
    CommandContext, Failure, account_user, activity,
    args::{Accounts, Command, Fetch, Ledger, LogFormat, Report, ShardOption, Status},
    dirs, fetch,
    handover::{Handover, MARK},
    list_reports::ListReports,
    login,
    metrics::MetricsFile,
    plugin, print_json,
};
use crate::{
    config::{Account, Author, SecretSource, Trust, overrides::Overrides},
    domain::time::Timestamp,
    error::{Error, Exit, Kind, Result},
    event::{Event, Reporter},
    report::{
        Colour, Level, complain, form, json,
        log::{Format, Log},
        metrics::{AccountMetrics, RunMetrics},
    },
    sys::{
        interrupt::{Interrupt, Wake},
        owner,
        password::Secret,
        process,
        user::User,
    },
    text::tilde,
};

/// The time for a process to end before a signal is forwarded to it. The signal of a terminal
/// reaches it directly, and a second one would end it at once.
const FORWARD_AFTER: Duration = Duration::from_millis(100);

/// Accounts that one process runs.
struct Group {
    user: Option<User>,
    accounts: Vec<(String, Account)>,
}

/// Replaces the accounts that a command was given. With `is_round`, they are fetched once.
pub(super) fn select(command: &mut Command, names: &[String], is_round: bool) {
    let accounts = match command {
        Command::Fetch(args) => {
            if is_round {
                args.every = None;
            }
            &mut args.accounts
        }
        Command::Plan(args) => &mut args.accounts.accounts,
        Command::Check(args) => &mut args.accounts,
        Command::Status(args) => &mut args.accounts.accounts,
        Command::Report(args) => &mut args.accounts.accounts,
        Command::Ledger(Ledger::List { accounts, .. } | Ledger::Verify(accounts)) => {
            &mut accounts.accounts
        }
        Command::Ledger(Ledger::Backup(args)) => &mut args.accounts,
        Command::Login(args) => {
            args.account = names.first().cloned();
            return;
        }
        Command::Init(_)
        | Command::Import(_)
        | Command::Ledger(_)
        | Command::Config(_)
        | Command::Completions { .. } => return,
    };
    *accounts = names.to_vec();
}

/// Returns the accounts that a command was given, or `None` if it uses no account.
pub(super) fn selected(command: &Command) -> Option<Vec<String>> {
    Some(match command {
        Command::Fetch(args) => args.accounts.clone(),
        Command::Plan(args) => args.accounts.accounts.clone(),
        Command::Check(args) => args.accounts.clone(),
        Command::Status(args) => args.accounts.accounts.clone(),
        Command::Report(args) => args.accounts.accounts.clone(),
        Command::Ledger(Ledger::List { accounts, .. } | Ledger::Verify(accounts)) => {
            accounts.accounts.clone()
        }
        Command::Ledger(Ledger::Show(args) | Ledger::Forget(args) | Ledger::Delete(args)) => {
            vec![args.account.clone()]
        }
        Command::Ledger(Ledger::Retry(args)) => vec![args.account.clone()],
        Command::Ledger(Ledger::Catchup(args)) => vec![args.account.clone()],
        Command::Ledger(Ledger::Adopt(args)) => vec![args.account.clone()],
        Command::Ledger(Ledger::Backup(args)) if args.accounts.is_empty() => return None,
        Command::Ledger(Ledger::Backup(args)) => args.accounts.clone(),
        Command::Ledger(Ledger::Export(args)) => vec![args.account.clone()],
        Command::Ledger(Ledger::Drop(args)) => vec![args.account.clone()],
        Command::Login(args) => args.account.iter().cloned().collect(),
        Command::Init(_)
        | Command::Import(_)
        | Command::Config(_)
        | Command::Ledger(Ledger::Restore(_))
        | Command::Completions { .. } => return None,
    })
}

/// Returns the shard that a command was given.
fn shard(command: &Command) -> ShardOption {
    match command {
        Command::Fetch(args) => args.shard,
        Command::Plan(args) => args.shard,
        Command::Status(args) => args.shard,
        _ => ShardOption::default(),
    }
}

/// Runs a command in processes of the users of its accounts. Returns `None` if this process can run
/// it itself.
///
/// # Errors
/// A process cannot be started, or the output cannot be written.
pub(super) fn run(
    context: &CommandContext,
    command: &Command,
    arguments: &[OsString],
) -> std::result::Result<Option<Exit>, Failure> {
    let names = match command {
        // only one user has that account
        Command::Login(args) if args.account.is_none() => vec![login::account(context, None)?.name],
        _ => match selected(command) {
            Some(names) => names,
            None => return Ok(None),
        },
    };
    let fetch = fetch_of(command);
    let mut publisher = Publisher::new(context, fetch, &names)?;
    // metrics have all accounts, also those of other users
    let scope = if publisher.file.is_some() {
        &[]
    } else {
        names.as_slice()
    };
    if !context.setup.has_users(scope) {
        return Ok(None);
    }
    // the accounts of the next round may be those of other users
    let interval = interval(context, fetch).filter(|_| geteuid().is_root());
    let mut lists = None;
    loop {
        let has_rounds = interval.is_some();
        let names_and_arguments = (names.as_slice(), arguments);
        let ended = once(
            context,
            command,
            names_and_arguments,
            has_rounds,
            &mut publisher,
        )?;
        let (Some(exit), Some(_)) = (ended, fetch) else {
            return Ok(ended);
        };
        let lists = lists.get_or_insert_with(|| ListReports::new(context, &names));
        if interval.is_none_or(|interval| context.stop.sleep(interval).is_err()) {
            if context.global.json {
                let clock = dirs::clock();
                json::Json { clock }.end(exit);
            }
            return Ok(Some(exit));
        }
        lists.refresh(context)?;
    }
}

/// Returns the time between two rounds, if this process has to read the accounts again before each.
fn interval(context: &CommandContext, fetch: Option<&Fetch>) -> Option<Duration> {
    let every = fetch?.every?;
    context.setup.has_list().then(|| every.into())
}

/// Runs a command once in processes of the users. Returns `None` if this process can run it itself,
/// unless it must not, because there will be `more_rounds`.
fn once(
    context: &CommandContext,
    command: &Command,
    (names, arguments): (&[String], &[OsString]),
    more_rounds: bool,
    publisher: &mut Publisher<'_>,
) -> std::result::Result<Option<Exit>, Failure> {
    publisher.started = dirs::clock().now();
    let fetch = fetch_of(command);
    let connects = matches!(command, Command::Fetch(_) | Command::Plan(_));
    let divided = groups(context, names, connects, shard(command));
    let are_own = |(groups, failed): &(Vec<Group>, Vec<(String, Error)>)| {
        failed.is_empty() && groups.iter().all(|group| group.user.is_none())
    };
    if !more_rounds
        && are_own(&divided)
        && (publisher.file.is_none()
            || are_own(&groups(context, &[], false, ShardOption::default())))
    {
        return Ok(None);
    }
    if let Some(args) = fetch {
        // mistakes in the command line are reported once
        fetch::selected(context, args)?;
    }
    let report = report_of(context, command)?;
    let (groups, failed) = divided;
    let mut combined = Combined::default();
    for (name, error) in failed {
        report_failure(context, fetch, &name, &error, &mut combined);
    }
    let handovers = handovers(context, command, &groups, &mut combined);
    let mut is_whole = handovers.len() == 1 && combined.accounts.is_empty();
    let check = match command {
        Command::Status(args) => args.check.map(|limit| (args, limit)),
        _ => None,
    };
    // the line of a check has them
    is_whole &= check.is_none() || context.problems_exit() == Exit::OK;
    let check = check.filter(|_| !is_whole);
    let merges = report.is_some()
        || (context.global.json || check.is_some()) && fetch.is_none() && !is_whole;
    let mut arguments = arguments.to_vec();
    if check.is_some() || report.is_some() {
        arguments.insert(1, "--json".into());
    }
    let order = Order {
        arguments,
        merges,
        one_by_one: fetch.is_none_or(|args| args.to.as_deref() == Some("-")),
    };
    order.run(context, &handovers, &mut combined, publisher)?;
    let mut exit = combined.exit(fetch.is_some());
    if names.is_empty() {
        exit = context.problems_exit().worst(exit);
    }
    let exit = exit.worst(publisher.write(Some(exit)));
    if let Some((args, limit)) = check {
        let exit = plugin::print(context, args, limit, combined.accounts)?;
        return Ok(Some(exit));
    }
    if let Some(args) = report {
        activity::write_combined(context, args, combined.accounts)?;
    } else if merges {
        print_json(&combined.document())?;
    }
    Ok(Some(exit))
}

/// Returns the options of a report that this process writes, from what other processes have read.
///
/// # Errors
/// The report cannot be written.
fn report_of<'c>(context: &CommandContext, command: &'c Command) -> Result<Option<&'c Report>> {
    match command {
        Command::Report(args) if !context.global.json => {
            activity::check(context, args)?;
            Ok(Some(args))
        }
        _ => Ok(None),
    }
}

/// Returns the options of a command that fetches.
fn fetch_of(command: &Command) -> Option<&Fetch> {
    match command {
        Command::Fetch(args) if !args.dry_run => Some(args),
        _ => None,
    }
}

/// How the processes are run.
struct Order {
    /// Their command line.
    arguments: Vec<OsString>,
    /// Whether their JSON documents are combined.
    merges: bool,
    /// Whether they run one after the other, since they write to the same output.
    one_by_one: bool,
}

impl Order {
    /// Runs a process for each handover, and waits for them.
    fn run(
        &self,
        context: &CommandContext,
        handovers: &[Handover],
        combined: &mut Combined,
        publisher: &mut Publisher<'_>,
    ) -> Result<()> {
        let mut running = Vec::new();
        for handover in handovers {
            if context.stop.signal().is_some() {
                break;
            }
            let process = Process::start(context, &self.arguments, handover, self.merges)?;
            running.push(process);
            if self.one_by_one {
                wait(&mut running, &context.stop, combined, publisher)?;
            }
        }
        wait(&mut running, &context.stop, combined, publisher)
    }
}

/// Writes the metrics of all accounts, if the command or the config asks for that. The processes of
/// users cannot: the file is that of this process.
struct Publisher<'a> {
    context: &'a CommandContext,
    /// The accounts that are fetched.
    names: &'a [String],
    file: Option<MetricsFile>,
    log: Option<LogFormat>,
    started: Timestamp,
    /// The interval of `--every`. This process does not know when a round of another one ends.
    every: Option<Duration>,
}

impl<'a> Publisher<'a> {
    /// Returns the publisher for a command that fetches. For other commands, it writes nothing.
    fn new(
        context: &'a CommandContext,
        fetch: Option<&Fetch>,
        names: &'a [String],
    ) -> Result<Self> {
        let file = match fetch {
            Some(args) => MetricsFile::find(context, args)?,
            None => None,
        };
        Ok(Self {
            context,
            names,
            every: fetch
                .and_then(|args| args.every)
                .filter(|_| file.is_some())
                .map(Duration::from),
            file,
            log: fetch.and_then(|args| args.log),
            started: dirs::clock().now(),
        })
    }

    /// Returns the time at which the metrics have to be written next while processes run.
    fn next(&self) -> Option<Instant> {
        Instant::now().checked_add(self.every?)
    }

    /// Writes the metrics. Returns the exit code that follows from it. `exit` is that of the run if it
    /// is over.
    fn write(&mut self, exit: Option<Exit>) -> Exit {
        let Some(file) = &mut self.file else {
            return Exit::OK;
        };
        let run = RunMetrics {
            ended: dirs::clock().now(),
            outcome: exit.map(|exit| (self.started, exit)),
        };
        let (context, names) = (self.context, self.names);
        file.write(context, self.log, run, || metrics_of_all(context, names))
    }
}

/// Returns the metrics of all enabled accounts and of those named, whose ledgers are read by processes
/// of their users.
fn metrics_of_all(context: &CommandContext, names: &[String]) -> Result<Vec<AccountMetrics>> {
    let (mut groups, mut failed) = self::groups(context, &[], false, ShardOption::default());
    let is_known = |name: &String| {
        let groups = groups.iter().flat_map(|group| &group.accounts);
        let failed = failed.iter().map(|(name, _)| name);
        groups
            .map(|(name, _)| name)
            .chain(failed)
            .any(|known| known == name)
    };
    let others: Vec<_> = names
        .iter()
        .filter(|name| !is_known(name))
        .cloned()
        .collect();
    if !others.is_empty() {
        let (more, more_failed) = self::groups(context, &others, false, ShardOption::default());
        groups.extend(more);
        failed.extend(more_failed);
    }
    let command = Command::Status(Status {
        accounts: Accounts {
            accounts: Vec::new(),
        },
        shard: ShardOption::default(),
        problems: false,
        check: None,
    });
    let mut combined = Combined::default();
    let handovers = handovers(context, &command, &groups, &mut combined);
    let program = std::env::args_os().next().unwrap_or_else(|| "pouch".into());
    let order = Order {
        arguments: vec![program, "--json".into(), "status".into()],
        merges: true,
        one_by_one: false,
    };
    order.run(
        context,
        &handovers,
        &mut combined,
        &mut Publisher::new(context, None, &[])?,
    )?;
    let unreadable = failed
        .iter()
        .map(|(name, _)| AccountMetrics::unreadable(name));
    let found = combined.accounts.iter().map(AccountMetrics::from_document);
    Ok(found.chain(unreadable).collect())
}

/// Returns what the process of each group gets. Accounts for which that fails are reported.
fn handovers(
    context: &CommandContext,
    command: &Command,
    groups: &[Group],
    combined: &mut Combined,
) -> Vec<Handover> {
    let fetch = fetch_of(command);
    // directories of users are created before another process creates the one above them
    let mut handovers = Vec::new();
    for group in groups {
        match handover(context, command, group, groups.len() == 1) {
            Ok(handover) => handovers.push(handover),
            Err(error) => {
                for (name, _) in &group.accounts {
                    report_failure(context, fetch, name, &error, combined);
                }
            }
        }
    }
    handovers
}

/// Divides the accounts by user, those of this process first. Returns them with the accounts that
/// cannot be run. If the accounts are not valid, the command itself reports that.
///
/// With `connects`, accounts without a known password are left out, unless they are named.
fn groups(
    context: &CommandContext,
    names: &[String],
    connects: bool,
    shard: ShardOption,
) -> (Vec<Group>, Vec<(String, Error)>) {
    let overrides = Overrides {
        no_delivery: true,
        ..Overrides::default()
    };
    let Ok(mut accounts) = context.setup.accounts(names, &overrides) else {
        return (Vec::new(), Vec::new());
    };
    shard.retain(&mut accounts);
    let mut groups: BTreeMap<Option<String>, Group> = BTreeMap::new();
    let mut failed = Vec::new();
    let mut users = HashMap::new();
    for account in accounts {
        if connects && names.is_empty() && account.secret.is_lost() {
            continue;
        }
        let name = account.name.clone();
        // there may be many accounts of one user
        let found = users
            .entry(account.deliver_as.clone())
            .or_insert_with(|| account_user::of(&account));
        match found.clone() {
            Ok(user) => groups
                .entry(user.as_ref().map(|user| user.name.clone()))
                .or_insert_with(|| Group {
                    user,
                    accounts: Vec::new(),
                })
                .accounts
                .push((name, account)),
            Err(error) => failed.push((name, error)),
        }
    }
    (groups.into_values().collect(), failed)
}

/// Returns the handover for the process of a group.
fn handover(
    context: &CommandContext,
    command: &Command,
    group: &Group,
    is_alone: bool,
) -> Result<Handover> {
    let path = std::path::absolute(&context.setup.path);
    let explicit = context.setup.explicit_state_dir();
    let state_dir = match (&group.user, explicit) {
        (Some(user), Some(dir)) => {
            let shown = tilde(&dir, &context.setup.dirs.home);
            owner::check_directory(&dir, &shown)?;
            Some(user.create_dir(&dir, &shown)?)
        }
        _ => None,
    };
    Ok(Handover {
        user: group.user.clone(),
        config_path: path.unwrap_or_else(|_| context.setup.path.clone()).into(),
        config: context.setup.text().unwrap_or_default().to_owned(),
        sources: context.setup.handed_sources(
            &group
                .accounts
                .iter()
                .map(|(name, _)| name.as_str())
                .collect(),
        )?,
        state_dir: state_dir.map(Into::into),
        accounts: group
            .accounts
            .iter()
            .map(|(name, _)| name.clone())
            .collect(),
        secrets: secrets(context, command, group)?,
        is_round: interval(context, fetch_of(command)).is_some() && geteuid().is_root(),
        is_alone,
        has_terminal: io::stdin().is_terminal(),
        parent: std::process::id(),
    })
}

/// Returns the secrets that the process of a group cannot obtain, by account. An error is reported
/// by the run of the account.
fn secrets(
    context: &CommandContext,
    command: &Command,
    group: &Group,
) -> Result<BTreeMap<String, Result<Secret>>> {
    let connects = match command {
        Command::Fetch(args) => args.password_command.is_none(),
        Command::Plan(_)
        | Command::Check(_)
        | Command::Ledger(Ledger::Catchup(_) | Ledger::Adopt(_)) => true,
        _ => false,
    };
    let env = fetch::env(context, &[])?;
    let accounts = group.accounts.iter().filter(|_| connects);
    let needed = accounts.filter(|(_, account)| match account.secret {
        SecretSource::Command(_)
        | SecretSource::TokenCommand(_)
        | SecretSource::OAuth(_)
        | SecretSource::Certificate => false,
        // it must not come from a file that the user names
        _ if account.author == Author::User => false,
        SecretSource::Prompt | SecretSource::Given(_) => true,
        SecretSource::File(_) | SecretSource::Credential(_) => group.user.is_some(),
    });
    Ok(needed
        .map(|(name, account)| {
            let account = Account {
                // the user reads them
                client_certificate: None,
                trust: Trust::System,
                ..account.clone()
            };
            (name.clone(), env.secret(&account))
        })
        .collect())
}

/// A process that runs a group.
struct Process {
    /// The user, for messages.
    user: String,
    accounts: Vec<String>,
    child: Child,
    /// Reads its JSON document.
    output: Option<thread::JoinHandle<Vec<u8>>>,
}

impl Process {
    /// Starts a process for the accounts of a handover, with the arguments of this process.
    ///
    /// # Errors
    /// [`Kind::Io`].
    fn start(
        context: &CommandContext,
        arguments: &[OsString],
        handover: &Handover,
        merges: bool,
    ) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::new(
                Kind::Io,
                "cannot start a process for the accounts of a user",
            )
            .with_fact(error.to_string())
        };
        let document = handover.document()?;
        let (name, rest) = arguments
            .split_first()
            .ok_or_else(|| Error::new(Kind::Bug, "there is no command line"))?;
        let mut command = process::this_program(name);
        if let Some(user) = &handover.user {
            let environment = context.setup.dirs.environment_of(user);
            command.env_clear().envs(environment);
        }
        process::restore_environment(&mut command);
        command.arg(MARK).args(rest).stdin(Stdio::piped());
        if merges {
            command.stdout(Stdio::piped());
        }
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut input) = child.stdin.take() {
            // if the process has failed, its exit code says so
            let _ = input.write_all(&document);
        }
        let output = child.stdout.take().map(|mut output| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = output.read_to_end(&mut bytes);
                bytes
            })
        });
        let user = handover.user.as_ref();
        Ok(Self {
            user: user.map_or_else(|| "root".into(), |user| user.name.clone()),
            accounts: handover.accounts.clone(),
            child,
            output,
        })
    }
}

/// Waits for all processes, and adds their outcomes to `combined`. A signal to this process ends
/// them.
fn wait(
    running: &mut Vec<Process>,
    stop: &Interrupt,
    combined: &mut Combined,
    publisher: &mut Publisher<'_>,
) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::new(Kind::Io, "cannot wait for a process").with_fact(error.to_string())
    };
    let mut is_stopped = false;
    let mut deadline = publisher.next();
    loop {
        let mut ended = Vec::new();
        for index in (0..running.len()).rev() {
            if let Some(status) = running[index].child.try_wait().map_err(failed)? {
                ended.push((running.remove(index), status));
            }
        }
        for (process, status) in ended {
            combined.add(process, status, stop);
        }
        if running.is_empty() {
            break;
        }
        let children = running.iter().map(|process| &process.child);
        if is_stopped {
            process::wait_for_any(children, &Interrupt::default(), None).map_err(failed)?;
            continue;
        }
        match process::wait_for_any(children, stop, deadline).map_err(failed)? {
            Wake::Signal => {
                is_stopped = true;
                let _ = Interrupt::default().sleep(FORWARD_AFTER);
                for process in running.iter_mut() {
                    if matches!(process.child.try_wait(), Ok(None)) {
                        process::terminate(&process.child);
                    }
                }
            }
            Wake::Deadline => {
                publisher.write(None);
                deadline = publisher.next();
            }
            Wake::Ready => {}
        }
    }
    Ok(())
}

/// The outcomes of all processes.
#[derive(Default)]
struct Combined {
    exits: Vec<Exit>,
    /// The JSON objects of the accounts.
    accounts: Vec<Value>,
    /// The other members of the JSON documents.
    rest: serde_json::Map<String, Value>,
}

impl Combined {
    /// Adds the outcome of a process.
    fn add(&mut self, process: Process, status: std::process::ExitStatus, stop: &Interrupt) {
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        self.exits.push(match (code, status.signal()) {
            (Some(code), _) => Exit(code),
            (None, Some(signal)) if stop.signal().is_some() => Kind::Stopped(signal).exit(),
            (None, signal) => {
                let what = format!(
                    "the process for the accounts of `{}` was killed",
                    process.user
                );
                let fact = format!("by signal {}", signal.unwrap_or_default());
                let error = Error::new(Kind::Io, what).with_fact(fact);
                complain(&form(None, &error, Colour(false)));
                error.kind().exit()
            }
        });
        let Some(bytes) = process.output.and_then(|output| output.join().ok()) else {
            return;
        };
        let Ok(Value::Object(mut document)) = serde_json::from_slice(&bytes) else {
            return;
        };
        if let Some(problem) = document.remove("problem") {
            let accounts = process.accounts.iter();
            let failed = accounts.map(|name| json!({ "account": name, "problem": problem }));
            self.accounts.extend(failed);
        }
        if let Some(Value::Array(accounts)) = document.remove("accounts") {
            self.accounts.extend(accounts);
        }
        for (key, value) in document {
            // the sandbox of `check` is in force if it is for all
            let is_weaker = value["in_force"] == false;
            if is_weaker || !self.rest.contains_key(&key) {
                self.rest.insert(key, value);
            }
        }
    }

    /// Returns the most severe exit code. There is new mail if one process fetched some.
    fn exit(&self, is_fetch: bool) -> Exit {
        let exits = self.exits.iter();
        let worst = exits.fold(Exit::OK, |worst, exit| worst.worst(*exit));
        if is_fetch && worst == Exit::NONE && self.exits.contains(&Exit::OK) {
            Exit::OK
        } else {
            worst
        }
    }

    /// Returns the JSON document of all accounts.
    fn document(self) -> Value {
        let mut document = self.rest;
        document.insert("accounts".into(), self.accounts.into());
        document.into()
    }
}

/// Reports that an account cannot be run.
fn report_failure(
    context: &CommandContext,
    fetch: Option<&Fetch>,
    account: &str,
    error: &Error,
    combined: &mut Combined,
) {
    combined.exits.push(error.kind().exit());
    let (clock, level) = (dirs::clock(), context.level);
    let log = fetch.and_then(|args| args.log).map(Format::from);
    if let Some(format) = log {
        let log = Log {
            format,
            clock,
            level,
        };
        log.event(account, &Event::Problem { error, tell: true });
    }
    if context.global.json && fetch.is_some() {
        json::Json { clock }.problem(error);
    } else if context.global.json {
        let problem = json::error(error);
        let failed = json!({ "account": account, "problem": problem });
        combined.accounts.push(failed);
    } else if level > Level::Silent && log.is_none() {
        complain(&form(Some(account), error, context.colour));
    }
}
