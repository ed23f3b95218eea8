//! The account's commands around a run: `before` runs before connecting, `after` once new mail has
//! been delivered, and `alert` when the state of the account changes ([`mod@super::alert`]).

use super::env::RunEnv;
use crate::{
    config::Account,
    domain::tunnel,
    error::{Error, Kind, Result},
    sys::process::{self, Ended},
};

/// Runs the account's `before` command, if it has one. Everything that connects calls it first: a
/// command that prints the password may need the network as well.
///
/// # Errors
/// [`Kind::Deferred`] if the command failed or timed out; [`Kind::Denied`] if ssh failed in it
/// because of a problem that only a person can resolve; [`Kind::Config`] if it, or a command of its
/// shell, cannot be run. Also an error if a signal ended the run.
pub fn before(account: &Account, env: &RunEnv) -> Result<()> {
    let Some(argv) = &account.before else {
        return Ok(());
    };
    Hook {
        key: "before",
        argv,
        environment: &[],
        consequence: "the server was not contacted",
    }
    .run(account, env)
    .map_err(|failure| match failure {
        HookFailure::NotStarted(error, source) => {
            let usual = "write `before` as a list: [\"nmcli\", \"con\", \"up\", \"vpn\"]";
            let hint = process::start_hint(argv, &source, usual);
            error.of_kind(Kind::Config).with_hint(hint)
        }
        HookFailure::NotFound(error) => error.of_kind(Kind::Config),
        HookFailure::Failed(error) => {
            match tunnel::hint(error.facts().iter().map(String::as_str)) {
                Some(hint) => error.of_kind(Kind::Denied).with_hint(hint),
                None => error,
            }
        }
    })
}

/// Runs the account's `after` command, if it has one.
///
/// # Errors
/// [`Kind::Deferred`] if the command failed or timed out: the messages are delivered, and the next
/// run with new mail runs it again. Or a signal ended the run.
pub(super) fn after(account: &Account, env: &RunEnv) -> Result<()> {
    let Some(argv) = &account.after else {
        return Ok(());
    };
    Hook {
        key: "after",
        argv,
        environment: &[],
        consequence: "the messages were delivered",
    }
    .run(account, env)
    .map_err(|failure| match failure {
        HookFailure::NotStarted(error, _)
        | HookFailure::NotFound(error)
        | HookFailure::Failed(error) => error,
    })
}

/// Runs the account's `alert` command with these variables in its environment.
///
/// # Errors
/// [`Kind::Deferred`] if the command cannot be run, failed or timed out. Or a signal ended the run.
pub(super) fn alert(
    account: &Account,
    env: &RunEnv,
    argv: &[String],
    environment: &[(&'static str, String)],
) -> Result<()> {
    Hook {
        key: "alert",
        argv,
        environment,
        consequence: "the next run tries again",
    }
    .run(account, env)
    .map_err(|failure| match failure {
        HookFailure::NotStarted(error, source) => {
            let usual = "write `alert` as a list: [\"notify-send\", \"Mail\"]";
            error.with_hint(process::start_hint(argv, &source, usual))
        }
        HookFailure::NotFound(error) | HookFailure::Failed(error) => error,
    })
}

/// A command around a run.
struct Hook<'a> {
    /// Its key in the config.
    key: &'static str,
    argv: &'a [String],
    /// Variables of its environment, besides the name of the account.
    environment: &'a [(&'static str, String)],
    /// The consequence of its failure, for messages.
    consequence: &'static str,
}

/// Why a command did not succeed.
enum HookFailure {
    /// It could not be started, for this reason.
    NotStarted(Error, std::io::Error),
    /// It is a shell that found no such command.
    NotFound(Error),
    /// It failed, timed out, or was ended by a signal to pouch.
    Failed(Error),
}

impl Hook<'_> {
    fn run(&self, account: &Account, env: &RunEnv) -> std::result::Result<(), HookFailure> {
        let mut environment = vec![("POUCH_ACCOUNT", account.name.clone())];
        environment.extend_from_slice(self.environment);
        let run = process::Run {
            argv: self.argv,
            input: None,
            output: None,
            environment: &environment,
            timeout: Some(account.pipe_timeout.into()),
            interactive: false,
        };
        let name = process::program(self.argv);
        let command = format!("`{}` command `{name}`", self.key);
        let outcome = match run.run(&env.stop).map_err(HookFailure::Failed)? {
            Ok(outcome) => outcome,
            Err(source) => {
                let error = Error::new(Kind::Deferred, format!("cannot run the {command}"))
                    .with_fact(source.to_string());
                return Err(HookFailure::NotStarted(error, source));
            }
        };
        let is_not_found = matches!(
            outcome.ended,
            Ended::Exited(status) if matches!(status.code(), Some(126 | 127))
        );
        let what = match outcome.ended {
            Ended::Exited(status) if status.success() => return Ok(()),
            Ended::Exited(status) => format!("failed: {status}"),
            Ended::OutputError(error) => error.to_string(),
            Ended::TimeOut => format!("timed out after {}", account.pipe_timeout),
        };
        let error = process::stderr_facts(&name, &outcome.stderr)
            .into_iter()
            .fold(
                Error::new(Kind::Deferred, format!("the {command} {what}")),
                Error::with_fact,
            )
            .with_fact(self.consequence);
        Err(if is_not_found {
            HookFailure::NotFound(error)
        } else {
            HookFailure::Failed(error)
        })
    }
}
