//! POP3 (RFC 1939, 2449, 2595, 3206, 5034): the words of the protocol, and a session.
//!
//! [`command`], [`reply`], [`body`] and [`sasl`] are pure; [`wire`] buffers a stream and
//! [`authorization`] and [`session`] speak over it, with [`retrieval`] for the messages themselves.

pub mod authorization;
pub mod body;
pub mod command;
pub mod reply;
pub mod retrieval;
pub mod sasl;
pub mod session;
mod wire;

/// A line of the session, for people: secrets are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// By pouch.
    Client(String),
    /// By the server; content of messages and listings is left out.
    Server(String),
}
