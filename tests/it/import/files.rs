//! Files that are missing, odd or not to be changed.

use std::{fs, os::unix::fs::PermissionsExt};

use insta::assert_snapshot;

use crate::support::Home;

const RC: &str = "poll pop.example.org proto pop3 user ann pass \"walnut-31\" ssl keep no rewrite\n\
                  \x20 mda \"procmail -d %T\"\n";

#[test]
fn programs_in_the_usual_places_are_listed() {
    let home = Home::new();
    assert_snapshot!(home.pouch(&["import"]).run().assert_code(0).stdout_text());
    home.write(".fetchmailrc", RC, 0o600);
    home.write(
        ".config/getmail/work",
        "[retriever]\nserver = x\nusername = y\n",
        0o600,
    );
    home.write(".config/getmail/oldmail-x", "[retriever]\n", 0o600);
    home.write(".mpoprc", "account a\nhost h\nuser u\n", 0o600);
    assert_snapshot!(home.pouch(&["import"]).run().assert_code(0).stdout_text());
    home.pouch(&["import", "--json"])
        .run()
        .assert_code(0)
        .assert_stdout("\"program\": \"mpop\"");
}

#[test]
fn missing_and_unreadable_files_are_errors() {
    let home = Home::new();
    let mut shown = home
        .pouch(&["import", "fdm"])
        .run()
        .assert_code(78)
        .transcript();
    home.make_dir("dir", 0o700);
    home.command(
        "sh",
        &[
            "-c",
            "mkfifo fifo; ln -s nowhere link; head -c 16777217 /dev/zero >big",
        ],
    )
    .run()
    .assert_code(0);
    for name in ["missing", "dir", "fifo", "link", "big"] {
        let output = home.pouch(&["import", "fdm", name]).run();
        shown.push_str(&output.assert_code(78).transcript());
    }
    assert_snapshot!(shown);
}

#[test]
fn config_keeps_its_comments_and_its_order() {
    let home = Home::new();
    home.write(".fetchmailrc", RC, 0o640);
    let before = "# mine\njobs = 2 # two\n\n[account.example]\nuser = \"z\"   # first\n\
                  host = \"h.example\"\nmaildir = \"~/z\"\n# the end\n";
    home.config(before);
    fs::set_permissions(
        home.join(".config/pouch/config.toml"),
        fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    let output = home
        .pouch(&["import", "fetchmail", "--write", "--passwords"])
        .env("LOGNAME", "ann")
        .run();
    output.assert_code(0);
    let after = String::from_utf8(home.read(".config/pouch/config.toml")).unwrap();
    assert!(after.starts_with(before), "{after}");
    assert_snapshot!(after[before.len()..]);
    home.pouch(&["config", "show"]).run().assert_code(0);
    let mode = |path: &str| fs::metadata(home.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(".config/pouch/config.toml"), 0o640);
    assert_eq!(mode(".config/pouch/secrets"), 0o700);
    assert_eq!(mode(".config/pouch/secrets/example-2"), 0o600);
    assert_eq!(home.read(".config/pouch/secrets/example-2"), b"walnut-31");
    assert_eq!(home.read(".fetchmailrc"), RC.as_bytes());
}

#[test]
fn existing_password_file_is_not_changed() {
    let home = Home::new();
    home.write(".fetchmailrc", RC, 0o600);
    home.write(".config/pouch/secrets/example", "other", 0o600);
    home.pouch(&["import", "fetchmail", "--write", "--passwords"])
        .run()
        .assert_code(73)
        .assert_stderr("~/.config/pouch/secrets/example exists, and was not changed");
    assert_eq!(home.read(".config/pouch/secrets/example"), b"other");
    assert!(!home.join(".config/pouch/config.toml").exists());
}

#[test]
fn password_never_leaves_its_file() {
    let home = Home::new();
    home.write(".fetchmailrc", RC, 0o600);
    for args in [
        &["-vv"][..],
        &["--json"],
        &["--write", "-n"],
        &["--write", "--passwords"],
    ] {
        let output = home.pouch(&[&["import", "fetchmail"], args].concat()).run();
        output.assert_code(0);
        assert!(!format!("{output}").contains("walnut"), "{output}");
    }
    let found = home
        .command("sh", &["-c", "grep -rl walnut . | sort"])
        .run();
    assert_eq!(
        found.stdout,
        "./.config/pouch/secrets/example\n./.fetchmailrc\n"
    );
}

#[test]
fn included_file_of_fdm_is_read() {
    let home = Home::new();
    home.write(
        ".fdm.conf",
        "include \"~/.fdm/in\"\nmatch all action \"a\"\n",
        0o600,
    );
    let inner = "include \"~/.fdm.conf\"\naction \"a\" maildir \"~/M\"\n\
                 account \"x\" pop3s server \"h.example\" user \"u\" keep\n";
    home.write(".fdm/in", inner, 0o600);
    home.pouch(&["import", "fdm"])
        .run()
        .assert_code(65)
        .assert_stdout("[account.x]")
        .assert_stderr("included files are nested too deeply");
}
