//! Consecutive days in the local time zone, as charts and tables show them.

use std::collections::HashMap;

use jiff::{ToSpan, civil::Date, tz::TimeZone};

use crate::domain::time::Timestamp;

/// Consecutive days in the local time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayRange {
    dates: Vec<Date>,
    /// When each day begins, and after them when the last one ends, in seconds since 1970.
    bounds: Vec<i64>,
}

impl DayRange {
    /// Returns `count` days, of which the last is that of `now`.
    pub fn until(now: Timestamp, count: usize) -> Self {
        let back = i32::try_from(count).unwrap_or(i32::MAX).saturating_sub(1);
        let first = today(now).saturating_sub(back.days());
        Self::new(first, count)
    }

    /// Returns `count` days, of which the first is that of `now`.
    pub fn from(now: Timestamp, count: usize) -> Self {
        Self::new(today(now), count)
    }

    fn new(first: Date, count: usize) -> Self {
        let zone = TimeZone::system();
        let begin = |date: &Date| {
            let begin = date.to_zoned(zone.clone());
            begin.map_or(i64::MAX, |begin| begin.timestamp().as_second())
        };
        let dates: Vec<_> = first.series(1.day()).take(count + 1).collect();
        let bounds = dates.iter().map(begin).collect();
        Self {
            dates: dates.into_iter().take(count).collect(),
            bounds,
        }
    }

    /// Returns the number of days.
    pub fn len(&self) -> usize {
        self.dates.len()
    }

    /// Returns whether there are no days.
    pub fn is_empty(&self) -> bool {
        self.dates.is_empty()
    }

    /// Returns the dates.
    pub fn dates(&self) -> &[Date] {
        &self.dates
    }

    /// Returns the names of the days, like `2026-11-24`, each with its index.
    pub fn names(&self) -> HashMap<String, usize> {
        let names = self.dates.iter().map(Date::to_string);
        names.zip(0..).collect()
    }

    /// Returns when the first day begins.
    pub fn begin(&self) -> Timestamp {
        Timestamp(self.bounds.first().copied().unwrap_or(i64::MAX))
    }

    /// Returns the last second of each day.
    pub fn ends(&self) -> Vec<Timestamp> {
        let ends = self.bounds.iter().skip(1);
        ends.map(|end| Timestamp(end.saturating_sub(1))).collect()
    }

    /// Returns the index of the day of `at`, or `None` if it is before or after all of them.
    pub fn index(&self, at: Timestamp) -> Option<usize> {
        let begun = self.bounds.partition_point(|begin| *begin <= at.0);
        begun.checked_sub(1).filter(|index| *index < self.len())
    }
}

fn today(now: Timestamp) -> Date {
    let zone = TimeZone::system();
    jiff::Timestamp::from_second(now.0).map_or(Date::ZERO, |now| now.to_zoned(zone).date())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_belongs_to_one_day() {
        let now = Timestamp(1_795_392_000);
        let days = DayRange::until(now, 3);
        assert_eq!(days.len(), 3);
        assert_eq!(days.index(now), Some(2));
        assert_eq!(days.index(days.begin()), Some(0));
        assert_eq!(days.index(Timestamp(days.begin().0 - 1)), None);
        let ends = days.ends();
        assert_eq!(days.index(ends[2]), Some(2));
        assert_eq!(days.index(Timestamp(ends[2].0 + 1)), None);
        assert_eq!(days.index(Timestamp(ends[0].0 + 1)), Some(1));
        assert_eq!(DayRange::from(now, 2).dates()[0], days.dates()[2]);
    }

    #[test]
    fn extreme_times_give_days() {
        for at in [i64::MIN, 0, i64::MAX] {
            let days = DayRange::until(Timestamp(at), 30);
            assert_eq!(days.ends().len(), days.len());
        }
    }
}
