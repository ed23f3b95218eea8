//! Shows what pouch does when the ninth of ten messages cannot be fetched.
//!
//! Starts a POP3 server on loopback that closes the connection in the middle of its ninth message
//! every time, and runs the real `pouch fetch` against it four times.
//!
//! With arguments, runs them as a command instead, in an environment in which `pouch` uses that
//! server: `cargo run --release --example ninth -- bash`.

#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a demonstration prints, and panics if it fails"
)]

use std::{
    env,
    ffi::OsString,
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::{self, Command},
};

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
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    if let [program, arguments @ ..] = arguments.as_slice() {
        let status = command(home.path(), program, arguments).status();
        let code = status.unwrap().code();
        drop((home, server));
        process::exit(code.unwrap_or(1));
    }
    fetch_four_times(home.path(), &server);
}

/// Shows four runs, and what they leave in `home` and on the server.
fn fetch_four_times(home: &Path, server: &Server) {
    println!(
        "Ten messages are on a server that closes the connection in the middle of the ninth \
         every time.\n"
    );
    for (run, exit, what) in [
        (
            1,
            75,
            "The other nine arrive, including the tenth. The ninth will be retried:",
        ),
        (
            2,
            75,
            "Nothing is downloaded twice. Only the ninth is requested again:",
        ),
        (
            3,
            65,
            "The ninth has failed in three runs. It is quarantined and reported once:",
        ),
        (
            4,
            0,
            "The ninth is skipped. It will be retried after one day, then after 2, 4, 8 …:",
        ),
    ] {
        println!("\n--- run {run}: {what}\n$ pouch fetch");
        assert_eq!(pouch(home, &["fetch", "--progress", "always"]), exit);
    }

    println!("\n--- the ledger has the details:\n$ pouch ledger list");
    assert_eq!(pouch(home, &["ledger", "list"]), 0);

    println!("\n--- the Maildir has:");
    let subjects = subjects(&home.join("Mail/new"));
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
        "\nNine messages, each once, and the notice. The server still has {} messages.",
        server.remaining()
    );
    println!(
        "pouch requested messages {} times in these four runs.",
        server.log().count("RETR")
    );
}

/// Returns a command that runs in `home`, where `pouch` finds the config.
fn command(home: &Path, program: &OsString, arguments: &[OsString]) -> Command {
    let executable = env::current_exe().unwrap();
    let target = executable.parent().and_then(Path::parent).unwrap();
    let path = env::var_os("PATH").unwrap_or_default();
    let path = [target.to_owned()]
        .into_iter()
        .chain(env::split_paths(&path));
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(home)
        .env("HOME", home)
        .env("PATH", env::join_paths(path).unwrap())
        .env("POUCH_CONFIG", home.join("pouch.toml"))
        .env("POUCH_STATE_DIR", home.join("state"));
    command
}

/// Writes a config with one account.
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
        "[account.demo]\nhost = \"localhost\"\nport = {}\nuser = \"ann\"\n\
         password-command = [\"echo\", \"secret\"]\ntls-ca-file = \"{}\"\nmaildir = \"{}\"\n",
        server.port(),
        ca.display(),
        home.join("Mail").display()
    )
    .unwrap();
}

/// Runs pouch with the config and the state in `home`. Returns its exit code.
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

/// Returns the subjects of the messages in a directory, sorted.
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
