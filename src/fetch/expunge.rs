//! Deleting messages from the server at the end of a session.
//!
//! # Why deletions have suspects
//!
//! A server removes the marked messages at QUIT (RFC 1939 §6). If it drops the connection at one
//! DELE, or answers it with nonsense, it removes none, and each run would begin with the same
//! commands and end at the same one. So the message to which that is due becomes a suspect:
//! the next session of the run deletes the others, without pipelining, and another one deletes the
//! suspect alone. If that fails as well, its deletion is postponed for 1, 2, 4 … 32 days.

use std::collections::HashMap;

use super::{outcome::PostponedDeletion, run::AccountRun};
use crate::{
    domain::{
        ids::{MsgNum, RowId},
        plan::{Action, AfterFetch, DeleteReason, Plan},
        reconcile::Reconciled,
    },
    error::{Error, Exit, Kind, Result, Verdict},
    event::Event,
    ledger::Proof,
    net::Stream,
    pop3::{
        reply::{Refusal, quoted},
        transaction::{DeleteResponses, Transaction},
    },
    text::{count, day},
};

/// The most postponed deletions that are reported one by one.
const REPORTED_SINGLY: usize = 8;

/// A message that may be due for deletion.
pub(super) struct Candidate {
    num: MsgNum,
    row: RowId,
    reason: DeleteReason,
    /// Whether the server failed to delete it before.
    suspect: bool,
}

impl Candidate {
    /// Returns its row.
    pub(super) fn row(&self) -> RowId {
        self.row
    }
}

/// The result of the deletions in a session.
pub(super) enum Expunged {
    /// Nothing is left to delete.
    Complete,
    /// Suspects are left; each needs a session of its own.
    SuspectsLeft,
    /// The session was lost before QUIT, so nothing was deleted.
    Lost(Error),
}

