//! A FUSE file system, in place of a network file system, for the Maildir and the state directory.

use std::{fs, os::unix::fs::symlink, path::Path};

use crate::{
    fixture::Desk,
    many_accounts::{ACCOUNTS, accounts, assert_all_arrived},
    server::{Server, corpus},
    support::{mount::Mounted, watch::wait_for_change},
};

/// Folders of the home that are on such a disk.
const FOLDERS: [&str; 2] = ["Mail", ".local/state/pouch"];

/// No memory can be shared by way of its files.
const WITHOUT_SHARED_MEMORY: [&str; 2] = ["-o", "direct_io"];

/// Lays these folders on such a disk.
fn lay(desk: &Desk, options: &[&str]) -> Mounted {
    let far = desk.home.make_dir("far", 0o700);
    let disk = Mounted::foreign(&desk.home, &far, desk.home.make_dir("disk", 0o700), options);
    for folder in FOLDERS {
        let own = desk.home.make_dir(Path::new("disk").join(folder), 0o700);
        fs::create_dir_all(desk.home.join(folder).parent().unwrap()).unwrap();
        symlink(own, desk.home.join(folder)).unwrap();
    }
    disk
}

#[test]
fn mail_arrives_once_there_too() {
    for options in [&[][..], &WITHOUT_SHARED_MEMORY] {
        let desk = Desk::new(
            Server::plain().messages(corpus::messages(40)),
            "keep = \"none\"",
        );
        let _disk = lay(&desk, options);
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
fn many_accounts_share_one_ledger_there_too() {
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
