//! The known mailboxes that a new address may lead to: those that the account used before, and
//! those with one of the listed UIDs. There are few of them, so few ledgers are compared with the
//! listing.
//!
//! In the first run of ten thousand accounts, looking at the files of all ledgers for each new
//! address would take an hour. Therefore the files are read at most once a second, and later
//! changes are found in other ways:
//!
//! - This process [notes](note) the UIDs that it records.
//! - Another process records the first messages of a mailbox only while it has the lock on new
//!   addresses. After another process has had that lock, all ledgers are read again.
//!
//! The only messages that are missed are those that another process has recorded within the last
//! seconds in a mailbox that had messages before. Had this process been a few seconds faster, it
//! would not have found them either.

use std::{
    collections::{HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::{Arc, LazyLock, Mutex},
    time::Instant,
};

use super::{
    connect_read_only, error,
    mailboxes::{self, KnownMailbox, LedgerFile, Mailboxes},
    snapshot::{LONGEST, Recent, Snapshots, lock},
};
use crate::{
    domain::ids::{Listed, Uid},
    error::Result,
};

/// The maximum number of UIDs in the index, of all mailboxes.
const MAX_UIDS: usize = 8_000_000;

/// The hashes of the UIDs in each ledger.
static UIDS: LazyLock<Snapshots<Arc<[u32]>>> = LazyLock::new(Snapshots::default);

/// All mailboxes of state directories with their UIDs, as they were a short time ago.
static INDEX: LazyLock<Recent<Index>> = LazyLock::new(Recent::default);

/// The UIDs that this process has recorded in the last seconds.
static RECORDED: Mutex<VecDeque<Recorded>> = Mutex::new(VecDeque::new());

/// All mailboxes of a state directory with their UIDs.
struct Index {
    /// When reading began. Later changes may be missing.
    began: Instant,
    known: Arc<Mailboxes>,
    /// The hashes of the UIDs of each mailbox. `None` if there are too many or the ledger cannot be
    /// read.
    uids: Vec<Option<Arc<[u32]>>>,
}

/// UIDs that this process has recorded in a ledger.
struct Recorded {
    at: Instant,
    file: LedgerFile,
    uids: Box<[u32]>,
}

/// Notes that this process has recorded UIDs in the ledger at this path.
pub(super) fn note<'u>(ledger: &Path, uids: impl Iterator<Item = &'u Uid>) {
    let (uids, now) = (uids.map(hash).collect(), Instant::now());
    let Some(file) = LedgerFile::at(ledger) else {
        return;
    };
    let mut recorded = lock(&RECORDED);
    // an index without them is no longer valid
    let is_old = |first: &Recorded| now.duration_since(first.at) > 2 * LONGEST;
    while recorded.front().is_some_and(is_old) {
        recorded.pop_front();
    }
    recorded.push_back(Recorded {
        at: now,
        file,
        uids,
    });
}

/// Returns the mailboxes in `state_dir` that a new address of `account` may lead to if its server
/// lists these messages. The caller holds the lock on new addresses, which no other process has
/// held since `undisturbed`.
///
/// # Errors
/// A ledger cannot be read.
pub fn candidates(
    state_dir: &Path,
    listed: &[Listed],
    account: &str,
    undisturbed: Instant,
) -> Result<Vec<Arc<KnownMailbox>>> {
    let read = || Index::read(state_dir, undisturbed);
    let index = INDEX.get(state_dir, Some(undisturbed), read)?.value;
    if let Some(error) = &index.known.1 {
        return Err(mailboxes::may_be_its_own(error.clone()));
    }
    let listed = ListedUids::new(listed);
    let mailboxes = index.known.0.iter().zip(&index.uids);
    let may_be_it = mailboxes.filter(|(mailbox, uids)| {
        mailbox.was_used_by(account) || uids.as_ref().is_none_or(|uids| listed.has_any(uids))
    });
    let mut files: Vec<_> = may_be_it.map(|(mailbox, _)| mailbox.file.clone()).collect();
    for recorded in lock(&RECORDED).iter() {
        let is_here = recorded.file.dir().parent() == Some(state_dir);
        let is_later = recorded.at >= index.began;
        if is_here && is_later && listed.has_any(&recorded.uids) && !files.contains(&recorded.file)
        {
            files.push(recorded.file.clone());
        }
    }
    // the index may be a few seconds old
    let now = files.into_iter().map(mailboxes::read_again);
    now.filter_map(Result::transpose).collect()
}

impl Index {
    fn read(state_dir: &Path, undisturbed: Instant) -> Result<Self> {
        let reading = mailboxes::recent(state_dir, Some(undisturbed))?;
        let (mut uids, mut total) = (Vec::with_capacity(reading.value.0.len()), 0);
        for mailbox in &reading.value.0 {
            let of_mailbox = uids_in(mailbox, MAX_UIDS.saturating_sub(total));
            total += of_mailbox.as_ref().map_or(0, |uids| uids.len());
            uids.push(of_mailbox);
        }
        Ok(Self {
            began: reading.began,
            known: reading.value,
            uids,
        })
    }
}

