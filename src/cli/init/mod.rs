//! `pouch init`: creates an account from a mail address.
//!
//! The questions come first, then the account is tested like `pouch check` does. Only then is
//! anything written: first the password, if it is stored in a file, then the config, atomically. So
//! an interrupted dialogue leaves no incomplete account, and an account whose password was refused
//! is added only if the user chooses that. Each typed password is sent to the server only once,
//! since servers lock accounts after a few failures.
//!
//! The decisions are pure functions: the server of an address in
//! [`domain::mail_server`](crate::domain::mail_server), the order of sources in `find`, the ways
//! to supply the password and the resulting TOML in `draft`.

mod console;
mod draft;
mod find;
mod finish;
mod options;
mod prove;
mod secret;
mod server;
mod timer;
mod unattended;

use std::path::Path;

use super::{CommandContext, CommandResult, args::Init as Args, existing::Existing, fetch, probe};
use crate::{
    config::{Account, write},
    domain::{
        destination::Destination,
        mail_address::MailAddress,
        mail_server::{MailServer, user_of},
        misspelling::misspelled,
        provider::provider_of,
    },
    error::{Error, Exit, Kind, Result},
    fetch::env::RunEnv,
    report::{Level, complain},
    text::{shell_word, tilde},
};
use console::{Console, NOTHING_WRITTEN, say};
use draft::{Draft, Source, choices};
use find::{failure, known, place};
use secret::{Answer, Asking};

/// The default of `keep`.
const FOREVER: &str = "forever";

/// The context of the command.
struct Init<'a> {
    context: &'a CommandContext,
    args: &'a Args,
    existing: Existing,
    console: Option<&'a Console<'a>>,
}

/// The account after the questions.
struct Complete {
    draft: Draft,
    answer: Answer,
    /// Whether the server accepted the login.
    is_proven: bool,
}

/// How the questions ended.
enum Outcome {
    Complete(Box<Complete>),
    /// The user chose to write nothing after this failure.
    Quit(Exit),
}

pub(super) fn run(context: &CommandContext, args: &Args) -> CommandResult {
    let existing = Existing::read(context)?;
    let console = Console::new(&context.stop).filter(|_| !args.print && !context.global.json);
    let init = Init {
        context,
        args,
        existing,
        console: console.as_ref(),
    };
    init.check_options()?;
    match &console {
        None => init.print(),
        Some(console) => {
            init.check_config()?;
            let outcome = init
                .questions(console)
                .map_err(|error| match error.kind() {
                    Kind::Stopped(_) => error.with_fact(NOTHING_WRITTEN),
                    _ => error,
                })?;
            match outcome {
                Outcome::Complete(complete) => init.finish(console, &complete),
                Outcome::Quit(exit) => {
                    say(NOTHING_WRITTEN)?;
                    Ok(exit)
                }
            }
        }
    }
}

