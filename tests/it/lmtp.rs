//! LMTP: each recipient once, by a scripted server and by Dovecot's.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixListener,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::{
    desk::Desk,
    real::{ALICE, ALICE_PASSWORD, BOB, BOB_PASSWORD, RealServer},
    server::{Server, corpus},
    tool::Home,
};

/// A server that takes mail, and answers as it is told.
#[derive(Clone, Default)]
struct Lmtp(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    /// What is answered instead of `250`: to a command that begins like this, to the content for
    /// `.RECIPIENT`, to RSET behind a message for `AGAIN`. An empty answer closes the connection.
    answers: HashMap<&'static str, &'static str>,
    /// Each message with its recipient, in the order of arrival, with LF line ends.
    mail: Vec<(String, Vec<u8>)>,
    /// Commands, and `CONNECT` for each connection.
    log: Vec<String>,
}

impl Lmtp {
    /// Listens at `~/lmtp` of the desk.
    fn at(desk: &Desk) -> Self {
        let lmtp = Self::default();
        let listener = UnixListener::bind(desk.home.join("lmtp")).unwrap();
        let own = lmtp.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (own, stream) = (own.clone(), stream.unwrap());
                thread::spawn(move || own.serve(&stream));
            }
        });
        lmtp
    }

    fn answer(&self, command: &'static str, answer: &'static str) {
        self.0.lock().unwrap().answers.insert(command, answer);
    }

    /// What is said to a command.
    fn says(&self, command: &str, usual: &str) -> String {
        let script = self.0.lock().unwrap();
        let told = script.answers.iter().find(|(begin, _)| command.starts_with(**begin));
        told.map_or_else(|| usual.to_owned(), |(_, answer)| (*answer).to_owned())
    }

    fn serve(&self, stream: &std::os::unix::net::UnixStream) -> Option<()> {
        self.0.lock().unwrap().log.push("CONNECT".into());
        let mut out = stream;
        let mut say = |line: &str| if line.is_empty() { None } else { write!(out, "{line}\r\n").ok() };
        let mut lines = BufReader::new(stream).split(b'\n').map_while(Result::ok);
        say(&self.says("CONNECT", "220 scripted"))?;
        let mut recipients = Vec::new();
        let mut served = false;
        while let Some(line) = lines.next() {
            let command = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.0.lock().unwrap().log.push(command.clone());
            match command.split([' ', ':']).next() {
                Some("LHLO") => {
                    say(&self.says(&command, "250-scripted\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 1000000"))?;
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
                        recipients.push(command["RCPT TO:<".len()..].trim_end_matches('>').to_owned());
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
                            self.0.lock().unwrap().mail.push((recipient.clone(), message.clone()));
                        }
                        say(&answer)?;
                    }
                }
                _ => return None,
            }
        }
        None
    }

    fn calls(&self, begin: &str) -> usize {
        self.0.lock().unwrap().log.iter().filter(|line| line.starts_with(begin)).count()
    }

    /// Waits until such a command came; half a minute is far too long.
    #[track_caller]
    fn wait_for(&self, begin: &str) {
        let end = Instant::now() + Duration::from_secs(30);
        while self.calls(begin) == 0 {
            assert!(Instant::now() < end, "{begin} never came");
            thread::yield_now();
        }
    }

    /// These recipients have each of the messages once, and nobody has anything else.
    #[track_caller]
    fn assert_arrived(&self, recipients: &[&str], messages: &[Vec<u8>]) {
        let mail = &self.0.lock().unwrap().mail;
        for recipient in recipients {
            for message in messages {
                let copies = mail.iter().filter(|(to, mail)| to == recipient && mail == message).count();
                assert_eq!(copies, 1, "{recipient}: {}", String::from_utf8_lossy(message));
            }
        }
        assert_eq!(mail.len(), recipients.len() * messages.len());
    }
}

const LINES: &str = "lmtp = \"unix:~/lmtp\"\nkeep = \"none\"\nnotice = false";

fn ordinary(numbers: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    numbers.into_iter().map(|n| corpus::on_disk(&corpus::message(n))).collect()
}

#[test]
fn nasty_mail_arrives_with_its_sender_over_one_connection() {
    for plain in [false, true] {
        let desk = Desk::new(Server::plain().messages(corpus::nasty()), LINES);
        let lmtp = Lmtp::at(&desk);
        if plain {
            lmtp.answer("LHLO", "250 scripted");
        }
        desk.fetch(0).assert_silent();
        let expected: Vec<_> = corpus::nasty().iter().map(|(_, content)| corpus::on_disk(content)).collect();
        lmtp.assert_arrived(&["ann"], &expected);
        // nobody waits for the answer to it
        lmtp.wait_for("QUIT");
        assert_eq!((lmtp.calls("CONNECT"), desk.server.remaining()), (1, 0));
        let (eight_bit, size) = if plain { (0, 0) } else { (2, expected.len()) };
        assert_eq!(lmtp.0.lock().unwrap().log.iter().filter(|line| line.ends_with("BODY=8BITMIME")).count(), eight_bit);
        assert_eq!(lmtp.0.lock().unwrap().log.iter().filter(|line| line.contains(" SIZE=")).count(), size);
        assert!(lmtp.calls("MAIL FROM:<ben@example.org>") >= 7 && lmtp.calls("MAIL FROM:<>") >= 5);
    }
}

