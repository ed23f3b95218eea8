//! Error messages for mistakes in a config file, with suggestions.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::{
    migration_hints::counterpart,
    schema::{Key, Scope, TypeMismatch},
    snippet::{Document, PASSWORD_KEYS, is_public},
    value::is_zero,
};
use crate::{
    error::{Error, Kind},
    text::{closest, sanitize, value_fault},
};

/// Returns the term for a key of this scope.
fn called(scope: Scope) -> &'static str {
    match scope {
        Scope::Top => "a top-level key",
        Scope::Account => "an account key",
        Scope::Rule => "a rule key",
        Scope::Multidrop => "a multidrop key",
    }
}

/// Creates the error that there is no `key` in this scope. `account` is the name of the account's
/// table, `account.NAME` or `defaults`.
pub(super) fn unknown_key(
    document: &Document,
    span: &Range<usize>,
    key: &str,
    scope: Scope,
    account: &str,
) -> Error {
    let name = sanitize(key.as_bytes());
    if PASSWORD_KEYS.contains(&key.to_lowercase().as_str()) {
        let what = "passwords are not allowed in the config file";
        return document.error(span, what).with_hint(
            "use `password-command = [\"pass\", \"show\", \"mail/work\"]` or \
             `password-file = \"~/.secrets/work\"` instead",
        );
    }
    let owner = Scope::ALL
        .into_iter()
        .find(|owner| owner.names().any(|name| name == key));
    if let Some(owner) = owner {
        let what = format!("`{name}` is not {}", called(scope));
        let hint = match (owner, scope) {
            (Scope::Top, _) => {
                "move it to the top of the config file, before the first table".to_owned()
            }
            (Scope::Account, Scope::Top) => {
                "move it to `[account.NAME]`, or to `[defaults]` to set it for all accounts"
                    .to_owned()
            }
            (Scope::Account, _) => {
                format!("move it to `[{account}]`, before its rules and multidrop")
            }
            (Scope::Rule, _) => format!("move it to a table `[[{account}.rule]]`"),
            (Scope::Multidrop, _) => format!("move it to the table `[{account}.multidrop]`"),
        };
        return document.error(span, &what).with_hint(hint);
    }
    document
        .error(span, &format!("unknown key `{name}`"))
        .with_hint(unknown_key_hint(key, scope))
}

/// Returns the hint for a key that does not exist in any scope.
fn unknown_key_hint(key: &str, scope: Scope) -> String {
    let outer = matches!(scope, Scope::Top | Scope::Account);
    if let Some(counterpart) = counterpart(key).filter(|_| outer) {
        return counterpart.to_owned();
    }
    let mut candidates: Vec<_> = scope.names().collect();
    match scope {
        Scope::Top => candidates.extend(Scope::Account.names()),
        Scope::Account => {
            candidates.extend(Scope::Top.names());
            candidates.extend(["rule", "multidrop"]);
        }
        Scope::Rule | Scope::Multidrop => {}
    }
    match closest(key, candidates) {
        Some(guess) => format!("did you mean `{guess}`?"),
        None if outer => "see `pouch config sample` or pouch-config(5) for all keys".to_owned(),
        None => {
            let names: Vec<_> = scope.names().collect();
            format!("use one of {}", names.join(", "))
        }
    }
}

/// Creates the error that a key is allowed in the main config file only.
pub(super) fn top_key_in_part(document: &Document, span: &Range<usize>, name: &str) -> Error {
    let what = format!("`{name}` is allowed only in the main config file");
    let hint = match document.base() {
        Some(base) => format!("move it to {}, above all tables", base.path),
        None => "move it there, above all tables".to_owned(),
    };
    document.error(span, &what).with_hint(hint)
}

/// Creates the error that a table is neither `[defaults]` nor an account.
pub(super) fn unknown_table(document: &Document, span: &Range<usize>, name: &str) -> Error {
    let shown = sanitize(name.as_bytes());
    let hint = match closest(name, ["account", "defaults"]) {
        Some("account") => "did you mean `[account.NAME]`?".to_owned(),
        Some(guess) => format!("did you mean `[{guess}]`?"),
        None => format!("to define an account, write `[account.{shown}]`"),
    };
    document
        .error(span, &format!("unknown table `[{shown}]`"))
        .with_hint(hint)
}

