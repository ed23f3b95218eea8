//! Bar charts as SVG.
//!
//! Only the bars are SVG, which is stretched to the width of the page. Labels are HTML around it,
//! so that they keep their size on a narrow screen.

use maud::{Markup, html};

/// The height of a chart in its own units.
const HEIGHT: u64 = 1_000;

/// The width of a bar with its gap in units of the chart.
const STEP: usize = 10;

/// The lowest bar, so that one message is visible next to a thousand.
const LOWEST: u64 = 12;

/// The largest number of labels on the axis of time.
const MOST_LABELS: usize = 6;

/// A chart of stacked bars.
pub(super) struct Chart<'a> {
    /// The ID of the chart in the page.
    pub(super) id: &'static str,
    /// The title.
    pub(super) title: String,
    /// What the bars consist of.
    pub(super) series: &'a [Series],
    /// The bars, in the order of time.
    pub(super) bars: Vec<Bar>,
    /// Returns a value with its unit.
    pub(super) format: fn(u64) -> String,
    /// The heading of the first column of the table.
    pub(super) unit: &'static str,
}

/// A part of each bar.
pub(super) struct Series {
    /// The name in the legend and in the table.
    pub(super) name: &'static str,
    /// The class in the style sheet.
    pub(super) class: &'static str,
}

/// A bar.
pub(super) struct Bar {
    /// The full name, for the table.
    pub(super) name: String,
    /// The short name, for the axis.
    pub(super) label: String,
    /// The value of each series.
    pub(super) values: Vec<u64>,
}

impl Bar {
    fn total(&self) -> u64 {
        self.values
            .iter()
            .fold(0, |sum, value| sum.saturating_add(*value))
    }
}

