//! Finding the ledger of a mailbox.
//!
//! A ledger contains the addresses under which its mailbox was seen, and the name that the user
//! gave the mailbox, if any. An address is in one ledger only. Which mailbox a new address leads to
//! is decided when its messages are known, see [`identity`](crate::domain::identity).
//!
//! A new ledger is named after the name or the address of its mailbox, so that most ledgers are
//! found without opening others. An index of all ledgers was rejected: it would have to agree with
//! the files, which users copy, restore and delete.

use std::{
    cell::OnceCell,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Instant,
};

use rusqlite::{Connection, OptionalExtension, Params, params};

use super::{
    Reader, check_file, connect, connect_read_only, error, foreign_version, schema,
    snapshot::{Reading, Recent, Snapshots},
};
use crate::{
    domain::ids::{Address, MailboxId},
    error::{Error, Kind, Result},
};

/// The mailboxes of a state directory, and the error of a ledger that cannot be read.
pub type Mailboxes = (Vec<Arc<KnownMailbox>>, Option<Error>);

/// The mailboxes of ledgers that have not changed since they were read.
static KNOWN: LazyLock<Snapshots<Option<Arc<KnownMailbox>>>> = LazyLock::new(Snapshots::default);

/// The mailboxes of state directories as they were a short time ago.
///
/// An address that another process has recorded since is missing. That is harmless: it is treated
/// as new, and its messages are then compared with those of all mailboxes.
static RECENT: LazyLock<Recent<Mailboxes>> = LazyLock::new(Recent::default);

/// The file of a ledger, which may not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerFile {
    dir: PathBuf,
    stem: String,
}

impl LedgerFile {
    /// Returns the file of a new ledger of `mailbox`.
    pub fn new(state_dir: &Path, mailbox: &MailboxId) -> Self {
        Self {
            dir: state_dir.join("mailboxes"),
            stem: mailbox.file_stem(),
        }
    }

