//! Integration tests, which run the program as a user does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a failing test panics with an explanation"
)]

#[macro_use]
mod cases;

mod accounts_command;
mod add_headers;
mod adopt;
mod before;
mod cli_options;
mod conf_d;
mod connect_command;
#[cfg(feature = "system-tests")]
mod dashboard;
mod delivery;
mod destinations;
mod domain;
#[cfg(feature = "system-tests")]
mod durability;
mod exactly_once;
#[cfg(feature = "system-tests")]
mod failing_calls;
mod filters;
mod fixture;
#[cfg(feature = "system-tests")]
mod full_disk;
mod fuzz;
mod hostile;
mod identity;
mod import;
mod init;
#[cfg(feature = "system-tests")]
mod killed;
mod layers;
mod layout;
mod ledger_commands;
mod ledger_files;
mod lmtp;
mod lmtp_server;
mod login;
mod mail_program;
mod mailbox_file;
mod mailboxes;
#[cfg(feature = "system-tests")]
mod manifests;
mod manual;
mod manual_examples;
mod many_accounts;
mod mdoc;
mod monitoring;
mod multidrop;
#[cfg(feature = "system-tests")]
mod oauth;
mod odd_servers;
mod one_bad_message;
mod output;
mod own_machine;
#[cfg(feature = "system-tests")]
mod owners;
mod packaging;
#[cfg(feature = "system-tests")]
mod password_programs;
mod pipe;
#[cfg(feature = "system-tests")]
mod postfixadmin;
#[cfg(feature = "system-tests")]
mod power_cut;
mod proxy;
mod proxy_server;
#[cfg(feature = "system-tests")]
mod real;
#[cfg(feature = "system-tests")]
mod real_servers;
mod refusals;
#[cfg(feature = "system-tests")]
mod remote_disk;
mod report;
mod retention;
mod rules;
#[cfg(feature = "system-tests")]
mod sandbox;
mod sasl;
mod scale;
mod server;
mod standard_output;
mod status;
mod summary;
mod support;
mod sync_deletions;
#[cfg(feature = "system-tests")]
mod system_roots;
#[cfg(feature = "system-tests")]
mod terminal;
#[cfg(feature = "system-tests")]
mod third_party;
mod token_command;
mod trouble;
mod uids;
mod user;
#[cfg(feature = "system-tests")]
mod users;
mod waits;
