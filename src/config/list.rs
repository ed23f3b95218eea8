//! Accounts that a program printed (`accounts-command`), as TOML or JSON.
//!
//! JSON has the same tables as TOML. It is converted to TOML, so that the same code validates it,
//! with the same messages. Only excerpts are omitted, since the user has not written the converted
//! text.
//!
//! The accounts may have passwords. A database contains them in any case, and the alternative, a
//! `password-command` for each account, would start ten thousand programs per round, and disable
//! the sandbox. Passwords are kept in memory only: in the text that is stored for later runs
//! ([`ListText`]), each is replaced by a placeholder.

use std::collections::HashSet;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::{
    file,
    resolve::Problem,
    snippet::Document,
    toml::{File, Role},
    value::{in_order, quoted},
};
use crate::error::{Error, Kind};

/// The value of `password` in a stored text: the account has a password, which is not stored.
const NOT_STORED: &str = "password = false\n";

/// The accounts of a list.
#[derive(Debug)]
pub struct List {
    /// The list, like a config file.
    pub file: File,
    /// Its text without passwords.
    pub text: ListText,
    /// The accounts that could not be converted.
    pub problems: Vec<Problem>,
}

/// A list as TOML, without passwords.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListText {
    /// The tables besides the accounts.
    defaults: String,
    /// The name and the table of each account.
    accounts: Vec<(String, String)>,
}

impl ListText {
    /// Returns the text of the accounts for which `is_wanted` returns true for the name.
    pub fn of(&self, is_wanted: impl Fn(&str) -> bool) -> String {
        let accounts = self.accounts.iter();
        let wanted = accounts.filter(|(name, _)| is_wanted(name));
        let tables = wanted.map(|(_, table)| table.as_str());
        std::iter::once(self.defaults.as_str())
            .chain(tables)
            .collect()
    }

    /// Returns the number of accounts.
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Returns whether there are no accounts.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Reads the tables of a list.
    fn read(tables: &DeTable<'_>) -> Self {
        let mut text = Self::default();
        for (key, value) in in_order(tables) {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("account", DeValue::Table(accounts)) => {
                    let entries = in_order(accounts).into_iter();
                    text.accounts = entries
                        .filter_map(|(name, value)| {
                            let table = value.get_ref().as_table()?;
                            let name = name.get_ref().to_string();
                            let header = format!("account.{}", string(&name).as_str());
                            Some((name, table_text(&header, table)))
                        })
                        .collect();
                }
                ("defaults", DeValue::Table(table)) => {
                    text.defaults = table_text("defaults", table);
                }
                // a mistake
                _ => {}
            }
        }
        text
    }
}

/// Returns a table with its header, without a password.
fn table_text(header: &str, table: &DeTable<'_>) -> String {
    let mut text = format!("[{header}]\n");
    for (key, value) in in_order(table) {
        match key.get_ref().as_ref() {
            "password" => text.push_str(NOT_STORED),
            key => text.push_str(&format!(
                "{} = {}\n",
                string(key).as_str(),
                inline(value.get_ref())
            )),
        }
    }
    text
}

/// Returns a value as TOML.
fn inline(value: &DeValue<'_>) -> String {
    let elements = |list: Vec<String>| list.join(", ");
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(is_true) => is_true.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(list) => {
            let list = list.iter().map(|element| inline(element.get_ref()));
            format!("[{}]", elements(list.collect()))
        }
        DeValue::Table(table) => {
            let pairs = in_order(table).into_iter().map(|(key, value)| {
                format!(
                    "{} = {}",
                    string(key.get_ref()).as_str(),
                    inline(value.get_ref())
                )
            });
            format!("{{ {} }}", elements(pairs.collect()))
        }
    }
}

/// Reads the output of `accounts-command`. `main` is the main config file, and `shown` the name of
/// the output for messages.
///
/// # Errors
/// The output is neither TOML nor JSON, or has a mistake outside of its accounts.
pub fn parse(main: &File, shown: &str, output: &[u8]) -> Result<List, Error> {
    let text = file::decode(shown, output)?;
    let is_json = is_json(text);
    let (document, problems) = if is_json {
        let converted = from_json(shown, text)?;
        let document = Document::new(shown, &converted.text).converted();
        (document, converted.problems)
    } else {
        (Document::new(shown, text), Vec::new())
    };
    let mut text = ListText::default();
    let file = main.parse_list(document, Role::List, &mut |tables| {
        text = ListText::read(tables);
    })?;
    Ok(List {
        file,
        text,
        problems,
    })
}

