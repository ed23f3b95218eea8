//! The order in which things become safe, read off a trace of the system calls: data before the
//! name, the name before the ledger, the ledger before the deletion.

use crate::{desk::Desk, server::Server, server::corpus};

/// What matters of a system call.
#[derive(Debug, PartialEq)]
enum Call {
    /// A file's data is on the disk.
    Synced(String),
    /// A file was moved, here.
    Moved(String, String),
    /// Something was written to the server.
    Sent(String),
}

/// The calls of a trace by `strace -y`, which names the file behind each descriptor.
fn calls(trace: &str) -> Vec<Call> {
    trace
        .lines()
        .filter(|line| !line.contains(" = -1 "))
        .filter_map(|line| {
            let line = line.split_once(' ')?.1.trim_start();
            let (name, rest) = line.split_once('(')?;
            let file = || Some(rest.split_once('<')?.1.split_once('>')?.0.to_owned());
            let quoted: Vec<_> = rest.split('"').skip(1).step_by(2).map(str::to_owned).collect();
            match name {
                "fsync" | "fdatasync" => Some(Call::Synced(file()?)),
                "renameat2" | "rename" | "renameat" => {
                    Some(Call::Moved(quoted.first()?.clone(), quoted.get(1)?.clone()))
                }
                "sendto" | "write" => Some(Call::Sent(quoted.first()?.clone())),
                _ => None,
            }
        })
        .collect()
}

#[test]
fn data_then_name_then_ledger_then_deletion() {
    let desk = Desk::new(Server::plain().messages(corpus::messages(5)), "keep = \"none\"");
    let pouch = env!("CARGO_BIN_EXE_pouch");
    desk.home
        .command(
            "strace",
            &[
                "-f",
                "-qq",
                "-y",
                "-s",
                "200",
                "-e",
                "trace=fsync,fdatasync,rename,renameat,renameat2,sendto",
                "-o",
                "trace",
                pouch,
                "fetch",
            ],
        )
        .run()
        .assert_code(0);
    let trace = String::from_utf8_lossy(&desk.home.read("trace")).into_owned();
    let calls = calls(&trace);
    let position = |wanted: &dyn Fn(&Call) -> bool| calls.iter().position(wanted);
    let moves: Vec<_> = calls
        .iter()
        .enumerate()
        .filter(|(_, call)| matches!(call, Call::Moved(_, to) if to.contains("/new/")))
        .collect();
    assert_eq!(moves.len(), 5, "{trace}");
    for (at, call) in &moves {
        let Call::Moved(from, _) = call else { unreachable!() };
        let synced = position(&|call| matches!(call, Call::Synced(file) if file == from));
        assert!(synced.is_some_and(|synced| synced < *at), "{from} was named before it was safe\n{trace}");
    }
    let last_move = moves.last().unwrap().0;
    let after = |from: usize, wanted: &dyn Fn(&Call) -> bool| {
        calls.iter().skip(from).position(wanted).map(|found| from + found)
    };
    let folder = after(last_move, &|call| matches!(call, Call::Synced(file) if file.ends_with("/new")));
    let folder = folder.unwrap_or_else(|| panic!("the folder was not made safe\n{trace}"));
    let ledger = after(folder, &|call| matches!(call, Call::Synced(file) if file.ends_with("ledger.db-wal")));
    let ledger = ledger.unwrap_or_else(|| panic!("the ledger was not made safe after the mail\n{trace}"));
    let deletion = position(&|call| matches!(call, Call::Sent(text) if text.contains("DELE ")));
    assert!(deletion.is_some_and(|deletion| deletion > ledger), "deleted before the ledger was safe\n{trace}");
    // the ledger says nothing of the delivery before the mail is safe
    let early =
        calls[moves[0].0..folder].iter().any(|call| matches!(call, Call::Synced(file) if file.contains("ledger.db")));
    assert!(!early, "{trace}");
}

#[test]
fn a_poll_with_nothing_new_waits_for_no_disk() {
    let desk = Desk::new(Server::plain().messages(corpus::messages(5)), "");
    desk.fetch(0);
    // the first poll after mail begins SQLite's log anew, which is made safe once
    desk.fetch(0);
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let calls = "trace=fsync,fdatasync,sync_file_range,syncfs";
    desk.home.command("strace", &["-f", "-qq", "-e", calls, "-o", "trace", pouch, "fetch"]).run().assert_code(0);
    assert_eq!(String::from_utf8_lossy(&desk.home.read("trace")), "");
    desk.assert_arrived(1..=5);
}
