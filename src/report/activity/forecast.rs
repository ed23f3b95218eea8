//! The retention of several accounts, for the report.

use super::data::{AccountReport, Retention, Volume};
use crate::report::days::DayRange;

/// The number of days for which deletions are forecast.
pub const FORECAST_DAYS: usize = 60;

/// The numbers of days for which tables have a column.
pub(super) const HORIZONS: [usize; 3] = [7, 30, FORECAST_DAYS];

/// Returns the messages that are deleted from now until the end of `days` days, today included.
pub(super) fn within(retention: &Retention, range: &DayRange, days: usize) -> Volume {
    let names = range.names();
    let mut sum = retention.next_run;
    for day in &retention.days {
        if names.get(&day.day).is_some_and(|index| *index < days) {
            sum.add(day.volume);
        }
    }
    sum
}

/// Returns the messages that all accounts delete on each day. Those of the next run count for
/// today.
pub(super) fn per_day(accounts: &[AccountReport], range: &DayRange) -> Vec<Volume> {
    let names = range.names();
    let mut days = vec![Volume::default(); range.len()];
    for retention in retentions(accounts) {
        if let Some(today) = days.first_mut() {
            today.add(retention.next_run);
        }
        for day in &retention.days {
            if let Some(index) = names.get(&day.day) {
                days[*index].add(day.volume);
            }
        }
    }
    days
}

/// Returns the retention of the accounts that were listed.
pub(super) fn retentions(accounts: &[AccountReport]) -> impl Iterator<Item = &Retention> {
    let activities = accounts
        .iter()
        .filter_map(|account| account.activity.as_ref());
    activities.filter_map(|activity| activity.retention.as_ref())
}
