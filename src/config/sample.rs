//! The sample config: every key, with its default or an example, and a comment.
//!
//! Keys, values and comments are those of [`super::schema`]. This module adds the introductions of
//! the sections.

use super::schema::{AccountTable, Group, Key, MultidropTable, RuleTable, Table, TopTable};

/// The column at which comments begin, unless a value is longer.
const COMMENT_COLUMN: usize = 39;

/// The width of a line, that of a small terminal. A value may be longer.
const WIDTH: usize = 80;

/// The beginning of the file.
const INTRODUCTION: &str = "\
# The config of pouch. Commented lines show defaults, or examples for keys
# without a default: remove the `# ` to set them. Durations are written 30s 5m
# 12h, retention times 30d 8w 6mo 1y, and sizes 512KB 25MB 2GB. Commands are
# lists of words and are run without a shell. Relative paths start at the
# directory of this file. `man pouch-config` describes all keys; `pouch config
# show` prints each value with the line that set it.
";

/// The sections in their order, each with its introduction.
const SECTIONS: [(Group, &str); 8] = [
    (Group::Top, ""),
    (
        Group::Server,
        "\
[defaults]                             # for all accounts; takes the same keys
keep = \"forever\"                       # how long mail stays on the server

[account.work]                         # any name; one table for each account
",
    ),
    (
        Group::Login,
        "\
# The login. Set one of password-command, token-command, password-file,
# password-credential and oauth. Without them, pouch asks for the password.
# Some commands:
#   [\"secret-tool\", \"lookup\", \"host\", \"pop.example.org\", \"user\", \"ann\"]
#   [\"gpg\", \"--quiet\", \"--batch\", \"--decrypt\", \"/home/ann/.secrets/work.gpg\"]
#   [\"gopass\", \"show\", \"mail/work\"]
#   [\"bw\", \"get\", \"password\", \"mail/work\"]    (Bitwarden; needs BW_SESSION)
#   [\"op\", \"read\", \"op://Private/mail/password\"]    (1Password)
",
    ),
    (
        Group::Destination,
        "# The destination: set one of maildir, mbox, pipe and lmtp.\n",
    ),
    (Group::Retention, "# Retention: what stays on the server.\n"),
    (Group::Fetching, "# Which messages are fetched.\n"),
    (
        Group::Rule,
        "\
# Rules: any number, below all other keys of the account. They are evaluated on
# the headers of new messages, before the download. All conditions of a rule
# must match; the first rule that matches decides. Patterns are globs (*, ?) for
# the whole text, or regular expressions between slashes: \"/sale|offer/\".
# [[account.work.rule]]
",
    ),
    (
        Group::Multidrop,
        "\
# Multidrop: one mailbox for several people. The recipient is read from a field
# that the server adds. Mail for anyone else goes to the account's own
# destination. \"lmtp:unix:/run/dovecot/lmtp\" without recipients delivers to the
# address that matched.
# [account.work.multidrop]
",
    ),
];

/// Returns the sample config.
pub fn sample() -> String {
    let keys: Vec<&Key> = TopTable::KEYS
        .iter()
        .chain(AccountTable::KEYS)
        .chain(RuleTable::KEYS)
        .chain(MultidropTable::KEYS)
        .collect();
    let mut text = INTRODUCTION.to_owned();
    for (group, introduction) in SECTIONS {
        text.push('\n');
        text.push_str(introduction);
        for key in keys.iter().filter(|key| key.group == group) {
            text.push_str(&lines(key));
        }
    }
    text
}

/// Returns the lines of a key: its value, and its comment in a column of its own, which begins on
/// the next line if the value is too long.
fn lines(key: &Key) -> String {
    let default = || key.default.map(|default| default());
    let value = key
        .example
        .map(str::to_owned)
        .or_else(default)
        .unwrap_or_default();
    let mark = if key.set_in_sample { "" } else { "# " };
    let mut line = format!("{mark}{} = {value}", key.name);
    let mut text = String::new();
    let comment = wrapped(key.help, WIDTH - COMMENT_COLUMN - "# ".len());
    if line.chars().count() + 2 > COMMENT_COLUMN || comment.is_empty() {
        text.push_str(&format!("{line}\n"));
        "#".clone_into(&mut line);
    }
    for comment in comment {
        text.push_str(&format!("{line:COMMENT_COLUMN$}# {comment}\n"));
        "#".clone_into(&mut line);
    }
    text
}

