//! LMTP: each recipient gets a message once, from a scripted server and from Dovecot.

#[cfg(feature = "system-tests")]
use std::path::Path;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixListener,
};

use insta::assert_snapshot;

use crate::{
    fixture::Desk,
    lmtp_server::Lmtp,
    server::{Fault, Server, corpus, on},
};
#[cfg(feature = "system-tests")]
use crate::{
    real::{ALICE, ALICE_PASSWORD, BOB, BOB_PASSWORD, RealServer},
    support::Home,
};

const LINES: &str = "lmtp = \"unix:~/lmtp\"\nkeep = \"none\"\nnotice = false";

fn ordinary(numbers: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    numbers
        .into_iter()
        .map(|n| corpus::on_disk(&corpus::message(n)))
        .collect()
}

#[test]
fn unusual_mail_arrives_with_its_sender_over_one_connection() {
    for plain in [false, true] {
        let desk = Desk::new(Server::plain().messages(corpus::nasty()), LINES);
        let lmtp = Lmtp::at(&desk.home.join("lmtp"));
        if plain {
            lmtp.answer("LHLO", "250 scripted");
        }
        desk.fetch(0).assert_silent();
        let expected: Vec<_> = corpus::nasty()
            .iter()
            .map(|(_, content)| corpus::on_disk(content))
            .collect();
        lmtp.assert_arrived(&["ann"], &expected);
        // pouch does not wait for the response
        lmtp.wait_for("QUIT");
        assert_eq!((lmtp.calls("CONNECT"), desk.server.remaining()), (1, 0));
        let (eight_bit, size) = if plain { (0, 0) } else { (2, expected.len()) };
        assert_eq!(
            lmtp.log()
                .iter()
                .filter(|line| line.ends_with("BODY=8BITMIME"))
                .count(),
            eight_bit
        );
        assert_eq!(
            lmtp.log()
                .iter()
                .filter(|line| line.contains(" SIZE="))
                .count(),
            size
        );
        assert!(lmtp.calls("MAIL FROM:<ben@example.org>") >= 7 && lmtp.calls("MAIL FROM:<>") >= 5);
    }
}

