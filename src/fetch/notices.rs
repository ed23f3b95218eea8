//! Notices: mails about quarantined messages.
//!
//! Cron output is easily lost, and a quarantined message would be missing without a trace; a mail
//! in the inbox is seen. A notice is delivered exactly once by the same means as a message: its
//! file name is a function of the row, so that a notice which an interrupted run delivered is
//! found.

use std::{io::Write, slice};

use super::{request::Quarantined, run::AccountRun};
use crate::{
    delivery::{DeliveryMode, Envelope},
    domain::{
        file_name::NoticeFileName,
        ids::{MsgNum, RowId},
        message::summarize,
        notice::{self, Notice},
        reconcile::Reconciled,
        time::Timestamp,
    },
    error::{Error, Exit, Kind, Result, Verdict},
    net::Stream,
    pop3::transaction::Transaction,
};

impl AccountRun<'_> {
    /// Adds listed messages whose notice was not delivered, because the run that quarantined them
    /// was interrupted.
    pub(super) fn add_owed_notices(&mut self, reconciled: &Reconciled) -> Result<()> {
        if !self.account.notice {
            return Ok(());
        }
        let now = self.env.clock.now();
        for row in self.ledger.reader().unreported_quarantines()? {
            let is_listed = number_of(reconciled, row.id).is_some();
            if is_listed && self.quarantined.iter().all(|known| known.row != row.id) {
                self.quarantined.push(Quarantined::from_row(row, now));
            }
        }
        Ok(())
    }

    /// Delivers a notice for each quarantined message. In a session, the header of a message is
    /// requested if it was not received.
    pub(super) fn send_notices(
        &mut self,
        mut session: Option<(&mut Transaction<Stream>, &Reconciled)>,
    ) -> Result<()> {
        while let Some(mut quarantined) = self.quarantined.pop() {
            let mut lost = None;
            if !quarantined.has_header()
                && let Some((session, reconciled)) = &mut session
                && let Some(num) = number_of(reconciled, quarantined.row)
            {
                match session.top(num) {
                    Ok(Ok(head)) => {
                        quarantined.summary = summarize(head.as_bytes());
                        self.ledger
                            .describe(quarantined.row, &quarantined.summary)?;
                    }
                    Ok(Err(_)) => {}
                    // the header may break the connection as well: the notice is written without it
                    Err(error) => lost = Some(error),
                }
            }
            self.deliver_notice(&quarantined)?;
            if let Some(error) = lost {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Delivers a notice, and records the message as reported once the notice is durable.
    fn deliver_notice(&mut self, quarantined: &Quarantined) -> Result<()> {
        let row = quarantined.row;
        let now = self.env.clock.now();
        // until that is recorded, the next run has to search for the notice
        self.ledger.mark_unsettled(&self.run)?;
        self.unsettled = true;
        let destination = slice::from_ref(&self.account.routing.default);
        let by_program = self.committer.mode(destination) == DeliveryMode::OneAtATime;
        if by_program && self.ledger.begin_notice_handover(row)? {
            self.report_redelivery("the notice about a quarantined message");
        }
        match self.write_notice(quarantined, now) {
            // A program that rejects the notice usually rejected the message, too, and that was
            // reported. Trying again in each run would be useless.
            Err(error) if error.kind() != Kind::Rejected => {
                if by_program && error.kind().verdict() != Verdict::StopAll {
                    self.ledger.abort_notice_handover(row)?;
                }
                if error.kind() != Kind::Deferred {
                    return Err(error);
                }
                // the next run delivers it
                self.outcome.raise_exit(Exit::LATER);
                self.outcome.lasting.get_or_insert(error);
            }
            _ => drop(self.ledger.mark_reported(&[row], now)?),
        }
        self.unsettled = false;
        Ok(())
    }

    /// Writes a notice and delivers it to the account's default destination.
    fn write_notice(&mut self, quarantined: &Quarantined, now: Timestamp) -> Result<()> {
        let Quarantined { row, attempts, .. } = *quarantined;
        let mail = notice::write(
            &Notice {
                account: &self.account.name,
                host: &self.account.host,
                machine: &self.env.hostname,
                row,
                octets: quarantined.octets,
                summarize: &quarantined.summary,
                reason: &quarantined.reason,
                attempts,
                next_try: quarantined.next_try,
                partial: &quarantined.partial,
            },
            now,
        );
        let origin = self.ledger.reader().name().clone();
        let envelope = Envelope {
            account: &self.account.name,
            name: &NoticeFileName {
                written: now,
                row,
                attempts,
                origin,
            }
            .to_string(),
            uid: &quarantined.uid,
            sender: None,
            destinations: slice::from_ref(&self.account.routing.default),
            accepted_by: &[],
            fields: &[],
        };
        let mut draft = self.committer.begin(&envelope)?;
        draft
            .write_all(&mail)
            .map_err(|error| Error::file("write", draft.path(), &error))?;
        self.committer.deliver_now(&envelope, draft, &self.env.stop)
    }
}

/// Returns the message number of a row in the session with this listing, or `None` if it is not
/// listed.
fn number_of(reconciled: &Reconciled, row: RowId) -> Option<MsgNum> {
    reconciled
        .mailbox
        .entries
        .iter()
        .find(|entry| entry.row == Some(row))
        .map(|entry| entry.num)
}
