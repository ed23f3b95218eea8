//! The account's `after` command, which runs once new mail has been delivered.

use super::env::RunEnv;
use crate::{
    config::Account,
    error::{Error, Kind, Result},
    sys::process,
    text::sanitize,
};

/// Runs the account's `after` command, if it has one.
///
/// # Errors
/// [`Kind::Deferred`] if the command failed or timed out: the messages are delivered, and the next
/// run with new mail runs it again. Or a signal ended the run.
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
    let command = process::program(argv);
    let failed = |what: String| {
        Error::new(
            Kind::Deferred,
            format!("the `after` command `{command}` {what}"),
        )
    };
    let outcome = match run.run(&env.stop)? {
        Ok(outcome) => outcome,
        Err(error) => {
            let what = format!("cannot run the `after` command `{command}`");
            return Err(Error::new(Kind::Deferred, what).with_fact(error.to_string()));
        }
    };
    let error = match outcome.ended {
        process::Ended::Exited(status) if status.success() => return Ok(()),
        process::Ended::Exited(status) => failed(format!("failed: {status}")),
        process::Ended::OutputError(error) => failed(error.to_string()),
        process::Ended::TimeOut => failed(format!("timed out after {}", account.pipe_timeout)),
    };
    let lines = outcome
        .stderr
        .split(|octet| *octet == b'\n')
        .filter(|line| !line.is_empty())
        .take(5);
    Err(lines
        .fold(error, |error, line| {
            error.with_fact(format!("`{}` said: {}", argv[0], sanitize(line)))
        })
        .with_fact("the messages were delivered"))
}
