//! `pouch plan` and `pouch fetch --dry-run`.

use serde_json::{Value, json};

use super::{
    CommandContext, CommandResult, args,
    check::{RECENT, deletes_recent},
    fetch, print_json,
};
use crate::{
    config::{Account, overrides::Overrides},
    domain::{
        plan::{Action, KeepUntil, ListedMessage, Mailbox, SkipReason},
        size::ByteSize,
    },
    error::{Error, Exit, Kind},
    fetch::{Detail, MessageDetails, Preview, env::RunEnv, preview},
    report::{Level, complain, form, json, print_wrapped, words},
    text::{count, sanitize},
};

/// Runs `pouch plan`, or `pouch fetch` with `--dry-run`.
pub(super) fn run(context: &CommandContext, args: &args::Fetch) -> CommandResult {
    let accounts = fetch::accounts(
        context,
        args,
        &Overrides {
            no_delivery: true,
            ..fetch::overrides(context, args)?
        },
    )?;
    let mut env = fetch::env(context, &accounts)?;
    env.patience = args.wait.map(Into::into).unwrap_or_default();
    env.accept_new_uids = args.accept_new_uids;
    show(context, &accounts, &env)
}

/// Shows the plans of accounts.
pub(super) fn show(context: &CommandContext, accounts: &[Account], env: &RunEnv) -> CommandResult {
    let mut exit = Exit::OK;
    let mut documents = Vec::new();
    let verbose = context.level >= Level::Verbose;
    let detail = match (verbose, context.global.json) {
        (true, _) => Detail::Headers,
        (false, true) => Detail::Known,
        (false, false) => Detail::None,
    };
    for account in accounts {
        match preview(account, env, detail) {
            Ok(preview) => {
                if context.global.json {
                    documents.push(document(&account.name, &preview));
                } else {
                    print_wrapped(&table(account, &preview))?;
                    print_wrapped(&messages(account, &preview))?;
                }
                if let Some(warning) = &preview.warning {
                    complain(&form(Some(&account.name), warning, context.colour));
                }
                if deletes_recent(account) {
                    let warning = Error::new(Kind::Config, RECENT);
                    complain(&form(Some(&account.name), &warning, context.colour));
                }
            }
            Err(error) => {
                exit = exit.worst(error.kind().exit());
                report_failure(context, &account.name, &error, &mut documents);
            }
        }
        if context.stop.signal().is_some() {
            break;
        }
    }
    if context.global.json {
        print_json(&context.accounts_document(&documents))?;
    }
    Ok(exit)
}

/// Reports the error of an account, as JSON in `documents` or on standard error.
fn report_failure(
    context: &CommandContext,
    account: &str,
    error: &Error,
    documents: &mut Vec<Value>,
) {
    if context.global.json {
        documents.push(json!({ "account": account, "problem": json::error(error) }));
    } else if context.level > Level::Silent {
        complain(&form(Some(account), error, context.colour));
    }
}

/// Messages with the same action, which are shown on one line.
struct Group {
    action: Action,
    messages: u64,
    octets: u64,
}

impl Group {
    /// Returns whether `action` belongs to the group: its line would be the same. All kept messages
    /// with a due date form one group, which shows the earliest date.
    fn matches(&self, action: &Action) -> bool {
        matches!(
            (self.action, action),
            (
                Action::Keep(KeepUntil::Due(_)),
                Action::Keep(KeepUntil::Due(_))
            )
        ) || self.action == *action
            || shown(&self.action) == shown(action)
    }

    /// Adds a message to the group.
    fn add(&mut self, entry: &ListedMessage, action: Action) {
        self.messages += 1;
        self.octets = self.octets.saturating_add(entry.octets);
        if let (Action::Keep(KeepUntil::Due(next)), Action::Keep(KeepUntil::Due(at))) =
            (&mut self.action, action)
        {
            *next = (*next).min(at);
        }
    }
}

/// Returns the words about an action. Times are shown as days, so that several actions have the
/// same.
fn shown(action: &Action) -> (&'static str, String) {
    (words::verb(action), words::reason(action))
}

/// Returns the groups in the order in which they are shown.
fn groups<'s>(steps: impl Iterator<Item = (&'s ListedMessage, Action)>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (entry, action) in steps {
        if let Some(group) = groups.iter_mut().find(|group| group.matches(&action)) {
            group.add(entry, action);
        } else {
            let mut group = Group {
                action,
                messages: 0,
                octets: 0,
            };
            group.add(entry, action);
            groups.push(group);
        }
    }
    groups.sort_by_key(|group| match group.action {
        Action::Fetch(_) => 0,
        Action::Delete(_) => 1,
        Action::Keep(_) => 2,
        Action::Leave(_) => 3,
    });
    groups
}

