//! What the ledgers of a state directory say about their mailboxes, kept in memory.
//!
//! A new address may lead to any known mailbox, so that all ledgers are read for it. For the first
//! run of thousands of accounts, that would be millions of databases to open. An index on disk was
//! rejected (see [`mailboxes`](super::mailboxes)); this one belongs to the process, and the files
//! decide whether it is valid.
//!
//! Nothing here opens a ledger other than through SQLite: closing a file that was opened in another
//! way would release SQLite's locks in this process.

use std::{
    collections::{HashMap, HashSet},
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{connect_read_only, error};
use crate::{
    domain::ids::{Listed, Uid},
    error::Result,
    sys::clock::Clock,
};

/// How long a [`Recent`] value is valid.
const LIFETIME: Duration = Duration::from_secs(1);

/// The age from which the time of a file is different after each write, in seconds. File systems
/// have times of several milliseconds, or even of a second.
const SETTLED: i64 = 2;

/// The largest number of UIDs that are kept, of all mailboxes.
const MAX_UIDS: usize = 8_000_000;

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

/// A value for each state directory, which is valid for a second.
pub(super) struct Recent<T>(Mutex<HashMap<PathBuf, (Instant, Arc<T>)>>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Recent<T> {
    /// Returns what `read` returned within the last second, or returns now.
    ///
    /// # Errors
    /// That of `read`.
    pub(super) fn get(&self, state_dir: &Path, read: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let known = lock(&self.0).get(state_dir).cloned();
        if let Some((_, value)) = known.filter(|(read, _)| read.elapsed() < LIFETIME) {
            return Ok(value);
        }
        let value = Arc::new(read()?);
        let entry = (Instant::now(), Arc::clone(&value));
        lock(&self.0).insert(state_dir.to_owned(), entry);
        Ok(value)
    }
}

/// A poisoned lock is safe to use: each change is complete.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The hashes of the UIDs in each ledger.
static UIDS: LazyLock<Snapshots<Arc<[u32]>>> = LazyLock::new(Snapshots::default);

/// The number of UIDs that were kept.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// The UIDs of a listing, to compare with those of many mailboxes.
pub struct ListedUids(HashSet<u32>);

impl ListedUids {
    /// Returns the UIDs of `listed`.
    pub fn new(listed: &[Listed]) -> Self {
        Self(listed.iter().map(|message| hash(&message.uid)).collect())
    }

    /// Returns whether the ledger at this path may have a message with one of the UIDs. `true` if it
    /// cannot be read, so that the caller reads it and reports the error.
    pub fn may_be_in(&self, ledger: &Path) -> bool {
        let keep = |uids: &Arc<[u32]>| {
            KEPT.fetch_add(uids.len(), Ordering::Relaxed) + uids.len() <= MAX_UIDS
        };
        let uids = UIDS.get(ledger, || uids(ledger), keep);
        uids.map_or(true, |uids| uids.iter().any(|uid| self.0.contains(uid)))
    }
}

/// Returns the hashes of the UIDs in a ledger.
fn uids(path: &Path) -> Result<Arc<[u32]>> {
    let ledger = connect_read_only(path)?;
    let read = || {
        ledger
            .prepare("SELECT uid, uid_size FROM message")?
            .query_map([], |row| {
                let octets: Vec<u8> = row.get(0)?;
                let size: Option<i64> = row.get(1)?;
                let size = size.and_then(|size| u64::try_from(size).ok());
                Ok(Uid::from_key((&octets, size)).map_or(0, |uid| hash(&uid)))
            })?
            .collect::<rusqlite::Result<Arc<[u32]>>>()
    };
    read().map_err(|error| error::explain(path, &error))
}

/// Returns the hash of a UID, which is valid in this process only.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a part of a hash is a hash"
)]
fn hash(uid: &Uid) -> u32 {
    let mut hasher = DefaultHasher::new();
    uid.key().hash(&mut hasher);
    hasher.finish() as u32
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
