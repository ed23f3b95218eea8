//! A power cut at any time of a run: each message is delivered once, and none is lost.
//!
//! A run is traced. Its writes up to the power cut are replayed into a new home directory, except
//! those that were not synced ([`Disk`]). Then pouch runs again there, with the same server.

use std::{ffi::OsString, fs, path::PathBuf};

use crate::{
    fixture::{Desk, NOW},
    server::{Server, corpus},
    support::{
        disk::{Disk, Unsynced},
        trace::{self, Call, sample},
    },
};

/// The system calls that change files or send commands to the server.
const CALLS: &str = "open,openat,mkdir,write,pwrite64,copy_file_range,sendfile,ftruncate,rename,\
                     renameat2,linkat,unlink,fsync,fdatasync,sendto";

/// The maximum number of cuts in a trace, each with every [`Unsynced`] in [`FATES`].
const CUTS: usize = 4;

/// The number of messages that are fetched and deleted from the server.
const COUNT: usize = 12;

const FATES: [Unsynced; 4] = [
    Unsynced::Lost,
    Unsynced::NamesOnly,
    Unsynced::ByChance(1),
    Unsynced::ByChance(2),
];

/// The config of the default destination, a Maildir.
const MAILDIR: &str = "";
const MBOX: &str = "mbox = \"~/Mail/work\"\n";

fn desk(messages: impl IntoIterator<Item = usize>, destination: &str) -> Desk {
    let messages = messages
        .into_iter()
        .map(|n| (corpus::uid(n), corpus::message(n)));
    Desk::new(
        Server::plain().messages(messages),
        // the server has another port after the cut
        &format!("{destination}mailbox = \"work\"\nkeep = \"none\""),
    )
}

/// Runs pouch under trace, and appends its system calls to `calls`.
fn run(desk: &Desk, calls: &mut Vec<Call>, inject: Option<&str>, code: i32) {
    trace::traced(&desk.home, CALLS, inject, &["fetch"])
        .env("POUCH_NOW", NOW.to_string())
        .run()
        .assert_code(code);
    let before = calls
        .iter()
        .map(|call| call.ended)
        .max()
        .map_or(0, |last| last + 1);
    calls.extend(trace::calls(&desk.home).into_iter().map(|mut call| {
        call.began += before;
        call.ended += before;
        call
    }));
}

/// Cuts the power at several times after the call `from`, and runs pouch again.
fn cut(desk: &Desk, calls: &[Call], from: usize, destination: &str) {
    let disk = Disk::replay(desk.home.path(), calls);
    let quit = calls
        .iter()
        .find(|call| call.name == "sendto" && call.strings()[0].ends_with(b"QUIT\r\n"))
        .unwrap();
    // Failed calls change nothing, so that a cut at them adds nothing.
    let cuts: Vec<_> = calls[from..]
        .iter()
        .filter(|call| call.result >= 0)
        .map(|call| call.ended + 1)
        .collect();
    for (cut, fate) in sample(&cuts, CUTS)
        .into_iter()
        .flat_map(|cut| FATES.map(|fate| (cut, fate)))
    {
        // Once QUIT was sent, the server may have removed the deleted messages.
        let left = if quit.began < cut { 1..1 } else { 1..COUNT + 1 };
        let after = self::desk(left, destination);
        let journal = (destination == MBOX).then(|| journal(&after));
        for part in ["Mail", ".local"] {
            drop(fs::remove_dir_all(after.home.join(part)));
        }
        disk.after_power_cut(cut, fate, after.home.path());
        if let (Some(name), Some(left)) = (journal, journals(&after).first()) {
            fs::rename(left, left.with_file_name(name)).unwrap();
        }
        // A dot lock that lost its content would be stale after five minutes.
        drop(fs::remove_file(after.home.join("Mail/work.lock")));
        let output = after.pouch(&["fetch"]).run();
        println!("{cut} of {}, {fate:?}: {}", cuts.len(), output.code);
        output.assert_code(0);
        after.assert_arrived(1..=COUNT);
        assert_eq!(after.server.remaining(), 0);
    }
}

/// Returns the journals of mbox files.
fn journals(desk: &Desk) -> Vec<PathBuf> {
    let files = fs::read_dir(desk.home.state().join("mbox"))
        .into_iter()
        .flatten()
        .map(|file| file.unwrap().path());
    files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "journal")
        })
        .collect()
}

/// Returns the name of the journal in this home directory, which depends on the path of the mbox
/// file.
fn journal(desk: &Desk) -> OsString {
    desk.server.add("one", corpus::message(99));
    desk.pouch(&["fetch", "--keep"]).run().assert_code(0);
    desk.server.remove("one");
    journals(desk)[0].file_name().unwrap().to_owned()
}

#[test]
fn power_cut_in_first_run_loses_no_message() {
    let desk = desk(1..=COUNT, MAILDIR);
    let mut calls = Vec::new();
    run(&desk, &mut calls, None, 0);
    cut(&desk, &calls, 0, MAILDIR);
}

#[test]
fn power_cut_in_run_after_kill_loses_no_message() {
    // While the Maildir is created; after some messages were published; before `new` is synced.
    let kills = [
        "mkdir:signal=KILL:when=6",
        "linkat:signal=KILL:when=6",
        "fsync:signal=KILL:when=20",
    ];
    for kill in kills {
        let desk = desk(1..=COUNT, MAILDIR);
        let mut calls = Vec::new();
        run(&desk, &mut calls, Some(kill), 128 + 9);
        desk.server.wait_for(|log| log.open() == 0);
        let from = calls.len();
        run(&desk, &mut calls, None, 0);
        cut(&desk, &calls, from, MAILDIR);
    }
}

/// Disables copying in the kernel, because a trace does not show the copied content.
const COPY: &str = "copy_file_range,sendfile:error=EINVAL";

#[test]
fn power_cut_while_appending_to_mbox_loses_no_message() {
    let desk = desk(1..=COUNT, MBOX);
    let mut calls = Vec::new();
    run(&desk, &mut calls, Some(COPY), 0);
    let begin = calls.iter().position(|call| {
        call.strings()
            .first()
            .is_some_and(|path| path.ends_with(b".journal"))
    });
    cut(&desk, &calls, 0, MBOX);
    cut(&desk, &calls, begin.unwrap(), MBOX);
}
