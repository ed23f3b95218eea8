//! The stored tokens, and their renewal.
//!
//! A file holds the tokens of one sign-in. It is replaced as a whole, by a renamed file that is
//! durable. A ledger was rejected as the place for tokens: people send it with bug reports.
//!
//! # Renewal
//!
//! Under a lock that the kernel releases when the process ends:
//!
//! 1. The file is read again. If another pouch has renewed the token, its token is used.
//! 2. The next file is created, and its blocks are reserved. A full or read-only disk ends the
//!    renewal here, before a refresh token is spent that may be valid only once.
//! 3. The request is sent. Signals that end pouch are held back from here to the end.
//! 4. The next file is written, synced and renamed, and the directory is synced.
//! 5. The access token is used.
//!
//! If the issuer refuses the refresh token although another program, such as a restored backup, has
//! replaced the file in the meantime, the renewal starts again, once. A grant that is lost is
//! recorded, so that later runs report it without a request.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Seek, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::{
    http::Client,
    refusal::Refusal,
    settings::{Endpoints, Settings},
    token::{Failure, Tokens, request},
};
use crate::{
    domain::time::Timestamp,
    error::{Error, Kind, Result},
    sys::{clock::Clock, files, interrupt::Interrupt, owner, password::Secret},
    text::{day, tilde},
};

/// The version of the file's format.
const VERSION: u32 = 1;

/// The largest file that is read, in bytes. Tokens of more than 4 KB were seen.
const MAX_FILE: u64 = 256 * 1024;

/// The size that is reserved for a new file, in bytes.
const RESERVED: u64 = 32 * 1024;

/// The longest time before its expiry at which an access token is renewed, in seconds.
const MARGIN: u64 = 60;

/// The longest time by which a renewal may be in the future, in seconds. Beyond that, the clock was
/// set back, and it is not known when the token expires.
const CLOCK_ERROR: u64 = 60;

/// The longest time to wait for another pouch that renews the same token.
const PATIENCE: Duration = Duration::from_mins(1);

/// The time between two attempts to lock.
const RETRY: Duration = Duration::from_millis(20);

/// The pauses between attempts after a transient failure.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// The longest time that a run waits because the issuer asks for it.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The content of the file.
#[derive(Clone, Deserialize, Serialize)]
struct Saved {
    version: u32,
    /// The login name, which identifies the file to a reader.
    user: String,
    client_id: String,
    scope: String,
    /// The endpoints, which may come from the metadata of the issuer.
    token_endpoint: String,
    revocation_endpoint: Option<String>,
    basic: bool,
    /// The time of the sign-in, in seconds.
    signed_in: i64,
    /// The time of the last response with tokens.
    obtained: i64,
    /// The end of the access token.
    expires: i64,
    access_token: Zeroizing<String>,
    refresh_token: Zeroizing<String>,
    /// The refusal that ended the sign-in.
    lost: Option<Lost>,
}

/// The end of a sign-in.
#[derive(Clone, Deserialize, Serialize)]
struct Lost {
    what: String,
    fact: String,
    hint: String,
}

/// The part of the file that all versions have.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Saved {
    /// Returns whether the access token can be used now.
    fn is_fresh(&self, now: Timestamp) -> bool {
        let (obtained, expires) = (Timestamp(self.obtained), Timestamp(self.expires));
        let lifetime = expires.since(obtained);
        let set_back = obtained.since(now) > CLOCK_ERROR;
        self.lost.is_none() && !set_back && expires.since(now) > MARGIN.min(lifetime / 5)
    }

    /// Returns the access token.
    fn token(&self) -> Secret {
        Zeroizing::new(self.access_token.as_bytes().to_vec())
    }

    /// Takes over the tokens of a response.
    fn update(&mut self, tokens: Tokens, now: Timestamp) {
        let lifetime = i64::try_from(tokens.lifetime()).unwrap_or(i64::MAX);
        self.obtained = now.0;
        self.expires = now.0.saturating_add(lifetime);
        self.access_token = tokens.access_token;
        // no refresh token in the response means that the old one stays valid
        if let Some(next) = tokens.refresh_token {
            self.refresh_token = next;
        }
    }
}

/// The status of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// The time of the sign-in.
    pub since: Timestamp,
    /// The end of the access token, which a run renews.
    pub expires: Timestamp,
    /// Whether the issuer has ended it.
    pub is_lost: bool,
}

