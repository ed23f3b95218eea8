//! Text for display: sanitizing, spelling suggestions, times and counts.

use std::{borrow::Cow, path::Path};

use encoding_rs::{Encoding, GBK, WINDOWS_1252};

use crate::domain::time::Timestamp;

/// The maximum length of sanitized text, in characters.
const MAX_CHARS: usize = 300;

/// The maximum length of the user's input in a message, in characters.
const MAX_QUOTED: usize = 80;

/// The part of the input that is shown after an omission, in characters.
const QUOTED_END: usize = 20;

/// Returns `bytes` as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Returns untrusted bytes, such as a response or a subject, as text that is safe on a terminal.
///
/// Control characters (and thereby escape sequences and line breaks), bidirectional controls,
/// invisible characters and invalid UTF-8 are replaced by U+FFFD. The text is truncated after 300
/// characters.
pub fn sanitize(octets: &[u8]) -> String {
    // A character has at most four bytes. A line may have 100 MB, so only its beginning is decoded.
    let head = &octets[..octets.len().min(4 * (MAX_CHARS + 1))];
    let text = String::from_utf8_lossy(head);
    let mut out: String = text
        .chars()
        .take(MAX_CHARS)
        .map(|c| match c {
            '\t' => ' ',
            c if is_unsafe(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        out.push('…');
    }
    out
}

/// Returns a user's input in backquotes, for a message. The text is sanitized as by [`sanitize`],
/// and the middle of a long one is omitted.
pub fn backquoted(typed: &str) -> String {
    let chars: Vec<char> = printable(typed)
        .replace(['\n', '\t'], " ")
        .chars()
        .collect();
    if chars.len() <= MAX_QUOTED {
        return format!("`{}`", chars.iter().collect::<String>());
    }
    let (start, rest) = chars.split_at(MAX_QUOTED - QUOTED_END);
    let end = &rest[rest.len() - QUOTED_END..];
    let text: String = start.iter().chain(&['…']).chain(end).collect();
    format!("`{text}`")
}

/// Returns a word of a command that the user may copy into a shell, in quotes if necessary.
pub fn shell_word(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "-_.@:/+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return Cow::Borrowed(word);
    }
    shlex::try_quote(word).unwrap_or(Cow::Borrowed(word))
}

/// Returns what is wrong with a value that was typed, or `None` if it can be used.
pub fn value_fault(typed: &str) -> Option<&'static str> {
    if typed.trim().is_empty() {
        Some("must not be empty")
    } else if typed.trim() != typed || printable(typed) != typed || typed.contains(['\n', '\t']) {
        Some("must be printable, without leading or trailing spaces")
    } else {
        None
    }
}

/// Returns a line of a server as text. Servers of Chinese providers send GBK, old ones of European
/// providers Latin-1.
///
/// Characters of GB 2312 are pairs of bytes that are both above 0xA0, while in Latin-1 most letters
/// with a diacritic are followed by an ASCII letter.
pub fn decode(octets: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(octets) {
        Ok(text) => text.into(),
        // truncated within a character
        Err(error) if error.error_len().is_none() => String::from_utf8_lossy(octets),
        Err(_) => {
            legacy_encoding(octets)
                .decode_without_bom_handling(octets)
                .0
        }
    }
}

/// Returns a line of a server as text that is safe on a terminal: decodes it as [`decode`] does,
/// and then does the same as [`sanitize`].
pub fn readable(octets: &[u8]) -> String {
    let head = &octets[..octets.len().min(4 * (MAX_CHARS + 1))];
    sanitize(decode(head).as_bytes())
}

/// Returns the encoding of a line that is not UTF-8.
fn legacy_encoding(octets: &[u8]) -> &'static Encoding {
    let pairs = octets
        .split(u8::is_ascii)
        .all(|run| run.len() % 2 == 0 && run.iter().all(|octet| *octet > 0xa0));
    if pairs { GBK } else { WINDOWS_1252 }
}

