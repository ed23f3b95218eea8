//! `pouch ledger backup`, `restore`, `export` and `drop`: whole ledgers.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use insta::assert_snapshot;
use rusqlite::Connection;

use crate::{
    fixture::Desk,
    server::{corpus, on},
};

/// Creates an account with three messages, which are fetched.
fn desk(lines: &str) -> Desk {
    let desk = Desk::with(3, lines, |server| server);
    desk.fetch(0);
    desk
}

/// Returns the transcript of a command, without the port and the hash in the name of a ledger.
fn transcript(desk: &Desk, args: &[&str]) -> String {
    let text = desk.pouch(args).run().transcript();
    let shorten = |word: &str| match (word.rfind('/'), word.find(".db")) {
        (Some(dir), Some(end)) => format!("{}LEDGER{}", &word[..=dir], &word[end..]),
        _ => word.to_owned(),
    };
    let lines = text.lines().map(|line| {
        let words: Vec<_> = line.split(' ').map(shorten).collect();
        words.join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Runs a command, and asserts that it succeeds.
#[track_caller]
fn succeed(desk: &Desk, args: &[&str]) {
    desk.pouch(args).run().assert_code(0);
}

/// Returns the ledgers in the state directory.
fn ledgers(desk: &Desk) -> Vec<PathBuf> {
    let entries = fs::read_dir(desk.home.state().join("mailboxes")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
        .collect()
}

/// Moves the state directory away, as on a new machine.
fn forget_all(desk: &Desk) {
    fs::remove_dir_all(desk.home.state()).unwrap();
}

#[test]
fn backup_is_private_and_never_overwritten_silently() {
    let desk = desk("");
    assert_snapshot!(transcript(&desk, &["ledger", "backup", "work", "work.ledger"]), @"
    $ pouch ledger backup work work.ledger
    work: ledger copied to ~/work.ledger (3 messages)
    ");
    let copy = desk.home.join("work.ledger");
    assert_eq!(
        fs::metadata(&copy).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let before = fs::read(&copy).unwrap();
    assert_snapshot!(transcript(&desk, &["ledger", "backup", "work", "work.ledger"]), @"
    $ pouch ledger backup work work.ledger
    ------- stderr -------
    pouch: work: ~/work.ledger already exists
    hint: `--replace` replaces it
    [exit code: 73]
    ");
    assert_eq!(fs::read(&copy).unwrap(), before);
    desk.server.add("uid-4", corpus::message(4));
    desk.fetch(0);
    assert_snapshot!(transcript(&desk, &["ledger", "backup", "work", "work.ledger", "--replace"]), @"
    $ pouch ledger backup work work.ledger --replace
    work: ledger copied to ~/work.ledger (4 messages)
    ");
    assert_snapshot!(transcript(&desk, &["ledger", "backup", "work", "-"]), @"
    $ pouch ledger backup work -
    ------- stderr -------
    pouch: a backup is not written to standard output
    hint: name a file or a directory
    [exit code: 64]
    ");
    let restore = desk.pouch(&["ledger", "restore", "-"]).stdin("no ledger");
    assert_snapshot!(restore.run().transcript(), @"
    $ pouch ledger restore -
    ------- stderr -------
    pouch: cannot read the ledger on standard input
      SQLite: file is not a database
    hint: name a file that `pouch ledger backup` or `pouch ledger export` wrote
    [exit code: 65]
    ");
    // no draft is left
    let names: Vec<_> = fs::read_dir(desk.home.path()).unwrap().collect();
    assert!(!names.iter().any(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with(".pouch-")
    }));
}

#[test]
fn backup_has_all_mailboxes_in_a_directory() {
    let desk = desk("");
    assert_snapshot!(transcript(&desk, &["ledger", "backup", "backups/pouch"]), @"
    $ pouch ledger backup backups/pouch
    ann@127.0.0.1:PORT: ledger copied to ~/backups/pouch/LEDGER.db (3 messages)
    ");
    assert_snapshot!(transcript(&desk, &["ledger", "backup", "work"]), @"
    $ pouch ledger backup work
    ------- stderr -------
    pouch: `work` is an account; the path for its copy is missing
    hint: run `pouch ledger backup work FILE`
    [exit code: 64]
    ");
    forget_all(&desk);
    assert_snapshot!(transcript(&desk, &["ledger", "backup", "backups/pouch"]), @"
    $ pouch ledger backup backups/pouch
    ------- stderr -------
    pouch: there is no ledger in ~/.local/state/pouch
    [exit code: 64]
    ");
    assert_snapshot!(transcript(&desk, &["ledger", "restore", "backups/pouch"]), @"
    $ pouch ledger restore backups/pouch
    ann@127.0.0.1:PORT: ledger restored: 3 messages, last run 2026-11-23 00:00
    ann@127.0.0.1:PORT: messages that were delivered to other destinations after the backup are fetched again
    ");
    desk.fetch(0).assert_silent();
    assert_eq!(desk.retrieved(), 3);
}

#[test]
fn backup_during_a_run_is_consistent() {
    let desk = Desk::with(3, "", |server| {
        server.fault(on("RETR").uid("uid-2").silence())
    });
    let mut run = desk.pouch(&["fetch"]).spawn();
    desk.server.wait_for(|log| log.count("RETR") >= 2);
    succeed(&desk, &["ledger", "backup", "work", "copy"]);
    run.kill();
    let copy = Connection::open(desk.home.join("copy")).unwrap();
    let check: String = copy
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn messages_that_are_newer_than_the_backup_are_recognised_by_their_files() {
    let desk = desk("keep = \"30d\"");
    succeed(&desk, &["ledger", "backup", "work", "old"]);
    for n in [4, 5] {
        desk.server.add(corpus::uid(n), corpus::message(n));
    }
    desk.fetch(0);
    assert_snapshot!(transcript(&desk, &["ledger", "restore", "old"]), @"
    $ pouch ledger restore old
    ------- stderr -------
    pouch: ann@127.0.0.1:PORT already has a ledger
      here: 5 messages, last run 2026-11-23 00:00
      backup: 3 messages, last run 2026-11-23 00:00
    hint: to restore the backup, and keep the old ledger under another name, use `--replace`
    [exit code: 73]
    ");
    assert_snapshot!(transcript(&desk, &["ledger", "restore", "old", "--replace"]), @"
    $ pouch ledger restore old --replace
    ann@127.0.0.1:PORT: ledger restored: 3 messages, last run 2026-11-23 00:00
    ann@127.0.0.1:PORT: the old ledger is now ~/.local/state/pouch/mailboxes/LEDGER.db.replaced-1795392000
    ann@127.0.0.1:PORT: 2 messages in its Maildirs were delivered later; the next run recognises those still on the server
    ann@127.0.0.1:PORT: messages that were delivered to other destinations after the backup are fetched again
    ");
    assert_eq!(ledgers(&desk).len(), 1);
    desk.server.add("uid-6", corpus::message(6));
    assert_snapshot!(transcript(&desk, &["fetch", "-v"]), @"
    $ pouch fetch -v
    ------- stderr -------
    pouch: work: the ledger was restored from a backup, and has been completed
      2 messages recognised by files in the Maildir; not fetching them again
    work: logged in at 127.0.0.1:PORT
    work: 6 listed, 1 to fetch
    work   1 new (553 B) to ~/Mail/work
    ");
    desk.assert_arrived(1..=6);
    // the numbers of the lost rows are not used again
    let shown = desk.pouch(&["ledger", "list", "--all"]).run();
    shown.assert_stdout("       8 delivered");
    desk.fetch(0).assert_silent();
    assert_eq!(desk.retrieved(), 6);
}

#[test]
fn restored_ledger_without_headers_fetches_again() {
    let desk = Desk::with(1, "", |server| server.without("TOP"));
    desk.fetch(0);
    succeed(&desk, &["ledger", "backup", "work", "old"]);
    desk.server.add("uid-2", corpus::message(2));
    desk.fetch(0);
    succeed(&desk, &["ledger", "restore", "old", "--replace"]);
    let output = desk.pouch(&["fetch"]).run();
    output.assert_code(0);
    assert_snapshot!(output.stderr_text(), @"
    pouch: work: 127.0.0.1 does not support TOP, so its messages cannot be compared with files
      nothing was recorded
      messages that were delivered after the backup are fetched again
    hint: to fetch only new mail from now on, use `pouch ledger catchup`
    ");
    assert_eq!(desk.mail().len(), 3);
    desk.fetch(0).assert_silent();
}

#[test]
fn damaged_ledger_is_replaced_and_kept() {
    let desk = desk("");
    succeed(&desk, &["ledger", "backup", "work", "good"]);
    fs::write(desk.ledger(), "no database").unwrap();
    let output = desk
        .pouch(&["ledger", "restore", "good", "--replace"])
        .run();
    output.assert_code(0);
    desk.fetch(0);
    assert_eq!(desk.retrieved(), 3);
}

#[test]
fn files_that_are_no_ledger_are_refused() {
    let desk = desk("");
    desk.home.write("text", "no ledger", 0o600);
    desk.home.write("empty", "", 0o600);
    for name in ["text", "empty", "none", "/dev/null", "."] {
        let output = desk.pouch(&["ledger", "restore", name, "--replace"]).run();
        assert!(output.code != 0, "{output}");
    }
    let own = desk.ledger();
    assert_snapshot!(transcript(&desk, &["ledger", "restore", own.to_str().unwrap(), "--replace"])
        .lines().skip(1).collect::<Vec<_>>().join("\n"), @"
    ------- stderr -------
    pouch: this is the ledger that pouch uses, not a backup
    [exit code: 64]
    ");
    desk.fetch(0);
    assert_eq!(desk.retrieved(), 3);
}

#[test]
fn exported_mailbox_is_not_fetched_any_more() {
    let desk = desk("");
    assert_snapshot!(transcript(&desk, &["ledger", "export", "work", "moved"]), @"
    $ pouch ledger export work moved
    work: exported to ~/moved; not fetched here any more
    on the other machine, run `pouch ledger restore` with a copy of that file
    ");
    assert_snapshot!(transcript(&desk, &["fetch"]), @"
    $ pouch fetch
    ------- stderr -------
    pouch: work: the ledger was exported to another machine on 2026-11-23
      the mailbox is fetched there now, and the account is not needed here any more
    hint: to fetch it here again instead, run `pouch ledger export --undo work`
    [exit code: 65]
    ");
    // reported once a day
    desk.fetch(65).assert_silent();
    for args in [
        &["plan"][..],
        &["ledger", "catchup", "work"],
        &["ledger", "adopt", "work", "Mail/work"],
    ] {
        desk.pouch(args)
            .run()
            .assert_code(65)
            .assert_stderr("exported to another machine");
    }
    assert_snapshot!(transcript(&desk, &["ledger", "export", "work", "again"]), @"
    $ pouch ledger export work again
    ------- stderr -------
    pouch: the ledger of `work` was exported on 2026-11-23
    hint: use that file; to export it again, run `pouch ledger export --undo work` first
    [exit code: 64]
    ");
    assert_snapshot!(transcript(&desk, &["ledger", "restore", "moved"]), @"
    $ pouch ledger restore moved
    ------- stderr -------
    pouch: ann@127.0.0.1:PORT already has a ledger
      here: 3 messages, last run 2026-11-23 00:00
      backup: 3 messages, last run 2026-11-23 00:00
      it was exported to another machine on 2026-11-23
    hint: to fetch the mailbox here again, run `pouch ledger export --undo ann@127.0.0.1:PORT`
    [exit code: 73]
    ");
    succeed(&desk, &["ledger", "export", "--undo", "work"]);
    desk.fetch(0);
    desk.pouch(&["ledger", "export", "--undo", "work"])
        .run()
        .assert_code(64);
}

#[test]
fn exported_ledger_continues_on_the_other_machine() {
    let desk = desk("");
    let exported = desk.pouch(&["ledger", "export", "work", "-"]).run();
    exported.assert_code(0);
    forget_all(&desk);
    let restored = desk
        .pouch(&["ledger", "import", "-"])
        .stdin(exported.stdout_bytes.clone());
    let output = restored.run();
    output.assert_code(0);
    assert_snapshot!(output.stdout_text(), @"ann@127.0.0.1:PORT: ledger restored: 3 messages, last run 2026-11-23 00:00");
    desk.fetch(0).assert_silent();
    assert_eq!(desk.retrieved(), 3);
}

#[test]
fn failed_export_changes_nothing() {
    let desk = desk("");
    desk.home.write("taken", "", 0o600);
    desk.pouch(&["ledger", "export", "work", "taken"])
        .run()
        .assert_code(73);
    desk.pouch(&["ledger", "export", "work", "password/x"])
        .run()
        .assert_code(73);
    desk.fetch(0);
}

#[test]
fn ledger_of_another_machine_is_reported_once() {
    let desk = desk("");
    let ledger = Connection::open(desk.ledger()).unwrap();
    let known: Option<String> = ledger
        .query_row("SELECT machine FROM mailbox", [], |row| row.get(0))
        .unwrap();
    // machines without an ID are not compared
    if known.is_none() {
        return;
    }
    ledger
        .execute(
            "UPDATE mailbox SET machine = 'other', machine_name = 'oldbox'",
            [],
        )
        .unwrap();
    drop(ledger);
    assert_snapshot!(transcript(&desk, &["fetch"]), @"
    $ pouch fetch
    ------- stderr -------
    pouch: work: the last run was on another machine, oldbox (2026-11-23 00:00)
      if both fetch the mailbox, each gets all messages, until one of them deletes some
    hint: if pouch still runs there, remove the account from the config of oldbox
    ");
    desk.fetch(0).assert_silent();
}

#[test]
fn dropped_ledger_is_gone_also_without_an_account() {
    let desk = desk("");
    assert_snapshot!(transcript(&desk, &["ledger", "drop", "work"]), @"
    $ pouch ledger drop work
    ------- stderr -------
    pouch: the ledger of ann@127.0.0.1:PORT has 3 messages, last run 2026-11-23 00:00
      without it, messages that are still on the server are fetched again, and `keep` counts from then
    hint: to delete it without confirmation, use `--yes`
    [exit code: 64]
    ");
    desk.home.config(
        "[account.new]\nhost = \"pop.example.org\"\nuser = \"bob\"\nmaildir = \"~/Mail\"\n",
    );
    assert_snapshot!(transcript(&desk, &["ledger", "drop", "nothing", "--yes"]), @"
    $ pouch ledger drop nothing --yes
    ------- stderr -------
    pouch: there is no account `nothing` in ~/.config/pouch/config.toml
      there are ledgers of ann@127.0.0.1:PORT
    hint: the only account is new
    [exit code: 64]
    ");
    assert_snapshot!(transcript(&desk, &["ledger", "drop", "new", "--yes"]), @"
    $ pouch ledger drop new --yes
    ------- stderr -------
    pouch: account `new` has no ledger yet
    hint: `pouch fetch new` creates it
    [exit code: 64]
    ");
    assert_eq!(ledgers(&desk).len(), 1);
    // the account that used it last is not in the config any more
    assert_snapshot!(transcript(&desk, &["ledger", "drop", "work", "--yes"]), @"
    $ pouch ledger drop work --yes
    work: ledger of ann@127.0.0.1:PORT deleted (3 messages)
    ");
    assert!(ledgers(&desk).is_empty());
    desk.configure("");
    desk.fetch(0);
    assert_eq!(desk.retrieved(), 6);
}
