//! Numbers of messages: where they are shown, and how `pouch ledger` takes them.

use insta::assert_snapshot;
use serde_json::Value;

use crate::{
    fixture::Desk,
    server::{Server, Setup, corpus, on},
};

/// Returns the events of this name that `fetch --json` prints.
fn events(stdout: &str, name: &str) -> Vec<Value> {
    let lines = stdout.lines();
    let events = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event"] == name).collect()
}

#[test]
fn messages_are_named_by_their_numbers_in_the_ledger() {
    let rule = "[[account.work.rule]]\nsubject = \"*4\"\naction = \"maildir:.Four\"\n\
                also = [\"maildir:~/Mail/copies\"]";
    let desk = Desk::with(2, &format!("keep = \"none\"\n{rule}"), |server| {
        server.fault(on("RETR").uid("uid-3").refuse("-ERR no"))
    });
    desk.fetch(0);
    // the server numbers them 1 and 2
    desk.server.add("uid-3", corpus::message(3));
    desk.server.add("uid-4", corpus::message(4));
    assert_snapshot!(desk.pouch(&["plan", "-v"]).run().assert_code(0).stdout_text(), @"
    work: 2 messages on the server, 0 known
      fetch      2     916 B   new; then deleted from the server
      message    new     439 B   fetch to ~/Mail/work: new; then deleted from the server
          UID uid-3, from Ben, subject: Message 3
      message    new     477 B   fetch to ~/Mail/work/.Four, ~/Mail/copies: new; then deleted from the server; rule 1
          UID uid-4, from Ben, subject: Message 4
    ");
    let output = desk.pouch(&["fetch", "--json"]).run();
    let stored = &events(&output.assert_code(75).stdout, "stored")[0];
    assert_eq!(stored["message"], 4);
    assert_eq!(stored["uid"], "uid-4");
    assert_eq!(stored["destination"], "~/Mail/work/.Four");
    assert_eq!(stored["also"][0], "~/Mail/copies");
    let file = stored["file"].as_str().unwrap();
    let new = desk.home.join("Mail/work/.Four/new");
    assert!(new.join(file).exists(), "{output}");
    let failed = &events(&output.stdout, "failed")[0];
    assert_eq!(failed["message"], 3);
    assert_eq!(failed["uid"], "uid-3");
    assert_snapshot!(desk.pouch(&["plan", "-v"]).run().assert_code(0).stdout_text(), @"
    work: 1 message on the server, 1 known
      fetch      1     439 B   new; then deleted from the server
      message      3     439 B   fetch: new; then deleted from the server; the destination depends on the header
          from Ben, subject: Message 3
    ");
    assert_snapshot!(desk.pouch(&["fetch", "-v"]).run().assert_code(75).stderr_text(), @"
    work: logged in at 127.0.0.1:PORT
    work: 1 listed, 1 to fetch
    pouch: work: 127.0.0.1 refused to send message 3
      from Ben, subject: Message 3
      127.0.0.1 said: -ERR no
      message 3 left on the server, attempt 2 of 3
    work   nothing new; 1 message failed
    ");
}

#[test]
fn requested_deletion_has_its_own_reason() {
    let desk = Desk::with(1, "", |server| server);
    desk.fetch(0);
    desk.pouch(&["ledger", "delete", "work", "1"])
        .run()
        .assert_code(0);
    let output = desk.pouch(&["fetch", "--json"]).run();
    let deleted = &events(&output.assert_code(0).stdout, "deleted")[0];
    assert_eq!(deleted["reason"], "requested");
}

#[test]
fn plan_shows_headers_only_where_the_server_has_them() {
    let multidrop = "[account.work.multidrop]\nheader = [\"X-To\"]\n\
                     recipients = { \"ann@example.org\" = \"maildir:~/Mail/ann\" }";
    let desk = Desk::with(1, multidrop, |server| server.without("TOP"));
    assert_snapshot!(desk.pouch(&["plan", "-v"]).run().assert_code(0).stdout_text(), @"
    work: 1 message on the server, 0 known
      fetch      1     363 B   new; kept on the server
      message    new     363 B   fetch: new; kept on the server; the destination depends on the header
          UID uid-1
    ");
}

/// Three messages that the server refuses, and two that are delivered.
fn some_refused() -> Desk {
    let refuse = |n| on("RETR").uid(corpus::uid(n)).refuse("-ERR no");
    let desk = Desk::with(5, "attempts = 1\nnotice = false", |server| {
        server.fault(refuse(1)).fault(refuse(2)).fault(refuse(4))
    });
    desk.fetch(65);
    desk
}

/// Returns the transcripts of these commands of `pouch ledger`, one after the other.
fn transcripts(desk: &Desk, commands: &[&[&str]]) -> String {
    let run = |args: &&[&str]| {
        desk.pouch(&[&["ledger"], *args].concat())
            .run()
            .transcript()
    };
    commands.iter().map(run).collect()
}

#[test]
fn messages_are_selected_by_lists_ranges_and_states() {
    let desk = some_refused();
    assert_snapshot!(transcripts(&desk, &[
        &["retry", "work", "1", "3-4"],
        &["retry", "work", "--state", "quarantined"],
        &["retry", "work", "--state", "quarantined"],
        &["forget", "work", "1-3", "--state", "delivered"],
        &["forget", "work", "4-9", "1"],
        &["delete", "work", "all"],
        &["show", "work", "--state", "skipped"],
    ]), @"
    $ pouch ledger retry work 1 3-4
    work: 2 messages will be fetched in the next run
    $ pouch ledger retry work --state quarantined
    work: 1 message will be fetched in the next run
    $ pouch ledger retry work --state quarantined
    work: no message is quarantined
    $ pouch ledger forget work 1-3 --state delivered
    work: 1 message forgotten
    $ pouch ledger forget work 4-9 1
    work: 3 messages forgotten
    $ pouch ledger delete work all
    work: 1 message will be deleted from the server in the next run
    $ pouch ledger show work --state skipped
    work: no message is skipped
    ");
    let shown = desk
        .pouch(&["ledger", "show", "work", "all", "--json"])
        .run();
    let shown: Value = serde_json::from_str(&shown.assert_code(0).stdout).unwrap();
    assert_eq!(shown["messages"][0]["message"], 2);
    let shown = desk.pouch(&["ledger", "show", "work", "2", "--json"]).run();
    let shown: Value = serde_json::from_str(&shown.assert_code(0).stdout).unwrap();
    assert_eq!(shown["message"], 2);
}

#[test]
fn wrong_selection_changes_nothing() {
    let desk = some_refused();
    assert_snapshot!(transcripts(&desk, &[
        &["forget", "work", "1", "6"],
        &["delete", "work", "7-9"],
        &["retry", "work", "4-1"],
        &["retry", "work", "first"],
        &["delete", "work"],
        &["forget", "work", "--state", "lost"],
    ]), @"
    $ pouch ledger forget work 1 6
    ------- stderr -------
    pouch: there is no message 6 in the ledger
    hint: run `pouch ledger list --all` to see the numbers
    [exit code: 64]
    $ pouch ledger delete work 7-9
    ------- stderr -------
    pouch: there are no messages 7-9 in the ledger
    hint: run `pouch ledger list --all` to see the numbers
    [exit code: 64]
    $ pouch ledger retry work 4-1
    ------- stderr -------
    error: invalid value '4-1' for '[MESSAGE]...': the range ends before it begins: write 1-4

    For more information, try '--help'.
    [exit code: 64]
    $ pouch ledger retry work first
    ------- stderr -------
    error: invalid value 'first' for '[MESSAGE]...': it must be a number, a range such as 3-7, or `all`; `pouch ledger list --all` shows the numbers

    For more information, try '--help'.
    [exit code: 64]
    $ pouch ledger delete work
    ------- stderr -------
    error: the following required arguments were not provided:
      <MESSAGE>...

    Usage: pouch ledger delete <ACCOUNT> <MESSAGE>...

    For more information, try '--help'.
    [exit code: 64]
    $ pouch ledger forget work --state lost
    ------- stderr -------
    error: invalid value 'lost' for '--state <STATE>'
      [possible values: new, delivering, delivered, short, quarantined, skipped, gone]

    For more information, try '--help'.
    [exit code: 64]
    ");
    let list = desk.pouch(&["ledger", "list", "--all"]).run();
    assert_eq!(list.assert_code(0).stdout.lines().count(), 7, "{list}");
}

#[test]
fn named_oversized_message_is_fetched() {
    let desk = Desk::with(2, "max-size = \"1KB\"", |server| {
        server
            .message("big", corpus::sized(3, 3_000))
            .message("bigger", corpus::sized(4, 4_000))
    });
    assert_snapshot!(desk.pouch(&["fetch", "-v"]).run().assert_code(0).stderr_text(), @"
    work: logged in at 127.0.0.1:PORT
    pouch: work: message 3 (3.0 KB) is larger than max-size (1KB); left on the server
    hint: run `pouch ledger retry work 3` to fetch it, or raise `max-size`
    pouch: work: message 4 (4.0 KB) is larger than max-size (1KB); left on the server
    hint: run `pouch ledger retry work 4` to fetch it, or raise `max-size`
    work: 4 listed, 2 to fetch
    work   2 new (764 B) to ~/Mail/work
    ");
    assert_snapshot!(transcripts(&desk, &[&["retry", "work"], &["retry", "work", "3"]]), @"
    $ pouch ledger retry work
    work: no message to retry; to fetch delivered messages again, use `ledger forget`
    $ pouch ledger retry work 3
    work: 1 message will be fetched in the next run
    ");
    assert_snapshot!(desk.pouch(&["fetch", "-v"]).run().assert_code(0).stderr_text(), @"
    work: logged in at 127.0.0.1:PORT
    work: 4 listed, 1 to fetch
    work   1 new (3.0 KB) to ~/Mail/work
    ");
}

#[test]
fn max_size_can_be_raised_for_one_run() {
    let desk = Desk::with(1, "max-size = \"1KB\"", |server| {
        server.message("big", corpus::sized(2, 3_000))
    });
    desk.fetch(0);
    assert_eq!(desk.retrieved(), 1);
    desk.pouch(&["fetch", "--max-size", "5KB"])
        .run()
        .assert_code(0);
    assert_eq!(desk.retrieved(), 2);
}

#[test]
fn catchup_as_fetched_deletes_after_the_time_of_keep() {
    let rule = "[[account.work.rule]]\nsubject = \"*3\"\naction = \"skip\"";
    let desk = Desk::with(3, &format!("keep = \"30d\"\nlimit = 1\n{rule}"), |server| {
        server
    });
    desk.fetch(0);
    assert_snapshot!(transcripts(&desk, &[
        &["catchup", "work", "--as-fetched"],
        &["list", "--all"],
        &["show", "work", "2"],
        &["verify"],
        &["catchup", "work"],
    ]), @r#"
    $ pouch ledger catchup work --as-fetched
    work: 1 message marked as fetched
    $ pouch ledger list --all
    work
     message state            size   first seen         what
           1 delivered       363 B   2026-11-23 00:00   Message 1
           2 delivered       401 B   2026-11-23 00:00   Message 2
           3 skipped         439 B   2026-11-23 00:00   Message 3: by the rule subject = "*3"
    $ pouch ledger show work 2
    message           2
    UID               uid-2
    state             delivered
    from              Ben
    subject           Message 2
    listed size       401 bytes
    first seen        2026-11-23 00:00
    marked as fetched 2026-11-23 00:00
    $ pouch ledger verify
    work: 1 message delivered, 1 of them in ~/Mail/work
    $ pouch ledger catchup work
    work: 0 messages skipped
    "#);
    desk.fetch_at(29, 0);
    assert_eq!(desk.server.remaining(), 3);
    // the message that a rule skipped stays
    desk.fetch_at(31, 0);
    assert_eq!(desk.server.remaining(), 1);
    assert_eq!(desk.retrieved(), 1);
}

/// A message that the server received on a day, with a Date of its own.
fn dated(n: usize, received: &str, date: &str) -> Vec<u8> {
    let text = String::from_utf8(corpus::message(n)).unwrap();
    let plain = format!("Mon, 23 Nov 2026 00:00:{n:02} +0000");
    text.replacen(&plain, received, 1)
        .replace(&plain, date)
        .into_bytes()
}

/// Four messages, one from each of 1, 2 and 3 November, and one without a date.
fn november(more: impl FnOnce(Setup) -> Setup) -> Desk {
    let day = |day| format!("Sun, {day:02} Nov 2026 00:00:00 +0000");
    let epoch = "Thu, 01 Jan 1970 00:00:00 +0000";
    let undated = String::from_utf8(corpus::message(4)).unwrap();
    let undated = undated.replace("Received: ", "X-Received: ");
    let undated = undated.replace("\nDate: ", "\nX-Date: ");
    let messages = [
        (corpus::uid(1), dated(1, &day(1), &day(1))),
        (corpus::uid(2), dated(2, &day(2), epoch)),
        (corpus::uid(3), dated(3, &day(3), epoch)),
        (corpus::uid(4), undated.into_bytes()),
    ];
    Desk::new(more(Server::plain().messages(messages)), "")
}

#[test]
fn catchup_before_a_day_compares_the_time_of_receipt() {
    let desk = november(|server| server);
    assert_snapshot!(transcripts(&desk, &[
        &["catchup", "work", "--before", "2026-11-01"],
        &["catchup", "work", "--before", "2026-11-03"],
        &["catchup", "work", "--before", "2026-11-03"],
        &["catchup", "work", "--before", "2026-11-23", "--json"],
    ]), @r#"
    $ pouch ledger catchup work --before 2026-11-01
    work: 0 messages skipped, 4 left to fetch; the date of 1 is not known
    $ pouch ledger catchup work --before 2026-11-03
    work: 2 messages skipped, 2 left to fetch; the date of 1 is not known
    $ pouch ledger catchup work --before 2026-11-03
    work: 0 messages skipped, 2 left to fetch; the date of 1 is not known
    $ pouch ledger catchup work --before 2026-11-23 --json
    {
      "account": "work",
      "changed": 1,
      "left": 1,
      "undated": 1
    }
    "#);
    desk.fetch(0);
    assert_eq!(desk.retrieved(), 1);
}

#[test]
fn catchup_except_the_newest_counts_all_messages() {
    let desk = Desk::with(5, "", |server| server);
    assert_snapshot!(transcripts(&desk, &[
        &["catchup", "work", "--except-newest", "9"],
        &["catchup", "work", "--except-newest", "2"],
        &["catchup", "work", "--except-newest", "2", "--as-fetched"],
    ]), @"
    $ pouch ledger catchup work --except-newest 9
    work: 0 messages skipped, 5 left to fetch
    $ pouch ledger catchup work --except-newest 2
    work: 3 messages skipped, 2 left to fetch
    $ pouch ledger catchup work --except-newest 2 --as-fetched
    work: 3 messages marked as fetched, 2 left to fetch
    ");
    desk.fetch(0);
    desk.assert_arrived([4, 5]);
    // delivered messages are counted, so that 0 and the default are the same
    desk.server.add("uid-6", corpus::message(6));
    assert_snapshot!(transcripts(&desk, &[
        &["catchup", "work", "--except-newest", "1"],
        &["catchup", "work", "--except-newest", "0"],
    ]), @"
    $ pouch ledger catchup work --except-newest 1
    work: 0 messages skipped, 1 left to fetch
    $ pouch ledger catchup work --except-newest 0
    work: 1 message skipped, 0 left to fetch
    ");
}

#[test]
fn catchup_with_both_limits_marks_what_is_old_and_not_among_the_newest() {
    let desk = november(|server| server);
    assert_snapshot!(transcripts(&desk, &[
        &["catchup", "work", "--before", "2026-11-23", "--except-newest", "3"],
    ]), @"
    $ pouch ledger catchup work --before 2026-11-23 --except-newest 3
    work: 1 message skipped, 3 left to fetch
    ");
}

#[test]
fn wrong_limits_of_catchup_change_nothing() {
    let desk = november(|server| server.without("TOP"));
    assert_snapshot!(transcripts(&desk, &[
        &["catchup", "work", "--before", "2026-11-24"],
        &["catchup", "work", "--before", "2026-11-31"],
        &["catchup", "work", "--before", "1.11.2026"],
        &["catchup", "work", "--except-newest", "some"],
        &["catchup", "work", "--before", "2026-11-03"],
        &["list", "--all"],
        &["catchup", "work", "--except-newest", "3"],
    ]), @"
    $ pouch ledger catchup work --before 2026-11-24
    ------- stderr -------
    pouch: the day 2026-11-24 is in the future
    hint: without `--before`, all messages on the server are marked
    [exit code: 64]
    $ pouch ledger catchup work --before 2026-11-31
    ------- stderr -------
    error: invalid value '2026-11-31' for '--before <DATE>': it must be a valid date, such as 2026-11-28

    For more information, try '--help'.
    [exit code: 64]
    $ pouch ledger catchup work --before 1.11.2026
    ------- stderr -------
    error: invalid value '1.11.2026' for '--before <DATE>': it must be a valid date, such as 2026-11-28

    For more information, try '--help'.
    [exit code: 64]
    $ pouch ledger catchup work --except-newest some
    ------- stderr -------
    error: invalid value 'some' for '--except-newest <COUNT>': it must be a number of messages, 0 or more

    For more information, try '--help'.
    [exit code: 64]
    $ pouch ledger catchup work --before 2026-11-03
    ------- stderr -------
    pouch: 127.0.0.1 does not support TOP, so the dates of its messages are not known
      nothing was changed
    hint: use `--except-newest COUNT`, which needs no dates
    [exit code: 69]
    $ pouch ledger list --all
    work: no message is known
    $ pouch ledger catchup work --except-newest 3
    work: 1 message skipped, 3 left to fetch
    ");
}

#[test]
fn completions_of_accounts_describe_them() {
    let desk = Desk::with(1, "", |server| server);
    let complete = desk.pouch(&["--", "pouch", "fetch", "w"]);
    let complete = complete
        .env("COMPLETE", "zsh")
        .env("_CLAP_COMPLETE_INDEX", "2")
        .env("_CLAP_IFS", "\n");
    assert_snapshot!(complete.run().stdout_text(), @"work:ann at 127.0.0.1");
}

#[test]
fn completions_of_messages_describe_them() {
    let desk = Desk::with(12, "attempts = 1", |server| {
        server.fault(on("RETR").uid("uid-2").refuse("-ERR no"))
    });
    desk.fetch(65);
    let complete = |current: &str| {
        desk.pouch(&["--", "pouch", "ledger", "retry", "work", current])
            .env("COMPLETE", "zsh")
            .env("_CLAP_COMPLETE_INDEX", "4")
            .env("_CLAP_IFS", "\n")
            .run()
            .stdout_text()
    };
    assert_snapshot!(complete("1"), @"
    12:delivered, first seen 2026-11-23
    11:delivered, first seen 2026-11-23
    10:delivered, first seen 2026-11-23
    1:delivered, first seen 2026-11-23
    ");
    assert_snapshot!(complete("2"), @"2:quarantined, from Ben, subject: Message 2");
    assert_snapshot!(complete("a"), @"all:all messages");
}
