//! pouch fetches mail by POP3: each message arrives once, one bad message never stops the others,
//! and nothing is deleted from the server before it is safe on disk.
//!
//! This page is the architecture of the program. What a user sees is in `pouch(1)` and
//! `pouch-config(5)`.
//!
//! # Floors
//!
//! A module imports its own folder and lower floors; a test holds the source against this table.
//!
//! | floor | modules | what it may do |
//! | --- | --- | --- |
//! | 5 edge | [`cli`], [`report`] | read the command line and the environment, print |
//! | 4 engine | [`crew`], [`fetch`] | say in which order things happen |
//! | 3 effects | [`net`], [`pop3::session`] and what it is made of, [`ledger`], [`delivery`], [`secret`], [`lock`] | one kind of effect each; they do not know each other |
//! | 2 ground | [`clock`], [`stop`], [`program`], [`folder`] | time, signals, other people's programs, folders |
//! | 1 pure | [`pop3`] but for the session, [`policy`], [`rule`], [`multidrop`], [`message`], [`trace_fields`], [`notice`], [`config`], [`event`] | decide; no clock, no environment |
//! | 0 words | [`types`], [`units`], [`text`], [`error`] | what all others speak in |
//!
//! # The journey of a message
//!
//! 1. [`config`] settles what the user wants of the account; [`lock`] keeps other pouches off it.
//! 2. [`fetch::connect`] gets from the host name to a session: [`net`] dials and begins TLS,
//!    [`pop3::session`] greets and logs in with what [`secret`] gave.
//! 3. The server lists its messages, and meanwhile [`ledger::Ledger::memory`] reads what is known;
//!    [`ledger::Ledger::look`] joins the two, and [`ledger::Ledger::admit`] gives each new one its
//!    row. **The name of its file is a function of the row**: whoever finds the file knows that the
//!    row is delivered.
//! 4. Where the account has rules, the headers of new messages are asked for, and [`rule::judge`]
//!    says which rule takes them.
//! 5. [`policy::plan`] decides what to do to each message. It is one pure function: `pouch plan`,
//!    which goes this way with a copy of the ledger, ends here and shows exactly what a run would
//!    do.
//! 6. The message streams, decoded once ([`pop3::body`]), into a [`delivery::Draft`]; one for
//!    filters, added fields ([`trace_fields`]) or several places is spooled, and [`delivery::Router`]
//!    gives each place its copy.
//! 7. A batch of drafts is sealed ([`delivery::Delivery::seal`]) and made safe by a thread of its
//!    own, while the next ones arrive; then one commit tells the ledger
//!    ([`ledger::Ledger::deliver`]).
//! 8. The ledger gives a [`ledger::Proof`] for what may be deleted. Nobody else can make one, and
//!    only what has one is ever deleted.
//! 9. QUIT carries the deletions out; [`ledger::Ledger::settle`] notes that it did.
//!
//! Data moves one way, and each arrow is a value that is handed on once; only the reporter
//! ([`event::Reporter`]) is called back.
//!
//! # Where it may die
//!
//! | it dies | server | disk | ledger | the next run |
//! | --- | --- | --- | --- | --- |
//! | while receiving, or before it is shown in `new/` | keeps all | nothing, or a draft in `tmp/` | new | fetches it; removes its own drafts |
//! | after that, before the ledger | keeps all | in `new/` | new | finds the name: delivered, no second copy |
//! | when one of several places has it | keeps all | in some of them | new | finds that copy; gives the other places theirs |
//! | before the answer to QUIT | perhaps deleted | safe | delivered | finds it gone, or deletes it again |
//! | between a quarantine and its notice | keeps all | as it was | quarantined, not told | delivers the notice |
//! | after the notice, before the ledger | keeps all | a notice | quarantined, not told | finds the name: told, no second notice |
//! | while a batch goes to a mailbox file | keeps all | a part of it; its journal has all | new | takes the whole ones for delivered, a torn one off |
//! | while a program or an LMTP server has it, or its notice | keeps all | not known | delivering | hands it over again, and says so |
//!
//! A run that was left open in the ledger makes the next one look for such files.
//!
//! # One bad message
//!
//! [`fetch`] tells three things apart. A message that the server *refuses* has used up an attempt.
//! A message during which the line is lost is a *suspect*: all others are fetched first, then the
//! suspects one at a time; one that loses the line again has used up an attempt, provided that
//! others got through. A message that came *short* (the final dot is there, octets are missing) is
//! delivered, since it may be all there is, and never deleted from the server: the ledger knows it
//! as short before anybody can see its file. After so many attempts, in as many runs, a message is
//! in *quarantine*: it is told of by a mail, and tried again after 1, 2, 4 … 32 days.
//!
//! Where the server's answers are *out of step* with what it was asked, one message may have come
//! as another: what such a session brought is compared by header in the next one, and rules believe
//! no header that came in it. So is what a run brought that was killed, since nobody can know; and
//! nothing is asked for ahead where the server shows no headers.
//!
//! # Words
//!
//! An *account* is a mailbox on a server and where its mail goes. A *message* is known by its *UID*
//! (what UIDL gives) and has a *row* in the *ledger*. A *listing* is what the server shows now, a
//! *plan* what to do about it, a *step* what to do to one message. A *delivery* takes *drafts* and
//! makes *batches* of them safe. *Retention* deletes from the server what was delivered. A *notice*
//! is the mail about a message in quarantine.

#![forbid(unsafe_code)]
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "this documentation is read with its private items"
)]

pub mod cli;
pub mod config;
pub mod delivery;
pub mod domain;
pub mod error;
pub mod event;
pub mod fetch;
pub mod ledger;
pub mod net;
pub mod pop3;
pub mod report;
pub mod sys;
pub mod text;
