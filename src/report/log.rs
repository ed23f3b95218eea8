//! `--log`: one line per event on standard error, for a log file or the journal.
//!
//! The lines have the events and fields of `--json`, so that there is one description of each
//! event:
//!
//! * `plain` prints the time, the account, the event and its fields as `key=value`.
//! * `journal` prints the priority instead of the time, as in sd-daemon(3): `<6>work: stored …`.
//!   systemd reads it from the standard error of a service. The native protocol of the journal was
//!   rejected: it needs a socket in the sandbox and a separate method for long messages, and other
//!   supervisors that read standard error do not support it.
//! * `json` prints the lines of `--json`.
//!
//! Text from servers and senders is quoted if it contains a space, a quotation mark or `=`, and
//! line breaks are replaced, so that a UID or a subject cannot be mistaken for another field or
//! line.

use serde_json::{Value, json};

use super::{Level, json as documents, write_line};
use crate::{
    error::{Error, Exit},
    event::{Event, Reporter, Tally, TraceLine},
    sys::clock::Clock,
    text::{instant, printable},
};

/// The format of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// With the time, for files.
    Plain,
    /// With the priority, for the journal.
    Journal,
    /// JSON Lines.
    Json,
}

/// The priority of a line, as in syslog(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Priority {
    Error = 3,
    Warning = 4,
    Info = 6,
    Debug = 7,
}

/// A reporter that writes log lines.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    /// The format.
    pub format: Format,
    /// The clock.
    pub clock: Clock,
    /// The level of output.
    pub level: Level,
}

impl Log {
    /// Writes the error that prevented all accounts from being fetched.
    pub fn problem(&self, error: &Error) {
        let fields = json!({ "problem": documents::error(error) });
        self.write(Priority::Error, None, ("problem", fields));
    }

    /// Writes the error that prevented an account, or all accounts of a source, from being fetched.
    /// `tell` is as in [`Event::Problem`].
    pub fn problem_of(&self, account: Option<&str>, error: &Error, tell: bool) {
        if let Some(account) = account {
            self.event(account, &Event::Problem { error, tell });
            return;
        }
        let priority = if tell {
            Priority::Error
        } else {
            Priority::Warning
        };
        let fields = json!({ "problem": documents::error(error) });
        self.write(priority, None, ("problem", fields));
    }

    /// Writes an error that is not about one account and does not stop the run.
    pub fn notice(&self, error: &Error) {
        let fields = json!({ "problem": documents::error(error) });
        self.write(Priority::Warning, None, ("notice", fields));
    }

    /// Writes that all accounts can be used again.
    pub fn recovered(&self) {
        self.write(Priority::Info, None, ("recovered", json!({})));
    }

    fn write(&self, priority: Priority, account: Option<&str>, event: (&str, Value)) {
        let lowest = match self.level {
            Level::Silent => return,
            Level::Problems => Priority::Warning,
            Level::Normal => Priority::Info,
            Level::Verbose | Level::Trace => Priority::Debug,
        };
        if priority <= lowest {
            write_line(&self.line(priority, account, event));
        }
    }

    fn line(&self, priority: Priority, account: Option<&str>, event: (&str, Value)) -> String {
        let (name, fields) = event;
        let begin = match self.format {
            Format::Json => {
                let fields = match account {
                    Some(account) => documents::with_account(account, fields),
                    None => fields,
                };
                return documents::object(self.clock, name, fields).to_string();
            }
            Format::Plain => format!("{} ", instant(self.clock.now())),
            Format::Journal => format!("<{}>", priority as u8),
        };
        let account = account.map(|account| format!("{}: ", one_line(account)));
        let account = account.unwrap_or_default();
        format!("{begin}{account}{name}{}", pairs(&fields))
    }
}

impl Reporter for Log {
    fn event(&self, account: &str, event: &Event<'_>) {
        let traced = |key: &str, line: &str| (key.to_owned(), json!({ "line": line }));
        let described = match event {
            Event::TraceLine(_) if self.level < Level::Trace || self.format == Format::Json => None,
            Event::TraceLine(TraceLine::Client(line)) => Some(traced("client", line)),
            Event::TraceLine(TraceLine::Server(line)) => Some(traced("server", line)),
            event => documents::named_fields(event).map(|(name, fields)| (name.to_owned(), fields)),
        };
        if let Some((name, fields)) = described {
            for account in event.accounts(&account) {
                self.write(priority(event), Some(account), (&name, fields.clone()));
            }
        }
    }
}

/// Returns the priority of an event. A run that did nothing is a detail.
fn priority(event: &Event<'_>) -> Priority {
    match event {
        Event::Problem { tell: true, .. } | Event::Quarantined { .. } => Priority::Error,
        Event::Problem { .. }
        | Event::Failed { .. }
        | Event::NotTried { .. }
        | Event::Notice(_) => Priority::Warning,
        Event::Stored(_) | Event::Deleted { .. } => Priority::Info,
        Event::Done(summary) if summary.tally != Tally::default() || summary.exit != Exit::OK => {
            Priority::Info
        }
        _ => Priority::Debug,
    }
}

/// The fields at the beginning of a line, in this order. The others follow alphabetically.
const FIRST: [&str; 6] = [
    "exit",
    "message",
    "uid",
    "delivered",
    "bytes",
    "destination",
];

