//! The rules of an account as they stand in the config: `[[account.NAME.rule]]`.

use std::path::PathBuf;

use toml::de::DeValue;

use super::{
    Account, Place,
    complain::{kind, literal},
    explain::Setting,
    file::{At, Entry, File, RuleTable},
    value::{FilePath, Value, parsed, quoted},
};
use crate::{
    error::Error,
    rule::{Condition, Rule, Verb},
};

/// What a rule does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Fetch, skip or delete.
    Verb(Verb),
    /// Fetch, and deliver there.
    To(Destination),
}

/// A place as written.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A folder of the account's Maildir (Maildir++), whose name begins with a dot.
    Folder(String),
    /// A Maildir.
    Maildir(FilePath),
    /// A program.
    Pipe(Vec<String>),
}

/// Places for copies.
#[derive(Clone, Debug)]
pub struct Destinations(pub Vec<Destination>);

impl Destination {
    fn new(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("maildir", folder) if is_folder(folder) => Some(Self::Folder(folder.to_owned())),
            ("maildir", path) => FilePath::new(path).map(Self::Maildir),
            ("pipe", command) => {
                shlex::split(command).filter(|words| words.first().is_some_and(|word| !word.is_empty())).map(Self::Pipe)
            }
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Folder(folder) => format!("maildir:{folder}"),
            Self::Maildir(path) => format!("maildir:{}", path.0),
            Self::Pipe(words) => Place::Pipe(words.clone()).to_string(),
        }
    }
}

/// Whether the name is one of Maildir++: `.Lists.rust`, as `./x` and `..` are not.
fn is_folder(text: &str) -> bool {
    text.strip_prefix('.').is_some_and(|name| !name.is_empty() && !name.starts_with('.') && !name.contains('/'))
}

impl Value for Action {
    const WANTED: &'static str = r#""fetch", "skip", "delete", or a place like "maildir:.Lists.rust""#;

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        parsed(value, |text| match text {
            "fetch" => Some(Self::Verb(Verb::Fetch)),
            "skip" => Some(Self::Verb(Verb::Skip)),
            "delete" => Some(Self::Verb(Verb::Delete)),
            place => Destination::new(place).map(Self::To),
        })
    }

    fn to_toml(&self) -> String {
        match self {
            Self::Verb(Verb::Fetch) => quoted("fetch"),
            Self::Verb(Verb::Skip) => quoted("skip"),
            Self::Verb(Verb::Delete) => quoted("delete"),
            Self::To(place) => quoted(&place.text()),
        }
    }
}

impl Value for Destinations {
    const WANTED: &'static str = r#"a list of places, like ["maildir:~/Mail/all"]"#;

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let list = value.as_array().filter(|list| !list.is_empty()).ok_or_else(|| kind(value))?;
        let read = |place: &DeValue<'_>| parsed(place, Destination::new);
        let places = list.iter().map(|place| {
            let place = place.get_ref();
            read(place).map_err(|_| format!("a list with {} in it", literal(place)))
        });
        places.collect::<Result<_, _>>().map(Self)
    }

    fn to_toml(&self) -> String {
        let places: Vec<_> = self.0.iter().map(|place| quoted(&place.text())).collect();
        format!("[{}]", places.join(", "))
    }
}

/// What a rule is told by, besides its table.
pub(super) struct Around<'a> {
    /// To point into.
    pub file: &'a File,
    /// The account, all but its rules.
    pub account: &'a Account,
    /// What the account says of deleting unread mail.
    pub may_delete_unread: bool,
    /// How paths are expanded.
    pub path: &'a dyn Fn(&FilePath) -> PathBuf,
}

