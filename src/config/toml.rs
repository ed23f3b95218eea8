//! Reads the config file into tables in which every value has its line number.
//!
//! The reader walks the parsed TOML itself instead of having serde do it, so that every error is
//! worded for the user and points at the key or the value that it is about.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use zeroize::Zeroizing;

use super::{
    account::GivenPassword,
    diagnostic::{
        foreign_file, name_fault, name_hint, syntax_error, top_key_in_part, type_mismatch,
        unknown_key, unknown_subtable, unknown_table,
    },
    file,
    migration_hints::foreign_program,
    mistakes::Mistakes,
    provenance::Located,
    schema::{AccountTable, MultidropTable, RuleTable, Scope, Table, TopTable},
    snippet::Document,
    value::{Name, in_order},
};
use crate::{
    error::Error,
    text::{sanitize, tilde},
};

/// A config file that has been read: each value is valid on its own.
#[derive(Clone, Debug)]
pub struct File {
    /// The text, for excerpts in error messages.
    pub(super) document: Arc<Document>,
    /// The directory of the file, to which paths in it are relative.
    pub(super) dir: PathBuf,
    /// What the file is.
    role: Role,
    /// The keys above all tables.
    pub top: TopTable,
    /// `[defaults]`.
    pub defaults: Block,
    /// The accounts in the order of the file.
    pub accounts: Vec<Section>,
}

/// One `[account.NAME]`.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// The byte range of its header line.
    pub header: Range<usize>,
    /// Its keys and tables. Boxed, so that the memory of each account is freed once it is resolved.
    pub block: Box<Block>,
    /// The mistakes in it, unless they make the whole file invalid.
    pub(super) mistakes: Mistakes,
}

/// The content of `[defaults]` or `[account.NAME]`.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Its keys.
    pub table: AccountTable,
    /// Its `[[….rule]]`, in their order.
    pub rules: Vec<Located<RuleTable>>,
    /// Its `[….multidrop]`.
    pub multidrop: Option<Located<MultidropTable>>,
    /// Its password, which only the output of a command may have.
    pub password: Option<Located<GivenPassword>>,
}

/// What a text with accounts is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The main config file. A mistake in an account makes all of it invalid.
    Main,
    /// Another file, with further accounts. A mistake in one of them concerns only that account.
    Part,
    /// The output of `accounts-command`: as a part, and its accounts may have passwords.
    List,
    /// Such output that was stored without the passwords.
    StoredList,
}

/// The text of a file, shared by its accounts.
#[derive(Clone, Debug)]
pub struct SharedText(Arc<Document>);

impl SharedText {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }
}

impl File {
    /// Reads the config file at `path`. `home` is the home directory.
    ///
    /// # Errors
    /// The file does not exist, is not a config, or is writable by other users.
    pub fn read(path: &Path, home: &Path) -> Result<Self, Error> {
        let bytes = file::read(path, home)?;
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self::decode(&absolute, &tilde(path, home), &bytes)
    }

    /// Returns whether the file at `path` can be read and still has this text.
    pub fn is_current(&self, path: &Path, home: &Path) -> bool {
        let bytes = file::read(path, home);
        bytes.is_ok_and(|bytes| file::decode("", &bytes).is_ok_and(|text| text == self.text()))
    }

    /// Returns the text of the file.
    pub fn text(&self) -> &str {
        &self.document.text
    }

    /// Returns the text of the file without copying it.
    pub fn shared_text(&self) -> SharedText {
        SharedText(Arc::clone(&self.document))
    }

    /// Parses `text` as the content of the file at `path`.
    ///
    /// # Errors
    /// The text is not a config. The error points at each mistake in it.
    pub fn parse(path: &Path, home: &Path, text: &str) -> Result<Self, Error> {
        Self::decode(path, &tilde(path, home), text.as_bytes())
    }

