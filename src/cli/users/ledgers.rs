//! Copies of the ledgers of several users: `pouch ledger backup` and `restore`.
//!
//! Root neither reads nor writes a ledger in a directory of another user, who could replace it with
//! a link or with a database that is made to be opened by root. A process of each user copies that
//! user's ledgers: to a subdirectory that has the user's name and belongs to the user, as in a state
//! directory. What is restored from there is restored by a process of the same user.
//!
//! A copy that belongs to root, such as one from another machine, is given to the user whose account
//! it matches.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::group::{Group, Groups};
use crate::{
    cli::{
        CommandContext,
        args::{Command, Ledger, Restore, ShardOption},
    },
    config::Account,
    error::{Error, Kind, Result},
    ledger::{copies::Contents, mailboxes},
    sys::{
        files, owner,
        user::{self, User},
    },
    text::tilde,
};

/// The largest ledger that is read from standard input, in bytes.
const LARGEST: u64 = 4 << 30;

/// The paths of copies, for the processes that write or read them.
pub(super) struct Copies {
    /// The paths for the process of each group.
    pub paths: Vec<(Group, Vec<OsString>)>,
    /// The accounts whose user does not exist.
    pub failed: Vec<(String, Error)>,
    /// Copies for the users, which are removed at the end.
    _given: Option<TempDir>,
}

/// Returns the copies of a command, or `None` if all of them are those of one user, who is given the
/// paths on the command line.
///
/// # Errors
/// A copy cannot be read, or a directory cannot be created.
pub(super) fn of(context: &CommandContext, command: &Command) -> Result<Option<Copies>> {
    match command {
        Command::Ledger(Ledger::Backup(args)) if args.accounts.is_empty() => {
            let all = Groups::all(context);
            if all.are_own() || args.path.as_os_str() == "-" {
                return Ok(None);
            }
            let groups = with_ledgers(context, all.groups)?;
            of_backup(context, &args.path, groups, all.failed).map(Some)
        }
        Command::Ledger(Ledger::Backup(args)) => {
            let named = Groups::new(context, &args.accounts, false, ShardOption::default());
            if named.groups.len() < 2 {
                return Ok(None);
            }
            of_backup(context, &args.path, named.groups, named.failed).map(Some)
        }
        Command::Ledger(Ledger::Restore(args)) => {
            let all = Groups::all(context);
            if all.are_own() {
                return Ok(None);
            }
            of_restore(args, all.groups).map(Some)
        }
        _ => Ok(None),
    }
}

/// Returns the groups of other users, and this process if it has ledgers. All ledgers of each are
/// copied, also those of accounts that are not in the config any more.
fn with_ledgers(context: &CommandContext, groups: Vec<Group>) -> Result<Vec<Group>> {
    let (known, failed) = mailboxes::all(&context.setup.state_dir()?.path)?;
    let has_own = !known.is_empty() || failed.is_some();
    let users = groups.into_iter().map(|group| group.user);
    let users = users.flatten().map(Some);
    let own = has_own.then_some(None);
    let group = |user| Group {
        user,
        accounts: Vec::new(),
    };
    Ok(own.into_iter().chain(users).map(group).collect())
}

/// Returns the subdirectory of `path` for each group, which is created if it is missing.
fn of_backup(
    context: &CommandContext,
    path: &Path,
    groups: Vec<Group>,
    failed: Vec<(String, Error)>,
) -> Result<Copies> {
    let dir = absolute(path)?;
    let shown = tilde(&dir, &context.setup.dirs.home);
    if dir.exists() && !dir.is_dir() {
        return Err(Error::new(
            Kind::CannotCreate,
            format!("{shown} is not a directory"),
        ));
    }
    owner::check_owned_directory(&dir, &format!("the directory {shown}"), &shown)?;
    user::create_shared_dir(&dir)?;
    let mut paths = Vec::new();
    for group in groups {
        let path = match &group.user {
            Some(user) => user.create_dir(&dir, &shown)?,
            None => dir.clone(),
        };
        paths.push((group, vec![path.into()]));
    }
    Ok(Copies {
        paths,
        failed,
        _given: None,
    })
}

/// Divides the copies to restore among the users.
fn of_restore(args: &Restore, groups: Vec<Group>) -> Result<Copies> {
    let failed = |error: io::Error| Error::file("create", &std::env::temp_dir(), &error);
    let given = TempDir::with_prefix("pouch-").map_err(failed)?;
    let mode = fs::Permissions::from_mode(0o711);
    fs::set_permissions(given.path(), mode).map_err(failed)?;
    let mut division = Division {
        groups,
        given: given.path(),
        paths: BTreeMap::new(),
    };
    for path in &args.paths {
        if path.as_os_str() == "-" {
            division.add_copy(received(given.path())?)?;
        } else {
            division.add(absolute(path)?)?;
        }
    }
    Ok(Copies {
        paths: division.into_paths(),
        failed: Vec::new(),
        _given: Some(given),
    })
}

