//! What is wrong with a config file, in the words of the person who wrote it: place, line, arrow
//! and what was probably meant.

use std::{ops::Range, path::Path};

use toml::de::{DeTable, DeValue};
use unicode_width::UnicodeWidthStr;

use super::{
    file::{KEYS, TOP_KEYS},
    migration_hints::counterpart,
    value::{QUIRKS, TRACE_FIELDS, listed, quoted},
};
use crate::{
    error::{Error, Kind},
    text::{closest, sanitize, tilde},
};

/// The keys under which people look for a place to write their password.
const PASSWORD_KEYS: [&str; 6] = ["password", "passwd", "pass", "passphrase", "secret", "pw"];

/// No config is longer, in octets; `-c /dev/zero` is a slip of the hand.
pub(super) const LONGEST: u64 = 1 << 20;

/// The text of a config file and how to point into it.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// The path as people see it, with `~/` for the home.
    pub path: String,
    /// What the file holds.
    pub text: String,
}

impl Document {
    /// The number, from 1, of the line that holds the octet `at`.
    pub fn line(&self, at: usize) -> usize {
        line_number(&self.text.as_bytes()[..at.min(self.text.len())])
    }

    /// `what` is wrong at `span`: the place, the line, and an arrow under what is meant.
    pub fn error(&self, span: &Range<usize>, what: &str) -> Error {
        let start = self.text.floor_char_boundary(span.start);
        let head = self.text[..start]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let line = self.text[head..].lines().next().unwrap_or("");
        let before = &self.text[head..start];
        let under = self.text[start..self.text.floor_char_boundary(span.end.max(start))]
            .lines()
            .next()
            .unwrap_or("");

        let number = self.line(start).to_string();
        let visible = if self.continues_secret(head) {
            "…".to_owned()
        } else {
            visible(line)
        };
        let margin = " ".repeat(number.len());
        // The arrow stays under what is shown, even where the rest of the line is cut or hidden.
        let indent = sanitize(before.as_bytes()).width().min(visible.width());
        let room = visible.width() - indent;
        let arrow = "^".repeat(sanitize(under.as_bytes()).width().min(room).max(1));
        Error::new(
            Kind::Config,
            format!(
                "{}:{number}:{}: {what}",
                self.path,
                before.chars().count() + 1
            ),
        )
        .with_fact(format!("{number} | {visible}"))
        .with_fact(format!("{margin} | {}{arrow}", " ".repeat(indent)))
    }

    /// Whether the line that begins at `head` goes on with a value which a key for a password
    /// began.
    fn continues_secret(&self, head: usize) -> bool {
        let before = &self.text[..head];
        let mut from = head;
        let begun = before.split_inclusive('\n').rev().any(|line| {
            from -= line.len();
            let line = line.trim_end();
            visible(line) != sanitize(line.as_bytes())
        });
        begun && DeTable::parse(&before[from..]).is_err()
    }

    /// A key that does not exist, or not in this place.
    pub fn unknown_key(&self, span: &Range<usize>, key: &str, at_top: bool) -> Error {
        let (here, elsewhere) = if at_top {
            (TOP_KEYS, KEYS)
        } else {
            (KEYS, TOP_KEYS)
        };
        let name = sanitize(key.as_bytes());
        if PASSWORD_KEYS.contains(&key.to_lowercase().as_str()) {
            self.error(span, "pouch keeps no password in its config").with_hint(
                "name what knows it: `password-command = [\"pass\", \"show\", \"mail/work\"]`, or `password-file = \"~/.secrets/work\"`",
            )
        } else if elsewhere.contains(&key) && at_top {
            self.error(span, &format!("`{name}` belongs to an account"))
                .with_hint("move it below an `[account.NAME]` line, or below `[defaults]` for all accounts")
        } else if elsewhere.contains(&key) {
            self.error(span, &format!("`{name}` does not belong to an account"))
                .with_hint("move it to the top of the file, above the first line in brackets")
        } else if let Some(counterpart) = counterpart(key) {
            self.error(span, &format!("unknown key `{name}`"))
                .with_hint(counterpart)
        } else {
            let guess = closest(
                key,
                here.iter()
                    .chain(elsewhere)
                    .copied()
                    .chain(["rule", "multidrop"].into_iter().filter(|_| !at_top)),
            );
            self.error(span, &format!("unknown key `{name}`"))
                .with_hint(guess.map_or_else(
                    || "all keys: `pouch config sample`, or the manual pouch-config(5)".to_owned(),
                    |guess| format!("did you mean `{guess}`?"),
                ))
        }
    }

    /// A key that is none of `keys`, those of a table within the table `called`: `what`.
    pub fn unknown_inner_key(
        &self,
        span: &Range<usize>,
        key: &str,
        (called, what): (&str, &str),
        keys: &[&str],
    ) -> Error {
        let name = sanitize(key.as_bytes());
        if KEYS.contains(&key) {
            return self
                .error(span, &format!("`{name}` does not belong to {what}"))
                .with_hint(format!(
                    "move it up to `[{called}]`, above all tables in it"
                ));
        }
        let guess = closest(key, keys.iter().copied());
        self.error(span, &format!("unknown key `{name}`"))
            .with_hint(guess.map_or_else(
                || format!("{what} has {}", keys.join(", ")),
                |guess| format!("did you mean `{guess}`?"),
            ))
    }