/// Returns text in lines of at most `width` characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        lines.push(String::new());
        for word in line.split(' ') {
            let (last, word) = (lines.len() - 1, word.to_owned());
            if lines[last].is_empty() {
                lines[last] = word;
            } else if lines[last].chars().count() + 1 + word.chars().count() <= width {
                lines[last].push_str(&format!(" {word}"));
            } else {
                lines.push(word);
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            provenance::{Source, UNSET},
            schema::{Choice, Scope},
            testing::{config, setting, with},
        },
        *,
    };

    /// Returns the key that a line of the sample sets, commented out or not.
    fn key_of(line: &str) -> Option<&str> {
        let (key, _) = line.trim_start_matches("# ").split_once(" = ")?;
        let known = |scope: Scope| scope.names().any(|name| name == key);
        Scope::ALL.into_iter().any(known).then_some(key)
    }

    #[test]
    fn the_sample_is_valid_and_has_every_key() {
        let sample = sample();
        assert_eq!(config(&sample).unwrap().accounts.len(), 1);
        for name in Scope::ALL.into_iter().flat_map(Scope::names) {
            assert!(
                sample.lines().any(|line| key_of(line) == Some(name)),
                "{name}"
            );
        }
    }

    #[test]
    fn the_sample_has_short_lines() {
        for line in sample().lines() {
            let is_value = key_of(line).is_some() && !line.trim_start_matches("# ").contains('#');
            assert!(line.chars().count() <= WIDTH || is_value, "{line}");
        }
    }

    #[test]
    fn the_tables_of_the_sample_can_be_uncommented() {
        let mut text = String::new();
        let mut inside = false;
        for line in sample().lines() {
            inside = line.starts_with("# [") || (inside && !line.is_empty());
            text += match line.strip_prefix("# ") {
                Some(line) if inside => line,
                _ => line,
            };
            text += "\n";
        }
        let account = config(&text).unwrap().accounts.remove(0);
        let conditions = account.routing.rules[0].conditions.len();
        assert_eq!(conditions, RuleTable::KEYS.len() - 2);
        assert_eq!(account.routing.multidrop.unwrap().recipients.len(), 1);
    }

    /// Returns the sample with the line of `key` uncommented. The keys that exclude it are removed,
    /// and the one that it needs is uncommented too.
    fn uncommented(line: &str, key: &str) -> String {
        let excluded: Vec<_> = Choice::ALL
            .into_iter()
            .map(|choice| choice.keys().collect::<Vec<_>>())
            .find(|keys| keys.contains(&key))
            .unwrap_or_default();
        let mut text = String::new();
        for other in sample().lines() {
            let needed = |other: &str| {
                (key.starts_with("tls-client-") && other.starts_with("tls-client-"))
                    || (key == "proxy-password-command" && other == "proxy")
            };
            text += match key_of(other) {
                _ if other == line => &other[2..],
                Some(name) if needed(name) => &other[2..],
                Some(name) if excluded.contains(&name) => "",
                _ => other,
            };
            text += "\n";
        }
        text
    }

    #[test]
    fn every_key_of_the_sample_can_be_uncommented() {
        let scopes = [Scope::Top, Scope::Account];
        let sample = sample();
        let is_rule = |line: &&str| *line != "# [[account.work.rule]]";
        for line in sample.lines().take_while(is_rule) {
            let Some(key) = key_of(line).filter(|_| line.starts_with('#')) else {
                continue;
            };
            assert!(
                scopes
                    .iter()
                    .any(|scope| scope.names().any(|name| name == key))
            );
            let config = config(&uncommented(line, key));
            let config = config.unwrap_or_else(|error| panic!("{line}: {error}"));
            let settings = config.accounts[0].all_settings();
            let set = settings
                .iter()
                .any(|setting| setting.key == key && setting.source != Source::Default);
            assert!(set || Scope::Top.names().any(|name| name == key), "{line}");
        }
    }

    #[test]
    fn commented_lines_without_an_example_show_the_default() {
        let account = with("").unwrap();
        for key in AccountTable::KEYS
            .iter()
            .filter(|key| key.example.is_none())
        {
            let shown = setting(&account, key.name);
            let value = shown.strip_suffix(" default").unwrap();
            assert_ne!(value, UNSET, "{}", key.name);
            let line = format!("# {} = {value}", key.name);
            let is_shown = |other: &str| other.split("  ").next() == Some(&line);
            assert!(sample().lines().any(is_shown), "{line}");
        }
    }
}
