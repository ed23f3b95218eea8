//! getmail 4, 5 and 6: one account in each file of `~/.getmail` or `~/.config/getmail`.

mod destination;
mod tuple;

use super::{
    account::{Account, Encryption, array},
    ini::{Entry, Ini, Section, truth},
    model::{Context, Imported},
    source::Source,
};
use destination::{destination, filters};
use tuple::tuple;

/// Parses a getmailrc. A file without a section `[retriever]` has no account.
pub(super) fn parse(source: &Source, context: &Context<'_>, imported: &mut Imported) {
    let ini = Ini::parse(&source.text, true);
    for line in &ini.odd_lines {
        imported.problem(context, (*line, 1), "neither a section nor `KEY = VALUE`");
    }
    let Some(retriever) = ini.section("retriever") else {
        imported.problem(context, (1, 1), "no section `[retriever]`");
        return;
    };
    let mut account = Account::new(&name(retriever, context), retriever.line);
    account.host = retriever.text("server").map(str::to_owned);
    account.user = retriever.text("username").map(str::to_owned);
    let kind = retrieval(&mut account, retriever);
    if !account.is_unusable {
        login(&mut account, retriever, source);
        tls(&mut account, retriever, kind);
        destination(&mut account, &ini);
        multidrop(&mut account, retriever);
        filters(&mut account, &ini);
        options(&mut account, &ini);
        state(&mut account, context, kind);
    }
    unknown(&mut account, retriever);
    imported.accounts.push(account);
}

/// Reports whether the recipients of a multidrop retriever are taken over.
fn multidrop(account: &mut Account, retriever: &Section) {
    let Some(entry) = retriever.entry("type") else {
        return;
    };
    let setting = format!("type {}", entry.value);
    if !account.multidrop.is_empty() {
        account.taken(entry.line, &setting, "the table `multidrop`");
    } else if setting.contains("Multidrop") {
        let advice = "for a destination by recipient, write a table `multidrop`";
        account.left_out(entry.line, &setting, advice);
    }
}

/// Returns a name for the account: that of the file if it is not the usual one.
fn name(retriever: &Section, context: &Context<'_>) -> String {
    let file = context
        .path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let stem = file
        .strip_prefix("getmailrc")
        .unwrap_or(&file)
        .trim_start_matches(['-', '.', '_']);
    let stem = stem.strip_suffix(".rc").unwrap_or(stem);
    if stem.is_empty() {
        retriever.text("server").unwrap_or("getmail").to_owned()
    } else {
        stem.to_owned()
    }
}

/// Returns whether the retriever uses TLS from the first byte.
fn retrieval(account: &mut Account, retriever: &Section) -> bool {
    let (kind, at) = match retriever.entry("type") {
        Some(entry) => (entry.value.as_str(), entry.line),
        None => ("", retriever.line),
    };
    let setting = format!("type {kind}");
    let is_tls = kind.contains("SSL");
    match kind.replace("SSL", "").as_str() {
        "BrokenUIDLPOP3Retriever" => {
            account.take(at, &setting, "quirks", array(&["no-uidl"]));
        }
        // `multidrop` reports it
        "SimplePOP3Retriever" | "MultidropPOP3Retriever" | "MultidropSDPSRetriever" => {}
        _ => {
            account.is_unusable = true;
            account.left_out(at, &setting, "pouch fetches by POP3 only");
        }
    }
    is_tls
}

