//! The `pouch` program, which passes the command line to the library and exits with its status.

use std::process::ExitCode;

use pouch::net::SystemRoots;

fn main() -> ExitCode {
    pouch::sys::process::disable_core_dumps();
    pouch::cli::complete();
    let roots = SystemRoots::find();
    if roots.is_some() {
        hide_system_bundle();
    }
    let (exit, signal) = pouch::cli::run(std::env::args_os(), roots);
    if let Some(signal) = signal {
        pouch::sys::interrupt::end_process(signal);
    }
    ExitCode::from(exit.0)
}

/// Keeps native-tls from reading the file with all authorities of the system; see [`SystemRoots`].
#[allow(unsafe_code, reason = "the one place that changes the environment")]
fn hide_system_bundle() {
    // SAFETY: `main` calls this before any thread is started, so nothing else reads or writes the
    // environment meanwhile.
    unsafe { std::env::set_var(SystemRoots::VARIABLE, SystemRoots::EMPTY) };
}
