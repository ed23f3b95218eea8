//! Copies of ledgers: backing up and restoring.
//!
//! A copy is made by SQLite (`VACUUM INTO`), in one read transaction: it is consistent while a run
//! writes to the ledger. Copying the files was rejected, because the latest commits are in the WAL.
//!
//! A restored copy replaces the ledger by a rename, after the WAL of the old ledger was written
//! back. So there is one complete ledger at any time, and never the WAL of another one. The old
//! ledger is kept under a second name.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension, params};
use rustix::io::Errno;

use super::{
    LedgerFile, Machine, check_file, connect, connect_read_only, error, foreign_version, schema,
};
use crate::{
    domain::{
        ids::{Address, MailboxId, RowId},
        time::Timestamp,
    },
    error::{Error, Kind, Result},
    sys::files,
};

/// A summary of a ledger file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The unique ID of the ledger, which is part of the names of its files.
    pub id: String,
    /// The name that the user gave the mailbox.
    pub name: Option<String>,
    /// The addresses of the mailbox, the present one first, each with the name of an account.
    pub addresses: Vec<(Address, String)>,
    /// The number of messages.
    pub messages: u64,
    /// The highest number of a message so far.
    pub last_message: RowId,
    /// The time of the last run.
    pub last_run: Option<Timestamp>,
    /// The machine of the last run.
    pub machine: Option<Machine>,
    /// When it was exported to another machine.
    pub exported_at: Option<Timestamp>,
    /// The Maildirs to which its messages were delivered.
    pub maildirs: Vec<PathBuf>,
}

impl Contents {
    /// Reads the ledger at `path`.
    ///
    /// # Errors
    /// It cannot be read, another version of pouch wrote it, or it belongs to no mailbox.
    pub fn read(path: &Path) -> Result<Self> {
        check_file(path)?;
        if !path.exists() {
            let error = io::Error::from(Errno::NOENT);
            return Err(Error::file("open the ledger", path, &error));
        }
        let ledger = connect_read_only(path)?;
        let explain = |error: rusqlite::Error| error::explain(path, &error);
        let version = schema::version(&ledger).map_err(explain)?;
        if version != schema::VERSION && version != 0 {
            return Err(foreign_version(path, version));
        }
        let contents = if version == 0 {
            None
        } else {
            read(&ledger).optional().map_err(explain)?
        };
        contents.ok_or_else(|| {
            let what = format!("{} is not a ledger", path.display());
            Error::new(Kind::State, what).with_fact("it has no mailbox")
        })
    }

    /// Reads the ledger at `path`, and checks the whole file.
    ///
    /// # Errors
    /// As for [`read`](Self::read), or the file is damaged.
    pub fn verify(path: &Path) -> Result<Self> {
        let contents = Self::read(path)?;
        let answer = connect_read_only(path)?
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(|error| error::explain(path, &error))?;
        let answer: String = answer;
        if answer == "ok" {
            return Ok(contents);
        }
        let what = format!("the ledger {} is damaged", path.display());
        Err(Error::new(Kind::State, what)
            .with_fact(answer)
            .with_hint("use another backup"))
    }

    /// Returns the name of the mailbox, or else its address.
    pub fn title(&self) -> String {
        let address = || {
            self.addresses
                .first()
                .map(|(address, _)| address.to_string())
        };
        self.name.clone().or_else(address).unwrap_or_default()
    }

    /// Returns the file of a new ledger with these contents.
    pub fn file(&self, state_dir: &Path) -> LedgerFile {
        let (address, account) = self.addresses.first().cloned().unwrap_or_else(|| {
            let none = Address::new(String::new(), "", 0);
            (none, String::new())
        });
        let mailbox = MailboxId {
            name: self.name.clone(),
            address,
            account,
        };
        LedgerFile::new(state_dir, &mailbox)
    }
}