/// Returns whether a text is JSON and not TOML: an object, or a list, which is reported.
fn is_json(text: &str) -> bool {
    let text = text.trim_start();
    let list = text.strip_prefix('[').map(str::trim_start);
    text.starts_with('{') || list.is_some_and(|rest| rest.starts_with(['{', ']']))
}

/// Reads a list that was stored without passwords.
///
/// # Errors
/// As for [`parse`].
pub fn parse_stored(main: &File, shown: &str, text: &str) -> Result<List, Error> {
    let document = Document::new(shown, text).converted();
    let mut read = ListText::default();
    let file = main.parse_list(document, Role::StoredList, &mut |tables| {
        read = ListText::read(tables);
    })?;
    Ok(List {
        file,
        text: read,
        problems: Vec::new(),
    })
}

/// JSON that was converted to TOML.
struct Converted {
    text: Zeroizing<String>,
    problems: Vec<Problem>,
}

/// Converts JSON to TOML. Keys whose value is null are left out, as are accounts that are defined
/// twice or have a key twice.
fn from_json(shown: &str, text: &str) -> Result<Converted, Error> {
    let invalid = |what: &str| Error::new(Kind::Config, format!("{shown}: {what}"));
    let json: Json =
        serde_json::from_str(text).map_err(|error| invalid(&format!("not valid JSON: {error}")))?;
    let Json::Object(members) = &json else {
        return Err(invalid("the JSON must be an object")
            .with_hint("write it as `{\"account\": {\"NAME\": {...}}}`"));
    };
    if let Some(key) = repeated(members) {
        return Err(invalid(&format!("duplicate key `{key}`")));
    }
    let (mut top, mut tables) = (Zeroizing::default(), Zeroizing::default());
    let mut problems = Vec::new();
    for (key, value) in members {
        match (key.as_str(), value) {
            (_, Json::Null) => {}
            ("account", Json::Object(accounts)) => {
                add_accounts(accounts, shown, &mut tables, &mut problems);
            }
            ("defaults", Json::Object(members)) => {
                if let Some(key) = repeated(members) {
                    return Err(invalid(&format!("duplicate key `{key}` in `defaults`")));
                }
                add_table(&mut tables, "[defaults]", members);
            }
            (key, value) => add_pair(&mut top, key, value),
        }
    }
    top.push_str(&tables);
    Ok(Converted {
        text: top,
        problems,
    })
}

/// Adds accounts to a text.
fn add_accounts(
    accounts: &[(String, Json)],
    shown: &str,
    text: &mut Zeroizing<String>,
    problems: &mut Vec<Problem>,
) {
    // a list without accounts is a valid one
    text.push_str("[account]\n");
    let mut names = HashSet::with_capacity(accounts.len());
    let mut refuse = |account: Option<&str>, what: String| {
        problems.push(Problem {
            account: account.map(str::to_owned),
            error: Error::new(Kind::Config, format!("{shown}: {what}")),
        });
    };
    for (name, value) in accounts {
        match value {
            Json::Null => {}
            _ if !names.insert(name) => {
                refuse(None, format!("account `{name}` is defined twice"));
            }
            Json::Object(members) => match repeated(members) {
                Some(key) => refuse(Some(name), format!("duplicate key `{key}`")),
                None => add_table(
                    text,
                    &format!("[account.{}]", string(name).as_str()),
                    members,
                ),
            },
            _ => refuse(Some(name), format!("account `{name}` must be an object")),
        }
    }
}

/// Returns a key that occurs twice, if there is one.
fn repeated(members: &[(String, Json)]) -> Option<&str> {
    let mut keys = HashSet::new();
    let mut members = members.iter().map(|(key, _)| key.as_str());
    members.find(|key| !keys.insert(*key))
}

fn add_table(text: &mut Zeroizing<String>, header: &str, members: &[(String, Json)]) {
    text.push_str(header);
    text.push('\n');
    for (key, value) in members {
        add_pair(text, key, value);
    }
}

fn add_pair(text: &mut Zeroizing<String>, key: &str, value: &Json) {
    if !matches!(value, Json::Null) {
        text.push_str(&string(key));
        text.push_str(" = ");
        add_value(text, value);
        text.push('\n');
    }
}