/// The file with the tokens of an account.
#[derive(Debug)]
pub struct Store<'a> {
    path: PathBuf,
    settings: &'a Settings,
    home: &'a Path,
}

impl<'a> Store<'a> {
    /// Returns the store for these settings. `home` is abbreviated in messages.
    pub fn new(settings: &'a Settings, state_dir: &Path, home: &'a Path) -> Self {
        let name = format!("{}.json", settings.key());
        Self {
            path: directory(state_dir).join(name),
            settings,
            home,
        }
    }

    /// Returns what is known of the sign-in, or `None` if there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn sign_in(&self) -> Result<Option<SignIn>> {
        let saved = self.read()?;
        Ok(saved.map(|saved| SignIn {
            since: Timestamp(saved.signed_in),
            expires: Timestamp(saved.expires),
            is_lost: saved.lost.is_some(),
        }))
    }

    /// Returns the port of the stored token endpoint, or `None` if the account is not signed in.
    pub fn port(&self) -> Option<u16> {
        let saved = self.read().ok()??;
        Url::parse(&saved.token_endpoint)
            .ok()?
            .port_or_known_default()
    }

    /// Reads the file. Returns `None` if there is none.
    ///
    /// # Errors
    /// [`Kind::Denied`] if others can read it; [`Kind::State`] if its format is unknown.
    fn read(&self) -> Result<Option<Saved>> {
        let shown = tilde(&self.path, self.home);
        let bytes = match files::read(&self.path, MAX_FILE) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file("read", &self.path, &error)),
        };
        self.check_access(&shown)?;
        let unknown = |what: &str| {
            Error::new(Kind::State, format!("{shown} {what}"))
                .with_hint(format!("run `{}`", self.settings.login_command()))
        };
        match serde_json::from_slice(&bytes) {
            Ok(Version { version: VERSION }) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|_| unknown("is damaged")),
            Ok(_) => Err(unknown("was written by another version of pouch")),
            Err(_) => Err(unknown("is damaged")),
        }
    }

    /// Checks that the file belongs to the user and is not readable by others. `shown` is its path
    /// for messages.
    ///
    /// # Errors
    /// [`Kind::Denied`] otherwise.
    fn check_access(&self, shown: &str) -> Result<()> {
        let metadata = fs::metadata(&self.path);
        let metadata = metadata.map_err(|error| Error::file("read", &self.path, &error))?;
        owner::check_owner(&format!("the file with tokens {shown}"), &metadata)?;
        let mode = metadata.mode() & 0o7777;
        let others = mode & 0o077;
        if others == 0 {
            return Ok(());
        }
        let what = format!("the file with tokens {shown} is accessible to other users");
        Err(Error::new(Kind::Denied, what)
            .with_fact(format!("its mode is {mode:04o}"))
            .with_hint(format!("run `chmod 600 {shown}`")))
    }

    /// Stores the tokens of a sign-in. `endpoints` are those that it used.
    ///
    /// # Errors
    /// The response has no refresh token, or the file cannot be written.
    pub fn save(&self, tokens: Tokens, now: Timestamp, stop: &Interrupt) -> Result<Secret> {
        let _lock = self.lock(stop)?;
        let next = self.create()?;
        self.save_into(next, tokens, now)
    }

    /// Checks that the file can be written, before a user signs in.
    ///
    /// # Errors
    /// It cannot be.
    pub fn check_writable(&self, stop: &Interrupt) -> Result<()> {
        let _lock = self.lock(stop)?;
        self.create().map(drop)
    }

    fn save_into(&self, next: NewFile, tokens: Tokens, now: Timestamp) -> Result<Secret> {
        let settings = self.settings;
        let Endpoints {
            token,
            revocation,
            basic,
            ..
        } = &settings.endpoints;
        let text = |url: &Option<Url>| url.as_ref().map(Url::to_string);
        let mut saved = Saved {
            version: VERSION,
            user: settings.user.clone(),
            client_id: settings.client_id.clone(),
            scope: settings.scope.clone(),
            token_endpoint: text(token).unwrap_or_default(),
            revocation_endpoint: text(revocation),
            basic: *basic,
            signed_in: now.0,
            obtained: now.0,
            expires: now.0,
            access_token: Zeroizing::default(),
            refresh_token: Zeroizing::default(),
            lost: None,
        };
        saved.update(tokens, now);
        next.write(&saved)?;
        Ok(saved.token())
    }

    /// Takes the lock on the file.
    ///
    /// # Errors
    /// [`Kind::Busy`] if another pouch holds it for too long, or the lock cannot be created.
    fn lock(&self, stop: &Interrupt) -> Result<File> {
        let path = self.path.with_extension("lock");
        let file = files::file(&path, "open")?;
        let end = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(TryLockError::Error(error)) => return Err(Error::file("lock", &path, &error)),
                Err(TryLockError::WouldBlock) if Instant::now() < end => stop.sleep(RETRY)?,
                Err(TryLockError::WouldBlock) => {
                    let what = format!(
                        "another pouch is renewing the token of {}",
                        self.settings.user
                    );
                    return Err(Error::new(Kind::Busy, what));
                }
            }
        }
    }

    /// Creates the next file, with space for its content.
    ///
    /// # Errors
    /// The disk is full or read-only, or there is no permission.
    fn create(&self) -> Result<NewFile> {
        let path = self.path.with_extension("new");
        let failed = |error: &io::Error| Error::file("create", &path, error);
        // left by a process that was killed
        match files::remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&error)),
            _ => {}
        }
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed(&error))?;
        let new = NewFile {
            file,
            path: path.clone(),
            target: self.path.clone(),
            is_kept: false,
        };
        match fallocate(&new.file, FallocateFlags::empty(), 0, RESERVED) {
            Ok(()) => {}
            // the file system cannot reserve blocks
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                let zeros = vec![0; usize::try_from(RESERVED).unwrap_or_default()];
                let written = (&new.file)
                    .write_all(&zeros)
                    .and_then(|()| new.file.sync_all());
                written.map_err(|error| failed(&error))?;
            }
            Err(error) => return Err(failed(&error.into())),
        }
        Ok(new)
    }

    /// Removes the file. Returns the refresh token and the revocation endpoint that it had.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(super) fn remove(&self, stop: &Interrupt) -> Result<Option<Stored>> {
        let _lock = self.lock(stop)?;
        let saved = self.read();
        match files::remove(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            removed => removed.map_err(|error| Error::file("remove", &self.path, &error))?,
        }
        files::sync(self.path.parent().unwrap_or(Path::new(".")))?;
        // a file that cannot be read has been removed, too
        let saved = saved.ok().flatten();
        Ok(Some(saved.map_or_else(Stored::default, |saved| {
            Stored {
                refresh_token: saved.refresh_token,
                revocation: saved
                    .revocation_endpoint
                    .and_then(|url| Url::parse(&url).ok()),
            }
        })))
    }
}

