//! Where an account's messages go by their headers: `[[account.NAME.rule]]` and
//! `[account.NAME.multidrop]`.

use std::path::PathBuf;

use toml::de::DeValue;

use super::{
    Account,
    destination_spec::DestinationSpec,
    diagnostic::kind,
    file::{File, Located, MultidropTable, Position, RuleTable, in_order},
    provenance::Setting,
    syntax::FilePath,
    value::{Value, is_field, listed, parsed, quoted},
};
use crate::{
    domain::{
        destination::Destination,
        multidrop::Multidrop,
        pattern::Pattern,
        rule::{Condition, Rule, RuleAction},
    },
    error::Error,
};

/// What a rule does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Fetch, skip or delete.
    RuleAction(RuleAction),
    /// Fetch, and deliver there.
    To(DestinationSpec),
}

impl Value for Action {
    const WANTED: &'static str =
        r#""fetch", "skip", "delete", or a place like "maildir:.Lists.rust""#;

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        parsed(value, |text| match text {
            "fetch" => Some(Self::RuleAction(RuleAction::Fetch)),
            "skip" => Some(Self::RuleAction(RuleAction::Skip)),
            "delete" => Some(Self::RuleAction(RuleAction::Delete)),
            destination => DestinationSpec::new(destination).map(Self::To),
        })
    }

    fn to_toml(&self) -> String {
        match self {
            Self::RuleAction(RuleAction::Fetch) => quoted("fetch"),
            Self::RuleAction(RuleAction::Skip) => quoted("skip"),
            Self::RuleAction(RuleAction::Delete) => quoted("delete"),
            Self::To(destination) => quoted(&destination.text()),
        }
    }
}

/// Names of header fields.
#[derive(Clone, Debug)]
pub struct Names(pub Vec<String>);

impl Value for Names {
    const WANTED: &'static str =
        r#"a list of header fields, like ["Delivered-To", "X-Original-To"]"#;

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let name =
            |value: &DeValue<'_>| parsed(value, |text| is_field(text).then(|| text.to_owned()));
        match value.as_array() {
            Some(list) if list.is_empty() => Err(kind(value)),
            Some(list) => list
                .iter()
                .map(|value| name(value.get_ref()))
                .collect::<Result<_, _>>()
                .map(Self),
            None => name(value).map(|name| Self(vec![name])),
        }
    }

    fn to_toml(&self) -> String {
        listed(&self.0)
    }
}

/// Recipients and where their messages go.
#[derive(Clone, Debug)]
pub struct Routes(pub Vec<(Pattern, DestinationSpec)>);

impl Value for Routes {
    const WANTED: &'static str =
        r#"a table of addresses and places, like { "ann@example.org" = "maildir:~/ann" }"#;

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let table = value
            .as_table()
            .filter(|table| !table.is_empty())
            .ok_or_else(|| kind(value))?;
        let recipients = in_order(table).into_iter().map(|(name, destination)| {
            let pattern = Pattern::new(name.get_ref())
                .map_err(|reason| format!("{} ({reason})", quoted(name.get_ref())))?;
            let destination = parsed(destination.get_ref(), DestinationSpec::new);
            Ok((
                pattern,
                destination.map_err(|found| format!("{found} for {}", quoted(name.get_ref())))?,
            ))
        });
        recipients.collect::<Result<_, String>>().map(Self)
    }

    fn to_toml(&self) -> String {
        let pairs: Vec<_> = self
            .0
            .iter()
            .map(|(pattern, destination)| {
                format!(
                    "{} = {}",
                    quoted(pattern.as_str()),
                    quoted(&destination.text())
                )
            })
            .collect();
        format!("{{ {} }}", pairs.join(", "))
    }
}

/// What a rule is told by, besides its table.
pub(super) struct RuleContext<'a> {
    /// To point into.
    pub file: &'a File,
    /// The account, all but its rules.
    pub account: &'a Account,
    /// What the account says of deleting unread mail.
    pub may_delete_unread: bool,
    /// How paths are expanded.
    pub path: &'a dyn Fn(&FilePath) -> PathBuf,
}

impl RuleContext<'_> {
    fn fault(&self, at: &Position, what: &str, hint: &str) -> Error {
        self.file.document.error(&at.span, what).with_hint(hint)
    }

    /// The place that `destination` stands for.
    fn destination(
        &self,
        destination: &DestinationSpec,
        at: &Position,
    ) -> Result<Destination, Error> {
        let destination = match (destination, &self.account.routing.default) {
            (DestinationSpec::Folder(folder), Destination::Maildir(root)) => {
                Destination::Maildir(root.join(folder))
            }
            (DestinationSpec::Folder(folder), _) => {
                return Err(self.fault(
                    at,
                    &format!(
                        "`{folder}` would be a folder of the account's Maildir, and it has none"
                    ),
                    "write a path: \"maildir:~/Mail/lists\"",
                ));
            }
            (DestinationSpec::Maildir(path), _) => Destination::Maildir((self.path)(path)),
            (DestinationSpec::Mbox(path), _) => Destination::Mbox((self.path)(path)),
            (DestinationSpec::Pipe(argv), _) => Destination::Pipe(argv.clone()),
            (DestinationSpec::Lmtp(server, recipients), _) => {
                Destination::Lmtp(server.server(self.path), recipients.clone())
            }
        };
        if self.account.policy.sync_deletions && !matches!(destination, Destination::Maildir(_)) {
            return Err(self.fault(
                at,
                "with `sync-deletions` all mail goes to Maildirs: elsewhere pouch cannot see what you deleted",
                "remove one of them",
            ));
        }
        Ok(destination)
    }

    /// The place that a rule names. Who gets messages on an LMTP server, where it does not say so,
    /// the account says.
    fn ruled(&self, destination: &DestinationSpec, at: &Position) -> Result<Destination, Error> {
        self.destination(destination, at)
            .map(|destination| destination.with_default_recipients(&self.account.lmtp_recipients))
    }

    /// Where copies go of what a rule takes.
    fn also(&self, table: &RuleTable, action: RuleAction) -> Result<Vec<Destination>, Error> {
        let Some(also) = &table.also else {
            return Ok(Vec::new());
        };
        if action != RuleAction::Fetch {
            return Err(self.fault(
                &also.at,
                "there are no copies of what is not fetched",
                "remove `also`",
            ));
        }
        also.value
            .0
            .iter()
            .map(|destination| self.ruled(destination, &also.at))
            .collect()
    }
}

