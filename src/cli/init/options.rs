//! The options of `pouch init` that replace questions.

use std::path::Path;

use super::{
    Init,
    draft::{self, Draft, Source},
};
use crate::{
    config::{name_fault, syntax::FilePath, url::words},
    domain::mail_address::MailAddress,
    error::{Error, Kind, Result},
    text::{backquoted, tilde, value_fault},
};

/// The maximum length of a login name, in bytes: the length of a command line in POP3 (RFC 2449
/// §4).
const LONGEST_USER: usize = 255;

/// The maximum length of a file name, in bytes.
const LONGEST_FILE_NAME: usize = 255;

/// Returns what is wrong with a login name, or `None` if it can be used.
pub(super) fn user_fault(user: &str) -> Option<&'static str> {
    if user.len() > LONGEST_USER {
        return Some("must not be longer than 255 bytes");
    }
    value_fault(user)
}

impl Init<'_> {
    /// Checks the options before the first lookup or question.
    ///
    /// # Errors
    /// A value is empty or not printable.
    pub(super) fn check_options(&self) -> Result<()> {
        let args = self.args;
        let values = [
            ("--user", args.user.as_deref().and_then(user_fault)),
            ("--host", args.host.as_deref().and_then(value_fault)),
            ("--keep", args.keep.as_deref().and_then(value_fault)),
            (
                "--client-id",
                args.client_id.as_deref().and_then(value_fault),
            ),
        ];
        match values
            .into_iter()
            .find_map(|(flag, fault)| Some((flag, fault?)))
        {
            Some((flag, fault)) => Err(Error::new(Kind::Usage, format!("`{flag}` {fault}"))),
            None => Ok(()),
        }
    }

    /// Returns the mail address in a text.
    ///
    /// # Errors
    /// The text is not a mail address.
    pub(super) fn parsed_address(text: &str) -> Result<MailAddress> {
        MailAddress::parse(text).map_err(|reason| {
            let what = if text.trim().is_empty() {
                "the mail address is empty".to_owned()
            } else {
                format!("{} is not a mail address: {reason}", backquoted(text))
            };
            Error::new(Kind::Usage, what).with_hint("run `pouch init ann@example.org`")
        })
    }

    /// Sets `keep`. The rest of the draft has to be valid, so that an error is about `keep`.
    ///
    /// # Errors
    /// `keep` is not valid.
    pub(super) fn set_keep(&self, draft: &mut Draft, keep: &str) -> Result<()> {
        keep.clone_into(&mut draft.keep);
        self.account(draft).map(drop).map_err(|_| not_a_time(keep))
    }

    /// Returns the name of the account.
    ///
    /// # Errors
    /// The name on the command line is not valid or already in use.
    pub(super) fn name(&self, address: &MailAddress) -> Result<String> {
        let is_taken = |name: &str| self.existing.accounts.iter().any(|it| it.name == name);
        let Some(name) = &self.args.name else {
            return Ok(draft::name(address, is_taken));
        };
        if let Some(fault) = name_fault(name) {
            return Err(Error::new(Kind::Usage, format!("an account name {fault}")));
        }
        if is_taken(name) {
            let what = format!(
                "{} already has an account {}",
                self.context.setup.shown_path(),
                backquoted(name)
            );
            return Err(Error::new(Kind::Usage, what).with_hint("choose another `--name`"));
        }
        Ok(name.clone())
    }

    /// Returns the source of the secret on the command line, if any.
    ///
    /// # Errors
    /// The command is not a list of words, or the path cannot be written in a config.
    pub(super) fn source(&self) -> Result<Option<Source>> {
        let args = self.args;
        if let Some(command) = &args.password_command {
            return words("--password-command", command).map(|argv| Some(Source::Command(argv)));
        }
        if let Some(command) = &args.token_command {
            return words("--token-command", command).map(|argv| Some(Source::TokenCommand(argv)));
        }
        if let Some(file) = &args.password_file {
            return self
                .absolute("--password-file", file)
                .map(|path| Some(Source::File(path)));
        }
        let oauth = args.oauth.clone();
        Ok(oauth.map(|provider| Source::OAuth(provider, args.client_id.clone())))
    }

    /// Returns the path given with `flag`, in the form for the config.
    ///
    /// # Errors
    /// The path cannot be written in a config.
    pub(super) fn absolute(&self, flag: &str, path: &Path) -> Result<String> {
        let refused = |fault: &str| Error::new(Kind::Usage, format!("`{flag}` {fault}"));
        let Some(path) = path.to_str() else {
            return Err(refused("is not UTF-8, which a config requires"));
        };
        let Some(path) = FilePath::new(path) else {
            return Err(refused("is a path that only a shell can expand")
                .with_hint("write the path in full, or with `~/`"));
        };
        let path = path.expand(self.home(), &self.context.setup.dirs.here()?);
        if path.iter().any(|name| name.len() > LONGEST_FILE_NAME) {
            return Err(refused("contains a name longer than 255 bytes"));
        }
        Ok(tilde(&path, self.home()))
    }
}

/// Returns the error for an invalid value of `--keep`.
fn not_a_time(keep: &str) -> Error {
    let option = backquoted(&format!("--keep {keep}"));
    let what = format!("{option} is not forever, none or a time in days");
    Error::new(Kind::Usage, what).with_hint("write it as 30d, 8w, 6mo or 1y")
}