/// Creates the error that `account`, which is `defaults` or `account.NAME`, has no table of this
/// name. An account's name with a dot is read as two names unless it is quoted.
pub(super) fn unknown_subtable(
    document: &Document,
    span: &Range<usize>,
    name: &str,
    account: &str,
) -> Error {
    let tables = ["rule", "multidrop"];
    let known = Scope::Account.names().chain(tables);
    let Some(outer) = account.strip_prefix("account.") else {
        return unknown_key(document, span, name, Scope::Account, account);
    };
    if closest(name, known).is_some() || counterpart(name).is_some() || outer.contains('"') {
        return unknown_key(document, span, name, Scope::Account, account);
    }
    let name = sanitize(name.as_bytes());
    let what = format!("unknown table `[{account}.{name}]`");
    document.error(span, &what).with_hint(format!(
        "if `{outer}.{name}` is the account's name, write `[account.\"{outer}.{name}\"]`"
    ))
}

/// Creates the error for the config of another program.
pub(super) fn foreign_file(shown: &str, program: &str) -> Error {
    let what = format!("{shown} is a config file of {program}, not of pouch");
    Error::new(Kind::Config, what).with_hint(format!(
        "run `pouch import {program} {shown}`, which prints its accounts as a config for pouch"
    ))
}

/// Creates the error for a value of the wrong type.
pub(super) fn type_mismatch(
    document: &Document,
    span: &Range<usize>,
    key: &Key,
    mismatch: TypeMismatch,
    value: &DeValue<'_>,
) -> Error {
    let TypeMismatch {
        expected,
        unexpected,
    } = mismatch;
    let what = format!(
        "`{}` must be {expected}, not {}",
        key.name, unexpected.found
    );
    let error = document.error(span, &what);
    let instead_of_zero = key.instead_of_zero.filter(|_| is_zero(value));
    let hint = match key.name {
        // not the command itself, which may contain the password
        "password-command" => Some(
            "write it as a list of the program and its arguments: [\"pass\", \"show\", \
             \"mail/work\"]"
                .to_owned(),
        ),
        "token-command" => Some(
            "write it as a list of the program and its arguments: [\"oama\", \"access\", \
             \"ann@example.org\"]"
                .to_owned(),
        ),
        "maildir" | "mbox" | "lmtp" if value.is_array() => {
            Some("a rule with `also` delivers to several destinations".to_owned())
        }
        _ => instead_of_zero.map(str::to_owned).or(unexpected.hint),
    };
    let is_one_escape = document.text[span.clone()].matches('\\').count() == 1
        && value
            .as_str()
            .is_some_and(|text| text.contains(char::is_control));
    let escape = || is_one_escape.then(|| backslash_hint(document, span.start));
    match hint.or_else(|| escape().flatten()) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Creates the error for a file that is not valid TOML.
pub(super) fn syntax_error(document: &Document, error: &toml::de::Error) -> Error {
    let span = error.span().unwrap_or(0..0);
    let culprit = sanitize(document.text.get(span.clone()).unwrap_or("").as_bytes());
    let message = error.message();
    let fault = message
        .split_once(", expected")
        .map_or(message, |(fault, _)| fault);
    let lower = culprit.to_lowercase();
    let what = match fault {
        "duplicate key" => return duplicate_key(document, &span),
        "string values must be quoted" if culprit.is_empty() => "missing value".to_owned(),
        "string values must be quoted" | "invalid boolean"
            if ["true", "false"].contains(&lower.as_str()) =>
        {
            format!("write `{lower}` in lower case")
        }
        "string values must be quoted" | "invalid boolean" => {
            "strings must be quoted with straight quotes: \"…\"".to_owned()
        }
        "invalid unquoted key" => {
            "unquoted names may contain only letters, digits, `-` and `_`".to_owned()
        }
        "key with no value" => "a key must be followed by `=` and its value".to_owned(),
        "invalid basic string" | "invalid literal string" if culprit.is_empty() => {
            "missing closing quote".to_owned()
        }
        fault if fault.contains("recursion") => "nesting is too deep".to_owned(),
        fault if message.ends_with("expected nothing") => format!("not valid TOML: {fault}"),
        _ => format!("not valid TOML: {message}"),
    };
    let error = document.error(&span, &what);
    let is_header = ["invalid unquoted key", "unclosed table"].contains(&fault);
    let header = is_header.then(|| account_header(document, &span));
    let hint = header.flatten().and_then(name_hint);
    match hint.or_else(|| backslash_hint(document, span.start)) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Returns the hint for a string in double quotes with a backslash that TOML does not take
/// literally, as in `"CORP\bob"`. `at` is a byte in the string. `None` if it has no backslash, or
/// cannot be written in single quotes.
fn backslash_hint(document: &Document, at: usize) -> Option<String> {
    let text = &document.text;
    let start = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next()?;
    let before = &line[..line.floor_char_boundary(at - start + 1)];
    let inner = &line[before.rfind('"')? + 1..];
    let inner = &inner[..inner.find('"')?];
    let is_literal = inner.contains('\\') && !inner.contains('\'') && is_public(line);
    is_literal.then(|| {
        let inner = sanitize(inner.as_bytes());
        format!("in double quotes, `\\` begins an escape sequence: write '{inner}'")
    })
}

/// Returns the name in the line `[account.NAME]` that contains `span`.
fn account_header<'d>(document: &'d Document, span: &Range<usize>) -> Option<&'d str> {
    let start = document
        .text
        .get(..span.start)?
        .rfind('\n')
        .map_or(0, |at| at + 1);
    let line = document.text.get(start..)?.lines().next()?.trim();
    line.strip_prefix("[account.")?.strip_suffix(']')
}

