//! Real POP3 servers (`tests/servers`), each started for one test, on loopback.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::run::{Output, Run};

/// A user of every server.
pub const ALICE: &str = "alice";
/// The password of [`ALICE`].
pub const ALICE_PASSWORD: &str = "secret";
/// Another user of every server.
pub const BOB: &str = "bob";
/// The password of [`BOB`].
pub const BOB_PASSWORD: &str = "hunter2";

/// The time limit of a start, which may have to download the server's packages.
const PATIENCE: Duration = Duration::from_mins(5);

/// A running server, which is stopped when it is dropped.
#[derive(Debug)]
pub struct RealServer {
    launcher: PathBuf,
    dir: TempDir,
    values: HashMap<String, String>,
}

impl RealServer {
    /// Starts a server by the name of its launcher, with the launcher's options (`format=mbox`),
    /// and waits until it accepts connections.
    ///
    /// Panics if the server cannot be started.
    #[track_caller]
    pub fn start(name: &str, options: &[&str]) -> Self {
        let launcher = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/servers")
            .join(name);
        let dir = tempfile::Builder::new()
            .prefix("pouch-server-")
            .tempdir()
            .expect("a temporary directory");
        // Created before the start, so that a server that fails to start is also removed.
        let mut server = Self {
            launcher,
            dir,
            values: HashMap::new(),
        };
        let output = server.launch("start", options);
        let pairs = output
            .stdout
            .lines()
            .filter_map(|line| line.split_once('='));
        server.values = pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        server
    }

    /// Returns the port of `pop3` (with STLS, if the server supports TLS) or of `pop3s`.
    #[track_caller]
    pub fn port(&self, service: &str) -> u16 {
        let port = self.value(&format!("{service}_port"));
        port.parse().expect("a port is a number")
    }

    /// Returns a value that the launcher printed: `ca_file`, `cert_sha256`, `client_cert`,
    /// `client_key`, `host`, `log`, `pid`.
    #[track_caller]
    pub fn value(&self, key: &str) -> &str {
        let value = self.values.get(key);
        value.unwrap_or_else(|| panic!("{} has no {key}", self.launcher.display()))
    }

    /// Stores messages in this order, with the server's own delivery program.
    #[track_caller]
    pub fn inject(&self, user: &str, messages: &[impl AsRef<[u8]>]) {
        let letters = tempfile::tempdir().expect("a temporary directory");
        let mut args = vec![user.to_owned()];
        for (n, message) in messages.iter().enumerate() {
            let path = letters.path().join(n.to_string());
            fs::write(&path, message).expect("room for a message");
            args.push(path.display().to_string());
        }
        if args.len() > 1 {
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            self.launch("inject", &args);
        }
    }

    /// Damages the `n`-th of the stored messages, counted from 1. The kinds of damage and their
    /// effects are in `tests/servers/README.md`.
    ///
    /// Many kinds have an effect only if the server has listed the message before: see
    /// [`RealServer::look`].
    #[track_caller]
    pub fn poison(&self, user: &str, n: usize, kind: &str) {
        self.launch("poison", &[user, &n.to_string(), kind]);
    }

    /// Returns the number of messages in the server's store.
    #[track_caller]
    pub fn count(&self, user: &str) -> usize {
        let out = self.launch("count", &[user]);
        out.stdout.trim().parse().expect("a count is a number")
    }

    /// Runs a command in the namespaces of the server, with the server's paths.
    #[track_caller]
    pub fn exec(&self, command: &[&str]) -> Output {
        self.launch("exec", command)
    }

    /// Lists the mail in a session that changes nothing, so that the server has measured every
    /// message. Returns the listed sizes.
    #[track_caller]
    pub fn look(&self, user: &str) -> Vec<u64> {
        let password = match user {
            ALICE => ALICE_PASSWORD,
            BOB => BOB_PASSWORD,
            _ => panic!("there is no user {user}"),
        };
        dialogue::list(self.port("pop3"), user, password)
            .unwrap_or_else(|e| panic!("{}: {e}", self.launcher.display()))
    }

    #[track_caller]
    fn launch(&self, verb: &str, args: &[&str]) -> Output {
        let mut command = self.launcher(verb);
        command.args(args);
        let out = Run::of(command).within(PATIENCE).run();
        assert!(out.code == 0, "a real server failed\n{out}");
        out
    }

    fn launcher(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.launcher);
        command.arg(verb).arg(self.dir.path().join("instance"));
        command
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        let stopped = self.launcher("remove").output();
        // A second panic would abort the process. The server also ends after its time limit.
        assert!(
            thread::panicking() || stopped.as_ref().is_ok_and(|out| out.status.success()),
            "a real server does not stop: {stopped:?}"
        );
    }
}

