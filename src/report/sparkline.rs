//! A bar chart in one line of text.

/// The bars, lowest first.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The mark of a day without anything. It is no space, so that days can be counted, and so that the
/// chart counts as one word when lines are broken.
const NOTHING: char = '·';

/// The numbers of days that a chart can have, the preferred one first.
const LENGTHS: [usize; 2] = [30, 14];

/// The columns of a line that remain for its text.
const ROOM: usize = 52;

/// The columns of the gaps on both sides of a chart.
const GAPS: usize = 6;

/// Returns a chart with one bar for each value, relative to the highest. `None` if all are 0.
pub fn sparkline(values: &[u64]) -> Option<String> {
    let highest = u128::from(
        values
            .iter()
            .copied()
            .max()
            .filter(|highest| *highest > 0)?,
    );
    let bar = |value: &u64| {
        let level = (u128::from(*value) * 8).div_ceil(highest);
        match usize::try_from(level).unwrap_or(BARS.len()) {
            0 => NOTHING,
            level => BARS[level - 1],
        }
    };
    Some(values.iter().map(bar).collect())
}

/// Returns the number of days that a chart can have next to names of this width and a text, or
/// `None` if there is no room on a terminal with this number of columns.
pub fn days_that_fit(columns: usize, names: usize) -> Option<usize> {
    LENGTHS
        .into_iter()
        .find(|days| names + GAPS + days + ROOM <= columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_relative_to_the_highest_value() {
        assert_eq!(
            sparkline(&[0, 1, 2, 3, 4, 5, 6, 7, 8]).as_deref(),
            Some("·▁▂▃▄▅▆▇█")
        );
        assert_eq!(sparkline(&[1, 1_000, u64::MAX]).as_deref(), Some("▁▁█"));
        assert_eq!(sparkline(&[7, 7]).as_deref(), Some("██"));
    }

    #[test]
    fn nothing_gives_no_chart() {
        assert_eq!(sparkline(&[]), None);
        assert_eq!(sparkline(&[0, 0]), None);
    }

    #[test]
    fn chart_is_as_long_as_the_terminal_allows() {
        assert_eq!(days_that_fit(120, 4), Some(30));
        assert_eq!(days_that_fit(92, 4), Some(30));
        assert_eq!(days_that_fit(91, 4), Some(14));
        assert_eq!(days_that_fit(80, 8), Some(14));
        assert_eq!(days_that_fit(80, 9), None);
        assert_eq!(days_that_fit(40, 4), None);
    }
}
