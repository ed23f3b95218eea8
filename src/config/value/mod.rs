//! The types of config values: how each is read from TOML, and written back as TOML.
//!
//! A type rejects a value with the description of a valid value ([`Value::EXPECTED`]), that of the
//! invalid one and, if the mistake is a common one, a hint.

mod list;
mod oauth;
mod read;
mod scalar;
mod table;

pub use list::Recipients;
pub(super) use read::{Name, in_order, is_zero, list_of, quoted};
pub use read::{Unexpected, Value};
pub use table::{Action, Destinations, Fields, Names, Routes};
