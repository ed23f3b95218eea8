//! The bytes that were read from a server and not used yet, as lines and as content of messages.

use std::{
    io::{self, Read},
    ops::Range,
};

use super::body::Decoder;

/// The size of the buffer, in bytes.
const SIZE: usize = 64 * 1024;

/// The line ends in a server's responses, messages not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LineEnds {
    /// No line was read yet.
    #[default]
    Unknown,
    /// At least one line ended with CRLF, as RFC 1939 requires.
    Crlf,
    /// All lines ended with a bare LF.
    Lf,
}

/// Bytes that were read. The ranges that its methods return are valid until it is filled again.
pub(super) struct ReadBuffer {
    bytes: Vec<u8>,
    /// `bytes[start..end]` was read and not used yet.
    start: usize,
    end: usize,
    line_ends: LineEnds,
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self {
            bytes: vec![0; SIZE],
            start: 0,
            end: 0,
            line_ends: LineEnds::default(),
        }
    }
}

impl ReadBuffer {
    /// Returns the bytes that were not used yet.
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Returns the bytes of a range.
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// Returns the line ends of the lines so far.
    pub(super) fn line_ends(&self) -> LineEnds {
        self.line_ends
    }

    /// Takes a line. Returns its range, without its line end, or `None` if its end was not read
    /// yet. The first `searched` unread bytes are known to have no line end.
    pub(super) fn take_line(&mut self, searched: usize) -> Option<Range<usize>> {
        let lf = memchr::memchr(b'\n', &self.unread()[searched..])?;
        let from = self.start;
        let to = from + searched + lf;
        self.start = to + 1;
        let crlf = self.bytes[from..to].ends_with(b"\r");
        self.line_ends = match self.line_ends {
            LineEnds::Unknown | LineEnds::Lf if !crlf => LineEnds::Lf,
            _ => LineEnds::Crlf,
        };
        Some(from..to - usize::from(crlf))
    }

    /// Decodes the unread bytes of a multi-line response in place, and takes them. Returns the
    /// range of the decoded content, and whether the response ended.
    pub(super) fn take_content(&mut self, decoder: &mut Decoder) -> (Range<usize>, bool) {
        let start = self.start;
        let decoded = decoder.decode(&mut self.bytes[start..self.end]);
        self.start += decoded.used;
        (start..start + decoded.content, decoded.end)
    }

    /// Reads once from `stream`, and appends to the unread bytes, of which there must be fewer than
    /// the buffer holds. Returns the number of bytes that were read.
    pub(super) fn fill(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let octets = stream.read(&mut self.bytes[self.end..])?;
        self.end += octets;
        Ok(octets)
    }
}
