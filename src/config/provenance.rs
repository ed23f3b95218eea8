//! The source of each value: a line of the file, a flag, or the default.

use std::{fmt, ops::Range, sync::Arc};

/// The displayed value of a key that is not set and has no default.
pub const UNSET: &str = "unset";

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The default.
    Default,
    /// The config file. It is shared, because ten thousand accounts have half a million values.
    File(Arc<Position>),
    /// A flag or another part of the command line.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(position) => position.fmt(f),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// The position of a key, or of the header of a table, in the config file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The file, with `~/` for the home directory.
    pub path: Arc<str>,
    /// The line number, from 1. `None` if the source has no lines that the user can see.
    pub line: Option<usize>,
    /// The byte range of the key.
    pub span: Range<usize>,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.path),
            None => f.write_str(&self.path),
        }
    }
}

/// A value and its source.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// The source.
    pub source: Source,
}

impl<T> Located<T> {
    /// Returns a value for a table. Values are shared, because each of many thousand accounts has
    /// the values of `[defaults]`.
    pub fn new(value: T, source: Source) -> Arc<Self> {
        Arc::new(Self { value, source })
    }
}

/// One line of `pouch config show`: a key, its effective value, and the source of the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key as in the config.
    pub key: &'static str,
    /// The value as written in the config, or [`UNSET`].
    pub value: String,
    /// The source of the value.
    pub source: Source,
}

/// Records that `flag` set `key` to a value that is written `value`.
pub(super) fn override_setting(
    settings: &mut Vec<Setting>,
    key: &'static str,
    value: &str,
    flag: &'static str,
) {
    settings.retain(|setting| setting.key != key);
    settings.push(Setting {
        key,
        value: value.to_owned(),
        source: Source::Flag(flag),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_shown_as_default_line_or_flag() {
        let file = Source::File(Arc::new(Position {
            path: "~/.config/pouch/config.toml".into(),
            line: Some(12),
            span: 0..0,
        }));
        assert_eq!(Source::Default.to_string(), "default");
        assert_eq!(file.to_string(), "~/.config/pouch/config.toml:12");
        assert_eq!(Source::Flag("--keep").to_string(), "--keep");
    }
}
