//! The activity of an account.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{retention, runs, senders};
use crate::{
    cli::{state::Status, status::sentence},
    config::Account,
    domain::{ids::RowId, time::Timestamp},
    error::Result,
    fetch::env::RunEnv,
    ledger::{Reader, Row, RowFilter, State, mailboxes::Catalog},
    report::{
        activity::data::{Activity, DayVolume, QuarantinedMessage, Volume},
        days::DayRange,
    },
};

/// The largest number of quarantined messages that are described.
const MOST_QUARANTINED: usize = 100;

/// Reads the activity of an account in the period. At most `headers` messages are read.
///
/// # Errors
/// The ledger cannot be read, or a signal arrived.
pub(super) fn activity(
    account: &Account,
    env: &RunEnv,
    catalog: &Catalog<'_>,
    (period, headers): (&DayRange, usize),
) -> Result<Activity> {
    let identity = account.identity();
    let status = Status::full(account, env, catalog.open_offline(&identity)?)?;
    let mut activity = Activity {
        health: status.health(),
        condition: sentence(&account.name, &status),
        ..Activity::default()
    };
    let Some((_, ledger)) = catalog.open_offline(&identity)? else {
        return Ok(activity);
    };
    activity.days = volume(&ledger, period)?;
    let (runs, listed) = runs::runs(&ledger, period, status.running_since())?;
    activity.runs = runs;
    (activity.quarantined, activity.quarantine) = quarantine(&ledger)?;
    activity.retention = retention::retention(&ledger, account, env.clock.now(), listed)?;
    activity.senders = senders::senders(&ledger, account, env, (period, headers))?;
    Ok(activity)
}

fn volume(ledger: &Reader, period: &DayRange) -> Result<Vec<DayVolume>> {
    let mut days = vec![Volume::default(); period.len()];
    for volume in ledger.volume_since(period.begin())? {
        if let Some(day) = period.index(volume.at) {
            days[day].add(Volume {
                messages: volume.messages,
                bytes: volume.octets,
            });
        }
    }
    Ok(DayVolume::list(&days, period))
}

/// Returns the number of quarantined messages, and those that are tried next.
fn quarantine(ledger: &Reader) -> Result<(u64, Vec<QuarantinedMessage>)> {
    let mut total = 0;
    // the latest is removed first
    let mut next: BinaryHeap<(Option<Timestamp>, Reverse<RowId>)> = BinaryHeap::new();
    ledger.each_row(RowFilter::In(State::Quarantined), |row| {
        if row.missing.is_none() {
            total += 1;
            next.push((row.next_try, Reverse(row.id)));
            if next.len() > MOST_QUARANTINED {
                next.pop();
            }
        }
        Ok(())
    })?;
    let rows = next.into_sorted_vec().into_iter();
    let messages = rows.map(|(_, Reverse(row))| ledger.find(row).map(described));
    Ok((total, messages.collect::<Result<_>>()?))
}

fn described(row: Row) -> QuarantinedMessage {
    QuarantinedMessage {
        message: row.id.0,
        size: row.octets,
        from: row.sender,
        subject: row.subject,
        reason: row.reason,
        attempts: row.attempts,
        retry_after: row.next_try.map(|at| at.0),
    }
}
