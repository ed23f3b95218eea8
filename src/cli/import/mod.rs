//! `pouch import`: takes over accounts, and the record of fetched messages, from other programs.
//!
//! With `--write`, the server is compared with that record before anything is written for an
//! account: a wrong server, or one that changed its UIDs, would mean that all mail is fetched
//! again. The ledger is written first and the config last, since messages in the ledger of an
//! account that is not in the config do no harm.

mod candidate;
pub(super) mod places;
mod record;
mod report;
mod results;

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    CommandContext, CommandResult, args::Import as Args, existing::Existing, fetch, print_json,
};
use crate::{
    config::{self, SecretSource, write},
    error::{Error, Exit, Kind, Result},
    fetch::{SeenMail, env::RunEnv, import_seen},
    import::{self, Account, Context, Imported, Program, render},
    report::{Level, complain, form, print, print_wrapped},
    sys::{files, password::Secret},
    text::{count, tilde},
};
use candidate::Candidate;
use record::find_seen;

/// The maximum number of mailboxes without an account that are listed.
const SHOWN_BLOCKS: usize = 10;

pub(super) fn run(context: &CommandContext, args: &Args) -> CommandResult {
    let Some(program) = args.from else {
        return list(context);
    };
    let home = &context.setup.dirs.home;
    let existing = Existing::read(context)?;
    let (mut imported, mut exit) = read_accounts(context, program, &args.files)?;
    let taken: Vec<_> = existing
        .accounts
        .iter()
        .map(|one| one.name.clone())
        .collect();
    let mut candidates = candidates(&mut imported, &existing, &taken, args.seen_only);
    let (unused, read) = find_seen(program, &mut candidates, args, home)?;
    exit = exit.worst(read);
    check(&mut candidates, context, &existing);
    for candidate in &mut candidates {
        if args.passwords && candidate.is_new() && candidate.account.password.is_some() {
            let path = password_file(&candidate.account, &context.setup.path);
            candidate.account.set_password_file(&tilde(&path, home));
        }
    }
    if context.level >= Level::Normal && !context.global.json {
        report::print(program, &imported, &candidates, home, context.colour);
        for block in unused.iter().take(SHOWN_BLOCKS) {
            complain(&format!("not imported, since no account has it: {block}"));
        }
        if let Some(more @ 1..) = unused.len().checked_sub(SHOWN_BLOCKS) {
            complain(&format!("not imported: {more} more mailboxes"));
        }
    }
    if !imported.problems.is_empty() {
        exit = exit.worst(Kind::State.exit());
    }
    if args.write || args.seen_only {
        let written = write(context, args, program, &mut candidates, &existing)?;
        exit = exit.worst(written);
    } else if !context.global.json {
        print_problems(context, &candidates);
        let accounts = new_accounts(&candidates);
        if !accounts.is_empty() {
            print(&render::accounts(&accounts))?;
        }
    }
    if context.global.json {
        print_json(&report::document(program, &imported, &candidates))?;
    } else {
        results::print(context, args, &candidates)?;
    }
    Ok(exit)
}

/// Lists the files of other programs that are found in the usual places.
fn list(context: &CommandContext) -> CommandResult {
    let dirs = &context.setup.dirs;
    let mut found = Vec::new();
    for program in Program::ALL {
        for path in places::configs(program, dirs) {
            let (imported, _) = read_accounts(context, program, std::slice::from_ref(&path))?;
            let usable = imported.accounts.iter().filter(|one| !one.is_unusable);
            found.push((program, path, usable.count()));
        }
    }
    if context.global.json {
        let found: Vec<_> = found
            .iter()
            .map(|(program, path, accounts)| {
                json!({
                    "program": program.name(),
                    "file": path.to_string_lossy(),
                    "accounts": accounts,
                })
            })
            .collect();
        print_json(&json!({ "found": found }))?;
        return Ok(Exit::OK);
    }
    if found.is_empty() {
        print_wrapped("no accounts of other mail programs were found in the usual places\n")?;
    }
    for (program, path, accounts) in &found {
        let path = tilde(path, &dirs.home);
        let accounts = count(*accounts as u64, "POP3 account");
        print_wrapped(&format!("{:11} {path}: {accounts}\n", program.name()))?;
    }
    if let Some((program, ..)) = found.first() {
        let name = program.name();
        print_wrapped(&format!(
            "to see what would be taken over, run `pouch import {name}`\n"
        ))?;
    }
    Ok(Exit::OK)
}

