//! The words of other fetchers, for users who come from them.

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
    (&["useapop", "usecrammd5"], "use `auth`"),
    (
        &["passwordeval"],
        "use `password-command`, a list: [\"pass\", \"show\", \"mail/work\"]",
    ),
    (
        &["folder", "mailbox", "delivery", "destination", "path"],
        "use one of `maildir`, `mbox`, `pipe` and `lmtp`",
    ),
    (
        &["mda", "command", "arguments"],
        "use `pipe`, a list: [\"procmail\", \"-d\", \"ann\"]",
    ),
    (
        &["smtphost", "smtpname", "smtpaddress"],
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
];

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
