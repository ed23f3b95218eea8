//! Where messages go, and when they are safe there.

mod filter;
mod lmtp;
mod maildir;
mod mbox;
mod mboxrd;
mod pipe;
mod router;
mod stdout;

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

pub use filter::{Filter, Filtered};
pub use lmtp::{Line, Lmtp};
pub use maildir::Maildir;
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

/// What a delivery may want to know of a message.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The account's name.
    pub account: &'a str,
    /// The message's file name: unique, and the same whenever the same message is delivered.
    pub name: &'a str,
    /// Its UID.
    pub uid: &'a Uid,
    /// The address it is from, once it is known.
    pub sender: Option<&'a str>,
    /// Where it goes; nowhere, as long as that is not known.
    pub destinations: &'a [Destination],
    /// Those of several takers that have it already.
    pub accepted_by: &'a [String],
    /// Fields that go on top of it, for a draft that was spooled.
    pub fields: &'a [u8],
}

/// A place for messages.
///
/// [`begin`](Self::begin), write, [`accept`](Self::accept) for each message; then
/// [`take_batch`](Self::take_batch) for all of them.
pub trait Delivery: Send {
    /// A draft for the content of a message.
    ///
    /// # Errors
    /// The place cannot be written.
    fn begin(&mut self, envelope: &Envelope<'_>) -> Result<Draft>;

    /// Takes a message whose content is whole.
    ///
    /// # Errors
    /// The place cannot be written, or a program does not take the message.
    fn accept(&mut self, envelope: &Envelope<'_>, draft: Draft, stop: &Interrupt) -> Result<()>;

    /// Those [takers](Destination::recipients) that took the message which was given to
    /// [`accept`](Self::accept) last, though others did not. They have it on stable storage.
    fn accepted_by(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// All messages accepted since the last seal, as a batch to be made safe. What somebody else
    /// took is his to keep.
    fn take_batch(&mut self) -> PendingCommit {
        PendingCommit::new(|| Ok(()))
    }

    /// How a message for these of its places is handed over; where none is named, for any of them.
    fn mode(&self, _places: &[Destination]) -> DeliveryMode {
        DeliveryMode::OneAtATime
    }

    /// Which messages lie there, as far as that can be found out.
    ///
    /// # Errors
    /// The place cannot be read.
    fn stored_messages(&self) -> Result<Option<Vec<StoredMessage>>> {
        Ok(None)
    }

    /// Removes drafts that a run which died left behind: those whose name is `ours`.
    ///
    /// # Errors
    /// The place cannot be read.
    fn remove_stale_drafts(&mut self, _ours: &dyn Fn(&str) -> bool) -> Result<()> {
        Ok(())
    }
}

/// A batch of messages on their way to stable storage. Whoever holds it makes it safe, perhaps
/// while the place takes further messages.
pub struct PendingCommit(Box<dyn FnOnce() -> Result<()> + Send>);

impl PendingCommit {
    fn new(work: impl FnOnce() -> Result<()> + Send + 'static) -> Self {
        Self(Box::new(work))
    }

    /// Makes the batch safe: on stable storage when this returns.
    ///
    /// # Errors
    /// Some or all of the messages are not safe.
    pub fn commit(self) -> Result<()> {
        (self.0)()
    }
}

/// How a place takes messages: the slowest way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeliveryMode {
    /// Each is handed over by itself, and nobody knows what became of one whose answer is missing.
    OneAtATime,
    /// Many are made safe at once, as a batch, and a message that is there can be found again.
    Batched,
    /// Several batches may be made safe at the same time.
    Parallel,
}

/// A message that lies in a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its name, without Maildir flags.
    pub name: String,
    /// Where its content is.
    pub content: Location,
}

/// Where the content of a message is that lies in a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In a file of its own.
    File(PathBuf),
    /// In a file with others.
    Recorded {
        /// That file.
        mailbox: PathBuf,
        /// The message's fingerprint, if it has a header.
        fingerprint: Option<Fingerprint>,
    },
    /// It may be in this file with others or not: somebody else has changed that since.
    Unknown(PathBuf),
}

