//! Durable files and directories that only their owner can access.
//!
//! System calls that a signal interrupts are repeated (`EINTR`), also those for which the standard
//! library does not do that.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, linkat, openat, statx, syncfs, unlink},
    io::{Errno, retry_on_intr},
};

use crate::error::{Error, Kind, Result};

/// Creates a directory and missing parents with mode 0700, and syncs them. An existing directory is
/// not changed.
///
/// # Errors
/// [`Kind::CannotCreate`] if it cannot be created or a file of that name exists; or the disk
/// failed.
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
        // Another process created it in the meantime.
        Err(_) if path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(not_a_directory(path)),
        Err(error) => Err(Error::file("create the directory", path, &error)),
        Ok(()) => sync_dir_and_parent(parent.unwrap_or(Path::new("."))),
    }
}

/// Returns the error for a path at which a directory cannot be created, because a file is there.
fn not_a_directory(path: &Path) -> Error {
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

/// Returns the path at which [`file()`] creates a missing file: `path`, or the target if it is a
/// symbolic link.
///
/// # Errors
/// The directory of the target does not exist: opening a link does not create it.
pub fn creation_path(path: &Path, doing: &str) -> Result<PathBuf> {
    let is_missing = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
    let mut end = path.to_owned();
    while fs::metadata(&end).is_err_and(is_missing)
        && let Ok(target) = fs::read_link(&end)
    {
        end = end.parent().unwrap_or(Path::new("/")).join(target);
        let dir = end.parent().unwrap_or(Path::new("/"));
        if !dir.is_dir() {
            let what = format!("cannot {doing} {}", path.display());
            let fact = format!("it is a symbolic link to {}", end.display());
            return Err(Error::new(Kind::CannotCreate, what)
                .with_fact(fact)
                .with_fact(format!("the directory {} does not exist", dir.display()))
                .with_hint("create that directory, or remove the link"));
        }
    }
    Ok(end)
}

/// Opens a file for reading and writing. If it is missing, it is created with mode 0600, and so are
/// missing parents.
///
/// # Errors
/// The file cannot be created or opened. `doing` is the purpose in the message: `cannot {doing}
/// {path}`.
pub fn file(path: &Path, doing: &str) -> Result<File> {
    if let Some(parent) = path.parent() {
        create_dir_durable(parent)?;
    }
    creation_path(path, doing)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    open_regular(path, options.mode(0o600)).map_err(|error| Error::file(doing, path, &error))
}

/// Opens a regular file for reading.
///
/// # Errors
/// It cannot be opened, or is not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    open_regular(path, OpenOptions::new().read(true))
}

/// Opens a regular file for reading. Returns `None` if the path is something else.
///
/// # Errors
/// It cannot be opened.
pub fn open_if_regular(path: &Path) -> io::Result<Option<File>> {
    match open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_not_regular(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the content of a regular file, or its first `limit` bytes.
///
/// # Errors
/// It cannot be read, or is not a regular file.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the creation time of a file or directory in nanoseconds since 1970 (statx(2), `btime`),
/// or `None` if its file system does not record it.
///
/// The standard library returns this time with glibc only, not with musl.
///
/// # Errors
/// It does not exist, or cannot be accessed.
pub fn created_at(path: &Path) -> io::Result<Option<i64>> {
    let status = retry_on_intr(|| statx(CWD, path, AtFlags::empty(), StatxFlags::BTIME))?;
    let is_recorded = StatxFlags::from_bits_retain(status.stx_mask).contains(StatxFlags::BTIME);
    let time = status.stx_btime;
    Ok(is_recorded.then(|| nanoseconds(time.tv_sec, time.tv_nsec.into())))
}

/// Converts a time of a file from seconds and nanoseconds to nanoseconds.
pub fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
}

/// Fails if there is something at `path` that is not a regular file. For paths that a library
/// opens.
///
/// # Errors
/// It is not a regular file.
pub fn check_regular(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(not_regular()),
        _ => Ok(()),
    }
}

/// Opens a regular file. Opening a FIFO would wait for the other end of it, and reading a device
/// may never end.
fn open_regular(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // Regular files ignore this flag.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = options.custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok(file)
    } else if metadata.is_dir() {
        Err(Errno::ISDIR.into())
    } else {
        Err(not_regular())
    }
}

/// Returns the error for a path of the wrong type. Its kind makes [`Error::file`] report a path
/// that cannot be used, and not a failing disk.
fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "it is not a regular file")
}

/// Returns whether the error is that of [`open_regular`] for something other than a regular file.
fn is_not_regular(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory
    )
}

/// Creates a file without a name, with mode 0600, on the disk of the directory `dir` (open(2),
/// `O_TMPFILE`).
///
/// # Errors
/// The file cannot be created: not every file system supports this.
pub fn create_unnamed(dir: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| openat(CWD, dir, flags, Mode::RUSR | Mode::WUSR))?.into())
}

