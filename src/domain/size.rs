//! Sizes of messages and mailboxes.

use std::{fmt, str::FromStr};

use super::quantity;

/// A number of bytes, written `512KB`, `25MB` or `2GB` (powers of 1000). The `B` may be left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// The units of a [`ByteSize`], largest first, with their value in bytes.
const SIZE_UNITS: [(&str, u64); 4] = [
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Returns the value of a unit in bytes, or `None` if the unit is unknown or empty.
///
/// Upper and lower case are equivalent, and so are `M` and `MB`.
fn unit_value(unit: &str) -> Option<u64> {
    SIZE_UNITS
        .iter()
        .find(|(name, _)| {
            let short = name.strip_suffix('B').filter(|short| !short.is_empty());
            name.eq_ignore_ascii_case(unit)
                || short.is_some_and(|short| short.eq_ignore_ascii_case(unit))
        })
        .map(|(_, value)| *value)
}

impl ByteSize {
    /// Creates a size from a number of bytes.
    pub const fn from_octets(octets: u64) -> Self {
        Self(octets)
    }

    /// Returns the size in bytes.
    pub const fn octets(self) -> u64 {
        self.0
    }

    /// Returns the size for display, rounded to about three digits: `58.9 MB`.
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

    /// Returns a hint how to correct the spelling of a size that [`FromStr`] rejects, such as
    /// "write 5MB". Returns `None` for an unknown mistake.
    pub fn suggestion(text: &str) -> Option<String> {
        let (digits, rest) = quantity::split(text)?;
        if rest.is_empty() {
            return Some(format!("add a unit: {digits}KB, {digits}MB or {digits}GB"));
        }
        let prefix = rest.get(..1)?.to_ascii_uppercase();
        let binary = ["i", "ib"].contains(&rest[1..].to_ascii_lowercase().as_str());
        (binary && unit_value(&prefix).is_some())
            .then(|| format!("sizes are in powers of 1000: write {digits}{prefix}B"))
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        quantity::parse(text, unit_value).map(Self).ok_or_else(|| {
            let hint = Self::suggestion(text)
                .unwrap_or_else(|| "write it like 512KB, 25MB or 2GB".to_owned());
            format!("`{text}` is not a valid size; {hint}")
        })
    }
}

impl fmt::Display for ByteSize {
    /// Formats the size as in the config, in the largest unit that gives a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, value) = SIZE_UNITS
            .iter()
            .find(|(_, value)| self.0 >= *value && self.0.is_multiple_of(*value))
            .unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_unit_is_read() {
        for (units, octets) in [
            (&["B", "b"][..], 7),
            (&["KB", "kB", "kb", "K", "k", " KB"], 7_000),
            (&["MB", "mb", "M", "m"], 7_000_000),
            (&["GB", "gb", "G", "g"], 7_000_000_000),
        ] {
            for unit in units {
                let size = format!("7{unit}").parse::<ByteSize>();
                assert_eq!(size, Ok(ByteSize(octets)), "{unit}");
            }
        }
    }

    #[test]
    fn sizes_are_written_as_they_are_read() {
        for text in ["0B", "999B", "512KB", "25MB", "2GB", "1001MB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        for (octets, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (2_100_000, "2.1 MB"),
            (58_949_999, "58.9 MB"),
            (131_000_000, "131 MB"),
        ] {
            assert_eq!(ByteSize::from_octets(octets).rounded(), shown);
        }
    }

    #[test]
    fn invalid_sizes_are_refused_with_the_right_spelling() {
        for (text, hint) in [
            ("100", "add a unit: 100KB, 100MB or 100GB"),
            ("5MiB", "sizes are in powers of 1000: write 5MB"),
            ("5gi", "sizes are in powers of 1000: write 5GB"),
            ("", "write it like 512KB, 25MB or 2GB"),
            ("MB", "write it like 512KB, 25MB or 2GB"),
            ("-5MB", "write it like 512KB, 25MB or 2GB"),
            ("1.5GB", "write it like 512KB, 25MB or 2GB"),
            ("0x10KB", "write it like 512KB, 25MB or 2GB"),
            ("5éB", "write it like 512KB, 25MB or 2GB"),
            ("99999999999999999999GB", "write it like 512KB, 25MB or 2GB"),
        ] {
            assert_eq!(
                text.parse::<ByteSize>(),
                Err(format!("`{text}` is not a valid size; {hint}"))
            );
        }
    }
}
