//! `pouch ledger adopt`: recording messages of which a Maildir has a file already.
//!
//! The headers of all messages that were not delivered are requested, in as many sessions as it
//! takes, and compared with those of the files ([`adopt`](crate::domain::adopt)). Nothing in the
//! Maildir is changed. Only what is needed to match is kept of a header or a file, so that 100,000
//! of either need little memory.
//!
//! The age of a recorded message counts from now: the time of its file may be that of a copy, or years
//! ago, and `keep` would delete the message in the next run. Other programs may not have waited for
//! the disk when they wrote the files, so these are synced before they are recorded.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

use super::{
    catch_up::HeaderProgress,
    connect::connect,
    destinations,
    env::{RunEnv, without_wait},
    hooks,
    identify::{self, UnreadableHeaders},
    import_seen::Mailbox,
};
use crate::{
    config::Account,
    delivery::{Maildir, StoredMessage},
    domain::{
        adopt::{Matcher, Matches, MessageKey, StoredFile, Wanted},
        destination::Destination,
        ids::{RowId, Uid},
        plan::{Keep, Known},
    },
    error::{Error, Kind, Result},
    event::Event,
    ledger::{Adopted, Reader},
    net::Stream,
    pop3::transaction::Transaction,
    sys::files,
    text::{count, tilde},
};

/// The number of messages, and of files, from which a Maildir that has none of the messages is
/// considered a wrong one.
const MANY: usize = 5;

/// The number of files after which progress is reported.
const FILES_AT_ONCE: u64 = 200;

/// The files to adopt.
#[derive(Clone, Copy, Debug)]
pub struct Adoption<'a> {
    /// The Maildir.
    pub maildir: &'a Path,
    /// Whether the Maildirs in it are searched as well.
    pub subfolders: bool,
    /// Whether nothing is recorded.
    pub dry_run: bool,
}

/// The result of [`adopt`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdoptOutcome {
    /// The number of messages on the server.
    pub listed: u64,
    /// How many of them were delivered before, or have a file.
    pub known: u64,
    /// The number of messages that were recorded as delivered. In a dry run: that would be.
    pub recorded: u64,
    /// The number of messages that had been recorded without a file, and now have one.
    pub linked: u64,
    /// The number of messages of which there are only smaller files.
    pub smaller: u64,
    /// The number of messages that cannot be told apart.
    pub ambiguous: u64,
    /// The number of messages whose header is not known.
    pub unread: u64,
    /// The number of files that were compared.
    pub files: u64,
    /// The number of files and directories that could not be read.
    pub unreadable: u64,
    /// The error about the first of them.
    pub problem: Option<Error>,
    /// Whether `sync-deletions` applies to the files: they are in a Maildir of the account.
    pub in_maildir: bool,
    /// How many of the recorded messages `keep` deletes in the next run.
    pub due: u64,
}

/// Matches messages on the server with the files of a Maildir and, unless it is a dry run, records
/// them as delivered together with their files.
///
/// # Errors
/// The path is no Maildir, or has none of many messages; the server does not support TOP; the mailbox
/// cannot be listed; or the ledger cannot be written. Then nothing is recorded.
pub fn adopt(account: &Account, env: &RunEnv, adoption: Adoption<'_>) -> Result<AdoptOutcome> {
    let maildir = open(adoption.maildir, env)?;
    let in_maildir = is_of_account(adoption.maildir, account);
    let (_lock, file) = env.lock(account).map_err(without_wait)?;
    hooks::before(account, env)?;
    let secret = env.secret(account)?;
    let mut unreadable = UnreadableHeaders::default();
    let mut headers = Headers::default();
    let mailbox = loop {
        let mut session = connect(account, env, (&secret, None), &mut |_| {})?;
        let read = Mailbox::read(&mut session, (account, env, file.clone()), &mut unreadable)
            .and_then(|mailbox| {
                let progress = HeaderProgress { account, env };
                headers.read(
                    &mut session,
                    (&mailbox, in_maildir),
                    progress,
                    &mut unreadable,
                )?;
                Ok(mailbox)
            });
        match read {
            Ok(mailbox) => {
                session.leave();
                break mailbox;
            }
            Err(_) if unreadable.take_progress() => {}
            Err(error) => return Err(error),
        }
    };
    let reader = mailbox.reader.as_ref();
    let mut outcome = AdoptOutcome {
        listed: mailbox.listing.messages.len() as u64,
        unread: (headers.requested - headers.wanted.len()) as u64,
        in_maildir,
        ..AdoptOutcome::default()
    };
    let mut matcher = Matcher::new(headers.wanted.iter().map(|(_, wanted)| *wanted).collect());
    Search {
        adoption,
        env,
        account: &account.name,
        reader,
        seen: HashSet::new(),
    }
    .run(&maildir, &mut matcher, &mut outcome)?;
    let is_trusted = reader.map_or(Ok(true), Reader::sizes_are_trusted)?;
    let (matches, found) = matcher.finish(!is_trusted);
    let adopted = headers.adopted(&matches, &found);
    count_matches(&mailbox, &adopted, &matches, &mut outcome);
    let many = headers
        .requested
        .min(usize::try_from(outcome.files).unwrap_or(usize::MAX))
        >= MANY;
    if outcome.known == 0 && outcome.smaller == 0 && many {
        return Err(wrong_maildir(account, env, adoption, &outcome));
    }
    if account.policy.keep == Keep::None {
        outcome.due = outcome.recorded;
    }
    if adoption.dry_run || adopted.is_empty() {
        return Ok(outcome);
    }
    files::sync_file_system(adoption.maildir)?;
    let mut ledger = env.open_ledger(account, &mailbox.file)?;
    ledger.set_maildirs(&destinations::maildirs(account))?;
    let listed = (&mailbox.reconciled, mailbox.listing.messages.as_slice());
    let counts = ledger.adopt(&adopted, listed, in_maildir, env.clock.now())?;
    (outcome.recorded, outcome.linked) = (counts.recorded, counts.linked);
    Ok(outcome)
}

