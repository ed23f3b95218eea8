//! POP3 (RFC 1939, 2449, 2595, 3206, 5034): the words of the protocol, and a session.
//!
//! [`command`], [`reply`], [`body`] and [`sasl`] are pure; [`wire`] buffers a stream and
//! [`session`] speaks over it.

pub mod body;
pub mod command;
pub mod reply;
pub mod sasl;
pub mod session;
mod wire;

pub use wire::{Said, Trace};
