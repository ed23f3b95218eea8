//! What is deleted from the server, when, and that `pouch plan` says so beforehand.

use std::fs;

use serde_json::Value;

use crate::{
    desk::{DAY, Desk, NOW},
    server::{Server, corpus, on},
};

fn plan(desk: &Desk, days: i64) -> Vec<String> {
    let output = desk.at(days, &["plan", "--json"]).run();
    output.assert_code(0);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let messages = document["accounts"][0]["messages"].as_array().unwrap();
    let mut actions: Vec<_> = messages
        .iter()
        .map(|message| format!("{} {}", message["number"], message["action"].as_str().unwrap()))
        .collect();
    actions.sort();
    actions
}

#[test]
fn plan_says_what_fetch_does_and_changes_nothing() {
    let desk = Desk::with(3, "keep = \"30d\"", |server| server);
    assert_eq!(plan(&desk, 0), ["1 fetch", "2 fetch", "3 fetch"]);
    assert!(!desk.home.join("Mail").exists());
    assert_eq!(desk.retrieved(), 0);
    desk.fetch(0);
    desk.server.add("uid-4", corpus::message(4));
    assert_eq!(plan(&desk, 29), ["1 keep", "2 keep", "3 keep", "4 fetch"]);
    assert_eq!(plan(&desk, 30), ["1 delete", "2 delete", "3 delete", "4 fetch"]);
    assert_eq!(desk.server.remaining(), 4);
    let table = desk.at(30, &["fetch", "-n"]).run();
    table.assert_code(0).assert_stdout("work: 4 messages on the server, 3 known");
    table.assert_stdout(
        "  fetch      1     477 B   new; kept until 2027-01-22\n  delete     3             fetched more than 30d ago\n",
    );
    assert_eq!(desk.server.log().count("DELE"), 0);
    desk.fetch_at(30, 0);
    assert_eq!(desk.server.uids(), ["uid-4"]);
    desk.assert_arrived(1..=4);
}

#[test]
fn none_keeps_nothing_and_forever_all() {
    let desk = Desk::with(3, "keep = \"none\"", |server| server);
    desk.fetch(0);
    assert_eq!(desk.server.remaining(), 0);
    desk.assert_arrived(1..=3);
    let desk = Desk::with(3, "", |server| server);
    desk.fetch(0);
    desk.fetch_at(10_000, 0);
    assert_eq!(desk.server.remaining(), 3);
}

#[test]
fn the_newest_stay() {
    let desk = Desk::with(5, "keep-newest = 2", |server| server);
    desk.fetch(0);
    assert_eq!(desk.server.uids(), ["uid-4", "uid-5"]);
    desk.server.add("uid-6", corpus::message(6));
    desk.fetch(0);
    assert_eq!(desk.server.uids(), ["uid-5", "uid-6"]);
    desk.assert_arrived(1..=6);
    let desk = Desk::with(5, "keep-total = \"1KB\"", |server| server);
    desk.fetch(0);
    assert_eq!(desk.server.uids(), ["uid-4", "uid-5"]);
    desk.assert_arrived(1..=5);
}

#[test]
fn keep_on_the_command_line_deletes_nothing() {
    let desk = Desk::with(3, "keep = \"none\"\nkeep-newest = 1", |server| server);
    desk.pouch(&["fetch", "--keep"]).run().assert_code(0);
    assert_eq!(desk.server.remaining(), 3);
    desk.fetch(0);
    assert_eq!(desk.server.remaining(), 0);
    desk.assert_arrived(1..=3);
}

