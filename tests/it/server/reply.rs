//! What the server says, before and after a fault has had its way with it.

/// An answer as it ought to be: a status line and, for some commands, a body.
#[derive(Debug)]
pub(super) struct Reply {
    /// The status line, with its CRLF.
    pub(super) head: Vec<u8>,
    /// The body in CRLF lines, neither dot-stuffed nor ended.
    pub(super) body: Option<Vec<u8>>,
    /// What the server does when this has been said.
    pub(super) then: Then,
}

/// An answer as it goes out: octets, and what follows them.
#[derive(Debug)]
pub(super) struct Answer {
    /// Written as they are, in one write.
    pub(super) octets: Vec<u8>,
    /// What the server does when they are written.
    pub(super) then: Then,
}

/// What the server does after an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Waits for the next command.
    GoOn,
    /// Begins the TLS handshake.
    StartTls,
    /// Ends the connection in good order.
    Close,
    /// Ends the connection as a broken line does: inside TLS there is no farewell.
    Cut,
    /// Says nothing more and keeps the socket open until the client closes it.
    Silence,
    /// Throws away what the client has already sent behind this command.
    Forget,
    /// Writes these octets over and over until the client closes.
    Repeat(Vec<u8>),
    /// The same, ten octets a second.
    Drip(Vec<u8>),
}

impl Reply {
    /// `+OK text`
    pub(super) fn ok(text: impl AsRef<[u8]>) -> Self {
        Self::line(b"+OK ", text.as_ref())
    }

    /// `-ERR text`
    pub(super) fn err(text: impl AsRef<[u8]>) -> Self {
        Self::line(b"-ERR ", text.as_ref())
    }

    /// `+ `, which asks the client for its SASL response.
    pub(super) fn challenge() -> Self {
        Self::line(b"+ ", b"")
    }

    fn line(status: &[u8], text: &[u8]) -> Self {
        Self {
            head: [status, text, b"\r\n"].concat(),
            body: None,
            then: Then::GoOn,
        }
    }

    /// The same with a body, given in CRLF lines.
    pub(super) fn with_body(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self
    }

    /// The same with something to do after it.
    pub(super) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// All of its octets: dot-stuffed, and ended by the lone dot.
    pub(super) fn octets(&self) -> Vec<u8> {
        let mut out = self.head.clone();
        if let Some(body) = &self.body {
            out.extend(stuffed(body));
            // A body cut in the middle of a line still gets its end mark on a line of its own.
            if !body.is_empty() && !body.ends_with(b"\r\n") {
                out.extend(b"\r\n");
            }
            out.extend(b".\r\n");
        }
        out
    }
}

/// Message content in the form of the wire: every line ends in CRLF.
pub(super) fn to_wire(content: &[u8]) -> Vec<u8> {
    with_line_ends(content, b"\r\n")
}

/// The content with `end` in place of each LF and CRLF, and behind the last line in any case. A
/// bare CR stays what it is.
pub(super) fn with_line_ends(content: &[u8], end: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + content.len() / 32 + end.len());
    for line in content.split_inclusive(|&octet| octet == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        out.extend(text.strip_suffix(b"\r").unwrap_or(text));
        out.extend(end);
    }
    out
}

/// The body with a dot before each line that begins with one (RFC 1939, section 3).
pub(super) fn stuffed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 16);
    let mut at_line_start = true;
    for line in body.split_inclusive(|&octet| octet == b'\n') {
        if at_line_start && line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend(line);
        // Only CRLF ends a line; an LF alone is content.
        at_line_start = line.ends_with(b"\r\n");
    }
    out
}

/// The part of a message that TOP shows: the header, the empty line, so many lines of the body.
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
