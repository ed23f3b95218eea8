//! The run of one account, from the lock to the last line of its report.
//!
//! [`mod@connect`] makes a session, [`account_run`] gets messages through it and remembers which of them
//! broke it, [`recognize`] knows messages again, [`mod@recover`] finds what a run that died had
//! delivered, [`local`] looks at what the user deleted, [`rulings`] asks the rules about what is
//! new. This module says in which order.

pub mod connect;
pub mod destinations;
mod haul;
mod identify;
mod recover;
mod rules;
pub mod scheduler;
mod sync_deletions;

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsString,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use crate::{
    config::{Account, Tls},
    delivery::Router,
    domain::{
        destination::Destination,
        plan::{Mailbox, Plan, plan},
    },
    error::{Error, Exit, Kind, Result, Verdict},
    event::{Event, Reporter, Summary, Tally},
    ledger::{Ledger, NewLedger},
    net::{PendingConnection, TlsCache},
    sys::{
        clock::Clock,
        interrupt::Interrupt,
        lock,
        password::{self, CredentialFolder, Secret},
        process,
    },
    text::{sanitize, tilde},
};
use connect::{connect, dial};
use haul::AccountRun;
use identify::UnreadableHeaders;
use recover::recover;

/// What lies around a run.
#[derive(Clone)]
pub struct RunEnv {
    /// Where ledger and locks live.
    pub state_dir: PathBuf,
    /// The user's home, for messages.
    pub home: PathBuf,
    /// The clock.
    pub clock: Clock,
    /// Whether to stop.
    pub stop: Interrupt,
    /// This machine's name, for a new ledger.
    pub birth: NewLedger,
    /// Where systemd puts credentials.
    pub credentials: CredentialFolder,
    /// What people were asked for before the run, by account; nothing of it where none was asked.
    pub secrets: BTreeMap<String, Result<Secret>>,
    /// Where programs are looked for (`$PATH`).
    pub path: Option<OsString>,
    /// Who is told what happens.
    pub report: Arc<dyn Reporter>,
    /// Whether the lines of the session are told too.
    pub trace: bool,
    /// How long to wait for another pouch.
    pub patience: Duration,
    /// Whether a mailbox in which every UID is new is all new mail.
    pub accept_new_uids: bool,
    /// The TLS contexts of all accounts.
    pub tls: TlsCache,
    /// How many files an account may hold open at once.
    pub open_files: usize,
}

impl RunEnv {
    /// Opens the account's ledger.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub fn ledger(&self, account: &Account) -> Result<Ledger> {
        Ledger::open(&self.state_dir, &account.identity(), &self.birth)
            .map_err(to_be_kept_elsewhere)
    }

    /// Takes the account's lock.
    ///
    /// # Errors
    /// Another pouch has it.
    pub fn lock(&self, account: &Account) -> Result<lock::Lock> {
        lock::lock(
            &self.state_dir,
            &account.identity(),
            self.clock.now(),
            self.patience,
            &self.stop,
        )
        .map_err(to_be_kept_elsewhere)
    }

    /// Takes the account's lock for what has no `--wait`.
    ///
    /// # Errors
    /// Another pouch has it.
    pub fn lock_at_once(&self, account: &Account) -> Result<lock::Lock> {
        self.lock(account).map_err(|error| match error.kind() {
            Kind::Busy => error.with_hint("try again once it has ended"),
            _ => error,
        })
    }

    /// Gets the account's secret.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn secret(&self, account: &Account) -> Result<Secret> {
        if let Some(asked) = self.secrets.get(&account.name) {
            return asked.clone();
        }
        password::obtain(
            &account.secret,
            &format!("{} at {}", account.user, account.host),
            &self.credentials,
            &self.stop,
        )
    }

    /// A place, for people.
    pub fn shown(&self, place: &Destination) -> String {
        match place {
            Destination::Maildir(path) | Destination::Mbox(path) => tilde(path, &self.home),
            Destination::Pipe(argv) => format!("`{}`", argv.join(" ")),
            Destination::Lmtp(server, _) => format!(
                "the LMTP server at {}",
                sanitize(server.to_string().as_bytes())
            ),
            Destination::Stdout => "standard output".into(),
        }
    }
}

/// What pouch keeps can be kept in another place; but what it knows stays in this one.
fn to_be_kept_elsewhere(error: Error) -> Error {
    if error.kind() != Kind::CannotCreate {
        return error;
    }
    error.with_hint("mend that, or name another place with `--state-dir`; pouch knows nothing there: all mail is new")
}

