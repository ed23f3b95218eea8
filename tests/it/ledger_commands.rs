//! Numbers of messages: where they are shown, and how `pouch ledger` takes them.

use insta::assert_snapshot;
use serde_json::Value;

use crate::{
    fixture::Desk,
    server::{corpus, on},
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
    ");
    assert_snapshot!(desk.pouch(&["fetch", "-v"]).run().assert_code(75).stderr_text(), @"
    work: logged in at 127.0.0.1:PORT
    work: 1 listed, 1 to fetch
    pouch: work: 127.0.0.1 refused to send message 3
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
