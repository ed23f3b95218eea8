//! Twenty accounts on five servers, which share one ledger.

use crate::{
    server::{Server, corpus},
    support::Home,
};

pub const ACCOUNTS: usize = 20;
/// The number of messages of each account.
const EACH: usize = 6;
/// Names of this machine, which pouch treats as different servers.
const HOSTS: [&str; 5] = ["127.0.0.1", "localhost", "127.1", "127.0.1", "2130706433"];

/// Returns the messages of an account.
fn numbers(account: usize) -> impl Iterator<Item = usize> {
    (1..=EACH).map(move |n| 100 * account + n)
}

/// Creates all accounts on one scripted server. Messages have the same UIDs in all of them.
pub fn accounts() -> (Home, Server) {
    let setup = (0..ACCOUNTS).fold(Server::plain(), |setup, account| {
        let user = format!("user{account}");
        let setup = if account == 0 {
            setup.user(&user, "secret")
        } else {
            setup.another_user(&user, "secret")
        };
        setup.messages(
            numbers(account)
                .zip(1..)
                .map(|(n, uid)| (corpus::uid(uid), corpus::message(n))),
        )
    });
    let server = setup.exclusive().start();
    let home = Home::new();
    home.write("password", "secret\n", 0o600);
    let config: Vec<_> = (0..ACCOUNTS)
        .map(|account| {
            format!(
                "[account.a{account}]\nhost = \"{}\"\nuser = \"user{account}\"\nmaildir = \"~/Mail/a{account}\"\n",
                HOSTS[account % HOSTS.len()]
            )
        })
        .collect();
    home.config(&format!(
        "jobs = {}\n[defaults]\nport = {}\npassword-file = \"~/password\"\ntls = \"off\"\ntimeout = \"20s\"\n\
         allow-plaintext-password = true\nkeep = \"none\"\n{}",
        HOSTS.len(),
        server.port(),
        config.concat()
    ));
    (home, server)
}

#[track_caller]
pub fn assert_all_arrived(home: &Home, server: &Server) {
    for account in 0..ACCOUNTS {
        let expected: Vec<_> = numbers(account)
            .map(|n| corpus::on_disk(&corpus::message(n)))
            .collect();
        home.maildir(format!("Mail/a{account}"))
            .assert_exactly(&expected)
            .assert_tidy();
    }
    let log = server.log();
    assert_eq!(
        (log.count("RETR"), log.count("DELE")),
        (ACCOUNTS * EACH, ACCOUNTS * EACH)
    );
    assert_eq!(server.remaining(), 0);
}

#[test]
fn one_run_fetches_accounts_in_parallel() {
    let (home, server) = accounts();
    home.pouch(&["fetch"]).run().assert_code(0).assert_silent();
    assert_all_arrived(&home, &server);
    home.pouch(&["fetch"]).run().assert_code(0).assert_silent();
}

#[test]
fn twenty_processes_fetch_accounts_in_parallel() {
    let (home, server) = accounts();
    // One process for each account, and some for all of them.
    let of_one = (0..ACCOUNTS - 4).map(|account| vec![format!("a{account}")]);
    let runs: Vec<_> = of_one
        .chain([const { Vec::new() }; 4])
        .map(|accounts| {
            let arguments = ["fetch", "--wait", "1m"]
                .into_iter()
                .chain(accounts.iter().map(String::as_str));
            home.pouch(&arguments.collect::<Vec<_>>()).spawn()
        })
        .collect();
    for run in runs {
        run.wait().assert_code(0).assert_silent();
    }
    assert_all_arrived(&home, &server);
}
