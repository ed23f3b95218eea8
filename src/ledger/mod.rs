//! The ledger: a record of every message that pouch has seen on a server, and of what happened to
//! it.
//!
//! # One file per mailbox
//! The ledger of a mailbox is one SQLite file in `mailboxes/` of the state directory. Its name
//! shows the address under which the mailbox was first seen; what counts are the addresses and the
//! name that it contains, since a mailbox may have [several](crate::domain::identity)
//! ([`mailboxes`] finds its ledger). The alternative, one database for all accounts, would
//! serialize the commits of accounts that are fetched in parallel, since SQLite has one writer per
//! database. A damaged file would also affect every account, and ledger numbers would have gaps. A
//! file per mailbox can be copied, restored and deleted on its own, and its messages are numbered
//! from 1.
//!
//! SQLite instead of a text file of UIDs, because a batch must be recorded atomically and durably
//! without rewriting a file of 100,000 entries.
//!
//! # Life of a message
//! ```text
//!  listed            complete and durable              DELE + QUIT +OK, or missing for 30 days
//!  ──────▶ new ───────────────────────────▶ delivered ─────────────────────────────▶ gone
//!          │ ▲                                ▲
//!          │ └─ failed (attempts, reason) ────┤  a later attempt succeeds
//!          │         └─ last attempt ─▶ quarantined (retried after 1, 2, 4 … 32 days)
//!          ├─ delivering: handed to a program or an LMTP server, result unknown
//!          └─ skipped: by a rule, a filter or `ledger catchup`; neither fetched nor deleted
//! ```
//! A message that another program has fetched is delivered when it is [imported](Ledger::import),
//! or [adopted](Ledger::adopt) with its file.
//!
//! # Reading and writing
//! A [`Reader`] opens the database read-only. It is all that `pouch plan`, `status` and `ledger
//! list` get, so these commands cannot change anything. A [`Ledger`] also writes.
//!
//! # Durability
//! The database is in WAL mode with `synchronous = FULL`, so a commit is on stable storage when it
//! returns. Each batch of delivered messages costs one commit. A log of intents before the delivery
//! is not needed, because the name of a delivered file is a function of its row (see
//! [`file_name`](crate::domain::file_name)): after a crash, a `new` row whose file exists has been
//! delivered. The one fact that the file does not show, that the message is truncated, is recorded
//! before the file gets its name.
//!
//! A run is marked as unsettled before its first delivery. If it is interrupted, the mark remains,
//! and the next run searches for such files. Data that may be lost in a power failure (when a run
//! began and ended) is written without waiting for the disk.
//!
//! On a file system that several machines may share, a rollback journal replaces the WAL.
//!
//! # Locking
//! The [lock](crate::sys::lock) of the mailbox excludes other writers, with one exception: a
//! process that fails to get the lock records this problem. SQLite's own locks serialize these
//! writes.

mod admin;
mod adopt;
mod alert;
mod attempts;
pub mod candidates;
pub mod copies;
mod deletions;
mod deliveries;
mod error;
mod filesystem;
mod handover;
mod identity;
mod import;
mod known;
mod login;
mod machines;
pub mod mailboxes;
mod maildirs;
mod reporting;
mod rows;
mod runs;
mod schema;
mod snapshot;
mod totals;
mod volume;

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

pub use admin::RetryOutcome;
pub use adopt::{AdoptCounts, Adopted, AdoptedFiles, hash_name};
pub use attempts::Failed;
pub use deletions::Proof;
pub use deliveries::{Arrival, ExpectedSize, NextCopy, Recovered, RecoveredNotice};
pub use error::REPLACE_HINT;
pub use filesystem::{shared, volatile};
pub use identity::Recognized;
pub use import::{Import, Recorded, SeenIndex};
pub use machines::{Machine, OtherMachine};
pub use mailboxes::LedgerFile;
pub use maildirs::{DeliveredLocations, MaildirState, SeenMaildir};
pub use reporting::Problem;
pub use rows::{Row, RowFilter, RowRange, State, no_such_message};
pub use runs::{MAX_RUNS, PastRun, Run, RunEnd, Success};
pub use totals::{History, Totals};
pub use volume::{DeliveredRow, Volume};

use crate::{
    domain::{
        file_name::{LedgerName, MessageFileName, NoticeFileName},
        ids::{Address, MailboxId},
    },
    error::{Error, Kind, Result},
    sys::{files, owner},
};

/// Days after which a message that is missing from the listing is considered gone.
///
/// Gmail lists only about 250 messages per session, and other servers temporarily omit messages.
const GRACE_DAYS: u64 = 30;