    /// Parses `text` as the content of another file with accounts, to which the defaults of this
    /// one apply.
    ///
    /// # Errors
    /// The text is not a config, or has a mistake outside of its accounts.
    pub fn parse_part(&self, path: &Path, home: &Path, text: &str) -> Result<Self, Error> {
        let shown = tilde(path, home);
        let text = file::decode(&shown, text.as_bytes())?;
        let document = Document::new(&shown, text).with_base(Some(Arc::clone(&self.document)));
        let dir = path.parent().unwrap_or(Path::new(""));
        Self::parse_text(document, dir, Role::Part, &mut |_| ())
    }

    /// Parses a document as the output of `accounts-command`. `each` gets the tables before they
    /// are read.
    ///
    /// # Errors
    /// As for [`parse_part`](Self::parse_part).
    pub(super) fn parse_list(
        &self,
        document: Document,
        role: Role,
        each: &mut dyn FnMut(&DeTable<'_>),
    ) -> Result<Self, Error> {
        let document = document.with_base(Some(Arc::clone(&self.document)));
        Self::parse_text(document, &self.dir, role, each)
    }

    /// Parses bytes as the content of the file at `path`, which is `shown` in messages.
    fn decode(path: &Path, shown: &str, bytes: &[u8]) -> Result<Self, Error> {
        let text = file::decode(shown, bytes)?;
        let name = path.file_name().map(|name| name.to_string_lossy());
        let dir = path.parent().unwrap_or(Path::new(""));
        let document = Document::new(shown, text);
        Self::parse_text(document, dir, Role::Main, &mut |_| ()).map_err(|error| {
            match foreign_program(name.as_deref().unwrap_or_default(), text) {
                Some(program) => foreign_file(shown, program),
                None => error,
            }
        })
    }

    /// Parses a text. Paths in it are relative to `dir`. `each` gets the parsed tables.
    fn parse_text(
        mut document: Document,
        dir: &Path,
        role: Role,
        each: &mut dyn FnMut(&DeTable<'_>),
    ) -> Result<Self, Error> {
        let text = document.text.clone();
        let parsed = DeTable::parse(&text).map_err(|error| syntax_error(&document, &error))?;
        let tables = parsed.get_ref();
        let accounts = tables.get("account").and_then(|it| it.get_ref().as_table());
        document.set_headers(
            accounts
                .into_iter()
                .flat_map(|accounts| accounts.values().map(|value| value.span().start)),
        );
        each(tables);
        let mut file = Self {
            document: Arc::new(document),
            dir: dir.to_owned(),
            role,
            top: TopTable::default(),
            defaults: Block::default(),
            accounts: Vec::new(),
        };
        let mut mistakes = Mistakes::default();
        for (key, value) in in_order(tables) {
            if mistakes.are_many() {
                break;
            }
            let added = file.add(key, value, &mut mistakes);
            mistakes.value_of(added);
        }
        let shown = Arc::clone(&file.document.path);
        mistakes.or(file, &shown)
    }

    /// Adds one key, or one table, of the top level.
    fn add(
        &mut self,
        key: &Name<'_>,
        value: &Spanned<DeValue<'_>>,
        mistakes: &mut Mistakes,
    ) -> Result<(), Error> {
        let (name, span) = (key.get_ref().as_ref(), key.span());
        match (name, value.get_ref()) {
            ("defaults", DeValue::Table(table)) => {
                self.defaults = self.block(name, table, mistakes);
            }
            ("account", DeValue::Table(accounts)) => {
                for (name, value) in in_order(accounts) {
                    let added = self.add_account(name, value, mistakes);
                    mistakes.value_of(added);
                }
            }
            ("defaults", _) => {
                let what = "`defaults` must be a table";
                let error = self.document.error(&span, what);
                return Err(error.with_hint("write its keys in a table `[defaults]`"));
            }
            ("account", _) => {
                let what = "`account` must be a table of accounts";
                let error = self.document.error(&span, what);
                return Err(error.with_hint("write each account as a table `[account.NAME]`"));
            }
            (_, found) if found.is_table() && TopTable::index_of(name).is_none() => {
                return Err(unknown_table(&self.document, &span, name));
            }
            _ if self.role != Role::Main && TopTable::index_of(name).is_some() => {
                return Err(top_key_in_part(&self.document, &span, name));
            }
            _ => set(&self.document, &mut self.top, key, value, "account.NAME")?,
        }
        Ok(())
    }

    /// Adds one `[account.NAME]`.
    fn add_account(
        &mut self,
        name: &Name<'_>,
        value: &Spanned<DeValue<'_>>,
        mistakes: &mut Mistakes,
    ) -> Result<(), Error> {
        let DeValue::Table(table) = value.get_ref() else {
            let what = format!(
                "`{}` is set in `[account]`, which has no account name",
                sanitize(name.get_ref().as_bytes())
            );
            return Err(self
                .document
                .error(&name.span(), &what)
                .with_hint("write `[account.NAME]` with a name of your choice"));
        };
        if let Some(fault) = name_fault(name.get_ref()) {
            let error = self
                .document
                .error(&name.span(), &format!("an account name {fault}"));
            let error = match name_hint(name.get_ref()) {
                Some(hint) => error.with_hint(hint),
                None => error,
            };
            if self.role == Role::Main {
                return Err(error);
            }
            let mut own = Mistakes::default();
            own.add(error);
            self.accounts.push(Section {
                name: sanitize(name.get_ref().as_bytes()),
                header: value.span(),
                block: Box::default(),
                mistakes: own,
            });
            return Ok(());
        }
        let mut own = Mistakes::default();
        let in_account = if self.role == Role::Main {
            mistakes
        } else {
            &mut own
        };
        let block = self.block(&format!("account.{}", name.get_ref()), table, in_account);
        self.accounts.push(Section {
            name: name.get_ref().to_string(),
            header: value.span(),
            block: Box::new(block),
            mistakes: own,
        });
        Ok(())
    }

    /// Reads the table `account`: `defaults` or `account.NAME`.
    fn block(&self, account: &str, keys: &DeTable<'_>, mistakes: &mut Mistakes) -> Block {
        let mut block = Block::default();
        for (key, value) in in_order(keys) {
            match key.get_ref().as_ref() {
                "rule" => block.rules = self.rules(account, key, value.get_ref(), mistakes),
                "multidrop" => {
                    let multidrop = self.multidrop(account, key, value.get_ref(), mistakes);
                    block.multidrop = mistakes.value_of(multidrop);
                }
                "password" if self.is_list() && account != "defaults" => {
                    let password = self.password(key, value);
                    block.password = mistakes.value_of(password);
                }
                _ => self.set(&mut block.table, (key, value), account, mistakes),
            }
        }
        block
    }

    /// Reads the password of an account in the output of a command.
    fn password(
        &self,
        key: &Name<'_>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Located<GivenPassword>, Error> {
        let is_line = |text: &&str| !text.is_empty() && !text.contains(['\0', '\r', '\n']);
        let text = value.get_ref().as_str().filter(is_line);
        if text.is_none() && self.role == Role::List {
            // the value must not be shown
            let what = "`password` must be a string of one line";
            return Err(self.document.error(&value.span(), what));
        }
        Ok(Located {
            value: GivenPassword(text.map(|text| Zeroizing::new(text.to_owned()))),
            source: self.document.source(key.span()),
        })
    }

    /// Returns whether this is the output of a command.
    fn is_list(&self) -> bool {
        matches!(self.role, Role::List | Role::StoredList)
    }

    /// Reads all `[[account.rule]]`.
    fn rules(
        &self,
        account: &str,
        key: &Name<'_>,
        value: &DeValue<'_>,
        mistakes: &mut Mistakes,
    ) -> Vec<Located<RuleTable>> {
        let not_a_rule = |span: &Range<usize>| {
            self.document
                .error(span, "`rule` must be a list of tables")
                .with_hint(format!("write each rule as a table `[[{account}.rule]]`"))
        };
        let Some(list) = value.as_array() else {
            mistakes.add(not_a_rule(&key.span()));
            return Vec::new();
        };
        let mut rules = Vec::with_capacity(list.len());
        for rule in list {
            let Some(keys) = rule.get_ref().as_table() else {
                mistakes.add(not_a_rule(&rule.span()));
                break;
            };
            let mut table = RuleTable::default();
            for entry in in_order(keys) {
                self.set(&mut table, entry, account, mistakes);
            }
            rules.push(Located {
                value: table,
                source: self.document.source(rule.span()),
            });
        }
        rules
    }

    /// Reads `[account.multidrop]`.
    fn multidrop(
        &self,
        account: &str,
        key: &Name<'_>,
        value: &DeValue<'_>,
        mistakes: &mut Mistakes,
    ) -> Result<Located<MultidropTable>, Error> {
        let keys = value.as_table().ok_or_else(|| {
            self.document
                .error(&key.span(), "`multidrop` must be a table")
                .with_hint(format!("write its keys in a table `[{account}.multidrop]`"))
        })?;
        let mut table = MultidropTable::default();
        for entry in in_order(keys) {
            self.set(&mut table, entry, account, mistakes);
        }
        Ok(Located {
            value: table,
            source: self.document.source(key.span()),
        })
    }

    /// Sets one key of a table in `account`, unless there are many mistakes already.
    fn set<T: Table>(
        &self,
        table: &mut T,
        (key, value): (&Name<'_>, &Spanned<DeValue<'_>>),
        account: &str,
        mistakes: &mut Mistakes,
    ) {
        if !mistakes.are_many() {
            mistakes.value_of(set(&self.document, table, key, value, account));
        }
    }
}

/// Sets one key of a table in `account`, which is `defaults` or `account.NAME`.
fn set<T: Table>(
    document: &Document,
    table: &mut T,
    key: &Name<'_>,
    value: &Spanned<DeValue<'_>>,
    account: &str,
) -> Result<(), Error> {
    let (name, found) = (key.get_ref().as_ref(), value.get_ref());
    let Some(index) = T::index_of(name) else {
        if T::SCOPE == Scope::Account && found.is_table() {
            return Err(unknown_subtable(document, &key.span(), name, account));
        }
        return Err(unknown_key(document, &key.span(), name, T::SCOPE, account));
    };
    table.slots_mut()[index]
        .set(found, document.source(key.span()))
        .map_err(|mismatch| {
            let key = &T::KEYS[index];
            type_mismatch(document, &value.span(), key, mismatch, found)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator of pseudorandom numbers: the same ones in each run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap() % limit
        }
    }

    const PIECES: [&str; 20] = [
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

    fn decode(bytes: &[u8]) -> Result<File, Error> {
        File::decode(Path::new("/c.toml"), "c.toml", bytes)
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        for _ in 0..20_000 {
            let mut bytes = Vec::new();
            for _ in 0..numbers.below(24) {
                match numbers.below(4) {
                    0 => bytes.push(u8::try_from(numbers.below(256)).unwrap()),
                    _ => bytes.extend_from_slice(PIECES[numbers.below(PIECES.len())].as_bytes()),
                }
            }
            if let Err(error) = decode(&bytes) {
                assert!(error.what().starts_with("c.toml"), "{error}");
            }
        }
    }

    #[test]
    fn no_damage_to_the_sample_makes_it_panic() {
        let mut numbers = Numbers(7);
        let sample = super::super::sample::sample().into_bytes();
        for _ in 0..500 {
            let mut bytes = sample.clone();
            let at = numbers.below(bytes.len());
            bytes[at] = u8::try_from(numbers.below(256)).unwrap();
            bytes.truncate(numbers.below(sample.len()).max(1));
            drop(decode(&bytes));
        }
    }
}
