//! `pouch ledger`: shows and changes the records of messages.

mod adopt;
mod backup;
mod drop;
mod export;
mod mailbox;
mod message;
mod restore;

use std::collections::HashSet;

use message::{Document, details, line};
use serde_json::json;

use super::{
    CommandContext, CommandResult,
    args::{Accounts, Catchup, Ledger as Command, Messages, NamedMessages},
    dirs, fetch, print_json,
};
use crate::{
    config::Account,
    delivery::{Delivery, Location},
    domain::{destination::Destination, ids::RowId},
    error::{Error, Exit, Kind, Result},
    fetch::{CatchUp, CaughtUp, destinations, env::RunEnv},
    ledger::{
        Ledger, REPLACE_HINT, Reader, RetryOutcome, Row, RowFilter, RowRange, State,
        no_such_message,
    },
    report::{complain, form, print_wrapped},
    text::count,
};

pub(super) fn run(context: &CommandContext, command: Command) -> CommandResult {
    match command {
        Command::List {
            accounts,
            all,
            state,
        } => list(context, &accounts, all, state),
        Command::Show(messages) => show(context, &messages),
        Command::Retry(messages) => change(context, &messages, |ledger, rows| {
            ledger.retry(rows).map(|retried| {
                (
                    retried.again + retried.deletions_cancelled,
                    retried_text(retried),
                )
            })
        }),
        Command::Forget(messages) => change(context, &messages.into(), |ledger, rows| {
            ledger
                .forget(rows)
                .map(|changed| (changed, format!("{} forgotten", count(changed, "message"))))
        }),
        Command::Delete(messages) => change(context, &messages.into(), |ledger, rows| {
            let text = |changed| {
                format!(
                    "{} will be deleted from the server in the next run",
                    count(changed, "message")
                )
            };
            ledger
                .request_deletion(rows)
                .map(|changed| (changed, text(changed)))
        }),
        Command::Catchup(args) => catch_up(context, &args),
        Command::Adopt(args) => adopt::run(context, &args),
        Command::Verify(accounts) => verify(context, &accounts),
        Command::Backup(args) => backup::run(context, &args),
        Command::Restore(args) => restore::run(context, &args),
        Command::Export(args) => export::run(context, &args),
        Command::Drop(args) => drop::run(context, &args),
    }
}

/// Returns the account with this name, and its environment.
fn account(context: &CommandContext, name: &str) -> Result<(Account, RunEnv)> {
    let mut accounts = context.setup.known_accounts(&[name.to_owned()])?;
    let env = fetch::env(context, &accounts)?;
    // one name gives one account
    accounts
        .pop()
        .map(|account| (account, env))
        .ok_or_else(|| Error::new(Kind::Bug, "no account"))
}

/// Returns the numbers of the selected messages. `ledger` is `None` if the account has none yet.
fn select(ledger: Option<&Reader>, messages: &Messages) -> Result<Vec<RowId>> {
    let ranges = match messages.messages.as_slice() {
        [] => &[RowRange::ALL],
        ranges => ranges,
    };
    match ledger {
        Some(ledger) => ledger.select(ranges, messages.state),
        None => match ranges.iter().find(|range| **range != RowRange::ALL) {
            Some(range) => Err(no_such_message(*range)),
            None => Ok(Vec::new()),
        },
    }
}

/// Prints everything known about messages. In JSON, a message that is named by its number is one
/// object, and other selections are a list.
fn show(context: &CommandContext, messages: &NamedMessages) -> CommandResult {
    let (account, env) = account(context, &messages.account)?;
    let ledger = env.reader(&account)?;
    let messages: Messages = messages.clone().into();
    let numbers = select(ledger.as_ref(), &messages)?;
    let find = |number: &RowId| ledger.as_ref().map(|ledger| ledger.find(*number));
    let rows: Vec<_> = numbers.iter().filter_map(find).collect::<Result<_>>()?;
    let is_single = matches!(messages.messages.as_slice(), [range] if range.first == range.last);
    match rows.as_slice() {
        [row] if context.global.json && is_single => print_json(&json!(Document::from(row)))?,
        rows if context.global.json => {
            let rows: Vec<_> = rows.iter().map(Document::from).collect();
            print_json(&json!({ "account": account.name, "messages": rows }))?;
        }
        [] => print_wrapped(&format!("{}: {}\n", account.name, none(messages.state)))?,
        rows => print_wrapped(&rows.iter().map(details).collect::<Vec<_>>().join("\n"))?,
    }
    Ok(Exit::OK)
}

