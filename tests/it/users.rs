//! Accounts of several users that root fetches (`deliver-as`). These tests need root.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown, symlink},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    server::{Server, corpus, on},
    support::{
        Home,
        run::{Output, Run},
    },
};

/// A user that every system has.
const USER: &str = "nobody";

/// Two accounts: `work` of root, and `other`, which is delivered as [`USER`] to `other/Mail`.
struct Office {
    home: Home,
    work: Server,
    other: Server,
}

/// Returns the user ID of [`USER`].
fn uid() -> u32 {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.starts_with("nobody:"));
    line.unwrap().split(':').nth(2).unwrap().parse().unwrap()
}

impl Office {
    fn new() -> Self {
        Self::with(&format!("deliver-as = \"{USER}\""), |setup| setup)
    }

    /// Creates the accounts, the second one with these lines.
    fn with(lines: &str, change: impl Fn(crate::server::Setup) -> crate::server::Setup) -> Self {
        let start = || change(Server::plain().messages(corpus::messages(2))).start();
        let office = Self {
            home: Home::new(),
            work: start(),
            other: start(),
        };
        office.home.make_dir("", 0o711);
        let dir = office.home.make_dir("other", 0o700);
        chown(dir, Some(uid()), None).unwrap();
        office.home.write("password", "secret\n", 0o600);
        office.configure("maildir", lines);
        office
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.join("other").join(name)
    }

    fn configure(&self, kind: &str, lines: &str) {
        let account = |name: &str, server: &Server, rest: &str| {
            format!(
                "[account.{name}]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"ann\"\ntls = \"off\"\n\
                 password-file = \"~/password\"\nallow-plaintext-password = true\n{rest}\n",
                server.port()
            )
        };
        self.home.config(&format!(
            "state-dir = \"~/state\"\n{}{}",
            account("work", &self.work, "maildir = \"~/Mail/work\""),
            account(
                "other",
                &self.other,
                &format!("{kind} = \"{}\"\n{lines}", self.path("Mail").display())
            )
        ));
    }

    fn pouch(&self, args: &[&str]) -> Run {
        self.home.pouch(args)
    }

    #[track_caller]
    fn fetch(&self, code: i32) -> Output {
        let output = self.pouch(&["fetch"]).run();
        output.assert_code(code);
        output
    }

    #[track_caller]
    fn assert_arrived(&self) {
        let expected = [1, 2].map(|n| corpus::on_disk(&corpus::message(n)));
        self.home.maildir("other/Mail").assert_exactly(&expected);
        self.home.maildir("Mail/work").assert_exactly(&expected);
    }
}

/// Returns the owners of all files below `dir`.
fn owners(dir: &Path) -> Vec<u32> {
    let mut owners = vec![fs::symlink_metadata(dir).unwrap().uid()];
    if dir.is_dir() {
        for entry in fs::read_dir(dir).unwrap() {
            owners.extend(self::owners(&entry.unwrap().path()));
        }
    }
    owners.sort_unstable();
    owners.dedup();
    owners
}

#[test]
fn files_belong_to_the_user_and_those_of_other_accounts_to_root() {
    let office = Office::new();
    office.fetch(0).assert_silent();
    office.assert_arrived();
    office.fetch(0).assert_silent();
    office.assert_arrived();
    assert_eq!(owners(&office.path("Mail")), [uid()]);
    assert_eq!(owners(&office.home.join("state").join(USER)), [uid()]);
    assert_eq!(owners(&office.home.join("Mail")), [0]);
    Home::ledger(&office.home.join("state"));
    Home::ledger(&office.home.join("state").join(USER));
}

#[test]
fn mbox_file_and_programs_are_those_of_the_user() {
    let office = Office::new();
    let lines = format!(
        "deliver-as = \"{USER}\"\nafter = [\"sh\", \"-c\", \"(id -u; id -G; env) > {}\"]",
        office.path("after").display()
    );
    office.configure("mbox", &lines);
    let output = office.pouch(&["fetch"]).env("PASSWORD_OF_ROOT", "x").run();
    output.assert_code(0);
    assert_eq!(owners(&office.path("Mail")), [uid()]);
    let after = String::from_utf8(office.home.read("other/after")).unwrap();
    let id = office.home.system_command("id", &["-G", USER]).run();
    let groups = id.stdout_text();
    assert!(
        after.starts_with(&format!("{}\n{groups}", uid())),
        "{after}"
    );
    assert!(after.contains("USER=nobody\n"));
    assert!(!after.contains("PASSWORD_OF_ROOT"), "{after}");
}

