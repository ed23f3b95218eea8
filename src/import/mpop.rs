//! mpop: `~/.mpoprc` or `~/.config/mpop/config`.

use super::{
    account::{Account, Encryption},
    getmail::is_system_store,
    model::{Context, Imported, MOST_ACCOUNTS},
    shell,
    source::Source,
};

/// A command of a mpoprc.
#[derive(Clone, Debug)]
struct Command {
    key: String,
    value: String,
    line: usize,
}

/// The commands of an account, with the inherited ones first.
#[derive(Clone, Debug, Default)]
struct Commands(Vec<Command>);

/// The most commands of an account. There are about fifty.
const MOST_COMMANDS: usize = 1000;

impl Commands {
    /// Adds a command, in place of an earlier one.
    fn set(&mut self, command: Command) {
        self.0.retain(|known| known.key != command.key);
        if self.0.len() < MOST_COMMANDS {
            self.0.push(command);
        }
    }

    fn last(&self, key: &str) -> Option<&Command> {
        self.0.iter().rev().find(|command| command.key == key)
    }

    fn flag(&self, key: &str) -> Option<(bool, usize)> {
        let command = self.last(key)?;
        Some((command.value != "off", command.line))
    }
}

/// Parses a mpoprc.
pub(super) fn parse(source: &Source, context: &Context<'_>, imported: &mut Imported) {
    let mut defaults = Commands::default();
    let mut accounts: Vec<(String, usize, Commands)> = Vec::new();
    let mut in_defaults = false;
    for (number, line) in (1..).zip(source.text.lines()) {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let (key, value) = trimmed.split_once([' ', '\t']).unwrap_or((trimmed, ""));
        let value = unquoted(value.trim());
        match key {
            "defaults" => {
                in_defaults = true;
                defaults = Commands::default();
            }
            "account" => {
                in_defaults = false;
                let (name, parents) = value.split_once(':').unwrap_or((value, ""));
                let (name, parents) = (name.trim(), parents.trim());
                if name == "default" && !parents.is_empty() {
                    continue;
                }
                let mut commands = defaults.clone();
                let parents = parents.split(',').map(str::trim);
                for parent in parents.filter(|name| !name.is_empty()) {
                    if let Some((.., known)) = accounts.iter().rev().find(|one| one.0 == parent) {
                        let known = known.clone();
                        known.0.into_iter().for_each(|one| commands.set(one));
                    } else {
                        let what = format!("there is no account `{parent}` above this line");
                        imported.problem(context, (number, 1), what);
                    }
                }
                if accounts.len() <= MOST_ACCOUNTS {
                    accounts.push((name.to_owned(), number, commands));
                }
            }
            key => {
                let command = Command {
                    key: key.to_owned(),
                    value: value.to_owned(),
                    line: number,
                };
                match accounts.last_mut() {
                    _ if in_defaults => defaults.set(command),
                    Some((.., commands)) => commands.set(command),
                    None => {
                        let what = format!("`{key}` before the first account");
                        imported.problem(context, (number, 1), what);
                    }
                }
            }
        }
    }
    for (name, line, commands) in accounts {
        let account = account(&name, line, &commands, context, source);
        imported.accounts.push(account);
    }
}

fn unquoted(value: &str) -> &str {
    let inner = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(value)
}

fn account(
    name: &str,
    at: usize,
    commands: &Commands,
    context: &Context<'_>,
    source: &Source,
) -> Account {
    let mut account = Account::new(name, at);
    let text = |key: &str| commands.last(key).map(|command| command.value.clone());
    account.host = text("host");
    if name == "default"
        && let Some(host) = &account.host
    {
        account.name.clone_from(host);
    }
    account.user = text("user");
    if let Some(port) = commands.last("port") {
        account.port(port.line, "port", &port.value);
    }
    encryption(&mut account, commands, at);
    certificates(&mut account, commands);
    login(&mut account, commands, source, at);
    delivery(&mut account, commands, at);
    retention(&mut account, commands, at);
    for command in &commands.0 {
        other(&mut account, command);
    }
    state(&mut account, commands, name, context);
    account
}

fn encryption(account: &mut Account, commands: &Commands, at: usize) {
    match (commands.flag("tls"), commands.flag("tls_starttls")) {
        (Some((true, _)), Some((false, at))) => {
            account.encrypt(Encryption::Implicit, at, "tls_starttls off");
        }
        (Some((true, at)), _) => account.encrypt(Encryption::StartTls, at, "tls on"),
        (off, _) => {
            let at = off.map_or(at, |(_, at)| at);
            account.encrypt(Encryption::Off, at, "tls off");
        }
    }
}