fn login(account: &mut Account, retriever: &Section, source: &Source) {
    let at = |key: &str| retriever.entry(key).map_or(0, |entry| entry.line);
    if let Some(port) = retriever.entry("port") {
        account.port(port.line, "port", &port.value);
    }
    if let Some(timeout) = retriever.entry("timeout") {
        match timeout.value.parse() {
            Ok(seconds) if seconds > 0 => account.timeout(timeout.line, "timeout", seconds),
            _ => account.left_out(timeout.line, "timeout", "set `timeout`"),
        }
    }
    let token = retriever.flag("use_xoauth2") == Some(true);
    if let Some(entry) = retriever.entry("password_command") {
        let key = if token {
            "token-command"
        } else {
            "password-command"
        };
        if let Some(words) = tuple(&entry.value).filter(|words| !words.is_empty()) {
            account.command(entry.line, "password_command", key, &words);
        } else {
            let advice = format!("not a tuple of strings; set `{key}`");
            account.left_out(entry.line, "password_command", advice);
        }
    } else if let Some(password) = retriever.text("password") {
        account.secret(source.bytes(password));
    } else {
        let advice = "set `password-command`, for instance \
                      [\"secret-tool\", \"lookup\", \"user\", \"NAME\"]";
        account.left_out(retriever.line, "no password", advice);
    }
    if retriever.flag("use_apop") == Some(true) {
        account.take(at("use_apop"), "use_apop", "auth", "apop");
    }
    for key in ["use_netrc", "netrc_file", "use_kerberos"] {
        if retriever.entry(key).is_some() && retriever.flag(key) != Some(false) {
            account.left_out(at(key), key, "pouch has no such option");
        }
    }
}

fn tls(account: &mut Account, retriever: &Section, is_tls: bool) {
    let at = retriever.entry("type").map_or(0, |entry| entry.line);
    let setting = retriever.get("type").unwrap_or_default().to_owned();
    if !is_tls {
        return account.encrypt(Encryption::Off, at, &setting);
    }
    account.encrypt(Encryption::Implicit, at, &setting);
    match retriever.entry("ca_certs") {
        Some(entry) if is_system_store(&entry.value) => {
            account.same(entry.line, "ca_certs", "the authorities of the system");
        }
        Some(entry) => account.take(entry.line, "ca_certs", "tls-ca-file", &*entry.value),
        None => account.changed(
            at,
            "no ca_certs",
            "accepts any certificate",
            "checks the certificate; if it is self-signed, set `tls-pin` or `tls-ca-file`",
        ),
    }
    if let (Some(cert), Some(key)) = (retriever.entry("certfile"), retriever.entry("keyfile")) {
        account.take(cert.line, "certfile", "tls-client-cert", &*cert.value);
        account.take(key.line, "keyfile", "tls-client-key", &*key.value);
    }
    if let Some(entry) = retriever.entry("ssl_fingerprints") {
        let pins = tuple(&entry.value).unwrap_or_else(|| vec![entry.value.clone()]);
        match pins.as_slice() {
            [pin] if super::is_sha256(pin) => {
                account.take(
                    entry.line,
                    "ssl_fingerprints",
                    "tls-pin",
                    super::sha256(pin),
                );
            }
            _ => {
                let advice = "set `tls-pin` to the SHA-256 fingerprint that `pouch check` shows";
                account.left_out(entry.line, "ssl_fingerprints", advice);
            }
        }
    }
    for (key, now) in [
        ("ssl_version", "TLS 1.2 or newer"),
        ("ssl_ciphers", "the ciphers of OpenSSL's configuration"),
    ] {
        if let Some(entry) = retriever.entry(key) {
            account.same(entry.line, key, now);
        }
    }
    if let Some(entry) = retriever.entry("ssl_cert_hostname") {
        account.server_name(entry.line, "ssl_cert_hostname", &entry.value);
    }
}

/// Returns whether a file has the authorities that pouch trusts by default.
pub(super) fn is_system_store(path: &str) -> bool {
    [
        "system",
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
        "/etc/ssl/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/usr/local/share/certs/ca-root-nss.crt",
    ]
    .contains(&path)
}

