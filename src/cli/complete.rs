//! Completions: the shell runs the program to get them, so they include the names of accounts.

use std::{ffi::OsStr, path::PathBuf};

use clap_complete::engine::CompletionCandidate;

use super::dirs::Dirs;
use crate::config::toml::File;

/// Returns the names of the accounts in the config that begin with `current`. Returns none if the
/// config cannot be read.
pub fn accounts(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else {
        return Vec::new();
    };
    let Ok(dirs) = Dirs::find() else {
        return Vec::new();
    };
    let path = dirs
        .variable("POUCH_CONFIG")
        .map_or_else(|| dirs.config_path(), PathBuf::from);
    let Ok(file) = File::read(&path, &dirs.home) else {
        return Vec::new();
    };
    file.accounts
        .iter()
        .map(|account| account.name.as_str())
        .filter(|name| name.starts_with(current))
        .map(CompletionCandidate::new)
        .collect()
}
