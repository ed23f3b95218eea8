//! Commands that survey a mailbox without fetching: `pouch plan` and `pouch ledger catchup`.

use super::{
    basis::{Basis, Criteria},
    connect::connect,
    destinations,
    env::RunEnv,
    identify::{self, UnreadableHeaders},
    recover,
    survey::{Survey, SurveyMemory, decide, survey},
};
use crate::{
    config::Account,
    domain::{
        plan::{Mailbox, Plan, plan},
        reconcile::reconcile,
    },
    error::{Error, Result},
};

/// A plan that is not carried out.
#[derive(Debug)]
pub struct Preview {
    /// The plan.
    pub plan: Plan,
    /// The mailbox that the plan is for.
    pub mailbox: Mailbox,
    /// A problem that is reported with the plan.
    pub warning: Option<Error>,
}

/// Returns what [`fetch`](super::fetch) would do now.
///
/// Neither the ledger nor the mailbox can be changed: the ledger is opened read-only, and the
/// session ends without DELE. Running the code that writes on a copy of the ledger was rejected:
/// that nothing changes would depend on tests instead of on types.
///
/// # Errors
/// As for a real run.
pub fn preview(account: &Account, env: &RunEnv) -> Result<Preview> {
    let _lock = env.lock_at_once(account)?;
    let reader = env.reader(account)?;
    let router = destinations::open_existing(account, env)?;
    let maildirs = destinations::maildirs(account);
    let recovery = match &reader {
        Some(reader) if reader.was_interrupted()? => {
            recover::find_delivered(reader, &router, account)?
        }
        _ => recover::Recovery::default(),
    };
    let secret = env.secret(account)?;
    let mut session = connect(account, env, &secret, &mut |_| {})?;
    let now = env.clock.now();
    let basis = Basis {
        account,
        reader: reader.as_ref(),
        router: &router,
        maildirs: &maildirs,
        recovered: &recovery.delivered,
        accept_new_uids: env.accept_new_uids,
        now,
    };
    let mut memory = SurveyMemory::default();
    let Survey {
        listing,
        mut reconciled,
        findings,
        warning,
    } = survey(&mut session, &basis, &mut memory.unreadable)?;
    let moved = findings.recognized.moved.len();
    let warning = warning.or((moved > 0).then(|| identify::moved_notice(moved)));
    let criteria = Criteria {
        rules: &account.routing.rules,
        policy: account.policy,
        now,
    };
    let decided = decide(
        &mut session,
        &criteria,
        &listing,
        &mut reconciled,
        &mut memory.rules,
    );
    session.leave();
    let (plan, warning) = match decided {
        Ok(plan) => (plan, warning),
        Err(error) => {
            let error = error.with_fact("the rules were not evaluated for the remaining messages");
            (plan(&account.policy, &reconciled.mailbox, now), Some(error))
        }
    };
    Ok(Preview {
        plan,
        mailbox: reconciled.mailbox,
        warning,
    })
}

/// Marks every message on the server that was not delivered as skipped. Returns their number. The
/// fingerprints of their headers are recorded if the server supports TOP, so that the messages are
/// recognised if their UIDs change.
///
/// # Errors
/// The mailbox cannot be listed, the connection is lost, or the ledger cannot be written.
pub fn catch_up(account: &Account, env: &RunEnv) -> Result<u64> {
    let _lock = env.lock_at_once(account)?;
    let mut ledger = env.ledger(account)?;
    let secret = env.secret(account)?;
    let mut session = connect(account, env, &secret, &mut |_| {})?;
    let mut unreadable = UnreadableHeaders::default();
    let known = || ledger.reader().known_messages();
    let (listing, mut known) = identify::list(&mut session, known, &mut unreadable)?;
    let messages = &listing.messages;
    let mut reconciled = reconcile(messages, &known);
    let unknown = reconciled.unknown().map(|index| &messages[index]);
    if ledger.reader().recall_gone(&mut known, unknown)? {
        reconciled = reconcile(messages, &known);
    }
    let (changed, skipped) = ledger.catch_up(reconciled, messages, env.clock.now())?;
    let listed: Vec<_> = skipped
        .iter()
        .map(|(num, octets, _)| (*num, *octets))
        .collect();
    let found = identify::fingerprints(&mut session, &listed, &mut unreadable)?;
    let fingerprints: Vec<_> = skipped
        .iter()
        .zip(found)
        .filter_map(|((.., row), found)| Some((*row, found?)))
        .collect();
    ledger.record_fingerprints(&fingerprints)?;
    session.leave();
    Ok(changed)
}
