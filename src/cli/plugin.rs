//! `pouch status --check`: prints the health of accounts as a plugin of a monitoring system.
//!
//! The health of each account is added to its JSON document, so that the document of accounts that
//! other processes read (`deliver-as`) can be printed in the same way.

use std::ffi::OsString;

use serde_json::{Value, json};

use super::{CommandContext, args::Status as Args, print_json};
use crate::{
    domain::time::TimeSpan,
    error::{Error, Exit, Kind},
    report::{
        self, Level,
        health::{self, Diagnosis, Health},
    },
};

/// Adds the health of an account to its document.
pub(super) fn with_diagnosis(mut document: Value, diagnosis: &Diagnosis) -> Value {
    document["check"] = diagnosis.health.name().into();
    document["check_reason"] = diagnosis.reason.as_str().into();
    document["check_age"] = json!(diagnosis.age);
    document
}

/// Returns the health of an account according to its document.
fn diagnosis(document: &Value) -> (String, Diagnosis) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let problem = &document["problem"]["what"];
    let reason = match problem {
        Value::Null => &document["check_reason"],
        problem => problem,
    };
    let diagnosis = Diagnosis {
        health: Health::named(document["check"].as_str()),
        reason: text(reason),
        age: document["check_age"].as_u64(),
    };
    (text(&document["account"]), diagnosis)
}

/// Prints the line or the document for accounts with these documents. Returns the exit status.
///
/// If all accounts are checked, those that cannot be used are in the state unknown.
///
/// # Errors
/// Standard output cannot be written, or a signal.
pub(super) fn print(
    context: &CommandContext,
    args: &Args,
    limit: TimeSpan,
    mut documents: Vec<Value>,
) -> anyhow::Result<Exit> {
    if args.accounts.accounts.is_empty() && context.handover.is_none() {
        documents.extend(context.setup.problems()?.iter().map(|problem| {
            let account = problem.account.as_deref().unwrap_or("config");
            json!({ "account": account, "problem": report::json::error(&problem.error) })
        }));
    }
    let accounts: Vec<_> = documents.iter().map(diagnosis).collect();
    let health = health::worst(&accounts);
    if context.global.json {
        for document in &mut documents {
            if document["check"].is_null() {
                document["check"] = Health::Unknown.name().into();
            }
        }
        let limit = limit.seconds();
        print_json(&json!({ "check": health.name(), "limit": limit, "accounts": documents }))?;
    } else if is_printed(context.level, health) {
        let line = report::with_short_paths(&health::line(&accounts, limit));
        let mut text = line + "\n";
        if context.level >= Level::Verbose {
            for (name, diagnosis) in &accounts {
                let health = diagnosis.health.name();
                text.push_str(&format!("{name}: {health}: {}\n", diagnosis.reason));
            }
        }
        report::print(&text)?;
    }
    Ok(health.exit())
}

/// Returns whether `-q` lets the line through.
fn is_printed(level: Level, health: Health) -> bool {
    level >= Level::Normal || level == Level::Problems && health != Health::Ok
}

/// Returns whether `arguments`, which could not be parsed, are those of `status --check`.
pub(super) fn is_requested(arguments: &[OsString]) -> bool {
    let is = |option: &str| {
        let prefix = format!("{option}=");
        arguments
            .iter()
            .any(|word| word == option || word.as_encoded_bytes().starts_with(prefix.as_bytes()))
    };
    is("status") && is("--check")
}

/// Prints an error about the command line. Returns the exit status.
pub(super) fn reject(error: &clap::Error, arguments: &[OsString]) -> Exit {
    let text = error.to_string();
    let lines = text.lines().take_while(|line| !line.is_empty());
    let lines: Vec<_> = lines.map(str::trim).collect();
    let text = lines.join(" ");
    let what = text.strip_prefix("error: ").unwrap_or(&text);
    let is_json = arguments.iter().any(|word| word == "--json");
    fail(Level::Normal, is_json, &Error::new(Kind::Usage, what))
}

/// Prints that the check failed as a whole. Returns the exit status.
pub(super) fn fail(level: Level, is_json: bool, error: &Error) -> Exit {
    let health = Health::Unknown;
    // a plugin has no other way to report that its output cannot be written
    let _ = if is_json {
        let problem = report::json::error(error);
        print_json(&json!({ "check": health.name(), "problem": problem }))
    } else if is_printed(level, health) {
        let hint = error.hint().map(|hint| format!("; {hint}"));
        let text = format!("{}{}", error.what(), hint.unwrap_or_default());
        report::print(&format!("{}\n", health::headline(health, &text)))
    } else {
        Ok(())
    };
    health.exit()
}

/// Adds a hint to an error about accounts if one of the names is a time: `--check 3h` is a common
/// mistake.
pub(super) fn with_hint(error: Error, args: &Args) -> Error {
    let names = &args.accounts.accounts;
    let time = names.iter().find(|name| name.parse::<TimeSpan>().is_ok());
    match time {
        Some(time) if args.check.is_some() && error.kind() == Kind::Usage => {
            error.with_hint(format!("use `--check={time}`"))
        }
        _ => error,
    }
}
