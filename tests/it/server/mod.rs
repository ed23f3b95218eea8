//! A scripted POP3 server.
//!
//! It implements RFC 1939: numbers belong to a session, DELE marks messages, only QUIT removes
//! them, and a lost connection removes nothing. So a test asserts what matters: the messages that
//! remain on the server. Failures are described by [`Fault`]s with three parts: the condition
//! ([`on`] a command, for instance for one message, or the third time), the response in place of
//! the correct one, and an action after it.
//!
//! ```text
//! let server = Server::plain()
//!     .messages(corpus::messages(10))
//!     .fault(on("RETR").uid("uid-9").octets(100).cut().times(2))
//!     .start();
//! // … run the client against 127.0.0.1, server.port() …
//! server.wait_for(|log| log.count("QUIT") == 1);
//! assert_eq!(server.uids(), ["uid-9"]);
//! ```
//!
//! Design: `state` handles each command line under one lock and returns the bytes to write and the
//! next action; this part is pure. `conversation` reads, writes and closes; `listener` starts a
//! thread for each connection and joins all threads at the end. Nothing sleeps: threads wait for
//! data or for a condition variable.

#![allow(
    dead_code,
    reason = "included by the tests and by an example: neither uses all of it"
)]
#![allow(
    clippy::must_use_candidate,
    clippy::missing_panics_doc,
    clippy::return_self_not_must_use,
    reason = "test support: a panic is how a test fails"
)]

mod certificate;
mod conversation;
pub mod corpus;
mod fault;
mod handle;
mod listener;
mod log;
mod maildrop;
mod reply;
mod sasl;
#[cfg(test)]
mod selftest;
mod session;
mod setup;
mod state;
mod wire;

#[allow(unused_imports, reason = "as above: each user takes what it needs")]
pub use self::{
    certificate::Certificate,
    fault::{Fault, on, on_connect, on_response},
    handle::Server,
    log::{Log, SessionLog},
    sasl::ScramFault,
    setup::Setup,
};
