//! The tests that drive the program as a user does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a test that fails panics, and tells why"
)]

#[macro_use]
mod cases;

mod add_headers;
#[cfg(feature = "system-tests")]
mod chains;
mod cli_options;
mod delivery;
mod desk;
mod domain;
#[cfg(feature = "system-tests")]
mod durability;
mod exactly_once;
#[cfg(feature = "system-tests")]
mod failing_calls;
mod filters;
#[cfg(feature = "system-tests")]
mod full_disk;
mod fuzz;
mod hostile;
#[cfg(feature = "system-tests")]
mod killed;
mod layers;
mod layout;
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
#[cfg(feature = "system-tests")]
mod power_cut;
#[cfg(feature = "system-tests")]
mod real;
#[cfg(feature = "system-tests")]
mod real_servers;
#[cfg(feature = "system-tests")]
mod remote_disk;
mod retention;
mod rules;
mod server;
mod standard_output;
mod status;
mod summary;
mod sync_deletions;
#[cfg(feature = "system-tests")]
mod system_roots;
#[cfg(feature = "system-tests")]
mod terminal;
mod tool;
mod trouble;
mod uids;
mod user;
