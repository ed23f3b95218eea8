//! Merges the layers (defaults, `[defaults]`, `[account.NAME]`), and creates accounts from the
//! result. The flags of the command line are applied later, by [`super::overrides`].

use std::{num::NonZero, path::PathBuf};

use super::{
    account::{Account, ClientCertificate, Config, SecretSource, Tls, Trust},
    conflicts::{check, check_choices, check_mailboxes, layered},
    mistakes::Mistakes,
    provenance::{Located, Source},
    rules::{self, RuleContext},
    schema::{AccountTable, AccountValues, Key, Table, TopTable},
    syntax::FilePath,
    toml::{File, Section},
};
use crate::{
    domain::{
        auth::{Auth, Mechanism},
        destination::Destination,
        plan::Policy,
        routing::Routing,
    },
    error::{Error, Kind},
};

/// Values from the environment on which the defaults depend.
#[derive(Clone, Debug)]
pub struct ConfigDefaults {
    /// The user's home directory, for `~/`.
    pub home: PathBuf,
    /// The directory of the ledger and the locks, unless `state-dir` is set.
    pub state_dir: PathBuf,
}

/// Resolves the whole config.
///
/// # Errors
/// There is no account, an account lacks a required key, or keys contradict each other.
pub fn resolve(file: &File, context: &ConfigDefaults) -> Result<Config, Error> {
    if file.accounts.is_empty() {
        let what = format!("no accounts are defined in {}", file.document.path);
        return Err(Error::new(Kind::Config, what)
            .with_hint("add a table `[account.NAME]`; `pouch config sample` prints an example"));
    }
    let mut mistakes = Mistakes::default();
    check_choices(&file.document, &file.defaults.table, &mut mistakes);
    let mut accounts = Vec::new();
    for section in &file.accounts {
        if mistakes.are_many() {
            break;
        }
        accounts.extend(account(file, section, context, &mut mistakes));
    }
    let accounts = mistakes.or(accounts, &file.document.path)?;
    check_mailboxes(file, &accounts)?;
    let top = file.top.clone().over(TopTable::defaults()).complete();
    Ok(Config {
        jobs: top.as_ref().map_or(1, |top| top.jobs.get()),
        sandbox: top.is_ok_and(|top| top.sandbox),
        state_dir: state_dir(file, context),
        accounts,
    })
}

/// Returns the directory of the ledger and the locks. A URL on the command line needs it without
/// any account of the config.
pub fn state_dir(file: &File, context: &ConfigDefaults) -> PathBuf {
    match &file.top.state_dir {
        Some(dir) => dir.value.expand(&context.home, &file.dir),
        None => context.state_dir.clone(),
    }
}

/// Resolves one account of the config. Returns `None` if it is not complete.
fn account(
    file: &File,
    section: &Section,
    context: &ConfigDefaults,
    mistakes: &mut Mistakes,
) -> Option<Account> {
    let document = &file.document;
    check_choices(document, &section.block.table, mistakes);
    let table = layered(section.block.table.clone(), file.defaults.table.clone());
    check(document, &table, mistakes);
    let expand = |path: &FilePath| path.expand(&context.home, &file.dir);
    let built = build(&section.name, table.clone(), None, &expand).map_err(|incomplete| {
        let (what, hint) = match incomplete {
            Incomplete::Key(key) => (
                format!("account `{}` has no `{}`", section.name, key.name),
                key.required.unwrap_or_default(),
            ),
            Incomplete::Destination => (
                format!("account `{}` has no destination", section.name),
                "add a Maildir, which is created if it does not exist: maildir = \"~/Mail/work\"",
            ),
        };
        document.error(&section.header, &what).with_hint(hint)
    });
    let mut account = mistakes.value_of(built)?;
    add_rules(file, (section, &table), &mut account, &expand, mistakes);
    Some(account)
}

/// Adds the rules and the multidrop of `section`, and of `[defaults]`, to its account.
fn add_rules(
    file: &File,
    (section, table): (&Section, &AccountTable),
    account: &mut Account,
    expand: &dyn Fn(&FilePath) -> PathBuf,
    mistakes: &mut Mistakes,
) {
    let (own, defaults) = (&section.block, &file.defaults);
    let context = RuleContext {
        document: &file.document,
        table,
        account,
        expand,
    };
    let mut rules = Vec::new();
    for rule in own.rules.iter().chain(&defaults.rules) {
        if mistakes.are_many() {
            return;
        }
        rules.extend(mistakes.value_of(rules::rule(rule, &context)));
    }
    let multidrop = own.multidrop.as_ref().or(defaults.multidrop.as_ref());
    let multidrop =
        multidrop.and_then(|multidrop| mistakes.value_of(rules::multidrop(multidrop, &context)));
    if let Some((multidrop, setting)) = multidrop {
        account.routing.multidrop = Some(multidrop);
        account.settings.push(setting);
    }
    for (rule, setting) in rules {
        account.routing.rules.push(rule);
        account.settings.push(setting);
    }
}

