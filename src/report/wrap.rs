//! Breaking long lines between words at the width of the terminal.
//!
//! A terminal breaks a long line anywhere, also within a word. Output that is not a terminal is
//! never broken, because other programs read it line by line.

use std::{io::IsTerminal, os::fd::AsFd};

use rustix::termios::tcgetwinsize;
use unicode_width::UnicodeWidthStr;

/// The smallest width at which lines are broken.
const MIN_COLUMNS: usize = 20;

/// The gap between the columns of a table.
const GAP: &str = "   ";

/// Returns the width of a terminal. `None` if `stream` is not a terminal, or is too narrow.
pub(super) fn columns(stream: impl AsFd + IsTerminal) -> Option<usize> {
    if !stream.is_terminal() {
        return None;
    }
    let size = tcgetwinsize(stream).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns >= MIN_COLUMNS)
}

/// Breaks lines of more than `columns` columns between words.
///
/// Further lines are indented to the last column of the table if the line belongs to one, and
/// otherwise by four more than the line.
pub(super) fn wrap(text: &str, columns: usize) -> String {
    let lines: Vec<_> = text
        .split('\n')
        .map(|line| wrap_line(line, columns))
        .collect();
    lines.join("\n")
}

fn wrap_line(line: &str, columns: usize) -> String {
    if width(line) <= columns {
        return line.to_owned();
    }
    let indent = indent(line, columns);
    let mut wrapped = String::with_capacity(line.len() + indent);
    let (mut column, mut rest) = (0, line);
    while !rest.is_empty() {
        let spaces = rest.len() - rest.trim_start_matches(' ').len();
        let word = rest[spaces..].split(' ').next().unwrap_or_default();
        let needed = width(word);
        if column > indent && column + spaces + needed > columns {
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(indent));
            column = indent + needed;
        } else {
            wrapped.push_str(&rest[..spaces]);
            column += spaces + needed;
        }
        wrapped.push_str(word);
        rest = &rest[spaces + word.len()..];
    }
    wrapped
}

/// Returns the indentation of the lines after the first.
fn indent(line: &str, columns: usize) -> usize {
    let text = line.trim_start_matches(' ');
    let leading = line.len() - text.len();
    let gaps = text.rmatch_indices(GAP);
    let ends = gaps.map(|(index, gap)| width(&line[..leading + index + gap.len()]));
    { ends }
        .find(|end| *end <= columns * 2 / 3)
        .unwrap_or((leading + 4).min(columns / 2))
}

/// Returns the number of columns of `text`, without sequences that set colours.
fn width(text: &str) -> usize {
    let mut parts = text.split('\x1b');
    let first = parts.next().map_or(0, UnicodeWidthStr::width);
    let after_sequence = |part: &str| part.split_once('m').map_or(0, |(_, rest)| rest.width());
    first + parts.map(after_sequence).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    #[test]
    fn prose_is_broken_between_words() {
        let error = "\x1b[1;31mpouch:\x1b[0m work: cannot reach pop.example.org: \
                     network is unreachable\n  \
                     tried 192.0.2.1 and 192.0.2.2, for 20 s each\nhint: check the connection";
        assert_snapshot!(wrap(error, 40).replace('\x1b', "^"), @"
        ^[1;31mpouch:^[0m work: cannot reach
            pop.example.org: network is
            unreachable
          tried 192.0.2.1 and 192.0.2.2, for 20
              s each
        hint: check the connection
        ");
    }

    #[test]
    fn last_column_of_a_table_stays_aligned() {
        let table = "work   3 new (1.2 KB) to ~/Mail/work; 12 older than 30d deleted; \
                     1 quarantined\nhome   nothing new";
        assert_snapshot!(wrap(table, 40), @"
        work   3 new (1.2 KB) to ~/Mail/work; 12
               older than 30d deleted; 1
               quarantined
        home   nothing new
        ");
    }

    #[test]
    fn word_that_does_not_fit_is_not_broken() {
        let word = "x".repeat(30);
        assert_eq!(wrap(&word, 20), word);
        assert_eq!(
            wrap(&format!("{word} {word}"), 20),
            format!("{word}\n    {word}")
        );
    }
}
