//! Claws Mail and Sylpheed: `accountrc`.

use super::{
    account::{Account, Encryption},
    ini::{Ini, Section},
    model::{Context, Imported, MOST_ACCOUNTS},
    program::Program,
    source::Source,
};

/// Parses an `accountrc`. Both programs have the same ancestor, and most keys in common.
pub(super) fn parse(
    program: Program,
    source: &Source,
    context: &Context<'_>,
    imported: &mut Imported,
) {
    let ini = Ini::parse(&source.text, false);
    for line in &ini.odd_lines {
        imported.problem(context, (*line, 1), "neither a section nor `KEY=VALUE`");
    }
    for section in &ini.sections {
        if section.name.starts_with("Account") && imported.accounts.len() <= MOST_ACCOUNTS {
            let account = account(program, section, context, source);
            imported.accounts.push(account);
        }
    }
}

fn account(program: Program, section: &Section, context: &Context<'_>, source: &Source) -> Account {
    let at = |key: &str| section.entry(key).map_or(section.line, |entry| entry.line);
    let name = section
        .text("account_name")
        .or(section.text("receive_server"));
    let mut account = Account::new(name.unwrap_or_default(), section.line);
    // 0 is POP3; Sylpheed also has 1 for APOP
    let protocol = section.get("protocol").unwrap_or("0");
    if !matches!(protocol, "0" | "1") || (protocol == "1" && program == Program::Claws) {
        account.is_unusable = true;
        account.left_out(at("protocol"), "protocol", "pouch fetches by POP3 only");
        return account;
    }
    account.host = section.text("receive_server").map(str::to_owned);
    account.user = section.text("user_id").map(str::to_owned);
    if section.flag("set_popport") == Some(true)
        && let Some(port) = section.entry("pop_port")
    {
        account.port(port.line, "pop_port", &port.value);
    }
    let encryption = match section.get("ssl_pop") {
        Some("1") => Encryption::Implicit,
        Some("2") => Encryption::StartTls,
        _ => Encryption::Off,
    };
    let setting = format!("ssl_pop={}", section.get("ssl_pop").unwrap_or("0"));
    account.encrypt(encryption, at("ssl_pop"), &setting);
    if section.flag("use_apop_auth") == Some(true) || protocol == "1" {
        account.take(at("use_apop_auth"), "use_apop_auth", "auth", "apop");
    }
    match section
        .text("password")
        .filter(|_| program == Program::Sylpheed)
    {
        Some(password) => account.secret(source.bytes(password)),
        None => account.left_out(
            section.line,
            "password",
            "it is encrypted: set `password-command` or `password-file`",
        ),
    }
    retention(&mut account, section);
    fetching(&mut account, section);
    let before = "delivers to its own folders";
    account.propose_maildir(section.line, "folders", before);
    state(&mut account, context);
    account
}

/// Takes over what is fetched, and how.
fn fetching(account: &mut Account, section: &Section) {
    let at = |key: &str| section.entry(key).map_or(section.line, |entry| entry.line);
    if section.flag("enable_size_limit") == Some(true) {
        let kib = section.number("size_limit").unwrap_or(1024);
        let bytes = u64::try_from(kib).unwrap_or(0).saturating_mul(1024);
        account.max_size(at("size_limit"), "size_limit", bytes);
    }
    if section.flag("get_all_mail") == Some(true) {
        let before = "fetches every message in every run";
        let now = "fetches each message once";
        account.changed(at("get_all_mail"), "get_all_mail", before, now);
    }
    if section.flag("use_socks") == Some(true) || section.flag("use_proxy") == Some(true) {
        proxy(account, section);
    }
}

fn proxy(account: &mut Account, section: &Section) {
    let at = section
        .entry("proxy_host")
        .map_or(section.line, |entry| entry.line);
    match section.text("proxy_host") {
        Some(host) => {
            let port = section.number("proxy_port").unwrap_or(1080);
            account.take(at, "proxy_host", "proxy", format!("socks5://{host}:{port}"));
        }
        None => account.left_out(at, "proxy", "set `proxy`"),
    }
}

fn retention(account: &mut Account, section: &Section) {
    let at = |key: &str| section.entry(key).map_or(section.line, |entry| entry.line);
    if section.flag("remove_mail") == Some(false) {
        return account.keep_all(at("remove_mail"), "remove_mail=0");
    }
    let days = section.number("message_leave_time").unwrap_or(7).max(0);
    let hours = section.number("message_leave_hour").unwrap_or(0).max(0);
    // more than the days if hours are added, so that nothing is deleted too early
    let days = u64::try_from(days + i64::from(hours > 0)).unwrap_or(0);
    account.keep_days(at("message_leave_time"), "message_leave_time", days);
    account.was_deleting = days == 0;
}

/// Adds the paths of the state file, whose name has the user's name without special characters.
fn state(account: &mut Account, context: &Context<'_>) {
    let (Some(host), Some(user)) = (&account.host, &account.user) else {
        return;
    };
    let replaced: String = user
        .chars()
        .map(|c| if "/\\:*?\"<>| ".contains(c) { '_' } else { c })
        .collect();
    let percent = |c: char| {
        let mut encoded = String::new();
        if c.is_ascii_alphanumeric() || "-_.@".contains(c) {
            encoded.push(c);
        } else {
            for byte in c.to_string().bytes() {
                encoded.push_str(&format!("%{byte:02x}"));
            }
        }
        encoded
    };
    let encoded: String = user.chars().map(percent).collect();
    for user in [user, &replaced, &encoded, &encoded.replace('@', "%40")] {
        // a user name from the file must not lead elsewhere
        if user.contains('/') || host.contains('/') {
            continue;
        }
        let name = format!("{host}-{user}");
        account.state.push(context.beside("uidl").join(&name));
        account.state.push(context.beside(&format!("uidl-{name}")));
    }
}
