//! The program: asks the library to do it all, and ends as it says.

use std::process::ExitCode;

fn main() -> ExitCode {
    pouch::cli::complete();
    let (exit, signal) = pouch::cli::run(std::env::args_os());
    if let Some(signal) = signal {
        // ends the process by that very signal, as those who sent it expect
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
    ExitCode::from(exit.0)
}
