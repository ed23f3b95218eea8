//! The lock on a mailbox, which keeps two pouch processes from fetching it at the same time.
//!
//! A lock is named after the ledger of the mailbox, not after the account or its address: the same
//! mailbox may be fetched at two addresses.
//!
//! The kernel releases the lock (`flock`) when the process ends, for any reason. The file stays;
//! its content only names the process. If the file is removed during a run, another process could
//! lock a new one; so the ledger records the process of each run as well.

use std::{
    fs::{File, TryLockError},
    io::{self, ErrorKind, Read, Seek, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    fs::{FlockOperation, fcntl_lock},
    io::Errno,
};

use crate::{
    domain::time::Timestamp,
    error::{Error, Kind, Result},
    sys::{files, interrupt::Interrupt},
    text::time_of_day,
};

/// The time between two attempts to lock, since the kernel cannot report that a lock was released.
const RETRY: Duration = Duration::from_millis(100);

/// The lock on a mailbox, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    /// The state of the file before and after the lock was taken.
    marks: [Mark; 2],
}

/// The state of a lock file. Each process that takes the lock changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    text: String,
    modified: Option<SystemTime>,
}

impl Mark {
    fn of(file: &mut File) -> Self {
        let mut text = String::new();
        let _ = file.rewind();
        let _ = file.take(100).read_to_string(&mut text);
        let modified = file.metadata().and_then(|metadata| metadata.modified());
        Self {
            text,
            modified: modified.ok(),
        }
    }
}

impl Lock {
    /// Returns whether no process ever had the lock before.
    pub fn is_first(&self) -> bool {
        self.marks[0].text.is_empty()
    }

    /// Returns the state of the file before the lock was taken.
    pub fn previous_mark(&self) -> &Mark {
        &self.marks[0]
    }

    /// Returns the state of the file since the lock was taken.
    pub fn mark(&self) -> &Mark {
        &self.marks[1]
    }
}

/// Takes the lock named `key`. If another pouch has it, tries again for `patience`.
///
/// # Errors
/// [`Kind::Busy`] if another pouch process has the lock; [`Kind::Stopped`] after a signal; or the
/// file cannot be created.
pub fn lock(
    state_dir: &Path,
    key: &str,
    now: Timestamp,
    patience: Duration,
    stop: &Interrupt,
) -> Result<Lock> {
    let path = path(state_dir, key);
    let mut file = files::file(&path, "open")?;
    let end = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Err(cannot_lock(&path, &error)),
            Err(TryLockError::WouldBlock) if Instant::now() < end => {
                stop.sleep(RETRY)?;
            }
            Err(TryLockError::WouldBlock) => return Err(held(&mut file)),
        }
    }
    // SQLite uses the other kind of lock, and treats an error as a lock of another process: it
    // would wait for half a minute.
    if let Err(error @ Errno::NOLCK) = fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        return Err(cannot_lock(&path, &error.into()));
    }
    let before = Mark::of(&mut file);
    // The content is only used in messages of other processes, so a failure does not matter.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{} {}", std::process::id(), now.0));
    let marks = [before, Mark::of(&mut file)];
    Ok(Lock { _file: file, marks })
}

/// Returns whether the lock named `key` was never taken, because its file or the directory does not
/// exist.
pub fn is_new(state_dir: &Path, key: &str) -> bool {
    // the target of a link may be the missing one
    let is_missing = |path: &Path| {
        path.symlink_metadata()
            .is_err_and(|error| error.kind() == ErrorKind::NotFound)
    };
    is_missing(state_dir) || (state_dir.is_dir() && is_missing(&path(state_dir, key)))
}

/// Returns when the lock named `key` was last taken. `None` if it never was, or that is not known.
pub fn last_taken(state_dir: &Path, key: &str) -> Option<SystemTime> {
    path(state_dir, key).metadata().ok()?.modified().ok()
}

/// Returns whether another pouch has the lock named `key`.
pub fn is_locked(state_dir: &Path, key: &str) -> bool {
    // shared, and released at once: readers do not exclude each other
    files::open(&path(state_dir, key))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn path(state_dir: &Path, key: &str) -> PathBuf {
    state_dir.join("locks").join(format!("{key}.lock"))
}

/// Returns the error for a lock that failed for another reason than another process.
fn cannot_lock(path: &Path, error: &io::Error) -> Error {
    let located = Error::file("lock", path, error);
    if error.raw_os_error() != Some(Errno::NOLCK.raw_os_error()) {
        return located;
    }
    located
        .with_fact("the file system does not support locks, or its lock service is not running")
        .with_hint("choose a directory on a local disk with `--state-dir`")
}

fn held(file: &mut File) -> Error {
    let mut text = String::new();
    let _ = file.take(100).read_to_string(&mut text);
    let mut words = text.split_whitespace();
    let pid = words.next().and_then(|word| word.parse::<u32>().ok());
    let since = words.next().and_then(|word| word.parse::<i64>().ok());
    let who = match (pid, since) {
        (Some(pid), Some(since)) => format!(
            "another pouch (pid {pid}, since {})",
            time_of_day(Timestamp(since))
        ),
        _ => "another pouch".into(),
    };
    Error::new(Kind::Busy, format!("{who} is fetching this account"))
        .with_hint("`--wait 5m` waits for it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_lock_names_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let ann = "ann@example.org";
        let take_within = |who: &str, patience| {
            lock(
                dir.path(),
                who,
                Timestamp(0),
                patience,
                &Interrupt::default(),
            )
        };
        let take = |who: &str| take_within(who, Duration::ZERO);
        assert!(!is_locked(dir.path(), ann));
        let first = take(ann).unwrap();
        assert!(is_locked(dir.path(), ann));
        let error = take(ann).unwrap_err();
        assert_eq!(error.kind(), Kind::Busy);
        assert!(
            error
                .what()
                .contains(&format!("pid {}", std::process::id())),
            "{error}"
        );
        take("bob@example.org").unwrap();
        drop(first);
        // a program that another test starts has the file until it is executed
        take_within(ann, Duration::from_mins(1)).unwrap();
    }

    #[test]
    fn mark_changes_if_another_process_takes_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let take = || {
            let patience = Duration::from_mins(1);
            let stop = Interrupt::default();
            lock(dir.path(), "ann", Timestamp(0), patience, &stop).unwrap()
        };
        let first = take();
        assert!(first.is_first());
        let mark = first.mark().clone();
        drop(first);
        let second = take();
        assert_eq!(*second.previous_mark(), mark);
        let mark = second.mark().clone();
        drop(second);
        std::fs::write(path(dir.path(), "ann"), "1 0\n").unwrap();
        assert_ne!(*take().previous_mark(), mark);
    }
}
