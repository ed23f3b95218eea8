//! `pouch config`.

use serde_json::json;

use super::{CommandContext, CommandResult, args::Config, print_json};
use crate::{
    config::{self, provenance::Setting, resolve::Overrides},
    error::Exit,
    report::print,
};

pub(super) fn run(context: &CommandContext, command: &Config) -> CommandResult {
    match command {
        Config::Path if context.global.json => {
            print_json(&json!({ "path": context.setup.path.to_string_lossy() }))?
        }
        Config::Path => print(&format!("{}\n", context.setup.path.display()))?,
        Config::Sample => print(config::SAMPLE)?,
        Config::Show(accounts) => {
            let accounts = context
                .setup
                .accounts(&accounts.accounts, &Overrides::default())?;
            if context.global.json {
                let documents: Vec<_> = accounts
                    .iter()
                    .map(|account| {
                        let shown =
                            |setting: &Setting| json!({ "value": setting.value, "source": setting.source.to_string() });
                        // there may be many rules, and one of all else
                        let (rules, keys): (Vec<_>, Vec<_>) =
                            account.settings.iter().partition(|setting| setting.key == "rule");
                        let settings: serde_json::Map<_, _> =
                            keys.into_iter().map(|setting| (setting.key.to_owned(), shown(setting))).collect();
                        let rules: Vec<_> = rules.into_iter().map(shown).collect();
                        json!({ "account": account.name, "settings": settings, "rules": rules })
                    })
                    .collect();
                print_json(&json!({ "accounts": documents }))?;
            } else {
                let texts: Vec<_> = accounts.iter().map(table).collect();
                print(&texts.join("\n"))?;
            }
        }
    }
    Ok(Exit::OK)
}

/// An account's values, with where each came from.
fn table(account: &config::Account) -> String {
    let key_width = account
        .settings
        .iter()
        .map(|setting| setting.key.len())
        .max()
        .unwrap_or(0);
    let value_width = account
        .settings
        .iter()
        .map(|setting| setting.value.chars().count())
        .max()
        .unwrap_or(0)
        .min(48);
    let mut text = format!("[account.{}]\n", account.name);
    for setting in &account.settings {
        text.push_str(&format!(
            "{:key_width$} = {:value_width$}   # {}\n",
            setting.key, setting.value, setting.source
        ));
    }
    text
}
