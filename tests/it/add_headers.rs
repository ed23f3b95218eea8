//! `add-headers`: the fields are added above each message, which is otherwise unchanged.

#[cfg(feature = "system-tests")]
use std::fs;

#[cfg(feature = "system-tests")]
use insta::assert_snapshot;

#[cfg(feature = "system-tests")]
use crate::server::Setup;
use crate::{
    fixture::Desk,
    lmtp_server::Lmtp,
    server::{Server, corpus},
    support::mail::Mail,
};

const ALL: &str =
    "add-headers = [\"received\", \"return-path\", \"delivered-to\"]\nkeep = \"none\"";

/// Returns the fields above a message that already has a Return-Path, with line endings and tabs
/// replaced by spaces.
fn top(uid: &str, from: &str, protocol: &str) -> String {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "Delivered-To: ann Received: from {from} by {host} with {protocol} \
         (pouch {version}; account work; UID {uid}) for <ann>; Mon, 23 Nov 2026 00:00:00 +0000 "
    )
}

/// Asserts that each message was delivered once, with the added fields above it.
#[track_caller]
fn assert_topped(mail: &Mail, from: &str, protocol: &str, messages: &[(String, Vec<u8>)]) {
    let mail: Vec<_> = mail
        .delivered()
        .iter()
        .map(|mail| mail.bytes.as_slice())
        .collect();
    assert_each_topped(&mail, from, protocol, messages);
}

#[track_caller]
fn assert_each_topped(mail: &[&[u8]], from: &str, protocol: &str, messages: &[(String, Vec<u8>)]) {
    assert_eq!(mail.len(), messages.len());
    for (uid, content) in messages {
        let content = corpus::on_disk(content);
        let found: Vec<_> = mail
            .iter()
            .filter_map(|mail| mail.strip_suffix(&content[..]))
            .collect();
        let fields = found.iter().map(|fields| {
            String::from_utf8_lossy(fields)
                .replace(['\n', '\t'], " ")
                .replace("  ", " ")
        });
        assert_eq!(
            fields.collect::<Vec<_>>(),
            [top(uid, from, protocol)],
            "{uid}"
        );
        assert!(
            found[0]
                .split(|octet| *octet == b'\n')
                .all(|line| line.len() < 78)
        );
    }
}

fn messages(count: usize) -> Vec<(String, Vec<u8>)> {
    corpus::messages(count).collect()
}

const HERE: &str = "[127.0.0.1] ([127.0.0.1])";

#[test]
fn headers_are_added_on_top_in_a_maildir() {
    let desk = Desk::with(3, ALL, |server| server);
    desk.fetch(0).assert_silent();
    assert_topped(&desk.mail(), HERE, "POP3", &messages(3));
    desk.mail().assert_tidy();
    assert_eq!(desk.server.remaining(), 0);
    // By default, nothing is added.
    desk.configure("");
    desk.server.add("uid-4", corpus::message(4));
    desk.fetch(0);
    assert!(
        desk.mail()
            .delivered()
            .iter()
            .any(|mail| mail.bytes == corpus::on_disk(&corpus::message(4)))
    );
}

#[test]
fn received_header_mentions_tls() {
    for (setup, tls) in [
        (Server::implicit_tls(), "implicit"),
        (Server::starttls(), "starttls"),
    ] {
        let desk = Desk::new(setup.messages(corpus::messages(2)), ALL);
        let config = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
        let pin = format!(
            "tls = \"{tls}\"\ntls-pin = \"sha256:{}\"",
            desk.server.sha256()
        );
        desk.home.config(
            &config
                .replace("tls = \"off\"", &pin)
                .replace("127.0.0.1", "localhost"),
        );
        desk.fetch(0);
        assert_topped(
            &desk.mail(),
            "localhost (localhost [127.0.0.1])",
            "POP3S",
            &messages(2),
        );
    }
}

