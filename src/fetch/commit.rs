//! The committer, which makes messages durable in batches while the next ones arrive.
//!
//! # Why batches, and why threads
//!
//! A message counts only once it is on stable storage, and an fsync takes milliseconds, sometimes
//! tens of them. One fsync per message would make the disk, not the connection, the limit of a
//! first fetch of thousands of messages. So messages collect in a batch, whose fsyncs share the
//! work of the file system, and a thread commits the batch while the connection fills the next one.
//!
//! The ledger is written after the commit, by the main thread, and never before it: a message is
//! recorded as delivered only when it is durable. In between, messages are durable and not
//! recorded, and the run is marked as unsettled, so that the next one searches for them.
//!
//! Batches are bounded in messages, bytes, age and open files. The age limit bounds what a crash
//! makes pouch fetch again on a slow connection. The number of batches in flight is bounded as
//! well: if the disk is slower than the connection, the connection waits, and memory use does not
//! grow.
//!
//! Two alternatives were rejected. Committing in the main thread leaves the connection idle during
//! each fsync. One syncfs per batch is faster on an idle disk (0.42 s instead of 0.57 s for 5,000
//! messages), but slower on a busy one, because it also writes the data of all other programs.

use std::{
    collections::VecDeque,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    delivery::{Delivery, DeliveryMode, Draft, Envelope, Router},
    domain::destination::Destination,
    error::{Error, Kind, Result},
    ledger::Arrival,
    sys::interrupt::Interrupt,
};

/// The number of messages at which a batch is committed.
const MAX_MESSAGES: usize = 128;

/// The number of bytes at which a batch is committed.
const MAX_OCTETS: u64 = 16_000_000;

/// The age at which a batch is committed.
const MAX_AGE: Duration = Duration::from_secs(2);

/// The number of batches that are committed at once, if the destination allows it. While one waits
/// for the disk to flush its cache, the files of the other are written.
const MAX_IN_FLIGHT: usize = 2;

/// The destinations of an account, and the batches on their way there.
pub(super) struct Committer {
    router: Router,
    batch: Batch,
    in_flight: VecDeque<InFlightBatch>,
    /// The number of files that may be open at once.
    open_files: usize,
}

/// Messages that the destinations have accepted, in the order in which they arrived.
#[derive(Default)]
struct Batch {
    arrivals: Vec<Arrival>,
    copies: usize,
    octets: u64,
    began: Option<Instant>,
}

impl Batch {
    /// Adds a message that was delivered in this number of copies.
    fn add(&mut self, arrival: Arrival, copies: usize) {
        self.copies += copies;
        self.octets += arrival.received;
        self.arrivals.push(arrival);
        self.began.get_or_insert_with(Instant::now);
    }

    /// Returns whether the batch should be committed. Each copy is an open file, and the batches in
    /// flight have as many.
    fn is_due(&self, open_files: usize) -> bool {
        self.arrivals.len() >= MAX_MESSAGES
            || self.copies >= open_files / (MAX_IN_FLIGHT + 1)
            || self.octets >= MAX_OCTETS
            || self.began.is_some_and(|began| began.elapsed() >= MAX_AGE)
    }
}

/// A batch that is being committed.
struct InFlightBatch {
    arrivals: Vec<Arrival>,
    commit: JoinHandle<Result<()>>,
}

/// Why a message was not accepted.
pub(super) struct Unaccepted {
    pub(super) error: Error,
    /// The recipients that accepted it nevertheless.
    pub(super) accepted_by: Vec<String>,
}

impl Committer {
    /// Returns a committer for these destinations, which may hold `open_files` files open.
    pub(super) fn new(router: Router, open_files: usize) -> Self {
        Self {
            router,
            batch: Batch::default(),
            in_flight: VecDeque::new(),
            open_files,
        }
    }

    /// Returns the destinations.
    pub(super) fn router(&self) -> &Router {
        &self.router
    }

    /// Returns the destinations, to remove stale drafts.
    pub(super) fn router_mut(&mut self) -> &mut Router {
        &mut self.router
    }

    /// Returns the mode in which messages for these destinations are delivered.
    pub(super) fn mode(&self, destinations: &[Destination]) -> DeliveryMode {
        self.router.mode(destinations)
    }

    /// Returns the number of messages that are accepted, but not known to be durable.
    pub(super) fn pending(&self) -> u64 {
        let in_flight: usize = self
            .in_flight
            .iter()
            .map(|batch| batch.arrivals.len())
            .sum();
        (self.batch.arrivals.len() + in_flight) as u64
    }

