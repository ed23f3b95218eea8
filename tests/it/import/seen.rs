//! Fetched messages of other programs: what of them a run fetches, keeps and deletes.

use std::fs;

use insta::assert_snapshot;

use crate::{
    fixture::{DAY, Desk, NOW},
    server::{Server, corpus, on},
    support::{
        Home,
        run::{Output, Run},
    },
};

/// A user of fetchmail, without a config of pouch.
struct Newcomer {
    home: Home,
    server: Server,
}

impl Newcomer {
    /// A mailbox of 30 messages, of which fetchmail has fetched those with these UIDs.
    fn new(fetched: impl IntoIterator<Item = String>, options: &str) -> Self {
        let newcomer = Self {
            home: Home::new(),
            server: Server::plain().messages(corpus::messages(30)).start(),
        };
        let rc = format!(
            "poll 127.0.0.1 proto pop3 port {}\n  user ann pass secret {options}\n",
            newcomer.server.port()
        );
        newcomer.home.write(".fetchmailrc", rc, 0o600);
        newcomer.record(fetched);
        newcomer
    }

    fn record(&self, fetched: impl IntoIterator<Item = String>) {
        let lines = fetched
            .into_iter()
            .map(|uid| format!("ann@127.0.0.1 {uid}\n"));
        self.home
            .write(".fetchids", lines.collect::<String>(), 0o600);
    }

    fn pouch(&self, args: &[&str]) -> Run {
        let run = self.home.pouch(args).env("LOGNAME", "ann");
        run.env("POUCH_NOW", NOW.to_string())
    }

    fn import(&self, args: &[&str]) -> Output {
        self.pouch(&[&["import", "fetchmail"], args].concat()).run()
    }

    fn config(&self) -> String {
        String::from_utf8(self.home.read(".config/pouch/config.toml")).unwrap()
    }

    /// Fetches, and returns how many messages arrived.
    fn arrived(&self, account: &str) -> usize {
        self.pouch(&["fetch"]).run().assert_code(0);
        let mail = self.home.maildir(format!("Mail/{account}"));
        mail.assert_tidy();
        mail.len()
    }
}

fn uids(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(corpus::uid).collect()
}

#[test]
fn fetched_messages_are_known_and_the_others_arrive() {
    let ann = Newcomer::new(uids(1..=20), "keep");
    assert_snapshot!(
        ann.import(&["--write", "--passwords"])
            .assert_code(0)
            .transcript()
    );
    let account = "127.0.0.1";
    assert_snapshot!(ann.pouch(&["plan"]).run().assert_code(0).stdout_text());
    assert_eq!(ann.arrived(account), 10);
    assert_eq!(ann.server.remaining(), 30);
    ann.pouch(&["ledger", "list", "--all"])
        .run()
        .assert_code(0)
        .assert_stdout("imported from fetchmail; UID uid-20")
        .assert_stdout("delivered");
    ann.pouch(&["ledger", "show", account, "1"])
        .run()
        .assert_stdout("imported from     fetchmail");
    ann.pouch(&["ledger", "verify"])
        .run()
        .assert_stdout("10 messages delivered, 10 of them in ~/Mail/127.0.0.1");
    let json = ann.pouch(&["ledger", "show", account, "1", "--json"]).run();
    json.assert_stdout("\"imported_from\": \"fetchmail\"");
}

#[test]
fn change_of_the_config_during_the_comparison_is_kept() {
    let ann = Newcomer::new(uids(1..=20), "keep");
    let port = ann.server.port();
    let poll =
        |host: &str| format!("poll {host} proto pop3 port {port} user ann pass secret keep\n");
    let rc = ["127.0.0.1", "localhost"].map(poll).concat();
    ann.home.write(".fetchmailrc", rc, 0o600);
    ann.home.write(
        ".fetchids",
        "ann@127.0.0.1 uid-1\nann@localhost uid-1\n",
        0o600,
    );
    // the first account fails after some seconds
    let capa = on("CAPA")
        .times(1)
        .drip("+OK\r\nUIDL\r\nTOP\r\nUSER\r\n.\r\n");
    ann.server.fault(capa);
    let run = ann.pouch(&["import", "fetchmail", "--write", "--passwords"]);
    let pouch = run.spawn();
    ann.server.wait_for(|log| log.count("CAPA") > 0);
    ann.home.config("jobs = 7\n");
    pouch.wait().assert_stderr("the account was not added");
    let config = ann.config();
    assert!(config.starts_with("jobs = 7\n"), "{config}");
    assert!(config.contains("[account."), "{config}");
}

