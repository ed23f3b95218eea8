//! The destination `mbox`: a file with many messages, in mboxrd format.
//!
//! # Locking and journal
//!
//! Other programs read and write the same file. A batch is appended under the locks that they use
//! ([`locked`]), which exclude them while the file has a part of a message.
//!
//! An interrupted run can leave a part of a batch at the end of the file. Messages in an mbox file
//! have no names by which they could be found, and the partial one has to be removed without
//! removing what another program appended. So a batch is made durable in a [`journal`] before its
//! first byte is appended. The next run compares the end of the file with the journal: complete
//! messages count as delivered, and a partial one at the very end is truncated. If another program
//! has appended or changed something since, the file is left as it is, and the user is warned.
//!
//! Two alternatives were rejected. Rewriting the file and renaming it over the old one is atomic,
//! but copies gigabytes for each batch, breaks the locks of programs that have the old file open,
//! and loses its owner and links. Recording only the length of the file before the append is not
//! enough to tell pouch's bytes from those of another program.

mod journal;
mod locked;

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::{
    BatchOutcome, Delivery, DeliveryMode, Draft, Envelope, Location, PendingCommit, Search,
    StoredMessage, Unstored, Visit, mboxrd,
};
use crate::{
    domain::{
        destination::Destination,
        message::{Head, fingerprint, return_path},
    },
    error::{Error, Result},
    sys::{clock::Clock, files, interrupt::Interrupt, owner},
};
use journal::{Journal, JournalEntry, JournalFile, PendingAppend, TailState};
use locked::Locked;

/// The maximum time to wait for another program that has locked the file.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// The environment of an mbox file.
#[derive(Clone, Debug)]
pub struct MboxOptions {
    /// The directory of journals and drafts.
    pub state_dir: PathBuf,
    /// This machine's host name, for the dot lock.
    pub host: String,
    /// The clock, for the time of delivery.
    pub clock: Clock,
    /// The signals, which end the wait for a lock.
    pub stop: Interrupt,
}

/// An mbox file as a destination.
#[derive(Debug)]
pub struct Mbox {
    mailbox: Mailbox,
    batch: Option<Batch>,
}

/// The file and its journal.
#[derive(Clone, Debug)]
struct Mailbox {
    path: PathBuf,
    journal: Journal,
    options: MboxOptions,
}

/// The accepted messages.
#[derive(Debug)]
struct Batch {
    /// The messages in the format of the mbox file.
    content: File,
    entries: Vec<JournalEntry>,
}

impl Mbox {
    /// Returns the mbox file at `path` as a destination for the messages of `mailbox`, which is the
    /// name of its ledger. Nothing is created yet. The journal belongs to the mailbox, since
    /// accounts with the same file run at
    /// the same time.
    ///
    /// # Errors
    /// The path is something else, or the journal cannot be read.
    pub fn open(path: &Path, mailbox: &str, options: MboxOptions) -> Result<Self> {
        let hash = Sha256::digest(format!("{mailbox}\n{}", path.display()));
        let number = hash[..8]
            .iter()
            .fold(0, |number, octet| number << 8 | u64::from(*octet));
        let journal = Journal::at(
            options
                .state_dir
                .join("mbox")
                .join(format!("{number:016x}.journal")),
        );
        if !journal
            .open()?
            .is_some_and(|open| open.writes_the_beginning())
        {
            locked::inspect(path)?;
        }
        Ok(Self {
            mailbox: Mailbox {
                path: path.to_owned(),
                journal,
                options,
            },
            batch: None,
        })
    }

    /// Writes and syncs a few bytes on the disk of the mbox file at `path`, to find out whether it
    /// works: drafts are on that of the state directory. If the user cannot create files next to
    /// it, only the free space is looked at.
    ///
    /// # Errors
    /// The disk is full or failed.
    pub fn test_disk(path: &Path) -> io::Result<()> {
        // a block for a message, and one for the lock file
        const ENOUGH: [u8; 8192] = [b' '; 8192];
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let dir = path.parent().unwrap_or(Path::new("/"));
        match tempfile::tempfile_in(dir) {
            Ok(mut file) => file.write_all(&ENOUGH).and_then(|()| file.sync_all()),
            Err(_) => match rustix::fs::statvfs(&path) {
                Ok(disk) if disk.f_bavail == 0 => Err(io::ErrorKind::StorageFull.into()),
                _ => Ok(()),
            },
        }
    }

