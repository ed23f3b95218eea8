//! `pouch ledger adopt`: recording messages that are already in a Maildir.
//!
//! The headers of all messages that were not delivered are requested, in as many sessions as
//! necessary, and compared with those of the files ([`adopt`](crate::domain::adopt)). Nothing in
//! the Maildir is changed. Only the data for matching is kept of a header or a file, so that
//! 100,000 of them need little memory.
//!
//! The age of a recorded message counts from now. The time of its file may be that of a copy, or
//! years ago, so that `keep` would delete the message in the next run. Other programs may not have
//! synced the files, so they are synced before they are recorded.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use super::{
    catch_up::Progress,
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
    ledger::{Adopted, Ledger, LedgerFile, Reader, hash_name},
    net::Stream,
    pop3::transaction::Transaction,
    sys::{files, password::Secret},
    text::{count, tilde},
};

/// The number of messages, and of files, from which a Maildir that has none of the messages is
/// considered a wrong one.
const MANY: usize = 5;

/// The number of files after which progress is reported.
const FILES_AT_ONCE: u64 = 50;

/// The files to adopt.
#[derive(Clone, Copy, Debug)]
pub struct Adoption<'a> {
    /// The Maildirs.
    pub maildirs: &'a [PathBuf],
    /// Whether the Maildirs in them are searched as well.
    pub subfolders: bool,
    /// Whether only files are compared that pouch delivered itself, and that the ledger lost
    /// because it was restored from a backup.
    pub only_own: bool,
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
    /// The number of messages that were recorded as delivered or, in a dry run, would be.
    pub recorded: u64,
    /// The number of messages that had been recorded without a file, and now have one.
    pub linked: u64,
    /// The number of messages that match smaller files only.
    pub smaller: u64,
    /// The number of messages that cannot be distinguished.
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

/// Matches messages on the server with the files of Maildirs and, unless it is a dry run, records
/// them as delivered together with their files.
///
/// # Errors
/// A path is not a Maildir, none of many messages matches, the server does not support TOP, the
/// mailbox cannot be listed, or the ledger cannot be written. Nothing is recorded in these cases.
pub fn adopt(account: &Account, env: &RunEnv, adoption: Adoption<'_>) -> Result<AdoptOutcome> {
    for path in adoption.maildirs {
        check(path, env)?;
    }
    let (_lock, file) = env.lock(account).map_err(without_wait)?;
    hooks::before(account, env)?;
    let secret = env.secret(account)?;
    Job {
        account,
        env,
        adoption,
    }
    .run(&file, &secret)
}

/// Recognises messages that were delivered after a backup of the ledger, which was restored, by the
/// files in the Maildirs of the account. Returns whether the ledger was restored. The caller holds
/// the lock of `file`.
///
/// # Errors
/// The mailbox cannot be listed for the moment, or the ledger cannot be written.
pub(super) fn recognise_restored(
    (account, env): (&Account, &RunEnv),
    (file, ledger): (&LedgerFile, &mut Ledger),
    secret: &Secret,
) -> Result<bool> {
    if ledger.reader().restored_at()?.is_none() {
        return Ok(false);
    }
    let roots = account.routing.all().into_iter();
    let roots = roots.filter_map(|destination| match destination {
        Destination::Maildir(root) => Some(root),
        _ => None,
    });
    let maildirs: Vec<_> = roots
        .filter(|root| Maildir::exists(root).is_ok_and(|exists| exists))
        .collect();
    let adoption = Adoption {
        maildirs: &maildirs,
        subfolders: true,
        only_own: true,
        dry_run: false,
    };
    let job = Job {
        account,
        env,
        adoption,
    };
    let notice = match job.run(file, secret) {
        Ok(AdoptOutcome { recorded: 0, .. }) => None,
        Ok(outcome) => Some(
            Error::new(
                Kind::Unavailable,
                "the ledger was restored from a backup, and has been completed",
            )
            .with_fact(format!(
                "{} recognised by files in the Maildir; not fetching them again",
                count(outcome.recorded, "message")
            )),
        ),
        Err(error) if error.kind() == Kind::Unavailable => {
            Some(error.with_fact("messages that were delivered after the backup are fetched again"))
        }
        // the run itself reports and records that
        Err(error) if matches!(error.kind(), Kind::Denied | Kind::AccessRefused) => {
            return Ok(true);
        }
        Err(error) => return Err(error),
    };
    if let Some(notice) = notice {
        env.report.event(&account.name, &Event::Notice(&notice));
    }
    ledger.clear_restored()?;
    Ok(true)
}

/// The adoption of files for an account.
#[derive(Clone, Copy)]
struct Job<'a> {
    account: &'a Account,
    env: &'a RunEnv,
    adoption: Adoption<'a>,
}

