//! `pouch check`: tests each step of a run.
//!
//! The steps are those of `pouch fetch`, and use the same code. Each one is reported as soon as it
//! has succeeded or failed.

mod steps;

use std::{path::Path, time::Instant};

use serde_json::json;

use super::{CommandContext, CommandResult, args::Accounts, fetch, print_json, probe};
use crate::{
    config::{Account, Tls, overrides::Overrides},
    domain::{
        auth::Mechanism,
        destination::Destination,
        plan::Keep,
        provider::{is_recent, provider_of},
        time::{TimeSpan, Timestamp},
    },
    error::{Error, Exit, Kind, Result},
    fetch::{
        connect::{Milestone, connect, described_route, show_certificate, with_access_hint},
        env::{RunEnv, check_not_exported},
        hooks,
        logins::record_success,
        tokens,
    },
    ledger::{self, Ledger},
    net::Certificate,
    pop3::reply::Capabilities,
    report::print_wrapped,
    sys::{
        password::{self, Secret},
        process,
        sandbox::Status,
    },
    text::{count, day, sanitize, tilde, time_of_day},
};

pub(super) use steps::Step;
use steps::Steps;

/// Runs `pouch check`.
pub(super) fn run(context: &CommandContext, accounts: &Accounts) -> CommandResult {
    let accounts = context.setup.accounts(
        &accounts.accounts,
        &Overrides {
            no_delivery: true,
            ..Overrides::default()
        },
    )?;
    let env = fetch::env(context, &accounts)?;
    let mut exit = Exit::OK;
    let mut documents = Vec::new();
    for account in &accounts {
        let are_several = accounts.len() > 1 || context.is_one_of_several();
        if are_several && !context.global.json {
            print_wrapped(&format!("{}\n", account.name))?;
        }
        let steps = test(context, account, &env, &|error| error);
        exit = exit.worst(steps.exit());
        documents.push(steps.document(&env));
    }
    let status = sandbox_status(context, &accounts);
    if context.global.json {
        let mut document = context.accounts_document(&documents);
        document["sandbox"] = json!({ "in_force": status.0, "what": status.1 });
        print_json(&document)?;
    } else if context.stop.signal().is_none() {
        let word = if status.0 {
            format!("{}   ", context.colour.good("ok"))
        } else {
            "off  ".into()
        };
        print_wrapped(&format!("  sandbox  {word} {}\n", status.1))?;
    }
    Ok(exit)
}

/// Runs the steps for one account, and prints each. `map_error` is applied to errors before they
/// are printed.
fn test<'a>(
    context: &'a CommandContext,
    account: &'a Account,
    env: &RunEnv,
    map_error: &'a dyn Fn(Error) -> Error,
) -> Steps<'a> {
    let mut steps = Steps::new(context, account, map_error);
    match reach(account, env, &mut steps) {
        Ok(()) => steps.test_destinations(env),
        Err((step, error)) => steps.failed(step, error),
    }
    steps
}

/// Tests an account that is not in the config yet, and prints each step. Returns the steps that
/// failed, each with its error after `map_error`.
pub(super) fn failures(
    context: &CommandContext,
    account: &Account,
    env: &RunEnv,
    map_error: &dyn Fn(Error) -> Error,
) -> Vec<(Step, Error)> {
    test(context, account, env, map_error).into_failed()
}

/// Returns whether `fetch` has a sandbox for these accounts, and its description. To find out, the
/// sandbox is applied to a thread that ends at once.
fn sandbox_status(context: &CommandContext, accounts: &[Account]) -> (bool, String) {
    match fetch::in_thread(|| {
        let metrics = context.setup.metrics();
        fetch::described_sandbox(context, accounts, metrics).apply()
    }) {
        Ok(Status::Enforced) => (true, "limited to the files and ports in the config".into()),
        Ok(Status::Partial) => (
            true,
            "limited to the files in the config; this kernel cannot restrict everything".into(),
        ),
        Ok(Status::Off(reason)) => (false, reason),
        Err(error) => (false, error.what().to_owned()),
    }
}

