//! `pouch import`: accounts and fetched messages of other mail programs.

mod accounts;
mod files;
#[cfg(feature = "system-tests")]
mod programs;
mod seen;
