//! The end of `pouch init`: writes the account, and shows the next steps.

use std::env;

use super::{
    Complete, Init,
    console::{Console, NOTHING_WRITTEN, say},
    draft::{Draft, Source},
    timer::{Timers, Wish},
};
use crate::{
    cli::{
        CommandContext, CommandResult, Failure, args::Login, existing::Existing, fetch, login, plan,
    },
    config::{overrides::Overrides, write},
    domain::provider::provider_of,
    error::{Error, Exit, Kind, Result},
    sys::files,
    text::shell_word,
};

/// Adds the fact to an error that nothing was written.
fn unwritten(error: Error) -> Error {
    let error = error.with_fact(NOTHING_WRITTEN);
    match error.kind() {
        // the usual hint of this kind is about fetching
        Kind::Io => error.with_hint("free space on that disk, or choose another with `--config`"),
        _ => error,
    }
}

impl Init<'_> {
    /// Stores the password and adds the account to the config, which may have changed during the
    /// dialogue.
    fn write(&self, complete: &Complete) -> Result<()> {
        let path = &self.context.setup.path;
        let existing = Existing::read(&self.context.renewed()?)?;
        let text = write::append(&existing.text, vec![complete.draft.table()]);
        write::check(path, self.home(), &text)?;
        // a signal does not separate the password from the config
        let held = self.context.stop.hold();
        let typed = complete.answer.typed.as_ref();
        let stored = typed.map(|typed| typed.store(&self.context.stop));
        let created = stored.transpose()?.flatten();
        let written = files::replace(path, text.as_bytes());
        if let (Err(_), Some(created)) = (&written, created) {
            let _ = files::remove(&created);
        }
        drop(held);
        written
    }

    /// Checks that the account can be written, before the user answers any questions.
    ///
    /// # Errors
    /// The config cannot be written.
    pub(super) fn check_config(&self) -> Result<()> {
        let text = self.existing.text.as_bytes();
        files::check_replaceable(&self.context.setup.path, text).map_err(unwritten)
    }

    /// Writes the account, and shows what a run would do.
    pub(super) fn finish(&self, console: &Console<'_>, complete: &Complete) -> CommandResult {
        self.write(complete).map_err(unwritten)?;
        let name = &complete.draft.name;
        let word = shell_word(name);
        say(&format!(
            "added account `{name}` to {}",
            self.context.setup.shown_path()
        ))?;
        let context = self.context.renewed()?;
        let is_signed_in = self.sign_in(console, &context, &complete.draft)?;
        if !complete.is_proven && !is_signed_in {
            if let Source::OAuth(..) = complete.draft.source {
                return Ok(Exit::OK);
            }
            say(&format!("run `pouch check {word}` to test it"))?;
            return Ok(Exit::OK);
        }
        let accounts = context
            .setup
            .accounts(std::slice::from_ref(name), &Overrides::default())?;
        let mut env = fetch::env(&context, &accounts)?;
        if let Some(typed) = &complete.answer.typed {
            let password = Ok(typed.password.clone());
            env.secrets.insert(name.clone(), password);
        }
        let exit = plan::show(&context, &accounts, &env)?;
        if complete.draft.source.is_unattended() {
            self.offer_timer(console, &complete.draft)?;
        }
        say(&format!(
            "run `pouch` to fetch the mail; if you already have it, run \
             `pouch ledger catchup {word}` first"
        ))?;
        Ok(exit)
    }

    /// Signs in with OAuth 2.0 if the account does so. Returns whether it did.
    fn sign_in(
        &self,
        console: &Console<'_>,
        context: &CommandContext,
        draft: &Draft,
    ) -> std::result::Result<bool, Failure> {
        let Source::OAuth(_, client_id) = &draft.source else {
            return Ok(false);
        };
        let command = format!("`pouch login {}`", shell_word(&draft.name));
        if self.args.offline || client_id.is_none() {
            let steps = if client_id.is_none() {
                ", which explains how to get a client ID"
            } else {
                ""
            };
            say(&format!("now run {command}{steps}"))?;
            return Ok(false);
        }
        if !console.offer("sign in now?", true)? {
            say(&format!("then run {command} later"))?;
            return Ok(false);
        }
        let args = Login {
            account: Some(draft.name.clone()),
            ..Login::default()
        };
        login::run(context, &args).map(|exit| exit == Exit::OK)
    }

    /// Offers regular runs.
    fn offer_timer(&self, console: &Console<'_>, draft: &Draft) -> Result<()> {
        let wish = match (self.args.timer, self.args.no_timer || self.args.offline) {
            (true, _) => Wish::Yes,
            (false, true) => Wish::No,
            (false, false) => Wish::Ask,
        };
        let config = self.context.global.config.as_deref();
        let config = config.map(std::path::absolute).transpose();
        let unknown = |error: std::io::Error| {
            Error::new(Kind::Io, "cannot find the path of pouch").with_fact(error.to_string())
        };
        let timers = Timers {
            dirs: &self.context.setup.dirs,
            stop: &self.context.stop,
            config: config.map_err(unknown)?,
            program: env::current_exe().map_err(unknown)?,
        };
        timers.offer(console, provider_of(&draft.server.host), wish)
    }
}
