//! Ten messages wait, and the ninth cannot be read: what pouch makes of it.
//!
//! Starts a POP3 server on loopback that closes the connection in the middle of its ninth message,
//! every time, and runs the real `pouch fetch` against it, as often as it takes.

#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::unwrap_used,
    reason = "it shows something to a person"
)]

use std::{ffi::OsString, fs, io::Write as _, os::unix::fs::OpenOptionsExt, path::Path};

#[path = "../tests/it/server/mod.rs"]
mod server;

use server::{Server, corpus, on};

fn main() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::implicit_tls()
        .messages(corpus::messages(10))
        .fault(on("RETR").uid("uid-9").octets(120).cut())
        .start();
    configure(home.path(), &server);

    println!(
        "Ten messages wait on a server. It closes the connection in the middle of the ninth, every time.\n"
    );
    for (run, exit, what) in [
        (
            1,
            75,
            "The other nine arrive, the tenth too. The ninth is tried again later:",
        ),
        (
            2,
            75,
            "Nothing is downloaded twice; only the ninth is asked for again:",
        ),
        (
            3,
            65,
            "It has failed in three runs: it is set aside, and you are told of it once:",
        ),
        (
            4,
            0,
            "From now on nobody waits for it. It is tried again in a day, then in two, four …:",
        ),
    ] {
        println!("\n--- run {run}: {what}\n$ pouch fetch");
        assert_eq!(pouch(home.path(), &["fetch", "--progress", "always"]), exit);
    }

    println!("\n--- what is known of it:\n$ pouch ledger list");
    assert_eq!(pouch(home.path(), &["ledger", "list"]), 0);

    println!("\n--- what lies in the Maildir:");
    let subjects = subjects(&home.path().join("Mail/new"));
    for subject in &subjects {
        println!("  {subject}");
    }
    let once = |n: usize| {
        subjects
            .iter()
            .filter(|subject| **subject == format!("Message {n}"))
            .count()
            == 1
    };
    assert!((1..=10).filter(|n| *n != 9).all(once) && subjects.len() == 10);
    println!(
        "\nNine messages, each once, and the notice. The server still has all ten: {}.",
        server.remaining()
    );
    println!(
        "It was asked {} times for a message in these four runs.",
        server.log().count("RETR")
    );
}

/// A config with one account, for a run with nothing else around it.
fn configure(home: &Path, server: &Server) {
    let ca = server.ca_file(home);
    let mut config = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(home.join("pouch.toml"))
        .unwrap();
    write!(
        config,
        "[account.demo]\nhost = \"localhost\"\nport = {}\nuser = \"ann\"\npassword-command = [\"echo\", \"secret\"]\n\
         tls-ca-file = \"{}\"\nmaildir = \"{}\"\n",
        server.port(),
        ca.display(),
        home.join("Mail").display()
    )
    .unwrap();
}

/// Runs pouch with the config and state of `home`; gives its exit code.
fn pouch(home: &Path, args: &[&str]) -> u8 {
    let mut all: Vec<OsString> = vec![
        "pouch".into(),
        "--config".into(),
        home.join("pouch.toml").into(),
    ];
    all.extend(["--state-dir".into(), home.join("state").into()]);
    all.extend(args.iter().map(OsString::from));
    pouch::cli::run(all, None).0.0
}

/// The subjects of the messages in a folder, in order.
fn subjects(folder: &Path) -> Vec<String> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let mail = fs::read_to_string(entry.unwrap().path()).unwrap();
            mail.lines()
                .find_map(|line| line.strip_prefix("Subject: "))
                .unwrap_or("(none)")
                .to_owned()
        })
        .collect();
    found.sort_by_key(|subject| (subject.len(), subject.clone()));
    found
}
