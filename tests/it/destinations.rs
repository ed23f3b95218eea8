//! Rules that choose destinations: a folder, another Maildir, several destinations.

use std::fs;

use insta::assert_snapshot;

use crate::{
    fixture::Desk,
    server::{corpus, on},
};
#[cfg(feature = "system-tests")]
use crate::{fixture::NOW, server::Server};

fn rule(lines: &str) -> String {
    format!("\n[[account.work.rule]]\n{lines}\n")
}

/// Returns the messages of these numbers as stored on the disk.
fn mails(numbers: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    numbers
        .into_iter()
        .map(|n| corpus::on_disk(&corpus::message(n)))
        .collect()
}

/// Moves all mail of the Maildirs from `new` to `cur`, as a mail program does.
fn read_all(desk: &Desk) {
    for name in ["Mail/work", "Mail/all"] {
        let folder = desk.home.join(name);
        for file in fs::read_dir(folder.join("new")).into_iter().flatten() {
            let name = file.unwrap().file_name().into_string().unwrap();
            fs::rename(
                folder.join("new").join(&name),
                folder.join("cur").join(name + ":2,S"),
            )
            .unwrap();
        }
    }
}

const COPIES: &str = "\n[[account.work.rule]]\nsubject = \"*\"\naction = \"fetch\"\nalso = [\"maildir:~/Mail/all\"]\n";

