//! The engine: the run of one account, from its lock to its summary.
//!
//! [`fetch`] carries out a run, and [`preview()`] shows what it would do. Both take the same steps
//! up to the plan:
//!
//! 1. [`mod@recover`] finds what an interrupted run delivered without recording it.
//! 2. [`connect`](mod@connect) connects and logs in, unless it is too early for that ([`logins`]).
//! 3. [`survey`] lists the mailbox, finds out which one it is if the address is new
//!    ([`mod@mailbox`]), recognises messages by their headers ([`identify`]), finds those that the
//!    user deleted ([`sync_deletions`]), evaluates the [`rules`] and makes the plan.
//!
//! [`session`] carries out the plan in one session, and [`sessions`] connects again if that is
//! lost:
//!
//! 4. [`retrieve`] requests messages, [`receive`] reads one and passes it to the filters
//!    ([`mod@filter`]) and destinations ([`destinations`]), and [`commit`] makes them durable.
//! 5. [`notices`] reports quarantined messages by mail, and [`expunge`] deletes messages.
//!
//! At the end, [`run`] settles what is left, and [`outcome`] is what the caller gets. The user's
//! commands before and after all of that are in [`hooks`], and the one that reports a change of the
//! account's state in [`mod@alert`]. Whether a message, the connection, the
//! server or a destination is to blame for a failure is decided in
//! [`blame`](crate::domain::blame).

mod adopt;
mod alert;
mod basis;
mod catch_up;
mod commit;
pub mod connect;
mod describe;
pub mod destinations;
pub mod env;
mod expunge;
mod filter;
pub mod hooks;
mod identify;
mod import_seen;
pub mod logins;
mod mailbox;
mod notices;
mod outcome;
mod preview;
mod receive;
mod recover;
mod request;
mod retrieve;
mod rules;
mod run;
pub mod scheduler;
mod session;
mod sessions;
mod survey;
mod sync_deletions;
pub mod tokens;
mod turn;

use crate::{
    config::{Account, Tls},
    domain::{refusal, schedule::Contact},
    error::{Error, Kind, Result, Verdict},
    event::{Event, Summary},
    ledger::{Ledger, LedgerFile, Run, RunEnd, Success},
    text::{moment, sanitize},
};

use adopt::recognise_restored;
pub use adopt::{AdoptOutcome, Adoption, adopt};
pub use catch_up::{CatchUp, CaughtUp, catch_up};
pub use describe::{Detail, MessageDetails};
use env::RunEnv;
pub use import_seen::{ImportOutcome, SeenMail, import_seen};
use logins::{Login, keep_delay};
use outcome::Outcome;
pub use preview::{Preview, preview};
use run::AccountRun;

/// Fetches the account's mail, and reports events to the environment's reporter. Returns the
/// summary, which has errors in its exit code, and what the run showed about the server.
pub fn fetch(account: &Account, env: &RunEnv) -> (Summary, Contact) {
    let report = |event: &Event<'_>| env.report.event(&account.name, event);
    report(&Event::Start);
    let (mut outcome, ended) = match env.lock(account) {
        Ok((_lock, file)) => run_locked(account, env, file),
        Err(error) => (Outcome::default(), Err(error)),
    };
    if let Err(error) = ended {
        let ledger = env.ledger(account);
        let recorded = ledger.and_then(|mut ledger| {
            let tell = ledger.should_report(&error, env.audience(), env.clock.now())?;
            Ok((ledger, tell))
        });
        // if the ledger cannot be used, nothing is known about earlier reports
        report(&Event::Problem {
            error: &error,
            tell: recorded.as_ref().map_or(true, |(_, tell)| *tell),
        });
        if let Ok((mut ledger, _)) = recorded {
            alert::update(account, env, &mut ledger);
        }
        outcome.raise_exit(error.kind().exit());
        outcome.failed = true;
    }
    let destinations = outcome.destinations().iter();
    let summary = Summary {
        destinations: destinations
            .map(|(destination, count)| (env.describe(destination), *count))
            .collect(),
        failed: outcome.failed,
        exit: outcome.exit,
        tally: outcome.tally,
        deleted: outcome.deletions,
        quarantined: outcome.quarantined,
    };
    report(&Event::Done(&summary));
    (summary, outcome.contact)
}