    /// Returns the file at this path, or `None` if its name is not that of a ledger.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let stem = path.file_name()?.to_str()?.strip_suffix(".db")?;
        Some(Self {
            dir: path.parent()?.to_owned(),
            stem: stem.to_owned(),
        })
    }

    /// Returns its path.
    pub fn path(&self) -> PathBuf {
        self.dir.join(format!("{}.db", self.stem))
    }

    /// Returns the name of its lock, and of other files that belong to the mailbox.
    pub fn key(&self) -> &str {
        &self.stem
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Removes the ledger, and ledgers that a [restored](super::copies::install) one has replaced.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn drop_all(&self) -> Result<()> {
        let unreadable = |error: &io::Error| Error::file("read", &self.dir, error);
        let replaced = format!("{}.db.replaced-", self.stem);
        for entry in fs::read_dir(&self.dir).map_err(|error| unreadable(&error))? {
            let entry = entry.map_err(|error| unreadable(&error))?;
            if entry.file_name().to_string_lossy().starts_with(&replaced) {
                let path = entry.path();
                fs::remove_file(&path).map_err(|error| Error::file("remove", &path, &error))?;
            }
        }
        self.remove()
    }

    /// Changes the ledger, which is not the one of this run.
    fn change(&self, sql: &str, parameters: impl Params) -> Result<()> {
        let path = self.path();
        let changed = connect(&path).and_then(|ledger| ledger.execute(sql, parameters));
        changed
            .map(drop)
            .map_err(|error| error::explain(&path, &error))
    }

    /// Removes the ledger.
    ///
    /// # Errors
    /// A file cannot be removed.
    fn remove(&self) -> Result<()> {
        // the database last: SQLite would use the other files with a new database
        for suffix in ["-wal", "-shm", "-journal", ""] {
            let path = self.dir.join(format!("{}.db{suffix}", self.stem));
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::file("remove", &path, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A ledger, and what it says about its mailbox.
#[derive(Clone, Debug)]
pub struct KnownMailbox {
    /// Its file.
    pub file: LedgerFile,
    /// The name that the user gave it.
    pub name: Option<String>,
    /// Its addresses, the present one first, with the name of the account that used each.
    pub addresses: Vec<(Address, String)>,
    /// Whether no message was ever recorded in it.
    pub is_blank: bool,
}

impl KnownMailbox {
    /// Returns the name of the mailbox, or else its address, for messages and `--mailbox`.
    pub fn title(&self) -> String {
        match (&self.name, self.addresses.first()) {
            (Some(name), _) => name.clone(),
            (None, Some((address, _))) => address.to_string(),
            (None, None) => self.file.stem.clone(),
        }
    }

    fn has(&self, address: &Address) -> bool {
        self.addresses.iter().any(|(known, _)| known == address)
    }

    /// Returns whether the account with this name was the last to use it.
    pub fn was_used_by(&self, account: &str) -> bool {
        let used = self.addresses.first();
        used.is_some_and(|(_, used)| used == account)
    }

    /// Returns whether the mailbox has the address of `mailbox`. Returns `false` if both have a
    /// name.
    fn is_at(&self, mailbox: &MailboxId) -> bool {
        self.has(&mailbox.address) && (mailbox.name.is_none() || self.name.is_none())
    }

    /// Returns whether it is `mailbox`.
    fn is_of(&self, mailbox: &MailboxId) -> bool {
        let name = mailbox.name.as_ref();
        name.is_some_and(|name| self.is_called(name)) || self.is_at(mailbox)
    }

    /// Returns whether the user gave it another name than `mailbox`.
    pub fn is_not(&self, mailbox: &MailboxId) -> bool {
        let named = self.name.is_some() && mailbox.name.is_some();
        named && self.name != mailbox.name
    }

    /// Returns whether `name` is the name or an address of the mailbox.
    pub fn is_called(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
            || self
                .addresses
                .iter()
                .any(|(known, _)| known.is_written(name))
    }
}

/// Returns all ledgers in `state_dir` that can be read, by name, and the error of one that cannot.
///
/// # Errors
/// The directory cannot be read.
pub fn all(state_dir: &Path) -> Result<(Vec<KnownMailbox>, Option<Error>)> {
    let (known, failed) = shared(state_dir)?;
    Ok((
        known.into_iter().map(Arc::unwrap_or_clone).collect(),
        failed,
    ))
}

/// Returns all ledgers in `state_dir`, as [`all`]. Those that have not changed since they were read
/// are not read again.
///
/// # Errors
/// As for [`all`].
pub fn shared(state_dir: &Path) -> Result<Mailboxes> {
    let dir = state_dir.join("mailboxes");
    let unreadable = |error: &io::Error| Error::file("read", &dir, error);
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        // an error is reported when the directory is created
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok((Vec::new(), None));
        }
        Err(error) => return Err(unreadable(&error)),
    };
    let (mut found, mut failed) = (Vec::new(), None);
    for entry in entries {
        let name = entry.map_err(|error| unreadable(&error))?.file_name();
        let Some(file) = LedgerFile::at(&dir.join(name)) else {
            continue;
        };
        match read_again(file) {
            Ok(mailbox) => found.extend(mailbox),
            Err(error) => failed = Some(error),
        }
    }
    found.sort_by_cached_key(|mailbox| mailbox.title());
    Ok((found, failed))
}

/// Returns the mailbox of a ledger. The ledger is read only if it has changed since the last call.
///
/// # Errors
/// It cannot be read.
pub(super) fn read_again(file: LedgerFile) -> Result<Option<Arc<KnownMailbox>>> {
    let path = file.path();
    KNOWN.get(&path, || Ok(read(file)?.map(Arc::new)), |_| true)
}

/// Returns all ledgers in `state_dir` as they were a short time ago, but not before `since`.
///
/// # Errors
/// As for [`all`].
pub(super) fn recent(state_dir: &Path, since: Option<Instant>) -> Result<Reading<Mailboxes>> {
    RECENT.get(state_dir, since, || shared(state_dir))
}

/// Returns whether there is a ledger in `state_dir`.
pub fn exist(state_dir: &Path) -> bool {
    fs::read_dir(state_dir.join("mailboxes")).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let path = entry.path();
            path.extension().is_some_and(|extension| extension == "db")
        })
    })
}

