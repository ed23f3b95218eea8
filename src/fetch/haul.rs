//! Getting messages through sessions that may break, and finding out which message broke them.
//!
//! A message during which the line is lost is a *suspect*. All others are fetched first; then the
//! suspects, one at a time with nothing asked for behind them. One that loses the line again,
//! while others got through, has used up an attempt. Where nothing gets through the line is bad,
//! not the message.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{
    World,
    connect::{Server, connect_patiently},
    local, recognize,
};
use crate::{
    config::{Account, RequestAhead},
    delivery::{Delivery, Pace},
    error::{Error, Exit, Kind, Result, Verdict},
    event::{Event, Tally},
    ledger::{Arrival, Ledger, Look, Recognized, Run},
    message::Glance,
    net::Stream,
    notice::{self, Notice},
    policy::{Action, Known, Left, Plan, Policy, Then, Why, plan},
    pop3::session::{Ahead, Answer, Listing, Transaction, Wanted},
    text::count,
    types::{Epoch, MsgNum, RowId, Uid},
};

mod receive;

/// A batch is made safe once it has so many messages …
const BATCH_COUNT: usize = 64;
/// … or so many octets …
const BATCH_OCTETS: u64 = 16_000_000;
/// … or is so old.
const BATCH_TIME: Duration = Duration::from_secs(2);

/// What is asked for ahead where the account does not say otherwise: enough to fill a line of
/// 100 Mbit/s and 100 ms.
const AHEAD: Ahead = Ahead { count: 256, octets: 2_000_000 };

/// So many lines may be lost one after the other with nothing got through any of them.
const FRUITLESS: u32 = 3;

/// After so many messages in a row that a program failed to take for a passing reason, it gets no
/// more of them.
const DEFERRED_IN_A_ROW: u32 = 3;

/// A message to fetch in this session.
#[derive(Clone, Debug)]
struct Order {
    num: MsgNum,
    row: RowId,
    uid: Uid,
    octets: u64,
    then: Then,
    /// It failed before: it is fetched by itself.
    careful: bool,
    /// How many messages were listed with it.
    listed: usize,
}

/// A message that failed in this run.
#[derive(Debug)]
struct Failure {
    order: Order,
    error: Error,
    /// What did arrive of it.
    partial: Vec<u8>,
}

/// A message that went into quarantine, to be told of by mail.
#[derive(Debug)]
struct Quarantined {
    failure: Failure,
    glance: Glance,
    attempts: u32,
    next_try: Epoch,
}

/// What a run has got so far, over all its sessions.
pub(super) struct Haul<'a> {
    account: &'a Account,
    world: &'a World,
    ledger: &'a mut Ledger,
    run: &'a Run,
    /// Accepted by the delivery, not yet safe.
    batch: Vec<Arrival>,
    batch_octets: u64,
    batch_began: Option<Instant>,
    /// Messages may be safe that the ledger does not know of.
    unsettled: bool,
    tally: Tally,
    exit: Exit,
    deletions: Vec<(Why, u64)>,
    warning: Option<Error>,
    /// What is being asked for, should the line be lost now.
    current: Option<Order>,
    partial: Vec<u8>,
    /// Rows that are not asked for again in this run.
    finished: HashSet<RowId>,
    suspects: HashSet<RowId>,
    /// Suspects that lost the line again.
    guilty: Vec<Failure>,
    quarantined: Vec<Quarantined>,
    told: Vec<(RowId, Error, Option<Epoch>)>,
    /// Messages that came through the line whole, in this run.
    through: u64,
    fruitless: u32,
    deferred_in_a_row: u32,
}

