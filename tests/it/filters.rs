//! Filters: programs that process each message before it is delivered.

use std::fs;

use insta::assert_snapshot;

use crate::{
    fixture::Desk,
    server::{corpus, on},
};

/// Returns a message as it is delivered, with `from` in place of `to`.
fn changed(n: usize, from: &str, to: &str) -> Vec<u8> {
    String::from_utf8(corpus::on_disk(&corpus::message(n)))
        .unwrap()
        .replace(from, to)
        .into_bytes()
}

fn mail(n: usize) -> Vec<u8> {
    corpus::on_disk(&corpus::message(n))
}

#[test]
fn filters_are_applied_in_order() {
    let filters = "filter = [[\"sed\", \"s/Ben/Cy/\"], [\"sed\", \"s/Cy/Dan/\"]]\nkeep = \"none\"";
    let desk = Desk::with(3, filters, |server| server);
    desk.fetch(0);
    desk.mail()
        .assert_exactly(&[1, 2, 3].map(|n| changed(n, "Ben", "Dan")))
        .assert_tidy();
    assert_eq!(desk.server.remaining(), 0);
    desk.fetch(0).assert_silent();
}

#[test]
fn large_message_passes_a_filter_complete() {
    let big = corpus::sized(9, 3_000_000);
    let desk = Desk::with(0, "filter = [[\"cat\"]]", |server| {
        server.message("big", &big)
    });
    desk.fetch(0);
    desk.mail().assert_exactly(&[big]);
}

#[test]
fn exit_code_of_a_filter_decides() {
    // The cases are (end of the script, exit codes of the runs, whether the message is dropped).
    for (end, exits, dropped) in [
        ("exit 99", [0, 0, 0], true),
        ("exit 75", [75, 75, 75], false),
        ("kill -9 $$", [75, 75, 75], false),
        ("exit 1", [75, 75, 65], false),
        ("exit 0", [75, 75, 65], false),
    ] {
        println!("{end}");
        let script = format!("cat > in; if grep -q '<2@' in; then {end}; fi; cat in");
        let filter = "filter = [[\"sh\", \"script\"]]\nkeep = \"none\"\nnotice = false";
        let desk = Desk::with(3, filter, |server| server);
        desk.home.write("script", script, 0o600);
        for exit in exits {
            desk.fetch(exit);
            desk.mail()
                .assert_exactly(&[mail(1), mail(3)])
                .assert_tidy();
            assert_eq!(desk.server.uids(), ["uid-2"]);
        }
        let list = desk.pouch(&["ledger", "list", "--state", "skipped"]).run();
        assert_eq!(
            list.stdout.contains("dropped by the filter `sh`"),
            dropped,
            "{list}"
        );
        // The message is not lost.
        desk.home.write("script", "cat", 0o600);
        desk.pouch(&["ledger", "retry", "work", "2"]).run();
        desk.fetch(0);
        desk.mail().assert_exactly(&[mail(1), mail(2), mail(3)]);
        assert_eq!(desk.server.remaining(), 0);
    }
}

#[test]
fn rules_match_headers_added_by_a_filter() {
    let lines = "filter = [[\"sed\", \"s/^Subject: Message 2/X-Spam: yes\\\\n&/\"]]\n\
                 [[account.work.rule]]\nheader = \"X-Spam: yes\"\naction = \"maildir:.Spam\"";
    let desk = Desk::with(3, lines, |server| server);
    desk.fetch(0);
    desk.mail().assert_exactly(&[mail(1), mail(3)]);
    desk.home
        .maildir("Mail/work/.Spam")
        .assert_exactly(&[changed(2, "Subject", "X-Spam: yes\nSubject")]);
}

#[cfg(feature = "system-tests")]
#[test]
fn bogofilter_header_is_matched_by_a_rule() {
    let lines = "filter = [[\"bogofilter\", \"-p\", \"-e\"]]\n\
                 [[account.work.rule]]\nheader = \"X-Bogosity: spam*\"\naction = \"maildir:.Spam\"";
    let spam = "From: x@y.example\nSubject: pills\n\nbuy cheap pills now\n";
    let desk = Desk::with(1, lines, |server| server.message("spam", spam));
    desk.home
        .system_command("bogofilter", &["-s"])
        .stdin(spam)
        .run()
        .assert_code(0);
    desk.home
        .system_command("bogofilter", &["-n"])
        .stdin(mail(2))
        .run()
        .assert_code(0);
    desk.fetch(0);
    let bogosity = |place: &str, what: &str| {
        let mail = desk.home.maildir(place);
        assert_eq!(mail.len(), 1, "{place}");
        assert!(
            String::from_utf8_lossy(&mail.delivered()[0].bytes)
                .contains(&format!("\nX-Bogosity: {what}"))
        );
    };
    bogosity("Mail/work", "Ham");
    bogosity("Mail/work/.Spam", "Spam");
}

