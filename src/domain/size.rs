//! Sizes of messages and mailboxes.

use std::{fmt, str::FromStr};

use super::quantity;

/// A number of octets, written `512KB`, `25MB` or `2GB` (powers of 1000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// The units of a [`ByteSize`], largest first, with their value in octets.
const SIZE_UNITS: [(&str, u64); 4] = [
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
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

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        quantity::parse(text, &SIZE_UNITS)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no size; write it like 512KB, 25MB or 2GB"))
    }
}

impl fmt::Display for ByteSize {
    /// The largest unit that gives a whole number, as it would be written in the config.
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
    fn sizes_read_and_write() {
        assert_eq!("25MB".parse::<ByteSize>().unwrap().octets(), 25_000_000);
        assert_eq!("512kb".parse::<ByteSize>().unwrap().to_string(), "512KB");
        assert_eq!("100B".parse::<ByteSize>().unwrap().octets(), 100);
        assert!("100".parse::<ByteSize>().is_err());
        assert!("0x10KB".parse::<ByteSize>().is_err());
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
}