#[test]
fn second_import_changes_nothing() {
    let ann = Newcomer::new(uids(1..=20), "keep");
    ann.import(&["--write", "--passwords"]).assert_code(0);
    let (config, listed) = (
        ann.config(),
        ann.pouch(&["ledger", "list", "-a"]).run().stdout,
    );
    let again = ann.import(&["--write", "--passwords"]);
    assert_snapshot!(again.assert_code(0).stdout_text(), @"
    127.0.0.1: 20 of 30 messages on the server are known; nothing new to record; its password was not stored, because the account was already in the config
    run `pouch check 127.0.0.1`, then `pouch plan 127.0.0.1`
    ");
    assert_eq!(ann.config(), config);
    assert_eq!(ann.pouch(&["ledger", "list", "-a"]).run().stdout, listed);
    // deleted, quarantined and forgotten rows stay as they are
    assert_eq!(ann.arrived("127.0.0.1"), 10);
    ann.import(&["--seen-only"])
        .assert_code(0)
        .assert_stdout("nothing new to record");
}

#[test]
fn server_without_the_messages_is_refused_before_anything_is_written() {
    let ann = Newcomer::new((1..=20).map(|n| format!("other-{n}")), "keep");
    let refused = ann.import(&["--write", "--passwords"]);
    assert_snapshot!(refused.assert_code(69).stderr_text());
    assert!(!ann.home.join(".config/pouch/config.toml").exists());
    assert!(!ann.home.join(".local/state/pouch/mailboxes").exists());
    assert!(!ann.home.join(".config/pouch/secrets").exists());
}

#[test]
fn account_that_cannot_be_compared_is_not_added() {
    let ann = Newcomer::new(uids(1..=20), "keep");
    drop(ann.server);
    let home = &ann.home;
    let failed = home.pouch(&["import", "fetchmail", "--write"]).run();
    failed
        .assert_code(69)
        .assert_stderr("the account was not added to the config");
    assert!(!home.join(".config/pouch/config.toml").exists());
}

#[test]
fn account_without_a_password_is_not_added_without_a_terminal() {
    let ann = Newcomer::new(uids(1..=20), "keep");
    let rc = String::from_utf8(ann.home.read(".fetchmailrc")).unwrap();
    ann.home
        .write(".fetchmailrc", rc.replace("pass secret", ""), 0o600);
    ann.import(&["--write"])
        .assert_code(78)
        .assert_stderr("cannot prompt for it: there is no terminal")
        .assert_stderr("hint: run this at a terminal, or add the account by hand, then run");
    assert!(!ann.home.join(".config/pouch/config.toml").exists());
}

#[test]
fn dry_run_compares_and_writes_nothing() {
    let ann = Newcomer::new(uids(1..=20), "no keep");
    let output = ann.import(&["--write", "-n"]);
    output
        .assert_code(0)
        .assert_stdout("would be added to ~/.config/pouch/config.toml")
        .assert_stdout("20 of 30 messages on the server are known; 20 messages would be recorded")
        .assert_stdout("the next fetch deletes 20 known messages");
    assert!(!ann.home.join(".config/pouch/config.toml").exists());
    assert!(!ann.home.join(".local/state/pouch/mailboxes").exists());
}

#[test]
fn messages_that_the_server_did_not_list_are_ignored_until_it_does() {
    let mut fetched = uids(1..=20);
    fetched.extend((1..=200).map(|n| format!("old-{n}")));
    let ann = Newcomer::new(fetched, "keep");
    ann.import(&["--write", "--passwords"])
        .assert_code(0)
        .assert_stdout("220 messages recorded");
    // 200 absent messages are no sign of a server that has changed its UIDs
    assert_eq!(ann.arrived("127.0.0.1"), 10);
    ann.server.add("old-7", corpus::message(40));
    assert_eq!(ann.arrived("127.0.0.1"), 10);
    ann.server.add("new-1", corpus::message(41));
    assert_eq!(ann.arrived("127.0.0.1"), 11);
}

#[test]
fn sync_deletions_ignores_imported_messages() {
    let ann = Newcomer::new(uids(1..=20), "keep");
    ann.import(&["--write", "--passwords"]).assert_code(0);
    ann.home.config(
        &ann.config()
            .replace("keep =", "sync-deletions = true\nkeep ="),
    );
    assert_eq!(ann.arrived("127.0.0.1"), 10);
    let delivered = fs::read_dir(ann.home.join("Mail/127.0.0.1/new")).unwrap();
    fs::remove_file(delivered.map(|entry| entry.unwrap().path()).next().unwrap()).unwrap();
    assert_eq!(ann.arrived("127.0.0.1"), 9);
    assert_eq!(ann.server.remaining(), 29);
}

#[test]
fn retention_applies_to_imported_messages_with_their_times() {
    let desk = Desk::with(6, "keep = \"30d\"", |server| server);
    let port = desk.server.port();
    let rc = format!(
        "[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {port}\n\
         username = ann\npassword = secret\n[destination]\ntype = Maildir\npath = ~/M/\n\
         [options]\ndelete_after = 30\n"
    );
    desk.home.write(".getmail/getmailrc", rc, 0o600);
    let times = [40, 31, 29, 1].map(|days| NOW - days * DAY);
    let lines = (1..)
        .zip(times)
        .map(|(n, at)| format!("{}\0{at}\n", corpus::uid(n)));
    let state = format!(".getmail/oldmail-127.0.0.1-{port}-ann");
    desk.home.write(state, lines.collect::<String>(), 0o600);
    desk.pouch(&["import", "getmail", "--seen-only"])
        .run()
        .assert_code(0)
        .assert_stdout("4 of 6 messages on the server are known")
        .assert_stdout("the next fetch deletes 2 known messages");
    assert_snapshot!(desk.pouch(&["plan"]).run().assert_code(0).stdout_text());
    desk.fetch(0);
    assert_eq!(desk.server.uids(), uids(3..=6));
    desk.assert_arrived(5..=6);
}

#[test]
fn all_uids_changed_after_the_import_is_recognised_by_headers() {
    let ann = Newcomer::new(uids(1..=20), "keep");
    ann.import(&["--write", "--passwords"]).assert_code(0);
    assert_eq!(ann.arrived("127.0.0.1"), 10);
    ann.server.renew_uids();
    assert_eq!(ann.arrived("127.0.0.1"), 10);
}

#[test]
fn messages_of_which_only_headers_were_fetched_stay_new() {
    let desk = Desk::with(6, "", |server| server);
    let prefs = "user_pref(\"mail.accountmanager.accounts\", \"account1\");\n\
                 user_pref(\"mail.account.account1.server\", \"server1\");\n\
                 user_pref(\"mail.server.server1.type\", \"pop3\");\n\
                 user_pref(\"mail.server.server1.hostname\", \"127.0.0.1\");\n\
                 user_pref(\"mail.server.server1.userName\", \"ann\");\n\
                 user_pref(\"mail.server.server1.leave_on_server\", true);\n\
                 user_pref(\"mail.server.server1.directory-rel\", \"[ProfD]Mail/pop\");\n";
    let profiles = "[Install1]\nDefault=x.default\n[Profile0]\nName=default\nIsRelative=1\n\
                    Path=x.default\n[Profile1]\nPath=other\nIsRelative=1\n";
    desk.home
        .write(".thunderbird/profiles.ini", profiles, 0o600);
    desk.home
        .write(".thunderbird/x.default/prefs.js", prefs, 0o600);
    let state = "# POP3 State File\r\n\r\n*127.0.0.1 ann\r\nk uid-1 1795000000\r\nb uid-2 0\r\n\
                 f uid-3 1795000000\r\nd uid-4 1795000000\r\n";
    desk.home
        .write(".thunderbird/x.default/Mail/pop/popstate.dat", state, 0o600);
    desk.pouch(&["import", "thunderbird", "--seen-only"])
        .run()
        .assert_code(0)
        .assert_stdout("2 of 6 messages on the server are known")
        .assert_stderr("2 messages: not fetched completely, so pouch will fetch them");
    desk.fetch(0);
    desk.assert_arrived([2, 3, 5, 6]);
}

#[test]
fn state_of_another_name_of_the_server_is_shown_and_can_be_named() {
    let desk = Desk::with(6, "", |server| server);
    let rc =
        "account work\nhost 127.0.0.1\nuser ann\npassword secret\ndelivery maildir ~/M\nkeep on\n";
    desk.home.write(".mpoprc", rc, 0o600);
    desk.home
        .write("old/state", " 2 pop.example.org ann\nuid-1\nuid-2\n", 0o600);
    desk.pouch(&["import", "mpop", "--seen-only", "--state", "old/state"])
        .run()
        .assert_code(0)
        .assert_stderr(
            "not imported, since no account has it: 2 messages of `ann@pop.example.org` in old/state",
        );
    desk.home
        .write("old/state", " 2 127.0.0.1 ann\nuid-1\nuid-2\n", 0o600);
    desk.pouch(&["import", "mpop", "--seen-only", "--state", "old/state"])
        .run()
        .assert_code(0)
        .assert_stdout("2 of 6 messages on the server are known; 2 messages recorded");
}

/// Imports the state of a mail program for the account in the config, and asserts which of six
/// messages arrive afterwards.
fn only_messages_that_were_not_delivered_arrive(
    program: &str,
    files: &[(&str, &str)],
    expected: &[usize],
) {
    let desk = Desk::with(6, "", |server| server);
    for (path, text) in files {
        desk.home.write(path, text, 0o600);
    }
    desk.pouch(&["import", program, "--seen-only"])
        .run()
        .assert_code(0)
        .assert_stdout("on the server are known");
    desk.fetch(0);
    desk.assert_arrived(expected.iter().copied());
}

const CLAWS: &str = "[Account: 1]\naccount_name=a\nprotocol=0\nreceive_server=127.0.0.1\n\
                     user_id=ann\nremove_mail=0\n";
const KMAIL: &str = "[General]\nhost=127.0.0.1\nlogin=ann\nleaveOnServer=true\n\n[LeaveOnServer]\n\
                     downloadLater=uid-4\nseenUidList=uid-1,uid-2,uid-4\n\
                     seenUidTimeList=1795000000\n";
const EVOLUTION: &str = "[Mail Account]\nBackendName=pop\n[Authentication]\nHost=127.0.0.1\n\
                         User=ann\n[Pop Backend]\nKeepOnServer=true\n";

cases! { only_messages_that_were_not_delivered_arrive:
    claws("claws", &[
        (".claws-mail/accountrc", CLAWS),
        (
            ".claws-mail/uidl/127.0.0.1-ann",
            "uid-1\t1795000000\t0\nuid-2\t2\t0\nuid-3\t1795000000\t1\nuid-4\t1\n",
        ),
    ], &[2, 3, 5, 6]),
    claws_before_version_4("claws", &[
        (".claws-mail/accountrc", CLAWS),
        (".claws-mail/uidl-127.0.0.1-ann", "uid-1\nuid-2\r\n"),
    ], &[3, 4, 5, 6]),
    sylpheed("sylpheed", &[
        (".sylpheed-2.0/accountrc", CLAWS),
        (".sylpheed-2.0/uidl/127.0.0.1-ann", "uid-1\t1795000000\nuid-2\t2\nuid-3\t3\n"),
    ], &[2, 4, 5, 6]),
    kmail("kmail", &[(".config/akonadi_pop3_resource_3rc", KMAIL)], &[3, 4, 5, 6]),
    evolution("evolution", &[
        (".config/evolution/sources/17.source", EVOLUTION),
        (".local/share/evolution/mail/17/uid-cache", "uid-1\nuid-6\nQUJDREVGR0hJSktMTU5PUA==\n"),
    ], &[2, 3, 4, 5]),
    fdm("fdm", &[
        (
            ".fdm.conf",
            "account \"a\" pop3 server \"127.0.0.1\" user \"ann\" new-only cache \"~/c\" \
             keep\n",
        ),
        ("c", "5 uid-2\n5 uid-3\n"),
    ], &[1, 4, 5, 6]),
}
