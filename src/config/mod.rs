//! The config: what the user wrote, and what follows from it.
//!
//! [`schema`] declares the keys: one row each, with type, default and texts. [`mod@toml`] reads the
//! file ([`mod@file`]) into tables of them. [`resolve`] lays the layers over one another and makes
//! an [`Account`] of each; [`conflicts`] knows which keys exclude each other, [`rules`] makes rules
//! of their tables, and [`overrides`] applies the flags of the command line. [`provenance`] records
//! where each value came from. [`url`] makes an account of a URL, without a file.
//!
//! [`value`] reads and writes the types of values, with the notations of [`syntax`] and
//! [`destination_spec`]. Mistakes are worded in [`diagnostic`] and drawn by [`snippet`];
//! [`migration_hints`] knows the words of other fetchers. [`sample`] writes a config with all keys.

pub mod account;
mod conflicts;
mod destination_spec;
mod diagnostic;
mod file;
mod migration_hints;
pub mod overrides;
pub mod provenance;
pub mod resolve;
mod rules;
pub mod sample;
pub mod schema;
mod snippet;
pub mod syntax;
pub mod toml;
pub mod url;
pub mod value;

pub use account::{
    Account, ClientCertificate, Config, Quirk, RequestAhead, SecretSource, Tls, Trust,
};

#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod testing;
