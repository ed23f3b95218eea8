//! One message: from the line into the delivery, or into the ledger as failed.

use std::io::Write;

use super::{AccountRun, Failure, FetchRequest, Quarantined};
use crate::{
    config::Tls,
    delivery::{Delivery, DeliveryMode, Draft, Envelope},
    domain::{
        destination::Destination,
        message::{Head, HeaderSummary, fingerprint, glance},
        plan::AfterFetch,
        trace_fields::{self, TraceInfo},
    },
    error::{Error, Exit, Kind, Result, Verdict},
    event::Event,
    ledger::{Arrival, Ledger},
    net::Stream,
    pop3::{
        reply::{Refusal, quoted},
        retrieval::Body,
    },
    text::{count, times},
};

/// After so many messages in a row that a program failed to take for a passing reason, it gets no
/// more of them.
const DEFERRED_IN_A_ROW: u32 = 3;

/// The most of a broken message that is kept for its notice.
const MAX_PARTIAL: u64 = 256 * 1024;

/// What Dovecot makes of a message that it cannot unpack: as good as nothing.
const BLANK_LINE: u64 = 2;

/// A message may be so much larger than listed: servers count line ends differently, and add
/// fields. What is larger has no end.
const ROOM: u64 = 64_000_000;

impl AccountRun<'_> {
    /// Takes a message from the line and gives it to the delivery.
    pub(super) fn receive(
        &mut self,
        order: &FetchRequest,
        body: Body<'_, '_, Stream>,
        delivery: &mut dyn Delivery,
    ) -> Result<()> {
        let places = self.places(order);
        let envelope = Envelope {
            account: &self.account.name,
            name: &order.copy.name,
            uid: &order.uid,
            sender: None,
            // what gets fields on top is spooled
            destinations: places
                .as_deref()
                .filter(|_| self.account.add_headers.is_empty())
                .unwrap_or_default(),
            accepted_by: &order.copy.accepted_by,
            fields: &[],
        };
        let mut draft = delivery.begin(&envelope)?;
        let mut head = Head::default();
        let got = match self.pour(order.octets, body, &mut draft, &mut head) {
            Ok(got) => got,
            Err(error) => {
                if error.kind().verdict() == Verdict::Reconnect {
                    self.partial = partial(&mut draft);
                }
                return Err(error);
            }
        };
        if got > order.octets && is_status(head.as_bytes()) {
            // a line too many came before it: its own status line is in the content
            return Err(Error::new(
                Kind::Desynchronized,
                format!("{} says what nobody asked for", self.account.host),
            )
            .with_fact(format!("message {} begins like an answer", order.num)));
        }
        self.through += 1;
        if order.then == AfterFetch::Complete
            && got >= order.octets
            && self.ledger.octets_delivered(order.row)? == Some(got)
        {
            // it was whole all along, and listed too large before
            return self.ledger.complete(order.row, got);
        }
        if let Some(missing) = self.missing(order, got)? {
            let partial = partial(&mut draft);
            return self.failed(Failure {
                order: order.clone(),
                error: missing,
                partial,
            });
        }
        let print = fingerprint(head.as_bytes());
        let Some((draft, head)) = self.filter(order, &envelope, draft, head)? else {
            return Ok(());
        };
        let filtered = if self.account.filter.is_empty() {
            print
        } else {
            fingerprint(head.as_bytes())
        };
        let filtered = filtered.filter(|_| filtered != print);
        let places = places
            .clone()
            .unwrap_or_else(|| self.places_by(order, head.as_bytes()));
        let one_by_one = delivery.pace(&places) == DeliveryMode::OneAtATime;
        let glance = if one_by_one {
            glance(head.as_bytes())
        } else {
            HeaderSummary::default()
        };
        let name = Ledger::name_in_several(&order.copy.name, places.len());
        let fields = self.fields(order, head.as_bytes());
        let sender = glance.address.as_deref();
        let envelope = Envelope {
            sender,
            name: &name,
            destinations: &places,
            fields: &fields,
            ..envelope
        };
        // what one of the places has already may not be whole, whatever the others get
        let got = order
            .copy
            .came
            .filter(|_| !order.copy.accepted_by.is_empty())
            .map_or(got, |came| came.min(got));
        let in_maildir = places
            .iter()
            .any(|place| matches!(place, Destination::Maildir(_)));
        let arrival = Arrival {
            row: order.row,
            listed: order.octets,
            got,
            fingerprint: print,
            filtered,
            in_maildir,
        };
        self.begin_handover(order, &envelope, draft, arrival, delivery)
    }

    /// Streams the content into the draft; gives its size as LIST counts it.
    fn pour(
        &self,
        listed: u64,
        mut body: Body<'_, '_, Stream>,
        draft: &mut Draft,
        head: &mut Head,
    ) -> Result<u64> {
        let most = listed.saturating_mul(4).saturating_add(ROOM);
        while let Some(content) = body.chunk()? {
            head.push(content);
            draft
                .write_all(content)
                .map_err(|error| Error::file("write", draft.place(), &error))?;
            self.tell(&Event::Received {
                octets: content.len() as u64,
            });
            if body.octets() > most {
                return Err(Error::new(
                    Kind::ConnectionLost,
                    format!("{} sends a message without an end", self.account.host),
                ));
            }
        }
        Ok(body.octets())
    }

    /// Why what came cannot be delivered: nothing, or no more than the last time.
    fn missing(&self, order: &FetchRequest, got: u64) -> Result<Option<Error>> {
        let before = match order.then {
            AfterFetch::Complete => self.ledger.octets_delivered(order.row)?.unwrap_or(0),
            _ => 0,
        };
        let what = if got <= BLANK_LINE && got < order.octets {
            "came empty"
        } else if order.then == AfterFetch::Complete && got <= before && got < order.octets {
            "is still shorter than listed"
        } else {
            return Ok(None);
        };
        Ok(Some(
            Error::new(
                Kind::Unavailable,
                format!("message {} of {} {what}", order.num, order.listed),
            )
            .with_fact(format!("{got} of {} came", count(order.octets, "octet"))),
        ))
    }

    /// The fields that the account wants on top of a message with this header.
    fn fields(&self, order: &FetchRequest, head: &[u8]) -> Vec<u8> {
        let hop = TraceInfo {
            host: &self.account.host,
            address: self.address.as_deref(),
            machine: &self.env.birth.host,
            protected: self.account.tls != Tls::Off,
            account: &self.account.name,
            user: &self.account.user,
            uid: &order.uid,
        };
        trace_fields::write(&self.account.add_headers, &hop, head, self.env.clock.now())
    }

    fn begin_handover(
        &mut self,
        order: &FetchRequest,
        envelope: &Envelope<'_>,
        draft: Draft,
        arrival: Arrival,
        delivery: &mut dyn Delivery,
    ) -> Result<()> {
        let one_by_one = delivery.pace(envelope.destinations) == DeliveryMode::OneAtATime;
        let short = arrival.got < arrival.listed && self.ledger.sizes_are_trusted()?;
        let came = short.then_some(arrival.got);
        if came != order.copy.came {
            self.ledger.note_short(order.row, came)?;
        }
        if one_by_one {
            // what came before it does not wait for a program
            self.flush(delivery)?;
            if self.ledger.begin_handover(order.row)? {
                self.tell_again(&format!("message {} of {}", order.num, order.listed));
            }
        }
        if let Err(error) = delivery.accept(envelope, draft, &self.env.stop) {
            for taker in delivery.accepted_by() {
                self.ledger
                    .record_partial_delivery(order.row, &taker, self.env.clock.now())?;
            }
            if error.kind().verdict() == Verdict::StopAll {
                // the program may or may not have taken it: the ledger says just that
                return Err(error);
            }
            if one_by_one {
                self.ledger.abort_handover(order.row)?;
            }
            return self.not_taken(order, error);
        }
        self.deferred_in_a_row = 0;
        self.received.push(&arrival);
        self.batch.push(arrival, envelope.destinations.len());
        if one_by_one {
            self.flush(delivery)?;
        }
        Ok(())
    }

    /// A program did not take the message.
    pub(super) fn not_taken(&mut self, order: &FetchRequest, error: Error) -> Result<()> {
        match error.kind() {
            Kind::Deferred => {
                self.deferred_in_a_row += 1;
                if self.deferred_in_a_row < DEFERRED_IN_A_ROW {
                    return self.comes_later(order, error);
                }
                let stop = Error::new(
                    Kind::Busy,
                    format!("{}: {DEFERRED_IN_A_ROW} times in a row", error.what()),
                );
                self.enough = Some(
                    error
                        .facts()
                        .iter()
                        .fold(stop, |stop, fact| stop.with_fact(fact.as_str())),
                );
                self.ledger.deferred(order.row, self.env.clock.now())
            }
            Kind::Rejected => {
                self.deferred_in_a_row = 0;
                self.failed(Failure {
                    order: order.clone(),
                    error,
                    partial: Vec::new(),
                })
            }
            _ => Err(error),
        }
    }

    /// The server did not give the message.
    pub(super) fn refused(&mut self, order: &FetchRequest, refusal: &Refusal) -> Result<()> {
        let host = self.account.host.as_str();
        let kind = if refusal.is_transient() {
            Kind::Busy
        } else {
            Kind::Unavailable
        };
        let error = Error::new(
            kind,
            format!(
                "{host} does not give message {} of {}",
                order.num, order.listed
            ),
        )
        .with_fact(quoted(host, refusal));
        if refusal.is_transient() {
            return self.comes_later(order, error);
        }
        self.failed(Failure {
            order: order.clone(),
            error,
            partial: Vec::new(),
        })
    }

    /// A message has trouble that passes by itself, which is told should it last.
    fn comes_later(&mut self, order: &FetchRequest, error: Error) -> Result<()> {
        self.ledger.deferred(order.row, self.env.clock.now())?;
        self.exit = self.exit.worst(Exit::LATER);
        self.suspects.insert(order.row);
        self.lasting.get_or_insert_with(|| error.clone());
        self.told.push((order.row, stays(order, error), None));
        Ok(())
    }

    /// A message has used up an attempt.
    pub(super) fn failed(&mut self, failure: Failure) -> Result<()> {
        let Failure {
            order,
            error,
            partial,
        } = &failure;
        let glance = glance(partial);
        let now = self.env.clock.now();
        let limit = self.account.attempts;
        let reason = reason(error);
        let failed = self
            .ledger
            .fail(order.row, self.run, limit, &reason, &glance, now)?;
        self.finished.insert(order.row);
        self.suspects.insert(order.row);
        self.tally.failed += 1;
        let next_try = failed.next_try.filter(|_| failed.quarantined);
        let fact = match next_try {
            Some(_) => format!(
                "it failed {} and is in quarantine now: the others are fetched without it",
                times(failed.attempts)
            ),
            None => format!(
                "message {} stays on the server, attempt {} of {limit}",
                order.num, failed.attempts
            ),
        };
        let told = error.clone().with_fact(fact);
        self.exit = self.exit.worst(if failed.quarantined {
            Exit::QUARANTINE
        } else {
            Exit::LATER
        });
        if let Some(next_try) = next_try {
            let told = told.with_hint(format!(
                "`pouch ledger show {} {}` tells what is known of it",
                self.account.name, order.row
            ));
            self.told.push((order.row, told, Some(next_try)));
            let Failure {
                order: FetchRequest {
                    row, uid, octets, ..
                },
                partial,
                ..
            } = failure;
            if self.account.notice {
                let attempts = failed.attempts;
                self.quarantined.push(Quarantined {
                    row,
                    uid,
                    octets,
                    reason,
                    glance,
                    attempts,
                    next_try,
                    partial,
                });
            } else {
                self.ledger.mark_reported(&[row], now)?;
            }
        } else {
            self.told.push((order.row, told, None));
        }
        Ok(())
    }
}

fn is_status(head: &[u8]) -> bool {
    [&b"+OK"[..], b"-ERR"]
        .iter()
        .any(|status| head.starts_with(status))
}

fn stays(order: &FetchRequest, error: Error) -> Error {
    error.with_fact(format!(
        "message {} stays on the server and is tried again in the next run",
        order.num
    ))
}

/// Why a message failed, in one line: with what the other side said.
fn reason(error: &Error) -> String {
    error
        .facts()
        .iter()
        .take(1)
        .fold(error.what().to_owned(), |reason, fact| {
            format!("{reason}; {fact}")
        })
}

/// What was written of a message that will not be whole. Only a notice needs it.
fn partial(draft: &mut Draft) -> Vec<u8> {
    draft.read_back(MAX_PARTIAL).unwrap_or_default()
}
