//! The wording of decisions and totals.

use crate::{
    domain::{
        plan::{Action, AfterFetch, DeleteReason, KeepUntil, SkipReason},
        size::ByteSize,
    },
    error::Exit,
    event::Summary,
    text::{count, day, sanitize},
};

/// Returns the verb of an action.
pub fn verb(action: &Action) -> &'static str {
    match action {
        Action::Fetch(_) => "fetch",
        Action::Delete(_) => "delete",
        Action::Keep(_) => "keep",
        Action::Leave(_) => "leave",
    }
}

/// Returns the reason for an action, and what happens to the message afterwards.
pub fn reason(action: &Action) -> String {
    match action {
        Action::Fetch(AfterFetch::Keep(KeepUntil::Forever)) => "new; kept on the server".into(),
        Action::Fetch(AfterFetch::Keep(KeepUntil::Due(at))) => {
            format!("new; kept until {}", day(*at))
        }
        Action::Fetch(AfterFetch::Delete) => "new; then deleted from the server".into(),
        Action::Fetch(AfterFetch::Complete) => "truncated before; requested again".into(),
        Action::Delete(why) => match why {
            DeleteReason::Kept(span) => format!("fetched more than {span} ago"),
            DeleteReason::NotKept => "fetched before".into(),
            DeleteReason::Newest(newest) => format!("not among the newest {newest}"),
            DeleteReason::Total(total) => {
                format!("newer messages already use `keep-total` ({total})")
            }
            DeleteReason::DeletedLocally => "you deleted it from the Maildir".into(),
            DeleteReason::OnRequest => "requested by `pouch ledger delete`".into(),
            DeleteReason::ByRule(rule_match) => format!("{rule_match}; not fetched"),
        },
        Action::Keep(KeepUntil::Forever) => "fetched before".into(),
        Action::Keep(KeepUntil::Due(at)) => format!("the next is due on {}", day(*at)),
        Action::Leave(left) => match left {
            SkipReason::Oversize(max) => format!("larger than max-size ({max})"),
            SkipReason::Quarantine(at) => format!("quarantined; next try {}", day(*at)),
            SkipReason::Short(at) => format!("truncated before; next try {}", day(*at)),
            SkipReason::Limit(limit) => format!("over the limit of {limit} per run"),
            SkipReason::SharedUid => {
                "another message with the same UID is not delivered yet".into()
            }
            SkipReason::DeletionFailed(at) => {
                format!("the server failed to delete it; next try {}", day(*at))
            }
            SkipReason::OtherAddress => {
                "fetched at another address; its header could not be compared".into()
            }
            SkipReason::Skipped => "skipped (`pouch ledger list --state skipped`)".into(),
            SkipReason::ByRule(rule_match) => format!("{rule_match}; skipped from now on"),
            SkipReason::DeletionDeferred(rule_match) => {
                format!("{rule_match} deletes it, but not in this run")
            }
        },
    }
}

/// Returns the sender and the subject of a message: `from Ann, subject: Lunch`.
///
/// `None` if neither is known.
pub fn header(sender: Option<&str>, subject: Option<&str>) -> Option<String> {
    let sender = sender.map(|sender| sanitize(sender.as_bytes()));
    let subject = subject.map(|subject| sanitize(subject.as_bytes()));
    match (sender, subject) {
        (Some(sender), Some(subject)) => Some(format!("from {sender}, subject: {subject}")),
        (Some(sender), None) => Some(format!("from {sender}")),
        (None, Some(subject)) => Some(format!("subject: {subject}")),
        (None, None) => None,
    }
}

