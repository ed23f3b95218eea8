//! Where each value of an account came from: what `pouch config show` prints.

use std::fmt;

/// How the value of a key that nobody set, and that has no built-in value, is shown.
pub const UNSET: &str = "unset";

/// One key of an account: its value in effect, and who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key as in the config.
    pub key: &'static str,
    /// The value as it would be written in the config, or [`UNSET`].
    pub value: String,
    /// Who said so.
    pub source: Source,
}

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody: it is what pouch does by itself.
    BuiltIn,
    /// The config file.
    File {
        /// The file, with `~/` for the home.
        path: String,
        /// The line of the key, from 1.
        line: usize,
    },
    /// The command line: this flag.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Notes that `flag` gave `key` the value that is written `value`.
pub(super) fn override_setting(
    settings: &mut [Setting],
    key: &str,
    value: &str,
    flag: &'static str,
) {
    for setting in settings.iter_mut().filter(|setting| setting.key == key) {
        value.clone_into(&mut setting.value);
        setting.source = Source::Flag(flag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_read_well() {
        let file = Source::File {
            path: "~/.config/pouch/config.toml".to_owned(),
            line: 12,
        };
        assert_eq!(Source::BuiltIn.to_string(), "built in");
        assert_eq!(file.to_string(), "~/.config/pouch/config.toml:12");
        assert_eq!(Source::Flag("--keep").to_string(), "--keep");
    }
}
