//! fdm: `~/.fdm.conf`.
//!
//! Accounts and actions are separate in fdm, and its rules combine them. An account of pouch has
//! one destination and its own rules, so the rules are divided among the accounts in their order.
//! Rules that pouch cannot express become comments, since leaving one out changes what the next one
//! gets.

mod lexer;
mod rules;

use std::collections::HashMap;

use super::{
    account::{Account, Encryption, LineKind, array, line},
    model::{Context, Imported, MOST_ACCOUNTS},
    shell,
    source::Source,
};
use lexer::{Kind, Token};

/// The words that begin a statement.
const STATEMENTS: &[&str] = &[
    "set", "account", "action", "match", "include", "cache", "ifdef", "ifndef", "endif",
];

/// The deepest nesting of included files.
const DEEPEST: usize = 4;

/// A statement without its keyword.
struct Statement {
    keyword: String,
    words: Vec<Token>,
    line: usize,
}

/// An action.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Maildir(String),
    Mbox(String),
    Pipe(Vec<String>),
    Lmtp(String),
    Drop,
    Keep,
    /// An action that pouch does not have, with its keyword.
    Unsupported(String),
}

impl Action {
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
            Self::Drop => Some("skip".into()),
            Self::Keep | Self::Unsupported(_) => None,
        }
    }
}

/// The settings of `set` that accounts need.
#[derive(Default)]
struct Settings {
    max_size: Option<(u64, usize)>,
    proxy: Option<(String, usize)>,
    checks_certificates: bool,
    timeout: Option<(u64, usize)>,
    received: bool,
}

/// Parses a `fdm.conf`.
pub(super) fn parse(source: &Source, context: &Context<'_>, imported: &mut Imported) {
    let words = words(&source.text, context, imported, 0);
    let statements = statements(words);
    let mut settings = Settings {
        received: true,
        ..Settings::default()
    };
    let mut actions: HashMap<String, Vec<Action>> = HashMap::new();
    let mut accounts = Vec::new();
    for statement in &statements {
        match statement.keyword.as_str() {
            "set" => set(statement, &mut settings, imported),
            "action" => {
                if let Some((name, parts)) = action(statement) {
                    actions.insert(name, parts);
                }
            }
            "account" => {
                accounts.extend(account(statement, source));
                unknown(statement, context, imported);
            }
            "cache" | "ifdef" | "ifndef" | "endif" | "match" | "include" => {}
            word => {
                let what = format!("unknown word `{word}`");
                imported.problem(context, (statement.line, 1), what);
            }
        }
    }
    for (mut account, name, caches) in accounts.into_iter().take(MOST_ACCOUNTS + 1) {
        if !account.is_unusable {
            apply(&mut account, &settings);
            let mut keeps = account.get("keep").is_some();
            let lines: Vec<_> = source.text.lines().collect();
            let matches = statements.iter().filter(|one| one.keyword == "match");
            keeps |= rules::apply(&mut account, &name, matches, &actions, &lines);
            let at = account.at;
            if !keeps {
                account.keep_none_by_default(at, "no keep");
            }
            if account.has_destination() {
                directories(&mut account);
            } else {
                let before = "has no action for all messages";
                account.propose_maildir(at, "no match all", before);
            }
            account.state = caches.iter().map(|cache| context.expand(cache)).collect();
        }
        imported.accounts.push(account);
    }
}

/// Returns the words of a file and of those that it includes.
fn words(text: &str, context: &Context<'_>, imported: &mut Imported, depth: usize) -> Vec<Token> {
    let (found, problems) = lexer::tokens(text);
    for (at, what) in problems {
        imported.problem(context, at, what);
    }
    let mut words = Vec::with_capacity(found.len());
    let mut found = found.into_iter().peekable();
    while let Some(word) = found.next() {
        if !word.is("include") {
            words.push(word);
            continue;
        }
        let Some(path) = found.next_if(|next| next.kind == Kind::Text) else {
            imported.problem(
                context,
                (word.line, word.column),
                "`include` without a path",
            );
            continue;
        };
        let at = (path.line, path.column);
        let path = context.expand(&path.text);
        match (context.read)(&path) {
            Some(bytes) if depth < DEEPEST => {
                let inner = Context {
                    path: &path,
                    ..*context
                };
                let source = Source::decode(&bytes, &inner, imported);
                words.extend(self::words(&source.text, &inner, imported, depth + 1));
            }
            Some(_) => imported.problem(context, at, "included files are nested too deeply"),
            None => imported.problem(context, at, "cannot read the included file"),
        }
    }
    words
}

