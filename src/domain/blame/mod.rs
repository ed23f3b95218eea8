//! Who is to blame when a message does not arrive: the message, the connection, the server or the
//! destination.
//!
//! # Why evidence is needed
//!
//! A message that fails three times is quarantined, so a wrong accusation hides good mail. The
//! failure itself proves little: servers refuse everything once a daily quota is used up, drop the
//! connection after some messages or some minutes, and lose their storage for an hour; a delivery
//! program rejects everything when its own config is broken. So a failure is only *charged* to a
//! message once something shows that it was the message:
//!
//! - *Refused or empty:* another message arrived after it in the same session; or it was the first
//!   request of a session and the only one that failed, and the header of a message that is known
//!   to be good could be read afterwards. Several in a row prove nothing, even if headers can be
//!   read: a server that has reached its quota still sends headers.
//! - *Connection lost:* the message is a *suspect*. All others are fetched first. It is charged if
//!   the connection is lost again while it is the first message of a session, and others arrived.
//! - *Rejected by a destination:* the same destination accepted another message after it. What it
//!   accepted before proves nothing, because a program can break in the middle of a run.
//! - *Could not be stored:* another message could be stored in this run.
//! - A message that was charged in an earlier run needs no new evidence, unless messages that never
//!   failed before fail in this run as well.
//!
//! Failures without evidence cost nothing: those messages are fetched last in the next run. In
//! every other run one new message is fetched after them ([`Blame::holds_back`]), because nothing
//! else could show that they are bad. After [`MAX_IN_A_ROW`] failures without a success in between,
//! pouch stops asking.

use std::collections::HashSet;

use super::ids::RowId;

/// After so many refusals, or rejections, in a row it is the server, or the destination, that
/// fails.
pub const MAX_IN_A_ROW: u32 = 8;

/// After so many messages in a row that a destination asks to get later, it gets no more of them.
pub const MAX_DEFERRED_IN_A_ROW: u32 = 3;

/// The number of connections in a row that may be lost before any message arrives.
const MAX_FRUITLESS: u32 = 3;

/// After so many signs that the server loses pipelined commands, pouch stops pipelining.
const MAX_DESYNCHRONIZED: u32 = 2;

/// A message that was requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requested {
    /// Its row.
    pub row: RowId,
    /// Whether it is requested alone, because it failed or was deferred before.
    pub careful: bool,
    /// Whether it was charged with an attempt in an earlier run.
    pub known_bad: bool,
}

/// A failure of a message that did not end the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The server refused it, or sent nothing of it.
    Server,
    /// A destination rejected it.
    Destination,
    /// It could not be stored, although a small message could be.
    Storage,
}

/// The end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The message that was awaited, and whether it was the first one of its session.
    pub during: Option<(Requested, bool)>,
    /// Whether pipelining may be the cause: the session was pipelined, and client and server were
    /// out of sync, the server did not respond, or nothing arrived.
    pub maybe_desynchronized: bool,
    /// Whether the server had listed the mailbox before.
    pub listed: bool,
    /// Whether a message, or a header, arrived on it.
    pub progress: bool,
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    Continue,
    /// Stop: it is the other side that fails, and a new attempt in this run will not help.
    GiveUp,
}

/// A failure that may be charged to the message.
#[derive(Clone, Debug)]
struct Suspicion {
    row: RowId,
    known_bad: bool,
    /// `None`: the connection was lost.
    cause: Option<Cause>,
    /// The session in which it failed.
    session: u32,
    /// Whether it was the first message that this session requested.
    first: bool,
    /// The recipients that did not accept it, by their names in the ledger. Empty if it was
    /// rejected before they were known.
    recipients: Vec<String>,
}

