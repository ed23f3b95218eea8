//! A mailbox file, locked against other mail programs.
//!
//! Debian's policy (§11.6) requires two locks: fcntl first, then a dot lock, the file
//! `MAILBOX.lock`. Dovecot does the same there (`mbox_write_locks = fcntl dotlock`), but procmail
//! takes the dot lock first. To avoid a deadlock with such programs, pouch never holds one lock
//! while it waits for the other: if one is taken, it releases both and tries again. In a directory
//! where the user cannot create files (often `/var/mail`) a dot lock is impossible, and fcntl has
//! to suffice.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    fs::{FlockOperation, fcntl_lock},
    io::Errno,
    param::clock_ticks_per_second,
    process::{Pid, test_kill_process},
};

use crate::{
    error::{Error, Kind, Result},
    sys::{
        files::{self, create_unnamed, link_unnamed},
        interrupt::Interrupt,
    },
};

/// The age at which a dot lock that names no process of this machine is stale, counted from the
/// last change of the lock or the mailbox. (liblockfile: 5 minutes; Dovecot: 2; procmail: 17.)
const STALE_AFTER: Duration = Duration::from_mins(5);

/// The difference between the times of files and of processes that is attributed to changes of the
/// clock.
const CLOCK_TOLERANCE: Duration = Duration::from_mins(1);

/// The longest pause between two attempts; the first is [`SHORTEST_PAUSE`], and each is twice as
/// long as the one before. Neither kind of lock can be polled.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// The shortest pause between two attempts.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

/// The lock that excludes other threads while a mailbox is open.
///
/// fcntl locks belong to the process: closing a file in one thread releases the lock that another
/// thread has on it.
static IN_PROCESS: Mutex<()> = Mutex::new(());

/// An open mailbox file, locked until this is dropped.
#[derive(Debug)]
pub(super) struct Locked {
    // The fields are dropped in this order.
    dot: Option<DotLock>,
    /// The file, open for reading and writing.
    pub(super) file: File,
    _here: MutexGuard<'static, ()>,
}

/// The outcome of one attempt to lock.
enum Attempt {
    Locked(Locked),
    /// Another program holds this lock.
    Held(String),
}

impl Locked {
    /// Opens the mailbox at `path`, creates it if it does not exist, and waits up to `patience` for
    /// its locks. `host` is this machine's name.
    ///
    /// # Errors
    /// [`Kind::Busy`] if another program has locked the mailbox; [`Kind::Stopped`] after a signal;
    /// or the mailbox is not a regular file, or cannot be created or locked.
    pub(super) fn wait_for(
        path: &Path,
        host: &str,
        patience: Duration,
        stop: &Interrupt,
    ) -> Result<Self> {
        let end = Instant::now() + patience;
        let mut pause = SHORTEST_PAUSE;
        loop {
            let held = match lock(path, host)? {
                Attempt::Locked(locked) => return Ok(locked),
                Attempt::Held(by) => by,
            };
            if Instant::now() >= end {
                return Err(Error::new(
                    Kind::Busy,
                    format!(
                        "the mailbox {} is locked by another program",
                        path.display()
                    ),
                )
                .with_fact(format!("gave up after {} s: {held}", patience.as_secs())));
            }
            stop.sleep(pause)?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Fails unless the file is empty or starts with `From `. A shorter prefix of that is accepted,
    /// because procmail writes the first byte separately.
    ///
    /// # Errors
    /// [`Kind::CannotCreate`]: it is not a mailbox file.
    pub(super) fn check_format(&mut self, path: &Path) -> Result<()> {
        looks_like_mbox(path, &mut self.file)
    }

    /// Returns whether there is a dot lock in addition to the fcntl lock.
    pub(super) fn has_dot_lock(&self) -> bool {
        self.dot.is_some()
    }
}

/// Fails unless `path` is a mailbox file or does not exist.
///
/// # Errors
/// [`Kind::CannotCreate`] if it is something else, or it cannot be read.
pub(super) fn inspect(path: &Path) -> Result<()> {
    let _here = here();
    if !regular(path)? {
        return Ok(());
    }
    let mut file = files::open(path).map_err(|error| Error::file("open", path, &error))?;
    looks_like_mbox(path, &mut file)
}

fn here() -> MutexGuard<'static, ()> {
    // The mutex has no data that a panic could leave inconsistent.
    IN_PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_mailbox(path: &Path, fact: &str) -> Error {
    Error::new(
        Kind::CannotCreate,
        format!("{} is not a mailbox file", path.display()),
    )
    .with_fact(fact)
}

/// Returns whether there is a file at `path`, and fails if it is not a regular one: opening a FIFO
/// could block for ever.
fn regular(path: &Path) -> Result<bool> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(true),
        Ok(found) if found.is_dir() => Err(no_mailbox(path, "it is a directory")
            .with_hint("use `maildir` for a directory; `mbox` is a file")),
        Ok(_) => Err(no_mailbox(path, "it is not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::file("open", path, &error)),
    }
}

fn looks_like_mbox(path: &Path, file: &mut File) -> Result<()> {
    let mut begin = Vec::new();
    file.take(5)
        .read_to_end(&mut begin)
        .map_err(|error| Error::file("read", path, &error))?;
    if b"From ".starts_with(&begin) {
        return Ok(());
    }
    Err(no_mailbox(path, "it does not start with `From `")
        .with_hint("use a file that does not exist yet; pouch creates it"))
}

/// Tries to lock once.
fn lock(path: &Path, host: &str) -> Result<Attempt> {
    let here = here();
    regular(path)?;
    let file = files::file(path, "write to")?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::AGAIN | Errno::ACCESS) => {
            return Ok(Attempt::Held("it is locked (fcntl)".into()));
        }
        Err(error) => return Err(Error::file("lock", path, &error.into())),
    }
    let dot = match DotLock::take(path, host)? {
        Dot::Taken(dot) => Some(dot),
        Dot::Impossible => None,
        Dot::Held(lock) => return Ok(Attempt::Held(format!("there is {}", lock.display()))),
    };
    // The file may have been replaced in the meantime.
    let same = |one: fs::Metadata, other: fs::Metadata| {
        (one.dev(), one.ino()) == (other.dev(), other.ino())
    };
    if !file
        .metadata()
        .and_then(|opened| Ok(same(opened, fs::metadata(path)?)))
        .unwrap_or(false)
    {
        return Ok(Attempt::Held("it was replaced".into()));
    }
    Ok(Attempt::Locked(Locked {
        dot,
        file,
        _here: here,
    }))
}