/// Returns the number of deleted messages with the reason: `12 older than 30d deleted`.
pub fn deleted(number: u64, why: &DeleteReason) -> String {
    let which = match why {
        DeleteReason::Kept(span) => format!("{number} older than {span}"),
        DeleteReason::NotKept => number.to_string(),
        DeleteReason::Newest(newest) => format!("{number} beyond the newest {newest}"),
        DeleteReason::Total(total) => format!("{number} beyond a total of {total}"),
        DeleteReason::DeletedLocally => {
            return format!("{number} deleted from the server, as in the Maildir");
        }
        DeleteReason::OnRequest => return format!("{number} deleted on request"),
        DeleteReason::ByRule(rule_match) => format!("{number} unread by {rule_match}"),
    };
    format!("{which} deleted")
}

/// The largest number of destinations that a summary names.
const MAX_DESTINATIONS: usize = 4;

/// Returns the destinations of `new` messages.
///
/// If all messages were delivered to one destination, that is ` to ~/Mail/work`, and otherwise
/// `: 170 to ~/Mail/work, 2 to ~/Mail/lists`.
fn destinations(new: u64, destinations: &[(String, u64)]) -> String {
    match destinations {
        [] => String::new(),
        [(one, count)] if *count == new => format!(" to {one}"),
        _ => {
            let named = destinations.iter().take(MAX_DESTINATIONS);
            let mut parts: Vec<_> = named
                .map(|(name, count)| format!("{count} to {name}"))
                .collect();
            let others = destinations.get(MAX_DESTINATIONS..).unwrap_or_default();
            if !others.is_empty() {
                let messages: u64 = others.iter().map(|(_, count)| count).sum();
                let others = count(others.len() as u64, "other destination");
                parts.push(format!("{messages} to {others}"));
            }
            format!(": {}", parts.join(", "))
        }
    }
}

/// Returns the closing line for several accounts, each with its summary. `None` for one account.
///
/// `not_tried` is the number of further accounts, which were not tried.
pub fn closing(accounts: &[(&str, &Summary)], not_tried: usize) -> Option<String> {
    /// Names after these are only counted.
    const NAMES: usize = 10;
    if accounts.len() + not_tried < 2 {
        return None;
    }
    let fetched: u64 = accounts
        .iter()
        .map(|(_, summary)| summary.tally.delivered)
        .sum();
    let failed: Vec<_> = accounts
        .iter()
        .filter(|(_, summary)| summary.failed)
        .map(|(account, _)| *account)
        .collect();
    let mut text = match fetched {
        0 => "nothing fetched".to_owned(),
        _ => format!("{fetched} fetched"),
    };
    if !failed.is_empty() {
        let names = failed[..failed.len().min(NAMES)].join(", ");
        let number = count(failed.len() as u64, "account");
        text.push_str(&format!("; {number} failed: {names}"));
        if failed.len() > NAMES {
            text.push_str(&format!(" and {} more", failed.len() - NAMES));
        }
    }
    if not_tried > 0 {
        let number = count(not_tried as u64, "account");
        text.push_str(&format!("; {number} not tried"));
    }
    Some(text)
}

/// Returns the summary line of an account, without the name of the account.
pub fn summary(account: &str, summary: &Summary) -> String {
    let tally = summary.tally;
    let mut parts = vec![match tally.delivered {
        0 if summary.exit == Exit::OK || tally.failed > 0 => "nothing new".to_owned(),
        0 => "nothing fetched".to_owned(),
        new => {
            let size = ByteSize::from_octets(tally.octets).rounded();
            format!(
                "{new} new ({size}){}",
                destinations(new, &summary.destinations)
            )
        }
    }];
    if tally.skipped > 0 {
        parts.push(format!("{} skipped", tally.skipped));
    }
    parts.extend(
        summary
            .deleted
            .iter()
            .map(|(why, number)| deleted(*number, why)),
    );
    if tally.failed > 0 {
        parts.push(format!("{} failed", count(tally.failed, "message")));
    }
    if summary.quarantined > 0 {
        parts.push(format!(
            "{} quarantined (`pouch ledger list {account}`)",
            summary.quarantined
        ));
    }
    parts.join("; ")
}