impl Init<'_> {
    fn home(&self) -> &Path {
        &self.context.setup.dirs.home
    }

    /// Prints a line for the user on standard error, if there is no dialogue.
    fn report(&self, line: &str) {
        if self.context.level >= Level::Normal && !self.context.global.json {
            complain(line);
        }
    }

    fn env(&self) -> Result<RunEnv> {
        fetch::env(self.context, &[])
    }

    /// Returns an account with this server and the defaults of the config.
    fn sample(&self, server: &MailServer) -> Result<Account> {
        self.account(&Draft {
            name: "new".into(),
            server: server.clone(),
            source: Source::Prompt,
            maildir: "~/Mail/new".into(),
            keep: FOREVER.into(),
        })
    }

    /// Returns the account of a draft, with the defaults of the config.
    ///
    /// # Errors
    /// It is not valid.
    fn account(&self, draft: &Draft) -> Result<Account> {
        let text = write::append(&self.existing.text, vec![draft.table()]);
        let path = &self.context.setup.path;
        let accounts = write::check(path, self.home(), &text).map_err(|error| {
            // the line of a config that does not exist yet means nothing to the user
            let prefix = tilde(path, self.home());
            let place = error.what().strip_prefix(&prefix);
            let what = place.and_then(|rest| Some(rest.split_once(": ")?.1.to_owned()));
            match what {
                Some(what) => Error::new(Kind::Usage, what),
                None => error,
            }
        })?;
        let mut accounts = accounts.into_iter();
        accounts
            .find(|account| account.name == draft.name)
            .ok_or_else(|| Error::new(Kind::Bug, "the new account is not in the config"))
    }

    /// Fails if the address, or its login name on the server, is in the config already.
    fn refuse_known(&self, address: &MailAddress, server: Option<&MailServer>) -> Result<()> {
        let whole = user_of(address);
        let known = self.existing.accounts.iter().find(|account| {
            let is_login = |server: &MailServer| {
                account.host.eq_ignore_ascii_case(&server.host)
                    && [&server.user, &address.local].contains(&&account.user)
            };
            let user = account
                .user
                .strip_prefix("recent:")
                .unwrap_or(&account.user);
            user.eq_ignore_ascii_case(&whole) || server.is_some_and(is_login)
        });
        let Some(known) = known else { return Ok(()) };
        let what = format!(
            "{address} is already account `{}` in {}",
            known.name,
            self.context.setup.shown_path()
        );
        Err(Error::new(Kind::Usage, what).with_hint(format!(
            "run `pouch check {}` to test it, or change it in the config",
            shell_word(&known.name)
        )))
    }

    /// Returns the Maildir next to those of other accounts, if they are named after their accounts.
    fn default_maildir(&self, name: &str) -> String {
        let dir = self.existing.accounts.iter().find_map(|account| {
            let Destination::Maildir(path) = &account.routing.default else {
                return None;
            };
            let is_named = path
                .file_name()
                .is_some_and(|last| last == account.name.as_str());
            path.parent().filter(|_| is_named)
        });
        let dir = dir.map_or_else(|| self.home().join("Mail"), Path::to_owned);
        tilde(&dir.join(name), self.home())
    }

    /// Asks the questions that no option answers, and tests the account.
    fn questions(&self, console: &Console<'_>) -> Result<Outcome> {
        let address = self.asked_address(console)?;
        self.refuse_known(&address, None)?;
        let name = self.name(&address)?;
        let mut found = match self.named(&address)? {
            Some(found) => found,
            None => match known(&address)? {
                Some(found) => found,
                None => self.search_attended(console, &address)?,
            },
        };
        if let Some(user) = &self.args.user {
            found.server.user.clone_from(user);
        }
        self.refuse_known(&address, Some(&found.server))?;
        let MailServer {
            encryption, user, ..
        } = &found.server;
        say(&format!(
            "{address}: {} ({}) with {}, login name {user}",
            place(&found.server),
            found.source,
            encryption.words()
        ))?;
        let provider = provider_of(&found.server.host);
        let with_password = match self.source()? {
            Some(source) => source.is_password(),
            None => true,
        };
        if let Some(first) = provider.and_then(|it| it.before_first_login(with_password)) {
            say(&format!("before the first login: {first}"))?;
        }
        // a password file is found from any directory
        let config = std::path::absolute(&self.context.setup.path)
            .map_err(|error| Error::file("find", &self.context.setup.path, &error))?;
        let asking = Asking {
            console,
            home: self.home(),
            here: &self.context.setup.dirs.here()?,
            config: &config,
            name: &name,
            address: &address,
            provider,
        };
        let mut draft = Draft {
            name: name.clone(),
            server: found.server,
            source: Source::Prompt,
            maildir: self.default_maildir(&name),
            keep: FOREVER.into(),
        };
        let answer = self.secret(&asking, &mut draft)?;
        self.ask_maildir(console, &mut draft)?;
        self.ask_keep(console, &mut draft)?;
        self.prove(asking, draft, answer)
    }

    /// Returns the address, with a frequent misspelling corrected if the user agrees.
    fn asked_address(&self, console: &Console<'_>) -> Result<MailAddress> {
        let address = match &self.args.address {
            Some(text) => Self::parsed_address(text)?,
            None => loop {
                let text = console.require("mail address")?;
                match MailAddress::parse(&text) {
                    Ok(address) => break address,
                    Err(reason) => say(&format!("not a mail address: {reason}"))?,
                }
            },
        };
        if self.args.host.is_none()
            && let Some(domain) = misspelled(&address)
        {
            let meant = address.at(&domain);
            if console.confirm(&format!("did you mean {meant}?"), false)? {
                return Ok(meant);
            }
        }
        Ok(address)
    }

    /// Sets the source of the secret from an option or the user's answer.
    ///
    /// # Errors
    /// A question is not answered, or an option is not valid in the config.
    fn secret(&self, asking: &Asking<'_>, draft: &mut Draft) -> Result<Answer> {
        let Some(source) = self.source()? else {
            return self.asked_secret(asking, draft);
        };
        draft.source = source.clone();
        self.account(draft)?;
        Ok(Answer {
            source,
            typed: None,
        })
    }

    /// Asks for the source of the secret until the answer is valid in the config, and sets it.
    fn asked_secret(&self, asking: &Asking<'_>, draft: &mut Draft) -> Result<Answer> {
        let path = self.context.setup.dirs.variable("PATH");
        let path = path.as_ref().map(std::ffi::OsStr::new);
        let installed = |program: &str| probe::executable(Path::new(program), path);
        let choices = choices(&draft.server, asking.provider, installed);
        // the error may be caused by an option, which another answer does not change
        self.account(draft)?;
        loop {
            let answer = asking.ask(&choices)?;
            draft.source = answer.source.clone();
            match self.account(draft) {
                Ok(_) => return Ok(answer),
                Err(error) => say(&failure(&error))?,
            }
        }
    }

    fn ask_maildir(&self, console: &Console<'_>, draft: &mut Draft) -> Result<()> {
        if let Some(path) = &self.args.maildir {
            draft.maildir = self.absolute("--maildir", path)?;
            return self.account(draft).map(drop);
        }
        self.asked_maildir(console, draft)
    }

    fn asked_maildir(&self, console: &Console<'_>, draft: &mut Draft) -> Result<()> {
        let default = draft.maildir.clone();
        loop {
            let answer = console.ask("Maildir for the mail", &default)?;
            let is_relative = !answer.starts_with(['/', '~', '$']);
            draft.maildir = if is_relative {
                format!("~/{answer}")
            } else {
                answer
            };
            if self.account(draft).is_ok() {
                return Ok(());
            }
            say("answer with a directory, such as ~/Mail/work")?;
        }
    }

    /// Asks how long mail stays on the server, unless the settings of the provider decide.
    fn ask_keep(&self, console: &Console<'_>, draft: &mut Draft) -> Result<()> {
        if let Some(keep) = &self.args.keep {
            return self.set_keep(draft, keep);
        }
        if provider_of(&draft.server.host).is_some_and(|provider| provider.lists_a_part) {
            return Ok(());
        }
        loop {
            let question = "keep fetched mail on the server (forever, none or 30d)";
            draft.keep = console.ask(question, FOREVER)?;
            if self.account(draft).is_ok() {
                return Ok(());
            }
            say("answer with forever, none, or a time such as 30d, 8w, 6mo or 1y")?;
        }
    }
}

fn complete(draft: Draft, answer: Answer, is_proven: bool) -> Outcome {
    Outcome::Complete(Box::new(Complete {
        draft,
        answer,
        is_proven,
    }))
}
