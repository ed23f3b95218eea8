//! The decoder for the content of a message (RFC 1939 §3): it removes dot stuffing, and turns CRLF
//! into LF.
//!
//! Decoding works in the read buffer, since the content only becomes shorter: a message is copied
//! once, to its draft, whatever its size.

/// A decoder for one multi-line response, which may arrive in pieces of any size.
///
/// Only CRLF, a dot and CRLF end the response, or a dot and CRLF as its first line. A bare LF or CR
/// is content, and a dot after it is not stuffed: to accept LF as a line end would let a sender end
/// the message early, and forge the responses after it.
///
/// Some servers end all their lines with a bare LF. With [these](Self::new) it ends lines and the
/// response here as well: a sender's bare LF is a line end to such a server, too.
#[derive(Debug, Default)]
pub struct Decoder {
    bare_lf: bool,
    /// Whether the last byte decoded was not the end of a line.
    inside_line: bool,
    /// The size of the decoded content in bytes, as the server counts it: with CRLF, and without
    /// stuffed dots.
    octets: u64,
}

/// The result of a call of [`Decoder::decode`].
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The number of bytes of decoded content, at the beginning of the buffer.
    pub content: usize,
    /// The number of input bytes that were used. The others, at most two unless `end`, have to be
    /// passed again with more input after them.
    pub used: usize,
    /// Whether the response has ended.
    pub end: bool,
}

impl Decoder {
    /// Returns a decoder. `bare_lf`: the server ends its lines with LF instead of CRLF.
    pub fn new(bare_lf: bool) -> Self {
        Self {
            bare_lf,
            ..Self::default()
        }
    }

    /// Decodes the bytes in `buffer` in place.
    pub fn decode(&mut self, buffer: &mut [u8]) -> Decoded {
        let (mut read, mut write) = (0, 0);
        let mut end = false;
        while read < buffer.len() {
            if !self.inside_line && buffer[read] == b'.' {
                match buffer[read + 1..] {
                    // only CRLF after the dot decides whether it ends the response
                    [] | [b'\r'] => break,
                    [b'\r', b'\n', ..] => {
                        read += 3;
                        end = true;
                        break;
                    }
                    [b'\n', ..] if self.bare_lf => {
                        read += 2;
                        end = true;
                        break;
                    }
                    _ => read += 1,
                }
            }
            self.inside_line = true;
            let rest = &buffer[read..];
            let found = if self.bare_lf {
                memchr::memchr2(b'\r', b'\n', rest)
            } else {
                memchr::memchr(b'\r', rest)
            };
            // up to the next line end, or the next CR that has something after it
            let (take, line_end) = match found {
                None => (rest.len(), 0),
                Some(lf) if rest[lf] == b'\n' => (lf, 1),
                Some(cr) if rest.len() == cr + 1 => (cr, 0),
                Some(cr) if rest[cr + 1] == b'\n' => (cr, 2),
                Some(cr) => (cr + 1, 0),
            };
            buffer.copy_within(read..read + take, write);
            read += take;
            write += take;
            self.octets += take as u64;
            if line_end > 0 {
                buffer[write] = b'\n';
                read += line_end;
                write += 1;
                self.octets += 2;
                self.inside_line = false;
            } else if buffer[read..] == *b"\r" {
                break;
            }
        }
        Decoded {
            content: write,
            used: read,
            end,
        }
    }