#[test]
fn link_to_a_directory_of_root_is_not_written() {
    let office = Office::new();
    let secret = office.home.make_dir("secret", 0o755);
    for part in ["Mail/tmp", "Mail/cur"] {
        let dir = office.home.make_dir(format!("other/{part}"), 0o700);
        chown(dir, Some(uid()), None).unwrap();
    }
    chown(office.path("Mail"), Some(uid()), None).unwrap();
    // a link of root is followed, and does not help
    symlink(&secret, office.path("Mail/new")).unwrap();
    let output = office.fetch(73);
    output.assert_stderr("Permission denied");
    assert_eq!(fs::read_dir(&secret).unwrap().count(), 0);
    let expected = [1, 2].map(|n| corpus::on_disk(&corpus::message(n)));
    let work = office.home.maildir("Mail/work");
    work.assert_exactly(&expected);
}

#[test]
fn other_commands_read_the_ledger_of_the_user() {
    let office = Office::new();
    office.fetch(0);
    for command in [
        &["plan"][..],
        &["status"],
        &["ledger", "list", "--all"],
        &["ledger", "verify"],
    ] {
        let output = office.pouch(command).run();
        output
            .assert_code(0)
            .assert_stdout("work")
            .assert_stdout("other");
        let json = office.pouch(&[command, &["--json"]].concat()).run();
        json.assert_code(0);
        let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
        let names: Vec<_> = json["accounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|account| account["account"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["work", "other"], "{command:?}");
    }
    let show = office.pouch(&["ledger", "show", "other", "1"]).run();
    show.assert_code(0).assert_stdout("uid-1");
    let retry = office.pouch(&["ledger", "forget", "other", "all"]).run();
    retry.assert_code(0).assert_stdout("2 messages forgotten");
    assert_eq!(owners(&office.home.join("state").join(USER)), [uid()]);
}

#[test]
fn mistakes_of_the_command_line_are_reported_once() {
    let office = Office::new();
    for args in [
        &["fetch", "--mailbox", "private"][..],
        &["fetch", "--to", "-", "--json"],
    ] {
        let output = office.pouch(args).run();
        output.assert_code(64);
        assert_eq!(output.stderr.matches("pouch: ").count(), 1, "{output}");
    }
    assert!(!office.home.join("other/Mail").exists());
}

#[test]
fn catchup_connects_with_the_password_of_root() {
    let office = Office::new();
    let output = office.pouch(&["ledger", "catchup", "other"]).run();
    output.assert_code(0).assert_stdout("2 messages skipped");
    office.fetch(0);
    assert_eq!(office.home.maildir("other/Mail").len(), 0);
}

#[test]
fn check_tests_the_rights_of_the_user() {
    let office = Office::new();
    office
        .pouch(&["check"])
        .run()
        .assert_code(0)
        .assert_stdout("other");
    chown(office.path(""), Some(0), None).unwrap();
    let output = office.pouch(&["check", "other"]).run();
    output.assert_code(73).assert_stderr("Permission denied");
    let json = office.pouch(&["check", "--json"]).run();
    json.assert_code(73)
        .assert_stdout("\"account\": \"work\"")
        .assert_stdout("\"sandbox\"");
}

#[test]
fn sandbox_is_reported_as_off_if_a_program_of_one_user_needs_that() {
    let lines = format!("filter = [[\"cat\"]]\ndeliver-as = \"{USER}\"");
    let office = Office::with(&lines, |setup| setup);
    let output = office.pouch(&["check", "--json"]).run();
    output.assert_code(0);
    let document: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(document["sandbox"]["in_force"], false, "{document:#}");
}

#[test]
fn events_of_all_accounts_end_with_one_exit_code() {
    let office = Office::new();
    let output = office.pouch(&["fetch", "--json"]).run();
    output.assert_code(0);
    let text = output.stdout_text();
    let events: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let stored = events.iter().filter(|event| event["event"] == "stored");
    assert_eq!(stored.count(), 4);
    let ends = events.iter().filter(|event| event["event"] == "end");
    assert_eq!(ends.count(), 1, "{text}");
    assert_eq!(events.last().unwrap()["event"], "end");
    office
        .pouch(&["fetch", "--fail-if-none"])
        .run()
        .assert_code(1);
    office.work.add("uid-3", corpus::message(3));
    office
        .pouch(&["fetch", "--fail-if-none"])
        .run()
        .assert_code(0);
}

#[test]
fn unknown_user_does_not_stop_other_accounts() {
    let office = Office::with("deliver-as = \"no-such-user\"", |setup| setup);
    let output = office.fetch(78);
    output
        .assert_stderr("pouch: other: there is no user `no-such-user`")
        .assert_stderr("config.toml:18: deliver-as = \"no-such-user\"");
    let expected = [1, 2].map(|n| corpus::on_disk(&corpus::message(n)));
    office.home.maildir("Mail/work").assert_exactly(&expected);
    for args in [&["check", "--json"][..], &["check", "other", "--json"]] {
        let output = office.pouch(args).run();
        output
            .assert_code(78)
            .assert_stdout("there is no user `no-such-user`");
        let document: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
        let accounts = document["accounts"].as_array().unwrap();
        assert_eq!(accounts.len(), 4 - args.len());
    }
}

#[test]
fn other_user_than_root_cannot_deliver_as_a_user() {
    let office = Office::with("deliver-as = \"daemon\"", |setup| setup);
    for path in [
        ".config",
        ".config/pouch",
        ".config/pouch/config.toml",
        "password",
    ] {
        chown(office.home.join(path), Some(uid()), None).unwrap();
    }
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let id = uid().to_string();
    let run = [
        "--reuid",
        &id,
        "--regid",
        &id,
        "--clear-groups",
        pouch,
        "fetch",
        "other",
    ];
    let output = office.home.system_command("setpriv", &run).run();
    output
        .assert_code(77)
        .assert_stderr("only root can run an account as the user `daemon`");
}

#[test]
fn the_user_itself_needs_no_root() {
    let office = Office::new();
    for path in [
        ".config",
        ".config/pouch",
        ".config/pouch/config.toml",
        "password",
    ] {
        chown(office.home.join(path), Some(uid()), None).unwrap();
    }
    let state = office.path("state").display().to_string();
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let id = uid().to_string();
    let run = [
        "--reuid",
        &id,
        "--regid",
        &id,
        "--clear-groups",
        pouch,
        "fetch",
        "other",
        "--state-dir",
        &state,
    ];
    office
        .home
        .system_command("setpriv", &run)
        .run()
        .assert_code(0);
    assert_eq!(owners(&office.path("")), [uid()]);
}

#[test]
fn without_a_state_directory_the_ledger_is_in_the_home_of_the_user() {
    let office = Office::new();
    let config = String::from_utf8(office.home.read(".config/pouch/config.toml")).unwrap();
    let config = config.replace("state-dir = \"~/state\"\n", "");
    let mail = office.path("Mail").display().to_string();
    office.home.config(&config.replace(&mail, "~/Mail"));
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let lines: Vec<_> = passwd
        .lines()
        .map(|line| match line.strip_prefix("nobody:") {
            Some(_) => format!(
                "nobody:x:{}:{0}::{}:/bin/sh",
                uid(),
                office.path("").display()
            ),
            None => line.to_owned(),
        })
        .collect();
    let passwd = office.home.write("passwd", lines.join("\n") + "\n", 0o644);
    let script = format!(
        "mount --bind {} /etc/passwd && exec {} fetch",
        passwd.display(),
        env!("CARGO_BIN_EXE_pouch")
    );
    let run = office
        .home
        .system_command("unshare", &["-m", "sh", "-c", &script])
        .run();
    run.assert_code(0).assert_silent();
    office.assert_arrived();
    Home::ledger(&office.path(".local/state/pouch"));
    assert_eq!(owners(&office.path("")), [uid()]);
}

#[test]
fn signal_ends_all_processes_within_a_second() {
    for signal in [2, 15] {
        let office = Office::with(
            &format!("deliver-as = \"{USER}\"\ntimeout = \"60s\""),
            |setup| setup.fault(on("RETR").silence()),
        );
        let mut run = office.pouch(&["fetch"]).spawn();
        office.work.wait_for(|log| log.count("RETR") > 0);
        office.other.wait_for(|log| log.count("RETR") > 0);
        let began = Instant::now();
        run.signal(signal);
        run.wait().assert_code(128 + signal);
        assert!(began.elapsed() < Duration::from_millis(1500));
        let left = fs::read_dir("/proc").unwrap().filter(|entry| {
            let path = entry.as_ref().unwrap().path();
            let directory = fs::read_link(path.join("cwd"));
            directory.is_ok_and(|directory| directory == office.home.path())
        });
        assert_eq!(left.count(), 0);
    }
}

#[test]
fn children_do_not_outlive_a_killed_pouch() {
    let office = Office::with(
        &format!("deliver-as = \"{USER}\"\ntimeout = \"60s\""),
        |setup| setup.fault(on("RETR").silence()),
    );
    let mut run = office.pouch(&["fetch"]).spawn();
    office.other.wait_for(|log| log.count("RETR") > 0);
    run.kill();
    run.wait();
    office.other.wait_for(|log| log.open() == 0);
}

#[test]
fn rounds_are_repeated_until_a_signal() {
    let office = Office::new();
    let mut run = office.pouch(&["fetch", "--every", "1s"]).spawn();
    office.other.wait_for(|log| log.count("QUIT") >= 1);
    office.other.add("uid-3", corpus::message(3));
    office
        .other
        .wait_for(|log| log.count("RETR") >= 3 && log.open() == 0);
    run.signal(15);
    run.wait().assert_code(143);
    assert_eq!(office.home.maildir("other/Mail").len(), 3);
}

#[test]
fn state_directory_that_others_can_write_is_refused() {
    let office = Office::new();
    office.home.make_dir("state", 0o777);
    office
        .fetch(77)
        .assert_stderr("the state directory ~/state is writable by other users");
    assert!(!office.home.join("state").join(USER).exists());
}

#[test]
fn state_directory_that_the_user_cannot_reach_is_reported() {
    let office = Office::new();
    office.home.make_dir("state", 0o700);
    office
        .fetch(77)
        .assert_stderr("the user `nobody` cannot reach ~/state/nobody")
        .assert_stderr("hint: run `chmod o+x ~/state`");
}

/// Moves the account of [`USER`] to a file in `conf.d` that belongs to that user.
fn in_own_file(office: &Office, change: impl Fn(&str) -> String) -> PathBuf {
    let text = String::from_utf8(office.home.read(".config/pouch/config.toml")).unwrap();
    let (main, other) = text.split_once("[account.other]").unwrap();
    office.home.config(main);
    let other = other.replace("~/password", &office.path("password").display().to_string());
    let path = ".config/pouch/conf.d/other.toml";
    let path = office
        .home
        .write(path, change(&format!("[account.other]{other}")), 0o600);
    chown(&path, Some(uid()), None).unwrap();
    for name in ["password", "after"] {
        office
            .home
            .write(format!("other/{name}"), "secret\n", 0o600);
        chown(office.path(name), Some(uid()), None).unwrap();
    }
    path
}

#[test]
fn file_of_a_user_has_accounts_of_that_user() {
    let office = Office::new();
    in_own_file(&office, |text| {
        format!(
            "{text}after = [\"sh\", \"-c\", \"id -u > {}\"]\n",
            office.path("after").display()
        )
    });
    office.fetch(0).assert_silent();
    office.assert_arrived();
    assert_eq!(owners(&office.path("Mail")), [uid()]);
    let after = String::from_utf8(office.home.read("other/after")).unwrap();
    assert_eq!(after, format!("{}\n", uid()));
    office.pouch(&["check"]).run().assert_code(0);
    let list = office.pouch(&["ledger", "list", "other", "--all"]).run();
    list.assert_code(0).assert_stdout("uid-1");
}

#[test]
fn file_of_a_user_has_no_accounts_of_others() {
    for deliver_as in ["", "deliver-as = \"daemon\"", "deliver-as = \"root\""] {
        let office = Office::new();
        let touch = office.home.join("touched").display().to_string();
        let own = format!("deliver-as = \"{USER}\"");
        in_own_file(&office, |text| {
            let before = format!("before = [\"touch\", \"{touch}\"]");
            text.replace(&own, &format!("{deliver_as}\n{before}"))
        });
        let output = office.fetch(78);
        output
            .assert_stderr("an account in a file of the user `nobody` is fetched only for `nobody`")
            .assert_stderr("hint: add `deliver-as = \"nobody\"`");
        assert!(!office.path("Mail").exists());
        assert!(!office.home.join("touched").exists());
        let expected = [1, 2].map(|n| corpus::on_disk(&corpus::message(n)));
        office.home.maildir("Mail/work").assert_exactly(&expected);
    }
}

#[test]
fn root_reads_no_secret_for_the_file_of_a_user() {
    // the user would send it to a server of its own
    let office = Office::new();
    office.home.write("password", "secret\n", 0o600);
    let secret = office.home.join("password").display().to_string();
    let password = office.path("password").display().to_string();
    in_own_file(&office, |text| text.replace(&password, &secret));
    let output = office.fetch(77);
    output
        .assert_stderr("pouch: other: ")
        .assert_stderr("password");
    assert_eq!(office.other.log().count("PASS"), 0);
    for line in ["password-credential = \"x\"", ""] {
        let office = Office::new();
        in_own_file(&office, |text| {
            let line_of = |line: &&str| !line.starts_with("password-file");
            let lines: Vec<_> = text.lines().filter(line_of).collect();
            format!("{}\n{line}\n", lines.join("\n"))
        });
        let output = office.fetch(78);
        output.assert_stderr("needs a password that `nobody` can read");
        assert_eq!(office.other.log().count("PASS"), 0);
    }
}

#[test]
fn file_of_a_user_cannot_change_the_program() {
    let office = Office::new();
    for line in [
        "state-dir = \"/tmp/x\"",
        "accounts-command = [\"id\"]",
        "sandbox = false",
    ] {
        in_own_file(&office, |text| format!("{line}\n{text}"));
        let output = office.fetch(78);
        output.assert_stderr("is allowed only in the main config file");
        office.configure("maildir", &format!("deliver-as = \"{USER}\""));
    }
}

#[test]
fn user_cannot_take_the_name_of_an_account_of_root() {
    let office = Office::new();
    // a name that is sorted first
    let path = in_own_file(&office, |text| {
        text.replace("account.other", "account.work")
    });
    fs::rename(&path, path.with_file_name("0.toml")).unwrap();
    let output = office.fetch(78);
    output.assert_stderr("account `work` is defined twice");
    let expected = [1, 2].map(|n| corpus::on_disk(&corpus::message(n)));
    office.home.maildir("Mail/work").assert_exactly(&expected);
    assert!(!office.path("Mail").exists());
}

#[test]
fn user_cannot_choose_a_file_of_root() {
    let office = Office::new();
    let path = in_own_file(&office, str::to_owned);
    // root's link to a file of the user
    fs::rename(&path, office.path("mail.toml")).unwrap();
    symlink(office.path("mail.toml"), &path).unwrap();
    office.fetch(0).assert_silent();
    office.assert_arrived();
    // the user replaces it with a link to a file that root owns
    let text = "[account.third]\nhost = \"127.0.0.1\"\nuser = \"x\"\nmaildir = \"~/x\"\n";
    let secret = office.home.write("config-of-root.toml", text, 0o600);
    fs::remove_file(office.path("mail.toml")).unwrap();
    symlink(&secret, office.path("mail.toml")).unwrap();
    std::os::unix::fs::lchown(office.path("mail.toml"), Some(uid()), None).unwrap();
    let output = office.fetch(77);
    output.assert_stderr("contains a symbolic link of another user");
    // or moves one there
    fs::remove_file(office.path("mail.toml")).unwrap();
    fs::rename(&secret, office.path("mail.toml")).unwrap();
    let output = office.fetch(77);
    output.assert_stderr("leads to a directory that other users can change");
}

#[test]
fn other_users_than_root_read_no_foreign_files() {
    let office = Office::new();
    let path = in_own_file(&office, str::to_owned);
    for path in [
        ".config",
        ".config/pouch",
        ".config/pouch/config.toml",
        ".config/pouch/conf.d",
        "password",
    ] {
        chown(office.home.join(path), Some(uid()), None).unwrap();
    }
    chown(&path, Some(1), None).unwrap();
    let id = uid().to_string();
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let run = [
        "--reuid",
        &id,
        "--regid",
        &id,
        "--clear-groups",
        pouch,
        "config",
        "show",
    ];
    let output = office.home.system_command("setpriv", &run).run();
    output.assert_code(77).assert_stderr("conf.d/other.toml");
}

#[test]
fn listed_accounts_are_delivered_as_their_users() {
    let office = Office::new();
    let text = String::from_utf8(office.home.read(".config/pouch/config.toml")).unwrap();
    let (main, other) = text.split_once("[account.other]").unwrap();
    let (head, rest) = main.split_once('\n').unwrap();
    let list = office.home.join("list").display().to_string();
    let script = format!("cat {list}; echo x >>{list}.runs");
    office.home.config(&format!(
        "{head}\naccounts-command = [\"sh\", \"-c\", \"{script}\"]\n{rest}"
    ));
    let other = other.replace("password-file = \"~/password\"", "password = \"secret\"");
    office
        .home
        .write("list", format!("[account.other]{other}"), 0o600);
    office.fetch(0).assert_silent();
    office.assert_arrived();
    assert_eq!(owners(&office.path("Mail")), [uid()]);
    let grep = office
        .home
        .system_command("grep", &["-r", "password = \"secret", "state"])
        .run();
    grep.assert_code(1);
    // each round reads the list again
    let run = office.pouch(&["fetch", "--every", "1s", "-v"]);
    let mut pouch = run.within(Duration::from_mins(1)).spawn();
    pouch.wait_for_times("other ", 1);
    office.other.add("uid-3", corpus::message(3));
    pouch.wait_for_times("1 new", 1);
    pouch.signal(15);
    pouch.wait();
    assert!(office.home.read("list.runs").len() >= 3 * 2);
    assert_eq!(office.home.maildir("other/Mail").len(), 3);
    assert_eq!(owners(&office.path("Mail")), [uid()]);
}

#[test]
fn accounts_of_users_that_are_added_later_are_fetched() {
    let office = Office::new();
    let path = ".config/pouch/config.toml";
    let text = String::from_utf8(office.home.read(path)).unwrap();
    let (main, other) = text.split_once("[account.other]").unwrap();
    office.home.config(main);
    // as for a service with StateDirectory=
    office.home.make_dir("state", 0o755);
    let run = office.pouch(&["fetch", "--every", "1s", "-v"]);
    let mut pouch = run.within(Duration::from_mins(1)).spawn();
    pouch.wait_for("work ");
    let other = format!("[account.other]{other}");
    office
        .home
        .write(".config/pouch/conf.d/other.toml", &other, 0o600);
    pouch.wait_for("other ");
    // and one that changes
    let changed = other.replace("other/Mail", "other/Changed");
    office
        .home
        .write(".config/pouch/conf.d/other.toml", &changed, 0o600);
    let rounds = office.other.log().count("QUIT");
    office.other.wait_for(|log| log.count("QUIT") > rounds + 1);
    office.other.add("uid-3", corpus::message(3));
    pouch.wait_for("1 new");
    assert_eq!(office.home.maildir("other/Changed").len(), 1);
    fs::remove_file(office.home.join(".config/pouch/conf.d/other.toml")).unwrap();
    let rounds = office.work.log().count("QUIT");
    office.work.wait_for(|log| log.count("QUIT") > rounds + 1);
    let last = office.other.log().count("QUIT");
    let rounds = office.work.log().count("QUIT");
    office.work.wait_for(|log| log.count("QUIT") > rounds + 1);
    assert_eq!(office.other.log().count("QUIT"), last);
    pouch.signal(15);
    pouch.wait().assert_code(128 + 15);
    assert_eq!(owners(&office.path("")), [uid()]);
}

/// Returns the ledger files in a directory.
fn copies(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_some_and(|it| it == "db"))
        .collect()
}