/// Time for which SQLite waits for a lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// The ledger of a mailbox, opened read-only.
pub struct Reader {
    connection: Connection,
    path: PathBuf,
    name: LedgerName,
    /// The number of the present address of the mailbox. `None` if it is new.
    address: Option<i64>,
}

/// The ledger of a mailbox, opened for reading and writing.
pub struct Ledger {
    reader: Reader,
    /// Whether the current run is marked as unsettled.
    unsettled: bool,
    /// The set of Maildirs that the account has now. `None` if it has none.
    maildir_set: Option<i64>,
}

impl Reader {
    /// Opens the ledger in `file`, whose mailbox has this `address` now. Returns `None` if there is
    /// none yet.
    ///
    /// # Errors
    /// It cannot be read, or another version of pouch wrote it.
    pub fn open(file: &LedgerFile, address: &Address) -> Result<Option<Self>> {
        let path = file.path();
        if !path.exists() {
            return Ok(None);
        }
        check_file(&path)?;
        let connection = connect_read_only(&path)?;
        let read = || {
            let version = schema::version(&connection)?;
            let name = if version == schema::VERSION {
                match ledger_name(&connection)? {
                    Some(name) => Some((name, mailboxes::number(&connection, address)?)),
                    None => None,
                }
            } else {
                None
            };
            Ok((version, name))
        };
        match read().map_err(|error| error::explain(&path, &error))? {
            // Another process is creating it.
            (0, _) | (schema::VERSION, None) => Ok(None),
            (schema::VERSION, Some((name, address))) => Ok(Some(Self {
                connection,
                path,
                name,
                address,
            })),
            (version, _) => Err(foreign_version(&path, version)),
        }
    }

    /// Parses the name of a delivered file. Returns `None` if the name is not from this ledger.
    pub fn message_named(&self, name: &str) -> Option<MessageFileName> {
        name.parse()
            .ok()
            .filter(|name: &MessageFileName| name.origin.id == self.name.id)
    }

    /// Parses the name of a delivered notice. Returns `None` if the name is not from this ledger.
    pub fn notice_named(&self, name: &str) -> Option<NoticeFileName> {
        name.parse()
            .ok()
            .filter(|name: &NoticeFileName| name.origin.id == self.name.id)
    }

    /// Returns the name of the ledger, which is part of the names of all files that it delivers.
    pub fn name(&self) -> &LedgerName {
        &self.name
    }

    fn explain(&self, error: &rusqlite::Error) -> Error {
        error::explain(&self.path, error)
    }

    /// Runs `work` in one transaction, so that SQLite locks the database once instead of per row.
    fn read<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        self.connection
            .unchecked_transaction()
            .and_then(|transaction| work(&transaction))
            .map_err(|error| self.explain(&error))
    }
}

impl Ledger {
    /// Opens the ledger in `file`, and creates it and its directory if they do not exist.
    ///
    /// If `mailbox` is given, its name and address are recorded, and no other ledger has the
    /// address from then on. Commands that do not connect pass `None`, since they have no evidence
    /// of which mailbox the address leads to.
    ///
    /// `hostname` becomes part of the file names of a new ledger.
    ///
    /// # Errors
    /// It cannot be created or read, or another version of pouch wrote it.
    pub fn open(file: &LedgerFile, mailbox: Option<&MailboxId>, hostname: &str) -> Result<Self> {
        let path = file.path();
        let dir = file.dir();
        files::create_dir_durable(dir)?;
        check_file(&path)?;
        let is_new = !path.exists();
        if is_new {
            // SQLite would create it with the default permissions. An existing file is not opened
            // here, because closing it would release SQLite's POSIX locks in this process.
            create_private(&path)?;
        }
        let opened = connect(&path).and_then(|mut connection| {
            let version = schema::create(&mut connection)?;
            Ok((connection, version))
        });
        let (connection, version) = opened.map_err(|error| error::explain(&path, &error))?;
        if version != schema::VERSION {
            return Err(foreign_version(&path, version));
        }
        let explain = |error: rusqlite::Error| error::explain(&path, &error);
        let name = if let Some(name) = ledger_name(&connection).map_err(explain)? {
            name
        } else {
            // The file has no content yet. A process that created it may have been killed before
            // the directory entry was durable.
            files::sync_dir_and_parent(dir)?;
            create_mailbox(&connection, hostname).map_err(explain)?
        };
        let mut address = None;
        if let Some(mailbox) = mailbox {
            let known = mailboxes::number(&connection, &mailbox.address).map_err(explain)?;
            if known.is_none() {
                // first, since an address that is in no ledger is only compared again
                mailboxes::release(file, mailbox, is_new)?;
            }
            address = Some(mailboxes::record(&connection, mailbox).map_err(explain)?);
        }
        Ok(Self {
            reader: Reader {
                connection,
                path,
                name,
                address,
            },
            unsettled: false,
            maildir_set: None,
        })
    }

