//! The layers laid over one another, and what the result must make sense of.
//!
//! Built in, `[defaults]`, `[account.NAME]`, flags. Where an account's own key and one of
//! `[defaults]` exclude each other, the account's own wins; at one level they are a mistake.

use std::{
    num::NonZero,
    path::{Path, PathBuf},
};

use super::{
    Account, ClientCertificate, Config, RequestAhead, SecretSource, Tls, Trust,
    file::{File, Located, Position, Section, Table},
    provenance::{Setting, Source, UNSET, override_setting},
    rules,
    syntax::FilePath,
    value::{Value, listed, quoted},
};
use crate::{
    domain::{
        auth::Auth,
        destination::Destination,
        plan::{Keep, Policy},
        routing::Routing,
        size::ByteSize,
        time::TimeSpan,
    },
    error::{Error, Kind},
};

/// What the config does not say by itself.
#[derive(Clone, Debug)]
pub struct ConfigDefaults {
    /// The user's home: what `~/` stands for.
    pub home: PathBuf,
    /// Where ledger and locks live, unless `state-dir` says otherwise.
    pub state_dir: PathBuf,
}

/// The flags of `pouch fetch` that change an account. They only narrow: none makes pouch delete
/// more than the config says.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--keep`: delete nothing from the server.
    pub keep: bool,
    /// `--limit`: fetch no more than this many; 0 is no limit, as in the config.
    pub limit: Option<u64>,
    /// `--max-size`: leave bigger messages on the server.
    pub max_size: Option<ByteSize>,
    /// `--to`: deliver there.
    pub destination: Option<Destination>,
    /// Nothing is delivered: an address does without a place.
    pub nowhere: bool,
    /// `--password-command`: the first line of what it prints.
    pub password_command: Option<Vec<String>>,
}

/// Keys that say where messages go.
const PLACES: [&str; 4] = ["maildir", "mbox", "pipe", "lmtp"];

/// Keys of which an account takes one.
const RIVALS: [&[&str]; 3] = [
    &["password-command", "password-file", "password-credential"],
    &PLACES,
    &["tls-ca-file", "tls-pin"],
];

/// Keys that mean nothing without TLS.
const TLS_KEYS: [&str; 4] = [
    "tls-ca-file",
    "tls-pin",
    "tls-client-cert",
    "tls-client-key",
];

/// The whole config, every value settled.
///
/// # Errors
/// There is no account, one lacks what it needs, or keys contradict each other.
pub fn resolve(file: &File, context: &ConfigDefaults) -> Result<Config, Error> {
    if file.accounts.is_empty() {
        return Err(Error::new(
            Kind::Config,
            format!("{} names no account", file.document.path),
        )
        .with_hint("add one below a line `[account.NAME]`; `pouch config sample` shows how"));
    }
    check_rivals(file, &file.defaults.table)?;
    let accounts = file
        .accounts
        .iter()
        .map(|section| account(file, section, context))
        .collect::<Result<Vec<_>, _>>()?;
    check_twins(file, &accounts)?;
    Ok(Config {
        jobs: file.top.jobs.as_ref().map_or(4, |jobs| jobs.value.get()),
        state_dir: state_dir(file, context),
        accounts,
    })
}

/// Where ledger and locks live. By itself, for an address on the command line, which needs them
/// but no account of the config.
pub fn state_dir(file: &File, context: &ConfigDefaults) -> PathBuf {
    match &file.top.state_dir {
        Some(entry) => entry.value.expand(&context.home, &file.folder),
        None => context.state_dir.clone(),
    }
}

