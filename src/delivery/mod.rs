//! Destinations of messages, and the durability of messages in them.
//!
//! All destinations implement [`Delivery`]. They differ in what happens if a run is interrupted
//! ([`DeliveryMode`]): messages in a Maildir or an mbox file can be found again by their names, so
//! that many of them are committed at once. A program or an LMTP server cannot be searched, so each
//! message is recorded before and after it. Content streams into a [`Draft`], and an abandoned
//! draft removes itself.

mod filter;
mod inspect;
mod lmtp;
mod maildir;
mod mbox;
mod mboxrd;
mod pipe;
mod router;
mod stdout;

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

pub use filter::{Filter, Filtered};
pub use inspect::Inspected;
pub use lmtp::{Lmtp, LmtpStream};
pub use maildir::{Changes, Maildir};
pub use mbox::{Mbox, MboxOptions};
pub use pipe::Pipe;
pub use router::Router;
pub use stdout::Stdout;

use crate::{
    domain::{
        destination::Destination,
        ids::Uid,
        message::{Fingerprint, Head, MAX_HEAD, fingerprint},
    },
    error::{Error, Result},
    sys::{files, interrupt::Interrupt},
};

/// The metadata of a message that is delivered.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The account's name.
    pub account: &'a str,
    /// The message's file name, which is unique and a function of its row.
    pub name: &'a str,
    /// Its UID.
    pub uid: &'a Uid,
    /// The sender's address, or `None` if it is not known yet.
    pub sender: Option<&'a str>,
    /// Its destinations; empty if they are not known yet.
    pub destinations: &'a [Destination],
    /// The recipients that accepted it in an earlier run.
    pub accepted_by: &'a [String],
    /// Fields to write before its header. The draft has to be spooled.
    pub fields: &'a [u8],
}

/// A destination of messages.
///
/// For each message, [`begin`](Self::begin) returns a draft, which is written and given to
/// [`accept`](Self::accept). Then [`take_batch`](Self::take_batch) returns the accepted messages,
/// to be made durable.
pub trait Delivery: Send {
    /// Returns a draft for the content of a message.
    ///
    /// # Errors
    /// The destination cannot be written.
    fn begin(&mut self, envelope: &Envelope<'_>) -> Result<Draft>;

    /// Accepts a complete message.
    ///
    /// # Errors
    /// The destination cannot be written, or defers or rejects the message.
    fn accept(&mut self, envelope: &Envelope<'_>, draft: Draft, stop: &Interrupt) -> Result<()>;

    /// Returns the [recipients](Destination::recipients) that accepted the message for which
    /// [`accept`](Self::accept) just failed. They have it durably.
    fn accepted_by(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the messages accepted since the last call, as a batch to be committed. It is empty
    /// for destinations that make each message durable in [`accept`](Self::accept).
    fn take_batch(&mut self) -> PendingCommit {
        PendingCommit::new(|| Ok(BatchOutcome::default()))
    }

    /// Returns the mode in which a message for these destinations is delivered; if there are none,
    /// for all destinations.
    fn mode(&self, _destinations: &[Destination]) -> DeliveryMode {
        DeliveryMode::OneAtATime
    }

    /// Passes the messages in the destination to `visit`, one after the other, since there may be
    /// hundreds of thousands. Some may be passed twice. Returns `None` if they cannot be listed.
    ///
    /// # Errors
    /// The destination cannot be read, or `visit` failed.
    fn visit_stored(&self, _visit: &mut Visit<'_>) -> Result<Option<Search>> {
        Ok(None)
    }

    /// Removes the drafts of an interrupted run: those whose name is `ours`.
    ///
    /// # Errors
    /// The destination cannot be read or written.
    fn remove_stale_drafts(&mut self, _ours: &dyn Fn(&str) -> bool) -> Result<()> {
        Ok(())
    }
}

/// The function that gets the messages of [`Delivery::visit_stored`].
pub type Visit<'v> = dyn FnMut(StoredMessage) -> Result<()> + 'v;

/// The result of a search for messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Directories that could not be read, and into which the user may have moved messages.
    pub unreadable: Vec<PathBuf>,
}

/// A batch of accepted messages that are not durable yet. It can be committed by another thread,
/// while the destination accepts further messages.
pub struct PendingCommit(Box<dyn FnOnce() -> Result<BatchOutcome> + Send>);

/// The outcome of a batch, of which all other messages are on storage under their names.
#[derive(Debug, Default)]
pub struct BatchOutcome {
    /// The messages that could not be stored.
    pub unstored: Vec<Unstored>,
    /// The name of the [`Envelope`] and the name of the file, for each message whose name was taken
    /// by a file with other content.
    pub renamed: Vec<(String, String)>,
}

/// A message of a batch that could not be stored, while the rest of the batch was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unstored {
    /// The name of its [`Envelope`].
    pub name: String,
    /// The reason.
    pub error: Error,
}

impl PendingCommit {
    /// Returns a batch that `work` commits.
    fn new(work: impl FnOnce() -> Result<BatchOutcome> + Send + 'static) -> Self {
        Self(Box::new(work))
    }

