//! The rules of fdm for one account.

use std::collections::HashMap;

use super::{Action, Statement, parts};
use crate::import::{
    account::{Account, array},
    fdm::lexer::{Kind, Token},
};

/// A condition that pouch can express.
enum Condition {
    /// All messages.
    All,
    /// One of these patterns: a key of a rule, and its value.
    Fields(Vec<(&'static str, String)>),
}

/// Adds the rules that apply to the account named `name`. Returns whether the messages stay on the
/// server.
pub(super) fn apply<'s>(
    account: &mut Account,
    name: &str,
    matches: impl Iterator<Item = &'s Statement>,
    actions: &HashMap<String, Vec<Action>>,
    lines: &[&str],
) -> bool {
    let mut keeps = false;
    for rule in matches {
        let Some(rest) = for_account(&rule.words, name) else {
            continue;
        };
        let (conditions, targets) = split(rest);
        let continues = rest.last().is_some_and(|word| word.is("continue"));
        let found = resolve(targets, actions);
        let condition = condition(conditions);
        let (Some(condition), Some(found), false) = (condition, found, continues) else {
            comment(account, rule, lines);
            continue;
        };
        let at = rule.line;
        match condition {
            Condition::All => {
                keeps |= found.contains(&Action::Keep);
                catch_all(account, &found, at);
                return keeps;
            }
            Condition::Fields(fields) => {
                if !add_rules(account, &fields, &found, at) {
                    comment(account, rule, lines);
                }
            }
        }
    }
    keeps
}

/// Adds a rule that pouch cannot express as a comment.
fn comment(account: &mut Account, rule: &Statement, lines: &[&str]) {
    let at = rule.line;
    let last = rule.words.last().map_or(at, |word| word.line);
    let shown = lines.get(at.saturating_sub(1)..last.min(lines.len()).min(at + 5));
    let text: Vec<_> = shown
        .unwrap_or_default()
        .iter()
        .map(|line| line.trim())
        .collect();
    account
        .comments
        .push(format!("fdm, line {at}: {}", text.join(" ")));
    let advice =
        "write it as a rule if pouch can express it; a comment above the account contains it";
    account.left_out(at, "match", advice);
}

/// Returns the words of a rule without its conditions about accounts, or `None` if it is not for
/// this account.
fn for_account<'w>(words: &'w [Token], name: &str) -> Option<&'w [Token]> {
    let [first, rest @ ..] = words else {
        return Some(words);
    };
    if !first.is("account") && !first.is("accounts") {
        return Some(words);
    }
    let (names, mut rest) = match rest {
        [brace, inner @ ..] if brace.is("{") => {
            let end = inner
                .iter()
                .position(|word| word.is("}"))
                .unwrap_or(inner.len());
            (&inner[..end], inner.get(end + 1..).unwrap_or_default())
        }
        [_, after @ ..] => (&rest[..1], after),
        [] => (rest, rest),
    };
    let matches = |pattern: &str| match pattern.split_once('*') {
        Some((start, end)) => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
        None => pattern == name,
    };
    if !names.iter().any(|word| matches(&word.text)) {
        return None;
    }
    if let [and, after @ ..] = rest
        && and.is("and")
    {
        rest = after;
    }
    Some(rest)
}

/// Divides a rule into its conditions and its actions.
fn split(words: &[Token]) -> (&[Token], &[Token]) {
    let at = words
        .iter()
        .position(|word| word.is("action") || word.is("actions") || word.is("{"));
    at.map_or((words, &[]), |at| words.split_at(at))
}

/// Returns the parts of the actions of a rule.
fn resolve(targets: &[Token], actions: &HashMap<String, Vec<Action>>) -> Option<Vec<Action>> {
    let [first, inner @ ..] = targets else {
        return None;
    };
    if first.is("{") {
        return None;
    }
    let is_sign = |word: &Token| ["{", "}", ",", "continue"].contains(&word.text.as_str());
    let is_inline = inner
        .iter()
        .any(|word| word.kind == Kind::Word && !is_sign(word));
    let mut found = Vec::new();
    if is_inline {
        found = parts(inner);
    } else {
        for name in inner.iter().filter(|word| word.kind == Kind::Text) {
            found.extend(actions.get(&name.text)?.iter().cloned());
        }
    }
    let is_supported = |action: &Action| !matches!(action, Action::Unsupported(_));
    (!found.is_empty() && found.iter().all(is_supported)).then_some(found)
}

