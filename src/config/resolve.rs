//! Merges the layers (defaults, `[defaults]`, `[account.NAME]`), and creates accounts from the
//! result. The flags of the command line are applied later, by [`super::overrides`].
//!
//! A mistake in the main config file stops everything. One in an account of another source, of
//! which there may be ten thousand, concerns only that account.

use std::{num::NonZero, path::PathBuf, sync::Arc};

use super::{
    account::{
        Account, Author, ClientCertificate, Config, GivenPassword, SecretSource, Tls, Trust,
    },
    conflicts::{check, check_choices, layered},
    mistakes::Mistakes,
    provenance::{Located, Setting, Source},
    rules::{self, RuleContext},
    schema::{AccountTable, AccountValues, Choice, Key, Table, TopTable},
    snippet::Document,
    syntax::FilePath,
    taken::Taken,
    toml::{Block, File, Section},
};
use crate::{
    domain::{
        auth::{Auth, Mechanism},
        destination::Destination,
        multidrop::Multidrop,
        plan::Policy,
        routing::Routing,
        rule::Rule,
    },
    error::{Error, Kind},
};

/// The displayed value of a password.
const HIDDEN: &str = "\"…\"";

/// Values from the environment on which the defaults depend.
#[derive(Clone, Debug)]
pub struct ConfigDefaults {
    /// The user's home directory, for `~/`.
    pub home: PathBuf,
    /// The directory of the ledger and the locks, unless `state-dir` is set.
    pub state_dir: PathBuf,
}

/// An account, or a whole source of accounts, that cannot be used.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The name of the account. `None` if all accounts of the source are unusable, or a valid
    /// account has the name.
    pub account: Option<String>,
    /// The mistake.
    pub error: Error,
}

/// The accounts of a part of the config, and what is wrong with others.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// The valid accounts, in the order of the file.
    pub accounts: Vec<Account>,
    /// The other accounts.
    pub problems: Vec<Problem>,
}

/// Resolves the whole config of one file.
///
/// # Errors
/// There is no account, an account lacks a required key, or keys contradict each other.
pub fn resolve(mut file: File, context: &ConfigDefaults) -> Result<Config, Error> {
    if file.accounts.is_empty() {
        return Err(no_accounts(&file));
    }
    resolve_main(&mut file, context).map(|(config, _)| config)
}

/// Creates the error that there are no accounts.
pub fn no_accounts(file: &File) -> Error {
    let what = format!("no accounts are defined in {}", file.document.path);
    Error::new(Kind::Config, what)
        .with_hint("add a table `[account.NAME]`; `pouch config sample` prints an example")
}

/// Resolves the main config file, which may have no accounts. Returns it with the accounts that
/// other files must not define again.
///
/// The accounts are removed from the file.
///
/// # Errors
/// As for [`resolve`].
pub fn resolve_main(file: &mut File, context: &ConfigDefaults) -> Result<(Config, Taken), Error> {
    let mut mistakes = Mistakes::default();
    check_choices(&file.document, &file.defaults.table, &mut mistakes);
    let sections = std::mem::take(&mut file.accounts);
    let mut accounts = Vec::with_capacity(sections.len());
    let mut headers = Vec::with_capacity(sections.len());
    for section in sections {
        if mistakes.are_many() {
            break;
        }
        accounts.extend(account((file, None), &section, context, &mut mistakes));
        headers.push(section.header);
    }
    let accounts = mistakes.or(accounts, &file.document.path)?;
    let mut taken = Taken::default();
    for (account, header) in accounts.iter().zip(&headers) {
        taken.add(account, &file.document, header)?;
    }
    let top = file.top.clone().over(TopTable::defaults()).complete();
    let metrics = file.top.metrics.as_ref();
    let config = Config {
        jobs: top.as_ref().map_or(1, |top| top.jobs.get()),
        spread: top.as_ref().ok().and_then(|top| top.spread),
        sandbox: top.as_ref().is_ok_and(|top| top.sandbox),
        accounts_command: top.ok().and_then(|top| top.accounts_command),
        metrics: metrics.map(|path| path.value.expand(&context.home, &file.dir)),
        state_dir: state_dir(file, context),
        accounts,
    };
    Ok((config, taken))
}

