//! The report as text.

use super::{
    data::{Activity, Health, QuarantinedMessage, Report, Volume},
    failures::{Failures, meaning},
    forecast::{FORECAST_DAYS, HORIZONS, within},
    page,
    senders::{self, AllSenders},
};
use crate::{
    domain::{size::ByteSize, time::Timestamp},
    report::{days::DayRange, table::Table},
    text::{count, day, moment, sanitize},
};

/// The largest number of rows in a table.
const MOST_ROWS: usize = 20;

/// Returns the report as lines of text.
pub fn text(report: &Report) -> String {
    let sections = [
        volume(report),
        failures(report),
        quarantine(report),
        retention(report),
        senders(report),
    ];
    format!(
        "Mail from {}\n\n{}\n",
        page::period(report),
        sections.join("\n\n")
    )
}

fn activities(report: &Report) -> impl Iterator<Item = (&str, &Activity)> {
    let accounts = report.accounts.iter();
    accounts.filter_map(|account| Some((account.account.as_str(), account.activity.as_ref()?)))
}

fn size(bytes: u64) -> String {
    ByteSize::from_octets(bytes).rounded()
}

/// Returns the line on the rows that were left out of a table.
fn omitted(number: usize, noun: &str) -> Option<String> {
    let omitted = number.saturating_sub(MOST_ROWS) as u64;
    (omitted > 0).then(|| format!("\n  and {}", count(omitted, noun)))
}

fn volume(report: &Report) -> String {
    let mut table = Table::new("<>><");
    let mut accounts: Vec<_> = activities(report).collect();
    // those that need attention must not be left out
    accounts.sort_by_key(|(_, activity)| activity.health == Health::Ok);
    for (account, activity) in accounts.iter().take(MOST_ROWS) {
        let Volume { messages, bytes } = activity.volume();
        table.row([
            sanitize(account.as_bytes()),
            count(messages, "message"),
            size(bytes),
            sanitize(activity.condition.as_bytes()),
        ]);
    }
    let Volume { messages, bytes } = page::total(report);
    if accounts.len() > 1 {
        let total = [
            String::from("total"),
            count(messages, "message"),
            size(bytes),
        ];
        table.row(total);
    }
    let omitted = omitted(accounts.len(), "other account").unwrap_or_default();
    format!("Volume\n{}{omitted}", table.text())
}

fn failures(report: &Report) -> String {
    let failures = Failures::of(&report.accounts);
    let mut table = Table::new("><<");
    for exit in &failures.exits {
        table.row([
            count(exit.runs, "run"),
            meaning(exit.exit),
            format!("last {}", moment(Timestamp(exit.last))),
        ]);
    }
    let mut text = format!("Failed runs, of {}\n{}", failures.total, table.text());
    if failures.exits.is_empty() {
        text.push_str("  none");
    }
    if let Some(gap) = failures.gap(&report.period) {
        text.push_str(&format!("\n  {gap}"));
    }
    text
}

fn quarantine(report: &Report) -> String {
    let messages = activities(report).flat_map(|(account, activity)| {
        let messages = activity.quarantine.iter();
        messages.map(move |message| (account, message))
    });
    let mut messages: Vec<(&str, &QuarantinedMessage)> = messages.collect();
    messages.sort_by_key(|(_, message)| message.retry_after);
    let total: u64 = activities(report)
        .map(|(_, activity)| activity.quarantined)
        .sum();
    let mut text = String::from("Quarantine");
    for (account, message) in messages.iter().take(MOST_ROWS) {
        let next_try = message.retry_after.map(|at| day(Timestamp(at)));
        let header =
            crate::report::words::header(message.from.as_deref(), message.subject.as_deref());
        text.push_str(&format!(
            "\n  {} {}: {}; next try {}",
            sanitize(account.as_bytes()),
            message.message,
            sanitize(
                message
                    .reason
                    .as_deref()
                    .unwrap_or("reason unknown")
                    .as_bytes()
            ),
            next_try.as_deref().unwrap_or("in the next run"),
        ));
        if let Some(header) = header {
            text.push_str(&format!("\n      {header}"));
        }
    }
    if messages.is_empty() {
        text.push_str("\n  none");
    }
    let total = usize::try_from(total).unwrap_or(usize::MAX);
    text + &omitted(total, "other message").unwrap_or_default()
}

fn retention(report: &Report) -> String {
    let range = DayRange::from(report.made, FORECAST_DAYS);
    let mut table = Table::new("<>>>>>><");
    let mut accounts: Vec<_> = activities(report)
        .filter_map(|(account, activity)| Some((account, activity.retention.as_ref()?)))
        .collect();
    if accounts.is_empty() {
        return "Retention\n  no mailbox was listed yet".to_owned();
    }
    if accounts.len() > MOST_ROWS {
        accounts.sort_by_cached_key(|(_, retention)| {
            std::cmp::Reverse(within(retention, &range, FORECAST_DAYS).messages)
        });
    }
    table.row(
        ["", "on the server", "next run"]
            .map(str::to_owned)
            .into_iter()
            .chain(HORIZONS.map(|days| format!("{days} days")))
            .chain([String::from("left then"), String::new()]),
    );
    for (account, retention) in accounts.iter().take(MOST_ROWS) {
        let numbers = HORIZONS.map(|days| within(retention, &range, days).messages);
        let numbers = [retention.on_server.messages, retention.next_run.messages]
            .into_iter()
            .chain(numbers)
            .chain([retention.left.messages]);
        let policy = Some(retention.policy.clone()).filter(|policy| !policy.is_empty());
        let at = retention.listed;
        let listed = at.map(|at| format!("listed {}", moment(Timestamp(at))));
        let policy = [policy, listed].into_iter().flatten().collect::<Vec<_>>();
        let policy = policy.join("; ");
        table.row(
            std::iter::once(sanitize(account.as_bytes()))
                .chain(numbers.map(|number| number.to_string()))
                .chain([sanitize(policy.as_bytes())]),
        );
    }
    let omitted = omitted(accounts.len(), "other account").unwrap_or_default();
    format!(
        "Retention: what will be deleted from the servers, by the last listing\n{}{omitted}",
        table.text()
    )
}

fn senders(report: &Report) -> String {
    let senders = AllSenders::of(&report.accounts);
    let mut text = String::from("Largest senders");
    for (title, list) in [
        ("by messages", senders.by_messages()),
        ("by size", senders.by_bytes()),
    ] {
        let mut table = Table::new(">><");
        for (sender, Volume { messages, bytes }) in list {
            let sender = sanitize(senders::shown(sender).as_bytes());
            table.row([count(messages, "message"), size(bytes), sender]);
        }
        if !table.is_empty() {
            text.push_str(&format!(", {title}\n{}\n\nLargest senders", table.text()));
        }
    }
    let mut text = match text.strip_suffix("\n\nLargest senders") {
        Some(text) => text.to_owned(),
        None => text + "\n  none are known",
    };
    if let Some(gaps) = senders.gaps() {
        text.push_str(&format!("\n  {gaps}"));
    }
    text
}
