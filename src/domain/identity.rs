//! The identity of a mailbox: which of the known mailboxes a new address leads to.
//!
//! # Why an address is not enough
//!
//! Host, port and user say where to log in, not which mailbox that is. A provider renames its host,
//! a login name becomes a full mail address, `127.0.0.1` becomes `localhost`: the mailbox is the
//! same, and fetching all of it again would be wrong. Two tunnels may end at different ports of one
//! host: the mailboxes differ although their UIDs (`1`, `2`, `3`) do not, and a message that is
//! confused with a known one would be deleted unread, or never fetched.
//!
//! # The evidence
//!
//! A mailbox is identified by its UIDs and by the headers of its messages. UIDs alone prove
//! nothing, since many servers count from 1. Headers alone prove nothing either, since two
//! mailboxes of one person get the same mailing lists. So a mailbox is a known one if most of the
//! UIDs are known *and* the headers of the messages with these UIDs are the known ones. A few of
//! them suffice; a single header that differs is evidence of another mailbox, because fetching mail
//! twice is better than never fetching it. Without any header there is no evidence, and the user
//! decides.
//!
//! If the server was replaced as well, its UIDs are new. Most of the headers then suffice, but only
//! for the mailbox that the account used before, because two accounts may get the same mail.
//!
//! An empty mailbox is no evidence. An address is therefore new until a message was recorded under
//! it, and is compared then. If an account changes its address while the server has none of the
//! known messages, the new address counts as another mailbox. If the account gets the old address
//! again, that address is compared as well.

/// The number of headers that are compared per known mailbox.
const SAMPLE: usize = 8;

/// The number of known messages from which unknown UIDs alone stop a run. Fewer may have been
/// deleted by another client.
const MIN_KNOWN: usize = 5;

/// A known mailbox, compared with a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// The number of its messages that the server should still have.
    pub known: usize,
    /// The number of these whose UID is listed.
    pub shared: usize,
    /// The number of compared headers that are the same.
    pub same: usize,
    /// The number of compared headers that differ.
    pub different: usize,
    /// Whether the account used it before, under another address.
    pub is_previous: bool,
    /// If most UIDs are unknown: the number of headers that were read for it.
    pub read: usize,
    /// The number of these that are known under another UID.
    pub moved: usize,
}

impl Candidate {
    /// Returns whether the mailbox may be the listed one, with `listed` messages: most UIDs of
    /// either are known to the other.
    pub fn is_likely(&self, listed: usize) -> bool {
        self.shared * 2 > self.known.min(listed)
    }

    /// Returns whether it is the listed mailbox.
    fn is_proven(&self, listed: usize) -> bool {
        let by_uid = self.is_likely(listed) && self.same > 0;
        let by_header = self.is_previous && self.moved * 2 > self.read;
        self.different == 0 && (by_uid || by_header)
    }

    /// Returns whether it may be the listed mailbox, and no header could be compared.
    fn is_unclear(&self, listed: usize) -> bool {
        if self.is_likely(listed) {
            return self.same + self.different == 0;
        }
        let is_full = self.known >= MIN_KNOWN && listed * 2 >= self.known;
        self.is_previous && self.read == 0 && is_full
    }
}

/// The decision which mailbox an address leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// One that is not known.
    New,
    /// The candidate with this index.
    Known(usize),
    /// Perhaps the candidate with this index: no header could be compared.
    Unclear(usize),
}

/// Decides which of the `candidates` the mailbox with `listed` messages is.
pub fn decide(listed: usize, candidates: &[Candidate]) -> Decision {
    let numbered = || candidates.iter().enumerate();
    let best = |(index, _): (usize, &Candidate)| index;
    let known = numbered()
        .filter(|(_, candidate)| candidate.is_proven(listed))
        .max_by_key(|(_, candidate)| (candidate.same, candidate.shared));
    let unclear = numbered()
        .filter(|(_, candidate)| candidate.is_unclear(listed))
        .max_by_key(|(_, candidate)| candidate.shared);
    match (known.map(best), unclear.map(best)) {
        (Some(index), _) => Decision::Known(index),
        (None, Some(index)) => Decision::Unclear(index),
        (None, None) => Decision::New,
    }
}

