//! Messages for tests: ordinary ones, and ones that careless clients damage.

use super::reply::{to_wire, with_line_ends};

/// Returns the UID of the `n`-th message: `uid-9`.
pub fn uid(n: usize) -> String {
    format!("uid-{n}")
}

/// Returns the messages 1 to `count`, each with its UID.
pub fn messages(count: usize) -> impl Iterator<Item = (String, Vec<u8>)> {
    (1..=count).map(|n| (uid(n), message(n)))
}

/// Returns an ordinary message with LF line endings, different for each number.
pub fn message(n: usize) -> Vec<u8> {
    let mut text = header(n);
    text.push_str("Hello Ann,\n\n");
    text.extend((0..=n % 7).map(|line| format!("line {line} of message {n}, as it was sent.\n")));
    text.push_str("\n-- \nBen\n");
    text.into_bytes()
}

/// Returns an ordinary message of exactly `size` bytes as transmitted, with CRLF line endings. The
/// header takes less than 300 bytes.
pub fn sized(n: usize, octets: usize) -> Vec<u8> {
    const LINE: &str = "The quick brown fox jumps over the lazy dog, again and again.";
    let mut text = header(n);
    let mut left = octets.saturating_sub(to_wire(text.as_bytes()).len());
    while left >= 2 {
        // A remainder of one byte could not be a line, so this line is adjusted to avoid it.
        let length = match left - 2 {
            rest if rest <= LINE.len() => rest,
            rest if rest == LINE.len() + 1 => LINE.len() - 1,
            _ => LINE.len(),
        };
        text.push_str(&LINE[..length]);
        text.push('\n');
        left -= length + 2;
    }
    text.into_bytes()
}

/// Returns unusual but valid messages, each with a name that is also its UID.
#[allow(clippy::too_many_lines, reason = "a table")]
pub fn nasty() -> Vec<(&'static str, Vec<u8>)> {
    let with = |n: usize, body: &[u8]| [header(n).as_bytes(), body].concat();
    vec![
        ("dots", with(901, b".\n..\n...\n.hidden\n. \n.\n")),
        ("dot-alone", b".\n".to_vec()),
        (
            "bare-cr",
            with(902, b"one\rtwo\r\rthree\n\r.\rfour\n.\r.\n"),
        ),
        ("nul", with(903, b"a\0b\0\0\n\0.\n")),
        ("eight-bit", with(904, b"gr\xfc\xdfe \xff\xfe \x80\n")),
        (
            "eight-bit-header",
            b"From: J\xf6rg\nSubject: \xe4\xf6\xfc\n\nhello\n".to_vec(),
        ),
        ("no-header", b"\nthere is no header here\n".to_vec()),
        (
            "no-body",
            b"From: ben@example.org\nSubject: no body\n".to_vec(),
        ),
        ("no-mail", b"this was never a message\n".to_vec()),
        ("no-final-newline", with(905, b"the last line has no end")),
        (
            "long-line",
            with(906, &[&b"x".repeat(200_000)[..], b"\n"].concat()),
        ),
        (
            "from-lines",
            with(907, b"\nFrom here on\n>From there\nFrom\n"),
        ),
        (
            "no-field",
            b"From: ben@example.org\nthis is no field\nSubject: malformed\n: nor this\n\nhello\n"
                .to_vec(),
        ),
        ("only-newlines", b"\n\n\n".to_vec()),
        (
            "folded",
            b"Subject: one\n two\n\tthree\nFrom:\n ben@example.org\n\nhello\n".to_vec(),
        ),
        (
            "from-line-first",
            b"From ben@example.org Mon Nov 23 00:00:00 2026\nSubject: from\n\nhello\n".to_vec(),
        ),
        (
            "quoted-from-line-first",
            b">From ben@example.org Mon Nov 23 00:00:00 2026\nSubject: from\n\nhi\n".to_vec(),
        ),
        ("empty-body", with(908, b"")),
        (
            "no-end-of-header",
            b"From: ben@example.org\nSubject: no end of the header".to_vec(),
        ),
        (
            "cr-for-line-ends",
            b"From: ben@example.org\rSubject: cr\r\rone\rtwo\r.\rthree".to_vec(),
        ),
        (
            "nul-in-header",
            b"From: ben@example.org\nSubject: a\0b\n\n\0\n".to_vec(),
        ),
        (
            "long-field",
            [b"Subject: ", &b"y".repeat(100_000)[..], b"\n\nhello\n"].concat(),
        ),
        (
            "long-header",
            [
                &b"X-Field: and so on\n\tand on\n".repeat(4_000)[..],
                b"\nhello\n",
            ]
            .concat(),
        ),
        (
            "escape",
            b"From: \x1b[31mben\x07@example.org\nSubject: \x1b]0;owned\x07\n\nhi\n".to_vec(),
        ),
    ]
}

/// Returns the content as a client stores it: every line ends with LF, also the last one, and a
/// bare CR is unchanged.
pub fn on_disk(content: &[u8]) -> Vec<u8> {
    with_line_ends(content, b"\n")
}

fn header(n: usize) -> String {
    let (hour, minute, second) = (n / 3600 % 24, n / 60 % 60, n % 60);
    format!(
        "Return-Path: <ben@example.org>\n\
         Received: from mx.example.org by pop.example.org; Mon, 23 Nov 2026 {hour:02}:{minute:02}:{second:02} +0000\n\
         From: Ben <ben@example.org>\n\
         To: Ann <ann@example.org>\n\
         Subject: Message {n}\n\
         Message-ID: <{n}@example.org>\n\
         Date: Mon, 23 Nov 2026 {hour:02}:{minute:02}:{second:02} +0000\n\
         \n"
    )
}
