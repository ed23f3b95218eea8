//! One session: what is listed, planned and fetched in it.

use std::collections::HashSet;

use super::{
    basis::{Basis, Criteria},
    expunge::{Candidate, candidates},
    identify,
    request::{FetchRequest, Received, SessionLost, will_retry},
    run::AccountRun,
    survey::{Findings, Survey, decide, survey},
};
use crate::{
    config::RequestAhead,
    delivery::DeliveryMode,
    domain::{
        blame::{Cause, MAX_DEFERRED_IN_A_ROW, MAX_IN_A_ROW, Next},
        ids::{Listed, RowId},
        plan::{Action, DeleteReason, Known, Plan, Policy, SkipReason},
        reconcile::Reconciled,
        rule::{RuleMatch, RuleOutcome},
        size::ByteSize,
    },
    error::{Error, Kind, Result},
    event::Event,
    net::Stream,
    pop3::{
        retrieval::{RetrRequest, RetrResponse, Window},
        transaction::{Listing, Transaction},
    },
    text::count,
};

/// How much is requested ahead by default: enough to fill a connection of 100 Mbit/s and 100 ms.
const WINDOW: Window = Window {
    count: 256,
    octets: 2_000_000,
};

/// Up to so many messages of a kind are reported one by one.
const REPORTED_SINGLY: usize = 3;

/// How a session ended that was not lost.
pub(super) struct SessionEnd {
    /// What may be due for deletion.
    pub(super) deletions: Vec<Candidate>,
    /// Why a destination gets no more messages.
    pub(super) stopped: Option<Error>,
    /// Whether the server refused too many messages in a row.
    pub(super) refuses: bool,
}

/// Whether to request more messages in a session.
enum Flow {
    Continue,
    /// The server refuses too many messages.
    Refuses,
    /// A destination gets no more messages.
    Stopped(Error),
}