#[test]
fn each_recipient_has_each_message_once_whatever_the_others_say() {
    let desk =
        Desk::with(3, &format!("{LINES}\nlmtp-recipients = [\"ann\", \"ben@example.org\", \"cid\"]"), |server| server);
    let lmtp = Lmtp::at(&desk);
    lmtp.answer("RCPT TO:<ben", "452 4.2.2 full \x1b[2J");
    lmtp.answer(".cid", "451 not now");
    let told = desk.pouch(&["fetch", "-v"]).run();
    told.assert_code(75).assert_stderr("it said of ben@example.org: 452 4.2.2 full \u{fffd}[2J");
    told.assert_stderr("it said of cid: 451 not now");
    assert_eq!(desk.server.remaining(), 3);
    lmtp.assert_arrived(&["ann"], &ordinary(1..=3));
    // what may pass is no attempt, and says nothing before it has lasted
    for _ in 0..4 {
        desk.fetch(75).assert_silent();
    }
    lmtp.0.lock().unwrap().answers.clear();
    lmtp.answer(".cid", "554 never");
    desk.fetch(75);
    lmtp.assert_arrived(&["ann", "ben@example.org"], &ordinary(1..=3));
    desk.fetch(75);
    desk.fetch(65).assert_stderr("does not take the message for cid").assert_stderr("it failed 3 times");
    assert_eq!(desk.server.remaining(), 3);
    lmtp.0.lock().unwrap().answers.clear();
    desk.pouch(&["ledger", "retry", "work"]).run().assert_code(0);
    desk.fetch(0);
    lmtp.assert_arrived(&["ann", "ben@example.org", "cid"], &ordinary(1..=3));
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn who_said_yes_before_the_line_was_lost_is_not_asked_again() {
    let desk = Desk::with(2, &format!("{LINES}\nlmtp-recipients = [\"ann\", \"ben\"]"), |server| server);
    let lmtp = Lmtp::at(&desk);
    lmtp.answer(".ben", "");
    desk.fetch(75).assert_silent();
    lmtp.assert_arrived(&["ann"], &ordinary(1..=2));
    lmtp.0.lock().unwrap().answers.clear();
    desk.fetch(0).assert_silent();
    lmtp.assert_arrived(&["ann", "ben"], &ordinary(1..=2));
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn an_lmtp_server_that_falls_silent_is_given_up() {
    let desk = Desk::with(1, &format!("{LINES}\npipe-timeout = \"1s\""), |server| server);
    let listener = UnixListener::bind(desk.home.join("lmtp")).unwrap();
    let told = desk.pouch(&["fetch", "-v"]).run();
    told.assert_code(75).assert_stderr("it was silent for longer than `pipe-timeout`");
    drop(listener);
}

#[test]
fn a_connection_that_the_server_ends_is_made_again() {
    let desk = Desk::with(5, LINES, |server| server);
    let lmtp = Lmtp::at(&desk);
    // in the middle: nobody knows whether the message was taken
    lmtp.answer(".ann", "");
    desk.pouch(&["fetch", "-v"]).run().assert_code(75).assert_stderr("was lost").assert_stderr("3 times in a row");
    assert_eq!(desk.server.remaining(), 5);
    lmtp.0.lock().unwrap().answers.clear();
    desk.fetch(0);
    lmtp.assert_arrived(&["ann"], &ordinary(1..=5));
    // between two messages
    for n in 6..=7 {
        desk.server.add(corpus::uid(n), corpus::message(n));
    }
    lmtp.answer("AGAIN", "");
    let before = lmtp.calls("CONNECT");
    desk.fetch(0).assert_silent();
    lmtp.assert_arrived(&["ann"], &ordinary(1..=7));
    assert_eq!(lmtp.calls("CONNECT"), before + 2);
}

#[test]
fn where_nobody_takes_mail_none_is_fetched() {
    let desk = Desk::with(3, LINES, |server| server);
    let told = desk.pouch(&["fetch", "-v"]).run();
    told.assert_code(75).assert_stderr("the LMTP server at unix:").assert_stderr("is not there");
    desk.pouch(&["check"]).run().assert_code(75).assert_stdout("deliver  failed");
    let lmtp = Lmtp::at(&desk);
    lmtp.answer("LHLO", "500 what?");
    desk.fetch(69).assert_stderr("takes no mail by LMTP").assert_stderr("it said: 500 what?");
    lmtp.answer("LHLO", "421 busy");
    desk.fetch(75).assert_silent();
    // one message was asked for in each run, and none of them was received
    lmtp.assert_arrived(&[], &[]);
    assert_eq!(desk.server.remaining(), 3);
    lmtp.0.lock().unwrap().answers.clear();
    desk.pouch(&["check"]).run().assert_code(0).assert_stdout("offers PIPELINING 8BITMIME SIZE 1000000; for ann");
    desk.fetch(0);
    lmtp.assert_arrived(&["ann"], &ordinary(1..=3));
}

#[test]
fn what_is_too_large_for_the_server_is_not_sent() {
    let desk = Desk::with(2, LINES, |server| server.message("big", corpus::sized(9, 1_200_000)));
    let lmtp = Lmtp::at(&desk);
    desk.pouch(&["fetch", "-v"]).run().assert_code(75).assert_stderr("takes no message of more than 1000000 octets");
    lmtp.assert_arrived(&["ann"], &ordinary(1..=2));
    assert_eq!(desk.server.uids(), ["big"]);
}

#[test]
fn a_message_is_handed_over_again_if_pouch_is_killed_meanwhile() {
    let desk = Desk::with(2, LINES, |server| server);
    // it waits for an answer for ever
    let listener = UnixListener::bind(desk.home.join("lmtp")).unwrap();
    let mut child = desk.pouch(&["fetch"]).spawn();
    let (stream, _) = listener.accept().unwrap();
    let mut out = &stream;
    out.write_all(b"220 x\r\n250 x\r\n250 x\r\n250 x\r\n250 x\r\n354 x\r\n").unwrap();
    BufReader::new(&stream).lines().map_while(Result::ok).find(|line| line == ".").unwrap();
    child.kill();
    child.wait();
    drop(listener);
    std::fs::remove_file(desk.home.join("lmtp")).unwrap();
    let lmtp = Lmtp::at(&desk);
    desk.fetch(0).assert_stderr("killed while a program had a message");
    lmtp.assert_arrived(&["ann"], &ordinary(1..=2));
}

#[test]
fn dovecot_takes_it_by_socket_and_by_port() {
    let server = RealServer::start("dovecot", &["lmtp=yes"]);
    // a message that begins with a dot comes out of Dovecot's POP3 as two
    let odd = |name: &str| matches!(name, "bare-cr" | "nul" | "dot-alone");
    let messages: Vec<_> = corpus::nasty().into_iter().filter(|(name, _)| !odd(name)).collect();
    let messages: Vec<_> = messages.into_iter().map(|(_, content)| content).collect();
    server.inject(ALICE, &messages);
    let home = |user: &str, password: &str, place: &str| {
        let home = Home::new();
        home.write("password", format!("{password}\n"), 0o600);
        home.config(&format!(
            "[account.{user}]\nhost = \"localhost\"\nport = {}\ntls-ca-file = \"{}\"\nuser = \"{user}\"\n\
             password-file = \"~/password\"\n{place}\n",
            server.port("pop3s"),
            server.value("ca_file"),
        ));
        home
    };
    let socket = Path::new(server.value("log")).with_file_name("run/dovecot/lmtp");
    let alice = home(ALICE, ALICE_PASSWORD, "maildir = \"~/Mail\"");
    alice.pouch(&["fetch"]).run().assert_code(0);
    let expected: Vec<_> = alice.maildir("Mail").delivered().iter().map(|mail| mail.bytes.clone()).collect();
    for place in [format!("unix:{}", socket.display()), format!("localhost:{}", server.port("lmtp"))] {
        let alice = home(ALICE, ALICE_PASSWORD, &format!("lmtp = \"{place}\"\nlmtp-recipients = [\"{BOB}\"]"));
        alice.pouch(&["check"]).run().assert_code(0).assert_stdout("PIPELINING");
        alice.pouch(&["fetch"]).run().assert_code(0).assert_silent();
    }
    assert_eq!(server.count(BOB), 2 * messages.len());
    let bob = home(BOB, BOB_PASSWORD, "maildir = \"~/Mail\"");
    bob.pouch(&["fetch"]).run().assert_code(0);
    // Dovecot puts Return-Path and Received in front
    let got = bob.maildir("Mail");
    for message in &expected {
        let copies = got.delivered().iter().filter(|mail| mail.bytes.ends_with(message)).count();
        assert!(copies >= 2, "{}", message.escape_ascii());
    }
    // somebody whom it does not know
    let alice = home(
        ALICE,
        ALICE_PASSWORD,
        &format!("lmtp = \"unix:{}\"\nlmtp-recipients = [\"{BOB}\", \"nobody\"]\nlimit = 1", socket.display()),
    );
    for _ in 0..2 {
        alice.pouch(&["fetch", "-v"]).run().assert_code(75).assert_stderr("it said of nobody:");
    }
    assert_eq!(server.count(BOB), 2 * messages.len() + 2);
}
