//! Rules in a run: asked once for each message, and what they keep away noted in the ledger.

use std::collections::{HashMap, HashSet};

use super::{AccountRun, FetchRequest};
use crate::{
    domain::{
        destination::Destination,
        ids::RowId,
        message::Header,
        plan::{Action, DeleteReason, Plan, SkipReason},
        rule::{Candidate, RuleMatch, RuleOutcome, evaluate},
        time::Timestamp,
    },
    error::{Result, Verdict},
    fetch::rules,
    ledger::Reconciled,
    net::Stream,
    pop3::transaction::Transaction,
};

impl AccountRun<'_> {
    /// Notes in `look` what the rules say of new messages. A message whose header breaks the line
    /// is taken by none from then on: it comes last, as others do that break it.
    pub(super) fn rule(
        &mut self,
        session: &mut Transaction<Stream>,
        look: &mut Reconciled,
        now: Timestamp,
    ) -> Result<()> {
        if self.account.routing.rules.is_empty() {
            return Ok(());
        }
        let mut open = rules::open(look);
        let row = |look: &Reconciled, place: usize| look.mailbox.entries[place].row;
        open.retain(|place| row(look, *place).is_some_and(|row| !self.rulings.contains_key(&row)));
        let policy = self.policy();
        let mut said = HashMap::new();
        let asked = rules::ask(
            session,
            &self.account.routing.rules,
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
                self.rulings.insert(row, RuleOutcome::NeedsHeader);
                self.suspects.insert(row);
                self.ledger.deferred(row, now)?;
            }
            return Err(error);
        }
        for entry in &mut look.mailbox.entries {
            entry.rule_match = entry.row.and_then(|row| self.rulings.get(&row)?.matched());
        }
        Ok(())
    }

    /// Where a message goes; nothing where only its header can tell, which has not come yet, or has
    /// not been through the filters.
    pub(super) fn places(&self, order: &FetchRequest) -> Option<Vec<Destination>> {
        let known = self
            .rulings
            .get(&order.row)
            .copied()
            .unwrap_or(RuleOutcome::NeedsHeader);
        if (known == RuleOutcome::NeedsHeader && self.account.routing.needs_header())
            || !self.account.filter.is_empty()
        {
            return None;
        }
        self.account.routing.destinations(known.matched(), None)
    }

    /// Where a message goes that has come with this header. It has come, so no rule keeps it away.
    pub(super) fn places_by(&self, order: &FetchRequest, head: &[u8]) -> Vec<Destination> {
        let header = Header::read(head);
        let case = Candidate {
            octets: order.octets,
            header: Some(&header),
            wanted: true,
        };
        let rule_match =
            evaluate(&self.account.routing.rules, case, self.env.clock.now()).matched();
        self.account
            .routing
            .destinations(rule_match, Some(&header))
            .unwrap_or_else(|| vec![self.account.routing.default.clone()])
    }

    /// Notes what the rules keep away, and what they do not have deleted any more.
    pub(super) fn note_ruled(&mut self, plan: &Plan, look: &Reconciled) -> Result<()> {
        let (mut aside, mut delete_by_rule) = (Vec::new(), Vec::new());
        for (entry, action) in plan.of(&look.mailbox) {
            let Some(row) = entry.row else { continue };
            match action {
                Action::Leave(SkipReason::ByRule(rule_match)) => {
                    aside.push(self.reason(row, rule_match))
                }
                Action::Delete(DeleteReason::ByRule(rule_match)) => {
                    delete_by_rule.push(self.reason(row, rule_match))
                }
                _ => {}
            }
        }
        let still: HashSet<_> = delete_by_rule.iter().map(|(row, _)| *row).collect();
        let before = look
            .delete_by_rule
            .iter()
            .filter_map(|place| look.mailbox.entries[*place].row);
        let reprieved: Vec<_> = before.filter(|row| !still.contains(row)).collect();
        self.ledger.clear_rule_deletion(&reprieved)?;
        self.ledger.skip(&aside)?;
        self.ledger.mark_rule_deletion(&delete_by_rule)?;
        self.tally.skipped += aside.len() as u64;
        Ok(())
    }

    fn reason(&self, row: RowId, rule_match: RuleMatch) -> (RowId, String) {
        (
            row,
            format!(
                "by the rule {}",
                self.account.routing.rules[rule_match.index as usize].text
            ),
        )
    }
}
