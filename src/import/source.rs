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

/// The length of the part of a file from which its kind is determined, in bytes.
const HEAD: usize = 256;

/// Returns whether a file is not text: at its beginning, more than one byte in 20 is a control
/// character. NUL bytes do not count, since getmail's state files contain some.
pub fn is_binary(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(HEAD)];
    let decoded = utf16(head);
    let head = decoded.as_ref().map_or(head, |text| text.as_bytes());
    let is_odd = |byte: &&u8| byte.is_ascii_control() && !b"\0\t\n\r\x0c\x1b".contains(byte);
    head.iter().filter(is_odd).count() * 20 > head.len()
}

/// Returns the byte order of UTF-16 without a byte order mark if every other byte at the beginning
/// of a file is NUL, as for ASCII text.
fn unmarked_utf16(bytes: &[u8]) -> Option<fn([u8; 2]) -> u16> {
    let head = &bytes[..bytes.len().min(HEAD)];
    let has = |from: usize, is_nul: bool| {
        let mut every_other = head.iter().skip(from).step_by(2);
        head.len() > 3 && every_other.all(|byte| (*byte == 0) == is_nul)
    };
    match (has(0, true), has(1, true)) {
        (false, true) if has(0, false) => Some(u16::from_le_bytes),
        (true, false) if has(1, false) => Some(u16::from_be_bytes),
        _ => None,
    }
}

/// Decodes UTF-16.
fn utf16(bytes: &[u8]) -> Option<String> {
    let (rest, unit): (_, fn([u8; 2]) -> u16) = match bytes {
        [0xff, 0xfe, rest @ ..] => (rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => (rest, u16::from_be_bytes),
        _ => (bytes, unmarked_utf16(bytes)?),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf16_is_recognised_without_a_mark() {
        let text = "poll pop.example.org\n";
        let little: Vec<_> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<_> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(utf16(&little).as_deref(), Some(text));
        assert_eq!(utf16(&big).as_deref(), Some(text));
        assert_eq!(
            utf16(&[b"\xff\xfe", &little[..]].concat()).as_deref(),
            Some(text)
        );
        assert_eq!(utf16(text.as_bytes()), None);
        assert_eq!(utf16(&[0; 20]), None);
        assert!(!is_binary(&little));
    }

    #[test]
    fn control_characters_show_that_a_file_is_binary() {
        let noise: Vec<u8> = (0..=255)
            .cycle()
            .map(|n: u8| n.wrapping_mul(73))
            .take(999)
            .collect();
        assert!(is_binary(&noise));
        for text in [
            &b""[..],
            b"uid-1\x001795000000\nuid-2\x00\n",
            b"\x1b[1m\t\r\n",
            "bücher".as_bytes(),
        ] {
            assert!(!is_binary(text));
        }
    }
}
