//! fetchmail: `~/.fetchmailrc`.
//!
//! The grammar is that of fetchmail 6.4. What fetchmail does by default is reported as well where
//! pouch differs: it delivers by SMTP, and it rewrites addresses.

mod lexer;
mod mda;
mod parser;

use toml_edit::{InlineTable, Value};

use super::{
    account::{Account, Encryption, LineKind, array, clean_name, line},
    model::{Context, Imported, MOST_ACCOUNTS},
    source::Source,
};
use parser::{Entry, Opt};

/// Options of `set` that have no counterpart and need none.
const SILENT_GLOBALS: &str =
    "pouch logs to standard error, and reports failed messages by mail to the mailbox itself";

/// Parses a fetchmailrc.
pub(super) fn parse(source: &Source, context: &Context<'_>, imported: &mut Imported) {
    let parsed = parser::parse(lexer::tokens(&source.text));
    for (at, what) in &parsed.problems {
        imported.problem(context, *at, what.clone());
    }
    let mut id_file = context.beside(".fetchids");
    let mut silent = Vec::new();
    for opt in &parsed.globals {
        match opt.word {
            "idfile" => id_file = context.expand(opt.value()),
            "daemon" => {
                let setting = format!("set daemon {}", opt.value());
                let advice = format!(
                    "run `pouch fetch --every {}s`, or use the systemd timer",
                    opt.value().parse().unwrap_or(300)
                );
                let line = line(LineKind::LeftOut, opt.line, &setting, advice);
                imported.general.push(line);
            }
            word => silent.push((opt.line, word)),
        }
    }
    if let Some((at, _)) = silent.first() {
        let words: Vec<_> = silent.iter().map(|(_, word)| *word).collect();
        let setting = format!("set {}", words.join(", "));
        imported
            .general
            .push(line(LineKind::Same, *at, &setting, SILENT_GLOBALS));
    }
    for entry in &parsed.entries {
        let no_user = [Vec::new()];
        let users = if entry.users.is_empty() {
            &no_user[..]
        } else {
            &entry.users
        };
        for user in users {
            if imported.accounts.len() > MOST_ACCOUNTS {
                break;
            }
            let mut account = account(entry, user, context, source);
            account.state.push(id_file.clone());
            imported.accounts.push(account);
        }
    }
}

/// The options of one user, of which the last one with a word counts.
struct Options<'a>(Vec<&'a Opt>);

impl<'a> Options<'a> {
    fn last(&self, word: &str) -> Option<&'a Opt> {
        self.0.iter().rev().find(|opt| opt.word == word).copied()
    }

    /// Returns the value of an option that is not negated or empty.
    fn value(&self, word: &str) -> Option<(&'a str, usize)> {
        let opt = self.last(word).filter(|opt| !opt.negated)?;
        Some((opt.value(), opt.line))
    }

    /// Returns whether a flag is set or negated.
    fn flag(&self, word: &str) -> Option<(bool, usize)> {
        self.last(word).map(|opt| (!opt.negated, opt.line))
    }
}

fn account(entry: &Entry, user: &[Opt], context: &Context<'_>, source: &Source) -> Account {
    let at = user.first().map_or(entry.line, |opt| opt.line);
    let options = Options(entry.options.iter().chain(user).collect());
    let name = options.last("via").map_or_else(
        || user.first().map_or(entry.name.as_str(), |_| &entry.name),
        |_| entry.name.as_str(),
    );
    let mut account = Account::new(name, at);
    let host = options
        .value("via")
        .map_or(entry.name.as_str(), |(via, _)| via);
    account.host = Some(host.to_owned());
    if host != entry.name {
        account.aliases.push(entry.name.clone());
        account.taken(entry.line, "via", format!("host = \"{host}\""));
    }
    let names = names(&options, context);
    account.user = Some(names.remote.clone());
    if let Some((password, _)) = options.value("password") {
        account.secret(source.bytes(password));
    } else {
        account.left_out(
            at,
            "no password",
            "pouch does not read ~/.netrc: set `password-command` or `password-file`",
        );
    }
    protocol(&mut account, &options);
    if account.is_unusable {
        return account;
    }
    encryption(&mut account, &options, at);
    retention(&mut account, &options, at);
    limits(&mut account, &options);
    commands(&mut account, &options);
    mda::destination(&mut account, &options, &names, at);
    multidrop(&mut account, &options);
    unchanged(&mut account, &options, at);
    if entry.is_skipped {
        account.take(entry.line, "skip", "enabled", false);
    }
    account
}

