//! `pouch import`: takes over accounts, and the record of fetched messages, from other programs.
//!
//! With `--write`, the server is compared with that record before anything is written for an
//! account: a wrong server, or one that changed its UIDs, would mean that all mail is fetched
//! again. The ledger is written first and the config last, since messages in the ledger of an
//! account that is not in the config do no harm.

pub(super) mod places;
mod report;

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
    domain::seen::Seen,
    error::{Error, Exit, Kind, Result},
    fetch::{ImportOutcome, SeenMail, env::RunEnv, import_seen},
    import::{self, Account, Context, Imported, Program, render, seen},
    report::{Level, complain, form, print, print_wrapped},
    sys::{files, password::Secret},
    text::{count, tilde},
};

/// The maximum number of mailboxes without an account that are listed.
const SHOWN_BLOCKS: usize = 10;

/// The messages that the other program has fetched for an account.
struct SeenMessages {
    path: PathBuf,
    messages: Vec<Seen>,
    unfinished: u64,
    derived: u64,
}

/// An account of the other program, and the result of its import.
struct Candidate {
    account: Account,
    /// The account of the config with the same address.
    existing: Option<config::Account>,
    seen: Option<SeenMessages>,
    outcome: Option<ImportOutcome>,
    is_added: bool,
    problem: Option<Error>,
}

impl Candidate {
    /// Returns the name in the config.
    fn name(&self) -> &str {
        let existing = self.existing.as_ref();
        existing.map_or(&self.account.name, |existing| &existing.name)
    }

    /// Adds the messages of a block of the state file at `path`.
    fn add_seen(&mut self, path: &Path, block: &seen::Block) {
        let seen = self.seen.get_or_insert_with(|| SeenMessages {
            path: path.to_owned(),
            messages: Vec::new(),
            unfinished: 0,
            derived: 0,
        });
        seen.messages.extend(block.messages.iter().cloned());
        seen.unfinished += block.unfinished;
        seen.derived += block.derived;
    }

    /// Returns whether the other program has recorded fetched messages.
    fn has_record(&self) -> bool {
        let seen = self.seen.as_ref();
        seen.is_some_and(|seen| !seen.messages.is_empty() || seen.unfinished > 0)
    }

    /// Returns whether the other program has a password for an account that is in the config, whose
    /// settings are not changed.
    fn keeps_password(&self) -> bool {
        self.existing.is_some() && self.account.password.is_some()
    }

    /// Returns whether the account can be added to the config.
    fn is_new(&self) -> bool {
        self.existing.is_none() && !self.account.is_unusable
    }
}

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
    for candidate in &mut candidates {
        check(candidate, context, &existing);
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
        let accounts = new_accounts(&candidates);
        if !accounts.is_empty() {
            print(&render::accounts(&accounts))?;
        }
    }
    if context.global.json {
        print_json(&report::document(program, &imported, &candidates))?;
    } else {
        print_results(context, args, &candidates)?;
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

/// The state files that were read, each with the blocks that belong to an account.
struct StateFiles<'a> {
    program: Program,
    home: &'a Path,
    files: Vec<(PathBuf, seen::State, Vec<bool>)>,
}

impl StateFiles<'_> {
    /// Reads a state file, unless it was read before. Returns its index, and the exit status.
    fn read(&mut self, path: &Path) -> Result<(usize, Exit)> {
        if let Some(at) = self.files.iter().position(|(known, ..)| known == path) {
            return Ok((at, Exit::OK));
        }
        let bytes = places::read(path, self.home)?;
        let state = seen::read(self.program, &bytes);
        let mut exit = Exit::OK;
        for line in state.odd_lines.iter().take(3) {
            exit = Kind::State.exit();
            complain(&format!(
                "pouch: {}:{line}: not a fetched message of {}",
                tilde(path, self.home),
                self.program
            ));
        }
        let used = vec![false; state.blocks.len()];
        self.files.push((path.to_owned(), state, used));
        Ok((self.files.len() - 1, exit))
    }

    /// Returns descriptions of the blocks that belong to no account.
    fn unused(&self) -> Vec<String> {
        let mut unused = Vec::new();
        for (path, state, used) in &self.files {
            let blocks = state.blocks.iter().zip(used);
            for (block, _) in blocks.filter(|(_, used)| !**used) {
                unused.push(format!(
                    "{} of {}@{} in {}",
                    count(block.messages.len() as u64, "message"),
                    block.user.as_deref().unwrap_or("?"),
                    block.host.as_deref().unwrap_or("?"),
                    tilde(path, self.home)
                ));
            }
        }
        unused
    }
}

/// Reads the records of fetched messages. Returns descriptions of those that belong to no account,
/// and the exit status.
fn find_seen(
    program: Program,
    candidates: &mut [Candidate],
    args: &Args,
    home: &Path,
) -> Result<(Vec<String>, Exit)> {
    let mut files = StateFiles {
        program,
        home,
        files: Vec::new(),
    };
    let mut exit = Exit::OK;
    let is_usable = |one: &&mut Candidate| !one.account.is_unusable;
    let usable = candidates.iter_mut().filter(is_usable).count();
    for candidate in candidates.iter_mut().filter(is_usable) {
        let mut places = candidate.account.state.iter();
        let found = args.state.as_ref();
        let Some(path) = found.or_else(|| places.find(|path| path.exists())).cloned() else {
            continue;
        };
        let at = match files.read(&path) {
            Ok((at, read)) => {
                exit = exit.worst(read);
                at
            }
            Err(error) if args.state.is_some() => return Err(error),
            Err(error) => {
                exit = exit.worst(error.kind().exit());
                candidate.problem = Some(error);
                continue;
            }
        };
        let (_, state, used) = &mut files.files[at];
        for (block, used) in state.blocks.iter().zip(used) {
            if is_of(block, &candidate.account, usable, args.state.is_some()) {
                *used = true;
                candidate.add_seen(&path, block);
            }
        }
    }
    Ok((files.unused(), exit))
}