/// The evidence that one run gathers.
#[derive(Clone, Debug, Default)]
pub struct Blame {
    /// How many more connections in a row may be lost, after the first one, before the mailbox is
    /// listed.
    retries: u32,
    /// The number of the session.
    session: u32,
    /// Messages that arrived complete.
    arrived: u64,
    /// Messages that a destination accepted.
    accepted: u64,
    has_lost_connection: bool,
    /// Connections in a row that were lost without progress.
    fruitless: u32,
    /// Connections in a row that were lost before the mailbox was listed.
    unlisted: u32,
    /// How many messages were done when a header was read.
    done_when_probed: usize,
    desynchronized: u32,
    refused_in_a_row: u32,
    rejected_in_a_row: u32,
    deferred_in_a_row: u32,
    /// Messages that are not requested again in this run.
    done: HashSet<RowId>,
    /// Messages that are requested last, and alone.
    suspects: HashSet<RowId>,
    suspicions: Vec<Suspicion>,
    /// The last message of this session, if it failed, and whether it was the first as well.
    last_failed: Option<(Requested, bool)>,
    proven: Vec<RowId>,
    /// A message that was never charged before was awaited when a connection was lost.
    good_ones_lost: bool,
    /// The server refused too many messages in a row, in this session or an earlier one.
    refused_sessions: u32,
    /// A message was requested again as the first one of a session.
    has_isolated: bool,
}

impl Blame {
    /// Starts a run that reconnects up to `retries` times in a row. If a message may have caused
    /// the loss, it reconnects at least [`MAX_FRUITLESS`] times, because each session requests the
    /// messages in a different order.
    pub fn new(retries: u32) -> Self {
        Self {
            retries,
            ..Self::default()
        }
    }

    /// Returns whether a message is not to be requested again in this run.
    pub fn is_done(&self, row: RowId) -> bool {
        self.done.contains(&row)
    }

    /// Returns whether a message is to be requested last, and alone.
    pub fn is_suspect(&self, row: RowId) -> bool {
        self.suspects.contains(&row)
    }

    /// Returns whether a message arrived complete in this run.
    pub fn is_good(&self, row: RowId) -> bool {
        self.done.contains(&row) && !self.suspects.contains(&row)
    }

    /// Returns how many messages failed or were deferred in this run.
    pub fn suspects(&self) -> u64 {
        self.suspects.len() as u64
    }

    /// Returns how many messages arrived complete.
    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    /// Returns whether the server refused too many messages in a row in an earlier session.
    pub fn is_refused(&self) -> bool {
        self.refused_sessions > 0
    }

    /// Returns whether the server can be trusted with pipelined commands.
    pub fn may_pipeline(&self) -> bool {
        self.desynchronized < MAX_DESYNCHRONIZED
    }

    /// Orders the messages of a session: those that lose the connection may be next to each other,
    /// so each further attempt starts elsewhere.
    pub fn order<T>(&self, requests: &mut [T], run_number: usize) {
        match self.fruitless + self.refused_sessions {
            0 => {}
            1 => requests.reverse(),
            2 => requests.rotate_left(requests.len() / 2),
            _ => requests.rotate_left(run_number % requests.len().max(1)),
        }
    }

    /// Orders the messages that failed before: the first of them, too, is another one in each run.
    pub fn order_careful<T>(&self, requests: &mut [T], run_number: usize) {
        requests.rotate_left(run_number.saturating_sub(1) % requests.len().max(1));
    }

    /// Returns whether the last new message is fetched after those that failed before, so that its
    /// arrival shows that they are to blame. Not in each run, nor once a connection was lost: such
    /// a message must not delay a good one for long.
    pub fn holds_back(&self, run_number: usize) -> bool {
        run_number.is_multiple_of(2) && !self.has_lost_connection && self.refused_sessions == 0
    }

    /// Returns whether to request the only message that failed in this session, after others had
    /// arrived, as the first one of another session, and prepares for that. Once in a run:
    /// otherwise it could not be told from a message that a server refuses because of a quota.
    pub fn isolate(&mut self) -> bool {
        let session = self.session;
        let is_open = |suspicion: &Suspicion| {
            suspicion.cause == Some(Cause::Server) && suspicion.session == session
        };
        let mut open = self.suspicions.iter().filter(|other| is_open(other));
        let (Some(only), None) = (open.next(), open.next()) else {
            return false;
        };
        let row = only.row;
        if only.first || only.known_bad || self.refused_sessions > 0 || self.has_isolated {
            return false;
        }
        self.has_isolated = true;
        self.done.remove(&row);
        self.suspicions.retain(|suspicion| suspicion.row != row);
        true
    }

    /// Records that a session begins.
    pub fn begin_session(&mut self) {
        self.session += 1;
        self.last_failed = None;
        self.refused_in_a_row = 0;
    }

    /// Records that a message arrived complete and verified.
    pub fn arrived_complete(&mut self, row: RowId) {
        self.arrived += 1;
        self.refused_in_a_row = 0;
        self.last_failed = None;
        self.done.insert(row);
        let session = self.session;
        self.prove(|suspicion| {
            suspicion.cause == Some(Cause::Server) && suspicion.session == session
        });
    }

