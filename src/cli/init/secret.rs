//! The questions about the password, and storing it.

use std::{
    fs::File,
    io::{self, Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{MemfdFlags, memfd_create};

use super::{
    console::{Console, say},
    draft::{Choice, Source},
    find::failure,
};
use crate::{
    config::{syntax::FilePath, url::words},
    domain::{mail_address::MailAddress, provider::Provider},
    error::{Error, Kind, Result},
    report::with_short_paths,
    sys::{
        files,
        interrupt::Interrupt,
        password::Secret,
        process::{Ended, Run},
    },
    text::{sanitize, tilde},
};

/// The time limit for a program that stores a password, which may ask for that of the keyring.
const TIME_LIMIT: Duration = Duration::from_mins(2);

/// The source of the account's secret, and the secret if it still has to be stored.
pub(super) struct Answer {
    /// The source.
    pub(super) source: Source,
    /// A password that the user typed.
    pub(super) typed: Option<Typed>,
}

/// A password that the user typed.
pub(super) struct Typed {
    /// The password.
    pub(super) password: Secret,
    /// Where it will be stored.
    store: Store,
}

/// Where a typed password is stored.
enum Store {
    /// In a new file.
    File(PathBuf),
    /// In the keyring, under this account name and label.
    Keyring { account: String, label: String },
    /// Nowhere.
    Nowhere,
}

/// The inputs of the questions.
pub(super) struct Asking<'a> {
    pub(super) console: &'a Console<'a>,
    pub(super) home: &'a Path,
    /// The current directory, to which relative paths refer.
    pub(super) here: &'a Path,
    /// The absolute path of the config.
    pub(super) config: &'a Path,
    /// The name of the account.
    pub(super) name: &'a str,
    /// The mail address.
    pub(super) address: &'a MailAddress,
    pub(super) provider: Option<&'a Provider>,
}

impl Asking<'_> {
    /// Asks which of `choices` is used, and what else it needs.
    ///
    /// # Errors
    /// A question was not answered.
    pub(super) fn ask(&self, choices: &[Choice]) -> Result<Answer> {
        let items: Vec<_> = choices.iter().map(|choice| self.item(choice)).collect();
        let is_token = choices.contains(&Choice::TokenCommand);
        let question = if is_token {
            "how should pouch sign in?"
        } else {
            "how should pouch get the password?"
        };
        loop {
            let choice = &choices[self.console.choose(question, &items)?];
            if *choice == Choice::TypeToFile
                && let Err(error) = files::check_replaceable(&self.file(), &[])
            {
                say(&with_short_paths(&failure(&error)))?;
                continue;
            }
            return self.complete(choice);
        }
    }

    /// Returns the line of the menu.
    fn item(&self, choice: &Choice) -> String {
        match choice {
            Choice::TypeToFile => {
                let path = tilde(&self.file(), self.home);
                format!("type it now; it is stored in {path}, readable only by you")
            }
            Choice::Keyring => "type it now; it is stored in the keyring, by secret-tool".into(),
            Choice::Store(program) => format!("from the password store of `{program}`"),
            Choice::Command => "from a command that prints it".into(),
            Choice::File => "from the first line of a file".into(),
            Choice::Prompt => "type it in every run, at a terminal".into(),
            Choice::OAuth(_) => "sign in with OAuth 2.0: `pouch login`".into(),
            Choice::TokenCommand => {
                "from a command that prints an access token, such as oama".into()
            }
        }
    }

    /// Returns the file for a typed password.
    fn file(&self) -> PathBuf {
        let dir = self.config.with_file_name("secrets");
        let numbered = (2..).map(|number| format!("{}-{number}", self.name));
        let mut names = std::iter::once(self.name.to_owned()).chain(numbered);
        let path = names.find_map(|name| {
            let path = dir.join(name);
            path.symlink_metadata().is_err().then_some(path)
        });
        path.unwrap_or_else(|| dir.join(self.name))
    }

    /// Asks what a choice needs.
    fn complete(&self, choice: &Choice) -> Result<Answer> {
        let source = match choice {
            Choice::TypeToFile => {
                let path = self.file();
                let source = Source::File(tilde(&path, self.home));
                return self.typed(source, Store::File(path));
            }
            Choice::Keyring => {
                let account = self.name.to_owned();
                let lookup = [
                    "secret-tool",
                    "lookup",
                    "service",
                    "pouch",
                    "account",
                    &account,
                ];
                let source = Source::Command(lookup.map(str::to_owned).into());
                let label = format!("pouch: {}", self.address);
                return self.typed(source, Store::Keyring { account, label });
            }
            Choice::Prompt => return self.typed(Source::Prompt, Store::Nowhere),
            Choice::Store(program) => {
                let question = format!("name of the entry in `{program}`");
                let entry = self
                    .console
                    .ask(&question, &format!("mail/{}", self.name))?;
                Source::Command(vec![(*program).to_owned(), "show".into(), entry])
            }
            Choice::Command => Source::Command(self.command("command", "--password-command")?),
            Choice::TokenCommand => {
                Source::TokenCommand(self.command("command", "--token-command")?)
            }
            Choice::File => Source::File(self.existing_file()?),
            Choice::OAuth(provider) => {
                let question = "OAuth client ID (empty if you have none yet)";
                let id = self.console.ask(question, "")?;
                let id = Some(id).filter(|id| !id.is_empty());
                Source::OAuth((*provider).to_owned(), id)
            }
        };
        Ok(Answer {
            source,
            typed: None,
        })
    }

    /// Asks for a file until the answer is a path. Returns the path in the form for the config.
    fn existing_file(&self) -> Result<String> {
        loop {
            match FilePath::new(&self.console.require("file")?) {
                Some(path) => return Ok(tilde(&path.expand(self.home, self.here), self.home)),
                None => say("answer with a path, such as ~/.secrets/mail")?,
            }
        }
    }

    /// Asks for a command until its quotes are closed.
    fn command(&self, question: &str, flag: &str) -> Result<Vec<String>> {
        loop {
            let line = self.console.require(question)?;
            match words(flag, &line) {
                Ok(words) => return Ok(words),
                Err(_) => say("the command has an unclosed quote")?,
            }
        }
    }

    /// Asks for the password.
    fn typed(&self, source: Source, store: Store) -> Result<Answer> {
        let password = self.password()?;
        Ok(Answer {
            source,
            typed: Some(Typed { password, store }),
        })
    }

    /// Asks for the password.
    ///
    /// # Errors
    /// The question was not answered.
    pub(super) fn password(&self) -> Result<Secret> {
        let noun = self.provider.map_or("password", Provider::password_noun);
        self.console.secret(noun)
    }
}