fn options(account: &mut Account, ini: &Ini) {
    let empty = Section::default();
    let options = ini.section("options").unwrap_or(&empty);
    retention(account, options);
    let mut fields = Vec::new();
    for entry in &options.entries {
        let (key, at) = (entry.key.to_lowercase(), entry.line);
        let number = entry.value.parse::<u64>();
        match (key.as_str(), number) {
            ("delete" | "delete_after" | "read_all", _) => {}
            ("max_message_size", Ok(bytes)) => account.max_size(at, &key, bytes),
            ("max_messages_per_session", Ok(0)) => account.same(at, &key, "no limit"),
            ("max_messages_per_session", Ok(count)) => {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                account.take(at, &key, "limit", count);
            }
            ("received" | "delivered_to", _) => added_field(account, entry, &mut fields),
            ("max_bytes_per_session", _) => {
                account.left_out(at, &key, "`limit` limits the number of messages");
            }
            ("delete_bigger_than", _) => {
                account.left_out(at, &key, "pouch keeps large messages as long as others");
            }
            (
                "message_log"
                | "message_log_syslog"
                | "message_log_verbose"
                | "verbose"
                | "fingerprint"
                | "logfile",
                _,
            ) => {
                account.same(at, &key, "pouch logs to standard error");
            }
            (
                "use_netrc" | "skip_imap_fetch_size" | "to_oldmail_on_each_mail" | "netrc_file",
                _,
            ) => {
                account.same(at, &key, "no effect in pouch");
            }
            _ => account.left_out(at, &key, "pouch has no such option"),
        }
    }
    if !fields.is_empty() {
        account.set("add-headers", array(&fields));
    }
    if options.entry("received").is_none() && options.entry("delivered_to").is_none() {
        account.changed(
            options.line,
            "received, delivered_to",
            "adds Received and Delivered-To by default",
            "adds none; `add-headers = [\"received\", \"delivered-to\"]` adds them",
        );
    }
}

fn added_field(account: &mut Account, entry: &Entry, fields: &mut Vec<&'static str>) {
    let key = entry.key.to_lowercase();
    if truth(&entry.value) == Some(true) {
        let field = if key == "received" {
            "received"
        } else {
            "delivered-to"
        };
        fields.push(field);
        account.taken(entry.line, &key, format!("`add-headers` with \"{field}\""));
    } else {
        account.same(entry.line, &key, "no field is added");
    }
}

fn retention(account: &mut Account, options: &Section) {
    let at = |key: &str| options.entry(key).map_or(options.line, |entry| entry.line);
    let deletes = options.flag("delete") == Some(true);
    let days = options.number("delete_after").unwrap_or(0);
    if deletes {
        account.keep_none(at("delete"), "delete");
        if days > 0 {
            let now = "pouch does the same; for a delay, set `keep`";
            account.same(at("delete_after"), "delete_after", now);
        }
    } else if let Ok(days) = u64::try_from(days)
        && days > 0
    {
        account.keep_days(at("delete_after"), "delete_after", days);
        account.was_deleting = false;
    } else {
        let value = options.get("delete").unwrap_or("false");
        account.keep_all(at("delete"), &format!("delete = {value}"));
    }
    match options.flag("read_all") {
        Some(false) => account.same(at("read_all"), "read_all = false", "only new messages"),
        _ if deletes => {}
        _ => account.changed(
            at("read_all"),
            "read_all",
            "fetches every message in every run",
            "fetches each message once",
        ),
    }
}

/// Adds the paths of the state file. getmail replaces `/` in its name by `-`.
fn state(account: &mut Account, context: &Context<'_>, is_tls: bool) {
    let (Some(host), Some(user)) = (&account.host, &account.user) else {
        return;
    };
    let port = account.port.unwrap_or(if is_tls { 995 } else { 110 });
    let name = format!("oldmail-{host}-{port}-{user}").replace('/', "-");
    account.state = vec![
        context.beside(&name),
        context.home.join(".getmail").join(&name),
        context.home.join(".local/share/getmail").join(&name),
    ];
}

/// Reports the keys of the retriever that are not known.
fn unknown(account: &mut Account, retriever: &Section) {
    const KNOWN: &[&str] = &[
        "type",
        "server",
        "port",
        "username",
        "password",
        "password_command",
        "timeout",
        "use_apop",
        "use_xoauth2",
        "use_netrc",
        "netrc_file",
        "use_kerberos",
        "ca_certs",
        "certfile",
        "keyfile",
        "ssl_fingerprints",
        "ssl_cert_hostname",
        "ssl_version",
        "ssl_ciphers",
        "envelope_recipient",
        "mailboxes",
    ];
    for entry in &retriever.entries {
        let key = entry.key.to_lowercase();
        if !KNOWN.contains(&key.as_str()) {
            account.left_out(entry.line, &key, "pouch has no such option");
        }
    }
}
