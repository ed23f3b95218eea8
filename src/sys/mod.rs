//! The operating system: clock, signals, locks, files, passwords and other programs.

pub mod clock;
pub mod files;
pub mod https;
pub mod interrupt;
pub mod lock;
pub mod machine;
pub mod owner;
pub mod password;
pub mod process;
pub mod sandbox;
pub mod user;