/// Returns the number of listed messages.
fn listed(mailbox: &Mailbox) -> u64 {
    mailbox.entries.len() as u64
}

/// Returns the number of listed messages that are in the ledger.
fn known(mailbox: &Mailbox) -> u64 {
    mailbox
        .entries
        .iter()
        .filter(|entry| entry.row.is_some())
        .count() as u64
}

/// Returns the line with the totals, followed by one line for each group of messages.
fn table(account: &Account, preview: &Preview) -> String {
    let Preview { plan, mailbox, .. } = preview;
    let mut text = format!(
        "{}: {} on the server, {} known\n",
        account.name,
        count(listed(mailbox), "message"),
        known(mailbox)
    );
    for group in groups(plan.of(mailbox)) {
        let size = match group.action {
            Action::Fetch(_) | Action::Leave(SkipReason::Oversize(_)) => {
                ByteSize::from_octets(group.octets).rounded()
            }
            _ => String::new(),
        };
        let line = format!(
            "  {:6} {:>5} {size:>9}   {}",
            words::verb(&group.action),
            group.messages,
            words::reason(&group.action)
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Returns the lines about single messages. Empty if the preview has no details.
fn messages(account: &Account, preview: &Preview) -> String {
    let mut text = String::new();
    for (entry, action, details) in described(preview) {
        let size = ByteSize::from_octets(entry.octets).rounded();
        // a message gets its number when `fetch` lists it for the first time
        let (number, uid) = match entry.row {
            Some(row) => (row.to_string(), None),
            None => ("new".to_owned(), Some(format!("UID {}", details.uid))),
        };
        let mut decision = words::verb(&action).to_owned();
        let mut remarks = Vec::new();
        if let Action::Fetch(_) = action {
            match &details.destinations {
                Some(destinations) => {
                    decision.push_str(&format!(" to {}", destinations.join(", ")));
                }
                None if account.filter.is_empty() => {
                    remarks.push("the destination depends on the header".to_owned());
                }
                None => remarks.push("the destination depends on the filters".to_owned()),
            }
            remarks.extend(entry.rule_match.map(|rule_match| rule_match.to_string()));
        }
        let reason: Vec<_> = [words::reason(&action)]
            .into_iter()
            .chain(remarks)
            .collect();
        text.push_str(&format!(
            "  message {number:>6} {size:>9}   {decision}: {}\n",
            reason.join("; ")
        ));
        let header = words::header(details.sender.as_deref(), details.subject.as_deref());
        let header: Vec<_> = uid.into_iter().chain(header).collect();
        if !header.is_empty() {
            text.push_str(&format!("      {}\n", header.join(", ")));
        }
    }
    text
}

/// Returns the messages in the order of the plan, each with its action and its description. Empty
/// if the preview has no details.
fn described(preview: &Preview) -> impl Iterator<Item = (&ListedMessage, Action, &MessageDetails)> {
    preview.plan.steps.iter().filter_map(|step| {
        let details = preview.messages.get(step.index)?;
        Some((&preview.mailbox.entries[step.index], step.action, details))
    })
}

/// Returns the preview as JSON.
fn document(account: &str, preview: &Preview) -> Value {
    let mailbox = &preview.mailbox;
    let text = |text: &Option<String>| text.as_ref().map(|text| sanitize(text.as_bytes()));
    let messages: Vec<_> = described(preview)
        .map(|(entry, action, details)| {
            let destinations = match action {
                Action::Fetch(_) => details.destinations.as_deref().unwrap_or_default(),
                _ => &[],
            };
            json!({
                "message": entry.row.map(|row| row.0),
                "uid": details.uid,
                "from": text(&details.sender),
                "subject": text(&details.subject),
                "destination": destinations.first(),
                "also": destinations.get(1..).unwrap_or_default(),
                "size": entry.octets,
                "action": words::verb(&action),
                "reason": words::reason(&action),
                "rule": entry.rule_match.map(|rule_match| rule_match.index + 1),
            })
        })
        .collect();
    json!({
        "account": account,
        "listed": listed(mailbox),
        "known": known(mailbox),
        "messages": messages,
        "warning": preview.warning.as_ref().map(json::error),
    })
}