    /// Commits the batch: all of its messages are on stable storage when this returns, except those
    /// that are returned as unstored.
    ///
    /// # Errors
    /// None of the messages could be stored, or it is not known which ones are durable.
    pub fn commit(self) -> Result<BatchOutcome> {
        (self.0)()
    }
}

/// The ways in which destinations make messages durable, the slowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeliveryMode {
    /// Each message alone. If the run is interrupted, it is not known whether the message was
    /// delivered.
    OneAtATime,
    /// In batches. After an interrupted run, delivered messages can be found.
    Batched,
    /// In batches, several of which may be committed at the same time.
    Parallel,
}

/// A message in a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its file name, without Maildir flags.
    pub name: String,
    /// The location of its content.
    pub content: Location,
}

/// The location of a stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file of its own.
    File(PathBuf),
    /// An mbox file, according to its journal.
    Recorded {
        /// The path of the mbox file.
        mailbox: PathBuf,
        /// The message's fingerprint, or `None` if it has no header.
        fingerprint: Option<Fingerprint>,
    },
    /// Possibly this mbox file: another program has changed it since.
    Uncertain(PathBuf),
}

impl StoredMessage {
    /// Returns when its file was created or its content last written, in nanoseconds since 1970
    /// (statx(2), `btime` and `mtime`). A restored or copied file is newer than the message, by one
    /// of them. `None` if the file does not exist.
    pub fn written_at(&self) -> Option<i64> {
        let Location::File(path) = &self.content else {
            return None;
        };
        let file = fs::metadata(path).ok()?;
        let modified = files::nanoseconds(file.mtime(), file.mtime_nsec());
        let created = files::created_at(path).ok().flatten();
        Some(created.map_or(modified, |created| created.max(modified)))
    }

    /// Returns whether the message is still at this location.
    pub fn is_there(&self) -> bool {
        match &self.content {
            Location::File(path) => path.exists(),
            Location::Recorded { .. } => true,
            Location::Uncertain(_) => false,
        }
    }

    /// Returns the fingerprint of the message, or `None` if it has no header, was moved meanwhile
    /// or is not a regular file. Reads no more than the header.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn fingerprint(&self) -> Result<Option<Fingerprint>> {
        match &self.content {
            Location::Recorded { fingerprint, .. } => Ok(*fingerprint),
            Location::File(_) | Location::Uncertain(_) => {
                Ok(self.head()?.and_then(|head| fingerprint(head.as_bytes())))
            }
        }
    }

    /// Returns the header of a message in a file of its own, or `None` if it was moved meanwhile or
    /// is not a regular file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn head(&self) -> Result<Option<Head>> {
        let Location::File(path) = &self.content else {
            return Ok(None);
        };
        let mut head = Head::default();
        let mut buffer = [0; 8 * 1024];
        let read = files::open_if_regular(path).and_then(|file| {
            let Some(mut file) = file else {
                return Ok(false);
            };
            while !head.is_whole() {
                match file.read(&mut buffer)? {
                    0 => break,
                    octets => head.push(&buffer[..octets]),
                }
            }
            Ok(true)
        });
        match read {
            Ok(is_regular) => Ok(is_regular.then_some(head)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", path, &error)),
        }
    }
}

