//! Further config files: `conf.d/*.toml` next to the main one.
//!
//! Such a file contains accounts, and defaults for them. Keys that apply to the whole program are
//! allowed in the main file only. A file that cannot be used does not affect the accounts of other
//! files.
//!
//! A user who can write a config file can make pouch run programs. So a file must belong to the
//! user who runs pouch, or to root. If root runs pouch, it may also belong to another user; its
//! accounts are then fetched with the rights of that user only, which
//! [`resolve_part`](super::resolve::resolve_part) enforces.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Component, Path, PathBuf},
};

use super::file;
use crate::{
    error::{Error, Kind},
    text::tilde,
};

/// The maximum number of symbolic links on the way to a file, as for the kernel.
const MAX_LINKS: usize = 40;

/// A file in the directory.
#[derive(Debug)]
pub struct Part {
    /// Its path.
    pub path: PathBuf,
    /// The content, or an error if the file cannot be read or must not be used.
    pub content: Result<Content, Error>,
}

/// The content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The text.
    pub text: String,
    /// The name of the user who owns it, if that is neither root nor the user who runs pouch.
    pub owner: Option<String>,
}

/// Returns the directory for the config file at `config`.
pub fn dir(config: &Path) -> PathBuf {
    config.with_file_name("conf.d")
}

/// Reads the files in `conf.d` next to the config file at `config`, in the order of their names.
/// `home` is the home directory, and `user_name` returns the name of a user.
///
/// # Errors
/// The directory cannot be read, or other users can change it.
pub fn read(
    config: &Path,
    home: &Path,
    user_name: &dyn Fn(u32) -> Option<String>,
) -> Result<Vec<Part>, Error> {
    let dir = dir(config);
    let mut parts = Vec::new();
    for path in paths(&dir, &tilde(&dir, home))? {
        let content = content(&path, home, user_name).transpose();
        // the file may have been removed in the meantime
        parts.extend(content.map(|content| Part { path, content }));
    }
    Ok(parts)
}

/// Returns the paths of the config files in a directory, sorted by name. There are none if it does
/// not exist.
fn paths(dir: &Path, shown: &str) -> Result<Vec<PathBuf>, Error> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Error::new(Kind::Denied, format!("no permission to read {shown}"))
        }
        _ => Error::new(Kind::Config, format!("cannot read {shown}")).with_fact(error.to_string()),
    };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        if is_config(name.as_bytes()) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return Ok(Vec::new());
    }
    file::check_dir(shown, &fs::metadata(dir).map_err(failed)?)?;
    names.sort();
    Ok(names.into_iter().map(|name| dir.join(name)).collect())
}

/// Returns whether a file of this name is read. Hidden files and backups of editors are not.
fn is_config(name: &[u8]) -> bool {
    name.ends_with(b".toml") && !name.starts_with(b".")
}

/// Reads a file. Returns `None` if it no longer exists.
fn content(
    path: &Path,
    home: &Path,
    user_name: &dyn Fn(u32) -> Option<String>,
) -> Result<Option<Content>, Error> {
    let shown = tilde(path, home);
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let opened = file::open(path, &shown)?;
    let me = rustix::process::geteuid().as_raw();
    let metadata = opened.metadata();
    let metadata = metadata.map_err(|error| Error::file("read", path, &error))?;
    let uid = metadata.uid();
    // only root can act for other users
    let owner = (me == 0 && uid != 0).then(|| user_name(uid)).flatten();
    let user = if owner.is_some() { uid } else { me };
    file::check_writers(&shown, uid, user, metadata.mode() & 0o777)?;
    check_way(path, &shown, user, &metadata)?;
    let bytes = file::content(opened, &shown)?;
    let text = file::decode(&shown, &bytes)?.to_owned();
    Ok(Some(Content { text, owner }))
}

/// Checks that only root and the user with the ID `user` decide which file `path` leads to: one
/// that another user chooses could be a file of root that was not meant as a config. `opened` is
/// the metadata of the open file.
fn check_way(path: &Path, shown: &str, user: u32, opened: &fs::Metadata) -> Result<(), Error> {
    let trusted = [user, 0];
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let end = follow(&absolute, &trusted).map_err(|link| {
        let what = format!("the path of {shown} contains a symbolic link of another user");
        Error::new(Kind::Denied, what)
            .with_fact(format!("the link is {}", link.display()))
            .with_hint("replace the link with a copy of the file")
    })?;
    let same = |found: &fs::Metadata| found.ino() == opened.ino() && found.dev() == opened.dev();
    let is_same = fs::symlink_metadata(&end).is_ok_and(|found| same(&found));
    // the directory of the configs has been checked
    let is_moved = end.parent() != absolute.parent();
    let is_safe = |dir: fs::Metadata| {
        let is_sticky = dir.mode() & 0o1000 != 0;
        trusted.contains(&dir.uid()) && (dir.mode() & 0o022 == 0 || is_sticky)
    };
    let dir = end.parent().and_then(|dir| fs::metadata(dir).ok());
    if is_same && (!is_moved || dir.is_some_and(is_safe)) {
        return Ok(());
    }
    let what = format!("{shown} leads to a directory that other users can change");
    Err(Error::new(Kind::Denied, what)
        .with_fact(format!("the file is {}", end.display()))
        .with_hint("move it to a directory that only its owner can change"))
}

/// Returns the path that an absolute path leads to.
///
/// # Errors
/// A symbolic link that belongs to none of the `trusted` users.
fn follow(path: &Path, trusted: &[u32]) -> Result<PathBuf, PathBuf> {
    let reversed = |path: &Path| -> Vec<OsString> {
        let parts = path.components().rev();
        parts.map(|part| part.as_os_str().to_owned()).collect()
    };
    let mut pending = reversed(path);
    let mut current = PathBuf::new();
    let mut links = 0;
    while let Some(part) = pending.pop() {
        match Path::new(&part).components().next() {
            Some(Component::ParentDir) => {
                current.pop();
                continue;
            }
            Some(Component::Normal(_)) => {}
            _ => {
                // the root; `.` changes nothing
                current.push(&part);
                continue;
            }
        }
        let next = current.join(&part);
        match fs::symlink_metadata(&next) {
            Ok(metadata) if metadata.is_symlink() && links < MAX_LINKS => {
                links += 1;
                if !trusted.contains(&metadata.uid()) {
                    return Err(next);
                }
                pending.extend(reversed(&fs::read_link(&next).unwrap_or_default()));
            }
            _ => current = next,
        }
    }
    Ok(current)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn backups_and_hidden_files_are_not_read() {
        for (name, is_read) in [
            ("a.toml", true),
            ("a.toml~", false),
            (".a.toml", false),
            (".a.toml.swp", false),
            ("#a.toml#", false),
            ("a.toml.dpkg-old", false),
            ("a.TOML", false),
        ] {
            assert_eq!(is_config(name.as_bytes()), is_read, "{name}");
        }
    }

    #[test]
    fn links_are_followed_in_all_parts_of_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "").unwrap();
        symlink("a", root.join("x")).unwrap();
        symlink(root.join("x/b/../b/file"), root.join("y")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let me = rustix::process::geteuid().as_raw();
        let found = follow(&root.join("x/../y"), &[me]);
        assert_eq!(found, Ok(root.join("a/b/file")));
        assert_eq!(follow(&root.join("y"), &[me + 1]), Err(root.join("y")));
        assert!(follow(&root.join("loop"), &[me]).is_ok());
    }
}
