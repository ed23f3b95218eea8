//! What will be deleted from the server.

use crate::{
    config::Account,
    domain::{
        plan::{Action, Deletions, Mailbox, forecast},
        reconcile::reconcile,
        time::Timestamp,
    },
    error::Result,
    ledger::Reader,
    report::{
        activity::{
            data::{DayVolume, ReasonCount, Retention, Volume},
            forecast::FORECAST_DAYS,
        },
        days::DayRange,
        words,
    },
};

/// The keys that decide what is deleted, in the order in which they are displayed.
const KEYS: [&str; 4] = ["keep", "keep-newest", "keep-total", "sync-deletions"];

/// Returns the forecast from the last listing, or `None` if nothing was listed yet.
///
/// # Errors
/// The ledger cannot be read.
pub(super) fn retention(
    ledger: &Reader,
    account: &Account,
    now: Timestamp,
    listed: Option<Timestamp>,
) -> Result<Option<Retention>> {
    let mailbox = mailbox(ledger, now)?;
    if mailbox.entries.is_empty() && listed.is_none() {
        return Ok(None);
    }
    let mut on_server = Volume::default();
    for entry in &mailbox.entries {
        on_server.add(Volume {
            messages: 1,
            bytes: entry.octets,
        });
    }
    let range = DayRange::from(now, FORECAST_DAYS);
    let forecast = forecast(&account.policy, mailbox, now, &range.ends());
    let later: Vec<_> = forecast.later.into_iter().map(volume).collect();
    let reason = |(reason, messages)| ReasonCount {
        reason: words::reason(&Action::Delete(reason)),
        messages,
    };
    Ok(Some(Retention {
        policy: policy(account),
        listed: listed.map(|at| at.0),
        on_server,
        next_run: volume(forecast.next_run),
        days: DayVolume::list(&later, &range),
        left: volume(forecast.left),
        reasons: forecast.reasons.into_iter().map(reason).collect(),
        sync_deletions: account.policy.sync_deletions,
    }))
}

/// Returns the mailbox as the next run finds it if it is unchanged since the last listing.
fn mailbox(ledger: &Reader, now: Timestamp) -> Result<Mailbox> {
    let mut known = ledger.known_messages()?;
    // a run dates them anew when it begins
    known.date_anew(&ledger.misdated(now)?, now);
    let listed = known.last_listing();
    let mut mailbox = reconcile(&listed, &known).mailbox;
    mailbox.deletion_suspects = ledger.deletion_suspects()?;
    for entry in &mut mailbox.entries {
        // the run compares their headers before it deletes them
        entry.other_address = false;
    }
    Ok(mailbox)
}

fn volume(deletions: Deletions) -> Volume {
    Volume {
        messages: deletions.messages,
        bytes: deletions.octets,
    }
}

/// Returns the settings that decide what is deleted, like `keep = 30d, keep-newest = 500`.
fn policy(account: &Account) -> String {
    let settings = KEYS.iter().filter_map(|key| {
        let mut settings = account.settings.iter();
        let setting = settings.find(|setting| setting.key == *key)?;
        let value = setting.value.trim_matches('"');
        (!["unset", "false"].contains(&value) || *key == "keep").then(|| format!("{key} = {value}"))
    });
    settings.collect::<Vec<_>>().join(", ")
}
