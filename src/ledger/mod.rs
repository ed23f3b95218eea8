//! What pouch remembers: which messages it has seen, which are safe on disk, which failed.
//!
//! The ledger is one SQLite file, `ledger.db`, for all accounts.
//!
//! # Life of a message
//! ```text
//!  listed            whole and durable                 DELE + QUIT +OK, or long no longer listed
//!  ──────▶ new ───────────────────────────▶ delivered ─────────────────────────────▶ gone
//!          │ ▲                                ▲
//!          │ └─ failed (attempts, reason) ────┤  heals: delivered once
//!          │         └─ last attempt ─▶ quarantined (tried again after 1, 2, 4 … 32 days)
//!          ├─ delivering: handed to a program or an LMTP server, answer not yet known
//!          └─ skipped: by a rule, a filter or `ledger catchup`; neither fetched nor deleted
//! ```
//!
//! # Durability
//! WAL with `synchronous = FULL`: a commit is on the disk when it returns. One commit a batch of
//! delivered messages, and no log of intents: the name of a delivered file is a function of its
//! row, so after a crash a `new` row whose file lies in the Maildir is a delivered one. Only what
//! the file does not show, that it is shorter than it should be, is noted before it is shown. A run
//! is marked as open before its first delivery, and one that was left open asks for that look. What
//! a power cut may take back (when a run began and ended) waits for no disk. Where the disk may be
//! another machine's, a rollback journal takes the place of the WAL.
//!
//! # Locking
//! The account's [lock](crate::sys::lock) keeps other pouches off its rows; SQLite's own lock orders
//! the writes of several accounts. `ledger.lock` is held while the database is opened.
//!
//! # Compatibility
//! `user_version` counts the steps of the tables; a ledger from a newer pouch is refused.

mod admin;
mod deletions;
mod deliveries;
mod doubt;
mod filesystem;
mod handover;
mod maildirs;
mod reconcile;
mod reporting;
mod runs;
mod schema;

use std::{
    ffi::c_int,
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, backup::Backup, ffi, params};
use rustix::{
    fs::{FlockOperation, flock},
    io::{Errno, retry_on_intr},
};

pub use admin::{RetryOutcome, Row, State};
pub use deletions::Proof;
pub use deliveries::{Arrival, Failed, NextCopy, Recovered};
pub use doubt::Recognized;
pub use filesystem::shared;
pub use maildirs::{DeliveredLocations, MaildirState};
pub use reconcile::{Doubt, KnownMessages, Reconciled, Sign};
pub use runs::{PastRun, Run};

use crate::{
    domain::{
        ids::{AccountId, RowId},
        time::Timestamp,
    },
    error::{Error, Kind, Result},
    sys::files,
};

/// How long a message may be missing from the listing before it is taken to be gone. Gmail shows
/// some 250 messages a session, and servers have bad days.
const GRACE_DAYS: u64 = 30;

/// The ledger of one account.
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
    account: i64,
    id: String,
    host: String,
    /// That the run under way is marked as open, and whether as one that asks ahead.
    opened: Option<bool>,
    /// The Maildirs that the account has now.
    maildirs: Option<i64>,
}

/// What a ledger is told that is made now.
#[derive(Clone, Debug)]
pub struct NewLedger {
    /// This machine's name.
    pub host: String,
}