    /// Locks and unlocks the file, which is created if it is missing. Returns whether a dot lock
    /// could be created.
    ///
    /// # Errors
    /// The file cannot be created or written, or another program has locked it.
    pub fn try_locks(&self) -> Result<bool> {
        self.mailbox
            .locked(Duration::ZERO)
            .map(|locked| locked.has_dot_lock())
    }
}

impl Mailbox {
    /// Opens and locks the file, waiting up to `timeout`.
    fn locked(&self, timeout: Duration) -> Result<Locked> {
        owner::check_mailbox_file(&self.path)?;
        let mut locked =
            Locked::wait_for(&self.path, &self.options.host, timeout, &self.options.stop)?;
        owner::check_single_name(&self.path, &locked.file)?;
        locked.check_format(&self.path)?;
        Ok(locked)
    }

    /// Returns the error for a file that cannot be written.
    fn write_error(&self, error: &io::Error) -> Error {
        Error::file("write to", &self.path, error)
    }

    /// Appends a batch, which is durable when this returns, except the messages that are returned.
    ///
    /// If it cannot be appended as a whole, it is appended one message at a time, so that one that
    /// is too large for the disk does not stop the others.
    fn append(&self, batch: Batch) -> Result<Vec<Unstored>> {
        let Batch {
            mut content,
            entries,
        } = batch;
        let mut locked = self.locked(LOCK_TIMEOUT)?;
        let before = self.journal.durable()?;
        let size = entries.last().map_or(0, |entry| entry.end);
        let whole = (0, size);
        let appended = self.append_part(&mut locked, &mut content, whole, (&entries, &before))?;
        let Err(error) = appended else {
            return Ok(Vec::new());
        };
        if let [single] = entries.as_slice() {
            let name = single.name.clone();
            return Ok(vec![Unstored { name, error }]);
        }
        let mut appended = Vec::new();
        let mut unstored = Vec::new();
        let mut from = 0;
        for entry in entries {
            let part = (from, entry.end);
            from = entry.end;
            // the journal has to name all messages that are not in the ledger yet
            let known = [before.as_slice(), &appended].concat();
            let single = [entry.ending_at(part.1 - part.0)];
            match self.append_part(&mut locked, &mut content, part, (&single, &known))? {
                Ok(()) => appended.push(entry),
                Err(error) => unstored.push(Unstored {
                    name: entry.name,
                    error,
                }),
            }
        }
        if appended.is_empty() {
            return Err(error);
        }
        // an append that failed leaves a journal without the messages that it names as durable
        let start = locked
            .file
            .metadata()
            .map_err(|error| self.write_error(&error))?
            .len();
        let done = PendingAppend {
            start,
            entries: appended,
            before,
        };
        self.journal.write(&done, b"", &mut io::empty())?;
        Ok(unstored)
    }