fn certificates(account: &mut Account, commands: &Commands) {
    if let Some(file) = commands.last("tls_trust_file") {
        if is_system_store(&file.value) {
            account.same(file.line, "tls_trust_file", "the authorities of the system");
        } else {
            account.take(file.line, "tls_trust_file", "tls-ca-file", &*file.value);
        }
    }
    if let Some(pin) = commands.last("tls_fingerprint") {
        if super::is_sha256(&pin.value) {
            let value = super::sha256(&pin.value);
            account.take(pin.line, "tls_fingerprint", "tls-pin", value);
        } else {
            let advice = "set `tls-pin` to the SHA-256 fingerprint that `pouch check` shows";
            account.left_out(pin.line, "tls_fingerprint", advice);
        }
    }
    if let Some((false, at)) = commands.flag("tls_certcheck") {
        account.changed(
            at,
            "tls_certcheck off",
            "accepts any certificate",
            "checks the certificate; if it is self-signed, set `tls-pin` or `tls-ca-file`",
        );
    }
    let pair = (
        commands.last("tls_cert_file"),
        commands.last("tls_key_file"),
    );
    if let (Some(cert), Some(key)) = pair {
        account.take(cert.line, "tls_cert_file", "tls-client-cert", &*cert.value);
        account.take(key.line, "tls_key_file", "tls-client-key", &*key.value);
    }
}

fn login(account: &mut Account, commands: &Commands, source: &Source, at: usize) {
    let password = commands.last("password");
    if let Some(password) = password.filter(|password| !password.value.is_empty()) {
        // mpop prefers it to `passwordeval`, which may be that of another account
        account.secret(source.bytes(&password.value));
    } else if let Some(eval) = commands.last("passwordeval") {
        account.password_command(eval.line, "passwordeval", &eval.value);
    } else {
        let advice = "pouch reads neither ~/.netrc nor the keyring: set `password-command` or \
                      `password-file`";
        account.left_out(at, "no password", advice);
    }
    let Some(auth) = commands.last("auth") else {
        return;
    };
    let setting = format!("auth {}", auth.value);
    let method = auth.value.to_lowercase();
    match method.as_str() {
        "on" | "" => account.same(auth.line, &setting, "auth = \"auto\""),
        "user" => account.take(auth.line, &setting, "auth", "user"),
        "plain" => account.take(auth.line, &setting, "auth", "plain"),
        "apop" | "cram-md5" | "scram-sha-1" | "scram-sha-256" | "external" | "login" => {
            account.take(auth.line, &setting, "auth", method.as_str());
        }
        "xoauth2" | "oauthbearer" => {
            if let Some(command) = account.get("password-command").cloned() {
                account
                    .settings
                    .retain(|(key, _)| *key != "password-command");
                account.set("token-command", command);
                let now = "`token-command` instead of `password-command`";
                account.taken(auth.line, &setting, now);
            } else {
                account.left_out(auth.line, &setting, "set `oauth` or `token-command`");
            }
        }
        _ => account.left_out(auth.line, &setting, "pouch does not support this method"),
    }
}

fn delivery(account: &mut Account, commands: &Commands, at: usize) {
    let Some(delivery) = commands.last("delivery") else {
        return account.propose_maildir(at, "no delivery", "refuses to run");
    };
    let (kind, value) = delivery
        .value
        .split_once([' ', '\t'])
        .unwrap_or((&delivery.value, ""));
    let (value, at) = (unquoted(value.trim()), delivery.line);
    let setting = format!("delivery {kind}");
    match kind {
        "maildir" => {
            let path = value.trim_end_matches('/');
            account.take(
                at,
                &setting,
                "maildir",
                if path.is_empty() { value } else { path },
            );
        }
        "mbox" => account.take(at, &setting, "mbox", value),
        "mda" if value.contains("%F") => {
            let short = value
                .replace("-f %F", "")
                .replace("-f \"%F\"", "")
                .replace("-f '%F'", "");
            if short.contains("%F") {
                account.propose_maildir(at, &setting, "passes the sender as %F to a program");
                account.left_out(at, &setting, "write the command without %F as `pipe`");
            } else {
                account.command(at, &setting, "pipe", &shell::words(&short));
                let now = "without this option, since POP3 does not transmit the sender";
                account.changed(at, &setting, "passes the sender as %F", now);
            }
        }
        "mda" => account.command(at, &setting, "pipe", &shell::words(value)),
        _ => account.propose_maildir(at, &setting, "delivers to a pickup directory"),
    }
}

