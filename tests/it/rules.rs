//! Rules that fetch, skip or delete messages by their headers, before they are downloaded.

use insta::assert_snapshot;
use serde_json::Value;

use crate::{
    fixture::Desk,
    server::{Server, corpus, on},
};

/// Returns a message with these header fields.
fn mail(header: &str) -> Vec<u8> {
    format!("{header}\nMessage-ID: <{}@rules>\n\nbody\n", header.len()).into_bytes()
}

const BOSS: &str = "From: The Boss <boss@example.org>\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n\
                    Date: Mon, 23 Nov 2026 00:00:00 +0000";
const SALE: &str = "From: shop@ads.example\nSubject: Big\n sale today\n\
                    List-Id: Sales <sale.ads.example>\nDate: Sun, 1 Nov 2026 00:00:00 +0000";
const SPAM: &str =
    "From: x@spam.example\nTo: a@b, Ann <ann@example.org>\nX-Spam-Flag: YES\nSubject: hi";

fn three() -> crate::server::Setup {
    Server::plain()
        .message("boss", mail(BOSS))
        .message("sale", mail(SALE))
        .message("spam", mail(SPAM))
}

/// Returns the actions and reasons that `pouch plan` prints for the messages 1 to 3.
fn plan(desk: &Desk) -> Vec<(String, Value)> {
    let output = desk.pouch(&["plan", "--json"]).run();
    output.assert_code(0);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let mut messages = document["accounts"][0]["messages"]
        .as_array()
        .unwrap()
        .clone();
    messages.sort_by_key(|message| message["uid"].as_str().map(str::to_owned));
    messages
        .iter()
        .map(|message| {
            (
                message["action"].as_str().unwrap().to_owned(),
                message["rule"].clone(),
            )
        })
        .collect()
}

fn rule(lines: &str) -> String {
    format!("\n[[account.work.rule]]\n{lines}\n")
}

#[test]
fn each_condition_matches_its_messages() {
    for (condition, taken) in [
        ("from = \"*@ads.example\"", [false, true, false]),
        ("from = \"the boss\"", [true, false, false]),
        ("to = \"ann@*\"", [false, false, true]),
        ("subject = \"grüße\"", [true, false, false]),
        ("subject = \"/big sale/\"", [false, true, false]),
        ("subject = \"sale\"", [false; 3]),
        ("list-id = \"sale.*\"", [false, true, false]),
        ("header = \"x-spam-flag: yes\"", [false, false, true]),
        (
            "header = { X-Spam-Flag = \"yes\", Subject = \"h?\" }",
            [false, false, true],
        ),
        (
            "header = { X-Spam-Flag = \"yes\", Subject = \"no\" }",
            [false; 3],
        ),
        ("older-than = \"20d\"", [false, true, false]),
        ("size = \"<10KB\"", [true; 3]),
        ("size = \">1KB\"", [false; 3]),
        (
            "from = \"*example*\"\nsubject = \"hi\"",
            [false, false, true],
        ),
    ] {
        println!("{condition}");
        let desk = Desk::new(three(), &rule(&format!("{condition}\naction = \"skip\"")));
        let planned = plan(&desk);
        let expected = taken.map(|taken| {
            if taken {
                ("leave".to_owned(), Value::from(1))
            } else {
                ("fetch".to_owned(), Value::Null)
            }
        });
        assert_eq!(planned, expected);
        assert_eq!(
            desk.server.log().count("TOP"),
            if condition.starts_with("size") { 0 } else { 3 }
        );
        desk.fetch(0);
        let arrived: Vec<_> = [BOSS, SALE, SPAM]
            .into_iter()
            .zip(taken)
            .filter(|(_, taken)| !taken)
            .collect();
        desk.mail().assert_exactly(
            &arrived
                .iter()
                .map(|(header, _)| mail(header))
                .collect::<Vec<_>>(),
        );
        assert_eq!(desk.retrieved(), arrived.len());
        // Nothing is requested again.
        desk.fetch(0).assert_silent();
        assert_eq!(
            (desk.retrieved(), desk.server.remaining()),
            (arrived.len(), 3)
        );
    }
}

