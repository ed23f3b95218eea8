//! Copies of the ledgers of several users: `pouch ledger backup` and `restore`.
//!
//! Root neither reads nor writes a ledger in a directory of another user, who could replace it with
//! a link or with a database crafted to attack root. Instead, a process of each user copies that
//! user's ledgers to a subdirectory that has the user's name and belongs to the user, as in a state
//! directory. A process of the same user restores them from there.
//!
//! A copy that belongs to root, such as one from another machine, is passed to the user whose
//! account it matches.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use rustix::process::geteuid;
use tempfile::TempDir;

use super::group::{Group, Groups};
use crate::{
    cli::{
        CommandContext,
        args::{Command, Ledger, Restore, ShardOption},
    },
    config::{Account, resolve::Problem},
    error::{Error, Kind, Result},
    ledger::{copies::Contents, mailboxes},
    sys::{
        files, owner,
        user::{self, User},
    },
    text::tilde,
};

/// The maximum size of a ledger on standard input, in bytes.
const LARGEST: u64 = 4 << 30;

/// The paths of copies, for the processes that write or read them.
pub(super) struct Copies {
    /// The paths for the process of each group.
    pub paths: Vec<(Group, Vec<OsString>)>,
    /// The accounts, and whole sources of accounts, that cannot be used, so that ledgers of their
    /// users may be left out; and the users whose copies are not restored.
    pub problems: Vec<Problem>,
    /// A temporary directory with copies for the users.
    _given: Option<TempDir>,
}

/// Returns the copies of a command, or `None` if all of them belong to one user, whose process gets
/// the paths of the command line.
///
/// # Errors
/// A copy cannot be read, or a directory cannot be created.
pub(super) fn of(context: &CommandContext, command: &Command) -> Result<Option<Copies>> {
    match command {
        Command::Ledger(Ledger::Backup(args)) if args.accounts.is_empty() => {
            let (all, problems) = all(context)?;
            if (all.are_own() && problems.is_empty()) || args.path.as_os_str() == "-" {
                return Ok(None);
            }
            let groups = with_ledgers(context, all.groups)?;
            let mut copies = of_backup(context, &args.path, groups, all.failed)?;
            copies.problems.extend(problems);
            Ok(Some(copies))
        }
        Command::Ledger(Ledger::Backup(args)) => {
            let named = Groups::new(context, &args.accounts, false, ShardOption::default());
            if named.groups.len() < 2 {
                return Ok(None);
            }
            of_backup(context, &args.path, named.groups, named.failed).map(Some)
        }
        Command::Ledger(Ledger::Restore(args)) => {
            let (all, problems) = all(context)?;
            if all.are_own() && problems.is_empty() {
                return Ok(None);
            }
            let mut copies = of_restore(args, all.groups)?;
            copies.problems.extend(problems);
            Ok(Some(copies))
        }
        _ => Ok(None),
    }
}

/// Returns the groups of all accounts, and what is wrong with other accounts. For users other than
/// root, who need no groups, there are no problems.
///
/// # Errors
/// The config is not valid, so that the users are not known.
fn all(context: &CommandContext) -> Result<(Groups, Vec<Problem>)> {
    let setup = &context.setup;
    if context.handover.is_some() || !geteuid().is_root() {
        return Ok((Groups::all(context), Vec::new()));
    }
    setup.check_config()?;
    Ok((Groups::all(context), setup.problems()?))
}

/// Returns the groups of other users, and the group of this process if it has ledgers. All ledgers
/// of each user are copied, including those of accounts that are no longer in the config.
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

/// Returns the subdirectory of `path` for each group, and creates it if it is missing.
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
        problems: failed.into_iter().map(problem).collect(),
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
        problems: Vec::new(),
    };
    for path in &args.paths {
        if path.as_os_str() == "-" {
            division.add_copy(received(given.path())?)?;
        } else {
            division.add(absolute(path)?)?;
        }
    }
    Ok(Copies {
        problems: std::mem::take(&mut division.problems),
        paths: division.into_paths(),
        _given: Some(given),
    })
}

/// The division of copies among groups.
struct Division<'a> {
    groups: Vec<Group>,
    /// The directory for copies that are passed to users.
    given: &'a Path,
    /// The paths by user name.
    paths: BTreeMap<Option<String>, Vec<OsString>>,
    /// The users whose copies are not restored.
    problems: Vec<Problem>,
}

