//! The router, which gives each message to the destinations that its envelope names.
//!
//! # One copy, several destinations
//!
//! A message for one destination is written there as it arrives, without a copy. A message for
//! several destinations, with additional fields, or whose destinations depend on its header, is
//! spooled first, and each destination gets a copy.
//!
//! The order of the destinations decides what an interruption can break. Those whose messages can
//! be found again (Maildir, mbox) come first, and their copies are committed before a program gets
//! the message. If the program then fails or the run is interrupted, the next run finds the copies
//! and gives the message to the program alone. In the reverse order, a full disk after the program
//! had accepted the message would deliver it to the program twice.
//!
//! Acceptance is recorded for each recipient ([`Delivery::accepted_by`]), so that one destination
//! that fails does not cause duplicates in the others. Delivering to all or to none was rejected: a
//! program cannot be undone.

use std::{
    io::{Seek, Write},
    path::PathBuf,
};

use super::{BatchOutcome, Delivery, DeliveryMode, Draft, Envelope, PendingCommit, Search, Visit};
use crate::{
    domain::destination::Destination,
    error::{Error, Kind, Result, Verdict},
    sys::interrupt::Interrupt,
};

/// All destinations of an account.
pub struct Router {
    destinations: Vec<(Destination, Box<dyn Delivery>)>,
    spool: PathBuf,
    accepted_by: Vec<String>,
    /// The error of an early commit that included messages accepted before. The next batch
    /// returns it.
    failed: Option<Error>,
    /// The outcome of early commits for messages accepted before. The next batch returns it.
    early: BatchOutcome,
}

impl Router {
    /// Returns a router to these destinations, which must not be empty. Messages are spooled in the
    /// directory `spool`.
    pub fn new(destinations: Vec<(Destination, Box<dyn Delivery>)>, spool: PathBuf) -> Self {
        Self {
            destinations,
            spool,
            accepted_by: Vec::new(),
            failed: None,
            early: BatchOutcome::default(),
        }
    }

    /// Returns the destination to which a message is written as it arrives, or `None` if it has to
    /// be spooled.
    ///
    /// A message for a program or an LMTP server is spooled if the account has other destinations:
    /// an unavailable program is then noticed after the message has arrived, and does not stop the
    /// messages for other destinations.
    fn direct(&mut self, envelope: &Envelope<'_>) -> Option<&mut dyn Delivery> {
        let [only] = envelope.destinations else {
            return None;
        };
        if !is_pending(only, envelope) {
            return None;
        }
        let alone = self.destinations.len() == 1;
        let delivery = self
            .destinations
            .iter_mut()
            .find(|(own, _)| own.same_place(only))
            .map(|(_, delivery)| delivery.as_mut());
        delivery
            .filter(|delivery| {
                alone || delivery.mode(envelope.destinations) != DeliveryMode::OneAtATime
            })
            .map(|delivery| delivery as _)
    }