/// A minimal POP3 client, to observe the behaviour of a server.
mod dialogue {
    use std::io::{self, BufRead, BufReader, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    /// A session after the login.
    pub struct Dialogue {
        lines: BufReader<TcpStream>,
    }

    impl Dialogue {
        /// Connects and logs in.
        pub fn login(port: u16, user: &str, password: &str) -> io::Result<Self> {
            let stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            let mut dialogue = Self {
                lines: BufReader::new(stream),
            };
            dialogue.line()?;
            dialogue.ask(&format!("USER {user}"))?;
            dialogue.ask(&format!("PASS {password}"))?;
            Ok(dialogue)
        }

        /// Sends a command, and asserts that the response is `+OK`.
        pub fn ask(&mut self, command: &str) -> io::Result<Vec<u8>> {
            let request = format!("{command}\r\n");
            self.lines.get_mut().write_all(request.as_bytes())?;
            let answer = self.line()?;
            if answer.starts_with(b"+OK") {
                return Ok(answer);
            }
            Err(io::Error::other(format!(
                "{command}: {}",
                answer.escape_ascii()
            )))
        }

        /// Returns the lines up to ".", and whether there was a "." before the end.
        pub fn text(&mut self) -> (Vec<Vec<u8>>, bool) {
            let mut text = Vec::new();
            while let Ok(line) = self.line() {
                if line == b".\r\n" {
                    return (text, true);
                }
                text.push(line);
            }
            (text, false)
        }

        fn line(&mut self) -> io::Result<Vec<u8>> {
            let mut line = Vec::new();
            match self.lines.read_until(b'\n', &mut line)? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(line),
            }
        }
    }

    /// Returns the sizes in the response to LIST.
    pub fn list(port: u16, user: &str, password: &str) -> io::Result<Vec<u64>> {
        let mut session = Dialogue::login(port, user, password)?;
        session.ask("LIST")?;
        let (lines, _) = session.text();
        session.ask("UIDL")?;
        session.text();
        session.ask("QUIT")?;
        let size = |line: &Vec<u8>| {
            let line = String::from_utf8_lossy(line);
            line.split_whitespace().nth(1)?.parse().ok()
        };
        Ok(lines.iter().filter_map(size).collect())
    }
}

/// Tests that the damaged servers fail as the other tests assume.
mod tests {
    use std::net::TcpStream;

    use super::dialogue::Dialogue;
    use super::*;

    fn messages() -> Vec<String> {
        (1..=10)
            .map(|n| {
                let line = format!("A line of message {n}, with some text to fill it.\r\n");
                let head = "From: a@example.org\r\nTo: alice@example.org";
                format!("{head}\r\nSubject: message {n}\r\n\r\n{}", line.repeat(600))
            })
            .collect()
    }

    /// Returns the response to RETR of the fourth message, whether it ended with ".", and its
    /// listed size.
    fn fourth(name: &str, options: &[&str], kind: &str) -> (usize, bool, usize) {
        let server = RealServer::start(name, options);
        server.inject(ALICE, &messages());
        let sizes = server.look(ALICE);
        assert_eq!((sizes.len(), server.count(ALICE)), (10, 10));
        server.poison(ALICE, 4, kind);
        let login = || Dialogue::login(server.port("pop3"), ALICE, ALICE_PASSWORD);
        let mut session = login().expect("a login");
        let (text, whole) = match session.ask("RETR 4") {
            Ok(_) => session.text(),
            Err(_) => (Vec::new(), false),
        };
        // The other messages are complete, in another session.
        let mut session = login().expect("a login");
        session.ask("RETR 5").expect("another message");
        assert!(session.text().1, "{name} {kind}");
        assert_eq!(server.count(ALICE), 10);
        let listed = usize::try_from(sizes[3]).expect("a small message");
        (text.concat().len(), whole, listed)
    }

    #[test]
    fn courier_closes_the_connection_in_a_message() {
        let (got, whole, listed) = fourth("courier", &[], "io-error");
        assert!(
            !whole && got > 4096 && got < listed,
            "{got} {whole} {listed}"
        );
    }

    #[test]
    fn dovecot_truncates_a_message() {
        let (got, whole, listed) = fourth("dovecot", &["format=maildir"], "io-error");
        assert!(
            whole && got > 4096 && got < listed,
            "{got} {whole} {listed}"
        );
    }

    #[test]
    fn dovecot_crashes_on_a_message() {
        let (got, whole, _) = fourth("dovecot", &["format=sdbox"], "garbage");
        assert!(!whole && got == 0, "{got} {whole}");
    }

    #[test]
    fn cyrus_refuses_one_message() {
        let (got, whole, _) = fourth("cyrus", &[], "unreadable");
        assert!(!whole && got == 0, "{got} {whole}");
    }

    cases! { each_server_starts_and_stops:
        dovecot("dovecot"),
        courier("courier"),
        cyrus("cyrus"),
        mailfront("mailfront"),
        popa3d("popa3d"),
        solidpop("solidpop"),
    }

    fn each_server_starts_and_stops(name: &str) {
        let server = RealServer::start(name, &[]);
        server.inject(BOB, &messages()[..2]);
        assert_eq!(server.look(BOB).len(), 2);
        assert_eq!((server.count(BOB), server.count(ALICE)), (2, 0));
        server.exec(&["true"]);
        let port = server.port("pop3");
        drop(server);
        TcpStream::connect(("127.0.0.1", port)).expect_err("it has stopped");
    }

    #[test]
    #[should_panic(expected = "unknown option")]
    fn a_start_that_fails_tells_why() {
        RealServer::start("popa3d", &["colour=blue"]);
    }
}