/// Opens the Maildir, which must exist.
fn open(path: &Path, env: &RunEnv) -> Result<Maildir> {
    const HINT: &str = "name the directory that contains `cur` and `new`";
    let shown = tilde(path, &env.home);
    match Maildir::exists(path) {
        Ok(true) => Maildir::open_existing(path),
        Ok(false) => {
            let what = format!("there is no Maildir at {shown}");
            Err(Error::new(Kind::Usage, what).with_hint(HINT))
        }
        Err(error) => Err(error.with_hint(HINT)),
    }
}

/// Returns whether a Maildir is one of the account, or in one of them.
fn is_of_account(path: &Path, account: &Account) -> bool {
    let Ok(path) = fs::canonicalize(path) else {
        return false;
    };
    account.routing.all().iter().any(|destination| {
        let Destination::Maildir(root) = destination else {
            return false;
        };
        fs::canonicalize(root).is_ok_and(|root| path.starts_with(root))
    })
}

/// The headers of the messages that may be adopted.
#[derive(Default)]
struct Headers {
    /// By UID and size, from all sessions: the key of the header and its size with CRLF line ends.
    /// `None` if the server does not provide it.
    known: HashMap<(Uid, u64), Option<(MessageKey, u64)>>,
    /// The messages whose header is known, each with its index in the listing.
    wanted: Vec<(usize, Wanted)>,
    /// The number of messages whose header was requested.
    requested: usize,
}

impl Headers {
    /// Requests the headers that are not known yet.
    fn read(
        &mut self,
        session: &mut Transaction<Stream>,
        (mailbox, in_maildir): (&Mailbox, bool),
        progress: HeaderProgress<'_>,
        unreadable: &mut UnreadableHeaders,
    ) -> Result<()> {
        let indices = candidates(mailbox, in_maildir)?;
        let messages = &mailbox.listing.messages;
        let key = |index: &usize| (messages[*index].uid.clone(), messages[*index].octets);
        let missing: Vec<_> = indices
            .iter()
            .filter(|index| !self.known.contains_key(&key(index)))
            .collect();
        let listed: Vec<_> = missing
            .iter()
            .map(|index| (messages[**index].num, messages[**index].octets))
            .collect();
        let of = indices.len() as u64;
        let mut answered = false;
        identify::heads(session, &listed, unreadable, |at, head| {
            answered = true;
            let head = head.as_bytes();
            let lines = memchr::memchr_iter(b'\n', head).count();
            let header = MessageKey::of(head).map(|key| (key, (head.len() + lines) as u64));
            self.known.insert(key(missing[at]), header);
            progress.report(self.known.len() as u64, of);
        })?;
        progress.report(of, of);
        if !answered && self.known.is_empty() && !listed.is_empty() {
            return Err(no_headers(session.peer()));
        }
        self.requested = indices.len();
        let wanted = indices.into_iter().filter_map(|index| {
            let (key, head) = (*self.known.get(&key(&index))?)?;
            let body = messages[index].octets.checked_sub(head);
            Some((index, Wanted { key, body }))
        });
        self.wanted = wanted.collect();
        Ok(())
    }

    /// Returns the matched messages with their files.
    fn adopted(&self, matches: &Matches, files: &[StoredFile]) -> Vec<Adopted> {
        let pairs = matches.pairs.iter();
        pairs
            .map(|(at, file)| {
                let ((index, wanted), file) = (self.wanted[*at], &files[*file]);
                Adopted {
                    index,
                    name: file.name.clone(),
                    fingerprint: wanted.key.exact,
                    file_fingerprint: file.key.exact,
                }
            })
            .collect()
    }
}