    /// Returns the size of the decoded content in bytes, counted as LIST does: with CRLF, and
    /// without stuffed dots.
    pub fn octets(&self) -> u64 {
        self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes `wire` in pieces that end at `cuts`, as a socket delivers it. Returns the content,
    /// the bytes after the end of the response, if it ended, and the size.
    fn decode(wire: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<Vec<u8>>, u64) {
        let (mut decoder, mut content, mut buffer) = (Decoder::default(), Vec::new(), Vec::new());
        let mut from = 0;
        for to in cuts.iter().copied().chain([wire.len()]) {
            buffer.extend_from_slice(&wire[from..to.max(from)]);
            from = to.max(from);
            let decoded = decoder.decode(&mut buffer);
            content.extend_from_slice(&buffer[..decoded.content]);
            buffer.drain(..decoded.used);
            if decoded.end {
                buffer.extend_from_slice(&wire[from..]);
                return (content, Some(buffer), decoder.octets());
            }
            assert!(buffer.len() <= 2, "{buffer:?} left over");
        }
        (content, None, decoder.octets())
    }

    /// Encodes lines as a server does.
    fn encode(lines: &[Vec<u8>]) -> Vec<u8> {
        let mut wire = Vec::new();
        for line in lines {
            if line.starts_with(b".") {
                wire.push(b'.');
            }
            wire.extend_from_slice(line);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b".\r\n");
        wire
    }

    #[test]
    fn only_crlf_ends_a_line_and_only_a_lone_dot_the_response() {
        for (wire, content, rest) in [
            (&b".\r\n"[..], &b""[..], Some(&b""[..])),
            (b"a\r\n.\r\n+OK", b"a\n", Some(b"+OK")),
            (b"..\r\n...a\r\n.\r\n", b".\n..a\n", Some(b"")),
            (b"a\n.\r\nb\r\n.\r\n", b"a\n.\nb\n", Some(b"")),
            (b"a\r.\r\n.\r\n", b"a\r.\n", Some(b"")),
            (b"a\r\r\n.\r\n", b"a\r\n", Some(b"")),
            (b"a\r\n.\rb\r\n.\r\n", b"a\n\rb\n", Some(b"")),
            (b"a\0\xff\r\n.\r\n", b"a\0\xff\n", Some(b"")),
            (b"a\r\n.\n", b"a\n\n", None),
            (b"a\r\n..\r", b"a\n.", None),
        ] {
            let decoded = decode(wire, &[]);
            assert_eq!(
                (decoded.0.as_slice(), decoded.1.as_deref()),
                (content, rest),
                "{}",
                wire.escape_ascii()
            );
        }
    }

    #[test]
    fn bare_lf_ends_lines_and_response_of_servers_that_use_it() {
        for (bytes, content, end) in [
            (&b"a\n..b\n.\n+OK"[..], &b"a\n.b\n"[..], true),
            (b".\n", b"", true),
            (b"a\r\n..\r\nb\rc\n.\n", b"a\n.\nb\rc\n", true),
            (b"a\n.\r\n", b"a\n", true),
            (b"a\n.", b"a\n", false),
        ] {
            let (mut decoder, mut buffer) = (Decoder::new(true), bytes.to_vec());
            let decoded = decoder.decode(&mut buffer);
            assert_eq!((&buffer[..decoded.content], decoded.end), (content, end));
        }
    }

    #[test]
    fn size_has_crlf_and_no_stuffed_dots() {
        assert_eq!(decode(b"..a\r\nb\nc\r\n.\r\n", &[]).2, 9);
    }

    /// Returns any byte, and often one that the decoder treats specially.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), any::<u8>()]
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_decode_to_the_same_content(
            lines in proptest::collection::vec(proptest::collection::vec(byte(), 0..6), 0..12),
            cuts in proptest::collection::vec(0usize..80, 0..20),
        ) {
            let wire = encode(&lines);
            let whole = decode(&wire, &[]);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(wire.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(decode(&wire, &cuts), whole);
        }

        #[test]
        fn encoded_lines_decode_to_themselves(
            lines in proptest::collection::vec("[.a-c]{0,5}", 0..12),
        ) {
            let bytes: Vec<_> = lines.iter().map(|line| line.clone().into_bytes()).collect();
            let mut wire = encode(&bytes);
            wire.extend_from_slice(b"+OK next");
            let content: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            let octets = content.len() as u64 + lines.len() as u64;
            let rest = Some(b"+OK next".to_vec());
            prop_assert_eq!(decode(&wire, &[]), (content.into_bytes(), rest, octets));
        }
    }
}
