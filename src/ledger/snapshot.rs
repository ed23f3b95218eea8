//! What the ledgers of a state directory say about their mailboxes, kept in memory.
//!
//! A new address may lead to any known mailbox, so all ledgers are read for it
//! ([`candidates`](super::candidates)). In the first run of thousands of accounts, millions of
//! databases would be opened. An index on disk was rejected (see [`mailboxes`](super::mailboxes));
//! this one is kept in the memory of the process, and the files decide whether it is valid.
//!
//! Nothing here opens a ledger other than through SQLite: closing a file that was opened in another
//! way would release SQLite's locks in this process.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{error::Result, sys::clock::Clock};

/// How long a [`Recent`] value stays valid if reading it takes only a moment.
const LIFETIME: Duration = Duration::from_secs(1);

/// The longest time for which a [`Recent`] value stays valid.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// The age from which the time of a file is different after each write, in seconds. File systems
/// have times of several milliseconds, or even of a second.
const SETTLED: i64 = 2;

/// Inode, size and time of the database and of its WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp([Option<(u64, u64, i64, i64)>; 2]);

impl Stamp {
    fn of(path: &Path) -> Self {
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        Self([path, Path::new(&wal)].map(|path| {
            let metadata = fs::metadata(path).ok()?;
            let time = (metadata.mtime(), metadata.mtime_nsec());
            Some((metadata.ino(), metadata.size(), time.0, time.1))
        }))
    }

    /// Returns whether a later write will change the stamp.
    fn is_settled(&self) -> bool {
        let now = Clock::SYSTEM.now().0;
        let mut files = self.0.iter().flatten();
        files.all(|(.., seconds, _)| now.saturating_sub(*seconds) >= SETTLED)
    }
}

/// Values that were read from ledgers. Each is valid as long as its ledger does not change.
pub(super) struct Snapshots<T>(Mutex<HashMap<PathBuf, (Stamp, T)>>);

impl<T> Default for Snapshots<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Snapshots<T> {
    /// Returns what `read` returns for a ledger, or has returned if the ledger has not changed
    /// since. The value is kept if `keep` returns `true`.
    ///
    /// # Errors
    /// That of `read`.
    pub(super) fn get(
        &self,
        ledger: &Path,
        read: impl FnOnce() -> Result<T>,
        keep: impl FnOnce(&T) -> bool,
    ) -> Result<T> {
        let stamp = Stamp::of(ledger);
        if let Some((known, value)) = lock(&self.0).get(ledger)
            && *known == stamp
        {
            return Ok(value.clone());
        }
        let value = read()?;
        if stamp.is_settled() && keep(&value) {
            lock(&self.0).insert(ledger.to_owned(), (stamp, value.clone()));
        }
        Ok(value)
    }
}

/// A value for each state directory, which is valid for a short time.
pub(super) struct Recent<T>(Mutex<HashMap<PathBuf, Latest<T>>>);

/// The latest value for a state directory. The thread that reads a new value holds the lock, and
/// the others wait for that value; otherwise, each of hundreds of threads would read all ledgers.
type Latest<T> = Arc<Mutex<Option<Reading<T>>>>;

/// A value, and when it was read.
pub(super) struct Reading<T> {
    /// When reading began. Later changes may be missing.
    pub(super) began: Instant,
    valid_until: Instant,
    /// The value.
    pub(super) value: Arc<T>,
}

impl<T> Clone for Reading<T> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
            ..*self
        }
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Recent<T> {
    /// Returns the value that `read` returned a short time ago, or calls it again. The value is
    /// never older than `since`, if given, or than [`LONGEST`], and reading takes at most a tenth
    /// of the time of this process.
    ///
    /// # Errors
    /// That of `read`.
    pub(super) fn get(
        &self,
        state_dir: &Path,
        since: Option<Instant>,
        read: impl FnOnce() -> Result<T>,
    ) -> Result<Reading<T>> {
        let latest = Arc::clone(lock(&self.0).entry(state_dir.to_owned()).or_default());
        let mut latest = lock(&latest);
        let began = Instant::now();
        let is_valid = |reading: &&Reading<T>| {
            began < reading.valid_until && since.is_none_or(|since| reading.began >= since)
        };
        if let Some(reading) = latest.as_ref().filter(is_valid) {
            return Ok(reading.clone());
        }
        let value = Arc::new(read()?);
        let lifetime = (began.elapsed() * 10).clamp(LIFETIME, LONGEST);
        let reading = Reading {
            began,
            valid_until: began + lifetime,
            value,
        };
        *latest = Some(reading.clone());
        Ok(reading)
    }
}

/// A poisoned lock is safe to use: each change is complete.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::ids::{Address, MailboxId},
        ledger::{Ledger, LedgerFile, mailboxes},
    };

    fn mailbox_of(user: &str) -> MailboxId {
        MailboxId {
            name: None,
            address: Address::new(user, "example.org", 995),
            account: user.to_owned(),
        }
    }

    #[test]
    fn changed_ledgers_are_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let addresses = || -> Vec<usize> {
            let (known, failed) = mailboxes::all(dir.path()).unwrap();
            assert_eq!(failed, None);
            known.iter().map(|one| one.addresses.len()).collect()
        };
        assert!(addresses().is_empty());
        let ann = mailbox_of("ann");
        let file = LedgerFile::new(dir.path(), &ann);
        let ledger = Ledger::open(&file, Some(&ann), "host").unwrap();
        assert_eq!(addresses(), [1]);
        drop(ledger);
        assert_eq!(addresses(), [1]);
        let other = MailboxId {
            account: "ann".to_owned(),
            ..mailbox_of("ann2")
        };
        drop(Ledger::open(&file, Some(&other), "host").unwrap());
        assert_eq!(addresses(), [2]);
        fs::remove_file(file.path()).unwrap();
        assert!(addresses().is_empty());
    }
}