impl Chart<'_> {
    /// Returns the figure: title, legend, chart, and the table of the same values.
    pub(super) fn figure(&self) -> Markup {
        html! {
            figure .chart {
                figcaption {
                    h3 { (self.title) }
                    @if self.series.len() > 1 { (self.legend()) }
                }
                (self.plot())
                details {
                    summary { "Table" }
                    (self.table())
                }
            }
        }
    }

    fn legend(&self) -> Markup {
        html! {
            ul .legend {
                @for (index, series) in self.series.iter().enumerate() {
                    li {
                        span .swatch .(series.class) {}
                        (series.name) " " b { ((self.format)(self.sum(index))) }
                    }
                }
            }
        }
    }

    /// Returns the sum of a series.
    fn sum(&self, index: usize) -> u64 {
        let values = self.bars.iter().map(|bar| bar.values[index]);
        values.fold(0, u64::saturating_add)
    }

    fn plot(&self) -> Markup {
        let highest = self.bars.iter().map(Bar::total).max().unwrap_or(0);
        let top = axis_end(highest);
        html! {
            div .plot {
                div .y aria-hidden="true" {
                    span { ((self.format)(top)) }
                    span { ((self.format)(top / 2)) }
                    span { "0" }
                }
                (self.svg(top))
                div .x aria-hidden="true" {
                    @for (position, label) in self.labels() {
                        span style={ "left:" (position) "%" } { (label) }
                    }
                }
            }
        }
    }

    fn svg(&self, top: u64) -> Markup {
        let width = self.bars.len() * STEP;
        let ids = format!("{0}-title {0}-desc", self.id);
        html! {
            svg viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" role="img"
                aria-labelledby=(ids) {
                title id={ (self.id) "-title" } { (self.title) }
                desc id={ (self.id) "-desc" } { (self.description()) }
                @for y in [0, HEIGHT / 2, HEIGHT] {
                    line .grid x1="0" x2=(width) y1=(y) y2=(y) {}
                }
                @for (index, bar) in self.bars.iter().enumerate() {
                    (self.bar(index, bar, top))
                }
            }
        }
    }

    fn bar(&self, index: usize, bar: &Bar, top: u64) -> Markup {
        let mut y = HEIGHT;
        let parts: Vec<_> = self
            .series
            .iter()
            .zip(&bar.values)
            .filter(|(_, value)| **value > 0)
            .map(|(series, value)| {
                let height = scaled(*value, top, HEIGHT).max(LOWEST).min(y);
                y -= height;
                (series.class, y, height)
            })
            .collect();
        html! {
            g .bar {
                title { (self.tooltip(bar)) }
                rect .hit x=(index * STEP) y="0" width=(STEP) height=(HEIGHT) {}
                @for (class, y, height) in parts {
                    rect .(class) x=(index * STEP + 1) y=(y) width=(STEP - 2) height=(height) {}
                }
            }
        }
    }

    fn tooltip(&self, bar: &Bar) -> String {
        let values = self.series.iter().zip(&bar.values);
        let several = self.series.len() > 1;
        let values: Vec<_> = values
            .filter(|(_, value)| !several || **value > 0)
            .map(|(series, value)| {
                let name = match (*value, series.name) {
                    (1, "messages") => "message",
                    (_, name) => name,
                };
                format!("{} {name}", (self.format)(*value))
            })
            .collect();
        match &values[..] {
            [] => format!("{}: none", bar.name),
            values => format!("{}: {}", bar.name, values.join(", ")),
        }
    }

    fn description(&self) -> String {
        let highest = self.bars.iter().max_by_key(|bar| bar.total());
        let total = self
            .bars
            .iter()
            .map(Bar::total)
            .fold(0, u64::saturating_add);
        match highest {
            Some(bar) if total > 0 => format!(
                "{} in total; the most, {}: {}",
                (self.format)(total),
                (self.format)(bar.total()),
                bar.name
            ),
            _ => "none".to_owned(),
        }
    }

    /// Returns the labels of the axis, each with its position in per cent.
    fn labels(&self) -> Vec<(String, &str)> {
        let step = self.bars.len().div_ceil(MOST_LABELS).max(1);
        let bars = self.bars.iter().enumerate().step_by(step);
        bars.map(|(index, bar)| {
            let thousandths = (index * 2 + 1) * 50_000 / self.bars.len();
            let position = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
            (position, bar.label.as_str())
        })
        .collect()
    }

    /// Returns the table. Rows without values are left out.
    fn table(&self) -> Markup {
        html! {
            div .scroll {
                table {
                    thead {
                        tr {
                            th scope="col" { (self.unit) }
                            @for series in self.series {
                                th .number scope="col" { (series.name) }
                            }
                        }
                    }
                    tbody {
                        @for bar in self.bars.iter().filter(|bar| bar.total() > 0) {
                            tr {
                                th scope="row" { (bar.name) }
                                @for value in &bar.values {
                                    td .number { ((self.format)(*value)) }
                                }
                            }
                        }
                    }
                    tfoot {
                        tr {
                            th scope="row" { "total" }
                            @for index in 0..self.series.len() {
                                td .number { ((self.format)(self.sum(index))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Returns a small chart without labels, for a row of a table.
pub(super) fn small(values: &[u64], description: &str) -> Markup {
    const HEIGHT: u64 = 100;
    let highest = values.iter().copied().max().unwrap_or(0);
    html! {
        svg .small viewBox={ "0 0 " (values.len() * STEP) " " (HEIGHT) }
            preserveAspectRatio="none" role="img" aria-label=(description) {
            @for (index, value) in values.iter().enumerate().filter(|(_, value)| **value > 0) {
                @let height = scaled(*value, highest, HEIGHT).max(6);
                rect .volume x=(index * STEP + 1) y=(HEIGHT - height) width=(STEP - 2)
                    height=(height) {}
            }
        }
    }
}

/// Returns a horizontal bar for a row of a table.
pub(super) fn share(value: u64, of: u64) -> Markup {
    html! {
        svg .share viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" {
            rect .volume width=(scaled(value, of, 1_000).max(4)) height="10" {}
        }
    }
}

/// Returns `value` scaled from a range that ends at `from` to one that ends at `to`.
fn scaled(value: u64, from: u64, to: u64) -> u64 {
    let scaled = u128::from(value.min(from)) * u128::from(to) / u128::from(from.max(1));
    u64::try_from(scaled).unwrap_or(to)
}

/// Returns the end of an axis for values up to `highest`: a number with one significant digit, half
/// of which is a whole number, too.
fn axis_end(highest: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for factor in [2, 4, 6, 8, 10] {
            let end = power.saturating_mul(factor);
            if end >= highest {
                return end;
            }
        }
        power = power.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axis_ends_above_the_highest_value() {
        for (highest, end) in [
            (0, 2),
            (2, 2),
            (3, 4),
            (10, 10),
            (11, 20),
            (61, 80),
            (1_000, 1_000),
            (1_001, 2_000),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(axis_end(highest), end, "{highest}");
        }
    }

    #[test]
    fn bars_of_extreme_values_stay_in_the_chart() {
        assert_eq!(scaled(u64::MAX, u64::MAX, 1_000), 1_000);
        assert_eq!(scaled(5, 0, 1_000), 0);
        assert_eq!(scaled(1, u64::MAX, 1_000), 0);
    }
}
