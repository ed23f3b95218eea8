//! What is about to be appended to a mailbox, safe on disk before its first octet goes there.
//!
//! A mailbox file has no names: what a run that died left at its end is known again only by what
//! lies here. The journal is one line, the [`PendingAppend`], and behind it what is appended. Once that is
//! safe in the mailbox, the line alone stays: it tells which messages these were, should the ledger
//! not have heard of it. The ledger hears of a batch while the next one is appended: that one's
//! line tells of both.

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

/// What is appended, and where.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PendingAppend {
    /// The length of the mailbox before it, in octets.
    pub(super) start: u64,
    /// The messages, in their order.
    pub(super) entries: Vec<JournalEntry>,
    /// Those of the batch before, which is safe.
    pub(super) before: Vec<JournalEntry>,
}

/// A message of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JournalEntry {
    /// Its name.
    pub(super) name: String,
    /// Where it ends, in octets behind `start`.
    pub(super) end: u64,
    fingerprint: Option<[u8; 16]>,
}

impl JournalEntry {
    pub(super) fn new(name: &str, end: u64, fingerprint: Option<Fingerprint>) -> Self {
        Self {
            name: name.to_owned(),
            end,
            fingerprint: fingerprint.map(|print| print.0),
        }
    }

    /// Its fingerprint, if it has a header.
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint.map(Fingerprint)
    }
}

/// What the mailbox has of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TailState {
    /// So many messages from the first one on are whole.
    pub(super) whole: usize,
    /// The mailbox ends with a part of a message of the batch, and should end here.
    pub(super) torn: Option<u64>,
    /// Somebody else has changed the mailbox there: of the other messages nothing is known.
    pub(super) changed: bool,
}

impl PendingAppend {
    /// What a mailbox of `length` octets has of this batch of `size` octets, of which `common` lie
    /// there from `start` on before anything differs. Where all the rest of it is NUL, the power
    /// went: a file system may have the length of a file on the disk before what is in it.
    pub(super) fn standing(
        &self,
        size: u64,
        length: u64,
        common: u64,
        rest_is_nul: bool,
    ) -> TailState {
        let whole = self
            .entries
            .iter()
            .take_while(|entry| entry.end <= common)
            .count();
        let good = self.start
            + whole
                .checked_sub(1)
                .map_or(0, |last| self.entries[last].end);
        let ours = match length.checked_sub(self.start) {
            Some(tail) => tail == common || (rest_is_nul && tail <= size),
            None => false,
        };
        TailState {
            whole,
            torn: (ours && good < length).then_some(good),
            changed: !ours && common < size,
        }
    }
}

/// The journal of one mailbox of one account.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    path: PathBuf,
}

/// A journal that was found.
#[derive(Debug)]
pub(super) struct JournalFile {
    /// Its line.
    pub(super) intent: PendingAppend,
    /// How many octets lie behind it: nothing once all of them were safe in the mailbox.
    size: u64,
    content: BufReader<File>,
}

impl JournalFile {
    /// Whether the batch may stand in the mailbox in part.
    pub(super) fn is_unfinished(&self) -> bool {
        self.size > 0
    }

    /// Whether it may be the beginning of the mailbox that stands there in part: after a power cut,
    /// not even the first octets need be those of a mailbox.
    pub(super) fn writes_the_beginning(&self) -> bool {
        self.is_unfinished() && self.intent.start == 0
    }

    /// What `mailbox` has of the batch.
    ///
    /// # Errors
    /// One of both cannot be read.
    pub(super) fn standing(
        mut self,
        mailbox: &mut (impl Read + Seek),
    ) -> io::Result<(PendingAppend, TailState)> {
        let length = mailbox.seek(SeekFrom::End(0))?;
        let (mut common, mut rest_is_nul) = (0, false);
        if length > self.intent.start {
            mailbox.seek(SeekFrom::Start(self.intent.start))?;
            let mut tail = BufReader::new(mailbox);
            common = in_common(&mut tail, &mut self.content)?;
            rest_is_nul = is_nul(&mut tail)?;
        }
        let standing = self.intent.standing(self.size, length, common, rest_is_nul);
        Ok((self.intent, standing))
    }
}