/// Returns the fields of an event as ` key=value`, without those that have no value.
fn pairs(fields: &Value) -> String {
    let Value::Object(fields) = fields else {
        return String::new();
    };
    let rank = |key: &str| FIRST.iter().position(|first| *first == key);
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(key, _)| rank(key).unwrap_or(FIRST.len()));
    let mut text = String::new();
    for (key, value) in fields {
        let value = match value {
            Value::Object(problem) if key == "problem" => {
                let what = problem["what"].as_str().unwrap_or_default();
                let facts = problem["facts"].as_array().into_iter().flatten();
                let facts = facts.filter_map(Value::as_str);
                let facts = facts.filter(|fact| !is_excerpt(fact));
                let sentences: Vec<_> = std::iter::once(what).chain(facts).collect();
                let hint = problem["hint"].as_str();
                let hint = hint.map(|hint| format!(" hint={}", quoted(hint)));
                text.push_str(&format!(" problem={}", quoted(&sentences.join("; "))));
                text.push_str(&hint.unwrap_or_default());
                continue;
            }
            // zeros are omitted
            value if *value == 0 && key != "exit" => None,
            value => plain(value),
        };
        if let Some(value) = value {
            text.push_str(&format!(" {key}={}", quoted(&value)));
        }
    }
    text
}

/// Returns whether a fact is a line of a config, such as `9 | [account.work]`, or a mark below it.
/// The error contains the number of the line.
fn is_excerpt(fact: &str) -> bool {
    let fact = fact.trim_start();
    let rest = fact.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.trim_start().starts_with('|')
}

/// Returns a value as text. `None` if it is null or an empty list.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(list) if list.is_empty() => None,
        Value::Array(list) => {
            let items: Vec<_> = list.iter().filter_map(plain).collect();
            Some(items.join(", "))
        }
        Value::Object(object) => {
            let values: Vec<_> = object.values().filter_map(plain).collect();
            Some(values.join(" "))
        }
        value => Some(value.to_string()),
    }
}

/// Returns text in quotation marks if it would not be recognised as one value otherwise.
fn quoted(text: &str) -> String {
    let text = one_line(text);
    let is_word = |c: char| !c.is_whitespace() && !"\"=\\".contains(c);
    if !text.is_empty() && text.chars().all(is_word) {
        return text;
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Returns text in one line that is safe on a terminal.
fn one_line(text: &str) -> String {
    printable(text).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::{
        domain::{
            ids::{RowId, Uid},
            time::Timestamp,
        },
        error::Kind,
        event::StoredMessage,
    };

    fn log(format: Format) -> Log {
        Log {
            format,
            clock: Clock::fixed(Timestamp(1_795_392_000)),
            level: Level::Normal,
        }
    }

    fn line(format: Format, uid: &[u8]) -> String {
        let event = Event::Stored(StoredMessage {
            row: RowId(7),
            uid: &Uid::Server(uid.into()),
            octets: 764,
            destinations: &["~/Mail/my work".into(), "~/Mail/copy".into()],
            file: Some("1.L7"),
        });
        let (name, fields) = documents::named_fields(&event).unwrap();
        log(format).line(priority(&event), Some("work"), (name, fields))
    }

    #[test]
    fn delivery_is_one_line() {
        assert_snapshot!(line(Format::Plain, b"uid-1"), @r#"2026-11-23T00:00:00Z work: stored message=7 uid=uid-1 bytes=764 destination="~/Mail/my work" also=~/Mail/copy file=1.L7"#);
        assert_snapshot!(line(Format::Journal, b"uid-1"), @r#"<6>work: stored message=7 uid=uid-1 bytes=764 destination="~/Mail/my work" also=~/Mail/copy file=1.L7"#);
        assert_snapshot!(line(Format::Json, b"uid-1"), @r#"{"account":"work","also":["~/Mail/copy"],"bytes":764,"destination":"~/Mail/my work","event":"stored","file":"1.L7","message":7,"time":1795392000,"uid":"uid-1"}"#);
    }

    #[test]
    fn uid_cannot_add_fields_or_lines() {
        assert_snapshot!(line(Format::Journal, b"x bytes=1"), @r#"<6>work: stored message=7 uid="x bytes=1" bytes=764 destination="~/Mail/my work" also=~/Mail/copy file=1.L7"#);
        assert_snapshot!(line(Format::Journal, b"x\" bytes=1 \\"), @r#"<6>work: stored message=7 uid="x\" bytes=1 \\" bytes=764 destination="~/Mail/my work" also=~/Mail/copy file=1.L7"#);
        assert_snapshot!(line(Format::Journal, b"x\n<0>y\x1b[1m\xe2\x80\xae"), @r#"<6>work: stored message=7 uid=x�<0>y�[1m� bytes=764 destination="~/Mail/my work" also=~/Mail/copy file=1.L7"#);
        assert_snapshot!(line(Format::Journal, b""), @r#"<6>work: stored message=7 uid="" bytes=764 destination="~/Mail/my work" also=~/Mail/copy file=1.L7"#);
    }

    #[test]
    fn problem_is_one_line() {
        let error = Error::new(Kind::Denied, "the server refused the \"password\"")
            .with_fact("pop.example.org said: -ERR\n<0>no")
            .with_hint("run `pouch check work`");
        let event = Event::Problem {
            error: &error,
            tell: true,
        };
        let (name, fields) = documents::named_fields(&event).unwrap();
        let line = log(Format::Journal).line(priority(&event), Some("a\nb"), (name, fields));
        assert_snapshot!(line, @r#"<3>a b: problem problem="the server refused the \"password\"; pop.example.org said: -ERR <0>no" hint="run `pouch check work`""#);
    }

    #[test]
    fn excerpt_of_the_config_is_left_out() {
        let error = Error::new(
            Kind::Config,
            "~/config.toml:17:1: accounts `a` and `b` are one",
        )
        .with_fact("  9 | [account.a]\n    | -----------")
        .with_fact(" 17 | [account.b]")
        .with_fact("said: | 9");
        let fields = json!({ "problem": documents::error(&error) });
        assert_snapshot!(pairs(&fields), @r#" problem="~/config.toml:17:1: accounts `a` and `b` are one; said: | 9""#);
    }
}