/// Resolves another source of accounts, to which the defaults of `main` apply below its own. Those
/// in `taken` must not be defined again; the valid ones are added to it.
///
/// If another user owns the file, `owner` is the name. Its accounts must then be delivered as this
/// user, since root would otherwise follow the orders of the user.
///
/// Each account is checked alone, so that a mistake in one does not affect the others.
pub fn resolve_part(
    main: &File,
    mut part: File,
    owner: Option<&str>,
    taken: &mut Taken,
    context: &ConfigDefaults,
) -> Resolved {
    let mut resolved = Resolved::default();
    let path = Arc::clone(&part.document.path);
    let mut of_defaults = Mistakes::default();
    check_choices(&part.document, &part.defaults.table, &mut of_defaults);
    if let Some(error) = of_defaults.into_error(&path) {
        let account = None;
        resolved.problems.push(Problem { account, error });
        return resolved;
    }
    let sections = std::mem::take(&mut part.accounts);
    resolved.accounts.reserve_exact(sections.len());
    for mut section in sections {
        let mut mistakes = std::mem::take(&mut section.mistakes);
        let mut valid = None;
        if mistakes.is_empty() {
            valid = account((&part, Some(main)), &section, context, &mut mistakes);
        }
        if let (Some(account), Some(owner)) = (&mut valid, owner) {
            mistakes.value_of(check_owner(&part, &section, account, owner));
            account.author = Author::User;
        }
        if let Some(account) = valid.as_ref().filter(|_| mistakes.is_empty()) {
            mistakes.value_of(taken.add(account, &part.document, &section.header));
        }
        match (mistakes.into_error(&path), valid) {
            (Some(error), _) => resolved.problems.push(Problem {
                // a valid account may have that name
                account: Some(section.name).filter(|name| !name.is_empty() && !taken.has(name)),
                error,
            }),
            (None, valid) => resolved.accounts.extend(valid),
        }
    }
    resolved
}

/// Checks an account in a file of another user: root must neither fetch it nor read a password for
/// it.
fn check_owner(
    part: &File,
    section: &Section,
    account: &Account,
    owner: &str,
) -> Result<(), Error> {
    let refused = |what: &str| part.document.error(&section.header, what);
    if account.deliver_as.as_deref() != Some(owner) {
        let what =
            format!("an account in a file of the user `{owner}` is fetched only for `{owner}`");
        return Err(refused(&what).with_hint(format!(
            "add `deliver-as = \"{owner}\"`, or make root the owner of {}",
            part.document.path
        )));
    }
    if matches!(
        account.secret,
        SecretSource::Credential(_) | SecretSource::Prompt
    ) {
        let what = format!(
            "an account in a file of the user `{owner}` needs a password that `{owner}` can read"
        );
        return Err(refused(&what).with_hint("set `password-file` or `password-command`"));
    }
    Ok(())
}

/// Returns the directory of the ledger and the locks. A URL on the command line needs it without
/// any account of the config.
pub fn state_dir(file: &File, context: &ConfigDefaults) -> PathBuf {
    match &file.top.state_dir {
        Some(dir) => dir.value.expand(&context.home, &file.dir),
        None => context.state_dir.clone(),
    }
}

