//! The user for whom an account is fetched (`deliver-as`).

use rustix::process::geteuid;

use crate::{
    config::Account,
    error::{Error, Kind, Result},
    sys::user::User,
};

/// Returns the user who has to run an account, or `None` if this is the user of this process.
pub(in crate::cli) fn of(account: &Account) -> Result<Option<User>> {
    let Some(name) = &account.deliver_as else {
        return Ok(None);
    };
    let setting = account
        .settings
        .iter()
        .find(|setting| setting.key == "deliver-as");
    let located = |error: Error| {
        let source =
            setting.map(|setting| format!("{}: deliver-as = {}", setting.source, setting.value));
        error.with_fact(source.unwrap_or_default())
    };
    let user = User::find(name).map_err(|error| {
        located(error).with_hint("set `deliver-as` to the login name of a user of this machine")
    })?;
    if user.is_me() {
        return Ok(None);
    }
    if !geteuid().is_root() {
        let what = format!("only root can run an account as the user `{name}`");
        return Err(located(Error::new(Kind::Denied, what))
            .with_hint(format!("run pouch as root, or as `{name}`")));
    }
    Ok(Some(user))
}
