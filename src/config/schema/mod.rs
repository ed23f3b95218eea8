//! The keys of the config: one row per key, from which everything else is derived.
//!
//! A row holds the name of a key, its type, its default, a comment for the sample and a paragraph
//! for the manual. To add a key, add a row in [`account`] or [`rule`], and use its value in
//! [`super::resolve`] (the compiler knows its type). From the rows come
//!
//! * the parser: [`Slot::set`], called by [`super::toml`],
//! * the default layer: [`Table::defaults`],
//! * `pouch config sample`: [`super::sample`],
//! * `pouch config show`: [`Table::settings`],
//! * the lists of keys in pouch-config(5), which a test generates.
//!
//! The type of a row says what happens if the key is missing. A key of type `Option<T>` is
//! optional. A key of type `T` must be set, unless its row has a default.
//!
//! Each table exists in two forms. In the form as written (such as [`AccountTable`]), every field
//! is an `Option`, with the place where it was set: tables of this form are laid over one another.
//! In the complete form (such as [`AccountValues`]), the fields have the types of the rows.

mod account;
mod key;
mod rule;
mod scope;
mod table;

pub use account::{AccountTable, AccountValues, TopTable, TopValues};
pub use key::{Choice, Group, Key, Scope};
pub use rule::{MultidropTable, MultidropValues, RuleTable, RuleValues};
pub use table::{Field, Slot, Table, TypeMismatch};

#[cfg(test)]
mod tests;
