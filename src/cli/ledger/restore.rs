//! `pouch ledger restore`: restores a ledger from a backup, or from another machine.
//!
//! A backup does not contain the messages that were fetched after it was made, which would
//! therefore be fetched again. Their files show that they were delivered: the names contain the ID
//! of this ledger, and message numbers that it does not have. The names do not contain UIDs, so the
//! next run compares the headers with the messages on the server. The numbers are not used again.

use std::{
    collections::HashSet,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    CommandContext, CommandResult,
    backup::{absolute, draft},
    export::lock_key,
    mailbox, print_json,
};
use crate::{
    cli::args::Restore as Args,
    delivery::Maildir,
    domain::{file_name::MessageFileName, ids::RowId},
    error::{Error, Exit, Kind, Result},
    fetch::env::RunEnv,
    ledger::{
        REPLACE_HINT,
        copies::{self, Contents, Restoration},
        mailboxes::{self, KnownMailbox},
    },
    report::{complain, form, print_wrapped},
    sys::{files, owner},
    text::{count, day, moment, sanitize, tilde},
};

/// The hint for a file that is not a ledger.
const SOURCE_HINT: &str = "name a file that `pouch ledger backup` or `pouch ledger export` wrote";

/// The largest ledger that is read from standard input, in bytes.
const LARGEST: u64 = 4 << 30;

/// A ledger that was restored.
struct Restored {
    contents: Contents,
    /// The path of the ledger that it replaced.
    old: Option<PathBuf>,
    /// The number of messages that were delivered after the backup, by their files.
    newer: usize,
    /// The host name of another machine that may still fetch the mailbox.
    other_machine: Option<String>,
}

pub(super) fn run(context: &CommandContext, args: &Args) -> CommandResult {
    let env = mailbox::env(context)?;
    let state_dir = tilde(&env.state_dir, &env.home);
    owner::check_directory(&env.state_dir, &state_dir)?;
    let mut exit = Exit::OK;
    let mut documents = Vec::new();
    let dir = env.state_dir.join("mailboxes");
    files::create_dir_durable(&dir)?;
    if let Some(link) = &env.state_link {
        files::link_once(&env.state_dir, link);
    }
    for path in sources(&args.paths)? {
        let restored = if path.as_os_str() == "-" {
            received(&dir).and_then(|file| {
                let restored = restore(&env, file.path(), args.replace);
                restored.map_err(|error| of_standard_input(&error, file.path()))
            })
        } else {
            restore(&env, &path, args.replace)
        };
        match restored {
            Ok(restored) if context.global.json => documents.push(document(&restored)),
            Ok(restored) => {
                for line in lines(&restored, &env) {
                    let title = sanitize(restored.contents.title().as_bytes());
                    print_wrapped(&format!("{title}: {line}\n"))?;
                }
            }
            // the others are still restored
            Err(error) => {
                complain(&form(None, &error, context.colour));
                exit = exit.worst(error.kind().exit());
            }
        }
    }
    if context.global.json {
        print_json(&json!({ "ledgers": documents }))?;
    }
    Ok(exit)
}

/// Returns the files to restore: for a directory, all ledgers in it.
fn sources(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            sources.push(path.clone());
            continue;
        }
        let path = absolute(path)?;
        if !path.is_dir() {
            sources.push(path);
            continue;
        }
        let entries = files::entries(&path).map_err(|error| Error::file("read", &path, &error))?;
        let mut found: Vec<_> = entries.iter().map(std::fs::DirEntry::path).collect();
        found.retain(|path| path.extension().is_some_and(|extension| extension == "db"));
        if found.is_empty() {
            let what = format!("there is no ledger in {}", path.display());
            return Err(Error::new(Kind::Usage, what).with_hint(SOURCE_HINT));
        }
        found.sort();
        sources.extend(found);
    }
    Ok(sources)
}

