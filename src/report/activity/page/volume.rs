//! The volume over time.

use maud::{Markup, html};

use super::{grouped, size, total};
use crate::report::{
    activity::{
        buckets::Buckets,
        chart::{Bar, Chart, Series},
        data::{Activity, Report, Volume},
    },
    days::DayRange,
};

/// Returns the section with the charts of messages and bytes.
pub(super) fn section(report: &Report, days: &DayRange) -> Markup {
    let buckets = Buckets::new(days);
    let unit = buckets.unit.noun();
    let volumes = of_all(report, days, &buckets);
    let chart = |id, title: &str, series, value: fn(&Volume) -> u64, format| Chart {
        id,
        title: format!("{title} per {unit}"),
        series,
        bars: bars(&buckets, &volumes, value),
        format,
        unit,
    };
    let messages = [Series {
        name: "messages",
        class: "volume",
    }];
    let sizes = [Series {
        name: "delivered",
        class: "volume",
    }];
    html! {
        section {
            h2 { "Volume" }
            @if total(report).messages == 0 {
                p .muted { "No mail was delivered in this period." }
            } @else {
                div .charts {
                    (chart("messages", "Messages", &messages, |volume| volume.messages, grouped).figure())
                    (chart("bytes", "Size", &sizes, |volume| volume.bytes, size).figure())
                }
            }
        }
    }
}

fn bars(buckets: &Buckets, volumes: &[Volume], value: fn(&Volume) -> u64) -> Vec<Bar> {
    let bar = |(bucket, volume)| Bar {
        name: buckets.name(bucket),
        label: buckets.label(bucket),
        values: vec![value(volume)],
    };
    volumes.iter().enumerate().map(bar).collect()
}

fn of_all(report: &Report, days: &DayRange, buckets: &Buckets) -> Vec<Volume> {
    let names = days.names();
    let mut volumes = vec![Volume::default(); buckets.len()];
    for activity in report
        .accounts
        .iter()
        .filter_map(|account| account.activity.as_ref())
    {
        add(activity, &names, buckets, &mut volumes);
    }
    volumes
}

/// Adds the mail of an account to that of each bucket.
pub(super) fn add(
    activity: &Activity,
    names: &std::collections::HashMap<String, usize>,
    buckets: &Buckets,
    volumes: &mut [Volume],
) {
    for day in &activity.days {
        if let Some(index) = names.get(&day.day) {
            volumes[buckets.of(*index)].add(day.volume);
        }
    }
}
