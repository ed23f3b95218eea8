//! Moments and lengths of time.

use std::{fmt, str::FromStr, time::Duration};

use super::quantity;

/// A moment, in seconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Returns the moment `span` later.
    #[must_use]
    pub fn after(self, span: TimeSpan) -> Self {
        Self(self.0.saturating_add_unsigned(span.seconds()))
    }

    /// Returns the seconds from `earlier` to this moment, or 0 if `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

/// A length of time in whole seconds, written `30s`, `5m`, `12h`, `30d` or `8w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(u64);

/// The longest [`TimeSpan`] that is accepted: 1,000 years. Adding it to any moment cannot overflow.
const LONGEST_SPAN: u64 = 1_000 * 365 * 86_400;

/// The units of a [`TimeSpan`], largest first, with their length in seconds.
const SPAN_UNITS: [(&str, u64); 5] = [
    ("w", 604_800),
    ("d", 86_400),
    ("h", 3_600),
    ("m", 60),
    ("s", 1),
];

impl TimeSpan {
    /// That many seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// That many days.
    pub const fn from_days(days: u64) -> Self {
        Self(days.saturating_mul(86_400))
    }

    /// The length in seconds.
    pub const fn seconds(self) -> u64 {
        self.0
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
        quantity::parse(text, &SPAN_UNITS)
            .filter(|seconds| *seconds <= LONGEST_SPAN)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no time; write it like 30s, 5m, 12h, 30d or 8w"))
    }
}

impl fmt::Display for TimeSpan {
    /// The largest unit that gives a whole number, as it would be written in the config. Weeks
    /// are left out, since people count retention in days.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, seconds) = SPAN_UNITS[1..]
            .iter()
            .find(|(_, seconds)| self.0 >= *seconds && self.0.is_multiple_of(*seconds))
            .unwrap_or(&("s", 1));
        write!(f, "{}{unit}", self.0 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_and_write() {
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
        let overlong = [
            "365001d",
            "10000000000000000000s",
            "99999999999999999999d",
            "999999999999999999w",
        ];
        for bad in ["", "30", "d", "-3d", "1.5h", "3 fortnights"]
            .into_iter()
            .chain(overlong)
        {
            assert!(bad.parse::<TimeSpan>().is_err(), "{bad}");
        }
    }
}
