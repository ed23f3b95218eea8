//! Notices: mails about quarantined messages.
//!
//! Cron output is easily lost, and a quarantined message would be missing without a trace; a mail
//! in the inbox is seen. All messages that a run quarantines share one notice, since a damaged
//! mailbox may have many. A notice is delivered exactly once by the same means as a message: its
//! file name is a function of the run, so that a notice which an interrupted run delivered is
//! found.

use std::{io::Write, slice};

use super::run::AccountRun;
use crate::{
    delivery::{DeliveryMode, Envelope},
    domain::{
        file_name::NoticeFileName,
        ids::{MsgNum, RowId},
        message::summarize,
        notice::{self, MAX_ITEMS, Notice, NoticeItem},
        reconcile::Reconciled,
        time::Timestamp,
    },
    error::{Error, Exit, Kind, Result, Verdict},
    ledger::Row,
    net::Stream,
    pop3::transaction::Transaction,
};

impl AccountRun<'_> {
    /// Requests the headers of messages that the notice will be about, if they were not received.
    ///
    /// # Errors
    /// The connection is lost, or the ledger cannot be read or written.
    pub(super) fn request_headers_for_notice(
        &mut self,
        session: &mut Transaction<Stream>,
        reconciled: &Reconciled,
    ) -> Result<()> {
        if !self.account.notice {
            return Ok(());
        }
        let quarantined = self.ledger.reader().unreported_quarantines()?;
        for Row { id, .. } in quarantined.into_iter().take(MAX_ITEMS) {
            if let Some(num) = number_of(reconciled, id)
                && self.received_parts.should_request(id)
                && let Ok(head) = session.top(num)?
            {
                self.ledger.describe(id, &summarize(head.as_bytes()))?;
                self.received_parts.add(id, head.as_bytes().to_vec());
            }
        }
        Ok(())
    }

    /// Delivers a notice about the messages that are quarantined and not reported, if there are
    /// any, and records them as reported once it is durable.
    ///
    /// # Errors
    /// The destination or the ledger failed.
    pub(super) fn send_notice(&mut self) -> Result<()> {
        if !self.account.notice {
            return Ok(());
        }
        let quarantined = self.ledger.reader().unreported_quarantines()?;
        if quarantined.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = quarantined.iter().map(|row| row.id).collect();
        let now = self.env.clock.now();
        // until that is recorded, the next run has to search for the notice
        self.ledger.mark_unsettled(&self.run)?;
        self.unsettled = true;
        let destination = slice::from_ref(&self.account.routing.default);
        let by_program = self.committer.mode(destination) == DeliveryMode::OneAtATime;
        if by_program && self.ledger.begin_notice_handover(&rows)? {
            self.report_redelivery("the notice about quarantined messages");
        }
        match self.write_notice(&quarantined, now) {
            // A program that rejects the notice usually rejected the message, too, and that was
            // reported. Trying again in each run would be useless.
            Err(error) if !matches!(error.kind(), Kind::Rejected | Kind::TooLarge) => {
                if by_program && error.kind().verdict() != Verdict::StopAll {
                    self.ledger.abort_notice_handover(&rows)?;
                }
                if error.kind() != Kind::Deferred {
                    return Err(error);
                }
                // the next run delivers it
                self.outcome.raise_exit(Exit::LATER);
                self.outcome.lasting.get_or_insert(error);
            }
            _ => drop(self.ledger.mark_reported(&rows, now)?),
        }
        self.unsettled = false;
        Ok(())
    }

    /// Writes a notice and delivers it to the account's default destination.
    fn write_notice(&mut self, quarantined: &[Row], now: Timestamp) -> Result<()> {
        let run = self.run.id();
        let items = quarantined.iter().map(|row| {
            let received = self.received_parts.get(row.id);
            NoticeItem {
                row: row.id,
                octets: row.octets,
                sender: row.sender.as_deref(),
                subject: row.subject.as_deref(),
                date: summarize(received).date,
                reason: row.reason.as_deref().unwrap_or_default(),
                attempts: row.attempts,
                next_try: row.next_try.unwrap_or(now),
                received,
            }
        });
        let mail = notice::write(
            &Notice {
                account: &self.account.name,
                host: &self.account.host,
                machine: &self.env.hostname,
                run,
                items: items.collect(),
            },
            now,
        );
        let origin = self.ledger.reader().name().clone();
        let name = NoticeFileName {
            written: now,
            run,
            origin,
        };
        let envelope = Envelope {
            account: &self.account.name,
            name: &name.to_string(),
            uid: &quarantined[0].uid,
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
