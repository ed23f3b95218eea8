//! Reads delivered mail and compares it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A message in a Maildir.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// Its file name, without the directory.
    pub name: String,
    /// The content of the file.
    pub bytes: Vec<u8>,
}

/// The content of a Maildir at the time of [`Home::maildir`](super::Home::maildir).
#[derive(Debug, Clone, Default)]
pub struct Mail {
    delivered: Vec<Delivered>,
    tmp: Vec<String>,
}

impl Mail {
    /// Reads a Maildir or an mbox file. If it does not exist, there is no mail.
    pub(super) fn read(dir: &Path) -> Self {
        if dir.is_file() {
            return Self::in_mbox(
                &fs::read(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())),
            );
        }
        let list = |folder: &str| {
            let dir = dir.join(folder);
            let entries = match fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(e) if e.kind() == ErrorKind::NotFound => return Vec::new(),
                Err(e) => panic!("{}: {e}", dir.display()),
            };
            entries
                .map(|entry| entry.expect("an entry").path())
                .collect()
        };
        let name = |path: &Path| {
            let name = path.file_name().expect("an entry has a name");
            name.to_string_lossy().into_owned()
        };
        let mut delivered: Vec<_> = [list("new"), list("cur")]
            .concat()
            .iter()
            .map(|path: &PathBuf| Delivered {
                name: name(path),
                bytes: fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())),
            })
            .collect();
        delivered.sort_by(|a, b| a.name.cmp(&b.name));
        let mut tmp: Vec<_> = list("tmp").iter().map(|path| name(path)).collect();
        tmp.sort();
        Self { delivered, tmp }
    }

    /// Returns the messages of an mbox file in order, without its quoting (mboxrd). A message
    /// without a blank line after it is partial, and never equal to another one.
    #[track_caller]
    pub fn in_mbox(mailbox: &[u8]) -> Self {
        let mut delivered: Vec<Delivered> = Vec::new();
        for line in mailbox.split_inclusive(|octet| *octet == b'\n') {
            let quoted = line.iter().take_while(|octet| **octet == b'>').count();
            let begins = line[quoted..].starts_with(b"From ");
            if begins && quoted == 0 {
                let name = String::from_utf8_lossy(line).trim_end().to_owned();
                delivered.push(Delivered {
                    name,
                    bytes: Vec::new(),
                });
            } else {
                let message = delivered.last_mut().expect("a mailbox begins with From");
                message
                    .bytes
                    .extend_from_slice(&line[usize::from(begins)..]);
            }
        }
        for Delivered { bytes, .. } in &mut delivered {
            if bytes == b"\n" || bytes.ends_with(b"\n\n") {
                bytes.pop();
            } else {
                bytes.extend_from_slice(b"(torn)");
            }
        }
        Self {
            delivered,
            tmp: Vec::new(),
        }
    }

    /// Returns the messages in `new` and `cur`, ordered by name.
    pub fn delivered(&self) -> &[Delivered] {
        &self.delivered
    }

    /// Returns the number of messages in `new` and `cur`.
    pub fn len(&self) -> usize {
        self.delivered.len()
    }

    /// Returns the names of files in `tmp`.
    pub fn tmp(&self) -> &[String] {
        &self.tmp
    }

    /// Asserts that exactly these messages were delivered, in any order, with LF line endings.
    /// `expected` may have CRLF.
    #[track_caller]
    pub fn assert_exactly(&self, expected: &[impl AsRef<[u8]>]) -> &Self {
        let mut balance: BTreeMap<Vec<u8>, isize> = BTreeMap::new();
        for message in expected {
            *balance.entry(unix_lines(message.as_ref())).or_default() -= 1;
        }
        for message in &self.delivered {
            *balance.entry(message.bytes.clone()).or_default() += 1;
        }
        balance.retain(|_, n| *n != 0);
        if !balance.is_empty() {
            let mut report = String::new();
            for (message, n) in &balance {
                let times = match n.unsigned_abs() {
                    1 => String::new(),
                    times => format!(" {times} times"),
                };
                let what = if *n < 0 { "missing" } else { "unexpected" };
                let _ = writeln!(report, "{what}{times}: {}", glance(message));
            }
            panic!(
                "{} messages were expected, {} lie there\n{report}",
                expected.len(),
                self.delivered.len()
            );
        }
        self
    }

    /// Asserts that `tmp` is empty.
    #[track_caller]
    pub fn assert_tidy(&self) -> &Self {
        assert!(self.tmp.is_empty(), "left in tmp: {:?}", self.tmp);
        self
    }
}

/// Replaces CRLF by LF; a CR elsewhere is unchanged.
fn unix_lines(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for (at, &byte) in bytes.iter().enumerate() {
        if byte != b'\r' || bytes.get(at + 1) != Some(&b'\n') {
            out.push(byte);
        }
    }
    out
}

/// Returns a short description of a message: its length, beginning and end.
fn glance(message: &[u8]) -> String {
    const SHOWN: usize = 160;
    if message.len() <= 2 * SHOWN {
        return format!("{} octets\n    {}", message.len(), message.escape_ascii());
    }
    format!(
        "{} octets\n    {}\n    ...\n    {}",
        message.len(),
        message[..SHOWN].escape_ascii(),
        message[message.len() - SHOWN..].escape_ascii()
    )
}