impl Typed {
    /// Stores the password. Returns the file that was created, if any.
    ///
    /// # Errors
    /// It cannot be stored.
    pub(super) fn store(&self, stop: &Interrupt) -> Result<Option<PathBuf>> {
        match &self.store {
            Store::Nowhere => Ok(None),
            Store::Keyring { account, label } => {
                to_keyring(account, label, &self.password, stop).map(|()| None)
            }
            Store::File(path) => {
                if files::create_secret(path, &self.password)? {
                    return Ok(Some(path.clone()));
                }
                let what = format!("{} already exists, and was not changed", path.display());
                Err(Error::new(Kind::CannotCreate, what).with_hint("run `pouch init` again"))
            }
        }
    }
}

/// Stores a password in the keyring with secret-tool(1), which reads it from its standard input.
fn to_keyring(account: &str, label: &str, password: &Secret, stop: &Interrupt) -> Result<()> {
    let label = format!("--label={label}");
    let words = [
        "secret-tool",
        "store",
        &label,
        "service",
        "pouch",
        "account",
        account,
    ];
    let argv = words.map(str::to_owned);
    let input = in_memory(password).map_err(|error| {
        let what = "cannot pass the password to secret-tool";
        Error::new(Kind::Io, what).with_fact(error.to_string())
    })?;
    let run = Run {
        argv: &argv,
        input: Some(input),
        output: None,
        environment: &[],
        timeout: Some(TIME_LIMIT),
        interactive: true,
    };
    let failed = || Error::new(Kind::Config, "`secret-tool store` failed");
    let output = run
        .run(stop)?
        .map_err(|error| failed().with_fact(error.to_string()))?;
    match output.ended {
        Ended::Exited(status) if status.success() => Ok(()),
        Ended::Exited(_) | Ended::TimeOut | Ended::OutputError(_) => {
            let said = sanitize(output.stderr.trim_ascii());
            let error = failed().with_hint("check that a keyring is running, or use a file");
            Err(if said.is_empty() {
                error
            } else {
                error.with_fact(format!("`secret-tool` said: {said}"))
            })
        }
    }
}

/// Returns a file with these bytes that is on no disk.
fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("pouch", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}
