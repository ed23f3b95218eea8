//! A Maildir: `tmp`, then `new`, where mail programs find it; `cur` is theirs.

mod file;

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::UNIX_EPOCH,
};

use file::{Accepted, Naming};

use super::{Delivery, DeliveryMode, Draft, Envelope, Location, PendingCommit, StoredMessage};
use crate::{
    domain::destination::Destination,
    error::{Error, Kind, Result},
    sys::{files, interrupt::Interrupt},
};

const PARTS: [&str; 3] = ["tmp", "new", "cur"];

/// How many threads make the files of a batch safe.
const LANES: usize = 8;

/// A Maildir to deliver to.
#[derive(Debug)]
pub struct Maildir {
    root: PathBuf,
    /// When its files get their names.
    naming: Naming,
    /// Accepted: not yet safe, and not in `new`.
    accepted: Vec<Accepted>,
    /// Whether the Maildir itself is made safe with a batch: who made it may have been killed
    /// before that.
    anchored: bool,
}

impl Maildir {
    /// The Maildir at `root`; it is made where there is nothing, or an empty folder.
    ///
    /// # Errors
    /// It cannot be made, or something else lies there.
    pub fn open(root: &Path) -> Result<Self> {
        if !Self::exists(root)? {
            for part in [root.to_owned()]
                .into_iter()
                .chain(PARTS.map(|part| root.join(part)))
            {
                files::create_dir_durable(&part)?;
            }
            mark_folder(root)?;
        }
        Ok(Self::at(root))
    }

    fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            naming: Naming::default(),
            accepted: Vec::new(),
            anchored: false,
        }
    }

    /// The Maildir at `root` to look at: nothing is made.
    ///
    /// # Errors
    /// Something else lies there.
    pub fn open_existing(root: &Path) -> Result<Self> {
        Self::exists(root)?;
        Ok(Self::at(root))
    }

    /// Returns when the Maildir at `root` was created, in nanoseconds since 1970: for one that was
    /// restored from a backup, when it was restored. Returns 0 if there is none, and `None` if its
    /// file system does not tell.
    pub fn created_at(root: &Path) -> Option<i64> {
        match fs::metadata(root.join("cur")).and_then(|dir| dir.created()) {
            Ok(created) => {
                let since = created.duration_since(UNIX_EPOCH).ok()?;
                i64::try_from(since.as_nanos()).ok()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(0),
            Err(_) => None,
        }
    }

    /// Whether a Maildir lies at `root`; not where there is nothing, or an empty folder.
    ///
    /// # Errors
    /// Something else lies there, or it cannot be looked at.
    pub fn exists(root: &Path) -> Result<bool> {
        if PARTS.iter().all(|part| root.join(part).is_dir()) {
            return Ok(true);
        }
        let entries = match files::entries(root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(no_maildir(root, &no_folder(root)));
            }
            Err(error) => return Err(Error::file("open the Maildir", root, &error)),
        };
        // a beginning that a crash cut short is finished; anything else is somebody's folder
        match entries
            .iter()
            .find(|entry| !PARTS.iter().any(|part| entry.file_name() == *part))
        {
            None => Ok(false),
            Some(entry) => Err(no_maildir(
                root,
                &format!(
                    "it lacks tmp, new and cur, and contains {}",
                    entry.path().display()
                ),
            )),
        }
    }
}

/// A folder of another Maildir is marked as such, for those that deliver to it and look for quotas
/// (Maildir++).
fn mark_folder(root: &Path) -> Result<()> {
    let is_folder = root
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
        && root
            .parent()
            .is_some_and(|parent| PARTS.iter().all(|part| parent.join(part).is_dir()));
    if is_folder {
        let path = root.join("maildirfolder");
        File::create(&path).map_err(|error| Error::file("create", &path, &error))?;
    }
    Ok(())
}

/// What lies where a folder should be: `path` itself, or one above it.
fn no_folder(path: &Path) -> String {
    let above = path
        .ancestors()
        .skip(1)
        .find(|above| above.exists() && !above.is_dir());
    above.map_or_else(
        || "it is a file".into(),
        |above| format!("{} is a file", above.display()),
    )
}

fn no_maildir(root: &Path, fact: &str) -> Error {
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
            Draft::at(&path, file)
        } else {
            Draft::nameless_in(&tmp, file)
        })
    }

    fn accept(&mut self, envelope: &Envelope<'_>, draft: Draft, _stop: &Interrupt) -> Result<()> {
        let Draft { file, stray, .. } = draft;
        self.accepted.push(Accepted {
            file,
            draft: stray.keep(),
            target: self.root.join("new").join(envelope.name),
        });
        Ok(())
    }

    fn take_batch(&mut self) -> PendingCommit {
        let accepted = std::mem::take(&mut self.accepted);
        let root = self.root.clone();
        let sync_dir_and_parent =
            !accepted.is_empty() && !std::mem::replace(&mut self.anchored, true);
        PendingCommit::new(move || {
            if accepted.is_empty() {
                Ok(())
            } else {
                commit(&accepted, &root, sync_dir_and_parent)
            }
        })
    }

    fn mode(&self, _places: &[Destination]) -> DeliveryMode {
        DeliveryMode::Parallel
    }

    fn stored_messages(&self) -> Result<Option<Vec<StoredMessage>>> {
        let mut found = Vec::new();
        walk(&self.root, &mut HashSet::new(), &mut found)?;
        Ok(Some(found))
    }

    fn remove_stale_drafts(&mut self, ours: &dyn Fn(&str) -> bool) -> Result<()> {
        let tmp = self.root.join("tmp");
        for entry in read_folder(&tmp)? {
            if entry.file_name().to_str().is_some_and(ours) {
                let path = entry.path();
                files::remove(&path).map_err(|error| Error::file("remove", &path, &error))?;
            }
        }
        // nobody looks for them again
        files::sync(&tmp)
    }
}

