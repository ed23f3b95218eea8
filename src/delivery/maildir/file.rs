//! The file of a message: written in `tmp`, synced, and then published in `new`.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Advice, CWD, RenameFlags, fadvise, renameat_with},
    io::{Errno, retry_on_intr},
};

use crate::{
    domain::file_name::MessageFileName,
    error::{Error, Kind, Result},
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

    /// Publishes the message in `new`. An existing file is never replaced. If it has the same
    /// content, it is the same message, delivered by a run that was interrupted before it recorded
    /// that. Otherwise the message gets another name: the user or another program created the file,
    /// or the ledger was set back to an earlier state. Returns the path of the message.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(super) fn publish(&self) -> Result<PathBuf> {
        let mut target = self.target.clone();
        loop {
            let published = match &self.draft {
                Some(draft) => rename(draft, &target),
                None => link_unnamed(&self.file, &target),
            };
            match published {
                Ok(()) => return Ok(target),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(unpublished(&target, &error)),
            }
            if self.is_same(&target).unwrap_or(false) {
                if let Some(draft) = &self.draft {
                    files::remove(draft).map_err(|error| Error::file("remove", draft, &error))?;
                }
                return Ok(target);
            }
            target = next_variant(&target)
                .ok_or_else(|| unpublished(&target, &io::ErrorKind::AlreadyExists.into()))?;
        }
    }

    /// Returns whether the file at `path` has the same content. A link does not count, since its
    /// target can change.
    fn is_same(&self, path: &Path) -> io::Result<bool> {
        if !fs::symlink_metadata(path)?.is_file() {
            return Ok(false);
        }
        let Some(other) = files::open_if_regular(path)? else {
            return Ok(false);
        };
        let length = self.file.metadata()?.len();
        if other.metadata()?.len() != length {
            return Ok(false);
        }
        let (mut ours, mut theirs) = ([0; COMPARED], [0; COMPARED]);
        let mut offset = 0;
        while offset < length {
            let size = usize::try_from(length - offset).map_or(COMPARED, |left| left.min(COMPARED));
            self.file.read_exact_at(&mut ours[..size], offset)?;
            other.read_exact_at(&mut theirs[..size], offset)?;
            if ours[..size] != theirs[..size] {
                return Ok(false);
            }
            offset += size as u64;
        }
        Ok(true)
    }
}

/// The number of bytes that are compared at once.
const COMPARED: usize = 16 * 1024;

/// Returns another path for the message at `path`, or `None` if it is not a message of pouch.
fn next_variant(path: &Path) -> Option<PathBuf> {
    let name: MessageFileName = path.file_name()?.to_str()?.parse().ok()?;
    Some(path.with_file_name(name.next_variant().to_string()))
}

/// Returns the error for a message that cannot be published at `path`.
fn unpublished(path: &Path, error: &io::Error) -> Error {
    if error.kind() != io::ErrorKind::CrossesDevices {
        return Error::file("deliver", path, error);
    }
    let root = path.ancestors().nth(2).unwrap_or(path);
    Error::new(
        Kind::CannotCreate,
        format!(
            "the directories tmp and new of {} are on different file systems",
            root.display()
        ),
    )
    .with_hint("replace one of them with a directory next to the other")
}

/// Moves a file to a new name. An existing file is not replaced: the error is
/// [`io::ErrorKind::AlreadyExists`].
///
/// Some file systems cannot do that with a rename (NFS), so a hard link is tried next. Some have no
/// hard links either (exFAT, and FUSE file systems for FTP and the like). There the name is checked
/// first, and the file is renamed: no other program uses the name in between.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match retry_on_intr(|| renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)) {
        Ok(()) => return Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match fs::hard_link(from, to) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
                ) =>
            {
                return match fs::symlink_metadata(to) {
                    Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
                    Err(error) => Err(error),
                };
            }
            linked => linked?,
        },
        Err(error) => return Err(error.into()),
    }
    files::remove(from)
}
