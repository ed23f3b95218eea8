//! A run is confined to the files and ports of its accounts. These tests need Landlock.

use std::fs;
use std::os::unix::fs::symlink;

use crate::{
    fixture::Desk,
    server::{Server, corpus, on},
};

/// Replaces the Maildir by a symbolic link during a run, and returns the number of files that the
/// run wrote through it. `top` is the first line of the config.
fn files_written_through_a_link(top: &str) -> usize {
    let desk = Desk::with(2, "timeout = \"2s\"\nretries = 1", |setup| {
        // the first session ends with a timeout, and the second fetches
        setup.fault(on("STAT").times(1).silence())
    });
    let config = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    desk.home.config(&format!("{top}\n{config}"));
    let elsewhere = desk.home.make_dir("elsewhere", 0o700);
    for part in ["tmp", "new", "cur"] {
        fs::create_dir(elsewhere.join(part)).unwrap();
    }
    let run = desk.pouch(&["fetch"]).spawn();
    desk.server.wait_for(|log| log.count("STAT") == 1);
    fs::rename(desk.home.join("Mail/work"), desk.home.join("Mail/old")).unwrap();
    symlink(&elsewhere, desk.home.join("Mail/work")).unwrap();
    run.wait();
    let entries = ["tmp", "new", "cur"].map(|part| fs::read_dir(elsewhere.join(part)).unwrap());
    entries.into_iter().flatten().count()
}

#[test]
fn maildir_replaced_by_a_link_during_the_run_is_not_written() {
    assert_eq!(files_written_through_a_link(""), 0);
    assert_ne!(files_written_through_a_link("sandbox = false"), 0);
}

#[test]
fn check_prints_whether_it_is_in_force() {
    let desk = Desk::with(1, "", |setup| setup);
    let check = |args: &[&str]| desk.pouch(args).run();
    check(&["check"])
        .assert_code(0)
        .assert_stdout("sandbox  ok    limited to the files");
    check(&["check", "--json"]).assert_stdout("\"in_force\": true");
    desk.configure("after = [\"true\"]");
    check(&["check"])
        .assert_code(0)
        .assert_stdout("sandbox  off   account `work` runs programs");
    desk.configure("");
    let config = desk.home.read(".config/pouch/config.toml");
    let config = String::from_utf8(config).unwrap();
    desk.home.config(&format!("sandbox = false\n{config}"));
    check(&["check"])
        .assert_code(0)
        .assert_stdout("sandbox  off   sandbox = false");
}

#[test]
fn deletions_and_rounds_work() {
    let desk = Desk::with(3, "keep = \"none\"\nmbox = \"~/Mail/box\"", |setup| setup);
    desk.fetch(0);
    assert_eq!(desk.server.remaining(), 0);
    let mut run = desk.pouch(&["fetch", "--every", "1s"]).spawn();
    for n in 4..6 {
        desk.server.add(format!("u{n}"), corpus::message(n));
        desk.server.wait_for(|log| log.count("DELE") >= n);
    }
    run.signal(15);
    run.wait();
    let mailbox = desk.home.read("Mail/box");
    let messages = mailbox.windows(5).filter(|text| text == b"From ");
    assert_eq!(messages.count(), 5);
}

#[test]
fn tls_with_a_file_of_authorities_works() {
    let desk = Desk::new(Server::implicit_tls().messages(corpus::messages(1)), "");
    desk.server.ca_file(desk.home.path());
    let ca = desk.home.write("ca.pem", desk.server.ca_pem(), 0o644);
    let text = format!(
        "[account.work]\nhost = \"localhost\"\nport = {}\nuser = \"ann\"\n\
         password-file = \"~/password\"\nmaildir = \"~/Mail/work\"\ntls-ca-file = \"{}\"\n",
        desk.server.port(),
        ca.display()
    );
    desk.home.config(&text);
    desk.fetch(0);
    desk.assert_arrived([1]);
}
