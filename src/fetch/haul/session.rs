//! One session: what is listed, planned and fetched in it.

use std::collections::HashSet;

use super::{AccountRun, FetchRequest, received::Received};
use crate::{
    config::RequestAhead,
    delivery::{Delivery, DeliveryMode},
    domain::{
        ids::{Listed, MsgNum, RowId},
        plan::{Action, AfterFetch, DeleteReason, Known, Plan, Policy, plan},
    },
    error::Result,
    event::Event,
    fetch::{identify, sync_deletions},
    ledger::Reconciled,
    net::Stream,
    pop3::{
        retrieval::{RetrRequest, RetrResponse, Window},
        transaction::{Listing, Transaction},
    },
};

/// What is asked for ahead where the account does not say otherwise: enough to fill a line of
/// 100 Mbit/s and 100 ms.
const AHEAD: Window = Window {
    count: 256,
    octets: 2_000_000,
};

impl AccountRun<'_> {
    /// One session up to the deletions, which are what comes back.
    pub(super) fn session(
        &mut self,
        session: &mut Transaction<Stream>,
        delivery: &mut dyn Delivery,
    ) -> Result<Vec<(MsgNum, RowId, DeleteReason)>> {
        let (listing, memory) = identify::listing(session, self.ledger, &mut self.unreadable)?;
        let ahead = match self.account.request_ahead {
            // while a program has a message, none is in flight
            _ if !self.account.filter.is_empty() || !session.takes_ahead() => Window::NONE,
            RequestAhead::Auto => AHEAD,
            RequestAhead::Count(count) => Window {
                count: count as usize,
                ..AHEAD
            },
        };
        self.run.ahead |= ahead.count > 1;
        self.tell(&Event::Connected {
            server: &self.account.address(),
        });
        self.warning = identify::unnamed(&listing).or(self.warning.take());
        let now = self.env.clock.now();
        let accept = self.env.accept_new_uids;
        let (mut look, moved) = identify::look(
            session,
            self.ledger,
            &listing,
            memory,
            &self.doubted,
            &mut self.unreadable,
            accept,
        )?;
        if !self.doubted.is_empty() {
            // what is not listed now is compared once it is
            let compared: HashSet<_> = look.delivered().collect();
            self.doubted.retain(|row| !compared.contains(row));
        }
        if moved > 0 {
            self.tell(&Event::Notice(&identify::told(moved)));
        }
        if self.account.policy.sync_deletions
            && let Some(warning) = sync_deletions::mark(&mut look, self.ledger, delivery)?
        {
            self.warning = Some(warning);
        }
        self.ledger
            .admit(&mut look, &listing.messages, Some(self.run), now)?;
        self.rule(session, &mut look, now)?;
        let plan = plan(&self.policy(), &look.mailbox, now);
        self.note_ruled(&plan, &look)?;
        self.tell_oversize(&plan, &look, now)?;
        let (mut fresh, careful) = self.orders(&plan, &look, &listing)?;
        self.received = Received::none_of(fresh.iter().chain(&careful));
        if !(fresh.is_empty() && careful.is_empty()) {
            self.ledger.open_run(self.run)?;
        }
        self.tell(&Event::Planned {
            listed: listing.messages.len() as u64,
            fetch: (fresh.len() + careful.len()) as u64,
            octets: fresh
                .iter()
                .chain(&careful)
                .fold(0, |sum, order| sum.saturating_add(order.octets)),
        });
        // Whatever breaks the line may stand together: come from the other side, then from the
        // middle, then from somewhere else in each run.
        match self.fruitless {
            0 => {}
            1 => fresh.reverse(),
            2 => {
                let middle = fresh.len() / 2;
                fresh.rotate_left(middle);
            }
            _ => {
                let anywhere = self.run.number() % fresh.len().max(1);
                fresh.rotate_left(anywhere);
            }
        }
        let pace = |order: &FetchRequest| delivery.pace(&self.places(order).unwrap_or_default());
        let (one_by_one, batched): (Vec<_>, Vec<_>) = fresh
            .into_iter()
            .partition(|order| pace(order) == DeliveryMode::OneAtATime);
        self.ahead = ahead.count > 1 && !batched.is_empty();
        if self.fruitless > 1 {
            // is it the line, or one bad message after the other?
            self.probe(session, &look)?;
        }
        self.retrieve(session, delivery, &batched, ahead)?;
        self.retrieve(session, delivery, &one_by_one, Window::NONE)?;
        if !self.guilty.is_empty() && self.through == 0 {
            self.probe(session, &look)?;
        }
        for order in &careful {
            self.retrieve(session, delivery, std::slice::from_ref(order), Window::NONE)?;
        }
        self.flush(delivery)?;
        // a line that only messages lose which were found bad before is not bad itself
        self.evaluate(self.through > 0 || !self.good_ones_lost)?;
        self.owe_notices(&look)?;
        self.send_notices(Some((session, &look)), delivery)?;
        Ok(plan
            .of(&look.mailbox)
            .filter_map(|(entry, action)| match action {
                Action::Delete(why) => Some((entry.num, entry.row?, why)),
                Action::Fetch(AfterFetch::Delete) => {
                    Some((entry.num, entry.row?, DeleteReason::NotKept))
                }
                _ => None,
            })
            .collect())
    }

    /// The account's policy, less what was fetched in this run already.
    pub(super) fn policy(&self) -> Policy {
        let mut policy = self.account.policy;
        // what had trouble in this run takes nobody else's place
        let arrived = self.tally.delivered + self.accepted() as u64;
        policy.limit = policy.limit.map(|limit| {
            limit
                .saturating_sub(arrived)
                .saturating_add(self.suspects.len() as u64)
        });
        policy
    }

    /// What is to be fetched: at full speed, and with care.
    fn orders(
        &self,
        plan: &Plan,
        look: &Reconciled,
        listing: &Listing,
    ) -> Result<(Vec<FetchRequest>, Vec<FetchRequest>)> {
        let wanted: Vec<_> = plan
            .steps
            .iter()
            .filter_map(
                |step| match (step.action, look.mailbox.entries[step.index].row) {
                    (Action::Fetch(then), Some(row)) if !self.finished.contains(&row) => {
                        Some((step.index, then, row))
                    }
                    _ => None,
                },
            )
            .collect();
        let copies = self
            .ledger
            .next_copies(wanted.iter().map(|(_, _, row)| *row))?;
        let orders = wanted
            .into_iter()
            .zip(copies)
            .map(|((place, then, row), copy)| {
                let known = look.mailbox.entries[place].known;
                let fresh = known
                    == Known::New {
                        attempts: 0,
                        deferred: false,
                    };
                let Listed { num, uid, octets } = &listing.messages[place];
                FetchRequest {
                    num: *num,
                    row,
                    copy,
                    uid: uid.clone(),
                    octets: *octets,
                    then,
                    careful: !fresh || self.suspects.contains(&row),
                    known_bad: !matches!(known, Known::New { attempts: 0, .. }),
                    listed: listing.messages.len(),
                }
            });
        Ok(orders.partition(|order| !order.careful))
    }

    /// Fetches `orders`, in that order, until it is enough.
    fn retrieve(
        &mut self,
        session: &mut Transaction<Stream>,
        delivery: &mut dyn Delivery,
        orders: &[FetchRequest],
        ahead: Window,
    ) -> Result<()> {
        if self.enough.is_some() {
            return Ok(());
        }
        let wanted: Vec<_> = orders
            .iter()
            .map(|order| RetrRequest {
                num: order.num,
                octets: order.octets,
            })
            .collect();
        let mut retrieval = session.retrieve(&wanted, ahead);
        for order in orders {
            self.current = Some(order.clone());
            match retrieval.next()? {
                Some(RetrResponse::Message(body)) => self.receive(order, body, delivery)?,
                Some(RetrResponse::Refused(refusal)) => self.refused(order, &refusal)?,
                None => break,
            }
            self.current = None;
            self.finished.insert(order.row);
            if self.enough.is_some() {
                break;
            }
            self.seal_if_due(delivery)?;
            self.env.stop.check()?;
        }
        self.received.in_step |= self.enough.is_none() && retrieval.finish()?;
        Ok(())
    }

    /// Whether the line is good: fetches the smallest message that is known to be, and throws it
    /// away.
    fn probe(&mut self, session: &mut Transaction<Stream>, look: &Reconciled) -> Result<()> {
        let known = look
            .mailbox
            .entries
            .iter()
            .filter(|entry| matches!(entry.known, Known::Delivered { .. }));
        let Some(smallest) = known.min_by_key(|entry| entry.octets) else {
            return Ok(());
        };
        let wanted = [RetrRequest {
            num: smallest.num,
            octets: smallest.octets,
        }];
        let mut retrieval = session.retrieve(&wanted, Window::NONE);
        if let Some(RetrResponse::Message(mut body)) = retrieval.next()? {
            while body.chunk()?.is_some() {}
            self.through += 1;
        }
        Ok(())
    }
}
