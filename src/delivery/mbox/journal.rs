//! The journal of an mbox file: the batch that is being appended, on stable storage before its
//! first byte is appended.
//!
//! The journal is one line of JSON, the [`PendingAppend`], and after it the bytes to append. Once
//! these are durable in the mbox file, the journal is truncated to the line, which still names the
//! messages: the ledger records a batch only later, while the next one is being appended. So the
//! line names the messages of two batches, and a message in either is found by the next run if this
//! one is interrupted before it is recorded.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    domain::message::Fingerprint,
    error::{Error, Kind, Result},
    sys::files,
};

/// A batch that is being appended, or was appended last.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PendingAppend {
    /// The length of the mbox file before the append, in bytes.
    pub(super) start: u64,
    /// The messages of the batch, in their order.
    pub(super) entries: Vec<JournalEntry>,
    /// The messages of the batch before, which is durable.
    pub(super) before: Vec<JournalEntry>,
}

/// A message of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JournalEntry {
    /// Its file name.
    pub(super) name: String,
    /// The offset of its end from `start`, in bytes.
    pub(super) end: u64,
    fingerprint: Option<[u8; 16]>,
}

impl JournalEntry {
    /// Returns the entry of a message that ends at the offset `end`.
    pub(super) fn new(name: &str, end: u64, fingerprint: Option<Fingerprint>) -> Self {
        Self {
            name: name.to_owned(),
            end,
            fingerprint: fingerprint.map(|print| print.0),
        }
    }

    /// Returns the same entry with another end.
    pub(super) fn ending_at(&self, end: u64) -> Self {
        Self {
            end,
            ..self.clone()
        }
    }

    /// Returns its fingerprint, or `None` if it has no header.
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint.map(Fingerprint)
    }
}

/// The part of a batch that the mbox file has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TailState {
    /// The number of messages, from the first one on, that are complete.
    pub(super) complete: usize,
    /// The length to which the file has to be truncated, if it ends with a partial message.
    pub(super) truncate_to: Option<u64>,
    /// True if another program has changed the file after `start`, so that the state of the
    /// remaining messages is unknown.
    pub(super) changed: bool,
}

impl PendingAppend {
    /// Returns the part of this batch, of `size` bytes, that an mbox file of `length` bytes has.
    /// After `start`, the first `common` bytes of both are equal.
    ///
    /// `rest_is_nul` is whether all bytes of the file after those are NUL. After a power cut, a
    /// file can have its new length, but not its content.
    pub(super) fn tail_state(
        &self,
        size: u64,
        length: u64,
        common: u64,
        rest_is_nul: bool,
    ) -> TailState {
        let complete = self
            .entries
            .iter()
            .take_while(|entry| entry.end <= common)
            .count();
        let good = self.start
            + complete
                .checked_sub(1)
                .map_or(0, |last| self.entries[last].end);
        let ours = match length.checked_sub(self.start) {
            Some(tail) => tail == common || (rest_is_nul && tail <= size),
            None => false,
        };
        TailState {
            complete,
            truncate_to: (ours && good < length).then_some(good),
            changed: !ours && common < size,
        }
    }
}

/// The journal of one mbox file and one account.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    path: PathBuf,
}

/// An existing journal.
#[derive(Debug)]
pub(super) struct JournalFile {
    /// The first line, which describes the batch.
    pub(super) intent: PendingAppend,
    /// The number of bytes after the line, 0 once the batch is durable in the mbox file.
    size: u64,
    content: BufReader<File>,
}

impl JournalFile {
    /// Returns whether the mbox file may have a part of the batch.
    pub(super) fn is_unfinished(&self) -> bool {
        self.size > 0
    }

    /// Returns whether an unfinished batch is at the beginning of the mbox file. After a power cut,
    /// the file may then not even begin with `From `.
    pub(super) fn writes_the_beginning(&self) -> bool {
        self.is_unfinished() && self.intent.start == 0
    }

    /// Compares the batch with `mailbox`. Returns the batch, and the part that `mailbox` has of it.
    ///
    /// # Errors
    /// The mbox file or the journal cannot be read.
    pub(super) fn compare(
        mut self,
        mailbox: &mut (impl Read + Seek),
    ) -> io::Result<(PendingAppend, TailState)> {
        let length = mailbox.seek(SeekFrom::End(0))?;
        let (mut common, mut rest_is_nul) = (0, false);
        if length > self.intent.start {
            mailbox.seek(SeekFrom::Start(self.intent.start))?;
            let mut tail = BufReader::new(mailbox);
            common = common_prefix(&mut tail, &mut self.content)?;
            rest_is_nul = is_nul(&mut tail)?;
        }
        let state = self
            .intent
            .tail_state(self.size, length, common, rest_is_nul);
        Ok((self.intent, state))
    }
}

/// Returns the length of the longest common prefix, in bytes.
fn common_prefix(left: &mut impl BufRead, right: &mut impl BufRead) -> io::Result<u64> {
    let mut common = 0;
    loop {
        let (lefts, rights) = (left.fill_buf()?, right.fill_buf()?);
        let same = lefts
            .iter()
            .zip(rights)
            .take_while(|(left, right)| left == right)
            .count();
        let ended = same == 0 || same < lefts.len().min(rights.len());
        common += same as u64;
        left.consume(same);
        right.consume(same);
        if ended {
            return Ok(common);
        }
    }
}

/// Returns whether all remaining bytes are NUL.
fn is_nul(rest: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let octets = rest.fill_buf()?;
        if octets.is_empty() {
            return Ok(true);
        }
        if octets.iter().any(|octet| *octet != 0) {
            return Ok(false);
        }
        let read = octets.len();
        rest.consume(read);
    }
}

