//! The combined outcome of the processes of a command.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

use serde_json::{Value, json};

use crate::{
    cli::CommandContext,
    error::{Error, Exit, Kind},
    report::{Colour, Level, complain, form, json},
};

/// A process that has ended.
pub(super) struct Ended {
    /// The name of its user, for messages.
    pub user: String,
    /// The names of its accounts.
    pub accounts: Vec<String>,
    /// Its exit status.
    pub status: ExitStatus,
    /// Its JSON document, if it was read.
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
    /// Adds a process. `is_stopped` is whether a signal has ended this command.
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
            match (self.rest.get_mut(&key), value) {
                (Some(Value::Array(list)), Value::Array(more)) => list.extend(more),
                // the sandbox of `check` is in force only if it is in every process
                (Some(known), value) if value["in_force"] == false => *known = value,
                (Some(_), _) => {}
                (None, value) => drop(self.rest.insert(key, value)),
            }
        }
    }

    /// Adds and reports accounts that cannot be run.
    pub fn fail(&mut self, context: &CommandContext, failed: &[(String, Error)]) {
        for (account, error) in failed {
            self.exits.push(error.kind().exit());
            if context.global.json {
                let problem = json::error(error);
                let failed = json!({ "account": account, "problem": problem });
                self.accounts.push(failed);
            } else if context.level > Level::Silent {
                complain(&form(Some(account), error, context.colour));
            }
        }
    }

    /// Returns the most severe exit code. There is new mail if any process fetched some.
    pub fn exit(&self, is_fetch: bool) -> Exit {
        let exits = self.exits.iter();
        let worst = exits.fold(Exit::OK, |worst, exit| worst.worst(*exit));
        if is_fetch && worst == Exit::NONE && self.exits.contains(&Exit::OK) {
            Exit::OK
        } else {
            worst
        }
    }

    /// Returns the JSON document of all accounts, or of all ledgers.
    pub fn document(self, context: &CommandContext) -> Value {
        if let Some(ledgers) = self.rest.get("ledgers") {
            return json!({ "ledgers": ledgers });
        }
        let mut document = context.accounts_document(&self.accounts);
        for (key, value) in self.rest {
            if document[&key].is_null() {
                document[&key] = value;
            }
        }
        document
    }
}

/// Returns the exit code of a process. Reports a process that was killed by a signal.
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
