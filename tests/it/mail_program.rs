//! A mail program reads, moves and deletes mail in the Maildir while pouch delivers there, is
//! killed, and recovers its deliveries.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex},
    thread,
    time::Duration,
};

use crate::{fixture::Desk, server::corpus, support::watch::wait_for_change};

/// Several batches.
const COUNT: usize = 400;

/// What the mail program saw.
#[derive(Debug, Default)]
struct Seen {
    /// How often each message came to `new`.
    came: BTreeMap<usize, usize>,
    deleted: BTreeSet<usize>,
}

/// The files in a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect()
}

/// The number in the Message-ID.
fn number(path: &Path) -> usize {
    let text = String::from_utf8(fs::read(path).unwrap()).unwrap();
    let id = text.lines().find_map(|line| {
        line.strip_prefix("Message-ID: <")?
            .strip_suffix("@example.org>")
    });
    id.unwrap_or_else(|| panic!("{} has no Message-ID:\n{text}", path.display()))
        .parse()
        .unwrap()
}

/// The file with these flags in that folder.
fn filed(path: &Path, folder: &Path, flags: &str) -> PathBuf {
    let name = path.file_name().unwrap().to_str().unwrap();
    let name = name.split(':').next().unwrap();
    folder.join(format!("{name}:2,{flags}"))
}

/// Looks through the Maildir once: of four new messages it reads one, files one, deletes one, and
/// leaves one alone.
fn sweep(maildir: &Path, seen: &Mutex<Seen>) {
    let (cur, archive) = (maildir.join("cur"), maildir.join(".Archive/cur"));
    for path in files(&maildir.join("new")) {
        let n = number(&path);
        if n.is_multiple_of(4) {
            continue;
        }
        let mut seen = seen.lock().unwrap();
        *seen.came.entry(n).or_default() += 1;
        match n % 4 {
            1 => fs::rename(&path, filed(&path, &cur, "S")).unwrap(),
            2 => fs::rename(&path, filed(&path, &archive, "FS")).unwrap(),
            _ => {
                seen.deleted.insert(n);
                fs::remove_file(&path).unwrap();
            }
        }
    }
}

/// Kills pouch each time that so many messages came, and lets it end at last.
fn disturbed(desk: &Desk, kills: &[usize]) -> Seen {
    let maildir = desk.home.join("Mail/work");
    for folder in [
        "tmp",
        "new",
        "cur",
        ".Archive/tmp",
        ".Archive/new",
        ".Archive/cur",
    ] {
        desk.home
            .make_dir(Path::new("Mail/work").join(folder), 0o700);
    }
    let (seen, swept) = (Mutex::new(Seen::default()), Condvar::new());
    let over = desk.home.join("over");
    thread::scope(|scope| {
        scope.spawn(|| {
            wait_for_change(&[&maildir.join("new"), desk.home.path()], || {
                // looked up first, so that the last sweep sees all that was delivered
                let done = over.exists();
                sweep(&maildir, &seen);
                swept.notify_all();
                done
            });
        });
        let fetch = || desk.pouch(&["fetch", "-v"]).within(Duration::from_mins(1));
        for enough in kills {
            let mut child = fetch().spawn();
            let too_few = |seen: &mut Seen| seen.came.len() < *enough;
            let patience = Duration::from_secs(30);
            let waited = swept.wait_timeout_while(seen.lock().unwrap(), patience, too_few);
            assert!(!waited.unwrap().1.timed_out(), "{enough} never came");
            child.kill();
            child.wait();
            desk.server.wait_for(|log| log.open() == 0);
        }
        let last = fetch().run();
        desk.home.write("over", "", 0o600);
        last.assert_code(0);
    });
    for path in files(&maildir.join("new")) {
        *seen.lock().unwrap().came.entry(number(&path)).or_default() += 1;
    }
    seen.into_inner().unwrap()
}

#[test]
fn nothing_is_lost_and_nothing_comes_twice_that_was_not_deleted() {
    for kills in [[1, 150], [90, 250]] {
        let desk = Desk::with(COUNT, "timeout = \"20s\"", |server| server);
        let seen = disturbed(&desk, &kills);
        println!("{kills:?}: {} runs' worth of messages", desk.retrieved());
        for n in 1..=COUNT {
            let came = seen.came.get(&n).copied().unwrap_or(0);
            // of one that was deleted before the ledger knew of it, nothing tells that it was there
            let most = if seen.deleted.contains(&n) {
                1 + kills.len()
            } else {
                1
            };
            assert!(
                (1..=most).contains(&came),
                "{kills:?}: message {n} came {came} times"
            );
        }
        let places =
            ["new", "cur", ".Archive/cur"].map(|part| desk.home.join("Mail/work").join(part));
        let mut here: Vec<_> = places
            .iter()
            .flat_map(|folder| files(folder))
            .map(|path| fs::read(path).unwrap())
            .collect();
        let left = (1..=COUNT)
            .filter(|n| n % 4 != 3)
            .map(|n| corpus::on_disk(&corpus::message(n)));
        let mut expected: Vec<_> = left.collect();
        here.sort();
        expected.sort();
        assert!(
            here == expected,
            "{kills:?}: {} of {} lie there",
            here.len(),
            expected.len()
        );
        desk.mail().assert_tidy();
        desk.fetch(0).assert_silent();
        assert_eq!(desk.server.remaining(), COUNT);
    }
}
