//! The keys of `[[account.NAME.rule]]` and `[account.NAME.multidrop]`.

use std::{num::NonZero, sync::Arc};

use super::{
    key::{Group, Key, Scope},
    table::{Field, Slot, Table, keys},
};
use crate::{
    config::{
        provenance::{Located, Source},
        value::{Action, Destinations, Fields, Names, Routes, Value},
    },
    domain::{pattern::Pattern, rule::Bound, time::Days},
};

keys! {
    /// The keys of `[[account.NAME.rule]]`, as written.
    RuleTable in Scope::Rule,
    /// The keys of a rule.
    RuleValues:

    /// The sender: the address, the name, or both as in `"Ann <ann@example.org>"`.
    from: Option<Pattern> =>
        Key::new("from", Group::Rule, "the sender: address, name, or both")
            .example("\"*@example.org\"");

    /// A recipient in To or Cc, in the same forms.
    to: Option<Pattern> =>
        Key::new("to", Group::Rule, "a recipient in To or Cc")
            .example("\"ann@*\"");

    /// The subject.
    subject: Option<Pattern> =>
        Key::new("subject", Group::Rule, "the subject")
            .example("\"/sale|offer/\"");

    /// The mailing list: the text between angle brackets in the List-Id field, or the whole field.
    list_id: Option<Pattern> =>
        Key::new("list-id", Group::Rule, "the mailing list")
            .example("\"rust.lists.example.org\"");

    /// Any header field, such as `"X-Spam-Flag: yes"`, or several as a table:
    /// `{ X-Spam-Flag = "yes", Precedence = "bulk" }`.
    header: Option<Fields> =>
        Key::new("header", Group::Rule,
            "or a table: { X-Spam-Flag = \"yes\", Precedence = \"bulk\" }")
            .example("\"X-Spam-Flag: yes\"");

    /// The size as listed by the server: `">2MB"` is larger than 2 MB, `"<10KB"` smaller than 10
    /// KB.
    size: Option<Bound> =>
        Key::new("size", Group::Rule, "or \"<10KB\"")
            .example("\">2MB\"");

    /// The age according to the Date field: more than this many days, weeks, months or years
    /// (`"30d"`).
    older_than: Option<Days> =>
        Key::new("older-than", Group::Rule, "age according to the Date field")
            .example("\"30d\"");

    /// What to do with the message: `"fetch"`, `"skip"`, `"delete"`, or a destination that
    /// replaces the account's:
    /// `"maildir:.Lists.rust"` is a folder of the account's Maildir, whose name begins with a dot
    /// (Maildir++);
    /// `"maildir:PATH"` is any other Maildir;
    /// `"mbox:FILE"` is an mbox file;
    /// `"pipe:COMMAND"` is a program;
    /// `"lmtp:ADDRESS RECIPIENT ..."` is an LMTP server, with the account's `lmtp-recipients` if
    /// no recipients are given.
    action: Action =>
        Key::new("action", Group::Rule,
            "a folder of the Maildir, or another\n\
             destination: \"maildir:~/Mail/x\",\n\
             \"mbox:~/Mail/y\",\n\
             \"pipe:procmail -d ann\",\n\
             \"lmtp:unix:/run/dovecot/lmtp ann\";\n\
             or \"fetch\", \"skip\" (permanently),\n\
             \"delete\" (unread)")
            .required("add an action: action = \"skip\", \"delete\", \"fetch\" or a destination")
            .example("\"maildir:.Lists.rust\"");

    /// A list of further destinations that get a copy.
    also: Option<Destinations> =>
        Key::new("also", Group::Rule, "copies")
            .example("[\"maildir:~/Mail/all\"]");
}

keys! {
    /// The keys of `[account.NAME.multidrop]`, as written.
    MultidropTable in Scope::Multidrop,
    /// The keys of multidrop.
    MultidropValues:

    /// The header fields in which the server records the recipient; the first one that the
    /// message has is used.
    header: Names = usual_fields() =>
        Key::new("header", Group::Multidrop, "the first of these that the message has");

    /// Which field to use if there are several: 1 is the first, -1 the last.
    occurrence: NonZero<i32> = const { NonZero::new(1).expect("not zero") } =>
        Key::new("occurrence", Group::Multidrop, "which of several fields; -1 is the last");

    /// A table of address patterns and destinations, as in rules:
    /// `{ "ann@example.org" = "maildir:~/Mail/ann", "*@lists.example.org" = "maildir:.Lists" }`.
    /// The first pattern that matches an address is used.
    recipients: Routes =>
        Key::new("recipients", Group::Multidrop, "")
            .required(
                "add the recipients: recipients = { \"ann@example.org\" = \"maildir:~/Mail/ann\" }",
            )
            .example("{ \"ann@example.org\" = \"maildir:~/Mail/ann\" }");
}

/// Returns the fields in which most servers record the recipient.
fn usual_fields() -> Names {
    Names(
        ["Delivered-To", "X-Original-To", "Envelope-To"]
            .map(str::to_owned)
            .to_vec(),
    )
}
