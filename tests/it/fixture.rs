//! The fixture of most tests: an account on a scripted server, in a temporary home.

use std::path::PathBuf;

use mail_parser::MessageParser;

use crate::{
    server::{Server, Setup, corpus},
    support::{
        Home,
        mail::Mail,
        run::{Output, Run},
    },
};

/// The time at which tests begin: 2026-11-23 00:00 UTC.
pub const NOW: i64 = 1_795_392_000;
/// A day, in seconds.
pub const DAY: i64 = 86_400;

/// The account `work` of `ann` on a scripted server, delivered to `~/Mail/work`.
pub struct Desk {
    /// The home directory in which pouch runs.
    pub home: Home,
    /// The server of the account.
    pub server: Server,
}

impl Desk {
    /// Starts a server, and creates an account with these lines in its config.
    pub fn new(setup: Setup, lines: &str) -> Self {
        let desk = Self {
            home: Home::new(),
            server: setup.start(),
        };
        desk.configure(lines);
        desk
    }

    /// Starts a plain server with the messages 1 to `count`, and creates an account. `more` changes
    /// the server.
    pub fn with(count: usize, lines: &str, more: impl FnOnce(Setup) -> Setup) -> Self {
        Self::new(
            more(Server::plain().messages(corpus::messages(count))),
            lines,
        )
    }

    /// Replaces the lines of the account.
    pub fn configure(&self, lines: &str) {
        let elsewhere = ["maildir = ", "mbox = ", "pipe = ", "lmtp = "]
            .iter()
            .any(|key| lines.contains(key));
        let place = if elsewhere {
            ""
        } else {
            "maildir = \"~/Mail/work\"\n"
        };
        let timeout = if lines.contains("timeout = ") {
            ""
        } else {
            "timeout = \"1s\"\n"
        };
        self.home.write("password", "secret\n", 0o600);
        self.home.config(&format!(
            "[account.work]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"ann\"\n\
             password-file = \"~/password\"\ntls = \"off\"\nallow-plaintext-password = true\n{timeout}{place}{lines}\n",
            self.server.port()
        ));
    }

    /// Returns a run of pouch at [`NOW`].
    pub fn pouch(&self, args: &[&str]) -> Run {
        self.at(0, args)
    }

    /// Returns a run of pouch at [`NOW`] plus a number of days.
    pub fn at(&self, days: i64, args: &[&str]) -> Run {
        self.home
            .pouch(args)
            .env("POUCH_NOW", (NOW + days * DAY).to_string())
    }

    /// Fetches at [`NOW`], and asserts the exit code.
    #[track_caller]
    pub fn fetch(&self, code: i32) -> Output {
        self.fetch_at(0, code)
    }

    /// Fetches at [`NOW`] plus a number of days, and asserts the exit code.
    #[track_caller]
    pub fn fetch_at(&self, days: i64, code: i32) -> Output {
        let output = self.at(days, &["fetch"]).run();
        output.assert_code(code);
        output
    }

    /// Fetches under strace, with manipulated system calls.
    #[cfg(feature = "system-tests")]
    pub fn traced(&self, inject: &str) -> Output {
        let call = inject.split(':').next().unwrap();
        let (trace, inject) = (format!("trace={call}"), format!("inject={inject}"));
        let pouch = env!("CARGO_BIN_EXE_pouch");
        let run = [
            "-f", "-qq", "-o", "calls", "-e", &trace, "-e", &inject, pouch, "fetch",
        ];
        self.home
            .system_command("strace", &run)
            .env("POUCH_NOW", NOW.to_string())
            .run()
    }

    /// Returns the path of the account's ledger.
    pub fn ledger(&self) -> PathBuf {
        Home::ledger(&self.home.state())
    }

    /// Returns the mail in the Maildir.
    pub fn mail(&self) -> Mail {
        self.home.maildir("Mail/work")
    }

    /// Asserts that each of the messages `numbers` was delivered once, and nothing else except
    /// notices.
    #[track_caller]
    pub fn assert_arrived(&self, numbers: impl IntoIterator<Item = usize>) {
        let expected: Vec<_> = numbers
            .into_iter()
            .map(|n| corpus::on_disk(&corpus::message(n)))
            .collect();
        let mail = self.mail();
        let notices = mail
            .delivered()
            .iter()
            .filter(|mail| is_notice(&mail.bytes))
            .map(|mail| mail.bytes.clone());
        let all: Vec<_> = expected.iter().cloned().chain(notices).collect();
        mail.assert_exactly(&all).assert_tidy();
    }

    /// Returns the notices in the Maildir.
    pub fn notices(&self) -> Vec<Vec<u8>> {
        let mail = self.mail();
        mail.delivered()
            .iter()
            .filter(|mail| is_notice(&mail.bytes))
            .map(|mail| mail.bytes.clone())
            .collect()
    }

    /// There is one notice, and it describes the messages `numbers` and no others.
    #[track_caller]
    pub fn assert_one_notice(&self, numbers: &[usize]) {
        let notices = self.notices();
        assert_eq!(notices.len(), 1);
        let notice = MessageParser::default().parse(&notices[0]).unwrap();
        let text = notice.body_text(0).unwrap();
        let expected: Vec<_> = numbers
            .iter()
            .map(|n| format!("Subject:  Message {n}"))
            .collect();
        let described: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("Subject:"))
            .collect();
        assert_eq!(described, expected);
    }

    /// How often the server was asked for messages.
    pub fn retrieved(&self) -> usize {
        self.server.log().count("RETR")
    }
}

fn is_notice(message: &[u8]) -> bool {
    message.starts_with(b"From: \"pouch\" <pouch@")
}
