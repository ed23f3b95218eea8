//! Replaces what differs from run to run, so that complete output can be a snapshot.

use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};

/// Regular expressions of variable text, each with its replacement. They are applied in this order.
const VARIABLE: &[(&str, &str)] = &[
    // Temporary directories.
    (r"(?:/[\w.+-]+)*/pouch-home-\w{6}", "HOME"),
    (r"(?:/[\w.+-]+)*/pouch-server-\w{6}", "SERVER"),
    (r"(?:/[\w.+-]+)+/(?:debug|release)/pouch\b", "pouch"),
    (r"\bpouch \d+\.\d+\.\d+\b", "pouch VERSION"),
    (r"\bpid \d+", "pid PID"),
    // Ports of scripted servers.
    (
        r"((?:127\.0\.0\.1|localhost|\[::1\]):)\d{4,5}\b",
        "${1}PORT",
    ),
    (r"\bport \d{4,5}\b", "port PORT"),
    (r": port = \d{5}\b", ": port = PORT"),
    (r"^(port +=) \d{5}\b", "$1 PORT "),
    (
        r#"("source": "~/.config/pouch/config.toml:3",\s+"value": )\d{4,5}\b"#,
        "${1}PORT",
    ),
    // Fingerprints of certificates, which are created for each server.
    (r"\b[0-9a-f]{64}\b", "SHA256"),
    // Identifiers of ledgers, and the names of files that contain them.
    (r"/mailboxes/[^/\s]+\.db\b", "/mailboxes/LEDGER.db"),
    (r"L[0-9a-f]{12}\.[\w-]+(?:\.[\w-]+)*", "L-LEDGER.HOST"),
    // Addresses at the machine that runs the tests.
    (r"\b(pouch|pouch\.[\d.]+|work)@[\w.-]+>", "$1@HOST>"),
    // the file system of the temporary directory
    (
        r"^  ledger   warning (\S+), on (?:tmpfs|overlayfs): .*$",
        "  ledger   ok    $1",
    ),
    (
        r#""warning": true,\s+"what": "([^",]+), on (?:tmpfs|overlayfs): [^"]*""#,
        r#""what": "$1""#,
    ),
    // Kernels differ in what a sandbox can restrict.
    (
        r"^  sandbox  (?:ok    limited to.*|off   the kernel.*)$",
        "  sandbox  (as the kernel allows)",
    ),
    (
        r#""in_force": (?:true|false),\s+"what": "(?:limited to|the kernel)[^"]*""#,
        "\"in_force\": (as the kernel allows)",
    ),
    // Free disk space and elapsed times.
    (r"\b[\d.]+ [KMGT]?B free\b", "N free"),
    (r"\b\d+ ms\b", "N ms"),
    (r#", \d+\.\d s("?)$"#, ", N s$1"),
    // The messages of OpenSSL 3.5 and musl differ from those of OpenSSL 3.0 and glibc.
    (
        "not yet valid or the system clock is incorrect",
        "not yet valid",
    ),
    (
        "resolver: Name does not resolve",
        "resolver: Name or service not known",
    ),
    (
        "resolver: Try again",
        "resolver: Temporary failure in name resolution",
    ),
];

/// Returns the text with its variable parts replaced by words in capitals.
pub fn redact(text: &str) -> String {
    static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let compile = |(pattern, by): &(&str, &'static str)| {
            let pattern = RegexBuilder::new(pattern).multi_line(true).build();
            (pattern.expect("a regular expression"), *by)
        };
        VARIABLE.iter().map(compile).collect()
    });
    let mut text = text.to_owned();
    for (pattern, by) in RULES.iter() {
        text = pattern.replace_all(&text, *by).into_owned();
    }
    text
}

mod tests {
    use super::*;

    #[test]
    fn variable_parts_are_replaced_and_the_rest_is_kept() {
        insta::assert_snapshot!(redact(
            "/var/tmp/pouch-home-aB3xYz/Mail: 127.0.0.1:43215, localhost port 995 in 12 ms, pid 77\n\
             file 1795392000.R1L022de390a0c0.vm\n\
             secret   ok    ~/password, 0.3 s\n\
             64.5 GB free in /tmp/pouch-server-abcdef/run"
        ), @"
        HOME/Mail: 127.0.0.1:PORT, localhost port 995 in N ms, pid PID
        file 1795392000.R1L-LEDGER.HOST
        secret   ok    ~/password, N s
        N free in SERVER/run
        ");
    }
}
