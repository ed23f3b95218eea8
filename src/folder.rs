//! Folders for one user alone, made so that they survive a power cut.

use std::{
    fs::{DirBuilder, File},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use crate::error::{Error, Result};

/// Makes a folder and those above it, where they are missing, with mode 0700. One that is there is
/// taken as it is.
///
/// # Errors
/// It cannot be made.
pub fn make(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        // another pouch was quicker
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(Error::file("make the folder", path, &error)),
        Ok(()) => sync(parent.unwrap_or(Path::new("."))),
    }
}

/// Makes the entries of a folder safe.
///
/// # Errors
/// It cannot be opened, or the disk fails.
pub fn sync(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| Error::file("make safe what is in", path, &error))
}
