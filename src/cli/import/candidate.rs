//! An account of the other program that is being imported.

use std::path::{Path, PathBuf};

use crate::{
    config,
    domain::seen::Seen,
    error::Error,
    fetch::ImportOutcome,
    import::{Account, seen},
};

/// The messages that the other program has fetched for an account.
pub(super) struct SeenMessages {
    pub(super) path: PathBuf,
    pub(super) messages: Vec<Seen>,
    pub(super) unfinished: u64,
    pub(super) derived: u64,
}

/// An account of the other program, and the result of its import.
pub(super) struct Candidate {
    pub(super) account: Account,
    /// The account of the config with the same address.
    pub(super) existing: Option<config::Account>,
    pub(super) seen: Option<SeenMessages>,
    pub(super) outcome: Option<ImportOutcome>,
    pub(super) is_added: bool,
    pub(super) problem: Option<Error>,
}

impl Candidate {
    /// Returns the name in the config.
    pub(super) fn name(&self) -> &str {
        let existing = self.existing.as_ref();
        existing.map_or(&self.account.name, |existing| &existing.name)
    }

    /// Returns whether the other program has recorded fetched messages.
    pub(super) fn has_record(&self) -> bool {
        let seen = self.seen.as_ref();
        seen.is_some_and(|seen| !seen.messages.is_empty() || seen.unfinished > 0)
    }

    /// Returns whether the other program has a password for an account that is already in the
    /// config. Its settings are not changed, so the password is not stored.
    pub(super) fn keeps_password(&self) -> bool {
        self.existing.is_some() && self.account.password.is_some()
    }

    /// Returns whether the account can be added to the config.
    pub(super) fn is_new(&self) -> bool {
        self.existing.is_none() && !self.account.is_unusable
    }

    /// Adds the messages of a block of the state file at `path`.
    pub(super) fn add_seen(&mut self, path: &Path, block: &seen::Block) {
        let seen = self.seen.get_or_insert_with(|| SeenMessages {
            path: path.to_owned(),
            messages: Vec::new(),
            unfinished: 0,
            derived: 0,
        });
        seen.messages.extend(block.messages.iter().cloned());
        seen.unfinished += block.unfinished;
        seen.derived += block.derived;
    }
}