/// One account of the config.
fn account(file: &File, section: &Section, context: &ConfigDefaults) -> Result<Account, Error> {
    check_rivals(file, &section.block.table)?;
    let table = layered(section.block.table.clone(), file.defaults.table.clone());
    check(file, &table)?;
    let path = |path: &FilePath| path.expand(&context.home, &file.folder);
    let mut account = settle(&section.name, &table, None, &path).map_err(|lack| {
        let (what, hint) = match lack {
            MissingKey::Host => (
                "has no `host`",
                "name its server: host = \"pop.example.org\"",
            ),
            MissingKey::User => ("has no `user`", "name its user: user = \"ann@example.org\""),
            MissingKey::Destination => (
                "does not say where its mail goes",
                "name a Maildir, which is made if it is missing: maildir = \"~/Mail/work\"",
            ),
        };
        let what = format!("the account `{}` {what}", section.name);
        file.document.error(&section.header, &what).with_hint(hint)
    })?;
    let around = rules::RuleContext {
        file,
        account: &account,
        may_delete_unread: table
            .allow_delete_unread
            .as_ref()
            .is_some_and(|allow| allow.value),
        path: &path,
    };
    // the account's own come first
    let rules = section.block.rules.iter().chain(&file.defaults.rules);
    let settled = rules
        .map(|rule| rules::settle(rule, &around))
        .collect::<Result<Vec<_>, _>>()?;
    let multidrop = section
        .block
        .multidrop
        .as_ref()
        .or(file.defaults.multidrop.as_ref());
    let multidrop = multidrop
        .map(|multidrop| rules::settle_multidrop(multidrop, &around))
        .transpose()?;
    if let Some((multidrop, setting)) = multidrop {
        account.routing.multidrop = Some(multidrop);
        account.settings.push(setting);
    }
    for (rule, setting) in settled {
        account.routing.rules.push(rule);
        account.settings.push(setting);
    }
    Ok(account)
}

/// An account's own keys laid over the defaults, of which those are passed over that exclude, or
/// mean nothing next to, a key of the account.
fn layered(own: Table, mut defaults: Table) -> Table {
    for rivals in RIVALS {
        if rivals.iter().any(|key| own.at(key).is_some()) {
            for key in rivals {
                defaults.unset(key);
            }
        }
    }
    if own.tls.as_ref().is_some_and(|tls| tls.value == Tls::Off) {
        for key in TLS_KEYS {
            defaults.unset(key);
        }
    }
    if own.mbox.is_some() || own.pipe.is_some() || own.lmtp.is_some() {
        defaults.unset("sync-deletions");
    }
    own.over(defaults)
}

/// No two keys that exclude each other stand in one table.
fn check_rivals(file: &File, table: &Table) -> Result<(), Error> {
    for rivals in RIVALS {
        let mut set: Vec<(&str, &Position)> = rivals
            .iter()
            .filter_map(|key| Some((*key, table.at(key)?)))
            .collect();
        set.sort_by_key(|(_, at)| at.span.start);
        if let [(first, at), (second, culprit), ..] = set[..] {
            let line = file.document.line(at.span.start);
            let what = format!("`{second}` and `{first}` (line {line}) exclude each other");
            return Err(file
                .document
                .error(&culprit.span, &what)
                .with_hint("keep one of them"));
        }
    }
    Ok(())
}

/// No key contradicts another.
fn check(file: &File, table: &Table) -> Result<(), Error> {
    let fault = |at: &Position, what: &str, hint: &str| {
        Err(file.document.error(&at.span, what).with_hint(hint))
    };
    if let Some(tls) = table.tls.as_ref().filter(|tls| tls.value == Tls::Off) {
        if !table
            .allow_plaintext_password
            .as_ref()
            .is_some_and(|allow| allow.value)
        {
            return fault(
                &tls.at,
                "with `tls = \"off\"` everyone on the way can read the password and the mail",
                "use \"implicit\" or \"starttls\"; where the way is safe, add `allow-plaintext-password = true`",
            );
        }
        if let Some((key, at)) = TLS_KEYS.iter().find_map(|key| Some((key, table.at(key)?))) {
            return fault(
                at,
                &format!("`{key}` means nothing with `tls = \"off\"`"),
                "remove one of them",
            );
        }
    }
    match (&table.tls_client_cert, &table.tls_client_key) {
        (Some(cert), None) => {
            return fault(
                &cert.at,
                "`tls-client-cert` needs `tls-client-key`",
                "name the file with its private key",
            );
        }
        (None, Some(key)) => {
            return fault(
                &key.at,
                "`tls-client-key` needs `tls-client-cert`",
                "name the file with its certificate",
            );
        }
        _ => {}
    }
    match &table.sync_deletions {
        Some(sync) if sync.value && table.maildir.is_none() => fault(
            &sync.at,
            "`sync-deletions` needs a `maildir`: elsewhere pouch cannot see what you deleted",
            "remove it, or deliver to a Maildir",
        ),
        _ => Ok(()),
    }
}