/// A message that is being written. Dropping it removes the file.
#[derive(Debug)]
pub struct Draft {
    file: File,
    /// The path of the file, or of its directory if it has no name.
    path: PathBuf,
    remove_on_drop: RemoveOnDrop,
    /// True if the file is in the spool directory and has to be copied to the destinations.
    spooled: bool,
}

impl Draft {
    /// Returns a draft in the file at `path`.
    fn named(path: &Path, file: File) -> Self {
        Self {
            remove_on_drop: RemoveOnDrop(Some(path.to_owned())),
            ..Self::unnamed(path, file)
        }
    }

    /// Returns a draft in a file without a name, on the disk of `dir`, which disappears when the
    /// process ends.
    fn unnamed(dir: &Path, file: File) -> Self {
        Self {
            file,
            path: dir.to_owned(),
            remove_on_drop: RemoveOnDrop(None),
            spooled: false,
        }
    }

    /// Creates a draft in a file without a name, on the disk of `dir`.
    fn create_unnamed(dir: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(dir)
            .map_err(|error| Error::file("spool a message in", dir, &error))?;
        Ok(Self::unnamed(dir, file))
    }

    /// Creates a draft in the spool directory `dir`, to be copied to its destinations later.
    fn spooled(dir: &Path) -> Result<Self> {
        Ok(Self {
            spooled: true,
            ..Self::create_unnamed(dir)?
        })
    }

    /// Returns the header, possibly with content after it, and rewinds the file for reading.
    fn reread(&mut self) -> io::Result<Vec<u8>> {
        let head = self.read_back(MAX_HEAD as u64)?;
        self.file.rewind()?;
        Ok(head)
    }

    /// Returns the path for error messages: of the file, or of its directory if it has no name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes and syncs a few bytes, to find out whether the disk works. The draft is removed.
    ///
    /// # Errors
    /// The disk is full or failed.
    pub fn test(mut self) -> io::Result<()> {
        self.file.write_all(&[b' '; 4096])?;
        self.file.sync_all()
    }

    /// Returns the number of bytes written.
    fn octets(&self) -> Result<u64> {
        self.file
            .metadata()
            .map(|metadata| metadata.len())
            .map_err(|error| self.unreadable(&error))
    }

    /// Returns the file, rewound, as the standard input of a program.
    fn into_input(mut self) -> Result<File> {
        match self.file.rewind() {
            Ok(()) => Ok(self.file),
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    /// Returns the error for a draft that cannot be read.
    fn unreadable(&self, error: &io::Error) -> Error {
        Error::file("read", self.path(), error)
    }

    /// Returns the beginning of the content, up to `limit` bytes. Writing continues at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_back(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        let mut octets = Vec::new();
        self.file.rewind()?;
        (&self.file).take(limit).read_to_end(&mut octets)?;
        self.file.seek(SeekFrom::End(0))?;
        Ok(octets)
    }
}

impl Write for Draft {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.file.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A guard that removes the file at a path, if any, when it is dropped.
#[derive(Debug)]
struct RemoveOnDrop(Option<PathBuf>);

impl RemoveOnDrop {
    /// Keeps the file. Returns its path.
    fn keep(mut self) -> Option<PathBuf> {
        self.0.take()
    }
}

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // If the file cannot be removed now, the next run removes it.
            let _ = files::remove(path);
        }
    }
}