/// Returns a file in the directory of ledgers that a program created because two machines had
/// changed a ledger (Syncthing, Dropbox, Nextcloud), or `None` if there is none.
pub fn conflicting_copy(state_dir: &Path) -> Option<PathBuf> {
    let is_copy = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        ["sync-conflict-", "conflicted copy"]
            .iter()
            .any(|word| name.contains(word))
    };
    let entries = fs::read_dir(state_dir.join("mailboxes")).ok()?;
    entries.flatten().map(|entry| entry.path()).find(is_copy)
}

/// The ledgers in a state directory, to find those of several mailboxes. All ledgers are read at
/// most once, and only if one does not have the name of a new one.
pub struct Catalog<'a> {
    state_dir: &'a Path,
    known: OnceCell<Arc<Mailboxes>>,
}

impl<'a> Catalog<'a> {
    /// Returns the catalog of the ledgers in `state_dir`.
    pub fn new(state_dir: &'a Path) -> Self {
        Self {
            state_dir,
            known: OnceCell::new(),
        }
    }

    /// Opens the ledger of `mailbox` for reading, as [`find_offline`](Self::find_offline). Returns
    /// it with its file, or `None` if there is none. Most ledgers are opened only once for that.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub fn open_offline(&self, mailbox: &MailboxId) -> Result<Option<(LedgerFile, Reader)>> {
        let own = LedgerFile::new(self.state_dir, mailbox);
        if let Some(ledger) = Reader::open(&own, &mailbox.address)?
            && (mailbox.name.is_some() || ledger.address.is_some())
        {
            return Ok(Some((own, ledger)));
        }
        let Some(file) = self.find_offline(mailbox)? else {
            return Ok(None);
        };
        let ledger = Reader::open(&file, &mailbox.address)?;
        Ok(ledger.map(|ledger| (file, ledger)))
    }

    fn known(&self) -> Result<&Mailboxes> {
        if self.known.get().is_none() {
            let recent = recent(self.state_dir, None)?;
            let _ = self.known.set(recent.value);
        }
        self.known
            .get()
            .map(Arc::as_ref)
            .ok_or_else(|| Error::new(Kind::Bug, "the ledgers were not read"))
    }

    /// Returns the ledger of `mailbox`: that of its name, or else of its address.
    ///
    /// # Errors
    /// A ledger cannot be read, or the name is not unique.
    pub fn find(&self, mailbox: &MailboxId) -> Result<Option<LedgerFile>> {
        let MailboxId { name, address, .. } = mailbox;
        // most ledgers have the name of a new one
        let own = LedgerFile::new(self.state_dir, mailbox);
        let exists = own.path().exists();
        if exists {
            // twice for each run: before and after the lock was taken
            match read_again(own.clone())? {
                Some(known) if name.is_none() && !known.has(address) => {}
                Some(_) | None => return Ok(Some(own)),
            }
        }
        match find_among(self.known()?, mailbox) {
            Ok(None) => return Ok(None),
            Ok(Some(file)) => {
                let known = read_again(file.clone())?;
                if known.is_some_and(|known| known.is_of(mailbox)) {
                    return Ok(Some(file));
                }
            }
            Err(_) => {}
        }
        find_among(&shared(self.state_dir)?, mailbox)
    }

    /// Returns the ledger of `mailbox` for commands that do not connect: as [`find`](Self::find),
    /// or else the one that the account used last, or the only one of this user and host.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub fn find_offline(&self, mailbox: &MailboxId) -> Result<Option<LedgerFile>> {
        if let Some(found) = self.find(mailbox)? {
            return Ok(Some(found));
        }
        let (known, _) = self.known()?;
        let unnamed = || {
            let usable =
                |known: &&Arc<KnownMailbox>| mailbox.name.is_none() || known.name.is_none();
            known.iter().filter(usable)
        };
        let of_account = |known: &&Arc<KnownMailbox>| known.was_used_by(&mailbox.account);
        let on_host = |known: &&Arc<KnownMailbox>| {
            known.addresses.iter().any(|(known, _)| {
                (&known.user, &known.host) == (&mailbox.address.user, &mailbox.address.host)
            })
        };
        let by_account: Vec<_> = unnamed().filter(of_account).collect();
        let by_host: Vec<_> = unnamed().filter(on_host).collect();
        Ok(match (&by_account[..], &by_host[..]) {
            ([known], _) | ([], [known]) => Some(known.file.clone()),
            _ => None,
        })
    }
}

