//! Adding accounts to a config as TOML.
//!
//! The text of an existing config does not change; new accounts are appended. The caller reads the
//! result like any config before it writes the file, so that a config that cannot take another
//! table is never damaged.

use std::path::Path;

use toml_edit::{DocumentMut, Item, Table};

use super::{
    Account,
    resolve::{ConfigDefaults, resolve},
    toml::File,
};
use crate::{
    error::{Error, Kind, Result},
    text::{sanitize, tilde},
};

/// Sets the comments above an account.
pub fn set_comments(table: &mut Table, comments: &[String]) {
    let lines = comments.iter().flat_map(|comment| comment.lines());
    let mut prefix = String::from("\n");
    for line in lines {
        prefix.push_str(&format!("# {}\n", sanitize(line.as_bytes())));
    }
    table.decor_mut().set_prefix(prefix);
}

/// Adds `password-file` to an account as a comment, after `user`.
///
/// Above the account, the line would belong to the previous table once it is uncommented.
pub fn suggest_password_file(table: &mut Table, name: &str) {
    let path = toml_edit::Value::from(format!("~/.config/pouch/secrets/{name}"));
    let user = table.iter().position(|(key, _)| key == "user");
    let next = user.map_or(0, |place| place + 1);
    if let Some((mut key, _)) = table.iter_mut().nth(next) {
        let line = format!("# password-file = {path}\n");
        key.leaf_decor_mut().set_prefix(line);
    }
}

/// Returns accounts, each a name and its table, as the text of a config.
pub fn accounts(accounts: Vec<(String, Table)>) -> String {
    let mut document = DocumentMut::new();
    let mut parent = Table::new();
    parent.set_implicit(true);
    for (name, table) in accounts {
        parent.insert(&name, Item::Table(table));
    }
    document.insert("account", Item::Table(parent));
    document.to_string().trim_start_matches('\n').to_owned()
}

/// Returns the text of a config with accounts added at its end. The rest of it does not change.
pub fn append(config: &str, accounts: Vec<(String, Table)>) -> String {
    let is_dos = config.contains("\r\n");
    let config = config.trim_end_matches(['\r', '\n']);
    let separator = if config.is_empty() { "" } else { "\n\n" };
    let added = format!("{separator}{}", self::accounts(accounts));
    let added = if is_dos {
        added.replace('\n', "\r\n")
    } else {
        added
    };
    format!("{config}{added}")
}

/// Checks that accounts can be appended to a config, whose text is valid.
///
/// # Errors
/// [`Kind::Config`] if its accounts are in an inline table or have dotted keys, which TOML does not
/// allow to extend.
pub fn check_appendable(path: &Path, home: &Path, text: &str) -> Result<()> {
    let document = text.parse::<DocumentMut>().unwrap_or_default();
    let is_closed = match document.get("account") {
        Some(Item::Table(accounts)) => accounts.is_dotted(),
        Some(item) => item.is_value(),
        None => false,
    };
    if is_closed {
        let path = tilde(path, home);
        let what = format!("no account can be added to {path}: its accounts are not tables");
        let hint = "write each account as a table: `[account.NAME]`";
        return Err(Error::new(Kind::Config, what).with_hint(hint));
    }
    Ok(())
}

/// Returns the accounts in the text of a config, which may have none.
///
/// # Errors
/// The config is not valid.
pub fn check(path: &Path, home: &Path, text: &str) -> Result<Vec<Account>> {
    let file = File::parse(path, home, text)?;
    if file.accounts.is_empty() {
        return Ok(Vec::new());
    }
    let defaults = ConfigDefaults {
        home: home.to_owned(),
        state_dir: home.join(".local/state/pouch"),
    };
    Ok(resolve(file, &defaults)?.accounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_lines_end_like_the_others() {
        let account = || vec![("a".to_owned(), Table::new())];
        assert_eq!(append("", account()), "[account.a]\n");
        assert_eq!(append("jobs = 3", account()), "jobs = 3\n\n[account.a]\n");
        assert_eq!(
            append("jobs = 3\r\n\r\n", account()),
            "jobs = 3\r\n\r\n[account.a]\r\n"
        );
    }

    #[test]
    fn accounts_that_are_no_tables_cannot_be_extended() {
        let check = |text| check_appendable(Path::new("/c"), Path::new("/"), text);
        for config in [
            "",
            "jobs = 3",
            "[account.a]\nhost = \"x\"",
            "[account]\na.host = \"x\"",
        ] {
            assert!(check(config).is_ok(), "{config}");
        }
        for config in [
            "account = { a = { host = \"x\" } }",
            "account.a.host = \"x\"",
        ] {
            assert!(check(config).is_err(), "{config}");
        }
    }
}
