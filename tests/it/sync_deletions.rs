//! `sync-deletions`: mail deleted from the Maildir, and only that, is deleted from the server.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use insta::assert_snapshot;

use crate::{
    fixture::Desk,
    server::{Setup, corpus, on},
};

/// Creates an account with the messages 1 to `count`, fetched to a Maildir with `sync-deletions`.
fn desk(count: usize, lines: &str, more: impl FnOnce(Setup) -> Setup) -> Desk {
    let desk = Desk::with(count, &format!("sync-deletions = true\n{lines}"), more);
    desk.at(0, &["fetch"]).run();
    desk
}

/// Returns the path of the Maildir.
fn root(desk: &Desk) -> PathBuf {
    desk.home.join("Mail/work")
}

/// Returns the path of the `n`-th message.
#[track_caller]
fn delivered(desk: &Desk, n: usize) -> PathBuf {
    let content = corpus::on_disk(&corpus::message(n));
    let mail = desk.mail();
    let mail = mail
        .delivered()
        .iter()
        .find(|mail| mail.bytes == content)
        .expect("it was delivered");
    root(desk).join("new").join(&mail.name)
}

/// Moves a file as a mail program does.
fn move_to(from: &Path, to: impl AsRef<Path>) {
    fs::create_dir_all(to.as_ref().parent().unwrap()).unwrap();
    fs::rename(from, to).unwrap();
}

fn delete(desk: &Desk, numbers: impl IntoIterator<Item = usize>) {
    numbers
        .into_iter()
        .for_each(|n| fs::remove_file(delivered(desk, n)).unwrap());
}

fn uids(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(corpus::uid).collect()
}

#[test]
fn moved_or_flagged_message_is_not_a_deletion() {
    type Place = fn(&str) -> String;
    let places: [(&str, Place); 9] = [
        ("seen", |name| format!("cur/{name}:2,S")),
        ("no flags", |name| format!("cur/{name}:2,")),
        ("trashed, not expunged", |name| format!("cur/{name}:2,ST")),
        ("keywords, another separator in the flags", |name| {
            format!("cur/{name}:2,FRSTabc")
        }),
        ("Dovecot's sizes", |name| {
            format!("cur/{name},S=477,W=490:2,S")
        }),
        ("archived", |name| format!(".Archive/cur/{name}:2,RS")),
        ("archived in a folder of a folder", |name| {
            format!("Archive/2026/new/{name}")
        }),
        ("renamed", |_| "cur/1795392000.M1P1.elsewhere:2,S".into()),
        ("renamed into a folder", |_| {
            ".Archive/cur/1795392000.123_1.elsewhere,U=7:2,".into()
        }),
    ];
    for (what, place) in places {
        let desk = desk(4, "", |server| server);
        let path = delivered(&desk, 2);
        let name = path.file_name().unwrap().to_str().unwrap();
        move_to(&path, root(&desk).join(place(name)));
        println!("{what}");
        desk.fetch(0).assert_silent();
        assert_eq!(desk.server.remaining(), 4, "{what}");
    }
}