/// No two accounts are one mailbox: each would take the other's messages for its own.
fn check_twins(file: &File, accounts: &[Account]) -> Result<(), Error> {
    let mailbox = |account: &Account| {
        (
            account.user.to_lowercase(),
            account.host.to_lowercase().trim_end_matches('.').to_owned(),
        )
    };
    for (index, account) in accounts.iter().enumerate() {
        if let Some(twin) = accounts[..index]
            .iter()
            .find(|earlier| mailbox(earlier) == mailbox(account))
        {
            let what = format!(
                "the accounts `{}` and `{}` are the same mailbox, {}",
                twin.name,
                account.name,
                account.identity()
            );
            return Err(file
                .document
                .error(&file.accounts[index].header, &what)
                .with_hint("remove one of them"));
        }
    }
    Ok(())
}

/// What an account cannot be without.
pub(super) enum MissingKey {
    Host,
    User,
    Destination,
}

/// The settings in the making: each value is noted as it is taken.
#[derive(Default)]
struct Settings(Vec<Setting>);

impl Settings {
    fn note(&mut self, key: &'static str, value: String, source: Source) {
        self.0.push(Setting { key, value, source });
    }

    /// The value of `key`, if it is set.
    fn maybe<T: Value + Clone>(
        &mut self,
        key: &'static str,
        entry: Option<&Located<T>>,
    ) -> Option<T> {
        match entry {
            Some(entry) => self.note(key, entry.value.to_toml(), entry.at.source.clone()),
            None => self.note(key, UNSET.to_owned(), Source::BuiltIn),
        }
        entry.map(|entry| entry.value.clone())
    }

    /// The value of `key`, or the built-in one.
    fn or<T: Value + Clone>(
        &mut self,
        key: &'static str,
        entry: Option<&Located<T>>,
        built_in: T,
    ) -> T {
        if entry.is_none() {
            self.note(key, built_in.to_toml(), Source::BuiltIn);
            return built_in;
        }
        self.maybe(key, entry).unwrap_or(built_in)
    }
}

