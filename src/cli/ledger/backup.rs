//! `pouch ledger backup`.
//!
//! Tokens of OAuth 2.0 are not in a backup. They give access to the mail, and a refresh token that
//! is valid once would be useless or, worse, end the sign-in when an old one is used.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    CommandContext, CommandResult,
    mailbox::{self, Chosen},
    print_json,
};
use crate::{
    cli::args::Backup as Args,
    error::{Error, Exit, Kind, Result},
    ledger::{
        copies::{self, Contents},
        mailboxes,
    },
    report::{complain, form, print_wrapped},
    sys::files,
    text::{count, sanitize, tilde},
};

pub(super) fn run(context: &CommandContext, args: &Args) -> CommandResult {
    if args.path.as_os_str() == "-" {
        let what = "a backup is not written to standard output";
        return Err(Error::new(Kind::Usage, what)
            .with_hint("name a file or a directory")
            .into());
    }
    let path = absolute(&args.path)?;
    let (chosen, failed) = chosen(context, args)?;
    let mut exit = Exit::OK;
    if let Some(error) = failed {
        complain(&form(None, &error, context.colour));
        exit = error.kind().exit();
    }
    let is_dir = is_dir(args, &path);
    let home = &context.setup.dirs.home;
    let mut documents = Vec::new();
    for one in &chosen {
        let target = if is_dir {
            path.join(format!("{}.db", one.mailbox.file.key()))
        } else {
            path.clone()
        };
        match back_up(one, &target, args.replace) {
            Ok(contents) if context.global.json => documents.push(json!({
                "account": one.name,
                "file": target.to_string_lossy(),
                "messages": contents.messages,
            })),
            Ok(contents) => print_wrapped(&format!(
                "{}: ledger copied to {} ({})\n",
                sanitize(one.name.as_bytes()),
                tilde(&target, home),
                count(contents.messages, "message")
            ))?,
            // the others are still copied
            Err(error) => {
                complain(&form(Some(&one.name), &error, context.colour));
                exit = exit.worst(error.kind().exit());
            }
        }
    }
    if context.global.json {
        print_json(&json!({ "ledgers": documents }))?;
    }
    Ok(exit)
}

/// Returns the mailboxes to copy, and the error of one that cannot be read.
fn chosen(context: &CommandContext, args: &Args) -> Result<(Vec<Chosen>, Option<Error>)> {
    if !args.accounts.is_empty() {
        let names = args.accounts.iter();
        let chosen = names.map(|name| mailbox::find(context, name));
        return Ok((chosen.collect::<Result<_>>()?, None));
    }
    // `backup work` without a path
    if let Some(name) = args.path.to_str()
        && !args.path.exists()
        && mailbox::find(context, name).is_ok()
    {
        let what = format!("`{name}` is an account; the path for its copy is missing");
        return Err(Error::new(Kind::Usage, what)
            .with_hint(format!("run `pouch ledger backup {name} FILE`")));
    }
    let env = mailbox::env(context)?;
    let (known, failed) = mailboxes::all(&env.state_dir)?;
    // another user's directory may not contain a ledger yet
    if known.is_empty() && failed.is_none() && context.handover.is_none() {
        let what = format!("there is no ledger in {}", tilde(&env.state_dir, &env.home));
        return Err(Error::new(Kind::Usage, what));
    }
    let chosen = known.into_iter().map(|mailbox| Chosen {
        name: mailbox.title(),
        mailbox,
        env: env.clone(),
    });
    Ok((chosen.collect(), failed))
}

/// Returns whether the path is that of a directory for the copies.
fn is_dir(args: &Args, path: &Path) -> bool {
    let ends_with_slash = args.path.as_os_str().as_encoded_bytes().ends_with(b"/");
    args.accounts.len() != 1 || ends_with_slash || path.is_dir()
}

fn back_up(one: &Chosen, target: &Path, replace: bool) -> Result<Contents> {
    let source = one.mailbox.file.path();
    let contents = Contents::read(&source)?;
    write_copy(&source, target, replace)?;
    Ok(contents)
}

/// Writes a copy of a ledger to a file of mode 0600, which appears at once and complete.
pub(super) fn write_copy(source: &Path, target: &Path, replace: bool) -> Result<()> {
    let failed = |error: &io::Error| Error::file("create", target, error);
    if !replace && target.symlink_metadata().is_ok() {
        return Err(already_exists(target, "`--replace` replaces it"));
    }
    if target.is_dir() {
        return Err(Error::new(
            Kind::CannotCreate,
            format!("{} is a directory", target.display()),
        ));
    }
    let dir = target.parent().unwrap_or(Path::new("/"));
    files::create_dir_durable(dir)?;
    let draft = draft(dir)?;
    copies::copy(source, draft.path())?;
    if replace {
        draft
            .persist(target)
            .map_err(|error| failed(&error.error))?;
    } else {
        draft
            .persist_noclobber(target)
            .map_err(|error| match error.error.kind() {
                io::ErrorKind::AlreadyExists => already_exists(target, "`--replace` replaces it"),
                _ => failed(&error.error),
            })?;
    }
    files::sync(dir)
}

/// Creates an empty file of mode 0600 that is removed, unless it gets another name.
pub(super) fn draft(dir: &Path) -> Result<tempfile::NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".pouch-")
        .tempfile_in(dir)
        .map_err(|error| Error::file("write to", dir, &error))
}

pub(super) fn already_exists(target: &Path, hint: &str) -> Error {
    let what = format!("{} already exists", target.display());
    Error::new(Kind::CannotCreate, what).with_hint(hint)
}

/// Returns the absolute form of a path on the command line.
pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::file("find", path, &error))
}
