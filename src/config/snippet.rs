//! Excerpts from the config file: lines with arrows below the relevant parts.
//!
//! A message about two lines that contradict each other shows both:
//!
//! ```text
//! config.toml:6:1: `password-command` and `password-file` cannot be used together
//!   5 | password-file = "~/secret"
//!     | ------------- already set here
//!   6 | password-command = …
//!     | ^^^^^^^^^^^^^^^^
//! ```
//!
//! A message must not put a password on the screen or into a log. So whatever follows a key that
//! may hold a password is never shown, even if that key does not exist. That includes
//! `password-command`: people write the password as an argument of `echo`.

use std::{ops::Range, sync::Arc};

use toml::de::DeTable;
use unicode_width::UnicodeWidthStr;
use zeroize::Zeroizing;

use super::{
    provenance::{Position, Source},
    schema::Scope,
};
use crate::{
    error::{Error, Kind},
    text::{closest, sanitize},
};

/// The names of keys that may have a password as their value.
pub(super) const PASSWORD_KEYS: [&str; 6] =
    ["password", "passwd", "pass", "passphrase", "secret", "pw"];

/// The text of a config file, or of another source of accounts.
#[derive(Debug)]
pub(super) struct Document {
    /// The path, with `~/` for the home directory, or the name of the source.
    pub path: Arc<str>,
    /// The content of the file. The output of a command may contain passwords.
    pub text: Zeroizing<String>,
    /// The offset of each line but the first.
    lines: Vec<usize>,
    /// The offsets of the lines with the headers of accounts, in the order of the file.
    headers: Vec<usize>,
    /// Whether the text was converted from another format, so that its lines mean nothing to the
    /// user.
    is_converted: bool,
    /// The main config file, from which keys are merged, if this is another one.
    base: Option<Arc<Document>>,
}

/// An arrow: the part that it points at, its character, and its label.
struct Arrow<'a> {
    span: &'a Range<usize>,
    head: &'static str,
    label: &'a str,
}

impl Document {
    /// Creates a document. `path` is its path or name for messages.
    pub fn new(path: &str, text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self {
            path: path.into(),
            lines: breaks.map(|(at, _)| at + 1).collect(),
            text: Zeroizing::new(text.to_owned()),
            headers: Vec::new(),
            is_converted: false,
            base: None,
        }
    }

    /// Records which file the other keys of its accounts come from.
    pub fn with_base(self, base: Option<Arc<Self>>) -> Self {
        Self { base, ..self }
    }

    /// Records that messages must not show lines of this text.
    pub fn converted(self) -> Self {
        Self {
            is_converted: true,
            ..self
        }
    }

    /// Records the positions of accounts. Those that have no header line are ignored.
    pub fn set_headers(&mut self, positions: impl Iterator<Item = usize>) {
        let text = self.text.as_bytes();
        let is_header = |at: &usize| {
            text.get(*at) == Some(&b'[') && (*at == 0 || text.get(at - 1) == Some(&b'\n'))
        };
        self.headers = positions.filter(is_header).collect();
        self.headers.sort_unstable();
    }

    /// Returns the source of a value whose key, or whose table's header, is at `span`.
    pub fn source(&self, span: Range<usize>) -> Source {
        Source::File(Arc::new(Position {
            path: Arc::clone(&self.path),
            line: (!self.is_converted).then(|| self.line_number(span.start)),
            span,
        }))
    }

    /// Creates the error that `what` is wrong at `span`.
    pub fn error(&self, span: &Range<usize>, what: &str) -> Error {
        self.draw(span, what, None)
    }

    /// Creates the error that `what` is wrong with the key that was set at `source`.
    pub fn error_at(&self, source: &Source, what: &str) -> Error {
        match source {
            Source::File(position) => self.of(position).draw(&position.span, what, None),
            Source::Default | Source::Flag(_) => Error::new(Kind::Config, what),
        }
    }

    /// Creates the error for a contradiction between the keys that were set at `source` and at
    /// `other`, which gets the label `label`.
    pub fn contradiction(
        &self,
        source: &Source,
        what: &str,
        other: Option<&Source>,
        label: &str,
    ) -> Error {
        match (source, other) {
            (Source::File(position), Some(Source::File(other))) => {
                let other = (self.of(other), &other.span, label);
                self.of(position)
                    .draw_with(&position.span, what, Some(other))
            }
            _ => self.error_at(source, what),
        }
    }

    /// Returns the main config file, if this is another one.
    pub fn base(&self) -> Option<&Self> {
        self.base.as_deref()
    }

    /// Returns the document of a position: this one, or the main config file.
    fn of(&self, position: &Position) -> &Self {
        match &self.base {
            Some(base) if position.path != self.path => base,
            _ => self,
        }
    }

    /// Creates the error that `what` is wrong at `span`, with a second, labelled arrow at a span of
    /// a document, which may be another one.
    pub fn draw_with(
        &self,
        span: &Range<usize>,
        what: &str,
        other: Option<(&Self, &Range<usize>, &str)>,
    ) -> Error {
        match other {
            Some((document, other, label)) if document.path != self.path => {
                let error = self.draw(span, what, None);
                document.add_excerpt(error, other, label)
            }
            other => self.draw(span, what, other.map(|(_, span, label)| (span, label))),
        }
    }