/// Returns the indices of the messages that may be adopted. One that may be another message than the
/// known one is left to the next run.
fn candidates(mailbox: &Mailbox, in_maildir: bool) -> Result<Vec<usize>> {
    let reader = mailbox.reader.as_ref();
    let adoptable: HashSet<RowId> =
        reader.map_or_else(|| Ok(HashSet::new()), |reader| reader.adoptable(in_maildir))?;
    let unverified = mailbox.reconciled.unverified.iter();
    let unverified: HashSet<_> = unverified.map(|message| message.index).collect();
    let entries = mailbox.reconciled.mailbox.entries.iter().enumerate();
    Ok(entries
        .filter(|(index, entry)| {
            !unverified.contains(index) && entry.row.is_none_or(|row| adoptable.contains(&row))
        })
        .map(|(index, _)| index)
        .collect())
}

/// Counts the messages that are known, and those that are recorded.
fn count_matches(
    mailbox: &Mailbox,
    adopted: &[Adopted],
    matches: &Matches,
    outcome: &mut AdoptOutcome,
) {
    let entries = &mailbox.reconciled.mailbox.entries;
    let is_delivered = |known: Known| !known.is_undelivered();
    let linked = adopted
        .iter()
        .filter(|one| is_delivered(entries[one.index].known));
    outcome.linked = linked.count() as u64;
    outcome.recorded = adopted.len() as u64 - outcome.linked;
    let delivered = entries.iter().filter(|entry| is_delivered(entry.known));
    outcome.known = delivered.count() as u64 + outcome.recorded;
    outcome.smaller = matches.smaller;
    outcome.ambiguous = matches.ambiguous;
}

/// Returns the error for a server that sends no header.
fn no_headers(peer: &str) -> Error {
    let what =
        format!("{peer} does not support TOP, so its messages cannot be compared with files");
    Error::new(Kind::Unavailable, what)
        .with_fact("nothing was recorded")
        .with_hint("to fetch only new mail from now on, use `pouch ledger catchup`")
}

/// Returns the error for a Maildir that has none of the messages.
fn wrong_maildir(
    account: &Account,
    env: &RunEnv,
    adoption: Adoption<'_>,
    outcome: &AdoptOutcome,
) -> Error {
    let shown = tilde(adoption.maildir, &env.home);
    let error = Error::new(
        Kind::Unavailable,
        format!(
            "none of the {} messages on {} is in {shown}",
            outcome.listed, account.host
        ),
    )
    .with_fact(format!("compared with {}", count(outcome.files, "file")))
    .with_fact("nothing was recorded");
    if adoption.subfolders {
        error.with_hint("check the directory, `host` and `user`")
    } else {
        error.with_hint("`--subfolders` searches the folders in it as well")
    }
}

/// A search for files of wanted messages.
struct Search<'a> {
    adoption: Adoption<'a>,
    env: &'a RunEnv,
    account: &'a str,
    reader: Option<&'a Reader>,
    /// The names of the files that were added. A file that is being moved may be found twice.
    seen: HashSet<String>,
}

impl Search<'_> {
    /// Adds the files of the Maildir that may be wanted messages.
    fn run(
        mut self,
        maildir: &Maildir,
        matcher: &mut Matcher,
        outcome: &mut AdoptOutcome,
    ) -> Result<()> {
        let subfolders = self.adoption.subfolders;
        let search = maildir.visit(subfolders, &mut |found| {
            self.env.stop.check()?;
            outcome.files += 1;
            self.report(outcome.files, false);
            if let Err(error) = self.add(&found, matcher)? {
                outcome.unreadable += 1;
                outcome.problem.get_or_insert(error);
            }
            Ok(())
        })?;
        for path in search.unreadable {
            let what = format!("cannot read {}", tilde(&path, &self.env.home));
            outcome.unreadable += 1;
            outcome
                .problem
                .get_or_insert_with(|| Error::new(Kind::Denied, what));
        }
        self.report(outcome.files, true);
        Ok(())
    }

    /// Adds a file, unless it is not a wanted message. The inner result is an error if it cannot be
    /// read.
    fn add(&mut self, found: &StoredMessage, matcher: &mut Matcher) -> Result<Result<()>> {
        // the file of another message
        if let Some(reader) = self.reader
            && let Some(name) = reader.message_named(&found.name)
            && reader.has_message(&name)?
        {
            return Ok(Ok(()));
        }
        let inspected = match found.inspect() {
            Ok(Some(inspected)) => inspected,
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        };
        let Some(key) = MessageKey::of(inspected.head()).filter(|key| matcher.may_match(key))
        else {
            return Ok(Ok(()));
        };
        let body = match inspected.body_octets() {
            Ok(body) => body,
            Err(error) => return Ok(Err(error)),
        };
        if self.seen.insert(found.name.clone()) {
            matcher.add(StoredFile {
                name: found.name.clone(),
                key,
                body,
            });
        }
        Ok(Ok(()))
    }

    /// Reports progress now and then, and at the end.
    fn report(&self, read: u64, is_end: bool) {
        if is_end || read.is_multiple_of(FILES_AT_ONCE) {
            let event = Event::Reading {
                what: "files",
                read,
                of: is_end.then_some(read),
            };
            self.env.report.event(self.account, &event);
        }
    }
}
