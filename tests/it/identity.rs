//! Which mailbox an address leads to, and which state directory a user has.

use std::fs;

use insta::assert_snapshot;

use crate::{
    fixture::{DAY, NOW},
    server::{Server, Setup, corpus, on},
    support::{
        Home,
        run::{Output, Run},
    },
};

/// Accounts in one home, on servers of a test.
struct Accounts {
    home: Home,
    config: String,
}

impl Accounts {
    fn new() -> Self {
        let home = Home::new();
        home.write("password", "secret\n", 0o600);
        let config = String::new();
        Self { home, config }
    }

    /// Adds the account `name` of `user` at `host` and `port`, delivered to `~/Mail/NAME`.
    fn add(&mut self, name: &str, (user, host, port): (&str, &str, u16), lines: &str) {
        self.config.push_str(&format!(
            "[account.{name}]\nhost = \"{host}\"\nport = {port}\nuser = \"{user}\"\n\
             password-file = \"~/password\"\ntls = \"off\"\nallow-plaintext-password = true\n\
             timeout = \"2s\"\nmaildir = \"~/Mail/{name}\"\n{lines}\n"
        ));
        self.home.config(&self.config);
    }

    /// Replaces all accounts by one named `work`.
    fn only(&mut self, address: (&str, &str, u16), lines: &str) {
        self.config.clear();
        self.add("work", address, lines);
    }

    fn run(&self, args: &[&str]) -> Run {
        self.home.pouch(args).env("POUCH_NOW", NOW.to_string())
    }

    #[track_caller]
    fn pouch(&self, args: &[&str], code: i32) -> Output {
        let output = self.run(args).run();
        output.assert_code(code);
        output
    }

    /// Each of `messages` was delivered to `~/Mail/NAME` once, and nothing else.
    #[track_caller]
    fn assert_arrived(&self, name: &str, messages: &[Vec<u8>]) {
        let expected: Vec<_> = messages.iter().map(|one| corpus::on_disk(one)).collect();
        let mail = self.home.maildir(format!("Mail/{name}"));
        mail.assert_exactly(&expected).assert_tidy();
    }
}

/// Messages of one size, whose UIDs are their position: 1, 2, 3 and so on.
fn numbered(numbers: impl IntoIterator<Item = usize>) -> Setup {
    let messages = (1..).zip(numbers);
    messages.fold(Server::plain(), |server, (uid, n): (usize, usize)| {
        server.message(uid.to_string(), same_size(n))
    })
}

fn same_size(n: usize) -> Vec<u8> {
    corpus::sized(n, 1_000)
}

fn same_sizes(numbers: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    numbers.into_iter().map(same_size).collect()
}

fn ann(server: &Server) -> (&'static str, &'static str, u16) {
    ("ann", "127.0.0.1", server.port())
}

#[test]
fn two_servers_at_one_host_are_two_mailboxes() {
    let (one, two) = (numbered(1..=3).start(), numbered(11..=13).start());
    let mut accounts = Accounts::new();
    accounts.add("one", ann(&one), "keep = \"none\"");
    accounts.add("two", ann(&two), "keep = \"none\"");
    accounts.pouch(&["fetch"], 0);
    accounts.assert_arrived("one", &same_sizes(1..=3));
    accounts.assert_arrived("two", &same_sizes(11..=13));
    assert_eq!((one.remaining(), two.remaining()), (0, 0));
}

#[test]
fn one_different_header_among_known_uids_is_another_mailbox() {
    for differs in [1, 2, 5, 8] {
        println!("{differs}");
        let headers = (1..=8).map(|n| if n == differs { n + 10 } else { n });
        let headers: Vec<_> = headers.collect();
        let (one, two) = (numbered(1..=8).start(), numbered(headers.clone()).start());
        let mut accounts = Accounts::new();
        accounts.only(ann(&one), "");
        accounts.pouch(&["fetch"], 0);
        accounts.only(ann(&two), "keep = \"none\"");
        accounts.pouch(&["plan"], 0).assert_stdout("0 known");
        accounts.pouch(&["fetch"], 0).assert_silent();
        accounts.assert_arrived("work", &same_sizes((1..=8).chain(headers)));
        assert_eq!((one.remaining(), two.remaining()), (8, 0));
        // each address keeps its ledger
        accounts.only(ann(&one), "");
        accounts.pouch(&["fetch"], 0).assert_silent();
        assert_eq!(one.log().count("RETR"), 8);
    }
}

