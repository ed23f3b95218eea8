//! The machine: clock, signals, locks, files and other programs.

pub mod clock;
pub mod files;
pub mod interrupt;
pub mod lock;
pub mod password;
pub mod process;
