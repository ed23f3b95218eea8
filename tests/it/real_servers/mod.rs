//! Delivery from real servers to a Maildir, with messages that the servers cannot read.

use std::{
    cell::Cell,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    fixture::DAY,
    real::{ALICE, ALICE_PASSWORD, BOB_PASSWORD, RealServer},
    server::corpus,
    support::{
        Home,
        mail::Mail,
        run::{Output, Run},
    },
};

mod damage;
mod keeping;
mod logins;
mod many;
mod ninth;
mod sasl;

/// A connection to a server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Line {
    Tls,
    StartTls,
    Clear,
}

/// Returns the current time.
#[expect(clippy::disallowed_methods, reason = "the servers have no other clock")]
fn seconds_since_1970() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A user's mailbox on a real server, fetched to `~/Mail/work`.
struct Mailbox<'a> {
    home: Home,
    server: &'a RealServer,
    user: &'static str,
    /// The time of its creation, in seconds: the servers write the real time into messages, and a
    /// clock that is behind it is recognised as wrong.
    created: i64,
    /// The number of runs so far.
    runs: Cell<i64>,
}

impl<'a> Mailbox<'a> {
    /// Creates a home directory for this mailbox, with `lines` in the account.
    fn new(server: &'a RealServer, user: &'static str, line: Line, lines: &str) -> Self {
        let mut mailbox = Self {
            home: Home::new(),
            server,
            user,
            created: seconds_since_1970(),
            runs: Cell::default(),
        };
        mailbox.home.write("password", password(user), 0o600);
        mailbox.move_to(server, line, lines);
        mailbox
    }

    /// Moves the account to another server: only the port changes.
    fn move_to(&mut self, server: &'a RealServer, line: Line, lines: &str) {
        self.server = server;
        self.home
            .config(&account("work", server, self.user, line, lines));
    }

    /// A run of pouch so many days after the mailbox was created, and 10 s after the one before:
    /// Courier announces that as its LOGIN-DELAY.
    fn at(&self, days: i64, args: &[&str]) -> Run {
        let now = self.created + days * DAY + 10 * self.runs.get();
        self.runs.set(self.runs.get() + 1);
        self.home.pouch(args).env("POUCH_NOW", now.to_string())
    }

    /// Fetches, and asserts the exit code.
    #[track_caller]
    fn fetch(&self, code: i32) -> Output {
        self.fetch_at(0, code)
    }

    #[track_caller]
    fn fetch_at(&self, days: i64, code: i32) -> Output {
        let output = self.at(days, &["fetch", "-v"]).run();
        output.assert_code(code);
        output
    }

    /// Fetches with `-vv`, which prints the session with the server.
    fn trace(&self) -> Output {
        self.at(0, &["fetch", "-vv"]).run()
    }

    /// Returns the number of messages in the server's store.
    #[track_caller]
    fn stored(&self) -> usize {
        self.server.count(self.user)
    }

    fn mail(&self) -> Mail {
        self.home.maildir("Mail/work")
    }

    /// Returns the number of each delivered message that is not a notice (0 if it has none), and
    /// whether it is complete. Some servers add fields or a blank line.
    fn delivered(&self) -> Vec<(usize, bool)> {
        let mail = self.mail();
        mail.assert_tidy();
        let mut numbers: Vec<_> = mail
            .delivered()
            .iter()
            .filter(|mail| !is_notice(&mail.bytes))
            .map(|mail| {
                let text = String::from_utf8_lossy(&mail.bytes);
                let number = text
                    .lines()
                    .find_map(|line| line.strip_prefix("Subject: Message ")?.parse().ok());
                // All fields except those that Cyrus adds or removes.
                let content = String::from_utf8(message(number.unwrap_or_default())).unwrap();
                let (_, own) = content.split_once("\nFrom: ").unwrap();
                (number.unwrap_or_default(), text.contains(own))
            })
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// Asserts that exactly these messages were delivered, each once and complete, except for
    /// notices.
    #[track_caller]
    fn assert_arrived(&self, numbers: impl IntoIterator<Item = usize>) {
        let expected: Vec<_> = numbers.into_iter().map(|n| (n, true)).collect();
        assert_eq!(self.delivered(), expected);
    }

    /// Like [`Mailbox::assert_arrived`], but the messages must be unchanged.
    #[track_caller]
    fn assert_bytes(&self, numbers: impl IntoIterator<Item = usize>) {
        let mail = self.mail();
        let notices = mail
            .delivered()
            .iter()
            .filter(|mail| is_notice(&mail.bytes))
            .map(|mail| mail.bytes.clone());
        let all: Vec<_> = numbers.into_iter().map(message).chain(notices).collect();
        mail.assert_exactly(&all).assert_tidy();
    }

    /// How many messages the notices describe.
    fn noticed(&self) -> usize {
        self.mail()
            .delivered()
            .iter()
            .filter(|mail| is_notice(&mail.bytes))
            .map(|mail| memchr::memmem::find_iter(&mail.bytes, b"\nMessage:  ").count())
            .sum()
    }
}

/// Returns the numbers of the messages on the server, by fetching them with a new home directory.
#[track_caller]
fn left(server: &RealServer, user: &'static str) -> Vec<usize> {
    let other = Mailbox::new(server, user, Line::Clear, "");
    other.fetch(0);
    other
        .delivered()
        .into_iter()
        .map(|(number, _)| number)
        .collect()
}

/// Returns the config of an account.
fn account(name: &str, server: &RealServer, user: &str, line: Line, lines: &str) -> String {
    let ca = || format!("tls-ca-file = \"{}\"", server.value("ca_file"));
    let (service, tls) = match line {
        Line::Tls => ("pop3s", ca()),
        Line::StartTls => ("pop3", format!("tls = \"starttls\"\n{}", ca())),
        Line::Clear => (
            "pop3",
            "tls = \"off\"\nallow-plaintext-password = true".to_owned(),
        ),
    };
    let timeout = if lines.contains("timeout = ") {
        ""
    } else {
        "timeout = \"2s\"\n"
    };
    let secret = if lines.contains("password-file = ") || lines.contains("external") {
        ""
    } else {
        "password-file = \"~/password\"\n"
    };
    format!(
        "[account.{name}]\nhost = \"localhost\"\nport = {}\nuser = \"{user}\"\nmaildir = \"~/Mail/{name}\"\n\
         {secret}{timeout}{tls}\n{lines}\n",
        server.port(service)
    )
}

fn password(user: &str) -> &'static str {
    if user == ALICE {
        ALICE_PASSWORD
    } else {
        BOB_PASSWORD
    }
}

/// Returns a message that is large enough for a bad disk block in the middle of it.
fn message(n: usize) -> Vec<u8> {
    corpus::sized(n, 30_000)
}

fn messages(numbers: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    numbers.into_iter().map(message).collect()
}

fn is_notice(message: &[u8]) -> bool {
    message.starts_with(b"From: \"pouch\" <pouch@")
}

/// Returns the number of commands with this beginning in a traced session.
fn commands(traced: &Output, verb: &str) -> usize {
    traced
        .stderr
        .lines()
        .filter(|line| line.contains(&format!("C: {verb}")))
        .count()
}
