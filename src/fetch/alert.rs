//! The `alert` command, which is run once when an account starts to need attention, and once when
//! it has recovered.
//!
//! The condition is that of `pouch status --problems`: a problem that is reported, hence a
//! transient one only after a day, or quarantined messages. The ledger records which change the
//! command was run for, so that it runs once although each run is a process of its own.
//!
//! It is recorded after the command has succeeded. If the command fails, or the machine stops
//! before the record is written, the next run runs it again: an alert may come twice, but is not
//! lost. If the account has recovered by then, the next run has no change to report.

use super::{env::RunEnv, hooks};
use crate::{
    config::Account,
    error::{Kind, Result},
    event::Event,
    ledger::{Ledger, Reader},
    text::count,
};

/// Runs the account's `alert` command if the account has one and its state has changed. A failure
/// is reported at once and then daily; the exit code of the run does not change.
pub(super) fn update(account: &Account, env: &RunEnv, ledger: &mut Ledger) {
    // a run that a signal ends has no result
    if env.stop.signal().is_some() {
        return;
    }
    let Some(argv) = &account.alert else {
        return;
    };
    let Err(error) = try_update(account, env, argv, ledger) else {
        return;
    };
    let is_due = ledger.should_report_failed_alert(env.clock.now());
    if !matches!(error.kind(), Kind::Stopped(_)) && is_due.unwrap_or(true) {
        env.report.event(&account.name, &Event::Notice(&error));
    }
}

fn try_update(account: &Account, env: &RunEnv, argv: &[String], ledger: &mut Ledger) -> Result<()> {
    let was_alerted = ledger.reader().is_alerted()?;
    let reason = reason(ledger.reader())?;
    if reason.is_some() == was_alerted {
        return Ok(());
    }
    let is_problem = reason.is_some();
    let state = if is_problem { "problem" } else { "recovered" };
    let message = reason.unwrap_or_else(|| "mail is fetched again".into());
    let environment = [("POUCH_STATE", state.into()), ("POUCH_MESSAGE", message)];
    hooks::alert(account, env, argv, &environment)?;
    ledger.set_alerted(is_problem)
}

/// Returns the reason why the account needs attention, or `None` if it does not.
fn reason(ledger: &Reader) -> Result<Option<String>> {
    if let Some(problem) = ledger.problem()?.filter(|problem| problem.reported) {
        return Ok(Some(problem.what));
    }
    let quarantined = ledger.in_quarantine()?;
    let what = || format!("{} in quarantine", count(quarantined, "message"));
    Ok((quarantined > 0).then(what))
}
