//! A message as `pouch ledger` displays it.

use serde::Serialize;

use crate::{
    domain::{size::ByteSize, time::Timestamp},
    ledger::{Row, State},
    text::{count, moment, sanitize},
};

/// Returns the line of a message in a list: its subject or its UID, its last failure, and whether
/// it is missing or will be deleted.
pub(super) fn line(row: &Row) -> String {
    let reason = row
        .reason
        .as_ref()
        .map(|reason| sanitize(reason.as_bytes()));
    let deletion = (row.awaits_deletion() && row.missing.is_none())
        .then(|| "will be deleted from the server".to_owned());
    let missing = row
        .missing
        .filter(|_| row.state != State::Gone)
        .map(|since| format!("not on the server since {}", moment(since)));
    let remarks: Vec<_> = [reason, deletion, missing].into_iter().flatten().collect();
    let title = match &row.subject {
        Some(subject) => Some(sanitize(subject.as_bytes())),
        None if remarks.is_empty() => {
            let uid = format!("UID {}", sanitize(&row.uid.text()));
            Some(match &row.imported_from {
                Some(origin) => format!("imported from {origin}; {uid}"),
                None if row.is_adopted => format!("adopted; {uid}"),
                None => uid,
            })
        }
        None => None,
    };
    let what: Vec<_> = title.into_iter().chain([remarks.join("; ")]).collect();
    let what = what.join(": ");
    format!(
        "{:>8} {:11} {:>9}   {}   {}\n",
        row.id.0,
        row.state,
        ByteSize::from_octets(row.octets).rounded(),
        moment(row.first_seen),
        what.trim_end_matches(": ")
    )
}

/// Returns everything known about a message, with one value on each line.
pub(super) fn details(row: &Row) -> String {
    let text = |text: &Option<String>| text.as_ref().map(|text| sanitize(text.as_bytes()));
    let time = |at: Option<Timestamp>| at.map(moment);
    let lines = [
        ("message", Some(row.id.to_string())),
        ("UID", Some(sanitize(&row.uid.text()))),
        ("state", Some(row.state.to_string())),
        ("imported from", row.imported_from.clone()),
        ("from", text(&row.sender)),
        ("subject", text(&row.subject)),
        ("listed size", Some(count(row.octets, "byte"))),
        (
            "received",
            row.received
                .filter(|_| row.was_received())
                .map(|received| count(received, "byte")),
        ),
        ("first seen", Some(moment(row.first_seen))),
        (
            match (row.is_adopted, row.was_received()) {
                (true, _) => "adopted",
                (false, true) => "delivered",
                (false, false) => "marked as fetched",
            },
            time(row.delivered),
        ),
        ("file", row.was_received().then(|| row.name.clone())),
        ("no longer listed", time(row.missing)),
        (
            "failed",
            (row.attempts > 0).then(|| count(row.attempts.into(), "time")),
        ),
        ("reason", text(&row.reason)),
        ("next try", time(row.next_try)),
        (
            "pending",
            row.awaits_deletion()
                .then(|| "deletion from the server".to_owned()),
        ),
    ];
    lines
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| format!("{name:17} {value}\n")))
        .collect()
}

/// A message in JSON.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    message: i64,
    uid: String,
    state: &'static str,
    imported_from: Option<&'a str>,
    adopted: bool,
    from: Option<String>,
    subject: Option<String>,
    size: u64,
    bytes_received: Option<u64>,
    first_seen: i64,
    delivered_at: Option<i64>,
    file: Option<&'a str>,
    missing_since: Option<i64>,
    attempts: u32,
    reason: Option<String>,
    retry_after: Option<i64>,
    delete_requested: bool,
}

impl<'a> From<&'a Row> for Document<'a> {
    fn from(row: &'a Row) -> Self {
        let text = |text: &Option<String>| text.as_ref().map(|text| sanitize(text.as_bytes()));
        let seconds = |at: Option<Timestamp>| at.map(|at| at.0);
        Self {
            message: row.id.0,
            uid: sanitize(&row.uid.text()),
            state: row.state.name(),
            imported_from: row.imported_from.as_deref(),
            adopted: row.is_adopted,
            from: text(&row.sender),
            subject: text(&row.subject),
            size: row.octets,
            bytes_received: row.received,
            first_seen: row.first_seen.0,
            delivered_at: seconds(row.delivered),
            file: row.was_received().then_some(row.name.as_str()),
            missing_since: seconds(row.missing),
            attempts: row.attempts,
            reason: text(&row.reason),
            retry_after: seconds(row.next_try),
            delete_requested: row.delete_requested,
        }
    }
}