#[test]
fn backup_of_all_users_is_restored_by_each_user() {
    let office = Office::new();
    office.fetch(0);
    for names in [&[][..], &["work", "other"]] {
        let args = [&["ledger", "backup", "--replace"], names, &["backup"]].concat();
        let output = office.pouch(&args).run();
        output
            .assert_code(0)
            .assert_stdout("/backup/nobody/")
            .assert_stdout("(2 messages)");
        assert_eq!(copies(&office.home.join("backup")).len(), 1);
        let of_user = office.home.join("backup").join(USER);
        assert_eq!(copies(&of_user).len(), 1);
        assert_eq!(owners(&of_user), [uid()]);
        let json = office.pouch(&[&args[..], &["--json"]].concat()).run();
        let document: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(document["ledgers"].as_array().unwrap().len(), 2);
    }
    for (source, restored) in [("backup/nobody", 1), ("backup", 2)] {
        fs::remove_dir_all(office.home.join("state")).unwrap();
        let output = office.pouch(&["ledger", "restore", source]).run();
        output.assert_code(0);
        let text = output.stdout_text();
        assert_eq!(text.matches("ledger restored").count(), restored, "{text}");
        assert_eq!(owners(&office.home.join("state").join(USER)), [uid()]);
        Home::ledger(&office.home.join("state").join(USER));
    }
    office.fetch(0);
    office.assert_arrived();
}

