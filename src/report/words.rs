//! Decisions and sums in the user's words.

use crate::{
    domain::{
        plan::{Action, AfterFetch, DeleteReason, KeepUntil, SkipReason},
        size::ByteSize,
    },
    error::Exit,
    event::Summary,
    text::{count, day},
};

/// The verb of an action.
pub fn verb(action: &Action) -> &'static str {
    match action {
        Action::Fetch(_) => "fetch",
        Action::Delete(_) => "delete",
        Action::Keep(_) => "keep",
        Action::Leave(_) => "leave",
    }
}

/// Why, and what comes after it.
pub fn reason(action: &Action) -> String {
    match action {
        Action::Fetch(AfterFetch::Keep(KeepUntil::Forever)) => "new; kept on the server".into(),
        Action::Fetch(AfterFetch::Keep(KeepUntil::Due(at))) => {
            format!("new; kept until {}", day(*at))
        }
        Action::Fetch(AfterFetch::Delete) => "new; then deleted from the server".into(),
        Action::Fetch(AfterFetch::Complete) => "came shorter than listed; asked for again".into(),
        Action::Delete(why) => match why {
            DeleteReason::Kept(span) => format!("fetched more than {span} ago"),
            DeleteReason::NotKept => "fetched before".into(),
            DeleteReason::Newest(newest) => format!("not among the newest {newest}"),
            DeleteReason::Total(total) => format!("the newer ones have {total} already"),
            DeleteReason::DeletedLocally => "you deleted it from the Maildir".into(),
            DeleteReason::OnRequest => "you ordered it (`pouch ledger delete`, or a rule)".into(),
            DeleteReason::ByRule(rule_match) => format!("{rule_match}; not fetched"),
        },
        Action::Keep(KeepUntil::Forever) => "fetched before".into(),
        Action::Keep(KeepUntil::Due(at)) => format!("the next is due on {}", day(*at)),
        Action::Leave(left) => match left {
            SkipReason::Oversize(max) => format!("over max-size ({max})"),
            SkipReason::Quarantine(at) => format!("in quarantine; next try {}", day(*at)),
            SkipReason::Short(at) => format!("came shorter than listed; next try {}", day(*at)),
            SkipReason::Limit(limit) => format!("over the limit of {limit} a run"),
            SkipReason::SharedUid => "another one with its UID is not safe yet".into(),
            SkipReason::Skipped => "set aside (`pouch ledger list --state skipped`)".into(),
            SkipReason::ByRule(rule_match) => format!("{rule_match}; set aside from now on"),
            SkipReason::DeletionDeferred(rule_match) => {
                format!("{rule_match} deletes it, but not in this run")
            }
        },
    }
}

/// `12 older than 30d deleted`.
pub fn deleted(number: u64, why: &DeleteReason) -> String {
    let which = match why {
        DeleteReason::Kept(span) => format!("{number} older than {span}"),
        DeleteReason::NotKept => number.to_string(),
        DeleteReason::Newest(newest) => format!("{number} beyond the newest {newest}"),
        DeleteReason::Total(total) => format!("{number} beyond {total}"),
        DeleteReason::DeletedLocally => format!("{number} that you had deleted"),
        DeleteReason::OnRequest => format!("{number} on your order"),
        DeleteReason::ByRule(rule_match) => format!("{number} unread by {rule_match}"),
    };
    match why {
        DeleteReason::DeletedLocally => format!("{which} deleted on the server too"),
        _ => format!("{which} deleted"),
    }
}

/// The line of a finished account, without its name.
pub fn summary(account: &str, summary: &Summary) -> String {
    let tally = summary.tally;
    let mut parts = vec![match tally.delivered {
        0 if summary.exit == Exit::OK || tally.failed > 0 => "nothing new".to_owned(),
        0 => "nothing fetched".to_owned(),
        new => format!(
            "{new} new, {}, in {}",
            ByteSize::from_octets(tally.octets).rounded(),
            summary.destination
        ),
    }];
    if tally.skipped > 0 {
        parts.push(format!("{} set aside", tally.skipped));
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
            "{} in quarantine (`pouch ledger list {account}`)",
            summary.quarantined
        ));
    }
    parts.join("; ")
}
