//! `pouch ledger drop`: deletes all that is recorded about a mailbox.

use std::io::{self, IsTerminal};

use serde_json::json;

use super::{CommandContext, CommandResult, export, mailbox, print_json};
use crate::{
    cli::args::Drop as Args,
    error::{Error, Exit, Kind, Result},
    ledger::copies::Contents,
    report::{complain, print_wrapped},
    text::{count, moment, sanitize},
};

/// The consequence of dropping a ledger.
const LOST: &str = "without it, messages that are still on the server are fetched again, and \
                    `keep` counts from then";

pub(super) fn run(context: &CommandContext, args: &Args) -> CommandResult {
    let chosen = mailbox::find(context, &args.account)?;
    let file = &chosen.mailbox.file;
    let title = sanitize(chosen.mailbox.title().as_bytes());
    // one that is damaged can be dropped as well
    let contents = Contents::read(&file.path()).ok();
    let what = match &contents {
        Some(contents) => {
            let messages = count(contents.messages, "message");
            let last = contents.last_run.map(moment);
            let last = last.map_or_else(String::new, |at| format!(", last run {at}"));
            format!("the ledger of {title} has {messages}{last}")
        }
        None => format!("the ledger of {title} cannot be read"),
    };
    if !args.yes {
        confirm(&what)?;
    }
    let _lock = export::lock(&chosen)?;
    file.drop_all()?;
    let messages = contents.map_or(0, |contents| contents.messages);
    if context.global.json {
        print_json(&json!({ "account": chosen.name, "mailbox": title, "messages": messages }))?;
    } else {
        let name = sanitize(chosen.name.as_bytes());
        let messages = count(messages, "message");
        print_wrapped(&format!("{name}: ledger of {title} deleted ({messages})\n"))?;
    }
    Ok(Exit::OK)
}

/// Asks at the terminal.
///
/// # Errors
/// There is no terminal, or the answer is not yes.
fn confirm(what: &str) -> Result<()> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Error::new(Kind::Usage, what)
            .with_fact(LOST)
            .with_hint("to delete it without confirmation, use `--yes`"));
    }
    complain(&format!("{what}\n{LOST}\ndelete it? [y/N]"));
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    let is_yes = ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str());
    if read.is_ok() && is_yes {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, "nothing was deleted"))
}
