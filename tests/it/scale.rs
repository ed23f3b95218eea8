//! Many accounts: how many at the same time, servers that push back, and shards.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use insta::assert_snapshot;
use serde_json::Value;

use crate::{
    server::{Server, Setup, corpus, on},
    support::Home,
};

/// Returns a server with accounts `user0`, `user1` and so on, each with one message.
fn server_of(accounts: usize) -> Setup {
    (0..accounts).fold(Server::plain(), |setup, account| {
        let user = format!("user{account}");
        let setup = if account == 0 {
            setup.user(&user, "secret")
        } else {
            setup.another_user(&user, "secret")
        };
        let uid = format!("uid-of-{account}");
        setup.message(uid.as_str(), corpus::message(account))
    })
}

/// Returns the settings that all accounts have in common.
fn defaults(lines: &str) -> String {
    format!(
        "[defaults]\npassword-file = \"~/password\"\ntls = \"off\"\nretries = 0\nauth = \"user\"\n\
         allow-plaintext-password = true\n{lines}\n"
    )
}

/// Returns the tables of accounts `NAME0`, `NAME1` and so on.
fn tables(name: &str, accounts: usize, host: &str, port: u16) -> String {
    let tables: Vec<_> = (0..accounts)
        .map(|account| {
            format!(
                "[account.{name}{account}]\nhost = \"{host}\"\nport = {port}\n\
                 user = \"user{account}\"\nmaildir = \"~/Mail/{name}{account}\"\n"
            )
        })
        .collect();
    tables.concat()
}

fn home_with(config: &str) -> Home {
    let home = Home::new();
    home.write("password", "secret\n", 0o600);
    home.config(config);
    home
}

#[track_caller]
fn assert_arrived(home: &Home, name: &str, accounts: impl Iterator<Item = usize>) {
    for account in accounts {
        home.maildir(format!("Mail/{name}{account}"))
            .assert_exactly(&[corpus::on_disk(&corpus::message(account))])
            .assert_tidy();
    }
}

/// The users that logged in or tried to.
fn users(server: &Server) -> Vec<String> {
    let log = server.log();
    let users = log.commands().filter_map(|line| line.strip_prefix("USER "));
    users.map(str::to_owned).collect()
}

#[test]
fn silent_host_occupies_only_its_own_share() {
    let silent = server_of(40).fault(on("USER").silence()).start();
    let good = server_of(60).start();
    let home = home_with(&format!(
        "jobs = 8\n{}{}{}",
        defaults("jobs-per-host = 3\ntimeout = \"60s\""),
        tables("silent", 40, "127.0.0.1", silent.port()),
        tables("good", 60, "localhost", good.port())
    ));
    let mut pouch = home.pouch(&["fetch"]).spawn();
    good.wait_for(|log| log.count("QUIT") == 60 && log.open() == 0);
    assert_eq!(silent.log().open(), 3);
    assert_eq!(silent.log().connections(), 3);
    pouch.signal(15);
    pouch.wait().assert_code(143);
    assert_arrived(&home, "good", 0..60);
}

#[test]
fn accounts_on_one_host_run_one_after_another_by_default() {
    // every second session of the same time would be refused
    let server = server_of(12).exclusive().start();
    let home = home_with(&format!(
        "jobs = 12\n{}{}",
        defaults(""),
        tables("a", 12, "127.0.0.1", server.port())
    ));
    home.pouch(&["fetch"]).run().assert_code(0).assert_silent();
    assert_arrived(&home, "a", 0..12);
    let order: Vec<_> = (0..12).map(|account| format!("user{account}")).collect();
    assert_eq!(users(&server), order);
}

