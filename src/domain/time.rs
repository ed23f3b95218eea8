//! Points in time and durations.

use std::{fmt, str::FromStr, time::Duration};

use super::quantity;

/// A point in time, in seconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Returns the time `span` later.
    #[must_use]
    pub fn after(self, span: TimeSpan) -> Self {
        Self(self.0.saturating_add_unsigned(span.seconds()))
    }

    /// Returns the seconds since `earlier`, or 0 if `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

/// A duration in whole seconds, written `30s`, `5m`, `12h`, `30d` or `8w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(u64);

/// The longest valid [`TimeSpan`]: 1,000 years. Adding it to any time cannot overflow.
const LONGEST_SPAN: u64 = 1_000 * YEAR;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const MONTH: u64 = 30 * DAY;
const YEAR: u64 = 365 * DAY;

/// A unit of time: its symbol, its length in seconds, and other common spellings.
///
/// Symbols are lower case, because `M` could mean minutes or months.
struct Unit(&'static str, u64, &'static [&'static str]);

/// The units of a [`TimeSpan`], largest first.
const SPAN_UNITS: [Unit; 5] = [
    Unit("w", WEEK, &["week", "weeks"]),
    Unit("d", DAY, &["day", "days"]),
    Unit("h", HOUR, &["hr", "hrs", "hour", "hours"]),
    Unit("m", MINUTE, &["min", "mins", "minute", "minutes"]),
    Unit("s", 1, &["sec", "secs", "second", "seconds"]),
];

/// The units of [`Days`].
const DAY_UNITS: [Unit; 4] = [
    Unit("d", DAY, &["day", "days"]),
    Unit("w", WEEK, &["week", "weeks"]),
    Unit("mo", MONTH, &["m", "mon", "month", "months"]),
    Unit("y", YEAR, &["yr", "yrs", "year", "years"]),
];

/// Parses a duration in one of `units`. Returns `None` if the text is not a duration, or if it is
/// longer than [`LONGEST_SPAN`].
fn parse(text: &str, units: &[Unit]) -> Option<TimeSpan> {
    let seconds = quantity::parse(text, |unit| {
        let known = units.iter().find(|Unit(symbol, ..)| *symbol == unit)?;
        Some(known.1)
    })?;
    (seconds <= LONGEST_SPAN).then_some(TimeSpan(seconds))
}

/// Returns the correct spelling of a duration with a common misspelling of its unit.
fn respelled(text: &str, units: &[Unit]) -> Option<String> {
    let (digits, word) = quantity::split(text)?;
    let word = word.to_ascii_lowercase();
    let Unit(symbol, ..) = units
        .iter()
        .find(|Unit(symbol, _, words)| *symbol == word || words.contains(&word.as_str()))?;
    Some(format!("{digits}{symbol}"))
}

impl TimeSpan {
    /// Creates a duration from a number of seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Creates a duration from a number of days.
    pub const fn from_days(days: u64) -> Self {
        Self(days.saturating_mul(DAY))
    }

    /// Returns the duration in seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// Returns a hint how to correct the spelling of a duration that [`FromStr`] rejects, such as
    /// "write 5m". Returns `None` for an unknown mistake.
    pub fn suggestion(text: &str) -> Option<String> {
        if let Some((digits, "")) = quantity::split(text) {
            return Some(format!("add a unit: {digits}s, {digits}m or {digits}h"));
        }
        let right = respelled(text, &SPAN_UNITS)?;
        (right != text).then(|| format!("write {right}"))
    }
}

impl From<TimeSpan> for Duration {
    fn from(span: TimeSpan) -> Self {
        Self::from_secs(span.0)
    }
}

impl FromStr for TimeSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, &SPAN_UNITS).ok_or_else(|| {
            let hint = Self::suggestion(text)
                .unwrap_or_else(|| "write it like 30s, 5m, 12h, 30d or 8w".to_owned());
            format!("`{text}` is not a valid duration; {hint}")
        })
    }
}

impl fmt::Display for TimeSpan {
    /// Formats the duration as in the config, in the largest unit that gives a whole number. Weeks
    /// are not used, since retention is usually counted in days.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unit(symbol, seconds, _) = SPAN_UNITS[1..]
            .iter()
            .find(|Unit(_, seconds, _)| self.0 >= *seconds && self.0.is_multiple_of(*seconds))
            .unwrap_or(&Unit("s", 1, &[]));
        write!(f, "{}{symbol}", self.0 / seconds)
    }
}

/// A number of whole days, written `30d`, `8w`, `6mo` (30 days each) or `1y` (365 days).
///
/// This is the type of every key that decides when mail is deleted. It has no minutes, so that
/// `6m` in the sense of six months cannot empty a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Days(TimeSpan);

