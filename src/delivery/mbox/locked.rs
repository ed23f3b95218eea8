//! A mailbox file under the locks by which mail programs keep each other out of it.
//!
//! Debian's policy (§11.6) asks for two: fcntl first, then a dot lock, a file `MAILBOX.lock` beside
//! it. Dovecot does so there (`mbox_write_locks = fcntl dotlock`), procmail takes the dot lock
//! first. Neither can come to wait for pouch while pouch waits for it: a lock that cannot be had at
//! once lets go of the other one. In a folder where the user makes no files (`/var/mail`, often)
//! there is no dot lock, and fcntl alone has to do.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, fcntl_lock},
    io::Errno,
    process::{Pid, test_kill_process},
};

use crate::{
    error::{Error, Kind, Result},
    sys::{
        files::{self, create_unnamed, link_unnamed},
        interrupt::Interrupt,
    },
};

/// A dot lock that does not tell whose it is is left over once neither it nor the mailbox has
/// changed for so long. (liblockfile: 5 minutes; Dovecot: 2; procmail: 17.)
const LEFT_OVER: Duration = Duration::from_mins(5);

/// The longest nap between two tries.
const NAP: Duration = Duration::from_millis(200);

/// fcntl locks know processes, not threads, and closing a file in one thread lets go of the lock
/// that another one has on it: here, one mailbox is open at a time.
static HERE: Mutex<()> = Mutex::new(());

/// A mailbox file that is open, and locked until this is dropped.
#[derive(Debug)]
pub(super) struct Locked {
    // dropped in this order
    dot: Option<DotLock>,
    /// The file, to read and to write.
    pub(super) file: File,
    _here: MutexGuard<'static, ()>,
}

/// What came of a try.
enum Try {
    Locked(Locked),
    /// Somebody else has it: by this lock.
    Held(String),
}

impl Locked {
    /// Opens the mailbox at `path`, which is made if it is missing, and waits for its locks, for
    /// `patience` at most. `host` is this machine's name.
    ///
    /// # Errors
    /// [`Kind::Busy`]: another program has it. Or it is no file, cannot be made or locked, or a
    /// signal came.
    pub(super) fn wait_for(
        path: &Path,
        host: &str,
        patience: Duration,
        stop: &Interrupt,
    ) -> Result<Self> {
        let end = Instant::now() + patience;
        let mut nap = Duration::from_millis(5);
        loop {
            let held = match lock(path, host)? {
                Try::Locked(locked) => return Ok(locked),
                Try::Held(by) => by,
            };
            if Instant::now() >= end {
                return Err(Error::new(
                    Kind::Busy,
                    format!("another program has the mailbox {}", path.display()),
                )
                .with_fact(format!(
                    "{held}, and pouch waited {} s for it",
                    patience.as_secs()
                )));
            }
            stop.sleep(nap)?;
            nap = (nap * 2).min(NAP);
        }
    }

    /// The file is empty, or begins as a mailbox does, as far as it goes: procmail writes its first
    /// octet by itself.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn looks_like_mbox(&mut self, path: &Path) -> Result<()> {
        looks_like_mbox(path, &mut self.file)
    }

    /// Whether there is a dot lock beside fcntl's.
    pub(super) fn has_dot_lock(&self) -> bool {
        self.dot.is_some()
    }
}

/// Whether a mailbox file, or nothing yet, lies at `path`.
///
/// # Errors
/// Something else does, or it cannot be looked at.
pub(super) fn inspect(path: &Path) -> Result<()> {
    let _here = here();
    if !regular(path)? {
        return Ok(());
    }
    let mut file = File::open(path).map_err(|error| Error::file("open", path, &error))?;
    looks_like_mbox(path, &mut file)
}

fn here() -> MutexGuard<'static, ()> {
    // it guards nothing that a panic could leave half done
    HERE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_mailbox(path: &Path, fact: &str) -> Error {
    Error::new(
        Kind::CannotCreate,
        format!("{} is not a mailbox file", path.display()),
    )
    .with_fact(fact)
}

/// Whether there is a file at `path`, and not anything else. To open a FIFO may take for ever.
fn regular(path: &Path) -> Result<bool> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(true),
        Ok(found) if found.is_dir() => Err(no_mailbox(path, "it is a folder")
            .with_hint("`maildir` delivers to a folder, `mbox` to a file")),
        Ok(_) => Err(no_mailbox(path, "it is no regular file")),
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
    Err(no_mailbox(path, "it does not begin with `From `")
        .with_hint("name a file that does not exist yet, and it will be made"))
}

/// Tries once.
fn lock(path: &Path, host: &str) -> Result<Try> {
    let here = here();
    regular(path)?;
    let file = files::file(path, "write to")?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::AGAIN | Errno::ACCESS) => return Ok(Try::Held("it is locked (fcntl)".into())),
        Err(error) => return Err(Error::file("lock", path, &error.into())),
    }
    let dot = match DotLock::take(path, host)? {
        Dot::Taken(dot) => Some(dot),
        Dot::Impossible => None,
        Dot::Held(lock) => return Ok(Try::Held(format!("there is {}", lock.display()))),
    };
    // somebody may have put another file in its place meanwhile
    let same = |one: fs::Metadata, other: fs::Metadata| {
        (one.dev(), one.ino()) == (other.dev(), other.ino())
    };
    if !file
        .metadata()
        .and_then(|opened| Ok(same(opened, fs::metadata(path)?)))
        .unwrap_or(false)
    {
        return Ok(Try::Held("it was moved away".into()));
    }
    Ok(Try::Locked(Locked {
        dot,
        file,
        _here: here,
    }))
}