/// Returns the ledger of `mailbox` among those that are known.
fn find_among((known, failed): &Mailboxes, mailbox: &MailboxId) -> Result<Option<LedgerFile>> {
    if let Some(name) = &mailbox.name {
        let called: Vec<_> = { known.iter() }
            .map(Arc::as_ref)
            .filter(|known| known.is_called(name))
            .collect();
        match called[..] {
            [] => {}
            [known] => return Ok(Some(known.file.clone())),
            [..] => return Err(ambiguous(name, &called)),
        }
    }
    let is_it = |known: &&Arc<KnownMailbox>| known.is_at(mailbox);
    match (known.iter().find(is_it), failed) {
        (Some(known), _) => Ok(Some(known.file.clone())),
        (None, Some(error)) => Err(may_be_its_own(error.clone())),
        (None, None) => Ok(None),
    }
}

/// Returns the error for a ledger that cannot be read, and may be that of an account whose address
/// is new.
pub fn may_be_its_own(error: Error) -> Error {
    error.with_fact(
        "the account's address is new, and this may be the ledger of its mailbox; without it, all \
         mail might be fetched again",
    )
}

/// Returns the ledger of `mailbox`, as [`Catalog::find`].
///
/// # Errors
/// As for [`Catalog::find`].
pub fn find(state_dir: &Path, mailbox: &MailboxId) -> Result<Option<LedgerFile>> {
    Catalog::new(state_dir).find(mailbox)
}

/// Returns the ledger of `mailbox` for commands that do not connect, as [`Catalog::find_offline`].
///
/// # Errors
/// As for [`Catalog::find`].
pub fn find_offline(state_dir: &Path, mailbox: &MailboxId) -> Result<Option<LedgerFile>> {
    Catalog::new(state_dir).find_offline(mailbox)
}

fn ambiguous(name: &str, called: &[&KnownMailbox]) -> Error {
    let error = Error::new(
        Kind::Config,
        format!("`{name}` is the address of several mailboxes"),
    );
    called
        .iter()
        .fold(error, |error, known| error.with_fact(known.title()))
        .with_hint("add the port")
}

