//! getmail 4, 5 and 6: one account in each file of `~/.getmail` or `~/.config/getmail`.

use super::{
    account::{Account, Encryption, array},
    ini::{Entry, Ini, Section, truth},
    model::{Context, Imported},
    shell,
    source::Source,
};

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

/// A destination of getmail.
enum Place {
    Maildir(String),
    Mbox(String),
    Pipe(Vec<String>),
    Lmtp(String),
    Several(Vec<String>),
    /// A destination for each recipient.
    Sorter,
    Unsupported(&'static str),
}

impl Place {
    /// Returns the destination in the form that rules have.
    fn in_rule(&self) -> Option<String> {
        match self {
            Self::Maildir(path) => Some(format!("maildir:{path}")),
            Self::Mbox(path) => Some(format!("mbox:{path}")),
            Self::Lmtp(server) => Some(format!("lmtp:{server}")),
            Self::Pipe(words) => {
                let words = words.iter().map(String::as_str);
                Some(format!("pipe:{}", shlex::try_join(words).ok()?))
            }
            _ => None,
        }
    }
}

/// Returns the destination that a word means: a section in brackets, or a path.
fn place_of(word: &str, ini: &Ini) -> Place {
    if let Some(name) = word
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return match ini.section(name) {
            Some(section) => place(section),
            None => Place::Unsupported("the section is missing"),
        };
    }
    match word.strip_prefix('|') {
        Some(command) => Place::Pipe(shell::words(command)),
        None if word.ends_with('/') => Place::Maildir(without_slash(word)),
        None => Place::Mbox(word.to_owned()),
    }
}

fn without_slash(path: &str) -> String {
    let short = path.trim_end_matches('/');
    if short.is_empty() { path } else { short }.to_owned()
}

fn place(section: &Section) -> Place {
    let path = || section.text("path").map(without_slash);
    match section.get("type").unwrap_or_default() {
        "Maildir" => path().map_or(Place::Unsupported("it has no path"), Place::Maildir),
        "Mboxrd" => path().map_or(Place::Unsupported("it has no path"), Place::Mbox),
        "MDA_external" => {
            let arguments = section.text("arguments").map(tuple);
            match (path(), arguments) {
                (_, Some(None)) => Place::Unsupported("its arguments are not a tuple of strings"),
                (None, _) => Place::Unsupported("it has no path"),
                (Some(path), arguments) => {
                    let arguments = arguments.flatten().unwrap_or_default();
                    Place::Pipe(std::iter::once(path).chain(arguments).collect())
                }
            }
        }
        "MDA_lmtp" => {
            let host = section.text("host").unwrap_or("localhost");
            match section.text("port") {
                _ if host.starts_with('/') => Place::Lmtp(format!("unix:{host}")),
                Some(port) => Place::Lmtp(format!("{host}:{port}")),
                None => Place::Lmtp(format!("{host}:24")),
            }
        }
        "MultiDestination" => match section.text("destinations").and_then(tuple) {
            Some(places) if !places.is_empty() => Place::Several(places),
            _ => Place::Unsupported("its destinations are not a tuple of strings"),
        },
        "MultiSorter" => Place::Sorter,
        "MultiGuesser" => Place::Unsupported("write its `locals` as rules with `to`"),
        _ => Place::Unsupported("pouch has no such destination"),
    }
}

fn destination(account: &mut Account, ini: &Ini) {
    let Some(section) = ini.section("destination") else {
        return account.propose_maildir(account.at, "no [destination]", "refuses to run");
    };
    let kind = section.get("type").unwrap_or_default();
    let at = section
        .entry("type")
        .map_or(section.line, |entry| entry.line);
    let setting = format!("type {kind}");
    match place(section) {
        Place::Several(places) => {
            let mut places = places.iter().map(|word| place_of(word, ini));
            if let Some(first) = places.next() {
                set_place(account, &first, at, &setting);
            }
            let mut copies = Vec::new();
            for place in places {
                match place.in_rule() {
                    Some(copy) => copies.push(copy),
                    None => account.left_out(at, "destinations", "one of them: add it to `also`"),
                }
            }
            if !copies.is_empty() {
                let rule = vec![("action", "fetch".into()), ("also", array(&copies))];
                account.rules.push(rule);
                account.taken(at, "destinations", "a rule with `also` for the copies");
            }
        }
        Place::Sorter => sort(account, section, ini, at),
        place => set_place(account, &place, at, &setting),
    }
    details(account, section);
}

/// Takes over a destination for each recipient. Patterns are regular expressions in both programs.
fn sort(account: &mut Account, section: &Section, ini: &Ini, at: usize) {
    match section.text("default").map(|word| place_of(word, ini)) {
        Some(place) => set_place(account, &place, at, "default"),
        None => account.propose_maildir(at, "default", "refuses to run"),
    }
    let retriever = ini.section("retriever");
    let envelope = retriever.and_then(|one| one.text("envelope_recipient"));
    let (header, number) = envelope
        .and_then(|text| text.split_once(':'))
        .unwrap_or_default();
    let locals = section.text("locals").and_then(tuple).unwrap_or_default();
    let mut recipients = toml_edit::InlineTable::new();
    for pair in locals.chunks_exact(2) {
        let place = place_of(&pair[1], ini).in_rule();
        let is_plain = !pair[0].contains('/') && !pair[0].is_empty();
        if let Some(place) = place.filter(|_| is_plain) {
            recipients.insert(format!("/{}/", pair[0]), place.into());
        } else {
            let setting = format!("locals {}", pair[0]);
            account.left_out(at, &setting, "add it to the table `multidrop`");
        }
    }
    if header.is_empty() || recipients.is_empty() {
        return;
    }
    account.multidrop = vec![("header", array(&[header]))];
    if let Some(number) = number.parse::<i64>().ok().filter(|number| *number != 1) {
        account.multidrop.push(("occurrence", number.into()));
    }
    let recipients = toml_edit::Value::InlineTable(recipients);
    account.multidrop.push(("recipients", recipients));
    account.taken(
        at,
        "locals",
        "the table `multidrop`: please check its patterns",
    );
}