impl Around<'_> {
    fn fault(&self, at: &At, what: &str, hint: &str) -> Error {
        self.file.document.error(&at.span, what).hint(hint)
    }

    /// The place that `destination` stands for.
    fn place(&self, destination: &Destination, at: &At) -> Result<Place, Error> {
        let place = match (destination, &self.account.place) {
            (Destination::Folder(folder), Place::Maildir(root)) => Place::Maildir(root.join(folder)),
            (Destination::Folder(folder), _) => {
                return Err(self.fault(
                    at,
                    &format!("`{folder}` would be a folder of the account's Maildir, and it has none"),
                    "write a path: \"maildir:~/Mail/lists\"",
                ));
            }
            (Destination::Maildir(path), _) => Place::Maildir((self.path)(path)),
            (Destination::Pipe(argv), _) => Place::Pipe(argv.clone()),
        };
        if self.account.policy.sync_deletions && !matches!(place, Place::Maildir(_)) {
            return Err(self.fault(
                at,
                "with `sync-deletions` all mail goes to Maildirs: elsewhere pouch cannot see what you deleted",
                "remove one of them",
            ));
        }
        Ok(place)
    }

    /// Where the messages of a rule go.
    fn places(&self, table: &RuleTable, action: &Entry<Action>) -> Result<Vec<Place>, Error> {
        let mut places = Vec::new();
        if let Action::To(destination) = &action.value {
            places.push(self.place(destination, &action.at)?);
        }
        let Some(also) = &table.also else { return Ok(places) };
        match action.value {
            Action::Verb(Verb::Fetch) => places.push(self.account.place.clone()),
            Action::Verb(_) => {
                return Err(self.fault(&also.at, "there are no copies of what is not fetched", "remove `also`"));
            }
            Action::To(_) => {}
        }
        for destination in &also.value.0 {
            let place = self.place(destination, &also.at)?;
            if !places.contains(&place) {
                places.push(place);
            }
        }
        Ok(places)
    }
}

/// The rule that an entry is, and how it is explained.
///
/// # Errors
/// It has no action, or one that the account does not allow.
pub(super) fn settle(entry: &Entry<RuleTable>, around: &Around<'_>) -> Result<(Rule, Setting), Error> {
    let table = &entry.value;
    let Some(action) = &table.action else {
        return Err(around.fault(
            &entry.at,
            "the rule has no `action`",
            "say what it does: action = \"skip\", \"delete\", \"fetch\" or a place",
        ));
    };
    let mut conditions = Vec::new();
    let mut texts = Vec::new();
    macro_rules! take {
        ($($key:literal $field:ident $condition:expr;)*) => {$(
            if let Some(entry) = &table.$field {
                texts.push(format!("{} = {}", $key, entry.value.to_toml()));
                conditions.push($condition(entry.value.clone()));
            }
        )*};
    }
    take! {
        "from" from Condition::From;
        "to" to Condition::To;
        "subject" subject Condition::Subject;
        "list-id" list_id Condition::ListId;
        "size" size Condition::Size;
        "older-than" older_than Condition::OlderThan;
    }
    if let Some(Entry { value, .. }) = &table.header {
        texts.push(format!("header = {}", value.to_toml()));
        conditions.extend(value.0.iter().cloned().map(|(name, pattern)| Condition::Field(name, pattern)));
    }
    let verb = match action.value {
        Action::Verb(verb) => verb,
        Action::To(_) => Verb::Fetch,
    };
    if verb == Verb::Delete && !around.may_delete_unread {
        return Err(around.fault(
            &action.at,
            "this rule deletes mail that nobody has read",
            "if that is what you want, add `allow-delete-unread = true` to the account",
        ));
    }
    if verb == Verb::Delete && conditions.is_empty() {
        return Err(around.fault(
            &action.at,
            "this rule deletes every message",
            "name a condition, such as `subject` or `size`",
        ));
    }
    let places = around.places(table, action)?;
    let text = if texts.is_empty() { "that takes all".to_owned() } else { texts.join(", ") };
    texts.push(format!("action = {}", action.value.to_toml()));
    texts.extend(table.also.as_ref().map(|also| format!("also = {}", also.value.to_toml())));
    let setting =
        Setting { key: "rule", value: format!("{{ {} }}", texts.join(", ")), source: entry.at.source.clone() };
    Ok((Rule { conditions, verb, places, text }, setting))
}
