//! Output on a real terminal, provided by tmux.

use insta::assert_snapshot;

use crate::{
    fixture::{DAY, Desk, NOW},
    server::{Server, corpus, on, on_connect},
    support::{
        redact::redact,
        watch::{holds_in_time, wait_for_change},
    },
};

/// The file with all output to the terminal, including erased text.
const RECORD: &str = "record";

/// A terminal in a tmux server of its own.
struct Terminal<'a> {
    desk: &'a Desk,
}

impl<'a> Terminal<'a> {
    fn open(desk: &'a Desk, width: u32) -> Self {
        let terminal = Self { desk };
        let width = width.to_string();
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &width,
            "-y",
            "20",
            "sh",
        ]);
        let record = desk.home.write(RECORD, "", 0o600);
        terminal.tmux(&["pipe-pane", &format!("cat > {}", record.display())]);
        terminal.type_line("PS1='> '; clear");
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let socket = self.desk.home.join("tmux");
        let all: Vec<_> = ["-S", socket.to_str().unwrap()]
            .iter()
            .chain(args)
            .copied()
            .collect();
        let output = self
            .desk
            .home
            .system_command("tmux", &all)
            .env("TERM", "xterm-256color")
            .run();
        output.assert_code(0);
        output.stdout
    }

    fn type_line(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.tmux(&["send-keys", "Enter"]);
    }

    /// Waits until the screen contains this text.
    #[track_caller]
    fn shows(&self, text: &str) -> String {
        let mut screen = String::new();
        // The text on the screen is in the record soon after.
        let shown = holds_in_time(&[self.desk.home.path()], || {
            screen = self.tmux(&["capture-pane", "-p"]);
            screen.contains(text)
        });
        assert!(shown, "no {text:?} on the screen:\n{screen}");
        screen
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let socket = self.desk.home.join("tmux");
        self.desk
            .home
            .system_command("tmux", &["-S", socket.to_str().unwrap(), "kill-server"])
            .run();
    }
}

#[test]
fn progress_is_shown_and_removed_at_the_end() {
    let desk = Desk::with(3, "timeout = \"60s\"", |server| {
        server
            .message("big", corpus::sized(9, 20_000_000))
            .fault(on("RETR").uid("big").nth(1).octets(15_000_000).silence())
    });
    let terminal = Terminal::open(&desk, 100);
    terminal.type_line(&format!(
        "{} fetch; echo ended $?",
        env!("CARGO_BIN_EXE_pouch")
    ));
    let screen = terminal.shows("MB/s");
    assert!(screen.contains('─') && screen.contains("of 4"), "{screen}");
    terminal.tmux(&["send-keys", "C-c"]);
    let screen = terminal.shows("work   3 new (1.2 KB) to ~/Mail/work");
    assert!(!screen.contains('\u{fffd}'), "{screen}");
    assert!(
        !screen.contains(['━', '─']) && !screen.contains("of 4"),
        "{screen}"
    );
    desk.assert_arrived(1..=3);
    terminal.type_line(&format!(
        "clear; {} fetch; echo ended $?",
        env!("CARGO_BIN_EXE_pouch")
    ));
    let screen = terminal.shows("ended 0");
    assert!(
        screen.contains("work   1 new (20.0 MB) to ~/Mail/work"),
        "{screen}"
    );
    assert!(!screen.contains(['━', '─']), "{screen}");
}

#[test]
fn progress_fits_a_narrow_terminal() {
    let desk = Desk::with(3, "timeout = \"60s\"", |server| {
        server
            .message("big", corpus::sized(9, 20_000_000))
            .fault(on("RETR").uid("big").nth(1).octets(15_000_000).silence())
    });
    let terminal = Terminal::open(&desk, 40);
    terminal.type_line(&format!(
        "{} fetch; echo ended $?",
        env!("CARGO_BIN_EXE_pouch")
    ));
    let screen = terminal.shows("0 of 4");
    assert!(!screen.contains(['━', '─']), "{screen}");
    terminal.tmux(&["send-keys", "C-c"]);
    let screen = terminal.shows("work   3 new");
    assert!(!screen.contains("of 4"), "{screen}");
}

