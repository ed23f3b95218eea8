//! The types of config values: how each is read from TOML, and written back as TOML.
//!
//! A type refuses a value with three things: what a value of the type looks like
//! ([`Value::EXPECTED`]), what was found instead, and, if the mistake is a known one, a hint.

mod list;
mod read;
mod scalar;
mod table;

pub use list::Recipients;
pub(super) use read::{Name, in_order, is_zero, list_of, quoted};
pub use read::{Unexpected, Value};
pub use table::{Action, Destinations, Fields, Names, Routes};
