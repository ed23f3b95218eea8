//! Tests the account before it is written, and lets the user change it until it works.

use super::{
    Init, Outcome, complete,
    console::say,
    draft::{Draft, Source},
    options::user_fault,
    secret::{Answer, Asking},
};
use crate::{
    cli::check::{self, Step},
    config::{Account, SecretSource},
    domain::provider::provider_of,
    error::{Error, Kind, Result},
    fetch::env::RunEnv,
};

/// A choice of the user after a failed test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    /// Test again, with the password typed again if it was refused.
    Again,
    /// Use another login name.
    User,
    /// Supply the password or token in another way.
    Secret,
    /// Use another server.
    Server,
    /// Deliver to another directory.
    Maildir,
    /// Add the account as it is.
    Add,
    /// Write nothing.
    Quit,
}

/// Returns the choices after a failed step of the test.
fn remedies(step: Step) -> Vec<Remedy> {
    let changes: &[Remedy] = match step {
        "login" | "server" => &[Remedy::User, Remedy::Secret],
        "secret" => &[Remedy::Secret],
        "connect" | "tls" => &[Remedy::Server],
        "deliver" => &[Remedy::Maildir],
        _ => &[],
    };
    [&[Remedy::Again], changes, &[Remedy::Add, Remedy::Quit]].concat()
}

impl Remedy {
    /// Returns the text for the menu. `retypes` is set if the refused password was typed by the
    /// user, and `is_token` if the account uses a token in place of a password.
    fn item(self, retypes: bool, is_token: bool) -> String {
        let text = match self {
            Self::Again if retypes => "type the password again",
            Self::Again => "try again",
            Self::User => "use another login name",
            Self::Secret if is_token => "get the token in another way",
            Self::Secret => "get the password in another way",
            Self::Server => "use another server",
            Self::Maildir => "use another directory for the mail",
            Self::Add => "add the account as it is",
            Self::Quit => "quit without writing anything",
        };
        text.to_owned()
    }
}

impl Init<'_> {
    /// Tests the account until it works, or the user adds it as it is or quits.
    ///
    /// # Errors
    /// A question is not answered, or a signal ended the command.
    pub(super) fn prove(
        &self,
        mut asking: Asking<'_>,
        mut draft: Draft,
        mut answer: Answer,
    ) -> Result<Outcome> {
        loop {
            if self.args.offline || matches!(draft.source, Source::OAuth(..)) {
                return Ok(complete(draft, answer, false));
            }
            let failures = self.test(&draft, &answer)?;
            self.context.stop.check()?;
            let Some((step, error)) = failures.first() else {
                return Ok(complete(draft, answer, true));
            };
            let is_refused = matches!(*step, "login" | "server")
                && matches!(error.kind(), Kind::Denied | Kind::AccessRefused);
            let retypes = is_refused && answer.typed.is_some();
            let is_token = !draft.source.is_password();
            let remedies = remedies(step);
            let items: Vec<_> = remedies
                .iter()
                .map(|remedy| remedy.item(retypes, is_token))
                .collect();
            let question = "the account does not work yet:";
            match remedies[asking.console.choose(question, &items)?] {
                Remedy::Again => {}
                Remedy::User => self.another_user(&asking, &mut draft)?,
                Remedy::Secret => {
                    answer = self.asked_secret(&asking, &mut draft)?;
                    continue;
                }
                Remedy::Server => self.another_server(&mut asking, &mut draft)?,
                Remedy::Maildir => self.asked_maildir(asking.console, &mut draft)?,
                Remedy::Add => return Ok(complete(draft, answer, false)),
                Remedy::Quit => return Ok(Outcome::Quit(error.kind().exit())),
            }
            if retypes && let Some(typed) = &mut answer.typed {
                typed.password = asking.password()?;
            }
        }
    }

    /// Asks for another login name.
    fn another_user(&self, asking: &Asking<'_>, draft: &mut Draft) -> Result<()> {
        loop {
            let user = asking.console.ask("login name", &draft.server.user)?;
            if let Some(fault) = user_fault(&user) {
                say(&format!("a login name {fault}"))?;
                continue;
            }
            let mut server = draft.server.clone();
            server.user = user;
            match self.refuse_known(asking.address, Some(&server)) {
                Ok(()) => {
                    draft.server = server;
                    return Ok(());
                }
                Err(error) => say(error.what())?,
            }
        }
    }

    /// Asks for another server.
    fn another_server(&self, asking: &mut Asking<'_>, draft: &mut Draft) -> Result<()> {
        let mut server = self.entered(asking.console, asking.address)?.server;
        if let Some(user) = &self.args.user {
            server.user.clone_from(user);
        }
        asking.provider = provider_of(&server.host);
        draft.server = server;
        Ok(())
    }

    /// Runs the steps of `pouch check`. Returns those that failed.
    fn test(&self, draft: &Draft, answer: &Answer) -> Result<Vec<(Step, Error)>> {
        let mut account = self.account(draft)?;
        let mut env = self.env()?;
        if let Some(typed) = &answer.typed {
            // the password is not stored yet
            account.secret = SecretSource::Prompt;
            let password = Ok(typed.password.clone());
            env.secrets.insert(account.name.clone(), password);
        }
        let suffix = format!(", then run `pouch check {}`", draft.name);
        let without_command = |error: Error| {
            let hint = error.hint().and_then(|hint| hint.strip_suffix(&suffix));
            match hint.map(str::to_owned) {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        };
        let is_new = env.reader(&account)?.is_none();
        let failures = check::failures(self.context, &account, &env, &without_command);
        if is_new && !failures.is_empty() {
            discard_ledger(&env, &account)?;
        }
        Ok(failures)
    }
}

/// Removes the ledger that the test of an account created. The account may get another login name,
/// or may not be added at all.
fn discard_ledger(env: &RunEnv, account: &Account) -> Result<()> {
    let is_blank = env.reader(account)?.map_or(Ok(false), |it| it.is_blank())?;
    if is_blank {
        env.offline_file(account)?.drop_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_follow_from_the_failed_step() {
        let shown = |step: Step| {
            let all = remedies(step);
            let between = &all[1..all.len() - 2];
            assert_eq!(all[0], Remedy::Again);
            assert_eq!(all[all.len() - 2..], [Remedy::Add, Remedy::Quit]);
            format!("{step}: {between:?}")
        };
        let steps = [
            "ledger", "secret", "connect", "tls", "login", "server", "deliver",
        ];
        insta::assert_snapshot!(steps.map(shown).join("\n"), @"
        ledger: []
        secret: [Secret]
        connect: [Server]
        tls: [Server]
        login: [User, Secret]
        server: [User, Secret]
        deliver: [Maildir]
        ");
    }
}
