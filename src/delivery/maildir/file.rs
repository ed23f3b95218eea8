//! The file of a message: written where no mail program looks, and shown in `new` once it is safe.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Advice, CWD, RenameFlags, fadvise, renameat_with},
    io::{Errno, retry_on_intr},
};

use crate::{
    error::{Error, Result},
    sys::files::{self, create_unnamed, link_unnamed},
};

/// When a file gets a name.
///
/// One that has none goes with the process that wrote it, and to name it disturbs nobody who makes
/// files in `tmp` meanwhile. But not every file system has such files, and the name is given by way
/// of `/proc`, which need not be there: it is tried with the first one.
#[derive(Debug, Default)]
pub(super) enum Naming {
    /// The first file of a run gets its name in `tmp` at once, by the way that the others would.
    #[default]
    Untried,
    /// In `new`, once it is safe.
    Late,
    /// In `tmp`, from the beginning.
    Early,
}

impl Naming {
    /// A new file in the folder `tmp`: with the name `path` or without one, as the second half
    /// says.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn create(&mut self, tmp: &Path, path: &Path) -> io::Result<(File, bool)> {
        if matches!(self, Self::Late) {
            return create_unnamed(tmp).map(|file| (file, false));
        }
        // a draft of this very message that an earlier run left: the name is the row's alone
        match files::remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if matches!(self, Self::Untried) {
            if let Ok(file) = create_unnamed(tmp)
                && link_unnamed(&file, path).is_ok()
            {
                *self = Self::Late;
                return Ok((file, true));
            }
            *self = Self::Early;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok((file, true))
    }
}

/// A message that was accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) file: File,
    /// Its name in `tmp`, if it has one.
    pub(super) draft: Option<PathBuf>,
    /// Its name in `new`.
    pub(super) target: PathBuf,
}

impl Accepted {
    /// Has its content on its way to the disk when this returns, if all goes well: Linux begins to
    /// write a file back when told that nobody needs it in the cache. So all of a batch is on its
    /// way at once, and each fsync finds its work done.
    pub(super) fn write_back(&self) {
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
    }

    /// Makes its content safe.
    ///
    /// # Errors
    /// The disk fails, or is full.
    pub(super) fn sync(&self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|error| Error::file("sync", &self.target, &error))
    }

    /// Shows it in `new`, and never replaces a file: what lies there is this very message,
    /// delivered by a run that could not tell the ledger.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(super) fn show(&self) -> Result<()> {
        let shown = match &self.draft {
            Some(draft) => rename(draft, &self.target),
            None => link_unnamed(&self.file, &self.target).or_else(if_there),
        };
        shown.map_err(|error| Error::file("deliver", &self.target, &error))
    }
}

/// Not every file system can rename without replacing (NFS), and not every one of these has hard
/// links (exFAT, FTP and the like by way of FUSE): the name is the row's alone, and nobody else
/// takes it meanwhile.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match retry_on_intr(|| renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)) {
        Ok(()) => return Ok(()),
        Err(Errno::EXIST) => {}
        Err(Errno::INVAL | Errno::NOSYS) => match fs::hard_link(from, to) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
                ) =>
            {
                if !to.try_exists()? {
                    return fs::rename(from, to);
                }
            }
            linked => linked.or_else(if_there)?,
        },
        Err(error) => return Err(error.into()),
    }
    files::remove(from)
}

fn if_there(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists {
        Ok(())
    } else {
        Err(error)
    }
}
