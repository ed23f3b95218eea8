//! A mailbox file: messages one behind the other, as mail programs have kept them since the
//! beginning.
//!
//! Each message is there once, whatever ends pouch, and nothing of anybody else's is ever cut off:
//! a batch is safe in a [`journal`] before its first octet goes to the mailbox. What a run that
//! died left there is held against it: whole messages are delivered, a torn one at the end is taken
//! off. Where somebody else wrote behind it meanwhile, it stays, and a person is told.

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
    Delivery, DeliveryMode, Draft, Envelope, Location, PendingCommit, StoredMessage, mboxrd,
};
use crate::{
    domain::{
        destination::Destination,
        ids::AccountId,
        message::{Head, fingerprint, return_path},
    },
    error::{Error, Result},
    sys::{clock::Clock, files, interrupt::Interrupt},
};
use journal::{Journal, JournalEntry, JournalFile, PendingAppend, TailState};
use locked::Locked;

/// How long to wait for another program that has the mailbox.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a mailbox has to do with besides its messages.
#[derive(Clone, Debug)]
pub struct MboxOptions {
    /// Where the journal and drafts lie.
    pub state_dir: PathBuf,
    /// This machine's name, for the dot lock.
    pub host: String,
    /// For the time of delivery.
    pub clock: Clock,
    /// Ends the wait for a lock.
    pub stop: Interrupt,
}

/// A mailbox file to deliver to.
#[derive(Debug)]
pub struct Mbox {
    mailbox: Mailbox,
    batch: Option<Batch>,
}

/// The file, and what is known of its last batch.
#[derive(Clone, Debug)]
struct Mailbox {
    path: PathBuf,
    journal: Journal,
    around: MboxOptions,
}

/// Messages that were accepted.
#[derive(Debug)]
struct Batch {
    /// As they will stand in the mailbox.
    content: File,
    entries: Vec<JournalEntry>,
}

impl Mbox {
    /// The mailbox file at `path`, for the messages of `account`. Nothing is made yet.
    ///
    /// # Errors
    /// Something else lies there.
    pub fn open(path: &Path, account: &AccountId, around: MboxOptions) -> Result<Self> {
        let hash = Sha256::digest(format!("{account}\n{}", path.display()));
        let number = hash[..8]
            .iter()
            .fold(0, |number, octet| number << 8 | u64::from(*octet));
        let journal = Journal::at(
            around
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
                around,
            },
            batch: None,
        })
    }

    /// Takes the mailbox's locks and lets go of them again; tells whether there is a dot lock. The
    /// file is made if it is missing.
    ///
    /// # Errors
    /// It cannot be made or written, or another program has it.
    pub fn try_locks(&self) -> Result<bool> {
        self.mailbox
            .locked(Duration::ZERO)
            .map(|locked| locked.has_dot_lock())
    }
}

impl Mailbox {
    fn locked(&self, patience: Duration) -> Result<Locked> {
        let mut locked =
            Locked::wait_for(&self.path, &self.around.host, patience, &self.around.stop)?;
        locked.looks_like_mbox(&self.path)?;
        Ok(locked)
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::file("write to", &self.path, error)
    }

    /// Appends a batch; it is safe when this returns.
    fn append(&self, batch: Batch) -> Result<()> {
        let Batch {
            mut content,
            mut entries,
        } = batch;
        let mut locked = self.locked(PATIENCE)?;
        let (start, gap) = end_of(&mut locked.file).map_err(|error| self.failed(&error))?;
        for entry in &mut entries {
            entry.end += gap.len() as u64;
        }
        let before = self.journal.safe()?;
        let intent = PendingAppend {
            start,
            entries,
            before,
        };
        content.rewind().map_err(|error| self.failed(&error))?;
        self.journal.write(&intent, gap, &mut content)?;
        if let Err(error) = append(&mut locked.file, start, gap, &mut content) {
            // under the lock, all that lies behind the old end is ours
            let cut = locked
                .file
                .set_len(start)
                .and_then(|()| locked.file.sync_all());
            return Err(match cut {
                Ok(()) => {
                    let nothing = PendingAppend {
                        entries: Vec::new(),
                        ..intent
                    };
                    let noted = self.journal.write(&nothing, b"", &mut io::empty());
                    noted.err().unwrap_or_else(|| self.failed(&error))
                }
                Err(more) => self.failed(&error).with_fact(more.to_string()),
            });
        }
        if start == 0 {
            self.sync_dir_and_parent()?;
        }
        self.journal.appended()
    }

    /// Makes the mailbox's entry in its folder safe.
    fn sync_dir_and_parent(&self) -> Result<()> {
        files::sync_dir_and_parent(self.path.parent().unwrap_or(Path::new(".")))
    }