impl Ledger {
    /// Opens the ledger in `state_dir` for `account`; makes both where they are missing.
    ///
    /// # Errors
    /// It cannot be made or read, or a newer pouch wrote it.
    pub fn open(state_dir: &Path, account: &AccountId, birth: &NewLedger) -> Result<Self> {
        let path = state_dir.join("ledger.db");
        files::create_dir_durable(state_dir)?;
        let _one_at_a_time = opening(state_dir)?;
        if !path.exists() {
            // SQLite would make it readable by others. Only a new one is opened here: closing a
            // file takes SQLite's locks on it away from the whole process.
            private_file(&path)?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(&path, flags).and_then(|mut connection| {
            connection.busy_timeout(Duration::from_secs(30))?;
            connection.pragma_update(None, "journal_mode", filesystem::journal(state_dir))?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            schema::migrate(&mut connection).map(|migrated| (connection, migrated))
        });
        let (connection, migrated) = opened.map_err(|error| explained(&path, &error))?;
        if let Err(version) = migrated {
            return Err(Error::new(
                Kind::State,
                format!("a newer pouch wrote the ledger {}", path.display()),
            )
            .with_fact(format!(
                "its version is {version}, this pouch knows {}",
                schema::VERSION
            ))
            .with_hint("use that newer pouch, or give this one a `--state-dir` of its own"));
        }
        let told = |error: rusqlite::Error| explained(&path, &error);
        let (id, host, number) =
            if let Some(known) = identity(&connection, account).map_err(told)? {
                known
            } else {
                // before anything stands in it: who made the file may have been killed before it
                // was safe
                files::sync_dir_and_parent(state_dir)?;
                identify(&connection, account, birth).map_err(told)?
            };
        Ok(Self {
            connection,
            path,
            account: number,
            id,
            host,
            opened: None,
            maildirs: None,
        })
    }

    /// A copy for a dry run: what becomes of it changes nothing. It lies in memory, or where it is
    /// large in a temporary file of SQLite's (`SQLITE_TMPDIR`, `/var/tmp` or `/tmp`).
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn copy(&self) -> Result<Self> {
        let copied = || {
            let mut connection = Connection::open("")?;
            Backup::new(&self.connection, &mut connection)?.run_to_completion(
                c_int::MAX,
                Duration::ZERO,
                None,
            )?;
            Ok(connection)
        };
        let connection = copied().map_err(|error| self.explained(&error))?;
        Ok(Self {
            connection,
            path: self.path.clone(),
            account: self.account,
            id: self.id.clone(),
            host: self.host.clone(),
            opened: None,
            maildirs: self.maildirs,
        })
    }

    /// The file name for a delivered copy of a message, without Maildir flags.
    fn name(&self, row: RowId, first_seen: Timestamp, copy: u32) -> String {
        let copy = if copy == 0 {
            String::new()
        } else {
            format!("-{copy}")
        };
        format!("{}.R{row}{copy}L{}.{}", first_seen.0, self.id, self.host)
    }

    /// The file name for the notice of a message that failed so often, without Maildir flags.
    pub fn notice_name(&self, row: RowId, attempts: u32, now: Timestamp) -> String {
        format!("{}.N{row}-{attempts}L{}.{}", now.0, self.id, self.host)
    }

    /// Whether a file has the name of a message of this account, or of a notice of one: another
    /// account that delivers to the same place may be at work there. What cannot be told is not.
    pub fn named(&self, name: &str) -> bool {
        let row = self
            .row_of(name)
            .map(|(row, _)| row)
            .or_else(|| self.notice_of(name).map(|(row, ..)| row));
        row.is_some_and(|row| {
            self.connection
                .prepare_cached("SELECT 1 FROM message WHERE account = ? AND id = ?")
                .and_then(|mut select| select.exists(params![self.account, row.0]))
                .unwrap_or(false)
        })
    }

    /// Of which message a file with this name is the notice, how often that had failed, and when
    /// the notice was written; nothing where this ledger did not give it.
    fn notice_of(&self, name: &str) -> Option<(RowId, u32, Timestamp)> {
        let mut parts = name.split('.');
        let (at, unique) = (parts.next()?, parts.next()?.strip_prefix('N')?);
        let (message, id) = unique.split_once('L')?;
        (id == self.id).then_some(())?;
        let (row, attempts) = message.split_once('-')?;
        Some((
            RowId(row.parse().ok()?),
            attempts.parse().ok()?,
            Timestamp(at.parse().ok()?),
        ))
    }

    /// The row and copy that a file name stands for; nothing where this ledger did not give it.
    pub fn row_of(&self, name: &str) -> Option<(RowId, u32)> {
        let unique = name.split('.').nth(1)?.strip_prefix('R')?;
        let (row, id) = unique.split_once('L')?;
        // Dovecot adds ,S= and ,W= behind the host, mail programs their flags
        (id == self.id).then_some(())?;
        let (row, _) = row.split_once('P').unwrap_or((row, ""));
        let (row, copy) = row.split_once('-').unwrap_or((row, "0"));
        Some((RowId(row.parse().ok()?), copy.parse().ok()?))
    }

    /// The file name of a message that goes to so many places, made of its name: whoever finds it
    /// in one of them knows that there are others.
    pub fn name_in_several(name: &str, places: usize) -> String {
        match name.split_once('L') {
            Some((row, rest)) if places > 1 => format!("{row}P{places}L{rest}"),
            _ => name.to_owned(),
        }
    }

    /// In how many places the message is to lie that has this file name.
    pub fn places_of(name: &str) -> usize {
        let several = name
            .split_once('L')
            .and_then(|(row, _)| row.split_once('P'));
        several
            .and_then(|(_, places)| places.parse().ok())
            .unwrap_or(1)
    }

    fn explained(&self, error: &rusqlite::Error) -> Error {
        explained(&self.path, error)
    }

    /// Runs `work`, which only reads, in one transaction: SQLite takes its locks once, not for each
    /// row.
    fn read<T>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        self.connection
            .unchecked_transaction()
            .and_then(|transaction| work(&transaction))
            .map_err(|error| self.explained(&error))
    }