/// Returns the hint for an invalid account name: a mail address becomes a name and a user, other
/// names are quoted. Returns `None` if there is nothing to suggest.
pub(super) fn name_hint(name: &str) -> Option<String> {
    let shown = sanitize(name.as_bytes());
    if let Some((local, _)) = name.split_once('@') {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let label = Some(local).filter(|local| !local.is_empty() && local.chars().all(plain));
        let label = label.unwrap_or("NAME");
        return Some(format!(
            "write `[account.{label}]`, and the address below it: `user = \"{shown}\"`"
        ));
    }
    let is_plain = !name.contains(['"', '\'', '\\', '[', ']']);
    (is_plain && name_fault(name).is_none())
        .then(|| format!("put the name in quotes: `[account.\"{shown}\"]`"))
}

/// Creates the error for a duplicate key or table at `span`.
fn duplicate_key(document: &Document, span: &Range<usize>) -> Error {
    let name = document.text.get(span.clone()).unwrap_or("");
    let start = document.text[..span.start]
        .rfind('\n')
        .map_or(0, |end| end + 1);
    let header = document.text[start..]
        .lines()
        .next()
        .and_then(|line| Some(&line[..=line.rfind(']')?]))
        .filter(|line| line.starts_with('[') && !line.contains('{'));
    let (what, hint) = match header {
        Some(header) => (
            format!("duplicate table `{}`", sanitize(header.as_bytes())),
            "merge the two tables, or rename one of them",
        ),
        None => (
            format!("duplicate key `{}`", sanitize(name.as_bytes())),
            "remove one of them",
        ),
    };
    // What is written before it can be parsed, and contains the first use.
    let before = document.text[..span.start].rfind('\n').unwrap_or(0);
    let (table, _) = DeTable::parse_recoverable(&document.text[..before]);
    let first = last_use(table.get_ref(), name.trim_matches(['"', '\'']));
    let other = first.as_ref().map(|first| (first, "first used here"));
    document.draw(span, &what, other).with_hint(hint)
}

/// Returns the position of the last key of this name, in any table. Since a table is contiguous,
/// this is the key that a duplicate repeats.
fn last_use(table: &DeTable<'_>, name: &str) -> Option<Range<usize>> {
    let uses = table.iter().filter_map(|(key, value)| {
        let inner = match value.get_ref() {
            DeValue::Table(table) => last_use(table, name),
            DeValue::Array(list) => list
                .iter()
                .filter_map(|element| last_use(element.get_ref().as_table()?, name))
                .next_back(),
            _ => None,
        };
        let own = (key.get_ref() == name).then(|| key.span());
        own.into_iter().chain(inner).max_by_key(|span| span.start)
    });
    uses.max_by_key(|span| span.start)
}

/// The maximum length of an account name, in characters.
const LONGEST_NAME: usize = 300;

/// Returns the reason why an account name is invalid, or `None` if it is valid.
///
/// Names are used in messages, and on the command line, where they must not look like a URL.
pub fn name_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("must not be empty")
    } else if name.contains(['/', '@']) {
        Some("must not contain `/` or `@`, which mark URLs")
    } else if name.starts_with(['-', '.']) {
        Some("must not begin with `-` or `.`")
    } else if name.chars().count() > LONGEST_NAME {
        Some("must not be longer than 300 characters")
    } else {
        value_fault(name)
    }
}
