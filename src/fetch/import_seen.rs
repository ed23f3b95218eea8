//! `pouch import`: recording the messages that another program has fetched.

use super::{
    catch_up::known_mailbox,
    connect::connect,
    env::{RunEnv, check_not_exported, without_wait},
    hooks,
    identify::{self, UnreadableHeaders},
};
use crate::{
    config::Account,
    domain::{
        plan::{Keep, Known},
        reconcile::{KnownMessages, Reconciled, reconcile},
        seen::Seen,
        time::Timestamp,
    },
    error::{Error, Kind, Result},
    event::Event,
    ledger::{Import, LedgerFile, Reader, SeenIndex},
    net::Stream,
    pop3::{listing::Listing, transaction::Transaction},
    sys::{lock::Lock, password::Secret},
    text::count,
};

/// The number of messages from which a server that knows none of them is considered a wrong one.
/// Fewer may have been deleted by another client.
const MANY: usize = 5;

/// The messages to import for an account.
#[derive(Clone, Copy, Debug)]
pub struct SeenMail<'a> {
    /// The name of the program that fetched them.
    pub origin: &'a str,
    /// The messages.
    pub seen: &'a [Seen],
    /// Whether that program deletes messages after fetching them, so that the server need not have
    /// any.
    pub was_deleting: bool,
}

/// The result of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportOutcome {
    /// The number of messages on the server.
    pub listed: u64,
    /// How many of them were fetched, by the other program or by pouch.
    pub known: u64,
    /// The number of messages that were recorded. In a dry run: of those on the server.
    pub recorded: u64,
    /// How many known messages `keep` deletes in the next run.
    pub due: u64,
}

/// Compares the messages with those on the server and, unless `dry_run` is set, records them as
/// delivered.
///
/// `secret` is used instead of the account's password. The fingerprints of the headers are recorded
/// as well, as for `ledger catchup`.
///
/// # Errors
/// The server has none of many messages: it is another one, or it has changed all UIDs. Or the
/// mailbox cannot be listed, or the ledger cannot be written. Then no message is recorded.
pub fn import_seen(
    account: &Account,
    env: &RunEnv,
    mail: SeenMail<'_>,
    secret: Option<&Secret>,
    dry_run: bool,
) -> Result<ImportOutcome> {
    let (_lock, file) = env.lock(account).map_err(without_wait)?;
    hooks::before(account, env)?;
    let secret = match secret {
        Some(secret) => secret.clone(),
        None => env.secret(account)?,
    };
    let mut session = connect(account, env, (&secret, None), &mut |_| {})?;
    let mut unreadable = UnreadableHeaders::default();
    let mailbox = Mailbox::read(&mut session, (account, env, file), &mut unreadable)?;
    let now = env.clock.now();
    let mut outcome = mailbox.compare(account, mail, now)?;
    if !dry_run {
        let mut ledger = env.open_ledger(account, &mailbox.file)?;
        let import = Import {
            origin: mail.origin,
            seen: mail.seen,
            now,
        };
        let recorded = ledger.import(import, &mailbox.reconciled, &mailbox.listing.messages)?;
        outcome.recorded = recorded.len();
        let listed = recorded.listed.iter();
        let listed: Vec<_> = listed.map(|(num, octets, _)| (*num, *octets)).collect();
        let found = identify::fingerprints(&mut session, &listed, &mut unreadable)?;
        let rows = recorded.listed.iter().zip(found);
        let fingerprints: Vec<_> = rows
            .filter_map(|((.., row), found)| Some((*row, found?)))
            .collect();
        ledger.record_fingerprints(&fingerprints)?;
    }
    session.leave();
    Ok(outcome)
}

/// A mailbox as it is on the server and in the ledger, which is not changed.
pub(super) struct Mailbox {
    pub(super) file: LedgerFile,
    /// The ledger, or `None` if there is none yet.
    pub(super) reader: Option<Reader>,
    pub(super) listing: Listing,
    pub(super) reconciled: Reconciled,
    /// The lock of the mailbox, if the account leads to one with another ledger.
    _lock: Option<Lock>,
}

