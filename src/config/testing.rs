//! Helpers for the tests of this module: configs as text.

use std::path::{Path, PathBuf};

use super::{
    account::{Account, Config},
    resolve::{ConfigDefaults, resolve},
    toml::File,
};
use crate::error::Error;

/// The beginning of the only account of [`with`].
const MINIMAL: &str =
    "[account.work]\nhost = \"pop.example.org\"\nuser = \"ann\"\nmaildir = \"~/Mail\"\n";

/// Parses a config file with this text.
pub(super) fn parse(text: &str) -> Result<File, Error> {
    let path = Path::new("/home/ann/.config/pouch/config.toml");
    File::parse(path, Path::new("/home/ann"), text)
}

/// Resolves a config with this text.
pub(super) fn config(text: &str) -> Result<Config, Error> {
    let defaults = ConfigDefaults {
        home: PathBuf::from("/home/ann"),
        state_dir: PathBuf::from("/state"),
    };
    resolve(parse(text)?, &defaults)
}

/// Resolves a minimal account to which these lines are added.
pub(super) fn with(lines: &str) -> Result<Account, Error> {
    config(&format!("{MINIMAL}{lines}\n")).map(|mut config| config.accounts.remove(0))
}

/// Returns the value of a key and its source, as `pouch config show` prints them.
pub(super) fn setting(account: &Account, key: &str) -> String {
    let settings = account.all_settings();
    let setting = settings.iter().find(|setting| setting.key == key);
    let setting = setting.unwrap();
    format!("{} {}", setting.value, setting.source)
}