#[test]
fn headers_are_added_on_top_for_every_destination() {
    let desk = Desk::with(3, &format!("mbox = \"~/box\"\n{ALL}"), |server| server);
    desk.fetch(0);
    assert_topped(
        &Mail::in_mbox(&desk.home.read("box")),
        HERE,
        "POP3",
        &messages(3),
    );

    let script =
        "cat > Mail/work/new/$POUCH_UID; test $(stat -c %s Mail/work/new/$POUCH_UID) = $POUCH_SIZE";
    let desk = Desk::with(
        3,
        &format!("pipe = [\"sh\", \"-c\", '{script}']\n{ALL}"),
        |server| server,
    );
    for folder in ["new", "cur", "tmp"] {
        desk.home.make_dir(format!("Mail/work/{folder}"), 0o700);
    }
    desk.fetch(0);
    assert_topped(&desk.mail(), HERE, "POP3", &messages(3));

    let desk = Desk::with(3, ALL, |server| server);
    let out = desk.pouch(&["fetch", "--to", "-"]).run();
    assert_topped(
        &Mail::in_mbox(&out.assert_code(0).stdout_bytes),
        HERE,
        "POP3",
        &messages(3),
    );

    let both = format!(
        "{ALL}\n[[account.work.rule]]\nsubject = \"*\"\naction = \"fetch\"\nalso = [\"maildir:.Copy\"]"
    );
    let desk = Desk::with(3, &both, |server| server);
    desk.fetch(0);
    for place in ["Mail/work", "Mail/work/.Copy"] {
        assert_topped(&desk.home.maildir(place), HERE, "POP3", &messages(3));
    }
}

#[test]
fn headers_are_added_on_top_for_an_lmtp_server() {
    let lines = format!("lmtp = \"unix:~/lmtp\"\nlmtp-recipients = [\"ben\", \"cid\"]\n{ALL}");
    let desk = Desk::with(3, &lines, |server| server);
    let lmtp = Lmtp::at(&desk.home.join("lmtp"));
    lmtp.answer(".cid", "451 not now");
    desk.fetch(75);
    lmtp.heal();
    desk.fetch(0);
    let mail = lmtp.mail();
    for recipient in ["ben", "cid"] {
        let his: Vec<_> = mail
            .iter()
            .filter(|(to, _)| to == recipient)
            .map(|(_, mail)| mail.as_slice())
            .collect();
        assert_each_topped(&his, HERE, "POP3", &messages(3));
    }
    assert_eq!((mail.len(), desk.server.remaining()), (6, 0));
    // Bounces go to the sender of the message, and the announced size includes the fields.
    let longest = mail
        .iter()
        .map(|(_, mail)| mail.len() + mail.split(|octet| *octet == b'\n').count() - 1)
        .max();
    assert!(lmtp.log().contains(&format!(
        "MAIL FROM:<ben@example.org> SIZE={}",
        longest.unwrap()
    )));
}

