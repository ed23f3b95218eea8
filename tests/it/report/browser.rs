//! The page in a browser: its layout at two widths, its contrast in both colour schemes, and the
//! absence of requests.

use std::{fs, time::Duration};

use serde::Deserialize;

use super::page;
use crate::{
    fixture::Desk,
    server::{corpus, on},
};

/// The widths of the window in pixels: on a phone and on a desktop.
const WIDTHS: [u64; 2] = [360, 1280];

/// The report of `measure.js`.
#[derive(Debug, Deserialize)]
struct Measured {
    /// The width of the window.
    window: u64,
    /// The width of the content.
    width: u64,
    /// Elements that extend beyond the window.
    wide: Vec<String>,
    /// Elements whose text has less contrast than 4.5 to 1 (WCAG 2.2, 1.4.3).
    pale: Vec<String>,
    /// The number of bars in charts.
    bars: u64,
    /// Whether the background is dark.
    dark: bool,
    /// The number of elements with text.
    texts: u64,
    /// The number of requests.
    requests: u64,
    /// The number of requests that the page's policy prevented.
    blocked: u64,
    /// The number of scripts, including `measure.js`.
    scripts: u64,
}

/// Runs headless Chromium. Returns its standard output.
#[track_caller]
fn chromium(desk: &Desk, options: &[&str], file: &str) -> String {
    let profile = format!("--user-data-dir={}", desk.home.join("chromium").display());
    let url = format!("file://{}", desk.home.join(file).display());
    let usual = [
        "--headless",
        // the page is trusted, and root cannot use the sandbox
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        &profile,
    ];
    let args = [&usual[..], options, &[&url]].concat();
    let run = desk.home.system_command("chromium", &args);
    let output = run.within(Duration::from_mins(2)).run();
    output.assert_code(0);
    output.stdout
}

/// Shows the page in frames of the two widths, and measures it.
fn measure(desk: &Desk, page: &str, dark: bool) -> Vec<Measured> {
    let script = include_str!("measure.js");
    let policy = "default-src 'none'; script-src 'unsafe-inline'";
    let page = page.replace("default-src 'none'", policy).replacen(
        "<title>",
        &format!("<script>{script}</script><title>"),
        1,
    );
    desk.home.write("page.html", page, 0o600);
    let frames = WIDTHS.map(|width| format!("<iframe src=page.html width={width}></iframe>"));
    let around = format!(
        "<!DOCTYPE html><script>addEventListener('message', event => \
         document.body.append('\\nmeasured ', JSON.stringify(event.data), '\\n'))</script>{}",
        frames.concat()
    );
    desk.home.write("around.html", around, 0o600);
    let scheme = u8::from(!dark);
    let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
    let shown = chromium(desk, &["--dump-dom", &scheme], "around.html");
    let lines = shown
        .lines()
        .filter_map(|line| line.strip_prefix("measured "));
    let unescaped = |line: &str| {
        line.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&")
    };
    let measured = lines.map(|line| serde_json::from_str(&unescaped(line)).unwrap());
    let measured: Vec<Measured> = measured.collect();
    assert_eq!(measured.len(), WIDTHS.len(), "{shown}");
    measured
}

/// Asserts that the page fits into both windows, is readable in both colour schemes and requests
/// nothing. Returns the measurements.
#[track_caller]
fn assert_shown(desk: &Desk, page: &str) -> Vec<Measured> {
    let measured = [false, true].map(|dark| {
        let measured = measure(desk, page, dark);
        assert!(measured.iter().all(|it| it.dark == dark), "{measured:?}");
        measured
    });
    let measured: Vec<_> = measured.into_iter().flatten().collect();
    for it in &measured {
        assert!(WIDTHS.contains(&it.window), "{it:?}");
        assert!(it.width <= it.window && it.wide.is_empty(), "{it:?}");
        assert!(it.pale.is_empty(), "{it:?}");
        assert_eq!((it.requests, it.blocked, it.scripts), (0, 0, 1), "{it:?}");
    }
    measured
}

#[test]
fn page_without_mail_is_shown() {
    let desk = Desk::with(0, "", |server| server);
    for it in assert_shown(&desk, &page(&desk, 0)) {
        assert_eq!(it.bars, 0);
        assert!(it.texts > 20, "{it:?}");
    }
    desk.fetch(0);
    assert_shown(&desk, &page(&desk, 0));
}

#[test]
fn page_with_mail_failures_and_foreign_text_is_shown() {
    let text = "</title><script>alert(1)</script><img src=http://127.0.0.1/x> &amp; \"'".repeat(3);
    let foreign = format!("From: \"{text}\" <x@example.org>\r\nSubject: {text}\r\n\r\nx\r\n");
    let rule = "[[account.work.rule]]\nfrom = \"nobody\"\naction = \"skip\"\n";
    let lines = format!("attempts = 1\nnotice = false\nkeep = \"30d\"\nretries = 0\n{rule}");
    let desk = Desk::with(4, &lines, |server| {
        server
            .messages([("uid-7", foreign.clone()), ("uid-8", foreign)])
            .fault(on("RETR").uid("uid-7").refuse("-ERR no"))
    });
    let config = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    let (head, table) = config.split_once("[account.work]").unwrap();
    let (table, _) = table.split_once("[[").unwrap();
    let name = format!("<b>&'{}", "n".repeat(200));
    let others: Vec<_> = (0..50)
        .map(|n| {
            let table = table.replace("\"ann\"", &format!("\"ann{n}\""));
            format!("[account.\"{n:02} {}\"]{table}", &name[..name.len() - n])
        })
        .collect();
    desk.home.config(&format!(
        "{head}[account.work]{table}{rule}{}",
        others.concat()
    ));
    desk.pouch(&["fetch", "work"]).run().assert_code(65);
    desk.server.add("uid-9", corpus::message(9));
    desk.at(1, &["fetch", "work"]).run().assert_code(75);
    desk.server.fault(on("AUTH").refuse("-ERR [AUTH] no"));
    desk.at(2, &["fetch", "work"]).run().assert_code(77);
    let page = page(&desk, 3);
    for it in assert_shown(&desk, &page) {
        assert!(it.bars > 4 && it.texts > 200, "{it:?}");
    }
    // a screenshot of an empty window of this size takes 10 KB
    desk.home.write("page.html", page, 0o600);
    let picture = desk.home.join("page.png");
    let screenshot = format!("--screenshot={}", picture.display());
    chromium(
        &desk,
        &["--window-size=1280,1600", &screenshot],
        "page.html",
    );
    let picture = fs::read(picture).unwrap();
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 40_000);
    assert_eq!(picture[16..24], [0, 0, 5, 0, 0, 0, 6, 64]);
}
