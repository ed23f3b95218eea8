//! The destination `maildir`.
//!
//! # Durability
//!
//! A message is written in `tmp`, synced, and then linked or moved into `new`, and the directory is
//! synced: a mail program never sees a part of a message, and a message in `new` survives a power
//! cut. An fsync for each message in turn would be the limit of a first fetch, so a whole batch is
//! committed at once, in this order:
//!
//! 1. Writing back the data of all files is started.
//! 2. All files are synced, by several threads: an fsync ends with flushing the cache of the disk,
//!    and several of them share one flush.
//! 3. All files are published in `new`.
//! 4. `new` is synced, once for all. For the first batch, the Maildir and its parent are synced as
//!    well, since the run that created them may have been interrupted before it did that.
//!
//! Relying on the file system to write data before names was rejected: ext4 and XFS promise that
//! for few operations, and NFS and FUSE for none. The names are functions of the ledger's rows, so
//! that messages published by an interrupted run are found, wherever a mail program moved them.

mod file;

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
};

use file::{Accepted, Naming};

use rustix::{
    fs::{Access, access},
    process::geteuid,
};

use super::{
    BatchOutcome, Delivery, DeliveryMode, Draft, Envelope, Location, PendingCommit, Search,
    StoredMessage, Unstored, Visit,
};
use crate::{
    domain::destination::Destination,
    error::{Error, Kind, Result},
    sys::{files, interrupt::Interrupt, owner},
};

/// The subdirectories of a Maildir.
const PARTS: [&str; 3] = ["tmp", "new", "cur"];

/// The number of threads that sync the files of a batch.
const SYNC_THREADS: usize = 8;

/// A Maildir as a destination.
#[derive(Debug)]
pub struct Maildir {
    root: PathBuf,
    /// The time at which its files get their names.
    naming: Naming,
    /// The accepted messages, which are not durable and not in `new` yet.
    accepted: Vec<Accepted>,
    /// True once a batch of this run has synced the Maildir and its parent, or is about to.
    root_synced: bool,
}

impl Maildir {
    /// Opens the Maildir at `root`, and creates it if `root` does not exist or is empty.
    ///
    /// # Errors
    /// [`Kind::CannotCreate`] if it cannot be created, or is something else; [`Kind::Denied`] if
    /// another user could redirect it.
    pub fn open(root: &Path) -> Result<Self> {
        owner::check_destination(root)?;
        for part in PARTS {
            owner::check_link(&root.join(part))?;
        }
        if !Self::exists(root)? {
            for part in [root.to_owned()]
                .into_iter()
                .chain(PARTS.map(|part| root.join(part)))
            {
                files::create_dir_durable(&part)?;
            }
            mark_subfolder(root)?;
        }
        Ok(Self::at(root))
    }

