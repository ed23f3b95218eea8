//! A mailbox with two thousand messages.

use super::{Line, Mailbox};
use crate::real::{ALICE, RealServer};

const COUNT: usize = 2000;

fn message(n: usize) -> String {
    format!(
        "From: ben@example.org\nSubject: Message {n}\n\n{}",
        format!(".line of {n}\n").repeat(n % 50 + 1)
    )
}

/// Stores the messages with one command, since separate deliveries would take a minute.
fn fill(server: &RealServer) {
    let script = format!(
        "import os
for n in range(1, {COUNT} + 1):
    text = 'From: ben@example.org\\nSubject: Message %d\\n\\n' % n + '.line of %d\\n' % n * (n % 50 + 1)
    path = '/mnt/mail/{ALICE}/Maildir/new/1795392000.M%06dP1.localhost' % n
    open(path, 'w').write(text)
    os.chown(path, 24001, 24001)
"
    );
    server.exec(&["python3", "-c", &script]);
}

#[test]
fn two_thousand_messages_arrive_unchanged_over_tls() {
    let server = RealServer::start("dovecot", &[]);
    fill(&server);
    let mailbox = Mailbox::new(&server, ALICE, Line::Tls, "keep = \"1d\"");
    mailbox.fetch(0).assert_stderr("2000 new");
    let all: Vec<_> = (1..=COUNT).map(message).collect();
    mailbox.mail().assert_exactly(&all).assert_tidy();
    mailbox.fetch(0).assert_stderr("nothing new");
    assert_eq!(mailbox.stored(), COUNT);
    mailbox
        .fetch_at(1, 0)
        .assert_stderr("2000 older than 1d deleted");
    assert_eq!((mailbox.stored(), mailbox.mail().len()), (0, COUNT));
}
