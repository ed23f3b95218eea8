//! The rules of an account as they stand in the config: `[[account.NAME.rule]]`.

use super::{
    explain::Setting,
    file::{Entry, File, RuleTable},
    value::Value,
};
use crate::{
    error::Error,
    rule::{Condition, Rule, Verb},
};

/// The rule that an entry is, and how it is explained. `may_delete_unread` is what the account says.
///
/// # Errors
/// It has no action, or one that the account does not allow.
pub(super) fn settle(file: &File, entry: &Entry<RuleTable>, may_delete_unread: bool) -> Result<(Rule, Setting), Error> {
    let table = &entry.value;
    let Some(action) = &table.action else {
        return Err(file
            .document
            .error(&entry.at.span, "the rule has no `action`")
            .hint("say what it does: action = \"skip\", \"delete\" or \"fetch\""));
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
    if action.value == Verb::Delete {
        if !may_delete_unread {
            return Err(file
                .document
                .error(&action.at.span, "this rule deletes mail that nobody has read")
                .hint("if that is what you want, add `allow-delete-unread = true` to the account"));
        }
        if conditions.is_empty() {
            return Err(file
                .document
                .error(&action.at.span, "this rule deletes every message")
                .hint("name a condition, such as `subject` or `size`"));
        }
    }
    let text = if texts.is_empty() { "that takes all".to_owned() } else { texts.join(", ") };
    texts.push(format!("action = {}", action.value.to_toml()));
    let setting =
        Setting { key: "rule", value: format!("{{ {} }}", texts.join(", ")), source: entry.at.source.clone() };
    Ok((Rule { conditions, verb: action.value, text }, setting))
}