/// The multidrop that an entry is, and how it is explained.
///
/// # Errors
/// It names no recipients, or a place that does not fit the account.
pub(super) fn settle_multidrop(
    entry: &Located<MultidropTable>,
    around: &RuleContext<'_>,
) -> Result<(Multidrop, Setting), Error> {
    let table = &entry.value;
    let Some(recipients) = &table.recipients else {
        return Err(around.fault(
            &entry.at,
            "multidrop names no `recipients`",
            "say who gets what: recipients = { \"ann@example.org\" = \"maildir:~/Mail/ann\" }",
        ));
    };
    let usual = || {
        Names(
            ["Delivered-To", "X-Original-To", "Envelope-To"]
                .map(str::to_owned)
                .to_vec(),
        )
    };
    let fields = table
        .header
        .as_ref()
        .map_or_else(usual, |header| header.value.clone());
    let occurrence = table
        .occurrence
        .as_ref()
        .map_or(1, |occurrence| occurrence.value.get());
    let texts = [
        format!("header = {}", fields.to_toml()),
        format!("occurrence = {occurrence}"),
        format!("recipients = {}", recipients.value.to_toml()),
    ];
    let destinations = recipients.value.0.iter().map(|(pattern, destination)| {
        around
            .destination(destination, &recipients.at)
            .map(|destination| (pattern.clone(), destination))
    });
    let multidrop = Multidrop {
        fields: fields.0,
        occurrence,
        recipients: destinations.collect::<Result<_, _>>()?,
    };
    let value = format!("{{ {} }}", texts.join(", "));
    Ok((
        multidrop,
        Setting {
            key: "multidrop",
            value,
            source: entry.at.source.clone(),
        },
    ))
}

/// The rule that an entry is, and how it is explained.
///
/// # Errors
/// It has no action, or one that the account does not allow.
pub(super) fn settle(
    entry: &Located<RuleTable>,
    around: &RuleContext<'_>,
) -> Result<(Rule, Setting), Error> {
    let table = &entry.value;
    let Some(action) = &table.action else {
        return Err(around.fault(
            &entry.at,
            "the rule has no `action`",
            "say what it does: action = \"skip\", \"delete\", \"fetch\" or a place",
        ));
    };
    let mut conditions = Vec::new();
    let mut texts = Vec::new();
    macro_rules! take {
        ($($key:literal $field:ident $condition:expr;)*) => {$(
            if let Some(entry) = &table.$field {
                texts.push(format!("{} = {}", $key, entry.value.to_toml()));
                conditions.push($condition(entry.value.clone()));
            }
        )*};
    }
    take! {
        "from" from Condition::From;
        "to" to Condition::To;
        "subject" subject Condition::Subject;
        "list-id" list_id Condition::ListId;
        "size" size Condition::ByteSize;
        "older-than" older_than Condition::OlderThan;
    }
    if let Some(Located { value, .. }) = &table.header {
        texts.push(format!("header = {}", value.to_toml()));
        conditions.extend(
            value
                .0
                .iter()
                .cloned()
                .map(|(name, pattern)| Condition::Field(name, pattern)),
        );
    }
    let effect = match action.value {
        Action::RuleAction(effect) => effect,
        Action::To(_) => RuleAction::Fetch,
    };
    if effect == RuleAction::Delete && !around.may_delete_unread {
        return Err(around.fault(
            &action.at,
            "this rule deletes mail that nobody has read",
            "if that is what you want, add `allow-delete-unread = true` to the account",
        ));
    }
    if effect == RuleAction::Delete && conditions.is_empty() {
        return Err(around.fault(
            &action.at,
            "this rule deletes every message",
            "name a condition, such as `subject` or `size`",
        ));
    }
    let to = match &action.value {
        Action::To(destination) => Some(around.ruled(destination, &action.at)?),
        Action::RuleAction(_) => None,
    };
    let also = around.also(table, effect)?;
    let text = if texts.is_empty() {
        "that takes all".to_owned()
    } else {
        texts.join(", ")
    };
    texts.push(format!("action = {}", action.value.to_toml()));
    texts.extend(
        table
            .also
            .as_ref()
            .map(|also| format!("also = {}", also.value.to_toml())),
    );
    let setting = Setting {
        key: "rule",
        value: format!("{{ {} }}", texts.join(", ")),
        source: entry.at.source.clone(),
    };
    Ok((
        Rule {
            conditions,
            action: effect,
            to,
            also,
            text,
        },
        setting,
    ))
}
