//! Runs that failed, and messages that are quarantined.

use maud::{Markup, html};

use super::{MOST_MESSAGES, at, foreign, grouped, quarantined, size};
use crate::{
    domain::time::Timestamp,
    report::{
        activity::{
            buckets::Buckets,
            chart::{Bar, Chart, Series},
            data::{QuarantinedMessage, Report},
            failures::{Failures, meaning},
        },
        days::DayRange,
    },
    text::{count, day},
};

/// What a bar of failed runs consists of.
const SERIES: [Series; 3] = [
    Series {
        name: "transient",
        class: "transient",
    },
    Series {
        name: "failed",
        class: "failed",
    },
    Series {
        name: "interrupted",
        class: "interrupted",
    },
];

/// Returns the section about runs that did not succeed.
pub(super) fn failures(report: &Report, days: &DayRange) -> Markup {
    let failures = Failures::of(&report.accounts);
    html! {
        section {
            h2 { "Failed runs" }
            @if failures.exits.is_empty() {
                p .muted {
                    @match failures.total {
                        0 => "No run is recorded in this period.",
                        1 => "The only run in this period succeeded.",
                        total => { "None of " (grouped(total)) " runs failed." },
                    }
                }
            } @else {
                (chart(report, days).figure())
                (exits(&failures))
            }
            @if let Some(gap) = failures.gap(&report.period) { p .note { (gap) } }
        }
    }
}

fn chart(report: &Report, days: &DayRange) -> Chart<'static> {
    let buckets = Buckets::new(days);
    let names = days.names();
    let mut values = vec![vec![0; SERIES.len()]; buckets.len()];
    for activity in report
        .accounts
        .iter()
        .filter_map(|account| account.activity.as_ref())
    {
        for day in &activity.runs.days {
            if let Some(index) = names.get(&day.day) {
                let of_bucket = &mut values[buckets.of(*index)];
                of_bucket[0] += day.transient;
                of_bucket[1] += day.failed;
                of_bucket[2] += day.interrupted;
            }
        }
    }
    let bar = |(bucket, values)| Bar {
        name: buckets.name(bucket),
        label: buckets.label(bucket),
        values,
    };
    Chart {
        id: "failures",
        title: format!("Failed runs per {}", buckets.unit.noun()),
        series: &SERIES,
        bars: values.into_iter().enumerate().map(bar).collect(),
        format: grouped,
        unit: buckets.unit.noun(),
    }
}

fn exits(failures: &Failures) -> Markup {
    html! {
        div .scroll {
            table {
                thead {
                    tr {
                        th scope="col" { "exit code" }
                        th scope="col" { "meaning" }
                        th .number .wide scope="col" { "accounts" }
                        th .number scope="col" { "runs" }
                        th scope="col" { "last" }
                    }
                }
                tbody {
                    @for exit in &failures.exits {
                        tr {
                            td {
                                @match exit.exit {
                                    Some(exit) => { (exit) }
                                    None => { "–" }
                                }
                            }
                            th scope="row" { (meaning(exit.exit)) }
                            td .number .wide { (grouped(exit.accounts)) }
                            td .number { (grouped(exit.runs)) }
                            td .moment { (at(exit.last)) }
                        }
                    }
                }
                tfoot {
                    tr {
                        td {}
                        th scope="row" { "all runs, with those that succeeded" }
                        td .wide {}
                        td .number { (grouped(failures.total)) }
                        td {}
                    }
                }
            }
        }
    }
}

/// Returns the section about quarantined messages.
pub(super) fn quarantine(report: &Report) -> Markup {
    let total = quarantined(report);
    let mut messages: Vec<_> = report
        .accounts
        .iter()
        .filter_map(|account| Some((account.account.as_str(), account.activity.as_ref()?)))
        .flat_map(|(account, activity)| {
            activity
                .quarantine
                .iter()
                .map(move |message| (account, message))
        })
        .collect();
    messages.sort_by_key(|(_, message)| message.retry_after);
    messages.truncate(MOST_MESSAGES);
    let shown = messages.len() as u64;
    html! {
        section {
            h2 { "Quarantine" }
            @if messages.is_empty() {
                p .muted { "No message is quarantined." }
            } @else {
                div .scroll {
                    table {
                        thead {
                            tr {
                                th scope="col" { "message" }
                                th scope="col" { "reason" }
                                th scope="col" { "next try" }
                            }
                        }
                        tbody {
                            @for (account, message) in messages { (quarantined_row(account, message)) }
                        }
                    }
                }
                @if shown < total {
                    p .note { "These are the next " (shown) " of " (grouped(total)) " messages." }
                }
            }
        }
    }
}

fn quarantined_row(account: &str, message: &QuarantinedMessage) -> Markup {
    let subject = message.subject.as_deref().unwrap_or("(subject unknown)");
    html! {
        tr {
            th .name scope="row" {
                (foreign(subject))
                span .sub {
                    @if let Some(from) = &message.from { "from " (foreign(from)) ", " }
                    (foreign(account)) " " (message.message) ", " (size(message.size)) ", "
                    (count(message.attempts.into(), "attempt"))
                }
            }
            td .name { (foreign(message.reason.as_deref().unwrap_or("unknown"))) }
            td .date {
                @match message.retry_after {
                    Some(at) => { (day(Timestamp(at))) }
                    None => { "next run" }
                }
            }
        }
    }
}