/// Carries out a run under the account's lock. An error is returned only if it could not be
/// recorded in the ledger and reported.
fn run_locked(account: &Account, env: &RunEnv, file: LedgerFile) -> (Outcome, Result<()>) {
    let opened = env.open_ledger(account, &file).and_then(|ledger| {
        let history = ledger.reader().login_history()?;
        Ok((ledger, history))
    });
    let (mut ledger, history) = match opened {
        Ok(opened) => opened,
        Err(error) => return (Outcome::default(), Err(error)),
    };
    if let Err(error) = keep_delay(account, env, &history) {
        return (skip_run(account, env, &error), Ok(()));
    }
    if account.tls != Tls::Off {
        env.tls
            .prepare(&account.trust, account.client_certificate.as_ref());
    }
    if let Err(error) = report_other_machine(account, env, &mut ledger) {
        return (Outcome::default(), Err(error));
    }
    // before connecting: the password command may take longer than the server's login timeout
    let login = hooks::before(account, env)
        .and_then(|()| env.secret(account))
        .and_then(|secret| {
            let mut login = Login::begin(account, env, secret.clone(), history)?;
            if recognise_restored((account, env), (&file, &mut ledger), &secret)? {
                login.begun = None;
            }
            Ok(login)
        });
    match ledger.begin_run(env.clock.now()) {
        Ok((run, interrupted)) => {
            run_recorded(account, env, (file, ledger, run, interrupted), login)
        }
        Err(error) => (Outcome::default(), Err(error)),
    }
}

/// Reports that the last run was on another machine, which may still fetch the mailbox.
fn report_other_machine(account: &Account, env: &RunEnv, ledger: &mut Ledger) -> Result<()> {
    let Some(other) = ledger.record_machine(&env.machine())? else {
        return Ok(());
    };
    let name = sanitize(other.name.as_bytes());
    let when = other
        .last_run
        .map_or_else(String::new, |at| format!(" ({})", moment(at)));
    let notice = Error::new(
        Kind::Unavailable,
        format!("the last run was on another machine, {name}{when}"),
    )
    .with_fact("if both fetch the mailbox, each gets all messages, until one of them deletes some")
    .with_hint(format!(
        "if pouch still runs there, remove the account from the config of {name}"
    ));
    env.report.event(&account.name, &Event::Notice(&notice));
    Ok(())
}

/// Returns the outcome of a run that does nothing, because it comes before the server accepts
/// another login. It is reported to a person only, and not recorded: nothing is wrong.
fn skip_run(account: &Account, env: &RunEnv, error: &Error) -> Outcome {
    let event = Event::Problem { error, tell: false };
    env.report.event(&account.name, &event);
    let mut outcome = Outcome::default();
    outcome.raise_exit(error.kind().exit());
    outcome.failed = true;
    outcome
}

/// Carries out a run that the ledger has recorded as begun.
fn run_recorded(
    account: &Account,
    env: &RunEnv,
    (file, mut ledger, run, interrupted): (LedgerFile, Ledger, Run, bool),
    login: Result<Login>,
) -> (Outcome, Result<()>) {
    let router = destinations::open(account, env, &file);
    let maildirs = destinations::maildirs(account);
    let router = ledger.set_maildirs(&maildirs).and(router);
    match router {
        Ok(router) => {
            let started = (file, ledger, run, interrupted);
            let mut account_run = AccountRun::new(account, env, started, maildirs, router);
            let result = execute(&mut account_run, login);
            let AccountRun {
                ledger,
                run,
                outcome,
                unsettled,
                search_again,
                ..
            } = account_run;
            let unsettled = unsettled || search_again;
            close(account, env, (ledger, run), outcome, result, unsettled)
        }
        Err(error) => close(
            account,
            env,
            (ledger, run),
            Outcome::default(),
            Err(error),
            interrupted,
        ),
    }
}

