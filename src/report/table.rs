//! Tables of text with aligned columns.

use unicode_width::UnicodeWidthStr;

/// The gap between two columns.
const GAP: &str = "   ";

/// A table of text.
#[derive(Debug)]
pub struct Table {
    /// `>` for each column that is aligned to the right, `<` for the others.
    alignment: &'static str,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Creates a table. `alignment` has `<` or `>` for each column.
    pub fn new(alignment: &'static str) -> Self {
        Self {
            alignment,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Returns whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the lines, indented by two, without a line end after the last one.
    pub fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or(0)
        };
        let columns: Vec<_> = self.alignment.chars().zip((0..).map(width)).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&columns).map(|(cell, (alignment, width))| {
                let space = " ".repeat(width - cell.width());
                match alignment {
                    '>' => space + cell,
                    _ => format!("{cell}{space}"),
                }
            });
            let line = cells.collect::<Vec<_>>().join(GAP);
            format!("  {}", line.trim_end())
        };
        self.rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new("<><");
        table.row(["work", "1204 messages", "x"].map(str::to_owned));
        table.row(["世界", "1 message", ""].map(str::to_owned));
        assert_snapshot!(table.text(), @"
          work   1204 messages   x
          世界       1 message
        ");
    }
}
