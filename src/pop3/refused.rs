//! The errors of refused logins. What a refusal means is decided in
//! [`domain::refusal`](crate::domain::refusal).

use super::reply::{Code, Refusal, quoted};
use crate::{
    domain::{
        auth::SecretKind,
        refusal::{self, Meaning},
    },
    error::{Error, Kind},
};

/// Returns the error for a refused login (RFC 2449 §8.1.1, RFC 3206 §4). `codes` is whether the
/// server announces AUTH-RESP-CODE.
///
/// The kind is [`Kind::Denied`] if the login is not expected to succeed with the same secret.
pub(super) fn login_refused(
    peer: &str,
    refusal: &Refusal,
    codes: bool,
    secret: SecretKind,
) -> Error {
    let meaning = refusal::meaning(refusal.code, &refusal.decoded(), codes);
    let what = match (meaning, refusal.code) {
        (Meaning::Busy, Some(Code::InUse)) => "the mailbox is in use by another session".to_owned(),
        (Meaning::Busy, Some(Code::LoginDelay)) => {
            format!("{peer} requires more time between logins")
        }
        (Meaning::Busy, _) => format!("{peer} temporarily refused the login"),
        (Meaning::Denied, Some(Code::Auth)) => format!("{peer} rejected the {}", secret.noun()),
        (Meaning::Denied, _) => format!("login refused by {peer}"),
        (Meaning::Unavailable, _) => format!("{peer} cannot complete the login"),
        (Meaning::NoMechanism, _) => {
            format!("{peer} does not support this authentication mechanism")
        }
        _ => same_at_any_time(peer, meaning),
    };
    let kind = match kind(meaning) {
        Kind::Busy if !is_about_mailbox(refusal) => Kind::ServerBusy,
        kind => kind,
    };
    explained(peer, refusal, Error::new(kind, what))
}

/// Returns whether a temporary refusal is about the mailbox, and not about the server.
fn is_about_mailbox(refusal: &Refusal) -> bool {
    match refusal.code {
        Some(code) => matches!(code, Code::InUse | Code::LoginDelay),
        None => refusal::names_mailbox(&refusal.decoded()),
    }
}

/// Returns the error for a greeting that is a refusal. Its text has a meaning only if it is known
/// or about a block, since no login has been tried yet.
pub(super) fn greeting_refused(peer: &str, refusal: &Refusal) -> Error {
    let text = refusal.decoded();
    let meaning = refusal::meaning(refusal.code, &text, false);
    let what = format!("{peer} rejected the connection");
    let (kind, what) = match meaning {
        Meaning::SwitchedOff | Meaning::Blocked => (Kind::Denied, same_at_any_time(peer, meaning)),
        Meaning::Denied if refusal::known(&text).is_some() => (Kind::Denied, what),
        Meaning::Unavailable => (Kind::Unavailable, what),
        _ => (Kind::ServerBusy, what),
    };
    explained(peer, refusal, Error::new(kind, what))
}

/// Returns the error for a first command after the login that was refused with a text about the
/// account, or `None` if the text is about something else. Gmail and Microsoft check whether POP3
/// is enabled, and how often it was used, after the login.
///
/// The kind is [`Kind::AccessRefused`] where that of a login would be [`Kind::Denied`].
pub fn access_refused(peer: &str, refusal: &Refusal) -> Option<Error> {
    let text = refusal.decoded();
    let meaning = refusal::meaning(refusal.code, &text, false);
    let is_about_account = refusal::known(&text).is_some()
        || refusal.code == Some(Code::Auth)
        || meaning == Meaning::Blocked;
    if !is_about_account {
        return None;
    }
    let what = match meaning {
        Meaning::Busy => format!("{peer} temporarily refused access to the mailbox"),
        Meaning::Denied => {
            format!("{peer} accepted the login, but refused access to the mailbox")
        }
        Meaning::Unavailable | Meaning::NoMechanism => format!("{peer} cannot open the mailbox"),
        _ => same_at_any_time(peer, meaning),
    };
    let kind = match kind(meaning) {
        Kind::Denied => Kind::AccessRefused,
        other => other,
    };
    Some(explained(peer, refusal, Error::new(kind, what)))
}

/// Returns the sentence about a refusal that means the same during and after the login.
fn same_at_any_time(peer: &str, meaning: Meaning) -> String {
    match meaning {
        Meaning::SwitchedOff => format!("POP3 is disabled for this account on {peer}"),
        Meaning::Blocked => format!("{peer} blocks this account or this machine"),
        _ => format!("{peer} reported a violation of the protocol"),
    }
}

/// Returns the kind of the error for a refusal.
fn kind(meaning: Meaning) -> Kind {
    match meaning {
        Meaning::Denied | Meaning::SwitchedOff | Meaning::Blocked => Kind::Denied,
        Meaning::Busy => Kind::Busy,
        Meaning::NoMechanism | Meaning::Unavailable => Kind::Unavailable,
        Meaning::Protocol => Kind::NotPop3,
    }
}

/// Adds the text of the refusal and its hint.
fn explained(peer: &str, refusal: &Refusal, error: Error) -> Error {
    let error = error.with_fact(quoted(peer, refusal));
    match refusal::hint(&refusal.decoded()) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}
