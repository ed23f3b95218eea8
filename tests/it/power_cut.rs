//! A power cut at any moment of a run: each message arrives once, and none is lost.
//!
//! A run is traced, and its writes are replayed into a fresh home up to that moment, less what was
//! not yet synced ([`Disk`]). There pouch runs again, with the server as it was.

use std::{ffi::OsString, fs, path::PathBuf};

use crate::{
    fixture::{Desk, NOW},
    server::{Server, corpus},
    support::{
        disk::{Disk, Unsynced},
        trace::{self, Call, sample},
    },
};

/// The calls that change files, or tell the server something.
const CALLS: &str = "openat,mkdir,write,pwrite64,copy_file_range,sendfile,ftruncate,rename,renameat2,linkat,unlink,fsync,\
                     fdatasync,sendto";

/// At most so many cuts in a story, each with every fate of what was not synced.
const CUTS: usize = 4;

/// So many messages are fetched and deleted from the server.
const COUNT: usize = 12;

const FATES: [Unsynced; 4] = [
    Unsynced::Lost,
    Unsynced::NamesOnly,
    Unsynced::ByChance(1),
    Unsynced::ByChance(2),
];

/// A Maildir, unless it is said otherwise.
const MAILDIR: &str = "";
const MBOX: &str = "mbox = \"~/Mail/work\"\n";

fn desk(messages: impl IntoIterator<Item = usize>, place: &str) -> Desk {
    let messages = messages
        .into_iter()
        .map(|n| (corpus::uid(n), corpus::message(n)));
    Desk::new(
        Server::plain().messages(messages),
        &format!("{place}keep = \"none\""),
    )
}

/// A run under trace; what it did follows `story`.
fn run(desk: &Desk, story: &mut Vec<Call>, inject: Option<&str>, code: i32) {
    trace::traced(&desk.home, CALLS, inject, &["fetch"])
        .env("POUCH_NOW", NOW.to_string())
        .run()
        .assert_code(code);
    let before = story
        .iter()
        .map(|call| call.ended)
        .max()
        .map_or(0, |last| last + 1);
    story.extend(trace::calls(&desk.home).into_iter().map(|mut call| {
        call.began += before;
        call.ended += before;
        call
    }));
}

/// Cuts the power at moments of a story that begins at `from`, and has pouch go on from there.
fn cut(desk: &Desk, story: &[Call], from: usize, place: &str) {
    let disk = Disk::replay(desk.home.path(), story);
    let quit = story
        .iter()
        .find(|call| call.name == "sendto" && call.strings()[0].ends_with(b"QUIT\r\n"))
        .unwrap();
    // a cut before or after a call that changes nothing is no other cut
    let moments: Vec<_> = story[from..]
        .iter()
        .filter(|call| call.result >= 0)
        .map(|call| call.ended + 1)
        .collect();
    for (cut, fate) in sample(&moments, CUTS)
        .into_iter()
        .flat_map(|cut| FATES.map(|fate| (cut, fate)))
    {
        // once QUIT was sent, the server may have removed what was marked
        let left = if quit.began < cut { 1..1 } else { 1..COUNT + 1 };
        let after = self::desk(left, place);
        let journal = (place == MBOX).then(|| journal(&after));
        for part in ["Mail", ".local"] {
            drop(fs::remove_dir_all(after.home.join(part)));
        }
        disk.after_power_cut(cut, fate, after.home.path());
        if let (Some(name), Some(left)) = (journal, journals(&after).first()) {
            fs::rename(left, left.with_file_name(name)).unwrap();
        }
        // one that lost what stood in it is taken over five minutes later
        drop(fs::remove_file(after.home.join("Mail/work.lock")));
        let output = after.pouch(&["fetch"]).run();
        println!("{cut} of {}, {fate:?}: {}", moments.len(), output.code);
        output.assert_code(0);
        after.assert_arrived(1..=COUNT);
        assert_eq!(after.server.remaining(), 0);
    }
}

/// The journals of mailbox files.
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

/// The name of the journal in this home: it comes from the path of the mailbox file, and that is
/// another one in each home.
fn journal(desk: &Desk) -> OsString {
    desk.server.add("one", corpus::message(99));
    desk.pouch(&["fetch", "--keep"]).run().assert_code(0);
    desk.server.remove("one");
    journals(desk)[0].file_name().unwrap().to_owned()
}

#[test]
fn in_the_first_run() {
    let desk = desk(1..=COUNT, MAILDIR);
    let mut story = Vec::new();
    run(&desk, &mut story, None, 0);
    cut(&desk, &story, 0, MAILDIR);
}

#[test]
fn in_the_run_after_one_that_was_killed() {
    // while it makes the Maildir; after some messages have their names; before these are safe;
    // after it
    let kills = [
        "mkdir:signal=KILL:when=6",
        "linkat:signal=KILL:when=6",
        "fsync:signal=KILL:when=20",
    ];
    for kill in kills {
        let desk = desk(1..=COUNT, MAILDIR);
        let mut story = Vec::new();
        run(&desk, &mut story, Some(kill), 128 + 9);
        desk.server.wait_for(|log| log.open() == 0);
        let from = story.len();
        run(&desk, &mut story, None, 0);
        cut(&desk, &story, from, MAILDIR);
    }
}

/// The kernel's own copying shows no content in a trace: here it is done by reading and writing.
const COPY: &str = "copy_file_range,sendfile:error=EINVAL";

#[test]
fn while_a_mailbox_file_is_written() {
    let desk = desk(1..=COUNT, MBOX);
    let mut story = Vec::new();
    run(&desk, &mut story, Some(COPY), 0);
    let begin = story.iter().position(|call| {
        call.strings()
            .first()
            .is_some_and(|path| path.ends_with(b".journal"))
    });
    cut(&desk, &story, 0, MBOX);
    cut(&desk, &story, begin.unwrap(), MBOX);
}