#[test]
fn other_server_with_the_same_uids_is_another_mailbox() {
    let (one, two) = (numbered(1..=3).start(), numbered(11..=13).start());
    let mut accounts = Accounts::new();
    accounts.only(ann(&one), "");
    accounts.pouch(&["fetch"], 0);
    accounts.only(ann(&two), "keep = \"none\"");
    accounts.pouch(&["fetch"], 0);
    accounts.assert_arrived("work", &same_sizes((1..=3).chain(11..=13)));
    assert_eq!((one.remaining(), two.remaining()), (3, 0));
    // each address keeps its ledger
    accounts.only(ann(&one), "");
    accounts.pouch(&["fetch"], 0).assert_silent();
    assert_eq!(one.log().count("RETR"), 3);
}

/// A mailbox of `ann`, which is also that of the login name `Ann@example.org`.
fn two_logins(count: usize) -> Setup {
    let server = Server::plain().messages(corpus::messages(count));
    server
        .another_user("Ann@example.org", "secret")
        .messages(corpus::messages(count))
}

/// Fetches a mailbox at another address, by this login name and host. Returns what is printed.
fn recognised_as(user: &str, host: &str) -> String {
    let server = two_logins(5).start();
    let mut accounts = Accounts::new();
    accounts.only(ann(&server), "");
    accounts.pouch(&["fetch"], 0);
    accounts.only((user, host, server.port()), "");
    // shown, but not recorded
    for _ in 0..2 {
        let plan = accounts.pouch(&["plan"], 0);
        plan.assert_stdout("5 messages on the server, 5 known")
            .assert_stderr("this is the mailbox of ann@127.0.0.1:");
    }
    let fetch = accounts.pouch(&["fetch"], 0);
    accounts.pouch(&["fetch"], 0).assert_silent();
    accounts.pouch(&["plan"], 0).assert_stdout("5 known");
    assert_eq!(server.log().count("RETR"), 5);
    // the old address is the same mailbox, too
    accounts.only(ann(&server), "");
    accounts.pouch(&["fetch"], 0).assert_silent();
    assert_eq!(server.log().count("RETR"), 5);
    Home::ledger(&accounts.home.state());
    fetch.stderr_text()
}

