//! The order in which accounts are fetched, and how many of them at the same time.
//!
//! # Hosts
//!
//! Providers limit the connections and logins of a client, and some refuse an excess connection as
//! if the password were wrong. So each host has its own limit, which is 1 by default. Accounts on
//! different hosts are started in turn: a host with 9,000 accounts does not delay one with three,
//! and a host that does not respond occupies no more threads than its limit.
//!
//! # Back-off
//!
//! A server that refuses connections, does not respond or temporarily refuses logins *pushes back*.
//! Each time, half as many of the host's accounts run at the same time, at least one; the limit
//! rises by one after twice as many successes as it allows in parallel. After
//! [`MAX_PUSHBACKS`] in a row without a success, the other accounts on that server are not tried in
//! this round: each attempt would take as long as the timeout, or prolong a block. Of the accounts
//! that were started at the same limit, only the first push-back counts, since the others have the
//! same cause.
//!
//! A push-back is not recorded as a failure of the account. The next round begins with the accounts
//! that have not been tried for the longest time, so that all of them are reached even if every
//! round ends early.
//!
//! The decisions are a function of the events: the caller starts an account for each
//! [`Next::Start`], and reports its end with [`Schedule::finish`].

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

/// The number of push-backs in a row after which a server is not tried again in a round.
pub const MAX_PUSHBACKS: u32 = 5;

/// What the run of an account showed about its server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contact {
    /// It listed the mailbox.
    Served,
    /// It cannot be reached, does not respond, or temporarily refuses logins.
    PushedBack,
    /// Nothing: the account failed before a connection was made, or for a reason of its own.
    #[default]
    Unknown,
}

/// The place of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The host, which limits the number of connections.
    pub host: String,
    /// The server: the host, the port and the route to it.
    pub server: String,
    /// The limit of the account for its host, at least 1. The lowest one of a host applies.
    pub jobs_per_host: usize,
}

/// The next step of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Run an account.
    Start(Start),
    /// Wait for the end of an account: all hosts with further accounts are at their limits.
    Wait,
    /// Nothing: all accounts have been started.
    Done,
}

/// The start of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The index of the account.
    pub account: usize,
    /// The earliest time of its start, since the beginning of the round.
    pub not_before: Duration,
    host: usize,
    server: usize,
    /// The number of earlier reductions of the host's limit.
    reductions: u32,
}

/// The accounts on a server that are not tried in this round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotTried {
    /// The host.
    pub host: String,
    /// Their indices.
    pub accounts: Vec<usize>,
}

/// The state of a round.
#[derive(Clone, Debug)]
pub struct Schedule {
    hosts: Vec<Host>,
    /// The number of push-backs in a row of each server.
    pushbacks: Vec<u32>,
    /// The hosts below their limits that have accounts to start.
    ready: VecDeque<usize>,
    /// The number of accounts that have been started.
    started: u32,
    /// The number of accounts that have not been started.
    waiting: usize,
    /// The time between two starts.
    interval: Duration,
}

#[derive(Clone, Debug)]
struct Host {
    name: String,
    /// The accounts to start, each with its server.
    queue: VecDeque<(usize, usize)>,
    running: usize,
    /// The number of accounts that may run now.
    limit: usize,
    max: usize,
    /// The number of successes since the limit was changed.
    served: usize,
    reductions: u32,
    is_ready: bool,
}

impl Schedule {
    /// Returns the schedule of a round in which the accounts at `places` are started, in this order
    /// on each host, evenly over the time `spread`.
    pub fn new(places: impl IntoIterator<Item = (usize, Place)>, spread: Duration) -> Self {
        let mut schedule = Self {
            hosts: Vec::new(),
            pushbacks: Vec::new(),
            ready: VecDeque::new(),
            started: 0,
            waiting: 0,
            interval: Duration::ZERO,
        };
        let (mut hosts, mut servers) = (HashMap::new(), HashMap::new());
        for (account, place) in places {
            let host = *hosts.entry(place.host).or_insert_with_key(|name| {
                schedule.hosts.push(Host::new(name));
                schedule.hosts.len() - 1
            });
            let server = *servers.entry(place.server).or_insert_with(|| {
                schedule.pushbacks.push(0);
                schedule.pushbacks.len() - 1
            });
            schedule.hosts[host].add(account, server, place.jobs_per_host);
            schedule.waiting += 1;
        }
        let accounts = u32::try_from(schedule.waiting).unwrap_or(u32::MAX);
        schedule.interval = spread / accounts.max(1);
        (0..schedule.hosts.len()).for_each(|host| schedule.make_ready(host));
        schedule
    }