#[test]
fn messages_are_unchanged_below_the_headers() {
    let nasty: Vec<_> = corpus::nasty()
        .into_iter()
        .map(|(uid, content)| (uid.to_owned(), content))
        .collect();
    let desk = Desk::new(
        Server::plain().messages(nasty.clone()),
        "add-headers = [\"delivered-to\", \"return-path\"]",
    );
    desk.fetch(0);
    let below = |content: &Vec<u8>| {
        let path = if content.starts_with(b"Return-Path: ") {
            ""
        } else {
            "Return-Path: <>\n"
        };
        [
            path.as_bytes(),
            b"Delivered-To: ann\n",
            &corpus::on_disk(content)[..],
        ]
        .concat()
    };
    desk.mail().assert_exactly(
        &nasty
            .iter()
            .map(|(_, content)| below(content))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn rules_and_filters_do_not_see_added_headers() {
    let lines = "add-headers = [\"delivered-to\", \"return-path\"]\n\
                 filter = [[\"sed\", \"1i X-First: yes\"]]\n\
                 [[account.work.rule]]\nheader = \"Delivered-To: ann\"\naction = \"maildir:.Wrong\"";
    let desk = Desk::new(
        Server::plain().message("uid-1", "Return-Path: <a@example.org>\nSubject: x\n\ny\n"),
        lines,
    );
    desk.fetch(0);
    let expected =
        "Delivered-To: ann\nX-First: yes\nReturn-Path: <a@example.org>\nSubject: x\n\ny\n";
    desk.mail().assert_exactly(&[expected]);
}

#[cfg(feature = "system-tests")]
#[test]
fn crash_delivers_nothing_twice() {
    for (lines, call, count) in [
        ("", "linkat", 2),
        ("mbox = \"~/box\"\n", "fdatasync,fsync", 3),
    ] {
        for when in 1..=count {
            let desk = Desk::with(3, &format!("{lines}{ALL}"), |server| server);
            let inject = format!("inject={call}:signal=KILL:when={when}");
            let pouch = env!("CARGO_BIN_EXE_pouch");
            let killed = desk.home.system_command(
                "strace",
                &["-f", "-qq", "-o", "calls", "-e", &inject, pouch, "fetch"],
            );
            killed
                .env("POUCH_NOW", crate::fixture::NOW.to_string())
                .run()
                .assert_code(137);
            desk.server.wait_for(|log| log.open() == 0);
            desk.pouch(&["fetch"]).run().assert_code(0);
            let mail = if lines.is_empty() {
                desk.mail()
            } else {
                Mail::in_mbox(&desk.home.read("box"))
            };
            assert_topped(&mail, HERE, "POP3", &messages(3));
            assert_eq!(desk.server.remaining(), 0, "{lines} {when}");
        }
    }
}

/// Ten messages that differ only in their Received and From fields.
#[cfg(feature = "system-tests")]
fn nameless(server: Setup) -> Setup {
    let received = "Received: from a by b; Mon, 23 Nov 2026 00:00:00 +0000";
    server.messages((1..=10).map(|n| {
        (
            corpus::uid(n),
            format!("{received}\nFrom: {n}@example.org\n\nbody {n}\n"),
        )
    }))
}

#[cfg(feature = "system-tests")]
#[test]
fn message_with_added_headers_is_recognised() {
    // After a crash, the messages are recognised by their files alone.
    let mut shown = String::new();
    for crash in [false, true] {
        let desk = Desk::with(
            0,
            "add-headers = [\"received\"]\nsync-deletions = true",
            nameless,
        );
        if crash {
            let pouch = env!("CARGO_BIN_EXE_pouch");
            let inject = "inject=linkat:signal=KILL:when=9";
            let killed = desk.home.system_command(
                "strace",
                &["-f", "-qq", "-o", "calls", "-e", inject, pouch, "fetch"],
            );
            killed
                .env("POUCH_NOW", crate::fixture::NOW.to_string())
                .run()
                .assert_code(137);
            desk.server.wait_for(|log| log.open() == 0);
        }
        desk.fetch(0);
        assert_eq!(desk.mail().len(), 10);
        desk.server.renew_uids();
        shown.push_str(&desk.fetch(0).case(&format!("crash: {crash}")));
        assert_eq!(desk.mail().len(), 10);
        // Moved to another folder under another name, and deleted.
        let names: Vec<_> = desk
            .mail()
            .delivered()
            .iter()
            .map(|mail| mail.name.clone())
            .collect();
        let new = desk.home.join("Mail/work/new");
        desk.home.make_dir("Mail/work/.Archive/cur", 0o700);
        fs::rename(
            new.join(&names[0]),
            desk.home
                .join("Mail/work/.Archive/cur/1795392000.M1P1.x:2,S"),
        )
        .unwrap();
        fs::remove_file(new.join(&names[1])).unwrap();
        desk.fetch(0);
        assert_eq!(desk.server.remaining(), 9, "crash: {crash}");
    }
    assert_snapshot!(shown, @"
    === crash: false
    $ pouch fetch
    ------- stderr -------
    pouch: work: the server has given its messages new UIDs
      10 messages recognised by their headers; not fetching them again
    === crash: true
    $ pouch fetch
    ------- stderr -------
    pouch: work: the server has given its messages new UIDs
      10 messages recognised by their headers; not fetching them again
    ");
}