impl StoredMessage {
    /// Whether it still lies where it was found, as far as that can be told.
    pub fn is_there(&self) -> bool {
        match &self.content {
            Location::File(path) => path.exists(),
            Location::Recorded { .. } => true,
            Location::Unknown(_) => false,
        }
    }

    /// Its fingerprint, for which no more than its header is read; nothing where it has no header,
    /// or is not there any more.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn fingerprint(&self) -> Result<Option<Fingerprint>> {
        let path = match &self.content {
            Location::File(path) => path,
            Location::Recorded { fingerprint, .. } => return Ok(*fingerprint),
            Location::Unknown(_) => return Ok(None),
        };
        let mut head = Head::default();
        let mut buffer = [0; 8 * 1024];
        let read = File::open(path).and_then(|mut file| {
            while !head.is_whole() {
                match file.read(&mut buffer)? {
                    0 => break,
                    octets => head.push(&buffer[..octets]),
                }
            }
            Ok(())
        });
        match read {
            Ok(()) => Ok(fingerprint(head.as_bytes())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", path, &error)),
        }
    }
}

/// The content of a message on its way. Dropping it abandons the message.
#[derive(Debug)]
pub struct Draft {
    file: File,
    /// Where it lies, or the folder on whose disk it lies without a name.
    place: PathBuf,
    stray: Stray,
    /// It lies in no place yet.
    spooled: bool,
}

impl Draft {
    /// A draft in a file that lies at `path`.
    fn at(path: &Path, file: File) -> Self {
        Self {
            stray: Stray(Some(path.to_owned())),
            ..Self::nameless_in(path, file)
        }
    }

    /// A draft in a file that has no name, on the disk of `folder`: it goes with the process.
    fn nameless_in(folder: &Path, file: File) -> Self {
        Self {
            file,
            place: folder.to_owned(),
            stray: Stray(None),
            spooled: false,
        }
    }

    /// A draft in a new file without a name, on the disk of `folder`.
    fn create_unnamed(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder)
            .map_err(|error| Error::file("spool a message in", folder, &error))?;
        Ok(Self::nameless_in(folder, file))
    }

    /// A nameless draft for no place yet: it will be copied.
    fn spooled(folder: &Path) -> Result<Self> {
        Ok(Self {
            spooled: true,
            ..Self::create_unnamed(folder)?
        })
    }

    /// Goes back to the beginning, to be read; gives the header, or more than that.
    fn reread(&mut self) -> io::Result<Vec<u8>> {
        let head = self.read_back(MAX_HEAD as u64)?;
        self.file.rewind()?;
        Ok(head)
    }

    /// Where it lies, for messages.
    pub fn path(&self) -> &Path {
        &self.place
    }

    /// How many octets were written.
    fn octets(&self) -> Result<u64> {
        self.file
            .metadata()
            .map(|metadata| metadata.len())
            .map_err(|error| self.unreadable(&error))
    }

    /// The file, to be read from its beginning by a program.
    fn into_input(mut self) -> Result<File> {
        match self.file.rewind() {
            Ok(()) => Ok(self.file),
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    fn unreadable(&self, error: &io::Error) -> Error {
        Error::file("read", self.path(), error)
    }

    /// The beginning of what was written, `most` octets at most.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_back(&mut self, most: u64) -> io::Result<Vec<u8>> {
        let mut octets = Vec::new();
        self.file.rewind()?;
        (&self.file).take(most).read_to_end(&mut octets)?;
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

/// A file that is removed when nobody wants it any more.
#[derive(Debug)]
struct Stray(Option<PathBuf>);

impl Stray {
    /// It is wanted, and stays where it lies, if it lies anywhere.
    fn keep(mut self) -> Option<PathBuf> {
        self.0.take()
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // what stays behind is removed by the next run
            let _ = files::remove(path);
        }
    }
}
