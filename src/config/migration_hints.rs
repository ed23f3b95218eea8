//! The words and the config files of other fetchers, for users who come from them.

/// Words of fetchmail, getmail, mpop and fdm, letters and digits only, and what does the same in
/// pouch.
const COUNTERPARTS: &[(&[&str], &str)] = &[
    (&["username", "login"], "use `user`"),
    (&["server", "hostname", "poll", "via"], "use `host`"),
    (
        &["protocol", "proto", "type"],
        "remove it: pouch always uses POP3",
    ),
    (
        &["ssl", "sslproto", "sslversion", "starttls", "tlsstarttls"],
        "use `tls`: \"implicit\", the default, or \"starttls\"",
    ),
    (
        &[
            "sslcertck",
            "tlscertcheck",
            "verify",
            "verifycertificate",
            "verifycertificates",
            "noverify",
            "insecure",
        ],
        "certificates are always checked; for a self-signed one, use `tls-ca-file` or `tls-pin`",
    ),
    (
        &["sslcertfile", "sslcertpath", "tlstrustfile", "cacerts"],
        "use `tls-ca-file`, a PEM file",
    ),
    (
        &[
            "sslfingerprint",
            "sslfingerprints",
            "tlsfingerprint",
            "fingerprint",
        ],
        "use `tls-pin`, with the SHA-256 fingerprint that `pouch check` shows",
    ),
    (
        &["sslcert", "certfile", "tlscertfile"],
        "use `tls-client-cert`",
    ),
    (&["sslkey", "keyfile", "tlskeyfile"], "use `tls-client-key`"),
    (
        &["useapop", "usecrammd5"],
        "use `auth`, with \"apop\" or \"cram-md5\"",
    ),
    (
        &["passwordeval"],
        "use `password-command`, a list: [\"pass\", \"show\", \"mail/work\"]; or `token-command`, \
         if it prints an OAuth 2.0 token",
    ),
    (
        &["folder", "delivery", "destination", "path"],
        "use one of `maildir`, `mbox`, `pipe` and `lmtp`",
    ),
    (
        &["mda", "command", "arguments"],
        "use `pipe`, a list: [\"procmail\", \"-t\"]",
    ),
    (
        &["smtphost", "smtpname", "smtpaddress", "plugout"],
        "use `lmtp`, or `pipe` to a program such as sendmail",
    ),
    (
        &["nokeep", "delete", "flush"],
        "use `keep = \"none\"`, which deletes mail from the server once it is safe on disk",
    ),
    (
        &["deleteafter"],
        "use `keep` with a number of days, such as \"30d\"",
    ),
    (
        &[
            "fetchall",
            "nofetchall",
            "readall",
            "newonly",
            "onlynew",
            "uidl",
            "nouidl",
            "uidlsfile",
            "cache",
            "idfile",
        ],
        "remove it: the ledger records what was fetched; see also `pouch ledger catchup`",
    ),
    (
        &["maxmessagesize", "skipsize", "maximumsize"],
        "use `max-size`: larger messages stay on the server",
    ),
    (
        &["killsize", "deleteoversized"],
        "use a `rule`: size = \">2MB\", action = \"delete\"",
    ),
    (
        &["fetchlimit", "batchlimit", "maxmessagespersession"],
        "use `limit`",
    ),
    (
        &["daemon", "interval", "pollinterval"],
        "use a systemd timer, cron, or `pouch fetch --every 5m`",
    ),
    (
        &["deliveredto", "received", "receivedheader"],
        "use `add-headers`",
    ),
    (
        &["envelope", "enveloperecipient", "localdomains", "aka"],
        "use `multidrop`, a table",
    ),
    (&["disabled", "skip"], "use `enabled = false`"),
    (&["pipelining"], "use `request-ahead`"),
    (
        &["postconnect"],
        "use `after`, which is run once if anything was delivered",
    ),
    (
        &["preconnect", "precommand"],
        "use `before`, a list: [\"nmcli\", \"con\", \"up\", \"vpn\"]",
    ),
    (
        &["plugin", "tunnel", "proxycommand", "socket"],
        "use `connect-command`, a list: [\"ssh\", \"-W\", \"%h:%p\", \"gate\"]",
    ),
    (
        &[
            "proxyhost",
            "proxyport",
            "proxytype",
            "proxyurl",
            "socksproxy",
            "socks",
            "socks5",
            "httpproxy",
            "httpsproxy",
        ],
        "use `proxy`: \"socks5://host:port\" or \"http://host:port\"",
    ),
    (
        &["proxyuser", "proxypassword", "proxyauth"],
        "write the user into `proxy`, \"socks5://user@host:port\", and set \
         `proxy-password-command`",
    ),
    (
        &[
            "sourceip",
            "localaddress",
            "bindaddress",
            "interface",
            "monitor",
        ],
        "remove it: the system chooses the local address and the interface",
    ),
    (
        &["netrc", "usenetrc", "netrcfile", "nonetrc"],
        "pouch does not read .netrc: use `password-command` or `password-file`",
    ),
    (
        &[
            "oauth2",
            "xoauth2",
            "usexoauth2",
            "useoauth2",
            "useoauth",
            "tokenmgr",
            "oauthbearer",
        ],
        "set `oauth`, such as oauth = \"microsoft\", and run `pouch login`; or `token-command`, a \
         list: [\"oama\", \"access\", \"ann@example.org\"]",
    ),
    (
        &[
            "syslog",
            "nosyslog",
            "logfile",
            "log",
            "messagelog",
            "messagelogsyslog",
            "messagelogverbose",
        ],
        "remove it: pouch writes to standard error, which systemd records; from cron, \
         append 2>>FILE",
    ),
    (
        &["verbose", "loglevel", "quiet"],
        "remove it: use the option -v or -q of `pouch`",
    ),
    (
        &["idle", "imapidle", "push"],
        "POP3 cannot announce new mail: use `pouch fetch --every 1m`, or a systemd timer",
    ),
    (
        &["qvirtual", "virtual", "vdomain"],
        "use `multidrop`, a table; its patterns match the prefix, too",
    ),
    (
        &["sslcommonname", "tlshostoverride", "tlshostname", "sni"],
        "use `tls-server-name`",
    ),
    (
        &[
            "rewrite",
            "mimedecode",
            "pass8bits",
            "stripcr",
            "forcecr",
            "dropstatus",
            "dropdelivered",
        ],
        "remove it: messages are delivered unchanged; use `filter` to change them",
    ),
    (
        &[
            "bouncemail",
            "spambounce",
            "softbounce",
            "postmaster",
            "antispam",
        ],
        "remove it: pouch sends no bounces; `notice` reports a message that cannot be delivered",
    ),
    (
        &["tracepolls", "smtpaddressheader"],
        "use `add-headers = [\"received\"]`, which names the server and the account",
    ),
    (
        &[
            "expunge",
            "warnings",
            "fetchsizelimit",
            "fastuidl",
            "checkalias",
            "dns",
            "nodns",
            "envskip",
            "invisible",
            "spamresponse",
            "purgeafter",
            "lockfile",
            "locktypes",
            "pidfile",
            "background",
        ],
        "remove it: pouch needs no such setting",
    ),
    (
        &[
            "tlspriorities",
            "tlsciphers",
            "sslciphers",
            "tlsminproto",
            "tlsmindhprimebits",
            "tlscrlfile",
        ],
        "remove it: the system's configuration of OpenSSL decides on versions and ciphers",
    ),
    (
        &["mailboxes", "imap", "imapfolder", "folders"],
        "remove it: with POP3 there is only one mailbox",
    ),
    (
        &["match", "unmatchedmail"],
        "use a `rule`; mail without a matching one goes to the account's destination",
    ),
    (
        &["users", "defaultuser", "runas"],
        "remove it: run pouch as the user who gets the mail",
    ),
    (
        &["deletebiggerthan"],
        "use a `rule`: size = \">2MB\", action = \"delete\"",
    ),
    (
        &["maxbytespersession"],
        "use `limit`, a number of messages per run",
    ),
];

