//! Ten messages, of which the server cannot read the ninth.

use super::{Line, Mailbox, commands, messages};
use crate::real::{ALICE, BOB, RealServer};

fn all_but_the_ninth() -> impl Iterator<Item = usize> {
    (1..=10).filter(|n| *n != 9)
}

/// A shell command that sets `$mail` to the path of the ninth message on the server.
fn at_the_ninth(server: &RealServer, user: &str, script: &str) {
    let find = format!(
        "mail=$(find /mnt/mail/{user}/Maildir/new /mnt/mail/{user}/Maildir/cur -mindepth 1 -printf '%f\\t%p\\n' | \
         LC_ALL=C sort | sed -n 9p | cut -f 2); "
    );
    server.exec(&["sh", "-ec", &format!("{find}{script}")]);
}

/// Runs pouch from the first run to the run after the message was repaired.
#[track_caller]
fn the_ninth(server: &RealServer, user: &'static str, line: Line, kind: &str, said: &str) {
    server.inject(user, &messages(1..=10));
    at_the_ninth(
        server,
        user,
        &format!("cp -p \"$mail\" /mnt/mail/{user}/spare"),
    );
    server.poison(user, 9, kind);
    let mailbox = Mailbox::new(server, user, line, "");
    mailbox
        .fetch(75)
        .assert_stderr(said)
        .assert_stderr("attempt 1 of 3");
    mailbox.assert_bytes(all_but_the_ninth());

    let second = mailbox.trace();
    second.assert_code(75).assert_stderr("nothing new");
    assert!(
        commands(&second, "RETR 9") >= 1,
        "the ninth is not tried again\n{second}"
    );
    // One known message may be requested to test the connection.
    let others = commands(&second, "RETR") - commands(&second, "RETR 9");
    assert!(others <= 2, "fetched again\n{second}");
    mailbox.assert_bytes(all_but_the_ninth());
    assert_eq!(mailbox.noticed(), 0);

    mailbox.fetch(65).assert_stderr("quarantine");
    assert_eq!(mailbox.noticed(), 1);
    let quiet = mailbox.trace();
    quiet.assert_code(0).assert_stderr("nothing new");
    assert_eq!(commands(&quiet, "RETR"), 0, "{quiet}");
    mailbox
        .at(0, &["fetch"])
        .run()
        .assert_code(0)
        .assert_silent();

    at_the_ninth(
        server,
        user,
        &format!("rm -f \"$mail\"; cp -p /mnt/mail/{user}/spare \"$mail\""),
    );
    mailbox
        .at(0, &["ledger", "retry", "work"])
        .run()
        .assert_code(0)
        .assert_stdout("1 message will be fetched in the next run");
    mailbox.fetch(0).assert_stderr("1 new");
    mailbox.assert_bytes(1..=10);
    mailbox.fetch(0).assert_stderr("nothing new");
    mailbox.assert_bytes(1..=10);
    assert_eq!((mailbox.noticed(), mailbox.stored()), (1, 10));
}

#[test]
fn dovecot_refuses_a_bad_message_until_it_is_repaired() {
    let server = RealServer::start("dovecot", &[]);
    the_ninth(
        &server,
        ALICE,
        Line::Tls,
        "unreadable",
        "refused to send message 9",
    );
    the_ninth(
        &server,
        BOB,
        Line::StartTls,
        "unreadable",
        "refused to send message 9",
    );
    server.exec(&["sh", "-ec", "rm -f /mnt/mail/alice/Maildir/*/*"]);
    the_ninth(
        &server,
        ALICE,
        Line::Clear,
        "unreadable",
        "refused to send message 9",
    );
}

#[test]
fn courier_closes_the_connection_in_a_bad_message_until_it_is_repaired() {
    let server = RealServer::start("courier", &[]);
    the_ninth(
        &server,
        ALICE,
        Line::Tls,
        "io-error",
        "closed the connection while sending message 9",
    );
    the_ninth(
        &server,
        BOB,
        Line::Clear,
        "io-error",
        "closed the connection while sending message 9",
    );
}
