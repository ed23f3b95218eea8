//! What came in a session, and whether it is what was asked for.

use std::collections::HashMap;

use super::FetchRequest;
use crate::{domain::ids::RowId, ledger::Arrival};

/// What came of what a session asks for.
#[derive(Default)]
pub(super) struct Received {
    /// How many of the messages that the session asks for have so many octets by LIST.
    alike: HashMap<u64, usize>,
    /// The row, its size by LIST, and the octets that came.
    messages: Vec<(RowId, u64, u64)>,
    /// All that was asked for ahead is known to have been answered.
    pub in_step: bool,
}

impl Received {
    /// Nothing yet of these.
    pub(super) fn none_of<'o>(orders: impl Iterator<Item = &'o FetchRequest>) -> Self {
        let mut alike = HashMap::new();
        for order in orders {
            *alike.entry(order.octets).or_default() += 1;
        }
        Self {
            alike,
            ..Self::default()
        }
    }

    pub(super) fn push(&mut self, arrival: &Arrival) {
        self.messages
            .push((arrival.row, arrival.listed, arrival.got));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Those of which no size tells that they are what was asked for. One of the listed size that
    /// no other message has was asked for, and so were all before it, unless their own size is not
    /// the listed one: an answer that is lost is missing from then on.
    pub(super) fn unproven(&self) -> impl Iterator<Item = RowId> {
        let fits = |(_, listed, got): &(RowId, u64, u64)| got == listed;
        let proves = |message| fits(message) && self.alike.get(&message.1) == Some(&1);
        let proven = self
            .messages
            .iter()
            .rposition(proves)
            .map_or(0, |last| last + 1);
        let messages = self.messages.iter().enumerate();
        messages
            .filter(move |(place, message)| *place >= proven || !fits(message))
            .map(|(_, (row, ..))| *row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_proves_what_came_until_then() {
        let unproven = |asked: &[u64], got: &[u64]| {
            let mut received = Received::default();
            for octets in asked {
                *received.alike.entry(*octets).or_default() += 1;
            }
            received.messages = (1..)
                .map(RowId)
                .zip(asked)
                .zip(got)
                .map(|((row, asked), got)| (row, *asked, *got))
                .collect();
            received.unproven().map(|row| row.0).collect::<Vec<_>>()
        };
        assert!(unproven(&[5, 6], &[5, 6]).is_empty());
        assert!(unproven(&[5, 5, 6], &[5, 5, 6]).is_empty());
        assert_eq!(unproven(&[5, 6, 6], &[5, 6, 6]), [2, 3]);
        // the last one has not come
        assert_eq!(unproven(&[5, 6, 6], &[5, 6]), [2]);
        // not the size that was listed
        assert_eq!(unproven(&[5, 6], &[6, 6]), [1]);
        assert_eq!(unproven(&[5, 6, 7], &[6, 7]), [1, 2]);
    }
}