/// Resolves one account of a file, and of the main config file if that is another one. Returns
/// `None` if it is not complete.
fn account(
    (file, main): (&File, Option<&File>),
    section: &Section,
    context: &ConfigDefaults,
    mistakes: &mut Mistakes,
) -> Option<Account> {
    let document = &file.document;
    check_choices(document, &section.block.table, mistakes);
    let mut defaults = file.defaults.table.clone();
    if let Some(main) = main {
        defaults = layered(defaults, main.defaults.table.clone());
    }
    let password = section.block.password.as_ref();
    if let Some(password) = password {
        mistakes.value_of(check_password(document, &section.block.table, password));
        Choice::Password.keys().for_each(|key| defaults.unset(key));
    }
    let table = layered(section.block.table.clone(), defaults);
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
    if let Some(password) = password {
        account.secret = SecretSource::Given(password.value.clone());
        let settings = Arc::make_mut(&mut account.settings);
        settings.push(Setting {
            key: "password",
            value: HIDDEN.to_owned(),
            source: password.source.clone(),
        });
    }
    let blocks = [
        Some(&*section.block),
        Some(&file.defaults),
        main.map(|main| &main.defaults),
    ];
    let context = RuleContext {
        document,
        table: &table,
        account: &account,
        expand: &expand,
    };
    let (rules, multidrop) = sorting(&blocks, &context, mistakes);
    let settings = Arc::make_mut(&mut account.settings);
    if let Some((multidrop, setting)) = multidrop {
        account.routing.multidrop = Some(multidrop);
        settings.push(setting);
    }
    for (rule, setting) in rules {
        account.routing.rules.push(rule);
        settings.push(setting);
    }
    Some(account)
}

/// Checks that no other key sets a password.
fn check_password(
    document: &Document,
    table: &AccountTable,
    password: &Located<GivenPassword>,
) -> Result<(), Error> {
    let other = Choice::Password
        .keys()
        .find_map(|key| Some((key, table.source(key)?)));
    let Some((key, source)) = other else {
        return Ok(());
    };
    let what = format!("`{key}` and `password` cannot be used together");
    let set = Some(&password.source);
    Err(document
        .contradiction(source, &what, set, "already set here")
        .with_hint("remove one of them"))
}

/// A part of an account, with its line for `pouch config show`.
type WithSetting<T> = (T, Setting);

/// Returns the rules and the multidrop of an account, from the tables of the account and the
/// defaults.
fn sorting(
    blocks: &[Option<&Block>],
    context: &RuleContext<'_>,
    mistakes: &mut Mistakes,
) -> (Vec<WithSetting<Rule>>, Option<WithSetting<Multidrop>>) {
    let blocks = || blocks.iter().flatten();
    let mut rules = Vec::new();
    for rule in blocks().flat_map(|block| &block.rules) {
        if mistakes.are_many() {
            return (rules, None);
        }
        rules.extend(mistakes.value_of(rules::rule(rule, context)));
    }
    let multidrop = blocks().find_map(|block| block.multidrop.as_ref());
    let multidrop =
        multidrop.and_then(|multidrop| mistakes.value_of(rules::multidrop(multidrop, context)));
    (rules, multidrop)
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
    // the port depends on `tls`
    let is_shown = |setting: &Setting| setting.source != Source::Default || setting.key == "port";
    // `collect` would keep the capacity for all keys
    let mut settings = Vec::new();
    settings.extend(table.settings().into_iter().filter(is_shown));
    settings.shrink_to_fit();
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
        jobs_per_host: values.jobs_per_host.get(),
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
        alert: values.alert,
        quirks: values.quirks,
        enabled: values.enabled,
        author: Author::Trusted,
        settings: Arc::new(settings),
    })
}

/// Merges the keys of an account with the defaults, including those that depend on other keys.
fn with_defaults(table: AccountTable) -> AccountTable {
    const IMPLICIT_TLS: NonZero<u16> = NonZero::new(995).expect("not zero");
    const CLEAR_TEXT: NonZero<u16> = NonZero::new(110).expect("not zero");
    let mut table = table.over(AccountTable::defaults());
    let tls = table.tls.as_ref().map(|tls| tls.value);
    let port = match tls {
        Some(Tls::Implicit) | None => IMPLICIT_TLS,
        Some(Tls::StartTls | Tls::Off) => CLEAR_TEXT,
    };
    table
        .port
        .get_or_insert_with(|| Located::new(port, Source::Default));
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
