//! Thunderbird: `prefs.js` of a profile.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    account::{Account, Encryption},
    ini::Ini,
    model::{Context, Imported, MOST_ACCOUNTS},
    source::{Source, position},
};

/// A profile of Thunderbird.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its directory.
    pub dir: PathBuf,
    /// Whether Thunderbird starts with it.
    pub is_default: bool,
}

/// Returns the profiles in `profiles.ini`, which is in the directory `dir`.
pub fn profiles(bytes: &[u8], dir: &Path) -> Vec<Profile> {
    let ini = Ini::parse(&String::from_utf8_lossy(bytes), false);
    let installs = ini
        .sections
        .iter()
        .filter(|one| one.name.starts_with("Install"));
    let defaults: Vec<_> = installs
        .filter_map(|install| install.text("Default"))
        .collect();
    let profiles = ini
        .sections
        .iter()
        .filter(|one| one.name.starts_with("Profile"));
    profiles
        .filter_map(|profile| {
            let path = profile.text("Path")?;
            let dir = if profile.get("IsRelative") == Some("0") {
                PathBuf::from(path)
            } else {
                dir.join(path)
            };
            let is_default = if defaults.is_empty() {
                profile.get("Default") == Some("1")
            } else {
                defaults.contains(&path)
            };
            Some(Profile { dir, is_default })
        })
        .collect()
}

/// The preferences, each with its line number.
struct Preferences(BTreeMap<String, (String, usize)>);

impl Preferences {
    fn text(&self, name: &str) -> Option<(&str, usize)> {
        self.0
            .get(name)
            .map(|(value, line)| (value.as_str(), *line))
    }
}

/// Parses `prefs.js`.
pub(super) fn parse(source: &Source, context: &Context<'_>, imported: &mut Imported) {
    let mut preferences = Preferences(BTreeMap::new());
    read(&source.text, context, imported, &mut preferences);
    let user = context.beside("user.js");
    if let Some(bytes) = (context.read)(&user) {
        let inner = Context {
            path: &user,
            ..*context
        };
        let source = Source::decode(&bytes, &inner, imported);
        read(&source.text, &inner, imported, &mut preferences);
    }
    let accounts = preferences.text("mail.accountmanager.accounts");
    let mut servers: Vec<String> = Vec::new();
    for account in accounts.map_or("", |(names, _)| names).split(',') {
        let key = format!("mail.account.{}.server", account.trim());
        if let Some((server, _)) = preferences.text(&key)
            && servers.len() <= MOST_ACCOUNTS
            && !servers.iter().any(|known| known == server)
        {
            servers.push(server.to_owned());
        }
    }
    for server in servers {
        imported
            .accounts
            .extend(account(&server, &preferences, context));
    }
}

/// Reads the lines `user_pref("NAME", VALUE);`.
fn read(text: &str, context: &Context<'_>, imported: &mut Imported, preferences: &mut Preferences) {
    for (number, line) in (1..).zip(text.lines()) {
        let Some(rest) = line.trim().strip_prefix("user_pref(") else {
            continue;
        };
        match preference(rest) {
            Some((name, value)) => drop(preferences.0.insert(name, (value, number))),
            None if rest.contains("\"mail.") => {
                let (_, column) = position(line.as_bytes(), line.len() - rest.len());
                imported.problem(context, (number, column), "not a valid preference");
            }
            None => {}
        }
    }
}

/// Parses the rest of a line. Strings are those of JSON, except for `\xHH`.
fn preference(rest: &str) -> Option<(String, String)> {
    let end = rest.rfind(')')?;
    let text = format!("[{}]", rest[..end].replace("\\x", "\\u00"));
    let values: Vec<serde_json::Value> = serde_json::from_str(&text).ok()?;
    let [name, value] = values.as_slice() else {
        return None;
    };
    let value = match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Some((name.as_str()?.to_owned(), value))
}

/// A server in the preferences.
struct Server<'a> {
    name: &'a str,
    preferences: &'a Preferences,
}

impl<'a> Server<'a> {
    fn text(&self, key: &str) -> Option<(&'a str, usize)> {
        self.preferences
            .text(&format!("mail.server.{}.{key}", self.name))
    }

    fn flag(&self, key: &str) -> Option<(bool, usize)> {
        self.text(key).map(|(value, at)| (value == "true", at))
    }

    fn number(&self, key: &str) -> Option<(i64, usize)> {
        let (value, at) = self.text(key)?;
        Some((value.parse().ok()?, at))
    }

    fn is_set(&self, key: &str) -> Option<usize> {
        self.flag(key).filter(|(set, _)| *set).map(|(_, at)| at)
    }
}

