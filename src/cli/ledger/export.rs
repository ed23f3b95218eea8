//! `pouch ledger export`: moving a mailbox to another machine.
//!
//! The ledger is marked as exported before the copy is written, so that two machines can never
//! fetch the mailbox at the same time. If pouch is interrupted in between, the mark remains, and
//! `--undo` removes it.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
};

use serde_json::json;

use super::{
    CommandContext, CommandResult,
    backup::{absolute, already_exists, draft, write_copy},
    mailbox::{self, Chosen},
    print_json,
};
use crate::{
    cli::args::Export as Args,
    error::{Error, Exit, Kind, Result},
    fetch::env::RunEnv,
    ledger::{Ledger, copies},
    report::{complain, print_wrapped},
    sys::lock::Lock,
    text::{day, sanitize, tilde},
};

pub(super) fn run(context: &CommandContext, args: &Args) -> CommandResult {
    let is_stdout = args
        .file
        .as_ref()
        .is_some_and(|file| file.as_os_str() == "-");
    if is_stdout {
        check_stdout(context)?;
    }
    let chosen = mailbox::find(context, &args.account)?;
    let name = sanitize(chosen.name.as_bytes());
    let _lock = lock(&chosen)?;
    let env = &chosen.env;
    let mut ledger = Ledger::open(&chosen.mailbox.file, None, &env.hostname)?;
    let exported = ledger.reader().exported_at()?;
    if args.undo {
        return undo(context, &chosen, &mut ledger);
    }
    if let Some(at) = exported {
        let what = format!("the ledger of `{name}` was exported on {}", day(at));
        return Err(Error::new(Kind::Usage, what)
            .with_hint(format!(
                "use that file; to export it again, run `pouch ledger export --undo {name}` first"
            ))
            .into());
    }
    ledger.set_exported(Some(env.clock.now()))?;
    let written = write(&chosen, args.file.as_deref().filter(|_| !is_stdout));
    if written.is_err() {
        ledger.set_exported(None)?;
    }
    let shown = written?;
    let text = format!("{name}: exported to {shown}; not fetched here any more\n");
    if is_stdout {
        complain(text.trim_end());
    } else if context.global.json {
        print_json(&json!({ "account": chosen.name, "file": shown }))?;
    } else {
        print_wrapped(&text)?;
        let next = "on the other machine, run `pouch ledger restore` with a copy of that file\n";
        print_wrapped(next)?;
    }
    Ok(Exit::OK)
}

/// Fails if the ledger cannot be written to standard output.
fn check_stdout(context: &CommandContext) -> Result<()> {
    let fact = if context.global.json {
        "`--json` uses it"
    } else if io::stdout().is_terminal() {
        "it is a terminal"
    } else {
        return Ok(());
    };
    let what = "the ledger cannot be written to standard output here";
    Err(Error::new(Kind::Usage, what)
        .with_fact(fact)
        .with_hint("name a file"))
}

/// Lets this machine fetch the mailbox again.
fn undo(context: &CommandContext, chosen: &Chosen, ledger: &mut Ledger) -> CommandResult {
    let name = sanitize(chosen.name.as_bytes());
    if ledger.reader().exported_at()?.is_none() {
        let what = format!("the ledger of `{name}` was not exported");
        return Err(Error::new(Kind::Usage, what).into());
    }
    ledger.set_exported(None)?;
    if context.global.json {
        print_json(&json!({ "account": chosen.name, "file": null }))?;
    } else {
        print_wrapped(&format!("{name}: fetched here again\n"))?;
    }
    Ok(Exit::OK)
}

/// Takes the lock of a mailbox, which no run may hold.
pub(super) fn lock(chosen: &Chosen) -> Result<Lock> {
    lock_key(&chosen.env, chosen.mailbox.file.key())
}

/// Takes the lock named `key`.
pub(super) fn lock_key(env: &RunEnv, key: &str) -> Result<Lock> {
    env.lock_key(key, std::time::Duration::ZERO)
        .map_err(|error| match error.kind() {
            Kind::Busy => error.with_hint("try again when it has finished"),
            _ => error,
        })
}

/// Writes the copy to `file`, or else to standard output. Returns where it is, for messages.
fn write(chosen: &Chosen, file: Option<&Path>) -> Result<String> {
    let source = chosen.mailbox.file.path();
    let Some(file) = file else {
        let failed = |error: io::Error| {
            Error::new(Kind::Io, "cannot write to standard output").with_fact(error.to_string())
        };
        let copy = draft(&chosen.env.state_dir)?;
        copies::copy(&source, copy.path())?;
        let mut stdout = io::stdout().lock();
        let mut copy = copy.reopen().map_err(failed)?;
        io::copy(&mut copy, &mut stdout).map_err(failed)?;
        stdout.flush().map_err(failed)?;
        return Ok("standard output".into());
    };
    let target = absolute(file)?;
    if target.symlink_metadata().is_ok() {
        return Err(already_exists(
            &target,
            "name a file that does not exist yet",
        ));
    }
    write_copy(&source, &target, false)?;
    Ok(tilde(&target, &chosen.env.home))
}