/// Returns the messages whose headers are compared: a few of `shared`, from all parts of it.
pub fn sample<T: Copy>(shared: &[T]) -> Vec<T> {
    let last = shared.len().saturating_sub(1);
    let count = shared.len().min(SAMPLE);
    (0..count)
        .map(|nth| shared[nth * last / count.saturating_sub(1).max(1)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(known: usize, shared: usize, same: usize, different: usize) -> Candidate {
        Candidate {
            known,
            shared,
            same,
            different,
            ..Candidate::default()
        }
    }

    #[test]
    fn same_uids_and_headers_are_the_same_mailbox() {
        assert_eq!(decide(10, &[candidate(10, 10, 8, 0)]), Decision::Known(0));
        // mail was deleted on the server, or arrived since
        assert_eq!(decide(3, &[candidate(500, 3, 3, 0)]), Decision::Known(0));
        assert_eq!(decide(90, &[candidate(4, 3, 3, 0)]), Decision::Known(0));
        let two = [candidate(9, 6, 6, 0), candidate(9, 9, 8, 0)];
        assert_eq!(decide(9, &two), Decision::Known(1));
    }

    #[test]
    fn same_uids_with_another_header_are_another_mailbox() {
        assert_eq!(decide(3, &[candidate(3, 3, 0, 3)]), Decision::New);
        assert_eq!(decide(9, &[candidate(9, 9, 7, 1)]), Decision::New);
    }

    #[test]
    fn few_shared_uids_are_a_coincidence() {
        assert_eq!(decide(100, &[candidate(200, 50, 8, 0)]), Decision::New);
        assert_eq!(decide(100, &[candidate(200, 0, 0, 0)]), Decision::New);
        assert_eq!(decide(3, &[candidate(0, 0, 0, 0)]), Decision::New);
        assert_eq!(decide(3, &[]), Decision::New);
    }

    #[test]
    fn same_uids_without_headers_are_unclear() {
        let unclear = candidate(6, 6, 0, 0);
        assert_eq!(decide(6, &[unclear]), Decision::Unclear(0));
        let proven = candidate(6, 4, 1, 0);
        assert_eq!(decide(6, &[unclear, proven]), Decision::Known(1));
    }

    #[test]
    fn new_uids_are_the_previous_mailbox_if_most_headers_are_known() {
        let moved = Candidate {
            is_previous: true,
            read: 8,
            moved: 7,
            ..candidate(9, 0, 0, 0)
        };
        assert_eq!(decide(9, &[moved]), Decision::Known(0));
        for other in [
            Candidate { moved: 4, ..moved },
            Candidate {
                is_previous: false,
                ..moved
            },
            // a UID was given to another message
            Candidate {
                different: 1,
                ..moved
            },
        ] {
            assert_eq!(decide(9, &[other]), Decision::New);
        }
        let unread = Candidate {
            read: 0,
            moved: 0,
            ..moved
        };
        assert_eq!(decide(9, &[unread]), Decision::Unclear(0));
        assert_eq!(decide(4, &[unread]), Decision::New);
        assert_eq!(
            decide(9, &[Candidate { known: 4, ..unread }]),
            Decision::New
        );
    }

    #[test]
    fn sample_includes_the_first_and_the_last() {
        assert!(sample(&[0_u8; 0]).is_empty());
        assert_eq!(sample(&[7]), [7]);
        assert_eq!(sample(&[1, 2, 3]), [1, 2, 3]);
        let all: Vec<_> = (0..20).collect();
        assert_eq!(sample(&all), [0, 2, 5, 8, 10, 13, 16, 19]);
    }
}
