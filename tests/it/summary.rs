//! The summary lines of a run.

use crate::{
    fixture::Desk,
    many_accounts::accounts,
    server::{Server, corpus, on},
    support::Home,
};

#[test]
fn summary_names_the_destinations_that_were_used() {
    let rules = "[[account.work.rule]]\nsubject = \"*Message 2*\"\naction = \"maildir:.Lists\"\n";
    let desk = Desk::with(5, rules, |server| server);
    desk.pouch(&["fetch", "-v"])
        .run()
        .assert_code(0)
        .assert_stderr("work   5 new (")
        .assert_stderr("): 4 to ~/Mail/work, 1 to ~/Mail/work/.Lists\n");
    desk.server.add("uid-6", corpus::message(6));
    desk.pouch(&["fetch", "-v"])
        .run()
        .assert_stderr(") to ~/Mail/work\n");
    desk.server.add("uid-7", corpus::message(7));
    desk.pouch(&["fetch", "--json"])
        .run()
        .assert_stdout("\"destinations\":[{\"destination\":\"~/Mail/work\",\"messages\":1}]");
}

#[test]
fn closing_line_names_accounts_that_failed() {
    let good = Server::plain().messages(corpus::messages(2)).start();
    let bad = Server::plain()
        .fault(on("PASS").refuse("-ERR [AUTH] no"))
        .start();
    let home = Home::new();
    home.write("password", "secret\n", 0o600);
    let account = |name: &str, host: &str, port: u16, user: &str| {
        format!(
            "[account.{name}]\nhost = \"{host}\"\nport = {port}\nuser = \"{user}\"\nauth = \"user\"\n\
             password-file = \"~/password\"\ntls = \"off\"\nallow-plaintext-password = true\n\
             maildir = \"~/Mail/{name}\"\n"
        )
    };
    home.config(
        &[
            account("one", "127.0.0.1", bad.port(), "ann"),
            account("two", "localhost", good.port(), "ann"),
        ]
        .concat(),
    );
    let output = home.pouch(&["fetch", "-v"]).run();
    output.assert_code(77);
    assert!(
        output
            .stderr
            .ends_with("\n2 fetched; 1 account failed: one\n"),
        "{output}"
    );
    home.pouch(&["fetch", "two"])
        .run()
        .assert_code(0)
        .assert_silent();
}

#[test]
fn closing_line_counts_all_accounts() {
    let (home, _server) = accounts();
    let output = home.pouch(&["fetch", "--progress", "always"]).run();
    output.assert_code(0);
    assert!(output.stderr.ends_with("120 fetched\n"), "{output}");
}

#[test]
fn later_rounds_report_only_news() {
    let desk = Desk::with(1, "retries = 0", |server| server);
    let args = ["--every", "1s", "--progress", "always"];
    let mut child = desk.pouch(&args).spawn();
    desk.server.wait_for(|log| log.count("QUIT") >= 3);
    desk.server.add("uid-2", corpus::message(2));
    desk.server.wait_for(|log| log.count("RETR") >= 2);
    let done = desk.server.log().count("QUIT");
    desk.server.wait_for(|log| log.count("QUIT") >= done + 2);
    desk.server.fault(on("STAT").refuse("-ERR [SYS/TEMP] no"));
    desk.server.wait_for(|log| log.count("STAT") >= 8);
    desk.server.heal_all();
    let done = desk.server.log().count("QUIT");
    desk.server.wait_for(|log| log.count("QUIT") >= done + 4);
    child.signal(15);
    let output = child.wait();
    let news: Vec<_> = output
        .stderr
        .lines()
        .filter(|line| line.starts_with("00:00  "))
        .collect();
    assert_eq!(
        news[..2],
        [
            "00:00  work   1 new (363 B) to ~/Mail/work",
            "00:00  work   1 new (401 B) to ~/Mail/work",
        ],
        "{output}"
    );
    assert!(output.stderr.matches("SYS/TEMP").count() == 1, "{output}");
    assert_eq!(
        news.iter()
            .filter(|line| line.contains("nothing new"))
            .count(),
        1,
        "{output}"
    );
}
