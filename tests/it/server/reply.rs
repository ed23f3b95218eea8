//! Responses of the server, before and after a fault has changed them.

use base64::{Engine, engine::general_purpose::STANDARD};

/// A correct response: a status line and, for some commands, a body.
#[derive(Debug)]
pub(super) struct Reply {
    /// The status line, with its CRLF.
    pub(super) head: Vec<u8>,
    /// The body with CRLF line endings, not dot-stuffed and without the final dot.
    pub(super) body: Option<Vec<u8>>,
    /// The action after the response.
    pub(super) then: Then,
}

/// A response as transmitted: its bytes, and the action after it.
#[derive(Debug)]
pub(super) struct Answer {
    /// The bytes, sent in one write.
    pub(super) octets: Vec<u8>,
    /// The action after the write.
    pub(super) then: Then,
}

/// An action of the server after a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Wait for the next command.
    GoOn,
    /// Start the TLS handshake.
    StartTls,
    /// Close the connection properly.
    Close,
    /// Break the connection: in TLS without `close_notify`.
    Cut,
    /// Send nothing more, and keep the connection open until the client closes it.
    Silence,
    /// Discard the commands that the client sent after this one.
    Forget,
    /// Send these bytes repeatedly until the client closes the connection.
    Repeat(Vec<u8>),
    /// Send these bytes repeatedly, ten bytes per second.
    Drip(Vec<u8>),
}

impl Reply {
    /// Creates the response `+OK text`.
    pub(super) fn ok(text: impl AsRef<[u8]>) -> Self {
        Self::line(b"+OK ", text.as_ref())
    }

    /// Creates the response `-ERR text`.
    pub(super) fn err(text: impl AsRef<[u8]>) -> Self {
        Self::line(b"-ERR ", text.as_ref())
    }

    /// Creates the response `+ challenge`, which requests the SASL response of the client.
    pub(super) fn challenge(challenge: &[u8]) -> Self {
        Self::line(b"+ ", STANDARD.encode(challenge).as_bytes())
    }

    fn line(status: &[u8], text: &[u8]) -> Self {
        Self {
            head: [status, text, b"\r\n"].concat(),
            body: None,
            then: Then::GoOn,
        }
    }

    /// Adds a body with CRLF line endings.
    pub(super) fn with_body(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self
    }

    /// Adds an action after the response.
    pub(super) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// Returns the bytes of the response: dot-stuffed, and with the final dot.
    pub(super) fn octets(&self) -> Vec<u8> {
        let mut out = self.head.clone();
        if let Some(body) = &self.body {
            out.extend(stuffed(body));
            // If the body was cut in the middle of a line, the final dot is still on its own line.
            if !body.is_empty() && !body.ends_with(b"\r\n") {
                out.extend(b"\r\n");
            }
            out.extend(b".\r\n");
        }
        out
    }
}

/// Returns message content as transmitted: every line ends with CRLF.
pub(super) fn to_wire(content: &[u8]) -> Vec<u8> {
    with_line_ends(content, b"\r\n")
}

/// Returns the content with `end` in place of each LF and CRLF, and after the last line in any
/// case. A bare CR is unchanged.
pub(super) fn with_line_ends(content: &[u8], end: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + content.len() / 32 + end.len());
    for line in content.split_inclusive(|&octet| octet == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        out.extend(text.strip_suffix(b"\r").unwrap_or(text));
        out.extend(end);
    }
    out
}

/// Returns the body with a dot before each line that begins with one (RFC 1939 §3).
pub(super) fn stuffed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 16);
    let mut at_line_start = true;
    for line in body.split_inclusive(|&octet| octet == b'\n') {
        if at_line_start && line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend(line);
        // Only CRLF ends a line; a bare LF is content.
        at_line_start = line.ends_with(b"\r\n");
    }
    out
}

/// Returns the part of a message for TOP: the header, the empty line, and `lines` lines of the
/// body.
pub(super) fn top(content: &[u8], lines: usize) -> Vec<u8> {
    let header = content
        .windows(4)
        .position(|octets| octets == b"\r\n\r\n")
        .map_or(content.len(), |end| end + 4);
    let body = content[header..]
        .split_inclusive(|&octet| octet == b'\n')
        .take(lines);
    std::iter::once(&content[..header])
        .chain(body)
        .flatten()
        .copied()
        .collect()
}