impl Job<'_> {
    fn run(self, file: &LedgerFile, secret: &Secret) -> Result<AdoptOutcome> {
        let Self {
            account,
            env,
            adoption,
        } = self;
        let maildirs = adoption.maildirs;
        let in_maildir = maildirs.iter().all(|path| is_of_account(path, account));
        let (mailbox, headers) = self.read_headers(file, secret, in_maildir)?;
        let reader = mailbox.reader.as_ref();
        let mut outcome = AdoptOutcome {
            listed: mailbox.listing.messages.len() as u64,
            unread: (headers.requested - headers.wanted.len()) as u64,
            in_maildir,
            ..AdoptOutcome::default()
        };
        let wanted = headers.wanted.iter().map(|(_, wanted)| *wanted);
        let mut matcher = Matcher::new(wanted.collect());
        let mut search = Search {
            adoption,
            env,
            progress: Progress::new(account, env, "files"),
            reader,
            seen: HashSet::new(),
        };
        // a second run has nothing to look for
        for path in maildirs.iter().filter(|_| !headers.wanted.is_empty()) {
            search.run(&Maildir::open_existing(path)?, &mut matcher, &mut outcome)?;
        }
        drop(search);
        let is_trusted = reader.map_or(Ok(true), Reader::sizes_are_trusted)?;
        let (matches, found) = matcher.finish(!is_trusted);
        let adopted = headers.adopted(&matches, &found);
        count_matches(&mailbox, &adopted, &matches, &mut outcome);
        let files = usize::try_from(outcome.files).unwrap_or(usize::MAX);
        let is_strange = outcome.known == 0 && outcome.smaller == 0 && !adoption.only_own;
        if is_strange && headers.requested.min(files) >= MANY {
            return Err(wrong_maildir(account, env, adoption, &outcome));
        }
        if account.policy.keep == Keep::None {
            outcome.due = outcome.recorded;
        }
        if adoption.dry_run || adopted.is_empty() {
            return Ok(outcome);
        }
        for path in maildirs {
            files::sync_file_system(path)?;
        }
        let mut ledger = env.open_ledger(account, &mailbox.file)?;
        ledger.set_maildirs(&destinations::maildirs(account))?;
        let listed = (&mailbox.reconciled, mailbox.listing.messages.as_slice());
        let counts = ledger.adopt(&adopted, listed, in_maildir, env.clock.now())?;
        (outcome.recorded, outcome.linked) = (counts.recorded, counts.linked);
        Ok(outcome)
    }

    /// Lists the mailbox, and requests the headers of the messages that may be adopted, in a new
    /// session after one that a header has broken.
    fn read_headers(
        self,
        file: &LedgerFile,
        secret: &Secret,
        in_maildir: bool,
    ) -> Result<(Mailbox, Headers)> {
        let (account, env) = (self.account, self.env);
        let mut unreadable = UnreadableHeaders::default();
        let mut headers = Headers::default();
        loop {
            let mut session = connect(account, env, (secret, None), &mut |_| {})?;
            let place = (account, env, file.clone());
            let read = Mailbox::read(&mut session, place, &mut unreadable).and_then(|mailbox| {
                let progress = Progress::new(account, env, "headers");
                let wanted = (&mailbox, in_maildir);
                headers.read(&mut session, wanted, &progress, &mut unreadable)?;
                Ok(mailbox)
            });
            match read {
                Ok(mailbox) => {
                    session.leave();
                    headers.known = HashMap::new();
                    return Ok((mailbox, headers));
                }
                Err(_) if unreadable.take_progress() => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Fails if there is no Maildir at `path`.
fn check(path: &Path, env: &RunEnv) -> Result<()> {
    const HINT: &str = "name the directory that contains `cur` and `new`";
    let shown = tilde(path, &env.home);
    match Maildir::exists(path) {
        Ok(true) => Ok(()),
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
        progress: &Progress<'_>,
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
            progress.report(self.known.len() as u64, Some(of));
        })?;
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

/// Returns the indices of the messages that may be adopted. One that may be another message than
/// the known one is left to the next run.
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
    let shown = adoption.maildirs.iter().map(|path| tilde(path, &env.home));
    let shown = shown.collect::<Vec<_>>().join(", ");
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
        error.with_hint("to search its subfolders as well, use `--subfolders`")
    }
}

/// A search for files of wanted messages.
struct Search<'a> {
    adoption: Adoption<'a>,
    env: &'a RunEnv,
    progress: Progress<'a>,
    reader: Option<&'a Reader>,
    /// The hashes of the names of the files that were added. A file that is being moved may be
    /// found twice.
    seen: HashSet<u64>,
}

impl Search<'_> {
    /// Adds the files of the Maildir that may be wanted messages.
    fn run(
        &mut self,
        maildir: &Maildir,
        matcher: &mut Matcher,
        outcome: &mut AdoptOutcome,
    ) -> Result<()> {
        let subfolders = self.adoption.subfolders;
        let search = maildir.visit(subfolders, &mut |found| {
            self.env.stop.check()?;
            outcome.files += 1;
            if outcome.files.is_multiple_of(FILES_AT_ONCE) {
                self.progress.report(outcome.files, None);
            }
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
        Ok(())
    }

    /// Adds a file, unless it is not a wanted message. The inner result is an error if it cannot be
    /// read.
    fn add(&mut self, found: &StoredMessage, matcher: &mut Matcher) -> Result<Result<()>> {
        let own = self.reader.and_then(|reader| {
            let name = reader.message_named(&found.name)?;
            Some(reader.has_message(&name))
        });
        match own {
            // the file of another message
            Some(Ok(true)) => return Ok(Ok(())),
            Some(Err(error)) => return Err(error),
            None if self.adoption.only_own => return Ok(Ok(())),
            Some(Ok(false)) | None => {}
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
        if self.seen.insert(hash_name(&found.name)) {
            matcher.add(StoredFile {
                name: found.name.clone(),
                key,
                body,
            });
        }
        Ok(Ok(()))
    }
}