/// Returns the text for an empty selection.
fn none(state: Option<State>) -> String {
    match state {
        Some(state) => format!("no message is {state}"),
        None => "no message is known".into(),
    }
}

/// Returns the text about retried messages.
fn retried_text(
    RetryOutcome {
        again,
        deletions_cancelled,
    }: RetryOutcome,
) -> String {
    let again_text = format!(
        "{} will be fetched in the next run",
        count(again, "message")
    );
    match (again, deletions_cancelled) {
        (0, 0) => {
            "no message to retry; to fetch delivered messages again, use `ledger forget`".into()
        }
        (_, 0) => again_text,
        (0, _) => format!(
            "{} will not be deleted from the server",
            count(deletions_cancelled, "message")
        ),
        _ => format!("{again_text}, {deletions_cancelled} will not be deleted from the server"),
    }
}

/// Changes the selected messages with `change`, which returns the number of changed messages and a
/// text about them.
fn change(
    context: &CommandContext,
    messages: &Messages,
    change: impl FnOnce(&mut Ledger, &[RowId]) -> Result<(u64, String)>,
) -> CommandResult {
    let (account, env) = account(context, &messages.account)?;
    let _lock = env.lock_at_once(&account)?;
    let mut ledger = env.ledger(&account)?;
    let takes_default = messages.messages.is_empty() && messages.state.is_none();
    let (changed, text) = if takes_default {
        change(&mut ledger, &[])?
    } else {
        match select(Some(ledger.reader()), messages)?.as_slice() {
            [] => (0, none(messages.state)),
            rows => change(&mut ledger, rows)?,
        }
    };
    if context.global.json {
        print_json(&json!({ "account": account.name, "changed": changed }))?;
    } else {
        print_wrapped(&format!("{}: {text}\n", account.name))?;
    }
    Ok(Exit::OK)
}

/// Runs `pouch ledger catchup`.
fn catch_up(context: &CommandContext, args: &Catchup) -> CommandResult {
    if let Some(day) = &args.before
        && day.start > dirs::clock().now()
    {
        let what = format!("the day {} is in the future", day.text);
        return Err(Error::new(Kind::Usage, what)
            .with_hint("without `--before`, all messages on the server are marked")
            .into());
    }
    let (account, env) = account(context, &args.account)?;
    let choice = CatchUp {
        as_fetched: args.as_fetched,
        before: args.before.as_ref().map(|day| day.start),
        except_newest: args.except_newest.unwrap_or(0),
    };
    let CaughtUp {
        changed,
        left,
        undated,
    } = crate::fetch::catch_up(&account, &env, choice)?;
    if context.global.json {
        print_json(&json!({
            "account": account.name,
            "changed": changed,
            "left": left,
            "undated": undated,
        }))?;
        return Ok(Exit::OK);
    }
    let result = if args.as_fetched {
        "marked as fetched"
    } else {
        "skipped"
    };
    let mut text = format!("{}: {} {result}", account.name, count(changed, "message"));
    if args.before.is_some() || args.except_newest.is_some() {
        text.push_str(&format!(", {left} left to fetch"));
    }
    if undated > 0 {
        text.push_str(&format!("; the date of {undated} is not known"));
    }
    print_wrapped(&format!("{text}\n"))?;
    Ok(Exit::OK)
}

