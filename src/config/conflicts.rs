//! Checks for keys that exclude or require each other.
//!
//! If an account's own key and one of `[defaults]` exclude each other, the account's own key is
//! used. Two such keys in one table are a mistake.

use std::sync::Arc;

use super::{
    account::Tls,
    mistakes::Mistakes,
    provenance::Source,
    schema::{AccountTable, Choice, Table},
    snippet::Document,
};
use crate::{
    config::value::Value,
    domain::auth::{Auth, Mechanism, SecretKind},
    error::Error,
};

/// Merges the keys of an account with those of `[defaults]`.
///
/// A default that excludes one of the account's own keys, or has no effect with it, is left out.
/// The tables `oauth` of both are merged, so that one client serves several accounts.
pub(super) fn layered(own: AccountTable, mut defaults: AccountTable) -> AccountTable {
    let mut own = own;
    if let (Some(own), Some(default)) = (&mut own.oauth, &defaults.oauth) {
        let below = default.value.clone();
        let own = Arc::make_mut(own);
        own.value = std::mem::take(&mut own.value).over(below);
    }
    for choice in Choice::ALL {
        if choice.keys().any(|key| own.source(key).is_some()) {
            choice.keys().for_each(|key| defaults.unset(key));
        }
    }
    if own.proxy.is_some() || own.connect_command.is_some() {
        // the password of another proxy
        defaults.proxy_password_command = None;
    }
    if own
        .auth
        .as_ref()
        .is_some_and(|auth| is_external(auth.value))
    {
        Choice::Password.keys().for_each(|key| defaults.unset(key));
    }
    if let (Some(auth), Some((kind, _))) = (&defaults.auth, secret_key(&own))
        && mechanism_kind(auth.value).is_some_and(|needed| needed != kind)
    {
        defaults.auth = None;
    }
    if own.tls.as_ref().is_some_and(|tls| tls.value == Tls::Off) {
        tls_keys().for_each(|key| defaults.unset(key));
    }
    if own.mbox.is_some() || own.pipe.is_some() || own.lmtp.is_some() {
        defaults.sync_deletions = None;
    }
    own.over(defaults)
}

/// Returns the names of the keys that have no effect without TLS.
fn tls_keys() -> impl Iterator<Item = &'static str> {
    AccountTable::KEYS
        .iter()
        .filter(|key| key.needs_tls)
        .map(|key| key.name)
}

/// Returns the kind of the secret that a table sets, with the name of the key, or `None` if it sets
/// none.
fn secret_key(table: &AccountTable) -> Option<(SecretKind, &'static str)> {
    let key = Choice::Password
        .keys()
        .find(|key| table.source(key).is_some())?;
    let kind = match key {
        "token-command" | "oauth" => SecretKind::Token,
        _ => SecretKind::Password,
    };
    Some((kind, key))
}

/// Returns the kind of the secret that the configured mechanism needs, or `None` if it is not
/// configured.
fn mechanism_kind(auth: Auth) -> Option<SecretKind> {
    match auth {
        Auth::Auto => None,
        Auth::Only(mechanism) => Some(mechanism.secret()),
    }
}

fn is_external(auth: Auth) -> bool {
    auth == Auth::Only(Mechanism::External)
}

/// Returns the place where the destination was set, or `None` if it was not.
pub(super) fn destination_source(table: &AccountTable) -> Option<&Source> {
    Choice::Destination.keys().find_map(|key| table.source(key))
}

/// Checks that a table sets at most one key of each [`Choice`].
pub(super) fn check_choices(document: &Document, table: &AccountTable, mistakes: &mut Mistakes) {
    for choice in Choice::ALL {
        let mut set: Vec<_> = choice
            .keys()
            .filter_map(|key| match table.source(key)? {
                Source::File(position) => Some((key, position)),
                Source::Default | Source::Flag(_) => None,
            })
            .collect();
        set.sort_by_key(|(_, position)| position.span.start);
        if let [(first, at), (second, duplicate), ..] = set[..] {
            let what = format!("`{second}` and `{first}` cannot be used together");
            let other = Some((&at.span, "already set here"));
            let mistake = document.draw(&duplicate.span, &what, other);
            mistakes.add(mistake.with_hint(choice.hint()));
        }
    }
}

/// Checks that no key of an account excludes another one or lacks a required one.
pub(super) fn check(document: &Document, table: &AccountTable, mistakes: &mut Mistakes) {
    mistakes.value_of(check_tls(document, table));
    mistakes.value_of(check_client_certificate(document, table));
    mistakes.value_of(check_proxy_password(document, table));
    mistakes.value_of(check_mechanism(document, table));
    if let Some(sync) = &table.sync_deletions
        && sync.value
        && table.maildir.is_none()
    {
        let what = "`sync-deletions` needs a `maildir`: \
                    deletions from other destinations cannot be detected";
        let other = destination_source(table);
        let mistake = document.contradiction(&sync.source, what, other, "the destination");
        mistakes.add(mistake.with_hint("remove `sync-deletions`, or set `maildir`"));
    }
}