/// A file next to the mailbox which indicates that it is in use.
#[derive(Debug)]
struct DotLock(PathBuf);

enum Dot {
    Taken(DotLock),
    /// The user cannot create a file there.
    Impossible,
    /// This file exists already.
    Held(PathBuf),
}

impl DotLock {
    fn take(mailbox: &Path, host: &str) -> Result<Dot> {
        // The lock is next to the mailbox, not next to a symbolic link to it.
        let mailbox = mailbox
            .canonicalize()
            .map_err(|error| Error::file("open", mailbox, &error))?;
        let mut path = mailbox.clone().into_os_string();
        path.push(".lock");
        let path = PathBuf::from(path);
        for _ in 0..2 {
            // This is the format that Dovecot writes and liblockfile reads.
            match Self::make(&path, &format!("{}:{host}", process::id())) {
                Ok(()) => return Ok(Dot::Taken(Self(path))),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                    ) =>
                {
                    return Ok(Dot::Impossible);
                }
                Err(error) => return Err(Error::file("lock", &path, &error)),
            }
            // The fcntl lock is held: no two pouches remove the same stale lock.
            let (Some(note), Some(still)) =
                (note(&path), unchanged(&path).min(unchanged(&mailbox)))
            else {
                continue;
            };
            let owns = |pid| runs(pid) && !(still >= STALE_AFTER && started_after(pid, &path));
            if !is_stale(&note, host, still, owns) {
                break;
            }
            // If it cannot be removed, the next attempt finds it again.
            let _ = files::remove(&path);
        }
        Ok(Dot::Held(path))
    }

    /// Creates a dot lock that names its owner. If the file system supports it, content and name
    /// appear together: an empty lock, left by a killed process, blocks other programs for minutes.
    fn make(path: &Path, note: &str) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let linked = create_unnamed(folder).and_then(|mut file| {
            file.write_all(note.as_bytes())?;
            link_unnamed(&file, path)
        });
        match linked {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(note.as_bytes())
            .inspect_err(|_| drop(files::remove(path)))
    }
}

impl Drop for DotLock {
    fn drop(&mut self) {
        // If this fails, the lock names a process that no longer runs and is thus stale.
        let _ = files::remove(&self.0);
    }
}

/// Returns the content of a dot lock, or `None` if it does not exist.
fn note(path: &Path) -> Option<Vec<u8>> {
    let mut note = Vec::new();
    match files::open(path).and_then(|file| file.take(300).read_to_end(&mut note)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // An unreadable lock names no owner.
        _ => Some(note),
    }
}

/// Returns the time since the last change of a file.
fn unchanged(path: &Path) -> Option<Duration> {
    // A time in the future counts as now.
    fs::metadata(path)
        .and_then(|file| file.modified())
        .ok()
        .map(|at| at.elapsed().unwrap_or_default())
}

