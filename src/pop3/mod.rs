//! A POP3 client (RFC 1939, 2449, 2595, 3206, 5034).
//!
//! [`command`], [`reply`], [`body`], [`sasl`], [`secrets`] and [`transfer_rate`] do no I/O.
//! [`connection`] sends commands and reads responses, which [`read_buffer`] divides into lines.
//! [`login`] and [`transaction`] are the states of a session, [`listing`] lists the mailbox,
//! [`retrieval`] requests messages, and [`refused`] has the errors of refused logins.
//!
//! Whether a server's behaviour is tolerated is decided next to the line that reads it, and named
//! there: a server that breaks the RFC is common, and each tolerance has to be justified by one.

pub mod body;
pub mod command;
mod connection;
pub mod listing;
pub mod login;
mod login_failure;
mod read_buffer;
pub mod refused;
pub mod reply;
pub mod retrieval;
pub mod sasl;
mod secrets;
pub mod transaction;
mod transfer_rate;