    /// What the mailbox has of the batch that a run which died was appending; nothing where it had
    /// ended that.
    fn unfinished(&self) -> Result<Option<(Option<Locked>, PendingAppend, TailState)>> {
        let Some(open) = self.journal.open()?.filter(JournalFile::is_unfinished) else {
            return Ok(None);
        };
        let unreadable = |error: io::Error| Error::file("read", &self.path, &error);
        if !self.path.try_exists().map_err(unreadable)? {
            // who only looks makes nothing
            let (intent, standing) = open.standing(&mut io::empty()).map_err(unreadable)?;
            return Ok(Some((None, intent, standing)));
        }
        let mut locked =
            Locked::wait_for(&self.path, &self.around.host, PATIENCE, &self.around.stop)?;
        if !open.writes_the_beginning() {
            locked.looks_like_mbox(&self.path)?;
        }
        let (intent, standing) = open.standing(&mut locked.file).map_err(unreadable)?;
        // the run that died may not have made safe what it wrote
        locked
            .file
            .sync_all()
            .map_err(|error| Error::file("sync", &self.path, &error))?;
        self.sync_dir_and_parent()?;
        Ok(Some((Some(locked), intent, standing)))
    }
}

impl Batch {
    /// Adds a message at the end.
    fn add(
        &mut self,
        envelope: &Envelope<'_>,
        draft: &mut Draft,
        around: &MboxOptions,
    ) -> io::Result<()> {
        let read = draft.reread()?;
        let mut head = Head::default();
        head.push(&read);
        let mut out = BufWriter::new(&mut self.content);
        out.write_all(
            mboxrd::postmark(return_path(head.as_bytes()).as_deref(), around.clock.now())
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

    /// Takes off what a message that was not added left.
    fn cut_back(&mut self) -> io::Result<()> {
        let end = self.entries.last().map_or(0, |entry| entry.end);
        self.content.set_len(end)?;
        self.content.seek(SeekFrom::Start(end)).map(drop)
    }
}

impl Delivery for Mbox {
    fn begin(&mut self, _slip: &Envelope<'_>) -> Result<Draft> {
        Draft::create_unnamed(&self.mailbox.around.state_dir)
    }

    fn accept(
        &mut self,
        envelope: &Envelope<'_>,
        mut draft: Draft,
        _stop: &Interrupt,
    ) -> Result<()> {
        let around = &self.mailbox.around;
        let spool = &around.state_dir;
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
        batch.add(envelope, &mut draft, around).map_err(|error| {
            // the messages before it are whole
            let cut = batch.cut_back();
            let error = Error::file("spool a message in", spool, &error);
            cut.map_or_else(
                |more| error.clone().with_fact(more.to_string()),
                |()| error.clone(),
            )
        })
    }

    fn take_batch(&mut self) -> PendingCommit {
        let Some(batch) = self.batch.take() else {
            return PendingCommit::new(|| Ok(()));
        };
        let mailbox = self.mailbox.clone();
        PendingCommit::new(move || mailbox.append(batch))
    }

    fn mode(&self, _places: &[Destination]) -> DeliveryMode {
        DeliveryMode::Batched
    }

    fn stored_messages(&self) -> Result<Option<Vec<StoredMessage>>> {
        let found = |entry: &JournalEntry, content| StoredMessage {
            name: entry.name.clone(),
            content,
        };
        let noted = |entry: &JournalEntry| {
            found(
                entry,
                Location::Recorded {
                    mailbox: self.mailbox.path.clone(),
                    fingerprint: entry.fingerprint(),
                },
            )
        };
        let Some((_, intent, standing)) = self.mailbox.unfinished()? else {
            let intent = self.mailbox.journal.open()?.map(|open| open.intent);
            return Ok(intent.map(|intent| {
                intent
                    .before
                    .iter()
                    .chain(&intent.entries)
                    .map(noted)
                    .collect()
            }));
        };
        let (whole, others) = intent.entries.split_at(standing.whole);
        let unknown = others
            .iter()
            .filter(|_| standing.changed)
            .map(|entry| found(entry, Location::Unknown(self.mailbox.path.clone())));
        Ok(Some(
            intent
                .before
                .iter()
                .chain(whole)
                .map(noted)
                .chain(unknown)
                .collect(),
        ))
    }

    fn remove_stale_drafts(&mut self, _ours: &dyn Fn(&str) -> bool) -> Result<()> {
        if let Some((
            Some(locked),
            _,
            TailState {
                torn: Some(good), ..
            },
        )) = self.mailbox.unfinished()?
        {
            let cut = locked
                .file
                .set_len(good)
                .and_then(|()| locked.file.sync_all());
            cut.map_err(|error| self.mailbox.failed(&error))?;
        }
        self.mailbox.journal.remove()
    }
}

/// Where a mailbox ends, and what is missing there until the next message may begin: the end of the
/// last line, and a blank line.
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

/// Appends a batch, and makes it safe.
fn append(mailbox: &mut File, start: u64, gap: &[u8], content: &mut File) -> io::Result<()> {
    mailbox.seek(SeekFrom::Start(start))?;
    mailbox.write_all(gap)?;
    content.rewind()?;
    io::copy(content, mailbox)?;
    mailbox.sync_all()
}
