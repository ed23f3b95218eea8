//! `pouch report`: text, page and JSON.

#[cfg(feature = "system-tests")]
mod browser;

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use crate::{
    fixture::{DAY, Desk, NOW},
    server::on,
    support::Home,
};

fn json(desk: &Desk, days: i64, args: &[&str]) -> Value {
    let output = desk.at(days, args).run();
    output.assert_code(0);
    serde_json::from_str(&output.stdout).unwrap()
}

/// Returns the page, and asserts that it is well-formed and refers to nothing outside.
#[track_caller]
fn page(desk: &Desk, days: i64) -> String {
    let output = desk.at(days, &["report", "--html", "-"]).run();
    output.assert_code(0);
    assert_eq!(output.stderr, "");
    assert_self_contained(&output.stdout);
    output.stdout
}

/// Elements without an end tag.
const VOID: [&str; 1] = ["meta"];

#[track_caller]
fn assert_self_contained(page: &str) {
    assert!(page.starts_with("<!DOCTYPE html>"));
    assert!(page.contains("default-src 'none'"));
    let (head, rest) = page.split_once("<style>").unwrap();
    let (style, rest) = rest.split_once("</style>").unwrap();
    for word in ["url(", "@import", "http", "</"] {
        assert!(!style.contains(word), "{word}");
    }
    let mut open = Vec::new();
    for piece in format!("{head}{rest}").split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap();
        assert!(!text.contains('>'), "{text}");
        let name = tag.split([' ', '/']).find(|name| !name.is_empty()).unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{tag}");
        } else if !tag.starts_with('!') && !VOID.contains(&name) {
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
            open.push(name.to_owned());
        }
        for attribute in ["src=", "href=", " on", "srcset="] {
            assert!(!tag.contains(attribute), "{tag}");
        }
        assert!(name != "script" && name != "link", "{tag}");
    }
    assert_eq!(open, [""; 0]);
}

#[test]
fn figures_are_those_of_the_runs() {
    let desk = Desk::with(3, "keep = \"30d\"", |server| server);
    desk.fetch(0);
    desk.fetch_at(1, 0);
    let status = json(&desk, 1, &["status", "--json"]);
    let runs = status["accounts"][0]["runs"].as_array().unwrap();
    let sum = |key: &str| {
        runs.iter()
            .map(|run| run[key].as_u64().unwrap())
            .sum::<u64>()
    };
    let report = json(&desk, 1, &["report", "--json"]);
    assert_eq!(report["to"], "2026-11-24");
    let account = &report["accounts"][0];
    assert_eq!(account["account"], "work");
    assert_eq!(account["health"], "ok");
    assert_eq!(account["days"].as_array().unwrap().len(), 1);
    assert_eq!(account["days"][0]["day"], "2026-11-23");
    assert_eq!(account["days"][0]["messages"], sum("delivered"));
    assert_eq!(account["days"][0]["bytes"], sum("bytes"));
    assert_eq!(account["runs"]["total"], runs.len());
    assert_eq!(account["senders"]["read"], 3);
    let page = page(&desk, 1);
    assert!(page.contains("<title>2026-11-23: 3 messages</title>"));
    assert!(page.contains("<dt>messages</dt><dd>3</dd>"));
}

