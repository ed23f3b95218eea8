//! Signing in with OAuth 2.0 (RFC 6749): access tokens instead of passwords.
//!
//! `pouch login` signs in once, by [`code`] or [`device`], and [`store`] keeps the tokens. A run
//! takes the access token from there, and renews it when it is about to expire ([`access_token`]).
//! What differs between providers is in one table, [`provider`]; what a refusal means is in
//! another one, [`refusal`].
//!
//! # What must not happen
//!
//! Many issuers rotate refresh tokens: a refresh token is valid once, the response contains the
//! next one, and a second use of the first one revokes the whole grant. So a token is spent only
//! under a lock that all processes of pouch share, and only once it is certain that the next token
//! can be written; that one is durable before the access token is used. A crash between the
//! issuer's response and the write loses the grant; no client can avoid that.
//!
//! A token appears in no message, event or ledger. Messages quote the issuer's `error` and
//! `error_description` only.
//!
//! # Crates
//!
//! HTTP is `ureq` with native-tls, so that the program has one TLS library and trusts the system's
//! authorities. The crate `oauth2` was rejected: it solves none of the above and adds more than 40
//! crates, for requests that are forms with five fields.

mod browser;
mod code;
mod device;
mod discovery;
mod http;
mod listener;
mod paste;
mod pkce;
mod provider;
mod refusal;
mod response;
mod revocation;
mod settings;
mod store;
mod token;

pub use crate::sys::https::{Roots, Via, proxy_port};
pub use browser::{can_open_browser, open_browser};
pub use code::CodeFlow;
pub use device::DeviceFlow;
pub use discovery::discover;
pub use http::Client;
pub use response::CodeResponse;
pub use revocation::forget;
pub use settings::Settings;
pub use store::{SignIn, Store, access_token};
pub use token::Tokens;
