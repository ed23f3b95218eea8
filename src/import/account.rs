//! An account of another program, in the terms of pouch.

use std::{fmt, path::PathBuf};

use toml_edit::{Array, Value};
use zeroize::Zeroizing;

use crate::domain::{size::ByteSize, time::TimeSpan};

/// A password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Zeroizing<Vec<u8>>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// The result of importing an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LineKind {
    /// It was taken over into the account.
    Taken,
    /// pouch does the same by default.
    Same,
    /// pouch does something else.
    Changed,
    /// pouch does not support it, or the user has to decide.
    LeftOut,
}

impl LineKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Taken, Self::Same, Self::Changed, Self::LeftOut];

    /// Returns the heading in the report.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Taken => "taken over",
            Self::Same => "same by default",
            Self::Changed => "changed",
            Self::LeftOut => "left out",
        }
    }

    /// Returns the name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Same => "same",
            Self::Changed => "changed",
            Self::LeftOut => "left_out",
        }
    }
}

/// A line of the report, about one option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The result.
    pub kind: LineKind,
    /// The number of its line in the file.
    pub at: Option<usize>,
    /// The option as the other program calls it, without secret values.
    pub setting: String,
    /// What the other program did, if that changes.
    pub before: Option<String>,
    /// What pouch does, or what the user has to do.
    pub now: String,
}

/// The encryption of a connection in the other program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    Implicit,
    StartTls,
    /// STARTTLS if the server supports it, and otherwise none.
    Opportunistic,
    Off,
}

