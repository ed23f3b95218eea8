//! Owners of the files that pouch writes.
//!
//! Another user who can write a directory can replace what is in it with a link to a file of the
//! user who runs pouch. So a symbolic link is followed only if that user or root created it, and a
//! file with several names is not appended to. Links of the user's own are a usual way to keep mail
//! on another disk.
//!
//! Root would create files that the owner of the directory cannot read, in directories that this
//! owner can change at any time. So root delivers only to directories of root, and the mail of
//! other users is delivered by a process of theirs ([`super::user`]).

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::process::{getegid, geteuid};

use super::user::User;
use crate::error::{Error, Kind, Result};

/// Checks that mail may be delivered to `path`, which may be missing.
///
/// # Errors
/// [`Kind::Denied`] if it is a symbolic link of another user, or root would deliver to the
/// directory of another user.
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

/// Checks that mail may be appended to the mbox file at `path`, which may be missing. Root may
/// append to a file of another user in a directory of root, such as `/var/mail`.
///
/// # Errors
/// As for [`check_destination`].
pub fn check_mailbox_file(path: &Path) -> Result<()> {
    check_link(path)?;
    check_destination(path.parent().unwrap_or(path))
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
        .with_hint("replace it with a copy that has only one name"))
}

/// Returns whether users other than the owner can access a file with a secret. The group of a file
/// of root may read it, such as `ssl-cert`, or the group of a container in which the file is
/// mounted as a secret.
pub fn others_can_access(metadata: &fs::Metadata) -> bool {
    let others = if metadata.uid() == 0 { 0o027 } else { 0o077 };
    metadata.mode() & others != 0
}

/// Checks that a file with a secret can be read by its owner only, who is the user or root. `what`
/// names the file in messages. See [`others_can_access`] for the group.
///
/// # Errors
/// [`Kind::Denied`] if other users own or can access it.
pub fn check_secret_file(path: &Path, what: &str) -> Result<()> {
    // A missing file is reported by whatever reads it.
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(());
    };
    if !metadata.is_file() {
        return Ok(());
    }
    check_owner(what, &metadata)?;
    if !others_can_access(&metadata) {
        return Ok(());
    }
    let error = Error::new(Kind::Denied, format!("{what} is accessible to other users"));
    Err(error
        .with_fact(format!("its mode is {:04o}", metadata.mode() & 0o7777))
        .with_hint("run `chmod 600` on it"))
}

/// Checks that only the user or root can change a file that determines which servers are trusted.
/// `what` names the file in messages.
///
/// # Errors
/// [`Kind::Denied`] if other users own it or can write to it.
pub fn check_trusted_file(path: &Path, what: &str) -> Result<()> {
    // a missing file is reported by whatever reads it
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(());
    };
    check_owner(what, &metadata)?;
    let group = metadata.mode() & 0o020 != 0 && metadata.gid() != getegid().as_raw();
    if metadata.mode() & 0o002 == 0 && !group {
        return Ok(());
    }
    let error = Error::new(Kind::Denied, format!("{what} is writable by other users"));
    Err(error
        .with_fact(format!("its mode is {:04o}", metadata.mode() & 0o7777))
        .with_hint("run `chmod go-w` on it"))
}

/// Checks that a directory belongs to the user or root, and that others cannot write to it. `shown`
/// is its path for messages.
///
/// # Errors
/// [`Kind::Denied`] if they can.
pub fn check_directory(path: &Path, shown: &str) -> Result<()> {
    check_owned_directory(path, &format!("the state directory {shown}"), shown)
}

/// Like [`check_directory`], for a directory that is named `what` in messages.
///
/// # Errors
/// [`Kind::Denied`] if other users can write to it.
pub fn check_owned_directory(path: &Path, what: &str, shown: &str) -> Result<()> {
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(());
    };
    if !metadata.is_dir() {
        return Ok(());
    }
    check_owner(what, &metadata)?;
    if metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    let what = format!("{what} is writable by other users");
    Err(Error::new(Kind::Denied, what)
        .with_fact(format!("its mode is {:04o}", metadata.mode() & 0o7777))
        .with_hint(format!("run `chmod go-w {shown}`")))
}

/// Checks that the user or root owns a file, which messages call `what`.
///
/// # Errors
/// [`Kind::Denied`] if another user does.
pub fn check_owner(what: &str, metadata: &Metadata) -> Result<()> {
    let owner = metadata.uid();
    if [geteuid().as_raw(), 0].contains(&owner) {
        return Ok(());
    }
    Err(
        Error::new(Kind::Denied, format!("{what} belongs to another user"))
            .with_fact(format!("its owner has the user ID {owner}"))
            .with_hint("make a copy that you own"),
    )
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
    let hint = match User::name_of(owner) {
        Some(name) => format!("set `deliver-as = \"{name}\"` for the account"),
        None => format!(
            "run pouch as that user: `setpriv --reuid {owner} --regid GROUP --clear-groups pouch \
             fetch`"
        ),
    };
    Error::new(Kind::Denied, what)
        .with_fact(format!("its owner has the user ID {owner}"))
        .with_hint(hint)
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