/// Returns the messages that the plan deletes once they are safe.
pub(super) fn candidates(plan: &Plan, reconciled: &Reconciled) -> Vec<Candidate> {
    let candidate = |num, row: Option<RowId>, reason| {
        let row = row?;
        let suspect = reconciled.mailbox.deletion_suspects.contains_key(&row);
        Some(Candidate {
            num,
            row,
            reason,
            suspect,
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

impl AccountRun<'_> {
    /// Deletes the candidates for which the ledger has a proof, and ends the session. Suspects are
    /// deleted only if there are no others, and one at a time.
    ///
    /// A message counts as deleted once the server has confirmed QUIT. Without a confirmation, the
    /// next run deletes it again.
    ///
    /// `await_quit` is whether to wait for the response to QUIT if nothing is deleted.
    ///
    /// # Errors
    /// The server did not confirm the deletions, or the ledger cannot be read or written.
    pub(super) fn expunge(
        &mut self,
        mut session: Transaction<Stream>,
        candidates: &[Candidate],
        await_quit: bool,
    ) -> Result<Expunged> {
        let candidate = candidates
            .iter()
            .map(|candidate| (candidate.num, candidate.row));
        let proofs = self.ledger.reader().prove_deletable(candidate)?;
        let by_row: HashMap<_, _> = candidates
            .iter()
            .map(|candidate| (candidate.row, candidate))
            .collect();
        let (mut suspects, mut batch): (Vec<_>, Vec<_>) = proofs
            .into_iter()
            .partition(|proof| by_row[&proof.row()].suspect);
        let alone = batch.is_empty();
        if alone {
            batch.extend(suspects.pop());
        }
        if batch.is_empty() {
            end_without_deletions(session, await_quit);
            return Ok(Expunged::Complete);
        }
        let nums: Vec<_> = batch.iter().map(Proof::num).collect();
        let host = session.peer().to_owned();
        let DeleteResponses { responses, lost } = session.delete(&nums);
        if let Some(error) = lost {
            let rows: Vec<_> = batch.iter().map(Proof::row).collect();
            let suspect = self.deletion_suspect(&rows, &responses);
            let suspects_left = alone.then_some(!suspects.is_empty());
            return self.deletion_lost(suspect, suspects_left, error);
        }
        let (mut marked, mut refused) = (Vec::new(), Vec::new());
        for (proof, response) in batch.into_iter().zip(responses) {
            match response {
                Ok(()) => marked.push(proof),
                Err(refusal) => refused.push((proof.row(), refusal)),
            }
        }
        session.quit()?;
        self.ledger.record_deleted(&marked)?;
        self.report_deleted(marked.iter().map(|proof| by_row[&proof.row()].reason));
        self.deletions_refused(&host, &refused, alone || !marked.is_empty())?;
        Ok(if suspects.is_empty() {
            Expunged::Complete
        } else {
            Expunged::SuspectsLeft
        })
    }

    /// Counts and reports deletions by their reasons.
    fn report_deleted(&mut self, reasons: impl Iterator<Item = DeleteReason>) {
        let mut counts: Vec<(DeleteReason, u64)> = Vec::new();
        for reason in reasons {
            match counts.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, count)) => *count += 1,
                None => counts.push((reason, 1)),
            }
        }
        for (why, count) in counts {
            self.outcome.delete(why, count);
            self.report(&Event::Deleted { count, why });
        }
    }

    /// Returns the message to which the loss of a session is due that had these `responses` to the
    /// deletions of `rows`: the one that the server refused before it disconnected, or else the one
    /// whose response is missing. If two sessions are lost after the same message was accepted, it
    /// is that one. Returns `None` if another session has to show it.
    fn deletion_suspect(
        &mut self,
        rows: &[RowId],
        responses: &[std::result::Result<(), Refusal>],
    ) -> Option<RowId> {
        let answered = responses.len().checked_sub(1).map(|last| rows[last]);
        if rows.len() == 1 || responses.last().is_some_and(std::result::Result::is_err) {
            return answered.or(rows.first().copied());
        }
        let before = std::mem::replace(&mut self.last_answered_deletion, answered);
        if answered.is_some() && answered == before {
            return answered;
        }
        rows.get(responses.len()).copied()
    }

    /// Handles the loss of a session that is due to the deletion of the message `suspect`. If it
    /// was deleted alone, `suspects_left` is whether there are more like it; `None` if it was not.
    fn deletion_lost(
        &mut self,
        suspect: Option<RowId>,
        suspects_left: Option<bool>,
        error: Error,
    ) -> Result<Expunged> {
        if error.kind().verdict() != Verdict::Reconnect {
            return Err(error);
        }
        match (suspect, suspects_left) {
            (Some(row), Some(suspects_left)) => {
                self.postpone_deletion(row, error.what().to_owned())?;
                // if nothing can be deleted, it is the server that fails, not these messages
                if !suspects_left || self.outcome.tally.deleted == 0 {
                    return Ok(Expunged::Complete);
                }
            }
            (Some(row), None) => self.ledger.suspect_deletion(row, self.env.clock.now())?,
            (None, _) => {}
        }
        Ok(Expunged::Lost(error))
    }

    /// Handles refused deletions. `deletes_others` is whether the server deletes other messages; if
    /// not, it may refuse all of them, and none is postponed. Nor is one that was refused because
    /// of a transient problem.
    fn deletions_refused(
        &mut self,
        host: &str,
        refused: &[(RowId, Refusal)],
        deletes_others: bool,
    ) -> Result<()> {
        let mut transient = Vec::new();
        for (row, refusal) in refused {
            if deletes_others && !refusal.sounds_transient() {
                self.postpone_deletion(*row, quoted(host, refusal))?;
            } else {
                transient.push(refusal);
            }
        }
        let Some(refusal) = transient.first() else {
            return Ok(());
        };
        let number = count(transient.len() as u64, "message");
        let error = Error::new(Kind::Busy, format!("{host} refused to delete {number}"))
            .with_fact(quoted(host, refusal))
            .with_fact("the next run will try again");
        self.outcome.raise_exit(Exit::LATER);
        self.outcome.warning.get_or_insert(error);
        Ok(())
    }

    /// Records that the deletion of a message failed for this reason, to be reported when the run
    /// ends.
    fn postpone_deletion(&mut self, row: RowId, reason: String) -> Result<()> {
        let next_try = self.ledger.postpone_deletion(row, self.env.clock.now())?;
        self.outcome.postponed_deletions.push(PostponedDeletion {
            row,
            reason,
            next_try,
        });
        Ok(())
    }

    /// Returns the report about the deletions that were postponed in this run, if any.
    ///
    /// It does not count as transient, since the next run, which leaves the messages alone, would
    /// clear a transient problem before it is reported.
    pub(super) fn postponed_deletions(&mut self) -> Result<Option<Error>> {
        let postponed = std::mem::take(&mut self.outcome.postponed_deletions);
        if postponed.is_empty() {
            return Ok(None);
        }
        self.outcome.raise_exit(Exit::LATER);
        let number = count(postponed.len() as u64, "message");
        let host = &self.account.host;
        let mut error = Error::new(
            Kind::Unavailable,
            format!("{host} failed to delete {number}"),
        );
        for PostponedDeletion {
            row,
            reason,
            next_try,
        } in postponed.iter().take(REPORTED_SINGLY)
        {
            let row = self.ledger.reader().find(*row)?;
            let (name, next_try) = (row.title(), day(*next_try));
            error = error.with_fact(format!("{name}: {reason}; next try {next_try}"));
        }
        let more = postponed.len().saturating_sub(REPORTED_SINGLY);
        if more > 0 {
            error = error.with_fact(format!("and {more} more"));
        }
        Ok(Some(error.with_hint(format!(
            "run `pouch plan -v {}` to see what is left on the server",
            self.account.name
        ))))
    }
}

/// Ends a session in which nothing is deleted. Waits for the response to QUIT if `await_quit`.
fn end_without_deletions(session: Transaction<Stream>, await_quit: bool) {
    if await_quit {
        // no deletion depends on the response, and Dovecot's TLS proxy sometimes closes the
        // connection without one
        let _ = session.quit();
    } else {
        session.leave();
    }
}
