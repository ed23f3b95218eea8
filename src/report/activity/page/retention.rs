//! The forecast of deletions.

use std::cmp::Reverse;

use maud::{Markup, html};

use super::{MOST_ACCOUNTS, at, foreign, grouped, messages, size};
use crate::{
    report::{
        activity::{
            chart::{Bar, Chart, Series},
            data::{Report, Retention},
            forecast::{FORECAST_DAYS, HORIZONS, per_day, within},
        },
        days::DayRange,
    },
    text::count,
};

/// What a bar of deletions consists of.
const SERIES: [Series; 1] = [Series {
    name: "messages",
    class: "deletion",
}];

/// An account with its retention.
type Kept<'a> = (&'a str, &'a Retention);

/// Returns the section about what will be deleted from servers.
pub(super) fn section(report: &Report) -> Markup {
    let range = DayRange::from(report.made, FORECAST_DAYS);
    let mut accounts: Vec<Kept<'_>> = report
        .accounts
        .iter()
        .filter_map(|account| {
            let retention = account.activity.as_ref()?.retention.as_ref()?;
            Some((account.account.as_str(), retention))
        })
        .collect();
    let chart = chart(report, &range);
    let is_any = chart.bars.iter().any(|bar| bar.values[0] > 0);
    let over = accounts.len().saturating_sub(MOST_ACCOUNTS) as u64;
    if over > 0 {
        accounts.sort_by_cached_key(|(_, retention)| {
            Reverse(within(retention, &range, FORECAST_DAYS).messages)
        });
        accounts.truncate(MOST_ACCOUNTS);
    }
    html! {
        section {
            h2 { "Retention" }
            @if accounts.is_empty() {
                p .muted { "No mailbox was listed yet." }
            } @else {
                @if is_any { (chart.figure()) }
                @else { p .muted { "Nothing is due for deletion within " (FORECAST_DAYS) " days." } }
                (table(&accounts, &range))
                @if over > 0 {
                    p .note { (count(over, "other account")) " with fewer deletions not shown." }
                }
                p .note {
                    "What the plan of each day would delete from the server, if the messages of the last "
                    "listing are all there is. Rules are not evaluated. The first bar has what the next run "
                    "deletes."
                }
            }
        }
    }
}

fn chart(report: &Report, range: &DayRange) -> Chart<'static> {
    let days = per_day(&report.accounts, range);
    let bar = |(day, date): (_, &jiff::civil::Date)| Bar {
        name: date.to_string(),
        label: date.strftime("%-d %b").to_string(),
        values: vec![day],
    };
    let messages = days.iter().map(|day| day.messages);
    Chart {
        id: "deletions",
        title: "Deletions from servers per day".to_owned(),
        series: &SERIES,
        bars: messages.zip(range.dates()).map(bar).collect(),
        format: grouped,
        unit: "day",
    }
}

fn table(accounts: &[Kept<'_>], range: &DayRange) -> Markup {
    html! {
        div .scroll {
            table .retention {
                thead {
                    tr {
                        th scope="col" { "account" }
                        th .number scope="col" { "on server" }
                        th .number scope="col" { "next run" }
                        @for days in HORIZONS {
                            th .number scope="col" { (days) " days" }
                        }
                        th .number .wide scope="col" { "left then" }
                    }
                }
                tbody {
                    @for (account, retention) in accounts { (row(account, retention, range)) }
                }
            }
        }
    }
}

fn row(account: &str, retention: &Retention, range: &DayRange) -> Markup {
    html! {
        tr {
            th .name scope="row" {
                b { (foreign(account)) }
                span .sub { (foreign(&retention.policy)) }
                @for reason in &retention.reasons {
                    span .sub { (grouped(reason.messages)) " " (foreign(&reason.reason)) }
                }
                @if let Some(listed) = retention.listed { span .sub { "listed " (at(listed)) } }
                @if retention.sync_deletions {
                    span .sub { "and what you delete from the Maildir" }
                }
            }
            td .number {
                (grouped(retention.on_server.messages))
                span .sub { (size(retention.on_server.bytes)) }
            }
            (messages(retention.next_run.messages))
            @for days in HORIZONS { (messages(within(retention, range, days).messages)) }
            td .number .wide { (grouped(retention.left.messages)) }
        }
    }
}