/// Runs `pouch ledger backup` for all accounts.
fn back_up(office: &Office) {
    let output = office.pouch(&["ledger", "backup", "backup"]).run();
    output.assert_code(0);
}

#[test]
fn backup_and_restore_report_accounts_that_cannot_be_used() {
    let office = Office::new();
    office.fetch(0);
    back_up(&office);
    let path = ".config/pouch/config.toml";
    let config = String::from_utf8(office.home.read(path)).unwrap();
    let (main, _) = config.split_once("[account.other]").unwrap();
    office.home.config(main);
    let part = office
        .home
        .write(".config/pouch/conf.d/other.toml", "x = [", 0o600);
    chown(part, Some(uid()), None).unwrap();
    let output = office.pouch(&["ledger", "backup", "later"]).run();
    output
        .assert_code(78)
        .assert_stdout("(2 messages)")
        .assert_stderr("conf.d/other.toml:1:6: not valid TOML");
    let restore = ["ledger", "restore", "--replace", "backup"];
    let output = office.pouch(&restore).run();
    output
        .assert_code(78)
        .assert_stdout("ledger restored")
        .assert_stderr("conf.d/other.toml:1:6: not valid TOML")
        .assert_stderr("nobody: no valid account is fetched for the user `nobody`\n  its ledgers");
}

