//! Reading a file that another program has delivered: its header, and the size of its body.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use super::{Location, StoredMessage};
use crate::{
    domain::message::MAX_HEAD,
    error::{Error, Result},
    sys::files,
};

/// The number of bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// The number of bytes that are read first. Most headers are shorter.
const FIRST: usize = 8 * 1024;

/// A file of which the header was read.
#[derive(Debug)]
pub struct Inspected {
    file: File,
    path: PathBuf,
    /// The header with LF line ends.
    head: Vec<u8>,
    /// What was read after it.
    rest: Vec<u8>,
}

impl StoredMessage {
    /// Opens the file, and reads its header. Returns `None` if it was moved meanwhile, or has no
    /// end of the header in the first 64 KiB.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn inspect(&self) -> Result<Option<Inspected>> {
        let Location::File(path) = &self.content else {
            return Ok(None);
        };
        let read = files::open_if_regular(path).and_then(|file| {
            let Some(mut file) = file else {
                return Ok(None);
            };
            let head = read_head(&mut file)?;
            Ok(head.map(|(head, rest)| (file, head, rest)))
        });
        match read {
            Ok(read) => Ok(read.map(|(file, head, rest)| Inspected {
                file,
                path: path.clone(),
                head,
                rest,
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", path, &error)),
        }
    }
}

impl Inspected {
    /// Returns the header with LF line ends.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Reads the rest of the file. Returns the size of the body with CRLF line ends, in bytes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn body_octets(mut self) -> Result<u64> {
        let mut size = WireSize::default();
        size.add(&self.rest);
        let mut buffer = vec![0; CHUNK];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(size.octets),
                Ok(octets) => size.add(&buffer[..octets]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::file("read", &self.path, &error)),
            }
        }
    }
}

/// Reads a header. Returns it with LF line ends, and what was read after it. A file without an
/// empty line is a header only.
fn read_head(file: &mut impl Read) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut read = Vec::new();
    let mut searched = 0;
    loop {
        let before = read.len();
        let most = if before == 0 { FIRST } else { CHUNK };
        file.by_ref().take(most as u64).read_to_end(&mut read)?;
        let end = head_end(&read, searched);
        let is_end_of_file = read.len() == before;
        if let Some(end) = end.or(is_end_of_file.then_some(read.len())) {
            let rest = read.split_off(end);
            return Ok(Some((with_lf(&read), rest)));
        }
        if read.len() >= MAX_HEAD {
            return Ok(None);
        }
        searched = read.len().saturating_sub(2);
    }
}

/// Returns the end of the header, after the empty line, which is searched from `from` on.
fn head_end(read: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &read[from..]).find_map(|at| {
        let next = from + at + 1;
        match &read[next..] {
            [b'\n', ..] => Some(next + 1),
            [b'\r', b'\n', ..] => Some(next + 2),
            _ => None,
        }
    })
}

/// Returns a header with LF line ends.
fn with_lf(head: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(head.len());
    for line in head.split_inclusive(|octet| *octet == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(line) => {
                lines.extend_from_slice(line);
                lines.push(b'\n');
            }
            None => lines.extend_from_slice(line),
        }
    }
    lines
}

/// The size of text with CRLF line ends.
#[derive(Debug, Default)]
struct WireSize {
    octets: u64,
    ends_with_cr: bool,
}

impl WireSize {
    /// Adds the next piece of the text.
    fn add(&mut self, piece: &[u8]) {
        let Some(last) = piece.last() else { return };
        let bare = memchr::memchr_iter(b'\n', piece).filter(|at| match at.checked_sub(1) {
            Some(before) => piece[before] != b'\r',
            None => !self.ends_with_cr,
        });
        self.octets += (piece.len() + bare.count()) as u64;
        self.ends_with_cr = *last == b'\r';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the header of a file, and the size of its body.
    fn inspect(content: &[u8]) -> (String, u64) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.host");
        std::fs::write(&path, content).unwrap();
        let stored = StoredMessage {
            name: "1.host".into(),
            content: Location::File(path),
        };
        let inspected = stored.inspect().unwrap().unwrap();
        let head = String::from_utf8_lossy(inspected.head()).into_owned();
        (head, inspected.body_octets().unwrap())
    }

    #[test]
    fn line_ends_do_not_change_header_and_size() {
        for content in [
            "A: 1\nB: 2\n\none\ntwo\n",
            "A: 1\r\nB: 2\r\n\r\none\r\ntwo\r\n",
        ] {
            assert_eq!(inspect(content.as_bytes()), ("A: 1\nB: 2\n\n".into(), 10));
        }
        assert_eq!(inspect(b"A: 1\n"), ("A: 1\n".into(), 0));
        assert_eq!(inspect(b""), (String::new(), 0));
        assert_eq!(inspect(b"A: 1\n\n"), ("A: 1\n\n".into(), 0));
    }

    #[test]
    fn long_headers_and_bodies_are_read_in_pieces() {
        let head = format!("A: {}\nB: 2\n\n", "x".repeat(FIRST - 5));
        let body = "line\r\n".repeat(CHUNK);
        let whole = format!("{head}{body}");
        assert_eq!(inspect(whole.as_bytes()), (head.clone(), 6 * CHUNK as u64));
        let lf = whole.replace('\r', "");
        assert_eq!(inspect(lf.as_bytes()), (head, 6 * CHUNK as u64));
    }

    #[test]
    fn file_without_the_end_of_a_header_is_none() {
        let endless = vec![b'x'; 2 * MAX_HEAD];
        let read = read_head(&mut endless.as_slice()).unwrap();
        assert_eq!(read, None);
    }
}
