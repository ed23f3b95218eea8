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
//!   request of a session and the only one that failed, and the header of a message that is known to
//!   be good could be read afterwards. Several in a row prove nothing, even if headers can be read: a
//!   server that has reached its quota still sends headers.
//! - *Connection lost:* the message is a *suspect*. All others are fetched first. It is charged if
//!   the connection is lost again while it is the first message of a session, and others arrived.
//! - *Rejected by a destination:* the same destination accepted another message after it. What it
//!   accepted before proves nothing, because a program can break in the middle of a run.
//! - *Could not be stored:* another message could be stored in this run.
//! - A message that was charged in an earlier run needs no new evidence, unless messages that never
//!   failed before fail in this run as well.
//!
//! Failures without evidence cost nothing: those messages are fetched last in the next run. In every
//! other run one new message is fetched after them ([`Blame::holds_back`]), because nothing else
//! could show that they are bad. After [`MAX_IN_A_ROW`] failures without a success in between, pouch
//! stops asking.

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
    /// Whether pipelining may be the reason: the session was pipelined, and client and server were
    /// out of sync, the server was silent, or nothing arrived.
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
    /// The recipients that did not accept it, by their names in the ledger. Empty if it was rejected
    /// before they were known.
    recipients: Vec<String>,
}

/// The evidence that one run gathers.
#[derive(Clone, Debug, Default)]
pub struct Blame {
    /// Connections in a row that may be lost before the mailbox is listed, after the first one.
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
    /// Starts a run that connects again up to `retries` times in a row. If a message may have caused
    /// the loss, it connects again at least [`MAX_FRUITLESS`] times, because each session requests the
    /// messages in another order.
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
    /// arrival shows that they are to blame. Not in each run, nor once a connection was lost: such a
    /// message must not delay a good one for long.
    pub fn holds_back(&self, run_number: usize) -> bool {
        run_number.is_multiple_of(2) && !self.has_lost_connection && self.refused_sessions == 0
    }

    /// Returns whether to request the only message that failed in this session, after others had
    /// arrived, as the first one of another session, and prepares for that. Once in a run: otherwise
    /// it could not be told from a message that a server refuses because of a quota.
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

    /// Records that `recipients`, by their names in the ledger, rejected a message. Returns whether to
    /// fetch more.
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
            // otherwise, the next session is another attempt: it does not pipeline
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