    /// Creates the error that `what` is wrong at `span`, with `other` as a second, labelled arrow.
    pub fn draw(
        &self,
        span: &Range<usize>,
        what: &str,
        other: Option<(&Range<usize>, &str)>,
    ) -> Error {
        if self.is_converted {
            return Error::new(Kind::Config, format!("{}: {what}", self.path));
        }
        let (line, column) = self.line_and_column(span.start);
        let mut arrows = vec![Arrow {
            span,
            head: "^",
            label: "",
        }];
        arrows.extend(other.map(|(span, label)| Arrow {
            span,
            head: "-",
            label,
        }));
        let what = format!("{}:{line}:{column}: {what}", self.path);
        let lines = self.excerpt(&mut arrows);
        lines.fold(Error::new(Kind::Config, what), Error::with_fact)
    }

    /// Adds the line of another document to an error, with the arrow at `span`.
    fn add_excerpt(&self, error: Error, span: &Range<usize>, label: &str) -> Error {
        if self.is_converted {
            return error.with_fact(format!("{}: {label}", self.path));
        }
        let (line, column) = self.line_and_column(span.start);
        let error = error.with_fact(format!("{}:{line}:{column}: {label}", self.path));
        let arrow = Arrow {
            span,
            head: "-",
            label: "",
        };
        self.excerpt(&mut [arrow]).fold(error, Error::with_fact)
    }

    /// Returns the lines that arrows point at, each with its arrows below it.
    fn excerpt(&self, arrows: &mut [Arrow<'_>]) -> impl Iterator<Item = String> {
        arrows.sort_by_key(|arrow| arrow.span.start);
        let last = arrows.last().map_or(0, |arrow| arrow.span.start);
        let margin = self.line_and_column(last).0.to_string().len();
        let mut lines = Vec::new();
        let mut shown = None;
        for arrow in arrows {
            let (number, _) = self.line_and_column(arrow.span.start);
            let (text, pointer) = self.line_and_pointer(arrow);
            if shown.replace(number) != Some(number) {
                lines.push(format!("{number:margin$} | {text}"));
            }
            lines.push(format!("{:margin$} | {pointer}", ""));
        }
        lines.into_iter()
    }

    /// Returns the number, from 1, of the line that contains the byte `at`.
    fn line_number(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at) + 1
    }

    /// Returns the line and the column (in characters), both from 1, of the byte `at`.
    fn line_and_column(&self, at: usize) -> (usize, usize) {
        let start = self.text.floor_char_boundary(at);
        let column = self.text[self.line_start(start)..start].chars().count() + 1;
        (self.line_number(start), column)
    }

    /// Returns the offset of the line that contains the byte `at`.
    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// Returns the line that an arrow points at, without secrets, and the line below it with the
    /// arrow and its label.
    fn line_and_pointer(&self, arrow: &Arrow<'_>) -> (String, String) {
        let start = self.text.floor_char_boundary(arrow.span.start);
        let end = self
            .text
            .floor_char_boundary(arrow.span.end.max(arrow.span.start));
        let head = self.line_start(start);
        let first_line = |text: &str| sanitize(text.lines().next().unwrap_or("").as_bytes());
        let shown = if self.continues_secret(head) {
            "…".to_owned()
        } else {
            visible(self.text[head..].lines().next().unwrap_or(""))
        };
        // The arrow stays below the visible text, even if the rest of the line is hidden.
        let indent = sanitize(&self.text.as_bytes()[head..start])
            .width()
            .min(shown.width());
        let room = (shown.width() - indent).max(1);
        let length = first_line(&self.text[start..end]).width().clamp(1, room);
        let pointer = format!(
            "{}{} {}",
            " ".repeat(indent),
            arrow.head.repeat(length),
            arrow.label
        );
        (shown, pointer.trim_end().to_owned())
    }

    /// Returns whether the line that begins at `head` continues the value of a key that may have a
    /// password.
    fn continues_secret(&self, head: usize) -> bool {
        // the header of an account ends all values before it
        let headers = &self.headers[..self.headers.partition_point(|header| *header <= head)];
        let first = headers.last().copied().unwrap_or(0);
        let before = &self.text[first..head];
        let mut from = before.len();
        let begun = before.split_inclusive('\n').rev().any(|line| {
            from -= line.len();
            let line = line.trim_end();
            !is_public(line)
        });
        begun && DeTable::parse(&before[from..]).is_err()
    }
}

/// Returns the number, from 1, of the line that contains the byte `at`.
pub(super) fn line_number(text: &[u8], at: usize) -> usize {
    let before = &text[..at.min(text.len())];
    before.split(|byte| *byte == b'\n').count()
}

