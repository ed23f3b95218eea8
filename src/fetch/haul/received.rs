//! What came in a session, and whether it is what was asked for.

use std::collections::HashMap;

use super::Order;
use crate::{ledger::Arrival, types::RowId};

/// What came of what a session asks for.
#[derive(Default)]
pub(super) struct Received {
    /// How many of the messages that the session asks for have so many octets by LIST.
    alike: HashMap<u64, usize>,
    /// The row, its size by LIST, and the octets that came.
    messages: Vec<(RowId, u64, u64)>,
}

impl Received {
    /// Nothing yet of these.
    pub(super) fn none_of<'o>(orders: impl Iterator<Item = &'o Order>) -> Self {
        let mut alike = HashMap::new();
        for order in orders {
            *alike.entry(order.octets).or_default() += 1;
        }
        Self { alike, messages: Vec::new() }
    }

    pub(super) fn push(&mut self, arrival: &Arrival) {
        self.messages.push((arrival.row, arrival.listed, arrival.got));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Those whose size does not tell that they are what was asked for: it is not the listed one, or
    /// others have it too, which may have come in their place.
    pub(super) fn unproven(&self) -> impl Iterator<Item = RowId> {
        let proven = |listed, got| got == listed && self.alike.get(&listed) == Some(&1);
        self.messages.iter().filter(move |(_, listed, got)| !proven(*listed, *got)).map(|(row, ..)| *row)
    }
}