/// Returns the condition, if pouch can express it.
fn condition(words: &[Token]) -> Option<Condition> {
    if words.is_empty() || matches!(words, [all] if all.is("all")) {
        return Some(Condition::All);
    }
    let mut fields = Vec::new();
    for part in words.split(|word| word.is("or")) {
        let [pattern, rest @ ..] = part else {
            return None;
        };
        let (is_exact, rest) = match rest {
            [case, rest @ ..] if case.is("case") => (true, rest),
            rest => (false, rest),
        };
        let [inside, header] = rest else {
            return None;
        };
        let is_header = inside.is("in") && (header.is("headers") || header.is("header"));
        if !is_header || pattern.kind != Kind::Text || is_exact {
            return None;
        }
        fields.extend(field(&pattern.text)?);
    }
    (!fields.is_empty()).then_some(Condition::Fields(fields))
}

/// Returns the keys of rules for a regular expression that begins with the name of a field.
fn field(pattern: &str) -> Option<Vec<(&'static str, String)>> {
    let rest = pattern.strip_prefix('^')?;
    let (names, value) = rest.split_once(':')?;
    let names = names.trim_start_matches('(').trim_end_matches(')');
    let mut keys = Vec::new();
    for name in names.split('|') {
        keys.push(match name.to_ascii_lowercase().as_str() {
            "from" => "from",
            "to" | "cc" => "to",
            "subject" => "subject",
            "list-id" => "list-id",
            _ => return None,
        });
    }
    keys.dedup();
    let value = value.strip_prefix(".*").unwrap_or(value);
    let value = value.trim_start_matches(' ').trim_end_matches(".*");
    if value.is_empty() || value.contains('/') {
        return None;
    }
    let value = format!("/{value}/");
    Some(keys.into_iter().map(|key| (key, value.clone())).collect())
}

/// Sets the destination of the account.
fn catch_all(account: &mut Account, found: &[Action], at: usize) {
    let mut destinations = found
        .iter()
        .filter(|action| !matches!(action, Action::Keep | Action::Drop));
    let Some(first) = destinations.next() else {
        let before = "keeps or drops all messages";
        return account.propose_maildir(at, "match all", before);
    };
    match first {
        Action::Maildir(path) => account.take(at, "match all", "maildir", path.as_str()),
        Action::Mbox(path) => account.take(at, "match all", "mbox", path.as_str()),
        Action::Lmtp(server) => account.take(at, "match all", "lmtp", server.as_str()),
        Action::Pipe(words) => account.command(at, "match all", "pipe", words),
        Action::Drop | Action::Keep | Action::Unsupported(_) => {}
    }
    let copies: Vec<_> = destinations.filter_map(Action::in_rule).collect();
    if !copies.is_empty() {
        let rule = vec![("action", "fetch".into()), ("also", array(&copies))];
        account.rules.push(rule);
        account.taken(at, "match all", "a rule with `also` for the copies");
    }
    if found.contains(&Action::Keep) {
        account.keep_all(at, "keep");
    }
}

/// Adds one rule for each field. Returns whether that is possible.
fn add_rules(
    account: &mut Account,
    fields: &[(&'static str, String)],
    found: &[Action],
    at: usize,
) -> bool {
    let targets: Vec<_> = found.iter().filter_map(Action::in_rule).collect();
    let Some((first, copies)) = targets.split_first() else {
        return false;
    };
    let has_tag = targets.iter().any(|target| target.contains('%'));
    if has_tag || (first == "skip" && !copies.is_empty()) {
        return false;
    }
    for (key, value) in fields {
        let mut rule = vec![
            (*key, value.as_str().into()),
            ("action", first.as_str().into()),
        ];
        if !copies.is_empty() {
            rule.push(("also", array(copies)));
        }
        account.rules.push(rule);
    }
    if first == "skip" {
        let before = "deletes the message from the server";
        account.changed(at, "drop", before, "skips it: it stays on the server");
    } else {
        account.taken(at, "match", "a rule: please check its pattern");
    }
    true
}