impl Days {
    /// Returns a hint how to correct the spelling of days that [`FromStr`] rejects, such as "for
    /// months, write 6mo". Returns `None` for an unknown mistake.
    pub fn suggestion(text: &str) -> Option<String> {
        let (digits, unit) = quantity::split(text)?;
        if unit.is_empty() {
            return Some(format!("add a unit: {digits}d, {digits}w or {digits}mo"));
        }
        match respelled(text, &DAY_UNITS) {
            Some(right) if unit.eq_ignore_ascii_case("m") => {
                Some(format!("for months, write {right}"))
            }
            Some(right) if right != text => Some(format!("write {right}")),
            Some(_) => None,
            None => respelled(text, &SPAN_UNITS).map(|_| "the shortest time is 1d".to_owned()),
        }
    }
}

impl From<Days> for TimeSpan {
    fn from(Days(span): Days) -> Self {
        span
    }
}

impl FromStr for Days {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, &DAY_UNITS).map(Self).ok_or_else(|| {
            let hint = Self::suggestion(text)
                .unwrap_or_else(|| "write it like 30d, 8w, 6mo or 1y".to_owned());
            format!("`{text}` is not a valid number of days; {hint}")
        })
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the reason why `text` is rejected, without the text itself.
    fn refusal<T: FromStr<Err = String> + fmt::Debug>(text: &str) -> String {
        let error = text.parse::<T>().unwrap_err();
        error
            .split_once("; ")
            .map(|(_, hint)| hint.to_owned())
            .unwrap()
    }

    #[test]
    fn spans_are_written_as_they_are_read() {
        for (text, seconds) in [
            ("30s", 30),
            ("5m", 300),
            ("12h", 43_200),
            ("30d", 2_592_000),
        ] {
            assert_eq!(text.parse::<TimeSpan>().unwrap().seconds(), seconds);
            assert_eq!(TimeSpan::from_seconds(seconds).to_string(), text);
        }
        assert_eq!("8w".parse::<TimeSpan>().unwrap().to_string(), "56d");
        assert_eq!("0s".parse::<TimeSpan>().unwrap().to_string(), "0s");
        assert!("365000d".parse::<TimeSpan>().is_ok());
    }

    #[test]
    fn capital_units_of_time_are_refused_with_the_right_spelling() {
        for unit in ["s", "m", "h", "d", "w"] {
            let capital = format!("5{}", unit.to_uppercase());
            assert_eq!(refusal::<TimeSpan>(&capital), format!("write 5{unit}"));
        }
        for unit in ["d", "w", "y"] {
            let capital = format!("5{}", unit.to_uppercase());
            assert_eq!(refusal::<Days>(&capital), format!("write 5{unit}"));
        }
        for months in ["5MO", "5Mo", "5mO"] {
            assert_eq!(refusal::<Days>(months), "write 5mo");
        }
    }

    #[test]
    fn words_for_units_are_refused_with_the_symbol() {
        for Unit(symbol, _, words) in &SPAN_UNITS {
            for word in *words {
                for text in [format!("5{word}"), format!("5 {word}")] {
                    assert_eq!(refusal::<TimeSpan>(&text), format!("write 5{symbol}"));
                }
            }
        }
        for (text, hint) in [
            ("30 days", "write 30d"),
            ("1 Week", "write 1w"),
            ("6 months", "write 6mo"),
            ("1year", "write 1y"),
        ] {
            assert_eq!(refusal::<Days>(text), hint);
        }
    }

    #[test]
    fn days_are_read_in_units_of_a_day_and_longer() {
        for (text, days) in [
            ("1d", 1),
            ("30d", 30),
            ("8w", 56),
            ("6mo", 180),
            ("2y", 730),
        ] {
            let span = TimeSpan::from(text.parse::<Days>().unwrap());
            assert_eq!(span, TimeSpan::from_days(days), "{text}");
        }
    }

    #[test]
    fn days_never_mean_minutes() {
        for text in ["6m", "6M", "6 m"] {
            assert_eq!(refusal::<Days>(text), "for months, write 6mo");
        }
        for text in ["90s", "12h", "12H", "5min", "3 hours", "0s"] {
            assert_eq!(refusal::<Days>(text), "the shortest time is 1d");
        }
        assert_eq!(refusal::<Days>("30"), "add a unit: 30d, 30w or 30mo");
    }

    #[test]
    fn invalid_durations_are_refused_by_units() {
        let none = ["", "d", "-3d", "1.5h", "3 fortnights", "1d12h", "٣d", "1µ"];
        let too_long = [
            "365001d",
            "10000000000000000000s",
            "99999999999999999999d",
            "999999999999999999w",
        ];
        for text in none.into_iter().chain(too_long) {
            assert!(text.parse::<TimeSpan>().is_err(), "{text}");
            assert!(text.parse::<Days>().is_err(), "{text}");
        }
        assert!("1001y".parse::<Days>().is_err());
        assert_eq!(refusal::<TimeSpan>("30"), "add a unit: 30s, 30m or 30h");
    }
}
