//! Times and sizes as people write them: `30d`, `25MB`.

use std::{fmt, str::FromStr, time::Duration};

/// A length of time in whole seconds, written `30s`, `5m`, `12h`, `30d` or `8w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

/// No [`Span`] that people write is longer: a thousand years. Clocks reckon with ten of them.
const LONGEST_SPAN: u64 = 1_000 * 365 * 86_400;

/// The units of a [`Span`], largest first, with their length in seconds.
const SPAN_UNITS: [(&str, u64); 5] = [
    ("w", 604_800),
    ("d", 86_400),
    ("h", 3_600),
    ("m", 60),
    ("s", 1),
];

impl Span {
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

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_secs(span.0)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, &SPAN_UNITS)
            .filter(|seconds| *seconds <= LONGEST_SPAN)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no time; write it like 30s, 5m, 12h, 30d or 8w"))
    }
}

impl fmt::Display for Span {
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

/// A number of octets, written `512KB`, `25MB` or `2GB` (powers of 1000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

/// The units of a [`Size`], largest first, with their value in octets.
const SIZE_UNITS: [(&str, u64); 4] = [
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl Size {
    /// That many octets.
    pub const fn from_octets(octets: u64) -> Self {
        Self(octets)
    }

    /// The size in octets.
    pub const fn octets(self) -> u64 {
        self.0
    }

    /// For reading, rounded to three figures or so: `58.9 MB`.
    pub fn rounded(self) -> String {
        let (unit, value) = SIZE_UNITS
            .iter()
            .find(|(_, value)| self.0 >= *value)
            .unwrap_or(&("B", 1));
        let whole = self.0 / value;
        let tenths = self.0 % value * 10 / value;
        if *value == 1 || whole >= 100 {
            format!("{whole} {unit}")
        } else {
            format!("{whole}.{tenths} {unit}")
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, &SIZE_UNITS)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no size; write it like 512KB, 25MB or 2GB"))
    }
}

impl fmt::Display for Size {
    /// The largest unit that gives a whole number, as it would be written in the config.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, value) = SIZE_UNITS
            .iter()
            .find(|(_, value)| self.0 >= *value && self.0.is_multiple_of(*value))
            .unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / value)
    }
}

/// A whole number followed by one of `units`, in any case; nothing where that overflows.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let (_, value) = units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.parse::<u64>().ok()?.checked_mul(*value)
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
            assert_eq!(text.parse::<Span>().unwrap().seconds(), seconds);
            assert_eq!(Span::from_seconds(seconds).to_string(), text);
        }
        assert_eq!("8w".parse::<Span>().unwrap().to_string(), "56d");
        assert_eq!("0s".parse::<Span>().unwrap().to_string(), "0s");
        assert!("365000d".parse::<Span>().is_ok());
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
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_read_and_write() {
        assert_eq!("25MB".parse::<Size>().unwrap().octets(), 25_000_000);
        assert_eq!("512kb".parse::<Size>().unwrap().to_string(), "512KB");
        assert_eq!("100B".parse::<Size>().unwrap().octets(), 100);
        assert!("100".parse::<Size>().is_err());
        assert!("0x10KB".parse::<Size>().is_err());
        for (octets, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (2_100_000, "2.1 MB"),
            (58_949_999, "58.9 MB"),
            (131_000_000, "131 MB"),
        ] {
            assert_eq!(Size::from_octets(octets).rounded(), shown);
        }
    }
}
