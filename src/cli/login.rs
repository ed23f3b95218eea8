//! `pouch login`: signs in with OAuth 2.0.

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::fs::{OFlags, fcntl_getfl};
use serde_json::json;

use super::{CommandContext, CommandResult, args::Login, fetch, print_json};
use crate::{
    config::{Account, oauth::OAuth, overrides::Overrides},
    error::{Error, Exit, Kind, Result},
    fetch::{
        connect::{connect, with_access_hint},
        env::RunEnv,
        logins::record_success,
        tokens::{client, keys, settings},
    },
    oauth::{
        Client, CodeFlow, CodeResponse, DeviceFlow, Settings, Store, Tokens, can_open_browser,
        discover, forget, open_browser,
    },
    report::{complain, form, json, print},
    sys::password::Secret,
    text::{count, sanitize},
};

pub(super) fn run(context: &CommandContext, args: &Login) -> CommandResult {
    let account = account(context, args.account.as_deref())?;
    let env = fetch::env(context, std::slice::from_ref(&account))?;
    let Some(oauth) = keys(&account) else {
        let what = format!("account `{}` does not use OAuth 2.0", account.name);
        return Err(Error::new(Kind::Usage, what)
            .with_hint("set `oauth` in the config, such as oauth = \"microsoft\"")
            .into());
    };
    let session = Session {
        context,
        account: &account,
        oauth,
        env: &env,
    };
    if args.forget {
        session.forget()
    } else {
        session.sign_in(args)
    }
}

/// Returns the account of this name, or the only one with `oauth`.
///
/// # Errors
/// There is none, or no name and several accounts.
pub(super) fn account(context: &CommandContext, name: Option<&str>) -> Result<Account> {
    let overrides = Overrides {
        no_delivery: true,
        ..Overrides::default()
    };
    let names: Vec<_> = name.map(str::to_owned).into_iter().collect();
    let mut accounts = context.setup.accounts(&names, &overrides)?;
    if name.is_none() {
        accounts.retain(|account| keys(account).is_some());
    }
    match accounts.len() {
        1 => Ok(accounts.remove(0)),
        0 => Err(Error::new(Kind::Usage, "no account uses OAuth 2.0")
            .with_hint("set `oauth` in the config, such as oauth = \"microsoft\"")),
        _ => {
            let names: BTreeSet<_> = accounts.iter().map(|it| it.name.as_str()).collect();
            let names: Vec<_> = names.into_iter().collect();
            Err(
                Error::new(Kind::Usage, "several accounts use OAuth 2.0").with_hint(format!(
                    "run `pouch login ACCOUNT` with one of: {}",
                    names.join(", ")
                )),
            )
        }
    }
}

/// A sign-in and its context.
struct Session<'a> {
    context: &'a CommandContext,
    account: &'a Account,
    oauth: &'a OAuth,
    env: &'a RunEnv,
}