/// The programs whose config files are recognised, and the names of those files.
const FOREIGN_FILES: [(&str, &[&str]); 4] = [
    ("fetchmail", &[".fetchmailrc", "fetchmailrc"]),
    ("getmail", &["getmailrc", ".getmailrc"]),
    ("mpop", &[".mpoprc", "mpoprc"]),
    ("fdm", &[".fdm.conf", "fdm.conf"]),
];

/// Returns the program that a file of this name with this text configures, if that is another
/// fetcher. Only a file that is not a valid config of pouch is to be tested.
pub(super) fn foreign_program(file_name: &str, text: &str) -> Option<&'static str> {
    let by_name = FOREIGN_FILES
        .iter()
        .find(|(_, names)| names.contains(&file_name));
    by_name
        .map(|(program, _)| *program)
        .or_else(|| text.lines().find_map(program_of_line))
}

/// Returns the program in whose config a line like this is written.
fn program_of_line(line: &str) -> Option<&'static str> {
    let line = line.trim();
    let mut words = line.split_whitespace();
    let (first, second) = (words.next()?, words.next());
    if line == "[retriever]" {
        return Some("getmail");
    }
    match (first, second?) {
        (_, second) if second.starts_with('=') => None,
        ("poll" | "set", _) => Some("fetchmail"),
        ("match", _) => Some("fdm"),
        ("account" | "action", second) if second.starts_with('"') => Some("fdm"),
        ("account", _) => Some("mpop"),
        _ => None,
    }
}

