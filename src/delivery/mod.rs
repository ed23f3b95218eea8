//! Where messages go, and when they are safe there.

mod maildir;
mod pipe;

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::PathBuf,
};

pub use maildir::Maildir;
pub use pipe::Pipe;

use crate::{error::Result, stop::Stop, types::Uid};

/// What a delivery may want to know of a message.
#[derive(Clone, Copy, Debug)]
pub struct Slip<'a> {
    /// The account's name.
    pub account: &'a str,
    /// The message's file name: unique, and the same whenever the same message is delivered.
    pub name: &'a str,
    /// Its UID.
    pub uid: &'a Uid,
    /// The address it is from, once it is known.
    pub sender: Option<&'a str>,
}

/// A place for messages.
///
/// [`begin`](Self::begin), write, [`accept`](Self::accept) for each message; then
/// [`seal`](Self::seal) for all of them.
pub trait Delivery: Send {
    /// A draft for the content of a message.
    ///
    /// # Errors
    /// The place cannot be written.
    fn begin(&mut self, slip: &Slip<'_>) -> Result<Draft>;

    /// Takes a message whose content is whole.
    ///
    /// # Errors
    /// The place cannot be written, or a program does not take the message.
    fn accept(&mut self, slip: &Slip<'_>, draft: Draft, stop: &Stop) -> Result<()>;

    /// All messages accepted since the last seal, as a batch to be made safe.
    fn seal(&mut self) -> Sealed;

    /// How messages are handed over.
    fn pace(&self) -> Pace;

    /// Which messages lie there, as far as that can be found out.
    ///
    /// # Errors
    /// The place cannot be read.
    fn look(&self) -> Result<Option<Vec<Found>>>;

    /// Removes drafts that a run which died left behind: those whose name is `ours`.
    ///
    /// # Errors
    /// The place cannot be read.
    fn tidy(&mut self, ours: &dyn Fn(&str) -> bool) -> Result<()>;
}

/// A batch of messages on their way to stable storage. Whoever holds it makes it safe, perhaps while
/// the place takes further messages.
pub struct Sealed(Box<dyn FnOnce() -> Result<()> + Send>);

impl Sealed {
    fn new(work: impl FnOnce() -> Result<()> + Send + 'static) -> Self {
        Self(Box::new(work))
    }

    /// Makes the batch safe: on stable storage when this returns.
    ///
    /// # Errors
    /// Some or all of the messages are not safe.
    pub fn make_safe(self) -> Result<()> {
        (self.0)()
    }
}

/// How a place takes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Many can be made safe at once, and a message that is there can be found again.
    Batched,
    /// Each is handed over by itself, and nobody knows what became of one whose answer is missing.
    OneByOne,
}

/// A message that lies in a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name, without Maildir flags.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
}

/// The content of a message on its way. Dropping it abandons the message.
#[derive(Debug)]
pub struct Draft {
    file: File,
    stray: Stray,
}

impl Draft {
    fn at(path: PathBuf, file: File) -> Self {
        Self { file, stray: Stray(Some(path)) }
    }

    /// A draft in a file that has no name.
    fn nameless(file: File) -> Self {
        Self { file, stray: Stray(None) }
    }

    /// Where it lies, for messages.
    pub fn place(&self) -> PathBuf {
        self.stray.0.clone().unwrap_or_else(|| "the spool file".into())
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
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // what stays behind is removed by the next run
            let _ = fs::remove_file(path);
        }
    }
}