/// Data first, then the names, then the folder that they stand in; with `sync_dir_and_parent`, then the Maildir.
fn commit(accepted: &[Accepted], root: &Path, sync_dir_and_parent: bool) -> Result<()> {
    accepted.iter().for_each(Accepted::write_back);
    // Each fsync ends by flushing the disk's own cache; those of several threads share one flush.
    let lanes: Vec<_> = accepted.chunks(accepted.len().div_ceil(LANES)).collect();
    thread::scope(|scope| {
        let lanes: Vec<_> = lanes
            .into_iter()
            .map(|lane| {
                (
                    lane,
                    thread::Builder::new().spawn_scoped(scope, || sync_all(lane)),
                )
            })
            .collect();
        lanes.into_iter().try_for_each(|(lane, work)| match work {
            Ok(work) => work
                .join()
                .unwrap_or_else(|_| Err(Error::new(Kind::Bug, "a sync thread panicked"))),
            // the system starts no more threads
            Err(_) => sync_all(lane),
        })
    })?;
    accepted.iter().try_for_each(Accepted::show)?;
    files::sync(&root.join("new"))?;
    if sync_dir_and_parent {
        files::sync_dir_and_parent(root)
    } else {
        Ok(())
    }
}

fn sync_all(accepted: &[Accepted]) -> Result<()> {
    accepted.iter().try_for_each(Accepted::sync)
}

/// All messages below `folder`: of this Maildir and of every Maildir in it, whatever they are
/// called (`.Archive` or `Archive`), be it by a link. Those that were `seen` (links and mounts may
/// lead in a circle) are passed over.
///
/// Mail programs move messages meanwhile, from `new` to `cur` and from there to other folders: read
/// in that order, none is missed.
fn walk(
    folder: &Path,
    seen: &mut HashSet<(u64, u64)>,
    found: &mut Vec<StoredMessage>,
) -> Result<()> {
    let new = match fs::metadata(folder) {
        Ok(folder) => seen.insert((folder.dev(), folder.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::file("read", folder, &error)),
    };
    if !new {
        return Ok(());
    }
    for part in ["new", "cur"] {
        for message in read_folder(&folder.join(part))? {
            let name = message.file_name();
            let name = name
                .to_string_lossy()
                .split(':')
                .next()
                .unwrap_or_default()
                .to_owned();
            found.push(StoredMessage {
                name,
                content: Location::File(message.path()),
            });
        }
    }
    for entry in read_folder(folder)? {
        let path = entry.path();
        let inner = !PARTS.iter().any(|part| entry.file_name() == *part);
        let kind = entry
            .file_type()
            .map_err(|error| Error::file("read", &path, &error))?;
        // a link may lead anywhere: only one to a Maildir is followed
        if inner && (kind.is_dir() || (kind.is_symlink() && path.join("cur").is_dir())) {
            walk(&path, seen, found)?;
        }
    }
    Ok(())
}

/// The entries of a folder; none where it does not exist (any more).
fn read_folder(path: &Path) -> Result<Vec<fs::DirEntry>> {
    match files::entries(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|error| Error::file("read", path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Uid;
    use std::io::Write;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
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
    fn a_message_shows_up_whole_once_the_batch_is_safe() {
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
    fn nothing_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let mut maildir = Maildir::open(dir.path()).unwrap();
        fs::write(dir.path().join("new/1.R1Lx.h"), "first").unwrap();
        deliver(&mut maildir, "1.R1Lx.h", b"second");
        maildir.take_batch().commit().unwrap();
        assert_eq!(fs::read(dir.path().join("new/1.R1Lx.h")).unwrap(), b"first");
    }

    #[test]
    fn an_abandoned_draft_leaves_nothing() {
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
    fn somebody_elses_folder_is_left_alone() {
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
    fn messages_are_found_in_every_folder_and_strays_removed() {
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
        let mut found: Vec<_> = maildir
            .stored_messages()
            .unwrap()
            .unwrap()
            .into_iter()
            .map(|found| found.name)
            .collect();
        found.sort();
        assert_eq!(found, ["1.R1Lx.h", "1.R2Lx.h", "1.R3Lx.h"]);
        maildir
            .remove_stale_drafts(&|name| name.contains("Lx"))
            .unwrap();
        assert_eq!(names(&dir.path().join("tmp")), ["other"]);
    }
}
