//! Waits for a change in a directory (inotify), so that no test has to poll.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::{Errno, read},
};

/// The time limit, after which the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `done` returns true, like [`holds_in_time`].
#[track_caller]
pub fn wait_for_change(directories: &[&Path], done: impl FnMut() -> bool) {
    let held = holds_in_time(directories, done);
    assert!(held, "no change in {directories:?} was the awaited one");
}

/// Waits until `done` returns true, and returns whether it did in time. It is evaluated first, and
/// after each change of an entry in one of `directories`: a file was created, moved there, written
/// or closed. The directories have to exist; changes in subdirectories do not count.
#[track_caller]
pub fn holds_in_time(directories: &[&Path], mut done: impl FnMut() -> bool) -> bool {
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
    for directory in directories {
        let kinds = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ONLYDIR;
        inotify::add_watch(&changes, *directory, kinds)
            .unwrap_or_else(|e| panic!("cannot watch {}: {e}", directory.display()));
    }
    let end = Instant::now() + PATIENCE;
    let mut events = [0; 4096];
    while !done() {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap();
        let ready = poll(&mut [PollFd::new(&changes, PollFlags::IN)], Some(&timeout)).unwrap();
        if ready == 0 {
            return false;
        }
        // One evaluation covers all changes so far.
        loop {
            match read(&changes, &mut events) {
                Ok(_) => {}
                Err(Errno::AGAIN) => break,
                Err(e) => panic!("cannot read changes of {directories:?}: {e}"),
            }
        }
    }
    true
}
