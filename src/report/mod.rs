//! All output of pouch, as text and as JSON.

pub mod activity;
pub mod days;
pub mod health;
pub mod json;
pub mod log;
pub mod metrics;
pub mod plain;
pub mod sparkline;
pub mod table;
pub mod terminal;
pub mod words;
mod wrap;

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    sync::Arc,
};

use crate::{
    error::{Error, Kind},
    event::{Event, Reporter},
};

/// The level of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing (`-qq`).
    Silent,
    /// Problems (`-q`).
    Problems,
    /// Also summaries (the default).
    Normal,
    /// Also details (`-v`).
    Verbose,
    /// Also the session with the server (`-vv`).
    Trace,
}

/// The colour setting: `true` to write in colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(pub bool);

impl Colour {
    /// Returns `text` in bold red, for problems that need attention.
    pub fn alarm(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Returns `text` in green, for success.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Returns `text` in yellow, for transient problems.
    pub fn caution(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Returns `text` in cyan, for neutral information.
    pub fn aside(self, text: &str) -> String {
        self.paint("36", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Returns the text of an error and of further ones, each as `pouch: ACCOUNT: what failed`, the
/// facts, the hint.
pub fn form(account: Option<&str>, error: &Error, colour: Colour) -> String {
    let errors = std::iter::once(error).chain(error.further());
    let texts: Vec<_> = errors
        .map(|error| form_one(account, error, colour))
        .collect();
    texts.join("\n")
}

fn form_one(account: Option<&str>, error: &Error, colour: Colour) -> String {
    let account = account
        .map(|account| format!("{account}: "))
        .unwrap_or_default();
    let text = with_short_paths(&error.own_text());
    let text = match text.rsplit_once("\nhint: ") {
        Some((head, hint)) => format!("{head}\n{} {hint}", colour.aside("hint:")),
        None => text,
    };
    format!("{} {account}{text}", colour.alarm("pouch:"))
}

/// Returns `text` with `~/` in place of the user's home directory, wherever a path begins with it.
///
/// This is done when a message is printed, because the modules that create messages do not know the
/// home directory.
pub fn with_short_paths(text: &str) -> String {
    let home = std::env::home_dir().filter(|home| home.is_absolute() && home.parent().is_some());
    match home.as_deref().and_then(Path::to_str) {
        Some(home) => shorten(text, &format!("{}/", home.trim_end_matches('/'))),
        None => text.to_owned(),
    }
}

fn shorten(text: &str, home: &str) -> String {
    let mut short = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(home) {
        short.push_str(before);
        // leave it unchanged in the middle of another path
        let begins = !short.ends_with(|c: char| c.is_alphanumeric() || "/._-~".contains(c));
        short.push_str(if begins { "~/" } else { home });
        rest = after;
    }
    short + rest
}

/// Writes a line to standard error, broken between words if that is a narrow terminal.
pub fn complain(text: &str) {
    match wrap::columns(io::stderr()) {
        Some(columns) => write_line(&wrap::wrap(text, columns)),
        None => write_line(text),
    }
}

/// Reporters that all get every event.
pub struct Several(pub Vec<Arc<dyn Reporter>>);

impl Reporter for Several {
    fn event(&self, account: &str, event: &Event<'_>) {
        for reporter in &self.0 {
            reporter.event(account, event);
        }
    }
}

/// Writes a line to standard error without breaking it. Errors are ignored.
fn write_line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes sentences or a table to standard output, broken between words if that is a narrow
/// terminal.
///
/// # Errors
/// As for [`print()`].
pub fn print_wrapped(text: &str) -> anyhow::Result<()> {
    match wrap::columns(io::stdout()) {
        Some(columns) => print(&wrap::wrap(text, columns)),
        None => print(text),
    }
}

/// Returns the width of the terminal that standard output is, or `None` if it is not a terminal.
pub fn columns() -> Option<usize> {
    wrap::columns(io::stdout())
}

/// Writes to standard output.
///
/// # Errors
/// It cannot be written. A closed pipe (`| head`) is not an error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Error::new(Kind::Io, "cannot write to standard output")
            .with_fact(error.to_string())
            .into()),
        Ok(()) => Ok(()),
    }
}

/// Returns whether standard error is a terminal.
pub fn watched() -> bool {
    io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_directory_is_shortened_where_a_path_begins() {
        let short = |text| shorten(text, "/home/ann/");
        assert_eq!(
            short("cannot read /home/ann/Mail, `/home/ann/x`"),
            "cannot read ~/Mail, `~/x`"
        );
        assert_eq!(short("/backup/home/ann/x"), "/backup/home/ann/x");
        assert_eq!(short("/home/anna/x"), "/home/anna/x");
    }
}