    /// A table that is neither `[defaults]` nor an account.
    pub fn unknown_table(&self, span: &Range<usize>, name: &str) -> Error {
        let shown = sanitize(name.as_bytes());
        let hint = match closest(name, ["account", "defaults"]) {
            Some("account") => "did you mean `[account.NAME]`?".to_owned(),
            Some(guess) => format!("did you mean `[{guess}]`?"),
            None => format!("an account is written `[account.{shown}]`"),
        };
        self.error(span, &format!("unknown table `[{shown}]`"))
            .with_hint(hint)
    }

    /// A value that its key does not take. `found` is what stands there instead of `wanted`.
    pub fn misfit(
        &self,
        span: &Range<usize>,
        key: &str,
        misfit: &TypeMismatch,
        value: &DeValue<'_>,
    ) -> Error {
        let TypeMismatch { wanted, found } = misfit;
        let error = self.error(span, &format!("`{key}` must be {wanted}, not {found}"));
        match advice(key, value) {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    /// What the TOML reader stumbled over.
    pub fn syntax(&self, error: &toml::de::Error) -> Error {
        let span = error.span().unwrap_or(0..0);
        let culprit = sanitize(self.text.get(span.clone()).unwrap_or("").as_bytes());
        let message = error.message();
        let what = match message
            .split_once(", expected")
            .map_or(message, |(fault, _)| fault)
        {
            "duplicate key" => format!("`{culprit}` stands here for the second time"),
            "string values must be quoted" if culprit.is_empty() => {
                "a value is missing here".to_owned()
            }
            "string values must be quoted" | "invalid boolean"
                if ["true", "false"].contains(&&*culprit.to_lowercase()) =>
            {
                format!("write {}, in small letters", culprit.to_lowercase())
            }
            "string values must be quoted" | "invalid boolean" => {
                "a text must stand in straight quotes: \"…\"".to_owned()
            }
            "invalid unquoted key" => {
                "a name has only letters, digits, `-` and `_` in it".to_owned()
            }
            "key with no value" => "after a key, `=` and its value must follow".to_owned(),
            "invalid basic string" | "invalid literal string" if culprit.is_empty() => {
                "the closing quote is missing".to_owned()
            }
            fault if fault.contains("recursion") => "too many brackets within brackets".to_owned(),
            fault if message.ends_with("expected nothing") => {
                format!("this is not valid TOML: {fault}")
            }
            _ => format!("this is not valid TOML: {message}"),
        };
        self.error(&span, &what)
    }
}

/// The number, from 1, of the line that follows `before`.
fn line_number(before: &[u8]) -> usize {
    before.split(|octet| *octet == b'\n').count()
}

/// The octets as text; what cannot be shown is only named by its line.
pub(super) fn as_text<'o>(shown: &str, octets: &'o [u8]) -> Result<&'o str, Error> {
    let fault = |at: usize, what: &str| {
        let line = line_number(&octets[..at]);
        Error::new(Kind::Config, format!("{shown}:{line}: {what}"))
    };
    if octets.len() as u64 > LONGEST {
        return Err(Error::new(
            Kind::Config,
            format!("{shown} is too long for a config file"),
        ));
    }
    if let Some(at) = octets.iter().position(|octet| *octet == 0) {
        return Err(fault(at, "a NUL stands here; this is no text file"));
    }
    let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    str::from_utf8(octets).map_err(|error| {
        fault(error.valid_up_to(), "this is not UTF-8").with_hint("save the file as UTF-8")
    })
}

/// There is no config: the two ways on.
pub(super) fn missing(path: &Path, home: &Path) -> Error {
    let shown = tilde(path, home);
    let make = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.exists() => {
            format!("mkdir -p {} && ", tilde(folder, home))
        }
        _ => String::new(),
    };
    Error::new(Kind::Config, format!("there is no config file {shown}"))
        .with_fact(format!("to begin one: {make}pouch config sample > {shown}"))
        .with_hint("it also works without: `pouch fetch pops://you@host --to ~/Mail`")
}

/// What is wrong with an account's name: it is typed on the command line, where an address may
/// stand as well, and shown in messages.
pub(super) fn name_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("may not be empty")
    } else if name.contains(['/', '@']) {
        Some("holds no `/` and no `@`, to tell it from an address")
    } else if name.starts_with(['-', '.']) {
        Some("begins with neither `-` nor `.`")
    } else if name.trim() != name || sanitize(name.as_bytes()) != name {
        Some("is printable text, with no spaces around it")
    } else {
        None
    }
}

/// Why a value does not fit its key: both halves of "must be `wanted`, not `found`".
#[derive(Debug)]
pub(super) struct TypeMismatch {
    /// What the key takes.
    pub wanted: &'static str,
    /// What stands there.
    pub found: String,
}

/// The kind of a value, for one whose kind is wrong.
pub(super) fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.is_empty() => "an empty text",
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(true) => "true",
        DeValue::Boolean(false) => "false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(list) if list.is_empty() => "an empty list",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
    .to_owned()
}