#[test]
fn config_that_is_not_valid_ends_backup_and_restore() {
    let office = Office::new();
    office.fetch(0);
    back_up(&office);
    let path = ".config/pouch/config.toml";
    let config = String::from_utf8(office.home.read(path)).unwrap();
    // a mistake in an account, and one that hides all settings
    for config in [config.replace("tls = ", "tsl = "), format!("{config}x = [")] {
        office.home.config(&config);
        for args in [
            &["ledger", "backup", "later"][..],
            &["ledger", "restore", "--replace", "backup"],
        ] {
            let output = office.pouch(args).run();
            output.assert_code(78).assert_stderr("config.toml:");
            assert!(!office.home.join("later").exists());
            assert!(!office.home.join(".local").exists());
        }
    }
}

#[test]
fn copies_of_a_user_who_has_another_id_are_not_restored() {
    let office = Office::new();
    office.fetch(0);
    back_up(&office);
    // as on the machine that they are from
    chown(office.home.join("backup").join(USER), Some(1), None).unwrap();
    for source in ["backup", "backup/nobody"] {
        let restore = ["ledger", "restore", "--replace", source];
        let output = office.pouch(&restore).run();
        output
            .assert_code(77)
            .assert_stderr("not to `nobody`\n  its ledgers were not restored")
            .assert_stderr("hint: run `chown -R nobody ");
    }
}