    /// Gives each of the message's destinations a copy, in the order that the module describes.
    fn distribute(
        &mut self,
        envelope: &Envelope<'_>,
        mut draft: Draft,
        stop: &Interrupt,
    ) -> Result<()> {
        let alone = self.destinations.len() == 1;
        let (mut batched, mut one_by_one) = (Vec::new(), Vec::new());
        for (own, delivery) in &mut self.destinations {
            let Some(destination) = envelope.destinations.iter().find(|destination| {
                destination.same_place(own) && is_pending(destination, envelope)
            }) else {
                continue;
            };
            match delivery.mode(envelope.destinations) {
                DeliveryMode::OneAtATime => one_by_one.push((destination, delivery)),
                DeliveryMode::Batched | DeliveryMode::Parallel => {
                    batched.push((destination, delivery));
                }
            }
        }
        let mut failed = None;
        let mut accepted = Vec::new();
        for (destination, delivery) in batched {
            if let Err(error) = copy(envelope, &mut draft, delivery.as_mut(), stop) {
                failed = Some(error);
                break;
            }
            accepted.push((destination, delivery));
        }
        if failed.is_some() || !one_by_one.is_empty() {
            for (destination, delivery) in accepted {
                match commit_early(delivery.as_mut(), envelope.name, &mut self.early) {
                    Ok(None) => self.accepted_by.extend(destination.recipients()),
                    Ok(Some(error)) => drop(failed.get_or_insert(error)),
                    Err(error) => {
                        // The batch also has messages that were accepted before this one.
                        self.failed = Some(error.clone());
                        return Err(error);
                    }
                }
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let mut failed = None;
        for (destination, delivery) in one_by_one {
            match copy(envelope, &mut draft, delivery.as_mut(), stop) {
                Ok(()) => self.accepted_by.extend(destination.recipients()),
                Err(error) if error.kind().verdict() == Verdict::StopAll => return Err(error),
                Err(error) => {
                    self.accepted_by.extend(delivery.accepted_by());
                    // An unavailable server must not stop deliveries to the other destinations.
                    let is_transient = error.kind() == Kind::Busy && !alone;
                    failed.get_or_insert(if is_transient {
                        error.of_kind(Kind::Deferred)
                    } else {
                        error
                    });
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Commits the batch of a destination before the other destinations get the message `name`. Returns
/// why the destination could not store that message, if so, and adds the outcome of the others to
/// `early`.
fn commit_early(
    delivery: &mut dyn Delivery,
    name: &str,
    early: &mut BatchOutcome,
) -> Result<Option<Error>> {
    let mut failed = None;
    let outcome = delivery.take_batch().commit()?;
    early.renamed.extend(outcome.renamed);
    for message in outcome.unstored {
        if message.name == name {
            failed = Some(message.error);
        } else {
            early.unstored.push(message);
        }
    }
    Ok(failed)
}

/// Returns whether a recipient at the destination has not accepted the message yet.
fn is_pending(destination: &Destination, envelope: &Envelope<'_>) -> bool {
    destination
        .recipients()
        .iter()
        .any(|recipient| !envelope.accepted_by.contains(recipient))
}

/// Delivers a copy of the draft, with the additional fields, to a destination.
fn copy(
    envelope: &Envelope<'_>,
    draft: &mut Draft,
    delivery: &mut dyn Delivery,
    stop: &Interrupt,
) -> Result<()> {
    let mut copy = delivery.begin(envelope)?;
    let copied = draft
        .file
        .rewind()
        .and_then(|()| copy.write_all(envelope.fields))
        .and_then(|()| std::io::copy(&mut draft.file, &mut copy));
    copied.map_err(|error| Error::file("write", copy.path(), &error))?;
    delivery.accept(envelope, copy, stop)
}

impl Delivery for Router {
    fn begin(&mut self, envelope: &Envelope<'_>) -> Result<Draft> {
        match self.direct(envelope) {
            Some(delivery) => delivery.begin(envelope),
            None => Draft::spooled(&self.spool),
        }
    }

    fn accept(&mut self, envelope: &Envelope<'_>, draft: Draft, stop: &Interrupt) -> Result<()> {
        self.accepted_by.clear();
        match self.direct(envelope) {
            Some(delivery) if !draft.spooled => {
                let accepted = delivery.accept(envelope, draft, stop);
                self.accepted_by = if accepted.is_err() {
                    delivery.accepted_by()
                } else {
                    Vec::new()
                };
                accepted
            }
            _ => self.distribute(envelope, draft, stop),
        }
    }

    fn accepted_by(&mut self) -> Vec<String> {
        std::mem::take(&mut self.accepted_by)
    }

    fn take_batch(&mut self) -> PendingCommit {
        if let Some(error) = self.failed.take() {
            return PendingCommit::new(|| Err(error));
        }
        let batches: Vec<_> = self
            .destinations
            .iter_mut()
            .map(|(_, delivery)| delivery.take_batch())
            .collect();
        let mut outcome = std::mem::take(&mut self.early);
        PendingCommit::new(move || {
            for batch in batches {
                let BatchOutcome { unstored, renamed } = batch.commit()?;
                outcome.unstored.extend(unstored);
                outcome.renamed.extend(renamed);
            }
            Ok(outcome)
        })
    }

    fn mode(&self, destinations: &[Destination]) -> DeliveryMode {
        let is_used = |own: &Destination| {
            destinations.is_empty() || destinations.iter().any(|one| one.same_place(own))
        };
        let used = self.destinations.iter().filter(|(own, _)| is_used(own));
        used.map(|(_, delivery)| delivery.mode(destinations))
            .min()
            .unwrap_or(DeliveryMode::OneAtATime)
    }

    fn visit_stored(&self, visit: &mut Visit<'_>) -> Result<Option<Search>> {
        let mut all: Option<Search> = None;
        for (_, delivery) in &self.destinations {
            if let Some(search) = delivery.visit_stored(visit)? {
                let unreadable = &mut all.get_or_insert_default().unreadable;
                unreadable.extend(search.unreadable);
            }
        }
        Ok(all)
    }

    fn remove_stale_drafts(&mut self, ours: &dyn Fn(&str) -> bool) -> Result<()> {
        self.destinations
            .iter_mut()
            .try_for_each(|(_, delivery)| delivery.remove_stale_drafts(ours))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Uid;

    /// A destination whose disk fails when a message begins, or when a batch is committed.
    struct Broken {
        begins: bool,
        accepted: bool,
        spool: PathBuf,
    }

    impl Delivery for Broken {
        fn begin(&mut self, _envelope: &Envelope<'_>) -> Result<Draft> {
            if self.begins {
                Draft::create_unnamed(&self.spool)
            } else {
                Err(Error::new(Kind::Io, "disk full"))
            }
        }

        fn accept(
            &mut self,
            _envelope: &Envelope<'_>,
            _draft: Draft,
            _stop: &Interrupt,
        ) -> Result<()> {
            self.accepted = true;
            Ok(())
        }

        fn take_batch(&mut self) -> PendingCommit {
            let accepted = std::mem::take(&mut self.accepted);
            PendingCommit::new(move || {
                if accepted {
                    Err(Error::new(Kind::Io, "cannot sync"))
                } else {
                    Ok(BatchOutcome::default())
                }
            })
        }

        fn mode(&self, _destinations: &[Destination]) -> DeliveryMode {
            DeliveryMode::Batched
        }
    }

    #[test]
    fn failed_early_commit_fails_the_batch_of_messages_accepted_before() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (
            Destination::Maildir("one".into()),
            Destination::Maildir("other".into()),
        );
        let broken = |begins| {
            Box::new(Broken {
                begins,
                accepted: false,
                spool: dir.path().to_owned(),
            }) as Box<dyn Delivery>
        };
        let destinations = vec![(one.clone(), broken(true)), (other.clone(), broken(false))];
        let mut router = Router::new(destinations, dir.path().to_owned());
        let (uid, stop) = (Uid::new(*b"1"), Interrupt::default());
        let deliver = |router: &mut Router, destinations: &[Destination]| {
            let envelope = Envelope {
                account: "work",
                name: "1",
                uid: &uid,
                sender: None,
                destinations,
                accepted_by: &[],
                fields: &[],
            };
            let draft = router.begin(&envelope)?;
            router.accept(&envelope, draft, &stop)
        };
        deliver(&mut router, std::slice::from_ref(&one)).unwrap();
        // The copy for the second destination fails, and then the commit of the first one.
        assert_eq!(
            deliver(&mut router, &[one, other]).unwrap_err().what(),
            "cannot sync"
        );
        assert!(router.accepted_by().is_empty());
        assert_eq!(
            router.take_batch().commit().unwrap_err().what(),
            "cannot sync"
        );
    }
}
