//! `pouch ledger adopt`: mail that another program has delivered to a Maildir.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use insta::assert_snapshot;

use crate::{
    fixture::Desk,
    server::{Setup, corpus, on},
};

/// Creates an account with the messages 1 to `count`, and a Maildir with those for which `file`
/// returns the content of a file.
fn desk(count: usize, lines: &str, file: impl Fn(usize, Vec<u8>) -> Option<Vec<u8>>) -> Desk {
    with(count, lines, |server| server, file)
}

fn with(
    count: usize,
    lines: &str,
    more: impl FnOnce(Setup) -> Setup,
    file: impl Fn(usize, Vec<u8>) -> Option<Vec<u8>>,
) -> Desk {
    let desk = Desk::with(count, lines, more);
    for part in ["tmp", "new", "cur"] {
        fs::create_dir_all(desk.home.join("Mail/work").join(part)).unwrap();
    }
    for n in 1..=count {
        if let Some(content) = file(n, corpus::message(n)) {
            fs::write(old_file(&desk, n), content).unwrap();
        }
    }
    desk
}

/// Returns the path of the `n`-th message as another program delivers it.
fn old_file(desk: &Desk, n: usize) -> PathBuf {
    let name = format!("Mail/work/cur/16000000{n:02}.M{n}P1.oldhost:2,S");
    desk.home.join(name)
}

/// Returns what a fetcher and a delivery agent make of a message.
fn with_added_fields(content: &[u8]) -> Vec<u8> {
    [
        b"Delivered-To: ann@localhost\nReceived: from pop.example.org by localhost (fetchmail)\n",
        content,
        b"",
    ]
    .concat()
}

fn transcript(desk: &Desk, args: &[&str]) -> String {
    desk.pouch(args).run().transcript()
}