#[test]
fn copy_that_belongs_to_root_is_restored_by_the_user_of_the_account() {
    let office = Office::new();
    office.fetch(0);
    let export = office.pouch(&["ledger", "export", "other", "-"]).run();
    export
        .assert_code(0)
        .assert_stderr("not fetched here any more");
    let copy = office.home.write("copy.db", &export.stdout_bytes, 0o600);
    let check = office.pouch(&["check", "other"]).run();
    check
        .assert_code(65)
        .assert_stdout("ledger   failed")
        .assert_stderr("pouch: other: the ledger was exported to another machine");
    for stdin in [false, true] {
        let drop = office.pouch(&["ledger", "drop", "other", "--yes"]).run();
        drop.assert_code(0).assert_stdout("ledger of");
        let copy = copy.display().to_string();
        let output = if stdin {
            let run = office.pouch(&["ledger", "restore", "-"]);
            run.stdin(export.stdout_bytes.clone()).run()
        } else {
            office.pouch(&["ledger", "restore", &copy]).run()
        };
        output
            .assert_code(0)
            .assert_stdout("ledger restored: 2 messages");
        assert_eq!(owners(&office.home.join("state").join(USER)), [uid()]);
        assert_eq!(
            copies(&office.home.join("state").join(USER).join("mailboxes")).len(),
            1
        );
    }
    office.fetch(0);
    office.assert_arrived();
}

