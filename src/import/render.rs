//! Writing imported accounts as TOML.

use toml_edit::{ArrayOfTables, Item, Table, Value};

use super::account::Account;
use crate::config::write;

/// The order of keys in an account.
const ORDER: &[&str] = &[
    "host",
    "port",
    "tls",
    "allow-plaintext-password",
    "tls-ca-file",
    "tls-pin",
    "tls-client-cert",
    "tls-client-key",
    "proxy",
    "connect-command",
    "timeout",
    "request-ahead",
    "user",
    "auth",
    "oauth",
    "token-command",
    "password-command",
    "password-file",
    "maildir",
    "mbox",
    "pipe",
    "lmtp",
    "lmtp-recipients",
    "filter",
    "add-headers",
    "before",
    "after",
    "keep",
    "keep-newest",
    "keep-total",
    "max-size",
    "limit",
    "quirks",
    "enabled",
];

/// Returns the keys of an account in their order.
fn keys(account: &Account) -> Vec<(&'static str, Value)> {
    let mut keys = account.settings.clone();
    let tls = account.get("tls").and_then(Value::as_str);
    let default_port = if tls.is_none() { 995 } else { 110 };
    if let Some(host) = &account.host {
        keys.push(("host", host.as_str().into()));
    }
    if let Some(user) = &account.user {
        keys.push(("user", user.as_str().into()));
    }
    if let Some(port) = account.port.filter(|port| *port != default_port) {
        keys.push(("port", i64::from(port).into()));
    }
    let place = |key: &str| ORDER.iter().position(|known| *known == key);
    keys.sort_by_key(|(key, _)| place(key));
    keys
}

/// Returns the table of an account.
fn table(account: &Account) -> Table {
    let mut table = Table::new();
    for (key, value) in keys(account) {
        table.insert(key, Item::Value(value));
    }
    let has_secret = [
        "password-command",
        "password-file",
        "token-command",
        "oauth",
    ]
    .iter()
    .any(|key| account.get(key).is_some());
    if !has_secret {
        write::suggest_password_file(&mut table, &account.name);
    }
    if !account.rules.is_empty() {
        let mut rules = ArrayOfTables::new();
        for rule in &account.rules {
            rules.push(rule.iter().cloned().map(item).collect());
        }
        table.insert("rule", Item::ArrayOfTables(rules));
    }
    if !account.multidrop.is_empty() {
        let multidrop: Table = account.multidrop.iter().cloned().map(item).collect();
        table.insert("multidrop", Item::Table(multidrop));
    }
    write::set_comments(&mut table, &account.comments);
    table
}

fn item((key, value): (&'static str, Value)) -> (toml_edit::Key, Item) {
    (key.into(), Item::Value(value))
}

/// Returns accounts as the text of a config.
pub fn accounts(accounts: &[&Account]) -> String {
    write::accounts(tables(accounts))
}

/// Returns the text of a config with accounts added at its end. The rest of it does not change.
pub fn append(config: &str, accounts: &[&Account]) -> String {
    write::append(config, tables(accounts))
}

fn tables(accounts: &[&Account]) -> Vec<(String, Table)> {
    let tables = accounts.iter();
    tables
        .map(|account| (account.name.clone(), table(account)))
        .collect()
}