impl Steps<'_> {
    /// Tests every program and destination of the account, even if one of them fails.
    fn test_destinations(&mut self, env: &RunEnv) {
        let account = self.account;
        let mut report = |step, result: Result<String>| match result {
            Ok(what) => self.ok(step, &what),
            Err(error) => self.failed(step, error),
        };
        for filter in &account.filter {
            report("filter", probe::program(filter, "filter", env));
        }
        for destination in account.routing.all() {
            report("deliver", probe::destination(&destination, account, env));
        }
        if let Some(after) = &account.after {
            report("after", probe::program(after, "after", env));
        }
        if let Some(alert) = &account.alert {
            report("alert", probe::program(alert, "alert", env));
        }
        for destination in account.routing.all() {
            if let Destination::Pipe(argv) = &destination
                && let Some(warning) = procmail_warning(argv)
            {
                self.warn(&warning);
            }
        }
    }
}

/// Returns a warning if `argv` runs procmail without an option that makes it write a `From ` line.
///
/// Messages from POP3 have no such line, and mail programs need it to separate the messages of an
/// mbox file.
fn procmail_warning(argv: &[String]) -> Option<Error> {
    let (program, arguments) = argv.split_first()?;
    if Path::new(program).file_name()? != "procmail" {
        return None;
    }
    let options = arguments
        .iter()
        .filter(|argument| argument.starts_with('-'));
    let mut letters = options.flat_map(|option| option.chars());
    if letters.any(|letter| "dfr".contains(letter)) {
        return None;
    }
    let command = argv.join(" ");
    let mut suggested = vec![program.as_str(), "-f", "-"];
    suggested.extend(arguments.iter().map(String::as_str));
    Some(
        Error::new(
            Kind::Config,
            format!(
                "messages that `{command}` writes to an mbox file will lack their `From ` line"
            ),
        )
        .with_hint(format!("use `{}`, or `-d USER`", suggested.join(" "))),
    )
}

/// Opens the ledger, which must not have been exported.
fn open_ledger(account: &Account, env: &RunEnv) -> Result<Ledger> {
    let ledger = env.ledger(account)?;
    check_not_exported(account, ledger.reader())?;
    Ok(ledger)
}

/// Runs the steps up to the listing of the mailbox. Returns the failed step with its error.
fn reach(
    account: &Account,
    env: &RunEnv,
    steps: &mut Steps<'_>,
) -> std::result::Result<(), (Step, Error)> {
    let mut ledger = open_ledger(account, env).map_err(|error| ("ledger", error))?;
    show_state_dir(env, steps);
    run_before(account, env, steps).map_err(|error| ("before", error))?;
    let secret = obtain_secret(account, env, steps).map_err(|error| ("secret", error))?;
    let began = Instant::now();
    let mut reached = "connect";
    let history = ledger.reader().login_history();
    let history = history.map_err(|error| ("ledger", error))?;
    let presented = (&secret, history.remembered(env.clock.now()));
    let session = connect(account, env, presented, &mut |milestone| match milestone {
        Milestone::Connected(address) => {
            let millis = began.elapsed().as_millis();
            steps.ok(
                "connect",
                &format!("{}, {millis} ms", connected(account, address)),
            );
            reached = if account.tls == Tls::Off {
                "login"
            } else {
                "tls"
            };
        }
        Milestone::Secured(certificate) => {
            let name = account.tls_server_name.as_ref();
            let name = name.map(|name| format!(" for {name}")).unwrap_or_default();
            match certificate {
                Some(certificate) => {
                    steps.ok_with("tls", &trusted(&certificate, &name), &certificate.pin());
                }
                None => steps.ok("tls", &format!("trusted certificate{name}")),
            }
            reached = "login";
        }
        Milestone::LoggedIn { method, offered } => {
            steps.ok("login", &login(account, method.mechanism, &offered));
            reached = "server";
        }
    });
    let mut session =
        session.map_err(|error| (reached, certificate_shown(reached, error, account, env)))?;
    let (listing, ()) = session
        .list(|| ())
        .map_err(|error| ("server", with_access_hint(error, account, env)))?;
    record_success(&mut ledger, session.method(), env.clock.now())
        .map_err(|error| ("ledger", error))?;
    let total = count(listing.listed() as u64, "message");
    steps.ok(
        "server",
        &format!("{}; {total}", abilities(session.capabilities())),
    );
    show_provider(account, &ledger, steps).map_err(|error| ("ledger", error))?;
    // no message is marked as deleted, so QUIT changes nothing
    session.leave();
    Ok(())
}