/// Returns a line without secrets: the text after a key that may have a password is replaced,
/// wherever the key is in the line.
fn visible(line: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    let is_first = |start: usize| line[..start].trim().is_empty();
    if let Some(start) = url_password(line) {
        return format!("{}…", sanitize(&line.as_bytes()[..start]));
    }
    let mut at = 0;
    for word in line.split(|c| !is_word(c)) {
        let (start, end) = (at, at + word.len());
        at = line.ceil_char_boundary(end + 1);
        let next = line[end..].trim_start_matches(['"', '\'', ' ', '\t']);
        if (is_first(start) || next.starts_with(['=', ':']))
            && holds_secret(word)
            && !next.is_empty()
        {
            return format!("{} = …", sanitize(&line.as_bytes()[..end]));
        }
    }
    sanitize(line.as_bytes())
}

/// Returns where the user and password of a URL begin, if the line has such a URL.
fn url_password(line: &str) -> Option<usize> {
    let start = line.find("://")? + 3;
    let (login, _) = line[start..].split_once('@')?;
    login.contains(':').then_some(start)
}

/// Returns whether a line can be shown as a whole.
pub(super) fn is_public(line: &str) -> bool {
    visible(line) == sanitize(line.as_bytes())
}

/// Returns whether a key of this name, or of the one that it misspells, may hold a password.
fn holds_secret(key: &str) -> bool {
    let lower = key.to_lowercase();
    let long = PASSWORD_KEYS.into_iter().filter(|key| key.len() > 4);
    let sounds_secret = PASSWORD_KEYS.contains(&lower.as_str())
        || ["pass", "secret", "pwd", "token"]
            .iter()
            .any(|part| lower.contains(part))
        || closest(&lower, long).is_some();
    match closest(&lower, Scope::Account.names()) {
        Some("password-command" | "token-command" | "proxy-password-command") => true,
        Some(_) => false,
        None => sounds_secret,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::new("pouch.toml", text)
    }

    #[test]
    fn arrow_is_below_its_span() {
        let text = "a = 1\n\t\"wörld 世界\" = xy\r\nlast";
        let at = text.find("xy").unwrap();
        let error = document(text).error(&(at..at + 2), "no");
        assert_eq!(
            error.to_string(),
            "pouch.toml:2:15: no\n  2 |  \"wörld 世界\" = xy\n    |                 ^^"
        );
        let error = document(text).error(&(text.len()..text.len()), "more");
        assert_eq!(
            error.to_string(),
            "pouch.toml:3:5: more\n  3 | last\n    |     ^"
        );
        let error = document("").error(&(0..9), "empty");
        assert_eq!(error.to_string(), "pouch.toml:1:1: empty\n  1 | \n    | ^");
    }

    #[test]
    fn two_excerpts_are_in_file_order() {
        let text = "a = 1\n".repeat(9) + "bc = 2\n";
        let (first, last) = (0..1, text.len() - 7..text.len() - 5);
        let at = |span: &Range<usize>, other| document(&text).draw(span, "no", Some(other));
        assert_eq!(
            at(&last, (&first, "set here")).to_string(),
            "pouch.toml:10:1: no\n   1 | a = 1\n     | - set here\n  10 | bc = 2\n     | ^^"
        );
        assert_eq!(
            at(&first, (&last, "set here")).to_string(),
            "pouch.toml:1:1: no\n   1 | a = 1\n     | ^\n  10 | bc = 2\n     | -- set here"
        );
        let line = "w = { a = 1, b = 2 }";
        let error = document(line).draw(&(13..14), "no", Some((&(6..7), "set here")));
        assert_eq!(
            error.to_string(),
            "pouch.toml:1:14: no\n  1 | w = { a = 1, b = 2 }\n    \
             |       - set here\n    |              ^"
        );
    }

    #[test]
    fn neither_place_shows_a_password() {
        let text = "password = \"hunter2\"\ntoken = \"hunter2\"\n";
        let error = document(text).draw(&(0..8), "no", Some((&(21..26), "here")));
        assert_eq!(
            error.to_string(),
            "pouch.toml:1:1: no\n  1 | password = …\n    | ^^^^^^^^\n  \
             2 | token = …\n    | ----- here"
        );
    }

    #[test]
    fn line_with_a_possible_password_is_cut() {
        for line in [
            "password = \"hunter2\"",
            "  Passwd = hunter2",
            "\"pass\"='hunter2'",
            "account.work.password = \"hunter2\"",
            "work = { user = \"ann\", password = \"hunter2\" }",
            "my_secret: hunter2",
            "password hunter2",
            "pasword = \"hunter2\"",
            "imap-pwd = \"hunter2\"",
            "password-command = [\"echo\", \"hunter2\"]",
            "pasword-command = [\"echo\", \"hunter2\"]",
            "proxy-password-command = [\"echo\", \"hunter2\"]",
            "proxy = \"socks5://ann:hunter2@gate\"",
            "proxy = socks5://ann:hunter2@gate",
        ] {
            let shown = visible(line);
            assert!(
                !shown.contains("hunter2") && shown.ends_with('…'),
                "{shown}"
            );
        }
        for line in [
            "password-file = 3",
            "allow-plaintext-password = yes",
            "password",
            "proxy = \"socks5://ann@gate:1080\"",
            "# a comment",
            "",
        ] {
            assert_eq!(visible(line), line);
        }
    }
}