/// An account.
#[expect(clippy::struct_excessive_bools, reason = "the flags are independent")]
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Its name in the config of pouch.
    pub name: String,
    /// The file that defines it.
    pub path: PathBuf,
    /// The line number of its beginning.
    pub at: usize,
    /// The server's host name.
    pub host: Option<String>,
    /// Names under which the other program knows the server, besides `host`.
    pub aliases: Vec<String>,
    /// The login name.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    pub(super) encryption: Option<(Encryption, usize, String)>,
    /// Keys and values.
    pub(super) settings: Vec<(&'static str, Value)>,
    /// The keys and values of each rule.
    pub(super) rules: Vec<Vec<(&'static str, Value)>>,
    /// The keys and values of the table `multidrop`.
    pub(super) multidrop: Vec<(&'static str, Value)>,
    /// Comments above the account.
    pub(super) comments: Vec<String>,
    /// The password in the file.
    pub password: Option<Password>,
    /// The report.
    pub lines: Vec<Line>,
    /// The files that may have the account's state.
    pub state: Vec<PathBuf>,
    /// Whether its Maildir is named after it.
    has_proposed_maildir: bool,
    /// Whether it deletes messages because the other program does so by default.
    pub(super) deletes_by_default: bool,
    /// Whether the other program deleted messages after fetching them.
    pub was_deleting: bool,
    /// Whether the account cannot be used, for instance because of its protocol.
    pub is_unusable: bool,
}

/// Destinations, of which an account has one.
const DESTINATIONS: [&str; 4] = ["maildir", "mbox", "pipe", "lmtp"];

impl Account {
    /// Creates an account that begins at this line.
    pub(super) fn new(name: &str, at: usize) -> Self {
        Self {
            name: name.to_owned(),
            at,
            ..Self::default()
        }
    }

    /// Adds a line to the report.
    fn line(&mut self, kind: LineKind, at: usize, setting: &str, now: impl Into<String>) {
        self.lines.push(line(kind, at, setting, now));
    }

    /// Reports an option that was taken over in the form `now`.
    pub(super) fn taken(&mut self, at: usize, setting: &str, now: impl Into<String>) {
        self.line(LineKind::Taken, at, setting, now);
    }

    /// Reports an option that has the same effect by default.
    pub(super) fn same(&mut self, at: usize, setting: &str, now: impl Into<String>) {
        self.line(LineKind::Same, at, setting, now);
    }

    /// Reports an option whose effect changes.
    pub(super) fn changed(&mut self, at: usize, setting: &str, before: &str, now: &str) {
        let mut line = line(LineKind::Changed, at, setting, now);
        line.before = Some(before.to_owned());
        self.lines.push(line);
    }

    /// Reports an option that was left out, and what to do.
    pub(super) fn left_out(&mut self, at: usize, setting: &str, advice: impl Into<String>) {
        self.line(LineKind::LeftOut, at, setting, advice);
    }

    /// Sets a key without a line in the report. A later value replaces an earlier one.
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        let value = value.into();
        self.settings.retain(|(known, _)| *known != key);
        if DESTINATIONS.contains(&key) {
            self.has_proposed_maildir = false;
            self.settings
                .retain(|(known, _)| !DESTINATIONS.contains(known));
        }
        self.settings.push((key, value));
    }

    /// Sets a key, and reports that the option was taken over.
    pub(super) fn take(
        &mut self,
        at: usize,
        setting: &str,
        key: &'static str,
        value: impl Into<Value>,
    ) {
        let value = value.into();
        self.taken(at, setting, format!("{key} = {}", value.to_string().trim()));
        self.set(key, value);
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let mut settings = self.settings.iter();
        settings
            .find(|(known, _)| *known == key)
            .map(|(_, value)| value)
    }

    /// Returns whether the account has a destination.
    pub(super) fn has_destination(&self) -> bool {
        DESTINATIONS.iter().any(|key| self.get(key).is_some())
    }

    /// Takes over the encryption.
    pub(super) fn encrypt(&mut self, encryption: Encryption, at: usize, setting: &str) {
        self.encryption = Some((encryption, at, setting.to_owned()));
    }

    /// Takes over the port, or reports that it is not one.
    pub(super) fn port(&mut self, at: usize, setting: &str, value: &str) {
        let number = match value {
            "pop3" | "pop-3" => "110",
            "pop3s" => "995",
            number => number,
        };
        match number.parse() {
            Ok(0) => {}
            Ok(port) => {
                self.port = Some(port);
                self.taken(at, setting, format!("port = {port}"));
            }
            Err(_) => self.left_out(at, setting, "not a port number: set `port`"),
        }
    }

    /// Takes over the name in the certificate of the server.
    pub(super) fn server_name(&mut self, at: usize, setting: &str, name: &str) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        if !name.is_empty() && name.chars().all(is_plain) {
            self.take(at, setting, "tls-server-name", name);
        } else {
            let advice = "not a host name: set `tls-server-name` to a name in the certificate";
            self.left_out(at, setting, advice);
        }
    }

    /// Takes over that messages stay on the server.
    pub(super) fn keep_all(&mut self, at: usize, setting: &str) {
        (self.was_deleting, self.deletes_by_default) = (false, false);
        self.take(at, setting, "keep", "forever");
    }

    /// Takes over that messages are deleted after they were fetched.
    pub(super) fn keep_none(&mut self, at: usize, setting: &str) {
        self.was_deleting = true;
        self.set("keep", "none");
        let now =
            "keep = \"none\": messages are deleted from the server once they are safe on disk";
        self.taken(at, setting, now);
    }

    /// Takes over that the other program deletes messages after fetching them by default.
    pub(super) fn keep_none_by_default(&mut self, at: usize, setting: &str) {
        self.keep_none(at, setting);
        self.deletes_by_default = true;
    }

    /// Keeps messages on the server if they would be deleted by default: the file was not
    /// understood completely, and may say that they are kept.
    pub(super) fn keep_in_doubt(&mut self) {
        if !self.deletes_by_default || self.is_unusable {
            return;
        }
        self.set("keep", "forever");
        let was_default = |line: &Line| line.now.starts_with("keep = \"none\"");
        let Some(at) = self.lines.iter().position(was_default) else {
            return;
        };
        let line = &mut self.lines[at];
        line.kind = LineKind::Changed;
        line.before = Some("deletes messages after fetching them".into());
        line.now = "keep = \"forever\", because the file was not understood completely".into();
    }

    /// Takes over that messages are deleted this many days after they were fetched.
    pub(super) fn keep_days(&mut self, at: usize, setting: &str, days: u64) {
        if days == 0 {
            return self.keep_none(at, setting);
        }
        let value = format!("{}d", days.min(300_000));
        let now = format!(
            "keep = \"{value}\": messages are deleted from the server {value} after they were \
             fetched"
        );
        self.set("keep", value);
        self.taken(at, setting, now);
    }

    /// Takes over a limit of the size in bytes. 0 is no limit.
    pub(super) fn max_size(&mut self, at: usize, setting: &str, bytes: u64) {
        if bytes == 0 {
            self.same(at, setting, "no size limit");
        } else {
            let size = ByteSize::from_octets(bytes).to_string();
            self.take(at, setting, "max-size", size);
        }
    }

    /// Takes over a timeout in seconds.
    pub(super) fn timeout(&mut self, at: usize, setting: &str, seconds: u64) {
        let limit = TimeSpan::from_seconds(seconds.clamp(1, 86_400));
        self.take(at, setting, "timeout", limit.to_string());
    }

    /// Takes over a command that prints the password.
    pub(super) fn password_command(&mut self, at: usize, setting: &str, command: &str) {
        let list = super::shell::words(command);
        self.command(at, setting, "password-command", &list);
    }

    /// Takes over a command. Its words may be secret, so that the report has the program only.
    pub(super) fn command(&mut self, at: usize, setting: &str, key: &'static str, list: &[String]) {
        let how = match list {
            [sh, c, _] if sh == "sh" && c == "-c" => format!("`{key}`, run with sh -c"),
            _ => format!("`{key}`"),
        };
        self.set(key, array(list));
        self.taken(at, setting, how);
    }

    /// Takes over that the user signs in with OAuth 2.0 at the provider of the host.
    pub(super) fn sign_in(&mut self, at: usize, setting: &str) {
        const PROVIDERS: &[(&str, &str)] = &[
            ("gmail.com", "google"),
            ("googlemail.com", "google"),
            ("office365.com", "microsoft"),
            ("outlook.com", "microsoft"),
            ("yahoo.com", "yahoo"),
            ("aol.com", "aol"),
            ("fastmail.com", "fastmail"),
            ("comcast.net", "comcast"),
        ];
        let host = self.host.clone().unwrap_or_default();
        let found = PROVIDERS.iter().find(|(domain, _)| host.ends_with(domain));
        match found {
            Some((_, provider)) => {
                self.take(at, setting, "oauth", *provider);
                let advice = "run `pouch login ACCOUNT` once the account is in the config";
                self.left_out(at, setting, advice);
            }
            None => self.left_out(at, setting, "set `oauth` or `token-command`"),
        }
    }

    /// Takes over a proxy. Its password stays out of the config.
    pub(super) fn proxy(&mut self, at: usize, setting: &str, url: &str) {
        let url = url.trim_end_matches('/');
        let (scheme, rest) = url.split_once("://").unwrap_or(("socks5", url));
        let address = match rest.rsplit_once('@') {
            Some((_, address)) => {
                let advice = "add the user name to `proxy`, and set `proxy-password-command`";
                self.left_out(at, setting, advice);
                address
            }
            None => rest,
        };
        self.take(at, setting, "proxy", format!("{scheme}://{address}"));
    }

    /// Takes over a password, which stays out of the config.
    pub(super) fn secret(&mut self, value: Vec<u8>) {
        if !value.is_empty() {
            self.password = Some(Password(Zeroizing::new(value)));
        }
    }

    /// Completes the account after all options were read.
    pub(super) fn complete(&mut self) {
        self.name = clean_name(short_name(&self.name));
        if self.is_unusable {
            return;
        }
        for (what, value) in [("host", &self.host), ("user", &self.user)] {
            if value.as_ref().is_none_or(String::is_empty) {
                let setting = format!("no {what}");
                let advice = format!("the account was not taken over: it has no {what}");
                self.is_unusable = true;
                self.lines
                    .push(line(LineKind::LeftOut, self.at, &setting, advice));
                return;
            }
        }
        self.complete_encryption();
        if self.get("tls-pin").is_some() && self.get("tls-ca-file").is_some() {
            self.settings.retain(|(key, _)| *key != "tls-ca-file");
            let now = "trusts the certificate with this fingerprint only";
            self.changed(0, "tls-pin", "checks the issuer as well", now);
        }
        if self.get("keep").is_none() {
            self.set("keep", "forever");
        }
        if self.password.is_some() {
            self.left_out(
                0,
                "password",
                "set `password-command` or `password-file`, or use `--passwords`, which writes it to \
                 a file",
            );
        }
    }

    /// Completes the encryption once host and port are known.
    fn complete_encryption(&mut self) {
        let Some((encryption, at, setting)) = self.encryption.take() else {
            return;
        };
        match encryption {
            Encryption::Implicit => self.same(at, &setting, "TLS from the first byte"),
            Encryption::StartTls => self.take(at, &setting, "tls", "starttls"),
            Encryption::Off | Encryption::Opportunistic if self.is_local() => {
                self.set("tls", "off");
                self.set("allow-plaintext-password", true);
                self.taken(at, &setting, "tls = \"off\", to a server on this machine");
            }
            Encryption::Opportunistic => {
                self.set("tls", "starttls");
                let before = "STARTTLS if the server supports it, otherwise no encryption";
                self.changed(at, &setting, before, "STARTTLS, or an error");
            }
            Encryption::Off => {
                self.set("tls", "starttls");
                let now = "STARTTLS, or an error; if the server does not support it, set \
                           `tls = \"off\"` and `allow-plaintext-password = true`";
                self.changed(at, &setting, "sends the password unencrypted", now);
            }
        }
    }

    /// Returns whether the server is on this machine.
    fn is_local(&self) -> bool {
        let host = self.host.as_deref().unwrap_or_default();
        host == "localhost" || host == "::1" || host.starts_with("127.")
    }

    /// Proposes a Maildir if the account has no destination.
    pub(super) fn propose_maildir(&mut self, at: usize, setting: &str, before: &str) {
        let path = proposed_maildir(&clean_name(short_name(&self.name)));
        self.changed(
            at,
            setting,
            before,
            &format!("delivers to the Maildir {path}"),
        );
        self.set("maildir", path);
        self.has_proposed_maildir = true;
    }

    /// Sets the file with the password.
    pub fn set_password_file(&mut self, path: &str) {
        self.set("password-file", path);
        self.lines.retain(|line| line.setting != "password");
        self.taken(0, "password", format!("password-file = \"{path}\""));
    }

    /// Reports that the account is not valid, and cannot be used.
    pub fn refuse(&mut self, why: &str) {
        self.is_unusable = true;
        self.left_out(self.at, "account", format!("not a valid account: {why}"));
    }

    /// Returns whether the server has this name in the config of the other program.
    pub fn is_at(&self, host: &str) -> bool {
        let mut names = self.host.iter().chain(&self.aliases);
        names.any(|name| name.eq_ignore_ascii_case(host.trim_end_matches('.')))
    }

    /// Changes the name to one that is not `taken`.
    pub fn rename(&mut self, taken: &[String]) {
        if !taken.contains(&self.name) {
            return;
        }
        let base = self.name.clone();
        let free = (2..).map(|n| format!("{base}-{n}"));
        let name = free.into_iter().find(|name| !taken.contains(name));
        self.name = name.unwrap_or(base);
        let old = self.get("maildir").and_then(Value::as_str);
        if let Some(old) = old.filter(|_| self.has_proposed_maildir).map(str::to_owned) {
            let new = proposed_maildir(&self.name);
            for line in &mut self.lines {
                line.now = line
                    .now
                    .replace(&format!("Maildir {old}"), &format!("Maildir {new}"));
            }
            self.set("maildir", new);
        }
    }
}

