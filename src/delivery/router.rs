//! Several places: each message goes where its slip says.

use std::{
    io::{Seek, Write},
    path::PathBuf,
};

use super::{Content, Delivery, Draft, Found, Pace, Sealed, Slip};
use crate::{
    domain::destination::Destination,
    error::{Error, Kind, Result, Verdict},
    sys::interrupt::Stop,
};

/// All places of an account.
///
/// A message for one place is written there as it arrives. One for several, whose place its header
/// has to tell, or that gets fields on top, is spooled first; then each place gets its copy.
pub struct Post {
    places: Vec<(Destination, Box<dyn Delivery>)>,
    spool: PathBuf,
    taken: Vec<String>,
    /// Why messages that were accepted are not safe, until whoever seals them hears of it.
    failed: Option<Error>,
}

impl Post {
    /// These places, one at least; messages are spooled in the folder `spool`.
    pub fn new(places: Vec<(Destination, Box<dyn Delivery>)>, spool: PathBuf) -> Self {
        Self {
            places,
            spool,
            taken: Vec::new(),
            failed: None,
        }
    }

    /// The place that a message goes to as it arrives. Where there are others, it may turn out only
    /// later that nobody takes it there: the line does not wait for that. One that has it already,
    /// from a time when it went to others too, gets it no more.
    fn only(&mut self, slip: &Slip<'_>) -> Option<&mut dyn Delivery> {
        let [only] = slip.places else { return None };
        if !wants(only, slip) {
            return None;
        }
        let alone = self.places.len() == 1;
        let here = self
            .places
            .iter_mut()
            .find(|(place, _)| place.is_at(only))
            .map(|(_, delivery)| delivery.as_mut());
        here.filter(|delivery| alone || delivery.pace(slip.places) != Pace::OneByOne)
            .map(|delivery| delivery as _)
    }