    /// Returns the ledger for reading only.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    fn explain(&self, error: &rusqlite::Error) -> Error {
        self.reader.explain(error)
    }

    /// Runs `work` in one transaction, which is durable on return.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let written = self
            .reader
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .and_then(|transaction| {
                let done = work(&transaction)?;
                transaction.commit()?;
                Ok(done)
            });
        written.map_err(|error| self.explain(&error))
    }

    /// Runs `work` in one transaction, which a power failure may undo.
    fn write_relaxed<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        self.set_synchronous("NORMAL")?;
        let done = self.write(work);
        self.set_synchronous("FULL")?;
        done
    }

    fn set_synchronous(&self, mode: &str) -> Result<()> {
        self.reader
            .connection
            .pragma_update(None, "synchronous", mode)
            .map_err(|error| self.explain(&error))
    }
}

/// Fails if there is something other than a file at the path of a ledger, since SQLite would wait
/// for the other end of a FIFO; or a link of another user.
fn check_file(path: &Path) -> Result<()> {
    owner::check_link(path)?;
    files::check_regular(path).map_err(|error| Error::file("open the ledger", path, &error))
}

/// Opens the database for writing, in the journal mode that its file system allows.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", filesystem::journal(path))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    keep_temporary_files_in_memory(&connection)?;
    Ok(connection)
}

/// Opens the database read-only.
///
/// In a read-only directory, SQLite cannot create the shared memory file of the WAL. The database
/// is then opened as immutable, without locks.
///
/// # Errors
/// It cannot be opened or read.
fn connect_read_only(path: &Path) -> Result<Connection> {
    let explain = |error: rusqlite::Error| error::explain(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(explain)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(explain)?;
    keep_temporary_files_in_memory(&connection).map_err(explain)?;
    match schema::version(&connection) {
        Ok(_) => return Ok(connection),
        // explained while the connection is open: closing it overwrites the error of the system
        Err(error) if error::too_many_files(&io::Error::last_os_error()) => {
            return Err(explain(error));
        }
        Err(_) => {}
    }
    let uri = format!("file:{}?immutable=1", percent_encoded(path));
    let connection =
        Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI).map_err(explain)?;
    keep_temporary_files_in_memory(&connection).map_err(explain)?;
    Ok(connection)
}

/// Keeps SQLite from writing to `/var/tmp`, which the sandbox of a run does not allow.
fn keep_temporary_files_in_memory(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// Returns a path with the characters percent-encoded that have a meaning in a URI.
fn percent_encoded(path: &Path) -> String {
    let octets = path.as_os_str().as_encoded_bytes();
    octets.iter().fold(String::new(), |mut uri, octet| {
        match octet {
            b'/' | b'.' | b'-' | b'_' | b'~' => uri.push(char::from(*octet)),
            octet if octet.is_ascii_alphanumeric() => uri.push(char::from(*octet)),
            octet => uri.push_str(&format!("%{octet:02X}")),
        }
        uri
    })
}

fn create_private(path: &Path) -> Result<()> {
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|error| Error::file("create the ledger", path, &error))
}

fn ledger_name(connection: &Connection) -> rusqlite::Result<Option<LedgerName>> {
    connection
        .query_row("SELECT ledger_id, hostname FROM mailbox", [], |row| {
            Ok(LedgerName {
                id: row.get(0)?,
                hostname: row.get(1)?,
            })
        })
        .optional()
}

fn create_mailbox(connection: &Connection, hostname: &str) -> rusqlite::Result<LedgerName> {
    connection.execute(
        "INSERT INTO mailbox (ledger_id, hostname)
         SELECT lower(hex(randomblob(6))), ? WHERE NOT EXISTS (SELECT 1 FROM mailbox)",
        [hostname],
    )?;
    ledger_name(connection)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

fn foreign_version(path: &Path, version: u32) -> Error {
    Error::new(
        Kind::State,
        format!(
            "the ledger {} was written by another version of pouch",
            path.display()
        ),
    )
    .with_fact(format!(
        "it has schema version {version}; this pouch supports version {}",
        schema::VERSION
    ))
    .with_hint("use that version of pouch, or choose another directory with `--state-dir`")
}

/// Converts a size in bytes to the signed integer of SQLite.
fn size(octets: u64) -> i64 {
    i64::try_from(octets).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_files_are_kept_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        create_private(&path).unwrap();
        let place = |connection: Connection| -> i64 {
            connection
                .pragma_query_value(None, "temp_store", |row| row.get(0))
                .unwrap()
        };
        // 2 is MEMORY
        assert_eq!(place(connect(&path).unwrap()), 2);
        assert_eq!(place(connect_read_only(&path).unwrap()), 2);
    }
}