/// Returns text of any length and with several lines as text that is safe on a terminal, as
/// [`sanitize`] does. Line breaks and tabs are kept.
pub fn printable(text: &str) -> String {
    let safe = |c| match c {
        '\n' | '\t' => c,
        c if is_unsafe(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(safe).collect()
}

/// Returns whether `c` can control a terminal, or change how the text around it is displayed.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Returns the candidate of which `word` is probably a misspelling, ignoring case.
///
/// `None` if the edit distance is more than 3, or more than a third of the longer word.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&word, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| {
            *distance <= 3 && *distance * 3 <= candidate.chars().count().max(word.chars().count())
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns the local date, like `2026-11-24`.
pub fn day(at: Timestamp) -> String {
    local(at, "%Y-%m-%d")
}

/// Returns the first second of a day in local time. `None` if `date` is not a day of the calendar,
/// written `2026-11-24`.
pub fn start_of_day(date: &str) -> Option<Timestamp> {
    let is_plain = date.len() == 10 && date.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let date: jiff::civil::Date = is_plain.then(|| date.parse().ok()).flatten()?;
    let start = date.to_zoned(jiff::tz::TimeZone::system()).ok()?;
    Some(Timestamp(start.timestamp().as_second()))
}

/// Returns the local date and time, like `2026-11-24 14:05`.
pub fn moment(at: Timestamp) -> String {
    local(at, "%Y-%m-%d %H:%M")
}

/// Returns the local time, like `14:05`.
pub fn time_of_day(at: Timestamp) -> String {
    local(at, "%H:%M")
}

/// Returns the time in UTC, like `2026-11-24T14:05:00Z`.
pub fn instant(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.0).map_or_else(|_| "-".into(), |at| at.to_string())
}

fn local(at: Timestamp, format: &str) -> String {
    jiff::Timestamp::from_second(at.0).map_or_else(
        |_| "an unknown time".into(),
        |at| {
            at.to_zoned(jiff::tz::TimeZone::system())
                .strftime(format)
                .to_string()
        },
    )
}

/// Returns a path for display, sanitized, with `~/` for the home directory.
pub fn tilde(path: &Path, home: &Path) -> String {
    let text = match path.strip_prefix(home) {
        Ok(rest) if home.is_absolute() => format!("~/{}", rest.display()),
        _ => path.display().to_string(),
    };
    sanitize(text.as_bytes())
}

/// Returns a number of repetitions, like `once` or `3 times`.
pub fn times(number: u32) -> String {
    if number == 1 {
        "once".into()
    } else {
        format!("{number} times")
    }
}

/// Returns a count with its noun, like `1 message` or `2 messages`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_encodings_are_decoded() {
        for (octets, text) in [
            (&b"-ERR no"[..], "-ERR no"),
            ("zu gro\u{df}".as_bytes(), "zu groß"),
            (b"ung\xfcltig", "ungültig"),
            (b"gr\xf6\xdfer \x80", "größer €"),
            (
                b"\xc4\xfa\xc3\xbb\xd3\xd0\xc8\xa8\xcf\xde\xca\xb9\xd3\xc3pop3\xb9\xa6\xc4\xdc",
                "您没有权限使用pop3功能",
            ),
            (b"cut \xc3", "cut \u{fffd}"),
        ] {
            assert_eq!(decode(octets), text);
        }
    }

    #[test]
    fn untrusted_text_is_sanitized_and_truncated() {
        assert_eq!(
            sanitize(b"-ERR \x1b[2Jgone\r\n\x07"),
            "-ERR \u{fffd}[2Jgone\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(
            sanitize("a\u{202e}b\u{9b}c".as_bytes()),
            "a\u{fffd}b\u{fffd}c"
        );
        assert_eq!(sanitize(b"caf\xe9"), "caf\u{fffd}");
        assert_eq!(sanitize("Grüße, 世界".as_bytes()), "Grüße, 世界");
        let long = sanitize(&vec![b'x'; 1 << 20]);
        assert_eq!(long.chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn day_begins_at_midnight() {
        let start = start_of_day("2026-11-24").unwrap();
        assert_eq!(moment(start), "2026-11-24 00:00");
        for wrong in [
            "",
            "2026-11-31",
            "2026-1-1",
            "20261124",
            "24.11.2026",
            "2026-11-24T10:00",
            "yesterday",
            "-02026-1-1",
        ] {
            assert_eq!(start_of_day(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn word_for_a_shell_is_quoted_if_necessary() {
        let words = ["work", "büro", "ann+x@example.org", "my mail", "it's", ""];
        assert_eq!(
            words.map(shell_word).join(" | "),
            "work | büro | ann+x@example.org | 'my mail' | \"it's\" | ''"
        );
    }

    #[test]
    fn long_input_is_quoted_without_its_middle() {
        assert_eq!(backquoted("ann\n\u{1b}x"), "`ann \u{fffd}x`");
        assert_eq!(backquoted(&"x".repeat(80)).chars().count(), 82);
        let long = format!("ann{}@example.org", "x".repeat(5000));
        assert_eq!(
            backquoted(&long),
            format!("`ann{}…{}@example.org`", "x".repeat(57), "x".repeat(8))
        );
    }

    #[test]
    fn misspelling_gives_closest_candidate_or_none() {
        let keys = ["host", "port", "password-command", "maildir", "keep"];
        assert_eq!(closest("pasword-comand", keys), Some("password-command"));
        assert_eq!(closest("Host", keys), Some("host"));
        assert_eq!(closest("hots", keys), Some("host"));
        assert_eq!(closest("colour", keys), None);
        assert_eq!(closest("x", keys), None);
    }
}
