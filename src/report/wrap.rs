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

/// Breaks lines of more than `columns` columns between words. A command in backquotes counts as one
/// word, so that it can be copied: a terminal that breaks a line remembers that it is one, but a
/// line end within a command ends it.
///
/// Further lines are indented to the last column of the table if the line belongs to one and the
/// column is wide enough, and otherwise by four more than the line.
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
    let (leading, indent) = indents(line, columns);
    let mut wrapped = String::with_capacity(line.len() + indent);
    let (mut column, mut rest) = (0, line);
    while !rest.is_empty() {
        let spaces = rest.len() - rest.trim_start_matches(' ').len();
        let word = first_word(&rest[spaces..]);
        let needed = width(word);
        if column > indent && column + spaces + needed > columns {
            let is_too_long = indent + needed > columns;
            let indent = if is_too_long { leading } else { indent };
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

/// Returns the text up to the first space that is not in backquotes.
fn first_word(text: &str) -> &str {
    let mut is_quoted = false;
    let end = text.char_indices().find(|(index, c)| {
        if *c == '`' {
            is_quoted = !is_quoted && text[index + 1..].contains('`');
        }
        *c == ' ' && !is_quoted
    });
    end.map_or(text, |(index, _)| &text[..index])
}

/// Returns the indentation of the lines after the first: that of words which are too long for the
/// last column of a table, and that of all others.
fn indents(line: &str, columns: usize) -> (usize, usize) {
    let text = line.trim_start_matches(' ');
    let leading = line.len() - text.len();
    let plain = (leading + 4).min(columns / 2);
    let last_gap = text.rmatch_indices(GAP).next();
    let last_column = last_gap
        .map(|(index, gap)| width(&line[..leading + index + gap.len()]))
        .filter(|column| *column <= columns * 2 / 3);
    (plain, last_column.unwrap_or(plain))
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
    fn narrow_last_column_is_not_used() {
        let table = "   1 delivered   219 B   2026-11-28 09:16   a subject of several words\n\
                     work   2 new (1.2 KB) to ~/Mail/a/very/long/path; 1 deleted";
        assert_snapshot!(wrap(table, 44), @"
           1 delivered   219 B   2026-11-28 09:16
               a subject of several words
        work   2 new (1.2 KB) to
               ~/Mail/a/very/long/path; 1 deleted
        ");
        assert_snapshot!(wrap(table, 30), @"
           1 delivered   219 B
               2026-11-28 09:16   a
               subject of several
               words
        work   2 new (1.2 KB) to
            ~/Mail/a/very/long/path; 1
               deleted
        ");
    }

    #[test]
    fn command_is_not_broken() {
        let hint = "hint: run `mkdir -p ~/.config && pouch config sample`, then edit `it";
        assert_snapshot!(wrap(hint, 50), @"
        hint: run
            `mkdir -p ~/.config && pouch config sample`,
            then edit `it
        ");
        assert_snapshot!(wrap(hint, 30), @"
        hint: run
            `mkdir -p ~/.config && pouch config sample`,
            then edit `it
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
