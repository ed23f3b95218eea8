//! The tests that drive the program as a user does.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test that fails panics, and tells why")]

mod desk;
mod durability;
mod exactly_once;
mod floors;
mod handing_over;
mod keeping;
mod manual;
mod one_bad_message;
mod real;
mod real_mailboxes;
mod server;
mod terminal;
mod tool;
mod trouble;
mod user;
