//! `KMail`: `~/.config/akonadi_pop3_resource_NUMBERrc`, which has the seen messages as well.

use super::{
    account::{Account, Encryption},
    ini::{Ini, Section},
    model::{Context, Imported},
    source::Source,
};

/// Parses the file of one resource.
pub(super) fn parse(source: &Source, context: &Context<'_>, imported: &mut Imported) {
    let ini = Ini::parse(&source.text, false);
    let Some(general) = ini.section("General") else {
        imported.problem(context, (1, 1), "no section `[General]`");
        return;
    };
    let at = |key: &str| general.entry(key).map_or(general.line, |entry| entry.line);
    let name = general.text("host").unwrap_or("kmail");
    let mut account = Account::new(name, general.line);
    account.host = general.text("host").map(str::to_owned);
    account.user = general.text("login").map(str::to_owned);
    if let Some(port) = general.entry("port") {
        account.port(port.line, "port", &port.value);
    }
    let encryption = match (general.flag("useSSL"), general.flag("useTLS")) {
        (Some(true), _) => (Encryption::Implicit, "useSSL"),
        (_, Some(true)) => (Encryption::StartTls, "useTLS"),
        _ => (Encryption::Off, "no useSSL"),
    };
    account.encrypt(encryption.0, at(encryption.1), encryption.1);
    login(&mut account, general);
    let advice = "it is in KWallet: set `password-command` or `password-file`";
    account.left_out(0, "password", advice);
    retention(&mut account, general);
    if general.flag("pipelining") == Some(true) {
        account.same(
            at("pipelining"),
            "pipelining",
            "used if the server supports it",
        );
    }
    if general.flag("filterOnServer") == Some(true) {
        let advice = "it asks before it fetches large messages: set `max-size`";
        account.left_out(at("filterOnServer"), "filterOnServer", advice);
    }
    if let Some(command) = general
        .entry("precommand")
        .filter(|entry| !entry.value.is_empty())
    {
        let list = super::shell::words(&command.value);
        account.command(command.line, "precommand", "before", &list);
    }
    if general.flag("useProxy") == Some(true) {
        account.left_out(at("useProxy"), "useProxy", "set `proxy`");
    }
    account.propose_maildir(general.line, "folders", "delivers to its own folders");
    account.state = vec![context.path.to_owned()];
    imported.accounts.push(account);
}

fn login(account: &mut Account, general: &Section) {
    let at = |key: &str| general.entry(key).map_or(general.line, |entry| entry.line);
    let method = general.get("authenticationMethod").unwrap_or("7");
    let setting = format!("authenticationMethod {method}");
    let method_at = at("authenticationMethod");
    match method {
        "0" | "1" | "7" => account.same(method_at, &setting, "auth = \"auto\""),
        "2" => account.take(method_at, &setting, "auth", "cram-md5"),
        "8" => account.take(method_at, &setting, "auth", "apop"),
        _ => account.left_out(method_at, &setting, "set `auth`"),
    }
}

fn retention(account: &mut Account, general: &Section) {
    let at = |key: &str| general.entry(key).map_or(general.line, |entry| entry.line);
    if general.flag("leaveOnServer") == Some(true) {
        let limit = |key: &str| general.number(key).filter(|number| *number > 0);
        match limit("leaveOnServerDays").and_then(|days| u64::try_from(days).ok()) {
            Some(days) => account.keep_days(at("leaveOnServerDays"), "leaveOnServerDays", days),
            None => account.keep_all(at("leaveOnServer"), "leaveOnServer"),
        }
        account.was_deleting = false;
        if let Some(count) = limit("leaveOnServerCount") {
            account.take(
                at("leaveOnServerCount"),
                "leaveOnServerCount",
                "keep-newest",
                count,
            );
        }
        if let Some(size) = limit("leaveOnServerSize") {
            let size = format!("{size}MB");
            account.take(
                at("leaveOnServerSize"),
                "leaveOnServerSize",
                "keep-total",
                size,
            );
        }
    } else {
        account.keep_none(at("leaveOnServer"), "leaveOnServer false");
    }
}
