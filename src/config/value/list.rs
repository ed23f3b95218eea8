//! Lists: commands, addresses, and lists of keywords.

use toml::de::DeValue;

use super::read::{Unexpected, Value, Words, elements, list_of, some_elements, type_name};
use crate::{
    config::{account::Quirk, route::ConnectCommand},
    domain::{destination::is_recipient, trace_fields::TraceField},
};

impl Words for Quirk {
    const WORDS: &'static [(&'static str, Self)] = &[("no-uidl", Self::NoUidl)];
}

impl Value for Vec<Quirk> {
    const EXPECTED: &'static str = r#"an empty list or ["no-uidl"]"#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        word_list(value)
    }

    fn to_toml(&self) -> String {
        list_of(self.iter().map(|quirk| quirk.word()))
    }
}

impl Words for TraceField {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("received", Self::Received),
        ("return-path", Self::ReturnPath),
        ("delivered-to", Self::DeliveredTo),
    ];
}

impl Value for Vec<TraceField> {
    const EXPECTED: &'static str =
        r#"a list of any of "received", "return-path" and "delivered-to""#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        word_list(value)
    }

    fn to_toml(&self) -> String {
        list_of(self.iter().map(|field| field.word()))
    }
}

/// Reads a list of keywords.
fn word_list<T: Words>(value: &DeValue<'_>) -> Result<Vec<T>, Unexpected> {
    elements(value)?
        .map(|word| T::read_word(word).map_err(Unexpected::in_list))
        .collect()
}

/// A command: the program and its arguments, which may be empty or contain line breaks.
impl Value for Vec<String> {
    const EXPECTED: &'static str = r#"a list of strings, like ["notmuch", "new"]"#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        if let Some(command) = value.as_str() {
            return Err(Unexpected::type_of(value).with_hint(as_list(command)));
        }
        command(value)
    }

    fn to_toml(&self) -> String {
        list_of(self)
    }
}

impl Value for ConnectCommand {
    const EXPECTED: &'static str = r#"a list of strings, like ["ssh", "-W", "%h:%p", "gate"]"#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        Self::new(Value::read(value)?).map_err(|sequence| {
            let sequence = crate::text::sanitize(sequence.as_bytes());
            Unexpected::new(format!("a list that contains `{sequence}`")).with_hint(Some(
                "`%h` is the host, `%p` the port; write `%%` for a percent sign",
            ))
        })
    }

    fn to_toml(&self) -> String {
        list_of(self.words())
    }
}

/// Reads a command.
fn command(value: &DeValue<'_>) -> Result<Vec<String>, Unexpected> {
    let words = some_elements(value)?
        .map(|word| match word {
            DeValue::String(text) if text.contains('\0') => {
                Err(Unexpected::new("a list that contains a NUL byte"))
            }
            DeValue::String(text) => Ok(text.to_string()),
            other => Err(Unexpected::type_of(other).in_list()),
        })
        .collect::<Result<Vec<_>, _>>()?;
    if words[0].is_empty() {
        return Err(Unexpected::new(
            "a list whose first element, the program, is empty",
        ));
    }
    Ok(words)
}

/// Returns the hint that shows a command line as a list, with a shell if it needs one.
fn as_list(command: &str) -> Option<String> {
    let words = if command.contains(['|', '>', '<', ';', '&', '$', '`', '*']) {
        vec!["sh".to_owned(), "-c".to_owned(), command.to_owned()]
    } else {
        shlex::split(command).filter(|words| !words.is_empty())?
    };
    Some(format!("write {}", list_of(words)))
}

impl Value for Vec<Vec<String>> {
    const EXPECTED: &'static str = r#"a list of commands, like [["bogofilter", "-p", "-e"]]"#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        let hint = "write each filter as a list: [[\"bogofilter\", \"-p\", \"-e\"], …]";
        elements(value)?
            .map(|filter| {
                command(filter).map_err(|unexpected| unexpected.in_list().with_hint(Some(hint)))
            })
            .collect()
    }

    fn to_toml(&self) -> String {
        let commands: Vec<_> = self.iter().map(Value::to_toml).collect();
        format!("[{}]", commands.join(", "))
    }
}

/// The recipients of the messages that go to an LMTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipients(pub Vec<String>);

impl Value for Recipients {
    const EXPECTED: &'static str = r#"a list of addresses, like ["ann@example.org"]"#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        some_elements(value)?
            .map(|recipient| match recipient.as_str() {
                Some(text) if is_recipient(text) => Ok(text.to_owned()),
                Some(_) => Err(Unexpected::value(recipient).in_list()),
                None => Err(Unexpected::new(type_name(recipient)).in_list()),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn to_toml(&self) -> String {
        list_of(&self.0)
    }
}