impl AccountRun<'_> {
    /// Fetches what is to be fetched. `address` is where the server was reached.
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
        } = self.survey(session)?;
        self.report(&Event::Connected {
            server: &self.account.address(),
        });
        self.outcome.warning = warning.or(self.outcome.warning.take());
        self.record_findings(&findings)?;
        self.ledger
            .admit(&mut reconciled, &listing.messages, Some(&self.run), now)?;
        let criteria = Criteria {
            rules: &self.account.routing.rules,
            policy: self.policy(),
            now,
        };
        let rules = &mut self.memory.rules;
        let decided = decide(session, &criteria, &listing, &mut reconciled, rules);
        self.suspect_unreadable(&listing, &reconciled)?;
        let plan = decided?;
        self.record_rules(&plan, &reconciled)?;
        self.report_oversize(&plan, &reconciled)?;
        let requests = self.requests(&plan, &reconciled, &listing)?;
        if !requests.is_empty() {
            self.ledger.mark_unsettled(&self.run)?;
        }
        self.report(&Event::Planned {
            listed: listing.messages.len() as u64,
            fetch: requests.len() as u64,
            octets: requests
                .iter()
                .fold(0, |sum, request| sum.saturating_add(request.octets)),
        });
        self.probe_if_needed(session, &reconciled)?;
        let flow = self.retrieve_all(session, requests, address)?;
        self.flush()?;
        self.probe_if_needed(session, &reconciled)?;
        self.charge_proven()?;
        self.add_owed_notices(&reconciled)?;
        self.send_notices(Some((session, &reconciled)))?;
        let (stopped, refuses) = match flow {
            Flow::Continue => (None, false),
            Flow::Refuses => (None, true),
            Flow::Stopped(error) => (Some(error), false),
        };
        Ok(SessionEnd {
            deletions: candidates(&plan, &reconciled),
            stopped,
            refuses,
        })
    }

    fn survey(&mut self, session: &mut Transaction<Stream>) -> Result<Survey> {
        let Self {
            account,
            env,
            ledger,
            committer,
            maildirs,
            memory,
            ..
        } = self;
        let basis = Basis {
            account,
            reader: Some(ledger.reader()),
            router: committer.router(),
            maildirs,
            recovered: &[],
            accept_new_uids: env.accept_new_uids,
            now: env.clock.now(),
        };
        survey(session, &basis, &mut memory.unreadable)
    }

    /// Returns the account's policy, less what was fetched in this run already.
    fn policy(&self) -> Policy {
        let mut policy = self.account.policy;
        // messages that failed in this run do not use up the limit
        let arrived = self.outcome.tally.delivered + self.committer.pending();
        policy.limit = policy.limit.map(|limit| {
            limit
                .saturating_sub(arrived)
                .saturating_add(self.blame.suspects())
        });
        policy
    }

    fn record_findings(&mut self, findings: &Findings) -> Result<()> {
        let Findings {
            recognized,
            located,
            misplaced,
        } = findings;
        self.ledger.recognize(recognized)?;
        self.ledger.record_location(located)?;
        self.ledger.forget_location(misplaced)?;
        let moved = recognized.moved.len();
        if moved > 0 {
            self.report(&Event::Notice(&identify::moved_notice(moved)));
        }
        Ok(())
    }

    /// Requests messages last whose header broke the connection, as others that break it.
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

    /// Records which messages the rules skip or delete, and which they no longer delete.
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

    fn by_rule(&self, row: RowId, rule: RuleMatch) -> (RowId, String) {
        (
            row,
            format!(
                "by the rule {}",
                self.account.routing.rules[rule.index as usize].text
            ),
        )
    }

    /// Returns the messages to fetch.
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
                    listed: listing.messages.len(),
                }
            });
        Ok(requests.collect())
    }

    /// Fetches messages: first those that never failed, then each of the others alone.
    fn retrieve_all(
        &mut self,
        session: &mut Transaction<Stream>,
        requests: Vec<FetchRequest>,
        address: Option<&str>,
    ) -> std::result::Result<Flow, SessionLost> {
        let number = self.run.number();
        let (mut careful, mut fresh): (Vec<_>, Vec<_>) =
            requests.into_iter().partition(|request| request.careful);
        self.blame.order(&mut fresh, number);
        self.blame.order_careful(&mut careful, number);
        let (one_at_a_time, batched): (Vec<_>, Vec<_>) = fresh.into_iter().partition(|request| {
            let destinations = self.known_destinations(request).unwrap_or_default();
            self.committer.mode(&destinations) == DeliveryMode::OneAtATime
        });
        let window = match self.account.request_ahead {
            // while a program has a message, none is in flight
            _ if !self.account.filter.is_empty() => Window::ONE,
            RequestAhead::Auto => WINDOW,
            RequestAhead::Count(count) => Window {
                count: count as usize,
                ..WINDOW
            },
        };
        let mut first = true;
        let careful = careful
            .iter()
            .map(|request| (std::slice::from_ref(request), Window::ONE));
        let groups = [
            (batched.as_slice(), window),
            (one_at_a_time.as_slice(), Window::ONE),
        ];
        for (group, window) in groups.into_iter().chain(careful) {
            let flow = self.retrieve(session, group, window, (address, &mut first))?;
            if !matches!(flow, Flow::Continue) {
                return Ok(flow);
            }
        }
        Ok(Flow::Continue)
    }

    /// Fetches `requests`, in that order. `first` is whether nothing was requested in this session
    /// before.
    fn retrieve(
        &mut self,
        session: &mut Transaction<Stream>,
        requests: &[FetchRequest],
        window: Window,
        (address, first): (Option<&str>, &mut bool),
    ) -> std::result::Result<Flow, SessionLost> {
        let retr: Vec<_> = requests
            .iter()
            .map(|request| RetrRequest {
                num: request.num,
                octets: request.octets,
            })
            .collect();
        let mut retrieval = session.retrieve(&retr, window);
        let mut flow = Flow::Continue;
        for request in requests {
            let is_first = std::mem::take(first);
            let response = retrieval
                .next()
                .map_err(|error| SessionLost::during(request, error, (Vec::new(), is_first)))?;
            let received = match response {
                Some(RetrResponse::Message(body)) => {
                    self.receive(request, body, (address, is_first))?
                }
                Some(RetrResponse::Refused(refusal)) => self.refused(request, &refusal),
                None => break,
            };
            match self.conclude(request, received, is_first)? {
                Flow::Continue => {}
                stop => {
                    retrieval.stop();
                    flow = stop;
                }
            }
            self.commit_if_due()?;
            self.env.stop.check()?;
        }
        Ok(flow)
    }

    /// Draws the consequences from what became of a message.
    fn conclude(
        &mut self,
        request: &FetchRequest,
        received: Received,
        first: bool,
    ) -> Result<Flow> {
        let now = self.env.clock.now();
        match received {
            Received::Accepted | Received::Unchanged => self.forget_failure(request.row),
            Received::Skipped => self.outcome.tally.skipped += 1,
            Received::Deferred(error) => {
                self.ledger.defer(request.row, now)?;
                let reported = will_retry(request, error.clone());
                self.outcome.defer(request.row, error, reported);
            }
            Received::Stopped(error) => {
                self.ledger.defer(request.row, now)?;
                return Ok(Flow::Stopped(in_a_row(&error, MAX_DEFERRED_IN_A_ROW)));
            }
            Received::Failed(failure, cause) => {
                let next = self.blame.failed(request.requested(), first, cause);
                let stop = (next == Next::GiveUp).then(|| in_a_row(&failure.error, MAX_IN_A_ROW));
                self.keep_failure(*failure);
                return Ok(match (stop, cause) {
                    (None, _) => Flow::Continue,
                    (Some(_), Cause::Server) => Flow::Refuses,
                    (Some(error), Cause::Destination) => Flow::Stopped(error),
                });
            }
        }
        Ok(Flow::Continue)
    }

    /// Reads the header of the smallest delivered message, if that tells whether a message or the
    /// server failed.
    fn probe_if_needed(
        &mut self,
        session: &mut Transaction<Stream>,
        reconciled: &Reconciled,
    ) -> Result<()> {
        if !self.blame.needs_probe() {
            return Ok(());
        }
        let entries = reconciled.mailbox.entries.iter();
        let known = entries.filter(|entry| {
            matches!(entry.known, Known::Delivered { .. } | Known::Short { .. })
                || entry.row.is_some_and(|row| self.blame.is_good(row))
        });
        let Some(smallest) = known.min_by_key(|entry| entry.octets) else {
            return Ok(());
        };
        if session.top(smallest.num)?.is_ok() {
            self.blame.probed();
        }
        Ok(())
    }

    /// Reports messages that are larger than `max-size`, each once, and many together.
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
        let notice = |what: String| {
            Error::new(Kind::Unavailable, what).with_hint("raise `max-size` to fetch them")
        };
        let size = |octets: u64| ByteSize::from_octets(octets).rounded();
        if unreported.len() <= REPORTED_SINGLY {
            for (entry, max, _) in unreported {
                let size = size(entry.octets);
                self.report(&Event::Notice(&notice(format!(
                    "message {} ({size}) is larger than max-size ({max}); left on the server",
                    entry.num
                ))));
            }
        } else if let Some((largest, max, _)) =
            unreported.iter().max_by_key(|(entry, ..)| entry.octets)
        {
            let messages = count(unreported.len() as u64, "message");
            let what = format!("{messages} are larger than max-size ({max}); left on the server");
            let fact = format!(
                "the largest is message {} ({})",
                largest.num,
                size(largest.octets)
            );
            self.report(&Event::Notice(&notice(what).with_fact(fact)));
        }
        Ok(())
    }
}

/// Returns the error of the last of so many messages that failed in a row.
fn in_a_row(error: &Error, messages: u32) -> Error {
    let what = format!("{}, {messages} times in a row", error.what());
    let facts = error.facts().iter();
    facts.fold(Error::new(Kind::Busy, what), |error, fact| {
        error.with_fact(fact.as_str())
    })
}
