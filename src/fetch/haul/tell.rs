//! What people are told of single messages, each once: lines, and notices by mail.

use std::{collections::HashSet, io::Write, slice};

use super::{Haul, Quarantined};
use crate::{
    delivery::{Delivery, Pace, Slip},
    domain::{
        ids::{MsgNum, RowId, Uid},
        message::{Glance, glance},
        notice::{self, Notice},
        plan::{Action, Left, Plan},
        size::ByteSize,
        time::Timestamp,
    },
    error::{Error, Exit, Kind, Result, Verdict},
    event::Event,
    ledger::{Arrival, Look},
    net::Stream,
    pop3::transaction::Transaction,
    text::count,
};

/// So many messages of a kind are told of one by one; more of them, in one line.
const SINGLY: usize = 3;

impl Haul<'_> {
    /// Messages that are larger than the account wants: each is said once, and many together.
    pub(super) fn tell_oversize(&mut self, plan: &Plan, look: &Look, now: Timestamp) -> Result<()> {
        let oversize: Vec<_> = plan
            .of(&look.scan)
            .filter_map(|(entry, action)| match (action, entry.row) {
                (Action::Leave(Left::Oversize(max)), Some(row)) => Some((entry, max, row)),
                _ => None,
            })
            .collect();
        let rows: Vec<_> = oversize.iter().map(|(_, _, row)| *row).collect();
        let untold: HashSet<_> = self.ledger.tell_once(&rows, now)?.into_iter().collect();
        let untold: Vec<_> = oversize
            .into_iter()
            .filter(|(_, _, row)| untold.contains(row))
            .collect();
        let larger = |what: String| {
            Error::new(Kind::Unavailable, what).hint("a larger `max-size` lets them in")
        };
        let rounded = |octets: u64| ByteSize::from_octets(octets).rounded();
        if untold.len() <= SINGLY {
            for (entry, max, _) in untold {
                let size = rounded(entry.octets);
                self.tell(&Event::Notice(&larger(format!(
                    "message {} has {size}, over max-size ({max}): it stays on the server",
                    entry.num
                ))));
            }
        } else if let Some((largest, max, _)) = untold.iter().max_by_key(|(entry, ..)| entry.octets)
        {
            let all = count(untold.len() as u64, "message");
            self.tell(&Event::Notice(
                &larger(format!(
                    "{all} are over max-size ({max}): they stay on the server"
                ))
                .fact(format!(
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
                .tell_once(&[arrival.row], self.world.clock.now())?
                .is_empty()
        {
            return Ok(());
        }
        self.exit = self.exit.worst(Exit::LATER);
        self.tell(&Event::Notice(
            &Error::new(Kind::Unavailable, "a message came shorter than the server had listed it")
                .fact(format!(
                    "{} of {} came, though the server ended it in order",
                    arrival.got,
                    count(arrival.listed, "octet")
                ))
                .fact("it is delivered as it is, is not deleted from the server, and will be asked for again")
                .hint(format!("`pouch ledger show {} {}` tells what is known of it", self.account.name, arrival.row)),
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
            .fact("it is handed over again, and may be there twice"),
        ));
    }

    /// Adds the messages of this listing that went into quarantine in a run which died before it
    /// told of them.
    pub(super) fn owe_notices(&mut self, look: &Look) -> Result<()> {
        if !self.account.notice {
            return Ok(());
        }
        for row in self.ledger.untold()? {
            if number_of(look, row.id).is_some()
                && self.quarantined.iter().all(|known| known.row != row.id)
            {
                self.quarantined.push(Quarantined {
                    row: row.id,
                    uid: row.uid,
                    octets: row.octets,
                    reason: row.reason.unwrap_or_default(),
                    glance: Glance {
                        sender: row.sender,
                        subject: row.subject,
                        ..Glance::default()
                    },
                    attempts: row.attempts,
                    next_try: row.next_try.unwrap_or(self.world.clock.now()),
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
        mut session: Option<(&mut Transaction<Stream>, &Look)>,
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
        let now = self.world.clock.now();
        let mail = notice::write(
            &Notice {
                account: &self.account.name,
                host: &self.account.host,
                machine: self.world.birth.host.as_str(),
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
        let by_program = delivery.pace(slice::from_ref(&self.account.place)) == Pace::OneByOne;
        if by_program && self.ledger.hand_notice_over(*row)? {
            self.tell_again("the notice of a message in quarantine");
        }
        // a program that does not want the notice has the message's failure on its account
        let trouble = self
            .deliver_note(uid, &name, &mail, delivery)
            .err()
            .filter(|error| error.kind() != Kind::Rejected);
        match trouble {
            None => {
                self.ledger.tell_once(&[*row], now)?;
            }
            Some(error) => {
                if by_program && error.kind().verdict() != Verdict::StopAll {
                    self.ledger.take_notice_back(*row)?;
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
        let slip = Slip {
            account: &self.account.name,
            name,
            uid,
            sender: None,
            places: slice::from_ref(&self.account.place),
            taken: &[],
            fields: &[],
        };
        let mut draft = delivery.begin(&slip)?;
        draft
            .write_all(mail)
            .map_err(|error| Error::file("write", draft.place(), &error))?;
        delivery.accept(&slip, draft, &self.world.stop)?;
        delivery.seal().make_safe()
    }
}

/// The number that a row's message has in the session whose listing this is.
fn number_of(look: &Look, row: RowId) -> Option<MsgNum> {
    look.scan
        .entries
        .iter()
        .find(|entry| entry.row == Some(row))
        .map(|entry| entry.num)
}
