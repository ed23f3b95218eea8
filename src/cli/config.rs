//! `pouch config`.

use serde_json::{Map, Value, json};

use super::{CommandContext, CommandResult, args::Config, print_json};
use crate::{
    config::{
        Account,
        overrides::Overrides,
        provenance::{Setting, UNSET},
        sample::sample,
    },
    error::Exit,
    report::print,
};

/// The widest value whose source is aligned with the others.
const WIDEST_ALIGNED: usize = 48;

pub(super) fn run(context: &CommandContext, command: &Config) -> CommandResult {
    match command {
        Config::Path if context.global.json => {
            print_json(&json!({ "path": context.setup.path.to_string_lossy() }))?;
        }
        Config::Path => print(&format!("{}\n", context.setup.path.display()))?,
        Config::Sample => print(&sample())?,
        Config::Show(accounts) => return show(context, &accounts.accounts),
    }
    Ok(Exit::OK)
}

/// Prints the values of the named accounts, each with its source.
fn show(context: &CommandContext, names: &[String]) -> CommandResult {
    let accounts = context.setup.accounts(names, &Overrides::default())?;
    if context.global.json {
        let documents: Vec<_> = accounts.iter().map(document).collect();
        print_json(&json!({ "accounts": documents }))?;
    } else {
        let tables: Vec<_> = accounts.iter().map(table).collect();
        print(&tables.join("\n"))?;
    }
    Ok(Exit::OK)
}

/// Returns an account's values with their sources as JSON. Rules are a list, because there can be
/// several.
fn document(account: &Account) -> Value {
    let value = |setting: &Setting| {
        let value = json_value(&setting.value);
        json!({ "value": value, "source": setting.source.to_string() })
    };
    let (rules, keys): (Vec<_>, Vec<_>) = account
        .settings
        .iter()
        .partition(|setting| setting.key == "rule");
    let settings: Map<_, _> = keys
        .into_iter()
        .map(|setting| (setting.key.to_owned(), value(setting)))
        .collect();
    let rules: Vec<_> = rules.into_iter().map(value).collect();
    json!({ "account": account.name, "settings": settings, "rules": rules })
}

/// Returns a TOML value as JSON, or null if the key is not set.
fn json_value(toml: &str) -> Value {
    if toml == UNSET {
        return Value::Null;
    }
    let table = format!("value = {toml}").parse::<toml::Table>();
    let value = table.ok().and_then(|mut table| table.remove("value"));
    value.map_or_else(|| toml.into(), from_toml)
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(is_true) => is_true.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(list) => list.into_iter().map(from_toml).collect(),
        toml::Value::Table(table) => {
            let members = table.into_iter();
            Value::Object(
                members
                    .map(|(key, value)| (key, from_toml(value)))
                    .collect(),
            )
        }
    }
}

/// Returns an account's values as text, each with its source.
fn table(account: &Account) -> String {
    let width = |text: fn(&Setting) -> &str| {
        let widths = account
            .settings
            .iter()
            .map(|setting| text(setting).chars().count());
        widths.max().unwrap_or(0)
    };
    let key_width = width(|setting| setting.key);
    let value_width = width(|setting| &setting.value).min(WIDEST_ALIGNED);
    let mut text = format!("[account.{}]\n", account.name);
    for setting in &account.settings {
        text.push_str(&format!(
            "{:key_width$} = {:value_width$}   # {}\n",
            setting.key, setting.value, setting.source
        ));
    }
    text
}
