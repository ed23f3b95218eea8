//! JSON: a line an event for `fetch`, one document for all else. Fields are added, never renamed.

use serde_json::{Map, Value, json};

use super::print;
use crate::{
    clock::Clock,
    error::{Error, Exit},
    event::{Event, Reporter},
    policy::Why,
};

/// Reports in JSON Lines on standard output.
#[derive(Debug)]
pub struct Json {
    /// For the time of each event.
    pub clock: Clock,
}

impl Json {
    fn line(&self, name: &str, fields: Value) {
        let mut object = Map::new();
        object.insert("event".into(), name.into());
        object.insert("time".into(), self.clock.now().0.into());
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        // a reader that went away does not stop the mail
        let _ = print(&format!("{}\n", Value::Object(object)));
    }

    /// The last line: the exit code of all.
    pub fn end(&self, exit: Exit) {
        self.line("end", json!({ "exit": exit.0 }));
    }
}

impl Reporter for Json {
    fn event(&self, account: &str, event: &Event<'_>) {
        match event {
            Event::Start => self.line("start", json!({ "account": account })),
            Event::Connected { server } => self.line("connected", json!({ "account": account, "server": server })),
            Event::Planned { listed, fetch, octets } => {
                self.line("planned", json!({ "account": account, "listed": listed, "fetch": fetch, "octets": octets }));
            }
            Event::Stored { row, octets } => self.line("stored", json!({ "account": account, "message": row.0, "octets": octets })),
            Event::Failed { row, error } => {
                self.line("failed", json!({ "account": account, "message": row.0, "problem": self::error(error) }));
            }
            Event::Quarantined { row, error, next_try } => self.line(
                "quarantined",
                json!({ "account": account, "message": row.0, "next_try": next_try.0, "problem": self::error(error) }),
            ),
            Event::Deleted { count, why } => self.line("deleted", json!({ "account": account, "count": count, "why": self::why(why) })),
            Event::Notice(error) => self.line("notice", json!({ "account": account, "problem": self::error(error) })),
            Event::Problem { error, .. } => self.line("problem", json!({ "account": account, "problem": self::error(error) })),
            Event::Done(summary) => self.line(
                "done",
                json!({
                    "account": account,
                    "exit": summary.exit.0,
                    "delivered": summary.tally.delivered,
                    "octets": summary.tally.octets,
                    "deleted": summary.tally.deleted,
                    "failed": summary.tally.failed,
                    "quarantined": summary.quarantined,
                }),
            ),
            Event::Received { .. } | Event::Said(_) => {}
        }
    }
}

/// An error as an object.
pub fn error(error: &Error) -> Value {
    json!({
        "what": error.what(),
        "facts": error.facts(),
        "hint": error.advice(),
        "exit": error.kind().exit().0,
    })
}

/// A reason for a deletion, as a word that stays.
pub fn why(why: &Why) -> &'static str {
    match why {
        Why::Kept(_) => "kept-long-enough",
        Why::NotKept => "not-kept",
        Why::Newest(_) => "keep-newest",
        Why::Total(_) => "keep-total",
        Why::DeletedLocally => "deleted-locally",
        Why::Ordered => "ordered",
    }
}
