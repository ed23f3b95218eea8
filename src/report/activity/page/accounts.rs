//! The accounts, each with its volume and its state.

use std::cmp::Reverse;

use maud::{Markup, html};

use super::{MOST_ACCOUNTS, foreign, grouped, messages, size, state, volume};
use crate::{
    report::{
        activity::{
            buckets::Buckets,
            chart::small,
            data::{AccountReport, Activity, Health, Report, Volume},
        },
        days::DayRange,
    },
    text::count,
};

/// Returns the section with a row for each account. If there are too many, those that need
/// attention come first, and then those with the most messages.
pub(super) fn section(report: &Report, days: &DayRange) -> Markup {
    let (shown, rest) = shown(report);
    let buckets = Buckets::new(days);
    let names = days.names();
    let trend = |activity: &Activity| {
        let mut volumes = vec![Volume::default(); buckets.len()];
        volume::add(activity, &names, &buckets, &mut volumes);
        let values: Vec<_> = volumes.iter().map(|volume| volume.messages).collect();
        let highest = values.iter().copied().max().unwrap_or(0);
        let unit = buckets.unit.noun();
        let description = format!("messages per {unit}, at most {}", grouped(highest));
        html! { @if highest > 0 { (small(&values, &description)) } }
    };
    html! {
        section {
            h2 { "Accounts" }
            div .scroll {
                table {
                    thead {
                        tr {
                            th scope="col" { "account" }
                            th scope="col" { "state" }
                            th .trend scope="col" { "messages per " (buckets.unit.noun()) }
                            th .number scope="col" { "messages" }
                            th .number scope="col" { "size" }
                        }
                    }
                    tbody {
                        @for account in shown { (row(account, trend)) }
                        @if let Some(rest) = rest { (rest) }
                    }
                }
            }
        }
    }
}

fn row(account: &AccountReport, trend: impl Fn(&Activity) -> Markup) -> Markup {
    html! {
        tr {
            th .name scope="row" {
                b { (foreign(&account.account)) }
                span .sub { (foreign(condition(account))) }
            }
            td { (state(health(account))) }
            @if let Some(activity) = &account.activity {
                @let volume = activity.volume();
                td .trend { (trend(activity)) }
                (messages(volume.messages))
                td .number { (size(volume.bytes)) }
            } @else {
                td .trend {}
                td {}
                td {}
            }
        }
    }
}

fn condition(account: &AccountReport) -> &str {
    let condition = || {
        account
            .activity
            .as_ref()
            .map(|activity| activity.condition.as_str())
    };
    account.error().or_else(condition).unwrap_or("unknown")
}

fn health(account: &AccountReport) -> Health {
    let activity = account.activity.as_ref();
    activity.map_or(Health::Failing, |activity| activity.health)
}

fn volume_of(account: &AccountReport) -> Volume {
    account
        .activity
        .as_ref()
        .map_or_else(Volume::default, Activity::volume)
}

/// Returns the accounts that have a row, and the row of all others.
fn shown(report: &Report) -> (Vec<&AccountReport>, Option<Markup>) {
    let mut accounts: Vec<_> = report.accounts.iter().collect();
    if accounts.len() <= MOST_ACCOUNTS {
        return (accounts, None);
    }
    accounts.sort_by_cached_key(|account| Reverse((health(account), volume_of(account).messages)));
    let rest = accounts.split_off(MOST_ACCOUNTS);
    let mut volume = Volume::default();
    for account in &rest {
        volume.add(volume_of(account));
    }
    let others = count(rest.len() as u64, "other account");
    let words = states(&rest);
    let row = html! {
        tr {
            th .name scope="row" { (others) span .sub { (words) } }
            td {}
            td .trend {}
            (messages(volume.messages))
            td .number { (size(volume.bytes)) }
        }
    };
    (accounts, Some(row))
}

/// Returns the numbers of accounts in each state: `2 failing, 1 attention, 47 ok`.
fn states(accounts: &[&AccountReport]) -> String {
    let number = |wanted| {
        accounts
            .iter()
            .filter(|account| health(account) == wanted)
            .count()
    };
    let states = [
        (Health::Failing, "failing"),
        (Health::Attention, "attention"),
        (Health::Ok, "ok"),
    ];
    let numbers = states.map(|(health, word)| (number(health), word));
    let some = numbers.into_iter().filter(|(number, _)| *number > 0);
    let words: Vec<_> = some
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    words.join(", ")
}

/// Returns the noun for the number of accounts with their states: `accounts: 1 failing, 3 ok`.
pub(super) fn summary(report: &Report) -> String {
    let accounts: Vec<_> = report.accounts.iter().collect();
    let noun = if accounts.len() == 1 {
        "account"
    } else {
        "accounts"
    };
    if accounts.is_empty() {
        return noun.to_owned();
    }
    format!("{noun}: {}", states(&accounts))
}