    /// Records that the header of a known message could be read. More connections may then be lost, if
    /// fewer messages are left to request than after the last header.
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
#[allow(clippy::too_many_lines, reason = "a simulation")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a simulated server does to a RETR.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Reply {
        Arrives,
        Refused,
        Lost,
    }

    /// A server, and what is wrong with it.
    #[derive(Clone, Debug)]
    struct Server {
        /// What is wrong with each message.
        messages: Vec<Reply>,
        /// So many messages per session, then it refuses or drops the connection.
        limit: Option<(usize, Reply)>,
        /// It refuses everything after one refusal.
        sulks: bool,
        /// It sends headers even then.
        shows_headers: bool,
    }

    impl Server {
        /// Returns the replies of one session to these requests, up to a lost connection.
        fn session(&self, requests: &[usize]) -> Vec<Reply> {
            let (mut given, mut refused, mut replies) = (0, false, Vec::new());
            for message in requests {
                let reply = match (self.limit, self.messages[*message]) {
                    (Some((limit, reply)), _) if given >= limit => reply,
                    _ if refused && self.sulks => Reply::Refused,
                    (_, reply) => reply,
                };
                given += usize::from(reply == Reply::Arrives);
                refused |= reply == Reply::Refused;
                replies.push(reply);
                if reply == Reply::Lost {
                    break;
                }
            }
            replies
        }
    }

    /// The state of a message from run to run.
    #[derive(Clone, Copy, Debug, Default)]
    struct State {
        arrived: bool,
        attempts: u32,
        deferred: bool,
    }

    /// One run against `server`, as the engine does it.
    fn run(server: &Server, states: &mut [State], number: usize) {
        let mut blame = Blame::new(2);
        let row = |message: usize| RowId(i64::try_from(message).unwrap());
        for _ in 0..100 {
            blame.begin_session();
            let before = blame.arrived();
            let wanted = (0..states.len())
                .filter(|message| !states[*message].arrived && !blame.is_done(row(*message)));
            let careful = |message: &usize| {
                let State {
                    attempts, deferred, ..
                } = states[*message];
                attempts > 0 || deferred || blame.is_suspect(row(*message))
            };
            let (mut careful, mut fresh): (Vec<_>, Vec<_>) = wanted.partition(careful);
            blame.order(&mut fresh, number);
            blame.order_careful(&mut careful, number);
            let fresh_count = fresh.len();
            let requests: Vec<_> = fresh.into_iter().chain(careful).collect();
            if requests.is_empty() {
                break;
            }
            let mut next = None;
            for (at, reply) in server.session(&requests).into_iter().enumerate() {
                let message = requests[at];
                let requested = Requested {
                    row: row(message),
                    careful: at >= fresh_count,
                    known_bad: states[message].attempts > 0,
                };
                match reply {
                    Reply::Arrives => {
                        blame.arrived_complete(requested.row);
                        states[message] = State {
                            arrived: true,
                            ..State::default()
                        };
                    }
                    Reply::Refused => {
                        if blame.failed(requested, at == 0, Cause::Server) == Next::GiveUp {
                            next = Some(blame.server_refuses());
                            break;
                        }
                    }
                    Reply::Lost => {
                        next = Some(blame.connection_lost(Lost {
                            during: Some((requested, at == 0)),
                            maybe_desynchronized: false,
                            listed: true,
                            progress: blame.arrived() > before,
                        }));
                    }
                }
            }
            // the server sends the headers of known messages, whatever it refuses
            if server.shows_headers && blame.arrived() > 0 && blame.needs_probe() {
                blame.probed();
            }
            if next.is_none() && blame.isolate() {
                continue;
            }
            if next != Some(Next::Continue) {
                break;
            }
        }
        let charged = blame.take_proven();
        for (message, state) in states.iter_mut().enumerate() {
            if charged.contains(&row(message)) {
                state.attempts += 1;
            } else {
                state.deferred |= blame.is_suspect(row(message));
            }
        }
    }

    fn any_reply() -> impl Strategy<Value = Reply> {
        prop_oneof![4 => Just(Reply::Arrives), 1 => Just(Reply::Refused), 1 => Just(Reply::Lost)]
    }

    fn any_limit() -> impl Strategy<Value = Option<(usize, Reply)>> {
        let reply = prop_oneof![Just(Reply::Refused), Just(Reply::Lost)];
        proptest::option::of((0usize..5, reply))
    }

    proptest! {
        #[test]
        fn good_messages_are_never_charged(
            messages in proptest::collection::vec(any_reply(), 1..30),
            limit in any_limit(),
            sulks in any::<bool>(),
            shows_headers in any::<bool>(),
        ) {
            let server = Server { messages, limit, sulks, shows_headers };
            let mut states = vec![State::default(); server.messages.len()];
            for number in 0..6 {
                run(&server, &mut states, number);
                for (state, reply) in states.iter().zip(&server.messages) {
                    prop_assert!(state.attempts == 0 || *reply != Reply::Arrives, "{states:?}");
                }
            }
        }

        #[test]
        fn good_messages_arrive_despite_any_bad_ones(
            messages in proptest::collection::vec(any_reply(), 1..20),
            sulks in any::<bool>(),
        ) {
            let server = Server { messages, limit: None, sulks, shows_headers: false };
            let mut states = vec![State::default(); server.messages.len()];
            for number in 0..200 {
                run(&server, &mut states, number);
            }
            for (state, reply) in states.iter().zip(&server.messages) {
                prop_assert!(state.arrived == (*reply == Reply::Arrives), "{states:?}");
            }
        }
    }

    fn requested(row: i64) -> Requested {
        Requested {
            row: RowId(row),
            careful: false,
            known_bad: false,
        }
    }

    #[test]
    fn refused_message_is_charged_once_another_arrives_after_it() {
        let mut blame = Blame::new(2);
        assert_eq!(
            blame.failed(requested(9), false, Cause::Server),
            Next::Continue
        );
        assert!(blame.take_proven().is_empty());
        blame.arrived_complete(RowId(10));
        assert_eq!(blame.take_proven(), [RowId(9)]);
        assert!(blame.take_proven().is_empty());
    }

    #[test]
    fn last_message_is_charged_when_refused_first_and_alone_while_a_header_can_be_read() {
        let mut blame = Blame::new(2);
        blame.begin_session();
        blame.arrived_complete(RowId(9));
        blame.failed(requested(10), false, Cause::Server);
        // it may be a quota
        assert!(blame.take_proven().is_empty() && !blame.needs_probe());
        assert!(blame.isolate() && !blame.is_done(RowId(10)));
        blame.begin_session();
        blame.failed(requested(10), true, Cause::Server);
        assert!(blame.take_proven().is_empty() && blame.needs_probe());
        blame.probed();
        assert_eq!(blame.take_proven(), [RowId(10)]);
        assert!(!blame.isolate());
    }

    #[test]
    fn several_refusals_in_a_row_charge_no_message_although_headers_can_be_read() {
        let mut blame = Blame::new(2);
        blame.begin_session();
        blame.failed(requested(1), true, Cause::Server);
        blame.failed(requested(2), false, Cause::Server);
        assert!(!blame.needs_probe() && !blame.isolate());
        blame.probed();
        assert!(blame.take_proven().is_empty());
    }

    #[test]
    fn transient_refusals_in_a_row_stop_the_session() {
        let mut blame = Blame::new(2);
        blame.begin_session();
        let stopped = (0..100).find(|n| blame.deferred_by_server(RowId(*n)) == Next::GiveUp);
        assert_eq!(stopped, Some(i64::from(MAX_IN_A_ROW) - 1));
    }

    #[test]
    fn server_that_refuses_everything_is_asked_in_two_sessions_and_no_message_is_charged() {
        let mut blame = Blame::new(2);
        for session in [Next::Continue, Next::GiveUp] {
            blame.begin_session();
            let next = (0..100)
                .find(|row| blame.failed(requested(*row), false, Cause::Server) == Next::GiveUp);
            assert_eq!(next, Some(i64::from(MAX_IN_A_ROW) - 1));
            assert!(!blame.needs_probe());
            assert_eq!(blame.server_refuses(), session);
        }
        assert!(blame.take_proven().is_empty());
    }

    #[test]
    fn destination_that_rejects_everything_charges_no_message() {
        let mut blame = Blame::new(2);
        let rejected = (0..100)
            .find(|row| blame.failed(requested(*row), false, Cause::Destination) == Next::GiveUp);
        assert_eq!(rejected, Some(i64::from(MAX_IN_A_ROW) - 1));
        assert!(blame.take_proven().is_empty());
    }

    #[test]
    fn rejected_message_is_charged_once_the_same_recipients_accept_another() {
        let named = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let mut blame = Blame::new(2);
        // the program may have broken since
        blame.accepted(&named(&["ann", "bob"]));
        blame.rejected(requested(1), named(&["bob"]));
        blame.accepted(&named(&["ann"]));
        assert!(blame.take_proven().is_empty());
        blame.accepted(&named(&["ann", "bob"]));
        assert_eq!(blame.take_proven(), [RowId(1)]);
        // a filter rejected it
        blame.rejected(requested(2), Vec::new());
        assert!(blame.take_proven().is_empty());
        blame.accepted(&named(&["ann"]));
        assert_eq!(blame.take_proven(), [RowId(2)]);
    }

    #[test]
    fn suspect_is_charged_when_it_loses_the_connection_first_and_alone() {
        let mut blame = Blame::new(2);
        let lost = |careful, first| Lost {
            during: Some((
                Requested {
                    careful,
                    ..requested(9)
                },
                first,
            )),
            maybe_desynchronized: false,
            listed: true,
            progress: false,
        };
        blame.arrived_complete(RowId(1));
        assert_eq!(blame.connection_lost(lost(false, false)), Next::Continue);
        blame.connection_lost(lost(true, false));
        assert!(blame.take_proven().is_empty() && !blame.is_done(RowId(9)));
        blame.connection_lost(lost(true, true));
        assert_eq!(blame.take_proven(), [RowId(9)]);
    }

    #[test]
    fn readable_headers_do_not_prolong_a_run_without_progress() {
        let mut blame = Blame::new(2);
        blame.arrived_complete(RowId(1));
        let lost = Lost {
            during: None,
            maybe_desynchronized: false,
            listed: true,
            progress: false,
        };
        let sessions = (1..100).find(|_| {
            blame.begin_session();
            if blame.needs_probe() {
                blame.probed();
            }
            blame.connection_lost(lost) == Next::GiveUp
        });
        assert_eq!(sessions, Some(6));
    }

    #[test]
    fn connection_lost_before_the_listing_is_retried_as_often_as_configured() {
        let sessions = |retries, pipelined| {
            let mut blame = Blame::new(retries);
            (1..100).find(|_| {
                blame.begin_session();
                let lost = Lost {
                    during: None,
                    maybe_desynchronized: pipelined && blame.may_pipeline(),
                    listed: false,
                    progress: false,
                };
                blame.connection_lost(lost) == Next::GiveUp
            })
        };
        assert_eq!(sessions(0, false), Some(1));
        assert_eq!(sessions(2, false), Some(3));
        // one more without pipelining
        assert_eq!(sessions(0, true), Some(2));
        assert_eq!(sessions(2, true), Some(4));
    }

    #[test]
    fn pipelining_stops_at_the_second_sign_that_commands_are_lost() {
        let mut blame = Blame::new(2);
        let lost = Lost {
            during: None,
            maybe_desynchronized: true,
            listed: true,
            progress: true,
        };
        blame.connection_lost(lost);
        assert!(blame.may_pipeline());
        blame.connection_lost(lost);
        assert!(!blame.may_pipeline());
    }
}