/// Divides words into statements. In `match`, `account` and the first `action` are part of it.
fn statements(words: Vec<Token>) -> Vec<Statement> {
    let mut statements: Vec<Statement> = Vec::new();
    let (mut depth, mut has_action) = (0_usize, false);
    let mut before_names = false;
    for word in words {
        let in_match = statements
            .last()
            .is_some_and(|last| last.keyword == "match");
        let in_account = statements
            .last()
            .is_some_and(|last| last.keyword == "account");
        let is_start = word.kind == Kind::Word
            && depth == 0
            && STATEMENTS.contains(&word.text.as_str())
            && !(in_match && !has_action && matches!(&*word.text, "account" | "action"))
            && !(in_account && word.text == "cache")
            && !(in_match && word.text == "cache");
        match word.text.as_str() {
            "{" if word.kind == Kind::Word => depth += 1,
            "}" if word.kind == Kind::Word => depth = depth.saturating_sub(1),
            _ => {}
        }
        if is_start || statements.is_empty() {
            (has_action, before_names) = (false, false);
            statements.push(Statement {
                line: word.line,
                keyword: word.text,
                words: Vec::new(),
            });
        } else if let Some(last) = statements.last_mut() {
            has_action |= word.is("action")
                || word.is("actions")
                || (in_match && word.is("{") && !before_names);
            before_names = word.is("account") || word.is("accounts");
            last.words.push(word);
        }
    }
    statements
}

/// Returns the text, or the command, after a keyword.
fn value<'a>(words: &'a [Token], keyword: &str) -> Option<&'a Token> {
    let at = words.iter().position(|word| word.is(keyword))?;
    words.get(at + 1)
}

fn has(words: &[Token], keyword: &str) -> bool {
    words.iter().any(|word| word.is(keyword))
}

fn set(statement: &Statement, settings: &mut Settings, imported: &mut Imported) {
    let Some(word) = statement.words.first() else {
        return;
    };
    let value = statement.words.get(1).map(|word| word.text.as_str());
    let at = statement.line;
    match word.text.as_str() {
        "maximum-size" => {
            settings.max_size = value.and_then(size).map(|bytes| (bytes, at));
        }
        "proxy" => settings.proxy = value.map(|value| (value.to_owned(), at)),
        "verify-certificates" => settings.checks_certificates = true,
        "timeout" => {
            settings.timeout = value.and_then(|value| Some((value.parse().ok()?, at)));
        }
        "no-received" => settings.received = false,
        "unmatched-mail" => {
            let setting = format!("set unmatched-mail {}", value.unwrap_or_default());
            let now = "mail that no rule matches goes to the account's destination";
            imported
                .general
                .push(line(LineKind::Same, at, &setting, now));
        }
        other => {
            let setting = format!("set {other}");
            let now = "no counterpart is needed";
            imported
                .general
                .push(line(LineKind::Same, at, &setting, now));
        }
    }
}