    /// Returns the number of accounts that can run at the same time if there are enough threads.
    pub fn width(&self) -> usize {
        let widths = self.hosts.iter();
        widths.map(|host| host.max.min(host.queue.len())).sum()
    }

    /// Returns what a thread does next.
    pub fn step(&mut self) -> Next {
        let Some(index) = self.ready.pop_front().filter(|_| !self.is_done()) else {
            return if self.is_done() {
                Next::Done
            } else {
                Next::Wait
            };
        };
        let host = &mut self.hosts[index];
        host.is_ready = false;
        let Some((account, server)) = host.queue.pop_front() else {
            return self.step();
        };
        host.running += 1;
        let start = Start {
            account,
            not_before: self.interval * self.started,
            host: index,
            server,
            reductions: host.reductions,
        };
        self.started += 1;
        self.waiting -= 1;
        self.make_ready(index);
        Next::Start(start)
    }

    /// Returns whether an account can be started now.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Returns whether all accounts have been started.
    pub fn is_done(&self) -> bool {
        self.waiting == 0
    }

    /// Starts no further account.
    pub fn stop(&mut self) {
        self.ready.clear();
        self.waiting = 0;
    }

    /// Records the end of an account. Returns the accounts that are not tried because of it.
    pub fn finish(&mut self, start: &Start, contact: Contact) -> Option<NotTried> {
        self.hosts[start.host].running -= 1;
        let not_tried = match contact {
            Contact::Served => {
                self.pushbacks[start.server] = 0;
                self.hosts[start.host].raise_limit();
                None
            }
            Contact::PushedBack => self.push_back(start),
            Contact::Unknown => None,
        };
        self.make_ready(start.host);
        not_tried
    }

    /// Reduces the limit of a host, or removes the remaining accounts on a server from the round.
    fn push_back(&mut self, start: &Start) -> Option<NotTried> {
        let host = &mut self.hosts[start.host];
        if start.reductions < host.reductions {
            return None;
        }
        host.reduce_limit();
        self.pushbacks[start.server] += 1;
        if self.pushbacks[start.server] < MAX_PUSHBACKS {
            return None;
        }
        let (given_up, others) = std::mem::take(&mut host.queue)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, server)| *server == start.server);
        host.queue = others.into();
        self.waiting -= given_up.len();
        let accounts: Vec<_> = given_up.into_iter().map(|(account, _)| account).collect();
        (!accounts.is_empty()).then(|| NotTried {
            host: host.name.clone(),
            accounts,
        })
    }

    /// Lets a host start an account after the other hosts, if it may.
    fn make_ready(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        if !host.is_ready && host.running < host.limit && !host.queue.is_empty() {
            host.is_ready = true;
            self.ready.push_back(index);
        }
    }
}