    /// Appends the bytes `from` to `to` of a batch, which contain the messages `entries`. `before`
    /// are durable messages that may not be in the ledger yet. The inner error is that of an append
    /// that was undone, so that others can follow.
    fn append_part(
        &self,
        locked: &mut Locked,
        content: &mut File,
        (from, to): (u64, u64),
        (entries, before): (&[JournalEntry], &[JournalEntry]),
    ) -> Result<Result<()>> {
        let (start, gap) = end_of(&mut locked.file).map_err(|error| self.write_error(&error))?;
        let mut entries = entries.to_vec();
        for entry in &mut entries {
            entry.end += gap.len() as u64;
        }
        let before = before.to_vec();
        let intent = PendingAppend {
            start,
            entries,
            before,
        };
        let part = |content: &mut File| {
            content
                .seek(SeekFrom::Start(from))
                .map_err(|error| self.write_error(&error))
        };
        part(content)?;
        let mut bytes = Read::by_ref(content).take(to - from);
        if let Err(error) = self.journal.write(&intent, gap, &mut bytes) {
            return Ok(Err(error));
        }
        part(content)?;
        let appended = append(&mut locked.file, start, gap, &mut content.take(to - from));
        if let Err(error) = appended {
            // All bytes after the old end are from pouch, because the file has been locked.
            let cut = locked
                .file
                .set_len(start)
                .and_then(|()| locked.file.sync_all());
            if let Err(second) = cut {
                return Err(self.write_error(&error).with_fact(second.to_string()));
            }
            let nothing = PendingAppend {
                entries: Vec::new(),
                ..intent
            };
            self.journal.write(&nothing, b"", &mut io::empty())?;
            return Ok(Err(self.write_error(&error)));
        }
        if start == 0 {
            self.sync_dir_and_parent()?;
        }
        self.journal.mark_appended().map(Ok)
    }

    /// Makes the file's entry in its directory durable.
    fn sync_dir_and_parent(&self) -> Result<()> {
        files::sync_dir_and_parent(self.path.parent().unwrap_or(Path::new(".")))
    }

    /// Returns the append that an interrupted run did not finish, and the part of it that the file
    /// has, with the file locked if it exists. Returns `None` if there is no such append.
    fn unfinished(&self) -> Result<Option<(Option<Locked>, PendingAppend, TailState)>> {
        let Some(open) = self.journal.open()?.filter(JournalFile::is_unfinished) else {
            return Ok(None);
        };
        let unreadable = |error: io::Error| Error::file("read", &self.path, &error);
        if !self.path.try_exists().map_err(unreadable)? {
            // Locking would create the file.
            let (intent, tail) = open.compare(&mut io::empty()).map_err(unreadable)?;
            return Ok(Some((None, intent, tail)));
        }
        let mut locked = Locked::wait_for(
            &self.path,
            &self.options.host,
            LOCK_TIMEOUT,
            &self.options.stop,
        )?;
        if !open.writes_the_beginning() {
            locked.check_format(&self.path)?;
        }
        let (intent, tail) = open.compare(&mut locked.file).map_err(unreadable)?;
        // The interrupted run may not have synced its writes.
        locked
            .file
            .sync_all()
            .map_err(|error| Error::file("sync", &self.path, &error))?;
        self.sync_dir_and_parent()?;
        Ok(Some((Some(locked), intent, tail)))
    }
}

impl Batch {
    /// Adds a message at the end.
    fn add(
        &mut self,
        envelope: &Envelope<'_>,
        draft: &mut Draft,
        options: &MboxOptions,
    ) -> io::Result<()> {
        let read = draft.reread()?;
        let mut head = Head::default();
        head.push(&read);
        let mut out = BufWriter::new(&mut self.content);
        out.write_all(
            mboxrd::postmark(return_path(head.as_bytes()).as_deref(), options.clock.now())
                .as_bytes(),
        )?;
        let mut quote = mboxrd::Quote::new(out);
        io::copy(&mut draft.file, &mut quote)?;
        quote.finish()?;
        let end = self.content.stream_position()?;
        self.entries.push(JournalEntry::new(
            envelope.name,
            end,
            fingerprint(head.as_bytes()),
        ));
        Ok(())
    }

    /// Removes the part of a message that could not be added.
    fn truncate(&mut self) -> io::Result<()> {
        let end = self.entries.last().map_or(0, |entry| entry.end);
        self.content.set_len(end)?;
        self.content.seek(SeekFrom::Start(end)).map(drop)
    }
}

impl Delivery for Mbox {
    fn begin(&mut self, _envelope: &Envelope<'_>) -> Result<Draft> {
        Draft::create_unnamed(&self.mailbox.options.state_dir)
    }

