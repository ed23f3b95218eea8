//! The results as a Markdown table.

use std::fmt;

use super::{gauge::Usage, tool::Tool};

/// The runs of one tool.
#[derive(Debug)]
pub struct Row {
    pub tool: Tool,
    pub runs: Vec<Usage>,
    /// The number of calls in one run that wait for the disk.
    pub fsyncs: Option<u64>,
}

/// A table of tools that did the same work.
#[derive(Debug)]
pub struct Table {
    pub title: String,
    /// The number of runs of each tool, if none failed.
    pub repeats: usize,
    pub rows: Vec<Row>,
}

/// Returns the median of a value over all runs.
fn median(runs: &[Usage], of: impl Fn(&Usage) -> f64) -> f64 {
    let mut all: Vec<f64> = runs.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    let middle = all.len() / 2;
    if all.len().is_multiple_of(2) {
        f64::midpoint(all[middle - 1], all[middle])
    } else {
        all[middle]
    }
}

impl fmt::Display for Table {
    #[expect(clippy::cast_precision_loss, reason = "memory is shown in MB")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wall = |row: &Row| median(&row.runs, |run| run.wall.as_secs_f64());
        let rows = || self.rows.iter().filter(|row| !row.runs.is_empty());
        let mpop = rows().find(|row| row.tool == Tool::Mpop).map(wall);
        writeln!(f, "\n{}\n", self.title)?;
        writeln!(
            f,
            "| {:<19} |  seconds | of mpop's |  spread |  CPU s | peak MB | fsyncs | runs |",
            ""
        )?;
        writeln!(
            f,
            "| {:-<19} | -------: | --------: | ------: | -----: | ------: | -----: | ---: |",
            ""
        )?;
        for row in rows() {
            let seconds = wall(row);
            let ratio = mpop.map_or("-".to_owned(), |mpop| format!("{:.2}", seconds / mpop));
            let walls = || row.runs.iter().map(|run| run.wall.as_secs_f64());
            let spread = walls().fold(0.0, f64::max) - walls().fold(f64::MAX, f64::min);
            writeln!(
                f,
                "| {:<19} | {seconds:8.3} | {ratio:>9} | {:5.0} % | {:6.2} | {:7.1} | {:>6} \
                 | {}/{} |",
                row.tool,
                100.0 * spread / seconds,
                median(&row.runs, |run| run.cpu.as_secs_f64()),
                median(&row.runs, |run| run.memory as f64 / 1024.0),
                row.fsyncs
                    .map_or("-".to_owned(), |fsyncs| fsyncs.to_string()),
                row.runs.len(),
                self.repeats,
            )?;
        }
        Ok(())
    }
}
