//! Making text of what others wrote safe to show, and guessing what a person meant.

use std::path::Path;

use crate::domain::time::Timestamp;

/// The most characters of a server's or sender's text that are shown in one place.
const LONGEST: usize = 300;

/// Returns `bytes` in hexadecimal digits, two for each.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// `octets`, which a server or a sender wrote, as text that does nothing to a terminal.
///
/// Control and escape sequences, line breaks and the characters that turn the direction of text
/// or hide it become `\u{fffd}`, what is no UTF-8 likewise; after 300 characters it is cut.
pub fn sanitize(octets: &[u8]) -> String {
    // A character takes at most four octets: no need to decode a line of 100 MB to show its head.
    let head = &octets[..octets.len().min(4 * (LONGEST + 1))];
    let text = String::from_utf8_lossy(head);
    let mut out: String = text
        .chars()
        .take(LONGEST)
        .map(|c| match c {
            '\t' => ' ',
            c if is_unsafe(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}

/// Whether a terminal may act on `c`, or a reader be misled by it.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The candidate that `word` was probably meant to be.
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
        // a third of the word may be wrong, so that `x` is no misspelling of `ux`
        .filter(|(distance, candidate)| {
            *distance <= 3 && *distance * 3 <= candidate.chars().count().max(word.chars().count())
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `2026-11-24`, where the reader is.
pub fn day(at: Timestamp) -> String {
    local(at, "%Y-%m-%d")
}

/// `2026-11-24 14:05`, where the reader is.
pub fn moment(at: Timestamp) -> String {
    local(at, "%Y-%m-%d %H:%M")
}

/// `14:05`, where the reader is.
pub fn time_of_day(at: Timestamp) -> String {
    local(at, "%H:%M")
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

/// A path as people write it, `~/Mail/work`, and safe to show.
pub fn tilde(path: &Path, home: &Path) -> String {
    let text = match path.strip_prefix(home) {
        Ok(rest) if home.is_absolute() => format!("~/{}", rest.display()),
        _ => path.display().to_string(),
    };
    sanitize(text.as_bytes())
}

/// `once`, `3 times`.
pub fn times(number: u32) -> String {
    if number == 1 {
        "once".into()
    } else {
        format!("{number} times")
    }
}

/// `1 message`, `2 messages`.
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
    fn nothing_reaches_the_terminal() {
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
        assert_eq!(long.chars().count(), LONGEST + 1);
    }

    #[test]
    fn misspellings_are_guessed_and_strangers_not() {
        let keys = ["host", "port", "password-command", "maildir", "keep"];
        assert_eq!(closest("pasword-comand", keys), Some("password-command"));
        assert_eq!(closest("Host", keys), Some("host"));
        assert_eq!(closest("hots", keys), Some("host"));
        assert_eq!(closest("colour", keys), None);
        assert_eq!(closest("x", keys), None);
    }
}
