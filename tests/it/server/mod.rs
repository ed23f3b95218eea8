//! A POP3 server that does what a test tells it to.
//!
//! It keeps mail as RFC 1939 wants it kept: numbers belong to a session, DELE marks, QUIT alone
//! removes, a lost connection removes nothing. So a test asserts what matters: what the server
//! *still has*. What goes wrong is told by [`Fault`]s, and each is a sentence in three parts:
//! when ([`on`] a command, perhaps for one message, perhaps the third time), what is said
//! instead of the honest answer, and what happens then.
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
//! How it is built: a command line goes through `state` under one lock and comes out as
//! octets to write and a thing to do next; that part is pure. `conversation` reads, writes and
//! closes; `listener` starts a thread a connection and joins them all at the end. Nothing
//! sleeps: who waits, waits for octets or for a condition variable.

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
    setup::Setup,
};
