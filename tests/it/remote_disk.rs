//! The Maildir and the state directory on a FUSE file system, in place of a network file system.

use std::{fs, os::unix::fs::symlink, path::Path};

use crate::{
    fixture::Desk,
    many_accounts::{ACCOUNTS, accounts, assert_all_arrived},
    server::{Server, corpus},
    support::{mount::Mounted, watch::wait_for_change},
};

/// The directories of the home directory that are on FUSE.
const DIRS: [&str; 2] = ["Mail", ".local/state/pouch"];

/// Mount options with which processes cannot share memory by mapping a file.
const WITHOUT_SHARED_MEMORY: [&str; 2] = ["-o", "direct_io"];

/// Mounts a FUSE file system with [`DIRS`] for the account.
fn mount(desk: &Desk, options: &[&str]) -> Mounted {
    let far = desk.home.make_dir("far", 0o700);
    let disk = Mounted::foreign(&desk.home, &far, desk.home.make_dir("disk", 0o700), options);
    for dir in DIRS {
        let own = desk.home.make_dir(Path::new("disk").join(dir), 0o700);
        fs::create_dir_all(desk.home.join(dir).parent().unwrap()).unwrap();
        symlink(own, desk.home.join(dir)).unwrap();
    }
    disk
}

#[test]
fn killed_run_on_fuse_delivers_each_message_once() {
    for options in [&[][..], &WITHOUT_SHARED_MEMORY] {
        let desk = Desk::new(
            Server::plain().messages(corpus::messages(40)),
            "keep = \"none\"",
        );
        let _disk = mount(&desk, options);
        desk.pouch(&["check"]).run().assert_code(0).assert_stdout(
            "  ledger   ok    ~/.local/state/pouch, on FUSE: fetch from one machine at a time\n",
        );
        let new = desk.home.make_dir("Mail/work/new", 0o700);
        for part in ["tmp", "cur"] {
            desk.home.make_dir(format!("Mail/work/{part}"), 0o700);
        }
        let mut killed = desk.pouch(&["fetch"]).spawn();
        wait_for_change(&[&new], || new.read_dir().unwrap().next().is_some());
        killed.kill();
        killed.wait();
        desk.server.wait_for(|log| log.open() == 0);
        desk.fetch(0);
        desk.assert_arrived(1..=40);
        assert_eq!(desk.server.remaining(), 0);
        desk.fetch(0).assert_silent();
    }
}

#[test]
fn many_accounts_share_one_ledger_on_fuse() {
    let (home, server) = accounts();
    let far = home.make_dir("far", 0o700);
    let _disk = Mounted::foreign(
        &home,
        &far,
        home.make_dir("disk", 0o700),
        &WITHOUT_SHARED_MEMORY,
    );
    let runs: Vec<_> = (0..ACCOUNTS)
        .map(|account| {
            home.pouch(&[
                "fetch",
                "--wait",
                "1m",
                "--state-dir",
                "disk/state",
                &format!("a{account}"),
            ])
            .spawn()
        })
        .collect();
    for run in runs {
        run.wait().assert_code(0).assert_silent();
    }
    assert_all_arrived(&home, &server);
}