/// The division of copies among groups.
struct Division<'a> {
    groups: Vec<Group>,
    /// The directory for copies that users get.
    given: &'a Path,
    /// The paths by the name of the user.
    paths: BTreeMap<Option<String>, Vec<OsString>>,
}

impl Division<'_> {
    /// Adds a file or a directory.
    fn add(&mut self, path: PathBuf) -> Result<()> {
        let metadata = fs::symlink_metadata(&path).ok();
        if let Some(user) = metadata.and_then(|it| self.user_with_id(it.uid())) {
            let name = Some(user.name.clone());
            self.paths.entry(name).or_default().push(path.into());
            return Ok(());
        }
        if !path.is_dir() {
            return self.add_copy(path);
        }
        let entries = files::entries(&path).map_err(|error| Error::file("read", &path, &error))?;
        let mut entries: Vec<_> = entries.iter().map(fs::DirEntry::path).collect();
        entries.sort();
        let is_copy = |path: &PathBuf| path.extension().is_some_and(|it| it == "db");
        let names: Vec<_> = self.users().map(|user| user.name.clone()).collect();
        let is_of_user = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy());
            path.is_dir() && name.is_some_and(|name| names.iter().any(|it| *it == *name))
        };
        entries.retain(|path| is_copy(path) || is_of_user(path));
        if entries.is_empty() {
            // the process reports that
            self.paths.entry(None).or_default().push(path.into());
        }
        entries.into_iter().try_for_each(|path| self.add(path))
    }

    /// Adds a file that belongs to root.
    fn add_copy(&mut self, path: PathBuf) -> Result<()> {
        let contents = Contents::read(&path).ok();
        let user = contents.and_then(|contents| self.user_of(&contents));
        let (name, path) = match user {
            Some(user) => {
                let number = self.paths.values().map(Vec::len).sum::<usize>();
                let given = self.given.join(format!("{number}.db"));
                give(&path, &given, &user)?;
                (Some(user.name), given)
            }
            None => (None, path),
        };
        self.paths.entry(name).or_default().push(path.into());
        Ok(())
    }

    fn users(&self) -> impl Iterator<Item = &User> {
        self.groups.iter().filter_map(|group| group.user.as_ref())
    }

    fn user_with_id(&self, uid: u32) -> Option<&User> {
        self.users().find(|user| user.uid == uid)
    }

    /// Returns the user who has an account of the mailbox.
    fn user_of(&self, contents: &Contents) -> Option<User> {
        let is_it = |account: &Account| {
            let mailbox = account.identity();
            let has_name = mailbox.name.is_some() && mailbox.name == contents.name;
            let mut addresses = contents.addresses.iter();
            has_name || addresses.any(|(address, _)| *address == mailbox.address)
        };
        let group = self
            .groups
            .iter()
            .find(|it| it.accounts.iter().any(is_it))?;
        group.user.clone()
    }

    fn into_paths(self) -> Vec<(Group, Vec<OsString>)> {
        let users: BTreeMap<_, _> = self
            .users()
            .map(|user| (user.name.clone(), user.clone()))
            .collect();
        let group = |name: Option<String>| Group {
            user: name.and_then(|name| users.get(&name).cloned()),
            accounts: Vec::new(),
        };
        let paths = self.paths.into_iter();
        paths.map(|(name, paths)| (group(name), paths)).collect()
    }
}

/// Copies a file for a user.
fn give(source: &Path, target: &Path, user: &User) -> Result<()> {
    fs::copy(source, target).map_err(|error| Error::file("copy", source, &error))?;
    let failed = |error: io::Error| Error::file("create", target, &error);
    fs::set_permissions(target, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    chown(target, Some(user.uid), Some(user.gid)).map_err(failed)
}

/// Reads a ledger from standard input into a file in `dir`.
fn received(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("received.db");
    let failed = |error: io::Error| {
        Error::new(Kind::Io, "cannot read the ledger from standard input")
            .with_fact(error.to_string())
    };
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&path).map_err(failed)?;
    let mut input = io::Read::take(io::stdin().lock(), LARGEST);
    let read = io::copy(&mut input, &mut file).map_err(failed)?;
    if read == 0 {
        let what = "there is no ledger on standard input";
        return Err(Error::new(Kind::Usage, what));
    }
    Ok(path)
}

/// Returns the absolute form of a path on the command line.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::file("find", path, &error))
}