/// The names of a user.
struct Names {
    remote: String,
    /// The local names to which mail is delivered.
    local: Vec<String>,
}

/// Returns the names of a user: `user R there is L here`, or `user L here is R there`.
fn names(options: &Options<'_>, context: &Context<'_>) -> Names {
    let mut names = Names {
        remote: context.login.to_owned(),
        local: Vec::new(),
    };
    let mut here = false;
    for opt in &options.0 {
        match opt.word {
            "user" => {
                here = opt.is_here == Some(true);
                if here {
                    names.local = vec![opt.value().to_owned()];
                } else {
                    opt.value().clone_into(&mut names.remote);
                }
            }
            "is" | "to" if opt.is_here == Some(false) || here => {
                opt.value().clone_into(&mut names.remote);
            }
            "is" | "to" => {
                let local = opt.values.iter();
                names.local = local
                    .map(|(name, other)| other.as_ref().unwrap_or(name).clone())
                    .filter(|name| name != "*")
                    .collect();
            }
            _ => {}
        }
    }
    // the rest of the mail for several recipients is for the user who runs fetchmail
    if has_several_recipients(options) {
        names.local.clear();
    }
    if names.local.is_empty() {
        names.local.push(context.login.to_owned());
    }
    names
}

fn protocol(account: &mut Account, options: &Options<'_>) {
    let (protocol, at) = options.value("protocol").unwrap_or(("auto", 0));
    let setting = format!("protocol {}", protocol.to_lowercase());
    match protocol.to_lowercase().as_str() {
        "pop3" => account.same(at, &setting, "POP3"),
        "auto" => {
            let before = "tries several protocols";
            account.changed(at, "protocol auto", before, "uses POP3");
        }
        "apop" => account.take(at, &setting, "auth", "apop"),
        _ => {
            account.is_unusable = true;
            account.left_out(at, &setting, "pouch fetches by POP3 only");
        }
    }
    if let Some((port, at)) = options.value("port") {
        account.port(at, "port", port);
        if ["143", "993", "imap", "imaps"].contains(&port) {
            account.is_unusable = true;
            account.left_out(
                at,
                "port",
                "this is the IMAP port, and pouch fetches by POP3 only",
            );
        }
    }
    let Some((auth, at)) = options.value("auth") else {
        return;
    };
    let setting = format!("auth {auth}");
    match auth.to_lowercase().as_str() {
        "any" | "password" => account.same(at, &setting, "auth = \"auto\""),
        "cram-md5" => account.take(at, &setting, "auth", "cram-md5"),
        "external" => account.take(at, &setting, "auth", "external"),
        "xoauth2" | "oauthbearer" => {
            account.left_out(at, &setting, "set `oauth` or `token-command`");
        }
        _ => account.left_out(at, &setting, "pouch does not support this method"),
    }
}

fn encryption(account: &mut Account, options: &Options<'_>, at: usize) {
    let protocol = options.value("sslproto");
    match (options.flag("ssl"), protocol) {
        (Some((true, at)), _) => account.encrypt(Encryption::Implicit, at, "ssl"),
        (_, Some(("", at))) => account.encrypt(Encryption::Off, at, "sslproto ''"),
        (_, Some((protocol, at))) if protocol.to_lowercase().starts_with("tls") => {
            account.encrypt(Encryption::StartTls, at, "sslproto");
        }
        (_, _) if account.port == Some(995) => {
            account.encrypt(Encryption::Implicit, at, "port 995");
        }
        (flag, _) => {
            let at = flag.map_or(at, |(_, at)| at);
            account.encrypt(Encryption::Opportunistic, at, "no ssl");
        }
    }
    match options.flag("sslcertck") {
        Some((false, at)) => account.changed(
            at,
            "no sslcertck",
            "accepts any certificate",
            "checks the certificate; if it is self-signed, set `tls-pin` or `tls-ca-file`",
        ),
        Some((true, at)) => account.same(at, "sslcertck", "certificates are checked"),
        None => {}
    }
    if let Some((file, at)) = options.value("sslcertfile") {
        account.take(at, "sslcertfile", "tls-ca-file", file);
    }
    if let Some((path, at)) = options.value("sslcertpath") {
        if path.trim_end_matches('/') == "/etc/ssl/certs" {
            account.same(at, "sslcertpath", "the authorities of the system");
        } else {
            let advice = "the system's authorities are used; for others, set `tls-ca-file`";
            account.left_out(at, "sslcertpath", advice);
        }
    }
    if let Some((_, at)) = options.value("sslfingerprint") {
        let advice = "it is an MD5 fingerprint: set `tls-pin` to the SHA-256 fingerprint that \
                      `pouch check` shows";
        account.left_out(at, "sslfingerprint", advice);
    }
    if let Some((name, at)) = options.value("sslcommonname") {
        account.server_name(at, "sslcommonname", name);
    }
    if let (Some((cert, at)), Some((key, _))) = (options.value("sslcert"), options.value("sslkey"))
    {
        account.take(at, "sslcert", "tls-client-cert", cert);
        account.take(at, "sslkey", "tls-client-key", key);
    }
}

