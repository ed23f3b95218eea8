//! Questions on the terminal.
//!
//! Each answer is a line of standard input. A signal or the end of the input ends a question at
//! once, and restores the echo of the terminal.

use std::{
    io::{self, IsTerminal, Stdin},
    os::fd::AsFd,
};

use rustix::{
    event::{PollFd, PollFlags},
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr},
};
use zeroize::Zeroizing;

use crate::{
    error::{Error, Kind, Result},
    report::{print, print_wrapped},
    sys::{
        interrupt::{Interrupt, Wake},
        password::Secret,
    },
};

/// The longest answer, in bytes. A terminal passes on at most 4095 of a line.
const MAX_LINE: usize = 4096;

/// The fact of errors after which the config and the password files are unchanged.
pub(super) const NOTHING_WRITTEN: &str = "nothing was written";

/// Asks questions.
pub(super) struct Console<'a> {
    stop: &'a Interrupt,
}

impl<'a> Console<'a> {
    /// Returns a console, or `None` unless all standard streams are a terminal, since the
    /// questions might not be seen or answered.
    pub(super) fn new(stop: &'a Interrupt) -> Option<Self> {
        let is_terminal =
            io::stdin().is_terminal() && io::stdout().is_terminal() && io::stderr().is_terminal();
        is_terminal.then_some(Self { stop })
    }

    /// Asks for a line. Returns it without surrounding spaces, or `default` if it is empty.
    pub(super) fn ask(&self, question: &str, default: &str) -> Result<String> {
        let prompt = if default.is_empty() {
            format!("{question}: ")
        } else {
            format!("{question} [{default}]: ")
        };
        let line = self.line(&prompt)?;
        let answer = String::from_utf8_lossy(&line).trim().to_owned();
        Ok(if answer.is_empty() {
            default.to_owned()
        } else {
            answer
        })
    }

    /// Asks for a line until it is not empty.
    pub(super) fn require(&self, question: &str) -> Result<String> {
        loop {
            let answer = self.ask(question, "")?;
            if !answer.is_empty() {
                return Ok(answer);
            }
        }
    }

    /// Asks for yes or no.
    pub(super) fn confirm(&self, question: &str, default: bool) -> Result<bool> {
        let choices = if default { "Y/n" } else { "y/N" };
        loop {
            let answer = self.ask(&format!("{question} [{choices}]"), "")?;
            match answer.to_lowercase().as_str() {
                "" => return Ok(default),
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => say("answer y or n")?,
            }
        }
    }

    /// Asks for yes or no after the account was added. The end of the input means no.
    pub(super) fn offer(&self, question: &str, default: bool) -> Result<bool> {
        match self.confirm(question, default) {
            Err(error) if error.kind() == Kind::Usage => Ok(false),
            answer => answer,
        }
    }

    /// Shows a menu, and asks for the number of an item. The first one is the default. Returns its
    /// index.
    pub(super) fn choose(&self, question: &str, items: &[String]) -> Result<usize> {
        say(question)?;
        for (at, item) in items.iter().enumerate() {
            say(&format!("  {}  {item}", at + 1))?;
        }
        loop {
            let answer = self.ask("number", "1")?;
            match answer.parse::<usize>() {
                Ok(number) if (1..=items.len()).contains(&number) => return Ok(number - 1),
                _ => say(&format!("answer with a number from 1 to {}", items.len()))?,
            }
        }
    }

    /// Asks for a secret, which is not shown, until it is not empty.
    pub(super) fn secret(&self, noun: &str) -> Result<Secret> {
        loop {
            let hidden = Hidden::new();
            let line = self.line(&format!("{noun} (not shown): "))?;
            drop(hidden);
            if !line.is_empty() {
                return Ok(line);
            }
        }
    }

    /// Prints a prompt and reads a line, without its end.
    fn line(&self, prompt: &str) -> Result<Secret> {
        print(prompt).map_err(unprinted)?;
        let input = io::stdin();
        let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE));
        loop {
            let file = PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN);
            let woken = self
                .stop
                .wait([file], None)
                .map_err(|error| closed(&error))?;
            if woken != Wake::Ready {
                // the error begins on a line of its own
                print("\n").map_err(unprinted)?;
                self.stop.check()?;
            }
            let mut buffer = Zeroizing::new([0; MAX_LINE]);
            match rustix::io::read(&input, &mut buffer[..]) {
                Ok(0) => {
                    print("\n").map_err(unprinted)?;
                    self.stop.check()?;
                    return Err(ended());
                }
                Ok(bytes) if line.len() + bytes > MAX_LINE => {
                    return Err(Error::new(Kind::Usage, "the line is too long"));
                }
                Ok(bytes) => line.extend_from_slice(&buffer[..bytes]),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    self.stop.check()?;
                    return Err(closed(&error.into()));
                }
            }
            if line.last() == Some(&b'\n') {
                line.pop();
                return Ok(line);
            }
        }
    }
}

/// Prints a line.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn say(line: &str) -> Result<()> {
    print_wrapped(&format!("{line}\n")).map_err(unprinted)
}

fn unprinted(error: anyhow::Error) -> Error {
    error
        .downcast()
        .unwrap_or_else(|error| Error::new(Kind::Io, format!("{error:#}")))
}

fn ended() -> Error {
    Error::new(
        Kind::Usage,
        "the input ended before all questions were answered",
    )
    .with_fact(NOTHING_WRITTEN)
}

fn closed(error: &io::Error) -> Error {
    Error::new(Kind::Io, "cannot read from the terminal").with_fact(error.to_string())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden {
    input: Stdin,
    original: Option<Termios>,
}

impl Hidden {
    fn new() -> Self {
        let input = io::stdin();
        let original = tcgetattr(&input).ok();
        if let Some(original) = &original {
            let mut mode = original.clone();
            mode.local_modes.remove(LocalModes::ECHO);
            mode.local_modes.insert(LocalModes::ECHONL);
            let _ = tcsetattr(&input, OptionalActions::Now, &mode);
        }
        Self { input, original }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(original) = &self.original {
            let _ = tcsetattr(&self.input, OptionalActions::Now, original);
        }
    }
}
