//! `pouch config`.

use serde_json::{Map, Value, json};

use super::{CommandContext, CommandResult, args::Config, print_json};
use crate::{
    config::{
        Account, conf_d,
        overrides::Overrides,
        provenance::{Setting, UNSET},
        sample::sample,
    },
    error::Exit,
    report::{self, print},
};

/// The widest value whose source is aligned with the others.
const WIDEST_ALIGNED: usize = 48;

pub(super) fn run(context: &CommandContext, command: &Config) -> CommandResult {
    match command {
        Config::Path if context.global.json => {
            let path = &context.setup.path;
            let dir = conf_d::dir(path);
            print_json(&json!({
                "path": path.to_string_lossy(),
                "conf_d": dir.to_string_lossy(),
            }))?;
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
        print_json(&context.accounts_document(&documents))?;
    } else {
        let columns = report::columns();
        let tables: Vec<_> = accounts
            .iter()
            .map(|account| table(&account.name, &account.all_settings(), columns))
            .collect();
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
    let settings = account.all_settings();
    let (rules, keys): (Vec<_>, Vec<_>) =
        settings.iter().partition(|setting| setting.key == "rule");
    let keys: Map<_, _> = keys
        .into_iter()
        .map(|setting| (setting.key.to_owned(), value(setting)))
        .collect();
    let rules: Vec<_> = rules.into_iter().map(value).collect();
    json!({ "account": account.name, "settings": keys, "rules": rules })
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

/// Returns an account's values as text, each with its source. `columns` is the width of the
/// terminal, if it is one.
///
/// Values can be copied into a config, so they are not broken: a source that does not fit gets a
/// line of its own.
fn table(name: &str, settings: &[Setting], columns: Option<usize>) -> String {
    let width = |text: fn(&Setting) -> String| {
        let widths = settings.iter().map(|setting| text(setting).chars().count());
        widths.max().unwrap_or(0)
    };
    let columns = columns.unwrap_or(usize::MAX);
    let key_width = width(|setting| setting.key.to_owned());
    // what the longest source leaves
    let left = columns.saturating_sub(key_width + 8 + width(|setting| setting.source.to_string()));
    let value_width = width(|setting| setting.value.clone())
        .min(WIDEST_ALIGNED)
        .min(left);
    let mut text = format!("[account.{}]\n", toml_edit::Key::new(name));
    for setting in settings {
        let source = format!("# {}", setting.source);
        let value = format!(
            "{:key_width$} = {:value_width$}",
            setting.key, setting.value
        );
        let is_too_long = |width: usize| width + source.chars().count() > columns;
        let gap = if !is_too_long(value.chars().count() + 3) {
            "   ".to_owned()
        } else if !is_too_long(key_width + 3) {
            format!("\n{:1$}", "", key_width + 3)
        } else {
            "\n    ".to_owned()
        };
        text.push_str(&format!("{value}{gap}{source}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::config::url;

    #[test]
    fn long_values_keep_their_line_on_a_narrow_terminal() {
        let overrides = Overrides {
            no_delivery: true,
            ..Overrides::default()
        };
        let account = url::account("pops://ann@pop.example.org", &overrides).unwrap();
        let mut settings = account.all_settings();
        settings.truncate(4);
        settings[1].value = format!("\"{}\"", "x".repeat(30));
        let table = |columns| table(&account.name, &settings, columns);
        assert_snapshot!(table(None), @r#"
        [account."pops://ann@pop.example.org"]
        host            = "pop.example.org"                  # the URL
        port            = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"   # default
        tls             = "implicit"                         # the URL
        tls-server-name = unset                              # default
        "#);
        assert_snapshot!(table(Some(50)), @r#"
        [account."pops://ann@pop.example.org"]
        host            = "pop.example.org"      # the URL
        port            = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                          # default
        tls             = "implicit"             # the URL
        tls-server-name = unset                  # default
        "#);
        assert_snapshot!(table(Some(30)), @r#"
        [account."pops://ann@pop.example.org"]
        host            = "pop.example.org"
                          # the URL
        port            = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                          # default
        tls             = "implicit"
                          # the URL
        tls-server-name = unset
                          # default
        "#);
    }
}