fn retention(account: &mut Account, commands: &Commands, at: usize) {
    match commands.last("keep") {
        Some(keep) if keep.value == "on" => account.keep_all(keep.line, "keep on"),
        Some(keep) if keep.value == "off" => account.keep_none(keep.line, "keep off"),
        Some(keep) => {
            if let Some(days) = days(&keep.value) {
                account.keep_days(keep.line, "keep", days);
            } else {
                account.set("keep", "forever");
                let before = "deletes messages after a time that was not understood";
                account.changed(keep.line, "keep", before, "keeps all messages");
            }
        }
        None => account.keep_none_by_default(at, "keep off"),
    }
}

/// Returns a duration such as `14d12h` in days, rounded up.
fn days(text: &str) -> Option<u64> {
    let (mut seconds, mut number) = (0_u64, String::new());
    for c in text.chars() {
        let unit = match c {
            '0'..='9' => {
                number.push(c);
                continue;
            }
            'd' => 86_400,
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        number.clear();
    }
    (number.is_empty() && seconds > 0).then(|| seconds.div_ceil(86_400))
}

/// Reports the remaining commands.
fn other(account: &mut Account, command: &Command) {
    let (at, value) = (command.line, command.value.as_str());
    let key = command.key.as_str();
    let number = value.parse::<u64>();
    match key {
        "host" | "user" | "port" | "tls" | "tls_starttls" | "tls_trust_file"
        | "tls_fingerprint" | "tls_certcheck" | "tls_cert_file" | "tls_key_file" | "password"
        | "passwordeval" | "auth" | "delivery" | "keep" | "uidls_file" => {}
        "timeout" => match number {
            Ok(seconds) if seconds > 0 => account.timeout(at, key, seconds),
            _ => account.same(at, key, "timeout = \"60s\""),
        },
        "skipsize" => match number {
            Ok(kib) => account.max_size(at, key, kib.saturating_mul(1024)),
            Err(_) => account.left_out(at, key, "not a number; set `max-size`"),
        },
        "killsize" if value == "0" => account.same(at, key, "no message is deleted unread"),
        "killsize" => account.left_out(
            at,
            key,
            "it deletes larger messages unread: write a rule with `size` and \
             `action = \"delete\"`, and set `allow-delete-unread`",
        ),
        "only_new" if value == "off" => {
            let before = "fetches every message in every run";
            account.changed(at, "only_new off", before, "fetches each message once");
        }
        "only_new" => account.same(at, key, "only new messages"),
        "received_header" if value == "off" => account.same(at, key, "no field is added"),
        "received_header" => {
            account.set("add-headers", super::account::array(&["received"]));
            account.taken(at, key, "add-headers = [\"received\"]");
        }
        "pipelining" if value == "off" => account.take(at, key, "request-ahead", 1),
        "pipelining" => account.same(at, key, "used if the server supports it"),
        "proxy_host" => account.take(at, key, "proxy", format!("socks5://{value}")),
        "proxy_port" => {
            let proxy = account.get("proxy").and_then(toml_edit::Value::as_str);
            match proxy
                .filter(|_| number.is_ok())
                .map(|proxy| format!("{proxy}:{value}"))
            {
                Some(proxy) => account.take(at, key, "proxy", proxy),
                None => account.left_out(at, key, "set the port in `proxy`"),
            }
        }
        "eval" => account.left_out(at, key, "set by hand the keys that it prints"),
        "filter" => account.left_out(
            at,
            key,
            "it reads headers only: write rules, or set `filter` for complete messages",
        ),
        "tls_crl_file" | "tls_min_dh_prime_bits" | "tls_priorities" => {
            account.left_out(at, key, "set it in the configuration of OpenSSL");
        }
        "tls_host_override" => account.server_name(at, key, value),
        "source_ip" | "socket" => account.left_out(at, key, "pouch has no such option"),
        _ => account.left_out(at, key, "not known to pouch"),
    }
}

fn state(account: &mut Account, commands: &Commands, name: &str, context: &Context<'_>) {
    let (Some(host), Some(user)) = (&account.host, &account.user) else {
        return;
    };
    let pattern = commands
        .last("uidls_file")
        .map_or("~/.mpop_uidls/%U_at_%H", |command| command.value.as_str());
    let path = pattern
        .replace("%U", user)
        .replace("%H", host)
        .replace("%A", name);
    account.state = vec![context.expand(&path)];
}

#[cfg(test)]
mod tests {
    use super::days;

    #[test]
    fn durations_are_rounded_up_to_days() {
        assert_eq!(days("14d12h"), Some(15));
        assert_eq!(days("24h"), Some(1));
        for wrong in ["", "14", "d", "1y", "99999999999999999999d"] {
            assert_eq!(days(wrong), None, "{wrong}");
        }
    }
}