#[test]
fn removed_message_is_deleted_wherever_it_was() {
    let mut shown = String::new();
    for (before, and_then) in [
        ("new", None),
        ("cur", Some(":2,S")),
        ("cur", Some(":2,T")),
        (".Trash/cur", Some(":2,S")),
    ] {
        let desk = desk(4, "", |server| server);
        let mut path = delivered(&desk, 2);
        if let Some(flags) = and_then {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let to = root(&desk).join(before).join(name + flags);
            move_to(&path, &to);
            path = to;
            desk.fetch(0);
            assert_eq!(desk.server.remaining(), 4);
        }
        fs::remove_file(path).unwrap();
        let plan = desk.pouch(&["plan"]).run();
        shown.push_str(&plan.case(&format!("gone from {before}, flags {and_then:?}")));
        assert_eq!(desk.server.remaining(), 4);
        desk.fetch(0).assert_silent();
        assert_eq!(desk.server.uids(), uids([1, 3, 4]), "{before}");
    }
    assert_snapshot!(shown, @r#"
    === gone from new, flags None
    $ pouch plan
    work: 4 messages on the server, 4 known
      delete     1             you deleted it from the Maildir
      keep       3             fetched before
    === gone from cur, flags Some(":2,S")
    $ pouch plan
    work: 4 messages on the server, 4 known
      delete     1             you deleted it from the Maildir
      keep       3             fetched before
    === gone from cur, flags Some(":2,T")
    $ pouch plan
    work: 4 messages on the server, 4 known
      delete     1             you deleted it from the Maildir
      keep       3             fetched before
    === gone from .Trash/cur, flags Some(":2,S")
    $ pouch plan
    work: 4 messages on the server, 4 known
      delete     1             you deleted it from the Maildir
      keep       3             fetched before
    "#);
}

#[test]
fn more_than_half_missing_deletes_nothing() {
    let half = desk(10, "", |server| server);
    delete(&half, 1..=5);
    half.fetch(0).assert_silent();
    assert_eq!(half.server.uids(), uids(6..=10));

    let most = desk(10, "", |server| server);
    delete(&most, 1..=6);
    let plan = most.pouch(&["plan"]).run();
    assert_snapshot!(plan.assert_code(0).transcript(), @"
    $ pouch plan
    work: 10 messages on the server, 10 known
      keep      10             fetched before
    ------- stderr -------
    pouch: work: more than half of the delivered mail is missing from the Maildir; deletions were not synced
      missing: 6 of 10 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    ");
    let output = most.fetch(0);
    assert_snapshot!(output.stderr_text(), @"
    pouch: work: more than half of the delivered mail is missing from the Maildir; deletions were not synced
      missing: 6 of 10 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    ");
    assert_eq!(most.server.log().count("DELE"), 0);
    most.fetch(0).assert_silent();
    assert_eq!(most.server.remaining(), 10);
}

#[test]
fn missing_maildir_deletes_nothing() {
    let mut shown = String::new();
    for lost in [
        "missing",
        "empty folder",
        "empty Maildir",
        "an empty disk mounted on it",
    ] {
        let desk = desk(4, "", |server| server);
        let (root, kept) = (root(&desk), desk.home.join("kept"));
        fs::rename(&root, &kept).unwrap();
        match lost {
            "missing" => {}
            "empty folder" => fs::create_dir(&root).unwrap(),
            _ => ["tmp", "new", "cur"]
                .iter()
                .for_each(|part| fs::create_dir_all(root.join(part)).unwrap()),
        }
        if lost.starts_with("an empty disk") {
            // A Maildir of another program, with messages of its own.
            fs::write(root.join("new/1795392000.M1.other"), "Subject: mine\n\n").unwrap();
        }
        shown.push_str(&desk.fetch(0).case(lost));
        desk.fetch(0).assert_silent();
        assert_eq!(desk.server.log().count("DELE"), 0, "{lost}");
        fs::remove_dir_all(&root).unwrap();
        fs::rename(&kept, &root).unwrap();
        desk.fetch(0).assert_silent();
        desk.assert_arrived(1..=4);
        assert_eq!((desk.server.remaining(), desk.retrieved()), (4, 4));
    }
    assert_snapshot!(shown, @"
    === missing
    $ pouch fetch
    ------- stderr -------
    pouch: work: more than half of the delivered mail is missing from the Maildir; deletions were not synced
      missing: 4 of 4 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    === empty folder
    $ pouch fetch
    ------- stderr -------
    pouch: work: more than half of the delivered mail is missing from the Maildir; deletions were not synced
      missing: 4 of 4 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    === empty Maildir
    $ pouch fetch
    ------- stderr -------
    pouch: work: more than half of the delivered mail is missing from the Maildir; deletions were not synced
      missing: 4 of 4 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    === an empty disk mounted on it
    $ pouch fetch
    ------- stderr -------
    pouch: work: more than half of the delivered mail is missing from the Maildir; deletions were not synced
      missing: 4 of 4 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    ");
}

#[test]
fn new_maildir_with_new_mail_deletes_no_old_mail() {
    let mut shown = String::new();
    for lost in ["its disk is not mounted", "only its messages are gone"] {
        let desk = desk(4, "", |server| server);
        if lost.starts_with("its disk") {
            fs::rename(root(&desk), desk.home.join("kept")).unwrap();
        } else {
            delete(&desk, 1..=4);
        }
        shown.push_str(&desk.fetch(0).case(lost));
        for n in 5..=9 {
            desk.server.add(corpus::uid(n), corpus::message(n));
            desk.fetch(0).assert_silent();
        }
        desk.fetch(0).assert_silent();
        assert_eq!(desk.server.remaining(), 9);
        // The new mail can be deleted.
        delete(&desk, [7]);
        desk.fetch(0).assert_silent();
        assert_eq!(desk.server.uids(), uids((1..=9).filter(|n| *n != 7)));
    }
    assert_snapshot!(shown, @"
    === its disk is not mounted
    $ pouch fetch
    ------- stderr -------
    pouch: work: more than half of the delivered mail is missing from the Maildir; deletions were not synced
      missing: 4 of 4 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    === only its messages are gone
    $ pouch fetch
    ------- stderr -------
    pouch: work: more than half of the delivered mail is missing from the Maildir; deletions were not synced
      missing: 4 of 4 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    ");
}

#[test]
fn replaced_maildir_deletes_nothing() {
    let mut shown = String::new();
    for lost in [
        "delivered while the disk was not mounted",
        "put back from a backup",
        "one of two is not mounted",
    ] {
        let desk = desk(
            10,
            &sorted("maildir:~/Mail/lists").replace("Message 3", "none"),
            |server| server,
        );
        let (root, kept) = (root(&desk), desk.home.join("kept"));
        let add = || desk.server.add("uid-11", corpus::message(11));
        let copy = |from: &Path, to: &Path| {
            desk.home
                .command("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()])
                .run()
                .assert_code(0);
        };
        if lost.starts_with("delivered") {
            fs::rename(&root, &kept).unwrap();
            add();
            shown.push_str(&desk.fetch(0).case("fetched while the disk is not mounted"));
            fs::remove_dir_all(&root).unwrap();
            fs::rename(&kept, &root).unwrap();
        } else if lost.starts_with("put back") {
            copy(&root, &kept);
            add();
            desk.fetch(0).assert_silent();
            fs::remove_dir_all(&root).unwrap();
            copy(&kept, &root);
        } else {
            fs::rename(desk.home.join("Mail/lists"), &kept).unwrap();
            add();
        }
        println!("{lost}");
        let plan = desk.pouch(&["plan"]).run();
        shown.push_str(&plan.assert_code(0).case(lost));
        shown.push_str(&desk.fetch(0).transcript());
        desk.fetch(0).assert_silent();
        assert_eq!((desk.server.remaining(), desk.retrieved()), (11, 11));
        // The new mail can be deleted.
        delete(&desk, [5]);
        desk.fetch(0).assert_silent();
        assert_eq!(desk.server.uids(), uids((1..=11).filter(|n| *n != 5)));
    }
    assert_snapshot!(shown, @"
    === fetched while the disk is not mounted
    $ pouch fetch
    ------- stderr -------
    pouch: work: more than half of the delivered mail is missing from the Maildir; deletions were not synced
      missing: 8 of 10 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    === delivered while the disk was not mounted
    $ pouch plan
    work: 11 messages on the server, 11 known
      keep      11             fetched before
    ------- stderr -------
    pouch: work: the Maildir was replaced since the last run; deletions were not synced
      missing: 1 of 11 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    $ pouch fetch
    ------- stderr -------
    pouch: work: the Maildir was replaced since the last run; deletions were not synced
      missing: 1 of 11 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    === put back from a backup
    $ pouch plan
    work: 11 messages on the server, 11 known
      keep      11             fetched before
    ------- stderr -------
    pouch: work: the Maildir was replaced since the last run; deletions were not synced
      missing: 1 of 11 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    $ pouch fetch
    ------- stderr -------
    pouch: work: the Maildir was replaced since the last run; deletions were not synced
      missing: 1 of 11 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    === one of two is not mounted
    $ pouch plan
    work: 11 messages on the server, 10 known
      fetch      1     484 B   new; kept on the server
      keep      10             fetched before
    ------- stderr -------
    pouch: work: the Maildir was replaced since the last run; deletions were not synced
      missing: 2 of 10 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    $ pouch fetch
    ------- stderr -------
    pouch: work: the Maildir was replaced since the last run; deletions were not synced
      missing: 2 of 10 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    ");
}

#[test]
fn new_mail_arrives_while_the_maildir_is_suspect() {
    let desk = desk(4, "", |server| server);
    delete(&desk, 1..=4);
    desk.server.add("uid-5", corpus::message(5));
    assert_snapshot!(desk.fetch(0).stderr_text(), @"
    pouch: work: more than half of the delivered mail is missing from the Maildir; deletions were not synced
      missing: 4 of 4 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    ");
    desk.assert_arrived([5]);
    assert_eq!(desk.server.remaining(), 5);
}

#[test]
fn mail_from_other_programs_is_ignored() {
    let desk = desk(4, "", |server| server);
    for n in 0..40 {
        desk.home.write(
            format!("Mail/work/cur/179.M{n}.other:2,S"),
            format!("Message-ID: <o{n}@x>\n\nmine\n"),
            0o600,
        );
    }
    delete(&desk, 1..=3);
    assert_snapshot!(desk.fetch(0).stderr_text(), @"
    pouch: work: more than half of the delivered mail is missing from the Maildir; deletions were not synced
      missing: 3 of 4 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    ");
    assert_eq!(desk.server.remaining(), 4);
}

#[test]
fn any_copy_of_a_message_prevents_its_deletion() {
    let server = |server: Setup| {
        server
            .message("twin-a", corpus::sized(50, 600))
            .message("twin-b", corpus::sized(50, 600))
    };
    let desk = desk(4, "", server);
    let twin = corpus::on_disk(&corpus::sized(50, 600));
    let mail = desk.mail();
    let name = &mail
        .delivered()
        .iter()
        .find(|mail| mail.bytes == twin)
        .unwrap()
        .name;
    move_to(
        &root(&desk).join("new").join(name),
        root(&desk).join("cur/1795392000.M1P1.elsewhere:2,S"),
    );
    desk.fetch(0).assert_silent();
    assert_eq!(desk.server.remaining(), 6);
}

#[test]
fn retention_and_sync_deletions_work_together() {
    let desk = desk(4, "keep = \"30d\"", |server| server);
    delete(&desk, [2]);
    desk.fetch_at(1, 0);
    assert_eq!(desk.server.uids(), uids([1, 3, 4]));
    desk.server.add("uid-5", corpus::message(5));
    desk.fetch_at(29, 0);
    assert_eq!(desk.server.uids(), uids([1, 3, 4, 5]));
    // Due messages are deleted even if they are not in the Maildir.
    delete(&desk, [3]);
    desk.fetch_at(30, 0);
    assert_eq!(desk.server.uids(), uids([5]));
}

#[test]
fn retention_continues_while_the_maildir_is_suspect() {
    let desk = desk(4, "keep = \"30d\"", |server| server);
    delete(&desk, 1..=4);
    assert_snapshot!(desk.fetch_at(29, 0).stderr_text(), @"
    pouch: work: more than half of the delivered mail is missing from the Maildir; deletions were not synced
      missing: 4 of 4 messages
      nothing was deleted from the server
    hint: if you deleted them on purpose, run `pouch ledger delete work NUMBER...`
    ");
    assert_eq!(desk.server.remaining(), 4);
    desk.fetch_at(30, 0);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn keep_on_the_command_line_prevents_sync() {
    let desk = desk(4, "", |server| server);
    delete(&desk, [2]);
    desk.pouch(&["fetch", "--keep"]).run().assert_code(0);
    assert_eq!(desk.server.remaining(), 4);
    desk.fetch(0);
    assert_eq!(desk.server.uids(), uids([1, 3, 4]));
}

#[test]
fn undelivered_message_is_not_a_deletion() {
    let lines = "max-size = \"1KB\"\nnotice = false";
    let desk = desk(6, lines, |server| {
        server
            .message("big", corpus::sized(9, 2_000))
            .fault(on("RETR").uid("uid-2").refuse("-ERR damaged"))
            .fault(on("RETR").uid("uid-3").octets(50).cut())
    });
    let mut codes = Vec::new();
    while codes.last() != Some(&0) && codes.len() < 6 {
        codes.push(desk.at(0, &["fetch"]).run().code);
        assert_eq!(
            (desk.server.remaining(), desk.server.log().count("DELE")),
            (7, 0)
        );
    }
    assert_eq!(
        (codes.first(), codes.last()),
        (Some(&75), Some(&0)),
        "{codes:?}"
    );
    delete(&desk, [1]);
    desk.fetch(0);
    assert_eq!(
        desk.server.uids(),
        ["uid-2", "uid-3", "uid-4", "uid-5", "uid-6", "big"]
    );
}

#[test]
fn symlinked_folder_is_searched() {
    let desk = Desk::with(4, "sync-deletions = true", |server| server);
    desk.fetch(0);
    desk.home.make_dir("archive", 0o700);
    desk.home.make_dir("archive/cur", 0o700);
    symlink(
        desk.home.join("archive"),
        desk.home.join("Mail/work/.Archive"),
    )
    .unwrap();
    // Links can form a circle.
    symlink(desk.home.join("Mail/work"), desk.home.join("archive/.All")).unwrap();
    let name = desk.mail().delivered()[0].name.clone();
    let filed = desk
        .home
        .join("Mail/work/.Archive/cur")
        .join(format!("{name}:2,S"));
    fs::rename(desk.home.join("Mail/work/new").join(name), filed).unwrap();
    desk.fetch(0);
    assert_eq!(desk.server.remaining(), 4);
}

#[test]
fn without_sync_deletions_the_maildir_is_ignored() {
    let desk = Desk::with(4, "", |server| server);
    desk.fetch(0);
    delete(&desk, 1..=2);
    desk.fetch(0).assert_silent();
    assert_eq!(
        (desk.server.remaining(), desk.mail().len(), desk.retrieved()),
        (4, 2, 4)
    );
}

#[test]
fn removed_rule_does_not_delete_routed_messages() {
    let rule = "[[account.work.rule]]\nsubject = \"Message 2\"\naction = \"maildir:~/Mail/lists\"";
    let desk = desk(4, rule, |server| server);
    desk.pouch(&["fetch", "--to", "~/Mail/work"])
        .run()
        .assert_code(0);
    assert_eq!(desk.server.uids(), uids(1..=4));
}

/// Rules that deliver the messages 2 to 4 to `place`.
fn sorted(place: &str) -> String {
    let rule =
        |n| format!("[[account.work.rule]]\nsubject = \"Message {n}\"\naction = \"{place}\"\n");
    (2..=4).map(rule).collect()
}

#[test]
fn removed_maildir_does_not_delete_its_messages() {
    let desk = desk(10, &sorted("maildir:~/Mail/lists"), |server| server);
    assert_eq!(desk.home.maildir("Mail/lists").len(), 3);
    desk.configure("sync-deletions = true");
    assert_snapshot!(desk.pouch(&["plan"]).run().assert_code(0).stdout_text(), @"
    work: 10 messages on the server, 10 known
      keep      10             fetched before
    ");
    desk.fetch(0).assert_silent();
    assert_eq!(desk.server.remaining(), 10);
    // Messages seen since then are in the remaining Maildir, and can be deleted there.
    delete(&desk, [5]);
    desk.fetch(0).assert_silent();
    assert_eq!(desk.server.uids(), uids([1, 2, 3, 4, 6, 7, 8, 9, 10]));
}

#[test]
fn message_for_a_program_alone_is_not_a_deletion() {
    let desk = Desk::with(10, &sorted("pipe:cat"), |server| server);
    desk.fetch(0);
    assert_eq!(desk.mail().len(), 7);
    desk.configure("sync-deletions = true");
    desk.fetch(0).assert_silent();
    assert_eq!(desk.server.remaining(), 10);
}

#[test]
fn ledger_without_maildirs_records_them() {
    let desk = desk(10, "", |server| server);
    let ledger = rusqlite::Connection::open(desk.ledger()).unwrap();
    ledger
        .execute_batch("UPDATE message SET maildir_set = NULL")
        .unwrap();
    drop(ledger);
    // This message may have been delivered to any destination.
    delete(&desk, [2]);
    desk.fetch(0).assert_silent();
    assert_eq!(desk.server.remaining(), 10);
    delete(&desk, [3]);
    desk.fetch(0).assert_silent();
    assert_eq!(desk.server.uids(), uids([1, 2, 4, 5, 6, 7, 8, 9, 10]));
}

#[test]
fn changed_maildir_does_not_delete_old_messages() {
    for moved in [false, true] {
        let desk = desk(4, "", |server| server);
        if moved {
            fs::rename(root(&desk), desk.home.join("Mail/other")).unwrap();
        }
        desk.configure("sync-deletions = true\nmaildir = \"~/Mail/other\"");
        for n in [5, 6] {
            desk.server.add(corpus::uid(n), corpus::message(n));
        }
        for _ in 0..2 {
            desk.fetch(0).assert_silent();
        }
        assert_eq!(desk.server.uids(), uids(1..=6), "{moved}");
        // A message that the user deletes from the new Maildir is a deletion.
        let deleted = if moved { 2 } else { 5 };
        let content = corpus::on_disk(&corpus::message(deleted));
        let mail = desk.home.maildir("Mail/other");
        let name = &mail
            .delivered()
            .iter()
            .find(|mail| mail.bytes == content)
            .unwrap()
            .name;
        fs::remove_file(desk.home.join("Mail/other/new").join(name)).unwrap();
        desk.fetch(0).assert_silent();
        assert_eq!(
            desk.server.uids(),
            uids((1..=6).filter(|n| *n != deleted)),
            "{moved}"
        );
    }
}
