//! The config file as it stands: TOML, read into tables whose every value knows its line.
//!
//! The reader walks the parsed TOML by itself instead of letting serde do it: so every complaint
//! can be in the user's words and point at the key or the value that it is about.

use std::{
    fs,
    io::{self, Read},
    num::NonZero,
    ops::Range,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{
    Quirk, RequestAhead, Tls,
    destination_spec::DestinationSpecs,
    diagnostic::{Document, LONGEST, TypeMismatch, as_text, missing, name_fault},
    provenance::Source,
    rules::{Action, Names, Routes},
    syntax::{FilePath, Host, Lmtp, Pin},
    value::{Fields, Recipients, read},
};
use crate::{
    domain::{
        auth::Auth, pattern::Pattern, plan::Keep, rule::Bound, size::ByteSize, time::TimeSpan,
        trace_fields::TraceField,
    },
    error::{Error, Kind},
    text::{sanitize, tilde},
};

/// Declares a table of the config: each key with the field that holds it and the type it takes.
/// To add a key of an account, add a line here, its value in `resolve::settle`, and a line in
/// `sample.toml`.
macro_rules! keys {
    ($(#[$doc:meta])* $table:ident, $(#[$names_doc:meta])* $names:ident: $($key:literal $field:ident: $kind:ty,)*) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $table {
            $(#[doc = concat!("`", $key, "`")] pub $field: Option<Located<$kind>>,)*
        }

        $(#[$names_doc])*
        pub const $names: &[&str] = &[$($key),*];

        impl $table {
            /// Takes the value of `key`; `None` where there is no such key.
            fn set(&mut self, key: &str, value: &DeValue<'_>, at: Position) -> Option<Result<(), TypeMismatch>> {
                match key {
                    $($key => Some(read(value).map(|value| self.$field = Some(Located { value, at }))),)*
                    _ => None,
                }
            }

            /// Where `key` stands, if it is set.
            pub fn at(&self, key: &str) -> Option<&Position> {
                match key {
                    $($key => self.$field.as_ref().map(|entry| &entry.at),)*
                    _ => None,
                }
            }

            /// As if `key` had not been set.
            pub fn unset(&mut self, key: &str) {
                match key {
                    $($key => self.$field = None,)*
                    _ => {}
                }
            }

            /// This table laid over `below`: what it does not set is taken from there.
            #[must_use]
            pub fn over(self, below: Self) -> Self {
                Self { $($field: self.$field.or(below.$field),)* }
            }
        }
    };
}

keys! {
    /// What stands above the first table.
    Top, /// The keys that stand above the first table.
    TOP_KEYS:
    "jobs" jobs: NonZero<usize>,
    "state-dir" state_dir: FilePath,
}

keys! {
    /// `[defaults]` or `[account.NAME]`.
    Table, /// The keys of an account, in the order in which they are explained.
    KEYS:
    "host" host: Host,
    "port" port: NonZero<u16>,
    "tls" tls: Tls,
    "tls-ca-file" tls_ca_file: FilePath,
    "tls-pin" tls_pin: Pin,
    "tls-client-cert" tls_client_cert: FilePath,
    "tls-client-key" tls_client_key: FilePath,
    "allow-plaintext-password" allow_plaintext_password: bool,
    "timeout" timeout: TimeSpan,
    "connect-timeout" connect_timeout: TimeSpan,
    "retries" retries: u32,
    "request-ahead" request_ahead: RequestAhead,
    "user" user: String,
    "auth" auth: Auth,
    "password-command" password_command: Vec<String>,
    "password-file" password_file: FilePath,
    "password-credential" password_credential: String,
    "maildir" maildir: FilePath,
    "mbox" mbox: FilePath,
    "pipe" pipe: Vec<String>,
    "lmtp" lmtp: Lmtp,
    "lmtp-recipients" lmtp_recipients: Recipients,
    "pipe-timeout" pipe_timeout: TimeSpan,
    "filter" filter: Vec<Vec<String>>,
    "add-headers" add_headers: Vec<TraceField>,
    "keep" keep: Keep,
    "keep-newest" keep_newest: NonZero<u64>,
    "keep-total" keep_total: ByteSize,
    "sync-deletions" sync_deletions: bool,
    "max-size" max_size: ByteSize,
    "limit" limit: u64,
    "attempts" attempts: NonZero<u32>,
    "notice" notice: bool,
    "after" after: Vec<String>,
    "quirks" quirks: Vec<Quirk>,
    "enabled" enabled: bool,
    "allow-delete-unread" allow_delete_unread: bool,
}

keys! {
    /// `[[account.NAME.rule]]`.
    RuleTable, /// The keys of a rule.
    RULE_KEYS:
    "from" from: Pattern,
    "to" to: Pattern,
    "subject" subject: Pattern,
    "list-id" list_id: Pattern,
    "header" header: Fields,
    "size" size: Bound,
    "older-than" older_than: TimeSpan,
    "action" action: Action,
    "also" also: DestinationSpecs,
}

keys! {
    /// `[account.NAME.multidrop]`.
    MultidropTable, /// The keys of multidrop.
    MULTIDROP_KEYS:
    "header" header: Names,
    "occurrence" occurrence: NonZero<i32>,
    "recipients" recipients: Routes,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: Position,
}

/// The place of a key.
#[derive(Clone, Debug)]
pub struct Position {
    /// The octets of the key in the file.
    pub span: Range<usize>,
    /// The same for people.
    pub source: Source,
}

/// One `[account.NAME]`.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// The octets of its header line.
    pub header: Range<usize>,
    /// What it sets.
    pub block: Block,
}

/// What stands below `[defaults]` or `[account.NAME]`.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Its keys.
    pub table: Table,
    /// The `[[….rule]]` below it, in their order.
    pub rules: Vec<Located<RuleTable>>,
    /// The `[….multidrop]` below it.
    pub multidrop: Option<Located<MultidropTable>>,
}

/// A config file that has been read: each value is right by itself.
#[derive(Clone, Debug)]
pub struct File {
    /// The text, to point into.
    pub(super) document: Document,
    /// The folder of the file: relative paths in it start there.
    pub(super) folder: PathBuf,
    /// What stands above the first table.
    pub top: Top,
    /// `[defaults]`.
    pub defaults: Block,
    /// The accounts in the order of the file.
    pub accounts: Vec<Section>,
}

/// Whether nobody but the user `me`, or root, can change a file of this owner and mode.
fn owned(shown: &str, owner: u32, me: u32, mode: u32) -> Result<(), Error> {
    let denied = || Error::new(Kind::Denied, format!("others may change {shown}"));
    if ![me, 0].contains(&owner) {
        return Err(denied()
            .with_fact(format!(
                "it belongs to the user number {owner}, and commands in it are run as you"
            ))
            .with_hint(format!("copy it, or give it to you: chown {me} {shown}")));
    }
    if mode & 0o022 != 0 {
        return Err(denied()
            .with_fact(format!(
                "its permissions are {mode:04o}, and commands in it are run as you"
            ))
            .with_hint(format!("chmod go-w {shown}")));
    }
    Ok(())
}

impl File {
    /// Reads the config file at `path`.
    ///
    /// # Errors
    /// There is no such file, it is no config, or others may change it: commands in it are run
    /// as the user.
    pub fn read(path: &Path, home: &Path) -> Result<Self, Error> {
        let shown = tilde(path, home);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => missing(path, home),
            io::ErrorKind::PermissionDenied => {
                Error::new(Kind::Denied, format!("you may not read {shown}"))
            }
            _ => Error::new(Kind::Config, format!("cannot read {shown}"))
                .with_fact(error.to_string()),
        };
        let file = fs::File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(Error::new(
                Kind::Config,
                format!("{shown} is a folder, not a config file"),
            ));
        }
        if metadata.is_file() {
            let me = rustix::process::geteuid().as_raw();
            owned(
                &shown,
                metadata.uid(),
                me,
                metadata.permissions().mode() & 0o777,
            )?;
        }
        let mut octets = Vec::new();
        file.take(LONGEST + 1)
            .read_to_end(&mut octets)
            .map_err(failed)?;
        let path = std::path::absolute(path).map_err(failed)?;
        Self::decode(&path, shown, &octets)
    }

    /// Reads `text` as if it stood in a file at `path`.
    ///
    /// # Errors
    /// The text is no config; the error points at the first mistake in it.
    pub fn parse(path: &Path, home: &Path, text: &str) -> Result<Self, Error> {
        Self::decode(path, tilde(path, home), text.as_bytes())
    }

    fn decode(path: &Path, shown: String, octets: &[u8]) -> Result<Self, Error> {
        let text = as_text(&shown, octets)?;
        let mut file = Self {
            document: Document {
                path: shown,
                text: text.to_owned(),
            },
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            top: Top::default(),
            defaults: Block::default(),
            accounts: Vec::new(),
        };
        let parsed = DeTable::parse(text).map_err(|error| file.document.syntax(&error))?;
        for (key, value) in in_order(parsed.get_ref()) {
            file.take(key, value)?;
        }
        Ok(file)
    }

    /// Takes one key, or one table, of the top level.
    fn take(&mut self, key: &Name<'_>, value: &Spanned<DeValue<'_>>) -> Result<(), Error> {
        let (name, span) = (key.get_ref().as_ref(), key.span());
        match (name, value.get_ref()) {
            ("defaults", DeValue::Table(table)) => self.defaults = self.block(name, table)?,
            ("account", DeValue::Table(accounts)) => {
                for (name, value) in in_order(accounts) {
                    self.account(name, value)?;
                }
            }
            ("defaults", _) => {
                return Err(self
                    .document
                    .error(&span, "defaults are written below a line `[defaults]`"));
            }
            ("account", _) => {
                return Err(self
                    .document
                    .error(&span, "an account is written below a line `[account.NAME]`"));
            }
            (_, found) => {
                let at = self.at(span.clone());
                match self.top.set(name, found, at) {
                    Some(Ok(())) => {}
                    Some(Err(misfit)) => {
                        return Err(self.document.misfit(&value.span(), name, &misfit, found));
                    }
                    None if found.is_table() => {
                        return Err(self.document.unknown_table(&span, name));
                    }
                    None => return Err(self.document.unknown_key(&span, name, true)),
                }
            }
        }
        Ok(())
    }

    /// Takes one `[account.NAME]`.
    fn account(&mut self, name: &Name<'_>, value: &Spanned<DeValue<'_>>) -> Result<(), Error> {
        let DeValue::Table(table) = value.get_ref() else {
            let what = format!(
                "`{}` stands below `[account]`, which lacks the account's name",
                sanitize(name.get_ref().as_bytes())
            );
            return Err(self
                .document
                .error(&name.span(), &what)
                .with_hint("write `[account.NAME]`, with a name of your choice"));
        };
        if let Some(fault) = name_fault(name.get_ref()) {
            let what = format!("an account's name {fault}");
            return Err(self.document.error(&name.span(), &what));
        }
        let block = self.block(&format!("account.{}", name.get_ref()), table)?;
        self.accounts.push(Section {
            name: name.get_ref().to_string(),
            header: value.span(),
            block,
        });
        Ok(())
    }

    /// Reads `[defaults]` or an account.
    fn block(&self, called: &str, keys: &DeTable<'_>) -> Result<Block, Error> {
        let mut block = Block::default();
        for (key, value) in in_order(keys) {
            let (name, found) = (key.get_ref(), value.get_ref());
            match name.as_ref() {
                "rule" => {
                    block.rules = self.rules(called, key, found)?;
                    continue;
                }
                "multidrop" => {
                    block.multidrop = Some(self.multidrop(called, key, found)?);
                    continue;
                }
                _ => {}
            }
            match block.table.set(name, found, self.at(key.span())) {
                Some(Ok(())) => {}
                Some(Err(misfit)) => {
                    return Err(self.document.misfit(&value.span(), name, &misfit, found));
                }
                None => return Err(self.document.unknown_key(&key.span(), name, false)),
            }
        }
        Ok(block)
    }

    /// Reads the `[[CALLED.rule]]`.
    fn rules(
        &self,
        called: &str,
        key: &Name<'_>,
        value: &DeValue<'_>,
    ) -> Result<Vec<Located<RuleTable>>, Error> {
        let no_rule = |span: &Range<usize>| {
            self.document
                .error(span, "a rule is a table of its own")
                .with_hint(format!("write it below `[[{called}.rule]]`"))
        };
        let list = value.as_array().ok_or_else(|| no_rule(&key.span()))?;
        let mut rules = Vec::with_capacity(list.len());
        for rule in list {
            let keys = rule
                .get_ref()
                .as_table()
                .ok_or_else(|| no_rule(&rule.span()))?;
            let mut table = RuleTable::default();
            let unknown = |span: &Range<usize>, key: &str| {
                self.document
                    .unknown_inner_key(span, key, (called, "a rule"), RULE_KEYS)
            };
            self.fill(keys, |key, value, at| table.set(key, value, at), unknown)?;
            rules.push(Located {
                value: table,
                at: self.at(rule.span()),
            });
        }
        Ok(rules)
    }

    /// Reads `[CALLED.multidrop]`.
    fn multidrop(
        &self,
        called: &str,
        key: &Name<'_>,
        value: &DeValue<'_>,
    ) -> Result<Located<MultidropTable>, Error> {
        let keys = value.as_table().ok_or_else(|| {
            self.document
                .error(&key.span(), "multidrop is a table")
                .with_hint(format!("write its keys below `[{called}.multidrop]`"))
        })?;
        let mut table = MultidropTable::default();
        let unknown = |span: &Range<usize>, key: &str| {
            self.document
                .unknown_inner_key(span, key, (called, "multidrop"), MULTIDROP_KEYS)
        };
        self.fill(keys, |key, value, at| table.set(key, value, at), unknown)?;
        Ok(Located {
            value: table,
            at: self.at(key.span()),
        })
    }

    /// Reads the keys of a table within an account.
    fn fill(
        &self,
        keys: &DeTable<'_>,
        mut set: impl FnMut(&str, &DeValue<'_>, Position) -> Option<Result<(), TypeMismatch>>,
        unknown: impl Fn(&Range<usize>, &str) -> Error,
    ) -> Result<(), Error> {
        for (key, value) in in_order(keys) {
            let (name, found) = (key.get_ref(), value.get_ref());
            match set(name, found, self.at(key.span())) {
                Some(Ok(())) => {}
                Some(Err(misfit)) => {
                    return Err(self.document.misfit(&value.span(), name, &misfit, found));
                }
                None => return Err(unknown(&key.span(), name)),
            }
        }
        Ok(())
    }

    fn at(&self, span: Range<usize>) -> Position {
        let source = Source::File {
            path: self.document.path.clone(),
            line: self.document.line(span.start),
        };
        Position { span, source }
    }
}