/// Reads a ledger from standard input into a file that is removed at the end.
fn received(dir: &Path) -> Result<tempfile::NamedTempFile> {
    let draft = draft(dir)?;
    let failed = |error: io::Error| {
        Error::new(Kind::Io, "cannot read the ledger from standard input")
            .with_fact(error.to_string())
    };
    let mut file = draft.reopen().map_err(failed)?;
    let read = io::copy(&mut io::stdin().lock().take(LARGEST), &mut file).map_err(failed)?;
    if read == 0 {
        let what = "there is no ledger on standard input";
        return Err(Error::new(Kind::Usage, what));
    }
    Ok(draft)
}

/// Returns the error with standard input in place of `copy`, the file with its content.
fn of_standard_input(error: &Error, copy: &Path) -> Error {
    let copy = copy.to_string_lossy();
    let what = error.what().replace(&*copy, "on standard input");
    let facts = error.facts().iter();
    let named = facts.fold(Error::new(error.kind(), what), Error::with_fact);
    match error.hint() {
        Some(hint) => named.with_hint(hint),
        None => named,
    }
}

fn restore(env: &RunEnv, source: &Path, replace: bool) -> Result<Restored> {
    let contents = Contents::verify(source).map_err(|error| match error.hint() {
        Some(REPLACE_HINT) => error.with_hint(SOURCE_HINT),
        _ => error,
    })?;
    let (known, failed) = mailboxes::all(&env.state_dir)?;
    let file = match existing(&known, &contents, source)? {
        Some(known) if !replace && !known.is_blank => {
            return Err(exists(known, &contents));
        }
        Some(known) => known.file.clone(),
        None => {
            let file = contents.file(&env.state_dir);
            // one that cannot be read, or that of another mailbox
            match (file.path().exists(), failed) {
                (true, Some(_)) if replace => {}
                (true, Some(error)) => {
                    return Err(error.with_hint("to keep it under another name, use `--replace`"));
                }
                (_, None) | (false, _) => {}
            }
            file
        }
    };
    let _lock = lock_key(env, file.key())?;
    let (newer, last_message) = newer_files(&contents)?;
    let machine = env.machine();
    let draft = draft(&env.state_dir.join("mailboxes"))?;
    copies::copy(source, draft.path())?;
    let restoration = Restoration {
        machine: &machine,
        now: env.clock.now(),
        last_message,
        is_old: contents.exported_at.is_none() || newer > 0,
    };
    let old = copies::install(&file, draft.path(), &restoration)?;
    let other = contents.machine.clone().filter(|other| {
        contents.exported_at.is_none() && machine.id.is_some() && other.id != machine.id
    });
    Ok(Restored {
        contents,
        old,
        newer,
        other_machine: other.map(|other| other.name),
    })
}

/// Returns the ledger that the copy replaces: the same one, or one of the same mailbox.
///
/// # Errors
/// The copy is that ledger itself, or there are several.
fn existing<'k>(
    known: &'k [KnownMailbox],
    contents: &Contents,
    source: &Path,
) -> Result<Option<&'k KnownMailbox>> {
    let is_same = |known: &&KnownMailbox| {
        let shares_address = contents.addresses.iter().any(|(address, _)| {
            let mut addresses = known.addresses.iter();
            addresses.any(|(known, _)| known == address)
        });
        let differs =
            known.name.is_some() && contents.name.is_some() && known.name != contents.name;
        let has_same_name = known.name.is_some() && known.name == contents.name;
        let is_it = || Contents::read(&known.file.path()).is_ok_and(|it| it.id == contents.id);
        (shares_address && !differs) || has_same_name || is_it()
    };
    let same: Vec<_> = known.iter().filter(is_same).collect();
    let source = std::fs::canonicalize(source).ok();
    let is_source = |known: &&&KnownMailbox| {
        source.is_some() && std::fs::canonicalize(known.file.path()).ok() == source
    };
    if same.iter().find(is_source).is_some() {
        return Err(Error::new(
            Kind::Usage,
            "this is the ledger that pouch uses, not a backup",
        ));
    }
    match same[..] {
        [] => Ok(None),
        [known] => Ok(Some(known)),
        [..] => {
            let error = Error::new(
                Kind::Usage,
                "the backup matches several mailboxes on this machine",
            );
            let titles = same.iter().map(|known| sanitize(known.title().as_bytes()));
            Err(titles
                .fold(error, Error::with_fact)
                .with_hint("remove the ledgers that are not used with `pouch ledger drop`"))
        }
    }
}