/// Recovers an interrupted run, fetches, settles, and runs the `after` command. Returns the first
/// error.
fn execute(run: &mut AccountRun<'_>, mut login: Result<Login>) -> Result<()> {
    if run.unsettled {
        // recovery may take longer than the server's login timeout, too
        if let Ok(login) = &mut login {
            login.begun = None;
        }
        run.recover()?;
    }
    let fetched = login.and_then(|login| {
        run.sessions(login).inspect_err(|error| {
            if run.outcome.contact == Contact::Unknown && pushes_back(error) {
                run.outcome.contact = Contact::PushedBack;
            }
        })
    });
    let settled = run.finish();
    // also after an error, since messages were delivered
    let after = if run.outcome.tally.delivered > 0 {
        hooks::after(run.account, run.env)
    } else {
        Ok(())
    };
    fetched.and(settled).and(after)
}

/// Returns whether an error before the mailbox was listed shows that the server may fail for other
/// accounts, too.
fn pushes_back(error: &Error) -> bool {
    let quoted = error.facts().first();
    error.kind().is_pushback()
        || (error.kind() == Kind::Denied && quoted.is_some_and(|it| refusal::blocks_machine(it)))
}

/// Records the end of a run, and reports its problem.
fn close(
    account: &Account,
    env: &RunEnv,
    (mut ledger, run): (Ledger, Run),
    mut outcome: Outcome,
    result: Result<()>,
    unsettled: bool,
) -> (Outcome, Result<()>) {
    if let Err(error) = &result {
        outcome.raise_exit(error.kind().exit());
        outcome.failed = true;
    }
    let problem = result.err().or(outcome.warning.take());
    let recorded = record_end(
        env,
        (&mut ledger, &run),
        &mut outcome,
        problem.as_ref(),
        unsettled,
    )
    .and_then(|()| report_problem(account, env, &mut ledger, problem.as_ref(), &outcome));
    if recorded.is_ok() {
        alert::update(account, env, &mut ledger);
    }
    (outcome, recorded)
}

/// Records the end of a run and its problem, if any, in the ledger.
fn record_end(
    env: &RunEnv,
    (ledger, run): (&mut Ledger, &Run),
    outcome: &mut Outcome,
    problem: Option<&Error>,
    unsettled: bool,
) -> Result<()> {
    let now = env.clock.now();
    if !unsettled {
        ledger.close_interrupted_runs(run, now)?;
    }
    outcome.quarantined = ledger.reader().in_quarantine()?;
    let end = RunEnd {
        tally: outcome.tally,
        exit: outcome.exit,
        problem,
        unsettled,
        success: match (problem, &outcome.lasting) {
            (None, None) => Success::Yes,
            (Some(error), _) if error.kind().verdict() == Verdict::StopAll => Success::Unknown,
            _ => Success::No,
        },
    };
    ledger.end_run(run, &end, now)
}

/// Reports the problem that ended the run, or else a transient problem of single messages that has
/// lasted.
fn report_problem(
    account: &Account,
    env: &RunEnv,
    ledger: &mut Ledger,
    problem: Option<&Error>,
    outcome: &Outcome,
) -> Result<()> {
    let (audience, now) = (env.audience(), env.clock.now());
    let report = |error: &Error, tell| {
        env.report
            .event(&account.name, &Event::Problem { error, tell });
    };
    match (problem, &outcome.lasting) {
        (Some(error), _) if error.kind().verdict() == Verdict::StopAll => report(error, false),
        (Some(error), _) => report(error, ledger.should_report(error, audience, now)?),
        // on a terminal, the message itself was reported already
        (None, Some(error)) if ledger.should_report(error, audience, now)? => {
            report(error, true);
        }
        (None, Some(_)) => {}
        (None, None) => ledger.clear_problem()?,
    }
    Ok(())
}
