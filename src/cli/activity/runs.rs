//! The runs of an account in the period.

use crate::{
    domain::time::Timestamp,
    error::{Exit, Result},
    ledger::{MAX_RUNS, PastRun, Reader},
    report::{
        activity::data::{DayFailures, ExitCount, Runs},
        days::DayRange,
    },
};

/// The outcome of a run.
enum Outcome {
    Succeeded,
    Transient,
    Failed,
    Interrupted,
}

impl Outcome {
    fn of(run: &PastRun) -> Self {
        match run.exit.map(Exit) {
            Some(Exit::OK | Exit::NONE) => Self::Succeeded,
            Some(Exit(75)) => Self::Transient,
            None | Some(Exit(128..)) => Self::Interrupted,
            Some(_) => Self::Failed,
        }
    }
}

/// Returns the runs in the period, and when the mailbox was listed last. The one that began at
/// `running` has not ended.
///
/// # Errors
/// The ledger cannot be read.
pub(super) fn runs(
    ledger: &Reader,
    period: &DayRange,
    running: Option<Timestamp>,
) -> Result<(Runs, Option<Timestamp>)> {
    let past = ledger.past_runs(MAX_RUNS)?;
    let is_full = u32::try_from(past.len()).is_ok_and(|number| number >= MAX_RUNS);
    let listed = past
        .iter()
        .find(|run| has_listed(run))
        .map(|run| run.started);
    let mut runs = Runs {
        since: past.last().filter(|_| is_full).map(|run| run.started.0),
        ..Runs::default()
    };
    let ended = past
        .iter()
        .filter(|run| run.ended.is_some() || Some(run.started) != running);
    for run in ended {
        if let Some(day) = period.index(run.started) {
            add(&mut runs, run, &period.dates()[day].to_string());
        }
    }
    Ok((runs, listed))
}

/// Returns whether a run listed the whole mailbox. One that quarantined a message did.
fn has_listed(run: &PastRun) -> bool {
    run.exit.is_some_and(|exit| [0, 65].contains(&exit)) || run.tally.delivered > 0
}

fn add(runs: &mut Runs, run: &PastRun, day: &str) {
    runs.total += 1;
    let outcome = Outcome::of(run);
    if let Outcome::Succeeded = outcome {
        return;
    }
    // the newest run is the first
    if runs.days.last().is_none_or(|last| last.day != day) {
        runs.days.push(DayFailures {
            day: day.to_owned(),
            ..DayFailures::default()
        });
    }
    if let Some(failures) = runs.days.last_mut() {
        match outcome {
            Outcome::Succeeded => {}
            Outcome::Transient => failures.transient += 1,
            Outcome::Failed => failures.failed += 1,
            Outcome::Interrupted => failures.interrupted += 1,
        }
    }
    let exit = run
        .exit
        .filter(|_| !matches!(outcome, Outcome::Interrupted));
    match runs.exits.iter_mut().find(|known| known.exit == exit) {
        Some(known) => {
            known.runs += 1;
            known.last = known.last.max(run.started.0);
        }
        None => runs.exits.push(ExitCount {
            exit,
            runs: 1,
            last: run.started.0,
        }),
    }
}
