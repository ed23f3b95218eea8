//! `pouch ledger catchup`: marking all messages on the server as seen.

use super::{
    connect::{connect, with_access_hint},
    env::{RunEnv, without_wait},
    hooks,
    identify::{self, UnreadableHeaders},
    mailbox::{self, Identified, Recognised},
    preview::View,
};
use crate::{
    config::Account,
    domain::reconcile::reconcile,
    error::{Kind, Result},
    event::Event,
    ledger::LedgerFile,
    net::Stream,
    pop3::{listing::Listing, transaction::Transaction},
};

/// Marks every message on the server that was not delivered as skipped, or `as_fetched` as
/// delivered now. Returns their number.
///
/// The fingerprints of their headers are recorded if the server supports TOP, so that the messages
/// are recognised if their UIDs change.
///
/// # Errors
/// The mailbox cannot be listed, the connection is lost, or the ledger cannot be written.
pub fn catch_up(account: &Account, env: &RunEnv, as_fetched: bool) -> Result<u64> {
    let (_lock, file) = env.lock(account).map_err(without_wait)?;
    let mut ledger = env.open_ledger(account, &file)?;
    hooks::before(account, env)?;
    let secret = env.secret(account)?;
    let remembered = ledger.reader().login_history()?.remembered(env.clock.now());
    let mut session = connect(account, env, (&secret, remembered), &mut |_| {})?;
    let mut unreadable = UnreadableHeaders::default();
    let known = || ledger.reader().known_messages();
    let (listing, mut known) = identify::list(&mut session, known, &mut unreadable)
        .map_err(|error| with_access_hint(error, account, env))?;
    let messages = &listing.messages;
    let mut _mailbox_lock = None;
    if ledger.reader().is_blank()?
        && let Some(recognised) = known_mailbox(
            &mut session,
            (account, env, file),
            &listing,
            &mut unreadable,
        )?
    {
        let file = &recognised.mailbox.file;
        _mailbox_lock = Some(
            env.lock_key(file.key(), env.patience)
                .map_err(without_wait)?,
        );
        ledger = env.open_ledger(account, file)?;
        known = ledger.reader().known_messages()?;
        env.report
            .event(&account.name, &Event::Notice(&recognised.notice(account)));
    }
    let mut reconciled = reconcile(messages, &known);
    let unknown = reconciled.unknown().map(|index| &messages[index]);
    if ledger.reader().recall_gone(&mut known, unknown)? {
        reconciled = reconcile(messages, &known);
    }
    let now = env.clock.now();
    let (changed, skipped) = ledger.catch_up(reconciled, messages, as_fetched, now)?;
    let listed: Vec<_> = skipped
        .iter()
        .map(|(num, octets, _)| (*num, *octets))
        .collect();
    let found = identify::fingerprints(&mut session, &listed, &mut unreadable)?;
    let fingerprints: Vec<_> = skipped
        .iter()
        .zip(found)
        .filter_map(|((.., row), found)| Some((*row, found?)))
        .collect();
    ledger.record_fingerprints(&fingerprints)?;
    session.leave();
    Ok(changed)
}

/// Returns the known mailbox to which a new address leads. `None` if there is none, or if that is
/// not certain: `catchup` is then one of the ways to decide.
pub(super) fn known_mailbox(
    session: &mut Transaction<Stream>,
    (account, env, file): (&Account, &RunEnv, LedgerFile),
    listing: &Listing,
    unreadable: &mut UnreadableHeaders,
) -> Result<Option<Box<Recognised>>> {
    let view = View::open(account, env, file)?;
    match mailbox::identify(session, &view.basis(account, env), listing, unreadable) {
        Ok(Identified::Known(recognised)) => Ok(Some(recognised)),
        Ok(Identified::New(_)) => Ok(None),
        Err(error) if error.kind() == Kind::Unavailable => Ok(None),
        Err(error) => Err(error),
    }
}