    fn accept(
        &mut self,
        envelope: &Envelope<'_>,
        mut draft: Draft,
        _stop: &Interrupt,
    ) -> Result<()> {
        let options = &self.mailbox.options;
        let spool = &options.state_dir;
        if self.batch.is_none() {
            let content = tempfile::tempfile_in(spool)
                .map_err(|error| Error::file("spool a message in", spool, &error))?;
            self.batch = Some(Batch {
                content,
                entries: Vec::new(),
            });
        }
        let Some(batch) = &mut self.batch else {
            return Ok(());
        };
        batch.add(envelope, &mut draft, options).map_err(|error| {
            let error = Error::file("spool a message in", spool, &error);
            match batch.truncate() {
                Ok(()) => error,
                Err(second) => error.with_fact(second.to_string()),
            }
        })
    }

    fn take_batch(&mut self) -> PendingCommit {
        let Some(batch) = self.batch.take() else {
            return PendingCommit::new(|| Ok(BatchOutcome::default()));
        };
        let mailbox = self.mailbox.clone();
        PendingCommit::new(move || {
            Ok(BatchOutcome {
                unstored: mailbox.append(batch)?,
                renamed: Vec::new(),
            })
        })
    }

    fn mode(&self, _destinations: &[Destination]) -> DeliveryMode {
        DeliveryMode::Batched
    }

    fn visit_stored(&self, visit: &mut Visit<'_>) -> Result<Option<Search>> {
        let stored = |entry: &JournalEntry, content| StoredMessage {
            name: entry.name.clone(),
            content,
        };
        let recorded = |entry: &JournalEntry| {
            stored(
                entry,
                Location::Recorded {
                    mailbox: self.mailbox.path.clone(),
                    fingerprint: entry.fingerprint(),
                },
            )
        };
        let Some((_, intent, tail)) = self.mailbox.unfinished()? else {
            let Some(open) = self.mailbox.journal.open()? else {
                return Ok(None);
            };
            let entries = open.intent.before.iter().chain(&open.intent.entries);
            entries.map(recorded).try_for_each(visit)?;
            return Ok(Some(Search::default()));
        };
        let (complete, others) = intent.entries.split_at(tail.complete);
        let uncertain = others
            .iter()
            .filter(|_| tail.changed)
            .map(|entry| stored(entry, Location::Uncertain(self.mailbox.path.clone())));
        let complete = intent.before.iter().chain(complete);
        complete
            .map(recorded)
            .chain(uncertain)
            .try_for_each(visit)?;
        Ok(Some(Search::default()))
    }

    fn remove_stale_drafts(&mut self, _ours: &dyn Fn(&str) -> bool) -> Result<()> {
        if let Some((
            Some(locked),
            _,
            TailState {
                truncate_to: Some(length),
                ..
            },
        )) = self.mailbox.unfinished()?
        {
            let cut = locked
                .file
                .set_len(length)
                .and_then(|()| locked.file.sync_all());
            cut.map_err(|error| self.mailbox.write_error(&error))?;
        }
        self.mailbox.journal.remove()
    }
}

/// Returns the length of an mbox file, and the bytes to write before the next message, so that the
/// last line is ended and followed by a blank line.
fn end_of(mailbox: &mut File) -> io::Result<(u64, &'static [u8])> {
    let length = mailbox.seek(SeekFrom::End(0))?;
    let mut tail = Vec::new();
    mailbox.seek(SeekFrom::Start(length.saturating_sub(2)))?;
    mailbox.read_to_end(&mut tail)?;
    let gap: &[u8] = match tail[..] {
        [] | [b'\n', b'\n'] => b"",
        [.., b'\n'] => b"\n",
        _ => b"\n\n",
    };
    Ok((length, gap))
}

/// Appends bytes to the file, and syncs it.
fn append(mailbox: &mut File, start: u64, gap: &[u8], content: &mut impl Read) -> io::Result<()> {
    mailbox.seek(SeekFrom::Start(start))?;
    mailbox.write_all(gap)?;
    io::copy(content, mailbox)?;
    mailbox.sync_all()
}
