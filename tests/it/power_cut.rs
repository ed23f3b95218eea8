//! The power goes at any moment of a run: each message once, and none lost.
//!
//! A run is traced, and its writes are replayed into a fresh home up to that moment, less what was
//! not yet synced ([`Disk`]). There pouch runs again, with the server as it was.

use std::fs;

use crate::{
    desk::{Desk, NOW},
    server::{Server, corpus},
    tool::{
        disk::{Disk, Unsynced},
        trace::{self, Call, sample},
    },
};

/// The calls that change files, or tell the server something.
const CALLS: &str = "openat,mkdir,write,pwrite64,ftruncate,rename,renameat2,unlink,fsync,fdatasync,sendto";

/// At most so many cuts in a story, each with every fate of what was not synced.
const CUTS: usize = 4;

/// So many messages are fetched and deleted from the server.
const COUNT: usize = 12;

const FATES: [Unsynced; 4] = [Unsynced::Lost, Unsynced::NamesOnly, Unsynced::ByChance(1), Unsynced::ByChance(2)];

fn desk(messages: impl IntoIterator<Item = usize>) -> Desk {
    let messages = messages.into_iter().map(|n| (corpus::uid(n), corpus::message(n)));
    Desk::new(Server::plain().messages(messages), "keep = \"none\"")
}

/// A run under trace; what it did follows `story`.
fn run(desk: &Desk, story: &mut Vec<Call>, inject: Option<&str>, code: i32) {
    trace::traced(&desk.home, CALLS, inject, &["fetch"]).env("POUCH_NOW", NOW.to_string()).run().assert_code(code);
    let before = story.iter().map(|call| call.ended).max().map_or(0, |last| last + 1);
    story.extend(trace::calls(&desk.home).into_iter().map(|mut call| {
        call.began += before;
        call.ended += before;
        call
    }));
}

/// Cuts the power at moments of a story that begins at `from`, and has pouch go on from there.
fn cut(desk: &Desk, story: &[Call], from: usize) {
    let disk = Disk::replay(desk.home.path(), story);
    let quit = story.iter().find(|call| call.name == "sendto" && call.strings()[0].ends_with(b"QUIT\r\n")).unwrap();
    // a cut before or after a call that changes nothing is no other cut
    let moments: Vec<_> = story[from..].iter().filter(|call| call.result >= 0).map(|call| call.ended + 1).collect();
    for (cut, fate) in sample(&moments, CUTS).into_iter().flat_map(|cut| FATES.map(|fate| (cut, fate))) {
        // once QUIT was sent, the server may have removed what was marked
        let left = if quit.began < cut { 1..1 } else { 1..COUNT + 1 };
        let after = self::desk(left);
        for part in ["Mail", ".local"] {
            drop(fs::remove_dir_all(after.home.join(part)));
        }
        disk.after_power_cut(cut, fate, after.home.path());
        let output = after.pouch(&["fetch"]).run();
        println!("{cut} of {}, {fate:?}: {}", moments.len(), output.code);
        output.assert_code(0);
        after.assert_arrived(1..=COUNT);
        assert_eq!(after.server.remaining(), 0);
    }
}

#[test]
fn in_the_first_run() {
    let desk = desk(1..=COUNT);
    let mut story = Vec::new();
    run(&desk, &mut story, None, 0);
    cut(&desk, &story, 0);
}

#[test]
fn in_the_run_after_one_that_was_killed() {
    // while it makes the Maildir; after some messages have their names; before these are safe; after it
    let kills = ["mkdir:signal=KILL:when=6", "renameat2:signal=KILL:when=7", "fsync:signal=KILL:when=20"];
    for kill in kills {
        let desk = desk(1..=COUNT);
        let mut story = Vec::new();
        run(&desk, &mut story, Some(kill), 128 + 9);
        desk.server.wait_for(|log| log.open() == 0);
        let from = story.len();
        run(&desk, &mut story, None, 0);
        cut(&desk, &story, from);
    }
}