fn retention(account: &mut Account, options: &Options<'_>, at: usize) {
    let keeps = matches!(options.flag("keep"), Some((true, _)));
    let at = options.flag("keep").map_or(at, |(_, at)| at);
    if keeps {
        account.keep_all(at, "keep");
    } else if options.flag("keep").is_some() {
        account.keep_none(at, "no keep");
    } else {
        account.keep_none_by_default(at, "no keep");
    }
    if let Some((true, at)) = options.flag("fetchall") {
        if keeps {
            let before = "fetches every message in every run";
            account.changed(at, "fetchall", before, "fetches each message once");
        } else {
            account.same(at, "fetchall", "every message that was not fetched before");
        }
    }
    for word in ["flush", "limitflush"] {
        if let Some((true, at)) = options.flag(word) {
            let advice = "pouch deletes nothing that it did not fetch; see \
                          `pouch ledger catchup --as-fetched`";
            account.left_out(at, word, advice);
        }
    }
    if let Some((true, at)) = options.flag("uidl") {
        account.same(at, "uidl", "messages are recognised by their UIDs");
    }
}

fn limits(account: &mut Account, options: &Options<'_>) {
    let number = |word| {
        let (value, at) = options.value(word)?;
        Some((value.parse::<u64>(), at))
    };
    match number("limit") {
        Some((Ok(bytes), at)) => account.max_size(at, "limit", bytes),
        Some((Err(_), at)) => account.left_out(at, "limit", "not a number; set `max-size`"),
        None => {}
    }
    match number("fetchlimit") {
        Some((Ok(0), at)) => account.same(at, "fetchlimit", "no limit"),
        Some((Ok(count), at)) => {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            account.take(at, "fetchlimit", "limit", count);
        }
        Some((Err(_), at)) => account.left_out(at, "fetchlimit", "not a number; set `limit`"),
        None => {}
    }
    match number("timeout") {
        Some((Ok(seconds), at)) if seconds > 0 => account.timeout(at, "timeout", seconds),
        Some((_, at)) => account.left_out(at, "timeout", "set `timeout`"),
        None => {}
    }
    if let Some((_, at)) = options.value("interval") {
        let advice = "use a second timer, with `pouch fetch ACCOUNT`";
        account.left_out(at, "interval", advice);
    }
}

fn commands(account: &mut Account, options: &Options<'_>) {
    let shell = |command: &str| ["sh".to_owned(), "-c".to_owned(), command.to_owned()];
    if let Some((command, at)) = options.value("preconnect") {
        account.command(at, "preconnect", "before", &shell(command));
    }
    if let Some((command, at)) = options.value("postconnect") {
        account.command(at, "postconnect", "after", &shell(command));
        let before = "runs it after every poll";
        account.changed(
            at,
            "postconnect",
            before,
            "runs `after` if mail was delivered",
        );
    }
    if let Some((command, at)) = options.value("plugin") {
        // fetchmail appends host and port if the command has neither
        let command = if command.contains("%h") || command.contains("%p") {
            command.to_owned()
        } else {
            format!("{command} %h %p")
        };
        account.command(
            at,
            "plugin",
            "connect-command",
            &super::shell::words(&command),
        );
    }
}

/// Returns whether an account is for several recipients.
fn has_several_recipients(options: &Options<'_>) -> bool {
    let to = options.last("to").or(options.last("is"));
    let is_route = |(name, other): &(String, Option<String>)| name == "*" || other.is_some();
    to.is_some_and(|opt| opt.values.len() > 1 || opt.values.iter().any(is_route))
}

