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

/// The number of messages that were delivered before the disk was full.
const BEFORE: usize = 5;
const COUNT: usize = 45;
const BIG: usize = 99;

const MAIL: &str = "Mail";
const STATE: &str = ".local/state/pouch";

/// Fills the disk except for `room` bytes.
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
    /// An ext4 with blocks of this size in bytes.
    Ext4(u32),
}

/// Fetches to a disk that has these directories and `room` free bytes. Returns the exit code.
fn with_room(kind: Kind, dirs: &[&str], room: u64) -> i32 {
    let case = format!("{kind:?}, {dirs:?}, {room} bytes free");
    let desk = Desk::new(
        Server::plain().messages(corpus::messages(BEFORE)),
        "keep = \"none\"",
    );
    let at = desk.home.make_dir("disk", 0o700);
    let _disk = match kind {
        Kind::Tmpfs => Mounted::tmpfs(&desk.home, at.clone(), "4M"),
        Kind::Ext4(blocks) => Mounted::ext4(&desk.home, at.clone(), "4M", blocks),
    };
    for dir in dirs {
        let own = desk.home.make_dir(Path::new("disk").join(dir), 0o700);
        fs::create_dir_all(desk.home.join(dir).parent().unwrap()).unwrap();
        symlink(own, desk.home.join(dir)).unwrap();
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
    let output = desk.pouch(&["fetch"]).run();
    if output.code == 0 {
        assert!(output.stderr.is_empty(), "{case}: {output}");
    } else {
        let words = ["No space left on device", "no space left for the ledger"];
        assert!([73, 74].contains(&output.code), "{case}: {output}");
        assert!(
            output.stderr.starts_with("pouch: work: "),
            "{case}: {output}"
        );
        assert!(
            words.iter().any(|word| output.stderr.contains(word)),
            "{case}: {output}"
        );
        assert!(output.stderr.contains("\nhint: "), "{case}: {output}");
    }
    // Each message that is not on the server has been delivered.
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
            "{case}: message {n}"
        );
    }
    // The file is truncated first: a child process of another test may still have it open.
    File::create(at.join("ballast")).unwrap();
    fs::remove_file(at.join("ballast")).unwrap();
    desk.fetch(0);
    desk.mail()
        .assert_exactly(&all().collect::<Vec<_>>())
        .assert_tidy();
    assert_eq!(desk.server.remaining(), 0, "{case}");
    output.code
}

cases! { full_disk_loses_no_message:
    mail_on_tmpfs(Kind::Tmpfs, &[MAIL]),
    state_on_tmpfs(Kind::Tmpfs, &[STATE]),
    both_on_tmpfs(Kind::Tmpfs, &[MAIL, STATE]),
    mail_on_ext4(Kind::Ext4(4096), &[MAIL]),
    state_on_ext4(Kind::Ext4(4096), &[STATE]),
    both_on_ext4(Kind::Ext4(4096), &[MAIL, STATE]),
    state_on_ext4_with_small_blocks(Kind::Ext4(1024), &[STATE]),
}

fn full_disk_loses_no_message(kind: Kind, dirs: &[&str]) {
    let codes = [0, 4_000, 12_000, 40_000, 150_000].map(|room| with_room(kind, dirs, room));
    assert_eq!(codes[0], 74, "{codes:?}");
}