/// Checks that the other keys are compatible with `tls = "off"`.
fn check_tls(document: &Document, table: &AccountTable) -> Result<(), Error> {
    let Some(tls) = table.tls.as_ref().filter(|tls| tls.value == Tls::Off) else {
        return Ok(());
    };
    let allowed = table.allow_plaintext_password.as_ref();
    if !allowed.is_some_and(|allowed| allowed.value) && must_send_secret(table) {
        let kind = secret_key(table).map_or(SecretKind::Password, |(kind, _)| kind);
        let what = format!(
            "`tls = \"off\"` sends the {} and the mail unencrypted",
            kind.noun()
        );
        let other = allowed.map(|allowed| &allowed.source);
        return Err(document
            .contradiction(&tls.source, &what, other, "not allowed here")
            .with_hint(
                "use \"implicit\" or \"starttls\"; \
                 on a trusted network, add `allow-plaintext-password = true`",
            ));
    }
    let unused = tls_keys().find_map(|key| Some((key, table.source(key)?)));
    match unused {
        Some((key, source)) => {
            let what = format!("`{key}` has no effect with `tls = \"off\"`");
            Err(document
                .contradiction(source, &what, Some(&tls.source), "TLS is off")
                .with_hint("remove one of them"))
        }
        None => Ok(()),
    }
}

/// Returns whether every login with the mechanism and the secret of a table sends the secret.
/// With "auto", a password can be proven by SCRAM.
fn must_send_secret(table: &AccountTable) -> bool {
    match table.auth.as_ref().map(|auth| auth.value) {
        Some(Auth::Only(mechanism)) => mechanism.sends_secret(),
        Some(Auth::Auto) | None => {
            secret_key(table).is_some_and(|(kind, _)| kind == SecretKind::Token)
        }
    }
}

/// Checks that the mechanism is made for the kind of the secret.
fn check_mechanism(document: &Document, table: &AccountTable) -> Result<(), Error> {
    let Some((auth, needed)) = table
        .auth
        .as_ref()
        .and_then(|auth| Some((auth, mechanism_kind(auth.value)?)))
    else {
        return Ok(());
    };
    let set = secret_key(table);
    if is_external(auth.value) && set.is_none() {
        if table.tls_client_cert.is_some() {
            return Ok(());
        }
        return Err(document
            .error_at(
                &auth.source,
                "`auth = \"external\"` needs `tls-client-cert`",
            )
            .with_hint("set `tls-client-cert` to the file with the certificate of the user"));
    }
    let kind = set.map_or(SecretKind::Password, |(kind, _)| kind);
    if needed == kind {
        return Ok(());
    }
    let what = format!(
        "`auth = {}` needs a {}",
        auth.value.to_toml(),
        needed.noun()
    );
    let hint = match (needed, set) {
        (SecretKind::Token, Some((_, key))) => {
            format!("use `oauth` or `token-command` instead of `{key}`")
        }
        (SecretKind::Token, None) => {
            "set `oauth`, such as oauth = \"microsoft\", or `token-command`".into()
        }
        (SecretKind::Certificate, key) => {
            let key = key.map_or("the password", |(_, key)| key);
            format!("remove `{key}`: the client certificate is the proof")
        }
        (SecretKind::Password, _) => "remove `auth`, or use `password-command` instead".into(),
    };
    let other = set.and_then(|(_, key)| table.source(key));
    let label = format!("a {}", kind.noun());
    Err(document
        .contradiction(&auth.source, &what, other, &label)
        .with_hint(hint))
}

/// Checks that client certificate and key are set together.
fn check_client_certificate(document: &Document, table: &AccountTable) -> Result<(), Error> {
    let (source, what, hint) = match (&table.tls_client_cert, &table.tls_client_key) {
        (Some(cert), None) => (
            &cert.source,
            "`tls-client-cert` needs `tls-client-key`",
            "set `tls-client-key` to the file with the private key",
        ),
        (None, Some(key)) => (
            &key.source,
            "`tls-client-key` needs `tls-client-cert`",
            "set `tls-client-cert` to the file with the certificate",
        ),
        _ => return Ok(()),
    };
    Err(document.error_at(source, what).with_hint(hint))
}

/// Checks that a password for the proxy can be used.
fn check_proxy_password(document: &Document, table: &AccountTable) -> Result<(), Error> {
    let Some(password) = &table.proxy_password_command else {
        return Ok(());
    };
    let proxy = table.proxy.as_ref();
    let server = proxy.and_then(|proxy| proxy.value.server());
    let (what, hint) = match server {
        Some(server) if server.user.is_some() => return Ok(()),
        Some(_) => (
            "`proxy-password-command` needs a user in `proxy`",
            "add it before the host: \"socks5://user@host:port\"",
        ),
        None => (
            "`proxy-password-command` has no effect without a proxy",
            "set `proxy`, or remove `proxy-password-command`",
        ),
    };
    let other = proxy.map(|proxy| &proxy.source);
    Err(document
        .contradiction(&password.source, what, other, "the proxy")
        .with_hint(hint))
}