/// The part of a removed file that revocation needs.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) refresh_token: Zeroizing<String>,
    pub(super) revocation: Option<Url>,
}

/// The directory of the files, which sandboxes have to know.
fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("oauth")
}

/// The next content of a file, which is removed unless it replaces the file.
struct NewFile {
    file: File,
    path: PathBuf,
    target: PathBuf,
    is_kept: bool,
}

impl NewFile {
    /// Writes the content, and replaces the file durably.
    fn write(mut self, saved: &Saved) -> Result<()> {
        let text = serde_json::to_vec_pretty(saved).map(Zeroizing::new);
        let text = text.map_err(|error| {
            Error::new(Kind::Bug, "cannot write tokens").with_fact(error.to_string())
        })?;
        let written = self
            .file
            .rewind()
            .and_then(|()| self.file.write_all(&text))
            .and_then(|()| self.file.set_len(text.len() as u64))
            .and_then(|()| self.file.sync_all())
            .and_then(|()| fs::rename(&self.path, &self.target));
        written.map_err(|error| Error::file("write", &self.target, &error))?;
        self.is_kept = true;
        files::sync(self.target.parent().unwrap_or(Path::new(".")))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = files::remove(&self.path);
        }
    }
}

/// Returns an access token that the server has not `refused`, and renews it if necessary, by
/// requests of `client`.
///
/// # Errors
/// [`Kind::Denied`] if the account is not signed in, or the issuer ended the sign-in;
/// [`Kind::Busy`], [`Kind::ConnectionLost`] or [`Kind::TimedOut`] if the issuer is unavailable; or
/// the file cannot be written.
pub fn access_token(
    store: &Store<'_>,
    client: &dyn Fn() -> Result<Client>,
    refused: Option<&[u8]>,
    clock: Clock,
    stop: &Interrupt,
) -> Result<Secret> {
    let usable = |saved: &Saved| {
        saved.is_fresh(clock.now()) && refused != Some(saved.access_token.as_bytes())
    };
    let saved = store.signed_in()?;
    if usable(&saved) {
        return Ok(saved.token());
    }
    let _lock = store.lock(stop)?;
    let mut saved = store.signed_in()?;
    if usable(&saved) {
        return Ok(saved.token());
    }
    let client = client()?;
    let mut is_repeated = false;
    loop {
        if usable(&saved) {
            return Ok(saved.token());
        }
        let refusal = match store.renew(&saved, &client, clock, stop)? {
            Ok(token) => return Ok(token),
            Err(refusal) => refusal,
        };
        let current = store.signed_in()?;
        if current.refresh_token == saved.refresh_token || is_repeated {
            return Err(store.lose(current, &refusal));
        }
        is_repeated = true;
        saved = current;
    }
}

