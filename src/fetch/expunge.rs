//! Deleting from the server what may be deleted, at the end of a session.

use super::haul::Haul;
use crate::{
    error::{Exit, Result},
    event::Event,
    net::Stream,
    policy::Why,
    pop3::session::Transaction,
    types::{MsgNum, RowId},
};

impl Haul<'_> {
    /// Deletes those of `candidates` that the ledger gives a proof for, and ends the session.
    /// Until the server has confirmed that, nothing counts as deleted: the next run does it again.
    pub(super) fn expunge(
        &mut self,
        mut session: Transaction<Stream>,
        candidates: &[(MsgNum, RowId, Why)],
    ) -> Result<()> {
        let proofs = self.ledger().prove(candidates.iter().map(|(num, row, _)| (*num, *row)))?;
        if proofs.is_empty() {
            // whatever becomes of QUIT, nothing hangs on it: Dovecot's TLS proxy sometimes closes
            // before its answer is out
            let _ = session.quit();
            return Ok(());
        }
        let nums: Vec<_> = proofs.iter().map(crate::ledger::Proof::num).collect();
        let answers = session.delete(&nums)?;
        if answers.iter().any(std::result::Result::is_err) {
            self.note_exit(Exit::LATER);
        }
        let marked: Vec<_> =
            proofs.into_iter().zip(answers).filter_map(|(proof, answer)| answer.ok().map(|()| proof)).collect();
        session.quit()?;
        self.ledger().settle(&marked)?;
        let reason = |num| candidates.iter().find(|(candidate, ..)| *candidate == num).map(|(.., why)| *why);
        let mut counts: Vec<(Why, u64)> = Vec::new();
        for why in marked.iter().filter_map(|proof| reason(proof.num())) {
            match counts.iter_mut().find(|(known, _)| *known == why) {
                Some((_, count)) => *count += 1,
                None => counts.push((why, 1)),
            }
        }
        for (why, count) in counts {
            self.note_deleted(why, count);
            self.tell(&Event::Deleted { count, why });
        }
        Ok(())
    }
}