fn multidrop(account: &mut Account, options: &Options<'_>) {
    let to = options.last("to").or(options.last("is"));
    let envelope = options.last("envelope").filter(|opt| !opt.negated);
    if !has_several_recipients(options) {
        if let Some(opt) = envelope {
            account.same(opt.line, "envelope", "applies to several recipients only");
        }
        return;
    }
    let at = to.map_or(0, |opt| opt.line);
    let is_virtual = options.value("qvirtual").is_some();
    let routes = to.filter(|_| !is_virtual).map(|opt| routes(options, opt));
    match (envelope, routes.filter(|routes| !routes.is_empty())) {
        (Some(envelope), Some(routes)) => add_multidrop(account, envelope, routes, at),
        (envelope, _) => {
            let header = envelope.and_then(|opt| opt.values.last());
            let header = header.map_or("", |(value, _)| value);
            let advice = format!(
                "mail for several local users: write a table `multidrop` with `header = \
                 \"{header}\"` and their addresses; see pouch-config(5)"
            );
            account.left_out(at, "several recipients", advice);
        }
    }
    for word in ["aka", "localdomains", "qvirtual"] {
        if let Some(opt) = options.last(word) {
            account.left_out(
                opt.line,
                word,
                "see the table `multidrop` in pouch-config(5)",
            );
        }
    }
}

/// Returns the destination of each recipient, by the local part of the address.
fn routes(options: &Options<'_>, to: &Opt) -> InlineTable {
    let mut routes = InlineTable::new();
    for (name, other) in to.values.iter().filter(|(name, _)| name != "*") {
        let local = other.as_ref().unwrap_or(name);
        let destination = match options.value("mda") {
            Some((command, _)) => mda::in_rule(command, local),
            None => Some(format!("maildir:~/Mail/{}", clean_name(local))),
        };
        if let Some(destination) = destination {
            let address = if name.contains('@') {
                name.clone()
            } else {
                format!("{name}@*")
            };
            routes.insert(address, destination.into());
        }
    }
    routes
}

fn add_multidrop(account: &mut Account, envelope: &Opt, routes: InlineTable, at: usize) {
    // fetchmail counts the fields to skip, pouch those up to the one to use
    let (header, skipped) = match envelope.values.as_slice() {
        [(number, _), (header, _)] => (header, number.parse().unwrap_or(0)),
        [(header, _)] => (header, 0),
        _ => return,
    };
    account.multidrop = vec![("header", array(&[header]))];
    if skipped > 0 {
        account.multidrop.push(("occurrence", (skipped + 1).into()));
    }
    account
        .multidrop
        .push(("recipients", Value::InlineTable(routes)));
    account.taken(
        at,
        "several recipients",
        "the table `multidrop`: please check it",
    );
    let before = "delivers mail for other recipients to the user who runs it";
    let now = "delivers it to the account's destination";
    account.changed(at, "other recipients", before, now);
}

/// Reports the options that change messages or have no effect.
fn unchanged(account: &mut Account, options: &Options<'_>, at: usize) {
    match options.flag("rewrite") {
        Some((false, at)) => account.same(at, "no rewrite", "messages are not changed"),
        flag => account.changed(
            flag.map_or(at, |(_, at)| at),
            "rewrite",
            "completes addresses in headers",
            "delivers messages unchanged",
        ),
    }
    for word in [
        "mimedecode",
        "stripcr",
        "forcecr",
        "dropstatus",
        "dropdelivered",
    ] {
        if let Some((true, at)) = options.flag(word) {
            account.changed(at, word, "changes messages", "delivers messages unchanged");
        }
    }
    for (word, now) in [
        ("pass8bits", "messages are not changed"),
        ("idle", "applies to IMAP only"),
        ("dns", "applies to several recipients only"),
        ("checkalias", "applies to several recipients only"),
        (
            "tracepolls",
            "`add-headers = [\"received\"]` records the account",
        ),
        ("batchlimit", "applies to SMTP only"),
        ("warnings", "each larger message is reported once"),
        ("fetchsizelimit", "all sizes are listed together"),
        ("fastuidl", "all UIDs are listed together"),
        ("expunge", "applies to IMAP only"),
        ("antispam", "applies to SMTP only"),
        ("properties", "applies to other programs only"),
        (
            "badheader",
            "messages with a malformed header are delivered",
        ),
        ("esmtpname", "applies to SMTP only"),
        ("smtpaddress", "applies to SMTP only"),
        ("smtpname", "applies to SMTP only"),
    ] {
        if let Some(opt) = options.last(word) {
            account.same(opt.line, word, now);
        }
    }
    for word in [
        "interface",
        "monitor",
        "plugout",
        "principal",
        "esmtppassword",
        "remotefolder",
    ] {
        if let Some(opt) = options.last(word).filter(|opt| !opt.negated) {
            account.left_out(opt.line, word, "pouch has no such option");
        }
    }
}
