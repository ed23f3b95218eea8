//! The record of fetched messages: reading the state files of the other program, and assigning what
//! they contain to accounts.

use std::path::{Path, PathBuf};

use super::{candidate::Candidate, places};
use crate::{
    cli::args::Import as Args,
    error::{Exit, Kind, Result},
    import::{Account, Program, seen},
    report::complain,
    text::{backquoted, count, tilde},
};

/// The state files that were read, each with the blocks that belong to an account.
struct StateFiles<'a> {
    program: Program,
    home: &'a Path,
    files: Vec<(PathBuf, seen::State, Vec<bool>)>,
}

impl StateFiles<'_> {
    /// Reads a state file unless it was read before. Returns its index and the exit status.
    fn read(&mut self, path: &Path) -> Result<(usize, Exit)> {
        if let Some(at) = self.files.iter().position(|(known, ..)| known == path) {
            return Ok((at, Exit::OK));
        }
        let bytes = places::read(path, self.home)?;
        let state = seen::read(self.program, &bytes);
        let mut exit = Exit::OK;
        for line in state.odd_lines.iter().take(3) {
            exit = Kind::State.exit();
            complain(&format!(
                "pouch: {}:{line}: not a fetched message of {}",
                tilde(path, self.home),
                self.program
            ));
        }
        let used = vec![false; state.blocks.len()];
        self.files.push((path.to_owned(), state, used));
        Ok((self.files.len() - 1, exit))
    }

    /// Returns descriptions of the blocks that belong to no account.
    fn unused(&self) -> Vec<String> {
        let mut unused = Vec::new();
        for (path, state, used) in &self.files {
            let blocks = state.blocks.iter().zip(used);
            for (block, _) in blocks.filter(|(_, used)| !**used) {
                let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "?".into());
                let mailbox = format!("{}@{}", name(&block.user), name(&block.host));
                unused.push(format!(
                    "{} of {} in {}",
                    count(block.messages.len() as u64, "message"),
                    backquoted(&mailbox),
                    tilde(path, self.home)
                ));
            }
        }
        unused
    }
}

/// Reads the records of fetched messages. Returns descriptions of those that belong to no account,
/// and the exit status.
///
/// # Errors
/// The file of `--state` cannot be read. An error of another file is a problem of its account.
pub(super) fn find_seen(
    program: Program,
    candidates: &mut [Candidate],
    args: &Args,
    home: &Path,
) -> Result<(Vec<String>, Exit)> {
    let mut files = StateFiles {
        program,
        home,
        files: Vec::new(),
    };
    let mut exit = Exit::OK;
    let is_usable = |one: &&mut Candidate| !one.account.is_unusable;
    let usable = candidates.iter_mut().filter(is_usable).count();
    for candidate in candidates.iter_mut().filter(is_usable) {
        let mut places = candidate.account.state.iter();
        let found = args.state.as_ref();
        let Some(path) = found
            .or_else(|| places.find(|path| path.symlink_metadata().is_ok()))
            .cloned()
        else {
            continue;
        };
        let at = match files.read(&path) {
            Ok((at, read)) => {
                exit = exit.worst(read);
                at
            }
            Err(error) if args.state.is_some() => return Err(error),
            Err(error) => {
                exit = exit.worst(error.kind().exit());
                candidate.problem = Some(error);
                continue;
            }
        };
        let (_, state, used) = &mut files.files[at];
        for (block, used) in state.blocks.iter().zip(used) {
            if is_of(block, &candidate.account, usable, args.state.is_some()) {
                *used = true;
                candidate.add_seen(&path, block);
            }
        }
    }
    Ok((files.unused(), exit))
}

/// Returns whether a block of a state file belongs to an account. A file that does not name a
/// mailbox was found by its file name, or belongs to the only account.
fn is_of(block: &seen::Block, account: &Account, accounts: usize, named: bool) -> bool {
    match (&block.user, &block.host) {
        (Some(user), Some(host)) => account.user.as_ref() == Some(user) && account.is_at(host),
        _ => !named || accounts == 1,
    }
}
