//! Deleting from the server what may be deleted, at the end of a session.

use std::collections::HashMap;

use super::{AccountRun, shows_a_part};
use crate::{
    domain::{
        ids::{MsgNum, RowId},
        plan::DeleteReason,
    },
    error::{Error, Exit, Kind, Result},
    event::Event,
    ledger::Proof,
    net::Stream,
    pop3::{reply::quoted, transaction::Transaction},
};

impl AccountRun<'_> {
    /// Deletes those of `candidates` that the ledger gives a proof for, and ends the session.
    /// Until the server has confirmed that, nothing counts as deleted: the next run does it again.
    pub(super) fn expunge(
        &mut self,
        mut session: Transaction<Stream>,
        candidates: &[(MsgNum, RowId, DeleteReason)],
    ) -> Result<()> {
        let proofs = self
            .ledger
            .prove(candidates.iter().map(|(num, row, _)| (*num, *row)))?;
        if proofs.is_empty() {
            // Gmail shows the next messages once it has taken leave
            let more_to_come = !self.received.is_empty() && shows_a_part(&self.account.host);
            let proven = self.received.in_step || self.received.unproven().next().is_none();
            if proven && !more_to_come {
                session.leave();
                return Ok(());
            }
            return match session.quit() {
                Err(error) if error.kind() == Kind::Desynchronized => Err(error),
                // no deletion hangs on it: Dovecot's TLS proxy sometimes closes before its answer
                // is out
                Err(error) => {
                    self.doubt(&error);
                    Ok(())
                }
                Ok(()) => Ok(()),
            };
        }
        let nums: Vec<_> = proofs.iter().map(Proof::num).collect();
        let answers = session.delete(&nums)?;
        if let Some(Err(refusal)) = answers.iter().find(|answer| answer.is_err()) {
            let host = self.account.host.as_str();
            let refused = Error::new(Kind::Busy, format!("{host} does not delete what it should"))
                .with_fact(quoted(host, refusal))
                .with_fact("the next run asks again");
            self.exit = self.exit.worst(Exit::LATER);
            self.warning.get_or_insert(refused);
        }
        let marked: Vec<_> = proofs
            .into_iter()
            .zip(answers)
            .filter_map(|(proof, answer)| answer.ok().map(|()| proof))
            .collect();
        session.quit()?;
        self.ledger.settle(&marked)?;
        let mut counts: Vec<(DeleteReason, u64)> = Vec::new();
        let whys: HashMap<_, _> = candidates
            .iter()
            .map(|(num, _, why)| (*num, *why))
            .collect();
        for why in marked.iter().filter_map(|proof| whys.get(&proof.num())) {
            add(&mut counts, *why, 1);
        }
        for (why, count) in counts {
            self.tally.deleted += count;
            add(&mut self.deletions, why, count);
            self.tell(&Event::Deleted { count, why });
        }
        Ok(())
    }
}

fn add(counts: &mut Vec<(DeleteReason, u64)>, why: DeleteReason, more: u64) {
    match counts.iter_mut().find(|(known, _)| *known == why) {
        Some((_, count)) => *count += more,
        None => counts.push((why, more)),
    }
}
