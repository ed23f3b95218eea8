//! Links that another user planted, and directories of another user. These tests need root.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

use crate::fixture::Desk;

/// The user ID of somebody else.
const ANN: u32 = 1234;

#[test]
fn new_of_a_maildir_that_is_a_link_of_another_user_is_refused() {
    let desk = Desk::with(1, "", |setup| setup);
    for part in ["Mail/work/tmp", "Mail/work/cur", "elsewhere"] {
        desk.home.make_dir(part, 0o700);
    }
    let link = desk.home.join("Mail/work/new");
    symlink(desk.home.join("elsewhere"), &link).unwrap();
    lchown(&link, Some(ANN), None).unwrap();
    desk.fetch(77)
        .assert_stderr("is a symbolic link of another user");
    assert_eq!(
        fs::read_dir(desk.home.join("elsewhere")).unwrap().count(),
        0
    );
}

#[test]
fn mbox_file_with_two_hard_links_is_refused() {
    let desk = Desk::with(1, "mbox = \"~/Mail/box\"", |setup| setup);
    desk.home.write("other", "", 0o600);
    desk.home.make_dir("Mail", 0o700);
    fs::hard_link(desk.home.join("other"), desk.home.join("Mail/box")).unwrap();
    desk.fetch(77).assert_stderr("is a hard link");
    assert_eq!(desk.home.read("other"), b"");
}

#[test]
fn mbox_file_that_is_a_link_of_another_user_is_refused() {
    let desk = Desk::with(1, "mbox = \"~/Mail/box\"", |setup| setup);
    desk.home.make_dir("Mail", 0o700);
    let link = desk.home.join("Mail/box");
    symlink(desk.home.join("target"), &link).unwrap();
    lchown(&link, Some(ANN), None).unwrap();
    desk.fetch(77)
        .assert_stderr("is a symbolic link of another user");
    assert!(!desk.home.join("target").exists());
}

#[test]
fn ledger_that_is_a_link_of_another_user_is_refused() {
    let desk = Desk::with(1, "", |setup| setup);
    desk.fetch(0);
    let ledger = desk.ledger();
    fs::rename(&ledger, desk.home.join("ledger.db")).unwrap();
    symlink(desk.home.join("ledger.db"), &ledger).unwrap();
    lchown(&ledger, Some(ANN), None).unwrap();
    desk.fetch(77)
        .assert_stderr("is a symbolic link of another user");
}

#[test]
fn root_does_not_deliver_to_a_directory_of_another_user() {
    let desk = Desk::with(1, "", |setup| setup);
    let mail = desk.home.make_dir("Mail", 0o700);
    chown(&mail, Some(ANN), None).unwrap();
    desk.fetch(77)
        .assert_stderr("root does not deliver to")
        .assert_stderr("hint: run pouch as that user: `setpriv --reuid 1234");
    desk.pouch(&["check"]).run().assert_code(77);
    assert_eq!(fs::read_dir(&mail).unwrap().count(), 0);
    let nobody = 65_534;
    chown(mail, Some(nobody), None).unwrap();
    let check = desk.pouch(&["check"]).run();
    check
        .assert_code(77)
        .assert_stderr("hint: set `deliver-as = \"nobody\"` for the account");
}

#[test]
fn password_file_of_another_user_is_refused() {
    let desk = Desk::with(1, "", |setup| setup);
    chown(desk.home.join("password"), Some(ANN), None).unwrap();
    desk.fetch(77)
        .assert_stderr("the password file ~/password belongs to another user");
}

#[test]
fn group_may_read_but_not_write_a_password_file_of_root() {
    let desk = Desk::with(1, "", |setup| setup);
    let password = desk.home.join("password");
    // like a secret that is mounted in a container
    fs::set_permissions(&password, fs::Permissions::from_mode(0o440)).unwrap();
    desk.fetch(0).assert_silent();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o460)).unwrap();
    desk.fetch(77)
        .assert_stderr("the password file ~/password is accessible to other users");
}

#[test]
fn client_key_that_others_can_read_is_refused() {
    let desk = Desk::with(1, "", |setup| setup);
    desk.home.write("key", "", 0o644);
    let config = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    let config = config.replace(
        "tls = \"off\"\nallow-plaintext-password = true",
        "tls-client-cert = \"~/key\"\ntls-client-key = \"~/key\"",
    );
    desk.home.config(&config);
    desk.fetch(77)
        .assert_stderr("the client key ~/key is accessible to other users");
}

#[test]
fn state_directory_that_others_can_write_is_refused() {
    let desk = Desk::with(1, "", |setup| setup);
    desk.home.make_dir(".local/state/pouch", 0o777);
    desk.fetch(77)
        .assert_stderr("the state directory ~/.local/state/pouch is writable by other users")
        .assert_stderr("hint: run `chmod go-w ~/.local/state/pouch`");
}

#[test]
fn config_in_a_directory_that_others_can_write_is_refused() {
    let desk = Desk::with(1, "", |setup| setup);
    let dir = desk.home.make_dir(".config/pouch", 0o777);
    let hint = "hint: run `chmod go-w ~/.config/pouch`";
    desk.fetch(77)
        .assert_stderr("the directory of the config, ~/.config/pouch, is writable by other users")
        .assert_stderr(hint);
    desk.home.make_dir(".config/pouch", 0o1777);
    desk.fetch(0);
    // by the group of the user, as with umask 002
    desk.home.make_dir(".config/pouch", 0o775);
    desk.fetch(0);
    chown(&dir, Some(0), Some(ANN)).unwrap();
    desk.fetch(77).assert_stderr(hint);
    desk.home.make_dir(".config/pouch", 0o700);
    chown(&dir, Some(ANN), None).unwrap();
    desk.fetch(77).assert_stderr("belongs to another user");
}

#[test]
fn authorities_and_client_certificate_that_others_can_change_are_refused() {
    for (key, name) in [
        ("tls-ca-file", "the file of authorities ~/file"),
        ("tls-client-cert", "the client certificate ~/file"),
    ] {
        let desk = Desk::with(1, "", |setup| setup);
        let file = desk.home.write("file", "", 0o666);
        desk.home.write("key", "", 0o600);
        let other = match key {
            "tls-client-cert" => "\ntls-client-key = \"~/key\"",
            _ => "",
        };
        let config = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
        desk.home.config(&config.replace(
            "tls = \"off\"\nallow-plaintext-password = true",
            &format!("{key} = \"~/file\"{other}"),
        ));
        let text = format!("{name} is writable by other users");
        desk.fetch(77).assert_stderr(&text);
        desk.home.write("file", "", 0o644);
        chown(file, Some(ANN), None).unwrap();
        let check = desk.pouch(&["check"]).run();
        let text = format!("{name} belongs to another user");
        check.assert_code(77).assert_stderr(&text);
    }
}
