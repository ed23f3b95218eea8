//! Completions: the shells ask the program itself, so that they know its account names.

use std::{ffi::OsStr, path::PathBuf};

use clap_complete::engine::CompletionCandidate;

use super::{args::Shell, setup::Dirs};
use crate::config::file::File;

/// The names of the accounts in the config, as far as it can be read.
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

/// The line for the shell's start-up file, and where it belongs.
pub fn line(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => "source <(COMPLETE=bash pouch)\n",
        Shell::Zsh => "source <(COMPLETE=zsh pouch)\n",
        Shell::Fish => "COMPLETE=fish pouch | source\n",
    }
}
