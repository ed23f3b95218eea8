//! Third-party programs that receive mail from pouch or read what it delivered.

use std::path::Path;

use crate::{
    fixture::Desk,
    real::{BOB, BOB_PASSWORD, RealServer},
    server::corpus,
    support::{Home, mail::Mail, run::Output},
};

fn mail(numbers: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    numbers
        .into_iter()
        .map(|n| corpus::on_disk(&corpus::message(n)))
        .collect()
}

#[test]
fn notmuch_finds_delivered_mail() {
    let desk = Desk::with(3, "after = [\"notmuch\", \"new\"]", |server| server);
    let database = format!(
        "[database]\npath={}\n[user]\nprimary_email=ann@example.org\n",
        desk.home.join("Mail").display()
    );
    desk.home.write(".notmuch-config", database, 0o600);
    let found = |term: &str| {
        let found = desk
            .home
            .system_command(
                "notmuch",
                &["search", "--output=messages", "--sort=oldest-first", term],
            )
            .run();
        found.assert_code(0).stdout.clone()
    };
    desk.fetch(0);
    assert_eq!(found("subject:\"Message 2\""), "id:2@example.org\n");
    desk.server.add("uid-4", corpus::message(4));
    desk.fetch(0);
    let all: Vec<_> = (1..=4).map(|n| format!("id:{n}@example.org\n")).collect();
    assert_eq!(found("from:ben@example.org"), all.concat());
}

#[test]
fn mblaze_lists_the_maildir() {
    let desk = Desk::with(3, "", |server| server);
    desk.fetch(0);
    let run = |script: &str| {
        desk.home
            .command("sh", &["-c", script])
            .run()
            .assert_code(0)
            .stdout
            .clone()
    };
    let sorted = "mblaze-sort -d | mhdr -h subject";
    assert_eq!(
        run(&format!("mlist Mail/work | {sorted}")),
        "Message 1\nMessage 2\nMessage 3\n"
    );
    // A message that was imported and read has another name, and is still recognised.
    run("minc -q Mail/work; mlist Mail/work | mpick -t 'subject =~ \"2\"' | mflag -S");
    assert_eq!(
        run(&format!("mlist -S Mail/work | {sorted}")),
        "Message 2\n"
    );
    desk.fetch(0).assert_silent();
    desk.assert_arrived(1..=3);
}

/// Opens `folder` in neomutt, pipes all messages in it to a program, and quits.
pub fn in_neomutt(home: &Home, folder: &str) -> Output {
    let config = "set folder=~ wait_key=no quit=yes delete=no mark_old=no pipe_decode=no pipe_split=yes\n\
                  # the end of input, which is not a key\n\
                  bind index \\Cd noop\n\
                  push '<tag-pattern>~A<enter><tag-prefix><pipe-message>cat >> seen<enter><quit>'\n";
    home.write("muttrc", config, 0o600);
    let command = format!("neomutt -n -F muttrc -f {folder}");
    home.system_command("script", &["-qec", &command, "/dev/null"])
        .env("TERM", "xterm")
        .run()
}

#[test]
fn neomutt_reads_maildirs_and_mailbox_files() {
    for (lines, folder) in [("", "Mail/work"), ("mbox = \"~/box\"", "box")] {
        let desk = Desk::with(3, lines, |server| server);
        desk.fetch(0);
        in_neomutt(&desk.home, folder).assert_code(0);
        let seen = String::from_utf8(desk.home.read("seen")).unwrap();
        for text in mail(1..=3) {
            let text = String::from_utf8(text).unwrap();
            assert_eq!(seen.matches(&text).count(), 1, "{folder}: {text}\n{seen}");
        }
        // pouch recognises the messages afterwards.
        desk.server.add("uid-4", corpus::message(4));
        desk.fetch(0);
        let left = if lines.is_empty() {
            desk.mail()
        } else {
            Mail::in_mbox(&desk.home.read("box"))
        };
        assert_eq!(left.len(), 4, "{folder}");
    }
}

#[test]
fn dovecot_lda_accepts_mail_from_a_pipe() {
    let dovecot = RealServer::start("dovecot", &[]);
    let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/dovecot");
    let instance = Path::new(dovecot.value("log")).parent().unwrap();
    let lda = |user: &str| {
        format!(
            "pipe = [\"{}\", \"exec\", \"{}\", \"/usr/lib/dovecot/dovecot-lda\", \"-d\", \
             \"{user}\"]\nkeep = \"none\"\nnotice = false",
            launcher.display(),
            instance.display()
        )
    };
    let desk = Desk::with(3, &lda("nobody-there"), |server| server);
    // EX_NOUSER: rejected, and nothing is lost.
    desk.pouch(&["fetch", "-v"])
        .run()
        .assert_code(75)
        .assert_stderr("rejected the message (exit 67)");
    assert_eq!(desk.server.remaining(), 3);
    desk.configure(&lda(BOB));
    desk.fetch(0).assert_silent();
    assert_eq!((dovecot.count(BOB), desk.server.remaining()), (3, 0));
    let bob = Home::new();
    bob.write("password", BOB_PASSWORD, 0o600);
    bob.config(&format!(
        "[account.bob]\nhost = \"localhost\"\nport = {}\ntls-ca-file = \"{}\"\nuser = \"{BOB}\"\n\
         password-file = \"~/password\"\nmaildir = \"~/Mail\"\n",
        dovecot.port("pop3s"),
        dovecot.value("ca_file"),
    ));
    bob.pouch(&["fetch"]).run().assert_code(0);
    bob.maildir("Mail").assert_exactly(&mail(1..=3));
}
