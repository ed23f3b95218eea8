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

/// Returns the transcript of an import from fetchmail with this file.
fn imported(rc: impl AsRef<[u8]>) -> String {
    let home = Home::new();
    home.write("rc", rc, 0o600);
    let import = home.pouch(&["import", "fetchmail", "rc"]);
    import.env("LOGNAME", "ann").run().transcript()
}

#[test]
fn file_that_is_not_text_is_refused_as_a_whole() {
    let noise: Vec<u8> = (0..=255)
        .cycle()
        .map(|n: u8| n.wrapping_mul(73))
        .take(9999)
        .collect();
    assert_snapshot!(imported(noise), @"
    $ pouch import fetchmail rc
    ------- stderr -------
    pouch: rc is not a text file
    [exit code: 65]
    ");
}

#[test]
fn encodings_of_other_systems_make_no_difference() {
    let plain = imported(RC);
    let utf16 = |bytes: fn(u16) -> [u8; 2]| RC.encode_utf16().flat_map(bytes).collect::<Vec<_>>();
    let little = utf16(u16::to_le_bytes);
    assert_eq!(imported(&little), plain);
    assert_eq!(imported([b"\xff\xfe", &little[..]].concat()), plain);
    assert_eq!(imported(utf16(u16::to_be_bytes)), plain);
    assert_eq!(imported(format!("\u{feff}{RC}")), plain);
    assert_eq!(imported(RC.replace('\n', "\r\n")), plain);
}

/// The printed accounts are always a valid config.
#[test]
fn mailbox_that_appears_twice_is_imported_once() {
    let home = Home::new();
    let rc = "poll pop.example.org proto pop3 no rewrite mda \"procmail\"\n\
              \x20 user ann is ann here ssl keep\n  user ann is bob here ssl\n\
              \x20 user eve is eve here ssl keep\n";
    home.write(".fetchmailrc", rc, 0o600);
    let output = home.pouch(&["import", "fetchmail"]).run();
    home.config(&output.stdout);
    home.pouch(&["config", "show"]).run().assert_code(0);
    assert_snapshot!(output.transcript(), @r#"
    $ pouch import fetchmail
    [account.example]
    host = "pop.example.org"
    user = "ann"
    # password-file = "~/.config/pouch/secrets/example"
    pipe = ["procmail"]
    keep = "forever"

    [account.example-3]
    host = "pop.example.org"
    user = "eve"
    # password-file = "~/.config/pouch/secrets/example-3"
    pipe = ["procmail"]
    keep = "forever"
    ------- stderr -------
    example (fetchmail, ~/.fetchmailrc:2)
      taken over
        line 1: mda: `pipe`
        line 2: keep: keep = "forever"
      same by default
        line 1: protocol pop3: POP3
        line 1: no rewrite: messages are not changed
        line 2: ssl: TLS from the first byte
      left out
        line 2: no password: pouch does not read ~/.netrc: set `password-command` or `password-file`
      fetched messages
        no record of fetched messages was found: `pouch fetch` would fetch all messages; to skip those on the server, run `pouch ledger catchup example`
    example-2 (fetchmail, ~/.fetchmailrc:3)
      not taken over
      left out
        line 3: no password: pouch does not read ~/.netrc: set `password-command` or `password-file`
        line 3: account: not a valid account: accounts `example` and `example-2` are the same mailbox, ann@pop.example.org:995
    example-3 (fetchmail, ~/.fetchmailrc:4)
      taken over
        line 1: mda: `pipe`
        line 4: keep: keep = "forever"
      same by default
        line 1: protocol pop3: POP3
        line 1: no rewrite: messages are not changed
        line 4: ssl: TLS from the first byte
      left out
        line 4: no password: pouch does not read ~/.netrc: set `password-command` or `password-file`
      fetched messages
        no record of fetched messages was found: `pouch fetch` would fetch all messages; to skip those on the server, run `pouch ledger catchup example-3`
    "#);
}

#[test]
fn record_that_cannot_be_read_is_an_error() {
    let home = Home::new();
    home.write(".fetchmailrc", RC, 0o600);
    let import = || {
        let import = home.pouch(&["import", "fetchmail", "-q"]);
        import.env("LOGNAME", "ann").run().transcript()
    };
    home.make_dir(".fetchids", 0o700);
    let mut shown = import();
    fs::remove_dir(home.join(".fetchids")).unwrap();
    std::os::unix::fs::symlink(".fetchids", home.join(".fetchids")).unwrap();
    shown.push_str(&import());
    fs::remove_file(home.join(".fetchids")).unwrap();
    home.write(".fetchids", "ann\u{1b}@pop.example.net uid\n", 0o600);
    let other = home.pouch(&["import", "fetchmail"]).run().stderr_text();
    shown.push_str(other.lines().last().unwrap());
    assert_snapshot!(shown, @r#"
    $ pouch import fetchmail -q
    [account.example]
    host = "pop.example.org"
    user = "ann"
    # password-file = "~/.config/pouch/secrets/example"
    pipe = ["procmail", "-d", "ann"]
    keep = "forever"
    ------- stderr -------
    pouch: example: cannot read ~/.fetchids
      Is a directory
    [exit code: 78]
    $ pouch import fetchmail -q
    [account.example]
    host = "pop.example.org"
    user = "ann"
    # password-file = "~/.config/pouch/secrets/example"
    pipe = ["procmail", "-d", "ann"]
    keep = "forever"
    ------- stderr -------
    pouch: example: cannot read ~/.fetchids
      Too many levels of symbolic links
    [exit code: 78]
    not imported, since no account has it: 1 message of `ann�@pop.example.net` in ~/.fetchids
    "#);
}

#[test]
fn nothing_is_written_if_the_config_is_not_writable() {
    let home = Home::new();
    home.write(".fetchmailrc", RC, 0o600);
    home.write("file", "", 0o600);
    let args = [
        "--config",
        "file/c.toml",
        "import",
        "fetchmail",
        "--write",
        "--passwords",
        "-q",
    ];
    assert_snapshot!(home.pouch(&args).run().transcript(), @"
    $ pouch --config file/c.toml import fetchmail --write --passwords -q
    ------- stderr -------
    pouch: cannot create the directory ~/file
      a file of that name already exists
    [exit code: 73]
    ");
    let state = home.join(".local/state/pouch/mailboxes");
    assert!(!state.exists());
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
