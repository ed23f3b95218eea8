//! The config before a command adds accounts to it.

use std::io::ErrorKind;

use super::CommandContext;
use crate::{
    config::{Account, Author, toml::File, write},
    error::{Error, Kind, Result},
    import::LONGEST,
    sys::files,
    text::tilde,
};

/// The current config.
pub(super) struct Existing {
    /// The text of the config file, which is empty if there is none.
    pub(super) text: String,
    /// The accounts of all files.
    pub(super) accounts: Vec<Account>,
}

impl Existing {
    /// Reads the config, which may be missing.
    ///
    /// # Errors
    /// The config file cannot be read, is not valid, or cannot take another account.
    pub(super) fn read(context: &CommandContext) -> Result<Self> {
        let (path, home) = (&context.setup.path, &context.setup.dirs.home);
        if let Ok(target) = path.read_link()
            && let Err(error) = path.metadata()
            && error.kind() == ErrorKind::NotFound
        {
            let what = format!(
                "{} is a symbolic link to {}, which does not exist",
                tilde(path, home),
                tilde(&target, home)
            );
            let hint = "create the file that it points to, or remove the link";
            return Err(Error::new(Kind::Config, what).with_hint(hint));
        }
        if path.symlink_metadata().is_err() {
            return Ok(Self {
                text: String::new(),
                accounts: Vec::new(),
            });
        }
        // reports what is wrong with the file
        File::read(path, home)?;
        let bytes =
            files::read(path, LONGEST).map_err(|error| Error::file("read", path, &error))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        write::check(path, home, &text)?;
        write::check_appendable(path, home, &text)?;
        let accounts = context.setup.accounts_of_files().iter();
        // root must not connect with the settings of another user
        let accounts = accounts.filter(|account| account.author == Author::Trusted);
        Ok(Self {
            text,
            accounts: accounts.cloned().collect(),
        })
    }
}