/// Returns the error for a mailbox that has the ledger `known`.
fn exists(known: &KnownMailbox, contents: &Contents) -> Error {
    let title = sanitize(contents.title().as_bytes());
    let what = format!("{title} already has a ledger");
    let describe = |name: &str, contents: &Contents| {
        let messages = count(contents.messages, "message");
        let last = contents.last_run.map_or_else(|| "never".to_owned(), moment);
        format!("{name}: {messages}, last run {last}")
    };
    let mut error = Error::new(Kind::CannotCreate, what);
    let mut exported = None;
    if let Ok(present) = Contents::read(&known.file.path()) {
        error = error.with_fact(describe("here", &present));
        exported = present.exported_at;
    }
    let error = error.with_fact(describe("backup", contents));
    match exported {
        // a restore would undo the export, so it is not suggested
        Some(at) => error
            .with_fact(format!("it was exported to another machine on {}", day(at)))
            .with_hint(format!(
                "to fetch the mailbox here again, run `pouch ledger export --undo {title}`"
            )),
        None => error.with_hint(
            "to restore the backup, and keep the old ledger under another name, use `--replace`",
        ),
    }
}

/// Finds files of messages that were delivered after the backup. Returns their number, and the
/// highest number of a message.
fn newer_files(contents: &Contents) -> Result<(usize, RowId)> {
    let mut newer = HashSet::new();
    let mut last = contents.last_message;
    for root in &contents.maildirs {
        if !Maildir::exists(root).is_ok_and(|exists| exists) {
            continue;
        }
        Maildir::open_existing(root)?.visit(true, &mut |found| {
            if let Ok(name) = found.name.parse::<MessageFileName>()
                && name.origin.id == contents.id
                && name.row > contents.last_message
            {
                last = last.max(name.row);
                newer.insert(name.row);
            }
            Ok(())
        })?;
    }
    Ok((newer.len(), last))
}

/// Returns the lines about a restored ledger, without its name.
fn lines(restored: &Restored, env: &RunEnv) -> Vec<String> {
    let contents = &restored.contents;
    let messages = count(contents.messages, "message");
    let last = contents.last_run.map_or_else(|| "never".to_owned(), moment);
    let mut lines = vec![format!("ledger restored: {messages}, last run {last}")];
    if let Some(old) = &restored.old {
        let old = tilde(old, &env.home);
        lines.push(format!("the old ledger is now {old}"));
    }
    if restored.newer > 0 {
        let messages = count(restored.newer as u64, "message");
        lines.push(format!(
            "{messages} in its Maildirs were delivered later; the next run recognises those still \
             on the server"
        ));
    }
    if let Some(other) = &restored.other_machine {
        lines.push(format!(
            "the last run was on {}; do not fetch the mailbox there any more",
            sanitize(other.as_bytes())
        ));
    }
    if contents.exported_at.is_none() {
        let what = if contents.maildirs.is_empty() {
            "messages that were delivered after the backup"
        } else {
            "messages that were delivered to other destinations after the backup"
        };
        lines.push(format!("{what} are fetched again"));
    }
    lines
}

fn document(restored: &Restored) -> serde_json::Value {
    let contents = &restored.contents;
    json!({
        "mailbox": contents.title(),
        "messages": contents.messages,
        "last_run": contents.last_run.map(|at| at.0),
        "newer": restored.newer,
        "replaced": restored.old.as_ref().map(|old| old.to_string_lossy()),
        "other_machine": restored.other_machine,
    })
}