#[test]
fn each_recipient_gets_each_message_once() {
    let desk = Desk::with(
        3,
        &format!("{LINES}\nlmtp-recipients = [\"ann\", \"ben@example.org\", \"cid\"]"),
        |server| server,
    );
    let lmtp = Lmtp::at(&desk.home.join("lmtp"));
    lmtp.answer("RCPT TO:<ben", "452 4.2.2 full \x1b[2J");
    lmtp.answer(".cid", "451 not now");
    let output = desk.pouch(&["fetch", "-v"]).run();
    assert_snapshot!(output.assert_code(75).stderr_text(), @"
    work: logged in at 127.0.0.1:PORT
    work: 3 listed, 3 to fetch
    pouch: work: the LMTP server at unix:~/lmtp temporarily rejected the message for ben@example.org, cid
      from Ben, subject: Message 1
      the server said for ben@example.org: 452 4.2.2 full �[2J
      the server said for cid: 451 not now
      message 1 left on the server; will retry in the next run
    pouch: work: the LMTP server at unix:~/lmtp temporarily rejected the message for ben@example.org, cid
      from Ben, subject: Message 2
      the server said for ben@example.org: 452 4.2.2 full �[2J
      the server said for cid: 451 not now
      message 2 left on the server; will retry in the next run
    pouch: work: the LMTP server at unix:~/lmtp temporarily rejected the message for ben@example.org, cid, 3 times in a row
      the server said for ben@example.org: 452 4.2.2 full �[2J
      the server said for cid: 451 not now
    work   nothing fetched
    ");
    assert_eq!(desk.server.remaining(), 3);
    lmtp.assert_arrived(&["ann"], &ordinary(1..=3));
    // A transient failure is not an attempt, and is not reported at once.
    for _ in 0..4 {
        desk.fetch(75).assert_silent();
    }
    lmtp.heal();
    lmtp.answer(".cid", "554 never");
    desk.fetch(75);
    lmtp.assert_arrived(&["ann", "ben@example.org"], &ordinary(1..=3));
    // If a recipient rejects everything, no message is to blame.
    for _ in 0..3 {
        desk.fetch(75);
    }
    assert_eq!(desk.server.remaining(), 3);
    lmtp.heal();
    desk.fetch(0);
    lmtp.assert_arrived(&["ann", "ben@example.org", "cid"], &ordinary(1..=3));
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn accepted_recipients_are_not_repeated_after_a_lost_connection() {
    let desk = Desk::with(
        2,
        &format!("{LINES}\nlmtp-recipients = [\"ann\", \"ben\"]"),
        |server| server,
    );
    let lmtp = Lmtp::at(&desk.home.join("lmtp"));
    lmtp.answer(".ben", "");
    desk.fetch(75).assert_silent();
    lmtp.assert_arrived(&["ann"], &ordinary(1..=2));
    lmtp.heal();
    desk.fetch(0).assert_silent();
    lmtp.assert_arrived(&["ann", "ben"], &ordinary(1..=2));
    assert_eq!(desk.server.remaining(), 0);
}

each_fault!(message_that_cannot_be_fetched_is_not_delivered, 2);

fn message_that_cannot_be_fetched_is_not_delivered(fault: Fault) {
    let desk = Desk::with(3, LINES, |server| server.fault(fault));
    let lmtp = Lmtp::at(&desk.home.join("lmtp"));
    desk.fetch(75).assert_silent();
    lmtp.assert_arrived(&["ann"], &ordinary([1, 3]));
    assert_eq!(desk.server.uids(), ["uid-2"]);
    desk.server.heal("uid-2");
    desk.fetch(0).assert_silent();
    lmtp.assert_arrived(&["ann"], &ordinary(1..=3));
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn silent_lmtp_server_times_out() {
    let desk = Desk::with(1, &format!("{LINES}\npipe-timeout = \"1s\""), |server| {
        server
    });
    let listener = UnixListener::bind(desk.home.join("lmtp")).unwrap();
    let output = desk.pouch(&["fetch", "-v"]).run();
    assert_snapshot!(output.assert_code(75).stderr_text(), @"
    work: logged in at 127.0.0.1:PORT
    work: 1 listed, 1 to fetch
    pouch: work: the connection to the LMTP server at unix:~/lmtp was lost
      no response within `pipe-timeout`
    work   nothing fetched
    ");
    drop(listener);
}

#[test]
fn closed_lmtp_connection_is_reopened() {
    let desk = Desk::with(5, LINES, |server| server);
    let lmtp = Lmtp::at(&desk.home.join("lmtp"));
    // In the middle of the content: it is unknown whether the message was accepted.
    lmtp.answer(".ann", "");
    assert_snapshot!(desk.pouch(&["fetch", "-v"]).run().assert_code(75).stderr_text(), @"
    work: logged in at 127.0.0.1:PORT
    work: 5 listed, 5 to fetch
    pouch: work: the connection to the LMTP server at unix:~/lmtp was lost
      from Ben, subject: Message 1
      the server closed it
      message 1 left on the server; will retry in the next run
    pouch: work: the connection to the LMTP server at unix:~/lmtp was lost
      from Ben, subject: Message 2
      the server closed it
      message 2 left on the server; will retry in the next run
    pouch: work: the connection to the LMTP server at unix:~/lmtp was lost, 3 times in a row
      the server closed it
    work   nothing fetched
    ");
    assert_eq!(desk.server.remaining(), 5);
    lmtp.heal();
    desk.fetch(0);
    lmtp.assert_arrived(&["ann"], &ordinary(1..=5));
    // Between two messages.
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
fn without_an_lmtp_server_nothing_is_fetched() {
    let desk = Desk::with(3, LINES, |server| server);
    let output = desk.pouch(&["fetch", "-v"]).run();
    assert_snapshot!(output.assert_code(75).stderr_text(), @"
    work: logged in at 127.0.0.1:PORT
    work: 3 listed, 3 to fetch
    pouch: work: cannot connect to the LMTP server at unix:~/lmtp
      No such file or directory
    hint: check that the server is running, and that its socket is ~/lmtp
    work   nothing fetched
    ");
    assert_snapshot!(desk.pouch(&["check"]).run().assert_code(75).stdout_text(), @"
    ledger   ok    ~/.local/state/pouch
    secret   ok    ~/password, N s
    connect  ok    127.0.0.1:PORT (127.0.0.1), N ms
    login    ok    PLAIN
    server   ok    UIDL TOP PIPELINING; 3 messages
    deliver  failed
    sandbox  (as the kernel allows)
    ");
    let lmtp = Lmtp::at(&desk.home.join("lmtp"));
    lmtp.answer("LHLO", "500 what?");
    assert_snapshot!(desk.fetch(69).stderr_text(), @"
    pouch: work: the LMTP server at unix:~/lmtp rejected the session
      the server said: 500 what?
    ");
    lmtp.answer("LHLO", "421 busy");
    desk.fetch(75).assert_silent();
    // Each run requested one message and received none.
    lmtp.assert_arrived(&[], &[]);
    assert_eq!(desk.server.remaining(), 3);
    lmtp.heal();
    assert_snapshot!(desk.pouch(&["check"]).run().assert_code(0).stdout_text(), @"
    ledger   ok    ~/.local/state/pouch
    secret   ok    ~/password, N s
    connect  ok    127.0.0.1:PORT (127.0.0.1), N ms
    login    ok    PLAIN
    server   ok    UIDL TOP PIPELINING; 3 messages
    deliver  ok    the LMTP server at unix:HOME/lmtp, offers PIPELINING 8BITMIME SIZE 1000000; for ann
    sandbox  (as the kernel allows)
    ");
    desk.fetch(0);
    lmtp.assert_arrived(&["ann"], &ordinary(1..=3));
}

#[test]
fn message_above_the_lmtp_size_limit_is_not_sent() {
    let desk = Desk::with(2, LINES, |server| {
        server.message("big", corpus::sized(9, 1_200_000))
    });
    let lmtp = Lmtp::at(&desk.home.join("lmtp"));
    assert_snapshot!(desk.pouch(&["fetch", "-v"]).run().assert_code(75).stderr_text(), @"
    work: logged in at 127.0.0.1:PORT
    work: 3 listed, 3 to fetch
    pouch: work: the message is larger than the LMTP server at unix:~/lmtp accepts
      from Ben, subject: Message 9
      it has 1200000 bytes, the limit is 1000000
      message 3 left on the server, attempt 1 of 3
      2 other messages delivered
    work   2 new (764 B) to the LMTP server at unix:HOME/lmtp; 2 deleted; 1 message failed
    ");
    lmtp.assert_arrived(&["ann"], &ordinary(1..=2));
    assert_eq!(desk.server.uids(), ["big"]);
}

#[test]
fn notice_is_delivered_once_the_lmtp_server_is_back() {
    let desk = Desk::with(2, "lmtp = \"unix:~/lmtp\"\nattempts = 2", |server| {
        server.fault(on("RETR").uid("uid-1").refuse("-ERR damaged"))
    });
    let socket = desk.home.join("lmtp");
    let before = Lmtp::at(&socket);
    desk.fetch(75);
    before.assert_arrived(&["ann"], &ordinary([2]));
    fs::remove_file(&socket).unwrap();
    assert_snapshot!(desk.fetch(65).stderr_text(), @"
    pouch: work: 127.0.0.1 refused to send message 1
      from Ben, subject: Message 1
      127.0.0.1 said: -ERR damaged
      quarantined after it failed 2 times; other messages are not affected
    hint: run `pouch ledger show work 1` for details
    ");
    let lmtp = Lmtp::at(&socket);
    // The notice was not sent to the server, so it is not reported as possibly duplicated.
    desk.fetch(0).assert_silent();
    desk.fetch(0).assert_silent();
    let mail = lmtp.mail();
    assert_eq!((mail.len(), mail[0].0.as_str()), (1, "ann"));
    assert!(mail[0].1.starts_with(b"From: \"pouch\""));
}

#[test]
fn interrupted_lmtp_delivery_is_repeated() {
    let desk = Desk::with(2, LINES, |server| server);
    // The program waits for a response forever.
    let listener = UnixListener::bind(desk.home.join("lmtp")).unwrap();
    let mut child = desk.pouch(&["fetch"]).spawn();
    let (stream, _) = listener.accept().unwrap();
    let mut out = &stream;
    out.write_all(b"220 x\r\n250 x\r\n250 x\r\n250 x\r\n250 x\r\n354 x\r\n")
        .unwrap();
    BufReader::new(&stream)
        .lines()
        .map_while(Result::ok)
        .find(|line| line == ".")
        .unwrap();
    child.kill();
    child.wait();
    drop(listener);
    std::fs::remove_file(desk.home.join("lmtp")).unwrap();
    let lmtp = Lmtp::at(&desk.home.join("lmtp"));
    assert_snapshot!(desk.fetch(0).stderr_text(), @"
    pouch: work: an earlier run was interrupted while delivering message 1
      delivering it again; it may be duplicated
    ");
    lmtp.assert_arrived(&["ann"], &ordinary(1..=2));
}

#[test]
fn missing_or_forbidden_socket_gets_a_hint() {
    let desk = Desk::with(1, "lmtp = \"unix:~/lmtp\"", |server| server);
    assert_snapshot!(desk.pouch(&["check"]).run().assert_code(75).transcript(), @"
    $ pouch check
      ledger   ok    ~/.local/state/pouch
      secret   ok    ~/password, N s
      connect  ok    127.0.0.1:PORT (127.0.0.1), N ms
      login    ok    PLAIN
      server   ok    UIDL TOP PIPELINING; 1 message
      deliver  failed
      sandbox  (as the kernel allows)
    ------- stderr -------
    pouch: work: cannot connect to the LMTP server at unix:~/lmtp
      No such file or directory
    hint: check that the server is running, and that its socket is ~/lmtp
    [exit code: 75]
    ");
}

#[cfg(feature = "system-tests")]
#[test]
fn dovecot_accepts_mail_by_socket_and_port() {
    let server = RealServer::start("dovecot", &["lmtp=yes"]);
    // Dovecot's POP3 server splits a message that begins with a dot in two.
    let odd = |name: &str| matches!(name, "bare-cr" | "nul" | "dot-alone");
    let messages: Vec<_> = corpus::nasty()
        .into_iter()
        .filter(|(name, _)| !odd(name))
        .collect();
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
    let expected: Vec<_> = alice
        .maildir("Mail")
        .delivered()
        .iter()
        .map(|mail| mail.bytes.clone())
        .collect();
    for place in [
        format!("unix:{}", socket.display()),
        format!("localhost:{}", server.port("lmtp")),
    ] {
        let alice = home(
            ALICE,
            ALICE_PASSWORD,
            &format!("lmtp = \"{place}\"\nlmtp-recipients = [\"{BOB}\"]"),
        );
        alice
            .pouch(&["check"])
            .run()
            .assert_code(0)
            .assert_stdout("PIPELINING");
        alice.pouch(&["fetch"]).run().assert_code(0).assert_silent();
    }
    assert_eq!(server.count(BOB), 2 * messages.len());
    let bob = home(BOB, BOB_PASSWORD, "maildir = \"~/Mail\"");
    bob.pouch(&["fetch"]).run().assert_code(0);
    // Dovecot adds Return-Path and Received.
    let got = bob.maildir("Mail");
    for message in &expected {
        let copies = got
            .delivered()
            .iter()
            .filter(|mail| mail.bytes.ends_with(message))
            .count();
        assert!(copies >= 2, "{}", message.escape_ascii());
    }
    // An unknown recipient.
    let alice = home(
        ALICE,
        ALICE_PASSWORD,
        &format!(
            "lmtp = \"unix:{}\"\nlmtp-recipients = [\"{BOB}\", \"nobody\"]\nlimit = 1",
            socket.display()
        ),
    );
    for _ in 0..2 {
        alice
            .pouch(&["fetch", "-v"])
            .run()
            .assert_code(75)
            .assert_stderr("the server said for nobody:");
    }
    assert_eq!(server.count(BOB), 2 * messages.len() + 2);
}