/// Settles every value, in the order of [`super::file::KEYS`]. `destination` is where messages go if
/// the table does not say.
pub(super) fn settle(
    name: &str,
    table: &Table,
    destination: Option<Destination>,
    path: &dyn Fn(&FilePath) -> PathBuf,
) -> Result<Account, MissingKey> {
    let mut settings = Settings::default();
    let s = &mut settings;
    let one = NonZero::<u32>::MIN;

    let host = s
        .maybe("host", table.host.as_ref())
        .ok_or(MissingKey::Host)?
        .0;
    let implicit = table
        .tls
        .as_ref()
        .is_none_or(|tls| tls.value == Tls::Implicit);
    let usual_port = NonZero::new(if implicit { 995 } else { 110 }).unwrap_or(NonZero::<u16>::MIN);
    let port = s.or("port", table.port.as_ref(), usual_port).get();
    let tls = s.or("tls", table.tls.as_ref(), Tls::Implicit);
    let ca_file = s.maybe("tls-ca-file", table.tls_ca_file.as_ref());
    let pin = s.maybe("tls-pin", table.tls_pin.as_ref());
    let certificate = s.maybe("tls-client-cert", table.tls_client_cert.as_ref());
    let key = s.maybe("tls-client-key", table.tls_client_key.as_ref());
    let allow_plaintext_password = s.or(
        "allow-plaintext-password",
        table.allow_plaintext_password.as_ref(),
        false,
    );
    let timeout = s.or(
        "timeout",
        table.timeout.as_ref(),
        TimeSpan::from_seconds(60),
    );
    let connect_timeout = s.or(
        "connect-timeout",
        table.connect_timeout.as_ref(),
        TimeSpan::from_seconds(20),
    );
    let retries = s.or("retries", table.retries.as_ref(), 2);
    let request_ahead = s.or(
        "request-ahead",
        table.request_ahead.as_ref(),
        RequestAhead::Auto,
    );
    let user = s
        .maybe("user", table.user.as_ref())
        .ok_or(MissingKey::User)?;
    let auth = s.or("auth", table.auth.as_ref(), Auth::Auto);
    let command = s
        .maybe("password-command", table.password_command.as_ref())
        .map(SecretSource::Command);
    let file = s.maybe("password-file", table.password_file.as_ref());
    let credential = s.maybe("password-credential", table.password_credential.as_ref());
    let maildir = s.maybe("maildir", table.maildir.as_ref());
    let mbox = s
        .maybe("mbox", table.mbox.as_ref())
        .map(|mbox| Destination::Mbox(path(&mbox)));
    let pipe = s.maybe("pipe", table.pipe.as_ref()).map(Destination::Pipe);
    let lmtp = s
        .maybe("lmtp", table.lmtp.as_ref())
        .map(|lmtp| Destination::Lmtp(lmtp.server(path), Vec::new()));
    let recipients = s.maybe("lmtp-recipients", table.lmtp_recipients.as_ref());
    let pipe_timeout = s.or(
        "pipe-timeout",
        table.pipe_timeout.as_ref(),
        TimeSpan::from_seconds(600),
    );
    let filter = s.or("filter", table.filter.as_ref(), Vec::new());
    let add_headers = s.or("add-headers", table.add_headers.as_ref(), Vec::new());
    let policy = Policy {
        keep: s.or("keep", table.keep.as_ref(), Keep::Forever),
        keep_newest: s
            .maybe("keep-newest", table.keep_newest.as_ref())
            .map(NonZero::get),
        keep_total: s.maybe("keep-total", table.keep_total.as_ref()),
        sync_deletions: s.or("sync-deletions", table.sync_deletions.as_ref(), false),
        may_delete: true,
        max_size: s.maybe("max-size", table.max_size.as_ref()),
        limit: Some(s.or("limit", table.limit.as_ref(), 0)).filter(|limit| *limit > 0),
    };
    let attempts = s
        .or("attempts", table.attempts.as_ref(), one.saturating_add(2))
        .get();
    let notice = s.or("notice", table.notice.as_ref(), true);
    let after = s.maybe("after", table.after.as_ref());
    let quirks = s.or("quirks", table.quirks.as_ref(), Vec::new());
    let enabled = s.or("enabled", table.enabled.as_ref(), true);
    s.or(
        "allow-delete-unread",
        table.allow_delete_unread.as_ref(),
        false,
    );

    let lmtp_recipients = recipients.map_or_else(|| vec![user.clone()], |recipients| recipients.0);
    let maildir = maildir.map(|maildir| Destination::Maildir(path(&maildir)));
    let destination = maildir
        .or(mbox)
        .or(pipe)
        .or(lmtp)
        .or(destination)
        .ok_or(MissingKey::Destination)?
        .with_default_recipients(&lmtp_recipients);
    let secret = command
        .or(file.map(|file| SecretSource::File(path(&file))))
        .or(credential.map(SecretSource::Credential))
        .unwrap_or(SecretSource::Prompt);
    let trust = match (ca_file, pin) {
        (_, Some(pin)) => Trust::Pin(pin.0),
        (Some(file), None) => Trust::CaFile(path(&file)),
        (None, None) => Trust::System,
    };
    let client_certificate = certificate
        .zip(key)
        .map(|(certificate, key)| ClientCertificate {
            certificate: path(&certificate),
            key: path(&key),
        });
    Ok(Account {
        name: name.to_owned(),
        host,
        port,
        user,
        tls,
        trust,
        client_certificate,
        allow_plaintext_password,
        timeout,
        connect_timeout,
        retries,
        request_ahead,
        auth,
        secret,
        routing: Routing::to(destination),
        pipe_timeout,
        lmtp_recipients,
        filter,
        add_headers,
        policy,
        attempts,
        notice,
        after,
        quirks,
        enabled,
        settings: settings.0,
    })
}

