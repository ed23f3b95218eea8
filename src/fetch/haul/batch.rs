//! Messages that are made safe together: batches go to the disk while the next one arrives.

use std::{
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::AccountRun;
use crate::{
    delivery::{Delivery, DeliveryMode},
    error::{Error, Kind, Result},
    event::Event,
    ledger::Arrival,
};

/// A batch is made safe once it has so many messages …
const COUNT: usize = 128;
/// … or so many octets …
const OCTETS: u64 = 16_000_000;
/// … or is so old.
const TIME: Duration = Duration::from_secs(2);

/// So many batches go to the disk at once, where the place can do that: while one waits for the
/// disk's cache, the other one's messages are written.
const ABREAST: usize = 2;

/// What the delivery has accepted, in the order in which it came.
#[derive(Default)]
pub(super) struct Batch {
    arrivals: Vec<Arrival>,
    copies: usize,
    octets: u64,
    began: Option<Instant>,
}

impl Batch {
    /// Adds a message of which so many places have a copy.
    pub(super) fn push(&mut self, arrival: Arrival, copies: usize) {
        self.copies += copies;
        self.octets += arrival.got;
        self.arrivals.push(arrival);
        self.began.get_or_insert_with(Instant::now);
    }

    /// Whether it is time; each copy is an open file, as are those of the batches before.
    fn is_due(&self, open_files: usize) -> bool {
        self.arrivals.len() >= COUNT
            || self.copies >= open_files / (ABREAST + 1)
            || self.octets >= OCTETS
            || self.began.is_some_and(|began| began.elapsed() >= TIME)
    }
}

/// A batch on its way to the disk.
pub(super) struct InFlightBatch {
    arrivals: Vec<Arrival>,
    work: JoinHandle<Result<()>>,
}

impl AccountRun<'_> {
    /// How many messages are accepted, and not yet known to be safe.
    pub(super) fn accepted(&self) -> usize {
        self.batch.arrivals.len()
            + self
                .underway
                .iter()
                .map(|underway| underway.arrivals.len())
                .sum::<usize>()
    }

    /// Sends the batch to the disk if it is time.
    pub(super) fn seal_if_due(&mut self, delivery: &mut dyn Delivery) -> Result<()> {
        if self.batch.is_due(self.env.open_files) {
            self.take_batch(delivery)
        } else {
            Ok(())
        }
    }

    /// Makes all that was accepted safe, and tells the ledger.
    pub(super) fn flush(&mut self, delivery: &mut dyn Delivery) -> Result<()> {
        self.take_batch(delivery)?;
        while !self.underway.is_empty() {
            let safe = self.join()?;
            self.deliver(&safe)?;
        }
        Ok(())
    }

    /// Sends the batch to the disk, once the one before it is safe there, or the one before that: a
    /// slow disk slows the line down. While the disk is at it, the ledger hears of what is safe.
    fn take_batch(&mut self, delivery: &mut dyn Delivery) -> Result<()> {
        let most = if delivery.pace(&[]) == DeliveryMode::Parallel {
            ABREAST
        } else {
            1
        };
        let safe = if self.underway.len() < most {
            Vec::new()
        } else {
            self.join()?
        };
        let arrivals = std::mem::take(&mut self.batch).arrivals;
        if !arrivals.is_empty() {
            // should no thread start, the drafts are nobody's: the next run removes them
            self.unsettled = true;
            let sealed = delivery.take_batch();
            let work = thread::Builder::new()
                .spawn(|| sealed.commit())
                .map_err(|error| Error::thread(&error))?;
            self.underway.push_back(InFlightBatch { arrivals, work });
        }
        self.deliver(&safe)
    }

    /// Waits for all that is underway, and tells nobody.
    pub(super) fn join_all(&mut self) -> Result<()> {
        let mut joined = Ok(());
        while !self.underway.is_empty() {
            joined = joined.and(self.join().map(drop));
        }
        joined
    }

    /// Waits until the first batch that is underway is safe; gives what is in it.
    fn join(&mut self) -> Result<Vec<Arrival>> {
        let Some(InFlightBatch { arrivals, work }) = self.underway.pop_front() else {
            return Ok(Vec::new());
        };
        // until the ledger knows, messages are safe that it does not know of
        self.unsettled = true;
        work.join().unwrap_or_else(|_| {
            Err(Error::new(
                Kind::Bug,
                "the thread that makes messages safe ended",
            ))
        })?;
        Ok(arrivals)
    }

    /// Tells the ledger, then the user, of messages that are safe.
    fn deliver(&mut self, arrivals: &[Arrival]) -> Result<()> {
        if arrivals.is_empty() {
            self.unsettled = false;
            return Ok(());
        }
        let short = self
            .ledger
            .deliver(arrivals, self.run, self.env.clock.now())?;
        self.unsettled = false;
        for arrival in arrivals {
            self.tally.delivered += 1;
            self.tally.octets += arrival.got;
            self.tell(&Event::Stored {
                row: arrival.row,
                octets: arrival.got,
            });
        }
        for arrival in arrivals
            .iter()
            .filter(|arrival| short.contains(&arrival.row))
        {
            self.tell_short(arrival)?;
        }
        Ok(())
    }
}