/// Returns what does the same in pouch as `key` does in another fetcher.
pub(super) fn counterpart(key: &str) -> Option<&'static str> {
    let plain: String = key
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_lowercase();
    COUNTERPARTS
        .iter()
        .find(|(words, _)| words.contains(&plain.as_str()))
        .map(|(_, here)| *here)
}

#[cfg(test)]
mod tests {
    use super::{super::schema::Scope, *};

    #[test]
    fn words_of_other_fetchers_lead_to_keys() {
        assert_eq!(counterpart("username"), Some("use `user`"));
        assert_eq!(counterpart("tls_trust_file"), counterpart("sslcertfile"));
        assert_eq!(counterpart("colour"), None);
    }

    #[test]
    fn configs_of_other_fetchers_are_recognised() {
        for (name, text, program) in [
            (".fetchmailrc", "", Some("fetchmail")),
            (
                "x",
                "# x\npoll pop.example.org protocol pop3\n",
                Some("fetchmail"),
            ),
            ("x", "set daemon 300\n", Some("fetchmail")),
            (
                "x",
                "[retriever]\ntype = SimplePOP3SSLRetriever\n",
                Some("getmail"),
            ),
            (
                "x",
                "defaults\ntls on\naccount work\nhost a\n",
                Some("mpop"),
            ),
            ("x", "account \"work\" pop3s server \"a\"\n", Some("fdm")),
            ("x", "[account.work]\nhost = a\nset = 1\n", None),
        ] {
            assert_eq!(foreign_program(name, text), program, "{text}");
        }
    }

    #[test]
    fn hints_name_keys_that_exist() {
        for (words, here) in COUNTERPARTS {
            let named = here
                .split('`')
                .skip(1)
                .step_by(2)
                .map(|named| named.split(' ').next().unwrap());
            for named in named.filter(|named| *named != "pouch") {
                assert!(
                    Scope::Account.names().any(|key| key == named)
                        || ["rule", "multidrop"].contains(&named),
                    "{named}"
                );
            }
            let own: Vec<_> = Scope::Account
                .names()
                .map(|key| key.replace('-', ""))
                .collect();
            assert!(
                words.iter().all(|word| !own.iter().any(|key| key == word)),
                "{words:?}"
            );
        }
    }
}
