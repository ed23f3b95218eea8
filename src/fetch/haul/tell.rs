//! What people are told of single messages, each once: lines, and notices by mail.

use std::{collections::HashSet, io::Write, slice};

use super::{AccountRun, Quarantined};
use crate::{
    delivery::{Delivery, DeliveryMode, Envelope},
    domain::{
        ids::{MsgNum, RowId, Uid},
        message::{HeaderSummary, glance},
        notice::{self, Notice},
        plan::{Action, Plan, SkipReason},
        size::ByteSize,
        time::Timestamp,
    },
    error::{Error, Exit, Kind, Result, Verdict},
    event::Event,
    ledger::{Arrival, Reconciled},
    net::Stream,
    pop3::transaction::Transaction,
    text::count,
};

/// So many messages of a kind are told of one by one; more of them, in one line.
const SINGLY: usize = 3;

impl AccountRun<'_> {
    /// Messages that are larger than the account wants: each is said once, and many together.
    pub(super) fn tell_oversize(
        &mut self,
        plan: &Plan,
        look: &Reconciled,
        now: Timestamp,
    ) -> Result<()> {
        let oversize: Vec<_> = plan
            .of(&look.mailbox)
            .filter_map(|(entry, action)| match (action, entry.row) {
                (Action::Leave(SkipReason::Oversize(max)), Some(row)) => Some((entry, max, row)),
                _ => None,
            })
            .collect();
        let rows: Vec<_> = oversize.iter().map(|(_, _, row)| *row).collect();
        let unreported_quarantines: HashSet<_> =
            self.ledger.mark_reported(&rows, now)?.into_iter().collect();
        let unreported_quarantines: Vec<_> = oversize
            .into_iter()
            .filter(|(_, _, row)| unreported_quarantines.contains(row))
            .collect();
        let larger = |what: String| {
            Error::new(Kind::Unavailable, what).with_hint("a larger `max-size` lets them in")
        };
        let rounded = |octets: u64| ByteSize::from_octets(octets).rounded();
        if unreported_quarantines.len() <= SINGLY {
            for (entry, max, _) in unreported_quarantines {
                let size = rounded(entry.octets);
                self.tell(&Event::Notice(&larger(format!(
                    "message {} has {size}, over max-size ({max}): it stays on the server",
                    entry.num
                ))));
            }
        } else if let Some((largest, max, _)) = unreported_quarantines
            .iter()
            .max_by_key(|(entry, ..)| entry.octets)
        {
            let all = count(unreported_quarantines.len() as u64, "message");
            self.tell(&Event::Notice(
                &larger(format!(
                    "{all} are over max-size ({max}): they stay on the server"
                ))
                .with_fact(format!(
                    "the largest is message {} with {}",
                    largest.num,
                    rounded(largest.octets)
                )),
            ));
        }
        Ok(())
    }

    /// A message was delivered shorter than listed: said once.
    pub(super) fn tell_short(&mut self, arrival: &Arrival) -> Result<()> {
        if !self.ledger.sizes_are_trusted()?
            || self
                .ledger
                .mark_reported(&[arrival.row], self.env.clock.now())?
                .is_empty()
        {
            return Ok(());
        }
        self.exit = self.exit.worst(Exit::LATER);
        self.tell(&Event::Notice(
            &Error::new(Kind::Unavailable, "a message came shorter than the server had listed it")
                .with_fact(format!(
                    "{} of {} came, though the server ended it in order",
                    arrival.got,
                    count(arrival.listed, "octet")
                ))
                .with_fact("it is delivered as it is, is not deleted from the server, and will be asked for again")
                .with_hint(format!("`pouch ledger show {} {}` tells what is known of it", self.account.name, arrival.row)),
        ));
        Ok(())
    }

    /// A program gets something that it may have already.
    pub(super) fn tell_again(&self, what: &str) {
        self.tell(&Event::Notice(
            &Error::new(
                Kind::Deferred,
                format!("an earlier run ended while a program had {what}"),
            )
            .with_fact("it is handed over again, and may be there twice"),
        ));
    }

    /// Adds the messages of this listing that went into quarantine in a run which died before it
    /// told of them.
    pub(super) fn owe_notices(&mut self, look: &Reconciled) -> Result<()> {
        if !self.account.notice {
            return Ok(());
        }
        for row in self.ledger.unreported_quarantines()? {
            if number_of(look, row.id).is_some()
                && self.quarantined.iter().all(|known| known.row != row.id)
            {
                self.quarantined.push(Quarantined {
                    row: row.id,
                    uid: row.uid,
                    octets: row.octets,
                    reason: row.reason.unwrap_or_default(),
                    glance: HeaderSummary {
                        sender: row.sender,
                        subject: row.subject,
                        ..HeaderSummary::default()
                    },
                    attempts: row.attempts,
                    next_try: row.next_try.unwrap_or(self.env.clock.now()),
                    partial: Vec::new(),
                });
            }
        }
        Ok(())
    }

    /// Delivers a notice for each message that went into quarantine. Where there is a session, with
    /// what it lists, the header is asked for.
    pub(super) fn send_notices(
        &mut self,
        mut session: Option<(&mut Transaction<Stream>, &Reconciled)>,
        delivery: &mut dyn Delivery,
    ) -> Result<()> {
        while let Some(mut quarantined) = self.quarantined.pop() {
            if !quarantined.whole_header()
                && let Some((session, look)) = &mut session
                && let Some(num) = number_of(look, quarantined.row)
            {
                // the header may break the line as well: then the notice does without it
                match session.top(num) {
                    Ok(Ok(head)) => {
                        quarantined.glance = glance(head.as_bytes());
                        self.ledger.describe(quarantined.row, &quarantined.glance)?;
                    }
                    Ok(Err(_)) => {}
                    Err(error) => {
                        self.deliver_notice(&quarantined, delivery)?;
                        return Err(error);
                    }
                }
            }
            self.deliver_notice(&quarantined, delivery)?;
        }
        Ok(())
    }

    /// Delivers a notice; once it is safe, the message has been told of.
    fn deliver_notice(
        &mut self,
        quarantined: &Quarantined,
        delivery: &mut dyn Delivery,
    ) -> Result<()> {
        let Quarantined {
            row,
            uid,
            octets,
            reason,
            glance,
            attempts,
            next_try,
            partial,
        } = quarantined;
        let now = self.env.clock.now();
        let mail = notice::write(
            &Notice {
                account: &self.account.name,
                host: &self.account.host,
                machine: self.env.birth.host.as_str(),
                row: *row,
                octets: *octets,
                glance,
                reason,
                attempts: *attempts,
                next_try: *next_try,
                partial,
            },
            now,
        );
        let name = self.ledger.notice_name(*row, *attempts, now);
        // until the ledger knows, it is safe and not told of: the next run has to look for it
        self.ledger.open_run(self.run)?;
        self.unsettled = true;
        let by_program = delivery.pace(slice::from_ref(&self.account.routing.default))
            == DeliveryMode::OneAtATime;
        if by_program && self.ledger.begin_notice_handover(*row)? {
            self.tell_again("the notice of a message in quarantine");
        }
        // a program that does not want the notice has the message's failure on its account
        let trouble = self
            .deliver_note(uid, &name, &mail, delivery)
            .err()
            .filter(|error| error.kind() != Kind::Rejected);
        match trouble {
            None => {
                self.ledger.mark_reported(&[*row], now)?;
            }
            Some(error) => {
                if by_program && error.kind().verdict() != Verdict::StopAll {
                    self.ledger.abort_notice_handover(*row)?;
                }
                if error.kind() != Kind::Deferred {
                    return Err(error);
                }
                // the next run hands it over
                self.exit = self.exit.worst(Exit::LATER);
                self.lasting.get_or_insert(error);
            }
        }
        self.unsettled = false;
        Ok(())
    }

    /// Delivers a mail of pouch's own.
    fn deliver_note(
        &mut self,
        uid: &Uid,
        name: &str,
        mail: &[u8],
        delivery: &mut dyn Delivery,
    ) -> Result<()> {
        let envelope = Envelope {
            account: &self.account.name,
            name,
            uid,
            sender: None,
            destinations: slice::from_ref(&self.account.routing.default),
            accepted_by: &[],
            fields: &[],
        };
        let mut draft = delivery.begin(&envelope)?;
        draft
            .write_all(mail)
            .map_err(|error| Error::file("write", draft.place(), &error))?;
        delivery.accept(&envelope, draft, &self.env.stop)?;
        delivery.take_batch().commit()
    }
}

/// The number that a row's message has in the session whose listing this is.
fn number_of(look: &Reconciled, row: RowId) -> Option<MsgNum> {
    look.mailbox
        .entries
        .iter()
        .find(|entry| entry.row == Some(row))
        .map(|entry| entry.num)
}