/// Runs `pouch ledger list`.
fn list(
    context: &CommandContext,
    accounts: &Accounts,
    all: bool,
    state: Option<State>,
) -> CommandResult {
    let filter = match state {
        Some(state) => RowFilter::In(state),
        None if all => RowFilter::All,
        None => RowFilter::Unsettled,
    };
    let accounts = context.setup.known_accounts(&accounts.accounts)?;
    let env = fetch::env(context, &accounts)?;
    let mut documents = Vec::new();
    for account in &accounts {
        let ledger = env.reader(account)?;
        let mut messages = Vec::new();
        let mut listed = 0_u64;
        let mut show = |row: Row| {
            listed += 1;
            if context.global.json {
                messages.push(json!(Document::from(&row)));
                return Ok(());
            }
            if listed == 1 {
                let head = format!(
                    "{}\n{:>8} {:11} {:>9}   {:16}   {}\n",
                    account.name, "message", "state", "size", "first seen", "what"
                );
                print_wrapped(&head).map_err(|error| Error::new(Kind::Io, format!("{error:#}")))?;
            }
            print_wrapped(&line(&row)).map_err(|error| Error::new(Kind::Io, format!("{error:#}")))
        };
        if let Some(ledger) = &ledger {
            ledger.each_row(filter, &mut show)?;
        }
        if context.global.json {
            documents.push(json!({ "account": account.name, "messages": messages }));
        } else if listed == 0 {
            let none = match state {
                Some(_) => none(state),
                None if all => none(None),
                None => "no message is waiting or has failed".into(),
            };
            print_wrapped(&format!("{}: {none}\n", account.name))?;
        }
    }
    if context.global.json {
        print_json(&context.accounts_document(&documents))?;
    }
    Ok(Exit::OK)
}

/// Checks the integrity of the ledgers, and counts the delivered messages in the Maildirs.
fn verify(context: &CommandContext, accounts: &Accounts) -> CommandResult {
    let accounts = context.setup.known_accounts(&accounts.accounts)?;
    let env = fetch::env(context, &accounts)?;
    let mut exit = Exit::OK;
    let mut documents = Vec::new();
    for account in &accounts {
        let ledger = env.reader(account)?;
        let damage = ledger
            .as_ref()
            .map(Reader::integrity_error)
            .transpose()?
            .flatten();
        if let Some(damage) = damage {
            let error = Error::new(Kind::State, "the ledger is damaged")
                .with_fact(damage)
                .with_hint(REPLACE_HINT);
            complain(&form(Some(&account.name), &error, context.colour));
            exit = exit.worst(error.kind().exit());
        }
        let delivered = ledger
            .as_ref()
            .map_or_else(|| Ok(HashSet::new()), delivered)?;
        let present = present(account, &env, ledger.as_ref(), &delivered)?;
        let number = delivered.len() as u64;
        if context.global.json {
            documents.push(
                json!({ "account": account.name, "delivered": number, "in_maildir": present }),
            );
            continue;
        }
        let there = match present {
            Some(present) if account.routing.all().len() > 1 => {
                format!("{present} of them in its Maildirs")
            }
            Some(present) => {
                format!(
                    "{present} of them in {}",
                    env.describe(&account.routing.default)
                )
            }
            None => "their location cannot be verified".into(),
        };
        let messages = count(number, "message");
        print_wrapped(&format!(
            "{}: {messages} delivered, {there}\n",
            account.name
        ))?;
    }
    if context.global.json {
        print_json(&context.accounts_document(&documents))?;
    }
    Ok(exit)
}

/// Returns the numbers of the delivered messages.
fn delivered(ledger: &Reader) -> Result<HashSet<RowId>> {
    let mut delivered = HashSet::new();
    ledger.each_row(RowFilter::All, |row| {
        if row.was_received() {
            delivered.insert(row.id);
        }
        Ok(())
    })?;
    Ok(delivered)
}

/// Returns the number of `delivered` messages that are in the account's Maildirs.
///
/// `None` if the account has no Maildir: messages in an mbox file have no names.
fn present(
    account: &Account,
    env: &RunEnv,
    ledger: Option<&Reader>,
    delivered: &HashSet<RowId>,
) -> Result<Option<usize>> {
    let is_maildir = |destination: &Destination| matches!(destination, Destination::Maildir(_));
    if !account.routing.all().iter().any(is_maildir) {
        return Ok(None);
    }
    let file = env.offline_file(account)?;
    let adopted = ledger.map(Reader::adopted_files).transpose()?;
    let adopted = adopted.unwrap_or_default();
    let mut rows = HashSet::new();
    let router = destinations::open_existing(account, env, &file)?;
    let search = router.visit_stored(&mut |found| {
        if matches!(found.content, Location::File(_)) {
            let own = || ledger.and_then(|ledger| ledger.message_named(&found.name));
            let row = adopted.find(&found.name);
            rows.extend(row.or_else(|| own().map(|name| name.row)));
        }
        Ok(())
    })?;
    Ok(search.map(|_| rows.intersection(delivered).count()))
}