/// Links a file from [`create_unnamed`] to a path.
///
/// # Errors
/// The path exists ([`io::ErrorKind::AlreadyExists`]), or the link cannot be created, for instance
/// because `/proc` is not mounted.
pub fn link_unnamed(file: &File, path: &Path) -> io::Result<()> {
    let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(retry_on_intr(|| {
        linkat(CWD, descriptor.as_str(), CWD, path, AtFlags::SYMLINK_FOLLOW)
    })?)
}

/// Replaces the content of a file at once, or creates the file with mode 0600. An existing file
/// keeps its mode, and a symbolic link remains one.
///
/// # Errors
/// The file cannot be written.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let failed = |error: io::Error| Error::file("write", path, &error);
    let path = &creation_path(path, "write")?;
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    let dir = target.parent().unwrap_or(Path::new("."));
    create_dir_durable(dir)?;
    let mut draft = tempfile::Builder::new()
        .prefix(".pouch-")
        .tempfile_in(dir)
        .map_err(|error| failed(without_path(&error)))?;
    if let Ok(metadata) = fs::metadata(&target) {
        let permissions = metadata.permissions();
        draft
            .as_file()
            .set_permissions(permissions)
            .map_err(failed)?;
    }
    draft.write_all(content).map_err(failed)?;
    draft.as_file().sync_all().map_err(failed)?;
    draft
        .persist(&target)
        .map_err(|error| failed(error.error))?;
    sync(dir)
}

/// Checks that [`replace`] can write `content` to a file in its directory, or in the nearest parent
/// that exists. Writes an unnamed temporary file for that, so nothing remains.
///
/// # Errors
/// The file cannot be written.
pub fn check_replaceable(path: &Path, content: &[u8]) -> Result<()> {
    let path = &creation_path(path, "write")?;
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    let target = std::path::absolute(&target).unwrap_or(target);
    let mut parents = target.ancestors().skip(1);
    let dir = parents.find(|dir| dir.symlink_metadata().is_ok());
    let dir = dir.unwrap_or(Path::new("/"));
    if !dir.is_dir() {
        return Err(not_a_directory(dir));
    }
    let failed = |error: io::Error| {
        let error = without_path(&error);
        Error::file("write a file in", dir, &error)
    };
    let mut draft = tempfile::tempfile_in(dir).map_err(failed)?;
    // a full disk may still have room for an empty file
    draft.write_all(content).map_err(failed)?;
    draft.write_all(&[b'\n'; 4096]).map_err(failed)?;
    draft.sync_all().map_err(failed)
}

/// Replaces the content of a file that other programs read, or creates the file, at once and with
/// mode 0644. A symbolic link remains one. The directory must exist.
///
/// The file is not synced: its content is of no use after a power failure, and the next one
/// replaces it. `doing` is the purpose in messages, as for [`file()`].
///
/// # Errors
/// The file cannot be written, or the path is something other than a file.
pub fn publish(path: &Path, doing: &str, content: &[u8]) -> Result<()> {
    let failed = |error: io::Error| Error::file(doing, path, &error);
    check_regular(path).map_err(failed)?;
    let target = publication_path(path, doing)?;
    let dir = target.parent().unwrap_or(Path::new("/"));
    let mut draft = tempfile::Builder::new()
        .prefix(".pouch-")
        .tempfile_in(dir)
        .map_err(|error| failed(without_path(&error)))?;
    draft
        .write_all(content)
        .map_err(|error| failed(without_path(&error)))?;
    draft
        .as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))
        .map_err(failed)?;
    draft
        .persist(&target)
        .map(drop)
        .map_err(|error| failed(error.error))
}

/// Returns an error of a temporary file without its path, which differs each time.
fn without_path(error: &io::Error) -> io::Error {
    let text = error.to_string();
    let text = text.split(" at path ").next().unwrap_or_default();
    io::Error::new(error.kind(), text)
}

/// Returns the path that [`publish`] writes: `path`, or the target if it is a symbolic link.
///
/// # Errors
/// The directory does not exist.
pub fn publication_path(path: &Path, doing: &str) -> Result<PathBuf> {
    let path = creation_path(path, doing)?;
    let target = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
    match target.parent().map(fs::metadata) {
        Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            let located = Error::file(doing, &path, &error);
            Err(located.with_hint("create the directory, or name a file in another one"))
        }
        _ => Ok(target),
    }
}