#[test]
fn rule_delivers_to_folders() {
    let lines = "keep = \"none\"\n".to_owned()
        + &rule("subject = \"Message 2\"\naction = \"maildir:.Lists.rust\"")
        + &rule("subject = \"Message 3\"\naction = \"maildir:~/Mail/other\"");
    let desk = Desk::with(4, &lines, |server| server);
    let output = desk.pouch(&["plan", "-v"]).run();
    assert_snapshot!(output.stdout_text(), @"
    work: 4 messages on the server, 0 known
      fetch      4    1.6 KB   new; then deleted from the server
      message    new     363 B   fetch to ~/Mail/work: new; then deleted from the server
          UID uid-1, from Ben, subject: Message 1
      message    new     401 B   fetch to ~/Mail/work/.Lists.rust: new; then deleted from the server; rule 1
          UID uid-2, from Ben, subject: Message 2
      message    new     439 B   fetch to ~/Mail/other: new; then deleted from the server; rule 2
          UID uid-3, from Ben, subject: Message 3
      message    new     477 B   fetch to ~/Mail/work: new; then deleted from the server
          UID uid-4, from Ben, subject: Message 4
    ");
    assert!(!desk.home.join("Mail").exists());
    desk.fetch(0);
    desk.mail().assert_exactly(&mails([1, 4])).assert_tidy();
    desk.home
        .maildir("Mail/work/.Lists.rust")
        .assert_exactly(&mails([2]))
        .assert_tidy();
    desk.home
        .maildir("Mail/other")
        .assert_exactly(&mails([3]))
        .assert_tidy();
    assert!(
        desk.home
            .join("Mail/work/.Lists.rust/maildirfolder")
            .exists()
    );
    assert!(!desk.home.join("Mail/other/maildirfolder").exists());
    assert_eq!(desk.server.remaining(), 0);
    assert_snapshot!(desk.pouch(&["ledger", "verify"]).run().assert_code(0).stdout_text(), @"work: 4 messages delivered, 4 of them in its Maildirs");
}

#[test]
fn message_whose_header_was_not_read_is_routed() {
    let lines = rule("subject = \"Message 2\"\naction = \"maildir:.Lists\"");
    let desk = Desk::with(3, &lines, |server| server.without("TOP"));
    desk.fetch(0);
    desk.mail().assert_exactly(&mails([1, 3])).assert_tidy();
    desk.home
        .maildir("Mail/work/.Lists")
        .assert_exactly(&mails([2]));
    // The same for a message that failed first.
    let desk = Desk::with(3, &lines, |server| {
        server.fault(on("RETR").uid("uid-2").nth(1).refuse("-ERR no"))
    });
    desk.fetch(75);
    desk.fetch(0);
    desk.mail().assert_exactly(&mails([1, 3]));
    desk.home
        .maildir("Mail/work/.Lists")
        .assert_exactly(&mails([2]));
}

#[test]
fn to_on_the_command_line_overrides_rules() {
    let desk = Desk::with(
        2,
        &rule("subject = \"*\"\naction = \"maildir:.Lists\""),
        |server| server,
    );
    desk.pouch(&["fetch", "--to", "Elsewhere"])
        .run()
        .assert_code(0);
    desk.home
        .maildir("Elsewhere")
        .assert_exactly(&mails([1, 2]));
    assert!(!desk.home.join("Mail").exists());
}

#[test]
fn every_destination_gets_its_copy() {
    let desk = Desk::with(3, &("keep = \"none\"".to_owned() + COPIES), |server| server);
    desk.fetch(0);
    desk.mail().assert_exactly(&mails(1..=3)).assert_tidy();
    desk.home
        .maildir("Mail/all")
        .assert_exactly(&mails(1..=3))
        .assert_tidy();
    assert_eq!(desk.server.remaining(), 0);
}

#[cfg(feature = "system-tests")]
#[test]
fn killed_between_two_destinations_delivers_once_to_each() {
    for (call, count) in [("renameat2", 2), ("linkat", 4), ("fsync", 8)] {
        for nth in 1..=count {
            let desk = Desk::with(3, &("keep = \"none\"".to_owned() + COPIES), |server| server);
            let killed = desk.traced(&format!("{call}:signal=KILL:when={nth}"));
            assert!(killed.code == 137 || call == "fsync", "{killed}");
            println!("{call} {nth}");
            read_all(&desk);
            desk.server.wait_for(|log| log.open() == 0);
            desk.fetch(0);
            desk.mail().assert_exactly(&mails(1..=3)).assert_tidy();
            desk.home
                .maildir("Mail/all")
                .assert_exactly(&mails(1..=3))
                .assert_tidy();
            assert_eq!(desk.server.remaining(), 0);
            desk.fetch(0).assert_silent();
        }
    }
}

#[test]
fn failing_program_causes_no_second_copy() {
    let script = "if test -e ~/broken; then exit 75; fi; cat >> ~/got";
    let copies = rule(
        "subject = \"Message 2\"\naction = \"fetch\"\nalso = [\"maildir:~/Mail/all\", \"pipe:sh script\", \"pipe:sh second\"]",
    );
    let desk = Desk::with(3, &("keep = \"none\"".to_owned() + &copies), |server| {
        server
    });
    desk.home.write("script", script, 0o600);
    desk.home.write("second", "cat >> ~/second-got", 0o600);
    desk.home.write("broken", "", 0o600);
    for _ in 0..3 {
        desk.fetch(75);
        desk.mail().assert_exactly(&mails(1..=3)).assert_tidy();
        desk.home
            .maildir("Mail/all")
            .assert_exactly(&mails([2]))
            .assert_tidy();
        assert_eq!(desk.home.read("second-got"), mails([2])[0]);
        assert_eq!(desk.server.uids(), ["uid-2"]);
        read_all(&desk);
    }
    fs::remove_file(desk.home.join("broken")).unwrap();
    desk.fetch(0);
    assert_eq!(desk.home.read("got"), mails([2])[0]);
    assert_eq!(desk.home.read("second-got"), mails([2])[0]);
    desk.mail().assert_exactly(&mails(1..=3)).assert_tidy();
    assert_eq!(desk.server.remaining(), 0);
}

#[cfg(feature = "system-tests")]
#[test]
fn removing_a_failing_destination_causes_no_second_copy() {
    let failing = rule("subject = \"*\"\naction = \"fetch\"\nalso = [\"pipe:sh -c 'exit 75'\"]");
    for (lines, code) in [(failing.as_str(), 75), (COPIES, 137)] {
        let desk = Desk::with(2, &("keep = \"none\"".to_owned() + lines), |server| server);
        if code == 75 {
            desk.fetch(75);
        } else {
            desk.traced("renameat2:signal=KILL:when=2").assert_code(137);
            desk.server.wait_for(|log| log.open() == 0);
        }
        assert_eq!(desk.server.remaining(), 2);
        read_all(&desk);
        desk.configure("keep = \"none\"");
        desk.fetch(0);
        desk.mail().assert_exactly(&mails(1..=2)).assert_tidy();
        assert_eq!(desk.server.remaining(), 0);
        desk.fetch(0).assert_silent();
    }
}

#[cfg(feature = "system-tests")]
#[test]
fn killed_between_two_destinations_finds_a_moved_message() {
    // The second destination has no message yet.
    let desk = Desk::with(3, &("keep = \"none\"".to_owned() + COPIES), |server| server);
    desk.traced("renameat2:signal=KILL:when=2").assert_code(137);
    desk.server.wait_for(|log| log.open() == 0);
    let folder = desk.home.make_dir("Mail/work/.Archive/cur", 0o700);
    for file in fs::read_dir(desk.home.join("Mail/work/new")).unwrap() {
        let file = file.unwrap();
        fs::rename(
            file.path(),
            folder.join(format!("{}:2,S", file.file_name().display())),
        )
        .unwrap();
    }
    desk.fetch(0);
    assert_eq!(
        desk.mail().len() + desk.home.maildir("Mail/work/.Archive").len(),
        3
    );
    desk.home
        .maildir("Mail/all")
        .assert_exactly(&mails(1..=3))
        .assert_tidy();
    assert_eq!(desk.server.remaining(), 0);
}

#[cfg(feature = "system-tests")]
#[test]
fn killed_between_two_destinations_finds_paths_in_any_spelling() {
    let lines = "maildir = \"~/Mail//work/\"\nkeep = \"none\"".to_owned()
        + &COPIES.replace("/all", "/./all/");
    let desk = Desk::with(3, &lines, |server| server);
    desk.traced("renameat2:signal=KILL:when=2").assert_code(137);
    desk.server.wait_for(|log| log.open() == 0);
    read_all(&desk);
    desk.fetch(0);
    desk.mail().assert_exactly(&mails(1..=3)).assert_tidy();
    desk.home
        .maildir("Mail/all")
        .assert_exactly(&mails(1..=3))
        .assert_tidy();
}

#[cfg(feature = "system-tests")]
#[test]
fn full_destination_causes_no_second_copy() {
    let desk = Desk::with(1, &("keep = \"none\"".to_owned() + COPIES), |server| server);
    desk.fetch(0);
    desk.server.add("big", corpus::sized(9, 300_000));
    let all = desk.home.make_dir("Mail/all", 0o700);
    let all = all.to_str().unwrap();
    desk.home
        .system_command(
            "mount",
            &["-t", "tmpfs", "-o", "size=64k,mode=700", "none", all],
        )
        .run()
        .assert_code(0);
    let output = desk.at(0, &["fetch"]).run();
    let first = desk.mail();
    read_all(&desk);
    desk.home
        .system_command("mount", &["-o", "remount,size=4m", all])
        .run()
        .assert_code(0);
    desk.fetch(0);
    let (work, copies) = (desk.mail(), desk.home.maildir("Mail/all"));
    desk.home
        .system_command("umount", &[all])
        .run()
        .assert_code(0);
    assert_snapshot!(output.assert_code(74).stderr_text(), @"
    pouch: work: cannot write ~/Mail/all/tmp/1795392000.R2P2L-LEDGER.HOST
      No space left on device
      message 2 left on the server; other messages are not affected
    hint: free space on that disk; the next run continues where this one stopped
    ");
    assert_eq!((first.len(), work.len(), copies.len()), (2, 2, 1));
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn deleted_everywhere_is_deleted_on_the_server() {
    let lines = "sync-deletions = true\n".to_owned() + COPIES;
    let desk = Desk::with(3, &lines, |server| server);
    desk.fetch(0);
    let delete = |folder: &str, n: usize| {
        let mail = desk.home.maildir(folder);
        let found = mail
            .delivered()
            .iter()
            .find(|mail| mail.bytes == mails([n])[0])
            .unwrap();
        fs::remove_file(desk.home.join(folder).join("new").join(&found.name)).unwrap();
    };
    delete("Mail/work", 2);
    desk.fetch(0);
    assert_eq!(desk.server.remaining(), 3);
    delete("Mail/all", 2);
    desk.fetch(0);
    assert_eq!(desk.server.uids(), ["uid-1", "uid-3"]);
}

#[cfg(feature = "system-tests")]
#[test]
fn duplicate_in_one_maildir_is_not_a_copy_in_the_other() {
    let desk = Desk::with(1, COPIES, |server| server);
    desk.traced("renameat2:signal=KILL:when=2").assert_code(137);
    desk.server.wait_for(|log| log.open() == 0);
    for file in fs::read_dir(desk.home.join("Mail/all/new")).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    // A mail program moves the file during the search.
    let (new, cur) = (
        desk.home.join("Mail/work/new"),
        desk.home.join("Mail/work/cur"),
    );
    let name = desk.mail().delivered()[0].name.clone();
    fs::hard_link(new.join(&name), cur.join(format!("{name}:2,S"))).unwrap();
    desk.fetch(0);
    desk.home
        .maildir("Mail/all")
        .assert_exactly(&mails([1]))
        .assert_tidy();
}

#[test]
fn copies_do_not_exhaust_open_files() {
    let also = "also = [\"maildir:.A\", \"maildir:.B\", \"maildir:.C\"]";
    let desk = Desk::with(
        100,
        &rule(&format!("subject = \"*\"\naction = \"fetch\"\n{also}")),
        |server| server,
    );
    desk.home
        .limited_pouch("-n 64", &["fetch"])
        .run()
        .assert_code(0)
        .assert_silent();
    for place in ["Mail/work", "Mail/work/.A", "Mail/work/.B", "Mail/work/.C"] {
        desk.home.maildir(place).assert_exactly(&mails(1..=100));
    }
}

#[cfg(feature = "system-tests")]
#[test]
fn drafts_of_another_account_are_kept() {
    let desk = Desk::with(2, "", |server| server);
    let setup =
        Server::plain().messages((1..=3).map(|n| (format!("other-{n}"), corpus::message(n + 10))));
    let other = setup
        .fault(on("RETR 3").nth(1).octets(50).silence())
        .start();
    let config = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    let second = config
        .replace("account.work", "account.other")
        .replace("127.0.0.1", "localhost")
        .replace(
            &format!("port = {}", desk.server.port()),
            &format!("port = {}", other.port()),
        )
        .replace("timeout = \"1s\"", "timeout = \"10s\"");
    desk.home.config(&format!("{config}\n{second}"));
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let killed = [
        "-f",
        "-qq",
        "-o",
        "calls",
        "-e",
        "inject=renameat2:signal=KILL:when=1",
        pouch,
        "fetch",
        "work",
    ];
    desk.home
        .system_command("strace", &killed)
        .env("POUCH_NOW", NOW.to_string())
        .run()
        .assert_code(137);
    let mut running = desk.pouch(&["fetch", "other", "-vv"]).spawn();
    // Two drafts are complete, the third is partial.
    running.wait_for_times(" octets\n", 3);
    desk.pouch(&["fetch", "work"]).run().assert_code(0);
    running.wait().assert_code(0);
    desk.mail()
        .assert_exactly(&mails([1, 2, 11, 12, 13]))
        .assert_tidy();
}
