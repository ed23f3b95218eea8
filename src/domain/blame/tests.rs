//! Tests of the evidence, with simulated servers.

#![allow(clippy::too_many_lines, reason = "a simulation")]

use proptest::prelude::*;

use super::*;

/// What a simulated server does to a RETR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    Arrives,
    Refused,
    Lost,
}

/// A simulated server and its faults.
#[derive(Clone, Debug)]
struct Server {
    /// The reply for each message.
    messages: Vec<Reply>,
    /// The number of messages per session, after which the server refuses or drops the connection.
    limit: Option<(usize, Reply)>,
    /// Whether the server refuses everything after one refusal.
    sulks: bool,
    /// Whether the server still sends headers then.
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
        // the server sends the headers of known messages even if it refuses others
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
    // the cause may be a quota
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
    // the program may have stopped working since then
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
    // one more session without pipelining
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