/// Fetches the account's mail. All that happens is told to the world's reporter; what comes back
/// is the sum of it.
pub fn fetch(account: &Account, env: &RunEnv) -> Summary {
    env.report.event(&account.name, &Event::Start);
    let mut summary = Summary {
        exit: Exit::OK,
        tally: Tally::default(),
        deleted: Vec::new(),
        quarantined: 0,
        place: env.shown(&account.routing.default),
    };
    let result = env
        .lock(account)
        .and_then(|_lock| run(account, env, &mut summary));
    if let Err(error) = result {
        let told = env
            .ledger(account)
            .and_then(|mut ledger| ledger.should_report(&error, env.clock.now()));
        // where the ledger is the trouble, nobody heard of it before
        problem(account, env, &error, told.unwrap_or(true));
        summary.exit = summary.exit.worst(error.kind().exit());
    }
    env.report.event(&account.name, &Event::Done(&summary));
    summary
}

fn problem(account: &Account, env: &RunEnv, error: &Error, tell: bool) {
    env.report
        .event(&account.name, &Event::Problem { error, tell });
}

/// The run under the account's lock, written into the ledger from its beginning to its end.
fn run(account: &Account, env: &RunEnv, summary: &mut Summary) -> Result<()> {
    if account.tls != Tls::Off {
        env.tls
            .prepare(&account.trust, account.client_certificate.as_ref());
    }
    // the secret comes first: its command may take longer than the server waits for it
    let secret = env.secret(account);
    let begun = secret.is_ok().then(|| dial(account));
    let mut ledger = env.ledger(account)?;
    let (mut run, died) = ledger.begin_run(env.clock.now())?;
    // so may looking for what a run that died had delivered: the server is called again after that
    let begun = begun.filter(|_| !died);
    let post = destinations::open(account, env);
    ledger.set_maildirs(&destinations::maildirs(account))?;
    let mut account_run = AccountRun::new(account, env, &mut ledger, &mut run, died);
    let outcome =
        post.and_then(|mut post| journey(secret, begun, account, env, &mut account_run, &mut post));
    let unsettled = account_run.unsettled();
    summary.exit = account_run.exit();
    summary.tally = account_run.tally();
    summary.deleted = account_run.deletions();
    let (warning, lasting) = (account_run.take_warning(), account_run.take_lasting());
    drop(account_run);

    let now = env.clock.now();
    if let Err(error) = &outcome {
        summary.exit = summary.exit.worst(error.kind().exit());
    }
    if !unsettled {
        ledger.close_dead_runs(&run, now)?;
    }
    summary.quarantined = ledger.in_quarantine()?;
    let trouble = outcome.err().or(warning);
    ledger.end_run(
        &run,
        summary.tally,
        summary.exit,
        trouble.as_ref(),
        unsettled,
        now,
    )?;
    tell(account, env, &mut ledger, trouble, lasting)
}

/// Tells what stopped the account, and what single messages suffer from once that has lasted, if
/// it is news.
fn tell(
    account: &Account,
    env: &RunEnv,
    ledger: &mut Ledger,
    trouble: Option<Error>,
    lasting: Option<Error>,
) -> Result<()> {
    let now = env.clock.now();
    match (trouble, lasting) {
        (Some(error), _) if error.kind().verdict() == Verdict::StopAll => {
            problem(account, env, &error, false)
        }
        (Some(error), _) => {
            let tell = ledger.should_report(&error, now)?;
            problem(account, env, &error, tell);
        }
        // those who watch have heard of the message itself
        (None, Some(error)) if ledger.should_report(&error, now)? => {
            problem(account, env, &error, true)
        }
        (None, Some(_)) => {}
        (None, None) => ledger.clear_problem()?,
    }
    Ok(())
}

/// One message's way is told in the crate's documentation; this is the account's.
fn journey(
    secret: Result<Secret>,
    begun: Option<PendingConnection>,
    account: &Account,
    env: &RunEnv,
    account_run: &mut AccountRun<'_>,
    post: &mut Router,
) -> Result<()> {
    if account_run.unsettled() {
        account_run.recover(post)?;
    }
    // what is doubted is noted even where no session comes of it
    let sessions = secret.and_then(|secret| account_run.sessions(begun, &secret, post));
    let settled = account_run.wind_up(post);
    // what was delivered wants to be indexed, whatever became of the rest
    let indexed = if account_run.tally().delivered > 0 {
        after(account, env)
    } else {
        Ok(())
    };
    sessions.and(settled).and(indexed)
}