impl Division<'_> {
    /// Adds a file or a directory.
    fn add(&mut self, path: PathBuf) -> Result<()> {
        if let Ok(metadata) = fs::symlink_metadata(&path) {
            if let Some(error) = self.foreign_copies(&path, &metadata) {
                let name = path.file_name().unwrap_or_default();
                self.problems
                    .push(problem((name.display().to_string(), error)));
                return Ok(());
            }
            if let Some(user) = self.user_with_id(metadata.uid()) {
                let name = Some(user.name.clone());
                self.paths.entry(name).or_default().push(path.into());
                return Ok(());
            }
        }
        if !path.is_dir() {
            return self.add_copy(path);
        }
        let entries = files::entries(&path).map_err(|error| Error::file("read", &path, &error))?;
        let mut entries: Vec<_> = entries.iter().map(fs::DirEntry::path).collect();
        entries.sort();
        entries.retain(|path| is_copy(path) || has_copies(path));
        if entries.is_empty() {
            // the process reports the error
            self.paths.entry(None).or_default().push(path.into());
        }
        entries.into_iter().try_for_each(|path| self.add(path))
    }

    /// Returns the error for a directory that has the name of a user and belongs to another one.
    /// The IDs of users may differ on the machine that the copies are from. Also returns an error
    /// for a directory of a user who has no account.
    fn foreign_copies(&self, path: &Path, metadata: &fs::Metadata) -> Option<Error> {
        let owner = metadata.uid();
        if !metadata.is_dir() || owner == 0 {
            return None;
        }
        let shown = path.display();
        let name = path.file_name()?.to_string_lossy();
        let owner_name = User::name_of(owner).unwrap_or_else(|| owner.to_string());
        let not_restored = "its ledgers were not restored";
        match self.users().find(|user| *user.name == *name) {
            Some(user) if user.uid != owner => {
                let what = format!("{shown} belongs to `{owner_name}`, not to `{name}`");
                Some(
                    Error::new(Kind::Denied, what)
                        .with_fact(not_restored)
                        .with_hint(format!("run `chown -R {name} {shown}`")),
                )
            }
            None if *name == *owner_name && self.user_with_id(owner).is_none() => {
                let what = format!("no valid account is fetched for the user `{name}`");
                Some(
                    Error::new(Kind::Config, what)
                        .with_fact(not_restored)
                        .with_fact(format!("they are in {shown}")),
                )
            }
            _ => None,
        }
    }

    /// Adds a file that belongs to root. A user gets a copy of it, made before its content is read,
    /// since the file may be replaced in the meantime.
    fn add_copy(&mut self, path: PathBuf) -> Result<()> {
        let number = self.paths.values().map(Vec::len).sum::<usize>();
        let given = self.given.join(format!("{number}.db"));
        let user = if path.is_file() {
            copy(&path, &given)?;
            let contents = Contents::read(&given).ok();
            contents.and_then(|contents| self.user_of(&contents))
        } else {
            None
        };
        let (name, path) = if let Some(user) = user {
            chown(&given, Some(user.uid), Some(user.gid))
                .map_err(|error| Error::file("create", &given, &error))?;
            (Some(user.name), given)
        } else {
            let _ = fs::remove_file(&given);
            (None, path)
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

/// Returns the problem of an account, or of a user.
fn problem((name, error): (String, Error)) -> Problem {
    Problem {
        account: Some(name),
        error,
    }
}

/// Returns whether a path has the name of a copy.
fn is_copy(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "db")
}

/// Returns whether a path is that of a directory with copies.
fn has_copies(path: &Path) -> bool {
    let entries = path.is_dir().then(|| files::entries(path).ok()).flatten();
    entries.is_some_and(|entries| entries.iter().any(|entry| is_copy(&entry.path())))
}

/// Copies a file of root to a file that only root can read.
fn copy(source: &Path, target: &Path) -> Result<()> {
    let failed = |error: io::Error| Error::file("copy", source, &error);
    let mut source = fs::File::open(source).map_err(failed)?;
    io::copy(&mut source, &mut create(target).map_err(failed)?).map_err(failed)?;
    Ok(())
}

/// Creates a file that only root can read.
fn create(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// Reads a ledger from standard input into a file in `dir`.
fn received(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("received.db");
    let failed = |error: io::Error| {
        Error::new(Kind::Io, "cannot read the ledger from standard input")
            .with_fact(error.to_string())
    };
    let mut file = create(&path).map_err(failed)?;
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
