//! Deletion from the server by retention, and its prediction by `pouch plan`.

mod keep;
mod order;
mod suspects;
mod uids;

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use crate::fixture::Desk;

/// The actions that `pouch plan` announces for a mailbox.
#[derive(Debug, PartialEq, Eq)]
struct Foreseen {
    fetched: usize,
    deleted: usize,
    left: usize,
}

/// Returns every path below a directory; none if the directory does not exist.
fn tree(folder: &Path) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        paths.extend(tree(&path));
        paths.insert(path.display().to_string());
    }
    paths
}

/// Returns the state that a dry run must not change: the mail on the server, the Maildir and the
/// ledger.
fn state(desk: &Desk) -> (Vec<String>, BTreeSet<String>, String) {
    let ledger = desk.pouch(&["ledger", "list", "--json"]).run();
    (
        desk.server.uids(),
        tree(&desk.home.join("Mail")),
        ledger.stdout,
    )
}

/// Returns the actions that a dry run announces.
#[track_caller]
fn said(desk: &Desk, days: i64, command: &[&str]) -> Foreseen {
    let output = desk.at(days, command).run();
    output.assert_code(0);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let messages = document["accounts"][0]["messages"].as_array().unwrap();
    let having = |word: &str, text: &str| {
        messages
            .iter()
            .filter(|one| one["action"] == word && one["reason"].as_str().unwrap().contains(text))
            .count()
    };
    let deleted = having("delete", "") + having("fetch", "then deleted");
    Foreseen {
        fetched: having("fetch", ""),
        deleted,
        left: messages.len() - deleted,
    }
}

/// Returns the planned actions of the next fetch with these flags, and asserts that the dry run
/// changed nothing.
#[track_caller]
fn foresee(desk: &Desk, days: i64, flags: &[&str]) -> Foreseen {
    let before = state(desk);
    let foreseen = said(
        desk,
        days,
        &[&["fetch", "--dry-run", "--json"], flags].concat(),
    );
    if flags.is_empty() {
        assert_eq!(said(desk, days, &["plan", "--json"]), foreseen);
    }
    assert_eq!(state(desk), before, "a dry run changed something");
    foreseen
}

/// Fetches, and asserts that the run takes the actions that `pouch plan` announced.
#[track_caller]
fn fetch_as_foreseen(desk: &Desk, days: i64, flags: &[&str]) -> Foreseen {
    let foreseen = foresee(desk, days, flags);
    let had = desk.mail().len();
    let output = desk.at(days, &[&["fetch", "--json"], flags].concat()).run();
    output.assert_code(0);
    let done = output
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let done = done
        .into_iter()
        .find(|event| event["event"] == "done")
        .unwrap();
    let count = |field: &str| usize::try_from(done[field].as_u64().unwrap()).unwrap();
    let was = Foreseen {
        fetched: desk.mail().len() - had,
        deleted: count("deleted"),
        left: desk.server.remaining(),
    };
    assert_eq!(was, foreseen);
    assert_eq!(count("delivered"), foreseen.fetched);
    was
}