/// The value itself, for one of the right kind.
pub(super) fn literal(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.is_empty() => kind(value),
        DeValue::String(text) if text.contains(char::is_control) => {
            "a text with control characters".to_owned()
        }
        DeValue::String(text) => sanitize(quoted(text).as_bytes()),
        DeValue::Integer(number) => sanitize(number.as_str().as_bytes()),
        DeValue::Float(number) => sanitize(number.as_str().as_bytes()),
        _ => kind(value),
    }
}

/// The way out for the misfits that people are known to write.
fn advice(key: &str, value: &DeValue<'_>) -> Option<String> {
    let text = value.as_str();
    let hint = match key {
        "keep" | "keep-newest" | "keep-total" if means_nothing(value) => {
            "`keep = \"none\"` deletes every message from the server once it is safe on disk"
        }
        "max-size" if means_nothing(value) => "leave `max-size` out to fetch messages of any size",
        "request-ahead" if means_nothing(value) => {
            "1 turns it off: each message is asked for after the one before it"
        }
        "host" if text.is_some_and(|text| text.contains([':', '/', '@'])) => {
            "port, TLS and user have keys of their own: `port`, `tls`, `user`"
        }
        "password-command" | "pipe" | "after" => return text.and_then(as_list),
        "filter" if value.as_array().is_some_and(|list| !list.is_empty()) => {
            "each filter is a list of its own: [[\"bogofilter\", \"-p\", \"-e\"], …]"
        }
        "maildir" | "state-dir" | "password-file" | "tls-ca-file" | "tls-client-cert"
        | "tls-client-key"
            if text.is_some_and(|text| text.starts_with(['$', '~'])) =>
        {
            "`~/` at the start stands for your home; nothing else is expanded"
        }
        "tls" => return did_you_mean(text?, &["implicit", "starttls", "off"]),
        "quirks" | "add-headers" => {
            let known = if key == "quirks" {
                QUIRKS
            } else {
                TRACE_FIELDS
            };
            let words = value
                .as_array()?
                .iter()
                .filter_map(|word| word.get_ref().as_str());
            return words
                .filter(|word| !known.contains(word))
                .find_map(|word| did_you_mean(word, known));
        }
        "auth" => return did_you_mean(text?, &["auto", "plain", "user"]),
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Whether the value is a nought of any unit.
fn means_nothing(value: &DeValue<'_>) -> bool {
    let digits = match value {
        DeValue::Integer(number) => number.as_str(),
        DeValue::String(text) => text.trim_end_matches(|c: char| c.is_ascii_alphabetic()),
        _ => "",
    };
    !digits.is_empty() && digits.bytes().all(|digit| digit == b'0')
}

fn did_you_mean(word: &str, words: &[&str]) -> Option<String> {
    closest(word, words.iter().copied()).map(|guess| format!("did you mean \"{guess}\"?"))
}

/// A command line as the list that does the same; one that needs a shell gets one.
fn as_list(command: &str) -> Option<String> {
    let words = if command.contains(['|', '>', '<', ';', '&', '$', '`', '*']) {
        vec!["sh".to_owned(), "-c".to_owned(), command.to_owned()]
    } else {
        shlex::split(command).filter(|words| !words.is_empty())?
    };
    Some(format!("write {}", listed(&words)))
}

/// The line as it may be shown: without what follows a key that holds a password, wherever in the
/// line it stands, since a complaint must not put a secret on the screen or into a log.
fn visible(line: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    let is_first = |start: usize| line[..start].trim().is_empty();
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

/// Whether a key of this name would hold a password.
fn holds_secret(key: &str) -> bool {
    let lower = key.to_lowercase();
    let long = PASSWORD_KEYS.into_iter().filter(|key| key.len() > 4);
    let sounds_secret = PASSWORD_KEYS.contains(&lower.as_str())
        || ["pass", "secret", "pwd", "token"]
            .iter()
            .any(|part| lower.contains(part))
        || closest(&lower, long).is_some();
    sounds_secret && closest(&lower, KEYS.iter().copied()).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document {
            path: "pouch.toml".to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn the_arrow_stands_under_what_is_meant() {
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
    fn a_line_that_may_hold_a_password_is_cut() {
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
        ] {
            let shown = visible(line);
            assert!(
                !shown.contains("hunter2") && shown.ends_with(" = …"),
                "{shown}"
            );
        }
        for line in [
            "pasword-command = [\"pass\", \"show\", \"x\"]",
            "password-file = 3",
            "allow-plaintext-password = yes",
            "password",
            "# a comment",
            "",
        ] {
            assert_eq!(visible(line), line);
        }
    }

    #[test]
    fn paths_under_the_home_are_short() {
        let home = Path::new("/home/ann");
        assert_eq!(tilde(Path::new("/home/ann/x/y"), home), "~/x/y");
        assert_eq!(tilde(Path::new("/home/anna/x"), home), "/home/anna/x");
        assert_eq!(tilde(Path::new("pouch.toml"), Path::new("")), "pouch.toml");
    }
}