#[test]
fn server_that_pushes_back_is_given_up_and_the_accounts_rotate() {
    let server = server_of(20)
        .fault(on("PASS").refuse("-ERR [SYS/TEMP] Too many connections"))
        .start();
    let home = home_with(&format!(
        "{}{}",
        defaults(""),
        tables("a", 20, "127.0.0.1", server.port())
    ));
    let user = |account: usize| format!("user{account}");
    home.pouch(&["fetch"]).run().assert_code(75).assert_silent();
    assert_eq!(users(&server), (0..5).map(user).collect::<Vec<_>>());
    let output = home.pouch(&["fetch", "-v"]).run();
    assert_snapshot!(output.assert_code(75).transcript(), @"
    $ pouch fetch -v
    ------- stderr -------
    pouch: a5: 127.0.0.1 temporarily refused the login
      127.0.0.1 said: -ERR [SYS/TEMP] Too many connections
    a5    nothing fetched
    pouch: a6: 127.0.0.1 temporarily refused the login
      127.0.0.1 said: -ERR [SYS/TEMP] Too many connections
    a6    nothing fetched
    pouch: a7: 127.0.0.1 temporarily refused the login
      127.0.0.1 said: -ERR [SYS/TEMP] Too many connections
    a7    nothing fetched
    pouch: a8: 127.0.0.1 temporarily refused the login
      127.0.0.1 said: -ERR [SYS/TEMP] Too many connections
    a8    nothing fetched
    pouch: a9: 127.0.0.1 temporarily refused the login
      127.0.0.1 said: -ERR [SYS/TEMP] Too many connections
    a9    nothing fetched
    pouch: 15 accounts on 127.0.0.1 not tried
      5 attempts in a row failed
      the next run begins with these accounts
    nothing fetched; 5 accounts failed: a5, a6, a7, a8, a9; 15 accounts not tried
    [exit code: 75]
    ");
    assert_eq!(users(&server), (0..10).map(user).collect::<Vec<_>>());
    let output = home.pouch(&["fetch", "--json", "--log", "json"]).run();
    output.assert_code(75);
    for lines in [output.stdout_text(), output.stderr_text()] {
        assert_eq!(lines.matches("\"event\":\"not_tried\"").count(), 15);
    }
    server.heal_all();
    home.pouch(&["fetch"]).run().assert_code(0).assert_silent();
    assert_arrived(&home, "a", 0..20);
    assert_eq!(users(&server)[15], "user15");
}

#[test]
fn mailboxes_in_use_and_wrong_passwords_stop_no_other_account() {
    let server = (0..9).fold(server_of(30), |setup, account| {
        let command = format!("USER user{account}");
        setup.fault(on(&command).refuse("-ERR [IN-USE] mailbox is locked"))
    });
    let server = (9..18).fold(server, |setup, account| {
        let command = format!("USER user{account}");
        setup.fault(on(&command).refuse("-ERR [AUTH] invalid"))
    });
    let server = server.start();
    let home = home_with(&format!(
        "{}{}",
        defaults(""),
        tables("a", 30, "127.0.0.1", server.port())
    ));
    home.pouch(&["fetch"]).run().assert_code(77);
    assert_arrived(&home, "a", 18..30);
}

/// Three hundred accounts, of which some hang, are refused, send garbage or have no password.
#[test]
fn broken_accounts_among_hundreds_stop_no_other_account() {
    let faults = [
        on("USER user7").silence(),
        on("USER user77").silence(),
        on("USER user8").refuse("-ERR [AUTH] invalid"),
        on("USER user88").refuse("-ERR"),
        on("USER user9").answer(b"\xff\0\x1b[2J\r\n".repeat(500)),
        on("USER user99").cut(),
        on("USER user111").close(),
        on("USER user222").refuse("-ERR [SYS/TEMP] later"),
    ];
    let server = faults
        .into_iter()
        .fold(server_of(300), Setup::fault)
        .start();
    let broken = [7, 77, 8, 88, 9, 99, 111, 222];
    let more = "[account.no-password]\nhost = \"localhost\"\nuser = \"x\"\n\
                password-file = \"~/missing\"\nmaildir = \"~/Mail/x\"\n\
                [account.no-directory]\nhost = \"127.0.0.1\"\nuser = \"user1\"\n\
                maildir = \"~/password/x\"\nmailbox = \"second\"\n\
                [account.no-host]\nhost = \"no-host.invalid\"\nuser = \"x\"\nmaildir = \"~/Mail/x\"\n";
    let mut accounts = tables("a", 300, "127.0.0.1", server.port());
    for silent in ["[account.a7]\n", "[account.a77]\n"] {
        accounts = accounts.replace(silent, &format!("{silent}timeout = \"2s\"\n"));
    }
    let home = home_with(&format!(
        "jobs = 30\n{}{accounts}{more}",
        defaults("jobs-per-host = 20")
    ));
    let run = home.pouch(&["fetch", "--json"]);
    let output = run.within(Duration::from_mins(3)).run();
    let lines = output.stdout_text();
    let done = lines
        .lines()
        .filter(|line| line.contains("\"event\":\"done\""));
    assert_eq!(done.count(), 303);
    let not_tried = lines.lines().find(|line| line.contains("not_tried"));
    assert_eq!(not_tried, None);
    let is_problem = |line: &&str| line.contains("\"event\":\"problem\"");
    let problems: Vec<_> = lines.lines().filter(is_problem).collect();
    assert_eq!(problems.len(), broken.len() + 3, "{problems:#?}");
    assert_arrived(
        &home,
        "a",
        (0..300).filter(|account| !broken.contains(account)),
    );
}

#[test]
fn signal_ends_hundreds_of_waiting_accounts() {
    let server = server_of(300).fault(on("USER").silence()).start();
    let home = home_with(&format!(
        "{}{}",
        defaults("jobs-per-host = 1000\ntimeout = \"60s\""),
        tables("a", 300, "127.0.0.1", server.port())
    ));
    let mut pouch = home.pouch(&["fetch", "--jobs", "1000"]).spawn();
    server.wait_for(|log| log.open() == 300);
    let sent = Instant::now();
    pouch.signal(2);
    pouch.wait().assert_code(130);
    assert!(sent.elapsed() < Duration::from_millis(1_500));
}

#[test]
fn low_limit_of_open_files_reduces_the_jobs() {
    let server = server_of(12).start();
    let home = home_with(&format!(
        "{}{}",
        defaults("jobs-per-host = 12"),
        tables("a", 12, "127.0.0.1", server.port())
    ));
    let arguments = ["fetch", "--jobs", "12", "-v"];
    let output = home.limited_pouch("-n 120", &arguments).run();
    output.assert_code(0);
    let text = output.stderr_text();
    let warning = text.split("\na").next().unwrap_or_default();
    assert_snapshot!(warning, @"
    pouch: fetching 3 accounts at a time, not 12
      the limit of open files is 120
    hint: raise it to 340: LimitNOFILE= in a systemd unit, or limits.conf(5)
    ");
    assert_arrived(&home, "a", 0..12);
}

#[test]
fn starts_are_spread_and_a_signal_ends_the_wait() {
    let server = server_of(3).start();
    let home = home_with(&format!(
        "spread = \"1h\"\n{}{}",
        defaults("jobs-per-host = 3"),
        tables("a", 3, "127.0.0.1", server.port())
    ));
    let mut pouch = home.pouch(&["fetch"]).spawn();
    server.wait_for(|log| log.count("QUIT") == 1);
    assert_eq!(users(&server), ["user0"]);
    let sent = Instant::now();
    pouch.signal(15);
    pouch.wait().assert_code(143);
    assert!(sent.elapsed() < Duration::from_millis(1_500));
    // with --every, at most the interval
    let mut pouch = home.pouch(&["fetch", "--every", "3s"]).spawn();
    server.wait_for(|log| log.count("QUIT") == 4);
    pouch.signal(15);
    pouch.wait().assert_code(143);
}

#[test]
fn wrong_shards_are_usage_errors() {
    let home = home_with(&format!(
        "{}{}",
        defaults(""),
        tables("a", 1, "127.0.0.1", 1)
    ));
    let shards = ["0/3", "4/3", "3/0", "three", "3", "-1/3"];
    let outputs: Vec<_> = shards
        .iter()
        .map(|shard| home.pouch(&["fetch", "--shard", shard]).run())
        .map(|output| {
            output.assert_code(64);
            let text = output.stderr_text();
            text.lines().next().unwrap_or_default().to_owned()
        })
        .collect();
    assert_snapshot!(outputs.join("\n"), @"
    error: invalid value '0/3' for '--shard <I/N>': shards are numbered from 1 to 3
    error: invalid value '4/3' for '--shard <I/N>': shards are numbered from 1 to 3
    error: invalid value '3/0' for '--shard <I/N>': there must be at least one shard
    error: invalid value 'three' for '--shard <I/N>': it must be a shard and the number of shards, such as 3/16
    error: invalid value '3' for '--shard <I/N>': it must be a shard and the number of shards, such as 3/16
    error: invalid value '-1/3' for '--shard <I/N>': it must be a shard and the number of shards, such as 3/16
    ");
}

#[test]
fn shard_without_accounts_has_nothing_to_do() {
    let server = server_of(1).start();
    let home = home_with(&format!(
        "{}{}",
        defaults(""),
        tables("a", 1, "127.0.0.1", server.port())
    ));
    let has_work = (1..=3).filter(|shard| {
        let before = server.log().connections();
        let shard = format!("{shard}/3");
        let output = home.pouch(&["fetch", "--shard", &shard]).run();
        output.assert_code(0).assert_silent();
        // named accounts are selected, too
        home.pouch(&["fetch", "a0", "--shard", &shard])
            .run()
            .assert_code(0);
        let has_connected = server.log().connections() > before;
        if !has_connected {
            let output = home.pouch(&["fetch", "-v", "--shard", &shard]).run();
            let text = output.assert_code(0).stderr_text();
            assert_eq!(text, format!("no account is in shard {shard}\n"));
        }
        has_connected
    });
    assert_eq!(has_work.count(), 1);
}

/// The ledgers of other shards are elsewhere, so their accounts would appear as never fetched.
#[test]
fn metrics_of_a_shard_include_only_its_accounts() {
    let server = server_of(9).start();
    let home = home_with(&format!(
        "{}{}",
        defaults(""),
        tables("a", 9, "127.0.0.1", server.port())
    ));
    for (index, expected) in shards(&home, 3).iter().enumerate() {
        let shard = format!("{}/3", index + 1);
        let arguments = ["fetch", "--shard", &shard, "--metrics", "m.prom"];
        home.pouch(&arguments).run().assert_code(0).assert_silent();
        let metrics = String::from_utf8(home.read("m.prom")).unwrap();
        let accounts = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("pouch_account_runs_total{account=\""))
            .map(|rest| rest.split('"').next().unwrap_or_default().to_owned());
        assert_eq!(&accounts.collect::<BTreeSet<_>>(), expected);
        assert!(metrics.contains(&format!("\npouch_accounts {}\n", expected.len())));
    }
}

/// Returns the accounts in each of `count` shards.
fn shards(home: &Home, count: usize) -> Vec<BTreeSet<String>> {
    let accounts = |shard: usize| {
        let output = home
            .pouch(&["status", "--json", "--shard", &format!("{shard}/{count}")])
            .run();
        let document: Value = serde_json::from_str(&output.stdout_text()).unwrap();
        let accounts = document["accounts"].as_array().unwrap().iter();
        let name = |account: &Value| account["account"].as_str().unwrap().to_owned();
        accounts.map(name).collect()
    };
    (1..=count).map(accounts).collect()
}

/// Returns the state directory of a shard.
fn state(home: &Home, shard: usize) -> String {
    home.join(format!("shard-{shard}")).display().to_string()
}

/// Runs each shard in a state directory of its own.
fn fetch_shards(home: &Home, count: usize) {
    for shard in 1..=count {
        let state = state(home, shard);
        let shard = format!("{shard}/{count}");
        let arguments = ["fetch", "--state-dir", &state, "--shard", &shard];
        home.pouch(&arguments).run().assert_code(0).assert_silent();
    }
}

/// Moves the ledgers of mailboxes whose shard changes, from `before` to `after`.
fn move_ledgers(home: &Home, before: &[BTreeSet<String>], after: &[BTreeSet<String>]) {
    for (new, accounts) in after.iter().enumerate() {
        for account in accounts {
            let old = before.iter().position(|shard| shard.contains(account));
            let old = old.unwrap();
            if old == new {
                continue;
            }
            let [from, to] = [old, new].map(|shard| state(home, shard + 1));
            let file = home.join("moved.db").display().to_string();
            for arguments in [
                ["--state-dir", &from, "ledger", "export", account, &file].as_slice(),
                &["--state-dir", &to, "ledger", "restore", &file],
            ] {
                home.pouch(arguments).run().assert_code(0);
            }
            fs::remove_file(file).unwrap();
        }
    }
}

#[test]
fn sixteen_shards_become_twenty_without_a_lost_or_doubled_message() {
    const ACCOUNTS: usize = 40;
    let server = server_of(ACCOUNTS).start();
    let home = home_with(&format!(
        "{}{}",
        defaults(""),
        tables("a", ACCOUNTS, "127.0.0.1", server.port())
    ));
    let (before, after) = (shards(&home, 16), shards(&home, 20));
    for shards in [&before, &after] {
        let all: BTreeSet<_> = shards.iter().flatten().collect();
        let sum: usize = shards.iter().map(BTreeSet::len).sum();
        assert_eq!((all.len(), sum), (ACCOUNTS, ACCOUNTS));
    }
    let moved: usize = after[16..].iter().map(BTreeSet::len).sum();
    assert!((2..=16).contains(&moved), "{moved}");
    for (before, after) in before.iter().zip(&after) {
        assert!(after.is_subset(before));
    }
    fetch_shards(&home, 16);
    // a poll leaves a log next to the ledger, which the export has to contain
    fetch_shards(&home, 16);
    assert_arrived(&home, "a", 0..ACCOUNTS);
    move_ledgers(&home, &before, &after);
    fetch_shards(&home, 20);
    assert_arrived(&home, "a", 0..ACCOUNTS);
    // a machine that was left with the old number of shards
    let old = before.iter().zip(&after).position(|(old, new)| old != new);
    let old = old.unwrap() + 1;
    let shard = format!("{old}/16");
    let arguments = [
        "fetch",
        "--state-dir",
        &state(&home, old),
        "--shard",
        &shard,
    ];
    home.pouch(&arguments).run().assert_code(65);
    assert_eq!(server.log().count("RETR"), ACCOUNTS);
}
