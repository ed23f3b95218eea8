//! The notation of destinations in rules and in multidrop: `maildir:PATH`, `mbox:FILE`,
//! `pipe:COMMAND`, `lmtp:ADDRESS`.

use super::syntax::{FilePath, Lmtp};
use crate::domain::destination::Destination;

/// A destination as written, with paths not yet expanded.
#[derive(Clone, Debug)]
pub enum DestinationSpec {
    /// A Maildir++ folder of the account's Maildir, with a name that begins with a dot.
    Folder(String),
    /// A Maildir.
    Maildir(FilePath),
    /// An mbox file.
    Mbox(FilePath),
    /// A program.
    Pipe(Vec<String>),
    /// An LMTP server and its recipients. If there are none, the context determines them.
    Lmtp(Lmtp, Vec<String>),
}

impl DestinationSpec {
    /// Parses a destination. Returns `None` if `text` is not one.
    pub fn new(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("maildir", folder) if is_folder(folder) => Some(Self::Folder(folder.to_owned())),
            ("maildir", path) => FilePath::new(path).map(Self::Maildir),
            ("mbox", path) => FilePath::new(path).map(Self::Mbox),
            ("lmtp", server) => {
                Lmtp::with_recipients(server).map(|(server, names)| Self::Lmtp(server, names))
            }
            ("pipe", command) => shlex::split(command)
                .filter(|words| words.first().is_some_and(|word| !word.is_empty()))
                .map(Self::Pipe),
            _ => None,
        }
    }

    /// Returns the destination in its notation.
    pub fn text(&self) -> String {
        match self {
            Self::Folder(folder) => format!("maildir:{folder}"),
            Self::Maildir(path) => format!("maildir:{}", path.0),
            Self::Mbox(path) => format!("mbox:{}", path.0),
            Self::Lmtp(server, recipients) => Destination::Lmtp(
                server.server(&|path| path.0.clone().into()),
                recipients.clone(),
            )
            .to_string(),
            Self::Pipe(words) => Destination::Pipe(words.clone()).to_string(),
        }
    }
}

/// Returns whether `text` is the name of a Maildir++ folder: `.Lists.rust`, but not `./x` or `..`.
fn is_folder(text: &str) -> bool {
    text.strip_prefix('.')
        .is_some_and(|name| !name.is_empty() && !name.starts_with('.') && !name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_written_as_they_are_read() {
        for text in [
            "maildir:.Lists.rust",
            "maildir:~/Mail/x",
            "maildir:./x",
            "mbox:~/mail",
            "pipe:procmail -d 'a b'",
            "lmtp:unix:/run/dovecot/lmtp",
            "lmtp:host:24 ann ben@example.org",
        ] {
            let spec = DestinationSpec::new(text);
            assert_eq!(spec.map(|spec| spec.text()).as_deref(), Some(text));
        }
    }

    #[test]
    fn other_texts_are_not_destinations() {
        for text in [
            "",
            "~/Mail",
            "maildir:",
            "mbox:$HOME/mail",
            "pipe:",
            "pipe:''",
            "pipe:a 'b",
            "lmtp:localhost",
            "lmtp:unix:/x <ann>",
            "imap:x",
        ] {
            assert!(DestinationSpec::new(text).is_none(), "{text}");
        }
    }
}