/// Reads and parses the files of a program. A file that cannot be read is reported, unless it is
/// the only one. Returns the exit status so far.
fn read_accounts(
    context: &CommandContext,
    program: Program,
    named: &[PathBuf],
) -> Result<(Imported, Exit)> {
    let dirs = &context.setup.dirs;
    let paths = if named.is_empty() {
        places::configs(program, dirs)
    } else {
        named
            .iter()
            .map(|path| config_file(program, path))
            .collect()
    };
    if paths.is_empty() {
        let what = format!("no accounts of {program} were found in the usual places");
        let hint = format!("name the file: `pouch import {} FILE`", program.name());
        return Err(Error::new(Kind::Config, what).with_hint(hint));
    }
    let login = dirs.variable("LOGNAME").or_else(|| dirs.variable("USER"));
    let login = login.unwrap_or_else(|| {
        let name = dirs.home.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    });
    let mut imported = Imported::default();
    let mut exit = Exit::OK;
    for path in &paths {
        let bytes = match places::read(path, &dirs.home) {
            Ok(bytes) => bytes,
            Err(error) if paths.len() == 1 => return Err(error),
            Err(error) => {
                complain(&form(None, &error, context.colour));
                exit = exit.worst(error.kind().exit());
                continue;
            }
        };
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let found = import::parse(
            program,
            &bytes,
            &Context {
                path: &absolute,
                home: &dirs.home,
                login: &login,
                read: &|path| places::read(path, &dirs.home).ok(),
            },
        );
        let has_password = found.accounts.iter().any(|one| one.password.is_some());
        let mode = path.metadata().map_or(0, |metadata| metadata.mode());
        imported.append(found);
        if has_password && mode & 0o077 != 0 {
            imported.note_readable(&tilde(path, &dirs.home));
        }
        if let Some(mark) = places::running(program, path, &dirs.home) {
            imported.note_running(program, &tilde(&mark, &dirs.home));
        }
    }
    Ok((imported, exit))
}

/// Returns the config file that a path on the command line means: Thunderbird's is in a directory.
fn config_file(program: Program, path: &Path) -> PathBuf {
    if program == Program::Thunderbird && path.is_dir() {
        path.join("prefs.js")
    } else {
        path.to_owned()
    }
}

/// Compares the accounts with those of the config. With `seen_only`, those that are not in it are
/// dropped.
fn candidates(
    imported: &mut Imported,
    existing: &Existing,
    taken: &[String],
    seen_only: bool,
) -> Vec<Candidate> {
    let known = |account: &Account| {
        let same = |known: &&config::Account| {
            account.user.as_deref() == Some(&known.user) && account.is_at(&known.host)
        };
        existing.accounts.iter().find(same).cloned()
    };
    let (old, new): (Vec<_>, Vec<_>) = std::mem::take(&mut imported.accounts)
        .into_iter()
        .map(|account| (known(&account), account))
        .partition(|(known, _)| known.is_some());
    let mut renamed = Imported::default();
    let new = new.into_iter().map(|(_, account)| account);
    renamed.accounts = if seen_only { Vec::new() } else { new.collect() };
    renamed.rename(taken);
    let new = renamed.accounts.into_iter().map(|account| (None, account));
    old.into_iter()
        .chain(new)
        .map(|(existing, account)| Candidate {
            account,
            existing,
            seen: None,
            outcome: None,
            is_added: false,
            problem: None,
        })
        .collect()
}

/// Marks accounts as unusable if they are not valid in the config, either alone or together with
/// the accounts before them.
fn check(candidates: &mut [Candidate], context: &CommandContext, existing: &Existing) {
    let (path, home) = (&context.setup.path, &context.setup.dirs.home);
    let fault = |text: &str| {
        let error = write::check(path, home, text).err()?;
        // the position is omitted: it refers to a config that does not exist
        let place = error.what().strip_prefix(&tilde(path, home));
        let what = place.and_then(|rest| Some(rest.split_once(": ")?.1));
        Some(what.unwrap_or(error.what()).to_owned())
    };
    for candidate in candidates.iter_mut().filter(|one| one.is_new()) {
        let alone = render::append(&existing.text, &[&candidate.account]);
        if let Some(fault) = fault(&alone) {
            candidate.account.refuse(&fault);
        }
    }
    let all = render::append(&existing.text, &new_accounts(candidates));
    if fault(&all).is_none() {
        return;
    }
    let mut text = existing.text.clone();
    for candidate in candidates.iter_mut().filter(|one| one.is_new()) {
        let next = render::append(&text, &[&candidate.account]);
        match fault(&next) {
            Some(fault) => candidate.account.refuse(&fault),
            None => text = next,
        }
    }
}

/// Prints why records of fetched messages cannot be read.
fn print_problems(context: &CommandContext, candidates: &[Candidate]) {
    for candidate in candidates {
        if let Some(error) = &candidate.problem {
            complain(&form(Some(candidate.name()), error, context.colour));
        }
    }
}

fn new_accounts(candidates: &[Candidate]) -> Vec<&Account> {
    let new = candidates.iter().filter(|candidate| candidate.is_new());
    new.map(|candidate| &candidate.account).collect()
}