/// A key, or the name of a table.
pub(super) type Name<'i> = Spanned<DeString<'i>>;

/// The entries in the order of the file, so that the first mistake in it is the one that is told.
pub(super) fn in_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Name<'i>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

#[cfg(test)]
mod tests {
    use super::{super::value::Value, *};

    const PATH: &str = "/home/ann/.config/pouch/config.toml";
    const HOME: &str = "/home/ann";

    fn parse(text: &str) -> Result<File, Error> {
        File::parse(Path::new(PATH), Path::new(HOME), text)
    }

    /// The whole complaint about `text`.
    fn complaint(text: &str) -> String {
        parse(text).expect_err(text).to_string()
    }

    /// The first line and the hint of the complaint about one line of an account.
    fn about(line: &str) -> (String, Option<String>) {
        let error = parse(&format!("[account.work]\n{line}\n")).expect_err(line);
        assert_eq!(error.kind(), Kind::Config);
        let what = error.what().split_once(": ").unwrap().1.to_owned();
        (what, error.hint().map(str::to_owned))
    }

    #[test]
    fn only_its_reader_and_root_may_change_a_config() {
        for (owner, mode, good) in [
            (7, 0o644, true),
            (0, 0o600, true),
            (8, 0o600, false),
            (7, 0o620, false),
        ] {
            assert_eq!(owned("c", owner, 7, mode).is_ok(), good, "{owner} {mode:o}");
        }
    }