/// Shows what is special about the provider of the account, with a warning if recent runs followed
/// each other too quickly for it.
fn show_provider(account: &Account, ledger: &Ledger, steps: &mut Steps<'_>) -> Result<()> {
    if deletes_recent(account) {
        steps.warning("provider", RECENT);
    }
    let Some(provider) = provider_of(account.server_name()) else {
        return Ok(());
    };
    if let Some(note) = provider.note {
        steps.ok("provider", &format!("{}: {note}", provider.name));
    }
    let runs = ledger.reader().past_runs(COMPARED_RUNS)?;
    let starts: Vec<_> = runs.iter().map(|run| run.started).collect();
    if let Some((usual, least)) = usual_interval(&starts).zip(provider.interval())
        && usual < least
    {
        let what = format!(
            "fetched every {usual}; {} may block logins more often than every {least}",
            provider.name
        );
        steps.warning("provider", &what);
    }
    Ok(())
}

/// The warning about an account that [`deletes_recent`].
pub(super) const RECENT: &str = "user `recent:…` with keep = \"none\" may delete messages before \
                                 other clients fetch them; set keep = \"forever\"";

/// Returns whether the account deletes what it fetches although it fetches in Gmail's recent mode,
/// which is for mailboxes that several clients fetch.
pub(super) fn deletes_recent(account: &Account) -> bool {
    is_recent(&account.user) && account.policy.keep == Keep::None
}

/// The number of past runs that are compared with the interval of the provider.
const COMPARED_RUNS: u32 = 8;

/// The least number of runs from which an interval can be told.
const LEAST_RUNS: usize = 4;

/// Returns the median time between runs, of which `starts` are the beginnings, newest first. `None`
/// if there are too few.
fn usual_interval(starts: &[Timestamp]) -> Option<TimeSpan> {
    let mut gaps: Vec<_> = starts
        .windows(2)
        .map(|pair| pair[0].since(pair[1]))
        .collect();
    gaps.sort_unstable();
    let median = *gaps.get(gaps.len() / 2)?;
    // rounded to minutes
    let seconds = if median < 60 {
        median
    } else {
        median / 60 * 60
    };
    (starts.len() >= LEAST_RUNS).then(|| TimeSpan::from_seconds(seconds))
}

/// Runs the account's `before` command, if it has one.
fn run_before(account: &Account, env: &RunEnv, steps: &mut Steps<'_>) -> Result<()> {
    let Some(before) = &account.before else {
        return Ok(());
    };
    let began = Instant::now();
    hooks::before(account, env)?;
    let what = format!("`{}`, {}", process::program(before), tenths(began));
    steps.ok("before", &what);
    Ok(())
}

/// Obtains the account's secret.
fn obtain_secret(account: &Account, env: &RunEnv, steps: &mut Steps<'_>) -> Result<Secret> {
    let began = Instant::now();
    let secret = env.secret(account)?;
    let sign_in = tokens::sign_in(account, env.token_env())?;
    let source = if let Some((provider, Some(sign_in))) = sign_in {
        let (since, until) = (day(sign_in.since), time_of_day(sign_in.expires));
        format!("{provider}, signed in {since}, token until {until}")
    } else {
        let source = password::described(&account.secret, &env.home);
        format!("{source}, {}", tenths(began))
    };
    steps.ok("secret", &source);
    Ok(secret)
}

/// Returns the description of a connection to `address`, if that is known.
fn connected(account: &Account, address: Option<String>) -> String {
    let server = account.address();
    match (address, described_route(account)) {
        // whether it reaches the server is not known yet
        (_, Some(route)) if account.connect_command.is_some() => {
            format!("started {route} for {server}")
        }
        (_, Some(route)) => format!("{server} through {route}"),
        (Some(address), None) => format!("{server} ({address})"),
        (None, None) => server,
    }
}