/// The reason why an account is incomplete.
pub(super) enum Incomplete {
    /// This required key.
    Key(&'static Key),
    /// A destination.
    Destination,
}

/// Creates an account from its keys.
///
/// `destination` is used if the keys set none. `expand` expands a path.
///
/// # Errors
/// A required key is not set, or there is no destination.
pub(super) fn build(
    name: &str,
    table: AccountTable,
    destination: Option<Destination>,
    expand: &dyn Fn(&FilePath) -> PathBuf,
) -> Result<Account, Incomplete> {
    let table = with_defaults(table);
    let settings = table.settings();
    let values = table.complete().map_err(Incomplete::Key)?;
    let recipients = match &values.lmtp_recipients {
        Some(recipients) => recipients.0.clone(),
        None => vec![values.user.clone()],
    };
    let destination = own_destination(&values, expand)
        .or(destination)
        .ok_or(Incomplete::Destination)?
        .with_default_recipients(&recipients);
    let routing = Routing::to(destination);
    Ok(Account {
        name: name.to_owned(),
        port: values.port.get(),
        trust: trust(&values, expand),
        client_certificate: client_certificate(&values, expand),
        policy: policy(&values),
        secret: secret_source(&values, expand),
        host: values.host.0,
        user: values.user,
        mailbox: values.mailbox,
        deliver_as: values.deliver_as,
        tls: values.tls,
        tls_server_name: values.tls_server_name.map(|name| name.0),
        proxy: values.proxy,
        proxy_password_command: values.proxy_password_command,
        connect_command: values.connect_command,
        allow_plaintext_password: values.allow_plaintext_password,
        timeout: values.timeout,
        connect_timeout: values.connect_timeout,
        retries: values.retries,
        request_ahead: values.request_ahead,
        auth: values.auth,
        password_command_timeout: values.password_command_timeout,
        routing,
        pipe_timeout: values.pipe_timeout,
        lmtp_recipients: recipients,
        filter: values.filter,
        add_headers: values.add_headers,
        attempts: values.attempts.get(),
        notice: values.notice,
        before: values.before,
        after: values.after,
        quirks: values.quirks,
        enabled: values.enabled,
        settings,
    })
}

/// Merges the keys of an account with the defaults, including those that depend on other keys.
fn with_defaults(table: AccountTable) -> AccountTable {
    const IMPLICIT_TLS: NonZero<u16> = NonZero::new(995).expect("not zero");
    const CLEAR_TEXT: NonZero<u16> = NonZero::new(110).expect("not zero");
    let mut table = table.over(AccountTable::defaults());
    let tls = table.tls.as_ref().map(|tls| tls.value);
    table.port.get_or_insert(Located {
        value: match tls {
            Some(Tls::Implicit) | None => IMPLICIT_TLS,
            Some(Tls::StartTls | Tls::Off) => CLEAR_TEXT,
        },
        source: Source::Default,
    });
    table
}

/// Returns the destination that the keys of an account name.
fn own_destination(
    values: &AccountValues,
    expand: &dyn Fn(&FilePath) -> PathBuf,
) -> Option<Destination> {
    let maildir = values.maildir.as_ref();
    let mbox = values.mbox.as_ref();
    let pipe = values.pipe.clone();
    let lmtp = values.lmtp.as_ref();
    maildir
        .map(|path| Destination::Maildir(expand(path)))
        .or(mbox.map(|path| Destination::Mbox(expand(path))))
        .or(pipe.map(Destination::Pipe))
        .or(lmtp.map(|lmtp| Destination::Lmtp(lmtp.server(expand), Vec::new())))
}

/// Returns the source of the password or token of an account.
fn secret_source(values: &AccountValues, expand: &dyn Fn(&FilePath) -> PathBuf) -> SecretSource {
    let file = values.password_file.as_ref();
    let command = values.password_command.clone();
    command
        .map(SecretSource::Command)
        .or(values.token_command.clone().map(SecretSource::TokenCommand))
        .or(file.map(|path| SecretSource::File(expand(path))))
        .or(values
            .password_credential
            .clone()
            .map(SecretSource::Credential))
        .or(values
            .oauth
            .clone()
            .map(|oauth| SecretSource::OAuth(Box::new(oauth.with_expanded(expand)))))
        .unwrap_or(match values.auth {
            Auth::Only(Mechanism::External) => SecretSource::Certificate,
            _ => SecretSource::Prompt,
        })
}

/// Returns which certificates of the server are accepted.
fn trust(values: &AccountValues, expand: &dyn Fn(&FilePath) -> PathBuf) -> Trust {
    match (&values.tls_ca_file, values.tls_pin) {
        (_, Some(pin)) => Trust::Pin(pin.0),
        (Some(file), None) => Trust::CaFile(expand(file)),
        (None, None) => Trust::System,
    }
}

/// Returns the client certificate.
fn client_certificate(
    values: &AccountValues,
    expand: &dyn Fn(&FilePath) -> PathBuf,
) -> Option<ClientCertificate> {
    Some(ClientCertificate {
        certificate: expand(values.tls_client_cert.as_ref()?),
        key: expand(values.tls_client_key.as_ref()?),
    })
}

/// Returns the policy of an account for fetching and deletion.
fn policy(values: &AccountValues) -> Policy {
    Policy {
        keep: values.keep,
        keep_newest: values.keep_newest.map(NonZero::get),
        keep_total: values.keep_total,
        sync_deletions: values.sync_deletions,
        may_delete: true,
        max_size: values.max_size,
        limit: Some(values.limit).filter(|limit| *limit > 0),
    }
}

#[cfg(test)]
mod tests;
