//! JSON output: one event per line for `fetch`, one document for other commands.
//!
//! Fields may be added in later versions, but are never renamed.

use serde_json::{Map, Value, json};

use super::print;
use crate::{
    domain::plan::DeleteReason,
    error::{Error, Exit},
    event::{Event, MessageName, Reporter, StoredMessage, Summary},
    sys::clock::Clock,
    text::sanitize,
};

/// A reporter that writes JSON Lines to standard output.
#[derive(Debug)]
pub struct Json {
    /// The clock, for the time of each event.
    pub clock: Clock,
}

impl Json {
    /// Writes an event.
    fn line(&self, name: &str, fields: Value) {
        // the run continues even if the output cannot be written
        let _ = print(&format!("{}\n", object(self.clock, name, fields)));
    }

    /// Writes the error that prevented all accounts from being fetched.
    pub fn problem(&self, error: &Error) {
        self.line("problem", json!({ "problem": self::error(error) }));
    }

    /// Writes the error that prevented an account from being fetched, or all those of a source.
    pub fn problem_of(&self, account: Option<&str>, error: &Error) {
        let mut fields = json!({ "problem": self::error(error) });
        if let Some(account) = account {
            fields["account"] = account.into();
        }
        self.line("problem", fields);
    }

    /// Writes an error that is not about one account and does not stop the run.
    pub fn notice(&self, error: &Error) {
        self.line("notice", json!({ "problem": self::error(error) }));
    }

    /// Writes that all accounts can be used again.
    pub fn recovered(&self) {
        self.line("recovered", json!({}));
    }

    /// Writes the last line, with the exit code of the program.
    pub fn end(&self, exit: Exit) {
        self.line("end", json!({ "exit": exit.0 }));
    }
}

impl Reporter for Json {
    fn event(&self, account: &str, event: &Event<'_>) {
        if let Some((name, fields)) = named_fields(event) {
            for account in event.accounts(&account) {
                self.line(name, with_account(account, fields.clone()));
            }
        }
    }
}

/// Returns the object for an event of this name.
pub(super) fn object(clock: Clock, name: &str, fields: Value) -> Value {
    let mut object = Map::new();
    object.insert("event".into(), name.into());
    object.insert("time".into(), clock.now().0.into());
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    Value::Object(object)
}

/// Adds the account to the fields of an event.
pub(super) fn with_account(account: &str, fields: Value) -> Value {
    let mut object = json!({ "account": account });
    if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
        object.extend(fields);
    }
    object
}

/// Returns the name and the fields of an event. `None` if it is only for a terminal.
pub(super) fn named_fields(event: &Event<'_>) -> Option<(&'static str, Value)> {
    Some(match event {
        Event::Start => ("start", json!({})),
        Event::Connected { server } => ("connected", json!({ "server": server })),
        Event::Planned {
            listed,
            fetch,
            octets,
        } => (
            "planned",
            json!({ "listed": listed, "fetch": fetch, "bytes": octets }),
        ),
        Event::Stored(message) => ("stored", stored(message)),
        Event::Failed { message, error } => ("failed", failure(message, error)),
        Event::Quarantined {
            message,
            error,
            next_try,
        } => {
            let mut fields = failure(message, error);
            fields["retry_after"] = next_try.0.into();
            ("quarantined", fields)
        }
        Event::Deleted { count, why } => (
            "deleted",
            json!({ "count": count, "reason": self::why(why) }),
        ),
        Event::Notice(error) => ("notice", json!({ "problem": self::error(error) })),
        Event::Problem { error, .. } => ("problem", json!({ "problem": self::error(error) })),
        Event::Done(summary) => (
            "done",
            json!({
                "exit": summary.exit.0,
                "delivered": summary.tally.delivered,
                "bytes": summary.tally.octets,
                "deleted": summary.tally.deleted,
                "skipped": summary.tally.skipped,
                "failed": summary.tally.failed,
                "quarantined": summary.quarantined,
                "destinations": destinations(summary),
            }),
        ),
        Event::NotTried { error, .. } => ("not_tried", json!({ "problem": self::error(error) })),
        Event::Connecting { .. }
        | Event::Reading { .. }
        | Event::Received { .. }
        | Event::TraceLine(_) => return None,
    })
}

/// Returns the fields of the event about a stored message.
fn stored(message: &StoredMessage<'_>) -> Value {
    json!({
        "message": message.row.0,
        "uid": sanitize(&message.uid.text()),
        "bytes": message.octets,
        "destination": message.destinations.first(),
        "also": message.destinations.get(1..).unwrap_or_default(),
        "file": message.file,
    })
}

/// Returns the fields of an event about a failed message.
fn failure(message: &MessageName<'_>, error: &Error) -> Value {
    let text = |text: Option<&str>| text.map(|text| sanitize(text.as_bytes()));
    json!({
        "message": message.row.0,
        "uid": sanitize(&message.uid.text()),
        "from": text(message.sender),
        "subject": text(message.subject),
        "problem": self::error(error),
    })
}

/// Returns the destinations of a run with their numbers of messages.
fn destinations(summary: &Summary) -> Vec<Value> {
    let destinations = summary.destinations.iter();
    destinations
        .map(|(name, count)| json!({ "destination": name, "messages": count }))
        .collect()
}

/// Returns an error as an object.
pub fn error(error: &Error) -> Value {
    let mut object = json!({
        "what": error.what(),
        "facts": error.facts(),
        "hint": error.hint(),
        "exit": error.kind().exit().0,
    });
    if !error.further().is_empty() {
        object["further"] = error.further().iter().map(self::error).collect();
    }
    object
}

/// Returns the reason for a deletion, as a word that does not change between versions.
pub fn why(why: &DeleteReason) -> &'static str {
    match why {
        DeleteReason::Kept(_) => "kept-long-enough",
        DeleteReason::NotKept => "not-kept",
        DeleteReason::Newest(_) => "keep-newest",
        DeleteReason::Total(_) => "keep-total",
        DeleteReason::DeletedLocally => "deleted-locally",
        DeleteReason::OnRequest => "requested",
        DeleteReason::ByRule(_) => "rule",
    }
}