/// How many octets from the beginning are the same.
fn in_common(one: &mut impl BufRead, other: &mut impl BufRead) -> io::Result<u64> {
    let mut common = 0;
    loop {
        let (ones, others) = (one.fill_buf()?, other.fill_buf()?);
        let same = ones
            .iter()
            .zip(others)
            .take_while(|(one, other)| one == other)
            .count();
        let over = same == 0 || same < ones.len().min(others.len());
        common += same as u64;
        one.consume(same);
        other.consume(same);
        if over {
            return Ok(common);
        }
    }
}

/// Whether nothing but NUL is left.
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
    /// The journal at `path`; nothing is made yet.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The messages that are safe in the mailbox, and of which the ledger may not have heard.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn safe(&self) -> Result<Vec<JournalEntry>> {
        Ok(match self.open()? {
            None => Vec::new(),
            Some(open) if !open.is_unfinished() => open.intent.entries,
            // a batch that failed is not in the mailbox
            Some(open) => open.intent.before,
        })
    }

    /// Puts a batch, `gap` and `content`, in place of what the journal had; it is safe when this
    /// returns.
    ///
    /// # Errors
    /// It cannot be written.
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

    /// Notes that the batch is safe in the mailbox.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn appended(&self) -> Result<()> {
        let cut = || {
            let mut file = OpenOptions::new().read(true).write(true).open(&self.path)?;
            let line = BufReader::new(&mut file).skip_until(b'\n')?;
            file.set_len(line as u64)
        };
        cut().map_err(|error| Error::file("write", &self.path, &error))
    }

    /// The journal as a run left it; nothing where there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn open(&self) -> Result<Option<JournalFile>> {
        let file = match File::open(&self.path) {
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

    /// Removes it: nothing in it is news any more.
    ///
    /// # Errors
    /// It cannot be removed.
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
    fn only_what_is_provably_ours_is_cut_back() {
        let intent = intent();
        for (length, common, whole, torn, changed) in [
            (100, 0, 0, None, false),      // it never began
            (104, 4, 0, Some(100), false), // the first one is torn
            (110, 10, 1, None, false),
            (129, 29, 1, Some(110), false),
            (130, 30, 2, None, false),
            (500, 30, 2, None, false), // others came behind
            (129, 20, 1, None, true),  // others came behind a torn one, or wrote over it
            (108, 4, 0, None, true),
            (99, 0, 0, None, true), // somebody cut the mailbox
        ] {
            let standing = intent.standing(30, length, common, common == 30);
            assert_eq!(
                standing,
                TailState {
                    whole,
                    torn,
                    changed
                },
                "{length} {common}"
            );
        }
        let after_a_power_cut = intent.standing(30, 130, 15, true);
        assert_eq!(
            after_a_power_cut,
            TailState {
                whole: 1,
                torn: Some(110),
                changed: false
            }
        );
        assert!(intent.standing(30, 140, 15, true).changed);
    }

    #[test]
    fn what_was_written_is_found_and_forgotten_once_it_is_appended() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::at(dir.path().join("state/x.journal"));
        assert!(journal.open().unwrap().is_none() && journal.safe().unwrap().is_empty());
        journal
            .write(&intent(), b"xx", &mut &[b'x'; 28][..])
            .unwrap();
        assert_eq!(journal.safe().unwrap(), intent().before);
        let mut mailbox = tempfile::tempfile().unwrap();
        mailbox.write_all(&[b'o'; 100]).unwrap();
        mailbox
            .write_all(&[&[b'x'; 12][..], &[0; 3]].concat())
            .unwrap();
        let (found, standing) = journal
            .open()
            .unwrap()
            .unwrap()
            .standing(&mut mailbox)
            .unwrap();
        assert_eq!(
            (&found, standing),
            (
                &intent(),
                TailState {
                    whole: 1,
                    torn: Some(110),
                    changed: false
                }
            )
        );
        assert_eq!(found.entries[0].fingerprint(), Some(Fingerprint([7; 16])));
        journal.appended().unwrap();
        assert_eq!(journal.open().unwrap().unwrap().size, 0);
        assert_eq!(journal.safe().unwrap(), intent().entries);
        journal.remove().unwrap();
        journal.remove().unwrap();
        assert!(journal.open().unwrap().is_none());
    }
}
