//! The command that runs after new mail was delivered.

use super::env::RunEnv;
use crate::{
    config::Account,
    error::{Error, Kind, Result},
    sys::process,
    text::sanitize,
};

/// Runs the account's `after` command.
///
/// # Errors
/// It failed, or a signal asks to stop.
pub(super) fn after(account: &Account, env: &RunEnv) -> Result<()> {
    let Some(argv) = &account.after else {
        return Ok(());
    };
    let run = process::Run {
        argv,
        input: None,
        output: None,
        environment: &[("POUCH_ACCOUNT", account.name.clone())],
        timeout: Some(account.pipe_timeout.into()),
        interactive: false,
    };
    let failed = |what: String| {
        Error::new(
            Kind::Deferred,
            format!("the `after` command `{}` {what}", argv.join(" ")),
        )
    };
    let outcome = match run.run(&env.stop)? {
        Ok(outcome) => outcome,
        Err(error) => return Err(failed("cannot be run".into()).with_fact(error.to_string())),
    };
    let error = match outcome.ended {
        process::Ended::Exited(status) if status.success() => return Ok(()),
        process::Ended::Exited(status) => failed(format!("failed: {status}")),
        process::Ended::TimeOut => failed(format!("took longer than {}", account.pipe_timeout)),
    };
    let said = outcome
        .stderr
        .split(|octet| *octet == b'\n')
        .filter(|line| !line.is_empty())
        .take(5);
    Err(said
        .fold(error, |error, line| {
            error.with_fact(format!("it printed: {}", sanitize(line)))
        })
        .with_fact("the messages were delivered"))
}
