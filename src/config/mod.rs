//! The config: the accounts, and the settings for each.
//!
//! Values come in layers: the built-in default, `[defaults]`, `[account.NAME]`, and the command
//! line, each overriding the one before. A table as written keeps `Option`s with their positions
//! until all layers are merged, so that `pouch config show` can print the line that set each value,
//! and an error can point at both of two conflicting keys.
//!
//! [`schema`] declares the keys: one row each, with type, default and texts. [`mod@toml`] reads the
//! file ([`mod@file`]) into tables of them. [`resolve`] merges the layers and creates an
//! [`Account`] of each; [`conflicts`] checks which keys exclude each other, [`rules`] creates rules
//! from their tables, and [`overrides`] applies the flags of the command line. [`provenance`]
//! records where each value came from. [`url`] creates an account from a URL, without a file.
//!
//! [`value`] reads and writes the types of values, with the notations of [`syntax`] and
//! [`destination_spec`] and [`route`]. [`diagnostic`] creates the error messages, [`snippet`]
//! the excerpts from the file; [`mistakes`] collects them; [`migration_hints`] maps the keys of
//! other mail fetchers. [`sample`] writes a config with all keys,
//! and [`mod@write`] adds accounts to a config.

pub mod account;
pub mod conf_d;
mod conflicts;
mod destination_spec;
mod diagnostic;
mod file;
pub mod list;
mod migration_hints;
mod mistakes;
pub mod oauth;
pub mod overrides;
pub mod provenance;
pub mod resolve;
pub mod route;
mod rules;
pub mod sample;
pub mod schema;
mod snippet;
pub mod syntax;
mod taken;
pub mod toml;
pub mod url;
pub mod value;
pub mod write;

pub use account::{
    Account, Author, ClientCertificate, Config, GivenPassword, Quirk, RequestAhead, SecretSource,
    Tls, Trust,
};
pub use diagnostic::name_fault;
pub use route::{ConnectCommand, Proxy, ProxyProtocol, ProxyServer, host_and_port};
pub use taken::Taken;

#[cfg(test)]
mod testing;
