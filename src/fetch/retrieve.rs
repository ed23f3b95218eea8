//! Requesting the messages of a session, and recording the result of each request.
//!
//! Messages are requested in three groups: first those that can be pipelined, then those for
//! programs and LMTP servers, which are delivered one at a time, and last, each alone, those that
//! failed or were deferred before. A message that breaks the connection is thus requested after all
//! good ones, except one that may be needed as evidence ([`Blame::holds_back`]), and nothing else
//! is outstanding when it does.
//!
//! [`Blame::holds_back`]: crate::domain::blame::Blame::holds_back

use super::{
    request::{FetchRequest, Received, SessionLost, will_retry},
    run::AccountRun,
};
use crate::{
    config::RequestAhead,
    delivery::DeliveryMode,
    domain::{
        blame::{Cause, MAX_DEFERRED_IN_A_ROW, MAX_IN_A_ROW, Next},
        plan::{Known, ListedMessage},
        reconcile::Reconciled,
    },
    error::{Error, Kind, Result},
    net::Stream,
    pop3::{
        retrieval::{RetrRequest, RetrResponse, Window},
        transaction::Transaction,
    },
};

/// The default window: enough to fill a connection of 1 Gbit/s with a round trip of 60 ms.
/// Requested messages that have not arrived take no memory here.
const WINDOW: Window = Window {
    count: 256,
    cautious: 64,
    octets: 8_000_000,
};

/// How many messages are requested ahead at first if the server refused others.
const CAUTIOUS: usize = 8;

/// Whether to request more messages in a session.
pub(super) enum Flow {
    Continue,
    /// The server refused too many messages in a row.
    Refuses,
    /// A destination deferred or rejected too many messages in a row.
    Stopped(Error),
}

impl AccountRun<'_> {
    /// Fetches messages, in the groups that the module describes.
    ///
    /// # Errors
    /// The session is lost, or the ledger or a destination failed.
    pub(super) fn retrieve_all(
        &mut self,
        session: &mut Transaction<Stream>,
        requests: Vec<FetchRequest>,
        address: Option<&str>,
    ) -> std::result::Result<Flow, SessionLost> {
        let number = usize::try_from(self.run.id()).unwrap_or(0);
        let (mut careful, mut fresh): (Vec<_>, Vec<_>) =
            requests.into_iter().partition(|request| request.careful);
        self.blame.order(&mut fresh, number);
        self.blame.order_careful(&mut careful, number);
        let (mut one_at_a_time, mut batched): (Vec<_>, Vec<_>) =
            fresh.into_iter().partition(|request| {
                let destinations = self.known_destinations(request).unwrap_or_default();
                self.committer.mode(&destinations) == DeliveryMode::OneAtATime
            });
        let is_open = careful.iter().any(|request| !request.known_bad);
        let last = if is_open && self.blame.holds_back(number) {
            one_at_a_time.pop().or_else(|| batched.pop())
        } else {
            None
        };
        let mut window = match self.account.request_ahead {
            // a filter may take longer than the server tolerates unread responses
            _ if !self.account.filter.is_empty() => Window::ONE,
            RequestAhead::Auto => WINDOW,
            RequestAhead::Count(count) => Window {
                count: count as usize,
                ..WINDOW
            },
        };
        if is_open || self.blame.is_refused() {
            window.cautious = CAUTIOUS;
        }
        let mut first = true;
        let careful = careful
            .iter()
            .map(|request| (std::slice::from_ref(request), Window::ONE));
        let groups = [
            (batched.as_slice(), window),
            (one_at_a_time.as_slice(), Window::ONE),
        ];
        let last = (last.as_slice(), Window::ONE);
        for (group, window) in groups.into_iter().chain(careful).chain([last]) {
            let flow = self.retrieve(session, group, window, (address, &mut first))?;
            if !matches!(flow, Flow::Continue) {
                return Ok(flow);
            }
        }
        Ok(Flow::Continue)
    }

    /// Fetches `requests`, in that order. `first` is whether no message was requested in this
    /// session yet, and is updated.
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

    /// Records the result of a request. Returns whether to continue.
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
                self.outcome.defer(request, error, reported);
            }
            Received::Refused(error) => {
                self.ledger.defer(request.row, now)?;
                let reported = will_retry(request, error.clone());
                self.outcome.defer(request, error, reported);
                return Ok(Flow::Refuses);
            }
            Received::Stopped(error) => {
                self.ledger.defer(request.row, now)?;
                return Ok(Flow::Stopped(in_a_row(&error, MAX_DEFERRED_IN_A_ROW)));
            }
            Received::Failed(failure, cause) => {
                let requested = request.requested();
                let next = match cause {
                    Cause::Destination => {
                        self.blame.rejected(requested, failure.recipients.clone())
                    }
                    Cause::Server | Cause::Storage => self.blame.failed(requested, first, cause),
                };
                let stop = (next == Next::GiveUp).then(|| in_a_row(&failure.error, MAX_IN_A_ROW));
                self.keep_failure(*failure);
                return Ok(match (stop, cause) {
                    (None, _) => Flow::Continue,
                    (Some(_), Cause::Server) => Flow::Refuses,
                    (Some(error), Cause::Destination | Cause::Storage) => Flow::Stopped(error),
                });
            }
        }
        Ok(Flow::Continue)
    }

    /// Requests the header of the smallest delivered message, if a failed message may be the fault
    /// of the server: a server that still provides a good header is working.
    pub(super) fn probe_if_needed(
        &mut self,
        session: &mut Transaction<Stream>,
        reconciled: &Reconciled,
    ) -> Result<()> {
        if !self.blame.needs_probe() {
            return Ok(());
        }
        let good = self.good_entries(reconciled);
        let Some(smallest) = good.min_by_key(|entry| entry.octets) else {
            return Ok(());
        };
        if session.top(smallest.num)?.is_ok() {
            self.blame.probed();
        }
        Ok(())
    }

    /// Returns the listed messages that were delivered, in an earlier run or in this one.
    pub(super) fn good_entries<'r>(
        &self,
        reconciled: &'r Reconciled,
    ) -> impl Iterator<Item = &'r ListedMessage> {
        reconciled.mailbox.entries.iter().filter(|entry| {
            matches!(entry.known, Known::Delivered { .. } | Known::Short { .. })
                || entry.row.is_some_and(|row| self.blame.is_good(row))
        })
    }
}

/// Returns the error for this number of messages in a row that failed, the last one with `error`.
fn in_a_row(error: &Error, messages: u32) -> Error {
    let what = format!("{}, {messages} times in a row", error.what());
    let facts = error.facts().iter();
    facts.fold(Error::new(Kind::Busy, what), |error, fact| {
        error.with_fact(fact.as_str())
    })
}