/// Shows the directory of ledgers and locks, with a warning if it may be lost, or is not the only
/// one.
fn show_state_dir(env: &RunEnv, steps: &mut Steps<'_>) {
    let dir = tilde(&env.state_dir, &env.home);
    if let Some((kind, lost)) = ledger::volatile(&env.state_dir) {
        let what = format!("{dir}, on {kind}: {lost}, and then all mail is fetched again");
        steps.warning("ledger", &what);
    } else if let Some(kind) = ledger::shared(&env.state_dir) {
        let what = format!("{dir}, on {kind}: fetch from one machine at a time");
        steps.ok("ledger", &what);
    } else {
        steps.ok("ledger", &dir);
    }
    if let Some(copy) = ledger::mailboxes::conflicting_copy(&env.state_dir) {
        let what = format!(
            "{} shows that another machine changes this directory, too: exclude it from \
             synchronisation, and remove that file",
            tilde(&copy, &env.home)
        );
        steps.warning("ledger", &what);
    }
    if let Some(link) = env.state_link.as_ref().filter(|link| !link.is_symlink()) {
        let what = format!(
            "{dir}, but {} in runs without XDG_STATE_HOME: set `state-dir`",
            tilde(link, &env.home)
        );
        steps.warning("ledger", &what);
    }
}

/// Returns the description of a login: its mechanism, and those that the server announces.
fn login(account: &Account, mechanism: Mechanism, offered: &[String]) -> String {
    let mut text = mechanism.name().to_owned();
    if mechanism == Mechanism::Apop && account.tls != Tls::Off {
        text.push_str(", which gains nothing over TLS");
    }
    if offered.iter().any(|name| name != mechanism.name()) {
        let offered = sanitize(offered.join(" ").as_bytes());
        text.push_str(&format!("; the server offers {offered}"));
    }
    text
}

/// Returns the description of a trusted certificate. `name` is appended to that.
fn trusted(certificate: &Certificate, name: &str) -> String {
    let until = certificate
        .until
        .map(|until| format!(", valid until {}", day(until)));
    format!("trusted certificate{name}{}", until.unwrap_or_default())
}

/// Returns the time since `began` in seconds, with one decimal.
fn tenths(began: Instant) -> String {
    let millis = began.elapsed().as_millis();
    format!("{}.{} s", millis / 1000, millis % 1000 / 100)
}

/// Adds the fingerprint of the certificate to an error about an untrusted certificate.
fn certificate_shown(step: Step, error: Error, account: &Account, env: &RunEnv) -> Error {
    if step != "tls" || error.kind() != Kind::Denied {
        return error;
    }
    match show_certificate(account, env).map(|certificate| certificate.pin()) {
        Some(pin) if !error.facts().iter().any(|fact| fact.contains(&pin)) => {
            error.with_fact(format!("its certificate is {pin}"))
        }
        _ => error,
    }
}

/// Returns the description of the server's capabilities that pouch uses.
fn abilities(capabilities: Option<&Capabilities>) -> String {
    let Some(known) = capabilities else {
        return "no capabilities announced (no CAPA)".into();
    };
    let mut words: Vec<_> = ["UIDL", "TOP", "PIPELINING"]
        .into_iter()
        .filter(|tag| known.has(tag))
        .collect();
    if words.is_empty() {
        words.push("no extensions");
    }
    let expire = known
        .arguments("EXPIRE")
        .and_then(|mut arguments| arguments.next());
    let deletes = match expire {
        Some(never) if never.eq_ignore_ascii_case("NEVER") => {
            "; never deletes messages (EXPIRE NEVER)".into()
        }
        Some("0") => "; may delete fetched messages (EXPIRE 0)".into(),
        Some(days) => format!(
            "; deletes messages after {} days",
            sanitize(days.as_bytes())
        ),
        None => String::new(),
    };
    let delay = known
        .login_delay()
        .map(|seconds| format!("; {} between logins", TimeSpan::from_seconds(seconds)))
        .unwrap_or_default();
    format!("{}{deletes}{delay}", words.join(" "))
}