impl Store<'_> {
    /// Reads the file of an account that has to be signed in.
    ///
    /// # Errors
    /// [`Kind::Denied`] if it is not.
    fn signed_in(&self) -> Result<Saved> {
        let settings = self.settings;
        let Some(saved) = self.read()? else {
            let what = format!("{} is not signed in to {}", settings.user, settings.label);
            return Err(Error::new(Kind::Denied, what)
                .with_hint(format!("run `{}`", settings.login_command())));
        };
        match &saved.lost {
            Some(lost) => Err(lost_error(lost, saved.signed_in)),
            None => Ok(saved),
        }
    }

    /// Renews the token under the lock. The inner error is a refusal of the refresh token.
    fn renew(
        &self,
        saved: &Saved,
        client: &Client,
        clock: Clock,
        stop: &Interrupt,
    ) -> Result<std::result::Result<Secret, Refusal>> {
        let mut settings = self.settings.clone();
        settings.endpoints.token = Url::parse(&saved.token_endpoint).ok();
        settings.endpoints.basic = saved.basic;
        let mut pauses = PAUSES.into_iter();
        loop {
            stop.check()?;
            let next = self.create()?;
            let held = stop.hold();
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", saved.refresh_token.as_str()),
            ];
            match request(client, &settings, &form) {
                Ok(tokens) => {
                    let mut renewed = saved.clone();
                    renewed.update(tokens, clock.now());
                    next.write(&renewed)?;
                    return Ok(Ok(renewed.token()));
                }
                Err(Failure::Refused(refusal)) if refusal.error == "invalid_grant" => {
                    return Ok(Err(refusal));
                }
                Err(Failure::Transient(error, after)) => {
                    drop(held);
                    let pause = pauses.next().map(|usual| after.unwrap_or(usual));
                    // other pouches wait for the lock, and a silent issuer has had its time
                    let pause = pause.filter(|_| error.kind() != Kind::TimedOut);
                    match pause.filter(|pause| *pause <= LONGEST_PAUSE) {
                        Some(pause) => stop.sleep(pause)?,
                        None => return Err(error),
                    }
                }
                Err(failure) => return Err(failure.error(&settings)),
            }
        }
    }

    /// Returns the error for a refresh token that was refused. If the grant is void, that is
    /// recorded.
    fn lose(&self, mut saved: Saved, refusal: &Refusal) -> Error {
        let error = refusal.error(self.settings);
        if !refusal.voids_grant() {
            return error;
        }
        let lost = Lost {
            what: error.what().to_owned(),
            fact: error.facts().first().cloned().unwrap_or_default(),
            hint: error.hint().unwrap_or_default().to_owned(),
        };
        let error = lost_error(&lost, saved.signed_in);
        saved.access_token = Zeroizing::default();
        saved.refresh_token = Zeroizing::default();
        saved.lost = Some(lost);
        // without the record, the next run asks the issuer again
        let _ = self.create().and_then(|next| next.write(&saved));
        error
    }
}

/// Returns the error for a sign-in that has ended.
fn lost_error(lost: &Lost, signed_in: i64) -> Error {
    Error::new(Kind::Denied, lost.what.as_str())
        .with_fact(lost.fact.as_str())
        .with_fact(format!("signed in on {}", day(Timestamp(signed_in))))
        .with_hint(lost.hint.as_str())
}
