//! A multi-line response, undone (RFC 1939 §3): leading dots unstuffed, CRLF become LF.

/// Decodes a multi-line response piece by piece, within the buffer that it was read into.
///
/// Only `CRLF . CRLF` ends it (or `. CRLF` as its first line). A bare LF or CR is content, and a
/// dot behind it is no stuffed dot.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Whether what comes next does not stand at the beginning of a line.
    inside_line: bool,
    /// Octets of the message as the server counts them: dots unstuffed, line ends as CRLF.
    octets: u64,
}

/// What a call of [`Decoder::decode`] did.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// So many octets at the head of the buffer are now decoded content.
    pub content: usize,
    /// So many octets of the input are used up; the rest has to be given again, with more behind
    /// it (at most two octets, unless `end`).
    pub used: usize,
    /// Whether the response is at its end.
    pub end: bool,
}

impl Decoder {
    /// Decodes `buffer` in place.
    pub fn decode(&mut self, buffer: &mut [u8]) -> Decoded {
        let (mut read, mut write) = (0, 0);
        let mut end = false;
        while read < buffer.len() {
            if !self.inside_line && buffer[read] == b'.' {
                match buffer[read + 1..] {
                    // whether the dot ends the response is not known before CRLF has come
                    [] | [b'\r'] => break,
                    [b'\r', b'\n', ..] => {
                        read += 3;
                        end = true;
                        break;
                    }
                    _ => read += 1,
                }
            }
            self.inside_line = true;
            let rest = &buffer[read..];
            // up to the next CR that has something behind it
            let (take, line_end) = match memchr::memchr(b'\r', rest) {
                None => (rest.len(), false),
                Some(cr) if rest.len() == cr + 1 => (cr, false),
                Some(cr) if rest[cr + 1] == b'\n' => (cr, true),
                Some(cr) => (cr + 1, false),
            };
            buffer.copy_within(read..read + take, write);
            read += take;
            write += take;
            self.octets += take as u64;
            if line_end {
                buffer[write] = b'\n';
                read += 2;
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

    /// The size of what was decoded as LIST should give it: with CRLF, without stuffing.
    pub fn octets(&self) -> u64 {
        self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `connection` in pieces that end at `cuts`, as a socket would; gives content and what is
    /// left behind the end.
    fn feed(connection: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<Vec<u8>>, u64) {
        let (mut decoder, mut content, mut buffer) = (Decoder::default(), Vec::new(), Vec::new());
        let mut from = 0;
        for to in cuts.iter().copied().chain([connection.len()]) {
            buffer.extend_from_slice(&connection[from..to.max(from)]);
            from = to.max(from);
            let decoded = decoder.decode(&mut buffer);
            content.extend_from_slice(&buffer[..decoded.content]);
            buffer.drain(..decoded.used);
            if decoded.end {
                buffer.extend_from_slice(&connection[from..]);
                return (content, Some(buffer), decoder.octets());
            }
            assert!(buffer.len() <= 2, "{buffer:?} left over");
        }
        (content, None, decoder.octets())
    }

    fn stuffed(lines: &[Vec<u8>]) -> Vec<u8> {
        let mut connection = Vec::new();
        for line in lines {
            if line.starts_with(b".") {
                connection.push(b'.');
            }
            connection.extend_from_slice(line);
            connection.extend_from_slice(b"\r\n");
        }
        connection.extend_from_slice(b".\r\n");
        connection
    }

    #[test]
    fn dots_line_ends_and_the_end() {
        for (connection, content, rest) in [
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
            let got = feed(connection, &[]);
            assert_eq!(
                (got.0.as_slice(), got.1.as_deref()),
                (content, rest),
                "{}",
                connection.escape_ascii()
            );
        }
    }

    #[test]
    fn octets_are_counted_as_list_does() {
        assert_eq!(feed(b"..a\r\nb\nc\r\n.\r\n", &[]).2, 9);
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same(
            lines in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..6), 0..12),
            cuts in proptest::collection::vec(0usize..80, 0..20),
        ) {
            let connection = stuffed(&lines);
            let whole = feed(&connection, &[]);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(connection.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(feed(&connection, &cuts), whole);
        }

        #[test]
        fn what_was_stuffed_comes_out(lines in proptest::collection::vec("[.a-c]{0,5}", 0..12)) {
            let bytes: Vec<_> = lines.iter().map(|line| line.clone().into_bytes()).collect();
            let mut connection = stuffed(&bytes);
            connection.extend_from_slice(b"+OK next");
            let content: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            let octets = content.len() as u64 + lines.len() as u64;
            prop_assert_eq!(feed(&connection, &[]), (content.into_bytes(), Some(b"+OK next".to_vec()), octets));
        }
    }
}