/// Returns the hashes of the UIDs of a mailbox. Returns `None` if there are more than `most`, or if
/// its ledger cannot be read: the caller then compares it, and reports the error.
fn uids_in(mailbox: &KnownMailbox, most: usize) -> Option<Arc<[u32]>> {
    if mailbox.is_blank {
        return Some(Arc::default());
    }
    let path = mailbox.file.path();
    let uids = UIDS.get(&path, || read_uids(&path), |uids| uids.len() <= most);
    uids.ok().filter(|uids| uids.len() <= most)
}

/// Returns the hashes of the UIDs in a ledger.
fn read_uids(path: &Path) -> Result<Arc<[u32]>> {
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

/// The number of bits of [`ListedUids::filter`].
const BITS: usize = 1 << 16;

/// The UIDs of a listing, to compare with those of many mailboxes.
struct ListedUids {
    hashes: HashSet<u32>,
    /// A bit for each hash, modulo [`BITS`]. One bit excludes most UIDs of other mailboxes.
    filter: Box<[u64]>,
}

impl ListedUids {
    fn new(listed: &[Listed]) -> Self {
        let hashes: HashSet<_> = listed.iter().map(|message| hash(&message.uid)).collect();
        let mut filter = vec![0; BITS / 64].into_boxed_slice();
        for hash in &hashes {
            let (index, bit) = Self::bit(*hash);
            filter[index] |= bit;
        }
        Self { hashes, filter }
    }

    /// Returns the index and the bit of a hash in the filter.
    fn bit(hash: u32) -> (usize, u64) {
        let number = hash as usize % BITS;
        (number / 64, 1 << (number % 64))
    }

    fn has_any(&self, uids: &[u32]) -> bool {
        uids.iter().any(|uid| {
            let (index, bit) = Self::bit(*uid);
            self.filter[index] & bit != 0 && self.hashes.contains(uid)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            ids::{Address, MailboxId, MsgNum},
            reconcile::reconcile,
            time::Timestamp,
        },
        ledger::{Ledger, connect},
    };

    fn list(uid: &str) -> Vec<Listed> {
        vec![Listed {
            num: MsgNum(1),
            uid: Uid::new(uid.as_bytes()),
            octets: 9,
        }]
    }

    /// Records a message in the ledger of `user`, as the first run of its account.
    fn record(state_dir: &Path, user: &str, uid: &str) -> LedgerFile {
        let mailbox = MailboxId {
            name: None,
            address: Address::new(user, "example.org", 995),
            account: user.to_owned(),
        };
        let file = LedgerFile::new(state_dir, &mailbox);
        let mut ledger = Ledger::open(&file, Some(&mailbox), "host").unwrap();
        let listed = list(uid);
        let known = ledger.reader().known_messages().unwrap();
        let mut reconciled = reconcile(&listed, &known);
        ledger
            .admit(&mut reconciled, &listed, None, Timestamp(0))
            .unwrap();
        file
    }

    fn find(state_dir: &Path, (uid, account): (&str, &str), undisturbed: Instant) -> Vec<String> {
        let found = candidates(state_dir, &list(uid), account, undisturbed).unwrap();
        found.iter().map(|mailbox| mailbox.title()).collect()
    }

    #[test]
    fn mailboxes_with_a_listed_uid_or_of_the_account_are_candidates() {
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        assert!(find(dir.path(), ("a1", "new"), start).is_empty());
        record(dir.path(), "ann", "a1");
        record(dir.path(), "bob", "b1");
        let now = Instant::now();
        assert_eq!(
            find(dir.path(), ("b1", "new"), now),
            ["bob@example.org:995"]
        );
        assert_eq!(
            find(dir.path(), ("c1", "ann"), now),
            ["ann@example.org:995"]
        );
        assert!(find(dir.path(), ("c1", "new"), now).is_empty());
    }

    #[test]
    fn uids_of_this_process_are_known_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        assert!(find(dir.path(), ("a1", "new"), start).is_empty());
        record(dir.path(), "ann", "a1");
        assert_eq!(
            find(dir.path(), ("a1", "new"), start),
            ["ann@example.org:995"]
        );
    }

    #[test]
    fn uids_of_another_process_are_known_after_it_had_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let file = record(dir.path(), "ann", "a1");
        let start = Instant::now();
        assert!(find(dir.path(), ("a2", "new"), start).is_empty());
        connect(&file.path())
            .unwrap()
            .execute("UPDATE message SET uid = CAST('a2' AS BLOB)", [])
            .unwrap();
        let now = Instant::now();
        assert_eq!(
            find(dir.path(), ("a2", "new"), now),
            ["ann@example.org:995"]
        );
    }
}