fn read(ledger: &Connection) -> rusqlite::Result<Contents> {
    let time = |at: Option<i64>| at.map(Timestamp);
    let addresses = ledger
        .prepare("SELECT user, host, port, account FROM address ORDER BY last_used DESC")?
        .query_map([], |row| {
            let (user, host): (String, String) = (row.get(0)?, row.get(1)?);
            Ok((Address::new(user, &host, row.get(2)?), row.get(3)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let maildirs = ledger
        .prepare("SELECT DISTINCT substr(name, 9) FROM maildir WHERE name LIKE 'maildir:%'")?
        .query_map([], |row| Ok(PathBuf::from(row.get::<_, String>(0)?)))?
        .collect::<rusqlite::Result<_>>()?;
    ledger.query_row(
        "SELECT ledger_id, name, (SELECT count(*) FROM message),
             (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'message'),
             (SELECT max(started) FROM run), machine, machine_name, exported_at
         FROM mailbox",
        [],
        |row| {
            let machine: Option<String> = row.get(5)?;
            let name: Option<String> = row.get(6)?;
            Ok(Contents {
                id: row.get(0)?,
                name: row.get(1)?,
                addresses,
                messages: row.get(2)?,
                last_message: RowId(row.get(3)?),
                last_run: time(row.get(4)?),
                machine: machine.map(|id| Machine {
                    id: Some(id),
                    name: name.unwrap_or_default(),
                }),
                exported_at: time(row.get(7)?),
                maildirs,
            })
        },
    )
}

/// Writes a copy of the ledger `from` to `to`, an empty file, and syncs it.
///
/// # Errors
/// The ledger cannot be read, or the copy cannot be written.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let ledger = connect_read_only(from)?;
    let target = to.to_string_lossy();
    ledger
        .execute("VACUUM INTO ?", [target.as_ref()])
        .map_err(|error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                error::explain(from, &error)
            }
            _ => error::explain(to, &error),
        })?;
    // SQLite does not sync the target
    File::open(to)
        .and_then(|file| file.sync_all())
        .map_err(|error| Error::file("sync", to, &error))
}

/// The data to record in a copy that becomes a ledger of this machine.
#[derive(Clone, Debug)]
pub struct Restoration<'a> {
    /// This machine.
    pub machine: &'a Machine,
    /// The time.
    pub now: Timestamp,
    /// The highest number of a message whose file exists. Its number is not used again.
    pub last_message: RowId,
    /// Whether messages may have been delivered after the copy was made.
    pub is_old: bool,
}

/// Makes the copy at `copy` the ledger `file`, and removes `copy`. Returns the new path of the
/// ledger that it replaces.
///
/// # Errors
/// The copy or the ledger cannot be written.
pub fn install(
    file: &LedgerFile,
    copy: &Path,
    restoration: &Restoration<'_>,
) -> Result<Option<PathBuf>> {
    prepare(copy, restoration).map_err(|error| error::explain(copy, &error))?;
    File::open(copy)
        .and_then(|file| file.sync_all())
        .map_err(|error| Error::file("sync", copy, &error))?;
    let path = file.path();
    let old = match path.symlink_metadata() {
        Ok(_) => Some(set_aside(&path, restoration.now)?),
        Err(_) => None,
    };
    fs::rename(copy, &path).map_err(|error| Error::file("write the ledger", &path, &error))?;
    files::sync_dir_and_parent(file.dir())?;
    Ok(old)
}

/// Records in a copy that it is a ledger of this machine.
fn prepare(copy: &Path, restoration: &Restoration<'_>) -> rusqlite::Result<()> {
    let ledger = Connection::open(copy)?;
    ledger.pragma_update(None, "journal_mode", "DELETE")?;
    let machine = restoration.machine;
    ledger.execute(
        "UPDATE mailbox SET exported_at = NULL, restored_at = ?, machine = ?, machine_name = ?",
        params![
            restoration.is_old.then_some(restoration.now.0),
            machine.id,
            machine.name
        ],
    )?;
    ledger.execute(
        "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'message'",
        [restoration.last_message.0],
    )?;
    ledger.close().map_err(|(_, error)| error)
}

/// Links the ledger at `path` to a second name, under which it is kept. Its WAL is written back or,
/// if it is damaged, kept under that name.
fn set_aside(path: &Path, now: Timestamp) -> Result<PathBuf> {
    let name = |at: i64| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".replaced-{at}"));
        PathBuf::from(name)
    };
    let mut at = now.0;
    while name(at).symlink_metadata().is_ok() {
        at += 1;
    }
    let old = name(at);
    let written_back = connect(path).and_then(|ledger| {
        ledger.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
    });
    let written_back = written_back.is_ok_and(|busy: i64| busy == 0);
    let with = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    for suffix in ["-wal", "-shm", "-journal"] {
        let (from, to) = (with(path, suffix), with(&old, suffix));
        let moved = if written_back {
            files::remove(&from)
        } else {
            fs::rename(&from, &to)
        };
        match moved {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::file("move", &from, &error));
            }
            _ => {}
        }
    }
    fs::hard_link(path, &old)
        .or_else(|_| fs::copy(path, &old).map(drop))
        .map_err(|error| Error::file("create", &old, &error))?;
    Ok(old)
}