impl<'a> Haul<'a> {
    pub(super) fn new(account: &'a Account, world: &'a World, ledger: &'a mut Ledger, run: &'a Run) -> Self {
        Self {
            account,
            world,
            ledger,
            run,
            batch: Vec::new(),
            batch_octets: 0,
            batch_began: None,
            unsettled: false,
            tally: Tally::default(),
            exit: Exit::OK,
            deletions: Vec::new(),
            warning: None,
            current: None,
            partial: Vec::new(),
            finished: HashSet::new(),
            suspects: HashSet::new(),
            guilty: Vec::new(),
            quarantined: Vec::new(),
            told: Vec::new(),
            through: 0,
            fruitless: 0,
            deferred_in_a_row: 0,
        }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    pub(super) fn unsettled(&self) -> bool {
        self.unsettled
    }

    pub(super) fn deletions(&mut self) -> Vec<(Why, u64)> {
        std::mem::take(&mut self.deletions)
    }

    pub(super) fn take_warning(&mut self) -> Option<Error> {
        self.warning.take()
    }

    pub(super) fn ledger(&mut self) -> &mut Ledger {
        self.ledger
    }

    pub(super) fn note_exit(&mut self, exit: Exit) {
        self.exit = self.exit.worst(exit);
    }

    pub(super) fn note_deleted(&mut self, why: Why, count: u64) {
        self.tally.deleted += count;
        match self.deletions.iter_mut().find(|(known, _)| *known == why) {
            Some((_, counted)) => *counted += count,
            None => self.deletions.push((why, count)),
        }
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        self.world.report.event(&self.account.name, event);
    }

    /// Looks for what a run that died had delivered without telling the ledger, and removes its
    /// drafts.
    pub(super) fn recover(&mut self, delivery: &mut dyn Delivery) -> Result<()> {
        // should this fail, the next run has to look again
        self.unsettled = true;
        if let Some(found) = delivery.look()? {
            let mut ours = Vec::new();
            for found in found {
                if let Some((row, copy)) = self.ledger.row_of(&found.name) {
                    ours.push((row, copy, receive::octets_of(&found.path)?));
                }
            }
            self.ledger.recover(&ours, self.world.clock.now())?;
        }
        let ledger = &*self.ledger;
        delivery.tidy(&|name| ledger.row_of(name).is_some())?;
        let handed = self.ledger.handed_over()?;
        if handed > 0 {
            self.tell(&Event::Notice(
                &Error::new(Kind::Deferred, "the last run was killed while a program had a message")
                    .fact(format!("{} will be handed to it again", count(handed, "message"))),
            ));
        }
        self.unsettled = false;
        Ok(())
    }

    /// Session after session, until all is fetched that can be.
    pub(super) fn sessions(&mut self, server: &Server<'_>, password: &str, delivery: &mut dyn Delivery) -> Result<()> {
        loop {
            let before = self.through;
            let mut session = connect_patiently(server, self.world, password)?;
            match self.session(&mut session, delivery) {
                Ok(doomed) => {
                    self.expunge(session, &doomed)?;
                    if self.through == before || !shows_a_part(&self.account.host) {
                        return Ok(());
                    }
                }
                Err(error) => {
                    self.world.stop.check()?;
                    if error.kind().verdict() != Verdict::Reconnect {
                        return Err(error);
                    }
                    self.line_lost(error, self.through > before)?;
                }
            }
        }
    }

    /// One session up to the deletions, which are what comes back.
    fn session(
        &mut self,
        session: &mut Transaction<Stream>,
        delivery: &mut dyn Delivery,
    ) -> Result<Vec<(MsgNum, RowId, Why)>> {
        let listing = session.list()?;
        self.tell(&Event::Connected { server: &self.account.address() });
        if listing.nameless > 0 {
            self.warning = Some(
                Error::new(
                    Kind::Unavailable,
                    format!("the server gives no UID for {}", count(listing.nameless as u64, "message")),
                )
                .fact("what has no UID cannot be told from what was fetched before, and stays on the server"),
            );
        }
        let now = self.world.clock.now();
        let mut look = self.recognized(session, &listing)?;
        if self.account.policy.sync_deletions
            && let Some(found) = delivery.look()?
        {
            self.warning = local::mark(&mut look, self.ledger, &found)?;
        }
        self.ledger.admit(&mut look, &listing.messages, now)?;
        let plan = plan(&self.policy(), &look.scan, now);
        self.tell_oversize(&plan, now)?;
        let (mut fresh, careful) = self.orders(&plan, &look, &listing);
        self.tell(&Event::Planned {
            listed: listing.messages.len() as u64,
            fetch: (fresh.len() + careful.len()) as u64,
            octets: fresh.iter().chain(&careful).map(|order| order.octets).sum(),
        });
        if self.fruitless > 0 {
            // whatever breaks the line may stand together: come from the other side
            fresh.reverse();
        }
        let ahead = match (delivery.pace(), self.account.request_ahead) {
            (Pace::OneByOne, _) => Ahead::NONE,
            (Pace::Batched, RequestAhead::Auto) => AHEAD,
            (Pace::Batched, RequestAhead::Count(count)) => Ahead { count: count as usize, ..AHEAD },
        };
        self.retrieve(session, delivery, &fresh, ahead)?;
        for order in &careful {
            self.retrieve(session, delivery, std::slice::from_ref(order), Ahead::NONE)?;
        }
        self.flush(delivery)?;
        if !self.guilty.is_empty() && self.through == 0 {
            self.probe(session, &look)?;
        }
        self.judge()?;
        self.send_notices(Some(session), delivery)?;
        Ok(plan
            .steps
            .iter()
            .filter_map(|step| match step.action {
                Action::Delete(why) => Some((step.num, step.row?, why)),
                Action::Fetch(Then::Delete) => Some((step.num, step.row?, Why::NotKept)),
                _ => None,
            })
            .collect())
    }

    /// The listing joined with what is known, once messages are recognized that have a new UID, and
    /// told apart that share one over time.
    fn recognized(&mut self, session: &mut Transaction<Stream>, listing: &Listing) -> Result<Look> {
        let look = self.ledger.look(&listing.messages)?;
        let mut recognized = recognize::changed(session, self.ledger, &look, listing)?;
        if !self.world.accept_new_uids {
            recognized.moved = recognize::moved(session, self.ledger, &look, listing)?;
        }
        if recognized == Recognized::default() {
            return Ok(look);
        }
        self.ledger.recognize(&recognized)?;
        let moved = &recognized.moved;
        if !moved.is_empty() {
            self.tell(&Event::Notice(
                &Error::new(Kind::Unavailable, "the server has given its messages new UIDs").fact(format!(
                    "{} known by their headers: not fetched again",
                    count(moved.len() as u64, "message")
                )),
            ));
        }
        self.ledger.look(&listing.messages)
    }

    /// The account's policy, less what was fetched in this run already.
    fn policy(&self) -> Policy {
        let mut policy = self.account.policy;
        policy.limit = policy.limit.map(|limit| limit.saturating_sub(self.finished.len() as u64));
        policy
    }

    /// What is to be fetched: at full speed, and with care.
    fn orders(&self, plan: &Plan, look: &Look, listing: &Listing) -> (Vec<Order>, Vec<Order>) {
        let messages = &listing.messages;
        plan.steps
            .iter()
            .filter_map(|step| {
                let (Action::Fetch(then), Some(row)) = (step.action, step.row) else {
                    return None;
                };
                let at = messages.binary_search_by_key(&step.num, |message| message.num).ok()?;
                let fresh = look.scan.entries[at].known == Known::New { attempts: 0 };
                Some(Order {
                    num: step.num,
                    row,
                    uid: messages[at].uid.clone(),
                    octets: step.octets,
                    then,
                    careful: !fresh || self.suspects.contains(&row),
                    listed: messages.len(),
                })
            })
            .filter(|order| !self.finished.contains(&order.row))
            .partition(|order| !order.careful)
    }

    fn tell_oversize(&mut self, plan: &Plan, now: Epoch) -> Result<()> {
        for step in &plan.steps {
            if let (Action::Leave(Left::Oversize(max)), Some(row)) = (step.action, step.row)
                && self.ledger.tell_once(row, now)?
            {
                let size = crate::units::Size::from_octets(step.octets).rounded();
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

    /// Fetches `orders`, in that order.
    fn retrieve(
        &mut self,
        session: &mut Transaction<Stream>,
        delivery: &mut dyn Delivery,
        orders: &[Order],
        ahead: Ahead,
    ) -> Result<()> {
        let wanted: Vec<_> = orders.iter().map(|order| Wanted { num: order.num, octets: order.octets }).collect();
        let mut retrieval = session.retrieve(&wanted, ahead);
        for order in orders {
            self.current = Some(order.clone());
            match retrieval.next()? {
                Some(Answer::Message(body)) => self.receive(order, body, delivery)?,
                Some(Answer::Refused(refusal)) => self.refused(order, &refusal)?,
                None => break,
            }
            self.current = None;
            self.finished.insert(order.row);
            if self.batch_is_due() {
                self.flush(delivery)?;
            }
            self.world.stop.check()?;
        }
        Ok(())
    }

    fn batch_is_due(&self) -> bool {
        self.batch.len() >= BATCH_COUNT
            || self.batch_octets >= BATCH_OCTETS
            || self.batch_began.is_some_and(|began| began.elapsed() >= BATCH_TIME)
    }

    /// Makes the batch safe, then tells the ledger.
    fn flush(&mut self, delivery: &mut dyn Delivery) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_octets = 0;
        self.batch_began = None;
        if batch.is_empty() {
            return Ok(());
        }
        self.unsettled = true;
        delivery.commit()?;
        let short = self.ledger.deliver(&batch, self.run, self.world.clock.now())?;
        self.unsettled = false;
        for arrival in &batch {
            self.tally.delivered += 1;
            self.tally.octets += arrival.got;
            self.tell(&Event::Stored { row: arrival.row, octets: arrival.got });
        }
        for arrival in batch.iter().filter(|arrival| short.contains(&arrival.row)) {
            self.tell_short(arrival)?;
        }
        Ok(())
    }

    /// The line was lost. The message that was being asked for is a suspect; where it was one
    /// before, it is guilty.
    fn line_lost(&mut self, error: Error, progress: bool) -> Result<()> {
        let partial = std::mem::take(&mut self.partial);
        let mut alone = false;
        if let Some(order) = self.current.take() {
            alone = order.careful;
            if alone {
                self.finished.insert(order.row);
                let error = in_the_middle(&order, &error);
                self.guilty.push(Failure { order, error, partial });
            } else {
                self.suspects.insert(order.row);
            }
        }
        if progress || (alone && self.through > 0) {
            self.fruitless = 0;
        } else {
            self.fruitless += 1;
        }
        if self.fruitless > FRUITLESS.max(self.account.retries) {
            return Err(error.fact(format!("{} times in a row, and nothing got through", self.fruitless)));
        }
        Ok(())
    }

    /// Whether the line is good: fetches the smallest message that is known to be, and throws it
    /// away.
    fn probe(&mut self, session: &mut Transaction<Stream>, look: &Look) -> Result<()> {
        let known = look.scan.entries.iter().filter(|entry| matches!(entry.known, Known::Delivered { .. }));
        let Some(smallest) = known.min_by_key(|entry| entry.octets) else {
            return Ok(());
        };
        let wanted = [Wanted { num: smallest.num, octets: smallest.octets }];
        let mut retrieval = session.retrieve(&wanted, Ahead::NONE);
        if let Some(Answer::Message(mut body)) = retrieval.next()? {
            while body.chunk()?.is_some() {}
            self.through += 1;
        }
        Ok(())
    }

    /// Where others got through, the guilty have used up an attempt.
    fn judge(&mut self) -> Result<()> {
        if self.through == 0 {
            return Ok(());
        }
        for failure in std::mem::take(&mut self.guilty) {
            self.failed(failure)?;
        }
        Ok(())
    }

    /// Brings in what is still open after the last session, whatever ended it.
    pub(super) fn wind_up(&mut self, delivery: &mut dyn Delivery) -> Result<()> {
        let flushed = if self.unsettled { Ok(()) } else { self.flush(delivery) };
        self.judge()?;
        self.send_notices(None, delivery)?;
        let arrived = self.tally.delivered;
        for (row, error, next_try) in std::mem::take(&mut self.told) {
            let error = if arrived > 0 { &error.fact(format!("{} arrived", count(arrived, "other"))) } else { &error };
            self.tell(&match next_try {
                Some(next_try) => Event::Quarantined { row, error, next_try },
                None => Event::Failed { row, error },
            });
        }
        if !self.guilty.is_empty() {
            self.exit = self.exit.worst(Exit::LATER);
        }
        flushed
    }

    /// Delivers a notice for each message that went into quarantine.
    fn send_notices(
        &mut self,
        mut session: Option<&mut Transaction<Stream>>,
        delivery: &mut dyn Delivery,
    ) -> Result<()> {
        while let Some(mut quarantined) = self.quarantined.pop() {
            if quarantined.glance == Glance::default()
                && let Some(session) = session.as_deref_mut()
            {
                // the header may break the line as well: then the notice does without it
                match session.top(quarantined.failure.order.num) {
                    Ok(Ok(head)) => quarantined.glance = crate::message::glance(&head),
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
                reason: &receive::reason(&failure.error),
                attempts: quarantined.attempts,
                next_try: quarantined.next_try,
                partial: &failure.partial,
            },
            self.world.clock.now(),
        );
        let name = format!("{}.N{}A{}.{machine}", self.world.clock.now().0, failure.order.row, quarantined.attempts);
        self.deliver_note(&failure.order, &name, &mail, delivery)
    }
}

/// Gmail lists some 250 messages a session, the next ones once these have been fetched.
fn shows_a_part(host: &str) -> bool {
    ["gmail.com", "googlemail.com"].iter().any(|name| host.to_ascii_lowercase().ends_with(name))
}

/// What a lost line looks like from the message that was on it.
fn in_the_middle(order: &Order, error: &Error) -> Error {
    let what = format!("{} in the middle of message {} of {}", error.what(), order.num, order.listed);
    error.facts().iter().fold(Error::new(error.kind(), what), |told, fact| told.fact(fact.as_str()))
}
