//! Creates rules and multidrop from their tables: `[[account.NAME.rule]]` and
//! `[account.NAME.multidrop]`.

use std::path::PathBuf;

use super::{
    account::Account,
    conflicts::destination_source,
    destination_spec::DestinationSpec,
    provenance::{Located, Setting, Source, UNSET},
    schema::{AccountTable, MultidropTable, RuleTable, RuleValues, Table},
    snippet::Document,
    syntax::FilePath,
    value::Action,
};
use crate::{
    domain::{
        destination::Destination,
        multidrop::Multidrop,
        rule::{Condition, Rule, RuleAction},
    },
    error::Error,
};

/// The context of a rule: everything it depends on besides its own table.
pub(super) struct RuleContext<'a> {
    /// The config file, to point into.
    pub document: &'a Document,
    /// The keys of the account.
    pub table: &'a AccountTable,
    /// The account, without its rules.
    pub account: &'a Account,
    /// Expands a path.
    pub expand: &'a dyn Fn(&FilePath) -> PathBuf,
}

impl RuleContext<'_> {
    /// Returns the destination that `spec`, which was set at `source`, stands for.
    fn destination(&self, spec: &DestinationSpec, source: &Source) -> Result<Destination, Error> {
        let destination = match (spec, &self.account.routing.default) {
            (DestinationSpec::Folder(folder), Destination::Maildir(root)) => {
                Destination::Maildir(root.join(folder))
            }
            (DestinationSpec::Folder(folder), _) => {
                let what = format!(
                    "`{folder}` is a Maildir++ folder, but the account does not deliver \
                     to a Maildir"
                );
                let other = destination_source(self.table);
                return Err(self
                    .document
                    .contradiction(source, &what, other, "the destination")
                    .with_hint("write a path, such as \"maildir:~/Mail/lists\""));
            }
            (DestinationSpec::Maildir(path), _) => Destination::Maildir((self.expand)(path)),
            (DestinationSpec::Mbox(path), _) => Destination::Mbox((self.expand)(path)),
            (DestinationSpec::Pipe(argv), _) => Destination::Pipe(argv.clone()),
            (DestinationSpec::Lmtp(server, recipients), _) => {
                Destination::Lmtp(server.server(self.expand), recipients.clone())
            }
        };
        if self.account.policy.sync_deletions && !matches!(destination, Destination::Maildir(_)) {
            let what = "`sync-deletions` requires Maildir destinations: \
                        deletions from other destinations cannot be detected";
            let other = self.table.source("sync-deletions");
            return Err(self
                .document
                .contradiction(source, what, other, "enabled here")
                .with_hint("remove `sync-deletions`, or deliver to a Maildir"));
        }
        Ok(destination)
    }

    /// Returns the destination that a rule names. An LMTP server without recipients gets those of
    /// the account.
    fn rule_destination(
        &self,
        spec: &DestinationSpec,
        source: &Source,
    ) -> Result<Destination, Error> {
        self.destination(spec, source)
            .map(|destination| destination.with_default_recipients(&self.account.lmtp_recipients))
    }

    /// Returns the destinations of copies of the messages that a rule matches.
    fn copies(
        &self,
        table: &RuleTable,
        action: &Source,
        effect: RuleAction,
    ) -> Result<Vec<Destination>, Error> {
        let Some(also) = &table.also else {
            return Ok(Vec::new());
        };
        if effect != RuleAction::Fetch {
            let what = "`also` has no effect: the rule does not fetch the message";
            return Err(self
                .document
                .contradiction(&also.source, what, Some(action), "the action")
                .with_hint("remove `also`"));
        }
        let specs = also.value.0.iter();
        specs
            .map(|spec| self.rule_destination(spec, &also.source))
            .collect()
    }

    /// Checks that a rule that deletes is meant to.
    fn check_deletion(&self, action: &Source, has_conditions: bool) -> Result<(), Error> {
        let allowed = self.table.allow_delete_unread.as_ref();
        if !allowed.is_some_and(|allowed| allowed.value) {
            let what = "this rule deletes unread mail";
            let other = allowed.map(|allowed| &allowed.source);
            return Err(self
                .document
                .contradiction(action, what, other, "not allowed here")
                .with_hint("to allow it, add `allow-delete-unread = true` to the account"));
        }
        if !has_conditions {
            let what = "this rule deletes every message";
            return Err(self
                .document
                .error_at(action, what)
                .with_hint("add a condition, such as `subject` or `size`"));
        }
        Ok(())
    }
}