#[test]
fn known_mailbox_at_a_new_host_is_not_fetched_again() {
    assert_snapshot!(recognised_as("ann", "localhost"), @"
    pouch: work: this is the mailbox of ann@127.0.0.1:PORT
      5 messages recognised by UIDs and headers; not fetching them again
    ");
}

#[test]
fn known_mailbox_with_a_new_login_name_is_not_fetched_again() {
    assert_snapshot!(recognised_as("Ann@example.org", "127.0.0.1"), @"
    pouch: work: this is the mailbox of ann@127.0.0.1:PORT
      5 messages recognised by UIDs and headers; not fetching them again
    ");
}

#[test]
fn message_known_from_another_address_is_compared_before_it_is_deleted() {
    let old = numbered(1..=20).start();
    // the second of twenty is none of those compared to recognise the mailbox
    let new = numbered([1, 99].into_iter().chain(3..=20)).start();
    let mut accounts = Accounts::new();
    accounts.only(ann(&old), "");
    accounts.pouch(&["fetch"], 0);
    accounts.only(ann(&new), "keep = \"none\"");
    let plan = accounts.pouch(&["plan"], 0);
    plan.assert_stdout("fetch      1")
        .assert_stdout("delete    19");
    accounts.pouch(&["fetch"], 0);
    accounts.assert_arrived("work", &same_sizes((1..=20).chain([99])));
    assert_eq!(new.log().count("RETR"), 1);
    assert_eq!(new.remaining(), 0);
}

#[test]
fn without_headers_the_user_decides() {
    let server = numbered(1..=6).without("TOP").start();
    let mut accounts = Accounts::new();
    accounts.only(ann(&server), "");
    accounts.pouch(&["fetch"], 0);
    accounts.only(("ann", "localhost", server.port()), "keep = \"none\"");
    let plan = accounts.pouch(&["plan"], 69);
    let fetch = accounts.pouch(&["fetch"], 69);
    assert_eq!(plan.stderr_text(), fetch.stderr_text());
    assert_snapshot!(fetch.stderr_text(), @"
    pouch: work: this may be the mailbox of ann@127.0.0.1:PORT
      the UIDs of 6 of 6 listed messages are known
      no header can be compared: the server does not support TOP, or none is in the ledger
    hint: if it is, run `pouch fetch work --mailbox ann@127.0.0.1:PORT`; if not, run `pouch fetch work --accept-new-uids`
    ");
    accounts.pouch(&["fetch"], 69);
    assert_eq!((server.log().count("RETR"), server.remaining()), (6, 6));
    let old = format!("ann@127.0.0.1:{}", server.port());
    accounts.pouch(&["fetch", "--mailbox", &old], 0);
    accounts.pouch(&["fetch"], 0);
    // without a header, no message known from another address is deleted
    assert_eq!((server.log().count("RETR"), server.remaining()), (6, 6));
    server.add("7", same_size(7));
    accounts.pouch(&["fetch"], 0);
    assert_eq!((server.log().count("RETR"), server.remaining()), (7, 6));
    accounts.pouch(&["plan"], 0).assert_stdout("leave      6");
}

#[test]
fn without_headers_all_messages_can_be_accepted_as_new() {
    let (one, two) = (numbered(1..=3), numbered(11..=13));
    let (one, two) = (one.without("TOP").start(), two.without("TOP").start());
    let mut accounts = Accounts::new();
    accounts.only(ann(&one), "");
    accounts.pouch(&["fetch"], 0);
    accounts.only(ann(&two), "keep = \"none\"");
    accounts.pouch(&["fetch"], 69);
    accounts.pouch(&["fetch", "--accept-new-uids"], 0);
    accounts.pouch(&["fetch"], 0).assert_silent();
    accounts.assert_arrived("work", &same_sizes((1..=3).chain(11..=13)));
}

#[test]
fn mailbox_key_overrides_the_evidence() {
    let server = numbered(1..=4).without("TOP").start();
    let mut accounts = Accounts::new();
    // an existing ledger gets the name
    accounts.only(ann(&server), "");
    accounts.pouch(&["fetch"], 0);
    accounts.only(ann(&server), "mailbox = \"private\"");
    accounts.pouch(&["fetch"], 0).assert_silent();
    accounts.only(("ann", "localhost", server.port()), "mailbox = \"private\"");
    accounts.pouch(&["fetch"], 0).assert_silent();
    assert_eq!(server.log().count("RETR"), 4);
    // another name is another mailbox, also at the same address
    accounts.add(
        "other",
        ("ann", "localhost", server.port()),
        "mailbox = \"other\"",
    );
    accounts.pouch(&["fetch"], 0);
    assert_eq!(server.log().count("RETR"), 8);
    accounts.pouch(&["fetch"], 0).assert_silent();
    accounts.add(
        "third",
        ("ann", "elsewhere", server.port()),
        "mailbox = \"other\"",
    );
    accounts
        .pouch(&["fetch"], 78)
        .assert_stderr("are the same mailbox");
}

#[test]
fn mailboxes_with_different_names_may_have_one_address() {
    let server = numbered(1..=4).start();
    let mut accounts = Accounts::new();
    accounts.add("one", ann(&server), "mailbox = \"one\"");
    accounts.add("two", ann(&server), "mailbox = \"two\"\nkeep = \"8w\"");
    accounts.pouch(&["fetch"], 0);
    accounts.pouch(&["fetch"], 0).assert_silent();
    accounts.assert_arrived("one", &same_sizes(1..=4));
    accounts.assert_arrived("two", &same_sizes(1..=4));
    let later = (NOW + 100 * DAY).to_string();
    let last = accounts.run(&["fetch", "two"]).env("POUCH_NOW", later);
    last.run().assert_code(0);
    // both know the messages from this address, so that no header was compared
    assert_eq!((server.remaining(), server.log().count("TOP")), (0, 0));
}

#[test]
fn recognised_mailbox_gets_the_configured_name() {
    let server = numbered(1..=4).start();
    let mut accounts = Accounts::new();
    accounts.only(ann(&server), "");
    accounts.pouch(&["fetch"], 0);
    accounts.only(("ann", "localhost", server.port()), "mailbox = \"private\"");
    let said = accounts.pouch(&["fetch"], 0);
    said.assert_stderr("this is the mailbox of ann@127.0.0.1");
    accounts.pouch(&["fetch"], 0).assert_silent();
    assert_eq!(server.log().count("RETR"), 4);
}

#[test]
fn account_with_another_address_and_new_uids_is_recognised_by_headers() {
    let old = Server::plain().messages(corpus::messages(9)).start();
    let new = (1..=10).fold(Server::plain(), |server, n| {
        server.message(format!("new-{n}"), corpus::message(n))
    });
    let new = new.start();
    let mut accounts = Accounts::new();
    accounts.only(ann(&old), "");
    accounts.pouch(&["fetch"], 0);
    // another account may get the same mail
    accounts.add("other", ann(&new), "enabled = false");
    accounts
        .pouch(&["plan", "other"], 0)
        .assert_stdout("0 known");
    accounts.only(("ann", "localhost", new.port()), "");
    let said = accounts.pouch(&["fetch"], 0);
    said.assert_stderr("this is the mailbox of")
        .assert_stderr("9 messages recognised by their headers");
    assert_eq!(new.log().count("RETR"), 1);
}

#[test]
fn mailbox_fetched_at_two_new_addresses_at_once_arrives_once() {
    for _ in 0..3 {
        let server = Server::plain().messages(corpus::messages(50)).start();
        let mut accounts = Accounts::new();
        accounts.add("one", ann(&server), "");
        accounts.add("two", ("ann", "localhost", server.port()), "");
        accounts.run(&["fetch", "--jobs", "2"]).run();
        assert_eq!(server.log().count("RETR"), 50);
    }
}

#[test]
fn two_addresses_of_one_mailbox_exclude_each_other() {
    let server = Server::plain().messages(corpus::messages(2)).start();
    let mut accounts = Accounts::new();
    accounts.only(ann(&server), "");
    accounts.pouch(&["fetch"], 0);
    accounts.only(("ann", "localhost", server.port()), "");
    accounts.pouch(&["fetch"], 0);
    accounts.only(ann(&server), "");
    server.add("uid-3", corpus::message(3));
    server.fault(on("RETR").times(1).silence());
    let first = accounts.run(&["fetch"]).spawn();
    server.wait_for(|log| log.count("RETR") == 3);
    accounts.only(("ann", "localhost", server.port()), "");
    accounts
        .pouch(&["fetch", "-v"], 75)
        .assert_stderr("another pouch");
    first.wait();
}

#[test]
fn mailbox_that_was_empty_is_compared_once_it_has_messages() {
    let server = Server::plain().messages(corpus::messages(4)).start();
    let mut accounts = Accounts::new();
    accounts.only(ann(&server), "");
    accounts.pouch(&["fetch"], 0);
    accounts.only(("ann", "localhost", server.port()), "");
    server.fault(on("STAT").times(1).answer("+OK 0 0\r\n"));
    accounts.pouch(&["fetch"], 0).assert_silent();
    accounts
        .pouch(&["fetch"], 0)
        .assert_stderr("this is the mailbox of");
    assert_eq!(server.log().count("RETR"), 4);
    Home::ledger(&accounts.home.state());
}

#[test]
fn mailbox_whose_first_address_is_used_again_arrives_once() {
    let server = Server::plain().messages(corpus::messages(3)).start();
    let mut accounts = Accounts::new();
    accounts.only(ann(&server), "keep = \"none\"");
    accounts.pouch(&["fetch"], 0);
    // with nothing on the server, this could be another mailbox
    accounts.only(("ann", "localhost", server.port()), "");
    server.add("uid-4", corpus::message(4));
    accounts.pouch(&["fetch"], 0).assert_silent();
    accounts.only(ann(&server), "");
    server.add("uid-5", corpus::message(5));
    accounts
        .pouch(&["plan"], 0)
        .assert_stdout("2 messages on the server, 1 known");
    accounts
        .pouch(&["fetch"], 0)
        .assert_stderr("this is the mailbox of ann@localhost");
    accounts.pouch(&["fetch"], 0).assert_silent();
    accounts.assert_arrived("work", &(1..=5).map(corpus::message).collect::<Vec<_>>());
}

#[test]
fn mailbox_that_was_emptied_before_its_address_changed_arrives_once() {
    let server = Server::plain().messages(corpus::messages(3)).start();
    let mut accounts = Accounts::new();
    accounts.only(ann(&server), "");
    accounts.pouch(&["fetch"], 0);
    // another client deletes them, which no run at this address notices
    (1..=3).for_each(|n| server.remove(format!("uid-{n}")));
    server.add("uid-4", corpus::message(4));
    accounts.only(("ann", "localhost", server.port()), "");
    accounts.pouch(&["fetch"], 0).assert_silent();
    accounts.only(ann(&server), "");
    accounts
        .pouch(&["fetch"], 0)
        .assert_stderr("this is the mailbox of ann@localhost");
    server.add("uid-5", corpus::message(5));
    accounts.pouch(&["fetch"], 0).assert_silent();
    accounts.assert_arrived("work", &(1..=5).map(corpus::message).collect::<Vec<_>>());
}

#[test]
fn account_that_returns_to_another_mailbox_keeps_its_ledger() {
    let one = Server::plain().messages(corpus::messages(3)).start();
    let other = Server::plain().message("other-4", corpus::message(4));
    let other = other.start();
    let mut accounts = Accounts::new();
    accounts.only(ann(&one), "");
    accounts.pouch(&["fetch"], 0);
    accounts.only(ann(&other), "");
    accounts.pouch(&["fetch"], 0);
    // the same mail arrives in both
    (1..=3).for_each(|n| other.add(format!("other-{n}"), corpus::message(n)));
    accounts.pouch(&["fetch"], 0);
    for _ in 0..2 {
        accounts.only(ann(&one), "");
        accounts.pouch(&["fetch"], 0).assert_silent();
        accounts.only(ann(&other), "");
        accounts.pouch(&["fetch"], 0).assert_silent();
    }
    let both: Vec<_> = [1, 2, 3, 4, 1, 2, 3].map(corpus::message).into();
    accounts.assert_arrived("work", &both);
    // its messages are compared before they are deleted
    accounts.only(ann(&one), "keep = \"none\"");
    accounts.pouch(&["fetch"], 0).assert_silent();
    assert_eq!(one.uids().len(), 0);
}

#[test]
fn two_addresses_that_are_used_in_turn_arrive_once() {
    let server = Server::plain().messages(corpus::messages(1)).start();
    let mut accounts = Accounts::new();
    for (turn, host) in (2..).zip(["127.0.0.1", "localhost"].repeat(3)) {
        let address = ("ann", host, server.port());
        // leaves only an undelivered message on the server
        server.add(format!("uid-{turn}"), corpus::message(turn));
        accounts.only(address, "keep = \"none\"\nlimit = 1");
        accounts.pouch(&["fetch"], 0);
    }
    accounts.only(ann(&server), "");
    accounts.pouch(&["fetch"], 0);
    accounts.only(("ann", "localhost", server.port()), "");
    accounts.pouch(&["fetch"], 0);
    accounts.assert_arrived("work", &(1..=7).map(corpus::message).collect::<Vec<_>>());
}

#[test]
fn address_that_is_used_again_is_compared_until_it_has_a_message() {
    let server = Server::plain().messages(corpus::messages(3)).start();
    let mut accounts = Accounts::new();
    accounts.only(ann(&server), "keep = \"none\"");
    accounts.pouch(&["fetch"], 0);
    accounts.only(("ann", "localhost", server.port()), "");
    server.add("uid-4", corpus::message(4));
    accounts.pouch(&["fetch"], 0);
    accounts.only(ann(&server), "");
    server.fault(on("STAT").times(1).answer("+OK 0 0\r\n"));
    accounts.pouch(&["fetch"], 0).assert_silent();
    accounts
        .pouch(&["fetch"], 0)
        .assert_stderr("this is the mailbox of ann@localhost");
    accounts.assert_arrived("work", &(1..=4).map(corpus::message).collect::<Vec<_>>());
}

#[test]
fn ledger_is_found_without_network_after_the_address_changed() {
    let server = Server::plain().messages(corpus::messages(2)).start();
    let mut accounts = Accounts::new();
    accounts.only(ann(&server), "");
    accounts.pouch(&["fetch"], 0);
    accounts.only(("ann", "pop.example.org", 995), "");
    accounts.pouch(&["status"], 0).assert_stdout("2 new");
    accounts.pouch(&["ledger", "show", "work", "2"], 0);
    // without a config, by the recorded address
    fs::remove_file(accounts.home.join(".config/pouch/config.toml")).unwrap();
    let status = accounts.pouch(&["status"], 0);
    status.assert_stdout(&format!("ann@127.0.0.1:{}", server.port()));
    // a ledger is found under any file name
    let ledger = Home::ledger(&accounts.home.state());
    fs::rename(&ledger, ledger.with_file_name("moved.db")).unwrap();
    accounts.only(ann(&server), "");
    accounts.pouch(&["fetch"], 0).assert_silent();
    assert_eq!(server.log().count("RETR"), 2);
}

#[test]
fn state_directory_does_not_depend_on_the_environment() {
    // set in the shell first, or in cron first
    for shell_first in [true, false] {
        let server = Server::plain().messages(corpus::messages(2)).start();
        let mut accounts = Accounts::new();
        accounts.only(ann(&server), "");
        let shell = accounts.home.join("state");
        for in_shell in [shell_first, !shell_first, shell_first] {
            let state = if in_shell {
                shell.as_os_str()
            } else {
                "".as_ref()
            };
            let run = accounts.run(&["fetch"]).env("XDG_STATE_HOME", state);
            run.run().assert_code(0);
        }
        assert_eq!(server.log().count("RETR"), 2);
    }
}

#[test]
fn second_ledger_in_the_other_default_directory_is_an_error() {
    let server = Server::plain().messages(corpus::messages(2)).start();
    let mut accounts = Accounts::new();
    accounts.only(ann(&server), "");
    accounts.pouch(&["fetch"], 0);
    let other = accounts.home.join("state/pouch");
    let explicit = other.to_str().unwrap();
    accounts.pouch(&["fetch", "--state-dir", explicit], 0);
    assert_eq!(server.log().count("RETR"), 4);
    let shell = accounts.home.join("state");
    let shell = |args: &[&str]| {
        accounts
            .run(args)
            .env("XDG_STATE_HOME", shell.as_os_str())
            .run()
    };
    let two = shell(&["fetch"]);
    assert_snapshot!(two.assert_code(78).stderr_text(), @r#"
    pouch: there are ledgers in ~/state/pouch and in ~/.local/state/pouch
      with two sets of ledgers, mail would be fetched twice
    hint: set the one to use in the config, above all tables: state-dir = "~/state/pouch"
    "#);
    shell(&["fetch", "--state-dir", explicit]).assert_code(0);
    assert_eq!(server.log().count("RETR"), 4);
}

#[test]
fn check_shows_the_state_directory() {
    let server = Server::plain().start();
    let mut accounts = Accounts::new();
    accounts.only(ann(&server), "");
    accounts
        .pouch(&["check"], 0)
        .assert_stdout("~/.local/state/pouch");
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let dir = memory.path().to_str().unwrap();
    let said = accounts.pouch(&["check", "--state-dir", dir], 0);
    said.assert_stdout("tmpfs").assert_stdout("reboot");
    let json = accounts.pouch(&["check", "--json", "--state-dir", dir], 0);
    json.assert_stdout("\"warning\"");
}