/// Adds a value as TOML.
fn add_value(text: &mut Zeroizing<String>, value: &Json) {
    match value {
        // an empty list is rejected wherever an element is needed
        Json::Null => text.push_str("[]"),
        Json::Bool(is_true) => text.push_str(if *is_true { "true" } else { "false" }),
        Json::Number(number) => text.push_str(number),
        Json::Text(value) => text.push_str(&string(value)),
        Json::List(list) => {
            text.push('[');
            for value in list {
                add_value(text, value);
                text.push(',');
            }
            text.push(']');
        }
        Json::Object(members) => {
            text.push('{');
            let mut separator = "";
            for (key, value) in members {
                text.push_str(separator);
                text.push_str(&string(key));
                text.push('=');
                add_value(text, value);
                separator = ",";
            }
            text.push('}');
        }
    }
}

/// Returns a string as TOML. The escape sequences of JSON are a part of those of TOML.
fn string(value: &str) -> Zeroizing<String> {
    let json = serde_json::Value::from(value).to_string();
    // JSON does not escape it, and TOML requires that
    Zeroizing::new(json.replace('\u{7f}', "\\u007F"))
}

/// A JSON value. Objects keep members with the same key, which are mistakes.
enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(Zeroizing<String>),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(format!("{value:?}")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(Zeroizing::new(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            elements.push(element);
        }
        Ok(Json::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::config::testing;

    fn main() -> File {
        testing::parse("jobs = 3\n").unwrap()
    }

    fn parsed(output: &str) -> Result<List, Error> {
        parse(&main(), "output of `list`", output.as_bytes())
    }

    #[test]
    fn json_becomes_the_same_tables_without_passwords() {
        let list = parsed(
            r#"{"defaults": {"keep": "30d"}, "account": {
                "ann": {"host": "pop.example.org", "port": 995, "password": "s3\u007f",
                        "limit": null, "pipe": ["cat", "a\"\\b"],
                        "rule": [{"subject": "x", "action": "skip"}]},
                "ben.x": {}}}"#,
        );
        let list = list.unwrap();
        assert!(list.problems.is_empty());
        assert_snapshot!(list.text.of(|_| true), @r#"
        [defaults]
        "keep" = "30d"
        [account."ann"]
        "host" = "pop.example.org"
        "port" = 995
        password = false
        "pipe" = ["cat", 'a"\b']
        "rule" = [{ "subject" = "x", "action" = "skip" }]
        [account."ben.x"]
        "#);
        assert_eq!(list.text.of(|name| name == "ben.x").lines().count(), 3);
    }

    #[test]
    fn duplicate_in_json_is_a_problem_of_its_account() {
        let list = parsed(
            r#"{"account": {"a": {"host": "h"}, "a": {"host": "i"}, "b": {"user": "x", "user": "y"},
                "c": {"host": "h"}, "d": 3}}"#,
        );
        let list = list.unwrap();
        let problems = list.problems.iter().map(|problem| problem.error.what());
        assert_snapshot!(problems.collect::<Vec<_>>().join("\n"), @"
        output of `list`: account `a` is defined twice
        output of `list`: duplicate key `user`
        output of `list`: account `d` must be an object
        ");
        assert_eq!(list.text.len(), 2);
    }

    #[test]
    fn invalid_output_is_rejected() {
        for output in [
            "{\"account\": ",
            "[account.a\n",
            "{\"jobs\": 3}",
            "jobs = 3\n",
            "{\"account\": []}",
            "[defaults]\npassword = \"hunter2\"\n",
            "{\"defaults\": {\"password\": \"hunter2\"}}",
        ] {
            let error = parsed(output).unwrap_err().to_string();
            assert!(error.starts_with("output of `list`:"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn no_message_has_a_password() {
        for (value, is_text) in [("\"hunter2\\n\"", true), ("2222", false)] {
            for output in [
                format!("[account.a]\nhost = 3\npassword = {value}\n"),
                format!("[account]\na = {{ password = {value}, host = 3 }}\n"),
                format!("{{\"account\": {{\"a\": {{\"password\": {value}, \"host\": 3}}}}}}"),
            ] {
                let list = parsed(&output).unwrap();
                let mistakes = format!("{:?}", list.file.accounts[0].mistakes);
                assert!(mistakes.contains("`host` must be"), "{mistakes}");
                assert!(!mistakes.contains("hunter2"), "{mistakes}");
                assert!(is_text || !mistakes.contains("2222"), "{mistakes}");
            }
        }
    }
}
