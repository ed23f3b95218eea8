//! Deleting messages from the server at the end of a session.

use std::collections::HashMap;

use super::outcome::Outcome;
use crate::{
    domain::{
        ids::{MsgNum, RowId},
        plan::{Action, AfterFetch, DeleteReason, Plan},
        reconcile::Reconciled,
    },
    error::{Error, Exit, Kind, Result},
    ledger::{Ledger, Proof},
    net::Stream,
    pop3::{reply::quoted, transaction::Transaction},
};

/// A message that may be due for deletion.
pub(super) struct Candidate {
    num: MsgNum,
    row: RowId,
    reason: DeleteReason,
}

/// Returns the messages that the plan deletes once they are safe.
pub(super) fn candidates(plan: &Plan, reconciled: &Reconciled) -> Vec<Candidate> {
    let candidate = |num, row: Option<RowId>, reason| {
        Some(Candidate {
            num,
            row: row?,
            reason,
        })
    };
    plan.of(&reconciled.mailbox)
        .filter_map(|(entry, action)| match action {
            Action::Delete(reason) => candidate(entry.num, entry.row, reason),
            Action::Fetch(AfterFetch::Delete) => {
                candidate(entry.num, entry.row, DeleteReason::NotKept)
            }
            _ => None,
        })
        .collect()
}

/// Deletes the candidates for which the ledger has a proof, and ends the session. Returns the
/// number of deleted messages by reason.
///
/// A message counts as deleted once the server has confirmed QUIT. Without a confirmation, the next
/// run deletes it again.
///
/// `await_quit` is whether to wait for the response to QUIT if nothing is deleted.
///
/// # Errors
/// The server did not confirm the deletions or is out of sync, the connection is lost, or the
/// ledger cannot be read or written.
pub(super) fn expunge(
    mut session: Transaction<Stream>,
    candidates: &[Candidate],
    ledger: &mut Ledger,
    outcome: &mut Outcome,
    await_quit: bool,
) -> Result<Vec<(DeleteReason, u64)>> {
    let candidate = candidates
        .iter()
        .map(|candidate| (candidate.num, candidate.row));
    let proofs = ledger.reader().prove_deletable(candidate)?;
    if proofs.is_empty() {
        if await_quit {
            // no deletion depends on the response, and Dovecot's TLS proxy sometimes closes the
            // connection without one
            let _ = session.quit();
        } else {
            session.leave();
        }
        return Ok(Vec::new());
    }
    let nums: Vec<_> = proofs.iter().map(Proof::num).collect();
    let responses = session.delete(&nums)?;
    if let Some(Err(refusal)) = responses.iter().find(|response| response.is_err()) {
        let host = session.peer();
        let refused = Error::new(Kind::Busy, format!("{host} refused to delete a message"))
            .with_fact(quoted(host, refusal))
            .with_fact("the next run will try again");
        outcome.raise_exit(Exit::LATER);
        outcome.warning.get_or_insert(refused);
    }
    let marked: Vec<_> = proofs
        .into_iter()
        .zip(responses)
        .filter_map(|(proof, response)| response.ok().map(|()| proof))
        .collect();
    session.quit()?;
    ledger.record_deleted(&marked)?;
    let reasons: HashMap<_, _> = candidates
        .iter()
        .map(|candidate| (candidate.num, candidate.reason))
        .collect();
    let mut counts: Vec<(DeleteReason, u64)> = Vec::new();
    for reason in marked.iter().filter_map(|proof| reasons.get(&proof.num())) {
        match counts.iter_mut().find(|(known, _)| known == reason) {
            Some((_, count)) => *count += 1,
            None => counts.push((*reason, 1)),
        }
    }
    Ok(counts)
}
