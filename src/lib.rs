//! pouch fetches mail by POP3: each message arrives once, one bad message never stops the others,
//! and nothing is deleted from the server before it is safe on disk.
//!
//! This page is the architecture of the program. What a user sees is in `pouch(1)` and
//! `pouch-config(5)`.
//!
//! # Layers
//!
//! A module imports its own directory and lower layers, and no files import each other in a circle.
//! A test reads this table.
//!
//! | layer | modules | what it does |
//! | --- | --- | --- |
//! | 5 interface | [`cli`], [`report`] | reads the command line and the environment, prints |
//! | 4 engine | [`fetch`] | carries out the run of an account |
//! | 3 effects | [`net`], [`oauth`], [`pop3`], [`ledger`], [`delivery`], [`discovery`] | one kind of effect each; they do not import each other |
//! | 2 machine | [`sys`] | clock, signals, locks, files, other programs |
//! | 1 config | [`config`], [`event`], [`import`] | the user's settings, the events that a run reports, the settings of other mail programs |
//! | 0 domain | [`domain`], [`text`], [`error`] | terms and decisions: no I/O, no clock, no environment |
//!
//! # The path of a message
//!
//! 1. [`config`] resolves the account's settings; [`sys::lock`] keeps other pouches out. If root
//!    fetches for other users, a process of each user does all of the following
//!    ([`cli::users`]).
//! 2. [`fetch::connect`] opens a session on the host: [`net`] connects and starts TLS,
//!    [`pop3::login`] reads the greeting and logs in with the secret from [`sys::password`], unless
//!    [`domain::login`] decides that it is too early for that. What a refusal means, and what the
//!    user can do about it, is in [`domain::refusal`] and [`domain::provider`].
//! 3. The server lists its messages, while the [`ledger::Reader`] reads the known ones. If no
//!    message is known from this address, [`domain::identity`] decides which of the known mailboxes
//!    it leads to. [`domain::reconcile`] matches listed and known messages, and
//!    [`ledger::Ledger::admit`] gives each new message its row. **The name of its file is a
//!    function of the row** ([`domain::file_name`]): a file with that name proves that the row is
//!    delivered.
//! 4. If the account has rules, the headers of new messages are requested, and [`domain::rule`]
//!    decides which rule matches.
//! 5. [`domain::plan`] decides what to do to each message. It is one pure function: `pouch plan`
//!    takes these steps with a ledger that it can only read, ends here, and shows exactly what a
//!    run would do.
//! 6. [`pop3::retrieval`] requests messages ahead of the one being read, and verifies that each is
//!    the one that was requested. The message streams, decoded once ([`pop3::body`]), into a
//!    [`delivery::Draft`]. One for filters, with added fields ([`domain::trace_fields`]) or for
//!    several destinations is spooled, and the [`delivery::Router`] gives each destination its
//!    copy.
//! 7. A batch of drafts is made durable by a thread of its own, while the next ones arrive; then
//!    one commit records it ([`ledger::Ledger::record_delivered`]).
//! 8. The ledger gives a [`ledger::Proof`] for each message that may be deleted. Only the ledger
//!    can make one, and only a message with a proof is ever deleted.
//! 9. QUIT carries out the deletions; [`ledger::Ledger::record_deleted`] records that it did.
//!
//! Data moves one way, and each step returns a value that the next one takes; only the reporter
//! ([`event::Reporter`]) is called back.
//!
//! # Where a run may be interrupted
//!
//! | interrupted | server | disk | ledger | the next run |
//! | --- | --- | --- | --- | --- |
//! | while receiving, or before the file has its name in `new/` | has all | nothing, or a draft in `tmp/` | new | fetches it; removes its own drafts |
//! | after that, before the ledger's commit | has all | in `new/` | new | finds the name: delivered, no second copy |
//! | when one of several destinations has it | has all | in some of them | new | finds that copy; gives the others theirs |
//! | before the response to QUIT | may have deleted it | safe | delivered | finds it gone, or deletes it again |
//! | between a quarantine and its notice | has all | unchanged | quarantined, not reported | delivers the notice |
//! | after the notice, before the ledger's commit | has all | a notice | quarantined, not reported | finds the name: reported, no second notice |
//! | while a batch is appended to an mbox file | has all | a part of it; its journal has all | new | keeps complete messages, truncates a partial one |
//! | while a program or an LMTP server has it, or its notice | has all | unknown | delivering | delivers it again, and reports that |
//!
//! A run that stayed unsettled in the ledger makes the next one look for such files.
//!
//! # One bad message
//!
//! [`domain::blame`] decides whether the message, the connection, the server or the destination is
//! to blame for a failure, and charges a message with an attempt only on evidence. A message that
//! was *truncated* (the final dot is there, bytes are missing) is delivered, since it may be all
//! there is, and never deleted from the server: the ledger knows it as truncated before its file
//! can be seen. After so many attempts, in as many runs, a message is *quarantined*: a notice
//! reports it by mail, and it is tried again after 1, 2, 4 … 32 days.
//!
//! # Terms
//!
//! An *account* is a mailbox on a server together with its settings. Host, port and user are an
//! *address* of the mailbox. A *message* is identified by its *UID* (from UIDL) and has a *row* in
//! the *ledger*. A *listing* is what the server has now, a *plan* what to do with each message. A
//! *destination* gets messages; a *draft* is a message on its way there, a *batch* several that are
//! made durable together. *Retention* deletes delivered messages from the server. A *notice* is the
//! mail about the messages that a run quarantined.

#![forbid(unsafe_code)]
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "this documentation is read with its private items"
)]

pub mod cli;
pub mod config;
pub mod delivery;
pub mod discovery;
pub mod domain;
pub mod error;
pub mod event;
pub mod fetch;
pub mod import;
pub mod ledger;
pub mod net;
pub mod oauth;
pub mod pop3;
pub mod report;
pub mod sys;
pub mod text;
