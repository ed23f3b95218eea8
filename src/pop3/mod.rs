//! POP3 (RFC 1939, 2449, 2595, 3206, 5034): the protocol's grammar, and a session.
//!
//! [`command`], [`reply`], [`body`] and [`sasl`] are pure; [`connection`] buffers a stream, and
//! [`login`] and [`transaction`] talk over it, with [`retrieval`] for the messages themselves.

pub mod body;
pub mod command;
mod connection;
pub mod login;
pub mod reply;
pub mod retrieval;
pub mod sasl;
mod secrets;
pub mod transaction;
mod transfer_rate;
