//! Getting messages through sessions that may break, and finding out which message broke them.
//!
//! A message during which the line is lost is a *suspect*. All others are fetched first; then the
//! suspects, one at a time with nothing asked for behind them. One that loses the line again, while
//! others got through, has used up an attempt. Where nothing gets through the line is bad, not the
//! message; but one that was found bad in an earlier run needs no others to be found so again.
//!
//! Here is what a run gathers over all its sessions; [`session`] is one of them, [`ruled`] what
//! rules say there, [`receive`] one message, [`filter`] what programs make of it, [`batch`] how
//! messages are made safe, [`received`] whether they are what was asked for, [`expunge`] what is
//! deleted at the end, [`tell`] what people hear of messages.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{
    RunEnv,
    connect::{Milestone, connect_patiently},
    identify::UnreadableHeaders,
    recover::recover,
};
use crate::{
    config::Account,
    delivery::Delivery,
    domain::{
        ids::{MsgNum, RowId, Uid},
        message::HeaderSummary,
        plan::{AfterFetch, DeleteReason},
        rule::RuleOutcome,
        time::Timestamp,
    },
    error::{Error, Exit, Kind, Result, Verdict},
    event::{Event, Tally},
    ledger::{Ledger, NextCopy, Run},
    net::PendingConnection,
    text::{count, tilde},
};

mod batch;
mod expunge;
mod filter;
mod receive;
mod received;
mod ruled;
mod session;
mod tell;

use batch::{Batch, InFlightBatch};
use received::Received;

/// So many lines may be lost one after the other with nothing got through any of them.
const FRUITLESS: u32 = 3;

/// After so many signs that the server loses commands, none is sent ahead any more.
const MISSTEPS: u32 = 2;

/// A message to fetch in this session.
#[derive(Clone, Debug)]
struct FetchRequest {
    num: MsgNum,
    row: RowId,
    /// The copy that is delivered.
    copy: NextCopy,
    uid: Uid,
    octets: u64,
    then: AfterFetch,
    /// It failed before: it is fetched by itself.
    careful: bool,
    /// It used up an attempt in an earlier run.
    known_bad: bool,
    /// How many messages were listed with it.
    listed: usize,
}

/// A message that failed in this run.
#[derive(Debug)]
struct Failure {
    order: FetchRequest,
    error: Error,
    /// What did arrive of it.
    partial: Vec<u8>,
}

/// A message that went into quarantine, to be told of by mail.
#[derive(Debug)]
struct Quarantined {
    row: RowId,
    uid: Uid,
    octets: u64,
    reason: String,
    glance: HeaderSummary,
    attempts: u32,
    next_try: Timestamp,
    /// What did arrive of it.
    partial: Vec<u8>,
}

impl Quarantined {
    /// Whether all of the header arrived.
    fn whole_header(&self) -> bool {
        memchr::memmem::find(&self.partial, b"\n\n").is_some()
    }
}

/// What a run has got so far, over all its sessions.
pub(super) struct AccountRun<'a> {
    account: &'a Account,
    env: &'a RunEnv,
    ledger: &'a mut Ledger,
    run: &'a mut Run,
    batch: Batch,
    underway: VecDeque<InFlightBatch>,
    /// Messages may be safe that the ledger does not know of.
    unsettled: bool,
    tally: Tally,
    exit: Exit,
    deletions: Vec<(DeleteReason, u64)>,
    warning: Option<Error>,
    /// What a person is told of should it last.
    lasting: Option<Error>,
    /// What is being asked for, should the line be lost now.
    current: Option<FetchRequest>,
    partial: Vec<u8>,
    /// Rows that are not asked for again in this run.
    finished: HashSet<RowId>,
    suspects: HashSet<RowId>,
    /// What the rules said in this run.
    rulings: HashMap<RowId, RuleOutcome>,
    /// Suspects that lost the line again.
    guilty: Vec<Failure>,
    /// The line was lost during messages that never failed before.
    good_ones_lost: bool,
    quarantined: Vec<Quarantined>,
    told: Vec<(RowId, Error, Option<Timestamp>)>,
    /// Messages that came through the line whole, in this run.
    through: u64,
    fruitless: u32,
    /// Signs that the server loses commands that are sent ahead.
    missteps: u32,
    /// Whether commands are sent ahead in this session.
    ahead: bool,
    /// Delivered in this session.
    received: Received,
    /// What was delivered for these may be another message.
    doubted: HashSet<RowId>,
    /// Messages whose header broke the line.
    unreadable: UnreadableHeaders,
    /// Where this session's server was reached.
    address: Option<String>,
    deferred_in_a_row: u32,
    /// Why no more messages are fetched in this run. What came before is settled all the same.
    enough: Option<Error>,
}