    #[test]
    fn an_unknown_key_is_shown_with_what_was_meant() {
        let text = "[defaults]\nkeep = \"30d\"\n\n[account.work]\nhost = \"h\"\nuser = \"u\"\npasword-command = [\"pass\", \"show\", \"x\"]\n";
        assert_eq!(
            complaint(text),
            "~/.config/pouch/config.toml:7:1: unknown key `pasword-command`
  7 | pasword-command = [\"pass\", \"show\", \"x\"]
    | ^^^^^^^^^^^^^^^
hint: did you mean `password-command`?"
        );
        assert_eq!(
            complaint("colour = 1"),
            "~/.config/pouch/config.toml:1:1: unknown key `colour`
  1 | colour = 1
    | ^^^^^^
hint: all keys: `pouch config sample`, or the manual pouch-config(5)"
        );
    }

    #[test]
    fn no_password_is_kept_and_none_is_shown() {
        assert_eq!(
            complaint("[account.work]\n  password = \"hunter2\"\n"),
            "~/.config/pouch/config.toml:2:3: pouch keeps no password in its config
  2 |   password = …
    |   ^^^^^^^^
hint: name what knows it: `password-command = [\"pass\", \"show\", \"mail/work\"]`, or `password-file = \"~/.secrets/work\"`"
        );
        for line in [
            "password = hunter2",
            "pass = \"hunter2",
            "Secret = [\"hunter2\"]",
            "passwrd = \"hunter2\"",
            "password hunter2",
            "password = \"\"\"\nhunter2\\q\"\"\"",
            "password = [\n  \"hunter2\",",
            "secret = [\n  hunter2\n]",
            "password =\n\"hunter2\"",
        ] {
            assert!(
                !complaint(&format!("[account.work]\n{line}\n")).contains("hunter2"),
                "{line}"
            );
        }
        let after = complaint("[account.work]\ntoken = \"\"\"\nhunter2\"\"\"\nuser = ann\n");
        assert!(after.contains("user = ann"), "{after}");
    }

    #[test]
    fn keys_and_tables_in_the_wrong_place() {
        for (text, what, hint) in [
            (
                "host = \"x\"",
                "1:1: `host` belongs to an account",
                "move it below an `[account.NAME]` line, or below `[defaults]` for all accounts",
            ),
            (
                "[account.a]\njobs = 2",
                "2:1: `jobs` does not belong to an account",
                "move it to the top of the file, above the first line in brackets",
            ),
            (
                "[accounts.work]",
                "1:2: unknown table `[accounts]`",
                "did you mean `[account.NAME]`?",
            ),
            (
                "[default]",
                "1:2: unknown table `[default]`",
                "did you mean `[defaults]`?",
            ),
            (
                "[work]",
                "1:2: unknown table `[work]`",
                "an account is written `[account.work]`",
            ),
            (
                "[account]\nhost = \"x\"",
                "2:1: `host` stands below `[account]`, which lacks the account's name",
                "write `[account.NAME]`, with a name of your choice",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.what(), format!("~/.config/pouch/config.toml:{what}"));
            assert_eq!(error.hint(), Some(hint));
        }
        for (text, what) in [
            (
                "[[account]]",
                "1:3: an account is written below a line `[account.NAME]`",
            ),
            (
                "defaults = 3",
                "1:1: defaults are written below a line `[defaults]`",
            ),
            ("[account.\"\"]", "1:10: an account's name may not be empty"),
            (
                "[account.\"a/b\"]",
                "1:10: an account's name holds no `/` and no `@`, to tell it from an address",
            ),
            (
                "[account.\"ann@host\"]",
                "1:10: an account's name holds no `/` and no `@`, to tell it from an address",
            ),
            (
                "[account.-v]",
                "1:10: an account's name begins with neither `-` nor `.`",
            ),
            (
                "[account.\"a\\u001bb\"]",
                "1:10: an account's name is printable text, with no spaces around it",
            ),
        ] {
            assert_eq!(
                parse(text).unwrap_err().what(),
                format!("~/.config/pouch/config.toml:{what}")
            );
        }
    }

    #[test]
    fn lmtp_servers_and_recipients_that_are_none() {
        for (line, found) in [
            (
                "lmtp = \"/run/lmtp\"",
                "\"unix:/run/dovecot/lmtp\" or \"host:port\", not \"/run/lmtp\"",
            ),
            (
                "lmtp = \"::1:24\"",
                "\"unix:/run/dovecot/lmtp\" or \"host:port\", not \"::1:24\"",
            ),
            (
                "lmtp-recipients = [\"ann\", \"<ben>\"]",
                "a list of addresses, like [\"ann@example.org\"], not a list with \"<ben>\" in it",
            ),
        ] {
            let key = line.split_once(' ').unwrap().0;
            assert_eq!(about(line), (format!("`{key}` must be {found}"), None));
        }
    }

    #[test]
    fn values_that_do_not_fit() {
        for (line, what, hint) in [
            (
                "host = 3",
                "`host` must be a host name or an address in quotes, like \"pop.example.org\", not a number",
                None,
            ),
            (
                "host = \"pops://h:995\"",
                "`host` must be a host name or an address in quotes, like \"pop.example.org\", not \"pops://h:995\"",
                Some("port, TLS and user have keys of their own: `port`, `tls`, `user`"),
            ),
            (
                "user = \"\"",
                "`user` must be a text in quotes, not an empty text",
                None,
            ),
            (
                "user = true",
                "`user` must be a text in quotes, not true",
                None,
            ),
            (
                "user = \"a\\r\\nQUIT\"",
                "`user` must be a text in quotes, not a text with control characters",
                None,
            ),
            (
                "port = \"995\"",
                "`port` must be a number from 1 to 65535, without quotes, not a text",
                None,
            ),
            (
                "port = 0",
                "`port` must be a number from 1 to 65535, without quotes, not 0",
                None,
            ),
            (
                "port = 65536",
                "`port` must be a number from 1 to 65535, without quotes, not 65536",
                None,
            ),
            (
                "port = 0x10",
                "`port` must be a number from 1 to 65535, without quotes, not a number to another base than ten",
                None,
            ),
            (
                "retries = -1",
                "`retries` must be a number from 0 up, without quotes, not -1",
                None,
            ),
            (
                "retries = 1.5",
                "`retries` must be a number from 0 up, without quotes, not 1.5",
                None,
            ),
            (
                "attempts = 0",
                "`attempts` must be a number from 1 up, without quotes, not 0",
                None,
            ),
            (
                "notice = \"yes\"",
                "`notice` must be true or false, without quotes, not a text",
                None,
            ),
            (
                "tls = \"startls\"",
                "`tls` must be \"implicit\", \"starttls\" or \"off\", not \"startls\"",
                Some("did you mean \"starttls\"?"),
            ),
            (
                "tls = false",
                "`tls` must be \"implicit\", \"starttls\" or \"off\", not false",
                None,
            ),
            (
                "auth = 1979-05-27",
                "`auth` must be \"auto\", \"plain\" or \"user\", not a date",
                None,
            ),
            (
                "tls-pin = \"sha256:5f\"",
                "`tls-pin` must be \"sha256:…\" with 64 hexadecimal digits, not \"sha256:5f\"",
                None,
            ),
            (
                "timeout = 60",
                "`timeout` must be a time in quotes, like \"30s\", \"5m\" or \"12h\", not a number",
                None,
            ),
            (
                "timeout = \"0s\"",
                "`timeout` must be a time in quotes, like \"30s\", \"5m\" or \"12h\", not \"0s\"",
                None,
            ),
            (
                "keep = \"0d\"",
                "`keep` must be \"forever\", \"none\" or a time in quotes, like \"30d\", not \"0d\"",
                Some(
                    "`keep = \"none\"` deletes every message from the server once it is safe on disk",
                ),
            ),
            (
                "keep-newest = 0",
                "`keep-newest` must be a number from 1 up, without quotes, not 0",
                Some(
                    "`keep = \"none\"` deletes every message from the server once it is safe on disk",
                ),
            ),
            (
                "max-size = \"0MB\"",
                "`max-size` must be a size in quotes, like \"512KB\", \"25MB\" or \"2GB\", not \"0MB\"",
                Some("leave `max-size` out to fetch messages of any size"),
            ),
            (
                "request-ahead = 0",
                "`request-ahead` must be \"auto\" or a number from 1 up, not 0",
                Some("1 turns it off: each message is asked for after the one before it"),
            ),
            (
                "password-command = \"pass show 'mail/a b'\"",
                "`password-command` must be a list of words, like [\"notmuch\", \"new\"], not a text",
                Some("write [\"pass\", \"show\", \"mail/a b\"]"),
            ),
            (
                "after = \"a && b\"",
                "`after` must be a list of words, like [\"notmuch\", \"new\"], not a text",
                Some("write [\"sh\", \"-c\", \"a && b\"]"),
            ),
            (
                "pipe = []",
                "`pipe` must be a list of words, like [\"notmuch\", \"new\"], not an empty list",
                None,
            ),
            (
                "pipe = [\"\"]",
                "`pipe` must be a list of words, like [\"notmuch\", \"new\"], not a list whose first word, the program, is empty",
                None,
            ),
            (
                "pipe = [\"a\", 3]",
                "`pipe` must be a list of words, like [\"notmuch\", \"new\"], not a list with a number in it",
                None,
            ),
            (
                "maildir = \"$HOME/Mail\"",
                "`maildir` must be a path in quotes, like \"~/Mail/work\", not \"$HOME/Mail\"",
                Some("`~/` at the start stands for your home; nothing else is expanded"),
            ),
        ] {
            assert_eq!(
                about(line),
                (what.to_owned(), hint.map(str::to_owned)),
                "{line}"
            );
        }
        assert_eq!(
            complaint("jobs = 0"),
            "~/.config/pouch/config.toml:1:8: `jobs` must be a number from 1 up, without quotes, not 0\n  1 | jobs = 0\n    |        ^"
        );
    }

    #[test]
    fn toml_that_is_none() {
        for (text, what) in [
            (
                "[account.a]\nhost = \"x\"\nhost = \"y\"",
                "3:1: `host` stands here for the second time",
            ),
            (
                "[account.a]\n[account.a]",
                "2:10: `a` stands here for the second time",
            ),
            (
                "[account.a]\nhost = pop.example.org",
                "2:8: a text must stand in straight quotes: \"…\"",
            ),
            (
                "[account.a]\nhost = foo",
                "2:8: a text must stand in straight quotes: \"…\"",
            ),
            (
                "jobs = \u{201c}4\u{201d}",
                "1:8: a text must stand in straight quotes: \"…\"",
            ),
            ("jobs = ", "1:8: a value is missing here"),
            ("jobs", "1:5: after a key, `=` and its value must follow"),
            (
                "state-dir = \"x\njobs = 3",
                "1:15: the closing quote is missing",
            ),
            (
                "[account.a]\nenabled = True",
                "2:11: write true, in small letters",
            ),
            (
                "[account.ann@example.org]",
                "1:13: a name has only letters, digits, `-` and `_` in it",
            ),
            (
                "[account.a",
                "1:11: this is not valid TOML: unclosed table, expected `]`",
            ),
        ] {
            assert_eq!(
                parse(text).unwrap_err().what(),
                format!("~/.config/pouch/config.toml:{what}"),
                "{text}"
            );
        }
        let deep = "[".repeat(100_000);
        assert_eq!(
            parse(&format!("jobs = {deep}")).unwrap_err().what(),
            "~/.config/pouch/config.toml:1:88: too many brackets within brackets"
        );
    }

    #[test]
    fn octets_that_are_no_text() {
        let decode = |octets: &[u8]| {
            File::decode(Path::new(PATH), "c.toml".to_owned(), octets)
                .map(|file| file.top.jobs.map(|jobs| jobs.value.get()))
        };
        assert_eq!(decode(b"\xef\xbb\xbfjobs = 3\r\n").unwrap(), Some(3));
        assert_eq!(
            decode(b"# x\njobs\0").unwrap_err().to_string(),
            "c.toml:2: a NUL stands here; this is no text file"
        );
        assert_eq!(
            decode(b"# x\n# caf\xe9").unwrap_err().to_string(),
            "c.toml:2: this is not UTF-8\nhint: save the file as UTF-8"
        );
        assert_eq!(
            decode(&vec![b'#'; 2 << 20]).unwrap_err().to_string(),
            "c.toml is too long for a config file"
        );
    }

    #[test]
    fn no_octets_make_it_panic() {
        // A generator of its own: the same octets in each run.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        let pieces = [
            "[account.",
            "work]\n",
            "\"",
            "'''",
            "=",
            "\n",
            "password",
            "keep",
            "host",
            "{",
            "[",
            "]",
            "é",
            "\u{202e}",
            "\t",
            "0x",
            ".",
            "-1",
            "#",
            "\\u",
        ];
        for _ in 0..20_000 {
            let mut octets = Vec::new();
            for _ in 0..next(24) {
                match next(4) {
                    0 => octets.push(u8::try_from(next(256)).unwrap()),
                    _ => octets.extend_from_slice(pieces[next(pieces.len())].as_bytes()),
                }
            }
            if let Err(error) = File::decode(Path::new(PATH), "c.toml".to_owned(), &octets) {
                assert!(error.what().starts_with("c.toml"), "{error}");
            }
        }
        let sample = super::super::SAMPLE.as_bytes();
        for _ in 0..500 {
            let mut octets = sample.to_vec();
            let at = next(octets.len());
            octets[at] = u8::try_from(next(256)).unwrap();
            octets.truncate(next(sample.len()).max(1));
            drop(File::decode(Path::new(PATH), "c.toml".to_owned(), &octets));
        }
    }