/// Parses a size with a unit.
fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..]
        .to_ascii_lowercase()
        .trim_end_matches('b')
    {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Parses an action, which may be a list of actions.
fn action(statement: &Statement) -> Option<(String, Vec<Action>)> {
    let name = statement.words.first()?.text.clone();
    Some((name, parts(&statement.words[1..])))
}

/// Parses the parts of an action.
fn parts(words: &[Token]) -> Vec<Action> {
    let text = |at: usize| {
        let word = words.get(at).filter(|word| word.kind == Kind::Text);
        word.map(|word| word.text.clone()).unwrap_or_default()
    };
    let mut parts = Vec::new();
    for (at, word) in words
        .iter()
        .enumerate()
        .filter(|(_, word)| word.kind == Kind::Word)
    {
        let has_path = !text(at + 1).is_empty();
        parts.push(match word.text.as_str() {
            "maildir" | "mbox" | "pipe" | "exec" if !has_path => {
                Action::Unsupported(word.text.clone())
            }
            "maildir" => Action::Maildir(path(&text(at + 1))),
            "mbox" => Action::Mbox(path(&text(at + 1))),
            "pipe" | "exec" => Action::Pipe(shell::words(&text(at + 1))),
            "lmtp" => {
                let host = value(words, "server").or(words.get(at + 1));
                let port = value(words, "port").map_or("24", |port| &port.text);
                match host {
                    Some(host) if host.text.starts_with('/') => {
                        Action::Lmtp(format!("unix:{}", host.text))
                    }
                    Some(host) => Action::Lmtp(format!("{}:{port}", host.text)),
                    None => Action::Unsupported("lmtp".into()),
                }
            }
            "drop" => Action::Drop,
            "keep" => Action::Keep,
            "tag" | "rewrite" | "smtp" | "imap" | "imaps" | "compress" | "stdout" | "write"
            | "append" | "add-header" | "remove-header" | "remove-headers" | "add-to-cache"
            | "remove-from-cache" | "nntp" => Action::Unsupported(word.text.clone()),
            _ => continue,
        });
    }
    parts
}

/// Returns a path with the tags for the home directory resolved.
fn path(text: &str) -> String {
    let home = ["%h", "%[home]"]
        .iter()
        .find_map(|tag| text.strip_prefix(tag));
    let path = match home {
        Some(rest) => format!("~{rest}"),
        None => text.to_owned(),
    };
    let short = path.trim_end_matches('/');
    if short.is_empty() {
        path
    } else {
        short.to_owned()
    }
}

/// Parses an account. Returns it with its name in rules and the paths of its caches.
fn account(statement: &Statement, source: &Source) -> Option<(Account, String, Vec<String>)> {
    let words = &statement.words;
    let name = words.first()?.text.clone();
    let at = statement.line;
    let mut account = Account::new(&name, at);
    let words = &words[1..];
    let encryption = if has(words, "pop3s") {
        Encryption::Implicit
    } else if has(words, "pop3") {
        if has(words, "starttls") {
            Encryption::StartTls
        } else {
            Encryption::Off
        }
    } else {
        let kind = words.iter().find(|word| {
            word.kind == Kind::Word && !["disabled", "keep"].contains(&word.text.as_str())
        });
        let kind = kind.map_or("no type", |word| word.text.as_str());
        account.is_unusable = true;
        account.left_out(at, kind, "pouch fetches by POP3 only");
        return Some((account, name, Vec::new()));
    };
    let kind = if encryption == Encryption::Implicit {
        "pop3s"
    } else {
        "pop3"
    };
    account.encrypt(encryption, at, kind);
    if let Some(server) = value(words, "server") {
        account.host = Some(server.text.clone());
    } else if let Some(command) = value(words, "pipe") {
        account.host = Some("localhost".into());
        let command = shell::words(&command.text);
        account.command(at, "pipe", "connect-command", &command);
    }
    if let Some(port) = value(words, "port") {
        account.port(port.line, "port", &port.text);
    }
    account.user = value(words, "user").map(|user| user.text.clone());
    password(&mut account, words, source);
    flags(&mut account, words);
    let cache = value(words, "cache").map(|cache| cache.text.clone());
    Some((account, name, cache.into_iter().collect()))
}

/// Reports the words of an account that are not known.
fn unknown(statement: &Statement, context: &Context<'_>, imported: &mut Imported) {
    const KNOWN: &[&str] = &[
        "disabled",
        "pop3",
        "pop3s",
        "imap",
        "imaps",
        "maildir",
        "maildirs",
        "mbox",
        "mboxes",
        "nntp",
        "nntps",
        "stdin",
        "server",
        "port",
        "user",
        "pass",
        "pipe",
        "starttls",
        "keep",
        "new-only",
        "old-only",
        "cache",
        "only",
        "no-uidl",
        "no-apop",
        "no-verify",
        "no-cram-md5",
        "no-plain",
        "no-login",
        "insecure",
        "folder",
        "folders",
        "group",
        "groups",
        "users",
        "oauthbearer",
        "xoauth2",
        "{",
        "}",
        ",",
    ];
    for (at, word) in statement.words.iter().enumerate().skip(1) {
        let is_value = statement.words[at - 1].is("port");
        if word.kind != Kind::Word || is_value || KNOWN.contains(&word.text.as_str()) {
            continue;
        }
        // a password without quotes
        let is_secret = statement.words[at - 1].is("pass");
        let what = if is_secret {
            "a password without quotes".to_owned()
        } else {
            format!("unknown word `{}`", word.text)
        };
        imported.problem(context, (word.line, word.column), what);
    }
}

fn password(account: &mut Account, words: &[Token], source: &Source) {
    match value(words, "pass") {
        Some(word) if word.kind == Kind::Command => {
            account.password_command(word.line, "pass", &word.text);
        }
        Some(word) => account.secret(source.bytes(&word.text)),
        None => {
            let at = account.at;
            let advice = "pouch does not read ~/.netrc: set `password-command` or `password-file`";
            account.left_out(at, "no pass", advice);
        }
    }
}

fn flags(account: &mut Account, words: &[Token]) {
    for word in words.iter().filter(|word| word.kind == Kind::Word) {
        let (at, text) = (word.line, word.text.as_str());
        match text {
            "disabled" => account.take(at, text, "enabled", false),
            "keep" => account.keep_all(at, text),
            "no-uidl" => account.take(at, text, "quirks", array(&["no-uidl"])),
            "new-only" => account.same(at, text, "only new messages"),
            "old-only" => account.left_out(at, text, "pouch fetches each message once"),
            "no-apop" => account.same(at, text, "APOP is used only with `auth = \"apop\"`"),
            "no-verify" => account.changed(
                at,
                text,
                "accepts any certificate",
                "checks the certificate; if it is self-signed, set `tls-pin` or `tls-ca-file`",
            ),
            "no-cram-md5" | "no-plain" | "no-login" => {
                account.same(at, text, "applies to IMAP only");
            }
            "insecure" => account.left_out(at, text, "see `tls` in pouch-config(5)"),
            _ => {}
        }
    }
}

/// Applies the settings of `set`.
fn apply(account: &mut Account, settings: &Settings) {
    if let Some((bytes, at)) = settings.max_size {
        account.max_size(at, "set maximum-size", bytes);
    }
    if let Some((proxy, at)) = &settings.proxy {
        account.proxy(*at, "set proxy", proxy);
    }
    if let Some((seconds, at)) = settings.timeout {
        account.timeout(at, "set timeout", seconds);
    }
    let is_tls = account
        .encryption
        .as_ref()
        .is_some_and(|(mode, ..)| *mode != Encryption::Off);
    let is_reported = account.lines.iter().any(|line| line.setting == "no-verify");
    if !settings.checks_certificates && is_tls && !is_reported {
        account.changed(
            account.at,
            "no verify-certificates",
            "accepts any certificate",
            "checks the certificate; if it is self-signed, set `tls-pin` or `tls-ca-file`",
        );
    }
    if settings.received {
        let now = "adds none; `add-headers = [\"received\"]` adds it";
        account.changed(
            account.at,
            "no-received",
            "adds a Received field by default",
            now,
        );
    }
}

/// Reports tags in paths, which pouch does not replace.
fn directories(account: &mut Account) {
    let has_tag = ["maildir", "mbox"].iter().any(|key| {
        let path = account.get(key).and_then(toml_edit::Value::as_str);
        path.is_some_and(|path| path.contains('%'))
    });
    if has_tag {
        let at = account.at;
        let before = "replaces tags such as %[tag] in the path";
        account.propose_maildir(at, "tags in a path", before);
    }
}