impl Host {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            queue: VecDeque::new(),
            running: 0,
            limit: usize::MAX,
            max: usize::MAX,
            served: 0,
            reductions: 0,
            is_ready: false,
        }
    }

    fn add(&mut self, account: usize, server: usize, limit: usize) {
        self.queue.push_back((account, server));
        self.max = self.max.min(limit.max(1));
        self.limit = self.max;
    }

    fn raise_limit(&mut self) {
        self.served += 1;
        if self.limit < self.max && self.served >= self.limit * 2 {
            self.limit += 1;
            self.served = 0;
        }
    }

    fn reduce_limit(&mut self) {
        self.limit = (self.limit / 2).max(1);
        self.served = 0;
        self.reductions += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the schedule of accounts on hosts with these names, each of which may have `limit`
    /// connections.
    fn schedule(hosts: &[&str], limit: usize) -> Schedule {
        let place = |host: &&str| Place {
            host: (*host).to_owned(),
            server: format!("{host}:995"),
            jobs_per_host: limit,
        };
        let places = hosts.iter().map(place).enumerate();
        Schedule::new(places, Duration::ZERO)
    }

    fn start(schedule: &mut Schedule) -> Start {
        match schedule.step() {
            Next::Start(start) => start,
            next => panic!("{next:?}"),
        }
    }

    /// Starts as many accounts as possible.
    fn start_all(schedule: &mut Schedule) -> Vec<Start> {
        let mut started = Vec::new();
        while let Next::Start(start) = schedule.step() {
            started.push(start);
        }
        started
    }

    fn accounts(started: &[Start]) -> Vec<usize> {
        started.iter().map(|start| start.account).collect()
    }

    #[test]
    fn hosts_take_turns() {
        let mut schedule = schedule(&["a", "a", "a", "b", "b", "c"], 2);
        assert_eq!(schedule.width(), 5);
        let started = start_all(&mut schedule);
        assert_eq!(accounts(&started), [0, 3, 5, 1, 4]);
        assert_eq!(schedule.step(), Next::Wait);
        schedule.finish(&started[1], Contact::Served);
        assert_eq!(schedule.step(), Next::Wait);
        schedule.finish(&started[0], Contact::Unknown);
        assert_eq!(start(&mut schedule).account, 2);
        assert_eq!(schedule.step(), Next::Done);
    }

    #[test]
    fn large_host_does_not_delay_a_small_one() {
        let hosts = [vec!["large"; 9_000], vec!["small"; 2]].concat();
        let mut schedule = schedule(&hosts, 4);
        let started = start_all(&mut schedule);
        assert_eq!(accounts(&started), [0, 9_000, 1, 9_001, 2, 3]);
    }

    #[test]
    fn lowest_limit_of_a_host_applies() {
        let place = |limit| Place {
            host: "a".to_owned(),
            server: "a:995".to_owned(),
            jobs_per_host: limit,
        };
        let places = [place(8), place(2), place(9), place(9)];
        let mut schedule = Schedule::new(places.into_iter().enumerate(), Duration::ZERO);
        assert_eq!(accounts(&start_all(&mut schedule)), [0, 1]);
    }

    #[test]
    fn push_backs_halve_the_limit_and_successes_raise_it() {
        let mut schedule = schedule(&["a"; 100], 8);
        let first = start_all(&mut schedule);
        assert_eq!(first.len(), 8);
        // eight of the same time count once
        for start in &first {
            assert_eq!(schedule.finish(start, Contact::PushedBack), None);
        }
        let second = start_all(&mut schedule);
        assert_eq!(second.len(), 4);
        for start in &second {
            schedule.finish(start, Contact::Served);
        }
        let third = start_all(&mut schedule);
        assert_eq!(third.len(), 4);
        for start in &third {
            schedule.finish(start, Contact::Served);
        }
        assert_eq!(start_all(&mut schedule).len(), 5);
    }

    #[test]
    fn server_is_given_up_after_five_push_backs_in_a_row() {
        let mut schedule = schedule(&["a"; 20], 1);
        for _ in 1..MAX_PUSHBACKS {
            let start = start(&mut schedule);
            assert_eq!(schedule.finish(&start, Contact::PushedBack), None);
        }
        // a success in between
        let served = start(&mut schedule);
        schedule.finish(&served, Contact::Served);
        for _ in 1..MAX_PUSHBACKS {
            let start = start(&mut schedule);
            assert_eq!(schedule.finish(&start, Contact::PushedBack), None);
        }
        let last = start(&mut schedule);
        let not_tried = schedule.finish(&last, Contact::PushedBack).unwrap();
        assert_eq!(not_tried.host, "a");
        assert_eq!(not_tried.accounts, (10..20).collect::<Vec<_>>());
        assert_eq!(schedule.step(), Next::Done);
    }

    #[test]
    fn other_server_on_the_host_is_still_tried() {
        let place = |port| Place {
            host: "localhost".to_owned(),
            server: format!("localhost:{port}"),
            jobs_per_host: 1,
        };
        let places = (0..16).map(|account| (account, place(account % 2)));
        let mut schedule = Schedule::new(places, Duration::ZERO);
        let mut not_tried = Vec::new();
        let mut tried = Vec::new();
        while let Next::Start(start) = schedule.step() {
            tried.push(start.account);
            let contact = if start.account % 2 == 0 {
                Contact::PushedBack
            } else {
                Contact::Served
            };
            let given_up = schedule.finish(&start, contact);
            not_tried.extend(given_up.into_iter().flat_map(|given_up| given_up.accounts));
        }
        assert_eq!(not_tried, [10, 12, 14]);
        assert_eq!(tried.len(), 13);
    }

    #[test]
    fn failures_of_accounts_do_not_slow_the_host() {
        let mut schedule = schedule(&["a"; 50], 4);
        for _ in 0..10 {
            let started = start_all(&mut schedule);
            assert_eq!(started.len(), 4);
            for start in &started {
                assert_eq!(schedule.finish(start, Contact::Unknown), None);
            }
        }
    }

    #[test]
    fn starts_are_spread_evenly() {
        let place = Place {
            host: "a".to_owned(),
            server: "a:995".to_owned(),
            jobs_per_host: 4,
        };
        let places = (0..4).map(|account| (account, place.clone()));
        let mut schedule = Schedule::new(places, Duration::from_mins(1));
        let times = start_all(&mut schedule);
        let times: Vec<_> = times
            .iter()
            .map(|start| start.not_before.as_secs())
            .collect();
        assert_eq!(times, [0, 15, 30, 45]);
    }

    #[test]
    fn no_accounts_are_done_at_once() {
        let mut schedule = schedule(&[], 1);
        assert_eq!((schedule.width(), schedule.step()), (0, Next::Done));
    }
}
