//! The tests that drive the program as a user does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

mod desk;
mod exactly_once;
mod floors;
mod handing_over;
mod keeping;
mod manual;
mod one_bad_message;
mod real;
mod server;
mod tool;
