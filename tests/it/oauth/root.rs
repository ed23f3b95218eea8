//! `pouch login` of root for an account of another user (`deliver-as`).

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use super::{Bench, browser::Browser, flows::terminal};
use crate::{real::ALICE, support::POUCH};

/// A user that every system has.
const USER: &str = "nobody";

/// Tokens are stored where the runs of the user look for them. The user's process gets its accounts
/// by standard input, and reads a pasted address from the terminal of root.
#[test]
fn sign_in_for_another_user_is_pasted_and_stored_with_the_user() {
    let bench = Bench::new(&[]);
    let home = &bench.home;
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let other = bench.account("first", "").replace(ALICE, "other");
    let other = other.replace("oauth = {  }", "password-command = [\"x\"]");
    let keys = "client-id = \"pop-client\"";
    let work = bench.account_at_issuer("work", keys);
    let work = work.replace("maildir =", "pipe = [\"cat\"]\n# ");
    home.config(&format!(
        "state-dir = \"~/state\"\n{other}{work}deliver-as = \"{USER}\"\n"
    ));
    let (mut keyboard, tty) = terminal();
    // the other outputs of a shell's programs are the terminal, too
    let args = ["-c", "exec \"$0\" login 2>&0", POUCH];
    let mut login = home.system_command("sh", &args).terminal(tty).spawn();
    login.wait_for("of that page here");
    let url = super::address(&login.stdout());
    let redirect = Browser::new().sign_in(&url, ALICE);
    keyboard
        .write_all(format!("{redirect}\n").as_bytes())
        .unwrap();
    login
        .wait()
        .assert_code(0)
        .assert_stdout("work: signed in")
        .assert_stdout("3 messages");
    let folder = home.path().join("state").join(USER).join("oauth");
    let owner = fs::metadata(home.path().join("state").join(USER))
        .unwrap()
        .uid();
    assert_ne!(owner, 0);
    let files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap())
        .collect();
    assert!(
        files
            .iter()
            .any(|it| it.path().extension().unwrap() == "json")
    );
    for file in files {
        assert_eq!(file.metadata().unwrap().uid(), owner);
    }
    assert!(!home.path().join("state/oauth").exists());
    bench
        .pouch(&["login", "--forget"])
        .run()
        .assert_code(0)
        .assert_stdout("work: signed out");
}