fn set_place(account: &mut Account, place: &Place, at: usize, setting: &str) {
    match place {
        Place::Maildir(path) => account.take(at, setting, "maildir", path.as_str()),
        Place::Mbox(path) => account.take(at, setting, "mbox", path.as_str()),
        Place::Lmtp(server) => account.take(at, setting, "lmtp", server.as_str()),
        Place::Pipe(words) if words.windows(2).any(is_sender) => {
            let mut rest = words.clone();
            while let Some(at) = rest.windows(2).position(is_sender) {
                rest.drain(at..at + 2);
            }
            let now = "without this option, since POP3 does not transmit the sender";
            account.changed(at, setting, "passes the sender as %(sender)", now);
            set_place(account, &Place::Pipe(rest), at, setting);
        }
        Place::Pipe(words) if words.iter().any(|word| word.contains("%(")) => {
            let before = "passes the envelope and the sender to the program";
            account.propose_maildir(at, setting, before);
            let advice = "POP3 does not transmit the envelope: write the command without \
                          `%(sender)` and the like as `pipe`";
            account.left_out(at, setting, advice);
        }
        Place::Pipe(words) => account.command(at, setting, "pipe", words),
        Place::Several(_) | Place::Sorter | Place::Unsupported(_) => {
            account.propose_maildir(at, setting, "delivers in a way that pouch does not support");
            if let Place::Unsupported(why) = place {
                account.left_out(at, setting, *why);
            }
        }
    }
}

/// Returns whether two words are the option with the envelope sender.
fn is_sender(words: &[String]) -> bool {
    words == ["-f", "%(sender)"]
}

/// Reports the details of a destination.
fn details(account: &mut Account, section: &Section) {
    for entry in &section.entries {
        let (key, at) = (entry.key.to_lowercase(), entry.line);
        match key.as_str() {
            "type" | "path" | "arguments" | "host" | "port" | "destinations" => {}
            "default" | "locals" if !account.multidrop.is_empty() => {}
            "allow_root_commands" => account.same(at, &key, "programs run as the user"),
            "unixfrom" if truth(&entry.value) == Some(true) => {
                account.changed(
                    at,
                    &key,
                    "adds a `From ` line",
                    "adds none; procmail adds one",
                );
            }
            "unixfrom" => account.same(at, &key, "no `From ` line is added"),
            "user" | "group" => {
                account.left_out(at, &key, "run pouch as that user");
            }
            "filemode" => account.left_out(at, &key, "files have mode 0600"),
            "default" | "locals" => {
                account.left_out(at, &key, "write rules with `to`, or a table `multidrop`");
            }
            _ => account.left_out(at, &key, "pouch has no such option"),
        }
    }
}

fn filters(account: &mut Account, ini: &Ini) {
    let mut commands = toml_edit::Array::new();
    for section in &ini.sections {
        if !section.name.to_lowercase().starts_with("filter") {
            continue;
        }
        let kind = section.get("type").unwrap_or_default();
        let arguments = section.text("arguments").map_or(Some(Vec::new()), tuple);
        let ("Filter_external", Some(path), Some(arguments)) =
            (kind, section.text("path"), arguments)
        else {
            let advice = "pouch has no such filter; see `filter` in pouch-config(5)";
            account.left_out(section.line, &section.name, advice);
            continue;
        };
        let words = std::iter::once(path.to_owned()).chain(arguments);
        commands.push(array(&words.collect::<Vec<_>>()));
        account.taken(section.line, &section.name, "`filter`");
        for key in ["exitcodes_keep", "exitcodes_drop"] {
            if let Some(entry) = section.entry(key) {
                let now = "0 keeps the message, 99 skips it";
                account.changed(entry.line, key, "has its own exit codes", now);
            }
        }
    }
    if !commands.is_empty() {
        account.set("filter", commands);
    }
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

/// Parses a tuple or list of strings in Python. A single string is a tuple of one.
fn tuple(text: &str) -> Option<Vec<String>> {
    let mut characters = text.trim().chars().peekable();
    let mut words = Vec::new();
    while let Some(c) = characters.next() {
        match c {
            '"' | '\'' => {
                let mut word = String::new();
                loop {
                    match characters.next()? {
                        end if end == c => break,
                        '\\' => match characters.next()? {
                            'n' => word.push('\n'),
                            't' => word.push('\t'),
                            other if "\\'\"".contains(other) => word.push(other),
                            other => word.extend(['\\', other]),
                        },
                        other => word.push(other),
                    }
                }
                words.push(word);
            }
            '(' | ')' | '[' | ']' | ',' => {}
            c if c.is_whitespace() => {}
            _ => return None,
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tuples_are_python_literals() {
        assert_eq!(tuple("('-d', \"ann\",)").unwrap(), ["-d", "ann"]);
        assert_eq!(tuple(r#"("a\"b", 'c\d')"#).unwrap(), ["a\"b", "c\\d"]);
        assert_eq!(tuple("(1, 2)"), None);
        assert_eq!(tuple("('a"), None);
    }
}