    /// Records that all `recipients`, by their names in the ledger, accepted a message.
    pub fn accepted(&mut self, recipients: &[String]) {
        self.accepted += 1;
        self.rejected_in_a_row = 0;
        self.deferred_in_a_row = 0;
        self.prove(|suspicion| {
            let mut rejecting = suspicion.recipients.iter();
            suspicion.cause == Some(Cause::Destination)
                && rejecting.all(|recipient| recipients.contains(recipient))
        });
    }

    /// Records that a destination accepted a message, but could not store it. Returns whether to
    /// fetch more.
    pub fn not_stored(&mut self, requested: Requested) -> Next {
        self.accepted = self.accepted.saturating_sub(1);
        self.failed(requested, false, Cause::Storage)
    }

    /// Records that a message is not to be requested again, because a transient problem delays it.
    pub fn deferred(&mut self, row: RowId) {
        self.done.insert(row);
        self.suspects.insert(row);
    }

    /// Records that the server refuses a message because of a transient problem. Returns whether to
    /// request more.
    pub fn deferred_by_server(&mut self, row: RowId) -> Next {
        self.deferred(row);
        self.refused_in_a_row += 1;
        if self.refused_in_a_row >= MAX_IN_A_ROW {
            Next::GiveUp
        } else {
            Next::Continue
        }
    }

    /// Records that a destination asks to get a message later. Returns whether to fetch more.
    pub fn deferred_by_destination(&mut self, row: RowId) -> Next {
        self.deferred(row);
        self.deferred_in_a_row += 1;
        if self.deferred_in_a_row >= MAX_DEFERRED_IN_A_ROW {
            Next::GiveUp
        } else {
            Next::Continue
        }
    }

    /// Records that a message whose header broke the connection is to be requested last.
    pub fn suspect(&mut self, row: RowId) {
        self.suspects.insert(row);
    }

    /// Records that `recipients`, by their names in the ledger, rejected a message. Returns whether
    /// to fetch more.
    pub fn rejected(&mut self, requested: Requested, recipients: Vec<String>) -> Next {
        let next = self.failed(requested, false, Cause::Destination);
        if let Some(suspicion) = self.suspicions.last_mut() {
            suspicion.recipients = recipients;
        }
        next
    }

    /// Records that a message failed while the session went on. `first`: it was the first one of
    /// its session. Returns whether to request more.
    pub fn failed(&mut self, requested: Requested, first: bool, cause: Cause) -> Next {
        let Requested { row, known_bad, .. } = requested;
        self.deferred(row);
        self.suspicions.push(Suspicion {
            row,
            known_bad,
            cause: Some(cause),
            session: self.session,
            first,
            recipients: Vec::new(),
        });
        self.last_failed = (cause == Cause::Server).then_some((requested, first));
        let in_a_row = match cause {
            Cause::Server => &mut self.refused_in_a_row,
            Cause::Destination | Cause::Storage => {
                self.deferred_in_a_row = 0;
                &mut self.rejected_in_a_row
            }
        };
        *in_a_row += 1;
        if *in_a_row >= MAX_IN_A_ROW {
            Next::GiveUp
        } else {
            Next::Continue
        }
    }

    /// Records that the server refused too many messages in a row. Returns whether to try one more
    /// session.
    pub fn server_refuses(&mut self) -> Next {
        self.refused_sessions += 1;
        if self.refused_sessions > 1 {
            Next::GiveUp
        } else {
            Next::Continue
        }
    }