/// Lays the flags over an account.
pub fn with_flags(account: &mut Account, flags: &Overrides) {
    let sorts = account.routing.needs_header();
    let Account {
        policy, settings, ..
    } = account;
    if flags.keep {
        policy.may_delete = false;
        override_setting(settings, "keep", &quoted("forever"), "--keep");
        override_setting(settings, "keep-newest", UNSET, "--keep");
        override_setting(settings, "keep-total", UNSET, "--keep");
        override_setting(settings, "sync-deletions", "false", "--keep");
    }
    if let Some(limit) = flags
        .limit
        .filter(|limit| *limit > 0 && policy.limit.is_none_or(|set| *limit < set))
    {
        policy.limit = Some(limit);
        override_setting(settings, "limit", &limit.to_string(), "--limit");
    }
    if let Some(size) = flags
        .max_size
        .filter(|size| policy.max_size.is_none_or(|set| *size < set))
    {
        policy.max_size = Some(size);
        override_setting(settings, "max-size", &size.to_toml(), "--max-size");
    }
    if let Some(destination) = &flags.destination {
        let destination = destination
            .clone()
            .with_default_recipients(&account.lmtp_recipients);
        if destination != account.routing.default || sorts {
            // Messages that lie elsewhere are not in that one place: that must not look as if the
            // user had deleted them.
            policy.sync_deletions = false;
            override_setting(settings, "sync-deletions", "false", "--to");
        }
        let text = |path: &Path| quoted(&path.to_string_lossy());
        let set = match &destination {
            Destination::Maildir(path) => Some(("maildir", text(path))),
            Destination::Mbox(path) => Some(("mbox", text(path))),
            Destination::Pipe(command) => Some(("pipe", listed(command))),
            Destination::Lmtp(server, recipients) => {
                if *recipients != account.lmtp_recipients {
                    override_setting(settings, "lmtp-recipients", &listed(recipients), "--to");
                }
                Some(("lmtp", quoted(&server.to_string())))
            }
            Destination::Stdout => None,
        };
        for key in PLACES {
            let value = set
                .as_ref()
                .filter(|(named, _)| *named == key)
                .map_or(UNSET, |(_, value)| value);
            override_setting(settings, key, value, "--to");
        }
        account.routing.default = destination;
        // all of it goes there
        account.routing.multidrop = None;
        for rule in &mut account.routing.rules {
            rule.to = None;
            rule.also.clear();
        }
    }
    if let Some(command) = &flags.password_command {
        account.secret = SecretSource::Command(command.clone());
        override_setting(
            settings,
            "password-command",
            &listed(command),
            "--password-command",
        );
        override_setting(settings, "password-file", UNSET, "--password-command");
        override_setting(settings, "password-credential", UNSET, "--password-command");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{
        super::{
            SAMPLE,
            file::{KEYS, RULE_KEYS, TOP_KEYS},
        },
        *,
    };
    use crate::domain::destination::LmtpServer;

    const PATH: &str = "/home/ann/.config/pouch/config.toml";
    const MINIMAL: &str =
        "[account.work]\nhost = \"pop.example.org\"\nuser = \"ann\"\nmaildir = \"~/Mail\"\n";

    fn context() -> ConfigDefaults {
        ConfigDefaults {
            home: PathBuf::from("/home/ann"),
            state_dir: PathBuf::from("/state"),
        }
    }

    fn config(text: &str) -> Result<Config, Error> {
        let context = context();
        resolve(
            &File::parse(Path::new(PATH), &context.home, text)?,
            &context,
        )
    }

    /// The account of MINIMAL with these lines too.
    fn with(lines: &str) -> Result<Account, Error> {
        config(&format!("{MINIMAL}{lines}\n")).map(|mut config| config.accounts.remove(0))
    }

    fn setting(account: &Account, key: &str) -> String {
        let setting = account
            .settings
            .iter()
            .find(|setting| setting.key == key)
            .unwrap();
        format!("{} {}", setting.value, setting.source)
    }

    #[test]
    fn what_nobody_sets_is_built_in() {
        let config = config(MINIMAL).unwrap();
        assert_eq!(
            (config.jobs, config.state_dir),
            (4, PathBuf::from("/state"))
        );
        let account = &config.accounts[0];
        assert_eq!(
            (account.port, account.tls, &account.trust),
            (995, Tls::Implicit, &Trust::System)
        );
        assert_eq!(
            (
                account.retries,
                account.attempts,
                account.notice,
                account.enabled
            ),
            (2, 3, true, true)
        );
        assert_eq!(account.policy, Policy::default());
        assert_eq!(account.secret, SecretSource::Prompt);
        assert_eq!(
            account.routing.default,
            Destination::Maildir(PathBuf::from("/home/ann/Mail"))
        );
        let shown: Vec<_> = account
            .settings
            .iter()
            .map(|s| format!("{} = {}  {}", s.key, s.value, s.source))
            .collect();
        assert_eq!(
            shown.join("\n"),
            "host = \"pop.example.org\"  ~/.config/pouch/config.toml:2
port = 995  built in
tls = \"implicit\"  built in
tls-ca-file = unset  built in
tls-pin = unset  built in
tls-client-cert = unset  built in
tls-client-key = unset  built in
allow-plaintext-password = false  built in
timeout = \"1m\"  built in
connect-timeout = \"20s\"  built in
retries = 2  built in
request-ahead = \"auto\"  built in
user = \"ann\"  ~/.config/pouch/config.toml:3
auth = \"auto\"  built in
password-command = unset  built in
password-file = unset  built in
password-credential = unset  built in
maildir = \"~/Mail\"  ~/.config/pouch/config.toml:4
mbox = unset  built in
pipe = unset  built in
lmtp = unset  built in
lmtp-recipients = unset  built in
pipe-timeout = \"10m\"  built in
filter = []  built in
add-headers = []  built in
keep = \"forever\"  built in
keep-newest = unset  built in
keep-total = unset  built in
sync-deletions = false  built in
max-size = unset  built in
limit = 0  built in
attempts = 3  built in
notice = true  built in
after = unset  built in
quirks = []  built in
enabled = true  built in
allow-delete-unread = false  built in"
        );
    }

    #[test]
    fn every_key_is_explained() {
        let keys: Vec<_> = with("")
            .unwrap()
            .settings
            .iter()
            .map(|setting| setting.key)
            .collect();
        assert_eq!(keys, KEYS);
    }

    #[test]
    fn an_account_lies_over_the_defaults() {
        let text = "jobs = 2
state-dir = \"state\"
[defaults]
user = \"ann\"
keep = \"30d\"
limit = 10
maildir = \"~/Mail\"
sync-deletions = true
password-command = [\"pass\", \"mail\"]
tls-ca-file = \"ca.pem\"
[account.a]
host = \"a\"
keep = \"none\"
limit = 0
[account.b]
host = \"b\"
pipe = [\"procmail\"]
password-file = \"b\"
tls-pin = \"sha256:5f6e04c1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d\"
[account.c]
host = \"c\"
tls = \"off\"
allow-plaintext-password = true
[account.d]
host = \"d\"
lmtp = \"unix:lmtp\"
";
        let config = config(text).unwrap();
        assert_eq!(
            (config.jobs, config.state_dir),
            (2, PathBuf::from("/home/ann/.config/pouch/state"))
        );
        let [a, b, c, d] = &config.accounts[..] else {
            panic!()
        };
        assert_eq!(
            (a.policy.keep, a.policy.limit, a.policy.sync_deletions),
            (Keep::None, None, true)
        );
        assert_eq!(
            a.trust,
            Trust::CaFile(PathBuf::from("/home/ann/.config/pouch/ca.pem"))
        );
        assert_eq!(
            a.secret,
            SecretSource::Command(vec!["pass".to_owned(), "mail".to_owned()])
        );
        assert_eq!(
            setting(a, "keep"),
            "\"none\" ~/.config/pouch/config.toml:13"
        );
        assert_eq!(
            setting(a, "maildir"),
            "\"~/Mail\" ~/.config/pouch/config.toml:7"
        );
        assert_eq!((b.policy.limit, b.policy.sync_deletions), (Some(10), false));
        assert_eq!(
            b.routing.default,
            Destination::Pipe(vec!["procmail".to_owned()])
        );
        assert_eq!(
            b.secret,
            SecretSource::File(PathBuf::from("/home/ann/.config/pouch/b"))
        );
        assert!(matches!(b.trust, Trust::Pin(pin) if pin[0] == 0x5f));
        assert_eq!(setting(b, "maildir"), "unset built in");
        assert_eq!((c.port, c.tls, &c.trust), (110, Tls::Off, &Trust::System));
        assert_eq!(
            d.routing.default,
            Destination::Lmtp(
                LmtpServer::Unix("/home/ann/.config/pouch/lmtp".into()),
                vec!["ann".to_owned()]
            )
        );
        assert!(!d.policy.sync_deletions);
    }

    #[test]
    fn contradictions_point_at_the_key() {
        for (lines, complaint) in [
            (
                "password-file = \"x\"\npassword-command = [\"x\"]",
                ":6:1: `password-command` and `password-file` (line 5) exclude each other
  6 | password-command = [\"x\"]
    | ^^^^^^^^^^^^^^^^
hint: keep one of them",
            ),
            (
                "pipe = [\"x\"]",
                ":5:1: `pipe` and `maildir` (line 4) exclude each other
  5 | pipe = [\"x\"]
    | ^^^^
hint: keep one of them",
            ),
            (
                "tls = \"off\"",
                ":5:1: with `tls = \"off\"` everyone on the way can read the password and the mail
  5 | tls = \"off\"
    | ^^^
hint: use \"implicit\" or \"starttls\"; where the way is safe, add `allow-plaintext-password = true`",
            ),
            (
                "tls = \"off\"\nallow-plaintext-password = true\ntls-ca-file = \"x\"",
                ":7:1: `tls-ca-file` means nothing with `tls = \"off\"`
  7 | tls-ca-file = \"x\"
    | ^^^^^^^^^^^
hint: remove one of them",
            ),
            (
                "tls-client-cert = \"x\"",
                ":5:1: `tls-client-cert` needs `tls-client-key`
  5 | tls-client-cert = \"x\"
    | ^^^^^^^^^^^^^^^
hint: name the file with its private key",
            ),
            (
                "[defaults]\ntls-ca-file = \"x\"\ntls-pin = \"sha256:5f6e04c1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d\"",
                ":7:1: `tls-pin` and `tls-ca-file` (line 6) exclude each other
  7 | tls-pin = \"sha256:5f6e04c1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d\"
    | ^^^^^^^
hint: keep one of them",
            ),
            (
                "[account.b]\nhost = \"b\"\nuser = \"b\"\npipe = [\"x\"]\nsync-deletions = true",
                ":9:1: `sync-deletions` needs a `maildir`: elsewhere pouch cannot see what you deleted
  9 | sync-deletions = true
    | ^^^^^^^^^^^^^^
hint: remove it, or deliver to a Maildir",
            ),
            (
                "[account.b]\nhost = \"POP.example.org.\"\nuser = \"Ann\"\nmaildir = \"b\"\nenabled = false",
                ":5:1: the accounts `work` and `b` are the same mailbox, Ann@pop.example.org.
  5 | [account.b]
    | ^^^^^^^^^^^
hint: remove one of them",
            ),
            (
                "[account.b]\nuser = \"b\"",
                ":5:1: the account `b` has no `host`
  5 | [account.b]
    | ^^^^^^^^^^^
hint: name its server: host = \"pop.example.org\"",
            ),
            (
                "[account.b]\nhost = \"b\"",
                ":5:1: the account `b` has no `user`
  5 | [account.b]
    | ^^^^^^^^^^^
hint: name its user: user = \"ann@example.org\"",
            ),
            (
                "[account.b]\nhost = \"b\"\nuser = \"b\"",
                ":5:1: the account `b` does not say where its mail goes
  5 | [account.b]
    | ^^^^^^^^^^^
hint: name a Maildir, which is made if it is missing: maildir = \"~/Mail/work\"",
            ),
        ] {
            let error = with(lines).unwrap_err();
            assert_eq!(error.to_string(), format!("~/.config/pouch/config.toml{complaint}"));
        }
        for text in ["", "# nothing\n", "[defaults]\nkeep = \"1d\"\n"] {
            assert_eq!(
                config(text).unwrap_err().to_string(),
                "~/.config/pouch/config.toml names no account\nhint: add one below a line `[account.NAME]`; `pouch config sample` shows how"
            );
        }
    }

    #[test]
    fn flags_only_narrow() {
        let mut account =
            with("keep = \"none\"\nkeep-newest = 3\nlimit = 10\nmax-size = \"1MB\"\nsync-deletions = true").unwrap();
        let before = account.clone();
        let mut flags = Overrides {
            limit: Some(0),
            max_size: Some(ByteSize::from_octets(2_000_000)),
            destination: Some(account.routing.default.clone()),
            ..Overrides::default()
        };
        with_flags(&mut account, &flags);
        assert_eq!(account.policy, before.policy);
        assert_eq!(
            setting(&account, "limit"),
            "10 ~/.config/pouch/config.toml:7"
        );

        flags = Overrides {
            keep: true,
            limit: Some(2),
            max_size: Some(ByteSize::from_octets(1000)),
            destination: Some(Destination::Pipe(vec!["cat".to_owned()])),
            password_command: Some(vec!["pass".to_owned(), "a b".to_owned()]),
            nowhere: false,
        };
        with_flags(&mut account, &flags);
        assert!(!account.policy.may_delete && !account.policy.sync_deletions);
        assert_eq!(
            (account.policy.limit, account.policy.max_size),
            (Some(2), flags.max_size)
        );
        assert_eq!(
            (Some(&account.routing.default), account.port),
            (flags.destination.as_ref(), 995)
        );
        for (key, shown) in [
            ("keep", "\"forever\" --keep"),
            ("keep-newest", "unset --keep"),
            ("limit", "2 --limit"),
            ("max-size", "\"1KB\" --max-size"),
            ("maildir", "unset --to"),
            ("mbox", "unset --to"),
            ("pipe", "[\"cat\"] --to"),
            ("lmtp", "unset --to"),
            ("password-command", "[\"pass\", \"a b\"] --password-command"),
        ] {
            assert_eq!(setting(&account, key), shown);
        }
    }

    #[test]
    fn mail_missing_from_another_maildir_is_not_deleted() {
        let mut account = with("sync-deletions = true").unwrap();
        let destination = Some(Destination::Maildir(PathBuf::from("/tmp/x")));
        with_flags(
            &mut account,
            &Overrides {
                destination,
                ..Overrides::default()
            },
        );
        assert!(!account.policy.sync_deletions);
        assert_eq!(setting(&account, "sync-deletions"), "false --to");
    }

    /// The key of a line of the sample, commented out or not.
    fn key_of(line: &str) -> Option<&str> {
        let (key, _) = line.trim_start_matches("# ").split_once('=')?;
        let key = key.trim();
        (KEYS.contains(&key) || TOP_KEYS.contains(&key)).then_some(key)
    }

    #[test]
    fn the_sample_is_right_and_complete() {
        assert_eq!(config(SAMPLE).unwrap().accounts.len(), 1);
        for key in KEYS.iter().chain(TOP_KEYS) {
            assert!(
                SAMPLE.lines().any(|line| key_of(line) == Some(key)),
                "{key} is not in the sample"
            );
        }
        for line in SAMPLE.lines() {
            let alone = line.trim_start_matches("# ");
            assert!(
                key_of(line).is_none() || alone.contains("# "),
                "not explained: {line}"
            );
        }
    }

    #[test]
    fn the_tables_of_the_sample_can_be_made_live() {
        let mut text = String::new();
        let mut inside = false;
        for line in SAMPLE.lines() {
            inside = line.starts_with("# [") || (inside && !line.is_empty());
            text += if inside {
                line.strip_prefix("# ").unwrap_or(line)
            } else {
                line
            };
            text += "\n";
        }
        let account = config(&text).unwrap().accounts.remove(0);
        assert_eq!(
            account.routing.rules[0].conditions.len(),
            RULE_KEYS.len() - 2
        );
        assert_eq!(account.routing.multidrop.unwrap().recipients.len(), 2);
    }

    #[test]
    fn every_line_of_the_sample_can_be_made_live() {
        for commented in SAMPLE
            .lines()
            .filter(|line| line.starts_with("# ") && key_of(line).is_some())
        {
            let key = key_of(commented).unwrap();
            let rivals = RIVALS
                .into_iter()
                .find(|rivals| rivals.contains(&key))
                .unwrap_or(&[]);
            let lines = |drop_rivals: bool| -> String {
                let live = |line: &str| match key_of(line) {
                    _ if line == commented => line[2..].to_owned(),
                    // One means nothing without the other, as its comment says.
                    Some(other)
                        if key.starts_with("tls-client-") && other.starts_with("tls-client-") =>
                    {
                        line[2..].to_owned()
                    }
                    Some(other) if drop_rivals && rivals.contains(&other) => format!("# {line}"),
                    _ => line.to_owned(),
                };
                SAMPLE.lines().map(|line| live(line) + "\n").collect()
            };
            let contradicts = SAMPLE.lines().any(|line| {
                key_of(line).is_some_and(|live| rivals.contains(&live) && !line.starts_with('#'))
            });
            match config(&lines(false)) {
                Ok(config) => {
                    assert!(!contradicts, "{commented}");
                    let settings = &config.accounts[0].settings;
                    let set = settings
                        .iter()
                        .any(|setting| setting.key == key && setting.source != Source::BuiltIn);
                    assert!(set || TOP_KEYS.contains(&key), "{commented}");
                }
                Err(error) => {
                    assert!(
                        contradicts && error.what().ends_with("exclude each other"),
                        "{commented}: {error}"
                    );
                }
            }
            config(&lines(true)).unwrap_or_else(|error| panic!("{commented}: {error}"));
        }
    }

    #[test]
    fn what_the_sample_shows_as_built_in_is() {
        let fresh = with("").unwrap();
        for line in SAMPLE.lines().filter(|line| line.starts_with("# ")) {
            let Some(key) = key_of(line).filter(|key| KEYS.contains(key) && *key != "keep") else {
                continue;
            };
            let shown = setting(&fresh, key);
            let value = shown.strip_suffix(" built in").unwrap_or(UNSET);
            let written = line.split_once('=').unwrap().1.trim_start();
            // A minute is shown as "1m" and written as the manual does.
            assert!(
                value == UNSET || written.starts_with(value) || key == "timeout",
                "{line}: {value}"
            );
        }
    }
}
