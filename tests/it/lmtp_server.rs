//! A scripted LMTP server.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixListener,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

/// A server that accepts mail, with scripted responses.
#[derive(Clone, Default)]
pub struct Lmtp(Arc<Shared>);

#[derive(Default)]
struct Shared {
    script: Mutex<Script>,
    /// Notified of each entry of the log.
    logged: Condvar,
}

#[derive(Default)]
struct Script {
    /// The responses other than `250`, by the beginning of the command, by `.RECIPIENT` for the
    /// content, and by `AGAIN` for RSET after a message. An empty response closes the connection.
    answers: HashMap<&'static str, &'static str>,
    /// Each message with its recipient, in the order of arrival, with LF line endings.
    mail: Vec<(String, Vec<u8>)>,
    /// Commands, and `CONNECT` for each connection.
    log: Vec<String>,
}

impl Lmtp {
    /// Starts a server that listens on this socket.
    pub fn at(socket: &Path) -> Self {
        let lmtp = Self::default();
        let listener = UnixListener::bind(socket).unwrap();
        let own = lmtp.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (own, stream) = (own.clone(), stream.unwrap());
                thread::spawn(move || own.serve(&stream));
            }
        });
        lmtp
    }

    /// Starts a server that listens on a TCP port, and returns the port.
    #[cfg(feature = "system-tests")]
    pub fn on_port() -> (Self, u16) {
        let lmtp = Self::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = lmtp.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (own, stream) = (own.clone(), stream.unwrap());
                thread::spawn(move || own.serve(&stream));
            }
        });
        (lmtp, port)
    }

    /// Sets the response to a command, as in [`Script::answers`].
    pub fn answer(&self, command: &'static str, answer: &'static str) {
        self.script().answers.insert(command, answer);
    }

    /// Restores the usual responses.
    pub fn heal(&self) {
        self.script().answers.clear();
    }

    /// Returns the log: commands, and `CONNECT` for each connection.
    pub fn log(&self) -> Vec<String> {
        self.script().log.clone()
    }

    /// Returns the response to a command.
    fn says(&self, command: &str, usual: &str) -> String {
        let script = self.script();
        let scripted = script
            .answers
            .iter()
            .find(|(begin, _)| command.starts_with(**begin));
        scripted.map_or_else(|| usual.to_owned(), |(_, answer)| (*answer).to_owned())
    }

    fn serve<'a, S>(&self, stream: &'a S) -> Option<()>
    where
        &'a S: Read + Write,
    {
        self.record("CONNECT");
        let mut out = stream;
        let mut say = |line: &str| {
            if line.is_empty() {
                None
            } else {
                write!(out, "{line}\r\n").ok()
            }
        };
        let mut lines = BufReader::new(stream).split(b'\n').map_while(Result::ok);
        say(&self.says("CONNECT", "220 scripted"))?;
        let mut recipients = Vec::new();
        let mut served = false;
        while let Some(line) = lines.next() {
            let command = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.record(&command);
            match command.split([' ', ':']).next() {
                Some("LHLO") => {
                    say(&self.says(
                        &command,
                        "250-scripted\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 1000000",
                    ))?;
                }
                Some("RSET") => say(&self.says(if served { "AGAIN" } else { "RSET" }, "250 fine"))?,
                Some("MAIL") => {
                    recipients.clear();
                    say(&self.says(&command, "250 fine"))?;
                }
                Some("RCPT") => {
                    let answer = self.says(&command, "250 fine");
                    say(&answer)?;
                    if answer.starts_with('2') {
                        recipients.push(
                            command["RCPT TO:<".len()..]
                                .trim_end_matches('>')
                                .to_owned(),
                        );
                    }
                }
                Some("DATA") => {
                    say("354 go on")?;
                    served = true;
                    let mut message = Vec::new();
                    for line in lines.by_ref().take_while(|line| line != b".\r") {
                        let line = line.strip_suffix(b"\r").expect("CRLF alone ends a line");
                        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
                        message.push(b'\n');
                    }
                    for recipient in &recipients {
                        let answer = self.says(&format!(".{recipient}"), "250 taken");
                        if answer.starts_with('2') {
                            self.script()
                                .mail
                                .push((recipient.clone(), message.clone()));
                        }
                        say(&answer)?;
                    }
                }
                _ => return None,
            }
        }
        None
    }

    /// Returns the number of commands with this beginning.
    pub fn calls(&self, begin: &str) -> usize {
        self.log()
            .iter()
            .filter(|line| line.starts_with(begin))
            .count()
    }

    /// Waits for a command with this beginning, for at most half a minute.
    #[track_caller]
    pub fn wait_for(&self, begin: &str) {
        let (script, outcome) = self
            .0
            .logged
            .wait_timeout_while(self.script(), Duration::from_secs(30), |script| {
                !script.log.iter().any(|line| line.starts_with(begin))
            })
            .unwrap();
        drop(script);
        assert!(!outcome.timed_out(), "{begin} never came");
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.script.lock().unwrap()
    }

    fn record(&self, line: &str) {
        self.script().log.push(line.to_owned());
        self.0.logged.notify_all();
    }

    /// Asserts that these recipients got each of the messages once, and no others.
    #[track_caller]
    pub fn assert_arrived(&self, recipients: &[&str], messages: &[Vec<u8>]) {
        let mail = &self.script().mail;
        for recipient in recipients {
            for message in messages {
                let copies = mail
                    .iter()
                    .filter(|(to, mail)| to == recipient && mail == message)
                    .count();
                assert_eq!(
                    copies,
                    1,
                    "{recipient}: {}",
                    String::from_utf8_lossy(message)
                );
            }
        }
        assert_eq!(mail.len(), recipients.len() * messages.len());
    }

    /// Returns the delivered messages, each with its recipient.
    pub fn mail(&self) -> Vec<(String, Vec<u8>)> {
        self.script().mail.clone()
    }

    /// Delivered messages with their recipients, for comparison in any order.
    #[track_caller]
    pub fn assert_exactly(&self, expected: &[(&str, &[u8])]) {
        let mut expected: Vec<_> = expected
            .iter()
            .map(|(to, mail)| ((*to).to_owned(), mail.to_vec()))
            .collect();
        let mut mail = self.mail();
        expected.sort();
        mail.sort();
        assert_eq!(mail, expected);
    }
}