/// A file beside the mailbox that tells other programs that it is in use.
#[derive(Debug)]
struct DotLock(PathBuf);

enum Dot {
    Taken(DotLock),
    /// The user can make no file there.
    Impossible,
    /// This file is there already.
    Held(PathBuf),
}

impl DotLock {
    fn take(mailbox: &Path, host: &str) -> Result<Dot> {
        // a link to the mailbox and the mailbox itself have one lock
        let mailbox = mailbox
            .canonicalize()
            .map_err(|error| Error::file("open", mailbox, &error))?;
        let mut path = mailbox.clone().into_os_string();
        path.push(".lock");
        let path = PathBuf::from(path);
        for _ in 0..2 {
            // as Dovecot writes it, and liblockfile reads it
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
            // under the lock of fcntl: no two pouches take the same one for left over
            let (Some(note), Some(still)) =
                (note(&path), unchanged(&path).min(unchanged(&mailbox)))
            else {
                continue;
            };
            if !is_left_over(&note, host, still, runs) {
                break;
            }
            // gone already, or not ours to remove: the next try tells
            let _ = files::remove(&path);
        }
        Ok(Dot::Held(path))
    }

    /// Makes a dot lock that says who has it. Where the file system can do that, it never lies
    /// there without: an empty one stands in the way for long, should its maker be killed.
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
        // should it stay, it names a process that has ended
        let _ = files::remove(&self.0);
    }
}

/// What stands in a dot lock; nothing where it is gone.
fn note(path: &Path) -> Option<Vec<u8>> {
    let mut note = Vec::new();
    match File::open(path).and_then(|file| file.take(300).read_to_end(&mut note)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // what cannot be read tells nothing
        _ => Some(note),
    }
}

/// How long ago a file changed.
fn unchanged(path: &Path) -> Option<Duration> {
    // one from the future has just changed
    fs::metadata(path)
        .and_then(|file| file.modified())
        .ok()
        .map(|at| at.elapsed().unwrap_or_default())
}

/// Whether a process of this machine runs.
fn runs(pid: i32) -> bool {
    Pid::from_raw(pid).is_none_or(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Whether a dot lock was left over by a program that died: it names a process of this machine that
/// is gone, or nobody, and nothing has changed for long.
fn is_left_over(note: &[u8], host: &str, still: Duration, runs: impl Fn(i32) -> bool) -> bool {
    let note = String::from_utf8_lossy(note);
    let (pid, elsewhere) = match note.trim().split_once(':') {
        Some((pid, named)) => (pid, named != host),
        None => (note.trim(), false),
    };
    match pid.parse() {
        Ok(pid @ 1..) if !elsewhere => !runs(pid),
        _ => still >= LEFT_OVER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_locks_of_the_dead_and_the_forgotten_are_left_over() {
        let (long, short) = (LEFT_OVER, Duration::from_secs(10));
        let left_over =
            |note: &str, still| is_left_over(note.as_bytes(), "desk", still, |pid| pid == 7);
        assert!(left_over("8:desk", short) && left_over("8\n", short));
        assert!(!left_over("7:desk", long) && !left_over("7\n", long));
        for unknown in ["", "0", "8:elsewhere", "no number", "-1"] {
            assert!(
                !left_over(unknown, short) && left_over(unknown, long),
                "{unknown}"
            );
        }
    }

    fn take(path: &Path, patience: Duration) -> Result<Locked> {
        Locked::wait_for(path, "desk", patience, &Interrupt::default())
    }

    #[test]
    fn a_mailbox_in_use_is_waited_for_and_a_dead_lock_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in/box");
        let dot = dir.path().join("in/box.lock");
        let locked = take(&path, Duration::ZERO).unwrap();
        assert!(locked.has_dot_lock() && dot.exists());
        drop(locked);
        assert!(!dot.exists());
        // of a process that runs
        fs::write(&dot, "1:desk").unwrap();
        let error = take(&path, Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), Kind::Busy);
        assert!(error.facts()[0].contains("box.lock"), "{error}");
        // of one that does not
        fs::write(&dot, "4194304:desk").unwrap();
        take(&path, Duration::ZERO).unwrap();
        assert!(!dot.exists());
    }

    #[test]
    fn what_is_no_mailbox_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let thesis = dir.path().join("thesis.tex");
        fs::write(&thesis, "\\documentclass").unwrap();
        for path in [&thesis, dir.path()] {
            assert_eq!(inspect(path).unwrap_err().kind(), Kind::CannotCreate);
            let begins =
                take(path, Duration::ZERO).and_then(|mut locked| locked.looks_like_mbox(path));
            assert_eq!(begins.unwrap_err().kind(), Kind::CannotCreate);
        }
        assert_eq!(fs::read(&thesis).unwrap(), b"\\documentclass");
        inspect(&dir.path().join("none")).unwrap();
        assert!(!dir.path().join("none").exists());
    }
}
