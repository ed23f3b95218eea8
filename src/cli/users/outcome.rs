//! The combined outcome of the processes of a command.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

use serde_json::{Value, json};

use super::{group::Group, handover::Handover, selection::fetch_of};
use crate::{
    cli::{
        CommandContext,
        args::{Command, Fetch},
        dirs,
    },
    error::{Error, Exit, Kind},
    event::{Event, Reporter},
    report::{
        Colour, Level, complain, form, json,
        log::{Format, Log},
    },
};

/// A process that has ended.
pub(super) struct Ended {
    /// The name of its user, for messages.
    pub user: String,
    /// The names of its accounts.
    pub accounts: Vec<String>,
    /// Its exit status.
    pub status: ExitStatus,
    /// Its JSON document, if that was read.
    pub output: Option<Vec<u8>>,
}

/// The outcomes of all processes.
#[derive(Default)]
pub(super) struct Outcome {
    exits: Vec<Exit>,
    /// The JSON objects of the accounts.
    pub accounts: Vec<Value>,
    /// The other members of the JSON documents.
    rest: serde_json::Map<String, Value>,
}

impl Outcome {
    /// Adds a process. `is_stopped` says whether a signal has ended this command.
    pub fn add(&mut self, process: Ended, is_stopped: bool) {
        self.exits.push(exit(&process, is_stopped));
        let Some(bytes) = process.output else {
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

    /// Adds an account that cannot be run, and reports that. `fetch` are the options of a command
    /// that fetches.
    pub fn fail(
        &mut self,
        context: &CommandContext,
        fetch: Option<&Fetch>,
        account: &str,
        error: &Error,
    ) {
        self.exits.push(error.kind().exit());
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
            self.accounts.push(failed);
        } else if level > Level::Silent && log.is_none() {
            complain(&form(Some(account), error, context.colour));
        }
    }

    /// Returns what the process of each group gets. Accounts for which that fails are reported.
    ///
    /// `is_round` is as for [`Group::handover`].
    pub fn handovers(
        &mut self,
        context: &CommandContext,
        command: &Command,
        groups: &[Group],
        is_round: bool,
    ) -> Vec<Handover> {
        // directories of users are created before another process creates the one above them
        let mut handovers = Vec::new();
        for group in groups {
            match group.handover(context, command, groups.len() == 1, is_round) {
                Ok(handover) => handovers.push(handover),
                Err(error) => {
                    for account in &group.accounts {
                        self.fail(context, fetch_of(command), &account.name, &error);
                    }
                }
            }
        }
        handovers
    }

    /// Returns the most severe exit code. There is new mail if one process fetched some.
    pub fn exit(&self, is_fetch: bool) -> Exit {
        let exits = self.exits.iter();
        let worst = exits.fold(Exit::OK, |worst, exit| worst.worst(*exit));
        if is_fetch && worst == Exit::NONE && self.exits.contains(&Exit::OK) {
            Exit::OK
        } else {
            worst
        }
    }

    /// Returns the JSON document of all accounts.
    pub fn document(self) -> Value {
        let mut document = self.rest;
        document.insert("accounts".into(), self.accounts.into());
        document.into()
    }
}

/// Returns the exit code of a process. If a signal has killed it, that is reported.
fn exit(process: &Ended, is_stopped: bool) -> Exit {
    let code = process.status.code();
    let code = code.and_then(|code| u8::try_from(code).ok());
    match (code, process.status.signal()) {
        (Some(code), _) => Exit(code),
        (None, Some(signal)) if is_stopped => Kind::Stopped(signal).exit(),
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
    }
}