    /// Gives each of the message's places its copy. What can be found again comes first, and is
    /// safe before a program gets the message: it then has it once, whatever becomes of the
    /// program.
    fn spread(&mut self, slip: &Slip<'_>, mut draft: Draft, stop: &Stop) -> Result<()> {
        let alone = self.places.len() == 1;
        let (mut batched, mut one_by_one) = (Vec::new(), Vec::new());
        for (own, delivery) in &mut self.places {
            let Some(place) = slip
                .places
                .iter()
                .find(|place| place.is_at(own) && wants(place, slip))
            else {
                continue;
            };
            match delivery.pace(slip.places) {
                Pace::OneByOne => one_by_one.push((place, delivery)),
                Pace::Batched | Pace::Abreast => batched.push((place, delivery)),
            }
        }
        let mut failed = None;
        let mut reached = Vec::new();
        for (place, delivery) in batched {
            if let Err(error) = copy(slip, &mut draft, delivery.as_mut(), stop) {
                failed = Some(error);
                break;
            }
            reached.push((place, delivery));
        }
        if failed.is_some() || !one_by_one.is_empty() {
            for (place, delivery) in reached {
                if let Err(error) = delivery.seal().make_safe() {
                    // those went with it that the place had accepted before
                    self.failed = Some(error.clone());
                    return Err(error);
                }
                self.taken.extend(place.takers());
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let mut failed = None;
        for (place, delivery) in one_by_one {
            match copy(slip, &mut draft, delivery.as_mut(), stop) {
                Ok(()) => self.taken.extend(place.takers()),
                Err(error) if error.kind().verdict() == Verdict::StopAll => return Err(error),
                Err(error) => {
                    self.taken.extend(delivery.taken());
                    // one that is not there now keeps nothing from the others
                    let passes = error.kind() == Kind::Busy && !alone;
                    failed.get_or_insert(if passes {
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
fn wants(place: &Destination, slip: &Slip<'_>) -> bool {
    place
        .takers()
        .iter()
        .any(|taker| !slip.taken.contains(taker))
}

/// Hands a copy of the draft to a place.
fn copy(
    slip: &Slip<'_>,
    draft: &mut Draft,
    delivery: &mut dyn Delivery,
    stop: &Stop,
) -> Result<()> {
    let mut copy = delivery.begin(slip)?;
    let copied = draft
        .file
        .rewind()
        .and_then(|()| copy.write_all(slip.fields))
        .and_then(|()| std::io::copy(&mut draft.file, &mut copy));
    copied.map_err(|error| Error::file("write", copy.place(), &error))?;
    delivery.accept(slip, copy, stop)
}

impl Delivery for Post {
    fn begin(&mut self, slip: &Slip<'_>) -> Result<Draft> {
        match self.only(slip) {
            Some(place) => place.begin(slip),
            None => Draft::spooled(&self.spool),
        }
    }

    fn accept(&mut self, slip: &Slip<'_>, draft: Draft, stop: &Stop) -> Result<()> {
        self.taken.clear();
        match self.only(slip) {
            Some(place) if !draft.spooled => {
                let accepted = place.accept(slip, draft, stop);
                self.taken = if accepted.is_err() {
                    place.taken()
                } else {
                    Vec::new()
                };
                accepted
            }
            _ => self.spread(slip, draft, stop),
        }
    }

    fn taken(&mut self) -> Vec<String> {
        std::mem::take(&mut self.taken)
    }

    fn seal(&mut self) -> Sealed {
        if let Some(error) = self.failed.take() {
            return Sealed::new(|| Err(error));
        }
        let sealed: Vec<_> = self
            .places
            .iter_mut()
            .map(|(_, delivery)| delivery.seal())
            .collect();
        Sealed::new(move || sealed.into_iter().try_for_each(Sealed::make_safe))
    }

    fn pace(&self, places: &[Destination]) -> Pace {
        let concerned =
            |own: &Destination| places.is_empty() || places.iter().any(|place| place.is_at(own));
        let concerned = self.places.iter().filter(|(own, _)| concerned(own));
        concerned
            .map(|(_, delivery)| delivery.pace(places))
            .min()
            .unwrap_or(Pace::OneByOne)
    }

    fn look(&self) -> Result<Option<Vec<Found>>> {
        let mut all: Option<Vec<Found>> = None;
        for (_, delivery) in &self.places {
            if let Some(found) = delivery.look()? {
                all.get_or_insert_default().extend(found);
            }
        }
        // a folder of a Maildir is seen by both
        if let Some(all) = &mut all {
            let path = |found: &Found| match &found.content {
                Content::File(path) => Some(path.clone()),
                Content::Noted { .. } | Content::Unknown(_) => None,
            };
            all.sort_by_cached_key(path);
            all.dedup();
        }
        Ok(all)
    }

    fn tidy(&mut self, ours: &dyn Fn(&str) -> bool) -> Result<()> {
        self.places
            .iter_mut()
            .try_for_each(|(_, delivery)| delivery.tidy(ours))
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
        fn begin(&mut self, _slip: &Slip<'_>) -> Result<Draft> {
            if self.takes {
                Draft::nameless(&self.spool)
            } else {
                Err(Error::new(Kind::Io, "no room for a message"))
            }
        }

        fn accept(&mut self, _slip: &Slip<'_>, _draft: Draft, _stop: &Stop) -> Result<()> {
            self.accepted = true;
            Ok(())
        }

        fn seal(&mut self) -> Sealed {
            let accepted = std::mem::take(&mut self.accepted);
            Sealed::new(move || {
                if accepted {
                    Err(Error::new(Kind::Io, "not safe"))
                } else {
                    Ok(())
                }
            })
        }

        fn pace(&self, _places: &[Destination]) -> Pace {
            Pace::Batched
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
        let places = vec![(one.clone(), broken(true)), (other.clone(), broken(false))];
        let mut post = Post::new(places, dir.path().to_owned());
        let (uid, stop) = (Uid::new(*b"1"), Stop::default());
        let give = |post: &mut Post, places: &[Destination]| {
            let slip = Slip {
                account: "work",
                name: "1",
                uid: &uid,
                sender: None,
                places,
                taken: &[],
                fields: &[],
            };
            let draft = post.begin(&slip)?;
            post.accept(&slip, draft, &stop)
        };
        give(&mut post, std::slice::from_ref(&one)).unwrap();
        // the copy for the other place fails, and then so does what the first one has by now
        assert_eq!(
            give(&mut post, &[one, other]).unwrap_err().what(),
            "not safe"
        );
        assert!(post.taken().is_empty());
        assert_eq!(post.seal().make_safe().unwrap_err().what(), "not safe");
    }
}