/// Reads what a ledger says about its mailbox. Returns `None` if another pouch is creating it.
fn read(file: LedgerFile) -> Result<Option<KnownMailbox>> {
    let path = file.path();
    check_file(&path)?;
    let ledger = connect_read_only(&path)?;
    let read = || {
        let version = schema::version(&ledger)?;
        if version != schema::VERSION {
            return Ok((version, None));
        }
        let name = ledger
            .query_row("SELECT name FROM mailbox", [], |row| row.get(0))
            .optional()?;
        let Some(name) = name else {
            return Ok((0, None));
        };
        let is_blank = is_blank(&ledger)?;
        let addresses = ledger
            .prepare("SELECT user, host, port, account FROM address ORDER BY last_used DESC")?
            .query_map([], |row| {
                let (user, host): (String, String) = (row.get(0)?, row.get(1)?);
                Ok((Address::new(user, &host, row.get(2)?), row.get(3)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok((version, Some((name, addresses, is_blank))))
    };
    match read().map_err(|error| error::explain(&path, &error))? {
        (0, _) => Ok(None),
        (_, Some((name, addresses, is_blank))) => Ok(Some(KnownMailbox {
            file,
            name,
            addresses,
            is_blank,
        })),
        (version, None) => Err(foreign_version(&path, version)),
    }
}

/// Returns whether no message was ever recorded.
fn is_blank(ledger: &Connection) -> rusqlite::Result<bool> {
    let mut select = ledger.prepare("SELECT 1 FROM sqlite_sequence WHERE name = 'message'")?;
    Ok(!select.exists([])?)
}

/// Returns the number of an address, or `None` if it is not recorded.
pub(super) fn number(ledger: &Connection, address: &Address) -> rusqlite::Result<Option<i64>> {
    let Address { user, host, port } = address;
    ledger
        .query_row(
            "SELECT id FROM address WHERE user = ? AND host = ? AND port = ?",
            params![user, host, port],
            |row| row.get(0),
        )
        .optional()
}

/// Records the name and the present address of the mailbox. Returns the number of the address.
/// Nothing is written if nothing changed.
pub(super) fn record(ledger: &Connection, mailbox: &MailboxId) -> rusqlite::Result<i64> {
    let MailboxId {
        name,
        address,
        account,
    } = mailbox;
    let before = number(ledger, address)?;
    let present: bool = ledger
        .prepare(
            "SELECT 1 FROM address WHERE id = ? AND account = ?
             AND last_used = (SELECT max(last_used) FROM address)",
        )?
        .exists(params![before, account])?;
    if !present {
        let Address { user, host, port } = address;
        ledger.execute(
            "INSERT INTO address (user, host, port, account, last_used)
             VALUES (?, ?, ?, ?, (SELECT ifnull(max(last_used), 0) + 1 FROM address))
             ON CONFLICT DO UPDATE SET account = excluded.account, last_used = excluded.last_used",
            params![user, host, port, account],
        )?;
    }
    if let Some(name) = name {
        ledger.execute(
            "UPDATE mailbox SET name = ?1 WHERE name IS NULL AND NOT EXISTS (
                 SELECT 1 FROM address WHERE ?1 IN (
                     user || '@' || host, user || '@' || host || ':' || port))",
            [name],
        )?;
    }
    number(ledger, address)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

/// Removes the address of `mailbox` from all ledgers except its own in `file`, and those ledgers
/// that have no message. Mailboxes with different names may have the same address. `is_new` is
/// whether the ledger in `file` was created just now.
///
/// # Errors
/// A ledger cannot be written.
pub(super) fn release(file: &LedgerFile, mailbox: &MailboxId, is_new: bool) -> Result<()> {
    let Some(state_dir) = file.dir.parent() else {
        return Ok(());
    };
    let address = &mailbox.address;
    let known = if is_new {
        recent(state_dir, None)?.value
    } else {
        Arc::new(shared(state_dir)?)
    };
    for other in &known.0 {
        if other.file == *file || !other.has(address) || other.is_not(mailbox) {
            continue;
        }
        if other.is_blank {
            other.file.remove()?;
            continue;
        }
        let Address { user, host, port } = address;
        other.file.change(
            "DELETE FROM address WHERE user = ? AND host = ? AND port = ?",
            params![user, host, port],
        )?;
    }
    Ok(())
}

/// Records that `account` uses the mailbox in `file` from now on. If the account used another
/// mailbox before, of which the server had no message, both may be the same. So if the account gets
/// an address of the other mailbox again, its messages are compared. `left` are the ledgers none of
/// whose messages is listed now, whatever was listed in the last run.
///
/// # Errors
/// A ledger cannot be written.
pub fn leave_others(file: &LedgerFile, account: &str, left: &[LedgerFile]) -> Result<()> {
    let Some(state_dir) = file.dir.parent() else {
        return Ok(());
    };
    let known = recent(state_dir, None)?.value;
    for other in &known.0 {
        if other.file != *file && other.was_used_by(account) {
            other.file.change(
                "UPDATE message SET address = NULL WHERE ? OR NOT EXISTS (
                     SELECT 1 FROM message WHERE state IN ('delivered', 'skipped')
                     AND missing_since IS NULL AND NOT never_listed)",
                [left.contains(&other.file)],
            )?;
        }
    }
    Ok(())
}

impl Reader {
    /// Returns whether no message was ever recorded.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn is_blank(&self) -> Result<bool> {
        is_blank(&self.connection).map_err(|error| self.explain(&error))
    }

    /// Returns whether nothing shows which mailbox this is: no message was recorded, or the account
    /// has used another mailbox since, and the server had none of the messages then.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn is_unidentified(&self) -> Result<bool> {
        self.connection
            .query_row(
                "SELECT NOT EXISTS (SELECT 1 FROM message WHERE address IS NOT NULL)",
                [],
                |row| row.get(0),
            )
            .map_err(|error| self.explain(&error))
    }
}
