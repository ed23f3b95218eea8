//! The scheduler, which fetches several accounts at once.
//!
//! The decisions are made in [`schedule`](crate::domain::schedule): how many accounts of a host run
//! at the same time, which host is next, and when no more accounts on a server are tried. This
//! module manages the threads, each of which runs one account after another.
//!
//! Threads were chosen over an asynchronous runtime. An account without new mail costs a TLS
//! handshake and access to the ledger, and asynchronous I/O makes neither cheaper. A waiting thread
//! uses a few pages of stack, less than an open TLS connection. SQLite, the system's resolver and
//! file I/O block in any case, and would still need threads.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    config::Account,
    domain::schedule::{Contact, MAX_PUSHBACKS, Next, NotTried, Place, Schedule, Start},
    error::{Error, Kind},
    event::{Event, Summary, Tally},
    fetch::{connect::described_route, env::RunEnv, fetch},
    ledger::LedgerFile,
    sys::lock,
    text::count,
};

/// The size of the stack of a thread that runs accounts.
const STACK: usize = 512 * 1024;

/// The limits of a round.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The number of accounts that are fetched at the same time.
    pub jobs: usize,
    /// The time over which the starts of the accounts are distributed.
    pub spread: Duration,
}

/// The results of a round.
#[derive(Debug, Default)]
pub struct Round {
    /// The indices of the accounts that were run, in ascending order, with their summaries. After a
    /// signal, some accounts are missing.
    pub summaries: Vec<(usize, Summary)>,
    /// The number of accounts that were not tried because their servers pushed back.
    pub not_tried: usize,
    /// The number of threads that could not be started.
    pub missing_threads: usize,
}

/// The state that the threads of a round share.
struct Shared {
    schedule: Schedule,
    round: Round,
}

/// Fetches all `accounts`.
pub fn fetch_all(accounts: &[Account], limits: Limits, env: &RunEnv) -> Round {
    let places = places(accounts, env);
    let schedule = Schedule::new(places, limits.spread);
    let began = Instant::now();
    let run = |start: &Start| {
        let due = began + start.not_before;
        let wait = due.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            let _ = env.stop.sleep(wait);
        }
        if env.stop.signal().is_some() {
            return None;
        }
        Some(run_guarded(&accounts[start.account], env))
    };
    let report = |not_tried: &NotTried| report_not_tried(accounts, not_tried, env);
    run_all(schedule, limits.jobs, &run, &report)
}

/// Runs a schedule in up to `jobs` threads. `run` returns `None` if no further account should
/// be run; `report` reports accounts that are not tried.
fn run_all(
    schedule: Schedule,
    jobs: usize,
    run: &(impl Fn(&Start) -> Option<(Summary, Contact)> + Sync),
    report: &(impl Fn(&NotTried) + Sync),
) -> Round {
    let threads = jobs.min(schedule.width());
    let shared = Mutex::new(Shared {
        schedule,
        round: Round::default(),
    });
    let changed = Condvar::new();
    let work = || work(&shared, &changed, run, report);
    let missing_threads = thread::scope(|scope| {
        let mut missing = 0;
        for _ in 1..threads {
            let builder = thread::Builder::new().stack_size(STACK);
            if builder.spawn_scoped(scope, work).is_err() {
                missing += 1;
            }
        }
        work();
        missing
    });
    let shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut round = shared.round;
    round.summaries.sort_by_key(|(index, _)| *index);
    round.missing_threads = missing_threads;
    round
}

