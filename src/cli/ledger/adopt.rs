//! `pouch ledger adopt`.

use std::path::PathBuf;

use serde_json::json;

use super::{CommandContext, CommandResult, account, print_json};
use crate::{
    cli::args::Adopt as Args,
    config::Account,
    domain::{destination::Destination, plan::Keep},
    error::{Error, Exit, Kind, Result},
    fetch::{AdoptOutcome, Adoption},
    report::{complain, form, print_wrapped},
    text::{count, tilde},
};

pub(super) fn run(context: &CommandContext, args: &Args) -> CommandResult {
    let (account, env) = account(context, &args.account)?;
    let maildir = maildir(&account, args)?;
    let adoption = Adoption {
        maildirs: std::slice::from_ref(&maildir),
        subfolders: args.subfolders,
        only_own: false,
        dry_run: args.dry_run,
    };
    let outcome = crate::fetch::adopt(&account, &env, adoption)?;
    let unreadable = unreadable(&outcome);
    if let Some(error) = &unreadable {
        complain(&form(Some(&account.name), error, context.colour));
    }
    if context.global.json {
        print_json(&json!({
            "account": account.name,
            "dry_run": args.dry_run,
            "listed": outcome.listed,
            "known": outcome.known,
            "recorded": outcome.recorded,
            "linked": outcome.linked,
            "smaller": outcome.smaller,
            "ambiguous": outcome.ambiguous,
            "unread": outcome.unread,
            "files": outcome.files,
            "unreadable": outcome.unreadable,
            "due": outcome.due,
        }))?;
    } else {
        let shown = tilde(&maildir, &env.home);
        for line in lines(&account, &shown, &outcome, args.dry_run) {
            print_wrapped(&format!("{}: {line}\n", account.name))?;
        }
        if outcome.recorded + outcome.linked > 0 && !args.dry_run {
            print_wrapped(&format!(
                "run `pouch plan {}` to see what the next run does\n",
                account.name
            ))?;
        }
    }
    Ok(unreadable.map_or(Exit::OK, |error| error.kind().exit()))
}

/// Returns the Maildir to search: that of the command line, or else that of the account.
fn maildir(account: &Account, args: &Args) -> Result<PathBuf> {
    match (&args.maildir, &account.routing.default) {
        (Some(path), _) => {
            std::path::absolute(path).map_err(|error| Error::file("find", path, &error))
        }
        (None, Destination::Maildir(path)) => Ok(path.clone()),
        (None, _) => {
            let what = format!("account `{}` does not deliver to a Maildir", account.name);
            let hint = format!("name one: `pouch ledger adopt {} MAILDIR`", args.account);
            Err(Error::new(Kind::Usage, what).with_hint(hint))
        }
    }
}

/// Returns the lines about the result, without the name of the account.
fn lines(account: &Account, shown: &str, outcome: &AdoptOutcome, is_dry: bool) -> Vec<String> {
    let would = if is_dry { "would be " } else { "" };
    let messages = count(outcome.listed, "message");
    let recorded = match outcome.recorded {
        0 => "nothing new to record".to_owned(),
        recorded => format!("{recorded} {would}recorded as delivered, with files in {shown}"),
    };
    let mut lines = vec![format!(
        "{} of {messages} on the server are known; {recorded}",
        outcome.known
    )];
    if outcome.linked > 0 {
        let messages = count(outcome.linked, "message");
        lines.push(format!(
            "{messages} recorded without a file before {would}linked to files there"
        ));
    }
    let left = |number: u64, reason: &str| {
        let messages = count(number, "message");
        (number > 0).then(|| format!("{messages} left to fetch: {reason}"))
    };
    lines.extend(left(
        outcome.smaller,
        "the files are smaller than on the server",
    ));
    lines.extend(left(
        outcome.ambiguous,
        "the same header, no Message-ID, and fewer files than messages",
    ));
    lines.extend(left(outcome.unread, "the server did not send the header"));
    if outcome.recorded + outcome.linked == 0 {
        return lines;
    }
    if account.policy.sync_deletions && !outcome.in_maildir {
        lines.push(format!(
            "`sync-deletions` ignores them: {shown} is not a Maildir of the account"
        ));
    }
    if outcome.recorded > 0 && matches!(account.policy.keep, Keep::For(_)) {
        lines.push("`keep` counts from now, not from the time of the files".to_owned());
    }
    if outcome.due > 0 {
        lines.push(format!(
            "the next fetch deletes {} from the server, because of `keep`; to keep them, change \
             `keep` first",
            count(outcome.due, "recorded message")
        ));
    }
    lines
}

/// Returns the error about files that could not be read.
fn unreadable(outcome: &AdoptOutcome) -> Option<Error> {
    let error = outcome.problem.clone()?;
    let error = match outcome.unreadable - 1 {
        0 => error,
        more => error.with_fact(format!("{} more", count(more, "file"))),
    };
    Some(error.with_fact("not compared with the messages on the server"))
}