    /// Returns the Maildir at `root` without touching the disk.
    fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            naming: Naming::default(),
            accepted: Vec::new(),
            root_synced: false,
        }
    }

    /// Opens the Maildir at `root` for reading. Nothing is created.
    ///
    /// # Errors
    /// [`Kind::CannotCreate`] if `root` is something else.
    pub fn open_existing(root: &Path) -> Result<Self> {
        Self::exists(root)?;
        Ok(Self::at(root))
    }

    /// Passes its messages to `visit`, as [`visit_stored`](Delivery::visit_stored) does, and with
    /// `subfolders` those of the Maildirs in it.
    ///
    /// # Errors
    /// It cannot be read, or `visit` failed.
    pub fn visit(&self, subfolders: bool, visit: &mut Visit<'_>) -> Result<Search> {
        let mut walk = Walk {
            subfolders,
            seen: HashSet::new(),
            search: Search::default(),
            visit,
        };
        walk.maildir(&self.root)?;
        Ok(walk.search)
    }

    /// Returns the creation time of the Maildir at `root` in nanoseconds since 1970 (statx(2),
    /// `btime`), which changes if it is replaced or restored from a backup. Returns 0 if there is
    /// none, and `None` if its file system does not record it.
    pub fn created_at(root: &Path) -> Option<i64> {
        match files::created_at(&root.join("cur")) {
            Ok(created) => created,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(0),
            Err(_) => None,
        }
    }

    /// Returns when `new` and `cur` of the Maildir at `root` changed last.
    pub fn changes(root: &Path) -> Changes {
        let directory = |part| fs::metadata(root.join(part)).ok();
        let [new, cur] = ["new", "cur"].map(directory);
        let modified = |dir: &Option<fs::Metadata>| {
            let dir = dir.as_ref()?;
            Some(files::nanoseconds(dir.mtime(), dir.mtime_nsec()))
        };
        let changed = [&new, &cur].into_iter().flatten();
        Changes {
            new: modified(&new),
            cur: modified(&cur),
            last: changed
                .map(|dir| files::nanoseconds(dir.ctime(), dir.ctime_nsec()))
                .max(),
        }
    }

    /// Returns whether `root` is a Maildir: `false` if it does not exist, is empty, or has only
    /// some of the three directories.
    ///
    /// # Errors
    /// [`Kind::CannotCreate`] if it is something else; or it cannot be read.
    pub fn exists(root: &Path) -> Result<bool> {
        if PARTS.iter().all(|part| root.join(part).is_dir()) {
            return Ok(true);
        }
        let entries = match files::entries(root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(not_a_maildir(root, &blocking_file(root)));
            }
            Err(error) => return Err(Error::file("open the Maildir", root, &error)),
        };
        // Some of the three may exist after a crash. A directory with other content is not touched.
        match entries
            .iter()
            .find(|entry| !PARTS.iter().any(|part| entry.file_name() == *part))
        {
            None => Ok(false),
            Some(entry) => Err(not_a_maildir(
                root,
                &format!(
                    "it lacks tmp, new and cur, and contains {}",
                    entry.path().display()
                ),
            )),
        }
    }
}

/// The times at which the directories of a Maildir changed, in nanoseconds since 1970, by the clock
/// of the file system. `None` if one does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// When an entry of `new` was added or removed last (`mtime`). A restored backup sets it back.
    pub new: Option<i64>,
    /// The same for `cur`.
    pub cur: Option<i64>,
    /// When either directory changed last (`ctime`). Nothing but the clock sets it back.
    pub last: Option<i64>,
}

