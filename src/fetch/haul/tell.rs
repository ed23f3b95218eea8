//! What people are told of single messages, each once: lines, and notices by mail.

use std::{io::Write, slice};

use super::{Haul, Order, Quarantined, receive::reason};
use crate::{
    delivery::{Delivery, Slip},
    error::{Error, Exit, Kind, Result, Verdict},
    event::Event,
    ledger::Arrival,
    message::glance,
    net::Stream,
    notice::{self, Notice},
    policy::{Action, Left, Plan},
    pop3::session::Transaction,
    text::count,
    types::Epoch,
    units::Size,
};

impl Haul<'_> {
    pub(super) fn tell_oversize(&mut self, plan: &Plan, now: Epoch) -> Result<()> {
        for step in &plan.steps {
            if let (Action::Leave(Left::Oversize(max)), Some(row)) = (step.action, step.row)
                && self.ledger.tell_once(row, now)?
            {
                let size = Size::from_octets(step.octets).rounded();
                self.tell(&Event::Notice(
                    &Error::new(
                        Kind::Unavailable,
                        format!("message {} has {size}, over max-size ({max}): it stays on the server", step.num),
                    )
                    .hint("a larger `max-size` fetches it"),
                ));
            }
        }
        Ok(())
    }

    /// A message was delivered shorter than listed: said once.
    pub(super) fn tell_short(&mut self, arrival: &Arrival) -> Result<()> {
        if !self.ledger.sizes_are_trusted()? || !self.ledger.tell_once(arrival.row, self.world.clock.now())? {
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

    /// Delivers a notice for each message that went into quarantine.
    pub(super) fn send_notices(
        &mut self,
        mut session: Option<&mut Transaction<Stream>>,
        delivery: &mut dyn Delivery,
    ) -> Result<()> {
        while let Some(mut quarantined) = self.quarantined.pop() {
            if !quarantined.whole_header()
                && let Some(session) = session.as_deref_mut()
            {
                // the header may break the line as well: then the notice does without it
                match session.top(quarantined.failure.order.num) {
                    Ok(Ok(head)) => {
                        quarantined.glance = glance(head.as_bytes());
                        self.ledger.describe(quarantined.failure.order.row, &quarantined.glance)?;
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

    fn deliver_notice(&mut self, quarantined: &Quarantined, delivery: &mut dyn Delivery) -> Result<()> {
        let Quarantined { failure, glance, .. } = quarantined;
        let machine = self.world.birth.host.as_str();
        let mail = notice::write(
            &Notice {
                account: &self.account.name,
                host: &self.account.host,
                machine,
                row: failure.order.row,
                octets: failure.order.octets,
                glance,
                reason: &reason(&failure.error),
                attempts: quarantined.attempts,
                next_try: quarantined.next_try,
                partial: &failure.partial,
            },
            self.world.clock.now(),
        );
        let name = self.ledger.notice_name(failure.order.row, quarantined.attempts, self.world.clock.now());
        self.deliver_note(&failure.order, &name, &mail, delivery)
    }

    /// Delivers a mail of pouch's own.
    fn deliver_note(&mut self, order: &Order, name: &str, mail: &[u8], delivery: &mut dyn Delivery) -> Result<()> {
        let slip = Slip {
            account: &self.account.name,
            name,
            uid: &order.uid,
            sender: None,
            places: slice::from_ref(&self.account.place),
            taken: &[],
        };
        let mut draft = delivery.begin(&slip)?;
        draft.write_all(mail).map_err(|error| Error::file("write", &draft.place(), &error))?;
        match delivery.accept(&slip, draft, &self.world.stop) {
            // a program that does not want the notice has the message's failure on its account
            Err(error) if error.kind().verdict() == Verdict::SkipMessage => Ok(()),
            taken => taken.and_then(|()| delivery.seal().make_safe()),
        }
    }
}
