//! One session: survey, plan, and fetching what the plan says.

use std::collections::HashSet;

use super::{
    basis::{Basis, Criteria},
    expunge::{Candidate, candidates},
    identify,
    logins::record_success,
    request::{FetchRequest, SessionLost},
    retrieve::Flow,
    run::AccountRun,
    survey::{Findings, Survey, Surveyed, decide, survey},
};
use crate::{
    domain::{
        ids::{Listed, RowId},
        plan::{Action, DeleteReason, Known, Plan, Policy, SkipReason, replan},
        reconcile::Reconciled,
        rule::{RuleMatch, RuleOutcome},
        schedule::Contact,
        size::ByteSize,
    },
    error::{Error, Kind, Result},
    event::Event,
    ledger::{LedgerFile, Proof, mailboxes},
    net::Stream,
    pop3::{listing::Listing, transaction::Transaction},
    text::count,
};

/// The largest number of oversize messages that are reported one by one.
const REPORTED_SINGLY: usize = 3;

/// The result of a session that was not lost.
pub(super) struct SessionEnd {
    /// The messages that may be due for deletion.
    pub(super) deletions: Vec<Candidate>,
    /// The error of a destination that deferred or rejected too many messages in a row.
    pub(super) stopped: Option<Error>,
    /// Whether the server refused too many messages in a row.
    pub(super) refuses: bool,
    /// Whether a delivered message will be left on the server, so that its header can be read in
    /// another session.
    pub(super) can_probe: bool,
}