impl Journal {
    /// Returns the journal at `path`. Nothing is created yet.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns the messages that are durable in the mbox file, but may not be recorded in the
    /// ledger.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(super) fn durable(&self) -> Result<Vec<JournalEntry>> {
        Ok(match self.open()? {
            None => Vec::new(),
            Some(open) if !open.is_unfinished() => open.intent.entries,
            // The append failed and was undone.
            Some(open) => open.intent.before,
        })
    }

    /// Replaces the journal with a batch that consists of `gap` and `content`. The journal is
    /// durable when this returns.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub(super) fn write(
        &self,
        intent: &PendingAppend,
        gap: &[u8],
        content: &mut impl Read,
    ) -> Result<()> {
        let parent = self.path.parent().unwrap_or(Path::new("."));
        files::create_dir_durable(parent)?;
        let draft = self.path.with_extension("new");
        let mut write = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&draft)?;
            let mut line = serde_json::to_vec(intent)?;
            line.push(b'\n');
            file.write_all(&line)?;
            file.write_all(gap)?;
            io::copy(content, &mut file)?;
            file.sync_all()?;
            fs::rename(&draft, &self.path)
        };
        write().map_err(|error| Error::file("write", &self.path, &error))?;
        files::sync(parent)
    }

    /// Records that the batch is durable in the mbox file.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub(super) fn mark_appended(&self) -> Result<()> {
        let cut = || {
            let mut file = OpenOptions::new().read(true).write(true).open(&self.path)?;
            let line = BufReader::new(&mut file).skip_until(b'\n')?;
            file.set_len(line as u64)
        };
        cut().map_err(|error| Error::file("write", &self.path, &error))
    }

    /// Opens the journal. Returns `None` if there is none.
    ///
    /// # Errors
    /// The journal cannot be read, or is damaged ([`Kind::State`]).
    pub(super) fn open(&self) -> Result<Option<JournalFile>> {
        let file = match files::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file("read", &self.path, &error)),
        };
        let read = || {
            let length = file.metadata()?.len();
            let mut content = BufReader::new(file);
            let mut line = Vec::new();
            content.read_until(b'\n', &mut line)?;
            let intent = serde_json::from_slice(&line)?;
            Ok(JournalFile {
                intent,
                size: length - line.len() as u64,
                content,
            })
        };
        read().map(Some).map_err(|error: io::Error| {
            Error::new(
                Kind::State,
                format!("cannot read the journal {}", self.path.display()),
            )
            .with_fact(error.to_string())
            .with_hint("move it away; the last batch may be delivered twice")
        })
    }

    /// Removes the journal, if there is one, once its messages are recorded in the ledger.
    ///
    /// # Errors
    /// The journal cannot be removed.
    pub(super) fn remove(&self) -> Result<()> {
        match files::remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::file("remove", &self.path, &error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent() -> PendingAppend {
        let entry = |name: &str, end| JournalEntry::new(name, end, Some(Fingerprint([7; 16])));
        PendingAppend {
            start: 100,
            entries: vec![entry("a", 10), entry("b", 30)],
            before: vec![entry("c", 7)],
        }
    }

    #[test]
    fn partial_message_is_truncated_unless_the_file_was_changed() {
        let intent = intent();
        for (length, common, complete, truncate_to, changed) in [
            (100, 0, 0, None, false),      // nothing was appended
            (104, 4, 0, Some(100), false), // the first message is partial
            (110, 10, 1, None, false),
            (129, 29, 1, Some(110), false),
            (130, 30, 2, None, false),
            (500, 30, 2, None, false), // other messages were appended
            (129, 20, 1, None, true),  // other bytes follow a partial message, or replaced it
            (108, 4, 0, None, true),
            (99, 0, 0, None, true), // the file was truncated
        ] {
            assert_eq!(
                intent.tail_state(30, length, common, common == 30),
                TailState {
                    complete,
                    truncate_to,
                    changed
                },
                "{length} {common}"
            );
        }
        let after_power_cut = intent.tail_state(30, 130, 15, true);
        assert_eq!(
            after_power_cut,
            TailState {
                complete: 1,
                truncate_to: Some(110),
                changed: false
            }
        );
        assert!(intent.tail_state(30, 140, 15, true).changed);
    }

    #[test]
    fn written_journal_is_found_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::at(dir.path().join("state/x.journal"));
        assert!(journal.open().unwrap().is_none() && journal.durable().unwrap().is_empty());
        journal
            .write(&intent(), b"xx", &mut &[b'x'; 28][..])
            .unwrap();
        assert_eq!(journal.durable().unwrap(), intent().before);
        let mut mailbox = tempfile::tempfile().unwrap();
        mailbox.write_all(&[b'o'; 100]).unwrap();
        mailbox
            .write_all(&[&[b'x'; 12][..], &[0; 3]].concat())
            .unwrap();
        let (found, state) = journal
            .open()
            .unwrap()
            .unwrap()
            .compare(&mut mailbox)
            .unwrap();
        assert_eq!(
            (&found, state),
            (
                &intent(),
                TailState {
                    complete: 1,
                    truncate_to: Some(110),
                    changed: false
                }
            )
        );
        assert_eq!(found.entries[0].fingerprint(), Some(Fingerprint([7; 16])));
        journal.mark_appended().unwrap();
        assert_eq!(journal.open().unwrap().unwrap().size, 0);
        assert_eq!(journal.durable().unwrap(), intent().entries);
        journal.remove().unwrap();
        journal.remove().unwrap();
        assert!(journal.open().unwrap().is_none());
    }
}
