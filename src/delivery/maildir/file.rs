//! The file of a message: written in `tmp`, synced, and then published in `new`.

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

/// The time at which a file gets its name.
///
/// A file without a name (`O_TMPFILE`) disappears with the process, and linking it into `new` does
/// not contend with the creation of files in `tmp`. But not every file system supports that, and
/// linking needs `/proc`, which may not be mounted. So the first file of a run tries both.
#[derive(Debug, Default)]
pub(super) enum Naming {
    /// Not known yet. The first file is created without a name, and linked into `tmp` at once as a
    /// test.
    #[default]
    Untried,
    /// When it is published in `new`.
    AtPublication,
    /// When it is created in `tmp`.
    AtCreation,
}

impl Naming {
    /// Creates a file in the directory `tmp`. Returns it, and whether it has the name `path`.
    ///
    /// # Errors
    /// The file cannot be created.
    pub(super) fn create(&mut self, tmp: &Path, path: &Path) -> io::Result<(File, bool)> {
        if matches!(self, Self::AtPublication) {
            return create_unnamed(tmp).map(|file| (file, false));
        }
        // An earlier run may have left a draft of this message. No other message has this name.
        match files::remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if matches!(self, Self::Untried) {
            if let Ok(file) = create_unnamed(tmp)
                && link_unnamed(&file, path).is_ok()
            {
                *self = Self::AtPublication;
                return Ok((file, true));
            }
            *self = Self::AtCreation;
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

/// An accepted message.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) file: File,
    /// Its path in `tmp`, or `None` if it has no name yet.
    pub(super) draft: Option<PathBuf>,
    /// Its path in `new`.
    pub(super) target: PathBuf,
}

impl Accepted {
    /// Starts to write the content to the disk. Linux writes a file back when it is advised that
    /// the cached pages are not needed. If this is done for all files of a batch first, each fsync
    /// finds most of its work done. An error is ignored, since [`sync`](Self::sync) reports it.
    pub(super) fn write_back(&self) {
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
    }

    /// Makes the content durable.
    ///
    /// # Errors
    /// The disk failed or is full.
    pub(super) fn sync(&self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|error| Error::file("sync", &self.target, &error))
    }

    /// Publishes the message in `new`. An existing file is never replaced: it is the same message,
    /// delivered by a run that was interrupted before it recorded that.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(super) fn publish(&self) -> Result<()> {
        let published = match &self.draft {
            Some(draft) => rename(draft, &self.target),
            None => link_unnamed(&self.file, &self.target).or_else(ignore_existing),
        };
        published.map_err(|error| Error::file("deliver", &self.target, &error))
    }
}

/// Moves a file to a new name without replacing an existing file.
///
/// Some file systems cannot do that with a rename (NFS), so a hard link is tried next. Some have no
/// hard links either (exFAT, and FUSE file systems for FTP and the like). There the name is checked
/// first, and the file is renamed: no other program uses the name in between.
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
            linked => linked.or_else(ignore_existing)?,
        },
        Err(error) => return Err(error.into()),
    }
    files::remove(from)
}

/// Returns `Ok` if the error says that the file exists.
fn ignore_existing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists {
        Ok(())
    } else {
        Err(error)
    }
}
