//! Places as rules and multidrop write them.

use toml::de::DeValue;

use super::{
    diagnostic::{kind, literal},
    syntax::{FilePath, Lmtp},
    value::{Value, parsed, quoted},
};
use crate::domain::destination::Destination;

/// A place as written.
#[derive(Clone, Debug)]
pub enum DestinationSpec {
    /// A folder of the account's Maildir (Maildir++), whose name begins with a dot.
    Folder(String),
    /// A Maildir.
    Maildir(FilePath),
    /// A mailbox file.
    Mbox(FilePath),
    /// A program.
    Pipe(Vec<String>),
    /// An LMTP server, and who gets messages there; nobody, where that is told by what leads there.
    Lmtp(Lmtp, Vec<String>),
}

/// Places for copies.
#[derive(Clone, Debug)]
pub struct DestinationSpecs(pub Vec<DestinationSpec>);

impl DestinationSpec {
    /// The place that `text` names, if it names one and nothing else.
    pub(super) fn new(text: &str) -> Option<Self> {
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

    /// As it is written.
    pub(super) fn text(&self) -> String {
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

/// Whether the name is one of Maildir++: `.Lists.rust`, as `./x` and `..` are not.
fn is_folder(text: &str) -> bool {
    text.strip_prefix('.')
        .is_some_and(|name| !name.is_empty() && !name.starts_with('.') && !name.contains('/'))
}

impl Value for DestinationSpecs {
    const WANTED: &'static str = r#"a list of places, like ["maildir:~/Mail/all"]"#;

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let list = value
            .as_array()
            .filter(|list| !list.is_empty())
            .ok_or_else(|| kind(value))?;
        let read = |destination: &DeValue<'_>| parsed(destination, DestinationSpec::new);
        let destinations = list.iter().map(|destination| {
            let destination = destination.get_ref();
            read(destination).map_err(|_| format!("a list with {} in it", literal(destination)))
        });
        destinations.collect::<Result<_, _>>().map(Self)
    }

    fn to_toml(&self) -> String {
        let destinations: Vec<_> = self
            .0
            .iter()
            .map(|destination| quoted(&destination.text()))
            .collect();
        format!("[{}]", destinations.join(", "))
    }
}
