//! The tests that drive the program as a user does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells why"
)]

mod add_headers;
mod chains;
mod delivery;
mod desk;
mod domain;
mod durability;
mod exactly_once;
mod failing_calls;
mod filters;
mod floors;
mod full_disk;
mod fuzz;
mod hostile;
mod killed;
mod lmtp;
mod lmtp_server;
mod mail_program;
mod mailbox_file;
mod manual;
mod many_accounts;
mod mdoc;
mod multidrop;
mod one_bad_message;
mod pipe;
mod places;
mod power_cut;
mod real;
mod real_servers;
mod remote_disk;
mod retention;
mod rules;
mod server;
mod standard_output;
mod sync_deletions;
mod system_roots;
mod terminal;
mod tool;
mod trouble;
mod uids;
mod user;
