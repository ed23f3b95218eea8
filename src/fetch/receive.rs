//! Receiving one message and giving it to its destinations.

use std::io::Write;

use super::{
    commit::{Accepted, Unaccepted},
    filter::FilterOutcome,
    request::{Failure, FetchRequest, Received, SessionLost},
    run::AccountRun,
};
use crate::{
    config::Tls,
    delivery::{DeliveryMode, Draft, Envelope},
    domain::{
        blame::{Cause, Next},
        destination::Destination,
        message::{Fingerprint, Head, Header, HeaderSummary, fingerprint, received_at, summarize},
        plan::AfterFetch,
        rule::{Candidate, RuleOutcome, evaluate},
        trace_fields::{self, TraceInfo},
    },
    error::{Error, Kind, Result, Verdict},
    event::Event,
    ledger::Arrival,
    net::Stream,
    pop3::{
        reply::{Refusal, quoted},
        retrieval::Body,
    },
    text::count,
};

/// The largest part of a broken message that is kept for its notice, in bytes.
const MAX_PARTIAL: u64 = 256 * 1024;

/// The size in octets up to which a message counts as empty. Dovecot sends a blank line for a
/// message that it cannot decompress.
const BLANK_LINE: u64 = 2;

/// The bytes that a message may have beyond four times its listed size. Servers count line ends
/// differently, add fields, or list a wrong size; a larger message is taken to be endless.
const EXTRA_ROOM: u64 = 64_000_000;

/// The result of reading a message.
enum Read {
    Complete(Content),
    /// This machine cannot store it, although it can store a small one.
    Unstored(Error),
}

/// A complete message in a draft.
struct Content {
    draft: Draft,
    head: Head,
    /// The size received, in octets as LIST counts them.
    octets: u64,
}