impl Session<'_> {
    /// Prints a line about the account for the user. With `--json`, standard output is for the
    /// document.
    fn print_named(&self, line: &str) -> Result<()> {
        let line = format!("{}: {line}", self.account.name);
        self.print(&line)
    }

    fn print(&self, line: &str) -> Result<()> {
        if self.context.global.json {
            complain(line);
            return Ok(());
        }
        print(&format!("{line}\n")).map_err(|error| {
            let error = error.downcast::<Error>();
            error.unwrap_or_else(|error| Error::new(Kind::Bug, error.to_string()))
        })
    }

    fn warn(&self, warning: &Error) {
        complain(&form(
            Some(&self.account.name),
            warning,
            self.context.colour,
        ));
    }

    fn store<'s>(&'s self, settings: &'s Settings) -> Store<'s> {
        Store::new(settings, &self.env.state_dir, &self.env.home)
    }

    /// Removes the tokens, and revokes them.
    fn forget(&self) -> CommandResult {
        let settings = settings(self.account, self.oauth, &self.env.home)?;
        let client = client(
            self.oauth,
            self.env.token_env(),
            &self.env.issuer_route(self.account)?,
        )?;
        let forgotten = forget(&self.store(&settings), &client, &settings, &self.env.stop)?;
        match &forgotten {
            None => self.print_named("not signed in")?,
            Some(problem) => {
                self.print_named("signed out: the tokens were deleted")?;
                if let Some(problem) = problem {
                    self.warn(problem);
                }
            }
        }
        if self.context.global.json {
            let problem = forgotten.as_ref().and_then(Option::as_ref).map(json::error);
            print_json(&json!({
                "account": self.account.name,
                "signed_out": forgotten.is_some(),
                "problem": problem,
            }))?;
        }
        Ok(Exit::OK)
    }

    /// Signs in, stores the tokens, and logs in to the POP3 server.
    fn sign_in(&self, args: &Login) -> CommandResult {
        let mut settings = settings(self.account, self.oauth, &self.env.home)?;
        let client = client(
            self.oauth,
            self.env.token_env(),
            &self.env.issuer_route(self.account)?,
        )?;
        discover(&client, &mut settings)?;
        // checked before the user signs in
        self.store(&settings).check_writable(&self.env.stop)?;
        let label = settings.label();
        self.print_named(&format!("sign in to {label} as {}", self.account.user))?;
        let tokens = if args.device {
            self.by_device(&client, &settings)?
        } else {
            self.by_browser(&client, &settings, args)?
        };
        if !tokens.can_renew() {
            return Err(no_refresh_token(label).into());
        }
        let signed_in = tokens.signed_in_user();
        let now = self.env.clock.now();
        let token = self.store(&settings).save(tokens, now, &self.env.stop)?;
        self.print_named("signed in; later runs renew the token")?;
        if let Some(warning) = signed_in.and_then(|user| self.other_user(&user)) {
            self.warn(&warning);
        }
        let messages = self.try_out(&token)?;
        let server = self.account.host.as_str();
        self.print(&format!(
            "  pop3  ok   {server}: {}",
            count(messages, "message")
        ))?;
        if self.context.global.json {
            print_json(&json!({
                "account": self.account.name,
                "provider": label,
                "signed_in": now.0,
                "messages": messages,
            }))?;
        }
        Ok(Exit::OK)
    }

    /// Signs in by the authorization code flow.
    fn by_browser(&self, client: &Client, settings: &Settings, args: &Login) -> Result<Tokens> {
        let flow = CodeFlow::new(settings, args.port)?;
        let variable = |name: &str| self.context.setup.dirs.variable(name);
        let is_opened =
            !args.no_browser && can_open_browser(variable) && open_browser(flow.url()).is_ok();
        let verb = if is_opened { "opened" } else { "open" };
        self.print(&format!("  {verb} {}", flow.url()))?;
        let terminal = terminal(self.context);
        let paste = match terminal {
            Some(_) => "; if its last page does not load, paste the address of that page here",
            None => "",
        };
        let redirect = flow.redirect();
        self.print(&format!("  waiting for the browser at {redirect}{paste}"))?;
        if !is_opened && settings.has_device_flow() {
            self.print("  without a browser on this machine, `--device` may be simpler")?;
        }
        let response = flow.wait(terminal, &self.env.stop, &mut |reason| {
            complain(&format!("pouch: {}: {reason}", self.account.name));
        })?;
        match response {
            CodeResponse::Code(code) => flow.exchange(client, &code),
            CodeResponse::Refused(error) => Err(*error),
        }
    }

    /// Signs in by the device flow.
    fn by_device(&self, client: &Client, settings: &Settings) -> Result<Tokens> {
        let flow = DeviceFlow::new(client, settings)?;
        let (address, code) = (flow.address(), flow.user_code());
        self.print(&format!(
            "  open {address} on any machine, and enter the code {code}"
        ))?;
        if let Some(complete) = flow.complete_address() {
            self.print(&format!("  or open {complete}, which contains the code"))?;
        }
        flow.wait(client, &self.env.stop)
    }

    /// Returns a warning if another user has signed in than the login name of the account.
    fn other_user(&self, user: &str) -> Option<Error> {
        let own = &self.account.user;
        let is_same = user.eq_ignore_ascii_case(own) || !own.contains('@');
        (!is_same).then(|| {
            let user = sanitize(user.as_bytes());
            let what = format!("{user} signed in, but `user` is {own}");
            Error::new(Kind::Config, what)
                .with_hint(format!("sign in as {own}, or change `user` in the config"))
        })
    }

    /// Logs in to the POP3 server, and returns the number of messages.
    fn try_out(&self, token: &Secret) -> Result<u64> {
        let mut session = connect(self.account, self.env, (token, None), &mut |_| ())?;
        let listed = session.list(|| ());
        let (listing, ()) =
            listed.map_err(|error| with_access_hint(error, self.account, self.env))?;
        let messages = listing.listed() as u64;
        let mut ledger = self.env.ledger(self.account)?;
        record_success(&mut ledger, session.method(), self.env.clock.now())?;
        session.leave();
        Ok(messages)
    }
}

/// Returns the user's terminal, or `None` if standard input is not one.
///
/// In a process that another one started for the account's user, standard input had the handover,
/// and there is no controlling terminal. The terminal is read through standard error or standard
/// output then, which are opened for reading, too, if they have not been redirected.
fn terminal(context: &CommandContext) -> Option<OwnedFd> {
    let (input, error, output) = (io::stdin(), io::stderr(), io::stdout());
    let files = match &context.handover {
        None => vec![input.as_fd()],
        Some(handover) if handover.has_terminal => vec![error.as_fd(), output.as_fd()],
        Some(_) => Vec::new(),
    };
    let can_read = |file: &BorrowedFd<'_>| {
        let flags = fcntl_getfl(file).unwrap_or(OFlags::WRONLY);
        file.is_terminal() && flags & OFlags::RWMODE != OFlags::WRONLY
    };
    let file = files.into_iter().find(can_read)?;
    file.try_clone_to_owned().ok()
}

/// Returns the error for a sign-in that ends with its access token.
fn no_refresh_token(label: &str) -> Error {
    let what = format!("{label} sent no refresh token, so runs could not renew the access token");
    Error::new(Kind::Config, what).with_hint(
        "check that `scope` includes offline_access if the provider requires it, and that the \
         organisation allows permanent sign-ins",
    )
}