/// Creates the file `maildirfolder` if `root` is a subfolder of a Maildir, as Maildir++ requires
/// for quotas.
fn mark_subfolder(root: &Path) -> Result<()> {
    let is_subfolder = root
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
        && root
            .parent()
            .is_some_and(|parent| PARTS.iter().all(|part| parent.join(part).is_dir()));
    if is_subfolder {
        let path = root.join("maildirfolder");
        // An existing file, or a link that another user placed there, is left as it is.
        match File::create_new(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::file("create", &path, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns the fact that `path` or a parent of it is a file.
fn blocking_file(path: &Path) -> String {
    let above = path
        .ancestors()
        .skip(1)
        .find(|above| above.exists() && !above.is_dir());
    above.map_or_else(
        || "it is a file".into(),
        |above| format!("{} is a file", above.display()),
    )
}

/// Returns the error for a path that is not a Maildir, because of `fact`.
fn not_a_maildir(root: &Path, fact: &str) -> Error {
    Error::new(
        Kind::CannotCreate,
        format!("{} is not a Maildir", root.display()),
    )
    .with_fact(fact)
    .with_hint("use a directory that does not exist yet; pouch creates it")
}

impl Delivery for Maildir {
    fn begin(&mut self, envelope: &Envelope<'_>) -> Result<Draft> {
        let tmp = self.root.join("tmp");
        let path = tmp.join(envelope.name);
        let (file, named) = self
            .naming
            .create(&tmp, &path)
            .map_err(|error| Error::file("write", &path, &error))?;
        Ok(if named {
            Draft::named(&path, file)
        } else {
            Draft::unnamed(&tmp, file)
        })
    }

    fn accept(&mut self, envelope: &Envelope<'_>, draft: Draft, _stop: &Interrupt) -> Result<()> {
        let Draft {
            file,
            remove_on_drop,
            ..
        } = draft;
        self.accepted.push(Accepted {
            file,
            draft: remove_on_drop.keep(),
            target: self.root.join("new").join(envelope.name),
        });
        Ok(())
    }

    fn take_batch(&mut self) -> PendingCommit {
        let accepted = std::mem::take(&mut self.accepted);
        let root = self.root.clone();
        let sync_root = !accepted.is_empty() && !std::mem::replace(&mut self.root_synced, true);
        PendingCommit::new(move || {
            if accepted.is_empty() {
                Ok(BatchOutcome::default())
            } else {
                commit(&accepted, &root, sync_root)
            }
        })
    }

    fn mode(&self, _destinations: &[Destination]) -> DeliveryMode {
        DeliveryMode::Parallel
    }

    fn visit_stored(&self, visit: &mut Visit<'_>) -> Result<Option<Search>> {
        self.visit(true, visit).map(Some)
    }

    fn remove_stale_drafts(&mut self, ours: &dyn Fn(&str) -> bool) -> Result<()> {
        let tmp = self.root.join("tmp");
        let removed = files::each_entry(&tmp, |entry| {
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_dir || !entry.file_name().to_str().is_some_and(ours) {
                return Ok(());
            }
            let path = entry.path();
            match files::remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(Error::file("remove", &path, &error))
                }
                _ => Ok(()),
            }
        });
        removed.map_err(|error| Error::file("read", &tmp, &error))??;
        // No later run removes them again.
        files::sync(&tmp)
    }
}

/// Commits a batch, in the order that the module describes. Messages that could not be stored are
/// returned only if there are others.
fn commit(accepted: &[Accepted], root: &Path, sync_root: bool) -> Result<BatchOutcome> {
    accepted.iter().for_each(Accepted::write_back);
    let shares = accepted.chunks(accepted.len().div_ceil(SYNC_THREADS));
    let synced: Vec<Result<()>> = thread::scope(|scope| {
        let threads: Vec<_> = shares
            .map(|share| {
                let thread = thread::Builder::new().spawn_scoped(scope, || sync_all(share));
                (share, thread)
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|(share, thread)| match thread {
                Ok(thread) => thread.join().unwrap_or_else(|_| {
                    let error = Error::new(Kind::Bug, "a sync thread panicked");
                    vec![Err(error); share.len()]
                }),
                // The system cannot start another thread.
                Err(_) => sync_all(share),
            })
            .collect()
    });
    let mut outcome = BatchOutcome::default();
    let name_of = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    for (message, synced) in accepted.iter().zip(synced) {
        let name = name_of(&message.target);
        match synced.and_then(|()| message.publish()) {
            Ok(path) if path == message.target => {}
            Ok(path) => outcome.renamed.push((name, name_of(&path))),
            Err(error) => outcome.unstored.push(Unstored { name, error }),
        }
    }
    files::sync(&root.join("new"))?;
    if sync_root {
        files::sync_dir_and_parent(root)?;
    }
    if outcome.unstored.len() == accepted.len() && accepted.len() > 1 {
        return Err(outcome.unstored.swap_remove(0).error);
    }
    Ok(outcome)
}

/// Syncs the files of accepted messages, one after the other. Returns the result for each.
fn sync_all(accepted: &[Accepted]) -> Vec<Result<()>> {
    accepted.iter().map(Accepted::sync).collect()
}

/// A search for messages in a Maildir, and in every Maildir in it, of any name (`.Archive`,
/// `Archive`) and also by symbolic link.
///
/// Mail programs move messages meanwhile, from `new` to `cur`, and from there to subfolders. In the
/// order of reading, such a message is not missed.
struct Walk<'w, 'v> {
    subfolders: bool,
    /// The directories that were visited, since links and mounts can form a cycle.
    seen: HashSet<(u64, u64)>,
    search: Search,
    visit: &'w mut Visit<'v>,
}

impl Walk<'_, '_> {
    /// Visits the messages of the account's own Maildir, and those of its subfolders.
    fn maildir(&mut self, root: &Path) -> Result<()> {
        self.seen(root)
            .and_then(|is_new| {
                if is_new {
                    self.folder(root)
                } else {
                    Ok(Ok(()))
                }
            })
            .or_else(|(path, error)| match error.kind() {
                io::ErrorKind::NotFound => Ok(Ok(())),
                _ => Err(Error::file("read", &path, &error)),
            })?
    }

    /// Visits the messages of a subfolder. One that cannot be read is skipped: it may not even be a
    /// Maildir (`lost+found`).
    fn subfolder(&mut self, dir: &Path) -> Result<()> {
        let visited = self
            .seen(dir)
            .and_then(|is_new| if is_new { self.folder(dir) } else { Ok(Ok(())) });
        match visited {
            Ok(visited) => visited,
            Err((path, error)) => {
                let is_gone = matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                );
                if !is_gone && may_be_written(&path) {
                    self.search.unreadable.push(path);
                }
                Ok(())
            }
        }
    }

    /// Returns whether a directory was not visited yet.
    fn seen(&mut self, dir: &Path) -> Unless<bool> {
        let metadata = fs::metadata(dir).map_err(|error| (dir.to_owned(), error))?;
        Ok(self.seen.insert((metadata.dev(), metadata.ino())))
    }

    /// Visits the messages of the Maildir `dir`, and those of the Maildirs in it.
    fn folder(&mut self, dir: &Path) -> Unless<Result<()>> {
        for part in ["new", "cur"] {
            let path = dir.join(part);
            let visited = files::each_entry(&path, |entry| match message_at(&entry) {
                Some(message) => (self.visit)(message),
                None => Ok(()),
            });
            match visited {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Ok(Err(error)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err((path, error)),
            }
        }
        if !self.subfolders {
            return Ok(Ok(()));
        }
        let mut folders = Vec::new();
        let listed = files::each_entry(dir, |entry| {
            let path = entry.path();
            let is_part = PARTS.iter().any(|part| entry.file_name() == *part);
            // A link can point to any directory, so only links to Maildirs are followed.
            let is_folder = entry.file_type().is_ok_and(|kind| {
                kind.is_dir() || (kind.is_symlink() && path.join("cur").is_dir())
            });
            if is_folder && !is_part {
                folders.push(path);
            }
            Ok::<_, Error>(())
        });
        if let Err(error) = listed {
            return Err((dir.to_owned(), error));
        }
        for folder in folders {
            if let Err(error) = self.subfolder(&folder) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }
}

/// A result, or the path that cannot be read.
type Unless<T> = std::result::Result<T, (PathBuf, io::Error)>;

/// Returns the message at a directory entry, or `None` if it is not a regular file or a link to
/// one.
fn message_at(entry: &fs::DirEntry) -> Option<StoredMessage> {
    let kind = entry.file_type().ok()?;
    let path = entry.path();
    let is_message = kind.is_file() || (kind.is_symlink() && path.is_file());
    if !is_message {
        return None;
    }
    let name = entry.file_name();
    let name = name.to_string_lossy();
    Some(StoredMessage {
        name: name.split(':').next().unwrap_or_default().to_owned(),
        content: Location::File(path),
    })
}

/// Returns whether the user may have moved messages into a directory: it is theirs, or they can
/// write to it.
fn may_be_written(dir: &Path) -> bool {
    let is_own = fs::metadata(dir).map_or(true, |found| found.uid() == geteuid().as_raw());
    is_own || access(dir, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Uid;
    use std::io::Write;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn deliver(maildir: &mut Maildir, name: &str, content: &[u8]) {
        let uid = Uid::new(*b"u");
        let envelope = Envelope {
            account: "work",
            name,
            uid: &uid,
            sender: None,
            destinations: &[],
            accepted_by: &[],
            fields: &[],
        };
        let mut draft = maildir.begin(&envelope).unwrap();
        draft.write_all(content).unwrap();
        maildir
            .accept(&envelope, draft, &Interrupt::default())
            .unwrap();
    }

    #[test]
    fn messages_are_published_when_the_batch_is_committed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("Mail/work");
        let mut maildir = Maildir::open(&root).unwrap();
        deliver(&mut maildir, "1.R1Lx.h", b"one");
        deliver(&mut maildir, "1.R2Lx.h", b"two");
        assert_eq!(names(&root.join("new")), Vec::<String>::new());
        maildir.take_batch().commit().unwrap();
        assert_eq!(names(&root.join("new")), ["1.R1Lx.h", "1.R2Lx.h"]);
        assert_eq!(names(&root.join("tmp")), Vec::<String>::new());
        assert_eq!(fs::read(root.join("new/1.R2Lx.h")).unwrap(), b"two");
    }

    #[test]
    fn existing_file_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let mut maildir = Maildir::open(dir.path()).unwrap();
        fs::write(dir.path().join("new/1.R1Lx.h"), "first").unwrap();
        deliver(&mut maildir, "1.R1Lx.h", b"second");
        maildir.take_batch().commit().unwrap();
        assert_eq!(fs::read(dir.path().join("new/1.R1Lx.h")).unwrap(), b"first");
    }

    #[test]
    fn link_planted_as_maildirfolder_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        drop(Maildir::open(dir.path()).unwrap());
        let folder = dir.path().join(".Spam");
        fs::create_dir(&folder).unwrap();
        let target = dir.path().join("target");
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, folder.join("maildirfolder")).unwrap();
        mark_subfolder(&folder).unwrap();
        assert_eq!(fs::read(target).unwrap(), b"precious");
    }

    #[test]
    fn dropped_draft_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut maildir = Maildir::open(dir.path()).unwrap();
        let uid = Uid::new(*b"u");
        let envelope = Envelope {
            account: "work",
            name: "1.R1Lx.h",
            uid: &uid,
            sender: None,
            destinations: &[],
            accepted_by: &[],
            fields: &[],
        };
        drop(maildir.begin(&envelope).unwrap());
        assert_eq!(names(&dir.path().join("tmp")), Vec::<String>::new());
    }

    #[test]
    fn directory_with_other_content_is_refused_and_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "").unwrap();
        let error = Maildir::open(dir.path()).unwrap_err();
        assert_eq!(error.kind(), Kind::CannotCreate);
        assert_eq!(names(dir.path()), ["thesis.tex"]);
        assert_eq!(
            Maildir::open(&dir.path().join("thesis.tex"))
                .unwrap_err()
                .kind(),
            Kind::CannotCreate
        );
    }

    #[test]
    fn messages_are_found_in_subfolders_and_stale_drafts_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut maildir = Maildir::open(dir.path()).unwrap();
        for path in [".Archive/cur", "Old/new"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        for path in [
            "cur/1.R1Lx.h:2,S",
            ".Archive/cur/1.R2Lx.h:2,ST",
            "Old/new/1.R3Lx.h",
            "tmp/1.R4Lx.h",
            "tmp/other",
        ] {
            fs::write(dir.path().join(path), "").unwrap();
        }
        let mut found = Vec::new();
        maildir
            .visit_stored(&mut |message| {
                found.push(message.name);
                Ok(())
            })
            .unwrap();
        found.sort();
        assert_eq!(found, ["1.R1Lx.h", "1.R2Lx.h", "1.R3Lx.h"]);
        maildir
            .remove_stale_drafts(&|name| name.contains("Lx"))
            .unwrap();
        assert_eq!(names(&dir.path().join("tmp")), ["other"]);
    }
}
