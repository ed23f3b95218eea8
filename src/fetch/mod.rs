//! The run of one account, from the lock to the last line of its report.
//!
//! [`mod@connect`] makes a session, [`haul`] gets messages through it and remembers which of them
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
    delivery::Post,
    domain::{
        destination::Destination,
        plan::{Plan, Scan, plan},
    },
    error::{Error, Exit, Kind, Result, Verdict},
    event::{Event, Reporter, Summary, Tally},
    ledger::{Birth, Ledger},
    net::{Contexts, Dialing},
    sys::{
        clock::Clock,
        interrupt::Stop,
        lock,
        password::{self, CredentialFolder, Secret},
        process,
    },
    text::{shown, tilde},
};
use connect::{connect, dial};
use haul::Haul;
use identify::Unshown;
use recover::recover;

/// What lies around a run.
#[derive(Clone)]
pub struct World {
    /// Where ledger and locks live.
    pub state_dir: PathBuf,
    /// The user's home, for messages.
    pub home: PathBuf,
    /// The clock.
    pub clock: Clock,
    /// Whether to stop.
    pub stop: Stop,
    /// This machine's name, for a new ledger.
    pub birth: Birth,
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
    pub tls: Contexts,
    /// How many files an account may hold open at once.
    pub open_files: usize,
}

impl World {
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
            Kind::Busy => error.hint("try again once it has ended"),
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
                shown(server.to_string().as_bytes())
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
    error.hint("mend that, or name another place with `--state-dir`; pouch knows nothing there: all mail is new")
}

/// Fetches the account's mail. All that happens is told to the world's reporter; what comes back
/// is the sum of it.
pub fn fetch(account: &Account, world: &World) -> Summary {
    world.report.event(&account.name, &Event::Start);
    let mut summary = Summary {
        exit: Exit::OK,
        tally: Tally::default(),
        deleted: Vec::new(),
        quarantined: 0,
        place: world.shown(&account.place),
    };
    let result = world
        .lock(account)
        .and_then(|_lock| run(account, world, &mut summary));
    if let Err(error) = result {
        let told = world
            .ledger(account)
            .and_then(|mut ledger| ledger.needs_telling(&error, world.clock.now()));
        // where the ledger is the trouble, nobody heard of it before
        problem(account, world, &error, told.unwrap_or(true));
        summary.exit = summary.exit.worst(error.kind().exit());
    }
    world.report.event(&account.name, &Event::Done(&summary));
    summary
}

fn problem(account: &Account, world: &World, error: &Error, tell: bool) {
    world
        .report
        .event(&account.name, &Event::Problem { error, tell });
}

/// The run under the account's lock, written into the ledger from its beginning to its end.
fn run(account: &Account, world: &World, summary: &mut Summary) -> Result<()> {
    if account.tls != Tls::Off {
        world
            .tls
            .prepare(&account.trust, account.client_certificate.as_ref());
    }
    // the secret comes first: its command may take longer than the server waits for it
    let secret = world.secret(account);
    let begun = secret.is_ok().then(|| dial(account));
    let mut ledger = world.ledger(account)?;
    let (mut run, died) = ledger.begin_run(world.clock.now())?;
    // so may looking for what a run that died had delivered: the server is called again after that
    let begun = begun.filter(|_| !died);
    let post = destinations::open(account, world);
    ledger.looks_into(&destinations::maildirs(account))?;
    let mut haul = Haul::new(account, world, &mut ledger, &mut run, died);
    let outcome =
        post.and_then(|mut post| journey(secret, begun, account, world, &mut haul, &mut post));
    let unsettled = haul.unsettled();
    summary.exit = haul.exit();
    summary.tally = haul.tally();
    summary.deleted = haul.deletions();
    let (warning, lasting) = (haul.take_warning(), haul.take_lasting());
    drop(haul);

    let now = world.clock.now();
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
    tell(account, world, &mut ledger, trouble, lasting)
}

/// Tells what stopped the account, and what single messages suffer from once that has lasted, if
/// it is news.
fn tell(
    account: &Account,
    world: &World,
    ledger: &mut Ledger,
    trouble: Option<Error>,
    lasting: Option<Error>,
) -> Result<()> {
    let now = world.clock.now();
    match (trouble, lasting) {
        (Some(error), _) if error.kind().verdict() == Verdict::StopAll => {
            problem(account, world, &error, false)
        }
        (Some(error), _) => {
            let tell = ledger.needs_telling(&error, now)?;
            problem(account, world, &error, tell);
        }
        // those who watch have heard of the message itself
        (None, Some(error)) if ledger.needs_telling(&error, now)? => {
            problem(account, world, &error, true)
        }
        (None, Some(_)) => {}
        (None, None) => ledger.all_is_well()?,
    }
    Ok(())
}

