//! `pouch init` without a terminal: prints the account.

use serde_json::json;

use super::{
    FOREVER, Init,
    draft::{Choice, Draft, Source, choices},
    find::{Found, known},
};
use crate::{
    cli::{CommandResult, print_json},
    config::write,
    domain::{mail_address::MailAddress, provider::provider_of},
    error::{Error, Exit, Kind, Result},
    report::print,
    text::shell_word,
};

impl Init<'_> {
    /// Returns the account without asking: options, and defaults for the rest.
    fn unattended(&self) -> Result<(MailAddress, Found, Draft)> {
        let Some(text) = &self.args.address else {
            return Err(Error::new(Kind::Usage, "no mail address was given")
                .with_hint("run `pouch init ann@example.org`"));
        };
        let address = Self::parsed_address(text)?;
        self.refuse_known(&address, None)?;
        let name = self.name(&address)?;
        let mut found = match self.named(&address)? {
            Some(found) => found,
            None => match known(&address)? {
                Some(found) => found,
                None => self.search_unattended(&address)?,
            },
        };
        if let Some(user) = &self.args.user {
            found.server.user.clone_from(user);
        }
        self.refuse_known(&address, Some(&found.server))?;
        let source = self.source()?.unwrap_or_else(|| {
            let choices = choices(&found.server, provider_of(&found.server.host), |_| false);
            match choices.first() {
                Some(Choice::OAuth(provider)) => Source::OAuth((*provider).to_owned(), None),
                _ => Source::Prompt,
            }
        });
        let maildir = match &self.args.maildir {
            Some(path) => self.absolute("--maildir", path)?,
            None => self.default_maildir(&name),
        };
        let mut draft = Draft {
            name,
            server: found.server.clone(),
            source,
            maildir,
            keep: FOREVER.into(),
        };
        self.account(&draft)?;
        if let Some(keep) = &self.args.keep {
            self.set_keep(&mut draft, keep)?;
        }
        Ok((address, found, draft))
    }

    /// Prints the account, and what is left to do on standard error.
    pub(super) fn print(&self) -> CommandResult {
        let (address, found, draft) = self.unattended()?;
        let toml = write::accounts(vec![draft.table()]);
        let todo = todo(&draft);
        if self.context.global.json {
            let server = &found.server;
            print_json(&json!({
                "account": draft.name,
                "address": address.to_string(),
                "host": server.host,
                "port": server.port,
                "tls": server.encryption.keyword(),
                "user": server.user,
                "source": found.source,
                "toml": toml,
                "todo": todo,
            }))?;
            return Ok(Exit::OK);
        }
        print(&toml)?;
        for line in &todo {
            self.report(line);
        }
        Ok(Exit::OK)
    }
}

/// Returns what the user has to do before the first run.
fn todo(draft: &Draft) -> Vec<String> {
    let provider = provider_of(&draft.server.host);
    let with_password = draft.source.is_password();
    let first = provider.and_then(|provider| provider.before_first_login(with_password));
    let first = first.map(|what| format!("before the first login: {what}"));
    let login = match &draft.source {
        Source::OAuth(..) => Some(format!(
            "sign in with `pouch login {}`",
            shell_word(&draft.name)
        )),
        Source::Prompt if !draft.server.accepts_passwords => Some(format!(
            "{} accepts no passwords: set `token-command` or `oauth`",
            draft.server.host
        )),
        Source::Prompt => Some(
            "set `password-file` or `password-command`: otherwise pouch asks for the password \
             in each run"
                .into(),
        ),
        _ => None,
    };
    first.into_iter().chain(login).collect()
}