/// Records the fetched messages, and adds the accounts to the config. An account whose server
/// cannot be compared is not added.
fn write(
    context: &CommandContext,
    args: &Args,
    program: Program,
    candidates: &mut [Candidate],
    existing: &Existing,
) -> Result<Exit> {
    let (path, home) = (&context.setup.path, &context.setup.dirs.home);
    let text = render::append(&existing.text, &new_accounts(candidates));
    let accounts = write::check(path, home, &text)?;
    if args.write && !args.dry_run {
        files::check_replaceable(path, text.as_bytes())?;
    }
    let env = fetch::env(context, &accounts)?;
    let mut exit = Exit::OK;
    for candidate in candidates.iter_mut() {
        let is_in_config = candidate.existing.is_some() || !candidate.account.is_unusable;
        if !is_in_config || candidate.problem.is_some() {
            continue;
        }
        let account = accounts.iter().find(|one| one.name == candidate.name());
        if let Some(account) = account
            && let Err(error) = record(candidate, account, &env, program, args.dry_run)
        {
            candidate.problem = Some(with_consequence(error, candidate, program));
        }
        context.stop.check()?;
    }
    let mut created = Vec::new();
    if args.passwords && !args.dry_run {
        created = write_passwords(candidates, path);
    }
    print_problems(context, candidates);
    for error in candidates.iter().filter_map(|one| one.problem.as_ref()) {
        exit = exit.worst(error.kind().exit());
    }
    let mut added = Vec::new();
    for candidate in candidates.iter_mut() {
        if candidate.is_new() && candidate.problem.is_none() && args.write {
            candidate.is_added = !args.dry_run;
            added.push(&candidate.account);
        }
    }
    if !added.is_empty() && !args.dry_run {
        let written = add(context, &added);
        if written.is_err() {
            // another import would not replace these password files
            for path in &created {
                let _ = files::remove(path);
            }
        }
        written?;
    }
    Ok(exit)
}

/// Adds the accounts to the config, which may have changed while servers were compared.
fn add(context: &CommandContext, accounts: &[&Account]) -> Result<()> {
    let path = &context.setup.path;
    let existing = Existing::read(&context.renewed()?)?;
    let text = render::append(&existing.text, accounts);
    write::check(path, &context.setup.dirs.home, &text)?;
    files::replace(path, text.as_bytes())
}

/// Adds to an error that the account was not added, and how to continue.
fn with_consequence(error: Error, candidate: &Candidate, program: Program) -> Error {
    let error = if candidate.existing.is_none() {
        error.with_fact("the account was not added to the config")
    } else {
        error
    };
    if error.kind() == Kind::Config && candidate.existing.is_none() {
        // its hint is about an account in the config
        return error.with_hint(format!(
            "run this at a terminal, or add the account by hand, then run `pouch import {} \
             --seen-only`",
            program.name()
        ));
    }
    let is_wrong_host = error.kind() == Kind::NoHost && candidate.existing.is_none();
    if error.hint().is_some() && !is_wrong_host {
        return error;
    }
    error.with_hint(format!(
        "correct the account and add it by hand, then run `pouch import {} --seen-only`",
        program.name()
    ))
}

/// Compares the fetched messages of an account with the server, and records them.
fn record(
    candidate: &mut Candidate,
    account: &config::Account,
    env: &RunEnv,
    program: Program,
    dry_run: bool,
) -> Result<()> {
    let Some(seen) = &candidate.seen else {
        return Ok(());
    };
    if seen.messages.is_empty() {
        return Ok(());
    }
    let mail = SeenMail {
        origin: program.name(),
        seen: &seen.messages,
        was_deleting: candidate.account.was_deleting,
    };
    let password = candidate.account.password.as_ref();
    let secret: Option<Secret> = password
        .filter(|_| candidate.existing.is_none() || account.secret == SecretSource::Prompt)
        .map(|password| password.0.clone());
    candidate.outcome = Some(import_seen(account, env, mail, secret.as_ref(), dry_run)?);
    Ok(())
}

/// Returns the file for the password of an account.
fn password_file(account: &Account, config: &Path) -> PathBuf {
    config.with_file_name("secrets").join(&account.name)
}

/// Writes the passwords that were found to files next to the config. Returns the files.
fn write_passwords(candidates: &mut [Candidate], config: &Path) -> Vec<PathBuf> {
    let mut created = Vec::new();
    for candidate in candidates
        .iter_mut()
        .filter(|one| one.is_new() && one.problem.is_none())
    {
        let Some(password) = candidate.account.password.clone() else {
            continue;
        };
        let path = password_file(&candidate.account, config);
        let written = if password.0.contains(&b'\n') {
            let what = "the password contains a line break, which a password file cannot contain";
            Err(Error::new(Kind::Config, what))
        } else {
            files::create_secret(&path, &password.0)
        };
        match written {
            Ok(true) => created.push(path),
            Ok(false) => {
                let what = format!("{} exists, and was not changed", path.display());
                let hint = "remove it and import again, or set `password-file` to it by hand";
                candidate.problem = Some(Error::new(Kind::CannotCreate, what).with_hint(hint));
            }
            Err(error) => candidate.problem = Some(error),
        }
    }
    created
}
