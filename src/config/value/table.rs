//! The values of rules and of multidrop: header fields, actions and destinations.

use toml::de::DeValue;

use super::{
    read::{
        Unexpected, Value, Words, in_order, inline_table, list_of, parsed, quoted, some_elements,
        text_in,
    },
    scalar::pattern,
};
use crate::{
    config::destination_spec::DestinationSpec,
    domain::{pattern::Pattern, rule::RuleAction},
};

/// Returns whether `name` is a valid name of a header field (RFC 5322 §2.2): printable ASCII
/// without a colon.
fn is_field(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b':')
}

/// Header fields with their patterns.
#[derive(Clone, Debug)]
pub struct Fields(pub Vec<(String, Pattern)>);

impl Value for Fields {
    const EXPECTED: &'static str = r#"a name and a pattern, like "X-Spam-Flag: yes""#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        let fields: Vec<_> = match value.as_table() {
            Some(table) if table.is_empty() => return Err(Unexpected::type_of(value)),
            Some(table) => in_order(table)
                .into_iter()
                .map(|(name, value)| {
                    Ok((name.get_ref().to_string(), Value::read(value.get_ref())?))
                })
                .collect::<Result<_, _>>()?,
            None => {
                let (name, text) = text_in(value)?
                    .split_once(':')
                    .ok_or_else(|| Unexpected::value(value))?;
                vec![(name.trim().to_owned(), pattern(text.trim())?)]
            }
        };
        match fields.iter().find(|(name, _)| !is_field(name)) {
            Some((name, _)) => {
                let name = crate::text::sanitize(quoted(name).as_bytes());
                let found = format!("{name}, which is not a valid field name");
                Err(Unexpected::new(found))
            }
            None => Ok(Self(fields)),
        }
    }

    fn to_toml(&self) -> String {
        inline_table(
            self.0
                .iter()
                .map(|(name, pattern)| (quoted(name), pattern.to_toml())),
        )
    }
}

/// Names of header fields.
#[derive(Clone, Debug)]
pub struct Names(pub Vec<String>);

impl Value for Names {
    const EXPECTED: &'static str =
        r#"a list of header fields, like ["Delivered-To", "X-Original-To"]"#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        let name =
            |value: &DeValue<'_>| parsed(value, |text| is_field(text).then(|| text.to_owned()));
        if value.is_str() {
            return name(value).map(|name| Self(vec![name]));
        }
        some_elements(value)?
            .map(|element| name(element).map_err(Unexpected::in_list))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn to_toml(&self) -> String {
        list_of(&self.0)
    }
}

/// The action of a rule.
#[derive(Clone, Debug)]
pub enum Action {
    /// An action without an argument: fetch, skip or delete.
    RuleAction(RuleAction),
    /// Fetches the message and delivers it to this destination.
    To(DestinationSpec),
}

impl Words for RuleAction {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("fetch", Self::Fetch),
        ("skip", Self::Skip),
        ("delete", Self::Delete),
    ];
}

impl Value for Action {
    const EXPECTED: &'static str =
        r#""fetch", "skip", "delete" or a destination like "maildir:.Lists.rust""#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        match DestinationSpec::new(text_in(value)?) {
            Some(_) => destination(value).map(Self::To),
            None => RuleAction::read_word(value).map(Self::RuleAction),
        }
    }

    fn to_toml(&self) -> String {
        match self {
            Self::RuleAction(action) => quoted(action.word()),
            Self::To(destination) => quoted(&destination.text()),
        }
    }
}

/// Reads a destination.
///
/// A Maildir with a bare name is rejected: the name probably means a folder, but would be a
/// directory next to the config file.
fn destination(value: &DeValue<'_>) -> Result<DestinationSpec, Unexpected> {
    match parsed(value, DestinationSpec::new)? {
        DestinationSpec::Maildir(path)
            if !path.0.contains('/') && !path.0.starts_with(['~', '.']) =>
        {
            let name = crate::text::sanitize(path.0.as_bytes());
            let hint = format!(
                "write \"maildir:.{name}\" for a folder of the account's Maildir, \
                 \"maildir:~/Mail/{name}\" for another Maildir"
            );
            Err(Unexpected::value(value).with_hint(Some(hint)))
        }
        destination => Ok(destination),
    }
}

/// The destinations of copies.
#[derive(Clone, Debug)]
pub struct Destinations(pub Vec<DestinationSpec>);

impl Value for Destinations {
    const EXPECTED: &'static str = r#"a list of destinations, like ["maildir:~/Mail/all"]"#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        some_elements(value)?
            .map(|element| destination(element).map_err(Unexpected::in_list))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn to_toml(&self) -> String {
        list_of(self.0.iter().map(DestinationSpec::text))
    }
}

/// The recipients of a multidrop mailbox and the destinations of their messages.
#[derive(Clone, Debug)]
pub struct Routes(pub Vec<(Pattern, DestinationSpec)>);

impl Value for Routes {
    const EXPECTED: &'static str =
        r#"a table of addresses and destinations, like { "ann@example.org" = "maildir:~/ann" }"#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        let table = value
            .as_table()
            .filter(|table| !table.is_empty())
            .ok_or_else(|| Unexpected::type_of(value))?;
        in_order(table)
            .into_iter()
            .map(|(address, destination)| {
                let pattern = pattern(address.get_ref())?;
                let destination = self::destination(destination.get_ref());
                let destination = destination.map_err(|unexpected| {
                    let address = crate::text::sanitize(quoted(address.get_ref()).as_bytes());
                    let found = format!("{} for {address}", unexpected.found);
                    Unexpected::new(found).with_hint(unexpected.hint)
                })?;
                Ok((pattern, destination))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn to_toml(&self) -> String {
        inline_table(
            self.0
                .iter()
                .map(|(pattern, destination)| (pattern.to_toml(), quoted(&destination.text()))),
        )
    }
}
