//! A real terminal, by tmux.

use std::time::{Duration, Instant};

use crate::{
    desk::Desk,
    server::{Server, corpus, on},
};

/// A terminal of its own, with its own tmux server.
struct Terminal<'a> {
    desk: &'a Desk,
}

impl<'a> Terminal<'a> {
    fn open(desk: &'a Desk, width: u32) -> Self {
        let terminal = Self { desk };
        let width = width.to_string();
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &width, "-y", "20", "sh"]);
        terminal.type_line("PS1='> '; clear");
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let socket = self.desk.home.join("tmux");
        let all: Vec<_> = ["-S", socket.to_str().unwrap()].iter().chain(args).copied().collect();
        let output = self.desk.home.command("tmux", &all).env("TERM", "xterm-256color").run();
        output.assert_code(0);
        output.stdout
    }

    fn type_line(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.tmux(&["send-keys", "Enter"]);
    }

    /// Waits until the screen shows this.
    #[track_caller]
    fn shows(&self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            if screen.contains(text) {
                return screen;
            }
            assert!(Instant::now() < end, "no {text:?} on the screen:\n{screen}");
        }
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let socket = self.desk.home.join("tmux");
        self.desk.home.command("tmux", &["-S", socket.to_str().unwrap(), "kill-server"]).run();
    }
}

#[test]
fn progress_is_shown_and_goes_when_it_is_over() {
    let desk = Desk::with(3, "timeout = \"60s\"", |server| {
        server
            .message("big", corpus::sized(9, 20_000_000))
            .fault(on("RETR").uid("big").nth(1).octets(15_000_000).silence())
    });
    let terminal = Terminal::open(&desk, 100);
    terminal.type_line(&format!("{} fetch; echo ended $?", env!("CARGO_BIN_EXE_pouch")));
    let screen = terminal.shows("MB/s");
    assert!(screen.contains('─') && screen.contains("of 4"), "{screen}");
    terminal.tmux(&["send-keys", "C-c"]);
    let screen = terminal.shows("work   3 new, 1.2 KB, in ~/Mail/work");
    assert!(!screen.contains('\u{fffd}'), "{screen}");
    desk.assert_arrived(1..=3);
    terminal.type_line(&format!("clear; {} fetch; echo ended $?", env!("CARGO_BIN_EXE_pouch")));
    let screen = terminal.shows("ended 0");
    assert!(screen.contains("work   1 new, 20.0 MB, in ~/Mail/work"), "{screen}");
    assert!(!screen.contains(['━', '─']), "{screen}");
}

#[test]
fn a_narrow_terminal_is_wide_enough() {
    let desk = Desk::with(3, "timeout = \"60s\"", |server| {
        server
            .message("big", corpus::sized(9, 20_000_000))
            .fault(on("RETR").uid("big").nth(1).octets(15_000_000).silence())
    });
    let terminal = Terminal::open(&desk, 40);
    terminal.type_line(&format!("{} fetch; echo ended $?", env!("CARGO_BIN_EXE_pouch")));
    let screen = terminal.shows("0 of 4");
    assert!(!screen.contains(['━', '─']), "{screen}");
    terminal.tmux(&["send-keys", "C-c"]);
    terminal.shows("work   3 new");
}

#[test]
fn the_password_is_asked_for_and_not_shown() {
    let desk = Desk::new(Server::plain().user("ann", "open sesame").messages(corpus::messages(2)), "");
    let text = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    desk.home.config(&text.replace("password-file = \"~/password\"", ""));
    let terminal = Terminal::open(&desk, 100);
    terminal.type_line(&format!("{} fetch; echo ended $?", env!("CARGO_BIN_EXE_pouch")));
    terminal.shows("password of ann at 127.0.0.1:");
    terminal.type_line("open sesame");
    let screen = terminal.shows("ended 0");
    assert!(!screen.contains("open sesame"), "{screen}");
    assert!(screen.contains("work   2 new"), "{screen}");
}