impl AccountRun<'_> {
    /// Receives a message and gives it to its destinations. `address` is that of the server,
    /// `first` whether this is the first message of the session.
    ///
    /// # Errors
    /// The session is lost, or the ledger or a destination failed. A problem of the message alone
    /// is a value of [`Received`].
    pub(super) fn receive(
        &mut self,
        request: &FetchRequest,
        body: Body<'_, '_, Stream>,
        (address, first): (Option<&str>, bool),
    ) -> std::result::Result<Received, SessionLost> {
        let content = match self.read_content(request, body, first)? {
            Read::Complete(content) => content,
            Read::Unstored(error) => {
                let failure = self.not_stored(request, error);
                return Ok(Received::Failed(Box::new(failure), Cause::Storage));
            }
        };
        let Content {
            mut draft,
            head,
            octets,
        } = content;
        let before = match request.after {
            AfterFetch::Complete => self.ledger.reader().bytes_received(request.row)?,
            _ => None,
        };
        if before == Some(octets) && octets >= request.octets {
            // the message was complete before, and listed with too large a size
            self.blame.arrived_complete(request.row);
            self.ledger.record_complete(request.row, octets)?;
            return Ok(Received::Unchanged);
        }
        if let Some(error) = missing(request, octets, before.unwrap_or(0)) {
            let failure = Failure {
                partial: partial(&mut draft),
                ..Failure::new(request, error)
            };
            return Ok(Received::Failed(Box::new(failure), Cause::Server));
        }
        self.blame.arrived_complete(request.row);
        let original = fingerprint(head.as_bytes());
        let (draft, head) = match self.filter(request, draft, head)? {
            FilterOutcome::Passed(draft, head) => (draft, head),
            FilterOutcome::Stopped(received) => return Ok(received),
        };
        Ok(self.deliver(
            request,
            Content {
                draft,
                head,
                octets,
            },
            original,
            address,
        )?)
    }

    /// Reads a message into a draft. Returns only a complete and verified message, or why it cannot
    /// be stored; then the rest of it is read as well, so that the session can go on.
    fn read_content(
        &mut self,
        request: &FetchRequest,
        mut body: Body<'_, '_, Stream>,
        first: bool,
    ) -> std::result::Result<Read, SessionLost> {
        let account = self.account;
        let destinations = self.known_destinations(request);
        let envelope = Envelope {
            account: &account.name,
            name: &request.copy.name.to_string(),
            uid: &request.uid,
            sender: None,
            // a message that gets additional fields is spooled
            destinations: destinations
                .as_deref()
                .filter(|_| account.add_headers.is_empty())
                .unwrap_or_default(),
            accepted_by: &request.copy.accepted_by,
            fields: &[],
        };
        let mut draft = self.committer.begin(&envelope);
        if let Err(error) = &draft
            && !self.can_store(request, error)
        {
            return Err(error.clone().into());
        }
        let mut head = Head::default();
        let most = request.octets.saturating_mul(4).saturating_add(EXTRA_ROOM);
        let mut read = 0_u64;
        let error = loop {
            match body.chunk() {
                Ok(Some(content)) => {
                    read += content.len() as u64;
                    head.push(content);
                    self.write(request, &mut draft, content)?;
                    self.report(&Event::Received {
                        octets: content.len() as u64,
                    });
                }
                Ok(None) => {
                    let octets = body.octets();
                    return Ok(match draft {
                        Ok(draft) => Read::Complete(Content {
                            draft,
                            head,
                            octets,
                        }),
                        Err(error) => Read::Unstored(error),
                    });
                }
                Err(error) => break error,
            }
            if read > most {
                let host = &self.account.host;
                let what = format!("{host} far exceeded the listed size");
                break Error::new(Kind::ConnectionLost, what).with_fact(format!(
                    "received more than {most} bytes, the server listed {}",
                    request.octets
                ));
            }
        };
        let received = draft.as_mut().map(partial).unwrap_or_default();
        Err(SessionLost::during(request, error, (received, first)))
    }

    /// Writes a piece of a message to its draft. If that fails, the draft is replaced by the error,
    /// so that its space can be used.
    ///
    /// # Errors
    /// Not even a small message can be stored.
    fn write(
        &mut self,
        request: &FetchRequest,
        draft: &mut Result<Draft>,
        content: &[u8],
    ) -> Result<()> {
        let Ok(file) = draft else { return Ok(()) };
        let Err(error) = file.write_all(content) else {
            return Ok(());
        };
        let error = Error::file("write", file.path(), &error);
        *draft = Err(error.clone());
        if self.can_store(request, &error) {
            Ok(())
        } else {
            Err(error)
        }
    }

    /// Returns the destinations of a message, or `None` if they depend on its header, which has not
    /// arrived or not passed the filters yet.
    pub(super) fn known_destinations(&self, request: &FetchRequest) -> Option<Vec<Destination>> {
        let routing = &self.account.routing;
        let undecided = request.rule == RuleOutcome::NeedsHeader && routing.needs_header();
        if undecided || !self.account.filter.is_empty() {
            return None;
        }
        routing.destinations(request.rule.matched(), None)
    }

    /// Returns the destinations of a message with this header. Rules that skip or delete do not
    /// apply to a message that has been received.
    fn destinations_by(&self, request: &FetchRequest, head: &[u8]) -> Vec<Destination> {
        let routing = &self.account.routing;
        let header = Header::read(head);
        let candidate = Candidate {
            octets: request.octets,
            header: Some(&header),
            wanted: true,
        };
        let matched = evaluate(&routing.rules, candidate, self.env.clock.now()).matched();
        routing
            .destinations(matched, Some(&header))
            .unwrap_or_else(|| vec![routing.default.clone()])
    }

    /// Gives a message to its destinations. `original` is the fingerprint of the message as the
    /// server sent it.
    fn deliver(
        &mut self,
        request: &FetchRequest,
        content: Content,
        original: Option<Fingerprint>,
        address: Option<&str>,
    ) -> Result<Received> {
        let Content {
            draft,
            head,
            octets,
        } = content;
        let head = head.as_bytes();
        let destinations = self
            .known_destinations(request)
            .unwrap_or_else(|| self.destinations_by(request, head));
        let one_at_a_time = self.committer.mode(&destinations) == DeliveryMode::OneAtATime;
        let summary = if one_at_a_time {
            summarize(head)
        } else {
            HeaderSummary::default()
        };
        let mut name = request.copy.name.clone();
        name.destinations = destinations.len();
        let envelope = Envelope {
            account: &self.account.name,
            name: &name.to_string(),
            uid: &request.uid,
            sender: summary.address.as_deref(),
            destinations: &destinations,
            accepted_by: &request.copy.accepted_by,
            fields: &self.trace_fields(request, head, address),
        };
        // a destination that accepted the message in an earlier run may have it truncated
        let before = request
            .copy
            .partial_bytes
            .filter(|_| !request.copy.accepted_by.is_empty());
        let received = before.map_or(octets, |before| before.min(octets));
        let filtered = !self.account.filter.is_empty();
        let arrival = Arrival {
            row: request.row,
            listed: request.octets,
            received,
            fingerprint: original,
            delivered_fingerprint: fingerprint(head)
                .filter(|found| filtered && Some(*found) != original),
            in_maildir: destinations
                .iter()
                .any(|one| matches!(one, Destination::Maildir(_))),
            received_at: received_at(head),
        };
        self.begin_handover(request, &arrival, one_at_a_time)?;
        if let Err(unaccepted) = self.committer.accept(&envelope, draft, &self.env.stop) {
            return self.not_accepted(request, unaccepted, (head, &destinations), one_at_a_time);
        }
        self.blame.accepted(&recipients(&destinations));
        self.committer.add(Accepted {
            request: request.clone(),
            name: name.to_string(),
            arrival,
            copies: destinations.len(),
        });
        self.outcome.accept(request, &name, destinations);
        if one_at_a_time {
            self.flush()?;
        }
        Ok(Received::Accepted)
    }

    /// Returns the fields that the account adds to a message with this header.
    fn trace_fields(&self, request: &FetchRequest, head: &[u8], address: Option<&str>) -> Vec<u8> {
        let info = TraceInfo {
            host: &self.account.host,
            address,
            machine: &self.env.hostname,
            protected: self.account.tls != Tls::Off,
            account: &self.account.name,
            user: &self.account.user,
            uid: &request.uid,
        };
        trace_fields::write(&self.account.add_headers, &info, head, self.env.clock.now())
    }

    /// Records what the next run has to know if this one is interrupted during the delivery.
    fn begin_handover(
        &mut self,
        request: &FetchRequest,
        arrival: &Arrival,
        one_at_a_time: bool,
    ) -> Result<()> {
        let truncated =
            arrival.received < arrival.listed && self.ledger.reader().sizes_are_trusted()?;
        let partial_bytes = truncated.then_some(arrival.received);
        if partial_bytes != request.copy.partial_bytes {
            self.ledger
                .record_partial_bytes(request.row, partial_bytes)?;
        }
        if one_at_a_time {
            // messages that arrived before this one do not wait for the program
            self.flush()?;
            if self.ledger.begin_handover(request.row)? {
                self.report_redelivery(&request.name());
            }
        }
        Ok(())
    }

    /// Records that not all destinations accepted a message. Returns what becomes of it.
    fn not_accepted(
        &mut self,
        request: &FetchRequest,
        unaccepted: Unaccepted,
        (head, destinations): (&[u8], &[Destination]),
        one_at_a_time: bool,
    ) -> Result<Received> {
        let Unaccepted { error, accepted_by } = unaccepted;
        let mut rejecting = recipients(destinations);
        rejecting.retain(|recipient| {
            !accepted_by.contains(recipient) && !request.copy.accepted_by.contains(recipient)
        });
        for recipient in accepted_by {
            let now = self.env.clock.now();
            self.ledger
                .record_partial_delivery(request.row, &recipient, now)?;
        }
        if error.kind().verdict() == Verdict::StopAll {
            // the program may have accepted the message: the ledger keeps it as being delivered
            return Err(error);
        }
        self.describe(request.row, &summarize(head))?;
        if one_at_a_time {
            self.ledger.abort_handover(request.row)?;
        }
        self.unaccepted(request, error, rejecting)
    }

    /// Returns what becomes of a message that a program did not accept. `recipients` are those that
    /// rejected it, by their names in the ledger; none if it was a filter.
    pub(super) fn unaccepted(
        &mut self,
        request: &FetchRequest,
        error: Error,
        recipients: Vec<String>,
    ) -> Result<Received> {
        match error.kind() {
            Kind::Deferred => Ok(match self.blame.deferred_by_destination(request.row) {
                Next::Continue => Received::Deferred(error),
                Next::GiveUp => Received::Stopped(error),
            }),
            Kind::Rejected => {
                let failure = Failure {
                    recipients,
                    ..Failure::new(request, error)
                };
                Ok(Received::Failed(Box::new(failure), Cause::Destination))
            }
            Kind::TooLarge => {
                let failure = Failure::new(request, error);
                Ok(Received::Failed(Box::new(failure), Cause::Storage))
            }
            _ if self.is_batched(request) && self.can_store(request, &error) => {
                let failure = self.not_stored(request, error);
                Ok(Received::Failed(Box::new(failure), Cause::Storage))
            }
            _ => Err(error),
        }
    }

    /// Returns whether the message is for Maildirs and mbox files only, as far as that is known.
    /// The errors of programs and of standard output are no problems of a disk.
    fn is_batched(&self, request: &FetchRequest) -> bool {
        let destinations = self.known_destinations(request).unwrap_or_default();
        self.committer.mode(&destinations) != DeliveryMode::OneAtATime
    }

    /// Returns what becomes of a message that the server refused.
    pub(super) fn refused(&mut self, request: &FetchRequest, refusal: &Refusal) -> Received {
        let host = self.account.host.as_str();
        let transient = refusal.sounds_transient();
        let kind = if transient {
            Kind::Busy
        } else {
            Kind::Unavailable
        };
        let error = Error::new(kind, format!("{host} refused to send {}", request.name()))
            .with_fact(quoted(host, refusal));
        if transient {
            return match self.blame.deferred_by_server(request.row) {
                Next::Continue => Received::Deferred(error),
                Next::GiveUp => Received::Refused(error),
            };
        }
        Received::Failed(Box::new(Failure::new(request, error)), Cause::Server)
    }
}

/// Returns the names of all recipients of a message in the ledger.
fn recipients(destinations: &[Destination]) -> Vec<String> {
    destinations
        .iter()
        .flat_map(Destination::recipients)
        .collect()
}

/// Returns the error for a truncated message that is not delivered, because it is empty, or no more
/// complete than the `before` octets that were delivered. Returns `None` for any other message.
fn missing(request: &FetchRequest, octets: u64, before: u64) -> Option<Error> {
    if octets >= request.octets {
        return None;
    }
    let what = if octets <= BLANK_LINE {
        "was empty"
    } else if request.after == AfterFetch::Complete && octets <= before {
        "is still truncated"
    } else {
        return None;
    };
    let error = Error::new(Kind::Unavailable, format!("{} {what}", request.name()));
    Some(error.with_fact(format!(
        "received {octets} of {}",
        count(request.octets, "byte")
    )))
}

/// Returns the beginning of an incomplete message for its notice, empty if it cannot be read.
fn partial(draft: &mut Draft) -> Vec<u8> {
    draft.read_back(MAX_PARTIAL).unwrap_or_default()
}
