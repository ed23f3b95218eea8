//! The report on the activity of accounts: volume, failures, quarantine, retention and senders.
//!
//! The [`data`] are collected once, and written as text ([`text`]), as a page ([`page`]) or as
//! JSON. A run for several users collects them in several processes, so they can be read back from
//! JSON.
//!
//! # Why a page without scripts
//!
//! The page has personal data and text that strangers chose. It is one file that loads nothing and
//! runs nothing, and its policy (a `Content-Security-Policy` in the page) forbids both. The
//! templates are those of `maud`, which escapes every value that is not markup; a value of its own
//! type would have been needed otherwise, since one forgotten escape is enough.

pub mod data;
pub mod forecast;
pub mod page;
pub mod text;

mod buckets;
mod chart;
mod failures;
mod senders;