    /// Starts a draft.
    ///
    /// # Errors
    /// The destination cannot be written.
    pub(super) fn begin(&mut self, envelope: &Envelope<'_>) -> Result<Draft> {
        self.router.begin(envelope)
    }

    /// Gives a complete message to its destinations.
    ///
    /// # Errors
    /// A destination cannot be written, or a program did not accept the message.
    pub(super) fn accept(
        &mut self,
        envelope: &Envelope<'_>,
        draft: Draft,
        stop: &Interrupt,
    ) -> std::result::Result<(), Unaccepted> {
        let accepted = self.router.accept(envelope, draft, stop);
        accepted.map_err(|error| Unaccepted {
            error,
            accepted_by: self.router.accepted_by(),
        })
    }

    /// Adds an accepted message, delivered in this number of copies, to the batch.
    pub(super) fn add(&mut self, arrival: Arrival, copies: usize) {
        self.batch.add(arrival, copies);
    }

    /// Returns whether the batch should be committed.
    pub(super) fn is_due(&self) -> bool {
        self.batch.is_due(self.open_files)
    }

    /// Starts to commit the batch, after waiting for an earlier one if too many are in flight.
    /// Returns the messages of that earlier batch, which are durable now.
    ///
    /// # Errors
    /// An earlier batch failed, or no thread can be started.
    pub(super) fn start_commit(&mut self) -> Result<Vec<Arrival>> {
        let parallel = self.router.mode(&[]) == DeliveryMode::Parallel;
        let room = if parallel { MAX_IN_FLIGHT } else { 1 };
        let durable = if self.in_flight.len() < room {
            Vec::new()
        } else {
            self.wait()?
        };
        let arrivals = std::mem::take(&mut self.batch).arrivals;
        if !arrivals.is_empty() {
            let pending = self.router.take_batch();
            let commit = thread::Builder::new()
                .spawn(|| pending.commit())
                .map_err(|error| Error::thread(&error))?;
            self.in_flight.push_back(InFlightBatch { arrivals, commit });
        }
        Ok(durable)
    }

    /// Waits for the oldest batch in flight. Returns its messages, which are durable now; none if
    /// no batch is in flight.
    ///
    /// # Errors
    /// Some or all of its messages are not durable.
    pub(super) fn wait(&mut self) -> Result<Vec<Arrival>> {
        let Some(InFlightBatch { arrivals, commit }) = self.in_flight.pop_front() else {
            return Ok(Vec::new());
        };
        commit
            .join()
            .unwrap_or_else(|_| Err(Error::new(Kind::Bug, "the commit thread panicked")))?;
        Ok(arrivals)
    }

    /// Returns whether a batch is in flight.
    pub(super) fn is_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Waits for all batches in flight, without recording them.
    ///
    /// # Errors
    /// One of them failed.
    pub(super) fn abandon(&mut self) -> Result<()> {
        let mut waited = Ok(());
        while self.is_in_flight() {
            waited = waited.and(self.wait().map(drop));
        }
        waited
    }

    /// Delivers one message and waits until it is durable. No batch may be pending.
    ///
    /// # Errors
    /// It could not be delivered.
    pub(super) fn deliver_now(
        &mut self,
        envelope: &Envelope<'_>,
        draft: Draft,
        stop: &Interrupt,
    ) -> Result<()> {
        self.router.accept(envelope, draft, stop)?;
        self.router.take_batch().commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::RowId;

    /// Returns how many messages of this size, with this number of copies each, fill a batch.
    fn messages_in_batch(octets: u64, copies: usize, open_files: usize) -> usize {
        let mut batch = Batch::default();
        while !batch.is_due(open_files) {
            let arrival = Arrival {
                row: RowId(1),
                listed: octets,
                received: octets,
                fingerprint: None,
                delivered_fingerprint: None,
                in_maildir: true,
            };
            batch.add(arrival, copies);
        }
        batch.arrivals.len()
    }

    #[test]
    fn batch_is_bounded_by_messages_bytes_and_open_files() {
        assert_eq!(messages_in_batch(1, 1, usize::MAX), MAX_MESSAGES);
        assert_eq!(messages_in_batch(MAX_OCTETS / 4, 1, usize::MAX), 4);
        // a third of the files is for each of the two batches in flight
        assert_eq!(messages_in_batch(1, 2, 60), 10);
    }
}