impl AccountRun<'_> {
    /// Surveys the mailbox, and fetches what is planned. `address` is the IP address of the server.
    ///
    /// # Errors
    /// The session is lost, or the ledger or a destination failed.
    pub(super) fn session(
        &mut self,
        session: &mut Transaction<Stream>,
        address: Option<&str>,
    ) -> std::result::Result<SessionEnd, SessionLost> {
        let now = self.env.clock.now();
        let Survey {
            listing,
            mut reconciled,
            findings,
            warning,
            lock,
        } = *self.survey(session)?;
        self.outcome.contact = Contact::Served;
        record_success(&mut self.ledger, session.method(), now)?;
        self.report(&Event::Connected {
            server: &self.account.address(),
        });
        self.outcome.warning = warning.or(self.outcome.warning.take());
        if listing.is_incomplete() {
            self.outcome.raise_exit(Kind::Unavailable.exit());
        }
        self.record_findings(&findings)?;
        let left = lock.as_ref().map_or(&[][..], |lock| &lock.left);
        self.admit(&listing, &mut reconciled, left)?;
        drop(lock);
        let criteria = Criteria {
            rules: &self.account.routing.rules,
            policy: self.policy(),
            now,
        };
        let rules = &mut self.memory.rules;
        let decided = decide(session, &criteria, &listing, &mut reconciled, rules);
        self.record_summaries(&listing, &reconciled)?;
        self.suspect_unreadable(&listing, &reconciled)?;
        let plan = decided?;
        self.record_rules(&plan, &reconciled)?;
        self.report_oversize(&plan, &reconciled)?;
        let requests = self.requests(&plan, &reconciled, &listing)?;
        if !requests.is_empty() {
            self.ledger.mark_unsettled(&self.run)?;
        }
        self.report_planned(&listing, &requests);
        self.probe_if_needed(session, &reconciled)?;
        let flow = self.retrieve_all(session, requests, address)?;
        self.flush()?;
        self.probe_if_needed(session, &reconciled)?;
        self.charge_proven()?;
        self.request_headers_for_notice(session, &reconciled)?;
        let refuses = matches!(flow, Flow::Refuses);
        let stopped = match flow {
            Flow::Stopped(error) => Some(error),
            Flow::Continue | Flow::Refuses => None,
        };
        let deletions = candidates(
            &self.after_fetching(plan, &criteria, &reconciled)?,
            &reconciled,
        );
        Ok(SessionEnd {
            can_probe: self.keeps_a_good_message(&deletions, &reconciled),
            deletions,
            stopped,
            refuses,
        })
    }

    /// Records the new messages. If they are the first ones that show which mailbox this is, the
    /// account uses no other mailbox any more. `left` are those of which no message is listed.
    fn admit(
        &mut self,
        listing: &Listing,
        reconciled: &mut Reconciled,
        left: &[LedgerFile],
    ) -> Result<()> {
        let messages = &listing.messages;
        if !messages.is_empty() && self.ledger.reader().is_unidentified()? {
            mailboxes::leave_others(&self.file, &self.account.name, left)?;
        }
        let now = self.env.clock.now();
        self.ledger
            .admit(reconciled, messages, Some(&self.run), now)
    }

    /// Returns the plan for the deletions, in which new messages that did not arrive do not count
    /// for `keep-newest` and `keep-total`.
    fn after_fetching(
        &self,
        plan: Plan,
        criteria: &Criteria<'_>,
        reconciled: &Reconciled,
    ) -> Result<Plan> {
        let policy = &criteria.policy;
        if policy.keep_newest.is_none() && policy.keep_total.is_none() {
            return Ok(plan);
        }
        let fetched: Vec<_> = plan
            .of(&reconciled.mailbox)
            .filter(|(_, action)| matches!(action, Action::Fetch(_)))
            .filter_map(|(entry, _)| Some((entry.num, entry.row?)))
            .collect();
        let proofs = self.ledger.reader().prove_deletable(fetched)?;
        let safe: HashSet<_> = proofs.iter().map(Proof::row).collect();
        let is_safe = |row| safe.contains(&row);
        Ok(replan(policy, &reconciled.mailbox, criteria.now, is_safe))
    }

    /// Reports how many messages are listed, and how many of them will be fetched.
    fn report_planned(&self, listing: &Listing, requests: &[FetchRequest]) {
        self.report(&Event::Planned {
            listed: listing.messages.len() as u64,
            fetch: requests.len() as u64,
            octets: requests
                .iter()
                .fold(0, |sum, request| sum.saturating_add(request.octets)),
        });
    }

    /// Returns whether a delivered message is left on the server if `deletions` are deleted.
    fn keeps_a_good_message(&self, deletions: &[Candidate], reconciled: &Reconciled) -> bool {
        let deleted: HashSet<_> = deletions.iter().map(Candidate::row).collect();
        self.good_entries(reconciled)
            .any(|entry| entry.row.is_some_and(|row| !deleted.contains(&row)))
    }

    /// Surveys the mailbox (see [`survey`]). If it is a known one, continues with its ledger.
    fn survey(&mut self, session: &mut Transaction<Stream>) -> Result<Box<Survey>> {
        loop {
            match self.survey_once(session)? {
                Surveyed::Mailbox(survey) => return Ok(survey),
                // once, since it is not compared with others then
                Surveyed::Elsewhere(recognised) => self.continue_with(&recognised)?,
            }
        }
    }

    /// Surveys the mailbox, and compares it with the present ledger.
    fn survey_once(&mut self, session: &mut Transaction<Stream>) -> Result<Surveyed> {
        let Self {
            account,
            env,
            file,
            ledger,
            committer,
            maildirs,
            memory,
            mailbox_lock,
            ..
        } = self;
        let basis = Basis {
            account,
            env,
            file,
            reader: Some(ledger.reader()),
            router: committer.router(),
            maildirs,
            recovered: &[],
            is_recognised: mailbox_lock.is_some(),
            now: env.clock.now(),
        };
        survey(session, &basis, &mut memory.unreadable)
    }

    /// Returns the account's policy, with the limit reduced by what was fetched in this run.
    fn policy(&self) -> Policy {
        let mut policy = self.account.policy;
        // messages that failed in this run do not count against the limit
        let arrived = self.outcome.tally.delivered + self.committer.pending();
        policy.limit = policy.limit.map(|limit| {
            limit
                .saturating_sub(arrived)
                .saturating_add(self.blame.suspects())
        });
        policy
    }

    /// Records the findings of a survey, and reports messages recognised under a new UID.
    fn record_findings(&mut self, findings: &Findings) -> Result<()> {
        let Findings {
            recognized,
            located,
            misplaced,
            maildirs,
        } = findings;
        self.ledger.recognize(recognized)?;
        self.ledger.record_location(located)?;
        self.ledger.forget_location(misplaced)?;
        self.ledger.record_search(maildirs)?;
        let moved = recognized.moved.len();
        if moved > 0 {
            self.report(&Event::Notice(&identify::moved_notice(moved)));
        }
        Ok(())
    }

    /// Records the senders and subjects of the messages whose headers the rules read, so that they
    /// can be shown if such a message is skipped or fails.
    fn record_summaries(&mut self, listing: &Listing, reconciled: &Reconciled) -> Result<()> {
        let mut summaries = self.memory.rules.take_summaries();
        if summaries.is_empty() {
            return Ok(());
        }
        let entries = listing.messages.iter().zip(&reconciled.mailbox.entries);
        let described: Vec<_> = entries
            .filter_map(|(message, entry)| Some((entry.row?, summaries.remove(&message.uid)?)))
            .collect();
        self.ledger.describe_all(&described)
    }

    /// Makes messages whose header broke the connection suspects, so that they are requested last.
    fn suspect_unreadable(&mut self, listing: &Listing, reconciled: &Reconciled) -> Result<()> {
        let now = self.env.clock.now();
        for (message, entry) in listing.messages.iter().zip(&reconciled.mailbox.entries) {
            if let Some(row) = entry.row
                && self.memory.rules.broke_connection(&message.uid)
                && !self.blame.is_suspect(row)
            {
                self.blame.suspect(row);
                self.ledger.defer(row, now)?;
            }
        }
        Ok(())
    }

    /// Records the messages that the rules skip or delete, and those that they no longer delete.
    fn record_rules(&mut self, plan: &Plan, reconciled: &Reconciled) -> Result<()> {
        let (mut skipped, mut deleted) = (Vec::new(), Vec::new());
        for (entry, action) in plan.of(&reconciled.mailbox) {
            let Some(row) = entry.row else { continue };
            match action {
                Action::Leave(SkipReason::ByRule(rule)) => skipped.push(self.by_rule(row, rule)),
                Action::Delete(DeleteReason::ByRule(rule)) => deleted.push(self.by_rule(row, rule)),
                _ => {}
            }
        }
        let still: HashSet<_> = deleted.iter().map(|(row, _)| *row).collect();
        let entries = &reconciled.mailbox.entries;
        let before = reconciled
            .delete_by_rule
            .iter()
            .filter_map(|index| entries[*index].row);
        let cleared: Vec<_> = before.filter(|row| !still.contains(row)).collect();
        self.ledger.clear_rule_deletion(&cleared)?;
        self.ledger.skip(&skipped)?;
        self.ledger.mark_rule_deletion(&deleted)?;
        self.outcome.tally.skipped += skipped.len() as u64;
        Ok(())
    }

    /// Returns a row with the reason for skipping or deleting it.
    fn by_rule(&self, row: RowId, rule: RuleMatch) -> (RowId, String) {
        (
            row,
            format!(
                "by the rule {}",
                self.account.routing.rules[rule.index as usize].text
            ),
        )
    }

    /// Returns the requests for the messages that the plan fetches.
    fn requests(
        &self,
        plan: &Plan,
        reconciled: &Reconciled,
        listing: &Listing,
    ) -> Result<Vec<FetchRequest>> {
        let entries = &reconciled.mailbox.entries;
        let wanted: Vec<_> = plan
            .steps
            .iter()
            .filter_map(|step| match (step.action, entries[step.index].row) {
                (Action::Fetch(after), Some(row)) if !self.blame.is_done(row) => {
                    Some((step.index, after, row))
                }
                _ => None,
            })
            .collect();
        let rows = wanted.iter().map(|(_, _, row)| *row);
        let copies = self.ledger.reader().next_copies(rows)?;
        let requests = wanted
            .into_iter()
            .zip(copies)
            .map(|((index, after, row), copy)| {
                let known = entries[index].known;
                let Listed { num, uid, octets } = &listing.messages[index];
                let rule = entries[index]
                    .rule_match
                    .map_or_else(|| self.memory.rules.outcome(uid), RuleOutcome::Matched);
                FetchRequest {
                    num: *num,
                    row,
                    copy,
                    uid: uid.clone(),
                    octets: *octets,
                    after,
                    careful: known != Known::NEVER_SEEN || self.blame.is_suspect(row),
                    known_bad: !matches!(known, Known::New { attempts: 0, .. }),
                    rule,
                }
            });
        Ok(requests.collect())
    }

    /// Reports messages that are larger than `max-size` and were not reported before, in one notice
    /// if there are many.
    fn report_oversize(&mut self, plan: &Plan, reconciled: &Reconciled) -> Result<()> {
        let oversize: Vec<_> = plan
            .of(&reconciled.mailbox)
            .filter_map(|(entry, action)| match (action, entry.row) {
                (Action::Leave(SkipReason::Oversize(max)), Some(row)) => Some((entry, max, row)),
                _ => None,
            })
            .collect();
        let rows: Vec<_> = oversize.iter().map(|(_, _, row)| *row).collect();
        let now = self.env.clock.now();
        let unreported: HashSet<_> = self.ledger.mark_reported(&rows, now)?.into_iter().collect();
        let unreported: Vec<_> = oversize
            .into_iter()
            .filter(|(_, _, row)| unreported.contains(row))
            .collect();
        let notice =
            |what: String, hint: String| Error::new(Kind::Unavailable, what).with_hint(hint);
        let account = &self.account.name;
        let setting = if self.account.is_url() {
            "--max-size"
        } else {
            "max-size"
        };
        let size = |octets: u64| ByteSize::from_octets(octets).rounded();
        if unreported.len() <= REPORTED_SINGLY {
            for (entry, max, row) in unreported {
                let size = size(entry.octets);
                let what = format!(
                    "message {row} ({size}) is larger than max-size ({max}); left on the server"
                );
                let hint = format!(
                    "run `pouch ledger retry {account} {row}` to fetch it, or raise `{setting}`"
                );
                self.report(&Event::Notice(&notice(what, hint)));
            }
        } else if let Some((largest, max, row)) =
            unreported.iter().max_by_key(|(entry, ..)| entry.octets)
        {
            let messages = count(unreported.len() as u64, "message");
            let what = format!("{messages} are larger than max-size ({max}); left on the server");
            let fact = format!("the largest is message {row} ({})", size(largest.octets));
            let hint = format!(
                "raise `{setting}`, or fetch single messages with \
                 `pouch ledger retry {account} NUMBER`"
            );
            self.report(&Event::Notice(&notice(what, hint).with_fact(fact)));
        }
        Ok(())
    }
}
