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

/// The number of messages, for several batches.
const COUNT: usize = 400;

/// The observations of the mail program.
#[derive(Debug, Default)]
struct Seen {
    /// The number of times that each message appeared in `new`.
    came: BTreeMap<usize, usize>,
    deleted: BTreeSet<usize>,
}

/// Returns the files in a directory.
fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect()
}

/// Returns the number in the Message-ID.
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

/// Returns the path of the file with these flags in that directory.
fn filed(path: &Path, folder: &Path, flags: &str) -> PathBuf {
    let name = path.file_name().unwrap().to_str().unwrap();
    let name = name.split(':').next().unwrap();
    folder.join(format!("{name}:2,{flags}"))
}

/// Scans the Maildir once. Of four new messages it marks one as read, moves one to a folder,
/// deletes one, and ignores one.
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

/// Kills pouch after a number of messages, several times, and then lets a run finish.
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
                // Evaluated first, so that the last scan sees all delivered messages.
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
fn mail_program_moving_files_causes_no_loss_or_duplicate() {
    for kills in [[1, 150], [90, 250]] {
        let desk = Desk::with(COUNT, "timeout = \"20s\"", |server| server);
        let seen = disturbed(&desk, &kills);
        println!("{kills:?}: {} runs' worth of messages", desk.retrieved());
        for n in 1..=COUNT {
            let came = seen.came.get(&n).copied().unwrap_or(0);
            // A message that was deleted before it was recorded leaves no trace of its delivery.
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
