//! Decoding the files of other programs.

use std::borrow::Cow;

use super::model::{Context, Imported};

/// The text of a file, with the encoding that it had.
#[derive(Clone, Debug)]
pub struct Source {
    /// The text. Invalid characters are replaced by spaces.
    pub text: String,
    /// Whether the file was not UTF-8, so that each character is one byte.
    is_latin1: bool,
}

impl Source {
    /// Decodes a file. One that is not UTF-8 is read as Latin-1, since that gives all ASCII
    /// options. A NUL byte becomes a space.
    pub fn decode(bytes: &[u8], context: &Context<'_>, imported: &mut Imported) -> Self {
        let bytes = match utf16(bytes) {
            Some(text) => Cow::Owned(text.into_bytes()),
            None => Cow::Borrowed(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)),
        };
        let (text, is_latin1) = match str::from_utf8(&bytes) {
            Ok(text) => (text.to_owned(), false),
            Err(error) => {
                let at = position(&bytes, error.valid_up_to());
                imported.problem(context, at, "not UTF-8; the file was read as Latin-1");
                (bytes.iter().copied().map(char::from).collect(), true)
            }
        };
        let Some(nul) = text.find('\0') else {
            return Self { text, is_latin1 };
        };
        let at = position(text.as_bytes(), nul);
        imported.problem(context, at, "contains a NUL byte: not a text file");
        Self {
            text: text.replace('\0', " "),
            is_latin1,
        }
    }

    /// Returns the bytes that `text`, a part of this source, had in the file.
    pub fn bytes(&self, text: &str) -> Vec<u8> {
        if self.is_latin1 {
            let bytes = text
                .chars()
                .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'));
            bytes.collect()
        } else {
            text.as_bytes().to_vec()
        }
    }
}

/// Decodes UTF-16 with a byte order mark.
fn utf16(bytes: &[u8]) -> Option<String> {
    let (rest, unit): (_, fn([u8; 2]) -> u16) = match bytes {
        [0xff, 0xfe, rest @ ..] => (rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => (rest, u16::from_be_bytes),
        _ => return None,
    };
    let units = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    let decoded = char::decode_utf16(units);
    Some(decoded.map(|c| c.unwrap_or('\u{fffd}')).collect())
}

/// Returns the line and the column of a byte, both counted from 1.
pub(super) fn position(bytes: &[u8], at: usize) -> (usize, usize) {
    let before = &bytes[..at.min(bytes.len())];
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let start = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
    (line, before.len() - start + 1)
}