impl Mailbox {
    /// Lists the mailbox, and compares it with the ledger. The caller holds the lock of the
    /// account.
    pub(super) fn read(
        session: &mut Transaction<Stream>,
        (account, env, mut file): (&Account, &RunEnv, LedgerFile),
        unreadable: &mut UnreadableHeaders,
    ) -> Result<Self> {
        let address = account.identity().address;
        let known = |reader: &Option<Reader>| match reader {
            Some(reader) => reader.known_messages(),
            None => Ok(KnownMessages::default()),
        };
        let mut reader = Reader::open(&file, &address)?;
        if let Some(reader) = &reader {
            check_not_exported(account, reader)?;
        }
        let (listing, mut messages) = identify::list(session, || known(&reader), unreadable)?;
        let mut mailbox_lock = None;
        if reader.as_ref().map_or(Ok(true), Reader::is_unidentified)?
            && let Some(recognised) =
                known_mailbox(session, (account, env, file.clone()), &listing, unreadable)?
        {
            file = recognised.mailbox.file.clone();
            let lock = env.lock_key(file.key(), env.patience);
            mailbox_lock = Some(lock.map_err(without_wait)?);
            reader = Reader::open(&file, &address)?;
            messages = known(&reader)?;
            env.report
                .event(&account.name, &Event::Notice(&recognised.notice(account)));
        }
        let mut reconciled = reconcile(&listing.messages, &messages);
        if let Some(reader) = &reader {
            let unknown = reconciled.unknown().map(|index| &listing.messages[index]);
            if reader.recall_gone(&mut messages, unknown)? {
                reconciled = reconcile(&listing.messages, &messages);
            }
        }
        Ok(Self {
            file,
            reader,
            listing,
            reconciled,
            _lock: mailbox_lock,
        })
    }

    /// Counts the messages that were fetched.
    ///
    /// # Errors
    /// The server has none of many messages.
    fn compare(
        &self,
        account: &Account,
        mail: SeenMail<'_>,
        now: Timestamp,
    ) -> Result<ImportOutcome> {
        let index = SeenIndex::new(mail.seen);
        let entries = self.reconciled.mailbox.entries.iter();
        let mut outcome = ImportOutcome::default();
        let mut on_server = 0;
        for (entry, message) in entries.zip(&self.listing.messages) {
            outcome.listed += 1;
            let seen = index.find(message.uid.key());
            on_server += usize::from(seen.is_some());
            let is_unfetched = matches!(entry.known, Known::New { attempts: 0, .. });
            outcome.recorded += u64::from(seen.is_some() && is_unfetched);
            let fetched = match (entry.known, seen) {
                (Known::Delivered { at, .. }, _) => Some(at),
                (_, Some(seen)) => Some(seen.at.unwrap_or(now)),
                (_, None) => None,
            };
            if let Some(at) = fetched {
                outcome.known += 1;
                outcome.due += u64::from(match account.policy.keep {
                    Keep::Forever => false,
                    Keep::None => true,
                    Keep::For(span) => at.after(span) <= now,
                });
            }
        }
        let many = mail.seen.len().min(self.listing.messages.len()) >= MANY;
        if on_server == 0 && many && !mail.was_deleting {
            return Err(wrong_server(account, mail, outcome.listed));
        }
        Ok(outcome)
    }
}

/// Creates the error that the server has none of the messages.
fn wrong_server(account: &Account, mail: SeenMail<'_>, listed: u64) -> Error {
    let seen = count(mail.seen.len() as u64, "message");
    Error::new(
        Kind::Unavailable,
        format!(
            "{} has fetched none of the {listed} messages on {}",
            mail.origin, account.host
        ),
    )
    .with_fact(format!("{} recorded {seen}", mail.origin))
    .with_fact("this may be another server, or all its UIDs may have changed; nothing was written")
    .with_hint(format!(
        "check `host` and `user`; to skip the messages on the server, run `pouch ledger catchup \
         {}` once the account is in the config",
        account.name
    ))
}