#[test]
fn limit_and_max_size_leave_the_rest_for_later() {
    let desk = Desk::with(5, "limit = 2", |server| server);
    for arrived in [2, 4, 5] {
        desk.fetch(0);
        desk.assert_arrived(1..=arrived);
    }
    let desk = Desk::new(
        Server::plain().messages(corpus::messages(2)).message("big", corpus::sized(9, 3_000)),
        "max-size = \"2KB\"\nkeep = \"none\"",
    );
    let told = desk.fetch(0);
    told.assert_stderr("pouch: work: message 3 has 3.0 KB, over max-size (2KB): it stays on the server");
    desk.fetch(0).assert_silent();
    assert_eq!(desk.server.uids(), ["big"]);
    desk.configure("max-size = \"4KB\"\nkeep = \"none\"");
    desk.fetch(0);
    assert_eq!(desk.server.remaining(), 0);
    assert_eq!(desk.mail().len(), 3);
}

#[test]
fn a_bad_message_takes_nobody_elses_place_in_the_limit() {
    let desk = Desk::with(6, "limit = 2", |server| {
        server.fault(on("RETR").uid("uid-1").cut()).fault(on("RETR").uid("uid-2").octets(50).cut())
    });
    desk.fetch(75);
    desk.assert_arrived([3, 4]);
    desk.fetch(0);
    desk.assert_arrived(3..=6);
}

#[test]
fn deletions_that_quit_did_not_carry_out_are_done_next_time() {
    for fault in [on("QUIT").nth(1).refuse("-ERR no"), on("QUIT").nth(1).cut(), on("QUIT").nth(1).done().cut()] {
        let desk = Desk::with(3, "keep = \"none\"", |server| server.fault(fault));
        desk.fetch(75).assert_silent();
        desk.assert_arrived(1..=3);
        desk.fetch(0);
        assert_eq!(desk.server.remaining(), 0);
        desk.assert_arrived(1..=3);
    }
    let desk = Desk::with(3, "keep = \"none\"", |server| server.fault(on("DELE").uid("uid-2").times(1).refuse("-ERR no")));
    desk.fetch(75);
    assert_eq!(desk.server.uids(), ["uid-2"]);
    desk.fetch(0);
    assert_eq!(desk.server.remaining(), 0);
    let desk = Desk::with(3, "keep = \"none\"", |server| server.fault(on("DELE").uid("uid-2").refuse("-ERR no")));
    desk.fetch(75).assert_silent();
    desk.fetch_at(1, 75).assert_stderr("does not delete what it should").assert_stderr("said: -ERR no");
}

#[test]
fn nothing_is_deleted_that_could_not_be_delivered() {
    let desk = Desk::with(3, "keep = \"none\"", |server| server);
    desk.home.write("Mail/work", "a file in its place", 0o600);
    desk.fetch(73).assert_stderr("is not a Maildir");
    assert_eq!(desk.server.remaining(), 3);
    assert_eq!(desk.server.log().count("DELE"), 0);
}

