//! Evolution: `~/.config/evolution/sources/*.source`, one account in each file.

use super::{
    account::{Account, Encryption},
    ini::Ini,
    model::{Context, Imported},
    source::Source,
};

/// Parses a source. One that is not a POP account is skipped.
pub(super) fn parse(source: &Source, context: &Context<'_>, imported: &mut Imported) {
    let ini = Ini::parse(&source.text, false);
    let get = |section: &str, key: &str| {
        let entry = ini.section(section)?.entry(key)?;
        Some((entry.value.clone(), entry.line))
    };
    if get("Mail Account", "BackendName").is_none_or(|(name, _)| name != "pop") {
        return;
    }
    let name = get("Data Source", "DisplayName").unwrap_or_default();
    let mut account = Account::new(&name.0, name.1.max(1));
    account.host = get("Authentication", "Host").map(|(host, _)| host);
    account.user = get("Authentication", "User").map(|(user, _)| user);
    if let Some((port, at)) = get("Authentication", "Port") {
        account.port(at, "Port", &port);
    }
    let (method, at) = get("Security", "Method").unwrap_or_default();
    let encryption = match method.as_str() {
        "tls" | "ssl-on-alternate-port" => Encryption::Implicit,
        "starttls-on-standard-port" => Encryption::StartTls,
        _ => Encryption::Off,
    };
    account.encrypt(encryption, at, &format!("Method {method}"));
    if let Some((name, at)) = get("Authentication", "Method") {
        method_of_login(&mut account, &name, at);
    }
    let advice = "it is in the keyring: set `password-command`, for instance \
                  [\"secret-tool\", \"lookup\", …]";
    account.left_out(0, "password", advice);
    let keeps = get("Pop Backend", "KeepOnServer");
    let days = get("Pop Backend", "DeleteAfterDays");
    let count = days.as_ref().and_then(|(days, _)| days.parse::<u64>().ok());
    match (&keeps, count.filter(|days| *days > 0)) {
        (Some((keep, at)), _) if keep == "false" => account.keep_none(*at, "KeepOnServer=false"),
        (_, Some(count)) => {
            account.keep_days(days.map_or(0, |(_, at)| at), "DeleteAfterDays", count);
        }
        (keep, None) => {
            account.keep_all(keep.as_ref().map_or(0, |(_, at)| *at), "KeepOnServer");
        }
    }
    if let Some((_, at)) = get("Pop Backend", "DeleteExpunged").filter(|(value, _)| value == "true")
    {
        let advice = "set `sync-deletions`, which does this for the Maildir of pouch";
        account.left_out(at, "DeleteExpunged", advice);
    }
    if get("Data Source", "Enabled").is_some_and(|(value, _)| value == "false") {
        account.take(0, "Enabled=false", "enabled", false);
    }
    account.propose_maildir(account.at, "folders", "delivers to its own folders");
    // the name of the file is the name of the account's directory
    if let Some(id) = context.path.file_stem() {
        let data = context.home.join(".local/share/evolution/mail");
        account.state = vec![data.join(id).join("uid-cache")];
    }
    imported.accounts.push(account);
}

fn method_of_login(account: &mut Account, method: &str, at: usize) {
    match method {
        "+APOP" => account.take(at, "Method +APOP", "auth", "apop"),
        "CRAM-MD5" => account.take(at, "Method CRAM-MD5", "auth", "cram-md5"),
        "NTLM" => account.left_out(at, "Method NTLM", "pouch does not support it"),
        "XOAUTH2" | "OAuth2" | "Google" | "Outlook" => {
            account.sign_in(at, "Method XOAUTH2");
        }
        "GSSAPI" => account.left_out(at, "Method GSSAPI", "pouch does not support it"),
        _ => account.same(at, "Method", "auth = \"auto\""),
    }
}
