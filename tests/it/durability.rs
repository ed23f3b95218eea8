//! The order of syncs in a trace of system calls: the data before the file name, the file name
//! before the ledger, the ledger before the deletion from the server.

use std::{collections::HashMap, fs};

use crate::{
    fixture::Desk,
    server::{Server, corpus},
    support::trace::{Call, calls, traced},
};

/// The system calls that create, name and sync files, or send data to the server.
const CALLS: &str = "open,openat,linkat,rename,renameat2,fsync,fdatasync,sendto";

/// A message that was published in `new`: the time, and the file.
struct Shown {
    at: usize,
    file: String,
}

/// Returns all published messages. A file that was created without a name is identified by the path
/// that the kernel shows for it, whatever names it gets later.
fn shown(calls: &[Call]) -> Vec<Shown> {
    let mut nameless = HashMap::new();
    let mut files: HashMap<String, String> = HashMap::new();
    let mut shown = Vec::new();
    for (at, call) in calls
        .iter()
        .enumerate()
        .filter(|(_, call)| call.result >= 0)
    {
        let strings: Vec<_> = call
            .strings()
            .iter()
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect();
        match call.name.as_str() {
            "open" | "openat" if call.says("O_TMPFILE") => {
                nameless.insert(
                    format!("/proc/self/fd/{}", call.result),
                    call.opened.clone().unwrap(),
                );
            }
            "linkat" | "rename" | "renameat2" => {
                let (from, to) = (&strings[0], &strings[1]);
                let file = nameless
                    .get(from)
                    .or(files.get(from))
                    .unwrap_or(from)
                    .clone();
                if to.contains("/new/") {
                    shown.push(Shown {
                        at,
                        file: file.clone(),
                    });
                }
                files.insert(to.clone(), file);
            }
            _ => {}
        }
    }
    shown
}

#[test]
fn data_is_durable_before_name_ledger_and_deletion() {
    let desk = Desk::new(
        Server::plain().messages(corpus::messages(5)),
        "keep = \"none\"",
    );
    traced(&desk.home, CALLS, None, &["fetch"])
        .run()
        .assert_code(0);
    let calls = calls(&desk.home);
    let synced = |call: &Call, file: &dyn Fn(&str) -> bool| {
        call.name.ends_with("sync")
            && call.result == 0
            && call.files().iter().any(|path| file(path))
    };
    let after = |from: usize, wanted: &dyn Fn(&Call) -> bool| {
        calls[from..]
            .iter()
            .position(wanted)
            .map(|found| from + found)
    };
    let shown = shown(&calls);
    assert_eq!(shown.len(), 5, "{calls:#?}");
    for Shown { at, file } in &shown {
        let safe = calls[..*at]
            .iter()
            .any(|call| synced(call, &|path| path == file));
        assert!(safe, "{file} was named before it was safe: {calls:#?}");
    }
    let last = shown.last().unwrap().at;
    let folder = after(last, &|call| synced(call, &|path| path.ends_with("/new")));
    let folder = folder.unwrap_or_else(|| panic!("the folder was not made safe: {calls:#?}"));
    let ledger = after(folder, &|call| {
        synced(call, &|path| path.ends_with(".db-wal"))
    });
    let ledger =
        ledger.unwrap_or_else(|| panic!("the ledger was not made safe after the mail: {calls:#?}"));
    let deletes = |call: &Call| call.name == "sendto" && call.strings()[0].starts_with(b"DELE ");
    let deletion = after(0, &deletes);
    assert!(
        deletion.is_some_and(|deletion| deletion > ledger),
        "deleted before the ledger was safe: {calls:#?}"
    );
    // The ledger does not record the delivery before the message is durable.
    let early = calls[shown[0].at..folder]
        .iter()
        .any(|call| synced(call, &|path| path.contains("/mailboxes/")));
    assert!(!early, "{calls:#?}");
}

#[test]
fn new_maildir_is_durable_before_the_ledger() {
    let desk = Desk::new(Server::plain().messages(corpus::messages(2)), "");
    // made by hand, so that pouch does not sync it when it creates the rest
    for part in ["tmp", "new", "cur"] {
        fs::create_dir_all(desk.home.join("Mail/work").join(part)).unwrap();
    }
    traced(&desk.home, CALLS, None, &["fetch"])
        .run()
        .assert_code(0);
    let calls = calls(&desk.home);
    let last = shown(&calls).last().unwrap().at;
    let synced = |directory: &str| {
        let path = desk.home.join(directory);
        let path = path.to_str().unwrap();
        calls[last..].iter().position(|call| {
            call.name == "fsync" && call.result == 0 && call.files().iter().any(|file| file == path)
        })
    };
    let ledger = calls[last..].iter().position(|call| {
        call.name.ends_with("sync") && call.files().iter().any(|file| file.ends_with(".db-wal"))
    });
    for directory in ["Mail/work/new", "Mail/work", "Mail"] {
        let at = synced(directory).unwrap_or_else(|| panic!("{directory} was not synced"));
        assert!(
            at < ledger.unwrap(),
            "{directory} was synced after the ledger: {calls:#?}"
        );
    }
}

#[test]
fn poll_without_new_mail_does_not_sync() {
    let desk = Desk::new(Server::plain().messages(corpus::messages(5)), "");
    desk.fetch(0);
    // The first poll after new mail restarts SQLite's write-ahead log, which needs a sync.
    desk.fetch(0);
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let calls = "trace=fsync,fdatasync,sync_file_range,syncfs";
    desk.home
        .system_command(
            "strace",
            &["-f", "-qq", "-e", calls, "-o", "trace", pouch, "fetch"],
        )
        .run()
        .assert_code(0);
    assert_eq!(String::from_utf8_lossy(&desk.home.read("trace")), "");
    desk.assert_arrived(1..=5);
}
