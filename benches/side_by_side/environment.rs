//! The environment of the clients: their user, and the search path for programs.

use std::path::{Path, PathBuf};

/// The user and group ID of the clients, which is `nobody` on Debian.
pub const CLIENT_UID: u32 = 65534;

/// The search path for the clients and the programs that they start.
pub const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Returns the path of an installed program.
pub fn find(program: &str) -> Option<PathBuf> {
    PATH.split(':')
        .map(|dir| Path::new(dir).join(program))
        .find(|path| path.exists())
}