#[test]
fn text_has_all_sections() {
    let desk = Desk::with(3, "keep = \"30d\"\nattempts = 1", |server| {
        server.fault(on("RETR").uid("uid-2").refuse("-ERR no"))
    });
    desk.fetch(65);
    let output = desk.at(2, &["report", "--last", "7d"]).run();
    output.assert_code(0);
    insta::assert_snapshot!(output.stdout, @"
    Mail from 2026-11-19 to 2026-11-25 (7 days)

    Volume
      work   2 messages   802 B   last run 2026-11-23 00:00, 2 new, 802 B, 1 message failed; 1 quarantined (`pouch ledger list work`)

    Failed runs, of 1
      1 run   a message was quarantined, or the state could not be read   last 2026-11-23 00:00

    Quarantine
      work 2: 127.0.0.1 refused to send message 2; 127.0.0.1 said: -ERR no; next try 2026-11-24
          from Ben, subject: Message 2

    Retention: what will be deleted from the servers, by the last listing
             on the server   next run   7 days   30 days   60 days   left then
      work               3          0        0         2         2           1   keep = 30d; listed 2026-11-23 00:00

    Largest senders, by messages
      2 messages   802 B   ben@example.org

    Largest senders, by size
      2 messages   802 B   ben@example.org
    ");
}

#[test]
fn deletions_are_forecast_as_the_plan_carries_them_out() {
    let desk = Desk::with(4, "keep = \"3d\"", |server| server);
    desk.fetch(0);
    let retention =
        |days| json(&desk, days, &["report", "--json"])["accounts"][0]["retention"].clone();
    let first = retention(0);
    assert_eq!(first["policy"], "keep = 3d");
    assert_eq!(first["on_server"]["messages"], 4);
    assert_eq!(first["next_run"]["messages"], 0);
    assert_eq!(first["days"][0]["day"], "2026-11-26");
    assert_eq!(first["days"][0]["messages"], 4);
    assert_eq!(first["listed"], NOW);
    assert_eq!(retention(3)["next_run"]["messages"], 4);
    let plan = json(&desk, 3, &["plan", "--json"]);
    let messages = plan["accounts"][0]["messages"].as_array().unwrap();
    assert!(messages.iter().all(|message| message["action"] == "delete"));
    desk.fetch_at(3, 0);
    assert_eq!(retention(3)["on_server"]["messages"], 0);
}

#[test]
fn failed_runs_are_counted_by_exit_code() {
    let desk = Desk::with(1, "retries = 0\nauth = \"user\"", |server| {
        server.fault(on("PASS").refuse("-ERR [IN-USE] locked"))
    });
    desk.fetch(75);
    let report = json(&desk, 0, &["report", "--json"]);
    assert_eq!(report["accounts"][0]["health"], "attention");
    desk.fetch_at(1, 75);
    let report = json(&desk, 1, &["report", "--json"]);
    let account = &report["accounts"][0];
    assert_eq!(account["health"], "failing");
    let runs = &account["runs"];
    assert_eq!(runs["exits"][0]["exit"], 75);
    assert_eq!(runs["exits"][0]["runs"], 2);
    assert_eq!(runs["exits"][0]["last"], NOW + DAY);
    assert_eq!(runs["days"][0]["transient"], 1);
    assert!(page(&desk, 1).contains("transient failure"));
}

/// Subjects, senders and names of accounts are chosen by others.
#[test]
fn foreign_text_is_escaped() {
    let subject = "</title><script>alert(1)</script> \"&amp;' \u{202e}gnp.exe \u{1b}[2J";
    let message = format!(
        "From: <img src=x onerror=alert(2)> <\"<b>\"@example.org>\r\nSubject: {subject}\r\n\r\nx\r\n"
    );
    let desk = Desk::with(
        1,
        "attempts = 1\nnotice = false\n[[account.work.rule]]\nfrom = \"nobody\"\naction = \"skip\"\n",
        |server| {
            server
                .messages([("uid-7", message.clone()), ("uid-8", message)])
                .fault(on("RETR").uid("uid-7").refuse("-ERR <script>no</script>"))
        },
    );
    desk.fetch(65);
    let page = page(&desk, 0);
    assert!(
        page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{page}"
    );
    assert!(page.contains("&lt;script&gt;no&lt;/script&gt;"));
    for character in ['\u{202e}', '\u{1b}'] {
        assert!(!page.contains(character));
    }
    let text = desk.at(0, &["report"]).run();
    assert!(!text.stdout.contains('\u{202e}') && !text.stdout.contains('\u{1b}'));
}

#[test]
fn page_is_written_at_once_and_private() {
    let desk = Desk::with(1, "", |server| server);
    desk.fetch(0);
    let path = desk.home.path().join("report.html");
    fs::write(&path, "before").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let output = desk.pouch(&["report", "--html", "report.html"]).run();
    output.assert_code(0);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    assert_self_contained(&fs::read_to_string(&path).unwrap());
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let names = fs::read_dir(desk.home.path()).unwrap();
    let drafts = names.filter(|name| {
        let name = name.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with(".pouch-")
    });
    assert_eq!(drafts.count(), 0);
}

#[test]
fn path_that_is_not_a_file_is_an_error() {
    let desk = Desk::with(1, "", |server| server);
    fs::create_dir(desk.home.path().join("directory")).unwrap();
    for (path, fact) in [
        ("directory", "is a directory"),
        ("missing/report.html", "no such file or directory"),
        ("/dev/null", "not a regular file"),
    ] {
        let output = desk.pouch(&["report", "--html", path]).run();
        output.assert_code(73);
        assert!(
            output.stderr.to_lowercase().contains(fact),
            "{}",
            output.stderr
        );
        output.assert_stderr("hint: name another file, or `-` for standard output");
        assert_eq!(output.stdout, "");
    }
}

#[test]
fn mailbox_that_was_never_fetched_has_an_empty_report() {
    let desk = Desk::with(1, "", |server| server);
    let page = page(&desk, 0);
    for sentence in [
        "No mail was delivered in this period.",
        "No run is recorded in this period.",
        "No message is quarantined.",
        "No mailbox was listed yet.",
        "No senders are known.",
    ] {
        assert!(page.contains(sentence), "{sentence}");
    }
    assert!(!desk.home.state().exists());
}

#[test]
fn report_changes_nothing_while_the_account_is_fetched() {
    let desk = Desk::with(2, "timeout = \"30s\"", |server| {
        server.fault(on("UIDL").silence())
    });
    let mut child = desk.pouch(&["fetch"]).spawn();
    desk.server.wait_for(|log| log.count("UIDL") == 1);
    let report = json(&desk, 0, &["report", "--json"]);
    let account = &report["accounts"][0];
    assert_eq!(account["condition"], "running since 2026-11-23 00:00");
    assert_eq!(account["runs"]["total"], 0);
    child.signal(9);
    child.wait();
}

#[test]
fn account_whose_ledger_cannot_be_read_is_in_the_report() {
    let desk = Desk::with(1, "", |server| server);
    desk.fetch(0);
    fs::write(
        desk.ledger(),
        "this is no database, but long enough for a header".repeat(9),
    )
    .unwrap();
    let output = desk.pouch(&["report", "--html", "report.html"]).run();
    output.assert_code(65);
    output.assert_stderr("work: ");
    let page = fs::read_to_string(desk.home.path().join("report.html")).unwrap();
    assert_self_contained(&page);
    assert!(page.contains("<dd>1</dd>") && page.contains("failing"));
}

#[test]
fn period_has_limits() {
    let home = Home::new();
    for (period, hint) in [
        ("0d", "the shortest period is 1d"),
        ("11y", "the longest period is 10y"),
        ("6m", "for months, write 6mo"),
    ] {
        home.pouch(&["report", "--last", period])
            .run()
            .assert_code(64)
            .assert_stderr(hint);
    }
}
