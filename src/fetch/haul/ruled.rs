//! Rules in a run: asked once for each message, and what they keep away noted in the ledger.

use std::collections::{HashMap, HashSet};

use super::{Haul, Order};
use crate::{
    domain::{
        destination::Destination,
        ids::RowId,
        message::Header,
        plan::{Action, Left, Plan, Why},
        rule::{Case, Judgement, Ruling, judge},
        time::Timestamp,
    },
    error::{Result, Verdict},
    fetch::rules,
    ledger::Look,
    net::Stream,
    pop3::transaction::Transaction,
};

impl Haul<'_> {
    /// Notes in `look` what the rules say of new messages. A message whose header breaks the line
    /// is taken by none from then on: it comes last, as others do that break it.
    pub(super) fn rule(
        &mut self,
        session: &mut Transaction<Stream>,
        look: &mut Look,
        now: Timestamp,
    ) -> Result<()> {
        if self.account.rules.is_empty() {
            return Ok(());
        }
        let mut open = rules::open(look);
        let row = |look: &Look, place: usize| look.scan.entries[place].row;
        open.retain(|place| row(look, *place).is_some_and(|row| !self.rulings.contains_key(&row)));
        let policy = self.policy();
        let mut said = HashMap::new();
        let asked = rules::ask(
            session,
            &self.account.rules,
            &policy,
            look,
            &open,
            now,
            |place, judgement| {
                said.extend(row(look, place).map(|row| (row, judgement)));
            },
        );
        let culprit = open
            .iter()
            .filter_map(|place| row(look, *place))
            .find(|row| !said.contains_key(row));
        // where a command was lost among others, or answered twice, headers came as other messages'
        if asked.is_ok() || !session.pipelining() {
            self.rulings.extend(said);
        }
        if let Err(error) = asked {
            if let Some(row) = culprit.filter(|_| error.kind().verdict() == Verdict::Reconnect) {
                self.rulings.insert(row, Judgement::Unread);
                self.suspects.insert(row);
                self.ledger.put_off(row, now)?;
            }
            return Err(error);
        }
        for entry in &mut look.scan.entries {
            entry.ruling = entry.row.and_then(|row| self.rulings.get(&row)?.ruling());
        }
        Ok(())
    }

    /// Where a message goes; nothing where only its header can tell, which has not come yet, or has
    /// not been through the filters.
    pub(super) fn places(&self, order: &Order) -> Option<Vec<Destination>> {
        let known = self
            .rulings
            .get(&order.row)
            .copied()
            .unwrap_or(Judgement::Unread);
        if (known == Judgement::Unread && self.account.sorts()) || !self.account.filter.is_empty() {
            return None;
        }
        self.account.places(known.ruling(), None)
    }

    /// Where a message goes that has come with this header. It has come, so no rule keeps it away.
    pub(super) fn places_by(&self, order: &Order, head: &[u8]) -> Vec<Destination> {
        let header = Header::read(head);
        let case = Case {
            octets: order.octets,
            header: Some(&header),
            wanted: true,
        };
        let ruling = judge(&self.account.rules, case, self.world.clock.now()).ruling();
        self.account
            .places(ruling, Some(&header))
            .unwrap_or_else(|| vec![self.account.place.clone()])
    }

    /// Notes what the rules keep away, and what they do not have deleted any more.
    pub(super) fn note_ruled(&mut self, plan: &Plan, look: &Look) -> Result<()> {
        let (mut aside, mut condemned) = (Vec::new(), Vec::new());
        for (entry, action) in plan.of(&look.scan) {
            let Some(row) = entry.row else { continue };
            match action {
                Action::Leave(Left::Ruled(ruling)) => aside.push(self.reason(row, ruling)),
                Action::Delete(Why::Ruled(ruling)) => condemned.push(self.reason(row, ruling)),
                _ => {}
            }
        }
        let still: HashSet<_> = condemned.iter().map(|(row, _)| *row).collect();
        let before = look
            .condemned
            .iter()
            .filter_map(|place| look.scan.entries[*place].row);
        let reprieved: Vec<_> = before.filter(|row| !still.contains(row)).collect();
        self.ledger.reprieve(&reprieved)?;
        self.ledger.set_aside(&aside)?;
        self.ledger.condemn(&condemned)?;
        self.tally.skipped += aside.len() as u64;
        Ok(())
    }

    fn reason(&self, row: RowId, ruling: Ruling) -> (RowId, String) {
        (
            row,
            format!(
                "by the rule {}",
                self.account.rules[ruling.place as usize].text
            ),
        )
    }
}