impl<'a> AccountRun<'a> {
    /// Nothing yet. Where a run before it `died`, what that delivered is to be
    /// [looked for](Self::recover) first.
    pub(super) fn new(
        account: &'a Account,
        env: &'a RunEnv,
        ledger: &'a mut Ledger,
        run: &'a mut Run,
        died: bool,
    ) -> Self {
        Self {
            account,
            env,
            ledger,
            run,
            batch: Batch::default(),
            underway: VecDeque::new(),
            unsettled: died,
            tally: Tally::default(),
            exit: Exit::OK,
            deletions: Vec::new(),
            warning: None,
            lasting: None,
            current: None,
            partial: Vec::new(),
            finished: HashSet::new(),
            suspects: HashSet::new(),
            rulings: HashMap::new(),
            guilty: Vec::new(),
            good_ones_lost: false,
            quarantined: Vec::new(),
            told: Vec::new(),
            through: 0,
            fruitless: 0,
            missteps: 0,
            ahead: false,
            received: Received::default(),
            doubted: HashSet::new(),
            unreadable: UnreadableHeaders::default(),
            address: None,
            deferred_in_a_row: 0,
            enough: None,
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

    pub(super) fn deletions(&mut self) -> Vec<(DeleteReason, u64)> {
        std::mem::take(&mut self.deletions)
    }

    pub(super) fn take_warning(&mut self) -> Option<Error> {
        self.warning.take()
    }

    pub(super) fn take_lasting(&mut self) -> Option<Error> {
        self.lasting.take()
    }

    fn tell(&self, event: &Event<'_>) {
        self.env.report.event(&self.account.name, event);
    }

    /// Looks for what a run that died had delivered without telling the ledger, and removes its
    /// drafts. What it had delivered at all is doubted.
    pub(super) fn recover(&mut self, delivery: &mut dyn Delivery) -> Result<()> {
        let unknown = recover(self.ledger, delivery, self.account, self.env.clock.now())?;
        let ledger = &*self.ledger;
        self.doubted = ledger.left_unproven()?;
        delivery.remove_stale_drafts(&|name| ledger.named(name))?;
        for (mailbox, messages) in unknown {
            let place = tilde(&mailbox, &self.env.home);
            self.tell(&Event::Notice(
                &Error::new(
                    Kind::Deferred,
                    format!("the last run was killed while it wrote to {place}"),
                )
                .with_fact(
                    "somebody else has changed that file since: what lies there was left as it is",
                )
                .with_fact(format!(
                    "{} may be there already, whole or in part, and will be fetched again",
                    count(messages, "message")
                )),
            ));
        }
        self.unsettled = false;
        Ok(())
    }

    /// Session after session, until all is fetched that can be. The first connection may have been
    /// `begun`.
    pub(super) fn sessions(
        &mut self,
        mut begun: Option<PendingConnection>,
        password: &str,
        delivery: &mut dyn Delivery,
    ) -> Result<()> {
        loop {
            let before = self.through;
            let address = &mut self.address;
            let mut session = connect_patiently(
                begun.take(),
                self.account,
                self.env,
                password,
                &mut |milestone| {
                    if let Milestone::Connected(reached) = milestone {
                        *address = Some(reached);
                    }
                },
            )?;
            if self.missteps >= MISSTEPS {
                session.disable_pipelining();
            }
            self.received = Received::default();
            let ended = self.session(&mut session, delivery);
            let error = match ended.map(|delete_requested| self.expunge(session, &delete_requested))
            {
                Ok(Ok(())) => match self.enough.take() {
                    Some(error) => return Err(error),
                    None if self.through == before || !shows_a_part(&self.account.host) => {
                        return Ok(());
                    }
                    None => continue,
                },
                // another session compares what came in this one: where nothing did, none is needed
                Ok(Err(error))
                    if error.kind() != Kind::Desynchronized || self.received.is_empty() =>
                {
                    self.doubt(&error);
                    return Err(error);
                }
                Ok(Err(error)) | Err(error) => error,
            };
            self.doubt(&error);
            self.env.stop.check()?;
            if error.kind().verdict() != Verdict::Reconnect {
                return Err(error);
            }
            let headers = self.unreadable.takes_progress();
            self.line_lost(error, headers || self.through > before)?;
            self.flush(delivery)?;
        }
    }

    /// A command lost among others makes each later answer another message's: whatever ended the
    /// session before the server was known to be in step, they are compared in the next one, unless
    /// their sizes prove them.
    pub(super) fn doubt(&mut self, ended: &Error) {
        if (self.ahead && !self.received.in_step) || ended.kind() == Kind::Desynchronized {
            self.doubted.extend(self.received.unproven());
        }
    }

    /// The line was lost. The message that was being asked for is a suspect; where it was one
    /// before, it is guilty.
    fn line_lost(&mut self, error: Error, progress: bool) -> Result<()> {
        let partial = std::mem::take(&mut self.partial);
        let out_of_step = error.kind() == Kind::Desynchronized;
        if out_of_step || error.kind() == Kind::TimedOut {
            // perhaps the server waits for a command that it lost; or it is that one message
            self.missteps += if progress { 1 } else { MISSTEPS };
        }
        let mut alone = false;
        if let Some(order) = self.current.take() {
            alone = order.careful;
            self.good_ones_lost |= !order.known_bad;
            if alone {
                self.finished.insert(order.row);
                let error = in_the_middle(&order, &error);
                self.guilty.push(Failure {
                    order,
                    error,
                    partial,
                });
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
            return Err(error.with_fact(format!(
                "{} times in a row, and nothing got through",
                self.fruitless
            )));
        }
        Ok(())
    }

    /// Where it is the messages that lose the line, and not a bad line, the guilty have used up an
    /// attempt.
    fn evaluate(&mut self, line_is_good: bool) -> Result<()> {
        if !line_is_good {
            return Ok(());
        }
        for failure in std::mem::take(&mut self.guilty) {
            self.failed(failure)?;
        }
        Ok(())
    }

    /// Brings in what is still open after the last session, whatever ended it.
    pub(super) fn wind_up(&mut self, delivery: &mut dyn Delivery) -> Result<()> {
        // after trouble with the disk or the ledger the next run looks for what is safe, and tells
        let flushed = if self.unsettled {
            self.join_all()
        } else {
            self.flush(delivery)
        };
        if !self.doubted.is_empty() {
            self.ledger.distrust(&self.doubted, self.unsettled)?;
        }
        self.evaluate(self.through > 0)?;
        let noticed = if self.unsettled {
            Ok(())
        } else {
            self.send_notices(None, delivery)
        };
        let arrived = self.tally.delivered;
        for (row, error, next_try) in std::mem::take(&mut self.told) {
            let error = if arrived > 0 {
                &error.with_fact(format!("{} arrived", count(arrived, "other")))
            } else {
                &error
            };
            self.tell(&match next_try {
                Some(next_try) => Event::Quarantined {
                    row,
                    error,
                    next_try,
                },
                None => Event::Failed { row, error },
            });
        }
        if let Some(failure) = self.guilty.first() {
            self.exit = self.exit.worst(Exit::LATER);
            self.lasting.get_or_insert_with(|| failure.error.clone());
        }
        flushed.and(noticed)
    }
}

/// Gmail lists some 250 messages a session, the next ones once these have been fetched.
fn shows_a_part(host: &str) -> bool {
    ["gmail.com", "googlemail.com"]
        .iter()
        .any(|name| host.to_ascii_lowercase().ends_with(name))
}

/// What a lost line looks like from the message that was on it.
fn in_the_middle(order: &FetchRequest, error: &Error) -> Error {
    let what = format!(
        "{} in the middle of message {} of {}",
        error.what(),
        order.num,
        order.listed
    );
    error
        .facts()
        .iter()
        .fold(Error::new(error.kind(), what), |told, fact| {
            told.with_fact(fact.as_str())
        })
}