#[cfg(feature = "system-tests")]
#[test]
fn shortened_message_is_complete_after_a_crash() {
    let desk = Desk::with(
        3,
        "filter = [[\"sed\", \"/line/d\"]]\nkeep = \"none\"",
        |server| server,
    );
    // The run is killed after a message was published and before that is recorded.
    desk.traced("linkat:signal=KILL:when=2").assert_code(137);
    assert!(desk.mail().len() > 0);
    desk.server.wait_for(|log| log.open() == 0);
    desk.fetch(0);
    let mail = desk.mail();
    assert_eq!((mail.len(), desk.server.remaining()), (3, 0));
    assert!(
        mail.delivered()
            .iter()
            .all(|mail| !String::from_utf8_lossy(&mail.bytes).contains("line"))
    );
}

const SUBJECT: &str = "filter = [[\"sed\", \"s/^Subject: /&(spam) /\"]]";

#[cfg(feature = "system-tests")]
#[test]
fn changed_subject_is_recognised_after_a_crash() {
    // The next run does not reach the server.
    for offline in [false, true] {
        let desk = Desk::with(3, &format!("{SUBJECT}\nkeep = \"none\""), |server| server);
        desk.traced("linkat:signal=KILL:when=2").assert_code(137);
        assert!(desk.mail().len() > 0);
        desk.server.wait_for(|log| log.open() == 0);
        if offline {
            fs::remove_file(desk.home.join("password")).unwrap();
            desk.fetch(78);
            desk.home.write("password", "secret\n", 0o600);
        }
        desk.fetch(0);
        let subject = |n: usize| {
            (
                format!("Subject: Message {n}"),
                format!("Subject: (spam) Message {n}"),
            )
        };
        desk.mail()
            .assert_exactly(&[1, 2, 3].map(|n| changed(n, &subject(n).0, &subject(n).1)))
            .assert_tidy();
        assert_eq!(desk.server.remaining(), 0);
    }
}

#[test]
fn renamed_file_with_changed_subject_is_not_a_deletion() {
    let desk = Desk::with(4, &format!("{SUBJECT}\nsync-deletions = true"), |server| {
        server
    });
    desk.fetch(0);
    let folder = desk.home.make_dir("Mail/work/.Junk/cur", 0o700);
    let name = desk.mail().delivered()[1].name.clone();
    fs::rename(
        desk.home.join("Mail/work/new").join(name),
        folder.join("1795392000.M1P1.elsewhere:2,S"),
    )
    .unwrap();
    desk.fetch(0).assert_silent();
    assert_eq!(desk.server.remaining(), 4);
    // After a move, the message is recognised by the header on the server.
    desk.server.renew_uids();
    assert_snapshot!(desk.fetch(0).stderr_text(), @"
    pouch: work: the server has given its messages new UIDs
      4 messages recognised by their headers; not fetching them again
    ");
    assert_eq!((desk.server.remaining(), desk.retrieved()), (4, 4));
}

#[test]
fn truncated_and_dropped_message_is_not_downloaded_forever() {
    let filter = "filter = [[\"sh\", \"script\"]]\nkeep = \"none\"\nnotice = false";
    let desk = Desk::with(1, filter, |server| {
        server.fault(on("RETR").uid("uid-1").short(330).times(1))
    });
    desk.home.write("script", "cat", 0o600);
    desk.fetch(75);
    desk.home.write("script", "exit 99", 0o600);
    for runs in [2, 3, 3, 3] {
        desk.pouch(&["fetch"]).run();
        assert_eq!(
            (desk.retrieved(), desk.mail().len(), desk.server.remaining()),
            (runs, 1, 1)
        );
    }
    assert_snapshot!(desk.pouch(&["plan"]).run().stdout_text(), @"
    work: 1 message on the server, 1 known
      leave      1             truncated before; next try 2026-11-24
    ");
    desk.fetch_at(2, 75);
    assert_eq!(desk.retrieved(), 4);
    // Finally all messages pass the filter.
    desk.home.write("script", "cat", 0o600);
    desk.fetch_at(5, 0);
    desk.fetch_at(5, 0);
    assert_eq!((desk.mail().len(), desk.server.remaining()), (2, 0));
}

#[test]
fn filter_that_cannot_be_run_stops_the_account() {
    let desk = Desk::with(2, "filter = [[\"/nonexistent/spamc\"]]", |server| server);
    assert_snapshot!(desk.fetch(78).stderr_text(), @r#"
    pouch: work: cannot run the filter `/nonexistent/spamc`
      No such file or directory
    hint: write `filter` as a list of commands, each of them a list: [["bogofilter", "-p", "-e"]]
    "#);
    assert_eq!((desk.mail().len(), desk.server.remaining()), (0, 2));
    desk.configure("filter = [\"spamc\"]");
    assert_snapshot!(desk.fetch(78).stderr_text(), @r#"
    pouch: ~/.config/pouch/config.toml:10:10: `filter` must be a list of commands, like [["bogofilter", "-p", "-e"]], not a list that contains a string
      10 | filter = ["spamc"]
         |          ^^^^^^^^^
    hint: write each filter as a list: [["bogofilter", "-p", "-e"], …]
    "#);
    assert!(fs::exists(desk.home.join("Mail")).unwrap());
}
