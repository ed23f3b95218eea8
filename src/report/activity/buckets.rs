//! Days, combined into weeks or months, so that a chart of a long period has bars of a visible
//! width.

use jiff::{ToSpan, civil::Date};

use crate::report::days::DayRange;

/// The number of days up to which each has a bar.
const MOST_DAYS: usize = 100;

/// The number of days up to which each week has a bar.
const MOST_WEEKS: usize = 7 * 110;

/// The unit of a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Day,
    Week,
    Month,
}

impl Unit {
    /// Returns the noun.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// Returns the first day of the unit that contains `date`.
    fn begin(self, date: Date) -> Date {
        match self {
            Self::Day => date,
            Self::Week => {
                date.saturating_sub(i32::from(date.weekday().to_monday_zero_offset()).days())
            }
            Self::Month => date.first_of_month(),
        }
    }
}

/// A division of days into buckets, each of which has a bar.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    pub(super) unit: Unit,
    /// The first day of each. That of the first bucket may be before the period.
    begins: Vec<Date>,
    /// The bucket of each day.
    of_day: Vec<usize>,
}

impl Buckets {
    /// Divides a period into days, weeks or months, depending on its length.
    pub(super) fn new(period: &DayRange) -> Self {
        let unit = match period.len() {
            days if days <= MOST_DAYS => Unit::Day,
            days if days <= MOST_WEEKS => Unit::Week,
            _ => Unit::Month,
        };
        let mut begins: Vec<Date> = Vec::new();
        let mut of_day = Vec::with_capacity(period.len());
        for date in period.dates() {
            let begin = unit.begin(*date);
            if begins.last() != Some(&begin) {
                begins.push(begin);
            }
            of_day.push(begins.len() - 1);
        }
        Self {
            unit,
            begins,
            of_day,
        }
    }

    /// Returns the number of buckets.
    pub(super) fn len(&self) -> usize {
        self.begins.len()
    }

    /// Returns the bucket of a day.
    pub(super) fn of(&self, day: usize) -> usize {
        self.of_day[day]
    }

    /// Returns the name of a bucket, like `2026-11-24`, `week of 2026-11-23` or `2026-11`.
    pub(super) fn name(&self, bucket: usize) -> String {
        let begin = self.begins[bucket];
        match self.unit {
            Unit::Day => begin.to_string(),
            Unit::Week => format!("week of {begin}"),
            Unit::Month => begin.strftime("%Y-%m").to_string(),
        }
    }

    /// Returns the short name of a bucket for an axis, like `24 Nov`.
    pub(super) fn label(&self, bucket: usize) -> String {
        let format = match self.unit {
            Unit::Day | Unit::Week => "%-d %b",
            Unit::Month => "%b %Y",
        };
        self.begins[bucket].strftime(format).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn buckets(days: usize) -> Buckets {
        Buckets::new(&DayRange::until(Timestamp(1_795_392_000), days))
    }

    #[test]
    fn unit_grows_with_the_period() {
        for (days, unit, most) in [
            (1, Unit::Day, 1),
            (100, Unit::Day, 100),
            (101, Unit::Week, 16),
            (365, Unit::Week, 54),
            (3_660, Unit::Month, 122),
        ] {
            let buckets = buckets(days);
            assert_eq!(buckets.unit, unit);
            assert!(buckets.len() <= most, "{}", buckets.len());
            assert_eq!(buckets.of(0), 0);
            assert_eq!(buckets.of(days - 1), buckets.len() - 1);
        }
    }

    #[test]
    fn weeks_begin_on_monday() {
        let buckets = buckets(101);
        let last = buckets.len() - 1;
        assert_eq!(buckets.name(last), "week of 2026-11-23");
        assert_eq!(buckets.label(last), "23 Nov");
    }
}