/// Creates a line of the report. Line 0 is none.
pub(super) fn line(kind: LineKind, at: usize, setting: &str, now: impl Into<String>) -> Line {
    Line {
        kind,
        at: (at > 0).then_some(at),
        setting: setting.to_owned(),
        before: None,
        now: now.into(),
    }
}

/// Returns a list of strings as a TOML value.
pub(super) fn array<S: AsRef<str>>(words: &[S]) -> Value {
    Value::Array(words.iter().map(AsRef::as_ref).collect::<Array>())
}

/// Returns the part of a host name or an address that names its owner: `example` of
/// `pop.example.org`.
fn short_name(name: &str) -> &str {
    const COMMON: &[&str] = &[
        "pop", "pop3", "pops", "mail", "imap", "mx", "www", "in", "inbound",
    ];
    let host = name.rsplit_once('@').map_or(name, |(_, host)| host);
    let is_host = host.contains('.')
        && !host.contains(|c: char| c.is_whitespace())
        && !host.starts_with(|c: char| c.is_ascii_digit());
    if !is_host {
        return name;
    }
    let is_own = |label: &&str| {
        let label = label.to_ascii_lowercase();
        !COMMON.contains(&label.as_str())
    };
    let mut labels = host.split('.').filter(is_own);
    labels.next().unwrap_or(name)
}

/// Returns the Maildir that is proposed for an account with this name.
fn proposed_maildir(name: &str) -> String {
    format!("~/Mail/{name}")
}

/// Returns a name for an account with the letters, digits and signs of `name` that are plain.
pub(super) fn clean_name(name: &str) -> String {
    let plain = |c: char| {
        if c.is_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '-'
        }
    };
    let mut clean = String::new();
    for c in name.chars().map(plain).take(60) {
        if c != '-' || !clean.ends_with('-') {
            clean.push(c);
        }
    }
    let name = clean;
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() {
        "account".into()
    } else {
        name.to_owned()
    }
}