/// Runs the account's `after` command.
fn after(account: &Account, env: &RunEnv) -> Result<()> {
    let Some(argv) = &account.after else {
        return Ok(());
    };
    let run = process::Run {
        argv,
        input: None,
        output: None,
        environment: &[("POUCH_ACCOUNT", account.name.clone())],
        timeout: Some(account.pipe_timeout.into()),
        interactive: false,
    };
    let failed = |what: String| {
        Error::new(
            Kind::Deferred,
            format!("the `after` command `{}` {what}", argv.join(" ")),
        )
    };
    let outcome = match run.run(&env.stop)? {
        Ok(outcome) => outcome,
        Err(error) => return Err(failed("cannot be run".into()).with_fact(error.to_string())),
    };
    let error = match outcome.ended {
        process::Ended::Itself(status) if status.success() => return Ok(()),
        process::Ended::Itself(status) => failed(format!("failed: {status}")),
        process::Ended::TimeOut => failed(format!("took longer than {}", account.pipe_timeout)),
    };
    let said = outcome
        .stderr
        .split(|octet| *octet == b'\n')
        .filter(|line| !line.is_empty())
        .take(5);
    Err(said
        .fold(error, |error, line| {
            error.with_fact(format!("it said: {}", sanitize(line)))
        })
        .with_fact("the messages are delivered all the same"))
}

/// What `fetch` would do now. Nothing is changed, neither here nor on the server.
///
/// # Errors
/// As for a real run.
pub fn preview(account: &Account, env: &RunEnv) -> Result<Preview> {
    let _lock = env.lock_at_once(account)?;
    let now = env.clock.now();
    // what a run would tell the ledger is told to a copy
    let mut ledger = env.ledger(account)?.copy()?;
    let (_, died) = ledger.begin_run(now)?;
    let places = destinations::open_existing(account, env)?;
    ledger.set_maildirs(&destinations::maildirs(account))?;
    let mut doubted = HashSet::new();
    if died {
        recover(&mut ledger, &places, account, now)?;
        doubted = ledger.left_unproven()?;
    }
    let secret = env.secret(account)?;
    let mut session = connect(account, env, &secret, &mut |_| {})?;
    let mut unreadable = UnreadableHeaders::default();
    let (listing, memory) = identify::listing(&mut session, &ledger, &mut unreadable)?;
    let (mut look, moved) = identify::look(
        &mut session,
        &mut ledger,
        &listing,
        memory,
        &doubted,
        &mut unreadable,
        env.accept_new_uids,
    )?;
    let mut warning = identify::unnamed(&listing).or((moved > 0).then(|| identify::told(moved)));
    if account.policy.sync_deletions {
        warning = sync_deletions::mark(&mut look, &mut ledger, &places)?.or(warning);
    }
    let mut accepted_by = Vec::new();
    let open = rules::open(&look);
    let ruled = rules::ask(
        &mut session,
        &account.routing.rules,
        &account.policy,
        &look,
        &open,
        now,
        |place, judgement| {
            accepted_by.push((place, judgement.matched()));
        },
    );
    for (place, rule_match) in accepted_by {
        look.mailbox.entries[place].rule_match = rule_match;
    }
    let unruled = ruled.err().map(|error| {
        error.with_fact("what the rules say of the other messages cannot be told now")
    });
    // nothing is marked: QUIT changes nothing, and says good-bye
    session.leave();
    Ok(Preview {
        plan: plan(&account.policy, &look.mailbox, now),
        mailbox: look.mailbox,
        warning: unruled.or(warning),
    })
}

/// Sets every message aside that is on the server and was not delivered; gives how many. Their
/// headers are noted, where the server shows them, to know them again should it move.
///
/// # Errors
/// The server cannot be asked, or the ledger not be written.
pub fn catch_up(account: &Account, env: &RunEnv) -> Result<u64> {
    let _lock = env.lock_at_once(account)?;
    let mut ledger = env.ledger(account)?;
    let secret = env.secret(account)?;
    let mut session = connect(account, env, &secret, &mut |_| {})?;
    let mut unreadable = UnreadableHeaders::default();
    let (listing, memory) = identify::listing(&mut session, &ledger, &mut unreadable)?;
    let (changed, aside) = ledger.catch_up(&listing.messages, &memory, env.clock.now())?;
    let listed: Vec<_> = aside
        .iter()
        .map(|(num, octets, _)| (*num, *octets))
        .collect();
    let prints = identify::prints(&mut session, &listed, &mut unreadable)?;
    let prints: Vec<_> = aside
        .iter()
        .zip(prints)
        .filter_map(|((.., row), print)| Some((*row, print?)))
        .collect();
    ledger.note_fingerprints(&prints)?;
    // nothing is marked: QUIT changes nothing
    session.leave();
    Ok(changed)
}

/// What `fetch` would do.
#[derive(Debug)]
pub struct Preview {
    /// The plan.
    pub plan: Plan,
    /// The messages that it is for.
    pub mailbox: Mailbox,
    /// What a person should know.
    pub warning: Option<Error>,
}