    /// Records that a connection was lost. Returns whether to connect again.
    pub fn connection_lost(&mut self, lost: Lost) -> Next {
        self.has_lost_connection = true;
        let could_pipeline = self.may_pipeline();
        if lost.maybe_desynchronized {
            // it may also be that one message
            self.desynchronized += if lost.progress { 1 } else { MAX_DESYNCHRONIZED };
        }
        // a message that fails, and takes the session with it, is as one that loses the connection
        let failed = self.last_failed.take().filter(|_| lost.during.is_none());
        if let Some((failed, _)) = failed {
            self.done.remove(&failed.row);
            self.suspicions
                .retain(|suspicion| suspicion.row != failed.row);
        }
        let mut alone = false;
        if let Some((
            Requested {
                row,
                careful,
                known_bad,
            },
            first,
        )) = lost.during.or(failed)
        {
            self.good_ones_lost |= !known_bad;
            alone = careful && first;
            self.suspects.insert(row);
            if alone {
                self.done.insert(row);
                self.suspicions.push(Suspicion {
                    row,
                    known_bad,
                    cause: None,
                    session: self.session,
                    first,
                    recipients: Vec::new(),
                });
            }
        }
        if lost.progress || (alone && self.arrived > 0) {
            self.fruitless = 0;
        } else {
            self.fruitless += 1;
        }
        let stops_pipelining = could_pipeline && !self.may_pipeline();
        if lost.listed || lost.progress {
            self.unlisted = 0;
        } else if !stops_pipelining {
            // otherwise, the next session differs: it does not pipeline
            self.unlisted += 1;
        }
        if self.unlisted > self.retries || self.fruitless > self.retries.max(MAX_FRUITLESS) {
            Next::GiveUp
        } else {
            Next::Continue
        }
    }

    /// Returns how many connections in a row were lost without progress.
    pub fn fruitless(&self) -> u32 {
        self.fruitless
    }

    /// Returns whether reading the header of a known message would tell more.
    pub fn needs_probe(&self) -> bool {
        self.fruitless > 1
            || self
                .suspicions
                .iter()
                .any(|suspicion| self.can_probe(suspicion))
    }

    fn can_probe(&self, suspicion: &Suspicion) -> bool {
        match suspicion.cause {
            Some(Cause::Server) => {
                suspicion.session == self.session && suspicion.first && self.refused_in_a_row == 1
            }
            Some(Cause::Destination | Cause::Storage) => false,
            None => self.arrived == 0,
        }
    }

    /// Records that the header of a known message could be read. More connections may then be lost,
    /// if fewer messages are left to request than after the last header.
    pub fn probed(&mut self) {
        if self.done.len() > self.done_when_probed {
            self.done_when_probed = self.done.len();
            self.fruitless = 0;
        }
        let may_prove: HashSet<_> = self
            .suspicions
            .iter()
            .filter(|suspicion| self.can_probe(suspicion))
            .map(|suspicion| suspicion.row)
            .collect();
        self.prove(|suspicion| may_prove.contains(&suspicion.row));
    }

    /// Returns the messages to charge with an attempt, each once.
    pub fn take_proven(&mut self) -> Vec<RowId> {
        let (arrived, accepted) = (self.arrived > 0, self.accepted > 0);
        let good_ones_lost = self.good_ones_lost;
        let rejects_all = self.rejected_in_a_row >= MAX_IN_A_ROW;
        let refuses_all = self.refused_in_a_row >= MAX_IN_A_ROW || self.refused_sessions > 0;
        let all_known_bad = |suspicions: &[Suspicion], cause| {
            suspicions
                .iter()
                .filter(|other| other.cause == cause)
                .all(|other| other.known_bad)
        };
        let known_bad = [
            Some(Cause::Server),
            Some(Cause::Destination),
            Some(Cause::Storage),
            None,
        ]
        .map(|cause| (cause, all_known_bad(&self.suspicions, cause)));
        let known_bad = |cause| known_bad.iter().any(|(known, all)| *known == cause && *all);
        self.prove(|suspicion| match suspicion.cause {
            None => arrived || !good_ones_lost,
            Some(Cause::Destination) => !rejects_all && known_bad(suspicion.cause),
            Some(Cause::Storage) => !rejects_all && (accepted || known_bad(suspicion.cause)),
            Some(Cause::Server) => !refuses_all && known_bad(suspicion.cause),
        });
        std::mem::take(&mut self.proven)
    }

    fn prove(&mut self, is_proven: impl Fn(&Suspicion) -> bool) {
        let (proven, open) = self.suspicions.drain(..).partition(is_proven);
        self.suspicions = open;
        let proven: Vec<Suspicion> = proven;
        self.proven
            .extend(proven.iter().map(|suspicion| suspicion.row));
    }
}

/// Returns whether two messages failed for the same reason, given the reasons as text. Numbers
/// differ between messages (`-ERR Message 7 expunged`), so digits are ignored.
pub fn is_same_reason(one: &str, other: &str) -> bool {
    one.bytes()
        .filter(|byte| !byte.is_ascii_digit())
        .eq(other.bytes().filter(|byte| !byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