/// Returns whether a block of a state file belongs to an account. A file that names no mailbox was
/// found by its name, or belongs to the only account.
fn is_of(block: &seen::Block, account: &Account, accounts: usize, named: bool) -> bool {
    match (&block.user, &block.host) {
        (Some(user), Some(host)) => account.user.as_ref() == Some(user) && account.is_at(host),
        _ => !named || accounts == 1,
    }
}

/// Marks an account as unusable if it is not valid in the config.
fn check(candidate: &mut Candidate, context: &CommandContext, existing: &Existing) {
    if !candidate.is_new() {
        return;
    }
    let text = render::append(&existing.text, &[&candidate.account]);
    if let Err(error) = write::check(&context.setup.path, &context.setup.dirs.home, &text) {
        // the user cannot look up a line of a config that is not written
        let shown = tilde(&context.setup.path, &context.setup.dirs.home);
        let place = error.what().strip_prefix(&shown);
        let what = place.and_then(|rest| Some(rest.split_once(": ")?.1));
        candidate.account.refuse(what.unwrap_or(error.what()));
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
    if args.passwords && !args.dry_run {
        write_passwords(candidates, path);
    }
    for candidate in candidates.iter() {
        if let Some(error) = &candidate.problem {
            exit = exit.worst(error.kind().exit());
            complain(&form(Some(candidate.name()), error, context.colour));
        }
    }
    let mut added = Vec::new();
    for candidate in candidates.iter_mut() {
        if candidate.is_new() && candidate.problem.is_none() && args.write {
            candidate.is_added = !args.dry_run;
            added.push(&candidate.account);
        }
    }
    if !added.is_empty() && !args.dry_run {
        files::replace(path, render::append(&existing.text, &added).as_bytes())?;
    }
    Ok(exit)
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
    if error.hint().is_some() {
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

/// Writes the passwords that were found to files next to the config.
fn write_passwords(candidates: &mut [Candidate], config: &Path) {
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
            Ok(true) => {}
            Ok(false) => {
                let what = format!("{} exists, and was not changed", path.display());
                let hint = "remove it and import again, or set `password-file` to it by hand";
                candidate.problem = Some(Error::new(Kind::CannotCreate, what).with_hint(hint));
            }
            Err(error) => candidate.problem = Some(error),
        }
    }
}

/// Prints what was written.
fn print_results(
    context: &CommandContext,
    args: &Args,
    candidates: &[Candidate],
) -> anyhow::Result<()> {
    if !(args.write || args.seen_only) {
        return Ok(());
    }
    let path = tilde(&context.setup.path, &context.setup.dirs.home);
    let mut names = Vec::new();
    for candidate in candidates.iter().filter(|one| one.problem.is_none()) {
        let name = candidate.name();
        let would = if args.dry_run { "would be " } else { "" };
        let mut parts = Vec::new();
        if candidate.is_added || (args.dry_run && args.write && candidate.is_new()) {
            parts.push(format!("{would}added to {path}"));
        }
        if let Some(outcome) = candidate.outcome {
            parts.push(format!(
                "{} of {} on the server are known",
                outcome.known,
                count(outcome.listed, "message")
            ));
            parts.push(match outcome.recorded {
                0 => "nothing new to record".to_owned(),
                recorded => format!("{} {would}recorded", count(recorded, "message")),
            });
        }
        if args.passwords && candidate.keeps_password() {
            parts.push(
                "its password was not stored, because the account was already in the config".into(),
            );
        }
        if parts.is_empty() {
            continue;
        }
        print_wrapped(&format!("{name}: {}\n", parts.join("; ")))?;
        let has_no_record = !candidate.has_record() && !candidate.account.was_deleting;
        if candidate.existing.is_none() && has_no_record {
            print_wrapped(&format!(
                "{name}: no record of fetched messages was found; to skip those on the server, run \
                 `pouch ledger catchup {name}` before the first fetch\n"
            ))?;
        }
        let is_prompted = |existing: &config::Account| existing.secret == SecretSource::Prompt;
        if args.passwords
            && candidate.keeps_password()
            && candidate.existing.as_ref().is_some_and(is_prompted)
        {
            print_wrapped(&format!(
                "{name}: to stop pouch from asking for the password, write it to a file that only \
                 you can read, and set `password-file` to that file\n"
            ))?;
        }
        if let Some(due) = candidate
            .outcome
            .map(|outcome| outcome.due)
            .filter(|due| *due > 0)
        {
            print_wrapped(&format!(
                "{name}: the next fetch deletes {} from the server, because of `keep`; to keep \
                 them, change `keep` first\n",
                count(due, "known message")
            ))?;
        }
        names.push(name);
    }
    if !names.is_empty() && !args.dry_run {
        let names = names.join(" ");
        print_wrapped(&format!(
            "run `pouch check {names}`, then `pouch plan {names}`\n"
        ))?;
    }
    Ok(())
}
