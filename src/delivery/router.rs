//! Several destinations: each message goes where its slip says.

use std::{
    io::{Seek, Write},
    path::PathBuf,
};

use super::{Delivery, DeliveryMode, Draft, Envelope, Location, PendingCommit, StoredMessage};
use crate::{
    domain::destination::Destination,
    error::{Error, Kind, Result, Verdict},
    sys::interrupt::Interrupt,
};

/// All places of an account.
///
/// A message for one place is written there as it arrives. One for several, whose place its header
/// has to tell, or that gets fields on top, is spooled first; then each place gets its copy.
pub struct Router {
    destinations: Vec<(Destination, Box<dyn Delivery>)>,
    spool: PathBuf,
    accepted_by: Vec<String>,
    /// Why messages that were accepted are not safe, until whoever seals them hears of it.
    failed: Option<Error>,
}

impl Router {
    /// These places, one at least; messages are spooled in the folder `spool`.
    pub fn new(destinations: Vec<(Destination, Box<dyn Delivery>)>, spool: PathBuf) -> Self {
        Self {
            destinations,
            spool,
            accepted_by: Vec::new(),
            failed: None,
        }
    }

    /// The place that a message goes to as it arrives. Where there are others, it may turn out only
    /// later that nobody takes it there: the line does not wait for that. One that has it already,
    /// from a time when it went to others too, gets it no more.
    fn only(&mut self, envelope: &Envelope<'_>) -> Option<&mut dyn Delivery> {
        let [only] = envelope.destinations else {
            return None;
        };
        if !wants(only, envelope) {
            return None;
        }
        let alone = self.destinations.len() == 1;
        let here = self
            .destinations
            .iter_mut()
            .find(|(place, _)| place.same_place(only))
            .map(|(_, delivery)| delivery.as_mut());
        here.filter(|delivery| {
            alone || delivery.mode(envelope.destinations) != DeliveryMode::OneAtATime
        })
        .map(|delivery| delivery as _)
    }

