//! The trait of all value types, and the description of rejected values.

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use crate::text::{closest, sanitize};

/// A type of config value.
pub trait Value: Sized {
    /// The description of a valid value, to complete "must be …".
    const EXPECTED: &'static str;

    /// Reads a value.
    ///
    /// # Errors
    /// The TOML value is not one of this type.
    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected>;

    /// Returns the value as TOML.
    fn to_toml(&self) -> String;
}

/// The description of an invalid value.
#[derive(Debug)]
pub struct Unexpected {
    /// The description, to complete "must be …, not …".
    pub found: String,
    /// The hint, if the mistake is a common one.
    pub hint: Option<String>,
}

impl Unexpected {
    /// Creates a description.
    pub(super) fn new(found: impl Into<String>) -> Self {
        Self {
            found: found.into(),
            hint: None,
        }
    }

    /// Describes a value of the wrong type by its type.
    pub(super) fn type_of(value: &DeValue<'_>) -> Self {
        Self::new(type_name(value))
    }

    /// Describes an invalid value of the right type.
    pub(super) fn value(value: &DeValue<'_>) -> Self {
        Self::new(shown(value))
    }

    /// Describes an element of a list.
    pub(super) fn in_list(self) -> Self {
        Self {
            found: format!("a list that contains {}", self.found),
            hint: self.hint,
        }
    }

    /// Adds a hint.
    pub(super) fn with_hint(self, hint: Option<impl Into<String>>) -> Self {
        Self {
            found: self.found,
            hint: hint.map(Into::into),
        }
    }
}

/// A type with a fixed set of values, each of which is a keyword.
pub(super) trait Words: Copy + PartialEq + 'static {
    /// The keywords and their values.
    const WORDS: &'static [(&'static str, Self)];

    /// Returns the keyword for this value.
    fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, value)| *value == self);
        found.map_or("", |(word, _)| word)
    }

    /// Reads one of the keywords.
    fn read_word(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        let text = text_in(value)?;
        let known = Self::WORDS.iter().find(|(word, _)| *word == text);
        known.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let guess = closest(text, Self::WORDS.iter().map(|(word, _)| *word));
            let hint = guess.map(|guess| format!("did you mean \"{guess}\"?"));
            Unexpected::value(value).with_hint(hint)
        })
    }
}

/// Returns the non-empty string in `value`. Control characters are rejected, since many strings
/// are sent to a server as part of a line.
pub(super) fn text_in<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Unexpected> {
    let text = value.as_str().ok_or_else(|| Unexpected::type_of(value))?;
    if text.is_empty() || text.contains(char::is_control) {
        return Err(Unexpected::value(value));
    }
    Ok(text)
}

/// Reads a string and parses it with `parse`.
pub(super) fn parsed<T>(
    value: &DeValue<'_>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Unexpected> {
    parse(text_in(value)?).ok_or_else(|| Unexpected::value(value))
}

/// Returns the elements of a list.
pub(super) fn elements<'v, 'i>(
    value: &'v DeValue<'i>,
) -> Result<impl Iterator<Item = &'v DeValue<'i>>, Unexpected> {
    let list = value.as_array().ok_or_else(|| Unexpected::type_of(value))?;
    Ok(list.iter().map(Spanned::get_ref))
}

/// Returns the elements of a list that must not be empty.
pub(super) fn some_elements<'v, 'i>(
    value: &'v DeValue<'i>,
) -> Result<impl Iterator<Item = &'v DeValue<'i>>, Unexpected> {
    match value.as_array() {
        Some(list) if list.is_empty() => Err(Unexpected::type_of(value)),
        _ => elements(value),
    }
}

/// Returns `text` as a TOML string.
pub(in crate::config) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Returns a list of strings, such as a command, as TOML.
pub(in crate::config) fn list_of(words: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let words: Vec<_> = words
        .into_iter()
        .map(|word| quoted(word.as_ref()))
        .collect();
    format!("[{}]", words.join(", "))
}

/// Returns an inline table as TOML.
pub(super) fn inline_table(pairs: impl IntoIterator<Item = (String, String)>) -> String {
    let pairs: Vec<_> = pairs
        .into_iter()
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    format!("{{ {} }}", pairs.join(", "))
}

/// A key, or the name of a table.
pub(in crate::config) type Name<'i> = Spanned<DeString<'i>>;

/// Returns the entries of a table in the order of the file, so that the first mistake in it is the
/// one that is reported.
pub(in crate::config) fn in_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Name<'i>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// Returns whether a value is zero, in any unit.
pub(in crate::config) fn is_zero(value: &DeValue<'_>) -> bool {
    let digits = match value {
        DeValue::Integer(number) => number.as_str(),
        DeValue::String(text) => text.trim_end_matches(|c: char| c.is_ascii_alphabetic()),
        _ => "",
    };
    !digits.is_empty() && digits.bytes().all(|digit| digit == b'0')
}

/// Returns the description of a value by its type.
pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(text) if text.is_empty() => "an empty string",
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(true) => "true",
        DeValue::Boolean(false) => "false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(list) if list.is_empty() => "an empty list",
        DeValue::Array(_) => "a list",
        DeValue::Table(table) if table.is_empty() => "an empty table",
        DeValue::Table(_) => "a table",
    }
}

/// Returns the description of a value by its content, safe for a terminal.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.is_empty() => type_name(value).to_owned(),
        DeValue::String(text) if text.contains(char::is_control) => {
            "a string with control characters".to_owned()
        }
        DeValue::String(text) => sanitize(quoted(text).as_bytes()),
        DeValue::Integer(number) => sanitize(number.as_str().as_bytes()),
        DeValue::Float(number) => sanitize(number.as_str().as_bytes()),
        _ => type_name(value).to_owned(),
    }
}