#[test]
fn first_matching_rule_applies_and_plan_names_it() {
    let rules =
        rule("from = \"boss@*\"\naction = \"fetch\"") + &rule("from = \"*\"\naction = \"skip\"");
    let desk = Desk::new(three(), &rules);
    let output = desk.pouch(&["plan", "-v"]).run();
    assert_snapshot!(output.assert_code(0).stdout_text(), @"
    work: 3 messages on the server, 0 known
      fetch      1     145 B   new; kept on the server
      leave      2             rule 2; skipped from now on
      message    new     145 B   fetch to ~/Mail/work: new; kept on the server; rule 1
          UID boss, from The Boss, subject: Grüße
      message    new     157 B   leave: rule 2; skipped from now on
          UID sale, from shop@ads.example, subject: Big sale today
      message    new     117 B   leave: rule 2; skipped from now on
          UID spam, from x@spam.example, subject: hi
    ");
    assert_snapshot!(desk.pouch(&["fetch", "-v"]).run().assert_code(0).stderr_text(), @"
    work: logged in at 127.0.0.1:PORT
    work: 3 listed, 1 to fetch
    work   1 new (145 B) to ~/Mail/work; 2 skipped
    ");
    desk.mail().assert_exactly(&[mail(BOSS)]);
    let list = desk.pouch(&["ledger", "list", "--state", "skipped"]).run();
    assert_snapshot!(list.assert_code(0).stdout_text(), @r#"
    work
     message state            size   first seen         what
           2 skipped         157 B   2026-11-23 00:00   Big sale today: by the rule from = "*"
           3 skipped         117 B   2026-11-23 00:00   hi: by the rule from = "*"
    "#);
    assert_snapshot!(desk.pouch(&["plan"]).run().stdout_text(), @"
    work: 3 messages on the server, 3 known
      keep       1             fetched before
      leave      2             skipped (`pouch ledger list --state skipped`)
    ");
}

#[test]
fn rules_of_the_defaults_come_last() {
    let desk = Desk::new(three(), &rule("from = \"boss@*\"\naction = \"fetch\""));
    let config = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    desk.home.config(&format!(
        "{config}\n[[defaults.rule]]\nsize = \">1B\"\naction = \"skip\"\n"
    ));
    desk.fetch(0);
    desk.mail().assert_exactly(&[mail(BOSS)]);
}

#[test]
fn skipped_message_is_never_deleted_and_can_be_retried() {
    let desk = Desk::new(
        three(),
        &("keep = \"none\"\n".to_owned() + &rule("from = \"*@ads.*\"\naction = \"skip\"")),
    );
    desk.fetch(0);
    assert_eq!(desk.server.uids(), ["sale"]);
    desk.fetch_at(100, 0).assert_silent();
    assert_eq!(desk.server.uids(), ["sale"]);
    // `retry --failed` does not retry messages that a rule skipped.
    let output = desk.pouch(&["ledger", "retry", "work"]).run();
    output.assert_code(0);
    assert_snapshot!(output.stdout_text(), @"work: no message to retry; to fetch delivered messages again, use `ledger forget`");
    let output = desk.pouch(&["ledger", "retry", "work", "2"]).run();
    output.assert_code(0);
    assert_snapshot!(output.stdout_text(), @"work: 1 message will be fetched in the next run");
    assert_eq!(plan(&desk), [("fetch".to_owned(), Value::Null)]);
    desk.fetch(0);
    desk.mail()
        .assert_exactly(&[mail(BOSS), mail(SALE), mail(SPAM)]);
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn rule_deletes_unread_mail_only_if_allowed() {
    let delete = rule("header = \"X-Spam-Flag: yes\"\naction = \"delete\"");
    let desk = Desk::new(three(), &delete);
    let output = desk.fetch(78);
    assert_snapshot!(output.stderr_text(), @r#"
    pouch: ~/.config/pouch/config.toml:13:1: this rule deletes unread mail
      13 | action = "delete"
         | ^^^^^^
    hint: to allow it, add `allow-delete-unread = true` to the account
    "#);
    desk.configure(&("allow-delete-unread = true\n".to_owned() + &delete));
    let table = desk.pouch(&["plan"]).run();
    assert_snapshot!(table.stdout_text(), @"
    work: 3 messages on the server, 0 known
      fetch      2     302 B   new; kept on the server
      delete     1             rule 1; not fetched
    ");
    desk.pouch(&["fetch", "--keep"]).run().assert_code(0);
    assert_eq!(desk.server.remaining(), 3);
    let output = desk.pouch(&["fetch", "-v"]).run();
    assert_snapshot!(output.assert_code(0).stderr_text(), @"
    work: logged in at 127.0.0.1:PORT
    work: 3 listed, 0 to fetch
    work   nothing new; 1 unread by rule 1 deleted
    ");
    assert_eq!(desk.server.uids(), ["boss", "sale"]);
    desk.mail().assert_exactly(&[mail(BOSS), mail(SALE)]);
    // Another message with the same UID is not deleted unread.
    desk.server.add("spam", mail(BOSS));
    desk.fetch(0);
    assert_eq!(desk.server.remaining(), 3);
    desk.mail()
        .assert_exactly(&[mail(BOSS), mail(SALE), mail(BOSS)]);
}

#[test]
fn failed_deletion_by_rule_is_repeated() {
    let lines = "allow-delete-unread = true\n".to_owned()
        + &rule("from = \"*@spam.*\"\naction = \"delete\"");
    let desk = Desk::new(three().fault(on("QUIT").nth(1).refuse("-ERR no")), &lines);
    desk.fetch(75);
    assert_eq!(desk.server.remaining(), 3);
    desk.fetch(0);
    assert_eq!(desk.server.uids(), ["boss", "sale"]);
}

#[test]
fn removed_rule_deletes_nothing() {
    let delete = "allow-delete-unread = true\n".to_owned()
        + &rule("from = \"*@spam.*\"\naction = \"delete\"");
    let keeps = rule("from = \"*@spam.*\"\naction = \"skip\"");
    let other = "allow-delete-unread = true\n".to_owned()
        + &rule("subject = \"/nothing/\"\naction = \"delete\"");
    let mut shown = String::new();
    for (lines, arrives) in [("", true), (keeps.as_str(), false), (other.as_str(), true)] {
        let desk = Desk::new(three().fault(on("QUIT").nth(1).refuse("-ERR no")), &delete);
        desk.fetch(75);
        let show = || desk.pouch(&["ledger", "show", "work", "3"]).run();
        shown.push_str(&show().case(&format!("then {lines:?}")));
        desk.configure(&format!("keep = \"none\"\n{lines}"));
        // The message cannot be retrieved at first. It is not deleted because of the removed rule.
        desk.server
            .fault(on("RETR").uid("spam").refuse("-ERR damaged"));
        desk.fetch(if arrives { 75 } else { 0 });
        assert_eq!(desk.server.uids(), ["spam"], "{lines}");
        assert!(!show().stdout.contains("order"), "{}", show());
        desk.server.heal("spam");
        desk.fetch(0);
        assert_eq!(
            (desk.mail().len(), desk.server.remaining()),
            if arrives { (3, 0) } else { (2, 1) }
        );
    }
    assert_snapshot!(shown, @r#"
    === then ""
    $ pouch ledger show work 3
    message           3
    UID               spam
    state             new
    from              x@spam.example
    subject           hi
    listed size       117 bytes
    first seen        2026-11-23 00:00
    reason            by the rule from = "*@spam.*"
    pending           deletion from the server
    === then "\n[[account.work.rule]]\nfrom = \"*@spam.*\"\naction = \"skip\"\n"
    $ pouch ledger show work 3
    message           3
    UID               spam
    state             new
    from              x@spam.example
    subject           hi
    listed size       117 bytes
    first seen        2026-11-23 00:00
    reason            by the rule from = "*@spam.*"
    pending           deletion from the server
    === then "allow-delete-unread = true\n\n[[account.work.rule]]\nsubject = \"/nothing/\"\naction = \"delete\"\n"
    $ pouch ledger show work 3
    message           3
    UID               spam
    state             new
    from              x@spam.example
    subject           hi
    listed size       117 bytes
    first seen        2026-11-23 00:00
    reason            by the rule from = "*@spam.*"
    pending           deletion from the server
    "#);
}

#[test]
fn refused_header_deletes_no_message() {
    let lines = "allow-delete-unread = true\n".to_owned()
        + &rule("from = \"boss@*\"\naction = \"fetch\"")
        + &rule("size = \">1B\"\naction = \"delete\"");
    let desk = Desk::new(
        three().fault(on("TOP").uid("boss").refuse("-ERR no")),
        &lines,
    );
    desk.fetch(0);
    desk.mail().assert_exactly(&[mail(BOSS)]);
    assert_eq!(desk.server.uids(), ["boss"]);
}

#[test]
fn headers_that_break_the_connection_stop_no_other_message() {
    let bad = ["uid-2", "uid-3", "uid-5", "uid-6", "uid-7"];
    let desk = Desk::with(
        9,
        &rule("subject = \"Message 9\"\naction = \"skip\""),
        |server| {
            bad.into_iter().fold(server, |server, uid| {
                server
                    .fault(on("TOP").uid(uid).cut())
                    .fault(on("RETR").uid(uid).octets(50).cut())
            })
        },
    );
    for _ in 0..2 {
        desk.pouch(&["fetch"]).run();
    }
    desk.assert_arrived([1, 4, 8]);
    assert_eq!(desk.server.remaining(), 9);
    // A message whose header is refused is delivered.
    let desk = Desk::with(
        3,
        &rule("subject = \"Message 3\"\naction = \"skip\""),
        |server| server.fault(on("TOP").uid("uid-2").cut()),
    );
    desk.fetch(0);
    desk.assert_arrived([1, 2]);
    // The plan says what is unknown.
    let desk = Desk::with(
        3,
        &rule("subject = \"Message 3\"\naction = \"skip\""),
        |server| server.fault(on("TOP").uid("uid-2").cut()),
    );
    assert_snapshot!(desk.pouch(&["plan"]).run().assert_code(0).stderr_text(), @"
    pouch: work: 127.0.0.1 closed the connection
      the rules were not evaluated for the remaining messages
    ");
}

#[test]
fn extra_or_missing_header_deletes_no_other_message() {
    let lines = "allow-delete-unread = true\n".to_owned()
        + &rule("subject = \"Message 4\"\naction = \"delete\"");
    let header = "+OK\r\nSubject: Message 2\r\n\r\n.\r\n";
    for fault in [on("TOP").nth(2).answer(""), on("TOP").nth(2).more(header)] {
        let desk = Desk::with(6, &lines, |server| server.fault(fault));
        desk.pouch(&["fetch"]).run();
        assert_eq!(desk.server.uids(), [1, 2, 3, 5, 6].map(corpus::uid));
        desk.assert_arrived([1, 2, 3, 5, 6]);
    }
}

#[test]
fn headers_are_requested_in_few_writes() {
    let desk = Desk::with(
        50,
        &rule("subject = \"/[05]$/\"\naction = \"skip\""),
        |server| server,
    );
    desk.fetch(0);
    let expected: Vec<_> = (1..=50)
        .filter(|n| n % 5 != 0)
        .map(|n| corpus::on_disk(&corpus::message(n)))
        .collect();
    desk.mail().assert_exactly(&expected);
    assert_eq!((desk.server.log().count("TOP"), desk.retrieved()), (50, 40));
}

#[test]
fn config_show_prints_rules() {
    let desk = Desk::new(
        Server::plain(),
        &(rule("header = { Precedence = \"bulk\" }\nsize = \">2MB\"\naction = \"skip\"")
            + &rule("action = \"fetch\"")),
    );
    let shown = desk.pouch(&["config", "show"]).run();
    let text = shown.assert_code(0).stdout_text();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("rule "))
        .collect();
    assert_snapshot!(lines.join("\n"), @r#"
    rule                     = { header = { "Precedence" = "bulk" }, size = ">2MB", action = "skip" }   # ~/.config/pouch/config.toml:11
    rule                     = { action = "fetch" }                               # ~/.config/pouch/config.toml:16
    "#);
    let output = desk.pouch(&["config", "show", "--json"]).run();
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(
        document["accounts"][0]["rules"][1]["value"],
        serde_json::json!({ "action": "fetch" })
    );
}

#[test]
fn limit_bounds_the_requested_headers() {
    // Of the first hundred messages, only the last one is fetched.
    let lines = format!(
        "limit = 20\n{}",
        rule("subject = \"/^Message [0-9][0-9]?$/\"\naction = \"skip\"")
    );
    let desk = Desk::with(500, &lines, |server| server);
    let asked = || desk.server.log().count("TOP");
    desk.pouch(&["plan"]).run().assert_code(0);
    let before = asked();
    assert!(before <= 150, "{before}");
    for n in 0..3 {
        let before = asked();
        desk.fetch(0);
        desk.assert_arrived(100..120 + n * 20);
        assert!(
            asked() - before <= if n == 0 { 150 } else { 50 },
            "{n}: {}",
            asked() - before
        );
    }
    // A skip rule applies to later messages once their headers are requested.
    desk.server.add("uid-501", corpus::message(501));
    desk.configure(&format!(
        "limit = 400\n{}",
        rule("subject = \"Message 3*\"\naction = \"skip\"")
    ));
    desk.fetch(0);
    desk.assert_arrived((100..300).chain(400..=501));
}

#[test]
fn keep_newest_does_not_count_skipped_messages() {
    let lines = format!(
        "limit = 1\nkeep-newest = 12\n{}",
        rule("subject = \"/^Message [0-9][0-9]+$/\"\naction = \"skip\"")
    );
    let desk = Desk::with(9, &lines, |server| server);
    for _ in 0..9 {
        desk.fetch(0);
    }
    desk.server.add("uid-0", corpus::message(0));
    for n in 10..=300 {
        desk.server.add(corpus::uid(n), corpus::message(n));
    }
    desk.fetch(0);
    // Skipped messages do not count as newer mail.
    assert_eq!(desk.server.remaining(), 301);
    assert_eq!(desk.mail().len(), 10);
}
