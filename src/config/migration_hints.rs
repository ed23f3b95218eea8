//! What other fetchers call things, for those who come from them.

/// Words of fetchmail, getmail, mpop and fdm, as letters and digits alone, and what does the same
/// here.
const COUNTERPARTS: &[(&[&str], &str)] = &[
    (&["username", "login"], "here that is `user`"),
    (
        &["server", "hostname", "poll", "via"],
        "here that is `host`",
    ),
    (
        &["protocol", "proto", "type"],
        "leave it out: pouch speaks POP3 and nothing else",
    ),
    (
        &["ssl", "sslproto", "sslversion", "starttls", "tlsstarttls"],
        "here that is `tls`: \"implicit\", which it is by itself, or \"starttls\"",
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
        "certificates are always checked; one that nobody vouches for is named by `tls-ca-file` or `tls-pin`",
    ),
    (
        &["sslcertfile", "sslcertpath", "tlstrustfile", "cacerts"],
        "here that is `tls-ca-file`, a PEM file",
    ),
    (
        &[
            "sslfingerprint",
            "sslfingerprints",
            "tlsfingerprint",
            "fingerprint",
        ],
        "here that is `tls-pin`, with the SHA-256 fingerprint that `pouch check` shows",
    ),
    (
        &["sslcert", "certfile", "tlscertfile"],
        "here that is `tls-client-cert`",
    ),
    (
        &["sslkey", "keyfile", "tlskeyfile"],
        "here that is `tls-client-key`",
    ),
    (&["useapop", "usecrammd5"], "here that is `auth`"),
    (
        &["passwordeval"],
        "here that is `password-command`, a list: [\"pass\", \"show\", \"mail/work\"]",
    ),
    (
        &["folder", "mailbox", "delivery", "destination", "path"],
        "here that is one of `maildir`, `mbox`, `pipe` and `lmtp`",
    ),
    (
        &["mda", "command", "arguments"],
        "here that is `pipe`, a list: [\"procmail\", \"-d\", \"ann\"]",
    ),
    (
        &["smtphost", "smtpname", "smtpaddress"],
        "here that is `lmtp`, or `pipe` to a program such as sendmail",
    ),
    (
        &["nokeep", "delete", "flush"],
        "here that is `keep = \"none\"`: deleted once it is safe on disk",
    ),
    (
        &["deleteafter"],
        "here that is `keep`, with a time such as \"30d\"",
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
        "leave it out: the ledger knows what was fetched, and `pouch ledger catchup` sets aside what you have already",
    ),
    (
        &["maxmessagesize", "skipsize", "maximumsize"],
        "here that is `max-size`: larger ones stay on the server",
    ),
    (
        &["killsize", "deleteoversized"],
        "a `rule` does that: size = \">2MB\", action = \"delete\"",
    ),
    (
        &["fetchlimit", "batchlimit", "maxmessagespersession"],
        "here that is `limit`",
    ),
    (
        &["daemon", "interval", "pollinterval"],
        "a timer of systemd, cron, or `pouch fetch --every 5m` does that",
    ),
    (
        &["deliveredto", "received", "receivedheader"],
        "here that is `add-headers`",
    ),
    (
        &["envelope", "enveloperecipient", "localdomains", "aka"],
        "here that is `multidrop`, a table",
    ),
    (&["disabled", "skip"], "here that is `enabled = false`"),
    (&["pipelining"], "here that is `request-ahead`"),
    (
        &["postconnect"],
        "here that is `after`, run once if anything was delivered",
    ),
];

/// What does here what `key` does elsewhere.
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
    use super::{super::file::KEYS, *};

    #[test]
    fn words_of_others_lead_to_keys() {
        assert_eq!(counterpart("username"), Some("here that is `user`"));
        assert_eq!(counterpart("tls_trust_file"), counterpart("sslcertfile"));
        assert_eq!(counterpart("colour"), None);
    }

    #[test]
    fn what_is_named_exists_and_is_no_word_of_others() {
        for (words, here) in COUNTERPARTS {
            let named = here
                .split('`')
                .skip(1)
                .step_by(2)
                .map(|named| named.split(' ').next().unwrap());
            for named in named.filter(|named| *named != "pouch") {
                assert!(
                    KEYS.contains(&named) || ["rule", "multidrop"].contains(&named),
                    "{named}"
                );
            }
            let own: Vec<_> = KEYS.iter().map(|key| key.replace('-', "")).collect();
            assert!(
                words.iter().all(|word| !own.iter().any(|key| key == word)),
                "{words:?}"
            );
        }
    }
}