    /// Gives each of the message's places its copy. What can be found again comes first, and is
    /// safe before a program gets the message: it then has it once, whatever becomes of the
    /// program.
    fn spread(
        &mut self,
        envelope: &Envelope<'_>,
        mut draft: Draft,
        stop: &Interrupt,
    ) -> Result<()> {
        let alone = self.destinations.len() == 1;
        let (mut batched, mut one_by_one) = (Vec::new(), Vec::new());
        for (own, delivery) in &mut self.destinations {
            let Some(place) = envelope
                .destinations
                .iter()
                .find(|place| place.same_place(own) && wants(place, envelope))
            else {
                continue;
            };
            match delivery.mode(envelope.destinations) {
                DeliveryMode::OneAtATime => one_by_one.push((place, delivery)),
                DeliveryMode::Batched | DeliveryMode::Parallel => batched.push((place, delivery)),
            }
        }
        let mut failed = None;
        let mut reached = Vec::new();
        for (place, delivery) in batched {
            if let Err(error) = copy(envelope, &mut draft, delivery.as_mut(), stop) {
                failed = Some(error);
                break;
            }
            reached.push((place, delivery));
        }
        if failed.is_some() || !one_by_one.is_empty() {
            for (place, delivery) in reached {
                if let Err(error) = delivery.take_batch().commit() {
                    // those went with it that the place had accepted before
                    self.failed = Some(error.clone());
                    return Err(error);
                }
                self.accepted_by.extend(place.recipients());
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let mut failed = None;
        for (place, delivery) in one_by_one {
            match copy(envelope, &mut draft, delivery.as_mut(), stop) {
                Ok(()) => self.accepted_by.extend(place.recipients()),
                Err(error) if error.kind().verdict() == Verdict::StopAll => return Err(error),
                Err(error) => {
                    self.accepted_by.extend(delivery.accepted_by());
                    // one that is not there now keeps nothing from the others
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

/// Whether anybody at the place has not got the message yet.
fn wants(place: &Destination, envelope: &Envelope<'_>) -> bool {
    place
        .recipients()
        .iter()
        .any(|taker| !envelope.accepted_by.contains(taker))
}

/// Hands a copy of the draft to a place.
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
        match self.only(envelope) {
            Some(place) => place.begin(envelope),
            None => Draft::spooled(&self.spool),
        }
    }

    fn accept(&mut self, envelope: &Envelope<'_>, draft: Draft, stop: &Interrupt) -> Result<()> {
        self.accepted_by.clear();
        match self.only(envelope) {
            Some(place) if !draft.spooled => {
                let accepted = place.accept(envelope, draft, stop);
                self.accepted_by = if accepted.is_err() {
                    place.accepted_by()
                } else {
                    Vec::new()
                };
                accepted
            }
            _ => self.spread(envelope, draft, stop),
        }
    }

    fn accepted_by(&mut self) -> Vec<String> {
        std::mem::take(&mut self.accepted_by)
    }

    fn take_batch(&mut self) -> PendingCommit {
        if let Some(error) = self.failed.take() {
            return PendingCommit::new(|| Err(error));
        }
        let sealed: Vec<_> = self
            .destinations
            .iter_mut()
            .map(|(_, delivery)| delivery.take_batch())
            .collect();
        PendingCommit::new(move || sealed.into_iter().try_for_each(PendingCommit::commit))
    }

    fn mode(&self, destinations: &[Destination]) -> DeliveryMode {
        let concerned = |own: &Destination| {
            destinations.is_empty() || destinations.iter().any(|place| place.same_place(own))
        };
        let concerned = self.destinations.iter().filter(|(own, _)| concerned(own));
        concerned
            .map(|(_, delivery)| delivery.mode(destinations))
            .min()
            .unwrap_or(DeliveryMode::OneAtATime)
    }

    fn stored_messages(&self) -> Result<Option<Vec<StoredMessage>>> {
        let mut all: Option<Vec<StoredMessage>> = None;
        for (_, delivery) in &self.destinations {
            if let Some(found) = delivery.stored_messages()? {
                all.get_or_insert_default().extend(found);
            }
        }
        // a folder of a Maildir is seen by both
        if let Some(all) = &mut all {
            let path = |found: &StoredMessage| match &found.content {
                Location::File(path) => Some(path.clone()),
                Location::Recorded { .. } | Location::Unknown(_) => None,
            };
            all.sort_by_cached_key(path);
            all.dedup();
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

    /// A place whose disk fails when a message comes, or when messages are made safe.
    struct Broken {
        takes: bool,
        accepted: bool,
        spool: PathBuf,
    }

    impl Delivery for Broken {
        fn begin(&mut self, _slip: &Envelope<'_>) -> Result<Draft> {
            if self.takes {
                Draft::create_unnamed(&self.spool)
            } else {
                Err(Error::new(Kind::Io, "disk full"))
            }
        }

        fn accept(&mut self, _slip: &Envelope<'_>, _draft: Draft, _stop: &Interrupt) -> Result<()> {
            self.accepted = true;
            Ok(())
        }

        fn take_batch(&mut self) -> PendingCommit {
            let accepted = std::mem::take(&mut self.accepted);
            PendingCommit::new(move || {
                if accepted {
                    Err(Error::new(Kind::Io, "cannot sync"))
                } else {
                    Ok(())
                }
            })
        }

        fn mode(&self, _places: &[Destination]) -> DeliveryMode {
            DeliveryMode::Batched
        }
    }

    #[test]
    fn what_was_accepted_before_a_failure_does_not_pass_for_safe() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (
            Destination::Maildir("one".into()),
            Destination::Maildir("other".into()),
        );
        let broken = |takes| {
            Box::new(Broken {
                takes,
                accepted: false,
                spool: dir.path().to_owned(),
            }) as Box<dyn Delivery>
        };
        let destinations = vec![(one.clone(), broken(true)), (other.clone(), broken(false))];
        let mut post = Router::new(destinations, dir.path().to_owned());
        let (uid, stop) = (Uid::new(*b"1"), Interrupt::default());
        let give = |post: &mut Router, destinations: &[Destination]| {
            let envelope = Envelope {
                account: "work",
                name: "1",
                uid: &uid,
                sender: None,
                destinations,
                accepted_by: &[],
                fields: &[],
            };
            let draft = post.begin(&envelope)?;
            post.accept(&envelope, draft, &stop)
        };
        give(&mut post, std::slice::from_ref(&one)).unwrap();
        // the copy for the other place fails, and then so does what the first one has by now
        assert_eq!(
            give(&mut post, &[one, other]).unwrap_err().what(),
            "cannot sync"
        );
        assert!(post.accepted_by().is_empty());
        assert_eq!(
            post.take_batch().commit().unwrap_err().what(),
            "cannot sync"
        );
    }
}