/// One message's way is told in the crate's documentation; this is the account's.
fn journey(
    secret: Result<Secret>,
    begun: Option<Dialing>,
    account: &Account,
    world: &World,
    haul: &mut Haul<'_>,
    post: &mut Post,
) -> Result<()> {
    if haul.unsettled() {
        haul.recover(post)?;
    }
    // what is doubted is noted even where no session comes of it
    let sessions = secret.and_then(|secret| haul.sessions(begun, &secret, post));
    let settled = haul.wind_up(post);
    // what was delivered wants to be indexed, whatever became of the rest
    let indexed = if haul.tally().delivered > 0 {
        after(account, world)
    } else {
        Ok(())
    };
    sessions.and(settled).and(indexed)
}

/// Runs the account's `after` command.
fn after(account: &Account, world: &World) -> Result<()> {
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
    let outcome = match run.run(&world.stop)? {
        Ok(outcome) => outcome,
        Err(error) => return Err(failed("cannot be run".into()).fact(error.to_string())),
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
            error.fact(format!("it said: {}", shown(line)))
        })
        .fact("the messages are delivered all the same"))
}

/// What `fetch` would do now. Nothing is changed, neither here nor on the server.
///
/// # Errors
/// As for a real run.
pub fn preview(account: &Account, world: &World) -> Result<Preview> {
    let _lock = world.lock_at_once(account)?;
    let now = world.clock.now();
    // what a run would tell the ledger is told to a copy
    let mut ledger = world.ledger(account)?.copy()?;
    let (_, died) = ledger.begin_run(now)?;
    let places = destinations::as_it_is(account, world)?;
    ledger.looks_into(&destinations::maildirs(account))?;
    let mut doubted = HashSet::new();
    if died {
        recover(&mut ledger, &places, account, now)?;
        doubted = ledger.left_unproven()?;
    }
    let secret = world.secret(account)?;
    let mut session = connect(account, world, &secret, &mut |_| {})?;
    let mut unshown = Unshown::default();
    let (listing, memory) = identify::listing(&mut session, &ledger, &mut unshown)?;
    let (mut look, moved) = identify::look(
        &mut session,
        &mut ledger,
        &listing,
        memory,
        &doubted,
        &mut unshown,
        world.accept_new_uids,
    )?;
    let mut warning = identify::unnamed(&listing).or((moved > 0).then(|| identify::told(moved)));
    if account.policy.sync_deletions {
        warning = sync_deletions::mark(&mut look, &mut ledger, &places)?.or(warning);
    }
    let mut taken = Vec::new();
    let open = rules::open(&look);
    let ruled = rules::ask(
        &mut session,
        &account.rules,
        &account.policy,
        &look,
        &open,
        now,
        |place, judgement| {
            taken.push((place, judgement.ruling()));
        },
    );
    for (place, ruling) in taken {
        look.scan.entries[place].ruling = ruling;
    }
    let unruled = ruled
        .err()
        .map(|error| error.fact("what the rules say of the other messages cannot be told now"));
    // nothing is marked: QUIT changes nothing, and says good-bye
    session.leave();
    Ok(Preview {
        plan: plan(&account.policy, &look.scan, now),
        scan: look.scan,
        warning: unruled.or(warning),
    })
}

/// Sets every message aside that is on the server and was not delivered; gives how many. Their
/// headers are noted, where the server shows them, to know them again should it move.
///
/// # Errors
/// The server cannot be asked, or the ledger not be written.
pub fn catch_up(account: &Account, world: &World) -> Result<u64> {
    let _lock = world.lock_at_once(account)?;
    let mut ledger = world.ledger(account)?;
    let secret = world.secret(account)?;
    let mut session = connect(account, world, &secret, &mut |_| {})?;
    let mut unshown = Unshown::default();
    let (listing, memory) = identify::listing(&mut session, &ledger, &mut unshown)?;
    let (changed, aside) = ledger.catch_up(&listing.messages, &memory, world.clock.now())?;
    let listed: Vec<_> = aside
        .iter()
        .map(|(num, octets, _)| (*num, *octets))
        .collect();
    let prints = identify::prints(&mut session, &listed, &mut unshown)?;
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
    pub scan: Scan,
    /// What a person should know.
    pub warning: Option<Error>,
}
