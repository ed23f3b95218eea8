//! Starting the user's browser.

use std::{io, process::Command};

use crate::sys::process::start_detached;

/// Returns whether the user would see a browser that is started here: there is a display, and the
/// session is not a remote one. `variable` reads the environment.
pub fn can_open_browser(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is_remote = ["SSH_CONNECTION", "SSH_TTY"].map(&variable);
    let displays = ["DISPLAY", "WAYLAND_DISPLAY"].map(&variable);
    is_remote.iter().all(Option::is_none) && displays.iter().any(Option::is_some)
}

/// Opens `url` in the user's browser, by the first of the usual programs that can be started. Does
/// not wait for it.
///
/// # Errors
/// None of them can be started.
pub fn open_browser(url: &str) -> io::Result<()> {
    let mut started = Err(io::ErrorKind::NotFound.into());
    for command in open::commands(url) {
        let command: Command = command;
        started = start_detached(command);
        if started.is_ok() {
            break;
        }
    }
    started
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browser_needs_a_display_on_this_machine() {
        let can =
            |set: &[&str]| can_open_browser(|name| set.contains(&name).then(|| "x".to_owned()));
        assert!(can(&["DISPLAY"]));
        assert!(can(&["WAYLAND_DISPLAY"]));
        assert!(!can(&[]));
        assert!(!can(&["DISPLAY", "SSH_CONNECTION"]));
    }
}