    /// Runs `work` in one transaction, which a power cut may take back.
    fn write_relaxed<T>(
        &mut self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        self.synchronous("NORMAL")?;
        let done = self.transact(work);
        self.synchronous("FULL")?;
        done
    }

    fn synchronous(&self, how: &str) -> Result<()> {
        self.connection
            .pragma_update(None, "synchronous", how)
            .map_err(|error| self.explained(&error))
    }

    /// Runs `work` in one transaction, which is durable when this returns.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let result = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .and_then(|transaction| {
                let done = work(&transaction)?;
                transaction.commit()?;
                Ok(done)
            });
        result.map_err(|error| explained(&self.path, &error))
    }
}

/// Keeps others from opening the ledger at the same time: SQLite does not wait for its turn when a
/// new database changes to WAL.
fn opening(state_dir: &Path) -> Result<fs::File> {
    let path = state_dir.join("ledger.lock");
    let file = private_file(&path)?;
    retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
        .map_err(|error| Error::file("lock", &path, &error.into()))?;
    Ok(file)
}

fn private_file(path: &Path) -> Result<fs::File> {
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Error::file("open the ledger", path, &error))
}

/// The ledger's own id and host, and the account's number.
type Names = (String, String, i64);

/// The names that the ledger has for itself and the account; nothing where it has none yet.
fn identity(connection: &Connection, account: &AccountId) -> rusqlite::Result<Option<Names>> {
    connection
        .query_row(
            "SELECT ledger.id, ledger.host, account.id FROM ledger, account WHERE account.user = ? AND account.host = ?",
            [&account.user, &account.host],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()
}

/// Gives the ledger and the account their names, where they have none, and tells them.
fn identify(
    connection: &Connection,
    account: &AccountId,
    birth: &NewLedger,
) -> rusqlite::Result<Names> {
    connection.execute(
        "INSERT INTO ledger SELECT lower(hex(randomblob(6))), ? WHERE NOT EXISTS (SELECT 1 FROM ledger)",
        [&birth.host],
    )?;
    connection.execute(
        "INSERT INTO account (user, host) VALUES (?, ?) ON CONFLICT DO NOTHING",
        [&account.user, &account.host],
    )?;
    identity(connection, account)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

fn is_extended(error: &rusqlite::Error, code: i32) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == code)
}

/// What SQLite's errors mean to a person.
fn explained(path: &Path, error: &rusqlite::Error) -> Error {
    let system = io::Error::last_os_error();
    let shown = path.display();
    let (kind, what) = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            (Kind::State, format!("the ledger {shown} cannot be read"))
        }
        // SQLite has no word for it, and takes a file that it cannot open for writing to be
        // read-only
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) if too_many_files(&system) => {
            return Error::file("open the ledger", path, &system);
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => (
            Kind::CannotCreate,
            format!("the ledger {shown} cannot be opened for writing"),
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            Kind::Busy,
            format!("another program holds the ledger {shown}"),
        ),
        Some(ErrorCode::DiskFull) => (Kind::Io, format!("no room for the ledger {shown}")),
        // the file that SQLite shares memory by is made as large as it will get
        Some(ErrorCode::SystemIoFailure) if is_extended(error, ffi::SQLITE_IOERR_SHMSIZE) => {
            (Kind::Io, format!("no room for the ledger {shown}"))
        }
        // a lock that fails, though nobody has it, says nothing of the ledger
        Some(ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed) => (
            Kind::Io,
            format!("the disk failed under the ledger {shown}"),
        ),
        _ => (
            Kind::State,
            format!("the ledger {shown} does not do what it should"),
        ),
    };
    let told = Error::new(kind, what).with_fact(error.to_string());
    match kind {
        Kind::State => told.with_hint(PUT_ASIDE),
        Kind::Io => told
            .with_hint("nothing is lost: messages stay on the server until the ledger knows them"),
        _ => told,
    }
}

/// What to do about a ledger that cannot be read, and what that costs. What the disk does not give,
/// SQLite calls malformed, as it does what is.
pub const PUT_ASIDE: &str = "see whether the disk is well, and try again; if the ledger stays unreadable, put `ledger.db*` \
                             aside: a new one is made, and what is still on the server is fetched again";

/// Whether the process has no file left to open, or the system.
fn too_many_files(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