#[test]
fn ledger_of_a_removed_account_of_a_user_is_named_in_the_hint() {
    let office = Office::new();
    office.fetch(0);
    let path = ".config/pouch/config.toml";
    let text = String::from_utf8(office.home.read(path)).unwrap();
    let renamed = text.replace("[account.other]", "[account.third]");
    office
        .home
        .config(&renamed.replace(&format!("port = {}", office.other.port()), "port = 1"));
    let output = office.pouch(&["ledger", "drop", "other", "--yes"]).run();
    output.assert_code(64).assert_stderr(
        "hint: for a ledger of another user, run `runuser -u USER -- pouch --state-dir ~/state/USER \
         ledger COMMAND other`",
    );
    let state = office.home.join("state").join(USER).display().to_string();
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let drop = [
        "-u",
        USER,
        "--",
        pouch,
        "--state-dir",
        &state,
        "ledger",
        "drop",
        "other",
        "--yes",
    ];
    let output = office.home.system_command("runuser", &drop).run();
    output.assert_code(0).assert_stdout("ledger of");
}

#[test]
fn backup_writable_by_other_users_is_refused() {
    let office = Office::new();
    office.fetch(0);
    office.home.make_dir("backup", 0o777);
    let output = office.pouch(&["ledger", "backup", "backup"]).run();
    output
        .assert_code(77)
        .assert_stderr("the directory ~/backup is writable by other users");
    // an account of one user is copied with the rights of the user
    let target = office.path("copies/").display().to_string();
    let output = office.pouch(&["ledger", "backup", "other", &target]).run();
    output.assert_code(0);
    assert_eq!(owners(&office.path("copies")), [uid()]);
}