#[test]
fn lines_fit_a_terminal_of_50_columns() {
    let desk = Desk::with(3, "timeout = \"60s\"", |server| {
        server
            .message("big", corpus::sized(9, 20_000_000))
            .fault(on("RETR").uid("big").nth(1).octets(15_000_000).silence())
    });
    let terminal = Terminal::open(&desk, 50);
    let pouch = env!("CARGO_BIN_EXE_pouch");
    terminal.type_line(&format!("export POUCH_NOW={NOW}; {pouch} fetch"));
    let screen = terminal.shows("of 20.0 MB");
    assert!(screen.contains("work   0 of 4   "), "{screen}");
    terminal.tmux(&["send-keys", "C-c"]);
    let screen = terminal.shows("\nwork   3 new");
    assert!(!screen.contains("of 4"), "{screen}");
    terminal.type_line(&format!("clear; {pouch} ledger show work x; echo ended $?"));
    assert_snapshot!(lines(&terminal.shows("ended 64"), 64), @"
    error: invalid value 'x' for '[MESSAGE]...': it
        must be a number, a range such as 3-7, or
        `all`; `pouch ledger list --all` shows the
        numbers

    For more information, try '--help'.
    ");
    terminal.type_line(&format!("clear; {pouch} ledger show work 9; echo ended $?"));
    assert_snapshot!(lines(&terminal.shows("ended 64"), 64), @"
    pouch: there is no message 9 in the ledger
    hint: run `pouch ledger list --all` to see the
        numbers
    ");
    terminal.type_line(&format!("clear; {pouch} status; echo ended $?"));
    assert_snapshot!(lines(&terminal.shows("ended 0"), 0), @"
    work   last run 2026-11-23 00:00, 3 new, 1.2 KB,
           interrupted; 1 waiting
    ");
}

#[test]
fn zsh_completes_paths_below_the_home_directory() {
    let desk = Desk::with(1, "", |server| server);
    desk.home.write("example.toml", "", 0o600);
    let terminal = Terminal::open(&desk, 100);
    let (dir, _) = env!("CARGO_BIN_EXE_pouch").rsplit_once('/').unwrap();
    terminal.type_line(&format!("PATH={dir}:$PATH exec zsh -f"));
    terminal.type_line("autoload -Uz compinit; compinit -D; source <(COMPLETE=zsh pouch)");
    terminal.type_line("PS1='$ '; clear; echo ready");
    terminal.shows("ready\n$");
    for option in ["-c ", "--config="] {
        terminal.tmux(&["send-keys", "-l", &format!("pouch {option}~/exa")]);
        terminal.tmux(&["send-keys", "Tab"]);
        terminal.shows(&format!("pouch {option}~/example.toml"));
        terminal.tmux(&["send-keys", "C-c"]);
    }
}

/// Returns the lines of a screen before that with the exit status.
fn lines(screen: &str, code: u8) -> String {
    let (lines, _) = screen.split_once(&format!("ended {code}")).unwrap();
    redact(lines)
}

#[test]
fn password_prompt_does_not_echo() {
    let desk = Desk::new(
        Server::plain()
            .user("ann", "open sesame")
            .messages(corpus::messages(2)),
        "",
    );
    let text = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    desk.home
        .config(&text.replace("password-file = \"~/password\"", ""));
    let terminal = Terminal::open(&desk, 100);
    terminal.type_line(&format!(
        "{} fetch; echo ended $?",
        env!("CARGO_BIN_EXE_pouch")
    ));
    terminal.shows("password of ann at 127.0.0.1:");
    terminal.type_line("open sesame");
    let screen = terminal.shows("ended 0");
    assert!(!screen.contains("open sesame"), "{screen}");
    assert!(screen.contains("work   2 new"), "{screen}");
}

#[test]
fn password_prompt_can_be_interrupted() {
    let desk = Desk::new(Server::plain(), "");
    let text = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    let text = text.replace("password-file = \"~/password\"", "");
    let other = text
        .replace("account.work", "account.home")
        .replace("\"ann\"", "\"ben\"");
    desk.home.config(&(text + &other));
    let terminal = Terminal::open(&desk, 100);
    terminal.type_line(&format!(
        "trap : INT; {} fetch; echo ended $?",
        env!("CARGO_BIN_EXE_pouch")
    ));
    terminal.shows("password of ann at 127.0.0.1:");
    terminal.tmux(&["send-keys", "C-c"]);
    let screen = terminal.shows("ended 130");
    assert!(!screen.contains("password of ben"), "{screen}");
    assert!(desk.server.log().count("") == 0);
}

#[test]
fn colour_needs_a_capable_terminal() {
    let desk = Desk::with(1, "retries = 0", |server| {
        server.fault(on("AUTH").refuse("-ERR [AUTH] \x1b[7mno"))
    });
    let terminal = Terminal::open(&desk, 100);
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let commands = [
        (format!("{pouch} fetch"), true),
        (format!("NO_COLOR=1 {pouch} fetch"), false),
        (format!("TERM=dumb {pouch} fetch"), false),
        (format!("{pouch} fetch --color never"), false),
        (format!("NO_COLOR=1 {pouch} fetch --color always"), true),
    ];
    for (turn, (command, coloured)) in commands.into_iter().enumerate() {
        terminal.type_line(&format!("clear; {command}; echo ended $? in turn {turn}"));
        terminal.shows(&format!("ended 77 in turn {turn}"));
        let screen = terminal.tmux(&["capture-pane", "-e", "-p"]);
        assert!(screen.contains("rejected the password"), "{screen}");
        assert_eq!(screen.contains('\x1b'), coloured, "{command}\n{screen}");
        assert!(!screen.contains("\x1b[7m"), "{screen}");
    }
}

#[test]
fn progress_can_be_turned_off() {
    for (setting, flag, seen, output) in [
        ("", "--progress auto", true, true),
        ("", "--progress never", false, true),
        ("TERM=dumb", "", false, true),
        ("", "-q", false, false),
    ] {
        let desk = Desk::with(3, "", |server| {
            let big = server.message("big", corpus::sized(9, 2_000_000));
            big.fault(on("RETR").uid("big").nth(1).octets(1_500_000).silence())
        });
        let terminal = Terminal::open(&desk, 100);
        terminal.type_line(&format!(
            "{setting} {} fetch {flag}; echo ended $?",
            env!("CARGO_BIN_EXE_pouch")
        ));
        let screen = terminal.shows("ended 0");
        assert_eq!(
            screen.contains("work   4 new (2.0 MB)"),
            output,
            "{setting} {flag}\n{screen}"
        );
        let mut written = String::new();
        wait_for_change(&[desk.home.path()], || {
            written = String::from_utf8_lossy(&desk.home.read(RECORD)).into_owned();
            written.contains("ended 0")
        });
        assert_eq!(
            written.contains('━') || written.contains("MB/s"),
            seen,
            "{setting} {flag}\n{written}"
        );
        assert_eq!(desk.mail().len(), 4);
    }
}

#[test]
fn silent_server_is_named_while_pouch_waits() {
    let desk = Desk::with(1, "timeout = \"60s\"", |server| {
        server.fault(on_connect().silence())
    });
    let terminal = Terminal::open(&desk, 50);
    terminal.type_line(&format!("{} fetch", env!("CARGO_BIN_EXE_pouch")));
    assert_snapshot!(redact(&terminal.shows("connecting")), @"
    > pouch fetch
    work   connecting to 127.0.0.1:PORT
    ");
    terminal.tmux(&["send-keys", "C-c"]);
    let screen = terminal.shows("work   nothing fetched");
    assert!(!screen.contains("connecting"), "{screen}");
}

#[test]
fn refused_password_is_tried_again_at_once_by_a_person() {
    let desk = Desk::with(1, "", |server| {
        server.fault(on("AUTH").refuse("-ERR [AUTH] no"))
    });
    desk.fetch(77);
    desk.fetch(77);
    let logins = desk.server.log().count("AUTH");
    assert_eq!(logins, 1, "the second run is too early");
    let terminal = Terminal::open(&desk, 100);
    terminal.type_line(&format!(
        "POUCH_NOW={NOW} {} fetch; echo ended $?",
        env!("CARGO_BIN_EXE_pouch")
    ));
    terminal.shows("ended 77");
    assert_eq!(desk.server.log().count("AUTH"), 2);
}

#[test]
fn problem_seen_at_a_terminal_is_reported_once_by_the_next_unattended_run() {
    let desk = Desk::with(1, "", |server| {
        server.fault(on("AUTH").refuse("-ERR [AUTH] no"))
    });
    let terminal = Terminal::open(&desk, 100);
    terminal.type_line(&format!(
        "POUCH_NOW={NOW} {} fetch; echo ended $?",
        env!("CARGO_BIN_EXE_pouch")
    ));
    terminal.shows("ended 77");
    assert_snapshot!(desk.pouch(&["status"]).run().assert_code(1).stdout_text(), @"work   failing since 2026-11-23 00:00: 127.0.0.1 rejected the password; last run 2026-11-23 00:00");
    assert_snapshot!(desk.fetch(77).stderr_text(), @"
    pouch: work: 127.0.0.1 rejected the password
      127.0.0.1 said: -ERR [AUTH] no
      refused once; the same password is not tried again before 2026-11-23 00:05
    hint: check the password in ~/password, then run `pouch check work`
    ");
    desk.fetch(77).assert_silent();
    desk.fetch_at(1, 77).assert_stderr("rejected the password");
}

#[test]
fn short_login_delay_is_waited_for_by_a_person() {
    let known = ["TOP", "UIDL", "USER", "LOGIN-DELAY 1"];
    let desk = Desk::with(1, "", |server| server.capabilities(&known, &known));
    desk.fetch(0);
    desk.fetch(75).assert_silent();
    let terminal = Terminal::open(&desk, 100);
    terminal.type_line(&format!(
        "POUCH_NOW={NOW} {} fetch; echo ended $?",
        env!("CARGO_BIN_EXE_pouch")
    ));
    terminal.shows("ended 0");
    assert_eq!(desk.server.log().connections(), 2);
}

#[test]
fn status_shows_the_messages_of_each_day_as_bars() {
    let desk = Desk::with(3, "", |server| server);
    desk.fetch(0);
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let now = NOW + 2 * DAY;
    let bars = |width, locale: &str| {
        let terminal = Terminal::open(&desk, width);
        terminal.type_line(&format!(
            "clear; env LC_ALL={locale} POUCH_NOW={now} {pouch} status; echo ended $?"
        ));
        let screen = terminal.shows("ended 0");
        let line = screen
            .lines()
            .find(|line| line.starts_with("work"))
            .unwrap();
        line.split("   ").nth(1).unwrap().to_owned()
    };
    assert_eq!(bars(120, "C.UTF-8"), format!("{}█··", "·".repeat(27)));
    assert_eq!(bars(80, "C.UTF-8"), format!("{}█··", "·".repeat(11)));
    assert_eq!(bars(80, "C"), "last run 2026-11-23 00:00, 3 new, 1.2 KB");
    assert_eq!(
        bars(60, "C.UTF-8"),
        "last run 2026-11-23 00:00, 3 new, 1.2 KB"
    );
}
