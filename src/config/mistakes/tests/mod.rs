//! Every mistake that the config can contain, with its complete message.
//!
//! A case is the text of a config; its message shows the line that it is about. To add one, add it
//! to a list; `cargo insta review` then shows the message. A change of wording changes snapshots
//! here, and nowhere else.

#![allow(
    clippy::too_many_lines,
    reason = "tables of invalid configs and their messages"
)]

/// A rule of the account `work`.
macro_rules! rule {
    ($lines:literal) => {
        concat!("[[account.work.rule]]\n", $lines)
    };
}

// after the macro, which they use
mod file;
mod keys;
mod oauth;
mod rules;
mod values;

use crate::config::testing::{config, with};

/// Renders the messages about these configs.
fn files(texts: &[&str]) -> String {
    let message = |text: &&str| match config(text) {
        Ok(_) => panic!("this is a valid config: {text}"),
        Err(error) => error.to_string(),
    };
    texts.iter().map(message).collect::<Vec<_>>().join("\n\n")
}

/// Renders the messages about an account to which these lines are added.
fn lines(lines: &[&str]) -> String {
    let message = |lines: &&str| match with(lines) {
        Ok(_) => panic!("this is a valid config: {lines}"),
        Err(error) => error.to_string(),
    };
    lines.iter().map(message).collect::<Vec<_>>().join("\n\n")
}