    #[test]
    fn files_that_cannot_be_used() {
        let home = tempfile::tempdir().unwrap();
        let read = |name: &str| {
            File::read(&home.path().join(name), home.path()).map(|file| file.accounts.len())
        };
        let path = home.path().join("c.toml");
        assert_eq!(
            read("pouch/c.toml").unwrap_err().to_string(),
            "there is no config file ~/pouch/c.toml\n  to begin one: mkdir -p ~/pouch && pouch config sample > ~/pouch/c.toml\nhint: it also works without: `pouch fetch pops://you@host --to ~/Mail`"
        );
        assert_eq!(
            read("").unwrap_err().to_string(),
            "~/ is a folder, not a config file"
        );
        fs::write(&path, "[account.a]\n").unwrap();
        for (mode, fine) in [(0o600, true), (0o644, true), (0o664, false), (0o602, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read("c.toml").is_ok(), fine, "{mode:o}");
        }
        let error = read("c.toml").unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert_eq!(
            error.to_string(),
            "others may change ~/c.toml\n  its permissions are 0602, and commands in it are run as you\nhint: chmod go-w ~/c.toml"
        );
    }

    #[test]
    fn values_are_written_as_they_are_read() {
        for line in [
            "host = \"2001:db8::1\"",
            "port = 995",
            "tls = \"starttls\"",
            "tls-pin = \"sha256:5f6e04c1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d\"",
            "keep = \"30d\"",
            "keep = \"none\"",
            "keep-total = \"1GB\"",
            "request-ahead = \"auto\"",
            "request-ahead = 7",
            "pipe = [\"sh\", \"-c\", \"\"]",
            "lmtp = \"unix:/run/dovecot/lmtp\"",
            "lmtp = \"[::1]:24\"",
            "lmtp-recipients = [\"ann@example.org\", \"ben\"]",
            "notice = false",
        ] {
            let (key, value) = line.split_once(" = ").unwrap();
            let file = parse(&format!("[defaults]\n{line}")).unwrap();
            let t = file.defaults.table;
            let written = [
                t.host.map(|e| e.value.to_toml()),
                t.port.map(|e| e.value.to_toml()),
                t.tls.map(|e| e.value.to_toml()),
                t.tls_pin.map(|e| e.value.to_toml()),
                t.keep.map(|e| e.value.to_toml()),
                t.keep_total.map(|e| e.value.to_toml()),
                t.request_ahead.map(|e| e.value.to_toml()),
                t.pipe.map(|e| e.value.to_toml()),
                t.lmtp.map(|e| e.value.to_toml()),
                t.lmtp_recipients.map(|e| e.value.to_toml()),
                t.notice.map(|e| e.value.to_toml()),
            ];
            assert_eq!(
                written.into_iter().flatten().collect::<Vec<_>>(),
                [value],
                "{key}"
            );
        }
        let colons = "5F:6e:04:c1:a2:b3:c4:d5:e6:f7:08:19:2a:3b:4c:5d:6e:7f:80:91:a2:b3:c4:d5:e6:f7:08:19:2a:3b:4c:5d";
        assert_eq!(
            Pin::new(&format!("sha256:{colons}")).unwrap().0[..2],
            [0x5f, 0x6e]
        );
        assert_eq!(Host::new("[::1]"), Some(Host("::1".to_owned())));
        for bad in ["", "a b", "-x", "[a]", "a:1", "a/b", "a@b", "::1::"] {
            assert_eq!(Host::new(bad), None, "{bad}");
        }
    }
}