/// Returns the account of a server, or `None` if it is the local folders.
fn account(name: &str, preferences: &Preferences, context: &Context<'_>) -> Option<Account> {
    let server = Server { name, preferences };
    let (kind, at) = server.text("type")?;
    let host = server.text("hostname").map_or("", |(host, _)| host);
    let title = server.text("name").map_or(host, |(title, _)| title);
    let title = title.rsplit_once(" on ").map_or(title, |(_, host)| host);
    let mut account = Account::new(title.split('@').next_back().unwrap_or(title), at);
    match kind {
        "pop3" => {}
        "none" => return None,
        _ => {
            account.is_unusable = true;
            account.left_out(at, &format!("type {kind}"), "pouch fetches by POP3 only");
            return Some(account);
        }
    }
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, port.parse().ok()),
        _ => (host, None),
    };
    account.host = Some(host.to_owned());
    account.user = server.text("userName").map(|(user, _)| user.to_owned());
    account.port = port;
    if let Some((port @ 1.., at)) = server.number("port") {
        account.port(at, "port", &port.to_string());
    }
    encryption(&mut account, &server, at);
    method(&mut account, &server);
    retention(&mut account, &server, at);
    limits(&mut account, &server);
    let before = "delivers to its own folders";
    account.propose_maildir(at, "folders", before);
    account.left_out(
        at,
        "Thunderbird",
        "if it keeps fetching this mailbox, set it to leave messages on the server: otherwise each \
         program deletes mail that the other has not fetched",
    );
    account.state = state(&server, host, context);
    Some(account)
}

fn encryption(account: &mut Account, server: &Server<'_>, at: usize) {
    let (socket, at) = server.number("socketType").unwrap_or((0, at));
    match socket {
        3 => account.encrypt(Encryption::Implicit, at, "socketType 3"),
        2 => account.encrypt(Encryption::StartTls, at, "socketType 2"),
        1 => account.encrypt(Encryption::Opportunistic, at, "socketType 1"),
        _ => account.encrypt(Encryption::Off, at, "socketType 0"),
    }
}

fn method(account: &mut Account, server: &Server<'_>) {
    let (method, at) = server.number("authMethod").unwrap_or((3, 0));
    let setting = format!("authMethod {method}");
    match method {
        4 => account.take(at, &setting, "auth", "cram-md5"),
        5 => account.left_out(at, &setting, "pouch does not support Kerberos"),
        6 => account.left_out(at, &setting, "pouch does not support NTLM"),
        7 => {
            account.take(at, &setting, "auth", "external");
            account.left_out(at, &setting, "set `tls-client-cert` and `tls-client-key`");
        }
        10 => {
            account.sign_in(at, &setting);
            return;
        }
        _ => account.same(at, &setting, "auth = \"auto\""),
    }
    let advice = "it is in Thunderbird's settings, under saved passwords: set `password-command` \
                  or `password-file`";
    account.left_out(0, "password", advice);
}

fn retention(account: &mut Account, server: &Server<'_>, at: usize) {
    match server.flag("leave_on_server") {
        Some((true, leave)) => {
            let days = server.number("num_days_to_leave_on_server");
            match (server.is_set("delete_by_age_from_server"), days) {
                (Some(at), days) => {
                    let days = days.map_or(7, |(days, _)| days);
                    let days = u64::try_from(days).unwrap_or(0).max(1);
                    account.keep_days(at, "delete_by_age_from_server", days);
                }
                (None, _) => account.keep_all(leave, "leave_on_server"),
            }
        }
        off => account.keep_none(off.map_or(at, |(_, at)| at), "leave_on_server false"),
    }
    if let Some(at) = server.is_set("delete_mail_left_on_server") {
        let advice = "set `sync-deletions`, which does this for the Maildir of pouch";
        account.left_out(at, "delete_mail_left_on_server", advice);
    }
    if let Some(at) = server.is_set("headers_only") {
        let before = "fetches headers, and messages on request";
        account.changed(at, "headers_only", before, "fetches complete messages");
    }
}

fn limits(account: &mut Account, server: &Server<'_>) {
    if let Some(at) = server.is_set("limit_offline_message_size") {
        let kib = server.number("max_size").map_or(50, |(size, _)| size);
        let bytes = u64::try_from(kib).unwrap_or(0).saturating_mul(1024);
        account.max_size(at, "max_size", bytes);
    }
    if let Some((minutes, at)) = server.number("check_time") {
        let advice = format!("run `pouch fetch --every {minutes}m`, or use the systemd timer");
        account.left_out(at, "check_time", advice);
    }
    if let Some((_, at)) = server.text("deferred_to_account") {
        account.same(
            at,
            "deferred_to_account",
            "applies to Thunderbird's folders only",
        );
    }
}

/// Returns the paths of the state file.
fn state(server: &Server<'_>, host: &str, context: &Context<'_>) -> Vec<PathBuf> {
    let profile = context.path.parent().unwrap_or(Path::new(""));
    let mut dirs = Vec::new();
    if let Some((relative, _)) = server.text("directory-rel") {
        let path = relative.strip_prefix("[ProfD]").unwrap_or(relative);
        dirs.push(profile.join(path));
    }
    dirs.extend(
        server
            .text("directory")
            .map(|(path, _)| PathBuf::from(path)),
    );
    dirs.push(profile.join("Mail").join(host));
    dirs.into_iter()
        .map(|dir| dir.join("popstate.dat"))
        .collect()
}