/// Returns the names of all files in the Maildir.
fn files(desk: &Desk) -> Vec<String> {
    let mut names: Vec<_> = ["new", "cur"]
        .iter()
        .flat_map(|part| fs::read_dir(desk.home.join("Mail/work").join(part)).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn adopted_messages_are_known_and_the_others_are_fetched() {
    let desk = desk(6, "keep = \"30d\"", |n, content| {
        (n <= 4).then(|| with_added_fields(&content))
    });
    let before = files(&desk);
    assert_snapshot!(transcript(&desk, &["ledger", "adopt", "work", "--dry-run"]), @"
    $ pouch ledger adopt work --dry-run
    work: 4 of 6 messages on the server are known; 4 would be recorded as delivered, with files in ~/Mail/work
    work: `keep` counts from now, not from the time of the files
    ");
    assert!(!desk.home.state().join("mailboxes").exists());
    assert_snapshot!(transcript(&desk, &["ledger", "adopt", "work"]), @"
    $ pouch ledger adopt work
    work: 4 of 6 messages on the server are known; 4 recorded as delivered, with files in ~/Mail/work
    work: `keep` counts from now, not from the time of the files
    run `pouch plan work` to see what the next run does
    ");
    assert_snapshot!(transcript(&desk, &["ledger", "adopt", "work"]), @"
    $ pouch ledger adopt work
    work: 4 of 6 messages on the server are known; nothing new to record
    ");
    assert_snapshot!(transcript(&desk, &["plan"]), @"
    $ pouch plan
    work: 6 messages on the server, 4 known
      fetch      2    1.0 KB   new; kept until 2026-12-23
      keep       4             the next is due on 2026-12-23
    ");
    assert_eq!(files(&desk), before);
    desk.fetch(0);
    assert_eq!(desk.retrieved(), 2);
    assert_snapshot!(transcript(&desk, &["ledger", "verify"]), @"
    $ pouch ledger verify
    work: 6 messages delivered, 6 of them in ~/Mail/work
    ");
    assert_snapshot!(transcript(&desk, &["ledger", "show", "work", "1"]), @"
    $ pouch ledger show work 1
    message           1
    UID               uid-1
    state             delivered
    listed size       363 bytes
    first seen        2026-11-23 00:00
    adopted           2026-11-23 00:00
    file              1600000001.M1P1.oldhost
    ");
    // none is deleted because its file is old
    desk.fetch_at(29, 0);
    assert_eq!(desk.server.remaining(), 6);
    desk.fetch_at(31, 0);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn deleted_file_of_an_adopted_message_is_a_deletion() {
    let desk = desk(5, "sync-deletions = true", |_, content| Some(content));
    desk.pouch(&["ledger", "adopt", "work"])
        .run()
        .assert_code(0);
    desk.fetch(0);
    assert_eq!((desk.retrieved(), desk.server.remaining()), (0, 5));
    // another flag, another directory, another folder, and another name
    let rename = |n, to: &str| {
        let to = desk.home.join("Mail/work").join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(old_file(&desk, n), to).unwrap();
    };
    rename(1, "cur/1600000001.M1P1.oldhost:2,FRS");
    rename(2, "new/1600000002.M2P1.oldhost");
    rename(3, ".Archive/cur/1600000003.M3P1.oldhost:2,S");
    rename(4, ".Archive/cur/renamed:2,S");
    fs::remove_file(old_file(&desk, 5)).unwrap();
    desk.fetch(0);
    assert_eq!(
        desk.server.uids(),
        (1..=4).map(corpus::uid).collect::<Vec<_>>()
    );
}

#[test]
fn maildir_of_another_program_is_no_place_of_deletions() {
    let desk = desk(3, "sync-deletions = true", |_, content| Some(content));
    let other = desk.home.join("Mail/old");
    fs::rename(desk.home.join("Mail/work"), &other).unwrap();
    assert_snapshot!(transcript(&desk, &["ledger", "adopt", "work", "Mail/old"]), @"
    $ pouch ledger adopt work Mail/old
    work: 3 of 3 messages on the server are known; 3 recorded as delivered, with files in ~/Mail/old
    work: `sync-deletions` ignores them: ~/Mail/old is not a Maildir of the account
    run `pouch plan work` to see what the next run does
    ");
    fs::remove_dir_all(other).unwrap();
    desk.fetch(0).assert_silent();
    assert_eq!((desk.retrieved(), desk.server.remaining()), (0, 3));
    assert_snapshot!(transcript(&desk, &["ledger", "verify"]), @"
    $ pouch ledger verify
    work: 0 messages delivered, 0 of them in ~/Mail/work
    ");
}

#[test]
fn truncated_file_is_not_the_message() {
    let desk = desk(4, "", |n, content| match n {
        1 => Some(content),
        2 => Some(content[..content.len() - 10].to_vec()),
        3 => Some(content[..content.len() - 1].to_vec()),
        _ => Some(content[..=content.windows(2).position(|two| two == b"\n\n").unwrap()].to_vec()),
    });
    assert_snapshot!(transcript(&desk, &["ledger", "adopt", "work"]), @"
    $ pouch ledger adopt work
    work: 2 of 4 messages on the server are known; 2 recorded as delivered, with files in ~/Mail/work
    work: 2 messages left to fetch: the files are smaller than on the server
    run `pouch plan work` to see what the next run does
    ");
    desk.fetch(0);
    assert_eq!(desk.retrieved(), 2);
}

#[test]
fn changed_headers_and_line_ends_do_not_matter() {
    let desk = desk(6, "", |n, content| {
        let text = String::from_utf8(content).unwrap();
        Some(match n {
            1 => with_added_fields(text.as_bytes()),
            2 => text.replace('\n', "\r\n").into_bytes(),
            3 => format!("From ben@example.org Mon Nov 23 00:00:00 2026\n{text}").into_bytes(),
            4 => text.replace("To: Ann ", "To: Ann\n\t").into_bytes(),
            5 => text
                .replace("Subject: Message 5", "Subject: =?utf-8?q?Message_5?=")
                .into_bytes(),
            _ => text.replace("From: Ben", "From: \"Ben\"").into_bytes(),
        })
    });
    let output = desk.pouch(&["ledger", "adopt", "work", "--json"]).run();
    output.assert_code(0);
    assert_snapshot!(output.stdout_text(), @r#"
    {
      "account": "work",
      "ambiguous": 0,
      "dry_run": false,
      "due": 0,
      "files": 6,
      "known": 6,
      "linked": 0,
      "listed": 6,
      "recorded": 6,
      "smaller": 0,
      "unread": 0,
      "unreadable": 0
    }
    "#);
    desk.fetch(0);
    assert_eq!(desk.retrieved(), 0);
}

#[test]
fn subfolders_are_searched_on_request() {
    let desk = desk(3, "", |n, content| (n < 3).then_some(content));
    let folder = desk.home.join("Mail/work/.Archive/cur");
    fs::create_dir_all(&folder).unwrap();
    fs::rename(old_file(&desk, 2), folder.join("2.oldhost:2,S")).unwrap();
    let known = |args: &[&str]| {
        let output = desk.pouch(args).run();
        output.assert_code(0);
        output.stdout_text().lines().next().unwrap().to_owned()
    };
    assert_snapshot!(known(&["ledger", "adopt", "work"]), @"work: 1 of 3 messages on the server are known; 1 recorded as delivered, with files in ~/Mail/work");
    assert_snapshot!(known(&["ledger", "adopt", "work", "--subfolders"]), @"work: 2 of 3 messages on the server are known; 1 recorded as delivered, with files in ~/Mail/work");
}

#[test]
fn imported_messages_get_their_files() {
    let desk = desk(3, "sync-deletions = true", |_, content| Some(content));
    desk.pouch(&["ledger", "catchup", "work", "--as-fetched"])
        .run()
        .assert_code(0);
    assert_snapshot!(transcript(&desk, &["ledger", "adopt", "work"]), @"
    $ pouch ledger adopt work
    work: 3 of 3 messages on the server are known; nothing new to record
    work: 3 messages recorded without a file before linked to files there
    run `pouch plan work` to see what the next run does
    ");
    desk.fetch(0);
    fs::remove_file(old_file(&desk, 2)).unwrap();
    desk.fetch(0);
    assert_eq!(desk.server.uids(), ["uid-1", "uid-3"]);
}

#[test]
fn what_a_user_or_a_rule_decided_stays() {
    let rule = "[[account.work.rule]]\nsubject = \"*2\"\naction = \"skip\"";
    let desk = desk(3, &format!("limit = 1\n{rule}"), |_, content| Some(content));
    desk.fetch(0);
    desk.pouch(&["ledger", "catchup", "work"])
        .run()
        .assert_code(0);
    desk.pouch(&["ledger", "adopt", "work"])
        .run()
        .assert_code(0);
    assert_snapshot!(transcript(&desk, &["ledger", "list", "--all"]), @r#"
    $ pouch ledger list --all
    work
     message state            size   first seen         what
           1 delivered       363 B   2026-11-23 00:00   Message 1
           2 skipped         401 B   2026-11-23 00:00   Message 2: by the rule subject = "*2"
           3 delivered       439 B   2026-11-23 00:00   Message 3
    "#);
}

#[test]
fn copies_are_matched_one_to_one() {
    let twin = |server: Setup| server.message("uid-9", corpus::message(1));
    let desk = with(1, "", twin, |_, content| Some(content));
    let known = || {
        let output = desk.pouch(&["ledger", "adopt", "work"]).run();
        output.stdout_text().lines().next().unwrap().to_owned()
    };
    assert_snapshot!(known(), @"work: 1 of 2 messages on the server are known; 1 recorded as delivered, with files in ~/Mail/work");
    // the file is that of the first
    assert_snapshot!(known(), @"work: 2 of 2 messages on the server are known; 1 recorded as delivered, with files in ~/Mail/work");
}

#[test]
fn next_fetch_that_deletes_is_announced() {
    let desk = desk(3, "keep = \"none\"", |_, content| Some(content));
    assert_snapshot!(transcript(&desk, &["ledger", "adopt", "work"]), @"
    $ pouch ledger adopt work
    work: 3 of 3 messages on the server are known; 3 recorded as delivered, with files in ~/Mail/work
    work: the next fetch deletes 3 recorded messages from the server, because of `keep`; to keep them, change `keep` first
    run `pouch plan work` to see what the next run does
    ");
}

#[test]
fn wrong_maildirs_and_servers_are_refused() {
    let desk = desk(6, "", |n, _| Some(corpus::message(n + 100)));
    assert_snapshot!(transcript(&desk, &["ledger", "adopt", "work"]), @"
    $ pouch ledger adopt work
    ------- stderr -------
    pouch: none of the 6 messages on 127.0.0.1 is in ~/Mail/work
      compared with 6 files
      nothing was recorded
    hint: to search its subfolders as well, use `--subfolders`
    [exit code: 69]
    ");
    assert_snapshot!(transcript(&desk, &["ledger", "adopt", "work", "Mail"]), @"
    $ pouch ledger adopt work Mail
    ------- stderr -------
    pouch: ~/Mail is not a Maildir
      it lacks tmp, new and cur, and contains ~/Mail/work
    hint: name the directory that contains `cur` and `new`
    [exit code: 73]
    ");
    assert_snapshot!(transcript(&desk, &["ledger", "adopt", "work", "none"]), @"
    $ pouch ledger adopt work none
    ------- stderr -------
    pouch: there is no Maildir at ~/none
    hint: name the directory that contains `cur` and `new`
    [exit code: 64]
    ");
    desk.configure("mbox = \"~/mbox\"");
    assert_snapshot!(transcript(&desk, &["ledger", "adopt", "work"]), @"
    $ pouch ledger adopt work
    ------- stderr -------
    pouch: account `work` does not deliver to a Maildir
    hint: name one: `pouch ledger adopt work MAILDIR`
    [exit code: 64]
    ");
    assert!(!desk.home.state().join("mailboxes").exists());
}

#[test]
fn server_without_top_is_refused() {
    let without = |server: Setup| server.without("TOP");
    let desk = with(2, "", without, |_, content| Some(content));
    assert_snapshot!(transcript(&desk, &["ledger", "adopt", "work"]), @"
    $ pouch ledger adopt work
    ------- stderr -------
    pouch: 127.0.0.1 does not support TOP, so its messages cannot be compared with files
      nothing was recorded
    hint: to fetch only new mail from now on, use `pouch ledger catchup`
    [exit code: 69]
    ");
}

#[test]
fn odd_entries_of_a_maildir_do_no_harm() {
    let desk = desk(4, "", |n, content| (n > 1).then_some(content));
    let elsewhere = desk.home.join("message");
    fs::write(&elsewhere, corpus::message(1)).unwrap();
    symlink(&elsewhere, old_file(&desk, 1)).unwrap();
    let cur = desk.home.join("Mail/work/cur");
    fs::create_dir(cur.join("directory")).unwrap();
    symlink("nowhere", cur.join("dangling")).unwrap();
    fs::write(cur.join("empty"), "").unwrap();
    fs::write(cur.join("binary"), [0, 255, 10, 10, 7].repeat(50_000)).unwrap();
    fs::write(cur.join("endless"), vec![b'x'; 300_000]).unwrap();
    let output = desk.pouch(&["ledger", "adopt", "work"]).run();
    output.assert_code(0).assert_stdout("4 of 4 messages");
}

#[test]
fn header_that_breaks_the_connection_does_not_stop_the_others() {
    let breaking = |server: Setup| server.fault(on("TOP").uid("uid-3").close());
    let desk = with(5, "retries = 0", breaking, |_, content| Some(content));
    assert_snapshot!(transcript(&desk, &["ledger", "adopt", "work"]), @"
    $ pouch ledger adopt work
    work: 4 of 5 messages on the server are known; 4 recorded as delivered, with files in ~/Mail/work
    work: 1 message left to fetch: the server did not send the header
    run `pouch plan work` to see what the next run does
    ");
}
