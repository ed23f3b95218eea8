//! `pouch plan` and `pouch fetch --dry-run`.

use serde_json::{Value, json};

use super::{CommandContext, CommandResult, args, fetch, print_json};
use crate::{
    config::overrides::Overrides,
    domain::{
        plan::{Action, KeepUntil, ListedMessage, Mailbox, SkipReason},
        size::ByteSize,
    },
    error::{Error, Exit},
    fetch::{Preview, preview},
    report::{Level, complain, form, json, print, words},
    text::count,
};

pub(super) fn run(context: &CommandContext, args: &args::Fetch) -> CommandResult {
    let accounts = context.setup.accounts(
        &args.accounts,
        &Overrides {
            no_delivery: true,
            ..fetch::overrides(context, args)?
        },
    )?;
    let mut env = fetch::env(context, &accounts);
    env.patience = args.wait.map(Into::into).unwrap_or_default();
    env.accept_new_uids = args.accept_new_uids;
    let mut exit = Exit::OK;
    let mut documents = Vec::new();
    for account in &accounts {
        match preview(account, &env) {
            Ok(preview) => {
                if context.global.json {
                    documents.push(document(&account.name, &preview));
                } else {
                    print(&table(
                        &account.name,
                        &preview,
                        context.level >= Level::Verbose,
                    ))?;
                }
                if let Some(warning) = &preview.warning {
                    complain(&form(Some(&account.name), warning, context.colour));
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
        print_json(&json!({ "accounts": documents }))?;
    }
    Ok(exit)
}

/// Reports an account whose preview failed: in the document, or as a message.
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

/// Messages that are shown in one line.
struct Group {
    action: Action,
    messages: u64,
    octets: u64,
}

impl Group {
    /// Returns whether `action` belongs to the group. Kept messages do whenever they are due: the
    /// line names the next date.
    fn takes(&self, action: &Action) -> bool {
        matches!(
            (self.action, action),
            (
                Action::Keep(KeepUntil::Due(_)),
                Action::Keep(KeepUntil::Due(_))
            )
        ) || self.action == *action
    }

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

fn groups<'s>(steps: impl Iterator<Item = (&'s ListedMessage, Action)>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (entry, action) in steps {
        if let Some(group) = groups.iter_mut().find(|group| group.takes(&action)) {
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

/// Returns how many messages are listed.
fn listed(mailbox: &Mailbox) -> u64 {
    mailbox.entries.len() as u64
}

/// Returns how many listed messages are known.
fn known(mailbox: &Mailbox) -> u64 {
    mailbox
        .entries
        .iter()
        .filter(|entry| entry.row.is_some())
        .count() as u64
}

fn table(account: &str, preview: &Preview, each: bool) -> String {
    let Preview { plan, mailbox, .. } = preview;
    let mut text = format!(
        "{account}: {} on the server, {} known\n",
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
    if each {
        for (entry, action) in plan.of(mailbox) {
            let size = ByteSize::from_octets(entry.octets).rounded();
            let ruled = match (action, entry.rule_match) {
                (Action::Fetch(_), Some(rule_match)) => format!("; {rule_match}"),
                _ => String::new(),
            };
            // the number in the ledger, once it has one
            let name = match entry.row {
                Some(row) => format!("message {:>6}", row.0),
                None => format!("number {:>7}", entry.num.0),
            };
            text.push_str(&format!(
                "  {name} {size:>9}   {}: {}{ruled}\n",
                words::verb(&action),
                words::reason(&action)
            ));
        }
    }
    text
}

fn document(account: &str, preview: &Preview) -> Value {
    let Preview { plan, mailbox, .. } = preview;
    let messages: Vec<_> = plan
        .of(mailbox)
        .map(|(entry, action)| {
            json!({
                "number": entry.num.0,
                "message": entry.row.map(|row| row.0),
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
