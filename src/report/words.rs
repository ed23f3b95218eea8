//! Decisions and sums in the user's words.

use crate::{
    domain::{
        plan::{Action, Left, Then, Until, Why},
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
        Action::Fetch(Then::Keep(Until::Forever)) => "new; kept on the server".into(),
        Action::Fetch(Then::Keep(Until::Due(at))) => format!("new; kept until {}", day(*at)),
        Action::Fetch(Then::Delete) => "new; then deleted from the server".into(),
        Action::Fetch(Then::Complete) => "came shorter than listed; asked for again".into(),
        Action::Delete(why) => match why {
            Why::Kept(span) => format!("fetched more than {span} ago"),
            Why::NotKept => "fetched before".into(),
            Why::Newest(newest) => format!("not among the newest {newest}"),
            Why::Total(total) => format!("the newer ones have {total} already"),
            Why::DeletedLocally => "you deleted it from the Maildir".into(),
            Why::Ordered => "you ordered it (`pouch ledger delete`, or a rule)".into(),
            Why::Ruled(ruling) => format!("{ruling}; not fetched"),
        },
        Action::Keep(Until::Forever) => "fetched before".into(),
        Action::Keep(Until::Due(at)) => format!("the next is due on {}", day(*at)),
        Action::Leave(left) => match left {
            Left::Oversize(max) => format!("over max-size ({max})"),
            Left::Quarantine(at) => format!("in quarantine; next try {}", day(*at)),
            Left::Short(at) => format!("came shorter than listed; next try {}", day(*at)),
            Left::Limit(limit) => format!("over the limit of {limit} a run"),
            Left::Twin => "another one with its UID is not safe yet".into(),
            Left::Skipped => "set aside (`pouch ledger list --state skipped`)".into(),
            Left::Ruled(ruling) => format!("{ruling}; set aside from now on"),
            Left::Spared(ruling) => format!("{ruling} deletes it, but not in this run"),
        },
    }
}

/// `12 older than 30d deleted`.
pub fn deleted(number: u64, why: &Why) -> String {
    let which = match why {
        Why::Kept(span) => format!("{number} older than {span}"),
        Why::NotKept => number.to_string(),
        Why::Newest(newest) => format!("{number} beyond the newest {newest}"),
        Why::Total(total) => format!("{number} beyond {total}"),
        Why::DeletedLocally => format!("{number} that you had deleted"),
        Why::Ordered => format!("{number} on your order"),
        Why::Ruled(ruling) => format!("{number} unread by {ruling}"),
    };
    match why {
        Why::DeletedLocally => format!("{which} deleted on the server too"),
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
            summary.place
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
