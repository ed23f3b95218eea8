//! What a person, or a program, gets to see. Nothing else in pouch prints.

pub mod json;
pub mod plain;
pub mod terminal;
pub mod words;

use std::io::{self, IsTerminal, Write};

use crate::error::{Error, Kind};

/// How much to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing at all (`-qq`).
    Silent,
    /// What went wrong (`-q`).
    Problems,
    /// What a person expects.
    Normal,
    /// What happens (`-v`).
    Verbose,
    /// Also the session with the server (`-vv`).
    Trace,
}

/// Whether to write in colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(pub bool);

impl Colour {
    /// Returns `text` in bold red, for what somebody has to act on.
    pub fn alarm(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Returns `text` in green, for success.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Returns `text` in yellow, for a problem that may pass.
    pub fn caution(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Returns `text` in cyan, for what is neither good nor bad.
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

/// An error in its one form: `pouch: ACCOUNT: what failed`, the facts, the hint.
pub fn form(account: Option<&str>, error: &Error, colour: Colour) -> String {
    let account = account
        .map(|account| format!("{account}: "))
        .unwrap_or_default();
    let text = error.to_string();
    let text = match text.rsplit_once("\nhint: ") {
        Some((head, hint)) => format!("{head}\n{} {hint}", colour.aside("hint:")),
        None => text,
    };
    format!("{} {account}{text}", colour.alarm("pouch:"))
}

/// Writes a line to standard error. Where that is gone there is nobody to tell.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes to standard output what the user asked for.
///
/// # Errors
/// It cannot be written. That the reader went away (`| head`) is no error: the rest is not wanted.
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

/// Whether somebody looks at standard error.
pub fn watched() -> bool {
    io::stderr().is_terminal()
}
