//! Folders, and files in them, for one user alone; folders are made so that they survive a power
//! cut.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, linkat, openat, unlink},
    io::retry_on_intr,
};

use crate::error::{Error, Kind, Result};

/// Makes a folder and those above it, where they are missing, with mode 0700. One that is there is
/// taken as it is.
///
/// # Errors
/// It cannot be made.
pub fn create_dir_durable(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_dir_durable(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        // another pouch was quicker
        Err(_) if path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(taken(path)),
        Err(error) => Err(Error::file("create the directory", path, &error)),
        Ok(()) => sync_dir_and_parent(parent.unwrap_or(Path::new("."))),
    }
}

/// Something that is no folder lies where one is to be made.
fn taken(path: &Path) -> Error {
    let fact = match fs::read_link(path) {
        Ok(target) if !path.exists() => {
            format!(
                "it is a symbolic link to {}, which does not exist",
                target.display()
            )
        }
        _ => "a file of that name already exists".into(),
    };
    Error::new(
        Kind::CannotCreate,
        format!("cannot create the directory {}", path.display()),
    )
    .with_fact(fact)
}

/// Opens a file to read and to write, as it is. Where it is missing, it is made with mode 0600, and
/// the folders above it are, too.
///
/// # Errors
/// It cannot be made or opened: what `doing` it failed.
pub fn file(path: &Path, doing: &str) -> Result<File> {
    if let Some(parent) = path.parent() {
        create_dir_durable(parent)?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| Error::file(doing, path, &error))
}

/// A file without a name, on the disk of a folder, with mode 0600 (open(2), `O_TMPFILE`).
///
/// # Errors
/// It cannot be made; not every file system can do that.
pub fn create_unnamed(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR))?.into())
}

/// Gives a file from [`create_unnamed`] its name.
///
/// # Errors
/// There is such a name already, or it cannot be made; without `/proc` none can.
pub fn link_unnamed(file: &File, path: &Path) -> io::Result<()> {
    let create_unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(retry_on_intr(|| {
        linkat(
            CWD,
            create_unnamed.as_str(),
            CWD,
            path,
            AtFlags::SYMLINK_FOLLOW,
        )
    })?)
}

/// Removes a file. A try that a signal interrupts is made again.
///
/// # Errors
/// It is not there, or cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    Ok(retry_on_intr(|| unlink(path))?)
}

/// What lies in a folder. A look that a signal interrupts is begun anew.
///
/// # Errors
/// It cannot be read.
pub fn entries(path: &Path) -> io::Result<Vec<fs::DirEntry>> {
    loop {
        match fs::read_dir(path).and_then(Iterator::collect) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Makes the entries of a folder safe, and its own entry in the folder above: whoever made it may
/// have been killed before that was safe.
///
/// # Errors
/// It cannot be opened, or the disk fails.
pub fn sync_dir_and_parent(path: &Path) -> Result<()> {
    sync(path)?;
    match path.parent().filter(|above| !above.as_os_str().is_empty()) {
        Some(above) => sync_if(above, |error| {
            error.kind() == io::ErrorKind::PermissionDenied
        }),
        None => Ok(()),
    }
}

/// Makes the entries of a folder safe.
///
/// # Errors
/// It cannot be opened, or the disk fails.
pub fn sync(path: &Path) -> Result<()> {
    sync_if(path, |_| false)
}

/// As [`sync`], where no `excuse` holds: a folder that may not be read is somebody else's.
fn sync_if(path: &Path, excuse: impl Fn(&io::Error) -> bool) -> Result<()> {
    match File::open(path).and_then(|folder| folder.sync_all()) {
        // how file systems say that they have no such thing for folders (fsync(2))
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        Err(error) if excuse(&error) => Ok(()),
        synced => synced.map_err(|error| Error::file("sync the directory", path, &error)),
    }
}