/// Replaces the content of a file at once, or creates the file. Its mode becomes 0600. A symbolic
/// link remains one.
///
/// # Errors
/// As for [`replaceable`], or the file cannot be written.
pub fn replace_private(path: &Path, doing: &str, content: &[u8]) -> Result<()> {
    let target = replaceable(path, doing)?;
    let failed = |error: io::Error| Error::file(doing, path, &error);
    let mut draft = tempfile::Builder::new()
        .prefix(".pouch-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(target.parent().unwrap_or(Path::new("/")))
        .map_err(|error| failed(without_path(&error)))?;
    draft
        .write_all(content)
        .map_err(|error| failed(without_path(&error)))?;
    draft.as_file().sync_all().map_err(failed)?;
    draft
        .persist(&target)
        .map(drop)
        .map_err(|error| failed(error.error))
}

/// Returns the path that [`replace_private`] replaces: `path`, or the target if it is a symbolic
/// link.
///
/// # Errors
/// There is something other than a file, or the directory does not exist or cannot be written.
/// `doing` is the purpose in messages, as for [`file()`].
pub fn replaceable(path: &Path, doing: &str) -> Result<PathBuf> {
    let failed = |error: io::Error| Error::file(doing, path, &error);
    if path.is_dir() {
        let what = format!("cannot {doing} {}", path.display());
        return Err(Error::new(Kind::CannotCreate, what).with_fact("it is a directory"));
    }
    check_regular(path).map_err(failed)?;
    let absolute = std::path::absolute(path).map_err(failed)?;
    let created = creation_path(&absolute, doing)?;
    let target = fs::canonicalize(&created).unwrap_or(created);
    let dir = target.parent().unwrap_or(Path::new("/"));
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).map_err(|error| failed(error.into()))?;
    Ok(target)
}

/// Creates a file with mode 0600. Returns whether it did not exist before.
///
/// # Errors
/// The file cannot be created or written.
pub fn create_secret(path: &Path, content: &[u8]) -> Result<bool> {
    let failed = |error: io::Error| Error::file("create", path, &error);
    let dir = path.parent().unwrap_or(Path::new("."));
    create_dir_durable(dir)?;
    let mut options = OpenOptions::new();
    let created = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        created => created.map_err(failed)?,
    };
    file.write_all(content).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    sync(dir)?;
    Ok(true)
}

/// Removes a file.
///
/// # Errors
/// The file does not exist or cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    Ok(retry_on_intr(|| unlink(path))?)
}

/// Returns the entries of a directory. If a signal interrupts the reading, it starts again.
///
/// # Errors
/// The directory cannot be read.
pub fn entries(path: &Path) -> io::Result<Vec<fs::DirEntry>> {
    loop {
        match fs::read_dir(path).and_then(Iterator::collect) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Passes the entries of a directory to `visit`, one after the other, so that a large directory
/// needs little memory. If a signal interrupts the reading, it starts again, and `visit` gets some
/// entries twice. The inner result is the first error of `visit`.
///
/// # Errors
/// The directory cannot be read.
pub fn each_entry<E>(
    path: &Path,
    mut visit: impl FnMut(fs::DirEntry) -> std::result::Result<(), E>,
) -> io::Result<std::result::Result<(), E>> {
    'again: loop {
        for entry in fs::read_dir(path)? {
            match entry {
                Ok(entry) => {
                    if let Err(error) = visit(entry) {
                        return Ok(Err(error));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue 'again,
                Err(error) => return Err(error),
            }
        }
        return Ok(Ok(()));
    }
}

/// Makes the entries of a directory durable, and its own entry in the parent directory.
///
/// The process that created the directory may have been interrupted before it synced the parent. A
/// parent that the user cannot read is skipped.
///
/// # Errors
/// The directory cannot be opened, or the disk failed.
pub fn sync_dir_and_parent(path: &Path) -> Result<()> {
    sync(path)?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        Some(parent) => sync_unless(parent, |error| {
            error.kind() == io::ErrorKind::PermissionDenied
        }),
        None => Ok(()),
    }
}

/// Makes the entries of a directory durable.
///
/// # Errors
/// The directory cannot be opened, or the disk failed.
pub fn sync(path: &Path) -> Result<()> {
    sync_unless(path, |_| false)
}

/// Syncs a directory. Errors for which `is_ignored` returns true are ignored.
fn sync_unless(path: &Path, is_ignored: impl Fn(&io::Error) -> bool) -> Result<()> {
    match File::open(path).and_then(|dir| dir.sync_all()) {
        // Some file systems do not support fsync for directories (fsync(2), EINVAL).
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        Err(error) if is_ignored(&error) => Ok(()),
        synced => synced.map_err(|error| Error::file("sync the directory", path, &error)),
    }
}

/// Makes all files of the file system of a directory durable (syncfs(2)), whoever wrote them.
///
/// # Errors
/// The directory cannot be opened, or the disk failed.
pub fn sync_file_system(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|dir| Ok(retry_on_intr(|| syncfs(&dir))?));
    synced.map_err(|error| Error::file("sync the file system of", path, &error))
}

/// Makes the symbolic link `link` to the directory `target`, unless something is in its place that
/// is not an empty directory.
///
/// Errors are ignored: the caller works without the link.
pub fn link_once(target: &Path, link: &Path) {
    if link.is_symlink() {
        return;
    }
    let _ = fs::remove_dir(link.join("mailboxes"));
    let _ = fs::remove_dir(link);
    if !link.exists()
        && let Some(parent) = link.parent()
        && create_dir_durable(parent).is_ok()
    {
        let _ = std::os::unix::fs::symlink(target, link);
    }
}