#[test]
fn what_comes_back_after_its_deletion_is_not_fetched_again() {
    let desk = Desk::with(3, "keep = \"none\"", |server| server);
    desk.fetch(0);
    desk.server.add("uid-2", corpus::message(2));
    desk.fetch(0).assert_silent();
    desk.assert_arrived(1..=3);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn one_empty_listing_on_a_bad_day_changes_nothing() {
    let desk = Desk::with(3, "", |server| server);
    desk.fetch(0);
    desk.server.fault(on("STAT").nth(1).answer("+OK 0 0\r\n"));
    desk.server.fault(on("LIST").nth(1).lines(0));
    desk.server.fault(on("UIDL").nth(1).lines(0));
    desk.fetch(0).assert_silent();
    desk.fetch(0).assert_silent();
    desk.assert_arrived(1..=3);
    assert_eq!(desk.retrieved(), 3);
}

#[test]
fn a_server_that_moved_is_recognized() {
    let desk = Desk::with(20, "keep = \"30d\"", |server| server);
    desk.fetch(0);
    desk.server.renew_uids();
    desk.server.add("new", corpus::message(21));
    desk.fetch_at(10, 0).assert_stderr("20 messages known by their headers: not fetched again");
    desk.assert_arrived(1..=21);
    assert_eq!(desk.retrieved(), 21);
    desk.fetch_at(11, 0).assert_silent();
    // retention goes on counting from the first fetch
    desk.fetch_at(30, 0);
    assert_eq!(desk.server.uids(), ["new"]);
}

#[test]
fn a_server_that_moved_and_shows_no_headers_stops_the_account() {
    let desk = Desk::with(20, "", |server| server.without("TOP"));
    desk.fetch(0);
    desk.server.renew_uids();
    desk.fetch(69).assert_stderr("the server has given its messages new UIDs").assert_stderr("--accept-new-uids");
    desk.assert_arrived(1..=20);
    desk.pouch(&["fetch", "--accept-new-uids"]).run().assert_code(0);
    assert_eq!(desk.mail().len(), 40);
    desk.fetch(0).assert_silent();
}

#[test]
fn messages_that_share_a_uid_both_arrive_and_neither_is_deleted_unread() {
    let server = || Server::plain().message("same", corpus::message(1)).message("same", corpus::message(2));
    let desk = Desk::new(server().fault(on("RETR 2").nth(1).refuse("-ERR no")), "keep = \"none\"");
    desk.fetch(75);
    desk.assert_arrived([1]);
    assert_eq!(desk.server.remaining(), 2);
    desk.fetch(0);
    desk.assert_arrived([1, 2]);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn a_known_uid_that_carries_another_message_is_new() {
    let desk = Desk::with(3, "", |server| server);
    desk.fetch(0);
    desk.server.remove("uid-2");
    desk.server.add("uid-2", corpus::sized(9, 2_000));
    desk.fetch(0);
    assert_eq!(desk.mail().len(), 4);
    desk.fetch(0).assert_silent();
    assert_eq!(desk.mail().len(), 4);
}

#[test]
fn a_uid_that_was_deleted_and_is_given_again_brings_the_new_mail() {
    for other in [corpus::sized(9, 900), corpus::sized(9, 500)] {
        let first = corpus::sized(1, 500);
        let desk = Desk::new(Server::plain().message("1", &first), "keep = \"none\"");
        desk.fetch(0);
        desk.server.add("1", &other);
        desk.fetch(0);
        desk.mail().assert_exactly(&[corpus::on_disk(&first), corpus::on_disk(&other)]);
        assert_eq!(desk.server.remaining(), 0);
    }
}

#[test]
fn other_mail_under_a_known_uid_is_not_deleted_unread_where_headers_are_not_shown() {
    let desk = Desk::with(3, "keep = \"30d\"", |server| server.without("TOP"));
    desk.fetch(0);
    let other = corpus::sized(9, 2_000);
    desk.server.remove("uid-2");
    desk.server.add("uid-2", &other);
    desk.fetch_at(30, 0);
    assert!(desk.mail().delivered().iter().any(|mail| mail.bytes == corpus::on_disk(&other)));
    assert_eq!(desk.server.uids(), ["uid-2"]);
}

#[test]
fn mail_that_is_listed_before_its_older_twin_makes_nothing_come_twice() {
    let (old, new) = (corpus::sized(1, 500), corpus::sized(2, 900));
    let desk = Desk::new(Server::plain().message("same", &old), "");
    desk.fetch(0);
    desk.server.remove("same");
    desk.server.add("same", &new);
    desk.server.add("same", &old);
    desk.fetch(0);
    desk.fetch(0).assert_silent();
    desk.mail().assert_exactly(&[corpus::on_disk(&old), corpus::on_disk(&new)]);
}

#[test]
fn any_uid_will_do() {
    let uids: Vec<Vec<u8>> = vec![
        b"x".to_vec(),
        b"a b".to_vec(),
        b"../../etc/passwd".to_vec(),
        b"%s%n".to_vec(),
        b"\xff\xfe\x80".to_vec(),
        b"z".repeat(200),
        b"'; DROP TABLE message; --".to_vec(),
    ];
    let server =
        (1..).zip(&uids).fold(Server::plain(), |server, (n, uid)| server.message(uid.clone(), corpus::message(n)));
    let desk = Desk::new(server.renumbers(), "");
    desk.fetch(0);
    desk.fetch(0).assert_silent();
    desk.assert_arrived(1..=uids.len());
    desk.configure("keep = \"none\"");
    desk.fetch(0);
    assert_eq!(desk.server.remaining(), 0);
    desk.assert_arrived(1..=uids.len());
}

#[test]
fn a_deletion_in_the_maildir_is_one_on_the_server_if_that_is_wanted() {
    let desk = Desk::with(10, "sync-deletions = true", |server| server);
    desk.fetch(0);
    let file = |n: usize| {
        let content = corpus::on_disk(&corpus::message(n));
        let name = desk.mail().delivered().iter().find(|mail| mail.bytes == content).unwrap().name.clone();
        (desk.home.join("Mail/work/new").join(&name), name)
    };
    // read, moved to a folder, moved by a program that renames, trashed and not yet gone: all there
    let (path, name) = file(1);
    fs::rename(path, desk.home.join("Mail/work/cur").join(format!("{name}:2,S"))).unwrap();
    fs::create_dir_all(desk.home.join("Mail/work/.Archive/cur")).unwrap();
    let (path, name) = file(2);
    fs::rename(path, desk.home.join("Mail/work/.Archive/cur").join(format!("{name}:2,RS"))).unwrap();
    let (path, _) = file(3);
    fs::rename(path, desk.home.join("Mail/work/.Archive/cur/1795392000.M1P1.elsewhere:2,S")).unwrap();
    let (path, name) = file(4);
    fs::rename(path, desk.home.join("Mail/work/cur").join(format!("{name}:2,T"))).unwrap();
    desk.fetch(0).assert_silent();
    assert_eq!(desk.server.remaining(), 10);
    // gone for good
    fs::remove_file(desk.home.join("Mail/work/cur").join(format!("{name}:2,T"))).unwrap();
    fs::remove_file(file(5).0).unwrap();
    let said = desk.pouch(&["plan"]).run();
    said.assert_stdout("delete     2             you deleted it from the Maildir");
    desk.fetch(0).assert_silent();
    assert_eq!(desk.server.uids(), ["uid-1", "uid-2", "uid-3", "uid-6", "uid-7", "uid-8", "uid-9", "uid-10"]);
}

#[test]
fn a_maildir_that_lost_too_much_is_not_believed() {
    for lost in ["missing", "empty", "most"] {
        let desk = Desk::with(10, "sync-deletions = true", |server| server);
        desk.fetch(0);
        let new = desk.home.join("Mail/work/new");
        if lost == "missing" {
            fs::remove_dir_all(desk.home.join("Mail")).unwrap();
        } else {
            let files = fs::read_dir(&new).unwrap().map(|entry| entry.unwrap().path());
            files.take(if lost == "most" { 6 } else { 10 }).for_each(|path| fs::remove_file(path).unwrap());
        }
        desk.fetch(0).assert_stderr("too much is gone from the Maildir");
        assert_eq!(desk.server.remaining(), 10, "{lost}");
        assert_eq!(desk.server.log().count("DELE"), 0);
        desk.fetch(0).assert_silent();
    }
}

#[test]
fn a_clock_that_is_set_back_deletes_nothing_early() {
    let desk = Desk::with(2, "keep = \"30d\"", |server| server);
    desk.fetch_at(100, 0);
    desk.fetch_at(0, 0);
    desk.fetch_at(129, 0);
    assert_eq!(desk.server.remaining(), 2);
    desk.fetch_at(130, 0);
    assert_eq!(desk.server.remaining(), 0);
    assert_eq!(DAY * 100 + NOW, 1_804_032_000);
}
