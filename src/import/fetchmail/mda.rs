//! The destination of a fetchmail account.

use super::{Names, Options};
use crate::import::{
    account::{Account, array},
    shell,
};

/// Takes over the destination of an account.
pub(super) fn destination(account: &mut Account, options: &Options<'_>, names: &Names, at: usize) {
    if let Some((command, at)) = options.value("mda") {
        return program(account, command, names, at);
    }
    if let Some((file, at)) = options.value("bsmtp") {
        let before = format!("writes batched SMTP to {file}");
        return account.propose_maildir(at, "bsmtp", &before);
    }
    let host = options.value("smtphost");
    if let Some((true, at)) = options.flag("lmtp")
        && let Some((host, _)) = host
    {
        // LMTP has no port of its own
        let server = match host.rsplit_once('/') {
            Some((_, "")) | None if host.starts_with('/') => format!("unix:{host}"),
            Some((host, port)) if port.parse::<u16>().is_ok() => format!("{host}:{port}"),
            _ if host.starts_with('/') => format!("unix:{host}"),
            _ => format!("{host}:24"),
        };
        account.set("lmtp-recipients", array(&names.local));
        return account.take(at, "lmtp", "lmtp", server);
    }
    let at = host.map_or(at, |(_, at)| at);
    let server = host.map_or("localhost", |(host, _)| host);
    let before = format!("delivers by SMTP to {server}");
    account.propose_maildir(at, "smtphost", &before);
    let local = names.local.first().filter(|name| !name.is_empty());
    let local = local.map_or("you", String::as_str);
    account.left_out(
        at,
        "smtphost",
        format!(
            "for the mail system of this machine, set `pipe = [\"/usr/sbin/sendmail\", \"-i\", \
             \"{local}\"]` instead of `maildir`"
        ),
    );
}

/// Takes over `mda`.
fn program(account: &mut Account, command: &str, names: &Names, at: usize) {
    let (command, removed) = without_sender(command);
    if command.contains("%F") {
        let before = "passes the envelope sender as %F, which POP3 does not transmit";
        account.propose_maildir(at, "mda", before);
        return account.left_out(at, "mda", "write the command without %F as `pipe`");
    }
    let local = names.local.first().map_or("", String::as_str);
    let resolved = with_recipient(&command, local);
    let list = shell::words(&resolved);
    account.command(at, "mda", "pipe", &list);
    if removed {
        let before = "passes the envelope sender as %F";
        account.changed(
            at,
            "mda",
            before,
            "without this option, since POP3 does not transmit the sender",
        );
    }
    let adds_none = ["procmail", "maildrop"]
        .iter()
        .any(|name| resolved.contains(name));
    if adds_none && removed {
        let advice =
            "`add-headers = [\"return-path\"]` adds an empty Return-Path, if a recipe needs it";
        account.left_out(at, "mda", advice);
    }
}

/// Returns the command for one recipient in the form that rules have. `None` if it needs the
/// sender.
pub(super) fn in_rule(command: &str, local: &str) -> Option<String> {
    let (command, _) = without_sender(command);
    if command.contains("%F") {
        return None;
    }
    let words = shell::words(&with_recipient(&command, local));
    let words = shlex::try_join(words.iter().map(String::as_str)).ok()?;
    Some(format!("pipe:{words}"))
}

/// Replaces `%T` and `%s` by the recipient, and `%%` by a percent sign. fetchmail quotes the
/// recipient itself.
fn with_recipient(command: &str, local: &str) -> String {
    const NAMES: [&str; 6] = ["'%T'", "\"%T\"", "%T", "'%s'", "\"%s\"", "%s"];
    let quoted = shlex::try_quote(local).unwrap_or_default();
    let is_simple = local
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-@+".contains(c));
    let local = if is_simple { local } else { &*quoted };
    let mut resolved = String::new();
    let mut rest = command;
    while let Some(c) = rest.chars().next() {
        let name = NAMES.iter().find(|name| rest.starts_with(*name));
        let (replacement, length) = match name {
            Some(name) => (local, name.len()),
            None if rest.starts_with("%%") => ("%", 2),
            None => (&rest[..c.len_utf8()], c.len_utf8()),
        };
        resolved.push_str(replacement);
        rest = &rest[length..];
    }
    resolved
}

/// Removes `-f %F` from a command. Returns whether it was there.
fn without_sender(command: &str) -> (String, bool) {
    for option in ["-f %F", "-f '%F'", "-f \"%F\"", "-f%F"] {
        if let Some(at) = command.find(option) {
            let before = command[..at].trim_end();
            let after = command[at + option.len()..].trim_start();
            return (format!("{before} {after}").trim().to_owned(), true);
        }
    }
    (command.to_owned(), false)
}