/// Returns whether the metrics in `m.prom` have this value for both accounts.
fn both_have(office: &Office, metric: &str, value: u64) -> bool {
    let text = fs::read_to_string(office.home.join("m.prom")).unwrap_or_default();
    ["work", "other"].iter().all(|account| {
        text.contains(&format!(
            "pouch_account_{metric}{{account=\"{account}\"}} {value}\n"
        ))
    })
}

#[test]
fn metrics_of_all_users_are_written_by_root() {
    let office = Office::new();
    let fetch = |args: &[&str]| {
        let args = [&["fetch", "--metrics", "m.prom"], args].concat();
        office.pouch(&args).run().assert_code(0).assert_silent();
    };
    fetch(&[]);
    assert!(both_have(&office, "delivered_messages_total", 2));
    assert_eq!(owners(&office.home.join("m.prom")), [0]);
    fs::remove_file(office.home.join("m.prom")).unwrap();
    fetch(&["work"]);
    assert!(both_have(&office, "delivered_messages_total", 2));
}

#[test]
fn metrics_are_written_again_while_rounds_are_repeated() {
    let office = Office::new();
    let every = ["fetch", "--every", "1s", "--metrics", "m.prom"];
    let mut run = office.pouch(&every).spawn();
    let succeeded = || {
        let text = fs::read_to_string(office.home.join("m.prom"));
        text.is_ok_and(|text| text.contains("\npouch_last_run_exit_code 0\n"))
    };
    let done = || both_have(&office, "delivered_messages_total", 2) && succeeded();
    crate::support::watch::wait_for_change(&[office.home.path()], done);
    run.signal(15);
    run.wait().assert_code(143);
}

#[test]
fn check_of_all_users_is_one_line() {
    let office = Office::new();
    let check = |code| {
        let output = office.pouch(&["status", "--check"]).run();
        output.assert_code(code);
        assert_eq!(output.stdout.lines().count(), 1, "{output}");
        output.stdout
    };
    assert!(check(1).starts_with("POUCH WARNING - work: never run; other: never run | "));
    office.fetch(0);
    assert!(check(0).starts_with("POUCH OK - 2 accounts, oldest success "));
    let json = office.pouch(&["status", "--check", "--json"]).run();
    json.assert_code(0).assert_stdout("\"check\": \"ok\"");
}

#[test]
fn alert_has_the_rights_of_the_user() {
    let office = Office::new();
    let lines = format!(
        "deliver-as = \"{USER}\"\nalert = [\"sh\", \"-c\", \"(id -u; echo $POUCH_STATE) > {}\"]",
        office.path("alert").display()
    );
    office.configure("maildir", &lines);
    office.other.fault(on("AUTH").refuse("-ERR [AUTH] no"));
    office.fetch(77);
    let alert = String::from_utf8(office.home.read("other/alert")).unwrap();
    assert_eq!(alert, format!("{}\nproblem\n", uid()));
}

#[test]
fn report_has_the_accounts_of_all_users() {
    let office = Office::new();
    office.fetch(0);
    let output = office.pouch(&["report", "--html", "report.html"]).run();
    output.assert_code(0);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    let page = fs::read_to_string(office.home.join("report.html")).unwrap();
    assert!(page.contains("<dt>messages</dt><dd>4</dd>"));
    for account in ["work", "other"] {
        assert!(page.contains(&format!("<bdi>{account}</bdi>")));
    }
    let text = office.pouch(&["report"]).run();
    text.assert_code(0).assert_stdout("total   4 messages");
}