/// Creates multidrop from its table. Returns it with its line for `pouch config show`.
///
/// # Errors
/// There are no recipients, or a destination does not fit the account.
pub(super) fn multidrop(
    written: &Located<MultidropTable>,
    context: &RuleContext<'_>,
) -> Result<(Multidrop, Setting), Error> {
    let table = written.value.clone().over(MultidropTable::defaults());
    let source = table
        .recipients
        .as_ref()
        .map_or(&written.source, |recipients| &recipients.source)
        .clone();
    let setting = Setting {
        key: "multidrop",
        value: format!("{{ {} }}", keys_as_text(&table, |_| true)),
        source: written.source.clone(),
    };
    let values = table.complete().map_err(|key| {
        let what = format!("multidrop has no `{}`", key.name);
        let error = context.document.error_at(&written.source, &what);
        error.with_hint(key.required.unwrap_or_default())
    })?;
    let recipients = values.recipients.0.into_iter().map(|(pattern, spec)| {
        let destination = context.destination(&spec, &source)?;
        Ok((pattern, destination))
    });
    let multidrop = Multidrop {
        fields: values.header.0,
        occurrence: values.occurrence.get(),
        recipients: recipients.collect::<Result<_, Error>>()?,
    };
    Ok((multidrop, setting))
}

/// Creates a rule from its table. Returns it with its line for `pouch config show`.
///
/// # Errors
/// The rule has no action, or one that the account does not allow.
pub(super) fn rule(
    written: &Located<RuleTable>,
    context: &RuleContext<'_>,
) -> Result<(Rule, Setting), Error> {
    let table = &written.value;
    let values = table.clone().complete().map_err(|key| {
        let what = format!("the rule has no `{}`", key.name);
        let error = context.document.error_at(&written.source, &what);
        error.with_hint(key.required.unwrap_or_default())
    })?;
    let source = table
        .action
        .as_ref()
        .map_or(&written.source, |action| &action.source);
    let (action, to) = match &values.action {
        Action::RuleAction(action) => (*action, None),
        Action::To(spec) => (
            RuleAction::Fetch,
            Some(context.rule_destination(spec, source)?),
        ),
    };
    let is_condition = |key: &str| !["action", "also"].contains(&key);
    let text = keys_as_text(table, is_condition);
    if action == RuleAction::Delete {
        context.check_deletion(source, !text.is_empty())?;
    }
    let rule = Rule {
        conditions: conditions(values),
        action,
        to,
        also: context.copies(table, source, action)?,
        text: if text.is_empty() {
            "that matches all messages".to_owned()
        } else {
            text
        },
    };
    let setting = Setting {
        key: "rule",
        value: format!("{{ {} }}", keys_as_text(table, |_| true)),
        source: written.source.clone(),
    };
    Ok((rule, setting))
}

/// Returns the conditions of a rule.
fn conditions(values: RuleValues) -> Vec<Condition> {
    let fields = values.header.into_iter().flat_map(|fields| fields.0);
    let patterns = [
        values.from.map(Condition::From),
        values.to.map(Condition::To),
        values.subject.map(Condition::Subject),
        values.list_id.map(Condition::ListId),
        values.size.map(Condition::ByteSize),
        values
            .older_than
            .map(|days| Condition::OlderThan(days.into())),
    ];
    let fields = fields.map(|(name, pattern)| Condition::Field(name, pattern));
    patterns.into_iter().flatten().chain(fields).collect()
}

/// Returns the keys of a table that are set and wanted, as they are written in an inline table.
fn keys_as_text<T: Table>(table: &T, wanted: impl Fn(&str) -> bool) -> String {
    let texts: Vec<_> = table
        .settings()
        .into_iter()
        .filter(|setting| setting.value != UNSET && wanted(setting.key))
        .map(|setting| format!("{} = {}", setting.key, setting.value))
        .collect();
    texts.join(", ")
}
