//! Owners of the files that pouch writes.
//!
//! Another user who can write a directory can replace what is in it by a link to a file of the user
//! who runs pouch. So a symbolic link is followed only if that user or root created it, and a file
//! with several names is not appended to. Links of the user's own are a usual way to keep mail on
//! another disk.
//!
//! Root would create files that the owner of the directory cannot read, in directories that this
//! owner can change at any time. So root delivers only to directories of root.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::process::geteuid;

use crate::error::{Error, Kind, Result};

/// Checks that mail may be delivered to `path`, which may be missing.
///
/// # Errors
/// [`Kind::Denied`] if it is a symbolic link of another user, or root would deliver to the directory
/// of another user.
pub fn check_destination(path: &Path) -> Result<()> {
    check_link(path)?;
    if !geteuid().is_root() {
        return Ok(());
    }
    let existing = path.ancestors().find_map(|path| fs::metadata(path).ok());
    match existing.map(|metadata| metadata.uid()) {
        None | Some(0) => Ok(()),
        Some(owner) => Err(foreign(path, owner)),
    }
}

/// Checks that `path`, which may be missing, is not a symbolic link of another user.
///
/// # Errors
/// [`Kind::Denied`] if it is.
pub fn check_link(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => check_link_owner(path, &metadata, geteuid().as_raw()),
        // A missing or unreadable path is reported by whatever uses it.
        Err(_) => Ok(()),
    }
}

/// Checks that an open file which is appended to has no other name.
///
/// # Errors
/// [`Kind::Denied`] if it has.
pub fn check_single_name(path: &Path, file: &File) -> Result<()> {
    let metadata = file.metadata();
    let names = metadata
        .map_err(|error: io::Error| Error::file("read", path, &error))?
        .nlink();
    if names <= 1 {
        return Ok(());
    }
    let what = format!("{} is a hard link", path.display());
    Err(Error::new(Kind::Denied, what)
        .with_fact(format!("the file has {names} names"))
        .with_hint("replace it by a copy that has no other name"))
}

fn check_link_owner(path: &Path, metadata: &Metadata, me: u32) -> Result<()> {
    if !metadata.is_symlink() || [me, 0].contains(&metadata.uid()) {
        return Ok(());
    }
    let what = format!("{} is a symbolic link of another user", path.display());
    Err(Error::new(Kind::Denied, what)
        .with_fact(format!("its owner has the user ID {}", metadata.uid()))
        .with_hint("use the target of the link as the path, or remove the link"))
}

fn foreign(path: &Path, owner: u32) -> Error {
    let what = format!(
        "root does not deliver to {}, which belongs to another user",
        path.display()
    );
    Error::new(Kind::Denied, what)
        .with_fact(format!("its owner has the user ID {owner}"))
        .with_hint(format!(
            "run pouch as that user: `setpriv --reuid {owner} --regid GROUP --init-groups pouch \
             fetch`, or the systemd unit pouch@USER"
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_of_the_user_and_root_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("target", &link).unwrap();
        check_link(&link).unwrap();
        check_link(&dir.path().join("missing")).unwrap();
        let metadata = fs::symlink_metadata(&link).unwrap();
        let checked = check_link_owner(&link, &metadata, metadata.uid() + 1);
        assert_eq!(checked.is_ok(), metadata.uid() == 0);
    }

    #[test]
    fn file_with_two_names_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("box");
        let file = File::create(&path).unwrap();
        check_single_name(&path, &file).unwrap();
        fs::hard_link(&path, dir.path().join("other")).unwrap();
        let error = check_single_name(&path, &file).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
    }
}
