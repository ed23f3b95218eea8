//! The terms and decisions of mail fetching: no I/O, no clock, no environment.

pub mod adopt;
pub mod auth;
pub mod blame;
pub mod destination;
pub mod file_name;
pub mod identity;
pub mod ids;
pub mod login;
pub mod mail_address;
pub mod mail_server;
pub mod message;
pub mod multidrop;
pub mod notice;
pub mod pattern;
pub mod plan;
pub mod provider;
mod quantity;
pub mod reconcile;
pub mod refusal;
pub mod routing;
pub mod rule;
pub mod schedule;
pub mod seen;
pub mod shard;
pub mod size;
pub mod time;
pub mod trace_fields;
