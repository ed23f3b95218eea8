//! A full disk: the error is reported, complete messages are kept, nothing is lost, and once there
//! is space again each message is delivered once.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::symlink,
    path::Path,
};

use crate::{
    fixture::Desk,
    server::{Server, corpus},
    support::mount::Mounted,
};

/// So many came before the disk was full.
const BEFORE: usize = 5;
const COUNT: usize = 45;
const BIG: usize = 99;

const MAIL: &str = "Mail";
const STATE: &str = ".local/state/pouch";

/// Fills the disk, but for so many octets.
fn fill(disk: &Path, room: u64) {
    let mut ballast = File::create(disk.join("ballast")).unwrap();
    let mut size = 0;
    while ballast.write_all(&[b'x'; 1024]).is_ok() {
        size += 1024;
    }
    ballast.set_len(size - room).unwrap();
    ballast.sync_all().unwrap();
}

/// A kind of disk.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Tmpfs,
    /// With blocks of so many octets.
    Ext4(u32),
}

/// Fetches to a disk on which these folders lie, and so many octets are free.
fn with_room(kind: Kind, folders: &[&str], room: u64) -> i32 {
    let place = format!("{kind:?}, {folders:?}, {room} octets free");
    let desk = Desk::new(
        Server::plain().messages(corpus::messages(BEFORE)),
        "keep = \"none\"",
    );
    let at = desk.home.make_dir("disk", 0o700);
    let _disk = match kind {
        Kind::Tmpfs => Mounted::tmpfs(&desk.home, at.clone(), "4M"),
        Kind::Ext4(blocks) => Mounted::ext4(&desk.home, at.clone(), "4M", blocks),
    };
    for folder in folders {
        let own = desk.home.make_dir(Path::new("disk").join(folder), 0o700);
        fs::create_dir_all(desk.home.join(folder).parent().unwrap()).unwrap();
        symlink(own, desk.home.join(folder)).unwrap();
    }
    desk.fetch(0);
    for (uid, content) in corpus::messages(COUNT).skip(BEFORE) {
        desk.server.add(uid, content);
    }
    let big = corpus::sized(BIG, 400_000);
    desk.server.add(corpus::uid(BIG), &big);
    fill(&at, room);

    let all = || {
        (1..=COUNT)
            .map(corpus::message)
            .chain([big.clone()])
            .map(|content| corpus::on_disk(&content))
    };
    let told = desk.pouch(&["fetch"]).run();
    if told.code == 0 {
        assert!(told.stderr.is_empty(), "{place}: {told}");
    } else if told.code == 128 + 7 {
        // SQLite holds a page of its shared memory for safe once one block of it is: the kernel
        // ends it
        assert!(
            kind == Kind::Ext4(1024) && folders.contains(&STATE),
            "{place}: {told}"
        );
    } else {
        let words = ["No space left on device", "no space left for the ledger"];
        assert!([73, 74].contains(&told.code), "{place}: {told}");
        assert!(told.stderr.starts_with("pouch: work: "), "{place}: {told}");
        assert!(
            words.iter().any(|word| told.stderr.contains(word)),
            "{place}: {told}"
        );
        assert!(told.stderr.contains("\nhint: "), "{place}: {told}");
    }
    // what is not on the server is here
    let mail = desk.mail();
    let left = desk.server.uids();
    for (n, content) in (1..=COUNT).chain([BIG]).zip(all()) {
        let here = mail
            .delivered()
            .iter()
            .filter(|mail| mail.bytes == content)
            .count();
        assert!(
            here <= 1 && (here == 1 || left.contains(&corpus::uid(n))),
            "{place}: message {n}"
        );
    }
    // emptied first: a child of another test that has not reached exec yet may have it open
    File::create(at.join("ballast")).unwrap();
    fs::remove_file(at.join("ballast")).unwrap();
    desk.fetch(0);
    desk.mail()
        .assert_exactly(&all().collect::<Vec<_>>())
        .assert_tidy();
    assert_eq!(desk.server.remaining(), 0, "{place}");
    told.code
}

cases! { nothing_is_lost_and_nothing_comes_twice:
    mail_on_tmpfs(Kind::Tmpfs, &[MAIL]),
    state_on_tmpfs(Kind::Tmpfs, &[STATE]),
    both_on_tmpfs(Kind::Tmpfs, &[MAIL, STATE]),
    mail_on_ext4(Kind::Ext4(4096), &[MAIL]),
    state_on_ext4(Kind::Ext4(4096), &[STATE]),
    both_on_ext4(Kind::Ext4(4096), &[MAIL, STATE]),
    state_on_ext4_with_small_blocks(Kind::Ext4(1024), &[STATE]),
}

fn nothing_is_lost_and_nothing_comes_twice(kind: Kind, folders: &[&str]) {
    let codes = [0, 40_000, 150_000].map(|room| with_room(kind, folders, room));
    assert_eq!(codes[0], 74, "{codes:?}");
}