/// Runs accounts until all have been started.
fn work(
    shared: &Mutex<Shared>,
    changed: &Condvar,
    run: &impl Fn(&Start) -> Option<(Summary, Contact)>,
    report: &impl Fn(&NotTried),
) {
    let mut state = lock_state(shared);
    loop {
        let start = match state.schedule.step() {
            Next::Start(start) => start,
            Next::Wait => {
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            Next::Done => break,
        };
        wake(&state, changed);
        drop(state);
        let ended = run(&start);
        state = lock_state(shared);
        let Some((summary, contact)) = ended else {
            state.schedule.stop();
            break;
        };
        state.round.summaries.push((start.account, summary));
        if let Some(not_tried) = state.schedule.finish(&start, contact) {
            state.round.not_tried += not_tried.accounts.len();
            drop(state);
            report(&not_tried);
            state = lock_state(shared);
        }
    }
    wake(&state, changed);
}

/// Wakes the threads that have something to do.
fn wake(state: &Shared, changed: &Condvar) {
    if state.schedule.is_done() {
        changed.notify_all();
    } else if state.schedule.has_ready() {
        changed.notify_one();
    }
}

/// A poisoned lock is safe to use: the state is complete between two calls.
fn lock_state(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs an account. A panic does not stop the other accounts.
fn run_guarded(account: &Account, env: &RunEnv) -> (Summary, Contact) {
    // the run's values are dropped, and its ledger is as after a power failure
    catch_unwind(AssertUnwindSafe(|| fetch(account, env))).unwrap_or_else(|_| {
        let error = Error::new(Kind::Bug, "the run of this account panicked")
            .with_hint("report this bug, with the output of `pouch fetch -vv`");
        let tell = true;
        let event = Event::Problem {
            error: &error,
            tell,
        };
        env.report.event(&account.name, &event);
        let summary = Summary {
            exit: Kind::Bug.exit(),
            tally: Tally::default(),
            deleted: Vec::new(),
            quarantined: 0,
            destinations: Vec::new(),
            failed: true,
        };
        env.report.event(&account.name, &Event::Done(&summary));
        (summary, Contact::Unknown)
    })
}

/// Reports the accounts that are not tried in this round.
fn report_not_tried(accounts: &[Account], not_tried: &NotTried, env: &RunEnv) {
    let NotTried {
        host,
        accounts: indices,
    } = not_tried;
    let names: Vec<_> = indices
        .iter()
        .map(|index| accounts[*index].name.as_str())
        .collect();
    let number = count(names.len() as u64, "account");
    let what = format!("{number} on {host} not tried");
    let error = Error::new(Kind::ServerBusy, what)
        .with_fact(format!("{MAX_PUSHBACKS} attempts in a row failed"))
        .with_fact("the next run begins with these accounts");
    let event = Event::NotTried {
        host,
        error: &error,
        accounts: &names,
    };
    env.report
        .event(names.first().copied().unwrap_or_default(), &event);
}

/// Returns the indices and the places of the accounts. On each host, the account comes first that
/// was not tried for the longest time.
fn places(accounts: &[Account], env: &RunEnv) -> Vec<(usize, Place)> {
    let mut order: Vec<_> = accounts.iter().enumerate().collect();
    if accounts.len() > 1 {
        order.sort_by_cached_key(|(_, account)| {
            let file = LedgerFile::new(&env.state_dir, &account.identity());
            lock::last_taken(&env.state_dir, file.key())
        });
    }
    let place = |(index, account): (usize, &Account)| {
        let host = account.identity().address.host;
        let route = described_route(account).unwrap_or_default();
        let place = Place {
            server: format!("{host}:{} {route}", account.port),
            host,
            jobs_per_host: account.jobs_per_host,
        };
        (index, place)
    };
    order.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::Exit;

    fn schedule(accounts: usize, hosts: usize, jobs_per_host: usize) -> Schedule {
        let places = (0..accounts).map(|account| {
            let host = format!("host{}", account % hosts);
            let place = Place {
                server: host.clone(),
                host,
                jobs_per_host,
            };
            (account, place)
        });
        Schedule::new(places, Duration::ZERO)
    }

    fn summary() -> Summary {
        Summary {
            exit: Exit::OK,
            tally: Tally::default(),
            deleted: Vec::new(),
            quarantined: 0,
            destinations: Vec::new(),
            failed: false,
        }
    }

    #[test]
    fn each_account_is_run_once_within_the_limits() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let run = |_: &Start| {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            thread::yield_now();
            running.fetch_sub(1, Ordering::SeqCst);
            Some((summary(), Contact::Served))
        };
        let round = run_all(schedule(3_000, 7, 3), 16, &run, &|_| {});
        let indices: Vec<_> = round.summaries.iter().map(|(index, _)| *index).collect();
        assert_eq!(indices, (0..3_000).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= 16);
    }

    #[test]
    fn refused_accounts_are_counted_as_not_tried() {
        let run = |_: &Start| Some((summary(), Contact::PushedBack));
        let round = run_all(schedule(100, 2, 1), 4, &run, &|_| {});
        assert_eq!((round.summaries.len(), round.not_tried), (10, 90));
    }

    #[test]
    fn all_threads_end_after_a_signal() {
        let run = |start: &Start| (start.account < 5).then(|| (summary(), Contact::Served));
        let round = run_all(schedule(1_000, 1_000, 1), 100, &run, &|_| {});
        assert!(round.summaries.len() <= 5);
    }
}