/// Returns whether the process is running on this machine.
fn runs(pid: i32) -> bool {
    Pid::from_raw(pid).is_none_or(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Returns whether a process started after the file at `path` was last changed: it has the number
/// of the process that wrote the file, but is another one.
///
/// If the process is hidden from this user, the time at which the machine started is used instead.
/// The clock of a machine may be wrong until some time after its start, so the caller must not rely
/// on this alone.
fn started_after(pid: i32, path: &Path) -> bool {
    let Ok(changed) = fs::metadata(path).and_then(|file| file.modified()) else {
        return false;
    };
    let start = boot_time().map(|boot| boot + since_boot(pid).unwrap_or_default());
    start.is_some_and(|start| changed + CLOCK_TOLERANCE < start)
}

/// Returns the time at which this machine was started.
fn boot_time() -> Option<SystemTime> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.trim().parse().ok()?))
}

/// Returns the time from the start of this machine to that of a process: the 22nd field of
/// `/proc/PID/stat`, see `proc_pid_stat(5)`.
fn since_boot(pid: i32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the second field is the program's name in parentheses, which may contain spaces
    let fields = stat.rsplit_once(") ")?.1;
    let ticks: u64 = fields.split(' ').nth(19)?.parse().ok()?;
    Some(Duration::from_secs(ticks / clock_ticks_per_second()))
}

/// Returns whether a dot lock is stale: it names a process of this machine to which it does not
/// belong (`owns`), or it names no process of this machine and is older than [`STALE_AFTER`].
fn is_stale(note: &[u8], host: &str, still: Duration, owns: impl Fn(i32) -> bool) -> bool {
    let note = String::from_utf8_lossy(note);
    let (pid, elsewhere) = match note.trim().split_once(':') {
        Some((pid, named)) => (pid, named != host),
        None => (note.trim(), false),
    };
    match pid.parse() {
        Ok(pid @ 1..) if !elsewhere => !owns(pid),
        _ => still >= STALE_AFTER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_lock_of_dead_process_or_without_change_is_stale() {
        let (long, short) = (STALE_AFTER, Duration::from_secs(10));
        let stale = |note: &str, still| is_stale(note.as_bytes(), "desk", still, |pid| pid == 7);
        assert!(stale("8:desk", short) && stale("8\n", short));
        assert!(!stale("7:desk", long) && !stale("7\n", long));
        for unknown in ["", "0", "8:elsewhere", "no number", "-1"] {
            assert!(!stale(unknown, short) && stale(unknown, long), "{unknown}");
        }
    }

    #[test]
    fn file_older_than_a_process_is_recognised() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let own = i32::try_from(process::id()).unwrap();
        assert!(!started_after(own, file.path()));
        let hour = Duration::from_hours(1);
        let boot = boot_time().unwrap();
        assert!(
            boot + since_boot(own).unwrap()
                < file.as_file().metadata().unwrap().modified().unwrap() + hour
        );
        file.as_file().set_modified(boot - hour).unwrap();
        assert!(started_after(own, file.path()));
        // no process has this number
        assert!(started_after(4_194_304, file.path()));
    }

    fn take(path: &Path, patience: Duration) -> Result<Locked> {
        Locked::wait_for(path, "desk", patience, &Interrupt::default())
    }

    #[test]
    fn mailbox_in_use_is_busy_and_stale_lock_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in/box");
        let dot = dir.path().join("in/box.lock");
        let locked = take(&path, Duration::ZERO).unwrap();
        assert!(locked.has_dot_lock() && dot.exists());
        drop(locked);
        assert!(!dot.exists());
        // The owner is a running process.
        fs::write(&dot, "1:desk").unwrap();
        let error = take(&path, Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), Kind::Busy);
        assert!(error.facts()[0].contains("box.lock"), "{error}");
        // The owner does not run.
        fs::write(&dot, "4194304:desk").unwrap();
        take(&path, Duration::ZERO).unwrap();
        assert!(!dot.exists());
    }

    #[test]
    fn other_files_are_rejected_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let thesis = dir.path().join("thesis.tex");
        fs::write(&thesis, "\\documentclass").unwrap();
        for path in [&thesis, dir.path()] {
            assert_eq!(inspect(path).unwrap_err().kind(), Kind::CannotCreate);
            let begins =
                take(path, Duration::ZERO).and_then(|mut locked| locked.check_format(path));
            assert_eq!(begins.unwrap_err().kind(), Kind::CannotCreate);
        }
        assert_eq!(fs::read(&thesis).unwrap(), b"\\documentclass");
        inspect(&dir.path().join("none")).unwrap();
        assert!(!dir.path().join("none").exists());
    }
}
