//! Numbers with a unit, in the config and on the command line.

/// Splits a quantity such as `30d` or `25 MB` into its digits and its unit. Returns `None` if the
/// text does not begin with a digit.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    (!digits.is_empty()).then_some((digits, unit.trim_start()))
}

/// Parses a whole number with a unit, whose value `value_of` returns. Returns `None` if the text is
/// not such a quantity, and on overflow.
pub(super) fn parse(text: &str, value_of: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let (digits, unit) = split(text)?;
    digits.parse::<u64>().ok()?.checked_mul(value_of(unit)?)
}
