//! The report as a page of HTML.

mod accounts;
mod retention;
mod runs;
mod volume;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    data::{Health, Report, Volume},
    forecast::{FORECAST_DAYS, per_day},
    senders::{self, AllSenders},
};
use crate::{
    domain::{size::ByteSize, time::Timestamp},
    report::days::DayRange,
    text::{count, moment, sanitize},
};

/// The style sheet, which is part of the page.
const STYLE: &str = include_str!("../style.css");

/// What the page may load and run: nothing but its own styles.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The largest number of accounts in a table.
const MOST_ACCOUNTS: usize = 50;

/// The largest number of messages in a table.
const MOST_MESSAGES: usize = 100;

/// The least number of days that charts show.
const LEAST_DAYS: usize = 14;

/// Returns the page.
pub fn page(report: &Report) -> String {
    let charted = charted(report);
    let sections = html! {
        (volume::section(report, &charted))
        (accounts::section(report, &charted))
        (runs::failures(report, &charted))
        (runs::quarantine(report))
        (retention::section(report))
        (largest_senders(report))
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="robots" content="noindex";
                meta name="generator" content={ "pouch " (env!("CARGO_PKG_VERSION")) };
                title { "Mail report, " (last_day(&report.period)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "Mail report" }
                    p .muted { (period(report)) }
                    (tiles(report))
                }
                main { (sections) }
                (footer(report))
            }
        }
    };
    page.into_string()
}

/// Returns the days that charts show: those of the report, unless nothing happened on the first
/// half of them.
fn charted(report: &Report) -> DayRange {
    let names = report.period.names();
    let activities = report
        .accounts
        .iter()
        .filter_map(|account| account.activity.as_ref());
    let used = activities.flat_map(|activity| {
        let delivered = activity.days.iter().map(|day| &day.day);
        delivered.chain(activity.runs.days.iter().map(|day| &day.day))
    });
    let first = used.filter_map(|day| names.get(day).copied()).min();
    let all = report.period.len();
    match first {
        Some(first) if first > all / 2 => {
            DayRange::until(report.made, (all - first).max(LEAST_DAYS).min(all))
        }
        _ => report.period.clone(),
    }
}

/// Returns the period in words.
pub(super) fn period(report: &Report) -> String {
    let dates = report.period.dates();
    match dates {
        [] => String::new(),
        [day] => day.to_string(),
        [first, .., last] => format!("{first} to {last} ({})", count(dates.len() as u64, "day")),
    }
}

fn last_day(period: &DayRange) -> String {
    let last = period.dates().last();
    last.map_or_else(String::new, ToString::to_string)
}

fn tiles(report: &Report) -> Markup {
    let total = total(report);
    let range = DayRange::from(report.made, FORECAST_DAYS);
    let mut deletions = Volume::default();
    let days = per_day(&report.accounts, &range);
    days.iter().take(30).for_each(|day| deletions.add(*day));
    let quarantined = quarantined(report);
    html! {
        dl .tiles {
            (tile(&grouped(total.messages), noun(total.messages, "message")))
            (tile(&size(total.bytes), "delivered"))
            (tile(&grouped(report.accounts.len() as u64), &accounts::summary(report)))
            (tile(&grouped(quarantined), "quarantined"))
            (tile(&grouped(deletions.messages), "deletions due in 30 days"))
        }
    }
}

fn tile(value: &str, label: &str) -> Markup {
    html! { div { dt { (label) } dd { (value) } } }
}

fn largest_senders(report: &Report) -> Markup {
    let senders = AllSenders::of(&report.accounts);
    let (by_messages, by_bytes) = (senders.by_messages(), senders.by_bytes());
    html! {
        section {
            h2 { "Largest senders" }
            @if by_messages.is_empty() {
                p .muted { "No senders are known." }
            } @else {
                div .charts {
                    (sender_table("By messages", &by_messages, |volume| volume.messages))
                    (sender_table("By size", &by_bytes, |volume| volume.bytes))
                }
            }
            @if let Some(gaps) = senders.gaps() {
                p .note { "Read from the headers in Maildirs: " (gaps) "." }
            }
        }
    }
}

fn sender_table(title: &str, senders: &[(&str, Volume)], size_of: fn(&Volume) -> u64) -> Markup {
    let largest = senders.first().map_or(0, |(_, volume)| size_of(volume));
    html! {
        div {
            h3 { (title) }
            div .scroll {
                table {
                    thead {
                        tr {
                            th scope="col" { "sender" }
                            th .number scope="col" { "messages" }
                            th .number scope="col" { "size" }
                        }
                    }
                    tbody {
                        @for (sender, volume) in senders {
                            tr {
                                th .name scope="row" {
                                    (foreign(senders::shown(sender)))
                                    (super::chart::share(size_of(volume), largest))
                                }
                                td .number { (grouped(volume.messages)) }
                                td .number { (size(volume.bytes)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn footer(report: &Report) -> Markup {
    html! {
        footer {
            p {
                "Made by pouch " (env!("CARGO_PKG_VERSION")) " on " (moment(report.made))
                " from the ledgers of this machine, without a connection to a server. "
                "Messages that were removed with `pouch ledger forget` are not included."
            }
        }
    }
}

/// Returns all mail that was delivered.
pub(super) fn total(report: &Report) -> Volume {
    let mut total = Volume::default();
    let activities = report
        .accounts
        .iter()
        .filter_map(|account| account.activity.as_ref());
    activities.for_each(|activity| total.add(activity.volume()));
    total
}

/// Returns the number of quarantined messages.
fn quarantined(report: &Report) -> u64 {
    let activities = report
        .accounts
        .iter()
        .filter_map(|account| account.activity.as_ref());
    activities.map(|activity| activity.quarantined).sum()
}

/// Returns text that a server, a sender or the user of another process chose: without characters
/// that control how the text around it is displayed, and isolated from it.
fn foreign(text: &str) -> Markup {
    html! { bdi { (sanitize(text.as_bytes())) } }
}

/// Returns the state of an account, as a symbol and a word.
fn state(health: Health) -> Markup {
    let (class, word) = match health {
        Health::Ok => ("ok", "ok"),
        Health::Attention => ("attention", "attention"),
        Health::Failing => ("failing", "failing"),
    };
    html! { span .state .(class) { (word) } }
}

/// Returns a number with groups of three digits: `1,204`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Returns a size like `58.9 MB`, without a decimal that is 0.
fn size(bytes: u64) -> String {
    ByteSize::from_octets(bytes).rounded().replace(".0 ", " ")
}

/// Returns a noun in the number that belongs to `number`.
fn noun(number: u64, noun: &'static str) -> &'static str {
    match (number, noun) {
        (1, noun) => noun,
        (_, "message") => "messages",
        (_, noun) => noun,
    }
}

/// Returns the cell of a table with a number of messages. 0 is not emphasized.
fn messages(number: u64) -> Markup {
    let class = if number == 0 { "zero" } else { "" };
    html! { td .number .(class) { (grouped(number)) } }
}

/// Returns a time that is not known in a process of the same time zone.
fn at(seconds: i64) -> String {
    moment(Timestamp(seconds))
}
